/* SPDX-License-Identifier: MIT */
#include "generate/grammar.h"

#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t a, uint64_t b)
{
    a = (a ^ b) * UINT64_C(0x9E3779B97F4A7C15);
    return a ^ a >> 29;
}

static struct memory *memory_of(llm_grammar *grammar)
{
    return &grammar->context->memory;
}

/* ---- index ------------------------------------------------------------------------------------
 */

/* Room for one more; `hash_of` gives the hash of an entry again. */
static llm_status index_grow(llm_grammar *grammar, struct index *index,
                             uint64_t (*hash_of)(const llm_grammar *grammar, int32_t number))
{
    size_t capacity = index->capacity ? 2 * index->capacity : 256;
    int32_t *slots;

    if (2 * (index->count + 1) <= index->capacity)
        return LLM_OK;
    slots = memory_alloc_zeroed(memory_of(grammar), capacity, sizeof *slots);
    if (!slots)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < index->capacity; i++) {
        size_t at;

        if (!index->slots[i])
            continue;
        at = (size_t)hash_of(grammar, index->slots[i] - 1) & (capacity - 1);
        while (slots[at])
            at = (at + 1) & (capacity - 1);
        slots[at] = index->slots[i];
    }
    memory_release(memory_of(grammar), index->slots);
    index->slots = slots;
    index->capacity = capacity;
    return LLM_OK;
}

static void index_clear(struct index *index)
{
    if (index->count)
        memset(index->slots, 0, index->capacity * sizeof *index->slots);
    index->count = 0;
}

/* ---- frames -----------------------------------------------------------------------------------
 */

static uint64_t hash_pair(int32_t a, int32_t b)
{
    uint64_t pair = (uint64_t)(uint32_t)a << 32 | (uint32_t)b;

    return mix(mix(pair, 1), pair >> 17);
}

static uint64_t hash_frame(const llm_grammar *grammar, int32_t frame)
{
    return hash_pair(grammar->frames[frame].node, grammar->frames[frame].parent);
}

/* The frame, or a negative status. */
static int32_t intern_frame(llm_grammar *grammar, int32_t node, int32_t parent)
{
    llm_status status = index_grow(grammar, &grammar->frame_index, hash_frame);
    size_t mask = grammar->frame_index.capacity - 1;
    size_t at;

    if (status)
        return status;
    at = (size_t)hash_pair(node, parent) & mask;
    for (; grammar->frame_index.slots[at]; at = (at + 1) & mask) {
        int32_t frame = grammar->frame_index.slots[at] - 1;

        if (grammar->frames[frame].node == node && grammar->frames[frame].parent == parent)
            return frame;
    }
    if (grammar->frame_count >= GRAMMAR_MOST_SETS)
        return status_set(LLM_E_RANGE, "the grammar nests too deep");
    status = memory_grow(memory_of(grammar), (void **)&grammar->frames, &grammar->frame_capacity,
                         grammar->frame_count + 1, sizeof *grammar->frames);
    if (status)
        return status;
    grammar->frames[grammar->frame_count] = (struct frame){node, parent};
    grammar->frame_index.slots[at] = (int32_t)grammar->frame_count + 1;
    grammar->frame_index.count++;
    return (int32_t)grammar->frame_count++;
}

/* ---- sets -------------------------------------------------------------------------------------
 */

static uint64_t hash_set(const llm_grammar *grammar, int32_t set)
{
    return grammar->sets[set].hash;
}

