/* SPDX-License-Identifier: MIT
 *
 * Every decoder architecture against transformers (tests/golden/decoders): whole prompts, a ragged
 * batch, token by token through the cache, loss and gradients; and against itself: saved and loaded
 * again, checkpointed or not, on any number of threads.
 */
#include "fixture.h"

#include "llm/session.h"
#include "nn/kv_cache.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const folders[] = {
    "llama",     "llama-bias",    "llama-linear", "llama-dynamic", "llama-yarn", "llama-llama3",
    "mistral",   "mistral-whole", "qwen2",        "qwen3",         "gemma",      "gemma2",
    "gemma3",    "phi",           "phi3",         "phi3-long",     "gpt-neox",   "gpt-neox-serial",
    "falcon-7b", "falcon-40b",    "falcon-11b",   "falcon-rw",     "mixtral",
};

enum { FOLDERS = sizeof folders / sizeof folders[0] };

static void check(const struct cx *cx, const char *folder)
{
    if (cx_status(cx))
        fail_msg("%s: %s", folder, cx->message);
}

static void open_folder(struct golden *golden, const char *folder, int32_t threads)
{
    char name[64];

    (void)snprintf(name, sizeof name, "decoders/%s", folder);
    golden_open(golden, name, threads);
}

static void expect_close(const char *folder, const char *what, const float *got,
                         const float *expected, int64_t count)
{
    double error = largest_difference(got, expected, count, 1.0);

    if (!(error < 1e-4))
        fail_msg("%s: %s differ by %g", folder, what, error);
}

/* ---- against transformers ----------------------------------------------------------------------
 */

static void logits_agree(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        struct golden golden;
        llm_tensor *logits;
        struct cx cx;

        open_folder(&golden, folders[i], 2);
        assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
        logits = model_logits(&cx, golden.model, model_hidden(&cx, golden.model, &golden.batch));
        check(&cx, folders[i]);
        assert_int_equal(tensor_count(golden.logits), tensor_count(logits));
        expect_close(folders[i], "logits", tensor_f32(logits), tensor_f32(golden.logits),
                     tensor_count(logits));
        cx_free(&cx);
        golden_close(&golden);
    }
}

static struct kv_cache *make_cache(const struct golden *golden)
{
    const struct kv_cache_shape shape = {.layers = golden->model->layers,
                                         .kv_heads = golden->model->kv_heads,
                                         .head_dim = golden->model->head_dim,
                                         .dtype = LLM_F32};
    struct kv_cache *cache;

    assert_int_equal(LLM_OK, kv_cache_new(&cache, golden->context, &shape));
    return cache;
}

enum { MOST_SEQUENCES = 8, MOST_TOKENS = 64 };

/* The batch of one step: tokens begin .. end - 1 of every sequence that has them. */
struct step {
    struct batch batch;
    int32_t ids[MOST_TOKENS], positions[MOST_TOKENS], sources[MOST_TOKENS];
    int32_t offsets[MOST_SEQUENCES + 1], sequences[MOST_SEQUENCES];
};

static void fill_step(struct step *step, const struct golden *golden, struct kv_cache *cache,
                      const int32_t *sequences, int32_t begin, int32_t end)
{
    int32_t tokens = 0, segments = 0;

    step->offsets[0] = 0;
    for (int32_t s = 0; s < golden->batch.segments; s++) {
        int32_t first = golden->batch.offsets[s];
        int32_t length = golden->batch.offsets[s + 1] - first;

        if (begin >= length)
            continue;
        for (int32_t t = begin; t < end && t < length; t++) {
            step->ids[tokens] = golden->batch.ids[first + t];
            step->sources[tokens] = first + t;
            step->positions[tokens++] = t;
        }
        step->sequences[segments++] = sequences[s];
        step->offsets[segments] = tokens;
        assert_int_equal(
            LLM_OK, kv_cache_reserve(cache, sequences[s], tokens - step->offsets[segments - 1]));
    }
    step->batch = (struct batch){.tokens = tokens,
                                 .ids = step->ids,
                                 .positions = step->positions,
                                 .segments = segments,
                                 .offsets = step->offsets,
                                 .cache = cache,
                                 .sequences = step->sequences};
}

/* All sequences at once, `chunk` tokens a step; logits[i] lies where golden logit i does. */
static void run_steps(float *logits, const struct golden *golden, const char *folder, int32_t chunk)
{
    int64_t width = golden->model->vocabulary;
    struct kv_cache *cache = make_cache(golden);
    int32_t sequences[MOST_SEQUENCES];
    struct cx cx;

    assert_int_equal(LLM_OK, cx_init(&cx, golden->context));
    assert_true(golden->batch.segments <= MOST_SEQUENCES);
    for (int32_t s = 0; s < golden->batch.segments; s++)
        assert_int_equal(LLM_OK, kv_cache_add(cache, &sequences[s]));
    for (int32_t begin = 0;; begin += chunk) {
        struct step step;
        llm_tensor *out;

        fill_step(&step, golden, cache, sequences, begin, begin + chunk);
        if (!step.batch.segments)
            break;
        assert_int_equal(LLM_OK, model_check(golden->model, &step.batch));
        out = model_logits(&cx, golden->model, model_hidden(&cx, golden->model, &step.batch));
        check(&cx, folder);
        for (int64_t i = 0; i < step.batch.tokens; i++)
            memcpy(logits + step.sources[i] * width, tensor_f32(out) + i * width,
                   (size_t)width * sizeof *logits);
        for (int32_t s = 0; s < step.batch.segments; s++)
            kv_cache_commit(cache, step.sequences[s], step.offsets[s + 1] - step.offsets[s]);
        cx_reset(&cx);
    }
    cx_free(&cx);
    kv_cache_release(cache);
}

