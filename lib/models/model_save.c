/* SPDX-License-Identifier: MIT
 *
 * Saving models as directories: config.json, weights, generation_config.json, the way transformers
 * reads them.
 */
#include "models/model_save.h"

#include <string.h>

llm_status model_save_config(const llm_model *model, const char *directory, int32_t dtype)
{
    const char *type = dtype == LLM_BF16 ? "bfloat16" : dtype == LLM_F16 ? "float16" : "float32";
    struct memory *memory = &model->context->memory;
    char *path = file_join(memory, directory, "config.json");
    json_t *config = NULL;
    struct text text;
    llm_status status = path ? LLM_OK : LLM_E_NOMEM;

    text_init(&text, memory);
    if (!status)
        status = json_open(&config, model->text.data, model->text.size, path);
    /* Readers before and after transformers 4.56 look under different names. */
    if (!status && (json_object_set_new(config, "torch_dtype", json_string(type)) ||
                    json_object_set_new(config, "dtype", json_string(type))))
        status = status_set(LLM_E_NOMEM, "out of memory");
    if (!status)
        status = json_write(&text, config);
    text_append_z(&text, "\n");
    if (!status && text.failed)
        status = LLM_E_NOMEM;
    if (!status)
        status = file_write(memory, path, text.data, text.size);
    json_decref(config);
    text_free(&text);
    memory_release(memory, path);
    return status;
}

llm_status model_save_generation(const llm_model *model, const char *directory)
{
    struct memory *memory = &model->context->memory;
    char *path;
    llm_status status;

    if (!model->generation.size)
        return LLM_OK;
    path = file_join(memory, directory, "generation_config.json");
    status = path ? file_write(memory, path, model->generation.data, model->generation.size)
                  : LLM_E_NOMEM;
    memory_release(memory, path);
    return status;
}

static llm_status save_weights(const llm_model *model, const char *directory,
                               const llm_model_save_options *options)
{
    struct memory *memory = &model->context->memory;
    size_t count = model->params.count;
    struct safetensors_item *items = memory_alloc_zeroed(memory, count, sizeof *items);
    llm_tensor *views = memory_alloc_zeroed(memory, count, sizeof *views);
    struct model_progress progress = {options->progress, options->progress_user, 0, 1};
    struct safetensors_write write = {.items = items,
                                      .count = count,
                                      .shard_bytes = options->shard_bytes,
                                      .tick = model_progress_tick,
                                      .arg = &progress};
    llm_status status = LLM_E_NOMEM;

    if (!items || !views)
        goto done;
    for (size_t i = 0; i < count; i++) {
        params_file_view(&views[i], &model->params.list[i]);
        items[i].name = model->params.list[i].name;
        items[i].tensor = &views[i];
        items[i].dtype = options->dtype;
        progress.total +=
            (uint64_t)(tensor_count(&views[i]) * dtype_get(options->dtype)->block_bytes);
    }
    status = safetensors_write_set(memory, directory, &write);
done:
    memory_release(memory, items);
    memory_release(memory, views);
    return status;
}

/* The weights come first: a reader that finds the new configuration finds the new weights. */
llm_status model_save(const llm_model *model, const char *directory,
                      const llm_model_save_options *options)
{
    llm_status status = params_check_plain(&model->params, "saving");

    if (!status)
        status = file_make_directory(&model->context->memory, directory);
    if (!status)
        status = save_weights(model, directory, options);
    if (!status)
        status = model_save_generation(model, directory);
    if (!status)
        status = model_save_config(model, directory, options->dtype);
    return status;
}
