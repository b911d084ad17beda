/* SPDX-License-Identifier: MIT
 *
 * Dropout (Srivastava et al. 2014), inverted: what stays is scaled by 1 / (1 - p). The mask is a
 * function of (seed, stream, element) and is computed again in the backward pass, never stored.
 */
#include "graph/op.h"
#include "graph/rows.h"

struct dropout_job {
    const struct vector_kernels *vector;
    struct vector_dropout dropout;
    float *y, beta;
    const float *x;
};

static void dropout_range(void *arg, int64_t begin, int64_t end)
{
    const struct dropout_job *job = arg;
    struct vector_dropout dropout = job->dropout;

    dropout.first = (uint64_t)begin;
    job->vector->dropout(job->y + begin, job->beta, job->x + begin, end - begin, &dropout);
}

static void dropout_run(struct cx *cx, const struct vector_dropout *dropout, float *y, float beta,
                        const float *x, int64_t count)
{
    struct dropout_job job = {&cx->kernels->vector, *dropout, y, beta, x};

    if (x)
        parallel_for(cx->threads, count, ROWS_WORK / 2, dropout_range, &job);
}

static void dropout_backward(struct cx *cx, struct node *node)
{
    float beta;
    llm_tensor *dx = cx_grad(cx, node->in[0], &beta);

    if (dx)
        dropout_run(cx, node->saved, dx->data, beta, cx_out_grad(node, 0), tensor_count(dx));
}

static void dropout_recompute(struct cx *cx, struct node *node)
{
    llm_tensor *y = node->out[0];

    if (cx_refill(cx, y))
        dropout_run(cx, node->saved, y->data, 0.0f, cx_values(cx, node->in[0]), tensor_count(y));
}

static const struct op dropout_op = {"dropout", dropout_backward, dropout_recompute};

llm_tensor *op_dropout(struct cx *cx, llm_tensor *x, float given)
{
    float probability = cx_dropout(cx, given);
    struct vector_dropout dropout = {.seed = cx->seed, .scale = 1.0f / (1.0f - probability)};
    struct node *node;
    llm_tensor *y;

    if (!cx_ready(cx, "dropout", 1, &x) || !rows_are_f32(cx, "dropout", 1, &x))
        return NULL;
    if (!(probability >= 0.0f && probability < 1.0f))
        return cx_fail(cx, LLM_E_RANGE, "dropout: probability %g is outside [0, 1)",
                       (double)probability);
    if (!cx->training || probability == 0.0f)
        return x;
    x = cx_contiguous(cx, x);
    y = x ? cx_output_like(cx, x) : NULL;
    if (!y)
        return NULL;
    dropout.stream = cx->stream++;
    dropout.threshold = (uint32_t)((double)probability * 0x1p32);
    dropout_run(cx, &dropout, y->data, 0.0f, x->data, tensor_count(x));
    node = cx_record(cx, &dropout_op, 1, &x, 1, &y, sizeof dropout);
    if (node)
        *(struct vector_dropout *)node->saved = dropout;
    return cx->status ? NULL : y;
}
