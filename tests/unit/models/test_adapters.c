/* SPDX-License-Identifier: MIT
 *
 * Adapters against PEFT (tests/golden/adapters): logits, twenty training steps, and what they left;
 * and against themselves: saved and loaded, merged, weighted, refused where they do not fit.
 */
#include "fixture.h"

#include <llm.h>

#include "base/directory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const folders[] = {"lora", "lora-patterns", "dora", "ia3", "gpt2"};

enum { FOLDERS = sizeof folders / sizeof folders[0], TOKENS = 24, STEPS = 20 };

static const char saved[] = "test_adapters_saved";

/* An adapter of tests/golden and its base. */
struct adapted {
    const char *folder;
    llm_context *context;
    llm_model *model;
    llm_adapter *adapter;
    struct tensor_source *values;
    llm_tensor *ids, *targets, *logits, *losses;
    llm_tape *tape;
};

static void check(const struct adapted *a, llm_status status)
{
    if (status)
        fail_msg("%s: %s", a->folder, llm_last_error());
}

static llm_tensor *value(const struct adapted *a, const char *name)
{
    const struct tensor_entry *entry = tensor_source_find(a->values, name);
    llm_tensor *tensor;

    if (!entry)
        fail_msg("%s: golden.safetensors lacks %s", a->folder, name);
    assert_int_equal(
        LLM_OK, tensor_new(&tensor, a->context, entry->dtype, entry->dimensions, entry->shape));
    assert_int_equal(LLM_OK, tensor_source_load(a->values, entry, tensor, NULL, NULL));
    return tensor;
}

static const char *path_of(const char *folder, const char *file)
{
    static char path[512];
    char name[128];

    (void)snprintf(name, sizeof name, "adapters/%s%s", folder, file);
    (void)snprintf(path, sizeof path, "%s", golden_path(name));
    return path;
}

static void open_adapted(struct adapted *a, const char *folder)
{
    char base[64] = "";
    FILE *file = fopen(path_of(folder, "/base.txt"), "r");

    memset(a, 0, sizeof *a);
    a->folder = folder;
    assert_non_null(file);
    assert_int_equal(1, fscanf(file, "%63s", base));
    (void)fclose(file);
    a->context = make_context(2);
    check(a, llm_model_load(&a->model, a->context, golden_path(base), NULL));
    check(a, llm_adapter_load(&a->adapter, a->model, path_of(folder, "")));
    assert_int_equal(LLM_OK, tensor_source_open(&a->values, &a->context->memory,
                                                path_of(folder, "/golden.safetensors")));
    a->ids = value(a, "ids");
    a->targets = value(a, "targets");
    a->logits = value(a, "logits");
    a->losses = value(a, "losses");
    check(a, llm_tape_new(&a->tape, a->context, NULL));
}

static void close_adapted(struct adapted *a)
{
    llm_tape_free(a->tape);
    tensor_release(a->ids);
    tensor_release(a->targets);
    tensor_release(a->logits);
    tensor_release(a->losses);
    tensor_source_close(a->values);
    llm_adapter_free(a->adapter);
    llm_model_free(a->model);
    llm_context_free(a->context);
}

/* Largest difference of the model's logits, with one adapter or none, from the golden ones. */
static double logits_error(struct adapted *a, llm_model *model, llm_adapter *adapter, double weight)
{
    const size_t length = TOKENS;
    llm_tensor *logits;
    double error;

    check(a, llm_tape_reset(a->tape));
    check(a, llm_tape_set_adapters(a->tape, &adapter, &weight, adapter ? 1 : 0));
    check(a, llm_op_model_logits(&logits, a->tape, model, a->ids->data, &length, 1));
    assert_int_equal(tensor_count(a->logits), tensor_count(logits));
    error =
        largest_difference(tensor_f32(logits), tensor_f32(a->logits), tensor_count(logits), 1.0);
    check(a, llm_tape_reset(a->tape));
    return error;
}

static void logits_agree(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        struct adapted a;
        double error;

        open_adapted(&a, folders[i]);
        error = logits_error(&a, a.model, a.adapter, 1.0);
        if (!(error < 1e-4))
            fail_msg("%s: logits differ by %g", folders[i], error);
        assert_true(logits_error(&a, a.model, NULL, 1.0) > 1e-2); /* the adapter does something */
        close_adapted(&a);
    }
}

/* AdamW over the adapter's tensors, as the script has it. */
static llm_optimizer *make_optimizer(struct adapted *a)
{
    llm_optimizer_options options;
    llm_optimizer *optimizer;

    check(a, llm_optimizer_options_init(&options, sizeof options));
    options.learning_rate = 5e-3;
    options.weight_decay = 0.01;
    check(a, llm_optimizer_new(&optimizer, a->context, &options));
    for (size_t i = 0; i < llm_adapter_tensor_count(a->adapter); i++)
        check(a, llm_optimizer_add(optimizer, llm_adapter_tensor(a->adapter, i),
                                   llm_adapter_tensor_name(a->adapter, i), 0));
    for (size_t i = 0; i < llm_model_tensor_count(a->model); i++)
        check(a, llm_tensor_set_requires_grad(llm_model_tensor(a->model, i), 0));
    return optimizer;
}

