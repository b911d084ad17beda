/* SPDX-License-Identifier: MIT
 *
 * Writing a safetensors file: header from the list of tensors, then the data, piece by piece, so
 * that saving needs no second copy of the model. Called by models/model_file.c.
 */
#include "formats/safetensors.h"

#include "base/checked.h"
#include "base/directory.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 8 << 20 };

static int compare_items(const void *a, const void *b)
{
    const struct safetensors_item *x = a;
    const struct safetensors_item *y = b;
    int64_t x_bytes = dtype_get(x->dtype)->block_bytes;
    int64_t y_bytes = dtype_get(y->dtype)->block_bytes;

    if (x_bytes != y_bytes)
        return x_bytes > y_bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static llm_status check_items(const struct safetensors_item *items, size_t count, bool later)
{
    for (size_t i = 0; i < count; i++) {
        const struct dtype *type = dtype_get(items[i].dtype);

        if (!type || !type->safetensors || type->block_elements != 1)
            return status_set(LLM_E_UNSUPPORTED, "tensor \"%s\": safetensors has no such type",
                              items[i].name);
        if (!later && !items[i].tensor->data)
            return status_set(LLM_E_INVALID, "tensor \"%s\" has no values", items[i].name);
    }
    return LLM_OK;
}

/* The eight bytes of length and the JSON, padded with spaces so that the data is 8-aligned. */
static llm_status make_header(struct text *header, const struct safetensors_item *items,
                              size_t count)
{
    uint64_t offset = 0;
    uint64_t length;

    text_append(header, "\0\0\0\0\0\0\0\0", 8);
    text_append_z(header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < count; i++) {
        const llm_tensor *tensor = items[i].tensor;
        size_t bytes;

        if (!dtype_bytes(items[i].dtype, tensor_count(tensor), &bytes))
            return status_set(LLM_E_RANGE, "tensor \"%s\" is too large", items[i].name);
        text_append_z(header, ",");
        text_append_json(header, items[i].name, strlen(items[i].name));
        text_printf(header, ":{\"dtype\":\"%s\",\"shape\":[",
                    dtype_get(items[i].dtype)->safetensors);
        for (int32_t d = 0; d < tensor->dimensions; d++)
            text_printf(header, "%s%lld", d ? "," : "", (long long)tensor->shape[d]);
        text_printf(header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
                    (unsigned long long)offset + bytes);
        offset += bytes;
    }
    text_append_z(header, "}");
    while (!header->failed && header->size % 8 != 0)
        text_append(header, " ", 1);
    if (header->failed)
        return LLM_E_NOMEM;
    length = header->size - 8;
    for (int i = 0; i < 8; i++)
        header->data[i] = (char)(length >> (8 * i));
    return LLM_OK;
}

static llm_status write_plain(struct file_writer *writer, const struct safetensors_item *item,
                              tensor_tick tick, void *arg)
{
    llm_status status = LLM_OK;
    size_t bytes;

    (void)dtype_bytes(item->dtype, tensor_count(item->tensor), &bytes);
    for (size_t done = 0; done < bytes && !status;) {
        size_t piece = bytes - done < CHUNK ? bytes - done : CHUNK;

        file_writer_write(writer, (const char *)item->tensor->data + done, piece);
        status = writer->status;
        if (!status && tick)
            status = tick(arg, piece);
        done += piece;
    }
    return status;
}

/* Rows of the first axis, gathered and converted in a buffer of CHUNK bytes or one row. */
static llm_status write_converted(struct file_writer *writer, const struct safetensors_item *item,
                                  tensor_tick tick, void *arg)
{
    const llm_tensor *from = item->tensor;
    int64_t shape[LLM_MAX_DIMENSIONS];
    llm_status status = LLM_OK;
    llm_tensor *buffer = NULL;
    int64_t rows = from->dimensions ? from->shape[0] : 1;
    int64_t count = tensor_count(from);
    int64_t row_bytes, at_once;

    if (count == 0)
        return LLM_OK;
    row_bytes = count / rows * dtype_get(item->dtype)->block_bytes;
    at_once = row_bytes < CHUNK ? CHUNK / row_bytes : 1;
    for (int64_t row = 0; row < rows && !status; row += at_once) {
        int64_t piece = rows - row < at_once ? rows - row : at_once;
        llm_tensor part = *from;
        llm_tensor to;

        memcpy(shape, from->shape, sizeof shape);
        shape[0] = piece;
        if (!buffer)
            status = tensor_new(&buffer, from->context, item->dtype, from->dimensions, shape);
        if (status)
            break;
        to = *buffer;
        if (from->dimensions) {
            status = tensor_view_slice(&part, from, 0, row, row + piece, 1);
            if (!status)
                status = tensor_view_slice(&to, buffer, 0, 0, piece, 1);
        }
        if (!status)
            status = tensor_copy(&to, &part);
        if (!status) {
            file_writer_write(writer, to.data, (size_t)(piece * row_bytes));
            status = writer->status;
        }
        if (!status && tick)
            status = tick(arg, (uint64_t)(piece * row_bytes));
    }
    tensor_release(buffer);
    return status;
}

static llm_status write_item(struct file_writer *writer, const struct safetensors_item *given,
                             const struct safetensors_write *write)
{
    struct safetensors_item item = *given;
    llm_tensor *values = NULL;
    llm_tensor view = *item.tensor;
    llm_status status = LLM_OK;

    if (write->load) {
        status = write->load(write->arg, &item, &values);
        if (status)
            return status;
        view.data = values->data;
        view.context = values->context;
        item.tensor = &view;
    }
    if (item.tensor->dtype == item.dtype && tensor_is_contiguous(item.tensor))
        status = write_plain(writer, &item, write->tick, write->arg);
    else
        status = write_converted(writer, &item, write->tick, write->arg);
    tensor_release(values);
    return status;
}

/* `items` in the order of the file. */
static llm_status write_file(struct memory *memory, const char *path,
                             const struct safetensors_item *items, size_t count,
                             const struct safetensors_write *write)
{
    struct file_writer writer;
    struct text header;
    llm_status status;

    text_init(&header, memory);
    memset(&writer, 0, sizeof writer);
    status = make_header(&header, items, count);
    if (!status)
        status = file_writer_open(&writer, memory, path);
    if (!status)
        file_writer_write(&writer, header.data, header.size);
    for (size_t i = 0; i < count && !status; i++)
        status = write_item(&writer, &items[i], write);
    if (!status)
        status = file_writer_commit(&writer);
    else
        file_writer_discard(&writer);
    text_free(&header);
    return status;
}

llm_status safetensors_write(struct memory *memory, const char *path,
                             struct safetensors_item *items, size_t count, tensor_tick tick,
                             void *arg)
{
    struct safetensors_write write = {.items = items, .count = count, .tick = tick, .arg = arg};
    llm_status status = check_items(items, count, false);

    if (status)
        return status;
    if (count)
        qsort(items, count, sizeof *items, compare_items);
    return write_file(memory, path, items, count, &write);
}

/* ---- sets of files -----------------------------------------------------------------------------
 */

static uint64_t item_bytes(const struct safetensors_item *item)
{
    return (uint64_t)tensor_count(item->tensor) * (uint64_t)dtype_get(item->dtype)->block_bytes;
}

/* The items from `first` on that share a file; at least one. */
static size_t count_fitting(const struct safetensors_write *write, size_t first)
{
    uint64_t sum = item_bytes(&write->items[first]);
    size_t count = 1;

    while (first + count < write->count) {
        sum += item_bytes(&write->items[first + count]);
        if (write->shard_bytes && sum > write->shard_bytes)
            break;
        count++;
    }
    return count;
}

static const char *shard_name(char name[64], size_t number, size_t files)
{
    (void)snprintf(name, 64, "model-%05d-of-%05d.safetensors", (int)number, (int)files);
    return name;
}

static llm_status write_shards(struct memory *memory, const char *directory,
                               const struct safetensors_write *write, size_t files,
                               struct text *index)
{
    llm_status status = LLM_OK;
    uint64_t total = 0;
    size_t first = 0;
    char name[64];

    for (size_t i = 0; i < write->count; i++)
        total += item_bytes(&write->items[i]);
    text_printf(index, "{\n  \"metadata\": {\n    \"total_size\": %llu\n  },\n",
                (unsigned long long)total);
    text_append_z(index, "  \"weight_map\": {");
    for (size_t number = 1; number <= files && !status; number++) {
        size_t count = count_fitting(write, first);
        char *path = file_join(memory, directory, shard_name(name, number, files));

        for (size_t i = first; i < first + count; i++) {
            text_append_z(index, i ? ",\n    " : "\n    ");
            text_append_json(index, write->items[i].name, strlen(write->items[i].name));
            text_printf(index, ": \"%s\"", name);
        }
        if (path) { /* within a file the order of alignment; the split was by the model's order */
            qsort(write->items + first, count, sizeof *write->items, compare_items);
            status = write_file(memory, path, write->items + first, count, write);
        } else {
            status = LLM_E_NOMEM;
        }
        memory_release(memory, path);
        first += count;
    }
    text_append_z(index, "\n  }\n}\n");
    return status ? status : index->failed ? LLM_E_NOMEM : LLM_OK;
}

/* Would a reader take this file of the directory for a part of the model? */
static bool is_stale(const char *name, size_t files)
{
    char end[32];
    size_t length = strlen(name);

    (void)snprintf(end, sizeof end, "-of-%05d.safetensors", (int)files);
    if (strcmp(name, "model.safetensors") == 0)
        return files > 1;
    if (strcmp(name, "model.safetensors.index.json") == 0)
        return files == 1;
    return length == 32 && strncmp(name, "model-", 6) == 0 && strncmp(name + 11, "-of-", 4) == 0 &&
           strcmp(name + 20, ".safetensors") == 0 &&
           (files == 1 || strcmp(name + length - strlen(end), end) != 0);
}

static llm_status remove_stale(struct memory *memory, const char *directory, size_t files)
{
    struct arena arena;
    char **names = NULL;
    size_t count = 0;
    llm_status status;

    arena_init(&arena, memory);
    status = directory_list(&names, &count, &arena, directory);
    for (size_t i = 0; i < count && !status; i++) {
        char *path = is_stale(names[i], files) ? file_join(memory, directory, names[i]) : NULL;

        if (path)
            status = file_remove(path);
        memory_release(memory, path);
    }
    arena_free(&arena);
    return status;
}

llm_status safetensors_write_set(struct memory *memory, const char *directory,
                                 const struct safetensors_write *write)
{
    bool is_single = true;
    size_t files = 0;
    struct text index;
    char *path;
    llm_status status = check_items(write->items, write->count, write->load != NULL);

    for (size_t first = 0; first < write->count && !status; files++)
        first += count_fitting(write, first);
    is_single = files <= 1;
    if (!status && files > 99999)
        status = status_set(LLM_E_RANGE, "%zu files, more than 99999", files);
    if (status)
        return status;
    text_init(&index, memory);
    path = file_join(memory, directory,
                     is_single ? "model.safetensors" : "model.safetensors.index.json");
    if (!path) {
        status = LLM_E_NOMEM;
    } else if (is_single) {
        if (write->count)
            qsort(write->items, write->count, sizeof *write->items, compare_items);
        status = write_file(memory, path, write->items, write->count, write);
    } else {
        status = write_shards(memory, directory, write, files, &index);
        if (!status)
            status = file_write(memory, path, index.data, index.size);
    }
    if (!status)
        status = remove_stale(memory, directory, is_single ? 1 : files);
    memory_release(memory, path);
    text_free(&index);
    return status;
}
