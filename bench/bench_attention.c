/* SPDX-License-Identifier: MIT
 *
 * Attention, forward and backward, and decoding from a paged cache; one JSON line per case:
 *
 *     bench_attention [threads] [seconds per case] [decode: only that]
 *     bench_attention -        cases from standard input, one run each (see
 * bench/peers/attention.py): segments tokens heads kv_heads head_dim causal threads
 *
 * Times are the best of the repetitions, by the wall clock, or for one thread by that thread's.
 * GFLOP/s counts visible pairs only: 4 operations per pair and head element forward, 10 backward.
 */
#include "base/cpu.h"
#include "base/memory.h"
#include "kernels/kernels.h"
#include "llm/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct shape {
    int segments, tokens, heads, kv_heads, head_dim, causal, threads;
};

/* One thread is timed by its own clock, which others on the machine disturb less. */
static clockid_t clock_in_use = CLOCK_MONOTONIC;

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(clock_in_use, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* As the library allocates: large blocks in huge pages. */
static struct memory memory;

static void *take(size_t bytes)
{
    void *block = memory_alloc_zeroed(&memory, 1, bytes);

    if (!block) {
        (void)fprintf(stderr, "bench_attention: out of memory\n");
        exit(1);
    }
    return block;
}

static void give(void *block)
{
    memory_release(&memory, block);
}

static float *take_random(size_t count)
{
    float *x = take(count * sizeof *x);
    uint32_t state = 1;

    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)((int32_t)state >> 8) * 0x1p-23f;
    }
    return x;
}

/* q, k, v are slices of one fused projection, as in training. */
struct run {
    struct shape shape;
    struct attention_backward_args args;
    int32_t *offsets;
    float *fused, *gradient, *out, *dout, *lse;
    void *scratch;
};

static void run_close(struct run *run)
{
    give(run->offsets);
    give(run->fused);
    give(run->gradient);
    give(run->out);
    give(run->dout);
    give(run->lse);
    give(run->scratch);
    memset(run, 0, sizeof *run);
}

static void run_open(struct run *run, const struct shape *shape)
{
    int64_t rows = (int64_t)shape->segments * shape->tokens;
    int64_t q = (int64_t)shape->heads * shape->head_dim;
    int64_t kv = (int64_t)shape->kv_heads * shape->head_dim;
    int64_t wide = q + 2 * kv;
    struct attention_args *a = &run->args.forward;
    size_t bytes, more;

    memset(run, 0, sizeof *run);
    run->shape = *shape;
    run->offsets = take(sizeof *run->offsets * (size_t)(shape->segments + 1));
    for (int s = 0; s <= shape->segments; s++)
        run->offsets[s] = s * shape->tokens;
    run->fused = take_random((size_t)(rows * wide));
    run->gradient = take((size_t)(rows * wide) * sizeof(float));
    run->out = take((size_t)(rows * q) * sizeof(float));
    run->dout = take_random((size_t)(rows * q));
    run->lse = take((size_t)(rows * shape->heads) * sizeof(float));
    a->shape = (struct attention_shape){.heads = shape->heads,
                                        .kv_heads = shape->kv_heads,
                                        .head_dim = shape->head_dim,
                                        .causal = shape->causal,
                                        .scale = 0.125f};
    a->segments = shape->segments;
    a->q_offsets = a->kv_offsets = run->offsets;
    a->q = run->fused;
    a->k = run->fused + q;
    a->v = run->fused + q + kv;
    a->q_stride = a->k_stride = a->v_stride = wide;
    a->out = run->out;
    a->out_stride = q;
    a->lse = run->lse;
    a->lse_stride = rows;
    a->threads = shape->threads;
    run->args.dout = run->dout;
    run->args.dout_stride = q;
    run->args.dq = run->gradient;
    run->args.dk = run->gradient + q;
    run->args.dv = run->gradient + q + kv;
    run->args.dq_stride = run->args.dk_stride = run->args.dv_stride = wide;
    bytes = attention_scratch_bytes(a);
    more = attention_backward_scratch_bytes(&run->args);
    run->scratch = take(bytes > more ? bytes : more);
    a->scratch = run->scratch;
}

static void run_once(const struct kernels *kernels, struct run *run, double *forward,
                     double *backward)
{
    double t0 = now(), t1;

    kernels->attention.forward(&run->args.forward);
    t1 = now();
    kernels->attention.backward(&run->args);
    *forward = t1 - t0;
    *backward = now() - t1;
}

static void report(const struct shape *s, double forward, double backward)
{
    double pairs =
        (double)s->tokens * (s->causal ? (double)s->tokens + 1.0 : 2.0 * s->tokens) / 2.0;
    double work = pairs * s->segments * s->heads * s->head_dim * 1e-9;

    (void)printf(
        "{\"bench\":\"attention\",\"segments\":%d,\"tokens\":%d,\"heads\":%d,\"kv_heads\":%d,"
        "\"head_dim\":%d,\"causal\":%d,\"threads\":%d,\"forward_ms\":%.4f,"
        "\"backward_ms\":%.4f,\"forward_gflops\":%.1f,\"backward_gflops\":%.1f}\n",
        s->segments, s->tokens, s->heads, s->kv_heads, s->head_dim, s->causal, s->threads,
        forward * 1e3, backward * 1e3, 4.0 * work / forward, 10.0 * work / backward);
    (void)fflush(stdout);
}

