/* SPDX-License-Identifier: MIT
 *
 * Argument checks shared by the public functions.
 */
#ifndef API_CHECK_H
#define API_CHECK_H

#include "base/status.h"

#include <stdbool.h>

/* Copy the caller's options struct `theirs` over `mine`, which the caller of this function has
 * filled with defaults. Both start with size_t struct_size. A shorter struct (older program) leaves
 * the newer fields at their defaults; a longer one (newer program) must have zeros where this
 * library has no fields. `theirs` NULL changes nothing. LLM_E_INVALID names `what` (the struct's
 * type). */
llm_status options_read(void *mine, size_t mine_size, const void *theirs, const char *what);

/* The body of every llm_x_options_init(): copy the defaults into the caller's struct, which may be
 * shorter or longer than ours (the rest becomes zero), and set its struct_size. */
llm_status options_fill(void *theirs, size_t theirs_size, const void *defaults,
                        size_t defaults_size, const char *what);

/* LLM_E_INVALID "function: argument is NULL". */
llm_status null_argument(const char *function, const char *argument);

/* True for valid UTF-8. */
bool text_is_utf8(const char *text, size_t size);

#endif
