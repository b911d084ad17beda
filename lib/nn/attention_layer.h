/* SPDX-License-Identifier: MIT
 *
 * Attention of a packed batch to itself and, when the batch has a cache, to the past: the one call
 * a model makes for training, prefill and decoding.
 */
#ifndef NN_ATTENTION_LAYER_H
#define NN_ATTENTION_LAYER_H

#include "graph/cx.h"
#include "nn/batch.h"

/* How scores are made; kernels/attention.h has the formula. Zero-initialize, then set what is
 * needed: 0 and NULL switch a part off. */
struct attention {
    int32_t heads, kv_heads, head_dim;
    bool bidirectional; /* every token sees the whole segment; not with a cache */
    int32_t window;     /* tokens that are seen, the query's own included; 0: all before it */
    float scale;
    float soft_cap;
    float dropout;             /* in training */
    const float *alibi_slopes; /* [heads] or NULL */
    llm_tensor *relative_bias; /* [heads, span] or NULL: at clamp(key - query + relative_zero) */
    int32_t relative_zero;
};

/* q [N, H * d], k and v [N, K * d], rows may be strided -> [N, H * d]. `layer` counts from 0: which
 * pages of the cache. With a cache, k and v are appended to the sequences' reserved room. */
llm_tensor *attention_forward(struct cx *cx, const struct attention *attention,
                              const struct batch *batch, int32_t layer, llm_tensor *q,
                              llm_tensor *k, llm_tensor *v);

#endif
