/* SPDX-License-Identifier: MIT
 *
 * Hugging Face tokenizer.json and tokenizer_config.json, read and written. The stages have their
 * own files; here are the frame, the added tokens and the roles. Whatever would change ids and is
 * not done exactly is refused by name. Truncation and padding in a file are settings for batches of
 * the Python library and do not belong to the tokenizer; they are passed over with a log line.
 */
#include "base/file.h"
#include "tokenizer/pipeline.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 256 << 20, MAX_ADDED = 1 << 20 };

static llm_status read_added_flags(const json_t *item, unsigned *flags_out)
{
    static const struct {
        const char *key;
        unsigned flag;
    } names[] = {
        {"special", ADDED_SPECIAL}, {"single_word", ADDED_SINGLE_WORD}, {"lstrip", ADDED_LSTRIP},
        {"rstrip", ADDED_RSTRIP},   {"normalized", ADDED_NORMALIZED},
    };
    llm_status status = LLM_OK;

    *flags_out = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names && !status; i++) {
        bool set = false;

        status = json_read_bool(item, names[i].key, &set);
        if (set)
            *flags_out |= names[i].flag;
    }
    return status;
}

/* The model's id for an added token; where bytes and literal text both have one (" " as itself and
 * as the byte), that of the file. */
static int32_t find_content(const llm_tokenizer *tokenizer, int64_t id, const char *content,
                            size_t size)
{
    const struct vocab *vocab = &tokenizer->vocab;

    if (vocab_has(vocab, id) && (vocab->flags[id] & VOCAB_LITERAL) &&
        vocab->entries[id].size == size &&
        memcmp(vocab_bytes(vocab, (int32_t)id), content, size) == 0)
        return (int32_t)id;
    return tokenizer->spelled ? vocab_find_spelled(&tokenizer->vocab, content, size)
                              : vocab_find(&tokenizer->vocab, content, size);
}

static llm_status read_added(llm_tokenizer *tokenizer, const json_t *item, int64_t limit)
{
    const json_t *content = json_object_get(item, "content");
    const char *text = json_string_value(content);
    size_t size = json_string_length(content);
    int64_t id = -1;
    unsigned flags;
    int32_t known;
    unsigned vocab_flags;
    llm_status status = json_read_i64(item, "id", 0, VOCAB_MAX_ID, &id);

    if (!status)
        status = read_added_flags(item, &flags);
    if (status)
        return status;
    if (id < 0 || !text || size == 0 || size > VOCAB_MAX_TOKEN)
        return status_set(LLM_E_FORMAT, "an entry without id or content, or too long");
    if (id >= limit)
        return status_set(LLM_E_RANGE, "id %lld is far outside the vocabulary", (long long)id);
    vocab_flags = VOCAB_ADDED | (flags & ADDED_SPECIAL ? VOCAB_SPECIAL : 0u);
    known = find_content(tokenizer, id, text, size);
    if (known >= 0 && known != id)
        return status_set(LLM_E_FORMAT, "\"%.60s\" has id %lld, but %d in the model's vocabulary",
                          text, (long long)id, (int)known);
    if (known >= 0)
        tokenizer->vocab.flags[id] |= (uint8_t)vocab_flags;
    else
        status = vocab_put(&tokenizer->vocab, id, text, size, vocab_flags | VOCAB_LITERAL);
    return status ? status : added_put(&tokenizer->added, (int32_t)id, text, size, flags);
}

static llm_status read_all_added(llm_tokenizer *tokenizer, const json_t *list)
{
    int64_t limit = (int64_t)tokenizer->vocab.size + (int64_t)json_array_size(list) * 8 + 65536;
    size_t index;
    json_t *item;

    if (json_array_size(list) > MAX_ADDED)
        return status_set(LLM_E_RANGE, "more than %d added_tokens", MAX_ADDED);
    json_array_foreach(list, index, item)
    {
        llm_status status = read_added(tokenizer, item, limit);

        if (status)
            return status_prefix(status, "added_tokens[%zu]", index);
    }
    return LLM_OK;
}

static bool is_set(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);

    return value && !json_is_null(value);
}

llm_status tokenizer_keep_json(llm_tokenizer *tokenizer, char **out, const json_t *value)
{
    char *text;

    *out = NULL;
    if (!value || json_is_null(value))
        return LLM_OK;
    text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text)
        return status_set(LLM_E_NOMEM, "tokenizer.json: out of memory");
    *out = memory_copy_text(&tokenizer->context->memory, text, strlen(text));
    free(text);
    return *out ? LLM_OK : LLM_E_NOMEM;
}

