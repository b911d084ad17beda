/* SPDX-License-Identifier: MIT
 *
 * The three recurrent layers against their formulas in double precision.
 */
#include "gradcheck.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_HIDDEN = 64, MOST_ROWS = 32 };

/* kind r, l or g. Inputs: x, w_input, w_hidden, then b_input, b_hidden and h0, c0 if asked for. */
struct layer_case {
    char kind;
    int64_t steps, rows, in, hidden;
    bool biases, states;
    char result; /* y, or the last h or c */
};

static int64_t gates_of(const struct layer_case *c)
{
    return c->kind == 'r' ? 1 : c->kind == 'l' ? 4 : 3;
}

static llm_tensor *apply(struct cx *cx, const struct layer_case *c, llm_tensor *const *in)
{
    struct recurrent_weights weights = {in[1], in[2], c->biases ? in[3] : NULL,
                                        c->biases ? in[4] : NULL};
    int state = c->biases ? 5 : 3;
    llm_tensor *h0 = c->states ? in[state] : NULL;
    llm_tensor *c0 = c->states ? in[state + 1] : NULL;
    llm_tensor *h = NULL, *cell = NULL, *y;

    if (c->kind == 'r')
        y = op_rnn(cx, in[0], &weights, h0, &h);
    else if (c->kind == 'g')
        y = op_gru(cx, in[0], &weights, h0, &h);
    else
        y = op_lstm(cx, in[0], &weights, h0, c0, &h, c->result == 'c' ? &cell : NULL);
    return c->result == 'y' ? y : c->result == 'h' ? h : cell;
}

static llm_tensor *run(struct cx *cx, llm_tensor *const *in, const void *arg)
{
    return apply(cx, arg, in);
}

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* One unit of one row at one step; xs and hs are the gates' sums from either side. */
static double unit_step(const struct layer_case *c, const double *xs, const double *hs,
                        double before, double *cell)
{
    double n, z;

    if (c->kind == 'r')
        return tanh(xs[0] + hs[0]);
    if (c->kind == 'l') {
        *cell = sigmoid(xs[1] + hs[1]) * *cell + sigmoid(xs[0] + hs[0]) * tanh(xs[2] + hs[2]);
        return sigmoid(xs[3] + hs[3]) * tanh(*cell);
    }
    z = sigmoid(xs[1] + hs[1]);
    n = tanh(xs[2] + sigmoid(xs[0] + hs[0]) * hs[2]);
    return (1.0 - z) * n + z * before;
}

static void reference_row(double *y, double *cell, const struct layer_case *c,
                          const double *const *in, int64_t row)
{
    double state[MOST_HIDDEN] = {0}, next[MOST_HIDDEN] = {0};
    int first_state = c->biases ? 5 : 3;

    for (int64_t u = 0; u < c->hidden; u++) {
        state[u] = c->states ? in[first_state][row * c->hidden + u] : 0.0;
        cell[u] = c->states && c->kind == 'l' ? in[first_state + 1][row * c->hidden + u] : 0.0;
    }
    for (int64_t t = 0; t < c->steps; t++) {
        const double *x = in[0] + (t * c->rows + row) * c->in;

        for (int64_t u = 0; u < c->hidden; u++) {
            double xs[4], hs[4];

            for (int64_t g = 0; g < gates_of(c); g++) {
                int64_t at = g * c->hidden + u;

                xs[g] = c->biases ? in[3][at] : 0.0;
                hs[g] = c->biases ? in[4][at] : 0.0;
                for (int64_t k = 0; k < c->in; k++)
                    xs[g] += in[1][at * c->in + k] * x[k];
                for (int64_t k = 0; k < c->hidden; k++)
                    hs[g] += in[2][at * c->hidden + k] * state[k];
            }
            next[u] = unit_step(c, xs, hs, state[u], &cell[u]);
        }
        memcpy(state, next, sizeof state);
        for (int64_t u = 0; u < c->hidden; u++)
            y[t * c->rows * c->hidden + u] = state[u];
    }
}

static void reference(double *out, int64_t count, const double *const *in, const void *arg)
{
    const struct layer_case *c = arg;
    int64_t size = c->rows * c->hidden;
    double *y = calloc((size_t)(c->steps * size), sizeof *y);
    double *cell = calloc((size_t)size, sizeof *cell);

    assert_non_null(y);
    assert_non_null(cell);
    for (int64_t row = 0; row < c->rows; row++)
        reference_row(y + row * c->hidden, cell + row * c->hidden, c, in, row);
    if (c->result == 'y')
        memcpy(out, y, (size_t)count * sizeof *out);
    else
        memcpy(out, c->result == 'h' ? y + (c->steps - 1) * size : cell,
               (size_t)count * sizeof *out);
    free(y);
    free(cell);
}

