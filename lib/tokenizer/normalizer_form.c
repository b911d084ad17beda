/* SPDX-License-Identifier: MIT
 *
 * NFC, NFD, NFKC, NFKD (Unicode Standard Annex #15). Most text is in these forms already: it is
 * copied, and only the stretches around characters that a form may change go through decomposition,
 * sorting by combining class and composition. Origins follow those of Hugging Face tokenizers: each
 * character that comes out says how many it stands for, and these numbers move on through the
 * stretch from left to right, also where sorting changed the order.
 */
#include "tokenizer/codepoint.h"
#include "tokenizer/normalizer.h"

#include <string.h>

/* A character on its way. `change` 1: it is new; -n: it stands for itself and n after it. */
struct item {
    uint32_t c;
    int32_t change;
    uint8_t combining;
};

struct items {
    struct item *list;
    size_t count;
    size_t capacity;
};

static bool is_stable(unsigned form, uint32_t c)
{
    const struct codepoint *known;
    unsigned changes = form & FORM_COMPOSED ? CODEPOINT_UNSTABLE : CODEPOINT_CANONICAL;

    if (c < 0x80 || c >= 0x110000)
        return true;
    if (!(form & FORM_COMPOSED) && c >= 0xAC00 && c < 0xAC00 + 11172)
        return false;
    if (form & FORM_COMPATIBLE)
        changes |= CODEPOINT_COMPATIBLE;
    known = codepoint_look(c);
    return known->combining == 0 && !(known->flags & changes);
}

/* Where the first character that is (`stable`) or is not stable stands, from `at` on; *before: the
 * start of the character before it, or `at`. */
static size_t find(unsigned form, bool stable, const char *data, size_t at, size_t end,
                   size_t *before)
{
    *before = at;
    while (at < end) {
        size_t length;

        if (is_stable(form, mapped_char(data, end, at, &length)) == stable)
            return at;
        *before = at;
        at += length;
    }
    return end;
}

static bool push(struct items *items, struct memory *memory, struct item item)
{
    if (memory_grow(memory, (void **)&items->list, &items->capacity, items->count + 1,
                    sizeof *items->list))
        return false;
    items->list[items->count++] = item;
    return true;
}

/* Sort list[0, count) by combining class, keeping the order within a class: by counting, as a text
 * may consist of nothing but marks. `copy` has room for as many. */
static void sort(struct item *list, size_t count, struct item *copy)
{
    size_t starts[257] = {0};
    bool sorted = true;

    for (size_t i = 1; i < count && sorted; i++)
        sorted = list[i - 1].combining <= list[i].combining;
    if (sorted)
        return;
    for (size_t i = 0; i < count; i++)
        starts[list[i].combining + 1]++;
    for (size_t i = 1; i < 257; i++)
        starts[i] += starts[i - 1];
    for (size_t i = 0; i < count; i++)
        copy[starts[list[i].combining]++] = list[i];
    memcpy(list, copy, count * sizeof *list);
}

/* All of a stretch, decomposed and sorted. */
static bool decompose(unsigned form, struct items *items, struct items *copy, struct memory *memory,
                      const char *data, size_t begin, size_t end)
{
    size_t pending = 0; /* first item that is not sorted yet */

    while (begin < end) {
        uint32_t parts[CODEPOINT_MOST];
        size_t length;
        uint32_t c = mapped_char(data, end, begin, &length);
        size_t count = 1;

        begin += length;
        parts[0] = c;
        if (c < 0x110000)
            count = codepoint_decompose(c, form & FORM_COMPATIBLE, parts);
        for (size_t i = 0; i < count; i++) {
            struct item item = {parts[i], i > 0, 0};

            if (parts[i] < 0x110000)
                item.combining = codepoint_look(parts[i])->combining;
            if (!push(items, memory, item) ||
                memory_grow(memory, (void **)&copy->list, &copy->capacity, items->count,
                            sizeof *copy->list))
                return false;
            if (item.combining == 0) {
                sort(items->list + pending, items->count - 1 - pending, copy->list);
                pending = items->count - 1;
            }
        }
    }
    sort(items->list + pending, items->count - pending, copy->list);
    return true;
}

