/* SPDX-License-Identifier: MIT
 *
 * safetensors: what is written reads back, also by shards; hostile headers end in a status and a
 * line that names the cause, whatever is cut off or changed.
 */
#include "formats/safetensors.h"

#include "base/text.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    llm_context *context;
    struct memory *memory;
    char directory[64];
    char path[96];
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    if (!fixture || llm_context_new(&fixture->context, NULL))
        return 1;
    fixture->memory = &fixture->context->memory;
    strcpy(fixture->directory, "test-safetensors-XXXXXX");
    if (!mkdtemp(fixture->directory))
        return 1;
    (void)snprintf(fixture->path, sizeof fixture->path, "%s/model.safetensors", fixture->directory);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json",
                                        "a.safetensors", "b.safetensors", "pytorch_model.bin"};
    struct fixture *fixture = *state;
    char path[128];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", fixture->directory, names[i]);
        (void)unlink(path);
    }
    if (rmdir(fixture->directory))
        return 1; /* a temporary file was left behind */
    llm_context_free(fixture->context);
    free(fixture);
    return 0;
}

static llm_tensor *make(struct fixture *fixture, int32_t dtype, int32_t dimensions,
                        const int64_t *shape)
{
    llm_tensor *tensor;
    float values[24];

    assert_int_equal(LLM_OK, tensor_new(&tensor, fixture->context, dtype, dimensions, shape));
    for (int i = 0; i < 24; i++)
        values[i] = (float)i;
    assert_int_equal(LLM_OK, llm_tensor_write_f32(tensor, values, (size_t)tensor_count(tensor)));
    return tensor;
}

static const int64_t shape_34[2] = {3, 4}, shape_43[2] = {4, 3}, shape_234[3] = {2, 3, 4},
                     shape_0[1] = {0};

static void writes_and_reads(void **state)
{
    struct fixture *fixture = *state;
    llm_tensor *matrix = make(fixture, LLM_F32, 2, shape_34);
    llm_tensor *wide = make(fixture, LLM_F64, 3, shape_234);
    llm_tensor *scalar = make(fixture, LLM_F32, 0, NULL);
    llm_tensor *empty = make(fixture, LLM_F32, 1, shape_0);
    llm_tensor *read = make(fixture, LLM_F32, 2, shape_43);
    llm_tensor *cube = make(fixture, LLM_F32, 3, shape_234);
    struct tensor_source *source;
    const struct tensor_entry *entry;
    llm_tensor transposed = *matrix;
    float values[24];
    struct safetensors_item items[] = {
        {"plain", matrix, LLM_F32},  {"transposed", &transposed, LLM_F16},
        {"wide", wide, LLM_F64},     {"half", wide, LLM_BF16},
        {"scalar", scalar, LLM_F32}, {"empty", empty, LLM_F32}};

    transposed.shape[0] = 4;
    transposed.shape[1] = 3;
    transposed.stride[0] = 1;
    transposed.stride[1] = 4;
    assert_int_equal(LLM_OK,
                     safetensors_write(fixture->memory, fixture->path, items, 6, NULL, NULL));
    assert_int_equal(LLM_OK, tensor_source_open(&source, fixture->memory, fixture->directory));
    assert_int_equal(6, source->count);
    assert_null(tensor_source_find(source, "absent"));

    entry = tensor_source_find(source, "wide"); /* the widest type comes first, 8-aligned */
    assert_non_null(entry);
    assert_int_equal(0, entry->offset % 8);
    assert_int_equal(LLM_F64, entry->dtype);
    assert_int_equal(LLM_OK, tensor_source_load(source, entry, cube, NULL, NULL));
    assert_int_equal(LLM_OK, llm_tensor_read_f32(cube, values, 24));
    for (int i = 0; i < 24; i++)
        assert_true(values[i] == (float)i);

    entry = tensor_source_find(source, "transposed");
    assert_int_equal(LLM_F16, entry->dtype);
    assert_int_equal(LLM_OK, tensor_source_load(source, entry, read, NULL, NULL));
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 3; j++)
            assert_true(tensor_f32(read)[i * 3 + j] == (float)(j * 4 + i));
    }
    tensor_zero(matrix); /* and back through the same strided view */
    assert_int_equal(LLM_OK, tensor_source_load(source, entry, &transposed, NULL, NULL));
    for (int i = 0; i < 12; i++)
        assert_true(tensor_f32(matrix)[i] == (float)i);

    assert_int_equal(LLM_OK, tensor_source_load(source, tensor_source_find(source, "scalar"),
                                                scalar, NULL, NULL));
    assert_int_equal(
        LLM_OK, tensor_source_load(source, tensor_source_find(source, "empty"), empty, NULL, NULL));
    assert_int_equal(LLM_E_SHAPE, tensor_source_load(source, entry, cube, NULL, NULL));
    tensor_source_close(source);
    tensor_release(matrix);
    tensor_release(wide);
    tensor_release(scalar);
    tensor_release(empty);
    tensor_release(read);
    tensor_release(cube);
}

