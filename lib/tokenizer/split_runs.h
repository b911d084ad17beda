/* SPDX-License-Identifier: MIT
 *
 * What the split scanners share: the class of the next character and the ends of runs. Runs of
 * ASCII letters, most of all text, go eight bytes at a time; other characters through the Unicode
 * table.
 */
#ifndef TOKENIZER_SPLIT_RUNS_H
#define TOKENIZER_SPLIT_RUNS_H

#include "tokenizer/split.h"
#include "tokenizer/unicode.h"

#include <string.h>

/* Class of the character at p (p < end) and its size in bytes. */
static inline unsigned class_at(const unsigned char *p, const unsigned char *end, size_t *size)
{
    uint32_t c;

    if (*p < 0x80) {
        *size = 1;
        return unicode_classes[(size_t)unicode_index[0] << 7 | *p] & UNICODE_CLASS;
    }
    *size = unicode_next(p, end, &c);
    return unicode_look(c) & UNICODE_CLASS;
}

static inline bool is_letter(unsigned class)
{
    return class >= UNICODE_UPPER && class <= UNICODE_LETTER;
}

static inline bool is_space(unsigned class)
{
    return class == UNICODE_SPACE || class == UNICODE_NEWLINE;
}

static inline bool is_symbol(unsigned class)
{
    return class == UNICODE_OTHER || class == UNICODE_MARK;
}

/* First byte at or after p that is not an ASCII letter. */
static inline const unsigned char *ascii_letters_end(const unsigned char *p,
                                                     const unsigned char *end)
{
    const uint64_t high = 0x8080808080808080u;

    while (end - p >= 8) {
        uint64_t bytes;
        uint64_t folded;
        uint64_t others;

        memcpy(&bytes, p, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        bytes = __builtin_bswap64(bytes);
#endif
        /* Adding 0x80 - 'a' and 0x7F - 'z' carries into a byte's top bit from 'a' on and past 'z'.
         */
        folded = (bytes | 0x2020202020202020u) & ~high;
        others =
            ~((folded + 0x1F1F1F1F1F1F1F1Fu) & ~(folded + 0x0505050505050505u) & ~bytes) & high;
        if (others)
            return p + (__builtin_ctzll(others) >> 3);
        p += 8;
    }
    while (p < end && (unsigned)((*p | 0x20) - 'a') < 26)
        p++;
    return p;
}

static inline const unsigned char *letters_end(const unsigned char *p, const unsigned char *end)
{
    size_t size;

    for (;;) {
        p = ascii_letters_end(p, end);
        if (p == end || *p < 0x80 || !is_letter(class_at(p, end, &size)))
            return p;
        p += size;
    }
}

/* End of a run of numbers, at most `most` of them. */
static inline const unsigned char *numbers_end(const unsigned char *p, const unsigned char *end,
                                               size_t most)
{
    size_t size;

    while (p < end && most-- > 0 && class_at(p, end, &size) == UNICODE_NUMBER)
        p += size;
    return p;
}

/* End of a run of what is neither space, letter nor number. */
static inline const unsigned char *symbols_end(const unsigned char *p, const unsigned char *end)
{
    size_t size;

    while (p < end && is_symbol(class_at(p, end, &size)))
        p += size;
    return p;
}

static inline const unsigned char *newlines_end(const unsigned char *p, const unsigned char *end)
{
    while (p < end && (*p == '\r' || *p == '\n'))
        p++;
    return p;
}

/* The alternatives \s*[\r\n]+ (when `newlines`), \s+(?!\S) and \s+ for white space at p. With
 * `whole_tail`, white space that ends the text is one word, newlines or not. */
static inline const unsigned char *space_word_end(const unsigned char *p, const unsigned char *end,
                                                  bool newlines, bool whole_tail)
{
    const unsigned char *run = p;
    const unsigned char *last = p;          /* start of the run's last character */
    const unsigned char *after_line = NULL; /* after the run's last newline */
    size_t size;

    while (run < end) {
        unsigned class = class_at(run, end, &size);

        if (!is_space(class))
            break;
        last = run;
        run += size;
        if (class == UNICODE_NEWLINE)
            after_line = run;
    }
    if (run == end && whole_tail)
        return run;
    if (newlines && after_line)
        return after_line;
    if (run == end || last == p)
        return run;
    return last;
}

/* Size of 's 't 'm 'd 're 've 'll at p, which holds an apostrophe; 0: none. `fold` ignores case,
 * where the long s (U+017F) is an s. */
static inline size_t contraction_size(const unsigned char *p, const unsigned char *end, bool fold)
{
    unsigned char a = end - p >= 2 ? p[1] : 0;
    unsigned char b = end - p >= 3 ? p[2] : 0;

    if (fold) {
        if (a == 0xC5 && b == 0xBF)
            return 3;
        a = (unsigned)(a - 'A') < 26 ? a | 0x20 : a;
        b = (unsigned)(b - 'A') < 26 ? b | 0x20 : b;
    }
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
        return 3;
    return 0;
}

#endif
