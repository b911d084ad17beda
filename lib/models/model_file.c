/* SPDX-License-Identifier: MIT
 *
 * Models as directories: config.json and the tensors, read in any format of formats/, written as
 * model.safetensors, the way transformers does both.
 */
#include "models/model.h"

#include "formats/safetensors.h"

#include <string.h>

llm_status model_from_directory(llm_model **out, llm_context *context, const char *directory,
                                bool shapes_only)
{
    char *path = file_join(&context->memory, directory, "config.json");
    char *config = NULL;
    llm_status status;
    size_t size;

    *out = NULL;
    if (!path)
        return LLM_E_NOMEM;
    status = file_read(&config, &size, &context->memory, path, MODEL_CONFIG_LIMIT);
    if (!status)
        status = model_new(out, context, config, size, path, shapes_only);
    memory_release(&context->memory, config);
    memory_release(&context->memory, path);
    return status;
}

/* ---- progress ----------------------------------------------------------------------------------
 */

struct progress {
    llm_progress_fn fn;
    void *user;
    uint64_t done, total;
};

static llm_status tick(void *arg, uint64_t bytes)
{
    struct progress *progress = arg;

    progress->done += bytes;
    if (!progress->fn)
        return LLM_OK;
    if (progress->fn(progress->user, (double)progress->done / (double)progress->total))
        return status_set(LLM_E_CANCELLED, "stopped by the progress callback");
    return LLM_OK;
}

/* ---- loading -----------------------------------------------------------------------------------
 */

/* The file's tensor of a name, with or without the architecture's prefix. */
static const struct tensor_entry *find_name(const struct tensor_source *source,
                                            const llm_model *model, const char *name)
{
    const char *prefix = model->arch->prefix;
    const struct tensor_entry *entry = tensor_source_find(source, name);
    size_t length = prefix ? strlen(prefix) : 0;
    char full[256];

    if (entry || !prefix)
        return entry;
    if (strncmp(name, prefix, length) == 0)
        return tensor_source_find(source, name + length);
    if (length + strlen(name) >= sizeof full)
        return NULL;
    memcpy(full, prefix, length);
    memcpy(full + length, name, strlen(name) + 1);
    return tensor_source_find(source, full);
}

/* The file's tensor for a parameter, under any of its names. */
static const struct tensor_entry *find_entry(const struct tensor_source *source,
                                             const llm_model *model, const char *name)
{
    const struct tensor_entry *entry = find_name(source, model, name);
    char other[256];

    for (int i = 0; !entry && model->arch->alias; i++) {
        if (!model->arch->alias(other, sizeof other, name, i))
            break;
        entry = find_name(source, model, other);
    }
    return entry;
}

/* Marks the tensor as used. A parameter that a file may lack and lacks starts fresh. */
static llm_status load_param(const struct tensor_source *source, const llm_model *model,
                             size_t index, bool *used, struct progress *progress)
{
    const struct param *param = &model->params.list[index];
    const struct tensor_entry *entry = find_entry(source, model, param->name);
    llm_tensor view;

    if (!entry && (param->flags & PARAM_OPTIONAL)) {
        params_initialize_one(&model->params, index, model->context->seed);
        return LLM_OK;
    }
    if (!entry)
        return status_set(LLM_E_FORMAT, "tensor \"%s\" is missing", param->name);
    used[entry - source->list] = true;
    params_file_view(&view, param);
    return tensor_source_load(source, entry, &view, tick, progress);
}

/* Tensors nobody asked for are worth a warning: the file may be another model's. */
static void report_unused(const struct tensor_source *source, const llm_model *model,
                          const bool *used, const char *directory)
{
    const char *first = NULL;
    size_t unused = 0;

    for (size_t i = 0; i < source->count; i++) {
        const char *name = source->list[i].name;

        if (used[i] || (model->arch->ignores && model->arch->ignores(name)))
            continue;
        if (!first)
            first = name;
        unused++;
    }
    if (unused)
        log_message(model->context, LLM_LOG_WARNING,
                    "%s: %zu tensors are not part of the model, the first is \"%.200s\"", directory,
                    unused, first);
}

static uint64_t total_bytes(const struct tensor_source *source)
{
    uint64_t total = 0;

    for (size_t i = 0; i < source->count; i++)
        total += source->list[i].bytes;
    return total ? total : 1;
}

llm_status model_load_weights(llm_model *model, const char *directory,
                              const llm_model_load_options *options)
{
    struct memory *memory = &model->context->memory;
    struct tensor_source *source = NULL;
    struct progress progress = {0};
    bool *used = NULL;
    llm_status status = tensor_source_open(&source, memory, directory);

    if (status)
        goto done;
    used = memory_alloc_zeroed(memory, source->count + 1, sizeof *used);
    if (!used) {
        status = LLM_E_NOMEM;
        goto done;
    }
    progress.fn = options ? options->progress : NULL;
    progress.user = options ? options->progress_user : NULL;
    progress.total = total_bytes(source);
    for (size_t i = 0; i < model->params.count && !status; i++)
        status = load_param(source, model, i, used, &progress);
    if (status == LLM_OK)
        report_unused(source, model, used, directory);
    else if (status != LLM_E_CANCELLED)
        status_prefix(status, "%s", directory);
done:
    memory_release(memory, used);
    tensor_source_close(source);
    return status;
}

llm_status model_load(llm_model **out, llm_context *context, const char *directory,
                      const llm_model_load_options *options)
{
    llm_model *model = NULL;
    llm_status status;

    *out = NULL;
    status = model_from_directory(&model, context, directory, false);
    if (!status)
        status = model_load_weights(model, directory, options);
    if (status) {
        model_release(model);
        return status;
    }
    *out = model;
    return LLM_OK;
}

/* ---- saving ------------------------------------------------------------------------------------
 */

/* model->text with the type of the weights, which only the saver knows, as its last field. */
static llm_status save_config(const llm_model *model, const char *path, int32_t dtype)
{
    const char *type = dtype == LLM_BF16 ? "bfloat16" : dtype == LLM_F16 ? "float16" : "float32";
    struct memory *memory = &model->context->memory;
    json_t *config = NULL;
    struct text text;
    llm_status status;

    text_init(&text, memory);
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
    return status;
}

static llm_status save_weights(const llm_model *model, const char *path,
                               const llm_model_save_options *options)
{
    struct memory *memory = &model->context->memory;
    size_t count = model->params.count;
    struct safetensors_item *items = memory_alloc_zeroed(memory, count, sizeof *items);
    llm_tensor *views = memory_alloc_zeroed(memory, count, sizeof *views);
    struct progress progress = {options->progress, options->progress_user, 0, 1};
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
    status = safetensors_write(memory, path, items, count, tick, &progress);
done:
    memory_release(memory, items);
    memory_release(memory, views);
    return status;
}

/* The weights come first: a reader that finds the new configuration finds the new weights. */
llm_status model_save(const llm_model *model, const char *directory,
                      const llm_model_save_options *options)
{
    struct memory *memory = &model->context->memory;
    char *config = file_join(memory, directory, "config.json");
    char *weights = file_join(memory, directory, "model.safetensors");
    llm_status status = LLM_E_NOMEM;

    if (config && weights) {
        status = file_make_directory(memory, directory);
        if (!status)
            status = save_weights(model, weights, options);
        if (!status)
            status = save_config(model, config, options->dtype);
    }
    memory_release(memory, config);
    memory_release(memory, weights);
    return status;
}
