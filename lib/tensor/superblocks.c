/* SPDX-License-Identifier: MIT
 *
 * Quantized blocks of 256 values: a scale for the whole, small integer scales (and minimums) for
 * runs of 16 or 32. Reading gives what ggml's reference gives; quantizing searches the scales of
 * least squared error, weighted by the squares of the values. Called through the table in dtype.c.
 */
#include "tensor/blocks.h"

#include "kernels/half.h"

#include <math.h>
#include <string.h>

enum { SIZE = 256 };

static float load_half(const uint8_t *bytes)
{
    return half_f16_to_f32((uint16_t)(bytes[0] | bytes[1] << 8));
}

/* Stores the nearest half and returns it. */
static float store_half(uint8_t *bytes, float value)
{
    uint16_t half = half_f32_to_f16(value);

    bytes[0] = (uint8_t)half;
    bytes[1] = (uint8_t)(half >> 8);
    return half_f16_to_f32(half);
}

/* Nearest integer in [low, high]; NaN becomes 0, or the bound next to it. */
static int nearest(float value, int low, int high)
{
    if (!(value == value))
        value = 0.0f;
    if (value <= (float)low)
        return low;
    return value < (float)high ? (int)lrintf(value) : high;
}

static float inverse(float scale)
{
    return scale != 0.0f ? 1.0f / scale : 0.0f;
}

/* ---- searches ----------------------------------------------------------------------------------
 */

/* x ~ scale * q, q in [-most, most - 1]. */
static float fit_symmetric(const float *in, int count, int most)
{
    double best = -1.0;
    float edge = 0.0f;
    float scale = 0.0f;

    for (int i = 0; i < count; i++)
        edge = fabsf(in[i]) > fabsf(edge) ? in[i] : edge;
    if (!(fabsf(edge) > 1e-30f) || !isfinite(edge))
        return 0.0f;
    for (int step = -9; step <= 9; step++) {
        float factor = -((float)most + 0.1f * (float)step) / edge;
        double product = 0.0;
        double square = 0.0;

        for (int i = 0; i < count; i++) {
            double weight = (double)in[i] * (double)in[i];
            double q = nearest(in[i] * factor, -most, most - 1);

            product += weight * q * (double)in[i];
            square += weight * q * q;
        }
        if (square > 0.0 && product * product > best * square) {
            best = product * product / square;
            scale = (float)(product / square);
        }
    }
    return scale;
}

struct affine {
    float scale, low; /* x ~ scale * q - low, both not negative */
};

/* One candidate: q from `factor`, then the least-squares line through it. Its weighted error. */
static double try_affine(struct affine *fit, const float *in, const double *weight, int count,
                         int most, float bottom, float factor)
{
    double w = 0.0, wq = 0.0, wqq = 0.0, wx = 0.0, wqx = 0.0, error = 0.0;
    double scale, low, determinant;

    for (int i = 0; i < count; i++) {
        double q = nearest((in[i] - bottom) * factor, 0, most);

        w += weight[i];
        wq += weight[i] * q;
        wqq += weight[i] * q * q;
        wx += weight[i] * (double)in[i];
        wqx += weight[i] * q * (double)in[i];
    }
    determinant = w * wqq - wq * wq;
    if (!(determinant > 0.0))
        return HUGE_VAL;
    scale = (w * wqx - wq * wx) / determinant;
    low = (wq * wqx - wqq * wx) / determinant;
    if (low < 0.0) { /* minimums have no sign */
        low = 0.0;
        scale = wqq > 0.0 ? wqx / wqq : 0.0;
    }
    if (!(scale > 0.0))
        return HUGE_VAL;
    for (int i = 0; i < count; i++) {
        double q = nearest((float)(((double)in[i] + low) / scale), 0, most);
        double difference = scale * q - low - (double)in[i];

        error += weight[i] * difference * difference;
    }
    fit->scale = (float)scale;
    fit->low = (float)low;
    return error;
}

