/* SPDX-License-Identifier: MIT
 *
 * Table of formats, shards, lookup and conversion while reading. Called by models/model_file.c.
 */
#include "formats/tensor_source.h"

#include "base/checked.h"
#include "base/directory.h"
#include "base/json.h"
#include "base/parallel.h"
#include "formats/gguf.h"
#include "formats/llama2c.h"
#include "formats/safetensors.h"

#include <string.h>

static const struct tensor_format *const formats[] = {&safetensors_format, &gguf_format,
                                                      &llama2c_format};

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
    if (source->metadata)
        gguf_free(source->metadata);
    memory_release(source->memory, source->metadata);
    memory_release(source->memory, source);
}

/* Zip archives and bare pickles: what torch.save() writes. */
static bool is_pickle(const unsigned char magic[TENSOR_SOURCE_MAGIC])
{
    return memcmp(magic, "PK\003\004", 4) == 0 ||
           (magic[0] == 0x80 && magic[1] >= 2 && magic[1] <= 5);
}

static llm_status refuse_pickle(const char *path)
{
    return status_set(LLM_E_UNSUPPORTED,
                      "%s is a Python pickle, which can run code and is never read: load it with "
                      "transformers and call save_pretrained(), which writes model.safetensors",
                      path);
}

/* Takes the reader over, also when this fails. */
static llm_status add_file(struct tensor_source *source, struct file_reader *reader)
{
    unsigned char magic[TENSOR_SOURCE_MAGIC] = {0};
    const struct file_reader *file;
    uint32_t index = (uint32_t)source->file_count;
    llm_status status;
    size_t size;

    status = memory_grow(source->memory, (void **)&source->files, &source->file_capacity,
                         source->file_count + 1, sizeof *source->files);
    if (status) {
        file_reader_close(reader);
        return status;
    }
    source->files[source->file_count++] = *reader;
    file = &source->files[index];
    size = file->size < sizeof magic ? (size_t)file->size : sizeof magic;
    status = file_reader_read(file, 0, magic, size);
    for (size_t i = 0; !status && i < sizeof formats / sizeof formats[0]; i++) {
        if (formats[i]->probe(magic))
            return status_prefix(formats[i]->read_header(source, index), "%s",
                                 source->files[index].path);
    }
    if (!status && is_pickle(magic))
        return refuse_pickle(file->path);
    return status ? status : status_set(LLM_E_FORMAT, "%s: not a file of tensors", file->path);
}

