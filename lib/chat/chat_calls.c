/* SPDX-License-Identifier: MIT
 *
 * Reading tool calls: JSON in its usual forms, and the forms that are not JSON as a whole: name and
 * arguments apart (Mistral, DeepSeek), a Python call (Llama), XML-like parameters (Qwen Coder).
 */
#include "chat/chat_parser.h"

#include "base/json.h"
#include "chat/jinja_builtins.h"

#include <string.h>

#define DEEPSEEK_MARK(name) "<\xEF\xBD\x9C" name "\xEF\xBD\x9C>"
#define BLOCK "\xE2\x96\x81"

enum { VALUES_MAX = 64 << 20, STEPS_MAX = 10000000 };

/* A part of the text. */
struct part {
    const char *text;
    size_t size;
};

static struct part trim(struct part part)
{
    while (part.size && strchr(" \t\r\n", part.text[0]) && part.text[0]) {
        part.text++;
        part.size--;
    }
    while (part.size && strchr(" \t\r\n", part.text[part.size - 1]) && part.text[part.size - 1])
        part.size--;
    return part;
}

static size_t find(struct part part, const char *needle)
{
    size_t length = strlen(needle);

    for (size_t i = 0; i + length <= part.size; i++) {
        if (part.text[i] == needle[0] && memcmp(part.text + i, needle, length) == 0)
            return i;
    }
    return SIZE_MAX;
}

static bool starts(struct part part, const char *literal)
{
    size_t length = strlen(literal);

    return part.size >= length && memcmp(part.text, literal, length) == 0;
}

static struct part after(struct part part, size_t size)
{
    return (struct part){part.text + size, part.size - size};
}

/* Cut at `mark`: what stands before; *rest is what follows (empty without mark). */
static struct part cut(struct part part, const char *mark, struct part *rest)
{
    size_t at = find(part, mark);

    if (at == SIZE_MAX) {
        *rest = (struct part){part.text + part.size, 0};
        return part;
    }
    *rest = after(part, at + strlen(mark));
    return (struct part){part.text, at};
}

/* ---- JSON --------------------------------------------------------------------------------------
 */

/* The first of several members, or NULL. */
static const json_t *member(const json_t *object, const char *const *names)
{
    for (; *names; names++) {
        const json_t *value = json_object_get(object, *names);

        if (value)
            return value;
    }
    return NULL;
}

/* JSON as one line; false if it is nested too deeply. */
static bool write_json(llm_chat_parser *p, const json_t *json, struct text *out)
{
    struct arena arena;
    struct jinja_run run = {.arena = &arena, .left = {STEPS_MAX, VALUES_MAX, 0, 0}};
    struct jinja_json_style style = {", ", ": ", jinja_none(), false, false};
    struct jinja_builder builder;
    struct jinja_value value;

    arena_init(&arena, &p->context->memory);
    value = jinja_from_json(&run, json, JINJA_INPUT);
    jinja_builder_init(&builder, &run);
    if (!run.status)
        jinja_build_json(&builder, value, &style);
    if (!run.status)
        text_append(out, builder.data, builder.size);
    if (run.status == LLM_E_NOMEM || out->failed)
        p->status = LLM_E_NOMEM;
    arena_free(&arena);
    return !run.status && !p->status;
}

static bool has_name(const json_t *object)
{
    static const char *const names[] = {"name", "tool_name", "function_name", NULL};
    const json_t *name = member(object, names);

    return json_is_string(name) && json_string_length(name) > 0;
}

static const json_t *arguments_of(const json_t *object)
{
    static const char *const names[] = {"arguments", "parameters", "args", "input", NULL};

    return member(object, names);
}

/* {"name": .., "arguments": ..}, also inside {"function": ..} or {"tool_call": ..}. */
static const json_t *call_of(const json_t *json)
{
    static const char *const inside[] = {"function", "tool_call", "function_call", NULL};
    const json_t *inner = json_is_object(json) ? member(json, inside) : NULL;

    if (json_is_object(inner))
        json = inner;
    return json_is_object(json) && has_name(json) && arguments_of(json) ? json : NULL;
}

static bool add_json_call(llm_chat_parser *p, const json_t *outer)
{
    static const char *const names[] = {"name", "tool_name", "function_name", NULL};
    static const char *const ids[] = {"id", "tool_call_id", "call_id", NULL};
    const json_t *call = call_of(outer);
    const json_t *name;
    const json_t *arguments;
    const json_t *id;
    struct text text;
    bool written = true;

    if (!call)
        return false;
    name = member(call, names);
    arguments = arguments_of(call);
    id = member(outer, ids);
    text_init(&text, &p->context->memory);
    if (json_is_string(arguments))
        text_append(&text, json_string_value(arguments), json_string_length(arguments));
    else
        written = write_json(p, arguments, &text);
    if (text.failed)
        p->status = LLM_E_NOMEM;
    if (written && !p->status)
        chat_add_call(p, json_string_value(name), json_string_length(name), json_string_value(id),
                      text.data ? text.data : "", text.size);
    text_free(&text);
    return written;
}

