/* SPDX-License-Identifier: MIT
 *
 * Elementwise vector kernels (lib/kernels/vector_map.h) on every instruction set.
 */
#include "kernelcheck.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double normal_cdf(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752440);
}

static double gelu_argument(double x)
{
    return 2.0 * 0.79788456080286535588 * (x + 0.044715 * x * x * x);
}

static double reference(int kind, double x, double parameter)
{
    switch (kind) {
    case VECTOR_EXP:
        return exp(x);
    case VECTOR_LOG:
        return log(x);
    case VECTOR_SQRT:
        return sqrt(x);
    case VECTOR_TANH:
        return tanh(x);
    case VECTOR_SIGMOID:
        return sigmoid(x);
    case VECTOR_RELU:
        return x < 0.0 ? 0.0 : x;
    case VECTOR_LEAKY_RELU:
        return x > 0.0 ? x : parameter * x;
    case VECTOR_GELU:
        return x * normal_cdf(x);
    case VECTOR_GELU_TANH:
        return x * sigmoid(gelu_argument(x));
    case VECTOR_SILU:
        return x * sigmoid(x);
    case VECTOR_SOFTPLUS:
        return x > 40.0 ? x : log1p(exp(x));
    case VECTOR_SQUARE:
        return x * x;
    case VECTOR_ABS:
        return fabs(x);
    default:
        return 1.0 / x;
    }
}

static double slope(int kind, double x, double parameter)
{
    double s;

    switch (kind) {
    case VECTOR_EXP:
        return exp(x);
    case VECTOR_LOG:
        return 1.0 / x;
    case VECTOR_SQRT:
        return 0.5 / sqrt(x);
    case VECTOR_TANH:
        return 1.0 - tanh(x) * tanh(x);
    case VECTOR_SIGMOID:
        return sigmoid(x) * (1.0 - sigmoid(x));
    case VECTOR_RELU:
        return x > 0.0 ? 1.0 : 0.0;
    case VECTOR_LEAKY_RELU:
        return x > 0.0 ? 1.0 : parameter;
    case VECTOR_GELU:
        return normal_cdf(x) + x * exp(-0.5 * x * x) * 0.39894228040143267794;
    case VECTOR_GELU_TANH:
        s = sigmoid(gelu_argument(x));
        return s + x * s * (1.0 - s) * 1.5957691216057307 * (1.0 + 3.0 * 0.044715 * x * x);
    case VECTOR_SILU:
        return sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)));
    case VECTOR_SOFTPLUS:
        return sigmoid(x);
    case VECTOR_SQUARE:
        return 2.0 * x;
    case VECTOR_ABS:
        return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : 0.0;
    default:
        return -1.0 / (x * x);
    }
}

static const char *const names[VECTOR_UNARY_COUNT] = {
    "exp",  "log",       "sqrt", "tanh",     "sigmoid", "relu", "leaky_relu",
    "gelu", "gelu_tanh", "silu", "softplus", "square",  "abs",  "reciprocal"};

/* Units in the last place allowed; the tails of the GELUs multiply the rounding of their exponent.
 */
static double allowed_ulp(int kind, double x)
{
    switch (kind) {
    case VECTOR_SQRT:
    case VECTOR_SQUARE:
    case VECTOR_RECIPROCAL:
    case VECTOR_LEAKY_RELU:
        return 0.5001;
    case VECTOR_RELU:
    case VECTOR_ABS:
        return 0.0;
    case VECTOR_EXP:
    case VECTOR_LOG:
    case VECTOR_TANH:
        return 2.0;
    case VECTOR_SILU:
        return x < -85.0 ? 2.0 - x : 4.0; /* a denormal times x */
    case VECTOR_GELU:
        return 7.0 + x * x;
    case VECTOR_GELU_TANH:
        return 5.0 + 3.0 * fabs(gelu_argument(x));
    default:
        return 4.0;
    }
}

static const float parameter = 0.01f;

