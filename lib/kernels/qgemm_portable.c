/* SPDX-License-Identifier: MIT
 *
 * The quantized matrix product in portable C, the definition of its bits: unpacking through
 * qgemm_decode(), products in loops. Tiles are one panel with signed codes, or codes of two bytes
 * for the types of two planes.
 */
#include "kernels/qgemm_kernel.h"

#include <math.h>
#include <string.h>

enum { TILE_COLUMNS = 4 };

/* ---- activations ------------------------------------------------------------------------------
 */

/* x * 127 / largest, to nearest even, as adding 1.5 * 2^23 rounds it. */
static void round_block(const float *in, int64_t count, int8_t codes[32], float *scale)
{
    uint32_t most = 0;
    float largest, factor;

    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;

        memcpy(&bits, in + i, sizeof bits);
        bits &= 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    memcpy(&largest, &most, sizeof largest);
    memset(codes, 0, 32);
    *scale = 0.0f;
    if (most >= 0x7f800000u)
        *scale = NAN;
    else if (largest >= 0x1p-100f)
        *scale = largest / 127.0f;
    if (!(*scale > 0.0f))
        return;
    factor = 127.0f / largest;
    for (int64_t i = 0; i < count; i++) {
        float shifted = in[i] * factor + 0x1.8p23f;
        uint32_t bits;

        memcpy(&bits, &shifted, sizeof bits);
        codes[i] = (int8_t)(int32_t)(bits - 0x4b400000u);
    }
}

static void quantize(int64_t k, const float *a, uint8_t *columns, int64_t width, int64_t column)
{
    for (int64_t from = 0; from < k; from += 32, columns += QGEMM_COLUMN_BYTES * width) {
        uint8_t *rest = columns + 32 * width + 4 * column;
        int32_t sums[3] = {0, 0, 0};
        int8_t codes[32];
        float scale;

        round_block(a + from, k - from < 32 ? k - from : 32, codes, &scale);
        for (int i = 0; i < 32; i++) {
            sums[0] += codes[i];
            sums[1 + i / 16] += codes[i];
        }
        for (int j = 0; j < 8; j++)
            memcpy(columns + 4 * (j * width + column), codes + 4 * j, 4);
        memcpy(rest, &scale, 4);
        for (int i = 0; i < 3; i++) {
            float sum = scale * (float)sums[i];
            int32_t bias = -128 * sums[i];

            memcpy(rest + 4 * width * (1 + i), &sum, 4);
            memcpy(rest + 4 * width * (4 + i), &bias, 4);
        }
    }
}

/* ---- weights ----------------------------------------------------------------------------------
 */

/* Codes as int8, or int16 where they have two planes: [block][8][16][4]. */
static void unpack(const struct qgemm_weights *weights, int64_t panel, int64_t from, int64_t blocks,
                   const struct qgemm_tile *tile, int64_t place)
{
    const struct qgemm_traits *traits = &qgemm_traits[weights->type];
    int64_t per_unit = traits->unit / 32;
    int16_t *wide = (int16_t *)(void *)tile->codes;
    int8_t *narrow = (int8_t *)tile->codes;
    int groups = traits->groups;

    (void)place;
    for (int64_t block = 0; block < blocks; block += per_unit) {
        for (int64_t lane = 0; lane < QGEMM_PANEL; lane++) {
            struct qgemm_decoded decoded;
            int64_t at = block * 512 + 4 * lane;

            qgemm_decode(weights, panel * QGEMM_PANEL + lane, (from + block) / per_unit, &decoded);
            for (int i = 0; i < traits->unit; i++) {
                if (traits->planes > 1)
                    wide[at + i / 4 * 64 + i % 4] = decoded.codes[i];
                else
                    narrow[at + i / 4 * 64 + i % 4] = (int8_t)decoded.codes[i];
            }
            for (int64_t g = 0; g < per_unit * groups; g++) {
                tile->scales[(block * groups + g) * QGEMM_PANEL + lane] = decoded.scales[g];
                tile->lows[(block * groups + g) * QGEMM_PANEL + lane] = decoded.lows[g];
            }
        }
    }
}

