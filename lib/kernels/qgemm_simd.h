/* SPDX-License-Identifier: MIT
 *
 * The quantized matrix product, written once over a few vector operations. Each instruction set's
 * file defines those, names itself and the shape of its tile, and includes this file last:
 *
 *   LANES          rows of W in a vector: 32-bit words, four codes each
 *   TILE_PANELS    panels of W in a tile
 *   TILE_COLUMNS   rows of activations that a tile meets at once
 *   DIRECT_COLUMNS the same for a panel in its own bits (at most 4)
 *   DIRECT_ROWS    so many rows are better off with panels in their own bits
 *   SMALL_BIAS, WIDE_BIAS
 *                  what tiles add to codes of at most six bits, and to others: the dot products
 *                  want their first factor without sign (128), or small (32), or do not care (0)
 *   vi, vf         vectors of LANES words and floats; i_*, f_*, dot_small, dot_wide on them
 *
 * The order of floating-point operations is that of qgemm_portable.c, which is the definition.
 */
#ifndef KERNELS_QGEMM_SIMD_H
#define KERNELS_QGEMM_SIMD_H

#include "kernels/qgemm_kernel.h"
#include "kernels/repeat.h"

#include <string.h>

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum {
    PARTS = QGEMM_PANEL / LANES, /* vectors in a panel */
    ROWS = TILE_PANELS * QGEMM_PANEL,
    VECTORS = TILE_PANELS * PARTS,
    AHEAD = 8192 /* bytes between what is used and what is fetched */
};

/* ---- codes -------------------------------------------------------------------------------------
 */

/* What is added to the values of a type: as they are stored, and in tiles. */
INLINE int stored_bias(const enum qgemm_type type)
{
    switch (type) {
    case QGEMM_Q3_K:
        return 4;
    case QGEMM_Q4_0:
        return 8;
    case QGEMM_Q5_0:
        return 16;
    case QGEMM_Q6_K:
        return 32;
    case QGEMM_MXFP4:
        return SMALL_BIAS;
    case QGEMM_Q8_0:
    case QGEMM_IQ4_NL:
    case QGEMM_IQ4_XS:
    case QGEMM_NF4:
    case QGEMM_FP4:
    case QGEMM_I8:
        return WIDE_BIAS;
    default:
        return 0;
    }
}

INLINE int has_low(const enum qgemm_type type)
{
    return type == QGEMM_Q4_1 || type == QGEMM_Q5_1 || type == QGEMM_Q2_K || type == QGEMM_Q4_K ||
           type == QGEMM_Q5_K;
}

INLINE int is_wide(const enum qgemm_type type)
{
    return type == QGEMM_Q8_0 || type == QGEMM_IQ4_NL || type == QGEMM_IQ4_XS ||
           type == QGEMM_NF4 || type == QGEMM_FP4 || type == QGEMM_I8;
}

INLINE int groups_of(const enum qgemm_type type)
{
    return type == QGEMM_Q2_K || type == QGEMM_Q3_K || type == QGEMM_Q6_K ? 2 : 1;
}

INLINE int planes_of(const enum qgemm_type type)
{
    return type == QGEMM_NF4 || type == QGEMM_FP4 ? 2 : 1;
}

INLINE int unit_of(const enum qgemm_type type) /* blocks of 32 */
{
    if (type == QGEMM_NF4 || type == QGEMM_FP4)
        return 2;
    return (type >= QGEMM_Q2_K && type <= QGEMM_Q6_K) || type == QGEMM_IQ4_XS ? 8 : 1;
}

INLINE int tile_bias(const enum qgemm_type type)
{
    return has_low(type) ? 0 : is_wide(type) ? WIDE_BIAS : SMALL_BIAS;
}

/* Bytes of the scales and of the codes of a unit in a panel: qgemm_traits again, but known to the
 * compiler. */
