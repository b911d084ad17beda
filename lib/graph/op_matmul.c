/* SPDX-License-Identifier: MIT
 *
 * Batched matrix product of tensors, leading axes broadcast as in NumPy. Both operands may want a
 * gradient:  C = A B  gives  dA = dC Bᵀ,  dB = Aᵀ dC,  and the transposed cases follow.
 */
#include "graph/op.h"
#include "graph/product.h"

#include <string.h>

struct matmul {
    bool transpose_a, transpose_b;
};

/* The batch axes of C, and how far each operand moves along them (0: broadcast). */
struct batch {
    int32_t dimensions;
    int64_t count;
    int64_t shape[LLM_MAX_DIMENSIONS];
    int64_t step_a[LLM_MAX_DIMENSIONS];
    int64_t step_b[LLM_MAX_DIMENSIONS];
};

static int64_t batch_step(const llm_tensor *x, int32_t from_end, int64_t size)
{
    int32_t axis = x->dimensions - 3 - from_end;

    if (axis < 0 || x->shape[axis] == 1)
        return 0;
    return x->shape[axis] == size ? x->stride[axis] : -1;
}

static bool plan_batch(struct batch *batch, const llm_tensor *a, const llm_tensor *b)
{
    int32_t most = a->dimensions > b->dimensions ? a->dimensions : b->dimensions;

    batch->dimensions = most - 2;
    batch->count = 1;
    for (int32_t i = 0; i < batch->dimensions; i++) {
        int32_t axis_a = a->dimensions - 3 - i;
        int32_t axis_b = b->dimensions - 3 - i;
        int64_t size_a = axis_a >= 0 ? a->shape[axis_a] : 1;
        int64_t size_b = axis_b >= 0 ? b->shape[axis_b] : 1;
        int64_t size = size_a == 1 ? size_b : size_a;
        int32_t at = batch->dimensions - 1 - i;

        batch->shape[at] = size;
        batch->step_a[at] = batch_step(a, i, size);
        batch->step_b[at] = batch_step(b, i, size);
        if (batch->step_a[at] < 0 || batch->step_b[at] < 0)
            return false;
        batch->count *= size;
    }
    return true;
}

/* Element offset of product `index` in an operand. */
static int64_t batch_offset(const struct batch *batch, const int64_t *step, int64_t index)
{
    int64_t offset = 0;

    for (int32_t i = batch->dimensions - 1; i >= 0; i--) {
        offset += index % batch->shape[i] * step[i];
        index /= batch->shape[i];
    }
    return offset;
}

/* Distance between consecutive products if it is constant, else -1. */
static int64_t uniform_step(const struct batch *batch, const int64_t *step)
{
    int64_t first = batch->count > 1 ? batch_offset(batch, step, 1) : 0;
    int64_t expected = 1;

    for (int32_t i = batch->dimensions - 1; i >= 0; i--) {
        if (batch->shape[i] > 1 && step[i] != first * expected)
            return -1;
        expected *= batch->shape[i];
    }
    return first;
}

struct operand {
    float *data;
    int64_t ld;
    bool trans;
    const int64_t *step;
};

/* target[i] (+)= op(left[i]) op(right[i]) for all products of the batch. A target that is broadcast
 * collects several products, one after the other. */
static void run_all(struct cx *cx, const struct batch *batch, struct operand target,
                    struct operand left, struct operand right, int64_t m, int64_t n, int64_t k,
                    float beta)
{
    struct gemm product = product_make(m, n, k);
    int64_t step_c = uniform_step(batch, target.step);
    int64_t step_a = uniform_step(batch, left.step);
    int64_t step_b = uniform_step(batch, right.step);

    product.lda = left.ld;
    product.ldb = right.ld;
    product.ldc = target.ld;
    product.trans_a = left.trans;
    product.trans_b = right.trans;
    product.beta = beta;
    if (step_a >= 0 && step_b >= 0 && (step_c > 0 || batch->count == 1)) {
        product.a = left.data;
        product.b = right.data;
        product.c = target.data;
        product.batch = batch->count;
        product.stride_a = step_a;
        product.stride_b = step_b;
        product.stride_c = step_c;
        if (batch->count)
            product_run(cx, &product);
        return;
    }
    for (int64_t i = 0; i < batch->count && !cx->status; i++) {
        product.a = left.data + batch_offset(batch, left.step, i);
        product.b = right.data + batch_offset(batch, right.step, i);
        product.c = target.data + batch_offset(batch, target.step, i);
        product_run(cx, &product);
    }
}

static void contiguous_steps(int64_t *step, const struct batch *batch, int64_t matrix)
{
    for (int32_t i = batch->dimensions - 1; i >= 0; i--) {
        step[i] = matrix;
        matrix *= batch->shape[i];
    }
}

static bool is_broadcast(const struct batch *batch, const int64_t *step)
{
    for (int32_t i = 0; i < batch->dimensions; i++) {
        if (batch->shape[i] > 1 && step[i] == 0)
            return true;
    }
    return false;
}

