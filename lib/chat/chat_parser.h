/* SPDX-License-Identifier: MIT
 *
 * Taking answers apart. chat_parser.c finds the marks in the stream, chat_calls.c reads what stands
 * between them.
 */
#ifndef CHAT_CHAT_PARSER_H
#define CHAT_CHAT_PARSER_H

#include "chat/chat_template.h"

enum chat_mode { CHAT_IN_CONTENT, CHAT_IN_REASONING, CHAT_IN_CALL, CHAT_IN_JSON };

/* A pair of marks and what lies between them. */
struct chat_marks {
    const char *open;
    const char *close;   /* NULL: the end of the answer */
    enum chat_mode mode; /* CHAT_IN_CONTENT: `open` alone, which is left out */
    uint32_t formats;    /* bits 1 << LLM_CHAT_* */
};

struct chat_call {
    char *name, *id, *arguments;
};

struct llm_chat_parser {
    llm_context *context;
    int32_t format;
    enum chat_mode mode;
    const struct chat_marks *marks; /* that opened the mode */
    struct text pending;            /* not decided yet */
    size_t scanned;                 /* of pending: holds no closing mark */
    struct text blanks;             /* white space held back until something follows */
    struct text content, reasoning;
    struct chat_call *calls;
    size_t call_count, call_capacity;
    bool trim;  /* white space at the beginning of what comes is left out */
    bool begun; /* something but white space has come */
    llm_chat_event_fn on_event;
    void *user;
    llm_status status;
};

llm_status chat_parser_new(llm_chat_parser **out, llm_context *context, int32_t format,
                           const llm_chat_prompt *prompt);
llm_status chat_parser_push(llm_chat_parser *parser, const char *text, size_t size,
                            llm_chat_event_fn on_event, void *user);
llm_status chat_parser_finish(llm_chat_parser *parser, llm_chat_event_fn on_event, void *user);
void chat_parser_free(llm_chat_parser *parser);

/* The calls in `body`, added to the parser and told; false if there is none that can be read. */
bool chat_read_calls(llm_chat_parser *parser, const char *body, size_t size);

/* For chat_calls.c: one call is complete. `id` NULL: one is made up. */
void chat_add_call(llm_chat_parser *parser, const char *name, size_t name_size, const char *id,
                   const char *arguments, size_t size);

#endif
