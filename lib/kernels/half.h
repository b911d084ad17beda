/* SPDX-License-Identifier: MIT
 *
 * IEEE binary16 and bfloat16 to and from float, one value at a time, in plain C. Rounds to nearest
 * even; NaN stays NaN (quiet, payload cut), infinities and denormals are exact: the same bits as
 * the processors' instructions. Rows are converted by vector.h's kernels.
 */
#ifndef KERNELS_HALF_H
#define KERNELS_HALF_H

#include <stdint.h>
#include <string.h>

static inline float half_f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t magnitude = (uint32_t)(half & 0x7fffu);
    uint32_t bits;
    float value;

    if (magnitude >= 0x7c00u) { /* infinity, NaN (made quiet) */
        bits = sign | 0x7f800000u | (magnitude & 0x3ffu) << 13;
        bits |= (magnitude & 0x3ffu) ? 0x00400000u : 0;
    } else if (magnitude >= 0x400u) {
        bits = sign | ((magnitude << 13) + (112u << 23));
    } else { /* zero, denormal: magnitude * 2^-24 */
        value = (float)magnitude * 0x1p-24f;
        memcpy(&bits, &value, sizeof bits);
        bits |= sign;
    }
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint16_t half_f32_to_f16(float value)
{
    uint32_t bits;
    uint32_t sign;
    uint32_t half;

    memcpy(&bits, &value, sizeof bits);
    sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (bits >> 13 & 0x3ffu));
    if (bits >= 0x477ff000u) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (bits < 0x38800000u) { /* below 2^-14: denormal; the addition rounds to even at 2^-24 */
        float magnitude;
        memcpy(&magnitude, &bits, sizeof magnitude);
        magnitude += 0.5f;
        memcpy(&half, &magnitude, sizeof half);
        return (uint16_t)(sign | (half - 0x3f000000u));
    }
    half = bits + 0xfffu + (bits >> 13 & 1u) - (112u << 23);
    return (uint16_t)(sign | half >> 13);
}

static inline float half_bf16_to_f32(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint16_t half_f32_to_bf16(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

#endif
