/* SPDX-License-Identifier: MIT
 *
 * Version, status codes and the last error. Included by <llm.h>; see doc/guide.md.
 */
#ifndef LLM_STATUS_H
#define LLM_STATUS_H

#include <stddef.h>
#include <stdint.h>

#ifndef LLM_API
#if defined(_WIN32)
#define LLM_API
#elif defined(__GNUC__)
#define LLM_API __attribute__((visibility("default")))
#else
#define LLM_API
#endif
#endif

#define LLM_VERSION_MAJOR 0
#define LLM_VERSION_MINOR 1
#define LLM_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/** The result of every call that can fail: LLM_OK, or one of the negative codes below.
 *  New codes may be added; treat an unknown negative value as a failure. */
typedef int32_t llm_status;

enum {
    LLM_OK = 0,
    LLM_E_NOMEM = -1,   /**< the allocator said no, or the memory limit was reached */
    LLM_E_INVALID = -2, /**< an argument breaks the contract (NULL, wrong handle, freed order) */
    LLM_E_SHAPE = -3,   /**< tensor shapes or dtypes do not fit together */
    LLM_E_RANGE = -4,   /**< a value lies outside its permitted range */
    LLM_E_IO = -5,      /**< the operating system refused to open, read or write */
    LLM_E_FORMAT = -6,  /**< a file or text does not follow its format */
    LLM_E_UNSUPPORTED = -7, /**< well-formed, but asks for something libllm does not do */
    LLM_E_BUFFER = -8,      /**< the caller's buffer is too small; the needed size was written */
    LLM_E_BUSY = -9,        /**< the object is in use in a way that excludes this call */
    LLM_E_CANCELLED =
        -10,             /**< a callback or llm_*_cancel() asked to stop; the object stays valid */
    LLM_E_NUMERIC = -11, /**< NaN or infinity where a number was needed */
    LLM_E_INTERNAL = -12 /**< a bug in libllm; please report it */
};

/** Name of a status code, for example "LLM_E_SHAPE"; "unknown" for other values.
 *  @return static text. @threads any. */
LLM_API const char *llm_status_name(llm_status status);

/** One line, without newline, that says what failed and where, for the last call on this thread
 *  that failed; "" when none has.
 *  @return text owned by the library, valid until the next libllm call on this thread.
 *  @threads each thread has its own. */
LLM_API const char *llm_last_error(void);

/** Version of the library that is running: major * 1000000 + minor * 1000 + patch.
 *  @threads any. */
LLM_API int32_t llm_version(void);

/** The running library's version as text, for example "0.1.0". @threads any. */
LLM_API const char *llm_version_string(void);

#ifdef __cplusplus
}
#endif

#endif
