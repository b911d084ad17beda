/* SPDX-License-Identifier: MIT
 *
 * Sum, mean, maximum and variance over any set of axes. Every case is brought to the middle axis of
 * [outer, n, inner]: neighbouring axes are merged, and where the reduced ones are not neighbours x
 * is first copied with them at the end. Long rows are cut into chunks of fixed size whose results
 * are combined in order (Chan, Golub & LeVeque 1979 for the variance), so the bits do not depend on
 * the number of threads.
 */
#include "graph/op.h"

#include "base/parallel.h"

#include <math.h>
#include <string.h>

enum reduce_kind { KIND_SUM, KIND_MAX, KIND_VARIANCE };

enum {
    CHUNK = 1 << 16, /* elements of a row that one task reduces */
    COLUMNS = 64,    /* columns of one task, when inner > 1 */
    SMALL = 1 << 15  /* elements below which threads do not pay */
};

struct reduction {
    enum reduce_kind kind;
    int64_t outer, n, inner;
    double scale; /* sum: of the result; variance: 1 / (n - correction) */
    llm_tensor *mean;
};

/* What one task leaves: the sum or maximum, or mean and sum of squares of differences. */
struct partial {
    double value, squares;
};

struct job {
    const struct vector_kernels *vector;
    const struct reduction *r;
    const float *x;
    float *y, *mean;
    const float *dy;
    float *dx;
    float beta;
    int64_t chunks; /* of a row; column blocks of an outer index; backward: ranges of n */
    struct partial *partial;
};

/* ---- forward, inner == 1 ---- */

static void reduce_chunk(void *arg, int64_t begin, int64_t end)
{
    const struct job *job = arg;
    const struct reduction *r = job->r;

    for (int64_t i = begin; i < end; i++) {
        int64_t first = i % job->chunks * CHUNK;
        int64_t n = r->n - first < CHUNK ? r->n - first : CHUNK;
        const float *x = job->x + i / job->chunks * r->n + first;
        struct partial *partial = &job->partial[i];

        partial->squares = 0.0;
        if (r->kind == KIND_SUM) {
            partial->value = job->vector->sum(x, n);
        } else if (r->kind == KIND_MAX) {
            partial->value = (double)job->vector->max(x, n);
        } else {
            job->vector->mean_variance(&partial->value, &partial->squares, x, n);
            partial->squares *= (double)n;
        }
    }
}

static void combine(const struct reduction *r, struct partial *total, double before,
                    const struct partial *next, double count)
{
    double difference;

    if (r->kind == KIND_SUM) {
        total->value += next->value;
    } else if (r->kind == KIND_MAX) {
        if (next->value > total->value || isnan(next->value))
            total->value = next->value;
    } else {
        difference = next->value - total->value;
        total->value += difference * count / (before + count);
        total->squares +=
            next->squares + difference * difference * before * count / (before + count);
    }
}

static void combine_rows(const struct job *job)
{
    const struct reduction *r = job->r;

    for (int64_t row = 0; row < r->outer; row++) {
        struct partial total = job->partial[row * job->chunks];

        for (int64_t c = 1; c < job->chunks; c++) {
            int64_t rest = r->n - c * CHUNK;

            combine(r, &total, (double)(c * CHUNK), &job->partial[row * job->chunks + c],
                    (double)(rest < CHUNK ? rest : CHUNK));
        }
        if (r->kind == KIND_VARIANCE) {
            job->y[row] = (float)(total.squares * r->scale);
            job->mean[row] = (float)total.value;
        } else {
            job->y[row] = (float)(r->kind == KIND_SUM ? total.value * r->scale : total.value);
        }
    }
}

/* ---- forward, inner > 1 ---- */

static void sum_block(double *total, const float *x, int64_t n, int64_t width, int64_t stride)
{
    for (int64_t j = 0; j < width; j++)
        total[j] = 0.0;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < width; j++)
            total[j] += (double)x[i * stride + j];
    }
}

static void max_block(float *y, const float *x, int64_t n, int64_t width, int64_t stride)
{
    memcpy(y, x, (size_t)width * sizeof *y);
    for (int64_t i = 1; i < n; i++) {
        for (int64_t j = 0; j < width; j++) {
            float value = x[i * stride + j];

            if (value > y[j] || isnan(value))
                y[j] = value;
        }
    }
}