INLINE int scale_bytes_of(const enum qgemm_type type)
{
    switch (type) {
    case QGEMM_Q2_K:
        return 20 * QGEMM_PANEL;
    case QGEMM_Q3_K:
        return 14 * QGEMM_PANEL;
    case QGEMM_Q4_K:
    case QGEMM_Q5_K:
        return 16 * QGEMM_PANEL;
    case QGEMM_Q6_K:
        return 18 * QGEMM_PANEL;
    case QGEMM_IQ4_XS:
        return 8 * QGEMM_PANEL;
    case QGEMM_Q4_1:
    case QGEMM_Q5_1:
    case QGEMM_NF4:
    case QGEMM_FP4:
        return 4 * QGEMM_PANEL;
    case QGEMM_MXFP4:
        return QGEMM_PANEL;
    case QGEMM_I8:
        return 0;
    default:
        return 2 * QGEMM_PANEL;
    }
}

INLINE int code_bytes_of(const enum qgemm_type type)
{
    int bytes = 16; /* of 32 values */

    if (type == QGEMM_Q8_0 || type == QGEMM_I8)
        bytes = 32;
    else if (type == QGEMM_Q6_K)
        bytes = 24;
    else if (type == QGEMM_Q5_0 || type == QGEMM_Q5_1 || type == QGEMM_Q5_K)
        bytes = 20;
    else if (type == QGEMM_Q3_K)
        bytes = 12;
    else if (type == QGEMM_Q2_K)
        bytes = 8;
    return bytes * unit_of(type) * QGEMM_PANEL;
}

/* Word `word` of the codes of a unit. */
#define WORD(word) i_load(codes + 64 * (word))

/* Bits `from` and up of each byte to bits `to` and up; what else is in the byte is to be masked. */
INLINE vi moved(vi x, const int from, const int to)
{
    if (from > to)
        return i_shr16(x, from - to);
    return from < to ? i_shl16(x, to - from) : x;
}

/* What a table of 16 bytes has for each code; the tables of type `type` are set up by `tables_of`.
 */
struct tables {
    vi first, second;
};

INLINE struct tables tables_of(const enum qgemm_type type)
{
    struct tables tables = {i_zero(), i_zero()};
    const vi bias = i_set8(stored_bias(type));

    if (type == QGEMM_IQ4_NL || type == QGEMM_IQ4_XS) {
        tables.first = i_add8(i_table(qgemm_iq4_values), bias);
    } else if (type == QGEMM_MXFP4) {
        tables.first = i_add8(i_table(qgemm_mxfp4_values), bias);
    } else if (planes_of(type) > 1) {
        const int8_t(*planes)[16] = type == QGEMM_NF4 ? qgemm_nf4_planes : qgemm_fp4_planes;

        tables.first = i_add8(i_table(planes[0]), bias);
        tables.second = i_add8(i_table(planes[1]), bias);
    }
    return tables;
}

/* Step j of block b of a unit, with the stored bias. */
INLINE vi code(const enum qgemm_type type, const uint8_t *codes, const int b, const int j,
               const int plane, struct tables tables)
{
    const int half = b / 4;
    const int part = b % 4;
    vi x;

    switch (type) {
    case QGEMM_Q8_0:
    case QGEMM_I8:
        return WIDE_BIAS ? i_xor(WORD(j), i_set8(-128)) : WORD(j);
    case QGEMM_Q5_0:
    case QGEMM_Q5_1:
        x = i_and(moved(WORD(1 + j % 4), j / 4 * 4, 0), i_set8(15));
        return i_or(x, i_and(moved(WORD(0), j, 4), i_set8(16)));
    case QGEMM_Q2_K:
        return i_and(moved(WORD(half * 8 + j), part * 2, 0), i_set8(3));
    case QGEMM_Q3_K:
        x = i_and(moved(WORD(8 + half * 8 + j), part * 2, 0), i_set8(3));
        return i_or(x, i_and(moved(WORD(j), b, 2), i_set8(4)));
    case QGEMM_Q4_K:
        return i_and(moved(WORD(b / 2 * 8 + j), b % 2 * 4, 0), i_set8(15));
    case QGEMM_Q5_K:
        x = i_and(moved(WORD(8 + b / 2 * 8 + j), b % 2 * 4, 0), i_set8(15));
        return i_or(x, i_and(moved(WORD(j), b, 4), i_set8(16)));
    case QGEMM_Q6_K:
        x = i_and(moved(WORD(half * 16 + part % 2 * 8 + j), part / 2 * 4, 0), i_set8(15));
        return i_or(x, i_and(moved(WORD(32 + half * 8 + j), part * 2, 4), i_set8(48)));
    default:
        x = i_and(moved(WORD(4 * b + j % 4), j / 4 * 4, 0), i_set8(15));
        if (type == QGEMM_Q4_0 || type == QGEMM_Q4_1)
            return x;
        return i_lookup(plane ? tables.second : tables.first, x);
    }
}

