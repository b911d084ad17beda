/* SPDX-License-Identifier: MIT
 *
 * Softmax and log-softmax. Rows of the last axis; another axis is moved there and back.
 */
#include "graph/op.h"
#include "graph/rows.h"

struct softmax_job {
    const struct vector_kernels *vector;
    bool is_log;
    int64_t n;
    float beta;
    float *out;
    const float *x, *dy, *y;
};

static void softmax_rows(void *arg, int64_t begin, int64_t end)
{
    const struct softmax_job *job = arg;

    for (int64_t row = begin; row < end; row++) {
        if (job->is_log)
            job->vector->log_softmax(job->out + row * job->n, job->x + row * job->n, job->n);
        else
            job->vector->softmax(job->out + row * job->n, job->x + row * job->n, job->n);
    }
}

static void softmax_backward_rows(void *arg, int64_t begin, int64_t end)
{
    const struct softmax_job *job = arg;

    for (int64_t row = begin; row < end; row++) {
        int64_t at = row * job->n;

        if (job->is_log)
            job->vector->log_softmax_backward(job->out + at, job->beta, job->dy + at, job->y + at,
                                              job->n);
        else
            job->vector->softmax_backward(job->out + at, job->beta, job->dy + at, job->y + at,
                                          job->n);
    }
}

static void softmax_run(struct cx *cx, bool is_log, llm_tensor *y, llm_tensor *x)
{
    struct softmax_job job = {
        .vector = &cx->kernels->vector, .is_log = is_log, .n = tensor_last(x), .out = y->data};

    job.x = cx_values(cx, x);
    if (job.x)
        parallel_for(cx->threads, tensor_rows(x), rows_grain(job.n * 4), softmax_rows, &job);
}

static void backward(struct cx *cx, struct node *node, bool is_log)
{
    struct softmax_job job = {
        .vector = &cx->kernels->vector, .is_log = is_log, .n = tensor_last(node->out[0])};
    llm_tensor *dx;

    job.dy = cx_out_grad(node, 0);
    job.y = cx_values(cx, node->out[0]);
    dx = cx_grad(cx, node->in[0], &job.beta);
    if (!dx || !job.y)
        return;
    job.out = dx->data;
    parallel_for(cx->threads, tensor_rows(dx), rows_grain(job.n * 2), softmax_backward_rows, &job);
}

static void softmax_backward(struct cx *cx, struct node *node)
{
    backward(cx, node, false);
}

static void log_softmax_backward(struct cx *cx, struct node *node)
{
    backward(cx, node, true);
}

static void softmax_recompute(struct cx *cx, struct node *node)
{
    if (cx_refill(cx, node->out[0]))
        softmax_run(cx, false, node->out[0], node->in[0]);
}

static void log_softmax_recompute(struct cx *cx, struct node *node)
{
    if (cx_refill(cx, node->out[0]))
        softmax_run(cx, true, node->out[0], node->in[0]);
}

static const struct op softmax_op = {"softmax", softmax_backward, softmax_recompute};
static const struct op log_softmax_op = {"log_softmax", log_softmax_backward,
                                         log_softmax_recompute};

static llm_tensor *last_axis(struct cx *cx, const struct op *op, bool is_log, llm_tensor *x)
{
    llm_tensor *y;

    x = cx_contiguous(cx, x);
    y = x ? cx_output_like(cx, x) : NULL;
    if (!y)
        return NULL;
    softmax_run(cx, is_log, y, x);
    (void)cx_record(cx, op, 1, &x, 1, &y, 0);
    return cx->status ? NULL : y;
}

static llm_tensor *softmax(struct cx *cx, const struct op *op, bool is_log, llm_tensor *x,
                           int32_t axis)
{
    int32_t at;

    if (!cx_ready(cx, op->name, 1, &x) || !rows_are_f32(cx, op->name, 1, &x))
        return NULL;
    at = tensor_axis(x, axis);
    if (at < 0 && x->dimensions > 0)
        return cx_fail(cx, LLM_E_SHAPE, "%s: axis %d of %s does not exist", op->name, axis,
                       tensor_shape_text(x));
    if (at < 0 || at == x->dimensions - 1)
        return last_axis(cx, op, is_log, x);
    x = op_transpose(cx, x, at, -1);
    x = x ? last_axis(cx, op, is_log, x) : NULL;
    return x ? op_transpose(cx, x, at, -1) : NULL;
}

llm_tensor *op_softmax(struct cx *cx, llm_tensor *x, int32_t axis)
{
    return softmax(cx, &softmax_op, false, x, axis);
}

llm_tensor *op_log_softmax(struct cx *cx, llm_tensor *x, int32_t axis)
{
    return softmax(cx, &log_softmax_op, true, x, axis);
}
