/* SPDX-License-Identifier: MIT */
#include "tensor/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static llm_context *context;

static int set_up(void **state)
{
    (void)state;
    return llm_context_new(&context, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    llm_context_free(context);
    return 0;
}

/* 0, 1, 2, ... */
static llm_tensor *counting(int32_t dimensions, const int64_t *shape)
{
    llm_tensor *tensor = NULL;

    assert_int_equal(tensor_new(&tensor, context, LLM_F32, dimensions, shape), LLM_OK);
    for (int64_t i = 0; i < tensor_count(tensor); i++)
        tensor_f32(tensor)[i] = (float)i;
    return tensor;
}

static float at(const llm_tensor *x, int64_t i, int64_t j, int64_t k)
{
    return tensor_f32(x)[i * x->stride[0] + j * x->stride[1] + k * x->stride[2]];
}

static void test_shapes(void **state)
{
    const int64_t shape[3] = {2, 3, 4};
    const int64_t bad[2] = {2, -1};
    const int64_t huge[3] = {INT64_MAX / 2, 4, 4};
    const int64_t many[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    llm_tensor *x = counting(3, shape);
    llm_tensor *scalar = counting(0, NULL);
    llm_tensor *failed = NULL;

    (void)state;
    assert_true(tensor_count(x) == 24 && tensor_rows(x) == 6 && tensor_last(x) == 4);
    assert_true(tensor_is_contiguous(x) && tensor_is_contiguous(scalar));
    assert_true(tensor_count(scalar) == 1 && tensor_rows(scalar) == 1 && tensor_last(scalar) == 1);
    assert_string_equal(tensor_shape_text(x), "[2,3,4]");
    assert_string_equal(tensor_shape_text(scalar), "[]");
    assert_true(tensor_axis(x, -1) == 2 && tensor_axis(x, 0) == 0);
    assert_true(tensor_axis(x, 3) == -1 && tensor_axis(x, -4) == -1);
    assert_false(tensor_same_shape(x, scalar));
    assert_int_equal(tensor_new(&failed, context, LLM_F32, 2, bad), LLM_E_SHAPE);
    assert_int_equal(tensor_new(&failed, context, LLM_F32, 3, huge), LLM_E_SHAPE);
    assert_int_equal(tensor_new(&failed, context, LLM_F32, 9, many), LLM_E_SHAPE);
    assert_int_not_equal(tensor_new(&failed, context, 77, 3, shape), LLM_OK);
    assert_null(failed);
    tensor_release(x);
    tensor_release(scalar);
    tensor_release(NULL);
}

static void test_views(void **state)
{
    const int64_t shape[3] = {2, 3, 4};
    const int64_t folded[2] = {-1, 8};
    const int32_t axes[3] = {2, 0, -2};
    llm_tensor *x = counting(3, shape);
    llm_tensor reshaped, sliced, turned, twice;

    (void)state;
    assert_int_equal(tensor_view_reshape(&reshaped, x, 2, folded), LLM_OK);
    assert_true(reshaped.shape[0] == 3 && reshaped.stride[0] == 8 && reshaped.base == x);
    assert_int_equal(tensor_view_slice(&sliced, x, -1, 1, 4, 2), LLM_OK);
    assert_true(sliced.shape[2] == 2 && at(&sliced, 1, 2, 1) == 23.0f);
    assert_false(tensor_is_contiguous(&sliced));
    assert_int_equal(tensor_view_permute(&turned, x, axes), LLM_OK); /* [4,2,3] */
    assert_true(turned.shape[0] == 4 && at(&turned, 3, 1, 2) == 23.0f &&
                at(&turned, 1, 0, 2) == 9.0f);
    assert_int_equal(tensor_view_slice(&twice, &turned, 0, 2, 4, 1), LLM_OK);
    assert_true(at(&twice, 0, 1, 0) == 14.0f && twice.base == x && twice.offset == 2);
    assert_int_equal(tensor_view_slice(&twice, x, 0, 2, 2, 1), LLM_OK); /* empty, at the end */
    assert_true(tensor_count(&twice) == 0 && tensor_is_contiguous(&twice));
    assert_int_equal(tensor_view_reshape(&reshaped, &turned, 2, folded), LLM_E_SHAPE);
    assert_int_equal(tensor_view_slice(&sliced, x, 0, 1, 3, 1), LLM_E_RANGE);
    assert_int_equal(tensor_view_permute(&turned, x, (const int32_t[]){0, 1, 1}), LLM_E_SHAPE);
    tensor_release(x);
}

/* A heap view keeps alive what it looks at. */
static void test_lifetime(void **state)
{
    const int64_t shape[2] = {3, 4};
    llm_tensor *x = counting(2, shape);
    llm_tensor *kept = NULL;
    llm_tensor filled;

    (void)state;
    assert_int_equal(tensor_view_slice(&filled, x, 0, 1, 3, 1), LLM_OK);
    assert_int_equal(tensor_new_view(&kept, &filled), LLM_OK);
    tensor_release(x);
    assert_true(tensor_f32(kept)[0] == 4.0f && tensor_f32(kept)[7] == 11.0f);
    tensor_release(kept);
}

static void test_copy_and_add(void **state)
{
    const int64_t shape[2] = {3, 5};
    const int32_t swap[2] = {1, 0};
    llm_tensor *x = counting(2, shape);
    llm_tensor *y = NULL;
    llm_tensor turned;
    int64_t other[2] = {5, 3};

    (void)state;
    assert_int_equal(tensor_view_permute(&turned, x, swap), LLM_OK);
    assert_int_equal(tensor_new_zeroed(&y, context, LLM_F32, 2, other), LLM_OK);
    assert_true(tensor_f32(y)[14] == 0.0f);
    assert_int_equal(tensor_copy(y, &turned), LLM_OK);
    assert_int_equal(tensor_add(y, &turned), LLM_OK);
    assert_int_equal(tensor_add(y, y), LLM_OK);
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 3; j++)
            assert_true(tensor_f32(y)[i * 3 + j] == 4.0f * (float)(j * 5 + i));
    }
    assert_int_equal(tensor_add(&turned, y), LLM_OK); /* into strides */
    assert_true(tensor_f32(x)[7] == 35.0f);
    tensor_zero(&turned);
    for (int i = 0; i < 15; i++)
        assert_true(tensor_f32(x)[i] == 0.0f);
    assert_int_equal(tensor_copy(y, x), LLM_E_SHAPE);
    assert_int_equal(tensor_add(y, x), LLM_E_SHAPE);
    tensor_release(x);
    tensor_release(y);
}

