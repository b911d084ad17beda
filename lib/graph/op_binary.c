/* SPDX-License-Identifier: MIT
 *
 * Arithmetic on two tensors with NumPy's broadcasting. Inputs are made contiguous; axes that step
 * alike in both are merged, so that equal shapes are one long row, a bias is rows against one row
 * and a scalar is one row against one number, each a kernel call of kernels/vector.h.
 * A repeated operand's gradient is the sum over what it was repeated along.
 */
#include "graph/op.h"
#include "graph/rows.h"

#include <math.h>
#include <string.h>

/* The axes of the result after merging, with the step of either operand in elements. */
struct broadcast {
    int32_t axes;
    int64_t shape[LLM_MAX_DIMENSIONS];
    int64_t a[LLM_MAX_DIMENSIONS], b[LLM_MAX_DIMENSIONS];
};

/* The step of a contiguous operand along axis `axis` of a result with `axes` axes. */
static int64_t step_of(const llm_tensor *x, int32_t axis, int32_t axes)
{
    int32_t own = axis - (axes - x->dimensions);

    return own < 0 || x->shape[own] == 1 ? 0 : x->stride[own];
}

static bool broadcast_shape(const llm_tensor *a, const llm_tensor *b, int32_t *axes, int64_t *shape)
{
    *axes = a->dimensions > b->dimensions ? a->dimensions : b->dimensions;
    for (int32_t i = 0; i < *axes; i++) {
        int32_t in_a = i - (*axes - a->dimensions);
        int32_t in_b = i - (*axes - b->dimensions);
        int64_t size_a = in_a < 0 ? 1 : a->shape[in_a];
        int64_t size_b = in_b < 0 ? 1 : b->shape[in_b];

        if (size_a != size_b && size_a != 1 && size_b != 1)
            return false;
        shape[i] = size_a == 1 ? size_b : size_a;
    }
    return true;
}

/* y has the broadcast shape of contiguous a and b. At least one axis comes out. */
static struct broadcast broadcast_make(const llm_tensor *y, const llm_tensor *a,
                                       const llm_tensor *b)
{
    struct broadcast merged = {.axes = 0};

    for (int32_t i = 0; i < y->dimensions; i++) {
        int64_t step_a = step_of(a, i, y->dimensions);
        int64_t step_b = step_of(b, i, y->dimensions);
        int32_t last = merged.axes - 1;

        if (y->shape[i] == 1)
            continue;
        if (last >= 0 && merged.a[last] == step_a * y->shape[i] &&
            merged.b[last] == step_b * y->shape[i]) {
            merged.shape[last] *= y->shape[i];
            merged.a[last] = step_a;
            merged.b[last] = step_b;
            continue;
        }
        merged.shape[merged.axes] = y->shape[i];
        merged.a[merged.axes] = step_a;
        merged.b[merged.axes++] = step_b;
    }
    if (merged.axes == 0) {
        merged.shape[0] = 1;
        merged.axes = 1;
    }
    return merged;
}

/* ---- the forward run: y = beta y + a op b -----------------------------------------------------
 */

enum { PIECE = 8192, POWER = VECTOR_BINARY_COUNT };

struct binary_job {
    const struct vector_kernels *vector;
    const struct broadcast *broadcast;
    int kind; /* enum vector_binary or POWER */
    float beta;
    float *y;
    const float *a, *b;
    int64_t pieces; /* of one row */
};

static void row_offsets(const struct broadcast *broadcast, int64_t row, int64_t *a, int64_t *b)
{
    *a = 0;
    *b = 0;
    for (int32_t i = broadcast->axes - 2; i >= 0; i--) {
        int64_t index = row % broadcast->shape[i];

        row /= broadcast->shape[i];
        *a += index * broadcast->a[i];
        *b += index * broadcast->b[i];
    }
}