/* ---- scales ------------------------------------------------------------------------------------
 */

typedef uint8_t bytes64 __attribute__((vector_size(64)));
typedef uint8_t bytes16 __attribute__((vector_size(16)));

/* The integer scales of a unit of 256, [16][16] bytes, and lows behind them. */
INLINE void expand_scales(const enum qgemm_type type, const uint8_t *scales, uint8_t small[512])
{
    bytes64 in[4], out[8];

    if (type == QGEMM_Q4_K || type == QGEMM_Q5_K) {
        memcpy(in, scales + 64, 192);
        out[0] = in[0] & 63;
        out[1] = (in[2] & 15) | (in[0] >> 2 & 48);
        out[4] = in[1] & 63;
        out[5] = in[2] >> 4 | (in[1] >> 2 & 48);
        memcpy(small, out, 128);
        memcpy(small + 256, out + 4, 128);
    } else if (type == QGEMM_Q2_K) {
        memcpy(in, scales + 64, 256);
        for (int i = 0; i < 4; i++) {
            out[i] = in[i] & 15;
            out[4 + i] = in[i] >> 4;
        }
        memcpy(small, out, 512);
    } else if (type == QGEMM_Q3_K) {
        memcpy(in, scales + 32, 192);
        out[0] = ((in[0] & 15) | (in[2] << 4 & 48)) - 32;
        out[1] = ((in[1] & 15) | (in[2] << 2 & 48)) - 32;
        out[2] = (in[0] >> 4 | (in[2] & 48)) - 32;
        out[3] = (in[1] >> 4 | (in[2] >> 2 & 48)) - 32;
        memcpy(small, out, 256);
    } else if (type == QGEMM_IQ4_XS) {
        bytes16 packed[6];

        memcpy(packed, scales + 32, 96);
        for (int i = 0; i < 4; i++) {
            bytes16 high = packed[i / 2] >> (i % 2 * 4);
            bytes16 even = ((packed[2 + i] & 15) | (high << 4 & 48)) - 32;
            bytes16 odd = (packed[2 + i] >> 4 | (high << 2 & 48)) - 32;

            memcpy(small + 32 * i, &even, 16);
            memcpy(small + 32 * i + 16, &odd, 16);
        }
    }
}

/* 2^(e - 128) as a product of two normal floats. */
INLINE vf f_exponent(const uint8_t *exponents)
{
    vi e = i_u8(exponents);
    vi half = i_shr32(e, 1);
    vi rest = i_sub32(e, half);
    vi bias = i_set32(63);

    return f_mul(f_bits(i_shl32(i_add32(half, bias), 23)),
                 f_bits(i_shl32(i_add32(rest, bias), 23)));
}