static void variance_block(const struct reduction *r, float *y, float *mean, const float *x,
                           int64_t width)
{
    double total[COLUMNS];
    double squares[COLUMNS] = {0};

    sum_block(total, x, r->n, width, r->inner);
    for (int64_t j = 0; j < width; j++)
        total[j] /= (double)r->n;
    for (int64_t i = 0; i < r->n; i++) {
        for (int64_t j = 0; j < width; j++) {
            double difference = (double)x[i * r->inner + j] - total[j];

            squares[j] += difference * difference;
        }
    }
    for (int64_t j = 0; j < width; j++) {
        y[j] = (float)(squares[j] * r->scale);
        mean[j] = (float)total[j];
    }
}

static void reduce_columns(void *arg, int64_t begin, int64_t end)
{
    const struct job *job = arg;
    const struct reduction *r = job->r;
    double total[COLUMNS];

    for (int64_t i = begin; i < end; i++) {
        int64_t outer = i / job->chunks;
        int64_t first = i % job->chunks * COLUMNS;
        int64_t width = r->inner - first < COLUMNS ? r->inner - first : COLUMNS;
        const float *x = job->x + outer * r->n * r->inner + first;
        float *y = job->y + outer * r->inner + first;

        if (r->kind == KIND_SUM) {
            sum_block(total, x, r->n, width, r->inner);
            for (int64_t j = 0; j < width; j++)
                y[j] = (float)(total[j] * r->scale);
        } else if (r->kind == KIND_MAX) {
            max_block(y, x, r->n, width, r->inner);
        } else {
            variance_block(r, y, job->mean + outer * r->inner + first, x, width);
        }
    }
}

/* ---- backward ---- */

/* Rows [begin, end) of the n that went into the results of index `outer`. */
static void sum_backward(const struct job *job, int64_t outer, int64_t begin, int64_t end)
{
    const struct reduction *r = job->r;
    float *dx = job->dx + (outer * r->n + begin) * r->inner;
    const float *dy = job->dy + outer * r->inner;
    float scale = (float)r->scale;

    if (r->inner == 1 && job->beta == 0.0f) {
        job->vector->fill(dx, dy[0] * scale, end - begin);
    } else if (r->inner == 1) {
        job->vector->binary_scalar[VECTOR_ADD](dx, 0.0f, dx, dy[0] * scale, end - begin);
    } else {
        for (int64_t i = 0; i < end - begin; i++)
            job->vector->affine(dx + i * r->inner, job->beta, dy, scale, 0.0f, r->inner);
    }
}

static bool is_maximum(float x, float y)
{
    return x == y || (isnan(x) && isnan(y));
}

static void max_backward(const struct job *job, int64_t outer)
{
    const struct reduction *r = job->r;
    const float *x = job->x + outer * r->n * r->inner;
    float *dx = job->dx + outer * r->n * r->inner;

    for (int64_t j = 0; j < r->inner; j++) {
        float y = job->y[outer * r->inner + j];
        int64_t ties = 0;
        float share;

        for (int64_t i = 0; i < r->n; i++)
            ties += is_maximum(x[i * r->inner + j], y);
        share = job->dy[outer * r->inner + j] / (float)ties;
        for (int64_t i = 0; i < r->n; i++) {
            float d = is_maximum(x[i * r->inner + j], y) ? share : 0.0f;
            float *at = &dx[i * r->inner + j];

            *at = job->beta == 0.0f ? d : *at + d;
        }
    }
}

static void variance_backward(const struct job *job, int64_t outer, int64_t begin, int64_t end)
{
    const struct reduction *r = job->r;
    const float *dy = job->dy + outer * r->inner;
    const float *mean = job->mean + outer * r->inner;
    float scale = (float)(2.0 * r->scale);

    for (int64_t i = begin; i < end; i++) {
        const float *x = job->x + (outer * r->n + i) * r->inner;
        float *dx = job->dx + (outer * r->n + i) * r->inner;

        for (int64_t j = 0; j < r->inner; j++) {
            float d = scale * dy[j] * (x[j] - mean[j]);

            dx[j] = job->beta == 0.0f ? d : dx[j] + d;
        }
    }
}

