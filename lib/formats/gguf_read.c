/* SPDX-License-Identifier: MIT
 *
 * Reading the header of a GGUF file: metadata, then the list of tensors. Enforces what llama.cpp's
 * reader enforces (gguf.cpp): no nested arrays, no double names, offsets that are the padded
 * running sum. Counts are compared with the bytes that remain before memory is asked for.
 */
#include "formats/gguf.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

enum {
    KEY_LIMIT = 65535, /* bytes of a key, by the specification */
    PAIR_LIMIT = 1 << 20,
    ALIGNMENT_LIMIT = 65536,
    SPLIT_LIMIT = 4096,
    BUFFER = 65536
};

/* The file as a stream with a small buffer, for many small fields. */
struct stream {
    const struct tensor_source *source;
    uint32_t file;
    uint64_t at; /* of the next byte */
    uint64_t size;
    uint64_t buffered_at;
    size_t buffered;
    unsigned char buffer[BUFFER];
};

static uint64_t remaining(const struct stream *stream)
{
    return stream->size - stream->at;
}

static llm_status take(struct stream *stream, void *out, uint64_t size)
{
    const struct file_reader *file = &stream->source->files[stream->file];
    llm_status status = LLM_OK;

    if (size > remaining(stream))
        return status_set(LLM_E_FORMAT, "the header ends at byte %llu, in the middle of a field",
                          (unsigned long long)stream->size);
    if (size > BUFFER) {
        status = file_reader_read(file, stream->at, out, (size_t)size);
        stream->at += size;
        return status;
    }
    if (stream->at < stream->buffered_at ||
        stream->at + size > stream->buffered_at + stream->buffered) {
        stream->buffered_at = stream->at;
        stream->buffered = remaining(stream) < BUFFER ? (size_t)remaining(stream) : BUFFER;
        status = file_reader_read(file, stream->at, stream->buffer, stream->buffered);
        if (status) {
            stream->buffered = 0;
            return status;
        }
    }
    memcpy(out, stream->buffer + (stream->at - stream->buffered_at), (size_t)size);
    stream->at += size;
    return LLM_OK;
}

static llm_status take_bits(struct stream *stream, uint64_t *out, size_t size)
{
    unsigned char bytes[8];
    llm_status status = take(stream, bytes, size);

    *out = 0;
    for (size_t i = size; !status && i-- > 0;)
        *out = *out << 8 | bytes[i];
    return status;
}

static llm_status take_u32(struct stream *stream, uint32_t *out)
{
    uint64_t bits;
    llm_status status = take_bits(stream, &bits, 4);

    *out = (uint32_t)bits;
    return status;
}

/* A string into the arena, NUL added. */
static llm_status take_text(struct stream *stream, struct arena *arena, uint64_t limit,
                            struct gguf_text *out)
{
    uint64_t size;
    llm_status status = take_bits(stream, &size, 8);
    char *text;

    if (status)
        return status;
    if (size > remaining(stream))
        return status_set(LLM_E_FORMAT, "a string claims %llu bytes, %llu are left",
                          (unsigned long long)size, (unsigned long long)remaining(stream));
    if (size > limit)
        return status_set(LLM_E_FORMAT, "a name of %llu bytes, more than %llu",
                          (unsigned long long)size, (unsigned long long)limit);
    out->data = "";
    out->size = (size_t)size;
    if (size == 0)
        return LLM_OK;
    text = arena_alloc(arena, (size_t)size + 1);
    if (!text)
        return LLM_E_NOMEM;
    out->data = text;
    return take(stream, text, size);
}

/* ---- values ------------------------------------------------------------------------------------
 */

static uint64_t extend_sign(uint64_t bits, uint32_t type)
{
    switch (type) {
    case GGUF_I8:
        return (uint64_t)(int64_t)(int8_t)bits;
    case GGUF_I16:
        return (uint64_t)(int64_t)(int16_t)bits;
    case GGUF_I32:
        return (uint64_t)(int64_t)(int32_t)bits;
    default:
        return bits;
    }
}