static const char *const stage_fields[STAGE_COUNT] = {"normalizer", "pre_tokenizer", "decoder"};

llm_status huggingface_read_stages(llm_tokenizer *tokenizer, const json_t *root)
{
    struct memory *memory = &tokenizer->context->memory;
    llm_status status =
        normalizer_read(&tokenizer->normalizer, memory, json_object_get(root, "normalizer"));

    if (!status)
        status = pre_tokenizer_read_stages(&tokenizer->pre_tokenizer, memory,
                                           json_object_get(root, "pre_tokenizer"));
    if (!status)
        status = token_decoder_read(&tokenizer->decoder, memory, json_object_get(root, "decoder"));
    for (size_t i = 0; i < STAGE_COUNT && !status; i++)
        status = tokenizer_keep_json(tokenizer, &tokenizer->stage_json[i],
                                     json_object_get(root, stage_fields[i]));
    return status;
}

llm_status huggingface_read_rest(llm_tokenizer *tokenizer, const json_t *root)
{
    llm_status status = read_all_added(tokenizer, json_object_get(root, "added_tokens"));

    if (!status)
        status = post_read(tokenizer, json_object_get(root, "post_processor"));
    return status ? status : tokenizer_finish(tokenizer);
}

static llm_status read_root(llm_tokenizer *tokenizer, const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    llm_status status = LLM_OK;

    if (!json_is_object(model))
        return status_set(LLM_E_FORMAT, "missing object \"model\"");
    tokenizer->algorithm = algorithm_find(root);
    if (!tokenizer->algorithm)
        return status_set(LLM_E_UNSUPPORTED, "model type \"%.60s\" is not supported",
                          algorithm_type(model) ? algorithm_type(model) : "(none)");
    if (is_set(root, "truncation") || is_set(root, "padding"))
        log_message(tokenizer->context, LLM_LOG_INFO,
                    "tokenizer.json: truncation and padding are left to the caller");
    status = huggingface_read_stages(tokenizer, root);
    if (!status)
        status = tokenizer->algorithm->read(tokenizer, root);
    return status ? status : huggingface_read_rest(tokenizer, root);
}

llm_status huggingface_read(llm_tokenizer *tokenizer, const char *json, size_t size)
{
    json_t *root = NULL;
    llm_status status = json_open(&root, json, size, "tokenizer.json");

    if (!status)
        status = status_prefix(read_root(tokenizer, root), "tokenizer.json");
    json_decref(root);
    return status;
}

llm_status tokenizer_load_memory(llm_tokenizer **out, llm_context *context, const char *json,
                                 size_t size)
{
    llm_status status = tokenizer_new(out, context);

    if (!status)
        status = huggingface_read(*out, json, size);
    if (status) {
        tokenizer_release(*out);
        *out = NULL;
    }
    return status;
}

