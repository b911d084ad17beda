/* SPDX-License-Identifier: MIT
 *
 * Convolution over time as a matrix product: the windows of each signal are unrolled into the
 * columns of [C / groups * width, T'] ("im2col"; Chellapilla, Puri & Simard 2006), a few signals at
 * a time so that the unrolled copy stays small. Width 1 with stride 1 needs no copy. Causal and
 * dilated as in WaveNet (van den Oord et al. 2016).
 */
#include "graph/op.h"
#include "graph/product.h"

#include "base/checked.h"
#include "base/parallel.h"

#include <string.h>

enum {
    UNROLLED = 1 << 21, /* floats of unrolled signals held at once */
    SMALL = 1 << 14     /* elements below which threads do not pay */
};

struct conv {
    int64_t batch, in, length;      /* x [batch, in, length] */
    int64_t out, width, out_length; /* weight [out, in / groups, width], y [batch, out, .] */
    int64_t groups, stride, dilation, left;
    int64_t group_in, group_out, taps; /* in / groups, out / groups, group_in * width */
    int64_t at_once;                   /* signals unrolled together */
    bool is_direct;                    /* x is its own unrolled form */
};

/* Signals [first, first + count) of the batch. */
struct job {
    const struct conv *c;
    const float *x;
    float *columns; /* [count, in * width, out_length] */
    float *dx;
    const float *row_bias;
    float *y;
    const float *dy;
    float *dbias;
    const struct vector_kernels *vector;
    float beta;
    int64_t first;
};

/* Outputs [*begin, *end) whose tap `k` falls inside the signal. */
static void inside(const struct conv *c, int64_t k, int64_t *begin, int64_t *end)
{
    int64_t shift = k * c->dilation - c->left; /* input position = t * stride + shift */
    int64_t last = c->length - 1 - shift;      /* t * stride <= last */

    *begin = shift >= 0 ? 0 : (-shift + c->stride - 1) / c->stride;
    *end = last < 0 ? 0 : last / c->stride + 1;
    if (*end > c->out_length)
        *end = c->out_length;
    if (*begin > *end)
        *begin = *end;
}

/* One row: channel `row / width`, tap `row % width` of one signal. */
static void unroll_rows(void *arg, int64_t begin_row, int64_t end_row)
{
    const struct job *job = arg;
    const struct conv *c = job->c;

    for (int64_t row = begin_row; row < end_row; row++) {
        int64_t k = row % c->width;
        int64_t shift = k * c->dilation - c->left;
        const float *x = job->x + (job->first * c->in + row / c->width) * c->length;
        float *to = job->columns + row * c->out_length;
        int64_t begin, end;

        inside(c, k, &begin, &end);
        memset(to, 0, (size_t)begin * sizeof *to);
        if (c->stride == 1 && end > begin) {
            memcpy(to + begin, x + begin + shift, (size_t)(end - begin) * sizeof *to);
        } else {
            for (int64_t t = begin; t < end; t++)
                to[t] = x[t * c->stride + shift];
        }
        memset(to + end, 0, (size_t)(c->out_length - end) * sizeof *to);
    }
}

/* The reverse, added up: one channel of one signal per index. */
static void roll_channels(void *arg, int64_t begin_channel, int64_t end_channel)
{
    const struct job *job = arg;
    const struct conv *c = job->c;

    for (int64_t channel = begin_channel; channel < end_channel; channel++) {
        float *dx = job->dx + (job->first * c->in + channel) * c->length;

        if (job->beta == 0.0f)
            memset(dx, 0, (size_t)c->length * sizeof *dx);
        for (int64_t k = 0; k < c->width; k++) {
            const float *from = job->columns + (channel * c->width + k) * c->out_length;
            int64_t shift = k * c->dilation - c->left;
            int64_t begin, end;

            inside(c, k, &begin, &end);
            for (int64_t t = begin; t < end; t++)
                dx[t * c->stride + shift] += from[t];
        }
    }
}

