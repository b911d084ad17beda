/* SPDX-License-Identifier: MIT
 *
 * Rendering a conversation: the variables that a template sees, as transformers sets them, and the
 * text that comes out.
 */
#include "base/json.h"
#include "chat/chat_template.h"
#include "chat/jinja_builtins.h"

#include <string.h>
#include <time.h>

enum { OUTPUT_MAX = 16 << 20, VALUES_MAX = 256 << 20, STEPS_MAX = 10000000 };

static const char continue_tag[] = "CONTINUE_FINAL_MESSAGE_TAG ";

struct inputs {
    json_t *messages, *tools, *documents, *variables;
};

/* ---- reading the inputs ------------------------------------------------------------------------
 */

static llm_status read_input(json_t **out, const char *text, size_t size, const char *what,
                             json_type type)
{
    llm_status status;

    if (!text)
        return LLM_OK;
    status = json_open(out, text, size, what);
    if (!status && json_typeof(*out) != type)
        status = status_set(LLM_E_FORMAT, "%s: not a JSON %s", what,
                            type == JSON_ARRAY ? "array" : "object");
    return status;
}

static llm_status check_messages(const json_t *messages)
{
    const json_t *message;
    size_t i;

    json_array_foreach((json_t *)messages, i, message)
    {
        if (!json_is_object(message))
            return status_set(LLM_E_FORMAT, "messages: item %zu is not an object", i);
    }
    return LLM_OK;
}

static llm_status read_inputs(struct inputs *in, const char *messages, size_t size,
                              const llm_chat_options *o)
{
    llm_status status = read_input(&in->messages, messages, size, "messages", JSON_ARRAY);

    if (!status)
        status = check_messages(in->messages);
    if (!status)
        status = read_input(&in->tools, o->tools, o->tools_size, "tools", JSON_ARRAY);
    if (!status)
        status =
            read_input(&in->documents, o->documents, o->documents_size, "documents", JSON_ARRAY);
    if (!status)
        status =
            read_input(&in->variables, o->variables, o->variables_size, "variables", JSON_OBJECT);
    return status;
}

/* ---- messages ----------------------------------------------------------------------------------
 */

static void put(struct jinja_run *run, struct jinja_value dict, const char *name,
                struct jinja_value value)
{
    if (!run->status)
        jinja_dict_put(run, dict.as.dict, jinja_text(run, name), value);
}

/* A role of letters is not a way in for anybody: it counts as the template's own, so that
 * '<|' + role + '|>' is a special token. */
static void trust_role(struct jinja_run *run, const struct jinja_dict *message)
{
    struct jinja_value *role = jinja_dict_find_z(run, message, "role");
    const struct jinja_string *s;

    if (!role || role->type != JINJA_STRING)
        return;
    s = role->as.string;
    for (size_t i = 0; i < s->size; i++) {
        if (!((s->data[i] | 32) >= 'a' && (s->data[i] | 32) <= 'z') && s->data[i] != '_')
            return;
    }
    *role = jinja_string_of(run, s->data, s->size, JINJA_TRUSTED);
}

/* Reasoning under the names that templates read. */
static struct jinja_value alias_reasoning(struct jinja_run *run, struct jinja_value message)
{
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    struct jinja_value *found = NULL;
    struct jinja_value fresh;

    for (int i = 0; i < 3 && !found; i++) {
        found = jinja_dict_find_z(run, message.as.dict, names[i]);
        if (found && found->type == JINJA_NONE)
            found = NULL;
    }
    if (!found || run->status)
        return message;
    fresh = jinja_dict_new(run, message.as.dict->count + 2);
    put(run, fresh, "thinking", *found);
    for (size_t i = 0; i < message.as.dict->count && !run->status; i++)
        jinja_dict_put(run, fresh.as.dict, message.as.dict->entries[i].key,
                       message.as.dict->entries[i].value);
    put(run, fresh, "reasoning_content", *found);
    return fresh;
}

/* Arguments that are a JSON object in a string become that object. */
static bool open_arguments(struct jinja_run *run, struct jinja_value call)
{
    struct jinja_value *function;
    struct jinja_value *arguments;
    json_error_t error;
    json_t *json;

    if (call.type != JINJA_DICT)
        return false;
    function = jinja_dict_find_z(run, call.as.dict, "function");
    if (!function || function->type != JINJA_DICT)
        function = &call;
    arguments = jinja_dict_find_z(run, function->as.dict, "arguments");
    if (!arguments || arguments->type != JINJA_STRING)
        return false;
    json = json_loadb(arguments->as.string->data, arguments->as.string->size,
                      JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!json_is_object(json)) {
        json_decref(json);
        return false;
    }
    *arguments = jinja_from_json(run, json, JINJA_INPUT);
    json_decref(json);
    return true;
}

