/* SPDX-License-Identifier: MIT
 *
 * Tasks on texts against transformers: the folders of tests/golden/tasks (make_tasks.py), through
 * the public header. jansson reads what is expected.
 */
#include <llm.h>

#include "failing_allocator.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_TEXTS = 16 };

struct folder {
    llm_context *context;
    llm_task *task;
    json_t *expected;
};

static void open_folder(struct folder *folder, const char *name)
{
    const char *root = getenv("LLM_TEST_GOLDEN");
    char path[1024];
    json_error_t error;

    if (!root)
        fail_msg("LLM_TEST_GOLDEN does not name the folder tests/golden");
    assert_int_equal(llm_context_new(&folder->context, NULL), LLM_OK);
    snprintf(path, sizeof path, "%s/tasks/%s", root, name);
    if (llm_task_load(&folder->task, folder->context, path, NULL))
        fail_msg("%s", llm_last_error());
    snprintf(path, sizeof path, "%s/tasks/%s/expected.json", root, name);
    folder->expected = json_load_file(path, 0, &error);
    if (!folder->expected)
        fail_msg("%s: %s", path, error.text);
}

static void close_folder(struct folder *folder)
{
    json_decref(folder->expected);
    llm_task_free(folder->task);
    llm_context_free(folder->context);
}

static const char *string_of(const struct folder *folder, const char *key)
{
    return json_string_value(json_object_get(folder->expected, key));
}

/* A list of strings as two arrays; how many there are. */
static size_t texts_of(const struct folder *folder, const char *key, const char **texts,
                       size_t *sizes)
{
    const json_t *list = json_object_get(folder->expected, key);
    size_t count = json_array_size(list);

    assert_true(count > 0 && count <= MOST_TEXTS);
    for (size_t i = 0; i < count; i++) {
        texts[i] = json_string_value(json_array_get(list, i));
        sizes[i] = strlen(texts[i]);
    }
    return count;
}

static void expect_rows(const json_t *rows, const float *got, size_t count, size_t width)
{
    assert_int_equal(json_array_size(rows), count);
    for (size_t i = 0; i < count * width; i++) {
        const json_t *row = json_array_get(rows, i / width);
        double expected = json_number_value(
            width == 1 && json_is_number(row) ? row : json_array_get(row, i % width));

        if (!(fabs((double)got[i] - expected) < 1e-5))
            fail_msg("row %zu, column %zu is %g, expected %g", i / width, i % width, (double)got[i],
                     expected);
    }
}

/* Cased, accented, empty and too long ones; sixteen tokens, mean, length 1 as the files say. */
static void vectors_agree(void **state)
{
    struct folder folder;
    const char *texts[MOST_TEXTS];
    size_t sizes[MOST_TEXTS], count, needed;
    float vectors[MOST_TEXTS * 12];

    (void)state;
    open_folder(&folder, "embed");
    assert_int_equal(llm_task_max_tokens(folder.task), 16);
    count = texts_of(&folder, "texts", texts, sizes);
    if (llm_task_embed(vectors, MOST_TEXTS * 12, &needed, folder.task, texts, sizes, count))
        fail_msg("%s", llm_last_error());
    assert_int_equal(needed, count * 12);
    expect_rows(json_object_get(folder.expected, "vectors"), vectors, count, 12);
    close_folder(&folder);
}

static void labels_agree(void **state)
{
    struct folder folder;
    const char *texts[MOST_TEXTS], *pairs[MOST_TEXTS];
    size_t sizes[MOST_TEXTS], pair_sizes[MOST_TEXTS], count;
    float values[MOST_TEXTS * 3];

    (void)state;
    open_folder(&folder, "classify");
    count = texts_of(&folder, "texts", texts, sizes);
    (void)texts_of(&folder, "pairs", pairs, pair_sizes);
    if (llm_task_classify(values, MOST_TEXTS * 3, NULL, folder.task, texts, sizes, NULL, NULL,
                          count))
        fail_msg("%s", llm_last_error());
    expect_rows(json_object_get(folder.expected, "single"), values, count, 3);
    if (llm_task_classify(values, MOST_TEXTS * 3, NULL, folder.task, texts, sizes, pairs,
                          pair_sizes, count))
        fail_msg("%s", llm_last_error());
    expect_rows(json_object_get(folder.expected, "pair"), values, count, 3);
    close_folder(&folder);
}

static void ranks_agree(void **state)
{
    struct folder folder;
    const char *texts[MOST_TEXTS], *query;
    size_t sizes[MOST_TEXTS], count;
    float scores[MOST_TEXTS];

    (void)state;
    open_folder(&folder, "rerank");
    query = string_of(&folder, "query");
    count = texts_of(&folder, "texts", texts, sizes);
    if (llm_task_rerank(scores, folder.task, query, strlen(query), texts, sizes, count))
        fail_msg("%s", llm_last_error());
    expect_rows(json_object_get(folder.expected, "scores"), scores, count, 1);
    close_folder(&folder);
}