/* Without the fsync of file_write(), which would take most of the test's time. */
static void put_file(const char *path, const void *data, size_t size)
{
    FILE *stream = fopen(path, "wb");

    assert_non_null(stream);
    assert_int_equal(size, fwrite(data, 1, size, stream));
    assert_int_equal(0, fclose(stream));
}

static void write_raw(struct fixture *fixture, const char *path, const char *header, size_t length,
                      size_t claimed, size_t data)
{
    struct text text;

    text_init(&text, fixture->memory);
    for (int i = 0; i < 8; i++) {
        char byte = (char)((uint64_t)claimed >> (8 * i));

        text_append(&text, &byte, 1);
    }
    text_append(&text, header, length);
    for (size_t i = 0; i < data; i++)
        text_append(&text, "x", 1);
    put_file(path, text.data, text.size);
    text_free(&text);
}

static llm_status open_raw(struct fixture *fixture, const char *header, size_t data)
{
    struct tensor_source *source;
    llm_status status;

    write_raw(fixture, fixture->path, header, strlen(header), strlen(header), data);
    status = tensor_source_open(&source, fixture->memory, fixture->path);
    tensor_source_close(source);
    return status;
}

#define ENTRY(name, type, shape, begin, end)                                                       \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void accepts_what_the_format_allows(void **state)
{
    static const struct {
        const char *header;
        size_t data;
    } rows[] = {
        {"{}", 0},
        {"{} ", 0},
        {"{\"__metadata__\":{\"format\":\"pt\",\"x\":\"y\"}}      ", 0},
        {"{" ENTRY("a", "F32", "[2]", "0", "8") "}", 8},
        {"{" ENTRY("b", "F32", "[1]", "4", "8") "," ENTRY("a", "F32", "[]", "0", "4") "}", 8},
        {"{" ENTRY("b", "F4", "[4]", "0", "2") "}", 2},
        {"{" ENTRY("b", "F6_E2M3", "[4]", "0", "3") "}", 3},
        {"{" ENTRY("e", "F32", "[0,7]", "0", "0") "," ENTRY("a", "I8", "[3]", "0", "3") "}", 3},
        {"{ " ENTRY("\\u00e9", "C64", "[1]", "0", "8") "\n}", 8},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (open_raw(*state, rows[i].header, rows[i].data))
            fail_msg("%s: %s", rows[i].header, status_message());
    }
}

