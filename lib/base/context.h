/* SPDX-License-Identifier: MIT
 *
 * The inside of llm_context: what every layer may need from its caller. Immutable after creation.
 */
#ifndef BASE_CONTEXT_H
#define BASE_CONTEXT_H

#include "base/memory.h"
#include "llm/context.h"

struct kernels; /* kernels/kernels.h; the api layer fills the table */

struct llm_context {
    _Atomic int references;
    struct memory memory;
    llm_log_fn log;
    void *log_user;
    int32_t log_level;
    int threads;
    uint32_t cpu; /* CPU_* */
    uint64_t seed;
    const struct kernels *kernels;
    char description[128];
};

llm_context *context_retain(llm_context *context);
void context_release(llm_context *context); /* NULL allowed; the last one frees */

/* Text for the log callback; nothing happens when the level is above the context's. */
void log_message(const llm_context *context, int32_t level, const char *format, ...)
    PRINTF_LIKE(3, 4);

#endif
