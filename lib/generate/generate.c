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

static llm_status check_grammar(const llm_session *session, const llm_generate_options *options)
{
    if (options->grammar && options->grammar->tokenizer != session->tokenizer)
        return status_set(LLM_E_INVALID, "llm_generate_options: the grammar was made with another "
                                         "tokenizer than the session");
    return LLM_OK;
}

llm_status session_check_options(const llm_session *session, const llm_generate_options *options)
{
    llm_status status = sampler_check(options, session->model->vocabulary);

    if (!status)
        status = check_stops(session, options);
    if (!status)
        status = check_grammar(session, options);
    if (!status)
        status = speculate_check(session, options);
    if (!status && options->max_tokens < 0)
        status = status_set(LLM_E_RANGE, "llm_generate_options: max_tokens is %lld",
                            (long long)options->max_tokens);
    if (!status && (options->top_logprobs < 0 || options->top_logprobs > MOST_TOP_LOGPROBS))
        status = status_set(LLM_E_RANGE, "llm_generate_options: top_logprobs is %d, outside 0..%d",
                            options->top_logprobs, MOST_TOP_LOGPROBS);
    return status;
}

static size_t mask_words(const llm_session *session)
{
    size_t words = ((size_t)session->model->vocabulary + 31) / 32;
    size_t grammar_words = session->matcher.grammar ? session->matcher.grammar->words : 0;

    return words > grammar_words ? words : grammar_words;
}

/* The matcher goes to where the text since the last append has led. */
static llm_status begin_grammar(llm_session *session, const llm_grammar *grammar)
{
    llm_status status = LLM_OK;

    if (!grammar)
        return LLM_OK;
    if (session->matcher.grammar != grammar) {
        matcher_close(&session->matcher);
        memory_release(&session->context->memory, session->allowed);
        session->allowed = NULL;
        status = matcher_open(&session->matcher, grammar);
    }
    if (!status && !session->allowed) {
        session->allowed = memory_alloc_zeroed(&session->context->memory, mask_words(session),
                                               sizeof *session->allowed);
        status = session->allowed ? LLM_OK : LLM_E_NOMEM;
    }
    if (status)
        return status;
    matcher_reset(&session->matcher);
    for (size_t i = session->appended; i < session->length && !status; i++)
        status = matcher_accept(&session->matcher, session->ids[i]);
    return status_prefix(status, "the text that was generated before");
}

/* Is the text complete, so that nothing can follow? */
static bool grammar_is_over(llm_session *session, const llm_generate_options *options)
{
    bool is_complete = false;
    bool is_final = false;

    if (options->grammar)
        matcher_state(&session->matcher, &is_complete, &is_final);
    return is_complete && is_final;
}

static void allow_ends(llm_session *session, const int32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] >= 0 && ids[i] < session->model->vocabulary)
            session->allowed[ids[i] / 32] |= 1u << ids[i] % 32;
    }
}

/* What the grammar allows next: end tokens too where the text may end. */
static llm_status find_allowed(llm_session *session, const llm_generate_options *options)
{
    bool is_complete;
    bool is_final;
    llm_status status;

    if (!options->grammar)
        return LLM_OK;
    status = matcher_mask(&session->matcher, session->allowed);
    if (status)
        return status;
    matcher_state(&session->matcher, &is_complete, &is_final);
    if (is_complete && !options->ignore_eos)
        allow_ends(session, session->end_ids, session->end_count);
    if (is_complete)
        allow_ends(session, options->stop_ids, options->stop_id_count);
    return LLM_OK;
}

/* Decoders that look at more than one token see the last one before the text that begins; its own
 * text was given out. */
void session_begin_stream(llm_session *session, struct decode_stream *stream)
{
    int32_t last = session->length ? session->ids[session->length - 1] : -1;

    memset(stream, 0, sizeof *stream);
    if (!session->tokenizer || last < 0 || !tokenizer_has(session->tokenizer, last))
        return;
    session->fresh.size = 0;
    (void)decode_stream_push(stream, session->tokenizer, last, TOKENIZER_SKIP_SPECIAL,
                             &session->fresh);
    stream->tail_size = 0;
    session->fresh.size = 0;
    session->fresh.failed = false;
}

