/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct norm_case {
    bool is_layer_norm, has_weight, has_bias;
    int64_t n;
    double offset;
};

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    const struct norm_case *c = arg;
    llm_tensor *weight = c->has_weight ? in[1] : NULL;
    llm_tensor *bias = c->has_bias ? in[c->has_weight ? 2 : 1] : NULL;

    if (c->is_layer_norm)
        return op_layer_norm(cx, in[0], weight, bias, 1e-3f);
    return op_rms_norm(cx, in[0], weight, 1e-3f, (float)c->offset);
}

static llm_tensor *run_released(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    llm_tensor *y = run(cx, in, arg);
    llm_tensor *z = op_tanh(cx, y);

    cx_release(cx, z);
    cx_release(cx, y);
    return op_affine(cx, z, 1.0f, 0.0f);
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct norm_case *c = arg;
    const double *bias = c->has_bias ? in[c->has_weight ? 2 : 1] : NULL;
    double n = (double)c->n;

    for (int64_t at = 0; at < count; at += c->n) {
        double mean = 0.0, variance = 0.0;

        for (int64_t i = at; i < at + c->n && c->is_layer_norm; i++)
            mean += in[0][i] / n;
        for (int64_t i = at; i < at + c->n; i++)
            variance += (in[0][i] - mean) * (in[0][i] - mean) / n;
        for (int64_t i = at; i < at + c->n; i++) {
            double w = c->has_weight ? in[1][i - at] + c->offset : 1.0;

            out[i] = (in[0][i] - mean) / sqrt(variance + (double)1e-3f) * w;
            out[i] += bias ? bias[i - at] : 0.0;
        }
    }
}

static void reference_released(double *out, int64_t count, const double *const *in, const void *arg)
{
    reference(out, count, in, arg);
    for (int64_t i = 0; i < count; i++)
        out[i] = tanh(out[i]);
}

static void test_gradients(void **state)
{
    static const struct norm_case cases[] = {
        {true, true, true, 9, 0.0},    {true, true, false, 9, 0.0}, {true, false, true, 9, 0.0},
        {true, false, false, 9, 0.0},  {true, true, true, 2, 0.0},  {false, true, false, 9, 0.0},
        {false, false, false, 9, 0.0}, {false, true, false, 9, 1.0}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct norm_case *c = &cases[i];
        struct gradcheck check = {.name = c->is_layer_norm ? "layer_norm" : "rms_norm",
                                  .inputs = 1 + c->has_weight + c->has_bias,
                                  .run = run,
                                  .reference = reference,
                                  .arg = c,
                                  .tolerance = c->n < 4 ? 1e-3 : 5e-5};

        check.in[0] = (struct gradcheck_input){.dimensions = 3, .shape = {2, 20, c->n}};
        check.in[1] = check.in[2] = (struct gradcheck_input){.dimensions = 1, .shape = {c->n}};
        gradcheck_run(&check);
        check.in[0].is_constant = true;
        if (check.inputs > 1)
            gradcheck_run(&check);
        check.in[0].is_constant = false;
        check.in[1].is_constant = true;
        gradcheck_run(&check);
        check.run = run_released;
        check.reference = reference_released;
        gradcheck_run(&check);
    }
}

/* More rows than chunks: the sums over rows keep their order for any number of threads. */
static void test_many_rows(void **state)
{
    static const int64_t shape[2] = {1000, 48};
    float *first = NULL;

    (void)state;
    for (int32_t threads = 1; threads <= 3; threads++) {
        llm_context *context = gradcheck_context(threads);
        llm_tensor *x = gradcheck_tensor(context, true, 5, 2, shape);
        llm_tensor *weight = gradcheck_tensor(context, true, 6, 1, shape + 1);
        struct cx cx;
        llm_tensor *y;

        assert_int_equal(cx_init(&cx, context), LLM_OK);
        cx.recording = true;
        y = op_rms_norm(&cx, op_layer_norm(&cx, x, weight, NULL, 1e-5f), weight, 1e-5f, 1.0f);
        assert_non_null(y);
        assert_int_equal(cx_backward_from(&cx, y, x), LLM_OK);
        if (!first) {
            first = test_malloc(sizeof(float) * 49 * 1000);
            memcpy(first, x->grad->data, sizeof(float) * 48000);
            memcpy(first + 48000, weight->grad->data, sizeof(float) * 48);
        }
        assert_memory_equal(first, x->grad->data, sizeof(float) * 48000);
        assert_memory_equal(first + 48000, weight->grad->data, sizeof(float) * 48);
        cx_free(&cx);
        tensor_release(x);
        tensor_release(weight);
        llm_context_free(context);
    }
    test_free(first);
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
    llm_tensor *scalar = gradcheck_tensor(context, false, 1, 0, shape);
    llm_tensor *integers = NULL;
    struct cx cx;

    (void)state;
    assert_int_equal(tensor_new(&integers, context, LLM_I32, 1, shape + 1), LLM_OK);
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    expect(&cx, op_layer_norm(&cx, NULL, NULL, NULL, 1e-5f), LLM_E_INVALID);
    expect(&cx, op_layer_norm(&cx, x, flat, NULL, 1e-5f), LLM_E_SHAPE);
    expect(&cx, op_layer_norm(&cx, x, NULL, x, 1e-5f), LLM_E_SHAPE);
    expect(&cx, op_layer_norm(&cx, x, integers, NULL, 1e-5f), LLM_E_UNSUPPORTED);
    expect(&cx, op_rms_norm(&cx, scalar, NULL, 1e-5f, 0.0f), LLM_E_SHAPE);
    expect(&cx, op_rms_norm(&cx, x, flat, 1e-5f, 0.0f), LLM_E_SHAPE);
    cx_free(&cx);
    tensor_release(x);
    tensor_release(flat);
    tensor_release(scalar);
    tensor_release(integers);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_norm", tests, NULL, NULL);
}
