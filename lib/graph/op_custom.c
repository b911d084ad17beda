/* SPDX-License-Identifier: MIT
 *
 * A user's op: forward and backward are callbacks, which see contiguous tensors.
 */
#include "graph/op.h"

#include <string.h>

struct custom {
    struct custom_op op;
};

static void custom_forget(struct node *node)
{
    struct custom *saved = node->saved;

    if (saved->op.release)
        saved->op.release(saved->op.user);
}

/* Zeroed tensors for the gradients that are wanted. */
static bool make_gradients(struct cx *cx, const struct node *node, llm_tensor **d_in)
{
    for (int i = 0; i < node->inputs; i++) {
        if (!cx_values(cx, node->in[i]))
            return false;
        if (!node->in[i]->requires_grad)
            continue;
        d_in[i] = cx_output_like(cx, node->in[i]);
        if (!d_in[i])
            return false;
        tensor_zero(d_in[i]);
    }
    return cx_values(cx, node->out[0]) != NULL;
}

static void custom_backward(struct cx *cx, struct node *node)
{
    const struct custom *saved = node->saved;
    llm_tensor *d_in[NODE_INPUTS] = {0};
    llm_status status;

    if (make_gradients(cx, node, d_in)) {
        status =
            saved->op.backward(saved->op.user, node->inputs, (const llm_tensor *const *)node->in,
                               node->out[0], node->out[0]->grad, d_in);
        if (status)
            cx_fail(cx, status < 0 ? status : LLM_E_INVALID,
                    "custom: the backward callback returned %d", status);
    }
    for (int i = 0; i < node->inputs; i++) {
        if (!d_in[i])
            continue;
        cx_grad_add(cx, node->in[i], d_in[i]);
        storage_release(d_in[i]->storage);
        d_in[i]->storage = NULL;
        d_in[i]->data = NULL;
    }
}

static const struct op custom_backward_op = {"custom", custom_backward, NULL};

/* Runs forward and records; NULL after a failure. *is_recorded: the tape now owns op->user. */
static llm_tensor *run(struct cx *cx, const struct custom_op *op, int32_t inputs,
                       llm_tensor *const *given, int32_t dimensions, const int64_t *shape,
                       bool *is_recorded)
{
    llm_tensor *in[NODE_INPUTS] = {0};
    llm_tensor *y;
    struct node *node;
    llm_status status;

    if (inputs < 0 || inputs > NODE_INPUTS || (inputs > 0 && !given))
        return cx_fail(cx, LLM_E_RANGE, "custom: %d inputs, outside 0..%d, or NULL", inputs,
                       NODE_INPUTS);
    if (!op->forward || (dimensions > 0 && !shape))
        return cx_fail(cx, LLM_E_INVALID, "custom: the forward callback or the shape is NULL");
    if (!cx_ready(cx, "custom", inputs, given))
        return NULL;
    for (int32_t i = 0; i < inputs; i++)
        in[i] = cx_contiguous(cx, given[i]);
    y = cx_output(cx, LLM_F32, dimensions, shape);
    if (!y)
        return NULL;
    status = op->forward(op->user, inputs, (const llm_tensor *const *)in, y);
    if (status)
        return cx_fail(cx, status < 0 ? status : LLM_E_INVALID,
                       "custom: the forward callback returned %d", status);
    if (!op->backward)
        return y;
    node = cx_record(cx, &custom_backward_op, inputs, in, 1, &y, sizeof(struct custom));
    if (node) {
        ((struct custom *)node->saved)->op = *op;
        node->forget = custom_forget;
        *is_recorded = true;
    }
    return cx->status ? NULL : y;
}

llm_tensor *op_custom(struct cx *cx, const struct custom_op *op, int32_t inputs,
                      llm_tensor *const *in, int32_t dimensions, const int64_t *shape)
{
    bool is_recorded = false;
    llm_tensor *y;

    if (!op)
        return cx_fail(cx, LLM_E_INVALID, "custom: the op is NULL");
    y = cx->status ? NULL : run(cx, op, inputs, in, dimensions, shape, &is_recorded);
    if (!is_recorded && op->release)
        op->release(op->user);
    return y;
}
