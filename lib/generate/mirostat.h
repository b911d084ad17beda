/* SPDX-License-Identifier: MIT
 *
 * Mirostat: truncation that steers the surprise of the drawn tokens to a target. Basu et al.,
 * "Mirostat: a neural text decoding algorithm that directly controls perplexity" (2021); version 2
 * is the authors' simpler one without the estimate of Zipf's exponent. Used by sampling.c.
 */
#ifndef GENERATE_MIROSTAT_H
#define GENERATE_MIROSTAT_H

#include "generate/filters.h"

struct mirostat {
    double mu;     /* the largest surprise allowed now, in bits; starts at 2 * tau */
    size_t length; /* of the text it belongs to */
};

/* Narrows the candidates. `version` 1 or 2, `vocabulary` the size of the whole vocabulary. */
void mirostat_narrow(const struct mirostat *mirostat, struct candidates *candidates, int version,
                     int64_t vocabulary);

/* After candidate `id` was drawn: moves mu by eta times the difference between surprise and tau. */
void mirostat_learn(struct mirostat *mirostat, const struct candidates *candidates, int32_t id,
                    double tau, double eta);

#endif
