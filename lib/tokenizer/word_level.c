/* SPDX-License-Identifier: MIT
 *
 * The "WordLevel" model: a word is a token or unknown.
 */
#include "tokenizer/pipeline.h"

#include <string.h>

struct word_level {
    int32_t unknown; /* -1: such words are an error */
};

static void free_model(llm_tokenizer *tokenizer)
{
    memory_release(&tokenizer->context->memory, tokenizer->model);
}

static llm_status read_model(llm_tokenizer *tokenizer, const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    struct word_level *word_level =
        memory_alloc_zeroed(&tokenizer->context->memory, 1, sizeof *word_level);
    const char *unknown = "<unk>";
    llm_status status;

    tokenizer->model = word_level;
    if (!word_level)
        return LLM_E_NOMEM;
    status = vocab_read(&tokenizer->vocab, json_object_get(model, "vocab"), false);
    if (!status)
        status = json_read_text(model, "unk_token", &unknown);
    if (status)
        return status_prefix(status, "model");
    word_level->unknown = vocab_find(&tokenizer->vocab, unknown, strlen(unknown));
    tokenizer->kind = LLM_TOKENIZER_WORDS;
    tokenizer->special[LLM_TOKEN_UNK] = word_level->unknown;
    return LLM_OK;
}

static void write_model(const llm_tokenizer *tokenizer, struct text *out)
{
    const struct word_level *word_level = tokenizer->model;
    const struct vocab *vocab = &tokenizer->vocab;

    text_append_z(out, "{\n    \"type\": \"WordLevel\",\n    \"vocab\": ");
    vocab_write(vocab, false, false, out);
    text_append_z(out, ",\n    \"unk_token\": ");
    if (word_level->unknown >= 0)
        text_append_json(out, vocab_bytes(vocab, word_level->unknown),
                         vocab->entries[word_level->unknown].size);
    else
        text_append_z(out, "\"<unk>\""); /* the format wants a name, though no token has it */
    text_append_z(out, "\n  }");
}

static llm_status encode_word(const llm_tokenizer *tokenizer, struct scratch *scratch,
                              const char *word, size_t size, struct token_list *out,
                              struct end_list *ends)
{
    const struct word_level *word_level = tokenizer->model;
    int32_t id = vocab_find(&tokenizer->vocab, word, size);
    llm_status status = token_list_reserve(out, 1);

    (void)scratch;
    if (id < 0 || !(tokenizer->vocab.flags[id] & VOCAB_MODEL))
        id = word_level->unknown;
    if (id < 0)
        return status_set(LLM_E_RANGE, "a word that is no token, and there is no unknown token");
    if (!status && ends)
        status = end_list_add(ends, size);
    if (!status)
        out->ids[out->count++] = id;
    return status;
}

const struct tokenizer_algorithm algorithm_word_level = {
    .type = "WordLevel",
    .read = read_model,
    .write_model = write_model,
    .encode_word = encode_word,
    .free = free_model,
};