static void reduce_backward_chunk(void *arg, int64_t first, int64_t last)
{
    const struct job *job = arg;
    const struct reduction *r = job->r;

    for (int64_t i = first; i < last; i++) {
        int64_t outer = i / job->chunks;
        int64_t begin = r->n * (i % job->chunks) / job->chunks;
        int64_t end = r->n * (i % job->chunks + 1) / job->chunks;

        if (r->kind == KIND_SUM)
            sum_backward(job, outer, begin, end);
        else if (r->kind == KIND_MAX)
            max_backward(job, outer);
        else
            variance_backward(job, outer, begin, end);
    }
}

static int threads_for(const struct cx *cx, const struct reduction *r)
{
    return r->outer * r->n * r->inner < SMALL ? 1 : cx->threads;
}

static void reduce_backward(struct cx *cx, struct node *node)
{
    struct reduction *r = node->saved;
    struct job job = {.vector = &cx->kernels->vector, .r = r, .dy = cx_out_grad(node, 0)};
    llm_tensor *dx = cx_grad(cx, node->in[0], &job.beta);

    if (!dx)
        return;
    job.dx = dx->data;
    if (r->kind != KIND_SUM)
        job.x = cx_values(cx, node->in[0]);
    if (r->kind == KIND_MAX)
        job.y = cx_values(cx, node->out[0]);
    if (r->kind == KIND_VARIANCE)
        job.mean = cx_values(cx, r->mean);
    job.chunks = r->kind == KIND_MAX || r->n * r->inner <= CHUNK ? 1 : r->n * r->inner / CHUNK;
    if (!cx->status && r->inner > 0)
        parallel_for(threads_for(cx, r), r->outer * job.chunks, 1, reduce_backward_chunk, &job);
}

static const struct op reduce_op = {"reduce", reduce_backward, NULL};

/* ---- planning ---- */

static bool check_axes(struct cx *cx, const char *name, const llm_tensor *x, uint32_t *axes)
{
    uint32_t all = (1u << x->dimensions) - 1u;

    if (x->dtype != LLM_F32) {
        cx_fail(cx, LLM_E_UNSUPPORTED, "%s: the tensor must be f32", name);
        return false;
    }
    if (*axes & ~all) {
        cx_fail(cx, LLM_E_SHAPE, "%s: axes 0x%x do not all exist in %s", name, *axes,
                tensor_shape_text(x));
        return false;
    }
    if (*axes == 0)
        *axes = all;
    return true;
}

/* Are the reduced axes neighbours (those of size one aside)? Then x stays as it is. */
static bool plan(struct reduction *r, const llm_tensor *x, uint32_t axes)
{
    int state = 0; /* before, within, after the reduced axes */

    r->outer = r->n = r->inner = 1;
    for (int32_t i = 0; i < x->dimensions; i++) {
        bool reduced = (axes >> i & 1u) != 0;

        if (x->shape[i] == 1)
            continue;
        if (reduced && state == 2)
            return false;
        if (reduced)
            state = 1;
        else if (state == 1)
            state = 2;
        *(state == 0 ? &r->outer : state == 1 ? &r->n : &r->inner) *= x->shape[i];
    }
    return true;
}

/* x with the reduced axes last. */
static llm_tensor *reduced_last(struct cx *cx, llm_tensor *x, uint32_t axes)
{
    int32_t order[LLM_MAX_DIMENSIONS];
    int32_t count = 0;

    for (uint32_t wanted = 0; wanted < 2; wanted++) {
        for (int32_t i = 0; i < x->dimensions; i++) {
            if ((axes >> i & 1u) == wanted)
                order[count++] = i;
        }
    }
    return cx_contiguous(cx, op_permute(cx, x, order));
}

static void plan_last(struct reduction *r, const llm_tensor *x, uint32_t axes)
{
    int32_t kept = x->dimensions;

    for (uint32_t rest = axes; rest; rest &= rest - 1)
        kept--;
    r->outer = r->n = r->inner = 1;
    for (int32_t i = 0; i < x->dimensions; i++)
        *(i < kept ? &r->outer : &r->n) *= x->shape[i];
}

