/* SPDX-License-Identifier: MIT
 *
 * Datasets of examples: whole examples per window, losses over what is to be learned only, every
 * token of a step counting the same however the step is divided, and rows of JSON in all forms.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdbool.h>

#include "failing_allocator.h"
#include "scratch.h"
#include "train_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 12 };

/* Examples of different lengths; even tokens are learned. */
struct source {
    int32_t ids[MOST];
    uint8_t learn[MOST];
    int next, count;
};

static int32_t next_example(void *user, const int32_t **ids, const uint8_t **learn, size_t *count)
{
    struct source *source = user;

    if (source->next == source->count)
        return 0;
    *count = (size_t)(3 + source->next % 7);
    for (size_t i = 0; i < *count; i++) {
        source->ids[i] = (int32_t)((size_t)source->next * 5 + i * 3) % FIXTURE_VOCAB;
        source->learn[i] = source->ids[i] % 2 == 0;
    }
    source->next++;
    *ids = source->ids;
    *learn = source->learn;
    return 1;
}

static llm_dataset *make(llm_context *context, int count, double validation)
{
    struct source source = {.count = count};
    llm_dataset_options options;
    llm_dataset *dataset;

    fixture_check(llm_dataset_options_init(&options, sizeof options), "options");
    options.validation_fraction = validation;
    fixture_check(llm_dataset_from_examples(&dataset, context, NULL, FIXTURE_VOCAB, next_example,
                                            &source, &options),
                  "dataset");
    return dataset;
}

static void test_parts(void **state)
{
    llm_context *context = fixture_context(1, NULL, NULL);
    llm_dataset *dataset = make(context, 20, 0.2);

    (void)state;
    assert_int_equal(16, llm_dataset_examples(dataset, LLM_PART_TRAIN));
    assert_int_equal(4, llm_dataset_examples(dataset, LLM_PART_VALIDATION));
    assert_int_equal(0, llm_dataset_examples(dataset, LLM_PART_TEST));
    assert_int_equal(0, llm_dataset_examples(dataset, 7));
    assert_int_equal(0, llm_dataset_examples(NULL, 0));
    assert_int_equal(20, llm_dataset_documents(dataset));
    llm_dataset_free(dataset);
    llm_context_free(context);
}

/* Mean loss over the learned tokens of all examples, each run alone through the model. */
static double loss_by_hand(llm_model *model, int count)
{
    struct source source = {.count = count};
    const int32_t *ids;
    const uint8_t *learn;
    double sum = 0.0;
    size_t size, learned = 0;

    while (next_example(&source, &ids, &learn, &size)) {
        int32_t targets[MOST];
        double loss;
        size_t here = 0;

        for (size_t i = 0; i + 1 < size; i++) {
            targets[i] = learn[i + 1] ? ids[i + 1] : -100;
            here += learn[i + 1];
        }
        if (!here)
            continue;
        fixture_check(llm_model_loss(&loss, model, ids, targets, size - 1), "loss");
        sum += loss * (double)here;
        learned += here;
    }
    return sum / (double)learned;
}

static llm_trainer *make_trainer(llm_model *model, llm_dataset *dataset, int32_t batch,
                                 int32_t accumulation)
{
    llm_trainer_options options;
    llm_trainer *trainer;

    fixture_check(llm_trainer_options_init(&options, sizeof options), "options");
    options.batch = batch;
    options.accumulation = accumulation;
    options.order = LLM_ORDER_SHUFFLED;
    options.steps = 4;
    options.eval_interval = 0;
    options.dropout = 0.0;
    fixture_check(llm_trainer_new(&trainer, model, dataset, &options), "trainer");
    return trainer;
}

static void test_loss(void **state)
{
    llm_context *context = fixture_context(2, NULL, NULL);
    llm_model *model = fixture_model(context);
    llm_dataset *dataset = make(context, 15, 0.0);
    llm_trainer *trainer = make_trainer(model, dataset, 4, 1);
    double expected, got;

    (void)state;
    fixture_check(llm_trainer_evaluate(&got, trainer, LLM_PART_TRAIN, 0), "evaluate");
    llm_trainer_free(trainer);
    expected = loss_by_hand(model, 15);
    assert_true(fabs(got - expected) < 1e-5);
    /* An epoch of 15 examples in one step: its loss is that of all of them. */
    trainer = make_trainer(model, dataset, 5, 3);
    {
        llm_train_progress progress;

        fixture_check(llm_trainer_step(trainer, &progress, sizeof progress), "step");
        assert_true(fabs(progress.loss - expected) < 1e-5);
    }
    llm_trainer_free(trainer);
    llm_dataset_free(dataset);
    llm_model_free(model);
    llm_context_free(context);
}

