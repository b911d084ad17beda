/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a model's answer, in every format: whole and in pieces the result is the same.
 */
#include "fuzz.h"

#include <llm.h>

#include <stdlib.h>
#include <string.h>

static llm_chat_parser *parse(llm_context *context, int32_t format, const char *text, size_t size,
                              size_t step)
{
    llm_chat_parser *parser;

    if (llm_chat_parser_new(&parser, context, format, NULL))
        abort();
    for (size_t at = 0; at < size; at += step) {
        size_t part = size - at < step ? size - at : step;

        if (llm_chat_parser_push(parser, text + at, part, NULL, NULL))
            abort();
    }
    if (llm_chat_parser_finish(parser, NULL, NULL))
        abort();
    return parser;
}

static void check_same(const llm_chat_parser *a, const llm_chat_parser *b)
{
    size_t count = llm_chat_parser_call_count(a);
    const char *texts[2];
    size_t sizes[2];

    if (count != llm_chat_parser_call_count(b))
        abort();
    for (size_t i = 0; i < count; i++) {
        llm_chat_call one;
        llm_chat_call two;

        if (llm_chat_parser_call(&one, a, i) || llm_chat_parser_call(&two, b, i) ||
            strcmp(one.name, two.name) || strcmp(one.id, two.id) ||
            strcmp(one.arguments, two.arguments))
            abort();
    }
    texts[0] = llm_chat_parser_content(a, &sizes[0]);
    texts[1] = llm_chat_parser_content(b, &sizes[1]);
    if (sizes[0] != sizes[1] || memcmp(texts[0], texts[1], sizes[0]))
        abort();
    texts[0] = llm_chat_parser_reasoning(a, &sizes[0]);
    texts[1] = llm_chat_parser_reasoning(b, &sizes[1]);
    if (sizes[0] != sizes[1] || memcmp(texts[0], texts[1], sizes[0]))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static llm_context *context;

    if (!context && llm_context_new(&context, NULL))
        abort();
    for (int32_t format = LLM_CHAT_PLAIN; format <= LLM_CHAT_JSON; format++) {
        llm_chat_parser *whole = parse(context, format, (const char *)data, size, size + 1);
        llm_chat_parser *parts = parse(context, format, (const char *)data, size, 3);

        check_same(whole, parts);
        llm_chat_parser_free(whole);
        llm_chat_parser_free(parts);
    }
    return 0;
}
