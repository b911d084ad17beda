/* SPDX-License-Identifier: MIT
 *
 * Quantized blocks of 32 values: a scale, perhaps a minimum, and 4, 5 or 8 bits per value. The low
 * nibbles of a block are its first 16 values, the high ones the rest. Quantizing gives the same
 * bytes as ggml's reference quantizers; whatever the input, NaN and infinities included, every
 * conversion to an integer is in range. Called through the table in dtype.c.
 */
#include "tensor/blocks.h"

#include "kernels/half.h"

#include <math.h>

enum { SIZE = 32, HALF = 16 };

static float load_half(const uint8_t *bytes)
{
    return half_f16_to_f32((uint16_t)(bytes[0] | bytes[1] << 8));
}

static void store_half(uint8_t *bytes, float value)
{
    uint16_t half = half_f32_to_f16(value);

    bytes[0] = (uint8_t)half;
    bytes[1] = (uint8_t)(half >> 8);
}

static uint32_t load_bits(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static void store_bits(uint8_t *bytes, uint32_t bits)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(bits >> (8 * i));
}

/* Truncated into 0..most; NaN becomes 0. */
static uint8_t level(float value, int most)
{
    if (!(value > 0.0f))
        return 0;
    return value < (float)most ? (uint8_t)value : (uint8_t)most;
}

/* The value of largest magnitude, with its sign: the first of equals. */
static float extreme(const float *in)
{
    float most = 0.0f;
    float value = in[0];

    for (int i = 0; i < SIZE; i++) {
        if (fabsf(in[i]) > most) {
            most = fabsf(in[i]);
            value = in[i];
        }
    }
    return value;
}

static void range(const float *in, float *low, float *high)
{
    *low = *high = in[0];
    for (int i = 1; i < SIZE; i++) {
        *low = in[i] < *low ? in[i] : *low;
        *high = in[i] > *high ? in[i] : *high;
    }
}

static float inverse(float scale)
{
    return scale != 0.0f ? 1.0f / scale : 0.0f;
}

static void store_nibbles(uint8_t *out, const uint8_t levels[SIZE])
{
    for (int i = 0; i < HALF; i++)
        out[i] = (uint8_t)((levels[i] & 15) | levels[i + HALF] << 4);
}

/* Bit i of the result is the fifth bit of value i. */
static uint32_t fifth_bits(const uint8_t levels[SIZE])
{
    uint32_t bits = 0;

    for (int i = 0; i < SIZE; i++)
        bits |= (uint32_t)(levels[i] >> 4) << i;
    return bits;
}

/* ---- Q4_0, Q4_1 --------------------------------------------------------------------------------
 */

void q4_0_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 18) {
        float scale = load_half(block);

        for (int i = 0; i < HALF; i++) {
            out[i] = (float)((block[2 + i] & 15) - 8) * scale;
            out[i + HALF] = (float)((block[2 + i] >> 4) - 8) * scale;
        }
    }
}

void q4_0_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;
    uint8_t levels[SIZE];

    for (; count > 0; count -= SIZE, in += SIZE, block += 18) {
        float scale = extreme(in) / -8.0f;
        float factor = inverse(scale);

        for (int i = 0; i < SIZE; i++)
            levels[i] = level(in[i] * factor + 8.5f, 15);
        store_half(block, scale);
        store_nibbles(block + 2, levels);
    }
}

void q4_1_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 20) {
        float scale = load_half(block);
        float low = load_half(block + 2);

        for (int i = 0; i < HALF; i++) {
            out[i] = (float)(block[4 + i] & 15) * scale + low;
            out[i + HALF] = (float)(block[4 + i] >> 4) * scale + low;
        }
    }
}

void q4_1_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;
    uint8_t levels[SIZE];

    for (; count > 0; count -= SIZE, in += SIZE, block += 20) {
        float low, high, scale, factor;

        range(in, &low, &high);
        scale = (high - low) / 15.0f;
        factor = inverse(scale);
        for (int i = 0; i < SIZE; i++)
            levels[i] = level((in[i] - low) * factor + 0.5f, 15);
        store_half(block, scale);
        store_half(block + 2, low);
        store_nibbles(block + 4, levels);
    }
}

/* ---- Q5_0, Q5_1 --------------------------------------------------------------------------------
 */

void q5_0_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 22) {
        float scale = load_half(block);
        uint32_t high = load_bits(block + 2);

        for (int i = 0; i < HALF; i++) {
            int first = (block[6 + i] & 15) | (int)(high >> i & 1) << 4;
            int second = block[6 + i] >> 4 | (int)(high >> (i + HALF) & 1) << 4;

            out[i] = (float)(first - 16) * scale;
            out[i + HALF] = (float)(second - 16) * scale;
        }
    }
}

void q5_0_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;
    uint8_t levels[SIZE];

    for (; count > 0; count -= SIZE, in += SIZE, block += 22) {
        float scale = extreme(in) / -16.0f;
        float factor = inverse(scale);

        for (int i = 0; i < SIZE; i++)
            levels[i] = level(in[i] * factor + 16.5f, 31);
        store_half(block, scale);
        store_bits(block + 2, fifth_bits(levels));
        store_nibbles(block + 6, levels);
    }
}

