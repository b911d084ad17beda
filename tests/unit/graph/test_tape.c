/* SPDX-License-Identifier: MIT
 *
 * The tape itself: errors that stick, gradients of shared and repeated values, releasing,
 * recomputing, segments with and without checkpointing.
 */
#include "gradcheck.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 6, WIDTH = 16, LAYERS = 4 };

static void start(struct cx *cx, llm_context *context)
{
    assert_int_equal(cx_init(cx, context), LLM_OK);
    cx->recording = true;
    cx->training = true;
}

static llm_tensor *matrix(llm_context *context, uint64_t seed, int64_t rows, int64_t columns)
{
    int64_t shape[2] = {rows, columns};

    return gradcheck_tensor(context, true, seed, 2, shape);
}

static float grad_at(const llm_tensor *x, int64_t i)
{
    assert_non_null(x->grad);
    return tensor_f32(x->grad)[i];
}

static void test_errors_stick(void **state)
{
    llm_context *context = gradcheck_context(1);
    llm_tensor *x = matrix(context, 1, 2, 3);
    struct cx cx;

    (void)state;
    start(&cx, context);
    assert_null(op_matmul(&cx, x, x, false, false));
    assert_int_equal(cx_status(&cx), LLM_E_SHAPE);
    assert_null(op_add(&cx, x, NULL)); /* a later error does not replace the first */
    assert_null(op_exp(&cx, x));
    assert_null(cx_segment(&cx, NULL, NULL, x));
    assert_int_equal(cx_backward(&cx, x, 1.0f), LLM_E_SHAPE);
    assert_non_null(strstr(status_message(), "matmul"));
    assert_null(cx_output_1d(&cx, 3));
    assert_null(cx_scratch(&cx, 0, 8));
    assert_null(cx_take(&cx, 8));
    cx_reset(&cx);
    assert_int_equal(cx_status(&cx), LLM_OK);
    assert_non_null(op_exp(&cx, x));
    cx_free(&cx);
    tensor_release(x);
    llm_context_free(context);
}

static void test_backward_misuse(void **state)
{
    llm_context *context = gradcheck_context(1);
    llm_tensor *x = matrix(context, 1, 2, 3);
    llm_tensor *y;
    struct cx cx;

    (void)state;
    start(&cx, context);
    assert_int_equal(cx_backward(&cx, NULL, 1.0f), LLM_E_INVALID);
    cx_reset(&cx);
    assert_int_equal(cx_backward(&cx, x, 1.0f), LLM_E_SHAPE);
    cx_reset(&cx);
    assert_int_equal(cx_backward_from(&cx, x, x), LLM_E_INVALID); /* not on the tape */
    cx_reset(&cx);
    y = op_exp(&cx, x);
    assert_int_equal(cx_backward_from(&cx, y, NULL), LLM_E_INVALID);
    cx_reset(&cx);
    y = op_sum(&cx, op_exp(&cx, x), 0, false);
    assert_int_equal(cx_backward_from(&cx, y, x), LLM_E_SHAPE);
    cx_reset(&cx);
    cx.recording = false;
    y = op_sum(&cx, op_exp(&cx, x), 0, false);
    assert_int_equal(cx_backward(&cx, y, 1.0f), LLM_E_INVALID); /* was not recorded */
    cx_free(&cx);
    tensor_release(x);
    llm_context_free(context);
}

/* add hands one gradient buffer to both operands; whoever adds to it first must get its own. */
static void test_shared_buffers(void **state)
{
    llm_context *context = gradcheck_context(1);
    llm_tensor *x = matrix(context, 1, 1, 4);
    struct cx cx;

    (void)state;
    for (int release = 0; release < 2; release++) {
        llm_tensor *a, *b, *c, *y;

        start(&cx, context);
        cx.release_in_backward = release != 0;
        a = op_affine(&cx, x, 3.0f, 0.0f);
        b = op_affine(&cx, x, 5.0f, 0.0f);
        c = op_add(&cx, a, b);
        y = op_add(&cx, op_add(&cx, c, a), op_add(&cx, b, op_add(&cx, a, a))); /* 4a + 2b */
        assert_non_null(y);
        assert_int_equal(cx_backward(&cx, op_sum(&cx, y, 0, false), 1.0f), LLM_OK);
        for (int i = 0; i < 4; i++)
            assert_true(grad_at(x, i) == 22.0f * (float)(release + 1)); /* passes add up */
        cx_free(&cx);
    }
    tensor_release(x);
    llm_context_free(context);
}