/* Are all of the values calls? Nothing is told before that is known. */
static bool all_calls(const json_t *values)
{
    const json_t *value;
    size_t i;

    json_array_foreach((json_t *)values, i, value)
    {
        if (!call_of(value))
            return false;
    }
    return json_array_size(values) > 0;
}

/* Values one after the other, arrays of them flattened, into `all`. */
static bool collect(struct part part, json_t *all)
{
    while ((part = trim(part)).size) {
        json_error_t error;
        json_t *value =
            json_loadb(part.text, part.size,
                       JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK, &error);
        const json_t *inner = json_object_get(value, "tool_calls");
        bool failed = !value;

        if (json_is_array(value))
            failed = json_array_extend(all, value) != 0;
        else if (json_is_array(inner))
            failed = json_array_extend(all, (json_t *)inner) != 0;
        else if (value)
            failed = json_array_append(all, value) != 0;
        json_decref(value);
        if (failed || error.position <= 0 || (size_t)error.position > part.size)
            return false;
        part = trim(after(part, (size_t)error.position));
        if (part.size && (part.text[0] == ';' || part.text[0] == ','))
            part = after(part, 1);
    }
    return true;
}

static bool read_json_calls(llm_chat_parser *p, struct part part)
{
    json_t *all = json_array();
    bool read = all && collect(part, all) && all_calls(all);
    json_t *value;
    size_t i;

    if (!all)
        p->status = status_set(LLM_E_NOMEM, "out of memory");
    if (read) {
        json_array_foreach(all, i, value)
        {
            if (!p->status && !add_json_call(p, value) && i == 0)
                read = false;
        }
    }
    json_decref(all);
    return read;
}

static bool is_json(struct part part)
{
    json_error_t error;
    json_t *value = json_loadb(part.text, part.size, JSON_ALLOW_NUL, &error);
    bool valid = value != NULL;

    json_decref(value);
    return valid;
}

/* Name and arguments that stand apart. */
static bool add_apart(llm_chat_parser *p, struct part name, struct part id, struct part arguments)
{
    char *id_text = NULL;

    name = trim(name);
    arguments = trim(arguments);
    id = trim(id);
    if (!name.size || !is_json(arguments))
        return false;
    if (id.size) {
        id_text = memory_copy_text(&p->context->memory, id.text, id.size);
        if (!id_text)
            p->status = LLM_E_NOMEM;
    }
    chat_add_call(p, name.text, name.size, id_text, arguments.text, arguments.size);
    memory_release(&p->context->memory, id_text);
    return true;
}

/* ---- Mistral: name[CALL_ID]id[ARGS]{..}, several with [TOOL_CALLS] between them ---- */

static bool read_mistral(llm_chat_parser *p, struct part part)
{
    bool read = false;

    while (part.size && !p->status) {
        struct part arguments;
        struct part id;
        struct part rest;
        struct part call = cut(part, "[TOOL_CALLS]", &rest);
        struct part name = cut(call, "[ARGS]", &arguments);

        if (!arguments.size) { /* name{..} */
            size_t brace = find(call, "{");

            if (brace == SIZE_MAX)
                return read;
            name.size = brace;
            arguments = after(call, brace);
        }
        name = cut(name, "[CALL_ID]", &id);
        arguments = trim(arguments);
        if (arguments.size >= 4 && starts(after(arguments, arguments.size - 4), "</s>"))
            arguments.size -= 4;
        if (!add_apart(p, name, id, arguments))
            return read;
        read = true;
        part = rest;
    }
    return read;
}

/* ---- DeepSeek: begin, type or name, separator, name and fence or arguments, end ---- */

static bool read_deepseek(llm_chat_parser *p, struct part part)
{
    static const char begin[] = DEEPSEEK_MARK("tool" BLOCK "call" BLOCK "begin");
    static const char end[] = DEEPSEEK_MARK("tool" BLOCK "call" BLOCK "end");
    static const char separator[] = DEEPSEEK_MARK("tool" BLOCK "sep");
    bool read = false;

    while (part.size && !p->status) {
        struct part none = {"", 0};
        struct part behind;
        struct part rest;
        struct part call;
        struct part name;
        struct part fence;

        (void)cut(part, begin, &behind);
        call = cut(behind, end, &rest);
        name = cut(call, separator, &behind);
        if (!call.size || !behind.size)
            return read;
        if (find(behind, "```json") != SIZE_MAX) { /* type, then name and a fence */
            name = cut(behind, "```json", &fence);
            behind = cut(fence, "```", &call);
        }
        if (!add_apart(p, name, none, behind))
            return read;
        read = true;
        part = rest;
    }
    return read;
}

