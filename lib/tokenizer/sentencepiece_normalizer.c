/* SPDX-License-Identifier: MIT */
#include "tokenizer/sentencepiece_normalizer.h"

#include "tokenizer/unicode.h"

#include <string.h>

static const char space_symbol[] = "\xE2\x96\x81";
static const char replacement[] = "\xEF\xBF\xBD";

struct writer {
    const struct sentencepiece_rules *rules;
    const struct mapped_text *in;
    struct mapped_text *out;
};

size_t sentencepiece_user_match(const struct sentencepiece_rules *rules, const unsigned char *p,
                                const unsigned char *end, int32_t *id)
{
    const struct double_array *user = &rules->user;
    uint32_t node = 0;
    size_t found = 0;

    for (size_t i = 0; user->units && p + i < end; i++) {
        node = double_array_child(user, node, p[i]);
        if (node == 0)
            break;
        if (user->units[node].value >= 0) {
            *id = user->units[node].value;
            found = i + 1;
        }
    }
    return found;
}

/* The next step: `length` bytes of the text become `text`. */
static struct charsmap_match next_step(const struct sentencepiece_rules *rules,
                                       const unsigned char *p, const unsigned char *end)
{
    struct charsmap_match match = {(const char *)p, 1, 1};
    int32_t id;
    uint32_t c;
    size_t size;

    if (*p < 128 && rules->map.plain[*p] && !rules->user.units && (end - p == 1 || p[1] < 128))
        return match;
    size = sentencepiece_user_match(rules, p, end, &id);
    if (size > 0)
        return (struct charsmap_match){(const char *)p, size, size};
    match = charsmap_longest(&rules->map, p, end);
    if (match.text)
        return match;
    size = unicode_next(p, end, &c);
    if (c == 0xFFFD && size == 1 && !rules->keep_invalid)
        return (struct charsmap_match){replacement, 3, 1};
    return (struct charsmap_match){(const char *)p, size, size};
}

/* Append bytes that come from the text at `at`. Ends of origins are set when all is known. */
static void put(const struct writer *writer, const char *bytes, size_t size, uint32_t begin)
{
    struct mapped_text *out = writer->out;

    memcpy(out->data + out->size, bytes, size);
    for (size_t i = 0; out->track && i < size; i++)
        out->origins[out->size + i] = (struct origin){begin, begin};
    out->size += size;
}

static uint32_t origin_of(const struct mapped_text *in, size_t at)
{
    if (!in->track || in->size == 0)
        return 0;
    return at < in->size ? in->origins[at].begin : in->origins[in->size - 1].end;
}

static void put_space(const struct writer *writer, uint32_t origin)
{
    if (!mapped_reserve(writer->out, 3))
        return;
    if (writer->rules->escape_whitespaces)
        put(writer, space_symbol, 3, origin);
    else
        put(writer, " ", 1, origin);
}

static void put_step(const struct writer *writer, const char *text, size_t size, size_t at)
{
    const char *end = text + size;
    uint32_t origin = origin_of(writer->in, at);

    if (!mapped_reserve(writer->out, 3 * size))
        return;
    while (text < end) {
        const char *space =
            writer->rules->escape_whitespaces ? memchr(text, ' ', (size_t)(end - text)) : NULL;
        const char *stop = space ? space : end;

        put(writer, text, (size_t)(stop - text), origin);
        if (space)
            put(writer, space_symbol, 3, origin);
        text = space ? space + 1 : end;
    }
}

/* Where the text goes on behind the spaces at its start. */
static size_t skip_spaces(const struct writer *writer)
{
    const unsigned char *text = (const unsigned char *)writer->in->data;
    const unsigned char *end = text + writer->in->size;
    size_t at = 0;

    while (writer->rules->remove_extra_whitespaces && at < writer->in->size) {
        struct charsmap_match step = next_step(writer->rules, text + at, end);

        if (step.size != 1 || step.text[0] != ' ')
            break;
        at += step.length;
    }
    return at;
}

/* The text from `at` on; the place of the first byte not used is returned. */
static size_t put_text(const struct writer *writer, size_t at)
{
    const struct sentencepiece_rules *rules = writer->rules;
    const unsigned char *text = (const unsigned char *)writer->in->data;
    const unsigned char *end = text + writer->in->size;
    bool behind_space = rules->remove_extra_whitespaces;

    while (at < writer->in->size && !writer->out->failed) {
        struct charsmap_match step = next_step(rules, text + at, end);

        while (behind_space && step.size > 0 && step.text[0] == ' ') {
            step.text++;
            step.size--;
        }
        if (step.size > 0) {
            put_step(writer, step.text, step.size, at);
            behind_space = rules->remove_extra_whitespaces && step.text[step.size - 1] == ' ';
        }
        at += step.length;
    }
    return at;
}

static bool ends_with_space(const struct writer *writer)
{
    const struct mapped_text *out = writer->out;

    if (!writer->rules->escape_whitespaces)
        return out->size > 0 && out->data[out->size - 1] == ' ';
    return out->size >= 3 && memcmp(out->data + out->size - 3, space_symbol, 3) == 0;
}

/* As transformers has it, a text that begins with a space needs none in front, when only the first
 * text gets one. */
static bool begins_with_space(const struct mapped_text *in, size_t at)
{
    return in->data[at] == ' ' ||
           (in->size - at >= 3 && memcmp(in->data + at, space_symbol, 3) == 0);
}

/* A byte comes from where it begins up to where the next one begins, as SentencePiece has it. */
static void set_ends(struct mapped_text *out, uint32_t end)
{
    for (size_t i = out->size; out->track && i > 0; i--) {
        out->origins[i - 1].end = end;
        end = out->origins[i - 1].begin;
    }
}

void sentencepiece_normalize(const struct sentencepiece_rules *rules, const struct mapped_text *in,
                             struct mapped_text *out)
{
    struct writer writer = {rules, in, out};
    size_t at = skip_spaces(&writer);
    bool prefix = rules->add_dummy_prefix && !(rules->prefix_first_only && in->zero == 0);
    uint32_t end;

    if (at == in->size)
        return;
    if (prefix && !rules->whitespace_as_suffix &&
        !(rules->prefix_first_only && begins_with_space(in, at)))
        put_space(&writer, origin_of(in, at));
    end = origin_of(in, put_text(&writer, at));
    while (rules->remove_extra_whitespaces && ends_with_space(&writer)) {
        out->size -= rules->escape_whitespaces ? 3 : 1;
        if (out->track)
            end = out->origins[out->size].begin;
    }
    if (prefix && rules->whitespace_as_suffix)
        put_space(&writer, end);
    if (!out->failed)
        set_ends(out, end);
}

void sentencepiece_rules_close(struct sentencepiece_rules *rules)
{
    charsmap_close(&rules->map);
    double_array_close(&rules->user);
}
