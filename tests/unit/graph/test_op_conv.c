/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct conv_case {
    int64_t batch, in, length, out, width;
    struct conv1d_options options;
    bool bias;
};

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    const struct conv_case *c = arg;

    return op_conv1d(cx, in[0], in[1], c->bias ? in[2] : NULL, &c->options);
}

static int64_t out_length(const struct conv_case *c)
{
    const struct conv1d_options *o = &c->options;
    int64_t span = o->dilation * (c->width - 1);
    int64_t padding = o->causal ? span : 2 * o->padding;

    return (c->length + padding - span - 1) / o->stride + 1;
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct conv_case *c = arg;
    const struct conv1d_options *o = &c->options;
    int64_t left = o->causal ? o->dilation * (c->width - 1) : o->padding;
    int64_t times = out_length(c);
    int64_t group_in = c->in / o->groups, group_out = c->out / o->groups;

    for (int64_t at = 0; at < count; at++) {
        int64_t t = at % times, channel = at / times % c->out, b = at / times / c->out;

        out[at] = c->bias ? in[2][channel] : 0.0;
        for (int64_t i = 0; i < group_in; i++)
            for (int64_t k = 0; k < c->width; k++) {
                int64_t from = t * o->stride + k * o->dilation - left;
                int64_t source = channel / group_out * group_in + i;

                if (from >= 0 && from < c->length)
                    out[at] += in[0][(b * c->in + source) * c->length + from] *
                               in[1][(channel * group_in + i) * c->width + k];
            }
    }
}

