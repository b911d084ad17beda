/* SPDX-License-Identifier: MIT
 *
 * One block of memory per page holds all layers, so that a page has one reference count. The lock
 * guards the list of sequences and the list of free pages; the counts are atomic, and a page that
 * has one owner is written by that owner alone.
 */
#include "nn/kv_cache.h"

#include "base/checked.h"
#include "kernels/attention.h"
#include "llm/tensor.h"

#include <pthread.h>
#include <string.h>

struct page {
    _Atomic int references;
    struct page *next; /* free list */
};

enum { PAGE_HEADER = MEMORY_ALIGNMENT };

_Static_assert(sizeof(struct page) <= PAGE_HEADER, "keys and values stay aligned");

struct sequence {
    int64_t length;
    size_t count;        /* pages, reserved ones included */
    size_t capacity;     /* of pages and of each layer's row of `layers` */
    struct page **pages; /* [capacity] */
    void **layers;       /* [layers][capacity]: where each layer's part of each page starts */
};

struct kv_cache {
    _Atomic int references;
    llm_context *context;
    struct kv_cache_shape shape;
    size_t layer_bytes, page_bytes;
    pthread_mutex_t lock;
    struct page *free_pages;
    size_t pages_free, pages_held, pages_most; /* pages_most 0: no limit */
    struct sequence **sequences;               /* NULL: number not in use */
    size_t sequence_count, sequence_capacity;
};

static struct memory *memory_of(struct kv_cache *cache)
{
    return &cache->context->memory;
}

static llm_status size_pages(struct kv_cache *cache)
{
    const struct kv_cache_shape *shape = &cache->shape;
    const struct attention_cache layout = {.type = ATTENTION_CACHE_F32,
                                           .kv_heads = shape->kv_heads,
                                           .head_dim = shape->head_dim,
                                           .page_tokens = KV_PAGE_TOKENS};

    if (shape->layers < 1 || shape->kv_heads < 1 || shape->head_dim < 1 || shape->max_tokens < 0)
        return status_set(LLM_E_RANGE, "KV cache: %d layers of %d heads of %d, %lld tokens",
                          shape->layers, shape->kv_heads, shape->head_dim,
                          (long long)shape->max_tokens);
    if (shape->dtype != LLM_F32)
        return status_set(LLM_E_UNSUPPORTED, "KV cache: dtype %d", shape->dtype);
    cache->layer_bytes = attention_page_bytes(&layout);
    if (!checked_mul(cache->layer_bytes, (size_t)shape->layers, &cache->page_bytes) ||
        !checked_add(cache->page_bytes, PAGE_HEADER, &cache->page_bytes))
        return status_set(LLM_E_RANGE, "KV cache: a page of %d layers is too large", shape->layers);
    cache->pages_most =
        (size_t)(shape->max_tokens / KV_PAGE_TOKENS) + (shape->max_tokens % KV_PAGE_TOKENS ? 1 : 0);
    return LLM_OK;
}

llm_status kv_cache_new(struct kv_cache **out, llm_context *context,
                        const struct kv_cache_shape *shape)
{
    struct kv_cache *cache = memory_alloc_zeroed(&context->memory, 1, sizeof *cache);
    llm_status status;

    *out = NULL;
    if (!cache)
        return LLM_E_NOMEM;
    cache->shape = *shape;
    status = size_pages(cache);
    if (!status && pthread_mutex_init(&cache->lock, NULL))
        status = status_set(LLM_E_NOMEM, "KV cache: no mutex");
    if (status) {
        memory_release(&context->memory, cache);
        return status;
    }
    atomic_init(&cache->references, 1);
    cache->context = context_retain(context);
    *out = cache;
    return LLM_OK;
}

struct kv_cache *kv_cache_retain(struct kv_cache *cache)
{
    atomic_fetch_add(&cache->references, 1);
    return cache;
}

void kv_cache_release(struct kv_cache *cache)
{
    llm_context *context;

    if (!cache || atomic_fetch_sub(&cache->references, 1) != 1)
        return;
    for (size_t i = 0; i < cache->sequence_count; i++)
        kv_cache_remove(cache, (int32_t)i);
    kv_cache_trim(cache);
    (void)pthread_mutex_destroy(&cache->lock);
    context = cache->context;
    memory_release(&context->memory, cache->sequences);
    memory_release(&context->memory, cache);
    context_release(context);
}

const struct kv_cache_shape *kv_cache_shape_of(const struct kv_cache *cache)
{
    return &cache->shape;
}

/* ---- pages ------------------------------------------------------------------------------------
 */

/* A page of our own, contents unspecified. */
static llm_status take_page(struct page **out, struct kv_cache *cache)
{
    llm_status status = LLM_OK;
    struct page *page;

    pthread_mutex_lock(&cache->lock);
    page = cache->free_pages;
    if (cache->pages_most && cache->pages_held - cache->pages_free >= cache->pages_most) {
        status = status_set(LLM_E_RANGE, "KV cache: all %lld tokens are in use",
                            (long long)cache->shape.max_tokens);
    } else if (page) {
        cache->free_pages = page->next;
        cache->pages_free--;
    } else {
        page = memory_alloc(memory_of(cache), cache->page_bytes);
        status = page ? LLM_OK : LLM_E_NOMEM;
        cache->pages_held += page != NULL;
    }
    pthread_mutex_unlock(&cache->lock);
    if (!status)
        atomic_init(&page->references, 1);
    *out = status ? NULL : page;
    return status;
}