/* Scale and low of group g of a unit, rows from `row` on. */
INLINE vf scale_of(const enum qgemm_type type, const uint8_t *scales, const uint8_t *small,
                   const int g, const int row)
{
    switch (type) {
    case QGEMM_MXFP4:
        return f_exponent(scales + row);
    case QGEMM_NF4:
    case QGEMM_FP4:
        return f_mul(f_load((const float *)(const void *)scales + row), f_set(0x1p-14f));
    case QGEMM_I8:
        return f_load((const float *)(const void *)scales + row);
    case QGEMM_Q6_K:
        return f_mul(f_half(scales + 2 * row), f_s8(scales + 32 + 16 * g + row));
    case QGEMM_Q3_K:
    case QGEMM_IQ4_XS:
        return f_mul(f_half(scales + 2 * row), f_s8(small + 16 * g + row));
    case QGEMM_Q2_K:
    case QGEMM_Q4_K:
    case QGEMM_Q5_K:
        return f_mul(f_half(scales + 2 * row), f_u8(small + 16 * g + row));
    default:
        return f_half(scales + 2 * row);
    }
}

INLINE vf low_of(const enum qgemm_type type, const uint8_t *scales, const uint8_t *small,
                 const int g, const int row)
{
    vf low = f_half(scales + 32 + 2 * row);

    if (type == QGEMM_Q4_1 || type == QGEMM_Q5_1)
        return low;
    return f_mul(f_negate(low), f_u8(small + 256 + 16 * g + row));
}

/* ---- products ----------------------------------------------------------------------------------
 */

/* Sums begin with -bias * (sum of the activations' codes); -128 times that is at `at`. */
INLINE vi sum_begin(const int bias, const uint8_t *at)
{
    if (bias == 0)
        return i_zero();
    if (bias == 128)
        return i_broadcast(at);
    return i_sra32(i_broadcast(at), bias == 32 ? 2 : bias == 16 ? 3 : bias == 8 ? 4 : 5);
}

INLINE vi dot(const int wide, vi sum, vi w, vi x)
{
    return wide ? dot_wide(sum, w, x) : dot_small(sum, w, x);
}

/* Where the sum of the codes of group g of a block lies, in units of 4 * width bytes. */
INLINE int group_at(const int groups, const int g)
{
    return groups == 1 ? 0 : 4 * (1 + g);
}

/* A step of four values times `width` columns. */
INLINE void add_step(const int wide, const int width, vi w, const uint8_t *x, vi c[4])
{
    REPEAT4(i, width, c[i] = dot(wide, c[i], w, i_broadcast(x + 4 * i));)
}

/* Block b of a unit, rows of one vector, for `width` columns: straight from the panel. */
INLINE void add_block(const enum qgemm_type type, const int b, const int width,
                      const uint8_t *codes, const uint8_t *scales, const uint8_t *small,
                      const uint8_t *column, const int row, struct tables tables, vf f[4])
{
    const int groups = groups_of(type);
    const int bias = stored_bias(type);
    const int wide = is_wide(type);

    UNROLL for (int g = 0; g < groups; g++)
    {
        const uint8_t *begin = column + (QGEMM_BIAS_AT + group_at(groups, g)) * width;
        const uint8_t *codes_sum = column + (QGEMM_SUM_AT + group_at(groups, g)) * width;
        vf scale = scale_of(type, scales, small, b * groups + g, row);
        vi c[4];

        REPEAT4(i, width, c[i] = sum_begin(bias, begin + 4 * i);)
        UNROLL for (int j = 8 / groups * g; j < 8 / groups * (g + 1); j++)
            add_step(wide, width, code(type, codes, b, j, 0, tables), column + 4 * j * width, c);
        if (planes_of(type) > 1) {
            REPEAT4(i, width, c[i] = i_add32(i_shl32(c[i], 8), sum_begin(bias, begin + 4 * i));)
            UNROLL for (int j = 0; j < 8; j++) add_step(
                wide, width, code(type, codes, b, j, 1, tables), column + 4 * j * width, c);
        }
        REPEAT4(i, width,
                vf both = f_mul(scale, f_broadcast(column + QGEMM_SCALE_AT * width + 4 * i));

                f[i] = f_fma(f_convert(c[i]), both, f[i]);)
        if (has_low(type)) {
            vf low = low_of(type, scales, small, b * groups + g, row);

            REPEAT4(i, width, f[i] = f_fma(low, f_broadcast(codes_sum + 4 * i), f[i]);)
        }
    }
}

