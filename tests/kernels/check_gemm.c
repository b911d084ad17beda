/* SPDX-License-Identifier: MIT
 *
 * The matrix product of every instruction set against a product in double precision: all
 * transposes, edges, leading dimensions, batches, 16-bit operands, and equal bits for any number
 * of threads. Whatever lies between and behind the rows is NaN and must neither be read into a
 * result nor written.
 */
#include "check.h"

#include <float.h>
#include <stdio.h>

struct test_case {
    struct gemm g;
    float *a, *c, *c_before, *bias;
    void *b;
    double *wide_b; /* B as the reference sees it */
    int64_t count_a, count_b, count_c;
    void *blocks[8];
    int used;
};

static void *operand(struct test_case *t, int64_t count, size_t size)
{
    return check_operand(count, size, &t->blocks[t->used++]);
}

/* Random bits of a 16-bit float of moderate size, and what they mean. */
static uint16_t small_float(uint64_t *state, enum gemm_type type, double *value)
{
    int fraction_bits = type == GEMM_BF16 ? 7 : 10;
    int bias = type == GEMM_BF16 ? 127 : 15;
    uint32_t fraction = check_random(state) & ((1u << fraction_bits) - 1u);
    int exponent = (int)check_between(state, -6, 0) + bias;
    uint32_t sign = check_random(state) & 1u;
    double mantissa = 1.0 + (double)fraction / (double)(1u << fraction_bits);

    if (type == GEMM_F16 && check_random(state) % 16 == 0) { /* subnormal */
        exponent = 0;
        *value = (double)fraction * 0x1p-24;
    } else {
        *value = ldexp(mantissa, exponent - bias);
    }
    if (sign)
        *value = -*value;
    return (uint16_t)(sign << 15 | (uint32_t)exponent << fraction_bits | fraction);
}

static void fill_b(struct test_case *t, uint64_t *state, int64_t at)
{
    double value = 0.0;

    if (t->g.b_type == GEMM_F32) {
        ((float *)t->b)[at] = check_float(state);
        value = (double)((float *)t->b)[at];
    } else {
        ((uint16_t *)t->b)[at] = small_float(state, t->g.b_type, &value);
    }
    t->wide_b[at] = value;
}

static int64_t extent(int64_t rows, int64_t width, int64_t ld, int64_t stride, int64_t batch)
{
    return rows > 0 && width > 0 ? (batch - 1) * stride + (rows - 1) * ld + width : 0;
}

static void make(struct test_case *t, uint64_t *state)
{
    struct gemm *g = &t->g;
    int64_t rows_a = g->trans_a ? g->k : g->m;
    int64_t width_a = g->trans_a ? g->m : g->k;
    int64_t rows_b = g->trans_b ? g->n : g->k;
    int64_t width_b = g->trans_b ? g->k : g->n;

    g->lda += width_a;
    g->ldb += width_b;
    g->ldc += g->n;
    g->stride_a = g->stride_a < 0 ? 0 : g->stride_a + rows_a * g->lda;
    g->stride_b = g->stride_b < 0 ? 0 : g->stride_b + rows_b * g->ldb;
    g->stride_c += g->m * g->ldc;
    t->count_a = extent(rows_a, width_a, g->lda, g->stride_a, g->batch);
    t->count_b = extent(rows_b, width_b, g->ldb, g->stride_b, g->batch);
    t->count_c = extent(g->m, g->n, g->ldc, g->stride_c, g->batch);
    t->a = operand(t, t->count_a, sizeof *t->a);
    t->b = operand(t, t->count_b, g->b_type == GEMM_F32 ? 4 : 2);
    t->c = operand(t, t->count_c, sizeof *t->c);
    t->c_before = operand(t, t->count_c, sizeof *t->c);
    t->bias = operand(t, g->n, sizeof *t->bias);
    t->wide_b = operand(t, t->count_b, sizeof *t->wide_b);
    for (int64_t s = 0; s < g->batch; s++) {
        for (int64_t i = 0; i < rows_a * width_a; i++)
            t->a[s * g->stride_a + i / width_a * g->lda + i % width_a] = check_float(state);
        for (int64_t i = 0; i < rows_b * width_b; i++)
            fill_b(t, state, s * g->stride_b + i / width_b * g->ldb + i % width_b);
        for (int64_t i = 0; g->beta != 0.0f && i < g->m * g->n; i++)
            t->c_before[s * g->stride_c + i / g->n * g->ldc + i % g->n] = check_float(state);
    }
    for (int64_t j = 0; j < g->n; j++)
        t->bias[j] = check_float(state);
    g->a = t->a;
    g->b = t->b;
    g->c = t->c;
    g->bias = g->bias ? t->bias : NULL;
}