/* Views of a temporary, their gradients and the temporary's own all meet in one buffer. */
static void test_views_of_temporaries(void **state)
{
    llm_context *context = gradcheck_context(1);
    llm_tensor *x = matrix(context, 1, 3, 4);
    int64_t flat = 12;
    struct cx cx;
    llm_tensor *t, *y;

    (void)state;
    start(&cx, context);
    cx.release_in_backward = true;
    t = op_affine(&cx, x, 2.0f, 0.0f);
    y = op_sum(&cx, op_slice(&cx, t, 0, 1, 2, 1), 0, false); /* row 1 */
    y = op_add(&cx, y,
               op_sum(&cx, op_slice(&cx, op_transpose(&cx, t, 0, 1), 0, 3, 4, 1), 0, false));
    y = op_add(&cx, y, op_sum(&cx, t, 0, false));
    y = op_add(&cx, y, op_sum(&cx, op_reshape(&cx, t, 1, &flat), 0, false));
    assert_int_equal(cx_backward(&cx, y, 1.0f), LLM_OK);
    for (int i = 0; i < 12; i++)
        assert_true(grad_at(x, i) ==
                    4.0f + (i / 4 == 1 ? 2.0f : 0.0f) + (i % 4 == 3 ? 2.0f : 0.0f));
    cx_free(&cx);
    tensor_release(x);
    llm_context_free(context);
}

/* The loss need not be the last thing on the tape. */
static void test_nodes_after_the_loss(void **state)
{
    llm_context *context = gradcheck_context(1);
    llm_tensor *x = matrix(context, 1, 2, 2);
    struct cx cx;
    llm_tensor *loss;

    (void)state;
    start(&cx, context);
    cx.release_in_backward = true;
    loss = op_sum(&cx, x, 0, false);
    assert_non_null(op_exp(&cx, op_exp(&cx, x)));
    assert_int_equal(cx_backward(&cx, loss, 0.5f), LLM_OK);
    assert_true(grad_at(x, 0) == 0.5f && grad_at(x, 3) == 0.5f);
    cx_free(&cx);
    tensor_release(x);
    llm_context_free(context);
}

static void test_two_passes_over_one_tape(void **state)
{
    llm_context *context = gradcheck_context(1);
    llm_tensor *x = matrix(context, 1, 2, 2);
    struct cx cx;
    llm_tensor *t, *a, *b;

    (void)state;
    start(&cx, context);
    t = op_affine(&cx, x, 2.0f, 1.0f);
    a = op_sum(&cx, t, 0, false);
    b = op_sum(&cx, op_mul(&cx, t, t), 0, false);
    assert_int_equal(cx_backward(&cx, a, 1.0f), LLM_OK);
    assert_true(grad_at(x, 1) == 2.0f);
    assert_int_equal(cx_backward(&cx, a, 1.0f), LLM_OK);
    assert_true(grad_at(x, 1) == 4.0f);
    tensor_zero(x->grad);
    assert_int_equal(cx_backward(&cx, b, 1.0f), LLM_OK);
    assert_true(grad_at(x, 1) == 4.0f * tensor_f32(t)[1]);
    cx_reset(&cx);
    /* A tape that released what no op can compute again says so. */
    cx.release_in_backward = true;
    t = op_matmul(&cx, x, x, false, false);
    a = op_sum(&cx, op_mul(&cx, t, t), 0, false);
    assert_int_equal(cx_backward(&cx, a, 1.0f), LLM_OK);
    assert_null(t->data);
    assert_int_not_equal(cx_backward(&cx, a, 1.0f), LLM_OK);
    cx_free(&cx);
    tensor_release(x);
    llm_context_free(context);
}

