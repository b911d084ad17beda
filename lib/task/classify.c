/* SPDX-License-Identifier: MIT
 *
 * Labels of texts and of pairs, and what a cross-encoder thinks of documents for a query.
 */
#include "task/task.h"

llm_status task_classify(float *values, const llm_task *task, const char *const *texts,
                         const size_t *sizes, const char *const *pairs, const size_t *pair_sizes,
                         size_t count, bool probabilities)
{
    struct task_texts encoded;
    struct task_ids ids;
    llm_status status = task_check_head(task, LLM_HEAD_SEQUENCE);

    task_texts_init(&encoded, &task->context->memory);
    for (size_t i = 0; i < count && !status; i++) {
        const struct task_text text = {.text = texts[i],
                                       .size = sizes[i],
                                       .pair = pairs ? pairs[i] : NULL,
                                       .pair_size = pairs ? pair_sizes[i] : 0,
                                       .owner = i};

        status = task_texts_add(&encoded, task, &text, TASK_CUT, 0);
    }
    ids = task_texts_ids(&encoded);
    if (!status)
        status = task_scores(values, task, &ids, probabilities);
    task_texts_free(&encoded);
    return status;
}

llm_status task_rerank(float *scores, const llm_task *task, const char *query, size_t query_size,
                       const char *const *documents, const size_t *sizes, size_t count)
{
    struct memory *memory = &task->context->memory;
    size_t labels = (size_t)task->model->head.labels;
    const char **queries;
    size_t *query_sizes;
    float *values;
    llm_status status = task_check_head(task, LLM_HEAD_SEQUENCE);

    if (status)
        return status;
    if (labels > 2)
        return status_set(LLM_E_UNSUPPORTED, "a model with %zu labels does not rank documents",
                          labels);
    queries = memory_alloc_array(memory, count + 1, sizeof *queries);
    query_sizes = memory_alloc_array(memory, count + 1, sizeof *query_sizes);
    values = memory_alloc_array(memory, count * labels + 1, sizeof *values);
    status = queries && query_sizes && values ? LLM_OK : LLM_E_NOMEM;
    for (size_t i = 0; i < count && !status; i++) {
        queries[i] = query;
        query_sizes[i] = query_size;
    }
    if (!status)
        status = task_classify(values, task, queries, query_sizes, documents, sizes, count, false);
    for (size_t i = 0; i < count && !status; i++)
        scores[i] = labels == 1 ? values[i] : values[2 * i + 1] - values[2 * i];
    memory_release(memory, queries);
    memory_release(memory, query_sizes);
    memory_release(memory, values);
    return status;
}
