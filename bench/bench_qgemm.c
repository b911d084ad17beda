/* SPDX-License-Identifier: MIT
 *
 * The quantized matrix product against what the processor can do: each line gives the speed and its
 * share of the limit, which is the peak of its 8-bit dot products or the bandwidth of its memory,
 * both measured here with as many threads. One JSON line per type, shape and number of rows:
 *
 *     bench_qgemm [threads] [seconds per line] ["names of types"] ["rows"] ["n x k"]
 *
 *     bench_qgemm 2 0.3 "q4_0 q4_k" "1 512" "2048x2048"
 *
 * Weights of a shape are as many copies as fill 512 MB, taken in turns, so that one row is read
 * from memory, not from a cache. Times are the best of many repetitions.
 */
#define _GNU_SOURCE
#include "base/cpu.h"
#include "base/parallel.h"
#include "kernels/qgemm_kernel.h"
#include "llm/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* One thread is timed by its own clock, which other programs disturb less. */
static clockid_t timer = CLOCK_THREAD_CPUTIME_ID;

static double now(void)
{
    struct timespec t;

    clock_gettime(timer, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *pages(size_t bytes)
{
    void *memory;

    bytes = (bytes + (2 << 20) - 1) >> 21 << 21;
    memory = aligned_alloc(2 << 20, bytes);
    if (!memory)
        exit(1);
    (void)madvise(memory, bytes, MADV_HUGEPAGE); /* as the library does */
    memset(memory, 1, bytes);
    return memory;
}

/* ---- limits ------------------------------------------------------------------------------------
 */

struct limit {
    const struct qgemm_kernels *kernels;
    const unsigned char *memory;
    size_t bytes;
    uint64_t sum[64][8];
};

typedef uint64_t line __attribute__((vector_size(64)));

static void read_all(void *arg, int thread, int team)
{
    struct limit *limit = arg;
    size_t begin = limit->bytes / (size_t)team * (size_t)thread;
    size_t end = limit->bytes / (size_t)team * (size_t)(thread + 1);
    line sum[4] = {{0}};

    for (size_t at = begin; at + 256 <= end; at += 256) {
        for (int i = 0; i < 4; i++) {
            line x;

            __builtin_prefetch(limit->memory + at + 64 * i + 8192);
            memcpy(&x, limit->memory + at + 64 * i, sizeof x);
            sum[i] += x;
        }
    }
    for (int i = 0; i < 8; i++)
        limit->sum[thread][i] = sum[0][i] + sum[1][i] + sum[2][i] + sum[3][i];
}

/* Chains of dot products of the widest kind, in registers. */
#if defined(__x86_64__)
#define CHAINS(INSTRUCTION, REGISTER)                                                              \
    for (int i = 0; i < PEAK_LOOPS; i++)                                                           \
    __asm__ volatile(                                                                              \
        INSTRUCTION(REGISTER, 0) INSTRUCTION(REGISTER, 1) INSTRUCTION(REGISTER, 2)                 \
            INSTRUCTION(REGISTER, 3) INSTRUCTION(REGISTER, 4) INSTRUCTION(REGISTER, 5)             \
                INSTRUCTION(REGISTER, 6) INSTRUCTION(REGISTER, 7) INSTRUCTION(REGISTER, 8)         \
                    INSTRUCTION(REGISTER, 9) INSTRUCTION(REGISTER, 10) INSTRUCTION(REGISTER, 11):: \
                        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",  \
                          "xmm9", "xmm10", "xmm11")
#define EVEX(R, N) "vpdpbusd %%" #R "12, %%" #R "13, %%" #R #N "\n\t"
#define VEX(R, N) "%{vex%} vpdpbusd %%" #R "12, %%" #R "13, %%" #R #N "\n\t"
#define MADD(R, N) "vpmaddubsw %%" #R "12, %%" #R "13, %%" #R #N "\n\t"
#endif

enum { PEAK_LOOPS = 20000 };

static void multiply_all(void *arg, int thread, int team)
{
    struct limit *limit = arg;

    (void)thread;
    (void)team;
#if defined(__x86_64__)
    if (strcmp(limit->kernels->name, "avx512vnni") == 0)
        CHAINS(EVEX, zmm);
    else if (strcmp(limit->kernels->name, "avxvnni") == 0)
        CHAINS(VEX, ymm);
    else if (strcmp(limit->kernels->name, "avx2") == 0)
        CHAINS(MADD, ymm);
#else
    (void)limit;
#endif
}

static double timed(int threads, parallel_team_fn fn, struct limit *limit)
{
    double start = now();

    parallel_team(threads, fn, limit);
    return now() - start;
}

/* Pieces of the size of a small matrix, as the products are timed, each from memory. */
static double measure_bandwidth(const struct qgemm_kernels *kernels, int threads)
{
    size_t all = (size_t)512 << 20;
    unsigned char *memory = pages(all);
    double best = 1e30;
    struct limit limit = {.kernels = kernels, .bytes = (size_t)4 << 20};

    for (int round = 0; round < 10; round++) {
        for (size_t at = 0; at < all; at += limit.bytes) {
            double seconds;

            limit.memory = memory + at;
            seconds = timed(threads, read_all, &limit);
            best = seconds < best ? seconds : best;
        }
    }
    free(memory);
    return (double)limit.bytes / best;
}

static double measure_peak(const struct qgemm_kernels *kernels, int threads)
{
    struct limit limit = {.kernels = kernels};
    double best = 1e30;
    double width = strcmp(kernels->name, "avx512vnni") == 0 ? 64.0 : 32.0;

    for (int i = 0; i < 100; i++) {
        double seconds = timed(threads, multiply_all, &limit);

        best = seconds < best ? seconds : best;
    }
    return 12.0 * PEAK_LOOPS * width * threads / best;
}

/* ---- products ----------------------------------------------------------------------------------
 */

static const struct {
    int64_t n, k;
} shapes[] = {{2048, 2048}, {5632, 2048}, {2048, 5632}, {32000, 2048}};

static const int64_t rows[] = {1, 2, 4, 8, 16, 32, 64, 512};

static bool wanted(int argc, char **argv, int index, const char *name)
{
    const char *list = argc > index ? argv[index] : "";
    size_t length = strlen(name);

    if (!*list)
        return true;
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += length) {
        if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    }
    return false;
}

/* Scales of one and codes of any kind: speed does not depend on them. */
static void fill_weights(const struct qgemm_weights *weights, unsigned char *block, float *scales)
{
    int64_t bytes = weights->k / qgemm_block(weights->type) * qgemm_block_bytes(weights->type);
    struct qgemm_rows source = {block, 0, scales};

    for (int64_t i = 0; i < bytes; i++)
        block[i] = (unsigned char)(64 + i % 37);
    for (int64_t i = 0; i < 16 * weights->k; i++)
        scales[i] = 1.0f;
    for (int64_t first = 0; first < weights->n; first += QGEMM_PANEL)
        qgemm_pack(weights, first,
                   weights->n - first < QGEMM_PANEL ? weights->n - first : QGEMM_PANEL, &source);
}

static void bench(const struct qgemm_kernels *kernels, enum qgemm_type type, int64_t n, int64_t k,
                  int threads, double seconds, double peak, double bandwidth, int argc, char **argv)
{
    size_t bytes;
    int copies;
    unsigned char *packed;
    unsigned char *block = pages((size_t)k * 2);
    float *scales = pages((size_t)(16 * k) * sizeof *scales);
    float *a = pages((size_t)(512 * k) * sizeof *a);
    float *out = pages((size_t)(512 * n) * sizeof *out);

    if (!qgemm_packed_bytes(type, n, k, &bytes))
        exit(1);
    copies = (int)(((size_t)512 << 20) / bytes) + 1;
    packed = pages(bytes * (size_t)copies);
    for (int i = 0; i < copies; i++) {
        struct qgemm_weights weights = {type, n, k, packed + bytes * (size_t)i};

        if (i == 0)
            fill_weights(&weights, block, scales);
        else
            memcpy(weights.packed, packed, bytes);
    }
    for (int64_t i = 0; i < 512 * k; i++)
        a[i] = (float)(i % 23) - 11.0f;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct qgemm_weights weights = {type, n, k, packed};
        struct qgemm q = {.m = rows[r], .k = k, .a = a, .lda = k, .outputs = 1, .threads = threads};
        double best = 1e30;
        double end, macs;
        char name[24];

        (void)snprintf(name, sizeof name, "%d", (int)rows[r]);
        if (!wanted(argc, argv, 4, name))
            continue;
        q.output[0] = (struct qgemm_output){.weights = &weights, .out = out, .ldo = n};
        q.scratch = pages(qgemm_scratch_bytes(kernels, &q));
        end = now() + seconds;
        for (int i = 0; i < 3 || now() < end; i++) {
            double start;

            weights.packed = packed + bytes * (size_t)(i % copies);
            start = now();
            qgemm_run(kernels, &q);
            start = now() - start;
            best = start < best ? start : best;
        }
        macs = (double)q.m * (double)n * (double)k;
        printf("{\"bench\": \"qgemm\", \"type\": \"%s\", \"m\": %d, \"n\": %d, \"k\": %d, "
               "\"threads\": %d, \"us\": %.1f, \"gmacs\": %.1f, \"share_of_peak\": %.3f, "
               "\"gbytes_per_s\": %.1f, \"share_of_bandwidth\": %.3f}\n",
               qgemm_type_name(type), (int)q.m, (int)n, (int)k, threads, best * 1e6,
               macs / best * 1e-9, macs / best / peak, (double)bytes / best * 1e-9,
               (double)bytes / best / bandwidth);
        (void)fflush(stdout);
        free(q.scratch);
    }
    free(block);
    free(scales);
    free(a);
    free(out);
    free(packed);
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    double seconds = argc > 2 ? atof(argv[2]) : 0.3;
    static struct qgemm_kernels kernels;
    double peak, bandwidth;

    threads = threads < 1 ? 1 : threads > 64 ? 64 : threads;
    if (threads > 1)
        timer = CLOCK_MONOTONIC;
    qgemm_fill(&kernels, cpu_features(LLM_ISA_AUTO));
    bandwidth = measure_bandwidth(&kernels, threads);
    peak = measure_peak(&kernels, threads);
    printf("{\"bench\": \"qgemm\", \"kernels\": \"%s\", \"threads\": %d, \"peak_gmacs\": %.1f, "
           "\"read_gbytes_per_s\": %.1f}\n",
           kernels.name, threads, peak * 1e-9, bandwidth * 1e-9);
    for (int type = 0; type < QGEMM_TYPES; type++) {
        if (!wanted(argc, argv, 3, qgemm_type_name((enum qgemm_type)type)))
            continue;
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            char name[48];

            (void)snprintf(name, sizeof name, "%dx%d", (int)shapes[s].n, (int)shapes[s].k);
            if (wanted(argc, argv, 5, name))
                bench(&kernels, (enum qgemm_type)type, shapes[s].n, shapes[s].k, threads, seconds,
                      peak, bandwidth, argc, argv);
        }
    }
    return 0;
}
