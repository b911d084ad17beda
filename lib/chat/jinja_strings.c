/* SPDX-License-Identifier: MIT
 *
 * What Python's str can do: case, strip, split, replace, find. Positions in the templates count
 * code points, positions here bytes. Every result remembers which of its bytes are input.
 */
#include "chat/jinja_builtins.h"

#include <string.h>
#include <utf8proc.h>

bool jinja_is_white(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

/* The code point at byte `position`; *size its bytes. */
static uint32_t code_point(const struct jinja_string *string, size_t position, size_t *size)
{
    const unsigned char *data = (const unsigned char *)string->data;
    const unsigned char *cursor = data + position;
    bool valid;
    uint32_t c = utf8_next(&cursor, data + string->size, &valid);

    *size = (size_t)(cursor - data) - position;
    return c;
}

static size_t before(const struct jinja_string *string, size_t position)
{
    position--;
    while (position > 0 && ((unsigned char)string->data[position] & 0xC0) == 0x80)
        position--;
    return position;
}

size_t jinja_find_bytes(const struct jinja_string *string, const struct jinja_string *needle,
                        size_t from)
{
    const char *end = string->data + string->size;
    const char *at = string->data + from;

    if (needle->size == 0)
        return from;
    while ((size_t)(end - at) >= needle->size) {
        at = memchr(at, needle->data[0], (size_t)(end - at) - needle->size + 1);
        if (!at)
            break;
        if (memcmp(at, needle->data, needle->size) == 0)
            return (size_t)(at - string->data);
        at++;
    }
    return SIZE_MAX;
}

/* Is the code point at `position` one of those to strip? */
static bool is_stripped(const struct jinja_string *string, size_t position, size_t size, uint32_t c,
                        const struct jinja_string *characters)
{
    struct jinja_string one = {string->data + position, size, NULL, JINJA_TRUSTED};

    return characters ? jinja_find_bytes(characters, &one, 0) != SIZE_MAX : jinja_is_white(c);
}

struct jinja_value jinja_strip(struct jinja_run *run, const struct jinja_string *string,
                               const struct jinja_string *characters, int sides)
{
    size_t begin = 0;
    size_t end = string->size;
    size_t size;

    while ((sides & 1) && begin < end && jinja_charge(run, characters ? 1 : 0)) {
        uint32_t c = code_point(string, begin, &size);

        if (!is_stripped(string, begin, size, c, characters))
            break;
        begin += size;
    }
    while ((sides & 2) && end > begin && jinja_charge(run, characters ? 1 : 0)) {
        size_t last = before(string, end);
        uint32_t c = code_point(string, last, &size);

        if (last + size != end || !is_stripped(string, last, size, c, characters))
            break;
        end = last;
    }
    return jinja_slice_of(run, string, begin, end);
}

struct jinja_value jinja_replace(struct jinja_run *run, const struct jinja_string *string,
                                 const struct jinja_string *old, const struct jinja_string *fresh,
                                 int64_t count)
{
    struct jinja_builder builder;
    size_t done = 0;

    jinja_builder_init(&builder, run);
    if (!jinja_charge(run, string->size / 32))
        return jinja_undefined(NULL);
    for (size_t from = 0; count != 0 && !run->status; count--) {
        size_t found = jinja_find_bytes(string, old, from);

        if (found == SIZE_MAX)
            break;
        jinja_build_slice(&builder, string, done, found);
        jinja_build_string(&builder, fresh);
        done = found + old->size;
        from = done;
        if (old->size == 0) { /* between all characters */
            size_t size = 0;

            if (from == string->size)
                break;
            (void)code_point(string, from, &size);
            from += size;
            jinja_charge(run, 1);
        }
    }
    jinja_build_slice(&builder, string, done, string->size);
    return jinja_built(&builder);
}

/* ---- case --------------------------------------------------------------------------------------
 */

static void build_code_point(struct jinja_builder *builder, uint32_t c, enum jinja_trust trust)
{
    char bytes[4];
    int size = utf8_encode(c, bytes);

    jinja_build(builder, bytes, (size_t)size, trust);
}

/* The few upper and title cases that are more than one character and occur in running text. */
static bool build_special(struct jinja_builder *builder, uint32_t c, bool title,
                          enum jinja_trust trust)
{
    static const struct {
        uint32_t c;
        const char *upper, *title;
    } table[] = {{0xDF, "SS", "Ss"},     {0x149, "\xCA\xBCN", "\xCA\xBCN"},
                 {0xFB00, "FF", "Ff"},   {0xFB01, "FI", "Fi"},
                 {0xFB02, "FL", "Fl"},   {0xFB03, "FFI", "Ffi"},
                 {0xFB04, "FFL", "Ffl"}, {0xFB05, "ST", "St"},
                 {0xFB06, "ST", "St"},   {0x587, "\xD4\xB5\xD5\x92", "\xD4\xB5\xD6\x82"}};

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].c == c) {
            const char *text = title ? table[i].title : table[i].upper;

            jinja_build(builder, text, strlen(text), trust);
            return true;
        }
    }
    return false;
}

