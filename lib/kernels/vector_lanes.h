/* SPDX-License-Identifier: MIT
 *
 * The portable lanes: four floats in a GNU vector, which gcc and clang turn into SSE2, NEON or
 * plain code. x86/vector_lanes_*.h define the same names over wider registers:
 *
 *   vf, vi, vm            floats, 32-bit integers, a mask as compares give it; LANES of each
 *   v_load(p) v_load_n(p, n)  v_store(p, v) v_store_n(p, v, n)     _n: the first n < LANES only
 *   v_fma(a, b, c)        a b + c, fused where the processor can
 *   v_min(a, b) v_max(a, b)   give b when either is NaN
 *   v_round(x)            to nearest even, |x| < 2^22
 *   v_scale(x, n)         x 2^n for integral n in [-252, 252], overflow and underflow as they
 * should v_select(m, a, b)     m ? a : b v_transpose(w)        the 4 x 4 transpose of each group of
 * four lanes of w[0..3] v_mul_wide(&high, a, m)   the 64-bit product a m: high word stored, low
 * word returned
 */
#ifndef KERNELS_VECTOR_LANES_H
#define KERNELS_VECTOR_LANES_H

#include "kernels/half.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

#define LANES 4
#define LANES_INLINE static inline __attribute__((always_inline, unused))

typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef vi vm;

