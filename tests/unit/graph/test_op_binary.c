/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct binary_case {
    const char *name;
    llm_tensor *(*op)(struct cx *cx, llm_tensor *a, llm_tensor *b);
    double (*value)(double a, double b);
    double low, high;
    struct gradcheck_input a, b; /* shapes, for the reference */
};

static double add(double a, double b)
{
    return a + b;
}

static double sub(double a, double b)
{
    return a - b;
}

static double mul(double a, double b)
{
    return a * b;
}

static double divide(double a, double b)
{
    return a / b;
}

/* The element of x under position `at` of a result with the given shape. */
static double under(const struct gradcheck_input *x, const double *values, const int64_t *shape,
                    int32_t dimensions, int64_t at)
{
    int64_t offset = 0;
    int64_t step = 1;

    for (int32_t i = dimensions - 1; i >= 0; i--) {
        int64_t index = at % shape[i];
        int32_t own = i - (dimensions - x->dimensions);

        at /= shape[i];
        if (own < 0)
            continue;
        offset += x->shape[own] == 1 ? 0 : index * step;
        step *= x->shape[own];
    }
    return values[offset];
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct binary_case *c = arg;
    int64_t shape[LLM_MAX_DIMENSIONS];
    int32_t n = c->a.dimensions > c->b.dimensions ? c->a.dimensions : c->b.dimensions;

    for (int32_t i = 0; i < n; i++) {
        int32_t in_a = i - (n - c->a.dimensions), in_b = i - (n - c->b.dimensions);
        int64_t size_a = in_a < 0 ? 1 : c->a.shape[in_a];

        shape[i] = size_a == 1 && in_b >= 0 ? c->b.shape[in_b] : size_a;
    }
    for (int64_t at = 0; at < count; at++)
        out[at] = c->value(under(&c->a, in[0], shape, n, at), under(&c->b, in[1], shape, n, at));
}

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    return ((const struct binary_case *)arg)->op(cx, in[0], in[1]);
}

/* Wanted again after they were dropped. */
static llm_tensor *run_released(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    llm_tensor *y = ((const struct binary_case *)arg)->op(cx, in[0], in[1]);
    llm_tensor *z = op_tanh(cx, y);

    cx_release(cx, z);
    cx_release(cx, y);
    return op_affine(cx, z, 1.0f, 0.0f);
}

static void reference_released(double *out, int64_t count, const double *const *in, const void *arg)
{
    reference(out, count, in, arg);
    for (int64_t i = 0; i < count; i++)
        out[i] = tanh(out[i]);
}

static const struct gradcheck_input shapes[][2] = {
    {{.dimensions = 2, .shape = {5, 7}}, {.dimensions = 2, .shape = {5, 7}}},
    {{.dimensions = 2, .shape = {5, 7}}, {.dimensions = 1, .shape = {7}}},
    {{.dimensions = 2, .shape = {5, 7}}, {.dimensions = 2, .shape = {5, 1}}},
    {{.dimensions = 2, .shape = {5, 7}}, {.dimensions = 0}},
    {{.dimensions = 0}, {.dimensions = 0}},
    {{.dimensions = 2, .shape = {5, 1}}, {.dimensions = 2, .shape = {1, 7}}},
    {{.dimensions = 3, .shape = {2, 1, 4}}, {.dimensions = 2, .shape = {3, 1}}},
    {{.dimensions = 3, .shape = {2, 3, 4}}, {.dimensions = 3, .shape = {2, 1, 4}}},
    {{.dimensions = 4, .shape = {2, 1, 3, 1}}, {.dimensions = 3, .shape = {4, 1, 2}}},
    {{.dimensions = 1, .shape = {3}}, {.dimensions = 2, .shape = {1, 3}}},
    {{.dimensions = 3, .shape = {1, 1, 1}}, {.dimensions = 1, .shape = {1}}},
    {{.dimensions = 2, .shape = {0, 3}}, {.dimensions = 1, .shape = {3}}},
    {{.dimensions = 2, .shape = {3, 0}}, {.dimensions = 2, .shape = {3, 1}}},
};

static void test_broadcasting(void **state)
{
    static const struct binary_case cases[] = {
        {"add", op_add, add, -1.0, 1.0, {0}, {0}}, {"sub", op_sub, sub, -1.0, 1.0, {0}, {0}},
        {"mul", op_mul, mul, -1.0, 1.0, {0}, {0}}, {"div", op_div, divide, 0.5, 2.0, {0}, {0}},
        {"pow", op_pow, pow, 0.5, 2.0, {0}, {0}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            for (int order = 0; order < 2; order++) {
                struct binary_case c = cases[i];
                struct gradcheck check = {.name = c.name, .inputs = 2, .run = run, .arg = &c};

                c.a = shapes[s][order];
                c.b = shapes[s][1 - order];
                c.a.low = c.b.low = c.low;
                c.a.high = c.b.high = c.high;
                check.in[0] = c.a;
                check.in[1] = c.b;
                check.reference = reference;
                gradcheck_run(&check);
                check.in[order].is_constant = true;
                gradcheck_run(&check);
            }
        }
    }
}

