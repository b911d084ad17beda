/* SPDX-License-Identifier: MIT
 *
 * Layer norm and RMS norm over the last axis. Mean and 1 / deviation of each row are kept for the
 * backward pass, the result is not: it can be computed again after cx_release(). The gradients of
 * weight and bias are summed over fixed chunks of rows, then over the chunks in order.
 */
#include "graph/op.h"
#include "graph/rows.h"

struct norm {
    llm_tensor *stats; /* [2, rows]: mean (layer norm), rstd */
    float epsilon, offset;
    bool is_layer_norm;
};

struct norm_job {
    const struct vector_kernels *vector;
    const struct norm *norm;
    int64_t rows, n, chunk;
    float *y, *mean, *rstd;
    const float *x, *weight, *bias, *dy;
    float *dx, beta;
    float *dweight, *dbias; /* [chunks, n] each, or NULL */
};

static void norm_rows(void *arg, int64_t begin, int64_t end)
{
    const struct norm_job *job = arg;
    int64_t at = begin * job->n;

    if (job->norm->is_layer_norm)
        job->vector->layer_norm(job->y + at, job->mean ? job->mean + begin : NULL,
                                job->rstd ? job->rstd + begin : NULL, job->x + at, job->weight,
                                job->bias, end - begin, job->n, job->norm->epsilon);
    else
        job->vector->rms_norm(job->y + at, job->rstd ? job->rstd + begin : NULL, job->x + at,
                              job->weight, job->norm->offset, end - begin, job->n,
                              job->norm->epsilon);
}

static void norm_backward_chunk(void *arg, int64_t chunk)
{
    const struct norm_job *job = arg;
    int64_t begin = chunk * job->chunk;
    int64_t rows = job->rows - begin < job->chunk ? job->rows - begin : job->chunk;
    int64_t at = begin * job->n;
    float *dx = job->dx ? job->dx + at : NULL;
    float *dweight = job->dweight ? job->dweight + chunk * job->n : NULL;
    float *dbias = job->dbias ? job->dbias + chunk * job->n : NULL;

    if (dweight)
        job->vector->fill(dweight, 0.0f, job->n);
    if (dbias)
        job->vector->fill(dbias, 0.0f, job->n);
    if (job->norm->is_layer_norm)
        job->vector->layer_norm_backward(dx, job->beta, dweight, dbias, job->dy + at, job->x + at,
                                         job->weight, job->mean + begin, job->rstd + begin, rows,
                                         job->n);
    else
        job->vector->rms_norm_backward(dx, job->beta, dweight, job->dy + at, job->x + at,
                                       job->weight, job->norm->offset, job->rstd + begin, rows,
                                       job->n);
}

static const float *data_of(const llm_tensor *tensor)
{
    return tensor ? tensor->data : NULL;
}

static struct norm_job norm_job(struct cx *cx, const struct norm *norm, llm_tensor *const *in)
{
    struct norm_job job = {.vector = &cx->kernels->vector, .norm = norm};

    job.rows = tensor_rows(in[0]);
    job.n = tensor_last(in[0]);
    job.x = cx_values(cx, in[0]);
    job.weight = data_of(in[1]);
    job.bias = data_of(in[2]);
    if (norm->stats) {
        job.mean = norm->stats->data;
        job.rstd = job.mean + job.rows;
    }
    return job;
}

static void norm_run(struct cx *cx, const struct norm *norm, llm_tensor *y, llm_tensor *const *in)
{
    struct norm_job job = norm_job(cx, norm, in);

    job.y = y->data;
    if (job.x)
        parallel_for(cx->threads, job.rows, rows_grain(job.n), norm_rows, &job);
}

/* gradient of a parameter += the chunks' sums */
static void add_chunks(struct cx *cx, llm_tensor *parameter, const float *sums, int64_t chunks,
                       int64_t n)
{
    float beta;
    llm_tensor *grad = sums ? cx_grad(cx, parameter, &beta) : NULL;

    if (grad)
        cx->kernels->vector.column_sums(grad->data, beta, sums, chunks, n, n);
}

