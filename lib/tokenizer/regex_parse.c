/* SPDX-License-Identifier: MIT
 *
 * From a pattern to a program (Thompson's construction), without recursion: code is emitted while
 * reading, and moved when a repetition or an alternative turns out to need a branch in front of it.
 */
#include "tokenizer/regex_reader.h"

#include <string.h>

enum { DEPTH = 32, MOST_TIMES = 256 };

enum group_kind { GROUP_PLAIN, GROUP_AHEAD, GROUP_NOT_AHEAD };

/* An open group. */
struct group {
    enum group_kind kind;
    size_t start;       /* of its code */
    size_t alternative; /* start of the code of the alternative that is being read */
    size_t jumps;       /* the last jump to its end, +1; each holds the one before; 0: none */
    bool fold;          /* reader->fold and ->lines outside */
    bool lines;
};

struct parser {
    struct regex_reader reader;
    struct group groups[DEPTH];
    size_t depth;
    size_t atom;   /* start of the code of what a repetition would repeat; SIZE_MAX: nothing */
    uint32_t last; /* the last character, when case is ignored; 0: none */
};

static llm_status insert(struct parser *parser, size_t at, struct code code)
{
    struct regex_program *program = parser->reader.program;
    llm_status status;

    if (program->code_count >= REGEX_MAX_CODE)
        return regex_refuse(&parser->reader, "so large an expression");
    status = memory_grow(program->memory, (void **)&program->code, &program->code_capacity,
                         program->code_count + 1, sizeof *program->code);
    if (status)
        return status;
    memmove(program->code + at + 1, program->code + at,
            (program->code_count - at) * sizeof *program->code);
    program->code[at] = code;
    program->code_count++;
    return LLM_OK;
}

static llm_status emit(struct parser *parser, enum code_op op, int32_t x, int32_t y)
{
    return insert(parser, parser->reader.program->code_count, (struct code){op, x, y});
}

/* ---- atoms ---- */

/* The items from `first` on are a set; emit it. */
static llm_status end_set(struct parser *parser, size_t first)
{
    struct regex_program *program = parser->reader.program;

    if (program->set_count == REGEX_MAX_SETS)
        return regex_refuse(&parser->reader, "so many classes");
    program->sets[program->set_count] =
        (struct set){(uint32_t)first, (uint32_t)(program->item_count - first)};
    parser->atom = program->code_count;
    return emit(parser, CODE_SET, (int32_t)program->set_count++, 0);
}

/* Letters that stand for one character together when case is ignored, as in the sharp s. */
static bool is_folded_pair(uint32_t a, uint32_t b)
{
    a |= 0x20;
    b |= 0x20;
    return (a == 's' && (b == 's' || b == 't')) || (a == 'f' && (b == 'f' || b == 'i' || b == 'l'));
}

static llm_status put_char(struct parser *parser, uint32_t c)
{
    size_t first = parser->reader.program->item_count;
    llm_status status = regex_add_range(&parser->reader, c, c);

    if (!status && parser->reader.fold && is_folded_pair(parser->last, c))
        return regex_refuse(&parser->reader, "ignoring the case of ss, st, ff, fi, fl");
    parser->last = c;
    return status ? status : end_set(parser, first);
}

static llm_status read_escape(struct parser *parser)
{
    struct regex_reader *reader = &parser->reader;
    size_t first = reader->program->item_count;
    bool is_set;
    uint32_t c = 0;
    llm_status status;

    if (reader->p < reader->end && *reader->p == 'z') {
        reader->p++;
        parser->atom = SIZE_MAX;
        return emit(parser, CODE_END, 0, 0);
    }
    status = regex_read_escape(reader, &is_set, &c);
    if (status)
        return status;
    return is_set ? end_set(parser, first) : put_char(parser, c);
}

