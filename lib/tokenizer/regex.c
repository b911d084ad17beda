/* SPDX-License-Identifier: MIT
 *
 * The automaton of a regular expression. A state is a list of places in the program, the preferred
 * first; what stands behind a match in the list is dropped, which makes the leftmost alternative
 * win without ever going back. Whether a place that looks ahead may be passed depends on the next
 * character, so a state is entered before its branches are followed, and they are followed for each
 * class of next characters. Characters that no set of the pattern tells apart are one class.
 */
#include "tokenizer/regex.h"

#include "tokenizer/codepoint.h"
#include "tokenizer/mapped_text.h"
#include "tokenizer/regex_program.h"
#include "tokenizer/unicode.h"

#include <stdlib.h>
#include <string.h>

enum {
    MOST_CLASSES = 250,
    MOST_CELLS = 1 << 20, /* states times classes */
    MOST_STATES = 1 << 14,
    KEYS = 2 * CATEGORY_COUNT,
    SMALL = 4096 /* code points in an interval that is looked at one by one */
};

struct regex {
    struct memory *memory;
    uint32_t *bounds; /* starts of the intervals of code points, the first being 0 */
    size_t bound_count;
    uint8_t *keys; /* [interval][KEYS]: class */
    uint8_t ascii[128];
    size_t classes;  /* the class `classes` is the end of the text */
    uint32_t *table; /* [state][classes + 1]: next state * 2 + "a match ends here"; state 0: dead */
    uint32_t first;  /* the state at the start */
};

/* While an expression is compiled. */
struct builder {
    struct regex *regex;
    struct regex_program program;
    uint64_t signatures[MOST_CLASSES + 1]; /* by class: which sets hold it */
    uint16_t *places;                      /* the lists of all states, one after the other */
    size_t place_count;
    size_t place_capacity;
    struct {
        uint32_t first;
        uint32_t count;
    } * states;
    size_t state_count;
    size_t state_capacity;
    size_t table_capacity;
    uint32_t *slots; /* hash of lists: state; 0: free */
    uint16_t *stack; /* places to follow */
    uint16_t *list;
    uint8_t *seen;
    size_t list_count;
};

/* ---- classes of characters ---- */

static size_t key_of(uint32_t c)
{
    return (size_t)codepoint_look(c)->category * 2 + ((unicode_look(c) & UNICODE_WORD) != 0);
}

static size_t interval_of(const struct regex *regex, uint32_t c)
{
    size_t low = 0;
    size_t high = regex->bound_count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (regex->bounds[middle] <= c)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static inline size_t class_of(const struct regex *regex, uint32_t c)
{
    if (c < 0x80)
        return regex->ascii[c];
    c = c < 0x110000 ? c : 0xFFFD;
    return regex->keys[interval_of(regex, c) * KEYS + key_of(c)];
}

static int compare_bounds(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;

    return left < right ? -1 : left > right;
}

static llm_status make_bounds(struct builder *builder)
{
    struct regex *regex = builder->regex;
    size_t count = 0;

    regex->bounds = memory_alloc_array(regex->memory, 2 * builder->program.item_count + 2,
                                       sizeof *regex->bounds);
    if (!regex->bounds)
        return LLM_E_NOMEM;
    regex->bounds[count++] = 0;
    regex->bounds[count++] = 0x80;
    for (size_t i = 0; i < builder->program.item_count; i++) {
        const struct set_item *item = &builder->program.items[i];

        if (item->op == SET_RANGE) {
            regex->bounds[count++] = item->low;
            regex->bounds[count++] = item->high + 1;
        }
    }
    qsort(regex->bounds, count, sizeof *regex->bounds, compare_bounds);
    regex->bound_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || regex->bounds[i] != regex->bounds[i - 1])
            regex->bounds[regex->bound_count++] = regex->bounds[i];
    }
    return LLM_OK;
}

static llm_status find_class(struct builder *builder, uint32_t c, size_t key, uint8_t *out)
{
    struct regex *regex = builder->regex;
    uint64_t signature = 0;
    size_t class = 0;

    for (size_t set = 0; set < builder->program.set_count; set++) {
        if (regex_set_holds(&builder->program, set, c, (unsigned)key / 2, key & 1))
            signature |= UINT64_C(1) << set;
    }
    while (class < regex->classes && builder->signatures[class] != signature)
        class ++;
    if (class == regex->classes) {
        if (class == MOST_CLASSES)
            return status_set(LLM_E_UNSUPPORTED, "regular expression: too many kinds of character");
        builder->signatures[regex->classes++] = signature;
    }
    *out = (uint8_t) class;
    return LLM_OK;
}

