/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static llm_tensor *run_reshape(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    int64_t shape[2] = {-1, 4};

    (void)arg;
    return op_reshape(cx, in[0], 2, shape);
}

static void reference_copy(double *out, int64_t count, const double *const *in, const void *arg)
{
    (void)arg;
    memcpy(out, in[0], (size_t)count * sizeof *out);
}

static llm_tensor *run_slice(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    (void)arg;
    return op_slice(cx, in[0], 1, 1, 5, 2);
}

/* [3,6] -> columns 1 and 3 */
static void reference_slice(double *out, int64_t count, const double *const *in, const void *arg)
{
    (void)arg;
    for (int64_t i = 0; i < count; i++)
        out[i] = in[0][i / 2 * 6 + 1 + i % 2 * 2];
}

static llm_tensor *run_permute(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    int32_t axes[3] = {2, 0, 1};

    (void)arg;
    return op_permute(cx, in[0], axes);
}

/* [2,3,4] -> [4,2,3] */
static void reference_permute(double *out, int64_t count, const double *const *in, const void *arg)
{
    (void)count;
    (void)arg;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 2; j++)
            for (int k = 0; k < 3; k++)
                out[i * 6 + j * 3 + k] = in[0][j * 12 + k * 4 + i];
}

/* Views of views, and two of them that overlap: their gradients add up in the base. */
static llm_tensor *run_overlap(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    llm_tensor *parts[2];

    (void)arg;
    parts[0] = op_slice(cx, op_transpose(cx, in[0], 0, 1), 0, 0, 4, 1);
    parts[1] = op_slice(cx, op_transpose(cx, in[0], 0, 1), 0, 2, 6, 1);
    return op_concat(cx, parts, 2, 0);
}

/* [3,6] -> [4 + 4, 3] */
static void reference_overlap(double *out, int64_t count, const double *const *in, const void *arg)
{
    (void)arg;
    for (int64_t i = 0; i < count; i++) {
        int64_t row = i / 3 < 4 ? i / 3 : i / 3 - 2;

        out[i] = in[0][i % 3 * 6 + row];
    }
}

static llm_tensor *run_concat(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    (void)arg;
    return op_concat(cx, in, 3, -1);
}

/* [2,2], [2,3], [2,1] -> [2,6] */
static void reference_concat(double *out, int64_t count, const double *const *in, const void *arg)
{
    (void)count;
    (void)arg;
    for (int i = 0; i < 2; i++) {
        memcpy(out + i * 6, in[0] + i * 2, 2 * sizeof *out);
        memcpy(out + i * 6 + 2, in[1] + i * 3, 3 * sizeof *out);
        out[i * 6 + 5] = in[2][i];
    }
}

static void test_gradients(void **state)
{
    const struct gradcheck checks[] = {
        {.name = "reshape",
         .inputs = 1,
         .in = {{.dimensions = 3, .shape = {2, 3, 4}}},
         .run = run_reshape,
         .reference = reference_copy},
        {.name = "slice",
         .inputs = 1,
         .in = {{.dimensions = 2, .shape = {3, 6}}},
         .run = run_slice,
         .reference = reference_slice},
        {.name = "permute",
         .inputs = 1,
         .in = {{.dimensions = 3, .shape = {2, 3, 4}}},
         .run = run_permute,
         .reference = reference_permute},
        {.name = "overlapping views",
         .inputs = 1,
         .in = {{.dimensions = 2, .shape = {3, 6}}},
         .run = run_overlap,
         .reference = reference_overlap},
        {.name = "concat",
         .inputs = 3,
         .in = {{.dimensions = 2, .shape = {2, 2}},
                {.dimensions = 2, .shape = {2, 3}},
                {.dimensions = 2, .shape = {2, 1}}},
         .run = run_concat,
         .reference = reference_concat},
    };

    (void)state;
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        gradcheck_run(&checks[i]);
}

static void expect(struct cx *cx, llm_tensor *y, llm_status status)
{
    assert_null(y);
    assert_int_equal(cx_status(cx), status);
    assert_string_not_equal(status_message(), "");
    cx_reset(cx);
}

static void test_misuse(void **state)
{
    llm_context *context = gradcheck_context(1);
    int64_t shape[2] = {3, 4};
    int64_t bad_sizes[2] = {-1, 5};
    int64_t two_open[2] = {-1, -1};
    int32_t bad_axes[2] = {0, 0};
    llm_tensor *x = gradcheck_tensor(context, false, 1, 2, shape);
    llm_tensor *flat = gradcheck_tensor(context, false, 1, 1, shape);
    llm_tensor *pair[2] = {x, flat};
    llm_tensor *holed[2] = {x, NULL};
    struct cx cx;

    (void)state;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    expect(&cx, op_reshape(&cx, NULL, 2, shape), LLM_E_INVALID);
    expect(&cx, op_reshape(&cx, x, 2, bad_sizes), LLM_E_SHAPE);
    expect(&cx, op_reshape(&cx, x, 2, two_open), LLM_E_SHAPE);
    expect(&cx, op_reshape(&cx, x, 99, shape), LLM_E_SHAPE);
    expect(&cx, op_slice(&cx, x, 2, 0, 1, 1), LLM_E_SHAPE);
    expect(&cx, op_slice(&cx, x, 0, 0, 9, 1), LLM_E_RANGE);
    expect(&cx, op_slice(&cx, x, 0, -1, 2, 1), LLM_E_RANGE);
    expect(&cx, op_slice(&cx, x, 0, 0, 2, 0), LLM_E_RANGE);
    expect(&cx, op_permute(&cx, x, bad_axes), LLM_E_SHAPE);
    expect(&cx, op_transpose(&cx, x, 0, 2), LLM_E_SHAPE);
    expect(&cx, op_transpose(&cx, NULL, 0, 1), LLM_E_INVALID);
    expect(&cx, op_concat(&cx, pair, 2, 0), LLM_E_SHAPE);
    expect(&cx, op_concat(&cx, pair, 1, 2), LLM_E_SHAPE);
    expect(&cx, op_concat(&cx, pair, 0, 0), LLM_E_RANGE);
    expect(&cx, op_concat(&cx, holed, 2, 0), LLM_E_INVALID);
    cx_free(&cx);
    tensor_release(x);
    tensor_release(flat);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_shape", tests, NULL, NULL);
}
