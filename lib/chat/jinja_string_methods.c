/* SPDX-License-Identifier: MIT
 *
 * The methods of strings: Python's, with code points as positions.
 */
#include "chat/jinja_builtins.h"

#include <string.h>
#include <utf8proc.h>

#define METHOD(name)                                                                               \
    static struct jinja_value name(struct jinja_run *run, struct jinja_value self,                 \
                                   const struct jinja_value *argv,                                 \
                                   const struct jinja_arguments *args)

/* The characters to strip: an argument that may be none. */
static struct jinja_value strip_sides(struct jinja_run *run, struct jinja_value self,
                                      struct jinja_value characters, int sides)
{
    const struct jinja_string *set = NULL;

    if (jinja_given(characters) && characters.type != JINJA_NONE) {
        set = jinja_string_argument(run, characters);
        if (!set)
            return jinja_undefined(NULL);
    }
    return jinja_strip(run, self.as.string, set, sides);
}

METHOD(strip)
{
    (void)args;
    return strip_sides(run, self, argv[0], 3);
}

METHOD(lstrip)
{
    (void)args;
    return strip_sides(run, self, argv[0], 1);
}

METHOD(rstrip)
{
    (void)args;
    return strip_sides(run, self, argv[0], 2);
}

METHOD(upper)
{
    (void)argv, (void)args;
    return jinja_change_case(run, self.as.string, JINJA_UPPER);
}

METHOD(lower)
{
    (void)argv, (void)args;
    return jinja_change_case(run, self.as.string, JINJA_LOWER);
}

METHOD(title)
{
    (void)argv, (void)args;
    return jinja_change_case(run, self.as.string, JINJA_TITLE);
}

METHOD(capitalize)
{
    (void)argv, (void)args;
    return jinja_change_case(run, self.as.string, JINJA_CAPITALIZE);
}

METHOD(swapcase)
{
    (void)argv, (void)args;
    return jinja_change_case(run, self.as.string, JINJA_SWAPCASE);
}

METHOD(replace)
{
    const struct jinja_string *old = jinja_string_argument(run, argv[0]);
    const struct jinja_string *fresh = old ? jinja_string_argument(run, argv[1]) : NULL;

    (void)args;
    if (!fresh)
        return jinja_undefined(NULL);
    return jinja_replace(run, self.as.string, old, fresh, jinja_int_argument(run, argv[2], -1));
}

/* At white space, runs of it counting once. */
static void split_white(struct jinja_run *run, const struct jinja_string *s, int64_t most,
                        struct jinja_value list)
{
    size_t position = 0;
    size_t size = 0;

    while (!run->status) {
        size_t begin;

        while (position < s->size && jinja_is_white(jinja_code_point(s, position, &size)))
            position += size;
        if (position == s->size)
            return;
        begin = position;
        if (most-- == 0) {
            jinja_list_add(run, list, jinja_slice_of(run, s, begin, s->size));
            return;
        }
        while (position < s->size && !jinja_is_white(jinja_code_point(s, position, &size)))
            position += size;
        jinja_list_add(run, list, jinja_slice_of(run, s, begin, position));
    }
}

static void reverse(struct jinja_list *list)
{
    for (size_t i = 0; i < list->count / 2; i++) {
        struct jinja_value other = list->items[i];

        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = other;
    }
}

/* The same from the right. */
static void rsplit_white(struct jinja_run *run, const struct jinja_string *s, int64_t most,
                         struct jinja_value list)
{
    size_t end = s->size;
    size_t size;

    while (!run->status) {
        size_t begin;

        while (end > 0 && jinja_is_white(jinja_code_point(s, jinja_before(s, end), &size)))
            end = jinja_before(s, end);
        if (end == 0)
            break;
        if (most-- == 0) {
            jinja_list_add(run, list, jinja_slice_of(run, s, 0, end));
            break;
        }
        begin = end;
        while (begin > 0 && !jinja_is_white(jinja_code_point(s, jinja_before(s, begin), &size)))
            begin = jinja_before(s, begin);
        jinja_list_add(run, list, jinja_slice_of(run, s, begin, end));
        end = begin;
    }
    reverse(list.as.list);
}

