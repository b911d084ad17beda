/* SPDX-License-Identifier: MIT
 *
 * Gated recurrent unit (Cho et al. 2014) in PyTorch's variant, gates in the order r, z, n:
 *     r = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr),  z likewise
 *     n = tanh(W_in x_t + b_in + r (W_hn h_{t-1} + b_hn))
 *     h_t = (1 - z) n + z h_{t-1}
 */
#include "graph/recurrence.h"

llm_tensor *op_gru(struct cx *cx, llm_tensor *x, const struct recurrent_weights *weights,
                   llm_tensor *h0, llm_tensor **h_out)
{
    return recurrent_layer(cx, RECURRENT_GRU, x, weights, h0, NULL, h_out, NULL);
}
