/* SPDX-License-Identifier: MIT
 *
 * GPT-2 against PyTorch: logits, loss, every gradient and twenty AdamW steps; and against itself:
 * packed or one by one, cached or whole, checkpointed or not, on any number of threads.
 */
#include "fixture.h"

#include "base/json.h"
#include "nn/kv_cache.h"
#include "train/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const folders[] = {"gpt2-plain", "gpt2-options", "gpt2-unscaled"};

enum { FOLDERS = sizeof folders / sizeof folders[0] };

static void check(struct cx *cx)
{
    if (cx_status(cx))
        fail_msg("%s", status_message());
}

/* ---- against PyTorch ---------------------------------------------------------------------------
 */

static void logits_agree(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        struct golden golden;
        llm_tensor *logits;
        struct cx cx;
        double error;

        golden_open(&golden, folders[i], 2);
        assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
        logits = model_logits(&cx, golden.model, model_hidden(&cx, golden.model, &golden.batch));
        check(&cx);
        assert_int_equal(tensor_count(golden.logits), tensor_count(logits));
        error = largest_difference(tensor_f32(logits), tensor_f32(golden.logits),
                                   tensor_count(logits), 1.0);
        if (!(error < 1e-4))
            fail_msg("%s: logits differ by %g", folders[i], error);
        cx_free(&cx);
        golden_close(&golden);
    }
}

static float train_pass(struct cx *cx, const struct golden *golden)
{
    llm_tensor *loss = model_loss(cx, golden->model, &golden->batch, golden->targets->data, 0.0f);
    float value;

    check(cx);
    value = *tensor_f32(loss);
    assert_int_equal(LLM_OK, cx_backward(cx, loss, 1.0f));
    return value;
}

/* The gradient of a parameter against the golden one, which lies as in files. */
static double gradient_error(const struct golden *golden, const struct param *param)
{
    char name[160];
    struct param gradient = *param;
    llm_tensor *expected, *got;
    llm_tensor view;
    double error, scale = 0.0;

    (void)snprintf(name, sizeof name, "grad.%s", param->name);
    expected = golden_tensor(golden, name);
    gradient.tensor = param->tensor->grad;
    assert_non_null(gradient.tensor);
    params_file_view(&view, &gradient);
    assert_int_equal(LLM_OK,
                     tensor_new(&got, golden->context, LLM_F32, view.dimensions, view.shape));
    assert_int_equal(LLM_OK, tensor_copy(got, &view));
    for (int64_t i = 0; i < tensor_count(expected); i++)
        scale = fmax(scale, fabs((double)tensor_f32(expected)[i]));
    error = largest_difference(tensor_f32(got), tensor_f32(expected), tensor_count(got), scale);
    tensor_release(expected);
    tensor_release(got);
    return error;
}

static void gradients_agree(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        struct golden golden;
        llm_tensor *expected;
        struct cx cx;
        float loss;

        golden_open(&golden, folders[i], 2);
        assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
        cx.recording = true;
        cx.release_in_backward = true;
        loss = train_pass(&cx, &golden);
        expected = golden_tensor(&golden, "loss");
        if (!(fabsf(loss - *tensor_f32(expected)) < 1e-4f))
            fail_msg("%s: loss %g, expected %g", folders[i], (double)loss,
                     (double)*tensor_f32(expected));
        for (size_t p = 0; p < golden.model->params.count; p++) {
            double error = gradient_error(&golden, &golden.model->params.list[p]);

            if (!(error < 1e-3))
                fail_msg("%s: gradient of %s differs by %g", folders[i],
                         golden.model->params.list[p].name, error);
        }
        tensor_release(expected);
        cx_free(&cx);
        golden_close(&golden);
    }
}

static llm_optimizer *make_optimizer(const struct golden *golden)
{
    llm_optimizer_options options;
    llm_optimizer *optimizer;
    int32_t decayed, plain;

    assert_int_equal(LLM_OK, llm_optimizer_options_init(&options, sizeof options));
    options.learning_rate = 1e-3;
    options.beta1 = 0.9;
    options.beta2 = 0.95;
    options.epsilon = 1e-8;
    options.clip_norm = 0.0;
    assert_int_equal(LLM_OK, optimizer_new(&optimizer, golden->context, &options));
    assert_int_equal(LLM_OK, optimizer_add_group(&decayed, optimizer, 0.1, 1.0));
    assert_int_equal(LLM_OK, optimizer_add_group(&plain, optimizer, 0.0, 1.0));
    for (size_t i = 0; i < golden->model->params.count; i++) {
        const struct param *param = &golden->model->params.list[i];

        assert_int_equal(LLM_OK, optimizer_add(optimizer, param->tensor, param->name,
                                               param->flags & PARAM_DECAY ? decayed : plain));
    }
    return optimizer;
}

