/* SPDX-License-Identifier: MIT
 *
 * llm/tape.h as a program that links the library sees it: gradients, sticky errors, ownership, the
 * graph as text, user-defined operations, and a small training loop under the failing allocator.
 */
#include "failing_allocator.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static llm_context *context;
static llm_tape *tape;

static int setup(void **state)
{
    (void)state;
    return llm_context_new(&context, NULL) || llm_tape_new(&tape, context, NULL);
}

static int teardown(void **state)
{
    (void)state;
    llm_context_free(context); /* the tape keeps it */
    llm_tape_free(tape);
    return 0;
}

static int reset(void **state)
{
    (void)state;
    return llm_tape_reset(tape);
}

static llm_tensor *leaf(llm_context *owner, int64_t rows, int64_t columns, const float *values)
{
    int64_t shape[2];
    llm_tensor *tensor = NULL;

    shape[0] = rows;
    shape[1] = columns;
    if (llm_tensor_new(&tensor, owner, LLM_F32, 2, shape) != LLM_OK)
        return NULL;
    if (values)
        (void)llm_tensor_write_f32(tensor, values, (size_t)(rows * columns));
    (void)llm_tensor_set_requires_grad(tensor, 1);
    return tensor;
}

static void test_gradients(void **state)
{
    const float a_values[4] = {1, 2, 3, 4};
    const float b_values[2] = {5, -6};
    llm_tensor *a = leaf(context, 2, 2, a_values);
    llm_tensor *b = leaf(context, 1, 2, b_values);
    llm_tensor *c = NULL, *loss = NULL;
    float out[4];

    (void)state;
    assert_int_equal(llm_op_mul(&c, tape, a, b), LLM_OK); /* b is broadcast */
    assert_int_equal(llm_op_sum(&loss, tape, c, 0, 0), LLM_OK);
    assert_int_equal(llm_tensor_read_f32(loss, out, 1), LLM_OK);
    assert_true(out[0] == 1 * 5 + 2 * -6 + 3 * 5 + 4 * -6);
    for (int pass = 1; pass <= 2; pass++) { /* gradients add up over passes */
        assert_int_equal(llm_backward(tape, loss), LLM_OK);
        assert_int_equal(llm_tensor_read_f32(llm_tensor_grad(b), out, 2), LLM_OK);
        assert_true(out[0] == 4.0f * (float)pass && out[1] == 6.0f * (float)pass);
    }
    llm_tensor_zero_grad(b);
    assert_null(llm_tensor_grad(b));
    llm_tensor_free(a); /* before the tape forgets it: the results stay readable */
    llm_tensor_free(b);
}

static void test_sticky_errors(void **state)
{
    llm_tensor *a = leaf(context, 2, 3, NULL);
    llm_tensor *b = leaf(context, 2, 3, NULL);
    llm_tensor *c = (llm_tensor *)1;
    char first[512];

    (void)state;
    assert_int_equal(llm_op_matmul(&c, tape, a, b, 0, 0), LLM_E_SHAPE);
    assert_null(c);
    strncpy(first, llm_last_error(), sizeof first - 1);
    first[sizeof first - 1] = '\0';
    assert_non_null(strstr(first, "[2,3]"));
    assert_int_equal(llm_op_tanh(&c, tape, c), LLM_E_SHAPE);
    assert_int_equal(llm_op_tanh(&c, tape, a), LLM_E_SHAPE); /* even with good inputs */
    assert_int_equal(llm_backward(tape, c), LLM_E_SHAPE);
    assert_string_equal(llm_last_error(), first);
    assert_int_equal(llm_tape_status(tape), LLM_E_SHAPE);
    assert_int_equal(llm_tape_reset(tape), LLM_OK);
    assert_int_equal(llm_tape_status(tape), LLM_OK);
    assert_int_equal(llm_op_matmul(&c, tape, a, b, 0, 1), LLM_OK);
    assert_int_equal(llm_op_tanh(NULL, tape, a), LLM_E_INVALID);
    assert_int_equal(llm_op_tanh(&c, NULL, a), LLM_E_INVALID);
    assert_int_equal(llm_op_tanh(&c, tape, NULL), LLM_E_INVALID);
    llm_tensor_free(a);
    llm_tensor_free(b);
}

