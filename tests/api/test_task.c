/* SPDX-License-Identifier: MIT
 *
 * Tasks through the public header: heads and labels, losses on a tape, vectors, labels, answers,
 * masks, generated texts; misused; shared by threads; with every allocation failing in turn.
 */
#include <llm.h>

#include "failing_allocator.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIZES                                                                                      \
    "\"model_type\":\"bert\",\"vocab_size\":32,\"hidden_size\":8,\"num_hidden_layers\":1,"         \
    "\"num_attention_heads\":2,\"intermediate_size\":12,\"max_position_embeddings\":16"

static const char base_config[] = "{" SIZES "}";
static const char sequence_config[] =
    "{" SIZES ",\"architectures\":[\"BertForSequenceClassification\"],"
    "\"id2label\":{\"0\":\"no\",\"1\":\"yes\"}}";
static const char multi_config[] =
    "{" SIZES ",\"architectures\":[\"BertForSequenceClassification\"],"
    "\"problem_type\":\"multi_label_classification\",\"num_labels\":3}";
static const char token_config[] = "{" SIZES ",\"architectures\":[\"BertForTokenClassification\"]}";
static const char span_config[] = "{" SIZES ",\"architectures\":[\"BertForQuestionAnswering\"]}";
static const char mask_config[] = "{" SIZES ",\"architectures\":[\"BertForMaskedLM\"]}";
static const char t5_config[] =
    "{\"model_type\":\"t5\",\"vocab_size\":32,\"d_model\":8,\"d_kv\":4,\"d_ff\":12,"
    "\"num_layers\":1,\"num_heads\":2,\"relative_attention_num_buckets\":8,"
    "\"relative_attention_max_distance\":16}";

static const int32_t ids[9] = {1, 2, 3, 30, 31, 0, 7, 7, 9};
static const int32_t types[9] = {0, 0, 1, 1, 1, 0, 0, 1, 1};
static const size_t lengths[2] = {5, 4};

static llm_model *make_model(llm_context *context, const char *config)
{
    llm_model *model;

    if (llm_model_new(&model, context, config, strlen(config), NULL))
        fail_msg("%s", llm_last_error());
    return model;
}

static llm_task *make_task(llm_context *context, const char *config)
{
    llm_model *model = make_model(context, config);
    llm_task *task;

    assert_int_equal(llm_task_new(&task, model, NULL, NULL), LLM_OK);
    llm_model_free(model);
    return task;
}

static llm_context *make_context(void)
{
    llm_context *context;

    assert_int_equal(llm_context_new(&context, NULL), LLM_OK);
    return context;
}

static llm_task_batch two_texts(void)
{
    llm_task_batch batch;

    assert_int_equal(llm_task_batch_init(&batch, sizeof batch), LLM_OK);
    batch.ids = ids;
    batch.type_ids = types;
    batch.lengths = lengths;
    batch.count = 2;
    return batch;
}

/* ---- facts and training ---- */

static void test_heads(void **state)
{
    llm_context *context = make_context();
    llm_model *model = make_model(context, sequence_config);

    (void)state;
    assert_int_equal(llm_model_head(model), LLM_HEAD_SEQUENCE);
    assert_int_equal(llm_model_problem(model), LLM_PROBLEM_SINGLE_LABEL);
    assert_int_equal(llm_model_label_count(model), 2);
    assert_string_equal(llm_model_label(model, 1), "yes");
    assert_null(llm_model_label(model, 2));
    assert_null(llm_model_label(NULL, 0));
    assert_int_equal(llm_model_label_count(NULL), 0);
    assert_non_null(strstr(llm_model_config(model), "BertForSequenceClassification"));
    llm_model_free(model);
    llm_context_free(context);
}

