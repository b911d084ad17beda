/* SPDX-License-Identifier: MIT */
#include "nn/attention_layer.h"

#include "graph/op.h"
#include "nn/kv_cache.h"

static llm_tensor *within_batch(struct cx *cx, const struct attention *attention,
                                const struct batch *batch, llm_tensor *q, llm_tensor *k,
                                llm_tensor *v)
{
    struct attention_options options = {.heads = attention->heads,
                                        .kv_heads = attention->kv_heads,
                                        .head_dim = attention->head_dim,
                                        .scale = attention->scale,
                                        .soft_cap = attention->soft_cap,
                                        .causal = !attention->bidirectional,
                                        .window = attention->window,
                                        .dropout = attention->dropout,
                                        .alibi_slopes = attention->alibi_slopes,
                                        .relative_bias = attention->relative_bias,
                                        .relative_zero = attention->relative_zero,
                                        .segments = batch->segments,
                                        .q_offsets = batch->offsets};

    return op_attention(cx, q, k, v, &options);
}

/* Where each sequence of the batch stands in the cache; arrays of one entry per segment. */
struct past {
    void *const **pages;
    int32_t *starts; /* tokens before this batch */
    int32_t *ends;   /* tokens with it */
};

static bool find_past(struct cx *cx, struct past *past, const struct batch *batch, int32_t layer)
{
    size_t count = (size_t)batch->segments;

    past->pages = arena_alloc(&cx->arena, count * sizeof *past->pages);
    past->starts = arena_alloc(&cx->arena, count * sizeof *past->starts);
    past->ends = arena_alloc(&cx->arena, count * sizeof *past->ends);
    if (!past->pages || !past->starts || !past->ends)
        return cx_adopt(cx, LLM_E_NOMEM);
    for (int32_t s = 0; s < batch->segments; s++) {
        int32_t fresh = batch->offsets[s + 1] - batch->offsets[s];
        int64_t start = kv_cache_length(batch->cache, batch->sequences[s]);
        int64_t pages;

        past->pages[s] = kv_cache_pages(batch->cache, batch->sequences[s], layer, &pages);
        if (!past->pages[s] || start + fresh > pages * KV_PAGE_TOKENS)
            return cx_fail(cx, LLM_E_INTERNAL, "attention: no room was reserved in the cache");
        past->starts[s] = (int32_t)start;
        past->ends[s] = (int32_t)start + fresh;
    }
    return true;
}

static struct attention_shape shape_of(const struct attention *attention)
{
    const llm_tensor *bias = attention->relative_bias;

    return (struct attention_shape){.heads = attention->heads,
                                    .kv_heads = attention->kv_heads,
                                    .head_dim = attention->head_dim,
                                    .causal = 1,
                                    .window = attention->window,
                                    .scale = attention->scale,
                                    .soft_cap = attention->soft_cap,
                                    .alibi_slopes = attention->alibi_slopes,
                                    .relative_bias = bias ? bias->data : NULL,
                                    .relative_span = bias ? (int32_t)bias->shape[1] : 0,
                                    .relative_zero = attention->relative_zero};
}

static llm_tensor *with_past(struct cx *cx, const struct attention *attention,
                             const struct batch *batch, int32_t layer, llm_tensor *q, llm_tensor *k,
                             llm_tensor *v)
{
    struct attention_cache cache = {.type = ATTENTION_CACHE_F32,
                                    .kv_heads = attention->kv_heads,
                                    .head_dim = attention->head_dim,
                                    .page_tokens = KV_PAGE_TOKENS};
    struct attention_cache_write write = {.cache = cache,
                                          .sequences = batch->segments,
                                          .offsets = batch->offsets,
                                          .threads = cx->threads};
    struct attention_paged_args args = {.shape = shape_of(attention),
                                        .cache = cache,
                                        .sequences = batch->segments,
                                        .q_offsets = batch->offsets,
                                        .threads = cx->threads};
    llm_tensor *in[3] = {q, k, v};
    struct past past;
    llm_tensor *out;

    if (!cx_ready(cx, "attention", 3, in) || !find_past(cx, &past, batch, layer))
        return NULL;
    if (attention->bidirectional)
        return cx_fail(cx, LLM_E_INTERNAL, "attention: a cache cannot see both ways");
    if (cx_will_record(cx, 3, in))
        return cx_fail(cx, LLM_E_UNSUPPORTED, "attention: no gradients flow through a cache");
    write.positions = past.starts;
    write.pages = past.pages;
    write.k = tensor_f32(k);
    write.k_stride = k->stride[0];
    write.v = tensor_f32(v);
    write.v_stride = v->stride[0];
    cx->kernels->attention.cache_write(&write);

    out = cx_output_2d(cx, q->shape[0], (int64_t)attention->heads * attention->head_dim);
    args.kv_lengths = past.ends;
    args.pages = past.pages;
    args.scratch = cx_scratch(cx, 0, attention_paged_scratch_bytes(&args));
    if (!out || !args.scratch)
        return NULL;
    args.q = tensor_f32(q);
    args.q_stride = q->stride[0];
    args.out = tensor_f32(out);
    args.out_stride = out->stride[0];
    cx->kernels->attention.paged(&args);
    return out;
}

llm_tensor *attention_forward(struct cx *cx, const struct attention *attention,
                              const struct batch *batch, int32_t layer, llm_tensor *q,
                              llm_tensor *k, llm_tensor *v)
{
    if (batch->cache)
        return with_past(cx, attention, batch, layer, q, k, v);
    return within_batch(cx, attention, batch, q, k, v);
}
