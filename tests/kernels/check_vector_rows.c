/* SPDX-License-Identifier: MIT
 *
 * Vector kernels that look at whole rows: reductions, softmax, cross-entropy, norms, dropout,
 * embedding rows, optimizers, 16-bit conversion; on every instruction set.
 */
#include "kernelcheck.h"

#include "base/rng.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef void (*length_check)(const struct vector_kernels *vector, int64_t n);

static void each_length(length_check check)
{
    const struct kernels *tables;
    int table_count = kernelcheck_tables(&tables);

    for (int t = 0; t < table_count; t++) {
        for (int i = 0; i < kernelcheck_length_count; i++)
            check(&tables[t].vector, kernelcheck_lengths[i]);
    }
}

static float *normal_row(int64_t n, int64_t offset, float scale)
{
    float *x = guarded_new(n, offset);

    for (int64_t i = 0; i < n; i++)
        x[i] = scale * random_normal();
    return x;
}

/* ---- reductions -------------------------------------------------------------------------------
 */

static void check_reductions(const struct vector_kernels *vector, int64_t n)
{
    float *a = normal_row(n, 3, 2.0f);
    float *b = normal_row(n, 6, 2.0f);
    double sum = 0.0, sizes = 0.0, dot = 0.0, dots = 0.0, squares = 0.0, differences = 0.0;
    float largest = -INFINITY, farthest = 0.0f;

    for (int64_t i = 0; i < n; i++) {
        double x = (double)a[i], y = (double)b[i];
        sum += x;
        sizes += fabs(x);
        dot += x * y;
        dots += fabs(x * y);
        squares += x * x;
        differences += (x - y) * (x - y);
        largest = fmaxf(largest, a[i]);
        farthest = fmaxf(farthest, fabsf(a[i]));
    }
    expect_close("sum", n, vector->sum(a, n), sum, 1e-6 * sizes);
    expect_close("dot", n, vector->dot(a, b, n), dot, 1e-6 * dots);
    expect_close("sum_squares", n, vector->sum_squares(a, n), squares, 1e-6 * squares);
    expect_close("sum_squared_difference", n, vector->sum_squared_difference(a, b, n), differences,
                 1e-6 * differences);
    assert_true(vector->max(a, n) == largest);
    assert_true(vector->absmax(a, n) == farthest);
    if (n > 0) {
        a[n / 2] = NAN;
        assert_true(isnan(vector->max(a, n)));
        assert_true(isnan(vector->absmax(a, n)));
    }
    guarded_free(a);
    guarded_free(b);
}

static void reductions(void **state)
{
    (void)state;
    each_length(check_reductions);
}

static void check_mean_variance(const struct vector_kernels *vector, int64_t n)
{
    float *x = normal_row(n, 5, 0.5f);
    double mean = 0.0, variance = 0.0, got_mean, got_variance;

    for (int64_t i = 0; i < n; i++)
        x[i] += 1000.0f; /* one pass with squares would lose everything */
    for (int64_t i = 0; i < n; i++)
        mean += (double)x[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
    vector->mean_variance(&got_mean, &got_variance, x, n);
    expect_close("mean", n, got_mean, mean, 1e-6 * fabs(mean));
    expect_close("variance", n, got_variance, variance, 2e-6 * variance + 1e-9);
    guarded_free(x);
}

static void mean_and_variance(void **state)
{
    (void)state;
    each_length(check_mean_variance);
}

/* ---- softmax ----------------------------------------------------------------------------------
 */

static double reference_lse(const float *x, int64_t n)
{
    double top = -HUGE_VAL, sum = 0.0;

    for (int64_t i = 0; i < n; i++)
        top = fmax(top, (double)x[i]);
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)x[i] - top);
    return top + log(sum);
}