void q5_1_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 24) {
        float scale = load_half(block);
        float low = load_half(block + 2);
        uint32_t high = load_bits(block + 4);

        for (int i = 0; i < HALF; i++) {
            int first = (block[8 + i] & 15) | (int)(high >> i & 1) << 4;
            int second = block[8 + i] >> 4 | (int)(high >> (i + HALF) & 1) << 4;

            out[i] = (float)first * scale + low;
            out[i + HALF] = (float)second * scale + low;
        }
    }
}

void q5_1_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;
    uint8_t levels[SIZE];

    for (; count > 0; count -= SIZE, in += SIZE, block += 24) {
        float low, high, scale, factor;

        range(in, &low, &high);
        scale = (high - low) / 31.0f;
        factor = inverse(scale);
        for (int i = 0; i < SIZE; i++)
            levels[i] = level((in[i] - low) * factor + 0.5f, 31);
        store_half(block, scale);
        store_half(block + 2, low);
        store_bits(block + 4, fifth_bits(levels));
        store_nibbles(block + 8, levels);
    }
}

/* ---- Q8_0 --------------------------------------------------------------------------------------
 */

void q8_0_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 34) {
        float scale = load_half(block);

        for (int i = 0; i < SIZE; i++)
            out[i] = (float)(int8_t)block[2 + i] * scale;
    }
}

void q8_0_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;

    for (; count > 0; count -= SIZE, in += SIZE, block += 34) {
        float scale = fabsf(extreme(in)) / 127.0f;
        float factor = inverse(scale);

        for (int i = 0; i < SIZE; i++) {
            float value = roundf(in[i] * factor);
            int whole = value > -127.0f ? (value < 127.0f ? (int)value : 127) : -127;

            block[2 + i] = (uint8_t)(value == value ? whole : 0);
        }
        store_half(block, scale);
    }
}

/* ---- IQ4_NL ------------------------------------------------------------------------------------
 */

const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                               1,    13,   25,  38,  53,  69,  89,  113};

int iq4_nearest(float x)
{
    int low = 0;
    int high = 15;

    if (!(x > (float)iq4_values[0]))
        return 0;
    if (x >= (float)iq4_values[15])
        return 15;
    while (high - low > 1) {
        int middle = (low + high) / 2;

        if (x < (float)iq4_values[middle])
            high = middle;
        else
            low = middle;
    }
    return x - (float)iq4_values[low] < (float)iq4_values[high] - x ? low : high;
}

void iq4_nl_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 18) {
        float scale = load_half(block);

        for (int i = 0; i < HALF; i++) {
            out[i] = scale * (float)iq4_values[block[2 + i] & 15];
            out[i + HALF] = scale * (float)iq4_values[block[2 + i] >> 4];
        }
    }
}

/* The scale of least squared error, weighted by the squares of the values, among fits whose largest
 * value lies near the end of the table. */
float iq4_fit(const float *in)
{
    float edge = extreme(in);
    double best = -1.0;
    float scale = 0.0f;

    if (!(fabsf(edge) > 1e-30f) || !isfinite(edge))
        return 0.0f;
    for (int step = -7; step <= 7; step++) {
        float factor = ((float)step - 127.0f) / edge;
        double product = 0.0;
        double square = 0.0;

        for (int i = 0; i < SIZE; i++) {
            double weight = (double)in[i] * (double)in[i];
            double value = iq4_values[iq4_nearest(in[i] * factor)];

            product += weight * value * (double)in[i];
            square += weight * value * value;
        }
        if (square > 0.0 && product * product > best * square) {
            best = product * product / square;
            scale = (float)(product / square);
        }
    }
    return scale;
}

void iq4_nl_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;
    uint8_t levels[SIZE];

    for (; count > 0; count -= SIZE, in += SIZE, block += 18) {
        float scale = iq4_fit(in);
        float factor = inverse(scale);

        for (int i = 0; i < SIZE; i++)
            levels[i] = (uint8_t)iq4_nearest(in[i] * factor);
        store_half(block, scale);
        store_nibbles(block + 2, levels);
    }
}

/* ---- MXFP4 -------------------------------------------------------------------------------------
 */

/* The four-bit floats, doubled; the shared exponent is halved to match. */
static const int8_t e2m1_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static float half_exponent(uint8_t exponent)
{
    return ldexpf(1.0f, exponent - 128);
}

void mxfp4_load(float *out, const void *in, int64_t count)
{
    const uint8_t *block = in;

    for (; count > 0; count -= SIZE, out += SIZE, block += 17) {
        float scale = half_exponent(block[0]);

        for (int i = 0; i < HALF; i++) {
            out[i] = scale * (float)e2m1_values[block[1 + i] & 15];
            out[i + HALF] = scale * (float)e2m1_values[block[1 + i] >> 4];
        }
    }
}

void mxfp4_store(void *out, const float *in, int64_t count)
{
    uint8_t *block = out;
    uint8_t levels[SIZE];

    for (; count > 0; count -= SIZE, in += SIZE, block += 17) {
        float most = fabsf(extreme(in));
        float exponent = most > 0.0f ? floorf(log2f(most)) - 2.0f + 127.0f : 0.0f;
        float scale;

        block[0] = level(exponent, 254);
        scale = half_exponent(block[0]);
        for (int i = 0; i < SIZE; i++) {
            float nearest = INFINITY;

            levels[i] = 0;
            for (uint8_t j = 0; j < 16; j++) {
                float error = fabsf(scale * (float)e2m1_values[j] - in[i]);

                if (error < nearest) {
                    nearest = error;
                    levels[i] = j;
                }
            }
        }
        store_nibbles(block + 1, levels);
    }
}
