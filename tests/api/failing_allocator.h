/* SPDX-License-Identifier: MIT
 *
 * Runs a scenario again and again on a context whose allocator fails at the first, second, third,
 * ... allocation, until it succeeds without a failure. After each run nothing may be left
 * allocated, and a run that failed must say LLM_E_NOMEM. The method is SQLite's out-of-memory loop.
 */
#ifndef TESTS_FAILING_ALLOCATOR_H
#define TESTS_FAILING_ALLOCATOR_H

#include <llm.h>

/* Does something with the context and gives everything back; returns the first failing status. */
typedef llm_status (*failing_scenario)(llm_context *context, void *user);

/* Every allocation of the scenario fails once, `stride` apart (1: all of them). Asserts with
 * cmocka. Returns how many allocations a full run makes. */
long failing_allocator_run(failing_scenario scenario, void *user, long stride);

#endif
