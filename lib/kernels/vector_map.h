/* SPDX-License-Identifier: MIT
 *
 * Elementwise kernels of struct vector_kernels. Each function is written once on lanes and handed
 * to one of the loops below, which the compiler expands with it. Included by one file per
 * instruction set, after its lanes.
 */
#ifndef KERNELS_VECTOR_MAP_H
#define KERNELS_VECTOR_MAP_H

#include "kernels/vector_math.h"

#include <string.h>

typedef vf (*unary_lanes)(vf x, vf parameter);
typedef vf (*backward_lanes)(vf dy, vf x, vf y, vf parameter);
typedef vf (*binary_lanes)(vf a, vf b);

LANES_INLINE void map(float *y, const float *x, int64_t n, float parameter, unary_lanes f)
{
    vf p = v_set(parameter);
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v_store(y + i, f(v_load(x + i), p));
    if (i < n)
        v_store_n(y + i, f(v_load_n(x + i, n - i), p), n - i);
}

LANES_INLINE vf load_if(int wanted, const float *p, int64_t i)
{
    return wanted ? v_load(p + i) : v_set(0.0f);
}

LANES_INLINE vf load_if_n(int wanted, const float *p, int64_t i, int64_t n)
{
    return wanted ? v_load_n(p + i, n) : v_set(0.0f);
}

LANES_INLINE void backward_loop(float *dx, int add, const float *dy, const float *x, const float *y,
                                int64_t n, float parameter, int reads, backward_lanes f)
{
    const int with_x = reads & VECTOR_READS_X;
    const int with_y = reads & VECTOR_READS_Y;
    vf p = v_set(parameter);
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        vf d = f(v_load(dy + i), load_if(with_x, x, i), load_if(with_y, y, i), p);
        v_store(dx + i, add ? v_add(v_load(dx + i), d) : d);
    }
    if (i < n) {
        int64_t rest = n - i;
        vf d = f(v_load_n(dy + i, rest), load_if_n(with_x, x, i, rest),
                 load_if_n(with_y, y, i, rest), p);
        v_store_n(dx + i, add ? v_add(v_load_n(dx + i, rest), d) : d, rest);
    }
}

LANES_INLINE void map_backward(float *dx, float beta, const float *dy, const float *x,
                               const float *y, int64_t n, float parameter, int reads,
                               backward_lanes f)
{
    if (beta == 0.0f)
        backward_loop(dx, 0, dy, x, y, n, parameter, reads, f);
    else
        backward_loop(dx, 1, dy, x, y, n, parameter, reads, f);
}

LANES_INLINE void zip_loop(float *y, int add, const float *a, const float *b, float scalar,
                           int64_t n, binary_lanes f)
{
    vf s = v_set(scalar);
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        vf d = f(a ? v_load(a + i) : s, b ? v_load(b + i) : s);
        v_store(y + i, add ? v_add(v_load(y + i), d) : d);
    }
    if (i < n) {
        int64_t rest = n - i;
        vf d = f(a ? v_load_n(a + i, rest) : s, b ? v_load_n(b + i, rest) : s);
        v_store_n(y + i, add ? v_add(v_load_n(y + i, rest), d) : d, rest);
    }
}

/* NULL for a or b: the scalar. */
LANES_INLINE void zip(float *y, float beta, const float *a, const float *b, float scalar, int64_t n,
                      binary_lanes f)
{
    if (beta == 0.0f)
        zip_loop(y, 0, a, b, scalar, n, f);
    else
        zip_loop(y, 1, a, b, scalar, n, f);
}

LANES_INLINE vf lanes_exp(vf x, vf p)
{
    (void)p;
    return v_exp(x);
}

LANES_INLINE vf lanes_exp_backward(vf dy, vf x, vf y, vf p)
{
    (void)x, (void)p;
    return v_mul(dy, y);
}

LANES_INLINE vf lanes_log(vf x, vf p)
{
    (void)p;
    return v_log(x);
}

LANES_INLINE vf lanes_log_backward(vf dy, vf x, vf y, vf p)
{
    (void)y, (void)p;
    return v_div(dy, x);
}

LANES_INLINE vf lanes_sqrt(vf x, vf p)
{
    (void)p;
    return v_sqrt(x);
}

LANES_INLINE vf lanes_sqrt_backward(vf dy, vf x, vf y, vf p)
{
    (void)x, (void)p;
    return v_div(dy, v_add(y, y));
}

