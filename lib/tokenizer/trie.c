/* SPDX-License-Identifier: MIT */
#include "tokenizer/trie.h"

#include <string.h>

void trie_init(struct trie *trie, struct memory *memory)
{
    memset(trie, 0, sizeof *trie);
    trie->memory = memory;
}

void trie_free(struct trie *trie)
{
    if (!trie->memory)
        return;
    memory_release(trie->memory, trie->slots);
    memory_release(trie->memory, trie->values);
    trie_init(trie, trie->memory);
}

static void place(uint64_t *slots, size_t count, unsigned shift, uint64_t entry)
{
    size_t slot = trie_slot((uint32_t)(entry >> 32), shift);

    while (slots[slot])
        slot = (slot + 1) & (count - 1);
    slots[slot] = entry;
}

static llm_status grow_slots(struct trie *trie)
{
    size_t count = trie->slot_count ? trie->slot_count * 2 : 256;
    unsigned shift = trie->slot_count ? trie->shift - 1 : 64 - 8;
    uint64_t *slots = memory_alloc_zeroed(trie->memory, count, sizeof *slots);

    if (!slots)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < trie->slot_count; i++) {
        if (trie->slots[i])
            place(slots, count, shift, trie->slots[i]);
    }
    memory_release(trie->memory, trie->slots);
    trie->slots = slots;
    trie->slot_count = count;
    trie->shift = shift;
    return LLM_OK;
}

static llm_status add_node(struct trie *trie)
{
    llm_status status;

    if (trie->node_count >= TRIE_MAX_NODES)
        return status_set(LLM_E_RANGE, "tokens too many or too long: more than %d prefixes",
                          TRIE_MAX_NODES);
    if ((size_t)(trie->node_count + 1) * 2 > trie->slot_count) {
        status = grow_slots(trie);
        if (status)
            return status;
    }
    status = memory_grow(trie->memory, (void **)&trie->values, &trie->values_capacity,
                         (size_t)trie->node_count + 1, sizeof *trie->values);
    if (!status)
        trie->values[trie->node_count++] = trie_none;
    return status;
}

llm_status trie_put(struct trie *trie, const char *bytes, size_t size, uint32_t value)
{
    uint32_t node = 0;
    llm_status status = trie->node_count ? LLM_OK : add_node(trie);

    for (size_t i = 0; i < size && !status; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        uint32_t child = trie_child(trie, node, byte);

        if (!child) {
            child = trie->node_count;
            status = add_node(trie);
            if (!status)
                place(trie->slots, trie->slot_count, trie->shift,
                      (uint64_t)(node << 8 | byte) << 32 | child);
        }
        node = child;
    }
    if (!status && trie->values[node] == trie_none)
        trie->values[node] = value;
    return status;
}

uint32_t trie_longest(const struct trie *trie, const unsigned char *p, const unsigned char *end,
                      size_t *size_out)
{
    const unsigned char *start = p;
    uint32_t best = trie_none;
    uint32_t node = 0;

    if (trie->node_count == 0)
        return trie_none;
    while (p < end) {
        node = trie_child(trie, node, *p++);
        if (!node)
            break;
        if (trie->values[node] != trie_none) {
            best = trie->values[node];
            *size_out = (size_t)(p - start);
        }
    }
    return best;
}
