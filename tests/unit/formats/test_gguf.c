/* SPDX-License-Identifier: MIT
 *
 * GGUF: what is written reads back, split or not; hostile files end in a status and a line that
 * names the cause, whatever is cut off or changed; llama2.c checkpoints.
 */
#include "formats/gguf.h"

#include "base/text.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static llm_context *context;
static struct memory *memory;
static char directory[64];

static int setup(void **state)
{
    (void)state;
    strcpy(directory, "test-gguf-XXXXXX");
    if (llm_context_new(&context, NULL) || !mkdtemp(directory))
        return 1;
    memory = &context->memory;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    llm_context_free(context);
    return rmdir(directory);
}

static const char *in_directory(const char *name)
{
    static char path[2][160];
    static int next;

    next = !next;
    (void)snprintf(path[next], sizeof path[next], "%s/%s", directory, name);
    return path[next];
}

/* ---- files by hand -----------------------------------------------------------------------------
 */

static void bits(struct text *out, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char byte = (char)(value >> (8 * i));

        text_append(out, &byte, 1);
    }
}

static void string(struct text *out, const char *value)
{
    bits(out, strlen(value), 8);
    text_append_z(out, value);
}

static void pad(struct text *out)
{
    while (out->size % 32)
        text_append(out, "", 1);
}

/* A tensor of f32: name, sizes innermost first. */
static void tensor(struct text *out, const char *name, uint64_t inner, uint64_t outer,
                   uint32_t type, uint64_t offset)
{
    string(out, name);
    bits(out, 2, 4);
    bits(out, inner, 8);
    bits(out, outer, 8);
    bits(out, type, 4);
    bits(out, offset, 8);
}

static void header(struct text *out, uint64_t tensors, uint64_t pairs)
{
    text_init(out, memory);
    text_append(out, "GGUF", 4);
    bits(out, 3, 4);
    bits(out, tensors, 8);
    bits(out, pairs, 8);
}

/* Every kind of value, two tensors. */
static void whole(struct text *out)
{
    header(out, 2, 5);
    string(out, "general.architecture");
    bits(out, GGUF_STRING, 4);
    string(out, "test");
    string(out, "test.count");
    bits(out, GGUF_I16, 4);
    bits(out, (uint16_t)-7, 2);
    string(out, "test.ratio");
    bits(out, GGUF_F32, 4);
    bits(out, 0x3fc00000, 4);
    string(out, "test.words");
    bits(out, GGUF_ARRAY, 4);
    bits(out, GGUF_STRING, 4);
    bits(out, 2, 8);
    string(out, "a");
    string(out, "");
    string(out, "test.numbers");
    bits(out, GGUF_ARRAY, 4);
    bits(out, GGUF_I32, 4);
    bits(out, 3, 8);
    for (int i = 0; i < 3; i++)
        bits(out, (uint32_t)(i - 1), 4);
    tensor(out, "first", 3, 2, 0, 0);
    tensor(out, "second", 32, 1, 8, 32);
    pad(out);
    for (int i = 0; i < 6; i++)
        bits(out, 0x3f800000u + (uint32_t)i, 4);
    pad(out);
    bits(out, 0x3c00, 2); /* a block of Q8_0 */
    for (int i = 0; i < 32; i++)
        bits(out, (uint64_t)i, 1);
    pad(out);
}

static llm_status open_bytes(struct tensor_source **out, const void *bytes, size_t size)
{
    struct file_reader reader;

    assert_int_equal(LLM_OK, file_reader_over(&reader, memory, "bytes", bytes, size));
    return tensor_source_open_reader(out, memory, &reader);
}