static void fill_bias(void *arg, int64_t begin, int64_t end)
{
    const struct job *job = arg;
    const struct conv *c = job->c;

    for (int64_t row = begin; row < end; row++)
        job->vector->fill(job->y + row * c->out_length, job->row_bias[row % c->out], c->out_length);
}

static void sum_bias(void *arg, int64_t begin, int64_t end)
{
    const struct job *job = arg;
    const struct conv *c = job->c;

    for (int64_t o = begin; o < end; o++) {
        double sum = 0.0;

        for (int64_t b = 0; b < c->batch; b++)
            sum += job->vector->sum(job->dy + (b * c->out + o) * c->out_length, c->out_length);
        job->dbias[o] = (float)(job->beta == 0.0f ? sum : (double)job->dbias[o] + sum);
    }
}

static int threads_for(const struct cx *cx, int64_t elements)
{
    return elements < SMALL ? 1 : cx->threads;
}

/* The unrolled signals [first, first + count), in scratch memory or x itself. */
static const float *unroll(struct cx *cx, const struct conv *c, const float *x, int64_t first,
                           int64_t count)
{
    struct job job = {.c = c, .x = x, .first = first};
    int64_t rows = count * c->in * c->width;

    if (c->is_direct)
        return x + first * c->in * c->length;
    job.columns = cx_scratch(cx, 1, (size_t)(rows * c->out_length) * sizeof(float));
    if (job.columns)
        parallel_for(threads_for(cx, rows * c->out_length), rows, 1, unroll_rows, &job);
    return job.columns;
}

static int64_t signals_from(const struct conv *c, int64_t first)
{
    return c->batch - first < c->at_once ? c->batch - first : c->at_once;
}

static void conv_run(struct cx *cx, const struct conv *c, llm_tensor *y, llm_tensor *x,
                     const llm_tensor *weight, const llm_tensor *bias)
{
    struct job fill = {.c = c, .vector = &cx->kernels->vector, .y = y->data};

    if (bias) {
        fill.row_bias = bias->data;
        parallel_for(threads_for(cx, tensor_count(y)), c->batch * c->out, 1, fill_bias, &fill);
    }
    for (int64_t b = 0; b < c->batch && !cx->status; b += c->at_once) {
        int64_t count = signals_from(c, b);
        const float *columns = unroll(cx, c, x->data, b, count);

        for (int64_t g = 0; columns && g < c->groups; g++) {
            struct gemm product = product_make(c->group_out, c->out_length, c->taps);

            product.a = tensor_f32(weight) + g * c->group_out * c->taps;
            product.lda = c->taps;
            product.b = columns + g * c->taps * c->out_length;
            product.ldb = c->out_length;
            product.c = tensor_f32(y) + (b * c->out + g * c->group_out) * c->out_length;
            product.ldc = c->out_length;
            product.batch = count;
            product.stride_b = c->in * c->width * c->out_length;
            product.stride_c = c->out * c->out_length;
            product.beta = bias ? 1.0f : 0.0f;
            product_run(cx, &product);
        }
    }
}

/* dX: the columns' gradient Wᵀ dY, rolled back. */
static void input_gradient(struct cx *cx, const struct conv *c, float *dx, float beta,
                           const float *weight, const float *dy)
{
    for (int64_t b = 0; b < c->batch && !cx->status; b += c->at_once) {
        int64_t count = signals_from(c, b);
        struct job job = {.c = c, .dx = dx, .beta = beta, .first = b};

        job.columns =
            c->is_direct
                ? dx + b * c->in * c->length
                : cx_scratch(cx, 1,
                             (size_t)(count * c->in * c->width * c->out_length) * sizeof(float));
        for (int64_t g = 0; job.columns && g < c->groups; g++) {
            struct gemm product = product_make(c->taps, c->out_length, c->group_out);

            product.a = weight + g * c->group_out * c->taps;
            product.lda = c->taps;
            product.trans_a = true;
            product.b = dy + (b * c->out + g * c->group_out) * c->out_length;
            product.ldb = c->out_length;
            product.c = job.columns + g * c->taps * c->out_length;
            product.ldc = c->out_length;
            product.batch = count;
            product.stride_b = c->out * c->out_length;
            product.stride_c = c->in * c->width * c->out_length;
            product.beta = c->is_direct ? beta : 0.0f;
            product_run(cx, &product);
        }
        if (!c->is_direct && !cx->status)
            parallel_for(threads_for(cx, count * c->in * c->length), count * c->in, 1,
                         roll_channels, &job);
    }
}

