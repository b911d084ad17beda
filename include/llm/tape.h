/* SPDX-License-Identifier: MIT
 *
 * Operations on tensors, and gradients of what they compute.
 *
 * A tape owns every tensor an operation returns. Operations run at once; the tape remembers them so
 * that llm_backward() can walk back and add up gradients in every tensor that asked for one with
 * llm_tensor_set_requires_grad(). llm_tape_reset() forgets it all: call it once per training step,
 * nothing else needs freeing.
 *
 * Errors are sticky. When an operation fails its result is NULL; operations given NULL after that
 * return the same status again, with the first message, until the tape is reset. So a formula may
 * be written down without checks and llm_backward(), or llm_tape_status(), tells whether it held.
 *
 * All operations work on LLM_F32 tensors (index tensors: LLM_I32 or LLM_I64), of any strides, made
 * by llm_tensor_*() or by the same tape. They return LLM_OK, LLM_E_INVALID (NULL, foreign tape),
 * LLM_E_SHAPE, LLM_E_RANGE, LLM_E_UNSUPPORTED (dtype) or LLM_E_NOMEM.
 * @threads a tape belongs to one thread at a time.
 */
#ifndef LLM_TAPE_H
#define LLM_TAPE_H

#include "tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Owner of intermediate tensors and of the record of operations. */
typedef struct llm_tape llm_tape;

/** Options of llm_tape_new(). */
typedef struct llm_tape_options {
    size_t struct_size;
    uint64_t seed;          /**< of dropout; default: the context's */
    int32_t recording;      /**< 1: gradients wanted (default); 0: values only */
    int32_t training;       /**< 1: dropout drops and batch norm uses the batch; default 0 */
    int32_t release_values; /**< 1: llm_backward() frees values as it goes, so only gradients of
                                 llm_tensor_new() tensors can be read afterwards; default 0 */
    int32_t reserved;       /**< 0 */
} llm_tape_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_tape_options). */
LLM_API llm_status llm_tape_options_init(llm_tape_options *options, size_t struct_size);

/** Create a tape. @param out NULL on failure; free with llm_tape_free(). @param options NULL:
 * defaults. */
LLM_API llm_status llm_tape_new(llm_tape **out, llm_context *context,
                                const llm_tape_options *options);

/** Frees the tape and every tensor on it. NULL is allowed. */
LLM_API void llm_tape_free(llm_tape *tape);

/** Forget operations, tensors and error; buffers are kept for the next round. */
LLM_API llm_status llm_tape_reset(llm_tape *tape);

/** LLM_OK, or the first failure since the last reset (with its message). */
LLM_API llm_status llm_tape_status(const llm_tape *tape);

/** Switch between training and evaluation behaviour, and recording on and off. */
LLM_API llm_status llm_tape_set_training(llm_tape *tape, int32_t training);
LLM_API llm_status llm_tape_set_recording(llm_tape *tape, int32_t recording);

/** Gradients of `loss` (one element), added to those already in llm_tensor_new() tensors. */
LLM_API llm_status llm_backward(llm_tape *tape, llm_tensor *loss);

/** The same from any tensor, given the gradient that arrives at it (same shape). */
LLM_API llm_status llm_backward_from(llm_tape *tape, llm_tensor *y, llm_tensor *gradient);

/** The recorded graph in Graphviz's DOT language: operations, shapes, and the value and gradient of
 *  scalars. @param buffer NULL to ask for the size. @return LLM_E_BUFFER when `capacity` is less
 * than *needed_out, which counts the final NUL. */
LLM_API llm_status llm_tape_dot(const llm_tape *tape, char *buffer, size_t capacity,
                                size_t *needed_out);

/* ---- arithmetic, with NumPy's broadcasting ---- */

