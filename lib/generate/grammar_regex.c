/* SPDX-License-Identifier: MIT
 *
 * Regular expressions in the common syntax of JSON schema, Python and PCRE, as far as they are
 * regular. What is not is refused by name.
 */
#include "generate/grammar_build.h"

#include "base/text.h"

#include <string.h>

struct reader {
    struct builder *builder;
    const char *text, *end, *at;
    enum spelling spelling;
    bool is_anchored; /* the pattern spans all of the text */
    bool is_closed;   /* $ was seen in this alternative */
    struct pattern pattern;
};

static void fail_as(struct reader *reader, llm_status status, const char *what)
{
    if (!reader->builder->status)
        builder_fail(reader->builder, status_set(status, "regular expression, byte %ld: %s",
                                                 (long)(reader->at - reader->text), what));
}

static void fail(struct reader *reader, const char *what)
{
    fail_as(reader, LLM_E_FORMAT, what);
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

static bool at_text(const struct reader *reader, const char *text)
{
    size_t size = strlen(text);

    return (size_t)(reader->end - reader->at) >= size && memcmp(reader->at, text, size) == 0;
}

/* ---- characters and classes -------------------------------------------------------------------
 */

static void add_range(struct reader *reader, struct character_set *set, uint32_t low, uint32_t high)
{
    set_add(reader->builder, set, low, high);
}

/* \d \w \s and their opposites; false: `c` is none of them. */
static bool add_shorthand(struct reader *reader, struct character_set *set, char c)
{
    struct character_set named = {NULL, 0, 0};
    char lower = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;

    if (lower == 'd' || lower == 'w')
        add_range(reader, &named, '0', '9');
    if (lower == 'w') {
        add_range(reader, &named, 'a', 'z');
        add_range(reader, &named, 'A', 'Z');
        add_range(reader, &named, '_', '_');
    }
    if (lower == 's') {
        add_range(reader, &named, '\t', '\r');
        add_range(reader, &named, ' ', ' ');
    }
    if (lower != 'd' && lower != 'w' && lower != 's')
        return false;
    set_finish(reader->builder, &named, c != lower);
    for (size_t i = 0; i < named.count; i++)
        add_range(reader, set, named.ranges[i].low, named.ranges[i].high);
    set_free(reader->builder, &named);
    return true;
}

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

/* The character of an escape, behind its backslash. */
static uint32_t read_escape(struct reader *reader)
{
    static const char names[] = "nrtfv0";
    static const char values[] = "\n\r\t\f\v";
    char c = peek(reader);
    const char *found = c ? strchr(names, c) : NULL;

    if (reader->at >= reader->end) {
        fail(reader, "\\ at the end");
        return 0;
    }
    if ((c >= '1' && c <= '9') ||
        ((c | 32) >= 'a' && (c | 32) <= 'z' && !found && c != 'x' && c != 'u')) {
        fail_as(reader, LLM_E_UNSUPPORTED,
                c == 'b' || c == 'B'   ? "word boundaries are not supported"
                : c == 'p' || c == 'P' ? "\\p is not supported"
                : c <= '9'             ? "back-references are not supported"
                                       : "an escape that is not supported");
        return 0;
    }
    step(reader);
    if (found)
        return (uint32_t)(unsigned char)values[found - names];
    if (c == 'x')
        return read_hex(reader, 2);
    if (c == 'u')
        return read_hex(reader, 4);
    return (uint32_t)(unsigned char)c;
}

static uint32_t read_character(struct reader *reader)
{
    const unsigned char *cursor = (const unsigned char *)reader->at;
    bool valid = false;
    uint32_t character;

    if (peek(reader) == '\\') {
        step(reader);
        if ((unsigned char)peek(reader) < 0x80) {
            character = read_escape(reader);
            if (character >= 0xd800 && character <= 0xdfff)
                fail_as(reader, LLM_E_UNSUPPORTED, "surrogates are not supported");
            return character;
        }
        cursor++;
    }
    character = utf8_next(&cursor, (const unsigned char *)reader->end, &valid);
    if (!valid)
        fail(reader, "invalid UTF-8");
    reader->at = (const char *)cursor;
    return character;
}

/* One member of a class, which may begin a range. */
static void read_member(struct reader *reader, struct character_set *set)
{
    uint32_t low;
    uint32_t high;

    if (peek(reader) == '\\' && reader->end - reader->at > 1 &&
        add_shorthand(reader, set, reader->at[1])) {
        reader->at += 2;
        return;
    }
    if (at_text(reader, "[:") || at_text(reader, "&&"))
        fail_as(reader, LLM_E_UNSUPPORTED, "named classes and set operations are not supported");
    if (at_text(reader, "\\b")) { /* a backspace, within a class */
        reader->at += 2;
        low = '\b';
    } else {
        low = read_character(reader);
    }
    high = low;
    if (peek(reader) == '-' && reader->end - reader->at > 1 && reader->at[1] != ']') {
        step(reader);
        if (peek(reader) == '\\' && reader->end - reader->at > 1 && strchr("dDwWsS", reader->at[1]))
            fail(reader, "a range ends with a class");
        high = read_character(reader);
    }
    if (high < low)
        fail(reader, "a range runs backwards");
    add_range(reader, set, low, high);
}

static void read_class(struct reader *reader)
{
    int32_t begin = builder_here(reader->builder);
    struct character_set set = {NULL, 0, 0};
    bool is_negated;
    bool is_first = true;

    step(reader);
    is_negated = peek(reader) == '^';
    reader->at += is_negated;
    while (!failed(reader) && reader->at < reader->end && (*reader->at != ']' || is_first)) {
        if (*reader->at == ']' && reader->spelling == SPELL_JSON)
            break; /* ECMAScript: [] is empty, [^] is any character */
        read_member(reader, &set);
        is_first = false;
    }
    if (peek(reader) != ']')
        fail(reader, "a class is not closed");
    step(reader);
    set_finish(reader->builder, &set, is_negated);
    pattern_item(&reader->pattern, build_set(reader->builder, &set, reader->spelling), begin);
    set_free(reader->builder, &set);
}

/* All characters, but not line ends if `lines`. */
static struct fragment build_dot(struct reader *reader, bool lines)
{
    struct character_set set = {NULL, 0, 0};
    struct fragment any;

    if (lines) {
        add_range(reader, &set, '\n', '\n');
        if (reader->spelling == SPELL_JSON) { /* as ECMAScript does */
            add_range(reader, &set, '\r', '\r');
            add_range(reader, &set, 0x2028, 0x2029);
        }
    }
    set_finish(reader->builder, &set, true);
    any = build_set(reader->builder, &set, reader->spelling);
    set_free(reader->builder, &set);
    return any;
}

static void read_single(struct reader *reader)
{
    int32_t begin = builder_here(reader->builder);
    struct character_set set = {NULL, 0, 0};

    if (peek(reader) == '.') {
        step(reader);
        pattern_item(&reader->pattern, build_dot(reader, true), begin);
    } else if (peek(reader) == '\\' && reader->end - reader->at > 1 &&
               add_shorthand(reader, &set, reader->at[1])) {
        reader->at += 2;
        set_finish(reader->builder, &set, false);
        pattern_item(&reader->pattern, build_set(reader->builder, &set, reader->spelling), begin);
    } else {
        uint32_t character = read_character(reader);

        pattern_item(&reader->pattern,
                     build_character(reader->builder, character, reader->spelling), begin);
    }
    set_free(reader->builder, &set);
}

/* ---- structure --------------------------------------------------------------------------------
 */

static int64_t read_count(struct reader *reader)
{
    int64_t value = 0;

    for (; peek(reader) >= '0' && peek(reader) <= '9'; reader->at++) {
        value = 10 * value + (peek(reader) - '0');
        if (value > GRAMMAR_MOST_NODES) {
            fail_as(reader, LLM_E_RANGE, "a repetition makes the grammar too large");
            return 0;
        }
    }
    return value;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void read_suffix(struct reader *reader)
{
    char c = peek(reader);
    int64_t min = c == '+';
    int64_t max = c == '?' ? 1 : -1;

    step(reader);
    if (c == '{') {
        if (!is_digit(peek(reader)))
            fail(reader, "a number is missing");
        min = read_count(reader);
        max = min;
        if (peek(reader) == ',') {
            step(reader);
            max = is_digit(peek(reader)) ? read_count(reader) : -1;
        }
        if (peek(reader) != '}')
            fail(reader, "} is missing");
        step(reader);
        if (max >= 0 && max < min)
            fail(reader, "a repetition runs backwards");
    }
    if (!failed(reader) && !pattern_repeat(&reader->pattern, min, max))
        fail(reader, "nothing stands before a repetition");
    if (peek(reader) == '?')
        step(reader); /* lazy: the same texts */
    else if (peek(reader) == '+')
        fail_as(reader, LLM_E_UNSUPPORTED, "possessive repetitions are not supported");
    else if (peek(reader) == '*' || peek(reader) == '{')
        fail(reader, "a repetition of a repetition");
}

static void read_open(struct reader *reader)
{
    if (at_text(reader, "(?:"))
        reader->at += 3;
    else if (at_text(reader, "(?"))
        fail_as(reader, LLM_E_UNSUPPORTED, "look-around, named groups and flags are not supported");
    else
        step(reader);
    if (!failed(reader) && !pattern_open(&reader->pattern))
        fail_as(reader, LLM_E_RANGE, "nested too deep");
}

/* What may stand before or behind an alternative that is not anchored there. */
static void add_anything(struct reader *reader)
{
    int32_t begin = builder_here(reader->builder);

    pattern_item(&reader->pattern, build_dot(reader, false), begin);
    (void)pattern_repeat(&reader->pattern, 0, -1);
}

static void begin_alternative(struct reader *reader)
{
    reader->is_closed = false;
    if (peek(reader) == '^')
        step(reader);
    else if (!reader->is_anchored)
        add_anything(reader);
    if (!reader->is_anchored && !failed(reader))
        (void)pattern_open(&reader->pattern); /* suffixes do not reach what is outside */
}

static void end_alternative(struct reader *reader)
{
    if (reader->is_anchored || failed(reader))
        return;
    if (reader->pattern.depth > 0)
        (void)pattern_close(&reader->pattern);
    if (!reader->is_closed)
        add_anything(reader);
}

static void read_next(struct reader *reader, int32_t outside)
{
    char c = peek(reader);
    bool is_outside = reader->pattern.depth == outside;

    if (reader->is_closed && c != '|')
        fail_as(reader, LLM_E_UNSUPPORTED, "$ within a pattern is not supported");
    if (c == '|' && is_outside) {
        end_alternative(reader);
        step(reader);
        pattern_alternative(&reader->pattern);
        begin_alternative(reader);
    } else if (c == '|') {
        step(reader);
        pattern_alternative(&reader->pattern);
    } else if (c == '(') {
        read_open(reader);
    } else if (c == ')') {
        if (is_outside || !pattern_close(&reader->pattern))
            fail(reader, ") without (");
        step(reader);
    } else if (c == '*' || c == '+' || c == '?' || c == '{') {
        read_suffix(reader);
    } else if (c == '[') {
        read_class(reader);
    } else if (c == '$' && is_outside) {
        reader->is_closed = true;
        step(reader);
    } else if (c == '$' || c == '^') {
        fail_as(reader, LLM_E_UNSUPPORTED, "^ and $ within a pattern are not supported");
    } else {
        read_single(reader);
    }
}

struct fragment regex_build(struct builder *builder, const char *pattern, size_t size,
                            enum spelling spelling, bool is_anchored)
{
    struct reader reader = {.builder = builder,
                            .text = pattern,
                            .end = pattern + size,
                            .at = pattern,
                            .spelling = spelling,
                            .is_anchored = is_anchored};
    int32_t outside = is_anchored ? 0 : 1;

    pattern_begin(&reader.pattern, builder);
    begin_alternative(&reader);
    while (!failed(&reader) && reader.at < reader.end)
        read_next(&reader, outside);
    if (!failed(&reader) && reader.pattern.depth > outside)
        fail(&reader, "( is not closed");
    end_alternative(&reader);
    return pattern_end(&reader.pattern);
}

void grammar_read_regex(struct builder *builder, const char *pattern, size_t size)
{
    int32_t rule = builder_rule(builder, "the expression", 14);
    struct fragment body = regex_build(builder, pattern, size, SPELL_PLAIN, true);

    if (!builder->status)
        builder_define(builder, rule, body);
}
