/* SPDX-License-Identifier: MIT */
#include "models/gguf_vocabulary.h"

#include "tokenizer/vocabulary_arrays.h"

#include <stdio.h>
#include <string.h>

/* ---- tables ------------------------------------------------------------------------------------
 */

/* Which member of the arrays a key is. The misspelling is llama.cpp's. */
static const struct {
    const char *key;
    size_t offset;
} ids[] = {
    {"tokenizer.ggml.bos_token_id", offsetof(struct vocabulary_arrays, bos)},
    {"tokenizer.ggml.eos_token_id", offsetof(struct vocabulary_arrays, eos)},
    {"tokenizer.ggml.unknown_token_id", offsetof(struct vocabulary_arrays, unk)},
    {"tokenizer.ggml.seperator_token_id", offsetof(struct vocabulary_arrays, sep)},
    {"tokenizer.ggml.padding_token_id", offsetof(struct vocabulary_arrays, pad)},
    {"tokenizer.ggml.cls_token_id", offsetof(struct vocabulary_arrays, cls)},
    {"tokenizer.ggml.mask_token_id", offsetof(struct vocabulary_arrays, mask)},
};

static const struct {
    const char *key;
    size_t offset;
} flags[] = {
    {"tokenizer.ggml.add_bos_token", offsetof(struct vocabulary_arrays, add_bos)},
    {"tokenizer.ggml.add_eos_token", offsetof(struct vocabulary_arrays, add_eos)},
    {"tokenizer.ggml.add_sep_token", offsetof(struct vocabulary_arrays, add_sep)},
    {"tokenizer.ggml.add_space_prefix", offsetof(struct vocabulary_arrays, add_space_prefix)},
    {"tokenizer.ggml.remove_extra_whitespaces",
     offsetof(struct vocabulary_arrays, remove_extra_whitespaces)},
    {"tokenizer.ggml.normalizer.lowercase", offsetof(struct vocabulary_arrays, lowercase)},
    {"tokenizer.ggml.normalizer.strip_accents", offsetof(struct vocabulary_arrays, strip_accents)},
};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* ---- reading -----------------------------------------------------------------------------------
 */

static llm_status read_strings(struct vocabulary_text **out, size_t *count, const struct gguf *gguf,
                               const char *key, struct arena *arena)
{
    const struct gguf_value *value;
    const struct gguf_text *texts;
    llm_status status = gguf_read_array(gguf, key, GGUF_STRING, &value);

    *out = NULL;
    *count = 0;
    if (status || !value)
        return status;
    texts = value->items;
    *out = arena_alloc(arena, (size_t)value->count * sizeof **out + 1);
    if (!*out)
        return LLM_E_NOMEM;
    *count = (size_t)value->count;
    for (size_t i = 0; i < *count; i++)
        (*out)[i] = (struct vocabulary_text){texts[i].data, texts[i].size};
    return LLM_OK;
}

static llm_status wrong_length(const char *key, const struct gguf_value *value, size_t count)
{
    return status_set(LLM_E_FORMAT, "key \"%s\" has %llu entries for %zu tokens", key,
                      (unsigned long long)value->count, count);
}

static llm_status read_columns(struct vocabulary_arrays *arrays, const struct gguf *gguf,
                               struct arena *arena)
{
    const struct gguf_value *scores, *types;
    float *score;
    int32_t *type;
    llm_status status = gguf_read_array(gguf, "tokenizer.ggml.scores", GGUF_F32, &scores);

    if (!status)
        status = gguf_read_array(gguf, "tokenizer.ggml.token_type", GGUF_I32, &types);
    if (status)
        return status;
    if (scores && scores->count != arrays->count)
        return wrong_length("tokenizer.ggml.scores", scores, arrays->count);
    if (types && types->count != arrays->count)
        return wrong_length("tokenizer.ggml.token_type", types, arrays->count);
    score = arena_alloc(arena, arrays->count * sizeof *score + 1);
    type = arena_alloc(arena, arrays->count * sizeof *type + 1);
    if (!score || !type)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < arrays->count; i++) {
        score[i] = scores ? (float)gguf_item_double(scores, i) : 0.0f;
        type[i] = types ? (int32_t)gguf_item_i64(types, i) : PIECE_NORMAL;
    }
    arrays->scores = scores ? score : NULL;
    arrays->types = types ? type : NULL;
    return LLM_OK;
}