static void unmake(struct test_case *t)
{
    for (int i = 0; i < t->used; i++)
        free(t->blocks[i]);
}

static void run(const struct kernels *kernels, struct test_case *t, int threads)
{
    size_t bytes;
    void *scratch = NULL;
    unsigned char *end;

    t->g.threads = threads;
    bytes = gemm_scratch_bytes(&kernels->gemm, &t->g);
    assert_int_equal(posix_memalign(&scratch, GEMM_ALIGNMENT, bytes + 64), 0);
    memset(scratch, 0xFF, bytes + 64);
    end = (unsigned char *)scratch + bytes;
    t->g.scratch = scratch;
    memcpy(t->c, t->c_before, (size_t)t->count_c * sizeof *t->c);
    gemm_run(&kernels->gemm, &t->g);
    for (int i = 0; i < 64; i++)
        assert_int_equal(end[i], 0xFF);
    free(scratch);
}

static void describe(const struct kernels *kernels, const struct gemm *g)
{
    fprintf(stderr, "%s: m %d n %d k %d trans %d%d type %d alpha %g beta %g bias %d batch %d\n",
            kernels->gemm.name, (int)g->m, (int)g->n, (int)g->k, g->trans_a, g->trans_b,
            (int)g->b_type, (double)g->alpha, (double)g->beta, g->bias != NULL, (int)g->batch);
}

static void compare_element(const struct kernels *kernels, const struct test_case *t, int64_t s,
                            int64_t i, int64_t j)
{
    const struct gemm *g = &t->g;
    int64_t at = s * g->stride_c + i * g->ldc + j;
    double sum = 0.0;
    double size = 0.0;
    double error;
    double expected;

    for (int64_t p = 0; p < g->k; p++) {
        double a = (double)t->a[s * g->stride_a + (g->trans_a ? p * g->lda + i : i * g->lda + p)];
        double b = t->wide_b[s * g->stride_b + (g->trans_b ? j * g->ldb + p : p * g->ldb + j)];

        sum += a * b;
        size += fabs(a * b);
    }
    expected = (double)g->alpha * sum;
    size *= fabs((double)g->alpha);
    if (g->beta != 0.0f) {
        expected += (double)g->beta * (double)t->c_before[at];
        size += fabs((double)g->beta * (double)t->c_before[at]);
    }
    if (g->bias) {
        expected += (double)t->bias[j];
        size += fabs((double)t->bias[j]);
    }
    error = fabs((double)t->c[at] - expected);
    if (!(error <= (double)FLT_EPSILON * (2.0 + 0.5 * sqrt((double)g->k)) * size)) {
        describe(kernels, g);
        fail_msg("element %d %d of product %d is %.9g, not %.9g", (int)i, (int)j, (int)s,
                 (double)t->c[at], expected);
    }
}

