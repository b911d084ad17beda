/* SPDX-License-Identifier: MIT
 *
 * The paged KV cache: pages come on demand, are shared by forks, copied when one of the owners
 * writes, given back by rewinding; counted in the context; the same from two threads at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "kernels/attention.h"
#include "llm.h"
#include "nn/kv_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 3, PAGE = KV_PAGE_TOKENS };

static struct kv_cache_shape shape = {LAYERS, 2, 5, LLM_F32, 0};

static llm_context *new_context(llm_alloc_fn alloc, llm_release_fn release, void *user)
{
    llm_context_options options;
    llm_context *context;

    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    options.alloc = alloc;
    options.release = release;
    options.alloc_user = user;
    assert_int_equal(llm_context_new(&context, &options), LLM_OK);
    return context;
}

/* A token leaves its mark in each layer, in place of real keys and values. */
static float *slot(struct kv_cache *cache, int32_t sequence, int32_t layer, int64_t position)
{
    int64_t count;
    void *const *pages = kv_cache_pages(cache, sequence, layer, &count);

    assert_true(position / PAGE < count);
    return (float *)pages[position / PAGE] + position % PAGE;
}

static void write_tokens(struct kv_cache *cache, int32_t sequence, int64_t count, float mark)
{
    int64_t start = kv_cache_length(cache, sequence);

    assert_int_equal(kv_cache_reserve(cache, sequence, count), LLM_OK);
    for (int64_t i = 0; i < count; i++)
        for (int32_t layer = 0; layer < LAYERS; layer++)
            *slot(cache, sequence, layer, start + i) =
                mark + (float)(start + i) + 10000.0f * (float)layer;
    assert_int_equal(kv_cache_length(cache, sequence), start);
    kv_cache_commit(cache, sequence, count);
    assert_int_equal(kv_cache_length(cache, sequence), start + count);
}

static void expect_tokens(struct kv_cache *cache, int32_t sequence, int64_t from, int64_t to,
                          float mark)
{
    for (int64_t i = from; i < to; i++)
        for (int32_t layer = 0; layer < LAYERS; layer++)
            assert_true(*slot(cache, sequence, layer, i) ==
                        mark + (float)i + 10000.0f * (float)layer);
}

static size_t page_bytes(void)
{
    struct attention_cache layout = {ATTENTION_CACHE_F32, 2, 5, PAGE};

    return LAYERS * attention_page_bytes(&layout);
}

static size_t pages_held(struct kv_cache *cache)
{
    return kv_cache_bytes(cache) / page_bytes(); /* page headers are small */
}

static void test_demand(void **state)
{
    llm_context *context = new_context(NULL, NULL, NULL);
    struct kv_cache *cache;
    uint64_t before;
    uint64_t after;
    int32_t a;
    int32_t b;

    (void)state;
    assert_int_equal(kv_cache_new(&cache, context, &shape), LLM_OK);
    assert_int_equal(kv_cache_add(cache, &a), LLM_OK);
    assert_int_equal(kv_cache_add(cache, &b), LLM_OK);
    assert_int_not_equal(a, b);
    assert_int_equal(kv_cache_bytes(cache), 0);
    assert_int_equal(llm_context_memory(&before, NULL, context), LLM_OK);
    write_tokens(cache, a, 1, 0.0f);
    assert_int_equal(pages_held(cache), 1);
    assert_int_equal(llm_context_memory(&after, NULL, context), LLM_OK);
    assert_true(after - before >= page_bytes() && after - before < page_bytes() + 1024);
    write_tokens(cache, a, PAGE - 1, 0.0f);
    assert_int_equal(pages_held(cache), 1);
    write_tokens(cache, a, 20 * PAGE, 0.0f);
    assert_int_equal(pages_held(cache), 21);
    expect_tokens(cache, a, 0, 21 * PAGE, 0.0f);
    assert_int_equal(kv_cache_length(cache, b), 0);
    kv_cache_remove(cache, a);
    assert_int_equal(pages_held(cache), 21); /* for whoever comes next */
    write_tokens(cache, b, 2 * PAGE, 5.0f);
    assert_int_equal(pages_held(cache), 21);
    kv_cache_trim(cache);
    assert_int_equal(pages_held(cache), 2);
    expect_tokens(cache, b, 0, 2 * PAGE, 5.0f);
    assert_int_equal(kv_cache_add(cache, &a), LLM_OK);
    assert_int_equal(a, 0); /* numbers are used again */
    kv_cache_release(cache);
    kv_cache_release(NULL);
    assert_int_equal(llm_context_memory(&after, NULL, context), LLM_OK);
    llm_context_free(context);
}

