/* SPDX-License-Identifier: MIT
 *
 * Converting between directories and GGUF files, one tensor at a time: the model is never in memory
 * as a whole. Every value passes through float; types are kept unless another is asked for.
 */
#include "models/gguf_vocabulary.h"
#include "models/model_save.h"

#include <stdio.h>
#include <string.h>

struct conversion {
    llm_context *context;
    const llm_model_convert_options *options;
    struct model_input input;
    llm_model *model; /* shapes only */
    struct weights weights;
    struct model_progress progress;
    struct arena arena;

    struct gguf_layout layout; /* of a GGUF file to write */
    struct gguf_item *items;
    size_t count;
    struct gguf_factors factors[2];
    struct gguf metadata;
    llm_tensor *views; /* [params], of a directory to write */
};

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t tail = strlen(end);

    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* The values of a parameter, in its own order. */
static llm_status load_param(struct conversion *conversion, size_t index, llm_tensor **out)
{
    const struct param *param = &conversion->model->params.list[index];
    llm_status status = tensor_new(out, conversion->context, LLM_F32, param->tensor->dimensions,
                                   param->tensor->shape);

    if (!status)
        status = weights_load(&conversion->weights, index, *out, NULL);
    if (status) {
        tensor_release(*out);
        *out = NULL;
    }
    return status;
}

/* The type that a parameter has in the source; F32 where there is no such plain type. */
static int32_t source_type(const struct conversion *conversion, size_t index)
{
    const struct tensor_entry *entry = weights_entry(&conversion->weights, index);
    int32_t dtype = entry && !entry->group ? entry->dtype : LLM_F32;

    return dtype < 0 || dtype == LLM_F64 ? LLM_F32 : dtype;
}

/* ---- to GGUF -----------------------------------------------------------------------------------
 */

/* What llama.cpp's quantizer falls back to when rows do not fill a block. */
static int32_t narrower_block(int32_t dtype)
{
    switch (dtype) {
    case LLM_Q2_K:
    case LLM_Q3_K:
    case LLM_TQ1_0:
    case LLM_TQ2_0:
        return LLM_Q4_0;
    case LLM_Q4_K:
        return LLM_Q5_0;
    case LLM_Q5_K:
        return LLM_Q5_1;
    case LLM_Q6_K:
        return LLM_Q8_0;
    case LLM_IQ4_XS:
        return LLM_IQ4_NL;
    default:
        return LLM_F16;
    }
}

/* Vectors, norms and tables that are looked up by position stay f32: readers expect it. */
static int32_t file_type(const struct gguf_tensor *tensor, int32_t wanted)
{
    static const char *const exact[] = {"position_embd", "token_types", "attn_rel_b",
                                        "ffn_gate_inp"};
    int32_t sizes = 0;

    for (int32_t i = 0; i < tensor->dimensions; i++)
        sizes += tensor->shape[i] != 1;
    if (tensor->dimensions < 2 || sizes < 1 || !ends_with(tensor->name, ".weight") ||
        ends_with(tensor->name, "_norm.weight"))
        return LLM_F32;
    for (size_t i = 0; i < sizeof exact / sizeof exact[0]; i++) {
        if (strstr(tensor->name, exact[i]))
            return LLM_F32;
    }
    while (tensor->shape[tensor->dimensions - 1] % dtype_get(wanted)->block_elements != 0)
        wanted = narrower_block(wanted);
    return wanted;
}

/* The number of the whole file's type, as llama.cpp counts them. */
static uint32_t file_type_number(int32_t dtype)
{
    static const struct {
        int32_t dtype;
        uint32_t number;
    } rows[] = {{LLM_F32, 0},     {LLM_F16, 1},     {LLM_Q4_0, 2},  {LLM_Q4_1, 3},
                {LLM_Q8_0, 7},    {LLM_Q5_0, 8},    {LLM_Q5_1, 9},  {LLM_Q2_K, 10},
                {LLM_Q3_K, 12},   {LLM_Q4_K, 15},   {LLM_Q5_K, 17}, {LLM_Q6_K, 18},
                {LLM_IQ4_NL, 25}, {LLM_IQ4_XS, 30}, {LLM_BF16, 32}, {LLM_TQ1_0, 36},
                {LLM_TQ2_0, 37},  {LLM_MXFP4, 38}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].dtype == dtype)
            return rows[i].number;
    }
    return 0;
}

