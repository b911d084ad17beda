/* SPDX-License-Identifier: MIT
 *
 * Attention with AVX2 and FMA. See attention_portable.c for what each operation means.
 */
#include "kernels/attention_plan.h"

#include <immintrin.h>

#define LANES 8
#define TILE_ROWS 4
#define ATTENTION_FILL attention_fill_avx2

typedef __m256 vec;

#define v_load(from) _mm256_loadu_ps(from)
#define v_store(to, value) _mm256_storeu_ps(to, value)
#define v_set(x) _mm256_set1_ps(x)
#define v_zero() _mm256_setzero_ps()
#define v_add(a, b) _mm256_add_ps(a, b)
#define v_sub(a, b) _mm256_sub_ps(a, b)
#define v_mul(a, b) _mm256_mul_ps(a, b)
#define v_div(a, b) _mm256_div_ps(a, b)
#define v_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define v_max(a, b) _mm256_max_ps(a, b)
#define v_min(a, b) _mm256_min_ps(a, b)

static inline vec v_iota(void)
{
    return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);
}

static inline vec v_abs(vec a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}

static inline float v_highest(vec a)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));

    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

static inline float v_total(vec a)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));

    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline vec v_keep(vec a, int32_t j, int32_t lo, int32_t hi, vec other)
{
    __m256i at = _mm256_add_epi32(_mm256_set1_epi32(j), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(lo), at);
    __m256i mask = _mm256_andnot_si256(below, _mm256_cmpgt_epi32(_mm256_set1_epi32(hi), at));

    return _mm256_blendv_ps(other, a, _mm256_castsi256_ps(mask));
}

static inline vec v_exp2(vec x)
{
    const __m256 round = _mm256_set1_ps(12582912.0f);
    __m256 low = _mm256_max_ps(_mm256_set1_ps(-125.0f), x);
    __m256 whole = _mm256_add_ps(low, round);
    __m256 f = _mm256_sub_ps(low, _mm256_sub_ps(whole, round));
    __m256 p = _mm256_set1_ps(0.00015353362f);

    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.0013398875f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.009618437f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.055503324f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.24022648f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.69314718f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1.0f));
    p = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p),
                                             _mm256_slli_epi32(_mm256_castps_si256(whole), 23)));
    return _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(-125.0f), _CMP_LT_OQ), p);
}

#include "kernels/attention_all.h"