static void check_softmax(const struct vector_kernels *vector, int64_t n)
{
    float *x = normal_row(n, 2, 4.0f);
    float *y = guarded_new(n, 7);
    float *dy = normal_row(n, 1, 1.0f);
    float *dx = guarded_new(n, 8);
    double lse, inner = 0.0, total = 0.0;

    if (n > 4)
        x[n / 2] = -INFINITY; /* a masked score */
    lse = reference_lse(x, n);
    vector->softmax(y, x, n);
    guarded_check(y, n);
    for (int64_t i = 0; i < n; i++) {
        double want = exp((double)x[i] - lse);
        expect_close("softmax", i, (double)y[i], want, 3e-6 * want);
        inner += want * (double)dy[i];
        total += (double)dy[i];
    }
    vector->softmax_backward(dx, 0.0f, dy, y, n);
    vector->softmax_backward(dx, 1.0f, dy, y, n);
    guarded_check(dx, n);
    for (int64_t i = 0; i < n; i++) {
        double p = exp((double)x[i] - lse);
        expect_close("softmax dx", i, (double)dx[i], 2.0 * p * ((double)dy[i] - inner), 2e-5 * p);
    }
    vector->log_softmax(y, x, n);
    vector->log_softmax_backward(dx, 0.0f, dy, y, n);
    guarded_check(y, n);
    guarded_check(dx, n);
    for (int64_t i = 0; i < n; i++) {
        double p = exp((double)x[i] - lse);
        expect_close("log_softmax", i, (double)y[i], (double)x[i] - lse, 4e-6);
        expect_close("log_softmax dx", i, (double)dx[i], (double)dy[i] - p * total,
                     1e-5 * (1.0 + p * fabs(total)));
    }
    if (n > 0)
        expect_close("log_sum_exp", n, (double)vector->log_sum_exp(x, n), lse, 2e-6);
    vector->softmax(x, x, n); /* in place */
    vector->softmax(y, y, 0);
    guarded_check(x, n);
    guarded_free(x);
    guarded_free(y);
    guarded_free(dy);
    guarded_free(dx);
}

static void softmax_rows(void **state)
{
    (void)state;
    each_length(check_softmax);
}

static void softmax_extremes(void **state)
{
    const struct kernels *tables;
    int table_count = kernelcheck_tables(&tables);
    float y[3];

    (void)state;
    for (int t = 0; t < table_count; t++) {
        const struct vector_kernels *vector = &tables[t].vector;
        vector->softmax(y, (const float[]){FLT_MAX, -FLT_MAX, 0.0f}, 3);
        assert_true(y[0] == 1.0f && y[1] == 0.0f && y[2] == 0.0f);
        vector->softmax(y, (const float[]){-1e30f, -1e30f, -INFINITY}, 3);
        assert_true(y[0] == 0.5f && y[1] == 0.5f && y[2] == 0.0f);
        vector->softmax(y, (const float[]){-INFINITY, -INFINITY, -INFINITY}, 3);
        assert_true(isnan(y[0]) && isnan(y[1]) && isnan(y[2]));
        vector->softmax(y, (const float[]){0.0f, NAN, 1.0f}, 3);
        assert_true(isnan(y[0]) && isnan(y[1]) && isnan(y[2]));
    }
}

/* ---- cross-entropy ----------------------------------------------------------------------------
 */

static void check_cross_entropy(const struct vector_kernels *vector, int64_t n)
{
    const float smoothing = n % 2 ? 0.1f : 0.0f;
    const float scale = 0.125f;
    float *x = normal_row(n, 4, 3.0f);
    float *q = guarded_new(n, 9);
    float *gradient = guarded_new(n, 5);
    double lse = reference_lse(x, n), e = (double)smoothing, want = 0.0, soft = 0.0, total = 0.0;
    int64_t target = n / 3;
    float loss, got_lse;

    if (n == 0)
        goto done;
    random_fill(q, n, 0.0f, 2.0f / (float)n);
    for (int64_t i = 0; i < n; i++) {
        double t = (i == target ? 1.0 - e : 0.0) + e / (double)n;
        double s = (double)q[i] * (1.0 - e) + e / (double)n;
        want -= t * ((double)x[i] - lse);
        soft -= s * ((double)x[i] - lse);
        total += s;
    }
    loss = vector->cross_entropy(NULL, &got_lse, x, n, target, smoothing, scale);
    expect_close("loss", n, (double)loss, want, 2e-6 * (1.0 + fabs(want)));
    expect_close("lse", n, (double)got_lse, lse, 2e-6 * (1.0 + fabs(lse)));
    assert_true(loss == vector->cross_entropy(gradient, NULL, x, n, target, smoothing, scale));
    guarded_check(gradient, n);
    for (int64_t i = 0; i < n; i++) {
        double t = (i == target ? 1.0 - e : 0.0) + e / (double)n;
        expect_close("gradient", i, (double)gradient[i],
                     (double)scale * (exp((double)x[i] - lse) - t), 1e-7);
    }
    loss = vector->cross_entropy_soft(gradient, &got_lse, x, q, n, smoothing, scale);
    guarded_check(gradient, n);
    expect_close("soft loss", n, (double)loss, soft, 3e-6 * (1.0 + fabs(soft)));
    for (int64_t i = 0; i < n; i++) {
        double t = (double)q[i] * (1.0 - e) + e / (double)n;
        expect_close("soft gradient", i, (double)gradient[i],
                     (double)scale * (exp((double)x[i] - lse) * total - t), 2e-7);
    }
    (void)vector->cross_entropy(x, NULL, x, n, target, smoothing, scale); /* in place */
    guarded_check(x, n);
    assert_true(x[target] <= 0.0f);
done:
    guarded_free(x);
    guarded_free(q);
    guarded_free(gradient);
}

