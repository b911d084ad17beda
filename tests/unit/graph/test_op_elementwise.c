/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct function {
    const char *name;
    llm_tensor *(*op)(struct cx *cx, llm_tensor *x);
    double (*value)(double x);
    double low, high;
};

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double relu(double x)
{
    return x > 0.0 ? x : 0.0;
}

static double gelu(double x)
{
    return 0.5 * x * erfc(-x * 0.70710678118654752440);
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1.0 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}

static double silu(double x)
{
    return x * sigmoid(x);
}

static double softplus(double x)
{
    return log1p(exp(x));
}

static double leaky(double x)
{
    return x > 0.0 ? x : 0.125 * x;
}

static llm_tensor *op_leaky(struct cx *cx, llm_tensor *x)
{
    return op_leaky_relu(cx, x, 0.125f);
}

static double affine(double x)
{
    return -1.5 * x + 0.25;
}

static llm_tensor *op_line(struct cx *cx, llm_tensor *x)
{
    return op_affine(cx, x, -1.5f, 0.25f);
}

static double cube(double x)
{
    return x * x * x;
}

static llm_tensor *op_cube(struct cx *cx, llm_tensor *x)
{
    return op_pow_scalar(cx, x, 3.0f);
}

static double square(double x)
{
    return x * x;
}

static llm_tensor *op_square(struct cx *cx, llm_tensor *x)
{
    return op_pow_scalar(cx, x, 2.0f);
}

static double inverse(double x)
{
    return 1.0 / x;
}

static llm_tensor *op_inverse(struct cx *cx, llm_tensor *x)
{
    return op_pow_scalar(cx, x, -1.0f);
}

static double root(double x)
{
    return pow(x, 0.3);
}

static llm_tensor *op_root(struct cx *cx, llm_tensor *x)
{
    return op_pow_scalar(cx, x, 0.3f);
}

static double one(double x)
{
    (void)x;
    return 1.0;
}

static llm_tensor *op_zeroth(struct cx *cx, llm_tensor *x)
{
    return op_pow_scalar(cx, x, 0.0f);
}

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    return ((const struct function *)arg)->op(cx, in[0]);
}

/* The values are needed again after they were dropped. */
static llm_tensor *run_released(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    llm_tensor *y = ((const struct function *)arg)->op(cx, in[0]);
    llm_tensor *z = op_affine(cx, y, 1.0f, 0.0f);

    cx_release(cx, y);
    return z;
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct function *function = arg;

    for (int64_t i = 0; i < count; i++)
        out[i] = function->value(in[0][i]);
}