/* A few steps of plain descent lower every kind of loss. */
static void check_training(llm_context *context, const char *config, llm_task_batch *batch)
{
    llm_model *model = make_model(context, config);
    llm_tape *tape;
    float first = 0.0f, last = 0.0f;

    assert_int_equal(llm_tape_new(&tape, context, NULL), LLM_OK);
    for (int step = 0; step < 12; step++) {
        llm_tensor *loss;

        if (llm_op_task_loss(&loss, tape, model, batch) || llm_backward(tape, loss))
            fail_msg("%s: %s", config, llm_last_error());
        last = *(float *)llm_tensor_data(loss);
        first = step ? first : last;
        for (size_t i = 0; i < llm_model_tensor_count(model); i++) {
            llm_tensor *weight = llm_model_tensor(model, i);
            llm_tensor *grad = llm_tensor_grad(weight);
            float *w = llm_tensor_data(weight);
            const float *g = grad ? llm_tensor_data(grad) : NULL;

            for (int64_t k = 0; g && k < llm_tensor_count(weight); k++)
                w[k] -= 0.2f * g[k];
            llm_tensor_zero_grad(weight);
        }
        assert_int_equal(llm_tape_reset(tape), LLM_OK);
    }
    if (!(last < 0.99f * first))
        fail_msg("%s: the loss went from %g to %g", config, (double)first, (double)last);
    llm_tape_free(tape);
    llm_model_free(model);
}

static void test_training(void **state)
{
    static const int32_t classes[2] = {1, 0};
    static const int32_t spans[4] = {1, 3, 0, 2};
    static const int32_t tags[9] = {0, 1, 0, 1, -100, 1, 1, 0, 0};
    static const int32_t words[9] = {-100, 4, -100, -100, 9, -100, 3, -100, -100};
    static const float values[6] = {1, 0, 1, 0, 0, 1};
    static const int32_t target[5] = {4, 5, 1, 6, 1};
    static const size_t target_lengths[2] = {3, 2};
    llm_context *context = make_context();
    llm_task_batch batch = two_texts();

    (void)state;
    batch.targets = classes;
    check_training(context, sequence_config, &batch);
    batch.targets = spans;
    check_training(context, span_config, &batch);
    batch.targets = tags;
    check_training(context, token_config, &batch);
    batch.targets = words;
    check_training(context, mask_config, &batch);
    batch.targets = NULL;
    batch.values = values;
    check_training(context, multi_config, &batch);
    batch.values = NULL;
    batch.type_ids = NULL;
    batch.targets = target;
    batch.target_lengths = target_lengths;
    check_training(context, t5_config, &batch);
    llm_context_free(context);
}

/* ---- tasks ---- */

static void test_vectors(void **state)
{
    llm_context *context = make_context();
    llm_task *task = make_task(context, base_config);
    llm_task_batch batch = two_texts();
    float vectors[16], matrix[4];
    const float zero[8] = {0};
    size_t needed;

    (void)state;
    assert_int_equal(llm_task_max_tokens(task), 16);
    assert_int_equal(llm_model_dim(llm_task_model(task)), 8);
    assert_null(llm_task_tokenizer(task));
    assert_int_equal(llm_task_embed_ids(NULL, 0, &needed, task, &batch), LLM_OK);
    assert_int_equal(needed, 16);
    assert_int_equal(llm_task_embed_ids(vectors, 15, &needed, task, &batch), LLM_E_BUFFER);
    assert_int_equal(llm_task_embed_ids(vectors, 16, NULL, task, &batch), LLM_OK);
    assert_int_equal(llm_similarity(matrix, vectors, 2, vectors, 2, 8), LLM_OK);
    assert_true(fabsf(matrix[0] - 1.0f) < 1e-6f && fabsf(matrix[3] - 1.0f) < 1e-6f);
    assert_true(matrix[1] == matrix[2] && fabsf(matrix[1]) <= 1.0f);
    assert_int_equal(llm_similarity(matrix, zero, 1, vectors, 2, 8), LLM_OK);
    assert_true(matrix[0] == 0.0f && matrix[1] == 0.0f);
    batch.count = 0;
    assert_int_equal(llm_task_embed_ids(vectors, 16, &needed, task, &batch), LLM_OK);
    assert_int_equal(needed, 0);
    llm_task_free(task);
    llm_context_free(context);
}