static void check_layer(const struct layer_case *c)
{
    int64_t width = gates_of(c) * c->hidden;
    struct gradcheck check = {.name = c->kind == 'r'   ? "rnn"
                                      : c->kind == 'l' ? "lstm"
                                                       : "gru",
                              .inputs = 3,
                              .run = run,
                              .reference = reference,
                              .arg = c};

    check.in[0] = (struct gradcheck_input){.dimensions = 3, .shape = {c->steps, c->rows, c->in}};
    check.in[1] = (struct gradcheck_input){.dimensions = 2, .shape = {width, c->in}};
    check.in[2] = (struct gradcheck_input){.dimensions = 2, .shape = {width, c->hidden}};
    for (int i = 0; c->biases && i < 2; i++)
        check.in[check.inputs++] = (struct gradcheck_input){.dimensions = 1, .shape = {width}};
    for (int i = 0; c->states && i < (c->kind == 'l' ? 2 : 1); i++)
        check.in[check.inputs++] =
            (struct gradcheck_input){.dimensions = 2, .shape = {c->rows, c->hidden}};
    gradcheck_run(&check);
}

static void test_gradients(void **state)
{
    static const struct layer_case cases[] = {
        {'r', 4, 3, 2, 5, true, true, 'y'},    {'r', 1, 1, 1, 1, false, false, 'y'},
        {'l', 4, 3, 2, 5, true, true, 'y'},    {'l', 1, 1, 1, 1, false, false, 'y'},
        {'g', 4, 3, 2, 5, true, true, 'y'},    {'g', 1, 1, 1, 1, false, false, 'y'},
        {'l', 3, 2, 3, 4, true, true, 'h'},    {'l', 3, 2, 3, 4, true, true, 'c'},
        {'g', 3, 2, 3, 4, true, true, 'h'},    {'r', 3, 2, 3, 4, false, true, 'h'},
        {'l', 2, 7, 1, 17, true, false, 'y'},  {'g', 2, 7, 1, 17, true, false, 'y'},
        {'r', 2, 13, 1, 33, true, false, 'y'}, {'l', 2, 13, 1, 9, false, true, 'y'},
        {'g', 2, 13, 1, 9, false, true, 'y'},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_layer(&cases[i]);
}

/* Sizes at which the steps run on several threads: the same bits for any number of them, and a
 * tape that releases (and so works in place) gives what one that keeps everything gives. */
static void test_threads(void **state)
{
    static const char kinds[] = "rlg";
    enum { STEPS = 5, ROWS = 21, IN = 30, HIDDEN = 150 };

    (void)state;
    for (const char *kind = kinds; *kind; kind++) {
        struct layer_case c = {*kind, STEPS, ROWS, IN, HIDDEN, true, true, 'y'};
        int64_t width = gates_of(&c) * HIDDEN;
        int64_t shapes[7][3] = {{STEPS, ROWS, IN}, {width, IN},    {width, HIDDEN}, {width},
                                {width},           {ROWS, HIDDEN}, {ROWS, HIDDEN}};
        static const int32_t dimensions[7] = {3, 2, 2, 1, 1, 2, 2};
        float *first[8] = {0};

        for (int run_number = 0; run_number < 4; run_number++) {
            llm_context *context = gradcheck_context(run_number < 3 ? run_number + 1 : 2);
            llm_tensor *in[7];
            struct cx cx;
            llm_tensor *y;

            for (int i = 0; i < 7; i++) {
                in[i] = gradcheck_tensor(context, true, (uint64_t)i, dimensions[i], shapes[i]);
                for (int64_t j = 0; (i == 1 || i == 2) && j < tensor_count(in[i]); j++)
                    tensor_f32(in[i])[j] *= 0.2f;
            }
            assert_int_equal(cx_init(&cx, context), LLM_OK);
            cx.recording = true;
            cx.release_in_backward = run_number == 3;
            y = apply(&cx, &c, in);
            assert_non_null(y);
            for (int i = -1; i < 7; i++) {
                const llm_tensor *is = i < 0 ? y : in[i]->grad;
                size_t bytes;

                if (i == 0)
                    assert_int_equal(cx_backward(&cx, op_sum(&cx, y, 0, false), 1.0f), LLM_OK);
                if (i >= 0)
                    is = in[i]->grad;
                if (i == 6 && *kind != 'l')
                    continue;
                assert_non_null(is);
                bytes = (size_t)tensor_count(is) * sizeof(float);
                if (!first[i + 1]) {
                    first[i + 1] = malloc(bytes);
                    assert_non_null(first[i + 1]);
                    memcpy(first[i + 1], is->data, bytes);
                } else {
                    assert_memory_equal(first[i + 1], is->data, bytes);
                }
            }
            cx_free(&cx);
            for (int i = 0; i < 7; i++)
                tensor_release(in[i]);
            llm_context_free(context);
        }
        for (int i = 0; i < 8; i++)
            free(first[i]);
    }
}

/* One sequence in one go, or step by step through the states: the same numbers, without a tape. */
static void test_stepwise(void **state)
{
    static const char kinds[] = "rlg";
    enum { STEPS = 4, ROWS = 3, IN = 6, HIDDEN = 20 };
    llm_context *context = gradcheck_context(2);

    (void)state;
    for (const char *kind = kinds; *kind; kind++) {
        struct layer_case c = {*kind, STEPS, ROWS, IN, HIDDEN, false, false, 'y'};
        int64_t width = gates_of(&c) * HIDDEN;
        int64_t x_shape[3] = {STEPS, ROWS, IN};
        int64_t w_shape[2] = {width, IN}, u_shape[2] = {width, HIDDEN};
        llm_tensor *x = gradcheck_tensor(context, false, 1, 3, x_shape);
        struct recurrent_weights weights = {gradcheck_tensor(context, false, 2, 2, w_shape),
                                            gradcheck_tensor(context, false, 3, 2, u_shape), NULL,
                                            NULL};
        llm_tensor *in[3] = {x, weights.w_input, weights.w_hidden};
        llm_tensor *h = NULL, *cell = NULL, *y, *step;
        struct cx cx;

        assert_int_equal(cx_init(&cx, context), LLM_OK);
        y = apply(&cx, &c, in);
        assert_non_null(y);
        for (int64_t t = 0; t < STEPS; t++) {
            llm_tensor *now = op_slice(&cx, x, 0, t, t + 1, 1);

            step = *kind == 'r'   ? op_rnn(&cx, now, &weights, h, &h)
                   : *kind == 'g' ? op_gru(&cx, now, &weights, h, &h)
                                  : op_lstm(&cx, now, &weights, h, cell, &h, &cell);
            assert_non_null(step);
            for (int64_t i = 0; i < ROWS * HIDDEN; i++)
                assert_true(fabsf(tensor_f32(step)[i] - tensor_f32(y)[t * ROWS * HIDDEN + i]) <
                            1e-6f);
        }
        cx_free(&cx);
        for (int i = 0; i < 3; i++)
            tensor_release(in[i]);
    }
    llm_context_free(context);
}

static void expect(struct cx *cx, llm_tensor *y, llm_status status)
{
    assert_null(y);
    assert_int_equal(cx_status(cx), status);
    assert_string_not_equal(status_message(), "");
    cx_reset(cx);
}

static void test_misuse(void **state)
{
    llm_context *context = gradcheck_context(1);
    int64_t x_shape[3] = {2, 3, 4}, w_shape[2] = {20, 4}, u_shape[2] = {20, 5}, none[3] = {0, 3, 4};
    llm_tensor *x = gradcheck_tensor(context, true, 1, 3, x_shape);
    llm_tensor *empty = gradcheck_tensor(context, true, 1, 3, none);
    llm_tensor *w = gradcheck_tensor(context, true, 1, 2, w_shape);
    llm_tensor *u = gradcheck_tensor(context, true, 1, 2, u_shape);
    llm_tensor *bias = gradcheck_tensor(context, true, 1, 1, w_shape);
    struct recurrent_weights good = {w, u, bias, bias};
    struct recurrent_weights bad = {u, w, NULL, NULL};
    struct recurrent_weights holed = {w, NULL, NULL, NULL};
    struct recurrent_weights odd = {w, u, w, NULL};
    llm_tensor *h = x, *c = x;
    struct cx cx;

    (void)state;
    assert_int_equal(cx_init(&cx, context), LLM_OK);
    cx.recording = true;
    expect(&cx, op_lstm(&cx, x, NULL, NULL, NULL, &h, &c), LLM_E_INVALID);
    assert_null(h);
    assert_null(c);
    expect(&cx, op_lstm(&cx, NULL, &good, NULL, NULL, NULL, NULL), LLM_E_INVALID);
    expect(&cx, op_lstm(&cx, x, &holed, NULL, NULL, NULL, NULL), LLM_E_INVALID);
    expect(&cx, op_lstm(&cx, x, &bad, NULL, NULL, NULL, NULL), LLM_E_SHAPE);
    expect(&cx, op_lstm(&cx, x, &odd, NULL, NULL, NULL, NULL), LLM_E_SHAPE);
    expect(&cx, op_lstm(&cx, w, &good, NULL, NULL, NULL, NULL), LLM_E_SHAPE);
    expect(&cx, op_lstm(&cx, empty, &good, NULL, NULL, NULL, NULL), LLM_E_SHAPE);
    expect(&cx, op_lstm(&cx, x, &good, w, NULL, NULL, NULL), LLM_E_SHAPE);
    expect(&cx, op_lstm(&cx, x, &good, NULL, w, NULL, NULL), LLM_E_SHAPE);
    expect(&cx, op_gru(&cx, x, &good, NULL, NULL), LLM_E_SHAPE);
    expect(&cx, op_rnn(&cx, x, &good, NULL, NULL), LLM_E_SHAPE);
    assert_non_null(op_lstm(&cx, x, &good, NULL, NULL, &h, &c));
    assert_non_null(h);
    assert_non_null(c);
    cx_free(&cx);
    tensor_release(x);
    tensor_release(empty);
    tensor_release(w);
    tensor_release(u);
    tensor_release(bias);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_stepwise),
        cmocka_unit_test(test_misuse),
    };

    return cmocka_run_group_tests_name("op_recurrent", tests, NULL, NULL);
}