static void test_functions(void **state)
{
    static const struct function functions[] = {
        {"abs", op_abs, fabs, -2.0, 2.0},       {"exp", op_exp, exp, -3.0, 2.0},
        {"log", op_log, log, 0.2, 5.0},         {"sqrt", op_sqrt, sqrt, 0.2, 5.0},
        {"tanh", op_tanh, tanh, -3.0, 3.0},     {"sigmoid", op_sigmoid, sigmoid, -6.0, 6.0},
        {"relu", op_relu, relu, -2.0, 2.0},     {"leaky_relu", op_leaky, leaky, -2.0, 2.0},
        {"gelu", op_gelu, gelu, -4.0, 4.0},     {"gelu_tanh", op_gelu_tanh, gelu_tanh, -4.0, 4.0},
        {"silu", op_silu, silu, -6.0, 6.0},     {"softplus", op_softplus, softplus, -6.0, 6.0},
        {"affine", op_line, affine, -2.0, 2.0}, {"x^2", op_square, square, -2.0, 2.0},
        {"x^3", op_cube, cube, -2.0, 2.0},      {"1/x", op_inverse, inverse, 0.5, 2.0},
        {"x^0.3", op_root, root, 0.2, 3.0},     {"x^0", op_zeroth, one, -1.0, 1.0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        struct gradcheck check = {.name = functions[i].name,
                                  .inputs = 1,
                                  .run = run,
                                  .reference = reference,
                                  .arg = &functions[i]};

        check.in[0] = (struct gradcheck_input){.dimensions = 3,
                                               .shape = {3, 5, 7},
                                               .low = functions[i].low,
                                               .high = functions[i].high};
        gradcheck_run(&check);
        check.in[0].dimensions = 0;
        gradcheck_run(&check);
        check.in[0].dimensions = 1;
        check.in[0].shape[0] = 0;
        gradcheck_run(&check);
        check.in[0].shape[0] = 33;
        check.run = run_released;
        if (strncmp(check.name, "x^", 2) != 0 || functions[i].op == op_square)
            gradcheck_run(&check);
    }
}

static llm_tensor *run_swiglu(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    llm_tensor *y = op_swiglu(cx, in[0], in[1]);
    llm_tensor *z = arg ? op_affine(cx, y, 1.0f, 0.0f) : y;

    if (arg)
        cx_release(cx, y);
    return z;
}

static void reference_swiglu(double *out, int64_t count, const double *const *in, const void *arg)
{
    (void)arg;
    for (int64_t i = 0; i < count; i++)
        out[i] = silu(in[0][i]) * in[1][i];
}

/* One projection holds both halves, as models do it. */
static llm_tensor *run_halves(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    (void)arg;
    return op_swiglu(cx, op_slice(cx, in[0], -1, 0, 5, 1), op_slice(cx, in[0], -1, 5, 10, 1));
}

static void reference_halves(double *out, int64_t count, const double *const *in, const void *arg)
{
    (void)arg;
    for (int64_t i = 0; i < count; i++)
        out[i] = silu(in[0][i / 5 * 10 + i % 5]) * in[0][i / 5 * 10 + 5 + i % 5];
}

static void test_swiglu(void **state)
{
    struct gradcheck check = {.name = "swiglu",
                              .inputs = 2,
                              .in = {{.dimensions = 2, .shape = {4, 19}, .low = -4.0, .high = 4.0},
                                     {.dimensions = 2, .shape = {4, 19}}},
                              .run = run_swiglu,
                              .reference = reference_swiglu};

    (void)state;
    gradcheck_run(&check);
    check.arg = "released";
    gradcheck_run(&check);
    check.in[0].is_constant = true;
    gradcheck_run(&check);
    check = (struct gradcheck){.name = "swiglu of halves",
                               .inputs = 1,
                               .in = {{.dimensions = 2, .shape = {3, 10}}},
                               .run = run_halves,
                               .reference = reference_halves};
    gradcheck_run(&check);
}

/* Large enough that threads share the work: the same bits for any number of them. */
static void test_many_elements(void **state)
{
    float *first = NULL;
    int64_t shape[1] = {100003};

    (void)state;
    for (int32_t threads = 1; threads <= 3; threads++) {
        llm_context *context = gradcheck_context(threads);
        llm_tensor *x = gradcheck_tensor(context, true, 5, 1, shape);
        struct cx cx;
        llm_tensor *y;

        assert_int_equal(cx_init(&cx, context), LLM_OK);
        cx.recording = true;
        y = op_gelu(&cx, op_tanh(&cx, x));
        assert_non_null(y);
        assert_int_equal(cx_backward_from(&cx, y, x), LLM_OK);
        for (int64_t i = 0; i < shape[0]; i += 997) {
            double want = gelu(tanh((double)tensor_f32(x)[i]));

            assert_true(fabs((double)tensor_f32(y)[i] - want) < 1e-6);
        }
        if (!first) {
            first = test_malloc((size_t)shape[0] * sizeof *first);
            memcpy(first, x->grad->data, (size_t)shape[0] * sizeof *first);
        }
        assert_memory_equal(first, x->grad->data, (size_t)shape[0] * sizeof *first);
        cx_free(&cx);
        tensor_release(x);
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
    llm_tensor *integers = NULL;
    struct cx cx;

    (void)state;
    assert_int_equal(tensor_new(&integers, context, LLM_I32, 2, shape), LLM_OK);
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    expect(&cx, op_exp(&cx, NULL), LLM_E_INVALID);
    expect(&cx, op_exp(&cx, integers), LLM_E_UNSUPPORTED);
    expect(&cx, op_affine(&cx, NULL, 1.0f, 0.0f), LLM_E_INVALID);
    expect(&cx, op_affine(&cx, integers, 1.0f, 0.0f), LLM_E_UNSUPPORTED);
    expect(&cx, op_pow_scalar(&cx, NULL, 1.5f), LLM_E_INVALID);
    expect(&cx, op_pow_scalar(&cx, integers, 1.5f), LLM_E_UNSUPPORTED);
    expect(&cx, op_swiglu(&cx, x, NULL), LLM_E_INVALID);
    expect(&cx, op_swiglu(&cx, x, flat), LLM_E_SHAPE);
    expect(&cx, op_swiglu(&cx, x, integers), LLM_E_UNSUPPORTED);
    cx_free(&cx);
    tensor_release(x);
    tensor_release(flat);
    tensor_release(integers);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions),
        cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_many_elements),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_elementwise", tests, NULL, NULL);
}
