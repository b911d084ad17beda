/* SPDX-License-Identifier: MIT
 *
 * Sessions as files and bytes, taking tokens out, beam search: llm/session.h.
 */
#include "api/check.h"
#include "base/file.h"
#include "generate/session.h"

#include <string.h>

llm_status llm_session_erase(llm_session *session, int64_t begin, int64_t count)
{
    llm_status status;

    if (!session)
        return null_argument("llm_session_erase", "session");
    status = session_enter(session);
    return status ? status : session_leave(session, session_erase(session, begin, count));
}

/* ---- state ------------------------------------------------------------------------------------
 */

llm_status llm_session_save(llm_session *session, const char *path)
{
    struct text bytes;
    llm_status status;

    if (!session || !path)
        return null_argument("llm_session_save", session ? "path" : "session");
    status = session_enter(session);
    if (status)
        return status;
    text_init(&bytes, &session->context->memory);
    status = session_save(session, &bytes);
    if (!status)
        status = file_write(&session->context->memory, path, bytes.data, bytes.size);
    text_free(&bytes);
    return session_leave(session, status);
}

llm_status llm_session_save_memory(void *buffer, size_t capacity, size_t *size_out,
                                   llm_session *session)
{
    struct text bytes;
    llm_status status;

    if (!session || !size_out || (!buffer && capacity))
        return null_argument("llm_session_save_memory", !session    ? "session"
                                                        : !size_out ? "size_out"
                                                                    : "buffer");
    *size_out = 0;
    status = session_enter(session);
    if (status)
        return status;
    text_init(&bytes, &session->context->memory);
    status = session_save(session, &bytes);
    if (!status)
        *size_out = bytes.size;
    if (!status && bytes.size > capacity)
        status = status_set(LLM_E_BUFFER, "llm_session_save_memory: room for %zu bytes, %zu needed",
                            capacity, bytes.size);
    else if (!status)
        memcpy(buffer, bytes.data, bytes.size);
    text_free(&bytes);
    return session_leave(session, status);
}

llm_status llm_session_restore(llm_session *session, const char *path)
{
    char *data = NULL;
    size_t size = 0;
    llm_status status;

    if (!session || !path)
        return null_argument("llm_session_restore", session ? "path" : "session");
    status = session_enter(session);
    if (status)
        return status;
    status = file_read(&data, &size, &session->context->memory, path, 0);
    if (!status)
        status = status_prefix(session_restore(session, data, size), "%s", path);
    memory_release(&session->context->memory, data);
    return session_leave(session, status);
}

llm_status llm_session_restore_memory(llm_session *session, const void *data, size_t size)
{
    llm_status status;

    if (!session || !data)
        return null_argument("llm_session_restore_memory", session ? "data" : "session");
    status = session_enter(session);
    return status ? status : session_leave(session, session_restore(session, data, size));
}

/* ---- beams ------------------------------------------------------------------------------------
 */

static const llm_beam_options default_beams = {
    .struct_size = sizeof default_beams, .max_tokens = 256, .length_penalty = 1.0, .beams = 4};

llm_status llm_beam_options_init(llm_beam_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_beams, sizeof default_beams,
                        "llm_beam_options");
}

llm_status llm_session_beam_search(llm_session *session, const llm_beam_options *given)
{
    llm_beam_options options = default_beams;
    llm_status status;

    if (!session)
        return null_argument("llm_session_beam_search", "session");
    status = options_read(&options, sizeof options, given, "llm_beam_options");
    if (!status)
        status = session_beam_check(session, &options);
    if (!status)
        status = session_enter(session);
    return status ? status : session_leave(session, session_beam_search(session, &options));
}

const int32_t *llm_session_beam(const llm_session *session, size_t index, size_t *count_out,
                                double *score_out)
{
    bool is_there = session && index < session->beams.count;

    if (count_out)
        *count_out = is_there ? session->beams.places[index].count : 0;
    if (score_out)
        *score_out = is_there ? session->beams.places[index].score : 0.0;
    return is_there ? session->beams.ids + session->beams.places[index].first : NULL;
}