/** a + b, a - b, a * b, a / b. */
LLM_API llm_status llm_op_add(llm_tensor **out, llm_tape *tape, llm_tensor *a, llm_tensor *b);
LLM_API llm_status llm_op_sub(llm_tensor **out, llm_tape *tape, llm_tensor *a, llm_tensor *b);
LLM_API llm_status llm_op_mul(llm_tensor **out, llm_tape *tape, llm_tensor *a, llm_tensor *b);
LLM_API llm_status llm_op_div(llm_tensor **out, llm_tape *tape, llm_tensor *a, llm_tensor *b);
/** a to the power b; a > 0 where the gradient of b is wanted. */
LLM_API llm_status llm_op_pow(llm_tensor **out, llm_tape *tape, llm_tensor *a, llm_tensor *b);
/** x to a constant power. */
LLM_API llm_status llm_op_pow_scalar(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                     double exponent);
/** scale * x + shift. */
LLM_API llm_status llm_op_affine(llm_tensor **out, llm_tape *tape, llm_tensor *x, double scale,
                                 double shift);

/* ---- element by element ---- */

/** |x|, e to the x, natural logarithm, square root. Outside their domain they give NaN or infinity,
 *  as C does; the gradient of |x| at 0 is 0. */
LLM_API llm_status llm_op_abs(llm_tensor **out, llm_tape *tape, llm_tensor *x);
LLM_API llm_status llm_op_exp(llm_tensor **out, llm_tape *tape, llm_tensor *x);
LLM_API llm_status llm_op_log(llm_tensor **out, llm_tape *tape, llm_tensor *x);
LLM_API llm_status llm_op_sqrt(llm_tensor **out, llm_tape *tape, llm_tensor *x);
/** tanh(x), 1 / (1 + exp(-x)), max(0, x). */
LLM_API llm_status llm_op_tanh(llm_tensor **out, llm_tape *tape, llm_tensor *x);
LLM_API llm_status llm_op_sigmoid(llm_tensor **out, llm_tape *tape, llm_tensor *x);
LLM_API llm_status llm_op_relu(llm_tensor **out, llm_tape *tape, llm_tensor *x);
/** x for x > 0, else slope * x. */
LLM_API llm_status llm_op_leaky_relu(llm_tensor **out, llm_tape *tape, llm_tensor *x, double slope);
/** x * Phi(x), with the error function (Hendrycks & Gimpel 2016). */
LLM_API llm_status llm_op_gelu(llm_tensor **out, llm_tape *tape, llm_tensor *x);
/** The tanh approximation GPT-2 uses. */
LLM_API llm_status llm_op_gelu_tanh(llm_tensor **out, llm_tape *tape, llm_tensor *x);
/** x * sigmoid(x). */
LLM_API llm_status llm_op_silu(llm_tensor **out, llm_tape *tape, llm_tensor *x);
/** silu(gate) * up (Shazeer 2020). */
LLM_API llm_status llm_op_swiglu(llm_tensor **out, llm_tape *tape, llm_tensor *gate,
                                 llm_tensor *up);
/** Zeroes elements with `probability` and scales the rest by 1 / (1 - probability) while training.
 */
LLM_API llm_status llm_op_dropout(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                  double probability);

/* ---- products ---- */

/** [.., m, k] x [.., k, n] -> [.., m, n]; a transpose flag swaps an operand's last two axes first;
 *  leading axes broadcast. */
LLM_API llm_status llm_op_matmul(llm_tensor **out, llm_tape *tape, llm_tensor *a, llm_tensor *b,
                                 int32_t transpose_a, int32_t transpose_b);
/** x [.., in] W^T + bias -> [.., out]; weight [out, in] may be LLM_F16 or LLM_BF16 (then without a
 *  gradient of its own); bias [out] or NULL. */
LLM_API llm_status llm_op_linear(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                 llm_tensor *weight, llm_tensor *bias);
/** Rows of weight [V, D]: ids[count] -> [count, D]. */
LLM_API llm_status llm_op_embedding(llm_tensor **out, llm_tape *tape, llm_tensor *weight,
                                    const int32_t *ids, size_t count);

/* ---- reductions: bit i of `axes` is axis i, 0: all; `keep` leaves axes of size 1 ---- */

