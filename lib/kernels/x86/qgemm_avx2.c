/* SPDX-License-Identifier: MIT
 *
 * The quantized matrix product with AVX2. Its products of bytes add pairs up in 16 bits, where they
 * must not saturate: codes of at most six bits times 127, twice, fit (63 * 127 * 2 < 2^15); codes
 * of eight bits give their sign to the activations and keep their magnitude (128 * 127 * 2 < 2^15).
 */
#define SMALL_BIAS 32
#define WIDE_BIAS 0

#include "kernels/x86/qgemm_lanes_avx2.h"

INLINE vi dot_small(vi sum, vi w, vi x)
{
    vi pairs = _mm256_maddubs_epi16(w, x);

    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

INLINE vi dot_wide(vi sum, vi w, vi x)
{
    return dot_small(sum, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}

#include "kernels/qgemm_simd.h"

void qgemm_fill_avx2(struct qgemm_kernels *kernels)
{
    fill(kernels, "avx2");
}