static void norm_backward(struct cx *cx, struct node *node)
{
    struct norm_job job = norm_job(cx, node->saved, node->in);
    llm_tensor *weight = node->in[1];
    llm_tensor *bias = node->in[2];
    struct storage *sums = NULL;
    llm_tensor *dx;
    int64_t chunks;

    job.chunk = rows_per_chunk(job.rows);
    chunks = (job.rows + job.chunk - 1) / job.chunk;
    job.dy = cx_out_grad(node, 0);
    dx = cx_grad(cx, node->in[0], &job.beta);
    job.dx = dx ? dx->data : NULL;
    sums = cx_take(cx, (size_t)(2 * chunks * job.n) * sizeof(float));
    if (!sums || cx->status)
        goto done;
    if (weight && weight->requires_grad)
        job.dweight = sums->data;
    if (bias && bias->requires_grad)
        job.dbias = (float *)sums->data + chunks * job.n;
    parallel_each(job.rows * job.n < ROWS_WORK ? 1 : cx->threads, chunks, norm_backward_chunk,
                  &job);
    add_chunks(cx, weight, job.dweight, chunks, job.n);
    add_chunks(cx, bias, job.dbias, chunks, job.n);
done:
    storage_release(sums);
}

static void norm_recompute(struct cx *cx, struct node *node)
{
    if (cx_refill(cx, node->out[0]))
        norm_run(cx, node->saved, node->out[0], node->in);
}

static const struct op layer_norm_op = {"layer_norm", norm_backward, norm_recompute};
static const struct op rms_norm_op = {"rms_norm", norm_backward, norm_recompute};

static bool fits(struct cx *cx, const char *op, const llm_tensor *x, const llm_tensor *parameter,
                 const char *what)
{
    if (!parameter || (parameter->dimensions == 1 && parameter->shape[0] == tensor_last(x)))
        return true;
    cx_fail(cx, LLM_E_SHAPE, "%s: %s %s does not fit x %s", op, what, tensor_shape_text(parameter),
            tensor_shape_text(x));
    return false;
}

static llm_tensor *norm_op(struct cx *cx, const struct op *op, struct norm norm,
                           llm_tensor *const *given)
{
    llm_tensor *in[3] = {0};
    struct node *node;
    llm_tensor *y;

    if (!cx_ready(cx, op->name, 1, given) || !rows_are_f32(cx, op->name, 3, given) ||
        !fits(cx, op->name, given[0], given[1], "weight") ||
        !fits(cx, op->name, given[0], given[2], "bias"))
        return NULL;
    if (given[0]->dimensions < 1)
        return cx_fail(cx, LLM_E_SHAPE, "%s: x is a scalar", op->name);
    for (int i = 0; i < 3; i++) {
        if (given[i] && !cx_values(cx, given[i]))
            return NULL;
        in[i] = given[i] ? cx_contiguous(cx, given[i]) : NULL;
    }
    y = cx->status ? NULL : cx_output_like(cx, in[0]);
    if (!y)
        return NULL;
    if (cx_will_record(cx, 3, in)) {
        norm.stats = cx_output_2d(cx, 2, tensor_rows(in[0]));
        if (!norm.stats)
            return NULL;
    }
    norm_run(cx, &norm, y, in);
    node = cx_record(cx, op, 3, in, 1, &y, sizeof norm);
    if (node)
        *(struct norm *)node->saved = norm;
    return cx->status ? NULL : y;
}

llm_tensor *op_layer_norm(struct cx *cx, llm_tensor *x, llm_tensor *weight, llm_tensor *bias,
                          float epsilon)
{
    llm_tensor *in[3] = {x, weight, bias};
    struct norm norm = {.epsilon = epsilon, .is_layer_norm = true};

    return norm_op(cx, &layer_norm_op, norm, in);
}

llm_tensor *op_rms_norm(struct cx *cx, llm_tensor *x, llm_tensor *weight, float epsilon,
                        float offset)
{
    llm_tensor *in[3] = {x, weight, NULL};
    struct norm norm = {.epsilon = epsilon, .offset = offset};

    return norm_op(cx, &rms_norm_op, norm, in);
}
