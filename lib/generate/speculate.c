/* SPDX-License-Identifier: MIT */
#include "generate/session.h"

#include <string.h>

enum { LONGEST_MATCH = 4 }; /* last tokens that are looked up */

llm_status speculate_check(const llm_session *session, const llm_generate_options *options)
{
    const llm_session *draft = options->draft;

    if (options->draft_tokens < 1 || options->draft_tokens > GUESSES_MOST)
        return status_set(LLM_E_RANGE, "llm_generate_options: draft_tokens is %d, outside 1..%d",
                          options->draft_tokens, GUESSES_MOST);
    if (options->lookup_tokens < 0 || options->lookup_tokens > GUESSES_MOST)
        return status_set(LLM_E_RANGE, "llm_generate_options: lookup_tokens is %d, outside 0..%d",
                          options->lookup_tokens, GUESSES_MOST);
    if (draft == session)
        return status_set(LLM_E_INVALID, "llm_generate_options: draft is the session itself");
    if (draft && draft->model->vocabulary != session->model->vocabulary)
        return status_set(
            LLM_E_INVALID, "llm_generate_options: draft has a vocabulary of %lld, the model %lld",
            (long long)draft->model->vocabulary, (long long)session->model->vocabulary);
    return LLM_OK;
}

/* ---- guessing ---------------------------------------------------------------------------------
 */

/* What followed the last occurrence of the text's last tokens, the more of them the better. */
static size_t look_up(int32_t *guesses, size_t most, const int32_t *ids, size_t length)
{
    for (size_t n = LONGEST_MATCH; n > 0; n--) {
        for (size_t at = length > n ? length - n : 0; at-- > 0;) {
            size_t count = 0;

            if (memcmp(ids + at, ids + length - n, n * sizeof *ids) != 0)
                continue;
            while (count < most && at + n + count < length) {
                guesses[count] = ids[at + n + count];
                count++;
            }
            return count;
        }
    }
    return 0;
}

static int32_t most_probable(const llm_session *session)
{
    int64_t vocabulary = session->model->vocabulary;
    int64_t best = 0;

    for (int64_t i = 1; i < vocabulary; i++)
        best = session->logits[i] > session->logits[best] ? i : best;
    return (int32_t)best;
}

/* The draft's text becomes that of the session; then it goes on by itself. */
static llm_status ask_draft(int32_t *guesses, size_t *count_out, size_t most, llm_session *draft,
                            const llm_session *session)
{
    size_t same = 0;
    size_t count = 0;
    llm_status status;

    *count_out = 0;
    if ((int64_t)(session->length + most) > draft->limit)
        return LLM_OK;
    while (same < draft->length && same < session->length && draft->ids[same] == session->ids[same])
        same++;
    status = session_rewind(draft, (int64_t)same);
    if (!status)
        status = session_append_lazily(draft, session->ids + same, session->length - same);
    while (!status && count < most) {
        status = session_evaluate(draft);
        if (status)
            break;
        guesses[count] = most_probable(draft);
        status = session_append_lazily(draft, guesses + count, 1);
        count++;
    }
    *count_out = status ? 0 : count;
    return status;
}

/* As many guesses as the text, the cache and the caller have use for. */
static size_t most_guesses(const llm_session *session, const llm_generate_options *options)
{
    int64_t most = options->draft ? options->draft_tokens : options->lookup_tokens;
    int64_t room = session->limit - (int64_t)session->length - 1;
    int64_t left = options->max_tokens - (int64_t)session->generated.count - 1;
    int64_t long_from = session->model->long_from;

    most = room < most ? room : most;
    if (options->max_tokens && left < most)
        most = left;
    if (long_from && !session->is_long && (int64_t)session->length + most > long_from)
        most = 0; /* all angles change there */
    return most > 0 ? (size_t)most : 0;
}

/* ---- checking ---------------------------------------------------------------------------------
 */

static llm_status run(llm_session *session, int64_t held, size_t count)
{
    struct ahead *ahead = &session->ahead;
    size_t length = session->length;
    int64_t pending = (int64_t)length - held;
    size_t vocabulary = (size_t)session->model->vocabulary;
    struct step_part part = {.sequence = session->sequence,
                             .count = pending + (int64_t)count,
                             .rows = (int64_t)count + 1};
    llm_status status =
        memory_grow(&session->context->memory, (void **)&ahead->rows, &ahead->row_capacity,
                    (count + 1) * vocabulary, sizeof *ahead->rows);

    if (!status)
        status = session_reserve(session, count);
    if (status)
        return status;
    memcpy(session->ids + length, ahead->ids, count * sizeof *ahead->ids);
    part.ids = session->ids + held;
    status = stepper_run(&session->stepper, &part, 1, ahead->rows);
    if (status)
        return status;
    ahead->begin = length;
    ahead->count = count;
    ahead->is_set = true;
    return LLM_OK;
}

llm_status speculate(llm_session *session, const llm_generate_options *options)
{
    struct ahead *ahead = &session->ahead;
    size_t most = most_guesses(session, options);
    int64_t held = kv_cache_length(session->cache, session->sequence);
    llm_status status = LLM_OK;
    size_t count = 0;

    if (!most || ahead->is_set || session->logits_length == session->length ||
        held >= (int64_t)session->length || (int64_t)session->length - held > session->chunk)
        return LLM_OK;
    if (options->draft)
        status = ask_draft(ahead->ids, &count, most, options->draft, session);
    else
        count = look_up(ahead->ids, most, session->ids, session->length);
    if (status || !count)
        return status;
    if (atomic_load(&session->cancel))
        return status_set(LLM_E_CANCELLED, "cancelled");
    return run(session, held, count);
}

/* Guesses that the text has followed so far. */
static size_t followed(const llm_session *session)
{
    const struct ahead *ahead = &session->ahead;
    size_t same = 0;

    while (same < ahead->count && ahead->begin + same < session->length &&
           ahead->ids[same] == session->ids[ahead->begin + same])
        same++;
    return same;
}

bool speculate_use(llm_session *session)
{
    struct ahead *ahead = &session->ahead;
    size_t vocabulary = (size_t)session->model->vocabulary;
    size_t same;

    if (!ahead->is_set)
        return false;
    same = followed(session);
    if (ahead->begin + same != session->length) {
        speculate_end(session);
        return false;
    }
    memcpy(session->logits, ahead->rows + same * vocabulary, vocabulary * sizeof *session->logits);
    session->logits_length = session->length;
    return true;
}

void speculate_end(llm_session *session)
{
    struct ahead *ahead = &session->ahead;

    if (!ahead->is_set)
        return;
    ahead->is_set = false;
    (void)kv_cache_rewind(session->cache, session->sequence,
                          (int64_t)(ahead->begin + followed(session)));
}