static void test_probabilities(void **state)
{
    llm_context *context = make_context();
    llm_task *task = make_task(context, sequence_config);
    llm_task_batch batch = two_texts();
    float values[18];
    size_t needed;

    (void)state;
    assert_int_equal(llm_task_classify_ids(values, 18, &needed, task, &batch), LLM_OK);
    assert_int_equal(needed, 4);
    assert_true(fabsf(values[0] + values[1] - 1.0f) < 1e-6f);
    assert_int_equal(llm_task_tag_ids(values, 18, &needed, task, &batch), LLM_E_UNSUPPORTED);
    assert_non_null(strstr(llm_last_error(), "ForTokenClassification"));
    llm_task_free(task);
    task = make_task(context, token_config);
    assert_int_equal(llm_task_tag_ids(values, 18, &needed, task, &batch), LLM_OK);
    assert_int_equal(needed, 18);
    llm_task_free(task);
    llm_context_free(context);
}

static void test_answers_and_masks(void **state)
{
    llm_context *context = make_context();
    llm_task *task = make_task(context, span_config);
    llm_task_batch batch = two_texts();
    llm_answer_options options;
    llm_answer answers[3];
    llm_fill fills[4];
    size_t count;

    (void)state;
    batch.count = 1;
    assert_int_equal(llm_answer_options_init(&options, sizeof options), LLM_OK);
    assert_int_equal(options.max_answer, 15);
    assert_int_equal(llm_task_answer_ids(answers, 3, &count, task, &batch, 2, 5, NULL), LLM_OK);
    assert_int_equal(count, 3);
    assert_true(answers[0].begin >= 2 && answers[0].end <= 5);
    options.max_answer = 0;
    assert_int_equal(llm_task_answer_ids(answers, 3, &count, task, &batch, 2, 5, &options),
                     LLM_E_RANGE);
    assert_int_equal(llm_task_answer_ids(answers, 0, &count, task, &batch, 2, 5, NULL),
                     LLM_E_BUFFER);
    llm_task_free(task);
    task = make_task(context, mask_config);
    assert_int_equal(llm_task_fill_mask_ids(fills, 4, &count, task, &batch, 30, 4), LLM_OK);
    assert_int_equal(count, 1);
    assert_true(fills[0].probability >= fills[1].probability);
    assert_int_equal(llm_task_fill_mask_ids(fills, 4, &count, task, &batch, 30, 33), LLM_E_RANGE);
    llm_task_free(task);
    llm_context_free(context);
}

static void test_generating(void **state)
{
    llm_context *context = make_context();
    llm_task *task = make_task(context, t5_config);
    llm_seq2seq_options options;
    int32_t out[6], again[6];
    size_t count, count_again;
    float vector[8];
    llm_task_batch batch = two_texts();

    (void)state;
    assert_int_equal(llm_seq2seq_options_init(&options, sizeof options), LLM_OK);
    options.max_tokens = 6;
    assert_int_equal(llm_task_generate_ids(out, 6, &count, task, ids, 5, &options), LLM_OK);
    assert_true(count > 0);
    options.num_beams = 3;
    assert_int_equal(llm_task_generate_ids(out, 6, &count, task, ids, 5, &options), LLM_OK);
    assert_int_equal(llm_task_generate_ids(again, 6, &count_again, task, ids, 5, &options), LLM_OK);
    assert_int_equal(count, count_again);
    assert_memory_equal(out, again, count * sizeof *out);
    options.num_beams = 257;
    assert_int_equal(llm_task_generate_ids(out, 6, &count, task, ids, 5, &options), LLM_E_RANGE);
    options.num_beams = 2;
    options.temperature = 1.0;
    assert_int_equal(llm_task_generate_ids(out, 6, &count, task, ids, 5, &options),
                     LLM_E_UNSUPPORTED);
    options.num_beams = 1;
    options.top_p = 0.0;
    assert_int_equal(llm_task_generate_ids(out, 6, &count, task, ids, 5, &options), LLM_E_RANGE);
    options.top_p = 1.0;
    options.early_stopping = 3;
    assert_int_equal(llm_task_generate_ids(out, 6, &count, task, ids, 5, &options), LLM_E_RANGE);
    options.early_stopping = 0;
    options.max_tokens = 0;
    assert_int_equal(llm_task_generate_ids(out, 6, &count, task, ids, 5, &options), LLM_E_RANGE);
    assert_int_equal(llm_task_embed_ids(vector, 8, NULL, task, &batch), LLM_E_BUFFER);
    llm_task_free(task);
    llm_context_free(context);
}

