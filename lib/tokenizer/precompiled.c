/* SPDX-License-Identifier: MIT */
#include "tokenizer/precompiled.h"

#include "tokenizer/unicode.h"

#include <string.h>
#include <utf8proc.h>

enum { SMALL_CLUSTER = 6 };

static uint32_t read_u32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- units of the double array ---- */

static bool has_leaf(uint32_t unit)
{
    return (unit >> 8 & 1) != 0;
}

static uint32_t unit_label(uint32_t unit)
{
    return unit & (UINT32_C(1) << 31 | 0xFF);
}

static size_t unit_offset(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & UINT32_C(1) << 9) >> 6);
}

/* A walk from the root. `base` is where the children of the node reached stand. */
struct walk {
    size_t base;
};

static bool walk_start(const struct charsmap *map, struct walk *walk)
{
    if (map->unit_count == 0)
        return false;
    walk->base = unit_offset(map->units[0]);
    return true;
}

/* Follow one byte; *value is the rule that ends here, or stays negative. */
static bool walk_step(const struct charsmap *map, struct walk *walk, unsigned char byte,
                      int64_t *value)
{
    size_t node = walk->base ^ byte;

    *value = -1;
    if (node >= map->unit_count || unit_label(map->units[node]) != byte)
        return false;
    walk->base = node ^ unit_offset(map->units[node]);
    if (has_leaf(map->units[node]) && walk->base < map->unit_count)
        *value = map->units[walk->base] & (UINT32_MAX >> 1);
    return true;
}

static void set_match(const struct charsmap *map, struct charsmap_match *match, int64_t value,
                      size_t length)
{
    if ((size_t)value >= map->strings_size)
        return;
    match->text = map->strings + value;
    match->size = strlen(match->text);
    match->length = length;
}

/* ---- reading ---- */

/* Which ASCII characters can be copied without a look at the rules: those that no rule of one
 * character changes and no rule of two ASCII characters starts with. */
static void find_plain(struct charsmap *map)
{
    for (unsigned c = 0; c < 128; c++) {
        struct walk walk;
        struct walk next;
        int64_t value;

        map->plain[c] = true;
        if (!walk_start(map, &walk) || !walk_step(map, &walk, (unsigned char)c, &value))
            continue;
        if (value >= 0)
            map->plain[c] = false;
        for (unsigned d = 0; d < 128 && map->plain[c]; d++) {
            next = walk;
            if (walk_step(map, &next, (unsigned char)d, &value))
                map->plain[c] = false;
        }
    }
}

/* Bytes of a replacement when its spaces become U+2581. */
static size_t spaced_size(const char *text)
{
    size_t size = 0;

    for (; *text; text++)
        size += *text == ' ' ? 3 : 1;
    return size;
}

/* How much text can grow: rules of one and two bytes are looked at one by one, for all others the
 * longest replacement stands against three bytes. */
static size_t find_growth(const struct charsmap *map)
{
    size_t growth = 3;
    struct walk root;

    for (const char *text = map->strings; text < map->strings + map->strings_size;
         text += strlen(text) + 1) {
        size_t size = (spaced_size(text) + 2) / 3;

        growth = size > growth ? size : growth;
    }
    if (!walk_start(map, &root))
        return growth;
    for (unsigned first = 0; first < 256; first++) {
        struct walk one = root;
        int64_t value;

        if (!walk_step(map, &one, (unsigned char)first, &value))
            continue;
        for (unsigned second = 0; second <= 256; second++) {
            struct charsmap_match match = {NULL, 0, 0};
            struct walk two = one;
            size_t length = 1;

            if (second > 0 && !walk_step(map, &two, (unsigned char)(second - 1), &value))
                continue;
            length += second > 0;
            if (value >= 0)
                set_match(map, &match, value, length);
            if (match.text && (spaced_size(match.text) + length - 1) / length > growth)
                growth = (spaced_size(match.text) + length - 1) / length;
        }
    }
    return growth;
}