LANES_INLINE vf lanes_tanh(vf x, vf p)
{
    (void)p;
    return v_tanh(x);
}

LANES_INLINE vf lanes_tanh_backward(vf dy, vf x, vf y, vf p)
{
    (void)x, (void)p;
    return v_mul(dy, v_fma(v_negate(y), y, v_set(1.0f)));
}

LANES_INLINE vf lanes_sigmoid(vf x, vf p)
{
    (void)p;
    return v_sigmoid(x);
}

LANES_INLINE vf lanes_sigmoid_backward(vf dy, vf x, vf y, vf p)
{
    (void)x, (void)p;
    return v_mul(dy, v_mul(y, v_sub(v_set(1.0f), y)));
}

LANES_INLINE vf lanes_relu(vf x, vf p)
{
    (void)p;
    return v_max(v_set(0.0f), x);
}

LANES_INLINE vf lanes_relu_backward(vf dy, vf x, vf y, vf p)
{
    (void)x, (void)p;
    return v_select(v_less(v_set(0.0f), y), dy, v_set(0.0f));
}

LANES_INLINE vf lanes_leaky_relu(vf x, vf p)
{
    return v_select(v_less(v_set(0.0f), x), x, v_mul(x, p));
}

LANES_INLINE vf lanes_leaky_relu_backward(vf dy, vf x, vf y, vf p)
{
    (void)y;
    return v_select(v_less(v_set(0.0f), x), dy, v_mul(dy, p));
}

LANES_INLINE vf lanes_gelu(vf x, vf p)
{
    vf bell;

    (void)p;
    return v_mul(x, v_normal(x, &bell));
}

LANES_INLINE vf lanes_gelu_backward(vf dy, vf x, vf y, vf p)
{
    const vf inverse_root_two_pi = v_set(0.3989422804014327f);
    vf bell;
    vf phi = v_normal(x, &bell);
    vf bounded = v_min(v_set(20.0f), v_max(v_set(-20.0f), x)); /* infinity times bell = 0 */

    (void)y, (void)p;
    return v_mul(dy, v_fma(v_mul(bounded, inverse_root_two_pi), bell, phi));
}

LANES_INLINE vf lanes_gelu_tanh(vf x, vf p)
{
    (void)p;
    return v_mul(x, v_sigmoid(v_gelu_argument(x)));
}

LANES_INLINE vf lanes_gelu_tanh_backward(vf dy, vf x, vf y, vf p)
{
    const float k = 1.5957691216057308f;
    vf bounded = v_min(v_set(20.0f), v_max(v_set(-20.0f), x)); /* beyond, the slope is 0 or 1 */
    vf s = v_sigmoid(v_gelu_argument(bounded));
    vf slope = v_fma(v_mul(bounded, bounded), v_set(3.0f * k * 0.044715f), v_set(k));
    vf inner = v_mul(v_mul(bounded, slope), v_sub(v_set(1.0f), s));

    (void)y, (void)p;
    return v_mul(dy, v_fma(s, inner, s));
}

LANES_INLINE vf lanes_silu(vf x, vf p)
{
    (void)p;
    return v_mul(x, v_sigmoid(x));
}

LANES_INLINE vf silu_slope(vf x, vf s)
{
    return v_fma(v_mul(s, x), v_sub(v_set(1.0f), s), s);
}

LANES_INLINE vf lanes_silu_backward(vf dy, vf x, vf y, vf p)
{
    (void)y, (void)p;
    return v_mul(dy, silu_slope(x, v_sigmoid(x)));
}

LANES_INLINE vf lanes_softplus(vf x, vf p)
{
    (void)p;
    return v_softplus(x);
}

LANES_INLINE vf lanes_softplus_backward(vf dy, vf x, vf y, vf p)
{
    (void)y, (void)p;
    return v_mul(dy, v_sigmoid(x));
}

LANES_INLINE vf lanes_square(vf x, vf p)
{
    (void)p;
    return v_mul(x, x);
}

LANES_INLINE vf lanes_square_backward(vf dy, vf x, vf y, vf p)
{
    (void)y, (void)p;
    return v_mul(dy, v_add(x, x));
}

LANES_INLINE vf lanes_abs(vf x, vf p)
{
    (void)p;
    return v_abs(x);
}

