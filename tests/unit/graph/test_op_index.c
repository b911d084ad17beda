/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* x [3,4,2], index [2,5,2] along axis 1; repeated positions, smaller than x along axis 0. */
static const int32_t index32[20] = {3, 0, 1, 1, 0, 0, 3, 3, 3, 2, 2, 2, 1, 0, 0, 1, 2, 3, 3, 0};
static const int64_t index64[3] = {2, 0, 2};
static const int32_t row_index[5] = {2, 0, 2, 1, 2};

static llm_tensor *index_tensor(struct cx *cx, const void *values, int32_t dtype,
                                int32_t dimensions, const int64_t *shape)
{
    llm_tensor *index = cx_output(cx, dtype, dimensions, shape);

    if (index)
        memcpy(index->data, values, (size_t)tensor_count(index) * (dtype == LLM_I32 ? 4 : 8));
    return index;
}

static llm_tensor *run_gather(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    static const int64_t shape[3] = {2, 5, 2};

    (void)arg;
    return op_gather(cx, in[0], -2, index_tensor(cx, index32, LLM_I32, 3, shape));
}

static void reference_gather(double *out, int64_t count, const double *const *in, const void *arg)
{
    (void)count;
    (void)arg;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 5; j++)
            for (int k = 0; k < 2; k++) {
                int at = i * 10 + j * 2 + k;

                out[at] = in[0][i * 8 + index32[at] * 2 + k];
            }
}

static llm_tensor *run_scatter(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    static const int64_t shape[3] = {2, 5, 2};

    (void)arg;
    return op_scatter_add(cx, in[0], 1, index_tensor(cx, index32, LLM_I32, 3, shape), in[1]);
}

/* source [3,6,2]: larger than the index */
static void reference_scatter(double *out, int64_t count, const double *const *in, const void *arg)
{
    (void)arg;
    memcpy(out, in[0], (size_t)count * sizeof *out);
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 5; j++)
            for (int k = 0; k < 2; k++)
                out[i * 8 + index32[i * 10 + j * 2 + k] * 2 + k] += in[1][i * 12 + j * 2 + k];
}

static llm_tensor *run_gather_1d(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    static const int64_t three = 3;

    (void)arg;
    return op_gather(cx, in[0], 0, index_tensor(cx, index64, LLM_I64, 1, &three));
}

static void reference_gather_1d(double *out, int64_t count, const double *const *in,
                                const void *arg)
{
    (void)arg;
    for (int64_t i = 0; i < count; i++)
        out[i] = in[0][index64[i]];
}

static llm_tensor *run_rows(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    (void)arg;
    return op_select_rows(cx, in[0], row_index, 5);
}

static void reference_rows(double *out, int64_t count, const double *const *in, const void *arg)
{
    int64_t n = *(const int64_t *)arg;

    for (int64_t i = 0; i < count; i++)
        out[i] = in[0][row_index[i / n] * n + i % n];
}

static void test_gradients(void **state)
{
    static const int64_t widths[] = {4, 6, 700};
    const struct gradcheck checks[] = {
        {.name = "gather",
         .inputs = 1,
         .in = {{.dimensions = 3, .shape = {3, 4, 2}}},
         .run = run_gather,
         .reference = reference_gather},
        {.name = "gather 1d",
         .inputs = 1,
         .in = {{.dimensions = 1, .shape = {3}}},
         .run = run_gather_1d,
         .reference = reference_gather_1d},
        {.name = "scatter_add",
         .inputs = 2,
         .in = {{.dimensions = 3, .shape = {3, 4, 2}}, {.dimensions = 3, .shape = {3, 6, 2}}},
         .run = run_scatter,
         .reference = reference_scatter},
        {.name = "select_rows",
         .inputs = 1,
         .in = {{.dimensions = 2, .shape = {3, 4}}},
         .run = run_rows,
         .reference = reference_rows,
         .arg = &widths[0]},
        {.name = "select_rows 3d",
         .inputs = 1,
         .in = {{.dimensions = 3, .shape = {3, 2, 3}}},
         .run = run_rows,
         .reference = reference_rows,
         .arg = &widths[1]},
    };

    (void)state;
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        gradcheck_run(&checks[i]);
}