/* x ~ scale * q - low, q in [0, most]. */
static struct affine fit_affine(const float *in, int count, int most)
{
    struct affine best = {0.0f, 0.0f};
    double least = HUGE_VAL;
    double weight[32];
    float low = in[0];
    float high = in[0];
    double square = 0.0;

    for (int i = 0; i < count; i++) {
        low = in[i] < low ? in[i] : low;
        high = in[i] > high ? in[i] : high;
        square += (double)in[i] * (double)in[i];
    }
    if (low > 0.0f)
        low = 0.0f;
    if (!isfinite(high) || !isfinite(low) || !(square >= 0.0))
        return best;
    best.low = -low;
    if (!(high - low > 1e-30f)) /* all the same, and not positive */
        return best;
    for (int i = 0; i < count; i++)
        weight[i] = sqrt(square / count) + fabs((double)in[i]);
    for (int step = -10; step <= 10; step++) {
        struct affine fit;
        double error = try_affine(&fit, in, weight, count, most, low,
                                  ((float)most + 0.1f * (float)step) / (high - low));

        if (error < least) {
            least = error;
            best = fit;
        }
    }
    if (least == HUGE_VAL)
        best.scale = (high - low) / (float)most;
    return best;
}

/* ---- Q2_K --------------------------------------------------------------------------------------
 */

void q2_k_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 84) {
        float scale = load_half(block + 80);
        float low = load_half(block + 82);

        for (int i = 0; i < SIZE; i++) {
            int run = i / 16;
            int q = block[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;

            out[i] = scale * (float)(block[run] & 15) * (float)q - low * (float)(block[run] >> 4);
        }
    }
}

void q2_k_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;

    for (; count > 0; count -= SIZE, in += SIZE, block += 84) {
        struct affine runs[16];
        float scale = 0.0f, low = 0.0f;

        memset(block, 0, 84);
        for (int i = 0; i < 16; i++) {
            runs[i] = fit_affine(in + 16 * i, 16, 3);
            scale = runs[i].scale > scale ? runs[i].scale : scale;
            low = runs[i].low > low ? runs[i].low : low;
        }
        scale = store_half(block + 80, scale / 15.0f);
        low = store_half(block + 82, low / 15.0f);
        for (int i = 0; i < 16; i++)
            block[i] = (uint8_t)(nearest(runs[i].scale * inverse(scale), 0, 15) |
                                 nearest(runs[i].low * inverse(low), 0, 15) << 4);
        for (int i = 0; i < SIZE; i++) {
            float factor = inverse(scale * (float)(block[i / 16] & 15));
            float shift = low * (float)(block[i / 16] >> 4);

            block[16 + i / 128 * 32 + i % 32] |=
                (uint8_t)(nearest((in[i] + shift) * factor, 0, 3) << (i % 128 / 32 * 2));
        }
    }
}

/* ---- Q3_K --------------------------------------------------------------------------------------
 */

/* 16 scales of 6 bits: four low bits in bytes 0..7, two high bits in bytes 8..11. */
static int q3_scale(const uint8_t *packed, int run)
{
    int low = run < 8 ? packed[run] & 15 : packed[run - 8] >> 4;

    return (low | (packed[8 + run % 4] >> (run / 4 * 2) & 3) << 4) - 32;
}

void q3_k_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 110) {
        float scale = load_half(block + 108);

        for (int i = 0; i < SIZE; i++) {
            int low = block[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
            int high = block[i % 32] >> (i / 32) & 1;

            out[i] = scale * (float)q3_scale(block + 96, i / 16) * (float)(low - (high ? 0 : 4));
        }
    }
}

