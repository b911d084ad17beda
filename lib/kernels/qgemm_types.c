/* SPDX-License-Identifier: MIT
 *
 * The types of quantized weights: which fields a block of a file has, what its bits mean. Decoding
 * in plain C, from the block that qgemm_pack.c restores, is what the kernels' unpacking is compared
 * with. Layouts of blocks as in ggml and bitsandbytes.
 */
#include "kernels/half.h"
#include "kernels/qgemm_kernel.h"

#include <math.h>
#include <string.h>

#define SCALES(at, width, count)                                                                   \
    {                                                                                              \
        at, width, count, false                                                                    \
    }
#define CODES(at, words)                                                                           \
    {                                                                                              \
        at, 4, words, true                                                                         \
    }

/* clang-format off */
const struct qgemm_traits qgemm_traits[QGEMM_TYPES] = {
    /* name, values, bytes, bytes of scales, groups, planes, low, wide */
    [QGEMM_Q4_0] = {"q4_0", 32, 18, 2, 1, 1, false, false,
        {SCALES(0, 2, 1), CODES(2, 4)}},
    [QGEMM_Q4_1] = {"q4_1", 32, 20, 4, 1, 1, true, false,
        {SCALES(0, 2, 2), CODES(4, 4)}},
    [QGEMM_Q5_0] = {"q5_0", 32, 22, 2, 1, 1, false, false,
        {SCALES(0, 2, 1), CODES(2, 5)}},
    [QGEMM_Q5_1] = {"q5_1", 32, 24, 4, 1, 1, true, false,
        {SCALES(0, 2, 2), CODES(4, 5)}},
    [QGEMM_Q8_0] = {"q8_0", 32, 34, 2, 1, 1, false, true,
        {SCALES(0, 2, 1), CODES(2, 8)}},
    [QGEMM_Q2_K] = {"q2_k", 256, 84, 20, 2, 1, true, false,
        {SCALES(80, 2, 2), SCALES(0, 1, 16), CODES(16, 16)}},
    [QGEMM_Q3_K] = {"q3_k", 256, 110, 14, 2, 1, false, false,
        {SCALES(108, 2, 1), SCALES(96, 1, 12), CODES(0, 8), CODES(32, 16)}},
    [QGEMM_Q4_K] = {"q4_k", 256, 144, 16, 1, 1, true, false,
        {SCALES(0, 2, 2), SCALES(4, 1, 12), CODES(16, 32)}},
    [QGEMM_Q5_K] = {"q5_k", 256, 176, 16, 1, 1, true, false,
        {SCALES(0, 2, 2), SCALES(4, 1, 12), CODES(16, 40)}},
    [QGEMM_Q6_K] = {"q6_k", 256, 210, 18, 2, 1, false, false,
        {SCALES(208, 2, 1), SCALES(192, 1, 16), CODES(0, 48)}},
    [QGEMM_IQ4_NL] = {"iq4_nl", 32, 18, 2, 1, 1, false, true,
        {SCALES(0, 2, 1), CODES(2, 4)}},
    [QGEMM_IQ4_XS] = {"iq4_xs", 256, 136, 8, 1, 1, false, true,
        {SCALES(0, 2, 1), SCALES(2, 1, 6), CODES(8, 32)}},
    [QGEMM_MXFP4] = {"mxfp4", 32, 17, 1, 1, 1, false, false,
        {SCALES(0, 1, 1), CODES(1, 4)}},
    [QGEMM_NF4] = {"nf4", 64, 36, 4, 1, 2, false, true,
        {SCALES(0, 4, 1), CODES(4, 8)}},
    [QGEMM_FP4] = {"fp4", 64, 36, 4, 1, 2, false, true,
        {SCALES(0, 4, 1), CODES(4, 8)}},
    [QGEMM_I8] = {"i8", 32, 32, 0, 1, 1, false, true,
        {CODES(0, 8)}},
};
/* clang-format on */

const int8_t qgemm_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
const int8_t qgemm_mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
const int8_t qgemm_nf4_planes[2][16] = {
    {-64, -45, -34, -25, -18, -12, -6, 0, 5, 10, 16, 22, 28, 36, 46, 64},
    {0, 114, 101, -70, -52, 45, 44, 0, 24, 77, -64, -96, 53, 2, 69, 0}};
const int8_t qgemm_fp4_planes[2][16] = {
    {0, 0, 43, 64, 21, 32, 11, 16, 0, 0, -43, -64, -21, -32, -11, -16},
    {0, 85, -85, 0, 85, 0, -85, 0, 0, -85, 85, 0, -85, 0, 85, 0}};

