/* SPDX-License-Identifier: MIT
 *
 * The inner kernels of the matrix product, written once over a few vector operations. Each
 * instruction set's file defines those (gemm_portable.c is the plainest set), names itself and the
 * shape of its tile, and includes this file last:
 *
 *   LANES          floats in a `vec`
 *   TILE_ROWS      rows of the outer-product tile (4, 6, 8, 12 or 14)
 *   TILE_VECTORS   vectors in a row of it
 *   REGISTERS      vector registers of the machine
 *
 * Two kinds of inner loop:
 *   tile, wide     outer products: a column of A is broadcast against a row of B. Each element is
 *                  one chain of additions in the order of k.
 *   dot            rows of A against rows of B, both contiguous along k; LANES partial sums each.
 */
#ifndef KERNELS_GEMM_SIMD_H
#define KERNELS_GEMM_SIMD_H

#include "kernels/gemm_kernel.h"

#include <string.h>

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* The statements for i = 0 .. count - 1, each time with i a constant: arrays of vectors indexed by
 * it become registers with every compiler, which loops, even unrolled, do not guarantee. */
#define STEP(NUMBER, i, count, ...)                                                                \
    {                                                                                              \
        enum { i = NUMBER };                                                                       \
        if (i < (count)) {                                                                         \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define REPEAT(i, count, ...)                                                                      \
    STEP(0, i, count, __VA_ARGS__)                                                                 \
    STEP(1, i, count, __VA_ARGS__)                                                                 \
    STEP(2, i, count, __VA_ARGS__)                                                                 \
    STEP(3, i, count, __VA_ARGS__)                                                                 \
    STEP(4, i, count, __VA_ARGS__)                                                                 \
    STEP(5, i, count, __VA_ARGS__)                                                                 \
    STEP(6, i, count, __VA_ARGS__)                                                                 \
    STEP(7, i, count, __VA_ARGS__)                                                                 \
    STEP(8, i, count, __VA_ARGS__)                                                                 \
    STEP(9, i, count, __VA_ARGS__)                                                                 \
    STEP(10, i, count, __VA_ARGS__)                                                                \
    STEP(11, i, count, __VA_ARGS__)                                                                \
    STEP(12, i, count, __VA_ARGS__)                                                                \
    STEP(13, i, count, __VA_ARGS__)

enum { PANEL = LANES * TILE_VECTORS, WIDE_COLUMNS = GEMM_WIDE_COLUMNS };

/* --- loads of B by element type ------------------------------------------------------------- */

INLINE vec load_as(enum gemm_type type, const void *b, int64_t at)
{
    if (type == GEMM_BF16)
        return v_load_bf16((const uint16_t *)b + at);
    if (type == GEMM_F16)
        return v_load_f16((const uint16_t *)b + at);
    return v_load((const float *)b + at);
}

/* The first `count` < LANES elements, zeros after them; nothing behind them is touched. */
INLINE vec load_part_as(enum gemm_type type, const void *b, int64_t at, int64_t count)
{
    uint16_t bits[LANES] = {0};

    if (type == GEMM_F32)
        return v_load_part((const float *)b + at, count);
    memcpy(bits, (const uint16_t *)b + at, (size_t)count * sizeof *bits);
    return load_as(type, bits, 0);
}

INLINE const void *advance(enum gemm_type type, const void *b, int64_t count)
{
    return type == GEMM_F32 ? (const void *)((const float *)b + count)
                            : (const void *)((const uint16_t *)b + count);
}

/* --- results --------------------------------------------------------------------------------- */

INLINE vec finished(vec sum, const struct gemm_out *out, const float *c, int64_t column)
{
    vec base = v_zero();

    if (out->beta != 0.0f)
        base = v_mul(v_set(out->beta), v_load(c));
    if (out->bias)
        base = v_add(base, v_load(out->bias + column));
    return v_fma(v_set(out->alpha), sum, base);
}

INLINE vec finished_part(vec sum, const struct gemm_out *out, const float *c, int64_t column,
                         int64_t count)
{
    vec base = v_zero();

    if (out->beta != 0.0f)
        base = v_mul(v_set(out->beta), v_load_part(c, count));
    if (out->bias)
        base = v_add(base, v_load_part(out->bias + column, count));
    return v_fma(v_set(out->alpha), sum, base);
}

/* The general way out, for edges and biases: sums[rows][width] to columns from `column` on. */
static __attribute__((noinline)) void put_sums(const float *sums, int64_t rows, int64_t width,
                                               int64_t column, const struct gemm_out *out)
{
    int64_t count = out->columns - column < width ? out->columns - column : width;

    for (int64_t i = 0; i < rows; i++, sums += width) {
        float *c = out->c + i * out->ldc + column;
        int64_t j = 0;

        for (; j + LANES <= count; j += LANES)
            v_store(c + j, finished(v_load(sums + j), out, c + j, column + j));
        if (j < count)
            v_store_part(c + j, finished_part(v_load(sums + j), out, c + j, column + j, count - j),
                         count - j);
    }
}

/* --- order of memory ------------------------------------------------------------------------- */

/* Main memory serves one stream of addresses best, while the kernels read several rows of B at
 * once. So they fetch what comes next in the order in which it lies: `width` elements of each row,
 * `left` of them still to come in this one. */
struct stream {
    const void *at;
    int64_t left, width, ld;
};

INLINE void fetch_ahead(const enum gemm_type type, const int vectors, struct stream *stream)
{
    UNROLL for (int i = 0; i < vectors; i++)
        __builtin_prefetch(advance(type, stream->at, i * LANES), 0, 2);
    stream->at = advance(type, stream->at, vectors * LANES);
    stream->left -= vectors * LANES;
    if (stream->left <= 0) {
        stream->at = advance(type, stream->at, stream->left + stream->ld - stream->width);
        stream->left += stream->width;
    }
}

/* --- outer products -------------------------------------------------------------------------- */

/* rows x PANEL of C: A packed [k][TILE_ROWS] times f32 rows of B. */
INLINE void outer(const int rows, int64_t k, const float *a, const float *b, int64_t ldb,
                  const struct gemm_out *out)
{
    vec sum[14][14];
    vec alpha = v_set(out->alpha);
    float *c = out->c;

    REPEAT(i, rows,
           UNROLL for (int j = 0; j < PANEL; j += 16)
               __builtin_prefetch(c + i * out->ldc + j, 1, 3);
           REPEAT(j, TILE_VECTORS, sum[i][j] = v_zero();))
    for (int64_t p = 0; p < k; p++, a += TILE_ROWS, b += ldb) {
        vec bv[14];

        REPEAT(j, TILE_VECTORS, bv[j] = v_load(b + j * LANES);)
        REPEAT(i, rows, vec av = v_set(a[i]);

               REPEAT(j, TILE_VECTORS, sum[i][j] = v_fma(av, bv[j], sum[i][j]);))
    }
    if (out->columns < PANEL || out->bias) {
        float sums[TILE_ROWS * PANEL];

        REPEAT(i, rows, REPEAT(j, TILE_VECTORS, v_store(sums + i * PANEL + j * LANES, sum[i][j]);))
        put_sums(sums, rows, PANEL, 0, out);
    } else if (out->beta != 0.0f) {
        vec beta = v_set(out->beta);

        REPEAT(i, rows,
               REPEAT(j, TILE_VECTORS, vec base = v_mul(beta, v_load(c + j * LANES));

                      v_store(c + j * LANES, v_fma(alpha, sum[i][j], base));) c += out->ldc;)
    } else {
        REPEAT(i, rows,
               REPEAT(j, TILE_VECTORS, v_store(c + j * LANES, v_fma(alpha, sum[i][j], v_zero()));)
                   c += out->ldc;)
    }
}

#define TILE(ROWS)                                                                                 \
    static void tile_##ROWS(int64_t k, const float *a, const float *b, int64_t ldb,                \
                            const struct gemm_out *out)                                            \
    {                                                                                              \
        outer(ROWS, k, a, b, ldb, out);                                                            \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
#if TILE_ROWS >= 6
TILE(5)
TILE(6)
#endif
#if TILE_ROWS >= 8
TILE(7)
TILE(8)
#endif
#if TILE_ROWS >= 12
TILE(9)
TILE(10)
TILE(11)
TILE(12)
#endif
#if TILE_ROWS >= 14
TILE(13)
TILE(14)
#endif
#undef TILE

static void tile(int64_t k, const float *a, const float *b, int64_t ldb, const struct gemm_out *out)
{
    static void (*const tiles[])(int64_t, const float *, const float *, int64_t,
                                 const struct gemm_out *) = {
        NULL,
        tile_1,
        tile_2,
        tile_3,
        tile_4,
#if TILE_ROWS >= 6
        tile_5,
        tile_6,
#endif
#if TILE_ROWS >= 8
        tile_7,
        tile_8,
#endif
#if TILE_ROWS >= 12
        tile_9,
        tile_10,
        tile_11,
        tile_12,
#endif
#if TILE_ROWS >= 14
        tile_13,
        tile_14,
#endif
    };

    tiles[out->rows](k, a, b, ldb, out);
}

/* Adds a few steps of k to rows x (vectors * LANES) sums in memory, rows of `sums` a `width` apart;
 * only `part` elements of the last vector of B may be read. */
INLINE void add_steps(const int rows, const int vectors, const enum gemm_type type, int64_t k,
                      const float *a, const void *b, int64_t ldb, float *sums, int64_t width,
                      int64_t part, struct stream *stream)
{
    vec sum[14][14];

    REPEAT(i, rows, REPEAT(j, vectors, sum[i][j] = v_load(sums + i * width + j * LANES);))
    for (int64_t p = 0; p < k; p++, a += TILE_ROWS, b = advance(type, b, ldb)) {
        vec bv[14];

        REPEAT(j, vectors,
               bv[j] = part < LANES && j == vectors - 1 ? load_part_as(type, b, j * LANES, part)
                                                        : load_as(type, b, j * LANES);)
        REPEAT(i, rows, vec av = v_set(a[i]);
               REPEAT(j, vectors, sum[i][j] = v_fma(av, bv[j], sum[i][j]);))
        if (stream)
            fetch_ahead(type, vectors, stream);
    }
    REPEAT(i, rows, REPEAT(j, vectors, v_store(sums + i * width + j * LANES, sum[i][j]);))
}

/* The same over `columns`. The fewer rows, the more vectors beside each other, for the additions of
 * one chain must wait for each other. */
INLINE void add_rows(const int rows, const int vectors, const enum gemm_type type, int64_t k,
                     const float *a, const void *b, int64_t ldb, float *sums, int64_t columns,
                     struct stream *stream)
{
    int64_t j = 0;

    if (stream) {
        for (; j + vectors * LANES <= columns; j += vectors * LANES)
            add_steps(rows, vectors, type, k, a, advance(type, b, j), ldb, sums + j, WIDE_COLUMNS,
                      LANES, stream);
    }
    for (; j + vectors * LANES <= columns; j += vectors * LANES)
        add_steps(rows, vectors, type, k, a, advance(type, b, j), ldb, sums + j, WIDE_COLUMNS,
                  LANES, NULL);
    for (; j + LANES <= columns; j += LANES)
        add_steps(rows, 1, type, k, a, advance(type, b, j), ldb, sums + j, WIDE_COLUMNS, LANES,
                  NULL);
    if (j < columns)
        add_steps(rows, 1, type, k, a, advance(type, b, j), ldb, sums + j, WIDE_COLUMNS,
                  columns - j, NULL);
}

INLINE void add_group(const enum gemm_type type, int64_t rows, int64_t k, const float *a,
                      const void *b, int64_t ldb, float *sums, int64_t columns,
                      struct stream *stream)
{
    const int many = REGISTERS >= 32;

    switch (rows) {
    case 1:
        add_rows(1, many ? 8 : 6, type, k, a, b, ldb, sums, columns, stream);
        break;
    case 2:
        add_rows(2, many ? 8 : 4, type, k, a, b, ldb, sums, columns, stream);
        break;
    case 3:
        add_rows(3, many ? 6 : 3, type, k, a, b, ldb, sums, columns, stream);
        break;
    case 4:
        add_rows(4, many ? 4 : 2, type, k, a, b, ldb, sums, columns, stream);
        break;
#if TILE_ROWS >= 6
    case 5:
        add_rows(5, many ? 4 : 2, type, k, a, b, ldb, sums, columns, stream);
        break;
    case 6:
        add_rows(6, many ? 4 : 2, type, k, a, b, ldb, sums, columns, stream);
        break;
#endif
    default:
        break;
    }
}

/* Panels of A times all columns of B where it lies. B is taken in strips of a few rows; the next
 * strip is fetched while this one is used by all rows of A. */
INLINE void wide_as(const enum gemm_type type, int64_t k, const float *a, int64_t stride,
                    const void *b, int64_t ldb, float *sums, const struct gemm_out *out)
{
    int64_t steps = out->rows <= 3 ? 4 : out->rows <= 6 ? 8 : 16;

    for (int64_t column = 0; column < out->columns; column += WIDE_COLUMNS) {
        int64_t left = out->columns - column;
        int64_t columns = left < WIDE_COLUMNS ? left : WIDE_COLUMNS;

        memset(sums, 0, (size_t)(out->rows * WIDE_COLUMNS) * sizeof *sums);
        for (int64_t p = 0; p < k; p += steps) {
            int64_t count = k - p < steps ? k - p : steps;
            const void *strip = advance(type, b, p * ldb + column);
            struct stream next = {advance(type, strip, count * ldb), columns, columns, ldb};

            for (int64_t i = 0; i < out->rows; i += TILE_ROWS) {
                int64_t rows = out->rows - i < TILE_ROWS ? out->rows - i : TILE_ROWS;
                int64_t groups = (rows + 5) / 6;

                for (int64_t g = 0; g < groups; g++) {
                    int64_t from = rows * g / groups;

                    add_group(type, rows * (g + 1) / groups - from, count,
                              a + i / TILE_ROWS * stride + p * TILE_ROWS + from, strip, ldb,
                              sums + (i + from) * WIDE_COLUMNS, columns,
                              i + from == 0 && p + count < k ? &next : NULL);
                }
            }
        }
        put_sums(sums, out->rows, WIDE_COLUMNS, column, out);
    }
}

/* --- dot products ---------------------------------------------------------------------------- */

typedef float quad __attribute__((vector_size(16)));

/* One row of `count` <= 4 results. */
INLINE void put_quad(quad sum, int64_t row, int64_t column, int64_t count,
                     const struct gemm_out *out)
{
    float *c = out->c + row * out->ldc + column;
    quad base = {0.0f, 0.0f, 0.0f, 0.0f};

    if (out->beta != 0.0f) {
        memcpy(&base, c, (size_t)count * sizeof *c);
        base *= out->beta;
    }
    if (out->bias) {
        quad bias = {0.0f, 0.0f, 0.0f, 0.0f};

        memcpy(&bias, out->bias + column, (size_t)count * sizeof *c);
        base += bias;
    }
    sum = sum * out->alpha + base;
    memcpy(c, &sum, (size_t)count * sizeof *c);
}

/* sum[i][j] += rows of A times rows of B, element by element of the vectors. */
INLINE void dot_rows(const int rows, const int columns, const enum gemm_type type, int64_t k,
                     const float *const *ar, const void *const *br, vec (*sum)[14], const int lines,
                     struct stream *stream)
{
    vec av[14];
    int64_t p = 0;

    REPEAT(i, rows, REPEAT(j, columns, sum[i][j] = v_zero();))
    for (; p + LANES <= k; p += LANES) {
        REPEAT(i, rows, av[i] = v_load(ar[i] + p);)
        REPEAT(j, columns, vec bv = load_as(type, br[j], p);
               REPEAT(i, rows, sum[i][j] = v_fma(av[i], bv, sum[i][j]);))
        if (lines > 0)
            fetch_ahead(type, lines, stream);
    }
    if (p < k) {
        REPEAT(i, rows, av[i] = v_load_part(ar[i] + p, k - p);)
        REPEAT(j, columns, vec bv = load_part_as(type, br[j], p, k - p);

               REPEAT(i, rows, sum[i][j] = v_fma(av[i], bv, sum[i][j]);))
    }
}

/* rows x 4 results at (row, column); columns that do not exist repeat the last one. Memory-bound
 * shapes take the rows of B one after the other, the others four at a time. */
INLINE void dot_tile(const int rows, const bool one_by_one, const enum gemm_type type, int64_t k,
                     const float *a, int64_t lda, const void *b, int64_t ldb,
                     const struct gemm_out *out, int64_t row, int64_t column, const int lines,
                     struct stream *stream)
{
    int64_t left = out->columns - column;
    vec sum[14][14];
    const float *ar[14];
    const void *br[14];

    REPEAT(i, rows, ar[i] = a + (row + i) * lda;)
    REPEAT(j, 4, br[j] = advance(type, b, (column + (j < left ? j : left - 1)) * ldb);)
    if (one_by_one) {
        REPEAT(j, 4, vec one[14][14];

               dot_rows(rows, 1, type, k, ar, br + j, one, 0, NULL);
               REPEAT(i, rows, sum[i][j] = one[i][0];))
    } else {
        dot_rows(rows, 4, type, k, ar, br, sum, lines, stream);
    }
    REPEAT(i, rows, quad four = v_sum4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);

           if (left >= 4) put_quad(four, row + i, column, 4, out);
           else put_quad(four, row + i, column, left, out);)
}

#define DOT_CASE(ROWS)                                                                             \
    case ROWS:                                                                                     \
        if (groups == 1 && ROWS <= 2)                                                              \
            dot_tile(ROWS, true, type, k, a, lda, b, ldb, out, row, column, 0, NULL);              \
        else if (groups == 1)                                                                      \
            dot_tile(ROWS, false, type, k, a, lda, b, ldb, out, row, column, 4, &stream);          \
        else if (group < 2)                                                                        \
            dot_tile(ROWS, false, type, k, a, lda, b, ldb, out, row, column, 2, &stream);          \
        else                                                                                       \
            dot_tile(ROWS, false, type, k, a, lda, b, ldb, out, row, column, 0, NULL);             \
        break;

/* Fetches run two strips of four rows ahead, all of them before the rows of A are done. */
INLINE void dot_as(const enum gemm_type type, int64_t k, const float *a, int64_t lda, const void *b,
                   int64_t ldb, const struct gemm_out *out)
{
    int64_t most = REGISTERS >= 32 ? 6 : 3;
    int64_t groups = (out->rows + most - 1) / most;
    int64_t ahead = out->columns > 8 ? 8 : 0;
    struct stream stream = {advance(type, b, ahead * ldb), k, k, ldb};

    for (int64_t column = 0; column < out->columns; column += 4) {
        if (column + 12 >= out->columns) /* nothing to come: start again, at what is cached */
            stream = (struct stream){b, k, k, ldb};
        for (int64_t group = 0; group < groups; group++) {
            int64_t row = out->rows * group / groups;

            switch (out->rows * (group + 1) / groups - row) {
                DOT_CASE(1)
                DOT_CASE(2)
                DOT_CASE(3)
#if REGISTERS >= 32
                DOT_CASE(4)
                DOT_CASE(5)
                DOT_CASE(6)
#endif
            default:
                break;
            }
        }
    }
}
#undef DOT_CASE

/* --- packing --------------------------------------------------------------------------------- */

/* LANES x LANES block: rows of `source` become columns; rows from `rows` on and elements from
 * `count` on are zero. */
INLINE void load_transposed(const enum gemm_type type, vec block[LANES], const void *source,
                            int64_t ld, int64_t rows, int64_t count)
{
    if (rows >= LANES && count >= LANES) {
        UNROLL for (int i = 0; i < LANES; i++) block[i] = load_as(type, source, i * ld);
    } else {
        for (int i = 0; i < LANES; i++) {
            block[i] = v_zero();
            if (i < rows)
                block[i] = count >= LANES ? load_as(type, source, i * ld)
                                          : load_part_as(type, source, i * ld, count);
        }
    }
    v_transpose(block);
}

/* A, a block of [m,k] (or of [k,m] transposed), to panels [k][TILE_ROWS], each `stride` apart and
 * with room for LANES floats behind its end. What lies beyond row m is unspecified. */
static void pack_a_rows(int64_t m, int64_t k, const float *a, int64_t lda, float *packed,
                        int64_t stride)
{
    for (int64_t i = 0; i < m; i += TILE_ROWS, packed += stride) {
        for (int64_t part = 0; part < TILE_ROWS; part += LANES) {
            int64_t rows = m - i - part < TILE_ROWS - part ? m - i - part : TILE_ROWS - part;

            for (int64_t p = 0; p < k && rows > 0; p += LANES) {
                float *to = packed + p * TILE_ROWS + part;
                vec block[LANES];

                load_transposed(GEMM_F32, block, a + (i + part) * lda + p, lda, rows, k - p);
                if (k - p >= LANES) {
                    UNROLL for (int q = 0; q < LANES; q++) v_store(to + q * TILE_ROWS, block[q]);
                } else {
                    for (int q = 0; q < k - p; q++)
                        v_store(to + q * TILE_ROWS, block[q]);
                }
            }
        }
    }
}

static void pack_a_columns(int64_t m, int64_t k, const float *a, int64_t lda, float *packed,
                           int64_t stride)
{
    for (int64_t p = 0; p < k; p++, a += lda) {
        for (int64_t i = 0; i < m; i += TILE_ROWS) {
            float *to = packed + (i / TILE_ROWS) * stride + p * TILE_ROWS;

            UNROLL for (int part = 0; part < TILE_ROWS; part += LANES)
            {
                int64_t left = m - i - part;

                if (left >= LANES)
                    v_store(to + part, v_load(a + i + part));
                else if (left > 0)
                    v_store(to + part, v_load_part(a + i + part, left));
            }
        }
    }
}

/* B, a block of [k,n] (rows) or of [n,k] (columns), to panels [k][PANEL] padded with zeros. */
INLINE void pack_rows_as(const enum gemm_type type, int64_t n, int64_t k, const void *b,
                         int64_t ldb, float *packed)
{
    for (int64_t p = 0; p < k; p++, b = advance(type, b, ldb)) {
        for (int64_t j = 0; j < n; j += PANEL) {
            float *to = packed + j * k + p * PANEL;

            UNROLL for (int part = 0; part < PANEL; part += LANES)
            {
                int64_t left = n - j - part;
                vec value = v_zero();

                if (left >= LANES)
                    value = load_as(type, b, j + part);
                else if (left > 0)
                    value = load_part_as(type, b, j + part, left);
                v_store(to + part, value);
            }
        }
    }
}

INLINE void pack_columns_as(const enum gemm_type type, int64_t n, int64_t k, const void *b,
                            int64_t ldb, float *packed)
{
    for (int64_t j = 0; j < n; j += PANEL, packed += k * PANEL) {
        for (int64_t part = 0; part < PANEL; part += LANES) {
            const void *from = advance(type, b, (j + part) * ldb);

            for (int64_t p = 0; p < k; p += LANES) {
                float *to = packed + p * PANEL + part;
                vec block[LANES];

                load_transposed(type, block, advance(type, from, p), ldb, n - j - part, k - p);
                if (k - p >= LANES) {
                    UNROLL for (int q = 0; q < LANES; q++) v_store(to + q * PANEL, block[q]);
                } else {
                    for (int q = 0; q < k - p; q++)
                        v_store(to + q * PANEL, block[q]);
                }
            }
        }
    }
}

/* --- the table ------------------------------------------------------------------------------- */

#define SOURCE(NAME, TYPE)                                                                         \
    static void wide_##NAME(int64_t k, const float *a, int64_t stride, const void *b, int64_t ldb, \
                            float *sums, const struct gemm_out *out)                               \
    {                                                                                              \
        wide_as(TYPE, k, a, stride, b, ldb, sums, out);                                            \
    }                                                                                              \
    static void dot_##NAME(int64_t k, const float *a, int64_t lda, const void *b, int64_t ldb,     \
                           const struct gemm_out *out)                                             \
    {                                                                                              \
        dot_as(TYPE, k, a, lda, b, ldb, out);                                                      \
    }                                                                                              \
    static void pack_rows_##NAME(int64_t n, int64_t k, const void *b, int64_t ldb, float *packed)  \
    {                                                                                              \
        pack_rows_as(TYPE, n, k, b, ldb, packed);                                                  \
    }                                                                                              \
    static void pack_columns_##NAME(int64_t n, int64_t k, const void *b, int64_t ldb,              \
                                    float *packed)                                                 \
    {                                                                                              \
        pack_columns_as(TYPE, n, k, b, ldb, packed);                                               \
    }
SOURCE(f32, GEMM_F32)
SOURCE(bf16, GEMM_BF16)
SOURCE(f16, GEMM_F16)
#undef SOURCE

#define SOURCE_ROW(NAME, BYTES)                                                                    \
    {                                                                                              \
        BYTES, pack_rows_##NAME, pack_columns_##NAME, wide_##NAME, dot_##NAME                      \
    }

static void fill(struct gemm_kernels *kernels, const char *name)
{
    kernels->name = name;
    kernels->tile_rows = TILE_ROWS;
    kernels->tile_columns = PANEL;
    kernels->lanes = LANES;
    kernels->tile = tile;
    kernels->pack_a_rows = pack_a_rows;
    kernels->pack_a_columns = pack_a_columns;
    kernels->sources[GEMM_F32] = (struct gemm_source)SOURCE_ROW(f32, 4);
    kernels->sources[GEMM_BF16] = (struct gemm_source)SOURCE_ROW(bf16, 2);
    kernels->sources[GEMM_F16] = (struct gemm_source)SOURCE_ROW(f16, 2);
}

#endif