/* ---- Llama: tool.call(name="value"), or Python code ---- */

/* name="value" pairs as a JSON object; false if it is something else. */
static bool read_keywords(struct part part, struct text *out)
{
    text_append_z(out, "{");
    for (int count = 0; (part = trim(part)).size; count++) {
        struct part value;
        struct part name = trim(cut(part, "=", &value));
        size_t end = 1;

        value = trim(value);
        if (!name.size || value.size < 2 || (value.text[0] != '"' && value.text[0] != '\''))
            return false;
        while (end < value.size && value.text[end] != value.text[0])
            end += value.text[end] == '\\' ? 2 : 1;
        if (end >= value.size)
            return false;
        text_append_z(out, count ? ", " : "");
        text_append_json(out, name.text, name.size);
        text_append_z(out, ": ");
        text_append_json(out, value.text + 1, end - 1);
        part = trim(after(value, end + 1));
        if (part.size && part.text[0] != ',')
            return false;
        if (part.size)
            part = after(part, 1);
    }
    text_append_z(out, "}");
    return true;
}

static bool read_python(llm_chat_parser *p, struct part part)
{
    static const char *const ends[] = {"<|eom_id|>", "<|eot_id|>"};
    struct part inside;
    struct part rest;
    struct part name;
    struct text text;

    for (int i = 0; i < 2; i++)
        part = trim(cut(part, ends[i], &rest));
    if (!part.size)
        return false;
    text_init(&text, &p->context->memory);
    name = cut(part, ".call(", &inside);
    if (inside.size && inside.text[inside.size - 1] == ')' &&
        read_keywords((struct part){inside.text, inside.size - 1}, &text)) {
        if (!text.failed)
            chat_add_call(p, name.text, name.size, NULL, text.data, text.size);
    } else {
        text.size = 0;
        text_append_z(&text, "{\"code\": ");
        text_append_json(&text, part.text, part.size);
        text_append_z(&text, "}");
        if (!text.failed)
            chat_add_call(p, "python", 6, NULL, text.data, text.size);
    }
    if (text.failed)
        p->status = LLM_E_NOMEM;
    text_free(&text);
    return !p->status;
}

/* ---- Qwen Coder: <function=name><parameter=key>value</parameter></function> ---- */

static struct part without_newlines(struct part part)
{
    if (part.size && part.text[0] == '\n')
        part = after(part, 1);
    if (part.size && part.text[part.size - 1] == '\n')
        part.size--;
    return part;
}

static bool read_xml(llm_chat_parser *p, struct part part)
{
    struct part body;
    struct part rest;
    struct part name = trim(cut(after(part, strlen("<function=")), ">", &body));
    struct text text;
    int count = 0;

    body = cut(body, "</function>", &rest);
    if (!name.size)
        return false;
    text_init(&text, &p->context->memory);
    text_append_z(&text, "{");
    while (find(body, "<parameter=") != SIZE_MAX) {
        struct part value;
        struct part key;

        (void)cut(body, "<parameter=", &rest);
        key = trim(cut(rest, ">", &value));
        value = cut(value, "</parameter>", &body);
        text_append_z(&text, count++ ? ", " : "");
        text_append_json(&text, key.text, key.size);
        text_append_z(&text, ": ");
        value = without_newlines(value);
        text_append_json(&text, value.text, value.size);
    }
    text_append_z(&text, "}");
    if (text.failed)
        p->status = LLM_E_NOMEM;
    else
        chat_add_call(p, name.text, name.size, NULL, text.data, text.size);
    text_free(&text);
    return !p->status;
}

bool chat_read_calls(llm_chat_parser *p, const char *body, size_t size)
{
    struct part part = trim((struct part){body, size});

    if (!part.size)
        return false;
    if (p->format == LLM_CHAT_DEEPSEEK)
        return read_deepseek(p, part);
    if (p->format == LLM_CHAT_MISTRAL && part.text[0] != '[')
        return read_mistral(p, part);
    if (p->format == LLM_CHAT_MISTRAL && part.size > 4 &&
        starts(after(part, part.size - 4), "</s>"))
        part = trim((struct part){part.text, part.size - 4});
    if (starts(part, "<function="))
        return read_xml(p, part);
    if (p->format == LLM_CHAT_LLAMA3 && p->mode == CHAT_IN_CALL && part.text[0] != '{')
        return read_python(p, part);
    if (p->format == LLM_CHAT_LLAMA3) {
        struct part rest;

        part = trim(cut(part, "<|eom_id|>", &rest));
        part = trim(cut(part, "<|eot_id|>", &rest));
    }
    return read_json_calls(p, part);
}
