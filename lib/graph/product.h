/* SPDX-License-Identifier: MIT
 *
 * The matrix product as ops use it: a `struct gemm` with defaults, run with the cx's threads and
 * scratch memory.
 */
#ifndef GRAPH_PRODUCT_H
#define GRAPH_PRODUCT_H

#include "graph/cx.h"

/* alpha 1, everything else 0. */
struct gemm product_make(int64_t m, int64_t n, int64_t k);

/* Fills in threads and scratch, runs. Failure lands in cx. */
void product_run(struct cx *cx, struct gemm *product);

/* The same for a weight W [n, k] that is kept in a block type (tensor/packed.h):
 * y[rows, n] = x W^T + bias, where x is rounded to 8 bits (kernels/qgemm.h); bias may be NULL. */
void product_packed(struct cx *cx, float *y, const float *x, int64_t ldx, int64_t rows,
                    const llm_tensor *weight, const float *bias);
/* dx[rows, k] = beta dx + dy W, in floats. */
void product_packed_gradient(struct cx *cx, float *dx, int64_t ldx, float beta, const float *dy,
                             int64_t rows, const llm_tensor *weight);

/* out[j] = beta * out[j] + sum over rows of x[i, j]; x is [rows, n] with row stride ld. */
void product_column_sums(struct cx *cx, float *out, float beta, const float *x, int64_t rows,
                         int64_t n, int64_t ld);

#endif