/* A panel times up to four columns. */
INLINE void direct(const enum qgemm_type type, const struct qgemm_weights *weights, int64_t panel,
                   const uint8_t *columns, const int width, float *sums)
{
    const uint8_t *scales = qgemm_scales(weights, panel);
    const uint8_t *codes = qgemm_codes(weights, panel);
    const int64_t units = qgemm_units(weights);
    const int unit = unit_of(type);
    const int code_bytes = code_bytes_of(type);
    const int scale_bytes = scale_bytes_of(type);
    const struct tables tables = tables_of(type);
    vf f[4][4];

    REPEAT4(part, PARTS, REPEAT4(i, width, f[part][i] = f_set(0.0f);))
    for (int64_t u = 0; u < units; u++) {
        uint8_t small[512] __attribute__((aligned(64)));

        UNROLL for (int line = 0; line < scale_bytes; line += 64)
            __builtin_prefetch(scales + AHEAD / code_bytes * scale_bytes + line, 0, 3);
        expand_scales(type, scales, small);
        UNROLL for (int b = 0; b < unit; b++)
        {
            UNROLL for (int line = 0; line < code_bytes / unit; line += 64)
                __builtin_prefetch(codes + code_bytes / unit * b + line + AHEAD, 0, 3);
            REPEAT4(part, PARTS,
                    add_block(type, b, width, codes + 4 * LANES * part, scales, small, columns,
                              LANES * part, tables, f[part]);)
            columns += QGEMM_COLUMN_BYTES * width;
        }
        codes += code_bytes;
        scales += scale_bytes;
    }
    REPEAT4(part, PARTS,
            REPEAT4(i, width, f_store(sums + i * QGEMM_PANEL + LANES * part, f[part][i]);))
}

/* ---- tiles -------------------------------------------------------------------------------------
 */

INLINE void unpack(const enum qgemm_type type, const struct qgemm_weights *weights, int64_t panel,
                   int64_t from, int64_t blocks, const struct qgemm_tile *tile, int64_t place)
{
    const int unit = unit_of(type);
    const int groups = groups_of(type);
    const int planes = planes_of(type);
    const int code_bytes = code_bytes_of(type);
    const int scale_bytes = scale_bytes_of(type);
    const int more = tile_bias(type) - stored_bias(type);
    const uint8_t *scales = qgemm_scales(weights, panel) + from / unit * scale_bytes;
    const uint8_t *codes = qgemm_codes(weights, panel) + from / unit * code_bytes;
    const struct tables tables = tables_of(type);
    uint8_t *to = tile->codes + place * 4 * QGEMM_PANEL;
    float *to_scales = tile->scales + place * QGEMM_PANEL;
    float *to_lows = tile->lows + place * QGEMM_PANEL;
    const int64_t ahead = blocks / unit * code_bytes; /* the next stretch of k */

    for (int64_t block = 0; block < blocks; block += unit) {
        uint8_t small[512] __attribute__((aligned(64)));

        for (int line = 0; line < code_bytes; line += 64)
            __builtin_prefetch(codes + ahead + line, 0, 2);
        expand_scales(type, scales, small);
        UNROLL for (int b = 0; b < unit; b++)
        {
            for (int row = 0; row < QGEMM_PANEL; row += LANES) {
                UNROLL for (int step = 0; step < 8 * planes; step++)
                {
                    vi w = code(type, codes + 4 * row, b, step % 8, step / 8, tables);

                    i_store(to + (step * ROWS + row) * 4, more ? i_add8(w, i_set8(more)) : w);
                }
                UNROLL for (int g = 0; g < groups; g++)
                {
                    f_store(to_scales + g * ROWS + row,
                            scale_of(type, scales, small, b * groups + g, row));
                    if (has_low(type))
                        f_store(to_lows + g * ROWS + row,
                                low_of(type, scales, small, b * groups + g, row));
                }
            }
            to += planes * 32 * ROWS;
            to_scales += groups * ROWS;
            to_lows += groups * ROWS;
        }
        codes += code_bytes;
        scales += scale_bytes;
    }
}

