/* SPDX-License-Identifier: MIT
 *
 * The loops around the inner kernels of the matrix product: which path, who computes what, in
 * which blocks. Each thread takes rectangles of C and packs what they need for itself: packing
 * something twice costs less than meeting at barriers. Three paths:
 *
 *   tile   B is packed in blocks of block_k x block_n that stay in the second-level cache, A in
 *          panels of tile_rows x block_k that stay in the first.
 *   wide   up to wide_rows rows times an untransposed B: B is read once, where it lies.
 *   dot    few rows or columns times a transposed B: the same, and nothing of A is packed either.
 *
 * Tile and wide add up in the same order (chains of at most block_k products along k, then the sum
 * of the chains), so they may replace each other; dot adds up in another.
 */
#include "kernels/gemm.h"

#include "base/cpu.h"
#include "base/parallel.h"
#include "kernels/gemm_kernel.h"

#include <string.h>

enum {
    DOT_COLUMNS = 8,                 /* so few columns of C are better off with dot products */
    DOT_BLOCK_FLOATS = 96 * 1024,    /* of A, to stay in the second-level cache */
    PRODUCTS_PER_THREAD = 64 * 1024, /* below this a thread is not worth waking */
    MOST_THREADS = 1024
};

enum path { PATH_TILE, PATH_WIDE, PATH_DOT };

struct plan {
    enum path path;
    bool transpose_a; /* dot: A is copied to rows along k */
    bool transpose_b; /* dot: B is copied to rows along k */
    int threads;
    int64_t parts_m, parts_n; /* rectangles per product */
    int64_t block_m, block_n, block_k;
    int64_t panel_stride;       /* floats from one packed panel of A to the next */
    int64_t floats_a, floats_b; /* scratch of one thread */
};

