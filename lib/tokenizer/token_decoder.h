/* SPDX-License-Identifier: MIT
 *
 * The field "decoder" of tokenizer.json: stages that turn the texts of tokens into the text they
 * stand for. A stage = one function and one line in the table of token_decoder.c. Tokenizers whose
 * tokens decode to their own bytes do not come here (decode.c).
 */
#ifndef TOKENIZER_TOKEN_DECODER_H
#define TOKENIZER_TOKEN_DECODER_H

#include "base/json.h"

/* Texts of tokens, one behind the other. */
struct token_texts {
    struct text text;
    size_t *ends;
    size_t count;
    size_t capacity;
};

void token_texts_init(struct token_texts *texts, struct memory *memory);
void token_texts_free(struct token_texts *texts);
void token_texts_clear(struct token_texts *texts);
/* What was appended to ->text since the last token is one; failures show in text.failed. */
void token_texts_end(struct token_texts *texts);

static inline const char *token_text(const struct token_texts *texts, size_t i, size_t *size)
{
    size_t begin = i ? texts->ends[i - 1] : 0;

    *size = texts->ends[i] - begin;
    return texts->text.data ? texts->text.data + begin : "";
}

struct token_decoder_type {
    const char *type; /* as in the file */
    /* Fill *data (may stay NULL) from the stage's object. */
    llm_status (*read)(void **data, struct memory *memory, const json_t *stage);
    /* Append what the tokens of `in` become to `out`. `raw`: bytes that are not UTF-8 stay. */
    llm_status (*apply)(const void *data, const struct token_texts *in, struct token_texts *out,
                        bool raw);
    void (*free)(void *data, struct memory *memory); /* NULL: memory_release(data) */
};

struct token_decoder_stage {
    const struct token_decoder_type *type;
    void *data;
};

/* All stages in a row, sequences laid flat. */
struct token_decoder {
    struct memory *memory;
    struct token_decoder_stage *stages;
    size_t count;
    size_t capacity;
};

/* `json` NULL or null: no stages, and tokens are joined with spaces. */
llm_status token_decoder_read(struct token_decoder *decoder, struct memory *memory,
                              const json_t *json);
void token_decoder_free(struct token_decoder *decoder);
/* Is it one stage, of this type? */
bool token_decoder_is(const struct token_decoder *decoder, const char *type);
bool token_decoder_has(const struct token_decoder *decoder, const char *type);

/* Append the text of the tokens, which are used up, to `out`. */
llm_status token_decoder_run(const struct token_decoder *decoder, struct token_texts *tokens,
                             bool raw, struct text *out);

/* The stages. */
extern const struct token_decoder_type token_decoder_bpe;
extern const struct token_decoder_type token_decoder_byte_level;
extern const struct token_decoder_type token_decoder_word_piece;
extern const struct token_decoder_type token_decoder_metaspace;
extern const struct token_decoder_type token_decoder_ctc;
extern const struct token_decoder_type token_decoder_replace;
extern const struct token_decoder_type token_decoder_fuse;
extern const struct token_decoder_type token_decoder_strip;
extern const struct token_decoder_type token_decoder_byte_fallback;

/* Append `data` with U+FFFD for each stretch of bytes that is not UTF-8. With `more` to come, an
 * unfinished character at the end stays out; the bytes taken are returned. */
size_t append_valid(struct text *out, const char *data, size_t size, bool more);

#endif
