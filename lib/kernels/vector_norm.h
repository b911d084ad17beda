/* SPDX-License-Identifier: MIT
 *
 * Layer norm (Ba, Kiros, Hinton 2016), RMS norm (Zhang, Sennrich 2019) and column sums of struct
 * vector_kernels. Included by one file per instruction set, after its lanes.
 */
#ifndef KERNELS_VECTOR_NORM_H
#define KERNELS_VECTOR_NORM_H

#include "kernels/vector_reduce.h"

LANES_INLINE vf load_some(const float *p, int64_t n)
{
    return n >= LANES ? v_load(p) : v_load_n(p, n);
}

LANES_INLINE void store_some(float *p, vf v, int64_t n)
{
    if (n >= LANES)
        v_store(p, v);
    else
        v_store_n(p, v, n);
}

static void row_layer_norm(float *y, float *mean, float *rstd, const float *x, const float *weight,
                           const float *bias, int64_t rows, int64_t n, float epsilon)
{
    for (int64_t row = 0; row < rows; row++, x += n, y += n) {
        double centre;
        double variance;
        float scale;
        vf c;
        vf s;

        row_mean_variance(&centre, &variance, x, n);
        scale = (float)(1.0 / sqrt(variance + (double)epsilon));
        c = v_set((float)centre);
        s = v_set(scale);
        for (int64_t i = 0; i < n; i += LANES) {
            vf v = v_mul(v_sub(load_some(x + i, n - i), c), s);
            if (weight)
                v = v_mul(v, load_some(weight + i, n - i));
            if (bias)
                v = v_add(v, load_some(bias + i, n - i));
            store_some(y + i, v, n - i);
        }
        if (mean)
            mean[row] = (float)centre;
        if (rstd)
            rstd[row] = scale;
    }
}

/* What both norms do backward: g = dy w, h = the normalized x; dx = rstd (g - a - b h) with a =
 * mean(g) (layer norm) or 0, b = mean(g h). Fills the two sums and adds to dweight, dbias. */
LANES_INLINE void norm_sums(double *sum_g, double *sum_gh, float *dweight, float *dbias,
                            const float *dy, const float *x, const float *weight, float offset,
                            float mean, float rstd, int64_t n)
{
    vf c = v_set(mean);
    vf s = v_set(rstd);
    vf o = v_set(offset);

    *sum_g = 0.0;
    *sum_gh = 0.0;
    for (int64_t start = 0; start < n; start += BLOCK) {
        int64_t end = n - start < BLOCK ? n : start + BLOCK;
        vf a = v_set(0.0f);
        vf b = a;
        for (int64_t i = start; i < end; i += LANES) {
            int64_t rest = end - i;
            vf d = load_some(dy + i, rest); /* zero beyond the end, so its products are as well */
            vf h = v_mul(v_sub(load_some(x + i, rest), c), s);
            vf g = weight ? v_mul(d, v_add(load_some(weight + i, rest), o)) : d;
            a = v_add(a, g);
            b = v_fma(g, h, b);
            if (dweight)
                store_some(dweight + i, v_fma(d, h, load_some(dweight + i, rest)), rest);
            if (dbias)
                store_some(dbias + i, v_add(d, load_some(dbias + i, rest)), rest);
        }
        *sum_g += (double)v_sum(a);
        *sum_gh += (double)v_sum(b);
    }
}

LANES_INLINE void norm_slope(float *dx, float beta, const float *dy, const float *x,
                             const float *weight, float offset, float mean, float rstd,
                             float mean_g, float mean_gh, int64_t n)
{
    vf c = v_set(mean);
    vf s = v_set(rstd);
    vf o = v_set(offset);
    vf a = v_set(mean_g);
    vf b = v_set(mean_gh);

    for (int64_t i = 0; i < n; i += LANES) {
        int64_t rest = n - i;
        vf d = load_some(dy + i, rest);
        vf h = v_mul(v_sub(load_some(x + i, rest), c), s);
        vf g = weight ? v_mul(d, v_add(load_some(weight + i, rest), o)) : d;
        vf slope = v_mul(s, v_sub(v_sub(g, a), v_mul(b, h)));
        if (beta != 0.0f)
            slope = v_add(load_some(dx + i, rest), slope);
        store_some(dx + i, slope, rest);
    }
}

