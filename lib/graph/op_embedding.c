/* SPDX-License-Identifier: MIT
 *
 * Rows of a table, by token id. The gradient is added to the rows in the order of the ids; threads
 * share out columns, so that the order does not depend on them.
 */
#include "graph/op.h"
#include "graph/rows.h"
#include "tensor/packed.h"

#include <string.h>

struct embedding {
    int32_t *ids; /* [count], in the arena */
    int64_t count;
};

struct embedding_job {
    const struct vector_kernels *vector;
    const int32_t *ids;
    int64_t count, n;
    const llm_tensor *weight;
    float *y;     /* [count, n] */
    float *table; /* the gradient, [V, n] */
};

static void gather_rows(void *arg, int64_t begin, int64_t end)
{
    const struct embedding_job *job = arg;
    const struct dtype *dtype = dtype_get(job->weight->dtype);

    if (job->weight->packed) {
        for (int64_t row = begin; row < end; row++)
            qgemm_load_row(job->weight->packed, job->ids[row], job->y + row * job->n);
        return;
    }
    if (job->weight->dtype == LLM_F32) {
        job->vector->gather_rows(job->y + begin * job->n, job->n, job->weight->data, job->n,
                                 job->ids + begin, end - begin, job->n);
        return;
    }
    for (int64_t row = begin; row < end; row++) {
        int64_t at = job->ids[row] * (job->n / dtype->block_elements) * dtype->block_bytes;

        dtype->to_f32(job->y + row * job->n, (const char *)job->weight->data + at, job->n);
    }
}

static void scatter_columns(void *arg, int64_t begin, int64_t end)
{
    const struct embedding_job *job = arg;

    job->vector->scatter_add_rows(job->table + begin, job->n, job->y + begin, job->n, job->ids,
                                  job->count, end - begin);
}

static struct embedding_job embedding_job(struct cx *cx, const struct embedding *saved,
                                          llm_tensor *weight)
{
    struct embedding_job job = {.vector = &cx->kernels->vector,
                                .ids = saved->ids,
                                .count = saved->count,
                                .n = weight->shape[1],
                                .weight = weight};

    return job;
}

static void embedding_run(struct cx *cx, const struct embedding *saved, llm_tensor *y,
                          llm_tensor *weight)
{
    struct embedding_job job = embedding_job(cx, saved, weight);

    job.y = y->data;
    if (weight->packed || cx_values(cx, weight))
        parallel_for(cx->threads, job.count, rows_grain(job.n), gather_rows, &job);
}

static void embedding_backward(struct cx *cx, struct node *node)
{
    struct embedding_job job = embedding_job(cx, node->saved, node->in[0]);
    float beta;
    llm_tensor *dw = job.weight->packed ? NULL : cx_grad(cx, node->in[0], &beta);

    if (!dw)
        return;
    if (beta == 0.0f)
        tensor_zero(dw);
    job.table = dw->data;
    job.y = node->out[0]->grad->data;
    parallel_for(cx->threads, job.n, 64 + ROWS_WORK / (job.count + 1), scatter_columns, &job);
}

static void embedding_recompute(struct cx *cx, struct node *node)
{
    if (cx_refill(cx, node->out[0]))
        embedding_run(cx, node->saved, node->out[0], node->in[0]);
}

static const struct op embedding_op = {"embedding", embedding_backward, embedding_recompute};

static bool embedding_fits(struct cx *cx, llm_tensor *weight, const int32_t *ids, int64_t count)
{
    const struct dtype *dtype = dtype_get(weight->dtype);

    if (!weight->packed && (!dtype || !dtype->is_float)) {
        cx_fail(cx, LLM_E_UNSUPPORTED, "embedding: the weight is not of a float type");
        return false;
    }
    if (weight->dimensions != 2 || (count > 0 && !ids) || count < 0) {
        cx_fail(cx, LLM_E_SHAPE, "embedding: weight %s, %lld ids", tensor_shape_text(weight),
                (long long)count);
        return false;
    }
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= weight->shape[0]) {
            cx_fail(cx, LLM_E_RANGE, "embedding: id %d at position %lld is outside [0, %lld)",
                    ids[i], (long long)i, (long long)weight->shape[0]);
            return false;
        }
    }
    return true;
}

llm_tensor *op_embedding(struct cx *cx, llm_tensor *weight, const int32_t *ids, int64_t count)
{
    struct embedding saved = {.count = count};
    struct node *node;
    llm_tensor *y;

    if (!cx_ready(cx, "embedding", weight && weight->packed ? 0 : 1, &weight) ||
        !embedding_fits(cx, weight, ids, count))
        return NULL;
    if (!weight->packed)
        weight = cx_contiguous(cx, weight);
    y = weight ? cx_output_2d(cx, count, weight->shape[1]) : NULL;
    saved.ids = y ? arena_alloc(&cx->arena, (size_t)count * sizeof *ids + 1) : NULL;
    if (!saved.ids)
        return y ? cx_adopt(cx, LLM_E_NOMEM) : NULL;
    if (count > 0)
        memcpy(saved.ids, ids, (size_t)count * sizeof *ids);
    embedding_run(cx, &saved, y, weight);
    node = cx_record(cx, &embedding_op, 1, &weight, 1, &y, sizeof saved);
    if (node)
        *(struct embedding *)node->saved = saved;
    return cx->status ? NULL : y;
}
