/* SPDX-License-Identifier: MIT
 *
 * The only place that allocates. Every block is 64-byte aligned and goes through the context's
 * hooks, its limit and its counters. Large blocks ask the kernel for huge pages.
 * All functions are thread-safe. On failure they return NULL / LLM_E_NOMEM with the message set.
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include "base/status.h"
#include "llm/context.h"

#include <stdatomic.h>

enum { MEMORY_ALIGNMENT = 64 };

struct memory {
    llm_alloc_fn alloc; /* NULL: the C allocator */
    llm_release_fn release;
    void *user;
    uint64_t limit; /* 0: none */
    _Atomic uint64_t used;
    _Atomic uint64_t peak;
};

void memory_init(struct memory *memory, const llm_context_options *options);

/* `size` 0 gives a valid unique pointer. Contents are unspecified. */
void *memory_alloc(struct memory *memory, size_t size);

/* count * size bytes, zeroed, overflow-checked. */
void *memory_alloc_zeroed(struct memory *memory, size_t count, size_t size);

/* count * size bytes, contents unspecified, overflow-checked. */
void *memory_alloc_array(struct memory *memory, size_t count, size_t size);

/* Copy of `size` bytes plus a terminating NUL. */
char *memory_copy_text(struct memory *memory, const char *text, size_t size);

void memory_release(struct memory *memory, void *pointer); /* NULL allowed */

/* Bytes of memory the machine has; 0: unknown. */
uint64_t memory_physical(void);

/* Grow *array (elements of `size` bytes, capacity *capacity) so that it holds `needed` elements;
 * amortized doubling; contents kept; on failure the old array stays valid. */
llm_status memory_grow(struct memory *memory, void **array, size_t *capacity, size_t needed,
                       size_t size);

#endif
