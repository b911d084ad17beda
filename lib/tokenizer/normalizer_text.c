/* SPDX-License-Identifier: MIT
 *
 * The small normalizers: Strip, StripAccents, Lowercase, Nmt, Replace, Prepend, ByteLevel.
 */
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/codepoint.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pattern.h"
#include "tokenizer/stage_list.h"

#include <string.h>

enum { MOST_CONTENT = 4096 };

static llm_status check_content(size_t size)
{
    if (size > MOST_CONTENT)
        return status_set(LLM_E_RANGE, "a text of %zu bytes is put in, more than %d", size,
                          MOST_CONTENT);
    return LLM_OK;
}

static bool is_ascii(const char *text, size_t size)
{
    unsigned char bits = 0;

    for (size_t i = 0; i < size; i++)
        bits |= (unsigned char)text[i];
    return bits < 0x80;
}

/* ---- Strip ---- */

struct strip {
    bool left;
    bool right;
};

static llm_status read_strip(void **data, struct memory *memory, const json_t *stage)
{
    struct strip *strip = memory_alloc_zeroed(memory, 1, sizeof *strip);
    llm_status status;

    *data = strip;
    if (!strip)
        return LLM_E_NOMEM;
    status = json_read_bool(stage, "strip_left", &strip->left);
    return status ? status : json_read_bool(stage, "strip_right", &strip->right);
}

/* Start of the character that ends at `end`. */
static size_t before(const char *data, size_t end)
{
    size_t start = end - 1;
    size_t length;

    while (start > 0 && end - start < 4 && ((unsigned char)data[start] & 0xC0) == 0x80)
        start--;
    (void)mapped_char(data, end, start, &length);
    return start + length == end ? start : end - 1;
}

static llm_status apply_strip(const void *data, struct normalizer_work *work,
                              const struct mapped_text *in, struct mapped_text *out)
{
    const struct strip *strip = data;
    size_t begin = 0;
    size_t end = in->size;
    size_t length;

    (void)work;
    while (strip->left && begin < end &&
           codepoint_is(mapped_char(in->data, end, begin, &length), CODEPOINT_SPACE))
        begin += length;
    while (strip->right && end > begin) {
        size_t start = before(in->data, end);

        if (!codepoint_is(mapped_char(in->data, end, start, &length), CODEPOINT_SPACE))
            break;
        end = start;
    }
    mapped_copy(out, in, begin, end - begin);
    return LLM_OK;
}

const struct normalizer_type normalizer_strip = {
    .type = "Strip", .read = read_strip, .apply = apply_strip};

/* ---- StripAccents ---- */

static llm_status apply_strip_accents(const void *data, struct normalizer_work *work,
                                      const struct mapped_text *in, struct mapped_text *out)
{
    (void)data;
    (void)work;
    for (size_t at = 0; at < in->size;) {
        size_t length;

        if (!codepoint_is(mapped_char(in->data, in->size, at, &length), CODEPOINT_MARK))
            mapped_copy(out, in, at, length);
        at += length;
    }
    return LLM_OK;
}

static bool leaves_ascii(const void *data, const char *text, size_t size)
{
    (void)data;
    return is_ascii(text, size);
}

const struct normalizer_type normalizer_strip_accents = {
    .type = "StripAccents", .local = true, .apply = apply_strip_accents, .leaves = leaves_ascii};

/* ---- Lowercase ---- */

static llm_status apply_lowercase(const void *data, struct normalizer_work *work,
                                  const struct mapped_text *in, struct mapped_text *out)
{
    (void)data;
    (void)work;
    if (!mapped_reserve(out, in->size))
        return LLM_E_NOMEM;
    for (size_t at = 0; at < in->size;) {
        size_t length;
        uint32_t c = mapped_char(in->data, in->size, at, &length);
        uint32_t lower[2];
        size_t count = 1;

        if (c < 0x80)
            lower[0] = c - 'A' < 26 ? c | 0x20 : c;
        else if (c < 0x110000)
            count = codepoint_lower(c, lower);
        else
            lower[0] = c;
        mapped_put_char(out, in, at, lower[0]);
        at += length;
        if (count == 2)
            mapped_insert_char(out, in, at, lower[1]);
    }
    return LLM_OK;
}

static bool leaves_lower(const void *data, const char *text, size_t size)
{
    (void)data;
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)text[i] >= 0x80 || (unsigned)(text[i] - 'A') < 26)
            return false;
    }
    return true;
}

static size_t growth_two(const void *data)
{
    (void)data;
    return 2;
}

const struct normalizer_type normalizer_lowercase = {.type = "Lowercase",
                                                     .local = true,
                                                     .apply = apply_lowercase,
                                                     .leaves = leaves_lower,
                                                     .growth = growth_two};

/* ---- Nmt: the cleaning of neural machine translation corpora, as SentencePiece does it ---- */