static void training_agrees(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        const size_t length = TOKENS;
        struct adapted a;
        llm_optimizer *optimizer;

        open_adapted(&a, folders[i]);
        optimizer = make_optimizer(&a);
        check(&a, llm_tape_set_adapters(a.tape, &a.adapter, NULL, 1));
        for (int step = 0; step < STEPS; step++) {
            llm_tensor *loss;
            float got;

            check(&a, llm_tape_reset(a.tape));
            llm_optimizer_zero_grad(optimizer);
            check(&a, llm_op_model_loss(&loss, a.tape, a.model, a.ids->data, a.targets->data,
                                        &length, 1));
            check(&a, llm_tensor_read_f32(loss, &got, 1));
            if (!(fabsf(got - tensor_f32(a.losses)[step]) < 1e-4f))
                fail_msg("%s: step %d: loss %g, PEFT has %g", folders[i], step, (double)got,
                         (double)tensor_f32(a.losses)[step]);
            check(&a, llm_backward(a.tape, loss));
            check(&a, llm_optimizer_step(optimizer));
        }
        for (size_t t = 0; t < llm_adapter_tensor_count(a.adapter); t++) {
            llm_tensor *got = llm_adapter_tensor(a.adapter, t);
            llm_tensor *expected;
            char name[256];

            (void)snprintf(name, sizeof name, "after.%s", llm_adapter_tensor_name(a.adapter, t));
            expected = value(&a, name);
            if (!(largest_difference(tensor_f32(got), tensor_f32(expected), tensor_count(got),
                                     1.0) < 1e-4))
                fail_msg("%s: %s differs after training", folders[i], name);
            tensor_release(expected);
        }
        llm_optimizer_free(optimizer);
        close_adapted(&a);
    }
}

static void saves_and_loads(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        struct adapted a;
        llm_adapter *again;

        open_adapted(&a, folders[i]);
        check(&a, llm_adapter_save(a.adapter, saved));
        check(&a, llm_adapter_load(&again, a.model, saved));
        assert_string_equal(llm_adapter_config(a.adapter), llm_adapter_config(again));
        assert_int_equal(llm_adapter_parameters(a.adapter), llm_adapter_parameters(again));
        for (size_t t = 0; t < llm_adapter_tensor_count(a.adapter); t++) {
            const llm_tensor *x = llm_adapter_tensor(a.adapter, t);

            assert_memory_equal(x->data, llm_adapter_tensor(again, t)->data,
                                (size_t)tensor_count(x) * sizeof(float));
        }
        llm_adapter_free(again);
        assert_int_equal(LLM_OK, directory_remove(&a.context->memory, saved));
        close_adapted(&a);
    }
}

static void merges(void **state)
{
    (void)state;
    for (int i = 0; i < FOLDERS; i++) {
        struct adapted a;
        llm_model *merged;
        double error, half;

        open_adapted(&a, folders[i]);
        check(&a, llm_adapter_merge(&merged, a.model, a.adapter, 1.0));
        error = logits_error(&a, merged, NULL, 1.0);
        if (!(error < 1e-4))
            fail_msg("%s: logits of the merged model differ by %g", folders[i], error);
        llm_model_free(merged);
        check(&a, llm_adapter_merge(&merged, a.model, a.adapter, 0.5));
        half = logits_error(&a, a.model, a.adapter, 0.5);
        assert_true(fabs(logits_error(&a, merged, NULL, 1.0) - half) < 1e-4);
        assert_true(half > 1e-3);
        llm_model_free(merged);
        close_adapted(&a);
    }
}

/* A fresh adapter of every kind changes nothing. */
static void fresh_ones_change_nothing(void **state)
{
    const size_t length = TOKENS;
    struct adapted a;

    (void)state;
    open_adapted(&a, "lora");
    for (int kind = 0; kind < 4; kind++) {
        llm_adapter_options options;
        llm_tensor *with, *without;
        llm_adapter *fresh;

        check(&a, llm_adapter_options_init(&options, sizeof options));
        options.kind = kind == 3 ? LLM_ADAPTER_IA3 : LLM_ADAPTER_LORA;
        options.dora = kind == 1;
        options.rank_stabilized = kind == 2;
        check(&a, llm_adapter_new(&fresh, a.model, &options));
        check(&a, llm_tape_reset(a.tape));
        check(&a, llm_tape_set_adapters(a.tape, NULL, NULL, 0));
        check(&a, llm_op_model_logits(&without, a.tape, a.model, a.ids->data, &length, 1));
        check(&a, llm_tape_set_adapters(a.tape, &fresh, NULL, 1));
        check(&a, llm_op_model_logits(&with, a.tape, a.model, a.ids->data, &length, 1));
        assert_true(largest_difference(tensor_f32(with), tensor_f32(without), tensor_count(with),
                                       1.0) < 1e-5);
        check(&a, llm_adapter_save(fresh, saved));
        llm_adapter_free(fresh);
        check(&a, llm_adapter_load(&fresh, a.model, saved));
        llm_adapter_free(fresh);
        assert_int_equal(LLM_OK, directory_remove(&a.context->memory, saved));
    }
    close_adapted(&a);
}

