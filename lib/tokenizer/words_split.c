/* SPDX-License-Identifier: MIT
 *
 * Pre-tokenizers that cut and leave the text as it is.
 */
#include "tokenizer/codepoint.h"
#include "tokenizer/stage_list.h"
#include "tokenizer/words.h"

#include <string.h>

/* ---- by single characters ---- */

/* Matches are characters with one of `flags`. */
static void cut_by_flags(struct words *words, unsigned flags, enum split_behavior behavior)
{
    const struct mapped_text *text = &words->text;

    for (size_t i = 0; i < words->words.count; i++) {
        struct word_span word = words->words.list[i];
        struct word_cutter cutter = {.words = words, .behavior = behavior};
        size_t plain = word.begin;
        size_t at = word.begin;

        while (at < word.end) {
            size_t length;
            uint32_t c = mapped_char(text->data, word.end, at, &length);

            if (codepoint_is(c, flags)) {
                word_cutter_segment(&cutter, plain, at, false);
                word_cutter_segment(&cutter, at, at + length, true);
                plain = at + length;
            }
            at += length;
        }
        word_cutter_segment(&cutter, plain, word.end, false);
        word_cutter_finish(&cutter);
    }
    words_swap(words, false);
}

/* White space goes, punctuation is alone. */
static llm_status apply_bert(const void *data, struct words *words)
{
    const struct mapped_text *text = &words->text;

    (void)data;
    for (size_t i = 0; i < words->words.count; i++) {
        struct word_span word = words->words.list[i];
        size_t plain = word.begin;
        size_t at = word.begin;

        while (at < word.end) {
            size_t length = 1;
            unsigned char byte = (unsigned char)text->data[at];
            unsigned flags;

            if ((unsigned)((byte | 0x20) - 'a') < 26) {
                at++;
                continue;
            }
            flags = codepoint_look(mapped_char(text->data, word.end, at, &length))->flags;
            if (flags & (CODEPOINT_SPACE | CODEPOINT_PUNCTUATION)) {
                words_add(words, plain, at);
                if (!(flags & CODEPOINT_SPACE))
                    words_add(words, at, at + length);
                plain = at + length;
            }
            at += length;
        }
        words_add(words, plain, word.end);
    }
    words_swap(words, false);
    return LLM_OK;
}

const struct pre_tokenizer_type pre_tokenizer_bert = {
    .type = "BertPreTokenizer", .local = true, .cuts_spaces = true, .apply = apply_bert};

static llm_status apply_whitespace_split(const void *data, struct words *words)
{
    (void)data;
    cut_by_flags(words, CODEPOINT_SPACE, SPLIT_REMOVED);
    return LLM_OK;
}

const struct pre_tokenizer_type pre_tokenizer_whitespace_split = {
    .type = "WhitespaceSplit", .local = true, .cuts_spaces = true, .apply = apply_whitespace_split};

static llm_status read_punctuation(void **data, struct memory *memory, const json_t *stage)
{
    enum split_behavior *behavior = memory_alloc_zeroed(memory, 1, sizeof *behavior);

    *data = behavior;
    if (!behavior)
        return LLM_E_NOMEM;
    *behavior = SPLIT_ISOLATED;
    return split_behavior_read(behavior, stage);
}

static llm_status apply_punctuation(const void *data, struct words *words)
{
    cut_by_flags(words, CODEPOINT_PUNCTUATION, *(const enum split_behavior *)data);
    return LLM_OK;
}

const struct pre_tokenizer_type pre_tokenizer_punctuation = {
    .type = "Punctuation", .local = true, .read = read_punctuation, .apply = apply_punctuation};

static llm_status read_digits(void **data, struct memory *memory, const json_t *stage)
{
    bool *individual = memory_alloc_zeroed(memory, 1, sizeof *individual);

    *data = individual;
    return individual ? json_read_bool(stage, "individual_digits", individual) : LLM_E_NOMEM;
}

static llm_status apply_digits(const void *data, struct words *words)
{
    cut_by_flags(words, CODEPOINT_NUMERIC, *(const bool *)data ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS);
    return LLM_OK;
}

const struct pre_tokenizer_type pre_tokenizer_digits = {
    .type = "Digits", .local = true, .read = read_digits, .apply = apply_digits};

/* ---- runs of word characters and runs of others ---- */

static llm_status apply_whitespace(const void *data, struct words *words)
{
    const struct mapped_text *text = &words->text;

    (void)data;
    for (size_t i = 0; i < words->words.count; i++) {
        struct word_span word = words->words.list[i];
        size_t begin = word.begin;
        unsigned kind = CODEPOINT_SPACE;

        for (size_t at = word.begin; at < word.end;) {
            size_t length;
            unsigned flags = codepoint_look(mapped_char(text->data, word.end, at, &length))->flags;
            unsigned next = flags & CODEPOINT_WORD ? CODEPOINT_WORD : flags & CODEPOINT_SPACE;

            if (next != kind) {
                if (kind != CODEPOINT_SPACE)
                    words_add(words, begin, at);
                begin = at;
                kind = next;
            }
            at += length;
        }
        if (kind != CODEPOINT_SPACE)
            words_add(words, begin, word.end);
    }
    words_swap(words, false);
    return LLM_OK;
}

