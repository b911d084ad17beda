/* SPDX-License-Identifier: MIT
 *
 * Tasks on token ids, against what PyTorch computed from the same models: vectors, probabilities,
 * answers, masks; and the reading of sentence-transformers directories.
 */
#include "heads.h"

#include "base/file.h"
#include "task/task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const llm_task_options defaults = {.struct_size = sizeof defaults, .normalize = -1};

static llm_task *make_task(const struct head_golden *golden, const llm_task_options *options)
{
    llm_task *task;

    if (task_new(&task, golden->model, NULL, options))
        fail_msg("%s", status_message());
    return task;
}

/* The golden texts as a task takes them. */
static struct task_ids texts_of(const struct head_golden *golden, size_t *lengths)
{
    for (int32_t s = 0; s < golden->batch.segments; s++)
        lengths[s] = (size_t)(golden->batch.offsets[s + 1] - golden->batch.offsets[s]);
    return (struct task_ids){golden->batch.ids, golden->batch.types, lengths,
                             (size_t)golden->batch.segments};
}

/* ---- embeddings --------------------------------------------------------------------------------
 */

/* Component d of a text's vector, from golden hidden states in double precision. */
static double pooled(const float *rows, int64_t count, int64_t dim, int64_t d, int32_t pooling)
{
    double sum = 0.0, most = -HUGE_VAL;

    for (int64_t i = 0; i < count; i++) {
        sum += (double)rows[i * dim + d];
        most = fmax(most, (double)rows[i * dim + d]);
    }
    switch (pooling) {
    case LLM_POOL_CLS:
        return (double)rows[d];
    case LLM_POOL_LAST:
        return (double)rows[(count - 1) * dim + d];
    case LLM_POOL_MAX:
        return most;
    case LLM_POOL_MEAN_SQRT:
        return sum / sqrt((double)count);
    default:
        return sum / (double)count;
    }
}

static void check_vectors(struct head_golden *golden, int32_t pooling, int32_t normalize)
{
    llm_task_options options = defaults;
    float vectors[8 * 32];
    size_t lengths[8];
    struct task_ids texts = texts_of(golden, lengths);
    int64_t count, dim = golden->model->dim;
    const float *hidden = head_golden_values(golden, "scores", &count);
    llm_task *task;

    options.pooling = pooling;
    options.normalize = normalize;
    task = make_task(golden, &options);
    if (task_embed_ids(vectors, task, &texts))
        fail_msg("%s", status_message());
    for (int32_t s = 0; s < golden->batch.segments; s++) {
        const float *rows = hidden + golden->batch.offsets[s] * dim;
        double length = 0.0;

        for (int64_t d = 0; d < dim; d++)
            length += pow(pooled(rows, (int64_t)lengths[s], dim, d, pooling), 2.0);
        length = normalize ? sqrt(length) : 1.0;
        for (int64_t d = 0; d < dim; d++) {
            double expected = pooled(rows, (int64_t)lengths[s], dim, d, pooling) / length;

            if (!(fabs((double)vectors[s * dim + d] - expected) < 1e-5))
                fail_msg("pooling %d: text %d component %lld is %g, expected %g", pooling, s,
                         (long long)d, (double)vectors[s * dim + d], expected);
        }
    }
    task_free(task);
}

static void vectors_agree(void **state)
{
    struct head_golden golden;
    int64_t count;

    (void)state;
    head_golden_open(&golden, "bert-base", 2);
    for (int32_t pooling = LLM_POOL_MEAN; pooling <= LLM_POOL_MEAN_SQRT; pooling++) {
        check_vectors(&golden, pooling, 0);
        check_vectors(&golden, pooling, 1);
    }
    {
        llm_task_options options = defaults;
        size_t lengths[8];
        struct task_ids texts = texts_of(&golden, lengths);
        float vectors[8 * 32];
        llm_task *task;

        options.pooling = LLM_POOL_MODEL;
        task = make_task(&golden, &options);
        assert_int_equal(LLM_OK, task_embed_ids(vectors, task, &texts));
        (void)head_golden_values(&golden, "pooled", &count);
        head_golden_compare(&golden, "bert-base", "pooled", vectors, count, 1e-4, false);
        task_free(task);
    }
    head_golden_close(&golden);
}