static void cross_entropy_rows(void **state)
{
    (void)state;
    each_length(check_cross_entropy);
}

/* ---- norms ------------------------------------------------------------------------------------
 */

enum { ROWS = 3 };

struct norm_case {
    int64_t n;
    int is_layer_norm;
    double offset;
    const float *x, *weight, *bias, *dy;
};

/* One row in double: y and dx, the sums for dweight and dbias added. */
static void norm_reference(const struct norm_case *c, int64_t row, double *y, double *dx,
                           double *dweight, double *dbias)
{
    const float *x = c->x + row * c->n;
    const float *dy = c->dy + row * c->n;
    double n = (double)c->n, mean = 0.0, variance = 0.0, a = 0.0, b = 0.0, rstd;

    for (int64_t i = 0; i < c->n && c->is_layer_norm; i++)
        mean += (double)x[i] / n;
    for (int64_t i = 0; i < c->n; i++)
        variance += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
    rstd = 1.0 / sqrt(variance + 1e-5);
    for (int64_t i = 0; i < c->n; i++) {
        double w = c->weight ? (double)c->weight[i] + c->offset : 1.0;
        double h = ((double)x[i] - mean) * rstd;
        y[i] = h * w + (c->bias ? (double)c->bias[i] : 0.0);
        a += c->is_layer_norm ? (double)dy[i] * w / n : 0.0;
        b += (double)dy[i] * w * h / n;
        dweight[i] += (double)dy[i] * h;
        dbias[i] += (double)dy[i];
    }
    for (int64_t i = 0; i < c->n; i++) {
        double w = c->weight ? (double)c->weight[i] + c->offset : 1.0;
        double h = ((double)x[i] - mean) * rstd;
        dx[i] = rstd * ((double)dy[i] * w - a - h * b);
    }
}

static void run_norm(const struct vector_kernels *vector, const struct norm_case *c, float *y,
                     float *dx, float *dweight, float *dbias)
{
    float mean[ROWS], rstd[ROWS];

    if (c->is_layer_norm) {
        vector->layer_norm(y, mean, rstd, c->x, c->weight, c->bias, ROWS, c->n, 1e-5f);
        vector->layer_norm_backward(dx, 0.0f, dweight, dbias, c->dy, c->x, c->weight, mean, rstd,
                                    ROWS, c->n);
        vector->layer_norm_backward(dx, 1.0f, NULL, NULL, c->dy, c->x, c->weight, mean, rstd, ROWS,
                                    c->n);
    } else {
        vector->rms_norm(y, rstd, c->x, c->weight, (float)c->offset, ROWS, c->n, 1e-5f);
        vector->rms_norm_backward(dx, 0.0f, dweight, c->dy, c->x, c->weight, (float)c->offset, rstd,
                                  ROWS, c->n);
        vector->rms_norm_backward(dx, 1.0f, NULL, c->dy, c->x, c->weight, (float)c->offset, rstd,
                                  ROWS, c->n);
    }
}

