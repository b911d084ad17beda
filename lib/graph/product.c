/* SPDX-License-Identifier: MIT */
#include "graph/product.h"

#include "base/parallel.h"

#include <string.h>

struct gemm product_make(int64_t m, int64_t n, int64_t k)
{
    struct gemm product;

    memset(&product, 0, sizeof product);
    product.m = m;
    product.n = n;
    product.k = k;
    product.alpha = 1.0f;
    return product;
}

void product_run(struct cx *cx, struct gemm *product)
{
    if (cx->status || product->m == 0 || product->n == 0)
        return;
    product->threads = cx->threads;
    product->scratch = cx_scratch(cx, 0, gemm_scratch_bytes(&cx->kernels->gemm, product));
    if (product->scratch)
        gemm_run(&cx->kernels->gemm, product);
}

enum { COLUMNS = 64 }; /* one task: whole cache lines of each row */

struct sums {
    const struct vector_kernels *vector;
    float *out;
    const float *x;
    float beta;
    int64_t rows, n, ld;
};

static void sum_columns(void *arg, int64_t begin, int64_t end)
{
    const struct sums *job = arg;
    int64_t first = begin * COLUMNS;
    int64_t last = end * COLUMNS < job->n ? end * COLUMNS : job->n;

    job->vector->column_sums(job->out + first, job->beta, job->x + first, job->rows, last - first,
                             job->ld);
}

void product_column_sums(struct cx *cx, float *out, float beta, const float *x, int64_t rows,
                         int64_t n, int64_t ld)
{
    struct sums job = {&cx->kernels->vector, out, x, beta, rows, n, ld};

    parallel_for(rows * n < 32768 ? 1 : cx->threads, (n + COLUMNS - 1) / COLUMNS, 1, sum_columns,
                 &job);
}
