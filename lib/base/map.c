/* SPDX-License-Identifier: MIT */
#include "base/map.h"

#include <string.h>

/* Multiply-mix over 8-byte words (the wyhash idea, Wang Yi 2019); not for adversarial keys alone:
 * probing is bounded because the table stays at most half full. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t hash_bytes(const void *bytes, size_t size)
{
    const unsigned char *p = bytes;
    uint64_t hash = 0x9E3779B97F4A7C15u ^ size;

    for (; size >= 8; size -= 8, p += 8) {
        uint64_t word = 0;

        for (int i = 7; i >= 0; i--)
            word = word << 8 | p[i];
        hash = mix(hash ^ word, 0xA0761D6478BD642Fu);
    }
    if (size) {
        uint64_t word = 0;

        while (size--)
            word = word << 8 | p[size];
        hash = mix(hash ^ word, 0xE7037ED1A0B428DBu);
    }
    return mix(hash ^ 0x8EBC6AF09C88C6E3u, 0x589965CC75374CC3u);
}

void map_init(struct map *map, struct memory *memory)
{
    memset(map, 0, sizeof *map);
    map->memory = memory;
    arena_init(&map->keys, memory);
}

void map_free(struct map *map)
{
    if (!map->memory)
        return;
    memory_release(map->memory, map->entries);
    memory_release(map->memory, map->slots);
    arena_free(&map->keys);
    map_init(map, map->memory);
}

static size_t find_slot(const struct map *map, const char *key, size_t size, uint64_t hash)
{
    size_t mask = map->slot_count - 1;
    size_t slot = hash & mask;

    while (map->slots[slot]) {
        const struct map_entry *entry = &map->entries[map->slots[slot] - 1];

        if (entry->hash == hash && entry->size == size && memcmp(entry->key, key, size) == 0)
            break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

static llm_status grow_slots(struct map *map)
{
    size_t count = map->slot_count ? map->slot_count * 2 : 16;
    uint32_t *slots = memory_alloc_zeroed(map->memory, count, sizeof *slots);

    if (!slots)
        return LLM_E_NOMEM;
    memory_release(map->memory, map->slots);
    map->slots = slots;
    map->slot_count = count;
    for (size_t i = 0; i < map->count; i++) {
        size_t slot = map->entries[i].hash & (count - 1);

        while (slots[slot])
            slot = (slot + 1) & (count - 1);
        slots[slot] = (uint32_t)(i + 1);
    }
    return LLM_OK;
}

struct map_entry *map_find(const struct map *map, const char *key, size_t size)
{
    size_t slot;

    if (map->slot_count == 0)
        return NULL;
    slot = find_slot(map, key, size, hash_bytes(key, size));
    return map->slots[slot] ? &map->entries[map->slots[slot] - 1] : NULL;
}

llm_status map_put(struct map *map, const char *key, size_t size, int64_t value, bool *inserted)
{
    uint64_t hash = hash_bytes(key, size);
    struct map_entry entry = {NULL, size, value, hash};
    size_t slot;
    llm_status status;

    if (inserted)
        *inserted = false;
    if ((map->count + 1) * 2 > map->slot_count) {
        if (map->count >= UINT32_MAX / 4)
            return status_set(LLM_E_RANGE, "more than %zu keys in one map", map->count);
        status = grow_slots(map);
        if (status)
            return status;
    }
    slot = find_slot(map, key, size, hash);
    if (map->slots[slot])
        return LLM_OK;
    status = memory_grow(map->memory, (void **)&map->entries, &map->capacity, map->count + 1,
                         sizeof *map->entries);
    if (status)
        return status;
    entry.key = arena_copy_text(&map->keys, key, size);
    if (!entry.key)
        return LLM_E_NOMEM;
    map->entries[map->count++] = entry;
    map->slots[slot] = (uint32_t)map->count;
    if (inserted)
        *inserted = true;
    return LLM_OK;
}
