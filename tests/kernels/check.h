/* SPDX-License-Identifier: MIT
 *
 * What the kernel checks share: random operands that end exactly where their memory does, and the
 * instruction sets of this machine, one after the other.
 */
#ifndef TESTS_KERNELS_CHECK_H
#define TESTS_KERNELS_CHECK_H

#include "base/cpu.h"
#include "kernels/kernels.h"
#include "llm/context.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Marsaglia's xorshift: the same cases on every machine. */
static inline uint32_t check_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

static inline int64_t check_between(uint64_t *state, int64_t low, int64_t high)
{
    return low + (int64_t)(check_random(state) % (uint64_t)(high - low + 1));
}

static inline float check_float(uint64_t *state)
{
    return (float)((int32_t)check_random(state) >> 8) * 0x1p-23f;
}

/* `count` elements of `size` bytes whose address is off by one element from any alignment and
 * whose end is the end of the block, so that a memory checker sees the first byte too far. The
 * block to free() goes to *block. */
static inline void *check_operand(int64_t count, size_t size, void **block)
{
    size_t bytes = (size_t)(count + 1) * size;
    char *memory = malloc(bytes);

    assert_non_null(memory);
    memset(memory, 0xFF, bytes); /* NaN in every float type */
    *block = memory;
    return memory + size;
}

/* Calls `check` with the table of each instruction set that this machine has. */
static inline void check_each_isa(void (*check)(const struct kernels *kernels))
{
    static const int32_t caps[] = {LLM_ISA_SCALAR, LLM_ISA_AVX2, LLM_ISA_AUTO};
    uint32_t before = UINT32_MAX;

    for (size_t i = 0; i < sizeof caps / sizeof *caps; i++) {
        uint32_t cpu = cpu_features(caps[i]);
        struct kernels kernels;

        if (cpu == before)
            continue;
        before = cpu;
        kernels_fill(&kernels, cpu);
        assert_true(gemm_pin(&kernels.gemm, "own"));
        check(&kernels);
    }
}

#endif
