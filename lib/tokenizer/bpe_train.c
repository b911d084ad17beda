/* SPDX-License-Identifier: MIT
 *
 * The words lie one after the other in an array of cells, one cell for a byte (WordPiece: for a
 * character). A token of n bytes has its id in its first and in its last cell, so both neighbours
 * of a token are found without links. For every pair there are the count and the places where it
 * stood when it came to be; a place that does not hold the pair any more is noticed when it is
 * visited. A pair gets all its places within one merge (the one that makes the later of its
 * halves), so lists never grow afterwards.
 */
#include "tokenizer/bpe_train.h"

#include "tokenizer/mapped_text.h"

#include <string.h>

struct cell {
    uint32_t id; /* in the first and last cell of a token; dead in a swallowed first cell */
    uint32_t word;
};

static const uint32_t separator = UINT32_MAX; /* between words */
static const uint32_t dead = UINT32_MAX - 1;

struct pair {
    uint64_t key; /* left id, right id */
    int64_t count;
    uint32_t *places; /* of first cells, rising */
    uint32_t place_count;
    uint32_t fresh; /* places found in the running merge */
};

struct candidate {
    int64_t count;
    uint64_t key;
    uint32_t pair;
};

/* A place found while merging, to be sorted into the pair's list at the end. */
struct found {
    uint32_t pair;
    uint32_t place;
};

struct trainer {
    struct memory *memory;
    struct vocab *vocab;
    const struct bpe_training *training;
    struct cell *cells;
    size_t cell_count;
    int64_t *word_counts;
    uint32_t *sizes; /* cells by id */
    size_t sizes_capacity;
    struct pair *pairs;
    size_t pair_count;
    size_t pair_capacity;
    uint32_t *slots; /* pair index + 1 */
    size_t slot_count;
    struct candidate *heap;
    size_t heap_count;
    size_t heap_capacity;
    struct found *found;
    size_t found_count;
    size_t found_capacity;
    uint32_t *touched; /* pairs with fresh places */
    size_t touched_count;
    size_t touched_capacity;
    struct arena places;
    struct bpe_rule *rules;
    size_t rule_count;
    size_t rule_capacity;
};

/* ---- the queue: highest count, then lowest key ---- */

static bool is_before(const struct candidate *a, const struct candidate *b)
{
    return a->count > b->count || (a->count == b->count && a->key < b->key);
}

static void sift_down(struct trainer *t, size_t i, struct candidate moved)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= t->heap_count)
            break;
        if (child + 1 < t->heap_count && is_before(&t->heap[child + 1], &t->heap[child]))
            child++;
        if (!is_before(&t->heap[child], &moved))
            break;
        t->heap[i] = t->heap[child];
        i = child;
    }
    t->heap[i] = moved;
}