struct job {
    const struct gemm_kernels *kernels;
    struct gemm g;
    struct plan plan;
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t round_up(int64_t value, int64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* The size of equal blocks, multiples of `unit`, none above `most`, that cover `count`. */
static int64_t even_block(int64_t count, int64_t most, int64_t unit)
{
    int64_t blocks = (count + most - 1) / most;

    return blocks > 0 ? round_up((count + blocks - 1) / blocks, unit) : unit;
}

/* Begin of part `i` of `parts` when [0, count) is cut at multiples of `unit`. */
static int64_t cut(int64_t count, int64_t parts, int64_t i, int64_t unit)
{
    int64_t units = (count + unit - 1) / unit;

    return least(units * i / parts * unit, count);
}

static enum path choose_path(const struct gemm_kernels *kernels, const struct gemm *g,
                             struct plan *plan)
{
    if (g->trans_b && (g->steady_rows || g->m <= kernels->dot_rows || g->n <= DOT_COLUMNS)) {
        plan->transpose_a = g->trans_a;
        return PATH_DOT;
    }
    if (!g->trans_b && !g->trans_a && g->n <= DOT_COLUMNS / 2 && g->b_type == GEMM_F32) {
        plan->transpose_b = true;
        return PATH_DOT;
    }
    if (!g->trans_b && g->m <= kernels->wide_rows)
        return PATH_WIDE;
    return PATH_TILE;
}

/* Cut C so that the slowest part, with what it packs for itself, is done soonest. */
static void choose_parts(const struct gemm_kernels *kernels, const struct gemm *g,
                         struct plan *plan)
{
    int64_t products = g->m * g->n * (g->k > 0 ? g->k : 1);
    int64_t useful = products / PRODUCTS_PER_THREAD * g->batch + 1;
    int64_t best = INT64_MAX;
    int64_t team;

    plan->parts_m = 1;
    plan->parts_n = 1;
    plan->threads = (int)least(least(g->threads, useful), MOST_THREADS);
    team = plan->threads;
    if (g->batch >= 4 * team || g->batch % team == 0)
        return;
    for (int64_t rows = 1; rows <= team; rows++) {
        int64_t columns = team / rows;
        int64_t m = round_up((g->m + rows - 1) / rows, kernels->tile_rows);
        int64_t n = round_up((g->n + columns - 1) / columns, kernels->tile_columns);
        int64_t cost = m * n / kernels->lanes + (m + n) / 2;

        if (columns * rows == team && cost < best) {
            best = cost;
            plan->parts_m = rows;
            plan->parts_n = columns;
        }
    }
}

static void choose_blocks(const struct gemm_kernels *kernels, const struct gemm *g,
                          struct plan *plan)
{
    int64_t m = round_up((g->m + plan->parts_m - 1) / plan->parts_m, kernels->tile_rows);
    int64_t n = round_up((g->n + plan->parts_n - 1) / plan->parts_n, kernels->tile_columns);

    if (plan->path == PATH_DOT) {
        plan->block_m = DOT_BLOCK_FLOATS / (g->k > 0 ? g->k : 1);
        plan->block_m = plan->block_m > 6 ? plan->block_m : 6;
        plan->block_n = n;
        plan->floats_a = plan->transpose_a ? m * g->k : 0;
        plan->floats_b = plan->transpose_b ? g->n * g->k : 0;
        return;
    }
    plan->block_k = even_block(g->k, kernels->block_k, kernels->lanes);
    plan->block_m = even_block(m, kernels->block_m, kernels->tile_rows);
    plan->block_n = even_block(n, kernels->block_n, kernels->tile_columns);
    plan->panel_stride = kernels->tile_rows * plan->block_k + kernels->lanes;
    plan->floats_a = plan->block_m / kernels->tile_rows * plan->panel_stride;
    plan->floats_b = plan->block_n * plan->block_k;
    if (plan->path == PATH_WIDE) {
        plan->floats_a = m / kernels->tile_rows * plan->panel_stride;
        plan->floats_b = m * GEMM_WIDE_COLUMNS;
    }
}

/* Fill in defaults and choose; false when there is nothing to compute. */
static bool prepare(const struct gemm_kernels *kernels, const struct gemm *product, struct job *job)
{
    struct gemm *g = &job->g;

    *job = (struct job){.kernels = kernels, .g = *product};
    g->batch = g->batch > 0 ? g->batch : 1;
    g->threads = g->threads > 0 ? g->threads : 1;
    if (g->m <= 0 || g->n <= 0)
        return false;
    if (g->batch > 1 && g->stride_b == 0 && !g->trans_a && g->stride_a == g->m * g->lda &&
        g->stride_c == g->m * g->ldc) {
        g->m *= g->batch;
        g->batch = 1;
    }
    job->plan.path = choose_path(kernels, g, &job->plan);
    choose_parts(kernels, g, &job->plan);
    choose_blocks(kernels, g, &job->plan);
    job->plan.floats_a = round_up(job->plan.floats_a, GEMM_ALIGNMENT / 4);
    job->plan.floats_b = round_up(job->plan.floats_b, GEMM_ALIGNMENT / 4);
    return true;
}

/* A rectangle of one product, with the operands moved to its corner. */
struct part {
    int64_t m, n;
    const float *a;
    const char *b;
    struct gemm_out out;
    float *packed_a, *packed_b;
};

static const char *at_b(const struct job *job, const char *b, int64_t p, int64_t j)
{
    const struct gemm *g = &job->g;

    return b +
           job->kernels->sources[g->b_type].bytes * (g->trans_b ? j * g->ldb + p : p * g->ldb + j);
}

/* What is added first: beta * C + bias with the first block along k, plain sums afterwards. */
static struct gemm_out out_at(const struct part *part, int64_t i, int64_t j, int64_t p)
{
    struct gemm_out out = part->out;

    out.c += i * out.ldc + j;
    if (p > 0) {
        out.bias = NULL;
        out.beta = 1.0f;
    } else if (out.bias) {
        out.bias += j;
    }
    return out;
}

static void pack_a(const struct job *job, const struct part *part, int64_t i, int64_t m, int64_t p,
                   int64_t k)
{
    const struct gemm *g = &job->g;

    if (g->trans_a)
        job->kernels->pack_a_columns(m, k, part->a + p * g->lda + i, g->lda, part->packed_a,
                                     job->plan.panel_stride);
    else
        job->kernels->pack_a_rows(m, k, part->a + i * g->lda + p, g->lda, part->packed_a,
                                  job->plan.panel_stride);
}

/* Packed A [m,k] times packed B [k,n]: a panel of A stays in the first-level cache while all of B
 * passes by. */
static void multiply_block(const struct job *job, const struct part *part, int64_t i, int64_t m,
                           int64_t j, int64_t n, int64_t p, int64_t k)
{
    const struct gemm_kernels *kernels = job->kernels;
    const float *a = part->packed_a;

    for (int64_t ii = 0; ii < m; ii += kernels->tile_rows, a += job->plan.panel_stride) {
        const float *b = part->packed_b;

        for (int64_t jj = 0; jj < n; jj += kernels->tile_columns) {
            struct gemm_out out = out_at(part, i + ii, j + jj, p);

            out.rows = least(m - ii, kernels->tile_rows);
            out.columns = least(n - jj, kernels->tile_columns);
            kernels->tile(k, a, b, kernels->tile_columns, &out);
            b += kernels->tile_columns * k;
        }
    }
}

static void run_tile(const struct job *job, const struct part *part)
{
    const struct gemm *g = &job->g;
    const struct plan *plan = &job->plan;
    const struct gemm_source *source = &job->kernels->sources[g->b_type];

    for (int64_t j = 0; j < part->n; j += plan->block_n) {
        int64_t n = least(plan->block_n, part->n - j);

        for (int64_t p = 0; p == 0 || p < g->k; p += plan->block_k) {
            int64_t k = least(plan->block_k, g->k - p);
            const char *b = at_b(job, part->b, p, j);

            if (g->trans_b)
                source->pack_columns(n, k, b, g->ldb, part->packed_b);
            else
                source->pack_rows(n, k, b, g->ldb, part->packed_b);
            for (int64_t i = 0; i < part->m; i += plan->block_m) {
                int64_t m = least(plan->block_m, part->m - i);

                pack_a(job, part, i, m, p, k);
                multiply_block(job, part, i, m, j, n, p, k);
            }
        }
    }
}

static void run_wide(const struct job *job, const struct part *part)
{
    const struct gemm *g = &job->g;

    for (int64_t p = 0; p == 0 || p < g->k; p += job->plan.block_k) {
        int64_t k = least(job->plan.block_k, g->k - p);
        struct gemm_out out = out_at(part, 0, 0, p);

        out.rows = part->m;
        out.columns = part->n;
        pack_a(job, part, 0, part->m, p, k);
        job->kernels->sources[g->b_type].wide(k, part->packed_a, job->plan.panel_stride,
                                              at_b(job, part->b, p, 0), g->ldb, part->packed_b,
                                              &out);
    }
}

static void transpose(const float *from, int64_t rows, int64_t columns, int64_t ld, float *to)
{
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++)
            to[j * rows + i] = from[i * ld + j];
    }
}

