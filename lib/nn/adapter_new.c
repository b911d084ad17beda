/* SPDX-License-Identifier: MIT
 *
 * Making adapters: which parameters they have, under PEFT's names, and their first values.
 */
#include "nn/adapter.h"

#include "tensor/packed.h"

#include <math.h>
#include <string.h>

static const char prefix[] = "base_model.model.";

llm_adapter *adapter_retain(llm_adapter *adapter)
{
    atomic_fetch_add(&adapter->references, 1);
    return adapter;
}

void adapter_release(llm_adapter *adapter)
{
    llm_context *context;

    if (!adapter || atomic_fetch_sub(&adapter->references, 1) != 1)
        return;
    context = adapter->context;
    params_free(&adapter->params);
    arena_free(&adapter->arena);
    memory_release(&context->memory, adapter);
    context_release(context);
}

llm_status adapter_open(llm_adapter **out, llm_context *context, const struct params *model)
{
    llm_adapter *adapter = memory_alloc_zeroed(&context->memory, 1, sizeof *adapter);

    *out = NULL;
    if (!adapter)
        return LLM_E_NOMEM;
    atomic_init(&adapter->references, 1);
    adapter->context = context_retain(context);
    arena_init(&adapter->arena, &context->memory);
    params_init(&adapter->params, context, PARAMS_NOW);
    adapter->model_params = model->count;
    adapter->parts = arena_alloc(&adapter->arena, model->count * sizeof *adapter->parts);
    if (!adapter->parts) {
        adapter_release(adapter);
        return LLM_E_NOMEM;
    }
    *out = adapter;
    return LLM_OK;
}

/* Bytes of "transformer.h.0.attn.c_attn" in "transformer.h.0.attn.c_attn.weight". */
static int path_length(const struct param *param)
{
    size_t length = strlen(param->name);
    size_t tail = strlen(".weight");

    if (length > tail && strcmp(param->name + length - tail, ".weight") == 0)
        length -= tail;
    return (int)length;
}

static llm_tensor *declare(llm_adapter *adapter, const struct param *target,
                           const struct param_spec *spec, const char *end)
{
    return params_declare(&adapter->params, spec, NULL, "%s%.*s.%s", prefix, path_length(target),
                          target->name, end);
}

llm_status adapter_add_lora(llm_adapter *adapter, const struct params *model, size_t index,
                            int64_t rank, float scale, bool dora)
{
    const struct param *target = &model->list[index];
    int64_t out = target->tensor->shape[0];
    int64_t in = target->tensor->shape[1];
    struct adapter_part *part = &adapter->parts[index];
    struct param_spec a = {.dimensions = 2,
                           .shape = {rank, in},
                           .flags = PARAM_DECAY,
                           .init = PARAM_INIT_UNIFORM,
                           .deviation = 1.0f / sqrtf((float)in)};
    struct param_spec b = {.dimensions = 2, .shape = {out, rank}, .flags = PARAM_DECAY};
    struct param_spec magnitude = {.dimensions = 1, .shape = {out}, .init = PARAM_INIT_ONE};

    if (rank < 1 || rank > (in < out ? in : out))
        return status_set(LLM_E_RANGE, "rank %lld does not fit %s, which is %s", (long long)rank,
                          target->name, tensor_shape_text(target->tensor));
    part->a = declare(adapter, target, &a, "lora_A.weight");
    part->b = declare(adapter, target, &b, "lora_B.weight");
    if (dora)
        part->magnitude = declare(adapter, target, &magnitude, "lora_magnitude_vector");
    part->scale = scale;
    adapter->part_count++;
    return adapter->params.status;
}

llm_status adapter_add_ia3(llm_adapter *adapter, const struct params *model, size_t index,
                           bool on_input)
{
    const struct param *target = &model->list[index];
    struct adapter_part *part = &adapter->parts[index];
    struct param_spec gain = {
        .dimensions = 2,
        .shape = {on_input ? 1 : target->tensor->shape[0], on_input ? target->tensor->shape[1] : 1},
        .init = PARAM_INIT_ONE};

    part->gain = declare(adapter, target, &gain, "ia3_l");
    part->gain_on_input = on_input;
    adapter->part_count++;
    return adapter->params.status;
}

/* The norm of each row: [out]. */
static llm_status row_norms(llm_context *context, llm_tensor *norms, const llm_tensor *weight)
{
    int64_t width = weight->shape[1];
    float *row = memory_alloc_array(&context->memory, (size_t)width, sizeof *row);

    if (!row)
        return LLM_E_NOMEM;
    for (int64_t i = 0; i < weight->shape[0]; i++) {
        packed_read_rows(weight, i, 1, row, 1);
        tensor_f32(norms)[i] = (float)sqrt(context->kernels->vector.sum_squares(row, width));
    }
    memory_release(&context->memory, row);
    return LLM_OK;
}

llm_status adapter_initialize(llm_adapter *adapter, const struct params *model, uint64_t seed)
{
    llm_status status = LLM_OK;

    params_initialize(&adapter->params, seed);
    for (size_t i = 0; i < adapter->model_params && !status; i++) {
        if (adapter->parts[i].magnitude)
            status =
                row_norms(adapter->context, adapter->parts[i].magnitude, model->list[i].tensor);
    }
    return status;
}
