/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 7, WIDTH = 5, CLASSES = 9 };
static const int32_t targets[ROWS] = {3, 0, -100, 8, 3, 7, -100};

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    return op_linear_cross_entropy(cx, in[0], in[1], targets, arg);
}

/* The loss is not the last step: its gradient is not 1. */
static llm_tensor *run_scaled(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    return op_affine(cx, run(cx, in, arg), -2.5f, 0.0f);
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct cross_entropy_options *options = arg;
    double e = (double)options->label_smoothing, total = 0.0, counted = 0.0;

    (void)count;
    for (int i = 0; i < ROWS; i++) {
        double logits[CLASSES] = {0}, sum = 0.0, loss = 0.0;

        for (int v = 0; v < CLASSES; v++) {
            for (int j = 0; j < WIDTH; j++)
                logits[v] += in[0][i * WIDTH + j] * in[1][v * WIDTH + j];
            sum += exp(logits[v]);
        }
        for (int v = 0; v < CLASSES && targets[i] != options->ignore_index; v++)
            loss -= ((v == targets[i] ? 1.0 - e : 0.0) + e / CLASSES) * (logits[v] - log(sum));
        if (options->reduction == REDUCE_NONE)
            out[i] = loss;
        total += loss;
        counted += targets[i] == options->ignore_index ? 0.0 : 1.0;
    }
    if (options->reduction != REDUCE_NONE)
        out[0] = options->reduction == REDUCE_MEAN ? total / counted : total;
}

static void reference_scaled(double *out, int64_t count, const double *const *in, const void *arg)
{
    reference(out, count, in, arg);
    for (int64_t i = 0; i < count; i++)
        out[i] *= -2.5;
}

static void test_gradients(void **state)
{
    (void)state;
    for (int32_t reduction = REDUCE_NONE; reduction <= REDUCE_SUM; reduction++) {
        struct cross_entropy_options options = {-100, reduction == REDUCE_SUM ? 0.1f : 0.0f,
                                                reduction};
        struct gradcheck check = {
            .name = "linear_cross_entropy",
            .inputs = 2,
            .in = {{.dimensions = 2, .shape = {ROWS, WIDTH}, .low = -2.0, .high = 2.0},
                   {.dimensions = 2, .shape = {CLASSES, WIDTH}, .no_view = true}},
            .run = run,
            .reference = reference,
            .arg = &options};

        gradcheck_run(&check);
        check.in[0].is_constant = true;
        gradcheck_run(&check);
        check.in[0].is_constant = false;
        check.in[1].is_constant = true;
        gradcheck_run(&check);
        check.in[1].is_constant = false;
        check.run = run_scaled;
        check.reference = reference_scaled;
        gradcheck_run(&check);
    }
}

/* Enough classes for several chunks: the same as the two ops one after the other. */
static void test_chunks(void **state)
{
    enum { N = 300, D = 8, V = 100000 }; /* 167 rows in a chunk of 2^24 logits: two chunks */
    static const int64_t x_shape[2] = {N, D}, weight_shape[2] = {V, D};
    int32_t *chosen = test_malloc(N * sizeof *chosen);
    float *bits = NULL;

    (void)state;
    for (int i = 0; i < N; i++)
        chosen[i] = i % 7 == 3 ? -100 : i * 331 % V;
    for (int32_t threads = 1; threads <= 2; threads++) {
        llm_context *context = gradcheck_context(threads);
        llm_tensor *x = gradcheck_tensor(context, true, 5, 2, x_shape);
        llm_tensor *weight = gradcheck_tensor(context, true, 6, 2, weight_shape);
        struct cx cx;
        llm_tensor *fused, *plain;
        float *gradient = test_malloc(sizeof(float) * (N + V) * D);

        assert_int_equal(cx_init(&cx, context), LLM_OK);
        cx.recording = true;
        fused = op_linear_cross_entropy(&cx, x, weight, chosen, NULL);
        assert_int_equal(cx_backward(&cx, fused, 1.0f), LLM_OK);
        memcpy(gradient, x->grad->data, sizeof(float) * N * D);
        memcpy(gradient + N * D, weight->grad->data, sizeof(float) * V * D);
        if (threads == 1) {
            plain = op_cross_entropy(&cx, op_linear(&cx, x, weight, NULL), chosen, NULL);
            assert_non_null(plain);
            assert_true(fabsf(tensor_f32(plain)[0] - tensor_f32(fused)[0]) < 1e-5f);
            tensor_zero(x->grad);
            tensor_zero(weight->grad);
            assert_int_equal(cx_backward(&cx, plain, 1.0f), LLM_OK);
            for (int i = 0; i < N * D; i++)
                assert_true(fabsf(tensor_f32(x->grad)[i] - gradient[i]) < 1e-8f);
            for (int i = 0; i < V * D; i++)
                assert_true(fabsf(tensor_f32(weight->grad)[i] - gradient[N * D + i]) < 1e-8f);
            bits = gradient;
        } else {
            assert_memory_equal(gradient, bits, sizeof(float) * (N + V) * D);
            test_free(gradient);
        }
        cx_free(&cx);
        tensor_release(x);
        tensor_release(weight);
        llm_context_free(context);
    }
    test_free(bits);
    test_free(chosen);
}

