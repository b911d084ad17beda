/* SPDX-License-Identifier: MIT
 *
 * llm_dataset_from_chats(): rows of JSON to examples. Chat, tokenizer and training meet here: a row
 * becomes messages, the template makes a text of them, the text becomes ids, and comparing the ids
 * of growing parts of the conversation tells which of them the assistant wrote.
 */
#include "api/check.h"
#include "base/file.h"
#include "base/json.h"
#include "llm/chat.h"
#include "train/dataset.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 1 << 30 };

/* Ids of a part of a conversation. */
struct id_buffer {
    int32_t *ids;
    size_t count, capacity;
};

struct rows {
    llm_context *context;
    struct memory *memory;
    llm_tokenizer *tokenizer;
    const llm_chat_template *chat;
    int32_t learn;
    const llm_dataset_options *options;

    const char *const *paths;
    size_t path_count, path; /* path: the next one to open */
    char *text;              /* of the open file */
    const char *cursor, *end;
    json_t *array; /* the file, if it is one array */
    size_t row;    /* of the open file, from 1 */

    struct id_buffer whole, part;
    uint8_t *mask;
    size_t mask_capacity;
};

/* ---- rows of files ---- */

static void close_file(struct rows *rows)
{
    json_decref(rows->array);
    memory_release(rows->memory, rows->text);
    rows->array = NULL;
    rows->text = NULL;
    rows->cursor = rows->end = NULL;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static llm_status open_file(struct rows *rows)
{
    const char *path = rows->paths[rows->path++];
    size_t size;
    llm_status status = file_read(&rows->text, &size, rows->memory, path, FILE_LIMIT);

    if (status)
        return status;
    rows->row = 0;
    rows->cursor = rows->text;
    rows->end = rows->text + size;
    while (rows->cursor < rows->end && is_blank(*rows->cursor))
        rows->cursor++;
    if (rows->cursor == rows->end || *rows->cursor != '[')
        return LLM_OK;
    return json_open(&rows->array, rows->text, size, path);
}

/* The next row, to be released; NULL: none is left. */
static llm_status next_row(struct rows *rows, json_t **row)
{
    llm_status status;

    *row = NULL;
    for (;;) {
        const char *line;

        while (rows->cursor < rows->end && !rows->array && is_blank(*rows->cursor))
            rows->cursor++;
        if (rows->array && rows->row < json_array_size(rows->array)) {
            *row = json_incref(json_array_get(rows->array, rows->row++));
            return LLM_OK;
        }
        if (!rows->array && rows->cursor < rows->end) {
            line = rows->cursor;
            rows->cursor = memchr(line, '\n', (size_t)(rows->end - line));
            rows->cursor = rows->cursor ? rows->cursor : rows->end;
            rows->row++;
            return json_open(row, line, (size_t)(rows->cursor - line), "the row");
        }
        close_file(rows);
        if (rows->options->progress &&
            rows->options->progress(rows->options->progress_user,
                                    (double)rows->path / (double)rows->path_count))
            return status_set(LLM_E_CANCELLED, "stopped by the progress callback");
        if (rows->path == rows->path_count)
            return LLM_OK;
        status = open_file(rows);
        if (status)
            return status;
    }
}

/* ---- rows to messages ---- */

static json_t *message(const char *role, const json_t *content)
{
    return json_pack("{s:s, s:O}", "role", role, "content", content);
}

/* ShareGPT's names of who speaks. */
static const char *role_of(const char *from)
{
    static const char *const roles[][2] = {{"human", "user"},    {"user", "user"},
                                           {"gpt", "assistant"}, {"assistant", "assistant"},
                                           {"system", "system"}, {"observation", "tool"},
                                           {"tool", "tool"}};

    for (size_t i = 0; from && i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(roles[i][0], from) == 0)
            return roles[i][1];
    }
    return NULL;
}

