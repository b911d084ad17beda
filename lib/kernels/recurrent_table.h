/* SPDX-License-Identifier: MIT
 *
 * The kernels of recurrent.h over the lanes that were included before, and their table: the last
 * thing each recurrent file of an instruction set includes. The compiler expands one tile for each
 * cell and number of rows.
 */
#ifndef KERNELS_RECURRENT_TABLE_H
#define KERNELS_RECURRENT_TABLE_H

#include "kernels/vector_math.h"

#include <stddef.h>
#include <string.h>

/* Rows of a tile: as many sums as leave registers for the weights and one broadcast. */
#if LANES == 16
enum { ROWS_RNN = 8, ROWS_LSTM = 6, ROWS_GRU = 8, ROWS_BACKWARD = 12 };
#else
enum { ROWS_RNN = 6, ROWS_LSTM = 2, ROWS_GRU = 3, ROWS_BACKWARD = 5 };
#endif

enum { MOST_ROWS = 12, BACKWARD_VECTORS = 2 };

/* acc[r][v] = sum over k of a[r, k] packed[k][v], in order of k. */
LANES_INLINE void tile_product(vf *out, const float *a, int64_t lda, const float *packed, int64_t k,
                               int rows, int vectors)
{
    vf acc[MOST_ROWS][RECURRENT_MOST_GATES];

#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            acc[r][v] = v_set(0.0f);
    }
    for (int64_t i = 0; i < k; i++, packed += vectors * LANES) {
        vf w[RECURRENT_MOST_GATES];

#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            w[v] = v_load(packed + v * LANES);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            vf x = v_set(a[r * lda + i]);

#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                acc[r][v] = v_fma(x, w[v], acc[r][v]);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            out[r * vectors + v] = acc[r][v];
    }
}

LANES_INLINE vf read_lanes(const float *p, int64_t n)
{
    return n >= LANES ? v_load(p) : v_load_n(p, n);
}

LANES_INLINE void write_lanes(float *p, vf x, int64_t n)
{
    if (n >= LANES)
        v_store(p, x);
    else
        v_store_n(p, x, n);
}

LANES_INLINE vf read_or_zero(const float *p, int64_t at, int64_t n)
{
    return p ? read_lanes(p + at, n) : v_set(0.0f);
}

/* ---- packing ---- */

enum { PACK_STEP = 16 }; /* columns of the weights at a time: what is written stays near */

static void pack_forward(float *packed, const float *w_hidden, int64_t gates, int64_t hidden,
                         int64_t begin, int64_t end)
{
    for (int64_t block = begin; block < end; block++) {
        float *to = packed + block * hidden * gates * LANES;

        for (int64_t k0 = 0; k0 < hidden; k0 += PACK_STEP) {
            int64_t k1 = k0 + PACK_STEP < hidden ? k0 + PACK_STEP : hidden;

            for (int64_t column = 0; column < gates * LANES; column++) {
                int64_t unit = block * LANES + column % LANES;
                const float *from = w_hidden + (column / LANES * hidden + unit) * hidden;

                for (int64_t k = k0; k < k1; k++)
                    to[k * gates * LANES + column] = unit < hidden ? from[k] : 0.0f;
            }
        }
    }
}

static void pack_backward(float *packed, const float *w_hidden, int64_t gates, int64_t hidden,
                          int64_t begin, int64_t end)
{
    const int64_t units = BACKWARD_VECTORS * LANES;

    for (int64_t block = begin; block < end; block++) {
        int64_t first = block * units;
        int64_t n = hidden - first < units ? hidden - first : units;

        for (int64_t k = 0; k < gates * hidden; k++) {
            float *to = packed + (block * gates * hidden + k) * units;

            memcpy(to, w_hidden + k * hidden + first, (size_t)n * sizeof *to);
            memset(to + n, 0, (size_t)(units - n) * sizeof *to);
        }
    }
}

/* ---- forward: n <= LANES units from `unit` of one row ---- */

typedef void (*forward_cell)(const struct recurrent_step *s, const vf *sum, int64_t row,
                             int64_t unit, int64_t n);

LANES_INLINE void rnn_cell(const struct recurrent_step *s, const vf *sum, int64_t row, int64_t unit,
                           int64_t n)
{
    int64_t at = row * s->hidden + unit;

    write_lanes(s->y + at, v_tanh(v_add(read_lanes(s->gates + at, n), sum[0])), n);
}

LANES_INLINE void lstm_cell(const struct recurrent_step *s, const vf *sum, int64_t row,
                            int64_t unit, int64_t n)
{
    int64_t h = s->hidden;
    int64_t at = row * h + unit;
    float *gates = s->gates + row * 4 * h + unit;
    vf input = v_sigmoid(v_add(read_lanes(gates, n), sum[0]));
    vf forget = v_sigmoid(v_add(read_lanes(gates + h, n), sum[1]));
    vf cell = v_tanh(v_add(read_lanes(gates + 2 * h, n), sum[2]));
    vf output = v_sigmoid(v_add(read_lanes(gates + 3 * h, n), sum[3]));
    vf c = v_fma(forget, read_or_zero(s->c_before, at, n), v_mul(input, cell));

    write_lanes(s->c + at, c, n);
    write_lanes(s->y + at, v_mul(output, v_tanh(c)), n);
    if (s->keep) {
        write_lanes(gates, input, n);
        write_lanes(gates + h, forget, n);
        write_lanes(gates + 2 * h, cell, n);
        write_lanes(gates + 3 * h, output, n);
    }
}

