/* SPDX-License-Identifier: MIT
 *
 * One token per Unicode character. In tokenizer.json: a WordLevel model behind a Split that makes
 * every character a word, and the decoder Fuse.
 */
#ifndef TOKENIZER_CHARACTERS_H
#define TOKENIZER_CHARACTERS_H

#include "tokenizer/pipeline.h"

/* Make the model from the one-character tokens of tokenizer->vocab. `unknown` -1: no unknown token.
 */
llm_status characters_build(llm_tokenizer *tokenizer, int32_t unknown);

#endif