static void split_at(struct jinja_run *run, const struct jinja_string *s,
                     const struct jinja_string *separator, int64_t most, struct jinja_value list)
{
    size_t begin = 0;
    size_t found;

    while (!run->status && most-- != 0 &&
           (found = jinja_find_bytes(s, separator, begin)) != SIZE_MAX) {
        jinja_list_add(run, list, jinja_slice_of(run, s, begin, found));
        begin = found + separator->size;
    }
    jinja_list_add(run, list, jinja_slice_of(run, s, begin, s->size));
}

static void rsplit_at(struct jinja_run *run, const struct jinja_string *s,
                      const struct jinja_string *separator, int64_t most, struct jinja_value list)
{
    size_t end = s->size;
    size_t found;

    while (!run->status && most-- != 0 &&
           (found = jinja_find_last(s, separator, end)) != SIZE_MAX) {
        jinja_list_add(run, list, jinja_slice_of(run, s, found + separator->size, end));
        end = found;
    }
    jinja_list_add(run, list, jinja_slice_of(run, s, 0, end));
    reverse(list.as.list);
}

static struct jinja_value split_both(struct jinja_run *run, struct jinja_value self,
                                     const struct jinja_value *argv, bool from_right)
{
    struct jinja_value list = jinja_list_new(run, JINJA_SEQ_LIST, 0);
    const struct jinja_string *separator = NULL;
    int64_t most = jinja_int_argument(run, argv[1], -1);

    if (jinja_given(argv[0]) && argv[0].type != JINJA_NONE) {
        separator = jinja_string_argument(run, argv[0]);
        if (separator && separator->size == 0)
            return jinja_fail(run, LLM_E_FORMAT, "empty separator");
    }
    if (run->status || !jinja_charge(run, self.as.string->size / 16))
        return jinja_undefined(NULL);
    if (!separator && from_right)
        rsplit_white(run, self.as.string, most, list);
    else if (!separator)
        split_white(run, self.as.string, most, list);
    else if (from_right)
        rsplit_at(run, self.as.string, separator, most, list);
    else
        split_at(run, self.as.string, separator, most, list);
    return list;
}

METHOD(split)
{
    (void)args;
    return split_both(run, self, argv, false);
}

METHOD(rsplit)
{
    (void)args;
    return split_both(run, self, argv, true);
}