/* Gathers the parts of tensor `index`. */
static llm_status load_item(void *arg, size_t index, llm_tensor **out)
{
    struct conversion *conversion = arg;
    const struct gguf_item *item = &conversion->items[index];
    llm_status status =
        tensor_new(out, conversion->context, LLM_F32, item->dimensions, item->shape);

    if (status)
        return status;
    if (index >= conversion->layout.count) {
        memcpy((*out)->data, conversion->factors[index - conversion->layout.count].values,
               (size_t)tensor_count(*out) * sizeof(float));
        return LLM_OK;
    }
    for (const struct gguf_part *part = conversion->layout.list[index].parts; part && !status;
         part = part->next) {
        llm_tensor *values;
        llm_tensor from, to;

        status = load_param(conversion, part->param, &values);
        if (status)
            break;
        gguf_part_view(&from, part, values);
        to = **out;
        (void)tensor_set_shape(&to, LLM_F32, from.dimensions, from.shape, NULL);
        to.data = tensor_f32(*out) + part->begin;
        status = tensor_copy(&to, &from);
        tensor_release(values);
    }
    for (int64_t i = 0;
         !status && conversion->layout.list[index].plus_one && i < tensor_count(*out); i++)
        tensor_f32(*out)[i] += 1.0f;
    if (status) {
        tensor_release(*out);
        *out = NULL;
    }
    return status;
}

static llm_status item_tick(void *arg, uint64_t bytes)
{
    return model_progress_tick(&((struct conversion *)arg)->progress, bytes);
}

static llm_status plan_items(struct conversion *conversion, int32_t *main_type)
{
    const struct gguf_layout *layout = &conversion->layout;
    int64_t most = -1;

    conversion->items =
        arena_alloc(&conversion->arena, (layout->count + 2) * sizeof *conversion->items);
    if (!conversion->items)
        return LLM_E_NOMEM;
    *main_type = LLM_F32;
    for (size_t i = 0; i < layout->count; i++) {
        const struct gguf_tensor *tensor = &layout->list[i];
        struct gguf_item *item = &conversion->items[conversion->count++];
        int32_t wanted = conversion->options->dtype;
        size_t bytes = 0;
        int64_t elements = 1;

        if (wanted < 0)
            wanted = source_type(conversion, tensor->parts->param);
        item->name = tensor->name;
        item->dimensions = tensor->dimensions;
        memcpy(item->shape, tensor->shape, sizeof item->shape);
        item->dtype = file_type(tensor, wanted);
        for (int32_t d = 0; d < item->dimensions; d++)
            elements *= item->shape[d];
        if (elements > most && item->dimensions > 1) {
            most = elements;
            *main_type = item->dtype;
        }
        (void)dtype_bytes(item->dtype, elements, &bytes);
        conversion->progress.total += bytes;
    }
    for (int i = 0; i < 2 && conversion->factors[i].name; i++)
        conversion->items[conversion->count++] = (struct gguf_item){
            conversion->factors[i].name, 1, {conversion->factors[i].count}, LLM_F32};
    return LLM_OK;
}

/* A text file of the source directory into a key. */
static llm_status put_file(struct conversion *conversion, const char *name, const char *key)
{
    struct memory *memory = &conversion->context->memory;
    char *path = file_join(memory, conversion->input.path, name);
    char *data = NULL;
    size_t size;
    llm_status status = path ? LLM_OK : LLM_E_NOMEM;

    if (!status && file_exists(path)) {
        status = file_read(&data, &size, memory, path, MODEL_CONFIG_LIMIT);
        if (!status)
            gguf_put_text(&conversion->metadata, key, data, size);
    }
    memory_release(memory, data);
    memory_release(memory, path);
    return status;
}

