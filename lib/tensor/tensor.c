/* SPDX-License-Identifier: MIT */
#include "tensor/tensor.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

llm_status tensor_set_shape(llm_tensor *tensor, int32_t dtype, int32_t dimensions,
                            const int64_t *shape, int64_t *count_out)
{
    int64_t count = 1;
    size_t bytes;

    if (!dtype_get(dtype))
        return status_set(LLM_E_INVALID, "unknown dtype %d", dtype);
    if (dtype_get(dtype)->block_elements != 1)
        return status_set(LLM_E_UNSUPPORTED, "dtype %s is for the weights in files only",
                          dtype_get(dtype)->name);
    if (dimensions < 0 || dimensions > LLM_MAX_DIMENSIONS)
        return status_set(LLM_E_SHAPE, "%d dimensions, outside 0..%d", dimensions,
                          LLM_MAX_DIMENSIONS);
    tensor->dtype = dtype;
    tensor->dimensions = dimensions;
    for (int32_t i = dimensions - 1; i >= 0; i--) {
        if (shape[i] < 0)
            return status_set(LLM_E_SHAPE, "size %lld of axis %d is negative", (long long)shape[i],
                              i);
        tensor->shape[i] = shape[i];
        tensor->stride[i] = count;
        /* Zero sizes must not hide an overflow of the others. */
        if (!checked_mul_i64(count, shape[i] ? shape[i] : 1, &count))
            return status_set(LLM_E_SHAPE, "more elements than fit in 63 bits");
    }
    if (!dtype_bytes(dtype, count, &bytes) || bytes > PTRDIFF_MAX)
        return status_set(LLM_E_SHAPE, "more bytes than an address holds");
    if (count_out)
        *count_out = tensor_count(tensor);
    return LLM_OK;
}

int64_t tensor_count(const llm_tensor *tensor)
{
    int64_t count = 1;

    for (int32_t i = 0; i < tensor->dimensions; i++)
        count *= tensor->shape[i];
    return count;
}

bool tensor_is_contiguous(const llm_tensor *tensor)
{
    int64_t expected = 1;

    for (int32_t i = tensor->dimensions - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && tensor->stride[i] != expected)
            return tensor_count(tensor) == 0;
        expected *= tensor->shape[i];
    }
    return true;
}

bool tensor_same_shape(const llm_tensor *a, const llm_tensor *b)
{
    if (a->dimensions != b->dimensions)
        return false;
    for (int32_t i = 0; i < a->dimensions; i++) {
        if (a->shape[i] != b->shape[i])
            return false;
    }
    return true;
}

int64_t tensor_rows(const llm_tensor *tensor)
{
    int64_t rows = 1;

    for (int32_t i = 0; i + 1 < tensor->dimensions; i++)
        rows *= tensor->shape[i];
    return rows;
}

int64_t tensor_last(const llm_tensor *tensor)
{
    return tensor->dimensions ? tensor->shape[tensor->dimensions - 1] : 1;
}

int32_t tensor_axis(const llm_tensor *tensor, int32_t axis)
{
    if (axis < 0)
        axis += tensor->dimensions;
    return axis >= 0 && axis < tensor->dimensions ? axis : -1;
}

const char *tensor_shape_text(const llm_tensor *tensor)
{
    static _Thread_local char ring[4][160];
    static _Thread_local unsigned next;
    char *text = ring[next++ % 4];
    size_t used = 1;

    text[0] = '[';
    text[1] = '\0';
    for (int32_t i = 0; i < tensor->dimensions; i++) {
        int wrote = snprintf(text + used, sizeof ring[0] - used, i ? ",%lld" : "%lld",
                             (long long)tensor->shape[i]);

        if (wrote < 0 || used + (size_t)wrote + 2 > sizeof ring[0])
            break;
        used += (size_t)wrote;
    }
    memcpy(text + used, "]", 2);
    return text;
}

static llm_status alloc_header(llm_tensor **out, llm_context *context)
{
    llm_tensor *tensor = memory_alloc_zeroed(&context->memory, 1, sizeof *tensor);

    *out = NULL;
    if (!tensor)
        return LLM_E_NOMEM;
    atomic_init(&tensor->references, 1);
    tensor->context = context_retain(context);
    *out = tensor;
    return LLM_OK;
}