static llm_status read_charsmap(struct vocabulary_arrays *arrays, const struct gguf *gguf)
{
    const char *key = "tokenizer.ggml.precompiled_charsmap";
    const struct gguf_value *value = gguf_find(gguf, key);
    llm_status status;

    if (!value)
        return LLM_OK;
    status = gguf_read_array(gguf, key, value->element == GGUF_I8 ? GGUF_I8 : GGUF_U8, &value);
    if (status)
        return status;
    arrays->charsmap = value->items;
    arrays->charsmap_size = (size_t)value->count;
    return LLM_OK;
}

/* Ids of none: absent, -1, or 2^32 - 1. */
static llm_status read_switches(struct vocabulary_arrays *arrays, const struct gguf *gguf)
{
    llm_status status = LLM_OK;

    for (size_t i = 0; i < COUNT(ids) && !status; i++) {
        int64_t id = -1;

        status = gguf_read_i64(gguf, ids[i].key, INT64_MIN, INT64_MAX, &id);
        if (!status && id >= 0 && id != UINT32_MAX && (uint64_t)id >= arrays->count)
            status = status_set(LLM_E_RANGE, "key \"%s\" is %lld, of %zu tokens", ids[i].key,
                                (long long)id, arrays->count);
        if (!status && id >= 0 && id != UINT32_MAX)
            *(int32_t *)(void *)((char *)arrays + ids[i].offset) = (int32_t)id;
    }
    for (size_t i = 0; i < COUNT(flags) && !status; i++) {
        bool flag = false;

        if (!gguf_find(gguf, flags[i].key))
            continue;
        status = gguf_read_bool(gguf, flags[i].key, &flag);
        *((int8_t *)arrays + flags[i].offset) = flag;
    }
    return status;
}

llm_status gguf_to_tokenizer(llm_tokenizer **out, llm_context *context, const struct gguf *gguf)
{
    struct vocabulary_arrays arrays;
    struct vocabulary_text *tokens = NULL, *merges = NULL;
    struct arena arena;
    llm_status status;

    *out = NULL;
    vocabulary_arrays_init(&arrays);
    arena_init(&arena, &context->memory);
    status = gguf_read_text(gguf, "tokenizer.ggml.model", &arrays.model);
    if (!status && (!arrays.model || strcmp(arrays.model, "none") == 0 ||
                    strcmp(arrays.model, "no_vocab") == 0))
        status = status_set(LLM_E_FORMAT, "the file holds no tokenizer");
    if (!status)
        status = gguf_read_text(gguf, "tokenizer.ggml.pre", &arrays.pre);
    if (!status)
        status = read_strings(&tokens, &arrays.count, gguf, "tokenizer.ggml.tokens", &arena);
    if (!status)
        status = read_strings(&merges, &arrays.merge_count, gguf, "tokenizer.ggml.merges", &arena);
    arrays.tokens = tokens;
    arrays.merges = merges;
    if (!status)
        status = read_columns(&arrays, gguf, &arena);
    if (!status)
        status = read_charsmap(&arrays, gguf);
    if (!status)
        status = read_switches(&arrays, gguf);
    if (!status)
        status = tokenizer_from_arrays(out, context, &arrays);
    arena_free(&arena);
    return status;
}

/* ---- writing -----------------------------------------------------------------------------------
 */

static llm_status put_strings(struct gguf *gguf, const char *key,
                              const struct vocabulary_text *texts, size_t count,
                              struct arena *arena)
{
    struct gguf_text *copy = arena_alloc(arena, count * sizeof *copy + 1);

    if (!copy)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < count; i++)
        copy[i] = (struct gguf_text){texts[i].data, texts[i].size};
    gguf_put_array(gguf, key, GGUF_STRING, copy, count);
    return gguf->status;
}

