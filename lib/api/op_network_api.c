/* SPDX-License-Identifier: MIT
 *
 * llm/tape.h: softmax, normalization, losses, convolution, recurrence, attention, user-defined.
 */
#include "api/tape_api.h"

#include <math.h>
#include <string.h>

llm_status llm_op_softmax(llm_tensor **out, llm_tape *tape, llm_tensor *x, int32_t axis)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_softmax", 1, in);

    return status ? status : leave(out, tape, op_softmax(&tape->cx, x, axis));
}

llm_status llm_op_log_softmax(llm_tensor **out, llm_tape *tape, llm_tensor *x, int32_t axis)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_log_softmax", 1, in);

    return status ? status : leave(out, tape, op_log_softmax(&tape->cx, x, axis));
}

llm_status llm_op_mse(llm_tensor **out, llm_tape *tape, llm_tensor *x, llm_tensor *target,
                      int32_t reduction)
{
    llm_tensor *in[] = {x, target};
    llm_status status = enter(out, tape, "llm_op_mse", 2, in);

    return status ? status : leave(out, tape, op_mse(&tape->cx, x, target, reduction));
}

llm_status llm_op_bce_with_logits(llm_tensor **out, llm_tape *tape, llm_tensor *logits,
                                  llm_tensor *target, int32_t reduction)
{
    llm_tensor *in[] = {logits, target};
    llm_status status = enter(out, tape, "llm_op_bce_with_logits", 2, in);

    return status ? status
                  : leave(out, tape, op_bce_with_logits(&tape->cx, logits, target, reduction));
}

llm_status llm_op_cross_entropy_soft(llm_tensor **out, llm_tape *tape, llm_tensor *logits,
                                     llm_tensor *targets, int32_t reduction)
{
    llm_tensor *in[] = {logits, targets};
    llm_status status = enter(out, tape, "llm_op_cross_entropy_soft", 2, in);

    return status ? status
                  : leave(out, tape, op_cross_entropy_soft(&tape->cx, logits, targets, reduction));
}

llm_status llm_op_hinge(llm_tensor **out, llm_tape *tape, llm_tensor *x, llm_tensor *y,
                        double margin, int32_t reduction)
{
    llm_tensor *in[] = {x, y};
    llm_status status = enter(out, tape, "llm_op_hinge", 2, in);

    return status ? status : leave(out, tape, op_hinge(&tape->cx, x, y, (float)margin, reduction));
}

llm_status llm_op_max_pool1d(llm_tensor **out, llm_tape *tape, llm_tensor *x, int64_t width,
                             int64_t stride)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_max_pool1d", 1, in);

    return status ? status : leave(out, tape, op_max_pool1d(&tape->cx, x, width, stride));
}

llm_status llm_op_avg_pool1d(llm_tensor **out, llm_tape *tape, llm_tensor *x, int64_t width,
                             int64_t stride)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_avg_pool1d", 1, in);

    return status ? status : leave(out, tape, op_avg_pool1d(&tape->cx, x, width, stride));
}

llm_status llm_op_max_pool2d(llm_tensor **out, llm_tape *tape, llm_tensor *x, int64_t height,
                             int64_t width, int64_t stride_y, int64_t stride_x)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_max_pool2d", 1, in);

    return status
               ? status
               : leave(out, tape, op_max_pool2d(&tape->cx, x, height, width, stride_y, stride_x));
}

llm_status llm_op_avg_pool2d(llm_tensor **out, llm_tape *tape, llm_tensor *x, int64_t height,
                             int64_t width, int64_t stride_y, int64_t stride_x)
{
    llm_tensor *in[] = {x};
    llm_status status = enter(out, tape, "llm_op_avg_pool2d", 1, in);

    return status
               ? status
               : leave(out, tape, op_avg_pool2d(&tape->cx, x, height, width, stride_y, stride_x));
}

/* An operand that may be left out: NULL or f32 of the right owner. */
static llm_status optional_f32(llm_tape *tape, const char *name, const char *argument,
                               const llm_tensor *in)
{
    if (in && in->dtype != LLM_F32)
        cx_fail(&tape->cx, LLM_E_UNSUPPORTED, "%s: %s is %s, not f32", name, argument,
                dtype_get(in->dtype)->name);
    return enter_optional(tape, name, argument, in);
}

