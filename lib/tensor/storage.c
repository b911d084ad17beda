/* SPDX-License-Identifier: MIT */
#include "tensor/storage.h"

#include <string.h>

enum { SIZE_CLASSES = 4 * 60, SMALLEST = 256 };

struct pool {
    llm_context *context;
    struct storage *free[SIZE_CLASSES];
    struct storage *live;
};

llm_status storage_new(struct storage **out, llm_context *context, size_t bytes)
{
    struct storage *storage = memory_alloc_zeroed(&context->memory, 1, sizeof *storage);

    *out = NULL;
    if (!storage)
        return LLM_E_NOMEM;
    storage->data = memory_alloc(&context->memory, bytes);
    if (!storage->data) {
        memory_release(&context->memory, storage);
        return LLM_E_NOMEM;
    }
    atomic_init(&storage->references, 1);
    storage->bytes = bytes;
    storage->context = context_retain(context);
    *out = storage;
    return LLM_OK;
}

llm_status storage_wrap(struct storage **out, llm_context *context, void *data, size_t bytes,
                        void (*release)(void *user, void *data), void *user)
{
    struct storage *storage = memory_alloc_zeroed(&context->memory, 1, sizeof *storage);

    *out = NULL;
    if (!storage)
        return LLM_E_NOMEM;
    atomic_init(&storage->references, 1);
    storage->data = data;
    storage->bytes = bytes;
    storage->context = context_retain(context);
    storage->is_borrowed = true;
    storage->release = release;
    storage->user = user;
    *out = storage;
    return LLM_OK;
}

struct storage *storage_retain(struct storage *storage)
{
    atomic_fetch_add(&storage->references, 1);
    return storage;
}

bool storage_is_shared(const struct storage *storage)
{
    return atomic_load(&storage->references) > 1;
}

static void destroy(struct storage *storage)
{
    llm_context *context = storage->context;

    if (!storage->is_borrowed)
        memory_release(&context->memory, storage->data);
    else if (storage->release)
        storage->release(storage->user, storage->data);
    memory_release(&context->memory, storage);
    context_release(context);
}

static void unlink_live(struct storage *storage)
{
    if (storage->previous_live)
        storage->previous_live->next_live = storage->next_live;
    else
        storage->pool->live = storage->next_live;
    if (storage->next_live)
        storage->next_live->previous_live = storage->previous_live;
    storage->previous_live = NULL;
    storage->next_live = NULL;
}

static void link_live(struct pool *pool, struct storage *storage)
{
    storage->previous_live = NULL;
    storage->next_live = pool->live;
    if (pool->live)
        pool->live->previous_live = storage;
    pool->live = storage;
}

void storage_escape(struct storage *storage)
{
    if (!storage->pool)
        return;
    unlink_live(storage);
    storage->pool = NULL;
}

void storage_release(struct storage *storage)
{
    if (!storage || atomic_fetch_sub(&storage->references, 1) != 1)
        return;
    if (storage->pool) {
        unlink_live(storage);
        storage->next = storage->pool->free[storage->size_class];
        storage->pool->free[storage->size_class] = storage;
    } else {
        destroy(storage);
    }
}

/* Four classes per power of two: at most a fifth of a buffer is wasted. */
static int size_class(size_t bytes, size_t *rounded)
{
    size_t step = SMALLEST / 4;
    int base = 0;

    if (bytes < SMALLEST)
        bytes = SMALLEST;
    while (bytes > step * 8) {
        step *= 2;
        base += 4;
    }
    *rounded = (bytes + step - 1) / step * step;
    return base + (int)(*rounded / step) - 4;
}

struct pool *pool_new(llm_context *context)
{
    struct pool *pool = memory_alloc_zeroed(&context->memory, 1, sizeof *pool);

    if (pool)
        pool->context = context_retain(context);
    return pool;
}

void pool_trim(struct pool *pool)
{
    for (int i = 0; i < SIZE_CLASSES; i++) {
        while (pool->free[i]) {
            struct storage *storage = pool->free[i];

            pool->free[i] = storage->next;
            destroy(storage);
        }
    }
}

void pool_free(struct pool *pool)
{
    llm_context *context;

    if (!pool)
        return;
    pool_trim(pool);
    while (pool->live)
        storage_escape(pool->live);
    context = pool->context;
    memory_release(&context->memory, pool);
    context_release(context);
}

/* A free buffer of the class or, rather than asking the system, one half as large again. */
static struct storage *take_free(struct pool *pool, int class)
{
    for (int c = class; c <= class + 2 && c < SIZE_CLASSES; c++) {
        struct storage *storage = pool->free[c];

        if (storage) {
            pool->free[c] = storage->next;
            return storage;
        }
    }
    return NULL;
}

struct storage *pool_take(struct pool *pool, size_t bytes)
{
    struct storage *storage;
    size_t rounded;
    int class;

    if (bytes > PTRDIFF_MAX / 2) {
        status_set(LLM_E_NOMEM, "out of memory: %zu bytes asked for", bytes);
        return NULL;
    }
    class = size_class(bytes, &rounded);
    storage = take_free(pool, class);
    if (storage) {
        storage->next = NULL;
        atomic_store(&storage->references, 1);
    } else {
        if (storage_new(&storage, pool->context, rounded)) {
            pool_trim(pool); /* other sizes may be what stands in the way */
            if (storage_new(&storage, pool->context, rounded))
                return NULL;
        }
        storage->pool = pool;
        storage->size_class = class;
    }
    link_live(pool, storage);
    return storage;
}
