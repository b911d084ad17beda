/* SPDX-License-Identifier: MIT
 *
 * The field "post_processor": the tokens around a text. For one text, that is all such stages do to
 * ids.
 */
#include "tokenizer/pipeline.h"

#include <string.h>

void post_free(llm_tokenizer *tokenizer)
{
    struct memory *memory = &tokenizer->context->memory;

    memory_release(memory, tokenizer->post.before);
    memory_release(memory, tokenizer->post.after);
    memory_release(memory, tokenizer->post.json);
    memset(&tokenizer->post, 0, sizeof tokenizer->post);
}

static llm_status append(llm_tokenizer *tokenizer, bool before, const json_t *id)
{
    struct post_processor *post = &tokenizer->post;
    int32_t **ids = before ? &post->before : &post->after;
    size_t *count = before ? &post->before_count : &post->after_count;
    size_t capacity = *count;
    int64_t value = json_is_integer(id) ? json_integer_value(id) : -1;
    llm_status status;

    if (!vocab_has(&tokenizer->vocab, value))
        return status_set(LLM_E_FORMAT, "post_processor names an id that does not exist");
    if (*count >= 64)
        return status_set(LLM_E_RANGE, "post_processor adds more than 64 tokens");
    status =
        memory_grow(&tokenizer->context->memory, (void **)ids, &capacity, *count + 1, sizeof **ids);
    if (!status)
        (*ids)[(*count)++] = (int32_t)value;
    return status;
}

/* {"single": [{"SpecialToken": {"id": name}} | {"Sequence": {"id": "A"}}, ...],
 *  "special_tokens": {name: {"ids": [...]}}} */
static llm_status read_template(llm_tokenizer *tokenizer, const json_t *stage)
{
    const json_t *single = json_object_get(stage, "single");
    const json_t *tokens = json_object_get(stage, "special_tokens");
    bool before = true;
    size_t index;
    json_t *item;

    json_array_foreach(single, index, item)
    {
        const char *name =
            json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        const json_t *ids = name ? json_object_get(json_object_get(tokens, name), "ids") : NULL;
        size_t i;
        json_t *id;

        if (json_object_get(item, "Sequence")) {
            if (!before)
                return status_set(LLM_E_UNSUPPORTED,
                                  "post_processor: a template with the text twice");
            before = false;
            continue;
        }
        if (!json_is_array(ids))
            return status_set(LLM_E_FORMAT, "post_processor: a template item is malformed");
        json_array_foreach(ids, i, id)
        {
            llm_status status = append(tokenizer, before, id);

            if (status)
                return status;
        }
    }
    if (before)
        return status_set(LLM_E_FORMAT, "post_processor: the template has no text");
    return LLM_OK;
}

/* {"cls": [text, id], "sep": [text, id]} */
static llm_status read_pair(llm_tokenizer *tokenizer, const json_t *stage)
{
    llm_status status = append(tokenizer, true, json_array_get(json_object_get(stage, "cls"), 1));

    return status ? status
                  : append(tokenizer, false, json_array_get(json_object_get(stage, "sep"), 1));
}

static llm_status read_stage(llm_tokenizer *tokenizer, const json_t *stage)
{
    const char *type = stage_type(stage);

    if (strcmp(type, "ByteLevel") == 0) /* moves offsets only */
        return LLM_OK;
    if (tokenizer->post.before_count || tokenizer->post.after_count)
        return status_set(LLM_E_UNSUPPORTED,
                          "post_processor: two stages that add tokens are not supported");
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template(tokenizer, stage);
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0)
        return read_pair(tokenizer, stage);
    return status_set(LLM_E_UNSUPPORTED, "post_processor \"%.60s\" is not supported", type);
}

llm_status post_read(llm_tokenizer *tokenizer, const json_t *stage)
{
    size_t index;
    json_t *item;
    llm_status status = LLM_OK;

    if (!stage || json_is_null(stage))
        return LLM_OK;
    if (strcmp(stage_type(stage), "Sequence") == 0) {
        json_array_foreach(json_object_get(stage, "processors"), index, item)
        {
            status = read_stage(tokenizer, item);
            if (status)
                return status;
        }
    } else {
        status = read_stage(tokenizer, stage);
    }
    return status ? status : tokenizer_keep_json(tokenizer, &tokenizer->post.json, stage);
}
