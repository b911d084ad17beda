/* SPDX-License-Identifier: MIT
 *
 * The inside of llm_batch: sessions in one KV cache, stepped together. Called by api/batch_api.c,
 * which checks arguments, and by session.c when a session is freed.
 */
#ifndef GENERATE_SESSION_BATCH_H
#define GENERATE_SESSION_BATCH_H

#include "generate/session.h"
#include "llm/batch.h"

struct llm_batch {
    llm_context *context;
    llm_model *model;
    llm_tokenizer *tokenizer; /* or NULL */
    llm_batch_options options;
    bool is_model_locked;
    struct kv_cache *cache;
    struct stepper stepper;
    struct batch_member {
        llm_session *session;
        llm_generate_options options;
        bool is_running;
    } * members; /* in the order they came */
    size_t count, capacity;
    struct step_part *parts; /* of one step */
    size_t *movers;          /* which members they are of */
    size_t part_capacity, mover_capacity;
    float *logits; /* [parts, V] */
    size_t logit_capacity;
};

llm_status session_batch_new(llm_batch **out, llm_model *model, llm_tokenizer *tokenizer,
                             const llm_batch_options *options);
void session_batch_free(llm_batch *batch);
llm_status session_batch_add(llm_session **out, llm_batch *batch);
/* `options` were read and checked against the session. */
llm_status session_batch_start(llm_batch *batch, llm_session *session, const int32_t *ids,
                               size_t count, const llm_generate_options *options);
llm_status session_batch_step(llm_batch *batch, size_t *running_out);
llm_status session_batch_stop(llm_batch *batch, llm_session *session);
/* The session is about to be freed. */
void session_batch_forget(llm_batch *batch, llm_session *session);

#endif
