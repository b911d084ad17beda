/* SPDX-License-Identifier: MIT
 *
 * Sessions: llm/session.h.
 */
#include "api/check.h"
#include "api/session_options.h"
#include "generate/session.h"

#include <string.h>

enum { MOST_PREFILL_CHUNK = 65536 };

/* ---- making and freeing ------------------------------------------------------------------------
 */

static const llm_session_options default_session = {.struct_size = sizeof default_session,
                                                    .prefill_chunk = 256};

llm_status llm_session_options_init(llm_session_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_session, sizeof default_session,
                        "llm_session_options");
}

llm_status llm_session_new(llm_session **out, llm_model *model, llm_tokenizer *tokenizer,
                           const llm_session_options *given)
{
    llm_session_options options = default_session;
    llm_status status;

    if (!out)
        return null_argument("llm_session_new", "out");
    *out = NULL;
    if (!model)
        return null_argument("llm_session_new", "model");
    status = options_read(&options, sizeof options, given, "llm_session_options");
    if (status)
        return status;
    if (options.max_tokens < 0 || options.max_tokens > model->context_length)
        return status_set(LLM_E_RANGE, "llm_session_options: max_tokens is %lld, outside 0..%lld",
                          (long long)options.max_tokens, (long long)model->context_length);
    if (options.prefill_chunk < 1 || options.prefill_chunk > MOST_PREFILL_CHUNK)
        return status_set(LLM_E_RANGE, "llm_session_options: prefill_chunk is %lld, outside 1..%d",
                          (long long)options.prefill_chunk, MOST_PREFILL_CHUNK);
    return session_new(out, model, tokenizer, &options);
}

llm_status llm_session_fork(llm_session **out, llm_session *session)
{
    llm_status status;

    if (!out)
        return null_argument("llm_session_fork", "out");
    *out = NULL;
    if (!session)
        return null_argument("llm_session_fork", "session");
    status = session_enter(session);
    return status ? status : session_leave(session, session_fork(out, session));
}

void llm_session_free(llm_session *session)
{
    session_free(session);
}

void llm_session_cancel(llm_session *session)
{
    if (session)
        atomic_store(&session->cancel, 1);
}

/* ---- tokens ------------------------------------------------------------------------------------
 */

llm_status llm_session_append(llm_session *session, const int32_t *ids, size_t count)
{
    llm_status status;

    if (!session || (!ids && count))
        return null_argument("llm_session_append", session ? "ids" : "session");
    status = session_enter(session);
    return status ? status : session_leave(session, session_append(session, ids, count));
}

static llm_status append_text(llm_session *session, const char *text, size_t size,
                              const llm_encode_options *options)
{
    unsigned flags = (options->parse_special ? TOKENIZER_PARSE_SPECIAL : 0) |
                     (options->add_special ? TOKENIZER_ADD_SPECIAL : 0);
    struct token_list ids;
    llm_status status;

    token_list_init(&ids, &session->context->memory);
    status = tokenizer_encode(session->tokenizer, text, size, flags, &ids);
    if (!status)
        status = session_append(session, ids.ids, ids.count);
    token_list_free(&ids);
    return status;
}

llm_status llm_session_append_text(llm_session *session, const char *text, size_t size,
                                   const llm_encode_options *given)
{
    llm_encode_options options;
    llm_status status;

    if (!session || (!text && size))
        return null_argument("llm_session_append_text", session ? "text" : "session");
    if (!session->tokenizer)
        return status_set(LLM_E_INVALID, "llm_session_append_text: the session has no tokenizer");
    status = session_enter(session);
    if (status)
        return status;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.add_special = session->length == 0;
    status = options_read(&options, sizeof options, given, "llm_encode_options");
    if (!status)
        status = append_text(session, text ? text : "", size, &options);
    return session_leave(session, status);
}

static llm_status copy_logits(float *logits, size_t capacity, llm_session *session)
{
    size_t count = (size_t)session->model->vocabulary;
    llm_status status;

    if (capacity < count)
        return status_set(LLM_E_BUFFER, "llm_session_logits: room for %zu floats, %zu needed",
                          capacity, count);
    status = session_evaluate(session);
    if (!status)
        memcpy(logits, session->logits, count * sizeof *logits);
    return status;
}

llm_status llm_session_logits(float *logits, size_t capacity, size_t *count_out,
                              llm_session *session)
{
    llm_status status;

    if (!session || (!logits && capacity))
        return null_argument("llm_session_logits", session ? "logits" : "session");
    if (count_out)
        *count_out = (size_t)session->model->vocabulary;
    status = session_enter(session);
    return status ? status : session_leave(session, copy_logits(logits, capacity, session));
}

