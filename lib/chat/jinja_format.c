/* SPDX-License-Identifier: MIT
 *
 * Formatting: "..." % values, "...".format(), and the clock's strftime in the C locale.
 */
#include "chat/jinja_builtins.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MOST_WIDTH = 1 << 16, MOST_PRECISION = 64 };

struct spec {
    const struct jinja_string *fill; /* NULL: a blank */
    char align;                      /* < > ^ =, 0: by type */
    char sign;                       /* + - or blank, 0: - */
    bool alternate, zero, comma;
    int64_t width, precision; /* -1: none */
    char type;                /* 0: by value */
};

/* ---- one value ---------------------------------------------------------------------------------
 */

static void group_thousands(char *text, size_t room)
{
    size_t digits = strspn(text, "0123456789");
    size_t commas = digits ? (digits - 1) / 3 : 0;
    size_t length = strlen(text);

    if (length + commas >= room)
        return;
    memmove(text + digits + commas, text + digits, length - digits + 1);
    for (size_t i = digits, to = digits + commas, n = 0; i > 0 && to > i; n++) {
        if (n && n % 3 == 0)
            text[--to] = ',';
        text[--to] = text[--i];
    }
}

/* The digits of a number without its sign. */
static void digits_of(struct jinja_run *run, char *text, size_t room, struct jinja_value value,
                      const struct spec *spec)
{
    char pattern[16];
    double real = fabs(jinja_as_double(value));
    int precision = spec->precision < 0 ? 6 : (int)spec->precision;
    uint64_t integer;

    if (strchr("eEfFgG%", spec->type) && spec->type) {
        (void)snprintf(pattern, sizeof pattern, "%%.*%c%s", spec->type == '%' ? 'f' : spec->type,
                       spec->type == '%' ? "%%" : "");
        (void)snprintf(text, room, pattern, precision, spec->type == '%' ? real * 100.0 : real);
        for (char *c = text; *c; c++)
            *c = *c == ',' ? '.' : *c; /* the host's locale */
        return;
    }
    if (value.type == JINJA_FLOAT && spec->type) {
        jinja_fail(run, LLM_E_FORMAT, "a float cannot be formatted with '%c'", spec->type);
        return;
    }
    integer =
        jinja_as_int(value) < 0 ? 0 - (uint64_t)jinja_as_int(value) : (uint64_t)jinja_as_int(value);
    (void)snprintf(text, room,
                   spec->type == 'x'   ? "%llx"
                   : spec->type == 'X' ? "%llX"
                   : spec->type == 'o' ? "%llo"
                                       : "%llu",
                   (unsigned long long)integer);
}

static void pad(struct jinja_builder *builder, const struct spec *spec, int64_t count)
{
    for (int64_t i = 0; i < count && !builder->run->status; i++) {
        if (spec->fill)
            jinja_build_string(builder, spec->fill);
        else
            jinja_build_z(builder, " ");
    }
}

/* `prefix` is a number's sign; = pads behind it. */
static void aligned(struct jinja_builder *builder, const struct spec *spec, const char *prefix,
                    const struct jinja_string *body, char align)
{
    int64_t size = (int64_t)(strlen(prefix) + jinja_code_points(body));
    int64_t missing = spec->width > size ? spec->width - size : 0;
    int64_t left = align == '<' || align == '=' ? 0 : align == '^' ? missing / 2 : missing;

    pad(builder, spec, left);
    jinja_build_z(builder, prefix);
    if (align == '=')
        pad(builder, spec, missing);
    jinja_build_string(builder, body);
    if (align != '=')
        pad(builder, spec, missing - left);
}

