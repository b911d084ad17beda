/* SPDX-License-Identifier: MIT
 *
 * The normalizer "Precompiled": SentencePiece's character map.
 */
#include "tokenizer/normalizer.h"

static llm_status read_map(void **data, struct memory *memory, const json_t *stage)
{
    (void)data;
    (void)memory;
    (void)stage;
    return status_set(LLM_E_UNSUPPORTED, "precompiled character maps are not supported");
}

const struct normalizer_type normalizer_precompiled = {.type = "Precompiled", .read = read_map};
