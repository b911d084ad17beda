/* SPDX-License-Identifier: MIT
 *
 * Every op of the engine. Inputs first, options last; all return a tape tensor or NULL after a
 * failure, and accept NULL inputs (see cx.h). f32 unless stated. Forward and backward of an op
 * stand side by side in op_*.c; doc/howto-add-op.md shows how to add one.
 */
#ifndef GRAPH_OP_H
#define GRAPH_OP_H

#include "graph/cx.h"

/* Broadcasting as in NumPy: axes are aligned at the end, sizes of one repeat. (op_binary.c; the
 * last two in op_elementwise.c) */
llm_tensor *op_add(struct cx *cx, llm_tensor *a, llm_tensor *b);
llm_tensor *op_sub(struct cx *cx, llm_tensor *a, llm_tensor *b);
llm_tensor *op_mul(struct cx *cx, llm_tensor *a, llm_tensor *b);
llm_tensor *op_div(struct cx *cx, llm_tensor *a, llm_tensor *b);
llm_tensor *op_pow(struct cx *cx, llm_tensor *a, llm_tensor *b);
llm_tensor *op_affine(struct cx *cx, llm_tensor *x, float scale,
                      float shift); /* scale * x + shift */
llm_tensor *op_pow_scalar(struct cx *cx, llm_tensor *x, float exponent);

/* Same shape out as in. (op_elementwise.c) */
llm_tensor *op_abs(struct cx *cx, llm_tensor *x);
llm_tensor *op_exp(struct cx *cx, llm_tensor *x);
llm_tensor *op_log(struct cx *cx, llm_tensor *x);
llm_tensor *op_sqrt(struct cx *cx, llm_tensor *x);
llm_tensor *op_tanh(struct cx *cx, llm_tensor *x);
llm_tensor *op_sigmoid(struct cx *cx, llm_tensor *x);
llm_tensor *op_relu(struct cx *cx, llm_tensor *x);
llm_tensor *op_leaky_relu(struct cx *cx, llm_tensor *x, float slope);
llm_tensor *op_gelu(struct cx *cx, llm_tensor *x);      /* x * Phi(x), erf form */
llm_tensor *op_gelu_tanh(struct cx *cx, llm_tensor *x); /* GPT-2's approximation */
llm_tensor *op_silu(struct cx *cx, llm_tensor *x);
llm_tensor *op_softplus(struct cx *cx, llm_tensor *x); /* log(1 + exp(x)) */
llm_tensor *op_swiglu(struct cx *cx, llm_tensor *gate, llm_tensor *up); /* silu(gate) * up */

/* Products. (op_matmul.c, op_linear.c) */
/* [.., m, k] x [.., k, n] -> [.., m, n]; `transpose` swaps the last two axes of an operand first;
 * leading axes broadcast. */
llm_tensor *op_matmul(struct cx *cx, llm_tensor *a, llm_tensor *b, bool transpose_a,
                      bool transpose_b);
/* x [.., in], weight [out, in] (f32, f16 or bf16), bias [out] or NULL -> [.., out]. */
llm_tensor *op_linear(struct cx *cx, llm_tensor *x, llm_tensor *weight, llm_tensor *bias);
/* weight [V, D], ids[count] in [0, V) -> [count, D]. (op_embedding.c) */
llm_tensor *op_embedding(struct cx *cx, llm_tensor *weight, const int32_t *ids, int64_t count);

/* Softmax along one axis, negative from the end. (op_softmax.c) */
llm_tensor *op_softmax(struct cx *cx, llm_tensor *x, int32_t axis);
llm_tensor *op_log_softmax(struct cx *cx, llm_tensor *x, int32_t axis);

/* Losses. (op_cross_entropy.c, op_linear_cross_entropy.c, op_loss.c) */
enum { REDUCE_NONE = 0, REDUCE_MEAN = 1, REDUCE_SUM = 2 };
struct cross_entropy_options {
    int32_t ignore_index; /* targets equal to it are left out, of the mean too; -100 */
    float label_smoothing;
    int32_t reduction;
};
/* logits [.., V], one class per row -> scalar, or [rows] for REDUCE_NONE. `options` NULL: mean,
 * -100, 0. */
llm_tensor *op_cross_entropy(struct cx *cx, llm_tensor *logits, const int32_t *targets,
                             const struct cross_entropy_options *options);
/* Targets as probabilities [.., V]; no gradient to them. */
llm_tensor *op_cross_entropy_soft(struct cx *cx, llm_tensor *logits, llm_tensor *targets,
                                  int32_t reduction);