/* The gradient buffer of an operand, ready for products to be added with *beta. */
static float *operand_grad(struct cx *cx, llm_tensor *x, const struct batch *batch,
                           const int64_t *step, float *beta)
{
    llm_tensor *grad = cx_grad(cx, x, beta);

    if (!grad)
        return NULL;
    if (*beta == 0.0f && (batch->count == 0 || is_broadcast(batch, step))) {
        tensor_zero(grad);
        *beta = 1.0f;
    }
    return grad->data;
}

static void matmul_backward(struct cx *cx, struct node *node)
{
    const struct matmul *saved = node->saved;
    llm_tensor *a = node->in[0];
    llm_tensor *b = node->in[1];
    llm_tensor *c = node->out[0];
    int64_t step_c[LLM_MAX_DIMENSIONS] = {0};
    int64_t m = c->shape[c->dimensions - 2];
    int64_t n = tensor_last(c);
    int64_t k = saved->transpose_a ? a->shape[a->dimensions - 2] : tensor_last(a);
    struct batch batch;
    float beta;
    float *da, *db;

    (void)plan_batch(&batch, a, b);
    contiguous_steps(step_c, &batch, m * n);
    struct operand dc = {(float *)(uintptr_t)cx_out_grad(node, 0), n, false, step_c};
    struct operand left = {cx_values(cx, a), tensor_last(a), saved->transpose_a, batch.step_a};
    struct operand right = {cx_values(cx, b), tensor_last(b), saved->transpose_b, batch.step_b};
    struct operand dc_transposed = dc;

    dc_transposed.trans = true;
    da = operand_grad(cx, a, &batch, batch.step_a, &beta);
    if (da) {
        struct operand target = {da, left.ld, false, batch.step_a};
        struct operand factor = right;

        if (saved->transpose_a) { /* A is [k, m]: dA = op(B) dCᵀ */
            run_all(cx, &batch, target, factor, dc_transposed, k, m, n, beta);
        } else {
            factor.trans = !factor.trans;
            run_all(cx, &batch, target, dc, factor, m, k, n, beta);
        }
    }
    db = operand_grad(cx, b, &batch, batch.step_b, &beta);
    if (db) {
        struct operand target = {db, right.ld, false, batch.step_b};
        struct operand factor = left;

        if (saved->transpose_b) { /* B is [n, k]: dB = dCᵀ op(A) */
            run_all(cx, &batch, target, dc_transposed, factor, n, k, m, beta);
        } else {
            factor.trans = !factor.trans;
            run_all(cx, &batch, target, factor, dc, k, n, m, beta);
        }
    }
}

static const struct op matmul_op = {"matmul", matmul_backward, NULL};

llm_tensor *op_matmul(struct cx *cx, llm_tensor *a, llm_tensor *b, bool transpose_a,
                      bool transpose_b)
{
    llm_tensor *in[2] = {a, b};
    int64_t shape[LLM_MAX_DIMENSIONS];
    int64_t step_c[LLM_MAX_DIMENSIONS] = {0};
    struct batch batch;
    struct node *node;
    llm_tensor *c;
    int64_t m, n, k;

    if (!cx_ready(cx, "matmul", 2, in))
        return NULL;
    if (a->dtype != LLM_F32 || b->dtype != LLM_F32)
        return cx_fail(cx, LLM_E_UNSUPPORTED, "matmul: operands must be f32");
    if (a->dimensions < 2 || b->dimensions < 2)
        return cx_fail(cx, LLM_E_SHAPE, "matmul: %s and %s need at least two axes",
                       tensor_shape_text(a), tensor_shape_text(b));
    in[0] = a = cx_contiguous(cx, a);
    in[1] = b = cx_contiguous(cx, b);
    if (!a || !b)
        return NULL;
    m = a->shape[a->dimensions - (transpose_a ? 1 : 2)];
    k = a->shape[a->dimensions - (transpose_a ? 2 : 1)];
    n = b->shape[b->dimensions - (transpose_b ? 2 : 1)];
    if (k != b->shape[b->dimensions - (transpose_b ? 1 : 2)] || !plan_batch(&batch, a, b))
        return cx_fail(cx, LLM_E_SHAPE, "matmul: %s%s does not fit %s%s", tensor_shape_text(a),
                       transpose_a ? " transposed" : "", tensor_shape_text(b),
                       transpose_b ? " transposed" : "");
    memcpy(shape, batch.shape, sizeof shape);
    shape[batch.dimensions] = m;
    shape[batch.dimensions + 1] = n;
    c = cx_output(cx, LLM_F32, batch.dimensions + 2, shape);
    if (!c)
        return NULL;
    contiguous_steps(step_c, &batch, m * n);
    run_all(cx, &batch, (struct operand){c->data, n, false, step_c},
            (struct operand){a->data, tensor_last(a), transpose_a, batch.step_a},
            (struct operand){b->data, tensor_last(b), transpose_b, batch.step_b}, m, n, k, 0.0f);
    node = cx_record(cx, &matmul_op, 2, in, 1, &c, sizeof(struct matmul));
    if (node) {
        struct matmul *saved = node->saved;

        saved->transpose_a = transpose_a;
        saved->transpose_b = transpose_b;
    }
    return cx->status ? NULL : c;
}
