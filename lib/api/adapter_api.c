/* SPDX-License-Identifier: MIT
 *
 * llm/adapter.h: argument checks in front of models/adapter_make.c, models/peft.c.
 */
#include "api/check.h"
#include "api/tape_api.h"
#include "models/adapter_make.h"

#include <math.h>

static const llm_adapter_options default_options = {
    .struct_size = sizeof default_options, .alpha = 16.0, .kind = LLM_ADAPTER_LORA, .rank = 8};

llm_status llm_adapter_options_init(llm_adapter_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_options, sizeof default_options,
                        "llm_adapter_options");
}

static llm_status check_options(const llm_adapter_options *o)
{
    if (o->kind != LLM_ADAPTER_LORA && o->kind != LLM_ADAPTER_IA3)
        return status_set(LLM_E_RANGE, "kind %d is unknown", (int)o->kind);
    if ((o->target_count && !o->targets) || (o->input_target_count && !o->input_targets))
        return status_set(LLM_E_INVALID, "targets is NULL, its count is not 0");
    if (o->rank < 1)
        return status_set(LLM_E_RANGE, "rank %d is less than 1", (int)o->rank);
    if (!(o->alpha >= 0.0) || !isfinite(o->alpha))
        return status_set(LLM_E_RANGE, "alpha must be finite and >= 0");
    if (!(o->dropout >= 0.0 && o->dropout < 1.0))
        return status_set(LLM_E_RANGE, "dropout %g is not in [0, 1)", o->dropout);
    for (size_t i = 0; i < o->input_target_count; i++) {
        if (!o->input_targets[i])
            return status_set(LLM_E_INVALID, "input_targets[%zu] is NULL", i);
    }
    return LLM_OK;
}

llm_status llm_adapter_new(llm_adapter **out, llm_model *model, const llm_adapter_options *given)
{
    llm_adapter_options options = default_options;
    llm_status status;

    if (!out)
        return null_argument("llm_adapter_new", "out");
    *out = NULL;
    if (!model)
        return null_argument("llm_adapter_new", "model");
    status = options_read(&options, sizeof options, given, "llm_adapter_options");
    if (!status)
        status = check_options(&options);
    return status ? status : adapter_new(out, model, &options);
}

llm_status llm_adapter_load(llm_adapter **out, llm_model *model, const char *directory)
{
    if (!out)
        return null_argument("llm_adapter_load", "out");
    *out = NULL;
    if (!model)
        return null_argument("llm_adapter_load", "model");
    if (!directory)
        return null_argument("llm_adapter_load", "directory");
    return adapter_load(out, model, directory);
}

llm_status llm_adapter_save(const llm_adapter *adapter, const char *directory)
{
    if (!adapter)
        return null_argument("llm_adapter_save", "adapter");
    if (!directory)
        return null_argument("llm_adapter_save", "directory");
    return adapter_save(adapter, directory);
}

void llm_adapter_free(llm_adapter *adapter)
{
    adapter_release(adapter);
}

int64_t llm_adapter_parameters(const llm_adapter *adapter)
{
    return adapter ? adapter->params.elements : 0;
}

const char *llm_adapter_config(const llm_adapter *adapter)
{
    return adapter ? adapter->config : "";
}

size_t llm_adapter_tensor_count(const llm_adapter *adapter)
{
    return adapter ? adapter->params.count : 0;
}

const char *llm_adapter_tensor_name(const llm_adapter *adapter, size_t index)
{
    return adapter && index < adapter->params.count ? adapter->params.list[index].name : NULL;
}

llm_tensor *llm_adapter_tensor(const llm_adapter *adapter, size_t index)
{
    return adapter && index < adapter->params.count ? adapter->params.list[index].tensor : NULL;
}

llm_status llm_adapter_merge(llm_model **out, llm_model *model, const llm_adapter *adapter,
                             double weight)
{
    if (!out)
        return null_argument("llm_adapter_merge", "out");
    *out = NULL;
    if (!model)
        return null_argument("llm_adapter_merge", "model");
    if (!adapter)
        return null_argument("llm_adapter_merge", "adapter");
    if (!isfinite(weight))
        return status_set(LLM_E_RANGE, "llm_adapter_merge: weight is not finite");
    return adapter_merge(out, model, adapter, (float)weight);
}

llm_status llm_tape_set_adapters(llm_tape *tape, llm_adapter *const *adapters,
                                 const double *weights, size_t count)
{
    if (!tape)
        return null_argument("llm_tape_set_adapters", "tape");
    if (count && !adapters)
        return null_argument("llm_tape_set_adapters", "adapters");
    return adapter_uses_set(&tape->cx, adapters, weights, count);
}