static llm_status push(struct trainer *t, uint32_t pair)
{
    struct candidate new = {t->pairs[pair].count, t->pairs[pair].key, pair};
    size_t i = t->heap_count;
    llm_status status =
        memory_grow(t->memory, (void **)&t->heap, &t->heap_capacity, i + 1, sizeof *t->heap);

    if (status)
        return status;
    t->heap_count++;
    while (i > 0 && is_before(&new, &t->heap[(i - 1) / 2])) {
        t->heap[i] = t->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    t->heap[i] = new;
    return LLM_OK;
}

/* The pair to merge next: counts in the queue are those of the time of pushing and only ever fall,
 * so a stale top goes back with its count of today. False: none occurs often enough. */
static bool pop(struct trainer *t, uint32_t *pair)
{
    while (t->heap_count > 0) {
        struct candidate top = t->heap[0];

        top.count = t->pairs[top.pair].count;
        if (top.count == t->heap[0].count) {
            *pair = top.pair;
            if (top.count < 1 || top.count < t->training->min_frequency)
                return false;
            t->heap_count--;
            if (t->heap_count > 0)
                sift_down(t, 0, t->heap[t->heap_count]);
            return true;
        }
        sift_down(t, 0, top);
    }
    return false;
}

/* ---- pairs ---- */

static size_t pair_slot(const struct trainer *t, uint64_t key)
{
    size_t mask = t->slot_count - 1;
    size_t slot = (size_t)(key * UINT64_C(0x9E3779B97F4A7C15) >> 32) & mask;

    while (t->slots[slot] && t->pairs[t->slots[slot] - 1].key != key)
        slot = (slot + 1) & mask;
    return slot;
}

static llm_status grow_slots(struct trainer *t)
{
    size_t count = t->slot_count ? t->slot_count * 2 : 1 << 16;
    uint32_t *slots = memory_alloc_zeroed(t->memory, count, sizeof *slots);

    if (!slots)
        return LLM_E_NOMEM;
    memory_release(t->memory, t->slots);
    t->slots = slots;
    t->slot_count = count;
    for (size_t i = 0; i < t->pair_count; i++)
        slots[pair_slot(t, t->pairs[i].key)] = (uint32_t)i + 1;
    return LLM_OK;
}

static llm_status find_pair(struct trainer *t, uint32_t left, uint32_t right, uint32_t *index)
{
    uint64_t key = (uint64_t)left << 32 | right;
    size_t slot;
    llm_status status = LLM_OK;

    if ((t->pair_count + 1) * 2 > t->slot_count)
        status = grow_slots(t);
    if (status)
        return status;
    slot = pair_slot(t, key);
    if (!t->slots[slot]) {
        if (t->pair_count >= UINT32_MAX / 4)
            return status_set(LLM_E_RANGE, "more than %zu pairs", t->pair_count);
        status = memory_grow(t->memory, (void **)&t->pairs, &t->pair_capacity, t->pair_count + 1,
                             sizeof *t->pairs);
        if (status)
            return status;
        t->pairs[t->pair_count++] = (struct pair){.key = key};
        t->slots[slot] = (uint32_t)t->pair_count;
    }
    *index = t->slots[slot] - 1;
    return LLM_OK;
}

/* One more place of a pair. */
static llm_status note(struct trainer *t, uint32_t left, uint32_t right, size_t place,
                       int64_t count)
{
    uint32_t index;
    llm_status status = find_pair(t, left, right, &index);

    if (!status && t->pairs[index].fresh++ == 0) {
        status = memory_grow(t->memory, (void **)&t->touched, &t->touched_capacity,
                             t->touched_count + 1, sizeof *t->touched);
        if (!status)
            t->touched[t->touched_count++] = index;
    }
    if (!status)
        status = memory_grow(t->memory, (void **)&t->found, &t->found_capacity, t->found_count + 1,
                             sizeof *t->found);
    if (status)
        return status;
    t->pairs[index].count += count;
    t->found[t->found_count++] = (struct found){index, (uint32_t)place};
    return LLM_OK;
}

static llm_status forget(struct trainer *t, uint32_t left, uint32_t right, int64_t count)
{
    uint32_t index;
    llm_status status = find_pair(t, left, right, &index);

    if (!status)
        t->pairs[index].count -= count;
    return status;
}

/* The places found become the pairs' lists, and the pairs candidates; those that are too rare now
 * stay so and get none. */
static llm_status settle(struct trainer *t)
{
    llm_status status = LLM_OK;

    for (size_t i = 0; i < t->touched_count && !status; i++) {
        struct pair *pair = &t->pairs[t->touched[i]];
        uint32_t *places;

        if (pair->count < 1 || pair->count < t->training->min_frequency) {
            pair->places = NULL;
            pair->place_count = 0;
            continue;
        }
        /* Old places only when a merge made a special token's text, which existed before. */
        places =
            arena_alloc(&t->places, ((size_t)pair->place_count + pair->fresh) * sizeof *places);
        if (!places)
            return LLM_E_NOMEM;
        if (pair->place_count)
            memcpy(places, pair->places, pair->place_count * sizeof *places);
        pair->places = places;
        status = push(t, t->touched[i]);
    }
    for (size_t i = 0; i < t->found_count && !status; i++) {
        struct pair *pair = &t->pairs[t->found[i].pair];

        if (pair->places)
            pair->places[pair->place_count++] = t->found[i].place;
    }
    for (size_t i = 0; i < t->touched_count; i++)
        t->pairs[t->touched[i]].fresh = 0;
    t->touched_count = 0;
    t->found_count = 0;
    return status;
}

/* ---- cells ---- */

/* The cells of a word of bytes. */
static void put_bytes(struct trainer *t, const struct word *word, const uint32_t byte_ids[256],
                      uint32_t index)
{
    for (uint32_t j = 0; j < word->size; j++)
        t->cells[t->cell_count++] = (struct cell){byte_ids[(unsigned char)word->text[j]], index};
}

/* The cells of a word of characters, all but the first with the prefix. */
static llm_status put_characters(struct trainer *t, const struct word *word, struct text *name,
                                 uint32_t index)
{
    for (size_t at = 0; at < word->size;) {
        size_t length;
        int32_t id;

        (void)mapped_char(word->text, word->size, at, &length);
        name->size = 0;
        if (at > 0)
            text_append_z(name, t->training->prefix);
        text_append(name, word->text + at, length);
        if (name->failed)
            return LLM_E_NOMEM;
        id = vocab_find(t->vocab, name->data, name->size);
        if (id >= 0) {
            t->cells[t->cell_count++] = (struct cell){(uint32_t)id, index};
            t->sizes[id] = 1;
        }
        at += length;
    }
    return LLM_OK;
}

static llm_status fill_cells(struct trainer *t, const struct word_table *words)
{
    uint32_t byte_ids[256];
    size_t total = 1;
    struct text name;
    llm_status status = LLM_OK;

    for (int i = 0; i < 256; i++) {
        char byte = (char)i;

        byte_ids[i] = (uint32_t)vocab_find(t->vocab, &byte, 1);
    }
    for (size_t i = 0; i < words->count; i++)
        total += (size_t)words->words[i].size + 1;
    if (total > UINT32_MAX)
        return status_set(LLM_E_RANGE, "different words of more than 4 GiB to train on");
    t->cells = memory_alloc_array(t->memory, total, sizeof *t->cells);
    t->word_counts = memory_alloc_array(t->memory, words->count, sizeof *t->word_counts);
    if (!t->cells || !t->word_counts)
        return LLM_E_NOMEM;
    text_init(&name, t->memory);
    t->cells[t->cell_count++] = (struct cell){separator, 0};
    for (size_t i = 0; i < words->count && !status; i++) {
        const struct word *word = &words->words[i];

        t->word_counts[i] = (int64_t)word->count;
        if (t->training->prefix)
            status = put_characters(t, word, &name, (uint32_t)i);
        else
            put_bytes(t, word, byte_ids, (uint32_t)i);
        t->cells[t->cell_count++] = (struct cell){separator, 0};
    }
    text_free(&name);
    return status;
}

static llm_status find_first_pairs(struct trainer *t)
{
    llm_status status = LLM_OK;

    for (size_t i = 1; i + 1 < t->cell_count && !status; i++) {
        const struct cell *cell = &t->cells[i];

        if (cell[0].id != separator && cell[1].id != separator)
            status = note(t, cell[0].id, cell[1].id, i, t->word_counts[cell[0].word]);
    }
    return status ? status : settle(t);
}

/* The token that is left and right together; a special token of the same text counts. */
static llm_status make_token(struct trainer *t, uint32_t left, uint32_t right, uint32_t *id)
{
    struct vocab *vocab = t->vocab;
    const char *prefix = t->training->prefix;
    size_t skip = prefix ? strlen(prefix) : 0;
    struct text joined;
    int32_t known;
    llm_status status = LLM_OK;

    if (skip > vocab->entries[right].size ||
        (skip && memcmp(vocab_bytes(vocab, (int32_t)right), prefix, skip) != 0))
        skip = 0;
    text_init(&joined, t->memory);
    text_append(&joined, vocab_bytes(vocab, (int32_t)left), vocab->entries[left].size);
    text_append(&joined, vocab_bytes(vocab, (int32_t)right) + skip,
                vocab->entries[right].size - skip);
    if (joined.failed) {
        text_free(&joined);
        return LLM_E_NOMEM;
    }
    known = vocab_find(vocab, joined.data, joined.size);
    *id = known >= 0 ? (uint32_t)known : (uint32_t)vocab->size;
    if (known < 0)
        status = vocab_put(vocab, *id, joined.data, joined.size, VOCAB_MODEL);
    text_free(&joined);
    if (!status)
        status = memory_grow(t->memory, (void **)&t->sizes, &t->sizes_capacity, vocab->size,
                             sizeof *t->sizes);
    if (!status)
        t->sizes[*id] = t->sizes[left] + t->sizes[right];
    return status;
}

/* Merge one place where left stands before right. */
static llm_status merge_at(struct trainer *t, size_t place, uint32_t left, uint32_t right,
                           uint32_t id)
{
    struct cell *cells = t->cells;
    size_t second = place + t->sizes[left];
    size_t behind = second + t->sizes[right];
    uint32_t before = cells[place - 1].id;
    uint32_t after = cells[behind].id;
    int64_t count = t->word_counts[cells[place].word];
    llm_status status = LLM_OK;

    cells[second].id = dead;
    cells[place].id = id;
    cells[behind - 1].id = id;
    if (before != separator) {
        status = forget(t, before, left, count);
        if (!status)
            status = note(t, before, id, place - t->sizes[before], count);
    }
    if (after != separator && !status) {
        status = forget(t, right, after, count);
        if (!status)
            status = note(t, id, after, place, count);
    }
    return status;
}

static llm_status merge_pair(struct trainer *t, uint32_t index)
{
    const uint32_t *places = t->pairs[index].places;
    uint32_t place_count = t->pairs[index].place_count;
    uint32_t left = (uint32_t)(t->pairs[index].key >> 32);
    uint32_t right = (uint32_t)t->pairs[index].key;
    uint32_t id;
    llm_status status = make_token(t, left, right, &id);

    if (!status)
        status = memory_grow(t->memory, (void **)&t->rules, &t->rule_capacity, t->rule_count + 1,
                             sizeof *t->rules);
    if (status)
        return status;
    t->rules[t->rule_count++] = (struct bpe_rule){(int32_t)left, (int32_t)right, (int32_t)id};
    for (uint32_t i = 0; i < place_count && !status; i++) {
        size_t place = places[i];

        if (i + 16 < place_count)
            __builtin_prefetch(&t->cells[places[i + 16]]);
        if (t->cells[place].id == left && t->cells[place + t->sizes[left]].id == right)
            status = merge_at(t, place, left, right, id);
    }
    return status ? status : settle(t);
}

static llm_status report(const struct trainer *t, uint64_t total)
{
    const struct bpe_training *training = t->training;

    if (training->progress &&
        training->progress(training->progress_user, "merge", t->rule_count, total))
        return status_set(LLM_E_CANCELLED, "tokenizer training was cancelled");
    return LLM_OK;
}

static llm_status merge_all(struct trainer *t)
{
    size_t wanted = t->training->vocab_size;
    uint64_t total = wanted > t->vocab->size ? wanted - t->vocab->size : 0;
    llm_status status = report(t, total);
    uint32_t pair;

    while (!status && t->vocab->size < wanted && pop(t, &pair)) {
        status = merge_pair(t, pair);
        if (!status && t->rule_count % 256 == 0)
            status = report(t, total);
    }
    return status ? status : report(t, total);
}

static void trainer_free(struct trainer *t)
{
    memory_release(t->memory, t->cells);
    memory_release(t->memory, t->word_counts);
    memory_release(t->memory, t->sizes);
    memory_release(t->memory, t->pairs);
    memory_release(t->memory, t->slots);
    memory_release(t->memory, t->heap);
    memory_release(t->memory, t->found);
    memory_release(t->memory, t->touched);
    memory_release(t->memory, t->rules);
    arena_free(&t->places);
}

llm_status bpe_train(struct bpe_rule **rules, size_t *rule_count, struct vocab *vocab,
                     const struct word_table *words, const struct bpe_training *training)
{
    struct trainer t = {.memory = vocab->memory, .vocab = vocab, .training = training};
    llm_status status;

    arena_init(&t.places, vocab->memory);
    status =
        memory_grow(t.memory, (void **)&t.sizes, &t.sizes_capacity, vocab->size, sizeof *t.sizes);
    for (size_t i = 0; i < vocab->size && !status; i++)
        t.sizes[i] = vocab->entries[i].size;
    if (!status)
        status = fill_cells(&t, words);
    if (!status)
        status = find_first_pairs(&t);
    if (!status)
        status = merge_all(&t);
    if (!status) {
        *rules = t.rules;
        *rule_count = t.rule_count;
        t.rules = NULL;
    }
    trainer_free(&t);
    return status;
}
