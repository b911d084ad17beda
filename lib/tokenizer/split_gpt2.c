/* SPDX-License-Identifier: MIT
 *
 * GPT-2's rule (Radford et al. 2019; openai/gpt-2 encoder.py):
 *   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 */
#include "tokenizer/split_runs.h"

static const unsigned char *word_end(const unsigned char *p, const unsigned char *end)
{
    const unsigned char *body = p + (*p == ' ' && end - p > 1);
    unsigned class;
    size_t size;

    if ((unsigned)((*body | 0x20) - 'a') < 26)
        return letters_end(body + 1, end);
    if (*p == '\'') {
        size = contraction_size(p, end, false);
        if (size)
            return p + size;
    }
    class = class_at(body, end, &size);
    if (is_letter(class))
        return letters_end(body + size, end);
    if (class == UNICODE_NUMBER)
        return numbers_end(body, end, SIZE_MAX);
    if (is_symbol(class))
        return symbols_end(body, end);
    return space_word_end(p, end, false, false);
}

size_t split_scan_gpt2(const unsigned char **cursor, const unsigned char *end,
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
