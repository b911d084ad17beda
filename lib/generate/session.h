/* SPDX-License-Identifier: MIT
 *
 * The inside of llm_session: its tokens, what of them the KV cache holds already, the logits after
 * the last one, and the results of the last generation. The cache follows the tokens lazily: a
 * generated token runs through the model when its successor is wanted. Called by
 * api/session_api.c, which checks arguments.
 */
#ifndef GENERATE_SESSION_H
#define GENERATE_SESSION_H

#include "generate/grammar.h"
#include "generate/sampling.h"
#include "generate/speculate.h"
#include "generate/step.h"
#include "generate/stop.h"
#include "llm/batch.h"
#include "tokenizer/tokenizer.h"

enum { SESSION_END_IDS = 8 };

/* What llm_session_generate() leaves to be read. */
struct generated {
    int32_t *ids;
    float *logprobs;
    llm_token_choice *top; /* [count][top_count] */
    size_t count, top_count;
    size_t id_capacity, logprob_capacity, top_capacity;
    struct text text;
    int32_t reason, stop_string;
};

/* All texts that a beam search found, end to end. */
struct beam_texts {
    int32_t *ids;
    struct beam_place {
        size_t first, count;
        double score;
    } * places;
    size_t count, id_capacity, place_capacity;
};

struct llm_session {
    llm_context *context;
    llm_model *model;
    llm_tokenizer *tokenizer; /* or NULL */
    bool is_model_locked;
    _Atomic int32_t busy;   /* a call is running */
    _Atomic int32_t cancel; /* asked for, not yet obeyed */

    struct stepper stepper;
    struct kv_cache *cache;
    int32_t sequence; /* in the cache; -1: none yet */
    bool is_long;     /* the cache was read as a text beyond model->long_from */
    int64_t limit;    /* most tokens */
    int64_t chunk;    /* most tokens in one run of the model */

    int32_t *ids;
    size_t length, capacity;
    size_t appended;      /* ids from here on were generated */
    float *logits;        /* [V] */
    size_t logits_length; /* of the text that they follow; 0: none */

    int32_t end_ids[SESSION_END_IDS]; /* of tokenizer and model */
    size_t end_count;
    struct sampler sampler;         /* made for the first generation */
    struct grammar_matcher matcher; /* of the grammar that was used last */
    uint32_t *allowed;              /* [V / 32]: what it allows next */
    struct ahead ahead;             /* logits after tokens that were guessed */
    struct beam_texts beams;        /* of the last beam search */
    llm_batch *batch;               /* that it is a member of, or NULL */
    struct stop stop;
    struct decode_stream stream; /* of a cancelled generation, */
    size_t stream_length;        /* at this length; 0: none */
    struct text fresh, piece;    /* text of one token: decoded, ready to go out */
    struct generated generated;
};

llm_status session_new(llm_session **out, llm_model *model, llm_tokenizer *tokenizer,
                       const llm_session_options *options);
/* In a cache that others use. */
llm_status session_new_in(llm_session **out, llm_model *model, llm_tokenizer *tokenizer,
                          struct kv_cache *cache, const llm_session_options *options);
llm_status session_fork(llm_session **out, llm_session *session);
void session_free(llm_session *session); /* NULL and half-built sessions allowed */

/* Around every call that changes the session: LLM_E_BUSY when another one is running. What leaves
 * with LLM_E_CANCELLED has obeyed the cancel. */
llm_status session_enter(llm_session *session);
llm_status session_leave(llm_session *session, llm_status status);

llm_status session_append(llm_session *session, const int32_t *ids, size_t count);
/* Bring cache and logits up to the last token. */
llm_status session_evaluate(llm_session *session);
/* Tokens in the cache that a text of `length` tokens can go on from: none where it grows beyond, or
 * shrinks below, the length from which all of its tokens take other rotary angles. */
int64_t session_read_as(llm_session *session, int64_t length);
llm_status session_rewind(llm_session *session, int64_t length);
llm_status session_erase(llm_session *session, int64_t begin, int64_t count);
llm_status session_reserve(llm_session *session, size_t more); /* room for ids */
/* Takes tokens over without running the model. */
llm_status session_append_lazily(llm_session *session, const int32_t *ids, size_t count);
void session_reset(llm_session *session);

/* generate.c; options were checked by session_check_options(). */
llm_status session_check_options(const llm_session *session, const llm_generate_options *options);
llm_status session_generate(llm_session *session, const llm_generate_options *options);
/* Its parts: the beginning; one more token when session->logits are those after the text, which
 * sets generated.reason when it is the last one; the end. */
llm_status session_begin(llm_session *session, const llm_generate_options *options);
void session_begin_stream(llm_session *session, struct decode_stream *stream);
llm_status session_draw(llm_session *session, const llm_generate_options *options);
void session_end(llm_session *session, llm_status status);
bool session_ends_text(const llm_session *session, int32_t id, const int32_t *stop_ids,
                       size_t stop_id_count, bool ignore_eos);

/* session_beam.c; the options were checked. */
llm_status session_beam_check(const llm_session *session, const llm_beam_options *options);
llm_status session_beam_search(llm_session *session, const llm_beam_options *options);

/* session_state.c. */
llm_status session_save(llm_session *session, struct text *out);
llm_status session_restore(llm_session *session, const char *data, size_t size);

#endif