static void build_number(struct jinja_builder *builder, struct jinja_value value, struct spec spec)
{
    static const struct jinja_string nought = {"0", 1, NULL, JINJA_TRUSTED};
    char text[512];
    struct jinja_string body = {text, 0, NULL, JINJA_TRUSTED};
    bool negative = value.type == JINJA_FLOAT ? signbit(value.as.real) : jinja_as_int(value) < 0;
    char prefix[4] = {0};
    size_t n = 0;

    if (negative || spec.sign == '+' || spec.sign == ' ')
        prefix[n++] = negative ? '-' : spec.sign;
    if (spec.alternate && (spec.type == 'x' || spec.type == 'X' || spec.type == 'o')) {
        prefix[n++] = '0';
        prefix[n++] = spec.type;
    }
    if (value.type == JINJA_FLOAT && !spec.type && spec.precision < 0) {
        struct jinja_value shown = jinja_str(builder->run, jinja_float(fabs(value.as.real)));

        if (builder->run->status)
            return;
        (void)snprintf(text, sizeof text, "%.*s", (int)shown.as.string->size,
                       shown.as.string->data);
    } else {
        if (value.type == JINJA_FLOAT && !spec.type)
            spec.type = 'g';
        digits_of(builder->run, text, sizeof text, value, &spec);
    }
    if (spec.comma)
        group_thousands(text, sizeof text);
    body.size = strlen(text);
    if (spec.zero && !spec.align) {
        spec.fill = &nought;
        spec.align = '=';
    }
    aligned(builder, &spec, prefix, &body, spec.align ? spec.align : '>');
}

static void build_text(struct jinja_builder *builder, struct jinja_value value, struct spec spec,
                       char align)
{
    struct jinja_value text = jinja_str(builder->run, value);

    if (builder->run->status)
        return;
    if (spec.precision >= 0)
        text = jinja_slice_of(builder->run, text.as.string, 0,
                              jinja_code_point_at(text.as.string, (size_t)spec.precision));
    if (!builder->run->status)
        aligned(builder, &spec, "", text.as.string, spec.align ? spec.align : align);
}

/* Decimal digits at *at; `otherwise` if there are none. */
static int64_t read_number(const struct jinja_string *s, size_t *at, int64_t otherwise)
{
    int64_t value = otherwise;

    for (; *at < s->size && s->data[*at] >= '0' && s->data[*at] <= '9'; (*at)++) {
        value = (value < 0 ? 0 : value) * 10 + (s->data[*at] - '0');
        if (value > MOST_WIDTH)
            value = MOST_WIDTH;
    }
    return value;
}

/* ---- "%s" % values -----------------------------------------------------------------------------
 */

static struct spec percent_spec(const struct jinja_string *s, size_t *at)
{
    struct spec spec = {.width = -1, .precision = -1};

    for (; *at < s->size && strchr("-+ #0", s->data[*at]) && s->data[*at]; (*at)++) {
        switch (s->data[*at]) {
        case '-':
            spec.align = '<';
            break;
        case '0':
            spec.zero = true;
            break;
        case '#':
            spec.alternate = true;
            break;
        default:
            spec.sign = s->data[*at];
            break;
        }
    }
    spec.width = read_number(s, at, -1);
    if (*at < s->size && s->data[*at] == '.') {
        (*at)++;
        spec.precision = read_number(s, at, 0);
    }
    spec.type = *at < s->size ? s->data[(*at)++] : 0;
    return spec;
}

/* %c: a text of one character, or the number of one. */
static void percent_character(struct jinja_builder *builder, struct jinja_value value,
                              struct spec spec)
{
    char bytes[4];
    int size = 0;

    spec.precision = -1;
    if (value.type == JINJA_STRING && jinja_code_points(value.as.string) == 1) {
        build_text(builder, value, spec, '>');
        return;
    }
    if (value.type == JINJA_INT && value.as.integer >= 0 && value.as.integer <= 0x10FFFF)
        size = utf8_encode((uint32_t)value.as.integer, bytes);
    if (!size) {
        jinja_fail(builder->run, LLM_E_FORMAT, "%%c requires int or char");
    } else {
        struct jinja_string one = {bytes, (size_t)size, NULL, JINJA_TRUSTED};

        aligned(builder, &spec, "", &one, spec.align ? spec.align : '>');
    }
}