static bool nmt_removes(uint32_t c)
{
    return (c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F ||
           c == 0x8F || c == 0x9F;
}

static bool nmt_is_space(uint32_t c)
{
    return c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
           (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xFEFF || c == 0xFFFD || c >= 0x110000;
}

static llm_status apply_nmt(const void *data, struct normalizer_work *work,
                            const struct mapped_text *in, struct mapped_text *out)
{
    (void)data;
    (void)work;
    for (size_t at = 0; at < in->size;) {
        size_t length;
        uint32_t c = mapped_char(in->data, in->size, at, &length);

        if (!nmt_removes(c)) {
            if (nmt_is_space(c))
                mapped_put(out, in, at, " ", 1);
            else
                mapped_copy(out, in, at, length);
        }
        at += length;
    }
    return LLM_OK;
}

const struct normalizer_type normalizer_nmt = {.type = "Nmt", .apply = apply_nmt};

/* ---- Replace ---- */

struct replace {
    struct pattern pattern;
    char *content;
    size_t size;
};

static llm_status read_replace(void **data, struct memory *memory, const json_t *stage)
{
    struct replace *replace = memory_alloc_zeroed(memory, 1, sizeof *replace);
    const char *content;
    llm_status status;

    *data = replace;
    if (!replace)
        return LLM_E_NOMEM;
    status = stage_read_text(stage, "content", &content, &replace->size);
    if (!status)
        status = check_content(replace->size);
    if (!status)
        status = pattern_read(&replace->pattern, memory, json_object_get(stage, "pattern"));
    if (status)
        return status;
    replace->content = memory_copy_text(memory, content, replace->size);
    return replace->content ? LLM_OK : LLM_E_NOMEM;
}

static llm_status apply_replace(const void *data, struct normalizer_work *work,
                                const struct mapped_text *in, struct mapped_text *out)
{
    const struct replace *replace = data;
    struct pattern_walk walk = pattern_walk(&replace->pattern, in->data, in->size);
    size_t done = 0;
    size_t begin;
    size_t end;

    (void)work;
    while (!out->failed && pattern_next(&walk, &begin, &end)) {
        mapped_copy(out, in, done, begin - done);
        mapped_insert(out, in, end, replace->content, replace->size);
        done = end;
    }
    mapped_copy(out, in, done, in->size - done);
    return pattern_status(&walk);
}

static bool leaves_replace(const void *data, const char *text, size_t size)
{
    const struct replace *replace = data;
    struct pattern_walk walk = pattern_walk(&replace->pattern, text, size);
    size_t begin;
    size_t end;

    return !pattern_next(&walk, &begin, &end) && walk.budget > 0;
}

static size_t growth_replace(const void *data)
{
    return ((const struct replace *)data)->size + 1;
}

static void free_replace(void *data, struct memory *memory)
{
    struct replace *replace = data;

    if (!replace)
        return;
    pattern_free(&replace->pattern, memory);
    memory_release(memory, replace->content);
    memory_release(memory, replace);
}

const struct normalizer_type normalizer_replace = {.type = "Replace",
                                                   .read = read_replace,
                                                   .apply = apply_replace,
                                                   .leaves = leaves_replace,
                                                   .growth = growth_replace,
                                                   .free = free_replace};

/* ---- Prepend ---- */

struct prepend {
    char *text;
    size_t size;
};

static llm_status read_prepend(void **data, struct memory *memory, const json_t *stage)
{
    struct prepend *prepend = memory_alloc_zeroed(memory, 1, sizeof *prepend);
    const char *text;
    llm_status status;

    *data = prepend;
    if (!prepend)
        return LLM_E_NOMEM;
    status = stage_read_text(stage, "prepend", &text, &prepend->size);
    if (!status)
        status = check_content(prepend->size);
    if (status)
        return status;
    prepend->text = memory_copy_text(memory, text, prepend->size);
    return prepend->text ? LLM_OK : LLM_E_NOMEM;
}

static llm_status apply_prepend(const void *data, struct normalizer_work *work,
                                const struct mapped_text *in, struct mapped_text *out)
{
    const struct prepend *prepend = data;

    (void)work;
    mapped_put(out, in, 0, prepend->text, prepend->size);
    mapped_copy(out, in, 0, in->size);
    return LLM_OK;
}

static size_t growth_prepend(const void *data)
{
    return ((const struct prepend *)data)->size + 1;
}

static void free_prepend(void *data, struct memory *memory)
{
    struct prepend *prepend = data;

    if (prepend)
        memory_release(memory, prepend->text);
    memory_release(memory, prepend);
}

const struct normalizer_type normalizer_prepend = {.type = "Prepend",
                                                   .read = read_prepend,
                                                   .apply = apply_prepend,
                                                   .growth = growth_prepend,
                                                   .free = free_prepend};

/* ---- ByteLevel ---- */

static llm_status apply_byte_level(const void *data, struct normalizer_work *work,
                                   const struct mapped_text *in, struct mapped_text *out)
{
    (void)data;
    (void)work;
    for (size_t at = 0; at < in->size; at++)
        mapped_put_char(out, in, at, byte_alphabet_character((unsigned char)in->data[at]));
    return LLM_OK;
}

const struct normalizer_type normalizer_byte_level = {
    .type = "ByteLevel", .local = true, .apply = apply_byte_level, .growth = growth_two};