/* Steps `from` to `to` of one block of a tile. */
INLINE void add_steps(const int wide, const int width, const int from, const int to,
                      const uint8_t *codes, const uint8_t *column, vi c[4][8])
{
    UNROLL for (int j = from; j < to; j++)
    {
        vi w[4];

        REPEAT4(v, VECTORS, w[v] = i_load(codes + (j * ROWS + v * LANES) * 4);)
        REPEAT6(i, width, vi x = i_broadcast(column + 4 * (j * width + i));

                REPEAT4(v, VECTORS, c[v][i] = dot(wide, c[v][i], w[v], x);))
    }
}

/* A tile times `width` columns, added to `sums` unless they are the first. */
INLINE void multiply(const int groups, const int planes, const int low, const int wide,
                     const int width, const struct qgemm_tile *tile, int64_t blocks,
                     const uint8_t *columns, float *sums, bool first)
{
    const int bias = low ? 0 : wide ? WIDE_BIAS : SMALL_BIAS;
    const uint8_t *codes = tile->codes;
    const float *scales = tile->scales;
    const float *lows = tile->lows;
    vf f[4][8];

    if (first) {
        REPEAT6(i, width, REPEAT4(v, VECTORS, f[v][i] = f_set(0.0f);))
    } else {
        REPEAT6(i, width, REPEAT4(v, VECTORS, f[v][i] = f_load(sums + i * ROWS + v * LANES);))
    }
    for (int64_t block = 0; block < blocks; block++) {
        UNROLL for (int g = 0; g < groups; g++)
        {
            const uint8_t *begin = columns + (QGEMM_BIAS_AT + group_at(groups, g)) * width;
            const uint8_t *codes_sum = columns + (QGEMM_SUM_AT + group_at(groups, g)) * width;
            vi c[4][8];
            vf scale[4];

            REPEAT6(i, width, vi start = sum_begin(bias, begin + 4 * i);
                    REPEAT4(v, VECTORS, c[v][i] = start;))
            add_steps(wide, width, 8 / groups * g, 8 / groups * (g + 1), codes, columns, c);
            if (planes > 1) {
                REPEAT6(i, width, vi start = sum_begin(bias, begin + 4 * i);
                        REPEAT4(v, VECTORS, c[v][i] = i_add32(i_shl32(c[v][i], 8), start);))
                add_steps(wide, width, 0, 8, codes + 32 * ROWS, columns, c);
            }
            REPEAT4(v, VECTORS, scale[v] = f_load(scales + g * ROWS + v * LANES);)
            REPEAT6(i, width, vf x = f_broadcast(columns + QGEMM_SCALE_AT * width + 4 * i);

                    REPEAT4(v, VECTORS,
                            f[v][i] = f_fma(f_convert(c[v][i]), f_mul(scale[v], x), f[v][i]);))
            if (low) {
                REPEAT4(v, VECTORS, scale[v] = f_load(lows + g * ROWS + v * LANES);)
                REPEAT6(i, width, vf x = f_broadcast(codes_sum + 4 * i);
                        REPEAT4(v, VECTORS, f[v][i] = f_fma(scale[v], x, f[v][i]);))
            }
        }
        columns += QGEMM_COLUMN_BYTES * width;
        codes += planes * 32 * ROWS;
        scales += groups * ROWS;
        lows += groups * ROWS;
    }
    REPEAT6(i, width, REPEAT4(v, VECTORS, f_store(sums + i * ROWS + v * LANES, f[v][i]);))
}

