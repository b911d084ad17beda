/* SPDX-License-Identifier: MIT
 *
 * Sizes that the attention kernels of all instruction sets share, and how their scratch memory is
 * laid out (attention.c computes what the kernels then carve up).
 */
#ifndef KERNELS_ATTENTION_PLAN_H
#define KERNELS_ATTENTION_PLAN_H

#include "kernels/attention.h"

enum {
    TILE_KEYS = 64,   /* keys scored at a time */
    GROUP_ROWS = 64,  /* rows whose scores are held at a time */
    BLOCK_ROWS = 8,   /* rows that share the limits of what they see */
    MOST_TILES = 4,   /* backward: tiles of keys at hand */
    MOST_ROWS = 256,  /* rows of a unit of work: they share the packing of the keys */
    CHUNK_KEYS = 1024 /* paged: keys of a unit of work when rows are few */
};

/* head_dim rounded up to whole vectors of every instruction set */
static inline int64_t attention_width(int32_t head_dim)
{
    return ((int64_t)head_dim + 15) / 16 * 16;
}

/* Floats of scratch memory for one thread. */
static inline size_t attention_forward_floats(int32_t head_dim)
{
    size_t width = (size_t)attention_width(head_dim);

    /* keys, values; queries, outputs; maxima, sums; scores */
    return 2 * TILE_KEYS * width + 2 * MOST_ROWS * width + 17 * MOST_ROWS + GROUP_ROWS * TILE_KEYS;
}

/* Tiles of keys that the backward pass keeps at hand: as many as fit in a second-level cache. */
static inline int attention_backward_tiles(int32_t head_dim)
{
    return head_dim <= 64 ? MOST_TILES : head_dim <= 128 ? MOST_TILES / 2 : 1;
}

static inline size_t attention_backward_floats(int32_t head_dim)
{
    size_t width = (size_t)attention_width(head_dim);

    /* keys as columns and rows, values, dk, dv; queries, dout, dq; probabilities and dscores */
    return (size_t)attention_backward_tiles(head_dim) * 5 * TILE_KEYS * width +
           3 * GROUP_ROWS * width + 2 * GROUP_ROWS * TILE_KEYS;
}

/* Rows of a sequence few enough for its keys to be split into chunks. */
static inline int attention_is_split(const struct attention_shape *shape, int64_t nq, int64_t nk)
{
    return nq > 0 && nk > CHUNK_KEYS && nq * (shape->heads / shape->kv_heads) <= GROUP_ROWS;
}

static inline int64_t attention_chunks(int64_t nk)
{
    return (nk + CHUNK_KEYS - 1) / CHUNK_KEYS;
}

/* Floats of the partial result of one row and chunk: output, maximum, sum. */
static inline int64_t attention_partial_floats(int32_t head_dim)
{
    return attention_width(head_dim) + 2;
}

/* Floats for delta, in front of the threads' scratch memory. */
static inline size_t attention_delta_floats(const struct attention_args *forward)
{
    return ((size_t)forward->shape.heads * (size_t)forward->lse_stride + 15) / 16 * 16;
}

/* One per instruction set that was compiled in; see attention_all.h. */
void attention_fill_portable(struct attention_kernels *kernels);
void attention_fill_avx2(struct attention_kernels *kernels);
void attention_fill_avx512(struct attention_kernels *kernels);

#endif
