/* SPDX-License-Identifier: MIT
 *
 * Chat templates: where they lie in a model directory, and rendering a conversation.
 */
#ifndef CHAT_CHAT_TEMPLATE_H
#define CHAT_CHAT_TEMPLATE_H

#include "base/context.h"
#include "chat/jinja_interpreter.h"
#include "llm/chat.h"

struct llm_chat_template {
    llm_context *context;
    char *text;
    size_t size;
    struct jinja_program program;
    char *tool_text;                   /* "tool_use", used when tools are given; or NULL */
    struct jinja_program tool_program; /* zeroed without tool_text */
    json_t *tokens;                    /* object: special tokens by name */
};

struct llm_chat_prompt {
    llm_context *context;
    char *text;
    size_t size;
    unsigned char *input; /* 1 for each byte that came in; NULL: none */
    struct jinja_span *spans;
    size_t span_count;
};

llm_status chat_template_new(llm_chat_template **out, llm_context *context, const char *text,
                             size_t size);
llm_status chat_template_load(llm_chat_template **out, llm_context *context, const char *path,
                              const char *name);
void chat_template_free(llm_chat_template *chat);

/* LLM_CHAT_* of a template's text. */
int32_t chat_format_of(const char *text, size_t size);

/* A special token that a tokenizer knows. */
struct chat_token {
    const char *name; /* bos_token */
    const char *text;
    size_t size;
};

llm_status chat_render(llm_chat_prompt **out, const llm_chat_template *chat, const char *messages,
                       size_t size, const llm_chat_options *options,
                       const struct chat_token *tokens, size_t token_count);
void chat_prompt_free(llm_chat_prompt *prompt);

#endif
