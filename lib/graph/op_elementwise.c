/* SPDX-License-Identifier: MIT
 *
 * Ops on one tensor, element by element, and SwiGLU (Shazeer 2020). The functions themselves are
 * rows of kernels/vector.h; all of them can be computed again after cx_release().
 */
#include "graph/op.h"
#include "graph/rows.h"

#include <math.h>

struct unary {
    int kind;
    float parameter;
};

struct unary_job {
    const struct vector_kernels *vector;
    int kind;
    float parameter, beta;
    float *out;
    const float *dy, *x, *y;
};

static void unary_range(void *arg, int64_t begin, int64_t end)
{
    const struct unary_job *job = arg;

    job->vector->unary[job->kind](job->out + begin, job->x + begin, end - begin, job->parameter);
}

static void unary_backward_range(void *arg, int64_t begin, int64_t end)
{
    const struct unary_job *job = arg;

    job->vector->unary_backward[job->kind](
        job->out + begin, job->beta, job->dy + begin, job->x ? job->x + begin : NULL,
        job->y ? job->y + begin : NULL, end - begin, job->parameter);
}

static void unary_run(struct cx *cx, int kind, float parameter, llm_tensor *y, llm_tensor *x)
{
    struct unary_job job = {.vector = &cx->kernels->vector, .kind = kind, .parameter = parameter};

    job.out = y->data;
    job.x = cx_values(cx, x);
    if (job.x)
        parallel_for(cx->threads, tensor_count(x), ROWS_WORK / 2, unary_range, &job);
}

static void unary_recompute(struct cx *cx, struct node *node)
{
    const struct unary *saved = node->saved;

    if (cx_refill(cx, node->out[0]))
        unary_run(cx, saved->kind, saved->parameter, node->out[0], node->in[0]);
}

static void unary_backward(struct cx *cx, struct node *node)
{
    const struct unary *saved = node->saved;
    int reads = vector_unary_reads[saved->kind];
    struct unary_job job = {
        .vector = &cx->kernels->vector, .kind = saved->kind, .parameter = saved->parameter};
    llm_tensor *dx;

    job.dy = cx_out_grad(node, 0);
    job.x = reads & VECTOR_READS_X ? cx_values(cx, node->in[0]) : NULL;
    job.y = reads & VECTOR_READS_Y ? cx_values(cx, node->out[0]) : NULL;
    dx = cx_grad(cx, node->in[0], &job.beta);
    if (!dx)
        return;
    job.out = dx->data;
    parallel_for(cx->threads, tensor_count(dx), ROWS_WORK / 2, unary_backward_range, &job);
}

static const struct op unary_ops[VECTOR_UNARY_COUNT] = {
    [VECTOR_EXP] = {"exp", unary_backward, unary_recompute},
    [VECTOR_LOG] = {"log", unary_backward, unary_recompute},
    [VECTOR_SQRT] = {"sqrt", unary_backward, unary_recompute},
    [VECTOR_TANH] = {"tanh", unary_backward, unary_recompute},
    [VECTOR_SIGMOID] = {"sigmoid", unary_backward, unary_recompute},
    [VECTOR_RELU] = {"relu", unary_backward, unary_recompute},
    [VECTOR_LEAKY_RELU] = {"leaky_relu", unary_backward, unary_recompute},
    [VECTOR_GELU] = {"gelu", unary_backward, unary_recompute},
    [VECTOR_GELU_TANH] = {"gelu_tanh", unary_backward, unary_recompute},
    [VECTOR_SILU] = {"silu", unary_backward, unary_recompute},
    [VECTOR_SOFTPLUS] = {"softplus", unary_backward, unary_recompute},
    [VECTOR_SQUARE] = {"square", unary_backward, unary_recompute},
    [VECTOR_ABS] = {"abs", unary_backward, unary_recompute},
    [VECTOR_RECIPROCAL] = {"reciprocal", unary_backward, unary_recompute},
};

static llm_tensor *unary(struct cx *cx, int kind, llm_tensor *x, float parameter)
{
    const struct op *op = &unary_ops[kind];
    struct node *node;
    llm_tensor *y;

    if (!cx_ready(cx, op->name, 1, &x) || !rows_are_f32(cx, op->name, 1, &x))
        return NULL;
    x = cx_contiguous(cx, x);
    y = x ? cx_output_like(cx, x) : NULL;
    if (!y)
        return NULL;
    unary_run(cx, kind, parameter, y, x);
    node = cx_record(cx, op, 1, &x, 1, &y, sizeof(struct unary));
    if (node)
        *(struct unary *)node->saved = (struct unary){kind, parameter};
    return cx->status ? NULL : y;
}

llm_tensor *op_abs(struct cx *cx, llm_tensor *x)
{
    return unary(cx, VECTOR_ABS, x, 0.0f);
}

llm_tensor *op_exp(struct cx *cx, llm_tensor *x)
{
    return unary(cx, VECTOR_EXP, x, 0.0f);
}

