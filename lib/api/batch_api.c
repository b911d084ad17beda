/* SPDX-License-Identifier: MIT
 *
 * Batches of sessions: llm/batch.h.
 */
#include "api/check.h"
#include "api/session_options.h"
#include "generate/session_batch.h"

enum { MOST_STEP_TOKENS = 65536 };

static const llm_batch_options default_batch = {
    .struct_size = sizeof default_batch, .step_tokens = 256, .share_prefixes = 1};

llm_status llm_batch_options_init(llm_batch_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_batch, sizeof default_batch,
                        "llm_batch_options");
}

llm_status llm_batch_new(llm_batch **out, llm_model *model, llm_tokenizer *tokenizer,
                         const llm_batch_options *given)
{
    llm_batch_options options = default_batch;
    llm_status status;

    if (!out)
        return null_argument("llm_batch_new", "out");
    *out = NULL;
    if (!model)
        return null_argument("llm_batch_new", "model");
    status = options_read(&options, sizeof options, given, "llm_batch_options");
    if (status)
        return status;
    if (options.max_tokens < 0)
        return status_set(LLM_E_RANGE, "llm_batch_options: max_tokens is %lld",
                          (long long)options.max_tokens);
    if (options.session_tokens < 0 || options.session_tokens > model->context_length)
        return status_set(LLM_E_RANGE, "llm_batch_options: session_tokens is %lld, outside 0..%lld",
                          (long long)options.session_tokens, (long long)model->context_length);
    if (options.step_tokens < 1 || options.step_tokens > MOST_STEP_TOKENS)
        return status_set(LLM_E_RANGE, "llm_batch_options: step_tokens is %lld, outside 1..%d",
                          (long long)options.step_tokens, MOST_STEP_TOKENS);
    return session_batch_new(out, model, tokenizer, &options);
}

void llm_batch_free(llm_batch *batch)
{
    session_batch_free(batch);
}

llm_status llm_batch_session(llm_session **out, llm_batch *batch)
{
    if (!out)
        return null_argument("llm_batch_session", "out");
    *out = NULL;
    if (!batch)
        return null_argument("llm_batch_session", "batch");
    return session_batch_add(out, batch);
}

llm_status llm_batch_start(llm_batch *batch, llm_session *session, const int32_t *ids, size_t count,
                           const llm_generate_options *given)
{
    llm_generate_options options;
    llm_status status;

    if (!batch || !session || (!ids && count))
        return null_argument("llm_batch_start", !batch ? "batch" : session ? "ids" : "session");
    status = session_options_read(&options, session, given);
    return status ? status : session_batch_start(batch, session, ids, count, &options);
}

llm_status llm_batch_step(llm_batch *batch, size_t *running_out)
{
    size_t running = 0;
    llm_status status;

    if (!batch)
        return null_argument("llm_batch_step", "batch");
    status = session_batch_step(batch, &running);
    if (running_out)
        *running_out = running;
    return status;
}

llm_status llm_batch_run(llm_batch *batch)
{
    size_t running = 1;
    llm_status status = LLM_OK;

    if (!batch)
        return null_argument("llm_batch_run", "batch");
    while (running && !status)
        status = session_batch_step(batch, &running);
    return status;
}

llm_status llm_batch_stop(llm_batch *batch, llm_session *session)
{
    if (!batch || !session)
        return null_argument("llm_batch_stop", batch ? "session" : "batch");
    return session_batch_stop(batch, session);
}
