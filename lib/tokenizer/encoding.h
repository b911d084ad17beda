/* SPDX-License-Identifier: MIT
 *
 * All there is to know of encoded texts: pairs, types, offsets, words, truncation into pieces.
 */
#ifndef TOKENIZER_ENCODING_H
#define TOKENIZER_ENCODING_H

#include "tokenizer/tokenizer.h"

enum { ENCODING_ARRAYS = 5, ENCODING_OFFSETS = 4 };

/* A stretch of the arrays. */
struct encoding_piece {
    size_t first;
    size_t count;
};

struct llm_encoding {
    struct memory *memory;
    llm_context *context;
    int32_t *arrays[ENCODING_ARRAYS];  /* by LLM_ENCODING_* */
    size_t *offsets[ENCODING_OFFSETS]; /* by LLM_OFFSETS_* */
    struct encoding_piece *pieces;
    size_t piece_count;
};

/* `pair` NULL: one text. Options are checked by the caller. */
llm_status encoding_new(llm_encoding **out, const llm_tokenizer *tokenizer, const char *text,
                        size_t size, const char *pair, size_t pair_size,
                        const llm_encoding_options *options);
void encoding_free(llm_encoding *encoding);

#endif
