/* SPDX-License-Identifier: MIT
 *
 * llm/tensor.h: argument checks around tensor/.
 */
#include "api/check.h"
#include "base/checked.h"
#include "base/rng.h"
#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

static llm_status check_shape(const char *function, int32_t dimensions, const int64_t *shape)
{
    if (dimensions > 0 && !shape)
        return null_argument(function, "shape");
    return LLM_OK;
}

/* Tensors whose values can be read and written here. */
static llm_status check_values(const char *function, const llm_tensor *tensor)
{
    if (!tensor)
        return null_argument(function, "tensor");
    if (tensor->packed)
        return status_set(LLM_E_UNSUPPORTED, "%s: the tensor's values are kept as %s", function,
                          dtype_get(tensor->dtype)->name);
    if (!tensor->data)
        return status_set(LLM_E_INVALID, "%s: the tensor's values were released", function);
    return LLM_OK;
}

const char *llm_dtype_name(int32_t dtype)
{
    const struct dtype *type = dtype_get(dtype);

    return type ? type->name : "";
}

int32_t llm_dtype_find(const char *name)
{
    return name ? dtype_from_name(name) : -1;
}

llm_status llm_tensor_new(llm_tensor **out, llm_context *context, int32_t dtype, int32_t dimensions,
                          const int64_t *shape)
{
    llm_status status;

    if (!out)
        return null_argument("llm_tensor_new", "out");
    *out = NULL;
    if (!context)
        return null_argument("llm_tensor_new", "context");
    status = check_shape("llm_tensor_new", dimensions, shape);
    return status ? status : tensor_new_zeroed(out, context, dtype, dimensions, shape);
}

/* Bytes from the first element to the end of the last one; strides must not be negative. */
static llm_status strided_extent(size_t *out, const llm_tensor *tensor)
{
    int64_t last = 0;
    int64_t span;

    for (int32_t i = 0; i < tensor->dimensions; i++) {
        if (tensor->shape[i] == 0) {
            *out = 0;
            return LLM_OK;
        }
        if (tensor->stride[i] < 0)
            return status_set(LLM_E_SHAPE, "stride %lld of axis %d is negative",
                              (long long)tensor->stride[i], i);
        if (!checked_mul_i64(tensor->shape[i] - 1, tensor->stride[i], &span) ||
            !checked_add_i64(last, span, &last))
            return status_set(LLM_E_SHAPE, "strides reach beyond the address space");
    }
    if (!dtype_bytes(tensor->dtype, last + 1, out))
        return status_set(LLM_E_SHAPE, "strides reach beyond the address space");
    return LLM_OK;
}

llm_status llm_tensor_wrap(llm_tensor **out, llm_context *context, int32_t dtype,
                           int32_t dimensions, const int64_t *shape, const int64_t *stride,
                           void *data, llm_tensor_release_fn release, void *user)
{
    struct storage *storage = NULL;
    llm_tensor layout;
    size_t bytes;
    llm_status status;

    if (!out)
        return null_argument("llm_tensor_wrap", "out");
    *out = NULL;
    if (!context)
        return null_argument("llm_tensor_wrap", "context");
    if (!data)
        return null_argument("llm_tensor_wrap", "data");
    status = check_shape("llm_tensor_wrap", dimensions, shape);
    if (!status)
        status = tensor_set_shape(&layout, dtype, dimensions, shape, NULL);
    if (status)
        return status;
    if ((uintptr_t)data % (size_t)dtype_get(dtype)->block_bytes != 0)
        return status_set(LLM_E_INVALID, "llm_tensor_wrap: data is not aligned to its dtype");
    if (stride)
        memcpy(layout.stride, stride, (size_t)dimensions * sizeof *stride);
    status = strided_extent(&bytes, &layout);
    if (!status)
        status = storage_wrap(&storage, context, data, bytes, NULL, NULL);
    if (status)
        return status;
    status = tensor_over(out, storage, data, dtype, dimensions, shape);
    if (!status) {
        memcpy((*out)->stride, layout.stride, sizeof layout.stride);
        storage->release = release; /* from here on the memory is ours to give back */
        storage->user = user;
    }
    storage_release(storage);
    return status;
}

void llm_tensor_free(llm_tensor *tensor)
{
    tensor_release(tensor);
}

int32_t llm_tensor_dtype(const llm_tensor *tensor)
{
    return tensor ? tensor->dtype : LLM_F32;
}

int32_t llm_tensor_dimensions(const llm_tensor *tensor)
{
    return tensor ? tensor->dimensions : 0;
}

