/* SPDX-License-Identifier: MIT
 *
 * Named tensors on disk, whatever the container: one file, or a sharded set named by an index. A
 * format is a row of the table in tensor_source.c: how to know a file and how to read its header;
 * the rest (lookup, reading, conversion, shards) is shared. Headers are validated completely before
 * anything is allocated from what they claim; see doc/howto-add-format.md.
 */
#ifndef FORMATS_TENSOR_SOURCE_H
#define FORMATS_TENSOR_SOURCE_H

#include "base/file.h"
#include "base/map.h"
#include "tensor/tensor.h"

/* One tensor of a file. */
struct tensor_entry {
    const char *name;
    const char *type_name; /* in the file's words, "BF16" */
    int32_t dtype;         /* LLM_*, or -1: a type libllm does not compute with */
    int32_t dimensions;
    int64_t shape[LLM_MAX_DIMENSIONS];
    uint64_t offset; /* in its file */
    uint64_t bytes;
    uint32_t file;
    uint32_t group;         /* 0, or int8 values with one f32 scale per `group` of them ... */
    uint64_t scales_offset; /* ... which lie here in the file (llama2.c) */
};

struct gguf; /* formats/gguf.h */

struct tensor_source {
    struct memory *memory;
    struct map names; /* -> index in list */
    struct tensor_entry *list;
    size_t count, capacity;
    struct file_reader *files;
    size_t file_count, file_capacity;
    struct gguf *metadata; /* of formats that have it; its tensors have GGUF's names and layouts */
};

enum { TENSOR_SOURCE_MAGIC = 16 };

struct tensor_format {
    const char *name;
    /* `magic` holds the first bytes of the file, zeros behind its end. */
    bool (*probe)(const unsigned char magic[TENSOR_SOURCE_MAGIC]);
    /* Appends the tensors of source->files[file] with tensor_source_add(). */
    llm_status (*read_header)(struct tensor_source *source, uint32_t file);
};

/* `path`: a tensor file, or a directory that holds model.safetensors,
 * model.safetensors.index.json, or one model in GGUF files. */
llm_status tensor_source_open(struct tensor_source **out, struct memory *memory, const char *path);
/* Of a reader, which the source closes, also when this fails. */
llm_status tensor_source_open_reader(struct tensor_source **out, struct memory *memory,
                                     const struct file_reader *reader);
void tensor_source_close(struct tensor_source *source); /* NULL allowed */

/* NULL: there is none of that name. */
const struct tensor_entry *tensor_source_find(const struct tensor_source *source, const char *name);

/* Called after every few megabytes; anything but LLM_OK ends the reading with that status. */
typedef llm_status (*tensor_tick)(void *arg, uint64_t bytes);

/* Fills `to`, which has the entry's shape, any strides and any plain dtype. `tick` may be NULL.
 * Block types are expanded by all threads of the tensor's context. */
llm_status tensor_source_load(const struct tensor_source *source, const struct tensor_entry *entry,
                              llm_tensor *to, tensor_tick tick, void *arg);

/* For formats: copies the entry and its name; LLM_E_FORMAT for a name that is there already. */
llm_status tensor_source_add(struct tensor_source *source, const struct tensor_entry *entry,
                             const char *name, size_t name_size);
/* For formats of several files: opens one more. */
llm_status tensor_source_open_file(struct tensor_source *source, const char *path);

#endif
