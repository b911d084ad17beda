/* SPDX-License-Identifier: MIT */
#include "nn/adapter.h"

#include "graph/op.h"
#include "graph/product.h"
#include "tensor/packed.h"

#include <math.h>
#include <string.h>

enum { ROWS_AT_ONCE = 256 }; /* of W + s B A, when its values are needed */

static const struct adapter_part *part_of(const struct adapter_use *use, int32_t index)
{
    const struct adapter_part *part = &use->adapter->parts[index];

    return part->a || part->gain ? part : NULL;
}

llm_status adapter_uses_set(struct cx *cx, llm_adapter *const *adapters, const double *weights,
                            size_t count)
{
    struct adapter_use *uses = NULL;

    for (size_t i = 0; i < count; i++) {
        if (!adapters[i])
            return status_set(LLM_E_INVALID, "adapters[%zu] is NULL", i);
        if (weights && !isfinite((float)weights[i]))
            return status_set(LLM_E_RANGE, "weights[%zu] is not finite", i);
    }
    if (count) {
        uses = memory_alloc_array(cx->memory, count, sizeof *uses);
        if (!uses)
            return LLM_E_NOMEM;
    }
    for (size_t i = 0; i < count; i++)
        uses[i] =
            (struct adapter_use){adapter_retain(adapters[i]), weights ? (float)weights[i] : 1.0f};
    for (size_t i = 0; i < cx->adapter_count; i++)
        adapter_release((llm_adapter *)cx->adapters[i].adapter);
    memory_release(cx->memory, (void *)cx->adapters);
    cx->adapters = uses;
    cx->adapter_count = count;
    return LLM_OK;
}

/* ---- W + s B A ---- */

/* Rows [start, start + rows) of it. */
static void changed_rows(struct cx *cx, const struct adapter_part *part, const llm_tensor *weight,
                         float scale, int64_t start, int64_t rows, float *out)
{
    int64_t width = weight->shape[1];
    struct gemm product = product_make(rows, width, part->a->shape[0]);

    packed_read_rows(weight, start, rows, out, cx->threads);
    product.a = tensor_f32(part->b) + start * part->a->shape[0];
    product.lda = part->a->shape[0];
    product.b = part->a->data;
    product.ldb = width;
    product.c = out;
    product.ldc = width;
    product.alpha = scale;
    product.beta = 1.0f;
    product_run(cx, &product);
}

/* 1 / the norm of each row: [out]. It counts as a constant, as in the paper (section 4.3). */
static llm_tensor *inverse_norms(struct cx *cx, const struct adapter_part *part,
                                 const llm_tensor *weight, float scale)
{
    int64_t out = weight->shape[0];
    int64_t width = weight->shape[1];
    llm_tensor *norms = cx_output_1d(cx, out);
    struct storage *rows = cx_take(cx, (size_t)(ROWS_AT_ONCE * width) * sizeof(float));

    for (int64_t start = 0; rows && norms && start < out && !cx->status; start += ROWS_AT_ONCE) {
        int64_t count = out - start < ROWS_AT_ONCE ? out - start : ROWS_AT_ONCE;

        changed_rows(cx, part, weight, scale, start, count, rows->data);
        for (int64_t i = 0; i < count; i++)
            tensor_f32(norms)[start + i] =
                (float)(1.0 / sqrt(cx->kernels->vector.sum_squares((float *)rows->data + i * width,
                                                                   width)));
    }
    storage_release(rows);
    return cx->status ? NULL : norms;
}

/* ---- forward ---- */

/* s B (A x) */
static llm_tensor *low_rank(struct cx *cx, const struct adapter_part *part, llm_tensor *x,
                            float scale)
{
    llm_tensor *inner = op_linear(cx, x, part->a, NULL); /* [N, r] */
    llm_tensor *scaled = op_affine(cx, inner, scale, 0.0f);

    cx_release(cx, inner);
    return op_linear(cx, scaled, part->b, NULL);
}

/* y + what one LoRA adds, where y is base(x) and maybe more. */
static llm_tensor *add_lora(struct cx *cx, const struct adapter_use *use,
                            const struct adapter_part *part, const struct linear *linear,
                            llm_tensor *x, llm_tensor *y)
{
    float scale = part->scale * use->weight;
    llm_tensor *dropped = op_dropout(cx, x, use->adapter->dropout);
    llm_tensor *delta = low_rank(cx, part, dropped, scale);
    llm_tensor *base, *gain, *sum;

    if (part->magnitude) { /* g (W x + s B A x) - W x, g = magnitude / norm */
        base = op_linear(cx, dropped, linear->weight, NULL);
        gain = op_mul(cx, part->magnitude, inverse_norms(cx, part, linear->weight, scale));
        delta = op_sub(cx, op_mul(cx, op_add(cx, base, delta), gain), base);
    }
    sum = op_add(cx, y, delta);
    cx_release(cx, delta);
    cx_release(cx, y);
    return sum;
}

