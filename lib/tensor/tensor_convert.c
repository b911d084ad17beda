/* SPDX-License-Identifier: MIT
 *
 * Moving values: between strides and between dtypes, one row of the last axis at a time. Quantizing
 * is converting to a block type.
 */
#include "tensor/tensor.h"

#include "base/parallel.h"

#include <string.h>

/* Walks all positions of the axes before the last one; element offsets into two tensors. */
struct walk {
    int64_t index[LLM_MAX_DIMENSIONS];
    int64_t a, b;
};

static void advance(struct walk *walk, const llm_tensor *a, const llm_tensor *b)
{
    for (int32_t i = a->dimensions - 2; i >= 0; i--) {
        walk->a += a->stride[i];
        walk->b += b->stride[i];
        if (++walk->index[i] < a->shape[i])
            return;
        walk->a -= a->stride[i] * a->shape[i];
        walk->b -= b->stride[i] * b->shape[i];
        walk->index[i] = 0;
    }
}

static int64_t last_stride(const llm_tensor *tensor)
{
    return tensor->dimensions ? tensor->stride[tensor->dimensions - 1] : 1;
}

static void copy_strided(char *to, int64_t to_step, const char *from, int64_t from_step,
                         int64_t count, size_t size)
{
    if (to_step == 1 && from_step == 1) {
        memcpy(to, from, (size_t)count * size);
    } else if (size == 4) {
        for (int64_t i = 0; i < count; i++)
            memcpy(to + i * to_step * 4, from + i * from_step * 4, 4);
    } else {
        for (int64_t i = 0; i < count; i++)
            memcpy(to + i * to_step * (int64_t)size, from + i * from_step * (int64_t)size, size);
    }
}

/* Through float, in pieces that fit the stack; f64 -> f64 never comes here. */
static void convert_strided(const struct dtype *to_type, char *to, int64_t to_step,
                            const struct dtype *from_type, const char *from, int64_t from_step,
                            int64_t count)
{
    float values[256];

    for (int64_t done = 0; done < count;) {
        int64_t piece = count - done < 256 ? count - done : 256;

        if (from_step == 1) {
            from_type->to_f32(values, from + done * from_type->block_bytes, piece);
        } else {
            for (int64_t i = 0; i < piece; i++)
                from_type->to_f32(values + i,
                                  from + (done + i) * from_step * from_type->block_bytes, 1);
        }
        if (to_step == 1) {
            to_type->from_f32(to + done * to_type->block_bytes, values, piece);
        } else {
            for (int64_t i = 0; i < piece; i++)
                to_type->from_f32(to + (done + i) * to_step * to_type->block_bytes, values + i, 1);
        }
        done += piece;
    }
}

llm_status tensor_copy(llm_tensor *to, const llm_tensor *from)
{
    const struct dtype *to_type = dtype_get(to->dtype);
    const struct dtype *from_type = dtype_get(from->dtype);
    struct walk walk = {{0}, 0, 0};
    int64_t rows = tensor_rows(to);
    int64_t columns = tensor_last(to);

    if (!tensor_same_shape(to, from))
        return status_set(LLM_E_SHAPE, "cannot copy %s into %s", tensor_shape_text(from),
                          tensor_shape_text(to));
    if (!to->data || !from->data)
        return status_set(LLM_E_INVALID, "the tensor's values were released");
    if (columns == 0)
        return LLM_OK;
    for (int64_t row = 0; row < rows; row++) {
        char *target = (char *)to->data + walk.a * to_type->block_bytes;
        const char *source = (const char *)from->data + walk.b * from_type->block_bytes;

        if (to_type == from_type)
            copy_strided(target, last_stride(to), source, last_stride(from), columns,
                         (size_t)to_type->block_bytes);
        else
            convert_strided(to_type, target, last_stride(to), from_type, source, last_stride(from),
                            columns);
        advance(&walk, to, from);
    }
    return LLM_OK;
}

struct add_job {
    float *to;
    const float *from;
};

static void add_range(void *arg, int64_t begin, int64_t end)
{
    const struct add_job *job = arg;

    for (int64_t i = begin; i < end; i++)
        job->to[i] += job->from[i];
}

llm_status tensor_add(llm_tensor *to, const llm_tensor *from)
{
    struct walk walk = {{0}, 0, 0};
    int64_t rows = tensor_rows(to);
    int64_t columns = tensor_last(to);
    int64_t to_step = last_stride(to);
    int64_t from_step = last_stride(from);

    if (!tensor_same_shape(to, from) || to->dtype != LLM_F32 || from->dtype != LLM_F32)
        return status_set(LLM_E_SHAPE, "cannot add %s to %s", tensor_shape_text(from),
                          tensor_shape_text(to));
    if (tensor_is_contiguous(to) && tensor_is_contiguous(from)) {
        struct add_job job = {to->data, from->data};

        parallel_for(to->context->threads, tensor_count(to), 16384, add_range, &job);
        return LLM_OK;
    }
    for (int64_t row = 0; row < rows && columns; row++) {
        float *target = tensor_f32(to) + walk.a;
        const float *source = tensor_f32(from) + walk.b;

        for (int64_t i = 0; i < columns; i++)
            target[i * to_step] += source[i * from_step];
        advance(&walk, to, from);
    }
    return LLM_OK;
}

void tensor_zero(llm_tensor *tensor)
{
    size_t size = (size_t)dtype_get(tensor->dtype)->block_bytes;
    struct walk walk = {{0}, 0, 0};
    int64_t rows = tensor_rows(tensor);
    int64_t columns = tensor_last(tensor);
    int64_t step = last_stride(tensor);

    if (tensor_is_contiguous(tensor)) {
        memset(tensor->data, 0, (size_t)tensor_count(tensor) * size);
        return;
    }
    for (int64_t row = 0; row < rows; row++) {
        char *target = (char *)tensor->data + walk.a * (int64_t)size;

        for (int64_t i = 0; i < columns; i++)
            memset(target + i * step * (int64_t)size, 0, size);
        advance(&walk, tensor, tensor);
    }
}