LANES_INLINE void gru_cell(const struct recurrent_step *s, const vf *sum, int64_t row, int64_t unit,
                           int64_t n)
{
    int64_t h = s->hidden;
    int64_t at = row * h + unit;
    float *gates = s->gates + row * 3 * h + unit;
    vf reset = v_sigmoid(v_add(read_lanes(gates, n), sum[0]));
    vf update = v_sigmoid(v_add(read_lanes(gates + h, n), sum[1]));
    vf product = v_add(sum[2], read_or_zero(s->bias_new, unit, n));
    vf candidate = v_tanh(v_fma(reset, product, read_lanes(gates + 2 * h, n)));
    vf before = read_or_zero(s->before, at, n);

    write_lanes(s->y + at, v_fma(update, v_sub(before, candidate), candidate), n);
    if (s->keep) {
        write_lanes(gates, reset, n);
        write_lanes(gates + h, update, n);
        write_lanes(gates + 2 * h, candidate, n);
        write_lanes(s->product + at, product, n);
    }
}

LANES_INLINE void forward_tile(const struct recurrent_step *s, int64_t row, int64_t block, int rows,
                               int gates, forward_cell cell)
{
    vf sums[MOST_ROWS * RECURRENT_MOST_GATES];
    int64_t unit = block * LANES;
    int64_t n = s->hidden - unit < LANES ? s->hidden - unit : LANES;

    tile_product(sums, s->before ? s->before + row * s->hidden : NULL, s->hidden,
                 s->packed + block * s->hidden * gates * LANES, s->before ? s->hidden : 0, rows,
                 gates);
    for (int r = 0; r < rows; r++)
        cell(s, sums + r * gates, row + r, unit, n);
}

/* Full tiles, then the remaining rows in halves and ones. */
LANES_INLINE void forward_blocks(const struct recurrent_step *s, int64_t begin, int64_t end,
                                 int rows, int gates, forward_cell cell)
{
    for (int64_t block = begin; block < end; block++) {
        int64_t row = 0;

        for (; row + rows <= s->rows; row += rows)
            forward_tile(s, row, block, rows, gates, cell);
        if (rows > 4 && row + 4 <= s->rows) {
            forward_tile(s, row, block, 4, gates, cell);
            row += 4;
        }
        if (rows > 2 && row + 2 <= s->rows) {
            forward_tile(s, row, block, 2, gates, cell);
            row += 2;
        }
        for (; row < s->rows; row++)
            forward_tile(s, row, block, 1, gates, cell);
    }
}

static void forward_rnn(const struct recurrent_step *step, int64_t begin, int64_t end)
{
    forward_blocks(step, begin, end, ROWS_RNN, 1, rnn_cell);
}

static void forward_lstm(const struct recurrent_step *step, int64_t begin, int64_t end)
{
    forward_blocks(step, begin, end, ROWS_LSTM, 4, lstm_cell);
}

static void forward_gru(const struct recurrent_step *step, int64_t begin, int64_t end)
{
    forward_blocks(step, begin, end, ROWS_GRU, 3, gru_cell);
}

/* ---- backward: `sum` is what reaches the state through the weights of the next step ---- */

typedef void (*backward_cell)(const struct recurrent_back *s, vf sum, int64_t row, int64_t unit,
                              int64_t n);

LANES_INLINE vf one_minus(vf x)
{
    return v_sub(v_set(1.0f), x);
}

/* d sigmoid and d tanh from their results */
LANES_INLINE vf through_sigmoid(vf d, vf y)
{
    return v_mul(v_mul(d, y), one_minus(y));
}

LANES_INLINE vf through_tanh(vf d, vf y)
{
    return v_mul(d, v_fma(v_negate(y), y, v_set(1.0f)));
}

LANES_INLINE void rnn_cell_backward(const struct recurrent_back *s, vf sum, int64_t row,
                                    int64_t unit, int64_t n)
{
    int64_t at = row * s->hidden + unit;
    vf dh = v_add(sum, read_or_zero(s->dy, at, n));

    write_lanes(s->d_gates + at, through_tanh(dh, read_lanes(s->y + at, n)), n);
}

