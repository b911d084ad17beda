/* SPDX-License-Identifier: MIT */
#include "nn/encoder_attention.h"

#include "graph/op.h"

llm_tensor *encoder_attention_forward(struct cx *cx, const struct encoder_attention *attention,
                                      const struct batch *batch, llm_tensor *q, llm_tensor *k,
                                      llm_tensor *v, llm_tensor *bias, int32_t zero)
{
    struct attention_options options = {.heads = attention->heads,
                                        .kv_heads = attention->heads,
                                        .head_dim = attention->head_dim,
                                        .scale = attention->scale,
                                        .dropout = attention->dropout,
                                        .relative_bias = bias,
                                        .relative_zero = zero,
                                        .segments = batch->segments,
                                        .q_offsets = batch->offsets};

    if (batch->cache)
        return cx_fail(cx, LLM_E_UNSUPPORTED, "attention: an encoder has no cache");
    return op_attention(cx, q, k, v, &options);
}
