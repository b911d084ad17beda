/* SPDX-License-Identifier: MIT
 *
 * Pre-tokenizers that change the text: ByteLevel and Metaspace.
 */
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/stage_list.h"
#include "tokenizer/words.h"

#include <string.h>

/* ---- ByteLevel ---- */

struct byte_level {
    bool add_prefix_space;
    bool use_regex;
    bool keep; /* leave bytes as they are: nobody looks at their spelling */
};

static llm_status read_byte_level(void **data, struct memory *memory, const json_t *stage)
{
    struct byte_level *byte_level = memory_alloc_zeroed(memory, 1, sizeof *byte_level);
    llm_status status;

    *data = byte_level;
    if (!byte_level)
        return LLM_E_NOMEM;
    byte_level->add_prefix_space = byte_level->use_regex = true;
    status = json_read_bool(stage, "add_prefix_space", &byte_level->add_prefix_space);
    return status ? status : json_read_bool(stage, "use_regex", &byte_level->use_regex);
}

static void put_spaces_before(struct words *words)
{
    const struct mapped_text *text = &words->text;
    struct mapped_text *out = &words->spare;

    for (size_t i = 0; i < words->words.count; i++) {
        struct word_span word = words->words.list[i];
        size_t begin = out->size;

        if (text->data[word.begin] != ' ')
            mapped_put(out, text, word.begin, " ", 1);
        mapped_copy(out, text, word.begin, word.end - word.begin);
        words_add(words, begin, out->size);
    }
    words_swap(words, true);
}

static void cut_by_gpt2(struct words *words)
{
    const struct split_rule *rule = split_find(LLM_SPLIT_GPT2);
    const unsigned char *data = (const unsigned char *)words->text.data;

    for (size_t i = 0; i < words->words.count; i++) {
        struct word_span word = words->words.list[i];
        const unsigned char *cursor = data + word.begin;
        const unsigned char *ends[64];

        while (cursor < data + word.end && !words->failed) {
            size_t begin = (size_t)(cursor - data);
            size_t count = rule->scan(&cursor, data + word.end, ends, 64);

            for (size_t j = 0; j < count; j++) {
                words_add(words, begin, (size_t)(ends[j] - data));
                begin = (size_t)(ends[j] - data);
            }
        }
    }
    words_swap(words, false);
}

static void spell(struct words *words)
{
    const struct mapped_text *text = &words->text;
    struct mapped_text *out = &words->spare;

    mapped_reset(out, text->track);
    for (size_t i = 0; i < words->words.count; i++) {
        struct word_span word = words->words.list[i];
        size_t begin = out->size;

        for (size_t at = word.begin; at < word.end; at++)
            mapped_put_char(out, text, at, byte_alphabet_character((unsigned char)text->data[at]));
        words_add(words, begin, out->size);
    }
    words_swap(words, true);
}

static llm_status apply_byte_level(const void *data, struct words *words)
{
    const struct byte_level *byte_level = data;

    if (byte_level->add_prefix_space)
        put_spaces_before(words);
    if (byte_level->use_regex && !words->failed)
        cut_by_gpt2(words);
    if (!byte_level->keep && !words->failed)
        spell(words);
    return LLM_OK;
}

/* A space in front of a byte, and two bytes for each. */
const struct pre_tokenizer_type pre_tokenizer_byte_level = {
    .type = "ByteLevel", .read = read_byte_level, .apply = apply_byte_level, .growth = 4};

bool pre_tokenizer_ends_in_bytes(struct pre_tokenizer *pre_tokenizer, bool keep)
{
    struct pre_tokenizer_stage *last;

    if (pre_tokenizer->count == 0)
        return false;
    last = &pre_tokenizer->stages[pre_tokenizer->count - 1];
    if (last->type != &pre_tokenizer_byte_level)
        return false;
    ((struct byte_level *)last->data)->keep = keep;
    return true;
}

llm_status words_unspell(struct words *words)
{
    const struct mapped_text *text = &words->text;
    struct mapped_text *out = &words->spare;

    words->spare_words.count = 0;
    words->failed = false;
    mapped_reset(out, text->track);
    for (size_t i = 0; i < words->words.count; i++) {
        struct word_span word = words->words.list[i];
        size_t begin = out->size;

        for (size_t at = word.begin; at < word.end;) {
            size_t length;
            int byte = byte_alphabet_byte(mapped_char(text->data, word.end, at, &length));
            char character = (char)byte;

            if (byte >= 0)
                mapped_put(out, text, at, &character, 1);
            else
                mapped_copy(out, text, at, length);
            at += length;
        }
        words_add(words, begin, out->size);
    }
    words_swap(words, true);
    return words->failed || words->text.failed ? LLM_E_NOMEM : LLM_OK;
}