/** Sum and arithmetic mean. */
LLM_API llm_status llm_op_sum(llm_tensor **out, llm_tape *tape, llm_tensor *x, uint32_t axes,
                              int32_t keep);
LLM_API llm_status llm_op_mean(llm_tensor **out, llm_tape *tape, llm_tensor *x, uint32_t axes,
                               int32_t keep);
/** Equal maxima share the gradient. */
LLM_API llm_status llm_op_max(llm_tensor **out, llm_tape *tape, llm_tensor *x, uint32_t axes,
                              int32_t keep);
/** Divides by count - correction: 1 for the unbiased estimate, 0 for the population's. */
LLM_API llm_status llm_op_variance(llm_tensor **out, llm_tape *tape, llm_tensor *x, uint32_t axes,
                                   int32_t keep, int32_t correction);

/* ---- shape: views share memory; `axis` may count from the end with negative numbers ---- */

/** The same elements in another shape; one size may be -1. */
LLM_API llm_status llm_op_reshape(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                  int32_t dimensions, const int64_t *shape);
/** Elements start, start + step, ... below `end` along `axis`. */
LLM_API llm_status llm_op_slice(llm_tensor **out, llm_tape *tape, llm_tensor *x, int32_t axis,
                                int64_t start, int64_t end, int64_t step);
/** Two axes swapped; all axes reordered: axes[i] is the source axis that becomes axis i. */
LLM_API llm_status llm_op_transpose(llm_tensor **out, llm_tape *tape, llm_tensor *x, int32_t axis_a,
                                    int32_t axis_b);
LLM_API llm_status llm_op_permute(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                  const int32_t *axes);
/** At most 12 tensors, equal but for their size along `axis`. */
LLM_API llm_status llm_op_concat(llm_tensor **out, llm_tape *tape, llm_tensor *const *x,
                                 size_t count, int32_t axis);
/** out[i][j] = x[index[i][j]][j] for axis 0, and so on: torch.gather. */
LLM_API llm_status llm_op_gather(llm_tensor **out, llm_tape *tape, llm_tensor *x, int32_t axis,
                                 llm_tensor *index);
/** A copy of x with `source` added at `index`: torch.Tensor.scatter_add. */
LLM_API llm_status llm_op_scatter_add(llm_tensor **out, llm_tape *tape, llm_tensor *x, int32_t axis,
                                      llm_tensor *index, llm_tensor *source);
/** Rows index[0], index[1], ... of x along its first axis. */
LLM_API llm_status llm_op_select_rows(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                      const int32_t *index, size_t count);

/* ---- softmax and normalization ---- */

/** exp(x) / sum(exp(x)) along `axis`, and its logarithm. */
LLM_API llm_status llm_op_softmax(llm_tensor **out, llm_tape *tape, llm_tensor *x, int32_t axis);
LLM_API llm_status llm_op_log_softmax(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                      int32_t axis);
/** Over the last axis; weight and bias [D], each may be NULL (Ba et al. 2016). */
LLM_API llm_status llm_op_layer_norm(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                     llm_tensor *weight, llm_tensor *bias, double epsilon);
/** Over the last axis; weight [D] or NULL (Zhang & Sennrich 2019). */
LLM_API llm_status llm_op_rms_norm(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                   llm_tensor *weight, double epsilon);
/** x [B, C, ..] per channel; running_mean and running_var [C] are updated in training as PyTorch
 * does (momentum is the new value's share), and used otherwise (Ioffe & Szegedy 2015). */
LLM_API llm_status llm_op_batch_norm(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                     llm_tensor *weight, llm_tensor *bias, llm_tensor *running_mean,
                                     llm_tensor *running_var, double momentum, double epsilon);

/* ---- losses ---- */

/** How a loss sums up: one value per row, their mean, their sum. */
enum { LLM_REDUCE_NONE = 0, LLM_REDUCE_MEAN = 1, LLM_REDUCE_SUM = 2 };

