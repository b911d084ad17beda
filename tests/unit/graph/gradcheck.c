/* SPDX-License-Identifier: MIT */
#include "gradcheck.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum run_flags { RUN_VIEWS = 1, RUN_RELEASE = 2, RUN_TWICE = 4 };

/* What one run left behind. */
struct outcome {
    int64_t count;
    float *values;
    float *grad[GRADCHECK_INPUTS];
};

static void *failing_alloc(void *user, size_t size, size_t alignment)
{
    struct failing_allocator *allocator = user;
    size_t rounded = (size + alignment - 1) / alignment * alignment;
    void *block;

    if (allocator->fail_at >= 0 && allocator->count >= allocator->fail_at)
        return NULL;
    allocator->count++;
    block = aligned_alloc(alignment, rounded ? rounded : alignment);
    if (block)
        allocator->live++;
    return block;
}

static void failing_release(void *user, void *pointer, size_t size)
{
    struct failing_allocator *allocator = user;

    (void)size;
    if (pointer)
        allocator->live--;
    free(pointer);
}

llm_context *gradcheck_failing_context(struct failing_allocator *allocator, int32_t threads)
{
    llm_context_options options;
    llm_context *context = NULL;

    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    options.threads = threads;
    options.alloc = failing_alloc;
    options.release = failing_release;
    options.alloc_user = allocator;
    (void)llm_context_new(&context, &options);
    return context;
}

llm_context *gradcheck_context(int32_t threads)
{
    llm_context_options options;
    llm_context *context = NULL;

    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    options.threads = threads;
    assert_int_equal(llm_context_new(&context, &options), LLM_OK);
    return context;
}

llm_tensor *gradcheck_tensor(llm_context *context, bool requires_grad, uint64_t seed,
                             int32_t dimensions, const int64_t *shape)
{
    struct rng rng = rng_make(seed, 7);
    llm_tensor *tensor = NULL;

    assert_int_equal(tensor_new(&tensor, context, LLM_F32, dimensions, shape), LLM_OK);
    for (int64_t i = 0; i < tensor_count(tensor); i++)
        tensor_f32(tensor)[i] = (float)(rng_uniform(&rng) * 2.0 - 1.0);
    tensor->requires_grad = requires_grad;
    return tensor;
}

static int64_t count_of(const struct gradcheck_input *input)
{
    int64_t count = 1;

    for (int32_t i = 0; i < input->dimensions; i++)
        count *= input->shape[i];
    return count;
}

/* The numbers of input i, rounded to float so that engine and reference start from the same. */
static double *input_values(const struct gradcheck *check, int i)
{
    const struct gradcheck_input *input = &check->in[i];
    struct rng rng = rng_make(1234, (uint64_t)i);
    int64_t count = count_of(input);
    double low = input->low, high = input->high;
    double *values = calloc((size_t)count + 1, sizeof *values);

    assert_non_null(values);
    if (low == 0.0 && high == 0.0) {
        low = -1.0;
        high = 1.0;
    }
    for (int64_t j = 0; j < count; j++) {
        double uniform = low + (high - low) * rng_uniform(&rng);

        values[j] = (double)(float)(input->values ? input->values[j] : uniform);
    }
    return values;
}

static float output_gradient(int64_t i)
{
    uint32_t words[4];

    philox(99, 1, (uint64_t)i, words);
    return (float)(words[0] >> 8) * 0x1p-23f - 1.0f;
}

static bool is_viewed(const struct gradcheck_input *input, unsigned flags)
{
    return (flags & RUN_VIEWS) && input->dimensions >= 2 && !input->no_view;
}

/* Position of the row-major element j in the layout whose last two axes are swapped. */
static int64_t swapped(const struct gradcheck_input *input, int64_t j)
{
    int64_t columns = input->shape[input->dimensions - 1];
    int64_t rows = input->shape[input->dimensions - 2];
    int64_t matrix = rows * columns;

    return j / matrix * matrix + j % columns * rows + j % matrix / columns;
}

static llm_tensor *make_input(llm_context *context, const struct gradcheck_input *input,
                              const double *values, unsigned flags)
{
    int64_t shape[LLM_MAX_DIMENSIONS];
    llm_tensor *tensor = NULL;
    int32_t n = input->dimensions;
    bool viewed = is_viewed(input, flags);

    memcpy(shape, input->shape, sizeof shape);
    if (viewed) {
        shape[n - 1] = input->shape[n - 2];
        shape[n - 2] = input->shape[n - 1];
    }
    if (tensor_new(&tensor, context, LLM_F32, n, shape))
        return NULL;
    for (int64_t j = 0; j < tensor_count(tensor); j++)
        tensor_f32(tensor)[viewed ? swapped(input, j) : j] = (float)values[j];
    tensor->requires_grad = !input->is_constant;
    return tensor;
}