static void test_misuse(void **state)
{
    llm_context *context = make_context();
    llm_model *model = make_model(context, base_config);
    llm_task_options options;
    llm_task_batch batch = two_texts();
    llm_task *task = (llm_task *)1;
    static const int32_t bad[9] = {1, 2, 32};
    static const int32_t bad_types[9] = {0, 2};
    static const int32_t many[17] = {0};
    static const size_t zero[2] = {0, 4}, longer[1] = {17};
    const char *text = "a";
    size_t size = 1, needed;
    float vectors[16];
    llm_tape *tape;
    llm_tensor *out;
    llm_session *session;

    (void)state;
    assert_int_equal(llm_task_options_init(&options, sizeof options), LLM_OK);
    options.pooling = 7;
    assert_int_equal(llm_task_new(&task, model, NULL, &options), LLM_E_RANGE);
    options.pooling = 0;
    options.max_tokens = 17;
    assert_int_equal(llm_task_new(&task, model, NULL, &options), LLM_E_RANGE);
    options.max_tokens = 4;
    options.overlap = 4;
    assert_int_equal(llm_task_new(&task, model, NULL, &options), LLM_E_RANGE);
    options.overlap = 0;
    options.reserved = 1;
    assert_int_equal(llm_task_new(&task, model, NULL, &options), LLM_E_INVALID);
    assert_null(task);
    assert_int_equal(llm_task_load(&task, context, "no/such/directory", NULL), LLM_E_IO);
    assert_null(task);
    assert_int_equal(llm_session_new(&session, model, NULL, NULL), LLM_E_UNSUPPORTED);
    assert_int_equal(llm_model_logits(NULL, 0, &needed, model, ids, 5), LLM_OK);
    assert_int_equal(llm_task_new(&task, model, NULL, NULL), LLM_OK);
    assert_int_equal(llm_task_embed(vectors, 16, NULL, task, &text, &size, 1), LLM_E_UNSUPPORTED);
    assert_non_null(strstr(llm_last_error(), "tokenizer"));
    batch.ids = bad;
    assert_int_equal(llm_task_embed_ids(vectors, 16, NULL, task, &batch), LLM_E_RANGE);
    batch.ids = ids;
    batch.type_ids = bad_types;
    assert_int_equal(llm_task_embed_ids(vectors, 16, NULL, task, &batch), LLM_E_RANGE);
    batch.type_ids = NULL;
    batch.lengths = zero;
    assert_int_equal(llm_task_embed_ids(vectors, 16, NULL, task, &batch), LLM_E_RANGE);
    batch.ids = many;
    batch.lengths = longer;
    batch.count = 1;
    assert_int_equal(llm_tape_new(&tape, context, NULL), LLM_OK);
    assert_int_equal(llm_op_task_scores(&out, tape, model, &batch), LLM_E_RANGE);
    assert_int_equal(llm_tape_reset(tape), LLM_OK);
    batch.ids = ids;
    batch.lengths = lengths;
    assert_int_equal(llm_op_task_loss(&out, tape, model, &batch), LLM_E_UNSUPPORTED);
    assert_int_equal(llm_tape_reset(tape), LLM_OK);
    assert_int_equal(llm_op_task_scores(&out, tape, model, &batch), LLM_OK);
    assert_int_equal(llm_tensor_size(out, 1), 8);
    llm_tape_free(tape);
    llm_task_free(task);
    llm_task_free(NULL);
    llm_model_free(model);
    llm_context_free(context);
}

/* ---- threads and memory ---- */

