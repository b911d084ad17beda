/* SPDX-License-Identifier: MIT
 *
 * Attention of a packed batch to itself in both directions: each token sees all tokens of its
 * sequence and no other. Optionally with a bias by relative position (T5).
 */
#ifndef NN_ENCODER_ATTENTION_H
#define NN_ENCODER_ATTENTION_H

#include "graph/cx.h"
#include "nn/batch.h"

struct encoder_attention {
    int32_t heads, head_dim;
    float scale;
    float dropout; /* in training */
};

/* q, k, v [N, H * d], rows may be strided -> [N, H * d]. `bias` NULL, or [H, span]: added to the
 * score of a pair at clamp(position of k - position of q + zero). */
llm_tensor *encoder_attention_forward(struct cx *cx, const struct encoder_attention *attention,
                                      const struct batch *batch, llm_tensor *q, llm_tensor *k,
                                      llm_tensor *v, llm_tensor *bias, int32_t zero);

#endif
