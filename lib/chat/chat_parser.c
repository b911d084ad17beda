/* SPDX-License-Identifier: MIT
 *
 * Finding the marks of reasoning and tool calls in a stream of text. Text that could be the
 * beginning of a mark waits for what follows; so does white space, which belongs to content only if
 * content follows.
 */
#include "chat/chat_parser.h"

#include <stdio.h>
#include <string.h>

#define BIT(format) (1u << LLM_CHAT_##format)
#define ALL (~0u)
#define DEEPSEEK_MARK(name) "<\xEF\xBD\x9C" name "\xEF\xBD\x9C>"
#define BLOCK "\xE2\x96\x81"

static const struct chat_marks marks[] = {
    {"<think>", "</think>", CHAT_IN_REASONING, ALL},
    {"[THINK]", "[/THINK]", CHAT_IN_REASONING, BIT(MISTRAL)},
    {"<|START_THINKING|>", "<|END_THINKING|>", CHAT_IN_REASONING, BIT(COMMAND_R)},
    {"<tool_call>", "</tool_call>", CHAT_IN_CALL, BIT(HERMES)},
    {"<|python_tag|>", NULL, CHAT_IN_CALL, BIT(LLAMA3)},
    {"[TOOL_CALLS]", NULL, CHAT_IN_CALL, BIT(MISTRAL)},
    {DEEPSEEK_MARK("tool" BLOCK "calls" BLOCK "begin"),
     DEEPSEEK_MARK("tool" BLOCK "calls" BLOCK "end"), CHAT_IN_CALL, BIT(DEEPSEEK)},
    {"<|START_ACTION|>", "<|END_ACTION|>", CHAT_IN_CALL, BIT(COMMAND_R)},
    {"<|tool_call|>", "<|/tool_call|>", CHAT_IN_CALL, BIT(JSON)},
    {"<tool_call>", "</tool_call>", CHAT_IN_CALL, BIT(JSON)},
    {"```json", "```", CHAT_IN_CALL, BIT(JSON)},
    {"```tool_call", "```", CHAT_IN_CALL, BIT(JSON)},
    {"<|START_RESPONSE|>", NULL, CHAT_IN_CONTENT, BIT(COMMAND_R)},
    {"<|END_RESPONSE|>", NULL, CHAT_IN_CONTENT, BIT(COMMAND_R)},
    {"<|END_OF_TURN_TOKEN|>", NULL, CHAT_IN_CONTENT, BIT(COMMAND_R)},
    {"<|im_end|>", NULL, CHAT_IN_CONTENT, BIT(HERMES)},
    {"<|eot_id|>", NULL, CHAT_IN_CONTENT, BIT(LLAMA3)},
    {"<|eom_id|>", NULL, CHAT_IN_CONTENT, BIT(LLAMA3)},
    {"</s>", NULL, CHAT_IN_CONTENT, BIT(MISTRAL)},
    {DEEPSEEK_MARK("end" BLOCK "of" BLOCK "sentence"), NULL, CHAT_IN_CONTENT, BIT(DEEPSEEK)},
    {"<|end|>", NULL, CHAT_IN_CONTENT, BIT(JSON)},
    {"<end_of_turn>", NULL, CHAT_IN_CONTENT, BIT(JSON)},
};

enum { STEP = 512 };

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* ---- telling -----------------------------------------------------------------------------------
 */

static void tell(llm_chat_parser *p, const llm_chat_event *event)
{
    if (!p->status && p->on_event && p->on_event(p->user, event))
        p->status = status_set(LLM_E_CANCELLED, "llm_chat_parser: stopped by the callback");
}

static void append(llm_chat_parser *p, struct text *to, const char *text, size_t size)
{
    text_append(to, text, size);
    if (to->failed)
        p->status = LLM_E_NOMEM;
}

