/* SPDX-License-Identifier: MIT */
#include "tokenizer/pattern.h"

#include <string.h>

enum { MOST = 1 << 16 };

/* Knuth, Morris and Pratt's table. */
static void make_borders(struct pattern *pattern)
{
    uint32_t length = 0;

    pattern->border[0] = 0;
    for (size_t i = 1; i < pattern->size; i++) {
        while (length > 0 && pattern->text[i] != pattern->text[length])
            length = pattern->border[length - 1];
        if (pattern->text[i] == pattern->text[length])
            length++;
        pattern->border[i] = length;
    }
}

llm_status pattern_read(struct pattern *pattern, struct memory *memory, const json_t *json)
{
    const json_t *string = json_object_get(json, "String");
    const json_t *expression = json_object_get(json, "Regex");

    if (json_is_string(json))
        string = json;
    if (json_is_string(expression)) {
        pattern->rule = split_find_regex(json_string_value(expression));
        return pattern->rule ? LLM_OK
                             : regex_compile(&pattern->regex, memory, json_string_value(expression),
                                             json_string_length(expression));
    }
    if (!json_is_string(string))
        return status_set(LLM_E_FORMAT, "pattern is neither String nor Regex");
    pattern->size = json_string_length(string);
    if (pattern->size == 0)
        return status_set(LLM_E_UNSUPPORTED, "an empty pattern is not supported");
    if (pattern->size > MOST)
        return status_set(LLM_E_RANGE, "a pattern of more than %d bytes", MOST);
    pattern->text = memory_copy_text(memory, json_string_value(string), pattern->size);
    pattern->border = memory_alloc_array(memory, pattern->size, sizeof *pattern->border);
    if (!pattern->text || !pattern->border)
        return LLM_E_NOMEM;
    make_borders(pattern);
    return LLM_OK;
}

void pattern_free(struct pattern *pattern, struct memory *memory)
{
    memory_release(memory, pattern->text);
    memory_release(memory, pattern->border);
    regex_free(pattern->regex);
}

static bool find_text(const struct pattern *pattern, const char *text, size_t size, size_t from,
                      size_t *begin, size_t *end)
{
    size_t matched = 0;

    while (from < size) {
        if (matched == 0) {
            const char *p = memchr(text + from, pattern->text[0], size - from);

            if (!p)
                return false;
            from = (size_t)(p - text);
        }
        while (matched > 0 && text[from] != pattern->text[matched])
            matched = pattern->border[matched - 1];
        if (text[from] == pattern->text[matched])
            matched++;
        from++;
        if (matched == pattern->size) {
            *begin = from - matched;
            *end = from;
            return true;
        }
    }
    return false;
}

struct pattern_walk pattern_walk(const struct pattern *pattern, const char *text, size_t size)
{
    return (struct pattern_walk){pattern, text, size, 0, 65536 + 64 * size};
}

bool pattern_next(struct pattern_walk *walk, size_t *begin, size_t *end)
{
    const struct pattern *pattern = walk->pattern;
    bool found = false;

    if (walk->at >= walk->size)
        return false;
    if (pattern->text) {
        found = find_text(pattern, walk->text, walk->size, walk->at, begin, end);
    } else if (pattern->rule) {
        const unsigned char *cursor = (const unsigned char *)walk->text + walk->at;
        const unsigned char *word_end;

        found = pattern->rule->scan(&cursor, (const unsigned char *)walk->text + walk->size,
                                    &word_end, 1) == 1;
        *begin = walk->at;
        if (found)
            *end = (size_t)(word_end - (const unsigned char *)walk->text);
    } else {
        found =
            regex_find(pattern->regex, walk->text, walk->size, walk->at, begin, end, &walk->budget);
    }
    walk->at = found ? *end : walk->size;
    return found;
}

llm_status pattern_status(const struct pattern_walk *walk)
{
    if (walk->budget > 0)
        return LLM_OK;
    return status_set(LLM_E_UNSUPPORTED,
                      "a regular expression of the tokenizer takes too long on this text");
}
