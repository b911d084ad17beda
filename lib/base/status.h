/* SPDX-License-Identifier: MIT
 *
 * Failure inside the library: a code is returned, one line of text is left for the calling thread.
 * The lowest layer that knows the cause sets the text; upper layers pass the code on and may put
 * their position in front of the text with status_prefix(), never replace it.
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include "llm/status.h"

#if defined(__GNUC__)
#define PRINTF_LIKE(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define PRINTF_LIKE(format_index, first)
#endif

/* Record the message for this thread and return `code`. */
llm_status status_set(llm_status code, const char *format, ...) PRINTF_LIKE(2, 3);

/* Put "where: " before the recorded message; returns `code`. No-op when code is LLM_OK. */
llm_status status_prefix(llm_status code, const char *format, ...) PRINTF_LIKE(2, 3);

const char *status_message(void);

/* Used to carry an error from a worker thread or from a cx to the calling thread. */
void status_restore(const char *message);

#endif
