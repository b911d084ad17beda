/* SPDX-License-Identifier: MIT
 *
 * Two back ends with one behaviour: OpenMP, and plain POSIX threads for sanitizers that do not
 * understand an OpenMP runtime (-Dopenmp=disabled).
 */
#define _GNU_SOURCE
#include "base/parallel.h"

#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

int parallel_available_cores(void)
{
#if defined(__linux__)
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (int)count : 1;
}

#if defined(LLM_OPENMP)

#include <omp.h>

void parallel_team(int threads, parallel_team_fn fn, void *arg)
{
    if (threads <= 1 || omp_in_parallel()) {
        fn(arg, 0, 1);
        return;
    }
#pragma omp parallel num_threads(threads)
    fn(arg, omp_get_thread_num(), omp_get_num_threads());
}

void parallel_barrier(int team)
{
    if (team > 1) {
#pragma omp barrier
    }
}

#else

#include <pthread.h>

enum { MAX_TEAM = 64 };

struct team {
    parallel_team_fn fn;
    void *arg;
    int size; /* 0 until every thread that could be started was; guarded by lock */
    pthread_mutex_t lock;
    pthread_cond_t settled;
    pthread_barrier_t barrier;
};

struct member {
    struct team *team;
    int thread;
};

static _Thread_local struct team *current_team;

static void *run_member(void *pointer)
{
    struct member *member = pointer;
    struct team *team = member->team;

    pthread_mutex_lock(&team->lock);
    while (team->size == 0)
        pthread_cond_wait(&team->settled, &team->lock);
    pthread_mutex_unlock(&team->lock);
    current_team = team;
    team->fn(team->arg, member->thread, team->size);
    current_team = NULL;
    return NULL;
}

/* A thread that cannot be started must not leave the others waiting at a barrier, so members start
 * working only when the size of the team is settled. */
void parallel_team(int threads, parallel_team_fn fn, void *arg)
{
    struct team team = {.fn = fn,
                        .arg = arg,
                        .lock = PTHREAD_MUTEX_INITIALIZER,
                        .settled = PTHREAD_COND_INITIALIZER};
    struct member members[MAX_TEAM];
    pthread_t ids[MAX_TEAM];
    int wanted = threads < MAX_TEAM ? threads : MAX_TEAM;
    int started = 1;

    if (threads <= 1 || current_team) {
        fn(arg, 0, 1);
        return;
    }
    for (int i = 0; i < wanted; i++)
        members[i] = (struct member){&team, i};
    while (started < wanted &&
           pthread_create(&ids[started], NULL, run_member, &members[started]) == 0)
        started++;
    (void)pthread_barrier_init(&team.barrier, NULL, (unsigned)started);
    pthread_mutex_lock(&team.lock);
    team.size = started;
    pthread_cond_broadcast(&team.settled);
    pthread_mutex_unlock(&team.lock);
    (void)run_member(&members[0]);
    for (int i = 1; i < started; i++)
        (void)pthread_join(ids[i], NULL);
    (void)pthread_barrier_destroy(&team.barrier);
}

void parallel_barrier(int team)
{
    if (team > 1 && current_team)
        (void)pthread_barrier_wait(&current_team->barrier);
}

#endif

struct range_job {
    parallel_range_fn fn;
    void *arg;
    int64_t count;
};

static void run_range(void *pointer, int thread, int team)
{
    const struct range_job *job = pointer;
    int64_t begin = job->count * thread / team;
    int64_t end = job->count * (thread + 1) / team;

    if (begin < end)
        job->fn(job->arg, begin, end);
}

void parallel_for(int threads, int64_t count, int64_t grain, parallel_range_fn fn, void *arg)
{
    struct range_job job = {fn, arg, count};
    int64_t most = grain > 0 ? count / grain : count;

    if (count <= 0)
        return;
    if (threads > most)
        threads = most > 1 ? (int)most : 1;
    parallel_team(threads, run_range, &job);
}

struct index_job {
    parallel_index_fn fn;
    void *arg;
    int64_t count;
    _Atomic int64_t next;
};

static void run_indices(void *pointer, int thread, int team)
{
    struct index_job *job = pointer;
    int64_t index;

    (void)thread;
    (void)team;
    while ((index = atomic_fetch_add(&job->next, 1)) < job->count)
        job->fn(job->arg, index);
}

void parallel_each(int threads, int64_t count, parallel_index_fn fn, void *arg)
{
    struct index_job job = {fn, arg, count, 0};

    if (threads > count)
        threads = count > 1 ? (int)count : 1;
    parallel_team(threads, run_indices, &job);
}
