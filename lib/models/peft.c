/* SPDX-License-Identifier: MIT
 *
 * Adapters as the directories of PEFT (https://github.com/huggingface/peft, src/peft/config.py and
 * tuners/lora/config.py): adapter_config.json and adapter_model.safetensors. Which layers are
 * adapted is what the tensors say; the configuration gives scale and kind, and every setting in it
 * that would change the computation in a way we do not do is refused by name.
 */
#include "models/adapter_make.h"

#include "formats/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_LIMIT = 16 << 20 };

static const char config_name[] = "adapter_config.json";
static const char weights_name[] = "adapter_model.safetensors";
static const char prefix[] = "base_model.model.";

/* ---- the configuration ---- */

struct peft {
    json_t *json;
    int32_t kind;
    int64_t rank;
    double alpha, dropout;
    bool rank_stabilized, dora;
};

/* Settings that are read here, or that matter to training or to nobody. */
static const char *const known[] = {"peft_type",
                                    "r",
                                    "lora_alpha",
                                    "lora_dropout",
                                    "use_rslora",
                                    "use_dora",
                                    "target_modules",
                                    "feedforward_modules",
                                    "rank_pattern",
                                    "alpha_pattern",
                                    "bias",
                                    "modules_to_save",
                                    "task_type",
                                    "auto_mapping",
                                    "base_model_name_or_path",
                                    "revision",
                                    "inference_mode",
                                    "peft_version",
                                    "fan_in_fan_out",
                                    "init_lora_weights",
                                    "init_ia3_weights",
                                    "layers_to_transform",
                                    "layers_pattern",
                                    "exclude_modules",
                                    "megatron_core",
                                    "eva_config",
                                    "corda_config",
                                    "loftq_config",
                                    "lora_ga_config",
                                    "ensure_weight_tying",
                                    "runtime_config",
                                    "megatron_config",
                                    "qalora_group_size"};

static bool is_neutral(const json_t *value)
{
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

static llm_status refuse_unknown(const json_t *json)
{
    const char *bias = "none";
    const char *key;
    json_t *value;
    llm_status status = json_read_text(json, "bias", &bias);

    if (status)
        return status;
    if (strcmp(bias, "none") != 0)
        return status_set(LLM_E_UNSUPPORTED, "field \"bias\": \"%.40s\" is not supported", bias);
    if (!is_neutral(json_object_get(json, "modules_to_save")))
        return status_set(LLM_E_UNSUPPORTED, "field \"modules_to_save\" is not supported");
    json_object_foreach((json_t *)json, key, value)
    {
        bool found = is_neutral(value);

        for (size_t i = 0; i < sizeof known / sizeof *known && !found; i++)
            found = strcmp(key, known[i]) == 0;
        if (!found)
            return status_set(LLM_E_UNSUPPORTED, "field \"%.60s\" is not supported", key);
    }
    return LLM_OK;
}

static llm_status read_peft(struct peft *peft)
{
    const char *type = "";
    llm_status status = json_is_object(peft->json) ? json_read_text(peft->json, "peft_type", &type)
                                                   : status_set(LLM_E_FORMAT, "not a JSON object");

    peft->rank = 8;
    peft->alpha = 8.0;
    if (status)
        return status;
    if (strcmp(type, "LORA") == 0)
        peft->kind = LLM_ADAPTER_LORA;
    else if (strcmp(type, "IA3") == 0)
        peft->kind = LLM_ADAPTER_IA3;
    else
        return status_set(LLM_E_UNSUPPORTED, "field \"peft_type\": \"%.40s\" is not supported",
                          type);
    status = refuse_unknown(peft->json);
    if (!status)
        status = json_read_i64(peft->json, "r", 1, 1 << 20, &peft->rank);
    if (!status)
        status = json_read_double(peft->json, "lora_alpha", 0.0, 1e9, &peft->alpha);
    if (!status)
        status = json_read_double(peft->json, "lora_dropout", 0.0, 0.999, &peft->dropout);
    if (!status)
        status = json_read_bool(peft->json, "use_rslora", &peft->rank_stabilized);
    if (!status)
        status = json_read_bool(peft->json, "use_dora", &peft->dora);
    return status;
}

/* The value that a pattern ("rank_pattern", "alpha_pattern") gives a layer. Keys are names or ends
 * of names; as regular expressions they would have other characters than a name has. */
static llm_status from_pattern(double *out, const struct peft *peft, const char *pattern,
                               const char *path, size_t length)
{
    const json_t *map = json_object_get(peft->json, pattern);
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)map, key, value)
    {
        if (strpbrk(key, "\\*+?[](){}^$|"))
            return status_set(LLM_E_UNSUPPORTED,
                              "field \"%s\": the regular expression \"%.60s\" is not supported",
                              pattern, key);
        if (!json_is_number(value))
            return status_set(LLM_E_FORMAT, "field \"%s\": \"%.60s\" is not a number", pattern,
                              key);
        if (adapter_target_matches(path, length, key)) {
            *out = json_number_value(value);
            return LLM_OK;
        }
    }
    return LLM_OK;
}

