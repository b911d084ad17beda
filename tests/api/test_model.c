/* SPDX-License-Identifier: MIT
 *
 * Models through the public header: made, saved, loaded, asked, run, trained on a tape; misused;
 * freed in any order; shared by threads; with every allocation failing in turn.
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
#include <unistd.h>

#include <cmocka.h>

enum { VOCABULARY = 32, WIDTH = 8, CONTEXT = 16 };

static const char config[] = "{\"model_type\":\"gpt2\",\"n_embd\":8,\"n_head\":2,\"n_layer\":2,"
                             "\"n_positions\":16,\"vocab_size\":32,\"resid_pdrop\":0.5}";
static const int32_t ids[6] = {1, 2, 3, 30, 31, 0};
static const int32_t targets[6] = {2, 3, -100, 31, 0, 1};

static char directory[64];

static int make_directory(void **state)
{
    (void)state;
    strcpy(directory, "test-api-model-XXXXXX");
    return mkdtemp(directory) ? 0 : 1;
}

static int remove_directory(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/config.json", directory);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", directory);
    unlink(path);
    return rmdir(directory);
}

static llm_model *make(llm_context **context)
{
    llm_model *model;

    assert_int_equal(llm_context_new(context, NULL), LLM_OK);
    assert_int_equal(llm_model_new(&model, *context, config, strlen(config), NULL), LLM_OK);
    return model;
}

static void test_facts(void **state)
{
    llm_context *context;
    llm_model *model = make(&context);
    llm_model_info info;
    int64_t sum = 0;
    size_t i;

    (void)state;
    assert_string_equal(llm_model_architecture(model), "gpt2");
    assert_int_equal(llm_model_vocabulary(model), VOCABULARY);
    assert_int_equal(llm_model_context_length(model), CONTEXT);
    assert_int_equal(llm_model_dim(model), WIDTH);
    assert_int_equal(llm_model_layers(model), 2);
    assert_non_null(strstr(llm_model_config(model), "\"GPT2LMHeadModel\""));
    assert_int_equal(llm_model_tensor_count(model), 2 + 2 * 12 + 2);
    for (i = 0; i < llm_model_tensor_count(model); i++) {
        llm_tensor *tensor = llm_model_tensor(model, i);

        assert_ptr_equal(tensor, llm_model_find_tensor(model, llm_model_tensor_name(model, i)));
        sum += llm_tensor_count(tensor);
    }
    assert_int_equal(llm_model_parameters(model), sum);
    assert_int_equal(llm_model_get_info(&info, sizeof info, model), LLM_OK);
    assert_int_equal(info.parameters, sum);
    assert_int_equal(info.heads, 2);
    assert_int_equal(info.head_dim, 4);
    assert_int_equal(info.weight_bytes, 4 * sum);
    /* A weight of a linear layer is [out, in]. */
    assert_int_equal(
        llm_tensor_size(llm_model_find_tensor(model, "transformer.h.0.mlp.c_fc.weight"), 0),
        4 * WIDTH);
    llm_model_free(model);
    llm_context_free(context);
}