static void power_piece(const struct binary_job *job, float *y, const float *a, int64_t step_a,
                        const float *b, int64_t step_b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float value = powf(a[i * step_a], b[i * step_b]);

        y[i] = job->beta == 0.0f ? value : y[i] + value;
    }
}

static void binary_pieces(void *arg, int64_t begin, int64_t end)
{
    const struct binary_job *job = arg;
    const struct broadcast *broadcast = job->broadcast;
    int32_t last = broadcast->axes - 1;
    int64_t n = broadcast->shape[last];

    for (int64_t piece = begin; piece < end; piece++) {
        int64_t row = piece / job->pieces;
        int64_t start = piece % job->pieces * PIECE;
        int64_t count = n - start < PIECE ? n - start : PIECE;
        float *y = job->y + row * n + start;
        const float *a;
        const float *b;
        int64_t at_a;
        int64_t at_b;

        row_offsets(broadcast, row, &at_a, &at_b);
        a = job->a + at_a + start * broadcast->a[last];
        b = job->b + at_b + start * broadcast->b[last];
        if (job->kind == POWER)
            power_piece(job, y, a, broadcast->a[last], b, broadcast->b[last], count);
        else if (broadcast->b[last] == 0)
            job->vector->binary_scalar[job->kind](y, job->beta, a, *b, count);
        else if (broadcast->a[last] == 0)
            job->vector->binary_scalar_left[job->kind](y, job->beta, *a, b, count);
        else
            job->vector->binary[job->kind](y, job->beta, a, b, count);
    }
}

static void binary_run(struct cx *cx, int kind, float *y, float beta, const float *a,
                       const float *b, const struct broadcast *broadcast)
{
    struct binary_job job = {&cx->kernels->vector, broadcast, kind, beta, y, a, b, 0};
    int64_t n = broadcast->shape[broadcast->axes - 1];
    int64_t rows = 1;

    for (int32_t i = 0; i < broadcast->axes - 1; i++)
        rows *= broadcast->shape[i];
    job.pieces = (n + PIECE - 1) / PIECE;
    if (a && b)
        parallel_for(cx->threads, rows * job.pieces, rows_grain(n < PIECE ? n : PIECE),
                     binary_pieces, &job);
}

/* ---- the sum over repeated axes ---------------------------------------------------------------
 */

/* to = beta to + t summed over the axes where `step` is 0. */
struct fold_job {
    const struct vector_kernels *vector;
    float *to;
    const float *t;
    float beta, sign;
    int64_t rows, n;
};

static void fold_columns(void *arg, int64_t begin, int64_t end)
{
    const struct fold_job *job = arg;

    job->vector->column_sums(job->to + begin, job->beta, job->t + begin, job->rows, end - begin,
                             job->n);
}

static void fold_rows(void *arg, int64_t begin, int64_t end)
{
    const struct fold_job *job = arg;

    for (int64_t i = begin; i < end; i++) {
        float sum = (float)job->vector->sum(job->t + i * job->n, job->n);

        job->to[i] = job->beta == 0.0f ? sum : job->to[i] + sum;
    }
}

/* Any mixture of repeated and kept axes, row by row. */
static void fold_any(struct cx *cx, const struct fold_job *job, const struct broadcast *broadcast,
                     const int64_t *step, int64_t count)
{
    const struct vector_kernels *vector = &cx->kernels->vector;
    int32_t last = broadcast->axes - 1;
    int64_t n = broadcast->shape[last];
    int64_t rows = 1;

    if (job->beta == 0.0f)
        vector->fill(job->to, 0.0f, count);
    for (int32_t i = 0; i < last; i++)
        rows *= broadcast->shape[i];
    for (int64_t row = 0; row < rows; row++) {
        const float *t = job->t + row * n;
        float *to = job->to;
        int64_t rest = row;

        for (int32_t i = last - 1; i >= 0; i--) {
            to += rest % broadcast->shape[i] * step[i];
            rest /= broadcast->shape[i];
        }
        if (step[last] == 0)
            *to += (float)vector->sum(t, n);
        else
            vector->axpy(to, 1.0f, t, n);
    }
}

