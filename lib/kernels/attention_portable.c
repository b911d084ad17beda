/* SPDX-License-Identifier: MIT
 *
 * Portable attention: vectors of four floats in the compilers' common vector extension, which every
 * 64-bit processor has. Also the pattern for other instruction sets: define these operations.
 */
#include "kernels/attention_plan.h"

#include <math.h>
#include <string.h>

#define LANES 4
#define TILE_ROWS 4
#define ATTENTION_FILL attention_fill_portable

typedef float vec __attribute__((vector_size(16)));
typedef int32_t veci __attribute__((vector_size(16)));
typedef uint32_t vecu __attribute__((vector_size(16)));

static inline vec v_load(const float *from)
{
    vec value;

    memcpy(&value, from, sizeof value);
    return value;
}

static inline void v_store(float *to, vec value)
{
    memcpy(to, &value, sizeof value);
}

static inline vec v_set(float x)
{
    return (vec){x, x, x, x};
}

static inline vec v_zero(void)
{
    return v_set(0.0f);
}

static inline vec v_iota(void)
{
    return (vec){0.0f, 1.0f, 2.0f, 3.0f};
}

static inline vec v_add(vec a, vec b)
{
    return a + b;
}

static inline vec v_sub(vec a, vec b)
{
    return a - b;
}

static inline vec v_mul(vec a, vec b)
{
    return a * b;
}

static inline vec v_div(vec a, vec b)
{
    return a / b;
}

static inline vec v_fma(vec a, vec b, vec c)
{
    return a * b + c;
}

static inline vec v_choose(veci mask, vec a, vec b)
{
    return (vec)((mask & (veci)a) | (~mask & (veci)b));
}

/* Comparisons are false for NaN, which then passes through both. */
static inline vec v_max(vec a, vec b)
{
    return v_choose(a > b, a, b);
}

static inline vec v_min(vec a, vec b)
{
    return v_choose(a < b, a, b);
}

static inline vec v_abs(vec a)
{
    return (vec)((veci)a & 0x7FFFFFFF);
}

static inline float v_highest(vec a)
{
    vec b = v_max(a, __builtin_shufflevector(a, a, 2, 3, 0, 1));
    vec c = v_max(b, __builtin_shufflevector(b, b, 1, 0, 3, 2));

    return c[0];
}

static inline float v_total(vec a)
{
    return (a[0] + a[2]) + (a[1] + a[3]);
}

/* Lane i of a where lo <= j + i < hi, else of other. */
static inline vec v_keep(vec a, int32_t j, int32_t lo, int32_t hi, vec other)
{
    veci at = (veci){0, 1, 2, 3} + j;

    return v_choose((at >= lo) & (at < hi), a, other);
}

/* 2^x for x < 127 to 1 ulp; 0 below 2^-125; above, whatever the bits give: only a masked key's
 * score lies there. The fraction's polynomial is a minimax fit that is exact at 0. */
static inline vec v_exp2(vec x)
{
    const vec round = v_set(12582912.0f); /* 1.5 * 2^23: adding it leaves the nearest integer */
    vec low = v_max(v_set(-125.0f), x);
    vec whole = low + round;
    vec f = low - (whole - round);
    vec p = v_set(0.00015353362f);

    p = p * f + 0.0013398875f;
    p = p * f + 0.009618437f;
    p = p * f + 0.055503324f;
    p = p * f + 0.24022648f;
    p = p * f + 0.69314718f;
    p = p * f + 1.0f;
    p = (vec)((vecu)p + ((vecu)whole << 23));
    return v_choose(x < -125.0f, v_zero(), p);
}

#include "kernels/attention_all.h"
