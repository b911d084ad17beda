/* SPDX-License-Identifier: MIT
 *
 * The simple recurrent layer (Elman 1990):
 *     h_t = tanh(W_input x_t + b_input + W_hidden h_{t-1} + b_hidden)
 */
#include "graph/recurrence.h"

llm_tensor *op_rnn(struct cx *cx, llm_tensor *x, const struct recurrent_weights *weights,
                   llm_tensor *h0, llm_tensor **h_out)
{
    return recurrent_layer(cx, RECURRENT_RNN, x, weights, h0, NULL, h_out, NULL);
}