/* Adds t (shape of the result) to the gradient of x, which steps through the result by `step`. */
static void fold(struct cx *cx, llm_tensor *x, const float *t, const struct broadcast *broadcast,
                 const int64_t *step)
{
    struct fold_job job = {.vector = &cx->kernels->vector, .t = t};
    int32_t axes = broadcast->axes;
    llm_tensor *grad = cx_grad(cx, x, &job.beta);

    if (!grad)
        return;
    job.to = grad->data;
    job.n = broadcast->shape[axes - 1];
    job.rows = axes > 1 ? broadcast->shape[0] : 1;
    if (axes == 2 && step[0] == 0 && step[1] == 1)
        parallel_for(cx->threads, job.n, 64 + ROWS_WORK / (job.rows + 1), fold_columns, &job);
    else if (axes <= 2 && step[axes - 1] == 0 && (axes == 1 || step[0] == 1))
        parallel_for(cx->threads, job.rows, rows_grain(job.n), fold_rows, &job);
    else
        fold_any(cx, &job, broadcast, step, tensor_count(x));
}

/* ---- backward ---------------------------------------------------------------------------------
 */

struct binary {
    int kind;
};

/* The result's gradient against an operand: dy steps like y itself. */
static struct broadcast against(const struct broadcast *broadcast, const int64_t *step)
{
    struct broadcast made = *broadcast;
    int64_t size = 1;

    for (int32_t i = made.axes - 1; i >= 0; i--) {
        made.a[i] = size;
        made.b[i] = step[i];
        size *= made.shape[i];
    }
    return made;
}

static bool is_repeated(const llm_tensor *x, const llm_tensor *y)
{
    return tensor_count(x) != tensor_count(y);
}

/* gradient of x += dy `kind` other, `other` stepping through the result by `other_step`. */
static void add_product(struct cx *cx, llm_tensor *x, int kind, const float *dy,
                        const llm_tensor *y, const float *other, const int64_t *other_step,
                        const struct broadcast *broadcast, const int64_t *own_step)
{
    struct broadcast pair = against(broadcast, other_step);
    struct storage *temporary = NULL;
    llm_tensor *grad;
    float beta;

    if (!x->requires_grad || !other)
        return;
    if (!is_repeated(x, y)) {
        grad = cx_grad(cx, x, &beta);
        if (grad)
            binary_run(cx, kind, grad->data, beta, dy, other, &pair);
        return;
    }
    temporary = cx_take(cx, (size_t)tensor_count(y) * sizeof(float));
    if (!temporary)
        return;
    binary_run(cx, kind, temporary->data, 0.0f, dy, other, &pair);
    fold(cx, x, temporary->data, broadcast, own_step);
    storage_release(temporary);
}

/* gradient of x += dy, of which `dy` is a whole tensor */
static void add_plain(struct cx *cx, llm_tensor *x, llm_tensor *dy,
                      const struct broadcast *broadcast, const int64_t *step)
{
    llm_tensor *grad;
    float beta;

    if (!x->requires_grad)
        return;
    if (tensor_same_shape(x, dy)) {
        cx_grad_add(cx, x, dy);
    } else if (is_repeated(x, dy)) {
        fold(cx, x, dy->data, broadcast, step);
    } else { /* [3] against [1,3] */
        grad = cx_grad(cx, x, &beta);
        if (grad)
            cx->kernels->vector.affine(grad->data, beta, dy->data, 1.0f, 0.0f, tensor_count(x));
    }
}

