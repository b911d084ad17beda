/* SPDX-License-Identifier: MIT */
#include "chat/jinja_lexer.h"

#include "base/text.h"

#include <string.h>
#include <utf8proc.h>

enum { MOST_OPEN = 256 };

struct lexer {
    struct arena *arena;
    const char *text; /* newlines are \n */
    size_t size;
    size_t position;
    uint32_t line;
    bool line_starts; /* the tag before ended with a newline */
    struct jinja_token *tokens;
    size_t count;
    size_t capacity;
    char open[MOST_OPEN]; /* brackets waiting to be closed */
    int depth;
    llm_status status;
};

static const struct operator_name {
    const char *text;
    enum jinja_token_type type;
} operators[] = {
    {"//", JINJA_T_FLOORDIV}, {"**", JINJA_T_POW},      {"==", JINJA_T_EQ},
    {"!=", JINJA_T_NE},       {">=", JINJA_T_GE},       {"<=", JINJA_T_LE},
    {">", JINJA_T_GT},        {"<", JINJA_T_LT},        {"=", JINJA_T_ASSIGN},
    {"+", JINJA_T_ADD},       {"-", JINJA_T_SUB},       {"/", JINJA_T_DIV},
    {"*", JINJA_T_MUL},       {"%", JINJA_T_MOD},       {"~", JINJA_T_TILDE},
    {"[", JINJA_T_LBRACKET},  {"]", JINJA_T_RBRACKET},  {"(", JINJA_T_LPAREN},
    {")", JINJA_T_RPAREN},    {"{", JINJA_T_LBRACE},    {"}", JINJA_T_RBRACE},
    {".", JINJA_T_DOT},       {":", JINJA_T_COLON},     {"|", JINJA_T_PIPE},
    {",", JINJA_T_COMMA},     {";", JINJA_T_SEMICOLON},
};

static bool fail(struct lexer *l, const char *what)
{
    if (!l->status)
        l->status = status_set(LLM_E_FORMAT, "line %u: %s", l->line, what);
    return false;
}

static struct jinja_token *add(struct lexer *l, enum jinja_token_type type)
{
    if (l->count == l->capacity) {
        size_t room = l->capacity ? l->capacity * 2 : 256;
        struct jinja_token *fresh = arena_alloc(l->arena, room * sizeof *fresh);

        if (!fresh) {
            l->status = LLM_E_NOMEM;
            return NULL;
        }
        if (l->count)
            memcpy(fresh, l->tokens, l->count * sizeof *fresh);
        l->tokens = fresh;
        l->capacity = room;
    }
    l->tokens[l->count] = (struct jinja_token){.type = type, .line = l->line};
    return &l->tokens[l->count++];
}

static void add_text(struct lexer *l, enum jinja_token_type type, const char *text, size_t size)
{
    struct jinja_token *token = add(l, type);

    if (token) {
        token->text = text;
        token->size = size;
    }
}

/* Move on, counting lines. */
static void advance(struct lexer *l, size_t to)
{
    for (; l->position < to; l->position++)
        l->line += l->text[l->position] == '\n';
}

static bool at(const struct lexer *l, size_t position, const char *literal)
{
    size_t size = strlen(literal);

    return size <= l->size - position && memcmp(l->text + position, literal, size) == 0;
}