static llm_status take_array(struct stream *stream, struct gguf *gguf, struct gguf_value *value)
{
    llm_status status = take_u32(stream, &value->element);
    size_t item = 0;
    void *items;

    if (!status)
        status = take_bits(stream, &value->count, 8);
    if (status)
        return status;
    if (value->element == GGUF_ARRAY)
        return status_set(LLM_E_FORMAT, "an array of arrays");
    item = value->element == GGUF_STRING ? 8 : gguf_type_bytes(value->element);
    if (!item)
        return status_set(LLM_E_FORMAT, "an array of unknown type %u", value->element);
    if (value->count > remaining(stream) / item)
        return status_set(LLM_E_FORMAT, "an array claims %llu items, %llu bytes are left",
                          (unsigned long long)value->count, (unsigned long long)remaining(stream));
    if (value->element == GGUF_STRING)
        item = sizeof(struct gguf_text);
    items = arena_alloc(&gguf->arena, (size_t)value->count * item + 1);
    if (!items)
        return LLM_E_NOMEM;
    value->items = items;
    if (value->element != GGUF_STRING)
        return take(stream, items, value->count * item);
    for (uint64_t i = 0; i < value->count && !status; i++)
        status = take_text(stream, &gguf->arena, UINT64_MAX, (struct gguf_text *)items + i);
    return status;
}

static llm_status take_value(struct stream *stream, struct gguf *gguf, struct gguf_value *value)
{
    llm_status status = take_u32(stream, &value->type);
    uint32_t low;
    float narrow;

    if (status)
        return status;
    if (value->type == GGUF_STRING)
        return take_text(stream, &gguf->arena, UINT64_MAX, &value->text);
    if (value->type == GGUF_ARRAY)
        return take_array(stream, gguf, value);
    if (!gguf_type_bytes(value->type))
        return status_set(LLM_E_FORMAT, "unknown type %u", value->type);
    status = take_bits(stream, &value->bits, gguf_type_bytes(value->type));
    if (value->type == GGUF_F32) {
        low = (uint32_t)value->bits;
        memcpy(&narrow, &low, sizeof narrow);
        value->real = (double)narrow;
    } else if (value->type == GGUF_F64) {
        memcpy(&value->real, &value->bits, sizeof value->real);
    } else if (!status && value->type == GGUF_BOOL && value->bits > 1) {
        return status_set(LLM_E_FORMAT, "a bool of %llu", (unsigned long long)value->bits);
    }
    value->bits = extend_sign(value->bits, value->type);
    return status;
}

static llm_status take_pair(struct stream *stream, struct gguf *gguf)
{
    struct gguf_value value = {0};
    struct gguf_text key;
    bool inserted;
    llm_status status = take_text(stream, &gguf->arena, KEY_LIMIT, &key);

    if (status)
        return status;
    if (key.size == 0 || strlen(key.data) != key.size)
        return status_set(LLM_E_FORMAT, "a key is empty or holds a NUL character");
    status = map_put(&gguf->keys, key.data, key.size, (int64_t)gguf->keys.count, &inserted);
    if (status)
        return status;
    if (!inserted)
        return status_set(LLM_E_FORMAT, "key \"%.200s\" is there twice", key.data);
    status = memory_grow(gguf->memory, (void **)&gguf->list, &gguf->capacity, gguf->keys.count,
                         sizeof *gguf->list);
    if (status)
        return status;
    status = take_value(stream, gguf, &value);
    gguf->list[gguf->keys.count - 1] = value;
    return status_prefix(status, "key \"%.200s\"", key.data);
}

/* ---- tensors -----------------------------------------------------------------------------------
 */

/* Types of ggml that libllm does not compute with, so that a file's offsets can still be checked.
 */
static const struct {
    uint32_t type;
    const char *name;
    int32_t elements, bytes;
} foreign[] = {
    {9, "q8_1", 32, 40},     {15, "q8_k", 256, 292},   {16, "iq2_xxs", 256, 66},
    {17, "iq2_xs", 256, 74}, {18, "iq3_xxs", 256, 98}, {19, "iq1_s", 256, 50},
    {21, "iq3_s", 256, 110}, {22, "iq2_s", 256, 82},   {29, "iq1_m", 256, 56},
    {40, "nvfp4", 64, 36},   {41, "q1_0", 128, 18},
};