static struct jinja_value make_messages(struct jinja_run *run, const json_t *json, bool objects,
                                        bool *opened)
{
    struct jinja_value list = jinja_from_json(run, json, JINJA_INPUT);

    for (size_t i = 0; !run->status && i < list.as.list->count; i++) {
        struct jinja_value *message = &list.as.list->items[i];
        struct jinja_value *calls;

        trust_role(run, message->as.dict);
        *message = alias_reasoning(run, *message);
        if (run->status)
            break;
        calls = jinja_dict_find_z(run, message->as.dict, "tool_calls");
        for (size_t k = 0; objects && calls && calls->type == JINJA_LIST && !run->status &&
                           k < calls->as.list->count;
             k++)
            *opened = open_arguments(run, calls->as.list->items[k]) || *opened;
    }
    return list;
}

/* ---- continuing the last message ---------------------------------------------------------------
 */

static struct jinja_value with_tag(struct jinja_run *run, struct jinja_value text)
{
    struct jinja_builder builder;

    jinja_builder_init(&builder, run);
    jinja_build_string(&builder, text.as.string);
    jinja_build(&builder, continue_tag, sizeof continue_tag - 1, JINJA_INPUT);
    return jinja_built(&builder);
}

/* Put a mark behind the last message's text; what stood there goes to *final. */
static void mark_final(struct jinja_run *run, struct jinja_value messages,
                       struct jinja_value *final)
{
    struct jinja_value *content = NULL;

    if (!run->status && messages.as.list->count)
        content = jinja_dict_find_z(
            run, messages.as.list->items[messages.as.list->count - 1].as.dict, "content");
    if (content && content->type == JINJA_LIST) { /* parts: the last one with text */
        struct jinja_list *parts = content->as.list;

        content = NULL;
        for (size_t i = parts->count; i > 0 && !content && !run->status; i--) {
            if (parts->items[i - 1].type == JINJA_DICT)
                content = jinja_dict_find_z(run, parts->items[i - 1].as.dict, "text");
        }
    }
    if (!content || content->type != JINJA_STRING) {
        jinja_fail(run, LLM_E_INVALID,
                   "continue_final_message: the last message has no text to continue");
        return;
    }
    *final = *content;
    *content = with_tag(run, *content);
}

static size_t last_occurrence(const struct jinja_string *s, const char *needle, size_t size)
{
    for (size_t at = s->size >= size ? s->size - size + 1 : 0; at-- > 0;) {
        if (memcmp(s->data + at, needle, size) == 0)
            return at;
    }
    return SIZE_MAX;
}

/* The text up to the mark. If the template trimmed the message, so is the text. */
static struct jinja_value cut_final(struct jinja_run *run, struct jinja_value text,
                                    struct jinja_value final)
{
    const struct jinja_string *s = text.as.string;
    size_t at = last_occurrence(s, continue_tag, sizeof continue_tag - 2);
    bool whole;

    final = jinja_strip(run, final.as.string, NULL, 3);
    if (run->status)
        return final;
    if (at == SIZE_MAX || jinja_find_bytes(s, final.as.string, 0) == SIZE_MAX)
        return jinja_fail(run, LLM_E_INVALID,
                          "continue_final_message: the template does not show the last message");
    whole = at + sizeof continue_tag - 1 <= s->size && s->data[at + sizeof continue_tag - 2] == ' ';
    while (!whole && at > 0 && strchr(" \t\n\r\v\f", s->data[at - 1]) && s->data[at - 1])
        at--;
    return jinja_slice_of(run, s, 0, at);
}

/* ---- variables ---------------------------------------------------------------------------------
 */

static void put_json(struct jinja_run *run, struct jinja_value dict, const char *name,
                     const json_t *json)
{
    put(run, dict, name, json ? jinja_from_json(run, json, JINJA_INPUT) : jinja_none());
}

static struct jinja_value make_variables(struct jinja_run *run, const llm_chat_template *chat,
                                         const struct inputs *in, const llm_chat_options *options,
                                         const struct chat_token *tokens, size_t token_count)
{
    struct jinja_value dict = jinja_dict_new(run, 16);
    const char *name;
    json_t *value;

    for (size_t i = 0; i < token_count; i++)
        put(run, dict, tokens[i].name,
            jinja_string_of(run, tokens[i].text, tokens[i].size, JINJA_TRUSTED));
    json_object_foreach(chat->tokens, name, value)
    {
        put(run, dict, name, jinja_from_json(run, value, JINJA_TRUSTED));
    }
    put_json(run, dict, "tools", in->tools);
    put_json(run, dict, "documents", in->documents);
    put(run, dict, "add_generation_prompt", jinja_bool(options->add_generation_prompt));
    json_object_foreach(in->variables, name, value)
    {
        put_json(run, dict, name, value);
    }
    return dict;
}

