/* SPDX-License-Identifier: MIT
 *
 * Version, status names and contexts: llm/status.h and llm/context.h.
 */
#include "api/check.h"
#include "base/context.h"
#include "base/cpu.h"
#include "base/parallel.h"
#include "kernels/kernels.h"
#include "llm/context.h"

#include <stdio.h>
#include <string.h>

/* A context and the kernel table it points to are one block. */
struct context_block {
    llm_context context;
    struct kernels kernels;
};

const char *llm_status_name(llm_status status)
{
    static const char *const names[] = {
        "LLM_OK",          "LLM_E_NOMEM",   "LLM_E_INVALID",     "LLM_E_SHAPE",  "LLM_E_RANGE",
        "LLM_E_IO",        "LLM_E_FORMAT",  "LLM_E_UNSUPPORTED", "LLM_E_BUFFER", "LLM_E_BUSY",
        "LLM_E_CANCELLED", "LLM_E_NUMERIC", "LLM_E_INTERNAL"};

    if (status > 0 || status <= -(int32_t)(sizeof names / sizeof names[0]))
        return "unknown";
    return names[-status];
}

const char *llm_last_error(void)
{
    return status_message();
}

int32_t llm_version(void)
{
    return LLM_VERSION_MAJOR * 1000000 + LLM_VERSION_MINOR * 1000 + LLM_VERSION_PATCH;
}

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *llm_version_string(void)
{
    return TEXT(LLM_VERSION_MAJOR) "." TEXT(LLM_VERSION_MINOR) "." TEXT(LLM_VERSION_PATCH);
}

static const llm_context_options default_options = {
    .struct_size = sizeof default_options, .seed = 42, .log_level = LLM_LOG_WARNING};

llm_status llm_context_options_init(llm_context_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_options, sizeof default_options,
                        "llm_context_options");
}

static llm_status check_options(const llm_context_options *options)
{
    if (!options->alloc != !options->release)
        return status_set(LLM_E_INVALID, "alloc and release must be given together");
    if (options->threads < 0 || options->threads > 1024)
        return status_set(LLM_E_RANGE, "threads is %d, outside 0..1024", options->threads);
    if (options->log_level < LLM_LOG_ERROR || options->log_level > LLM_LOG_DEBUG)
        return status_set(LLM_E_RANGE, "log_level is %d, outside %d..%d", options->log_level,
                          LLM_LOG_ERROR, LLM_LOG_DEBUG);
    if (options->isa < LLM_ISA_AUTO || options->isa > LLM_ISA_NEON)
        return status_set(LLM_E_RANGE, "isa is %d, outside %d..%d", options->isa, LLM_ISA_AUTO,
                          LLM_ISA_NEON);
    if (options->reserved != 0)
        return status_set(LLM_E_INVALID, "reserved is not 0");
    return LLM_OK;
}

/* The block is allocated through a memory that is then moved into it, counters included. */
llm_status llm_context_new(llm_context **out, const llm_context_options *given)
{
    llm_context_options options = default_options;
    struct context_block *block;
    struct memory memory;
    llm_context *context;
    llm_status status;

    if (!out)
        return status_set(LLM_E_INVALID, "out is NULL");
    *out = NULL;
    status = options_read(&options, sizeof options, given, "llm_context_options");
    if (!status)
        status = check_options(&options);
    if (status)
        return status;
    memory_init(&memory, &options);
    block = memory_alloc_zeroed(&memory, 1, sizeof *block);
    if (!block)
        return LLM_E_NOMEM;
    context = &block->context;
    atomic_init(&context->references, 1);
    memory_init(&context->memory, &options);
    atomic_store(&context->memory.used, atomic_load(&memory.used));
    atomic_store(&context->memory.peak, atomic_load(&memory.peak));
    context->log = options.log;
    context->log_user = options.log_user;
    context->log_level = options.log_level;
    context->threads = options.threads ? options.threads : parallel_available_cores();
    context->cpu = cpu_features(options.isa);
    context->seed = options.seed;
    kernels_fill(&block->kernels, context->cpu);
    context->kernels = &block->kernels;
    (void)snprintf(context->description, sizeof context->description, "%s x %d thread%s",
                   cpu_level_name(context->cpu), context->threads,
                   context->threads == 1 ? "" : "s");
    *out = context;
    return LLM_OK;
}

void llm_context_free(llm_context *context)
{
    context_release(context);
}

llm_status llm_context_memory(uint64_t *used_out, uint64_t *peak_out, const llm_context *context)
{
    if (!context)
        return status_set(LLM_E_INVALID, "context is NULL");
    if (used_out)
        *used_out = atomic_load(&context->memory.used);
    if (peak_out)
        *peak_out = atomic_load(&context->memory.peak);
    return LLM_OK;
}

int32_t llm_context_threads(const llm_context *context)
{
    return context ? context->threads : 0;
}

const char *llm_context_description(const llm_context *context)
{
    return context ? context->description : "";
}