/* Every magnitude: random bit patterns, then the range where the functions bend. */
static void accuracy_over_all_floats(void **state)
{
    enum { COUNT = 1 << 16 };
    const struct kernels *tables;
    int table_count = kernelcheck_tables(&tables);
    float *x = guarded_new(COUNT, 1);
    float *y = guarded_new(COUNT, 2);

    (void)state;
    for (int64_t i = 0; i < COUNT; i++) {
        uint32_t bits = (uint32_t)(random_between(0.0f, 65535.0f)) << 16;
        bits |= (uint32_t)random_between(0.0f, 65535.0f);
        if (i % 2)
            x[i] = random_between(-20.0f, 20.0f);
        else
            memcpy(&x[i], &bits, sizeof bits);
    }
    for (int t = 0; t < table_count; t++) {
        for (int kind = 0; kind < VECTOR_UNARY_COUNT; kind++) {
            double worst = 0.0;
            tables[t].vector.unary[kind](y, x, COUNT, parameter);
            for (int64_t i = 0; i < COUNT; i++) {
                double error = ulp_error(y[i], reference(kind, (double)x[i], (double)parameter));
                if (error > allowed_ulp(kind, (double)x[i]))
                    fail_msg("%s %s(%.9g) = %.9g: %.3g ulp", kernelcheck_name(&tables[t]),
                             names[kind], (double)x[i], (double)y[i], error);
                worst = error > worst && fabsf(x[i]) < 4.0f ? error : worst;
            }
            print_message("%s %s: %.2f ulp within |x| < 4\n", kernelcheck_name(&tables[t]),
                          names[kind], worst);
        }
    }
    guarded_free(x);
    guarded_free(y);
}

static void special_values(void **state)
{
    static const float special[] = {
        0.0f,      -0.0f,       INFINITY,  NAN,     1e-45f,  -1e-45f,   1e-39f,  FLT_MIN, FLT_MAX,
        88.72283f, 88.8f,       -87.3366f, -103.9f, -104.1f, 1e9f,      -1e9f,   1.0f,    -1.0f,
        0.625f,    0.99999994f, 1.000001f, -87.0f,  -100.0f, -INFINITY, -FLT_MAX};
    enum { COUNT = sizeof special / sizeof special[0] };
    const struct kernels *tables;
    int table_count = kernelcheck_tables(&tables);
    float y[COUNT];

    (void)state;
    for (int t = 0; t < table_count; t++) {
        for (int kind = 0; kind < VECTOR_UNARY_COUNT; kind++) {
            tables[t].vector.unary[kind](y, special, COUNT, parameter);
            for (int i = 0; i < COUNT; i++) {
                double want = reference(kind, (double)special[i], (double)parameter);
                double limit = allowed_ulp(kind, isfinite(special[i]) ? (double)special[i] : 0.0);
                if (ulp_error(y[i], want) > limit)
                    fail_msg("%s %s(%g) = %g, want %g", kernelcheck_name(&tables[t]), names[kind],
                             (double)special[i], (double)y[i], want);
            }
        }
    }
}

/* One kernel at one length and alignment: guards, the value of every position, in place. */
static void try_unary(const struct vector_kernels *vector, int kind, int64_t n, int64_t offset)
{
    float *x = guarded_new(n, offset);
    float *y = guarded_new(n, (offset * 7 + 3) % 16);

    random_fill(x, n, kind == VECTOR_LOG || kind == VECTOR_SQRT ? 0.01f : -6.0f, 6.0f);
    vector->unary[kind](y, x, n, parameter);
    guarded_check(y, n);
    for (int64_t i = 0; i < n; i++) {
        float alone;
        vector->unary[kind](&alone, x + i, 1, parameter);
        assert_memory_equal(&alone, y + i, sizeof alone);
    }
    vector->unary[kind](x, x, n, parameter);
    guarded_check(x, n);
    if (n > 0)
        assert_memory_equal(x, y, (size_t)n * sizeof *x);
    guarded_free(x);
    guarded_free(y);
}

