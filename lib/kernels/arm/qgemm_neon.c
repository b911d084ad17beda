/* SPDX-License-Identifier: MIT
 *
 * The quantized matrix product with Advanced SIMD and its dot products (FEAT_DotProd), whose
 * factors have signs: four rows in a vector.
 */
#include <arm_neon.h>
#include <stdint.h>

#define LANES 4
#define TILE_PANELS 1
#define TILE_COLUMNS 3
#define DIRECT_COLUMNS 2
#define DIRECT_ROWS 4
#define SMALL_BIAS 0
#define WIDE_BIAS 0
#define INLINE static inline __attribute__((always_inline, unused))

typedef int32x4_t vi;
typedef float32x4_t vf;

INLINE vi i_zero(void)
{
    return vdupq_n_s32(0);
}

INLINE vi i_set8(int x)
{
    return vreinterpretq_s32_s8(vdupq_n_s8((int8_t)x));
}

INLINE vi i_set32(int x)
{
    return vdupq_n_s32(x);
}

INLINE vi i_load(const void *p)
{
    return vreinterpretq_s32_u8(vld1q_u8(p));
}

INLINE void i_store(void *p, vi x)
{
    vst1q_u8(p, vreinterpretq_u8_s32(x));
}

/* Four bytes to all lanes. */
INLINE vi i_broadcast(const void *p)
{
    int32_t x;

    __builtin_memcpy(&x, p, sizeof x);
    return vdupq_n_s32(x);
}

INLINE vi i_table(const int8_t *p)
{
    return vreinterpretq_s32_s8(vld1q_s8(p));
}

INLINE vi i_lookup(vi table, vi index)
{
    return vreinterpretq_s32_u8(
        vqtbl1q_u8(vreinterpretq_u8_s32(table), vreinterpretq_u8_s32(index)));
}

INLINE vi i_and(vi a, vi b)
{
    return vandq_s32(a, b);
}

INLINE vi i_or(vi a, vi b)
{
    return vorrq_s32(a, b);
}

INLINE vi i_xor(vi a, vi b)
{
    return veorq_s32(a, b);
}

INLINE vi i_add8(vi a, vi b)
{
    return vreinterpretq_s32_s8(vaddq_s8(vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b)));
}

INLINE vi i_add32(vi a, vi b)
{
    return vaddq_s32(a, b);
}

INLINE vi i_sub32(vi a, vi b)
{
    return vsubq_s32(a, b);
}

/* Counts are constants after inlining; the general form becomes the immediate one. */
INLINE vi i_shr16(vi x, int count)
{
    return vreinterpretq_s32_u16(vshlq_u16(vreinterpretq_u16_s32(x), vdupq_n_s16((int16_t)-count)));
}

INLINE vi i_shl16(vi x, int count)
{
    return vreinterpretq_s32_u16(vshlq_u16(vreinterpretq_u16_s32(x), vdupq_n_s16((int16_t)count)));
}

INLINE vi i_shr32(vi x, int count)
{
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(x), vdupq_n_s32(-count)));
}

INLINE vi i_shl32(vi x, int count)
{
    return vshlq_s32(x, vdupq_n_s32(count));
}

INLINE vi i_sra32(vi x, int count)
{
    return vshlq_s32(x, vdupq_n_s32(-count));
}

INLINE vi i_u8(const uint8_t *p)
{
    uint32_t four;

    __builtin_memcpy(&four, p, sizeof four);
    return vreinterpretq_s32_u32(
        vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four))))));
}

INLINE vi i_max32(vi a, vi b)
{
    return vmaxq_s32(a, b);
}

INLINE int32_t i_most(vi x)
{
    return vmaxvq_s32(x);
}

INLINE int32_t i_sum(vi x)
{
    return vaddvq_s32(x);
}

/* To the nearest integer, even of two. */
INLINE vi i_round(vf x)
{
    return vcvtnq_s32_f32(x);
}

/* Words to bytes. */
INLINE void i_store_s8(int8_t *p, vi x)
{
    int16x4_t halves = vmovn_s32(x);
    int8x8_t bytes = vmovn_s16(vcombine_s16(halves, halves));
    int32_t four = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);

    __builtin_memcpy(p, &four, sizeof four);
}

INLINE vi f_as_bits(vf x)
{
    return vreinterpretq_s32_f32(x);
}

INLINE vf f_set(float x)
{
    return vdupq_n_f32(x);
}

INLINE vf f_load(const float *p)
{
    return vld1q_f32(p);
}

INLINE void f_store(float *p, vf x)
{
    vst1q_f32(p, x);
}

INLINE vf f_broadcast(const void *p)
{
    float x;

    __builtin_memcpy(&x, p, sizeof x);
    return vdupq_n_f32(x);
}

INLINE vf f_mul(vf a, vf b)
{
    return vmulq_f32(a, b);
}

INLINE vf f_fma(vf a, vf b, vf c)
{
    return vfmaq_f32(c, a, b);
}

INLINE vf f_negate(vf x)
{
    return vnegq_f32(x);
}

INLINE vf f_convert(vi x)
{
    return vcvtq_f32_s32(x);
}

INLINE vf f_bits(vi x)
{
    return vreinterpretq_f32_s32(x);
}

INLINE vf f_half(const uint8_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

INLINE vf f_u8(const uint8_t *p)
{
    return vcvtq_f32_s32(i_u8(p));
}

INLINE vf f_s8(const uint8_t *p)
{
    return vcvtq_f32_s32(vshrq_n_s32(vshlq_n_s32(i_u8(p), 24), 24));
}

INLINE vi dot_small(vi sum, vi w, vi x)
{
    return vdotq_s32(sum, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x));
}

INLINE vi dot_wide(vi sum, vi w, vi x)
{
    return dot_small(sum, w, x);
}

#include "kernels/qgemm_simd.h"

void qgemm_fill_neon(struct qgemm_kernels *kernels)
{
    fill(kernels, "neon");
}