/* A text of 12 tokens in windows of 5 that share 2: 0-4, 3-7, 6-10, 9-11, weighted by length. */
static void windows_are_averaged(void **state)
{
    llm_task_options options = defaults;
    struct head_golden golden;
    const int32_t *ids;
    size_t whole = 12, pieces[4] = {5, 5, 5, 3};
    int32_t cut[18];
    float vector[32], parts[4 * 32], first[32];
    struct task_ids text, windows;
    llm_task *task;

    (void)state;
    head_golden_open(&golden, "bert-base", 1);
    ids = golden.batch.ids + golden.batch.offsets[2];
    for (int w = 0, at = 0; w < 4; w++) {
        memcpy(cut + at, ids + 3 * w, pieces[w] * sizeof *cut);
        at += (int)pieces[w];
    }
    text = (struct task_ids){ids, NULL, &whole, 1};
    windows = (struct task_ids){cut, NULL, pieces, 4};
    options.max_tokens = 5;
    task = make_task(&golden, &options);
    assert_int_equal(LLM_OK, task_embed_ids(parts, task, &windows));
    assert_int_equal(LLM_OK, task_embed_ids(first, task, &text)); /* cut off */
    assert_memory_equal(first, parts, (size_t)golden.model->dim * sizeof *first);
    task_free(task);
    options.windows = 1;
    options.overlap = 2;
    task = make_task(&golden, &options);
    assert_int_equal(LLM_OK, task_embed_ids(vector, task, &text));
    for (int64_t d = 0; d < golden.model->dim; d++) {
        double sum = 0.0;

        for (int w = 0; w < 4; w++)
            sum += (double)pieces[w] * (double)parts[w * golden.model->dim + d];
        assert_true(fabs(sum / 18.0 - (double)vector[d]) < 1e-6);
    }
    task_free(task);
    head_golden_close(&golden);
}

/* More texts than one portion holds give the bits that each gives alone. */
static void portions_change_nothing(void **state)
{
    enum { TEXTS = 300 };
    struct head_golden golden;
    int32_t *ids = calloc((size_t)TEXTS * 20, sizeof *ids);
    float *all = calloc((size_t)TEXTS * 32, sizeof *all);
    float one[32];
    size_t lengths[TEXTS], at = 0;
    struct task_ids texts;
    llm_task *task;

    (void)state;
    assert_true(ids && all);
    head_golden_open(&golden, "distilbert-tokens", 2);
    head_golden_close(&golden);
    head_golden_open(&golden, "bert-base", 2);
    for (int i = 0; i < TEXTS; i++) {
        lengths[i] = 1 + (size_t)(i * 7 % 20);
        for (size_t t = 0; t < lengths[i]; t++)
            ids[at++] = (int32_t)((i * 31 + (int)t * 17) % 61);
    }
    task = make_task(&golden, &defaults);
    texts = (struct task_ids){ids, NULL, lengths, TEXTS};
    assert_int_equal(LLM_OK, task_embed_ids(all, task, &texts));
    for (int i = 0, begin = 0; i < TEXTS; i++) {
        texts = (struct task_ids){ids + begin, NULL, lengths + i, 1};
        assert_int_equal(LLM_OK, task_embed_ids(one, task, &texts));
        assert_memory_equal(one, all + i * golden.model->dim,
                            (size_t)golden.model->dim * sizeof *one);
        begin += (int)lengths[i];
    }
    task_free(task);
    head_golden_close(&golden);
    free(ids);
    free(all);
}

/* ---- heads -------------------------------------------------------------------------------------
 */