/* cross_entropy(linear(x, weight), targets) without ever holding all logits: x [N, D],
 * weight [V, D]. Gradients are computed chunk by chunk during the forward run when recording. */
llm_tensor *op_linear_cross_entropy(struct cx *cx, llm_tensor *x, llm_tensor *weight,
                                    const int32_t *targets,
                                    const struct cross_entropy_options *options);
llm_tensor *op_mse(struct cx *cx, llm_tensor *x, llm_tensor *target, int32_t reduction);
llm_tensor *op_bce_with_logits(struct cx *cx, llm_tensor *logits, llm_tensor *target,
                               int32_t reduction);
/* max(0, margin - y * x), y in {-1, 1}. */
llm_tensor *op_hinge(struct cx *cx, llm_tensor *x, llm_tensor *y, float margin, int32_t reduction);
/* torch.nn.MultiMarginLoss, p = 1: logits [rows, V]. */
llm_tensor *op_multi_margin(struct cx *cx, llm_tensor *logits, const int32_t *targets, float margin,
                            int32_t reduction);

/* Reductions over the axes set in `axes` (bit i: axis i; 0: all). (op_reduce.c) */
llm_tensor *op_sum(struct cx *cx, llm_tensor *x, uint32_t axes, bool keep);
llm_tensor *op_mean(struct cx *cx, llm_tensor *x, uint32_t axes, bool keep);
llm_tensor *op_max(struct cx *cx, llm_tensor *x, uint32_t axes, bool keep); /* ties share */
/* correction 1: unbiased. */
llm_tensor *op_variance(struct cx *cx, llm_tensor *x, uint32_t axes, bool keep, int32_t correction);

/* Shape. Views cost nothing and have no node. (op_shape.c, op_index.c) */
llm_tensor *op_reshape(struct cx *cx, llm_tensor *x, int32_t dimensions, const int64_t *shape);
llm_tensor *op_slice(struct cx *cx, llm_tensor *x, int32_t axis, int64_t start, int64_t end,
                     int64_t step);
llm_tensor *op_permute(struct cx *cx, llm_tensor *x, const int32_t *axes);
llm_tensor *op_transpose(struct cx *cx, llm_tensor *x, int32_t axis_a, int32_t axis_b);
llm_tensor *op_concat(struct cx *cx, llm_tensor *const *x, int count, int32_t axis);
/* torch.gather: out[..i..] = x[..index[..i..]..] along axis; index i32 or i64 tensor. */
llm_tensor *op_gather(struct cx *cx, llm_tensor *x, int32_t axis, llm_tensor *index);
/* torch.Tensor.scatter_add: a copy of x with source added at index. */
llm_tensor *op_scatter_add(struct cx *cx, llm_tensor *x, int32_t axis, llm_tensor *index,
                           llm_tensor *source);
/* Rows x[index[i]] of a [rows, ..] tensor: packed-batch selection (last positions, pooling). */
llm_tensor *op_select_rows(struct cx *cx, llm_tensor *x, const int32_t *index, int64_t count);

/* Normalization over the last axis; weight and bias [D], either may be NULL. (op_norm.c) */
llm_tensor *op_layer_norm(struct cx *cx, llm_tensor *x, llm_tensor *weight, llm_tensor *bias,
                          float epsilon);
/* x / rms(x) * (offset + weight); offset 1 for Gemma. */
llm_tensor *op_rms_norm(struct cx *cx, llm_tensor *x, llm_tensor *weight, float epsilon,
                        float offset);
/* x [B, C, ..]; running_mean/running_var [C] are updated when cx->training (torch semantics), used
 * otherwise. (op_batch_norm.c) */
llm_tensor *op_batch_norm(struct cx *cx, llm_tensor *x, llm_tensor *weight, llm_tensor *bias,
                          llm_tensor *running_mean, llm_tensor *running_var, float momentum,
                          float epsilon);

/* Identity unless cx->training; takes one random stream. (op_dropout.c) */
llm_tensor *op_dropout(struct cx *cx, llm_tensor *x, float probability);

/* x [B, C, T], weight [out, C / groups, width], bias [out] or NULL; `causal` pads on the left only
 * so that output t sees inputs <= t, else `padding` zeros on both sides. (op_conv.c) */
