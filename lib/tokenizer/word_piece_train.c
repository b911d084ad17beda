/* SPDX-License-Identifier: MIT
 *
 * What training a WordPiece vocabulary has of its own; the merges are those of byte-pair encoding
 * (bpe_train.c), as in Hugging Face tokenizers: not Google's criterion, which is not published.
 */
#include "tokenizer/word_piece.h"

#include "base/text.h"

#include <string.h>

llm_status word_piece_stages(llm_tokenizer *tokenizer, bool lowercase)
{
    json_t *root = NULL;
    struct text text;
    llm_status status;

    text_init(&text, &tokenizer->context->memory);
    text_printf(&text,
                "{\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
                "\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":%s},"
                "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
                "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}}",
                lowercase ? "true" : "false");
    status = text.failed ? LLM_E_NOMEM : json_open(&root, text.data, text.size, "stages");
    if (!status)
        status = huggingface_read_stages(tokenizer, root);
    json_decref(root);
    text_free(&text);
    return status;
}

llm_status word_piece_count(const llm_tokenizer *tokenizer, struct scratch *scratch,
                            const char *text, size_t size, struct word_counter *counter)
{
    struct words *words = &scratch->words;
    llm_status status = mapped_load(&words->text, text, size, false, true, false);

    if (!status)
        status = normalizer_run(&tokenizer->normalizer, &scratch->normalizing, &words->text,
                                &words->spare);
    words->failed = false;
    words->spare_words.count = 0;
    words_add(words, 0, words->text.size);
    words_swap(words, false);
    if (!status)
        status = words->failed ? LLM_E_NOMEM : pre_tokenizer_run(&tokenizer->pre_tokenizer, words);
    for (size_t i = 0; i < words->words.count && !status; i++) {
        struct word_span word = words->words.list[i];

        status = word_counter_put(counter, words->text.data + word.begin, word.end - word.begin);
    }
    return status;
}

static llm_status put(struct vocab *vocab, const char *prefix, uint32_t c)
{
    char name[32];
    size_t size = strlen(prefix);

    memcpy(name, prefix, size);
    size += (size_t)utf8_encode(c, name + size);
    if (vocab_find(vocab, name, size) >= 0)
        return LLM_OK;
    return vocab_put(vocab, (int64_t)vocab->size, name, size, VOCAB_MODEL);
}

llm_status word_piece_alphabet(struct vocab *vocab, const struct word_table *words,
                               const char *prefix)
{
    enum { BITS = 0x110000 };
    uint8_t *seen = memory_alloc_zeroed(vocab->memory, BITS, 1); /* 1: at all, 2: not first */
    llm_status status = seen ? LLM_OK : LLM_E_NOMEM;

    for (size_t i = 0; i < words->count && !status; i++) {
        const struct word *word = &words->words[i];

        for (size_t at = 0; at < word->size;) {
            size_t length;
            uint32_t c = mapped_char(word->text, word->size, at, &length);

            if (c < BITS)
                seen[c] |= (uint8_t)(1 | (at > 0 ? 2 : 0));
            at += length;
        }
    }
    for (int pass = 1; pass <= 2 && !status; pass++) {
        for (uint32_t c = 0; c < BITS && !status; c++) {
            if (seen[c] & pass)
                status = put(vocab, pass == 1 ? "" : prefix, c);
        }
    }
    memory_release(vocab->memory, seen);
    return status;
}
