/* SPDX-License-Identifier: MIT
 *
 * Batches: many sessions of one model that generate together, in one run of the model per step.
 */
#ifndef LLM_BATCH_H
#define LLM_BATCH_H

#include "session.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Sessions in one cache. Those that were started take part in every step, each with its own
 *  options: one run of the model takes one token of every session that is generating and a piece of
 *  the prompts that are not read yet. A session that begins as another one of the batch does uses
 *  what that one has in memory.
 *  @threads one thread at a time for a batch and all of its sessions; llm_session_cancel() from
 * any.
 */
typedef struct llm_batch llm_batch;

/** Options of llm_batch_new(). Fill with llm_batch_options_init(), then assign. */
typedef struct llm_batch_options {
    size_t struct_size;
    /** Most tokens that all sessions together hold in memory, rounded up to pages; what sessions
     *  share counts once. 0 (default): no limit. */
    int64_t max_tokens;
    int64_t session_tokens; /**< most tokens of one session; 0 (default): the context length */
    int64_t step_tokens;    /**< most tokens in one run of the model; default 256. Sessions that
                                 generate come first */
    int32_t share_prefixes; /**< 1 (default): new sessions use what others hold of their prompt */
    int32_t reserved;       /**< 0 */
} llm_batch_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_batch_options). */
LLM_API llm_status llm_batch_options_init(llm_batch_options *options, size_t struct_size);

/** Create a batch without sessions.
 *  @param out receives the batch, NULL on failure; free with llm_batch_free().
 *  @param tokenizer of all sessions; NULL: token ids only. @param options NULL for defaults.
 *  @return as llm_session_new(). */
LLM_API llm_status llm_batch_new(llm_batch **out, llm_model *model, llm_tokenizer *tokenizer,
                                 const llm_batch_options *options);

/** Sessions stay, stopped, and can be used by themselves. NULL is allowed. */
LLM_API void llm_batch_free(llm_batch *batch);

/** An empty session of the batch. While it is not started it is a session like any other.
 *  @param out receives the session, NULL on failure; free with llm_session_free(), at any time.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_NOMEM. */
LLM_API llm_status llm_batch_session(llm_session **out, llm_batch *batch);

/** Append a prompt to a session and let it take part in the steps to come, until it ends for one of
 *  the reasons of llm_session_generate(); functions that change the session are LLM_E_BUSY until
 *  then. Results are read from the session.
 *  @param session of this batch, not started.
 *  @param ids `count` tokens; 0 to go on with those that are there.
 *  @param options as for llm_session_generate(), without draft and lookup; NULL for defaults. What
 *  they point to must stay until the session has ended.
 *  @return LLM_OK, LLM_E_INVALID (also: no tokens at all), LLM_E_RANGE, LLM_E_UNSUPPORTED (draft,
 *  lookup), LLM_E_BUSY (it is started), LLM_E_NOMEM. */
LLM_API llm_status llm_batch_start(llm_batch *batch, llm_session *session, const int32_t *ids,
                                   size_t count, const llm_generate_options *options);

/** One run of the model over all sessions that were started and have not ended.
 *  @param running_out receives how many are left; may be NULL.
 *  @return LLM_OK, also when none is left; LLM_E_INVALID; LLM_E_NOMEM, LLM_E_RANGE (max_tokens): no
 *  session moved, stop one and go on. A session that fails by itself (LLM_E_NUMERIC, ...) ends with
 *  LLM_STOP_NONE; the others go on, and its status is returned. One that is cancelled, by its
 *  callback or llm_session_cancel(), ends with LLM_STOP_CANCELLED, and that is no failure. */
LLM_API llm_status llm_batch_step(llm_batch *batch, size_t *running_out);

/** Steps until no session is left; the first failure ends it. As llm_batch_step(). */
LLM_API llm_status llm_batch_run(llm_batch *batch);

/** Take a session out of the steps; what it has generated stays, and it can be started again.
 *  @return LLM_OK, also when it was not started; LLM_E_INVALID (not of this batch). */
LLM_API llm_status llm_batch_stop(llm_batch *batch, llm_session *session);

#ifdef __cplusplus
}
#endif

#endif