static void refuses_bad_headers(void **state)
{
    static const struct {
        const char *header;
        size_t data;
        const char *message;
    } rows[] = {
        {"", 0, "not a file of tensors"},
        {"[]", 0, "not a file of tensors"},
        {" {}", 0, "not a file of tensors"},
        {"\xef\xbb\xbf{}", 0, "not a file of tensors"},
        {"{", 0, "name was expected"},
        {"{}x", 0, "behind the closing"},
        {"{}\n", 0, "behind the closing"},
        {"{}", 1, "1 bytes behind the last tensor"},
        {"{\"a\"}", 0, "':' was expected"},
        {"{\"a\":}", 0, "header: "},
        {"{\"a\":1}", 0, "\"a\": not an object"},
        {"{\"a\":{}}", 0, "\"shape\" is missing"},
        {"{\"__metadata__\":[]}", 0, "not an object"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "not a string"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "twice"},
        {"{" ENTRY("a", "F33", "[1]", "0", "4") "}", 4, "\"dtype\""},
        {"{" ENTRY("a", "F32", "[-1]", "0", "4") "}", 4, "not a size"},
        {"{" ENTRY("a", "F32", "[1.0]", "0", "4") "}", 4, "not a size"},
        {"{" ENTRY("a", "F32", "[1e400]", "0", "4") "}", 4, "header: "},
        {"{" ENTRY("a", "F32", "[01]", "0", "4") "}", 4, "header: "},
        {"{" ENTRY("a", "F32", "[1]", "4", "0") "}", 4, "data_offsets"},
        {"{" ENTRY("a", "F32", "[1]", "0", "8") "}", 8, "do not fit"},
        {"{" ENTRY("a", "F32", "[2]", "0", "8") "}", 7, "reaches behind"},
        {"{" ENTRY("a", "F32", "[1]", "4", "8") "}", 8, "unused"},
        {"{" ENTRY("a", "F32", "[1]", "0", "4") "," ENTRY("b", "F32", "[1]", "0", "4") "}", 4,
         "overlaps"},
        {"{" ENTRY("a", "F32", "[1]", "0", "4") "," ENTRY("b", "F32", "[1]", "2", "6") "}", 6,
         "overlaps"},
        {"{" ENTRY("a", "F32", "[1]", "0", "4") "," ENTRY("a", "F32", "[1]", "4", "8") "}", 8,
         "twice"},
        {"{" ENTRY("a", "F4", "[3]", "0", "1") "}", 1, "whole bytes"},
        {"{" ENTRY("a", "F32", "[4294967296,4294967296]", "0", "0") "}", 0, "too many elements"},
        {"{" ENTRY("a", "U8", "[9223372036854775807]", "0", "9223372036854775807") "}", 0,
         "too many elements"},
        {"{" ENTRY("a", "F32", "[1,1,1,1,1,1,1,1,1]", "0", "4") "}", 4, "9 dimensions"},
        {"{\"a\\u0000b\":{}}", 0, "header: "},
        {"{\"a\":{\"shape\":[1],\"shape\":[2]}}", 0, "header: "},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        llm_status status = open_raw(*state, rows[i].header, rows[i].data);

        if (status == LLM_OK || !strstr(status_message(), rows[i].message))
            fail_msg("%s: status %d, \"%s\"", rows[i].header, status, status_message());
    }
}

static void refuses_lies_about_the_length(void **state)
{
    static const uint64_t claims[] = {1,
                                      3,
                                      7,
                                      1000,
                                      99999999,
                                      100000000,
                                      100000001,
                                      UINT32_MAX,
                                      (uint64_t)INT64_MAX,
                                      UINT64_MAX - 8,
                                      UINT64_MAX};
    struct fixture *fixture = *state;
    struct tensor_source *source;

    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        write_raw(fixture, fixture->path, "{}", 2, claims[i], 0);
        assert_true(tensor_source_open(&source, fixture->memory, fixture->path) < 0);
        assert_null(source);
    }
}

/* Every length of a good file, and every byte of its header changed. */
static void survives_truncation_and_changes(void **state)
{
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"}," ENTRY(
        "a", "F32", "[2]", "0", "8") "," ENTRY("bc", "I8", "[2,2]", "8", "12") "}";
    struct fixture *fixture = *state;
    struct tensor_source *source;
    char *data;
    size_t size;

    write_raw(fixture, fixture->path, header, strlen(header), strlen(header), 12);
    assert_int_equal(LLM_OK, file_read(&data, &size, fixture->memory, fixture->path, 0));
    for (size_t i = 0; i < size; i++) {
        put_file(fixture->path, data, i);
        assert_true(tensor_source_open(&source, fixture->memory, fixture->path) < 0);
    }
    for (size_t i = 0; i < 8 + strlen(header); i++) {
        for (int bit = 0; bit < 8; bit++) {
            data[i] = (char)(data[i] ^ (1 << bit));
            put_file(fixture->path, data, size);
            (void)tensor_source_open(&source, fixture->memory, fixture->path);
            tensor_source_close(source);
            data[i] = (char)(data[i] ^ (1 << bit));
        }
    }
    memory_release(fixture->memory, data);
}

static void reads_many_tensors(void **state)
{
    struct fixture *fixture = *state;
    struct tensor_source *source;
    struct text header;

    text_init(&header, fixture->memory);
    text_append_z(&header, "{");
    for (int i = 0; i < 50000; i++)
        text_printf(&header, "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}",
                    i ? "," : "", i, i, i + 1);
    text_append_z(&header, "}");
    assert_int_equal(LLM_OK, open_raw(fixture, header.data, 50000));
    assert_int_equal(LLM_OK, tensor_source_open(&source, fixture->memory, fixture->path));
    assert_int_equal(49999, (int)(tensor_source_find(source, "t49999") - source->list));
    tensor_source_close(source);
    text_free(&header);
}

static void write_index(struct fixture *fixture, const char *text)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/model.safetensors.index.json", fixture->directory);
    put_file(path, text, strlen(text));
    (void)unlink(fixture->path);
}

