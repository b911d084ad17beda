/* SPDX-License-Identifier: MIT
 *
 * Facts about a model, of a loaded one and of a directory whose weights stay on disk.
 */
#include "models/model.h"

#include "formats/tensor_source.h"

#include <stdio.h>
#include <string.h>

void model_describe(llm_model_info *info, const llm_model *model)
{
    size_t size = info->struct_size;

    memset(info, 0, sizeof *info);
    info->struct_size = size;
    (void)snprintf(info->architecture, sizeof info->architecture, "%s", model->arch->name);
    (void)snprintf(info->weight_types, sizeof info->weight_types, "f32");
    info->parameters = model->params.elements;
    info->vocabulary = model->vocabulary;
    info->context_length = model->context_length;
    info->dim = model->dim;
    info->layers = model->layers;
    info->heads = model->heads;
    info->kv_heads = model->kv_heads;
    info->head_dim = model->head_dim;
    info->weight_bytes = (uint64_t)model->params.elements * sizeof(float);
    info->cache_bytes = (uint64_t)1000 * 2 * sizeof(float) * (uint64_t)model->layers *
                        (uint64_t)model->kv_heads * (uint64_t)model->head_dim;
}

/* Adds ", type" unless it is there. */
static void add_type(char *list, size_t capacity, const char *type)
{
    size_t length = strlen(list);

    if (!strstr(list, type))
        (void)snprintf(list + length, capacity - length, "%s%s", length ? ", " : "", type);
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

llm_status model_describe_directory(llm_model_info *info, llm_context *context,
                                    const char *directory)
{
    struct tensor_source *source = NULL;
    llm_model *model = NULL;
    llm_status status = model_from_directory(&model, context, directory, true);

    if (!status)
        status = tensor_source_open(&source, &context->memory, directory);
    if (!status) {
        model_describe(info, model);
        describe_types(info, source);
    }
    tensor_source_close(source);
    model_release(model);
    return status;
}
