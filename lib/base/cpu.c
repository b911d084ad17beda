/* SPDX-License-Identifier: MIT */
#include "base/cpu.h"

#include "llm/context.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)

#include <cpuid.h>

/* Not every compiler's __builtin_cpu_supports() knows "f16c". */
static bool has_f16c(void)
{
    unsigned int a, b, c, d;

    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* Nor "avxvnni". */
static bool has_avx_vnni(void)
{
    unsigned int a, b, c, d;

    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

static uint32_t detect(void)
{
    uint32_t features = 0;

    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())
        features |= CPU_AVX2;
    if ((features & CPU_AVX2) && has_avx_vnni())
        features |= CPU_AVX_VNNI;
    if ((features & CPU_AVX2) && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
        features |= CPU_AVX512;
        if (__builtin_cpu_supports("avx512vnni"))
            features |= CPU_AVX512_VNNI;
        if (__builtin_cpu_supports("avx512bf16"))
            features |= CPU_AVX512_BF16;
    }
    return features;
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

static uint32_t detect(void)
{
    uint32_t features = CPU_NEON;
    unsigned long hwcap = getauxval(AT_HWCAP);
    unsigned long hwcap2 = getauxval(AT_HWCAP2);

    if (hwcap & (1ul << 20))
        features |= CPU_NEON_DOTPROD;
    if (hwcap2 & (1ul << 13))
        features |= CPU_NEON_I8MM;
    return features;
}

#else

static uint32_t detect(void)
{
    return 0;
}

#endif

static uint32_t allowed(int32_t isa)
{
    switch (isa) {
    case LLM_ISA_SCALAR:
        return 0;
    case LLM_ISA_AVX2:
        return CPU_AVX2 | CPU_AVX_VNNI;
    case LLM_ISA_AVX512:
    case LLM_ISA_NEON:
    default:
        return UINT32_MAX;
    }
}

static int32_t environment_cap(void)
{
    static const char *const names[] = {"auto", "scalar", "avx2", "avx512", "neon"};
    const char *value = getenv("LLM_ISA");

    for (int32_t i = 0; value && i < 5; i++) {
        if (strcmp(value, names[i]) == 0)
            return i;
    }
    return LLM_ISA_AUTO;
}

uint32_t cpu_features(int32_t isa)
{
    return detect() & allowed(isa) & allowed(environment_cap());
}

const char *cpu_gemm_pin(void)
{
    const char *value = getenv("LLM_GEMM");

    return value && (strcmp(value, "own") == 0 || strcmp(value, "openblas") == 0) ? value : NULL;
}

const char *cpu_level_name(uint32_t features)
{
    if (features & CPU_AVX512)
        return "avx512";
    if (features & CPU_AVX2)
        return "avx2";
    if (features & CPU_NEON)
        return "neon";
    return "scalar";
}
