/* SPDX-License-Identifier: MIT
 *
 * Rotary positions (kernels/rope.h). The gradient is turned back by the same angles.
 */
#include "graph/op.h"

#include <math.h>
#include <string.h>

struct saved {
    struct rope_args args; /* without x and y */
};

/* Rows of x with one stride between them. */
static int64_t row_stride(const llm_tensor *x)
{
    return x->dimensions == 2 ? x->stride[0] : tensor_last(x);
}

static void rope_run(struct cx *cx, const struct rope_args *saved, llm_tensor *x, llm_tensor *y)
{
    struct rope_args args = *saved;

    args.x = cx_values(cx, x);
    args.x_stride = row_stride(x);
    args.y = tensor_f32(y);
    args.y_stride = row_stride(y);
    args.threads = cx->threads;
    if (!cx->status)
        cx->kernels->attention.rope(&args);
}

static void rope_backward(struct cx *cx, struct node *node)
{
    const struct saved *saved = node->saved;
    struct rope_args args = saved->args;
    float beta;
    llm_tensor *dx = cx_grad(cx, node->in[0], &beta);

    if (!dx)
        return;
    args.x = cx_out_grad(node, 0);
    args.x_stride = tensor_last(node->out[0]);
    args.y = tensor_f32(dx);
    args.y_stride = row_stride(dx);
    args.inverse = 1;
    args.add = beta != 0.0f;
    args.threads = cx->threads;
    cx->kernels->attention.rope(&args);
}

static void rope_recompute(struct cx *cx, struct node *node)
{
    const struct saved *saved = node->saved;

    if (cx_refill(cx, node->out[0]))
        rope_run(cx, &saved->args, node->in[0], node->out[0]);
}

static const struct op rope_op = {"rope", rope_backward, rope_recompute};

static bool rope_fits(struct cx *cx, const llm_tensor *x, const int32_t *positions,
                      const struct rope_options *o)
{
    if (o->head_dim < 1 || o->rotary_dim < 0 || o->rotary_dim % 2 != 0 ||
        o->rotary_dim > o->head_dim || !isfinite(o->scale) || !positions ||
        (o->rotary_dim > 0 && !o->frequencies)) {
        cx_fail(cx, LLM_E_INVALID, "rope: positions and %d of %d elements of a head cannot turn",
                o->rotary_dim, o->head_dim);
        return false;
    }
    if (x->dtype != LLM_F32 || x->dimensions < 1 || tensor_last(x) % o->head_dim != 0 ||
        tensor_last(x) / o->head_dim > INT32_MAX) {
        cx_fail(cx, LLM_E_SHAPE, "rope: x %s is not f32 rows of heads of %d", tensor_shape_text(x),
                o->head_dim);
        return false;
    }
    return true;
}

llm_tensor *op_rope(struct cx *cx, llm_tensor *x, const int32_t *positions,
                    const struct rope_options *options)
{
    struct rope_args args = {.head_dim = options->head_dim,
                             .rotary_dim = options->rotary_dim,
                             .interleaved = options->interleaved,
                             .positions = positions,
                             .frequencies = options->frequencies,
                             .scale = options->scale};
    size_t bytes;
    int32_t *kept;
    llm_tensor *y;
    struct node *node;

    if (!cx_ready(cx, "rope", 1, &x) || !rope_fits(cx, x, positions, options))
        return NULL;
    if (x->dimensions != 2 || x->stride[1] != 1)
        x = cx_contiguous(cx, x);
    if (!x)
        return NULL;
    args.rows = tensor_rows(x);
    args.heads = (int32_t)(tensor_last(x) / options->head_dim);
    y = cx_output_like(cx, x);
    if (!y)
        return NULL;
    rope_run(cx, &args, x, y);
    node = cx_record(cx, &rope_op, 1, &x, 1, &y, sizeof(struct saved));
    if (node) {
        bytes = sizeof *kept * (size_t)args.rows;
        kept = arena_alloc(&cx->arena, bytes);
        if (!kept)
            return cx_adopt(cx, LLM_E_NOMEM);
        memcpy(kept, positions, bytes);
        args.positions = kept;
        ((struct saved *)node->saved)->args = args;
    }
    return cx->status ? NULL : y;
}