LANES_INLINE vf lanes_abs_backward(vf dy, vf x, vf y, vf p)
{
    vf signed_dy = v_select(v_less(x, v_set(0.0f)), v_negate(dy), dy);

    (void)y, (void)p;
    return v_select(v_equal(x, v_set(0.0f)), v_set(0.0f), signed_dy);
}

LANES_INLINE vf lanes_reciprocal(vf x, vf p)
{
    (void)p;
    return v_div(v_set(1.0f), x);
}

LANES_INLINE vf lanes_reciprocal_backward(vf dy, vf x, vf y, vf p)
{
    (void)x, (void)p;
    return v_mul(v_negate(dy), v_mul(y, y));
}

LANES_INLINE vf lanes_max(vf a, vf b)
{
    return v_select(v_is_nan(a), a, v_max(a, b));
}

LANES_INLINE vf lanes_min(vf a, vf b)
{
    return v_select(v_is_nan(a), a, v_min(a, b));
}

static void row_exp(float *y, const float *x, int64_t n, float parameter)
{
    map(y, x, n, parameter, lanes_exp);
}

static void row_exp_backward(float *dx, float beta, const float *dy, const float *x, const float *y,
                             int64_t n, float parameter)
{
    map_backward(dx, beta, dy, x, y, n, parameter, VECTOR_READS_Y, lanes_exp_backward);
}

static void row_log(float *y, const float *x, int64_t n, float parameter)
{
    map(y, x, n, parameter, lanes_log);
}

static void row_log_backward(float *dx, float beta, const float *dy, const float *x, const float *y,
                             int64_t n, float parameter)
{
    map_backward(dx, beta, dy, x, y, n, parameter, VECTOR_READS_X, lanes_log_backward);
}

static void row_sqrt(float *y, const float *x, int64_t n, float parameter)
{
    map(y, x, n, parameter, lanes_sqrt);
}

static void row_sqrt_backward(float *dx, float beta, const float *dy, const float *x,
                              const float *y, int64_t n, float parameter)
{
    map_backward(dx, beta, dy, x, y, n, parameter, VECTOR_READS_Y, lanes_sqrt_backward);
}

static void row_tanh(float *y, const float *x, int64_t n, float parameter)
{
    map(y, x, n, parameter, lanes_tanh);
}

static void row_tanh_backward(float *dx, float beta, const float *dy, const float *x,
                              const float *y, int64_t n, float parameter)
{
    map_backward(dx, beta, dy, x, y, n, parameter, VECTOR_READS_Y, lanes_tanh_backward);
}

static void row_sigmoid(float *y, const float *x, int64_t n, float parameter)
{
    map(y, x, n, parameter, lanes_sigmoid);
}

static void row_sigmoid_backward(float *dx, float beta, const float *dy, const float *x,
                                 const float *y, int64_t n, float parameter)
{
    map_backward(dx, beta, dy, x, y, n, parameter, VECTOR_READS_Y, lanes_sigmoid_backward);
}

static void row_relu(float *y, const float *x, int64_t n, float parameter)
{
    map(y, x, n, parameter, lanes_relu);
}

static void row_relu_backward(float *dx, float beta, const float *dy, const float *x,
                              const float *y, int64_t n, float parameter)
{
    map_backward(dx, beta, dy, x, y, n, parameter, VECTOR_READS_Y, lanes_relu_backward);
}

static void row_leaky_relu(float *y, const float *x, int64_t n, float parameter)
{
    map(y, x, n, parameter, lanes_leaky_relu);
}

static void row_leaky_relu_backward(float *dx, float beta, const float *dy, const float *x,
                                    const float *y, int64_t n, float parameter)
{
    map_backward(dx, beta, dy, x, y, n, parameter, VECTOR_READS_X, lanes_leaky_relu_backward);
}

static void row_gelu(float *y, const float *x, int64_t n, float parameter)
{
    map(y, x, n, parameter, lanes_gelu);
}

static void row_gelu_backward(float *dx, float beta, const float *dy, const float *x,
                              const float *y, int64_t n, float parameter)
{
    map_backward(dx, beta, dy, x, y, n, parameter, VECTOR_READS_X, lanes_gelu_backward);
}

static void row_gelu_tanh(float *y, const float *x, int64_t n, float parameter)
{
    map(y, x, n, parameter, lanes_gelu_tanh);
}