/* Text of the running mode. White space waits in `blanks` until something follows it. */
static void say(llm_chat_parser *p, const char *text, size_t size)
{
    bool reasoning = p->mode == CHAT_IN_REASONING;
    struct text *to = reasoning ? &p->reasoning : &p->content;
    size_t before = to->size;
    size_t end = size;

    while (p->trim && size && is_blank(*text)) {
        text++;
        size--;
    }
    if (!size || p->status)
        return;
    p->trim = false;
    for (end = size; end > 0 && is_blank(text[end - 1]);)
        end--;
    if (end) {
        append(p, to, p->blanks.data ? p->blanks.data : "", p->blanks.size);
        p->blanks.size = 0;
        append(p, to, text, end);
    }
    append(p, &p->blanks, text + end, size - end);
    if (!p->status && to->size > before) {
        llm_chat_event event = {to->data + before,
                                to->size - before,
                                NULL,
                                NULL,
                                reasoning ? LLM_CHAT_REASONING : LLM_CHAT_CONTENT,
                                0};

        tell(p, &event);
    }
}

static char *copy(llm_chat_parser *p, const char *text, size_t size)
{
    char *out = memory_copy_text(&p->context->memory, text, size);

    if (!out)
        p->status = LLM_E_NOMEM;
    return out;
}

void chat_add_call(llm_chat_parser *p, const char *name, size_t name_size, const char *id,
                   const char *arguments, size_t size)
{
    struct chat_call *call;
    char made_up[16];

    if (!p->status)
        p->status = memory_grow(&p->context->memory, (void **)&p->calls, &p->call_capacity,
                                p->call_count + 1, sizeof *p->calls);
    if (p->status)
        return;
    (void)snprintf(made_up, sizeof made_up, "call%05u", (unsigned)p->call_count % 100000);
    if (!id || !*id)
        id = made_up;
    call = &p->calls[p->call_count++];
    *call = (struct chat_call){copy(p, name, name_size), NULL, NULL};
    call->id = copy(p, id, strlen(id));
    call->arguments = copy(p, arguments, size);
    if (!p->status) {
        llm_chat_event event = {call->arguments,    size,
                                call->name,         call->id,
                                LLM_CHAT_TOOL_CALL, (int32_t)p->call_count - 1};

        tell(p, &event);
    }
}

/* ---- finding -----------------------------------------------------------------------------------
 */

static size_t find(const char *text, size_t size, const char *needle, size_t from)
{
    size_t length = strlen(needle);

    for (size_t i = from; i + length <= size; i++) {
        const char *at = memchr(text + i, needle[0], size - length - i + 1);

        if (!at)
            break;
        i = (size_t)(at - text);
        if (memcmp(at, needle, length) == 0)
            return i;
    }
    return SIZE_MAX;
}

/* How many bytes at the end of the text could be the beginning of `mark`. */
static size_t partial(const char *text, size_t size, const char *mark)
{
    size_t length = strlen(mark) - 1;

    for (size_t n = length < size ? length : size; n > 0; n--) {
        if (memcmp(text + size - n, mark, n) == 0)
            return n;
    }
    return 0;
}

static void consume(llm_chat_parser *p, size_t size)
{
    memmove(p->pending.data, p->pending.data + size, p->pending.size - size);
    p->pending.size -= size;
    p->scanned = 0;
}

static bool in_format(const llm_chat_parser *p, const struct chat_marks *m)
{
    return (m->formats >> p->format & 1) != 0;
}

/* The mark that stands first; of two at one place the longer. */
static const struct chat_marks *first_mark(const llm_chat_parser *p, size_t *at)
{
    const struct chat_marks *best = NULL;

    *at = SIZE_MAX;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t found = in_format(p, &marks[i])
                           ? find(p->pending.data, p->pending.size, marks[i].open, 0)
                           : SIZE_MAX;

        if (found < *at) {
            *at = found;
            best = &marks[i];
        }
    }
    return best;
}

/* How much at the end of pending may be the beginning of a mark. */
static size_t held_back(const llm_chat_parser *p)
{
    size_t most = 0;

    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t n =
            in_format(p, &marks[i]) ? partial(p->pending.data, p->pending.size, marks[i].open) : 0;

        most = n > most ? n : most;
    }
    return most;
}