/** logits [.., V]; targets: one class per row, rows with `ignore_index` left out (of the mean,
 * too). */
LLM_API llm_status llm_op_cross_entropy(llm_tensor **out, llm_tape *tape, llm_tensor *logits,
                                        const int32_t *targets, size_t count, int32_t ignore_index,
                                        double label_smoothing, int32_t reduction);
/** Targets as probabilities, same shape as logits. */
LLM_API llm_status llm_op_cross_entropy_soft(llm_tensor **out, llm_tape *tape, llm_tensor *logits,
                                             llm_tensor *targets, int32_t reduction);
/** cross_entropy(linear(x, weight, NULL), targets), mean, without holding all logits at once:
 *  x [N, D], weight [V, D]. */
LLM_API llm_status llm_op_linear_cross_entropy(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                               llm_tensor *weight, const int32_t *targets,
                                               size_t count, int32_t ignore_index,
                                               double label_smoothing);
/** (x - target) squared. */
LLM_API llm_status llm_op_mse(llm_tensor **out, llm_tape *tape, llm_tensor *x, llm_tensor *target,
                              int32_t reduction);
/** Binary cross-entropy of sigmoid(logits) against targets in [0, 1]. */
LLM_API llm_status llm_op_bce_with_logits(llm_tensor **out, llm_tape *tape, llm_tensor *logits,
                                          llm_tensor *target, int32_t reduction);
/** max(0, margin - x * y) with y of -1 and 1. */
LLM_API llm_status llm_op_hinge(llm_tensor **out, llm_tape *tape, llm_tensor *x, llm_tensor *y,
                                double margin, int32_t reduction);
/** Multi-class hinge (torch.nn.MultiMarginLoss): logits [rows, V]. */
LLM_API llm_status llm_op_multi_margin(llm_tensor **out, llm_tape *tape, llm_tensor *logits,
                                       const int32_t *targets, size_t count, double margin,
                                       int32_t reduction);

/* ---- convolution, pooling, recurrence ---- */

/** x [B, C, T], weight [out, C / groups, width], bias [out] or NULL. With `causal` zeros are put on
 * the left only, so that output t sees inputs up to t (van den Oord et al. 2016), and `padding`
 * must be 0; otherwise `padding` zeros on both sides. */
LLM_API llm_status llm_op_conv1d(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                 llm_tensor *weight, llm_tensor *bias, int64_t stride,
                                 int64_t dilation, int64_t padding, int64_t groups, int32_t causal);
/** Largest value and mean of windows along the last axis, without padding. */
LLM_API llm_status llm_op_max_pool1d(llm_tensor **out, llm_tape *tape, llm_tensor *x, int64_t width,
                                     int64_t stride);
LLM_API llm_status llm_op_avg_pool1d(llm_tensor **out, llm_tape *tape, llm_tensor *x, int64_t width,
                                     int64_t stride);

/** The same over the last two axes. */
LLM_API llm_status llm_op_max_pool2d(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                     int64_t height, int64_t width, int64_t stride_y,
                                     int64_t stride_x);
LLM_API llm_status llm_op_avg_pool2d(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                     int64_t height, int64_t width, int64_t stride_y,
                                     int64_t stride_x);

/** Recurrent layers over whole sequences; gates in PyTorch's order. x [T, B, in],
 *  w_input [gates * hidden, in], w_hidden [gates * hidden, hidden], biases [gates * hidden] or
 * NULL, h0 and c0 [B, hidden] or NULL for zeros. *out: [T, B, hidden]; *h_out, *c_out: the last
 * states, the pointers may be NULL. Gates: 1 (tanh RNN), 4 (LSTM), 3 (GRU). */
LLM_API llm_status llm_op_rnn(llm_tensor **out, llm_tensor **h_out, llm_tape *tape, llm_tensor *x,
                              llm_tensor *w_input, llm_tensor *w_hidden, llm_tensor *b_input,
                              llm_tensor *b_hidden, llm_tensor *h0);
