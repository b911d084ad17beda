/* SPDX-License-Identifier: MIT
 *
 * Any bytes as the state of a session: the input is laid over a valid state, from a place that its
 * first bytes give, with the checksum made right so that what lies behind it is reached too.
 */
#include "fuzz.h"

#include "base/crc32c.h"

#include <llm.h>

#include <stdlib.h>
#include <string.h>

static llm_session *session;
static unsigned char *valid;
static size_t valid_size;

static void prepare(void)
{
    static const char config[] = "{\"model_type\":\"gpt2\",\"n_layer\":1,\"n_head\":1,\"n_embd\":4,"
                                 "\"n_positions\":64,\"vocab_size\":11}";
    static const int32_t ids[5] = {1, 2, 3, 4, 5};
    llm_context *context;
    llm_model *model;

    if (llm_context_new(&context, NULL) ||
        llm_model_new(&model, context, config, sizeof config - 1, NULL) ||
        llm_session_new(&session, model, NULL, NULL) || llm_session_append(session, ids, 5))
        abort();
    (void)llm_session_save_memory(NULL, 0, &valid_size, session);
    valid = malloc(valid_size);
    if (!valid || llm_session_save_memory(valid, valid_size, &valid_size, session))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *state;
    uint32_t checksum;
    size_t at;
    size_t count;
    float logits[11];

    if (!session)
        prepare();
    (void)llm_session_restore_memory(session, size ? data : valid, size);
    if (size < 4)
        return 0;
    at = (data[0] | (size_t)data[1] << 8) % valid_size;
    count = size - 2 < valid_size - at ? size - 2 : valid_size - at;
    state = malloc(valid_size);
    if (!state)
        return 0;
    memcpy(state, valid, valid_size);
    memcpy(state + at, data + 2, count);
    checksum = crc32c(0, state, valid_size - sizeof checksum);
    memcpy(state + valid_size - sizeof checksum, &checksum, sizeof checksum);
    if (llm_session_restore_memory(session, state, valid_size) == LLM_OK &&
        llm_session_length(session) > 0)
        (void)llm_session_logits(logits, 11, NULL, session);
    free(state);
    return 0;
}
