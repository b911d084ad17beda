/* SPDX-License-Identifier: MIT
 *
 * The matrix product against the processor's own peak and against OpenBLAS (where installed), in
 * turns within one run; one JSON line per shape on standard output:
 *
 *     bench_gemm [threads] [seconds per shape] ["names of shapes"]
 *
 * Times are the best of many repetitions.
 */
#define _GNU_SOURCE
#include "base/cpu.h"
#include "base/parallel.h"
#include "kernels/gemm_kernel.h"
#include "kernels/kernels.h"
#include "llm/context.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

struct shape {
    const char *name;
    int64_t m, n, k;
    bool trans_a, trans_b;
    int64_t batch;
    enum gemm_type b_type;
    float beta;
};

static const struct shape shapes[] = {
    {"square", 256, 256, 256, false, false, 1, GEMM_F32, 0.0f},
    {"square", 256, 256, 256, false, true, 1, GEMM_F32, 0.0f},
    {"square", 512, 512, 512, false, true, 1, GEMM_F32, 0.0f},
    {"square", 1024, 1024, 1024, false, false, 1, GEMM_F32, 0.0f},
    {"square", 1024, 1024, 1024, false, true, 1, GEMM_F32, 0.0f},
    {"square", 1024, 1024, 1024, true, false, 1, GEMM_F32, 0.0f},
    {"square", 2048, 2048, 2048, false, true, 1, GEMM_F32, 0.0f},
    {"forward", 768, 512, 128, false, true, 1, GEMM_F32, 0.0f},
    {"input", 768, 128, 512, false, false, 1, GEMM_F32, 0.0f},
    {"weight", 128, 512, 768, true, false, 1, GEMM_F32, 1.0f},
    {"forward", 2048, 1536, 384, false, true, 1, GEMM_F32, 0.0f},
    {"input", 2048, 384, 1536, false, false, 1, GEMM_F32, 0.0f},
    {"weight", 1536, 384, 16384, true, false, 1, GEMM_F32, 1.0f},
    {"forward", 1024, 3072, 768, false, true, 1, GEMM_F32, 0.0f},
    {"input", 1024, 768, 3072, false, false, 1, GEMM_F32, 0.0f},
    {"weight", 3072, 768, 1024, true, false, 1, GEMM_F32, 1.0f},
    {"logits", 256, 50257, 768, false, true, 1, GEMM_F32, 0.0f},
    {"rows6", 6, 3072, 768, false, true, 1, GEMM_F32, 0.0f},
    {"rows8", 8, 3072, 768, false, true, 1, GEMM_F32, 0.0f},
    {"rows16", 16, 3072, 768, false, true, 1, GEMM_F32, 0.0f},
    {"rows32", 32, 3072, 768, false, true, 1, GEMM_F32, 0.0f},
    {"rows32", 32, 768, 3072, false, true, 1, GEMM_F32, 0.0f},
    {"rows64", 64, 3072, 768, false, true, 1, GEMM_F32, 0.0f},
    {"rows128", 128, 3072, 768, false, true, 1, GEMM_F32, 0.0f},
    {"rows128", 128, 3072, 768, false, false, 1, GEMM_F32, 0.0f},
    {"rows128", 128, 768, 3072, false, false, 1, GEMM_F32, 0.0f},
    {"rows8", 8, 3072, 768, false, false, 1, GEMM_F32, 0.0f},
    {"rows16", 16, 3072, 768, false, false, 1, GEMM_F32, 0.0f},
    {"rows32", 32, 3072, 768, false, false, 1, GEMM_F32, 0.0f},
    {"decode", 1, 50257, 768, false, true, 1, GEMM_F32, 0.0f},
    {"decode", 1, 50257, 768, false, true, 1, GEMM_BF16, 0.0f},
    {"decode", 1, 50257, 768, false, true, 1, GEMM_F16, 0.0f},
    {"decode", 1, 8192, 4096, false, false, 1, GEMM_F32, 0.0f},
    {"decode", 2, 50257, 768, false, true, 1, GEMM_F32, 0.0f},
    {"decode", 4, 50257, 768, false, true, 1, GEMM_F32, 0.0f},
    {"decode", 4, 8192, 4096, false, true, 1, GEMM_F32, 0.0f},
    {"decode", 6, 50257, 768, false, true, 1, GEMM_F32, 0.0f},
    {"decode", 6, 50257, 768, false, true, 1, GEMM_BF16, 0.0f},
    {"decode", 8, 50257, 768, false, true, 1, GEMM_F32, 0.0f},
    {"decode", 4, 8192, 4096, false, false, 1, GEMM_F32, 0.0f},
    {"decode", 4, 3072, 768, false, true, 1, GEMM_F32, 0.0f},
    {"decode", 1, 3072, 768, false, true, 1, GEMM_F32, 0.0f},
    {"decode", 1, 3072, 768, false, false, 1, GEMM_F32, 0.0f},
    {"scores", 256, 256, 64, false, true, 12, GEMM_F32, 0.0f},
    {"values", 256, 64, 256, false, false, 12, GEMM_F32, 0.0f},
    {"scores", 64, 64, 32, false, true, 48, GEMM_F32, 0.0f},
    {"adapter", 1024, 8, 768, false, true, 1, GEMM_F32, 0.0f},
    {"adapter", 1024, 768, 8, false, true, 1, GEMM_F32, 1.0f},
    {"narrow", 4096, 1, 768, false, false, 1, GEMM_F32, 0.0f},
};

