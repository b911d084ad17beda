/* SPDX-License-Identifier: MIT */
#include "generate/session.h"

#include "generate/session_batch.h"

#include <string.h>

/* ---- making and freeing -----------------------------------------------------------------------
 */

static void add_end_id(llm_session *session, int64_t id)
{
    if (id >= 0 && id < session->model->vocabulary && session->end_count < SESSION_END_IDS)
        session->end_ids[session->end_count++] = (int32_t)id;
}

/* "eos_token_id" of config.json is a number or a list of numbers. */
static void find_end_ids(llm_session *session)
{
    const json_t *field = json_object_get(session->model->config, "eos_token_id");
    size_t count = json_array_size(field);

    if (session->tokenizer)
        add_end_id(session, tokenizer_special(session->tokenizer, LLM_TOKEN_EOS));
    if (json_is_integer(field))
        add_end_id(session, json_integer_value(field));
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(field, i);

        if (json_is_integer(item))
            add_end_id(session, json_integer_value(item));
    }
}

/* Everything but the place in a cache. */
static llm_status make(llm_session **out, llm_model *model, llm_tokenizer *tokenizer,
                       struct kv_cache *cache)
{
    struct memory *memory = &model->context->memory;
    llm_session *session = memory_alloc_zeroed(memory, 1, sizeof *session);
    llm_status status;

    *out = NULL;
    if (!session)
        return LLM_E_NOMEM;
    atomic_init(&session->busy, 0);
    atomic_init(&session->cancel, 0);
    session->context = context_retain(model->context);
    session->model = model_retain(model);
    session->tokenizer = tokenizer ? tokenizer_retain(tokenizer) : NULL;
    session->sequence = -1;
    session->cache = kv_cache_retain(cache);
    session->generated.stop_string = -1;
    stop_init(&session->stop, memory);
    text_init(&session->fresh, memory);
    text_init(&session->piece, memory);
    text_init(&session->generated.text, memory);
    find_end_ids(session);
    status = model_lock_shared(model);
    session->is_model_locked = !status;
    if (!status)
        status = stepper_init(&session->stepper, model, cache);
    session->stepper.cx.cancel = &session->cancel;
    if (!status)
        session->logits = memory_alloc_array(memory, (size_t)model->vocabulary, sizeof(float));
    if (!status && !session->logits)
        status = LLM_E_NOMEM;
    if (status)
        session_free(session);
    else
        *out = session;
    return status;
}

/* A new session gets a sequence, or is freed. */
static llm_status begin_in_cache(llm_session **out, const llm_session_options *options)
{
    llm_session *session = *out;
    llm_status status = kv_cache_add(session->cache, &session->sequence);

    session->limit = options->max_tokens ? options->max_tokens : session->model->context_length;
    session->chunk = options->prefill_chunk;
    if (status) {
        session_free(session);
        *out = NULL;
    }
    return status;
}

llm_status session_new(llm_session **out, llm_model *model, llm_tokenizer *tokenizer,
                       const llm_session_options *options)
{
    const struct kv_cache_shape shape = {.layers = model->layers,
                                         .kv_heads = model->kv_heads,
                                         .head_dim = model->head_dim,
                                         .dtype = LLM_F32};
    struct kv_cache *cache = NULL;
    llm_status status;

    *out = NULL;
    status = model_check_causal(model);
    if (!status)
        status = kv_cache_new(&cache, model->context, &shape);
    if (!status)
        status = make(out, model, tokenizer, cache);
    kv_cache_release(cache);
    if (status)
        return status;
    return begin_in_cache(out, options);
}

llm_status session_new_in(llm_session **out, llm_model *model, llm_tokenizer *tokenizer,
                          struct kv_cache *cache, const llm_session_options *options)
{
    llm_status status = make(out, model, tokenizer, cache);

    return status ? status : begin_in_cache(out, options);
}

llm_status session_reserve(llm_session *session, size_t more)
{
    return memory_grow(&session->context->memory, (void **)&session->ids, &session->capacity,
                       session->length + more, sizeof *session->ids);
}

llm_status session_fork(llm_session **out, llm_session *from)
{
    llm_session *session;
    llm_status status;

    status = make(out, from->model, from->tokenizer, from->cache);
    if (status)
        return status;
    session = *out;
    session->limit = from->limit;
    session->chunk = from->chunk;
    status = session_reserve(session, from->length);
    if (!status)
        status = kv_cache_fork(session->cache, &session->sequence, from->sequence);
    if (status) {
        session_free(session);
        *out = NULL;
        return status;
    }
    if (from->length)
        memcpy(session->ids, from->ids, from->length * sizeof *session->ids);
    session->is_long = from->is_long;
    session->length = from->length;
    session->appended = from->appended;
    session->stream = from->stream;
    session->stream_length = from->stream_length;
    session->logits_length = from->logits_length;
    memcpy(session->logits, from->logits,
           session->logits_length ? (size_t)session->model->vocabulary * sizeof(float) : 0);
    return LLM_OK;
}

void session_free(llm_session *session)
{
    llm_context *context;
    struct memory *memory;

    if (!session)
        return;
    context = session->context;
    memory = &context->memory;
    if (session->batch)
        session_batch_forget(session->batch, session);
    matcher_close(&session->matcher);
    kv_cache_remove(session->cache, session->sequence);
    stepper_free(&session->stepper);
    kv_cache_release(session->cache);
    sampler_free(&session->sampler);
    stop_free(&session->stop);
    text_free(&session->fresh);
    text_free(&session->piece);
    text_free(&session->generated.text);
    memory_release(memory, session->generated.ids);
    memory_release(memory, session->generated.logprobs);
    memory_release(memory, session->generated.top);
    memory_release(memory, session->ids);
    memory_release(memory, session->logits);
    memory_release(memory, session->allowed);
    memory_release(memory, session->ahead.rows);
    memory_release(memory, session->beams.ids);
    memory_release(memory, session->beams.places);
    if (session->is_model_locked)
        model_unlock_shared(session->model);
    model_release(session->model);
    tokenizer_release(session->tokenizer);
    memory_release(memory, session);
    context_release(context);
}

