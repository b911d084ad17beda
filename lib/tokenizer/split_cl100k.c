/* SPDX-License-Identifier: MIT
 *
 * GPT-4's rule, as Hugging Face files write it (Llama 3 uses it too):
 *   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*
 *   |\s*[\r\n]+|\s+(?!\S)|\s+
 * Qwen2's has \p{N}. The tiktoken library's own spelling puts \s++$ before the newline alternative,
 * so that white space at the very end of a text is one word.
 */
#include "tokenizer/split_runs.h"

static inline const unsigned char *word_end(const unsigned char *p, const unsigned char *end,
                                            size_t digits, bool whole_tail)
{
    const unsigned char *body;
    unsigned class;
    unsigned next;
    size_t size;

    if ((unsigned)((*p | 0x20) - 'a') < 26)
        return letters_end(p + 1, end);
    if (*p == ' ' && end - p > 1 && (unsigned)((p[1] | 0x20) - 'a') < 26)
        return letters_end(p + 2, end);
    if (*p == '\'') {
        size = contraction_size(p, end, true);
        if (size)
            return p + size;
    }
    class = class_at(p, end, &size);
    if (is_letter(class))
        return letters_end(p + size, end);
    if (class == UNICODE_NUMBER)
        return numbers_end(p, end, digits);
    body = p + size;
    next = UNICODE_NEWLINE; /* whatever the end of the text is, it is no letter and no symbol */
    if (class != UNICODE_NEWLINE && body < end)
        next = class_at(body, end, &size);
    if (is_letter(next))
        return letters_end(body + size, end);
    if (is_symbol(class) || (*p == ' ' && is_symbol(next)))
        return newlines_end(symbols_end(body, end), end);
    return space_word_end(p, end, true, whole_tail);
}

static inline size_t scan(const unsigned char **cursor, const unsigned char *end,
                          const unsigned char **ends, size_t max, size_t digits, bool whole_tail)
{
    const unsigned char *p = *cursor;
    size_t count = 0;

    while (count < max && p < end) {
        p = word_end(p, end, digits, whole_tail);
        ends[count++] = p;
    }
    *cursor = p;
    return count;
}

size_t split_scan_cl100k(const unsigned char **cursor, const unsigned char *end,
                         const unsigned char **ends, size_t max)
{
    return scan(cursor, end, ends, max, 3, false);
}

size_t split_scan_cl100k_tiktoken(const unsigned char **cursor, const unsigned char *end,
                                  const unsigned char **ends, size_t max)
{
    return scan(cursor, end, ends, max, 3, true);
}

size_t split_scan_qwen2(const unsigned char **cursor, const unsigned char *end,
                        const unsigned char **ends, size_t max)
{
    return scan(cursor, end, ends, max, 1, false);
}