static void percent_value(struct jinja_builder *builder, struct jinja_value value, struct spec spec)
{
    struct jinja_builder shown;

    switch (spec.type) {
    case 's':
        build_text(builder, value, spec, '>');
        return;
    case 'r':
        jinja_builder_init(&shown, builder->run);
        jinja_build_repr(&shown, value);
        build_text(builder, jinja_built(&shown), spec, '>');
        return;
    case 'c':
        percent_character(builder, value, spec);
        return;
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
        break;
    default:
        jinja_fail(builder->run, LLM_E_FORMAT, "unsupported format character");
        return;
    }
    if (!jinja_is_number(value)) {
        jinja_fail(builder->run, LLM_E_FORMAT, "%%%c format: a number is required, not %s",
                   spec.type, jinja_type_name(value));
        return;
    }
    if (spec.precision > MOST_PRECISION)
        spec.precision = MOST_PRECISION;
    if (strchr("diu", spec.type)) {
        spec.type = 'd';
        spec.precision = -1;
        if (value.type == JINJA_FLOAT) {
            if (!(fabs(value.as.real) < 0x1p63)) {
                jinja_fail(builder->run, LLM_E_RANGE, "an integer is beyond 64 bits");
                return;
            }
            value = jinja_int((int64_t)value.as.real);
        }
    }
    build_number(builder, value, spec);
}

struct jinja_value jinja_format_percent(struct jinja_run *run, const struct jinja_string *s,
                                        struct jinja_value values)
{
    bool many = values.type == JINJA_LIST && values.as.list->kind == JINJA_SEQ_TUPLE;
    size_t count = many ? values.as.list->count : 1;
    struct jinja_builder builder;
    size_t used = 0;
    size_t done = 0;

    jinja_builder_init(&builder, run);
    for (size_t i = 0; i < s->size && !run->status;) {
        struct spec spec;

        if (s->data[i++] != '%')
            continue;
        jinja_build_slice(&builder, s, done, i - 1);
        spec = percent_spec(s, &i);
        done = i;
        if (spec.type == '%') {
            jinja_build_z(&builder, "%");
        } else if (used == count) {
            return jinja_fail(run, LLM_E_FORMAT, "not enough arguments for format string");
        } else {
            percent_value(&builder, many ? values.as.list->items[used] : values, spec);
            used++;
        }
    }
    jinja_build_slice(&builder, s, done, s->size);
    if (used < count && values.type != JINJA_DICT && values.type != JINJA_LIST)
        return jinja_fail(run, LLM_E_FORMAT,
                          "not all arguments converted during string formatting");
    if (used < count && many)
        return jinja_fail(run, LLM_E_FORMAT,
                          "not all arguments converted during string formatting");
    return jinja_built(&builder);
}

/* ---- "{}".format(...) --------------------------------------------------------------------------
 */

/* [[fill]align][sign][#][0][width][,][.precision][type] of [at, end). */
static bool brace_spec(struct jinja_run *run, const struct jinja_string *s, size_t at, size_t end,
                       struct spec *spec)
{
    size_t first = at;

    *spec = (struct spec){.width = -1, .precision = -1};
    if (at < end) {
        first = at + 1;
        while (first < end && ((unsigned char)s->data[first] & 0xC0) == 0x80)
            first++;
    }
    if (first < end && strchr("<>^=", s->data[first]) && s->data[first]) {
        struct jinja_value fill = jinja_slice_of(run, s, at, first);

        spec->fill = run->status ? NULL : fill.as.string;
        spec->align = s->data[first];
        at = first + 1;
    } else if (at < end && strchr("<>^=", s->data[at]) && s->data[at]) {
        spec->align = s->data[at++];
    }
    if (at < end && (s->data[at] == '+' || s->data[at] == '-' || s->data[at] == ' '))
        spec->sign = s->data[at++];
    if (at < end && s->data[at] == '#')
        spec->alternate = s->data[at++] == '#';
    if (at < end && s->data[at] == '0')
        spec->zero = s->data[at++] == '0';
    spec->width = read_number(s, &at, -1);
    if (at < end && s->data[at] == ',')
        spec->comma = s->data[at++] == ',';
    if (at < end && s->data[at] == '.') {
        at++;
        spec->precision = read_number(s, &at, 0);
    }
    if (at < end)
        spec->type = s->data[at++];
    if (at != end || (spec->type && !strchr("sdxXoeEfFgG%", spec->type))) {
        jinja_fail(run, LLM_E_FORMAT, "Invalid format specifier");
        return false;
    }
    return !run->status;
}

