/* SPDX-License-Identifier: MIT
 *
 * Cosine after Loshchilov & Hutter, "SGDR" (2017), without restarts; warmup-stable-decay after Hu
 * et al., "MiniCPM" (2024), with the 1 - sqrt fall of Hägele et al., "Scaling laws and
 * compute-optimal training beyond fixed training durations" (2024).
 */
#include "train/schedule.h"

#include <math.h>

static double fall(double from, double to, double share)
{
    return to + (from - to) * share;
}

static double progress(int64_t step, int64_t begin, int64_t end)
{
    if (step >= end)
        return 1.0;
    return (double)(step - begin) / (double)(end - begin);
}

double schedule_rate(const struct schedule *schedule, int64_t step)
{
    const double pi = 3.14159265358979323846;
    int64_t warmup = schedule->warmup_steps;
    int64_t stable = schedule->steps - schedule->decay_steps;
    double done;

    if (step < warmup)
        return schedule->rate * (double)(step + 1) / (double)(warmup + 1);
    if (stable < warmup)
        stable = warmup;
    done = progress(step, warmup, schedule->steps);
    switch (schedule->kind) {
    case LLM_SCHEDULE_LINEAR:
        return fall(schedule->rate, schedule->min_rate, 1.0 - done);
    case LLM_SCHEDULE_COSINE:
        return fall(schedule->rate, schedule->min_rate, 0.5 * (1.0 + cos(pi * done)));
    case LLM_SCHEDULE_WSD:
        if (step < stable)
            return schedule->rate;
        done = progress(step, stable, schedule->steps);
        return fall(schedule->rate, schedule->min_rate, 1.0 - sqrt(done));
    default:
        return schedule->rate;
    }
}