void q3_k_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;

    for (; count > 0; count -= SIZE, in += SIZE, block += 110) {
        float runs[16];
        float edge = 0.0f;
        float scale;

        memset(block, 0, 110);
        for (int i = 0; i < 16; i++) {
            runs[i] = fit_symmetric(in + 16 * i, 16, 4);
            edge = fabsf(runs[i]) > fabsf(edge) ? runs[i] : edge;
        }
        scale = store_half(block + 108, edge / -32.0f);
        for (int i = 0; i < 16; i++) {
            int packed = nearest(runs[i] * inverse(scale), -32, 31) + 32;

            block[96 + i % 8] |= (uint8_t)((packed & 15) << (i / 8 * 4));
            block[104 + i % 4] |= (uint8_t)((packed >> 4) << (i / 4 * 2));
        }
        for (int i = 0; i < SIZE; i++) {
            float factor = inverse(scale * (float)q3_scale(block + 96, i / 16));
            int q = nearest(in[i] * factor, -4, 3) + 4;

            block[32 + i / 128 * 32 + i % 32] |= (uint8_t)((q & 3) << (i % 128 / 32 * 2));
            block[i % 32] |= (uint8_t)((q >> 2) << (i / 32));
        }
    }
}

/* ---- Q4_K, Q5_K --------------------------------------------------------------------------------
 */

/* Eight pairs of 6 bits in 12 bytes. */
static void unpack_pair(int *scale, int *low, const uint8_t *packed, int run)
{
    if (run < 4) {
        *scale = packed[run] & 63;
        *low = packed[run + 4] & 63;
    } else {
        *scale = (packed[run + 4] & 15) | packed[run - 4] >> 6 << 4;
        *low = packed[run + 4] >> 4 | packed[run] >> 6 << 4;
    }
}

static void pack_pair(uint8_t *packed, int run, int scale, int low)
{
    if (run < 4) {
        packed[run] = (uint8_t)(packed[run] | scale);
        packed[run + 4] = (uint8_t)(packed[run + 4] | low);
    } else {
        packed[run + 4] = (uint8_t)((scale & 15) | (low & 15) << 4);
        packed[run - 4] = (uint8_t)(packed[run - 4] | (scale >> 4) << 6);
        packed[run] = (uint8_t)(packed[run] | (low >> 4) << 6);
    }
}

/* Fills the 16 bytes of scales that both types begin with, and the 256 levels. */
static void quantize_pairs(uint8_t *block, uint8_t levels[SIZE], const float *in, int most)
{
    struct affine runs[8];
    float scale = 0.0f, low = 0.0f;

    memset(block, 0, 16);
    for (int i = 0; i < 8; i++) {
        runs[i] = fit_affine(in + 32 * i, 32, most);
        scale = runs[i].scale > scale ? runs[i].scale : scale;
        low = runs[i].low > low ? runs[i].low : low;
    }
    scale = store_half(block, scale / 63.0f);
    low = store_half(block + 2, low / 63.0f);
    for (int i = 0; i < 8; i++) {
        int small = nearest(runs[i].scale * inverse(scale), 0, 63);
        int minimum = nearest(runs[i].low * inverse(low), 0, 63);
        float factor = inverse(scale * (float)small);
        float shift = low * (float)minimum;

        pack_pair(block + 4, i, small, minimum);
        for (int j = 32 * i; j < 32 * i + 32; j++)
            levels[j] = (uint8_t)nearest((in[j] + shift) * factor, 0, most);
    }
}

void q4_k_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 144) {
        for (int run = 0; run < 8; run++) {
            const uint8_t *nibbles = block + 16 + run / 2 * 32;
            int scale, low;
            float factor, shift;

            unpack_pair(&scale, &low, block + 4, run);
            factor = load_half(block) * (float)scale;
            shift = load_half(block + 2) * (float)low;
            for (int i = 0; i < 32; i++)
                out[32 * run + i] = factor * (float)(nibbles[i] >> (run % 2 * 4) & 15) - shift;
        }
    }
}