/* Forward and backward once; false when something failed, which only the failing allocator may. */
static bool run_once(const struct gradcheck *check, struct cx *cx, llm_tensor *const *leaf,
                     unsigned flags, struct outcome *outcome)
{
    llm_tensor *in[GRADCHECK_INPUTS] = {0};
    llm_tensor *dy = NULL;
    llm_tensor *flat;
    llm_tensor *y;

    cx->recording = true;
    cx->training = check->training;
    cx->release_in_backward = (flags & RUN_RELEASE) != 0;
    for (int i = 0; i < check->inputs; i++)
        in[i] = is_viewed(&check->in[i], flags) ? op_transpose(cx, leaf[i], -1, -2) : leaf[i];
    y = check->run(cx, in, check->arg);
    flat = y ? op_reshape(cx, y, y->dimensions, y->shape) : NULL;
    if (!flat)
        return false;
    if (outcome && !outcome->values) {
        outcome->count = tensor_count(y);
        outcome->values = calloc((size_t)outcome->count + 1, sizeof(float));
        assert_non_null(outcome->values);
        memcpy(outcome->values, flat->data, (size_t)outcome->count * sizeof(float));
    }
    if (tensor_new(&dy, cx->context, LLM_F32, y->dimensions, y->shape))
        return false;
    for (int64_t i = 0; i < tensor_count(dy); i++)
        tensor_f32(dy)[i] = output_gradient(i);
    if (y->requires_grad)
        (void)cx_backward_from(cx, flat, dy);
    tensor_release(dy);
    return cx->status == LLM_OK;
}

static void keep_gradients(const struct gradcheck *check, llm_tensor *const *leaf, unsigned flags,
                           struct outcome *outcome)
{
    for (int i = 0; i < check->inputs; i++) {
        const struct gradcheck_input *input = &check->in[i];
        int64_t count = count_of(input);

        if (input->is_constant)
            continue;
        outcome->grad[i] = calloc((size_t)count + 1, sizeof(float));
        assert_non_null(outcome->grad[i]);
        if (!leaf[i]->grad) {
            if (count)
                fail_msg("%s: input %d got no gradient", check->name, i);
            continue;
        }
        for (int64_t j = 0; j < count; j++) {
            int64_t at = is_viewed(input, flags) ? swapped(input, j) : j;

            outcome->grad[i][j] = tensor_f32(leaf[i]->grad)[at];
        }
    }
}

/* The whole life in one context; `outcome` NULL: failures are expected. */
static bool run_in(const struct gradcheck *check, llm_context *context, double *const *values,
                   unsigned flags, struct outcome *outcome)
{
    llm_tensor *leaf[GRADCHECK_INPUTS] = {0};
    struct cx cx;
    bool ok = cx_init(&cx, context) == LLM_OK;

    if (!ok)
        return false;
    for (int i = 0; ok && i < check->inputs; i++) {
        leaf[i] = make_input(context, &check->in[i], values[i], flags);
        ok = leaf[i] != NULL;
    }
    if (ok)
        ok = run_once(check, &cx, leaf, flags, outcome);
    if (ok && (flags & RUN_TWICE)) {
        cx_reset(&cx);
        ok = run_once(check, &cx, leaf, flags, outcome);
    }
    if (!ok && outcome)
        fail_msg("%s: %s", check->name, cx.message);
    if (ok && outcome)
        keep_gradients(check, leaf, flags, outcome);
    cx_free(&cx);
    for (int i = 0; i < check->inputs; i++)
        tensor_release(leaf[i]);
    return ok;
}

static void outcome_free(struct outcome *outcome)
{
    free(outcome->values);
    for (int i = 0; i < GRADCHECK_INPUTS; i++)
        free(outcome->grad[i]);
    memset(outcome, 0, sizeof *outcome);
}

static void run_with_threads(const struct gradcheck *check, int32_t threads, double *const *values,
                             unsigned flags, struct outcome *outcome)
{
    llm_context *context = gradcheck_context(threads);

    memset(outcome, 0, sizeof *outcome);
    (void)run_in(check, context, values, flags, outcome);
    llm_context_free(context);
}

static void expect_near(const struct gradcheck *check, const char *what, int64_t index, double is,
                        double wanted)
{
    double tolerance = check->tolerance > 0.0 ? check->tolerance : 2e-5;

    if (!(fabs(is - wanted) <= tolerance * fmax(1.0, fabs(wanted))))
        fail_msg("%s: %s [%lld] is %.9g, should be %.9g", check->name, what, (long long)index, is,
                 wanted);
}

