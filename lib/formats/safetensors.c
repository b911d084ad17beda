/* SPDX-License-Identifier: MIT
 *
 * Reading the header. jansson parses it value by value, so that a header of 100 MB with a million
 * entries never becomes one tree; this file checks what the reference reader checks: sizes that
 * match shapes, no duplicates, and data that is covered exactly once, without holes.
 */
#include "formats/safetensors.h"

#include "base/checked.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER_LIMIT = 100000000 };

/* Every type of the format, with its size, so that files are checked even where libllm has no such
 * type. */
static const struct {
    const char *name;
    size_t bits;
} types[] = {{"F32", 32},        {"F16", 16},       {"BF16", 16}, {"I64", 64},    {"I32", 32},
             {"U8", 8},          {"BOOL", 8},       {"I8", 8},    {"I16", 16},    {"U16", 16},
             {"U32", 32},        {"U64", 64},       {"F64", 64},  {"C64", 64},    {"F8_E4M3", 8},
             {"F8_E5M2", 8},     {"F8_E8M0", 8},    {"F4", 4},    {"F6_E2M3", 6}, {"F6_E3M2", 6},
             {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}};

struct scan {
    const char *at, *end;
};

static void skip_space(struct scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t'))
        scan->at++;
}

static bool take(struct scan *scan, char wanted)
{
    skip_space(scan);
    if (scan->at == scan->end || *scan->at != wanted)
        return false;
    scan->at++;
    return true;
}

static llm_status next_value(struct scan *scan, json_t **out)
{
    json_error_t error;

    *out = json_loadb(scan->at, (size_t)(scan->end - scan->at),
                      JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &error);
    if (!*out && json_error_code(&error) == json_error_out_of_memory)
        return status_set(LLM_E_NOMEM, "header: out of memory");
    if (!*out)
        return status_set(LLM_E_FORMAT, "header: %s", error.text);
    scan->at += error.position;
    return LLM_OK;
}

/* ---- one entry ---------------------------------------------------------------------------------
 */

static llm_status bad_entry(const char *name, const char *what)
{
    return status_set(LLM_E_FORMAT, "tensor \"%.200s\": %s", name, what);
}

static llm_status read_shape(struct tensor_entry *entry, size_t *count_out, const json_t *shape,
                             const char *name)
{
    size_t count = 1;

    if (!json_is_array(shape))
        return bad_entry(name, "\"shape\" is missing or not an array");
    if (json_array_size(shape) > LLM_MAX_DIMENSIONS)
        return status_set(LLM_E_UNSUPPORTED, "tensor \"%.200s\" has %zu dimensions", name,
                          json_array_size(shape));
    for (size_t i = 0; i < json_array_size(shape); i++) {
        const json_t *size = json_array_get(shape, i);

        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return bad_entry(name, "\"shape\" holds something that is not a size");
        entry->shape[i] = json_integer_value(size);
        if (!checked_mul(count, (size_t)entry->shape[i], &count))
            return bad_entry(name, "the shape has too many elements");
    }
    entry->dimensions = (int32_t)json_array_size(shape);
    *count_out = count;
    return LLM_OK;
}

static llm_status read_type(struct tensor_entry *entry, size_t *bits, const json_t *type,
                            const char *name)
{
    const char *text = json_string_value(type);

    for (size_t i = 0; text && i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(text, types[i].name) == 0) {
            entry->type_name = types[i].name;
            entry->dtype = dtype_from_safetensors(text);
            *bits = types[i].bits;
            return LLM_OK;
        }
    }
    return bad_entry(name, "\"dtype\" is missing or unknown");
}

static llm_status read_offsets(struct tensor_entry *entry, const json_t *offsets, const char *name)
{
    const json_t *begin = json_array_get(offsets, 0);
    const json_t *end = json_array_get(offsets, 1);

    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return bad_entry(name, "\"data_offsets\" is not [begin, end]");
    entry->offset = (uint64_t)json_integer_value(begin);
    entry->bytes = (uint64_t)(json_integer_value(end) - json_integer_value(begin));
    return LLM_OK;
}

static llm_status read_entry(struct tensor_entry *entry, const json_t *object, const char *name)
{
    llm_status status;
    size_t count = 0;
    size_t total_bits;
    size_t bits = 0;

    if (!json_is_object(object))
        return bad_entry(name, "not an object");
    status = read_shape(entry, &count, json_object_get(object, "shape"), name);
    if (!status)
        status = read_type(entry, &bits, json_object_get(object, "dtype"), name);
    if (!status)
        status = read_offsets(entry, json_object_get(object, "data_offsets"), name);
    if (status)
        return status;
    if (!checked_mul(count, bits, &total_bits))
        return bad_entry(name, "the shape has too many elements");
    if (total_bits % 8 != 0)
        return bad_entry(name, "the elements do not fill whole bytes");
    if (total_bits / 8 != entry->bytes)
        return bad_entry(name, "shape and dtype do not fit the number of bytes");
    return LLM_OK;
}

static llm_status check_metadata(const json_t *metadata)
{
    const char *key;
    json_t *value;

    if (!json_is_object(metadata))
        return status_set(LLM_E_FORMAT, "\"__metadata__\" is not an object");
    json_object_foreach((json_t *)metadata, key, value)
    {
        if (!json_is_string(value))
            return status_set(LLM_E_FORMAT, "\"__metadata__\": \"%.200s\" is not a string", key);
    }
    return LLM_OK;
}

