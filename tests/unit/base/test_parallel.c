/* SPDX-License-Identifier: MIT */
#include "base/parallel.h"
#include "base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { COUNT = 1000 };

struct job {
    _Atomic int seen[COUNT];
    _Atomic int ranges, shortest;
    _Atomic int team, members;
    _Atomic int wrong;
    int values[64];
};

static void mark_range(void *arg, int64_t begin, int64_t end)
{
    struct job *job = arg;
    int length = (int)(end - begin);
    int shortest = job->shortest;

    job->ranges++;
    while (length < shortest && !atomic_compare_exchange_weak(&job->shortest, &shortest, length))
        continue;
    for (int64_t i = begin; i < end; i++)
        job->seen[i]++;
}

static void mark_index(void *arg, int64_t index)
{
    ((struct job *)arg)->seen[index]++;
}

static void expect_each_once(const struct job *job, int64_t count)
{
    for (int64_t i = 0; i < COUNT; i++)
        assert_int_equal(job->seen[i], i < count ? 1 : 0);
}

static void test_for(void **state)
{
    static const int64_t counts[] = {0, 1, 2, 7, 999, 1000};

    (void)state;
    for (int threads = 0; threads <= 5; threads++) {
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            struct job job = {.shortest = COUNT};

            parallel_for(threads, counts[i], 1, mark_range, &job);
            expect_each_once(&job, counts[i]);
            memset(&job, 0, sizeof job);
            job.shortest = COUNT;
            parallel_for(threads, counts[i], 100, mark_range, &job);
            expect_each_once(&job, counts[i]);
            assert_true(counts[i] < 100 ? job.ranges <= 1 : job.shortest >= 100);
            memset(&job, 0, sizeof job);
            parallel_each(threads, counts[i], mark_index, &job);
            expect_each_once(&job, counts[i]);
        }
    }
}

static void nested(void *arg, int64_t index)
{
    (void)index;
    parallel_for(4, 10, 1, mark_range, arg);
}

/* Inside somebody's parallel region the calling thread does it all. */
static void test_nested(void **state)
{
    struct job job = {.shortest = COUNT};

    (void)state;
    parallel_each(3, 6, nested, &job);
    for (int i = 0; i < 10; i++)
        assert_int_equal(job.seen[i], 6);
}

static void meet(void *arg, int thread, int team)
{
    struct job *job = arg;

    job->team = team;
    job->members++;
    for (int round = 1; round <= 50; round++) {
        job->values[thread] = round;
        parallel_barrier(team);
        for (int i = 0; i < team; i++)
            job->wrong += job->values[i] != round;
        parallel_barrier(team);
    }
}

static void test_team(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        struct job job = {.shortest = 0};

        parallel_team(threads, meet, &job);
        assert_true(job.team >= 1 && job.team <= threads);
        assert_int_equal(job.members, job.team);
        assert_int_equal(job.wrong, 0);
    }
    assert_true(parallel_available_cores() >= 1);
}

static char team_name[] = "a team";

static void fail_in_thread(void *arg, int64_t index)
{
    if (index == 0)
        (void)status_set(LLM_E_IO, "thread %d of %s", 7, (char *)arg);
}

static void test_status(void **state)
{
    char kept[256];

    (void)state;
    assert_int_equal(status_set(LLM_E_SHAPE, "two %s", "words"), LLM_E_SHAPE);
    assert_string_equal(status_message(), "two words");
    assert_int_equal(status_prefix(LLM_E_SHAPE, "layer %d", 3), LLM_E_SHAPE);
    assert_string_equal(status_message(), "layer 3: two words");
    assert_int_equal(status_prefix(LLM_OK, "nothing"), LLM_OK);
    assert_string_equal(status_message(), "layer 3: two words");
    (void)snprintf(kept, sizeof kept, "%s", status_message());
    (void)status_set(LLM_E_IO, "other");
    status_restore(kept);
    assert_string_equal(status_message(), "layer 3: two words");
    parallel_each(1, 1, fail_in_thread, team_name);
    assert_string_equal(status_message(), "thread 7 of a team");
    for (int i = 0; i < 3; i++) /* too long is cut, not overrun */
        (void)status_set(LLM_E_IO, "%04000d", 1);
    assert_true(strlen(status_message()) > 50);
    (void)status_set(LLM_E_IO, "two\nlines");
    assert_non_null(status_message());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_for),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_team),
        cmocka_unit_test(test_status),
    };

    return cmocka_run_group_tests_name("parallel", tests, NULL, NULL);
}
