/* SPDX-License-Identifier: MIT */
#include "tokenizer/stage_list.h"

#include <string.h>

const char *stage_type(const json_t *stage)
{
    const char *type = json_string_value(json_object_get(stage, "type"));

    return type ? type : "null";
}

llm_status stage_read_text(const json_t *stage, const char *key, const char **text, size_t *size)
{
    const json_t *value = json_object_get(stage, key);

    if (!json_is_string(value))
        return status_set(LLM_E_FORMAT, "field \"%s\" is not text", key);
    *text = json_string_value(value);
    *size = json_string_length(value);
    return LLM_OK;
}

llm_status stage_list_walk(const json_t *json, const char *field, const char *list_key,
                           llm_status (*add)(void *user, const json_t *stage, const char *type),
                           void *user)
{
    struct {
        const json_t *list;
        size_t next;
    } stack[STAGE_LIST_DEPTH];
    size_t depth = 0;
    size_t count = 0;
    llm_status status = LLM_OK;

    if (!json || json_is_null(json))
        return LLM_OK;
    while (!status) {
        if (!json_is_object(json))
            return status_set(LLM_E_FORMAT, "%s: a stage is not an object", field);
        if (strcmp(stage_type(json), "Sequence") == 0) {
            const json_t *list = json_object_get(json, list_key);

            if (!json_is_array(list))
                return status_set(LLM_E_FORMAT, "%s: a Sequence without \"%s\"", field, list_key);
            if (depth == STAGE_LIST_DEPTH)
                return status_set(LLM_E_RANGE, "%s: sequences nested more than %d deep", field,
                                  STAGE_LIST_DEPTH);
            stack[depth].list = list;
            stack[depth++].next = 0;
        } else {
            if (++count > STAGE_LIST_MOST)
                return status_set(LLM_E_RANGE, "%s: more than %d stages", field, STAGE_LIST_MOST);
            status = add(user, json, stage_type(json));
        }
        while (depth > 0 && stack[depth - 1].next == json_array_size(stack[depth - 1].list))
            depth--;
        if (depth == 0)
            return status;
        json = json_array_get(stack[depth - 1].list, stack[depth - 1].next++);
    }
    return status;
}