struct conv1d_options {
    int64_t stride, dilation, padding, groups;
    bool causal;
};
llm_tensor *op_conv1d(struct cx *cx, llm_tensor *x, llm_tensor *weight, llm_tensor *bias,
                      const struct conv1d_options *options);
/* Pooling over the last axis of [.., T], windows without padding. (op_pool.c) */
llm_tensor *op_max_pool1d(struct cx *cx, llm_tensor *x, int64_t width, int64_t stride);
llm_tensor *op_avg_pool1d(struct cx *cx, llm_tensor *x, int64_t width, int64_t stride);
/* The same over the last two axes of [.., height, width]. */
llm_tensor *op_max_pool2d(struct cx *cx, llm_tensor *x, int64_t height, int64_t width,
                          int64_t stride_height, int64_t stride_width);
llm_tensor *op_avg_pool2d(struct cx *cx, llm_tensor *x, int64_t height, int64_t width,
                          int64_t stride_height, int64_t stride_width);

/* Recurrent layers over whole sequences, gates in torch's order. x [T, B, in];
 * w_input [gates * hidden, in], w_hidden [gates * hidden, hidden], biases [gates * hidden] or NULL;
 * h0, c0 [B, hidden] or NULL for zeros. Returns y [T, B, hidden]; *h_out, *c_out (may be NULL) get
 * the last states. (op_rnn.c, op_lstm.c, op_gru.c) */
struct recurrent_weights {
    llm_tensor *w_input, *w_hidden, *b_input, *b_hidden;
};
llm_tensor *op_rnn(struct cx *cx, llm_tensor *x, const struct recurrent_weights *weights,
                   llm_tensor *h0, llm_tensor **h_out); /* tanh */
llm_tensor *op_lstm(struct cx *cx, llm_tensor *x, const struct recurrent_weights *weights,
                    llm_tensor *h0, llm_tensor *c0, llm_tensor **h_out, llm_tensor **c_out);
llm_tensor *op_gru(struct cx *cx, llm_tensor *x, const struct recurrent_weights *weights,
                   llm_tensor *h0, llm_tensor **h_out);

/* Attention over packed segments, flash style. q [Nq, H * d], k and v [Nk, K * d], rows may be
 * strided (slices of a fused projection). (op_attention.c) */
struct attention_options {
    int32_t heads, kv_heads, head_dim;
    float scale;               /* 0: 1 / sqrt(head_dim) */
    float soft_cap;            /* 0: none */
    int32_t causal;            /* bottom-right aligned within a segment */
    int32_t window;            /* 0: none */
    float dropout;             /* on probabilities, when cx->training */
    const float *alibi_slopes; /* [heads] or NULL; must outlive the backward pass */
    llm_tensor *relative_bias; /* [heads, span] or NULL, added at clamp(j - i + relative_zero) */
    int32_t relative_zero;
    int32_t segments;
    const int32_t *q_offsets;  /* [segments + 1]; copied */
    const int32_t *kv_offsets; /* NULL: as q_offsets */
};
llm_tensor *op_attention(struct cx *cx, llm_tensor *q, llm_tensor *k, llm_tensor *v,
                         const struct attention_options *options);
/* Rotary positions on [N, heads * head_dim]: pairs (i, i + rotary/2), or (2i, 2i + 1) if
 * interleaved, of the first rotary_dim of each head. frequencies [rotary_dim / 2] and scale must
 * outlive the backward pass. (op_rope.c) */
struct rope_options {
    int32_t head_dim, rotary_dim, interleaved;
    const float *frequencies;
    float scale; /* on cos and sin; 1 */
};
llm_tensor *op_rope(struct cx *cx, llm_tensor *x, const int32_t *positions,
                    const struct rope_options *options);

/* A user's op: forward and backward as callbacks. (op_custom.c) */
struct custom_op {
    void *user;
    llm_status (*forward)(void *user, int32_t inputs, const llm_tensor *const *in, llm_tensor *out);
    /* d_in[i] is NULL when input i wants no gradient; else zeroed, to be filled. */
    llm_status (*backward)(void *user, int32_t inputs, const llm_tensor *const *in,
                           const llm_tensor *out, const llm_tensor *d_out, llm_tensor *const *d_in);
    void (*release)(void *user); /* NULL, or called once per op_custom(): when the tape forgets
                                  * the op, or at once if that failed or nothing was recorded */
};
llm_tensor *op_custom(struct cx *cx, const struct custom_op *op, int32_t inputs,
                      llm_tensor *const *in, int32_t dimensions, const int64_t *shape);

#endif