static llm_status from_sharegpt(const json_t *row, json_t *messages)
{
    const json_t *system = json_object_get(row, "system");
    size_t i;
    json_t *turn;

    if (json_is_string(system) && json_string_length(system))
        (void)json_array_append_new(messages, message("system", system));
    json_array_foreach(json_object_get(row, "conversations"), i, turn)
    {
        const char *role = role_of(json_string_value(json_object_get(turn, "from")));
        const json_t *value = json_object_get(turn, "value");

        if (!role || !json_is_string(value))
            return status_set(LLM_E_FORMAT,
                              "conversations[%zu]: needs \"from\" (human, gpt, system) and a text "
                              "\"value\"",
                              i);
        (void)json_array_append_new(messages, message(role, value));
    }
    return LLM_OK;
}

/* instruction and input as one text */
static json_t *instruction_text(const json_t *row)
{
    const json_t *instruction = json_object_get(row, "instruction");
    const json_t *input = json_object_get(row, "input");

    if (!json_is_string(instruction))
        return NULL;
    if (!json_is_string(input) || json_string_length(input) == 0)
        return json_incref((json_t *)instruction);
    return json_sprintf("%s\n%s", json_string_value(instruction), json_string_value(input));
}

/* The prompt of a row and what is to follow it: texts, or lists of messages. */
static llm_status prompt_and_answer(const json_t *row, json_t **prompt, json_t **answer)
{
    *prompt = json_incref(json_object_get(row, "prompt"));
    *answer = json_incref(json_object_get(row, "completion"));
    if (!*prompt && !*answer) {
        *prompt = instruction_text(row);
        *answer = json_incref(json_object_get(row, "output"));
    }
    if (json_is_string(*answer) && (json_is_string(*prompt) || json_is_array(*prompt)))
        return LLM_OK;
    if (json_is_array(*answer) && json_is_array(*prompt))
        return LLM_OK;
    return status_set(LLM_E_FORMAT, "needs \"messages\", \"conversations\", \"prompt\" and "
                                    "\"completion\", \"instruction\" and \"output\", or \"text\"");
}

static llm_status join_messages(json_t *messages, const json_t *prompt, const json_t *answer)
{
    int failed = json_is_array(prompt) ? json_array_extend(messages, (json_t *)prompt)
                                       : json_array_append_new(messages, message("user", prompt));

    if (!failed)
        failed = json_is_array(answer)
                     ? json_array_extend(messages, (json_t *)answer)
                     : json_array_append_new(messages, message("assistant", answer));
    return failed ? status_set(LLM_E_NOMEM, "out of memory") : LLM_OK;
}

static llm_status to_messages(json_t **out, const json_t *row)
{
    json_t *prompt = NULL, *answer = NULL;
    json_t *messages = json_array();
    llm_status status = messages ? LLM_OK : status_set(LLM_E_NOMEM, "out of memory");

    *out = NULL;
    if (status)
        return status;
    if (json_is_array(json_object_get(row, "messages"))) {
        if (json_array_extend(messages, json_object_get(row, "messages")))
            status = status_set(LLM_E_NOMEM, "out of memory");
    } else if (json_is_array(json_object_get(row, "conversations"))) {
        status = from_sharegpt(row, messages);
    } else {
        status = prompt_and_answer(row, &prompt, &answer);
        if (!status)
            status = join_messages(messages, prompt, answer);
    }
    json_decref(prompt);
    json_decref(answer);
    if (!status && json_array_size(messages) == 0)
        status = status_set(LLM_E_FORMAT, "there is no message");
    if (status)
        json_decref(messages);
    else
        *out = messages;
    return status;
}

/* ---- ids ---- */

static llm_status make_room(struct rows *rows, struct id_buffer *buffer, size_t count)
{
    return memory_grow(rows->memory, (void **)&buffer->ids, &buffer->capacity, count,
                       sizeof *buffer->ids);
}

