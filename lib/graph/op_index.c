/* SPDX-License-Identifier: MIT
 *
 * Reading and adding at computed positions: gather and scatter_add along one axis (as in PyTorch)
 * and whole rows of a matrix. Each is the other's gradient. Positions may repeat, so what is added
 * to one place is added in order, by one thread.
 *
 * An index tensor must keep its values until the backward pass.
 */
#include "graph/op.h"

#include "base/parallel.h"

#include <string.h>

enum { SMALL = 1 << 14 }; /* elements below which threads do not pay */

/* One walk over an index tensor. "Large" is the tensor that the index points into, "small" the one
 * that runs beside the index; both contiguous, and at least as big as the index where they run
 * beside it. A line is all positions that differ along `axis` only. */
struct lines {
    const llm_tensor *index;
    int32_t axis;
    int64_t large_stride[LLM_MAX_DIMENSIONS];
    int64_t small_stride[LLM_MAX_DIMENSIONS];
    int64_t large_size; /* of the axis */
    float *large;
    float *small;
    bool to_large; /* large[index] += small, else small = beta small + large[index] */
    float beta;
};

static int64_t position(const struct lines *lines, int64_t at)
{
    const llm_tensor *index = lines->index;

    return index->dtype == LLM_I32 ? ((const int32_t *)index->data)[at]
                                   : ((const int64_t *)index->data)[at];
}

static void walk_line(const struct lines *lines, int64_t line)
{
    const llm_tensor *index = lines->index;
    int64_t at = 0, large = 0, small = 0;

    for (int32_t i = index->dimensions - 1; i >= 0; i--) {
        int64_t coordinate;

        if (i == lines->axis)
            continue;
        coordinate = line % index->shape[i];
        line /= index->shape[i];
        at += coordinate * index->stride[i];
        large += coordinate * lines->large_stride[i];
        small += coordinate * lines->small_stride[i];
    }
    for (int64_t j = 0; j < index->shape[lines->axis]; j++) {
        float *big =
            lines->large + large +
            position(lines, at + j * index->stride[lines->axis]) * lines->large_stride[lines->axis];
        float *little = lines->small + small + j * lines->small_stride[lines->axis];

        if (lines->to_large)
            *big += *little;
        else
            *little = lines->beta == 0.0f ? *big : *little + *big;
    }
}

static void walk_lines(void *arg, int64_t begin, int64_t end)
{
    for (int64_t line = begin; line < end; line++)
        walk_line(arg, line);
}

static void run_lines(struct cx *cx, struct lines *lines)
{
    int64_t count = tensor_count(lines->index);

    if (count > 0)
        parallel_for(count < SMALL ? 1 : cx->threads, count / lines->index->shape[lines->axis], 1,
                     walk_lines, lines);
}

static struct lines lines_make(const llm_tensor *index, int32_t axis, const llm_tensor *large,
                               const llm_tensor *small)
{
    struct lines lines = {.index = index, .axis = axis, .large_size = large->shape[axis]};

    memcpy(lines.large_stride, large->stride, sizeof lines.large_stride);
    memcpy(lines.small_stride, small->stride, sizeof lines.small_stride);
    return lines;
}

/* The index may be smaller than `other` along every axis but `axis` (NULL: along that one too). */
static bool fits(const llm_tensor *index, const llm_tensor *other, int32_t axis)
{
    if (index->dimensions != other->dimensions)
        return false;
    for (int32_t i = 0; i < index->dimensions; i++) {
        if (i != axis && index->shape[i] > other->shape[i])
            return false;
    }
    return true;
}