static void test_fork(void **state)
{
    llm_context *context = new_context(NULL, NULL, NULL);
    struct kv_cache *cache;
    int32_t a;
    int32_t b;
    int32_t c;

    (void)state;
    assert_int_equal(kv_cache_new(&cache, context, &shape), LLM_OK);
    assert_int_equal(kv_cache_add(cache, &a), LLM_OK);
    write_tokens(cache, a, PAGE + 7, 0.0f);
    assert_int_equal(kv_cache_fork(cache, &b, a), LLM_OK);
    assert_int_equal(kv_cache_fork(cache, &c, b), LLM_OK);
    assert_int_equal(pages_held(cache), 2);
    assert_ptr_equal(slot(cache, a, 1, 0), slot(cache, c, 1, 0));
    write_tokens(cache, b, 3, 100.0f); /* copies the partial page, not the full one */
    assert_int_equal(pages_held(cache), 3);
    write_tokens(cache, a, 3, 200.0f);
    assert_int_equal(pages_held(cache), 4);
    write_tokens(cache, c, 3, 300.0f); /* the only one left to own the first copy */
    assert_int_equal(pages_held(cache), 4);
    for (int i = 0; i < 3; i++) {
        int32_t sequence = i == 0 ? b : i == 1 ? a : c;

        expect_tokens(cache, sequence, 0, PAGE + 7, 0.0f);
        expect_tokens(cache, sequence, PAGE + 7, PAGE + 10, 100.0f * (float)(i + 1));
    }
    kv_cache_remove(cache, a);
    expect_tokens(cache, b, 0, PAGE + 7, 0.0f);
    /* a full page that is shared, rewound into and written */
    assert_int_equal(kv_cache_rewind(cache, b, 5), LLM_OK);
    write_tokens(cache, b, 4, 400.0f);
    expect_tokens(cache, b, 0, 5, 0.0f);
    expect_tokens(cache, b, 5, 9, 400.0f);
    expect_tokens(cache, c, 0, PAGE + 7, 0.0f);
    assert_int_equal(kv_cache_fork(cache, &a, 77), LLM_E_INVALID);
    assert_int_equal(a, -1);
    kv_cache_remove(cache, -1);
    kv_cache_remove(cache, 77);
    kv_cache_release(cache);
    llm_context_free(context);
}

static void test_rewind(void **state)
{
    llm_context *context = new_context(NULL, NULL, NULL);
    struct kv_cache *cache;
    int64_t count;
    int32_t a;

    (void)state;
    assert_int_equal(kv_cache_new(&cache, context, &shape), LLM_OK);
    assert_int_equal(kv_cache_add(cache, &a), LLM_OK);
    assert_null(kv_cache_pages(cache, a, 0, &count));
    assert_int_equal(count, 0);
    write_tokens(cache, a, 3 * PAGE, 0.0f);
    assert_int_equal(kv_cache_reserve(cache, a, PAGE + 1), LLM_OK); /* never committed */
    (void)kv_cache_pages(cache, a, 0, &count);
    assert_int_equal(count, 5);
    assert_int_equal(kv_cache_rewind(cache, a, 3 * PAGE), LLM_OK);
    (void)kv_cache_pages(cache, a, 0, &count);
    assert_int_equal(count, 3);
    assert_int_equal(kv_cache_rewind(cache, a, 3 * PAGE + 1), LLM_E_RANGE);
    assert_int_equal(kv_cache_rewind(cache, a, -1), LLM_E_RANGE);
    assert_int_equal(kv_cache_rewind(cache, a, PAGE + 1), LLM_OK);
    (void)kv_cache_pages(cache, a, 0, &count);
    assert_int_equal(count, 2);
    expect_tokens(cache, a, 0, PAGE + 1, 0.0f);
    write_tokens(cache, a, 1, 0.0f);
    kv_cache_commit(cache, a, 100000); /* never reserved */
    assert_int_equal(kv_cache_length(cache, a), PAGE + 2);
    assert_int_equal(kv_cache_rewind(cache, a, 0), LLM_OK);
    assert_int_equal(kv_cache_length(cache, a), 0);
    assert_int_equal(kv_cache_rewind(cache, 9, 0), LLM_E_INVALID);
    assert_int_equal(kv_cache_reserve(cache, 9, 1), LLM_E_INVALID);
    assert_int_equal(kv_cache_reserve(cache, a, INT64_MAX), LLM_E_RANGE);
    assert_int_equal(kv_cache_reserve(cache, a, -1), LLM_E_RANGE);
    kv_cache_release(cache);
    llm_context_free(context);
}