/* Compose in place. What does not compose with the last starter stays behind it. */
static void compose(struct items *items)
{
    struct item *list = items->list;
    size_t kept = 0;
    size_t starter = SIZE_MAX;
    int last = -1; /* class of the last item kept behind the starter */

    for (size_t i = 0; i < items->count; i++) {
        struct item item = list[i];
        uint32_t composed = 0;

        if (starter != SIZE_MAX && (last < 0 || (int)item.combining > last))
            composed = codepoint_compose(list[starter].c, item.c);
        if (composed) {
            list[starter].c = composed;
            list[starter].change += item.change - 1;
            continue;
        }
        if (item.combining == 0) {
            starter = kept;
            last = -1;
        } else if (starter != SIZE_MAX) {
            last = item.combining;
        }
        list[kept++] = item;
    }
    items->count = kept;
}

static size_t skip(const struct mapped_text *in, size_t at, size_t end)
{
    size_t length = 0;

    if (at < end)
        (void)mapped_char(in->data, end, at, &length);
    return at + length;
}

static void put(const struct items *items, const struct mapped_text *in, size_t at, size_t end,
                struct mapped_text *out)
{
    for (size_t i = 0; i < items->count; i++) {
        struct item item = items->list[i];

        if (item.change > 0 || at >= end) {
            mapped_insert_char(out, in, at, item.c);
            continue;
        }
        mapped_put_char(out, in, at, item.c);
        for (int32_t n = item.change; n <= 0; n++)
            at = skip(in, at, end);
    }
}

void normalizer_form(unsigned form, struct normalizer_work *work, const struct mapped_text *in,
                     size_t begin, size_t end, struct mapped_text *out)
{
    struct items items = {work->items, 0, work->items_capacity};
    struct items copy = {work->more_items, 0, work->more_capacity};

    while (begin < end && !out->failed) {
        size_t before;
        size_t unused;
        size_t changed = find(form, false, in->data, begin, end, &before);
        size_t stretch = changed == end ? end : form & FORM_COMPOSED ? before : changed;
        size_t next;

        mapped_copy(out, in, begin, stretch - begin);
        if (stretch == end)
            break;
        next = find(form, true, in->data, changed, end, &unused);
        items.count = 0;
        if (!decompose(form, &items, &copy, out->memory, in->data, stretch, next)) {
            out->failed = true;
            break;
        }
        if (form & FORM_COMPOSED)
            compose(&items);
        put(&items, in, stretch, next, out);
        begin = next;
    }
    work->items = items.list;
    work->items_capacity = items.capacity;
    work->more_items = copy.list;
    work->more_capacity = copy.capacity;
}

static bool leaves(unsigned form, const char *text, size_t size)
{
    size_t unused;

    return find(form, false, text, 0, size, &unused) == size;
}

/* U+FDFA, 3 bytes, has a decomposition of 33. */
static size_t growth(const void *data)
{
    (void)data;
    return 12;
}

#define FORM(name, file_type, form)                                                                \
    static llm_status apply_##name(const void *data, struct normalizer_work *work,                 \
                                   const struct mapped_text *in, struct mapped_text *out)          \
    {                                                                                              \
        (void)data;                                                                                \
        normalizer_form((form), work, in, 0, in->size, out);                                       \
        return LLM_OK;                                                                             \
    }                                                                                              \
    static bool leaves_##name(const void *data, const char *text, size_t size)                     \
    {                                                                                              \
        (void)data;                                                                                \
        return leaves((form), text, size);                                                         \
    }                                                                                              \
    const struct normalizer_type normalizer_##name = {.type = (file_type),                         \
                                                      .apply = apply_##name,                       \
                                                      .leaves = leaves_##name,                     \
                                                      .growth = growth,                            \
                                                      .local = true}

FORM(nfc, "NFC", FORM_COMPOSED);
FORM(nfd, "NFD", 0u);
FORM(nfkc, "NFKC", FORM_COMPOSED | FORM_COMPATIBLE);
FORM(nfkd, "NFKD", FORM_COMPATIBLE);
