/* SPDX-License-Identifier: MIT
 *
 * Filters on single values: default, string, int, float, numbers, JSON.
 */
#include "chat/jinja_builtins.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FILTER(name)                                                                               \
    static struct jinja_value name(struct jinja_run *run, struct jinja_value self,                 \
                                   const struct jinja_value *argv,                                 \
                                   const struct jinja_arguments *args)

FILTER(filter_default)
{
    bool any_false = jinja_bool_argument(argv[1], false);

    (void)args;
    if (self.type == JINJA_UNDEFINED || (any_false && !jinja_true(self)))
        return jinja_given(argv[0]) ? argv[0] : jinja_text(run, "");
    return self;
}

FILTER(filter_string)
{
    (void)argv, (void)args;
    return jinja_str(run, self);
}

FILTER(filter_safe)
{
    (void)argv, (void)args;
    return jinja_str(run, self);
}

/* White space around a number is fine, and _ between digits. */
static bool number_text(const struct jinja_string *s, char *text, size_t room)
{
    size_t size = 0;

    for (size_t i = 0; i < s->size; i++) {
        if (s->data[i] == '_' && i > 0 && i + 1 < s->size)
            continue;
        if (size + 1 >= room)
            return false;
        text[size++] = s->data[i];
    }
    while (size && jinja_is_white((unsigned char)text[size - 1]))
        size--;
    text[size] = '\0';
    return true;
}

static bool parse_base(const char *text, int64_t base, int64_t *out)
{
    bool negative = *text == '-';
    int64_t value = 0;

    text += *text == '-' || *text == '+';
    if (text[0] == '0' && text[1] &&
        ((base == 16 && (text[1] | 32) == 'x') || (base == 8 && (text[1] | 32) == 'o') ||
         (base == 2 && (text[1] | 32) == 'b')))
        text += 2;
    if (!*text)
        return false;
    for (; *text; text++) {
        int64_t digit = *text >= '0' && *text <= '9' ? *text - '0' : (*text | 32) - 'a' + 10;

        if (digit < 0 || digit >= base || __builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value))
            return false;
    }
    *out = value;
    return true;
}

/* int() of a text, through float() if need be. */
static bool text_to_int(const struct jinja_string *s, int64_t base, int64_t *out)
{
    char text[512];
    const char *begin = text;
    double real;

    if (!number_text(s, text, sizeof text))
        return false;
    begin += strspn(begin, " \t\n\r\v\f");
    if (parse_base(begin, base, out))
        return true;
    if (!text_parse_double(begin, strlen(begin), &real) || !(fabs(real) < 0x1p63))
        return false;
    *out = (int64_t)real;
    return true;
}

FILTER(filter_int)
{
    int64_t base = jinja_int_argument(run, argv[1], 10);
    int64_t value = 0;

    (void)args;
    if (base < 2 || base > 36)
        return jinja_fail(run, LLM_E_RANGE, "int: the base is outside 2..36");
    if (self.type == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, self);
    if (self.type == JINJA_INT || self.type == JINJA_BOOL)
        return jinja_int(jinja_as_int(self));
    if (self.type == JINJA_FLOAT && fabs(self.as.real) < 0x1p63)
        return jinja_int((int64_t)self.as.real);
    if (self.type == JINJA_FLOAT && isfinite(self.as.real))
        return jinja_fail(run, LLM_E_RANGE, "an integer is beyond 64 bits");
    if (self.type == JINJA_STRING && text_to_int(self.as.string, base, &value))
        return jinja_int(value);
    return jinja_given(argv[0]) ? argv[0] : jinja_int(0);
}

FILTER(filter_float)
{
    char text[512];
    const char *begin = text;
    double value;

    (void)args;
    if (self.type == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, self);
    if (jinja_is_number(self))
        return jinja_float(jinja_as_double(self));
    if (self.type == JINJA_STRING && number_text(self.as.string, text, sizeof text)) {
        begin += strspn(begin, " \t\n\r\v\f");
        if (text_parse_double(begin, strlen(begin), &value))
            return jinja_float(value);
    }
    return jinja_given(argv[0]) ? argv[0] : jinja_float(0.0);
}

FILTER(filter_abs)
{
    (void)argv, (void)args;
    if (self.type == JINJA_FLOAT)
        return jinja_float(fabs(self.as.real));
    if (self.type == JINJA_INT || self.type == JINJA_BOOL)
        return jinja_as_int(self) < 0 ? jinja_negate(run, self) : jinja_int(jinja_as_int(self));
    if (self.type == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, self);
    return jinja_fail(run, LLM_E_FORMAT, "bad operand type for abs(): '%s'", jinja_type_name(self));
}