static void probabilities_agree(void **state)
{
    static const char *const folders[] = {"bert-sequence", "bert-multi", "bert-regression",
                                          "roberta-tokens"};

    (void)state;
    for (int f = 0; f < 4; f++) {
        struct head_golden golden;
        size_t lengths[8];
        struct task_ids texts;
        int64_t count, labels;
        const float *scores;
        float values[64 * 5];
        llm_task *task;

        head_golden_open(&golden, folders[f], 2);
        texts = texts_of(&golden, lengths);
        task = make_task(&golden, &defaults);
        assert_int_equal(LLM_OK, task_scores(values, task, &texts, true));
        scores = head_golden_values(&golden, "scores", &count);
        labels = golden.model->head.labels;
        for (int64_t i = 0; i < count; i++) {
            const float *row = scores + i / labels * labels;
            double expected = (double)scores[i], total = 0.0;

            for (int64_t l = 0; l < labels; l++)
                total += exp((double)row[l]);
            if (golden.model->head.problem == LLM_PROBLEM_SINGLE_LABEL)
                expected = exp(expected) / total;
            else if (golden.model->head.problem == LLM_PROBLEM_MULTI_LABEL)
                expected = 1.0 / (1.0 + exp(-expected));
            if (!(fabs(expected - (double)values[i]) < 1e-5))
                fail_msg("%s: value %lld is %g, expected %g", folders[f], (long long)i,
                         (double)values[i], expected);
        }
        task_free(task);
        head_golden_close(&golden);
    }
}

/* All spans by brute force. */
static void answers_agree(void **state)
{
    enum { FIRST = 4, END = 11, LONGEST = 3, TOKENS = 12, BEST = 6 };
    const llm_answer_options options = {
        .struct_size = sizeof options, .max_answer = LONGEST, .no_answer = 1};
    struct head_golden golden;
    struct task_ids text;
    size_t length = TOKENS, count, found = 0;
    int64_t values;
    const float *scores;
    double p[2][TOKENS], previous = 2.0;
    llm_answer answers[BEST];
    llm_task *task;

    (void)state;
    head_golden_open(&golden, "bert-spans", 1);
    scores = head_golden_values(&golden, "scores", &values);
    scores += golden.batch.offsets[2] * 2;
    text = (struct task_ids){golden.batch.ids + golden.batch.offsets[2],
                             golden.batch.types + golden.batch.offsets[2], &length, 1};
    for (int c = 0; c < 2; c++) {
        double total = exp((double)scores[c]);

        for (int i = FIRST; i < END; i++)
            total += exp((double)scores[2 * i + c]);
        for (int i = 0; i < TOKENS; i++)
            p[c][i] = exp((double)scores[2 * i + c]) / total;
    }
    task = make_task(&golden, &defaults);
    assert_int_equal(LLM_OK,
                     task_answer_ids(answers, BEST, &count, task, &text, FIRST, END, &options));
    assert_int_equal(BEST, count);
    for (size_t a = 0; a < count; a++) {
        double expected =
            answers[a].end ? p[0][answers[a].begin] * p[1][answers[a].end - 1] : p[0][0] * p[1][0];
        size_t better = 0;

        assert_true(fabs(expected - (double)answers[a].score) < 1e-5);
        assert_true((double)answers[a].score <= previous);
        previous = (double)answers[a].score;
        for (size_t i = FIRST; i < END; i++) {
            for (size_t j = i; j < END && j < i + LONGEST; j++)
                better += p[0][i] * p[1][j] > expected + 1e-7;
        }
        better += p[0][0] * p[1][0] > expected + 1e-7;
        assert_int_equal(a, better);
        found += answers[a].end == 0;
    }
    assert_true(found <= 1);
    assert_int_equal(LLM_E_RANGE,
                     task_answer_ids(answers, BEST, &count, task, &text, 5, 13, &options));
    assert_int_equal(LLM_E_RANGE,
                     task_answer_ids(answers, BEST, &count, task, &text, 5, 5, &options));
    task_free(task);
    head_golden_close(&golden);
}