static void test_half_weight(void **state)
{
    static const int64_t x_shape[2] = {ROWS, WIDTH}, weight_shape[2] = {CLASSES, WIDTH};
    llm_context *context = gradcheck_context(1);
    llm_tensor *x = gradcheck_tensor(context, true, 5, 2, x_shape);
    llm_tensor *exact = gradcheck_tensor(context, false, 6, 2, weight_shape);
    llm_tensor *half = NULL;
    struct cx cx;
    llm_tensor *y, *wide;
    float first[ROWS * WIDTH];

    (void)state;
    assert_int_equal(tensor_new(&half, context, LLM_BF16, 2, weight_shape), LLM_OK);
    assert_int_equal(tensor_copy(half, exact), LLM_OK);
    assert_int_equal(tensor_copy(exact, half), LLM_OK);
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    cx.recording = true;
    y = op_linear_cross_entropy(&cx, x, half, targets, NULL);
    assert_int_equal(cx_backward(&cx, y, 1.0f), LLM_OK);
    memcpy(first, x->grad->data, sizeof first);
    tensor_zero(x->grad);
    wide = op_linear_cross_entropy(&cx, x, exact, targets, NULL);
    assert_int_equal(cx_backward(&cx, wide, 1.0f), LLM_OK);
    assert_true(fabsf(tensor_f32(y)[0] - tensor_f32(wide)[0]) < 1e-5f);
    for (int i = 0; i < ROWS * WIDTH; i++)
        assert_true(fabsf(first[i] - tensor_f32(x->grad)[i]) < 1e-5f);
    cx_free(&cx);
    tensor_release(x);
    tensor_release(exact);
    tensor_release(half);
    llm_context_free(context);
}

/* No rows: no gradient arrives, none is garbage. */
static void test_empty(void **state)
{
    static const int64_t x_shape[2] = {0, WIDTH}, weight_shape[2] = {CLASSES, WIDTH};
    struct cross_entropy_options sum = {-100, 0.0f, REDUCE_SUM};
    llm_context *context = gradcheck_context(1);
    llm_tensor *x = gradcheck_tensor(context, true, 5, 2, x_shape);
    llm_tensor *weight = gradcheck_tensor(context, true, 6, 2, weight_shape);
    struct cx cx;
    llm_tensor *y;

    (void)state;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    cx.recording = true;
    y = op_linear_cross_entropy(&cx, x, weight, targets, &sum);
    assert_int_equal(cx_backward(&cx, y, 1.0f), LLM_OK);
    assert_true(tensor_f32(y)[0] == 0.0f);
    for (int i = 0; i < CLASSES * WIDTH; i++)
        assert_true(tensor_f32(weight->grad)[i] == 0.0f);
    cx_free(&cx);
    tensor_release(x);
    tensor_release(weight);
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
    static const struct cross_entropy_options bad = {-100, -0.5f, REDUCE_MEAN};
    llm_context *context = gradcheck_context(1);
    int64_t shape[2] = {2, 3};
    llm_tensor *x = gradcheck_tensor(context, false, 1, 2, shape);
    llm_tensor *flat = gradcheck_tensor(context, false, 1, 1, shape);
    llm_tensor *integers = NULL;
    struct cx cx;

    (void)state;
    assert_int_equal(tensor_new(&integers, context, LLM_I32, 2, shape), LLM_OK);
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    expect(&cx, op_linear_cross_entropy(&cx, x, x, (const int32_t[]){0, 2}, NULL), LLM_E_RANGE);
    expect(&cx, op_linear_cross_entropy(&cx, x, x, NULL, NULL), LLM_E_INVALID);
    expect(&cx, op_linear_cross_entropy(&cx, x, flat, targets, NULL), LLM_E_SHAPE);
    expect(&cx, op_linear_cross_entropy(&cx, x, integers, targets, NULL), LLM_E_UNSUPPORTED);
    expect(&cx, op_linear_cross_entropy(&cx, x, x, targets, &bad), LLM_E_RANGE);
    expect(&cx, op_linear_cross_entropy(&cx, NULL, x, targets, NULL), LLM_E_INVALID);
    cx_free(&cx);
    tensor_release(x);
    tensor_release(flat);
    tensor_release(integers);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),   cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_half_weight), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_linear_cross_entropy", tests, NULL, NULL);
}
