/* SPDX-License-Identifier: MIT
 *
 * config.json from the metadata of a GGUF file, and the metadata from a model, by the table of
 * gguf_family.c. Files are type-strict: counts are u32, epsilons f32.
 */
#include "models/gguf_family.h"

#include <math.h>
#include <string.h>

static llm_status set(json_t *config, const char *field, json_t *value)
{
    return json_object_set_new(config, field, value) == 0
               ? LLM_OK
               : status_set(LLM_E_NOMEM, "out of memory");
}

/* ---- reading -----------------------------------------------------------------------------------
 */

/* The double of fewest digits that is this float: 1e-05 and not 9.999999747378752e-06. */
static double shortest(double value)
{
    for (int digits = 1; digits <= 9 && value != 0.0 && isfinite(value); digits++) {
        int exponent = (int)floor(log10(fabs(value))) - digits + 1;
        double mantissa =
            exponent < 0 ? round(value * pow(10.0, -exponent)) : round(value / pow(10.0, exponent));
        double candidate =
            exponent < 0 ? mantissa / pow(10.0, -exponent) : mantissa * pow(10.0, exponent);

        if ((double)(float)candidate == (double)(float)value)
            return candidate;
    }
    return value;
}

/* A count that may be a list, one for each layer: they must be equal. */
static llm_status read_count(const struct gguf *gguf, const char *key, int64_t *out)
{
    const struct gguf_value *value = gguf_find(gguf, key);

    if (!value || value->type != GGUF_ARRAY)
        return gguf_read_i64(gguf, key, 0, INT32_MAX, out);
    if (value->count == 0 || value->element == GGUF_STRING || value->element == GGUF_F32 ||
        value->element == GGUF_F64 || value->element == GGUF_BOOL)
        return status_set(LLM_E_FORMAT, "key \"%s\" is not a list of counts", key);
    *out = gguf_item_i64(value, 0);
    for (uint64_t i = 0; i < value->count; i++) {
        if (gguf_item_i64(value, i) != *out)
            return status_set(LLM_E_UNSUPPORTED, "key \"%s\" differs between layers", key);
    }
    if (*out < 0 || *out > INT32_MAX)
        return status_set(LLM_E_RANGE, "key \"%s\" is %lld", key, (long long)*out);
    return LLM_OK;
}

static llm_status read_field(json_t *config, const struct gguf *gguf,
                             const struct gguf_family *family, const struct gguf_field *field)
{
    char buffer[GGUF_KEY];
    const char *key = gguf_key(buffer, family->architecture, field->key);
    int64_t count = 0;
    double real = 0.0;
    bool flag = false;
    llm_status status;

    if (!gguf_find(gguf, key))
        return field->required ? status_set(LLM_E_FORMAT, "missing key \"%s\"", key) : LLM_OK;
    switch (field->kind) {
    case GGUF_COUNT:
        status = read_count(gguf, key, &count);
        return status ? status : set(config, field->field, json_integer(count));
    case GGUF_REAL:
        status = gguf_read_double(gguf, key, -1e30, 1e30, &real);
        return status ? status : set(config, field->field, json_real(shortest(real)));
    default:
        status = gguf_read_bool(gguf, key, &flag);
        return status ? status : set(config, field->field, json_boolean(flag));
    }
}

static llm_status read_fixed(json_t *config, const struct gguf_fixed *fixed)
{
    llm_status status = LLM_OK;

    for (; fixed->field && !status; fixed++)
        status = set(config, fixed->field, json_loads(fixed->json, JSON_DECODE_ANY, NULL));
    return status;
}

/* Sizes that tensors tell better than keys. */
static llm_status read_tensors(json_t *config, const struct tensor_source *source)
{
    const struct tensor_entry *table = tensor_source_find(source, "token_embd.weight");
    bool tied = !tensor_source_find(source, "output.weight");
    llm_status status;

    if (!table || table->dimensions != 2)
        return status_set(LLM_E_FORMAT, "tensor \"token_embd.weight\" is missing: a file of a "
                                        "tokenizer alone, or of another kind");
    status = set(config, "vocab_size", json_integer(table->shape[0]));
    return status ? status : set(config, "tie_word_embeddings", json_boolean(tied));
}

