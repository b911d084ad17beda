/* SPDX-License-Identifier: MIT */
#include "base/arena.h"
#include "base/checked.h"
#include "base/memory.h"
#include "base/parallel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct counter {
    long live;
    long calls;
    bool fails;
};

static void *counting_alloc(void *user, size_t size, size_t alignment)
{
    struct counter *counter = user;

    counter->calls++;
    if (counter->fails)
        return NULL;
    counter->live++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void counting_release(void *user, void *pointer, size_t size)
{
    struct counter *counter = user;

    (void)size;
    counter->live--;
    free(pointer);
}

static void make(struct memory *memory, struct counter *counter, uint64_t limit)
{
    llm_context_options options;

    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    if (counter) {
        memset(counter, 0, sizeof *counter);
        options.alloc = counting_alloc;
        options.release = counting_release;
        options.alloc_user = counter;
    }
    options.memory_limit = limit;
    memory_init(memory, &options);
}

static void test_blocks(void **state)
{
    struct counter counter;
    struct memory memory;
    char *zeroed;
    void *empty;
    char *text;

    (void)state;
    make(&memory, &counter, 0);
    empty = memory_alloc(&memory, 0);
    zeroed = memory_alloc_zeroed(&memory, 1000, 3);
    text = memory_copy_text(&memory, "ab\0cd", 5);
    assert_true(empty && zeroed && text);
    assert_true((uintptr_t)zeroed % MEMORY_ALIGNMENT == 0);
    for (int i = 0; i < 3000; i++)
        assert_int_equal(zeroed[i], 0);
    assert_memory_equal(text, "ab\0cd", 6);
    assert_true(memory.used >= 3006 && memory.peak == memory.used);
    assert_int_equal(counter.live, 3);
    memory_release(&memory, empty);
    memory_release(&memory, zeroed);
    memory_release(&memory, text);
    memory_release(&memory, NULL);
    assert_int_equal(counter.live, 0);
    assert_true(memory.used == 0 && memory.peak >= 3006);
}

static void test_limit_and_failure(void **state)
{
    struct counter counter;
    struct memory memory;
    void *block;

    (void)state;
    make(&memory, &counter, 10000);
    block = memory_alloc(&memory, 5000);
    assert_non_null(block);
    assert_null(memory_alloc(&memory, 6000));
    assert_non_null(strstr(status_message(), "10000"));
    assert_int_equal(counter.calls, 1); /* the allocator was not even asked */
    memory_release(&memory, block);
    block = memory_alloc(&memory, 6000);
    assert_non_null(block);
    memory_release(&memory, block);
    counter.fails = true;
    assert_null(memory_alloc(&memory, 16));
    assert_string_not_equal(status_message(), "");
    assert_true(memory.used == 0);
    assert_null(memory_alloc(&memory, SIZE_MAX));
    assert_null(memory_alloc(&memory, SIZE_MAX - 70));
    assert_null(memory_alloc_array(&memory, SIZE_MAX / 2, 3));
    assert_null(memory_copy_text(&memory, "", SIZE_MAX));
    assert_true(memory.used == 0);
}

static void test_growing(void **state)
{
    struct counter counter;
    struct memory memory;
    int32_t *array = NULL;
    size_t capacity = 0;

    (void)state;
    make(&memory, &counter, 0);
    for (int32_t i = 0; i < 10000; i++) {
        assert_int_equal(
            memory_grow(&memory, (void **)&array, &capacity, (size_t)i + 1, sizeof *array), LLM_OK);
        array[i] = i;
    }
    assert_true(counter.calls < 20 && capacity < 40000);
    for (int32_t i = 0; i < 10000; i++)
        assert_int_equal(array[i], i);
    counter.fails = true;
    assert_int_equal(memory_grow(&memory, (void **)&array, &capacity, capacity + 1, sizeof *array),
                     LLM_E_NOMEM);
    assert_int_equal(memory_grow(&memory, (void **)&array, &capacity, SIZE_MAX / 2, sizeof *array),
                     LLM_E_NOMEM);
    assert_int_equal(array[9999], 9999); /* still there */
    memory_release(&memory, array);
    assert_int_equal(counter.live, 0);
}

static void allocate_and_release(void *arg, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++) {
        char *block = memory_alloc(arg, 100 + (size_t)i);

        if (block)
            memset(block, 1, 100 + (size_t)i);
        memory_release(arg, block);
    }
}

static void test_threads(void **state)
{
    struct memory memory;

    (void)state;
    make(&memory, NULL, 0);
    parallel_for(4, 4000, 1, allocate_and_release, &memory);
    assert_true(memory.used == 0 && memory.peak > 0);
}

static void test_arena(void **state)
{
    struct counter counter;
    struct memory memory;
    struct arena arena;
    struct arena_mark mark;
    long chunks;
    char *text;
    char *first;
    char *again;

    (void)state;
    make(&memory, &counter, 0);
    arena_init(&arena, &memory);
    first = arena_alloc(&arena, 100);
    text = arena_copy_text(&arena, "hello", 5);
    assert_string_equal(text, "hello");
    assert_true((uintptr_t)first % 16 == 0 && (uintptr_t)text % 16 == 0 && text != first);
    memset(first, 1, 100);
    mark = arena_mark(&arena);
    again = arena_alloc(&arena, 64);
    memset(again, 2, 64);
    for (int i = 0; i < 1000; i++) { /* many chunks, one larger than a chunk */
        char *block = arena_alloc(&arena, i == 500 ? 300000 : 1000);

        assert_true(block && block[0] == 0 && block[999] == 0);
        memset(block, 3, 1000);
    }
    chunks = counter.live;
    arena_rewind(&arena, mark);
    assert_ptr_equal(arena_alloc(&arena, 64), again);
    assert_true(again[0] == 0 && again[63] == 0 && first[99] == 1);
    arena_reset(&arena);
    assert_ptr_equal(arena_alloc(&arena, 100), first);
    for (int i = 0; i < 1000; i++)
        assert_non_null(arena_alloc(&arena, i == 500 ? 300000 : 1000));
    assert_int_equal(counter.live, chunks); /* the chunks were kept and are enough */
    counter.fails = true;
    assert_null(arena_alloc(&arena, 100000000));
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_copy_text(&arena, "", SIZE_MAX));
    arena_free(&arena);
    assert_int_equal(counter.live, 0);
    arena_free(&arena);
}

static void test_checked(void **state)
{
    size_t size;
    int64_t value;

    (void)state;
    assert_true(checked_mul(1u << 20, 1u << 20, &size) && size == (size_t)1 << 40);
    assert_false(checked_mul(SIZE_MAX, 2, &size));
    assert_true(checked_add(SIZE_MAX - 1, 1, &size) && size == SIZE_MAX);
    assert_false(checked_add(SIZE_MAX, 1, &size));
    assert_true(checked_mul_i64(INT64_MAX, -1, &value) && value == -INT64_MAX);
    assert_false(checked_mul_i64(INT64_MIN, -1, &value));
    assert_false(checked_add_i64(INT64_MAX, 1, &value));
    assert_true(checked_align(65, 64, &size) && size == 128);
    assert_true(checked_align(0, 64, &size) && size == 0);
    assert_false(checked_align(SIZE_MAX - 3, 16, &size));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),  cmocka_unit_test(test_limit_and_failure),
        cmocka_unit_test(test_growing), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_arena),   cmocka_unit_test(test_checked),
    };

    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
