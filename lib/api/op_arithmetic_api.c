/* SPDX-License-Identifier: MIT
 *
 * llm/tape.h: arithmetic, element-wise operations, products, reductions and shape.
 */
#include "api/tape_api.h"

llm_status llm_op_add(llm_tensor **out, llm_tape *tape, llm_tensor *a, llm_tensor *b)
{
    llm_tensor *in[] = {a, b};
    llm_status status = enter(out, tape, "llm_op_add", 2, in);

    return status ? status : leave(out, tape, op_add(&tape->cx, a, b));
}

llm_status llm_op_sub(llm_tensor **out, llm_tape *tape, llm_tensor *a, llm_tensor *b)
{
    llm_tensor *in[] = {a, b};
    llm_status status = enter(out, tape, "llm_op_sub", 2, in);

    return status ? status : leave(out, tape, op_sub(&tape->cx, a, b));
}

llm_status llm_op_mul(llm_tensor **out, llm_tape *tape, llm_tensor *a, llm_tensor *b)
{
    llm_tensor *in[] = {a, b};
    llm_status status = enter(out, tape, "llm_op_mul", 2, in);

    return status ? status : leave(out, tape, op_mul(&tape->cx, a, b));
}

llm_status llm_op_div(llm_tensor **out, llm_tape *tape, llm_tensor *a, llm_tensor *b)
{
    llm_tensor *in[] = {a, b};
    llm_status status = enter(out, tape, "llm_op_div", 2, in);

    return status ? status : leave(out, tape, op_div(&tape->cx, a, b));
}

llm_status llm_op_pow(llm_tensor **out, llm_tape *tape, llm_tensor *a, llm_tensor *b)
{
    llm_tensor *in[] = {a, b};
    llm_status status = enter(out, tape, "llm_op_pow", 2, in);

    return status ? status : leave(out, tape, op_pow(&tape->cx, a, b));
}

llm_status llm_op_pow_scalar(llm_tensor **out, llm_tape *tape, llm_tensor *x, double exponent)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_pow_scalar", 1, in);

    return status ? status : leave(out, tape, op_pow_scalar(&tape->cx, x, (float)exponent));
}

llm_status llm_op_affine(llm_tensor **out, llm_tape *tape, llm_tensor *x, double scale,
                         double shift)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_affine", 1, in);

    return status ? status : leave(out, tape, op_affine(&tape->cx, x, (float)scale, (float)shift));
}

llm_status llm_op_abs(llm_tensor **out, llm_tape *tape, llm_tensor *x)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_abs", 1, in);

    return status ? status : leave(out, tape, op_abs(&tape->cx, x));
}

llm_status llm_op_exp(llm_tensor **out, llm_tape *tape, llm_tensor *x)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_exp", 1, in);

    return status ? status : leave(out, tape, op_exp(&tape->cx, x));
}

llm_status llm_op_log(llm_tensor **out, llm_tape *tape, llm_tensor *x)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_log", 1, in);

    return status ? status : leave(out, tape, op_log(&tape->cx, x));
}

llm_status llm_op_sqrt(llm_tensor **out, llm_tape *tape, llm_tensor *x)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_sqrt", 1, in);

    return status ? status : leave(out, tape, op_sqrt(&tape->cx, x));
}

llm_status llm_op_tanh(llm_tensor **out, llm_tape *tape, llm_tensor *x)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_tanh", 1, in);

    return status ? status : leave(out, tape, op_tanh(&tape->cx, x));
}

llm_status llm_op_sigmoid(llm_tensor **out, llm_tape *tape, llm_tensor *x)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_sigmoid", 1, in);

    return status ? status : leave(out, tape, op_sigmoid(&tape->cx, x));
}

llm_status llm_op_relu(llm_tensor **out, llm_tape *tape, llm_tensor *x)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_relu", 1, in);

    return status ? status : leave(out, tape, op_relu(&tape->cx, x));
}

