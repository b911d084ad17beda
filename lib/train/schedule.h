/* SPDX-License-Identifier: MIT
 *
 * Learning-rate schedules: a linear warm-up, then one of four shapes. Pure functions of the step,
 * so a resumed run continues where it was.
 */
#ifndef TRAIN_SCHEDULE_H
#define TRAIN_SCHEDULE_H

#include "llm/optimizer.h"

struct schedule {
    int32_t kind; /* LLM_SCHEDULE_* */
    int64_t warmup_steps;
    int64_t steps;       /* of the whole run */
    int64_t decay_steps; /* WSD: length of the fall at the end */
    double rate;         /* highest */
    double min_rate;     /* at the end */
};

/* The rate of step 0, 1, ...; min_rate from `steps` on (constant: rate). */
double schedule_rate(const struct schedule *schedule, int64_t step);

#endif