static void run_dot(const struct job *job, const struct part *part)
{
    const struct gemm *g = &job->g;
    const struct gemm_source *source = &job->kernels->sources[g->b_type];
    const float *a = part->a;
    const char *b = part->b;
    int64_t lda = g->lda;
    int64_t ldb = g->ldb;

    if (job->plan.transpose_a) {
        transpose(a, g->k, part->m, lda, part->packed_a);
        a = part->packed_a;
        lda = g->k;
    }
    if (job->plan.transpose_b) {
        transpose((const float *)(const void *)b, g->k, part->n, ldb, part->packed_b);
        b = (const char *)part->packed_b;
        ldb = g->k;
    }
    for (int64_t i = 0; i < part->m; i += job->plan.block_m) {
        struct gemm_out out = out_at(part, i, 0, 0);

        out.rows = least(job->plan.block_m, part->m - i);
        out.columns = part->n;
        source->dot(g->k, a + i * lda, lda, b, ldb, &out);
    }
}

static void run_part(const struct job *job, int64_t index, float *scratch)
{
    const struct gemm *g = &job->g;
    const struct plan *plan = &job->plan;
    int64_t unit_m = plan->path == PATH_TILE ? job->kernels->tile_rows : 1;
    int64_t unit_n = job->kernels->tile_columns;
    int64_t row_part = index / plan->parts_n % plan->parts_m;
    int64_t column_part = index % plan->parts_n;
    int64_t batch = index / (plan->parts_n * plan->parts_m);
    int64_t i = cut(g->m, plan->parts_m, row_part, unit_m);
    int64_t j = cut(g->n, plan->parts_n, column_part, unit_n);
    struct part part = {.m = cut(g->m, plan->parts_m, row_part + 1, unit_m) - i,
                        .n = cut(g->n, plan->parts_n, column_part + 1, unit_n) - j,
                        .packed_a = scratch,
                        .packed_b = scratch + plan->floats_a};

    if (part.m <= 0 || part.n <= 0)
        return;
    part.a = g->a + batch * g->stride_a + (g->trans_a ? i : i * g->lda);
    part.b = at_b(job, g->b, 0, j) + batch * g->stride_b * job->kernels->sources[g->b_type].bytes;
    part.out = (struct gemm_out){.c = g->c + batch * g->stride_c + i * g->ldc + j,
                                 .bias = g->bias ? g->bias + j : NULL,
                                 .ldc = g->ldc,
                                 .alpha = g->alpha,
                                 .beta = g->beta};
    if (plan->path == PATH_DOT)
        run_dot(job, &part);
    else if (plan->path == PATH_WIDE)
        run_wide(job, &part);
    else
        run_tile(job, &part);
}