LANES_INLINE vf v_set(float x)
{
    return (vf){x, x, x, x};
}
LANES_INLINE vi v_set_i(int32_t x)
{
    return (vi){x, x, x, x};
}
LANES_INLINE vf v_load(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
LANES_INLINE void v_store(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}
LANES_INLINE vf v_load_n(const float *p, int64_t n)
{
    vf v = {0};
    for (int i = 0; i < LANES - 1; i++)
        v[i] = i < n ? p[i] : 0.0f;
    return v;
}
LANES_INLINE void v_store_n(float *p, vf v, int64_t n)
{
    for (int i = 0; i < LANES - 1 && i < n; i++)
        p[i] = v[i];
}
LANES_INLINE vi v_as_int(vf x)
{
    return (vi)x;
}
LANES_INLINE vf v_as_float(vi x)
{
    return (vf)x;
}
LANES_INLINE vf v_to_float(vi x)
{
    return __builtin_convertvector(x, vf);
}
LANES_INLINE vf v_add(vf a, vf b)
{
    return a + b;
}
LANES_INLINE vf v_sub(vf a, vf b)
{
    return a - b;
}
LANES_INLINE vf v_mul(vf a, vf b)
{
    return a * b;
}
LANES_INLINE vf v_div(vf a, vf b)
{
    return a / b;
}
LANES_INLINE vf v_fma(vf a, vf b, vf c)
{
#if defined(__aarch64__)
    return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}
LANES_INLINE vf v_sqrt(vf x)
{
#if defined(__aarch64__)
    return (vf)vsqrtq_f32((float32x4_t)x);
#else
    return (vf){sqrtf(x[0]), sqrtf(x[1]), sqrtf(x[2]), sqrtf(x[3])};
#endif
}
LANES_INLINE vm v_less(vf a, vf b)
{
    return a < b;
}
LANES_INLINE vm v_equal(vf a, vf b)
{
    return a == b;
}
LANES_INLINE vm v_is_nan(vf a)
{
    return a != a;
}
LANES_INLINE vm v_less_unsigned(vi a, vi b)
{
    const vi flip = {INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN};
    return (a ^ flip) < (b ^ flip);
}
LANES_INLINE vf v_select(vm m, vf a, vf b)
{
    return (vf)((m & (vi)a) | (~m & (vi)b));
}
LANES_INLINE vf v_min(vf a, vf b)
{
    return v_select(a < b, a, b);
}
LANES_INLINE vf v_max(vf a, vf b)
{
    return v_select(a > b, a, b);
}
LANES_INLINE vi v_and(vi a, vi b)
{
    return a & b;
}
LANES_INLINE vi v_or(vi a, vi b)
{
    return a | b;
}
LANES_INLINE vi v_xor(vi a, vi b)
{
    return a ^ b;
}
LANES_INLINE vi v_add_i(vi a, vi b)
{
    typedef uint32_t vu __attribute__((vector_size(16)));
    return (vi)((vu)a + (vu)b);
}
LANES_INLINE vi v_sub_i(vi a, vi b)
{
    typedef uint32_t vu __attribute__((vector_size(16)));
    return (vi)((vu)a - (vu)b);
}
LANES_INLINE vi v_shift_left_23(vi a)
{
    return a << 23;
}
LANES_INLINE vi v_shift_right_23(vi a)
{
    return a >> 23;
}
LANES_INLINE vf v_abs(vf x)
{
    return (vf)((vi)x & v_set_i(0x7fffffff));
}
LANES_INLINE vf v_round(vf x)
{
    const vf magic = v_set(0x1.8p23f);
    return (x + magic) - magic;
}
/* The integer whose value x (integral, |x| < 2^22) has. */
LANES_INLINE vi v_to_int(vf x)
{
    return (vi)(x + v_set(0x1.8p23f)) - (vi)v_set(0x1.8p23f);
}
LANES_INLINE vf v_scale(vf x, vf n)
{
    vi whole = v_to_int(n);
    vi half = whole >> 1;
    vi bias = v_set_i(127);
    return x * (vf)((half + bias) << 23) * (vf)((whole - half + bias) << 23);
}
LANES_INLINE float v_sum(vf x)
{
    return (x[0] + x[2]) + (x[1] + x[3]);
}
LANES_INLINE float v_largest(vf x)
{
    float a = x[0] > x[2] ? x[0] : x[2];
    float b = x[1] > x[3] ? x[1] : x[3];
    return a > b ? a : b;
}
LANES_INLINE int v_any(vm m)
{
    return (m[0] | m[1] | m[2] | m[3]) != 0;
}
LANES_INLINE vi v_mul_wide(vi *high, vi a, uint32_t multiplier)
{
    vi low;
    for (int i = 0; i < LANES; i++) {
        uint64_t product = (uint64_t)(uint32_t)a[i] * multiplier;
        low[i] = (int32_t)(uint32_t)product;
        (*high)[i] = (int32_t)(uint32_t)(product >> 32);
    }
    return low;
}
LANES_INLINE void v_transpose(vi w[4])
{
    vi a = w[0];
    vi b = w[1];
    vi c = w[2];
    vi d = w[3];
    w[0] = (vi){a[0], b[0], c[0], d[0]};
    w[1] = (vi){a[1], b[1], c[1], d[1]};
    w[2] = (vi){a[2], b[2], c[2], d[2]};
    w[3] = (vi){a[3], b[3], c[3], d[3]};
}
/* Lane l holds block (l % 4) * (LANES / 4) + l / 4, so that v_transpose gives elements in order. */
LANES_INLINE vi v_block_offsets(void)
{
    return (vi){0, 1, 2, 3};
}
LANES_INLINE vf v_load_f16(const uint16_t *p)
{
    return (vf){half_f16_to_f32(p[0]), half_f16_to_f32(p[1]), half_f16_to_f32(p[2]),
                half_f16_to_f32(p[3])};
}
LANES_INLINE void v_store_f16(uint16_t *p, vf x)
{
    for (int i = 0; i < LANES; i++)
        p[i] = half_f32_to_f16(x[i]);
}
LANES_INLINE vf v_load_bf16(const uint16_t *p)
{
    return (vf){half_bf16_to_f32(p[0]), half_bf16_to_f32(p[1]), half_bf16_to_f32(p[2]),
                half_bf16_to_f32(p[3])};
}
LANES_INLINE void v_store_bf16(uint16_t *p, vf x)
{
    for (int i = 0; i < LANES; i++)
        p[i] = half_f32_to_bf16(x[i]);
}

#endif