static void masks_agree(void **state)
{
    enum { TOP = 5 };
    static const char *const folders[] = {"bert-mlm", "roberta-mlm", "distilbert-mlm"};

    (void)state;
    for (int f = 0; f < 3; f++) {
        struct head_golden golden;
        struct task_ids text;
        int64_t count, vocabulary;
        const float *scores;
        llm_fill fills[12 * TOP];
        size_t length = 12, masks, expected = 0;
        int32_t mask;
        llm_task *task;

        head_golden_open(&golden, folders[f], 1);
        vocabulary = golden.model->vocabulary;
        scores = head_golden_values(&golden, "scores", &count);
        scores += golden.batch.offsets[2] * vocabulary;
        text = (struct task_ids){
            golden.batch.ids + golden.batch.offsets[2],
            golden.batch.types ? golden.batch.types + golden.batch.offsets[2] : NULL, &length, 1};
        mask = text.ids[3];
        task = make_task(&golden, &defaults);
        assert_int_equal(LLM_OK,
                         task_fill_mask_ids(fills, 12 * TOP, &masks, task, &text, mask, TOP));
        for (size_t i = 0; i < length; i++) {
            const float *row = scores + (int64_t)i * vocabulary;
            double total = 0.0;

            if (text.ids[i] != mask)
                continue;
            for (int64_t v = 0; v < vocabulary; v++)
                total += exp((double)row[v]);
            for (int t = 0; t < TOP; t++) {
                const llm_fill *fill = &fills[expected * TOP + (size_t)t];
                int better = 0;

                assert_true(fabs(exp((double)row[fill->id]) / total - (double)fill->probability) <
                            1e-5);
                for (int64_t v = 0; v < vocabulary; v++)
                    better += row[v] > row[fill->id];
                assert_int_equal(t, better);
            }
            expected++;
        }
        assert_int_equal(expected, masks);
        assert_int_equal(LLM_OK, task_fill_mask_ids(NULL, 0, &masks, task, &text, mask, TOP));
        assert_int_equal(expected, masks);
        assert_int_equal(LLM_E_BUFFER,
                         task_fill_mask_ids(fills, TOP - 1, &masks, task, &text, mask, TOP));
        assert_int_equal(LLM_E_RANGE, task_fill_mask_ids(fills, 60, &masks, task, &text, 60, TOP));
        assert_int_equal(LLM_E_RANGE, task_fill_mask_ids(fills, 60, &masks, task, &text, mask, 0));
        task_free(task);
        head_golden_close(&golden);
    }
}

/* ---- directories -------------------------------------------------------------------------------
 */

static void write_file(struct memory *memory, const char *directory, const char *name,
                       const char *text)
{
    char *path = file_join(memory, directory, name);

    assert_non_null(path);
    if (text)
        assert_int_equal(LLM_OK, file_write(memory, path, text, strlen(text)));
    else
        (void)unlink(path);
    memory_release(memory, path);
}