/* "." and "$". */
static llm_status read_special(struct parser *parser, char which)
{
    struct regex_program *program = parser->reader.program;
    size_t first = program->item_count;
    bool all = which == '.' && parser->reader.lines;
    llm_status status =
        regex_add_item(&parser->reader, SET_RANGE, all ? 0 : '\n', all ? 0x10FFFF : '\n');

    if (!status && which == '.' && !all)
        status = regex_add_item(&parser->reader, SET_NOT, 0, 0);
    if (!status)
        status = end_set(parser, first);
    if (!status && which == '$') {
        program->code[program->code_count - 1].op = CODE_AHEAD;
        program->code[program->code_count - 1].y = 1;
        parser->atom = SIZE_MAX;
    }
    return status;
}

/* ---- groups ---- */

static llm_status open_group(struct parser *parser)
{
    struct regex_reader *reader = &parser->reader;
    size_t here = reader->program->code_count;
    struct group group = {GROUP_PLAIN, here, here, 0, reader->fold, reader->lines};
    const char *p = reader->p;
    size_t left = (size_t)(reader->end - p);

    if (parser->depth == DEPTH)
        return regex_refuse(reader, "nesting groups that deep");
    if (left >= 2 && p[0] == '?') {
        if (p[1] == ':') {
            reader->p += 2;
        } else if (p[1] == '=' || p[1] == '!') {
            group.kind = p[1] == '=' ? GROUP_AHEAD : GROUP_NOT_AHEAD;
            reader->p += 2;
        } else if (left >= 3 && (p[1] == 'i' || p[1] == 'm') && p[2] == ':') {
            reader->fold |= p[1] == 'i';
            reader->lines |= p[1] == 'm';
            reader->p += 3;
        } else {
            return regex_refuse(reader,
                                "a group other than (..), (?:..), (?i:..), (?m:..), (?=.), (?!.)");
        }
    }
    parser->groups[parser->depth++] = group;
    parser->atom = SIZE_MAX;
    parser->last = 0;
    return LLM_OK;
}

static llm_status next_alternative(struct parser *parser)
{
    struct regex_program *program = parser->reader.program;
    struct group *group = &parser->groups[parser->depth - 1];
    int32_t size = (int32_t)(program->code_count - group->alternative);
    llm_status status = insert(parser, group->alternative, (struct code){CODE_SPLIT, 1, size + 2});

    if (!status)
        status = emit(parser, CODE_JUMP, (int32_t)group->jumps, 0);
    group->jumps = program->code_count;
    group->alternative = program->code_count;
    parser->atom = SIZE_MAX;
    parser->last = 0;
    return status;
}

/* Let the jumps of a group lead to its end. */
static void end_group(struct parser *parser)
{
    struct regex_program *program = parser->reader.program;
    struct group *group = &parser->groups[--parser->depth];

    while (group->jumps) {
        struct code *jump = &program->code[group->jumps - 1];
        size_t before = (size_t)jump->x;

        jump->x = (int32_t)(program->code_count - (group->jumps - 1));
        group->jumps = before;
    }
    parser->reader.fold = group->fold;
    parser->reader.lines = group->lines;
    parser->atom = group->start;
    parser->last = 0;
}

static llm_status close_group(struct parser *parser)
{
    struct regex_program *program = parser->reader.program;
    struct group group = parser->groups[parser->depth - 1];

    if (parser->depth == 1)
        return regex_malformed(&parser->reader, "an unmatched )");
    end_group(parser);
    if (group.kind == GROUP_PLAIN)
        return LLM_OK;
    if (program->code_count != group.start + 1 || program->code[group.start].op != CODE_SET)
        return regex_refuse(&parser->reader, "looking ahead for other than one character");
    program->code[group.start].op = group.kind == GROUP_AHEAD ? CODE_AHEAD : CODE_NOT_AHEAD;
    parser->atom = SIZE_MAX;
    return LLM_OK;
}

/* ---- repetition ---- */