/* Whether the answer may be JSON as a whole: then it is kept until its end. */
static bool begins_json(llm_chat_parser *p)
{
    size_t i = 0;

    if (p->begun || (p->format != LLM_CHAT_LLAMA3 && p->format != LLM_CHAT_JSON))
        return false;
    while (i < p->pending.size && is_blank(p->pending.data[i]))
        i++;
    return i < p->pending.size && (p->pending.data[i] == '{' || p->pending.data[i] == '[');
}

/* One piece of content, or the opening of something; false: nothing more to do now. */
static bool read_content(llm_chat_parser *p, bool last)
{
    const struct chat_marks *mark;
    size_t at;

    if (begins_json(p)) {
        p->mode = CHAT_IN_JSON;
        return true;
    }
    mark = first_mark(p, &at);
    if (!mark)
        at = p->pending.size - (last ? 0 : held_back(p));
    for (size_t i = 0; i < at && !p->begun; i++)
        p->begun = !is_blank(p->pending.data[i]);
    say(p, p->pending.data, at);
    if (!mark) {
        consume(p, at);
        return false;
    }
    consume(p, at + strlen(mark->open));
    if (mark->mode != CHAT_IN_CONTENT) {
        p->mode = mark->mode;
        p->marks = mark;
        if (mark->mode == CHAT_IN_REASONING) {
            p->blanks.size = 0;
            p->trim = true;
        }
    }
    return true;
}

static bool read_reasoning(llm_chat_parser *p, bool last)
{
    size_t at = find(p->pending.data, p->pending.size, p->marks->close, 0);
    bool closed = at != SIZE_MAX;

    if (!closed)
        at = p->pending.size -
             (last ? 0 : partial(p->pending.data, p->pending.size, p->marks->close));
    say(p, p->pending.data, at);
    consume(p, closed ? at + strlen(p->marks->close) : at);
    if (closed) {
        p->blanks.size = 0;
        p->mode = CHAT_IN_CONTENT;
        p->trim = true;
    }
    return closed;
}

/* A call that cannot be read is content, as it was written. */
static void give_up_call(llm_chat_parser *p, size_t size, bool closed)
{
    p->mode = CHAT_IN_CONTENT;
    p->begun = true;
    say(p, p->marks->open, strlen(p->marks->open));
    say(p, p->pending.data, size);
    if (closed)
        say(p, p->marks->close, strlen(p->marks->close));
}

static bool read_call(llm_chat_parser *p, bool last)
{
    const char *close = p->marks->close;
    size_t at = close ? find(p->pending.data, p->pending.size, close, p->scanned) : SIZE_MAX;
    bool closed = at != SIZE_MAX;

    if (!closed && !last) {
        size_t margin = close ? strlen(close) : 0;

        p->scanned = p->pending.size > margin ? p->pending.size - margin : 0;
        return false;
    }
    if (!closed)
        at = p->pending.size;
    if (chat_read_calls(p, p->pending.data, at)) {
        p->mode = CHAT_IN_CONTENT;
        p->blanks.size = 0;
        p->trim = true;
        p->begun = true;
    } else if (!p->status) {
        give_up_call(p, at, closed);
    }
    consume(p, closed ? at + strlen(close) : at);
    return closed;
}

static void feed(llm_chat_parser *p, const char *text, size_t size);

/* The answer as a whole: calls, or content after all. */
static void read_json(llm_chat_parser *p)
{
    struct text whole = p->pending;

    if (chat_read_calls(p, whole.data, whole.size)) {
        p->pending.size = 0;
        p->mode = CHAT_IN_CONTENT;
        return;
    }
    text_init(&p->pending, &p->context->memory);
    p->mode = CHAT_IN_CONTENT;
    p->begun = true; /* so it will not be taken for JSON again */
    feed(p, whole.data, whole.size);
    text_free(&whole);
}