static void test_gradients(void **state)
{
    /* stride, dilation, padding, groups, causal */
    static const struct conv_case cases[] = {
        {2, 3, 7, 4, 3, {1, 1, 0, 1, false}, true},  {2, 3, 7, 4, 3, {1, 1, 2, 1, false}, false},
        {2, 3, 9, 2, 2, {1, 4, 0, 1, true}, true},  /* WaveNet */
        {1, 2, 3, 2, 2, {1, 8, 0, 1, true}, true},  /* dilation beyond the signal */
        {2, 4, 8, 6, 3, {2, 1, 1, 2, false}, true}, /* strided, grouped */
        {1, 4, 8, 4, 3, {3, 2, 3, 4, false}, true}, /* depthwise */
        {3, 4, 5, 3, 1, {1, 1, 0, 1, false}, true}, /* no unrolling */
        {3, 4, 5, 2, 1, {1, 1, 0, 2, false}, false}, {2, 2, 5, 2, 1, {2, 1, 0, 1, false}, true},
        {2, 2, 5, 3, 1, {1, 1, 1, 1, false}, true},  {1, 1, 1, 1, 1, {1, 1, 0, 1, true}, false},
        {1, 2, 4, 2, 3, {7, 1, 5, 1, false}, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct conv_case *c = &cases[i];
        struct gradcheck check = {
            .name = "conv1d",
            .inputs = c->bias ? 3 : 2,
            .in = {{.dimensions = 3, .shape = {c->batch, c->in, c->length}},
                   {.dimensions = 3, .shape = {c->out, c->in / c->options.groups, c->width}},
                   {.dimensions = 1, .shape = {c->out}}},
            .run = run,
            .reference = reference,
            .arg = c};

        gradcheck_run(&check);
    }
}

/* The future does not reach the past. */
static void test_causal(void **state)
{
    llm_context *context = gradcheck_context(1);
    int64_t x_shape[3] = {1, 2, 10};
    int64_t w_shape[3] = {2, 2, 3};
    struct conv1d_options options = {1, 2, 0, 1, true};
    llm_tensor *x = gradcheck_tensor(context, false, 1, 3, x_shape);
    llm_tensor *w = gradcheck_tensor(context, false, 2, 3, w_shape);
    struct cx cx;
    llm_tensor *before, *after;

    (void)state;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    before = op_conv1d(&cx, x, w, NULL, &options);
    tensor_f32(x)[6] += 1.0f;
    after = op_conv1d(&cx, x, w, NULL, &options);
    assert_non_null(before);
    assert_non_null(after);
    for (int t = 0; t < 6; t++)
        assert_true(tensor_f32(before)[t] == tensor_f32(after)[t]);
    assert_true(tensor_f32(before)[6] != tensor_f32(after)[6]);
    cx_free(&cx);
    tensor_release(x);
    tensor_release(w);
    llm_context_free(context);
}

static void expect(struct cx *cx, llm_status status, llm_tensor *x, llm_tensor *weight,
                   llm_tensor *bias, struct conv1d_options options)
{
    assert_null(op_conv1d(cx, x, weight, bias, &options));
    assert_int_equal(cx_status(cx), status);
    assert_string_not_equal(status_message(), "");
    cx_reset(cx);
}

static void test_misuse(void **state)
{
    static const struct conv1d_options plain = {1, 1, 0, 1, false};
    llm_context *context = gradcheck_context(1);
    int64_t x_shape[3] = {1, 4, 5};
    int64_t w_shape[3] = {3, 4, 2};
    int64_t half_shape[3] = {3, 2, 2};
    int64_t wide_shape[3] = {3, 4, 9};
    llm_tensor *x = gradcheck_tensor(context, false, 1, 3, x_shape);
    llm_tensor *w = gradcheck_tensor(context, false, 2, 3, w_shape);
    llm_tensor *half = gradcheck_tensor(context, false, 2, 3, half_shape);
    llm_tensor *wide = gradcheck_tensor(context, false, 2, 3, wide_shape);
    llm_tensor *bias = gradcheck_tensor(context, false, 2, 1, x_shape);
    llm_tensor *integers = NULL;
    struct cx cx;

    (void)state;
    assert_int_equal(tensor_new(&integers, context, LLM_I32, 3, x_shape), LLM_OK);
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    expect(&cx, LLM_E_INVALID, NULL, w, NULL, plain);
    expect(&cx, LLM_E_INVALID, x, NULL, NULL, plain);
    expect(&cx, LLM_E_SHAPE, x, half, NULL, plain);
    expect(&cx, LLM_E_SHAPE, x, wide, NULL, plain);
    expect(&cx, LLM_E_SHAPE, x, w, bias, plain);
    expect(&cx, LLM_E_SHAPE, bias, w, NULL, plain);
    expect(&cx, LLM_E_SHAPE, x, half, NULL, (struct conv1d_options){1, 1, 0, 2, false});
    expect(&cx, LLM_E_RANGE, x, w, NULL, (struct conv1d_options){0, 1, 0, 1, false});
    expect(&cx, LLM_E_RANGE, x, w, NULL, (struct conv1d_options){1, 0, 0, 1, false});
    expect(&cx, LLM_E_RANGE, x, w, NULL, (struct conv1d_options){1, 1, -1, 1, false});
    expect(&cx, LLM_E_RANGE, x, w, NULL, (struct conv1d_options){1, 1, 0, 0, false});
    expect(&cx, LLM_E_RANGE, x, w, NULL, (struct conv1d_options){1, INT64_MAX, 0, 1, true});
    expect(&cx, LLM_E_RANGE, x, w, NULL, (struct conv1d_options){1, 1, INT64_MAX, 1, false});
    expect(&cx, LLM_E_RANGE, x, w, NULL, (struct conv1d_options){INT64_MAX, 1, 0, 1, false});
    expect(&cx, LLM_E_UNSUPPORTED, integers, w, NULL, plain);
    assert_non_null(op_conv1d(&cx, x, w, NULL, NULL));
    cx_free(&cx);
    tensor_release(x);
    tensor_release(w);
    tensor_release(half);
    tensor_release(wide);
    tensor_release(bias);
    tensor_release(integers);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_causal),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_conv", tests, NULL, NULL);
}