/* Dropping an activation and computing it again changes nothing but memory. */
static void test_release_and_recompute(void **state)
{
    llm_context *context = gradcheck_context(2);
    float first[ROWS * WIDTH];

    (void)state;
    for (int release = 0; release < 2; release++) {
        llm_tensor *x = matrix(context, 1, ROWS, WIDTH);
        llm_tensor *w = matrix(context, 2, WIDTH, WIDTH);
        struct cx cx;
        llm_tensor *h, *view, *y;

        start(&cx, context);
        h = op_linear(&cx, x, w, NULL);
        view = op_transpose(&cx, h, 0, 1);
        y = op_linear(&cx, h, w, NULL);
        y = op_add(&cx, op_sum(&cx, y, 0, false), op_sum(&cx, op_mul(&cx, view, view), 0, false));
        if (release) {
            cx_release(&cx, h);
            assert_null(h->data);
        }
        assert_int_equal(cx_backward(&cx, y, 1.0f), LLM_OK);
        if (release)
            assert_memory_equal(first, x->grad->data, sizeof first);
        else
            memcpy(first, x->grad->data, sizeof first);
        cx_free(&cx);
        tensor_release(x);
        tensor_release(w);
    }
    llm_context_free(context);
}

/* ---- segments ---- */

struct block {
    llm_tensor *weight;
    llm_tensor *memory; /* an outside tensor of the tape, or NULL */
    bool nested, view;
    int runs;
};

static llm_tensor *inner_block(struct cx *cx, void *arg, llm_tensor *x)
{
    struct block *block = arg;

    return op_gelu(cx, op_linear(cx, x, block->weight, NULL));
}

static llm_tensor *run_block(struct cx *cx, void *arg, llm_tensor *x)
{
    struct block *block = arg;
    int64_t shape[2] = {-1, WIDTH};
    llm_tensor *h;

    block->runs++;
    h = block->nested ? cx_segment(cx, inner_block, block, x) : inner_block(cx, block, x);
    h = op_dropout(cx, h, 0.25f);
    if (block->memory)
        h = op_mul(cx, h, block->memory);
    h = op_add(cx, op_add(cx, x, h), x);
    return block->view ? op_reshape(cx, h, 2, shape) : h;
}

struct segment_run {
    float loss;
    float x[ROWS * WIDTH];
    float memory[ROWS * WIDTH];
    float weights[LAYERS][WIDTH * WIDTH];
    uint64_t peak;
    int runs;
};

enum { CHECKPOINT = 1, RELEASE = 2 };

/* Blocks in a row, two that share a weight, inputs that are used again later, an outside tensor. */
static void run_model(struct segment_run *out, llm_context *context, unsigned flags)
{
    struct block blocks[LAYERS] = {{0}};
    llm_tensor *x = matrix(context, 1, ROWS, WIDTH);
    llm_tensor *memory = matrix(context, 2, ROWS, WIDTH);
    llm_tensor *weights[LAYERS];
    llm_tensor *h, *early, *loss;
    struct cx cx;

    memset(out, 0, sizeof *out);
    start(&cx, context);
    cx.checkpointing = (flags & CHECKPOINT) != 0;
    cx.release_in_backward = (flags & RELEASE) != 0;
    for (int i = 0; i < LAYERS; i++)
        weights[i] = matrix(context, 10 + (uint64_t)i, WIDTH, WIDTH);
    h = op_affine(&cx, x, 0.5f, 0.0f);
    early = h;
    for (int i = 0; i < LAYERS; i++) {
        blocks[i].weight = weights[i == 3 ? 1 : i];
        blocks[i].nested = i == 1;
        blocks[i].view = i == 2;
        h = cx_segment(&cx, run_block, &blocks[i], h);
        if (i == 1) {
            for (int j = 2; j < LAYERS; j++)
                blocks[j].memory = op_sigmoid(&cx, op_mul(&cx, early, memory));
        }
    }
    h = op_add(&cx, h, early);
    loss = op_mean(&cx, op_mul(&cx, h, h), 0, false);
    assert_non_null(loss);
    out->loss = tensor_f32(loss)[0];
    assert_int_equal(cx_backward(&cx, loss, 1.0f), LLM_OK);
    memcpy(out->x, x->grad->data, sizeof out->x);
    memcpy(out->memory, memory->grad->data, sizeof out->memory);
    for (int i = 0; i < LAYERS - 1; i++)
        memcpy(out->weights[i], weights[i]->grad->data, sizeof out->weights[i]);
    for (int i = 0; i < LAYERS; i++) {
        out->runs += blocks[i].runs;
        tensor_release(weights[i]);
    }
    cx_free(&cx);
    tensor_release(x);
    tensor_release(memory);
}

