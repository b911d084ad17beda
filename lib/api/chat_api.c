/* SPDX-License-Identifier: MIT
 *
 * llm_chat_*: arguments are checked here, the work is in lib/chat; and prompts to token ids, where
 * chat and tokenizer meet.
 */
#include "api/check.h"
#include "chat/chat_parser.h"
#include "models/gguf_vocabulary.h"
#include "tokenizer/tokenizer.h"

#include <string.h>

/* ---- templates ---------------------------------------------------------------------------------
 */

llm_status llm_chat_template_new(llm_chat_template **out, llm_context *context, const char *text,
                                 size_t size)
{
    if (!out)
        return null_argument("llm_chat_template_new", "out");
    *out = NULL;
    if (!context)
        return null_argument("llm_chat_template_new", "context");
    if (!text)
        return null_argument("llm_chat_template_new", "text");
    if (!text_is_utf8(text, size))
        return status_set(LLM_E_FORMAT, "llm_chat_template_new: the text is not UTF-8");
    return chat_template_new(out, context, text, size);
}

/* GGUF files have their template among the metadata. */
static llm_status load_gguf(llm_chat_template **out, bool *found, llm_context *context,
                            const char *path, const char *name)
{
    struct text text;
    llm_status status;

    text_init(&text, &context->memory);
    status = gguf_template_of_path(&text, found, context, path, name);
    if (!status && *found && !text_is_utf8(text.data, text.size))
        status = status_set(LLM_E_FORMAT, "%s: the chat template is not UTF-8", path);
    if (!status && *found)
        status = status_prefix(chat_template_new(out, context, text.data, text.size), "%s", path);
    text_free(&text);
    return status;
}

llm_status llm_chat_template_load(llm_chat_template **out, llm_context *context, const char *path,
                                  const char *name)
{
    llm_status status;
    bool found;

    if (!out)
        return null_argument("llm_chat_template_load", "out");
    *out = NULL;
    if (!context)
        return null_argument("llm_chat_template_load", "context");
    if (!path)
        return null_argument("llm_chat_template_load", "path");
    status = load_gguf(out, &found, context, path, name);
    return status || found ? status : chat_template_load(out, context, path, name);
}

const char *llm_chat_template_text(const llm_chat_template *chat, size_t *size_out)
{
    if (size_out)
        *size_out = chat ? chat->size : 0;
    return chat ? chat->text : "";
}

int32_t llm_chat_template_format(const llm_chat_template *chat)
{
    return chat ? chat_format_of(chat->text, chat->size) : LLM_CHAT_PLAIN;
}

void llm_chat_template_free(llm_chat_template *chat)
{
    chat_template_free(chat);
}

/* ---- rendering ---------------------------------------------------------------------------------
 */

static const llm_chat_options default_options = {
    .struct_size = sizeof default_options, .now = INT64_MIN, .add_generation_prompt = 1};

llm_status llm_chat_options_init(llm_chat_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_options, sizeof default_options,
                        "llm_chat_options");
}

static llm_status check_options(const llm_chat_options *o)
{
    if ((o->add_generation_prompt | o->continue_final_message) & ~1)
        return status_set(LLM_E_INVALID, "llm_chat_options: a field is neither 0 nor 1");
    if (o->add_generation_prompt && o->continue_final_message)
        return status_set(LLM_E_INVALID, "llm_chat_options: add_generation_prompt and "
                                         "continue_final_message exclude each other");
    if ((!o->tools && o->tools_size) || (!o->documents && o->documents_size) ||
        (!o->variables && o->variables_size))
        return status_set(LLM_E_INVALID, "llm_chat_options: a text is NULL but has a size");
    return LLM_OK;
}