llm_tensor *op_log(struct cx *cx, llm_tensor *x)
{
    return unary(cx, VECTOR_LOG, x, 0.0f);
}

llm_tensor *op_sqrt(struct cx *cx, llm_tensor *x)
{
    return unary(cx, VECTOR_SQRT, x, 0.0f);
}

llm_tensor *op_tanh(struct cx *cx, llm_tensor *x)
{
    return unary(cx, VECTOR_TANH, x, 0.0f);
}

llm_tensor *op_sigmoid(struct cx *cx, llm_tensor *x)
{
    return unary(cx, VECTOR_SIGMOID, x, 0.0f);
}

llm_tensor *op_relu(struct cx *cx, llm_tensor *x)
{
    return unary(cx, VECTOR_RELU, x, 0.0f);
}

llm_tensor *op_leaky_relu(struct cx *cx, llm_tensor *x, float slope)
{
    return unary(cx, VECTOR_LEAKY_RELU, x, slope);
}

llm_tensor *op_gelu(struct cx *cx, llm_tensor *x)
{
    return unary(cx, VECTOR_GELU, x, 0.0f);
}

llm_tensor *op_gelu_tanh(struct cx *cx, llm_tensor *x)
{
    return unary(cx, VECTOR_GELU_TANH, x, 0.0f);
}

llm_tensor *op_silu(struct cx *cx, llm_tensor *x)
{
    return unary(cx, VECTOR_SILU, x, 0.0f);
}

llm_tensor *op_softplus(struct cx *cx, llm_tensor *x)
{
    return unary(cx, VECTOR_SOFTPLUS, x, 0.0f);
}

/* ---- scale * x + shift ------------------------------------------------------------------------
 */

struct affine {
    float scale, shift;
};

struct affine_job {
    const struct vector_kernels *vector;
    float scale, shift, beta;
    float *y;
    const float *x;
};

static void affine_range(void *arg, int64_t begin, int64_t end)
{
    const struct affine_job *job = arg;

    job->vector->affine(job->y + begin, job->beta, job->x + begin, job->scale, job->shift,
                        end - begin);
}

static void affine_run(struct cx *cx, float *y, float beta, const float *x, float scale,
                       float shift, int64_t n)
{
    struct affine_job job = {&cx->kernels->vector, scale, shift, beta, y, x};

    if (x)
        parallel_for(cx->threads, n, ROWS_WORK, affine_range, &job);
}

static void affine_recompute(struct cx *cx, struct node *node)
{
    const struct affine *saved = node->saved;
    llm_tensor *y = node->out[0];

    if (cx_refill(cx, y))
        affine_run(cx, y->data, 0.0f, cx_values(cx, node->in[0]), saved->scale, saved->shift,
                   tensor_count(y));
}

static void affine_backward(struct cx *cx, struct node *node)
{
    const struct affine *saved = node->saved;
    float beta;
    llm_tensor *dx = cx_grad(cx, node->in[0], &beta);

    if (dx)
        affine_run(cx, dx->data, beta, cx_out_grad(node, 0), saved->scale, 0.0f, tensor_count(dx));
}

static const struct op affine_op = {"affine", affine_backward, affine_recompute};

llm_tensor *op_affine(struct cx *cx, llm_tensor *x, float scale, float shift)
{
    struct node *node;
    llm_tensor *y;

    if (!cx_ready(cx, "affine", 1, &x) || !rows_are_f32(cx, "affine", 1, &x))
        return NULL;
    x = cx_contiguous(cx, x);
    y = x ? cx_output_like(cx, x) : NULL;
    if (!y)
        return NULL;
    affine_run(cx, y->data, 0.0f, x->data, scale, shift, tensor_count(x));
    node = cx_record(cx, &affine_op, 1, &x, 1, &y, sizeof(struct affine));
    if (node)
        *(struct affine *)node->saved = (struct affine){scale, shift};
    return cx->status ? NULL : y;
}

/* ---- x^exponent -------------------------------------------------------------------------------
 */

struct power_job {
    float *out;
    const float *x, *dy;
    float exponent, beta;
};

static void power_range(void *arg, int64_t begin, int64_t end)
{
    const struct power_job *job = arg;

    for (int64_t i = begin; i < end; i++)
        job->out[i] = powf(job->x[i], job->exponent);
}

static void power_backward_range(void *arg, int64_t begin, int64_t end)
{
    const struct power_job *job = arg;
    float p = job->exponent;

    for (int64_t i = begin; i < end; i++) {
        float slope = p == 0.0f ? 0.0f : p * powf(job->x[i], p - 1.0f) * job->dy[i];

        job->out[i] = job->beta == 0.0f ? slope : job->out[i] + slope;
    }
}

