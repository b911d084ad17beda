/* SPDX-License-Identifier: MIT
 *
 * Bump allocator for many small objects that die together: tape nodes, tensor headers, parsed
 * structures. mark/rewind give stack discipline; chunks are kept for reuse until arena_free().
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/memory.h"

struct arena_chunk;

struct arena {
    struct memory *memory;
    struct arena_chunk *first;
    struct arena_chunk *current;
    size_t used; /* bytes used in `current` */
};

struct arena_mark {
    struct arena_chunk *chunk;
    size_t used;
};

void arena_init(struct arena *arena, struct memory *memory);
void *arena_alloc(struct arena *arena, size_t size); /* 16-byte aligned, zeroed */
char *arena_copy_text(struct arena *arena, const char *text, size_t size); /* NUL added */
struct arena_mark arena_mark(const struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark mark);
void arena_reset(struct arena *arena); /* everything gone, chunks kept */
void arena_free(struct arena *arena);

#endif