static void entities_agree(void **state)
{
    static const char *const names[] = {"none", "simple", "first", "average", "max"};
    struct folder folder;
    const char *text;

    (void)state;
    open_folder(&folder, "tag");
    text = string_of(&folder, "text");
    for (int32_t how = LLM_TAGS_NONE; how <= LLM_TAGS_MAX; how++) {
        const json_t *rows = json_object_get(folder.expected, names[how]);
        llm_entity entities[32];
        size_t count;

        if (llm_task_tag(entities, 32, &count, folder.task, text, strlen(text), how))
            fail_msg("%s", llm_last_error());
        assert_int_equal(json_array_size(rows), count);
        for (size_t i = 0; i < count; i++) {
            const json_t *row = json_array_get(rows, i);

            assert_int_equal(json_integer_value(json_array_get(row, 0)), entities[i].begin);
            assert_int_equal(json_integer_value(json_array_get(row, 1)), entities[i].end);
            assert_string_equal(json_string_value(json_array_get(row, 2)), entities[i].name);
            assert_true(
                fabs(json_number_value(json_array_get(row, 3)) - (double)entities[i].score) < 1e-5);
        }
        if (count)
            assert_int_equal(
                llm_task_tag(entities, 0, &count, folder.task, text, strlen(text), how),
                LLM_E_BUFFER);
    }
    close_folder(&folder);
}

/* A context of four windows. */
static void answers_agree(void **state)
{
    struct folder folder;
    llm_answer_options options;
    llm_answer answers[5];
    const char *question, *context;
    const json_t *rows;
    size_t count;

    (void)state;
    open_folder(&folder, "answer");
    question = string_of(&folder, "question");
    context = string_of(&folder, "context");
    rows = json_object_get(folder.expected, "answers");
    assert_int_equal(llm_answer_options_init(&options, sizeof options), LLM_OK);
    options.max_answer = 6;
    options.overlap = 8;
    if (llm_task_answer(answers, 5, &count, folder.task, question, strlen(question), context,
                        strlen(context), &options))
        fail_msg("%s", llm_last_error());
    assert_int_equal(count, 5);
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(rows, i);

        assert_int_equal(json_integer_value(json_array_get(row, 0)), answers[i].begin);
        assert_int_equal(json_integer_value(json_array_get(row, 1)), answers[i].end);
        assert_true(fabs(json_number_value(json_array_get(row, 2)) - (double)answers[i].score) <
                    1e-5);
    }
    options.overlap = 31;
    assert_true(llm_task_answer(answers, 5, &count, folder.task, question, strlen(question),
                                context, strlen(context), &options) < 0);
    close_folder(&folder);
}

static void masks_agree(void **state)
{
    struct folder folder;
    llm_fill fills[8];
    const char *text;
    const json_t *rows;
    size_t masks;

    (void)state;
    open_folder(&folder, "mask");
    text = string_of(&folder, "text");
    rows = json_object_get(folder.expected, "top");
    if (llm_task_fill_mask(fills, 8, &masks, folder.task, text, strlen(text), "[MASK]", 4))
        fail_msg("%s", llm_last_error());
    assert_int_equal(masks, 2);
    for (size_t i = 0; i < 8; i++) {
        const json_t *row = json_array_get(json_array_get(rows, i / 4), i % 4);

        assert_int_equal(json_integer_value(json_array_get(row, 0)), fills[i].id);
        assert_true(fabs(json_number_value(json_array_get(row, 1)) - (double)fills[i].probability) <
                    1e-5);
    }
    assert_int_equal(llm_task_fill_mask(fills, 8, &masks, folder.task, "no mask", 7, "[MASK]", 4),
                     LLM_E_RANGE);
    assert_int_equal(
        llm_task_fill_mask(fills, 8, &masks, folder.task, text, strlen(text), "<blank>", 4),
        LLM_E_RANGE);
    close_folder(&folder);
}

static void translations_agree(void **state)
{
    static const char *const names[] = {"greedy", "beams"};
    struct folder folder;
    const char *texts[MOST_TEXTS];
    size_t sizes[MOST_TEXTS], count;

    (void)state;
    open_folder(&folder, "translate");
    count = texts_of(&folder, "texts", texts, sizes);
    for (int way = 0; way < 2; way++) {
        const json_t *rows = json_object_get(folder.expected, names[way]);
        llm_seq2seq_options options;

        assert_int_equal(llm_seq2seq_options_init(&options, sizeof options), LLM_OK);
        options.max_tokens = 12;
        options.num_beams = way ? 3 : 1;
        for (size_t i = 0; i < count; i++) {
            char text[256];
            size_t size;

            if (llm_task_generate(text, sizeof text - 1, &size, folder.task, texts[i], sizes[i],
                                  &options))
                fail_msg("%s", llm_last_error());
            text[size] = '\0';
            assert_string_equal(json_string_value(json_array_get(rows, i)), text);
            if (size)
                assert_int_equal(
                    llm_task_generate(text, 0, &size, folder.task, texts[i], sizes[i], &options),
                    LLM_E_BUFFER);
        }
    }
    close_folder(&folder);
}

