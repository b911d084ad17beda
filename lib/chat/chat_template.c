/* SPDX-License-Identifier: MIT
 *
 * Finding a model's chat template. What transformers looks at, in its order: chat_template.jinja
 * with additional_chat_templates/NAME.jinja; tokenizer_config.json, where chat_template is a text
 * or a list of named ones; chat_template.json of multimodal models.
 */
#include "chat/chat_template.h"

#include "base/directory.h"
#include "base/file.h"
#include "base/json.h"

#include <string.h>

enum { CONFIG_MAX = 64 << 20 };

void chat_template_free(llm_chat_template *chat)
{
    llm_context *context;

    if (!chat)
        return;
    context = chat->context;
    jinja_program_free(&chat->program);
    jinja_program_free(&chat->tool_program);
    memory_release(&context->memory, chat->text);
    memory_release(&context->memory, chat->tool_text);
    json_decref(chat->tokens);
    memory_release(&context->memory, chat);
    context_release(context);
}

static llm_status new_empty(llm_chat_template **out, llm_context *context)
{
    *out = memory_alloc_zeroed(&context->memory, 1, sizeof **out);
    if (!*out)
        return LLM_E_NOMEM;
    (*out)->context = context_retain(context);
    return LLM_OK;
}

static llm_status set_text(llm_chat_template *chat, const char *text, size_t size, bool for_tools)
{
    struct memory *memory = &chat->context->memory;
    char *copy = memory_copy_text(memory, text, size);

    if (!copy)
        return LLM_E_NOMEM;
    if (for_tools) {
        chat->tool_text = copy;
        return status_prefix(jinja_compile(&chat->tool_program, memory, text, size),
                             "chat template tool_use");
    }
    chat->text = copy;
    chat->size = size;
    return status_prefix(jinja_compile(&chat->program, memory, text, size), "chat template");
}

static llm_status finish(llm_chat_template **out, llm_status status)
{
    if (status) {
        chat_template_free(*out);
        *out = NULL;
    }
    return status;
}

llm_status chat_template_new(llm_chat_template **out, llm_context *context, const char *text,
                             size_t size)
{
    llm_status status = new_empty(out, context);

    if (status)
        return status;
    return finish(out, set_text(*out, text, size, false));
}

/* ---- files -------------------------------------------------------------------------------------
 */

/* A text file, if there is one. */
static llm_status read_optional(char **text, size_t *size, struct memory *memory,
                                const char *directory, const char *name, uint64_t limit)
{
    char *path = file_join(memory, directory, name);
    llm_status status = LLM_E_NOMEM;

    *text = NULL;
    if (path)
        status = file_exists(path) ? file_read(text, size, memory, path, limit) : LLM_OK;
    memory_release(memory, path);
    return status;
}

static llm_status use_file(llm_chat_template *chat, const char *directory, const char *name,
                           bool for_tools, bool *found)
{
    struct memory *memory = &chat->context->memory;
    llm_status status;
    size_t size;
    char *text;

    status = read_optional(&text, &size, memory, directory, name, JINJA_SOURCE_MAX);
    *found = text != NULL;
    if (text)
        status = set_text(chat, text, size, for_tools);
    memory_release(memory, text);
    return status;
}

/* additional_chat_templates/NAME.jinja. */
static llm_status use_additional(llm_chat_template *chat, const char *directory, const char *name,
                                 bool for_tools, bool *found)
{
    struct text path;
    llm_status status = LLM_E_NOMEM;

    text_init(&path, &chat->context->memory);
    text_printf(&path, "additional_chat_templates/%s.jinja", name);
    if (!path.failed)
        status = use_file(chat, directory, path.data, for_tools, found);
    text_free(&path);
    return status;
}

/* The template `name` among those that a configuration holds. */
static const json_t *named_template(const json_t *config, const char *name)
{
    const json_t *templates = json_object_get(config, "chat_template");
    const json_t *item;
    size_t i;

    if (json_is_string(templates))
        return strcmp(name, "default") == 0 ? templates : NULL;
    if (json_is_object(templates))
        return json_object_get(templates, name);
    json_array_foreach((json_t *)templates, i, item)
    {
        const char *text = json_string_value(json_object_get(item, "name"));

        if (text && strcmp(text, name) == 0)
            return json_object_get(item, "template");
    }
    return NULL;
}

static llm_status use_config(llm_chat_template *chat, const json_t *config, const char *name,
                             bool for_tools, bool *found)
{
    const json_t *text = named_template(config, name);

    *found = json_is_string(text);
    if (!*found)
        return text && !json_is_null(text)
                   ? status_set(LLM_E_FORMAT, "field \"chat_template\" holds no text")
                   : LLM_OK;
    return set_text(chat, json_string_value(text), json_string_length(text), for_tools);
}

