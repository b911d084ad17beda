/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <math.h>
#include <string.h>

llm_status json_open(json_t **out, const char *text, size_t size, const char *what)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
    json_error_t error;

    *out = json_loadb(text, size, flags, &error);
    /* Integers beyond 64 bits stand in real files: tokenizer_config.json says "no limit" with 1e30
     * written out. All numbers become real then, and whoever wants an integer refuses. */
    if (!*out && json_error_code(&error) == json_error_numeric_overflow)
        *out = json_loadb(text, size, flags | JSON_DECODE_INT_AS_REAL, &error);
    if (*out)
        return LLM_OK;
    if (json_error_code(&error) == json_error_out_of_memory)
        return status_set(LLM_E_NOMEM, "%s: out of memory", what);
    return status_set(LLM_E_FORMAT, "%s: line %d, column %d: %s", what, error.line, error.column,
                      error.text);
}

/* The value, or NULL when it is absent or null. */
static const json_t *present(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return value && !json_is_null(value) ? value : NULL;
}

llm_status json_require(const json_t *object, const char *key)
{
    if (!present(object, key))
        return status_set(LLM_E_FORMAT, "missing field \"%s\"", key);
    return LLM_OK;
}

llm_status json_read_i64(const json_t *object, const char *key, int64_t min, int64_t max,
                         int64_t *out)
{
    const json_t *value = present(object, key);
    int64_t number;

    if (!value)
        return LLM_OK;
    if (!json_is_integer(value)) {
        double real = json_is_real(value) ? json_real_value(value) : (double)NAN;

        if (!(floor(real) == real && fabs(real) <= 0x1p53))
            return status_set(LLM_E_FORMAT, "field \"%s\" is not an integer", key);
        number = (int64_t)real;
    } else {
        number = json_integer_value(value);
    }
    if (number < min || number > max)
        return status_set(LLM_E_RANGE, "field \"%s\" is %lld, outside %lld..%lld", key,
                          (long long)number, (long long)min, (long long)max);
    *out = number;
    return LLM_OK;
}

llm_status json_read_i32(const json_t *object, const char *key, int32_t min, int32_t max,
                         int32_t *out)
{
    int64_t wide = *out;
    llm_status status = json_read_i64(object, key, min, max, &wide);

    if (!status)
        *out = (int32_t)wide;
    return status;
}

llm_status json_read_double(const json_t *object, const char *key, double min, double max,
                            double *out)
{
    const json_t *value = present(object, key);
    double number;

    if (!value)
        return LLM_OK;
    if (!json_is_number(value))
        return status_set(LLM_E_FORMAT, "field \"%s\" is not a number", key);
    number = json_number_value(value);
    if (!(number >= min && number <= max))
        return status_set(LLM_E_RANGE, "field \"%s\" is %g, outside %g..%g", key, number, min, max);
    *out = number;
    return LLM_OK;
}

llm_status json_read_bool(const json_t *object, const char *key, bool *out)
{
    const json_t *value = present(object, key);

    if (!value)
        return LLM_OK;
    if (!json_is_boolean(value))
        return status_set(LLM_E_FORMAT, "field \"%s\" is not true or false", key);
    *out = json_is_true(value);
    return LLM_OK;
}

llm_status json_read_text(const json_t *object, const char *key, const char **out)
{
    const json_t *value = present(object, key);

    if (!value)
        return LLM_OK;
    if (!json_is_string(value))
        return status_set(LLM_E_FORMAT, "field \"%s\" is not a string", key);
    if (strlen(json_string_value(value)) != json_string_length(value))
        return status_set(LLM_E_FORMAT, "field \"%s\" holds a NUL character", key);
    *out = json_string_value(value);
    return LLM_OK;
}

/* ---- writing -----------------------------------------------------------------------------------
 */

enum { WRITE_DEPTH = 64 };

struct level {
    const json_t *container;
    void *member; /* object: iterator of the next member */
    size_t index; /* next member */
};

static void new_line(struct text *text, int depth)
{
    text_append_z(text, "\n");
    for (int i = 0; i < depth; i++)
        text_append_z(text, "  ");
}

/* A real stays a real when it is read again: 1.0, not 1. */
static void write_real(struct text *text, double number)
{
    size_t before = text->size;

    text_append_double(text, number);
    if (!text->failed && !strpbrk(text->data + before, ".en"))
        text_append_z(text, ".0");
}

static void write_scalar(struct text *text, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        text_append_json(text, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        text_printf(text, "%lld", (long long)json_integer_value(value));
        break;
    case JSON_REAL:
        write_real(text, json_real_value(value));
        break;
    case JSON_TRUE:
        text_append_z(text, "true");
        break;
    case JSON_FALSE:
        text_append_z(text, "false");
        break;
    default:
        text_append_z(text, "null");
        break;
    }
}

static size_t member_count(const json_t *container)
{
    return json_is_object(container) ? json_object_size(container) : json_array_size(container);
}

/* The next member of a level, its key already written. */
static const json_t *next_member(struct text *text, struct level *level, int depth)
{
    const json_t *value;
    const char *key;

    if (level->index)
        text_append_z(text, ",");
    new_line(text, depth);
    if (json_is_array(level->container))
        return json_array_get(level->container, level->index++);
    key = json_object_iter_key(level->member);
    value = json_object_iter_value(level->member);
    text_append_json(text, key, json_object_iter_key_len(level->member));
    text_append_z(text, ": ");
    level->member = json_object_iter_next((json_t *)level->container, level->member);
    level->index++;
    return value;
}

llm_status json_write(struct text *text, const json_t *value)
{
    struct level stack[WRITE_DEPTH];
    int depth = 0;

    for (;;) {
        if (json_is_object(value) || json_is_array(value)) {
            if (depth == WRITE_DEPTH)
                return status_set(LLM_E_UNSUPPORTED, "JSON nested deeper than %d levels",
                                  WRITE_DEPTH);
            stack[depth].container = value;
            stack[depth].member = json_object_iter((json_t *)value);
            stack[depth++].index = 0;
            text_append_z(text, json_is_object(value) ? "{" : "[");
        } else {
            write_scalar(text, value);
        }
        while (depth && stack[depth - 1].index == member_count(stack[depth - 1].container)) {
            depth--;
            if (stack[depth].index)
                new_line(text, depth);
            text_append_z(text, json_is_object(stack[depth].container) ? "}" : "]");
        }
        if (depth == 0)
            return text->failed ? LLM_E_NOMEM : LLM_OK;
        value = next_member(text, &stack[depth - 1], depth);
    }
}
