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

/* Fills *out with a tensor that has the item's values behind the item's strides; released by the
 * writer. */
typedef llm_status (*safetensors_load_fn)(void *arg, const struct safetensors_item *item,
                                          llm_tensor **out);

struct safetensors_write {
    struct safetensors_item *items;
    size_t count;
    safetensors_load_fn load; /* NULL: the items' tensors have their values */
    uint64_t shard_bytes;     /* most bytes of tensors in one file; 0: a single file */
    tensor_tick tick;         /* may be NULL */
    void *arg;                /* of load and tick */
};

/* "model.safetensors" in a directory or, if that takes more than shard_bytes,
 * "model-00001-of-0000N.safetensors" and so on with "model.safetensors.index.json". Files of an
 * earlier set under these names are removed at the end. */
llm_status safetensors_write_set(struct memory *memory, const char *directory,
                                 const struct safetensors_write *write);

#endif
