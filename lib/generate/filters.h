/* SPDX-License-Identifier: MIT
 *
 * The stages between a model's logits and the token that is drawn, one function each. The first
 * four change logits in place, indexed by token id; the others narrow a list of candidates, which
 * stays in order of ids. sampling.c puts them in a row; mirostat.h has a stage with a memory.
 *
 * Repetition penalty: Keskar et al., "CTRL" (2019). Frequency and presence penalties: OpenAI's
 * API. Top-k: Fan et al. (2018). Top-p: Holtzman et al., "The curious case of neural text
 * degeneration" (2020). Min-p: Nguyen et al. (2024). Typical: Meister et al., "Locally typical
 * sampling" (2023). Top-n-sigma: Tang et al. (2024). XTC, DRY: p-e-w in text-generation-webui;
 * entropy-driven temperature: Zhang et al. (2024); these as llama.cpp computes them.
 */
#ifndef GENERATE_FILTERS_H
#define GENERATE_FILTERS_H

#include "kernels/kernels.h"

#include <stdbool.h>
#include <stddef.h>

/* Ids are below the vocabulary size. `marks` has a zero for each id before and after. */
void filter_bias(float *logits, const int32_t *ids, const float *values, size_t count);
void filter_repetition(float *logits, const int32_t *seen, size_t count, double penalty,
                       int32_t *marks);
void filter_frequency(float *logits, const int32_t *generated, size_t count, double frequency,
                      double presence, int32_t *marks);

/* DRY: for each token that followed an earlier occurrence of the text's end, the longest such
 * occurrence of n tokens costs multiplier * base ^ (n - allowed). Occurrences longer than `reach`
 * count as `reach`. `repeats` is scratch of `count`. Linear in `count`. */
struct dry {
    double multiplier, base;
    size_t allowed; /* > 0 */
    size_t reach;   /* tokens behind the last sequence breaker */
};
void filter_dry(float *logits, const int32_t *ids, size_t count, const struct dry *dry,
                int32_t *repeats, int32_t *marks);

struct candidates {
    const struct kernels *kernels;
    size_t count;
    int32_t *id;
    float *value;  /* logits */
    float *weight; /* probabilities, up to a common factor, if is_weighed */
    uint32_t *key; /* scratch */
    bool is_weighed;
};

/* All ids whose logit is not -inf. */
void candidates_collect(struct candidates *candidates, const float *logits, size_t vocabulary);

/* weight = softmax(value), unless that is so. */
void candidates_weigh(struct candidates *candidates);
double candidates_total(const struct candidates *candidates); /* of weights */

/* Leaves max 0, so that weights can be taken at any temperature. */
void filter_temperature(struct candidates *candidates, double temperature);
/* Between temperature - range and temperature + range, with the entropy's share of its maximum,
 * raised to `exponent`. */
void filter_dynamic_temperature(struct candidates *candidates, double temperature, double range,
                                double exponent);
void filter_top_n_sigma(struct candidates *candidates, double n);
void filter_top_k(struct candidates *candidates, size_t k);
/* Of the candidates with a probability of at least `threshold` only the last one stays. */
void filter_xtc(struct candidates *candidates, double threshold);
/* Those with a value or a weight of at least `least`; the best one in any case. */
void filter_by_value(struct candidates *candidates, float least);
void filter_by_weight(struct candidates *candidates, double least);

void filter_top_p(struct candidates *candidates, double p);
void filter_min_p(struct candidates *candidates, double p);
void filter_typical(struct candidates *candidates, double p);

/* The candidate in which the share `u` of all weight, 0 <= u < 1, is reached. */
int32_t candidates_draw(struct candidates *candidates, double u);

#endif
