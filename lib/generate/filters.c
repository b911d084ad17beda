/* SPDX-License-Identifier: MIT */
#include "generate/filters.h"

#include "generate/select.h"

#include <math.h>

void filter_bias(float *logits, const int32_t *ids, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        logits[ids[i]] += values[i];
}

void filter_repetition(float *logits, const int32_t *seen, size_t count, double penalty,
                       int32_t *marks)
{
    const float factor = (float)penalty;

    for (size_t i = 0; i < count; i++) {
        float *logit = &logits[seen[i]];

        if (marks[seen[i]]++ == 0)
            *logit = *logit < 0.0f ? *logit * factor : *logit / factor;
    }
    for (size_t i = 0; i < count; i++)
        marks[seen[i]] = 0;
}

void filter_frequency(float *logits, const int32_t *generated, size_t count, double frequency,
                      double presence, int32_t *marks)
{
    for (size_t i = 0; i < count; i++)
        marks[generated[i]]++;
    for (size_t i = 0; i < count; i++) {
        int32_t id = generated[i];

        if (marks[id])
            logits[id] -= (float)(frequency * marks[id] + presence);
        marks[id] = 0;
    }
}

void candidates_collect(struct candidates *candidates, const float *logits, size_t vocabulary)
{
    size_t count = 0;

    for (size_t i = 0; i < vocabulary; i++) {
        candidates->value[count] = logits[i];
        candidates->id[count] = (int32_t)i;
        count += logits[i] != -INFINITY;
    }
    candidates->count = count;
    candidates->is_weighed = false;
}

void candidates_weigh(struct candidates *candidates)
{
    if (candidates->is_weighed)
        return;
    candidates->kernels->vector.softmax(candidates->weight, candidates->value,
                                        (int64_t)candidates->count);
    candidates->is_weighed = true;
}

double candidates_total(const struct candidates *candidates)
{
    double total = 0.0;

    for (size_t i = 0; i < candidates->count; i++)
        total += (double)candidates->weight[i];
    return total;
}

void filter_temperature(struct candidates *candidates, double temperature)
{
    const struct vector_kernels *vector = &candidates->kernels->vector;
    int64_t count = (int64_t)candidates->count;
    float *value = candidates->value;

    vector->binary_scalar[VECTOR_SUB](value, 0.0f, value, vector->max(value, count), count);
    vector->binary_scalar[VECTOR_DIV](value, 0.0f, value, (float)temperature, count);
    candidates->is_weighed = false;
}

/* Keeps what was selected by key. */
static void narrow(struct candidates *candidates, struct selection selection, bool by_weight)
{
    float *value = candidates->value;
    float *weight = candidates->weight;
    int32_t *id = candidates->id;
    double rest = selection.rest;
    size_t kept = 0;

    for (size_t i = 0; i < candidates->count; i++) {
        bool keep = candidates->key[i] < selection.threshold;

        if (candidates->key[i] == selection.threshold && rest > 0.0) {
            keep = true;
            rest -= by_weight ? (double)weight[i] : 1.0;
        }
        value[kept] = value[i];
        id[kept] = id[i];
        weight[kept] = candidates->is_weighed ? weight[i] : 0.0f;
        kept += keep;
    }
    candidates->count = kept;
}

void filter_top_k(struct candidates *candidates, size_t k)
{
    if (k == 0 || k >= candidates->count)
        return;
    for (size_t i = 0; i < candidates->count; i++)
        candidates->key[i] = select_descending(candidates->value[i]);
    narrow(candidates, select_smallest(candidates->key, NULL, candidates->count, (double)k), false);
}

/* The fewest candidates, in order of keys, that weigh `p` of all, and no less than one. */
static void narrow_to_share(struct candidates *candidates, double total, double p)
{
    narrow(candidates,
           select_smallest(candidates->key, candidates->weight, candidates->count, p * total),
           true);
}

void filter_top_p(struct candidates *candidates, double p)
{
    if (p >= 1.0)
        return;
    candidates_weigh(candidates);
    for (size_t i = 0; i < candidates->count; i++)
        candidates->key[i] = select_descending(candidates->weight[i]);
    narrow_to_share(candidates, candidates_total(candidates), p);
}

void filter_by_weight(struct candidates *candidates, double least)
{
    const struct vector_kernels *vector = &candidates->kernels->vector;
    double best;
    size_t kept = 0;

    candidates_weigh(candidates);
    best = (double)vector->max(candidates->weight, (int64_t)candidates->count);
    least = least < best ? least : best;
    for (size_t i = 0; i < candidates->count; i++) {
        candidates->value[kept] = candidates->value[i];
        candidates->id[kept] = candidates->id[i];
        candidates->weight[kept] = candidates->weight[i];
        kept += (double)candidates->weight[i] >= least;
    }
    candidates->count = kept;
}

void filter_min_p(struct candidates *candidates, double p)
{
    const struct vector_kernels *vector = &candidates->kernels->vector;

    if (p <= 0.0)
        return;
    candidates_weigh(candidates);
    filter_by_weight(candidates,
                     p * (double)vector->max(candidates->weight, (int64_t)candidates->count));
}

void filter_typical(struct candidates *candidates, double p)
{
    double total;
    double entropy = 0.0;

    if (p >= 1.0)
        return;
    candidates_weigh(candidates);
    total = candidates_total(candidates);
    for (size_t i = 0; i < candidates->count; i++) {
        double share = (double)candidates->weight[i] / total;

        if (share > 0.0)
            entropy -= share * log(share);
    }
    for (size_t i = 0; i < candidates->count; i++) {
        double share = (double)candidates->weight[i] / total;

        candidates->key[i] = select_ascending((float)fabs(-log(share) - entropy));
    }
    narrow_to_share(candidates, total, p);
}

int32_t candidates_draw(struct candidates *candidates, double u)
{
    double target;
    double reached = 0.0;
    int32_t last = candidates->id[0];

    candidates_weigh(candidates);
    target = u * candidates_total(candidates);
    for (size_t i = 0; i < candidates->count; i++) {
        if (candidates->weight[i] > 0.0f)
            last = candidates->id[i];
        reached += (double)candidates->weight[i];
        if (reached > target)
            return candidates->id[i];
    }
    return last; /* rounding: u is nearly 1 */
}
