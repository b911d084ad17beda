/* SPDX-License-Identifier: MIT */
#include "nn/stack.h"

#include "graph/op.h"

#include <stdio.h>

llm_tensor *stack_forward(struct cx *cx, cx_block block, const void *layout, int32_t layers,
                          const struct batch *batch, llm_tensor *x)
{
    /* Checkpointed blocks run again in the backward pass: what they are given lives as long as cx.
     */
    struct block_call *calls = arena_alloc(&cx->arena, sizeof *calls * (size_t)layers);
    struct batch *kept = arena_alloc(&cx->arena, sizeof *kept);

    if (!calls || !kept)
        return cx_adopt(cx, LLM_E_NOMEM);
    *kept = *batch;
    for (int32_t i = 0; i < layers; i++) {
        calls[i] = (struct block_call){layout, kept, i};
        x = cx_segment(cx, block, &calls[i], x);
    }
    return x;
}

llm_tensor *residual_add(struct cx *cx, llm_tensor *x, llm_tensor *y, float dropout)
{
    llm_tensor *dropped = op_dropout(cx, y, dropout);
    llm_tensor *sum = op_add(cx, x, dropped);

    cx_release(cx, dropped);
    cx_release(cx, y);
    return sum;
}

llm_tensor *stack_rows(struct cx *cx, llm_tensor **parts, int64_t count)
{
    while (count > 1) {
        int64_t kept = 0;

        for (int64_t i = 0; i < count; i += NODE_INPUTS) {
            int64_t group = count - i < NODE_INPUTS ? count - i : NODE_INPUTS;

            parts[kept++] = op_concat(cx, parts + i, (int)group, 0);
        }
        count = kept;
    }
    return count ? parts[0] : NULL;
}

struct layer_name layer_name(const char *format, int32_t layer)
{
    struct layer_name name;

    (void)snprintf(name.text, sizeof name.text, format, layer);
    return name;
}
