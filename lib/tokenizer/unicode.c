/* SPDX-License-Identifier: MIT */
#include "tokenizer/unicode.h"

#include "base/text.h"

size_t unicode_next(const unsigned char *p, const unsigned char *end, uint32_t *c)
{
    const unsigned char *cursor = p;
    bool valid;

    *c = utf8_next(&cursor, end, &valid);
    return (size_t)(cursor - p);
}

const unsigned char *unicode_before(const unsigned char *begin, const unsigned char *p, uint32_t *c)
{
    const unsigned char *start = p - 1;
    int back = 0;

    while (start > begin && back < 3 && (*start & 0xC0) == 0x80) {
        start--;
        back++;
    }
    /* Only a valid character that ends exactly at p counts as one. */
    if (start + unicode_next(start, p, c) == p)
        return start;
    *c = 0xFFFD;
    return p - 1;
}