/* Enough work for threads: the bits stay the same although positions repeat. */
static void test_threads(void **state)
{
    enum { ROWS = 50, WIDTH = 300, PICKS = 400 };
    static float first[ROWS * WIDTH];
    int64_t shape[2] = {ROWS, WIDTH};
    int32_t picks[PICKS];

    (void)state;
    for (int i = 0; i < PICKS; i++)
        picks[i] = i * 7 % 13;
    for (int threads = 1; threads <= 3; threads++) {
        llm_context *context = gradcheck_context(threads);
        llm_tensor *x = gradcheck_tensor(context, true, 5, 2, shape);
        struct cx cx;
        llm_tensor *y;

        assert_int_equal(cx_init(&cx, context), LLM_OK);
        cx.recording = true;
        y = op_select_rows(&cx, x, picks, PICKS);
        assert_non_null(y);
        for (int64_t i = 0; i < PICKS * WIDTH; i++)
            assert_true(tensor_f32(y)[i] == tensor_f32(x)[picks[i / WIDTH] * WIDTH + i % WIDTH]);
        assert_int_equal(cx_backward_from(&cx, y, y), LLM_OK);
        if (threads == 1)
            memcpy(first, x->grad->data, sizeof first);
        else
            assert_memory_equal(first, x->grad->data, sizeof first);
        cx_free(&cx);
        tensor_release(x);
        llm_context_free(context);
    }
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
    static const int32_t outside[2] = {0, 3};
    static const int32_t negative[2] = {-1, 0};
    llm_context *context = gradcheck_context(1);
    int64_t shape[2] = {3, 2};
    int64_t two = 2;
    llm_tensor *x = gradcheck_tensor(context, true, 1, 2, shape);
    llm_tensor *flat = gradcheck_tensor(context, true, 1, 1, shape);
    llm_tensor *bad = NULL, *tall = NULL;
    struct cx cx;

    (void)state;
    assert_int_equal(tensor_new(&bad, context, LLM_I32, 1, &two), LLM_OK);
    assert_int_equal(tensor_new_zeroed(&tall, context, LLM_I64, 2, (int64_t[2]){1, 5}), LLM_OK);
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    memcpy(bad->data, outside, sizeof outside);
    expect(&cx, op_gather(&cx, flat, 0, bad), LLM_E_RANGE);
    memcpy(bad->data, negative, sizeof negative);
    expect(&cx, op_gather(&cx, flat, 0, bad), LLM_E_RANGE);
    expect(&cx, op_gather(&cx, x, 0, bad), LLM_E_SHAPE);
    expect(&cx, op_gather(&cx, x, 2, tall), LLM_E_SHAPE);
    expect(&cx, op_gather(&cx, x, 0, tall), LLM_E_SHAPE);
    expect(&cx, op_gather(&cx, x, 0, x), LLM_E_UNSUPPORTED);
    expect(&cx, op_gather(&cx, NULL, 0, bad), LLM_E_INVALID);
    expect(&cx, op_gather(&cx, x, 0, NULL), LLM_E_INVALID);
    expect(&cx, op_scatter_add(&cx, x, 1, tall, x), LLM_E_SHAPE);
    expect(&cx, op_scatter_add(&cx, x, 1, tall, tall), LLM_E_UNSUPPORTED);
    expect(&cx, op_scatter_add(&cx, x, 1, tall, NULL), LLM_E_INVALID);
    expect(&cx, op_select_rows(&cx, x, outside, 2), LLM_E_RANGE);
    expect(&cx, op_select_rows(&cx, x, negative, 2), LLM_E_RANGE);
    expect(&cx, op_select_rows(&cx, x, NULL, 2), LLM_E_INVALID);
    expect(&cx, op_select_rows(&cx, x, outside, -1), LLM_E_INVALID);
    assert_non_null(op_select_rows(&cx, x, NULL, 0));
    cx_free(&cx);
    tensor_release(x);
    tensor_release(flat);
    tensor_release(bad);
    tensor_release(tall);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_index", tests, NULL, NULL);
}
