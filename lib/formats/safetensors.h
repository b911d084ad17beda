/* SPDX-License-Identifier: MIT
 *
 * The safetensors container (https://github.com/huggingface/safetensors): eight bytes of header
 * length, a JSON header, raw tensors. Read through formats/tensor_source.h, written here.
 */
#ifndef FORMATS_SAFETENSORS_H
#define FORMATS_SAFETENSORS_H

#include "formats/tensor_source.h"

extern const struct tensor_format safetensors_format;

struct safetensors_item {
    const char *name;
    const llm_tensor *tensor; /* any strides; written row-major */
    int32_t dtype;            /* to convert to while writing */
};

/* Writes the whole file, atomically, in the reference writer's order (by alignment of the type,
 * then by name), with the metadata {"format":"pt"} that transformers asks for. Sorts `items` in
 * place. */
llm_status safetensors_write(struct memory *memory, const char *path,
                             struct safetensors_item *items, size_t count, tensor_tick tick,
                             void *arg);

#endif