/* ---- the result --------------------------------------------------------------------------------
 */

static llm_status make_prompt(llm_chat_prompt **out, llm_context *context,
                              const struct jinja_string *text, const struct jinja_result *result)
{
    struct memory *memory = &context->memory;
    llm_chat_prompt *prompt = memory_alloc_zeroed(memory, 1, sizeof *prompt);

    if (!prompt)
        return LLM_E_NOMEM;
    prompt->context = context_retain(context);
    *out = prompt;
    prompt->size = text->size;
    prompt->text = memory_copy_text(memory, text->data, text->size);
    prompt->input = text->trust == JINJA_TRUSTED ? NULL : memory_alloc(memory, text->size);
    prompt->spans = memory_alloc_array(memory, result->span_count, sizeof *prompt->spans);
    if (!prompt->text || !prompt->spans || (text->trust != JINJA_TRUSTED && !prompt->input))
        return LLM_E_NOMEM;
    for (size_t i = 0; prompt->input && i < text->size; i++)
        prompt->input[i] = jinja_trust_at(text, i) == JINJA_INPUT;
    for (size_t i = 0; i < result->span_count; i++) {
        struct jinja_span span = result->spans[i];

        span.end = span.end < text->size ? span.end : text->size;
        if (span.begin < span.end)
            prompt->spans[prompt->span_count++] = span;
    }
    return LLM_OK;
}

void chat_prompt_free(llm_chat_prompt *prompt)
{
    llm_context *context;

    if (!prompt)
        return;
    context = prompt->context;
    memory_release(&context->memory, prompt->text);
    memory_release(&context->memory, prompt->input);
    memory_release(&context->memory, prompt->spans);
    memory_release(&context->memory, prompt);
    context_release(context);
}

/* One try; *opened: arguments were turned from strings into objects. */
static llm_status render(llm_chat_prompt **out, const llm_chat_template *chat,
                         const struct inputs *in, const llm_chat_options *options,
                         const struct chat_token *tokens, size_t token_count, bool objects,
                         bool *opened)
{
    const struct jinja_program *program =
        in->tools && chat->tool_text ? &chat->tool_program : &chat->program;
    struct arena arena;
    struct jinja_run run = {.arena = &arena,
                            .left = {STEPS_MAX, VALUES_MAX, OUTPUT_MAX, JINJA_DEPTH},
                            .now = options->now,
                            .local_now = options->now == INT64_MIN};
    struct jinja_result result = {0};
    struct jinja_value final = jinja_none();
    struct jinja_value variables;
    struct jinja_value text;

    arena_init(&arena, &chat->context->memory);
    if (run.local_now)
        run.now = (int64_t)time(NULL);
    variables = make_variables(&run, chat, in, options, tokens, token_count);
    if (!json_object_get(in->variables, "messages")) {
        struct jinja_value messages = make_messages(&run, in->messages, objects, opened);

        if (options->continue_final_message)
            mark_final(&run, messages, &final);
        put(&run, variables, "messages", messages);
    }
    if (!run.status)
        run.status = jinja_execute(&run, program, variables.as.dict, &result);
    if (!run.status) {
        text = jinja_built(&result.output);
        if (options->continue_final_message && !run.status)
            text = cut_final(&run, text, final);
        if (!run.status)
            run.status = make_prompt(out, chat->context, text.as.string, &result);
    }
    arena_free(&arena);
    return run.status;
}

llm_status chat_render(llm_chat_prompt **out, const llm_chat_template *chat, const char *messages,
                       size_t size, const llm_chat_options *options,
                       const struct chat_token *tokens, size_t token_count)
{
    struct inputs in = {NULL, NULL, NULL, NULL};
    bool opened = false;
    llm_status status = read_inputs(&in, messages, size, options);

    if (!status)
        status = render(out, chat, &in, options, tokens, token_count, true, &opened);
    if (status == LLM_E_FORMAT && opened) /* this template wants them as they came */
        status = render(out, chat, &in, options, tokens, token_count, false, &opened);
    if (status) {
        chat_prompt_free(*out);
        *out = NULL;
        status = status_prefix(status, "chat template");
    }
    json_decref(in.messages);
    json_decref(in.tools);
    json_decref(in.documents);
    json_decref(in.variables);
    return status;
}
