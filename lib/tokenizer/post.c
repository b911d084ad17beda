/* SPDX-License-Identifier: MIT
 *
 * The field "post_processor": the tokens put around a text or a pair of texts, the types of tokens,
 * and whether the white space of byte-level tokens counts as theirs.
 */
#include "tokenizer/pipeline.h"

#include <string.h>

enum { MOST_ITEMS = 256 };

static void free_template(struct post_template *template, struct memory *memory)
{
    memory_release(memory, template->items);
    memset(template, 0, sizeof *template);
}

void post_free(llm_tokenizer *tokenizer)
{
    struct memory *memory = &tokenizer->context->memory;

    free_template(&tokenizer->post.single, memory);
    free_template(&tokenizer->post.pair, memory);
    memory_release(memory, tokenizer->post.json);
    memset(&tokenizer->post, 0, sizeof tokenizer->post);
}

static llm_status add(llm_tokenizer *tokenizer, struct post_template *template,
                      struct post_item item)
{
    llm_status status;

    if (item.sequence < 0 && !vocab_has(&tokenizer->vocab, item.id))
        return status_set(LLM_E_FORMAT, "post_processor names an id that does not exist");
    if (template->count >= MOST_ITEMS)
        return status_set(LLM_E_RANGE, "post_processor adds more than %d tokens", MOST_ITEMS);
    status = memory_grow(&tokenizer->context->memory, (void **)&template->items,
                         &template->capacity, template->count + 1, sizeof *template->items);
    if (!status)
        template->items[template->count++] = item;
    return status;
}

static llm_status add_token(llm_tokenizer *tokenizer, struct post_template *template,
                            const json_t *id, int32_t type)
{
    int64_t value = json_is_integer(id) ? json_integer_value(id) : -1;

    if (value < 0 || value > VOCAB_MAX_ID)
        return status_set(LLM_E_FORMAT, "post_processor names an id that does not exist");
    return add(tokenizer, template, (struct post_item){-1, (int32_t)value, type});
}

static llm_status add_sequence(llm_tokenizer *tokenizer, struct post_template *template,
                               int32_t sequence, int32_t type)
{
    if (template->sequences == POST_SEQUENCES)
        return status_set(LLM_E_UNSUPPORTED, "post_processor: a template with more than %d texts",
                          POST_SEQUENCES);
    template->sequences++;
    return add(tokenizer, template, (struct post_item){sequence, -1, type});
}

/* [{"SpecialToken": {"id": name, "type_id": n}} | {"Sequence": {"id": "A", "type_id": n}}, ...] */
static llm_status read_items(llm_tokenizer *tokenizer, struct post_template *template,
                             const json_t *list, const json_t *tokens, const char *field)
{
    size_t index;
    json_t *item;
    llm_status status = LLM_OK;

    if (!json_is_array(list))
        return status_set(LLM_E_FORMAT, "post_processor: \"%s\" is not a list", field);
    json_array_foreach(list, index, item)
    {
        const json_t *special = json_object_get(item, "SpecialToken");
        const json_t *sequence = json_object_get(item, "Sequence");
        const json_t *content = special ? special : sequence;
        const char *name = json_string_value(json_object_get(content, "id"));
        const json_t *ids = NULL;
        int32_t type = 0;
        size_t i;
        json_t *id;

        if (name && special)
            ids = json_object_get(json_object_get(tokens, name), "ids");
        if (!name || (special && !json_is_array(ids)) ||
            (sequence && strcmp(name, "A") != 0 && strcmp(name, "B") != 0))
            return status_set(LLM_E_FORMAT, "post_processor: item %zu of \"%s\" is malformed",
                              index, field);
        status = json_read_i32(content, "type_id", 0, INT32_MAX, &type);
        if (!status && sequence)
            status = add_sequence(tokenizer, template, name[0] == 'B', type);
        json_array_foreach(ids, i, id)
        {
            if (!status)
                status = add_token(tokenizer, template, id, type);
        }
        if (status)
            return status;
    }
    return LLM_OK;
}

static bool has_sequence(const struct post_template *template, int32_t sequence)
{
    for (size_t i = 0; i < template->count; i++) {
        if (template->items[i].sequence == sequence)
            return true;
    }
    return false;
}