static void try_backward(const struct vector_kernels *vector, int kind, int64_t n, int64_t offset)
{
    float *x = guarded_new(n, offset);
    float *y = guarded_new(n, 2);
    float *dy = guarded_new(n, 5);
    float *dx = guarded_new(n, 1);
    float *sum = guarded_new(n, 9);
    const float *seen_x = vector_unary_reads[kind] & VECTOR_READS_X ? x : NULL;
    const float *seen_y = vector_unary_reads[kind] & VECTOR_READS_Y ? y : NULL;

    random_fill(x, n, kind == VECTOR_LOG || kind == VECTOR_SQRT ? 0.05f : -9.0f, 9.0f);
    random_fill(dy, n, -2.0f, 2.0f);
    vector->unary[kind](y, x, n, parameter);
    vector->unary_backward[kind](dx, 0.0f, dy, seen_x, seen_y, n, parameter);
    guarded_check(dx, n);
    for (int64_t i = 0; i < n; i++) {
        double want = (double)dy[i] * slope(kind, (double)x[i], (double)parameter);
        expect_close(names[kind], i, (double)dx[i], want, 2e-6 * fabs(want) + 1e-6);
        sum[i] = 0.25f;
    }
    vector->unary_backward[kind](sum, 1.0f, dy, seen_x, seen_y, n, parameter);
    guarded_check(sum, n);
    for (int64_t i = 0; i < n; i++)
        assert_true(sum[i] == 0.25f + dx[i]);
    guarded_free(x);
    guarded_free(y);
    guarded_free(dy);
    guarded_free(dx);
    guarded_free(sum);
}

static void unary_lengths_and_alignments(void **state)
{
    const struct kernels *tables;
    int table_count = kernelcheck_tables(&tables);

    (void)state;
    for (int t = 0; t < table_count; t++) {
        for (int kind = 0; kind < VECTOR_UNARY_COUNT; kind++) {
            for (int i = 0; i < kernelcheck_length_count; i++) {
                try_unary(&tables[t].vector, kind, kernelcheck_lengths[i], i % 16);
                try_backward(&tables[t].vector, kind, kernelcheck_lengths[i], (i + 5) % 16);
            }
        }
    }
}

static double binary_reference(int kind, double a, double b)
{
    switch (kind) {
    case VECTOR_ADD:
        return a + b;
    case VECTOR_SUB:
        return a - b;
    case VECTOR_MUL:
        return a * b;
    case VECTOR_DIV:
        return a / b;
    case VECTOR_MAX:
        return isnan(a) || isnan(b) ? a + b : a > b ? a : b;
    default:
        return isnan(a) || isnan(b) ? a + b : a < b ? a : b;
    }
}

static void expect_row(const char *what, const float *got, const float *a, const float *b, float s,
                       int64_t n, int kind, float before)
{
    for (int64_t i = 0; i < n; i++) {
        double want = binary_reference(kind, (double)(a ? a[i] : s), (double)(b ? b[i] : s));
        want = (double)(float)want + (double)before;
        if (ulp_error(got[i], want) > 0.5001)
            fail_msg("%s kind %d [%d]: got %g, want %g", what, kind, (int)i, (double)got[i], want);
    }
}

static void try_binary(const struct vector_kernels *vector, int kind, int64_t n, int64_t offset)
{
    float *a = guarded_new(n, offset);
    float *b = guarded_new(n, 3);
    float *y = guarded_new(n, (offset + 1) % 16);
    const float s = 1.75f;

    random_fill(a, n, -3.0f, 3.0f);
    random_fill(b, n, -3.0f, 3.0f);
    if (n > 8) {
        a[n - 1] = NAN;
        b[n - 2] = NAN;
        a[0] = INFINITY;
    }
    vector->binary[kind](y, 0.0f, a, b, n);
    guarded_check(y, n);
    expect_row("binary", y, a, b, 0.0f, n, kind, 0.0f);
    vector->fill(y, 0.5f, n);
    vector->binary[kind](y, 1.0f, a, b, n);
    guarded_check(y, n);
    expect_row("binary, added", y, a, b, 0.0f, n, kind, 0.5f);
    vector->binary_scalar[kind](y, 0.0f, a, s, n);
    expect_row("scalar", y, a, NULL, s, n, kind, 0.0f);
    vector->binary_scalar_left[kind](y, 0.0f, s, a, n);
    guarded_check(y, n);
    expect_row("scalar left", y, NULL, a, s, n, kind, 0.0f);
    guarded_free(a);
    guarded_free(b);
    guarded_free(y);
}