/* Every field whose name ends with _token: a text, or an object with its content. */
static llm_status read_tokens(llm_chat_template *chat, json_t *config)
{
    static const char ending[] = "_token";
    const char *key;
    json_t *value;

    if (!chat->tokens)
        chat->tokens = json_object();
    json_object_foreach(config, key, value)
    {
        size_t size = strlen(key);

        if (json_is_object(value))
            value = json_object_get(value, "content");
        if (size < sizeof ending || strcmp(key + size - (sizeof ending - 1), ending) != 0 ||
            !json_is_string(value) || json_object_get(chat->tokens, key))
            continue;
        if (json_object_set(chat->tokens, key, value))
            return status_set(LLM_E_NOMEM, "out of memory");
    }
    return chat->tokens ? LLM_OK : status_set(LLM_E_NOMEM, "out of memory");
}

static llm_status read_json(json_t **out, llm_chat_template *chat, const char *directory,
                            const char *name)
{
    struct memory *memory = &chat->context->memory;
    llm_status status;
    size_t size;
    char *text;

    *out = NULL;
    status = read_optional(&text, &size, memory, directory, name, CONFIG_MAX);
    if (text)
        status = json_open(out, text, size, name);
    memory_release(memory, text);
    if (!status && *out && !json_is_object(*out))
        status = status_set(LLM_E_FORMAT, "%s: not an object", name);
    return status;
}

/* From all places in order; `name` NULL: default and tool_use. */
static llm_status find_template(llm_chat_template *chat, const char *path, const json_t *configs[2],
                                const char *name)
{
    const char *wanted = name ? name : "default";
    llm_status status = LLM_OK;
    bool found = false;
    bool extra;

    if (strcmp(wanted, "default") == 0)
        status = use_file(chat, path, "chat_template.jinja", false, &found);
    else if (!strchr(wanted, '/'))
        status = use_additional(chat, path, wanted, false, &found);
    if (found && !name && !status)
        return use_additional(chat, path, "tool_use", true, &extra);
    for (int i = 0; i < 2 && !status && !found; i++) {
        if (!configs[i])
            continue;
        status = use_config(chat, configs[i], wanted, false, &found);
        if (found && !name && !status)
            status = use_config(chat, configs[i], "tool_use", true, &extra);
    }
    if (!status && !found)
        return status_set(name ? LLM_E_RANGE : LLM_E_IO,
                          name ? "no chat template named '%s'" : "the model has no chat template%s",
                          name ? name : "");
    return status;
}

static llm_status load_directory(llm_chat_template *chat, const char *path, const char *name)
{
    static const char *const files[] = {"tokenizer_config.json", "chat_template.json",
                                        "special_tokens_map.json"};
    json_t *json[3] = {NULL, NULL, NULL};
    llm_status status = LLM_OK;

    for (int i = 0; i < 3 && !status; i++)
        status = read_json(&json[i], chat, path, files[i]);
    if (!status && json[0])
        status = read_tokens(chat, json[0]);
    if (!status && json[2])
        status = read_tokens(chat, json[2]);
    if (!status) {
        const json_t *configs[2] = {json[0], json[1]};

        status = find_template(chat, path, configs, name);
    }
    for (int i = 0; i < 3; i++)
        json_decref(json[i]);
    return status;
}

/* A file alone: JSON if its name says so, else the text of a template. */
static llm_status load_file(llm_chat_template *chat, const char *path, const char *name)
{
    struct memory *memory = &chat->context->memory;
    size_t length = strlen(path);
    bool is_json = length > 5 && strcmp(path + length - 5, ".json") == 0;
    json_t *config = NULL;
    char *text = NULL;
    llm_status status;
    size_t size;
    bool found = true;
    bool extra;

    status = file_read(&text, &size, memory, path, is_json ? CONFIG_MAX : JINJA_SOURCE_MAX);
    if (!status && !is_json)
        status = set_text(chat, text, size, false);
    if (!status && is_json)
        status = json_open(&config, text, size, "chat template");
    if (!status && config) {
        status = read_tokens(chat, config);
        if (!status)
            status = use_config(chat, config, name ? name : "default", false, &found);
        if (!status && found && !name)
            status = use_config(chat, config, "tool_use", true, &extra);
    }
    if (!status && !found)
        status = status_set(LLM_E_RANGE, "no chat template named '%s'", name ? name : "default");
    json_decref(config);
    memory_release(memory, text);
    return status;
}

llm_status chat_template_load(llm_chat_template **out, llm_context *context, const char *path,
                              const char *name)
{
    llm_status status = new_empty(out, context);

    if (status)
        return status;
    if (file_is_directory(path))
        status = load_directory(*out, path, name);
    else
        status = load_file(*out, path, name);
    return finish(out, status_prefix(status, "%s", path));
}
