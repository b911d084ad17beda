/* SPDX-License-Identifier: MIT */
#include "nn/self_attention.h"

#include "graph/op.h"

struct qkv {
    llm_tensor *q; /* [N, H * d] */
    llm_tensor *k; /* [N, K * d] */
    llm_tensor *v; /* [N, K * d] */
};

/* [N, (H + 2K) * d] with the three parts one after the other: no copies. */
static struct qkv split_rows(struct cx *cx, const struct attention *attention, llm_tensor *fused)
{
    int64_t q_end = (int64_t)attention->heads * attention->head_dim;
    int64_t k_end = q_end + (int64_t)attention->kv_heads * attention->head_dim;
    int64_t v_end = k_end + (int64_t)attention->kv_heads * attention->head_dim;

    return (struct qkv){op_slice(cx, fused, 1, 0, q_end, 1),
                        op_slice(cx, fused, 1, q_end, k_end, 1),
                        op_slice(cx, fused, 1, k_end, v_end, 1)};
}

/* Heads begin .. end - 1 of every group of [N, K, H / K + 2, d], as rows. */
static llm_tensor *take_heads(struct cx *cx, llm_tensor *groups, int64_t begin, int64_t end)
{
    llm_tensor *heads = op_slice(cx, groups, 2, begin, end, 1);
    int64_t shape[2] = {0, 0};

    if (heads) {
        shape[0] = heads->shape[0];
        shape[1] = heads->shape[1] * heads->shape[2] * heads->shape[3];
    }
    return op_reshape(cx, heads, 2, shape);
}

static struct qkv split_groups(struct cx *cx, const struct attention *attention, llm_tensor *fused)
{
    int64_t queries = attention->heads / attention->kv_heads;
    int64_t shape[4] = {fused ? fused->shape[0] : 0, attention->kv_heads, queries + 2,
                        attention->head_dim};
    llm_tensor *groups;

    if (attention->kv_heads == 1)
        return split_rows(cx, attention, fused);
    groups = op_reshape(cx, fused, 4, shape);
    return (struct qkv){take_heads(cx, groups, 0, queries),
                        take_heads(cx, groups, queries, queries + 1),
                        take_heads(cx, groups, queries + 1, queries + 2)};
}

static struct qkv project(struct cx *cx, const struct self_attention *self, llm_tensor *x)
{
    llm_tensor *q = linear_forward(cx, &self->q, x);

    if (self->layout == QKV_ROWS)
        return split_rows(cx, &self->attention, q);
    if (self->layout == QKV_GROUPED)
        return split_groups(cx, &self->attention, q);
    return (struct qkv){q, linear_forward(cx, &self->k, x), linear_forward(cx, &self->v, x)};
}

/* Norm and rotation of queries or keys, head by head. */
static llm_tensor *place(struct cx *cx, const struct self_attention *self,
                         const struct rms_norm *norm, const struct batch *batch,
                         llm_tensor *x /* [N, heads * d] */)
{
    llm_tensor *turned;

    if (norm->weight && x) {
        int64_t rows[2] = {x->shape[0], x->shape[1]};
        int64_t width = self->attention.head_dim;
        int64_t heads[2] = {rows[0] * rows[1] / width, width};

        x = rms_norm_forward(cx, norm, op_reshape(cx, x, 2, heads));
        x = op_reshape(cx, x, 2, rows);
    }
    if (!self->rotary)
        return x;
    turned = rotary_forward(cx, self->rotary, batch, x);
    cx_release(cx, x); /* turning back needs the angles alone */
    return turned;
}

llm_tensor *self_attention_forward(struct cx *cx, const struct self_attention *self,
                                   const struct batch *batch, int32_t layer, llm_tensor *x)
{
    struct qkv qkv = project(cx, self, x);
    llm_tensor *q = place(cx, self, &self->q_norm, batch, qkv.q);
    llm_tensor *k = place(cx, self, &self->k_norm, batch, qkv.k);
    llm_tensor *attended = attention_forward(cx, &self->attention, batch, layer, q, k, qkv.v);

    return linear_forward(cx, &self->output, attended);
}
