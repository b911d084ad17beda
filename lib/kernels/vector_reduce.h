/* SPDX-License-Identifier: MIT
 *
 * Reductions, softmax and cross-entropy rows of struct vector_kernels. Blocks of BLOCK elements are
 * summed in float over four independent accumulators, the blocks in double, always in this order.
 * Included by one file per instruction set, after its lanes.
 */
#ifndef KERNELS_VECTOR_REDUCE_H
#define KERNELS_VECTOR_REDUCE_H

#include "kernels/vector_map.h"

enum { BLOCK = 2048 };

typedef vf (*accumulate_lanes)(vf sum, vf a, vf b);

LANES_INLINE float reduce_block(const float *a, const float *b, int64_t n, accumulate_lanes f)
{
    vf s0 = v_set(0.0f);
    vf s1 = s0;
    vf s2 = s0;
    vf s3 = s0;
    int64_t i = 0;

    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        s0 = f(s0, v_load(a + i), v_load(b + i));
        s1 = f(s1, v_load(a + i + LANES), v_load(b + i + LANES));
        s2 = f(s2, v_load(a + i + 2 * LANES), v_load(b + i + 2 * LANES));
        s3 = f(s3, v_load(a + i + 3 * LANES), v_load(b + i + 3 * LANES));
    }
    for (; i + LANES <= n; i += LANES)
        s0 = f(s0, v_load(a + i), v_load(b + i));
    if (i < n)
        s1 = f(s1, v_load_n(a + i, n - i), v_load_n(b + i, n - i));
    return v_sum(v_add(v_add(s0, s1), v_add(s2, s3)));
}

/* f must leave the sum alone where a and b are zero. */
LANES_INLINE double reduce(const float *a, const float *b, int64_t n, accumulate_lanes f)
{
    double total = 0.0;

    for (int64_t i = 0; i < n; i += BLOCK)
        total += (double)reduce_block(a + i, b + i, n - i < BLOCK ? n - i : BLOCK, f);
    return total;
}

LANES_INLINE vf plus_first(vf sum, vf a, vf b)
{
    (void)b;
    return v_add(sum, a);
}

LANES_INLINE vf plus_product(vf sum, vf a, vf b)
{
    return v_fma(a, b, sum);
}

LANES_INLINE vf plus_squared_difference(vf sum, vf a, vf b)
{
    vf d = v_sub(a, b);

    return v_fma(d, d, sum);
}

static double row_sum(const float *x, int64_t n)
{
    return reduce(x, x, n, plus_first);
}

static double row_dot(const float *a, const float *b, int64_t n)
{
    return reduce(a, b, n, plus_product);
}

static double row_sum_squares(const float *x, int64_t n)
{
    return reduce(x, x, n, plus_product);
}

static double row_sum_squared_difference(const float *a, const float *b, int64_t n)
{
    return reduce(a, b, n, plus_squared_difference);
}

/* The larger of two, NaN if either is. */
LANES_INLINE vf nan_max(vf best, vf x)
{
    return v_select(v_is_nan(x), x, v_max(x, best));
}

LANES_INLINE float row_largest(const float *x, int64_t n, int magnitude)
{
    float best = magnitude ? 0.0f : -INFINITY;
    int64_t i = 0;

    if (n >= LANES) {
        vf lanes = v_set(best);
        for (;;) {
            vf v = v_load(x + i);
            lanes = nan_max(lanes, magnitude ? v_abs(v) : v);
            i += LANES;
            if (i >= n)
                break;
            if (i > n - LANES)
                i = n - LANES; /* the last vector overlaps: a maximum may see an element twice */
        }
        return v_any(v_is_nan(lanes)) ? NAN : v_largest(lanes);
    }
    for (; i < n; i++) {
        float v = magnitude ? fabsf(x[i]) : x[i];
        best = v > best || v != v ? v : best;
        if (v != v)
            break;
    }
    return best;
}