static void row_gelu_tanh_backward(float *dx, float beta, const float *dy, const float *x,
                                   const float *y, int64_t n, float parameter)
{
    map_backward(dx, beta, dy, x, y, n, parameter, VECTOR_READS_X, lanes_gelu_tanh_backward);
}

static void row_silu(float *y, const float *x, int64_t n, float parameter)
{
    map(y, x, n, parameter, lanes_silu);
}

static void row_silu_backward(float *dx, float beta, const float *dy, const float *x,
                              const float *y, int64_t n, float parameter)
{
    map_backward(dx, beta, dy, x, y, n, parameter, VECTOR_READS_X, lanes_silu_backward);
}

static void row_softplus(float *y, const float *x, int64_t n, float parameter)
{
    map(y, x, n, parameter, lanes_softplus);
}

static void row_softplus_backward(float *dx, float beta, const float *dy, const float *x,
                                  const float *y, int64_t n, float parameter)
{
    map_backward(dx, beta, dy, x, y, n, parameter, VECTOR_READS_X, lanes_softplus_backward);
}

static void row_square(float *y, const float *x, int64_t n, float parameter)
{
    map(y, x, n, parameter, lanes_square);
}

static void row_square_backward(float *dx, float beta, const float *dy, const float *x,
                                const float *y, int64_t n, float parameter)
{
    map_backward(dx, beta, dy, x, y, n, parameter, VECTOR_READS_X, lanes_square_backward);
}

static void row_abs(float *y, const float *x, int64_t n, float parameter)
{
    map(y, x, n, parameter, lanes_abs);
}

static void row_abs_backward(float *dx, float beta, const float *dy, const float *x, const float *y,
                             int64_t n, float parameter)
{
    map_backward(dx, beta, dy, x, y, n, parameter, VECTOR_READS_X, lanes_abs_backward);
}

static void row_reciprocal(float *y, const float *x, int64_t n, float parameter)
{
    map(y, x, n, parameter, lanes_reciprocal);
}

static void row_reciprocal_backward(float *dx, float beta, const float *dy, const float *x,
                                    const float *y, int64_t n, float parameter)
{
    map_backward(dx, beta, dy, x, y, n, parameter, VECTOR_READS_Y, lanes_reciprocal_backward);
}

static void row_add(float *y, float beta, const float *a, const float *b, int64_t n)
{
    zip(y, beta, a, b, 0.0f, n, v_add);
}

static void row_add_scalar(float *y, float beta, const float *a, float s, int64_t n)
{
    zip(y, beta, a, NULL, s, n, v_add);
}

static void row_add_scalar_left(float *y, float beta, float s, const float *a, int64_t n)
{
    zip(y, beta, NULL, a, s, n, v_add);
}

static void row_sub(float *y, float beta, const float *a, const float *b, int64_t n)
{
    zip(y, beta, a, b, 0.0f, n, v_sub);
}

static void row_sub_scalar(float *y, float beta, const float *a, float s, int64_t n)
{
    zip(y, beta, a, NULL, s, n, v_sub);
}

static void row_sub_scalar_left(float *y, float beta, float s, const float *a, int64_t n)
{
    zip(y, beta, NULL, a, s, n, v_sub);
}

static void row_mul(float *y, float beta, const float *a, const float *b, int64_t n)
{
    zip(y, beta, a, b, 0.0f, n, v_mul);
}

static void row_mul_scalar(float *y, float beta, const float *a, float s, int64_t n)
{
    zip(y, beta, a, NULL, s, n, v_mul);
}

static void row_mul_scalar_left(float *y, float beta, float s, const float *a, int64_t n)
{
    zip(y, beta, NULL, a, s, n, v_mul);
}

static void row_div(float *y, float beta, const float *a, const float *b, int64_t n)
{
    zip(y, beta, a, b, 0.0f, n, v_div);
}

static void row_div_scalar(float *y, float beta, const float *a, float s, int64_t n)
{
    zip(y, beta, a, NULL, s, n, v_div);
}

static void row_div_scalar_left(float *y, float beta, float s, const float *a, int64_t n)
{
    zip(y, beta, NULL, a, s, n, v_div);
}

static void row_max(float *y, float beta, const float *a, const float *b, int64_t n)
{
    zip(y, beta, a, b, 0.0f, n, lanes_max);
}