/* Checks dtypes, axis and every position; *index is made contiguous. */
static bool check_index(struct cx *cx, const char *name, const llm_tensor *x, int32_t *axis,
                        llm_tensor **index)
{
    struct lines lines;
    int64_t count = tensor_count(*index);

    if (x->dtype != LLM_F32 || ((*index)->dtype != LLM_I32 && (*index)->dtype != LLM_I64)) {
        cx_fail(cx, LLM_E_UNSUPPORTED, "%s: the tensor must be f32, the index i32 or i64", name);
        return false;
    }
    *axis = tensor_axis(x, *axis);
    if (*axis < 0 || !fits(*index, x, *axis)) {
        cx_fail(cx, LLM_E_SHAPE, "%s: index %s does not fit %s along that axis", name,
                tensor_shape_text(*index), tensor_shape_text(x));
        return false;
    }
    *index = cx_contiguous(cx, *index);
    if (!*index)
        return false;
    lines = lines_make(*index, *axis, x, x);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = position(&lines, i);

        if (at < 0 || at >= lines.large_size) {
            cx_fail(cx, LLM_E_RANGE, "%s: index %lld at position %lld, outside 0..%lld", name,
                    (long long)at, (long long)i, (long long)lines.large_size - 1);
            return false;
        }
    }
    return true;
}

struct along {
    int32_t axis;
};

static void gather_backward(struct cx *cx, struct node *node)
{
    const struct along *saved = node->saved;
    const llm_tensor *index = node->in[1];
    struct lines lines;
    float beta;
    llm_tensor *dx = cx_grad(cx, node->in[0], &beta);

    if (!dx || !cx_values(cx, node->in[1]))
        return;
    if (beta == 0.0f)
        tensor_zero(dx);
    lines = lines_make(index, saved->axis, dx, index);
    lines.large = dx->data;
    lines.small = (float *)(uintptr_t)cx_out_grad(node, 0);
    lines.to_large = true;
    run_lines(cx, &lines);
}

static const struct op gather_op = {"gather", gather_backward, NULL};

llm_tensor *op_gather(struct cx *cx, llm_tensor *x, int32_t axis, llm_tensor *index)
{
    llm_tensor *in[2] = {x, index};
    struct lines lines;
    struct node *node;
    llm_tensor *y;

    if (!cx_ready(cx, "gather", 2, in) || !check_index(cx, "gather", x, &axis, &in[1]))
        return NULL;
    in[0] = cx_contiguous(cx, x);
    y = in[0] ? cx_output(cx, LLM_F32, index->dimensions, index->shape) : NULL;
    if (!y)
        return NULL;
    lines = lines_make(in[1], axis, in[0], y);
    lines.large = in[0]->data;
    lines.small = y->data;
    run_lines(cx, &lines);
    node = cx_record(cx, &gather_op, 2, in, 1, &y, sizeof(struct along));
    if (node)
        ((struct along *)node->saved)->axis = axis;
    return cx->status ? NULL : y;
}

static void scatter_backward(struct cx *cx, struct node *node)
{
    const struct along *saved = node->saved;
    llm_tensor *source = node->in[2];
    struct lines lines;
    llm_tensor *dsource;

    cx_grad_add(cx, node->in[0], node->out[0]->grad);
    dsource = cx_grad(cx, source, &lines.beta);
    if (!dsource || !cx_values(cx, node->in[1]))
        return;
    if (lines.beta == 0.0f)
        tensor_zero(dsource); /* the index may leave parts of it out */
    lines = lines_make(node->in[1], saved->axis, node->out[0], dsource);
    lines.large = (float *)(uintptr_t)cx_out_grad(node, 0);
    lines.small = dsource->data;
    lines.beta = 1.0f;
    run_lines(cx, &lines);
}

static const struct op scatter_op = {"scatter_add", scatter_backward, NULL};