llm_status llm_op_layer_norm(llm_tensor **out, llm_tape *tape, llm_tensor *x, llm_tensor *weight,
                             llm_tensor *bias, double epsilon)
{
    llm_status status = enter(out, tape, "llm_op_layer_norm", 1, &x);

    if (!status)
        status = optional_f32(tape, "llm_op_layer_norm", "weight", weight);
    if (!status)
        status = optional_f32(tape, "llm_op_layer_norm", "bias", bias);
    return status ? status
                  : leave(out, tape, op_layer_norm(&tape->cx, x, weight, bias, (float)epsilon));
}

llm_status llm_op_rms_norm(llm_tensor **out, llm_tape *tape, llm_tensor *x, llm_tensor *weight,
                           double epsilon)
{
    llm_status status = enter(out, tape, "llm_op_rms_norm", 1, &x);

    if (!status)
        status = optional_f32(tape, "llm_op_rms_norm", "weight", weight);
    return status ? status
                  : leave(out, tape, op_rms_norm(&tape->cx, x, weight, (float)epsilon, 0.0f));
}

llm_status llm_op_batch_norm(llm_tensor **out, llm_tape *tape, llm_tensor *x, llm_tensor *weight,
                             llm_tensor *bias, llm_tensor *running_mean, llm_tensor *running_var,
                             double momentum, double epsilon)
{
    llm_tensor *in[] = {x, running_mean, running_var};
    llm_status status = enter(out, tape, "llm_op_batch_norm", 3, in);

    if (!status)
        status = optional_f32(tape, "llm_op_batch_norm", "weight", weight);
    if (!status)
        status = optional_f32(tape, "llm_op_batch_norm", "bias", bias);
    return status ? status
                  : leave(out, tape,
                          op_batch_norm(&tape->cx, x, weight, bias, running_mean, running_var,
                                        (float)momentum, (float)epsilon));
}

/* One target per row of logits. */
static llm_status check_targets(llm_tape *tape, const char *name, const llm_tensor *logits,
                                const int32_t *targets, size_t count)
{
    if (count && !targets)
        cx_fail(&tape->cx, LLM_E_INVALID, "%s: targets is NULL", name);
    else if ((int64_t)count != tensor_rows(logits))
        cx_fail(&tape->cx, LLM_E_SHAPE, "%s: %zu targets for %lld rows", name, count,
                (long long)tensor_rows(logits));
    return cx_status(&tape->cx);
}

llm_status llm_op_cross_entropy(llm_tensor **out, llm_tape *tape, llm_tensor *logits,
                                const int32_t *targets, size_t count, int32_t ignore_index,
                                double label_smoothing, int32_t reduction)
{
    struct cross_entropy_options options = {ignore_index, (float)label_smoothing, reduction};
    llm_status status = enter(out, tape, "llm_op_cross_entropy", 1, &logits);

    if (!status)
        status = check_targets(tape, "llm_op_cross_entropy", logits, targets, count);
    return status ? status
                  : leave(out, tape, op_cross_entropy(&tape->cx, logits, targets, &options));
}

llm_status llm_op_linear_cross_entropy(llm_tensor **out, llm_tape *tape, llm_tensor *x,
                                       llm_tensor *weight, const int32_t *targets, size_t count,
                                       int32_t ignore_index, double label_smoothing)
{
    struct cross_entropy_options options = {ignore_index, (float)label_smoothing, REDUCE_MEAN};
    llm_tensor *in[] = {x, weight};
    llm_status status = enter(out, tape, "llm_op_linear_cross_entropy", 2, in);

    if (!status)
        status = check_targets(tape, "llm_op_linear_cross_entropy", x, targets, count);
    return status
               ? status
               : leave(out, tape, op_linear_cross_entropy(&tape->cx, x, weight, targets, &options));
}

llm_status llm_op_multi_margin(llm_tensor **out, llm_tape *tape, llm_tensor *logits,
                               const int32_t *targets, size_t count, double margin,
                               int32_t reduction)
{
    llm_status status = enter(out, tape, "llm_op_multi_margin", 1, &logits);

    if (!status)
        status = check_targets(tape, "llm_op_multi_margin", logits, targets, count);
    return status ? status
                  : leave(out, tape,
                          op_multi_margin(&tape->cx, logits, targets, (float)margin, reduction));
}

