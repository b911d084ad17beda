/* SPDX-License-Identifier: MIT
 *
 * The tokens that a masked language model would put in place of masks.
 */
#include "task/task.h"

#include "graph/op.h"

#include <string.h>

struct fill_job {
    const llm_task *task;
    llm_fill *fills;
    const int32_t *rows; /* of the masks */
    size_t masks, top;
};

/* The `top` largest of `count` probabilities, best first; among equals the lowest id. */
static void pick_top(llm_fill *out, size_t top, const float *probabilities, size_t count)
{
    size_t held = 0;

    for (size_t i = 0; i < count; i++) {
        size_t at = held < top ? held : top - 1;

        if (held == top && probabilities[i] <= out[top - 1].probability)
            continue;
        held += held < top;
        for (; at > 0 && out[at - 1].probability < probabilities[i]; at--)
            out[at] = out[at - 1];
        out[at] = (llm_fill){(int32_t)i, probabilities[i]};
    }
}

static llm_status fill(void *arg, struct cx *cx, const struct batch *batch, llm_tensor *hidden,
                       size_t first, size_t row)
{
    const struct fill_job *job = arg;
    size_t vocabulary = (size_t)job->task->model->vocabulary;
    llm_tensor *logits = model_logits(cx, job->task->model,
                                      op_select_rows(cx, hidden, job->rows, (int64_t)job->masks));

    (void)batch, (void)first, (void)row;
    for (size_t i = 0; logits && i < job->masks; i++) {
        float *values = tensor_f32(logits) + i * vocabulary;

        job->task->context->kernels->vector.softmax(values, values, (int64_t)vocabulary);
        pick_top(job->fills + i * job->top, job->top, values, vocabulary);
    }
    return cx_status(cx);
}

llm_status task_fill_mask_ids(llm_fill *fills, size_t capacity, size_t *masks, const llm_task *task,
                              const struct task_ids *text, int32_t mask_id, size_t top)
{
    struct memory *memory = &task->context->memory;
    struct fill_job job = {task, fills, NULL, 0, top};
    int32_t *rows;
    llm_status status = task_check_head(task, LLM_HEAD_MASKED_LM);

    *masks = 0;
    if (!status && text->count != 1)
        status = status_set(LLM_E_INVALID, "%zu texts, 1 is expected", text->count);
    if (!status && (top < 1 || top > (size_t)task->model->vocabulary))
        status = status_set(LLM_E_RANGE, "top is %zu, outside 1..%lld", top,
                            (long long)task->model->vocabulary);
    if (status)
        return status;
    rows = memory_alloc_array(memory, text->lengths[0] + 1, sizeof *rows);
    if (!rows)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < text->lengths[0]; i++) {
        if (text->ids[i] == mask_id)
            rows[job.masks++] = (int32_t)i;
    }
    job.rows = rows;
    *masks = job.masks;
    if (!job.masks)
        status = status_set(LLM_E_RANGE, "the text has no mask");
    else if (fills && capacity / top < job.masks)
        status =
            status_set(LLM_E_BUFFER, "%zu masks need room for %zu tokens each", job.masks, top);
    else if (fills)
        status = task_run(task, text, fill, &job);
    memory_release(memory, rows);
    return status;
}

llm_status task_fill_mask(llm_fill *fills, size_t capacity, size_t *masks, const llm_task *task,
                          const char *text, size_t size, const char *mask, size_t top)
{
    const struct task_text one = {.text = text, .size = size, .special = true};
    struct task_texts texts;
    struct task_ids ids;
    int32_t mask_id;
    llm_status status = task_check_head(task, LLM_HEAD_MASKED_LM);

    *masks = 0;
    if (status)
        return status;
    if (!task->tokenizer)
        return status_set(LLM_E_UNSUPPORTED, "the task has no tokenizer");
    mask_id = tokenizer_find(task->tokenizer, mask, strlen(mask));
    if (mask_id < 0)
        return status_set(LLM_E_RANGE, "the tokenizer has no token \"%.100s\"", mask);
    task_texts_init(&texts, &task->context->memory);
    status = task_texts_add(&texts, task, &one, TASK_CUT, 0);
    ids = task_texts_ids(&texts);
    if (!status)
        status = task_fill_mask_ids(fills, capacity, masks, task, &ids, mask_id, top);
    task_texts_free(&texts);
    return status;
}