static void power_backward(struct cx *cx, struct node *node)
{
    struct power_job job = {.exponent = *(const float *)node->saved};
    llm_tensor *dx;

    job.x = cx_values(cx, node->in[0]);
    job.dy = cx_out_grad(node, 0);
    dx = cx_grad(cx, node->in[0], &job.beta);
    if (!dx)
        return;
    job.out = dx->data;
    parallel_for(cx->threads, tensor_count(dx), 1024, power_backward_range, &job);
}

static const struct op power_op = {"pow", power_backward, NULL};

llm_tensor *op_pow_scalar(struct cx *cx, llm_tensor *x, float exponent)
{
    struct power_job job = {.exponent = exponent};
    struct node *node;
    llm_tensor *y;

    if (exponent == 2.0f)
        return unary(cx, VECTOR_SQUARE, x, 0.0f);
    if (exponent == 0.5f)
        return unary(cx, VECTOR_SQRT, x, 0.0f);
    if (exponent == -1.0f)
        return unary(cx, VECTOR_RECIPROCAL, x, 0.0f);
    if (!cx_ready(cx, "pow", 1, &x) || !rows_are_f32(cx, "pow", 1, &x))
        return NULL;
    x = cx_contiguous(cx, x);
    y = x ? cx_output_like(cx, x) : NULL;
    if (!y)
        return NULL;
    job.out = y->data;
    job.x = x->data;
    parallel_for(cx->threads, tensor_count(x), 1024, power_range, &job);
    node = cx_record(cx, &power_op, 1, &x, 1, &y, sizeof(float));
    if (node)
        *(float *)node->saved = exponent;
    return cx->status ? NULL : y;
}

/* ---- SwiGLU -----------------------------------------------------------------------------------
 */

struct swiglu_job {
    const struct vector_kernels *vector;
    const float *dy, *gate, *up;
    float *y, *dgate, *dup;
    float beta;
};

static void swiglu_range(void *arg, int64_t begin, int64_t end)
{
    const struct swiglu_job *job = arg;

    job->vector->swiglu(job->y + begin, job->gate + begin, job->up + begin, end - begin);
}

static void swiglu_backward_range(void *arg, int64_t begin, int64_t end)
{
    const struct swiglu_job *job = arg;

    job->vector->swiglu_backward(job->dgate + begin, job->dup + begin, job->beta, job->dy + begin,
                                 job->gate + begin, job->up + begin, end - begin);
}

static void swiglu_run(struct cx *cx, llm_tensor *y, llm_tensor *const *in)
{
    struct swiglu_job job = {.vector = &cx->kernels->vector, .y = y->data};

    job.gate = cx_values(cx, in[0]);
    job.up = cx_values(cx, in[1]);
    if (job.gate && job.up)
        parallel_for(cx->threads, tensor_count(y), ROWS_WORK / 2, swiglu_range, &job);
}

static void swiglu_recompute(struct cx *cx, struct node *node)
{
    if (cx_refill(cx, node->out[0]))
        swiglu_run(cx, node->out[0], node->in);
}

/* Both gradients in one pass: into new tensors that cx_grad_add() can hand over without a copy. */
static void swiglu_backward(struct cx *cx, struct node *node)
{
    struct swiglu_job job = {.vector = &cx->kernels->vector};
    llm_tensor *dgate = cx_output_like(cx, node->out[0]);
    llm_tensor *dup = cx_output_like(cx, node->out[0]);

    job.dy = cx_out_grad(node, 0);
    job.gate = cx_values(cx, node->in[0]);
    job.up = cx_values(cx, node->in[1]);
    if (cx->status)
        return;
    job.dgate = dgate->data;
    job.dup = dup->data;
    parallel_for(cx->threads, tensor_count(dgate), ROWS_WORK / 2, swiglu_backward_range, &job);
    cx_grad_add(cx, node->in[0], dgate);
    cx_grad_add(cx, node->in[1], dup);
    cx_release(cx, dgate); /* what was handed over lives on */
    cx_release(cx, dup);
}

static const struct op swiglu_op = {"swiglu", swiglu_backward, swiglu_recompute};

llm_tensor *op_swiglu(struct cx *cx, llm_tensor *gate, llm_tensor *up)
{
    llm_tensor *in[2] = {gate, up};
    llm_tensor *y;

    if (!cx_ready(cx, "swiglu", 2, in) || !rows_are_f32(cx, "swiglu", 2, in))
        return NULL;
    if (!tensor_same_shape(gate, up))
        return cx_fail(cx, LLM_E_SHAPE, "swiglu: gate %s and up %s differ", tensor_shape_text(gate),
                       tensor_shape_text(up));
    in[0] = cx_contiguous(cx, gate);
    in[1] = cx_contiguous(cx, up);
    y = in[0] && in[1] ? cx_output_like(cx, gate) : NULL;
    if (!y)
        return NULL;
    swiglu_run(cx, y, in);
    (void)cx_record(cx, &swiglu_op, 2, in, 1, &y, 0);
    return cx->status ? NULL : y;
}
