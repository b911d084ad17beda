/* SPDX-License-Identifier: MIT
 *
 * One step of each recurrent cell, forward and backward, against its formulas in double precision,
 * for all tails of rows and units, in any split of the blocks to the same bits.
 */
#include "kernelcheck.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const int64_t gates_of[RECURRENT_CELLS] = {1, 4, 3};

/* One step with its neighbours: float arrays between guards. */
struct arrays {
    enum recurrent_cell cell;
    int64_t rows, hidden, gates, size, width;
    bool first; /* no previous state, no next step, no dy */
    float *w, *before, *input, *c_before, *bias;
    float *y, *kept, *c, *product;
    float *dy, *d_next, *carry_in;
    float *d_gates, *d_new, *carry;
};

static float *fresh(int64_t n, float low, float high)
{
    float *x = guarded_new(n, n % 16);

    if (high > low)
        random_fill(x, n, low, high);
    return x;
}

static void arrays_make(struct arrays *a)
{
    a->gates = gates_of[a->cell];
    a->size = a->rows * a->hidden;
    a->width = a->gates * a->hidden;
    a->w = fresh(a->width * a->hidden, -0.5f, 0.5f);
    a->before = fresh(a->size, -1.0f, 1.0f);
    a->input = fresh(a->size * a->gates, -2.0f, 2.0f);
    a->c_before = fresh(a->size, -1.0f, 1.0f);
    a->bias = fresh(a->hidden, -1.0f, 1.0f);
    a->y = fresh(a->size, 0.0f, 0.0f);
    a->kept = fresh(a->size * a->gates, 0.0f, 0.0f);
    a->c = fresh(a->size, 0.0f, 0.0f);
    a->product = fresh(a->size, 0.0f, 0.0f);
    a->dy = fresh(a->size, -1.0f, 1.0f);
    a->d_next = fresh(a->size * a->gates, -1.0f, 1.0f);
    a->carry_in = fresh(a->size, -1.0f, 1.0f);
    a->d_gates = fresh(a->size * a->gates, 0.0f, 0.0f);
    a->d_new = fresh(a->size, 0.0f, 0.0f);
    a->carry = fresh(a->size, 0.0f, 0.0f);
}

static void arrays_check_and_free(struct arrays *a)
{
    float *const outputs[] = {a->y, a->c, a->product, a->d_new, a->carry};
    float *const others[] = {a->w,    a->before, a->input,  a->c_before,
                             a->bias, a->dy,     a->d_next, a->carry_in};

    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++) {
        guarded_check(outputs[i], a->size);
        guarded_free(outputs[i]);
    }
    guarded_check(a->kept, a->size * a->gates);
    guarded_check(a->d_gates, a->size * a->gates);
    guarded_free(a->kept);
    guarded_free(a->d_gates);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        guarded_free(others[i]);
}

static float *packed_new(const struct arrays *a, int64_t units, int64_t *blocks)
{
    float *packed;

    *blocks = (a->hidden + units - 1) / units;
    packed = aligned_alloc(64, (size_t)(*blocks * units * a->width * 4 + 63) / 64 * 64);
    assert_non_null(packed);
    return packed;
}

/* Blocks [0, split) and [split, all). */
static void run_forward(const struct recurrent_kernels *kernels, const struct arrays *a, bool keep,
                        int64_t split)
{
    int64_t blocks;
    float *packed = packed_new(a, kernels->forward_units, &blocks);
    struct recurrent_step step = {.rows = a->rows,
                                  .hidden = a->hidden,
                                  .packed = packed,
                                  .before = a->first ? NULL : a->before,
                                  .y = a->y,
                                  .gates = a->kept,
                                  .keep = keep,
                                  .c_before = a->first ? NULL : a->c_before,
                                  .c = a->c,
                                  .product = keep ? a->product : NULL,
                                  .bias_new = a->first ? NULL : a->bias};

    memcpy(a->kept, a->input, (size_t)(a->size * a->gates) * sizeof(float));
    split = split < blocks ? split : blocks;
    kernels->pack_forward(packed, a->w, a->gates, a->hidden, split, blocks);
    kernels->pack_forward(packed, a->w, a->gates, a->hidden, 0, split);
    kernels->forward[a->cell](&step, split, blocks);
    kernels->forward[a->cell](&step, 0, split);
    free(packed);
}

static void run_backward(const struct recurrent_kernels *kernels, const struct arrays *a,
                         bool in_place, int64_t split)
{
    int64_t blocks;
    float *packed = packed_new(a, kernels->backward_units, &blocks);
    struct recurrent_back step = {.rows = a->rows,
                                  .hidden = a->hidden,
                                  .packed = packed,
                                  .d_gates_next = a->first ? NULL : a->d_next,
                                  .dy = a->first ? NULL : a->dy,
                                  .gates = in_place ? a->d_gates : a->kept,
                                  .y = a->y,
                                  .before = a->first ? NULL : a->before,
                                  .c = a->c,
                                  .c_before = a->first ? NULL : a->c_before,
                                  .product = in_place ? a->d_new : a->product,
                                  .d_gates = a->d_gates,
                                  .d_new = a->d_new,
                                  .carry = a->carry};

    memcpy(a->carry, a->carry_in, (size_t)a->size * sizeof(float));
    if (in_place) {
        memcpy(a->d_gates, a->kept, (size_t)(a->size * a->gates) * sizeof(float));
        memcpy(a->d_new, a->product, (size_t)a->size * sizeof(float));
    }
    split = split < blocks ? split : blocks;
    kernels->pack_backward(packed, a->w, a->gates, a->hidden, 0, blocks);
    kernels->backward[a->cell](&step, split, blocks);
    kernels->backward[a->cell](&step, 0, split);
    free(packed);
}

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* The sums of one unit's gates before the nonlinearities: from the input, from the weights. */
static void sums_of(const struct arrays *a, int64_t row, int64_t unit, double *xs, double *hs)
{
    for (int64_t g = 0; g < a->gates; g++) {
        const float *w = a->w + (g * a->hidden + unit) * a->hidden;

        xs[g] = (double)a->input[row * a->width + g * a->hidden + unit];
        hs[g] = 0.0;
        for (int64_t k = 0; !a->first && k < a->hidden; k++)
            hs[g] += (double)w[k] * (double)a->before[row * a->hidden + k];
    }
}