static llm_status fill_interval(struct builder *builder, size_t interval)
{
    struct regex *regex = builder->regex;
    uint32_t begin = regex->bounds[interval];
    uint32_t end =
        interval + 1 < regex->bound_count ? regex->bounds[interval + 1] : UINT32_C(0x110000);
    uint8_t *keys = regex->keys + interval * KEYS;
    bool done[KEYS] = {false};
    llm_status status = LLM_OK;

    if (end > begin + SMALL) {
        for (size_t key = 0; key < KEYS && !status; key++)
            status = find_class(builder, begin, key, &keys[key]);
        return status;
    }
    for (uint32_t c = begin; c < end && c < 0x110000 && !status; c++) {
        size_t key = key_of(c);

        if (!done[key])
            status = find_class(builder, c, key, &keys[key]);
        done[key] = true;
    }
    return status;
}

static llm_status make_classes(struct builder *builder)
{
    struct regex *regex = builder->regex;
    llm_status status = make_bounds(builder);

    if (status)
        return status;
    regex->keys = memory_alloc_zeroed(regex->memory, regex->bound_count, KEYS);
    if (!regex->keys)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < regex->bound_count && !status; i++)
        status = fill_interval(builder, i);
    for (uint32_t c = 0; c < 128; c++)
        regex->ascii[c] = regex->keys[interval_of(regex, c) * KEYS + key_of(c)];
    return status;
}

/* ---- states ---- */

/* The state whose list is builder->list, a new one if need be. */
static llm_status find_state(struct builder *builder, uint32_t *out)
{
    struct memory *memory = builder->regex->memory;
    size_t mask = 2 * MOST_STATES - 1;
    size_t slot = builder->list_count;
    llm_status status;

    *out = 0;
    if (builder->list_count == 0)
        return LLM_OK;
    for (size_t i = 0; i < builder->list_count; i++)
        slot = slot * 31 + builder->list[i];
    for (slot = (slot ^ slot >> 15) & mask; builder->slots[slot]; slot = (slot + 1) & mask) {
        uint32_t state = builder->slots[slot];

        if (builder->states[state].count == builder->list_count &&
            memcmp(builder->places + builder->states[state].first, builder->list,
                   builder->list_count * sizeof *builder->list) == 0) {
            *out = state;
            return LLM_OK;
        }
    }
    if (builder->state_count == MOST_STATES ||
        builder->state_count * (builder->regex->classes + 1) > MOST_CELLS)
        return status_set(LLM_E_UNSUPPORTED, "regular expression: too complex");
    status = memory_grow(memory, (void **)&builder->places, &builder->place_capacity,
                         builder->place_count + builder->list_count, sizeof *builder->places);
    if (!status)
        status = memory_grow(memory, (void **)&builder->states, &builder->state_capacity,
                             builder->state_count + 1, sizeof *builder->states);
    if (status)
        return status;
    memcpy(builder->places + builder->place_count, builder->list,
           builder->list_count * sizeof *builder->list);
    builder->states[builder->state_count].first = (uint32_t)builder->place_count;
    builder->states[builder->state_count].count = (uint32_t)builder->list_count;
    builder->place_count += builder->list_count;
    *out = builder->slots[slot] = (uint32_t)builder->state_count++;
    return LLM_OK;
}

/* May a place that looks ahead be passed before a character of `class`? */
static bool passes(const struct builder *builder, const struct code *code, size_t class)
{
    bool ends = class == builder->regex->classes;
    bool holds = !ends && (builder->signatures[class] >> code->x & 1);

    if (code->op == CODE_END)
        return ends;
    if (code->op == CODE_AHEAD)
        return ends ? code->y != 0 : holds;
    return !holds;
}

/* What a state becomes on a character of `class`: the list, in builder->list. True: a match ends
 * before that character. */
static bool step(struct builder *builder, uint32_t state, size_t class)
{
    const struct code *program = builder->program.code;
    const uint16_t *places = builder->places + builder->states[state].first;
    bool ends = class == builder->regex->classes;

    builder->list_count = 0;
    memset(builder->seen, 0, builder->program.code_count);
    for (uint32_t i = 0; i < builder->states[state].count; i++) {
        size_t depth = 0;

        builder->stack[depth++] = places[i];
        while (depth > 0) {
            uint16_t at = builder->stack[--depth];
            const struct code *code = &program[at];

            if (builder->seen[at])
                continue;
            builder->seen[at] = 1;
            if (code->op == CODE_MATCH)
                return true;
            if (code->op == CODE_SPLIT) {
                builder->stack[depth++] = (uint16_t)(at + code->y);
                builder->stack[depth++] = (uint16_t)(at + code->x);
            } else if (code->op == CODE_JUMP) {
                builder->stack[depth++] = (uint16_t)(at + code->x);
            } else if (code->op == CODE_SET) {
                if (!ends && (builder->signatures[class] >> code->x & 1))
                    builder->list[builder->list_count++] = (uint16_t)(at + 1);
            } else if (passes(builder, code, class)) {
                builder->stack[depth++] = (uint16_t)(at + 1);
            }
        }
    }
    return false;
}

