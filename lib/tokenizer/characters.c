/* SPDX-License-Identifier: MIT */
#include "tokenizer/characters.h"
#include "tokenizer/unicode.h"

#include <string.h>

struct slot {
    uint32_t character;
    int32_t id; /* -1: free */
};

struct characters {
    struct memory *memory;
    int32_t ascii[128]; /* -1: not in the set */
    struct slot *slots;
    size_t mask;
    int32_t unknown;
};

static struct slot *find(const struct characters *model, uint32_t character)
{
    size_t i = (size_t)((character * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & model->mask;

    while (model->slots[i].id >= 0 && model->slots[i].character != character)
        i = (i + 1) & model->mask;
    return &model->slots[i];
}

static void free_model(llm_tokenizer *tokenizer)
{
    struct characters *model = tokenizer->model;

    if (!model)
        return;
    memory_release(model->memory, model->slots);
    memory_release(model->memory, model);
}

llm_status characters_build(llm_tokenizer *tokenizer, int32_t unknown)
{
    struct memory *memory = &tokenizer->context->memory;
    const struct vocab *vocab = &tokenizer->vocab;
    struct characters *model = memory_alloc_zeroed(memory, 1, sizeof *model);
    size_t count = 64;

    if (!model)
        return LLM_E_NOMEM;
    tokenizer->model = model;
    tokenizer->algorithm = &algorithm_characters;
    model->memory = memory;
    model->unknown = unknown;
    while (count < 2 * vocab->size)
        count *= 2;
    model->slots = memory_alloc_array(memory, count, sizeof *model->slots);
    if (!model->slots)
        return LLM_E_NOMEM;
    model->mask = count - 1;
    memset(model->slots, 0xFF, count * sizeof *model->slots);
    memset(model->ascii, 0xFF, sizeof model->ascii);
    for (size_t i = 0; i < vocab->size; i++) {
        const unsigned char *p = (const unsigned char *)vocab_bytes(vocab, (int32_t)i);
        size_t size = vocab->entries[i].size;
        uint32_t c;

        if (!(vocab->flags[i] & VOCAB_MODEL) || size == 0 || size > 4)
            continue;
        if (unicode_next(p, p + size, &c) != size || (c == 0xFFFD && size == 1))
            continue;
        if (c < 128)
            model->ascii[c] = (int32_t)i;
        else
            *find(model, c) = (struct slot){c, (int32_t)i};
    }
    tokenizer->kind = LLM_TOKENIZER_CHARACTERS;
    tokenizer->split = split_find(LLM_SPLIT_NONE);
    tokenizer->direct = true;
    tokenizer->plain_decoding = true;
    tokenizer->special[LLM_TOKEN_UNK] = unknown;
    return LLM_OK;
}

/* A WordLevel model of characters, and nothing between it and the text. */
static bool takes(const json_t *root)
{
    return pre_tokenizer_is_characters(json_object_get(root, "pre_tokenizer")) &&
           strcmp(stage_type(json_object_get(root, "decoder")), "Fuse") == 0 &&
           strcmp(stage_type(json_object_get(root, "normalizer")), "null") == 0;
}

static llm_status read_model(llm_tokenizer *tokenizer, const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    const char *unknown = NULL;
    int32_t id = -1;
    llm_status status;

    status = vocab_read(&tokenizer->vocab, json_object_get(model, "vocab"), false);
    if (!status)
        status = json_read_text(model, "unk_token", &unknown);
    if (status)
        return status_prefix(status, "model");
    /* An unk_token that is not in the vocabulary is what files without one hold. */
    if (unknown)
        id = vocab_find(&tokenizer->vocab, unknown, strlen(unknown));
    return characters_build(tokenizer, id);
}

static void write_model(const llm_tokenizer *tokenizer, struct text *out)
{
    const struct characters *model = tokenizer->model;
    const struct vocab *vocab = &tokenizer->vocab;

    text_append_z(out, "{\n    \"type\": \"WordLevel\",\n    \"vocab\": ");
    vocab_write(vocab, false, false, out);
    text_append_z(out, ",\n    \"unk_token\": ");
    if (model->unknown >= 0)
        text_append_json(out, vocab_bytes(vocab, model->unknown),
                         vocab->entries[model->unknown].size);
    else
        text_append_z(out, "\"<unk>\""); /* the format wants a name, though no token has it */
    text_append_z(out, "\n  }");
}

static llm_status encode_other(const struct characters *model, const unsigned char *p, size_t size,
                               uint32_t c, int32_t *id)
{
    const struct slot *slot = find(model, c);

    *id = c >= 128 && !(c == 0xFFFD && size == 1) ? slot->id : -1;
    if (*id < 0)
        *id = model->unknown;
    if (*id >= 0)
        return LLM_OK;
    if (c == 0xFFFD && size == 1)
        return status_set(LLM_E_RANGE,
                          "byte 0x%02X is not UTF-8 and the tokenizer has no unknown token", *p);
    return status_set(LLM_E_RANGE,
                      "character U+%04X is not one the tokenizer knows and it has no unknown token",
                      (unsigned)c);
}

static llm_status encode(const llm_tokenizer *tokenizer, struct scratch *scratch, const char *text,
                         size_t size, struct token_list *out)
{
    const struct characters *model = tokenizer->model;
    const unsigned char *p = (const unsigned char *)text;
    const unsigned char *end = p + size;
    llm_status status = token_list_reserve(out, size);

    (void)scratch;
    while (p < end && !status) {
        int32_t id = *p < 128 ? model->ascii[*p] : -1;
        size_t step = 1;

        if (id < 0) {
            uint32_t c;

            step = unicode_next(p, end, &c);
            status = encode_other(model, p, step, c, &id);
            if (status)
                break;
        }
        out->ids[out->count++] = id;
        p += step;
    }
    return status;
}

static llm_status encode_word(const llm_tokenizer *tokenizer, struct scratch *scratch,
                              const char *word, size_t size, struct token_list *out,
                              struct end_list *ends)
{
    const unsigned char *p = (const unsigned char *)word;
    llm_status status = encode(tokenizer, scratch, word, size, out);

    for (size_t at = 0; ends && at < size && !status;) {
        uint32_t c;

        at += unicode_next(p + at, p + size, &c);
        status = end_list_add(ends, at);
    }
    return status;
}

static size_t covers(const llm_tokenizer *tokenizer, int32_t id, const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    uint32_t c;

    (void)tokenizer;
    (void)id;
    return size ? unicode_next(p, p + size, &c) : 0;
}

const struct tokenizer_algorithm algorithm_characters = {
    .type = "WordLevel",
    .takes = takes,
    .read = read_model,
    .write_model = write_model,
    .encode_word = encode_word,
    .encode = encode,
    .covers = covers,
    .free = free_model,
};
