/* SPDX-License-Identifier: MIT
 *
 * Training: from documents to a tokenizer. The documents come one by one from a source; what is
 * kept of them is a table of words with counts (byte pairs), a set of characters, or nothing
 * (bytes).
 */
#ifndef TOKENIZER_TRAIN_H
#define TOKENIZER_TRAIN_H

#include "tokenizer/tokenizer.h"

/* The next document: 1 and *text, *size (valid until the next call), 0 at the end, or a negative
 * llm_status. */
struct text_source {
    int32_t (*next)(void *user, const char **text, size_t *size);
    void *user;
};

/* `options` are checked by the caller; the special tokens are not NULL. */
llm_status tokenizer_train(llm_tokenizer **out, llm_context *context, struct text_source source,
                           const llm_tokenizer_train_options *options);

/* The pieces of a unigram model, into an empty tokenizer. */
llm_status tokenizer_train_pieces(llm_tokenizer *tokenizer, struct text_source source,
                                  const llm_tokenizer_train_options *options);

/* A tokenizer of 256 byte tokens (ids = bytes) and special tokens behind them. */
llm_status tokenizer_new_bytes(llm_tokenizer **out, llm_context *context,
                               const char *const *special_tokens, size_t special_count);

#endif
