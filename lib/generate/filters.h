/* SPDX-License-Identifier: MIT
 *
 * The stages between a model's logits and the token that is drawn, one function each. The first
 * three change logits in place, indexed by token id; the others narrow a list of candidates, which
 * stays in order of ids. sampling.c puts them in a row.
 *
 * Repetition penalty: Keskar et al., "CTRL" (2019). Frequency and presence penalties: OpenAI's
 * API. Top-k: Fan et al. (2018). Top-p: Holtzman et al., "The curious case of neural text
 * degeneration" (2020). Min-p: Nguyen et al. (2024). Typical: Meister et al., "Locally typical
 * sampling" (2023).
 */
#ifndef GENERATE_FILTERS_H
#define GENERATE_FILTERS_H

#include "kernels/kernels.h"

#include <stddef.h>

/* Ids are below the vocabulary size. `marks` has a zero for each id before and after. */
void filter_bias(float *logits, const int32_t *ids, const float *values, size_t count);
void filter_repetition(float *logits, const int32_t *seen, size_t count, double penalty,
                       int32_t *marks);
void filter_frequency(float *logits, const int32_t *generated, size_t count, double frequency,
                      double presence, int32_t *marks);

struct candidates {
    const struct kernels *kernels;
    size_t count;
    int32_t *id;
    float *value;  /* logits */
    float *weight; /* probabilities, up to a common factor */
    uint32_t *key; /* scratch */
};

/* All ids whose logit is not -inf. */
void candidates_collect(struct candidates *candidates, const float *logits, size_t vocabulary);

/* On logits; leaves max 0, so that weights can be taken at any temperature. */
void filter_temperature(struct candidates *candidates, double temperature);
void filter_top_k(struct candidates *candidates, size_t k);

/* weight = softmax(value); from here on filters look at weights. */
void candidates_weigh(struct candidates *candidates);

void filter_top_p(struct candidates *candidates, double p);
void filter_min_p(struct candidates *candidates, double p);
void filter_typical(struct candidates *candidates, double p);

/* The candidate in which the share `u` of all weight, 0 <= u < 1, is reached. */
int32_t candidates_draw(const struct candidates *candidates, double u);

#endif