static void test_misuse(void **state)
{
    llm_context *context;
    llm_model *model = make(&context);
    llm_model *other = (llm_model *)1;
    llm_model_new_options options;
    llm_model_save_options save;
    float logits[6 * VOCABULARY];
    int32_t bad[2] = {1, VOCABULARY};
    int32_t many[CONTEXT + 1] = {0};
    llm_model_info info;
    size_t needed = 99;
    double loss;

    (void)state;
    assert_int_equal(llm_model_new(NULL, context, config, 2, NULL), LLM_E_INVALID);
    assert_int_equal(llm_model_new(&other, context, NULL, 2, NULL), LLM_E_INVALID);
    assert_null(other);
    assert_int_equal(llm_model_new(&other, context, config, 20, NULL), LLM_E_FORMAT);
    assert_int_equal(llm_model_new_options_init(&options, sizeof options), LLM_OK);
    options.reserved = 1;
    assert_int_equal(llm_model_new(&other, context, config, strlen(config), &options),
                     LLM_E_INVALID);
    options.struct_size = 3;
    assert_int_equal(llm_model_new(&other, context, config, strlen(config), &options),
                     LLM_E_INVALID);
    assert_int_equal(llm_model_load(&other, context, "no/such/directory", NULL), LLM_E_IO);
    assert_null(other);
    assert_non_null(strstr(llm_last_error(), "no/such/directory"));
    assert_int_equal(llm_model_save_options_init(&save, sizeof save), LLM_OK);
    save.dtype = LLM_I8;
    assert_int_equal(llm_model_save(model, "unused", &save), LLM_E_INVALID);
    assert_int_equal(llm_model_save(model, "/dev/null/x", NULL), LLM_E_IO);
    assert_int_equal(llm_model_info_of(&info, sizeof info, context, "no/such/directory"), LLM_E_IO);
    assert_int_equal(llm_model_get_info(&info, 3, model), LLM_E_INVALID);

    assert_int_equal(llm_model_logits(NULL, 0, &needed, model, ids, 6), LLM_OK);
    assert_int_equal(needed, 6 * VOCABULARY);
    assert_int_equal(llm_model_logits(logits, needed - 1, &needed, model, ids, 6), LLM_E_BUFFER);
    assert_int_equal(llm_model_logits(NULL, 0, NULL, model, ids, 6), LLM_E_BUFFER);
    assert_int_equal(llm_model_logits(logits, needed, NULL, model, ids, 0), LLM_E_RANGE);
    assert_int_equal(llm_model_logits(logits, needed, NULL, model, many, CONTEXT + 1), LLM_E_RANGE);
    assert_int_equal(llm_model_logits(logits, needed, NULL, model, bad, 2), LLM_E_RANGE);
    assert_non_null(strstr(llm_last_error(), "32"));
    bad[1] = -1;
    assert_int_equal(llm_model_logits(logits, needed, NULL, model, bad, 2), LLM_E_RANGE);
    assert_int_equal(llm_model_loss(&loss, model, ids, bad, 2), LLM_E_RANGE);
    bad[0] = bad[1] = -100;
    assert_int_equal(llm_model_loss(&loss, model, ids, bad, 2), LLM_E_NUMERIC);
    assert_int_equal(llm_model_loss(&loss, model, ids, targets, 0), LLM_E_RANGE);
    assert_null(llm_model_tensor(model, 1000));
    assert_null(llm_model_tensor_name(model, 1000));
    assert_null(llm_model_find_tensor(model, "nothing"));
    llm_model_free(model);
    llm_model_free(NULL);
    llm_context_free(context);
}

/* The loss is the mean of -log softmax of the logits at the targets. */
static void test_loss_follows_logits(void **state)
{
    llm_context *context;
    llm_model *model = make(&context);
    float logits[6 * VOCABULARY];
    double loss, sum = 0.0;
    int i, j, count = 0;

    (void)state;
    assert_int_equal(llm_model_logits(logits, 6 * VOCABULARY, NULL, model, ids, 6), LLM_OK);
    assert_int_equal(llm_model_loss(&loss, model, ids, targets, 6), LLM_OK);
    for (i = 0; i < 6; i++) {
        double total = 0.0;

        for (j = 0; j < VOCABULARY; j++)
            total += exp((double)logits[i * VOCABULARY + j]);
        if (targets[i] != -100) {
            sum += log(total) - (double)logits[i * VOCABULARY + targets[i]];
            count++;
        }
    }
    assert_true(fabs(loss - sum / count) < 1e-5);
    llm_model_free(model);
    llm_context_free(context);
}

