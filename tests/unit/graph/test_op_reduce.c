/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct reduce_case {
    char kind; /* s, m, x, v */
    uint32_t axes;
    bool keep;
    int32_t correction;
    int32_t dimensions;
    int64_t shape[4];
};

static llm_tensor *apply(struct cx *cx, llm_tensor *x, const struct reduce_case *c)
{
    switch (c->kind) {
    case 's':
        return op_sum(cx, x, c->axes, c->keep);
    case 'm':
        return op_mean(cx, x, c->axes, c->keep);
    case 'x':
        return op_max(cx, x, c->axes, c->keep);
    default:
        return op_variance(cx, x, c->axes, c->keep, c->correction);
    }
}

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    return apply(cx, in[0], arg);
}

/* Which result element the row-major position `at` of x goes to. */
static int64_t target(const struct reduce_case *c, uint32_t axes, int64_t at)
{
    int64_t index[4];
    int64_t out = 0;

    for (int32_t i = c->dimensions - 1; i >= 0; i--) {
        index[i] = at % c->shape[i];
        at /= c->shape[i];
    }
    for (int32_t i = 0; i < c->dimensions; i++) {
        if (!(axes >> i & 1u))
            out = out * c->shape[i] + index[i];
    }
    return out;
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct reduce_case *c = arg;
    uint32_t axes = c->axes ? c->axes : (1u << c->dimensions) - 1u;
    double *mean = calloc((size_t)count + 1, sizeof *mean);
    int64_t total = 1;
    double n;

    assert_non_null(mean);
    for (int32_t i = 0; i < c->dimensions; i++)
        total *= c->shape[i];
    n = (double)total / (double)(count ? count : 1);
    for (int64_t i = 0; i < count; i++)
        out[i] = c->kind == 'x' ? -1e300 : 0.0;
    for (int64_t i = 0; i < total; i++) {
        double *y = &out[target(c, axes, i)];

        mean[target(c, axes, i)] += in[0][i] / n;
        *y = c->kind == 'x' ? fmax(*y, in[0][i]) : *y + in[0][i] / (c->kind == 'm' ? n : 1.0);
    }
    for (int64_t i = 0; c->kind == 'v' && i < count; i++)
        out[i] = 0.0;
    for (int64_t i = 0; c->kind == 'v' && i < total; i++) {
        double d = in[0][i] - mean[target(c, axes, i)];

        out[target(c, axes, i)] += d * d / (n - c->correction);
    }
    free(mean);
}

static void test_gradients(void **state)
{
    static const struct {
        int32_t dimensions;
        int64_t shape[4];
        uint32_t axes;
    } shapes[] = {
        {0, {0}, 0},           {1, {7}, 0},          {2, {3, 5}, 1},    {2, {3, 5}, 2},
        {2, {3, 5}, 0},        {3, {2, 3, 4}, 2},    {3, {2, 3, 4}, 5}, {3, {2, 1, 4}, 6},
        {4, {2, 3, 2, 3}, 10}, {4, {2, 3, 2, 2}, 6}, {2, {2, 130}, 1},
    };

    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        for (const char *kind = "smxv"; *kind; kind++) {
            struct reduce_case c = {.kind = *kind,
                                    .axes = shapes[s].axes,
                                    .keep = s % 2 == 1,
                                    .correction = *kind == 'v' && s >= 1 ? (int32_t)(s % 2) : 0,
                                    .dimensions = shapes[s].dimensions};
            struct gradcheck check = {.name = kind, .inputs = 1, .run = run};

            memcpy(c.shape, shapes[s].shape, sizeof c.shape);
            check.in[0].dimensions = c.dimensions;
            memcpy(check.in[0].shape, c.shape, sizeof c.shape);
            check.reference = reference;
            check.arg = &c;
            gradcheck_run(&check);
        }
    }
}