static float row_maximum(const float *x, int64_t n)
{
    return row_largest(x, n, 0);
}

static float row_absmax(const float *x, int64_t n)
{
    return row_largest(x, n, 1);
}

static double sum_squares_about(const float *x, float centre, int64_t n)
{
    vf c = v_set(centre);
    double total = 0.0;

    for (int64_t start = 0; start < n; start += BLOCK) {
        int64_t end = n - start < BLOCK ? n : start + BLOCK;
        int64_t i = start;
        vf s0 = v_set(0.0f);
        vf s1 = s0;

        for (; i + 2 * LANES <= end; i += 2 * LANES) {
            vf a = v_sub(v_load(x + i), c);
            vf b = v_sub(v_load(x + i + LANES), c);
            s0 = v_fma(a, a, s0);
            s1 = v_fma(b, b, s1);
        }
        for (; i + LANES <= end; i += LANES) {
            vf a = v_sub(v_load(x + i), c);
            s0 = v_fma(a, a, s0);
        }
        if (i < end) {
            vf a = v_keep_n(v_sub(v_load_n(x + i, end - i), c), end - i);
            s1 = v_fma(a, a, s1);
        }
        total += (double)v_sum(v_add(s0, s1));
    }
    return total;
}

/* The variance about the rounded mean, corrected for the rounding. */
static void row_mean_variance(double *mean, double *variance, const float *x, int64_t n)
{
    double exact = n > 0 ? row_sum(x, n) / (double)n : 0.0;
    float centre = (float)exact;
    double shift = exact - (double)centre;
    double about = n > 0 ? sum_squares_about(x, centre, n) / (double)n - shift * shift : 0.0;

    *mean = exact;
    *variance = about < 0.0 ? 0.0 : about;
}

/* sum of exp(x - top); the terms are stored in y unless it is NULL. */
LANES_INLINE double sum_exponentials(float *y, const float *x, float top, int64_t n)
{
    vf t = v_set(top);
    double total = 0.0;

    for (int64_t start = 0; start < n; start += BLOCK) {
        int64_t end = n - start < BLOCK ? n : start + BLOCK;
        int64_t i = start;
        vf s0 = v_set(0.0f);
        vf s1 = s0;

        for (; i + 2 * LANES <= end; i += 2 * LANES) {
            vf a = v_exp(v_sub(v_load(x + i), t));
            vf b = v_exp(v_sub(v_load(x + i + LANES), t));
            if (y) {
                v_store(y + i, a);
                v_store(y + i + LANES, b);
            }
            s0 = v_add(s0, a);
            s1 = v_add(s1, b);
        }
        for (; i < end; i += LANES) {
            int64_t rest = end - i < LANES ? end - i : LANES;
            vf a = rest < LANES ? v_load_n(x + i, rest) : v_load(x + i);
            a = v_exp(v_sub(a, t));
            if (rest < LANES)
                a = v_keep_n(a, rest);
            if (y && rest < LANES)
                v_store_n(y + i, a, rest);
            else if (y)
                v_store(y + i, a);
            s0 = v_add(s0, a);
        }
        total += (double)v_sum(v_add(s0, s1));
    }
    return total;
}

static void row_softmax(float *y, const float *x, int64_t n)
{
    double sum = sum_exponentials(y, x, row_maximum(x, n), n);

    row_affine(y, 0.0f, y, (float)(1.0 / sum), 0.0f, n);
}

LANES_INLINE void softmax_slope(float *dx, float beta, const float *dy, const float *y, int64_t n,
                                float total, int of_logarithm)
{
    vf t = v_set(total);

    for (int64_t i = 0; i < n; i += LANES) {
        int64_t rest = n - i;
        const int whole = rest >= LANES;
        vf g = whole ? v_load(dy + i) : v_load_n(dy + i, rest);
        vf p = whole ? v_load(y + i) : v_load_n(y + i, rest);
        vf d = of_logarithm ? v_sub(g, v_mul(t, v_exp(p))) : v_mul(p, v_sub(g, t));

        if (beta != 0.0f)
            d = v_add(whole ? v_load(dx + i) : v_load_n(dx + i, rest), d);
        if (whole)
            v_store(dx + i, d);
        else
            v_store_n(dx + i, d, rest);
    }
}

