/* SPDX-License-Identifier: MIT
 *
 * The matrix product with AVX-512: a tile of 12 x 32 keeps 24 of the 32 registers as sums.
 */
#include <immintrin.h>
#include <stdint.h>

enum { LANES = 16 };
#define TILE_ROWS 12
#define TILE_VECTORS 2
#define REGISTERS 32
#define INLINE static inline __attribute__((always_inline))

typedef __m512 vec;

INLINE vec v_zero(void)
{
    return _mm512_setzero_ps();
}

INLINE vec v_set(float x)
{
    return _mm512_set1_ps(x);
}

INLINE vec v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

INLINE void v_store(float *p, vec x)
{
    _mm512_storeu_ps(p, x);
}

INLINE vec v_load_part(const float *p, int64_t count)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1u), p);
}

INLINE void v_store_part(float *p, vec x, int64_t count)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1u), x);
}

INLINE vec v_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

INLINE vec v_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

INLINE vec v_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

INLINE vec v_load_bf16(const uint16_t *p)
{
    __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));

    return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
}

INLINE vec v_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

/* Sums of the four quarters of x and y, side by side. */
INLINE __m256 halves(__m512 x, __m512 y)
{
    __m512 low = _mm512_shuffle_f32x4(x, y, 0x44);
    __m512 high = _mm512_shuffle_f32x4(x, y, 0xEE);
    __m512 sum = _mm512_add_ps(low, high);
    __m512 even = _mm512_shuffle_f32x4(sum, sum, 0x08);
    __m512 odd = _mm512_shuffle_f32x4(sum, sum, 0x0D);

    return _mm512_castps512_ps256(_mm512_add_ps(even, odd));
}

INLINE __m128 v_sum4(vec a, vec b, vec c, vec d)
{
    __m256 ac = halves(a, c);
    __m256 bd = halves(b, d);
    __m256 low = _mm256_unpacklo_ps(ac, bd);
    __m256 high = _mm256_unpackhi_ps(ac, bd);
    __m256 sum = _mm256_add_ps(low, high);
    __m128 ab = _mm256_castps256_ps128(sum);
    __m128 cd = _mm256_extractf128_ps(sum, 1);

    return _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
}

INLINE void v_transpose(vec r[LANES])
{
    vec t[LANES];

    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_castpd_ps(
            _mm512_unpacklo_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
        r[i + 1] = _mm512_castpd_ps(
            _mm512_unpackhi_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
        r[i + 2] = _mm512_castpd_ps(
            _mm512_unpacklo_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
        r[i + 3] = _mm512_castpd_ps(
            _mm512_unpackhi_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xDD);
        t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xDD);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xDD);
        r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xDD);
    }
}

#include "kernels/gemm_simd.h"

void gemm_fill_avx512(struct gemm_kernels *kernels)
{
    fill(kernels, "avx512");
    kernels->block_m = 96;
    kernels->block_n = 768;
    kernels->block_k = 256;
    kernels->dot_rows = 48;
    kernels->wide_rows = 128;
}
