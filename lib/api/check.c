/* SPDX-License-Identifier: MIT */
#include "api/check.h"

#include "base/text.h"

#include <string.h>

enum { OPTIONS_MAX_SIZE = 4096 };

static llm_status check_size(size_t size, const char *what)
{
    if (size < sizeof(size_t) || size > OPTIONS_MAX_SIZE)
        return status_set(LLM_E_INVALID, "%s: struct_size is %zu; call %s_init() first", what, size,
                          what);
    return LLM_OK;
}

llm_status options_read(void *mine, size_t mine_size, const void *theirs, const char *what)
{
    const unsigned char *bytes = theirs;
    size_t theirs_size;
    llm_status status;

    if (!theirs)
        return LLM_OK;
    memcpy(&theirs_size, theirs, sizeof theirs_size);
    status = check_size(theirs_size, what);
    if (status)
        return status;
    for (size_t i = mine_size; i < theirs_size; i++) {
        if (bytes[i] != 0)
            return status_set(LLM_E_INVALID, "%s: unknown field set at byte %zu", what, i);
    }
    memcpy(mine, theirs, theirs_size < mine_size ? theirs_size : mine_size);
    memcpy(mine, &mine_size, sizeof mine_size);
    return LLM_OK;
}

llm_status options_fill(void *theirs, size_t theirs_size, const void *defaults,
                        size_t defaults_size, const char *what)
{
    llm_status status;

    if (!theirs)
        return status_set(LLM_E_INVALID, "%s_init: options is NULL", what);
    status = check_size(theirs_size, what);
    if (status)
        return status;
    memset(theirs, 0, theirs_size);
    memcpy(theirs, defaults, theirs_size < defaults_size ? theirs_size : defaults_size);
    memcpy(theirs, &theirs_size, sizeof theirs_size);
    return LLM_OK;
}

llm_status null_argument(const char *function, const char *argument)
{
    return status_set(LLM_E_INVALID, "%s: %s is NULL", function, argument);
}

bool text_is_utf8(const char *text, size_t size)
{
    const unsigned char *cursor = (const unsigned char *)text;
    const unsigned char *end = cursor + size;
    bool valid = true;

    while (cursor < end && valid)
        (void)utf8_next(&cursor, end, &valid);
    return valid;
}
