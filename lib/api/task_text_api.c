/* SPDX-License-Identifier: MIT
 *
 * Tasks on texts: llm/task.h.
 */
#include "api/task_api.h"

#include <string.h>

/* `count` texts and sizes, of which none may be NULL. */
static llm_status check_texts(const char *function, const char *const *texts, const size_t *sizes,
                              size_t count)
{
    if (!texts || !sizes)
        return null_argument(function, texts ? "sizes" : "texts");
    for (size_t i = 0; i < count; i++) {
        if (!texts[i])
            return status_set(LLM_E_INVALID, "%s: texts[%zu] is NULL", function, i);
    }
    return LLM_OK;
}

llm_status llm_task_embed(float *vectors, size_t capacity, size_t *needed, const llm_task *task,
                          const char *const *texts, const size_t *sizes, size_t count)
{
    bool only_size;
    llm_status status;

    if (needed)
        *needed = 0;
    if (!task)
        return null_argument("llm_task_embed", "task");
    status = check_texts("llm_task_embed", texts, sizes, count);
    if (!status)
        status =
            task_check_room(&only_size, vectors, capacity, needed, count, (size_t)task->model->dim);
    return status || only_size ? status : task_embed(vectors, task, texts, sizes, count);
}

llm_status llm_task_classify(float *values, size_t capacity, size_t *needed, const llm_task *task,
                             const char *const *texts, const size_t *sizes,
                             const char *const *pairs, const size_t *pair_sizes, size_t count)
{
    static const char name[] = "llm_task_classify";
    bool only_size;
    llm_status status;

    if (needed)
        *needed = 0;
    if (!task)
        return null_argument(name, "task");
    status = check_texts(name, texts, sizes, count);
    if (!status && pairs)
        status = check_texts(name, pairs, pair_sizes, count);
    if (!status)
        status = task_check_head(task, LLM_HEAD_SEQUENCE);
    if (!status)
        status = task_check_room(&only_size, values, capacity, needed, count,
                                 (size_t)task->model->head.labels);
    return status || only_size
               ? status
               : task_classify(values, task, texts, sizes, pairs, pair_sizes, count, true);
}

llm_status llm_task_rerank(float *scores, const llm_task *task, const char *query,
                           size_t query_size, const char *const *documents, const size_t *sizes,
                           size_t count)
{
    static const char name[] = "llm_task_rerank";
    llm_status status;

    if (!scores || !task || !query)
        return null_argument(name, !scores ? "scores" : task ? "query" : "task");
    status = check_texts(name, documents, sizes, count);
    return status ? status : task_rerank(scores, task, query, query_size, documents, sizes, count);
}

llm_status llm_task_tag(llm_entity *entities, size_t capacity, size_t *count, const llm_task *task,
                        const char *text, size_t size, int32_t aggregation)
{
    static const char name[] = "llm_task_tag";
    llm_status status;

    if (!count)
        return null_argument(name, "count");
    *count = 0;
    if (!task || !text || (!entities && capacity))
        return null_argument(name, !task ? "task" : text ? "entities" : "text");
    if (aggregation < LLM_TAGS_NONE || aggregation > LLM_TAGS_MAX)
        return status_set(LLM_E_RANGE, "aggregation is %d, not one of LLM_TAGS_*", aggregation);
    status = task_tag(entities, capacity, count, task, text, size, aggregation);
    if (!status && *count > capacity)
        return status_set(LLM_E_BUFFER, "%zu entities, %zu fit", *count, capacity);
    return status;
}

llm_status llm_task_answer(llm_answer *answers, size_t capacity, size_t *count,
                           const llm_task *task, const char *question, size_t question_size,
                           const char *context, size_t context_size,
                           const llm_answer_options *given)
{
    static const char name[] = "llm_task_answer";
    llm_answer_options options;
    llm_status status;

    if (!answers || !count)
        return null_argument(name, answers ? "count" : "answers");
    *count = 0;
    if (!task || !question || !context)
        return null_argument(name, !task ? "task" : question ? "context" : "question");
    if (capacity < 1)
        return status_set(LLM_E_BUFFER, "capacity is 0");
    status = task_read_answer(&options, given);
    return status ? status
                  : task_answer(answers, capacity, count, task, question, question_size, context,
                                context_size, &options);
}

llm_status llm_task_fill_mask(llm_fill *fills, size_t capacity, size_t *masks, const llm_task *task,
                              const char *text, size_t size, const char *mask, size_t top)
{
    static const char name[] = "llm_task_fill_mask";

    if (!masks)
        return null_argument(name, "masks");
    *masks = 0;
    if (!task || !text || !mask)
        return null_argument(name, !task ? "task" : text ? "mask" : "text");
    return task_fill_mask(fills, capacity, masks, task, text, size, mask, top);
}

/* The new tokens as text, special ones left out. */
static llm_status write_text(char *text, size_t capacity, size_t *size, const llm_task *task,
                             const int32_t *ids, size_t count)
{
    struct text decoded;
    llm_status status;

    text_init(&decoded, &task->context->memory);
    status = tokenizer_decode(task->tokenizer, ids, count,
                              TOKENIZER_SKIP_SPECIAL | TOKENIZER_REPLACE_INVALID, &decoded);
    if (!status && decoded.failed)
        status = LLM_E_NOMEM;
    if (!status) {
        *size = decoded.size;
        if (decoded.size > capacity)
            status =
                status_set(LLM_E_BUFFER, "the text has %zu bytes, %zu fit", decoded.size, capacity);
        else if (decoded.size)
            memcpy(text, decoded.data, decoded.size);
    }
    text_free(&decoded);
    return status;
}

llm_status llm_task_generate(char *text, size_t capacity, size_t *size, const llm_task *task,
                             const char *source, size_t source_size,
                             const llm_seq2seq_options *given)
{
    static const char name[] = "llm_task_generate";
    llm_seq2seq_options options;
    struct task_text one = {.text = source, .size = source_size};
    struct task_texts encoded;
    int32_t *ids = NULL;
    size_t count;
    llm_status status;

    if (!size)
        return null_argument(name, "size");
    *size = 0;
    if (!task || !source || (!text && capacity))
        return null_argument(name, !task ? "task" : source ? "text" : "source");
    status = llm_seq2seq_options_init(&options, sizeof options);
    if (!status)
        status = options_read(&options, sizeof options, given, "llm_seq2seq_options");
    task_texts_init(&encoded, &task->context->memory);
    if (!status)
        status = task_texts_add(&encoded, task, &one, TASK_CUT, 0);
    if (!status && (options.max_tokens < 1 || options.max_tokens > 1 << 20))
        status = status_set(LLM_E_RANGE, "max_tokens is %lld", (long long)options.max_tokens);
    if (!status) {
        ids = memory_alloc_array(&task->context->memory, (size_t)options.max_tokens, sizeof *ids);
        status = ids ? LLM_OK : LLM_E_NOMEM;
    }
    if (!status)
        status = task_generate_ids(ids, (size_t)options.max_tokens, &count, task, encoded.ids,
                                   encoded.tokens, &options);
    if (!status)
        status = write_text(text, capacity, size, task, ids, count);
    memory_release(&task->context->memory, ids);
    task_texts_free(&encoded);
    return status;
}