llm_status llm_op_gelu(llm_tensor **out, llm_tape *tape, llm_tensor *x)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_gelu", 1, in);

    return status ? status : leave(out, tape, op_gelu(&tape->cx, x));
}

llm_status llm_op_gelu_tanh(llm_tensor **out, llm_tape *tape, llm_tensor *x)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_gelu_tanh", 1, in);

    return status ? status : leave(out, tape, op_gelu_tanh(&tape->cx, x));
}

llm_status llm_op_silu(llm_tensor **out, llm_tape *tape, llm_tensor *x)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_silu", 1, in);

    return status ? status : leave(out, tape, op_silu(&tape->cx, x));
}

llm_status llm_op_leaky_relu(llm_tensor **out, llm_tape *tape, llm_tensor *x, double slope)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_leaky_relu", 1, in);

    return status ? status : leave(out, tape, op_leaky_relu(&tape->cx, x, (float)slope));
}

llm_status llm_op_swiglu(llm_tensor **out, llm_tape *tape, llm_tensor *gate, llm_tensor *up)
{
    llm_tensor *in[] = {gate, up};
    llm_status status = enter(out, tape, "llm_op_swiglu", 2, in);

    return status ? status : leave(out, tape, op_swiglu(&tape->cx, gate, up));
}

llm_status llm_op_dropout(llm_tensor **out, llm_tape *tape, llm_tensor *x, double probability)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_dropout", 1, in);

    return status ? status : leave(out, tape, op_dropout(&tape->cx, x, (float)probability));
}

llm_status llm_op_matmul(llm_tensor **out, llm_tape *tape, llm_tensor *a, llm_tensor *b,
                         int32_t transpose_a, int32_t transpose_b)
{
    llm_tensor *in[] = {a, b};
    llm_status status = enter(out, tape, "llm_op_matmul", 2, in);

    return status
               ? status
               : leave(out, tape, op_matmul(&tape->cx, a, b, transpose_a != 0, transpose_b != 0));
}

llm_status llm_op_linear(llm_tensor **out, llm_tape *tape, llm_tensor *x, llm_tensor *weight,
                         llm_tensor *bias)
{
    llm_status status = enter(out, tape, "llm_op_linear", 1, &x);

    if (!status)
        status = enter_optional(tape, "llm_op_linear", "weight", weight);
    if (!status)
        status = enter_optional(tape, "llm_op_linear", "bias", bias);
    return status ? status : leave(out, tape, op_linear(&tape->cx, x, weight, bias));
}

/* Ids and targets cross the border as plain arrays. */
static llm_status check_array(llm_tape *tape, const char *name, const void *array, size_t count)
{
    if (count && !array)
        cx_fail(&tape->cx, LLM_E_INVALID, "%s: the array is NULL", name);
    else if (count > INT32_MAX)
        cx_fail(&tape->cx, LLM_E_RANGE, "%s: %zu elements are too many", name, count);
    return cx_status(&tape->cx);
}

llm_status llm_op_embedding(llm_tensor **out, llm_tape *tape, llm_tensor *weight,
                            const int32_t *ids, size_t count)
{
    llm_status status = enter(out, tape, "llm_op_embedding", 1, &weight);

    if (!status)
        status = check_array(tape, "llm_op_embedding", ids, count);
    return status ? status : leave(out, tape, op_embedding(&tape->cx, weight, ids, (int64_t)count));
}

llm_status llm_op_reshape(llm_tensor **out, llm_tape *tape, llm_tensor *x, int32_t dimensions,
                          const int64_t *shape)
{
    llm_status status = enter(out, tape, "llm_op_reshape", 1, &x);

    if (!status && dimensions > 0)
        status = check_array(tape, "llm_op_reshape", shape, 1);
    return status ? status : leave(out, tape, op_reshape(&tape->cx, x, dimensions, shape));
}