const char *qgemm_type_name(enum qgemm_type type)
{
    return qgemm_traits[type].name;
}

int64_t qgemm_block(enum qgemm_type type)
{
    return type == QGEMM_I8 ? 1 : qgemm_traits[type].unit;
}

int64_t qgemm_block_bytes(enum qgemm_type type)
{
    if (type == QGEMM_I8)
        return 1;
    return qgemm_traits[type].planes > 1 ? 32 : qgemm_traits[type].unit_bytes;
}

/* What the types of two planes mean, for qgemm_load_row(). */
static const float nf4_exact[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

static float fp4_exact(int code)
{
    static const float twelfths[8] = {0.0f, 0.0625f, 8.0f, 12.0f, 4.0f, 6.0f, 2.0f, 3.0f};
    float value = twelfths[code & 7] / 12.0f;

    return code & 8 ? -value : value;
}

static float row_scale(const struct qgemm_weights *weights, int64_t row)
{
    float scale;

    memcpy(&scale, qgemm_scales(weights, row / QGEMM_PANEL) + row % QGEMM_PANEL * 4, sizeof scale);
    return scale;
}

static float load_half(const uint8_t *bytes)
{
    return half_f16_to_f32((uint16_t)(bytes[0] | bytes[1] << 8));
}

static float load_float(const uint8_t *bytes)
{
    float value;

    memcpy(&value, bytes, sizeof value);
    return value;
}

static int nibble(const uint8_t *codes, int i)
{
    return codes[i % 16] >> (i / 16 * 4) & 15;
}

static void decode_32(enum qgemm_type type, const uint8_t *block, struct qgemm_decoded *out)
{
    int scale_bytes = qgemm_traits[type].scale_bytes;
    bool fifth = type == QGEMM_Q5_0 || type == QGEMM_Q5_1;
    const uint8_t *codes = block + scale_bytes + (fifth ? 4 : 0);

    out->scales[0] = type == QGEMM_MXFP4 ? ldexpf(1.0f, block[0] - 128) : load_half(block);
    out->lows[0] = scale_bytes == 4 ? load_half(block + 2) : 0.0f;
    for (int i = 0; i < 32; i++) {
        int code = type == QGEMM_Q8_0 ? (int8_t)codes[i] : nibble(codes, i);

        if (fifth)
            code |= (block[scale_bytes + i % 4] >> (i / 4) & 1) << 4;
        if (type == QGEMM_Q4_0)
            code -= 8;
        else if (type == QGEMM_Q5_0)
            code -= 16;
        else if (type == QGEMM_IQ4_NL)
            code = qgemm_iq4_values[code];
        else if (type == QGEMM_MXFP4)
            code = qgemm_mxfp4_values[code];
        out->codes[i] = (int16_t)code;
    }
}

static void decode_64(enum qgemm_type type, const uint8_t *block, struct qgemm_decoded *out)
{
    const int8_t(*planes)[16] = type == QGEMM_NF4 ? qgemm_nf4_planes : qgemm_fp4_planes;

    out->scales[0] = out->scales[1] = load_float(block) * 0x1p-14f;
    out->lows[0] = out->lows[1] = 0.0f;
    for (int i = 0; i < 64; i++) {
        int code = nibble(block + 4 + i / 32 * 16, i % 32);

        out->codes[i] = (int16_t)(256 * planes[0][code] + planes[1][code]);
    }
}

/* Integer scale and low of a group. */
static void small_scales(enum qgemm_type type, const uint8_t *block, int group, int *scale,
                         int *low)
{
    const uint8_t *packed = block + 4; /* Q4_K, Q5_K */

    *low = 0;
    switch (type) {
    case QGEMM_Q2_K:
        *scale = block[group] & 15;
        *low = block[group] >> 4;
        break;
    case QGEMM_Q3_K:
        packed = block + 96;
        *scale = group < 8 ? packed[group] & 15 : packed[group - 8] >> 4;
        *scale = (*scale | (packed[8 + group % 4] >> (group / 4 * 2) & 3) << 4) - 32;
        break;
    case QGEMM_Q4_K:
    case QGEMM_Q5_K:
        if (group < 4) {
            *scale = packed[group] & 63;
            *low = packed[group + 4] & 63;
        } else {
            *scale = (packed[group + 4] & 15) | packed[group - 4] >> 6 << 4;
            *low = packed[group + 4] >> 4 | packed[group] >> 6 << 4;
        }
        break;
    case QGEMM_Q6_K:
        *scale = (int8_t)block[192 + group];
        break;
    default: /* IQ4_XS */
        *scale = block[4 + group / 2] >> (group % 2 * 4) & 15;
        *scale = (*scale | (block[2 + group / 4] >> (group % 4 * 2) & 3) << 4) - 32;
        break;
    }
}

static int code_256(enum qgemm_type type, const uint8_t *block, int i)
{
    int part = i % 128 / 32;
    int at = i % 32;
    int half = i / 128;

    switch (type) {
    case QGEMM_Q2_K:
        return block[16 + half * 32 + at] >> (part * 2) & 3;
    case QGEMM_Q3_K:
        return (block[32 + half * 32 + at] >> (part * 2) & 3) - (block[at] >> (i / 32) & 1 ? 0 : 4);
    case QGEMM_Q4_K:
        return block[16 + i / 64 * 32 + at] >> (part % 2 * 4) & 15;
    case QGEMM_Q5_K:
        return (block[48 + i / 64 * 32 + at] >> (part % 2 * 4) & 15) |
               (block[16 + at] >> (i / 32) & 1) << 4;
    case QGEMM_Q6_K:
        return ((block[half * 64 + i % 64] >> (part / 2 * 4) & 15) |
                (block[128 + half * 32 + at] >> (part * 2) & 3) << 4) -
               32;
    default: /* IQ4_XS */
        return qgemm_iq4_values[nibble(block + 8 + i / 32 * 16, at)];
    }
}

static void decode_256(enum qgemm_type type, const uint8_t *block, struct qgemm_decoded *out)
{
    const struct qgemm_traits *traits = &qgemm_traits[type];
    int at = traits->field[0].at;
    float scale = load_half(block + at);
    float low = traits->low ? load_half(block + at + 2) : 0.0f;

    for (int group = 0; group < 8 * traits->groups; group++) {
        int small, minimum;

        small_scales(type, block, group, &small, &minimum);
        out->scales[group] = scale * (float)small;
        out->lows[group] = -low * (float)minimum;
    }
    for (int i = 0; i < 256; i++)
        out->codes[i] = (int16_t)code_256(type, block, i);
}

void qgemm_decode(const struct qgemm_weights *weights, int64_t row, int64_t unit,
                  struct qgemm_decoded *out)
{
    uint8_t block[QGEMM_BYTES_MOST];

    qgemm_restore(weights, row, unit, block);
    if (weights->type == QGEMM_I8) {
        out->scales[0] = row_scale(weights, row);
        out->lows[0] = 0.0f;
        for (int i = 0; i < 32; i++)
            out->codes[i] = (int8_t)block[i];
    } else if (qgemm_traits[weights->type].unit == 32) {
        decode_32(weights->type, block, out);
    } else if (qgemm_traits[weights->type].unit == 64) {
        decode_64(weights->type, block, out);
    } else {
        decode_256(weights->type, block, out);
    }
}

static void load_four_bit_floats(const struct qgemm_weights *weights, int64_t row, float *out)
{
    for (int64_t unit = 0; unit < weights->k / 64; unit++, out += 64) {
        uint8_t block[QGEMM_BYTES_MOST];

        qgemm_restore(weights, row, unit, block);
        for (int i = 0; i < 64; i++) {
            int code = nibble(block + 4 + i / 32 * 16, i % 32);

            out[i] = (weights->type == QGEMM_NF4 ? nf4_exact[code] : fp4_exact(code)) *
                     load_float(block);
        }
    }
}

void qgemm_load_row(const struct qgemm_weights *weights, int64_t row, float *out)
{
    const struct qgemm_traits *traits = &qgemm_traits[weights->type];
    int group = 32 / traits->groups;

    if (qgemm_traits[weights->type].planes > 1) {
        load_four_bit_floats(weights, row, out);
        return;
    }
    for (int64_t unit = 0; unit < qgemm_units(weights); unit++, out += traits->unit) {
        int64_t left = weights->k - unit * traits->unit;
        struct qgemm_decoded decoded;

        qgemm_decode(weights, row, unit, &decoded);
        for (int i = 0; i < (left < traits->unit ? left : traits->unit); i++) {
            out[i] = decoded.scales[i / group] * (float)decoded.codes[i];
            if (traits->low)
                out[i] += decoded.lows[i / group];
        }
    }
}
