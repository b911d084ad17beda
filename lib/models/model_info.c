/* SPDX-License-Identifier: MIT
 *
 * Facts about a model, of a loaded one and of a directory whose weights stay on disk.
 */
#include "models/model_weights.h"

#include <stdio.h>
#include <string.h>

/* Adds ", type" unless it is there, as a whole word: bf16 is not f16. */
static void add_type(char *list, size_t capacity, const char *type)
{
    size_t length = strlen(list);
    size_t size = strlen(type);
    bool found = false;

    for (const char *at = strstr(list, type); at && !found; at = strstr(at + 1, type))
        found = (at == list || at[-1] == ' ') && (at[size] == '\0' || at[size] == ',');
    if (!found)
        (void)snprintf(list + length, capacity - length, "%s%s", length ? ", " : "", type);
}

/* What is in memory. */
static void describe_params(llm_model_info *info, const struct params *params)
{
    for (size_t i = 0; i < params->count; i++) {
        const llm_tensor *tensor = params->list[i].tensor;

        info->weight_bytes += tensor->packed ? tensor->storage->bytes
                                             : (uint64_t)tensor_count(tensor) * sizeof(float);
        add_type(info->weight_types, sizeof info->weight_types, dtype_get(tensor->dtype)->name);
    }
    info->kept_bytes = info->weight_bytes;
}

void model_describe(llm_model_info *info, const llm_model *model)
{
    size_t size = info->struct_size;

    memset(info, 0, sizeof *info);
    info->struct_size = size;
    (void)snprintf(info->architecture, sizeof info->architecture, "%s", model->arch->name);
    info->parameters = model->params.elements;
    info->vocabulary = model->vocabulary;
    info->context_length = model->context_length;
    info->dim = model->dim;
    info->layers = model->layers;
    info->heads = model->heads;
    info->kv_heads = model->kv_heads;
    info->head_dim = model->head_dim;
    info->cache_bytes = (uint64_t)1000 * 2 * sizeof(float) * (uint64_t)model->layers *
                        (uint64_t)model->kv_heads * (uint64_t)model->head_dim;
    describe_params(info, &model->params);
}

static void describe_types(llm_model_info *info, const struct tensor_source *source)
{
    uint64_t bytes = 0;

    info->weight_types[0] = '\0';
    for (size_t i = 0; i < source->count; i++) {
        const struct tensor_entry *entry = &source->list[i];

        bytes += entry->bytes;
        add_type(info->weight_types, sizeof info->weight_types,
                 entry->dtype >= 0 ? dtype_get(entry->dtype)->name : entry->type_name);
    }
    info->file_bytes = bytes;
}

/* What loading with LLM_WEIGHTS_KEEP would take. */
static llm_status describe_kept(llm_model_info *info, const llm_model *model,
                                const struct tensor_source *source)
{
    struct weights weights;
    llm_status status = weights_open(&weights, model, source);

    info->kept_bytes = 0;
    for (size_t i = 0; i < model->params.count && !status; i++) {
        size_t bytes;

        if (weights_keep(&weights, i, &bytes))
            info->kept_bytes += bytes;
        else
            info->kept_bytes +=
                (uint64_t)tensor_count(model->params.list[i].tensor) * sizeof(float);
    }
    weights_close(&weights);
    return status;
}

llm_status model_describe_path(llm_model_info *info, llm_context *context, const char *path)
{
    struct model_input input;
    llm_model *model = NULL;
    llm_status status = model_input_open(&input, context, path);

    if (!status)
        status = model_input_model(&model, &input, PARAMS_SHAPES_ONLY);
    if (!status)
        status = model_input_source(&input);
    if (!status) {
        model_describe(info, model);
        describe_types(info, input.source);
        if (input.source->metadata)
            status = describe_kept(info, model, input.source);
    }
    model_release(model);
    model_input_close(&input);
    return status;
}

/* ---- metadata ----------------------------------------------------------------------------------
 */

enum { LISTED = 8 /* entries of an array that are shown */ };

static void append_number(struct text *text, const struct gguf_value *value)
{
    if (value->type == GGUF_F32 || value->type == GGUF_F64)
        text_append_double(text, value->real);
    else if (value->type == GGUF_BOOL)
        text_append_z(text, value->bits ? "true" : "false");
    else if (value->type == GGUF_U64)
        text_printf(text, "%llu", (unsigned long long)value->bits);
    else
        text_printf(text, "%lld", (long long)value->bits);
}

static void append_item(struct text *text, const struct gguf_value *array, uint64_t i)
{
    const struct gguf_text *texts = array->items;

    if (array->element == GGUF_STRING)
        text_append_json(text, texts[i].data, texts[i].size);
    else if (array->element == GGUF_F32 || array->element == GGUF_F64)
        text_append_double(text, gguf_item_double(array, i));
    else
        text_printf(text, "%lld", (long long)gguf_item_i64(array, i));
}

static void append_value(struct text *text, const struct gguf_value *value)
{
    if (value->type == GGUF_STRING) {
        text_append_json(text, value->text.data, value->text.size);
    } else if (value->type == GGUF_ARRAY) {
        text_append_z(text, "[");
        for (uint64_t i = 0; i < value->count && i < LISTED; i++) {
            text_append_z(text, i ? ", " : "");
            append_item(text, value, i);
        }
        if (value->count > LISTED)
            text_printf(text, ", ... %llu in all", (unsigned long long)value->count);
        text_append_z(text, "]");
    } else {
        append_number(text, value);
    }
}

llm_status model_list_metadata(llm_context *context, const char *path, llm_metadata_fn fn,
                               void *user)
{
    struct tensor_source *source;
    llm_status status = tensor_source_open(&source, &context->memory, path);
    const struct gguf *gguf = status ? NULL : source->metadata;

    for (size_t i = 0; gguf && i < gguf->keys.count && !status; i++) {
        struct text text;

        text_init(&text, &context->memory);
        append_value(&text, &gguf->list[i]);
        if (text.failed)
            status = LLM_E_NOMEM;
        else if (fn(user, gguf->keys.entries[i].key, gguf_type_name(gguf->list[i].type), text.data))
            status = status_set(LLM_E_CANCELLED, "stopped by the callback");
        text_free(&text);
    }
    tensor_source_close(source);
    return status;
}