llm_status tensor_new(llm_tensor **out, llm_context *context, int32_t dtype, int32_t dimensions,
                      const int64_t *shape)
{
    llm_tensor *tensor;
    llm_status status = alloc_header(&tensor, context);
    int64_t count;
    size_t bytes = 0;

    *out = NULL;
    if (status)
        return status;
    status = tensor_set_shape(tensor, dtype, dimensions, shape, &count);
    if (!status) {
        (void)dtype_bytes(dtype, count, &bytes);
        status = storage_new(&tensor->storage, context, bytes);
    }
    if (status) {
        tensor_release(tensor);
        return status;
    }
    tensor->data = tensor->storage->data;
    *out = tensor;
    return LLM_OK;
}

llm_status tensor_new_zeroed(llm_tensor **out, llm_context *context, int32_t dtype,
                             int32_t dimensions, const int64_t *shape)
{
    llm_status status = tensor_new(out, context, dtype, dimensions, shape);

    if (!status)
        memset((*out)->data, 0, (*out)->storage->bytes);
    return status;
}

llm_status tensor_new_empty(llm_tensor **out, llm_context *context, int32_t dtype,
                            int32_t dimensions, const int64_t *shape)
{
    llm_tensor *tensor;
    llm_status status = alloc_header(&tensor, context);

    *out = NULL;
    if (status)
        return status;
    status = tensor_set_shape(tensor, dtype, dimensions, shape, NULL);
    if (status) {
        tensor_release(tensor);
        return status;
    }
    *out = tensor;
    return LLM_OK;
}

llm_status tensor_over(llm_tensor **out, struct storage *storage, void *data, int32_t dtype,
                       int32_t dimensions, const int64_t *shape)
{
    llm_tensor *tensor;
    llm_status status = alloc_header(&tensor, storage->context);

    *out = NULL;
    if (status)
        return status;
    status = tensor_set_shape(tensor, dtype, dimensions, shape, NULL);
    if (status) {
        tensor_release(tensor);
        return status;
    }
    tensor->storage = storage_retain(storage);
    tensor->data = data;
    *out = tensor;
    return LLM_OK;
}

llm_tensor *tensor_retain(llm_tensor *tensor)
{
    if (!tensor->is_on_tape)
        atomic_fetch_add(&tensor->references, 1);
    return tensor;
}

/* Gradients have neither base nor gradient. */
static void release_grad(llm_tensor *grad)
{
    llm_context *context;

    if (!grad || grad->is_on_tape || atomic_fetch_sub(&grad->references, 1) != 1)
        return;
    context = grad->context;
    storage_release(grad->storage);
    memory_release(&context->memory, grad);
    context_release(context);
}

void tensor_drop_grad(llm_tensor *tensor)
{
    release_grad(tensor->grad);
    tensor->grad = NULL;
    tensor->grad_is_fresh = false;
}

/* A view holds a reference to its base, and bases are never views: the loop runs at most twice. */
void tensor_release(llm_tensor *tensor)
{
    while (tensor && !tensor->is_on_tape && atomic_fetch_sub(&tensor->references, 1) == 1) {
        llm_tensor *base = tensor->base;
        llm_tensor *grad = tensor->grad;
        llm_context *context = tensor->context;

        storage_release(tensor->storage);
        release_grad(grad);
        memory_release(&context->memory, tensor);
        context_release(context);
        tensor = base;
    }
}

static void start_view(llm_tensor *view, const llm_tensor *tensor)
{
    memset(view, 0, sizeof *view);
    view->dtype = tensor->dtype;
    view->dimensions = tensor->dimensions;
    memcpy(view->shape, tensor->shape, sizeof view->shape);
    memcpy(view->stride, tensor->stride, sizeof view->stride);
    view->storage = tensor->storage;
    view->data = tensor->data;
    view->context = tensor->context;
    view->base = tensor->base ? tensor->base : (llm_tensor *)(uintptr_t)tensor;
    view->offset = tensor->offset;
    view->requires_grad = tensor->requires_grad;
    view->node = tensor->node;
}