static void work(llm_chat_parser *p, bool last)
{
    bool more = true;

    while (more && !p->status && (p->pending.size || last)) {
        switch (p->mode) {
        case CHAT_IN_CONTENT:
            more = read_content(p, last);
            break;
        case CHAT_IN_REASONING:
            more = read_reasoning(p, last);
            break;
        case CHAT_IN_CALL:
            more = read_call(p, last);
            break;
        default:
            if (last)
                read_json(p);
            more = last;
            break;
        }
    }
}

/* In small steps, so that what waits to be decided stays short. */
static void feed(llm_chat_parser *p, const char *text, size_t size)
{
    size_t step;

    append(p, &p->pending, "", 0); /* there are bytes to look at from now on */
    for (size_t at = 0; at < size && !p->status; at += step) {
        step = size - at < STEP ? size - at : STEP;
        append(p, &p->pending, text + at, step);
        work(p, false);
    }
}

static llm_status run(llm_chat_parser *p, const char *text, size_t size, llm_chat_event_fn on_event,
                      void *user, bool last)
{
    llm_status status;

    p->on_event = on_event;
    p->user = user;
    feed(p, text, size);
    if (last)
        work(p, true);
    status = p->status;
    if (status == LLM_E_CANCELLED)
        p->status = LLM_OK; /* what was said is said; the next call goes on */
    return status;
}

llm_status chat_parser_push(llm_chat_parser *p, const char *text, size_t size,
                            llm_chat_event_fn on_event, void *user)
{
    return run(p, text, size, on_event, user, false);
}

llm_status chat_parser_finish(llm_chat_parser *p, llm_chat_event_fn on_event, void *user)
{
    llm_status status = run(p, "", 0, on_event, user, true);

    /* White space at the end belongs to content that stands alone. */
    if (!status && p->mode == CHAT_IN_CONTENT && p->call_count == 0 && p->blanks.size) {
        size_t before = p->content.size;

        append(p, &p->content, p->blanks.data, p->blanks.size);
        p->blanks.size = 0;
        if (!p->status) {
            llm_chat_event event = {p->content.data + before,
                                    p->content.size - before,
                                    NULL,
                                    NULL,
                                    LLM_CHAT_CONTENT,
                                    0};

            tell(p, &event);
        }
        status = p->status;
    }
    return status;
}

/* ---- making ------------------------------------------------------------------------------------
 */

/* A prompt that ends with <think> and blanks makes the answer begin with reasoning. */
static void look_at_prompt(llm_chat_parser *p, const llm_chat_prompt *prompt)
{
    size_t size = prompt->size;

    while (size && is_blank(prompt->text[size - 1]))
        size--;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t length = strlen(marks[i].open);

        if (marks[i].mode == CHAT_IN_REASONING && in_format(p, &marks[i]) && size >= length &&
            memcmp(prompt->text + size - length, marks[i].open, length) == 0) {
            p->mode = CHAT_IN_REASONING;
            p->marks = &marks[i];
            p->trim = true;
        }
    }
}

llm_status chat_parser_new(llm_chat_parser **out, llm_context *context, int32_t format,
                           const llm_chat_prompt *prompt)
{
    struct memory *memory = &context->memory;
    llm_chat_parser *p = memory_alloc_zeroed(memory, 1, sizeof *p);

    if (!p)
        return LLM_E_NOMEM;
    p->context = context_retain(context);
    p->format = format;
    text_init(&p->pending, memory);
    text_init(&p->blanks, memory);
    text_init(&p->content, memory);
    text_init(&p->reasoning, memory);
    if (prompt)
        look_at_prompt(p, prompt);
    *out = p;
    return LLM_OK;
}

void chat_parser_free(llm_chat_parser *p)
{
    llm_context *context;

    if (!p)
        return;
    context = p->context;
    for (size_t i = 0; i < p->call_count; i++) {
        memory_release(&context->memory, p->calls[i].name);
        memory_release(&context->memory, p->calls[i].id);
        memory_release(&context->memory, p->calls[i].arguments);
    }
    memory_release(&context->memory, p->calls);
    text_free(&p->pending);
    text_free(&p->blanks);
    text_free(&p->content);
    text_free(&p->reasoning);
    memory_release(&context->memory, p);
    context_release(context);
}