static void bench_shape(const struct kernels *kernels, const struct shape *shape, double seconds)
{
    double best_forward = 1e9, best_backward = 1e9, start;
    struct run run;

    clock_in_use = shape->threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    start = now();
    run_open(&run, shape);
    for (int i = 0; i < 3 || now() - start < seconds; i++) {
        double forward, backward;

        run_once(kernels, &run, &forward, &backward);
        best_forward = forward < best_forward ? forward : best_forward;
        best_backward = backward < best_backward ? backward : best_backward;
    }
    report(shape, best_forward, best_backward);
    run_close(&run);
}

/* One new token of one sequence against `tokens` cached ones, for 12 layers' worth of caches so
 * that they come from memory and not from the processor's caches. */
static void bench_decode(const struct kernels *kernels, int tokens, int heads, int kv_heads,
                         int head_dim, int threads, double seconds)
{
    enum { LAYERS = 12, PAGE = 32 };
    struct attention_cache cache = {ATTENTION_CACHE_F32, kv_heads, head_dim, PAGE};
    size_t bytes = attention_page_bytes(&cache);
    int count = (tokens + PAGE - 1) / PAGE;
    char *block = take(bytes * (size_t)count * LAYERS);
    void **pages = take(sizeof *pages * (size_t)count * LAYERS);
    float *q = take_random((size_t)heads * (size_t)head_dim);
    float *out = take((size_t)heads * (size_t)head_dim * sizeof *out);
    int32_t offsets[2] = {0, 1}, length = tokens;
    void *const *list = pages;
    struct attention_paged_args args = {.shape = {.heads = heads,
                                                  .kv_heads = kv_heads,
                                                  .head_dim = head_dim,
                                                  .causal = 1,
                                                  .scale = 0.1f},
                                        .cache = cache,
                                        .sequences = 1,
                                        .q_offsets = offsets,
                                        .kv_lengths = &length,
                                        .pages = &list,
                                        .q = q,
                                        .out = out,
                                        .threads = threads};
    double best = 1e9, start;

    for (int i = 0; i < count * LAYERS; i++)
        pages[i] = block + bytes * (size_t)i;
    args.scratch = take(attention_paged_scratch_bytes(&args));
    clock_in_use = threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    start = now();
    while (now() - start < seconds) {
        double t = now();

        for (int layer = 0; layer < LAYERS; layer++) {
            list = pages + layer * count;
            kernels->attention.paged(&args);
        }
        t = (now() - t) / LAYERS;
        best = t < best ? t : best;
    }
    (void)printf("{\"bench\":\"attention_decode\",\"tokens\":%d,\"heads\":%d,\"kv_heads\":%d,"
                 "\"head_dim\":%d,\"threads\":%d,\"ms\":%.4f,\"gb_per_s\":%.1f}\n",
                 tokens, heads, kv_heads, head_dim, threads, best * 1e3,
                 8e-9 * tokens * kv_heads * head_dim / best);
    give(args.scratch);
    give(out);
    give(q);
    give(pages);
    give(block);
}

static void serve(const struct kernels *kernels)
{
    struct shape s;
    struct run run = {0};
    double forward, backward;

    while (scanf("%d %d %d %d %d %d %d", &s.segments, &s.tokens, &s.heads, &s.kv_heads, &s.head_dim,
                 &s.causal, &s.threads) == 7) {
        if (memcmp(&s, &run.shape, sizeof s) != 0) {
            run_close(&run);
            run_open(&run, &s);
        }
        clock_in_use = s.threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
        run_once(kernels, &run, &forward, &backward);
        report(&s, forward, backward);
    }
    run_close(&run);
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {
        {12, 64, 4, 4, 32, 1, 1},    {64, 256, 6, 6, 64, 1, 1},   {4, 256, 12, 12, 64, 1, 1},
        {1, 1024, 12, 12, 64, 1, 1}, {1, 1024, 12, 4, 64, 1, 1},  {1, 1024, 12, 12, 64, 0, 1},
        {1, 4096, 12, 12, 64, 1, 1}, {1, 8192, 12, 12, 64, 1, 1}, {1, 1024, 8, 8, 128, 1, 1},
    };
    int threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1;
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 0.5;
    llm_context_options options;
    struct kernels kernels;

    (void)llm_context_options_init(&options, sizeof options);
    memory_init(&memory, &options);
    kernels_fill(&kernels, cpu_features(LLM_ISA_AUTO));
    if (argc > 1 && strcmp(argv[1], "-") == 0) {
        serve(&kernels);
        return 0;
    }
    for (size_t i = 0; argc <= 3 && i < sizeof shapes / sizeof *shapes; i++) {
        struct shape shape = shapes[i];

        shape.threads = threads;
        bench_shape(&kernels, &shape, seconds);
    }
    bench_decode(&kernels, 1024, 12, 12, 64, threads, seconds);
    bench_decode(&kernels, 8192, 12, 12, 64, threads, seconds);
    bench_decode(&kernels, 8192, 32, 8, 128, threads, seconds);
    return 0;
}