/* sum of dy * reference, and the reference's values in out */
static double objective(const struct gradcheck *check, double *const *values, double *out,
                        int64_t count)
{
    double sum = 0.0;

    check->reference(out, count, (const double *const *)values, check->arg);
    for (int64_t i = 0; i < count; i++)
        sum += out[i] * (double)output_gradient(i);
    return sum;
}

static void check_values(const struct gradcheck *check, double *const *values,
                         const struct outcome *first)
{
    double *out = calloc((size_t)first->count + 1, sizeof *out);

    assert_non_null(out);
    (void)objective(check, values, out, first->count);
    for (int64_t i = 0; i < first->count; i++)
        expect_near(check, "output", i, (double)first->values[i], out[i]);
    free(out);
}

static void check_gradients(const struct gradcheck *check, double *const *values,
                            const struct outcome *first)
{
    double *out = calloc((size_t)first->count + 1, sizeof *out);
    double step = check->step > 0.0 ? check->step : 1e-5;
    char what[64];

    assert_non_null(out);
    for (int i = 0; i < check->inputs; i++) {
        int64_t count = check->in[i].is_constant ? 0 : count_of(&check->in[i]);

        (void)snprintf(what, sizeof what, "gradient of input %d", i);
        for (int64_t j = 0; j < count; j++) {
            double kept = values[i][j];
            double above, below;

            values[i][j] = kept + step;
            above = objective(check, values, out, first->count);
            values[i][j] = kept - step;
            below = objective(check, values, out, first->count);
            values[i][j] = kept;
            expect_near(check, what, j, (double)first->grad[i][j], (above - below) / (2.0 * step));
        }
    }
    free(out);
}

/* `factor` 0: the bits must be equal. Else b = factor * a but for rounding. */
static void compare(const struct gradcheck *check, const char *what, const struct outcome *a,
                    const struct outcome *b, double factor)
{
    assert_int_equal(a->count, b->count);
    for (int i = -1; i < check->inputs; i++) {
        const float *left = i < 0 ? a->values : a->grad[i];
        const float *right = i < 0 ? b->values : b->grad[i];
        int64_t count = i < 0 ? a->count : count_of(&check->in[i]);

        if (!left)
            continue;
        if (factor == 0.0 && memcmp(left, right, (size_t)count * sizeof *left) != 0)
            fail_msg("%s: %s: bits of %s %d differ", check->name, what,
                     i < 0 ? "output" : "gradient", i);
        for (int64_t j = 0; factor != 0.0 && j < count; j++)
            expect_near(check, what, j, (double)right[j], (double)left[j] * (i < 0 ? 1.0 : factor));
    }
}

static void check_failing_allocator(const struct gradcheck *check, double *const *values)
{
    for (long fail_at = 0; fail_at < 10000; fail_at++) {
        struct failing_allocator allocator = {fail_at, 0, 0};
        llm_context *context = gradcheck_failing_context(&allocator, 2);
        bool ok = context && run_in(check, context, values, RUN_VIEWS, NULL);

        llm_context_free(context);
        if (allocator.live != 0)
            fail_msg("%s: %ld blocks leak when allocation %ld fails", check->name, allocator.live,
                     fail_at);
        if (ok)
            return;
    }
    fail_msg("%s: never succeeds under the failing allocator", check->name);
}

void gradcheck_run(const struct gradcheck *check)
{
    double *values[GRADCHECK_INPUTS] = {0};
    struct outcome first, other;

    for (int i = 0; i < check->inputs; i++)
        values[i] = input_values(check, i);
    run_with_threads(check, 1, values, 0, &first);
    check_values(check, values, &first);
    check_gradients(check, values, &first);
    for (int32_t threads = 2; threads <= 3; threads++) {
        run_with_threads(check, threads, values, 0, &other);
        compare(check, "threads", &first, &other, 0.0);
        outcome_free(&other);
    }
    run_with_threads(check, 2, values, RUN_RELEASE, &other);
    compare(check, "releasing tape", &first, &other, 0.0);
    outcome_free(&other);
    run_with_threads(check, 2, values, RUN_VIEWS, &other);
    compare(check, "strided inputs", &first, &other, 1.0);
    outcome_free(&other);
    run_with_threads(check, 2, values, RUN_TWICE | RUN_RELEASE, &other);
    compare(check, "accumulation", &first, &other, 2.0);
    outcome_free(&other);
    check_failing_allocator(check, values);
    outcome_free(&first);
    for (int i = 0; i < check->inputs; i++)
        free(values[i]);
}