static bool find_argument(struct jinja_run *run, const struct jinja_string *name,
                          const struct jinja_arguments *args, size_t *next,
                          struct jinja_value *value)
{
    size_t at = 0;
    int64_t index = name->size ? read_number(name, &at, -1) : (int64_t)(*next)++;

    if (at == name->size && index >= 0) {
        if ((size_t)index < args->positional) {
            *value = args->values[index];
            return true;
        }
        jinja_fail(run, LLM_E_FORMAT, "Replacement index %lld out of range", (long long)index);
        return false;
    }
    for (size_t i = 0; i < args->keywords; i++) {
        if (args->names[i]->size == name->size &&
            memcmp(args->names[i]->data, name->data, name->size) == 0) {
            *value = args->values[args->positional + i];
            return true;
        }
    }
    jinja_fail(run, LLM_E_FORMAT, "format: no argument '%.*s'", (int)name->size, name->data);
    return false;
}

/* The field [begin, end) between braces. */
static void brace_field(struct jinja_builder *builder, const struct jinja_string *s, size_t begin,
                        size_t end, const struct jinja_arguments *args, size_t *next)
{
    struct jinja_run *run = builder->run;
    size_t colon = begin;
    size_t name_end;
    struct jinja_string name;
    struct jinja_value value;
    struct jinja_builder shown;
    struct spec spec;
    char conversion = 0;

    while (colon < end && s->data[colon] != ':')
        colon++;
    name_end = colon;
    if (colon >= begin + 2 && s->data[colon - 2] == '!') {
        conversion = s->data[colon - 1];
        name_end = colon - 2;
    }
    name = (struct jinja_string){s->data + begin, name_end - begin, NULL, JINJA_TRUSTED};
    if (!find_argument(run, &name, args, next, &value) ||
        !brace_spec(run, s, colon < end ? colon + 1 : end, end, &spec))
        return;
    if (conversion == 'r') {
        jinja_builder_init(&shown, run);
        jinja_build_repr(&shown, value);
        value = jinja_built(&shown);
    } else if (conversion == 's') {
        value = jinja_str(run, value);
    }
    if (spec.precision > MOST_PRECISION)
        spec.precision = MOST_PRECISION;
    if ((value.type == JINJA_INT || value.type == JINJA_FLOAT) && spec.type != 's')
        build_number(builder, value, spec);
    else if (!spec.type || spec.type == 's')
        build_text(builder, value, spec, '<');
    else
        jinja_fail(run, LLM_E_FORMAT, "Unknown format code '%c' for object of type '%s'", spec.type,
                   jinja_type_name(value));
}

struct jinja_value jinja_format_braces(struct jinja_run *run, const struct jinja_string *s,
                                       const struct jinja_arguments *args)
{
    struct jinja_builder builder;
    size_t done = 0;
    size_t next = 0;

    jinja_builder_init(&builder, run);
    for (size_t i = 0; i < s->size && !run->status; i++) {
        size_t end;

        if (s->data[i] != '{' && s->data[i] != '}')
            continue;
        jinja_build_slice(&builder, s, done, i);
        if (i + 1 < s->size && s->data[i + 1] == s->data[i]) {
            jinja_build_slice(&builder, s, i, i + 1);
            done = ++i + 1;
            continue;
        }
        for (end = i + 1; end < s->size && s->data[end] != '}' && s->data[end] != '{'; end++) {
        }
        if (s->data[i] == '}' || end == s->size || s->data[end] == '{')
            return jinja_fail(run, LLM_E_FORMAT, "a brace in a format string has no partner");
        brace_field(&builder, s, i + 1, end, args, &next);
        i = end;
        done = end + 1;
    }
    jinja_build_slice(&builder, s, done, s->size);
    return jinja_built(&builder);
}

/* ---- the clock ---------------------------------------------------------------------------------
 */

