/* SPDX-License-Identifier: MIT
 *
 * Loading models: a configuration, then the weights, read or mapped. What a model needs is known
 * before any of it is read.
 */
#include "models/model_weights.h"

#include <string.h>

llm_status model_from_path(llm_model **out, llm_context *context, const char *path,
                           enum params_mode mode)
{
    struct model_input input;
    llm_status status = model_input_open(&input, context, path);

    *out = NULL;
    if (!status)
        status = model_input_model(out, &input, mode);
    model_input_close(&input);
    return status;
}

/* ---- mapping -----------------------------------------------------------------------------------
 */

/* The files of a source, each mapped once and for as long as a parameter lies in it. */
struct mappings {
    struct storage **list; /* [files]; NULL: not mapped yet */
    size_t count;
};

static void unmap(void *user, void *data)
{
    struct file_map map = {data, (size_t)(uintptr_t)user, data};

    file_map_close(&map);
}

static void mappings_close(struct mappings *mappings, struct memory *memory)
{
    for (size_t i = 0; i < mappings->count; i++)
        storage_release(mappings->list[i]);
    memory_release(memory, mappings->list);
}

/* Pages may be written, by training for example: into a copy of the process's own. */
static llm_status map_file(struct storage **out, llm_context *context, const char *path)
{
    struct file_map map;
    llm_status status = file_map_private(&map, path);

    if (status)
        return status;
    status = storage_wrap(out, context, map.mapping, map.size, unmap, (void *)(uintptr_t)map.size);
    if (status)
        file_map_close(&map);
    return status;
}

static llm_status map_param(struct mappings *mappings, llm_model *model,
                            const struct weights *weights, size_t index)
{
    const struct tensor_entry *entry = weights_entry(weights, index);
    struct storage **storage = &mappings->list[entry->file];
    llm_status status = LLM_OK;

    if (!*storage)
        status = map_file(storage, model->context, weights->source->files[entry->file].path);
    if (!status && entry->offset + entry->bytes > (*storage)->bytes)
        status = status_set(LLM_E_FORMAT, "the file became shorter while it was read");
    if (!status)
        params_adopt(&model->params, index, *storage, (char *)(*storage)->data + entry->offset);
    weights->used[entry - weights->source->list] = true;
    return status;
}

/* ---- loading -----------------------------------------------------------------------------------
 */

static bool is_mapped(const struct weights *weights, size_t index,
                      const llm_model_load_options *options)
{
    const struct tensor_entry *entry;

    if (!options || !options->map || !weights_are_plain(weights, index))
        return false;
    entry = weights_entry(weights, index);
    return weights->source->files[entry->file].fd >= 0;
}

static bool is_kept(const struct weights *weights, size_t index,
                    const llm_model_load_options *options, size_t *bytes)
{
    return options && options->weights == LLM_WEIGHTS_KEEP &&
           !weights->model->params.list[index].tensor->storage &&
           weights_keep(weights, index, bytes);
}

/* Weights that do not fit are refused before the first is read. */
static llm_status check_memory(const struct weights *weights, const llm_model *model,
                               const llm_model_load_options *options)
{
    const struct memory *memory = &model->context->memory;
    uint64_t used = atomic_load(&((struct memory *)memory)->used);
    uint64_t machine = memory_physical();
    const char *as = options && options->weights ? "" : " as f32";
    uint64_t bytes = 0;

    for (size_t i = 0; i < model->params.count; i++) {
        size_t kept;

        if (is_kept(weights, i, options, &kept))
            bytes += kept;
        else if (!model->params.list[i].tensor->storage && !is_mapped(weights, i, options))
            bytes += (uint64_t)tensor_count(model->params.list[i].tensor) * sizeof(float);
    }
    if (memory->limit && (used > memory->limit || bytes > memory->limit - used))
        return status_set(LLM_E_NOMEM,
                          "the weights need %llu bytes%s; of the limit of %llu, %llu are used",
                          (unsigned long long)bytes, as, (unsigned long long)memory->limit,
                          (unsigned long long)used);
    if (machine && bytes > machine)
        return status_set(LLM_E_NOMEM,
                          "the weights need %llu bytes%s, more than the machine's %llu",
                          (unsigned long long)bytes, as, (unsigned long long)machine);
    return LLM_OK;
}

/* A parameter that a file may lack and lacks starts fresh. */
static llm_status load_param(struct weights *weights, llm_model *model, size_t index,
                             struct model_progress *progress)
{
    const struct param *param = &model->params.list[index];
    llm_status status = params_allocate(&model->params, index);

    if (status)
        return status;
    if (!weights_entry(weights, index) && (param->flags & PARAM_OPTIONAL)) {
        params_initialize_one(&model->params, index, model->context->seed);
        return LLM_OK;
    }
    return weights_load(weights, index, param->tensor, progress);
}

static llm_status load_weights(llm_model *model, const struct tensor_source *source,
                               const llm_model_load_options *options)
{
    struct memory *memory = &model->context->memory;
    struct model_progress progress = {0};
    struct mappings mappings = {0};
    struct weights weights;
    llm_status status = weights_open(&weights, model, source);

    if (!status)
        status = params_check_plain(&model->params, "loading into the model");
    if (status)
        goto done;
    mappings.list = memory_alloc_zeroed(memory, source->file_count, sizeof *mappings.list);
    mappings.count = mappings.list ? source->file_count : 0;
    status = mappings.list ? check_memory(&weights, model, options) : LLM_E_NOMEM;
    progress.fn = options ? options->progress : NULL;
    progress.user = options ? options->progress_user : NULL;
    for (size_t i = 0; i < source->count; i++)
        progress.total += source->list[i].bytes;
    for (size_t i = 0; i < model->params.count && !status; i++) {
        size_t kept;

        if (is_kept(&weights, i, options, &kept))
            status = weights_load_kept(&weights, i, &progress);
        else if (is_mapped(&weights, i, options))
            status = map_param(&mappings, model, &weights, i);
        else
            status = load_param(&weights, model, i, &progress);
    }
    if (!status)
        weights_report_unused(&weights);
done:
    mappings_close(&mappings, memory);
    weights_close(&weights);
    if (status && status != LLM_E_CANCELLED)
        status_prefix(status, "%s", source->files[0].path);
    return status;
}

llm_status model_load_weights(llm_model *model, const char *path,
                              const llm_model_load_options *options)
{
    struct tensor_source *source;
    llm_status status = tensor_source_open(&source, &model->context->memory, path);

    if (!status)
        status = load_weights(model, source, options);
    tensor_source_close(source);
    return status;
}

static llm_status load_input(llm_model **out, struct model_input *input,
                             const llm_model_load_options *options)
{
    llm_model *model = NULL;
    llm_status status = model_input_model(&model, input, PARAMS_LATER);

    *out = NULL;
    if (!status)
        status = model_input_source(input);
    if (!status)
        status = load_weights(model, input->source, options);
    if (status)
        model_release(model);
    else
        *out = model;
    return status;
}

llm_status model_load(llm_model **out, llm_context *context, const char *path,
                      const llm_model_load_options *options)
{
    struct model_input input;
    llm_status status = model_input_open(&input, context, path);

    *out = NULL;
    if (!status)
        status = load_input(out, &input, options);
    model_input_close(&input);
    return status;
}

llm_status model_load_reader(llm_model **out, llm_context *context,
                             const struct file_reader *reader,
                             const llm_model_load_options *options)
{
    struct model_input input;
    llm_status status = model_input_over(&input, context, reader);

    *out = NULL;
    if (!status)
        status = load_input(out, &input, options);
    model_input_close(&input);
    return status;
}