static llm_status describe_type(struct tensor_entry *entry, uint32_t type, int64_t *elements,
                                int64_t *bytes)
{
    const struct dtype *known;

    entry->dtype = dtype_from_gguf(type);
    known = entry->dtype >= 0 ? dtype_get(entry->dtype) : NULL;
    if (known) {
        entry->type_name = known->name;
        *elements = known->block_elements;
        *bytes = known->block_bytes;
        return LLM_OK;
    }
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        if (foreign[i].type == type) {
            entry->type_name = foreign[i].name;
            *elements = foreign[i].elements;
            *bytes = foreign[i].bytes;
            return LLM_OK;
        }
    }
    return status_set(LLM_E_FORMAT, "unknown type %u", type);
}

/* Sizes innermost first in the file; ours are outermost first. */
static llm_status take_shape(struct stream *stream, struct tensor_entry *entry)
{
    uint32_t dimensions;
    int64_t count = 1;
    llm_status status = take_u32(stream, &dimensions);

    if (status)
        return status;
    if (dimensions > GGUF_DIMENSIONS)
        return status_set(LLM_E_FORMAT, "%u dimensions, more than %d", dimensions, GGUF_DIMENSIONS);
    entry->dimensions = (int32_t)dimensions;
    for (int32_t i = entry->dimensions; i-- > 0 && !status;) {
        uint64_t size;

        status = take_bits(stream, &size, 8);
        if (!status && size > INT64_MAX)
            return status_set(LLM_E_FORMAT, "a size is negative");
        entry->shape[i] = (int64_t)size;
        /* Zero sizes must not hide an overflow of the others. */
        if (!status && !checked_mul_i64(count, size ? (int64_t)size : 1, &count))
            return status_set(LLM_E_FORMAT, "the shape has too many elements");
    }
    return status;
}

static llm_status take_tensor(struct stream *stream, struct tensor_source *source,
                              uint64_t *expected, uint64_t alignment, struct arena *names)
{
    struct tensor_entry entry = {0};
    struct gguf_text name;
    int64_t elements = 1, block = 1, count = 1, bytes;
    size_t padded;
    uint32_t type;
    llm_status status = take_text(stream, names, GGUF_NAME_LIMIT, &name);

    if (status)
        return status;
    if (name.size == 0 || strlen(name.data) != name.size)
        return status_set(LLM_E_FORMAT, "a tensor's name is empty or holds a NUL character");
    entry.file = stream->file;
    status = take_shape(stream, &entry);
    if (!status)
        status = take_u32(stream, &type);
    if (!status)
        status = describe_type(&entry, type, &elements, &block);
    if (!status)
        status = take_bits(stream, &entry.offset, 8);
    if (status)
        return status_prefix(status, "tensor \"%s\"", name.data);
    for (int32_t i = 0; i < entry.dimensions; i++)
        count *= entry.shape[i];
    if ((entry.dimensions ? entry.shape[entry.dimensions - 1] : 1) % elements != 0)
        return status_set(LLM_E_FORMAT, "tensor \"%s\": its rows do not fill blocks of %lld",
                          name.data, (long long)elements);
    if (!checked_mul_i64(count / elements, block, &bytes) ||
        !checked_align((size_t)bytes, (size_t)alignment, &padded))
        return status_set(LLM_E_FORMAT, "tensor \"%s\": too many bytes", name.data);
    if (entry.offset != *expected)
        return status_set(LLM_E_FORMAT, "tensor \"%s\" begins at byte %llu of the data, not %llu",
                          name.data, (unsigned long long)entry.offset,
                          (unsigned long long)*expected);
    if (bytes > 0 && (*expected > stream->size || (uint64_t)bytes > stream->size - *expected))
        return status_set(LLM_E_FORMAT, "tensor \"%s\" reaches behind the end of the file",
                          name.data);
    entry.bytes = (uint64_t)bytes;
    *expected += padded;
    return tensor_source_add(source, &entry, name.data, name.size);
}

