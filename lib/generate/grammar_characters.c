/* SPDX-License-Identifier: MIT
 *
 * Sets of characters, and their UTF-8 as ranges of bytes: a range of code points splits into
 * products of byte ranges (after Cox, "Regular expression matching in the wild", 2010).
 */
#include "generate/grammar_build.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

void set_add(struct builder *builder, struct character_set *set, uint32_t low, uint32_t high)
{
    llm_status status;

    if (builder->status)
        return;
    status = memory_grow(builder->memory, (void **)&set->ranges, &set->capacity, set->count + 1,
                         sizeof *set->ranges);
    if (status)
        builder_fail(builder, status);
    else
        set->ranges[set->count++] = (struct character_range){low, high};
}

void set_free(struct builder *builder, struct character_set *set)
{
    memory_release(builder->memory, set->ranges);
    memset(set, 0, sizeof *set);
}

static int by_low(const void *a, const void *b)
{
    const struct character_range *x = a;
    const struct character_range *y = b;

    return x->low < y->low ? -1 : x->low > y->low;
}

static void merge(struct character_set *set)
{
    size_t kept = 0;

    if (set->count)
        qsort(set->ranges, set->count, sizeof *set->ranges, by_low);
    for (size_t i = 0; i < set->count; i++) {
        struct character_range range = set->ranges[i];

        if (kept && range.low <= set->ranges[kept - 1].high + 1) {
            if (range.high > set->ranges[kept - 1].high)
                set->ranges[kept - 1].high = range.high;
        } else {
            set->ranges[kept++] = range;
        }
    }
    set->count = kept;
}

void set_finish(struct builder *builder, struct character_set *set, bool is_negated)
{
    struct character_set rest = {NULL, 0, 0};
    uint32_t next = 0;

    merge(set);
    if (!is_negated)
        return;
    for (size_t i = 0; i < set->count; i++) {
        if (set->ranges[i].low > next)
            set_add(builder, &rest, next, set->ranges[i].low - 1);
        next = set->ranges[i].high + 1;
    }
    if (next <= CHARACTER_MOST)
        set_add(builder, &rest, next, CHARACTER_MOST);
    set_free(builder, set);
    *set = rest;
}

/* ---- UTF-8 ------------------------------------------------------------------------------------
 */

/* A range whose two ends differ in trailing bytes that run through all their values: a product. */
static void add_product(struct builder *builder, struct fragment all, uint32_t low, uint32_t high)
{
    char from[4], to[4];
    int size = utf8_encode(low, from);
    struct fragment product = build_empty(builder);

    (void)utf8_encode(high, to);
    for (int i = 0; i < size && !builder->status; i++)
        product =
            build_then(builder, product, build_bytes(builder, (uint8_t)from[i], (uint8_t)to[i]));
    build_way(builder, all.first, product.first);
    build_way(builder, product.last, all.last);
}

/* Splits [low, high] until it is a product: returns the end of its first part. */
static uint32_t first_product(uint32_t low, uint32_t high)
{
    static const uint32_t borders[] = {0x7f, 0x7ff, 0xd7ff, 0xffff};

    for (size_t i = 0; i < sizeof borders / sizeof *borders; i++) {
        if (low <= borders[i] && borders[i] < high)
            high = borders[i];
    }
    for (int i = 1; i <= 3 && high > 0x7f; i++) {
        uint32_t mask = (1u << 6 * i) - 1;

        if ((low & ~mask) == (high & ~mask))
            continue;
        if (low & mask)
            high = low | mask;
        else if ((high & mask) != mask)
            high = (high & ~mask) - 1;
    }
    return high;
}

static void add_range(struct builder *builder, struct fragment all, uint32_t low, uint32_t high)
{
    while (low <= high && !builder->status) {
        uint32_t end;

        if (low >= 0xd800 && low <= 0xdfff) {
            low = 0xe000;
            continue;
        }
        end = first_product(low, high);
        add_product(builder, all, low, end);
        low = end + 1;
    }
}

/* ---- spellings --------------------------------------------------------------------------------
 */

/* The escape of a character that cannot stand in a JSON string as it is; 0: it can. */
static size_t json_escape(char out[8], uint32_t character)
{
    static const char names[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    static const char digits[] = "0123456789abcdef";
    const char *found = character && character < 0x80 ? strchr(names, (int)character) : NULL;

    if (found) {
        out[0] = '\\';
        out[1] = letters[found - names];
        return 2;
    }
    if (character >= 0x20)
        return 0;
    memcpy(out, "\\u00", 4);
    out[4] = digits[character >> 4];
    out[5] = digits[character & 15];
    return 6;
}

struct fragment build_character(struct builder *builder, uint32_t character, enum spelling spelling)
{
    char text[8];
    size_t size = spelling == SPELL_JSON ? json_escape(text, character) : 0;

    if (!size)
        size = (size_t)utf8_encode(character, text);
    return build_text(builder, text, size);
}

/* All but the characters that are escaped, which are few and lie below 0x5d. */
static void add_plain_part(struct builder *builder, struct fragment all,
                           struct character_range range)
{
    while (range.low <= range.high && range.low <= '\\') {
        struct fragment one = build_character(builder, range.low, SPELL_JSON);

        build_way(builder, all.first, one.first);
        build_way(builder, one.last, all.last);
        range.low++;
    }
    add_range(builder, all, range.low, range.high);
}

struct fragment build_set(struct builder *builder, const struct character_set *set,
                          enum spelling spelling)
{
    struct fragment all = {build_jump(builder), build_jump(builder)};

    for (size_t i = 0; i < set->count && !builder->status; i++) {
        if (spelling == SPELL_JSON)
            add_plain_part(builder, all, set->ranges[i]);
        else
            add_range(builder, all, set->ranges[i].low, set->ranges[i].high);
    }
    return all;
}