static bool is_cased(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);

    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
           category == UTF8PROC_CATEGORY_LT;
}

/* Sigma at the end of a word has a form of its own. */
static bool ends_word(const struct jinja_string *string, size_t position, size_t size)
{
    size_t length;

    if (position == 0 || !is_cased(code_point(string, before(string, position), &length)))
        return false;
    return position + size >= string->size ||
           !is_cased(code_point(string, position + size, &length));
}

static void build_lower(struct jinja_builder *builder, const struct jinja_string *string,
                        size_t position, size_t size, uint32_t c)
{
    enum jinja_trust trust = jinja_trust_at(string, position);

    if (c == 0x3A3 && ends_word(string, position, size))
        build_code_point(builder, 0x3C2, trust);
    else if (c == 0x130)
        jinja_build(builder, "i\xCC\x87", 3, trust);
    else
        build_code_point(builder, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c), trust);
}

static void build_upper(struct jinja_builder *builder, const struct jinja_string *string,
                        size_t position, uint32_t c, bool title)
{
    enum jinja_trust trust = jinja_trust_at(string, position);

    if (!build_special(builder, c, title, trust))
        build_code_point(builder,
                         (uint32_t)(title ? utf8proc_totitle((utf8proc_int32_t)c)
                                          : utf8proc_toupper((utf8proc_int32_t)c)),
                         trust);
}

struct jinja_value jinja_change_case(struct jinja_run *run, const struct jinja_string *string,
                                     enum jinja_case how)
{
    struct jinja_builder builder;
    bool in_word = false;
    size_t size;

    jinja_builder_init(&builder, run);
    if (!jinja_charge(run, string->size / 8))
        return jinja_undefined(NULL);
    for (size_t i = 0; i < string->size && !run->status; i += size) {
        uint32_t c = code_point(string, i, &size);
        bool upper = how == JINJA_UPPER || (how == JINJA_CAPITALIZE && i == 0) ||
                     (how == JINJA_TITLE && !in_word);

        if (how == JINJA_SWAPCASE)
            upper = utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_LL;
        in_word = is_cased(c);
        if (upper)
            build_upper(&builder, string, i, c, how != JINJA_UPPER && how != JINJA_SWAPCASE);
        else
            build_lower(&builder, string, i, size, c);
    }
    return jinja_built(&builder);
}

/* ---- methods -----------------------------------------------------------------------------------
 */

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

        while (position < s->size && jinja_is_white(code_point(s, position, &size)))
            position += size;
        if (position == s->size)
            return;
        begin = position;
        if (most-- == 0) {
            struct jinja_value rest = jinja_slice_of(run, s, begin, s->size);

            if (!run->status)
                jinja_list_add(run, list, jinja_strip(run, rest.as.string, NULL, 2));
            return;
        }
        while (position < s->size && !jinja_is_white(code_point(s, position, &size)))
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

        while (end > 0 && jinja_is_white(code_point(s, before(s, end), &size)))
            end = before(s, end);
        if (end == 0)
            break;
        if (most-- == 0) {
            struct jinja_value rest = jinja_slice_of(run, s, 0, end);

            if (!run->status)
                jinja_list_add(run, list, jinja_strip(run, rest.as.string, NULL, 1));
            break;
        }
        begin = end;
        while (begin > 0 && !jinja_is_white(code_point(s, before(s, begin), &size)))
            begin = before(s, begin);
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

/* The last occurrence that ends at or before `end`. */
static size_t find_last(const struct jinja_string *s, const struct jinja_string *needle, size_t end)
{
    if (needle->size > end)
        return SIZE_MAX;
    for (size_t at = end - needle->size + 1; at-- > 0;) {
        if (memcmp(s->data + at, needle->data, needle->size) == 0)
            return at;
    }
    return SIZE_MAX;
}

static void rsplit_at(struct jinja_run *run, const struct jinja_string *s,
                      const struct jinja_string *separator, int64_t most, struct jinja_value list)
{
    size_t end = s->size;
    size_t found;

    while (!run->status && most-- != 0 && (found = find_last(s, separator, end)) != SIZE_MAX) {
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
        uint32_t c = code_point(s, i, &size);

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
    found = last ? find_last(&part, needle, part.size) : jinja_find_bytes(&part, needle, begin);
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
    at = last ? find_last(s, separator, s->size) : jinja_find_bytes(s, separator, 0);
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
        if (!is(code_point(s, i, &size)))
            return jinja_bool(false);
    }
    return jinja_bool(s->size > 0);
}

METHOD(isdigit_method)
{
    (void)argv, (void)args;
    jinja_charge(run, self.as.string->size / 16);
    return all(self.as.string, is_digit);
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
        uint32_t c = code_point(s, i, &size);

        if (is_cased(c) && utf8proc_category((utf8proc_int32_t)c) != wanted)
            return jinja_bool(false);
        found = found || is_cased(c);
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
    {"isdecimal", "", isdigit_method},
    {"isnumeric", "", isdigit_method},
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