static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                   "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"January",   "February", "March",    "April",
                                     "May",       "June",     "July",     "August",
                                     "September", "October",  "November", "December"};

/* One field; false if it is not known. `flag` '-': no padding. */
static bool time_field(char *text, size_t room, const struct tm *t, char field, char flag)
{
    const char *two = flag == '-' ? "%d" : "%02d";
    int hour = t->tm_hour % 12 ? t->tm_hour % 12 : 12;

    switch (field) {
    case 'Y':
        return snprintf(text, room, "%d", t->tm_year + 1900) > 0;
    case 'y':
        return snprintf(text, room, two, t->tm_year % 100) > 0;
    case 'm':
        return snprintf(text, room, two, t->tm_mon + 1) > 0;
    case 'd':
        return snprintf(text, room, two, t->tm_mday) > 0;
    case 'e':
        return snprintf(text, room, flag == '-' ? "%d" : "%2d", t->tm_mday) > 0;
    case 'H':
        return snprintf(text, room, two, t->tm_hour) > 0;
    case 'I':
        return snprintf(text, room, two, hour) > 0;
    case 'M':
        return snprintf(text, room, two, t->tm_min) > 0;
    case 'S':
        return snprintf(text, room, two, t->tm_sec) > 0;
    case 'j':
        return snprintf(text, room, flag == '-' ? "%d" : "%03d", t->tm_yday + 1) > 0;
    case 'p':
        return snprintf(text, room, "%s", t->tm_hour < 12 ? "AM" : "PM") > 0;
    case 'A':
        return snprintf(text, room, "%s", days[t->tm_wday % 7]) > 0;
    case 'a':
        return snprintf(text, room, "%.3s", days[t->tm_wday % 7]) > 0;
    case 'B':
        return snprintf(text, room, "%s", months[t->tm_mon % 12]) > 0;
    case 'b':
    case 'h':
        return snprintf(text, room, "%.3s", months[t->tm_mon % 12]) > 0;
    case 'u':
        return snprintf(text, room, "%d", t->tm_wday ? t->tm_wday : 7) > 0;
    case 'w':
        return snprintf(text, room, "%d", t->tm_wday) > 0;
    case 'F':
        return snprintf(text, room, "%d-%02d-%02d", t->tm_year + 1900, t->tm_mon + 1, t->tm_mday) >
               0;
    case 'D':
    case 'x':
        return snprintf(text, room, "%02d/%02d/%02d", t->tm_mon + 1, t->tm_mday, t->tm_year % 100) >
               0;
    case 'T':
    case 'X':
        return snprintf(text, room, "%02d:%02d:%02d", t->tm_hour, t->tm_min, t->tm_sec) > 0;
    case 'R':
        return snprintf(text, room, "%02d:%02d", t->tm_hour, t->tm_min) > 0;
    case '%':
        return snprintf(text, room, "%%") > 0;
    default:
        return false;
    }
}

struct jinja_value jinja_strftime(struct jinja_run *run, const struct jinja_string *format)
{
    struct jinja_builder builder;
    time_t now = (time_t)run->now;
    size_t done = 0;
    struct tm t;

    jinja_builder_init(&builder, run);
    if (!(run->local_now ? localtime_r(&now, &t) : gmtime_r(&now, &t)))
        return jinja_fail(run, LLM_E_RANGE, "strftime_now: the time is out of range");
    for (size_t i = 0; i + 1 < format->size && !run->status; i++) {
        char text[64];
        size_t begin = i;
        char flag = 0;

        if (format->data[i] != '%')
            continue;
        i++;
        if (format->data[i] == '-' && i + 1 < format->size)
            flag = format->data[i++];
        if (!time_field(text, sizeof text, &t, format->data[i], flag))
            return jinja_fail(run, LLM_E_UNSUPPORTED, "strftime_now: %%%c (not supported)",
                              format->data[i]);
        jinja_build_slice(&builder, format, done, begin);
        jinja_build_z(&builder, text);
        done = i + 1;
    }
    jinja_build_slice(&builder, format, done, format->size);
    return jinja_built(&builder);
}