llm_status llm_chat_render(llm_chat_prompt **out, const llm_chat_template *chat,
                           const char *messages, size_t size, const llm_chat_options *given)
{
    static const char *const names[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
    llm_chat_options options = default_options;
    struct chat_token tokens[4];
    size_t count = 0;
    llm_status status;

    if (!out)
        return null_argument("llm_chat_render", "out");
    *out = NULL;
    if (!chat)
        return null_argument("llm_chat_render", "chat");
    if (!messages)
        return null_argument("llm_chat_render", "messages");
    status = options_read(&options, sizeof options, given, "llm_chat_options");
    if (!status)
        status = check_options(&options);
    if (status)
        return status;
    for (int32_t role = LLM_TOKEN_BOS; options.tokenizer && role <= LLM_TOKEN_PAD; role++) {
        int32_t id = tokenizer_special(options.tokenizer, role);

        if (id >= 0) {
            tokens[count].name = names[role - LLM_TOKEN_BOS];
            tokens[count].text = tokenizer_token(options.tokenizer, id, &tokens[count].size);
            count++;
        }
    }
    return chat_render(out, chat, messages, size, &options, tokens, count);
}

const char *llm_chat_prompt_text(const llm_chat_prompt *prompt, size_t *size_out)
{
    if (size_out)
        *size_out = prompt ? prompt->size : 0;
    return prompt ? prompt->text : "";
}

llm_status llm_chat_prompt_spans(size_t *begins, size_t *ends, size_t capacity, size_t *count_out,
                                 const llm_chat_prompt *prompt)
{
    if (!count_out)
        return null_argument("llm_chat_prompt_spans", "count_out");
    *count_out = 0;
    if (!prompt)
        return null_argument("llm_chat_prompt_spans", "prompt");
    if (capacity && (!begins || !ends))
        return null_argument("llm_chat_prompt_spans", "begins or ends");
    *count_out = prompt->span_count;
    if (prompt->span_count > capacity)
        return status_set(LLM_E_BUFFER, "llm_chat_prompt_spans: room for %zu, %zu are needed",
                          capacity, prompt->span_count);
    for (size_t i = 0; i < prompt->span_count; i++) {
        begins[i] = prompt->spans[i].begin;
        ends[i] = prompt->spans[i].end;
    }
    return LLM_OK;
}

void llm_chat_prompt_free(llm_chat_prompt *prompt)
{
    chat_prompt_free(prompt);
}

/* ---- token ids ---------------------------------------------------------------------------------
 */

/* Tokens of the whole prompt as they come, and where they stand. */
struct encoding {
    struct token_list list;
    size_t *begins, *ends;
    size_t capacity;
};

static void encoding_free(struct encoding *e, struct memory *memory)
{
    token_list_free(&e->list);
    memory_release(memory, e->begins);
    memory_release(memory, e->ends);
}

/* Encode [begin, end) of the prompt behind what is there. */
static llm_status encode_part(struct encoding *e, const llm_chat_prompt *prompt,
                              const llm_tokenizer *tokenizer, size_t begin, size_t end,
                              unsigned flags)
{
    size_t first = e->list.count;
    size_t room = e->capacity - first;
    llm_status status =
        tokenizer_encode_offsets(tokenizer, prompt->text + begin, end - begin, flags, &e->list,
                                 e->begins + first, e->ends + first, room);

    if (!status && e->list.count > e->capacity)
        return status_set(LLM_E_INTERNAL, "more tokens than llm_tokenizer_max_tokens() said");
    for (size_t i = first; i < e->list.count && !status; i++) {
        e->begins[i] += begin;
        e->ends[i] += begin;
    }
    return status;
}

static bool holds_input(const llm_chat_prompt *prompt, size_t begin, size_t end)
{
    return prompt->input && end > begin && memchr(prompt->input + begin, 1, end - begin) != NULL;
}

/* Special tokens that swallowed input are taken apart: their text is encoded as text, what stands
 * between them as before. `whole` holds the tokens of the text with all special tokens. */
static llm_status encode_apart(struct encoding *out, const struct encoding *whole,
                               const llm_chat_prompt *prompt, const llm_tokenizer *tokenizer)
{
    llm_status status = LLM_OK;
    size_t done = 0;

    for (size_t i = 0; i < whole->list.count && !status; i++) {
        size_t begin = whole->begins[i];
        size_t end = whole->ends[i];

        if (!tokenizer_is_special(tokenizer, whole->list.ids[i]) ||
            !holds_input(prompt, begin, end) || begin < done)
            continue;
        if (begin > done)
            status = encode_part(out, prompt, tokenizer, done, begin, TOKENIZER_PARSE_SPECIAL);
        if (!status)
            status = encode_part(out, prompt, tokenizer, begin, end, 0);
        done = end;
    }
    if (!status && done < prompt->size)
        status = encode_part(out, prompt, tokenizer, done, prompt->size, TOKENIZER_PARSE_SPECIAL);
    return status;
}

static bool needs_apart(const struct encoding *e, const llm_chat_prompt *prompt,
                        const llm_tokenizer *tokenizer)
{
    for (size_t i = 0; i < e->list.count && prompt->input; i++) {
        if (tokenizer_is_special(tokenizer, e->list.ids[i]) &&
            holds_input(prompt, e->begins[i], e->ends[i]))
            return true;
    }
    return false;
}

static llm_status encoding_init(struct encoding *e, const llm_chat_prompt *prompt,
                                const llm_tokenizer *tokenizer)
{
    struct memory *memory = tokenizer_memory(tokenizer);
    size_t capacity = tokenizer_max_tokens(tokenizer, prompt->size);

    memset(e, 0, sizeof *e);
    token_list_init(&e->list, memory);
    if (capacity > SIZE_MAX / 4)
        return status_set(LLM_E_NOMEM, "out of memory: the prompt is too long");
    e->capacity = 2 * capacity + 16; /* text in parts may take a little more */
    e->begins = memory_alloc_array(memory, e->capacity, sizeof *e->begins);
    e->ends = memory_alloc_array(memory, e->capacity, sizeof *e->ends);
    return e->begins && e->ends ? LLM_OK : LLM_E_NOMEM;
}

static llm_status give_ids(int32_t *ids, uint8_t *mask, size_t capacity, size_t *count_out,
                           const llm_chat_prompt *prompt, const struct encoding *e)
{
    size_t span = 0;

    *count_out = e->list.count;
    if (e->list.count > capacity)
        return status_set(LLM_E_BUFFER,
                          "llm_chat_prompt_encode: the buffer holds %zu ids, %zu are needed",
                          capacity, e->list.count);
    if (e->list.count)
        memcpy(ids, e->list.ids, e->list.count * sizeof *ids);
    for (size_t i = 0; mask && i < e->list.count; i++) {
        while (span < prompt->span_count && prompt->spans[span].end <= e->begins[i])
            span++;
        mask[i] = span < prompt->span_count && e->ends[i] > prompt->spans[span].begin;
    }
    return LLM_OK;
}

llm_status llm_chat_prompt_encode(int32_t *ids, uint8_t *mask, size_t capacity, size_t *count_out,
                                  const llm_chat_prompt *prompt, const llm_tokenizer *tokenizer)
{
    struct encoding whole;
    struct encoding apart;
    llm_status status;

    if (!count_out)
        return null_argument("llm_chat_prompt_encode", "count_out");
    *count_out = 0;
    if (!prompt)
        return null_argument("llm_chat_prompt_encode", "prompt");
    if (!tokenizer)
        return null_argument("llm_chat_prompt_encode", "tokenizer");
    if (!ids && capacity)
        return null_argument("llm_chat_prompt_encode", "ids");
    status = encoding_init(&whole, prompt, tokenizer);
    if (!status)
        status = encode_part(&whole, prompt, tokenizer, 0, prompt->size, TOKENIZER_PARSE_SPECIAL);
    if (!status && needs_apart(&whole, prompt, tokenizer)) {
        status = encoding_init(&apart, prompt, tokenizer);
        if (!status)
            status = encode_apart(&apart, &whole, prompt, tokenizer);
        if (!status)
            status = give_ids(ids, mask, capacity, count_out, prompt, &apart);
        encoding_free(&apart, tokenizer_memory(tokenizer));
    } else if (!status) {
        status = give_ids(ids, mask, capacity, count_out, prompt, &whole);
    }
    encoding_free(&whole, tokenizer_memory(tokenizer));
    return status;
}

/* ---- answers -----------------------------------------------------------------------------------
 */

llm_status llm_chat_parser_new(llm_chat_parser **out, llm_context *context, int32_t format,
                               const llm_chat_prompt *prompt)
{
    if (!out)
        return null_argument("llm_chat_parser_new", "out");
    *out = NULL;
    if (!context)
        return null_argument("llm_chat_parser_new", "context");
    if (format < LLM_CHAT_PLAIN || format > LLM_CHAT_JSON)
        return status_set(LLM_E_RANGE, "llm_chat_parser_new: there is no format %d", (int)format);
    return chat_parser_new(out, context, format, prompt);
}

llm_status llm_chat_parser_push(llm_chat_parser *parser, const char *text, size_t size,
                                llm_chat_event_fn on_event, void *user)
{
    if (!parser)
        return null_argument("llm_chat_parser_push", "parser");
    if (!text && size)
        return null_argument("llm_chat_parser_push", "text");
    return chat_parser_push(parser, text ? text : "", size, on_event, user);
}

llm_status llm_chat_parser_finish(llm_chat_parser *parser, llm_chat_event_fn on_event, void *user)
{
    if (!parser)
        return null_argument("llm_chat_parser_finish", "parser");
    return chat_parser_finish(parser, on_event, user);
}

static const char *text_of(const struct text *text, size_t *size_out)
{
    size_t size = text ? text->size : 0;

    if (size_out)
        *size_out = size;
    return size ? text->data : "";
}

const char *llm_chat_parser_content(const llm_chat_parser *parser, size_t *size_out)
{
    return text_of(parser ? &parser->content : NULL, size_out);
}

const char *llm_chat_parser_reasoning(const llm_chat_parser *parser, size_t *size_out)
{
    return text_of(parser ? &parser->reasoning : NULL, size_out);
}

size_t llm_chat_parser_call_count(const llm_chat_parser *parser)
{
    return parser ? parser->call_count : 0;
}

llm_status llm_chat_parser_call(llm_chat_call *out, const llm_chat_parser *parser, size_t index)
{
    if (!out)
        return null_argument("llm_chat_parser_call", "out");
    memset(out, 0, sizeof *out);
    if (!parser)
        return null_argument("llm_chat_parser_call", "parser");
    if (index >= parser->call_count)
        return status_set(LLM_E_RANGE, "llm_chat_parser_call: there is no call %zu", index);
    out->name = parser->calls[index].name;
    out->id = parser->calls[index].id;
    out->arguments = parser->calls[index].arguments;
    return LLM_OK;
}

void llm_chat_parser_free(llm_chat_parser *parser)
{
    chat_parser_free(parser);
}