/* The weights after two steps of 12 examples, in passes of `batch`. */
static float *weights_after(int32_t batch, size_t *count)
{
    llm_context *context = fixture_context(1, NULL, NULL);
    llm_model *model = fixture_model(context);
    llm_dataset *dataset = make(context, 24, 0.0);
    llm_trainer *trainer = make_trainer(model, dataset, batch, 12 / batch);
    float *values;

    fixture_check(llm_trainer_step(trainer, NULL, 0), "step");
    fixture_check(llm_trainer_step(trainer, NULL, 0), "step");
    llm_trainer_free(trainer);
    *count = (size_t)llm_tensor_count(llm_model_tensor(model, 0));
    values = malloc(*count * sizeof *values);
    assert_non_null(values);
    fixture_check(llm_tensor_read_f32(llm_model_tensor(model, 0), values, *count), "read");
    llm_dataset_free(dataset);
    llm_model_free(model);
    llm_context_free(context);
    return values;
}

static void test_accumulation(void **state)
{
    size_t count;
    float *whole = weights_after(12, &count);
    float *parts = weights_after(3, &count);

    (void)state;
    for (size_t i = 0; i < count; i++)
        assert_true(fabsf(whole[i] - parts[i]) < 2e-5f);
    free(whole);
    free(parts);
}

/* ---- rows of JSON ---- */

static const char template_text[] =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

struct fixture {
    struct scratch scratch;
    llm_context *context;
    llm_tokenizer *bytes;
    llm_chat_template *chat;
};

static int open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    llm_tokenizer_train_options options;

    assert_non_null(f);
    scratch_make(&f->scratch);
    f->context = fixture_context(1, NULL, NULL);
    fixture_check(llm_tokenizer_train_options_init(&options, sizeof options), "options");
    options.kind = LLM_TOKENIZER_BYTES;
    fixture_check(llm_tokenizer_train(&f->bytes, f->context, NULL, NULL, 0, &options), "bytes");
    fixture_check(
        llm_chat_template_new(&f->chat, f->context, template_text, sizeof template_text - 1),
        "template");
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;

    llm_chat_template_free(f->chat);
    llm_tokenizer_free(f->bytes);
    llm_context_free(f->context);
    scratch_remove(&f->scratch);
    free(f);
    return 0;
}

static llm_status load(struct fixture *f, llm_dataset **out, const char *json, bool chat,
                       int32_t learn)
{
    const char *path = scratch_write(&f->scratch, "rows.jsonl", json, strlen(json));
    llm_dataset_options options;

    fixture_check(llm_dataset_options_init(&options, sizeof options), "options");
    options.validation_fraction = 0.0;
    return llm_dataset_from_chats(out, f->context, f->bytes, chat ? f->chat : NULL, &path, 1, learn,
                                  &options);
}

/* The text of all tokens, and below it which of them are learned: `expected` has both, the second
 * as dots and hashes. */
static void expect(struct fixture *f, const char *json, bool chat, int32_t learn, const char *text,
                   const char *marks)
{
    llm_dataset *dataset = NULL;
    int32_t ids[256];
    size_t count;
    size_t learned = 0;

    if (load(f, &dataset, json, chat, learn))
        fail_msg("%s: %s", json, llm_last_error());
    count = (size_t)llm_dataset_tokens(dataset, LLM_PART_TRAIN);
    assert_int_equal(strlen(text), count);
    assert_int_equal(strlen(text), strlen(marks));
    assert_int_equal(LLM_OK, llm_dataset_read(ids, dataset, LLM_PART_TRAIN, 0, (int64_t)count));
    for (size_t i = 0; i < count; i++) {
        uint8_t learn_it = 9;

        assert_int_equal(text[i], ids[i]);
        assert_int_equal(LLM_OK,
                         llm_dataset_learned(&learn_it, dataset, LLM_PART_TRAIN, (int64_t)i, 1));
        if ((marks[i] == '#') != learn_it)
            fail_msg("%s: token %zu: %d, %s", json, i, learn_it, marks);
        learned += learn_it;
    }
    assert_true(learned > 0);
    llm_dataset_free(dataset);
}

