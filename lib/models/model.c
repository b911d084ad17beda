/* SPDX-License-Identifier: MIT
 *
 * Lifetime, sharing and the forward passes of models of any architecture.
 */
#include "models/model.h"

#include "graph/op.h"
#include "models/head.h"

#include <string.h>

static llm_status set_text(json_t *object, const char *key, const char *value)
{
    return json_object_set_new(object, key, json_string(value)) == 0
               ? LLM_OK
               : status_set(LLM_E_NOMEM, "out of memory");
}

/* The configuration as it is saved: what was given, and what readers need to know it by. */
static llm_status write_config(llm_model *model)
{
    json_t *copy = json_copy(model->config);
    json_t *names = json_array();
    llm_status status = LLM_E_NOMEM;

    if (!copy || !names || json_array_append_new(names, json_string(model->head.class_name)) ||
        json_object_set(copy, "architectures", names)) {
        status = status_set(LLM_E_NOMEM, "out of memory");
        goto done;
    }
    status = set_text(copy, "model_type", model->arch->name);
    if (!status)
        status = json_write(&model->text, copy);
done:
    json_decref(names);
    json_decref(copy);
    return status;
}

/* A model for text and images holds the configuration of its text part, which then is the model's.
 */
static llm_status take_text_part(llm_model *model, const char *name)
{
    static const char *const shared[] = {"architectures", "bos_token_id", "eos_token_id",
                                         "pad_token_id"};
    const json_t *inner = json_object_get(model->config, "text_config");
    const char *inner_name = json_string_value(json_object_get(inner, "model_type"));
    const struct arch *arch = inner_name ? arch_find(inner_name) : NULL;
    json_t *text;

    if (!arch || !arch->wrapper || strcmp(arch->wrapper, name) != 0)
        return LLM_OK;
    text = json_copy((json_t *)inner);
    if (!text)
        return status_set(LLM_E_NOMEM, "out of memory");
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
        json_t *value = json_object_get(model->config, shared[i]);

        if (value && json_object_set(text, shared[i], value)) {
            json_decref(text);
            return status_set(LLM_E_NOMEM, "out of memory");
        }
    }
    json_decref(model->config);
    model->config = text;
    model->arch = arch;
    return LLM_OK;
}

static llm_status read_architecture(llm_model *model)
{
    const char *name = NULL;
    char known[512];
    llm_status status;

    if (!json_is_object(model->config))
        return status_set(LLM_E_FORMAT, "not a JSON object");
    status = json_require(model->config, "model_type");
    if (!status)
        status = json_read_text(model->config, "model_type", &name);
    if (status)
        return status;
    if (json_is_object(json_object_get(model->config, "quantization_config")))
        return status_set(LLM_E_UNSUPPORTED, "field \"quantization_config\": not supported");
    model->arch = arch_find(name);
    if (!model->arch)
        status = take_text_part(model, name);
    if (status || model->arch)
        return status;
    arch_names(known, sizeof known);
    return status_set(LLM_E_UNSUPPORTED,
                      "field \"model_type\": \"%.100s\" is unknown; known are: %s", name, known);
}

llm_status model_new(llm_model **out, llm_context *context, const char *config, size_t size,
                     const char *what, enum params_mode mode)
{
    llm_model *model;
    llm_status status;

    *out = NULL;
    model = memory_alloc_zeroed(&context->memory, 1, sizeof *model);
    if (!model)
        return LLM_E_NOMEM;
    atomic_init(&model->references, 1);
    atomic_init(&model->users, 0);
    model->context = context_retain(context);
    arena_init(&model->arena, &context->memory);
    text_init(&model->text, &context->memory);
    text_init(&model->generation, &context->memory);
    params_init(&model->params, context, mode);
    status = json_open(&model->config, config, size, what);
    if (!status) {
        status = read_architecture(model);
        if (!status)
            status = head_read(model);
        if (!status)
            status = model->arch->create(model);
        if (!status)
            status = head_declare(model);
        if (!status)
            status = write_config(model);
        status = status_prefix(status, "%s", what);
    }
    if (status) {
        model_release(model);
        return status;
    }
    *out = model;
    return LLM_OK;
}