const struct pre_tokenizer_type pre_tokenizer_whitespace = {
    .type = "Whitespace", .local = true, .cuts_spaces = true, .apply = apply_whitespace};

/* ---- by a pattern ---- */

struct split {
    struct pattern pattern;
    enum split_behavior behavior;
    bool invert;
};

static llm_status read_split(void **data, struct memory *memory, const json_t *stage)
{
    struct split *split = memory_alloc_zeroed(memory, 1, sizeof *split);
    llm_status status;

    *data = split;
    if (!split)
        return LLM_E_NOMEM;
    if (!json_object_get(stage, "behavior"))
        return status_set(LLM_E_FORMAT, "missing field \"behavior\"");
    status = split_behavior_read(&split->behavior, stage);
    if (!status)
        status = json_read_bool(stage, "invert", &split->invert);
    return status ? status
                  : pattern_read(&split->pattern, memory, json_object_get(stage, "pattern"));
}

static llm_status read_delimiter(void **data, struct memory *memory, const json_t *stage)
{
    struct split *split = memory_alloc_zeroed(memory, 1, sizeof *split);
    const json_t *delimiter = json_object_get(stage, "delimiter");
    size_t length = 0;

    *data = split;
    if (!split)
        return LLM_E_NOMEM;
    split->behavior = SPLIT_REMOVED;
    if (json_string_length(delimiter) > 0)
        (void)mapped_char(json_string_value(delimiter), json_string_length(delimiter), 0, &length);
    if (length == 0 || length != json_string_length(delimiter))
        return status_set(LLM_E_FORMAT, "field \"delimiter\" is not one character");
    return pattern_read(&split->pattern, memory, delimiter);
}

static llm_status apply_split(const void *data, struct words *words)
{
    const struct split *split = data;
    llm_status status = LLM_OK;

    for (size_t i = 0; i < words->words.count && !status; i++) {
        struct word_span word = words->words.list[i];
        struct word_cutter cutter = {.words = words, .behavior = split->behavior};
        struct pattern_walk walk =
            pattern_walk(&split->pattern, words->text.data + word.begin, word.end - word.begin);
        size_t done = word.begin;
        size_t begin;
        size_t end;

        while (pattern_next(&walk, &begin, &end)) {
            word_cutter_segment(&cutter, done, word.begin + begin, split->invert);
            done = word.begin + end;
            word_cutter_segment(&cutter, word.begin + begin, done, !split->invert);
        }
        word_cutter_segment(&cutter, done, word.end, split->invert);
        word_cutter_finish(&cutter);
        status = pattern_status(&walk);
    }
    words_swap(words, false);
    return status;
}

static void free_split(void *data, struct memory *memory)
{
    struct split *split = data;

    if (split)
        pattern_free(&split->pattern, memory);
    memory_release(memory, split);
}

const struct pre_tokenizer_type pre_tokenizer_split = {
    .type = "Split", .read = read_split, .apply = apply_split, .free = free_split};
const struct pre_tokenizer_type pre_tokenizer_char_delimiter = {
    .type = "CharDelimiterSplit", .read = read_delimiter, .apply = apply_split, .free = free_split};

/* ---- where the script changes ---- */

/* Spaces and characters of any script go with what stands before them; at the start of a word they
 * go. */
static llm_status apply_scripts(const void *data, struct words *words)
{
    const struct mapped_text *text = &words->text;

    (void)data;
    for (size_t i = 0; i < words->words.count; i++) {
        struct word_span word = words->words.list[i];
        size_t begin = SIZE_MAX;
        unsigned last = 0;

        for (size_t at = word.begin; at < word.end;) {
            size_t length;
            unsigned script =
                codepoint_look(mapped_char(text->data, word.end, at, &length))->script;

            if (script != 0 && script != last) {
                if (begin != SIZE_MAX)
                    words_add(words, begin, at);
                begin = at;
                last = script;
            }
            at += length;
        }
        if (begin != SIZE_MAX)
            words_add(words, begin, word.end);
    }
    words_swap(words, false);
    return LLM_OK;
}

const struct pre_tokenizer_type pre_tokenizer_scripts = {.type = "UnicodeScripts",
                                                         .apply = apply_scripts};

/* ---- by number of characters ---- */

static llm_status read_fixed_length(void **data, struct memory *memory, const json_t *stage)
{
    int64_t *length = memory_alloc_zeroed(memory, 1, sizeof *length);

    *data = length;
    if (!length)
        return LLM_E_NOMEM;
    *length = 5;
    return json_read_i64(stage, "length", 1, INT32_MAX, length);
}

static llm_status apply_fixed_length(const void *data, struct words *words)
{
    int64_t most = *(const int64_t *)data;

    for (size_t i = 0; i < words->words.count; i++) {
        struct word_span word = words->words.list[i];
        size_t begin = word.begin;
        int64_t count = 0;

        for (size_t at = word.begin; at < word.end;) {
            size_t length;

            (void)mapped_char(words->text.data, word.end, at, &length);
            at += length;
            if (++count == most || at == word.end) {
                words_add(words, begin, at);
                begin = at;
                count = 0;
            }
        }
    }
    words_swap(words, false);
    return LLM_OK;
}

const struct pre_tokenizer_type pre_tokenizer_fixed_length = {
    .type = "FixedLength", .read = read_fixed_length, .apply = apply_fixed_length};