/* factor * dy * other as a buffer of its own; `other` has the result's shape. */
static struct storage *scaled_product(struct cx *cx, float factor, const float *dy,
                                      const float *other, int64_t count)
{
    struct storage *t = other ? cx_take(cx, (size_t)count * sizeof(float)) : NULL;
    struct broadcast flat = {.axes = 1, .shape = {count}, .a = {1}, .b = {1}};

    if (!t)
        return NULL;
    binary_run(cx, VECTOR_MUL, t->data, 0.0f, dy, other, &flat);
    cx->kernels->vector.affine(t->data, 0.0f, t->data, factor, 0.0f, count);
    return t;
}

static void add_sub_backward(struct cx *cx, struct node *node)
{
    const struct binary *saved = node->saved;
    llm_tensor *y = node->out[0];
    llm_tensor *b = node->in[1];
    struct broadcast broadcast = broadcast_make(y, node->in[0], b);
    struct storage *negative;

    if (saved->kind == VECTOR_ADD) {
        add_plain(cx, node->in[0], y->grad, &broadcast, broadcast.a);
        add_plain(cx, b, y->grad, &broadcast, broadcast.b);
        return;
    }
    add_plain(cx, node->in[0], y->grad, &broadcast, broadcast.a);
    if (!b->requires_grad)
        return;
    if (!is_repeated(b, y)) {
        float beta;
        llm_tensor *db = cx_grad(cx, b, &beta);

        if (db)
            cx->kernels->vector.affine(db->data, beta, y->grad->data, -1.0f, 0.0f, tensor_count(y));
        return;
    }
    negative = cx_take(cx, (size_t)tensor_count(y) * sizeof(float));
    if (!negative)
        return;
    cx->kernels->vector.affine(negative->data, 0.0f, y->grad->data, -1.0f, 0.0f, tensor_count(y));
    fold(cx, b, negative->data, &broadcast, broadcast.b);
    storage_release(negative);
}

static void mul_div_backward(struct cx *cx, struct node *node)
{
    const struct binary *saved = node->saved;
    llm_tensor *a = node->in[0];
    llm_tensor *b = node->in[1];
    llm_tensor *y = node->out[0];
    struct broadcast broadcast = broadcast_make(y, a, b);
    const float *dy = cx_out_grad(node, 0);
    struct storage *t;

    if (saved->kind == VECTOR_MUL) {
        add_product(cx, a, VECTOR_MUL, dy, y, cx_values(cx, b), broadcast.b, &broadcast,
                    broadcast.a);
        add_product(cx, b, VECTOR_MUL, dy, y, cx_values(cx, a), broadcast.a, &broadcast,
                    broadcast.b);
        return;
    }
    add_product(cx, a, VECTOR_DIV, dy, y, cx_values(cx, b), broadcast.b, &broadcast, broadcast.a);
    if (!b->requires_grad)
        return;
    t = scaled_product(cx, -1.0f, dy, cx_values(cx, y), tensor_count(y)); /* d(a/b)/db = -y/b */
    if (t)
        add_product(cx, b, VECTOR_DIV, t->data, y, cx_values(cx, b), broadcast.b, &broadcast,
                    broadcast.b);
    storage_release(t);
}

/* da = dy b a^(b-1), db = dy y log a, both 0 where they would be 0 * infinity at a = 0. */
static void power_slopes(struct broadcast *broadcast, const float *dy, const float *y,
                         const float *a, const float *b, float *ta, float *tb, int64_t count)
{
    int32_t last = broadcast->axes - 1;
    int64_t n = broadcast->shape[last];

    for (int64_t i = 0; i < count; i++) {
        int64_t at_a;
        int64_t at_b;
        float base;
        float exponent;

        row_offsets(broadcast, i / n, &at_a, &at_b);
        base = a[at_a + i % n * broadcast->a[last]];
        exponent = b[at_b + i % n * broadcast->b[last]];
        ta[i] = exponent == 0.0f ? 0.0f : dy[i] * exponent * powf(base, exponent - 1.0f);
        tb[i] = base == 0.0f && exponent >= 0.0f ? 0.0f : dy[i] * y[i] * logf(base);
    }
}

