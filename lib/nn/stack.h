/* SPDX-License-Identifier: MIT
 *
 * What models made of a stack of equal blocks share: running the blocks one after the other, adding
 * to the residual stream, laying rows end to end, naming parameters.
 */
#ifndef NN_STACK_H
#define NN_STACK_H

#include "graph/cx.h"
#include "nn/batch.h"

/* What a block is called with. */
struct block_call {
    const void *layout; /* the architecture's own struct */
    const struct batch *batch;
    int32_t layer; /* from 0 */
};

/* x [N, D] through `layers` blocks, each a segment of the tape; `block`'s argument is a
 * struct block_call. */
llm_tensor *stack_forward(struct cx *cx, cx_block block, const void *layout, int32_t layers,
                          const struct batch *batch, llm_tensor *x);

/* x + dropout(y); y's values are of no use afterwards. */
llm_tensor *residual_add(struct cx *cx, llm_tensor *x, llm_tensor *y, float dropout);

/* A parameter's name: `format` with the number of its layer. */
struct layer_name {
    char text[128];
};

struct layer_name layer_name(const char *format, int32_t layer);

/* Tensors of any number of rows, end to end. The array is used up. */
llm_tensor *stack_rows(struct cx *cx, llm_tensor **parts, int64_t count);

#endif