llm_status llm_op_permute(llm_tensor **out, llm_tape *tape, llm_tensor *x, const int32_t *axes)
{
    llm_status status = enter(out, tape, "llm_op_permute", 1, &x);

    if (!status && x->dimensions > 0)
        status = check_array(tape, "llm_op_permute", axes, 1);
    return status ? status : leave(out, tape, op_permute(&tape->cx, x, axes));
}

llm_status llm_op_concat(llm_tensor **out, llm_tape *tape, llm_tensor *const *x, size_t count,
                         int32_t axis)
{
    llm_status status = enter(out, tape, "llm_op_concat", 0, NULL);

    if (!status)
        status = check_array(tape, "llm_op_concat", x, count);
    if (!status && count <= NODE_INPUTS)
        status = enter(out, tape, "llm_op_concat", (int)count, x);
    return status ? status : leave(out, tape, op_concat(&tape->cx, x, (int)count, axis));
}

llm_status llm_op_gather(llm_tensor **out, llm_tape *tape, llm_tensor *x, int32_t axis,
                         llm_tensor *index)
{
    llm_status status = enter(out, tape, "llm_op_gather", 1, &x);

    if (!status)
        status = enter_optional(tape, "llm_op_gather", "index", index);
    return status ? status : leave(out, tape, op_gather(&tape->cx, x, axis, index));
}

llm_status llm_op_scatter_add(llm_tensor **out, llm_tape *tape, llm_tensor *x, int32_t axis,
                              llm_tensor *index, llm_tensor *source)
{
    llm_tensor *in[] = {x, source};
    llm_status status = enter(out, tape, "llm_op_scatter_add", 2, in);

    if (!status)
        status = enter_optional(tape, "llm_op_scatter_add", "index", index);
    return status ? status : leave(out, tape, op_scatter_add(&tape->cx, x, axis, index, source));
}

llm_status llm_op_select_rows(llm_tensor **out, llm_tape *tape, llm_tensor *x, const int32_t *index,
                              size_t count)
{
    llm_status status = enter(out, tape, "llm_op_select_rows", 1, &x);

    if (!status)
        status = check_array(tape, "llm_op_select_rows", index, count);
    return status ? status : leave(out, tape, op_select_rows(&tape->cx, x, index, (int64_t)count));
}
llm_status llm_op_sum(llm_tensor **out, llm_tape *tape, llm_tensor *x, uint32_t axes, int32_t keep)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_sum", 1, in);

    return status ? status : leave(out, tape, op_sum(&tape->cx, x, axes, keep != 0));
}

llm_status llm_op_mean(llm_tensor **out, llm_tape *tape, llm_tensor *x, uint32_t axes, int32_t keep)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_mean", 1, in);

    return status ? status : leave(out, tape, op_mean(&tape->cx, x, axes, keep != 0));
}

llm_status llm_op_max(llm_tensor **out, llm_tape *tape, llm_tensor *x, uint32_t axes, int32_t keep)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_max", 1, in);

    return status ? status : leave(out, tape, op_max(&tape->cx, x, axes, keep != 0));
}

llm_status llm_op_variance(llm_tensor **out, llm_tape *tape, llm_tensor *x, uint32_t axes,
                           int32_t keep, int32_t correction)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_variance", 1, in);

    return status ? status
                  : leave(out, tape, op_variance(&tape->cx, x, axes, keep != 0, correction));
}

llm_status llm_op_slice(llm_tensor **out, llm_tape *tape, llm_tensor *x, int32_t axis,
                        int64_t start, int64_t end, int64_t step)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_slice", 1, in);

    return status ? status : leave(out, tape, op_slice(&tape->cx, x, axis, start, end, step));
}

llm_status llm_op_transpose(llm_tensor **out, llm_tape *tape, llm_tensor *x, int32_t axis_a,
                            int32_t axis_b)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_transpose", 1, in);

    return status ? status : leave(out, tape, op_transpose(&tape->cx, x, axis_a, axis_b));
}