static void move_start(llm_tensor *view, int64_t elements)
{
    view->offset += elements;
    if (view->data)
        view->data = (char *)view->data + elements * dtype_get(view->dtype)->block_bytes;
}

llm_status tensor_view_reshape(llm_tensor *view, const llm_tensor *tensor, int32_t dimensions,
                               const int64_t *shape)
{
    int64_t sizes[LLM_MAX_DIMENSIONS];
    int64_t count = tensor_count(tensor);
    int64_t known = 1;
    int32_t open = -1;
    llm_status status;

    if (dimensions < 0 || dimensions > LLM_MAX_DIMENSIONS)
        return status_set(LLM_E_SHAPE, "%d dimensions, outside 0..%d", dimensions,
                          LLM_MAX_DIMENSIONS);
    if (!tensor_is_contiguous(tensor))
        return status_set(LLM_E_SHAPE, "cannot reshape %s: its elements are not contiguous",
                          tensor_shape_text(tensor));
    for (int32_t i = 0; i < dimensions; i++) {
        sizes[i] = shape[i];
        if (shape[i] == -1 && open < 0)
            open = i;
        else if (shape[i] < 0 || !checked_mul_i64(known, shape[i], &known))
            return status_set(LLM_E_SHAPE, "cannot reshape %s: bad size %lld",
                              tensor_shape_text(tensor), (long long)shape[i]);
    }
    if (open >= 0 && known > 0 && count % known == 0)
        sizes[open] = count / known;
    else if (open >= 0 || known != count)
        return status_set(LLM_E_SHAPE, "cannot reshape %s: element counts differ",
                          tensor_shape_text(tensor));
    start_view(view, tensor);
    status = tensor_set_shape(view, tensor->dtype, dimensions, sizes, NULL);
    return status;
}

llm_status tensor_view_slice(llm_tensor *view, const llm_tensor *tensor, int32_t axis,
                             int64_t start, int64_t end, int64_t step)
{
    int32_t at = tensor_axis(tensor, axis);

    if (at < 0)
        return status_set(LLM_E_SHAPE, "axis %d of %s does not exist", axis,
                          tensor_shape_text(tensor));
    if (step < 1 || start < 0 || end < start || end > tensor->shape[at])
        return status_set(LLM_E_RANGE, "slice %lld..%lld step %lld outside axis %d of %s",
                          (long long)start, (long long)end, (long long)step, axis,
                          tensor_shape_text(tensor));
    start_view(view, tensor);
    view->shape[at] = (end - start) / step + ((end - start) % step != 0);
    view->stride[at] = tensor->stride[at] * step;
    move_start(view, view->shape[at] ? start * tensor->stride[at] : 0);
    return LLM_OK;
}

llm_status tensor_view_permute(llm_tensor *view, const llm_tensor *tensor, const int32_t *axes)
{
    unsigned seen = 0;

    start_view(view, tensor);
    for (int32_t i = 0; i < tensor->dimensions; i++) {
        int32_t from = tensor_axis(tensor, axes[i]);

        if (from < 0 || (seen & 1u << from))
            return status_set(LLM_E_SHAPE, "axes are not a permutation of those of %s",
                              tensor_shape_text(tensor));
        seen |= 1u << from;
        view->shape[i] = tensor->shape[from];
        view->stride[i] = tensor->stride[from];
    }
    return LLM_OK;
}

llm_status tensor_new_view(llm_tensor **out, const llm_tensor *filled)
{
    llm_tensor *view;
    llm_status status = alloc_header(&view, filled->context);

    *out = NULL;
    if (status)
        return status;
    view->dtype = filled->dtype;
    view->dimensions = filled->dimensions;
    memcpy(view->shape, filled->shape, sizeof view->shape);
    memcpy(view->stride, filled->stride, sizeof view->stride);
    view->offset = filled->offset;
    view->requires_grad = filled->requires_grad;
    view->data = filled->data;
    view->storage = storage_retain(filled->storage);
    view->base = tensor_retain(filled->base);
    *out = view;
    return LLM_OK;
}