/* ---- Metaspace ---- */

enum prepend { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct metaspace {
    char replacement[4];
    size_t size;
    enum prepend prepend;
    bool split;
};

static llm_status read_prepend(struct metaspace *metaspace, const json_t *stage)
{
    const char *scheme = "always";
    bool add_prefix_space = true;
    llm_status status = json_read_text(stage, "prepend_scheme", &scheme);

    if (!status)
        status = json_read_bool(stage, "add_prefix_space", &add_prefix_space);
    if (status)
        return status;
    if (strcmp(scheme, "always") == 0)
        metaspace->prepend = PREPEND_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        metaspace->prepend = PREPEND_FIRST;
    else if (strcmp(scheme, "never") == 0)
        metaspace->prepend = PREPEND_NEVER;
    else
        return status_set(LLM_E_UNSUPPORTED, "prepend_scheme \"%.60s\" is not supported", scheme);
    if (!add_prefix_space) {
        if (json_object_get(stage, "prepend_scheme") && metaspace->prepend != PREPEND_NEVER)
            return status_set(LLM_E_FORMAT, "add_prefix_space does not agree with prepend_scheme");
        metaspace->prepend = PREPEND_NEVER;
    }
    return LLM_OK;
}

static llm_status read_metaspace(void **data, struct memory *memory, const json_t *stage)
{
    struct metaspace *metaspace = memory_alloc_zeroed(memory, 1, sizeof *metaspace);
    const char *replacement;
    size_t length = 0;
    llm_status status;

    *data = metaspace;
    if (!metaspace)
        return LLM_E_NOMEM;
    metaspace->split = true;
    status = stage_read_text(stage, "replacement", &replacement, &metaspace->size);
    if (status)
        return status;
    if (metaspace->size > 0)
        (void)mapped_char(replacement, metaspace->size, 0, &length);
    if (length == 0 || length != metaspace->size)
        return status_set(LLM_E_FORMAT, "field \"replacement\" is not one character");
    memcpy(metaspace->replacement, replacement, length);
    status = json_read_bool(stage, "split", &metaspace->split);
    return status ? status : read_prepend(metaspace, stage);
}

static bool starts(const struct metaspace *metaspace, const char *data, size_t size)
{
    return size > 0 &&
           (data[0] == ' ' || (size >= metaspace->size &&
                               memcmp(data, metaspace->replacement, metaspace->size) == 0));
}

static void replace_spaces(const struct metaspace *metaspace, struct words *words)
{
    const struct mapped_text *text = &words->text;
    struct mapped_text *out = &words->spare;

    for (size_t i = 0; i < words->words.count; i++) {
        struct word_span word = words->words.list[i];
        size_t begin = out->size;
        size_t done = word.begin;

        if (!starts(metaspace, text->data + word.begin, word.end - word.begin) &&
            (metaspace->prepend == PREPEND_ALWAYS ||
             (metaspace->prepend == PREPEND_FIRST && word.begin < text->zero)))
            mapped_put(out, text, word.begin, metaspace->replacement, metaspace->size);
        while (done < word.end) {
            const char *space = memchr(text->data + done, ' ', word.end - done);
            size_t at = space ? (size_t)(space - text->data) : word.end;

            mapped_copy(out, text, done, at - done);
            if (space)
                mapped_put(out, text, at, metaspace->replacement, metaspace->size);
            done = at + 1;
        }
        words_add(words, begin, out->size);
    }
    words_swap(words, true);
}

/* Every replacement character begins a word. */
static llm_status apply_metaspace(const void *data, struct words *words)
{
    const struct metaspace *metaspace = data;

    replace_spaces(metaspace, words);
    if (!metaspace->split || words->failed)
        return LLM_OK;
    for (size_t i = 0; i < words->words.count; i++) {
        struct word_span word = words->words.list[i];
        const char *text = words->text.data;
        size_t begin = word.begin;

        for (size_t at = word.begin + 1; at + metaspace->size <= word.end; at++) {
            const char *p = memchr(text + at, metaspace->replacement[0], word.end - at);

            if (!p)
                break;
            at = (size_t)(p - text);
            if (at + metaspace->size > word.end ||
                memcmp(p, metaspace->replacement, metaspace->size) != 0)
                continue;
            words_add(words, begin, at);
            begin = at;
        }
        words_add(words, begin, word.end);
    }
    words_swap(words, false);
    return LLM_OK;
}

const struct pre_tokenizer_type pre_tokenizer_metaspace = {
    .type = "Metaspace", .read = read_metaspace, .apply = apply_metaspace, .growth = 5};
