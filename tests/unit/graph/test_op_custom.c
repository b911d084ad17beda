/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct user {
    int forwards, backwards, releases;
    llm_status forward_status, backward_status;
};

/* y = a * b + a */
static llm_status forward(void *user, int32_t inputs, const llm_tensor *const *in, llm_tensor *out)
{
    struct user *u = user;

    assert_int_equal(inputs, 2);
    assert_true(tensor_is_contiguous(in[0]) && tensor_is_contiguous(in[1]));
    for (int64_t i = 0; i < tensor_count(out); i++)
        tensor_f32(out)[i] = tensor_f32(in[0])[i] * tensor_f32(in[1])[i] + tensor_f32(in[0])[i];
    u->forwards++;
    return u->forward_status;
}

static llm_status backward(void *user, int32_t inputs, const llm_tensor *const *in,
                           const llm_tensor *out, const llm_tensor *d_out, llm_tensor *const *d_in)
{
    struct user *u = user;

    assert_int_equal(inputs, 2);
    for (int64_t i = 0; i < tensor_count(out); i++) {
        float dy = tensor_f32(d_out)[i];

        if (d_in[0])
            tensor_f32(d_in[0])[i] += dy * (tensor_f32(in[1])[i] + 1.0f);
        if (d_in[1])
            tensor_f32(d_in[1])[i] += dy * tensor_f32(in[0])[i];
    }
    u->backwards++;
    return u->backward_status;
}

static void release(void *user)
{
    ((struct user *)user)->releases++;
}

static llm_tensor *apply(struct cx *cx, struct user *user, llm_tensor *a, llm_tensor *b)
{
    struct custom_op op = {user, forward, backward, release};
    llm_tensor *in[2] = {a, b};

    return op_custom(cx, &op, 2, in, a ? a->dimensions : 0, a ? a->shape : NULL);
}

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    static struct user user;

    (void)arg;
    return apply(cx, &user, in[0], in[1]);
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    (void)arg;
    for (int64_t i = 0; i < count; i++)
        out[i] = in[0][i] * in[1][i] + in[0][i];
}

static void test_gradients(void **state)
{
    struct gradcheck check = {
        .name = "custom",
        .inputs = 2,
        .in = {{.dimensions = 2, .shape = {3, 4}}, {.dimensions = 2, .shape = {3, 4}}},
        .run = run,
        .reference = reference};

    (void)state;
    gradcheck_run(&check);
    check.in[1].is_constant = true;
    gradcheck_run(&check);
}

static llm_tensor *block(struct cx *cx, void *arg, llm_tensor *x)
{
    return apply(cx, arg, x, x);
}

/* release is called once for each op_custom(), whatever became of it. */
static void test_release(void **state)
{
    llm_context *context = gradcheck_context(1);
    int64_t three = 3;
    llm_tensor *x = gradcheck_tensor(context, true, 1, 1, &three);
    struct user user = {0};
    struct cx cx;
    llm_tensor *y;

    (void)state;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    assert_non_null(apply(&cx, &user, x, x));
    assert_int_equal(user.releases, 1); /* not recorded */
    cx.recording = true;
    y = apply(&cx, &user, x, x);
    assert_int_equal(cx_backward(&cx, op_sum(&cx, y, 0, false), 1.0f), LLM_OK);
    assert_int_equal(user.releases, 1);
    cx_reset(&cx);
    assert_int_equal(user.releases, 2);
    cx.checkpointing = true;
    y = cx_segment(&cx, block, &user, x);
    assert_int_equal(user.releases, 3); /* the first run */
    assert_int_equal(cx_backward(&cx, op_sum(&cx, y, 0, false), 1.0f), LLM_OK);
    assert_int_equal(user.releases, 4); /* the second */
    assert_null(apply(&cx, &user, x, NULL));
    assert_int_equal(user.releases, 5);
    assert_null(apply(&cx, &user, x, x)); /* after a failure */
    assert_int_equal(user.releases, 6);
    cx_reset(&cx);
    user.forward_status = LLM_E_NUMERIC;
    assert_null(apply(&cx, &user, x, x));
    assert_int_equal(cx_status(&cx), LLM_E_NUMERIC);
    assert_int_equal(user.releases, 7);
    cx_reset(&cx);
    user.forward_status = LLM_OK;
    user.backward_status = LLM_E_CANCELLED;
    y = apply(&cx, &user, x, x);
    assert_int_equal(cx_backward(&cx, op_sum(&cx, y, 0, false), 1.0f), LLM_E_CANCELLED);
    cx_free(&cx);
    assert_int_equal(user.releases, 8);
    tensor_release(x);
    llm_context_free(context);
}

static void test_misuse(void **state)
{
    llm_context *context = gradcheck_context(1);
    int64_t three = 3;
    llm_tensor *x = gradcheck_tensor(context, true, 1, 1, &three);
    struct user user = {0};
    struct custom_op op = {&user, NULL, backward, NULL};
    struct cx cx;

    (void)state;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    cx.recording = true;
    assert_null(op_custom(&cx, NULL, 1, &x, 1, &three));
    assert_int_equal(cx_status(&cx), LLM_E_INVALID);
    cx_reset(&cx);
    assert_null(op_custom(&cx, &op, 1, &x, 1, &three));
    assert_int_equal(cx_status(&cx), LLM_E_INVALID);
    cx_reset(&cx);
    op.forward = forward;
    assert_null(op_custom(&cx, &op, NODE_INPUTS + 1, &x, 1, &three));
    assert_int_equal(cx_status(&cx), LLM_E_RANGE);
    cx_reset(&cx);
    assert_null(op_custom(&cx, &op, 1, NULL, 1, &three));
    assert_int_equal(cx_status(&cx), LLM_E_RANGE);
    cx_reset(&cx);
    assert_null(op_custom(&cx, &op, 1, &x, 1, NULL));
    assert_int_equal(cx_status(&cx), LLM_E_INVALID);
    cx_free(&cx);
    tensor_release(x);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_custom", tests, NULL, NULL);
}
