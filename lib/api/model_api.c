/* SPDX-License-Identifier: MIT
 *
 * Models: llm/model.h.
 */
#include "api/check.h"
#include "models/model.h"

#include <math.h>
#include <string.h>

/* ---- making, loading, saving -------------------------------------------------------------------
 */

static const llm_model_new_options default_new = {.struct_size = sizeof default_new};
static const llm_model_save_options default_save = {.struct_size = sizeof default_save,
                                                    .dtype = LLM_F32};

llm_status llm_model_new_options_init(llm_model_new_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_new, sizeof default_new,
                        "llm_model_new_options");
}

llm_status llm_model_save_options_init(llm_model_save_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_save, sizeof default_save,
                        "llm_model_save_options");
}

llm_status llm_model_new(llm_model **out, llm_context *context, const char *config,
                         size_t config_size, const llm_model_new_options *given)
{
    llm_model_new_options options = default_new;
    llm_status status;

    if (!out)
        return null_argument("llm_model_new", "out");
    *out = NULL;
    if (!context || !config)
        return null_argument("llm_model_new", context ? "config" : "context");
    status = options_read(&options, sizeof options, given, "llm_model_new_options");
    if (status)
        return status;
    if (options.reserved != 0)
        return status_set(LLM_E_INVALID, "reserved is not 0");
    status = model_new(out, context, config, config_size, "config", PARAMS_NOW);
    if (!status && !options.uninitialized)
        params_initialize(&(*out)->params, options.seed ? options.seed : context->seed);
    return status;
}

llm_status llm_model_save(const llm_model *model, const char *directory,
                          const llm_model_save_options *given)
{
    llm_model_save_options options = default_save;
    llm_status status;

    if (!model || !directory)
        return null_argument("llm_model_save", model ? "directory" : "model");
    status = options_read(&options, sizeof options, given, "llm_model_save_options");
    if (status)
        return status;
    if (options.reserved != 0)
        return status_set(LLM_E_INVALID, "reserved is not 0");
    if (options.dtype != LLM_F32 && options.dtype != LLM_F16 && options.dtype != LLM_BF16)
        return status_set(LLM_E_INVALID, "dtype is %d, not LLM_F32, LLM_F16 or LLM_BF16",
                          options.dtype);
    return model_save(model, directory, &options);
}

void llm_model_free(llm_model *model)
{
    model_release(model);
}

/* ---- facts -------------------------------------------------------------------------------------
 */

llm_status llm_model_get_info(llm_model_info *out, size_t struct_size, const llm_model *model)
{
    llm_model_info info;

    if (!out || !model)
        return null_argument("llm_model_get_info", out ? "model" : "info");
    memset(&info, 0, sizeof info);
    model_describe(&info, model);
    return options_fill(out, struct_size, &info, sizeof info, "llm_model_info");
}

llm_status llm_model_info_of(llm_model_info *out, size_t struct_size, llm_context *context,
                             const char *path)
{
    llm_model_info info;
    llm_status status;

    if (!out || !context || !path)
        return null_argument("llm_model_info_of", !out ? "info" : !context ? "context" : "path");
    memset(&info, 0, sizeof info);
    status = options_fill(out, struct_size, &info, sizeof info, "llm_model_info");
    if (!status)
        status = model_describe_path(&info, context, path);
    if (!status)
        status = options_fill(out, struct_size, &info, sizeof info, "llm_model_info");
    return status;
}

const char *llm_model_config(const llm_model *model)
{
    return model ? model->text.data : "";
}

const char *llm_model_generation_config(const llm_model *model)
{
    return model && model->generation.size ? model->generation.data : "";
}

const char *llm_model_architecture(const llm_model *model)
{
    return model ? model->arch->name : "";
}

int64_t llm_model_parameters(const llm_model *model)
{
    return model ? model->params.elements : 0;
}

int64_t llm_model_vocabulary(const llm_model *model)
{
    return model ? model->vocabulary : 0;
}

int64_t llm_model_context_length(const llm_model *model)
{
    return model ? model->context_length : 0;
}

int64_t llm_model_dim(const llm_model *model)
{
    return model ? model->dim : 0;
}

int32_t llm_model_layers(const llm_model *model)
{
    return model ? model->layers : 0;
}

size_t llm_model_tensor_count(const llm_model *model)
{
    return model ? model->params.count : 0;
}

const char *llm_model_tensor_name(const llm_model *model, size_t index)
{
    return model && index < model->params.count ? model->params.list[index].name : NULL;
}

llm_tensor *llm_model_tensor(const llm_model *model, size_t index)
{
    return model && index < model->params.count ? model->params.list[index].tensor : NULL;
}

llm_tensor *llm_model_find_tensor(const llm_model *model, const char *name)
{
    const struct param *param = model && name ? params_find(&model->params, name) : NULL;

    return param ? param->tensor : NULL;
}

/* ---- running -----------------------------------------------------------------------------------
 */

/* The forward pass in a cx of its own: logits if `targets` is NULL, else the loss in *loss. */
static llm_status run(float *logits, double *loss, llm_model *model, const int32_t *ids,
                      const int32_t *targets, size_t count)
{
    llm_tensor *result = NULL;
    struct batch batch;
    struct cx cx;
    llm_status status = model_lock_shared(model);

    if (status)
        return status;
    status = cx_init(&cx, model->context);
    if (!status)
        status = batch_pack(&batch, &cx.arena, ids, &count, 1);
    if (!status)
        status = model_check(model, &batch);
    if (status)
        goto done;
    if (targets)
        result = model_loss(&cx, model, &batch, targets, 0.0f);
    else
        result = model_logits(&cx, model, model_hidden(&cx, model, &batch));
    status = cx_status(&cx);
    if (status)
        goto done;
    if (targets)
        *loss = (double)*tensor_f32(result);
    else
        memcpy(logits, result->data, (size_t)tensor_count(result) * sizeof *logits);
done:
    cx_free(&cx);
    model_unlock_shared(model);
    return status;
}

llm_status llm_model_logits(float *logits, size_t capacity, size_t *needed_out, llm_model *model,
                            const int32_t *ids, size_t count)
{
    size_t needed;

    if (needed_out)
        *needed_out = 0;
    if (!model || !ids)
        return null_argument("llm_model_logits", model ? "ids" : "model");
    if (count == 0 || count > (size_t)model->context_length)
        return status_set(LLM_E_RANGE, "%zu tokens, outside 1..%lld", count,
                          (long long)model->context_length);
    needed = count * (size_t)model->vocabulary;
    if (needed_out)
        *needed_out = needed;
    if (!logits && needed_out)
        return LLM_OK;
    if (!logits || capacity < needed)
        return status_set(LLM_E_BUFFER, "%zu floats are needed for the logits, %zu fit", needed,
                          logits ? capacity : 0);
    return run(logits, NULL, model, ids, NULL, count);
}

llm_status llm_model_loss(double *loss, llm_model *model, const int32_t *ids,
                          const int32_t *targets, size_t count)
{
    bool any = false;

    if (!loss || !model || !ids || !targets)
        return null_argument("llm_model_loss", !loss    ? "loss"
                                               : !model ? "model"
                                               : !ids   ? "ids"
                                                        : "targets");
    for (size_t i = 0; i < count; i++)
        any = any || targets[i] != -100;
    if (count && !any)
        return status_set(LLM_E_NUMERIC, "every target is -100: there is no loss");
    return run(NULL, loss, model, ids, targets, count);
}
