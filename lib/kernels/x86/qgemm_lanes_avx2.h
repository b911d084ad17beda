/* SPDX-License-Identifier: MIT
 *
 * The quantized matrix product's vectors of 256 bits: all but the dot products and the biases,
 * which AVX2 (qgemm_avx2.c) and AVX-VNNI (qgemm_avxvnni.c) add.
 */
#ifndef KERNELS_X86_QGEMM_LANES_AVX2_H
#define KERNELS_X86_QGEMM_LANES_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define LANES 8
#define TILE_PANELS 1
#define TILE_COLUMNS 3
#define DIRECT_COLUMNS 2
#define DIRECT_ROWS 4
#define INLINE static inline __attribute__((always_inline, unused))

typedef __m256i vi;
typedef __m256 vf;

INLINE vi i_zero(void)
{
    return _mm256_setzero_si256();
}

INLINE vi i_set8(int x)
{
    return _mm256_set1_epi8((char)x);
}

INLINE vi i_set32(int x)
{
    return _mm256_set1_epi32(x);
}

INLINE vi i_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

INLINE void i_store(void *p, vi x)
{
    _mm256_storeu_si256((__m256i *)p, x);
}

/* Four bytes to all lanes. */
INLINE vi i_broadcast(const void *p)
{
    int x;

    __builtin_memcpy(&x, p, sizeof x);
    return _mm256_set1_epi32(x);
}

INLINE vi i_table(const int8_t *p)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)p));
}

INLINE vi i_lookup(vi table, vi index)
{
    return _mm256_shuffle_epi8(table, index);
}

INLINE vi i_and(vi a, vi b)
{
    return _mm256_and_si256(a, b);
}

INLINE vi i_or(vi a, vi b)
{
    return _mm256_or_si256(a, b);
}

INLINE vi i_xor(vi a, vi b)
{
    return _mm256_xor_si256(a, b);
}

INLINE vi i_add8(vi a, vi b)
{
    return _mm256_add_epi8(a, b);
}

INLINE vi i_add32(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}

INLINE vi i_sub32(vi a, vi b)
{
    return _mm256_sub_epi32(a, b);
}

#define i_shr16(x, count) _mm256_srli_epi16(x, (uint8_t)(count))
#define i_shl16(x, count) _mm256_slli_epi16(x, (uint8_t)(count))
#define i_shr32(x, count) _mm256_srli_epi32(x, (uint8_t)(count))
#define i_shl32(x, count) _mm256_slli_epi32(x, (uint8_t)(count))
#define i_sra32(x, count) _mm256_srai_epi32(x, (uint8_t)(count))

INLINE vi i_u8(const uint8_t *p)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
}

INLINE vf f_set(float x)
{
    return _mm256_set1_ps(x);
}

INLINE vf f_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

INLINE void f_store(float *p, vf x)
{
    _mm256_storeu_ps(p, x);
}

INLINE vf f_broadcast(const void *p)
{
    float x;

    __builtin_memcpy(&x, p, sizeof x);
    return _mm256_set1_ps(x);
}

INLINE vf f_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}

INLINE vf f_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}

INLINE vf f_negate(vf x)
{
    return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f));
}

INLINE vf f_convert(vi x)
{
    return _mm256_cvtepi32_ps(x);
}

INLINE vf f_bits(vi x)
{
    return _mm256_castsi256_ps(x);
}

INLINE vf f_half(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

INLINE vf f_u8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(i_u8(p));
}

INLINE vf f_s8(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

INLINE vi i_max32(vi a, vi b)
{
    return _mm256_max_epi32(a, b);
}

INLINE int32_t i_most(vi x)
{
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));

    return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

INLINE int32_t i_sum(vi x)
{
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));

    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

/* To the nearest integer, even of two. */
INLINE vi i_round(vf x)
{
    return _mm256_cvtps_epi32(x);
}

/* Words to bytes. */
INLINE void i_store_s8(int8_t *p, vi x)
{
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));

    _mm_storel_epi64((__m128i *)(void *)p, _mm_packs_epi16(words, words));
}

INLINE vi f_as_bits(vf x)
{
    return _mm256_castps_si256(x);
}

#endif
