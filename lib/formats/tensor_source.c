/* SPDX-License-Identifier: MIT
 *
 * Table of formats, shards, lookup and conversion while reading. Called by models/model_file.c.
 */
#include "formats/tensor_source.h"

#include "base/checked.h"
#include "base/json.h"
#include "formats/safetensors.h"

#include <string.h>

static const struct tensor_format *const formats[] = {&safetensors_format};

enum {
    INDEX_LIMIT = 64 << 20, /* bytes of a shard index */
    SHARD_LIMIT = 4096,
    TENSOR_LIMIT = 1000000,
    CHUNK = 8 << 20 /* bytes read at a time */
};

llm_status tensor_source_add(struct tensor_source *source, const struct tensor_entry *entry,
                             const char *name, size_t name_size)
{
    bool inserted;
    llm_status status;

    if (source->count >= TENSOR_LIMIT)
        return status_set(LLM_E_RANGE, "more than %d tensors", TENSOR_LIMIT);
    status = memory_grow(source->memory, (void **)&source->list, &source->capacity,
                         source->count + 1, sizeof *source->list);
    if (!status)
        status = map_put(&source->names, name, name_size, (int64_t)source->count, &inserted);
    if (status)
        return status;
    if (!inserted)
        return status_set(LLM_E_FORMAT, "tensor \"%.200s\" is there twice", name);
    source->list[source->count] = *entry;
    source->list[source->count].name = source->names.entries[source->count].key;
    source->count++;
    return LLM_OK;
}

const struct tensor_entry *tensor_source_find(const struct tensor_source *source, const char *name)
{
    const struct map_entry *found = map_find(&source->names, name, strlen(name));

    return found ? &source->list[found->value] : NULL;
}

void tensor_source_close(struct tensor_source *source)
{
    if (!source)
        return;
    for (size_t i = 0; i < source->file_count; i++)
        file_reader_close(&source->files[i]);
    memory_release(source->memory, source->files);
    memory_release(source->memory, source->list);
    map_free(&source->names);
    memory_release(source->memory, source);
}

static llm_status open_file(struct tensor_source *source, const char *path)
{
    unsigned char magic[TENSOR_SOURCE_MAGIC] = {0};
    struct file_reader *file;
    llm_status status;
    size_t size;

    status = memory_grow(source->memory, (void **)&source->files, &source->file_capacity,
                         source->file_count + 1, sizeof *source->files);
    if (status)
        return status;
    file = &source->files[source->file_count];
    status = file_reader_open(file, source->memory, path);
    if (status)
        return status;
    source->file_count++;
    size = file->size < sizeof magic ? (size_t)file->size : sizeof magic;
    status = file_reader_read(file, 0, magic, size);
    for (size_t i = 0; !status && i < sizeof formats / sizeof formats[0]; i++) {
        if (formats[i]->probe(magic))
            return status_prefix(
                formats[i]->read_header(source, (uint32_t)(source->file_count - 1)), "%s", path);
    }
    return status ? status : status_set(LLM_E_FORMAT, "%s: not a file of tensors", path);
}

/* ---- sharded sets ------------------------------------------------------------------------------
 */

/* Nothing outside the directory of the index can be named. */
static bool is_base_name(const char *name, size_t size)
{
    return size > 0 && size < 256 && strlen(name) == size && !strchr(name, '/') &&
           !strchr(name, '\\') && !strchr(name, ':') && name[0] != '.';
}

static llm_status open_shards(struct tensor_source *source, const char *directory,
                              const json_t *weights)
{
    struct map shards;
    llm_status status = LLM_OK;
    const char *name;
    json_t *value;

    map_init(&shards, source->memory);
    json_object_foreach((json_t *)weights, name, value)
    {
        const char *file = json_string_value(value);
        bool inserted = false;
        char *path;

        if (!file || !is_base_name(file, json_string_length(value)))
            status =
                status_set(LLM_E_FORMAT, "the file of \"%.200s\" is not a plain file name", name);
        if (!status)
            status = map_put(&shards, file, strlen(file), (int64_t)shards.count, &inserted);
        if (!status && shards.count > SHARD_LIMIT)
            status = status_set(LLM_E_RANGE, "more than %d files", SHARD_LIMIT);
        if (!status && inserted) {
            path = file_join(source->memory, directory, file);
            status = path ? open_file(source, path) : LLM_E_NOMEM;
            memory_release(source->memory, path);
        }
        if (status)
            break;
    }
    json_object_foreach((json_t *)weights, name, value)
    {
        const struct tensor_entry *entry = status ? NULL : tensor_source_find(source, name);
        const struct map_entry *shard;

        if (status)
            break;
        shard = map_find(&shards, json_string_value(value), json_string_length(value));
        if (!entry || !shard || entry->file != (uint32_t)shard->value)
            status = status_set(LLM_E_FORMAT, "tensor \"%.200s\" is not in %.255s", name,
                                json_string_value(value));
    }
    map_free(&shards);
    return status;
}

static llm_status open_index(struct tensor_source *source, const char *directory, const char *path)
{
    json_t *index = NULL;
    char *data = NULL;
    const json_t *weights;
    llm_status status;
    size_t size;

    status = file_read(&data, &size, source->memory, path, INDEX_LIMIT);
    if (status)
        return status;
    status = json_open(&index, data, size, path);
    memory_release(source->memory, data);
    if (status)
        return status;
    weights = json_object_get(index, "weight_map");
    if (!json_is_object(weights))
        status = status_set(LLM_E_FORMAT, "\"weight_map\" is missing or not an object");
    else
        status = open_shards(source, directory, weights);
    json_decref(index);
    return status_prefix(status, "%s", path);
}

