/* SPDX-License-Identifier: MIT
 *
 * Pre-tokenization: cutting text into words that byte-pair encoding does not cross. Each rule is a
 * hand-written scanner that gives exactly what the rule's regular expression would (leftmost, first
 * alternative), in linear time. A rule = one file and one line in the table of split.c.
 */
#ifndef TOKENIZER_SPLIT_H
#define TOKENIZER_SPLIT_H

#include "llm/tokenizer.h"

#include <stdbool.h>

/* An internal rule beyond LLM_SPLIT_*: as the tiktoken library cuts, different at the end of a
 * text. */
enum { SPLIT_CL100K_TIKTOKEN = 100 };

/* Next words from *cursor (< end): writes their ends, at most `max`, moves *cursor to the last one.
 * Words cover the text without gaps. Returns how many. */
typedef size_t (*split_scan_fn)(const unsigned char **cursor, const unsigned char *end,
                                const unsigned char **ends, size_t max);

struct split_rule {
    int32_t id; /* LLM_SPLIT_* or SPLIT_CL100K_TIKTOKEN */
    const char *name;
    split_scan_fn scan;
    /* The regular expression in Hugging Face's (Oniguruma's) syntax that means the same, the first
     * being the one written to files; NULL for the rule that ByteLevel(use_regex) stands for. */
    const char *regexes[4];
};

const struct split_rule *split_find(int32_t id);                /* NULL: no such rule */
const struct split_rule *split_find_regex(const char *pattern); /* NULL: not one we know */

/* The scanners. */
size_t split_scan_none(const unsigned char **cursor, const unsigned char *end,
                       const unsigned char **ends, size_t max);
size_t split_scan_gpt2(const unsigned char **cursor, const unsigned char *end,
                       const unsigned char **ends, size_t max);
size_t split_scan_cl100k(const unsigned char **cursor, const unsigned char *end,
                         const unsigned char **ends, size_t max);
size_t split_scan_cl100k_tiktoken(const unsigned char **cursor, const unsigned char *end,
                                  const unsigned char **ends, size_t max);
size_t split_scan_qwen2(const unsigned char **cursor, const unsigned char *end,
                        const unsigned char **ends, size_t max);
size_t split_scan_o200k(const unsigned char **cursor, const unsigned char *end,
                        const unsigned char **ends, size_t max);

/* A place at or after `from` where every rule cuts (a letter, then a space), or `end`. Lets long
 * text be cut into parts that give the same words as the whole. */
const unsigned char *split_safe_point(const unsigned char *from, const unsigned char *end);

#endif