static void put(const char *name, const char *text)
{
    char path[256];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", saved, name);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(strlen(text), fwrite(text, 1, strlen(text), file));
    assert_int_equal(0, fclose(file));
}

static void expect_refusal(struct adapted *a, const char *config, llm_status status,
                           const char *word)
{
    llm_adapter *adapter;

    put("adapter_config.json", config);
    assert_int_equal(status, llm_adapter_load(&adapter, a->model, saved));
    assert_null(adapter);
    if (!strstr(llm_last_error(), word))
        fail_msg("\"%s\" does not speak of %s", llm_last_error(), word);
}

static void refuses(void **state)
{
    const char *const nowhere[] = {"q_prj"};
    struct adapted a, other;
    llm_adapter_options options;
    llm_adapter *adapter;
    llm_model *merged;
    double infinite = HUGE_VAL;

    (void)state;
    open_adapted(&a, "lora");
    open_adapted(&other, "gpt2");
    check(&a, llm_adapter_save(a.adapter, saved));
    expect_refusal(&a, "{", LLM_E_FORMAT, "adapter_config.json");
    expect_refusal(&a, "[]", LLM_E_FORMAT, "object");
    expect_refusal(&a, "{\"peft_type\":\"LOHA\"}", LLM_E_UNSUPPORTED, "LOHA");
    expect_refusal(&a, "{\"peft_type\":\"LORA\",\"bias\":\"all\"}", LLM_E_UNSUPPORTED, "bias");
    expect_refusal(&a, "{\"peft_type\":\"LORA\",\"use_qalora\":true}", LLM_E_UNSUPPORTED,
                   "use_qalora");
    expect_refusal(&a, "{\"peft_type\":\"LORA\",\"modules_to_save\":[\"lm_head\"]}",
                   LLM_E_UNSUPPORTED, "modules_to_save");
    expect_refusal(&a, "{\"peft_type\":\"LORA\",\"r\":0}", LLM_E_RANGE, "\"r\"");
    expect_refusal(&a, "{\"peft_type\":\"LORA\",\"r\":5}", LLM_E_SHAPE, "rank");
    expect_refusal(&a, "{\"peft_type\":\"LORA\",\"r\":4,\"alpha_pattern\":{\".*q\":2}}",
                   LLM_E_UNSUPPORTED, "alpha_pattern");
    expect_refusal(&a, "{\"peft_type\":\"LORA\",\"r\":4,\"use_dora\":true}", LLM_E_FORMAT,
                   "missing");
    assert_int_equal(LLM_E_INVALID, llm_adapter_load(&adapter, other.model, path_of("lora", "")));
    assert_non_null(strstr(llm_last_error(), "another base"));
    assert_int_equal(LLM_E_IO, llm_adapter_load(&adapter, a.model, "no-such-folder"));
    assert_int_equal(LLM_E_INVALID, llm_adapter_merge(&merged, other.model, a.adapter, 1.0));
    assert_int_equal(LLM_E_RANGE, llm_adapter_merge(&merged, a.model, a.adapter, infinite));
    assert_int_equal(LLM_E_RANGE, llm_tape_set_adapters(a.tape, &a.adapter, &infinite, 1));

    check(&a, llm_adapter_options_init(&options, sizeof options));
    options.targets = nowhere;
    options.target_count = 1;
    assert_int_equal(LLM_E_INVALID, llm_adapter_new(&adapter, a.model, &options));
    assert_non_null(strstr(llm_last_error(), "q_prj"));
    options.target_count = 0;
    options.targets = NULL;
    options.rank = 0;
    assert_int_equal(LLM_E_RANGE, llm_adapter_new(&adapter, a.model, &options));
    options.rank = 1000;
    assert_int_equal(LLM_E_RANGE, llm_adapter_new(&adapter, a.model, &options));
    assert_null(adapter);
    assert_int_equal(LLM_OK, directory_remove(&a.context->memory, saved));
    close_adapted(&a);
    close_adapted(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_agree),
        cmocka_unit_test(training_agrees),
        cmocka_unit_test(saves_and_loads),
        cmocka_unit_test(merges),
        cmocka_unit_test(fresh_ones_change_nothing),
        cmocka_unit_test(refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