/* ---- loading ---- */

/* The end of a tensor's name, and the layer between prefix and end. */
static bool split_name(const char *name, const char *end, const char **path, size_t *length)
{
    size_t size = strlen(name);
    size_t head = strlen(prefix);
    size_t tail = strlen(end);

    if (size <= head + tail || memcmp(name, prefix, head) != 0 ||
        strcmp(name + size - tail, end) != 0)
        return false;
    *path = name + head;
    *length = size - head - tail;
    return true;
}

/* The linear weight of the layer; -1: there is none. */
static int64_t find_layer(const llm_model *model, const char *path, size_t length)
{
    char name[256];
    const struct param *param;

    if (length + sizeof ".weight" > sizeof name)
        return -1;
    memcpy(name, path, length);
    memcpy(name + length, ".weight", sizeof ".weight");
    param = params_find(&model->params, name);
    return param && (param->flags & PARAM_LINEAR) ? param - model->params.list : -1;
}

static llm_status add_lora(llm_adapter *adapter, const llm_model *model, const struct peft *peft,
                           const struct tensor_entry *entry, size_t index, const char *path,
                           size_t length)
{
    double rank = (double)peft->rank;
    double alpha = peft->alpha;
    llm_status status = from_pattern(&rank, peft, "rank_pattern", path, length);

    if (!status)
        status = from_pattern(&alpha, peft, "alpha_pattern", path, length);
    if (status)
        return status;
    if (entry->dimensions != 2 || (double)entry->shape[0] != rank)
        return status_set(LLM_E_SHAPE,
                          "tensor \"%s\" does not have the rank %g of the configuration",
                          entry->name, rank);
    return adapter_add_lora(adapter, &model->params, index, entry->shape[0],
                            (float)(alpha / (peft->rank_stabilized ? sqrt(rank) : rank)),
                            peft->dora);
}

static llm_status add_part(llm_adapter *adapter, const llm_model *model, const struct peft *peft,
                           const struct tensor_entry *entry)
{
    bool lora = peft->kind == LLM_ADAPTER_LORA;
    const char *path;
    size_t length;
    int64_t index;

    if (!split_name(entry->name, lora ? ".lora_A.weight" : ".ia3_l", &path, &length)) {
        bool partner =
            lora &&
            (split_name(entry->name, ".lora_B.weight", &path, &length) ||
             (peft->dora && split_name(entry->name, ".lora_magnitude_vector", &path, &length)));

        return partner ? LLM_OK
                       : status_set(LLM_E_UNSUPPORTED, "tensor \"%.120s\" is not supported",
                                    entry->name);
    }
    index = find_layer(model, path, length);
    if (index < 0)
        return status_set(LLM_E_INVALID,
                          "tensor \"%.120s\": the model has no such linear layer; the adapter "
                          "belongs to another base",
                          entry->name);
    if (lora)
        return add_lora(adapter, model, peft, entry, (size_t)index, path, length);
    return adapter_add_ia3(adapter, &model->params, (size_t)index,
                           entry->dimensions == 2 && entry->shape[0] == 1 &&
                               entry->shape[1] == model->params.list[index].tensor->shape[1]);
}

static llm_status check_values(const llm_adapter *adapter, const struct tensor_source *source)
{
    if (source->count != adapter->params.count)
        return status_set(LLM_E_INVALID, "it holds %zu tensors, the adapter has %zu", source->count,
                          adapter->params.count);
    for (size_t i = 0; i < adapter->params.count; i++) {
        const struct param *param = &adapter->params.list[i];
        const struct tensor_entry *entry = tensor_source_find(source, param->name);
        bool fits = entry && entry->dimensions == param->tensor->dimensions;

        for (int32_t d = 0; fits && d < entry->dimensions; d++)
            fits = entry->shape[d] == param->tensor->shape[d];
        if (!fits)
            return status_set(LLM_E_INVALID, "it is of another adapter: %s does not fit",
                              param->name);
    }
    return LLM_OK;
}