static void check_norm(const struct vector_kernels *vector, struct norm_case *c)
{
    int64_t n = c->n;
    float *y = guarded_new(ROWS * n, 1);
    float *dx = guarded_new(ROWS * n, 2);
    float *dweight = guarded_new(n, 3);
    float *dbias = guarded_new(n, 4);
    double *want = calloc((size_t)(4 * n + 1), sizeof *want);

    const double few = n < 8 ? 100.0 : 1.0; /* few elements may lie close together: rstd is large */

    assert_non_null(want);
    vector->fill(dweight, 0.5f, n);
    vector->fill(dbias, 0.5f, n);
    run_norm(vector, c, y, dx, dweight, dbias);
    guarded_check(y, ROWS * n);
    guarded_check(dx, ROWS * n);
    guarded_check(dweight, n);
    guarded_check(dbias, n);
    for (int64_t row = 0; row < ROWS; row++) {
        norm_reference(c, row, want, want + n, want + 2 * n, want + 3 * n);
        for (int64_t i = 0; i < n; i++) {
            expect_close("norm y", i, (double)y[row * n + i], want[i], 6e-6 * few);
            expect_close("norm dx", i, (double)dx[row * n + i], 2.0 * want[n + i],
                         1e-5 * (1.0 + fabs(want[n + i])) * few);
        }
    }
    for (int64_t i = 0; i < n; i++) {
        expect_close("dweight", i, (double)dweight[i], 0.5 + want[2 * n + i], 1e-5 * few);
        if (c->is_layer_norm)
            expect_close("dbias", i, (double)dbias[i], 0.5 + want[3 * n + i], 1e-5);
    }
    free(want);
    guarded_free(y);
    guarded_free(dx);
    guarded_free(dweight);
    guarded_free(dbias);
}

static void check_norms(const struct vector_kernels *vector, int64_t n)
{
    float *x = normal_row(ROWS * n, 6, 2.0f);
    float *weight = normal_row(n, 7, 1.0f);
    float *bias = normal_row(n, 8, 1.0f);
    float *dy = normal_row(ROWS * n, 9, 1.0f);
    struct norm_case c = {n, 1, 0.0, x, weight, bias, dy};

    for (int64_t i = 0; i < ROWS * n; i++)
        x[i] += 3.0f;
    check_norm(vector, &c);
    c.weight = c.bias = NULL;
    check_norm(vector, &c);
    c.is_layer_norm = 0;
    check_norm(vector, &c);
    c.weight = weight;
    c.offset = 1.0;
    check_norm(vector, &c);
    guarded_free(x);
    guarded_free(weight);
    guarded_free(bias);
    guarded_free(dy);
}

static void norms(void **state)
{
    (void)state;
    each_length(check_norms);
}

static void check_column_sums(const struct vector_kernels *vector, int64_t n)
{
    const int64_t rows = 1 + n % 150, stride = n + 3;
    float *x = normal_row(rows * stride, 3, 1.0f);
    float *y = guarded_new(n, 1);

    vector->column_sums(y, 0.0f, x, rows, n, stride);
    vector->column_sums(y, 1.0f, x, rows, n, stride);
    guarded_check(y, n);
    for (int64_t j = 0; j < n; j++) {
        double want = 0.0;
        for (int64_t r = 0; r < rows; r++)
            want += 2.0 * (double)x[r * stride + j];
        expect_close("column sum", j, (double)y[j], want, 3e-6 * sqrt((double)rows) * 4.0);
    }
    guarded_free(x);
    guarded_free(y);
}

static void column_sums(void **state)
{
    (void)state;
    each_length(check_column_sums);
}

/* ---- dropout, rows, conversion ----------------------------------------------------------------
 */

static void try_dropout(const struct vector_kernels *vector, int64_t n, uint64_t first)
{
    const struct vector_dropout dropout = {0x123456789abcdefu, 0xfedcba987654321u, first,
                                           0x40000000u, 4.0f / 3.0f};
    float *x = normal_row(n, 2, 1.0f);
    float *y = guarded_new(n, 5);
    uint32_t words[4];

    vector->dropout(y, 0.0f, x, n, &dropout);
    guarded_check(y, n);
    for (int64_t i = 0; i < n; i++) {
        uint64_t element = first + (uint64_t)i;
        philox(dropout.seed, dropout.stream, element / 4, words);
        assert_true(y[i] == (words[element % 4] < dropout.threshold ? 0.0f : x[i] * dropout.scale));
    }
    vector->dropout(x, 1.0f, x, n, &dropout);
    guarded_check(x, n);
    guarded_free(x);
    guarded_free(y);
}

