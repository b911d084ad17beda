/* SPDX-License-Identifier: MIT
 *
 * What SentencePiece does to a text before it looks for pieces: the rules of the character map,
 * user-defined pieces left alone, white space at the ends and in runs removed, a space put in front
 * (or behind), spaces written as U+2581. Bytes that are not UTF-8 become U+FFFD.
 */
#ifndef TOKENIZER_SENTENCEPIECE_NORMALIZER_H
#define TOKENIZER_SENTENCEPIECE_NORMALIZER_H

#include "tokenizer/double_array.h"
#include "tokenizer/mapped_text.h"
#include "tokenizer/precompiled.h"

struct sentencepiece_rules {
    struct charsmap map;
    struct double_array user; /* user-defined pieces; no units: none */
    bool add_dummy_prefix;
    bool prefix_first_only; /* only a text that starts the whole gets the prefix */
    bool remove_extra_whitespaces;
    bool escape_whitespaces;
    bool whitespace_as_suffix;
    bool keep_invalid; /* bytes that are not UTF-8 stay, for byte pieces, as in llama.cpp */
};

/* Append what `in` becomes to `out`, which is empty. A failure shows in out->failed. */
void sentencepiece_normalize(const struct sentencepiece_rules *rules, const struct mapped_text *in,
                             struct mapped_text *out);
void sentencepiece_rules_close(struct sentencepiece_rules *rules);

/* Size of the longest user-defined piece that starts [p, end); 0: none. */
size_t sentencepiece_user_match(const struct sentencepiece_rules *rules, const unsigned char *p,
                                const unsigned char *end, int32_t *id);

#endif