/* Directories that other projects made: LLM_TEST_DATA/tiny-bert-fixtures. The expected numbers are
 * transformers' (AutoModel, mean of the last hidden states). */
static void foreign_directories(void **state)
{
    static const int32_t ids[5] = {2, 74, 42, 100, 3};
    static const size_t lengths[1] = {5};
    static const struct {
        const char *folder, *message; /* refused with it */
        double expected[4];
    } rows[] = {
        {"coldfire/tiny_bert", NULL, {-0.398999, 1.375583, -0.648494, 0.249644}},
        {"jammi/tiny_bert", NULL, {-0.318949, -0.680741, -0.614436, 0.201764}},
        {"coldfire/tiny_nomic", "nomic_bert", {0}},
        {"jammi/tiny_modernbert", "modernbert", {0}},
    };
    const char *root = getenv("LLM_TEST_DATA");
    llm_context *context;

    (void)state;
    if (!root) {
        print_message("SKIPPED: LLM_TEST_DATA is not set\n");
        skip();
    }
    assert_int_equal(llm_context_new(&context, NULL), LLM_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[1024];
        llm_task_batch batch;
        float vector[32];
        llm_task *task;
        llm_status status;

        snprintf(path, sizeof path, "%s/tiny-bert-fixtures/%s", root, rows[i].folder);
        status = llm_task_load(&task, context, path, NULL);
        if (rows[i].message) {
            assert_int_equal(status, LLM_E_UNSUPPORTED);
            assert_non_null(strstr(llm_last_error(), rows[i].message));
            continue;
        }
        if (status || llm_task_batch_init(&batch, sizeof batch))
            fail_msg("%s", llm_last_error());
        batch.ids = ids;
        batch.lengths = lengths;
        batch.count = 1;
        assert_int_equal(llm_task_embed_ids(vector, 32, NULL, task, &batch), LLM_OK);
        for (int d = 0; d < 4; d++)
            assert_true(fabs((double)vector[d] - rows[i].expected[d]) < 2e-6);
        llm_task_free(task);
    }
    llm_context_free(context);
}

/* ---- memory ---- */

static llm_status load(llm_task **task, llm_context *context, const char *name)
{
    char path[1024];

    snprintf(path, sizeof path, "%s/tasks/%s", getenv("LLM_TEST_GOLDEN"), name);
    return llm_task_load(task, context, path, NULL);
}

static llm_status answer_scenario(llm_context *context, void *user)
{
    static const char text[] =
        "The cat sits outside. Anna lives in New York City with Bob. The cat "
        "sits outside. Anna eats a piece of bread in the park.";
    llm_answer_options options;
    llm_answer answers[2];
    llm_task *task = NULL;
    size_t count;
    llm_status status = load(&task, context, "answer");

    (void)user;
    (void)llm_answer_options_init(&options, sizeof options);
    options.overlap = 4;
    if (!status)
        status =
            llm_task_answer(answers, 2, &count, task, "Where?", 6, text, sizeof text - 1, &options);
    llm_task_free(task);
    return status;
}

static llm_status tag_scenario(llm_context *context, void *user)
{
    llm_entity entities[8];
    llm_task *task = NULL;
    size_t count;
    llm_status status = load(&task, context, "tag");

    (void)user;
    if (!status)
        status = llm_task_tag(entities, 8, &count, task, "Anna lives", 10, LLM_TAGS_AVERAGE);
    llm_task_free(task);
    return status;
}

static llm_status rerank_scenario(llm_context *context, void *user)
{
    const char *const documents[2] = {"Anna lives here", ""};
    const size_t sizes[2] = {15, 0};
    llm_task *task = NULL;
    float scores[2];
    llm_status status = load(&task, context, "rerank");

    (void)user;
    if (!status)
        status = llm_task_rerank(scores, task, "Where?", 6, documents, sizes, 2);
    llm_task_free(task);
    return status;
}

static void failing_allocations(void **state)
{
    (void)state;
    failing_allocator_run(answer_scenario, NULL, 3);
    failing_allocator_run(tag_scenario, NULL, 5);
    failing_allocator_run(rerank_scenario, NULL, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_agree),       cmocka_unit_test(labels_agree),
        cmocka_unit_test(ranks_agree),         cmocka_unit_test(entities_agree),
        cmocka_unit_test(answers_agree),       cmocka_unit_test(masks_agree),
        cmocka_unit_test(translations_agree),  cmocka_unit_test(foreign_directories),
        cmocka_unit_test(failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