llm_status session_begin(llm_session *session, const llm_generate_options *options)
{
    struct generated *generated = &session->generated;
    size_t top = (size_t)options->top_logprobs;
    llm_status status;

    generated->count = 0;
    generated->top_count =
        (int64_t)top < session->model->vocabulary ? top : (size_t)session->model->vocabulary;
    generated->text.size = 0;
    generated->text.failed = false;
    generated->reason = LLM_STOP_NONE;
    generated->stop_string = -1;
    session->beams.count = 0;
    stop_start(&session->stop, options->stop_strings, options->stop_string_count);
    if (session->stream_length != session->length)
        session_begin_stream(session, &session->stream);
    session->stream_length = 0;
    status = begin_grammar(session, options->grammar);
    if (!status && !session->sampler.context)
        status = sampler_init(&session->sampler, session->context, session->model->vocabulary);
    if (!status && (int64_t)session->length >= session->limit)
        generated->reason = LLM_STOP_CONTEXT;
    if (!status && grammar_is_over(session, options))
        generated->reason = LLM_STOP_GRAMMAR;
    return status;
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

bool session_ends_text(const llm_session *session, int32_t id, const int32_t *stop_ids,
                       size_t stop_id_count, bool ignore_eos)
{
    for (size_t i = 0; i < stop_id_count; i++) {
        if (stop_ids[i] == id)
            return true;
    }
    for (size_t i = 0; i < session->end_count && !ignore_eos; i++) {
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

static int32_t reason_to_end(llm_session *session, bool is_end, const llm_generate_options *options)
{
    if (is_end)
        return LLM_STOP_EOS;
    if (session->stop.found >= 0)
        return LLM_STOP_STRING;
    if (grammar_is_over(session, options))
        return LLM_STOP_GRAMMAR;
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

/* The next token, chosen. */
static llm_status choose(int32_t *id_out, llm_session *session, const llm_generate_options *options)
{
    struct sampler_text text;
    llm_status status = make_room(session);

    if (!status)
        status = find_allowed(session, options);
    if (status)
        return status;
    text = (struct sampler_text){.ids = session->ids,
                                 .length = session->length,
                                 .appended = session->appended,
                                 .tokenizer = session->tokenizer,
                                 .allowed = options->grammar ? session->allowed : NULL};
    return sampler_pick(id_out, &session->sampler, session->logits, &text, options);
}

/* From a token to text and to the question whether it is the last one. */
static llm_status take(llm_session *session, int32_t id, const llm_generate_options *options)
{
    struct generated *generated = &session->generated;
    bool is_end = session_ends_text(session, id, options->stop_ids, options->stop_id_count,
                                    options->ignore_eos != 0);
    llm_status status = LLM_OK;

    if (options->grammar && !is_end)
        status = matcher_accept(&session->matcher, id);
    if (!status)
        status = push_text(session, id, is_end, options);
    generated->reason = status ? LLM_STOP_NONE : reason_to_end(session, is_end, options);
    if (generated->reason)
        flush_text(session);
    generated->stop_string = session->stop.found;
    text_append(&generated->text, session->piece.data, session->piece.size);
    return !status && text_failed(session) ? LLM_E_NOMEM : status;
}

llm_status session_draw(llm_session *session, const llm_generate_options *options)
{
    struct decode_stream stream = session->stream;
    llm_status status;
    int32_t id = 0;

    status = choose(&id, session, options);
    if (status)
        return status;
    record(session, id);
    status = take(session, id, options);
    if (status) {
        session->stream = stream;
        session->generated.reason = LLM_STOP_NONE;
        forget_last(session);
        return status;
    }
    return report(session, options);
}

void session_end(llm_session *session, llm_status status)
{
    struct generated *generated = &session->generated;

    speculate_end(session);
    if (status == LLM_E_CANCELLED)
        generated->reason = LLM_STOP_CANCELLED;
    if (status) {
        stop_finish(&session->stop, &generated->text);
        session->stream_length = session->length;
    }
}

llm_status session_generate(llm_session *session, const llm_generate_options *options)
{
    llm_status status = options->draft ? session_enter(options->draft) : LLM_OK;

    if (status)
        return status_prefix(status, "llm_generate_options: draft");
    status = session_begin(session, options);
    while (!status && !session->generated.reason) {
        if (options->draft || options->lookup_tokens)
            status = speculate(session, options);
        if (!status)
            status = session_evaluate(session);
        if (!status)
            status = session_draw(session, options);
    }
    session_end(session, status);
    if (options->draft)
        (void)session_leave(options->draft, LLM_OK);
    return status;
}
