/* SPDX-License-Identifier: MIT
 *
 * What a run reports to files: metrics.jsonl (one JSON object per line) and TensorBoard events,
 * both in the output directory, both append-only. Opening them takes back what lies after the step
 * from which the run goes on, and a torn end, so that nothing is there twice or by halves.
 */
#ifndef TRAIN_METRICS_H
#define TRAIN_METRICS_H

#include "base/file.h"
#include "base/text.h"

/* NaN: not known, left out. */
struct metrics_record {
    int64_t step;
    int64_t tokens;
    double loss;
    double validation_loss;
    double learning_rate;
    double gradient_norm;
    double tokens_per_second;
    double seconds;
};

struct metrics {
    struct memory *memory;
    struct file_appender lines;
    struct file_appender events; /* TensorBoard */
};

void metrics_init(struct metrics *metrics, struct memory *memory);
/* Keeps records of steps <= `step` in files that exist; none when `step` is 0. */
llm_status metrics_open(struct metrics *metrics, const char *directory, int64_t step,
                        bool tensorboard);
bool metrics_is_open(const struct metrics *metrics);
/* `extra`: further members, each preceded by a comma; may be empty. */
llm_status metrics_write(struct metrics *metrics, const struct metrics_record *record,
                         const struct text *extra);
void metrics_close(struct metrics *metrics);

/* ---- tensorboard.c ---- */

struct scalar {
    const char *tag;
    float value;
};

/* The record that every event file begins with. */
void tensorboard_begin(struct text *out, double wall_time);
/* One record with all scalars of a step. */
void tensorboard_scalars(struct text *out, double wall_time, int64_t step,
                         const struct scalar *scalars, size_t count);
/* Bytes of the whole, sound records from the beginning whose steps are <= `step`, copied to `out`.
 */
void tensorboard_keep(struct text *out, const char *data, size_t size, int64_t step);

#endif
