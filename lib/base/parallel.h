/* SPDX-License-Identifier: MIT
 *
 * Threads: the only file that knows OpenMP. Called from inside somebody else's parallel region the
 * functions run everything on the calling thread, so that a host using OpenMP is not
 * oversubscribed. Results must not depend on the number of threads: split work over outputs, or
 * reduce fixed chunks in a fixed order.
 */
#ifndef BASE_PARALLEL_H
#define BASE_PARALLEL_H

#include <stdint.h>

int parallel_available_cores(void);

/* Call fn(arg, begin, end) on contiguous ranges that cover [0, count); at most `threads` at once
 * and no range shorter than `grain` unless count is. */
typedef void (*parallel_range_fn)(void *arg, int64_t begin, int64_t end);
void parallel_for(int threads, int64_t count, int64_t grain, parallel_range_fn fn, void *arg);

/* Call fn(arg, i) for i in [0, count), each index taken by the next free thread (unequal work). */
typedef void (*parallel_index_fn)(void *arg, int64_t index);
void parallel_each(int threads, int64_t count, parallel_index_fn fn, void *arg);

/* Call fn(arg, thread, team) once on each member of a team of `team` <= threads; members may meet
 * at parallel_barrier(team). */
typedef void (*parallel_team_fn)(void *arg, int thread, int team);
void parallel_team(int threads, parallel_team_fn fn, void *arg);
void parallel_barrier(int team); /* no-op for a team of one */

#endif
