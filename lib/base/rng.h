/* SPDX-License-Identifier: MIT
 *
 * Random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC11). Counter-based: the i-th number of a stream is a pure function of (seed, stream, i), so a
 * dropout mask can be computed again in the backward pass, in any order and on any thread.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

/* The block `index` of stream (seed, stream): four independent 32-bit words. */
void philox(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]);

/* A sequential reader of one stream. Plain data: copy it to save it, compare it to test it. */
struct rng {
    uint64_t seed;
    uint64_t stream;
    uint64_t position; /* in 32-bit words */
};

struct rng rng_make(uint64_t seed, uint64_t stream);
uint32_t rng_u32(struct rng *rng);
uint64_t rng_u64(struct rng *rng);
uint64_t rng_below(struct rng *rng,
                   uint64_t limit);  /* uniform in [0, limit), unbiased; limit > 0 */
double rng_uniform(struct rng *rng); /* [0, 1), 53 bits */
double rng_normal(struct rng *rng);  /* mean 0, variance 1 (Box-Muller) */

#endif
