/* SPDX-License-Identifier: MIT
 *
 * Maximum and average over windows of the last one or two axes, without padding. The gradient of a
 * maximum goes to its first place in the window, which is looked for again in the backward pass
 * rather than stored.
 */
#include "graph/op.h"

#include "base/parallel.h"

#include <math.h>
#include <string.h>

enum { SMALL = 1 << 14 }; /* elements below which threads do not pay */

struct pooling {
    bool is_max;
    int64_t height, width; /* of the input plane */
    int64_t window_height, window_width;
    int64_t stride_height, stride_width;
    int64_t out_height, out_width;
};

struct job {
    const struct pooling *p;
    const float *x;
    const float *dy;
    float *y;
    float *dx;
    float beta;
};

/* Offset in the plane of the first largest element of a window; a NaN counts as largest. */
static int64_t find_max(const struct pooling *p, const float *plane, int64_t first)
{
    int64_t best = first;

    for (int64_t i = 0; i < p->window_height; i++) {
        for (int64_t j = 0; j < p->window_width; j++) {
            int64_t at = first + i * p->width + j;

            if (plane[at] > plane[best] || (isnan(plane[at]) && !isnan(plane[best])))
                best = at;
        }
    }
    return best;
}

static float average(const struct pooling *p, const float *plane, int64_t first)
{
    float sum = 0.0f;

    for (int64_t i = 0; i < p->window_height; i++) {
        for (int64_t j = 0; j < p->window_width; j++)
            sum += plane[first + i * p->width + j];
    }
    return sum / (float)(p->window_height * p->window_width);
}

static int64_t window_start(const struct pooling *p, int64_t out)
{
    return out / p->out_width * p->stride_height * p->width + out % p->out_width * p->stride_width;
}

static void pool_planes(void *arg, int64_t begin, int64_t end)
{
    const struct job *job = arg;
    const struct pooling *p = job->p;
    int64_t outputs = p->out_height * p->out_width;

    for (int64_t plane = begin; plane < end; plane++) {
        const float *x = job->x + plane * p->height * p->width;
        float *y = job->y + plane * outputs;

        for (int64_t o = 0; o < outputs; o++) {
            int64_t first = window_start(p, o);

            y[o] = p->is_max ? x[find_max(p, x, first)] : average(p, x, first);
        }
    }
}

static void spread(const struct pooling *p, float *dx, int64_t first, float share)
{
    for (int64_t i = 0; i < p->window_height; i++) {
        for (int64_t j = 0; j < p->window_width; j++)
            dx[first + i * p->width + j] += share;
    }
}

static void pool_planes_backward(void *arg, int64_t begin, int64_t end)
{
    const struct job *job = arg;
    const struct pooling *p = job->p;
    int64_t outputs = p->out_height * p->out_width;
    int64_t size = p->height * p->width;
    float part = 1.0f / (float)(p->window_height * p->window_width);

    for (int64_t plane = begin; plane < end; plane++) {
        const float *dy = job->dy + plane * outputs;
        float *dx = job->dx + plane * size;

        if (job->beta == 0.0f)
            memset(dx, 0, (size_t)size * sizeof *dx);
        for (int64_t o = 0; o < outputs; o++) {
            int64_t first = window_start(p, o);

            if (p->is_max)
                dx[find_max(p, job->x + plane * size, first)] += dy[o];
            else
                spread(p, dx, first, dy[o] * part);
        }
    }
}

static void run_planes(struct cx *cx, struct job *job, int64_t count, parallel_range_fn fn)
{
    int64_t plane = job->p->height * job->p->width;

    if (plane > 0)
        parallel_for(count < SMALL ? 1 : cx->threads, count / plane, 1, fn, job);
}

static void pool_backward(struct cx *cx, struct node *node)
{
    struct job job = {.p = node->saved, .dy = cx_out_grad(node, 0)};
    llm_tensor *x = node->in[0];
    llm_tensor *dx = cx_grad(cx, x, &job.beta);

    if (!dx)
        return;
    job.dx = dx->data;
    if (job.p->is_max) {
        job.x = cx_values(cx, x);
        if (!job.x)
            return;
    }
    run_planes(cx, &job, tensor_count(x), pool_planes_backward);
}

