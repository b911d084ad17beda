/* SPDX-License-Identifier: MIT */
#include "models/model_weights.h"

#include <string.h>

/* ---- progress ----------------------------------------------------------------------------------
 */

llm_status model_progress_tick(void *arg, uint64_t bytes)
{
    struct model_progress *progress = arg;
    double fraction;

    progress->done += bytes;
    if (!progress->fn)
        return LLM_OK;
    fraction = (double)progress->done / (double)(progress->total ? progress->total : 1);
    if (progress->fn(progress->user, fraction < 1.0 ? fraction : 1.0))
        return status_set(LLM_E_CANCELLED, "stopped by the progress callback");
    return LLM_OK;
}

/* ---- opening -----------------------------------------------------------------------------------
 */

/* What generation_config.json would say: the tokens that begin and end a text. */
static llm_status make_generation(struct model_input *input, const json_t *config)
{
    static const char *const fields[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
    static const char *const more[] = {"tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    json_t *generation = json_object();
    json_t *ends = json_array();
    llm_status status = LLM_OK;
    bool failed = !generation || !ends;

    for (size_t i = 0; i < 3 && !failed; i++) {
        json_t *value = json_object_get(config, fields[i]);

        if (value)
            failed = json_object_set(generation, fields[i], value) != 0;
    }
    if (!failed && json_object_get(config, "eos_token_id"))
        failed = json_array_append(ends, json_object_get(config, "eos_token_id")) != 0;
    for (size_t i = 0; i < 2 && !failed && !status; i++) {
        int64_t id = -1;

        status = gguf_read_i64(input->source->metadata, more[i], INT64_MIN, INT64_MAX, &id);
        if (!status && id >= 0 && id < INT32_MAX)
            failed = json_array_append_new(ends, json_integer(id)) != 0;
    }
    if (!failed && json_array_size(ends) > 1)
        failed = json_object_set(generation, "eos_token_id", ends) != 0;
    if (failed)
        status = status_set(LLM_E_NOMEM, "out of memory");
    if (!status && json_object_size(generation))
        status = json_write(&input->generation, generation);
    json_decref(ends);
    json_decref(generation);
    return status;
}

static llm_status from_metadata(struct model_input *input, const char *path)
{
    json_t *config;
    llm_status status = gguf_to_config(&config, input->source);

    if (!status)
        status = json_write(&input->config, config);
    if (!status)
        status = make_generation(input, config);
    if (!status && (input->config.failed || input->generation.failed))
        status = LLM_E_NOMEM;
    json_decref(config);
    text_append_z(&input->what, path);
    return status_prefix(status, "%s", path);
}

/* A file of the directory as text; a missing one is LLM_E_IO, or nothing if it is `optional`. */
static llm_status read_member(struct text *out, struct memory *memory, const char *directory,
                              const char *name, bool optional, struct text *what)
{
    char *path = file_join(memory, directory, name);
    char *data = NULL;
    size_t size;
    llm_status status = path ? LLM_OK : LLM_E_NOMEM;

    if (!status && !(optional && !file_exists(path))) {
        status = file_read(&data, &size, memory, path, MODEL_CONFIG_LIMIT);
        if (!status)
            text_append(out, data, size);
        if (!status && out->failed)
            status = LLM_E_NOMEM;
    }
    if (path && what)
        text_append_z(what, path);
    memory_release(memory, data);
    memory_release(memory, path);
    return status;
}

static void input_init(struct model_input *input, llm_context *context)
{
    memset(input, 0, sizeof *input);
    input->context = context;
    text_init(&input->config, &context->memory);
    text_init(&input->generation, &context->memory);
    text_init(&input->what, &context->memory);
}

void model_input_close(struct model_input *input)
{
    if (!input->context)
        return;
    tensor_source_close(input->source);
    memory_release(&input->context->memory, input->path);
    text_free(&input->config);
    text_free(&input->generation);
    text_free(&input->what);
    memset(input, 0, sizeof *input);
}

static llm_status has_config(bool *out, struct memory *memory, const char *path)
{
    char *config;

    *out = false;
    if (!file_is_directory(path))
        return LLM_OK;
    config = file_join(memory, path, "config.json");
    if (!config)
        return LLM_E_NOMEM;
    *out = file_exists(config);
    memory_release(memory, config);
    return LLM_OK;
}

llm_status model_input_open(struct model_input *input, llm_context *context, const char *path)
{
    struct memory *memory = &context->memory;
    bool found = false;
    llm_status status;

    input_init(input, context);
    input->path = memory_copy_text(memory, path, strlen(path));
    status = input->path ? has_config(&found, memory, path) : LLM_E_NOMEM;
    if (!status && found) {
        status = read_member(&input->config, memory, path, "config.json", false, &input->what);
        if (!status)
            status =
                read_member(&input->generation, memory, path, "generation_config.json", true, NULL);
    } else if (!status) {
        status = tensor_source_open(&input->source, memory, path);
        if (status && file_is_directory(path))
            status_prefix(status, "%s/config.json is missing", path);
        else if (!status && input->source->metadata)
            status = from_metadata(input, path);
        else if (!status)
            status =
                status_set(LLM_E_IO, "%s has no config.json beside it: give the directory", path);
    }
    if (status)
        model_input_close(input);
    return status;
}

llm_status model_input_source(struct model_input *input)
{
    return input->source ? LLM_OK
                         : tensor_source_open(&input->source, &input->context->memory, input->path);
}

llm_status model_input_over(struct model_input *input, llm_context *context,
                            const struct file_reader *reader)
{
    llm_status status;

    input_init(input, context);
    status = tensor_source_open_reader(&input->source, &context->memory, reader);
    if (!status && !input->source->metadata)
        status = status_set(LLM_E_UNSUPPORTED,
                            "only GGUF files hold a whole model: safetensors need a directory");
    if (!status)
        status = from_metadata(input, input->source->files[0].path);
    if (status)
        model_input_close(input);
    return status;
}

llm_status model_input_model(llm_model **out, const struct model_input *input,
                             enum params_mode mode)
{
    llm_status status = model_new(out, input->context, input->config.data, input->config.size,
                                  input->what.data, mode);

    if (!status && input->generation.size)
        text_append(&(*out)->generation, input->generation.data, input->generation.size);
    if (!status && (*out)->generation.failed) {
        model_release(*out);
        *out = NULL;
        return LLM_E_NOMEM;
    }
    return status;
}

/* ---- names of Hugging Face ---------------------------------------------------------------------
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

/* ---- parameters --------------------------------------------------------------------------------
 */

static llm_status bind_layout(struct weights *weights)
{
    const struct params *params = &weights->model->params;
    llm_status status = gguf_layout_make(&weights->layout, weights->model, &weights->arena);

    if (status)
        return status;
    for (size_t i = 0; i < weights->layout.count; i++) {
        for (const struct gguf_part *part = weights->layout.list[i].parts; part;
             part = part->next) {
            if (part->param < params->count)
                weights->tensors[part->param] = &weights->layout.list[i];
        }
    }
    return LLM_OK;
}

llm_status weights_open(struct weights *weights, const llm_model *model,
                        const struct tensor_source *source)
{
    memset(weights, 0, sizeof *weights);
    weights->model = model;
    weights->source = source;
    arena_init(&weights->arena, &model->context->memory);
    weights->used = arena_alloc(&weights->arena, source->count + 1);
    weights->tensors =
        arena_alloc(&weights->arena, (model->params.count + 1) * sizeof(struct gguf_tensor *));
    if (!weights->used || !weights->tensors)
        return LLM_E_NOMEM;
    return source->metadata ? bind_layout(weights) : LLM_OK;
}

void weights_close(struct weights *weights)
{
    if (weights->model)
        arena_free(&weights->arena);
    memset(weights, 0, sizeof *weights);
}

const struct tensor_entry *weights_entry(const struct weights *weights, size_t index)
{
    const struct param *param = &weights->model->params.list[index];

    if (!weights->source->metadata)
        return find_entry(weights->source, weights->model, param->name);
    return weights->tensors[index]
               ? tensor_source_find(weights->source, weights->tensors[index]->name)
               : NULL;
}

static bool same_count(const struct tensor_entry *entry, const llm_tensor *tensor)
{
    int64_t count = 1;

    for (int32_t i = 0; i < entry->dimensions; i++)
        count *= entry->shape[i];
    return count == tensor_count(tensor);
}

bool weights_are_plain(const struct weights *weights, size_t index)
{
    const struct param *param = &weights->model->params.list[index];
    const struct tensor_entry *entry = weights_entry(weights, index);

    if (!entry || entry->dtype != LLM_F32 || entry->group || entry->offset % sizeof(float) != 0 ||
        !same_count(entry, param->tensor))
        return false;
    return weights->source->metadata ? weights->tensors[index]->whole
                                     : !(param->flags & PARAM_TRANSPOSED);
}

/* GGUF leaves out outer sizes of 1. */
static llm_status check_shape(const struct tensor_entry *entry, const struct gguf_tensor *tensor)
{
    int32_t a = entry->dimensions;
    int32_t b = tensor->dimensions;

    while (a > 0 && b > 0 && entry->shape[a - 1] == tensor->shape[b - 1]) {
        a--;
        b--;
    }
    while (a > 0 && entry->shape[a - 1] == 1)
        a--;
    while (b > 0 && tensor->shape[b - 1] == 1)
        b--;
    if (a == 0 && b == 0)
        return LLM_OK;
    return status_set(LLM_E_SHAPE, "tensor \"%s\" has another shape than the metadata ask for",
                      entry->name);
}

llm_status weights_check_shape(const struct weights *weights, size_t index)
{
    return check_shape(weights_entry(weights, index), weights->tensors[index]);
}

static llm_status load_part(const struct weights *weights, const struct tensor_entry *entry,
                            const struct gguf_part *part, llm_tensor *tensor,
                            struct model_progress *progress)
{
    struct tensor_entry piece = *entry;
    const struct dtype *type = entry->dtype >= 0 ? dtype_get(entry->dtype) : NULL;
    int64_t size = entry->group ? (int64_t)entry->group : type ? type->block_elements : 1;
    int64_t bytes = entry->group ? (int64_t)entry->group : type ? type->block_bytes : 1;
    int64_t count = 1;
    llm_tensor view;

    gguf_part_view(&view, part, tensor);
    piece.dimensions = view.dimensions;
    memcpy(piece.shape, view.shape, sizeof piece.shape);
    for (int32_t i = 0; i < view.dimensions; i++)
        count *= view.shape[i];
    if (part->begin % size != 0 || count % size != 0)
        return status_set(LLM_E_UNSUPPORTED, "tensor \"%s\": blocks run over its parts",
                          entry->name);
    piece.offset += (uint64_t)(part->begin / size * bytes);
    piece.scales_offset += (uint64_t)(part->begin / size) * sizeof(float);
    piece.bytes = (uint64_t)(count / size * bytes);
    return tensor_source_load(weights->source, &piece, &view, progress ? model_progress_tick : NULL,
                              progress);
}

static llm_status load_gguf(const struct weights *weights, const struct tensor_entry *entry,
                            size_t index, llm_tensor *tensor, struct model_progress *progress)
{
    const struct gguf_tensor *from = weights->tensors[index];
    llm_status status = check_shape(entry, from);

    for (const struct gguf_part *part = from->parts; part && !status; part = part->next) {
        if (part->param == index)
            status = load_part(weights, entry, part, tensor, progress);
    }
    for (int64_t i = 0; !status && from->plus_one && i < tensor_count(tensor); i++)
        tensor_f32(tensor)[i] -= 1.0f;
    return status;
}

llm_status weights_load(struct weights *weights, size_t index, llm_tensor *tensor,
                        struct model_progress *progress)
{
    const struct param *param = &weights->model->params.list[index];
    const struct tensor_entry *entry = weights_entry(weights, index);
    struct param shaped = *param;
    llm_tensor view;

    if (!entry && weights->source->metadata && weights->tensors[index])
        return status_set(LLM_E_FORMAT, "tensor \"%s\" is missing", weights->tensors[index]->name);
    if (!entry)
        return status_set(LLM_E_FORMAT, "tensor \"%s\" is missing", param->name);
    weights->used[entry - weights->source->list] = true;
    if (weights->source->metadata)
        return load_gguf(weights, entry, index, tensor, progress);
    shaped.tensor = tensor;
    params_file_view(&view, &shaped);
    return tensor_source_load(weights->source, entry, &view, progress ? model_progress_tick : NULL,
                              progress);
}

void weights_report_unused(const struct weights *weights)
{
    const struct tensor_source *source = weights->source;
    const llm_model *model = weights->model;
    const char *first = NULL;
    size_t unused = 0;

    for (size_t i = 0; i < source->count; i++) {
        const char *name = source->list[i].name;

        if (weights->used[i] || (model->arch->ignores && model->arch->ignores(name)) ||
            (source->metadata && strstr(name, "rope_f"))) /* read with the configuration */
            continue;
        if (!first)
            first = name;
        unused++;
    }
    if (unused)
        log_message(model->context, LLM_LOG_WARNING,
                    "%s: %zu tensors are not part of the model, the first is \"%.200s\"",
                    source->files[0].path, unused, first);
}