static void pow_backward(struct cx *cx, struct node *node)
{
    llm_tensor *y = node->out[0];
    struct broadcast broadcast = broadcast_make(y, node->in[0], node->in[1]);
    llm_tensor *ta = cx_output_like(cx, y);
    llm_tensor *tb = cx_output_like(cx, y);
    const float *a = cx_values(cx, node->in[0]);
    const float *b = cx_values(cx, node->in[1]);
    const float *values = cx_values(cx, y);

    if (!cx->status) {
        power_slopes(&broadcast, cx_out_grad(node, 0), values, a, b, ta->data, tb->data,
                     tensor_count(y));
        add_plain(cx, node->in[0], ta, &broadcast, broadcast.a);
        add_plain(cx, node->in[1], tb, &broadcast, broadcast.b);
    }
    cx_release(cx, ta);
    cx_release(cx, tb);
}

static void binary_recompute(struct cx *cx, struct node *node)
{
    const struct binary *saved = node->saved;
    struct broadcast broadcast = broadcast_make(node->out[0], node->in[0], node->in[1]);
    const float *a = cx_values(cx, node->in[0]);
    const float *b = cx_values(cx, node->in[1]);

    if (cx_refill(cx, node->out[0]))
        binary_run(cx, saved->kind, node->out[0]->data, 0.0f, a, b, &broadcast);
}

static const struct op add_op = {"add", add_sub_backward, binary_recompute};
static const struct op sub_op = {"sub", add_sub_backward, binary_recompute};
static const struct op mul_op = {"mul", mul_div_backward, binary_recompute};
static const struct op div_op = {"div", mul_div_backward, binary_recompute};
static const struct op pow_op = {"pow", pow_backward, binary_recompute};

static llm_tensor *binary(struct cx *cx, const struct op *op, int kind, llm_tensor *a,
                          llm_tensor *b)
{
    llm_tensor *in[2] = {a, b};
    int64_t shape[LLM_MAX_DIMENSIONS];
    struct broadcast broadcast;
    struct node *node;
    llm_tensor *y;
    int32_t axes;

    if (!cx_ready(cx, op->name, 2, in) || !rows_are_f32(cx, op->name, 2, in))
        return NULL;
    if (!broadcast_shape(a, b, &axes, shape))
        return cx_fail(cx, LLM_E_SHAPE, "%s: %s and %s do not broadcast", op->name,
                       tensor_shape_text(a), tensor_shape_text(b));
    in[0] = cx_contiguous(cx, a);
    in[1] = a == b ? in[0] : cx_contiguous(cx, b);
    y = in[0] && in[1] ? cx_output(cx, LLM_F32, axes, shape) : NULL;
    if (!y)
        return NULL;
    broadcast = broadcast_make(y, in[0], in[1]);
    binary_run(cx, kind, y->data, 0.0f, in[0]->data, in[1]->data, &broadcast);
    node = cx_record(cx, op, 2, in, 1, &y, sizeof(struct binary));
    if (node)
        ((struct binary *)node->saved)->kind = kind;
    return cx->status ? NULL : y;
}

llm_tensor *op_add(struct cx *cx, llm_tensor *a, llm_tensor *b)
{
    return binary(cx, &add_op, VECTOR_ADD, a, b);
}

llm_tensor *op_sub(struct cx *cx, llm_tensor *a, llm_tensor *b)
{
    return binary(cx, &sub_op, VECTOR_SUB, a, b);
}

llm_tensor *op_mul(struct cx *cx, llm_tensor *a, llm_tensor *b)
{
    return binary(cx, &mul_op, VECTOR_MUL, a, b);
}

llm_tensor *op_div(struct cx *cx, llm_tensor *a, llm_tensor *b)
{
    return binary(cx, &div_op, VECTOR_DIV, a, b);
}

llm_tensor *op_pow(struct cx *cx, llm_tensor *a, llm_tensor *b)
{
    return binary(cx, &pow_op, POWER, a, b);
}