static llm_tensor *load(const struct tensor_source *source, const char *name)
{
    const struct tensor_entry *entry = tensor_source_find(source, name);
    llm_tensor *out;

    assert_non_null(entry);
    assert_int_equal(LLM_OK, tensor_new(&out, context, LLM_F32, entry->dimensions, entry->shape));
    if (tensor_source_load(source, entry, out, NULL, NULL))
        fail_msg("%s", status_message());
    return out;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

static void reads_values(void **state)
{
    struct tensor_source *source;
    const struct gguf_value *value;
    const char *text = NULL;
    int64_t number = 0;
    double real = 0.0;
    bool flag = true;
    struct text file;
    llm_tensor *values;

    (void)state;
    whole(&file);
    assert_int_equal(LLM_OK, open_bytes(&source, file.data, file.size));
    assert_int_equal(LLM_OK, gguf_read_text(source->metadata, "general.architecture", &text));
    assert_string_equal("test", text);
    assert_int_equal(LLM_OK, gguf_read_i64(source->metadata, "test.count", -9, 9, &number));
    assert_int_equal(-7, number);
    assert_int_equal(LLM_E_RANGE, gguf_read_i64(source->metadata, "test.count", 0, 9, &number));
    assert_non_null(strstr(status_message(), "test.count"));
    assert_int_equal(LLM_OK, gguf_read_i64(source->metadata, "absent", 0, 9, &number));
    assert_int_equal(-7, number);
    assert_int_equal(LLM_E_FORMAT, gguf_read_i64(source->metadata, "test.ratio", 0, 9, &number));
    assert_int_equal(LLM_OK, gguf_read_double(source->metadata, "test.ratio", 0, 9, &real));
    assert_true(real == 1.5);
    assert_int_equal(LLM_E_FORMAT, gguf_read_bool(source->metadata, "test.ratio", &flag));
    assert_int_equal(LLM_E_FORMAT, gguf_read_text(source->metadata, "test.words", &text));
    assert_int_equal(LLM_OK, gguf_read_array(source->metadata, "test.words", GGUF_STRING, &value));
    assert_int_equal(2, value->count);
    assert_string_equal("a", ((const struct gguf_text *)value->items)[0].data);
    assert_string_equal("", ((const struct gguf_text *)value->items)[1].data);
    assert_int_equal(LLM_OK, gguf_read_array(source->metadata, "test.numbers", GGUF_I32, &value));
    assert_int_equal(-1, gguf_item_i64(value, 0));
    assert_int_equal(1, gguf_item_i64(value, 2));
    assert_int_equal(LLM_E_FORMAT,
                     gguf_read_array(source->metadata, "test.numbers", GGUF_F32, &value));
    values = load(source, "first");
    assert_int_equal(2, values->shape[0]);
    assert_true(tensor_f32(values)[0] == 1.0f);
    tensor_release(values);
    values = load(source, "second");
    assert_true(tensor_f32(values)[31] == 31.0f);
    tensor_release(values);
    tensor_source_close(source);
    text_free(&file);
}

/* Cut anywhere, one bit changed anywhere in the header: an error, or a file that can be read. */
static void survives_damage(void **state)
{
    struct tensor_source *source;
    struct text file;

    (void)state;
    whole(&file);
    for (size_t size = 0; size < file.size - 32; size++) {
        if (open_bytes(&source, file.data, size) == LLM_OK)
            fail_msg("%zu of %zu bytes are a file", size, file.size);
        assert_null(source);
    }
    for (size_t bit = 0; bit < (file.size - 128) * 8; bit++) {
        file.data[bit / 8] = (char)(file.data[bit / 8] ^ (1 << bit % 8));
        if (open_bytes(&source, file.data, file.size) == LLM_OK) {
            for (size_t i = 0; i < source->count; i++)
                assert_true(source->list[i].offset + source->list[i].bytes <= file.size);
            tensor_source_close(source);
        } else {
            assert_true(status_message()[0] != '\0');
        }
        file.data[bit / 8] = (char)(file.data[bit / 8] ^ (1 << bit % 8));
    }
    text_free(&file);
}

/* One pair of metadata or one tensor that is wrong. */
enum { PAIR, TENSOR, START };

static void refuses(int kind, uint64_t tensors, uint64_t pairs, const struct text *part,
                    llm_status expected, const char *message)
{
    struct tensor_source *source;
    struct text file;
    llm_status status;

    if (kind == START) {
        text_init(&file, memory);
    } else {
        header(&file, tensors, pairs);
    }
    text_append(&file, part->data, part->size);
    pad(&file);
    for (int i = 0; i < 64; i++)
        bits(&file, 0, 8);
    status = open_bytes(&source, file.data, file.size);
    if (status != expected || !strstr(status_message(), message))
        fail_msg("status %d: %s; wanted %d: %s", status, status ? status_message() : "", expected,
                 message);
    tensor_source_close(source);
    text_free(&file);
}

static void refuses_bad_starts(void **state)
{
    static const struct {
        const char *magic;
        uint32_t version;
        uint64_t tensors, pairs;
        llm_status status;
        const char *message;
    } rows[] = {
        {"FUGG", 3, 0, 0, LLM_E_UNSUPPORTED, "big-endian"},
        {"GGUF", 0, 0, 0, LLM_E_UNSUPPORTED, "version 0"},
        {"GGUF", 1, 0, 0, LLM_E_UNSUPPORTED, "version 1"},
        {"GGUF", 4, 0, 0, LLM_E_UNSUPPORTED, "version 4"},
        {"GGUF", 0x03000000, 0, 0, LLM_E_UNSUPPORTED, "big-endian"},
        {"GGUF", 0xffffffff, 0, 0, LLM_E_UNSUPPORTED, "version"},
        {"GGUF", 2, 0, 0, LLM_OK, ""},
        {"GGUF", 3, 21, 0, LLM_E_FORMAT, "tensors do not fit"},
        {"GGUF", 3, (uint64_t)1 << 31, 0, LLM_E_FORMAT, "tensors do not fit"},
        {"GGUF", 3, UINT64_MAX, 0, LLM_E_FORMAT, "tensors do not fit"},
        {"GGUF", 3, 0, 38, LLM_E_FORMAT, "pairs do not fit"},
        {"GGUF", 3, 0, (uint64_t)1 << 63, LLM_E_FORMAT, "pairs do not fit"},
        {"GGUF", 3, 1, 0, LLM_E_FORMAT, "name is empty"},
        {"GGUF", 3, 0, 1, LLM_E_FORMAT, "key is empty"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct text part;

        text_init(&part, memory);
        text_append(&part, rows[i].magic, 4);
        bits(&part, rows[i].version, 4);
        bits(&part, rows[i].tensors, 8);
        bits(&part, rows[i].pairs, 8);
        refuses(START, 0, 0, &part, rows[i].status, rows[i].message);
        text_free(&part);
    }
}

static void refuses_bad_pairs(void **state)
{
    static const struct {
        const char *key;
        uint32_t type, element;
        uint64_t count; /* of an array or a string's bytes, or the value */
        llm_status status;
        const char *message;
    } rows[] = {
        {"", GGUF_U8, 0, 1, LLM_E_FORMAT, "key is empty"},
        {"k", 13, 0, 1, LLM_E_FORMAT, "unknown type 13"},
        {"k", 255, 0, 1, LLM_E_FORMAT, "unknown type 255"},
        {"k", GGUF_BOOL, 0, 2, LLM_E_FORMAT, "bool of 2"},
        {"k", GGUF_STRING, 0, UINT64_MAX, LLM_E_FORMAT, "a string claims"},
        {"k", GGUF_STRING, 0, (uint64_t)1 << 32, LLM_E_FORMAT, "a string claims"},
        {"k", GGUF_ARRAY, GGUF_ARRAY, 1, LLM_E_FORMAT, "array of arrays"},
        {"k", GGUF_ARRAY, 13, 1, LLM_E_FORMAT, "unknown type 13"},
        {"k", GGUF_ARRAY, GGUF_U8, UINT64_MAX, LLM_E_FORMAT, "an array claims"},
        {"k", GGUF_ARRAY, GGUF_F64, (uint64_t)1 << 61, LLM_E_FORMAT, "an array claims"},
        {"k", GGUF_ARRAY, GGUF_STRING, (uint64_t)1 << 60, LLM_E_FORMAT, "an array claims"},
        {"general.alignment", GGUF_U32, 0, 0, LLM_E_FORMAT, "general.alignment"},
        {"general.alignment", GGUF_U32, 0, 3, LLM_E_FORMAT, "general.alignment"},
        {"general.alignment", GGUF_U32, 0, 1, LLM_E_FORMAT, "general.alignment"},
        {"general.alignment", GGUF_U32, 0, 1 << 17, LLM_E_FORMAT, "general.alignment"},
        {"general.alignment", GGUF_U32, 0, (uint64_t)1 << 31, LLM_E_FORMAT, "general.alignment"},
        {"general.alignment", GGUF_U64, 0, 32, LLM_E_FORMAT, "not u32"},
        {"general.alignment", GGUF_U32, 0, 1 << 16, LLM_OK, ""},
        {"split.count", GGUF_U16, 0, 2, LLM_E_FORMAT, "-00001-of-00002.gguf"},
        {"split.count", GGUF_F32, 0, 2, LLM_E_FORMAT, "split.count"},
        {"split.count", GGUF_U32, 0, 1 << 30, LLM_E_RANGE, "split.count"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct text part;

        text_init(&part, memory);
        string(&part, rows[i].key);
        bits(&part, rows[i].type, 4);
        if (rows[i].type == GGUF_ARRAY)
            bits(&part, rows[i].element, 4);
        bits(&part, rows[i].count,
             gguf_type_bytes(rows[i].type) ? gguf_type_bytes(rows[i].type) : 8);
        refuses(PAIR, 0, 1, &part, rows[i].status, rows[i].message);
        text_free(&part);
    }
}

static void refuses_double_keys(void **state)
{
    struct text part;

    (void)state;
    text_init(&part, memory);
    for (int i = 0; i < 2; i++) {
        string(&part, "twice");
        bits(&part, GGUF_U8, 4);
        bits(&part, 1, 1);
    }
    refuses(PAIR, 0, 2, &part, LLM_E_FORMAT, "\"twice\" is there twice");
    text_free(&part);
    text_init(&part, memory);
    tensor(&part, "t", 8, 1, 0, 0);
    tensor(&part, "t", 8, 1, 0, 32);
    refuses(TENSOR, 2, 0, &part, LLM_E_FORMAT, "\"t\" is there twice");
    text_free(&part);
}

static void refuses_bad_tensors(void **state)
{
    static const char long_name[] =
        "0123456789012345678901234567890123456789012345678901234567890123";
    static const struct {
        const char *name;
        uint32_t dimensions;
        uint64_t inner, outer;
        uint32_t type;
        uint64_t offset;
        llm_status status;
        const char *message;
    } rows[] = {
        {long_name, 2, 1, 1, 0, 0, LLM_E_FORMAT, "more than 63"},
        {"t", 5, 1, 1, 0, 0, LLM_E_FORMAT, "5 dimensions"},
        {"t", 0xffffffff, 1, 1, 0, 0, LLM_E_FORMAT, "dimensions"},
        {"t", 2, UINT64_MAX, 1, 0, 0, LLM_E_FORMAT, "negative"},
        {"t", 2, (uint64_t)1 << 62, 4, 0, 0, LLM_E_FORMAT, "too many elements"},
        {"t", 2, (uint64_t)1 << 62, 1, 0, 0, LLM_E_FORMAT, "too many bytes"},
        {"t", 2, (uint64_t)1 << 40, 1 << 20, 0, 0, LLM_E_FORMAT, "behind the end"},
        {"t", 2, 0, (uint64_t)1 << 62, 0, 0, LLM_OK, ""},
        {"t", 2, 8, 1, 4, 0, LLM_E_FORMAT, "unknown type 4"},
        {"t", 2, 8, 1, 255, 0, LLM_E_FORMAT, "unknown type 255"},
        {"t", 2, 33, 1, 8, 0, LLM_E_FORMAT, "blocks of 32"},
        {"t", 2, 32, 8, 14, 0, LLM_E_FORMAT, "blocks of 256"},
        {"t", 2, 8, 1, 0, 1, LLM_E_FORMAT, "begins at byte 1"},
        {"t", 2, 8, 1, 0, 32, LLM_E_FORMAT, "begins at byte 32"},
        {"t", 2, 8, 1, 0, (uint64_t)-32, LLM_E_FORMAT, "begins at byte"},
        {"t", 2, 136, 1, 0, 0, LLM_E_FORMAT, "behind the end"},
        {"t", 2, 128, 1, 0, 0, LLM_OK, ""},
        {"t", 2, 256, 1, 16, 0, LLM_OK, ""}, /* known, though not to be read */
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct text part;

        text_init(&part, memory);
        string(&part, rows[i].name);
        bits(&part, rows[i].dimensions, 4);
        bits(&part, rows[i].inner, 8);
        bits(&part, rows[i].outer, 8);
        bits(&part, rows[i].type, 4);
        bits(&part, rows[i].offset, 8);
        refuses(TENSOR, 1, 0, &part, rows[i].status, rows[i].message);
        text_free(&part);
    }
}

/* All pairs of extreme sizes in two of four places, all type numbers: an error, or a file whose
 * tensors lie inside it. */
static void survives_extreme_shapes(void **state)
{
    static const uint64_t sizes[] = {
        0, 1, UINT64_MAX, (uint64_t)1 << 31, (uint64_t)1 << 32, (uint64_t)1 << 62, INT64_MAX, 256};
    size_t kept = 0;

    (void)state;
    for (uint32_t round = 0; round < 4096 * 4; round++) {
        struct tensor_source *source;
        struct text file;

        header(&file, 1, 0);
        string(&file, "t");
        bits(&file, 4, 4);
        for (int i = 0; i < 4; i++)
            bits(&file, sizes[round >> (3 * i) & 7], 8);
        bits(&file, round % 44, 4);
        bits(&file, 0, 8);
        pad(&file);
        if (open_bytes(&source, file.data, file.size) == LLM_OK) {
            assert_true(source->list[0].bytes == 0);
            kept++;
        }
        tensor_source_close(source);
        text_free(&file);
    }
    assert_true(kept > 100);
}

/* A million names, all the same, or all different and too short a file. */
static void names_cost_no_squares(void **state)
{
    struct tensor_source *source;
    struct text file;

    (void)state;
    header(&file, 0, 500000);
    for (int i = 0; i < 500000; i++) {
        char key[16];

        (void)snprintf(key, sizeof key, "k%d", i);
        string(&file, key);
        bits(&file, GGUF_U8, 4);
        bits(&file, 1, 1);
    }
    assert_int_equal(LLM_OK, open_bytes(&source, file.data, file.size));
    assert_int_equal(500000, source->metadata->keys.count);
    tensor_source_close(source);
    text_free(&file);
}

/* ---- writing -----------------------------------------------------------------------------------
 */

static const int64_t written_shape[] = {6, 256};

static llm_status make_values(void *arg, size_t index, llm_tensor **out)
{
    llm_status status = tensor_new(out, context, LLM_F32, 2, written_shape);

    (void)arg;
    for (int64_t i = 0; !status && i < tensor_count(*out); i++)
        tensor_f32(*out)[i] = (float)(i % 37 - 18) * (float)(index + 1);
    return status;
}

static void write_all(const char *path, uint64_t split)
{
    struct gguf_item items[LLM_TQ2_0 + 1];
    char names[LLM_TQ2_0 + 1][16];
    struct gguf_write write = {
        .items = items, .load = make_values, .split_bytes = split, .threads = 2};
    static const struct gguf_text words[] = {{"one", 3}, {"t\0wo", 4}};
    static const float numbers[] = {1.5f, -2.0f};
    struct gguf gguf;

    for (int32_t type = LLM_F32; type <= LLM_TQ2_0; type++) {
        if (dtype_get(type)->gguf < 0)
            continue;
        (void)snprintf(names[type], sizeof names[type], "tensor.%d", type);
        items[write.count++] =
            (struct gguf_item){names[type], 2, {written_shape[0], written_shape[1]}, type};
    }
    gguf_init(&gguf, memory);
    gguf_put_text(&gguf, "general.architecture", "test", 4);
    gguf_put_u32(&gguf, "test.u32", 7);
    gguf_put_u32(&gguf, "test.u32", 8);
    gguf_put_f32(&gguf, "test.f32", 0.1);
    gguf_put_bool(&gguf, "test.bool", true);
    gguf_put_array(&gguf, "test.words", GGUF_STRING, words, 2);
    gguf_put_array(&gguf, "test.numbers", GGUF_F32, numbers, 2);
    if (gguf_write(&gguf, path, &write))
        fail_msg("%s", status_message());
    gguf_free(&gguf);
}

static void check_written(const char *path)
{
    struct tensor_source *source;
    const struct gguf_value *value;
    int64_t number = 0;
    bool flag = false;

    if (tensor_source_open(&source, memory, path))
        fail_msg("%s", status_message());
    assert_int_equal(LLM_OK, gguf_read_i64(source->metadata, "test.u32", 0, 9, &number));
    assert_int_equal(8, number);
    assert_int_equal(LLM_OK, gguf_read_bool(source->metadata, "test.bool", &flag));
    assert_true(flag);
    assert_int_equal(LLM_OK, gguf_read_array(source->metadata, "test.words", GGUF_STRING, &value));
    assert_int_equal(4, ((const struct gguf_text *)value->items)[1].size);
    assert_memory_equal("t\0wo", ((const struct gguf_text *)value->items)[1].data, 5);
    assert_int_equal(LLM_OK, gguf_read_array(source->metadata, "test.numbers", GGUF_F32, &value));
    assert_true(gguf_item_double(value, 1) == -2.0);
    assert_true(source->count > 20);
    for (size_t i = 0; i < source->count; i++) {
        int32_t type = source->list[i].dtype;
        llm_tensor *values, *expected;
        double worst = 0.0;
        bool is_exact = type == LLM_F32 || type == LLM_F64 || type == LLM_I16 || type == LLM_I32 ||
                        type == LLM_I64 || type == LLM_F16;

        assert_int_equal(LLM_OK, make_values(NULL, i, &expected));
        values = load(source, source->list[i].name);
        for (int64_t j = 0; j < tensor_count(values); j++)
            worst = fmax(worst, fabs((double)(tensor_f32(values)[j] - tensor_f32(expected)[j])));
        if (is_exact)
            assert_true(worst == 0.0);
        else if (type < LLM_TQ1_0 && type != LLM_I8)
            assert_true(worst < 6.0 * (double)(i + 1));
        tensor_release(values);
        tensor_release(expected);
    }
    tensor_source_close(source);
}

static void writes_and_reads(void **state)
{
    const char *path = in_directory("all.gguf");

    (void)state;
    write_all(path, 0);
    check_written(path);
    assert_int_equal(0, unlink(path));
}

static void splits(void **state)
{
    struct tensor_source *source;
    char name[64];
    char path[160];
    int files = 0;

    (void)state;
    write_all(in_directory("all.gguf"), 8192);
    for (int i = 1; i < 40 && !files; i++) {
        (void)snprintf(name, sizeof name, "all-00001-of-%05d.gguf", i);
        files = file_exists(in_directory(name)) ? i : 0;
    }
    assert_true(files > 2);
    (void)snprintf(path, sizeof path, "%s", in_directory(name));
    check_written(path);
    check_written(directory);

    (void)snprintf(name, sizeof name, "all-00002-of-%05d.gguf", files);
    assert_int_equal(LLM_E_FORMAT, tensor_source_open(&source, memory, in_directory(name)));
    assert_non_null(strstr(status_message(), "open the first"));
    assert_int_equal(0, rename(in_directory(name), in_directory("kept")));
    assert_int_equal(LLM_E_IO, tensor_source_open(&source, memory, path));
    assert_non_null(strstr(status_message(), "all-00002"));
    /* another file of the set under its name */
    assert_int_equal(0, link(path, in_directory(name)));
    assert_int_equal(LLM_E_FORMAT, tensor_source_open(&source, memory, path));
    assert_int_equal(0, unlink(in_directory(name)));
    assert_int_equal(0, rename(in_directory("kept"), in_directory(name)));
    for (int i = 1; i <= files; i++) {
        (void)snprintf(name, sizeof name, "all-%05d-of-%05d.gguf", i, files);
        assert_int_equal(0, unlink(in_directory(name)));
    }
}

static void refuses_to_write(void **state)
{
    struct gguf_item item = {"t", 2, {6, 256}, LLM_BOOL};
    struct gguf_write write = {.items = &item, .count = 1, .load = make_values, .threads = 1};
    struct gguf gguf;

    (void)state;
    gguf_init(&gguf, memory);
    assert_int_equal(LLM_E_UNSUPPORTED, gguf_write(&gguf, in_directory("no"), &write));
    item.dtype = LLM_Q4_K;
    item.shape[1] = 255;
    assert_int_equal(LLM_E_SHAPE, gguf_write(&gguf, in_directory("no"), &write));
    item.dtype = LLM_F32; /* the callback's tensor has another size: no file is left */
    assert_int_equal(LLM_E_INTERNAL, gguf_write(&gguf, in_directory("no"), &write));
    assert_false(file_exists(in_directory("no")));
    gguf_free(&gguf);
}

/* ---- other sources -----------------------------------------------------------------------------
 */

static bool reads_fail;

static int32_t read_some(void *user, uint64_t offset, void *buffer, size_t size)
{
    const struct text *file = user;

    assert_true(offset + size <= file->size);
    if (reads_fail)
        return 5;
    memcpy(buffer, file->data + offset, size);
    return 0;
}

static void reads_through_a_callback(void **state)
{
    struct tensor_source *source;
    struct file_reader reader;
    llm_tensor *values;
    struct text file;

    (void)state;
    whole(&file);
    reads_fail = false;
    assert_int_equal(LLM_OK,
                     file_reader_call(&reader, memory, "call", read_some, &file, file.size));
    assert_int_equal(LLM_OK, tensor_source_open_reader(&source, memory, &reader));
    assert_int_equal(LLM_OK, tensor_new(&values, context, LLM_F32, 1, (const int64_t[]){32}));
    assert_int_equal(LLM_OK, tensor_source_load(source, tensor_source_find(source, "second"),
                                                values, NULL, NULL));
    assert_true(tensor_f32(values)[31] == 31.0f);
    reads_fail = true;
    assert_int_equal(LLM_E_IO, tensor_source_load(source, tensor_source_find(source, "second"),
                                                  values, NULL, NULL));
    assert_non_null(strstr(status_message(), "returned 5"));
    tensor_release(values);
    tensor_source_close(source);
    text_free(&file);
}

static void refuses_pickles(void **state)
{
    static const char zip[16] = "PK\003\004";
    static const char bare[16] = "\x80\x02}q";
    struct tensor_source *source;

    (void)state;
    assert_int_equal(LLM_E_UNSUPPORTED, open_bytes(&source, zip, sizeof zip));
    assert_non_null(strstr(status_message(), "save_pretrained"));
    assert_int_equal(LLM_E_UNSUPPORTED, open_bytes(&source, bare, sizeof bare));
}

/* The three versions hold the same model; a byte more or less is no checkpoint. */
static void reads_llama2c(void **state)
{
    static const char *const names[] = {"stories260K.bin", "checkpoint_v1_zig.bin",
                                        "stories260K-q8.bin"};
    const char *root = getenv("LLM_TEST_DATA");
    struct tensor_source *source[3], *gguf;
    char path[1024];

    (void)state;
    if (!root) {
        print_message("SKIPPED: LLM_TEST_DATA is not set\n");
        skip();
    }
    (void)snprintf(path, sizeof path, "%s/tinyllamas-260k/stories260K.gguf", root);
    if (tensor_source_open(&gguf, memory, path))
        fail_msg("%s", status_message());
    for (int i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/tinyllamas-260k/%s", root, names[i]);
        if (tensor_source_open(&source[i], memory, path))
            fail_msg("%s", status_message());
        assert_int_equal(47, source[i]->count);
        for (size_t t = 0; t < source[i]->count; t++) {
            llm_tensor *values = load(source[i], source[i]->list[t].name);
            llm_tensor *expected = load(gguf, source[i]->list[t].name);

            for (int64_t j = 0; j < tensor_count(values); j++) {
                double off = fabs((double)(tensor_f32(values)[j] - tensor_f32(expected)[j]));

                if (off > (i == 2 ? 0.02 : 0.0))
                    fail_msg("%s, %s: off by %g", names[i], source[i]->list[t].name, off);
            }
            tensor_release(values);
            tensor_release(expected);
        }
        tensor_source_close(source[i]);
    }
    tensor_source_close(gguf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_values),          cmocka_unit_test(survives_damage),
        cmocka_unit_test(refuses_bad_starts),    cmocka_unit_test(refuses_bad_pairs),
        cmocka_unit_test(refuses_double_keys),   cmocka_unit_test(refuses_bad_tensors),
        cmocka_unit_test(writes_and_reads),      cmocka_unit_test(survives_extreme_shapes),
        cmocka_unit_test(names_cost_no_squares), cmocka_unit_test(splits),
        cmocka_unit_test(refuses_to_write),      cmocka_unit_test(reads_through_a_callback),
        cmocka_unit_test(refuses_pickles),       cmocka_unit_test(reads_llama2c),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
