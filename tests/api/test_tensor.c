/* SPDX-License-Identifier: MIT
 *
 * llm/tensor.h as a program that links the library sees it.
 */
#include "failing_allocator.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static llm_context *context;

static int setup(void **state)
{
    (void)state;
    return llm_context_new(&context, NULL);
}

static int teardown(void **state)
{
    (void)state;
    llm_context_free(context);
    return 0;
}

static llm_tensor *make(int32_t dtype, int32_t dimensions, int64_t a, int64_t b)
{
    int64_t shape[2] = {a, b};
    llm_tensor *tensor = NULL;

    assert_int_equal(llm_tensor_new(&tensor, context, dtype, dimensions, shape), LLM_OK);
    return tensor;
}

static void test_properties(void **state)
{
    llm_tensor *tensor = make(LLM_F32, 2, 3, 5);
    float values[15];

    (void)state;
    assert_int_equal(llm_tensor_dtype(tensor), LLM_F32);
    assert_int_equal(llm_tensor_dimensions(tensor), 2);
    assert_int_equal(llm_tensor_size(tensor, 0), 3);
    assert_int_equal(llm_tensor_size(tensor, -1), 5);
    assert_int_equal(llm_tensor_size(tensor, 2), 0);
    assert_int_equal(llm_tensor_size(tensor, -3), 0);
    assert_int_equal(llm_tensor_stride(tensor, 0), 5);
    assert_int_equal(llm_tensor_count(tensor), 15);
    assert_int_equal(llm_tensor_read_f32(tensor, values, 15), LLM_OK);
    for (int i = 0; i < 15; i++)
        assert_true(values[i] == 0.0f);
    assert_int_equal(llm_tensor_read_f32(tensor, values, 14), LLM_E_BUFFER);
    assert_int_equal(llm_tensor_set_name(tensor, "weight"), LLM_OK);
    assert_string_equal(llm_tensor_name(tensor), "weight");
    assert_int_equal(llm_tensor_set_name(tensor, "a name that is much too long for a tensor"),
                     LLM_E_RANGE);
    llm_tensor_free(tensor);
    llm_tensor_free(NULL);
}