static llm_status repeat_maybe(struct parser *parser, size_t at, bool lazy)
{
    int32_t size = (int32_t)(parser->reader.program->code_count - at);

    return insert(parser, at,
                  lazy ? (struct code){CODE_SPLIT, size + 1, 1}
                       : (struct code){CODE_SPLIT, 1, size + 1});
}

static llm_status repeat_plus(struct parser *parser, size_t at, bool lazy)
{
    int32_t size = (int32_t)(parser->reader.program->code_count - at);

    return lazy ? emit(parser, CODE_SPLIT, 1, -size) : emit(parser, CODE_SPLIT, -size, 1);
}

static llm_status repeat_star(struct parser *parser, size_t at, bool lazy)
{
    int32_t size = (int32_t)(parser->reader.program->code_count - at);
    llm_status status = insert(parser, at,
                               lazy ? (struct code){CODE_SPLIT, size + 2, 1}
                                    : (struct code){CODE_SPLIT, 1, size + 2});

    return status ? status : emit(parser, CODE_JUMP, -(size + 1), 0);
}

/* Code [at, at + size) once more at the end. */
static llm_status copy(struct parser *parser, size_t at, size_t size)
{
    llm_status status = LLM_OK;

    for (size_t i = 0; i < size && !status; i++) {
        struct code code = parser->reader.program->code[at + i];

        status = emit(parser, code.op, code.x, code.y);
    }
    return status;
}

/* {min}, {min,}, {min,max}, {,max}; `max` SIZE_MAX: none. */
static llm_status repeat_counted(struct parser *parser, size_t min, size_t max)
{
    struct regex_program *program = parser->reader.program;
    size_t at = parser->atom;
    size_t size = program->code_count - at;
    size_t optional;
    llm_status status = LLM_OK;

    if (min > MOST_TIMES || (max != SIZE_MAX && max > MOST_TIMES))
        return regex_refuse(&parser->reader, "repeating more than 256 times");
    if (max == 0 || min > max)
        return regex_refuse(&parser->reader, "repeating {0} times or from more to less");
    if (min == 0 && max == SIZE_MAX)
        return repeat_star(parser, at, false);
    for (size_t i = 1; i < min && !status; i++)
        status = copy(parser, at, size);
    if (status)
        return status;
    if (max == SIZE_MAX)
        return repeat_plus(parser, program->code_count - size, false);
    /* The optional ones: each but the first begins with a branch to the end of all. */
    optional = max - min;
    if (min == 0) {
        int32_t total = (int32_t)((size + 1) * optional);

        status = insert(parser, at, (struct code){CODE_SPLIT, 1, total});
        at++;
        optional--;
    }
    for (; optional > 0 && !status; optional--) {
        status = emit(parser, CODE_SPLIT, 1, (int32_t)((size + 1) * optional));
        if (!status)
            status = copy(parser, at, size);
    }
    return status;
}

/* X*+ and the like for a single character: leaving the loop, the next one is not an X. */
static llm_status repeat_possessive(struct parser *parser, char which)
{
    struct regex_program *program = parser->reader.program;
    size_t at = parser->atom;
    int32_t set = program->code[at].x;
    llm_status status = LLM_OK;

    if (program->code_count != at + 1 || program->code[at].op != CODE_SET)
        return regex_refuse(&parser->reader, "possessive repetition of more than one character");
    if (which == '?') {
        status = insert(parser, at, (struct code){CODE_SPLIT, 1, 3});
        if (!status)
            status = emit(parser, CODE_JUMP, 2, 0);
        return status ? status : emit(parser, CODE_NOT_AHEAD, set, 0);
    }
    status = which == '*' ? repeat_star(parser, at, false) : repeat_plus(parser, at, false);
    return status ? status : emit(parser, CODE_NOT_AHEAD, set, 0);
}

