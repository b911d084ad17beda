/* SPDX-License-Identifier: MIT
 *
 * Attention with AVX-512. See attention_portable.c for what each operation means.
 */
#include "kernels/attention_plan.h"

#include <immintrin.h>

#define LANES 16
#define TILE_ROWS 8
#define ATTENTION_FILL attention_fill_avx512

typedef __m512 vec;

#define v_load(from) _mm512_loadu_ps(from)
#define v_store(to, value) _mm512_storeu_ps(to, value)
#define v_set(x) _mm512_set1_ps(x)
#define v_zero() _mm512_setzero_ps()
#define v_add(a, b) _mm512_add_ps(a, b)
#define v_sub(a, b) _mm512_sub_ps(a, b)
#define v_mul(a, b) _mm512_mul_ps(a, b)
#define v_div(a, b) _mm512_div_ps(a, b)
#define v_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define v_max(a, b) _mm512_max_ps(a, b)
#define v_min(a, b) _mm512_min_ps(a, b)
#define v_abs(a) _mm512_abs_ps(a)
#define v_highest(a) _mm512_reduce_max_ps(a)

static inline vec v_iota(void)
{
    return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

static inline float v_total(vec a)
{
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));

    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline vec v_keep(vec a, int32_t j, int32_t lo, int32_t hi, vec other)
{
    __m512i at =
        _mm512_add_epi32(_mm512_set1_epi32(j),
                         _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    __mmask16 mask = _mm512_cmpge_epi32_mask(at, _mm512_set1_epi32(lo)) &
                     _mm512_cmplt_epi32_mask(at, _mm512_set1_epi32(hi));

    return _mm512_mask_blend_ps(mask, other, a);
}

static inline vec v_exp2(vec x)
{
    __m512 low = _mm512_max_ps(_mm512_set1_ps(-200.0f), x);
    __m512 whole = _mm512_roundscale_ps(low, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = _mm512_sub_ps(low, whole);
    __m512 p = _mm512_set1_ps(0.00015353362f);

    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.0013398875f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.009618437f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.055503324f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.24022648f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69314718f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, whole);
}

#include "kernels/attention_all.h"