/* Special tokens, by the names they have in both kinds of files; -1 and 2^32 - 1 mean none. */
static llm_status read_ids(json_t *config, const struct gguf *gguf)
{
    static const char *const pairs[][2] = {{"tokenizer.ggml.bos_token_id", "bos_token_id"},
                                           {"tokenizer.ggml.eos_token_id", "eos_token_id"},
                                           {"tokenizer.ggml.padding_token_id", "pad_token_id"}};
    llm_status status = LLM_OK;

    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0] && !status; i++) {
        int64_t id = -1;

        status = gguf_read_i64(gguf, pairs[i][0], INT64_MIN, INT64_MAX, &id);
        if (!status && id >= 0 && id < INT32_MAX)
            status = set(config, pairs[i][1], json_integer(id));
    }
    return status;
}

static llm_status find_family(const struct gguf_family **out, const struct gguf *gguf)
{
    const char *type = "model";
    const char *architecture = NULL;
    char key[GGUF_KEY];
    int64_t experts = 0;
    llm_status status = gguf_read_text(gguf, "general.type", &type);

    if (!status)
        status = gguf_read_text(gguf, "general.architecture", &architecture);
    if (status)
        return status;
    if (strcmp(type, "model") != 0)
        return status_set(LLM_E_UNSUPPORTED, "key \"general.type\": a file of type \"%.100s\"",
                          type);
    if (!architecture)
        return status_set(LLM_E_FORMAT, "missing key \"general.architecture\"");
    *out = gguf_family_of_file(architecture);
    if (!*out)
        return status_set(LLM_E_UNSUPPORTED, "key \"general.architecture\": \"%.100s\" is unknown",
                          architecture);
    if (strcmp(architecture, "llama") != 0)
        return LLM_OK;
    status = gguf_read_i64(gguf, "llama.expert_count", 0, INT32_MAX, &experts);
    if (!status && (experts || gguf_find(gguf, gguf_key(key, "llama", "attention.sliding_window"))))
        *out = gguf_family_of_type(experts ? "mixtral" : "mistral");
    return status;
}

llm_status gguf_to_config(json_t **out, const struct tensor_source *source)
{
    const struct gguf *gguf = source->metadata;
    const struct gguf_family *family;
    json_t *config = json_object();
    struct arena arena;
    llm_status status = find_family(&family, gguf);

    *out = NULL;
    arena_init(&arena, source->memory);
    if (!status)
        status = set(config, "model_type", json_string(family->model_type));
    for (size_t i = 0; !status && i < family->field_count; i++)
        status = read_field(config, gguf, family, &family->fields[i]);
    if (!status)
        status = read_fixed(config, family->fixed);
    if (!status)
        status = read_tensors(config, source);
    if (!status)
        status = read_ids(config, gguf);
    if (!status && family->theta != 0.0)
        status = gguf_read_rope(config, family, source, &arena);
    if (!status && family->read)
        status = family->read(config, source);
    arena_free(&arena);
    if (status) {
        json_decref(config);
        return status;
    }
    *out = config;
    return LLM_OK;
}

/* ---- writing -----------------------------------------------------------------------------------
 */

static int64_t feed_forward(const llm_model *model)
{
    static const char *const names[] = {"blk.0.ffn_gate.weight", "blk.0.ffn_up.weight",
                                        "blk.0.ffn_up.0.weight", "enc.blk.0.ffn_up.weight",
                                        "dec.blk.0.ffn_up.weight"};

    for (size_t i = 0; i < model->params.count; i++) {
        const struct param *param = &model->params.list[i];

        for (size_t j = 0; j < sizeof names / sizeof names[0]; j++) {
            if (param->gguf_name && strcmp(param->gguf_name, names[j]) == 0)
                return param->tensor->shape[0];
        }
    }
    return 0;
}