llm_status tensor_source_open_file(struct tensor_source *source, const char *path)
{
    struct file_reader reader;
    llm_status status = file_reader_open(&reader, source->memory, path);

    return status ? status : add_file(source, &reader);
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
            status = path ? tensor_source_open_file(source, path) : LLM_E_NOMEM;
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

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t tail = strlen(end);

    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* "...-00002-of-00005.gguf" and the like: found through the first. */
static bool is_later_split(const char *name)
{
    const char *of = strstr(name, "-of-");

    return of && of - name >= 6 && of[-6] == '-' && strncmp(of - 5, "00001", 5) != 0;
}

/* The one model in GGUF files of a directory, or what else was found there. */
static llm_status open_loose(struct tensor_source *source, const char *directory)
{
    struct arena arena;
    char **names = NULL;
    const char *found = NULL;
    const char *pickle = NULL;
    size_t count = 0, models = 0;
    char *path = NULL;
    llm_status status;

    arena_init(&arena, source->memory);
    status = directory_list(&names, &count, &arena, directory);
    for (size_t i = 0; i < count && !status; i++) {
        if (ends_with(names[i], ".gguf") && !is_later_split(names[i])) {
            found = names[i];
            models++;
        } else if (strncmp(names[i], "pytorch_model", 13) == 0) {
            pickle = names[i];
        }
    }
    if (!status && (models == 1 || (!models && pickle))) {
        path = file_join(source->memory, directory, models ? found : pickle);
        status = !path    ? LLM_E_NOMEM
                 : models ? tensor_source_open_file(source, path)
                          : refuse_pickle(path);
    } else if (!status) {
        status =
            models
                ? status_set(LLM_E_INVALID, "%s holds %zu GGUF models: name one", directory, models)
                : status_set(LLM_E_IO, "%s holds no model.safetensors and no GGUF file", directory);
    }
    memory_release(source->memory, path);
    arena_free(&arena);
    return status;
}

static llm_status open_directory(struct tensor_source *source, const char *directory)
{
    char *single = file_join(source->memory, directory, "model.safetensors");
    char *index = file_join(source->memory, directory, "model.safetensors.index.json");
    llm_status status = LLM_E_NOMEM;

    if (!single || !index)
        goto done;
    if (file_exists(single))
        status = tensor_source_open_file(source, single);
    else if (file_exists(index))
        status = open_index(source, directory, index);
    else
        status = open_loose(source, directory);
done:
    memory_release(source->memory, single);
    memory_release(source->memory, index);
    return status;
}

static llm_status make_source(struct tensor_source **out, struct memory *memory)
{
    struct tensor_source *source = memory_alloc_zeroed(memory, 1, sizeof *source);

    *out = source;
    if (!source)
        return LLM_E_NOMEM;
    source->memory = memory;
    map_init(&source->names, memory);
    return LLM_OK;
}

llm_status tensor_source_open(struct tensor_source **out, struct memory *memory, const char *path)
{
    struct tensor_source *source;
    llm_status status;

    *out = NULL;
    if (!path)
        return status_set(LLM_E_INVALID, "path is NULL");
    status = make_source(&source, memory);
    if (status)
        return status;
    status = file_is_directory(path) ? open_directory(source, path)
                                     : tensor_source_open_file(source, path);
    if (status) {
        tensor_source_close(source);
        return status;
    }
    *out = source;
    return LLM_OK;
}

llm_status tensor_source_open_reader(struct tensor_source **out, struct memory *memory,
                                     const struct file_reader *reader)
{
    struct file_reader own = *reader;
    struct tensor_source *source;
    llm_status status = make_source(&source, memory);

    *out = NULL;
    if (status) {
        file_reader_close(&own);
        return status;
    }
    status = add_file(source, &own);
    if (status) {
        tensor_source_close(source);
        return status;
    }
    *out = source;
    return LLM_OK;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

/* GGUF leaves out sizes of 1 on the outside. */
static bool same_shape(const struct tensor_entry *entry, const llm_tensor *to, bool loose)
{
    int32_t skip_entry = 0;
    int32_t skip_to = 0;

    while (loose && skip_entry < entry->dimensions && entry->shape[skip_entry] == 1)
        skip_entry++;
    while (loose && skip_to < to->dimensions && to->shape[skip_to] == 1)
        skip_to++;
    if (entry->dimensions - skip_entry != to->dimensions - skip_to)
        return false;
    for (int32_t i = 0; i < to->dimensions - skip_to; i++) {
        if (entry->shape[skip_entry + i] != to->shape[skip_to + i])
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

/* ---- block types, through float ----
 */

struct expand {
    const struct dtype *type;
    const unsigned char *from;
    const float *scales; /* groups of int8 values, else NULL */
    float *to;
    int64_t blocks; /* of block_elements, or of `group` */
    int64_t group;
};

static void expand_blocks(void *arg, int64_t begin, int64_t end)
{
    const struct expand *job = arg;

    if (!job->scales) {
        job->type->to_f32(job->to + begin * job->type->block_elements,
                          job->from + begin * job->type->block_bytes,
                          (end - begin) * job->type->block_elements);
        return;
    }
    for (int64_t i = begin * job->group; i < end * job->group; i++)
        job->to[i] = (float)(int8_t)job->from[i] * job->scales[i / job->group];
}

/* Values [begin, begin + count) of the entry, whole blocks, into `values`. */
static llm_status load_range(const struct tensor_source *source, const struct tensor_entry *entry,
                             int64_t begin, int64_t count, unsigned char *buffer, float *values,
                             int threads)
{
    const struct file_reader *file = &source->files[entry->file];
    const struct dtype *type = dtype_get(entry->dtype);
    int64_t size = entry->group ? (int64_t)entry->group : type->block_elements;
    int64_t bytes = entry->group ? (int64_t)entry->group : type->block_bytes;
    int64_t blocks = count / size;
    size_t plain = (size_t)(blocks * bytes);
    struct expand job = {type, buffer, NULL, values, blocks, size};
    llm_status status;

    status =
        file_reader_read(file, entry->offset + (uint64_t)(begin / size * bytes), buffer, plain);
    if (!status && entry->group) {
        plain = (plain + 3) & ~(size_t)3;
        job.scales = (const float *)(void *)(buffer + plain);
        status = file_reader_read(file, entry->scales_offset + (uint64_t)(begin / size) * 4,
                                  buffer + plain, (size_t)blocks * 4);
    }
    if (!status)
        parallel_for(threads, blocks, 16384 / size + 1, expand_blocks, &job);
    return status;
}

/* A chunk of rows at a time: straight into `to` where that is plain floats, else by way of a tensor
 * of the chunk. */
static llm_status load_blocks(const struct tensor_source *source, const struct tensor_entry *entry,
                              llm_tensor *to, tensor_tick tick, void *arg)
{
    int64_t rows = to->dimensions > 1 ? to->shape[0] : 1;
    int64_t count = tensor_count(to);
    int64_t row = rows ? count / rows : 0;
    int64_t at_once = row && row < CHUNK / 4 ? CHUNK / 4 / row : 1;
    int64_t size = entry->group ? (int64_t)entry->group : dtype_get(entry->dtype)->block_elements;
    bool direct = to->dtype == LLM_F32 && tensor_is_contiguous(to);
    int64_t bytes;
    unsigned char *buffer = NULL;
    llm_tensor *chunk = NULL;
    llm_status status = LLM_OK;

    if (count == 0)
        return LLM_OK;
    if (row % size != 0) { /* only groups may run over rows */
        at_once = rows;
        direct = true;
        if (to->dtype != LLM_F32 || !tensor_is_contiguous(to))
            return status_set(LLM_E_UNSUPPORTED, "groups of %lld values run over rows of %lld",
                              (long long)size, (long long)row);
    }
    at_once = at_once < rows ? at_once : rows;
    /* the blocks, and behind them the scales of groups */
    bytes =
        entry->group ? row + row / size * 4 + 4 : row / size * dtype_get(entry->dtype)->block_bytes;
    buffer = memory_alloc_array(source->memory, (size_t)at_once, (size_t)bytes + 4);
    if (!buffer)
        return LLM_E_NOMEM;
    for (int64_t begin = 0; begin < rows && !status; begin += at_once) {
        int64_t piece = rows - begin < at_once ? rows - begin : at_once;
        llm_tensor part = *to;
        llm_tensor from;

        if (!direct && !chunk) {
            int64_t shape[LLM_MAX_DIMENSIONS];

            memcpy(shape, to->shape, sizeof shape);
            shape[0] = to->dimensions > 1 ? at_once : shape[0];
            status = tensor_new(&chunk, to->context, LLM_F32, to->dimensions, shape);
        }
        if (!status)
            status = load_range(source, entry, begin * row, piece * row, buffer,
                                direct ? tensor_f32(to) + begin * row : tensor_f32(chunk),
                                to->context->threads);
        if (!status && !direct) {
            from = *chunk;
            if (to->dimensions > 1)
                status = tensor_view_slice(&part, to, 0, begin, begin + piece, 1);
            if (!status && to->dimensions > 1)
                status = tensor_view_slice(&from, chunk, 0, 0, piece, 1);
            if (!status)
                status = tensor_copy(&part, &from);
        }
        if (!status && tick)
            status = tick(arg, entry->bytes * (uint64_t)piece / (uint64_t)rows);
    }
    tensor_release(chunk);
    memory_release(source->memory, buffer);
    return status;
}

llm_status tensor_source_load(const struct tensor_source *source, const struct tensor_entry *entry,
                              llm_tensor *to, tensor_tick tick, void *arg)
{
    llm_status status;

    if (entry->dtype < 0)
        return status_set(LLM_E_UNSUPPORTED, "tensor \"%.200s\" has type %s", entry->name,
                          entry->type_name);
    if (!same_shape(entry, to, source->metadata != NULL))
        return status_set(LLM_E_SHAPE, "tensor \"%.200s\" does not have shape %s", entry->name,
                          tensor_shape_text(to));
    if (entry->group || dtype_get(entry->dtype)->block_elements != 1 ||
        (entry->dtype != to->dtype && to->dtype == LLM_F32 && tensor_is_contiguous(to)))
        status = load_blocks(source, entry, to, tick, arg);
    else if (entry->dtype == to->dtype && tensor_is_contiguous(to))
        status = load_plain(&source->files[entry->file], entry, to, tick, arg);
    else
        status = load_converted(source, entry, to, tick, arg);
    return status_prefix(status, "tensor \"%.200s\"", entry->name);
}
