/* SPDX-License-Identifier: MIT
 *
 * Hash map from byte strings to int64 values; keys are copied. Iterates in insertion order.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/arena.h"

#include <stdbool.h>

struct map_entry {
    const char *key; /* NUL-terminated copy */
    size_t size;
    int64_t value;
    uint64_t hash;
};

struct map {
    struct memory *memory;
    struct arena keys;
    struct map_entry *entries;
    size_t count;
    size_t capacity;
    uint32_t *slots;   /* 1-based entry index, 0 = free */
    size_t slot_count; /* power of two */
};

void map_init(struct map *map, struct memory *memory);
void map_free(struct map *map);
/* LLM_OK and *inserted = false when the key was there already (its value is kept). */
llm_status map_put(struct map *map, const char *key, size_t size, int64_t value, bool *inserted);
/* The entry, or NULL. */
struct map_entry *map_find(const struct map *map, const char *key, size_t size);

/* 64-bit hash of bytes, the same on every platform. */
uint64_t hash_bytes(const void *bytes, size_t size);

#endif
