/* SPDX-License-Identifier: MIT
 *
 * Attention over packed segments (kernels/attention.h says what is computed). Recorded runs keep
 * one float per head and row, the log of the softmax's sum; the backward pass makes the
 * probabilities again tile by tile.
 */
#include "graph/op.h"

#include <math.h>
#include <string.h>

struct saved {
    struct attention_args args; /* without pointers to values, which may move */
    llm_tensor *lse;            /* [heads, Nq] */
};

enum { Q, K, V, BIAS, INPUTS };

/* Points `args` at the values; false after a failure. */
static bool bind_values(struct cx *cx, struct attention_args *args, llm_tensor *const *in,
                        const llm_tensor *out)
{
    args->q = cx_values(cx, in[Q]);
    args->k = cx_values(cx, in[K]);
    args->v = cx_values(cx, in[V]);
    args->q_stride = in[Q]->stride[0];
    args->k_stride = in[K]->stride[0];
    args->v_stride = in[V]->stride[0];
    args->shape.relative_bias = in[BIAS] ? cx_values(cx, in[BIAS]) : NULL;
    args->out = out->data;
    args->out_stride = out->stride[0];
    args->threads = cx->threads;
    return !cx->status;
}

/* --- backward --------------------------------------------------------------------------------- */

/* Do q, k and v lie side by side in one tensor and fill it, as slices of a fused projection do? */
static llm_tensor *fused_base(llm_tensor *const *in)
{
    llm_tensor *base = in[Q]->base;
    int64_t offset = 0;

    if (!base || base->dimensions != 2 || !tensor_is_contiguous(base))
        return NULL;
    for (int i = Q; i <= V; i++) {
        if (in[i]->base != base || in[i]->offset != offset || in[i]->stride[0] != base->stride[0] ||
            in[i]->shape[0] != base->shape[0])
            return NULL;
        offset += in[i]->shape[1];
    }
    return offset == base->shape[1] ? base : NULL;
}

/* Self-attention of a tensor to itself: one gradient for several roles. */
static bool is_shared(const llm_tensor *a, const llm_tensor *b)
{
    int64_t distance = a->offset - b->offset;
    int64_t width = a->shape[1] > b->shape[1] ? a->shape[1] : b->shape[1];

    return (a->base ? a->base : a) == (b->base ? b->base : b) && distance < width &&
           -distance < width;
}

static const uint32_t add_bits[INPUTS] = {ATTENTION_ADD_DQ, ATTENTION_ADD_DK, ATTENTION_ADD_DV,
                                          ATTENTION_ADD_BIAS};

struct targets {
    float **values[INPUTS];
    int64_t *stride[V + 1];
    llm_tensor *apart[V + 1]; /* gradients on their own, to be added at the end */
};

static void bind_each(struct cx *cx, struct attention_backward_args *args, llm_tensor *const *in,
                      struct targets *targets, int first)
{
    for (int i = first; i < INPUTS; i++) {
        bool shared = (i == K && is_shared(in[K], in[Q])) ||
                      (i == V && (is_shared(in[V], in[Q]) || is_shared(in[V], in[K])));
        float beta = 0.0f;
        llm_tensor *grad = NULL;

        if (in[i] && in[i]->requires_grad && shared)
            grad = targets->apart[i] = cx_output_2d(cx, in[i]->shape[0], in[i]->shape[1]);
        else if (in[i])
            grad = cx_grad(cx, in[i], &beta);
        if (!grad)
            continue;
        *targets->values[i] = grad->data;
        if (i < BIAS)
            *targets->stride[i] = grad->stride[0];
        args->accumulate |= beta != 0.0f ? add_bits[i] : 0;
    }
}

/* Where the gradients go. Through a fused base they are written once, without clearing it first. */
static void bind_gradients(struct cx *cx, struct attention_backward_args *args,
                           llm_tensor *const *in, struct targets *targets)
{
    llm_tensor *base = fused_base(in);
    llm_tensor *grad;
    float beta;

    if (base) {
        grad = cx_grad(cx, base, &beta);
        for (int i = Q; grad && i <= V; i++) {
            *targets->values[i] = tensor_f32(grad) + in[i]->offset;
            *targets->stride[i] = grad->stride[0];
            args->accumulate |= beta != 0.0f ? add_bits[i] : 0;
        }
    }
    bind_each(cx, args, in, targets, base ? BIAS : Q);
}

