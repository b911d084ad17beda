/* SPDX-License-Identifier: MIT
 *
 * The quantized matrix product with AVX-512 VNNI: 16 rows in a vector, a tile of 32 x 6 keeps 12
 * exact and 12 float sums in the 32 registers.
 */
#include <immintrin.h>
#include <stdint.h>

#define LANES 16
#define TILE_PANELS 2
#define TILE_COLUMNS 6
#define DIRECT_COLUMNS 4
#define DIRECT_ROWS 32
#define SMALL_BIAS 128
#define WIDE_BIAS 128
#define INLINE static inline __attribute__((always_inline, unused))

typedef __m512i vi;
typedef __m512 vf;

INLINE vi i_zero(void)
{
    return _mm512_setzero_si512();
}

INLINE vi i_set8(int x)
{
    return _mm512_set1_epi8((char)x);
}

INLINE vi i_set32(int x)
{
    return _mm512_set1_epi32(x);
}

INLINE vi i_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

INLINE void i_store(void *p, vi x)
{
    _mm512_storeu_si512(p, x);
}

/* Four bytes to all lanes. */
INLINE vi i_broadcast(const void *p)
{
    int x;

    __builtin_memcpy(&x, p, sizeof x);
    return _mm512_set1_epi32(x);
}

INLINE vi i_table(const int8_t *p)
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)p));
}

INLINE vi i_lookup(vi table, vi index)
{
    return _mm512_shuffle_epi8(table, index);
}

INLINE vi i_and(vi a, vi b)
{
    return _mm512_and_si512(a, b);
}

INLINE vi i_or(vi a, vi b)
{
    return _mm512_or_si512(a, b);
}

INLINE vi i_xor(vi a, vi b)
{
    return _mm512_xor_si512(a, b);
}

INLINE vi i_add8(vi a, vi b)
{
    return _mm512_add_epi8(a, b);
}

INLINE vi i_add32(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}

INLINE vi i_sub32(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}

#define i_shr16(x, count) _mm512_srli_epi16(x, (uint8_t)(count))
#define i_shl16(x, count) _mm512_slli_epi16(x, (uint8_t)(count))
#define i_shr32(x, count) _mm512_srli_epi32(x, (uint8_t)(count))
#define i_shl32(x, count) _mm512_slli_epi32(x, (uint8_t)(count))
#define i_sra32(x, count) _mm512_srai_epi32(x, (uint8_t)(count))

INLINE vi i_u8(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}

INLINE vf f_set(float x)
{
    return _mm512_set1_ps(x);
}

INLINE vf f_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

INLINE void f_store(float *p, vf x)
{
    _mm512_storeu_ps(p, x);
}

INLINE vf f_broadcast(const void *p)
{
    float x;

    __builtin_memcpy(&x, p, sizeof x);
    return _mm512_set1_ps(x);
}

INLINE vf f_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}

INLINE vf f_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

INLINE vf f_negate(vf x)
{
    return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f));
}

INLINE vf f_convert(vi x)
{
    return _mm512_cvtepi32_ps(x);
}

INLINE vf f_bits(vi x)
{
    return _mm512_castsi512_ps(x);
}

INLINE vf f_half(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

INLINE vf f_u8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(i_u8(p));
}

INLINE vf f_s8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

INLINE vi i_max32(vi a, vi b)
{
    return _mm512_max_epi32(a, b);
}

INLINE int32_t i_most(vi x)
{
    return _mm512_reduce_max_epi32(x);
}

INLINE int32_t i_sum(vi x)
{
    return _mm512_reduce_add_epi32(x);
}

/* To the nearest integer, even of two. */
INLINE vi i_round(vf x)
{
    return _mm512_cvtps_epi32(x);
}

/* Words to bytes. */
INLINE void i_store_s8(int8_t *p, vi x)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(x));
}

INLINE vi f_as_bits(vf x)
{
    return _mm512_castps_si512(x);
}

INLINE vi dot_small(vi sum, vi w, vi x)
{
    return _mm512_dpbusd_epi32(sum, w, x);
}

INLINE vi dot_wide(vi sum, vi w, vi x)
{
    return _mm512_dpbusd_epi32(sum, w, x);
}

#include "kernels/qgemm_simd.h"

void qgemm_fill_avx512vnni(struct qgemm_kernels *kernels)
{
    fill(kernels, "avx512vnni");
}