static const struct op pool_op = {"pool", pool_backward, NULL};

/* Fills the output sizes; false when no window fits. */
static bool plan(struct cx *cx, const char *name, struct pooling *p, const llm_tensor *x,
                 int32_t axes)
{
    if (x->dtype != LLM_F32) {
        cx_fail(cx, LLM_E_UNSUPPORTED, "%s: the tensor must be f32", name);
        return false;
    }
    if (p->window_height < 1 || p->window_width < 1 || p->stride_height < 1 ||
        p->stride_width < 1) {
        cx_fail(cx, LLM_E_RANGE, "%s: windows and strides must be at least 1", name);
        return false;
    }
    p->height = axes == 2 && x->dimensions >= 2 ? x->shape[x->dimensions - 2] : 1;
    p->width = x->dimensions >= 1 ? tensor_last(x) : 0;
    if (x->dimensions < axes || p->window_height > p->height || p->window_width > p->width) {
        cx_fail(cx, LLM_E_SHAPE, "%s: a window of %lld x %lld does not fit into %s", name,
                (long long)p->window_height, (long long)p->window_width, tensor_shape_text(x));
        return false;
    }
    p->out_height = (p->height - p->window_height) / p->stride_height + 1;
    p->out_width = (p->width - p->window_width) / p->stride_width + 1;
    return true;
}

static llm_tensor *pool(struct cx *cx, const char *name, struct pooling p, llm_tensor *x,
                        int32_t axes)
{
    int64_t shape[LLM_MAX_DIMENSIONS];
    struct job job = {.p = &p};
    struct node *node;
    llm_tensor *y;

    if (!cx_ready(cx, name, 1, &x) || !plan(cx, name, &p, x, axes))
        return NULL;
    memcpy(shape, x->shape, sizeof shape);
    shape[x->dimensions - 1] = p.out_width;
    if (axes == 2)
        shape[x->dimensions - 2] = p.out_height;
    x = cx_contiguous(cx, x);
    y = x ? cx_output(cx, LLM_F32, x->dimensions, shape) : NULL;
    if (!y)
        return NULL;
    job.x = x->data;
    job.y = y->data;
    run_planes(cx, &job, tensor_count(x), pool_planes);
    node = cx_record(cx, &pool_op, 1, &x, 1, &y, sizeof p);
    if (node)
        memcpy(node->saved, &p, sizeof p);
    return cx->status ? NULL : y;
}

static struct pooling windows(bool is_max, int64_t height, int64_t width, int64_t stride_height,
                              int64_t stride_width)
{
    struct pooling p = {.is_max = is_max,
                        .window_height = height,
                        .window_width = width,
                        .stride_height = stride_height,
                        .stride_width = stride_width};

    return p;
}

llm_tensor *op_max_pool1d(struct cx *cx, llm_tensor *x, int64_t width, int64_t stride)
{
    return pool(cx, "max_pool1d", windows(true, 1, width, 1, stride), x, 1);
}

llm_tensor *op_avg_pool1d(struct cx *cx, llm_tensor *x, int64_t width, int64_t stride)
{
    return pool(cx, "avg_pool1d", windows(false, 1, width, 1, stride), x, 1);
}

llm_tensor *op_max_pool2d(struct cx *cx, llm_tensor *x, int64_t height, int64_t width,
                          int64_t stride_height, int64_t stride_width)
{
    return pool(cx, "max_pool2d", windows(true, height, width, stride_height, stride_width), x, 2);
}

llm_tensor *op_avg_pool2d(struct cx *cx, llm_tensor *x, int64_t height, int64_t width,
                          int64_t stride_height, int64_t stride_width)
{
    return pool(cx, "avg_pool2d", windows(false, height, width, stride_height, stride_width), x, 2);
}
