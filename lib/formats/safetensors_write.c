/* SPDX-License-Identifier: MIT
 *
 * Writing a safetensors file: header from the list of tensors, then the data, piece by piece, so
 * that saving needs no second copy of the model. Called by models/model_file.c.
 */
#include "formats/safetensors.h"

#include "base/checked.h"
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

static llm_status check_items(const struct safetensors_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct dtype *type = dtype_get(items[i].dtype);

        if (!type || !type->safetensors || type->block_elements != 1)
            return status_set(LLM_E_UNSUPPORTED, "tensor \"%s\": safetensors has no such type",
                              items[i].name);
        if (!items[i].tensor->data)
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

llm_status safetensors_write(struct memory *memory, const char *path,
                             struct safetensors_item *items, size_t count, tensor_tick tick,
                             void *arg)
{
    struct file_writer writer;
    struct text header;
    llm_status status = check_items(items, count);

    if (status)
        return status;
    if (count)
        qsort(items, count, sizeof *items, compare_items);
    text_init(&header, memory);
    memset(&writer, 0, sizeof writer);
    status = make_header(&header, items, count);
    if (status)
        goto done;
    status = file_writer_open(&writer, memory, path);
    if (status)
        goto done;
    file_writer_write(&writer, header.data, header.size);
    for (size_t i = 0; i < count && !status; i++) {
        bool is_plain =
            items[i].tensor->dtype == items[i].dtype && tensor_is_contiguous(items[i].tensor);

        status = is_plain ? write_plain(&writer, &items[i], tick, arg)
                          : write_converted(&writer, &items[i], tick, arg);
    }
    if (!status)
        status = file_writer_commit(&writer);
done:
    if (status)
        file_writer_discard(&writer);
    text_free(&header);
    return status;
}
