/* SPDX-License-Identifier: MIT */
#ifndef TOKENIZER_WORD_PIECE_H
#define TOKENIZER_WORD_PIECE_H

#include "tokenizer/pipeline.h"
#include "tokenizer/word_count.h"

/* Make the model for a tokenizer whose vocabulary is complete but for added tokens. */
llm_status word_piece_build(llm_tokenizer *tokenizer, const char *unknown, const char *prefix,
                            int64_t most_characters);

/* Training, word_piece_train.c: BERT's stages; counting the words that they cut a document into;
 * the characters of the words as tokens, by code point, then those that do not start words. */
llm_status word_piece_stages(llm_tokenizer *tokenizer, bool lowercase);
llm_status word_piece_count(const llm_tokenizer *tokenizer, struct scratch *scratch,
                            const char *text, size_t size, struct word_counter *counter);
llm_status word_piece_alphabet(struct vocab *vocab, const struct word_table *words,
                               const char *prefix);

#endif