llm_status llm_op_conv1d(llm_tensor **out, llm_tape *tape, llm_tensor *x, llm_tensor *weight,
                         llm_tensor *bias, int64_t stride, int64_t dilation, int64_t padding,
                         int64_t groups, int32_t causal)
{
    struct conv1d_options options = {stride, dilation, padding, groups, causal != 0};
    llm_tensor *in[] = {x, weight};
    llm_status status = enter(out, tape, "llm_op_conv1d", 2, in);

    if (!status)
        status = optional_f32(tape, "llm_op_conv1d", "bias", bias);
    return status ? status : leave(out, tape, op_conv1d(&tape->cx, x, weight, bias, &options));
}

static llm_status enter_recurrent(llm_tensor **out, llm_tensor **h_out, llm_tape *tape,
                                  const char *name, llm_tensor *x,
                                  const struct recurrent_weights *weights, llm_tensor *h0,
                                  llm_tensor *c0)
{
    llm_tensor *in[] = {x, weights->w_input, weights->w_hidden};
    llm_status status = enter(out, tape, name, 3, in);

    if (h_out)
        *h_out = NULL;
    if (!status)
        status = optional_f32(tape, name, "b_input", weights->b_input);
    if (!status)
        status = optional_f32(tape, name, "b_hidden", weights->b_hidden);
    if (!status)
        status = optional_f32(tape, name, "h0", h0);
    return status ? status : optional_f32(tape, name, "c0", c0);
}

llm_status llm_op_rnn(llm_tensor **out, llm_tensor **h_out, llm_tape *tape, llm_tensor *x,
                      llm_tensor *w_input, llm_tensor *w_hidden, llm_tensor *b_input,
                      llm_tensor *b_hidden, llm_tensor *h0)
{
    struct recurrent_weights weights = {w_input, w_hidden, b_input, b_hidden};
    llm_status status = enter_recurrent(out, h_out, tape, "llm_op_rnn", x, &weights, h0, NULL);

    return status ? status : leave(out, tape, op_rnn(&tape->cx, x, &weights, h0, h_out));
}

llm_status llm_op_lstm(llm_tensor **out, llm_tensor **h_out, llm_tensor **c_out, llm_tape *tape,
                       llm_tensor *x, llm_tensor *w_input, llm_tensor *w_hidden,
                       llm_tensor *b_input, llm_tensor *b_hidden, llm_tensor *h0, llm_tensor *c0)
{
    struct recurrent_weights weights = {w_input, w_hidden, b_input, b_hidden};
    llm_status status = enter_recurrent(out, h_out, tape, "llm_op_lstm", x, &weights, h0, c0);

    if (c_out)
        *c_out = NULL;
    return status ? status
                  : leave(out, tape, op_lstm(&tape->cx, x, &weights, h0, c0, h_out, c_out));
}

llm_status llm_op_gru(llm_tensor **out, llm_tensor **h_out, llm_tape *tape, llm_tensor *x,
                      llm_tensor *w_input, llm_tensor *w_hidden, llm_tensor *b_input,
                      llm_tensor *b_hidden, llm_tensor *h0)
{
    struct recurrent_weights weights = {w_input, w_hidden, b_input, b_hidden};
    llm_status status = enter_recurrent(out, h_out, tape, "llm_op_gru", x, &weights, h0, NULL);

    return status ? status : leave(out, tape, op_gru(&tape->cx, x, &weights, h0, h_out));
}

llm_status llm_attention_options_init(llm_attention_options *options, size_t struct_size)
{
    static const llm_attention_options defaults = {.struct_size = sizeof defaults};

    return options_fill(options, struct_size, &defaults, sizeof defaults, "llm_attention_options");
}

/* Public options -> the engine's; one sequence when no offsets are given. */
static llm_status attention_plan(struct attention_options *plan, int32_t *whole_q,
                                 int32_t *whole_kv, const llm_attention_options *options,
                                 llm_tape *tape, const llm_tensor *q, const llm_tensor *k)
{
    memset(plan, 0, sizeof *plan);
    if (q->dimensions != 2 || k->dimensions != 2 || options->heads < 1 ||
        q->shape[1] % options->heads != 0 || q->shape[0] > INT32_MAX || k->shape[0] > INT32_MAX) {
        cx_fail(&tape->cx, LLM_E_SHAPE, "llm_op_attention: q %s, k %s, %d heads",
                tensor_shape_text(q), tensor_shape_text(k), options->heads);
        return cx_status(&tape->cx);
    }
    whole_q[1] = (int32_t)q->shape[0];
    whole_kv[1] = (int32_t)k->shape[0];
    plan->heads = options->heads;
    plan->kv_heads = options->kv_heads ? options->kv_heads : options->heads;
    plan->head_dim = (int32_t)(q->shape[1] / options->heads);
    plan->scale = (float)options->scale;
    plan->soft_cap = (float)options->soft_cap;
    plan->causal = options->causal;
    plan->window = options->window;
    plan->dropout = (float)options->dropout;
    plan->alibi_slopes = options->alibi_slopes;
    plan->relative_bias = options->relative_bias;
    plan->relative_zero = options->relative_zero;
    plan->segments = options->q_offsets ? options->segments : 1;
    plan->q_offsets = options->q_offsets ? options->q_offsets : whole_q;
    plan->kv_offsets = options->kv_offsets  ? options->kv_offsets
                       : options->q_offsets ? options->q_offsets
                                            : whole_kv;
    return LLM_OK;
}

