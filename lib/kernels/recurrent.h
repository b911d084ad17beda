/* SPDX-License-Identifier: MIT
 *
 * One time step of a recurrent layer, matrix product and gate arithmetic in one pass: a tile of the
 * product with the hidden weights stays in registers until the new state is written. The weights
 * are packed once per sequence, so that a thread which keeps its share of the units through all
 * steps finds its share of the weights in its own cache.
 *
 * Gates in PyTorch's order: LSTM input, forget, cell, output; GRU reset, update, new. LSTM after
 * Hochreiter & Schmidhuber (1997), GRU after Cho et al. (2014) with the reset gate applied after
 * the product. Called by graph/recurrence.c.
 *
 * A value depends on its row and unit alone, not on the range of blocks: threads may share the
 * blocks out in any way. All matrices are contiguous.
 */
#ifndef KERNELS_RECURRENT_H
#define KERNELS_RECURRENT_H

#include <stdbool.h>
#include <stdint.h>

enum recurrent_cell { RECURRENT_RNN, RECURRENT_LSTM, RECURRENT_GRU, RECURRENT_CELLS };

enum { RECURRENT_MOST_GATES = 4 };

/* Forward: reads the previous state and the input's share of the gates, writes the new state. */
struct recurrent_step {
    int64_t rows, hidden;
    const float *packed; /* by pack_forward */
    const float *before; /* [rows, hidden], or NULL: zeros */
    float *y;            /* [rows, hidden], the new state */
    float *gates;        /* [rows, gates * hidden] in: from the input, with all biases but the
                          * GRU's b_hidden of the new gate; out: activations, if `keep` */
    bool keep;
    const float *c_before; /* LSTM: [rows, hidden], or NULL: zeros; may be c */
    float *c;              /* LSTM */
    float *product;        /* GRU, if `keep`: [rows, hidden] the new gate's product with its bias */
    const float *bias_new; /* GRU: [hidden], or NULL */
};

/* Backward: d_gates (of the sums before the nonlinearities, as the hidden weights see them) of this
 * step from those of the next. d_gates may be gates, d_new may be product. */
struct recurrent_back {
    int64_t rows, hidden;
    const float *packed;       /* by pack_backward */
    const float *d_gates_next; /* [rows, gates * hidden], or NULL: the last step */
    const float *dy;           /* [rows, hidden], or NULL: zeros */
    const float *gates;        /* what forward kept */
    const float *y;            /* RNN: this step's state */
    const float *before;       /* GRU: the previous state, or NULL */
    const float *c, *c_before; /* LSTM */
    const float *product;      /* GRU */
    float *d_gates;
    float *d_new; /* GRU: [rows, hidden] the new gate's gradient as the input weights see it */
    float *carry; /* [rows, hidden] in and out. LSTM: dc; GRU: what reaches the previous state
                   * without passing through the weights; unused by the RNN */
};

struct recurrent_kernels {
    /* Units of one block. A packed matrix has (blocks * units) * gates * hidden floats. */
    int64_t forward_units, backward_units;
    /* Pack blocks [begin, end) of w_hidden [gates * hidden, hidden]; a block has its fixed place.
     */
    void (*pack_forward)(float *packed, const float *w_hidden, int64_t gates, int64_t hidden,
                         int64_t begin, int64_t end);
    void (*pack_backward)(float *packed, const float *w_hidden, int64_t gates, int64_t hidden,
                          int64_t begin, int64_t end);
    void (*forward[RECURRENT_CELLS])(const struct recurrent_step *step, int64_t begin, int64_t end);
    void (*backward[RECURRENT_CELLS])(const struct recurrent_back *step, int64_t begin,
                                      int64_t end);
};

void recurrent_fill(struct recurrent_kernels *recurrent, uint32_t cpu);

void recurrent_fill_portable(struct recurrent_kernels *recurrent);
void recurrent_fill_avx2(struct recurrent_kernels *recurrent);
void recurrent_fill_avx512(struct recurrent_kernels *recurrent);

#endif
