/* SPDX-License-Identifier: MIT
 *
 * Generation: one token after the other, from logits through the sampler to text. On its way out
 * text is held back twice: until a character is complete (the tokenizer's decode stream), and while
 * it could become a stop string (stop.h).
 */
#include "generate/session.h"

#include <string.h>

enum { MOST_TOP_LOGPROBS = 64 };

static llm_status check_stops(const llm_session *session, const llm_generate_options *options)
{
    if (options->stop_id_count && !options->stop_ids)
        return status_set(LLM_E_INVALID, "llm_generate_options: stop_ids is NULL");
    if (!options->stop_string_count)
        return LLM_OK;
    if (!options->stop_strings)
        return status_set(LLM_E_INVALID, "llm_generate_options: stop_strings is NULL");
    if (!session->tokenizer)
        return status_set(LLM_E_INVALID,
                          "llm_generate_options: stop_strings need a session with a tokenizer");
    if (options->stop_string_count > INT32_MAX)
        return status_set(LLM_E_RANGE, "llm_generate_options: %zu stop_strings",
                          options->stop_string_count);
    for (size_t i = 0; i < options->stop_string_count; i++) {
        const char *string = options->stop_strings[i];

        if (!string || !*string)
            return status_set(LLM_E_INVALID, "llm_generate_options: stop_strings[%zu] is %s", i,
                              string ? "empty" : "NULL");
    }
    return LLM_OK;
}

llm_status session_check_options(const llm_session *session, const llm_generate_options *options)
{
    llm_status status = sampler_check(options, session->model->vocabulary);

    if (!status)
        status = check_stops(session, options);
    if (!status && options->max_tokens < 0)
        status = status_set(LLM_E_RANGE, "llm_generate_options: max_tokens is %lld",
                            (long long)options->max_tokens);
    if (!status && (options->top_logprobs < 0 || options->top_logprobs > MOST_TOP_LOGPROBS))
        status = status_set(LLM_E_RANGE, "llm_generate_options: top_logprobs is %d, outside 0..%d",
                            options->top_logprobs, MOST_TOP_LOGPROBS);
    return status;
}

static llm_status start(llm_session *session, const llm_generate_options *options)
{
    struct generated *generated = &session->generated;
    size_t top = (size_t)options->top_logprobs;

    generated->count = 0;
    generated->top_count =
        (int64_t)top < session->model->vocabulary ? top : (size_t)session->model->vocabulary;
    generated->text.size = 0;
    generated->text.failed = false;
    generated->reason = LLM_STOP_NONE;
    generated->stop_string = -1;
    stop_start(&session->stop, options->stop_strings, options->stop_string_count);
    if (session->stream_length != session->length)
        memset(&session->stream, 0, sizeof session->stream);
    session->stream_length = 0;
    if (session->sampler.context)
        return LLM_OK;
    return sampler_init(&session->sampler, session->context, session->model->vocabulary);
}

/* Room for one more token everywhere, so that it is recorded whole or not at all. */
static llm_status make_room(llm_session *session)
{
    struct memory *memory = &session->context->memory;
    struct generated *generated = &session->generated;
    size_t next = generated->count + 1;
    llm_status status;

    status = memory_grow(memory, (void **)&session->ids, &session->capacity, session->length + 1,
                         sizeof *session->ids);
    if (!status)
        status = memory_grow(memory, (void **)&generated->ids, &generated->id_capacity, next,
                             sizeof *generated->ids);
    if (!status)
        status = memory_grow(memory, (void **)&generated->logprobs, &generated->logprob_capacity,
                             next, sizeof *generated->logprobs);
    if (!status && generated->top_count)
        status = memory_grow(memory, (void **)&generated->top, &generated->top_capacity,
                             next * generated->top_count, sizeof *generated->top);
    return status;
}

static void record(llm_session *session, int32_t id)
{
    struct generated *generated = &session->generated;
    const struct vector_kernels *vector = &session->context->kernels->vector;
    float lse = vector->log_sum_exp(session->logits, session->model->vocabulary);
    size_t index = generated->count++;

    session->ids[session->length++] = id;
    generated->ids[index] = id;
    generated->logprobs[index] = session->logits[id] - lse;
    if (generated->top_count)
        sampler_top(generated->top + index * generated->top_count, generated->top_count,
                    session->logits, session->model->vocabulary, lse);
}

static bool ends_text(const llm_session *session, int32_t id, const llm_generate_options *options)
{
    for (size_t i = 0; i < options->stop_id_count; i++) {
        if (options->stop_ids[i] == id)
            return true;
    }
    for (size_t i = 0; i < session->end_count && !options->ignore_eos; i++) {
        if (session->end_ids[i] == id)
            return true;
    }
    return false;
}