static void attention_backward(struct cx *cx, struct node *node)
{
    const struct saved *saved = node->saved;
    struct attention_backward_args args = {.forward = saved->args};
    struct targets targets = {{&args.dq, &args.dk, &args.dv, &args.d_relative_bias},
                              {&args.dq_stride, &args.dk_stride, &args.dv_stride},
                              {NULL}};

    if (!bind_values(cx, &args.forward, node->in, node->out[0]))
        return;
    args.forward.lse = saved->lse->data;
    args.dout = cx_out_grad(node, 0);
    args.dout_stride = node->out[0]->stride[0];
    bind_gradients(cx, &args, node->in, &targets);
    args.forward.scratch = cx_scratch(cx, 0, attention_backward_scratch_bytes(&args));
    if (cx->status)
        return;
    cx->kernels->attention.backward(&args);
    for (int i = Q; i <= V; i++)
        cx_grad_add(cx, node->in[i], targets.apart[i]);
}

static const struct op attention_op = {"attention", attention_backward, NULL};

/* --- checks ----------------------------------------------------------------------------------- */

/* Rows of the last axis contiguous, or a copy that is. */
static llm_tensor *rows_contiguous(struct cx *cx, llm_tensor *x)
{
    return x->stride[1] == 1 || x->shape[1] == 1 ? x : cx_contiguous(cx, x);
}

static bool offsets_fit(struct cx *cx, const char *what, const int32_t *offsets, int32_t segments,
                        int64_t rows)
{
    bool fit = offsets[0] == 0 && offsets[segments] == rows;

    for (int32_t s = 0; fit && s < segments; s++)
        fit = offsets[s] <= offsets[s + 1];
    if (!fit)
        cx_fail(cx, LLM_E_INVALID, "attention: %s must rise from 0 to the %lld rows", what,
                (long long)rows);
    return fit;
}

static bool is_rows(const llm_tensor *x, int64_t columns)
{
    return x->dtype == LLM_F32 && x->dimensions == 2 && x->shape[1] == columns &&
           x->shape[0] <= INT32_MAX;
}

static bool options_fit(struct cx *cx, const struct attention_options *o)
{
    if (o->heads < 1 || o->kv_heads < 1 || o->head_dim < 1 || o->heads % o->kv_heads != 0) {
        cx_fail(cx, LLM_E_INVALID, "attention: %d heads of %d do not share %d key/value heads",
                o->heads, o->head_dim, o->kv_heads);
        return false;
    }
    if (o->window < 0 || o->segments < 0 || !o->q_offsets || !(o->dropout >= 0.0f) ||
        o->dropout >= 1.0f || !isfinite(o->scale) || !(o->soft_cap >= 0.0f) ||
        !isfinite(o->soft_cap)) {
        cx_fail(cx, LLM_E_INVALID,
                "attention: window %d, %d segments, dropout %g, scale %g or soft cap %g out of "
                "range",
                o->window, o->segments, (double)o->dropout, (double)o->scale, (double)o->soft_cap);
        return false;
    }
    return true;
}

static bool inputs_fit(struct cx *cx, llm_tensor *const *in, const struct attention_options *o)
{
    int64_t wide = (int64_t)o->heads * o->head_dim;
    int64_t narrow = (int64_t)o->kv_heads * o->head_dim;
    const llm_tensor *bias = in[BIAS];

    if (!is_rows(in[Q], wide) || !is_rows(in[K], narrow) || !is_rows(in[V], narrow) ||
        in[K]->shape[0] != in[V]->shape[0]) {
        cx_fail(cx, LLM_E_SHAPE,
                "attention: q %s, k %s, v %s are not f32 rows of %d and %d heads of %d",
                tensor_shape_text(in[Q]), tensor_shape_text(in[K]), tensor_shape_text(in[V]),
                o->heads, o->kv_heads, o->head_dim);
        return false;
    }
    if (bias && (bias->dtype != LLM_F32 || bias->dimensions != 2 || bias->shape[0] != o->heads ||
                 bias->shape[1] < 1 || bias->shape[1] > INT32_MAX || !tensor_is_contiguous(bias))) {
        cx_fail(cx, LLM_E_SHAPE, "attention: relative bias %s is not contiguous f32 [%d, span]",
                tensor_shape_text(bias), o->heads);
        return false;
    }
    return offsets_fit(cx, "q_offsets", o->q_offsets, o->segments, in[Q]->shape[0]) &&
           offsets_fit(cx, "kv_offsets", o->kv_offsets ? o->kv_offsets : o->q_offsets, o->segments,
                       in[K]->shape[0]);
}

