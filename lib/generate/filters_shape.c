/* SPDX-License-Identifier: MIT
 *
 * Filters that look at the shape of the distribution: its deviation, its entropy, its top.
 */
#include "generate/filters.h"

#include <math.h>

void filter_by_value(struct candidates *candidates, float least)
{
    const struct vector_kernels *vector = &candidates->kernels->vector;
    float best = vector->max(candidates->value, (int64_t)candidates->count);
    size_t kept = 0;

    least = least < best ? least : best;
    for (size_t i = 0; i < candidates->count; i++) {
        candidates->value[kept] = candidates->value[i];
        candidates->id[kept] = candidates->id[i];
        candidates->weight[kept] = candidates->is_weighed ? candidates->weight[i] : 0.0f;
        kept += candidates->value[i] >= least;
    }
    candidates->count = kept;
}

void filter_top_n_sigma(struct candidates *candidates, double n)
{
    const struct vector_kernels *vector = &candidates->kernels->vector;
    double count = (double)candidates->count;
    double best = (double)vector->max(candidates->value, (int64_t)candidates->count);
    double mean = 0.0;
    double squares = 0.0;

    if (n <= 0.0)
        return;
    for (size_t i = 0; i < candidates->count; i++)
        mean += (double)candidates->value[i] / count;
    for (size_t i = 0; i < candidates->count; i++) {
        double distance = (double)candidates->value[i] - mean;

        squares += distance * distance / count;
    }
    filter_by_value(candidates, (float)(best - n * sqrt(squares)));
}

void filter_dynamic_temperature(struct candidates *candidates, double temperature, double range,
                                double exponent)
{
    double most = log((double)candidates->count);
    double entropy = 0.0;
    double total;
    double share;

    if (range <= 0.0 || candidates->count < 2) {
        filter_temperature(candidates, temperature);
        return;
    }
    candidates_weigh(candidates);
    total = candidates_total(candidates);
    for (size_t i = 0; i < candidates->count; i++) {
        double p = (double)candidates->weight[i] / total;

        if (p > 0.0)
            entropy -= p * log(p);
    }
    share = pow(entropy / most, exponent);
    filter_temperature(candidates, temperature - range + 2.0 * range * share);
}

void filter_xtc(struct candidates *candidates, double threshold)
{
    double least;
    size_t above = 0;
    size_t last = 0;
    size_t kept = 0;

    if (threshold > 0.5)
        return;
    candidates_weigh(candidates);
    least = threshold * candidates_total(candidates);
    for (size_t i = 0; i < candidates->count; i++) {
        if ((double)candidates->weight[i] < least)
            continue;
        if (above++ == 0 || candidates->weight[i] <= candidates->weight[last])
            last = i;
    }
    if (above < 2)
        return;
    for (size_t i = 0; i < candidates->count; i++) {
        bool stays = (double)candidates->weight[i] < least || i == last;

        candidates->value[kept] = candidates->value[i];
        candidates->id[kept] = candidates->id[i];
        candidates->weight[kept] = candidates->weight[i];
        kept += stays;
    }
    candidates->count = kept;
}