static llm_status make_states(struct builder *builder)
{
    struct regex *regex = builder->regex;
    size_t width = regex->classes + 1;
    llm_status status;

    /* State 0 is dead. */
    status = memory_grow(regex->memory, (void **)&builder->states, &builder->state_capacity, 1,
                         sizeof *builder->states);
    if (status)
        return status;
    builder->states[0].first = builder->states[0].count = 0;
    builder->state_count = 1;
    builder->list[0] = 0;
    builder->list_count = 1;
    status = find_state(builder, &regex->first);
    for (size_t state = 0; state < builder->state_count && !status; state++) {
        status = memory_grow(regex->memory, (void **)&regex->table, &builder->table_capacity,
                             (state + 1) * width, sizeof *regex->table);
        for (size_t class = 0; class < width && !status; class ++) {
            bool match = step(builder, (uint32_t)state, class);
            uint32_t next;

            status = find_state(builder, &next);
            if (!status)
                regex->table[state * width + class] = next * 2 + match;
            if (!status && match && state == regex->first)
                status = status_set(LLM_E_UNSUPPORTED,
                                    "regular expression: matching nothing is not supported");
        }
    }
    return status;
}

static llm_status build(struct builder *builder)
{
    struct memory *memory = builder->regex->memory;
    size_t count = builder->program.code_count;

    builder->slots = memory_alloc_zeroed(memory, 2 * MOST_STATES, sizeof *builder->slots);
    builder->stack = memory_alloc_array(memory, 2 * count + 2, sizeof *builder->stack);
    builder->list = memory_alloc_array(memory, count + 1, sizeof *builder->list);
    builder->seen = memory_alloc_zeroed(memory, count, 1);
    if (!builder->slots || !builder->stack || !builder->list || !builder->seen)
        return LLM_E_NOMEM;
    return make_states(builder);
}

llm_status regex_compile(struct regex **out, struct memory *memory, const char *pattern,
                         size_t size)
{
    struct regex *regex = memory_alloc_zeroed(memory, 1, sizeof *regex);
    struct builder *builder = memory_alloc_zeroed(memory, 1, sizeof *builder);
    llm_status status = LLM_E_NOMEM;

    *out = NULL;
    if (regex)
        regex->memory = memory;
    if (!regex || !builder)
        goto done;
    builder->regex = regex;
    status = regex_parse(&builder->program, memory, pattern, size);
    if (!status)
        status = make_classes(builder);
    if (!status)
        status = build(builder);
    if (!status)
        *out = regex;
done:
    if (builder) {
        regex_program_free(&builder->program);
        memory_release(memory, builder->places);
        memory_release(memory, builder->states);
        memory_release(memory, builder->slots);
        memory_release(memory, builder->stack);
        memory_release(memory, builder->list);
        memory_release(memory, builder->seen);
        memory_release(memory, builder);
    }
    if (status)
        regex_free(regex);
    return status;
}

void regex_free(struct regex *regex)
{
    if (!regex)
        return;
    memory_release(regex->memory, regex->bounds);
    memory_release(regex->memory, regex->keys);
    memory_release(regex->memory, regex->table);
    memory_release(regex->memory, regex);
}

/* ---- searching ---- */

bool regex_find(const struct regex *regex, const char *text, size_t size, size_t from,
                size_t *begin, size_t *end, size_t *budget)
{
    size_t width = regex->classes + 1;

    while (from < size) {
        uint32_t state = regex->first;
        size_t best = 0;
        size_t at = from;
        size_t first = 0; /* size of the first character */

        while (state) {
            size_t class = regex->classes;
            size_t length = 0;
            uint32_t entry;

            if (at < size)
                class = class_of(regex, mapped_char(text, size, at, &length));
            first = first ? first : length;
            if (--*budget == 0)
                return false;
            entry = regex->table[state * width + class];
            if (entry & 1)
                best = at;
            state = length ? entry >> 1 : 0;
            at += length;
        }
        if (best > from) {
            *begin = from;
            *end = best;
            return true;
        }
        from += first;
    }
    return false;
}
