/* SPDX-License-Identifier: MIT
 *
 * Filters on text.
 */
#include "chat/jinja_builtins.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#define FILTER(name)                                                                               \
    static struct jinja_value name(struct jinja_run *run, struct jinja_value self,                 \
                                   const struct jinja_value *argv,                                 \
                                   const struct jinja_arguments *args)

static struct jinja_value with_case(struct jinja_run *run, struct jinja_value self,
                                    enum jinja_case how)
{
    struct jinja_value text = jinja_str(run, self);

    return run->status ? text : jinja_change_case(run, text.as.string, how);
}

FILTER(filter_upper)
{
    (void)argv, (void)args;
    return with_case(run, self, JINJA_UPPER);
}

FILTER(filter_lower)
{
    (void)argv, (void)args;
    return with_case(run, self, JINJA_LOWER);
}

FILTER(filter_capitalize)
{
    (void)argv, (void)args;
    return with_case(run, self, JINJA_CAPITALIZE);
}

/* A word begins after white space, - or an opening bracket; its rest becomes lower case. */
FILTER(filter_title)
{
    struct jinja_value text = jinja_str(run, self);
    struct jinja_builder builder;
    size_t begin = 0;

    (void)argv, (void)args;
    if (run->status)
        return text;
    jinja_builder_init(&builder, run);
    for (size_t i = 0; i <= text.as.string->size && !run->status; i++) {
        const struct jinja_string *s = text.as.string;
        bool cut = i == s->size || strchr("-([{<", s->data[i]) ||
                   jinja_is_white((unsigned char)s->data[i]);
        struct jinja_value word;

        if (!cut || (i < s->size && ((unsigned char)s->data[i] >= 0x80 || !s->data[i])))
            continue;
        if (i > begin) {
            size_t first = begin + 1;
            struct jinja_value head;

            while (first < i && ((unsigned char)s->data[first] & 0xC0) == 0x80)
                first++;
            head = jinja_slice_of(run, s, begin, first);
            word = jinja_slice_of(run, s, first, i);
            if (run->status)
                break;
            head = jinja_change_case(run, head.as.string, JINJA_UPPER);
            word = jinja_change_case(run, word.as.string, JINJA_LOWER);
            if (run->status)
                break;
            jinja_build_string(&builder, head.as.string);
            jinja_build_string(&builder, word.as.string);
        }
        if (i < s->size)
            jinja_build_slice(&builder, s, i, i + 1);
        begin = i + 1;
    }
    return jinja_built(&builder);
}

FILTER(filter_trim)
{
    struct jinja_value text = jinja_str(run, self);
    const struct jinja_string *characters = NULL;

    (void)args;
    if (jinja_given(argv[0]) && argv[0].type != JINJA_NONE)
        characters = jinja_string_argument(run, argv[0]);
    return run->status ? jinja_undefined(NULL) : jinja_strip(run, text.as.string, characters, 3);
}

FILTER(filter_replace)
{
    struct jinja_value text = jinja_str(run, self);
    struct jinja_value old = jinja_str(run, argv[0]);
    struct jinja_value fresh = jinja_str(run, argv[1]);
    int64_t count = argv[2].type == JINJA_NONE ? -1 : jinja_int_argument(run, argv[2], -1);

    (void)args;
    if (run->status)
        return jinja_undefined(NULL);
    return jinja_replace(run, text.as.string, old.as.string, fresh.as.string, count);
}

/* Every line but the first (or it too) begins with `width` blanks or that string. */
FILTER(filter_indent)
{
    struct jinja_value text = jinja_str(run, self);
    bool first = jinja_bool_argument(argv[1], false);
    bool blank = jinja_bool_argument(argv[2], false);
    struct jinja_value unit = argv[0];
    struct jinja_builder builder;
    size_t begin = 0;

    (void)args;
    if (!jinja_given(unit) || unit.type != JINJA_STRING) {
        int64_t width = jinja_int_argument(run, unit, 4);

        unit = jinja_binary(run, JINJA_OP_MUL, jinja_text(run, " "), jinja_int(width));
    }
    if (run->status)
        return jinja_undefined(NULL);
    jinja_builder_init(&builder, run);
    while (!run->status) {
        const struct jinja_string *s = text.as.string;
        const char *end = s->size > begin ? memchr(s->data + begin, '\n', s->size - begin) : NULL;
        size_t stop = end ? (size_t)(end - s->data) : s->size;

        if (begin == 0 ? first : blank || stop > begin)
            jinja_build_string(&builder, unit.as.string);
        jinja_build_slice(&builder, s, begin, end ? stop + 1 : stop);
        if (!end)
            break;
        begin = stop + 1;
        jinja_charge(run, 1);
    }
    return jinja_built(&builder);
}

FILTER(filter_center)
{
    struct jinja_value text = jinja_str(run, self);
    struct jinja_value width = jinja_given(argv[0]) ? argv[0] : jinja_int(80);
    struct jinja_arguments one = {&width, 1, 0, NULL};
    struct jinja_value method;

    (void)args;
    if (run->status)
        return text;
    method =
        jinja_object_new(run, JINJA_METHOD, (uint32_t)jinja_find_method(text, "center", 6), text);
    return run->status ? method : jinja_call_object(run, method, &one);
}

