/* SPDX-License-Identifier: MIT
 *
 * Views, copies and concatenation. Views record nothing: cx_grad() of a view writes into its base.
 */
#include "graph/op.h"

#include <string.h>

llm_tensor *op_reshape(struct cx *cx, llm_tensor *x, int32_t dimensions, const int64_t *shape)
{
    llm_tensor view;
    llm_status status;

    if (!cx_ready(cx, "reshape", 1, &x))
        return NULL;
    x = cx_contiguous(cx, x);
    if (!x)
        return NULL;
    status = tensor_view_reshape(&view, x, dimensions, shape);
    return status ? cx_adopt(cx, status) : cx_view(cx, &view);
}

llm_tensor *op_slice(struct cx *cx, llm_tensor *x, int32_t axis, int64_t start, int64_t end,
                     int64_t step)
{
    llm_tensor view;
    llm_status status;

    if (!cx_ready(cx, "slice", 1, &x))
        return NULL;
    status = tensor_view_slice(&view, x, axis, start, end, step);
    return status ? cx_adopt(cx, status) : cx_view(cx, &view);
}

llm_tensor *op_permute(struct cx *cx, llm_tensor *x, const int32_t *axes)
{
    llm_tensor view;
    llm_status status;

    if (!cx_ready(cx, "permute", 1, &x))
        return NULL;
    status = tensor_view_permute(&view, x, axes);
    return status ? cx_adopt(cx, status) : cx_view(cx, &view);
}

llm_tensor *op_transpose(struct cx *cx, llm_tensor *x, int32_t axis_a, int32_t axis_b)
{
    int32_t axes[LLM_MAX_DIMENSIONS];
    int32_t a, b;

    if (!cx_ready(cx, "transpose", 1, &x))
        return NULL;
    a = tensor_axis(x, axis_a);
    b = tensor_axis(x, axis_b);
    if (a < 0 || b < 0)
        return cx_fail(cx, LLM_E_SHAPE, "transpose: axes %d and %d of %s do not both exist", axis_a,
                       axis_b, tensor_shape_text(x));
    for (int32_t i = 0; i < x->dimensions; i++)
        axes[i] = i == a ? b : i == b ? a : i;
    return op_permute(cx, x, axes);
}

static void copy_backward(struct cx *cx, struct node *node)
{
    cx_grad_add(cx, node->in[0], node->out[0]->grad);
}

static const struct op copy_op = {"copy", copy_backward, NULL};

llm_tensor *cx_contiguous(struct cx *cx, llm_tensor *x)
{
    llm_tensor *y;

    if (cx->status || !x)
        return NULL;
    if (tensor_is_contiguous(x))
        return x;
    y = cx_output_like(cx, x);
    if (!y || !cx_values(cx, x))
        return NULL;
    if (tensor_copy(y, x))
        return cx_adopt(cx, LLM_E_SHAPE);
    (void)cx_record(cx, &copy_op, 1, &x, 1, &y, 0);
    return y;
}

/* The part of y [.., sum of sizes, ..] that input i occupies. */
static void part_of(llm_tensor *part, const llm_tensor *y, int32_t axis, int64_t start,
                    int64_t size)
{
    (void)tensor_view_slice(part, y, axis, start, start + size, 1);
}

struct concat {
    int32_t axis;
};

static void concat_backward(struct cx *cx, struct node *node)
{
    const struct concat *saved = node->saved;
    int64_t start = 0;

    for (int i = 0; i < node->inputs; i++) {
        llm_tensor *x = node->in[i];
        int64_t size = x->shape[saved->axis];
        llm_tensor part;

        part_of(&part, node->out[0]->grad, saved->axis, start, size);
        cx_grad_add(cx, x, &part);
        start += size;
    }
}

static const struct op concat_op = {"concat", concat_backward, NULL};

llm_tensor *op_concat(struct cx *cx, llm_tensor *const *x, int count, int32_t axis)
{
    int64_t shape[LLM_MAX_DIMENSIONS];
    int64_t start = 0;
    struct node *node;
    llm_tensor *y;
    int32_t at;

    if (cx->status)
        return NULL;
    if (count < 1 || count > NODE_INPUTS)
        return cx_fail(cx, LLM_E_RANGE, "concat: %d inputs, outside 1..%d", count, NODE_INPUTS);
    if (!cx_ready(cx, "concat", count, x))
        return NULL;
    at = tensor_axis(x[0], axis);
    if (at < 0)
        return cx_fail(cx, LLM_E_SHAPE, "concat: axis %d of %s does not exist", axis,
                       tensor_shape_text(x[0]));
    memcpy(shape, x[0]->shape, sizeof shape);
    shape[at] = 0;
    for (int i = 0; i < count; i++) {
        bool fits = x[i]->dimensions == x[0]->dimensions && x[i]->dtype == x[0]->dtype;

        for (int32_t d = 0; fits && d < x[0]->dimensions; d++)
            fits = d == at || x[i]->shape[d] == x[0]->shape[d];
        if (!fits)
            return cx_fail(cx, LLM_E_SHAPE, "concat: %s does not fit %s along axis %d",
                           tensor_shape_text(x[i]), tensor_shape_text(x[0]), axis);
        shape[at] += x[i]->shape[at];
    }
    y = cx_output(cx, x[0]->dtype, x[0]->dimensions, shape);
    for (int i = 0; y && i < count; i++) {
        llm_tensor part;

        part_of(&part, y, at, start, x[i]->shape[at]);
        if (tensor_copy(&part, x[i]))
            return cx_adopt(cx, LLM_E_SHAPE);
        start += x[i]->shape[at];
    }
    node = cx_record(cx, &concat_op, count, x, 1, &y, sizeof(struct concat));
    if (node)
        ((struct concat *)node->saved)->axis = at;
    return y;
}