/* ---- the file ----------------------------------------------------------------------------------
 */

static llm_status take_counts(struct stream *stream, struct gguf *gguf, uint64_t *tensors,
                              uint64_t *pairs)
{
    uint32_t magic;
    llm_status status = take_u32(stream, &magic);

    if (!status)
        status = take_u32(stream, &gguf->version);
    if (status)
        return status;
    if (magic != 0x46554747u)
        return status_set(LLM_E_UNSUPPORTED, "a big-endian GGUF file");
    if (gguf->version != 0 && (gguf->version & 0xffffu) == 0)
        return status_set(LLM_E_UNSUPPORTED, "a big-endian GGUF file");
    if (gguf->version != 2 && gguf->version != 3)
        return status_set(LLM_E_UNSUPPORTED, "GGUF version %u, not 2 or 3", gguf->version);
    status = take_bits(stream, tensors, 8);
    if (!status)
        status = take_bits(stream, pairs, 8);
    /* The smallest tensor: a name of one byte, no sizes. The smallest pair: a key and a byte. */
    if (!status && *tensors > remaining(stream) / (8 + 1 + 4 + 4 + 8))
        return status_set(LLM_E_FORMAT, "%llu tensors do not fit into the file",
                          (unsigned long long)*tensors);
    if (!status && (*pairs > remaining(stream) / (8 + 1 + 4 + 1) || *pairs > PAIR_LIMIT))
        return status_set(LLM_E_FORMAT, "%llu metadata pairs do not fit into the file",
                          (unsigned long long)*pairs);
    return status;
}

static llm_status read_alignment(const struct gguf *gguf, uint64_t *out)
{
    const struct gguf_value *value = gguf_find(gguf, "general.alignment");

    *out = GGUF_ALIGNMENT;
    if (!value)
        return LLM_OK;
    if (value->type != GGUF_U32)
        return status_set(LLM_E_FORMAT, "key \"general.alignment\" is of type %s, not u32",
                          gguf_type_name(value->type));
    if (value->bits < 8 || value->bits > ALIGNMENT_LIMIT || (value->bits & (value->bits - 1)) != 0)
        return status_set(LLM_E_FORMAT, "key \"general.alignment\" is %llu",
                          (unsigned long long)value->bits);
    *out = value->bits;
    return LLM_OK;
}

static llm_status read_tensors(struct stream *stream, struct tensor_source *source,
                               const struct gguf *gguf, uint64_t count)
{
    size_t first = source->count;
    uint64_t expected = 0;
    uint64_t alignment;
    uint64_t start;
    struct arena names;
    llm_status status = read_alignment(gguf, &alignment);

    arena_init(&names, source->memory);
    for (uint64_t i = 0; i < count && !status; i++) {
        arena_reset(&names);
        status = take_tensor(stream, source, &expected, alignment, &names);
    }
    arena_free(&names);
    start = (stream->at + alignment - 1) & ~(alignment - 1);
    for (size_t i = first; i < source->count && !status; i++) {
        struct tensor_entry *entry = &source->list[i];

        if (entry->bytes && (start > stream->size || entry->offset > stream->size - start ||
                             entry->bytes > stream->size - start - entry->offset))
            status = status_set(LLM_E_FORMAT, "tensor \"%s\" reaches behind the end of the file",
                                entry->name);
        entry->offset += start;
    }
    return status;
}

static llm_status read_one(struct tensor_source *source, uint32_t file, struct gguf *gguf)
{
    struct stream *stream = memory_alloc_zeroed(source->memory, 1, sizeof *stream);
    uint64_t tensors = 0, pairs = 0;
    llm_status status;

    if (!stream)
        return LLM_E_NOMEM;
    stream->source = source;
    stream->file = file;
    stream->size = source->files[file].size;
    status = take_counts(stream, gguf, &tensors, &pairs);
    for (uint64_t i = 0; i < pairs && !status; i++)
        status = take_pair(stream, gguf);
    if (!status)
        status = read_tensors(stream, source, gguf, tensors);
    memory_release(source->memory, stream);
    return status;
}

/* ---- split files -------------------------------------------------------------------------------
 */