static void test_rows(void **state)
{
    struct fixture *f = *state;

    expect(f, "{\"text\": \"abc\"}\n", true, 0, "abc", "###");
    expect(f, "{\"prompt\": \"ab\", \"completion\": \"cd\"}", false, 0, "ab\ncd", "...##");
    expect(f, "{\"prompt\": \"ab\", \"completion\": \"cd\"}", false, 1, "ab\ncd", "#####");
    expect(f, "{\"instruction\": \"a\", \"input\": \"b\", \"output\": \"c\"}", false, 0, "a\nb\nc",
           "....#");
    expect(f, "{\"instruction\": \"a\", \"input\": \"\", \"output\": \"c\"}", true, 0,
           "<user>a</><assistant>c</>", ".....................####");
    expect(f,
           "[{\"messages\": [{\"role\": \"user\", \"content\": \"q\"},"
           "{\"role\": \"assistant\", \"content\": \"r\"},"
           "{\"role\": \"user\", \"content\": \"s\"},"
           "{\"role\": \"assistant\", \"content\": \"t\"}]}]",
           true, 0, "<user>q</><assistant>r</><user>s</><assistant>t</>",
           ".....................####.....................####");
    expect(f,
           "\n{\"system\": \"x\", \"conversations\": [{\"from\": \"human\", \"value\": \"q\"},"
           "{\"from\": \"gpt\", \"value\": \"r\"}]}\n\n",
           true, 0, "<system>x</><user>q</><assistant>r</>",
           ".................................####");
}

static void refuse(struct fixture *f, const char *json, bool chat, llm_status expected,
                   const char *word)
{
    llm_dataset *dataset;
    llm_status status = load(f, &dataset, json, chat, 0);

    if (status != expected || !strstr(llm_last_error(), word))
        fail_msg("%s: %d, %s", json, (int)status, llm_last_error());
    assert_null(dataset);
}

static void test_bad_rows(void **state)
{
    struct fixture *f = *state;
    llm_dataset *dataset;
    const char *missing = "no-such-file";

    refuse(f, "", true, LLM_E_INVALID, "no example");
    refuse(f, "{\"text\": \"ab\"}\n{\"text\": ", true, LLM_E_FORMAT, "row 2");
    refuse(f, "{\"txt\": \"ab\"}", true, LLM_E_FORMAT, "rows.jsonl: row 1");
    refuse(f, "3", true, LLM_E_FORMAT, "row 1");
    refuse(f, "[1]", true, LLM_E_FORMAT, "object");
    refuse(f, "{\"text\": \"a\"}", true, LLM_E_INVALID, "two tokens");
    refuse(f, "{\"messages\": []}", true, LLM_E_FORMAT, "no message");
    refuse(f, "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}]}", false, LLM_E_INVALID,
           "template");
    refuse(f, "{\"conversations\": [{\"from\": \"dog\", \"value\": \"q\"}]}", true, LLM_E_FORMAT,
           "conversations[0]");
    refuse(f, "{\"prompt\": 3, \"completion\": \"x\"}", true, LLM_E_FORMAT, "completion");
    assert_int_equal(LLM_E_IO, llm_dataset_from_chats(&dataset, f->context, f->bytes, f->chat,
                                                      &missing, 1, 0, NULL));
    assert_int_equal(LLM_E_RANGE, llm_dataset_from_chats(&dataset, f->context, f->bytes, f->chat,
                                                         &missing, 1, 5, NULL));
}

static llm_status scenario(llm_context *context, void *user)
{
    struct fixture *f = user;
    const char *path = scratch_file(&f->scratch, "rows.jsonl");
    llm_dataset *dataset = NULL;
    llm_tokenizer *bytes = NULL;
    llm_tokenizer_train_options options;
    llm_status status = llm_tokenizer_train_options_init(&options, sizeof options);

    options.kind = LLM_TOKENIZER_BYTES;
    if (!status)
        status = llm_tokenizer_train(&bytes, context, NULL, NULL, 0, &options);
    if (!status)
        status = llm_dataset_from_chats(&dataset, context, bytes, NULL, &path, 1, 0, NULL);
    llm_dataset_free(dataset);
    llm_tokenizer_free(bytes);
    return status;
}

static void test_out_of_memory(void **state)
{
    struct fixture *f = *state;
    static const char rows[] = "{\"text\": \"ab\"}\n{\"prompt\": \"ab\", \"completion\": \"c\"}";

    scratch_write(&f->scratch, "rows.jsonl", rows, sizeof rows - 1);
    assert_true(failing_allocator_run(scenario, f, 1) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_accumulation),
        cmocka_unit_test_setup_teardown(test_rows, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(test_bad_rows, open_fixture, close_fixture),
        cmocka_unit_test_setup_teardown(test_out_of_memory, open_fixture, close_fixture),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