/* Cut at a word's end so that the text and the end mark fit. */
FILTER(filter_truncate)
{
    struct jinja_value text = jinja_str(run, self);
    int64_t length = jinja_int_argument(run, argv[0], 255);
    bool kill = jinja_bool_argument(argv[1], false);
    struct jinja_value mark = jinja_given(argv[2]) ? argv[2] : jinja_text(run, "...");
    int64_t leeway = jinja_int_argument(run, argv[3], 5);
    const struct jinja_string *end = run->status ? NULL : jinja_string_argument(run, mark);
    struct jinja_builder builder;
    size_t stop;
    int64_t room;

    (void)args;
    if (!end)
        return jinja_undefined(NULL);
    room = length - (int64_t)jinja_code_points(end);
    if (room < 0 || leeway < 0)
        return jinja_fail(run, LLM_E_FORMAT, "truncate: the length is less than that of the end");
    if ((double)jinja_code_points(text.as.string) <= (double)length + (double)leeway)
        return text;
    stop = jinja_code_point_at(text.as.string, (size_t)room);
    if (!kill) {
        size_t space = stop;

        while (space > 0 && text.as.string->data[space - 1] != ' ')
            space--;
        stop = space > 0 ? space - 1 : stop;
    }
    jinja_builder_init(&builder, run);
    jinja_build_slice(&builder, text.as.string, 0, stop);
    jinja_build_string(&builder, end);
    return jinja_built(&builder);
}

FILTER(filter_wordcount)
{
    struct jinja_value text = jinja_str(run, self);
    const unsigned char *cursor;
    const unsigned char *end;
    bool inside = false;
    int64_t count = 0;

    (void)argv, (void)args;
    if (run->status)
        return text;
    cursor = (const unsigned char *)text.as.string->data;
    end = cursor + text.as.string->size;
    while (cursor < end) {
        bool valid;
        uint32_t c = utf8_next(&cursor, end, &valid);
        utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
        bool word = (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
                    (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) ||
                    c == '_';

        count += word && !inside;
        inside = word;
    }
    return jinja_int(count);
}

FILTER(filter_escape)
{
    static const char marks[] = "&<>\"'";
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
    struct jinja_value text = jinja_str(run, self);
    struct jinja_builder builder;
    size_t done = 0;

    (void)argv, (void)args;
    if (run->status)
        return text;
    jinja_builder_init(&builder, run);
    for (size_t i = 0; i < text.as.string->size; i++) {
        char c = text.as.string->data[i];
        const char *found = c ? strchr(marks, c) : NULL;

        if (!found)
            continue;
        jinja_build_slice(&builder, text.as.string, done, i);
        jinja_build(&builder, names[found - marks], strlen(names[found - marks]),
                    jinja_trust_at(text.as.string, i));
        done = i + 1;
    }
    jinja_build_slice(&builder, text.as.string, done, text.as.string->size);
    return jinja_built(&builder);
}

FILTER(filter_urlencode)
{
    struct jinja_value text = jinja_str(run, self);
    struct jinja_builder builder;

    (void)argv, (void)args;
    if (run->status)
        return text;
    if (self.type == JINJA_DICT || self.type == JINJA_LIST)
        return jinja_fail(run, LLM_E_UNSUPPORTED, "urlencode of a mapping or list (not supported)");
    jinja_builder_init(&builder, run);
    for (size_t i = 0; i < text.as.string->size && !run->status; i++) {
        unsigned char c = (unsigned char)text.as.string->data[i];
        char code[4];

        if ((c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
            (c && strchr("_.-~/", c))) {
            jinja_build_slice(&builder, text.as.string, i, i + 1);
            continue;
        }
        (void)snprintf(code, sizeof code, "%%%02X", c);
        jinja_build(&builder, code, 3, jinja_trust_at(text.as.string, i));
    }
    return jinja_built(&builder);
}

/* "%s and %s"|format(a, b) */
FILTER(filter_format)
{
    struct jinja_value values = jinja_list_new(run, JINJA_SEQ_TUPLE, args->positional);
    struct jinja_value text = jinja_str(run, self);

    (void)argv;
    if (args->keywords)
        return jinja_fail(run, LLM_E_UNSUPPORTED, "format with named values (not supported)");
    for (size_t i = 0; i < args->positional && !run->status; i++)
        jinja_list_add(run, values, args->values[i]);
    return run->status ? values : jinja_format_percent(run, text.as.string, values);
}

const struct jinja_builtin jinja_string_filters[] = {
    {"upper", "", filter_upper},
    {"lower", "", filter_lower},
    {"capitalize", "", filter_capitalize},
    {"title", "", filter_title},
    {"trim", "chars=", filter_trim},
    {"replace", "old,new,count=", filter_replace},
    {"indent", "width=,first=,blank=", filter_indent},
    {"center", "width=", filter_center},
    {"truncate", "length=,killwords=,end=,leeway=", filter_truncate},
    {"wordcount", "", filter_wordcount},
    {"escape", "", filter_escape},
    {"e", "", filter_escape},
    {"forceescape", "", filter_escape},
    {"urlencode", "", filter_urlencode},
    {"format", "*", filter_format},
    {NULL, NULL, NULL},
};
