/* SPDX-License-Identifier: MIT */
#include "models/config.h"

static llm_status read_field(void *at, const json_t *json, const struct config_field *field)
{
    switch (field->kind) {
    case CONFIG_I64:
        return json_read_i64(json, field->name, (int64_t)field->min, (int64_t)field->max, at);
    case CONFIG_OR_NULL:
        if (json_is_null(json_object_get(json, field->name)))
            *(int32_t *)at = 0;
        return json_read_i32(json, field->name, (int32_t)field->min, (int32_t)field->max, at);
    case CONFIG_I32:
        return json_read_i32(json, field->name, (int32_t)field->min, (int32_t)field->max, at);
    case CONFIG_DOUBLE:
        return json_read_double(json, field->name, field->min, field->max, at);
    case CONFIG_BOOL:
        return json_read_bool(json, field->name, at);
    case CONFIG_TEXT:
        return json_read_text(json, field->name, at);
    }
    return LLM_E_INTERNAL;
}

llm_status config_read(void *config, const json_t *json, const struct config_field *fields,
                       size_t count)
{
    llm_status status = LLM_OK;

    for (size_t i = 0; i < count && !status; i++)
        status = read_field((char *)config + fields[i].offset, json, &fields[i]);
    return status;
}

llm_status config_refuse(const json_t *json, const char *field)
{
    const json_t *value = json_object_get(json, field);

    if (!value || json_is_null(value) || json_is_false(value) ||
        (json_is_number(value) && json_number_value(value) == 0.0))
        return LLM_OK;
    return status_set(LLM_E_UNSUPPORTED, "field \"%s\": not supported", field);
}