/* "chat_template" of tokenizer_config.json: a text, or a list of named ones. */
static llm_status put_templates(struct conversion *conversion, const json_t *config)
{
    const json_t *templates = json_object_get(config, "chat_template");
    const json_t *item;
    size_t i;

    if (json_is_string(templates))
        gguf_put_text(&conversion->metadata, "tokenizer.chat_template",
                      json_string_value(templates), json_string_length(templates));
    json_array_foreach((json_t *)templates, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        const json_t *text = json_object_get(item, "template");
        char key[128];

        if (!name || !json_is_string(text))
            return status_set(LLM_E_FORMAT,
                              "tokenizer_config.json: field \"chat_template\": entry "
                              "%zu has no name or no template",
                              i);
        (void)snprintf(key, sizeof key,
                       strcmp(name, "default") == 0 ? "tokenizer.chat_template%.0s"
                                                    : "tokenizer.chat_template.%.60s",
                       name);
        gguf_put_text(&conversion->metadata, key, json_string_value(text),
                      json_string_length(text));
    }
    return LLM_OK;
}

static llm_status put_chat_template(struct conversion *conversion)
{
    struct memory *memory = &conversion->context->memory;
    char *path = file_join(memory, conversion->input.path, "tokenizer_config.json");
    json_t *config = NULL;
    char *data = NULL;
    size_t size;
    llm_status status = path ? LLM_OK : LLM_E_NOMEM;

    if (!status && file_exists(path)) {
        status = file_read(&data, &size, memory, path, MODEL_CONFIG_LIMIT);
        if (!status)
            status = json_open(&config, data, size, path);
        if (!status)
            status = put_templates(conversion, config);
    }
    json_decref(config);
    memory_release(memory, data);
    memory_release(memory, path);
    /* the file of its own decides */
    return status ? status : put_file(conversion, "chat_template.jinja", "tokenizer.chat_template");
}

static bool has_tokenizer(struct memory *memory, const char *directory)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "vocab.json",
                                        "vocab.txt", "spiece.model"};
    bool found = false;

    for (size_t i = 0; i < sizeof names / sizeof names[0] && !found; i++) {
        char *path = file_join(memory, directory, names[i]);

        found = path && file_exists(path);
        memory_release(memory, path);
    }
    return found;
}

/* Of a file the keys as they are, of a directory what its tokenizer says. */
static llm_status put_tokenizer(struct conversion *conversion)
{
    const struct gguf *from = conversion->input.source->metadata;
    struct gguf *to = &conversion->metadata;
    llm_tokenizer *tokenizer = NULL;
    llm_status status = LLM_OK;

    for (size_t i = 0; from && i < from->keys.count; i++) {
        if (strncmp(from->keys.entries[i].key, "tokenizer.", 10) == 0)
            gguf_put(to, from->keys.entries[i].key, &from->list[i]);
    }
    if (!from && !conversion->options->skip_tokenizer &&
        has_tokenizer(&conversion->context->memory, conversion->input.path)) {
        status = tokenizer_load(&tokenizer, conversion->context, conversion->input.path);
        if (!status)
            status = gguf_from_tokenizer(to, tokenizer);
        if (!status)
            status = put_chat_template(conversion);
        tokenizer_release(tokenizer);
        if (status)
            return status_prefix(status, "tokenizer");
    }
    if (!gguf_find(to, "tokenizer.ggml.model"))
        gguf_put_text(to, "tokenizer.ggml.model", "none", 4);
    return to->status;
}

/* What people call the model: its directory or file. */
static void put_name(struct conversion *conversion)
{
    const char *path = conversion->input.path;
    size_t end = strlen(path);
    size_t begin;

    while (end > 0 && path[end - 1] == '/')
        end--;
    for (begin = end; begin > 0 && path[begin - 1] != '/'; begin--) {
    }
    if (end > begin && path[begin] != '.')
        gguf_put_text(&conversion->metadata, "general.name", path + begin, end - begin);
}