/* ---- the header --------------------------------------------------------------------------------
 */

static llm_status read_member(struct tensor_source *source, uint32_t file, struct scan *scan,
                              bool *has_metadata)
{
    struct tensor_entry entry;
    json_t *name = NULL;
    json_t *value = NULL;
    llm_status status;

    memset(&entry, 0, sizeof entry);
    entry.file = file;
    skip_space(scan);
    if (scan->at == scan->end || *scan->at != '"')
        return status_set(LLM_E_FORMAT, "header: a name was expected");
    status = next_value(scan, &name);
    if (!status && !take(scan, ':'))
        status = status_set(LLM_E_FORMAT, "header: ':' was expected");
    skip_space(scan);
    if (!status)
        status = next_value(scan, &value);
    if (!status && strcmp(json_string_value(name), "__metadata__") == 0) {
        status = *has_metadata ? status_set(LLM_E_FORMAT, "\"__metadata__\" is there twice")
                               : check_metadata(value);
        *has_metadata = true;
    } else if (!status) {
        status = read_entry(&entry, value, json_string_value(name));
        if (!status)
            status = tensor_source_add(source, &entry, json_string_value(name),
                                       json_string_length(name));
    }
    json_decref(name);
    json_decref(value);
    return status;
}

static llm_status read_members(struct tensor_source *source, uint32_t file, struct scan *scan)
{
    bool has_metadata = false;
    llm_status status = LLM_OK;

    if (!take(scan, '{'))
        return status_set(LLM_E_FORMAT, "the header does not start with '{'");
    if (!take(scan, '}')) {
        do {
            status = read_member(source, file, scan, &has_metadata);
        } while (!status && take(scan, ','));
        if (!status && !take(scan, '}'))
            status = status_set(LLM_E_FORMAT, "header: ',' or '}' was expected");
    }
    while (!status && scan->at < scan->end) {
        if (*scan->at++ != ' ')
            status = status_set(LLM_E_FORMAT, "header: bytes behind the closing '}'");
    }
    return status;
}

static int compare_offsets(const void *a, const void *b)
{
    const struct tensor_entry *x = a;
    const struct tensor_entry *y = b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* Puts the file's tensors in the order of their data and checks that they cover it exactly. */
static llm_status check_coverage(struct tensor_source *source, size_t first, uint64_t data_start,
                                 uint64_t data_size)
{
    uint64_t expected = 0;

    if (source->count > first)
        qsort(source->list + first, source->count - first, sizeof *source->list, compare_offsets);
    for (size_t i = first; i < source->count; i++) {
        struct tensor_entry *entry = &source->list[i];

        if (entry->offset != expected)
            return bad_entry(entry->name, entry->offset < expected ? "overlaps another tensor"
                                                                   : "bytes before it are unused");
        if (entry->bytes > data_size - expected)
            return bad_entry(entry->name, "reaches behind the end of the file");
        expected += entry->bytes;
        entry->offset += data_start;
        map_find(&source->names, entry->name, strlen(entry->name))->value = (int64_t)i;
    }
    if (expected != data_size)
        return status_set(LLM_E_FORMAT, "%llu bytes behind the last tensor",
                          (unsigned long long)(data_size - expected));
    return LLM_OK;
}

static llm_status read_header(struct tensor_source *source, uint32_t file)
{
    const struct file_reader *reader = &source->files[file];
    size_t first = source->count;
    unsigned char prefix[8];
    uint64_t length = 0;
    char *header = NULL;
    struct scan scan;
    llm_status status;

    status = file_reader_read(reader, 0, prefix, sizeof prefix);
    if (status)
        return status;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | prefix[i];
    if (length > HEADER_LIMIT)
        return status_set(LLM_E_FORMAT, "the header claims %llu bytes, more than %d",
                          (unsigned long long)length, HEADER_LIMIT);
    if (length > reader->size - sizeof prefix)
        return status_set(LLM_E_FORMAT, "the header claims %llu bytes, the file holds %llu",
                          (unsigned long long)length,
                          (unsigned long long)(reader->size - sizeof prefix));
    header = memory_alloc(source->memory, (size_t)length);
    if (!header)
        return LLM_E_NOMEM;
    status = file_reader_read(reader, sizeof prefix, header, (size_t)length);
    scan.at = header;
    scan.end = header + length;
    if (!status && (length == 0 || header[0] != '{'))
        status = status_set(LLM_E_FORMAT, "the header does not start with '{'");
    if (!status)
        status = read_members(source, file, &scan);
    memory_release(source->memory, header);
    if (!status)
        status = check_coverage(source, first, sizeof prefix + length,
                                reader->size - sizeof prefix - length);
    return status;
}

/* A length of less than 2^32, then JSON. Everything else is for the header's own checks to name. */
static bool probe(const unsigned char magic[TENSOR_SOURCE_MAGIC])
{
    return magic[4] == 0 && magic[5] == 0 && magic[6] == 0 && magic[7] == 0 && magic[8] == '{';
}

const struct tensor_format safetensors_format = {"safetensors", probe, read_header};
