/* SPDX-License-Identifier: MIT
 *
 * Values as text: Python's str() and repr(), and json.dumps().
 */
#include "chat/jinja_interpreter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* ---- numbers -----------------------------------------------------------------------------------
 */

/* The digits of the shortest decimal that reads back as `value` (> 0, finite), and its exponent:
 * 0.d1d2... * 10^exponent. */
static int shortest_digits(double value, char digits[24], int *exponent)
{
    char number[48];
    double back;
    int count = 0;
    int power = 0;
    const char *e;

    for (int precision = 1; precision <= 17; precision++) {
        (void)snprintf(number, sizeof number, "%.*e", precision - 1, value);
        for (char *c = number; *c; c++)
            *c = *c == ',' ? '.' : *c; /* the host's locale */
        if (text_parse_double(number, strlen(number), &back) && back == value)
            break;
    }
    e = strchr(number, 'e');
    for (const char *c = number; c < e; c++) {
        if (*c >= '0' && *c <= '9')
            digits[count++] = *c;
    }
    while (count > 1 && digits[count - 1] == '0')
        count--;
    for (const char *c = e + 2; *c; c++)
        power = power * 10 + (*c - '0');
    *exponent = (e[1] == '-' ? -power : power) + 1;
    return count;
}

/* Python's repr() of a float. */
static void build_float(struct jinja_builder *builder, double value)
{
    char digits[24];
    char tail[16];
    int exponent;
    int count;

    if (isnan(value) || isinf(value)) {
        jinja_build_z(builder, isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
        return;
    }
    if (signbit(value))
        jinja_build_z(builder, "-");
    if (value == 0.0) {
        jinja_build_z(builder, "0.0");
        return;
    }
    count = shortest_digits(fabs(value), digits, &exponent);
    if (exponent > 16 || exponent < -3) {
        jinja_build(builder, digits, 1, JINJA_TRUSTED);
        if (count > 1) {
            jinja_build_z(builder, ".");
            jinja_build(builder, digits + 1, (size_t)count - 1, JINJA_TRUSTED);
        }
        (void)snprintf(tail, sizeof tail, "e%c%02d", exponent > 0 ? '+' : '-', abs(exponent - 1));
        jinja_build_z(builder, tail);
        return;
    }
    if (exponent <= 0)
        jinja_build_z(builder, "0.");
    for (int i = exponent; i < 0; i++)
        jinja_build_z(builder, "0");
    for (int i = 0; i < count || i < exponent; i++) {
        if (i == exponent && exponent > 0)
            jinja_build_z(builder, ".");
        jinja_build(builder, i < count ? &digits[i] : "0", 1, JINJA_TRUSTED);
    }
    if (exponent >= count)
        jinja_build_z(builder, ".0");
}

static void build_int(struct jinja_builder *builder, int64_t value)
{
    char number[32];

    (void)snprintf(number, sizeof number, "%lld", (long long)value);
    jinja_build_z(builder, number);
}

/* ---- repr --------------------------------------------------------------------------------------
 */

static bool is_printable(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
        return c == ' ';
    default:
        return true;
    }
}