/* A training loop of one's own: plain gradient descent lowers the loss of two packed sequences. */
static void test_training_on_a_tape(void **state)
{
    const size_t lengths[2] = {4, 2};
    llm_context *context;
    llm_model *model = make(&context);
    llm_optimizer_options options;
    llm_optimizer *optimizer;
    llm_tape *tape;
    llm_tensor *loss, *logits;
    float first = 0.0f, value = 0.0f;
    size_t i;
    int step;

    (void)state;
    assert_int_equal(llm_tape_new(&tape, context, NULL), LLM_OK);
    assert_int_equal(llm_optimizer_options_init(&options, sizeof options), LLM_OK);
    options.learning_rate = 0.5;
    options.kind = LLM_OPTIMIZER_SGD;
    options.weight_decay = 0.0;
    assert_int_equal(llm_optimizer_new(&optimizer, context, &options), LLM_OK);
    for (i = 0; i < llm_model_tensor_count(model); i++)
        assert_int_equal(llm_optimizer_add(optimizer, llm_model_tensor(model, i),
                                           llm_model_tensor_name(model, i), 0),
                         LLM_OK);
    for (step = 0; step < 30; step++) {
        assert_int_equal(llm_tape_reset(tape), LLM_OK);
        llm_optimizer_zero_grad(optimizer);
        assert_int_equal(llm_op_model_loss(&loss, tape, model, ids, targets, lengths, 2), LLM_OK);
        assert_int_equal(llm_tensor_read_f32(loss, &value, 1), LLM_OK);
        assert_int_equal(llm_backward(tape, loss), LLM_OK);
        assert_int_equal(llm_optimizer_step(optimizer), LLM_OK);
        if (step == 0)
            first = value;
    }
    assert_true(first > 3.0f && first < 4.0f); /* about log(32) */
    assert_true(value < 0.5f * first);
    assert_int_equal(llm_tape_reset(tape), LLM_OK);
    assert_int_equal(llm_op_model_logits(&logits, tape, model, ids, lengths, 2), LLM_OK);
    assert_int_equal(llm_tensor_size(logits, 0), 6);
    assert_int_equal(llm_tensor_size(logits, 1), VOCABULARY);
    assert_int_equal(llm_op_model_logits(&logits, tape, model, ids, lengths, 0), LLM_E_RANGE);
    assert_int_equal(llm_op_model_logits(&logits, tape, model, ids, lengths, 2), LLM_E_RANGE);
    assert_null(logits); /* the failure sticks until the tape is reset */
    llm_optimizer_free(optimizer);
    llm_tape_free(tape);
    llm_model_free(model);
    llm_context_free(context);
}

/* The context goes first, the model last: handles keep what they need. */
static void test_freed_in_any_order(void **state)
{
    llm_context *context;
    llm_model *model = make(&context);
    double loss;

    (void)state;
    llm_context_free(context);
    assert_int_equal(llm_model_loss(&loss, model, ids, targets, 6), LLM_OK);
    llm_model_free(model);
}

struct reader {
    llm_model *model;
    double loss;
    llm_status status;
};

static void *read_model(void *arg)
{
    struct reader *reader = arg;

    reader->status = llm_model_loss(&reader->loss, reader->model, ids, targets, 6);
    return NULL;
}

static void test_shared_by_threads(void **state)
{
    llm_context *context;
    llm_model *model = make(&context);
    struct reader readers[4];
    pthread_t threads[4];
    int i;

    (void)state;
    for (i = 0; i < 4; i++) {
        readers[i].model = model;
        assert_int_equal(pthread_create(&threads[i], NULL, read_model, &readers[i]), 0);
    }
    for (i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(readers[i].status, LLM_OK);
        assert_memory_equal(&readers[i].loss, &readers[0].loss, sizeof(double));
    }
    llm_model_free(model);
    llm_context_free(context);
}

/* What reads and writes files; few allocations follow the slow part, which waits for the disk. */
static llm_status files_scenario(llm_context *context, void *user)
{
    llm_model *model = NULL;
    llm_model *loaded = NULL;
    llm_model_info info;
    llm_status status = llm_model_load(&loaded, context, directory, NULL);

    (void)user;
    if (!status)
        status = llm_model_info_of(&info, sizeof info, context, directory);
    if (!status)
        status = llm_model_new(&model, context, config, strlen(config), NULL);
    if (!status)
        status = llm_model_save(model, directory, NULL);
    llm_model_free(model);
    llm_model_free(loaded);
    return status;
}