/* dW: dY times the unrolled x transposed, added up signal after signal. */
static void weight_gradient(struct cx *cx, const struct conv *c, float *dw, float beta,
                            const float *x, const float *dy)
{
    for (int64_t b = 0; b < c->batch && !cx->status; b += c->at_once) {
        int64_t count = signals_from(c, b);
        const float *columns = unroll(cx, c, x, b, count);

        for (int64_t i = 0; columns && i < count * c->groups; i++) {
            struct gemm product = product_make(c->group_out, c->taps, c->out_length);
            int64_t signal = i / c->groups, g = i % c->groups;

            product.a = dy + ((b + signal) * c->out + g * c->group_out) * c->out_length;
            product.lda = c->out_length;
            product.b = columns + (signal * c->groups + g) * c->taps * c->out_length;
            product.ldb = c->out_length;
            product.trans_b = true;
            product.c = dw + g * c->group_out * c->taps;
            product.ldc = c->taps;
            product.beta = b + signal > 0 ? 1.0f : beta;
            product_run(cx, &product);
        }
    }
}

static void conv_backward(struct cx *cx, struct node *node)
{
    const struct conv *c = node->saved;
    llm_tensor *x = node->in[0], *weight = node->in[1], *bias = node->in[2];
    const float *dy = cx_out_grad(node, 0);
    struct job job = {.c = c, .vector = &cx->kernels->vector, .dy = dy};
    llm_tensor *grad;
    float beta;

    if (!cx_values(cx, x) || !cx_values(cx, weight))
        return;
    grad = cx_grad(cx, x, &beta);
    if (grad)
        input_gradient(cx, c, grad->data, beta, weight->data, dy);
    grad = cx_grad(cx, weight, &beta);
    if (grad && beta == 0.0f && c->batch == 0)
        tensor_zero(grad);
    if (grad)
        weight_gradient(cx, c, grad->data, beta, x->data, dy);
    grad = bias ? cx_grad(cx, bias, &job.beta) : NULL;
    if (grad) {
        job.dbias = grad->data;
        parallel_for(threads_for(cx, c->batch * c->out * c->out_length), c->out, 1, sum_bias, &job);
    }
}

static const struct op conv_op = {"conv1d", conv_backward, NULL};

static bool check_shapes(struct cx *cx, const llm_tensor *x, const llm_tensor *weight,
                         const llm_tensor *bias, const struct conv1d_options *o)
{
    if (x->dtype != LLM_F32 || weight->dtype != LLM_F32 || (bias && bias->dtype != LLM_F32)) {
        cx_fail(cx, LLM_E_UNSUPPORTED, "conv1d: x, weight and bias must be f32");
        return false;
    }
    if (o->stride < 1 || o->dilation < 1 || o->groups < 1 || o->padding < 0) {
        cx_fail(cx, LLM_E_RANGE,
                "conv1d: stride, dilation and groups must be at least 1, padding at least 0");
        return false;
    }
    if (x->dimensions != 3 || weight->dimensions != 3 || weight->shape[2] < 1 ||
        weight->shape[0] % o->groups != 0 || weight->shape[1] < 1 ||
        x->shape[1] % weight->shape[1] != 0 || x->shape[1] / weight->shape[1] != o->groups) {
        cx_fail(cx, LLM_E_SHAPE, "conv1d: x %s does not fit weight %s with %lld groups",
                tensor_shape_text(x), tensor_shape_text(weight), (long long)o->groups);
        return false;
    }
    if (bias && (bias->dimensions != 1 || bias->shape[0] != weight->shape[0])) {
        cx_fail(cx, LLM_E_SHAPE, "conv1d: bias %s does not fit weight %s", tensor_shape_text(bias),
                tensor_shape_text(weight));
        return false;
    }
    return true;
}

