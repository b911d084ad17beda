/* SPDX-License-Identifier: MIT */
#include "tensor/packed.h"

#include "base/parallel.h"

#include <string.h>

_Static_assert((int)QGEMM_MXFP4 == LLM_MXFP4 - LLM_Q4_0, "types in the same order");

/* The panels, and behind them their description: one storage holds both. */
static bool sizes(int32_t dtype, int64_t rows, int64_t columns, size_t *panels, size_t *total)
{
    if (dtype < LLM_Q4_0 || dtype > LLM_MXFP4 || rows < 1 || columns < 1 ||
        !qgemm_packed_bytes((enum qgemm_type)(dtype - LLM_Q4_0), rows, columns, panels) ||
        *panels > (size_t)PTRDIFF_MAX / 2)
        return false;
    *panels = (*panels + QGEMM_ALIGNMENT - 1) / QGEMM_ALIGNMENT * QGEMM_ALIGNMENT;
    *total = *panels + sizeof(struct qgemm_weights);
    return true;
}

bool packed_bytes(int32_t dtype, int64_t rows, int64_t columns, size_t *bytes)
{
    size_t panels;

    return sizes(dtype, rows, columns, &panels, bytes);
}

llm_status packed_allocate(llm_tensor *tensor, int32_t dtype)
{
    struct qgemm_weights *weights;
    size_t panels, total;
    llm_status status;

    if (tensor->dimensions != 2 || tensor->storage ||
        !sizes(dtype, tensor->shape[0], tensor->shape[1], &panels, &total))
        return status_set(LLM_E_INTERNAL, "%s cannot be kept in blocks", tensor_shape_text(tensor));
    status = storage_new(&tensor->storage, tensor->context, total);
    if (status)
        return status;
    weights = (void *)((char *)tensor->storage->data + panels);
    *weights = (struct qgemm_weights){(enum qgemm_type)(dtype - LLM_Q4_0), tensor->shape[0],
                                      tensor->shape[1], tensor->storage->data};
    tensor->packed = weights;
    tensor->dtype = dtype;
    tensor->requires_grad = false;
    return LLM_OK;
}

struct read_job {
    const struct qgemm_weights *weights;
    int64_t first;
    float *out;
};

static void read_rows(void *arg, int64_t begin, int64_t end)
{
    const struct read_job *job = arg;

    for (int64_t i = begin; i < end; i++)
        qgemm_load_row(job->weights, job->first + i, job->out + i * job->weights->k);
}

void packed_read_rows(const llm_tensor *tensor, int64_t first, int64_t count, float *out,
                      int threads)
{
    int64_t width = tensor->shape[1];
    struct read_job job = {tensor->packed, first, out};

    if (tensor->packed)
        parallel_for(threads, count, 4096 / width + 1, read_rows, &job);
    else
        memcpy(out, tensor_f32(tensor) + first * width, (size_t)(count * width) * sizeof *out);
}
