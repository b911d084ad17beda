/* SPDX-License-Identifier: MIT
 *
 * y = x Wᵀ + b. The weight may be f32, f16, bf16 or kept in a block type (tensor/packed.h); those
 * last get no gradient, the input's gradient flows through any of them.
 */
#include "graph/op.h"
#include "graph/product.h"

#include <string.h>

/* x seen as [rows, n] with a constant row stride, or false. */
static bool row_stride(const llm_tensor *x, int64_t *stride)
{
    if (tensor_is_contiguous(x)) {
        *stride = tensor_last(x);
        return true;
    }
    *stride = x->dimensions == 2 ? x->stride[0] : 0;
    return x->dimensions == 2 && x->stride[1] == 1;
}

static enum gemm_type gemm_type(int32_t dtype)
{
    return dtype == LLM_BF16 ? GEMM_BF16 : dtype == LLM_F16 ? GEMM_F16 : GEMM_F32;
}

/* dX = dY W */
static void input_gradient(struct cx *cx, llm_tensor *x, const llm_tensor *weight, const float *dy,
                           int64_t rows)
{
    struct gemm product = product_make(rows, weight->shape[1], weight->shape[0]);
    llm_tensor *dx = cx_grad(cx, x, &product.beta);

    if (!dx)
        return;
    (void)row_stride(dx, &product.ldc);
    if (weight->packed) {
        product_packed_gradient(cx, dx->data, product.ldc, product.beta, dy, rows, weight);
        return;
    }
    product.a = dy;
    product.lda = weight->shape[0];
    product.b = weight->data;
    product.b_type = gemm_type(weight->dtype);
    product.ldb = weight->shape[1];
    product.c = dx->data;
    product_run(cx, &product);
}

/* dW = dYᵀ X */
static void weight_gradient(struct cx *cx, llm_tensor *x, llm_tensor *weight, const float *dy,
                            int64_t rows)
{
    struct gemm product = product_make(weight->shape[0], weight->shape[1], rows);
    llm_tensor *dw = cx_grad(cx, weight, &product.beta);

    if (!dw)
        return;
    product.a = dy;
    product.lda = weight->shape[0];
    product.trans_a = true;
    product.b = cx_values(cx, x);
    (void)row_stride(x, &product.ldb);
    product.c = dw->data;
    product.ldc = weight->shape[1];
    product_run(cx, &product);
}

static void linear_backward(struct cx *cx, struct node *node)
{
    llm_tensor *x = node->in[0];
    llm_tensor *weight = node->in[1];
    llm_tensor *bias = node->in[2];
    const float *dy = cx_out_grad(node, 0);
    int64_t rows = tensor_rows(x);
    llm_tensor *db;
    float beta;

    input_gradient(cx, x, weight, dy, rows);
    if (!weight->packed)
        weight_gradient(cx, x, weight, dy, rows);
    db = bias ? cx_grad(cx, bias, &beta) : NULL;
    if (db)
        product_column_sums(cx, db->data, beta, dy, rows, weight->shape[0], weight->shape[0]);
}

static void linear_run(struct cx *cx, llm_tensor *y, llm_tensor *x, const llm_tensor *weight,
                       const llm_tensor *bias, bool steady_rows)
{
    struct gemm product = product_make(tensor_rows(x), weight->shape[0], weight->shape[1]);

    product.a = cx_values(cx, x);
    (void)row_stride(x, &product.lda);
    if (weight->packed) {
        product_packed(cx, y->data, product.a, product.lda, tensor_rows(x), weight,
                       bias ? tensor_f32(bias) : NULL);
        return;
    }
    product.b = weight->data;
    product.b_type = gemm_type(weight->dtype);
    product.ldb = weight->shape[1];
    product.trans_b = true;
    product.c = y->data;
    product.ldc = weight->shape[0];
    product.bias = bias ? tensor_f32(bias) : NULL;
    product.steady_rows = steady_rows;
    product_run(cx, &product);
}

static void linear_recompute(struct cx *cx, struct node *node)
{
    /* As in the recorded run, though nothing records during the backward pass. */
    if (cx_refill(cx, node->out[0]))
        linear_run(cx, node->out[0], node->in[0], node->in[1], node->in[2], false);
}

static const struct op linear_op = {"linear", linear_backward, linear_recompute};

static bool linear_fits(struct cx *cx, const llm_tensor *x, const llm_tensor *weight,
                        const llm_tensor *bias)
{
    bool half = weight->dtype == LLM_F16 || weight->dtype == LLM_BF16;

    if (x->dtype != LLM_F32 || (weight->dtype != LLM_F32 && !half && !weight->packed) ||
        (bias && bias->dtype != LLM_F32)) {
        cx_fail(cx, LLM_E_UNSUPPORTED,
                "linear: x and bias must be f32, the weight f32, f16, bf16 or packed");
        return false;
    }
    if (x->dimensions < 1 || weight->dimensions != 2 || tensor_last(x) != weight->shape[1] ||
        !tensor_is_contiguous(weight)) {
        cx_fail(cx, LLM_E_SHAPE, "linear: x %s does not fit weight %s", tensor_shape_text(x),
                tensor_shape_text(weight));
        return false;
    }
    if (bias && (bias->dimensions != 1 || bias->shape[0] != weight->shape[0] ||
                 !tensor_is_contiguous(bias))) {
        cx_fail(cx, LLM_E_SHAPE, "linear: bias %s does not fit weight %s", tensor_shape_text(bias),
                tensor_shape_text(weight));
        return false;
    }
    return true;
}

llm_tensor *op_linear(struct cx *cx, llm_tensor *x, llm_tensor *weight, llm_tensor *bias)
{
    llm_tensor *in[3] = {x, weight, bias};
    llm_tensor *plain[2] = {x, bias};
    int64_t shape[LLM_MAX_DIMENSIONS];
    int64_t stride;
    llm_tensor *y;

    if (weight && weight->packed ? !cx_ready(cx, "linear", bias ? 2 : 1, plain)
                                 : !cx_ready(cx, "linear", bias ? 3 : 2, in))
        return NULL;
    if (!linear_fits(cx, x, weight, bias))
        return NULL;
    if (!row_stride(x, &stride))
        in[0] = cx_contiguous(cx, x);
    if (!in[0])
        return NULL;
    memcpy(shape, x->shape, sizeof shape);
    shape[x->dimensions - 1] = weight->shape[0];
    y = cx_output(cx, LLM_F32, x->dimensions, shape);
    if (!y)
        return NULL;
    /* A checkpointed block runs unrecorded first: it must choose as its recorded second run does.
     */
    linear_run(cx, y, in[0], weight, bias, !cx->recording && !cx->training && !cx->checkpointing);
    (void)cx_record(cx, &linear_op, 3, in, 1, &y, 0);
    return cx->status ? NULL : y;
}
