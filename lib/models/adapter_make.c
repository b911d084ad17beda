/* SPDX-License-Identifier: MIT */
#include "models/adapter_make.h"

#include "tensor/packed.h"

#include <math.h>
#include <string.h>

bool adapter_target_matches(const char *path, size_t length, const char *target)
{
    size_t size = strlen(target);

    if (size > length || memcmp(path + length - size, target, size) != 0)
        return false;
    return size == length || path[length - size - 1] == '.';
}

static bool is_among(const char *path, size_t length, const char *const *targets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (adapter_target_matches(path, length, targets[i]))
            return true;
    }
    return false;
}

/* What PEFT adapts with IA3 in the architectures we have: keys and values, and the input of the
 * last matrix of the feed-forward. */
static const char *const ia3_targets[] = {
    "k_proj", "v_proj", "key",      "value",          "k", "v", "k_lin",
    "v_lin",  "c_attn", "qkv_proj", "query_key_value"};
static const char *const ia3_inputs[] = {"down_proj", "mlp.c_proj", "output.dense", "wo",
                                         "lin2",      "fc2",        "dense_4h_to_h"};

enum {
    COUNT_TARGETS = sizeof ia3_targets / sizeof *ia3_targets,
    COUNT_INPUTS = sizeof ia3_inputs / sizeof *ia3_inputs
};

struct plan {
    const llm_adapter_options *options;
    float scale;
    bool all, ia3_defaults;
    const char *const *inputs;
    size_t input_count;
};

static bool wants(const struct plan *plan, const char *path, size_t length)
{
    const llm_adapter_options *o = plan->options;

    if (plan->ia3_defaults)
        return is_among(path, length, ia3_targets, COUNT_TARGETS) ||
               is_among(path, length, ia3_inputs, COUNT_INPUTS);
    return plan->all || is_among(path, length, o->targets, o->target_count);
}

/* Every target must name something: a misspelt one is not silently left out. */
static llm_status check_targets(const llm_model *model, const llm_adapter_options *o)
{
    for (size_t i = 0; i < o->target_count; i++) {
        bool found = false;

        if (!o->targets[i])
            return status_set(LLM_E_INVALID, "targets[%zu] is NULL", i);
        for (size_t j = 0; j < model->params.count && !found; j++) {
            const struct param *param = &model->params.list[j];

            found = (param->flags & PARAM_LINEAR) &&
                    adapter_target_matches(param->name, strlen(param->name) - strlen(".weight"),
                                           o->targets[i]);
        }
        if (!found)
            return status_set(LLM_E_INVALID, "target \"%.100s\" names no linear layer of the model",
                              o->targets[i]);
    }
    return LLM_OK;
}

static llm_status add_parts(llm_adapter *adapter, const llm_model *model, const struct plan *plan)
{
    const llm_adapter_options *o = plan->options;
    llm_status status = LLM_OK;

    for (size_t i = 0; i < model->params.count && !status; i++) {
        const struct param *param = &model->params.list[i];
        size_t length = strlen(param->name) - strlen(".weight");

        if (!(param->flags & PARAM_LINEAR) || !wants(plan, param->name, length) ||
            ((plan->all || plan->ia3_defaults) && param->tensor == model->head.score.weight))
            continue;
        if (o->kind == LLM_ADAPTER_IA3)
            status =
                adapter_add_ia3(adapter, &model->params, i,
                                is_among(param->name, length, plan->inputs, plan->input_count));
        else
            status =
                adapter_add_lora(adapter, &model->params, i, o->rank, plan->scale, o->dora != 0);
    }
    if (!status && adapter->part_count == 0)
        status = status_set(LLM_E_INVALID, "the model has no linear layer to adapt");
    return status;
}

llm_status adapter_new(llm_adapter **out, llm_model *model, const llm_adapter_options *options)
{
    struct plan plan = {.options = options,
                        .all = options->target_count == 0,
                        .inputs = options->input_targets,
                        .input_count = options->input_target_count};
    llm_adapter *adapter = NULL;
    llm_status status = check_targets(model, options);

    *out = NULL;
    plan.ia3_defaults = plan.all && options->kind == LLM_ADAPTER_IA3;
    if (plan.ia3_defaults && plan.input_count == 0) {
        plan.inputs = ia3_inputs;
        plan.input_count = COUNT_INPUTS;
    }
    plan.scale = (float)(options->alpha / (options->rank_stabilized ? sqrt((double)options->rank)
                                                                    : (double)options->rank));
    if (!status)
        status = adapter_open(&adapter, model->context, &model->params);
    if (!status) {
        adapter->kind = options->kind;
        adapter->dropout = (float)options->dropout;
        status = add_parts(adapter, model, &plan);
    }
    if (!status)
        status = adapter_initialize(adapter, &model->params,
                                    options->seed ? options->seed : model->context->seed);
    if (!status)
        status = adapter_describe(adapter, model, options);
    if (status)
        adapter_release(adapter);
    else
        *out = adapter;
    return status;
}

llm_status adapter_check(const llm_adapter *adapter, const llm_model *model)
{
    bool fits = adapter->model_params == model->params.count;

    for (size_t i = 0; i < adapter->model_params && fits; i++) {
        const struct adapter_part *part = &adapter->parts[i];
        const llm_tensor *weight = model->params.list[i].tensor;

        if (part->a)
            fits = weight->dimensions == 2 && part->a->shape[1] == weight->shape[1] &&
                   part->b->shape[0] == weight->shape[0];
        else if (part->gain)
            fits = weight->dimensions == 2 &&
                   tensor_count(part->gain) == weight->shape[part->gain_on_input ? 1 : 0];
    }
    return fits ? LLM_OK : status_set(LLM_E_INVALID, "the adapter belongs to another model");
}

/* The bias that stands beside the weight `index`, or NULL. */
static llm_tensor *bias_of(const llm_model *model, size_t index)
{
    const char *weight = model->params.list[index].name;
    size_t length = strlen(weight) - strlen(".weight");
    const struct param *next;

    if (index + 1 >= model->params.count)
        return NULL;
    next = &model->params.list[index + 1];
    return strncmp(next->name, weight, length) == 0 && strcmp(next->name + length, ".bias") == 0
               ? next->tensor
               : NULL;
}

static llm_status copy_values(llm_tensor *to, const llm_tensor *from)
{
    if (!from->packed)
        return tensor_copy(to, from);
    packed_read_rows(from, 0, from->shape[0], tensor_f32(to), to->context->threads);
    return LLM_OK;
}

llm_status adapter_merge(llm_model **out, llm_model *model, const llm_adapter *adapter,
                         float weight)
{
    llm_model *merged = NULL;
    llm_status status = adapter_check(adapter, model);

    *out = NULL;
    if (!status)
        status = model_lock_shared(model);
    if (status)
        return status;
    status = model_new(&merged, model->context, model->text.data, model->text.size,
                       "the model's configuration", PARAMS_NOW);
    for (size_t i = 0; i < model->params.count && !status; i++)
        status = copy_values(merged->params.list[i].tensor, model->params.list[i].tensor);
    for (size_t i = 0; i < adapter->model_params && !status; i++) {
        if (adapter->parts[i].a || adapter->parts[i].gain)
            status = adapter_fold(&adapter->parts[i], weight, model->context,
                                  merged->params.list[i].tensor, bias_of(merged, i));
    }
    model_unlock_shared(model);
    if (status)
        model_release(merged);
    else
        *out = merged;
    return status;
}
