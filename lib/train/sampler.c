/* SPDX-License-Identifier: MIT
 *
 * The shuffle is a Feistel network over the smallest square of a power of two that holds the range,
 * walked until it falls inside (Black & Rogaway, "Ciphers with arbitrary finite domains", 2002): a
 * permutation without a table.
 */
#include "train/sampler.h"

#include "base/rng.h"
#include "llm/trainer.h"

static const uint64_t window_key = 0x77696E646F777331u;  /* keeps these streams apart from the */
static const uint64_t shuffle_key = 0x73687566666C6531u; /* model's own use of the same seed */

int64_t sampler_windows(const struct sampler *sampler)
{
    return sampler->examples ? sampler->examples : (sampler->tokens - 1) / sampler->block;
}

static uint64_t scale_to(const uint32_t words[4], uint64_t limit)
{
    uint64_t value = (uint64_t)words[0] << 32 | words[1];

    return (uint64_t)((unsigned __int128)value * limit >> 64);
}

int64_t sampler_permute(uint64_t seed, uint64_t which, int64_t count, int64_t i)
{
    uint64_t value = (uint64_t)i;
    int half = 1;

    while ((uint64_t)1 << 2 * half < (uint64_t)count)
        half++;
    do {
        uint64_t mask = ((uint64_t)1 << half) - 1;
        uint64_t left = value >> half;
        uint64_t right = value & mask;

        for (uint64_t round = 0; round < 6; round++) {
            uint32_t words[4];
            uint64_t next;

            philox(seed ^ shuffle_key, which, right << 3 | round, words);
            next = left ^ (((uint64_t)words[0] << 32 | words[1]) & mask);
            left = right;
            right = next;
        }
        value = left << half | right;
    } while (value >= (uint64_t)count);
    return (int64_t)value;
}

int64_t sampler_start(const struct sampler *sampler, int64_t step, int64_t index)
{
    int64_t windows = sampler_windows(sampler);
    int64_t size = sampler->examples ? 1 : sampler->block;
    int64_t position;
    uint32_t words[4];

    if (sampler->order == LLM_ORDER_RANDOM) {
        philox(sampler->seed ^ window_key, (uint64_t)step, (uint64_t)index, words);
        return (int64_t)scale_to(words, sampler->examples
                                            ? (uint64_t)sampler->examples
                                            : (uint64_t)(sampler->tokens - sampler->block));
    }
    position = step * sampler->batch + index;
    if (sampler->order == LLM_ORDER_SEQUENTIAL)
        return position % windows * size;
    return sampler_permute(sampler->seed, (uint64_t)(position / windows), windows,
                           position % windows) *
           size;
}
