/* SPDX-License-Identifier: MIT
 *
 * A trie in a double array (Aoe 1989): the child of node s by byte c stands at base[s] ^ c, and is
 * a child of s if its check is s. One memory access per byte; built once, from all keys.
 */
#ifndef TOKENIZER_DOUBLE_ARRAY_H
#define TOKENIZER_DOUBLE_ARRAY_H

#include "base/memory.h"

#include <stdbool.h>

struct double_array_unit {
    uint32_t base;
    uint32_t check; /* the parent; double_array_free: no node */
    int32_t value;  /* of the key that ends here; -1: none */
};

static const uint32_t double_array_free = UINT32_MAX;

struct double_array {
    struct memory *memory;
    struct double_array_unit *units; /* every base ^ byte is inside */
    size_t count;
};

struct double_array_key {
    const unsigned char *bytes;
    size_t size; /* at least 1 */
    int32_t value;
};

/* `keys` are put in order; of equal ones the one with the largest value counts. */
llm_status double_array_build(struct double_array *array, struct memory *memory,
                              struct double_array_key *keys, size_t count);
void double_array_close(struct double_array *array); /* zeroed array allowed */

/* The child of `node` (0: the root) by `byte`, or 0. */
static inline uint32_t double_array_child(const struct double_array *array, uint32_t node,
                                          unsigned char byte)
{
    uint32_t child = array->units[node].base ^ byte;

    return array->units[child].check == node ? child : 0;
}

#endif
