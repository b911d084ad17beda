/* SPDX-License-Identifier: MIT
 *
 * The quantized matrix product with AVX-VNNI: AVX2's vectors, dot products of one instruction.
 */
#define SMALL_BIAS 128
#define WIDE_BIAS 128

#include "kernels/x86/qgemm_lanes_avx2.h"

INLINE vi dot_small(vi sum, vi w, vi x)
{
    return _mm256_dpbusd_avx_epi32(sum, w, x);
}

INLINE vi dot_wide(vi sum, vi w, vi x)
{
    return _mm256_dpbusd_avx_epi32(sum, w, x);
}

#include "kernels/qgemm_simd.h"

void qgemm_fill_avxvnni(struct qgemm_kernels *kernels)
{
    fill(kernels, "avxvnni");
}
