/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    llm_tensor *y;
    llm_tensor *z;

    cx->seed = 17;
    cx->stream = 5;
    y = op_dropout(cx, in[0], 0.25f);
    if (!arg)
        return y;
    z = op_affine(cx, y, 1.0f, 0.0f);
    cx_release(cx, y);
    return z;
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    uint32_t words[4];

    (void)arg;
    for (int64_t i = 0; i < count; i++) {
        philox(17, 5, (uint64_t)i / 4, words);
        out[i] = words[i % 4] < 0x40000000u ? 0.0 : in[0][i] / 0.75;
    }
}

static void test_gradients(void **state)
{
    struct gradcheck check = {.name = "dropout",
                              .inputs = 1,
                              .in = {{.dimensions = 2, .shape = {7, 23}}},
                              .run = run,
                              .reference = reference,
                              .training = true};

    (void)state;
    gradcheck_run(&check);
    check.arg = "released";
    gradcheck_run(&check);
}

/* The share that stays, its scale, a new mask for each call, nothing outside training. */
static void test_masks(void **state)
{
    llm_context *context = gradcheck_context(2);
    int64_t shape[1] = {200000};
    llm_tensor *x = gradcheck_tensor(context, false, 1, 1, shape);
    struct cx cx;
    llm_tensor *first;
    llm_tensor *second;
    double kept = 0.0;

    (void)state;
    for (int64_t i = 0; i < shape[0]; i++)
        tensor_f32(x)[i] = 1.0f;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    assert_ptr_equal(op_dropout(&cx, x, 0.5f), x);
    cx.training = true;
    assert_ptr_equal(op_dropout(&cx, x, 0.0f), x);
    assert_true(cx.stream == 0);
    first = op_dropout(&cx, x, 0.1f);
    second = op_dropout(&cx, x, 0.1f);
    assert_true(first && second);
    assert_true(cx.stream == 2);
    for (int64_t i = 0; i < shape[0]; i++) {
        float y = tensor_f32(first)[i];

        assert_true(y == 0.0f || y == 1.0f / (1.0f - 0.1f));
        kept += y != 0.0f;
    }
    assert_true(fabs(kept / 200000.0 - 0.9) < 0.004); /* six standard deviations */
    assert_memory_not_equal(first->data, second->data, 1000 * sizeof(float));
    cx_free(&cx);
    tensor_release(x);
    llm_context_free(context);
}

static void test_misuse(void **state)
{
    static const float bad[] = {-0.1f, 1.0f, 2.0f, NAN};
    llm_context *context = gradcheck_context(1);
    int64_t shape[1] = {4};
    llm_tensor *x = gradcheck_tensor(context, false, 1, 1, shape);
    struct cx cx;

    (void)state;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    for (int i = 0; i < 4; i++) {
        assert_null(op_dropout(&cx, x, bad[i]));
        assert_int_equal(cx_status(&cx), LLM_E_RANGE);
        cx_reset(&cx);
    }
    assert_null(op_dropout(&cx, NULL, 0.1f));
    assert_int_equal(cx_status(&cx), LLM_E_INVALID);
    cx_free(&cx);
    tensor_release(x);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_dropout", tests, NULL, NULL);
}
