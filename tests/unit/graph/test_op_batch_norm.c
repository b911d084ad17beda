/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { CHANNELS = 3 };

struct batch_case {
    int64_t batch, length;
    bool training, has_weight, has_bias;
};

static const float start_mean[CHANNELS] = {0.25f, -0.5f, 0.0f};
static const float start_var[CHANNELS] = {0.5f, 1.0f, 2.0f};

static llm_tensor *statistics(llm_context *context, const float *values)
{
    int64_t shape[1] = {CHANNELS};
    llm_tensor *tensor = NULL;

    if (tensor_new(&tensor, context, LLM_F32, 1, shape))
        return NULL;
    for (int c = 0; c < CHANNELS; c++)
        tensor_f32(tensor)[c] = values[c];
    return tensor;
}

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    const struct batch_case *c = arg;
    llm_tensor *mean = statistics(cx->context, start_mean);
    llm_tensor *var = mean ? statistics(cx->context, start_var) : NULL;
    llm_tensor *y = NULL;

    if (var)
        y = op_batch_norm(cx, in[0], c->has_weight ? in[1] : NULL,
                          c->has_bias ? in[c->has_weight ? 2 : 1] : NULL, mean, var, 0.1f, 1e-3f);
    tensor_release(mean);
    tensor_release(var);
    return y;
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct batch_case *b = arg;
    double n = (double)(b->batch * b->length);

    for (int64_t c = 0; c < CHANNELS; c++) {
        double mean = b->training ? 0.0 : (double)start_mean[c];
        double variance = b->training ? 0.0 : (double)start_var[c];

        for (int64_t i = 0; i < count && b->training; i++)
            mean += i / b->length % CHANNELS == c ? in[0][i] / n : 0.0;
        for (int64_t i = 0; i < count && b->training; i++)
            variance += i / b->length % CHANNELS == c ? pow(in[0][i] - mean, 2.0) / n : 0.0;
        for (int64_t i = 0; i < count; i++) {
            if (i / b->length % CHANNELS != c)
                continue;
            out[i] = (in[0][i] - mean) / sqrt(variance + (double)1e-3f);
            out[i] *= b->has_weight ? in[1][c] : 1.0;
            out[i] += b->has_bias ? in[b->has_weight ? 2 : 1][c] : 0.0;
        }
    }
}

static void test_gradients(void **state)
{
    static const struct batch_case cases[] = {
        {4, 5, true, true, true},   {7, 1, true, true, true},  {2, 6, true, false, false},
        {2, 6, true, false, true},  {4, 5, false, true, true}, {7, 1, false, true, false},
        {1, 6, false, false, false}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct batch_case *c = &cases[i];
        struct gradcheck check = {.name = c->training ? "batch_norm, training" : "batch_norm",
                                  .inputs = 1 + c->has_weight + c->has_bias,
                                  .run = run,
                                  .reference = reference,
                                  .arg = c,
                                  .training = c->training};

        check.in[0] = (struct gradcheck_input){.dimensions = c->length == 1 ? 2 : 3,
                                               .shape = {c->batch, CHANNELS, c->length}};
        check.in[1] = check.in[2] = (struct gradcheck_input){.dimensions = 1, .shape = {CHANNELS}};
        gradcheck_run(&check);
        check.in[1].is_constant = true;
        gradcheck_run(&check);
    }
}

static llm_tensor *block(struct cx *cx, void *arg, llm_tensor *x)
{
    llm_tensor *const *statistic = arg;

    return op_batch_norm(cx, x, NULL, NULL, statistic[0], statistic[1], 0.1f, 1e-5f);
}

/* torch: running = 0.9 running + 0.1 batch, the variance unbiased; once per step even when a
 * checkpointed segment runs twice; not at all outside training. */
static void test_running_statistics(void **state)
{
    llm_context *context = gradcheck_context(2);
    int64_t shape[2] = {6, CHANNELS};
    llm_tensor *x = gradcheck_tensor(context, true, 3, 2, shape);
    llm_tensor *statistic[2];
    struct cx cx;

    (void)state;
    for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
        llm_tensor *y;

        statistic[0] = statistics(context, start_mean);
        statistic[1] = statistics(context, start_var);
        assert_int_equal(cx_init(&cx, context), LLM_OK);
        assert_non_null(block(&cx, statistic, x));
        assert_true(tensor_f32(statistic[0])[0] == start_mean[0]);
        cx.recording = cx.training = true;
        cx.checkpointing = checkpointing;
        y = cx_segment(&cx, block, statistic, x);
        assert_non_null(y);
        assert_int_equal(cx_backward_from(&cx, y, x), LLM_OK);
        for (int c = 0; c < CHANNELS; c++) {
            double mean = 0.0, variance = 0.0;

            for (int i = 0; i < 6; i++)
                mean += (double)tensor_f32(x)[i * CHANNELS + c] / 6.0;
            for (int i = 0; i < 6; i++)
                variance += pow((double)tensor_f32(x)[i * CHANNELS + c] - mean, 2.0) / 5.0;
            assert_true(fabs((double)tensor_f32(statistic[0])[c] -
                             (0.9 * (double)start_mean[c] + 0.1 * mean)) < 1e-6);
            assert_true(fabs((double)tensor_f32(statistic[1])[c] -
                             (0.9 * (double)start_var[c] + 0.1 * variance)) < 1e-6);
        }
        cx_free(&cx);
        tensor_release(statistic[0]);
        tensor_release(statistic[1]);
    }
    tensor_release(x);
    llm_context_free(context);
}

static void test_misuse(void **state)
{
    llm_context *context = gradcheck_context(1);
    int64_t shape[2] = {1, CHANNELS};
    llm_tensor *x = gradcheck_tensor(context, false, 1, 2, shape);
    llm_tensor *flat = gradcheck_tensor(context, false, 1, 1, shape + 1);
    llm_tensor *one = gradcheck_tensor(context, false, 1, 1, shape);
    struct cx cx;

    (void)state;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    assert_null(op_batch_norm(&cx, flat, NULL, NULL, flat, flat, 0.1f, 1e-5f));
    assert_int_equal(cx_status(&cx), LLM_E_SHAPE);
    cx_reset(&cx);
    assert_null(op_batch_norm(&cx, x, one, NULL, flat, flat, 0.1f, 1e-5f));
    assert_int_equal(cx_status(&cx), LLM_E_SHAPE);
    cx_reset(&cx);
    assert_null(op_batch_norm(&cx, x, NULL, NULL, NULL, NULL, 0.1f, 1e-5f));
    assert_int_equal(cx_status(&cx), LLM_E_INVALID);
    cx_reset(&cx);
    cx.training = true; /* one value per channel has no variance */
    assert_null(op_batch_norm(&cx, x, NULL, NULL, flat, flat, 0.1f, 1e-5f));
    assert_int_equal(cx_status(&cx), LLM_E_SHAPE);
    cx_free(&cx);
    tensor_release(x);
    tensor_release(flat);
    tensor_release(one);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_running_statistics),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_batch_norm", tests, NULL, NULL);
}
