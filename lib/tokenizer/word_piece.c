/* SPDX-License-Identifier: MIT
 *
 * The "WordPiece" model (BERT): a word is the longest token that starts it, then the longest token
 * with "##" in front that goes on, and so forth; a word that does not work out is unknown. Most
 * words are tokens themselves and are found by one look-up; the others walk a trie.
 */
#include "tokenizer/word_piece.h"

#include "tokenizer/word_key.h"

#include <string.h>

struct word_piece {
    struct memory *memory;
    struct trie starts;      /* all tokens */
    struct trie goes_on;     /* tokens that go on, without their prefix */
    struct word_index whole; /* short tokens */
    char *prefix;
    int32_t unknown; /* -1: such words are an error */
    int64_t most_characters;
};

static void free_model(llm_tokenizer *tokenizer)
{
    struct word_piece *model = tokenizer->model;

    if (!model)
        return;
    trie_free(&model->starts);
    trie_free(&model->goes_on);
    word_index_free(&model->whole);
    memory_release(model->memory, model->prefix);
    memory_release(model->memory, model);
}

static llm_status index_token(struct word_piece *model, const struct vocab *vocab, int32_t id)
{
    const char *bytes = vocab_bytes(vocab, id);
    size_t size = vocab->entries[id].size;
    size_t prefix = strlen(model->prefix);
    llm_status status;

    /* Of tokens with the same text, one is found. */
    if (!(vocab->flags[id] & VOCAB_MODEL) || size == 0 || vocab_find(vocab, bytes, size) != id)
        return LLM_OK;
    status = trie_put(&model->starts, bytes, size, (uint32_t)id);
    if (!status && size > prefix && memcmp(bytes, model->prefix, prefix) == 0)
        status = trie_put(&model->goes_on, bytes + prefix, size - prefix, (uint32_t)id);
    if (!status && size <= WORD_KEY_MAX)
        word_index_put(
            &model->whole,
            word_key_load((const unsigned char *)bytes, size, (const unsigned char *)bytes + size),
            id);
    return status;
}

llm_status word_piece_build(llm_tokenizer *tokenizer, const char *unknown, const char *prefix,
                            int64_t most_characters)
{
    struct memory *memory = &tokenizer->context->memory;
    struct word_piece *model = memory_alloc_zeroed(memory, 1, sizeof *model);
    llm_status status;

    if (!model)
        return LLM_E_NOMEM;
    tokenizer->model = model;
    tokenizer->algorithm = &algorithm_word_piece;
    tokenizer->kind = LLM_TOKENIZER_WORDPIECE;
    model->memory = memory;
    model->most_characters = most_characters;
    trie_init(&model->starts, memory);
    trie_init(&model->goes_on, memory);
    model->prefix = memory_copy_text(memory, prefix, strlen(prefix));
    model->unknown = vocab_find(&tokenizer->vocab, unknown, strlen(unknown));
    tokenizer->special[LLM_TOKEN_UNK] = model->unknown;
    status =
        model->prefix ? word_index_init(&model->whole, memory, tokenizer->vocab.size) : LLM_E_NOMEM;
    for (size_t i = 0; i < tokenizer->vocab.size && !status; i++)
        status = index_token(model, &tokenizer->vocab, (int32_t)i);
    return status;
}

static llm_status read_model(llm_tokenizer *tokenizer, const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    const char *unknown = "[UNK]";
    const char *prefix = "##";
    int64_t most = 100;
    llm_status status = json_read_text(model, "unk_token", &unknown);

    if (!status)
        status = json_read_text(model, "continuing_subword_prefix", &prefix);
    if (!status)
        status = json_read_i64(model, "max_input_chars_per_word", 0, INT64_MAX, &most);
    if (!status)
        status = vocab_read(&tokenizer->vocab, json_object_get(model, "vocab"), false);
    if (!status)
        status = word_piece_build(tokenizer, unknown, prefix, most);
    return status_prefix(status, "model");
}

static void write_model(const llm_tokenizer *tokenizer, struct text *out)
{
    const struct word_piece *model = tokenizer->model;
    const struct vocab *vocab = &tokenizer->vocab;

    text_append_z(out, "{\n    \"type\": \"WordPiece\",\n    \"unk_token\": ");
    if (model->unknown >= 0)
        text_append_json(out, vocab_bytes(vocab, model->unknown),
                         vocab->entries[model->unknown].size);
    else
        text_append_z(out, "\"[UNK]\""); /* the format wants a name, though no token has it */
    text_append_z(out, ",\n    \"continuing_subword_prefix\": ");
    text_append_json(out, model->prefix, strlen(model->prefix));
    text_printf(out, ",\n    \"max_input_chars_per_word\": %lld,\n    \"vocab\": ",
                (long long)model->most_characters);
    vocab_write(vocab, false, false, out);
    text_append_z(out, "\n  }");
}

static llm_status put(int32_t id, size_t end, struct token_list *out, struct end_list *ends)
{
    llm_status status = token_list_reserve(out, 1);

    if (!status && ends)
        status = end_list_add(ends, end);
    if (!status)
        out->ids[out->count++] = id;
    return status;
}

static bool too_long(const struct word_piece *model, const unsigned char *word, size_t size)
{
    int64_t count = 0;

    if (size <= (uint64_t)model->most_characters)
        return false;
    for (size_t i = 0; i < size && count <= model->most_characters; count++) {
        size_t length;

        (void)mapped_char((const char *)word, size, i, &length);
        i += length;
    }
    return count > model->most_characters;
}

static llm_status encode_word(const llm_tokenizer *tokenizer, struct scratch *scratch,
                              const char *text, size_t size, struct token_list *out,
                              struct end_list *ends)
{
    const struct word_piece *model = tokenizer->model;
    const unsigned char *word = (const unsigned char *)text;
    const unsigned char *end = word + size;
    size_t ids_before = out->count;
    size_t ends_before = ends ? ends->count : 0;
    bool good = !too_long(model, word, size);
    llm_status status = LLM_OK;

    (void)scratch;
    if (good && size <= WORD_KEY_MAX) {
        int32_t id = word_index_find(&model->whole, word_key_load(word, size, end));

        if (id >= 0)
            return put(id, size, out, ends);
    }
    for (const unsigned char *p = word; p < end && good && !status;) {
        size_t length = 0;
        uint32_t id = trie_longest(p == word ? &model->starts : &model->goes_on, p, end, &length);

        good = id != trie_none;
        p += length;
        if (good)
            status = put((int32_t)id, (size_t)(p - word), out, ends);
    }
    if (status || good)
        return status;
    out->count = ids_before;
    if (ends)
        ends->count = ends_before;
    if (model->unknown < 0)
        return status_set(LLM_E_RANGE, "a word that no tokens make, and there is no unknown token");
    return put(model->unknown, size, out, ends);
}

const struct tokenizer_algorithm algorithm_word_piece = {
    .type = "WordPiece",
    .read = read_model,
    .write_model = write_model,
    .encode_word = encode_word,
    .free = free_model,
};
