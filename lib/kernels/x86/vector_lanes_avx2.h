/* SPDX-License-Identifier: MIT
 *
 * Lanes of vector_lanes.h (read there what each does) over AVX2 with FMA and F16C.
 */
#ifndef KERNELS_X86_VECTOR_LANES_AVX2_H
#define KERNELS_X86_VECTOR_LANES_AVX2_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#define LANES 8
#define LANES_INLINE static inline __attribute__((always_inline, unused))

typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;

LANES_INLINE __m256i first_lanes(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
LANES_INLINE vf v_set(float x)
{
    return _mm256_set1_ps(x);
}
LANES_INLINE vi v_set_i(int32_t x)
{
    return _mm256_set1_epi32(x);
}
LANES_INLINE vf v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
LANES_INLINE void v_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v);
}
LANES_INLINE vf v_load_n(const float *p, int64_t n)
{
    return _mm256_maskload_ps(p, first_lanes(n));
}
LANES_INLINE void v_store_n(float *p, vf v, int64_t n)
{
    _mm256_maskstore_ps(p, first_lanes(n), v);
}
LANES_INLINE vi v_as_int(vf x)
{
    return _mm256_castps_si256(x);
}
LANES_INLINE vf v_as_float(vi x)
{
    return _mm256_castsi256_ps(x);
}
LANES_INLINE vf v_to_float(vi x)
{
    return _mm256_cvtepi32_ps(x);
}
LANES_INLINE vf v_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
LANES_INLINE vf v_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
LANES_INLINE vf v_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
LANES_INLINE vf v_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}
LANES_INLINE vf v_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
LANES_INLINE vf v_sqrt(vf x)
{
    return _mm256_sqrt_ps(x);
}
LANES_INLINE vm v_less(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
LANES_INLINE vm v_equal(vf a, vf b)
{
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}
LANES_INLINE vm v_is_nan(vf a)
{
    return _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
}
LANES_INLINE vm v_less_unsigned(vi a, vi b)
{
    const vi flip = _mm256_set1_epi32(INT32_MIN);
    return _mm256_castsi256_ps(
        _mm256_cmpgt_epi32(_mm256_xor_si256(b, flip), _mm256_xor_si256(a, flip)));
}
LANES_INLINE vf v_select(vm m, vf a, vf b)
{
    return _mm256_blendv_ps(b, a, m);
}
LANES_INLINE vf v_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}
LANES_INLINE vf v_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}
LANES_INLINE vi v_and(vi a, vi b)
{
    return _mm256_and_si256(a, b);
}
LANES_INLINE vi v_or(vi a, vi b)
{
    return _mm256_or_si256(a, b);
}
LANES_INLINE vi v_xor(vi a, vi b)
{
    return _mm256_xor_si256(a, b);
}
LANES_INLINE vi v_add_i(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}
LANES_INLINE vi v_sub_i(vi a, vi b)
{
    return _mm256_sub_epi32(a, b);
}
LANES_INLINE vi v_shift_left_23(vi a)
{
    return _mm256_slli_epi32(a, 23);
}
LANES_INLINE vi v_shift_right_23(vi a)
{
    return _mm256_srai_epi32(a, 23);
}
LANES_INLINE vf v_abs(vf x)
{
    return _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff)));
}
LANES_INLINE vf v_round(vf x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
LANES_INLINE vi v_to_int(vf x)
{
    return _mm256_cvtps_epi32(x);
}
LANES_INLINE vf v_scale(vf x, vf n)
{
    vi whole = _mm256_cvtps_epi32(n);
    vi half = _mm256_srai_epi32(whole, 1);
    vi rest = _mm256_sub_epi32(whole, half);
    vi bias = _mm256_set1_epi32(127);
    vf a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    vf b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(x, a), b);
}
LANES_INLINE float v_sum(vf x)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
LANES_INLINE float v_largest(vf x)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
LANES_INLINE int v_any(vm m)
{
    return _mm256_movemask_ps(m) != 0;
}
LANES_INLINE vi v_mul_wide(vi *high, vi a, uint32_t multiplier)
{
    vi m = _mm256_set1_epi32((int32_t)multiplier);
    vi even = _mm256_mul_epu32(a, m);
    vi odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), m);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}
LANES_INLINE void v_transpose(vi w[4])
{
    vi ab_low = _mm256_unpacklo_epi32(w[0], w[1]);
    vi ab_high = _mm256_unpackhi_epi32(w[0], w[1]);
    vi cd_low = _mm256_unpacklo_epi32(w[2], w[3]);
    vi cd_high = _mm256_unpackhi_epi32(w[2], w[3]);
    w[0] = _mm256_unpacklo_epi64(ab_low, cd_low);
    w[1] = _mm256_unpackhi_epi64(ab_low, cd_low);
    w[2] = _mm256_unpacklo_epi64(ab_high, cd_high);
    w[3] = _mm256_unpackhi_epi64(ab_high, cd_high);
}
LANES_INLINE vi v_block_offsets(void)
{
    return _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
}
LANES_INLINE vf v_load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
LANES_INLINE void v_store_f16(uint16_t *p, vf x)
{
    _mm_storeu_si128((__m128i *)p,
                     _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
LANES_INLINE vf v_load_bf16(const uint16_t *p)
{
    vi wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
LANES_INLINE void v_store_bf16(uint16_t *p, vf x)
{
    vi bits = _mm256_castps_si256(x);
    vi odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    vi rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    vi quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    vi result = _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(v_is_nan(x)));
    result = _mm256_srli_epi32(result, 16);
    result = _mm256_permute4x64_epi64(_mm256_packus_epi32(result, result), 0xd8);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(result));
}

#endif