static void test_checkpointing_gives_the_same_bits(void **state)
{
    static struct segment_run plain, other;
    llm_context *context = gradcheck_context(2);

    (void)state;
    run_model(&plain, context, 0);
    assert_int_equal(plain.runs, LAYERS);
    for (unsigned flags = 1; flags < 4; flags++) {
        run_model(&other, context, flags);
        assert_int_equal(other.runs, flags & CHECKPOINT ? 2 * LAYERS : LAYERS);
        other.runs = plain.runs;
        assert_memory_equal(&plain, &other, sizeof plain);
    }
    llm_context_free(context);
}

static llm_tensor *first_half(struct cx *cx, void *arg, llm_tensor *x)
{
    (void)arg;
    (void)op_exp(cx, x);
    return op_slice(cx, x, 0, 0, 1, 1);
}

static llm_tensor *outside(struct cx *cx, void *arg, llm_tensor *x)
{
    (void)cx;
    (void)x;
    return arg;
}

/* Blocks that return their input, a view of it, or something else from outside. */
static void test_segment_results_from_outside(void **state)
{
    llm_context *context = gradcheck_context(1);
    llm_tensor *x = matrix(context, 1, 2, 2);
    struct cx cx;

    (void)state;
    for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
        llm_tensor *t, *y;

        start(&cx, context);
        cx.checkpointing = checkpointing != 0;
        cx.release_in_backward = true;
        t = op_affine(&cx, x, 2.0f, 0.0f);
        y = op_sum(&cx, cx_segment(&cx, first_half, NULL, t), 0, false);
        y = op_add(&cx, y, op_sum(&cx, cx_segment(&cx, outside, t, x), 0, false));
        y = op_add(&cx, y, op_sum(&cx, cx_segment(&cx, outside, x, x), 0, false));
        assert_int_equal(cx_backward(&cx, y, 1.0f), LLM_OK);
        assert_true(grad_at(x, 0) == 5.0f && grad_at(x, 3) == 3.0f);
        tensor_zero(x->grad);
        cx_free(&cx);
    }
    tensor_release(x);
    llm_context_free(context);
}

/* Only the block's parameter wants a gradient, not its input. */
static void test_segment_with_constant_input(void **state)
{
    llm_context *context = gradcheck_context(1);
    float first[WIDTH * WIDTH];

    (void)state;
    for (int checkpointing = 0; checkpointing < 2; checkpointing++) {
        llm_tensor *x = matrix(context, 1, ROWS, WIDTH);
        struct block block = {.weight = matrix(context, 3, WIDTH, WIDTH)};
        struct cx cx;
        llm_tensor *y;

        x->requires_grad = false;
        start(&cx, context);
        cx.checkpointing = checkpointing != 0;
        y = cx_segment(&cx, inner_block, &block, x);
        assert_int_equal(cx_backward(&cx, op_sum(&cx, y, 0, false), 1.0f), LLM_OK);
        assert_null(x->grad);
        if (checkpointing)
            assert_memory_equal(first, block.weight->grad->data, sizeof first);
        else
            memcpy(first, block.weight->grad->data, sizeof first);
        cx_free(&cx);
        tensor_release(x);
        tensor_release(block.weight);
    }
    llm_context_free(context);
}

static llm_tensor *wide_block(struct cx *cx, void *arg, llm_tensor *x)
{
    llm_tensor *h = x;

    (void)arg;
    for (int i = 0; i < 8; i++)
        h = op_exp(cx, op_affine(cx, h, -0.5f, 0.0f));
    return op_add(cx, x, h);
}