/* Long enough for several chunks and threads: against a plain sum, the same bits everywhere. */
static void test_long_rows(void **state)
{
    int64_t shape[2] = {3, 200001};

    (void)state;
    for (const char *kind = "smxv"; *kind; kind++) {
        for (uint32_t axes = 0; axes < 3; axes++) {
            struct reduce_case c = {.kind = *kind,
                                    .axes = axes,
                                    .correction = 1,
                                    .dimensions = 2,
                                    .shape = {3, 200001}};
            int64_t count = axes == 0 ? 1 : axes == 1 ? shape[1] : 3;
            float *first = NULL;

            for (int threads = 1; threads <= 3; threads++) {
                llm_context *context = gradcheck_context(threads);
                llm_tensor *x = gradcheck_tensor(context, true, 5, 2, shape);
                size_t bytes = (size_t)(count + shape[0] * shape[1]) * sizeof(float);
                float *both = malloc(bytes);
                struct cx cx;
                llm_tensor *y;

                assert_non_null(both);
                assert_int_equal(cx_init(&cx, context), LLM_OK);
                cx.recording = true;
                y = apply(&cx, x, &c);
                assert_non_null(y);
                assert_int_equal(tensor_count(y), count);
                assert_int_equal(cx_backward_from(&cx, y, y), LLM_OK);
                memcpy(both, y->data, (size_t)count * sizeof(float));
                memcpy(both + count, x->grad->data, bytes - (size_t)count * sizeof(float));
                if (!first) {
                    double *in = malloc((size_t)(shape[0] * shape[1]) * sizeof *in);
                    const double *ins[1] = {in};
                    double *out = malloc((size_t)count * sizeof *out);

                    assert_non_null(in);
                    assert_non_null(out);
                    for (int64_t i = 0; i < shape[0] * shape[1]; i++)
                        in[i] = (double)tensor_f32(x)[i];
                    reference(out, count, ins, &c);
                    for (int64_t i = 0; i < count; i++)
                        assert_true(fabs(out[i] - (double)both[i]) <=
                                    1e-6 * fmax(1.0, fabs(out[i])));
                    free(in);
                    free(out);
                    first = both;
                } else {
                    assert_memory_equal(first, both, bytes);
                    free(both);
                }
                cx_free(&cx);
                tensor_release(x);
                llm_context_free(context);
            }
            free(first);
        }
    }
}

static void test_ties_share(void **state)
{
    static const float values[8] = {1, 3, 3, 0, 2, 2, 2, 2};
    static const float wanted[8] = {0, 0.5f, 0.5f, 0, 0.25f, 0.25f, 0.25f, 0.25f};
    llm_context *context = gradcheck_context(1);
    int64_t shape[2] = {2, 4};
    llm_tensor *x = gradcheck_tensor(context, true, 1, 2, shape);
    struct cx cx;

    (void)state;
    memcpy(x->data, values, sizeof values);
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    cx.recording = true;
    assert_int_equal(cx_backward(&cx, op_sum(&cx, op_max(&cx, x, 2, false), 0, false), 1.0f),
                     LLM_OK);
    assert_memory_equal(x->grad->data, wanted, sizeof wanted);
    cx_free(&cx);
    tensor_release(x);
    llm_context_free(context);
}

static void test_empty_and_nan(void **state)
{
    llm_context *context = gradcheck_context(1);
    int64_t empty_shape[2] = {0, 3};
    int64_t hollow_shape[3] = {2, 3, 0};
    int64_t four = 4;
    llm_tensor *empty = gradcheck_tensor(context, true, 1, 2, empty_shape);
    llm_tensor *hollow = gradcheck_tensor(context, true, 1, 3, hollow_shape);
    llm_tensor *x = gradcheck_tensor(context, true, 1, 1, &four);
    struct cx cx;
    llm_tensor *y;

    (void)state;
    tensor_f32(x)[2] = NAN;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    cx.recording = true;
    y = op_sum(&cx, empty, 1, false);
    assert_non_null(y);
    assert_true(tensor_f32(y)[0] == 0.0f && tensor_f32(y)[2] == 0.0f);
    y = op_mean(&cx, empty, 0, false);
    assert_true(isnan(tensor_f32(y)[0]));
    assert_non_null(op_sum(&cx, hollow, 2, false));
    assert_non_null(op_variance(&cx, hollow, 1, true, 1));
    assert_true(isnan(tensor_f32(op_max(&cx, x, 0, false))[0]));
    assert_true(isnan(tensor_f32(op_sum(&cx, x, 0, false))[0]));
    assert_null(op_max(&cx, empty, 0, false));
    assert_int_equal(cx_status(&cx), LLM_E_SHAPE);
    cx_free(&cx);
    tensor_release(empty);
    tensor_release(hollow);
    tensor_release(x);
    llm_context_free(context);
}

static void test_misuse(void **state)
{
    llm_context *context = gradcheck_context(1);
    int64_t shape[2] = {3, 4};
    llm_tensor *x = gradcheck_tensor(context, true, 1, 2, shape);
    llm_tensor *integers = NULL;
    struct cx cx;

    (void)state;
    assert_int_equal(tensor_new(&integers, context, LLM_I32, 2, shape), LLM_OK);
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    assert_null(op_sum(&cx, NULL, 0, false));
    assert_int_equal(cx_status(&cx), LLM_E_INVALID);
    cx_reset(&cx);
    assert_null(op_mean(&cx, x, 4, false));
    assert_int_equal(cx_status(&cx), LLM_E_SHAPE);
    cx_reset(&cx);
    assert_null(op_variance(&cx, integers, 0, false, 1));
    assert_int_equal(cx_status(&cx), LLM_E_UNSUPPORTED);
    cx_free(&cx);
    tensor_release(x);
    tensor_release(integers);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),  cmocka_unit_test(test_long_rows),
        cmocka_unit_test(test_ties_share), cmocka_unit_test(test_empty_and_nan),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_reduce", tests, NULL, NULL);
}