static llm_status read_template(llm_tokenizer *tokenizer, const json_t *stage)
{
    struct post_processor *post = &tokenizer->post;
    const json_t *tokens = json_object_get(stage, "special_tokens");
    const json_t *pair = json_object_get(stage, "pair");
    llm_status status =
        read_items(tokenizer, &post->single, json_object_get(stage, "single"), tokens, "single");

    if (!status && pair && !json_is_null(pair))
        status = read_items(tokenizer, &post->pair, pair, tokens, "pair");
    if (status)
        return status;
    if (!has_sequence(&post->single, 0) || has_sequence(&post->single, 1))
        return status_set(LLM_E_FORMAT,
                          "post_processor: \"single\" does not have the text A alone");
    if (post->pair.count && (!has_sequence(&post->pair, 0) || !has_sequence(&post->pair, 1)))
        return status_set(LLM_E_FORMAT, "post_processor: \"pair\" does not have the texts A and B");
    return LLM_OK;
}

/* {"cls": [text, id], "sep": [text, id]}. RoBERTa puts two separators between the texts and has one
 * type only. */
static llm_status read_pair(llm_tokenizer *tokenizer, const json_t *stage, bool roberta)
{
    struct post_processor *post = &tokenizer->post;
    const json_t *cls = json_array_get(json_object_get(stage, "cls"), 1);
    const json_t *sep = json_array_get(json_object_get(stage, "sep"), 1);
    struct post_template *templates[2] = {&post->single, &post->pair};
    llm_status status = LLM_OK;

    for (int i = 0; i < 2 && !status; i++) {
        status = add_token(tokenizer, templates[i], cls, 0);
        if (!status)
            status = add_sequence(tokenizer, templates[i], 0, 0);
        if (!status)
            status = add_token(tokenizer, templates[i], sep, 0);
    }
    if (!status && roberta)
        status = add_token(tokenizer, &post->pair, sep, 0);
    if (!status)
        status = add_sequence(tokenizer, &post->pair, 1, !roberta);
    return status ? status : add_token(tokenizer, &post->pair, sep, !roberta);
}

/* ByteLevel and RobertaProcessing. */
static llm_status read_trim(llm_tokenizer *tokenizer, const json_t *stage)
{
    struct post_processor *post = &tokenizer->post;
    bool trim = true;
    bool prefix = true;
    llm_status status = json_read_bool(stage, "trim_offsets", &trim);

    if (!status)
        status = json_read_bool(stage, "add_prefix_space", &prefix);
    if (!status && trim && post->trim)
        return status_set(LLM_E_UNSUPPORTED,
                          "post_processor: two stages that trim offsets are not supported");
    if (trim) {
        post->trim = true;
        post->trim_prefix = prefix;
    }
    return status;
}

static llm_status read_stage(void *user, const json_t *stage, const char *type)
{
    llm_tokenizer *tokenizer = user;
    bool roberta = strcmp(type, "RobertaProcessing") == 0;
    llm_status status = LLM_OK;

    if (strcmp(type, "ByteLevel") == 0)
        return read_trim(tokenizer, stage);
    if (strcmp(type, "TemplateProcessing") != 0 && strcmp(type, "BertProcessing") != 0 && !roberta)
        return status_set(LLM_E_UNSUPPORTED, "post_processor \"%.60s\" is not supported", type);
    if (tokenizer->post.single.count)
        return status_set(LLM_E_UNSUPPORTED,
                          "post_processor: two stages that add tokens are not supported");
    if (roberta)
        status = read_trim(tokenizer, stage);
    if (status)
        return status;
    return strcmp(type, "TemplateProcessing") == 0 ? read_template(tokenizer, stage)
                                                   : read_pair(tokenizer, stage, roberta);
}

/* Without a stage that says otherwise: the text; the two texts, of types 0 and 1. */
static llm_status add_defaults(llm_tokenizer *tokenizer)
{
    struct post_processor *post = &tokenizer->post;
    llm_status status = LLM_OK;

    if (post->single.count == 0)
        status = add_sequence(tokenizer, &post->single, 0, 0);
    if (!status && post->pair.count == 0) {
        status = add_sequence(tokenizer, &post->pair, 0, 0);
        if (!status)
            status = add_sequence(tokenizer, &post->pair, 1, 1);
    }
    return status;
}

llm_status post_read(llm_tokenizer *tokenizer, const json_t *json)
{
    llm_status status =
        stage_list_walk(json, "post_processor", "processors", read_stage, tokenizer);

    if (!status)
        status = tokenizer_keep_json(tokenizer, &tokenizer->post.json, json);
    return status;
}

llm_status post_finish(llm_tokenizer *tokenizer)
{
    return add_defaults(tokenizer);
}
