/* SPDX-License-Identifier: MIT
 *
 * Packed texts through the model in portions that stay in the caches of the processor.
 */
#include "task/task.h"

#include "graph/op.h"

#include <math.h>
#include <string.h>

enum { PORTION = 1024 }; /* tokens that run at once, if a single text is not longer */

llm_status task_borrow_cx(struct cx **out, const llm_task *task, struct cx *spare)
{
    int idle = 0;
    llm_status status;

    if (atomic_compare_exchange_strong(&task->work->is_busy, &idle, 1)) {
        *out = &task->work->cx;
        return LLM_OK;
    }
    status = cx_init(spare, task->context);
    *out = status ? NULL : spare;
    return status;
}

void task_return_cx(const llm_task *task, struct cx *cx)
{
    if (cx == &task->work->cx) {
        cx_reset(cx);
        atomic_store(&task->work->is_busy, 0);
    } else if (cx) {
        cx_free(cx);
    }
}

/* Texts from `first` on that make up a portion. */
static size_t portion(const struct task_ids *texts, size_t first)
{
    size_t tokens = texts->lengths[first];
    size_t count = 1;

    while (first + count < texts->count && tokens + texts->lengths[first + count] <= PORTION)
        tokens += texts->lengths[first + count++];
    return count;
}

static llm_status run_portion(const llm_task *task, struct cx *cx, const struct task_ids *texts,
                              size_t first, size_t count, size_t row, task_visit visit, void *arg)
{
    struct batch batch;
    llm_tensor *hidden;
    llm_status status;

    status = batch_pack(&batch, &cx->arena, texts->ids + row, texts->lengths + first, count);
    if (!status)
        status = model_check(task->model, &batch);
    if (!status && texts->types)
        status = batch_set_types(&batch, &cx->arena, texts->types + row);
    if (status)
        return status;
    hidden = model_hidden(cx, task->model, &batch);
    status = cx_status(cx);
    if (!status)
        status = visit(arg, cx, &batch, hidden, first, row);
    return status ? status : cx_status(cx);
}

llm_status task_run(const llm_task *task, const struct task_ids *texts, task_visit visit, void *arg)
{
    struct cx *cx = NULL;
    struct cx spare;
    size_t row = 0;
    llm_status status = model_lock_shared(task->model);

    if (status)
        return status;
    status = task_borrow_cx(&cx, task, &spare);
    for (size_t first = 0; first < texts->count && !status;) {
        size_t count = portion(texts, first);

        cx_reset(cx);
        status = run_portion(task, cx, texts, first, count, row, visit, arg);
        for (size_t i = 0; i < count; i++)
            row += texts->lengths[first + i];
        first += count;
    }
    task_return_cx(task, cx);
    model_unlock_shared(task->model);
    return status;
}

llm_status task_check_head(const llm_task *task, int32_t head)
{
    static const char *const names[] = {"...Model",
                                        "...ForCausalLM",
                                        "...ForMaskedLM",
                                        "...ForSequenceClassification",
                                        "...ForTokenClassification",
                                        "...ForQuestionAnswering",
                                        "...ForConditionalGeneration"};

    if (task->model->head.kind == head)
        return LLM_OK;
    return status_set(LLM_E_UNSUPPORTED, "the model is a %s; this task needs a %s",
                      task->model->head.class_name, names[head]);
}

/* ---- what heads say ---- */

struct score_job {
    const llm_task *task;
    float *values;
    bool probabilities;
};

static void to_probabilities(const llm_task *task, float *row, int64_t labels)
{
    if (task->model->head.problem == LLM_PROBLEM_SINGLE_LABEL) {
        task->context->kernels->vector.softmax(row, row, labels);
    } else if (task->model->head.problem == LLM_PROBLEM_MULTI_LABEL) {
        for (int64_t i = 0; i < labels; i++)
            row[i] = (float)(1.0 / (1.0 + exp(-(double)row[i])));
    }
}

static llm_status score(void *arg, struct cx *cx, const struct batch *batch, llm_tensor *hidden,
                        size_t first, size_t row)
{
    const struct score_job *job = arg;
    const llm_model *model = job->task->model;
    llm_tensor *scores = model_head(cx, model, batch, hidden);
    size_t labels = (size_t)model->head.labels;
    float *values;

    if (!scores)
        return cx_status(cx);
    values = job->values + (model->head.kind == LLM_HEAD_SEQUENCE ? first : row) * labels;
    memcpy(values, scores->data, (size_t)tensor_count(scores) * sizeof *values);
    for (int64_t i = 0; i < tensor_rows(scores) && job->probabilities; i++)
        to_probabilities(job->task, values + (size_t)i * labels, (int64_t)labels);
    return LLM_OK;
}

llm_status task_scores(float *values, const llm_task *task, const struct task_ids *texts,
                       bool probabilities)
{
    struct score_job job = {task, values, probabilities};

    return task_run(task, texts, score, &job);
}