METHOD(splitlines)
{
    const struct jinja_string *s = self.as.string;
    struct jinja_value list = jinja_list_new(run, JINJA_SEQ_LIST, 0);
    bool keep = jinja_bool_argument(argv[0], false);
    size_t begin = 0;
    size_t size;

    (void)args;
    for (size_t i = 0; i < s->size && !run->status; i += size) {
        uint32_t c = jinja_code_point(s, i, &size);

        if (!((c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
              c == 0x2029))
            continue;
        if (c == '\r' && i + 1 < s->size && s->data[i + 1] == '\n')
            size = 2;
        jinja_list_add(run, list, jinja_slice_of(run, s, begin, keep ? i + size : i));
        begin = i + size;
    }
    if (begin < s->size)
        jinja_list_add(run, list, jinja_slice_of(run, s, begin, s->size));
    return list;
}

static bool has_affix(struct jinja_run *run, const struct jinja_string *s, struct jinja_value affix,
                      bool at_end)
{
    const struct jinja_string *a;

    if (affix.type == JINJA_LIST && affix.as.list->kind == JINJA_SEQ_TUPLE) {
        for (size_t i = 0; i < affix.as.list->count && !run->status; i++) {
            a = jinja_string_argument(run, affix.as.list->items[i]);
            if (a && a->size <= s->size &&
                memcmp(s->data + (at_end ? s->size - a->size : 0), a->data, a->size) == 0)
                return true;
        }
        return false;
    }
    a = jinja_string_argument(run, affix);
    return a && a->size <= s->size &&
           memcmp(s->data + (at_end ? s->size - a->size : 0), a->data, a->size) == 0;
}

METHOD(startswith)
{
    (void)args;
    return jinja_bool(has_affix(run, self.as.string, argv[0], false));
}

METHOD(endswith)
{
    (void)args;
    return jinja_bool(has_affix(run, self.as.string, argv[0], true));
}

METHOD(removeprefix)
{
    (void)args;
    if (argv[0].type == JINJA_STRING && has_affix(run, self.as.string, argv[0], false))
        return jinja_slice_of(run, self.as.string, argv[0].as.string->size, self.as.string->size);
    return self;
}

METHOD(removesuffix)
{
    (void)args;
    if (argv[0].type == JINJA_STRING && has_affix(run, self.as.string, argv[0], true))
        return jinja_slice_of(run, self.as.string, 0,
                              self.as.string->size - argv[0].as.string->size);
    return self;
}

/* find, rfind, index, rindex: in code points, -1 or failure when it is not there. */
static struct jinja_value position_of(struct jinja_run *run, struct jinja_value self,
                                      const struct jinja_value *argv, bool last, bool must)
{
    const struct jinja_string *s = self.as.string;
    const struct jinja_string *needle = jinja_string_argument(run, argv[0]);
    int64_t from = jinja_int_argument(run, argv[1], 0);
    int64_t count = (int64_t)jinja_code_points(s);
    int64_t to = jinja_int_argument(run, argv[2], count);
    struct jinja_string part;
    size_t begin;
    size_t found;

    if (!needle || run->status || !jinja_charge(run, s->size / 16))
        return jinja_undefined(NULL);
    from = from < 0 ? (from + count < 0 ? 0 : from + count) : from;
    to = to < 0 ? (to + count < 0 ? 0 : to + count) : to > count ? count : to;
    if (from > to)
        return must ? jinja_fail(run, LLM_E_FORMAT, "substring not found") : jinja_int(-1);
    begin = jinja_code_point_at(s, (size_t)from);
    part = (struct jinja_string){s->data, jinja_code_point_at(s, (size_t)to), NULL, JINJA_TRUSTED};
    found =
        last ? jinja_find_last(&part, needle, part.size) : jinja_find_bytes(&part, needle, begin);
    if (found == SIZE_MAX || found < begin)
        return must ? jinja_fail(run, LLM_E_FORMAT, "substring not found") : jinja_int(-1);
    part.size = found;
    return jinja_int((int64_t)jinja_code_points(&part));
}

METHOD(find)
{
    (void)args;
    return position_of(run, self, argv, false, false);
}

METHOD(rfind)
{
    (void)args;
    return position_of(run, self, argv, true, false);
}

METHOD(index_of)
{
    (void)args;
    return position_of(run, self, argv, false, true);
}

METHOD(last_index_of)
{
    (void)args;
    return position_of(run, self, argv, true, true);
}

METHOD(count)
{
    const struct jinja_string *needle = jinja_string_argument(run, argv[0]);
    int64_t n = 0;

    (void)args;
    if (!needle || !jinja_charge(run, self.as.string->size / 16))
        return jinja_undefined(NULL);
    if (needle->size == 0)
        return jinja_int((int64_t)jinja_code_points(self.as.string) + 1);
    for (size_t at = 0; (at = jinja_find_bytes(self.as.string, needle, at)) != SIZE_MAX; n++)
        at += needle->size;
    return jinja_int(n);
}

static struct jinja_value partition_at(struct jinja_run *run, struct jinja_value self,
                                       struct jinja_value argument, bool last)
{
    const struct jinja_string *s = self.as.string;
    const struct jinja_string *separator = jinja_string_argument(run, argument);
    struct jinja_value tuple = jinja_list_new(run, JINJA_SEQ_TUPLE, 3);
    size_t at;

    if (!separator || run->status)
        return jinja_undefined(NULL);
    if (separator->size == 0)
        return jinja_fail(run, LLM_E_FORMAT, "empty separator");
    at = last ? jinja_find_last(s, separator, s->size) : jinja_find_bytes(s, separator, 0);
    if (at == SIZE_MAX) {
        struct jinja_value empty = jinja_text(run, "");

        jinja_list_add(run, tuple, last ? empty : self);
        jinja_list_add(run, tuple, empty);
        jinja_list_add(run, tuple, last ? self : empty);
        return tuple;
    }
    jinja_list_add(run, tuple, jinja_slice_of(run, s, 0, at));
    jinja_list_add(run, tuple, jinja_slice_of(run, s, at, at + separator->size));
    jinja_list_add(run, tuple, jinja_slice_of(run, s, at + separator->size, s->size));
    return tuple;
}

METHOD(partition)
{
    (void)args;
    return partition_at(run, self, argv[0], false);
}

METHOD(rpartition)
{
    (void)args;
    return partition_at(run, self, argv[0], true);
}

METHOD(join)
{
    struct jinja_value items = jinja_walk(run, argv[0]);
    struct jinja_builder builder;

    (void)args;
    jinja_builder_init(&builder, run);
    for (size_t i = 0; !run->status && i < items.as.list->count; i++) {
        if (items.as.list->items[i].type != JINJA_STRING)
            return jinja_fail(run, LLM_E_FORMAT,
                              "sequence item %zu: expected str instance, %s found", i,
                              jinja_type_name(items.as.list->items[i]));
        if (i)
            jinja_build_string(&builder, self.as.string);
        jinja_build_string(&builder, items.as.list->items[i].as.string);
    }
    return jinja_built(&builder);
}

METHOD(format)
{
    (void)argv;
    return jinja_format_braces(run, self.as.string, args);
}

/* ---- tests of all characters ---- */

static bool is_digit(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}

static bool is_alpha(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);

    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

static bool is_alnum(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);

    return is_alpha(c) || category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
           category == UTF8PROC_CATEGORY_NO;
}