/* Python's white space; the size of the character, 0 if it is none. */
static size_t white_at(const struct lexer *l, size_t position)
{
    const unsigned char *data = (const unsigned char *)l->text;
    const unsigned char *cursor = data + position;
    bool valid;
    uint32_t c;

    if (position >= l->size)
        return 0;
    c = utf8_next(&cursor, data + l->size, &valid);
    if ((c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
        (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
        c == 0x3000)
        return (size_t)(cursor - data) - position;
    return 0;
}

static size_t skip_white(const struct lexer *l, size_t position)
{
    size_t size;

    while ((size = white_at(l, position)) > 0)
        position += size;
    return position;
}

/* The end of [begin, end) without the white space at its end. */
static size_t strip_end(const struct lexer *l, size_t begin, size_t end)
{
    while (end > begin) {
        size_t start = end - 1;

        while (start > begin && ((unsigned char)l->text[start] & 0xC0) == 0x80)
            start--;
        if (white_at(l, start) != end - start)
            break;
        end = start;
    }
    return end;
}

/* Text before a tag whose sign is `sign`, out to `end` after stripping. */
static void add_data(struct lexer *l, size_t end, char sign, bool is_print)
{
    size_t begin = l->position;
    size_t stop = end;

    if (sign == '-') {
        stop = strip_end(l, begin, end);
    } else if (sign != '+' && !is_print) {
        size_t line = end;

        while (line > begin && l->text[line - 1] != '\n')
            line--;
        if ((line > begin || l->line_starts) && strip_end(l, line, end) == line)
            stop = line;
    }
    if (stop > begin)
        add_text(l, JINJA_T_DATA, l->text + begin, stop - begin);
    advance(l, end);
}

/* Behind "%}" or "#}": one newline goes. */
static size_t trim_newline(const struct lexer *l, size_t position)
{
    return at(l, position, "\n") ? position + 1 : position;
}

static void finish_tag(struct lexer *l, size_t end)
{
    l->line_starts = end > l->position && l->text[end - 1] == '\n';
    advance(l, end);
}

static bool lex_comment(struct lexer *l)
{
    for (size_t i = l->position; i + 2 <= l->size; i++) {
        if (!at(l, i, "#}"))
            continue;
        if (i > l->position && l->text[i - 1] == '-')
            finish_tag(l, skip_white(l, i + 2));
        else if (i > l->position && l->text[i - 1] == '+')
            finish_tag(l, i + 2);
        else
            finish_tag(l, trim_newline(l, i + 2));
        return true;
    }
    return l->position < l->size && fail(l, "Missing end of comment tag");
}

/* The tag `{% name %}` at `position`; *sign and *end of the tag with what it swallows. */
static bool raw_tag(const struct lexer *l, size_t position, const char *name, bool closing,
                    char *sign, size_t *end)
{
    if (!at(l, position, "{%"))
        return false;
    position += 2;
    *sign = at(l, position, "-") ? '-' : at(l, position, "+") ? '+' : ' ';
    position = skip_white(l, *sign == ' ' ? position : position + 1);
    if (!at(l, position, name))
        return false;
    position = skip_white(l, position + strlen(name));
    if (at(l, position, "-%}")) {
        *end = skip_white(l, position + 3);
        return true;
    }
    if (closing && at(l, position, "+%}")) {
        *end = position + 3;
        return true;
    }
    if (!at(l, position, "%}"))
        return false;
    *end = closing ? trim_newline(l, position + 2) : position + 2;
    return true;
}

static bool lex_raw(struct lexer *l)
{
    for (size_t i = l->position; i + 2 <= l->size; i++) {
        size_t end;
        char sign;

        if (l->text[i] != '{' || !raw_tag(l, i, "endraw", true, &sign, &end))
            continue;
        add_data(l, i, sign, false);
        finish_tag(l, end);
        return true;
    }
    return l->position < l->size && fail(l, "Missing end of raw directive");
}

/* ---- inside tags -------------------------------------------------------------------------------
 */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static size_t digits_end(const struct lexer *l, size_t i)
{
    while (i < l->size && (is_digit(l->text[i]) ||
                           (l->text[i] == '_' && i + 1 < l->size && is_digit(l->text[i + 1]))))
        i++;
    return i;
}

static bool lex_float(struct lexer *l, size_t end)
{
    char number[128];
    size_t size = 0;
    struct jinja_token *token;
    double value;

    for (size_t i = l->position; i < end; i++) {
        if (l->text[i] != '_' && size < sizeof number)
            number[size++] = l->text[i];
    }
    if (size == sizeof number || !text_parse_double(number, size, &value))
        return fail(l, "a number is too large");
    token = add(l, JINJA_T_FLOAT);
    if (token)
        token->as.real = value;
    advance(l, end);
    return true;
}

static int digit_value(char c)
{
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : 99;
}

static bool lex_integer(struct lexer *l)
{
    static const char prefixes[] = "bBoOxX";
    static const int bases[] = {2, 2, 8, 8, 16, 16};
    size_t i = l->position;
    const char *prefix = l->text[i] == '0' && i + 2 < l->size && l->text[i + 1]
                             ? strchr(prefixes, l->text[i + 1])
                             : NULL;
    int base = prefix ? bases[prefix - prefixes] : 10;
    struct jinja_token *token;
    int64_t value = 0;

    if (prefix)
        i += 2;
    for (; i < l->size && (digit_value(l->text[i]) < base || l->text[i] == '_'); i++) {
        if (l->text[i] != '_' && (__builtin_mul_overflow(value, base, &value) ||
                                  __builtin_add_overflow(value, digit_value(l->text[i]), &value)))
            return fail(l, "an integer is beyond 64 bits");
    }
    token = add(l, JINJA_T_INTEGER);
    if (token)
        token->as.integer = value;
    advance(l, i);
    return true;
}

static bool lex_number(struct lexer *l)
{
    size_t end = digits_end(l, l->position);
    bool after_dot = l->position > 0 && l->text[l->position - 1] == '.';
    bool real = false;

    if (!after_dot) {
        size_t i = end;

        if (i + 1 < l->size && l->text[i] == '.' && is_digit(l->text[i + 1])) {
            i = digits_end(l, i + 1);
            real = true;
            end = i;
        }
        if (i < l->size && (l->text[i] == 'e' || l->text[i] == 'E')) {
            i++;
            if (i < l->size && (l->text[i] == '+' || l->text[i] == '-'))
                i++;
            if (i < l->size && is_digit(l->text[i])) {
                end = digits_end(l, i);
                real = true;
            }
        }
    }
    return real ? lex_float(l, end) : lex_integer(l);
}

/* Hexadecimal or octal digits of an escape; the code point, or -1. */
static int64_t escape_digits(const char **c, const char *end, int count, int base)
{
    int64_t value = 0;

    for (int i = 0; i < count; i++, (*c)++) {
        if (*c == end || digit_value(**c) >= base) {
            if (base == 8 && i > 0)
                break;
            return -1;
        }
        value = value * base + digit_value(**c);
    }
    return value;
}

/* One escape, *c behind the backslash, written to `out`; the number of bytes, or -1. */
static int unescape(const char **c, const char *end, char out[4])
{
    static const char letters[] = "abfnrtv\\'\"";
    static const char meanings[] = "\a\b\f\n\r\t\v\\'\"";
    const char *found;
    int64_t code;
    int size;

    found = **c ? strchr(letters, **c) : NULL;
    if (found) {
        (*c)++;
        out[0] = meanings[found - letters];
        return 1;
    }
    if (**c == '\n') {
        (*c)++;
        return 0;
    }
    if (**c >= '0' && **c <= '7') {
        code = escape_digits(c, end, 3, 8);
    } else if (**c == 'x' || **c == 'u' || **c == 'U') {
        int count = **c == 'x' ? 2 : **c == 'u' ? 4 : 8;

        (*c)++;
        code = escape_digits(c, end, count, 16);
    } else {
        out[0] = '\\'; /* an escape of nothing known stays */
        return **c == 'N' ? -1 : 1;
    }
    size = code < 0 || code > 0x10FFFF ? 0 : utf8_encode((uint32_t)code, out);
    return size ? size : -1;
}

static bool lex_string(struct lexer *l)
{
    char quote = l->text[l->position];
    size_t begin = l->position + 1;
    size_t end = begin;
    size_t size = 0;
    const char *c;
    char *text;

    while (end < l->size && l->text[end] != quote)
        end += l->text[end] == '\\' ? 2 : 1;
    if (end >= l->size)
        return fail(l, "a string does not end");
    text = arena_alloc(l->arena, end - begin + 8);
    if (!text) {
        l->status = LLM_E_NOMEM;
        return false;
    }
    for (c = l->text + begin; c < l->text + end;) {
        int written;

        if (*c != '\\') {
            text[size++] = *c++;
            continue;
        }
        c++;
        written = unescape(&c, l->text + end, text + size);
        if (written < 0)
            return fail(l, "an escape in a string is not valid");
        size += (size_t)written;
    }
    add_text(l, JINJA_T_STRING, text, size);
    advance(l, end + 1);
    return true;
}

static bool balance(struct lexer *l, char c)
{
    static const char opening[] = "([{";
    static const char closing[] = ")]}";
    const char *found = strchr(opening, c);

    if (found) {
        if (l->depth == MOST_OPEN)
            return fail(l, "brackets nested too deeply");
        l->open[l->depth++] = closing[found - opening];
    } else if (strchr(closing, c)) {
        if (l->depth == 0 || l->open[--l->depth] != c)
            return fail(l, "a bracket closes what was not opened");
    }
    return true;
}

static bool lex_operator(struct lexer *l)
{
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (at(l, l->position, operators[i].text)) {
            if (!operators[i].text[1] && !balance(l, operators[i].text[0]))
                return false;
            add(l, operators[i].type);
            advance(l, l->position + strlen(operators[i].text));
            return true;
        }
    }
    return fail(l, "unexpected character in a tag");
}

/* The end of the tag at the position? Then it is taken. */
static bool tag_ends(struct lexer *l, bool is_print)
{
    const char *end = is_print ? "}}" : "%}";
    size_t p = l->position;
    char sign = at(l, p, "-") ? '-' : at(l, p, "+") ? '+' : ' ';

    if (l->depth)
        return false;
    if (sign == '+' && is_print)
        return false;
    if (sign != ' ')
        p++;
    if (!at(l, p, end))
        return false;
    p += 2;
    if (sign == '-')
        p = skip_white(l, p);
    else if (sign == ' ' && !is_print)
        p = trim_newline(l, p);
    add(l, is_print ? JINJA_T_PRINT_END : JINJA_T_BLOCK_END);
    finish_tag(l, p);
    return true;
}

static bool lex_tag(struct lexer *l, bool is_print)
{
    add(l, is_print ? JINJA_T_PRINT_BEGIN : JINJA_T_BLOCK_BEGIN);
    l->depth = 0;
    while (!l->status) {
        char c;

        if (tag_ends(l, is_print))
            return true;
        if (l->position >= l->size)
            return fail(l, "a tag does not end");
        c = l->text[l->position];
        if (white_at(l, l->position)) {
            advance(l, skip_white(l, l->position));
        } else if (is_digit(c)) {
            lex_number(l);
        } else if (is_word(c)) {
            size_t end = l->position;

            while (end < l->size && is_word(l->text[end]))
                end++;
            add_text(l, JINJA_T_NAME, l->text + l->position, end - l->position);
            advance(l, end);
        } else if (c == '"' || c == '\'') {
            lex_string(l);
        } else {
            lex_operator(l);
        }
    }
    return false;
}

/* The text up to the next tag, and the tag. False at the end. */
static bool lex_piece(struct lexer *l)
{
    size_t i = l->position;
    size_t end;
    char sign;

    while (i < l->size &&
           !(l->text[i] == '{' && (at(l, i, "{{") || at(l, i, "{%") || at(l, i, "{#"))))
        i++;
    if (i == l->size) {
        if (i > l->position)
            add_text(l, JINJA_T_DATA, l->text + l->position, i - l->position);
        advance(l, i);
        return false;
    }
    if (raw_tag(l, i, "raw", false, &sign, &end)) {
        add_data(l, i, sign, false);
        finish_tag(l, end);
        return lex_raw(l);
    }
    sign = at(l, i + 2, "-") ? '-' : at(l, i + 2, "+") ? '+' : ' ';
    add_data(l, i, sign, l->text[i + 1] == '{');
    advance(l, i + 2 + (sign != ' '));
    return l->text[i + 1] == '#' ? lex_comment(l) : lex_tag(l, l->text[i + 1] == '{');
}

/* All line ends as \n, and the last one away. */
static bool normalize(struct lexer *l, const char *text, size_t size)
{
    char *copy = arena_alloc(l->arena, size + 1);
    size_t count = 0;

    if (!copy)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\r') {
            copy[count++] = '\n';
            i += i + 1 < size && text[i + 1] == '\n';
        } else {
            copy[count++] = text[i];
        }
    }
    l->text = copy;
    l->size = count && copy[count - 1] == '\n' ? count - 1 : count;
    return true;
}

llm_status jinja_lex(struct jinja_token **tokens_out, size_t *count_out, struct arena *arena,
                     const char *text, size_t size)
{
    struct lexer l = {.arena = arena, .line = 1, .line_starts = true};

    if (!normalize(&l, text, size))
        return LLM_E_NOMEM;
    while (!l.status && lex_piece(&l)) {
    }
    if (!l.status)
        add(&l, JINJA_T_END);
    *tokens_out = l.tokens;
    *count_out = l.count;
    return l.status;
}