LANES_INLINE void lstm_cell_backward(const struct recurrent_back *s, vf sum, int64_t row,
                                     int64_t unit, int64_t n)
{
    int64_t h = s->hidden;
    int64_t at = row * h + unit;
    const float *gates = s->gates + row * 4 * h + unit;
    float *d_gates = s->d_gates + row * 4 * h + unit;
    vf input = read_lanes(gates, n);
    vf forget = read_lanes(gates + h, n);
    vf cell = read_lanes(gates + 2 * h, n);
    vf output = read_lanes(gates + 3 * h, n);
    vf c = v_tanh(read_lanes(s->c + at, n));
    vf dh = v_add(sum, read_or_zero(s->dy, at, n));
    vf dc = v_add(read_lanes(s->carry + at, n), through_tanh(v_mul(dh, output), c));

    write_lanes(s->carry + at, v_mul(dc, forget), n);
    write_lanes(d_gates, through_sigmoid(v_mul(dc, cell), input), n);
    write_lanes(d_gates + h, through_sigmoid(v_mul(dc, read_or_zero(s->c_before, at, n)), forget),
                n);
    write_lanes(d_gates + 2 * h, through_tanh(v_mul(dc, input), cell), n);
    write_lanes(d_gates + 3 * h, through_sigmoid(v_mul(dh, c), output), n);
}

LANES_INLINE void gru_cell_backward(const struct recurrent_back *s, vf sum, int64_t row,
                                    int64_t unit, int64_t n)
{
    int64_t h = s->hidden;
    int64_t at = row * h + unit;
    const float *gates = s->gates + row * 3 * h + unit;
    float *d_gates = s->d_gates + row * 3 * h + unit;
    vf reset = read_lanes(gates, n);
    vf update = read_lanes(gates + h, n);
    vf candidate = read_lanes(gates + 2 * h, n);
    vf product = read_lanes(s->product + at, n);
    vf before = read_or_zero(s->before, at, n);
    vf dh = v_add(v_add(sum, read_lanes(s->carry + at, n)), read_or_zero(s->dy, at, n));
    vf d_new = through_tanh(v_mul(dh, one_minus(update)), candidate);

    write_lanes(s->carry + at, v_mul(dh, update), n);
    write_lanes(s->d_new + at, d_new, n);
    write_lanes(d_gates, through_sigmoid(v_mul(d_new, product), reset), n);
    write_lanes(d_gates + h, through_sigmoid(v_mul(dh, v_sub(before, candidate)), update), n);
    write_lanes(d_gates + 2 * h, v_mul(d_new, reset), n);
}

LANES_INLINE void backward_tile(const struct recurrent_back *s, int64_t row, int64_t block,
                                int rows, int gates, backward_cell cell)
{
    vf sums[MOST_ROWS * BACKWARD_VECTORS];
    int64_t k = gates * s->hidden;

    tile_product(sums, s->d_gates_next ? s->d_gates_next + row * k : NULL, k,
                 s->packed + block * k * BACKWARD_VECTORS * LANES, s->d_gates_next ? k : 0, rows,
                 BACKWARD_VECTORS);
    for (int i = 0; i < rows * BACKWARD_VECTORS; i++) {
        int64_t unit = (block * BACKWARD_VECTORS + i % BACKWARD_VECTORS) * LANES;
        int64_t n = s->hidden - unit < LANES ? s->hidden - unit : LANES;

        if (n > 0)
            cell(s, sums[i], row + i / BACKWARD_VECTORS, unit, n);
    }
}

LANES_INLINE void backward_blocks(const struct recurrent_back *s, int64_t begin, int64_t end,
                                  int gates, backward_cell cell)
{
    for (int64_t block = begin; block < end; block++) {
        int64_t row = 0;

        for (; row + ROWS_BACKWARD <= s->rows; row += ROWS_BACKWARD)
            backward_tile(s, row, block, ROWS_BACKWARD, gates, cell);
        if (ROWS_BACKWARD > 8 && row + 8 <= s->rows) {
            backward_tile(s, row, block, 8, gates, cell);
            row += 8;
        }
        if (ROWS_BACKWARD > 4 && row + 4 <= s->rows) {
            backward_tile(s, row, block, 4, gates, cell);
            row += 4;
        }
        if (row + 2 <= s->rows) {
            backward_tile(s, row, block, 2, gates, cell);
            row += 2;
        }
        for (; row < s->rows; row++)
            backward_tile(s, row, block, 1, gates, cell);
    }
}

static void backward_rnn(const struct recurrent_back *step, int64_t begin, int64_t end)
{
    backward_blocks(step, begin, end, 1, rnn_cell_backward);
}

static void backward_lstm(const struct recurrent_back *step, int64_t begin, int64_t end)
{
    backward_blocks(step, begin, end, 4, lstm_cell_backward);
}

static void backward_gru(const struct recurrent_back *step, int64_t begin, int64_t end)
{
    backward_blocks(step, begin, end, 3, gru_cell_backward);
}

static const struct recurrent_kernels table = {
    .forward_units = LANES,
    .backward_units = BACKWARD_VECTORS * LANES,
    .pack_forward = pack_forward,
    .pack_backward = pack_backward,
    .forward = {[RECURRENT_RNN] = forward_rnn,
                [RECURRENT_LSTM] = forward_lstm,
                [RECURRENT_GRU] = forward_gru},
    .backward = {[RECURRENT_RNN] = backward_rnn,
                 [RECURRENT_LSTM] = backward_lstm,
                 [RECURRENT_GRU] = backward_gru},
};

#endif