llm_status session_enter(llm_session *session)
{
    if (atomic_exchange(&session->busy, 1))
        return status_set(LLM_E_BUSY, "another call is using the session");
    return LLM_OK;
}

llm_status session_leave(llm_session *session, llm_status status)
{
    if (status == LLM_E_CANCELLED)
        atomic_store(&session->cancel, 0);
    atomic_store(&session->busy, 0);
    return status;
}

/* ---- tokens -----------------------------------------------------------------------------------
 */

int64_t session_read_as(llm_session *session, int64_t length)
{
    int64_t held = kv_cache_length(session->cache, session->sequence);
    bool is_long = session->model->long_from > 0 && length > session->model->long_from;

    if (held && is_long != session->is_long) {
        (void)kv_cache_rewind(session->cache, session->sequence, 0);
        held = 0;
    }
    session->is_long = is_long;
    return held;
}

llm_status session_evaluate(llm_session *session)
{
    int64_t length = (int64_t)session->length;
    struct step_part part = {.sequence = session->sequence, .length = length};
    llm_status status = LLM_OK;
    int64_t held;

    if (!length)
        return status_set(LLM_E_INVALID, "the session is empty: append a token first");
    if (session->logits_length == session->length || speculate_use(session))
        return LLM_OK;
    held = session_read_as(session, length);
    if (held == length) /* the logits are of another text: run the last token again */
        status = kv_cache_rewind(session->cache, session->sequence, --held);
    while (!status && held < length) {
        part.ids = session->ids + held;
        part.count = length - held < session->chunk ? length - held : session->chunk;
        held += part.count;
        if (atomic_load(&session->cancel))
            return status_set(LLM_E_CANCELLED, "cancelled");
        status = stepper_run(&session->stepper, &part, 1, held == length ? session->logits : NULL);
    }
    if (!status)
        session->logits_length = session->length;
    return status;
}

static llm_status check_ids(const llm_session *session, const int32_t *ids, size_t count)
{
    int64_t room = session->limit - (int64_t)session->length;

    if (count > INT64_MAX || (int64_t)count > room)
        return status_set(LLM_E_RANGE, "%zu more tokens, room for %lld of %lld", count,
                          (long long)room, (long long)session->limit);
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= session->model->vocabulary)
            return status_set(LLM_E_RANGE, "ids[%zu] is %d, outside 0..%lld", i, ids[i],
                              (long long)session->model->vocabulary - 1);
    }
    return LLM_OK;
}

/* Forget the tokens from `length` on. */
static void cut(llm_session *session, size_t length)
{
    int64_t held = kv_cache_length(session->cache, session->sequence);

    if (held > (int64_t)length)
        (void)kv_cache_rewind(session->cache, session->sequence, (int64_t)length);
    session->length = length;
    if (session->appended > length)
        session->appended = length;
    if (session->logits_length > length)
        session->logits_length = 0;
    session->stream_length = 0;
}

llm_status session_append_lazily(llm_session *session, const int32_t *ids, size_t count)
{
    llm_status status = check_ids(session, ids, count);

    if (!status && count)
        status = session_reserve(session, count);
    if (status || !count)
        return status;
    memcpy(session->ids + session->length, ids, count * sizeof *ids);
    session->length += count;
    session->appended = session->length;
    session->stream_length = 0;
    return LLM_OK;
}

llm_status session_append(llm_session *session, const int32_t *ids, size_t count)
{
    size_t length = session->length;
    size_t appended = session->appended;
    llm_status status = session_append_lazily(session, ids, count);

    if (status || !count)
        return status;
    status = session_evaluate(session);
    if (status && status != LLM_E_CANCELLED) {
        cut(session, length);
        session->appended = appended;
    }
    return status;
}

llm_status session_rewind(llm_session *session, int64_t length)
{
    if (length < 0 || (uint64_t)length > session->length)
        return status_set(LLM_E_RANGE, "rewind to %lld of %zu tokens", (long long)length,
                          session->length);
    if ((size_t)length < session->length)
        cut(session, (size_t)length);
    return LLM_OK;
}

llm_status session_erase(llm_session *session, int64_t begin, int64_t count)
{
    size_t first = (size_t)begin;
    size_t removed = (size_t)count;
    size_t behind;
    size_t appended = session->appended;

    if (begin < 0 || count < 0 || (uint64_t)begin > session->length ||
        (uint64_t)count > session->length - (uint64_t)begin)
        return status_set(LLM_E_RANGE, "erase %lld tokens from %lld on, of %zu", (long long)count,
                          (long long)begin, session->length);
    if (!count)
        return LLM_OK;
    behind = session->length - first - removed;
    cut(session, first);
    memmove(session->ids + first, session->ids + first + removed, behind * sizeof *session->ids);
    session->length = first + behind;
    if (appended > first)
        appended = appended > first + removed ? appended - removed : first;
    session->appended = appended;
    session->logits_length = 0;
    return LLM_OK;
}

void session_reset(llm_session *session)
{
    struct generated *generated = &session->generated;

    cut(session, 0);
    generated->count = 0;
    generated->top_count = 0;
    generated->text.size = 0;
    generated->reason = LLM_STOP_NONE;
    generated->stop_string = -1;
    atomic_store(&session->cancel, 0);
}