static int by_place(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;

    if (x->frame != y->frame)
        return x->frame < y->frame ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

static bool is_same_set(const llm_grammar *grammar, const struct place_set *a,
                        const struct place_set *b)
{
    return a->hash == b->hash && a->count == b->count && a->is_complete == b->is_complete &&
           a->has_left == b->has_left &&
           (!a->count || memcmp(grammar->places + a->first, grammar->fresh,
                                a->count * sizeof *grammar->fresh) == 0);
}

static llm_status add_set(llm_grammar *grammar, struct place_set *set)
{
    struct memory *memory = memory_of(grammar);
    llm_status status = LLM_OK;

    if (grammar->set_count >= GRAMMAR_MOST_SETS)
        return status_set(LLM_E_RANGE, "the grammar has too many states");
    if (set->count)
        status = memory_grow(memory, (void **)&grammar->places, &grammar->place_capacity,
                             grammar->place_count + set->count, sizeof *grammar->places);
    if (!status)
        status = memory_grow(memory, (void **)&grammar->sets, &grammar->set_capacity,
                             grammar->set_count + 1, sizeof *grammar->sets);
    if (status)
        return status;
    set->first = grammar->place_count;
    if (set->count)
        memcpy(grammar->places + set->first, grammar->fresh, set->count * sizeof *grammar->places);
    grammar->place_count += set->count;
    grammar->sets[grammar->set_count++] = *set;
    return LLM_OK;
}

/* The number of the set in grammar->fresh, or a negative status. */
static int32_t intern_set(llm_grammar *grammar, bool is_complete, bool has_left)
{
    struct place_set set = {.count = (uint32_t)grammar->fresh_count,
                            .hash = (is_complete ? 3u : 1u) + (has_left ? 4u : 0u),
                            .inner = -1,
                            .is_complete = is_complete,
                            .has_left = has_left};
    llm_status status = index_grow(grammar, &grammar->set_index, hash_set);
    size_t mask = grammar->set_index.capacity - 1;
    size_t at;

    if (status)
        return status;
    if (set.count)
        qsort(grammar->fresh, set.count, sizeof *grammar->fresh, by_place);
    for (uint32_t i = 0; i < set.count; i++)
        set.hash = mix(set.hash, hash_pair(grammar->fresh[i].node, grammar->fresh[i].frame) + i);
    at = (size_t)set.hash & mask;
    for (; grammar->set_index.slots[at]; at = (at + 1) & mask) {
        int32_t number = grammar->set_index.slots[at] - 1;

        if (is_same_set(grammar, &grammar->sets[number], &set))
            return number;
    }
    status = add_set(grammar, &set);
    if (status)
        return status;
    grammar->set_index.slots[at] = (int32_t)grammar->set_count;
    grammar->set_index.count++;
    return (int32_t)grammar->set_count - 1;
}

/* ---- closure ----------------------------------------------------------------------------------
 */

static uint64_t hash_queued(const llm_grammar *grammar, int32_t number)
{
    return hash_pair(grammar->queue[number].node, grammar->queue[number].frame);
}

/* A place that has not been visited yet joins the queue. */
static llm_status visit(llm_grammar *grammar, int32_t node, int32_t frame)
{
    llm_status status;
    size_t mask;
    size_t at;

    if (node < 0 || !grammar->automaton.nodes[node].is_productive)
        return LLM_OK;
    status = index_grow(grammar, &grammar->seen, hash_queued);
    if (status)
        return status;
    mask = grammar->seen.capacity - 1;
    at = (size_t)hash_pair(node, frame) & mask;
    for (; grammar->seen.slots[at]; at = (at + 1) & mask) {
        const struct place *other = &grammar->queue[grammar->seen.slots[at] - 1];

        if (other->node == node && other->frame == frame)
            return LLM_OK;
    }
    if (grammar->queued >= GRAMMAR_MOST_PLACES)
        return status_set(LLM_E_RANGE, "the text is too ambiguous under the grammar");
    status = memory_grow(memory_of(grammar), (void **)&grammar->queue, &grammar->queue_capacity,
                         grammar->queued + 1, sizeof *grammar->queue);
    if (status)
        return status;
    grammar->queue[grammar->queued++] = (struct place){node, frame};
    grammar->seen.slots[at] = (int32_t)grammar->queued;
    grammar->seen.count++;
    return LLM_OK;
}

static void begin_set(llm_grammar *grammar)
{
    grammar->queued = 0;
    grammar->fresh_count = 0;
    index_clear(&grammar->seen);
}

static llm_status follow_call(llm_grammar *grammar, const struct grammar_node *node, int32_t frame)
{
    int32_t inner = node->is_tail ? frame : intern_frame(grammar, node->next, frame);

    if (inner < 0)
        return inner;
    return visit(grammar, grammar->automaton.rules[node->rule].start, inner);
}

static llm_status keep_place(llm_grammar *grammar, struct place place)
{
    llm_status status =
        memory_grow(memory_of(grammar), (void **)&grammar->fresh, &grammar->fresh_capacity,
                    grammar->fresh_count + 1, sizeof *grammar->fresh);

    if (!status)
        grammar->fresh[grammar->fresh_count++] = place;
    return status;
}

/* From the places queued so far to all that they reach without a byte. Ends: no rule calls itself
 * before a byte is read, so stacks do not grow forever, and no place is visited twice. */
static int32_t end_set(llm_grammar *grammar)
{
    bool is_complete = false;
    bool has_left = false;
    llm_status status = LLM_OK;

    for (size_t i = 0; i < grammar->queued && !status; i++) {
        struct place place = grammar->queue[i];
        const struct grammar_node *node = &grammar->automaton.nodes[place.node];

        if (node->kind == NODE_BYTES) {
            status = keep_place(grammar, place);
        } else if (node->kind == NODE_JUMP) {
            status = visit(grammar, node->next, place.frame);
            if (!status)
                status = visit(grammar, node->other, place.frame);
        } else if (node->kind == NODE_CALL) {
            status = follow_call(grammar, node, place.frame);
        } else if (place.frame == FRAME_BOTTOM) {
            is_complete = true;
        } else if (place.frame == FRAME_HOLE) {
            has_left = true;
        } else {
            struct frame caller = grammar->frames[place.frame];

            status = visit(grammar, caller.node, caller.parent);
        }
    }
    return status ? status : intern_set(grammar, is_complete, has_left);
}

int32_t run_return(llm_grammar *grammar, int32_t frame)
{
    llm_status status;

    begin_set(grammar);
    status = visit(grammar, grammar->frames[frame].node, grammar->frames[frame].parent);
    return status ? status : end_set(grammar);
}

int32_t run_on_hole(llm_grammar *grammar, size_t first, size_t count, int height, int32_t *below)
{
    int32_t top[GRAMMAR_MOST_TOP];
    int32_t frame = grammar->places[first].frame;
    int32_t on_hole = FRAME_HOLE;
    llm_status status = LLM_OK;
    int held = 0;

    for (; held < height && frame > FRAME_HOLE; frame = grammar->frames[frame].parent)
        top[held++] = grammar->frames[frame].node;
    *below = frame;
    while (held > 0 && on_hole >= 0)
        on_hole = intern_frame(grammar, top[--held], on_hole);
    if (on_hole < 0)
        return on_hole;
    begin_set(grammar);
    for (size_t i = 0; i < count && !status; i++)
        status = visit(grammar, grammar->places[first + i].node, on_hole);
    return status ? status : end_set(grammar);
}

/* ---- steps ------------------------------------------------------------------------------------
 */

static llm_status make_row(llm_grammar *grammar, int32_t set)
{
    int32_t *row;

    if (grammar->sets[set].row)
        return LLM_OK;
    row = memory_alloc_array(memory_of(grammar), 256, sizeof *row);
    if (!row)
        return LLM_E_NOMEM;
    memset(row, 0xff, 256 * sizeof *row);
    grammar->sets[set].row = row;
    return LLM_OK;
}

/* All bytes around `byte` that the same places read have the same result. */
int32_t run_compute(llm_grammar *grammar, int32_t set, uint8_t byte)
{
    size_t first = grammar->sets[set].first;
    uint32_t count = grammar->sets[set].count;
    int low = 0;
    int high = 255;
    llm_status status = make_row(grammar, set);
    int32_t result;

    begin_set(grammar);
    for (uint32_t i = 0; i < count && !status; i++) {
        struct place place = grammar->places[first + i];
        const struct grammar_node *node = &grammar->automaton.nodes[place.node];

        if (byte > node->high) {
            low = low > node->high + 1 ? low : node->high + 1;
        } else if (byte < node->low) {
            high = high < node->low - 1 ? high : node->low - 1;
        } else {
            low = low > node->low ? low : node->low;
            high = high < node->high ? high : node->high;
            status = visit(grammar, node->next, place.frame);
        }
    }
    if (status)
        return status;
    result = end_set(grammar);
    for (int b = low; b <= high && result >= 0; b++)
        grammar->sets[set].row[b] = result;
    return result;
}

/* ---- beginning and collecting -----------------------------------------------------------------
 */

static void forget_sets(llm_grammar *grammar)
{
    for (size_t i = 0; i < grammar->set_count; i++)
        memory_release(memory_of(grammar), grammar->sets[i].row);
    masks_forget(grammar);
    index_clear(&grammar->frame_index);
    index_clear(&grammar->set_index);
    grammar->set_count = 0;
    grammar->place_count = 0;
    grammar->frame_count = 0;
}

/* Nothing but set 0 and the start. */
static llm_status begin(llm_grammar *grammar)
{
    int32_t set;
    llm_status status = memory_grow(memory_of(grammar), (void **)&grammar->frames,
                                    &grammar->frame_capacity, 2, sizeof *grammar->frames);

    forget_sets(grammar);
    grammar->start = -1;
    if (status)
        return status;
    /* the two bottoms are numbers only: nothing looks them up */
    grammar->frames[FRAME_BOTTOM] = (struct frame){-1, -1};
    grammar->frames[FRAME_HOLE] = (struct frame){-1, -1};
    grammar->frame_count = 2;
    begin_set(grammar);
    set = end_set(grammar);
    if (set < 0)
        return set;
    begin_set(grammar);
    status = visit(grammar, grammar->automaton.rules[0].start, FRAME_BOTTOM);
    if (status)
        return status;
    grammar->start = end_set(grammar);
    return grammar->start < 0 ? grammar->start : LLM_OK;
}

llm_status run_init(llm_grammar *grammar)
{
    for (size_t i = 0; i < GRAMMAR_RECENT; i++)
        grammar->recent[i].set = -1;
    return begin(grammar);
}

void run_free(llm_grammar *grammar)
{
    struct memory *memory = memory_of(grammar);

    forget_sets(grammar);
    memory_release(memory, grammar->frames);
    memory_release(memory, grammar->frame_index.slots);
    memory_release(memory, grammar->places);
    memory_release(memory, grammar->sets);
    memory_release(memory, grammar->set_index.slots);
    memory_release(memory, grammar->inner);
    memory_release(memory, grammar->queue);
    memory_release(memory, grammar->seen.slots);
    memory_release(memory, grammar->fresh);
    memory_release(memory, grammar->path);
}

/* The frame of the new world that stands for `frame` of the old one: its list is made again from
 * the bottom. `chain` is scratch. */
static int32_t carry_frame(llm_grammar *grammar, const struct frame *old, int32_t frame,
                           int32_t *chain)
{
    size_t depth = 0;
    int32_t carried;

    while (frame > FRAME_HOLE) {
        chain[depth++] = old[frame].node;
        frame = old[frame].parent;
    }
    carried = frame;
    while (depth > 0 && carried >= 0)
        carried = intern_frame(grammar, chain[--depth], carried);
    return carried;
}

struct old_world {
    struct frame *frames;
    struct place *places;
    struct place_set *sets;
    int32_t *chain;
};

static void old_world_free(llm_grammar *grammar, struct old_world *old)
{
    memory_release(memory_of(grammar), old->frames);
    memory_release(memory_of(grammar), old->places);
    memory_release(memory_of(grammar), old->sets);
    memory_release(memory_of(grammar), old->chain);
}

static void *copy_of(llm_grammar *grammar, const void *data, size_t count, size_t size)
{
    void *copy = memory_alloc_array(memory_of(grammar), count + 1, size);

    if (copy && count)
        memcpy(copy, data, count * size);
    return copy;
}

static int32_t carry_set(llm_grammar *grammar, const struct old_world *old, int32_t number)
{
    const struct place_set *set = &old->sets[number];
    llm_status status = LLM_OK;

    begin_set(grammar);
    for (uint32_t i = 0; i < set->count && !status; i++) {
        struct place place = old->places[set->first + i];
        int32_t frame = carry_frame(grammar, old->frames, place.frame, old->chain);

        status = frame < 0 ? frame : keep_place(grammar, (struct place){place.node, frame});
    }
    return status ? status : intern_set(grammar, set->is_complete, set->has_left);
}

llm_status run_collect(llm_grammar *grammar)
{
    struct grammar_matcher *head = &grammar->matchers;
    struct old_world old;
    llm_status status;

    if (grammar->start < 0 || !grammar->set_count) /* the last try ran out of memory */
        return begin(grammar);
    if (grammar->set_count <= GRAMMAR_KEPT_SETS)
        return LLM_OK;
    old.frames = copy_of(grammar, grammar->frames, grammar->frame_count, sizeof *old.frames);
    old.places = copy_of(grammar, grammar->places, grammar->place_count, sizeof *old.places);
    old.sets = copy_of(grammar, grammar->sets, grammar->set_count, sizeof *old.sets);
    old.chain = memory_alloc_array(memory_of(grammar), grammar->frame_count + 1, sizeof(int32_t));
    status = old.frames && old.places && old.sets && old.chain ? LLM_OK : LLM_E_NOMEM;
    if (status) {
        old_world_free(grammar, &old);
        return status; /* nothing was forgotten */
    }
    status = begin(grammar);
    for (struct grammar_matcher *m = head->next; m != head; m = m->next) {
        int32_t set = status ? status : carry_set(grammar, &old, m->set);

        /* an old number must not be taken for a new one: a matcher that was lost matches nothing */
        m->set = set < 0 ? 0 : set;
        status = set < 0 ? set : LLM_OK;
    }
    old_world_free(grammar, &old);
    return status;
}