static llm_status load_values(llm_adapter *adapter, const struct tensor_source *source)
{
    for (size_t i = 0; i < adapter->params.count; i++) {
        const struct param *param = &adapter->params.list[i];
        const struct tensor_entry *entry = tensor_source_find(source, param->name);
        llm_status status;

        if (!entry)
            return status_set(LLM_E_FORMAT, "tensor \"%s\" is missing", param->name);
        status = tensor_source_load(source, entry, param->tensor, NULL, NULL);
        if (status)
            return status;
    }
    return LLM_OK;
}

static llm_status load_tensors(llm_adapter *adapter, const llm_model *model,
                               const struct peft *peft, const char *path)
{
    struct tensor_source *source = NULL;
    llm_status status = tensor_source_open(&source, &model->context->memory, path);

    for (size_t i = 0; !status && i < source->count; i++)
        status = add_part(adapter, model, peft, &source->list[i]);
    if (!status && adapter->part_count == 0)
        status = status_set(LLM_E_FORMAT, "there are no adapter tensors");
    if (!status)
        status = load_values(adapter, source);
    status_prefix(status, "%s", path);
    tensor_source_close(source);
    return status;
}

static llm_status read_config(struct peft *peft, llm_adapter *adapter, const char *path)
{
    struct memory *memory = &adapter->context->memory;
    char *text = NULL;
    size_t size;
    llm_status status = file_read(&text, &size, memory, path, CONFIG_LIMIT);

    if (!status)
        status = json_open(&peft->json, text, size, path);
    if (!status)
        status = status_prefix(read_peft(peft), "%s", path);
    if (!status) {
        adapter->config = arena_copy_text(&adapter->arena, text, size);
        adapter->kind = peft->kind;
        adapter->dropout = (float)peft->dropout;
        if (!adapter->config)
            status = LLM_E_NOMEM;
    }
    memory_release(memory, text);
    return status;
}

llm_status adapter_load(llm_adapter **out, llm_model *model, const char *directory)
{
    struct memory *memory = &model->context->memory;
    char *config = file_join(memory, directory, config_name);
    char *weights = file_join(memory, directory, weights_name);
    struct peft peft = {0};
    llm_adapter *adapter = NULL;
    llm_status status = config && weights ? LLM_OK : LLM_E_NOMEM;

    *out = NULL;
    if (!status)
        status = adapter_open(&adapter, model->context, &model->params);
    if (!status)
        status = read_config(&peft, adapter, config);
    if (!status)
        status = load_tensors(adapter, model, &peft, weights);
    json_decref(peft.json);
    memory_release(memory, config);
    memory_release(memory, weights);
    if (status)
        adapter_release(adapter);
    else
        *out = adapter;
    return status;
}

/* `adapter` to fill, or `check` to compare with. */
static llm_status reload(llm_adapter *adapter, const llm_adapter *check, const char *directory)
{
    struct memory *memory = &check->context->memory;
    char *path = file_join(memory, directory, weights_name);
    struct tensor_source *source = NULL;
    llm_status status = path ? tensor_source_open(&source, memory, path) : LLM_E_NOMEM;

    if (!status)
        status = check_values(check, source);
    if (!status && adapter)
        status = load_values(adapter, source);
    tensor_source_close(source);
    memory_release(memory, path);
    return status;
}

llm_status adapter_check_file(const llm_adapter *adapter, const char *directory)
{
    return reload(NULL, adapter, directory);
}

llm_status adapter_load_values(llm_adapter *adapter, const char *directory)
{
    return reload(adapter, adapter, directory);
}

/* ---- saving ---- */

static const char *task_type(const llm_model *model)
{
    switch (model->head.kind) {
    case LLM_HEAD_CAUSAL_LM:
        return "CAUSAL_LM";
    case LLM_HEAD_SEQUENCE:
        return "SEQ_CLS";
    case LLM_HEAD_TOKENS:
        return "TOKEN_CLS";
    case LLM_HEAD_SPANS:
        return "QUESTION_ANS";
    case LLM_HEAD_SEQ2SEQ:
        return "SEQ_2_SEQ_LM";
    default:
        return "FEATURE_EXTRACTION";
    }
}