static bool plan(struct cx *cx, struct conv *c, const llm_tensor *x, const llm_tensor *weight,
                 const struct conv1d_options *o)
{
    int64_t span, padded, unrolled;

    *c = (struct conv){.batch = x->shape[0],
                       .in = x->shape[1],
                       .length = x->shape[2],
                       .out = weight->shape[0],
                       .width = weight->shape[2],
                       .groups = o->groups,
                       .stride = o->stride,
                       .dilation = o->dilation};
    /* Overflow aside, padding beyond the span of the window would only compute with zeros. */
    if (!checked_mul_i64(c->width - 1, o->dilation, &span) || span > INT64_MAX / 4 ||
        o->padding > INT64_MAX / 4 || o->stride > INT64_MAX / 4 || c->length > INT64_MAX / 4) {
        cx_fail(cx, LLM_E_RANGE, "conv1d: dilation, padding or stride is too large");
        return false;
    }
    c->left = o->causal ? span : o->padding;
    padded = c->length + c->left + (o->causal ? 0 : o->padding);
    if (padded <= span || c->length == 0) {
        cx_fail(cx, LLM_E_SHAPE, "conv1d: a window of %lld does not fit into x %s",
                (long long)span + 1, tensor_shape_text(x));
        return false;
    }
    c->out_length = (padded - span - 1) / c->stride + 1;
    c->group_in = c->in / c->groups;
    c->group_out = c->out / c->groups;
    c->taps = c->group_in * c->width;
    c->is_direct = c->width == 1 && c->stride == 1 && c->left == 0 && padded == c->length;
    if (!checked_mul_i64(c->in * c->width, c->out_length, &unrolled) || unrolled > INT64_MAX / 64) {
        cx_fail(cx, LLM_E_RANGE, "conv1d: x %s with this padding is too large",
                tensor_shape_text(x));
        return false;
    }
    c->at_once = unrolled < UNROLLED ? UNROLLED / (unrolled > 0 ? unrolled : 1) : 1;
    return true;
}

llm_tensor *op_conv1d(struct cx *cx, llm_tensor *x, llm_tensor *weight, llm_tensor *bias,
                      const struct conv1d_options *options)
{
    static const struct conv1d_options plain = {1, 1, 0, 1, false};
    llm_tensor *in[3] = {x, weight, bias};
    int64_t shape[3];
    struct conv c;
    struct node *node;
    llm_tensor *y;

    if (!options)
        options = &plain;
    if (!cx_ready(cx, "conv1d", bias ? 3 : 2, in) || !check_shapes(cx, x, weight, bias, options) ||
        !plan(cx, &c, x, weight, options))
        return NULL;
    in[0] = cx_contiguous(cx, x);
    in[1] = cx_contiguous(cx, weight);
    in[2] = cx_contiguous(cx, bias);
    shape[0] = c.batch;
    shape[1] = c.out;
    shape[2] = c.out_length;
    y = cx_output(cx, LLM_F32, 3, shape);
    if (!y)
        return NULL;
    conv_run(cx, &c, y, in[0], in[1], in[2]);
    node = cx_record(cx, &conv_op, 3, in, 1, &y, sizeof c);
    if (node)
        memcpy(node->saved, &c, sizeof c);
    return cx->status ? NULL : y;
}