void q4_k_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;
    uint8_t levels[SIZE];

    for (; count > 0; count -= SIZE, in += SIZE, block += 144) {
        quantize_pairs(block, levels, in, 15);
        for (int i = 0; i < 128; i++) {
            const uint8_t *pair = levels + i / 32 * 64 + i % 32;

            block[16 + i] = (uint8_t)(pair[0] | pair[32] << 4);
        }
    }
}

void q5_k_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 176) {
        for (int run = 0; run < 8; run++) {
            const uint8_t *nibbles = block + 48 + run / 2 * 32;
            int scale, low;
            float factor, shift;

            unpack_pair(&scale, &low, block + 4, run);
            factor = load_half(block) * (float)scale;
            shift = load_half(block + 2) * (float)low;
            for (int i = 0; i < 32; i++) {
                int q = (nibbles[i] >> (run % 2 * 4) & 15) | (block[16 + i] >> run & 1) << 4;

                out[32 * run + i] = factor * (float)q - shift;
            }
        }
    }
}

void q5_k_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;
    uint8_t levels[SIZE];

    for (; count > 0; count -= SIZE, in += SIZE, block += 176) {
        quantize_pairs(block, levels, in, 31);
        memset(block + 16, 0, 32);
        for (int i = 0; i < SIZE; i++)
            block[16 + i % 32] |= (uint8_t)((levels[i] >> 4) << (i / 32));
        for (int i = 0; i < 128; i++) {
            const uint8_t *pair = levels + i / 32 * 64 + i % 32;

            block[48 + i] = (uint8_t)((pair[0] & 15) | (pair[32] & 15) << 4);
        }
    }
}

/* ---- Q6_K --------------------------------------------------------------------------------------
 */

void q6_k_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 210) {
        float scale = load_half(block + 208);

        for (int i = 0; i < SIZE; i++) {
            int part = i % 128 / 32;
            int low = block[i / 128 * 64 + i % 64] >> (part / 2 * 4) & 15;
            int high = block[128 + i / 128 * 32 + i % 32] >> (part * 2) & 3;

            out[i] = scale * (float)(int8_t)block[192 + i / 16] * (float)((low | high << 4) - 32);
        }
    }
}

void q6_k_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;

    for (; count > 0; count -= SIZE, in += SIZE, block += 210) {
        float runs[16];
        float edge = 0.0f;
        float scale;

        memset(block, 0, 210);
        for (int i = 0; i < 16; i++) {
            runs[i] = fit_symmetric(in + 16 * i, 16, 32);
            edge = fabsf(runs[i]) > fabsf(edge) ? runs[i] : edge;
        }
        scale = store_half(block + 208, edge / -128.0f);
        for (int i = 0; i < 16; i++)
            block[192 + i] = (uint8_t)nearest(runs[i] * inverse(scale), -128, 127);
        for (int i = 0; i < SIZE; i++) {
            float factor = inverse(scale * (float)(int8_t)block[192 + i / 16]);
            int q = nearest(in[i] * factor, -32, 31) + 32;
            int part = i % 128 / 32;

            block[i / 128 * 64 + i % 64] |= (uint8_t)((q & 15) << (part / 2 * 4));
            block[128 + i / 128 * 32 + i % 32] |= (uint8_t)((q >> 4) << (part * 2));
        }
    }
}

/* ---- IQ4_XS ------------------------------------------------------------------------------------
 */

void iq4_xs_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 136) {
        float scale = load_half(block);
        int high = block[2] | block[3] << 8;

        for (int run = 0; run < 8; run++) {
            int packed = (block[4 + run / 2] >> (run % 2 * 4) & 15) | (high >> (2 * run) & 3) << 4;
            float factor = scale * (float)(packed - 32);

            for (int i = 0; i < 16; i++) {
                out[32 * run + i] = factor * (float)iq4_values[block[8 + 16 * run + i] & 15];
                out[32 * run + 16 + i] = factor * (float)iq4_values[block[8 + 16 * run + i] >> 4];
            }
        }
    }
}

