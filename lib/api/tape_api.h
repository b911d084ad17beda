/* SPDX-License-Identifier: MIT
 *
 * What the public operations share: checks on the way in, the sticky status on the way out.
 */
#ifndef API_TAPE_API_H
#define API_TAPE_API_H

#include "api/check.h"
#include "graph/op.h"
#include "llm/tape.h"

struct llm_tape {
    struct cx cx;
};

/* LLM_OK if the operation may run: *out cleared, no earlier failure, every input non-NULL, f32, and
 * made on the heap or by this tape. */
llm_status enter(llm_tensor **out, llm_tape *tape, const char *name, int inputs,
                 llm_tensor *const *in);

/* The same for inputs that may be NULL or of another dtype: checks only the owner. */
llm_status enter_optional(llm_tape *tape, const char *name, const char *argument,
                          const llm_tensor *in);

/* Hands the result over, or the tape's failure. */
llm_status leave(llm_tensor **out, const llm_tape *tape, llm_tensor *result);

#endif
