/* SPDX-License-Identifier: MIT
 *
 * What the recurrent layers share: op_rnn.c, op_lstm.c and op_gru.c say which cell they are and
 * leave the sequence to this file. The input's share of all gates is one matrix product over all
 * time steps; the steps then run on a team of threads, each of which owns some of the units; the
 * weights' gradients are one product each over all steps.
 */
#ifndef GRAPH_RECURRENCE_H
#define GRAPH_RECURRENCE_H

#include "graph/op.h"

/* x [T, B, in] -> y [T, B, hidden]; c0 and c_out are the LSTM's. */
llm_tensor *recurrent_layer(struct cx *cx, enum recurrent_cell cell, llm_tensor *x,
                            const struct recurrent_weights *weights, llm_tensor *h0, llm_tensor *c0,
                            llm_tensor **h_out, llm_tensor **c_out);

#endif
