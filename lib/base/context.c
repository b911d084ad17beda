/* SPDX-License-Identifier: MIT */
#include "base/context.h"

#include <stdarg.h>
#include <stdio.h>

llm_context *context_retain(llm_context *context)
{
    atomic_fetch_add(&context->references, 1);
    return context;
}

/* The context lives in its own allocator, so the hooks are copied out before the block goes. */
void context_release(llm_context *context)
{
    struct memory memory;

    if (!context || atomic_fetch_sub(&context->references, 1) != 1)
        return;
    memory.alloc = context->memory.alloc;
    memory.release = context->memory.release;
    memory.user = context->memory.user;
    memory.limit = 0;
    atomic_init(&memory.used, 0);
    atomic_init(&memory.peak, 0);
    memory_release(&memory, context);
}

void log_message(const llm_context *context, int32_t level, const char *format, ...)
{
    char text[512];
    va_list args;

    if (!context->log || level > context->log_level)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    context->log(context->log_user, level, text);
}
