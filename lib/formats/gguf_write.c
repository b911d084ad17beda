/* SPDX-License-Identifier: MIT
 *
 * Writing GGUF files as llama.cpp reads them: counts, metadata, the list of tensors, then the
 * tensors, each padded to the alignment. Tensors are made, converted and written one at a time.
 */
#include "formats/gguf.h"

#include "base/checked.h"
#include "base/parallel.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { CHUNK = 4 << 20 /* elements converted at a time */ };

/* ---- header ------------------------------------------------------------------------------------
 */

static void put_bits(struct text *out, uint64_t bits, size_t size)
{
    char bytes[8];

    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(bits >> (8 * i));
    text_append(out, bytes, size);
}

static void put_text(struct text *out, const char *text, size_t size)
{
    put_bits(out, size, 8);
    text_append(out, text, size);
}

static void put_array(struct text *out, const struct gguf_value *value)
{
    put_bits(out, value->element, 4);
    put_bits(out, value->count, 8);
    if (value->element != GGUF_STRING) {
        text_append(out, value->items, (size_t)value->count * gguf_type_bytes(value->element));
        return;
    }
    for (uint64_t i = 0; i < value->count; i++) {
        const struct gguf_text *text = (const struct gguf_text *)value->items + i;

        put_text(out, text->data, text->size);
    }
}

static void put_value(struct text *out, const struct gguf_value *value)
{
    float narrow = (float)value->real;
    uint32_t low;
    uint64_t wide;

    put_bits(out, value->type, 4);
    switch (value->type) {
    case GGUF_STRING:
        put_text(out, value->text.data, value->text.size);
        break;
    case GGUF_ARRAY:
        put_array(out, value);
        break;
    case GGUF_F32:
        memcpy(&low, &narrow, sizeof low);
        put_bits(out, low, 4);
        break;
    case GGUF_F64:
        memcpy(&wide, &value->real, sizeof wide);
        put_bits(out, wide, 8);
        break;
    default:
        put_bits(out, value->bits, gguf_type_bytes(value->type));
    }
}

static size_t padding(uint64_t size)
{
    return (size_t)(-size & (GGUF_ALIGNMENT - 1));
}

/* Bytes of the item in a file, padded; 0 when it cannot be written. */
static llm_status item_bytes(const struct gguf_item *item, uint64_t *out)
{
    const struct dtype *type = dtype_get(item->dtype);
    int64_t count = 1;
    size_t bytes, padded;

    if (!type || type->gguf < 0)
        return status_set(LLM_E_UNSUPPORTED, "tensor \"%s\": GGUF has no such type", item->name);
    if (strlen(item->name) > GGUF_NAME_LIMIT || item->dimensions > GGUF_DIMENSIONS)
        return status_set(LLM_E_UNSUPPORTED, "tensor \"%s\": its name or shape is too long",
                          item->name);
    for (int32_t i = 0; i < item->dimensions; i++) {
        if (item->shape[i] < 0 || !checked_mul_i64(count, item->shape[i], &count))
            return status_set(LLM_E_RANGE, "tensor \"%s\" is too large", item->name);
    }
    if (item->dimensions && item->shape[item->dimensions - 1] % type->block_elements != 0)
        return status_set(LLM_E_SHAPE, "tensor \"%s\": rows of %lld do not fill blocks of %s",
                          item->name, (long long)item->shape[item->dimensions - 1], type->name);
    if (!dtype_bytes(item->dtype, count, &bytes) || !checked_align(bytes, GGUF_ALIGNMENT, &padded))
        return status_set(LLM_E_RANGE, "tensor \"%s\" is too large", item->name);
    *out = padded;
    return LLM_OK;
}

static llm_status put_items(struct text *out, const struct gguf_item *items, size_t count)
{
    uint64_t offset = 0;
    llm_status status = LLM_OK;

    for (size_t i = 0; i < count && !status; i++) {
        const struct gguf_item *item = &items[i];
        uint64_t bytes = 0;

        put_text(out, item->name, strlen(item->name));
        put_bits(out, (uint64_t)item->dimensions, 4);
        for (int32_t d = item->dimensions; d-- > 0;)
            put_bits(out, (uint64_t)item->shape[d], 8);
        put_bits(out, (uint64_t)dtype_get(item->dtype)->gguf, 4);
        put_bits(out, offset, 8);
        status = item_bytes(item, &bytes);
        offset += bytes;
    }
    return status;
}

static llm_status make_header(struct text *out, const struct gguf *gguf,
                              const struct gguf_item *items, size_t count)
{
    llm_status status;

    text_append(out, "GGUF", 4);
    put_bits(out, 3, 4);
    put_bits(out, count, 8);
    put_bits(out, gguf->keys.count, 8);
    for (size_t i = 0; i < gguf->keys.count; i++) {
        put_text(out, gguf->keys.entries[i].key, gguf->keys.entries[i].size);
        put_value(out, &gguf->list[i]);
    }
    status = put_items(out, items, count);
    for (size_t i = padding(out->size); !out->failed && i > 0; i--)
        text_append(out, "", 1);
    return out->failed ? LLM_E_NOMEM : status;
}

/* ---- data --------------------------------------------------------------------------------------
 */

struct convert {
    const struct dtype *type;
    const float *from;
    char *to;
};

static void convert_blocks(void *arg, int64_t begin, int64_t end)
{
    const struct convert *job = arg;

    job->type->from_f32(job->to + begin * job->type->block_bytes,
                        job->from + begin * job->type->block_elements,
                        (end - begin) * job->type->block_elements);
}