/* Steps `from` to `to` of one block: 16 exact sums. */
static inline void dot(const void *codes, const int planes, int from, int to, const uint8_t *column,
                       int64_t width, int32_t sums[QGEMM_PANEL])
{
    const int16_t *wide = codes;
    const int8_t *narrow = codes;

    memset(sums, 0, QGEMM_PANEL * sizeof *sums);
    for (int j = from; j < to; j++) {
        int8_t x[4];

        memcpy(x, column + 4 * j * width, 4);
        for (int lane = 0; lane < QGEMM_PANEL; lane++) {
            for (int i = 0; i < 4; i++)
                sums[lane] += x[i] * (planes > 1 ? wide[64 * j + 4 * lane + i]
                                                 : narrow[64 * j + 4 * lane + i]);
        }
    }
}

static inline void multiply(const struct qgemm_tile *tile, int64_t blocks, const uint8_t *columns,
                            int64_t width, float *sums, bool first, const int groups,
                            const int planes, const bool low)
{
    if (first)
        memset(sums, 0, (size_t)(width * QGEMM_PANEL) * sizeof *sums);
    for (int64_t at = 0; at < blocks * groups; at++) {
        const uint8_t *block = columns + at / groups * QGEMM_COLUMN_BYTES * width;
        const float *scales = tile->scales + at * QGEMM_PANEL;
        const float *lows = tile->lows + at * QGEMM_PANEL;
        int half = (int)(at % groups);

        for (int64_t column = 0; column < width; column++) {
            float *sum = sums + column * QGEMM_PANEL;
            int32_t exact[QGEMM_PANEL];
            float scale, codes;

            dot(tile->codes + at / groups * 512 * planes, planes, half * 4, half * 4 + 8 / groups,
                block + 4 * column, width, exact);
            memcpy(&scale, block + QGEMM_SCALE_AT * width + 4 * column, 4);
            memcpy(&codes,
                   block + (QGEMM_SUM_AT + (groups - 1) * 4 * (1 + half)) * width + 4 * column, 4);
            for (int lane = 0; lane < QGEMM_PANEL; lane++) {
                sum[lane] = fmaf((float)exact[lane], scales[lane] * scale, sum[lane]);
                if (low)
                    sum[lane] = fmaf(lows[lane], codes, sum[lane]);
            }
        }
    }
}

#define MULTIPLY(name, groups, planes, low)                                                        \
    static void name(const struct qgemm_tile *tile, int64_t blocks, const uint8_t *columns,        \
                     int64_t width, float *sums, bool first)                                       \
    {                                                                                              \
        multiply(tile, blocks, columns, width, sums, first, groups, planes, low);                  \
    }
MULTIPLY(multiply_32, 1, 1, false)
MULTIPLY(multiply_32_low, 1, 1, true)
MULTIPLY(multiply_32_two, 1, 2, false)
MULTIPLY(multiply_16, 2, 1, false)
MULTIPLY(multiply_16_low, 2, 1, true)
#undef MULTIPLY

void qgemm_fill_portable(struct qgemm_kernels *kernels)
{
    kernels->name = "scalar";
    kernels->tile_panels = 1;
    kernels->tile_columns = TILE_COLUMNS;
    kernels->direct_columns = 1;
    kernels->direct_rows = 0;
    kernels->quantize = quantize;
    for (int type = 0; type < QGEMM_TYPES; type++) {
        const struct qgemm_traits *traits = &qgemm_traits[type];

        kernels->unpack[type] = unpack;
        if (traits->planes > 1)
            kernels->multiply[type] = multiply_32_two;
        else if (traits->groups > 1)
            kernels->multiply[type] = traits->low ? multiply_16_low : multiply_16;
        else
            kernels->multiply[type] = traits->low ? multiply_32_low : multiply_32;
    }
}
