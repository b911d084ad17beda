/* SPDX-License-Identifier: MIT
 *
 * Tensor exchange through DLPack 1.x (https://dmlc.github.io/dlpack/latest/c_api.html): the structs
 * below are its ABI, declared here so that no header of another project is needed.
 */
#include "api/check.h"
#include "tensor/tensor.h"

#include <string.h>

enum { DLPACK_MAJOR = 1, DLPACK_MINOR = 0, DEVICE_CPU = 1 };

struct dl_tensor {
    void *data;
    int32_t device_type;
    int32_t device_id;
    int32_t ndim;
    uint8_t code;
    uint8_t bits;
    uint16_t lanes;
    int64_t *shape;
    int64_t *strides; /* in elements; NULL: row-major */
    uint64_t byte_offset;
};

struct dl_managed {
    uint32_t major;
    uint32_t minor;
    void *manager_ctx;
    void (*deleter)(struct dl_managed *self);
    uint64_t flags;
    struct dl_tensor tensor;
};

/* What an exported tensor keeps alive. */
struct exported {
    struct dl_managed managed;
    struct storage *storage;
    llm_context *context;
    int64_t shape[LLM_MAX_DIMENSIONS];
    int64_t stride[LLM_MAX_DIMENSIONS];
};

static void delete_exported(struct dl_managed *self)
{
    struct exported *exported = self->manager_ctx;
    llm_context *context = exported->context;

    storage_release(exported->storage);
    memory_release(&context->memory, exported);
    context_release(context);
}

llm_status llm_tensor_to_dlpack(void **managed_out, llm_tensor *tensor)
{
    struct exported *exported;
    const struct dtype *dtype;

    if (!managed_out)
        return null_argument("llm_tensor_to_dlpack", "managed_out");
    *managed_out = NULL;
    if (!tensor)
        return null_argument("llm_tensor_to_dlpack", "tensor");
    if (!tensor->data || !tensor->storage)
        return status_set(LLM_E_INVALID, "llm_tensor_to_dlpack: the tensor's values were released");
    dtype = dtype_get(tensor->dtype);
    exported = memory_alloc_zeroed(&tensor->context->memory, 1, sizeof *exported);
    if (!exported)
        return LLM_E_NOMEM;
    storage_escape(tensor->storage); /* the deleter may run on any thread, after the tape is gone */
    exported->storage = storage_retain(tensor->storage);
    exported->context = context_retain(tensor->context);
    memcpy(exported->shape, tensor->shape, sizeof exported->shape);
    memcpy(exported->stride, tensor->stride, sizeof exported->stride);
    exported->managed.major = DLPACK_MAJOR;
    exported->managed.minor = DLPACK_MINOR;
    exported->managed.manager_ctx = exported;
    exported->managed.deleter = delete_exported;
    exported->managed.tensor = (struct dl_tensor){.data = tensor->data,
                                                  .device_type = DEVICE_CPU,
                                                  .ndim = tensor->dimensions,
                                                  .code = dtype->dlpack_code,
                                                  .bits = dtype->dlpack_bits,
                                                  .lanes = 1,
                                                  .shape = exported->shape,
                                                  .strides = exported->stride};
    *managed_out = &exported->managed;
    return LLM_OK;
}

static int32_t find_dtype(const struct dl_tensor *tensor)
{
    const struct dtype *dtype;

    for (int32_t i = 0; (dtype = dtype_get(i)) != NULL; i++) {
        if (dtype->block_elements == 1 && dtype->dlpack_code == tensor->code &&
            dtype->dlpack_bits == tensor->bits && tensor->lanes == 1)
            return i;
    }
    return -1;
}

static void release_imported(void *user, void *data)
{
    struct dl_managed *managed = user;

    (void)data;
    if (managed->deleter)
        managed->deleter(managed);
}

llm_status llm_tensor_from_dlpack(llm_tensor **out, llm_context *context, void *pointer)
{
    struct dl_managed *managed = pointer;
    const struct dl_tensor *tensor;
    int32_t dtype;

    if (!out)
        return null_argument("llm_tensor_from_dlpack", "out");
    *out = NULL;
    if (!context)
        return null_argument("llm_tensor_from_dlpack", "context");
    if (!managed)
        return null_argument("llm_tensor_from_dlpack", "managed");
    if (managed->major != DLPACK_MAJOR)
        return status_set(LLM_E_UNSUPPORTED, "DLPack version %u.%u, not 1.x", managed->major,
                          managed->minor);
    tensor = &managed->tensor;
    if (tensor->device_type != DEVICE_CPU)
        return status_set(LLM_E_UNSUPPORTED, "DLPack device %d, not the CPU", tensor->device_type);
    dtype = find_dtype(tensor);
    if (dtype < 0)
        return status_set(LLM_E_UNSUPPORTED, "DLPack dtype code %u, %u bits, %u lanes",
                          tensor->code, tensor->bits, tensor->lanes);
    if (tensor->ndim < 0 || tensor->ndim > LLM_MAX_DIMENSIONS)
        return status_set(LLM_E_SHAPE, "%d dimensions, outside 0..%d", tensor->ndim,
                          LLM_MAX_DIMENSIONS);
    return llm_tensor_wrap(out, context, dtype, tensor->ndim, tensor->shape, tensor->strides,
                           (char *)tensor->data + tensor->byte_offset, release_imported, managed);
}
