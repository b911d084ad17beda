/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Batch, sizes and transposes of one product; batch_a or batch_b 0: that operand has no batch axis,
 * else 1 (repeated) or the batch. */
struct product_case {
    int64_t batch_a, batch_b, m, n, k;
    bool transpose_a, transpose_b;
};

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    const struct product_case *c = arg;

    return op_matmul(cx, in[0], in[1], c->transpose_a, c->transpose_b);
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct product_case *c = arg;

    for (int64_t at = 0; at < count; at++) {
        int64_t j = at % c->n;
        int64_t i = at / c->n % c->m;
        int64_t batch = at / (c->n * c->m);
        const double *a = in[0] + (c->batch_a > 1 ? batch * c->m * c->k : 0);
        const double *b = in[1] + (c->batch_b > 1 ? batch * c->n * c->k : 0);

        out[at] = 0.0;
        for (int64_t p = 0; p < c->k; p++)
            out[at] += a[c->transpose_a ? p * c->m + i : i * c->k + p] *
                       b[c->transpose_b ? j * c->k + p : p * c->n + j];
    }
}

static void set_shape(struct gradcheck_input *input, int64_t batch, int64_t rows, int64_t columns)
{
    input->dimensions = 0;
    if (batch)
        input->shape[input->dimensions++] = batch;
    input->shape[input->dimensions++] = rows;
    input->shape[input->dimensions++] = columns;
}

static void test_products(void **state)
{
    static const struct product_case shapes[] = {
        {0, 0, 3, 5, 4, false, false}, {0, 0, 1, 1, 1, false, false}, {0, 0, 7, 2, 9, false, false},
        {2, 2, 3, 4, 5, false, false}, {3, 0, 2, 4, 5, false, false}, {0, 3, 2, 4, 5, false, false},
        {1, 3, 2, 3, 4, false, false}, {3, 1, 2, 3, 4, false, false}, {0, 0, 2, 3, 0, false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (int transposes = 0; transposes < 4; transposes++) {
            struct product_case c = shapes[i];
            struct gradcheck check = {.name = "matmul", .inputs = 2, .run = run};

            c.transpose_a = (transposes & 1) != 0;
            c.transpose_b = (transposes & 2) != 0;
            set_shape(&check.in[0], c.batch_a, c.transpose_a ? c.k : c.m,
                      c.transpose_a ? c.m : c.k);
            set_shape(&check.in[1], c.batch_b, c.transpose_b ? c.n : c.k,
                      c.transpose_b ? c.k : c.n);
            check.reference = reference;
            check.arg = &c;
            gradcheck_run(&check);
        }
    }
}

static llm_tensor *run_square(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    (void)arg;
    return op_matmul(cx, in[0], in[0], false, true);
}

static void reference_square(double *out, int64_t count, const double *const *in, const void *arg)
{
    struct product_case c = {0, 0, 4, 4, 3, false, true};
    const double *both[2] = {in[0], in[0]};

    (void)arg;
    reference(out, count, both, &c);
}

static void test_same_operand_twice(void **state)
{
    struct gradcheck check = {.name = "matmul(x, x)",
                              .inputs = 1,
                              .in = {{.dimensions = 2, .shape = {4, 3}}},
                              .run = run_square,
                              .reference = reference_square};

    (void)state;
    gradcheck_run(&check);
}

/* No product reaches an operand that is repeated zero times: its gradient is zero, not garbage. */
static void test_empty_batch(void **state)
{
    llm_context *context = gradcheck_context(1);
    int64_t empty[3] = {0, 2, 3};
    int64_t one[3] = {1, 3, 2};
    llm_tensor *a = gradcheck_tensor(context, true, 1, 3, empty);
    llm_tensor *b = gradcheck_tensor(context, true, 2, 3, one);
    struct cx cx;
    llm_tensor *y;

    (void)state;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    cx.recording = true;
    y = op_matmul(&cx, a, b, false, false);
    assert_non_null(y);
    assert_int_equal(tensor_count(y), 0);
    assert_int_equal(cx_backward_from(&cx, y, y), LLM_OK);
    for (int i = 0; b->grad && i < 6; i++)
        assert_true(tensor_f32(b->grad)[i] == 0.0f);
    cx_free(&cx);
    tensor_release(a);
    tensor_release(b);
    llm_context_free(context);
}

static void expect_failure(struct cx *cx, llm_status status, llm_tensor *a, llm_tensor *b)
{
    assert_null(op_matmul(cx, a, b, false, false));
    assert_int_equal(cx_status(cx), status);
    assert_string_not_equal(status_message(), "");
    assert_null(op_matmul(cx, a, a, false, true)); /* sticky */
    cx_reset(cx);
    assert_int_equal(cx_status(cx), LLM_OK);
}

static void test_misuse(void **state)
{
    llm_context *context = gradcheck_context(1);
    int64_t shape[3] = {2, 3, 4};
    llm_tensor *a = gradcheck_tensor(context, false, 1, 3, shape);
    llm_tensor *flat = gradcheck_tensor(context, false, 1, 1, shape);
    int64_t other[3] = {3, 4, 2};
    llm_tensor *b = gradcheck_tensor(context, false, 1, 3, other);
    llm_tensor *integers = NULL;
    struct cx cx;

    (void)state;
    assert_int_equal(tensor_new(&integers, context, LLM_I32, 2, shape), LLM_OK);
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    expect_failure(&cx, LLM_E_INVALID, a, NULL);
    expect_failure(&cx, LLM_E_INVALID, NULL, a);
    expect_failure(&cx, LLM_E_SHAPE, a, a);
    expect_failure(&cx, LLM_E_SHAPE, a, flat);
    expect_failure(&cx, LLM_E_SHAPE, a, b); /* batches 2 and 3 */
    expect_failure(&cx, LLM_E_UNSUPPORTED, a, integers);
    cx_free(&cx);
    tensor_release(a);
    tensor_release(b);
    tensor_release(flat);
    tensor_release(integers);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_same_operand_twice),
        cmocka_unit_test(test_empty_batch),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_matmul", tests, NULL, NULL);
}
