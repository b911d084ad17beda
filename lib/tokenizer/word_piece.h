/* SPDX-License-Identifier: MIT */
#ifndef TOKENIZER_WORD_PIECE_H
#define TOKENIZER_WORD_PIECE_H

#include "tokenizer/pipeline.h"

/* Make the model for a tokenizer whose vocabulary is complete but for added tokens. */
llm_status word_piece_build(llm_tokenizer *tokenizer, const char *unknown, const char *prefix,
                            int64_t most_characters);

#endif