/* Where angles depend on the length, transformers' own steps are the reference; those exist for the
 * first sequence, token by token. */
static void cached_steps_agree(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        static const int32_t chunks[] = {1, 7};
        struct golden golden;
        llm_tensor *stepped = NULL;
        float *logits;

        open_folder(&golden, folders[i], 1);
        logits = calloc((size_t)tensor_count(golden.logits), sizeof *logits);
        assert_non_null(logits);
        if (tensor_source_find(golden.values, "stepped"))
            stepped = golden_tensor(&golden, "stepped");
        for (int c = 0; c < (stepped ? 1 : 2); c++) {
            const llm_tensor *expected = stepped ? stepped : golden.logits;

            run_steps(logits, &golden, folders[i], chunks[c]);
            expect_close(folders[i], "cached logits", logits, expected->data,
                         tensor_count(expected));
        }
        tensor_release(stepped);
        free(logits);
        golden_close(&golden);
    }
}

/* ---- through a session -------------------------------------------------------------------------
 */

static void expect_last(llm_session *session, const struct golden *golden, const char *folder,
                        size_t length)
{
    size_t width = (size_t)golden->model->vocabulary;
    float *whole = calloc(length * width, sizeof *whole);
    float *last = calloc(width, sizeof *last);

    assert_true(whole && last);
    assert_int_equal(LLM_OK, llm_model_logits(whole, length * width, NULL, golden->model,
                                              golden->batch.ids, length));
    if (llm_session_logits(last, width, NULL, session))
        fail_msg("%s: %s", folder, llm_last_error());
    expect_close(folder, "a session's logits", last, whole + (length - 1) * width, (int64_t)width);
    free(whole);
    free(last);
}

/* Prompts in chunks, tokens one by one, and cut texts give what one whole run gives, also where all
 * angles change with the length. Dynamic scaling leaves cached keys as they are: prompts only. */
static void sessions_agree(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        bool prompt_only = strcmp(folders[i], "llama-dynamic") == 0;
        llm_session_options options;
        llm_session *session;
        struct golden golden;

        open_folder(&golden, folders[i], 1);
        assert_int_equal(LLM_OK, llm_session_options_init(&options, sizeof options));
        options.prefill_chunk = 5;
        assert_int_equal(LLM_OK, llm_session_new(&session, golden.model, NULL, &options));
        assert_int_equal(LLM_OK, llm_session_append(session, golden.batch.ids, 23));
        expect_last(session, &golden, folders[i], 23);
        for (size_t length = 12; length < 19 && !prompt_only; length++) {
            if (length == 12)
                assert_int_equal(LLM_OK, llm_session_rewind(session, 12));
            else
                assert_int_equal(LLM_OK,
                                 llm_session_append(session, golden.batch.ids + length - 1, 1));
            expect_last(session, &golden, folders[i], length);
        }
        llm_session_free(session);
        golden_close(&golden);
    }
}

/* ---- gradients --------------------------------------------------------------------------------
 */

static float train_pass(struct cx *cx, const struct golden *golden, const char *folder)
{
    llm_tensor *loss = model_loss(cx, golden->model, &golden->batch, golden->targets->data, 0.0f);
    float value;

    check(cx, folder);
    value = *tensor_f32(loss);
    assert_int_equal(LLM_OK, cx_backward(cx, loss, 1.0f));
    return value;
}

/* A parameter that nothing reached has gradient 0. */
static double gradient_error(const llm_tensor *grad, double size, const float *samples,
                             int64_t count)
{
    const float *values = grad ? grad->data : NULL;
    int64_t last = grad ? tensor_count(grad) - 1 : 0;
    double sum = 0.0, error;

    for (int64_t i = 0; values && i <= last; i++)
        sum += (double)values[i] * (double)values[i];
    error = fabs(sqrt(sum / (double)(last + 1)) - size) / (size + 1e-12);
    for (int64_t i = 0; i < count; i++) {
        double got = values ? (double)values[i * last / (count - 1)] : 0.0;

        error = fmax(error, fabs(got - (double)samples[i]) / (size + 1e-12));
    }
    return error;
}