static void row_softmax_backward(float *dx, float beta, const float *dy, const float *y, int64_t n)
{
    softmax_slope(dx, beta, dy, y, n, (float)row_dot(dy, y, n), 0);
}

static void row_log_softmax(float *y, const float *x, int64_t n)
{
    float top = row_maximum(x, n);
    float logarithm = (float)log(sum_exponentials(NULL, x, top, n));
    vf t = v_set(top);
    vf l = v_set(logarithm);
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v_store(y + i, v_sub(v_sub(v_load(x + i), t), l));
    if (i < n)
        v_store_n(y + i, v_sub(v_sub(v_load_n(x + i, n - i), t), l), n - i);
}

static void row_log_softmax_backward(float *dx, float beta, const float *dy, const float *y,
                                     int64_t n)
{
    softmax_slope(dx, beta, dy, y, n, (float)row_sum(dy, n), 1);
}

static float row_log_sum_exp(const float *x, int64_t n)
{
    float top = row_maximum(x, n);

    if (top == -INFINITY)
        return top;
    return (float)((double)top + log(sum_exponentials(NULL, x, top, n)));
}

static float row_cross_entropy(float *gradient, float *lse, const float *logits, int64_t n,
                               int64_t target, float smoothing, float gradient_scale)
{
    const double e = (double)smoothing;
    float top = row_maximum(logits, n);
    double chosen = (double)logits[target] - (double)top;
    double spread = e != 0.0 ? row_sum(logits, n) / (double)n - (double)top : 0.0;
    double sum = sum_exponentials(gradient, logits, top, n);
    double logarithm = log(sum);

    if (gradient) {
        row_affine(gradient, 0.0f, gradient, (float)((double)gradient_scale / sum),
                   (float)(-(double)gradient_scale * e / (double)n), n);
        gradient[target] -= (float)((double)gradient_scale * (1.0 - e));
    }
    if (lse)
        *lse = (float)((double)top + logarithm);
    return (float)(logarithm - (1.0 - e) * chosen - (e != 0.0 ? e * spread : 0.0));
}

/* sum of t and of t (x - top), t = keep target + share. */
static void target_sums(double *weight, double *inner, const float *logits, const float *target,
                        int64_t n, float top, float keep, float share)
{
    float t[64];
    float x[64];

    *weight = 0.0;
    *inner = 0.0;
    for (int64_t i = 0; i < n; i += 64) {
        int64_t count = n - i < 64 ? n - i : 64;
        row_affine(t, 0.0f, target + i, keep, share, count);
        row_sub_scalar(x, 0.0f, logits + i, top, count);
        *weight += (double)reduce_block(t, t, count, plus_first);
        *inner += (double)reduce_block(t, x, count, plus_product);
    }
}

static float row_cross_entropy_soft(float *gradient, float *lse, const float *logits,
                                    const float *target, int64_t n, float smoothing,
                                    float gradient_scale)
{
    float top = row_maximum(logits, n);
    float keep = 1.0f - smoothing;
    float share = smoothing / (float)n;
    double weight;
    double inner;
    double sum;

    target_sums(&weight, &inner, logits, target, n, top, keep, share);
    sum = sum_exponentials(gradient, logits, top, n);
    if (gradient) {
        row_affine(gradient, 0.0f, gradient, (float)((double)gradient_scale * weight / sum),
                   -gradient_scale * share, n);
        row_axpy(gradient, -gradient_scale * keep, target, n);
    }
    if (lse)
        *lse = (float)((double)top + log(sum));
    return (float)(weight * log(sum) - inner);
}

#endif