static void modules_are_read(void **state)
{
#define POOLING "{\"word_embedding_dimension\":12,\"pooling_mode_cls_token\":"
#define MODULES "[{\"idx\":0,\"path\":\"\",\"type\":\"sentence_transformers.models.Transformer\"},"
    static const char pooling_module[] =
        MODULES "{\"idx\":1,\"path\":\"1_Pooling\",\"type\":\"x.Pooling\"}]";
    static const struct {
        const char *modules, *pooling, *bert, *prompts, *message;
        int32_t expected;
        bool normalize;
        int64_t max_tokens;
        llm_status status;
    } rows[] = {
        {NULL, NULL, NULL, NULL, NULL, 0, false, 0, LLM_OK},
        {NULL, POOLING "true}", NULL, NULL, NULL, LLM_POOL_CLS, false, 0, LLM_OK},
        {pooling_module, POOLING "false,\"pooling_mode_mean_tokens\":true}",
         "{\"max_seq_length\":7,\"do_lower_case\":false}", NULL, NULL, LLM_POOL_MEAN, false, 7,
         LLM_OK},
        {MODULES "{\"path\":\"1_Pooling\",\"type\":\"x.Pooling\"},"
                 "{\"path\":\"2_Normalize\",\"type\":\"x.Normalize\"}]",
         "{\"pooling_mode\":\"lasttoken\"}", NULL,
         "{\"prompts\":{\"q\":\"query: \"},\"default_prompt_name\":\"q\"}", NULL, LLM_POOL_LAST,
         true, 0, LLM_OK},
        {pooling_module, POOLING "true,\"pooling_mode_max_tokens\":true}", NULL, NULL, "2 kinds", 0,
         false, 0, LLM_E_UNSUPPORTED},
        {pooling_module, "{\"pooling_mode_weightedmean_tokens\":true}", NULL, NULL, "weightedmean",
         0, false, 0, LLM_E_UNSUPPORTED},
        {pooling_module, "{\"pooling_mode_cls_token\":1}", NULL, NULL, "pooling_mode_cls_token", 0,
         false, 0, LLM_E_FORMAT},
        {MODULES "{\"path\":\"2_Dense\",\"type\":\"sentence_transformers.models.Dense\"}]", NULL,
         NULL, NULL, "Dense", 0, false, 0, LLM_E_UNSUPPORTED},
        {"[{\"path\":\"../x\",\"type\":\"a.Transformer\"}]", NULL, NULL, NULL, "outside", 0, false,
         0, LLM_E_FORMAT},
        {"[7]", NULL, NULL, NULL, "not an object", 0, false, 0, LLM_E_FORMAT},
        {"7", NULL, NULL, NULL, "modules.json", 0, false, 0, LLM_E_FORMAT},
        {NULL, NULL, "{\"do_lower_case\":true}", NULL, "do_lower_case", 0, false, 0,
         LLM_E_UNSUPPORTED},
        {NULL, NULL, "{\"max_seq_length\":0}", NULL, "max_seq_length", 0, false, 0, LLM_E_RANGE},
        {NULL, NULL, NULL, "{\"default_prompt_name\":\"q\"}", "prompts", 0, false, 0, LLM_E_FORMAT},
    };
    char directory[] = "test-modules-XXXXXX";
    llm_context *context = make_context(1);
    struct memory *memory = &context->memory;
    char *folder;

    (void)state;
    assert_non_null(mkdtemp(directory));
    folder = file_join(memory, directory, "1_Pooling");
    assert_int_equal(LLM_OK, file_make_directory(memory, folder));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct task_modules modules;
        llm_status status;

        write_file(memory, directory, "modules.json", rows[i].modules);
        write_file(memory, folder, "config.json", rows[i].pooling);
        write_file(memory, directory, "sentence_bert_config.json", rows[i].bert);
        write_file(memory, directory, "config_sentence_transformers.json", rows[i].prompts);
        status = task_read_modules(&modules, memory, directory);
        if (status != rows[i].status)
            fail_msg("row %zu: %d, %s", i, status, status_message());
        if (status && !strstr(status_message(), rows[i].message))
            fail_msg("row %zu: the message is \"%s\"", i, status_message());
        if (!status) {
            assert_int_equal(rows[i].expected, modules.pooling);
            assert_int_equal(rows[i].normalize, modules.normalize);
            assert_int_equal(rows[i].max_tokens, modules.max_tokens);
            assert_true(rows[i].prompts ? strcmp(modules.prompt, "query: ") == 0 : !modules.prompt);
        }
        memory_release(memory, modules.model_path);
        memory_release(memory, modules.prompt);
    }
    write_file(memory, directory, "modules.json", NULL);
    write_file(memory, folder, "config.json", NULL);
    write_file(memory, directory, "sentence_bert_config.json", NULL);
    write_file(memory, directory, "config_sentence_transformers.json", NULL);
    assert_int_equal(0, rmdir(folder));
    assert_int_equal(0, rmdir(directory));
    memory_release(memory, folder);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_agree),           cmocka_unit_test(windows_are_averaged),
        cmocka_unit_test(portions_change_nothing), cmocka_unit_test(probabilities_agree),
        cmocka_unit_test(answers_agree),           cmocka_unit_test(masks_agree),
        cmocka_unit_test(modules_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