static size_t read_number(struct regex_reader *reader, size_t none)
{
    size_t value = 0;
    const char *start = reader->p;

    while (reader->p < reader->end && (unsigned)(*reader->p - '0') < 10) {
        value = value < 100000 ? value * 10 + (size_t)(*reader->p - '0') : value;
        reader->p++;
    }
    return reader->p == start ? none : value;
}

/* After "{": the numbers of a repetition; false: it is just a brace. */
static bool read_counts(struct regex_reader *reader, size_t *min, size_t *max)
{
    const char *start = reader->p;
    bool comma;

    *min = read_number(reader, SIZE_MAX);
    comma = reader->p < reader->end && *reader->p == ',';
    reader->p += comma;
    *max = comma ? read_number(reader, SIZE_MAX) : *min;
    if (reader->p < reader->end && *reader->p == '}' && (*min != SIZE_MAX || *max != SIZE_MAX)) {
        reader->p++;
        *min = *min == SIZE_MAX ? 0 : *min;
        return true;
    }
    reader->p = start;
    return false;
}

static llm_status read_repetition(struct parser *parser, char which)
{
    struct regex_reader *reader = &parser->reader;
    size_t min;
    size_t max;
    bool lazy;

    if (which == '{' && !read_counts(reader, &min, &max))
        return put_char(parser, '{');
    if (parser->atom == SIZE_MAX)
        return regex_malformed(reader, "a repetition of nothing");
    parser->last = 0;
    if (which == '{') {
        if (reader->p < reader->end && *reader->p == '?')
            return regex_refuse(reader, "{..}?");
        return repeat_counted(parser, min, max);
    }
    if (reader->p < reader->end && *reader->p == '+') {
        reader->p++;
        return repeat_possessive(parser, which);
    }
    lazy = reader->p < reader->end && *reader->p == '?';
    reader->p += lazy;
    if (which == '?')
        return repeat_maybe(parser, parser->atom, lazy);
    return which == '*' ? repeat_star(parser, parser->atom, lazy)
                        : repeat_plus(parser, parser->atom, lazy);
}

/* ---- the whole ---- */

static llm_status read_one(struct parser *parser)
{
    struct regex_reader *reader = &parser->reader;
    size_t first = reader->program->item_count;
    char c = *reader->p;
    uint32_t character;
    llm_status status;

    switch (c) {
    case '\\':
        reader->p++;
        return read_escape(parser);
    case '[':
        status = regex_read_class(reader);
        parser->last = 0;
        return status ? status : end_set(parser, first);
    case '(':
        reader->p++;
        return open_group(parser);
    case ')':
        reader->p++;
        return close_group(parser);
    case '|':
        reader->p++;
        return next_alternative(parser);
    case '.':
    case '$':
        reader->p++;
        return read_special(parser, c);
    case '^':
        return regex_refuse(reader, "^");
    case '*':
    case '+':
    case '?':
    case '{':
        reader->p++;
        return read_repetition(parser, c);
    default:
        status = regex_read_char(reader, &character);
        return status ? status : put_char(parser, character);
    }
}

llm_status regex_parse(struct regex_program *program, struct memory *memory, const char *pattern,
                       size_t size)
{
    struct parser parser = {.reader = {program, pattern, pattern, pattern + size, false, false},
                            .depth = 1,
                            .atom = SIZE_MAX};
    llm_status status = LLM_OK;

    memset(program, 0, sizeof *program);
    program->memory = memory;
    while (parser.reader.p < parser.reader.end && !status)
        status = read_one(&parser);
    if (!status && parser.depth != 1)
        status = regex_malformed(&parser.reader, "a group without end");
    if (!status) {
        end_group(&parser);
        status = emit(&parser, CODE_MATCH, 0, 0);
    }
    return status;
}

void regex_program_free(struct regex_program *program)
{
    if (!program->memory)
        return;
    memory_release(program->memory, program->items);
    memory_release(program->memory, program->code);
    memset(program, 0, sizeof *program);
}