/* Ids of the first `count` messages; `ask`: with the beginning of an answer. */
static llm_status encode_messages(struct rows *rows, struct id_buffer *to, json_t *messages,
                                  const json_t *tools, size_t count, bool ask)
{
    llm_chat_options options;
    llm_chat_prompt *prompt = NULL;
    json_t *part = json_array();
    char *text = NULL, *tool_text = NULL;
    size_t needed = 0;
    llm_status status = llm_chat_options_init(&options, sizeof options);

    for (size_t i = 0; part && i < count; i++)
        (void)json_array_append(part, json_array_get(messages, i));
    text = part ? json_dumps(part, JSON_COMPACT) : NULL;
    tool_text = tools ? json_dumps(tools, JSON_COMPACT) : NULL;
    if (!text || (tools && !tool_text))
        status = status_set(LLM_E_NOMEM, "out of memory");
    options.tokenizer = rows->tokenizer;
    options.add_generation_prompt = ask;
    options.tools = tool_text;
    options.tools_size = tool_text ? strlen(tool_text) : 0;
    if (!status)
        status = llm_chat_render(&prompt, rows->chat, text, strlen(text), &options);
    if (!status)
        status =
            llm_chat_prompt_encode(to->ids, NULL, to->capacity, &needed, prompt, rows->tokenizer);
    if (status == LLM_E_BUFFER) {
        status = make_room(rows, to, needed);
        if (!status)
            status = llm_chat_prompt_encode(to->ids, NULL, to->capacity, &needed, prompt,
                                            rows->tokenizer);
    }
    to->count = status ? 0 : needed;
    llm_chat_prompt_free(prompt);
    json_decref(part);
    free(text);
    free(tool_text);
    return status;
}

/* How many ids both begin with. */
static size_t common(const struct id_buffer *a, const struct id_buffer *b)
{
    size_t limit = a->count < b->count ? a->count : b->count;
    size_t i = 0;

    while (i < limit && a->ids[i] == b->ids[i])
        i++;
    return i;
}

static bool is_assistant(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));

    return role && strcmp(role, "assistant") == 0;
}

static llm_status start_mask(struct rows *rows, int value)
{
    llm_status status = memory_grow(rows->memory, (void **)&rows->mask, &rows->mask_capacity,
                                    rows->whole.count + 1, 1);

    if (!status)
        memset(rows->mask, value, rows->whole.count);
    return status;
}

/* An answer is what the conversation up to it has beyond the conversation before it, which ends by
 * asking for an answer. */
static llm_status encode_conversation(struct rows *rows, const json_t *row)
{
    const json_t *tools = json_object_get(row, "tools");
    json_t *messages = NULL;
    llm_status status = to_messages(&messages, row);
    size_t count = json_array_size(messages);

    if (!status && !rows->chat)
        status = status_set(LLM_E_INVALID, "messages need a chat template");
    if (!status)
        status = encode_messages(rows, &rows->whole, messages, tools, count, false);
    if (!status)
        status = start_mask(rows, rows->learn == LLM_LEARN_ALL);
    for (size_t i = 0; !status && rows->learn == LLM_LEARN_ANSWERS && i < count; i++) {
        size_t begin;

        if (!is_assistant(json_array_get(messages, i)))
            continue;
        status = encode_messages(rows, &rows->part, messages, tools, i, true);
        begin = common(&rows->part, &rows->whole);
        if (!status)
            status = encode_messages(rows, &rows->part, messages, tools, i + 1, false);
        if (!status && common(&rows->part, &rows->whole) > begin)
            memset(rows->mask + begin, 1, common(&rows->part, &rows->whole) - begin);
    }
    json_decref(messages);
    return status;
}

static llm_status append_text(struct rows *rows, const char *text, size_t size, bool first)
{
    struct token_list list;
    llm_status status;

    token_list_init(&list, rows->memory);
    status =
        tokenizer_encode(rows->tokenizer, text, size, first ? TOKENIZER_ADD_SPECIAL : 0, &list);
    if (!status)
        status = make_room(rows, &rows->whole, rows->whole.count + list.count + 1);
    if (!status && list.count)
        memcpy(rows->whole.ids + rows->whole.count, list.ids, list.count * sizeof *list.ids);
    if (!status)
        rows->whole.count += list.count;
    token_list_free(&list);
    return status;
}