static llm_status open_directory(struct tensor_source *source, const char *directory)
{
    static const char *const pickles[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};
    char *single = file_join(source->memory, directory, "model.safetensors");
    char *index = file_join(source->memory, directory, "model.safetensors.index.json");
    llm_status status = LLM_E_NOMEM;

    if (!single || !index)
        goto done;
    if (file_exists(single)) {
        status = open_file(source, single);
    } else if (file_exists(index)) {
        status = open_index(source, directory, index);
    } else {
        status = status_set(LLM_E_IO, "%s holds no model.safetensors", directory);
        for (size_t i = 0; i < sizeof pickles / sizeof pickles[0]; i++) {
            char *pickle = file_join(source->memory, directory, pickles[i]);

            if (pickle && file_exists(pickle))
                status = status_set(LLM_E_UNSUPPORTED,
                                    "%s is a Python pickle, which can run code: convert it to "
                                    "model.safetensors",
                                    pickle);
            memory_release(source->memory, pickle);
        }
    }
done:
    memory_release(source->memory, single);
    memory_release(source->memory, index);
    return status;
}

llm_status tensor_source_open(struct tensor_source **out, struct memory *memory, const char *path)
{
    struct tensor_source *source;
    llm_status status;

    *out = NULL;
    if (!path)
        return status_set(LLM_E_INVALID, "path is NULL");
    source = memory_alloc_zeroed(memory, 1, sizeof *source);
    if (!source)
        return LLM_E_NOMEM;
    source->memory = memory;
    map_init(&source->names, memory);
    status = file_is_directory(path) ? open_directory(source, path) : open_file(source, path);
    if (status) {
        tensor_source_close(source);
        return status;
    }
    *out = source;
    return LLM_OK;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

static bool same_shape(const struct tensor_entry *entry, const llm_tensor *to)
{
    if (entry->dimensions != to->dimensions)
        return false;
    for (int32_t i = 0; i < to->dimensions; i++) {
        if (entry->shape[i] != to->shape[i])
            return false;
    }
    return true;
}

/* The file's bytes are already what the tensor wants: no buffer between. */
static llm_status load_plain(const struct file_reader *file, const struct tensor_entry *entry,
                             llm_tensor *to, tensor_tick tick, void *arg)
{
    llm_status status = LLM_OK;

    for (uint64_t done = 0; done < entry->bytes && !status;) {
        uint64_t piece = entry->bytes - done < CHUNK ? entry->bytes - done : CHUNK;

        status =
            file_reader_read(file, entry->offset + done, (char *)to->data + done, (size_t)piece);
        if (!status && tick)
            status = tick(arg, piece);
        done += piece;
    }
    return status;
}

/* Rows of the first axis through a buffer in the file's dtype; tensor_copy() converts and reorders.
 */
static llm_status load_converted(const struct tensor_source *source,
                                 const struct tensor_entry *entry, llm_tensor *to, tensor_tick tick,
                                 void *arg)
{
    int64_t rows = to->dimensions ? to->shape[0] : 1;
    int64_t row_bytes = rows ? (int64_t)entry->bytes / rows : 0;
    int64_t at_once = row_bytes && row_bytes < CHUNK ? CHUNK / row_bytes : 1;
    llm_status status = LLM_OK;
    llm_tensor *buffer = NULL;
    llm_tensor part, from;

    if (entry->bytes == 0)
        return LLM_OK;
    for (int64_t row = 0; row < rows && !status; row += at_once) {
        int64_t count = rows - row < at_once ? rows - row : at_once;

        if (!buffer) {
            int64_t shape[LLM_MAX_DIMENSIONS];

            memcpy(shape, to->shape, sizeof shape);
            shape[0] = count;
            status = tensor_new(&buffer, to->context, entry->dtype, to->dimensions, shape);
            if (status)
                break;
        }
        part = *to;
        from = *buffer;
        if (to->dimensions) {
            status = tensor_view_slice(&part, to, 0, row, row + count, 1);
            if (!status)
                status = tensor_view_slice(&from, buffer, 0, 0, count, 1);
        }
        if (!status)
            status = file_reader_read(&source->files[entry->file],
                                      entry->offset + (uint64_t)(row * row_bytes), from.data,
                                      (size_t)(count * row_bytes));
        if (!status)
            status = tensor_copy(&part, &from);
        if (!status && tick)
            status = tick(arg, (uint64_t)(count * row_bytes));
    }
    tensor_release(buffer);
    return status;
}

llm_status tensor_source_load(const struct tensor_source *source, const struct tensor_entry *entry,
                              llm_tensor *to, tensor_tick tick, void *arg)
{
    llm_status status;

    if (entry->dtype < 0)
        return status_set(LLM_E_UNSUPPORTED, "tensor \"%.200s\" has type %s", entry->name,
                          entry->type_name);
    if (!same_shape(entry, to))
        return status_set(LLM_E_SHAPE, "tensor \"%.200s\" does not have shape %s", entry->name,
                          tensor_shape_text(to));
    if (entry->dtype == to->dtype && tensor_is_contiguous(to))
        status = load_plain(&source->files[entry->file], entry, to, tick, arg);
    else
        status = load_converted(source, entry, to, tick, arg);
    return status_prefix(status, "tensor \"%.200s\"", entry->name);
}
