/* SPDX-License-Identifier: MIT
 *
 * Classes of characters as split rules need them, from one table that does not change with the
 * machine: a tokenizer must give the same ids everywhere. Unicode 16.0.
 */
#ifndef TOKENIZER_UNICODE_H
#define TOKENIZER_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    UNICODE_OTHER = 0,
    UNICODE_NEWLINE = 1,     /* \r \n */
    UNICODE_SPACE = 2,       /* other white space */
    UNICODE_UPPER = 3,       /* Lu Lt */
    UNICODE_LOWER = 4,       /* Ll */
    UNICODE_LETTER = 5,      /* Lm Lo */
    UNICODE_MARK = 6,        /* M */
    UNICODE_NUMBER = 7,      /* N */
    UNICODE_CLASS = 7,       /* mask of the above */
    UNICODE_WORD = 8,        /* \w: letters, marks, numbers, connectors */
    UNICODE_PUNCTUATION = 16 /* P */
};

extern const uint8_t unicode_index[8704];
extern const uint8_t unicode_classes[29952];

/* Class and bits of a code point below 0x110000. */
static inline unsigned unicode_look(uint32_t c)
{
    return unicode_classes[(size_t)unicode_index[c >> 7] << 7 | (c & 127)];
}

/* The character at `p` (p < end): its code point in *c, its size in bytes returned. An invalid byte
 * is a character of its own: class "other", code point 0xFFFD. */
size_t unicode_next(const unsigned char *p, const unsigned char *end, uint32_t *c);

/* The character that ends at `p` (begin < p): start of it returned. */
const unsigned char *unicode_before(const unsigned char *begin, const unsigned char *p,
                                    uint32_t *c);

#endif