/* Prompt, line break, answer, end token; without a prompt, the text and the end token. */
static llm_status encode_plain(struct rows *rows, const char *prompt, const json_t *answer)
{
    int32_t end = tokenizer_special(rows->tokenizer, LLM_TOKEN_EOS);
    size_t begin = 0;
    llm_status status = LLM_OK;

    rows->whole.count = 0;
    if (prompt) {
        status = append_text(rows, prompt, strlen(prompt), true);
        while (!status && end >= 0 && rows->whole.count &&
               rows->whole.ids[rows->whole.count - 1] == end)
            rows->whole.count--; /* what the tokenizer puts around a text ends later */
        if (!status)
            status = append_text(rows, "\n", 1, false);
        begin = rows->whole.count;
    }
    if (!status)
        status = append_text(rows, json_string_value(answer), json_string_length(answer), !prompt);
    if (!status && end >= 0 &&
        (rows->whole.count == 0 || rows->whole.ids[rows->whole.count - 1] != end))
        rows->whole.ids[rows->whole.count++] = end;
    if (!status)
        status = start_mask(rows, 1);
    if (!status && rows->learn == LLM_LEARN_ANSWERS)
        memset(rows->mask, 0, begin);
    return status;
}

static llm_status encode_row(struct rows *rows, const json_t *row)
{
    const json_t *text = json_object_get(row, "text");
    json_t *prompt = NULL, *answer = NULL;
    llm_status status;

    if (!json_is_object(row))
        return status_set(LLM_E_FORMAT, "not a JSON object");
    if (json_is_string(text))
        return encode_plain(rows, NULL, text);
    if (rows->chat || json_object_get(row, "messages") || json_object_get(row, "conversations"))
        return encode_conversation(rows, row);
    status = prompt_and_answer(row, &prompt, &answer);
    if (!status && !json_is_string(prompt))
        status = status_set(LLM_E_INVALID, "messages need a chat template");
    if (!status)
        status = encode_plain(rows, json_string_value(prompt), answer);
    json_decref(prompt);
    json_decref(answer);
    return status;
}

static llm_status next_example(void *arg, struct example *example)
{
    struct rows *rows = arg;
    json_t *row = NULL;
    llm_status status = next_row(rows, &row);

    if (!status && !row)
        return LLM_OK;
    if (!status)
        status = encode_row(rows, row);
    json_decref(row);
    if (status)
        return rows->row && rows->path
                   ? status_prefix(status, "%s: row %zu", rows->paths[rows->path - 1], rows->row)
                   : status;
    *example = (struct example){rows->whole.ids, rows->mask, rows->whole.count};
    return LLM_OK;
}

static llm_status check_arguments(llm_dataset **out, const llm_context *context,
                                  const llm_tokenizer *tokenizer, const char *const *paths,
                                  size_t count)
{
    static const char name[] = "llm_dataset_from_chats";

    if (!out)
        return null_argument(name, "out");
    *out = NULL;
    if (!context)
        return null_argument(name, "context");
    if (!tokenizer)
        return null_argument(name, "tokenizer");
    if (!paths)
        return null_argument(name, "paths");
    for (size_t i = 0; i < count; i++) {
        if (!paths[i])
            return status_set(LLM_E_INVALID, "%s: paths[%zu] is NULL", name, i);
    }
    return LLM_OK;
}

llm_status llm_dataset_from_chats(llm_dataset **out, llm_context *context, llm_tokenizer *tokenizer,
                                  const llm_chat_template *chat, const char *const *paths,
                                  size_t count, int32_t learn, const llm_dataset_options *given)
{
    llm_dataset_options options = {
        .struct_size = sizeof options, .validation_fraction = 0.1, .append_eos = 1};
    struct rows rows = {.context = context,
                        .tokenizer = tokenizer,
                        .chat = chat,
                        .learn = learn,
                        .options = &options,
                        .paths = paths,
                        .path_count = count};
    llm_status status = check_arguments(out, context, tokenizer, paths, count);

    if (status)
        return status;
    if (learn != LLM_LEARN_ANSWERS && learn != LLM_LEARN_ALL)
        return status_set(LLM_E_RANGE, "learn is %d, outside 0..1", learn);
    status = options_read(&options, sizeof options, given, "llm_dataset_options");
    if (status)
        return status;
    rows.memory = &context->memory;
    status = dataset_from_examples(out, context, tokenizer, tokenizer_vocab_size(tokenizer),
                                   next_example, &rows, &options);
    close_file(&rows);
    memory_release(rows.memory, rows.whole.ids);
    memory_release(rows.memory, rows.part.ids);
    memory_release(rows.memory, rows.mask);
    return status;
}
