/* SPDX-License-Identifier: MIT
 *
 * Which family a template belongs to, by the marks that its text holds.
 */
#include "chat/chat_template.h"

#include <string.h>

static bool holds(const char *text, size_t size, const char *mark)
{
    size_t length = strlen(mark);

    for (size_t i = 0; i + length <= size; i++) {
        if (text[i] == mark[0] && memcmp(text + i, mark, length) == 0)
            return true;
    }
    return false;
}

int32_t chat_format_of(const char *text, size_t size)
{
    static const struct {
        const char *mark;
        int32_t format;
    } marks[] = {
        {"<|START_ACTION|>", LLM_CHAT_COMMAND_R},
        {"<\xEF\xBD\x9Ctool\xE2\x96\x81", LLM_CHAT_DEEPSEEK}, /* fullwidth bar, low block */
        {"[TOOL_CALLS]", LLM_CHAT_MISTRAL},
        {"<tool_call>", LLM_CHAT_HERMES},
        {"<|python_tag|>", LLM_CHAT_LLAMA3},
        {"<|start_header_id|>ipython", LLM_CHAT_LLAMA3},
        {"\"parameters\": dictionary of argument", LLM_CHAT_LLAMA3},
        {"<|tool_call|>", LLM_CHAT_JSON},
        {"tools", LLM_CHAT_JSON},
    };

    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (holds(text, size, marks[i].mark))
            return marks[i].format;
    }
    return LLM_CHAT_PLAIN;
}