static llm_status run_scenario(llm_context *context, void *user)
{
    const size_t lengths[2] = {4, 2};
    float logits[6 * VOCABULARY];
    llm_model *model = NULL;
    llm_tape *tape = NULL;
    llm_tensor *loss = NULL;
    llm_status status = llm_model_new(&model, context, config, strlen(config), NULL);

    (void)user;
    if (!status)
        status = llm_model_logits(logits, 6 * VOCABULARY, NULL, model, ids, 6);
    if (!status)
        status = llm_tape_new(&tape, context, NULL);
    if (!status)
        status = llm_op_model_loss(&loss, tape, model, ids, targets, lengths, 2);
    if (!status)
        status = llm_backward(tape, loss);
    llm_tape_free(tape);
    llm_model_free(model);
    return status;
}

/* The same for decoders: loaded, run whole and through a session, trained one step, saved. */
#define DECODER                                                                                    \
    "\"vocab_size\":32,\"hidden_size\":8,\"intermediate_size\":8,\"num_hidden_layers\":2,"         \
    "\"num_attention_heads\":2,\"max_position_embeddings\":4"

static const char *const decoders[] = {
    "{\"model_type\":\"llama\"," DECODER ",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":4}}",
    "{\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":\"gemma3_text\",\"head_dim\":4,"
    "\"num_key_value_heads\":1,\"sliding_window\":3,\"rope_scaling\":{\"type\":\"longrope\","
    "\"short_factor\":[1,1],\"long_factor\":[2,2]}," DECODER "0}}",
    "{\"model_type\":\"mixtral\",\"num_key_value_heads\":1,\"num_local_experts\":3," DECODER "0}",
    "{\"model_type\":\"falcon\",\"new_decoder_architecture\":true,\"num_kv_heads\":1," DECODER "0}",
};

static llm_status decoder_scenario(llm_context *context, void *user)
{
    const size_t lengths[2] = {4, 2};
    const char *text = user;
    llm_model *model = NULL;
    llm_session *session = NULL;
    llm_tape *tape = NULL;
    llm_tensor *loss = NULL;
    llm_status status = llm_model_load(&model, context, directory, NULL);

    llm_model_free(model);
    model = NULL;
    if (!status)
        status = llm_model_new(&model, context, text, strlen(text), NULL);
    if (!status)
        status = llm_session_new(&session, model, NULL, NULL);
    if (!status)
        status = llm_session_append(session, ids, 4);
    llm_session_free(session);
    if (!status)
        status = llm_tape_new(&tape, context, NULL);
    if (!status)
        status = llm_op_model_loss(&loss, tape, model, ids, targets, lengths, 2);
    if (!status)
        status = llm_backward(tape, loss);
    llm_tape_free(tape);
    if (!status)
        status = llm_model_save(model, directory, NULL);
    llm_model_free(model);
    return status;
}

static void test_decoders_failing_allocations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof decoders / sizeof decoders[0]; i++) {
        llm_context *context;
        llm_model *model;

        assert_int_equal(llm_context_new(&context, NULL), LLM_OK);
        if (llm_model_new(&model, context, decoders[i], strlen(decoders[i]), NULL) ||
            llm_model_save(model, directory, NULL))
            fail_msg("%s: %s", decoders[i], llm_last_error());
        assert_true(failing_allocator_run(decoder_scenario, (void *)decoders[i], 1) > 100);
        llm_model_free(model);
        llm_context_free(context);
    }
}

static void test_failing_allocations(void **state)
{
    llm_context *context;
    llm_model *model = make(&context);

    (void)state;
    assert_int_equal(llm_model_save(model, directory, NULL), LLM_OK);
    assert_true(failing_allocator_run(files_scenario, NULL, 1) > 100);
    assert_true(failing_allocator_run(run_scenario, NULL, 1) > 100);
    llm_model_free(model);
    llm_context_free(context);
}

