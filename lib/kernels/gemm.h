/* SPDX-License-Identifier: MIT
 *
 * Matrix product of floats, the workhorse of every layer:
 *     C[m,n] = alpha * op(A)[m,k] * op(B)[k,n] + beta * C + bias[n]
 * All matrices are row-major. B may hold 16-bit floats, which are widened on the way.
 * Blocking after Goto & van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).
 *
 * Nothing here allocates: the caller passes scratch memory of gemm_scratch_bytes().
 *
 * Determinism. Work is split over rows and columns of C only, so the bits do not depend on
 * `threads`. The bits of one row may depend on m (a few rows take another path than many);
 * with `steady_rows` they do not, see there. Without trans_b they never do.
 * (Where OpenBLAS computes large products, see below, only the first sentence holds.)
 */
#ifndef KERNELS_GEMM_H
#define KERNELS_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gemm_type { GEMM_F32, GEMM_BF16, GEMM_F16, GEMM_TYPES };

enum { GEMM_ALIGNMENT = 64 }; /* of the scratch memory; operands need only element alignment */

/* One product, or `batch` of them. Zero-initialize, then set what is needed: alpha is NOT 1 by
 * itself, a batch of 0 means 1, threads of 0 means 1. Leading dimensions count elements; they may
 * exceed the width. C must not overlap A, B, bias or the scratch memory. */
struct gemm {
    int64_t m, n, k;   /* k may be 0: C = beta * C + bias */
    const float *a;    /* [m,k], or [k,m] if trans_a */
    const void *b;     /* [k,n], or [n,k] if trans_b; elements of b_type */
    float *c;          /* [m,n]; not read where beta is 0 */
    const float *bias; /* [n] added to each row, shared by the batch; NULL: none */
    int64_t lda, ldb, ldc;
    int64_t batch;
    int64_t stride_a, stride_b, stride_c; /* elements from one product to the next; a and b: 0 */
    float alpha, beta;
    enum gemm_type b_type;
    bool trans_a, trans_b;
    bool steady_rows; /* trans_b only: the bits of a row of C depend on that row of A, on B and k,
                       * not on m or on the other rows; costs up to a tenth of the speed */
    int threads;
    void *scratch; /* aligned to GEMM_ALIGNMENT */
};

struct gemm_kernels;

/* Bytes of scratch that gemm_run() needs for this product; never 0. */
size_t gemm_scratch_bytes(const struct gemm_kernels *kernels, const struct gemm *product);

void gemm_run(const struct gemm_kernels *kernels, const struct gemm *product);

/* --- ours or OpenBLAS: gemm_blas.c ------------------------------------------------------------ */

/* MEASURE happens only where the processor has no vector kernels of ours; it settles with the
 * first large product of the process. Products that OpenBLAS does not serve (skinny, small, 16-bit
 * operands, steady_rows) are always ours. The environment variable LLM_GEMM (own, openblas) pins.
 */
enum gemm_choice { GEMM_OWN, GEMM_OPENBLAS, GEMM_MEASURE };

/* "own" or "openblas": who computes large products. May load OpenBLAS and measure. */
const char *gemm_choice_name(const struct gemm_kernels *kernels);

/* Take that one from now on, so that a resumed run gives the same bits; false, and nothing
 * changes, when there is no such one here. Before other threads use the table. */
bool gemm_pin(struct gemm_kernels *kernels, const char *name);

/* --- the inside: gemm_kernel.h says more ----------------------------------------------------- */

struct gemm_out;

/* Per element type of B: packing of [k,n] rows or [n,k] columns, and kernels that read B as it is
 * (wide: a few packed rows of A times [k,n]; dot: rows of A times rows of [n,k]). */
struct gemm_source {
    int64_t bytes; /* of an element */
    void (*pack_rows)(int64_t n, int64_t k, const void *b, int64_t ldb, float *packed);
    void (*pack_columns)(int64_t n, int64_t k, const void *b, int64_t ldb, float *packed);
    void (*wide)(int64_t k, const float *a, int64_t stride, const void *b, int64_t ldb, float *sums,
                 const struct gemm_out *out);
    void (*dot)(int64_t k, const float *a, int64_t lda, const void *b, int64_t ldb,
                const struct gemm_out *out);
};

struct gemm_kernels {
    const char *name; /* "scalar", "avx2", "avx512", "neon" */
    enum gemm_choice choice;
    int64_t tile_rows, tile_columns, lanes;
    int64_t block_m; /* multiple of tile_rows */
    int64_t block_n; /* multiple of tile_columns */
    int64_t block_k;
    int64_t wide_rows, dot_rows; /* at most so many rows take these paths */
    void (*tile)(int64_t k, const float *a, const float *b, int64_t ldb,
                 const struct gemm_out *out);
    void (*pack_a_rows)(int64_t m, int64_t k, const float *a, int64_t lda, float *packed,
                        int64_t stride);
    void (*pack_a_columns)(int64_t m, int64_t k, const float *a, int64_t lda, float *packed,
                           int64_t stride);
    struct gemm_source sources[GEMM_TYPES];
};

void gemm_fill(struct gemm_kernels *kernels, uint32_t cpu);

#endif
