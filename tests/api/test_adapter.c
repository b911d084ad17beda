/* SPDX-License-Identifier: MIT
 *
 * A trainer that trains an adapter: the model stays as it is to the bit, the loss falls, a run that
 * was stopped and resumed ends with the same files, and every failed allocation is survived.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "failing_allocator.h"
#include "scratch.h"
#include "train_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t count_down(void *user, const llm_train_progress *progress)
{
    int *left = user;

    (void)progress;
    return *left > 0 && --*left == 0;
}

static llm_adapter *make_adapter(llm_model *model)
{
    llm_adapter_options options;
    llm_adapter *adapter;

    fixture_check(llm_adapter_options_init(&options, sizeof options), "adapter options");
    options.rank = 4;
    options.dropout = 0.1;
    options.seed = 3;
    fixture_check(llm_adapter_new(&adapter, model, &options), "adapter");
    return adapter;
}

/* Trains into `output`, going on where an earlier call stopped; *loss receives the last loss. */
static llm_status train(const char *output, int stop_after, double *first, double *last)
{
    llm_trainer_options options = fixture_options(output);
    llm_context *context = fixture_context(2, NULL, NULL);
    llm_model *model = fixture_model(context);
    llm_dataset *dataset = fixture_dataset(context);
    llm_adapter *adapter = make_adapter(model);
    llm_trainer *trainer;
    llm_status status;

    options.adapter = adapter;
    options.learning_rate = 1e-2;
    options.progress = count_down;
    options.progress_user = &stop_after;
    fixture_check(llm_trainer_new(&trainer, model, dataset, &options), "trainer");
    if (first)
        fixture_check(llm_trainer_evaluate(first, trainer, LLM_PART_VALIDATION, 0), "evaluate");
    status = llm_trainer_resume(trainer, NULL);
    if (status == LLM_OK || status == LLM_E_IO)
        status = llm_trainer_run(trainer);
    if (last)
        fixture_check(llm_trainer_evaluate(last, trainer, LLM_PART_VALIDATION, 0), "evaluate");
    llm_adapter_free(adapter);
    llm_trainer_free(trainer);
    llm_dataset_free(dataset);
    llm_model_free(model);
    llm_context_free(context);
    return status;
}

static void test_loss_falls(void **state)
{
    struct scratch scratch;
    double first, last;

    (void)state;
    scratch_make(&scratch);
    assert_int_equal(LLM_OK, train(scratch.path, 0, &first, &last));
    assert_true(isfinite(first) && last < first - 0.02);
    scratch_remove(&scratch);
}

static void assert_same_file(const struct scratch *a, const struct scratch *b, const char *name)
{
    size_t size_a, size_b;
    char *data_a = scratch_read(scratch_file(a, name), &size_a);
    char *data_b = scratch_read(scratch_file(b, name), &size_b);

    assert_int_equal(size_a, size_b);
    assert_memory_equal(data_a, data_b, size_a);
    free(data_a);
    free(data_b);
}

static void test_resumed(void **state)
{
    struct scratch whole, parts;

    (void)state;
    scratch_make(&whole);
    scratch_make(&parts);
    assert_int_equal(LLM_OK, train(whole.path, 0, NULL, NULL));
    assert_int_equal(LLM_E_CANCELLED, train(parts.path, 13, NULL, NULL));
    assert_int_equal(LLM_OK, train(parts.path, 0, NULL, NULL));
    assert_same_file(&whole, &parts, "adapter_model.safetensors");
    assert_same_file(&whole, &parts, "adapter_config.json");
    assert_same_file(&whole, &parts, "checkpoint-40/optimizer.safetensors");
    scratch_remove(&whole);
    scratch_remove(&parts);
}

/* Bytes of all parameters, to be freed. */
static float *weights_of(llm_model *model, size_t *count_out)
{
    size_t count = (size_t)llm_model_parameters(model);
    float *values = malloc(count * sizeof *values);
    size_t at = 0;

    assert_non_null(values);
    for (size_t i = 0; i < llm_model_tensor_count(model); i++) {
        llm_tensor *tensor = llm_model_tensor(model, i);
        size_t size = (size_t)llm_tensor_count(tensor);

        assert_int_equal(LLM_OK, llm_tensor_read_f32(tensor, values + at, size));
        at += size;
    }
    assert_int_equal(count, at);
    *count_out = count;
    return values;
}

static void test_model_stays(void **state)
{
    llm_trainer_options options = fixture_options(NULL);
    llm_context *context = fixture_context(1, NULL, NULL);
    llm_model *model = fixture_model(context);
    llm_dataset *dataset = fixture_dataset(context);
    llm_adapter *adapter = make_adapter(model);
    llm_trainer *trainer;
    float *before, *after;
    size_t count;

    (void)state;
    before = weights_of(model, &count);
    options.adapter = adapter;
    options.checkpoint_interval = 0;
    fixture_check(llm_trainer_new(&trainer, model, dataset, &options), "trainer");
    for (int i = 0; i < 3; i++)
        fixture_check(llm_trainer_step(trainer, NULL, 0), "step");
    assert_null(llm_tensor_grad(llm_model_tensor(model, 0)));
    llm_trainer_free(trainer);
    after = weights_of(model, &count);
    assert_memory_equal(before, after, count * sizeof *before);
    assert_int_equal(1, llm_tensor_requires_grad(llm_model_tensor(model, 0)));
    free(before);
    free(after);
    llm_adapter_free(adapter);
    llm_dataset_free(dataset);
    llm_model_free(model);
    llm_context_free(context);
}

static llm_status scenario(llm_context *context, void *user)
{
    static const char config[] =
        "{\"model_type\":\"gpt2\",\"n_layer\":1,\"n_head\":2,\"n_embd\":8,\"n_positions\":8,"
        "\"vocab_size\":11}";
    const int32_t ids[4] = {1, 2, 3, 4};
    const int32_t targets[4] = {2, 3, 4, 5};
    const size_t length = 4;
    llm_adapter_options options;
    llm_model *model = NULL, *merged = NULL;
    llm_adapter *adapter = NULL, *loaded = NULL;
    llm_tape *tape = NULL;
    llm_tensor *loss;
    llm_status status = llm_model_new(&model, context, config, sizeof config - 1, NULL);

    (void)llm_adapter_options_init(&options, sizeof options);
    options.rank = 2;
    options.dora = 1;
    if (!status)
        status = llm_adapter_new(&adapter, model, &options);
    if (!status)
        status = llm_tape_new(&tape, context, NULL);
    if (!status)
        status = llm_tape_set_adapters(tape, &adapter, NULL, 1);
    if (!status)
        status = llm_op_model_loss(&loss, tape, model, ids, targets, &length, 1);
    if (!status)
        status = llm_backward(tape, loss);
    if (!status)
        status = llm_adapter_save(adapter, user);
    if (!status)
        status = llm_adapter_load(&loaded, model, user);
    if (!status)
        status = llm_adapter_merge(&merged, model, loaded, 0.5);
    llm_tape_free(tape);
    llm_adapter_free(adapter);
    llm_adapter_free(loaded);
    llm_model_free(model);
    llm_model_free(merged);
    return status;
}

static void test_out_of_memory(void **state)
{
    struct scratch scratch;

    (void)state;
    scratch_make(&scratch);
    assert_true(failing_allocator_run(scenario, scratch.path, 1) > 20);
    scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss_falls),
        cmocka_unit_test(test_resumed),
        cmocka_unit_test(test_model_stays),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
