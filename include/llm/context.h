/* SPDX-License-Identifier: MIT
 *
 * The context: allocator, log, threads, limits. Everything else is created from one.
 */
#ifndef LLM_CONTEXT_H
#define LLM_CONTEXT_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Root of all handles. Independent contexts share nothing. Immutable after creation: share it
 *  freely between threads. Reference-counted inside: handles made from it keep it alive, so handles
 *  may be freed in any order. */
typedef struct llm_context llm_context;

/** Allocator hooks. `alloc` returns `size` bytes aligned to `alignment` (a power of two) or NULL;
 *  `release` gets the same size. Called from any thread. */
typedef void *(*llm_alloc_fn)(void *user, size_t size, size_t alignment);
typedef void (*llm_release_fn)(void *user, void *pointer, size_t size);

/** Log levels, least to most verbose. */
enum { LLM_LOG_ERROR = 0, LLM_LOG_WARNING = 1, LLM_LOG_INFO = 2, LLM_LOG_DEBUG = 3 };

/** Log sink: ready text, one line without newline. Must not call back into libllm. */
typedef void (*llm_log_fn)(void *user, int32_t level, const char *message);

/** Instruction set caps, for testing and reproducibility. */
enum {
    LLM_ISA_AUTO = 0,   /**< the best the machine has */
    LLM_ISA_SCALAR = 1, /**< portable C */
    LLM_ISA_AVX2 = 2,   /**< at most AVX2 + FMA + F16C */
    LLM_ISA_AVX512 = 3, /**< at most AVX-512 F/BW/DQ/VL */
    LLM_ISA_NEON = 4    /**< Advanced SIMD (aarch64) */
};

/** Options of llm_context_new(). Fill with llm_context_options_init(), then assign. */
typedef struct llm_context_options {
    size_t struct_size;     /**< set by llm_context_options_init() */
    llm_alloc_fn alloc;     /**< NULL with release NULL: the C allocator */
    llm_release_fn release; /**< both or neither */
    void *alloc_user;
    llm_log_fn log; /**< NULL: silent */
    void *log_user;
    uint64_t memory_limit; /**< bytes libllm may hold through the allocator; 0: unlimited */
    uint64_t seed;         /**< default seed of everything random; default 42 */
    int32_t log_level;     /**< highest level delivered; default LLM_LOG_WARNING */
    int32_t threads;       /**< kernel threads, 1..1024; 0: one per available core */
    int32_t isa;           /**< LLM_ISA_*: cap on the instruction set; default LLM_ISA_AUTO */
    int32_t reserved;      /**< 0 */
} llm_context_options;

/** Fill `options` with defaults.
 *  @param options receives the defaults.
 *  @param struct_size sizeof(llm_context_options) as the caller was compiled. */
LLM_API llm_status llm_context_options_init(llm_context_options *options, size_t struct_size);

/** Create a context.
 *  @param out receives the context, NULL on failure; free with llm_context_free().
 *  @param options NULL for defaults.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE, LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_context_new(llm_context **out, const llm_context_options *options);

/** Give up the caller's reference. NULL is allowed. Objects made from it stay valid. */
LLM_API void llm_context_free(llm_context *context);

/** Bytes now held through the allocator, and the most ever held. Either pointer may be NULL.
 *  @threads any. */
LLM_API llm_status llm_context_memory(uint64_t *used_out, uint64_t *peak_out,
                                      const llm_context *context);

/** Number of threads kernels use. 0 for NULL. */
LLM_API int32_t llm_context_threads(const llm_context *context);

/** One line on what runs here: instruction set, threads, choice of matrix product, for example
 *  "avx512 x 2 threads, sgemm: own". Valid as long as the context. "" for NULL. */
LLM_API const char *llm_context_description(const llm_context *context);

#ifdef __cplusplus
}
#endif

#endif