void iq4_xs_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;

    for (; count > 0; count -= SIZE, in += SIZE, block += 136) {
        float runs[8];
        float edge = 0.0f;
        float scale;
        int high = 0;

        memset(block, 0, 136);
        for (int i = 0; i < 8; i++) {
            runs[i] = iq4_fit(in + 32 * i);
            edge = fabsf(runs[i]) > fabsf(edge) ? runs[i] : edge;
        }
        scale = store_half(block, edge / -32.0f);
        for (int run = 0; run < 8; run++) {
            int packed = nearest(runs[run] * inverse(scale), -32, 31) + 32;
            float factor = inverse(scale * (float)(packed - 32));

            block[4 + run / 2] |= (uint8_t)((packed & 15) << (run % 2 * 4));
            high |= (packed >> 4) << (2 * run);
            for (int i = 0; i < 32; i++)
                block[8 + 16 * run + i % 16] |=
                    (uint8_t)(iq4_nearest(in[32 * run + i] * factor) << (i / 16 * 4));
        }
        block[2] = (uint8_t)high;
        block[3] = (uint8_t)(high >> 8);
    }
}

/* ---- TQ1_0, TQ2_0: -1, 0, 1 --------------------------------------------------------------------
 */

static const uint8_t powers[5] = {1, 3, 9, 27, 81};

/* Where value i of a TQ1_0 block lies: its byte, and which base-3 digit of it. */
static int ternary_place(int i, int *digit)
{
    if (i < 160) {
        *digit = i / 32;
        return i % 32;
    }
    if (i < 240) {
        *digit = (i - 160) / 16;
        return 32 + (i - 160) % 16;
    }
    *digit = (i - 240) / 4;
    return 48 + (i - 240) % 4;
}

static float largest(const float *in)
{
    float most = 0.0f;

    for (int i = 0; i < SIZE; i++)
        most = fabsf(in[i]) > most ? fabsf(in[i]) : most;
    return most;
}

/* 0, 1, 2 for -1, 0, 1; halves away from zero. */
static uint8_t ternary(float value)
{
    return (uint8_t)(value >= 0.5f ? 2 : value <= -0.5f ? 0 : 1);
}

void tq1_0_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 54) {
        float scale = load_half(block + 52);

        for (int i = 0; i < SIZE; i++) {
            int digit;
            int byte = ternary_place(i, &digit);
            uint8_t shifted = (uint8_t)(block[byte] * powers[digit]);

            out[i] = scale * (float)((shifted * 3 >> 8) - 1);
        }
    }
}

void tq1_0_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;

    for (; count > 0; count -= SIZE, in += SIZE, block += 54) {
        float scale = largest(in);
        float factor = inverse(scale);
        int digits[52] = {0};

        for (int i = 0; i < SIZE; i++) {
            int digit;
            int byte = ternary_place(i, &digit);

            digits[byte] += ternary(in[i] * factor) * powers[4 - digit];
        }
        for (int i = 0; i < 52; i++)
            block[i] = (uint8_t)((digits[i] * 256 + 242) / 243);
        (void)store_half(block + 52, scale);
    }
}

void tq2_0_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 66) {
        float scale = load_half(block + 64);

        for (int i = 0; i < SIZE; i++) {
            int q = block[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;

            out[i] = scale * (float)(q - 1);
        }
    }
}

void tq2_0_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;

    for (; count > 0; count -= SIZE, in += SIZE, block += 66) {
        float scale = largest(in);
        float factor = inverse(scale);

        memset(block, 0, 64);
        for (int i = 0; i < SIZE; i++)
            block[i / 128 * 32 + i % 32] |=
                (uint8_t)(ternary(in[i] * factor) << (i % 128 / 32 * 2));
        (void)store_half(block + 64, scale);
    }
}