static void test_foreign_tensors(void **state)
{
    int64_t shape[1] = {4};
    llm_tape *other = NULL;
    llm_tensor *a = leaf(context, 2, 2, NULL);
    llm_tensor *whole = NULL, *c = NULL, *d = NULL;

    (void)state;
    assert_int_equal(llm_tape_new(&other, context, NULL), LLM_OK);
    assert_int_equal(llm_op_exp(&c, other, a), LLM_OK);
    assert_int_equal(llm_op_exp(&d, tape, c), LLM_E_INVALID);
    assert_non_null(strstr(llm_last_error(), "another tape"));
    assert_int_equal(llm_tape_reset(tape), LLM_OK);
    assert_int_equal(llm_tensor_new(&whole, context, LLM_I32, 1, shape), LLM_OK);
    assert_int_equal(llm_op_exp(&d, tape, whole), LLM_E_UNSUPPORTED);
    llm_tensor_free(c); /* tape tensors: nothing happens */
    llm_tape_free(other);
    llm_tensor_free(whole);
    llm_tensor_free(a);
}

static void test_backward_needs_a_scalar(void **state)
{
    llm_tensor *a = leaf(context, 2, 2, NULL);
    llm_tensor *plain = NULL, *c = NULL;
    int64_t shape[2] = {2, 2};

    (void)state;
    assert_int_equal(llm_op_exp(&c, tape, a), LLM_OK);
    assert_int_equal(llm_backward(tape, c), LLM_E_SHAPE);
    assert_int_equal(llm_tape_reset(tape), LLM_OK);
    assert_int_equal(llm_tensor_new(&plain, context, LLM_F32, 2, shape), LLM_OK);
    assert_int_equal(llm_op_sum(&c, tape, plain, 0, 0), LLM_OK);
    assert_int_equal(llm_backward(tape, c), LLM_E_INVALID); /* nobody wants a gradient */
    assert_int_equal(llm_tape_reset(tape), LLM_OK);
    assert_int_equal(llm_op_exp(&c, tape, a), LLM_OK);
    assert_int_equal(llm_backward_from(tape, c, plain), LLM_OK);
    assert_int_equal(llm_tape_set_recording(tape, 0), LLM_OK);
    assert_int_equal(llm_tape_reset(tape), LLM_OK);
    assert_int_equal(llm_op_sum(&c, tape, a, 0, 0), LLM_OK);
    assert_int_equal(llm_backward(tape, c), LLM_E_INVALID); /* not recorded */
    assert_int_equal(llm_tape_set_recording(tape, 1), LLM_OK);
    llm_tensor_free(plain);
    llm_tensor_free(a);
}

static void test_dot(void **state)
{
    llm_tensor *a = NULL, *c = NULL;
    size_t needed = 0;
    char small[8];
    char *text;

    (void)state;
    assert_int_equal(llm_tensor_new(&a, context, LLM_F32, 0, NULL), LLM_OK);
    assert_int_equal(llm_tensor_set_requires_grad(a, 1), LLM_OK);
    assert_int_equal(llm_tensor_set_name(a, "w{1}"), LLM_OK);
    assert_int_equal(llm_op_tanh(&c, tape, a), LLM_OK);
    assert_int_equal(llm_backward(tape, c), LLM_OK);
    assert_int_equal(llm_tape_dot(tape, NULL, 0, &needed), LLM_OK);
    assert_int_equal(llm_tape_dot(tape, small, sizeof small, &needed), LLM_E_BUFFER);
    text = malloc(needed);
    assert_non_null(text);
    assert_int_equal(llm_tape_dot(tape, text, needed, &needed), LLM_OK);
    assert_int_equal(strlen(text) + 1, needed);
    assert_non_null(strstr(text, "tanh"));
    assert_non_null(strstr(text, "w\\{1\\}"));
    assert_non_null(strstr(text, "grad 1"));
    free(text);
    llm_tensor_free(a);
}

/* y = x^3 as a user would add it. */
static llm_status cube(void *user, int32_t inputs, const llm_tensor *const *in, llm_tensor *out)
{
    const float *x = llm_tensor_data(in[0]);
    float *y = llm_tensor_data(out);

    if (inputs != 1 || *(int *)user != 3)
        return LLM_E_INVALID;
    for (int64_t i = 0; i < llm_tensor_count(out); i++)
        y[i] = x[i] * x[i] * x[i];
    return LLM_OK;
}

