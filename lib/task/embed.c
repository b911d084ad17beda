/* SPDX-License-Identifier: MIT
 *
 * Embeddings: the hidden states of a text pooled into one vector, as sentence-transformers does.
 * Windows of a long text are averaged by their number of tokens.
 */
#include "task/task.h"

#include <math.h>
#include <string.h>

struct pool_job {
    const llm_task *task;
    float *vectors; /* [texts, D] */
};

static void pool_rows(const struct pool_job *job, float *out, const float *rows, int64_t count,
                      int64_t dim)
{
    const struct vector_kernels *vector = &job->task->context->kernels->vector;

    switch (job->task->pooling) {
    case LLM_POOL_CLS:
        memcpy(out, rows, (size_t)dim * sizeof *out);
        break;
    case LLM_POOL_LAST:
        memcpy(out, rows + (count - 1) * dim, (size_t)dim * sizeof *out);
        break;
    case LLM_POOL_MAX:
        memcpy(out, rows, (size_t)dim * sizeof *out);
        for (int64_t i = 1; i < count; i++) {
            for (int64_t d = 0; d < dim; d++)
                out[d] = rows[i * dim + d] > out[d] ? rows[i * dim + d] : out[d];
        }
        break;
    default: {
        double divisor =
            job->task->pooling == LLM_POOL_MEAN_SQRT ? sqrt((double)count) : (double)count;

        vector->column_sums(out, 0.0f, rows, count, dim, dim);
        for (int64_t d = 0; d < dim; d++)
            out[d] = (float)((double)out[d] / divisor);
        break;
    }
    }
}

static llm_status pool(void *arg, struct cx *cx, const struct batch *batch, llm_tensor *hidden,
                       size_t first, size_t row)
{
    const struct pool_job *job = arg;
    const llm_model *model = job->task->model;
    int64_t dim = model->dim;
    float *out = job->vectors + first * (size_t)dim;

    (void)row;
    if (job->task->pooling == LLM_POOL_MODEL) {
        llm_tensor *pooled = model->arch->pool(cx, model, batch, hidden);

        if (!pooled)
            return cx_status(cx);
        memcpy(out, pooled->data, (size_t)tensor_count(pooled) * sizeof *out);
        return LLM_OK;
    }
    for (int32_t s = 0; s < batch->segments; s++)
        pool_rows(job, out + s * dim, tensor_f32(hidden) + batch->offsets[s] * dim,
                  batch->offsets[s + 1] - batch->offsets[s], dim);
    return LLM_OK;
}

static void normalize(const llm_task *task, float *vectors, size_t count)
{
    const struct vector_kernels *vector = &task->context->kernels->vector;
    int64_t dim = task->model->dim;

    for (size_t i = 0; i < count && task->normalize; i++) {
        float *v = vectors + i * (size_t)dim;
        double length = sqrt(vector->sum_squares(v, dim));

        for (int64_t d = 0; d < dim; d++)
            v[d] = (float)((double)v[d] / (length > 1e-12 ? length : 1e-12));
    }
}

/* Windows [count, D] of `texts` texts -> vectors: the mean of each text's windows, weighted. */
static void merge_windows(float *vectors, const llm_task *task, const float *windows,
                          const size_t *owners, const size_t *weights, size_t count, size_t texts)
{
    size_t dim = (size_t)task->model->dim;
    size_t at = 0;

    for (size_t t = 0; t < texts; t++) {
        float *v = vectors + t * dim;
        size_t begin = at;
        double total = 0.0;

        for (; at < count && owners[at] == t; at++)
            total += (double)weights[at];
        if (at == begin + 1) {
            memcpy(v, windows + begin * dim, dim * sizeof *v);
            continue;
        }
        for (size_t d = 0; d < dim; d++) {
            double sum = 0.0;

            for (size_t i = begin; i < at; i++)
                sum += (double)weights[i] * (double)windows[i * dim + d];
            v[d] = (float)(sum / total);
        }
    }
}

/* Runs windows and merges them; `owners` has every text at least once, in order. */
static llm_status embed_windows(float *vectors, const llm_task *task,
                                const struct task_ids *windows, const size_t *owners,
                                const size_t *weights, size_t texts)
{
    struct memory *memory = &task->context->memory;
    struct pool_job job = {task, vectors};
    float *all = NULL;
    llm_status status;

    if (windows->count != texts) {
        all = memory_alloc_array(memory, windows->count * (size_t)task->model->dim, sizeof *all);
        if (!all)
            return LLM_E_NOMEM;
        job.vectors = all;
    }
    status = task_run(task, windows, pool, &job);
    if (!status && all)
        merge_windows(vectors, task, all, owners, weights, windows->count, texts);
    if (!status)
        normalize(task, vectors, texts);
    memory_release(memory, all);
    return status;
}

