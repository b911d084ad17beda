/* SPDX-License-Identifier: MIT
 *
 * A field of tokenizer.json that holds one stage or a (nested) Sequence of them.
 */
#ifndef TOKENIZER_STAGE_LIST_H
#define TOKENIZER_STAGE_LIST_H

#include "base/json.h"

enum { STAGE_LIST_DEPTH = 16, STAGE_LIST_MOST = 256 };

/* The "type" of a stage of the file; "null" when there is none. */
const char *stage_type(const json_t *stage);

/* A required field of a stage that holds text. */
llm_status stage_read_text(const json_t *stage, const char *key, const char **text, size_t *size);

/* Call `add` for each stage in order, sequences (whose stages are in `list_key`) laid flat. `field`
 * names the place in messages; NULL or null: nothing to do. LLM_E_RANGE: too deep or too many. */
llm_status stage_list_walk(const json_t *json, const char *field, const char *list_key,
                           llm_status (*add)(void *user, const json_t *stage, const char *type),
                           void *user);

#endif