/* Values and their gradients for one unit; d: gates, then the GRU's d_new, then carry. */
static void check_unit(const struct arrays *a, int64_t row, int64_t unit)
{
    int64_t at = row * a->hidden + unit;
    double before = a->first ? 0.0 : (double)a->before[at];
    double c_before = a->first ? 0.0 : (double)a->c_before[at];
    double dh = a->first ? 0.0 : (double)a->dy[at];
    double carry = (double)a->carry_in[at];
    double xs[4] = {0}, hs[4] = {0}, d[4] = {0}, y;

    for (int64_t k = 0; !a->first && k < a->width; k++)
        dh += (double)a->d_next[row * a->width + k] * (double)a->w[k * a->hidden + unit];
    sums_of(a, row, unit, xs, hs);
    if (a->cell == RECURRENT_RNN) {
        y = tanh(xs[0] + hs[0]);
        d[0] = dh * (1.0 - y * y);
    } else if (a->cell == RECURRENT_LSTM) {
        double i = sigmoid(xs[0] + hs[0]), f = sigmoid(xs[1] + hs[1]);
        double g = tanh(xs[2] + hs[2]), o = sigmoid(xs[3] + hs[3]);
        double c = f * c_before + i * g, dc;

        y = o * tanh(c);
        dc = carry + dh * o * (1.0 - tanh(c) * tanh(c));
        d[0] = dc * g * i * (1.0 - i);
        d[1] = dc * c_before * f * (1.0 - f);
        d[2] = dc * i * (1.0 - g * g);
        d[3] = dh * tanh(c) * o * (1.0 - o);
        expect_close("c", at, (double)a->c[at], c, 1e-5);
        expect_close("carry", at, (double)a->carry[at], dc * f, 1e-5);
    } else {
        double r = sigmoid(xs[0] + hs[0]), z = sigmoid(xs[1] + hs[1]);
        double product = hs[2] + (a->first ? 0.0 : (double)a->bias[unit]);
        double n = tanh(xs[2] + r * product), dn;

        dh += carry;
        y = (1.0 - z) * n + z * before;
        dn = dh * (1.0 - z) * (1.0 - n * n);
        d[0] = dn * product * r * (1.0 - r);
        d[1] = dh * (before - n) * z * (1.0 - z);
        d[2] = dn * r;
        expect_close("d_new", at, (double)a->d_new[at], dn, 2e-5);
        expect_close("carry", at, (double)a->carry[at], dh * z, 2e-5);
    }
    expect_close("y", at, (double)a->y[at], y, 1e-5);
    for (int64_t g = 0; g < a->gates; g++)
        expect_close("d_gates", at, (double)a->d_gates[row * a->width + g * a->hidden + unit], d[g],
                     3e-5);
}

static void check_case(const struct recurrent_kernels *kernels, enum recurrent_cell cell,
                       int64_t rows, int64_t hidden, bool first)
{
    struct arrays a = {.cell = cell, .rows = rows, .hidden = hidden, .first = first};
    float *y, *d_gates;
    size_t bytes;

    arrays_make(&a);
    bytes = (size_t)a.size * sizeof(float);
    y = malloc(bytes);
    d_gates = malloc(bytes * (size_t)a.gates);
    assert_non_null(y);
    assert_non_null(d_gates);
    run_forward(kernels, &a, false, 1);
    memcpy(y, a.y, bytes);
    run_forward(kernels, &a, true, 0);
    assert_memory_equal(y, a.y, bytes);
    run_backward(kernels, &a, false, 1);
    memcpy(d_gates, a.d_gates, bytes * (size_t)a.gates);
    run_backward(kernels, &a, true, 0);
    assert_memory_equal(d_gates, a.d_gates, bytes * (size_t)a.gates);
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t unit = 0; unit < hidden; unit++)
            check_unit(&a, row, unit);
    }
    free(y);
    free(d_gates);
    arrays_check_and_free(&a);
}

static void test_steps(void **state)
{
    static const int64_t units[] = {1, 3, 8, 16, 17, 31, 33, 70};
    const struct kernels *tables;
    int count = kernelcheck_tables(&tables);

    (void)state;
    for (int t = 0; t < count; t++) {
        for (int cell = 0; cell < RECURRENT_CELLS; cell++) {
            for (int64_t rows = 1; rows <= 26; rows += rows < 14 ? 1 : 11) {
                for (size_t u = 0; u < sizeof units / sizeof units[0]; u++)
                    check_case(&tables[t].recurrent, (enum recurrent_cell)cell, rows, units[u],
                               (rows + (int64_t)u) % 4 == 0);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps)};

    return cmocka_run_group_tests_name("recurrent kernels", tests, NULL, NULL);
}
