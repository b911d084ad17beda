/* SPDX-License-Identifier: MIT
 *
 * Beam search of a session: every beam is a sequence of the session's cache, forked when two beams
 * go on from one, so that they share the pages of what they have in common.
 */
#include "generate/beam.h"
#include "generate/session.h"

#include <math.h>
#include <string.h>

llm_status session_beam_check(const llm_session *session, const llm_beam_options *options)
{
    if (options->beams < 1 || options->beams > BEAM_MOST)
        return status_set(LLM_E_RANGE, "llm_beam_options: beams is %d, outside 1..%d",
                          options->beams, BEAM_MOST);
    if (options->max_tokens < 1)
        return status_set(LLM_E_RANGE, "llm_beam_options: max_tokens is %lld",
                          (long long)options->max_tokens);
    if (!isfinite(options->length_penalty) || fabs(options->length_penalty) > 100.0)
        return status_set(LLM_E_RANGE, "llm_beam_options: length_penalty is %g, outside -100..100",
                          options->length_penalty);
    if (options->stopping < LLM_BEAM_HEURISTIC || options->stopping > LLM_BEAM_NEVER)
        return status_set(LLM_E_RANGE, "llm_beam_options: stopping is %d, outside 0..2",
                          options->stopping);
    if (options->stop_id_count && !options->stop_ids)
        return status_set(LLM_E_INVALID, "llm_beam_options: stop_ids is NULL");
    if (session->end_count + options->stop_id_count > BEAM_END_IDS)
        return status_set(LLM_E_RANGE, "llm_beam_options: %zu end tokens, at most %d",
                          session->end_count + options->stop_id_count, BEAM_END_IDS);
    return LLM_OK;
}

struct search {
    llm_session *session;
    struct beam_search beam;
    int32_t end_ids[BEAM_END_IDS];
    int32_t *sequences, *fresh; /* [beams] of the cache; -1: none */
    struct step_part *parts;    /* [beams] */
    float *logits;              /* [beams, V] */
};

static llm_status open_search(struct search *search, llm_session *session,
                              const llm_beam_options *options)
{
    struct memory *memory = &session->context->memory;
    size_t beams = (size_t)options->beams;
    int64_t room = session->limit - (int64_t)session->length;
    size_t vocabulary = (size_t)session->model->vocabulary;
    struct beam_options given = {.beams = options->beams,
                                 .stopping = options->stopping,
                                 .vocabulary = session->model->vocabulary,
                                 .max_tokens =
                                     options->max_tokens < room ? options->max_tokens : room,
                                 .length_penalty = options->length_penalty,
                                 .kernels = session->context->kernels};
    llm_status status;

    memset(search, 0, sizeof *search);
    search->session = session;
    for (size_t i = 0; i < session->end_count && !options->ignore_eos; i++)
        search->end_ids[given.end_count++] = session->end_ids[i];
    for (size_t i = 0; i < options->stop_id_count; i++)
        search->end_ids[given.end_count++] = options->stop_ids[i];
    given.end_ids = search->end_ids;
    status = beam_open(&search->beam, memory, &given);
    if (status)
        return status;
    search->sequences = memory_alloc_array(memory, beams, sizeof(int32_t));
    search->fresh = memory_alloc_array(memory, beams, sizeof(int32_t));
    search->parts = memory_alloc_zeroed(memory, beams, sizeof *search->parts);
    search->logits = memory_alloc_array(memory, beams * vocabulary, sizeof(float));
    for (size_t b = 0; b < beams && search->sequences && search->fresh; b++)
        search->sequences[b] = search->fresh[b] = -1;
    if (!search->sequences || !search->fresh || !search->parts || !search->logits)
        return LLM_E_NOMEM;
    return LLM_OK;
}

static void close_search(struct search *search)
{
    struct memory *memory = &search->session->context->memory;

    for (int32_t b = 0; b < search->beam.beams && search->sequences && search->fresh; b++) {
        kv_cache_remove(search->session->cache, search->sequences[b]);
        kv_cache_remove(search->session->cache, search->fresh[b]);
    }
    memory_release(memory, search->sequences);
    memory_release(memory, search->fresh);
    memory_release(memory, search->parts);
    memory_release(memory, search->logits);
    beam_close(&search->beam);
}

/* Every beam gets the sequence of the beam it goes on from: the first one takes it over, the others
 * fork it. */
static llm_status move_sequences(struct search *search)
{
    struct kv_cache *cache = search->session->cache;
    const int32_t *parents = search->beam.parents;
    int32_t beams = search->beam.beams;
    int32_t *swapped;

    for (int32_t b = beams - 1; b >= 0; b--) {
        bool is_first = true;
        llm_status status;

        for (int32_t other = 0; other < b; other++)
            is_first = is_first && parents[other] != parents[b];
        if (is_first) { /* those that fork it, behind this one, have done so */
            search->fresh[b] = search->sequences[parents[b]];
            search->sequences[parents[b]] = -1;
            continue;
        }
        status = kv_cache_fork(cache, &search->fresh[b], search->sequences[parents[b]]);
        if (status)
            return status;
    }
    for (int32_t b = 0; b < beams; b++) {
        kv_cache_remove(cache, search->sequences[b]);
        search->sequences[b] = -1;
    }
    swapped = search->sequences;
    search->sequences = search->fresh;
    search->fresh = swapped;
    return LLM_OK;
}