static void run_member(void *arg, int thread, int team)
{
    const struct job *job = arg;
    int64_t parts = job->g.batch * job->plan.parts_m * job->plan.parts_n;
    int64_t end = parts * (thread + 1) / team;
    float *scratch = (float *)job->g.scratch + thread * (job->plan.floats_a + job->plan.floats_b);

    for (int64_t index = parts * thread / team; index < end; index++)
        run_part(job, index, scratch);
}

size_t gemm_scratch_bytes(const struct gemm_kernels *kernels, const struct gemm *product)
{
    struct job job;

    if (!prepare(kernels, product, &job))
        return GEMM_ALIGNMENT;
    return (size_t)(job.plan.threads * (job.plan.floats_a + job.plan.floats_b)) * sizeof(float) +
           GEMM_ALIGNMENT;
}

void gemm_run(const struct gemm_kernels *kernels, const struct gemm *product)
{
    struct job job;

    if (!prepare(kernels, product, &job))
        return;
    if (kernels->choice == GEMM_OWN || !gemm_blas_run(kernels, &job.g))
        parallel_team(job.plan.threads, run_member, &job);
}

void gemm_fill(struct gemm_kernels *kernels, uint32_t cpu)
{
    const char *pin = cpu_gemm_pin();

    gemm_fill_portable(kernels);
    kernels->choice = GEMM_MEASURE;
#if defined(__x86_64__)
    if (cpu & CPU_AVX2)
        gemm_fill_avx2(kernels);
    if (cpu & CPU_AVX512)
        gemm_fill_avx512(kernels);
#elif defined(__aarch64__)
    if (cpu & CPU_NEON)
        gemm_fill_neon(kernels);
#endif
    if (cpu & (CPU_AVX2 | CPU_NEON))
        kernels->choice = GEMM_OWN;
    if (pin)
        kernels->choice = strcmp(pin, "openblas") == 0 ? GEMM_OPENBLAS : GEMM_OWN;
}
