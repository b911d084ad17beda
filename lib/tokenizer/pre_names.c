/* SPDX-License-Identifier: MIT */
#include "tokenizer/pre_names.h"

#include <jansson.h>
#include <string.h>

#define BYTE_LEVEL(regex)                                                                          \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_"              \
    "regex\":" regex "}"
#define SPLIT(regex)                                                                               \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex                                          \
    "\"},\"behavior\":\"Isolated\",\"invert\":false}"
#define SEQUENCE(first, second) "{\"type\":\"Sequence\",\"pretokenizers\":[" first "," second "]}"

#define GPT2 BYTE_LEVEL("true")
#define WORDS_AND_DIGITS(digits)                                                                   \
    SEQUENCE(                                                                                      \
        SPLIT("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" digits       \
              "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|"     \
              "\\\\s+"),                                                                           \
        BYTE_LEVEL("false"))
#define LLAMA3 WORDS_AND_DIGITS("\\\\p{N}{1,3}")
#define QWEN2 WORDS_AND_DIGITS("\\\\p{N}")
#define O200K                                                                                      \
    SEQUENCE(SPLIT("[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*" \
                   "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"          \
                   "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]+" \
                   "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"          \
                   "\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|\\\\s*[\\\\r\\\\n]+|"  \
                   "\\\\s+(?!\\\\S)|\\\\s+"),                                                      \
             BYTE_LEVEL("false"))
#define TEKKEN                                                                                     \
    SEQUENCE(SPLIT("[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*" \
                   "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]+|"                                       \
                   "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]+" \
                   "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+"   \
                   "[\\\\r\\\\n/]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"),                   \
             BYTE_LEVEL("false"))
#define DIGITS SEQUENCE("{\"type\":\"Digits\",\"individual_digits\":true}", GPT2)
#define FALCON                                                                                     \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Punctuation\",\"behavior\":"            \
    "\"Contiguous\"}," GPT2                                                                        \
    ",{\"type\":\"Digits\",\"individual_digits\":false}," SPLIT("[0-9][0-9][0-9]") "]}"

/* The first name of each is the one written to files. */
static const struct pre_name names[] = {
    {"gpt-2", GPT2, false},       {"phi-2", GPT2, false},       {"roberta-bpe", GPT2, false},
    {"jina-es", GPT2, false},     {"jina-de", GPT2, false},     {"jina-v1-en", GPT2, false},
    {"jina-v2-es", GPT2, false},  {"jina-v2-de", GPT2, false},  {"jina-v2-code", GPT2, false},
    {"mpt", GPT2, false},         {"olmo", GPT2, false},        {"jais", GPT2, false},
    {"llama-bpe", LLAMA3, true},  {"llama3", LLAMA3, true},     {"llama-v3", LLAMA3, true},
    {"falcon3", LLAMA3, true},    {"pixtral", LLAMA3, true},    {"dbrx", LLAMA3, false},
    {"smaug-bpe", LLAMA3, false}, {"qwen2", QWEN2, false},      {"deepseek-r1-qwen", QWEN2, false},
    {"stablelm2", QWEN2, false},  {"gpt-4o", O200K, false},     {"llama4", O200K, false},
    {"tekken", TEKKEN, true},     {"starcoder", DIGITS, false}, {"refact", DIGITS, false},
    {"command-r", DIGITS, false}, {"smollm", DIGITS, false},    {"codeshell", DIGITS, false},
    {"exaone", DIGITS, false},    {"falcon", FALCON, false},
};

const struct pre_name *pre_name_find(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i].name, name) == 0)
            return &names[i];
    }
    return NULL;
}

const struct pre_name *pre_name_of(const char *json, bool ignore_merges)
{
    json_t *wanted = json_loads(json, 0, NULL);
    const struct pre_name *found = NULL;

    for (size_t i = 0; i < sizeof names / sizeof *names && wanted && !found; i++) {
        json_t *known = json_loads(names[i].json, 0, NULL);

        if (known && json_equal(wanted, known) && names[i].ignore_merges == ignore_merges)
            found = &names[i];
        json_decref(known);
    }
    json_decref(wanted);
    return found;
}