/* The point of all this: bytes. */
static uint64_t peak_of(bool recording, bool checkpointing)
{
    llm_context *context = gradcheck_context(1);
    llm_tensor *x = matrix(context, 1, 64, 1024);
    uint64_t peak = 0;
    struct cx cx;
    llm_tensor *h = x;

    start(&cx, context);
    cx.recording = recording;
    cx.checkpointing = checkpointing;
    cx.release_in_backward = true;
    for (int i = 0; i < 8; i++)
        h = cx_segment(&cx, wide_block, NULL, h);
    assert_non_null(h);
    if (recording)
        assert_int_equal(cx_backward(&cx, op_sum(&cx, h, 0, false), 1.0f), LLM_OK);
    assert_int_equal(llm_context_memory(NULL, &peak, context), LLM_OK);
    cx_free(&cx);
    tensor_release(x);
    llm_context_free(context);
    return peak;
}

static void test_memory(void **state)
{
    uint64_t inference = peak_of(false, false);
    uint64_t checkpointed = peak_of(true, true);
    uint64_t full = peak_of(true, false);

    (void)state;
    assert_true(inference < checkpointed);
    assert_true(checkpointed * 2 < full);
}

static void test_cancel(void **state)
{
    llm_context *context = gradcheck_context(1);
    llm_tensor *x = matrix(context, 1, 2, 2);
    _Atomic int32_t cancel = 0;
    struct cx cx;

    (void)state;
    start(&cx, context);
    cx.cancel = &cancel;
    assert_non_null(cx_segment(&cx, wide_block, NULL, x));
    cancel = 1;
    assert_null(cx_segment(&cx, wide_block, NULL, x));
    assert_int_equal(cx_status(&cx), LLM_E_CANCELLED);
    cx_free(&cx);
    tensor_release(x);
    llm_context_free(context);
}

static bool run_failing(llm_context *context, unsigned flags)
{
    int64_t shape[2] = {ROWS, WIDTH}, weight_shape[2] = {WIDTH, WIDTH};
    struct block block = {.nested = true, .view = true};
    llm_tensor *x = NULL, *h;
    struct cx cx = {0};
    bool ok = !cx_init(&cx, context) && !tensor_new_zeroed(&x, context, LLM_F32, 2, shape) &&
              !tensor_new_zeroed(&block.weight, context, LLM_F32, 2, weight_shape);

    if (ok) {
        x->requires_grad = block.weight->requires_grad = true;
        cx.recording = cx.training = true;
        cx.checkpointing = (flags & CHECKPOINT) != 0;
        cx.release_in_backward = (flags & RELEASE) != 0;
        h = cx_segment(&cx, run_block, &block, cx_segment(&cx, run_block, &block, x));
        h = op_sum(&cx, h, 0, false);
        if (h)
            (void)cx_backward(&cx, h, 1.0f);
        ok = cx_status(&cx) == LLM_OK;
        if (!ok)
            assert_int_equal(cx_status(&cx), LLM_E_NOMEM);
    }
    cx_free(&cx);
    tensor_release(x);
    tensor_release(block.weight);
    return ok;
}

static void test_failing_allocator(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 4; flags++) {
        bool ok = false;

        for (long fail_at = 0; !ok && fail_at < 1000; fail_at++) {
            struct failing_allocator allocator = {fail_at, 0, 0};
            llm_context *context = gradcheck_failing_context(&allocator, 2);

            ok = context && run_failing(context, flags);
            llm_context_free(context);
            assert_int_equal(allocator.live, 0);
        }
        assert_true(ok);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_stick),
        cmocka_unit_test(test_backward_misuse),
        cmocka_unit_test(test_shared_buffers),
        cmocka_unit_test(test_views_of_temporaries),
        cmocka_unit_test(test_nodes_after_the_loss),
        cmocka_unit_test(test_two_passes_over_one_tape),
        cmocka_unit_test(test_release_and_recompute),
        cmocka_unit_test(test_checkpointing_gives_the_same_bits),
        cmocka_unit_test(test_segment_results_from_outside),
        cmocka_unit_test(test_segment_with_constant_input),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_failing_allocator),
    };

    return cmocka_run_group_tests_name("tape", tests, NULL, NULL);
}