/* Everything of "general." that describes rather than defines: authors, licences, links. */
static void keep_general(struct conversion *conversion)
{
    static const char *const ours[] = {"general.architecture", "general.type", "general.file_type",
                                       "general.alignment", "general.quantization_version"};
    const struct gguf *from = conversion->input.source->metadata;

    for (size_t i = 0; from && i < from->keys.count; i++) {
        const char *key = from->keys.entries[i].key;
        bool keep = strncmp(key, "general.", 8) == 0;

        for (size_t j = 0; j < sizeof ours / sizeof ours[0]; j++)
            keep = keep && strcmp(key, ours[j]) != 0;
        if (keep)
            gguf_put(&conversion->metadata, key, &from->list[i]);
    }
}

static llm_status convert_to_gguf(struct conversion *conversion, const char *path)
{
    const llm_model *model = conversion->model;
    struct gguf *metadata = &conversion->metadata;
    struct gguf_write write = {.load = load_item,
                               .arg = conversion,
                               .split_bytes = conversion->options->split_bytes,
                               .threads = conversion->context->threads,
                               .tick = item_tick};
    int32_t type;
    llm_status status = gguf_from_config(metadata, model);

    put_name(conversion);
    keep_general(conversion);
    if (!status)
        status = gguf_write_rope(metadata, model, &conversion->arena, conversion->factors);
    if (!status)
        status = gguf_layout_make(&conversion->layout, model, &conversion->arena);
    if (!status)
        status = plan_items(conversion, &type);
    if (status)
        return status;
    gguf_put_u32(metadata, "general.file_type", file_type_number(type));
    if (dtype_get(type)->block_elements > 1)
        gguf_put_u32(metadata, "general.quantization_version", 2);
    status = put_tokenizer(conversion);
    write.items = conversion->items;
    write.count = conversion->count;
    return status ? status : gguf_write(metadata, path, &write);
}

/* ---- to a directory ----------------------------------------------------------------------------
 */

static llm_status load_view(void *arg, const struct safetensors_item *item, llm_tensor **out)
{
    const struct conversion *conversion = arg;

    return load_param(arg, (size_t)(item->tensor - conversion->views), out);
}

/* Types that safetensors has; blocks become what keeps their values, f32. */
static int32_t plain_type(const struct conversion *conversion, size_t index)
{
    int32_t dtype = conversion->options->dtype;

    if (dtype < 0)
        dtype = source_type(conversion, index);
    return dtype_get(dtype)->block_elements > 1 ? LLM_F32 : dtype;
}

static llm_status write_weights(struct conversion *conversion, const char *directory,
                                int32_t *main_type)
{
    const struct params *params = &conversion->model->params;
    struct safetensors_item *items =
        arena_alloc(&conversion->arena, (params->count + 1) * sizeof *items);
    llm_tensor *views = arena_alloc(&conversion->arena, (params->count + 1) * sizeof *views);
    struct safetensors_write write = {.items = items,
                                      .load = load_view,
                                      .shard_bytes = conversion->options->split_bytes,
                                      .tick = item_tick,
                                      .arg = conversion};
    int64_t most = -1;

    if (!items || !views)
        return LLM_E_NOMEM;
    conversion->views = views;
    for (size_t i = 0; i < params->count; i++) {
        const struct param *param = &params->list[i];
        struct safetensors_item *item;

        if (!weights_entry(&conversion->weights, i) && (param->flags & PARAM_OPTIONAL))
            continue; /* the source lacks it, so may the copy */
        item = &items[write.count++];
        params_file_view(&views[i], param);
        *item = (struct safetensors_item){param->name, &views[i], plain_type(conversion, i)};
        conversion->progress.total +=
            (uint64_t)tensor_count(&views[i]) * (uint64_t)dtype_get(item->dtype)->block_bytes;
        if (tensor_count(&views[i]) > most) {
            most = tensor_count(&views[i]);
            *main_type = item->dtype;
        }
    }
    return safetensors_write_set(&conversion->context->memory, directory, &write);
}

static llm_status copy_file(struct memory *memory, const char *from, const char *to,
                            const char *name)
{
    char *source = file_join(memory, from, name);
    char *target = file_join(memory, to, name);
    char *data = NULL;
    size_t size;
    llm_status status = source && target ? LLM_OK : LLM_E_NOMEM;

    if (!status && file_exists(source)) {
        status = file_read(&data, &size, memory, source, 0);
        if (!status)
            status = file_write(memory, target, data, size);
    }
    memory_release(memory, data);
    memory_release(memory, source);
    memory_release(memory, target);
    return status;
}

