/* SPDX-License-Identifier: MIT
 *
 * Long short-term memory (Hochreiter & Schmidhuber 1997), gates in the order i, f, g, o:
 *     [i f g o] = W_input x_t + b_input + W_hidden h_{t-1} + b_hidden
 *     c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g)
 *     h_t = sigmoid(o) tanh(c_t)
 */
#include "graph/recurrence.h"

llm_tensor *op_lstm(struct cx *cx, llm_tensor *x, const struct recurrent_weights *weights,
                    llm_tensor *h0, llm_tensor *c0, llm_tensor **h_out, llm_tensor **c_out)
{
    return recurrent_layer(cx, RECURRENT_LSTM, x, weights, h0, c0, h_out, c_out);
}