static void twenty_steps_agree(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        struct golden golden;
        llm_optimizer *optimizer;
        llm_tensor *expected;
        struct cx cx;

        golden_open(&golden, folders[i], 2);
        optimizer = make_optimizer(&golden);
        expected = golden_tensor(&golden, "adamw_losses");
        assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
        for (int step = 0; step < 20; step++) {
            float loss;

            cx_reset(&cx);
            cx.recording = true;
            optimizer_zero_grad(optimizer);
            loss = train_pass(&cx, &golden);
            assert_int_equal(LLM_OK, optimizer_step(optimizer));
            if (!(fabsf(loss - tensor_f32(expected)[step]) < 1e-3f))
                fail_msg("%s: loss of step %d is %g, expected %g", folders[i], step, (double)loss,
                         (double)tensor_f32(expected)[step]);
        }
        cx_free(&cx);
        tensor_release(expected);
        optimizer_release(optimizer);
        golden_close(&golden);
    }
}

/* ---- against itself ----------------------------------------------------------------------------
 */

static void packed_equals_separate(void **state)
{
    struct golden golden;
    llm_tensor *packed;
    struct cx cx;

    (void)state;
    golden_open(&golden, "gpt2-plain", 2);
    assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
    packed = model_hidden(&cx, golden.model, &golden.batch);
    check(&cx);
    for (int32_t s = 0; s < golden.batch.segments; s++) {
        int32_t begin = golden.batch.offsets[s];
        int32_t offsets[2] = {0, golden.batch.offsets[s + 1] - begin};
        struct batch one = {.tokens = offsets[1],
                            .ids = golden.batch.ids + begin,
                            .positions = golden.batch.positions + begin,
                            .segments = 1,
                            .offsets = offsets};
        llm_tensor *alone = model_hidden(&cx, golden.model, &one);

        check(&cx);
        assert_memory_equal(tensor_f32(alone), tensor_f32(packed) + begin * golden.model->dim,
                            (size_t)tensor_count(alone) * sizeof(float));
    }
    cx_free(&cx);
    golden_close(&golden);
}

/* Prefill in chunks, then token by token, two sequences at once. */
static void cached_equals_whole(void **state)
{
    static const int32_t cuts[] = {0, 4, 5, 9, 12};
    struct golden golden;
    struct kv_cache_shape shape;
    struct kv_cache *cache;
    int32_t sequences[2];
    llm_tensor *whole;
    struct cx cx;

    (void)state;
    golden_open(&golden, "gpt2-options", 2);
    shape = (struct kv_cache_shape){golden.model->layers, golden.model->kv_heads,
                                    golden.model->head_dim, LLM_F32, 0};
    assert_int_equal(LLM_OK, kv_cache_new(&cache, golden.context, &shape));
    assert_int_equal(LLM_OK, kv_cache_add(cache, &sequences[0]));
    assert_int_equal(LLM_OK, kv_cache_add(cache, &sequences[1]));
    assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
    whole = model_hidden(&cx, golden.model, &golden.batch); /* sequence 2 holds 12 tokens */
    check(&cx);
    for (int i = 0; i < 4; i++) {
        int32_t count = cuts[i + 1] - cuts[i];
        int32_t ids[24], positions[24];
        int32_t offsets[3] = {0, count, 2 * count};
        const int32_t *from = golden.batch.ids + golden.batch.offsets[2] + cuts[i];
        struct batch part = {.tokens = 2 * count,
                             .ids = ids,
                             .positions = positions,
                             .segments = 2,
                             .offsets = offsets,
                             .cache = cache,
                             .sequences = sequences};
        llm_tensor *hidden;
        double error;

        for (int32_t t = 0; t < count; t++) {
            ids[t] = ids[count + t] = from[t];
            positions[t] = positions[count + t] = cuts[i] + t;
        }
        assert_int_equal(LLM_OK, kv_cache_reserve(cache, sequences[0], count));
        assert_int_equal(LLM_OK, kv_cache_reserve(cache, sequences[1], count));
        assert_int_equal(LLM_OK, model_check(golden.model, &part));
        hidden = model_hidden(&cx, golden.model, &part);
        check(&cx);
        kv_cache_commit(cache, sequences[0], count);
        kv_cache_commit(cache, sequences[1], count);
        error = largest_difference(tensor_f32(hidden),
                                   tensor_f32(whole) +
                                       (golden.batch.offsets[2] + cuts[i]) * golden.model->dim,
                                   count * golden.model->dim, 1.0);
        if (!(error < 1e-5))
            fail_msg("tokens %d..%d differ by %g", cuts[i], cuts[i + 1], error);
        assert_memory_equal(tensor_f32(hidden), tensor_f32(hidden) + count * golden.model->dim,
                            (size_t)(count * golden.model->dim) * sizeof(float));
    }
    cx_free(&cx);
    kv_cache_release(cache);
    golden_close(&golden);
}

static const char dropout_config[] =
    "{\"model_type\":\"gpt2\",\"n_embd\":18,\"n_head\":3,\"n_layer\":2,\"n_positions\":24,"
    "\"vocab_size\":61,\"resid_pdrop\":0.3,\"embd_pdrop\":0.2,\"attn_pdrop\":0.4}";