llm_status llm_session_rewind(llm_session *session, int64_t length)
{
    llm_status status;

    if (!session)
        return null_argument("llm_session_rewind", "session");
    status = session_enter(session);
    return status ? status : session_leave(session, session_rewind(session, length));
}

llm_status llm_session_reset(llm_session *session)
{
    llm_status status;

    if (!session)
        return null_argument("llm_session_reset", "session");
    status = session_enter(session);
    if (status)
        return status;
    session_reset(session);
    return session_leave(session, LLM_OK);
}

const int32_t *llm_session_ids(const llm_session *session, size_t *count_out)
{
    size_t count = session ? session->length : 0;

    if (count_out)
        *count_out = count;
    return count ? session->ids : NULL;
}

int64_t llm_session_length(const llm_session *session)
{
    return session ? (int64_t)session->length : 0;
}

size_t llm_session_cache_bytes(const llm_session *session)
{
    return session ? kv_cache_bytes(session->cache) : 0;
}

/* ---- generating --------------------------------------------------------------------------------
 */

static const llm_generate_options default_generate = {.struct_size = sizeof default_generate,
                                                      .max_tokens = 256,
                                                      .top_p = 1.0,
                                                      .typical_p = 1.0,
                                                      .repetition_penalty = 1.0,
                                                      .xtc_threshold = 0.1,
                                                      .dry_base = 1.75,
                                                      .dynamic_exponent = 1.0,
                                                      .mirostat_tau = 5.0,
                                                      .mirostat_eta = 0.1,
                                                      .dry_allowed_length = 2,
                                                      .draft_tokens = 4};

llm_status llm_generate_options_init(llm_generate_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_generate, sizeof default_generate,
                        "llm_generate_options");
}

const int32_t *llm_sampler_stages(int32_t order, size_t *count_out)
{
    size_t count;
    const int32_t *stages = sampler_order(order, &count);

    if (count_out)
        *count_out = count;
    return stages;
}

static llm_status check_strings(const llm_generate_options *options)
{
    for (size_t i = 0; i < options->stop_string_count; i++) {
        if (!text_is_utf8(options->stop_strings[i], strlen(options->stop_strings[i])))
            return status_set(LLM_E_INVALID, "llm_generate_options: stop_strings[%zu] is not UTF-8",
                              i);
    }
    return LLM_OK;
}

llm_status session_options_read(llm_generate_options *options, const llm_session *session,
                                const llm_generate_options *given)
{
    llm_status status;

    *options = default_generate;
    status = options_read(options, sizeof *options, given, "llm_generate_options");
    if (!status)
        status = session_check_options(session, options);
    return status ? status : check_strings(options);
}

llm_status llm_session_generate(llm_session *session, const llm_generate_options *given)
{
    llm_generate_options options;
    llm_status status;

    if (!session)
        return null_argument("llm_session_generate", "session");
    status = session_options_read(&options, session, given);
    if (!status)
        status = session_enter(session);
    return status ? status : session_leave(session, session_generate(session, &options));
}

const char *llm_session_text(const llm_session *session, size_t *size_out)
{
    size_t size = session ? session->generated.text.size : 0;

    if (size_out)
        *size_out = size;
    return size ? session->generated.text.data : "";
}

static size_t generated_count(const llm_session *session, size_t *count_out)
{
    size_t count = session ? session->generated.count : 0;

    if (count_out)
        *count_out = count;
    return count;
}

const int32_t *llm_session_generated(const llm_session *session, size_t *count_out)
{
    return generated_count(session, count_out) ? session->generated.ids : NULL;
}

const float *llm_session_logprobs(const llm_session *session, size_t *count_out)
{
    return generated_count(session, count_out) ? session->generated.logprobs : NULL;
}

const llm_token_choice *llm_session_top(const llm_session *session, size_t index, size_t *count_out)
{
    bool is_there = index < generated_count(session, NULL) && session->generated.top_count;

    if (count_out)
        *count_out = is_there ? session->generated.top_count : 0;
    return is_there ? session->generated.top + index * session->generated.top_count : NULL;
}

int32_t llm_session_stop_reason(const llm_session *session)
{
    return session ? session->generated.reason : LLM_STOP_NONE;
}

int32_t llm_session_stop_string(const llm_session *session)
{
    return session ? session->generated.stop_string : -1;
}
