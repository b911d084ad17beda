/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include "base/checked.h"

#include <string.h>

enum { CHUNK_SIZE = 64 * 1024, ARENA_ALIGNMENT = 16 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* payload bytes */
};

_Static_assert(sizeof(struct arena_chunk) % ARENA_ALIGNMENT == 0, "payload stays aligned");

void arena_init(struct arena *arena, struct memory *memory)
{
    arena->memory = memory;
    arena->first = NULL;
    arena->current = NULL;
    arena->used = 0;
}

/* Make `current` a chunk with room for `size` bytes: the next kept one if it is large enough. */
static bool next_chunk(struct arena *arena, size_t size)
{
    struct arena_chunk *next = arena->current ? arena->current->next : arena->first;
    size_t payload = size > CHUNK_SIZE ? size : CHUNK_SIZE;
    struct arena_chunk *fresh;
    size_t total;

    if (!next || next->size < size) {
        if (!checked_add(payload, sizeof *fresh, &total)) {
            status_set(LLM_E_NOMEM, "out of memory: %zu bytes asked for", size);
            return false;
        }
        fresh = memory_alloc(arena->memory, total);
        if (!fresh)
            return false;
        fresh->size = payload;
        fresh->next = next;
        if (arena->current)
            arena->current->next = fresh;
        else
            arena->first = fresh;
        next = fresh;
    }
    arena->current = next;
    arena->used = 0;
    return true;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    size_t rounded;
    char *block;

    if (!checked_align(size ? size : 1, ARENA_ALIGNMENT, &rounded)) {
        status_set(LLM_E_NOMEM, "out of memory: %zu bytes asked for", size);
        return NULL;
    }
    if (!arena->current || rounded > arena->current->size - arena->used) {
        if (!next_chunk(arena, rounded))
            return NULL;
    }
    block = (char *)(arena->current + 1) + arena->used;
    arena->used += rounded;
    memset(block, 0, rounded);
    return block;
}

char *arena_copy_text(struct arena *arena, const char *text, size_t size)
{
    char *copy;

    if (size == SIZE_MAX) {
        status_set(LLM_E_NOMEM, "out of memory: text too long");
        return NULL;
    }
    copy = arena_alloc(arena, size + 1);
    if (copy && size)
        memcpy(copy, text, size);
    return copy;
}

struct arena_mark arena_mark(const struct arena *arena)
{
    struct arena_mark mark = {arena->current, arena->used};

    return mark;
}

void arena_rewind(struct arena *arena, struct arena_mark mark)
{
    arena->current = mark.chunk;
    arena->used = mark.used;
}

void arena_reset(struct arena *arena)
{
    arena->current = NULL;
    arena->used = 0;
}

void arena_free(struct arena *arena)
{
    struct arena_chunk *chunk = arena->first;

    while (chunk) {
        struct arena_chunk *next = chunk->next;

        memory_release(arena->memory, chunk);
        chunk = next;
    }
    arena_init(arena, arena->memory);
}