static llm_status check_pooling(const llm_task *task)
{
    if (task->model->head.kind == LLM_HEAD_SEQ2SEQ || !task->model->arch->hidden)
        return status_set(LLM_E_UNSUPPORTED, "the model is a %s; embeddings need an encoder",
                          task->model->head.class_name);
    if (task->pooling == LLM_POOL_MODEL && !task->model->arch->pool)
        return status_set(LLM_E_UNSUPPORTED, "a %s has no pooler of its own",
                          task->model->head.class_name);
    return LLM_OK;
}

/* Pieces of at most max_tokens of each text, of which only the first one stays without windows. */
static llm_status cut(struct task_ids *pieces, struct arena *arena, size_t **owners_out,
                      const llm_task *task, const struct task_ids *texts)
{
    size_t most = (size_t)task->max_tokens;
    size_t step = most - (size_t)(task->windows ? task->overlap : 0);
    size_t tokens = 0, count = 0, read = 0, at = 0;
    int32_t *ids, *types;
    size_t *lengths, *owners;

    for (size_t t = 0; t < texts->count; t++) {
        size_t length = texts->lengths[t];
        size_t parts = length > most && task->windows ? 1 + (length - most + step - 1) / step : 1;

        count += parts;
        tokens += parts * (length < most ? length : most);
    }
    ids = arena_alloc(arena, tokens * sizeof *ids + 1);
    types = arena_alloc(arena, tokens * sizeof *types + 1);
    lengths = arena_alloc(arena, count * sizeof *lengths + 1);
    owners = arena_alloc(arena, count * sizeof *owners + 1);
    if (!ids || !types || !lengths || !owners)
        return LLM_E_NOMEM;
    *pieces = (struct task_ids){ids, texts->types ? types : NULL, lengths, 0};
    for (size_t t = 0; t < texts->count; t++) {
        for (size_t begin = 0;; begin += step) {
            size_t left = texts->lengths[t] - begin;
            size_t length = left < most ? left : most;

            memcpy(ids + at, texts->ids + read + begin, length * sizeof *ids);
            if (texts->types)
                memcpy(types + at, texts->types + read + begin, length * sizeof *types);
            owners[pieces->count] = t;
            lengths[pieces->count++] = length;
            at += length;
            if (left <= most || !task->windows)
                break;
        }
        read += texts->lengths[t];
    }
    *owners_out = owners;
    return LLM_OK;
}

llm_status task_embed_ids(float *vectors, const llm_task *task, const struct task_ids *texts)
{
    llm_status status = check_pooling(task);
    struct task_ids pieces = *texts;
    struct arena arena;
    size_t *owners = NULL;
    bool fits = true;

    for (size_t t = 0; t < texts->count; t++)
        fits = fits && texts->lengths[t] <= (size_t)task->max_tokens;
    arena_init(&arena, &task->context->memory);
    if (!status && !fits)
        status = cut(&pieces, &arena, &owners, task, texts);
    if (!status)
        status = embed_windows(vectors, task, &pieces, owners, pieces.lengths, texts->count);
    arena_free(&arena);
    return status;
}

/* With the prompt in front. */
static llm_status add_text(struct task_texts *encoded, const llm_task *task, const char *text,
                           size_t size, size_t owner)
{
    struct task_text one = {.text = text, .size = size, .owner = owner};
    enum task_fit fit = task->windows ? TASK_WINDOWS : TASK_CUT;
    struct text prompted;
    llm_status status;

    if (!task->prompt)
        return task_texts_add(encoded, task, &one, fit, task->overlap);
    text_init(&prompted, &task->context->memory);
    text_append_z(&prompted, task->prompt);
    text_append(&prompted, text, size);
    one.text = prompted.data;
    one.size = prompted.size;
    status =
        prompted.failed ? LLM_E_NOMEM : task_texts_add(encoded, task, &one, fit, task->overlap);
    text_free(&prompted);
    return status;
}

llm_status task_embed(float *vectors, const llm_task *task, const char *const *texts,
                      const size_t *sizes, size_t count)
{
    llm_status status = check_pooling(task);
    struct task_texts encoded;
    struct task_ids ids;

    task_texts_init(&encoded, &task->context->memory);
    for (size_t i = 0; i < count && !status; i++)
        status = add_text(&encoded, task, texts[i], sizes[i], i);
    ids = task_texts_ids(&encoded);
    if (!status)
        status = embed_windows(vectors, task, &ids, encoded.owners, encoded.contents, count);
    task_texts_free(&encoded);
    return status;
}