/* --- forward ---------------------------------------------------------------------------------- */

static struct attention_args make_args(struct cx *cx, llm_tensor *const *in,
                                       const struct attention_options *o)
{
    struct attention_args args = {
        .shape = {.heads = o->heads,
                  .kv_heads = o->kv_heads,
                  .head_dim = o->head_dim,
                  .causal = o->causal,
                  .window = o->window,
                  .scale = o->scale != 0.0f ? o->scale : 1.0f / sqrtf((float)o->head_dim),
                  .soft_cap = o->soft_cap,
                  .alibi_slopes = o->alibi_slopes,
                  .relative_span = in[BIAS] ? (int32_t)in[BIAS]->shape[1] : 0,
                  .relative_zero = o->relative_zero},
        .segments = o->segments,
        .q_offsets = o->q_offsets,
        .kv_offsets = o->kv_offsets ? o->kv_offsets : o->q_offsets,
        .lse_stride = in[Q]->shape[0]};

    if (cx->training && cx_dropout(cx, o->dropout) > 0.0f) {
        args.dropout = cx_dropout(cx, o->dropout);
        args.seed = cx->seed;
        args.stream = cx->stream++;
    }
    return args;
}

static const int32_t *keep_offsets(struct cx *cx, const int32_t *offsets, int32_t segments)
{
    size_t bytes = sizeof *offsets * ((size_t)segments + 1);
    int32_t *copy = arena_alloc(&cx->arena, bytes);

    if (!copy) {
        cx_adopt(cx, LLM_E_NOMEM);
        return NULL;
    }
    memcpy(copy, offsets, bytes);
    return copy;
}

static void record(struct cx *cx, llm_tensor *const *in, llm_tensor *out,
                   const struct attention_args *args, llm_tensor *lse)
{
    bool is_self = args->kv_offsets == args->q_offsets;
    struct saved *saved;
    struct node *node = cx_record(cx, &attention_op, INPUTS, in, 1, &out, sizeof(struct saved));

    if (!node)
        return;
    saved = node->saved;
    saved->args = *args;
    saved->lse = lse;
    saved->args.q_offsets = keep_offsets(cx, args->q_offsets, args->segments);
    saved->args.kv_offsets =
        is_self ? saved->args.q_offsets : keep_offsets(cx, args->kv_offsets, args->segments);
}

llm_tensor *op_attention(struct cx *cx, llm_tensor *q, llm_tensor *k, llm_tensor *v,
                         const struct attention_options *options)
{
    llm_tensor *in[INPUTS] = {q, k, v, options->relative_bias};
    llm_tensor *lse = NULL;
    llm_tensor *out;
    struct attention_args args;

    if (!cx_ready(cx, "attention", in[BIAS] ? INPUTS : BIAS, in) || !options_fit(cx, options) ||
        !inputs_fit(cx, in, options))
        return NULL;
    for (int i = Q; i <= V; i++) {
        in[i] = rows_contiguous(cx, in[i]);
        if (!in[i])
            return NULL;
    }
    args = make_args(cx, in, options);
    out = cx_output_2d(cx, in[Q]->shape[0], in[Q]->shape[1]);
    if (cx_will_record(cx, INPUTS, in))
        lse = cx_output_2d(cx, options->heads, in[Q]->shape[0]);
    if (cx->status || !bind_values(cx, &args, in, out))
        return NULL;
    args.lse = lse ? lse->data : NULL;
    args.scratch = cx_scratch(cx, 0, attention_scratch_bytes(&args));
    if (!args.scratch)
        return NULL;
    cx->kernels->attention.forward(&args);
    record(cx, in, out, &args, lse);
    return cx->status ? NULL : out;
}
