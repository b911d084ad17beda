/* SPDX-License-Identifier: MIT
 *
 * Until tokenizers are made from arrays: an error that says so. The definitions of
 * tokenizer/vocabulary_arrays.h take the place of these.
 */
#include "tokenizer/vocabulary_arrays.h"

#include <string.h>

#define REPLACED __attribute__((weak))

REPLACED void vocabulary_arrays_init(struct vocabulary_arrays *arrays)
{
    memset(arrays, 0, sizeof *arrays);
}

static llm_status unsupported(void)
{
    return status_set(LLM_E_UNSUPPORTED,
                      "tokenizers in GGUF files are not supported: leave it out");
}

REPLACED llm_status tokenizer_from_arrays(llm_tokenizer **out, llm_context *context,
                                          const struct vocabulary_arrays *arrays)
{
    (void)context;
    (void)arrays;
    *out = NULL;
    return unsupported();
}

REPLACED llm_status tokenizer_to_arrays(struct vocabulary_arrays *out, struct arena *arena,
                                        const llm_tokenizer *tokenizer)
{
    (void)out;
    (void)arena;
    (void)tokenizer;
    return unsupported();
}