static void row_max_scalar(float *y, float beta, const float *a, float s, int64_t n)
{
    zip(y, beta, a, NULL, s, n, lanes_max);
}

static void row_max_scalar_left(float *y, float beta, float s, const float *a, int64_t n)
{
    zip(y, beta, NULL, a, s, n, lanes_max);
}

static void row_min(float *y, float beta, const float *a, const float *b, int64_t n)
{
    zip(y, beta, a, b, 0.0f, n, lanes_min);
}

static void row_min_scalar(float *y, float beta, const float *a, float s, int64_t n)
{
    zip(y, beta, a, NULL, s, n, lanes_min);
}

static void row_min_scalar_left(float *y, float beta, float s, const float *a, int64_t n)
{
    zip(y, beta, NULL, a, s, n, lanes_min);
}

static void row_fill(float *y, float value, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = value;
}

static void row_axpy(float *y, float a, const float *x, int64_t n)
{
    vf factor = v_set(a);
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v_store(y + i, v_fma(factor, v_load(x + i), v_load(y + i)));
    if (i < n)
        v_store_n(y + i, v_fma(factor, v_load_n(x + i, n - i), v_load_n(y + i, n - i)), n - i);
}

static void row_affine(float *y, float beta, const float *x, float a, float b, int64_t n)
{
    const int add = beta != 0.0f;
    vf factor = v_set(a);
    vf term = v_set(b);
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        vf d = v_fma(factor, v_load(x + i), term);
        v_store(y + i, add ? v_add(v_load(y + i), d) : d);
    }
    if (i < n) {
        vf d = v_fma(factor, v_load_n(x + i, n - i), term);
        v_store_n(y + i, add ? v_add(v_load_n(y + i, n - i), d) : d, n - i);
    }
}

static void row_mul3(float *y, float beta, float s, const float *a, const float *b, const float *c,
                     int64_t n)
{
    const int add = beta != 0.0f;
    vf factor = v_set(s);
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        vf d = v_mul(v_mul(factor, v_load(a + i)), v_mul(v_load(b + i), v_load(c + i)));
        v_store(y + i, add ? v_add(v_load(y + i), d) : d);
    }
    if (i < n) {
        int64_t rest = n - i;
        vf d = v_mul(v_mul(factor, v_load_n(a + i, rest)),
                     v_mul(v_load_n(b + i, rest), v_load_n(c + i, rest)));
        v_store_n(y + i, add ? v_add(v_load_n(y + i, rest), d) : d, rest);
    }
}

static void row_pow(float *y, const float *x, const float *exponent, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = powf(x[i], exponent[i]);
}

static void row_swiglu(float *y, const float *gate, const float *up, int64_t n)
{
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        vf g = v_load(gate + i);
        v_store(y + i, v_mul(v_mul(g, v_sigmoid(g)), v_load(up + i)));
    }
    if (i < n) {
        vf g = v_load_n(gate + i, n - i);
        v_store_n(y + i, v_mul(v_mul(g, v_sigmoid(g)), v_load_n(up + i, n - i)), n - i);
    }
}

/* One step for swiglu_backward: *gate becomes dgate, *up becomes dup. */
LANES_INLINE void swiglu_slopes(vf dy, vf *gate, vf *up)
{
    vf s = v_sigmoid(*gate);
    vf silu = v_mul(*gate, s);

    *gate = v_mul(v_mul(dy, *up), silu_slope(*gate, s));
    *up = v_mul(dy, silu);
}

static void row_swiglu_backward(float *dgate, float *dup, float beta, const float *dy,
                                const float *gate, const float *up, int64_t n)
{
    const int add = beta != 0.0f;
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        vf g = v_load(gate + i);
        vf u = v_load(up + i);
        swiglu_slopes(v_load(dy + i), &g, &u);
        v_store(dgate + i, add ? v_add(v_load(dgate + i), g) : g);
        v_store(dup + i, add ? v_add(v_load(dup + i), u) : u);
    }
    if (i < n) {
        int64_t rest = n - i;
        vf g = v_load_n(gate + i, rest);
        vf u = v_load_n(up + i, rest);
        swiglu_slopes(v_load_n(dy + i, rest), &g, &u);
        v_store_n(dgate + i, add ? v_add(v_load_n(dgate + i, rest), g) : g, rest);
        v_store_n(dup + i, add ? v_add(v_load_n(dup + i, rest), u) : u, rest);
    }
}

#endif
