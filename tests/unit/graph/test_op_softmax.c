/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct softmax_case {
    bool is_log;
    int32_t axis;
    int64_t outer, n, inner; /* the shape around the axis */
};

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    const struct softmax_case *c = arg;

    return c->is_log ? op_log_softmax(cx, in[0], c->axis) : op_softmax(cx, in[0], c->axis);
}

static llm_tensor *run_released(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    llm_tensor *y = run(cx, in, arg);
    llm_tensor *z = op_affine(cx, y, 1.0f, 0.0f);

    cx_release(cx, y);
    return z;
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct softmax_case *c = arg;

    (void)count;
    for (int64_t o = 0; o < c->outer; o++) {
        for (int64_t i = 0; i < c->inner; i++) {
            int64_t start = o * c->n * c->inner + i;
            double sum = 0.0;

            for (int64_t j = 0; j < c->n; j++)
                sum += exp(in[0][start + j * c->inner]);
            for (int64_t j = 0; j < c->n; j++) {
                double x = in[0][start + j * c->inner];

                out[start + j * c->inner] = c->is_log ? x - log(sum) : exp(x) / sum;
            }
        }
    }
}

static void test_gradients(void **state)
{
    static const struct softmax_case cases[] = {
        {false, -1, 6, 5, 1}, {true, -1, 6, 5, 1},  {false, 1, 2, 3, 5},
        {true, 1, 2, 3, 5},   {false, 0, 1, 2, 15}, {true, -3, 1, 2, 15},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gradcheck check = {
            .name = cases[i].is_log ? "log_softmax" : "softmax",
            .inputs = 1,
            .in = {{.dimensions = 3, .shape = {2, 3, 5}, .low = -4.0, .high = 4.0}},
            .run = run,
            .reference = reference,
            .arg = &cases[i]};

        gradcheck_run(&check);
        check.run = run_released;
        gradcheck_run(&check);
    }
}

static void test_odd_shapes(void **state)
{
    static const struct softmax_case one = {false, -1, 1, 1, 1}, empty = {true, -1, 0, 4, 1};
    struct gradcheck check = {.name = "softmax of a scalar",
                              .inputs = 1,
                              .run = run,
                              .reference = reference,
                              .arg = &one};

    (void)state;
    gradcheck_run(&check);
    check.arg = &empty;
    check.in[0] = (struct gradcheck_input){.dimensions = 2, .shape = {0, 4}};
    gradcheck_run(&check);
}

static void test_misuse(void **state)
{
    llm_context *context = gradcheck_context(1);
    int64_t shape[2] = {3, 4};
    llm_tensor *x = gradcheck_tensor(context, false, 1, 2, shape);
    struct cx cx;

    (void)state;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    assert_null(op_softmax(&cx, x, 2));
    assert_int_equal(cx_status(&cx), LLM_E_SHAPE);
    cx_reset(&cx);
    assert_null(op_log_softmax(&cx, x, -3));
    assert_int_equal(cx_status(&cx), LLM_E_SHAPE);
    cx_reset(&cx);
    assert_null(op_softmax(&cx, NULL, 0));
    assert_int_equal(cx_status(&cx), LLM_E_INVALID);
    cx_free(&cx);
    tensor_release(x);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_odd_shapes),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_softmax", tests, NULL, NULL);
}