static llm_status run_beams(struct search *search)
{
    struct beam_search *beam = &search->beam;

    for (int32_t b = 0; b < beam->beams; b++)
        search->parts[b] =
            (struct step_part){.sequence = search->sequences[b], .ids = &beam->ids[b], .count = 1};
    if (atomic_load(&search->session->cancel))
        return status_set(LLM_E_CANCELLED, "cancelled");
    return stepper_run(&search->session->stepper, search->parts, (size_t)beam->beams,
                       search->logits);
}

static llm_status search_all(struct search *search)
{
    llm_session *session = search->session;
    struct beam_search *beam = &search->beam;
    llm_status status = beam_step(beam, session->logits); /* all beams are alike: one row counts */

    for (int32_t b = 0; b < beam->beams && !status; b++)
        status = kv_cache_fork(session->cache, &search->sequences[b], session->sequence);
    while (!status && !beam->is_done) {
        status = run_beams(search);
        if (!status)
            status = beam_step(beam, search->logits);
        if (!status && !beam->is_done)
            status = move_sequences(search);
    }
    return status;
}

/* ---- results ----------------------------------------------------------------------------------
 */

static llm_status keep_texts(llm_session *session, const struct beam_search *beam)
{
    struct memory *memory = &session->context->memory;
    struct beam_texts *texts = &session->beams;
    size_t used = 0;
    llm_status status = LLM_OK;

    texts->count = 0;
    for (int32_t i = 0; i < beam->beams && !status; i++) {
        int64_t count;
        float score;

        if (!beam_result(beam, i, NULL, &count, &score))
            break;
        status = memory_grow(memory, (void **)&texts->ids, &texts->id_capacity,
                             used + (size_t)count, sizeof *texts->ids);
        if (!status)
            status = memory_grow(memory, (void **)&texts->places, &texts->place_capacity,
                                 texts->count + 1, sizeof *texts->places);
        if (status)
            break;
        (void)beam_result(beam, i, texts->ids + used, &count, &score);
        texts->places[texts->count++] = (struct beam_place){used, (size_t)count, (double)score};
        used += (size_t)count;
    }
    if (status)
        texts->count = 0;
    return status;
}

/* Text of ids; the model's vocabulary may be larger than the tokenizer's. */
static llm_status decode_known(llm_session *session, const int32_t *ids, size_t count)
{
    struct text *text = &session->generated.text;
    struct decode_stream stream;
    llm_status status = LLM_OK;

    session_begin_stream(session, &stream);
    for (size_t i = 0; i < count && !status; i++) {
        if (tokenizer_has(session->tokenizer, ids[i]))
            status = decode_stream_push(&stream, session->tokenizer, ids[i], TOKENIZER_SKIP_SPECIAL,
                                        text);
    }
    decode_stream_finish(&stream, text);
    return !status && text->failed ? LLM_E_NOMEM : status;
}

/* The best text becomes what was generated. The probabilities of its tokens are not kept by the
 * search; the mean takes their place. */
static llm_status adopt_best(llm_session *session, double length_penalty)
{
    struct memory *memory = &session->context->memory;
    struct generated *generated = &session->generated;
    const struct beam_place *best = session->beams.places;
    const int32_t *ids = session->beams.ids;
    size_t count = session->beams.count ? best->count : 0;
    double mean = count ? best->score * pow((double)count, length_penalty) / (double)count : 0.0;
    llm_status status = session_reserve(session, count);

    if (!status)
        status = memory_grow(memory, (void **)&generated->ids, &generated->id_capacity, count,
                             sizeof *generated->ids);
    if (!status)
        status = memory_grow(memory, (void **)&generated->logprobs, &generated->logprob_capacity,
                             count, sizeof *generated->logprobs);
    generated->text.size = 0;
    generated->text.failed = false;
    for (size_t i = 0; i < count && !status; i++) {
        generated->ids[i] = ids[i];
        generated->logprobs[i] = (float)mean;
    }
    if (!status && session->tokenizer)
        status = decode_known(session, ids, count);
    if (status)
        return status;
    if (count)
        memcpy(session->ids + session->length, ids, count * sizeof *ids);
    session->length += count;
    generated->count = count;
    generated->top_count = 0;
    generated->stop_string = -1;
    return LLM_OK;
}

static int32_t reason_of(const llm_session *session, const llm_beam_options *options)
{
    const struct generated *generated = &session->generated;
    size_t count = generated->count;

    if (count && session_ends_text(session, generated->ids[count - 1], options->stop_ids,
                                   options->stop_id_count, options->ignore_eos != 0))
        return LLM_STOP_EOS;
    return (int64_t)session->length >= session->limit ? LLM_STOP_CONTEXT : LLM_STOP_MAX_TOKENS;
}

llm_status session_beam_search(llm_session *session, const llm_beam_options *options)
{
    struct search search;
    llm_status status;

    session->generated.count = 0;
    session->generated.reason = LLM_STOP_NONE;
    session->beams.count = 0;
    if ((int64_t)session->length >= session->limit) {
        session->generated.reason = LLM_STOP_CONTEXT;
        return LLM_OK;
    }
    status = session_evaluate(session);
    if (status)
        return status;
    status = open_search(&search, session, options);
    if (!status)
        status = search_all(&search);
    if (!status)
        status = keep_texts(session, &search.beam);
    if (!status)
        status = adopt_best(session, options->length_penalty);
    close_search(&search);
    if (!status)
        session->generated.reason = reason_of(session, options);
    return status;
}