static void test_recompute(void **state)
{
    struct binary_case c = {"div", op_div, divide, 0.5, 2.0, shapes[1][0], shapes[1][1]};
    struct gradcheck check = {.name = "div, released",
                              .inputs = 2,
                              .in = {shapes[1][0], shapes[1][1]},
                              .run = run_released,
                              .reference = reference_released,
                              .arg = &c};

    (void)state;
    check.in[0].low = check.in[1].low = 0.5;
    check.in[0].high = check.in[1].high = 2.0;
    gradcheck_run(&check);
}

static llm_tensor *run_same(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    (void)arg;
    return op_mul(cx, op_add(cx, in[0], in[0]), in[0]);
}

static void reference_same(double *out, int64_t count, const double *const *in, const void *arg)
{
    (void)arg;
    for (int64_t i = 0; i < count; i++)
        out[i] = 2.0 * in[0][i] * in[0][i];
}

static void test_same_operand_twice(void **state)
{
    struct gradcheck check = {.name = "(x + x) x",
                              .inputs = 1,
                              .in = {{.dimensions = 2, .shape = {4, 5}}},
                              .run = run_same,
                              .reference = reference_same};

    (void)state;
    gradcheck_run(&check);
}

/* Work for several threads: long rows, many rows, and folding a bias over many rows. */
static void test_large(void **state)
{
    static const int64_t wide[2] = {700, 130}, bias[1] = {130};
    float *first = NULL;

    (void)state;
    for (int32_t threads = 1; threads <= 3; threads++) {
        llm_context *context = gradcheck_context(threads);
        llm_tensor *x = gradcheck_tensor(context, true, 5, 2, wide);
        llm_tensor *b = gradcheck_tensor(context, true, 6, 1, bias);
        struct cx cx;
        llm_tensor *y;

        assert_int_equal(cx_init(&cx, context), LLM_OK);
        cx.recording = true;
        y = op_mul(&cx, op_add(&cx, x, b), x);
        assert_non_null(y);
        assert_int_equal(cx_backward_from(&cx, y, x), LLM_OK);
        for (int64_t j = 0; j < 130; j++) {
            double want = 0.0;

            for (int64_t i = 0; i < 700; i++) /* dy = x, d((x + b) x)/db = x */
                want += (double)tensor_f32(x)[i * 130 + j] * (double)tensor_f32(x)[i * 130 + j];
            assert_true(fabs((double)tensor_f32(b->grad)[j] - want) < 1e-4);
        }
        if (!first) {
            first = test_malloc(sizeof(float) * 130);
            memcpy(first, b->grad->data, sizeof(float) * 130);
        }
        assert_memory_equal(first, b->grad->data, sizeof(float) * 130);
        cx_free(&cx);
        tensor_release(x);
        tensor_release(b);
        llm_context_free(context);
    }
    test_free(first);
}

/* torch: the gradient of 0^b by b is 0, that of a^0 by a is 0. */
static void test_power_of_zero(void **state)
{
    llm_context *context = gradcheck_context(1);
    int64_t shape[1] = {2};
    llm_tensor *a = gradcheck_tensor(context, true, 1, 1, shape);
    llm_tensor *b = gradcheck_tensor(context, true, 1, 1, shape);
    struct cx cx;
    llm_tensor *y;

    (void)state;
    tensor_f32(a)[0] = 0.0f;
    tensor_f32(b)[0] = 2.0f;
    tensor_f32(a)[1] = -3.0f;
    tensor_f32(b)[1] = 0.0f;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    cx.recording = true;
    y = op_pow(&cx, a, b);
    assert_non_null(y);
    assert_int_equal(cx_backward_from(&cx, y, y), LLM_OK);
    assert_true(tensor_f32(y)[0] == 0.0f && tensor_f32(y)[1] == 1.0f);
    assert_true(tensor_f32(a->grad)[0] == 0.0f && tensor_f32(b->grad)[0] == 0.0f);
    assert_true(tensor_f32(a->grad)[1] == 0.0f);
    cx_free(&cx);
    tensor_release(a);
    tensor_release(b);
    llm_context_free(context);
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
    assert_null(op_add(&cx, x, flat)); /* 4 against 3 */
    assert_int_equal(cx_status(&cx), LLM_E_SHAPE);
    assert_non_null(strstr(status_message(), "[3,4]"));
    cx_reset(&cx);
    assert_null(op_mul(&cx, x, NULL));
    assert_int_equal(cx_status(&cx), LLM_E_INVALID);
    cx_reset(&cx);
    assert_null(op_div(&cx, integers, x));
    assert_int_equal(cx_status(&cx), LLM_E_UNSUPPORTED);
    assert_null(op_sub(&cx, x, x)); /* sticky */
    cx_free(&cx);
    tensor_release(x);
    tensor_release(flat);
    tensor_release(integers);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broadcasting),       cmocka_unit_test(test_recompute),
        cmocka_unit_test(test_same_operand_twice), cmocka_unit_test(test_large),
        cmocka_unit_test(test_power_of_zero),      cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_binary", tests, NULL, NULL);
}
