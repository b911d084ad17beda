/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { ROWS = 6, CLASSES = 11 };
static const int32_t targets[ROWS] = {3, 0, -100, 10, 3, 7};

struct loss_case {
    struct cross_entropy_options options;
    bool is_soft;
};

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    const struct loss_case *c = arg;

    if (c->is_soft)
        return op_cross_entropy_soft(cx, in[0], in[1], c->options.reduction);
    return op_cross_entropy(cx, in[0], targets, &c->options);
}

static double row_loss(const struct loss_case *c, const double *logits, const double *soft,
                       int32_t target)
{
    double e = (double)c->options.label_smoothing;
    double sum = 0.0, loss = 0.0;

    for (int j = 0; j < CLASSES; j++)
        sum += exp(logits[j]);
    for (int j = 0; j < CLASSES; j++) {
        double share = soft ? soft[j] : (j == target ? 1.0 - e : 0.0) + e / CLASSES;

        loss -= share * (logits[j] - log(sum));
    }
    return loss;
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct loss_case *c = arg;
    double total = 0.0, counted = 0.0;

    (void)count;
    for (int i = 0; i < ROWS; i++) {
        bool ignored = !c->is_soft && targets[i] == c->options.ignore_index;
        double loss = ignored ? 0.0
                              : row_loss(c, in[0] + i * CLASSES,
                                         c->is_soft ? in[1] + i * CLASSES : NULL, targets[i]);

        if (c->options.reduction == REDUCE_NONE)
            out[i] = loss;
        total += loss;
        counted += ignored ? 0.0 : 1.0;
    }
    if (c->options.reduction == REDUCE_MEAN)
        out[0] = total / counted;
    if (c->options.reduction == REDUCE_SUM)
        out[0] = total;
}

static void test_gradients(void **state)
{
    (void)state;
    for (int32_t reduction = REDUCE_NONE; reduction <= REDUCE_SUM; reduction++) {
        for (int kind = 0; kind < 3; kind++) {
            struct loss_case c = {{-100, kind == 1 ? 0.125f : 0.0f, reduction}, kind == 2};
            struct gradcheck check = {
                .name = kind == 2 ? "cross_entropy_soft" : "cross_entropy",
                .inputs = kind == 2 ? 2 : 1,
                .in = {{.dimensions = 3, .shape = {2, 3, CLASSES}, .low = -5.0, .high = 5.0},
                       {.dimensions = 3,
                        .shape = {2, 3, CLASSES},
                        .low = 0.0,
                        .high = 0.2,
                        .is_constant = true}},
                .run = run,
                .reference = reference,
                .arg = &c};

            gradcheck_run(&check);
        }
    }
}

/* Large logits neither overflow nor lose the loss; with every target ignored the mean is NaN. */
static void test_extremes(void **state)
{
    llm_context *context = gradcheck_context(1);
    int64_t shape[2] = {2, 3};
    llm_tensor *x = gradcheck_tensor(context, true, 1, 2, shape);
    const float logits[6] = {1e30f, -1e30f, 0.0f, 100.0f, 100.0f, -INFINITY};
    struct cross_entropy_options sum = {-100, 0.0f, REDUCE_SUM};
    struct cx cx;
    llm_tensor *y;

    (void)state;
    for (int i = 0; i < 6; i++)
        tensor_f32(x)[i] = logits[i];
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    cx.recording = true;
    y = op_cross_entropy(&cx, x, (const int32_t[]){0, 1}, &sum);
    assert_non_null(y);
    assert_true(fabs((double)tensor_f32(y)[0] - log(2.0)) < 1e-6);
    assert_int_equal(cx_backward(&cx, y, 1.0f), LLM_OK);
    assert_true(tensor_f32(x->grad)[0] == 0.0f && tensor_f32(x->grad)[1] == 0.0f);
    assert_true(tensor_f32(x->grad)[3] == 0.5f && tensor_f32(x->grad)[4] == -0.5f);
    assert_true(tensor_f32(x->grad)[5] == 0.0f);
    y = op_cross_entropy(&cx, x, (const int32_t[]){-100, -100}, NULL);
    assert_non_null(y);
    assert_true(isnan(tensor_f32(y)[0]));
    cx_free(&cx);
    tensor_release(x);
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
    static const struct cross_entropy_options smooth = {-100, 1.5f, REDUCE_MEAN};
    static const struct cross_entropy_options reduction = {-100, 0.0f, 3};
    llm_context *context = gradcheck_context(1);
    int64_t shape[2] = {2, 3};
    llm_tensor *x = gradcheck_tensor(context, false, 1, 2, shape);
    llm_tensor *flat = gradcheck_tensor(context, false, 1, 1, shape);
    llm_tensor *scalar = gradcheck_tensor(context, false, 1, 0, shape);
    struct cx cx;

    (void)state;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    expect(&cx, op_cross_entropy(&cx, x, (const int32_t[]){0, 3}, NULL), LLM_E_RANGE);
    expect(&cx, op_cross_entropy(&cx, x, (const int32_t[]){-1, 0}, NULL), LLM_E_RANGE);
    expect(&cx, op_cross_entropy(&cx, x, NULL, NULL), LLM_E_INVALID);
    expect(&cx, op_cross_entropy(&cx, NULL, targets, NULL), LLM_E_INVALID);
    expect(&cx, op_cross_entropy(&cx, scalar, targets, NULL), LLM_E_SHAPE);
    expect(&cx, op_cross_entropy(&cx, x, targets, &smooth), LLM_E_RANGE);
    expect(&cx, op_cross_entropy(&cx, x, targets, &reduction), LLM_E_INVALID);
    expect(&cx, op_cross_entropy_soft(&cx, x, flat, REDUCE_MEAN), LLM_E_SHAPE);
    expect(&cx, op_cross_entropy_soft(&cx, x, NULL, REDUCE_MEAN), LLM_E_INVALID);
    cx_free(&cx);
    tensor_release(x);
    tensor_release(flat);
    tensor_release(scalar);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_cross_entropy", tests, NULL, NULL);
}