/* ---- activations -------------------------------------------------------------------------------
 */

/* 32 values to codes; what the portable round_block() gives. */
INLINE float round_block(const float *in, int8_t codes[32], int32_t sums[3])
{
    vf x[32 / LANES];
    vi most = i_zero();
    uint32_t bits;
    float largest;
    vf factor;

    REPEAT8(i, 32 / LANES, x[i] = f_load(in + i * LANES);
            most = i_max32(most, i_and(f_as_bits(x[i]), i_set32(0x7fffffff)));)
    bits = (uint32_t)i_most(most);
    memset(sums, 0, 3 * sizeof *sums);
    if (bits >= 0x7f800000u || bits < 0x0d800000u) { /* not finite; below 2^-100 */
        memset(codes, 0, 32);
        bits = bits >= 0x7f800000u ? 0x7fc00000u : 0;
        memcpy(&largest, &bits, sizeof largest);
        return largest;
    }
    memcpy(&largest, &bits, sizeof largest);
    factor = f_set(127.0f / largest);
    REPEAT2(half, 2, vi sum = i_zero();
            REPEAT4(i, 16 / LANES, vi rounded = i_round(f_mul(x[half * 16 / LANES + i], factor));

                    sum = i_add32(sum, rounded); i_store_s8(codes + half * 16 + i * LANES,
                                                            rounded);) sums[1 + half] = i_sum(sum);)
    sums[0] = sums[1] + sums[2];
    return largest / 127.0f;
}

static void quantize(int64_t k, const float *a, uint8_t *columns, int64_t width, int64_t column)
{
    for (int64_t from = 0; from < k; from += 32, columns += QGEMM_COLUMN_BYTES * width) {
        uint8_t *rest = columns + 32 * width + 4 * column;
        const float *in = a + from;
        float room[32] = {0.0f};
        int8_t codes[32];
        int32_t sums[3];
        float scale;

        if (k - from < 32) {
            memcpy(room, in, (size_t)(k - from) * sizeof *in);
            in = room;
        }
        scale = round_block(in, codes, sums);
        UNROLL for (int j = 0; j < 8; j++)
            memcpy(columns + 4 * (j * width + column), codes + 4 * j, 4);
        memcpy(rest, &scale, 4);
        UNROLL for (int i = 0; i < 3; i++)
        {
            float sum = scale * (float)sums[i];
            int32_t bias = -128 * sums[i];

            memcpy(rest + 4 * width * (1 + i), &sum, 4);
            memcpy(rest + 4 * width * (4 + i), &bias, 4);
        }
    }
}

/* ---- the table ---------------------------------------------------------------------------------
 */

#define MULTIPLY(NAME, GROUPS, PLANES, LOW, WIDE)                                                  \
    static void multiply_##NAME(const struct qgemm_tile *tile, int64_t blocks,                     \
                                const uint8_t *columns, int64_t width, float *sums, bool first)    \
    {                                                                                              \
        switch (width) {                                                                           \
            WIDTHS(GROUPS, PLANES, LOW, WIDE)                                                      \
        default:                                                                                   \
            break;                                                                                 \
        }                                                                                          \
    }
#define WIDTH(COUNT, ...)                                                                          \
    case COUNT:                                                                                    \
        multiply(__VA_ARGS__, COUNT, tile, blocks, columns, sums, first);                          \
        break;
#if TILE_COLUMNS == 6
#define WIDTHS(...)                                                                                \
    WIDTH(1, __VA_ARGS__)                                                                          \
    WIDTH(2, __VA_ARGS__)                                                                          \
    WIDTH(3, __VA_ARGS__)                                                                          \
    WIDTH(4, __VA_ARGS__)                                                                          \
    WIDTH(5, __VA_ARGS__)                                                                          \
    WIDTH(6, __VA_ARGS__)