static bool text_failed(const llm_session *session)
{
    return session->fresh.failed || session->piece.failed || session->stop.held.failed ||
           session->generated.text.failed;
}

/* Text of a token goes into session->piece as far as it is certain. The model's vocabulary may
 * be larger than the tokenizer's: such ids have no text, and neither have end tokens. */
static llm_status push_text(llm_session *session, int32_t id, bool is_end,
                            const llm_generate_options *options)
{
    const unsigned flags = options->keep_special ? 0 : TOKENIZER_SKIP_SPECIAL;
    llm_status status = LLM_OK;

    session->fresh.size = 0;
    session->piece.size = 0;
    session->fresh.failed = false;
    session->piece.failed = false;
    if (!session->tokenizer)
        return LLM_OK;
    if (tokenizer_has(session->tokenizer, id) && !(is_end && !options->keep_special))
        status =
            decode_stream_push(&session->stream, session->tokenizer, id, flags, &session->fresh);
    stop_push(&session->stop, session->fresh.data, session->fresh.size, &session->piece);
    return status ? status : text_failed(session) ? LLM_E_NOMEM : LLM_OK;
}

/* The text ends here: what was held back is certain now. */
static void flush_text(llm_session *session)
{
    session->fresh.size = 0;
    decode_stream_finish(&session->stream, &session->fresh);
    stop_push(&session->stop, session->fresh.data, session->fresh.size, &session->piece);
    stop_finish(&session->stop, &session->piece);
}

static int32_t reason_to_end(const llm_session *session, bool is_end,
                             const llm_generate_options *options)
{
    if (is_end)
        return LLM_STOP_EOS;
    if (session->stop.found >= 0)
        return LLM_STOP_STRING;
    if (options->max_tokens && session->generated.count == (uint64_t)options->max_tokens)
        return LLM_STOP_MAX_TOKENS;
    if ((int64_t)session->length >= session->limit)
        return LLM_STOP_CONTEXT;
    return LLM_STOP_NONE;
}

static llm_status report(llm_session *session, const llm_generate_options *options)
{
    struct generated *generated = &session->generated;
    size_t index = generated->count - 1;
    llm_token token = {.text = session->piece.size ? session->piece.data : "",
                       .text_size = session->piece.size,
                       .top_count = generated->top_count,
                       .index = (int64_t)index,
                       .id = generated->ids[index],
                       .logprob = generated->logprobs[index]};

    if (generated->top_count)
        token.top = generated->top + index * generated->top_count;
    if (!options->on_token || options->on_token(options->on_token_user, &token) == 0)
        return LLM_OK;
    return status_set(LLM_E_CANCELLED, "cancelled by on_token");
}

/* A token that failed on its way to text has never been. */
static void forget_last(llm_session *session)
{
    session->length--;
    session->generated.count--;
}

static llm_status generate_one(llm_session *session, const llm_generate_options *options)
{
    struct generated *generated = &session->generated;
    struct sampler_text text;
    struct decode_stream stream;
    llm_status status;
    bool is_end;
    int32_t id = 0;

    status = session_evaluate(session);
    if (!status)
        status = make_room(session);
    text = (struct sampler_text){.ids = session->ids,
                                 .length = session->length,
                                 .appended = session->appended,
                                 .tokenizer = session->tokenizer};
    if (!status)
        status = sampler_pick(&id, &session->sampler, session->logits, &text, options);
    if (status)
        return status;
    record(session, id);
    is_end = ends_text(session, id, options);
    stream = session->stream;
    status = push_text(session, id, is_end, options);
    generated->reason = status ? LLM_STOP_NONE : reason_to_end(session, is_end, options);
    if (generated->reason)
        flush_text(session);
    generated->stop_string = session->stop.found;
    text_append(&generated->text, session->piece.data, session->piece.size);
    if (!status && text_failed(session))
        status = LLM_E_NOMEM;
    if (status) {
        session->stream = stream;
        generated->reason = LLM_STOP_NONE;
        forget_last(session);
        return status;
    }
    return report(session, options);
}

llm_status session_generate(llm_session *session, const llm_generate_options *options)
{
    struct generated *generated = &session->generated;
    llm_status status = start(session, options);

    if (!status && (int64_t)session->length >= session->limit)
        generated->reason = LLM_STOP_CONTEXT;
    while (!status && !generated->reason)
        status = generate_one(session, options);
    if (status == LLM_E_CANCELLED)
        generated->reason = LLM_STOP_CANCELLED;
    if (status) {
        stop_finish(&session->stop, &generated->text);
        session->stream_length = session->length;
    }
    return status;
}
