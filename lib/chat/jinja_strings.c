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
uint32_t jinja_code_point(const struct jinja_string *string, size_t position, size_t *size)
{
    const unsigned char *data = (const unsigned char *)string->data;
    const unsigned char *cursor = data + position;
    bool valid;
    uint32_t c = utf8_next(&cursor, data + string->size, &valid);

    *size = (size_t)(cursor - data) - position;
    return c;
}

size_t jinja_before(const struct jinja_string *string, size_t position)
{
    position--;
    while (position > 0 && ((unsigned char)string->data[position] & 0xC0) == 0x80)
        position--;
    return position;
}

enum { SHORT_NEEDLE = 32 };

static size_t find_short(const struct jinja_string *string, const struct jinja_string *needle,
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

/* A byte of a text read from its beginning or from its end. */
static uint64_t byte_of(const char *data, size_t size, size_t index, bool backwards)
{
    return (unsigned char)data[backwards ? size - 1 - index : index];
}

/* Long needles: Rabin and Karp's rolling hash, so that the time stays in proportion to the text
 * whatever it holds. How much of the text, read in that direction, stands before the match. */
static size_t find_long(const char *data, size_t size, const struct jinja_string *needle,
                        bool backwards)
{
    const uint64_t prime = 4294967291u;
    const uint64_t base = 16777619u;
    size_t length = needle->size;
    uint64_t wanted = 0;
    uint64_t hash = 0;
    uint64_t power = 1; /* base^(length - 1) */

    if (length > size)
        return SIZE_MAX;
    for (size_t i = 0; i < length; i++) {
        wanted = (wanted * base + byte_of(needle->data, length, i, backwards)) % prime;
        hash = (hash * base + byte_of(data, size, i, backwards)) % prime;
        power = i ? power * base % prime : power;
    }
    for (size_t i = 0;; i++) {
        uint64_t gone;

        if (hash == wanted &&
            memcmp(data + (backwards ? size - i - length : i), needle->data, length) == 0)
            return i;
        if (i + length >= size)
            return SIZE_MAX;
        gone = byte_of(data, size, i, backwards) * power % prime;
        hash = ((hash + prime - gone) * base + byte_of(data, size, i + length, backwards)) % prime;
    }
}

size_t jinja_find_last(const struct jinja_string *string, const struct jinja_string *needle,
                       size_t end)
{
    size_t found;

    if (needle->size > end)
        return SIZE_MAX;
    if (needle->size > SHORT_NEEDLE) {
        found = find_long(string->data, end, needle, true);
        return found == SIZE_MAX ? SIZE_MAX : end - found - needle->size;
    }
    for (size_t at = end - needle->size + 1; at-- > 0;) {
        if (memcmp(string->data + at, needle->data, needle->size) == 0)
            return at;
    }
    return SIZE_MAX;
}

size_t jinja_find_bytes(const struct jinja_string *string, const struct jinja_string *needle,
                        size_t from)
{
    if (needle->size > SHORT_NEEDLE) {
        size_t found = find_long(string->data + from, string->size - from, needle, false);

        return found == SIZE_MAX ? SIZE_MAX : from + found;
    }
    return find_short(string, needle, from);
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

    while ((sides & 1) && begin < end &&
           jinja_charge(run, characters ? 1 + characters->size / 64 : 0)) {
        uint32_t c = jinja_code_point(string, begin, &size);

        if (!is_stripped(string, begin, size, c, characters))
            break;
        begin += size;
    }
    while ((sides & 2) && end > begin &&
           jinja_charge(run, characters ? 1 + characters->size / 64 : 0)) {
        size_t last = jinja_before(string, end);
        uint32_t c = jinja_code_point(string, last, &size);

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
            (void)jinja_code_point(string, from, &size);
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

bool jinja_is_cased(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);

    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
           category == UTF8PROC_CATEGORY_LT;
}

/* Sigma at the end of a word has a form of its own. */
static bool ends_word(const struct jinja_string *string, size_t position, size_t size)
{
    size_t length;

    if (position == 0 ||
        !jinja_is_cased(jinja_code_point(string, jinja_before(string, position), &length)))
        return false;
    return position + size >= string->size ||
           !jinja_is_cased(jinja_code_point(string, position + size, &length));
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
        uint32_t c = jinja_code_point(string, i, &size);
        bool upper = how == JINJA_UPPER || (how == JINJA_CAPITALIZE && i == 0) ||
                     (how == JINJA_TITLE && !in_word);

        if (how == JINJA_SWAPCASE)
            upper = utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_LL;
        in_word = jinja_is_cased(c);
        if (upper)
            build_upper(&builder, string, i, c, how != JINJA_UPPER && how != JINJA_SWAPCASE);
        else
            build_lower(&builder, string, i, size, c);
    }
    return jinja_built(&builder);
}