static llm_status write_values(struct file_writer *writer, const struct gguf_item *item,
                               const llm_tensor *values, const struct gguf_write *write,
                               char *buffer)
{
    static const char zeros[GGUF_ALIGNMENT];
    const struct dtype *type = dtype_get(item->dtype);
    int64_t blocks = tensor_count(values) / type->block_elements;
    int64_t at_once = CHUNK / type->block_elements;
    llm_status status = LLM_OK;

    for (int64_t block = 0; block < blocks && !status; block += at_once) {
        int64_t piece = blocks - block < at_once ? blocks - block : at_once;
        struct convert job = {type, tensor_f32(values) + block * type->block_elements, buffer};

        parallel_for(write->threads, piece, 4096 / type->block_elements + 1, convert_blocks, &job);
        file_writer_write(writer, buffer, (size_t)(piece * type->block_bytes));
        status = writer->status;
        if (!status && write->tick)
            status = write->tick(write->arg, (uint64_t)(piece * type->block_bytes));
    }
    if (!status)
        file_writer_write(writer, zeros, padding((uint64_t)(blocks * type->block_bytes)));
    return status ? status : writer->status;
}

static llm_status write_item(struct file_writer *writer, const struct gguf_write *write,
                             size_t index, char *buffer)
{
    const struct gguf_item *item = &write->items[index];
    llm_tensor *values = NULL;
    llm_status status = write->load(write->arg, index, &values);
    int64_t count = 1;

    for (int32_t i = 0; i < item->dimensions; i++)
        count *= item->shape[i];
    if (!status && tensor_count(values) != count)
        status = status_set(LLM_E_INTERNAL, "tensor \"%s\" has another size", item->name);
    if (!status)
        status = write_values(writer, item, values, write, buffer);
    tensor_release(values);
    return status;
}

static llm_status write_file(const struct gguf *gguf, const char *path,
                             const struct gguf_write *write, size_t first, size_t count)
{
    struct file_writer writer;
    struct text header;
    char *buffer = memory_alloc(gguf->memory, (size_t)CHUNK * sizeof(double));
    llm_status status = buffer ? LLM_OK : LLM_E_NOMEM;

    text_init(&header, gguf->memory);
    memset(&writer, 0, sizeof writer);
    if (!status)
        status = make_header(&header, gguf, write->items + first, count);
    if (!status)
        status = file_writer_open(&writer, gguf->memory, path);
    if (!status)
        file_writer_write(&writer, header.data, header.size);
    for (size_t i = first; i < first + count && !status; i++)
        status = write_item(&writer, write, i, buffer);
    if (!status)
        status = file_writer_commit(&writer);
    else
        file_writer_discard(&writer);
    text_free(&header);
    memory_release(gguf->memory, buffer);
    return status;
}

/* ---- splitting ---------------------------------------------------------------------------------
 */

/* The tensors from `first` on that share a file; at least one. */
static llm_status count_fitting(const struct gguf_write *write, size_t first, size_t *count)
{
    uint64_t sum = 0;
    llm_status status = LLM_OK;

    for (*count = 0; first + *count < write->count; ++*count) {
        uint64_t bytes = 0;

        status = item_bytes(&write->items[first + *count], &bytes);
        if (status || (*count > 0 && write->split_bytes && sum + bytes > write->split_bytes))
            break;
        sum += bytes;
    }
    return status;
}

static void put_split(struct gguf *gguf, size_t number, size_t count, size_t tensors)
{
    gguf_put(gguf, "split.no", &(struct gguf_value){.type = GGUF_U16, .bits = number});
    gguf_put(gguf, "split.count", &(struct gguf_value){.type = GGUF_U16, .bits = count});
    gguf_put(gguf, "split.tensors.count",
             &(struct gguf_value){.type = GGUF_I32, .bits = (uint64_t)tensors});
}

static llm_status write_split(struct gguf *gguf, const char *path, const struct gguf_write *write,
                              size_t files)
{
    size_t length = strlen(path);
    size_t first = 0;
    size_t count;
    llm_status status = LLM_OK;

    if (length >= 5 && strcmp(path + length - 5, ".gguf") == 0)
        length -= 5;
    for (size_t i = 0; i < files && !status; i++) {
        struct gguf other;
        struct text name;

        text_init(&name, gguf->memory);
        text_printf(&name, "%.*s-%05d-of-%05d.gguf", (int)length, path, (int)i + 1, (int)files);
        gguf_init(&other, gguf->memory);
        put_split(i ? &other : gguf, i, files, write->count);
        status = count_fitting(write, first, &count);
        if (!status)
            status = name.failed ? LLM_E_NOMEM : i ? other.status : gguf->status;
        if (!status)
            status = write_file(i ? &other : gguf, name.data, write, first, count);
        first += count;
        gguf_free(&other);
        text_free(&name);
    }
    return status;
}

llm_status gguf_write(struct gguf *gguf, const char *path, const struct gguf_write *write)
{
    size_t files = 0;
    llm_status status = gguf->status;

    for (size_t first = 0, count = 0; first < write->count && !status; first += count) {
        status = count_fitting(write, first, &count);
        files++;
    }
    if (!status && files > 65535)
        status = status_set(LLM_E_RANGE, "%zu files, more than 65535", files);
    if (status)
        return status;
    return files > 1 ? write_split(gguf, path, write, files)
                     : write_file(gguf, path, write, 0, write->count);
}