int64_t llm_tensor_size(const llm_tensor *tensor, int32_t axis)
{
    int32_t at = tensor ? tensor_axis(tensor, axis) : -1;

    return at >= 0 ? tensor->shape[at] : 0;
}

int64_t llm_tensor_stride(const llm_tensor *tensor, int32_t axis)
{
    int32_t at = tensor ? tensor_axis(tensor, axis) : -1;

    return at >= 0 ? tensor->stride[at] : 0;
}

int64_t llm_tensor_count(const llm_tensor *tensor)
{
    return tensor ? tensor_count(tensor) : 0;
}

void *llm_tensor_data(const llm_tensor *tensor)
{
    return tensor ? tensor->data : NULL;
}

/* Views of tape tensors are ops, so that gradients find their way: llm_op_reshape() and so on. */
static llm_status check_view(const char *function, llm_tensor **out, const llm_tensor *tensor)
{
    if (!out)
        return null_argument(function, "out");
    *out = NULL;
    if (tensor && tensor->is_on_tape)
        return status_set(LLM_E_INVALID, "%s: the tensor is on a tape; use the operation",
                          function);
    return check_values(function, tensor);
}

llm_status llm_tensor_reshape(llm_tensor **out, const llm_tensor *tensor, int32_t dimensions,
                              const int64_t *shape)
{
    llm_status status = check_view("llm_tensor_reshape", out, tensor);
    llm_tensor view;

    if (!status)
        status = check_shape("llm_tensor_reshape", dimensions, shape);
    if (!status)
        status = tensor_view_reshape(&view, tensor, dimensions, shape);
    return status ? status : tensor_new_view(out, &view);
}

llm_status llm_tensor_slice(llm_tensor **out, const llm_tensor *tensor, int32_t axis, int64_t start,
                            int64_t end, int64_t step)
{
    llm_status status = check_view("llm_tensor_slice", out, tensor);
    llm_tensor view;

    if (!status)
        status = tensor_view_slice(&view, tensor, axis, start, end, step);
    return status ? status : tensor_new_view(out, &view);
}

llm_status llm_tensor_permute(llm_tensor **out, const llm_tensor *tensor, const int32_t *axes)
{
    llm_status status = check_view("llm_tensor_permute", out, tensor);
    llm_tensor view;

    if (!status && tensor->dimensions > 0 && !axes)
        status = null_argument("llm_tensor_permute", "axes");
    if (!status)
        status = tensor_view_permute(&view, tensor, axes);
    return status ? status : tensor_new_view(out, &view);
}

llm_status llm_tensor_convert(llm_tensor **out, const llm_tensor *tensor, int32_t dtype)
{
    llm_status status;

    if (!out)
        return null_argument("llm_tensor_convert", "out");
    *out = NULL;
    status = check_values("llm_tensor_convert", tensor);
    if (!status)
        status = tensor_new(out, tensor->context, dtype, tensor->dimensions, tensor->shape);
    return status ? status : tensor_copy(*out, tensor);
}

/* A stack tensor over the caller's floats with the shape of `model`. */
static void over_floats(llm_tensor *floats, const llm_tensor *model, const float *values)
{
    memset(floats, 0, sizeof *floats);
    (void)tensor_set_shape(floats, LLM_F32, model->dimensions, model->shape, NULL);
    floats->data = (void *)(uintptr_t)values;
}

llm_status llm_tensor_read_f32(const llm_tensor *tensor, float *values, size_t capacity)
{
    llm_status status = check_values("llm_tensor_read_f32", tensor);
    llm_tensor floats;

    if (status)
        return status;
    if (!values)
        return null_argument("llm_tensor_read_f32", "values");
    if (capacity < (size_t)tensor_count(tensor))
        return status_set(LLM_E_BUFFER, "llm_tensor_read_f32: %lld elements do not fit in %zu",
                          (long long)tensor_count(tensor), capacity);
    over_floats(&floats, tensor, values);
    return tensor_copy(&floats, tensor);
}

llm_status llm_tensor_write_f32(llm_tensor *tensor, const float *values, size_t count)
{
    llm_status status = check_values("llm_tensor_write_f32", tensor);
    llm_tensor floats;

    if (status)
        return status;
    if (!values)
        return null_argument("llm_tensor_write_f32", "values");
    if (count != (size_t)tensor_count(tensor))
        return status_set(LLM_E_SHAPE, "llm_tensor_write_f32: %zu values for %lld elements", count,
                          (long long)tensor_count(tensor));
    over_floats(&floats, tensor, values);
    return tensor_copy(tensor, &floats);
}

