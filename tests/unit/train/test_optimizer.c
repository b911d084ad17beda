/* SPDX-License-Identifier: MIT
 *
 * Optimizers against 20 steps of PyTorch's, clipping, groups, bits equal for any number of threads,
 * misuse of the public functions. Schedules against their closed forms.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "llm.h"
#include "tensor/tensor.h"
#include "optimizer_steps.h"

#include <math.h>
#include <string.h>

#define ASSERT_CLOSE(a, b, tolerance) assert_true(fabs((double)(a) - (double)(b)) <= (tolerance))

static llm_context *new_context(int threads)
{
    llm_context_options options;
    llm_context *context;

    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    options.threads = threads;
    assert_int_equal(llm_context_new(&context, &options), LLM_OK);
    return context;
}

static llm_tensor *new_parameter(llm_context *context, int64_t elements)
{
    llm_tensor *tensor;

    assert_int_equal(llm_tensor_new(&tensor, context, LLM_F32, 1, &elements), LLM_OK);
    assert_int_equal(llm_tensor_set_requires_grad(tensor, 1), LLM_OK);
    return tensor;
}

/* What cx_backward() would leave behind. */
static float *gradient_buffer(llm_tensor *tensor)
{
    if (!tensor->grad)
        assert_int_equal(tensor_new_zeroed(&tensor->grad, tensor->context, LLM_F32,
                                           tensor->dimensions, tensor->shape),
                         LLM_OK);
    tensor->grad_is_fresh = false;
    return tensor->grad->data;
}

static void compare_with_torch(const llm_optimizer_options *options,
                               const float golden[GOLDEN_STEPS][GOLDEN_ELEMENTS])
{
    llm_context *context = new_context(2);
    llm_tensor *weight = new_parameter(context, GOLDEN_ELEMENTS);
    float *values = llm_tensor_data(weight);
    llm_optimizer *optimizer;

    for (int i = 0; i < GOLDEN_ELEMENTS; i++)
        values[i] = (float)(i * 37 % 11 - 5) * 0.125f;
    assert_int_equal(llm_optimizer_new(&optimizer, context, options), LLM_OK);
    assert_int_equal(llm_optimizer_add(optimizer, weight, "w", 0), LLM_OK);
    for (int step = 0; step < GOLDEN_STEPS; step++) {
        float *gradient = gradient_buffer(weight);

        for (int i = 0; i < GOLDEN_ELEMENTS; i++)
            gradient[i] = (float)((i * 13 + step * 7) % 17 - 8) * 0.0625f;
        assert_int_equal(llm_optimizer_step(optimizer), LLM_OK);
        for (int i = 0; i < GOLDEN_ELEMENTS; i++)
            ASSERT_CLOSE(values[i], golden[step][i], 2e-6);
        llm_optimizer_zero_grad(optimizer);
    }
    llm_optimizer_free(optimizer);
    llm_tensor_free(weight);
    llm_context_free(context);
}

static llm_optimizer_options defaults(void)
{
    llm_optimizer_options options;

    assert_int_equal(llm_optimizer_options_init(&options, sizeof options), LLM_OK);
    return options;
}

static void test_adamw(void **state)
{
    llm_optimizer_options options = defaults();

    (void)state;
    options.learning_rate = 0.01;
    options.beta2 = 0.95;
    options.weight_decay = 0.1;
    compare_with_torch(&options, golden_adamw);
    options = defaults();
    options.learning_rate = 0.02;
    options.beta1 = 0.8;
    options.beta2 = 0.99;
    options.epsilon = 1e-6;
    options.weight_decay = 0.0;
    options.clip_norm = 0.5;
    compare_with_torch(&options, golden_adamw_clipped);
}

static void test_sgd(void **state)
{
    llm_optimizer_options options = defaults();

    (void)state;
    options.kind = LLM_OPTIMIZER_SGD;
    options.learning_rate = 0.05;
    compare_with_torch(&options, golden_sgd);
    options.momentum = 0.9;
    options.dampening = 0.1;
    compare_with_torch(&options, golden_sgd_momentum);
    options.dampening = 0.0;
    options.weight_decay = 0.0;
    options.nesterov = 1;
    options.clip_norm = 1.0;
    compare_with_torch(&options, golden_sgd_nesterov);
}

