/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* madvise() and its flags */
#include "base/memory.h"

#include "base/checked.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

/* In front of every block, one alignment unit that keeps user data aligned. */
struct header {
    size_t total; /* bytes taken from the allocator, header included */
    size_t magic;
    char padding[MEMORY_ALIGNMENT - 2 * sizeof(size_t)];
};

_Static_assert(sizeof(struct header) == MEMORY_ALIGNMENT, "the header keeps blocks aligned");

static const size_t live_magic = (size_t)0x6c6c6d6c69766521u;
static const size_t huge_page = (size_t)2 << 20;

void memory_init(struct memory *memory, const llm_context_options *options)
{
    memory->alloc = options->alloc;
    memory->release = options->release;
    memory->user = options->alloc_user;
    memory->limit = options->memory_limit;
    atomic_init(&memory->used, 0);
    atomic_init(&memory->peak, 0);
}

static bool reserve(struct memory *memory, size_t total)
{
    uint64_t now = atomic_fetch_add(&memory->used, total) + total;
    uint64_t peak = atomic_load(&memory->peak);

    if (memory->limit != 0 && now > memory->limit) {
        atomic_fetch_sub(&memory->used, total);
        return false;
    }
    while (now > peak && !atomic_compare_exchange_weak(&memory->peak, &peak, now))
        continue;
    return true;
}

static void *take(struct memory *memory, size_t total)
{
    size_t alignment = MEMORY_ALIGNMENT;
    void *block = NULL;

    if (memory->alloc)
        return memory->alloc(memory->user, total, MEMORY_ALIGNMENT);
    if (total >= 2 * huge_page)
        alignment = huge_page;
    if (posix_memalign(&block, alignment, total))
        return NULL;
#if defined(MADV_HUGEPAGE)
    if (alignment == huge_page) /* whole ones only: the rest would cost up to another one */
        (void)madvise(block, total / huge_page * huge_page, MADV_HUGEPAGE);
#endif
    return block;
}

void *memory_alloc(struct memory *memory, size_t size)
{
    struct header *header = NULL;
    size_t total;

    if (size == 0)
        size = 1; /* the pointer lies in its block: leak checkers look for that */
    if (!checked_add(size, sizeof *header, &total) || total > PTRDIFF_MAX) {
        status_set(LLM_E_NOMEM, "out of memory: %zu bytes asked for", size);
        return NULL;
    }
    if (!reserve(memory, total)) {
        status_set(LLM_E_NOMEM, "memory limit of %llu bytes reached: %zu more asked for",
                   (unsigned long long)memory->limit, size);
        return NULL;
    }
    header = take(memory, total);
    if (!header) {
        atomic_fetch_sub(&memory->used, total);
        status_set(LLM_E_NOMEM, "out of memory: %zu bytes asked for", size);
        return NULL;
    }
    header->total = total;
    header->magic = live_magic;
    return header + 1;
}

void *memory_alloc_array(struct memory *memory, size_t count, size_t size)
{
    size_t bytes;

    if (!checked_mul(count, size, &bytes)) {
        status_set(LLM_E_NOMEM, "out of memory: %zu elements of %zu bytes asked for", count, size);
        return NULL;
    }
    return memory_alloc(memory, bytes);
}

void *memory_alloc_zeroed(struct memory *memory, size_t count, size_t size)
{
    void *block = memory_alloc_array(memory, count, size);

    if (block)
        memset(block, 0, count * size);
    return block;
}

char *memory_copy_text(struct memory *memory, const char *text, size_t size)
{
    size_t total;
    char *copy;

    if (!checked_add(size, 1, &total)) {
        status_set(LLM_E_NOMEM, "out of memory: %zu bytes asked for", size);
        return NULL;
    }
    copy = memory_alloc(memory, total);
    if (!copy)
        return NULL;
    if (size)
        memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

void memory_release(struct memory *memory, void *pointer)
{
    struct header *header;
    size_t total;

    if (!pointer)
        return;
    header = (struct header *)pointer - 1;
    if (header->magic != live_magic)
        return; /* freed twice or never ours: leaking beats corrupting the host's heap */
    total = header->total;
    header->magic = 0;
    atomic_fetch_sub(&memory->used, total);
    if (memory->release)
        memory->release(memory->user, header, total);
    else
        free(header);
}

uint64_t memory_physical(void)
{
#if defined(_SC_PHYS_PAGES)
    long pages = sysconf(_SC_PHYS_PAGES);
    long size = sysconf(_SC_PAGESIZE);

    if (pages > 0 && size > 0)
        return (uint64_t)pages * (uint64_t)size;
#endif
    return 0;
}

llm_status memory_grow(struct memory *memory, void **array, size_t *capacity, size_t needed,
                       size_t size)
{
    size_t wanted = *capacity < 8 ? 8 : *capacity;
    void *bigger;

    if (needed <= *capacity)
        return LLM_OK;
    while (wanted < needed) {
        if (!checked_mul(wanted, 2, &wanted))
            return status_set(LLM_E_NOMEM, "out of memory: %zu elements asked for", needed);
    }
    bigger = memory_alloc_array(memory, wanted, size);
    if (!bigger)
        return LLM_E_NOMEM;
    if (*capacity)
        memcpy(bigger, *array, *capacity * size);
    memory_release(memory, *array);
    *array = bigger;
    *capacity = wanted;
    return LLM_OK;
}