/* One number after the other, in row-major order, from `next`. */
struct source {
    enum { CONSTANT, UNIFORM, NORMAL } kind;
    double a, b;
    struct rng rng;
};

static float next_number(struct source *source)
{
    switch (source->kind) {
    case UNIFORM:
        return (float)(source->a + (source->b - source->a) * rng_uniform(&source->rng));
    case NORMAL:
        return (float)(source->a + source->b * rng_normal(&source->rng));
    case CONSTANT:
    default:
        return (float)source->a;
    }
}

static void fill(llm_tensor *tensor, struct source *source)
{
    const struct dtype *dtype = dtype_get(tensor->dtype);
    int64_t index[LLM_MAX_DIMENSIONS] = {0};
    int64_t count = tensor_count(tensor);
    int64_t at = 0;

    for (int64_t i = 0; i < count; i++) {
        float value = next_number(source);

        if (tensor->dtype == LLM_F64 && source->kind == CONSTANT)
            ((double *)tensor->data)[at] = source->a;
        else
            dtype->from_f32((char *)tensor->data + at * dtype->block_bytes, &value, 1);
        for (int32_t axis = tensor->dimensions - 1; axis >= 0; axis--) {
            at += tensor->stride[axis];
            if (++index[axis] < tensor->shape[axis])
                break;
            at -= tensor->stride[axis] * tensor->shape[axis];
            index[axis] = 0;
        }
    }
}

llm_status llm_tensor_fill(llm_tensor *tensor, double value)
{
    llm_status status = check_values("llm_tensor_fill", tensor);
    struct source source = {CONSTANT, value, 0.0, {0, 0, 0}};

    if (!status)
        fill(tensor, &source);
    return status;
}

llm_status llm_tensor_fill_uniform(llm_tensor *tensor, double low, double high, uint64_t seed)
{
    llm_status status = check_values("llm_tensor_fill_uniform", tensor);
    struct source source = {UNIFORM, low, high, rng_make(seed, 0)};

    if (!status && !(isfinite(low) && isfinite(high) && low <= high))
        status =
            status_set(LLM_E_RANGE, "llm_tensor_fill_uniform: %g..%g is not a range", low, high);
    if (!status)
        fill(tensor, &source);
    return status;
}

llm_status llm_tensor_fill_normal(llm_tensor *tensor, double mean, double deviation, uint64_t seed)
{
    llm_status status = check_values("llm_tensor_fill_normal", tensor);
    struct source source = {NORMAL, mean, deviation, rng_make(seed, 0)};

    if (!status && !(isfinite(mean) && isfinite(deviation) && deviation >= 0.0))
        status = status_set(LLM_E_RANGE, "llm_tensor_fill_normal: mean %g, deviation %g", mean,
                            deviation);
    if (!status)
        fill(tensor, &source);
    return status;
}

llm_status llm_tensor_set_requires_grad(llm_tensor *tensor, int32_t requires_grad)
{
    if (!tensor)
        return null_argument("llm_tensor_set_requires_grad", "tensor");
    if (tensor->is_on_tape || tensor->base)
        return status_set(LLM_E_INVALID, "only tensors of their own can require gradients, not "
                                         "views or results of operations");
    if (requires_grad && (tensor->dtype != LLM_F32 || !tensor_is_contiguous(tensor)))
        return status_set(LLM_E_UNSUPPORTED, "only contiguous f32 tensors can require gradients");
    tensor->requires_grad = requires_grad != 0;
    return LLM_OK;
}

int32_t llm_tensor_requires_grad(const llm_tensor *tensor)
{
    return tensor && tensor->requires_grad;
}

llm_tensor *llm_tensor_grad(const llm_tensor *tensor)
{
    return tensor && tensor->grad && !tensor->grad_is_fresh ? tensor->grad : NULL;
}

void llm_tensor_zero_grad(llm_tensor *tensor)
{
    if (tensor && tensor->grad)
        tensor->grad_is_fresh = true;
}

llm_status llm_tensor_set_name(llm_tensor *tensor, const char *name)
{
    size_t length;

    if (!tensor)
        return null_argument("llm_tensor_set_name", "tensor");
    if (!name)
        return null_argument("llm_tensor_set_name", "name");
    length = strlen(name);
    if (length >= sizeof tensor->name)
        return status_set(LLM_E_RANGE, "llm_tensor_set_name: the name is longer than %zu bytes",
                          sizeof tensor->name - 1);
    memcpy(tensor->name, name, length + 1);
    return LLM_OK;
}

const char *llm_tensor_name(const llm_tensor *tensor)
{
    return tensor ? tensor->name : "";
}
