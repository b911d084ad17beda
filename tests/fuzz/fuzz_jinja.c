/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a chat template, up to a NUL, and as the messages behind it. What renders is valid
 * UTF-8, and its parts lie inside it.
 */
#include "fuzz.h"

#include <llm.h>

#include <stdlib.h>
#include <string.h>

static const char messages[] =
    "[{\"role\": \"system\", \"content\": \"be <b>\"}, {\"role\": \"user\", \"content\": "
    "\"h\\u00e9llo, w\"}, {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": "
    "\"1\", \"function\": {\"name\": \"f\", \"arguments\": \"{\\\"a\\\": [1, 2.5]}\"}}]}]";
static const char tools[] = "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]";

static void use(const llm_chat_template *chat, const char *text, size_t size)
{
    llm_chat_options options;
    llm_chat_prompt *prompt;
    size_t begins[64];
    size_t ends[64];
    size_t count;
    size_t length;

    if (llm_chat_options_init(&options, sizeof options))
        abort();
    options.tools = tools;
    options.tools_size = sizeof tools - 1;
    options.now = 1700000000;
    if (llm_chat_render(&prompt, chat, text, size, &options)) {
        if (prompt || !llm_last_error()[0])
            abort();
        return;
    }
    if (strlen(llm_chat_prompt_text(prompt, &length)) > length)
        abort();
    if (llm_chat_prompt_spans(begins, ends, 64, &count, prompt) == LLM_OK) {
        for (size_t i = 0; i < count; i++) {
            if (begins[i] >= ends[i] || ends[i] > length)
                abort();
        }
    }
    llm_chat_prompt_free(prompt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static llm_context *context;
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t length = end ? (size_t)(end - data) : size;
    llm_context_options options;
    llm_chat_template *chat;

    if (!context) {
        if (llm_context_options_init(&options, sizeof options))
            abort();
        options.memory_limit = (uint64_t)64 << 20;
        options.threads = 1;
        if (llm_context_new(&context, &options))
            abort();
    }
    if (!size || llm_chat_template_new(&chat, context, (const char *)data, length))
        return 0;
    if (end)
        use(chat, (const char *)end + 1, size - length - 1);
    else
        use(chat, messages, sizeof messages - 1);
    llm_chat_template_free(chat);
    return 0;
}
