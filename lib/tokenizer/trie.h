/* SPDX-License-Identifier: MIT
 *
 * A trie over byte strings: the longest stored string that starts a text. Edges live in one hash
 * table of 8-byte slots (24 bits node, 8 bits byte, 32 bits child).
 */
#ifndef TOKENIZER_TRIE_H
#define TOKENIZER_TRIE_H

#include "base/memory.h"

#include <stdbool.h>

enum { TRIE_MAX_NODES = 1 << 24 };

static const uint32_t trie_none = UINT32_MAX;

struct trie {
    struct memory *memory;
    uint64_t *slots; /* 0: free */
    size_t slot_count;
    unsigned shift;   /* 64 less the bits of slot_count */
    uint32_t *values; /* per node: value of the string that ends here, or trie_none */
    size_t values_capacity;
    uint32_t node_count; /* node 0 is the root */
};

void trie_init(struct trie *trie, struct memory *memory);
void trie_free(struct trie *trie);

/* The value of a string that is there already stays. LLM_E_RANGE: more than TRIE_MAX_NODES. */
llm_status trie_put(struct trie *trie, const char *bytes, size_t size, uint32_t value);

static inline size_t trie_slot(uint32_t key, unsigned shift)
{
    return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> shift);
}

/* Child of `node` by `byte`; 0: none. */
static inline uint32_t trie_child(const struct trie *trie, uint32_t node, unsigned char byte)
{
    uint32_t key = node << 8 | byte;
    size_t mask = trie->slot_count - 1;
    size_t slot = trie_slot(key, trie->shift);

    while (trie->slots[slot]) {
        if ((uint32_t)(trie->slots[slot] >> 32) == key)
            return (uint32_t)trie->slots[slot];
        slot = (slot + 1) & mask;
    }
    return 0;
}

/* Value and size of the longest stored string that starts [p, end); trie_none: none does. */
uint32_t trie_longest(const struct trie *trie, const unsigned char *p, const unsigned char *end,
                      size_t *size_out);

#endif