/* One step down the gradient of sum(w * w). */
static void step_on_squares(llm_context *context, llm_optimizer *optimizer, llm_tensor *w)
{
    llm_tape *tape;
    llm_tensor *y;

    assert_int_equal(llm_tape_new(&tape, context, NULL), LLM_OK);
    llm_optimizer_zero_grad(optimizer);
    assert_int_equal(llm_op_mul(&y, tape, w, w), LLM_OK);
    assert_int_equal(llm_op_sum(&y, tape, y, 1, 0), LLM_OK);
    assert_int_equal(llm_backward(tape, y), LLM_OK);
    assert_int_equal(llm_optimizer_step(optimizer), LLM_OK);
    llm_tape_free(tape);
}

/* The next step of an optimizer that was saved and loaded gives the same bits; what does not fit is
 * refused and changes nothing. */
static void test_optimizer_state(void **state)
{
    static const char path[] = "test_optimizer_state.safetensors";
    const float start[4] = {1.0f, -2.0f, 0.5f, 3.0f};
    const int64_t shape[1] = {4};
    llm_context *context;
    llm_optimizer *optimizers[3];
    llm_tensor *weights[3];
    float after[2][4];
    int i;

    (void)state;
    assert_int_equal(llm_context_new(&context, NULL), LLM_OK);
    for (i = 0; i < 3; i++) {
        llm_optimizer_options options;

        assert_int_equal(llm_optimizer_options_init(&options, sizeof options), LLM_OK);
        if (i == 2)
            options.kind = LLM_OPTIMIZER_SGD;
        assert_int_equal(llm_optimizer_new(&optimizers[i], context, &options), LLM_OK);
        assert_int_equal(llm_tensor_new(&weights[i], context, LLM_F32, 1, shape), LLM_OK);
        assert_int_equal(llm_tensor_set_requires_grad(weights[i], 1), LLM_OK);
        assert_int_equal(llm_optimizer_add(optimizers[i], weights[i], "w", 0), LLM_OK);
        assert_int_equal(llm_tensor_write_f32(weights[i], start, 4), LLM_OK);
    }
    step_on_squares(context, optimizers[0], weights[0]);
    assert_int_equal(llm_optimizer_save(optimizers[0], path), LLM_OK);
    assert_int_equal(llm_optimizer_load(optimizers[1], path), LLM_OK);
    assert_int_equal(llm_tensor_read_f32(weights[0], after[0], 4), LLM_OK);
    assert_int_equal(llm_tensor_write_f32(weights[1], after[0], 4), LLM_OK);
    for (i = 0; i < 2; i++) {
        step_on_squares(context, optimizers[i], weights[i]);
        assert_int_equal(llm_tensor_read_f32(weights[i], after[i], 4), LLM_OK);
    }
    assert_memory_equal(after[0], after[1], sizeof after[0]);

    assert_int_equal(llm_optimizer_load(optimizers[2], path), LLM_E_INVALID); /* another kind */
    assert_int_equal(llm_optimizer_load(optimizers[0], "no-such-file"), LLM_E_IO);
    assert_int_equal(llm_optimizer_save(optimizers[0], "no-such-folder/x"), LLM_E_IO);
    assert_int_equal(llm_optimizer_save(NULL, path), LLM_E_INVALID);
    assert_int_equal(llm_optimizer_save(optimizers[0], NULL), LLM_E_INVALID);
    assert_int_equal(llm_optimizer_load(NULL, path), LLM_E_INVALID);
    assert_int_equal(llm_optimizer_load(optimizers[0], NULL), LLM_E_INVALID);
    assert_int_equal(remove(path), 0);
    for (i = 0; i < 3; i++) {
        llm_optimizer_free(optimizers[i]);
        llm_tensor_free(weights[i]);
    }
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_loss_follows_logits),
        cmocka_unit_test(test_training_on_a_tape),
        cmocka_unit_test(test_optimizer_state),
        cmocka_unit_test(test_freed_in_any_order),
        cmocka_unit_test(test_shared_by_threads),
        cmocka_unit_test_setup_teardown(test_failing_allocations, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(test_decoders_failing_allocations, make_directory,
                                        remove_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