static struct jinja_value all(const struct jinja_string *s, bool (*is)(uint32_t))
{
    size_t size;

    for (size_t i = 0; i < s->size; i += size) {
        if (!is(jinja_code_point(s, i, &size)))
            return jinja_bool(false);
    }
    return jinja_bool(s->size > 0);
}

/* Digits of all kinds: raised and lowered ones too. */
static bool is_any_digit(uint32_t c)
{
    return is_digit(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 ||
           (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089);
}

static bool is_numeric(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);

    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

METHOD(isdigit_method)
{
    (void)argv, (void)args;
    jinja_charge(run, self.as.string->size / 16);
    return all(self.as.string, is_any_digit);
}

METHOD(isdecimal_method)
{
    (void)argv, (void)args;
    jinja_charge(run, self.as.string->size / 16);
    return all(self.as.string, is_digit);
}

METHOD(isnumeric_method)
{
    (void)argv, (void)args;
    jinja_charge(run, self.as.string->size / 16);
    return all(self.as.string, is_numeric);
}

METHOD(isalpha_method)
{
    (void)argv, (void)args;
    jinja_charge(run, self.as.string->size / 16);
    return all(self.as.string, is_alpha);
}

METHOD(isalnum_method)
{
    (void)argv, (void)args;
    jinja_charge(run, self.as.string->size / 16);
    return all(self.as.string, is_alnum);
}

METHOD(isspace_method)
{
    (void)argv, (void)args;
    jinja_charge(run, self.as.string->size / 16);
    return all(self.as.string, jinja_is_white);
}

/* Some cased character, and all of them of this case. */
static struct jinja_value one_case(const struct jinja_string *s, utf8proc_category_t wanted)
{
    bool found = false;
    size_t size;

    for (size_t i = 0; i < s->size; i += size) {
        uint32_t c = jinja_code_point(s, i, &size);

        if (jinja_is_cased(c) && utf8proc_category((utf8proc_int32_t)c) != wanted)
            return jinja_bool(false);
        found = found || jinja_is_cased(c);
    }
    return jinja_bool(found);
}

METHOD(isupper_method)
{
    (void)argv, (void)args;
    jinja_charge(run, self.as.string->size / 16);
    return one_case(self.as.string, UTF8PROC_CATEGORY_LU);
}

METHOD(islower_method)
{
    (void)argv, (void)args;
    jinja_charge(run, self.as.string->size / 16);
    return one_case(self.as.string, UTF8PROC_CATEGORY_LL);
}

/* ---- to a width ---- */

static struct jinja_value justify(struct jinja_run *run, struct jinja_value self,
                                  const struct jinja_value *argv, int side)
{
    const struct jinja_string *s = self.as.string;
    int64_t count = (int64_t)jinja_code_points(s);
    int64_t width = jinja_int_argument(run, argv[0], 0);
    const struct jinja_string *fill =
        jinja_given(argv[1]) ? jinja_string_argument(run, argv[1]) : NULL;
    int64_t missing = width > count ? width - count : 0;
    int64_t left = side < 0 ? 0 : side > 0 ? missing : missing / 2 + (missing & width & 1);
    struct jinja_builder builder;

    jinja_builder_init(&builder, run);
    for (int64_t i = 0; i <= missing && jinja_charge(run, 1); i++) {
        if (i == left)
            jinja_build_string(&builder, s);
        if (i < missing && fill)
            jinja_build_string(&builder, fill);
        else if (i < missing)
            jinja_build_z(&builder, " ");
    }
    return jinja_built(&builder);
}

METHOD(ljust)
{
    (void)args;
    return justify(run, self, argv, -1);
}

METHOD(rjust)
{
    (void)args;
    return justify(run, self, argv, 1);
}

METHOD(center)
{
    (void)args;
    return justify(run, self, argv, 0);
}

const struct jinja_builtin jinja_string_methods[] = {
    {"strip", "chars=", strip},
    {"lstrip", "chars=", lstrip},
    {"rstrip", "chars=", rstrip},
    {"upper", "", upper},
    {"lower", "", lower},
    {"casefold", "", lower},
    {"title", "", title},
    {"capitalize", "", capitalize},
    {"swapcase", "", swapcase},
    {"replace", "old,new,count=", replace},
    {"split", "sep=,maxsplit=", split},
    {"rsplit", "sep=,maxsplit=", rsplit},
    {"splitlines", "keepends=", splitlines},
    {"startswith", "prefix", startswith},
    {"endswith", "suffix", endswith},
    {"removeprefix", "prefix", removeprefix},
    {"removesuffix", "suffix", removesuffix},
    {"find", "sub,start=,end=", find},
    {"rfind", "sub,start=,end=", rfind},
    {"index", "sub,start=,end=", index_of},
    {"rindex", "sub,start=,end=", last_index_of},
    {"count", "sub", count},
    {"partition", "sep", partition},
    {"rpartition", "sep", rpartition},
    {"join", "iterable", join},
    {"format", "*", format},
    {"isdigit", "", isdigit_method},
    {"isdecimal", "", isdecimal_method},
    {"isnumeric", "", isnumeric_method},
    {"isalpha", "", isalpha_method},
    {"isalnum", "", isalnum_method},
    {"isspace", "", isspace_method},
    {"isupper", "", isupper_method},
    {"islower", "", islower_method},
    {"ljust", "width,fillchar=", ljust},
    {"rjust", "width,fillchar=", rjust},
    {"center", "width,fillchar=", center},
    {NULL, NULL, NULL},
};
