/* SPDX-License-Identifier: MIT
 *
 * The matrix product with Advanced SIMD: a tile of 8 x 12 keeps 24 of the 32 registers as sums.
 */
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 4 };
#define TILE_ROWS 8
#define TILE_VECTORS 3
#define REGISTERS 32
#define INLINE static inline __attribute__((always_inline))

typedef float32x4_t vec;

INLINE vec v_zero(void)
{
    return vdupq_n_f32(0.0f);
}

INLINE vec v_set(float x)
{
    return vdupq_n_f32(x);
}

INLINE vec v_load(const float *p)
{
    return vld1q_f32(p);
}

INLINE void v_store(float *p, vec x)
{
    vst1q_f32(p, x);
}

INLINE vec v_load_part(const float *p, int64_t count)
{
    vec x = v_zero();

    memcpy(&x, p, (size_t)count * sizeof *p);
    return x;
}

INLINE void v_store_part(float *p, vec x, int64_t count)
{
    memcpy(p, &x, (size_t)count * sizeof *p);
}

INLINE vec v_add(vec a, vec b)
{
    return vaddq_f32(a, b);
}

INLINE vec v_mul(vec a, vec b)
{
    return vmulq_f32(a, b);
}

INLINE vec v_fma(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}

INLINE vec v_load_bf16(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}

INLINE vec v_load_f16(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

INLINE vec v_sum4(vec a, vec b, vec c, vec d)
{
    return vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d));
}

INLINE void v_transpose(vec r[LANES])
{
    float32x4x2_t ab = vtrnq_f32(r[0], r[1]);
    float32x4x2_t cd = vtrnq_f32(r[2], r[3]);

    r[0] = vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0]));
    r[1] = vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1]));
    r[2] = vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0]));
    r[3] = vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1]));
}

#include "kernels/gemm_simd.h"

void gemm_fill_neon(struct gemm_kernels *kernels)
{
    fill(kernels, "neon");
    kernels->block_m = 64;
    kernels->block_n = 240;
    kernels->block_k = 256;
    kernels->dot_rows = 24;
    kernels->wide_rows = 24;
}
