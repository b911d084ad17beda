/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct sizes {
    int64_t rows, in, out;
    bool bias;
};

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    const struct sizes *s = arg;

    /* The weight has to be contiguous, x may be any view. */
    return op_linear(cx, in[0], cx_contiguous(cx, in[1]), s->bias ? in[2] : NULL);
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct sizes *s = arg;

    for (int64_t at = 0; at < count; at++) {
        int64_t i = at / s->out, j = at % s->out;

        out[at] = s->bias ? in[2][j] : 0.0;
        for (int64_t p = 0; p < s->in; p++)
            out[at] += in[0][i * s->in + p] * in[1][j * s->in + p];
    }
}

static void test_gradients(void **state)
{
    static const struct sizes all[] = {
        {5, 3, 4, true}, {1, 1, 1, true}, {6, 7, 2, false}, {17, 33, 3, true}, {2, 4, 70, true}};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const struct sizes *s = &all[i];
        struct gradcheck check = {.name = "linear",
                                  .inputs = s->bias ? 3 : 2,
                                  .in = {{.dimensions = 2, .shape = {s->rows, s->in}},
                                         {.dimensions = 2, .shape = {s->out, s->in}},
                                         {.dimensions = 1, .shape = {s->out}}},
                                  .run = run,
                                  .reference = reference,
                                  .arg = s};

        gradcheck_run(&check);
    }
}

static void test_leading_axes(void **state)
{
    struct sizes s = {6, 4, 5, true};
    struct gradcheck check = {.name = "linear [2,3,4]",
                              .inputs = 3,
                              .in = {{.dimensions = 3, .shape = {2, 3, 4}},
                                     {.dimensions = 2, .shape = {5, 4}},
                                     {.dimensions = 1, .shape = {5}}},
                              .run = run,
                              .reference = reference,
                              .arg = &s};

    (void)state;
    gradcheck_run(&check);
    check.in[0] = (struct gradcheck_input){.dimensions = 1, .shape = {4}};
    s.rows = 1;
    gradcheck_run(&check);
}

/* 16-bit weights are rounded, then exact; the input's gradient flows through them. */
static void test_half_weights(void **state)
{
    static const int32_t dtypes[] = {LLM_F16, LLM_BF16};
    llm_context *context = gradcheck_context(2);
    int64_t weight_shape[2] = {5, 7};
    int64_t x_shape[2] = {3, 7};

    (void)state;
    for (size_t d = 0; d < 2; d++) {
        llm_tensor *exact = gradcheck_tensor(context, false, 3, 2, weight_shape);
        llm_tensor *x = gradcheck_tensor(context, true, 4, 2, x_shape);
        llm_tensor *half = NULL, *y, *wide, *total;
        struct cx cx;

        assert_int_equal(tensor_new(&half, context, dtypes[d], 2, weight_shape), LLM_OK);
        assert_int_equal(tensor_copy(half, exact), LLM_OK);
        assert_int_equal(tensor_copy(exact, half), LLM_OK); /* rounded */
        assert_int_equal(cx_init(&cx, context), LLM_OK);
        cx.recording = true;
        y = op_linear(&cx, x, half, NULL);
        assert_non_null(y);
        assert_int_equal(cx_backward_from(&cx, y, y), LLM_OK);
        wide = op_linear(&cx, x, exact, NULL);
        assert_non_null(wide);
        for (int64_t i = 0; i < tensor_count(y); i++)
            assert_true(fabsf(tensor_f32(y)[i] - tensor_f32(wide)[i]) < 1e-5f);
        total = op_matmul(&cx, y, exact, false, false); /* dx = dy W with dy = y */
        for (int64_t i = 0; i < tensor_count(x); i++)
            assert_true(fabsf(tensor_f32(x->grad)[i] - tensor_f32(total)[i]) < 1e-5f);
        cx_free(&cx);
        tensor_release(exact);
        tensor_release(half);
        tensor_release(x);
    }
    llm_context_free(context);
}

static void expect_failure(struct cx *cx, llm_status status, llm_tensor *x, llm_tensor *weight,
                           llm_tensor *bias)
{
    assert_null(op_linear(cx, x, weight, bias));
    assert_int_equal(cx_status(cx), status);
    cx_reset(cx);
}

static void test_misuse(void **state)
{
    llm_context *context = gradcheck_context(1);
    int64_t shape[2] = {3, 4};
    llm_tensor *x = gradcheck_tensor(context, false, 1, 2, shape);
    llm_tensor *bias = gradcheck_tensor(context, false, 1, 1, &shape[1]);
    llm_tensor *scalar = gradcheck_tensor(context, false, 1, 0, shape);
    llm_tensor *integers = NULL;
    struct cx cx;

    (void)state;
    assert_int_equal(tensor_new(&integers, context, LLM_I32, 2, shape), LLM_OK);
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    expect_failure(&cx, LLM_E_INVALID, NULL, x, NULL);
    expect_failure(&cx, LLM_E_INVALID, x, NULL, bias);
    expect_failure(&cx, LLM_E_SHAPE, x, bias, NULL);
    expect_failure(&cx, LLM_E_SHAPE, bias, scalar, NULL);
    expect_failure(&cx, LLM_E_SHAPE, scalar, x, NULL);
    expect_failure(&cx, LLM_E_SHAPE, x, x, bias); /* bias of 4, 3 outputs */
    expect_failure(&cx, LLM_E_UNSUPPORTED, integers, x, NULL);
    expect_failure(&cx, LLM_E_UNSUPPORTED, x, integers, NULL);
    expect_failure(&cx, LLM_E_SHAPE, x, op_transpose(&cx, x, 0, 1), NULL);
    cx_free(&cx);
    tensor_release(x);
    tensor_release(bias);
    tensor_release(scalar);
    tensor_release(integers);
    llm_context_free(context);
}

/* The bits of a product depend on how many rows run together: one that is computed again in the
 * backward pass must choose as it did when it was recorded. */
static void test_recomputed_bits(void **state)
{
    static const int64_t shape[2] = {54, 24};
    llm_context *context = gradcheck_context(1);
    llm_tensor *x, *w;
    struct cx cx;

    (void)state;
    assert_int_equal(tensor_new(&x, context, LLM_F32, 2, shape), LLM_OK);
    assert_int_equal(tensor_new(&w, context, LLM_F32, 2, (int64_t[]){36, 24}), LLM_OK);
    for (int64_t i = 0; i < tensor_count(x); i++)
        tensor_f32(x)[i] = sinf((float)i);
    for (int64_t i = 0; i < tensor_count(w); i++)
        tensor_f32(w)[i] = cosf((float)i);
    w->requires_grad = true;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    cx.recording = true;
    {
        llm_tensor *y = op_linear(&cx, x, w, NULL);
        size_t bytes = (size_t)tensor_count(y) * sizeof(float);
        float *kept = malloc(bytes);

        assert_non_null(kept);
        memcpy(kept, y->data, bytes);
        cx_release(&cx, y);
        assert_null(y->data);
        cx.recording = false; /* as during the backward pass */
        assert_memory_equal(kept, cx_values(&cx, y), bytes);
        free(kept);
    }
    cx_free(&cx);
    tensor_release(x);
    tensor_release(w);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),    cmocka_unit_test(test_leading_axes),
        cmocka_unit_test(test_half_weights), cmocka_unit_test(test_recomputed_bits),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_linear", tests, NULL, NULL);
}
