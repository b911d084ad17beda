/* SPDX-License-Identifier: MIT
 *
 * What the processor can do. The environment variable LLM_ISA (scalar, avx2, avx512, neon) caps it,
 * for tests and for users who hunt a difference between machines.
 */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stdint.h>

enum {
    CPU_AVX2 = 1 << 0,   /* with FMA and F16C */
    CPU_AVX512 = 1 << 1, /* F, BW, DQ, VL */
    CPU_AVX512_VNNI = 1 << 2,
    CPU_AVX512_BF16 = 1 << 3,
    CPU_AVX_VNNI = 1 << 4,
    CPU_NEON = 1 << 5,
    CPU_NEON_DOTPROD = 1 << 6,
    CPU_NEON_I8MM = 1 << 7
};

/* CPU_* flags present on this machine, under the cap `isa` (LLM_ISA_*) and LLM_ISA's. */
uint32_t cpu_features(int32_t isa);

/* "own", "openblas" or NULL: LLM_GEMM, who computes large matrix products (kernels/gemm.h). */
const char *cpu_gemm_pin(void);

/* "scalar", "avx2", "avx512", ... : the widest level in `features`. */
const char *cpu_level_name(uint32_t features);

#endif