static void drop_page(struct kv_cache *cache, struct page *page)
{
    if (atomic_fetch_sub(&page->references, 1) != 1)
        return;
    pthread_mutex_lock(&cache->lock);
    page->next = cache->free_pages;
    cache->free_pages = page;
    cache->pages_free++;
    pthread_mutex_unlock(&cache->lock);
}

void kv_cache_trim(struct kv_cache *cache)
{
    struct page *list;

    pthread_mutex_lock(&cache->lock);
    list = cache->free_pages;
    cache->free_pages = NULL;
    cache->pages_held -= cache->pages_free;
    cache->pages_free = 0;
    pthread_mutex_unlock(&cache->lock);
    while (list) {
        struct page *next = list->next;

        memory_release(memory_of(cache), list);
        list = next;
    }
}

size_t kv_cache_bytes(struct kv_cache *cache)
{
    size_t held;

    pthread_mutex_lock(&cache->lock);
    held = cache->pages_held;
    pthread_mutex_unlock(&cache->lock);
    return held * cache->page_bytes;
}

static size_t pages_for(int64_t tokens)
{
    return (size_t)((tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS);
}

/* ---- sequences --------------------------------------------------------------------------------
 */

static struct sequence *find(struct kv_cache *cache, int32_t number)
{
    struct sequence *sequence = NULL;

    pthread_mutex_lock(&cache->lock);
    if (number >= 0 && (size_t)number < cache->sequence_count)
        sequence = cache->sequences[number];
    pthread_mutex_unlock(&cache->lock);
    return sequence;
}

static llm_status no_sequence(int32_t number)
{
    return status_set(LLM_E_INVALID, "KV cache: there is no sequence %d", number);
}

static void put_page(struct kv_cache *cache, struct sequence *sequence, size_t index,
                     struct page *page)
{
    char *data = (char *)page + PAGE_HEADER;

    sequence->pages[index] = page;
    for (int32_t layer = 0; layer < cache->shape.layers; layer++)
        sequence->layers[(size_t)layer * sequence->capacity + index] =
            data + (size_t)layer * cache->layer_bytes;
}

static llm_status grow_sequence(struct kv_cache *cache, struct sequence *sequence, size_t needed)
{
    size_t layers = (size_t)cache->shape.layers;
    size_t capacity = sequence->capacity ? sequence->capacity : 8;
    struct sequence old = *sequence;
    struct page **pages;
    void **table = NULL;
    size_t cells;

    while (capacity < needed)
        capacity *= 2;
    if (capacity == sequence->capacity)
        return LLM_OK;
    pages = memory_alloc_array(memory_of(cache), capacity, sizeof *pages);
    if (pages && checked_mul(layers, capacity, &cells))
        table = memory_alloc_array(memory_of(cache), cells, sizeof *table);
    if (!table) {
        memory_release(memory_of(cache), pages);
        return LLM_E_NOMEM;
    }
    sequence->pages = pages;
    sequence->layers = table;
    sequence->capacity = capacity;
    for (size_t i = 0; i < old.count; i++)
        put_page(cache, sequence, i, old.pages[i]);
    memory_release(memory_of(cache), old.pages);
    memory_release(memory_of(cache), old.layers);
    return LLM_OK;
}

static void drop_pages(struct kv_cache *cache, struct sequence *sequence, size_t kept)
{
    while (sequence->count > kept)
        drop_page(cache, sequence->pages[--sequence->count]);
}

static void free_sequence(struct kv_cache *cache, struct sequence *sequence)
{
    if (!sequence)
        return;
    drop_pages(cache, sequence, 0);
    memory_release(memory_of(cache), sequence->pages);
    memory_release(memory_of(cache), sequence->layers);
    memory_release(memory_of(cache), sequence);
}

/* Puts `sequence` under the lowest free number. */
static llm_status enter(struct kv_cache *cache, struct sequence *sequence, int32_t *number_out)
{
    llm_status status = LLM_OK;
    size_t number = 0;

    pthread_mutex_lock(&cache->lock);
    while (number < cache->sequence_count && cache->sequences[number])
        number++;
    if (number == INT32_MAX)
        status = status_set(LLM_E_RANGE, "KV cache: too many sequences");
    if (!status)
        status = memory_grow(memory_of(cache), (void **)&cache->sequences,
                             &cache->sequence_capacity, number + 1, sizeof(struct sequence *));
    if (!status) {
        cache->sequences[number] = sequence;
        if (number == cache->sequence_count)
            cache->sequence_count++;
        *number_out = (int32_t)number;
    }
    pthread_mutex_unlock(&cache->lock);
    return status;
}

llm_status kv_cache_add(struct kv_cache *cache, int32_t *sequence_out)
{
    struct sequence *sequence = memory_alloc_zeroed(memory_of(cache), 1, sizeof *sequence);
    llm_status status;

    *sequence_out = -1;
    if (!sequence)
        return LLM_E_NOMEM;
    status = enter(cache, sequence, sequence_out);
    if (status)
        free_sequence(cache, sequence);
    return status;
}

llm_status kv_cache_fork(struct kv_cache *cache, int32_t *sequence_out, int32_t from)
{
    struct sequence *old = find(cache, from);
    struct sequence *sequence = NULL;
    llm_status status;
    size_t shared;

    *sequence_out = -1;
    if (!old)
        return no_sequence(from);
    shared = pages_for(old->length);
    sequence = memory_alloc_zeroed(memory_of(cache), 1, sizeof *sequence);
    status = sequence ? grow_sequence(cache, sequence, shared) : LLM_E_NOMEM;
    if (status)
        goto done;
    for (size_t i = 0; i < shared; i++) {
        atomic_fetch_add(&old->pages[i]->references, 1);
        put_page(cache, sequence, i, old->pages[i]);
    }
    sequence->count = shared;
    sequence->length = old->length;
    status = enter(cache, sequence, sequence_out);
done:
    if (status)
        free_sequence(cache, sequence);
    return status;
}

void kv_cache_remove(struct kv_cache *cache, int32_t number)
{
    struct sequence *sequence = find(cache, number);

    if (!sequence)
        return;
    pthread_mutex_lock(&cache->lock);
    cache->sequences[number] = NULL;
    pthread_mutex_unlock(&cache->lock);
    free_sequence(cache, sequence);
}

int64_t kv_cache_length(struct kv_cache *cache, int32_t number)
{
    struct sequence *sequence = find(cache, number);

    return sequence ? sequence->length : 0;
}

llm_status kv_cache_rewind(struct kv_cache *cache, int32_t number, int64_t length)
{
    struct sequence *sequence = find(cache, number);

    if (!sequence)
        return no_sequence(number);
    if (length < 0 || length > sequence->length)
        return status_set(LLM_E_RANGE, "KV cache: rewind to %lld of %lld tokens", (long long)length,
                          (long long)sequence->length);
    sequence->length = length;
    drop_pages(cache, sequence, pages_for(length));
    return LLM_OK;
}

/* The page that the next token goes to, if it holds others already, must be ours alone. */
static llm_status own_last_page(struct kv_cache *cache, struct sequence *sequence)
{
    size_t index = (size_t)(sequence->length / KV_PAGE_TOKENS);
    struct page *shared;
    struct page *copy;
    llm_status status;

    if (sequence->length % KV_PAGE_TOKENS == 0)
        return LLM_OK;
    shared = sequence->pages[index];
    if (atomic_load(&shared->references) == 1)
        return LLM_OK;
    status = take_page(&copy, cache);
    if (status)
        return status;
    memcpy((char *)copy + PAGE_HEADER, (char *)shared + PAGE_HEADER,
           cache->page_bytes - PAGE_HEADER);
    put_page(cache, sequence, index, copy);
    drop_page(cache, shared);
    return LLM_OK;
}

llm_status kv_cache_reserve(struct kv_cache *cache, int32_t number, int64_t count)
{
    struct sequence *sequence = find(cache, number);
    llm_status status;
    size_t needed;

    if (!sequence)
        return no_sequence(number);
    if (count < 0 || count > INT64_MAX / 2 - sequence->length)
        return status_set(LLM_E_RANGE, "KV cache: %lld tokens asked for", (long long)count);
    needed = pages_for(sequence->length + count);
    if (cache->pages_most && needed > cache->pages_most)
        return status_set(LLM_E_RANGE, "KV cache: %lld tokens, room for %lld",
                          (long long)(sequence->length + count),
                          (long long)cache->shape.max_tokens);
    status = grow_sequence(cache, sequence, needed);
    if (!status && count)
        status = own_last_page(cache, sequence);
    while (!status && sequence->count < needed) {
        struct page *page;

        status = take_page(&page, cache);
        if (!status)
            put_page(cache, sequence, sequence->count++, page);
    }
    if (status)
        drop_pages(cache, sequence, pages_for(sequence->length));
    return status;
}

void kv_cache_commit(struct kv_cache *cache, int32_t number, int64_t count)
{
    struct sequence *sequence = find(cache, number);

    if (sequence && count > 0 && pages_for(sequence->length + count) <= sequence->count)
        sequence->length += count;
}

void *const *kv_cache_pages(struct kv_cache *cache, int32_t number, int32_t layer,
                            int64_t *count_out)
{
    struct sequence *sequence = find(cache, number);

    *count_out = 0;
    if (!sequence || layer < 0 || layer >= cache->shape.layers || !sequence->count)
        return NULL;
    *count_out = (int64_t)sequence->count;
    return sequence->layers + (size_t)layer * sequence->capacity;
}