/* A list of names; without names, the last component of every adapted layer once. */
static json_t *target_list(const llm_adapter *adapter, const llm_model *model,
                           const char *const *targets, size_t count, bool inputs_only)
{
    json_t *list = json_array();
    json_t *seen = json_object();

    for (size_t i = 0; list && i < count; i++)
        (void)json_array_append_new(list, json_string(targets[i]));
    for (size_t i = 0; list && seen && count == 0 && i < adapter->model_params; i++) {
        const struct adapter_part *part = &adapter->parts[i];
        const char *name = model->params.list[i].name;
        size_t length = strlen(name) - strlen(".weight");
        size_t start = length;
        char last[128];

        if ((!part->a && !part->gain) || (inputs_only && !part->gain_on_input))
            continue;
        while (start > 0 && name[start - 1] != '.')
            start--;
        (void)snprintf(last, sizeof last, "%.*s", (int)(length - start), name + start);
        if (json_object_get(seen, last))
            continue;
        (void)json_object_set_new(seen, last, json_true());
        (void)json_array_append_new(list, json_string(last));
    }
    json_decref(seen);
    return list;
}

static json_t *lora_fields(const llm_model *model, const llm_adapter_options *o)
{
    return json_pack("{s:s, s:s, s:b, s:i, s:f, s:f, s:s, s:b, s:b, s:b, s:b, s:{}, s:{}, s:n}",
                     "peft_type", "LORA", "task_type", task_type(model), "inference_mode", 1, "r",
                     (int)o->rank, "lora_alpha", o->alpha, "lora_dropout", o->dropout, "bias",
                     "none", "fan_in_fan_out", strcmp(model->arch->name, "gpt2") == 0,
                     "init_lora_weights", 1, "use_rslora", o->rank_stabilized != 0, "use_dora",
                     o->dora != 0, "rank_pattern", "alpha_pattern", "modules_to_save");
}

static json_t *ia3_fields(const llm_model *model)
{
    return json_pack("{s:s, s:s, s:b, s:b, s:b, s:n}", "peft_type", "IA3", "task_type",
                     task_type(model), "inference_mode", 1, "fan_in_fan_out",
                     strcmp(model->arch->name, "gpt2") == 0, "init_ia3_weights", 1,
                     "modules_to_save");
}

llm_status adapter_describe(llm_adapter *adapter, const llm_model *model,
                            const llm_adapter_options *o)
{
    bool ia3 = o->kind == LLM_ADAPTER_IA3;
    json_t *json = ia3 ? ia3_fields(model) : lora_fields(model, o);
    struct text text;
    llm_status status = json ? LLM_OK : status_set(LLM_E_NOMEM, "out of memory");

    text_init(&text, &adapter->context->memory);
    if (!status &&
        json_object_set_new(json, "target_modules",
                            target_list(adapter, model, o->targets, o->target_count, false)))
        status = status_set(LLM_E_NOMEM, "out of memory");
    if (!status && ia3 &&
        json_object_set_new(
            json, "feedforward_modules",
            target_list(adapter, model, o->input_targets, o->input_target_count, true)))
        status = status_set(LLM_E_NOMEM, "out of memory");
    if (!status)
        status = json_write(&text, json);
    text_append_z(&text, "\n");
    if (!status && !text.failed)
        adapter->config = arena_copy_text(&adapter->arena, text.data, text.size);
    if (!status && !adapter->config)
        status = LLM_E_NOMEM;
    json_decref(json);
    text_free(&text);
    return status;
}

static llm_status save_tensors(const llm_adapter *adapter, const char *path)
{
    struct memory *memory = &adapter->context->memory;
    size_t count = adapter->params.count;
    struct safetensors_item *items = memory_alloc_zeroed(memory, count, sizeof *items);
    llm_status status;

    if (!items)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < count; i++)
        items[i] = (struct safetensors_item){adapter->params.list[i].name,
                                             adapter->params.list[i].tensor, LLM_F32};
    status = safetensors_write(memory, path, items, count, NULL, NULL);
    memory_release(memory, items);
    return status;
}

llm_status adapter_save(const llm_adapter *adapter, const char *directory)
{
    struct memory *memory = &adapter->context->memory;
    char *config = file_join(memory, directory, config_name);
    char *weights = file_join(memory, directory, weights_name);
    llm_status status = config && weights ? file_make_directory(memory, directory) : LLM_E_NOMEM;

    if (!status)
        status = save_tensors(adapter, weights);
    if (!status)
        status = file_write(memory, config, adapter->config, strlen(adapter->config));
    memory_release(memory, config);
    memory_release(memory, weights);
    return status;
}
