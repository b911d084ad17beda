/* SPDX-License-Identifier: MIT
 *
 * What an instruction set contributes to the matrix product: inner kernels and packing. The loops
 * around them are in gemm.c. Adding an element type of B (a quantized one, say) means filling one
 * more row of `sources`.
 */
#ifndef KERNELS_GEMM_KERNEL_H
#define KERNELS_GEMM_KERNEL_H

#include "kernels/gemm.h"

/* Where a kernel puts its sums S: C = alpha * S + beta * C + bias, C not read where beta is 0.
 * `bias` may be NULL; it starts at the first column of c, as B does. */
struct gemm_out {
    float *c;
    const float *bias;
    int64_t ldc;
    int64_t rows, columns;
    float alpha, beta;
};

/* The wide kernels work on so many columns of C at once; their sums take rows x GEMM_WIDE_COLUMNS
 * floats of scratch memory. */
enum { GEMM_WIDE_COLUMNS = 2048 };

/* gemm_blas.c: is OpenBLAS here, is it clearly faster than portable C, shall this table use it, and
 * its product; gemm_blas_run() returns false when that product is ours. */
bool gemm_blas_exists(void);
bool gemm_blas_wins(void);
bool gemm_uses_blas(const struct gemm_kernels *kernels);
bool gemm_blas_run(const struct gemm_kernels *kernels, const struct gemm *product);

void gemm_fill_portable(struct gemm_kernels *kernels);
void gemm_fill_avx2(struct gemm_kernels *kernels);
void gemm_fill_avx512(struct gemm_kernels *kernels);
void gemm_fill_neon(struct gemm_kernels *kernels);

#endif