enum { LARGE = 70001 };

static void run_large(float *out, double *norm, int threads)
{
    llm_context *context = new_context(threads);
    llm_tensor *weight = new_parameter(context, LARGE);
    llm_optimizer_options options = defaults();
    llm_optimizer *optimizer;
    float *gradient;

    options.clip_norm = 1.0;
    assert_int_equal(llm_tensor_fill_normal(weight, 0.0, 1.0, 7), LLM_OK);
    assert_int_equal(llm_optimizer_new(&optimizer, context, &options), LLM_OK);
    assert_int_equal(llm_optimizer_add(optimizer, weight, NULL, 0), LLM_OK);
    gradient = gradient_buffer(weight);
    for (int step = 0; step < 3; step++) {
        for (int i = 0; i < LARGE; i++)
            gradient[i] = sinf((float)(i + step));
        assert_int_equal(llm_optimizer_step(optimizer), LLM_OK);
    }
    *norm = llm_optimizer_gradient_norm(optimizer);
    memcpy(out, llm_tensor_data(weight), LARGE * sizeof *out);
    llm_optimizer_free(optimizer);
    llm_tensor_free(weight);
    llm_context_free(context);
}

static void test_threads(void **state)
{
    static float one[LARGE], many[LARGE];
    double norm_one, norm_many;

    (void)state;
    run_large(one, &norm_one, 1);
    for (int threads = 2; threads <= 5; threads++) {
        run_large(many, &norm_many, threads);
        assert_memory_equal(&norm_one, &norm_many, sizeof norm_one);
        assert_memory_equal(one, many, sizeof one);
    }
    ASSERT_CLOSE(norm_one, sqrt(LARGE / 2.0), 1.0);
}

static void test_groups(void **state)
{
    llm_context *context = new_context(1);
    llm_tensor *a = new_parameter(context, 3);
    llm_tensor *b = new_parameter(context, 3);
    llm_tensor *idle = new_parameter(context, 3);
    llm_optimizer_options options = defaults();
    llm_optimizer *optimizer;
    int32_t group;

    (void)state;
    options.kind = LLM_OPTIMIZER_SGD;
    options.learning_rate = 0.1;
    options.weight_decay = 0.5;
    assert_int_equal(llm_optimizer_new(&optimizer, context, &options), LLM_OK);
    assert_int_equal(llm_optimizer_add_group(&group, optimizer, 0.0, 2.0), LLM_OK);
    assert_int_equal(group, 1);
    assert_int_equal(llm_optimizer_add(optimizer, a, "a", 0), LLM_OK);
    assert_int_equal(llm_optimizer_add(optimizer, b, "b", group), LLM_OK);
    assert_int_equal(llm_optimizer_add(optimizer, idle, "idle", 0), LLM_OK);
    assert_int_equal(llm_tensor_fill(a, 1.0), LLM_OK);
    assert_int_equal(llm_tensor_fill(b, 1.0), LLM_OK);
    assert_int_equal(llm_tensor_fill(idle, 1.0), LLM_OK);
    for (int i = 0; i < 3; i++) {
        gradient_buffer(a)[i] = 1.0f;
        gradient_buffer(b)[i] = 1.0f;
    }
    assert_int_equal(llm_optimizer_step(optimizer), LLM_OK);
    ASSERT_CLOSE(tensor_f32(a)[2], 1.0 - 0.1 * (1.0 + 0.5), 1e-6);
    ASSERT_CLOSE(tensor_f32(b)[2], 1.0 - 0.1 * 2.0, 1e-6);
    ASSERT_CLOSE(tensor_f32(idle)[2], 1.0, 0.0); /* no gradient: no decay either, as torch */
    gradient_buffer(a)[1] = NAN;
    assert_int_equal(llm_optimizer_step(optimizer), LLM_E_NUMERIC);
    ASSERT_CLOSE(tensor_f32(b)[2], 1.0 - 0.1 * 2.0, 1e-6);
    llm_tensor_free(a);
    llm_tensor_free(b);
    llm_tensor_free(idle);
    llm_context_free(context);
    llm_optimizer_free(optimizer); /* the last to go */
}

