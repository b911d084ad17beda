/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { ROWS = 5, HEADS = 2 };

static const int32_t positions[ROWS] = {0, 1, 7, 100, 2};
static const float frequencies[] = {1.0f, 0.25f, 0.0625f};

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    return op_rope(cx, in[0], positions, arg);
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct rope_options *o = arg;
    int32_t half = o->rotary_dim / 2;

    for (int64_t at = 0; at < count; at++) {
        int32_t i = (int32_t)(at % o->head_dim);
        const double *head = in[0] + (at - i);
        int32_t pair = o->interleaved ? i / 2 : half ? i % half : 0;
        int32_t other = o->interleaved ? i ^ 1 : i < half ? i + half : i - half;
        double sign = other > i ? -1.0 : 1.0;
        double angle;

        if (i >= o->rotary_dim) {
            out[at] = head[i];
            continue;
        }
        angle = (double)positions[at / (HEADS * o->head_dim)] * (double)frequencies[pair];
        out[at] = (double)o->scale * (head[i] * cos(angle) + sign * head[other] * sin(angle));
    }
}

static void test_gradients(void **state)
{
    static const struct rope_options all[] = {
        {6, 6, 0, frequencies, 1.0f}, {6, 6, 1, frequencies, 1.0f}, {7, 4, 0, frequencies, 1.5f},
        {7, 4, 1, frequencies, 0.5f}, {3, 0, 0, NULL, 1.0f},
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct gradcheck check = {
            .name = "rope",
            .inputs = 1,
            .in = {{.dimensions = 2, .shape = {ROWS, HEADS * all[i].head_dim}}},
            .run = run,
            .reference = reference,
            .arg = &all[i]};

        gradcheck_run(&check);
    }
}

static void test_misuse(void **state)
{
    static const struct rope_options wrong[] = {
        {4, 4, 0, frequencies, 1.0f}, /* 6 columns are not heads of 4 */
        {6, 5, 0, frequencies, 1.0f}, {6, 8, 0, frequencies, 1.0f},  {6, 4, 0, NULL, 1.0f},
        {0, 0, 0, NULL, 1.0f},        {6, -2, 0, frequencies, 1.0f},
    };
    llm_context *context = gradcheck_context(1);
    llm_tensor *x = gradcheck_tensor(context, false, 1, 2, (const int64_t[]){ROWS, 6});
    struct cx cx;

    (void)state;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_null(op_rope(&cx, x, positions, &wrong[i]));
        assert_int_not_equal(cx_status(&cx), LLM_OK);
        cx_reset(&cx);
    }
    cx_free(&cx);
    tensor_release(x);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gradients),
                                       cmocka_unit_test(test_misuse)};

    return cmocka_run_group_tests_name("op_rope", tests, NULL, NULL);
}
