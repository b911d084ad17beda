/* SPDX-License-Identifier: MIT */
#include "kernelcheck.h"

#include "base/rng.h"
#include "llm/context.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const int64_t kernelcheck_lengths[] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,  11,  12,  13,  14,  15,   16,   17,   18,   19,
    20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,  31,  32,  33,  34,  35,   36,   37,   38,   39,
    40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50,  51,  52,  53,  54,  55,   56,   57,   58,   59,
    60, 61, 62, 63, 64, 65, 66, 67, 96, 97, 127, 128, 129, 255, 768, 1001, 2047, 2048, 2049, 5003};
const int kernelcheck_length_count = sizeof kernelcheck_lengths / sizeof kernelcheck_lengths[0];

int kernelcheck_tables(const struct kernels **tables)
{
    static struct kernels filled[3];
    static const uint32_t levels[] = {0, CPU_AVX2 | CPU_AVX_VNNI, UINT32_MAX};
    uint32_t all = cpu_features(LLM_ISA_AUTO);
    int count = 0;

    for (int i = 0; i < 3; i++) {
        uint32_t cpu = all & levels[i];
        if (count > 0 && cpu == filled[count - 1].cpu)
            continue;
        kernels_fill(&filled[count++], cpu);
    }
    *tables = filled;
    return count;
}

const char *kernelcheck_name(const struct kernels *kernels)
{
    return cpu_level_name(kernels->cpu);
}

static const uint32_t guard_bits = 0xffc0dead;
static const uint32_t empty_bits = 0x7fc0beef; /* a NaN */

struct guarded {
    float *block;
    size_t count;
};

/* The block's address and length stand in front of the first guard. */
enum { HEADER = 16 };

float *guarded_new(int64_t n, int64_t offset)
{
    size_t count = (size_t)(HEADER + 2 * KERNELCHECK_GUARD + n + offset + 15) / 16 * 16;
    float *block = aligned_alloc(64, count * sizeof *block);
    struct guarded header = {block, count};
    float *data = block + HEADER + KERNELCHECK_GUARD + offset;

    assert_non_null(block);
    for (size_t i = 0; i < count; i++)
        memcpy(&block[i], &guard_bits, sizeof guard_bits);
    for (int64_t i = 0; i < n; i++)
        memcpy(&data[i], &empty_bits, sizeof empty_bits);
    memcpy((char *)(data - KERNELCHECK_GUARD) - sizeof header, &header, sizeof header);
    return data;
}

void guarded_check(const float *data, int64_t n)
{
    for (int64_t i = 0; i < KERNELCHECK_GUARD; i++) {
        if (memcmp(&data[-1 - i], &guard_bits, 4) || memcmp(&data[n + i], &guard_bits, 4))
            fail_msg("wrote outside: guard %d of an array of %d changed", (int)i, (int)n);
    }
}

void guarded_free(float *data)
{
    struct guarded header;

    if (!data)
        return;
    memcpy(&header, (char *)(data - KERNELCHECK_GUARD) - sizeof header, sizeof header);
    free(header.block);
}

static struct rng *generator(void)
{
    static struct rng rng = {2024, 7, 0};

    return &rng;
}

float random_between(float low, float high)
{
    return (float)((double)low + ((double)high - (double)low) * rng_uniform(generator()));
}

float random_normal(void)
{
    return (float)rng_normal(generator());
}

void random_fill(float *x, int64_t n, float low, float high)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = random_between(low, high);
}

double ulp_error(float got, double want)
{
    float rounded = (float)want;
    int exponent;

    if (isnan(got) || isnan(want))
        return isnan(got) && isnan(want) ? 0.0 : HUGE_VAL;
    if (isinf(got) || isinf(rounded))
        return got == rounded ? 0.0 : HUGE_VAL;
    (void)frexp(want, &exponent);
    if (exponent < -125)
        exponent = -125;
    return fabs((double)got - want) / ldexp(1.0, exponent - 24);
}

void expect_close(const char *what, int64_t index, double got, double want, double tolerance)
{
    if (isnan(got) && isnan(want))
        return;
    if (got == want || fabs(got - want) <= tolerance)
        return;
    fail_msg("%s [%d]: got %.9g, want %.9g, difference %.3g, allowed %.3g", what, (int)index, got,
             want, got - want, tolerance);
}