llm_status gguf_from_tokenizer(struct gguf *gguf, const llm_tokenizer *tokenizer)
{
    struct vocabulary_arrays arrays;
    struct arena arena;
    llm_status status;

    arena_init(&arena, gguf->memory);
    vocabulary_arrays_init(&arrays);
    status = tokenizer_to_arrays(&arrays, &arena, tokenizer);
    if (status)
        goto done;
    gguf_put_text(gguf, "tokenizer.ggml.model", arrays.model, strlen(arrays.model));
    if (arrays.pre)
        gguf_put_text(gguf, "tokenizer.ggml.pre", arrays.pre, strlen(arrays.pre));
    status = put_strings(gguf, "tokenizer.ggml.tokens", arrays.tokens, arrays.count, &arena);
    if (!status && arrays.merge_count)
        status =
            put_strings(gguf, "tokenizer.ggml.merges", arrays.merges, arrays.merge_count, &arena);
    if (arrays.scores)
        gguf_put_array(gguf, "tokenizer.ggml.scores", GGUF_F32, arrays.scores, arrays.count);
    if (arrays.types)
        gguf_put_array(gguf, "tokenizer.ggml.token_type", GGUF_I32, arrays.types, arrays.count);
    if (arrays.charsmap_size)
        gguf_put_array(gguf, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, arrays.charsmap,
                       arrays.charsmap_size);
    for (size_t i = 0; i < COUNT(ids); i++) {
        int32_t id = *(const int32_t *)(const void *)((const char *)&arrays + ids[i].offset);

        if (id >= 0)
            gguf_put_u32(gguf, ids[i].key, (uint32_t)id);
    }
    for (size_t i = 0; i < COUNT(flags); i++) {
        int8_t flag = *((const int8_t *)&arrays + flags[i].offset);

        if (flag >= 0)
            gguf_put_bool(gguf, flags[i].key, flag != 0);
    }
done:
    arena_free(&arena);
    return status ? status : gguf->status;
}

/* ---- finding -----------------------------------------------------------------------------------
 */

/* A file that begins as GGUF does, or a directory without a configuration, which can only hold
 * such a file. */
static llm_status holds_gguf(bool *out, struct memory *memory, const char *path)
{
    struct file_reader reader;
    char magic[4] = {0};
    char *config;
    llm_status status;

    *out = false;
    if (file_is_directory(path)) {
        config = file_join(memory, path, "config.json");
        if (!config)
            return LLM_E_NOMEM;
        *out = !file_exists(config);
        memory_release(memory, config);
        return LLM_OK;
    }
    status = file_reader_open(&reader, memory, path);
    if (status)
        return status == LLM_E_NOMEM ? status : LLM_OK; /* the tokenizer's own message is better */
    if (reader.size >= sizeof magic)
        status = file_reader_read(&reader, 0, magic, sizeof magic);
    *out = memcmp(magic, "GGUF", 4) == 0;
    file_reader_close(&reader);
    return status;
}

llm_status tokenizer_of_path(llm_tokenizer **out, llm_context *context, const char *path)
{
    struct tensor_source *source = NULL;
    bool is_gguf;
    llm_status status = holds_gguf(&is_gguf, &context->memory, path);

    *out = NULL;
    if (status)
        return status;
    if (!is_gguf || file_is_directory(path)) {
        status = tokenizer_load(out, context, path);
        if (!status || !is_gguf || status == LLM_E_NOMEM)
            return status;
        if (tensor_source_open(&source, &context->memory, path) != LLM_OK || !source->metadata) {
            tensor_source_close(source);
            return tokenizer_load(out, context, path); /* its message again */
        }
    } else {
        status = tensor_source_open(&source, &context->memory, path);
        if (status)
            return status;
    }
    status = status_prefix(gguf_to_tokenizer(out, context, source->metadata), "%s", path);
    tensor_source_close(source);
    return status;
}

llm_status gguf_template_of_path(struct text *out, bool *found, llm_context *context,
                                 const char *path, const char *name)
{
    struct tensor_source *source = NULL;
    const struct gguf_value *value;
    char key[128];
    llm_status status = holds_gguf(found, &context->memory, path);

    *found = *found && !file_is_directory(path);
    if (status || !*found)
        return status;
    (void)snprintf(key, sizeof key,
                   name ? "tokenizer.chat_template.%.80s" : "tokenizer.chat_template%.0s",
                   name ? name : "");
    status = tensor_source_open(&source, &context->memory, path);
    value = status ? NULL : gguf_find(source->metadata, key);
    if (!status && (!value || value->type != GGUF_STRING))
        status = status_set(name ? LLM_E_RANGE : LLM_E_IO, "%s holds no text \"%s\"", path, key);
    if (!status)
        text_append(out, value->text.data, value->text.size);
    if (!status && out->failed)
        status = LLM_E_NOMEM;
    tensor_source_close(source);
    return status;
}