static void test_limits(void **state)
{
    llm_context *context = new_context(NULL, NULL, NULL);
    struct kv_cache_shape small = shape;
    struct kv_cache *cache;
    int32_t a;
    int32_t b;

    (void)state;
    small.max_tokens = 3 * PAGE - 5;
    assert_int_equal(kv_cache_new(&cache, context, &small), LLM_OK);
    assert_int_equal(kv_cache_add(cache, &a), LLM_OK);
    assert_int_equal(kv_cache_reserve(cache, a, 3 * PAGE + 1), LLM_E_RANGE);
    assert_int_equal(pages_held(cache), 0);
    write_tokens(cache, a, 2 * PAGE, 0.0f);
    assert_int_equal(kv_cache_fork(cache, &b, a), LLM_OK);
    write_tokens(cache, b, PAGE, 1.0f);
    assert_int_equal(kv_cache_reserve(cache, a, 1), LLM_E_RANGE); /* b took the last page */
    expect_tokens(cache, a, 0, 2 * PAGE, 0.0f);
    kv_cache_remove(cache, b);
    write_tokens(cache, a, PAGE, 0.0f);
    kv_cache_release(cache);
    small.head_dim = 0;
    assert_int_equal(kv_cache_new(&cache, context, &small), LLM_E_RANGE);
    assert_null(cache);
    small = shape;
    small.dtype = LLM_I8;
    assert_int_equal(kv_cache_new(&cache, context, &small), LLM_E_UNSUPPORTED);
    llm_context_free(context);
}

struct allocator {
    int64_t left; /* allocations until one fails; negative: none fails */
    int64_t live;
};

static void *counting_alloc(void *user, size_t size, size_t alignment)
{
    struct allocator *allocator = user;

    if (allocator->left == 0)
        return NULL;
    allocator->left--;
    allocator->live++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void counting_release(void *user, void *pointer, size_t size)
{
    struct allocator *allocator = user;

    (void)size;
    allocator->live--;
    free(pointer);
}

static llm_status scenario(struct kv_cache *cache)
{
    llm_status status;
    int32_t a;
    int32_t b = -1;

    status = kv_cache_add(cache, &a);
    if (!status)
        status = kv_cache_reserve(cache, a, 9 * PAGE + 3);
    if (!status) {
        kv_cache_commit(cache, a, 9 * PAGE + 3);
        status = kv_cache_fork(cache, &b, a);
    }
    if (!status)
        status = kv_cache_reserve(cache, b, 20 * PAGE);
    if (!status)
        kv_cache_commit(cache, b, 20 * PAGE);
    if (b >= 0 && status)
        assert_int_equal(kv_cache_length(cache, b), 9 * PAGE + 3);
    kv_cache_remove(cache, b);
    kv_cache_remove(cache, a);
    return status;
}

static void test_failing_allocator(void **state)
{
    struct allocator allocator = {-1, 0};
    llm_context *context = new_context(counting_alloc, counting_release, &allocator);
    struct kv_cache *cache;
    llm_status status = LLM_E_NOMEM;
    int failures = 0;

    (void)state;
    while (status) {
        allocator.left = failures;
        status = kv_cache_new(&cache, context, &shape);
        if (!status) {
            status = scenario(cache);
            kv_cache_release(cache);
        }
        if (status)
            assert_int_equal(status, LLM_E_NOMEM);
        assert_int_equal(allocator.live, 1); /* the context */
        failures += status != LLM_OK;
        assert_true(failures < 1000);
    }
    assert_true(failures > 20);
    llm_context_free(context);
    assert_int_equal(allocator.live, 0);
}

struct worker {
    struct kv_cache *cache;
    int32_t from;
    float mark;
};

static void *work(void *pointer)
{
    struct worker *worker = pointer;

    for (int round = 0; round < 50; round++) {
        int32_t mine;

        assert_int_equal(kv_cache_fork(worker->cache, &mine, worker->from), LLM_OK);
        write_tokens(worker->cache, mine, 3 * PAGE, worker->mark);
        expect_tokens(worker->cache, mine, 0, PAGE + 3, 0.0f);
        expect_tokens(worker->cache, mine, PAGE + 3, 4 * PAGE + 3, worker->mark);
        kv_cache_remove(worker->cache, mine);
    }
    return NULL;
}

static void test_threads(void **state)
{
    llm_context *context = new_context(NULL, NULL, NULL);
    struct kv_cache *cache;
    struct worker workers[3];
    pthread_t threads[3];
    int32_t base;

    (void)state;
    assert_int_equal(kv_cache_new(&cache, context, &shape), LLM_OK);
    assert_int_equal(kv_cache_add(cache, &base), LLM_OK);
    write_tokens(cache, base, PAGE + 3, 0.0f);
    for (int i = 0; i < 3; i++) {
        workers[i] = (struct worker){cache, -1, 100.0f * (float)(i + 1)};
        assert_int_equal(kv_cache_fork(cache, &workers[i].from, base), LLM_OK);
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    expect_tokens(cache, base, 0, PAGE + 3, 0.0f);
    kv_cache_release(cache);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_demand),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_rewind),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_failing_allocator),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
