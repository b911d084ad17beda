/* SPDX-License-Identifier: MIT
 *
 * Tokenizers in GGUF files: the keys "tokenizer.ggml.*" and the flat arrays of
 * tokenizer/vocabulary_arrays.h.
 */
#ifndef MODELS_GGUF_VOCABULARY_H
#define MODELS_GGUF_VOCABULARY_H

#include "base/text.h"
#include "formats/gguf.h"
#include "tokenizer/tokenizer.h"

/* LLM_E_FORMAT when the file holds none. */
llm_status gguf_to_tokenizer(llm_tokenizer **out, llm_context *context, const struct gguf *gguf);
llm_status gguf_from_tokenizer(struct gguf *gguf, const llm_tokenizer *tokenizer);

/* Any tokenizer file, or one inside a GGUF file or a directory with one. */
llm_status tokenizer_of_path(llm_tokenizer **out, llm_context *context, const char *path);

/* The chat template of a GGUF file, `name` NULL for its default: appended to `out`. *found: the
 * path is such a file; else nothing is done. */
llm_status gguf_template_of_path(struct text *out, bool *found, llm_context *context,
                                 const char *path, const char *name);

#endif
