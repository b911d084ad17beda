/* SPDX-License-Identifier: MIT
 *
 * Look-ups in the tables of code points. Hangul is arithmetic (the Unicode Standard, section 3.12).
 */
#include "tokenizer/codepoint.h"

#include <string.h>

enum {
    HANGUL_S = 0xAC00,
    HANGUL_L = 0x1100,
    HANGUL_V = 0x1161,
    HANGUL_T = 0x11A7,
    HANGUL_LS = 19,
    HANGUL_VS = 21,
    HANGUL_TS = 28,
    HANGUL_NS = HANGUL_VS * HANGUL_TS,
    HANGUL_SS = HANGUL_LS * HANGUL_NS
};

bool codepoint_is_chinese(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
           (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
           (c >= 0x2F800 && c <= 0x2FA1F);
}

size_t codepoint_lower(uint32_t c, uint32_t out[2])
{
    size_t low = 0;
    size_t high = CODEPOINT_LOWER_COUNT;

    out[0] = c;
    if (!codepoint_is(c, CODEPOINT_LOWERS))
        return 1;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (codepoint_lowers[middle].from <= c)
            low = middle;
        else
            high = middle;
    }
    out[0] = codepoint_lowers[low].to;
    out[1] = 0x307;
    return c == 0x130 ? 2 : 1;
}

static size_t decompose_hangul(uint32_t c, uint32_t *out)
{
    uint32_t index = c - HANGUL_S;

    out[0] = HANGUL_L + index / HANGUL_NS;
    out[1] = HANGUL_V + index % HANGUL_NS / HANGUL_TS;
    out[2] = HANGUL_T + index % HANGUL_TS;
    return out[2] == HANGUL_T ? 2 : 3;
}

size_t codepoint_decompose(uint32_t c, bool compatible, uint32_t out[CODEPOINT_MOST])
{
    unsigned wanted = CODEPOINT_CANONICAL | (compatible ? CODEPOINT_COMPATIBLE : 0u);
    size_t low = 0;
    size_t high = CODEPOINT_MAPPINGS;

    if (c - HANGUL_S < HANGUL_SS)
        return decompose_hangul(c, out);
    out[0] = c;
    if (!codepoint_is(c, wanted))
        return 1;
    /* The last entry for `c`, which is the one of NFKD where the two differ. */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (codepoint_decompositions[middle].from <= c)
            low = middle;
        else
            high = middle;
    }
    if (codepoint_decompositions[low].compatible && !compatible)
        low--;
    memcpy(out, codepoint_decomposed + codepoint_decompositions[low].offset,
           codepoint_decompositions[low].count * sizeof *out);
    return codepoint_decompositions[low].count;
}

uint32_t codepoint_compose(uint32_t first, uint32_t second)
{
    size_t low = 0;
    size_t high = CODEPOINT_PAIR_COUNT;

    if (first - HANGUL_L < HANGUL_LS && second - HANGUL_V < HANGUL_VS)
        return HANGUL_S + (first - HANGUL_L) * HANGUL_NS + (second - HANGUL_V) * HANGUL_TS;
    if (first - HANGUL_S < HANGUL_SS && (first - HANGUL_S) % HANGUL_TS == 0 && second > HANGUL_T &&
        second < HANGUL_T + HANGUL_TS)
        return first + (second - HANGUL_T);
    if (second >= 0x110000 || !codepoint_is(second, CODEPOINT_SECOND))
        return 0;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        const struct codepoint_pair *pair = &codepoint_pairs[middle];

        if (pair->first < first || (pair->first == first && pair->second <= second))
            low = middle;
        else
            high = middle;
    }
    if (codepoint_pairs[low].first != first || codepoint_pairs[low].second != second)
        return 0;
    return codepoint_pairs[low].composed;
}
