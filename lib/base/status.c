/* SPDX-License-Identifier: MIT */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = 512 };

static _Thread_local char message[MESSAGE_SIZE];

/* One line: whatever a file name or a token brought in, control characters become spaces. */
static void make_one_line(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20)
            *text = ' ';
    }
}

llm_status status_set(llm_status code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    make_one_line(message);
    return code;
}

llm_status status_prefix(llm_status code, const char *format, ...)
{
    char joined[2 * MESSAGE_SIZE];
    va_list args;
    int used;

    if (code == LLM_OK)
        return code;
    va_start(args, format);
    used = vsnprintf(joined, MESSAGE_SIZE, format, args);
    va_end(args);
    if (used < 0 || used >= MESSAGE_SIZE - 2)
        return code;
    (void)snprintf(joined + used, sizeof joined - (size_t)used, ": %s", message);
    joined[MESSAGE_SIZE - 1] = '\0';
    memcpy(message, joined, sizeof message);
    make_one_line(message);
    return code;
}

const char *status_message(void)
{
    return message;
}

void status_restore(const char *text)
{
    (void)snprintf(message, sizeof message, "%s", text);
}