LLM_API llm_status llm_op_lstm(llm_tensor **out, llm_tensor **h_out, llm_tensor **c_out,
                               llm_tape *tape, llm_tensor *x, llm_tensor *w_input,
                               llm_tensor *w_hidden, llm_tensor *b_input, llm_tensor *b_hidden,
                               llm_tensor *h0, llm_tensor *c0);
LLM_API llm_status llm_op_gru(llm_tensor **out, llm_tensor **h_out, llm_tape *tape, llm_tensor *x,
                              llm_tensor *w_input, llm_tensor *w_hidden, llm_tensor *b_input,
                              llm_tensor *b_hidden, llm_tensor *h0);

/* ---- attention ---- */

/** Options of llm_op_attention(). */
typedef struct llm_attention_options {
    size_t struct_size;
    const int32_t *q_offsets;  /**< [segments + 1] rows of q per sequence; NULL: one sequence */
    const int32_t *kv_offsets; /**< [segments + 1] rows of k and v; NULL: as q_offsets */
    const float *alibi_slopes; /**< [heads] or NULL; must stay valid until llm_tape_reset() */
    llm_tensor *relative_bias; /**< [heads, span] or NULL: added at clamp(j - i + relative_zero) */
    double scale;              /**< 0: 1 / sqrt(head_dim) */
    double soft_cap;           /**< 0: none; else cap * tanh(score / cap) */
    double dropout;            /**< of probabilities, in training */
    int32_t segments;          /**< number of sequences; 0 with NULL offsets */
    int32_t heads;             /**< query heads; required */
    int32_t kv_heads;          /**< 0: as heads; else a divisor of it */
    int32_t causal;            /**< 1: row i of a sequence sees keys up to i + (keys - rows) */
    int32_t window;            /**< 0: none; else the number of positions a row sees back */
    int32_t relative_zero;     /**< column of relative_bias for distance 0 */
} llm_attention_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_attention_options). */
LLM_API llm_status llm_attention_options_init(llm_attention_options *options, size_t struct_size);

/** Scaled dot-product attention over packed sequences, without a T x T matrix in memory (Dao et al.
 *  2022): q [Nq, heads * d], k and v [Nk, kv_heads * d] -> [Nq, heads * d]. */
LLM_API llm_status llm_op_attention(llm_tensor **out, llm_tape *tape, llm_tensor *q, llm_tensor *k,
                                    llm_tensor *v, const llm_attention_options *options);

/** Rotary positions (Su et al. 2021) on x [N, heads * head_dim]: the first rotary_dim values of
 * each head turn by position * base^(-2i / rotary_dim), paired as (i, i + rotary_dim / 2), or as
 *  (2i, 2i + 1) if interleaved. positions[N]. */
LLM_API llm_status llm_op_rope(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                               const int32_t *positions, int32_t head_dim, int32_t rotary_dim,
                               double base, int32_t interleaved);

/* ---- your own ---- */

/** A user-defined operation. */
typedef struct llm_custom_op {
    size_t struct_size; /**< sizeof(llm_custom_op) */
    void *user;
    /** Fill `out` (contiguous) from the inputs (contiguous). Not 0: failure, passed on. */
    llm_status (*forward)(void *user, int32_t inputs, const llm_tensor *const *in, llm_tensor *out);
    /** Fill d_in[i] (contiguous, zeroed; NULL: not wanted). NULL: no gradient flows back. */
    llm_status (*backward)(void *user, int32_t inputs, const llm_tensor *const *in,
                           const llm_tensor *out, const llm_tensor *d_out, llm_tensor *const *d_in);
} llm_custom_op;

/** Run a user-defined operation on up to 12 inputs; `op` and its user data must stay valid until
 *  llm_tape_reset(). */
LLM_API llm_status llm_op_custom(llm_tensor **out, llm_tape *tape, const llm_custom_op *op,
                                 int32_t inputs, llm_tensor *const *in, int32_t dimensions,
                                 const int64_t *shape);

#ifdef __cplusplus
}
#endif

#endif
