/* SPDX-License-Identifier: MIT */
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The known answers that come with the paper's library: counter and key of zeros, of ones, of the
 * digits of pi. */
static void test_known_answers(void **state)
{
    static const uint64_t ones = UINT64_MAX;
    uint32_t out[4];

    (void)state;
    philox(0, 0, 0, out);
    assert_true(out[0] == 0x6627e8d5u && out[1] == 0xe169c58du);
    assert_true(out[2] == 0xbc57ac4cu && out[3] == 0x9b00dbd8u);
    philox(ones, ones, ones, out);
    assert_true(out[0] == 0x408f276du && out[1] == 0x41c83b0eu);
    assert_true(out[2] == 0xa20bc7c6u && out[3] == 0x6d5451fdu);
    philox(0x299f31d0a4093822u, 0x0370734413198a2eu, 0x85a308d3243f6a88u, out);
    assert_true(out[0] == 0xd16cfe09u && out[1] == 0x94fdccebu);
    assert_true(out[2] == 0x5001e420u && out[3] == 0x24126ea1u);
}

/* A stream is the words of its blocks in order, however they are read. */
static void test_reading(void **state)
{
    struct rng rng = rng_make(11, 22);
    uint32_t words[12];

    (void)state;
    for (uint64_t i = 0; i < 3; i++)
        philox(11, 22, i, words + 4 * i);
    assert_true(rng_u32(&rng) == words[0]);
    assert_true(rng_u64(&rng) == ((uint64_t)words[1] << 32 | words[2]));
    assert_true(rng_u64(&rng) == ((uint64_t)words[3] << 32 | words[4])); /* over the block's end */
    assert_true(rng_uniform(&rng) ==
                (double)(((uint64_t)words[5] << 32 | words[6]) >> 11) * 0x1p-53);
    (void)rng_normal(&rng); /* words 7 to 10 */
    assert_true(rng.position == 11);
    assert_true(rng_u32(&rng) == words[11]);
}

static void test_below(void **state)
{
    struct rng rng = rng_make(1, 2);
    int seen[7] = {0};

    (void)state;
    for (int i = 0; i < 70000; i++) {
        uint64_t value = rng_below(&rng, 7);

        assert_true(value < 7);
        seen[value]++;
    }
    for (int i = 0; i < 7; i++)
        assert_true(seen[i] > 9500 && seen[i] < 10500); /* five standard deviations */
    assert_true(rng_below(&rng, 1) == 0);
    assert_true(rng_below(&rng, UINT64_MAX) < UINT64_MAX);
}

static void test_distributions(void **state)
{
    struct rng rng = rng_make(5, 6);
    double sum = 0.0, squares = 0.0, fourth = 0.0, uniform = 0.0;
    const int count = 200000;

    (void)state;
    for (int i = 0; i < count; i++) {
        double u = rng_uniform(&rng);
        double x = rng_normal(&rng);

        assert_true(u >= 0.0 && u < 1.0 && isfinite(x));
        uniform += u / count;
        sum += x / count;
        squares += x * x / count;
        fourth += x * x * x * x / count;
    }
    assert_true(fabs(uniform - 0.5) < 0.004);
    assert_true(fabs(sum) < 0.012);
    assert_true(fabs(squares - 1.0) < 0.02);
    assert_true(fabs(fourth - 3.0) < 0.12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_distributions),
    };

    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