static void compare(const struct kernels *kernels, const struct test_case *t)
{
    const struct gemm *g = &t->g;
    static const unsigned char nan_bytes[4] = {0xFF, 0xFF, 0xFF, 0xFF};

    for (int64_t at = 0; at < t->count_c; at++) {
        int64_t s = at / g->stride_c < g->batch ? at / g->stride_c : g->batch - 1;
        int64_t i = (at - s * g->stride_c) / g->ldc;
        int64_t j = (at - s * g->stride_c) % g->ldc;

        if (i < g->m && j < g->n)
            compare_element(kernels, t, s, i, j);
        else if (memcmp(&t->c[at], nan_bytes, 4) != 0) {
            describe(kernels, g);
            fail_msg("wrote between the rows, at %d", (int)at);
        }
    }
}

static void check_case(const struct kernels *kernels, const struct gemm *g, uint64_t *state)
{
    static const int teams[] = {2, 3, 5};
    struct test_case t = {.g = *g};
    float *once;

    make(&t, state);
    once = malloc((size_t)t.count_c * sizeof *once);
    assert_non_null(once);
    run(kernels, &t, 1);
    compare(kernels, &t);
    memcpy(once, t.c, (size_t)t.count_c * sizeof *once);
    for (size_t i = 0; i < sizeof teams / sizeof *teams; i++) {
        run(kernels, &t, teams[i]);
        if (memcmp(once, t.c, (size_t)t.count_c * sizeof *once) != 0) {
            describe(kernels, &t.g);
            fail_msg("%d threads give other bits", teams[i]);
        }
    }
    free(once);
    unmake(&t);
}

static struct gemm random_case(uint64_t *state)
{
    static const float scales[] = {1.0f, 1.0f, 0.0f, -0.5f, 2.5f};
    static const int64_t sizes[] = {127, 129, 161, 255, 257, 385, 401, 511};
    struct gemm g = {.m = check_between(state, 1, 67),
                     .n = check_between(state, 1, 67),
                     .k = check_between(state, 0, 67)};
    int64_t *const dims[] = {&g.m, &g.n, &g.k};
    static const float some_bias;

    if (check_random(state) % 4 == 0)
        *dims[check_random(state) % 3] = check_between(state, 1, 8);
    if (check_random(state) % 2 == 0)
        *dims[check_random(state) % 3] = sizes[check_random(state) % 8];
    g.trans_a = check_random(state) & 1;
    g.trans_b = check_random(state) & 1;
    g.steady_rows = check_random(state) % 4 == 0;
    g.b_type = (enum gemm_type)(check_random(state) % GEMM_TYPES);
    g.alpha = scales[check_random(state) % 5];
    g.beta = scales[check_random(state) % 5];
    g.bias = check_random(state) & 1 ? &some_bias : NULL;
    g.batch = check_random(state) % 3 == 0 ? check_between(state, 2, 5) : 1;
    if (check_random(state) & 1) {
        g.lda = check_between(state, 0, 9);
        g.ldb = check_between(state, 0, 9);
        g.ldc = check_between(state, 0, 9);
        g.stride_a = check_between(state, -1, 9);
        g.stride_b = check_between(state, -1, 9);
        g.stride_c = check_between(state, 0, 9);
    }
    return g;
}

static void check_random_cases(const struct kernels *kernels)
{
    uint64_t state = 88172645463325252u;

    for (int i = 0; i < 700; i++) {
        struct gemm g = random_case(&state);

        check_case(kernels, &g, &state);
    }
}

/* Every small shape: all tails of rows, columns and k. */
static void check_small_cases(const struct kernels *kernels)
{
    uint64_t state = 362436069u;

    for (int64_t i = 0; i < 18 * 4; i++) {
        for (int64_t n = 1; n < 40; n += 3) {
            struct gemm g = {.m = i / 4 + 1, .n = n, .k = 1 + (i * 7 + n) % 37, .alpha = 1.0f};

            g.trans_a = i & 1;
            g.trans_b = i & 2;
            g.batch = 1;
            check_case(kernels, &g, &state);
        }
    }
}