/* All gradients of one training pass, laid end to end; free() them. */
static float *gradients(const char *folder, int32_t threads, bool checkpointing, bool release,
                        bool dropout, size_t *count_out, float *loss)
{
    struct golden golden;
    float *all;
    size_t count = 0;
    struct cx cx;

    golden_open(&golden, folder, threads);
    if (dropout) {
        model_release(golden.model);
        assert_int_equal(LLM_OK, model_new(&golden.model, golden.context, dropout_config,
                                           strlen(dropout_config), "config", false));
        params_initialize(&golden.model->params, 5);
    }
    assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
    cx.recording = true;
    cx.training = dropout;
    cx.checkpointing = checkpointing;
    cx.release_in_backward = release;
    *loss = train_pass(&cx, &golden);
    all = calloc((size_t)golden.model->params.elements, sizeof *all);
    assert_non_null(all);
    for (size_t i = 0; i < golden.model->params.count; i++) {
        const llm_tensor *grad = golden.model->params.list[i].tensor->grad;

        assert_non_null(grad);
        memcpy(all + count, grad->data, (size_t)tensor_count(grad) * sizeof *all);
        count += (size_t)tensor_count(grad);
    }
    cx_free(&cx);
    golden_close(&golden);
    *count_out = count;
    return all;
}

static void expect_same(const char *what, const float *base, size_t base_count, float base_loss,
                        int32_t threads, bool checkpointing, bool release, bool dropout)
{
    size_t count;
    float loss;
    float *other = gradients("gpt2-plain", threads, checkpointing, release, dropout, &count, &loss);

    assert_int_equal(base_count, count);
    assert_memory_equal(&base_loss, &loss, sizeof loss);
    if (memcmp(base, other, count * sizeof *base) != 0)
        fail_msg("%s changes the gradients", what);
    free(other);
}

static void ways_to_train_agree(void **state)
{
    (void)state;
    for (int dropout = 0; dropout < 2; dropout++) {
        size_t count;
        float loss;
        float *base = gradients("gpt2-plain", 1, false, false, dropout, &count, &loss);

        expect_same("releasing values", base, count, loss, 1, false, true, dropout);
        expect_same("checkpointing", base, count, loss, 1, true, false, dropout);
        expect_same("checkpointing and releasing", base, count, loss, 1, true, true, dropout);
        expect_same("two threads", base, count, loss, 2, false, true, dropout);
        expect_same("seven threads", base, count, loss, 7, true, true, dropout);
        free(base);
    }
}

/* ---- a checkpoint from elsewhere ----------------------------------------------------------------
 */

static int32_t best(const float *logits, int64_t count)
{
    int64_t at = 0;

    for (int64_t i = 1; i < count; i++) {
        if (logits[i] > logits[at])
            at = i;
    }
    return (int32_t)at;
}

static void greedy_row(llm_model *model, const json_t *row)
{
    const json_t *input = json_object_get(row, "input");
    const json_t *expected = json_object_get(row, "expected");
    size_t count = json_array_size(input);
    size_t total = json_array_size(expected);
    int32_t ids[64];
    float *logits = calloc(64 * (size_t)model->vocabulary, sizeof *logits);

    assert_non_null(logits);
    assert_true(count > 0 && total <= 64);
    for (size_t i = 0; i < count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(input, i));
    for (; count < total; count++) {
        assert_int_equal(LLM_OK, llm_model_logits(logits, 64 * (size_t)model->vocabulary, NULL,
                                                  model, ids, count));
        ids[count] = best(logits + (count - 1) * (size_t)model->vocabulary, model->vocabulary);
    }
    for (size_t i = 0; i < total; i++)
        assert_int_equal(json_integer_value(json_array_get(expected, i)), ids[i]);
    free(logits);
}

static void random_gpt2_agrees(void **state)
{
    const char *data = getenv("LLM_TEST_DATA");
    llm_context *context;
    json_t *reference;
    llm_model *model;
    json_t *greedy;
    char path[1024];

    (void)state;
    if (!data) {
        puts("SKIPPED: LLM_TEST_DATA is not set (tiny-random-gpt2 with its reference)");
        skip();
    }
    context = make_context(2);
    (void)snprintf(path, sizeof path, "%s/tiny-random-gpt2", data);
    if (model_load(&model, context, path, NULL))
        fail_msg("%s", status_message());
    (void)snprintf(path, sizeof path, "%s/tiny-random-gpt2/reference.json", data);
    reference = json_load_file(path, 0, NULL);
    assert_non_null(reference);
    greedy = json_object_get(reference, "greedy");
    assert_true(json_array_size(greedy) > 0);
    for (size_t i = 0; i < json_array_size(greedy); i++)
        greedy_row(model, json_array_get(greedy, i));
    json_decref(reference);
    model_release(model);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_agree),        cmocka_unit_test(gradients_agree),
        cmocka_unit_test(twenty_steps_agree),  cmocka_unit_test(packed_equals_separate),
        cmocka_unit_test(cached_equals_whole), cmocka_unit_test(ways_to_train_agree),
        cmocka_unit_test(random_gpt2_agrees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