static void row_layer_norm_backward(float *dx, float beta, float *dweight, float *dbias,
                                    const float *dy, const float *x, const float *weight,
                                    const float *mean, const float *rstd, int64_t rows, int64_t n)
{
    for (int64_t row = 0; row < rows; row++, dy += n, x += n) {
        double g;
        double gh;

        norm_sums(&g, &gh, dweight, dbias, dy, x, weight, 0.0f, mean[row], rstd[row], n);
        if (dx)
            norm_slope(dx + row * n, beta, dy, x, weight, 0.0f, mean[row], rstd[row],
                       (float)(g / (double)n), (float)(gh / (double)n), n);
    }
}

static void row_rms_norm(float *y, float *rstd, const float *x, const float *weight,
                         float weight_offset, int64_t rows, int64_t n, float epsilon)
{
    vf o = v_set(weight_offset);

    for (int64_t row = 0; row < rows; row++, x += n, y += n) {
        double square = n > 0 ? row_sum_squares(x, n) / (double)n : 0.0;
        float scale = (float)(1.0 / sqrt(square + (double)epsilon));
        vf s = v_set(scale);

        for (int64_t i = 0; i < n; i += LANES) {
            vf v = v_mul(load_some(x + i, n - i), s);
            if (weight)
                v = v_mul(v, v_add(load_some(weight + i, n - i), o));
            store_some(y + i, v, n - i);
        }
        if (rstd)
            rstd[row] = scale;
    }
}

static void row_rms_norm_backward(float *dx, float beta, float *dweight, const float *dy,
                                  const float *x, const float *weight, float weight_offset,
                                  const float *rstd, int64_t rows, int64_t n)
{
    for (int64_t row = 0; row < rows; row++, dy += n, x += n) {
        double g;
        double gh;

        norm_sums(&g, &gh, dweight, NULL, dy, x, weight, weight_offset, 0.0f, rstd[row], n);
        if (dx)
            norm_slope(dx + row * n, beta, dy, x, weight, weight_offset, 0.0f, rstd[row], 0.0f,
                       (float)(gh / (double)n), n);
    }
}

enum { ROWS_AT_ONCE = 64 }; /* summed in registers before they join the total */

static void row_column_sums(float *y, float beta, const float *x, int64_t rows, int64_t n,
                            int64_t stride)
{
    if (beta == 0.0f)
        memset(y, 0, (size_t)n * sizeof *y);
    for (int64_t row = 0; row < rows; row += ROWS_AT_ONCE) {
        int64_t end = rows - row < ROWS_AT_ONCE ? rows : row + ROWS_AT_ONCE;
        int64_t j = 0;
        for (; j + 4 * LANES <= n; j += 4 * LANES) {
            vf s0 = v_set(0.0f);
            vf s1 = s0;
            vf s2 = s0;
            vf s3 = s0;
            for (int64_t r = row; r < end; r++) {
                const float *p = x + r * stride + j;
                s0 = v_add(s0, v_load(p));
                s1 = v_add(s1, v_load(p + LANES));
                s2 = v_add(s2, v_load(p + 2 * LANES));
                s3 = v_add(s3, v_load(p + 3 * LANES));
            }
            v_store(y + j, v_add(v_load(y + j), s0));
            v_store(y + j + LANES, v_add(v_load(y + j + LANES), s1));
            v_store(y + j + 2 * LANES, v_add(v_load(y + j + 2 * LANES), s2));
            v_store(y + j + 3 * LANES, v_add(v_load(y + j + 3 * LANES), s3));
        }
        for (; j < n; j += LANES) {
            vf s = v_set(0.0f);
            for (int64_t r = row; r < end; r++)
                s = v_add(s, load_some(x + r * stride + j, n - j));
            store_some(y + j, v_add(load_some(y + j, n - j), s), n - j);
        }
    }
}

#endif
