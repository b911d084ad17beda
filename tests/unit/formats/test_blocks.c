/* SPDX-License-Identifier: MIT
 *
 * Block types against the reference package (tests/golden/make_gguf.py): the same values from the
 * same bytes, the same bytes from the same values; quantizers of our own stay within an error.
 */
#include "formats/tensor_source.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fixture {
    llm_context *context;
    struct tensor_source *source;
};

static const int32_t types[] = {LLM_Q4_0,   LLM_Q4_1,   LLM_Q5_0,  LLM_Q5_1,  LLM_Q8_0,
                                LLM_Q2_K,   LLM_Q3_K,   LLM_Q4_K,  LLM_Q5_K,  LLM_Q6_K,
                                LLM_IQ4_NL, LLM_IQ4_XS, LLM_MXFP4, LLM_TQ1_0, LLM_TQ2_0};

enum { TYPES = sizeof types / sizeof types[0] };

static int setup(void **state)
{
    const char *root = getenv("LLM_TEST_GOLDEN");
    struct fixture *fixture = calloc(1, sizeof *fixture);
    char path[1024];

    (void)snprintf(path, sizeof path, "%s/gguf/blocks.safetensors", root ? root : ".");
    if (!fixture || llm_context_new(&fixture->context, NULL) ||
        tensor_source_open(&fixture->source, &fixture->context->memory, path))
        return 1;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    tensor_source_close(fixture->source);
    llm_context_free(fixture->context);
    free(fixture);
    return 0;
}

/* "<type>.<what>", or NULL if the fixture has none. */
static llm_tensor *find(const struct fixture *fixture, int32_t type, const char *what)
{
    const struct tensor_entry *entry;
    llm_tensor *tensor;
    char name[64];

    (void)snprintf(name, sizeof name, type < 0 ? "%.0s%s" : "%s.%s",
                   type < 0 ? "" : dtype_get(type)->name, what);
    entry = tensor_source_find(fixture->source, name);
    if (!entry)
        return NULL;
    if (tensor_new(&tensor, fixture->context, entry->dtype, entry->dimensions, entry->shape) ||
        tensor_source_load(fixture->source, entry, tensor, NULL, NULL))
        fail_msg("%s", status_message());
    return tensor;
}

static void reads_as_the_reference(void **state)
{
    for (int i = 0; i < TYPES; i++) {
        llm_tensor *bytes = find(*state, types[i], "bytes");
        llm_tensor *expected = find(*state, types[i], "values");
        int64_t count = tensor_count(expected);
        float *values = calloc((size_t)count, sizeof *values);

        assert_non_null(values);
        dtype_get(types[i])->to_f32(values, bytes->data, count);
        for (int64_t j = 0; j < count; j++) {
            float want = tensor_f32(expected)[j];

            if (values[j] != want)
                fail_msg("%s, value %d: %g, not %g", dtype_get(types[i])->name, (int)j,
                         (double)values[j], (double)want);
        }
        free(values);
        tensor_release(bytes);
        tensor_release(expected);
    }
}

static void quantizes_as_the_reference(void **state)
{
    llm_tensor *input = find(*state, -1, "input");
    int compared = 0;

    for (int i = 0; i < TYPES; i++) {
        llm_tensor *expected = find(*state, types[i], "quantized");
        unsigned char *bytes;
        size_t size;

        if (!expected)
            continue;
        assert_true(dtype_bytes(types[i], tensor_count(input), &size));
        assert_int_equal(size, tensor_count(expected));
        bytes = calloc(1, size);
        assert_non_null(bytes);
        dtype_get(types[i])->from_f32(bytes, tensor_f32(input), tensor_count(input));
        for (size_t j = 0; j < size; j++) {
            if (bytes[j] != ((const unsigned char *)expected->data)[j])
                fail_msg("%s, byte %zu of block %zu", dtype_get(types[i])->name,
                         j % (size_t)dtype_get(types[i])->block_bytes,
                         j / (size_t)dtype_get(types[i])->block_bytes);
        }
        compared++;
        free(bytes);
        tensor_release(expected);
    }
    assert_int_equal(8, compared);
    tensor_release(input);
}

/* Root of the mean squared error of a row, relative to its values. */
static double relative_error(int32_t type, const float *row)
{
    unsigned char bytes[1024];
    float back[256];
    double error = 0.0, square = 0.0;

    dtype_get(type)->from_f32(bytes, row, 256);
    dtype_get(type)->to_f32(back, bytes, 256);
    for (int i = 0; i < 256; i++) {
        error += ((double)back[i] - (double)row[i]) * ((double)back[i] - (double)row[i]);
        square += (double)row[i] * (double)row[i];
    }
    return sqrt(error / (square > 0.0 ? square : 1.0));
}

/* Normal values at two scales: what the bits allow, about half of a step's error. */
static void stays_within_an_error(void **state)
{
    static const struct {
        int32_t type;
        double limit;
    } rows[] = {{LLM_Q2_K, 0.30},  {LLM_Q3_K, 0.17},   {LLM_Q4_K, 0.075},  {LLM_Q5_K, 0.038},
                {LLM_Q6_K, 0.020}, {LLM_IQ4_NL, 0.08}, {LLM_IQ4_XS, 0.08}, {LLM_Q8_0, 0.006},
                {LLM_Q4_0, 0.11},  {LLM_Q5_0, 0.055},  {LLM_MXFP4, 0.14}};
    llm_tensor *input = find(*state, -1, "input");

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int row = 0; row < 3; row += 2) { /* row 1 is near the smallest halves */
            double error = relative_error(rows[i].type, tensor_f32(input) + 256 * row);

            if (!(error < rows[i].limit))
                fail_msg("%s, row %d: %g", dtype_get(rows[i].type)->name, row, error);
        }
        assert_true(relative_error(rows[i].type, tensor_f32(input) + 256 * 4) == 0.0);
    }
    tensor_release(input);
}

/* Whatever goes in, something comes out; nothing is converted out of range. */
static void takes_any_numbers(void **state)
{
    static const float strange[] = {NAN,    INFINITY, -INFINITY, 3e38f, -3e38f,
                                    1e-45f, -0.0f,    1e-38f,    1.0f,  -7.0f};
    float row[256];
    unsigned char bytes[1024];
    float back[256];

    (void)state;
    for (size_t s = 0; s < sizeof strange / sizeof strange[0]; s++) {
        for (int mixed = 0; mixed < 2; mixed++) {
            for (int i = 0; i < 256; i++)
                row[i] = mixed ? strange[(s + (size_t)i) % 10] : strange[s];
            for (int i = 0; i < TYPES; i++) {
                dtype_get(types[i])->from_f32(bytes, row, 256);
                dtype_get(types[i])->to_f32(back, bytes, 256);
            }
        }
    }
    memset(bytes, 0xff, sizeof bytes);
    for (int i = 0; i < TYPES; i++)
        dtype_get(types[i])->to_f32(back, bytes, 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_as_the_reference),
        cmocka_unit_test(quantizes_as_the_reference),
        cmocka_unit_test(stays_within_an_error),
        cmocka_unit_test(takes_any_numbers),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
