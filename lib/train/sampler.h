/* SPDX-License-Identifier: MIT
 *
 * Which tokens a step trains on: a pure function of (seed, step, index), so that a resumed run sees
 * the same data and several ranks can each compute their share.
 */
#ifndef TRAIN_SAMPLER_H
#define TRAIN_SAMPLER_H

#include <stdint.h>

struct sampler {
    int64_t tokens; /* of the part; at least block + 1 */
    int64_t block;  /* tokens that are predicted; a window is one longer */
    int64_t batch;  /* windows per step */
    uint64_t seed;
    int32_t order;    /* LLM_ORDER_* */
    int64_t examples; /* of the part; > 0: windows are whole examples */
};

/* Non-overlapping windows, or examples, that one epoch visits. */
int64_t sampler_windows(const struct sampler *sampler);

/* First token, or number of the example, of window `index` of `step`. */
int64_t sampler_start(const struct sampler *sampler, int64_t step, int64_t index);

/* Position of element i in a pseudo-random permutation of [0, count) chosen by (seed, which). */
int64_t sampler_permute(uint64_t seed, uint64_t which, int64_t count, int64_t i);

#endif
