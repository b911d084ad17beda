/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const int32_t ids[] = {3, 0, 3, 4, 3, 1, 0};
enum { COUNT = sizeof ids / sizeof ids[0], WIDTH = 21 };

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    llm_tensor *y = op_embedding(cx, in[0], ids, COUNT);
    llm_tensor *z = op_affine(cx, y, 1.0f, 0.0f);

    if (arg)
        cx_release(cx, y);
    return arg ? z : y;
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    (void)arg;
    for (int64_t i = 0; i < count; i++)
        out[i] = in[0][ids[i / WIDTH] * WIDTH + i % WIDTH];
}

/* A tied table: embedded and multiplied with, so two gradients meet in it. */
static llm_tensor *run_tied(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    (void)arg;
    return op_linear(cx, op_embedding(cx, in[0], ids, COUNT), in[0], NULL);
}

static void reference_tied(double *out, int64_t count, const double *const *in, const void *arg)
{
    (void)arg;
    for (int64_t at = 0; at < count; at++) {
        out[at] = 0.0;
        for (int64_t j = 0; j < WIDTH; j++)
            out[at] += in[0][ids[at / 5] * WIDTH + j] * in[0][at % 5 * WIDTH + j];
    }
}

static void test_gradients(void **state)
{
    struct gradcheck check = {.name = "embedding",
                              .inputs = 1,
                              .in = {{.dimensions = 2, .shape = {5, WIDTH}}},
                              .run = run,
                              .reference = reference};

    (void)state;
    gradcheck_run(&check);
    check.arg = "released";
    gradcheck_run(&check);
    check.name = "tied embedding";
    check.run = run_tied;
    check.reference = reference_tied;
    check.in[0].no_view = true; /* linear wants its weight contiguous */
    gradcheck_run(&check);
}

static void test_half_table(void **state)
{
    static const int32_t dtypes[] = {LLM_F16, LLM_BF16};
    llm_context *context = gradcheck_context(2);
    int64_t shape[2] = {5, WIDTH};

    (void)state;
    for (int d = 0; d < 2; d++) {
        llm_tensor *exact = gradcheck_tensor(context, false, 3, 2, shape);
        llm_tensor *half = NULL;
        struct cx cx;
        llm_tensor *y;

        assert_int_equal(tensor_new(&half, context, dtypes[d], 2, shape), LLM_OK);
        assert_int_equal(tensor_copy(half, exact), LLM_OK);
        assert_int_equal(tensor_copy(exact, half), LLM_OK); /* rounded */
        assert_int_equal(cx_init(&cx, context), LLM_OK);
        y = op_embedding(&cx, half, ids, COUNT);
        assert_non_null(y);
        for (int i = 0; i < COUNT; i++)
            assert_memory_equal(tensor_f32(y) + i * WIDTH, tensor_f32(exact) + ids[i] * WIDTH,
                                WIDTH * sizeof(float));
        cx_free(&cx);
        tensor_release(exact);
        tensor_release(half);
    }
    llm_context_free(context);
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
    llm_tensor *x = gradcheck_tensor(context, false, 1, 2, shape);
    llm_tensor *flat = gradcheck_tensor(context, false, 1, 1, shape);
    llm_tensor *integers = NULL;
    struct cx cx;

    (void)state;
    assert_int_equal(tensor_new(&integers, context, LLM_I32, 2, shape), LLM_OK);
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    expect(&cx, op_embedding(&cx, x, (const int32_t[]){0, 3}, 2), LLM_E_RANGE);
    expect(&cx, op_embedding(&cx, x, (const int32_t[]){-1}, 1), LLM_E_RANGE);
    expect(&cx, op_embedding(&cx, NULL, ids, 1), LLM_E_INVALID);
    expect(&cx, op_embedding(&cx, x, NULL, 1), LLM_E_SHAPE);
    expect(&cx, op_embedding(&cx, x, ids, -1), LLM_E_SHAPE);
    expect(&cx, op_embedding(&cx, flat, ids, 1), LLM_E_SHAPE);
    expect(&cx, op_embedding(&cx, integers, ids, 1), LLM_E_UNSUPPORTED);
    assert_non_null(op_embedding(&cx, x, NULL, 0));
    cx_free(&cx);
    tensor_release(x);
    tensor_release(flat);
    tensor_release(integers);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_half_table),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_embedding", tests, NULL, NULL);
}
