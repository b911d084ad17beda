/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct loss_case {
    const char *name;
    int kind; /* 0 squared, 1 logistic, 2 hinge */
    int32_t reduction;
};

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    const struct loss_case *c = arg;

    if (c->kind == 0)
        return op_mse(cx, in[0], in[1], c->reduction);
    if (c->kind == 1)
        return op_bce_with_logits(cx, in[0], in[1], c->reduction);
    return op_hinge(cx, in[0], in[1], 0.75f, c->reduction);
}

static double loss_of(int kind, double x, double t)
{
    double p;

    if (kind == 0)
        return (x - t) * (x - t);
    if (kind == 2)
        return fmax(0.0, 0.75 - t * x);
    p = 1.0 / (1.0 + exp(-x));
    return -t * log(p) - (1.0 - t) * log(1.0 - p);
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct loss_case *c = arg;
    double total = 0.0;

    (void)count;
    for (int64_t i = 0; i < 21; i++) {
        double loss = loss_of(c->kind, in[0][i], in[1][i]);

        if (c->reduction == REDUCE_NONE)
            out[i] = loss;
        total += loss;
    }
    if (c->reduction == REDUCE_SUM)
        out[0] = total;
    if (c->reduction == REDUCE_MEAN)
        out[0] = total / 21.0;
}

static void test_pointwise(void **state)
{
    static const char *const names[] = {"mse", "bce_with_logits", "hinge"};
    double labels[21];

    (void)state;
    for (int i = 0; i < 21; i++)
        labels[i] = i % 3 == 1 ? 1.0 : -1.0;
    for (int kind = 0; kind < 3; kind++) {
        for (int32_t reduction = REDUCE_NONE; reduction <= REDUCE_SUM; reduction++) {
            struct loss_case c = {names[kind], kind, reduction};
            struct gradcheck check = {
                .name = names[kind],
                .inputs = 2,
                .in = {{.dimensions = 2, .shape = {3, 7}, .low = -3.0, .high = 3.0},
                       {.dimensions = 2, .shape = {3, 7}, .low = 0.0, .high = 1.0}},
                .run = run,
                .reference = reference,
                .arg = &c};

            check.in[1].values = kind == 2 ? labels : NULL;
            gradcheck_run(&check);
            check.in[1].is_constant = true;
            gradcheck_run(&check);
        }
    }
}

static const int32_t targets[4] = {2, 0, 4, 2};

static llm_tensor *run_margin(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    return op_multi_margin(cx, in[0], targets, 0.5f, *(const int32_t *)arg);
}

static void reference_margin(double *out, int64_t count, const double *const *in, const void *arg)
{
    int32_t reduction = *(const int32_t *)arg;
    double total = 0.0;

    (void)count;
    for (int i = 0; i < 4; i++) {
        const double *x = in[0] + i * 5;
        double loss = 0.0;

        for (int j = 0; j < 5; j++)
            loss += j == targets[i] ? 0.0 : fmax(0.0, 0.5 - x[targets[i]] + x[j]) / 5.0;
        if (reduction == REDUCE_NONE)
            out[i] = loss;
        total += loss;
    }
    if (reduction != REDUCE_NONE)
        out[0] = reduction == REDUCE_MEAN ? total / 4.0 : total;
}

static void test_multi_margin(void **state)
{
    (void)state;
    for (int32_t reduction = REDUCE_NONE; reduction <= REDUCE_SUM; reduction++) {
        struct gradcheck check = {.name = "multi_margin",
                                  .inputs = 1,
                                  .in = {{.dimensions = 2, .shape = {4, 5}}},
                                  .run = run_margin,
                                  .reference = reference_margin,
                                  .arg = &reduction};

        gradcheck_run(&check);
    }
}

/* More than one chunk: any number of threads gives the same bits, and the sum is exact enough. */
static void test_many(void **state)
{
    static const int64_t shape[1] = {50001};
    float first = 0.0f;

    (void)state;
    for (int32_t threads = 1; threads <= 3; threads++) {
        llm_context *context = gradcheck_context(threads);
        llm_tensor *x = gradcheck_tensor(context, true, 1, 1, shape);
        llm_tensor *t = gradcheck_tensor(context, true, 2, 1, shape);
        struct cx cx;
        llm_tensor *y;
        double want = 0.0;

        assert_int_equal(cx_init(&cx, context), LLM_OK);
        cx.recording = true;
        y = op_mse(&cx, x, t, REDUCE_MEAN);
        assert_int_equal(cx_backward(&cx, y, 2.0f), LLM_OK);
        for (int64_t i = 0; i < shape[0]; i++) {
            double d = (double)tensor_f32(x)[i] - (double)tensor_f32(t)[i];

            want += d * d / 50001.0;
            assert_true(fabs((double)tensor_f32(x->grad)[i] - 4.0 * d / 50001.0) < 1e-10);
            assert_true(tensor_f32(t->grad)[i] == -tensor_f32(x->grad)[i]);
        }
        assert_true(fabs((double)tensor_f32(y)[0] - want) < 1e-7);
        if (threads == 1)
            first = tensor_f32(y)[0];
        assert_true(tensor_f32(y)[0] == first);
        cx_free(&cx);
        tensor_release(x);
        tensor_release(t);
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
    llm_context *context = gradcheck_context(1);
    int64_t shape[2] = {2, 3};
    llm_tensor *x = gradcheck_tensor(context, false, 1, 2, shape);
    llm_tensor *flat = gradcheck_tensor(context, false, 1, 1, shape);
    struct cx cx;

    (void)state;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    expect(&cx, op_mse(&cx, x, NULL, REDUCE_MEAN), LLM_E_INVALID);
    expect(&cx, op_mse(&cx, x, flat, REDUCE_MEAN), LLM_E_SHAPE);
    expect(&cx, op_mse(&cx, x, x, -1), LLM_E_INVALID);
    expect(&cx, op_bce_with_logits(&cx, flat, x, REDUCE_SUM), LLM_E_SHAPE);
    expect(&cx, op_hinge(&cx, NULL, x, 1.0f, REDUCE_SUM), LLM_E_INVALID);
    expect(&cx, op_multi_margin(&cx, flat, targets, 1.0f, REDUCE_MEAN), LLM_E_SHAPE);
    expect(&cx, op_multi_margin(&cx, x, targets, 1.0f, 7), LLM_E_INVALID);
    expect(&cx, op_multi_margin(&cx, x, NULL, 1.0f, REDUCE_MEAN), LLM_E_INVALID);
    expect(&cx, op_multi_margin(&cx, x, (const int32_t[]){0, 3}, 1.0f, REDUCE_MEAN), LLM_E_RANGE);
    expect(&cx, op_multi_margin(&cx, x, (const int32_t[]){0, INT32_MIN}, 1.0f, REDUCE_MEAN),
           LLM_E_RANGE);
    cx_free(&cx);
    tensor_release(x);
    tensor_release(flat);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pointwise),
        cmocka_unit_test(test_multi_margin),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_loss", tests, NULL, NULL);
}
