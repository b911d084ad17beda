/* SPDX-License-Identifier: MIT */
#include "llm/tensor.h"
#include "tensor/dtype.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_table(void **state)
{
    size_t bytes;

    (void)state;
    for (int32_t i = LLM_F32; i <= LLM_BOOL; i++) {
        const struct dtype *dtype = dtype_get(i);

        assert_non_null(dtype);
        assert_int_equal(dtype_from_safetensors(dtype->safetensors), i);
        assert_true(dtype_bytes(i, 10, &bytes) && bytes == 10 * (size_t)dtype->block_bytes);
        assert_true(dtype->block_bytes * 8 == dtype->dlpack_bits);
    }
    assert_null(dtype_get(-1));
    assert_null(dtype_get(LLM_TQ2_0 + 1));
    assert_int_equal(dtype_from_safetensors("F8"), -1);
    assert_false(dtype_bytes(99, 1, &bytes));
    assert_false(dtype_bytes(LLM_F32, -1, &bytes));
    assert_false(dtype_bytes(LLM_F64, INT64_MAX / 4, &bytes));
}

/* Every half there and back; halfway between two neighbours goes to the even one. */
static void test_halves(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f16 = f16_to_f32((uint16_t)h);
        float bf16 = bf16_to_f32((uint16_t)h);

        if ((h & 0x7fff) > 0x7c00)
            assert_true(isnan(f16) && isnan(f16_to_f32(f32_to_f16(f16))));
        else
            assert_int_equal(f32_to_f16(f16), h);
        if ((h & 0x7fff) > 0x7f80)
            assert_true(isnan(bf16) && isnan(bf16_to_f32(f32_to_bf16(bf16))));
        else
            assert_int_equal(f32_to_bf16(bf16), h);
        if (h < 0x7bff)
            assert_int_equal(f32_to_f16(0.5f * (f16 + f16_to_f32((uint16_t)(h + 1)))), h + (h & 1));
    }
    assert_true(f16_to_f32(0x3c00) == 1.0f && f16_to_f32(0xc000) == -2.0f);
    assert_true(f16_to_f32(1) == 0x1p-24f && f16_to_f32(0x7bff) == 65504.0f);
    assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(f32_to_f16(0x1p-25f), 0);
    assert_int_equal(f32_to_bf16(3.4e38f), 0x7f80);
}

static void test_integers_saturate(void **state)
{
    static const float values[] = {1e30f, -1e30f, NAN, 3.9f, -3.9f, INFINITY, 0.0f};
    int8_t i8[7];
    uint8_t u8[7], flags[7];
    int32_t i32[7];
    int64_t i64[7];
    float back[7];

    (void)state;
    dtype_get(LLM_I8)->from_f32(i8, values, 7);
    dtype_get(LLM_U8)->from_f32(u8, values, 7);
    dtype_get(LLM_I32)->from_f32(i32, values, 7);
    dtype_get(LLM_I64)->from_f32(i64, values, 7);
    dtype_get(LLM_BOOL)->from_f32(flags, values, 7);
    assert_true(i8[0] == 127 && i8[1] == -128 && i8[2] == 0 && i8[3] == 3 && i8[4] == -3);
    assert_true(u8[0] == 255 && u8[1] == 0 && u8[2] == 0 && u8[3] == 3 && u8[4] == 0);
    assert_true(i32[0] == INT32_MAX && i32[1] == INT32_MIN && i32[5] == INT32_MAX);
    assert_true(i64[0] == INT64_MAX && i64[1] == INT64_MIN && i64[2] == 0);
    assert_true(flags[0] == 1 && flags[6] == 0);
    dtype_get(LLM_I32)->to_f32(back, i32, 7);
    assert_true(back[3] == 3.0f && back[1] == -0x1p31f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_integers_saturate),
    };

    return cmocka_run_group_tests_name("dtype", tests, NULL, NULL);
}