static void *embed_in_thread(void *arg)
{
    float *vectors = calloc(16, sizeof *vectors);
    llm_task_batch batch = {.struct_size = sizeof batch};

    batch.ids = ids;
    batch.type_ids = types;
    batch.lengths = lengths;
    batch.count = 2;
    for (int i = 0; i < 20 && vectors; i++) {
        if (llm_task_embed_ids(vectors, 16, NULL, arg, &batch)) {
            free(vectors);
            return NULL;
        }
    }
    return vectors;
}

static void test_threads(void **state)
{
    enum { THREADS = 4 };
    llm_context *context = make_context();
    llm_task *task = make_task(context, base_config);
    pthread_t threads[THREADS];
    float *expected = embed_in_thread(task);

    (void)state;
    assert_non_null(expected);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, embed_in_thread, task), 0);
    for (int i = 0; i < THREADS; i++) {
        void *vectors;

        assert_int_equal(pthread_join(threads[i], &vectors), 0);
        assert_non_null(vectors);
        assert_memory_equal(vectors, expected, 16 * sizeof *expected);
        free(vectors);
    }
    free(expected);
    llm_task_free(task);
    llm_context_free(context);
}

static llm_status embed_scenario(llm_context *context, void *user)
{
    static const size_t twenty[1] = {9};
    llm_task_options options;
    llm_task_batch batch;
    llm_model *model = NULL;
    llm_task *task = NULL;
    float vectors[16];
    llm_status status;

    (void)user;
    (void)llm_task_options_init(&options, sizeof options);
    (void)llm_task_batch_init(&batch, sizeof batch);
    options.max_tokens = 4;
    options.windows = 1;
    batch.ids = ids;
    batch.type_ids = types;
    batch.lengths = twenty;
    batch.count = 1;
    status = llm_model_new(&model, context, base_config, strlen(base_config), NULL);
    if (!status)
        status = llm_task_new(&task, model, NULL, &options);
    if (!status)
        status = llm_task_embed_ids(vectors, 16, NULL, task, &batch);
    llm_task_free(task);
    llm_model_free(model);
    return status;
}

static llm_status generate_scenario(llm_context *context, void *user)
{
    llm_seq2seq_options options;
    llm_model *model = NULL;
    llm_task *task = NULL;
    int32_t out[4];
    size_t count;
    llm_status status;

    (void)llm_seq2seq_options_init(&options, sizeof options);
    options.max_tokens = 4;
    options.num_beams = *(const int *)user;
    status = llm_model_new(&model, context, t5_config, strlen(t5_config), NULL);
    if (!status)
        status = llm_task_new(&task, model, NULL, NULL);
    if (!status)
        status = llm_task_generate_ids(out, 4, &count, task, ids, 5, &options);
    llm_task_free(task);
    llm_model_free(model);
    return status;
}

static llm_status train_scenario(llm_context *context, void *user)
{
    static const int32_t spans[4] = {1, 3, 0, 2};
    llm_task_batch batch;
    llm_model *model = NULL;
    llm_tape *tape = NULL;
    llm_tensor *loss;
    llm_status status;

    (void)user;
    (void)llm_task_batch_init(&batch, sizeof batch);
    batch.ids = ids;
    batch.type_ids = types;
    batch.lengths = lengths;
    batch.count = 2;
    batch.targets = spans;
    status = llm_model_new(&model, context, span_config, strlen(span_config), NULL);
    if (!status)
        status = llm_tape_new(&tape, context, NULL);
    if (!status)
        status = llm_op_task_loss(&loss, tape, model, &batch);
    if (!status)
        status = llm_backward(tape, loss);
    llm_tape_free(tape);
    llm_model_free(model);
    return status;
}

static void test_failing_allocator(void **state)
{
    int beams[2] = {1, 2};

    (void)state;
    failing_allocator_run(embed_scenario, NULL, 1);
    failing_allocator_run(generate_scenario, &beams[0], 1);
    failing_allocator_run(generate_scenario, &beams[1], 1);
    failing_allocator_run(train_scenario, NULL, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_probabilities),
        cmocka_unit_test(test_answers_and_masks),
        cmocka_unit_test(test_generating),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_failing_allocator),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
