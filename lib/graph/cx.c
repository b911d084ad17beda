/* SPDX-License-Identifier: MIT
 *
 * Lifetime, errors and outputs of a cx. The tape itself is in tape.c.
 */
#include "graph/cx.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

llm_status cx_init(struct cx *cx, llm_context *context)
{
    memset(cx, 0, sizeof *cx);
    cx->context = context_retain(context);
    cx->kernels = context->kernels;
    cx->memory = &context->memory;
    cx->threads = context->threads;
    cx->seed = context->seed;
    cx->dropout = -1.0f;
    arena_init(&cx->arena, cx->memory);
    cx->pool = pool_new(context);
    if (!cx->pool) {
        cx_free(cx);
        return LLM_E_NOMEM;
    }
    return LLM_OK;
}

void cx_free(struct cx *cx)
{
    llm_context *context = cx->context;

    if (!context)
        return;
    cx_reset(cx);
    for (int i = 0; i < CX_SCRATCH_SLOTS; i++)
        memory_release(cx->memory, cx->scratch[i]);
    memory_release(cx->memory, cx->nodes);
    memory_release(cx->memory, cx->tensors);
    arena_free(&cx->arena);
    pool_free(cx->pool);
    memset(cx, 0, sizeof *cx);
    context_release(context);
}

llm_status cx_status(const struct cx *cx)
{
    if (cx->status)
        status_restore(cx->message);
    return cx->status;
}

void *cx_adopt(struct cx *cx, llm_status status)
{
    if (cx->status == LLM_OK && status != LLM_OK) {
        cx->status = status;
        (void)snprintf(cx->message, sizeof cx->message, "%s", status_message());
    }
    return NULL;
}

void *cx_fail(struct cx *cx, llm_status status, const char *format, ...)
{
    char text[sizeof cx->message];
    va_list args;

    if (cx->status)
        return NULL;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return cx_adopt(cx, status_set(status, "%s", text));
}

bool cx_ready(struct cx *cx, const char *op, int inputs, llm_tensor *const *in)
{
    if (cx->status)
        return false;
    if (cx->cancel && atomic_load_explicit(cx->cancel, memory_order_relaxed)) {
        cx_fail(cx, LLM_E_CANCELLED, "cancelled");
        return false;
    }
    for (int i = 0; i < inputs; i++) {
        if (!in[i]) {
            cx_fail(cx, LLM_E_INVALID, "%s: input %d is NULL", op, i);
            return false;
        }
        if (in[i]->packed) {
            cx_fail(cx, LLM_E_UNSUPPORTED, "%s: input %d is kept as %s", op, i,
                    dtype_get(in[i]->dtype)->name);
            return false;
        }
        if (!cx_values(cx, in[i]))
            return false;
    }
    return true;
}

static llm_tensor *new_header(struct cx *cx)
{
    llm_tensor *tensor;

    if (memory_grow(cx->memory, (void **)&cx->tensors, &cx->tensor_capacity, cx->tensor_count + 1,
                    sizeof *cx->tensors))
        return cx_adopt(cx, LLM_E_NOMEM);
    tensor = arena_alloc(&cx->arena, sizeof *tensor);
    if (!tensor)
        return cx_adopt(cx, LLM_E_NOMEM);
    tensor->context = cx->context;
    tensor->is_on_tape = true;
    tensor->tape = cx;
    cx->tensors[cx->tensor_count++] = tensor;
    return tensor;
}

llm_tensor *cx_output(struct cx *cx, int32_t dtype, int32_t dimensions, const int64_t *shape)
{
    llm_tensor *tensor;
    llm_status status;
    int64_t count = 0;
    size_t bytes = 0;

    if (cx->status)
        return NULL;
    tensor = new_header(cx);
    if (!tensor)
        return NULL;
    status = tensor_set_shape(tensor, dtype, dimensions, shape, &count);
    if (status)
        return cx_adopt(cx, status);
    (void)dtype_bytes(dtype, count, &bytes);
    tensor->storage = pool_take(cx->pool, bytes);
    if (!tensor->storage)
        return cx_adopt(cx, LLM_E_NOMEM);
    tensor->data = tensor->storage->data;
    return tensor;
}

llm_tensor *cx_output_like(struct cx *cx, const llm_tensor *model)
{
    return cx_output(cx, model->dtype, model->dimensions, model->shape);
}

llm_tensor *cx_output_1d(struct cx *cx, int64_t size)
{
    return cx_output(cx, LLM_F32, 1, &size);
}

llm_tensor *cx_output_2d(struct cx *cx, int64_t rows, int64_t columns)
{
    int64_t shape[2] = {rows, columns};

    return cx_output(cx, LLM_F32, 2, shape);
}

llm_tensor *cx_view(struct cx *cx, const llm_tensor *filled)
{
    llm_tensor *view;

    if (cx->status)
        return NULL;
    view = new_header(cx);
    if (!view)
        return NULL;
    *view = *filled;
    atomic_init(&view->references, 0);
    view->is_on_tape = true;
    view->tape = cx;
    view->name[0] = '\0';
    view->context = cx->context;
    view->grad = NULL;
    if (view->storage)
        (void)storage_retain(view->storage);
    return view;
}

void *cx_scratch(struct cx *cx, int slot, size_t bytes)
{
    if (cx->status)
        return NULL;
    if (cx->scratch_bytes[slot] < bytes || !cx->scratch[slot]) {
        memory_release(cx->memory, cx->scratch[slot]);
        cx->scratch_bytes[slot] = 0;
        cx->scratch[slot] = memory_alloc(cx->memory, bytes);
        if (!cx->scratch[slot])
            return cx_adopt(cx, LLM_E_NOMEM);
        cx->scratch_bytes[slot] = bytes;
    }
    return cx->scratch[slot];
}

struct storage *cx_take(struct cx *cx, size_t bytes)
{
    struct storage *storage;

    if (cx->status)
        return NULL;
    storage = pool_take(cx->pool, bytes);
    return storage ? storage : cx_adopt(cx, LLM_E_NOMEM);
}
