/* SPDX-License-Identifier: MIT */
#include "graph/product.h"

#include "base/parallel.h"
#include "tensor/packed.h"

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

void product_packed(struct cx *cx, float *y, const float *x, int64_t ldx, int64_t rows,
                    const llm_tensor *weight, const float *bias)
{
    struct qgemm product = {
        .m = rows,
        .k = weight->shape[1],
        .a = x,
        .lda = ldx,
        .outputs = 1,
        .output = {{.weights = weight->packed, .out = y, .ldo = weight->shape[0], .bias = bias}},
        .threads = cx->threads};

    if (cx->status || rows == 0)
        return;
    product.scratch = cx_scratch(cx, 0, qgemm_scratch_bytes(&cx->kernels->qgemm, &product));
    if (product.scratch)
        qgemm_run(&cx->kernels->qgemm, &product);
}

enum { WEIGHT_ROWS = 512 }; /* that are floats at a time */

void product_packed_gradient(struct cx *cx, float *dx, int64_t ldx, float beta, const float *dy,
                             int64_t rows, const llm_tensor *weight)
{
    int64_t n = weight->shape[0];
    int64_t k = weight->shape[1];
    int64_t most = n < WEIGHT_ROWS ? n : WEIGHT_ROWS;
    struct storage *tile = cx_take(cx, (size_t)(most * k) * sizeof(float));

    for (int64_t first = 0; tile && first < n && !cx->status; first += most) {
        int64_t count = n - first < most ? n - first : most;
        struct gemm product = product_make(rows, k, count);

        packed_read_rows(weight, first, count, tile->data, cx->threads);
        product.a = dy + first;
        product.lda = n;
        product.b = tile->data;
        product.ldb = k;
        product.c = dx;
        product.ldc = ldx;
        product.beta = first == 0 ? beta : 1.0f;
        product_run(cx, &product);
    }
    storage_release(tile);
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
