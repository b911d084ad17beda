/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct pool_case {
    bool is_max, is_2d;
    int64_t planes, height, width; /* of the input */
    int64_t window_height, window_width, stride_height, stride_width;
};

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    const struct pool_case *c = arg;

    if (c->is_2d)
        return (c->is_max ? op_max_pool2d : op_avg_pool2d)(
            cx, in[0], c->window_height, c->window_width, c->stride_height, c->stride_width);
    return (c->is_max ? op_max_pool1d : op_avg_pool1d)(cx, in[0], c->window_width, c->stride_width);
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct pool_case *c = arg;
    int64_t out_height = (c->height - c->window_height) / c->stride_height + 1;
    int64_t out_width = (c->width - c->window_width) / c->stride_width + 1;

    for (int64_t at = 0; at < count; at++) {
        const double *plane = in[0] + at / (out_height * out_width) * c->height * c->width;
        int64_t top = at / out_width % out_height * c->stride_height;
        int64_t left = at % out_width * c->stride_width;
        double largest = -1e30, sum = 0.0;

        for (int64_t i = top; i < top + c->window_height; i++)
            for (int64_t j = left; j < left + c->window_width; j++) {
                largest = fmax(largest, plane[i * c->width + j]);
                sum += plane[i * c->width + j];
            }
        out[at] = c->is_max ? largest : sum / (double)(c->window_height * c->window_width);
    }
}

static void test_gradients(void **state)
{
    static const struct pool_case cases[] = {
        {true, false, 6, 1, 7, 1, 3, 1, 2}, {true, false, 2, 1, 5, 1, 5, 1, 1},
        {true, false, 2, 1, 9, 1, 2, 1, 4}, {true, true, 3, 4, 5, 2, 3, 1, 2},
        {true, true, 2, 5, 5, 2, 2, 2, 2},  {true, false, 40, 1, 9, 1, 4, 1, 1},
    };

    (void)state;
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        struct pool_case c = cases[i / 2];
        struct gradcheck check = {.name = "pool", .inputs = 1, .run = run, .arg = &c};

        c.is_max = i % 2 == 0;
        check.reference = reference;
        check.in[0].dimensions = 3;
        check.in[0].shape[0] = c.planes;
        check.in[0].shape[1] = c.height;
        check.in[0].shape[2] = c.width;
        gradcheck_run(&check);
    }
}

/* Equal elements: the first takes the gradient, as in PyTorch. A NaN wins. */
static void test_ties_and_nan(void **state)
{
    static const float values[6] = {2, 2, 1, NAN, 5, 6};
    static const float wanted[6] = {1, 0, 0, 1, 0, 0};
    llm_context *context = gradcheck_context(1);
    int64_t six = 6;
    llm_tensor *x = gradcheck_tensor(context, true, 1, 1, &six);
    struct cx cx;
    llm_tensor *y;

    (void)state;
    memcpy(x->data, values, sizeof values);
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    cx.recording = true;
    y = op_max_pool1d(&cx, x, 3, 3);
    assert_non_null(y);
    assert_true(isnan(tensor_f32(y)[1]));
    assert_int_equal(cx_backward(&cx, op_sum(&cx, y, 0, false), 1.0f), LLM_OK);
    assert_memory_equal(x->grad->data, wanted, sizeof wanted);
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
    llm_context *context = gradcheck_context(1);
    int64_t shape[2] = {3, 4};
    llm_tensor *x = gradcheck_tensor(context, true, 1, 2, shape);
    llm_tensor *flat = gradcheck_tensor(context, true, 1, 1, shape);
    llm_tensor *scalar = gradcheck_tensor(context, true, 1, 0, shape);
    llm_tensor *integers = NULL;
    struct cx cx;

    (void)state;
    assert_int_equal(tensor_new(&integers, context, LLM_I32, 2, shape), LLM_OK);
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    expect(&cx, op_max_pool1d(&cx, NULL, 1, 1), LLM_E_INVALID);
    expect(&cx, op_max_pool1d(&cx, x, 5, 1), LLM_E_SHAPE);
    expect(&cx, op_max_pool1d(&cx, scalar, 1, 1), LLM_E_SHAPE);
    expect(&cx, op_max_pool1d(&cx, x, 0, 1), LLM_E_RANGE);
    expect(&cx, op_avg_pool1d(&cx, x, 2, 0), LLM_E_RANGE);
    expect(&cx, op_avg_pool1d(&cx, x, INT64_MIN, INT64_MIN), LLM_E_RANGE);
    expect(&cx, op_avg_pool1d(&cx, x, INT64_MAX, 1), LLM_E_SHAPE);
    expect(&cx, op_max_pool2d(&cx, x, 4, 1, 1, 1), LLM_E_SHAPE);
    expect(&cx, op_max_pool2d(&cx, flat, 1, 1, 1, 1), LLM_E_SHAPE);
    expect(&cx, op_avg_pool2d(&cx, integers, 1, 1, 1, 1), LLM_E_UNSUPPORTED);
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
        cmocka_unit_test(test_ties_and_nan),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_pool", tests, NULL, NULL);
}
