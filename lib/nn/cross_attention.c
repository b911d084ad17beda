/* SPDX-License-Identifier: MIT */
#include "nn/cross_attention.h"

#include "graph/op.h"

llm_tensor *cross_attention_forward(struct cx *cx, const struct cross_attention *attention,
                                    const struct cross_memory *memory, llm_tensor *q, llm_tensor *k,
                                    llm_tensor *v)
{
    struct attention_options options = {.heads = attention->heads,
                                        .kv_heads = attention->heads,
                                        .head_dim = attention->head_dim,
                                        .scale = attention->scale,
                                        .dropout = attention->dropout,
                                        .segments = memory->sources,
                                        .q_offsets = memory->q_offsets,
                                        .kv_offsets = memory->offsets};

    return op_attention(cx, q, k, v, &options);
}