static void binary_forms(void **state)
{
    const struct kernels *tables;
    int table_count = kernelcheck_tables(&tables);

    (void)state;
    for (int t = 0; t < table_count; t++) {
        for (int kind = 0; kind < VECTOR_BINARY_COUNT; kind++) {
            for (int i = 0; i < kernelcheck_length_count; i++)
                try_binary(&tables[t].vector, kind, kernelcheck_lengths[i], i % 16);
        }
    }
}

static void try_combinations(const struct vector_kernels *vector, int64_t n)
{
    float *a = guarded_new(n, 1);
    float *b = guarded_new(n, 4);
    float *c = guarded_new(n, 7);
    float *y = guarded_new(n, 2);
    float *z = guarded_new(n, 11);

    random_fill(a, n, -3.0f, 3.0f);
    random_fill(b, n, -3.0f, 3.0f);
    random_fill(c, n, -3.0f, 3.0f);
    vector->affine(y, 0.0f, a, 1.5f, -0.25f, n);
    for (int64_t i = 0; i < n; i++)
        expect_close("affine", i, (double)y[i], 1.5 * (double)a[i] - 0.25, 1e-6);
    vector->axpy(y, -2.0f, b, n);
    vector->affine(y, 1.0f, c, 0.5f, 1.0f, n);
    guarded_check(y, n);
    for (int64_t i = 0; i < n; i++)
        expect_close("axpy", i, (double)y[i],
                     1.5 * (double)a[i] + 0.75 - 2.0 * (double)b[i] + 0.5 * (double)c[i], 4e-6);
    vector->mul3(y, 0.0f, -0.5f, a, b, c, n);
    guarded_check(y, n);
    for (int64_t i = 0; i < n; i++)
        expect_close("mul3", i, (double)y[i], -0.5 * (double)a[i] * (double)b[i] * (double)c[i],
                     1e-5);
    vector->swiglu(y, a, b, n);
    guarded_check(y, n);
    for (int64_t i = 0; i < n; i++)
        expect_close("swiglu", i, (double)y[i], (double)a[i] * sigmoid((double)a[i]) * (double)b[i],
                     4e-6);
    vector->swiglu_backward(y, z, 0.0f, c, a, b, n);
    vector->swiglu_backward(y, z, 1.0f, c, a, b, n);
    guarded_check(y, n);
    guarded_check(z, n);
    for (int64_t i = 0; i < n; i++) {
        double dy = 2.0 * (double)c[i];
        double silu = (double)a[i] * sigmoid((double)a[i]);
        expect_close("dgate", i, (double)y[i],
                     dy * (double)b[i] * slope(VECTOR_SILU, (double)a[i], 0.0), 1e-5);
        expect_close("dup", i, (double)z[i], dy * silu, 1e-5);
    }
    vector->unary[VECTOR_ABS](a, a, n, 0.0f);
    vector->pow(y, a, b, n);
    guarded_check(y, n);
    for (int64_t i = 0; i < n; i++) {
        double want = pow((double)a[i], (double)b[i]);
        expect_close("pow", i, (double)y[i], want, 2e-7 * fabs(want));
    }
    guarded_free(a);
    guarded_free(b);
    guarded_free(c);
    guarded_free(y);
    guarded_free(z);
}

static void combined_forms(void **state)
{
    const struct kernels *tables;
    int table_count = kernelcheck_tables(&tables);

    (void)state;
    for (int t = 0; t < table_count; t++) {
        for (int i = 0; i < kernelcheck_length_count; i++)
            try_combinations(&tables[t].vector, kernelcheck_lengths[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accuracy_over_all_floats),
        cmocka_unit_test(special_values),
        cmocka_unit_test(unary_lengths_and_alignments),
        cmocka_unit_test(binary_forms),
        cmocka_unit_test(combined_forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