static double default_of(const llm_model *model, const struct gguf_field *field)
{
    switch (field->missing) {
    case GGUF_CONTEXT:
        return (double)model->context_length;
    case GGUF_WIDTH:
        return (double)model->dim;
    case GGUF_LAYERS:
        return model->layers;
    case GGUF_FEED_FORWARD:
        return (double)feed_forward(model);
    case GGUF_HEADS:
        return model->heads;
    case GGUF_KV_HEADS:
    case GGUF_SIZE_KV_HEADS:
        return model->kv_heads;
    case GGUF_HEAD_DIM:
        return model->head_dim;
    default:
        return field->number;
    }
}

/* The model was made from this configuration: types and ranges have been checked. */
static void write_field(struct gguf *gguf, const llm_model *model, const struct gguf_family *family,
                        const struct gguf_field *field)
{
    const json_t *value = json_object_get(model->config, field->field);
    char buffer[GGUF_KEY];
    const char *key = gguf_key(buffer, family->architecture, field->key);
    bool is_given = json_is_number(value) && field->missing != GGUF_SIZE_KV_HEADS;
    double number = is_given ? json_number_value(value) : default_of(model, field);

    if (!json_is_number(value) && !json_is_boolean(value) &&
        (field->missing == GGUF_NO_DEFAULT ||
         (json_is_null(value) && value && field->missing == GGUF_NUMBER)))
        return;
    if (field->kind == GGUF_COUNT)
        gguf_put_u32(gguf, key, (uint32_t)number);
    else if (field->kind == GGUF_REAL)
        gguf_put_f32(gguf, key, number);
    else
        gguf_put_bool(gguf, key, json_is_boolean(value) ? json_is_true(value) : number != 0.0);
}

/* A value that the file's readers will not assume would come back wrong. */
static llm_status check_fixed(const json_t *config, const struct gguf_fixed *fixed)
{
    for (; fixed->field; fixed++) {
        const json_t *value = json_object_get(config, fixed->field);
        json_t *first = json_loads(fixed->json, JSON_DECODE_ANY, NULL);
        json_t *second = fixed->also ? json_loads(fixed->also, JSON_DECODE_ANY, NULL) : NULL;
        bool fits = !value || json_equal(value, first) || (second && json_equal(value, second));

        json_decref(first);
        json_decref(second);
        if (!fits)
            return status_set(LLM_E_UNSUPPORTED,
                              "field \"%s\": a GGUF file cannot say anything but %s", fixed->field,
                              fixed->json);
    }
    return LLM_OK;
}

llm_status gguf_from_config(struct gguf *gguf, const llm_model *model)
{
    const struct gguf_family *family = gguf_family_of_model(model);
    char key[GGUF_KEY];
    llm_status status;

    if (!family)
        return status_set(LLM_E_UNSUPPORTED, "GGUF files of \"%s\" models are not supported",
                          model->arch->name);
    status = check_fixed(model->config, family->fixed);
    if (status)
        return status;
    gguf_put_text(gguf, "general.architecture", family->architecture, strlen(family->architecture));
    gguf_put_text(gguf, "general.type", "model", 5);
    for (size_t i = 0; i < family->field_count; i++)
        write_field(gguf, model, family, &family->fields[i]);
    gguf_put_u32(gguf, gguf_key(key, family->architecture, "vocab_size"),
                 (uint32_t)model->vocabulary);
    if (gguf_find(gguf, gguf_key(key, family->architecture, "attention.key_length")))
        gguf_put_u32(gguf, gguf_key(key, family->architecture, "attention.value_length"),
                     (uint32_t)model->head_dim);
    if (family->write)
        status = family->write(gguf, model);
    return status ? status : gguf->status;
}
