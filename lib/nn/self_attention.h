/* SPDX-License-Identifier: MIT
 *
 * The attention half of a decoder block: projections to queries, keys and values, norms of single
 * heads, rotary positions, attention, projection back.
 */
#ifndef NN_SELF_ATTENTION_H
#define NN_SELF_ATTENTION_H

#include "nn/attention_layer.h"
#include "nn/linear.h"
#include "nn/rms_norm.h"
#include "nn/rotary.h"

/* How the rows of a fused projection lie. */
enum qkv_layout {
    QKV_SEPARATE, /* three projections */
    QKV_ROWS,     /* all queries, all keys, all values */
    QKV_GROUPED   /* for each key head: its queries, its key, its value */
};

struct self_attention {
    enum qkv_layout layout;
    struct linear q;        /* [H * d, D]; fused: [(H + 2K) * d, D] */
    struct linear k, v;     /* [K * d, D] each, unless fused */
    struct linear output;   /* [D, H * d] */
    struct rms_norm q_norm; /* over each head; weight NULL: none */
    struct rms_norm k_norm;
    const struct rotary *rotary; /* NULL: none */
    struct attention attention;
};

/* x [N, D] -> [N, D] */
llm_tensor *self_attention_forward(struct cx *cx, const struct self_attention *self,
                                   const struct batch *batch, int32_t layer, llm_tensor *x);

#endif