static llm_tensor *reduced_output(struct cx *cx, const llm_tensor *x, uint32_t axes, bool keep)
{
    int64_t shape[LLM_MAX_DIMENSIONS];
    int32_t dimensions = 0;

    for (int32_t i = 0; i < x->dimensions; i++) {
        bool reduced = (axes >> i & 1u) != 0;

        if (!reduced || keep)
            shape[dimensions++] = reduced ? 1 : x->shape[i];
    }
    return cx_output(cx, LLM_F32, dimensions, shape);
}

static void run(struct cx *cx, const struct reduction *r, llm_tensor *y, const llm_tensor *x)
{
    struct job job = {.vector = &cx->kernels->vector,
                      .r = r,
                      .x = x->data,
                      .y = y->data,
                      .mean = r->mean ? r->mean->data : NULL};

    if (r->inner == 0)
        return;
    if (r->inner > 1) {
        job.chunks = (r->inner + COLUMNS - 1) / COLUMNS;
        parallel_for(threads_for(cx, r), r->outer * job.chunks, 1, reduce_columns, &job);
        return;
    }
    job.chunks = r->n > CHUNK ? (r->n + CHUNK - 1) / CHUNK : 1;
    job.partial = cx_scratch(cx, 1, (size_t)(r->outer * job.chunks) * sizeof *job.partial);
    if (!job.partial)
        return;
    parallel_for(threads_for(cx, r), r->outer * job.chunks, 1, reduce_chunk, &job);
    combine_rows(&job);
}

static llm_tensor *reduce(struct cx *cx, const char *name, struct reduction r, llm_tensor *x,
                          uint32_t axes, bool keep, int32_t correction)
{
    llm_tensor *source;
    struct node *node;
    llm_tensor *y;

    if (!cx_ready(cx, name, 1, &x) || !check_axes(cx, name, x, &axes))
        return NULL;
    if (plan(&r, x, axes)) {
        source = cx_contiguous(cx, x);
    } else {
        source = reduced_last(cx, x, axes);
        if (source)
            plan_last(&r, source, axes);
    }
    if (!source)
        return NULL;
    if (r.kind == KIND_MAX && r.n == 0)
        return cx_fail(cx, LLM_E_SHAPE, "%s: no elements to choose from in %s", name,
                       tensor_shape_text(x));
    if (r.kind == KIND_VARIANCE)
        r.scale = 1.0 / (double)(r.n > correction ? r.n - correction : 0);
    else if (r.scale == 0.0)
        r.scale = 1.0 / (double)r.n;
    y = reduced_output(cx, x, axes, keep);
    r.mean = y && r.kind == KIND_VARIANCE ? cx_output_like(cx, y) : NULL;
    if (cx->status)
        return NULL;
    run(cx, &r, y, source);
    node = cx_record(cx, &reduce_op, 1, &source, 1, &y, sizeof r);
    if (node)
        memcpy(node->saved, &r, sizeof r);
    return cx->status ? NULL : y;
}

llm_tensor *op_sum(struct cx *cx, llm_tensor *x, uint32_t axes, bool keep)
{
    return reduce(cx, "sum", (struct reduction){.kind = KIND_SUM, .scale = 1.0}, x, axes, keep, 0);
}

llm_tensor *op_mean(struct cx *cx, llm_tensor *x, uint32_t axes, bool keep)
{
    return reduce(cx, "mean", (struct reduction){.kind = KIND_SUM}, x, axes, keep, 0);
}

llm_tensor *op_max(struct cx *cx, llm_tensor *x, uint32_t axes, bool keep)
{
    return reduce(cx, "max", (struct reduction){.kind = KIND_MAX}, x, axes, keep, 0);
}

llm_tensor *op_variance(struct cx *cx, llm_tensor *x, uint32_t axes, bool keep, int32_t correction)
{
    return reduce(cx, "variance", (struct reduction){.kind = KIND_VARIANCE}, x, axes, keep,
                  correction);
}