llm_tensor *op_scatter_add(struct cx *cx, llm_tensor *x, int32_t axis, llm_tensor *index,
                           llm_tensor *source)
{
    llm_tensor *in[3] = {x, index, source};
    struct lines lines;
    struct node *node;
    llm_tensor *y;

    if (!cx_ready(cx, "scatter_add", 3, in) || !check_index(cx, "scatter_add", x, &axis, &in[1]))
        return NULL;
    if (source->dtype != LLM_F32)
        return cx_fail(cx, LLM_E_UNSUPPORTED, "scatter_add: the source must be f32");
    if (!fits(index, source, -1))
        return cx_fail(cx, LLM_E_SHAPE, "scatter_add: index %s does not fit source %s",
                       tensor_shape_text(index), tensor_shape_text(source));
    in[2] = cx_contiguous(cx, source);
    y = in[2] ? cx_output_like(cx, x) : NULL;
    if (!y)
        return NULL;
    cx_adopt(cx, tensor_copy(y, x));
    lines = lines_make(in[1], axis, y, in[2]);
    lines.large = y->data;
    lines.small = in[2]->data;
    lines.to_large = true;
    run_lines(cx, &lines);
    node = cx_record(cx, &scatter_op, 3, in, 1, &y, sizeof(struct along));
    if (node)
        ((struct along *)node->saved)->axis = axis;
    return cx->status ? NULL : y;
}

/* ---- rows ---- */

struct rows {
    const struct vector_kernels *vector;
    float *table, *y;
    const int32_t *index;
    int64_t count, n;
};

static void read_rows(void *arg, int64_t begin, int64_t end)
{
    const struct rows *job = arg;

    job->vector->gather_rows(job->y + begin * job->n, job->n, job->table, job->n,
                             job->index + begin, end - begin, job->n);
}

static void add_columns(void *arg, int64_t begin, int64_t end)
{
    const struct rows *job = arg;

    job->vector->scatter_add_rows(job->table + begin, job->n, job->y + begin, job->n, job->index,
                                  job->count, end - begin);
}

static void rows_backward(struct cx *cx, struct node *node)
{
    llm_tensor *index = node->in[1];
    float beta;
    llm_tensor *dx = cx_grad(cx, node->in[0], &beta);
    struct rows job;

    if (!dx || !cx_values(cx, index))
        return;
    if (beta == 0.0f)
        tensor_zero(dx);
    job = (struct rows){
        &cx->kernels->vector, dx->data,        (float *)(uintptr_t)cx_out_grad(node, 0),
        index->data,          index->shape[0], 0};
    job.n = job.count ? tensor_count(node->out[0]) / job.count : 0;
    parallel_for(job.count * job.n < SMALL ? 1 : cx->threads, job.n, 16, add_columns, &job);
}

static const struct op rows_op = {"select_rows", rows_backward, NULL};

llm_tensor *op_select_rows(struct cx *cx, llm_tensor *x, const int32_t *index, int64_t count)
{
    llm_tensor *in[2] = {x, NULL};
    int64_t shape[LLM_MAX_DIMENSIONS];
    struct rows job;
    llm_tensor *y;

    if (!cx_ready(cx, "select_rows", 1, in))
        return NULL;
    if (x->dtype != LLM_F32 || x->dimensions < 1)
        return cx_fail(cx, LLM_E_SHAPE, "select_rows: needs an f32 tensor with rows, not %s",
                       tensor_shape_text(x));
    if (count < 0 || (!index && count > 0))
        return cx_fail(cx, LLM_E_INVALID, "select_rows: index is NULL or its count is negative");
    for (int64_t i = 0; i < count; i++) {
        if (index[i] < 0 || index[i] >= x->shape[0])
            return cx_fail(cx, LLM_E_RANGE, "select_rows: index %d at position %lld of %s",
                           index[i], (long long)i, tensor_shape_text(x));
    }
    memcpy(shape, x->shape, sizeof shape);
    shape[0] = count;
    in[0] = cx_contiguous(cx, x);
    in[1] = cx_output(cx, LLM_I32, 1, &count);
    y = cx_output(cx, LLM_F32, x->dimensions, shape);
    if (!y)
        return NULL;
    if (count)
        memcpy(in[1]->data, index, (size_t)count * sizeof *index);
    job = (struct rows){&cx->kernels->vector, in[0]->data, y->data, in[1]->data, count, 0};
    job.n = count ? tensor_count(y) / count : 0;
    parallel_for(count * job.n < SMALL ? 1 : cx->threads, count, 1, read_rows, &job);
    (void)cx_record(cx, &rows_op, 2, in, 1, &y, 0);
    return cx->status ? NULL : y;
}