llm_status charsmap_open(struct charsmap *map, struct memory *memory, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    size_t units_size;

    *map = (struct charsmap){.memory = memory, .growth = 3};
    find_plain(map);
    if (size == 0)
        return LLM_OK;
    units_size = size < 4 ? 0 : read_u32(bytes);
    if (size < 4 || units_size > size - 4 || units_size % 4 != 0 || units_size == 0)
        return status_set(LLM_E_FORMAT,
                          "precompiled_charsmap: %zu bytes do not hold a table of %zu bytes", size,
                          units_size);
    if (size - 4 == units_size || bytes[size - 1] != 0)
        return status_set(LLM_E_FORMAT, "precompiled_charsmap: the replacements do not end");
    map->data = (unsigned char *)memory_copy_text(memory, data, size);
    map->units = memory_alloc_array(memory, units_size / 4, sizeof *map->units);
    if (!map->data || !map->units) {
        charsmap_close(map);
        return LLM_E_NOMEM;
    }
    map->size = size;
    map->unit_count = units_size / 4;
    for (size_t i = 0; i < map->unit_count; i++)
        map->units[i] = read_u32(bytes + 4 + 4 * i);
    map->strings = (const char *)map->data + 4 + units_size;
    map->strings_size = size - 4 - units_size;
    map->growth = find_growth(map);
    find_plain(map);
    return LLM_OK;
}

void charsmap_close(struct charsmap *map)
{
    if (!map->memory)
        return;
    memory_release(map->memory, map->data);
    memory_release(map->memory, map->units);
    *map = (struct charsmap){.memory = NULL};
}

/* ---- matching ---- */

struct charsmap_match charsmap_longest(const struct charsmap *map, const unsigned char *p,
                                       const unsigned char *end)
{
    struct charsmap_match match = {NULL, 0, 0};
    struct walk walk;
    int64_t value;

    if (!walk_start(map, &walk))
        return match;
    for (const unsigned char *at = p; at < end && walk_step(map, &walk, *at, &value); at++) {
        if (value >= 0)
            set_match(map, &match, value, (size_t)(at - p) + 1);
    }
    return match;
}

struct charsmap_match charsmap_shortest(const struct charsmap *map, const unsigned char *p,
                                        const unsigned char *end)
{
    struct charsmap_match match = {NULL, 0, 0};
    struct walk walk;
    int64_t value;

    if (!walk_start(map, &walk))
        return match;
    /* A zero byte ends the search, as the double array has no label for it. */
    for (const unsigned char *at = p; at < end && *at && walk_step(map, &walk, *at, &value); at++) {
        if (value < 0)
            continue;
        set_match(map, &match, value, (size_t)(at - p) + 1);
        break;
    }
    return match;
}

/* The end of the extended grapheme cluster at p (UAX 29). */
static const unsigned char *find_cluster_end(const unsigned char *p, const unsigned char *end)
{
    utf8proc_int32_t state = 0;
    uint32_t c;
    uint32_t next;

    p += unicode_next(p, end, &c);
    while (p < end) {
        size_t step = unicode_next(p, end, &next);

        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)c, (utf8proc_int32_t)next, &state))
            break;
        p += step;
        c = next;
    }
    return p;
}

struct charsmap_match charsmap_cluster_step(const struct charsmap *map, const unsigned char *p,
                                            const unsigned char *end,
                                            const unsigned char **cluster_end)
{
    struct charsmap_match match = {NULL, 0, 1};
    uint32_t c;

    /* Two ASCII characters are never one cluster, but for CR LF. */
    if (*p < 128 && map->plain[*p] && (end - p == 1 || p[1] < 128) && *p != '\r')
        return match;
    if (p >= *cluster_end) {
        *cluster_end = find_cluster_end(p, end);
        if (*cluster_end - p < SMALL_CLUSTER) {
            match = charsmap_shortest(map, p, *cluster_end);
            match.length = (size_t)(*cluster_end - p);
            if (match.text)
                return match;
        }
    }
    match = charsmap_shortest(map, p, p + unicode_next(p, end, &c));
    match.length = unicode_next(p, end, &c);
    return match;
}
