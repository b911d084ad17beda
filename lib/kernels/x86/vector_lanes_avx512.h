/* SPDX-License-Identifier: MIT
 *
 * Lanes of vector_lanes.h (read there what each does) over AVX-512 F, BW, DQ, VL.
 */
#ifndef KERNELS_X86_VECTOR_LANES_AVX512_H
#define KERNELS_X86_VECTOR_LANES_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#define LANES 16
#define LANES_INLINE static inline __attribute__((always_inline, unused))

typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

LANES_INLINE __mmask16 first_lanes(int64_t n)
{
    return (__mmask16)((1u << n) - 1u);
}
LANES_INLINE vf v_set(float x)
{
    return _mm512_set1_ps(x);
}
LANES_INLINE vi v_set_i(int32_t x)
{
    return _mm512_set1_epi32(x);
}
LANES_INLINE vf v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
LANES_INLINE void v_store(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}
LANES_INLINE vf v_load_n(const float *p, int64_t n)
{
    return _mm512_maskz_loadu_ps(first_lanes(n), p);
}
LANES_INLINE void v_store_n(float *p, vf v, int64_t n)
{
    _mm512_mask_storeu_ps(p, first_lanes(n), v);
}
LANES_INLINE vi v_as_int(vf x)
{
    return _mm512_castps_si512(x);
}
LANES_INLINE vf v_as_float(vi x)
{
    return _mm512_castsi512_ps(x);
}
LANES_INLINE vf v_to_float(vi x)
{
    return _mm512_cvtepi32_ps(x);
}
LANES_INLINE vf v_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
LANES_INLINE vf v_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
LANES_INLINE vf v_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
LANES_INLINE vf v_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
LANES_INLINE vf v_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
LANES_INLINE vf v_sqrt(vf x)
{
    return _mm512_sqrt_ps(x);
}
LANES_INLINE vm v_less(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
LANES_INLINE vm v_equal(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
LANES_INLINE vm v_is_nan(vf a)
{
    return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}
LANES_INLINE vm v_less_unsigned(vi a, vi b)
{
    return _mm512_cmplt_epu32_mask(a, b);
}
LANES_INLINE vf v_select(vm m, vf a, vf b)
{
    return _mm512_mask_blend_ps(m, b, a);
}
LANES_INLINE vf v_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
LANES_INLINE vf v_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
LANES_INLINE vi v_and(vi a, vi b)
{
    return _mm512_and_si512(a, b);
}
LANES_INLINE vi v_or(vi a, vi b)
{
    return _mm512_or_si512(a, b);
}
LANES_INLINE vi v_xor(vi a, vi b)
{
    return _mm512_xor_si512(a, b);
}
LANES_INLINE vi v_add_i(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
LANES_INLINE vi v_sub_i(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}
LANES_INLINE vi v_shift_left_23(vi a)
{
    return _mm512_slli_epi32(a, 23);
}
LANES_INLINE vi v_shift_right_23(vi a)
{
    return _mm512_srai_epi32(a, 23);
}
LANES_INLINE vf v_abs(vf x)
{
    return _mm512_abs_ps(x);
}
LANES_INLINE vf v_round(vf x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
LANES_INLINE vi v_to_int(vf x)
{
    return _mm512_cvtps_epi32(x);
}
LANES_INLINE vf v_scale(vf x, vf n)
{
    return _mm512_scalef_ps(x, n);
}
LANES_INLINE float v_sum(vf x)
{
    return _mm512_reduce_add_ps(x);
}
LANES_INLINE float v_largest(vf x)
{
    return _mm512_reduce_max_ps(x);
}
LANES_INLINE int v_any(vm m)
{
    return m != 0;
}
LANES_INLINE vi v_mul_wide(vi *high, vi a, uint32_t multiplier)
{
    vi m = _mm512_set1_epi32((int32_t)multiplier);
    vi even = _mm512_mul_epu32(a, m);
    vi odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), m);
    *high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
    return _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
}
LANES_INLINE void v_transpose(vi w[4])
{
    vi ab_low = _mm512_unpacklo_epi32(w[0], w[1]);
    vi ab_high = _mm512_unpackhi_epi32(w[0], w[1]);
    vi cd_low = _mm512_unpacklo_epi32(w[2], w[3]);
    vi cd_high = _mm512_unpackhi_epi32(w[2], w[3]);
    w[0] = _mm512_unpacklo_epi64(ab_low, cd_low);
    w[1] = _mm512_unpackhi_epi64(ab_low, cd_low);
    w[2] = _mm512_unpacklo_epi64(ab_high, cd_high);
    w[3] = _mm512_unpackhi_epi64(ab_high, cd_high);
}
LANES_INLINE vi v_block_offsets(void)
{
    return _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}
LANES_INLINE vf v_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
LANES_INLINE void v_store_f16(uint16_t *p, vf x)
{
    _mm256_storeu_si256((__m256i *)p,
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
LANES_INLINE vf v_load_bf16(const uint16_t *p)
{
    vi wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
LANES_INLINE void v_store_bf16(uint16_t *p, vf x)
{
    vi bits = _mm512_castps_si512(x);
    vi odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    vi rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    vi quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    rounded = _mm512_mask_mov_epi32(rounded, v_is_nan(x), quiet);
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}

#endif
