/* SPDX-License-Identifier: MIT
 *
 * Attention over packed segments, forward and backward, and over a paged key/value cache.
 * Never holds more than a tile of scores: memory is O(tokens), forward and backward, after
 * Dao et al., "FlashAttention" (2022), and Milakov & Gimelshein, "Online normalizer calculation for
 * softmax" (2018). Nothing here allocates: the caller passes scratch memory.
 *
 * Query i of a segment with nq queries and nk keys stands at position nk - nq + i (bottom-right
 * alignment), key j at position j. With x = scale * dot(q, k), the score of a visible pair is
 *     s = cap(x) - slope[head] * |pos_q - pos_k| + relative_bias[head][clamp(pos_k - pos_q + zero)]
 * where cap(x) = soft_cap * tanh(x / soft_cap), or x. Visible means:
 *     causal          pos_k <= pos_q, and pos_k > pos_q - window if a window is set
 *     bidirectional   all, or |pos_q - pos_k| < window
 * A query that sees no key gives zeros. Heads share keys in groups: query head h reads key/value
 * head h / (heads / kv_heads).
 *
 * Results have the same bits for any number of threads, and a segment's rows do not depend on the
 * other segments.
 */
#ifndef KERNELS_ATTENTION_H
#define KERNELS_ATTENTION_H

#include "kernels/rope.h"

#include <stddef.h>
#include <stdint.h>

enum { ATTENTION_ALIGNMENT = 64 }; /* of scratch memory and cache pages */

/* How scores are made. Zero-initialize, then set what is needed; 0 and NULL switch a part off. */
struct attention_shape {
    int32_t heads, kv_heads; /* heads is a multiple of kv_heads */
    int32_t head_dim;        /* of queries, keys and values; any value from 1 */
    int32_t causal;
    int32_t window; /* 0: unlimited */
    float scale;
    float soft_cap;
    const float *alibi_slopes; /* [heads] */
    const float
        *relative_bias; /* [heads, relative_span], indexed by pos_k - pos_q + zero, clamped */
    int32_t relative_span, relative_zero;
};

struct attention_args {
    struct attention_shape shape;
    int32_t segments;
    const int32_t *q_offsets, *kv_offsets; /* [segments + 1], rising; q_offsets[0] may be > 0 */
    const float *q, *k, *v; /* row t, head h: q + t * q_stride + h * head_dim, and so on */
    int64_t q_stride, k_stride, v_stride;
    float *out; /* [Nq, heads * head_dim] in rows of out_stride */
    int64_t out_stride;
    float *lse; /* [heads, lse_stride]: log of the sum of exp(s) per head and query row; or NULL */
    int64_t lse_stride;
    /* Probabilities are dropped after the softmax and the rest scaled by 1 / (1 - dropout). The
     * mask is a function of (seed, stream, head, absolute query row, key index in the segment)
     * alone. */
    float dropout;
    uint64_t seed, stream;
    int threads;
    void *scratch; /* attention_scratch_bytes() */
};

/* The gradients are written, or added to what is there: bits of `accumulate`. */
enum {
    ATTENTION_ADD_DQ = 1 << 0,
    ATTENTION_ADD_DK = 1 << 1,
    ATTENTION_ADD_DV = 1 << 2,
    ATTENTION_ADD_BIAS = 1 << 3
};

struct attention_backward_args {
    struct attention_args forward; /* as in the forward pass, with its out and lse; own scratch */
    const float *dout;
    float *dq, *dk, *dv; /* rows inside the segments only are touched; any of them may be NULL */
    int64_t dout_stride, dq_stride, dk_stride, dv_stride;
    float *d_relative_bias; /* [heads, relative_span] or NULL */
    uint32_t accumulate;
};

size_t attention_scratch_bytes(const struct attention_args *args);
size_t attention_backward_scratch_bytes(const struct attention_backward_args *args);

/* --- the key/value cache ---------------------------------------------------------------------
 *
 * A page holds `page_tokens` consecutive positions of one sequence for one layer: for each kv head
 *     K  [width][page_tokens]   one column per token
 *     V  [page_tokens][width]   one row per token
 * with width = head_dim rounded up to 16. Position p of a sequence lies in its page p /
 * page_tokens. Entries behind head_dim and positions not written yet may hold anything. `type` is
 * room for narrower elements: 16-bit floats would keep this layout, and 8-bit blocks would add one
 * scale per token and head behind each of K and V. */
enum { ATTENTION_CACHE_F32 };

struct attention_cache {
    int32_t type;
    int32_t kv_heads, head_dim;
    int32_t page_tokens; /* 16, 32 or a multiple of 64 */
};

size_t attention_page_bytes(const struct attention_cache *cache);

struct attention_cache_write {
    struct attention_cache cache;
    int32_t sequences;
    const int32_t *offsets;    /* [sequences + 1]: rows of k and v that belong to each sequence */
    const int32_t *positions;  /* [sequences]: where each sequence's first row goes */
    void *const *const *pages; /* [sequences][pages of the sequence] */
    const float *k, *v;
    int64_t k_stride, v_stride;
    int threads;
};

/* Attention of new rows to the cache, which holds their own keys and values already. */
struct attention_paged_args {
    struct attention_shape shape;
    struct attention_cache cache;
    int32_t sequences;
    const int32_t *q_offsets;  /* [sequences + 1]: one row or a chunk of rows of each sequence */
    const int32_t *kv_lengths; /* [sequences]: keys in the cache, the new rows' included */
    void *const *const *pages; /* pages that no row sees (behind a window) may be NULL */
    const float *q;
    int64_t q_stride;
    float *out;
    int64_t out_stride;
    int threads;
    void *scratch; /* attention_paged_scratch_bytes() */
};

/* A row's bits depend on that row, its sequence's keys and the shape alone: not on the batch, on
 * the size of the chunk it came in, on page_tokens or on the number of threads. */
size_t attention_paged_scratch_bytes(const struct attention_paged_args *args);

struct attention_kernels {
    void (*forward)(const struct attention_args *args);
    void (*backward)(const struct attention_backward_args *args);
    void (*paged)(const struct attention_paged_args *args);
    void (*cache_write)(const struct attention_cache_write *args);
    void (*rope)(const struct rope_args *args);
};

void attention_fill(struct attention_kernels *kernels, uint32_t cpu);

#endif