llm_model *model_retain(llm_model *model)
{
    atomic_fetch_add(&model->references, 1);
    return model;
}

void model_release(llm_model *model)
{
    llm_context *context;

    if (!model || atomic_fetch_sub(&model->references, 1) != 1)
        return;
    context = model->context;
    params_free(&model->params);
    text_free(&model->text);
    arena_free(&model->arena);
    json_decref(model->config);
    text_free(&model->generation);
    memory_release(&context->memory, model);
    context_release(context);
}

/* ---- sharing -----------------------------------------------------------------------------------
 */

llm_status model_lock_shared(llm_model *model)
{
    int users = atomic_load(&model->users);

    do {
        if (users < 0)
            return status_set(LLM_E_BUSY, "a trainer is using the model");
    } while (!atomic_compare_exchange_weak(&model->users, &users, users + 1));
    return LLM_OK;
}

void model_unlock_shared(llm_model *model)
{
    atomic_fetch_sub(&model->users, 1);
}

llm_status model_lock_exclusive(llm_model *model)
{
    int users = 0;

    if (!atomic_compare_exchange_strong(&model->users, &users, -1))
        return status_set(LLM_E_BUSY, users < 0 ? "another trainer is using the model"
                                                : "the model is in use elsewhere");
    return LLM_OK;
}

void model_unlock_exclusive(llm_model *model)
{
    atomic_store(&model->users, 0);
}

/* ---- forward -----------------------------------------------------------------------------------
 */

llm_status model_check(const llm_model *model, const struct batch *batch)
{
    return batch_check(batch, model->vocabulary, model->context_length);
}

llm_status model_check_causal(const llm_model *model)
{
    if (model->head.kind == LLM_HEAD_CAUSAL_LM && !model->arch->bidirectional)
        return LLM_OK;
    return status_set(LLM_E_UNSUPPORTED, "%s does not continue texts", model->head.class_name);
}

llm_tensor *model_hidden(struct cx *cx, const llm_model *model, const struct batch *batch)
{
    return model->arch->hidden(cx, model, batch);
}

llm_tensor *model_logits(struct cx *cx, const llm_model *model, llm_tensor *hidden)
{
    llm_tensor *logits;

    if (!model_has_lm_head(model))
        return cx_fail(cx, LLM_E_UNSUPPORTED, "%s has no language-model head",
                       model->head.class_name);
    if (model->arch->logits)
        return model->arch->logits(cx, model, hidden);
    logits = op_linear(cx, hidden, model->output, model->output_bias);
    if (model->logit_cap > 0.0f) {
        logits = op_tanh(cx, op_affine(cx, logits, 1.0f / model->logit_cap, 0.0f));
        logits = op_affine(cx, logits, model->logit_cap, 0.0f);
    }
    return logits;
}

static bool logits_are_a_product(const llm_model *model)
{
    return !model->arch->logits && !model->output_bias && model->logit_cap <= 0.0f;
}

llm_tensor *model_loss(struct cx *cx, const llm_model *model, const struct batch *batch,
                       const int32_t *targets, float label_smoothing)
{
    struct cross_entropy_options options = {
        .ignore_index = -100, .label_smoothing = label_smoothing, .reduction = REDUCE_MEAN};
    llm_tensor *hidden;

    if (!model_has_lm_head(model) && model->head.kind != LLM_HEAD_TOKENS)
        return cx_fail(cx, LLM_E_UNSUPPORTED, "%s has no loss by token", model->head.class_name);
    hidden = model_hidden(cx, model, batch);
    if (model->head.kind == LLM_HEAD_TOKENS || !logits_are_a_product(model))
        return op_cross_entropy(cx, model_head(cx, model, batch, hidden), targets, &options);
    return op_linear_cross_entropy(cx, hidden, model->output, targets, &options);
}