struct split {
    int64_t number, count, tensors;
};

static llm_status read_split(const struct gguf *gguf, struct split *split)
{
    llm_status status;

    *split = (struct split){0, 1, -1};
    status = gguf_read_i64(gguf, "split.no", 0, SPLIT_LIMIT - 1, &split->number);
    if (!status)
        status = gguf_read_i64(gguf, "split.count", 0, SPLIT_LIMIT, &split->count);
    if (!status)
        status = gguf_read_i64(gguf, "split.tensors.count", 0, INT64_MAX, &split->tensors);
    if (split->count == 0)
        split->count = 1;
    return status;
}

/* The other files of a set, by the name of the first: "...-00001-of-0000N.gguf". */
static llm_status open_others(struct tensor_source *source, const struct split *split)
{
    size_t length = strlen(source->files[0].path);
    char *path = memory_copy_text(source->memory, source->files[0].path, length);
    char end[32];
    llm_status status = LLM_OK;

    if (!path)
        return LLM_E_NOMEM;
    (void)snprintf(end, sizeof end, "-%05d-of-%05d.gguf", 1, (int)split->count);
    if (length < strlen(end) || strcmp(path + length - strlen(end), end) != 0) {
        status = status_set(LLM_E_FORMAT, "the first of %lld files must be named \"...%s\"",
                            (long long)split->count, end);
        goto done;
    }
    for (int64_t i = 1; i < split->count && !status; i++) {
        (void)snprintf(end, sizeof end, "-%05d-of-%05d.gguf", (int)i + 1, (int)split->count);
        memcpy(path + length - strlen(end), end, strlen(end));
        status = tensor_source_open_file(source, path);
    }
    if (!status && split->tensors >= 0 && (uint64_t)split->tensors != source->count)
        status = status_set(LLM_E_FORMAT, "the set holds %zu tensors, not %lld", source->count,
                            (long long)split->tensors);
done:
    memory_release(source->memory, path);
    return status;
}

static llm_status read_other(struct tensor_source *source, uint32_t file)
{
    struct gguf gguf;
    struct split split, first;
    const char *theirs = NULL, *ours = NULL;
    llm_status status;

    gguf_init(&gguf, source->memory);
    status = read_one(source, file, &gguf);
    if (!status)
        status = read_split(source->metadata, &first);
    if (!status)
        status = read_split(&gguf, &split);
    if (!status)
        status = gguf_read_text(&gguf, "general.architecture", &theirs);
    if (!status)
        status = gguf_read_text(source->metadata, "general.architecture", &ours);
    if (!status && (split.number != file || split.count != first.count))
        status = status_set(LLM_E_FORMAT, "this is file %lld of %lld, not %u of %lld",
                            (long long)split.number + 1, (long long)split.count, file + 1,
                            (long long)first.count);
    if (!status && theirs && ours && strcmp(theirs, ours) != 0)
        status = status_set(LLM_E_FORMAT, "this file belongs to a model of another architecture");
    gguf_free(&gguf);
    return status;
}

static llm_status read_header(struct tensor_source *source, uint32_t file)
{
    struct split split;
    llm_status status;

    if (file != 0)
        return source->metadata ? read_other(source, file)
                                : status_set(LLM_E_FORMAT, "GGUF beside files of another format");
    source->metadata = memory_alloc_zeroed(source->memory, 1, sizeof *source->metadata);
    if (!source->metadata)
        return LLM_E_NOMEM;
    gguf_init(source->metadata, source->memory);
    status = read_one(source, file, source->metadata);
    if (!status)
        status = read_split(source->metadata, &split);
    if (status || split.count == 1)
        return status;
    if (split.number != 0)
        return status_set(LLM_E_FORMAT, "this is file %lld of %lld: open the first",
                          (long long)split.number + 1, (long long)split.count);
    return open_others(source, &split);
}

static bool probe(const unsigned char magic[TENSOR_SOURCE_MAGIC])
{
    return memcmp(magic, "GGUF", 4) == 0 || memcmp(magic, "FUGG", 4) == 0;
}

const struct tensor_format gguf_format = {"gguf", probe, read_header};