static llm_status write_template(struct conversion *conversion, const char *directory)
{
    const struct gguf_value *value =
        gguf_find(conversion->input.source->metadata, "tokenizer.chat_template");
    struct memory *memory = &conversion->context->memory;
    char *path;
    llm_status status;

    if (!value || value->type != GGUF_STRING)
        return LLM_OK;
    path = file_join(memory, directory, "chat_template.jinja");
    status = path ? file_write(memory, path, value->text.data, value->text.size) : LLM_E_NOMEM;
    memory_release(memory, path);
    return status;
}

static llm_status write_tokenizer(struct conversion *conversion, const char *directory)
{
    static const char *const names[] = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "tokenizer.model",
                                        "spiece.model",
                                        "vocab.json",
                                        "merges.txt",
                                        "vocab.txt",
                                        "chat_template.jinja",
                                        "modules.json",
                                        "sentence_bert_config.json",
                                        "config_sentence_transformers.json"};
    struct memory *memory = &conversion->context->memory;
    const struct gguf *from = conversion->input.source->metadata;
    const char *model = "none";
    llm_tokenizer *tokenizer = NULL;
    char *path = NULL;
    llm_status status = LLM_OK;

    if (conversion->options->skip_tokenizer)
        return LLM_OK;
    if (!from) {
        for (size_t i = 0; i < sizeof names / sizeof names[0] && !status; i++)
            status = copy_file(memory, conversion->input.path, directory, names[i]);
        return status;
    }
    status = gguf_read_text(from, "tokenizer.ggml.model", &model);
    if (status || strcmp(model, "none") == 0 || strcmp(model, "no_vocab") == 0)
        return status;
    path = file_join(memory, directory, "tokenizer.json");
    status = path ? gguf_to_tokenizer(&tokenizer, conversion->context, from) : LLM_E_NOMEM;
    if (!status)
        status = tokenizer_save(tokenizer, path);
    if (!status)
        status = write_template(conversion, directory);
    tokenizer_release(tokenizer);
    memory_release(memory, path);
    return status_prefix(status, "tokenizer");
}

static llm_status convert_to_directory(struct conversion *conversion, const char *directory)
{
    int32_t type = LLM_F32;
    llm_status status = file_make_directory(&conversion->context->memory, directory);

    if (!status)
        status = write_tokenizer(conversion, directory);
    if (!status)
        status = write_weights(conversion, directory, &type);
    if (!status)
        status = model_save_generation(conversion->model, directory);
    return status ? status : model_save_config(conversion->model, directory, type);
}

/* ---- both --------------------------------------------------------------------------------------
 */

llm_status model_convert(llm_context *context, const char *from, const char *to,
                         const llm_model_convert_options *options)
{
    struct conversion conversion = {.context = context, .options = options};
    bool to_gguf = ends_with(to, ".gguf");
    llm_status status;

    if (options->dtype >= 0 && !to_gguf && options->dtype > LLM_BF16)
        return status_set(LLM_E_UNSUPPORTED, "a directory holds f32, f16 or bf16, not %s",
                          dtype_get(options->dtype)->name);
    conversion.progress.fn = options->progress;
    conversion.progress.user = options->progress_user;
    arena_init(&conversion.arena, &context->memory);
    gguf_init(&conversion.metadata, &context->memory);
    status = model_input_open(&conversion.input, context, from);
    if (!status)
        status = model_input_source(&conversion.input);
    if (!status)
        status = model_input_model(&conversion.model, &conversion.input, PARAMS_SHAPES_ONLY);
    if (!status)
        status = weights_open(&conversion.weights, conversion.model, conversion.input.source);
    if (!status)
        status = to_gguf ? convert_to_gguf(&conversion, to) : convert_to_directory(&conversion, to);
    weights_close(&conversion.weights);
    model_release(conversion.model);
    model_input_close(&conversion.input);
    gguf_free(&conversion.metadata);
    arena_free(&conversion.arena);
    return status;
}
