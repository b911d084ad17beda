/* SPDX-License-Identifier: MIT */
#include "tensor/dtype.h"

#include "base/checked.h"
#include "kernels/half.h"
#include "llm/tensor.h"
#include "tensor/blocks.h"

#include <string.h>

float f16_to_f32(uint16_t half)
{
    return half_f16_to_f32(half);
}

uint16_t f32_to_f16(float value)
{
    return half_f32_to_f16(value);
}

float bf16_to_f32(uint16_t half)
{
    return half_bf16_to_f32(half);
}

uint16_t f32_to_bf16(float value)
{
    return half_f32_to_bf16(value);
}

static void f32_copy(float *out, const void *in, int64_t count)
{
    memmove(out, in, (size_t)count * sizeof *out);
}

static void f32_store(void *out, const float *in, int64_t count)
{
    memmove(out, in, (size_t)count * sizeof *in);
}

/* One pair of conversions per plain type; integers saturate, NaN becomes 0. */
#define FLOAT_TYPE(name, type, load, store)                                                        \
    static void name##_load(float *out, const void *in, int64_t count)                             \
    {                                                                                              \
        const type *values = in;                                                                   \
                                                                                                   \
        for (int64_t i = 0; i < count; i++)                                                        \
            out[i] = load(values[i]);                                                              \
    }                                                                                              \
    static void name##_store(void *out, const float *in, int64_t count)                            \
    {                                                                                              \
        type *values = out;                                                                        \
                                                                                                   \
        for (int64_t i = 0; i < count; i++)                                                        \
            values[i] = store(in[i]);                                                              \
    }

#define INTEGER_TYPE(name, type, low, high)                                                        \
    static type name##_saturate(float value)                                                       \
    {                                                                                              \
        if (!(value == value))                                                                     \
            return 0;                                                                              \
        if ((double)value <= (double)(low))                                                        \
            return low;                                                                            \
        if ((double)value >= (double)(high))                                                       \
            return high;                                                                           \
        return (type)value;                                                                        \
    }                                                                                              \
    FLOAT_TYPE(name, type, (float), name##_saturate)

FLOAT_TYPE(f16, uint16_t, half_f16_to_f32, half_f32_to_f16)
FLOAT_TYPE(bf16, uint16_t, half_bf16_to_f32, half_f32_to_bf16)
FLOAT_TYPE(f64, double, (float), (double))
INTEGER_TYPE(i8, int8_t, INT8_MIN, INT8_MAX)
INTEGER_TYPE(u8, uint8_t, 0, UINT8_MAX)
INTEGER_TYPE(i16, int16_t, INT16_MIN, INT16_MAX)
INTEGER_TYPE(i32, int32_t, INT32_MIN, INT32_MAX)
INTEGER_TYPE(i64, int64_t, INT64_MIN, INT64_MAX)

static uint8_t to_bool(float value)
{
    return value != 0.0f;
}

FLOAT_TYPE(bool8, uint8_t, (float), to_bool)

static const struct dtype dtypes[] = {
    [LLM_F32] = {"f32", "F32", 1, 4, true, f32_copy, f32_store, 2, 32, 0},
    [LLM_F16] = {"f16", "F16", 1, 2, true, f16_load, f16_store, 2, 16, 1},
    [LLM_BF16] = {"bf16", "BF16", 1, 2, true, bf16_load, bf16_store, 4, 16, 30},
    [LLM_F64] = {"f64", "F64", 1, 8, true, f64_load, f64_store, 2, 64, 28},
    [LLM_I8] = {"i8", "I8", 1, 1, false, i8_load, i8_store, 0, 8, 24},
    [LLM_U8] = {"u8", "U8", 1, 1, false, u8_load, u8_store, 1, 8, -1},
    [LLM_I16] = {"i16", "I16", 1, 2, false, i16_load, i16_store, 0, 16, 25},
    [LLM_I32] = {"i32", "I32", 1, 4, false, i32_load, i32_store, 0, 32, 26},
    [LLM_I64] = {"i64", "I64", 1, 8, false, i64_load, i64_store, 0, 64, 27},
    [LLM_BOOL] = {"bool", "BOOL", 1, 1, false, bool8_load, bool8_store, 6, 8, -1},

#define BLOCK_ROW(type, lower, text, elements, bytes, gguf)                                        \
    [LLM_##type] = {text, NULL, elements, bytes, true, lower##_load, lower##_store, 0xff, 0, gguf}

    BLOCK_ROW(Q4_0, q4_0, "q4_0", 32, 18, 2),
    BLOCK_ROW(Q4_1, q4_1, "q4_1", 32, 20, 3),
    BLOCK_ROW(Q5_0, q5_0, "q5_0", 32, 22, 6),
    BLOCK_ROW(Q5_1, q5_1, "q5_1", 32, 24, 7),
    BLOCK_ROW(Q8_0, q8_0, "q8_0", 32, 34, 8),
    BLOCK_ROW(Q2_K, q2_k, "q2_k", 256, 84, 10),
    BLOCK_ROW(Q3_K, q3_k, "q3_k", 256, 110, 11),
    BLOCK_ROW(Q4_K, q4_k, "q4_k", 256, 144, 12),
    BLOCK_ROW(Q5_K, q5_k, "q5_k", 256, 176, 13),
    BLOCK_ROW(Q6_K, q6_k, "q6_k", 256, 210, 14),
    BLOCK_ROW(IQ4_NL, iq4_nl, "iq4_nl", 32, 18, 20),
    BLOCK_ROW(IQ4_XS, iq4_xs, "iq4_xs", 256, 136, 23),
    BLOCK_ROW(MXFP4, mxfp4, "mxfp4", 32, 17, 39),
    BLOCK_ROW(TQ1_0, tq1_0, "tq1_0", 256, 54, 34),
    BLOCK_ROW(TQ2_0, tq2_0, "tq2_0", 256, 66, 35),

#undef BLOCK_ROW
};

const struct dtype *dtype_get(int32_t dtype)
{
    if (dtype < 0 || (size_t)dtype >= sizeof dtypes / sizeof dtypes[0])
        return NULL;
    return &dtypes[dtype];
}

int32_t dtype_from_safetensors(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (dtypes[i].safetensors && strcmp(dtypes[i].safetensors, name) == 0)
            return (int32_t)i;
    }
    return -1;
}

int32_t dtype_from_gguf(uint32_t type)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (dtypes[i].gguf >= 0 && (uint32_t)dtypes[i].gguf == type)
            return (int32_t)i;
    }
    return -1;
}

int32_t dtype_from_name(const char *name)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(dtypes[i].name, name) == 0)
            return (int32_t)i;
    }
    return -1;
}

bool dtype_bytes(int32_t dtype, int64_t count, size_t *out)
{
    const struct dtype *traits = dtype_get(dtype);
    int64_t bytes;

    if (!traits || count < 0 || count % traits->block_elements != 0 ||
        !checked_mul_i64(count / traits->block_elements, traits->block_bytes, &bytes))
        return false;
    *out = (size_t)bytes;
    return true;
}