#else
#define WIDTHS(...)                                                                                \
    WIDTH(1, __VA_ARGS__)                                                                          \
    WIDTH(2, __VA_ARGS__)                                                                          \
    WIDTH(3, __VA_ARGS__)
#endif
MULTIPLY(32_small, 1, 1, 0, 0)
MULTIPLY(32_wide, 1, 1, 0, 1)
MULTIPLY(32_low, 1, 1, 1, 0)
MULTIPLY(32_two, 1, 2, 0, 1)
MULTIPLY(16_small, 2, 1, 0, 0)
MULTIPLY(16_low, 2, 1, 1, 0)

#define TYPE(NAME)                                                                                 \
    static void unpack_##NAME(const struct qgemm_weights *weights, int64_t panel, int64_t from,    \
                              int64_t blocks, const struct qgemm_tile *tile, int64_t place)        \
    {                                                                                              \
        unpack(QGEMM_##NAME, weights, panel, from, blocks, tile, place);                           \
    }                                                                                              \
    static void direct_##NAME(const struct qgemm_weights *weights, int64_t panel,                  \
                              const uint8_t *columns, int64_t width, float *sums)                  \
    {                                                                                              \
        switch (width) {                                                                           \
            DIRECT_WIDTHS(NAME)                                                                    \
        default:                                                                                   \
            break;                                                                                 \
        }                                                                                          \
    }
#define DIRECT_WIDTH(COUNT, NAME)                                                                  \
    case COUNT:                                                                                    \
        direct(QGEMM_##NAME, weights, panel, columns, COUNT, sums);                                \
        break;
#if DIRECT_COLUMNS == 4
#define DIRECT_WIDTHS(NAME)                                                                        \
    DIRECT_WIDTH(1, NAME) DIRECT_WIDTH(2, NAME) DIRECT_WIDTH(3, NAME) DIRECT_WIDTH(4, NAME)
#else
#define DIRECT_WIDTHS(NAME) DIRECT_WIDTH(1, NAME) DIRECT_WIDTH(2, NAME)
#endif
TYPE(Q4_0)
TYPE(Q4_1)
TYPE(Q5_0)
TYPE(Q5_1)
TYPE(Q8_0)
TYPE(Q2_K)
TYPE(Q3_K)
TYPE(Q4_K)
TYPE(Q5_K)
TYPE(Q6_K)
TYPE(IQ4_NL)
TYPE(IQ4_XS)
TYPE(MXFP4)
TYPE(NF4)
TYPE(FP4)
TYPE(I8)

static void fill(struct qgemm_kernels *kernels, const char *name)
{
#define ROW(NAME, MULTIPLY)                                                                        \
    kernels->unpack[QGEMM_##NAME] = unpack_##NAME;                                                 \
    kernels->direct[QGEMM_##NAME] = direct_##NAME;                                                 \
    kernels->multiply[QGEMM_##NAME] = multiply_##MULTIPLY;
    ROW(Q4_0, 32_small)
    ROW(Q4_1, 32_low)
    ROW(Q5_0, 32_small)
    ROW(Q5_1, 32_low)
    ROW(Q8_0, 32_wide)
    ROW(Q2_K, 16_low)
    ROW(Q3_K, 16_small)
    ROW(Q4_K, 32_low)
    ROW(Q5_K, 32_low)
    ROW(Q6_K, 16_small)
    ROW(IQ4_NL, 32_wide)
    ROW(IQ4_XS, 32_wide)
    ROW(MXFP4, 32_small)
    ROW(NF4, 32_two)
    ROW(FP4, 32_two)
    ROW(I8, 32_wide)
#undef ROW
    kernels->name = name;
    kernels->tile_panels = TILE_PANELS;
    kernels->tile_columns = TILE_COLUMNS;
    kernels->direct_columns = DIRECT_COLUMNS;
    kernels->direct_rows = DIRECT_ROWS;
    kernels->quantize = quantize;
}

#endif
