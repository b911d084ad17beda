/* SPDX-License-Identifier: MIT
 *
 * Words of up to 15 bytes as two integers, to be hashed and compared without loops, and an index
 * from such words to ids.
 */
#ifndef TOKENIZER_WORD_KEY_H
#define TOKENIZER_WORD_KEY_H

#include "base/memory.h"

#include <stdbool.h>
#include <string.h>

enum { WORD_KEY_MAX = 15 };

/* The bytes, padded with zeros, and the size in the last byte. Both 0: no word. */
struct word_key {
    uint64_t low;
    uint64_t high;
};

/* The key of [word, word + size); a size of 0 or above WORD_KEY_MAX gives a key no word has. Reads
 * up to `end` at most. */
static inline struct word_key word_key_load(const unsigned char *word, size_t size,
                                            const unsigned char *end)
{
    struct word_key key = {~UINT64_C(0), ~UINT64_C(0)};
    unsigned char padded[16] = {0};

    if (size - 1 >= WORD_KEY_MAX)
        return key;
    if (end - word < 16) {
        memcpy(padded, word, size);
        word = padded;
    }
    memcpy(&key.low, word, 8);
    memcpy(&key.high, word + 8, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    key.low = __builtin_bswap64(key.low);
    key.high = __builtin_bswap64(key.high);
#endif
    if (size <= 8) {
        key.low &= ~UINT64_C(0) >> (64 - 8 * size);
        key.high = 0;
    } else {
        key.high &= ~UINT64_C(0) >> (128 - 8 * size);
    }
    key.high |= (uint64_t)size << 56;
    return key;
}

static inline size_t word_key_size(struct word_key key)
{
    return (size_t)(key.high >> 56);
}

static inline bool word_key_equal(struct word_key a, struct word_key b)
{
    return ((a.low ^ b.low) | (a.high ^ b.high)) == 0;
}

/* The upper bits are the good ones. */
static inline uint64_t word_key_hash(struct word_key key)
{
    uint64_t hash = key.low * UINT64_C(0x9E3779B97F4A7C15) ^
                    (key.high ^ key.low >> 32) * UINT64_C(0xA0761D6478BD642F);

    return (hash ^ hash >> 32) * UINT64_C(0xE7037ED1A0B428DB);
}

struct word_index_slot {
    struct word_key key; /* high 0: free */
    int32_t id;
    int32_t unused;
};

struct word_index {
    struct memory *memory;
    struct word_index_slot *slots;
    unsigned bits;
};

/* Room for `count` words. */
static inline llm_status word_index_init(struct word_index *index, struct memory *memory,
                                         size_t count)
{
    index->memory = memory;
    index->bits = 4;
    while ((size_t)1 << index->bits < 2 * count)
        index->bits++;
    index->slots = memory_alloc_zeroed(memory, (size_t)1 << index->bits, sizeof *index->slots);
    return index->slots ? LLM_OK : LLM_E_NOMEM;
}

static inline void word_index_free(struct word_index *index)
{
    if (index->memory)
        memory_release(index->memory, index->slots);
}

static inline struct word_index_slot *word_index_slot(const struct word_index *index,
                                                      struct word_key key)
{
    size_t mask = ((size_t)1 << index->bits) - 1;
    size_t i = (size_t)(word_key_hash(key) >> (64 - index->bits));

    while (index->slots[i].key.high != 0 && !word_key_equal(index->slots[i].key, key))
        i = (i + 1) & mask;
    return &index->slots[i];
}

static inline void word_index_put(struct word_index *index, struct word_key key, int32_t id)
{
    *word_index_slot(index, key) = (struct word_index_slot){key, id, 0};
}

/* The id, or -1. */
static inline int32_t word_index_find(const struct word_index *index, struct word_key key)
{
    const struct word_index_slot *slot = word_index_slot(index, key);

    return slot->key.high != 0 ? slot->id : -1;
}

#endif