static void refuse(llm_context *context, const llm_optimizer_options *options, llm_status expected,
                   const char *word)
{
    llm_optimizer *optimizer;

    assert_int_equal(llm_optimizer_new(&optimizer, context, options), expected);
    assert_null(optimizer);
    assert_non_null(strstr(llm_last_error(), word));
}

static void test_bad_options(void **state)
{
    llm_context *context = new_context(1);
    llm_optimizer_options o;

    (void)state;
#define REFUSE(field, value, status)                                                               \
    do {                                                                                           \
        o = defaults();                                                                            \
        o.field = value;                                                                           \
        refuse(context, &o, status, #field);                                                       \
    } while (0)
    REFUSE(learning_rate, -1.0, LLM_E_RANGE);
    REFUSE(learning_rate, (double)NAN, LLM_E_RANGE);
    REFUSE(weight_decay, -0.1, LLM_E_RANGE);
    REFUSE(beta1, 1.0, LLM_E_RANGE);
    REFUSE(beta2, -0.1, LLM_E_RANGE);
    REFUSE(epsilon, 0.0, LLM_E_RANGE);
    REFUSE(momentum, -1.0, LLM_E_RANGE);
    REFUSE(dampening, 2.0, LLM_E_RANGE);
    REFUSE(clip_norm, -1.0, LLM_E_RANGE);
    REFUSE(nesterov, 2, LLM_E_RANGE);
    REFUSE(nesterov, 1, LLM_E_INVALID);
    REFUSE(kind, 9, LLM_E_INVALID);
    REFUSE(struct_size, 3, LLM_E_INVALID);
    llm_context_free(context);
}

static void test_misuse(void **state)
{
    llm_context *context = new_context(1);
    llm_tensor *plain = new_parameter(context, 2);
    llm_tensor *view;
    int64_t shape[2] = {2, 1};
    llm_optimizer *optimizer;
    int32_t group;

    (void)state;
    assert_int_equal(llm_optimizer_options_init(NULL, sizeof(llm_optimizer_options)),
                     LLM_E_INVALID);
    assert_int_equal(llm_optimizer_new(NULL, context, NULL), LLM_E_INVALID);
    assert_int_equal(llm_optimizer_new(&optimizer, NULL, NULL), LLM_E_INVALID);
    assert_int_equal(llm_optimizer_new(&optimizer, context, NULL), LLM_OK);
    assert_int_equal(llm_optimizer_add(NULL, plain, NULL, 0), LLM_E_INVALID);
    assert_int_equal(llm_optimizer_add(optimizer, NULL, NULL, 0), LLM_E_INVALID);
    assert_int_equal(llm_optimizer_add(optimizer, plain, NULL, 1), LLM_E_RANGE);
    assert_int_equal(llm_optimizer_add(optimizer, plain, NULL, -1), LLM_E_RANGE);
    assert_int_equal(llm_tensor_reshape(&view, plain, 2, shape), LLM_OK);
    assert_int_equal(llm_optimizer_add(optimizer, view, NULL, 0), LLM_E_INVALID);
    assert_int_equal(llm_optimizer_add(optimizer, plain, "p", 0), LLM_OK);
    assert_int_equal(llm_optimizer_add(optimizer, plain, "q", 0), LLM_E_INVALID);
    assert_int_equal(llm_optimizer_add_group(&group, NULL, 0.0, 1.0), LLM_E_INVALID);
    assert_int_equal(llm_optimizer_add_group(NULL, optimizer, 0.0, 1.0), LLM_E_INVALID);
    assert_int_equal(llm_optimizer_add_group(&group, optimizer, -1.0, 1.0), LLM_E_RANGE);
    assert_int_equal(llm_optimizer_add_group(&group, optimizer, 0.0, -1.0), LLM_E_RANGE);
    assert_int_equal(llm_optimizer_step(NULL), LLM_E_INVALID);
    assert_int_equal(llm_optimizer_set_learning_rate(NULL, 0.1), LLM_E_INVALID);
    assert_int_equal(llm_optimizer_set_learning_rate(optimizer, -0.1), LLM_E_RANGE);
    assert_int_equal(llm_optimizer_set_learning_rate(optimizer, 0.25), LLM_OK);
    ASSERT_CLOSE(llm_optimizer_learning_rate(optimizer), 0.25, 0.0);
    ASSERT_CLOSE(llm_optimizer_learning_rate(NULL), 0.0, 0.0);
    ASSERT_CLOSE(llm_optimizer_gradient_norm(NULL), 0.0, 0.0);
    llm_optimizer_zero_grad(NULL);
    llm_optimizer_free(NULL);
    llm_tensor_free(view);
    llm_tensor_free(plain);
    llm_optimizer_free(optimizer);
    llm_context_free(context);
}

static void test_schedules(void **state)
{
    const double pi = 3.14159265358979323846;

    (void)state;
    for (int step = 0; step < 10; step++)
        ASSERT_CLOSE(llm_schedule_rate(LLM_SCHEDULE_COSINE, step, 100, 10, 0, 1.0, 0.1),
                     (step + 1) / 11.0, 1e-12);
    for (int step = 10; step < 100; step++) {
        double done = (step - 10) / 90.0;
        double wsd = step < 80 ? 1.0 : 0.1 + 0.9 * (1.0 - sqrt((step - 80) / 20.0));

        ASSERT_CLOSE(llm_schedule_rate(LLM_SCHEDULE_CONSTANT, step, 100, 10, 0, 1.0, 0.1), 1.0,
                     1e-12);
        ASSERT_CLOSE(llm_schedule_rate(LLM_SCHEDULE_LINEAR, step, 100, 10, 0, 1.0, 0.1),
                     1.0 - 0.9 * done, 1e-12);
        ASSERT_CLOSE(llm_schedule_rate(LLM_SCHEDULE_COSINE, step, 100, 10, 0, 1.0, 0.1),
                     0.1 + 0.45 * (1.0 + cos(pi * done)), 1e-12);
        ASSERT_CLOSE(llm_schedule_rate(LLM_SCHEDULE_WSD, step, 100, 10, 20, 1.0, 0.1), wsd, 1e-12);
    }
    for (int kind = LLM_SCHEDULE_LINEAR; kind <= LLM_SCHEDULE_WSD; kind++) {
        ASSERT_CLOSE(llm_schedule_rate(kind, 100, 100, 10, 20, 1.0, 0.1), 0.1, 1e-12);
        ASSERT_CLOSE(llm_schedule_rate(kind, 500, 100, 10, 20, 1.0, 0.1), 0.1, 1e-12);
        ASSERT_CLOSE(llm_schedule_rate(kind, 0, 1, 0, 0, 0.5, 0.1), 0.5, 1e-12);
        /* warm-up longer than the run, decay longer than what is left */
        ASSERT_CLOSE(llm_schedule_rate(kind, 3, 5, 9, 0, 1.0, 0.0), 0.4, 1e-12);
        assert_true(isfinite(llm_schedule_rate(kind, 7, 10, 5, 100, 1.0, 0.0)));
    }
    assert_true(isnan(llm_schedule_rate(9, 0, 1, 0, 0, 1.0, 0.0)));
    assert_true(isnan(llm_schedule_rate(LLM_SCHEDULE_WSD, -1, 1, 0, 0, 1.0, 0.0)));
    assert_true(isnan(llm_schedule_rate(LLM_SCHEDULE_WSD, 0, 0, 0, 0, 1.0, 0.0)));
    assert_true(isnan(llm_schedule_rate(LLM_SCHEDULE_WSD, 0, 1, 0, 0, (double)NAN, 0.0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw),       cmocka_unit_test(test_sgd),
        cmocka_unit_test(test_threads),     cmocka_unit_test(test_groups),
        cmocka_unit_test(test_bad_options), cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_schedules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