/* Every pair of types, through a view that is turned. */
static void test_conversion(void **state)
{
    const int64_t shape[2] = {3, 300}; /* more than one piece of the conversion's buffer */
    const int64_t turned_shape[2] = {300, 3};
    const int32_t swap[2] = {1, 0};

    (void)state;
    for (int32_t from = LLM_F32; from <= LLM_I64; from++) {
        for (int32_t to = LLM_F32; to <= LLM_I64; to++) {
            llm_tensor *start = counting(2, shape);
            llm_tensor *a = NULL, *b = NULL, *end = NULL;
            llm_tensor turned;

            for (int i = 0; i < 900; i++)
                tensor_f32(start)[i] = (float)(i % 100);
            assert_int_equal(tensor_new(&a, context, from, 2, shape), LLM_OK);
            assert_int_equal(tensor_new(&b, context, to, 2, turned_shape), LLM_OK);
            assert_int_equal(tensor_new(&end, context, LLM_F32, 2, turned_shape), LLM_OK);
            assert_int_equal(tensor_copy(a, start), LLM_OK);
            assert_int_equal(tensor_view_permute(&turned, a, swap), LLM_OK);
            assert_int_equal(tensor_copy(b, &turned), LLM_OK);
            assert_int_equal(tensor_copy(end, b), LLM_OK);
            for (int i = 0; i < 900; i++)
                assert_true(tensor_f32(end)[i] == (float)((i % 3 * 300 + i / 3) % 100));
            tensor_release(start);
            tensor_release(a);
            tensor_release(b);
            tensor_release(end);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),     cmocka_unit_test(test_views),
        cmocka_unit_test(test_lifetime),   cmocka_unit_test(test_copy_and_add),
        cmocka_unit_test(test_conversion),
    };

    return cmocka_run_group_tests_name("tensor", tests, set_up, tear_down);
}