llm_status llm_op_attention(llm_tensor **out, llm_tape *tape, llm_tensor *q, llm_tensor *k,
                            llm_tensor *v, const llm_attention_options *given)
{
    llm_attention_options options = {.struct_size = sizeof options};
    llm_tensor *in[] = {q, k, v};
    llm_status status = enter(out, tape, "llm_op_attention", 3, in);
    int32_t whole_q[2] = {0};
    int32_t whole_kv[2] = {0};
    struct attention_options plan;

    if (!status && !given)
        status = null_argument("llm_op_attention", "options");
    if (!status)
        status = options_read(&options, sizeof options, given, "llm_attention_options");
    if (!status)
        status = optional_f32(tape, "llm_op_attention", "relative_bias", options.relative_bias);
    if (!status)
        status = attention_plan(&plan, whole_q, whole_kv, &options, tape, q, k);
    return status ? status : leave(out, tape, op_attention(&tape->cx, q, k, v, &plan));
}

llm_status llm_op_rope(llm_tensor **out, llm_tape *tape, llm_tensor *x, const int32_t *positions,
                       int32_t head_dim, int32_t rotary_dim, double base, int32_t interleaved)
{
    llm_status status = enter(out, tape, "llm_op_rope", 1, &x);
    struct rope_options options = {head_dim, rotary_dim, interleaved, NULL, 1.0f};
    float *frequencies;

    if (status)
        return status;
    if (!positions || head_dim < 1 || rotary_dim < 2 || rotary_dim % 2 != 0 ||
        rotary_dim > head_dim || !(base > 0.0)) {
        cx_fail(&tape->cx, positions ? LLM_E_RANGE : LLM_E_INVALID,
                "llm_op_rope: positions %s, head_dim %d, rotary_dim %d, base %g",
                positions ? "given" : "NULL", head_dim, rotary_dim, base);
        return cx_status(&tape->cx);
    }
    frequencies = arena_alloc(&tape->cx.arena, (size_t)rotary_dim / 2 * sizeof *frequencies);
    if (!frequencies) {
        cx_adopt(&tape->cx, LLM_E_NOMEM);
        return cx_status(&tape->cx);
    }
    for (int32_t i = 0; i < rotary_dim / 2; i++)
        frequencies[i] = (float)pow(base, -2.0 * i / rotary_dim);
    options.frequencies = frequencies;
    return leave(out, tape, op_rope(&tape->cx, x, positions, &options));
}

llm_status llm_op_custom(llm_tensor **out, llm_tape *tape, const llm_custom_op *given,
                         int32_t inputs, llm_tensor *const *in, int32_t dimensions,
                         const int64_t *shape)
{
    llm_custom_op op = {.struct_size = sizeof op};
    struct custom_op custom = {0};
    llm_status status = enter(out, tape, "llm_op_custom", 0, NULL);

    if (!status && (!given || (inputs > 0 && !in) || (dimensions > 0 && !shape)))
        status = null_argument("llm_op_custom", !given ? "op" : inputs > 0 && !in ? "in" : "shape");
    if (!status && (inputs < 1 || inputs > NODE_INPUTS))
        status =
            status_set(LLM_E_RANGE, "llm_op_custom: %d inputs, outside 1..%d", inputs, NODE_INPUTS);
    if (!status)
        status = options_read(&op, sizeof op, given, "llm_custom_op");
    if (!status && !op.forward)
        status = null_argument("llm_op_custom", "forward");
    if (!status)
        status = enter(out, tape, "llm_op_custom", inputs, in);
    if (status)
        return status;
    custom.user = op.user;
    custom.forward = op.forward;
    custom.backward = op.backward;
    return leave(out, tape, op_custom(&tape->cx, &custom, inputs, in, dimensions, shape));
}
