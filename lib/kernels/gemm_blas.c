/* SPDX-License-Identifier: MIT
 *
 * OpenBLAS for large products where the processor has no vector kernels of ours; the only file
 * that knows it. It is loaded with the first product that may need it, not linked: its start-up
 * creates threads and takes longer than creating a context may. From then on it runs on the
 * calling thread only; C is cut into blocks of a fixed size for our own threads, so that the bits
 * do not depend on their number.
 *
 * Which one is used is measured once per process, on a product that fits the caches. OpenBLAS must
 * be faster by 1.3: a choice near a tie could change from run to run, and the bits with it.
 */
#if defined(LLM_OPENBLAS)
#define _GNU_SOURCE
#include <dlfcn.h>
#endif

#include "kernels/gemm_kernel.h"

#include "base/parallel.h"

#include <limits.h>
#include <string.h>

#if defined(LLM_OPENBLAS)

#include <pthread.h>
#include <time.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };
enum { BLOCK_M = 256, BLOCK_N = 512, LEAST_PRODUCTS = 64 * 64 * 64, LEAST_SIDE = 16 };
enum { TRIAL_M = 64, TRIAL_N = 64, TRIAL_K = 128, TRIAL_RUNS = 7 };

typedef void (*sgemm_fn)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                         const float *a, int lda, const float *b, int ldb, float beta, float *c,
                         int ldc);

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static pthread_once_t measure_once = PTHREAD_ONCE_INIT;
static sgemm_fn sgemm;    /* NULL: not installed; written once */
static bool clearly_wins; /* written once */

static void load(void)
{
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    void (*set_threads)(int) = NULL;

    if (!library)
        return;
    *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
    if (!set_threads)
        return;
    set_threads(1);
    *(void **)&sgemm = dlsym(library, "cblas_sgemm");
}

static bool fits(const struct gemm *g)
{
    return g->b_type == GEMM_F32 && !g->steady_rows && g->m >= LEAST_SIDE && g->n >= LEAST_SIDE &&
           g->k >= LEAST_SIDE && g->k <= INT_MAX && g->lda <= INT_MAX && g->ldb <= INT_MAX &&
           g->ldc <= INT_MAX && g->m * g->n >= LEAST_PRODUCTS / g->k;
}

static void add_bias(float *c, int64_t m, int64_t n, int64_t ldc, const float *bias)
{
    for (int64_t i = 0; i < m; i++, c += ldc) {
        for (int64_t j = 0; j < n; j++)
            c[j] += bias[j];
    }
}

static void run_block(void *arg, int64_t index)
{
    const struct gemm *g = arg;
    int64_t blocks_m = (g->m + BLOCK_M - 1) / BLOCK_M;
    int64_t blocks_n = (g->n + BLOCK_N - 1) / BLOCK_N;
    int64_t batch = index / (blocks_m * blocks_n);
    int64_t i = index / blocks_n % blocks_m * BLOCK_M;
    int64_t j = index % blocks_n * BLOCK_N;
    int64_t m = g->m - i < BLOCK_M ? g->m - i : BLOCK_M;
    int64_t n = g->n - j < BLOCK_N ? g->n - j : BLOCK_N;
    const float *a = g->a + batch * g->stride_a + (g->trans_a ? i : i * g->lda);
    const float *b = (const float *)g->b + batch * g->stride_b + (g->trans_b ? j * g->ldb : j);
    float *c = g->c + batch * g->stride_c + i * g->ldc + j;

    sgemm(ROW_MAJOR, g->trans_a ? TRANSPOSE : NO_TRANSPOSE, g->trans_b ? TRANSPOSE : NO_TRANSPOSE,
          (int)m, (int)n, (int)g->k, g->alpha, a, (int)g->lda, b, (int)g->ldb, g->beta, c,
          (int)g->ldc);
    if (g->bias)
        add_bias(c, m, n, g->ldc, g->bias + j);
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double time_product(const struct gemm_kernels *kernels, struct gemm *g)
{
    double best = 1e30;

    for (int i = 0; i < TRIAL_RUNS; i++) {
        double start = seconds();

        if (kernels)
            gemm_run(kernels, g);
        else
            run_block(g, 0);
        start = seconds() - start;
        best = start < best ? start : best;
    }
    return best;
}

static void measure(void)
{
    _Alignas(GEMM_ALIGNMENT) float memory[80 * 1024 / sizeof(float)];
    float a[TRIAL_M * TRIAL_K];
    float b[TRIAL_N * TRIAL_K];
    float c[TRIAL_M * TRIAL_N];
    struct gemm g = {.m = TRIAL_M,
                     .n = TRIAL_N,
                     .k = TRIAL_K,
                     .lda = TRIAL_K,
                     .ldb = TRIAL_K,
                     .ldc = TRIAL_N,
                     .alpha = 1.0f,
                     .trans_b = true,
                     .batch = 1,
                     .a = a,
                     .b = b,
                     .c = c,
                     .scratch = memory};
    struct gemm_kernels kernels;

    for (size_t i = 0; i < sizeof a / sizeof *a; i++)
        a[i] = 0.5f;
    for (size_t i = 0; i < sizeof b / sizeof *b; i++)
        b[i] = 0.25f;
    gemm_fill_portable(&kernels);
    kernels.choice = GEMM_OWN;
    if (gemm_scratch_bytes(&kernels, &g) <= sizeof memory)
        clearly_wins = time_product(&kernels, &g) > 1.3 * time_product(NULL, &g);
}

bool gemm_blas_exists(void)
{
    pthread_once(&load_once, load);
    return sgemm != NULL;
}

bool gemm_blas_wins(void)
{
    if (!gemm_blas_exists())
        return false;
    pthread_once(&measure_once, measure);
    return clearly_wins;
}

bool gemm_blas_run(const struct gemm_kernels *kernels, const struct gemm *product)
{
    struct gemm g = *product;
    int64_t blocks = (g.m + BLOCK_M - 1) / BLOCK_M * ((g.n + BLOCK_N - 1) / BLOCK_N);

    if (!fits(product) || !gemm_uses_blas(kernels))
        return false;
    parallel_each(g.threads, g.batch * blocks, run_block, &g);
    return true;
}

#else

bool gemm_blas_exists(void)
{
    return false;
}

bool gemm_blas_wins(void)
{
    return false;
}

bool gemm_blas_run(const struct gemm_kernels *kernels, const struct gemm *product)
{
    (void)kernels;
    (void)product;
    return false;
}

#endif

bool gemm_uses_blas(const struct gemm_kernels *kernels)
{
    switch (kernels->choice) {
    case GEMM_OPENBLAS:
        return gemm_blas_exists();
    case GEMM_MEASURE:
        return gemm_blas_wins();
    case GEMM_OWN:
    default:
        return false;
    }
}

const char *gemm_choice_name(const struct gemm_kernels *kernels)
{
    return gemm_uses_blas(kernels) ? "openblas" : "own";
}

bool gemm_pin(struct gemm_kernels *kernels, const char *name)
{
    if (strcmp(name, "own") == 0) {
        kernels->choice = GEMM_OWN;
        return true;
    }
    if (strcmp(name, "openblas") != 0 || !gemm_blas_exists())
        return false;
    kernels->choice = GEMM_OPENBLAS;
    return true;
}
