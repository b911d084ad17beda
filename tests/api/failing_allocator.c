/* SPDX-License-Identifier: MIT */
#include "failing_allocator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct counter {
    atomic_long calls;
    atomic_long live;
    long fail_at;   /* number of the call that fails; 0: none */
    int persistent; /* every later call fails as well */
};

static void *take(void *user, size_t size, size_t alignment)
{
    struct counter *counter = user;
    long call = atomic_fetch_add(&counter->calls, 1) + 1;
    void *block;

    if (counter->fail_at &&
        (counter->persistent ? call >= counter->fail_at : call == counter->fail_at))
        return NULL;
    block = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (block) {
        memset(block, 0xA5, size); /* nobody may count on zeros */
        atomic_fetch_add(&counter->live, 1);
    }
    return block;
}

static void give(void *user, void *pointer, size_t size)
{
    struct counter *counter = user;

    memset(pointer, 0x5A, size); /* nobody may look back */
    atomic_fetch_sub(&counter->live, 1);
    free(pointer);
}

static llm_status run_once(failing_scenario scenario, void *user, struct counter *counter)
{
    llm_context_options options;
    llm_context *context = NULL;
    llm_status status;

    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    options.alloc = take;
    options.release = give;
    options.alloc_user = counter;
    options.threads = 2;
    status = llm_context_new(&context, &options);
    if (status == LLM_OK)
        status = scenario(context, user);
    llm_context_free(context);
    return status;
}

static void check(llm_status status, const struct counter *counter, long at)
{
    if (status != LLM_OK && status != LLM_E_NOMEM)
        fail_msg("allocation %ld failed: status %s (%s), not LLM_E_NOMEM", at,
                 llm_status_name(status), llm_last_error());
    if (atomic_load(&counter->live) != 0)
        fail_msg("allocation %ld failed: %ld blocks leaked", at, atomic_load(&counter->live));
}

long failing_allocator_run(failing_scenario scenario, void *user, long stride)
{
    struct counter counter = {0};
    llm_status status = run_once(scenario, user, &counter);
    long total = atomic_load(&counter.calls);

    if (status != LLM_OK)
        fail_msg("the scenario fails by itself: %s (%s)", llm_status_name(status),
                 llm_last_error());
    check(status, &counter, 0);
    for (int persistent = 0; persistent <= 1; persistent++) {
        for (long at = 1; at <= total; at += stride) {
            memset(&counter, 0, sizeof counter);
            counter.fail_at = at;
            counter.persistent = persistent;
            check(run_once(scenario, user, &counter), &counter, at);
        }
    }
    return total;
}
