/* SPDX-License-Identifier: MIT */
#include "base/rng.h"

#include <math.h>
#include <stdbool.h>

static inline void philox_round(uint32_t c[4], const uint32_t k[2])
{
    uint64_t a = (uint64_t)0xD2511F53u * c[0];
    uint64_t b = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t c1 = c[1];
    uint32_t c3 = c[3];

    c[0] = (uint32_t)(b >> 32) ^ c1 ^ k[0];
    c[1] = (uint32_t)b;
    c[2] = (uint32_t)(a >> 32) ^ c3 ^ k[1];
    c[3] = (uint32_t)a;
}

void philox(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4])
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};

    out[0] = (uint32_t)index;
    out[1] = (uint32_t)(index >> 32);
    out[2] = (uint32_t)stream;
    out[3] = (uint32_t)(stream >> 32);
    for (int round = 0; round < 10; round++) {
        philox_round(out, key);
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
}

struct rng rng_make(uint64_t seed, uint64_t stream)
{
    struct rng rng = {seed, stream, 0};

    return rng;
}

uint32_t rng_u32(struct rng *rng)
{
    uint32_t block[4];
    uint64_t position = rng->position++;

    philox(rng->seed, rng->stream, position / 4, block);
    return block[position % 4];
}

/* The next `count` <= 4 words, with as few blocks as they lie in. */
static void next_words(struct rng *rng, uint32_t *words, int count)
{
    uint32_t block[4];
    bool is_ready = false;

    for (int i = 0; i < count; i++) {
        uint64_t position = rng->position++;

        if (!is_ready || position % 4 == 0)
            philox(rng->seed, rng->stream, position / 4, block);
        is_ready = true;
        words[i] = block[position % 4];
    }
}

uint64_t rng_u64(struct rng *rng)
{
    uint32_t words[2];

    next_words(rng, words, 2);
    return (uint64_t)words[0] << 32 | words[1];
}

uint64_t rng_below(struct rng *rng, uint64_t limit)
{
    uint64_t rejected = (0 - limit) % limit; /* 2^64 mod limit: the uneven rest */
    uint64_t value;

    do
        value = rng_u64(rng);
    while (value < rejected);
    return value % limit;
}

static double unit(uint32_t high, uint32_t low)
{
    return (double)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

double rng_uniform(struct rng *rng)
{
    uint32_t words[2];

    next_words(rng, words, 2);
    return unit(words[0], words[1]);
}

double rng_normal(struct rng *rng)
{
    const double two_pi = 6.283185307179586476925;
    uint32_t words[4];
    double u;
    double v;

    next_words(rng, words, 4);
    u = 1.0 - unit(words[0], words[1]); /* (0, 1] */
    v = unit(words[2], words[3]);
    return sqrt(-2.0 * log(u)) * cos(two_pi * v);
}