static void test_bad_shapes(void **state)
{
    int64_t negative[1] = {-1};
    int64_t huge[2] = {INT64_MAX / 2, 4};
    int64_t hidden[3] = {(int64_t)1 << 40, (int64_t)1 << 40, 0};
    int64_t nine[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    llm_tensor *tensor = (llm_tensor *)1;

    (void)state;
    assert_int_equal(llm_tensor_new(&tensor, context, LLM_F32, 1, negative), LLM_E_SHAPE);
    assert_null(tensor);
    assert_int_equal(llm_tensor_new(&tensor, context, LLM_F32, 2, huge), LLM_E_SHAPE);
    assert_int_equal(llm_tensor_new(&tensor, context, LLM_F32, 3, hidden), LLM_E_SHAPE);
    assert_int_equal(llm_tensor_new(&tensor, context, LLM_F32, 9, nine), LLM_E_SHAPE);
    assert_int_equal(llm_tensor_new(&tensor, context, LLM_F32, -1, nine), LLM_E_SHAPE);
    assert_int_equal(llm_tensor_new(&tensor, context, 99, 1, nine), LLM_E_INVALID);
    assert_int_equal(llm_tensor_new(&tensor, context, LLM_F32, 1, NULL), LLM_E_INVALID);
    assert_int_equal(llm_tensor_new(NULL, context, LLM_F32, 1, nine), LLM_E_INVALID);
    assert_int_equal(llm_tensor_new(&tensor, NULL, LLM_F32, 1, nine), LLM_E_INVALID);
}

static void test_convert(void **state)
{
    const float values[6] = {0.0f, -1.5f, 3.14159f, 65504.0f, 1e10f, NAN};
    float back[6];
    llm_tensor *tensor = make(LLM_F32, 1, 6, 0);
    llm_tensor *other = NULL;

    (void)state;
    assert_int_equal(llm_tensor_write_f32(tensor, values, 6), LLM_OK);
    assert_int_equal(llm_tensor_write_f32(tensor, values, 5), LLM_E_SHAPE);
    assert_int_equal(llm_tensor_convert(&other, tensor, LLM_F16), LLM_OK);
    assert_int_equal(llm_tensor_read_f32(other, back, 6), LLM_OK);
    assert_true(back[1] == -1.5f && back[3] == 65504.0f && isinf(back[4]) && isnan(back[5]));
    llm_tensor_free(other);
    assert_int_equal(llm_tensor_convert(&other, tensor, LLM_BF16), LLM_OK);
    assert_int_equal(llm_tensor_read_f32(other, back, 6), LLM_OK);
    assert_true(back[2] == 3.140625f && isnan(back[5]));
    llm_tensor_free(other);
    assert_int_equal(llm_tensor_convert(&other, tensor, LLM_I8), LLM_OK);
    assert_int_equal(llm_tensor_read_f32(other, back, 6), LLM_OK);
    assert_true(back[1] == -1.0f && back[2] == 3.0f && back[4] == 127.0f && back[5] == 0.0f);
    llm_tensor_free(other);
    assert_int_equal(llm_tensor_convert(&other, tensor, 1234), LLM_E_INVALID);
    llm_tensor_free(tensor);
}

static void test_views(void **state)
{
    const int32_t swap[2] = {1, 0};
    const int32_t twice[2] = {1, 1};
    const int64_t flat[1] = {-1};
    float values[6] = {0, 1, 2, 3, 4, 5};
    float back[6];
    llm_tensor *tensor = make(LLM_F32, 2, 2, 3);
    llm_tensor *turned = NULL, *part = NULL, *row = NULL;

    (void)state;
    assert_int_equal(llm_tensor_write_f32(tensor, values, 6), LLM_OK);
    assert_int_equal(llm_tensor_permute(&turned, tensor, swap), LLM_OK);
    assert_int_equal(llm_tensor_permute(&part, tensor, twice), LLM_E_SHAPE);
    llm_tensor_free(tensor); /* the view lives on */
    assert_int_equal(llm_tensor_read_f32(turned, back, 6), LLM_OK);
    assert_true(back[0] == 0 && back[1] == 3 && back[2] == 1 && back[5] == 5);
    assert_int_equal(llm_tensor_reshape(&row, turned, 1, flat), LLM_E_SHAPE);
    assert_int_equal(llm_tensor_slice(&part, turned, 0, 0, 3, 2), LLM_OK);
    assert_int_equal(llm_tensor_count(part), 4);
    assert_int_equal(llm_tensor_read_f32(part, back, 6), LLM_OK);
    assert_true(back[0] == 0 && back[1] == 3 && back[2] == 2 && back[3] == 5);
    assert_int_equal(llm_tensor_fill(part, 9.0), LLM_OK);
    assert_int_equal(llm_tensor_read_f32(turned, back, 6), LLM_OK);
    assert_true(back[0] == 9 && back[2] == 1 && back[5] == 9);
    assert_int_equal(llm_tensor_slice(&row, turned, 0, 2, 4, 1), LLM_E_RANGE);
    assert_int_equal(llm_tensor_slice(&row, turned, 5, 0, 1, 1), LLM_E_SHAPE);
    assert_int_equal(llm_tensor_slice(&row, turned, 0, 0, 1, 0), LLM_E_RANGE);
    llm_tensor_free(part);
    llm_tensor_free(turned);
}

static int released;

static void count_release(void *user, void *data)
{
    (void)data;
    released += *(int *)user;
}

static void test_wrap(void **state)
{
    float memory[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    int64_t shape[2] = {2, 3};
    int64_t stride[2] = {4, 1};
    int64_t backwards[2] = {-4, 1};
    float back[6];
    int weight = 1;
    llm_tensor *tensor = NULL, *view = NULL;

    (void)state;
    released = 0;
    assert_int_equal(llm_tensor_wrap(&tensor, context, LLM_F32, 2, shape, stride, memory,
                                     count_release, &weight),
                     LLM_OK);
    assert_ptr_equal(llm_tensor_data(tensor), memory);
    assert_int_equal(llm_tensor_read_f32(tensor, back, 6), LLM_OK);
    assert_true(back[3] == 4 && back[5] == 6);
    assert_int_equal(llm_tensor_slice(&view, tensor, 0, 1, 2, 1), LLM_OK);
    llm_tensor_free(tensor);
    assert_int_equal(released, 0);
    llm_tensor_free(view);
    assert_int_equal(released, 1);
    assert_int_equal(llm_tensor_wrap(&tensor, context, LLM_F32, 2, shape, backwards, memory,
                                     count_release, &weight),
                     LLM_E_SHAPE);
    assert_int_equal(llm_tensor_wrap(&tensor, context, LLM_F32, 1, shape, NULL, (char *)memory + 1,
                                     count_release, &weight),
                     LLM_E_INVALID);
    assert_int_equal(llm_tensor_wrap(&tensor, context, LLM_F32, 1, shape, NULL, NULL, NULL, NULL),
                     LLM_E_INVALID);
    assert_int_equal(released, 1);
}

static void test_dlpack(void **state)
{
    llm_tensor *tensor = make(LLM_F32, 2, 2, 2);
    llm_tensor *copy = NULL;
    void *managed = NULL;
    uint32_t *version;

    (void)state;
    assert_int_equal(llm_tensor_fill(tensor, 2.5), LLM_OK);
    assert_int_equal(llm_tensor_to_dlpack(&managed, tensor), LLM_OK);
    assert_int_equal(llm_tensor_from_dlpack(&copy, context, managed), LLM_OK);
    assert_ptr_equal(llm_tensor_data(copy), llm_tensor_data(tensor));
    llm_tensor_free(tensor); /* the exported struct keeps the memory */
    assert_true(*(float *)llm_tensor_data(copy) == 2.5f);
    llm_tensor_free(copy);

    tensor = make(LLM_I64, 1, 4, 0);
    assert_int_equal(llm_tensor_to_dlpack(&managed, tensor), LLM_OK);
    version = managed;
    version[0] = 2; /* a major version of the future */
    assert_int_equal(llm_tensor_from_dlpack(&copy, context, managed), LLM_E_UNSUPPORTED);
    version[0] = 1;
    assert_int_equal(llm_tensor_from_dlpack(&copy, context, managed), LLM_OK);
    assert_int_equal(llm_tensor_dtype(copy), LLM_I64);
    llm_tensor_free(copy);
    llm_tensor_free(tensor);
    assert_int_equal(llm_tensor_from_dlpack(&copy, context, NULL), LLM_E_INVALID);
    assert_int_equal(llm_tensor_to_dlpack(&managed, NULL), LLM_E_INVALID);
}

static void test_random(void **state)
{
    llm_tensor *tensor = make(LLM_F32, 1, 4096, 0);
    float *values = llm_tensor_data(tensor);
    double sum = 0.0, squares = 0.0;
    float first;

    (void)state;
    assert_int_equal(llm_tensor_fill_normal(tensor, 1.0, 2.0, 7), LLM_OK);
    for (int i = 0; i < 4096; i++) {
        sum += (double)values[i];
        squares += (double)values[i] * (double)values[i];
    }
    assert_true(fabs(sum / 4096 - 1.0) < 0.1 && fabs(squares / 4096 - 5.0) < 0.4);
    first = values[0];
    assert_int_equal(llm_tensor_fill_uniform(tensor, -1.0, 1.0, 7), LLM_OK);
    for (int i = 0; i < 4096; i++)
        assert_true(values[i] >= -1.0f && values[i] <= 1.0f);
    assert_int_equal(llm_tensor_fill_normal(tensor, 1.0, 2.0, 7), LLM_OK);
    assert_true(values[0] == first);
    assert_int_equal(llm_tensor_fill_normal(tensor, 0.0, -1.0, 7), LLM_E_RANGE);
    assert_int_equal(llm_tensor_fill_uniform(tensor, 1.0, 0.0, 7), LLM_E_RANGE);
    assert_int_equal(llm_tensor_fill_uniform(tensor, 0.0, (double)INFINITY, 7), LLM_E_RANGE);
    llm_tensor_free(tensor);
}

static void test_requires_grad(void **state)
{
    llm_tensor *tensor = make(LLM_F32, 1, 4, 0);
    llm_tensor *whole = make(LLM_I32, 1, 4, 0);

    (void)state;
    assert_int_equal(llm_tensor_requires_grad(tensor), 0);
    assert_int_equal(llm_tensor_set_requires_grad(tensor, 1), LLM_OK);
    assert_int_equal(llm_tensor_requires_grad(tensor), 1);
    assert_null(llm_tensor_grad(tensor));
    llm_tensor_zero_grad(tensor);
    assert_int_equal(llm_tensor_set_requires_grad(whole, 1), LLM_E_UNSUPPORTED);
    assert_int_equal(llm_tensor_set_requires_grad(NULL, 1), LLM_E_INVALID);
    llm_tensor_free(tensor);
    llm_tensor_free(whole);
}

static llm_status tensor_scenario(llm_context *failing, void *user)
{
    int64_t shape[2] = {4, 6};
    llm_tensor *tensor = NULL, *half = NULL, *view = NULL, *imported = NULL;
    void *managed = NULL;
    llm_status status = llm_tensor_new(&tensor, failing, LLM_F32, 2, shape);

    (void)user;
    if (!status)
        status = llm_tensor_convert(&half, tensor, LLM_F16);
    if (!status)
        status = llm_tensor_slice(&view, half, 1, 0, 3, 1);
    if (!status)
        status = llm_tensor_to_dlpack(&managed, view);
    if (!status) {
        status = llm_tensor_from_dlpack(&imported, failing, managed);
        if (status) { /* still ours: version, manager, deleter stand first (DLPack 1.x) */
            struct {
                uint32_t version[2];
                void *manager;
                void (*deleter)(void *self);
            } *head = managed;

            head->deleter(managed);
        }
    }
    llm_tensor_free(imported);
    llm_tensor_free(view);
    llm_tensor_free(half);
    llm_tensor_free(tensor);
    return status;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    assert_true(failing_allocator_run(tensor_scenario, NULL, 1) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_properties),    cmocka_unit_test(test_bad_shapes),
        cmocka_unit_test(test_convert),       cmocka_unit_test(test_views),
        cmocka_unit_test(test_wrap),          cmocka_unit_test(test_dlpack),
        cmocka_unit_test(test_random),        cmocka_unit_test(test_requires_grad),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