static void write_shard(struct fixture *fixture, const char *name, const char *header)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", fixture->directory, name);
    write_raw(fixture, path, header, strlen(header), strlen(header), 1);
}

static void reads_shards(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "{\"weight_map\":[]}",
        "{\"weight_map\":{\"x\":1}}",
        "{\"weight_map\":{\"x\":\"../a.safetensors\"}}",
        "{\"weight_map\":{\"x\":\"/etc/passwd\"}}",
        "{\"weight_map\":{\"x\":\"..\"}}",
        "{\"weight_map\":{\"x\":\"http:a\"}}",
        "{\"weight_map\":{\"x\":\"a\\u0000b\"}}",
        "{\"weight_map\":{\"x\":\"\"}}",
        "{\"weight_map\":{\"x\":\"missing.safetensors\"}}",
        "{\"weight_map\":{\"x\":\"b.safetensors\",\"y\":\"a.safetensors\"}}",
        "{\"weight_map\":{\"x\":\"a.safetensors\",\"z\":\"a.safetensors\"}}",
    };
    struct fixture *fixture = *state;
    struct tensor_source *source;

    write_shard(fixture, "a.safetensors", "{" ENTRY("x", "U8", "[1]", "0", "1") "}");
    write_shard(fixture, "b.safetensors", "{" ENTRY("y", "U8", "[1]", "0", "1") "}");
    write_index(fixture, "{\"metadata\":{\"total_size\":2},\"weight_map\":{\"x\":\"a.safetensors\","
                         "\"y\":\"b.safetensors\"}}");
    assert_int_equal(LLM_OK, tensor_source_open(&source, fixture->memory, fixture->directory));
    assert_int_equal(2, source->file_count);
    assert_int_equal(1, tensor_source_find(source, "y")->file);
    tensor_source_close(source);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_index(fixture, bad[i]);
        if (tensor_source_open(&source, fixture->memory, fixture->directory) == LLM_OK)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void names_missing_files(void **state)
{
    struct fixture *fixture = *state;
    struct tensor_source *source;
    char path[128];

    assert_int_equal(LLM_E_IO, tensor_source_open(&source, fixture->memory, fixture->directory));
    assert_non_null(strstr(status_message(), "model.safetensors"));
    (void)snprintf(path, sizeof path, "%s/pytorch_model.bin", fixture->directory);
    put_file(path, "x", 1);
    assert_int_equal(LLM_E_UNSUPPORTED,
                     tensor_source_open(&source, fixture->memory, fixture->directory));
    assert_int_equal(LLM_E_IO, tensor_source_open(&source, fixture->memory, "/nowhere/at/all"));
    assert_int_equal(LLM_E_INVALID, tensor_source_open(&source, fixture->memory, NULL));
}

static llm_status stop(void *arg, uint64_t bytes)
{
    (void)arg;
    (void)bytes;
    return status_set(LLM_E_CANCELLED, "stop");
}

/* A cancelled or impossible write leaves the old file and no temporary one. */
static void keeps_the_old_file(void **state)
{
    struct fixture *fixture = *state;
    llm_tensor *matrix = make(fixture, LLM_F32, 2, shape_34);
    struct safetensors_item item = {"a", matrix, LLM_F32};
    char *before, *after;
    size_t size, size_after;

    assert_int_equal(LLM_OK,
                     safetensors_write(fixture->memory, fixture->path, &item, 1, NULL, NULL));
    assert_int_equal(LLM_OK, file_read(&before, &size, fixture->memory, fixture->path, 0));
    item.name = "b";
    assert_int_equal(LLM_E_CANCELLED,
                     safetensors_write(fixture->memory, fixture->path, &item, 1, stop, NULL));
    assert_int_equal(LLM_OK, file_read(&after, &size_after, fixture->memory, fixture->path, 0));
    assert_int_equal(size, size_after);
    assert_memory_equal(before, after, size);
    assert_int_equal(LLM_E_IO,
                     safetensors_write(fixture->memory, "/nowhere/at/all", &item, 1, NULL, NULL));
    memory_release(fixture->memory, before);
    memory_release(fixture->memory, after);
    tensor_release(matrix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_and_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(accepts_what_the_format_allows, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_bad_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_lies_about_the_length, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_truncation_and_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_many_tensors, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_shards, setup, teardown),
        cmocka_unit_test_setup_teardown(names_missing_files, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_the_old_file, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
