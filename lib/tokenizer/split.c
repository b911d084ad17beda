/* SPDX-License-Identifier: MIT */
#include "tokenizer/split.h"

#include <string.h>

/* clang-format off */
static const struct split_rule rules[] = {
    {LLM_SPLIT_NONE, "none", split_scan_none, {NULL}},
    {LLM_SPLIT_GPT2, "gpt2", split_scan_gpt2,
     {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
      "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"}},
    {LLM_SPLIT_CL100K, "cl100k", split_scan_cl100k,
     {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
      "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
      "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"}},
    {LLM_SPLIT_QWEN2, "qwen2", split_scan_qwen2,
     {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
      "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {LLM_SPLIT_O200K, "o200k", split_scan_o200k,
     {"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
      "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
      "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {SPLIT_CL100K_TIKTOKEN, "cl100k of tiktoken", split_scan_cl100k_tiktoken,
     {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
      "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s+\\z|\\s*[\\r\\n]|\\s+(?!\\S)|\\s"}},
};
/* clang-format on */

const struct split_rule *split_find(int32_t id)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (rules[i].id == id)
            return &rules[i];
    }
    return NULL;
}

const struct split_rule *split_find_regex(const char *pattern)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        for (size_t j = 0; j < 4 && rules[i].regexes[j]; j++) {
            if (strcmp(rules[i].regexes[j], pattern) == 0)
                return &rules[i];
        }
    }
    return NULL;
}

size_t split_scan_none(const unsigned char **cursor, const unsigned char *end,
                       const unsigned char **ends, size_t max)
{
    if (max == 0 || *cursor == end)
        return 0;
    ends[0] = end;
    *cursor = end;
    return 1;
}

const unsigned char *split_safe_point(const unsigned char *from, const unsigned char *end)
{
    for (const unsigned char *p = from; p < end; p++) {
        p = memchr(p, ' ', (size_t)(end - p));
        if (!p)
            return end;
        if (p > from && (unsigned)((p[-1] | 0x20) - 'a') < 26)
            return p;
    }
    return end;
}
