/* SPDX-License-Identifier: MIT
 *
 * What a trainer trains: the model, or an adapter while the model's own parameters are frozen.
 */
#include "train/trainer.h"

#include "models/adapter_make.h"

#include <string.h>

llm_status trainable_begin(llm_trainer *trainer)
{
    const struct params *params = &trainer->model->params;
    llm_adapter *adapter = trainer->options.adapter;
    llm_status status;

    if (!adapter)
        return params_check_plain(params, "training without an adapter");
    status = adapter_check(adapter, trainer->model);
    if (status)
        return status;
    trainer->unfrozen = memory_alloc_array(&trainer->context->memory, params->count, 1);
    if (!trainer->unfrozen)
        return LLM_E_NOMEM;
    trainer->adapter = adapter_retain(adapter);
    for (size_t i = 0; i < params->count; i++) {
        trainer->unfrozen[i] = params->list[i].tensor->requires_grad;
        params->list[i].tensor->requires_grad = false;
    }
    return adapter_uses_set(&trainer->cx, &trainer->adapter, NULL, 1);
}

void trainable_end(llm_trainer *trainer)
{
    const struct params *params = &trainer->model->params;

    if (!trainer->unfrozen)
        return;
    for (size_t i = 0; i < params->count; i++)
        params->list[i].tensor->requires_grad = trainer->unfrozen[i];
    memory_release(&trainer->context->memory, trainer->unfrozen);
    trainer->unfrozen = NULL;
    (void)adapter_uses_set(&trainer->cx, NULL, NULL, 0);
    adapter_release(trainer->adapter);
}

const struct params *trainable_params(const llm_trainer *trainer)
{
    return trainer->adapter ? &trainer->adapter->params : &trainer->model->params;
}

llm_status trainable_save(const llm_trainer *trainer, const char *directory)
{
    llm_model_save_options options = {.struct_size = sizeof options, .dtype = LLM_F32};

    if (trainer->adapter)
        return adapter_save(trainer->adapter, directory);
    return model_save(trainer->model, directory, &options);
}

static llm_status same_params(const struct params *mine, const struct params *other)
{
    if (other->count != mine->count)
        return status_set(LLM_E_INVALID, "it is of another model, with %zu parameters, not %zu",
                          other->count, mine->count);
    for (size_t i = 0; i < mine->count; i++) {
        const struct param *a = &mine->list[i];
        const struct param *b = &other->list[i];

        if (strcmp(a->name, b->name) != 0 || !tensor_same_shape(a->tensor, b->tensor))
            return status_set(LLM_E_INVALID,
                              "it is of another model: %s has shape %s there, %s here", b->name,
                              tensor_shape_text(b->tensor), tensor_shape_text(a->tensor));
    }
    return LLM_OK;
}

llm_status trainable_check(const llm_trainer *trainer, const char *directory)
{
    llm_model *model = NULL;
    llm_status status;

    if (trainer->adapter)
        return adapter_check_file(trainer->adapter, directory);
    status = model_from_path(&model, trainer->context, directory, PARAMS_SHAPES_ONLY);
    if (status)
        return status;
    status = same_params(&trainer->model->params, &model->params);
    model_release(model);
    return status;
}

llm_status trainable_load(llm_trainer *trainer, const char *directory)
{
    if (trainer->adapter)
        return adapter_load_values(trainer->adapter, directory);
    return model_load_weights(trainer->model, directory, NULL);
}
