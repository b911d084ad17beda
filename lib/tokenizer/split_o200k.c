/* SPDX-License-Identifier: MIT
 *
 * GPT-4o's rule:
 *   [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|...)?
 *   |[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|...)?
 *   |\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
 * Letters without case and marks belong to both sets.
 */
#include "tokenizer/split_runs.h"

static bool in_upper(unsigned class)
{
    return class == UNICODE_UPPER || class == UNICODE_LETTER || class == UNICODE_MARK;
}

static bool in_lower(unsigned class)
{
    return class == UNICODE_LOWER || class == UNICODE_LETTER || class == UNICODE_MARK;
}

static const unsigned char *lower_end(const unsigned char *p, const unsigned char *end)
{
    size_t size;

    while (p < end && in_lower(class_at(p, end, &size)))
        p += size;
    return p;
}

/* upper* lower+ at p: its end, or NULL. *upper_end receives the end of upper*. What the regular
 * expression finds by backtracking out of upper* is the last character in both sets. */
static const unsigned char *first_form(const unsigned char *p, const unsigned char *end,
                                       const unsigned char **upper_end)
{
    const unsigned char *after_shared = NULL;
    const unsigned char *lower;
    size_t size;

    while (p < end) {
        unsigned class = class_at(p, end, &size);

        if (!in_upper(class))
            break;
        p += size;
        if (class != UNICODE_UPPER)
            after_shared = p;
    }
    *upper_end = p;
    lower = lower_end(p, end);
    return lower > p ? lower : after_shared;
}

static const unsigned char *with_contraction(const unsigned char *p, const unsigned char *end)
{
    return p < end && *p == '\'' ? p + contraction_size(p, end, true) : p;
}

static const unsigned char *word_end(const unsigned char *p, const unsigned char *end)
{
    const unsigned char *body;
    const unsigned char *upper =
        p; /* end of the upper-case run after the optional first character */
    const unsigned char *unused;
    const unsigned char *found = NULL;
    size_t size;
    unsigned class = class_at(p, end, &size);
    bool prefix = !is_letter(class) && class != UNICODE_NUMBER && class != UNICODE_NEWLINE;

    body = prefix ? p + size : p;
    if (class != UNICODE_NUMBER && class != UNICODE_NEWLINE) {
        found = first_form(body, end, &upper);
        if (!found && prefix && class == UNICODE_MARK)
            found = first_form(p, end, &unused);
        if (!found && upper > body)
            found = upper;
        if (found)
            return with_contraction(found, end);
    }
    if (class == UNICODE_NUMBER)
        return numbers_end(p, end, 3);
    if (*p == ' ' && end - p > 1)
        class = class_at(p + 1, end, &size);
    if (is_symbol(class)) {
        p = symbols_end(p + (*p == ' '), end);
        while (p < end && (*p == '\r' || *p == '\n' || *p == '/'))
            p++;
        return p;
    }
    return space_word_end(p, end, true, false);
}

size_t split_scan_o200k(const unsigned char **cursor, const unsigned char *end,
                        const unsigned char **ends, size_t max)
{
    const unsigned char *p = *cursor;
    size_t count = 0;

    while (count < max && p < end) {
        p = word_end(p, end);
        ends[count++] = p;
    }
    *cursor = p;
    return count;
}