/* Half to even, as Python's round(); the scaled value decides. */
static double round_common(double value, int64_t precision)
{
    char text[512];
    double out;

    if (precision > 0) {
        (void)snprintf(text, sizeof text, "%.*f", precision > 60 ? 60 : (int)precision, value);
        for (char *c = text; *c; c++)
            *c = *c == ',' ? '.' : *c; /* the host's locale */
        return text_parse_double(text, strlen(text), &out) ? out : value;
    }
    out = pow(10.0, (double)-precision);
    return nearbyint(value / out) * out;
}

FILTER(filter_round)
{
    int64_t precision = jinja_int_argument(run, argv[0], 0);
    double value;
    double scale;

    (void)args;
    if (!jinja_is_number(self))
        return self.type == JINJA_UNDEFINED
                   ? jinja_fail_undefined(run, self)
                   : jinja_fail(run, LLM_E_FORMAT, "type %s doesn't define __round__ method",
                                jinja_type_name(self));
    if (precision > 300 || precision < -300)
        return jinja_fail(run, LLM_E_RANGE, "round: the precision is outside -300..300");
    value = jinja_as_double(self);
    if (!jinja_given(argv[1]) || jinja_is_text(argv[1], "common")) {
        if (self.type != JINJA_FLOAT && precision >= 0)
            return jinja_int(jinja_as_int(self));
        if (self.type != JINJA_FLOAT)
            return jinja_int((int64_t)round_common(value, precision));
        return jinja_float(round_common(value, precision));
    }
    scale = pow(10.0, (double)precision);
    if (jinja_is_text(argv[1], "ceil"))
        return jinja_float(ceil(value * scale) / scale);
    if (jinja_is_text(argv[1], "floor"))
        return jinja_float(floor(value * scale) / scale);
    return jinja_fail(run, LLM_E_FORMAT, "method must be common, ceil or floor");
}

/* The filter as chat templates know it: json.dumps() without escapes of HTML or Unicode. */
FILTER(filter_tojson)
{
    struct jinja_json_style style = {", ", ": ", jinja_none(), false, false};
    struct jinja_builder builder;
    char separators[2][32];

    (void)args;
    style.ascii = jinja_bool_argument(argv[0], false);
    if (jinja_given(argv[1]))
        style.indent = argv[1];
    style.sort_keys = jinja_bool_argument(argv[3], false);
    if (style.indent.type == JINJA_BOOL)
        style.indent = jinja_int(jinja_as_int(style.indent));
    if (style.indent.type != JINJA_NONE && style.indent.type != JINJA_INT &&
        style.indent.type != JINJA_STRING)
        return jinja_fail(run, LLM_E_FORMAT, "tojson: indent is neither a number nor a string");
    if (style.indent.type != JINJA_NONE)
        style.item_separator = ",";
    if (jinja_given(argv[2]) && argv[2].type != JINJA_NONE) {
        struct jinja_value pair = jinja_walk(run, argv[2]);

        if (run->status || pair.as.list->count != 2)
            return jinja_fail(run, LLM_E_FORMAT, "tojson: separators are two strings");
        for (int i = 0; i < 2; i++) {
            const struct jinja_string *s = jinja_string_argument(run, pair.as.list->items[i]);

            if (!s || s->size >= sizeof separators[i])
                return jinja_fail(run, LLM_E_FORMAT, "tojson: separators are two short strings");
            memcpy(separators[i], s->data, s->size);
            separators[i][s->size] = '\0';
        }
        style.item_separator = separators[0];
        style.key_separator = separators[1];
    }
    jinja_builder_init(&builder, run);
    jinja_build_json(&builder, self, &style);
    return jinja_built(&builder);
}

/* x|attr("name"): never an entry of a dict. */
FILTER(filter_attr)
{
    const struct jinja_string *name = jinja_string_argument(run, argv[0]);

    (void)args;
    if (!name || self.type == JINJA_DICT)
        return jinja_undefined("the attribute");
    return jinja_attribute(run, self, name);
}

const struct jinja_builtin jinja_value_filters[] = {
    {"default", "default_value=,boolean=", filter_default},
    {"d", "default_value=,boolean=", filter_default},
    {"string", "", filter_string},
    {"safe", "", filter_safe},
    {"int", "default=,base=", filter_int},
    {"float", "default=", filter_float},
    {"abs", "", filter_abs},
    {"round", "precision=,method=", filter_round},
    {"tojson", "ensure_ascii=,indent=,separators=,sort_keys=", filter_tojson},
    {"attr", "name", filter_attr},
    {NULL, NULL, NULL},
};