/* "<s>" or {"content": "<s>"}. */
static const char *config_text(const json_t *value)
{
    return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

static const struct {
    int32_t role;
    const char *key;
} role_keys[] = {
    {LLM_TOKEN_BOS, "bos_token"},
    {LLM_TOKEN_EOS, "eos_token"},
    {LLM_TOKEN_UNK, "unk_token"},
    {LLM_TOKEN_PAD, "pad_token"},
};

llm_status huggingface_read_config(llm_tokenizer *tokenizer, const char *path)
{
    struct memory *memory = &tokenizer->context->memory;
    json_t *root = NULL;
    char *text = NULL;
    size_t size;
    llm_status status;

    if (!file_exists(path))
        return LLM_OK;
    status = file_read(&text, &size, memory, path, FILE_LIMIT);
    if (!status)
        status = json_open(&root, text, size, "tokenizer_config.json");
    for (size_t i = 0; i < sizeof role_keys / sizeof *role_keys && !status; i++) {
        const json_t *value = json_object_get(root, role_keys[i].key);
        const char *name = config_text(value);

        if (!name)
            continue;
        tokenizer->special[role_keys[i].role] = -1;
        tokenizer_name_special(tokenizer, role_keys[i].role, name, strlen(name));
    }
    json_decref(root);
    if (status) {
        memory_release(memory, text);
        return status;
    }
    memory_release(memory, tokenizer->config);
    tokenizer->config = text;
    return LLM_OK;
}

static void write_flags(struct text *out, unsigned flags)
{
    text_printf(out,
                "\"single_word\": %s, \"lstrip\": %s, \"rstrip\": %s, \"normalized\": %s, "
                "\"special\": %s}",
                flags & ADDED_SINGLE_WORD ? "true" : "false",
                flags & ADDED_LSTRIP ? "true" : "false", flags & ADDED_RSTRIP ? "true" : "false",
                flags & ADDED_NORMALIZED ? "true" : "false",
                flags & ADDED_SPECIAL ? "true" : "false");
}

static void write_added(const llm_tokenizer *tokenizer, struct text *out)
{
    const struct added_tokens *added = &tokenizer->added;

    text_append_z(out, "  \"added_tokens\": [");
    for (size_t i = 0; i < added->count; i++) {
        const struct added_token *token = &added->tokens[i];

        text_printf(out, "%s\n    {\"id\": %d, \"content\": ", i ? "," : "", (int)token->id);
        text_append_json(out, token->text, token->size);
        text_append_z(out, ", ");
        write_flags(out, token->flags);
    }
    text_append_z(out, added->count ? "\n  ],\n" : "],\n");
}

llm_status tokenizer_check_write(const llm_tokenizer *tokenizer)
{
    const struct tokenizer_algorithm *algorithm = tokenizer->algorithm;

    return algorithm->check_write ? algorithm->check_write(tokenizer) : LLM_OK;
}

void tokenizer_write_json(const llm_tokenizer *tokenizer, struct text *out)
{
    text_append_z(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n"
                       "  \"padding\": null,\n");
    write_added(tokenizer, out);
    for (size_t i = 0; i < STAGE_COUNT; i++)
        text_printf(out, "  \"%s\": %s,\n", stage_fields[i],
                    tokenizer->stage_json[i] ? tokenizer->stage_json[i] : "null");
    text_append_z(out, "  \"post_processor\": ");
    text_append_z(out, tokenizer->post.json ? tokenizer->post.json : "null");
    text_append_z(out, ",\n  \"model\": ");
    tokenizer->algorithm->write_model(tokenizer, out);
    text_append_z(out, "\n}\n");
}

/* Tokens that only their name tells what they are for. */
static const char *const named_roles[][2] = {
    {"cls_token", "[CLS]"},
    {"sep_token", "[SEP]"},
    {"mask_token", "[MASK]"},
    {"mask_token", "<mask>"},
};

static void write_new_config(const llm_tokenizer *tokenizer, struct text *out)
{
    const struct added_tokens *added = &tokenizer->added;

    text_append_z(out, "{\n  \"added_tokens_decoder\": {");
    for (size_t i = 0; i < added->count; i++) {
        text_printf(out, "%s\n    \"%d\": {\"content\": ", i ? "," : "", (int)added->tokens[i].id);
        text_append_json(out, added->tokens[i].text, added->tokens[i].size);
        text_append_z(out, ", ");
        write_flags(out, added->tokens[i].flags);
    }
    text_append_z(out, added->count ? "\n  },\n" : "},\n");
    for (size_t i = 0; i < sizeof role_keys / sizeof *role_keys; i++) {
        int32_t id = tokenizer->special[role_keys[i].role];

        if (id < 0)
            continue;
        text_printf(out, "  \"%s\": ", role_keys[i].key);
        text_append_json(out, vocab_bytes(&tokenizer->vocab, id),
                         tokenizer->vocab.entries[id].size);
        text_append_z(out, ",\n");
    }
    for (size_t i = 0; i < sizeof named_roles / sizeof *named_roles; i++) {
        const char *name = named_roles[i][1];
        const struct added_token *token = added_find(added, name, strlen(name));

        if (token && (token->flags & ADDED_SPECIAL))
            text_printf(out, "  \"%s\": \"%s\",\n", named_roles[i][0], name);
    }
    text_append_z(out, "  \"clean_up_tokenization_spaces\": false,\n"
                       "  \"model_max_length\": 1000000000000000019884624838656,\n"
                       "  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n");
}

/* The file that was read holds more than we know (a chat template, for one) and is kept. */
void huggingface_write_config(const llm_tokenizer *tokenizer, struct text *out)
{
    if (tokenizer->config)
        text_append_z(out, tokenizer->config);
    else
        write_new_config(tokenizer, out);
}