static void check_dropout(const struct vector_kernels *vector, int64_t n)
{
    try_dropout(vector, n, 0);
    try_dropout(vector, n, (uint64_t)n * 3 + 1);
    try_dropout(vector, n, (uint64_t)UINT32_MAX * 4 - 100); /* the counter's low word wraps */
}

static void dropout_bits(void **state)
{
    (void)state;
    each_length(check_dropout);
}

static void check_rows(const struct vector_kernels *vector, int64_t n)
{
    static const int32_t ids[] = {4, 0, 4, 2, 4};
    const int64_t stride = n + 2;
    float *table = normal_row(5 * stride, 1, 1.0f);
    float *before = normal_row(5 * stride, 1, 1.0f);
    float *y = guarded_new(5 * stride, 3);

    memcpy(before, table, (size_t)(5 * stride) * sizeof *table);
    vector->gather_rows(y, stride, table, stride, ids, 5, n);
    guarded_check(y, 5 * stride);
    for (int r = 0; r < 5 && n > 0; r++)
        assert_memory_equal(y + r * stride, table + ids[r] * stride, (size_t)n * sizeof *y);
    vector->scatter_add_rows(table, stride, y, stride, ids, 5, n);
    guarded_check(table, 5 * stride);
    for (int64_t j = 0; j < n; j++) {
        expect_close("scatter", j, (double)table[4 * stride + j],
                     4.0 * (double)before[4 * stride + j], 1e-5);
        assert_true(table[stride + j] == before[stride + j]);
        assert_true(table[2 * stride + j] == 2.0f * before[2 * stride + j]);
    }
    guarded_free(table);
    guarded_free(before);
    guarded_free(y);
}

static void embedding_rows(void **state)
{
    (void)state;
    each_length(check_rows);
}

/* Every 16-bit value there and back, every rounding boundary between two of them. */
static void half_precision(void **state)
{
    enum { COUNT = 65536 };
    const struct kernels *tables;
    int table_count = kernelcheck_tables(&tables);
    uint16_t *half = malloc(COUNT * sizeof *half), *back = malloc(COUNT * sizeof *back);
    float *wide = guarded_new(COUNT, 1);

    (void)state;
    assert_true(half && back);
    for (int t = 0; t < table_count; t++) {
        const struct vector_kernels *vector = &tables[t].vector;
        for (int i = 0; i < COUNT; i++)
            half[i] = (uint16_t)i;
        vector->f16_to_f32(wide, half, COUNT - 3);
        vector->f32_to_f16(back, wide, COUNT - 3);
        for (int i = 0; i < COUNT - 3; i++)
            assert_int_equal(back[i], (i & 0x7fff) > 0x7c00 ? half[i] | 0x200 : half[i]);
        assert_true(wide[0x3c00] == 1.0f && wide[1] == 0x1p-24f && wide[0x7bff] == 65504.0f);
        for (int i = 0; i < 0x7bff; i++) { /* halfway between i and i + 1: to the even one */
            wide[i] = wide[i] + (wide[i + 1] - wide[i]) * 0.5f;
        }
        vector->f32_to_f16(back, wide, 0x7bff);
        for (int i = 0; i < 0x7bff; i++)
            assert_int_equal(back[i], i + (i & 1));
        vector->bf16_to_f32(wide, half, COUNT - 5);
        vector->f32_to_bf16(back, wide, COUNT - 5);
        for (int i = 0; i < COUNT - 5; i++)
            assert_int_equal(back[i], (i & 0x7fff) > 0x7f80 ? half[i] | 0x40 : half[i]);
        for (int i = 0; i < 21; i++)
            wide[i] =
                (float[]){1.00390625f, 1.01171875f, 3.4e38f, 65520.0f, NAN, 1e-8f, 3e-8f}[i % 7];
        vector->f32_to_bf16(back, wide, 21);
        assert_true(back[0] == 0x3f80 && back[1] == 0x3f82 && back[2] == 0x7f80 &&
                    back[20] == back[6]);
        vector->f32_to_f16(back, wide, 21);
        assert_true(back[3] == 0x7c00 && back[5] == 0 && back[6] == 1 && back[4] == 0x7e00);
        assert_true(back[17] == 0x7c00 && back[19] == 0 && back[20] == 1 && back[18] == 0x7e00);
    }
    free(half);
    free(back);
    guarded_free(wide);
}

