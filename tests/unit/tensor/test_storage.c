/* SPDX-License-Identifier: MIT */
#include "tensor/storage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static llm_context *new_context(uint64_t limit)
{
    llm_context_options options;
    llm_context *context = NULL;

    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    options.memory_limit = limit;
    assert_int_equal(llm_context_new(&context, &options), LLM_OK);
    return context;
}

static void count_release(void *user, void *data)
{
    (void)data;
    ++*(int *)user;
}

static void test_ownership(void **state)
{
    llm_context *context = new_context(0);
    uint64_t before = context->memory.used;
    struct storage *storage = NULL;
    int released = 0;
    char bytes[16];

    (void)state;
    assert_int_equal(storage_new(&storage, context, 1000), LLM_OK);
    assert_true((uintptr_t)storage->data % 64 == 0 && !storage_is_shared(storage));
    memset(storage->data, 1, 1000);
    assert_ptr_equal(storage_retain(storage), storage);
    assert_true(storage_is_shared(storage));
    storage_release(storage);
    assert_false(storage_is_shared(storage));
    storage_release(storage);
    storage_release(NULL);
    assert_int_equal(storage_wrap(&storage, context, bytes, sizeof bytes, count_release, &released),
                     LLM_OK);
    assert_ptr_equal(storage->data, bytes);
    storage_retain(storage);
    storage_release(storage);
    assert_int_equal(released, 0);
    storage_release(storage);
    assert_int_equal(released, 1);
    assert_true(context->memory.used == before);
    llm_context_free(context);
}

/* Buffers come back to the pool and are lent again, so that a second step allocates nothing. */
static void test_pool(void **state)
{
    llm_context *context = new_context(0);
    uint64_t before = context->memory.used;
    struct pool *pool = pool_new(context);
    struct storage *taken[50];
    uint64_t after_first = 0;

    (void)state;
    assert_non_null(pool);
    for (int step = 0; step < 3; step++) {
        for (size_t i = 0; i < 50; i++) {
            taken[i] = pool_take(pool, i * i * 100);
            assert_non_null(taken[i]);
            assert_true(taken[i]->bytes >= i * i * 100);
            memset(taken[i]->data, (int)i, i * i * 100);
            for (size_t j = 0; j < i; j++)
                assert_ptr_not_equal(taken[j]->data, taken[i]->data);
        }
        for (size_t i = 0; i < 50; i++)
            storage_release(taken[i]);
        if (step == 0)
            after_first = context->memory.used;
        assert_true(context->memory.used == after_first);
    }
    pool_trim(pool);
    assert_true(context->memory.used < after_first);
    pool_free(pool);
    pool_free(NULL);
    assert_true(context->memory.used == before);
    llm_context_free(context);
}

/* What is still out when the pool goes, or escaped before, lives on by itself. */
static void test_escape(void **state)
{
    llm_context *context = new_context(0);
    uint64_t before = context->memory.used;
    struct pool *pool = pool_new(context);
    struct storage *shown = pool_take(pool, 100);
    struct storage *left = pool_take(pool, 100);

    (void)state;
    assert_true(shown && left);
    storage_escape(shown);
    storage_escape(shown);
    pool_free(pool);
    memset(shown->data, 1, 100);
    memset(left->data, 1, 100);
    storage_release(shown);
    storage_release(left);
    assert_true(context->memory.used == before);
    llm_context_free(context);
}

static void test_limits(void **state)
{
    llm_context *context = new_context(4 << 20);
    struct pool *pool = pool_new(context);
    struct storage *small = pool_take(pool, 2 << 20);
    struct storage *large;

    (void)state;
    assert_non_null(small);
    storage_release(small); /* idle in the pool: given back when something else needs the room */
    large = pool_take(pool, 3 << 20);
    assert_non_null(large);
    assert_null(pool_take(pool, 3 << 20));
    assert_null(pool_take(pool, SIZE_MAX));
    assert_string_not_equal(status_message(), "");
    storage_release(large);
    pool_free(pool);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ownership),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests_name("storage", tests, NULL, NULL);
}