/* One thread is timed by its own clock, which other programs disturb less. */
static clockid_t timer = CLOCK_THREAD_CPUTIME_ID;

static double now(void)
{
    struct timespec t;

    clock_gettime(timer, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Peak: the tile on operands that stay in the first-level cache, all its time in the inner loop. */
struct peak {
    const struct gemm_kernels *kernels;
    float *memory; /* per thread 64 Ki floats */
};

enum { PEAK_K = 128, PEAK_CALLS = 8000, PEAK_FLOATS = 1 << 16 };

static void spin(void *arg, int thread, int team)
{
    const struct peak *peak = arg;
    const struct gemm_kernels *kernels = peak->kernels;
    float *a = peak->memory + (size_t)thread * PEAK_FLOATS;
    float *b = a + 4096;
    struct gemm_out out = {.c = b + 8192,
                           .ldc = kernels->tile_columns,
                           .rows = kernels->tile_rows,
                           .columns = kernels->tile_columns,
                           .alpha = 1.0f};

    (void)team;
    for (int i = 0; i < PEAK_CALLS; i++)
        kernels->tile(PEAK_K, a, b, kernels->tile_columns, &out);
}

static double measure_peak(const struct gemm_kernels *kernels, int threads)
{
    struct peak peak = {kernels, NULL};
    double best = 1e30;
    double work = 2.0 * PEAK_K * PEAK_CALLS * (double)(kernels->tile_rows * kernels->tile_columns);

    if (posix_memalign((void **)&peak.memory, 64, (size_t)threads * PEAK_FLOATS * sizeof(float)) !=
        0)
        return 0.0;
    memset(peak.memory, 0, (size_t)threads * PEAK_FLOATS * sizeof(float));
    for (int i = 0; i < 20; i++) {
        double start = now();

        parallel_team(threads, spin, &peak);
        start = now() - start;
        best = start < best ? start : best;
    }
    free(peak.memory);
    return work * threads / best;
}

typedef void (*sgemm_fn)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                         const float *a, int lda, const float *b, int ldb, float beta, float *c,
                         int ldc);
typedef void (*set_threads_fn)(int threads);

static sgemm_fn load_openblas(int threads)
{
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    set_threads_fn set_threads;
    sgemm_fn sgemm;

    if (!library)
        return NULL;
    *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
    *(void **)&sgemm = dlsym(library, "cblas_sgemm");
    if (set_threads)
        set_threads(threads);
    return sgemm;
}

static void run_openblas(sgemm_fn sgemm, const struct gemm *g)
{
    for (int64_t s = 0; s < g->batch; s++)
        sgemm(101, g->trans_a ? 112 : 111, g->trans_b ? 112 : 111, (int)g->m, (int)g->n, (int)g->k,
              g->alpha, g->a + s * g->stride_a, (int)g->lda, (const float *)g->b + s * g->stride_b,
              (int)g->ldb, g->beta, g->c + s * g->stride_c, (int)g->ldc);
}

static float *operand(int64_t count)
{
    float *memory = NULL;

    if (posix_memalign((void **)&memory, 2 << 20, (size_t)count * sizeof *memory) != 0)
        exit(1);
#if defined(MADV_HUGEPAGE)
    (void)madvise(memory, (size_t)count * sizeof *memory, MADV_HUGEPAGE); /* as the library does */
#endif
    for (int64_t i = 0; i < count; i++)
        memory[i] = (float)(i % 17) * 0.1f - 0.8f;
    return memory;
}

static void bench(const struct gemm_kernels *kernels, const struct shape *shape, int threads,
                  double seconds, double peak, sgemm_fn sgemm)
{
    int64_t batch = shape->batch;
    struct gemm g = {.m = shape->m,
                     .n = shape->n,
                     .k = shape->k,
                     .lda = shape->trans_a ? shape->m : shape->k,
                     .ldb = shape->trans_b ? shape->k : shape->n,
                     .ldc = shape->n,
                     .batch = batch,
                     .stride_a = shape->m * shape->k,
                     .stride_b = shape->n * shape->k,
                     .stride_c = shape->m * shape->n,
                     .alpha = 1.0f,
                     .beta = shape->beta,
                     .b_type = shape->b_type,
                     .trans_a = shape->trans_a,
                     .trans_b = shape->trans_b,
                     .threads = threads};
    float *a = operand(batch * g.m * g.k);
    float *b = operand(batch * g.n * g.k);
    float *c = operand(batch * g.m * g.n);
    double ours = 1e30;
    double theirs = 1e30;
    double work = 2.0 * (double)(g.m * g.n) * (double)(g.k * batch);
    double bytes = (double)kernels->sources[g.b_type].bytes * (double)(g.n * g.k * batch);
    double end = now() + seconds;

    if (g.b_type != GEMM_F32) /* small numbers in either 16-bit type */
        memset(b, 0x11, (size_t)(batch * g.n * g.k) * sizeof *b);
    g.a = a;
    g.b = b;
    g.c = c;
    if (posix_memalign(&g.scratch, GEMM_ALIGNMENT, gemm_scratch_bytes(kernels, &g)) != 0)
        exit(1);
    do {
        double start = now();
        double middle;

        gemm_run(kernels, &g);
        middle = now();
        ours = middle - start < ours ? middle - start : ours;
        if (!sgemm || g.b_type != GEMM_F32)
            continue;
        start = now();
        run_openblas(sgemm, &g);
        middle = now();
        theirs = middle - start < theirs ? middle - start : theirs;
    } while (now() < end);
    printf("{\"bench\": \"gemm\", \"shape\": \"%s\", \"m\": %d, \"n\": %d, \"k\": %d, "
           "\"trans\": \"%c%c\", \"batch\": %d, \"b\": \"%s\", \"threads\": %d, \"gflops\": %.1f, "
           "\"share_of_peak\": %.3f, \"b_gbytes_per_s\": %.1f, \"openblas_gflops\": %.1f}\n",
           shape->name, (int)g.m, (int)g.n, (int)g.k, g.trans_a ? 'T' : 'N', g.trans_b ? 'T' : 'N',
           (int)batch,
           g.b_type == GEMM_F32    ? "f32"
           : g.b_type == GEMM_BF16 ? "bf16"
                                   : "f16",
           threads, work / ours * 1e-9, work / ours / peak, bytes / ours * 1e-9,
           theirs < 1e30 ? work / theirs * 1e-9 : 0.0);
    fflush(stdout);
    free(g.scratch);
    free(a);
    free(b);
    free(c);
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    double seconds = argc > 2 ? atof(argv[2]) : 0.3;
    struct kernels kernels;
    double peak;
    sgemm_fn sgemm;

    if (threads > 1)
        timer = CLOCK_MONOTONIC;
    kernels_fill(&kernels, cpu_features(LLM_ISA_AUTO));
    sgemm = load_openblas(threads);
    peak = measure_peak(&kernels.gemm, threads);
    printf("{\"bench\": \"gemm\", \"kernels\": \"%s\", \"large\": \"%s\", \"threads\": %d, "
           "\"peak_gflops\": %.1f}\n",
           kernels.gemm.name, gemm_choice_name(&kernels.gemm), threads, peak * 1e-9);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (argc <= 3 || strstr(argv[3], shapes[i].name))
            bench(&kernels.gemm, &shapes[i], threads, seconds, peak, sgemm);
    }
    return 0;
}