/* x times 1 + weight (gain - 1) */
static llm_tensor *apply_gain(struct cx *cx, const struct adapter_use *use,
                              const struct adapter_part *part, llm_tensor *x)
{
    int64_t size = tensor_count(part->gain);
    llm_tensor *gain = op_reshape(cx, part->gain, 1, &size);

    if (use->weight != 1.0f)
        gain = op_affine(cx, gain, use->weight, 1.0f - use->weight);
    return op_mul(cx, x, gain);
}

llm_tensor *adapter_linear(struct cx *cx, const struct linear *linear, llm_tensor *x)
{
    const struct adapter_part *part;
    llm_tensor *y;

    for (size_t i = 0; i < cx->adapter_count; i++) {
        part = part_of(&cx->adapters[i], linear->index);
        if (part && part->gain && part->gain_on_input)
            x = apply_gain(cx, &cx->adapters[i], part, x);
    }
    y = op_linear(cx, x, linear->weight, linear->bias);
    for (size_t i = 0; i < cx->adapter_count; i++) {
        part = part_of(&cx->adapters[i], linear->index);
        if (part && part->a)
            y = add_lora(cx, &cx->adapters[i], part, linear, x, y);
        else if (part && !part->gain_on_input)
            y = apply_gain(cx, &cx->adapters[i], part, y);
    }
    return y;
}

/* ---- folding into the weights ---- */

static void scale_rows(llm_tensor *matrix, const float *factors)
{
    int64_t width = matrix->shape[1];

    for (int64_t i = 0; i < matrix->shape[0]; i++) {
        float *row = tensor_f32(matrix) + i * width;

        for (int64_t j = 0; j < width; j++)
            row[j] *= factors[i];
    }
}

static void scale_columns(llm_tensor *matrix, const float *gain, float weight)
{
    int64_t width = matrix->shape[1];

    for (int64_t i = 0; i < matrix->shape[0]; i++) {
        float *row = tensor_f32(matrix) + i * width;

        for (int64_t j = 0; j < width; j++)
            row[j] *= 1.0f + weight * (gain[j] - 1.0f);
    }
}

/* magnitude / norm, or the gain of IA3, for each row */
static llm_tensor *row_factors(struct cx *cx, const struct adapter_part *part, float weight,
                               const llm_tensor *matrix)
{
    if (part->gain)
        return op_affine(cx, part->gain, weight, 1.0f - weight);
    return op_mul(cx, part->magnitude, inverse_norms(cx, part, matrix, part->scale * weight));
}

llm_status adapter_fold(const struct adapter_part *part, float weight, llm_context *context,
                        llm_tensor *matrix, llm_tensor *bias)
{
    llm_tensor *factors = NULL;
    struct cx cx = {0};
    llm_status status = cx_init(&cx, context);

    if (status)
        return status;
    if (part->gain && part->gain_on_input) {
        scale_columns(matrix, tensor_f32(part->gain), weight);
    } else if (part->gain || part->magnitude) {
        factors = row_factors(&cx, part, weight, matrix);
    }
    for (int64_t start = 0; part->a && start < matrix->shape[0] && !cx.status;
         start += ROWS_AT_ONCE) {
        int64_t width = matrix->shape[1];
        int64_t rows = matrix->shape[0] - start;
        struct storage *changed = cx_take(&cx, (size_t)(ROWS_AT_ONCE * width) * sizeof(float));

        rows = rows < ROWS_AT_ONCE ? rows : ROWS_AT_ONCE;
        if (!changed)
            break;
        changed_rows(&cx, part, matrix, part->scale * weight, start, rows, changed->data);
        memcpy(tensor_f32(matrix) + start * width, changed->data,
               (size_t)(rows * width) * sizeof(float));
        storage_release(changed);
    }
    if (factors && !cx.status) {
        scale_rows(matrix, tensor_f32(factors));
        for (int64_t i = 0; bias && part->gain && i < matrix->shape[0]; i++)
            tensor_f32(bias)[i] *= tensor_f32(factors)[i];
    }
    status = cx_status(&cx);
    cx_free(&cx);
    return status;
}
