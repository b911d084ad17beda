/* SPDX-License-Identifier: MIT
 *
 * The matrix product with AVX2 and FMA: a tile of 6 x 16 keeps 12 of the 16 registers as sums.
 */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 8 };
#define TILE_ROWS 6
#define TILE_VECTORS 2
#define REGISTERS 16
#define INLINE static inline __attribute__((always_inline))

typedef __m256 vec;

INLINE __m256i mask(int64_t count)
{
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

    return _mm256_loadu_si256((const __m256i *)(ones + 8 - count));
}

INLINE vec v_zero(void)
{
    return _mm256_setzero_ps();
}

INLINE vec v_set(float x)
{
    return _mm256_set1_ps(x);
}

INLINE vec v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

INLINE void v_store(float *p, vec x)
{
    _mm256_storeu_ps(p, x);
}

INLINE vec v_load_part(const float *p, int64_t count)
{
    return _mm256_maskload_ps(p, mask(count));
}

INLINE void v_store_part(float *p, vec x, int64_t count)
{
    _mm256_maskstore_ps(p, mask(count), x);
}

INLINE vec v_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

INLINE vec v_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

INLINE vec v_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

INLINE vec v_load_bf16(const uint16_t *p)
{
    __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));

    return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
}

INLINE vec v_load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

INLINE __m128 v_sum4(vec a, vec b, vec c, vec d)
{
    __m256 ab = _mm256_hadd_ps(a, b);
    __m256 cd = _mm256_hadd_ps(c, d);
    __m256 sum = _mm256_hadd_ps(ab, cd);

    return _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
}

INLINE void v_transpose(vec r[LANES])
{
    vec t[LANES];

    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++)
        r[i] = t[i];
}

#include "kernels/gemm_simd.h"

void gemm_fill_avx2(struct gemm_kernels *kernels)
{
    fill(kernels, "avx2");
    kernels->block_m = 96;
    kernels->block_n = 384;
    kernels->block_k = 384;
    kernels->dot_rows = 24;
    kernels->wide_rows = 24;
}