static void build_escape(struct jinja_builder *builder, uint32_t c)
{
    char escape[16];

    if (c == '\n' || c == '\r' || c == '\t')
        (void)snprintf(escape, sizeof escape, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else
        (void)snprintf(escape, sizeof escape,
                       c < 0x100     ? "\\x%02x"
                       : c < 0x10000 ? "\\u%04x"
                                     : "\\U%08x",
                       (unsigned)c);
    jinja_build_z(builder, escape);
}

static void build_string_repr(struct jinja_builder *builder, const struct jinja_string *string)
{
    const unsigned char *data = (const unsigned char *)string->data;
    const unsigned char *end = data + string->size;
    const unsigned char *cursor = data;
    bool quote =
        string->size && memchr(data, '\'', string->size) && !memchr(data, '"', string->size);
    const char *mark = quote ? "\"" : "'";
    size_t plain = 0;

    jinja_build_z(builder, mark);
    while (cursor < end) {
        size_t at = (size_t)(cursor - data);
        bool valid;
        uint32_t c = utf8_next(&cursor, end, &valid);

        if (c != '\\' && c != (unsigned char)*mark && (is_printable(c) || !valid))
            continue;
        jinja_build_slice(builder, string, plain, at);
        plain = (size_t)(cursor - data);
        if (c == '\\' || c == (unsigned char)*mark)
            jinja_build_z(builder, c == '\\' ? "\\\\" : "\\'");
        else
            build_escape(builder, c);
    }
    jinja_build_slice(builder, string, plain, string->size);
    jinja_build_z(builder, mark);
}

static void build_value(struct jinja_builder *builder, struct jinja_value value, int depth);

static void build_list(struct jinja_builder *builder, const struct jinja_list *list, int depth)
{
    static const char *const open[] = {"[",           "(", "", "dict_keys([", "dict_values([",
                                       "dict_items(["};
    static const char *const close[] = {"]", ")", "", "])", "])", "])"};
    char range[96];

    if (list->kind == JINJA_SEQ_GENERATOR) {
        jinja_build_z(builder, "<generator object>");
        return;
    }
    if (list->kind == JINJA_SEQ_RANGE) {
        (void)snprintf(range, sizeof range,
                       list->range[2] == 1 ? "range(%lld, %lld)" : "range(%lld, %lld, %lld)",
                       (long long)list->range[0], (long long)list->range[1],
                       (long long)list->range[2]);
        jinja_build_z(builder, range);
        return;
    }
    jinja_build_z(builder, open[list->kind]);
    for (size_t i = 0; i < list->count && !builder->run->status; i++) {
        if (i)
            jinja_build_z(builder, ", ");
        build_value(builder, list->items[i], depth + 1);
    }
    if (list->kind == JINJA_SEQ_TUPLE && list->count == 1)
        jinja_build_z(builder, ",");
    jinja_build_z(builder, close[list->kind]);
}

static void build_dict(struct jinja_builder *builder, const struct jinja_dict *dict, int depth)
{
    jinja_build_z(builder, "{");
    for (size_t i = 0; i < dict->count && !builder->run->status; i++) {
        if (i)
            jinja_build_z(builder, ", ");
        build_value(builder, dict->entries[i].key, depth + 1);
        jinja_build_z(builder, ": ");
        build_value(builder, dict->entries[i].value, depth + 1);
    }
    jinja_build_z(builder, "}");
}

/* Recursion is bounded by `depth`. */
static void build_value(struct jinja_builder *builder, struct jinja_value value, int depth)
{
    struct jinja_run *run = builder->run;

    if (depth == JINJA_DEPTH) {
        jinja_fail(run, LLM_E_RANGE, "values nested deeper than %d levels", JINJA_DEPTH);
        return;
    }
    if (!jinja_charge(run, 1))
        return;
    switch (value.type) {
    case JINJA_UNDEFINED:
        jinja_build_z(builder, "Undefined");
        break;
    case JINJA_NONE:
        jinja_build_z(builder, "None");
        break;
    case JINJA_BOOL:
        jinja_build_z(builder, value.as.truth ? "True" : "False");
        break;
    case JINJA_INT:
        build_int(builder, value.as.integer);
        break;
    case JINJA_FLOAT:
        build_float(builder, value.as.real);
        break;
    case JINJA_STRING:
        build_string_repr(builder, value.as.string);
        break;
    case JINJA_LIST:
        build_list(builder, value.as.list, depth);
        break;
    case JINJA_NAMESPACE:
        jinja_build_z(builder, "<Namespace ");
        build_dict(builder, value.as.dict, depth);
        jinja_build_z(builder, ">");
        break;
    case JINJA_DICT:
        build_dict(builder, value.as.dict, depth);
        break;
    default:
        jinja_build_z(builder, "<");
        jinja_build_z(builder, jinja_type_name(value));
        jinja_build_z(builder, ">");
        break;
    }
}

void jinja_build_repr(struct jinja_builder *builder, struct jinja_value value)
{
    build_value(builder, value, 0);
}

void jinja_build_str(struct jinja_builder *builder, struct jinja_value value)
{
    if (value.type == JINJA_STRING)
        jinja_build_string(builder, value.as.string);
    else if (value.type != JINJA_UNDEFINED)
        build_value(builder, value, 0);
}

struct jinja_value jinja_str(struct jinja_run *run, struct jinja_value value)
{
    struct jinja_builder builder;

    if (value.type == JINJA_STRING)
        return value;
    jinja_builder_init(&builder, run);
    jinja_build_str(&builder, value);
    return jinja_built(&builder);
}

/* ---- JSON --------------------------------------------------------------------------------------
 */

static void build_unicode_escape(struct jinja_builder *builder, uint32_t c)
{
    char escape[16];

    if (c < 0x10000)
        (void)snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
    else
        (void)snprintf(escape, sizeof escape, "\\u%04x\\u%04x",
                       (unsigned)(0xD800 + ((c - 0x10000) >> 10)),
                       (unsigned)(0xDC00 + ((c - 0x10000) & 0x3FF)));
    jinja_build_z(builder, escape);
}

static void build_json_string(struct jinja_builder *builder, const struct jinja_string *string,
                              bool ascii)
{
    static const char shorts[] = "\"\\\n\r\t\b\f";
    static const char letters[] = "\"\\nrtbf";
    const unsigned char *data = (const unsigned char *)string->data;
    const unsigned char *end = data + string->size;
    const unsigned char *cursor = data;
    size_t plain = 0;

    jinja_build_z(builder, "\"");
    while (cursor < end) {
        size_t at = (size_t)(cursor - data);
        bool valid;
        uint32_t c = utf8_next(&cursor, end, &valid);
        const char *found = c && c < 0x80 ? strchr(shorts, (int)c) : NULL;

        if (!found && c >= 0x20 && !(ascii && c >= 0x7F && c != 0x7F))
            continue;
        jinja_build_slice(builder, string, plain, at);
        plain = (size_t)(cursor - data);
        if (found) {
            char escape[3] = {'\\', letters[found - shorts], '\0'};

            jinja_build_z(builder, escape);
        } else {
            build_unicode_escape(builder, c);
        }
    }
    jinja_build_slice(builder, string, plain, string->size);
    jinja_build_z(builder, "\"");
}

static void new_line(struct jinja_builder *builder, const struct jinja_json_style *style, int depth)
{
    if (style->indent.type == JINJA_NONE)
        return;
    jinja_build_z(builder, "\n");
    for (int i = 0; i < depth; i++) {
        if (style->indent.type == JINJA_STRING)
            jinja_build_string(builder, style->indent.as.string);
        else
            for (int64_t n = jinja_as_int(style->indent); n > 0 && !builder->run->status; n--)
                jinja_build_z(builder, " ");
    }
}

static void json_key(struct jinja_builder *builder, struct jinja_value key,
                     const struct jinja_json_style *style)
{
    switch (key.type) {
    case JINJA_STRING:
        build_json_string(builder, key.as.string, style->ascii);
        return;
    case JINJA_BOOL:
        jinja_build_z(builder, key.as.truth ? "\"true\"" : "\"false\"");
        return;
    case JINJA_NONE:
        jinja_build_z(builder, "\"null\"");
        return;
    case JINJA_INT:
    case JINJA_FLOAT:
        jinja_build_z(builder, "\"");
        jinja_build_repr(builder, key);
        jinja_build_z(builder, "\"");
        return;
    default:
        jinja_fail(builder->run, LLM_E_FORMAT, "keys must be str, int, float, bool or None, not %s",
                   jinja_type_name(key));
    }
}

static void json_value(struct jinja_builder *builder, struct jinja_value value,
                       const struct jinja_json_style *style, int depth);

static void json_list(struct jinja_builder *builder, const struct jinja_list *list,
                      const struct jinja_json_style *style, int depth)
{
    jinja_build_z(builder, "[");
    for (size_t i = 0; i < list->count && !builder->run->status; i++) {
        if (i)
            jinja_build_z(builder, style->item_separator);
        new_line(builder, style, depth + 1);
        json_value(builder, list->items[i], style, depth + 1);
    }
    if (list->count)
        new_line(builder, style, depth);
    jinja_build_z(builder, "]");
}

static struct jinja_dict *sorted(struct jinja_run *run, const struct jinja_dict *dict)
{
    struct jinja_value copy = jinja_dict_new(run, dict->count);

    for (size_t i = 0; i < dict->count && !run->status; i++) {
        struct jinja_entry *entries = copy.as.dict->entries;
        size_t at = copy.as.dict->count++;

        for (; at > 0 && jinja_order(run, dict->entries[i].key, entries[at - 1].key, "<") < 0; at--)
            entries[at] = entries[at - 1];
        entries[at] = dict->entries[i];
    }
    return run->status ? NULL : copy.as.dict;
}

static void json_dict(struct jinja_builder *builder, const struct jinja_dict *dict,
                      const struct jinja_json_style *style, int depth)
{
    if (style->sort_keys)
        dict = sorted(builder->run, dict);
    if (!dict)
        return;
    jinja_build_z(builder, "{");
    for (size_t i = 0; i < dict->count && !builder->run->status; i++) {
        if (i)
            jinja_build_z(builder, style->item_separator);
        new_line(builder, style, depth + 1);
        json_key(builder, dict->entries[i].key, style);
        jinja_build_z(builder, style->key_separator);
        json_value(builder, dict->entries[i].value, style, depth + 1);
    }
    if (dict->count)
        new_line(builder, style, depth);
    jinja_build_z(builder, "}");
}

/* Recursion is bounded by `depth`. */
static void json_value(struct jinja_builder *builder, struct jinja_value value,
                       const struct jinja_json_style *style, int depth)
{
    if (depth == JINJA_DEPTH)
        jinja_fail(builder->run, LLM_E_RANGE, "values nested deeper than %d levels", JINJA_DEPTH);
    if (!jinja_charge(builder->run, 1))
        return;
    if (value.type == JINJA_STRING)
        build_json_string(builder, value.as.string, style->ascii);
    else if (value.type == JINJA_LIST && value.as.list->kind <= JINJA_SEQ_TUPLE)
        json_list(builder, value.as.list, style, depth);
    else if (value.type == JINJA_DICT)
        json_dict(builder, value.as.dict, style, depth);
    else if (value.type == JINJA_BOOL || value.type == JINJA_NONE)
        jinja_build_z(builder, value.type == JINJA_NONE ? "null"
                               : value.as.truth         ? "true"
                                                        : "false");
    else if (value.type == JINJA_FLOAT && !isfinite(value.as.real))
        jinja_build_z(builder, isnan(value.as.real) ? "NaN"
                               : value.as.real > 0  ? "Infinity"
                                                    : "-Infinity");
    else if (jinja_is_number(value))
        jinja_build_repr(builder, value);
    else
        jinja_fail(builder->run, LLM_E_FORMAT, "Object of type %s is not JSON serializable",
                   jinja_type_name(value));
}

void jinja_build_json(struct jinja_builder *builder, struct jinja_value value,
                      const struct jinja_json_style *style)
{
    json_value(builder, value, style, 0);
}
