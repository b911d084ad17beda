/* SPDX-License-Identifier: MIT
 *
 * The matrix product in portable C: four floats side by side, which every compiler maps to what
 * the machine has. Multiplication and addition stay two roundings.
 */
#include <stdint.h>
#include <string.h>

enum { LANES = 4 };
#define TILE_ROWS 4
#define TILE_VECTORS 2
#define REGISTERS 16
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(16)));

INLINE vec v_set(float x)
{
    return (vec){x, x, x, x};
}

INLINE vec v_zero(void)
{
    return v_set(0.0f);
}

INLINE vec v_load(const float *p)
{
    vec x;

    memcpy(&x, p, sizeof x);
    return x;
}

INLINE void v_store(float *p, vec x)
{
    memcpy(p, &x, sizeof x);
}

INLINE vec v_load_part(const float *p, int64_t count)
{
    vec x = v_zero();

    memcpy(&x, p, (size_t)count * sizeof *p);
    return x;
}

INLINE void v_store_part(float *p, vec x, int64_t count)
{
    memcpy(p, &x, (size_t)count * sizeof *p);
}

INLINE vec v_add(vec a, vec b)
{
    return a + b;
}

INLINE vec v_mul(vec a, vec b)
{
    return a * b;
}

INLINE vec v_fma(vec a, vec b, vec c)
{
    return a * b + c;
}

INLINE vec v_load_bf16(const uint16_t *p)
{
    uint32_t words[LANES];
    vec x;

    for (int i = 0; i < LANES; i++)
        words[i] = (uint32_t)p[i] << 16;
    memcpy(&x, words, sizeof x);
    return x;
}

/* The exponent is rebased by a multiplication, which also gets subnormals right; infinities and
 * NaNs then need the top exponent back. */
INLINE vec v_load_f16(const uint16_t *p)
{
    uint32_t words[LANES];
    vec x;

    for (int i = 0; i < LANES; i++)
        words[i] = (uint32_t)(p[i] & 0x7FFFu) << 13;
    memcpy(&x, words, sizeof x);
    x *= v_set(0x1p112f);
    memcpy(words, &x, sizeof x);
    for (int i = 0; i < LANES; i++) {
        words[i] |= (uint32_t)(p[i] & 0x8000u) << 16;
        if ((p[i] & 0x7C00u) == 0x7C00u)
            words[i] |= 0x7F800000u;
    }
    memcpy(&x, words, sizeof x);
    return x;
}

INLINE vec v_sum4(vec a, vec b, vec c, vec d)
{
    vec ab = {a[0] + a[2], a[1] + a[3], b[0] + b[2], b[1] + b[3]};
    vec cd = {c[0] + c[2], c[1] + c[3], d[0] + d[2], d[1] + d[3]};

    return (vec){ab[0] + ab[1], ab[2] + ab[3], cd[0] + cd[1], cd[2] + cd[3]};
}

INLINE void v_transpose(vec r[LANES])
{
    vec a = r[0];
    vec b = r[1];
    vec c = r[2];
    vec d = r[3];

    r[0] = (vec){a[0], b[0], c[0], d[0]};
    r[1] = (vec){a[1], b[1], c[1], d[1]};
    r[2] = (vec){a[2], b[2], c[2], d[2]};
    r[3] = (vec){a[3], b[3], c[3], d[3]};
}

#include "kernels/gemm_simd.h"

void gemm_fill_portable(struct gemm_kernels *kernels)
{
    fill(kernels, "scalar");
    kernels->block_m = 64;
    kernels->block_n = 256;
    kernels->block_k = 256;
    kernels->dot_rows = 16;
    kernels->wide_rows = 16;
}