static llm_status cube_backward(void *user, int32_t inputs, const llm_tensor *const *in,
                                const llm_tensor *out, const llm_tensor *d_out,
                                llm_tensor *const *d_in)
{
    const float *x = llm_tensor_data(in[0]);
    const float *dy = llm_tensor_data(d_out);
    float *dx = llm_tensor_data(d_in[0]);

    (void)user;
    (void)inputs;
    for (int64_t i = 0; i < llm_tensor_count(out); i++)
        dx[i] = 3.0f * x[i] * x[i] * dy[i];
    return LLM_OK;
}

static void test_custom(void **state)
{
    const float values[2] = {2, -3};
    int64_t shape[2] = {1, 2};
    int three = 3, four = 4;
    llm_custom_op op = {sizeof op, NULL, cube, cube_backward};
    llm_tensor *x = leaf(context, 1, 2, values);
    llm_tensor *y = NULL, *loss = NULL;
    float out[2];

    (void)state;
    op.user = &three;
    assert_int_equal(llm_op_custom(&y, tape, &op, 1, &x, 2, shape), LLM_OK);
    assert_int_equal(llm_op_sum(&loss, tape, y, 0, 0), LLM_OK);
    assert_int_equal(llm_backward(tape, loss), LLM_OK);
    assert_int_equal(llm_tensor_read_f32(llm_tensor_grad(x), out, 2), LLM_OK);
    assert_true(out[0] == 12.0f && out[1] == 27.0f);
    op.user = &four;
    assert_int_equal(llm_op_custom(&y, tape, &op, 1, &x, 2, shape), LLM_E_INVALID);
    assert_int_equal(llm_tape_reset(tape), LLM_OK);
    op.forward = NULL;
    assert_int_equal(llm_op_custom(&y, tape, &op, 1, &x, 2, shape), LLM_E_INVALID);
    llm_tensor_free(x);
}

/* Two steps of a small network that touches most kinds of operations. */
static llm_status network(llm_context *owner, void *user)
{
    const int32_t targets[4] = {0, 2, 1, 2};
    llm_tensor *x = leaf(owner, 4, 8, NULL);
    llm_tensor *w = leaf(owner, 8, 8, NULL);
    llm_tensor *v = leaf(owner, 3, 8, NULL);
    llm_optimizer *optimizer = NULL;
    llm_tape *own = NULL;
    llm_tensor *h = NULL, *n = NULL, *loss = NULL;
    llm_attention_options attention;
    llm_status status = x && w && v ? llm_tape_new(&own, owner, NULL) : LLM_E_NOMEM;

    (void)user;
    if (!status)
        status = llm_optimizer_new(&optimizer, owner, NULL);
    if (!status)
        status = llm_optimizer_add(optimizer, w, "w", 0);
    if (!status)
        status = llm_optimizer_add(optimizer, v, "v", 0);
    if (!status)
        status = llm_tensor_fill_normal(w, 0.0, 0.5, 1);
    if (!status)
        status = llm_tensor_fill_normal(x, 0.0, 1.0, 2);
    for (int step = 0; step < 2 && !status; step++) {
        (void)llm_attention_options_init(&attention, sizeof attention);
        attention.heads = 2;
        attention.causal = 1;
        llm_op_layer_norm(&n, own, x, NULL, NULL, 1e-5);
        llm_op_linear(&h, own, n, w, NULL);
        llm_op_attention(&h, own, h, h, h, &attention);
        llm_op_gelu_tanh(&h, own, h);
        llm_op_add(&h, own, h, x);
        llm_op_linear_cross_entropy(&loss, own, h, v, targets, 4, -100, 0.1);
        status = llm_backward(own, loss);
        if (!status)
            status = llm_optimizer_step(optimizer);
        llm_optimizer_zero_grad(optimizer);
        if (llm_tape_reset(own))
            status = LLM_E_INTERNAL;
    }
    llm_tape_free(own);
    llm_optimizer_free(optimizer);
    llm_tensor_free(x);
    llm_tensor_free(w);
    llm_tensor_free(v);
    return status;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(failing_allocator_run(network, NULL, 1) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_gradients, reset),
        cmocka_unit_test_teardown(test_sticky_errors, reset),
        cmocka_unit_test_teardown(test_foreign_tensors, reset),
        cmocka_unit_test_teardown(test_backward_needs_a_scalar, reset),
        cmocka_unit_test_teardown(test_dot, reset),
        cmocka_unit_test_teardown(test_custom, reset),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
