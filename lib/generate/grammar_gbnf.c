/* SPDX-License-Identifier: MIT
 *
 * GBNF, the notation of llama.cpp (grammars/README.md there). A rule ends with its line unless a
 * parenthesis is open or the line ends or the next one begins with |.
 */
#include "generate/grammar_build.h"

#include "base/text.h"

#include <string.h>

struct reader {
    struct builder *builder;
    const char *text, *end, *at;
    struct pattern pattern;
};

static void fail(struct reader *reader, const char *what)
{
    long line = 1;
    const char *line_start = reader->text;

    for (const char *p = reader->text; p < reader->at; p++) {
        if (*p == '\n') {
            line++;
            line_start = p + 1;
        }
    }
    if (!reader->builder->status)
        builder_fail(reader->builder, status_set(LLM_E_FORMAT, "GBNF line %ld, column %ld: %s",
                                                 line, (long)(reader->at - line_start) + 1, what));
}

static bool failed(const struct reader *reader)
{
    return reader->builder->status != LLM_OK;
}

static char peek(const struct reader *reader)
{
    return reader->at < reader->end ? *reader->at : '\0';
}

/* Behind a character, never behind the end. */
static void step(struct reader *reader)
{
    reader->at += reader->at < reader->end;
}

/* Spaces and comments, and line feeds if wanted. */
static void skip(struct reader *reader, bool lines)
{
    while (reader->at < reader->end) {
        char c = *reader->at;

        if (c == '#') {
            while (reader->at < reader->end && *reader->at != '\n')
                step(reader);
        } else if (c == ' ' || c == '\t' || c == '\r' || (c == '\n' && lines)) {
            step(reader);
        } else {
            return;
        }
    }
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static size_t name_size(const struct reader *reader)
{
    const char *p = reader->at;

    while (p < reader->end && is_name(*p))
        p++;
    return (size_t)(p - reader->at);
}

/* Exactly `digits` hexadecimal digits. */
static uint32_t read_hex(struct reader *reader, int digits)
{
    uint32_t value = 0;

    for (int i = 0; i < digits; i++, reader->at++) {
        char c = peek(reader);
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;

        if (digit == 16) {
            fail(reader, "a hexadecimal digit is missing");
            return 0;
        }
        value = value << 4 | digit;
    }
    return value;
}

static uint32_t read_escape(struct reader *reader)
{
    const char *begin = reader->at;
    char c = peek(reader);

    step(reader);
    switch (c) {
    case 'x':
        return read_hex(reader, 2);
    case 'u':
        return read_hex(reader, 4);
    case 'U':
        return read_hex(reader, 8);
    case 't':
        return '\t';
    case 'r':
        return '\r';
    case 'n':
        return '\n';
    case '\\':
    case '"':
    case '[':
    case ']':
    case '-':
    case '^':
        return (uint32_t)(unsigned char)c;
    default:
        reader->at = begin;
        fail(reader, "an unknown escape");
        return 0;
    }
}

/* One character of a text or a class. */
static uint32_t read_character(struct reader *reader)
{
    const unsigned char *cursor = (const unsigned char *)reader->at;
    bool valid = false;
    uint32_t character;

    if (peek(reader) == '\\') {
        step(reader);
        character = read_escape(reader);
    } else {
        character = utf8_next(&cursor, (const unsigned char *)reader->end, &valid);
        if (!valid)
            fail(reader, "invalid UTF-8");
        reader->at = (const char *)cursor;
    }
    if (character > CHARACTER_MOST || (character >= 0xd800 && character <= 0xdfff))
        fail(reader, "no such character");
    return character;
}

static void read_text(struct reader *reader)
{
    int32_t begin = builder_here(reader->builder);
    struct fragment all = build_empty(reader->builder);

    step(reader);
    while (!failed(reader) && reader->at < reader->end && *reader->at != '"') {
        uint32_t character = read_character(reader);

        all = build_then(reader->builder, all,
                         build_character(reader->builder, character, SPELL_PLAIN));
    }
    if (peek(reader) != '"')
        fail(reader, "a text is not closed");
    step(reader);
    pattern_item(&reader->pattern, all, begin);
}

static void read_class(struct reader *reader)
{
    int32_t begin = builder_here(reader->builder);
    struct character_set set = {NULL, 0, 0};
    bool is_negated;

    step(reader);
    is_negated = peek(reader) == '^';
    reader->at += is_negated;
    while (!failed(reader) && reader->at < reader->end && *reader->at != ']') {
        uint32_t low = read_character(reader);
        uint32_t high = low;

        if (peek(reader) == '-' && reader->end - reader->at > 1 && reader->at[1] != ']') {
            step(reader);
            high = read_character(reader);
        }
        if (high < low)
            fail(reader, "a range runs backwards");
        set_add(reader->builder, &set, low, high);
    }
    if (peek(reader) != ']')
        fail(reader, "a class is not closed");
    step(reader);
    set_finish(reader->builder, &set, is_negated);
    pattern_item(&reader->pattern, build_set(reader->builder, &set, SPELL_PLAIN), begin);
    set_free(reader->builder, &set);
}

static void read_any(struct reader *reader)
{
    int32_t begin = builder_here(reader->builder);
    struct character_range range = {0, CHARACTER_MOST};
    const struct character_set all = {&range, 1, 1};

    step(reader);
    pattern_item(&reader->pattern, build_set(reader->builder, &all, SPELL_PLAIN), begin);
}

static void read_call(struct reader *reader)
{
    int32_t begin = builder_here(reader->builder);
    size_t size = name_size(reader);
    int32_t rule = builder_rule(reader->builder, reader->at, size);

    reader->at += size;
    pattern_item(&reader->pattern, build_call(reader->builder, rule), begin);
}

static int64_t read_count(struct reader *reader)
{
    int64_t value = 0;

    if (peek(reader) < '0' || peek(reader) > '9')
        fail(reader, "a number is missing");
    for (; peek(reader) >= '0' && peek(reader) <= '9'; reader->at++) {
        value = 10 * value + (peek(reader) - '0');
        if (value > GRAMMAR_MOST_NODES) {
            builder_fail(reader->builder,
                         status_set(LLM_E_RANGE, "GBNF: a repetition makes the grammar too large"));
            return 0;
        }
    }
    return value;
}

static void read_suffix(struct reader *reader)
{
    char c = peek(reader);
    int64_t min = c == '+';
    int64_t max = c == '?' ? 1 : -1;

    step(reader);
    if (c == '{') {
        skip(reader, false);
        min = peek(reader) == ',' ? 0 : read_count(reader);
        max = min;
        skip(reader, false);
        if (peek(reader) == ',') {
            step(reader);
            skip(reader, false);
            max = peek(reader) == '}' ? -1 : read_count(reader);
            skip(reader, false);
        }
        if (peek(reader) != '}')
            fail(reader, "} is missing");
        step(reader);
        if (max >= 0 && max < min)
            fail(reader, "a repetition runs backwards");
    }
    if (!failed(reader) && !pattern_repeat(&reader->pattern, min, max))
        fail(reader, "nothing stands before a repetition");
}

/* What comes next in a body; false: the body ends here. */
static bool read_item(struct reader *reader)
{
    char c = peek(reader);

    if (c == '"')
        read_text(reader);
    else if (c == '[')
        read_class(reader);
    else if (c == '.')
        read_any(reader);
    else if (is_name(c))
        read_call(reader);
    else if (c == '*' || c == '+' || c == '?' || c == '{')
        read_suffix(reader);
    else if (c == '(' && !pattern_open(&reader->pattern))
        fail(reader, "nested too deep");
    else if (c == ')' && !pattern_close(&reader->pattern))
        fail(reader, ") without (");
    else if (c == '(' || c == ')')
        step(reader);
    else
        return false;
    return true;
}

/* Does an alternative go on in a later line? */
static bool bar_follows(struct reader *reader)
{
    const char *at = reader->at;

    skip(reader, true);
    if (peek(reader) == '|')
        return true;
    reader->at = at;
    return false;
}

static struct fragment read_body(struct reader *reader)
{
    pattern_begin(&reader->pattern, reader->builder);
    skip(reader, true);
    while (!failed(reader)) {
        skip(reader, reader->pattern.depth > 0);
        if (peek(reader) == '|' || bar_follows(reader)) {
            step(reader);
            pattern_alternative(&reader->pattern);
            skip(reader, true);
        } else if (!read_item(reader)) {
            break;
        }
    }
    if (reader->pattern.depth > 0)
        fail(reader, "( is not closed");
    return pattern_end(&reader->pattern);
}

static void read_rule(struct reader *reader)
{
    size_t size = name_size(reader);
    int32_t rule;
    struct fragment body;

    if (!size) {
        fail(reader, peek(reader) == '<' ? "tokens in grammars are not supported"
                                         : "the name of a rule is missing");
        return;
    }
    rule = builder_rule(reader->builder, reader->at, size);
    if (!failed(reader) && reader->builder->automaton.rules[rule].start >= 0)
        fail(reader, "the rule is there already");
    reader->at += size;
    skip(reader, false);
    if (reader->end - reader->at < 3 || memcmp(reader->at, "::=", 3) != 0) {
        fail(reader, "::= is missing");
        return;
    }
    reader->at += 3;
    body = read_body(reader);
    if (!failed(reader))
        builder_define(reader->builder, rule, body);
    skip(reader, false);
    if (reader->at < reader->end && *reader->at != '\n')
        fail(reader, "the rule does not end here");
}

void grammar_read_gbnf(struct builder *builder, const char *text, size_t size)
{
    struct reader reader = {.builder = builder, .text = text, .end = text + size, .at = text};

    (void)builder_rule(builder, "root", 4);
    for (skip(&reader, true); !failed(&reader) && reader.at < reader.end; skip(&reader, true))
        read_rule(&reader);
}