/* Names are those of files; the parameter may have a longer one ("model." in front). */
static void check_gradients(const struct golden *golden, const char *folder)
{
    llm_tensor *names = golden_tensor(golden, "grad_names");
    llm_tensor *sizes = golden_tensor(golden, "grad_size");
    llm_tensor *samples = golden_tensor(golden, "grad_samples");
    int64_t count = samples->shape[1];
    char *text = calloc((size_t)tensor_count(names) + 1, 1);
    char *next = text;

    assert_non_null(text);
    memcpy(text, names->data, (size_t)tensor_count(names));
    assert_int_equal(golden->model->params.count, sizes->shape[0]);
    for (int64_t i = 0; i < sizes->shape[0]; i++) {
        size_t length = strcspn(next, "\n");
        const struct param *param;
        double error;

        next[length] = '\0';
        param = params_find(&golden->model->params, next);
        if (!param)
            fail_msg("%s: there is no parameter \"%s\"", folder, next);
        error = gradient_error(param->tensor->grad, (double)tensor_f32(sizes)[i],
                               tensor_f32(samples) + i * count, count);
        if (!(error < 1e-3))
            fail_msg("%s: gradient of %s differs by %g", folder, next, error);
        next += length + 1;
    }
    free(text);
    tensor_release(names);
    tensor_release(sizes);
    tensor_release(samples);
}

static void gradients_agree(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        struct golden golden;
        llm_tensor *expected;
        struct cx cx;
        float loss;

        open_folder(&golden, folders[i], 2);
        assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
        cx.recording = true;
        cx.release_in_backward = true;
        loss = train_pass(&cx, &golden, folders[i]);
        expected = golden_tensor(&golden, "loss");
        if (!(fabsf(loss - *tensor_f32(expected)) < 1e-4f))
            fail_msg("%s: loss %g, expected %g", folders[i], (double)loss,
                     (double)*tensor_f32(expected));
        check_gradients(&golden, folders[i]);
        tensor_release(expected);
        cx_free(&cx);
        golden_close(&golden);
    }
}

/* ---- against itself ----------------------------------------------------------------------------
 */

/* All gradients of one pass, laid end to end; free() them. */
static float *all_gradients(const char *folder, int32_t threads, bool checkpointing, size_t *count)
{
    struct golden golden;
    float *all;
    struct cx cx;

    open_folder(&golden, folder, threads);
    assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
    cx.recording = true;
    cx.checkpointing = checkpointing;
    cx.release_in_backward = checkpointing;
    (void)train_pass(&cx, &golden, folder);
    all = calloc((size_t)golden.model->params.elements, sizeof *all);
    assert_non_null(all);
    *count = 0;
    for (size_t i = 0; i < golden.model->params.count; i++) {
        const llm_tensor *grad = golden.model->params.list[i].tensor->grad;

        if (!grad)
            continue;
        memcpy(all + *count, grad->data, (size_t)tensor_count(grad) * sizeof *all);
        *count += (size_t)tensor_count(grad);
    }
    cx_free(&cx);
    golden_close(&golden);
    return all;
}

static void ways_to_train_agree(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        size_t count, other_count;
        float *base = all_gradients(folders[i], 1, false, &count);
        float *other = all_gradients(folders[i], 3, true, &other_count);

        assert_int_equal(count, other_count);
        if (memcmp(base, other, count * sizeof *base) != 0)
            fail_msg("%s: checkpointing or threads change the gradients", folders[i]);
        free(base);
        free(other);
    }
}

static void saved_equals_loaded(void **state)
{
    char folder[] = "/tmp/llm_decoders_XXXXXX";
    char command[64];

    (void)state;
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < FOLDERS; i++) {
        struct golden golden;
        llm_model *again = NULL;

        open_folder(&golden, folders[i], 1);
        if (llm_model_save(golden.model, folder, NULL) ||
            llm_model_load(&again, golden.context, folder, NULL))
            fail_msg("%s: %s", folders[i], llm_last_error());
        assert_string_equal(golden.model->arch->name, again->arch->name);
        assert_int_equal(golden.model->params.count, again->params.count);
        for (size_t p = 0; p < again->params.count; p++) {
            const llm_tensor *a = golden.model->params.list[p].tensor;
            const llm_tensor *b = again->params.list[p].tensor;

            assert_memory_equal(a->data, b->data, (size_t)tensor_count(a) * sizeof(float));
        }
        model_release(golden.model);
        golden.model = again; /* its configuration must say the same */
        {
            struct cx cx;
            llm_tensor *logits;

            assert_int_equal(LLM_OK, cx_init(&cx, golden.context));
            logits = model_logits(&cx, again, model_hidden(&cx, again, &golden.batch));
            check(&cx, folders[i]);
            expect_close(folders[i], "saved logits", tensor_f32(logits), tensor_f32(golden.logits),
                         tensor_count(logits));
            cx_free(&cx);
        }
        golden_close(&golden);
    }
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(0, system(command));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_agree),        cmocka_unit_test(cached_steps_agree),
        cmocka_unit_test(sessions_agree),      cmocka_unit_test(gradients_agree),
        cmocka_unit_test(ways_to_train_agree), cmocka_unit_test(saved_equals_loaded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