/* ---- optimizers -------------------------------------------------------------------------------
 */

static void check_adamw(const struct vector_kernels *vector, int64_t n)
{
    float *w = normal_row(n, 1, 1.0f), *g = normal_row(n, 4, 1.0f);
    float *m = guarded_new(n, 2), *v = guarded_new(n, 3);
    double *ref = calloc((size_t)(3 * n + 1), sizeof *ref);

    assert_non_null(ref);
    vector->fill(m, 0.0f, n);
    vector->fill(v, 0.0f, n);
    for (int64_t i = 0; i < n; i++)
        ref[i] = (double)w[i];
    for (int step = 1; step <= 4; step++) {
        struct vector_adamw s = vector_adamw_make(1e-2, 0.9, 0.99, 1e-8, 0.1, step, 0.5);
        vector->adamw(w, m, v, g, n, &s);
        for (int64_t i = 0; i < n; i++) { /* torch.optim.AdamW */
            double d = 0.5 * (double)g[i], *p = ref + i, *p1 = ref + n + i, *p2 = ref + 2 * n + i;
            *p *= 1.0 - 1e-2 * 0.1;
            *p1 = 0.9 * *p1 + 0.1 * d;
            *p2 = 0.99 * *p2 + 0.01 * d * d;
            *p -= 1e-2 / (1.0 - pow(0.9, step)) * *p1 /
                  (sqrt(*p2) / sqrt(1.0 - pow(0.99, step)) + 1e-8);
        }
    }
    guarded_check(w, n);
    guarded_check(m, n);
    guarded_check(v, n);
    for (int64_t i = 0; i < n; i++) {
        expect_close("adamw", i, (double)w[i], ref[i], 1e-6 * (1.0 + fabs(ref[i])));
        expect_close("first moment", i, (double)m[i], ref[n + i], 1e-6);
    }
    free(ref);
    guarded_free(w);
    guarded_free(g);
    guarded_free(m);
    guarded_free(v);
}

static void try_sgd(const struct vector_kernels *vector, int64_t n, float momentum, int nesterov)
{
    float *w = normal_row(n, 1, 1.0f), *g = normal_row(n, 4, 1.0f), *b = guarded_new(n, 2);
    double *ref = calloc((size_t)(2 * n + 1), sizeof *ref);
    struct vector_sgd s = {2.0f, 0.1f, 0.01f, momentum, nesterov ? 0.0f : 0.25f, nesterov, 1};

    assert_non_null(ref);
    for (int64_t i = 0; i < n; i++)
        ref[i] = (double)w[i];
    for (int step = 0; step < 3; step++, s.first = 0) {
        vector->sgd(w, momentum != 0.0f ? b : NULL, g, n, &s);
        for (int64_t i = 0; i < n; i++) { /* torch.optim.SGD */
            double d = 2.0 * (double)g[i] + (double)s.weight_decay * ref[i], *buffer = ref + n + i;
            if (momentum != 0.0f) {
                *buffer =
                    s.first ? d : (double)momentum * *buffer + (1.0 - (double)s.dampening) * d;
                d = nesterov ? d + (double)momentum * *buffer : *buffer;
            }
            ref[i] -= (double)s.learning_rate * d;
        }
    }
    guarded_check(w, n);
    guarded_check(b, n);
    for (int64_t i = 0; i < n; i++)
        expect_close("sgd", i, (double)w[i], ref[i], 4e-6);
    free(ref);
    guarded_free(w);
    guarded_free(g);
    guarded_free(b);
}

static void check_optimizers(const struct vector_kernels *vector, int64_t n)
{
    check_adamw(vector, n);
    try_sgd(vector, n, 0.0f, 0);
    try_sgd(vector, n, 0.9f, 0);
    try_sgd(vector, n, 0.9f, 1);
}

static void optimizers(void **state)
{
    (void)state;
    each_length(check_optimizers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reductions),         cmocka_unit_test(mean_and_variance),
        cmocka_unit_test(softmax_rows),       cmocka_unit_test(softmax_extremes),
        cmocka_unit_test(cross_entropy_rows), cmocka_unit_test(norms),
        cmocka_unit_test(column_sums),        cmocka_unit_test(dropout_bits),
        cmocka_unit_test(embedding_rows),     cmocka_unit_test(half_precision),
        cmocka_unit_test(optimizers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