/* Shapes of several blocks in each direction. */
static void check_large_cases(const struct kernels *kernels)
{
    static const int64_t shapes[][3] = {
        {1, 1031, 1999}, {5, 515, 2049}, {33, 801, 1153}, {203, 419, 771}, {1025, 67, 33},
        {3, 5, 5003},    {301, 4, 997},  {611, 1, 65},    {64, 64, 1300},
    };
    uint64_t state = 521288629u;

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int mode = 0; mode < 4; mode++) {
            struct gemm g = {.m = shapes[i][0],
                             .n = shapes[i][1],
                             .k = shapes[i][2],
                             .alpha = 1.0f,
                             .beta = mode == 2 ? 1.0f : 0.0f,
                             .b_type = (enum gemm_type)((i + (size_t)mode) % GEMM_TYPES),
                             .batch = 1};

            g.trans_a = mode & 1;
            g.trans_b = mode & 2;
            check_case(kernels, &g, &state);
        }
    }
}

/* The promise about the bits of a row: one row alone equals that row among many. */
static void check_steady_rows(const struct kernels *kernels)
{
    uint64_t state = 123456789u;

    for (int i = 0; i < 40; i++) {
        struct gemm g = random_case(&state);
        struct test_case t;
        float *row;
        int64_t at;

        g.m = check_between(&state, 2, 150);
        g.batch = 1;
        g.trans_a = false;
        g.steady_rows = g.trans_b;
        t = (struct test_case){.g = g};
        make(&t, &state);
        run(kernels, &t, 1);
        at = check_between(&state, 0, g.m - 1) * t.g.ldc;
        row = malloc((size_t)g.n * sizeof *row);
        assert_non_null(row);
        memcpy(row, t.c + at, (size_t)g.n * sizeof *row);
        t.g.a += at / t.g.ldc * t.g.lda;
        t.g.c += at;
        t.g.m = 1;
        run(kernels, &t, 1);
        assert_memory_equal(row, t.c + at, (size_t)g.n * sizeof *row);
        free(row);
        unmake(&t);
    }
}

/* The portable table with large products given to OpenBLAS, and the words of a choice. */
static void test_openblas(void **state)
{
    struct kernels kernels;

    (void)state;
    kernels_fill(&kernels, 0);
    assert_false(gemm_pin(&kernels.gemm, "fastest"));
    assert_true(gemm_pin(&kernels.gemm, "own"));
    assert_string_equal(gemm_choice_name(&kernels.gemm), "own");
    if (!gemm_pin(&kernels.gemm, "openblas")) {
        assert_string_equal(gemm_choice_name(&kernels.gemm), "own");
        print_message("SKIPPED: OpenBLAS is not installed\n");
        skip();
    }
    assert_string_equal(gemm_choice_name(&kernels.gemm), "openblas");
    check_random_cases(&kernels);
    check_large_cases(&kernels);
}

static void test_random_cases(void **state)
{
    (void)state;
    check_each_isa(check_random_cases);
}

static void test_small_cases(void **state)
{
    (void)state;
    check_each_isa(check_small_cases);
}

static void test_large_cases(void **state)
{
    (void)state;
    check_each_isa(check_large_cases);
}

static void test_steady_rows(void **state)
{
    (void)state;
    check_each_isa(check_steady_rows);
}

static void test_empty_products(void **state)
{
    struct kernels kernels;
    float c = 3.0f;
    struct gemm g = {.n = 1, .k = 1, .alpha = 1.0f, .c = &c, .ldc = 1};

    (void)state;
    kernels_fill(&kernels, cpu_features(LLM_ISA_AUTO));
    assert_true(gemm_scratch_bytes(&kernels.gemm, &g) > 0);
    gemm_run(&kernels.gemm, &g);
    g.m = 1;
    g.n = 0;
    gemm_run(&kernels.gemm, &g);
    assert_true(c == 3.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_cases),   cmocka_unit_test(test_small_cases),
        cmocka_unit_test(test_large_cases),    cmocka_unit_test(test_steady_rows),
        cmocka_unit_test(test_empty_products), cmocka_unit_test(test_openblas),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
