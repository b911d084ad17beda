/* SPDX-License-Identifier: MIT
 *
 * Answers that stand in a text: where they begin and end, after Rajpurkar et al., "SQuAD" (2016). A
 * long context is read in windows; probabilities are taken over the tokens of the context of each
 * window and its first token, which stands for "no answer" (SQuAD 2), as transformers did it.
 */
#include "task/task.h"

#include <math.h>
#include <string.h>

/* The best answers found so far, best first. */
struct ranking {
    llm_answer *list;
    size_t count, capacity;
};

static void offer(struct ranking *ranking, llm_answer answer)
{
    size_t at = ranking->count;

    for (size_t i = 0; i < ranking->count; i++) { /* another window's view of the same place */
        if (ranking->list[i].begin != answer.begin || ranking->list[i].end != answer.end)
            continue;
        if (ranking->list[i].score >= answer.score)
            return;
        memmove(ranking->list + i, ranking->list + i + 1,
                (--ranking->count - i) * sizeof *ranking->list);
        at = ranking->count;
        break;
    }
    while (at > 0 && ranking->list[at - 1].score < answer.score)
        at--;
    if (at == ranking->capacity)
        return;
    if (ranking->count < ranking->capacity)
        ranking->count++;
    memmove(ranking->list + at + 1, ranking->list + at,
            (ranking->count - at - 1) * sizeof *ranking->list);
    ranking->list[at] = answer;
}

/* Column `which` of scores [tokens, 2] as probabilities over token 0 and [first, end). */
static void softmax_column(double *out, const float *scores, int which, size_t first, size_t end)
{
    double most = (double)scores[which];
    double total = 0.0;

    for (size_t i = first; i < end; i++)
        most = fmax(most, (double)scores[2 * i + (size_t)which]);
    for (size_t i = first; i < end; i++)
        total += out[i] = exp((double)scores[2 * i + (size_t)which] - most);
    if (first > 0)
        total += out[0] = exp((double)scores[which] - most);
    for (size_t i = first; i < end; i++)
        out[i] /= total;
    if (first > 0)
        out[0] /= total;
}

/* One window: scores [tokens, 2], the context at [first, end). Offsets NULL: answers count tokens.
 * Returns the probability that there is no answer. */
static double rank_window(struct ranking *ranking, double *begin_p, double *end_p,
                          const float *scores, size_t first, size_t end, const size_t *begins,
                          const size_t *ends, int64_t longest)
{
    softmax_column(begin_p, scores, 0, first, end);
    softmax_column(end_p, scores, 1, first, end);
    for (size_t i = first; i < end; i++) {
        for (size_t j = i; j < end && j - i < (size_t)longest; j++) {
            double p = begin_p[i] * end_p[j];

            if (ranking->count == ranking->capacity &&
                p <= (double)ranking->list[ranking->count - 1].score)
                continue;
            offer(ranking,
                  (llm_answer){begins ? begins[i] : i, ends ? ends[j] : j + 1, (float)p, 0});
        }
    }
    return first > 0 ? begin_p[0] * end_p[0] : 0.0;
}

/* Room for the probabilities of one window. */
static llm_status make_room(double **begin_p, double **end_p, const llm_task *task, size_t tokens)
{
    *begin_p = memory_alloc_array(&task->context->memory, tokens + 1, sizeof **begin_p);
    *end_p = memory_alloc_array(&task->context->memory, tokens + 1, sizeof **end_p);
    return *begin_p && *end_p ? LLM_OK : LLM_E_NOMEM;
}

llm_status task_answer_ids(llm_answer *answers, size_t capacity, size_t *count,
                           const llm_task *task, const struct task_ids *text, size_t first,
                           size_t end, const llm_answer_options *options)
{
    struct memory *memory = &task->context->memory;
    struct ranking ranking = {answers, 0, capacity};
    double *begin_p = NULL, *end_p = NULL;
    float *scores = NULL;
    llm_status status = task_check_head(task, LLM_HEAD_SPANS);

    *count = 0;
    if (!status && text->count != 1)
        status = status_set(LLM_E_INVALID, "%zu texts, 1 is expected", text->count);
    if (!status && (first >= end || end > text->lengths[0]))
        status = status_set(LLM_E_RANGE, "the context %zu..%zu is not within the %zu tokens", first,
                            end, text->lengths[0]);
    if (status)
        return status;
    scores = memory_alloc_array(memory, 2 * text->lengths[0], sizeof *scores);
    status = scores ? make_room(&begin_p, &end_p, task, text->lengths[0]) : LLM_E_NOMEM;
    if (!status)
        status = task_scores(scores, task, text, false);
    if (!status) {
        double none = rank_window(&ranking, begin_p, end_p, scores, first, end, NULL, NULL,
                                  options->max_answer);

        if (options->no_answer)
            offer(&ranking, (llm_answer){0, 0, (float)none, 0});
        *count = ranking.count;
    }
    memory_release(memory, scores);
    memory_release(memory, begin_p);
    memory_release(memory, end_p);
    return status;
}

/* The tokens of the second text within a window. */
static void find_context(const struct task_texts *texts, size_t row, size_t length, size_t *first,
                         size_t *end)
{
    *first = *end = length;
    for (size_t i = 0; i < length; i++) {
        if (texts->parts[row + i] != 2)
            continue;
        if (*first == length)
            *first = i;
        *end = i + 1;
    }
}

static size_t rank_all(struct ranking *ranking, double *begin_p, double *end_p,
                       const struct task_texts *texts, const float *scores,
                       const llm_answer_options *options)
{
    double none = 1.0;
    size_t row = 0;

    for (size_t w = 0; w < texts->count; w++) {
        size_t first, end;

        find_context(texts, row, texts->lengths[w], &first, &end);
        if (first < end)
            none = fmin(none,
                        rank_window(ranking, begin_p, end_p, scores + 2 * row, first, end,
                                    texts->begins + row, texts->ends + row, options->max_answer));
        row += texts->lengths[w];
    }
    if (options->no_answer)
        offer(ranking, (llm_answer){0, 0, (float)none, 0});
    return ranking->count;
}

llm_status task_answer(llm_answer *answers, size_t capacity, size_t *count, const llm_task *task,
                       const char *question, size_t question_size, const char *context,
                       size_t context_size, const llm_answer_options *options)
{
    const struct task_text pair = {
        .text = question, .size = question_size, .pair = context, .pair_size = context_size};
    struct memory *memory = &task->context->memory;
    struct ranking ranking = {answers, 0, capacity};
    double *begin_p = NULL, *end_p = NULL;
    struct task_texts texts;
    struct task_ids ids;
    float *scores = NULL;
    llm_status status = task_check_head(task, LLM_HEAD_SPANS);

    *count = 0;
    task_texts_init(&texts, memory);
    if (!status)
        status = task_texts_add(&texts, task, &pair, TASK_WINDOWS, options->overlap);
    if (!status) {
        scores = memory_alloc_array(memory, 2 * texts.tokens, sizeof *scores);
        status = scores ? make_room(&begin_p, &end_p, task, texts.tokens) : LLM_E_NOMEM;
    }
    ids = task_texts_ids(&texts);
    if (!status)
        status = task_scores(scores, task, &ids, false);
    if (!status)
        *count = rank_all(&ranking, begin_p, end_p, &texts, scores, options);
    memory_release(memory, scores);
    memory_release(memory, begin_p);
    memory_release(memory, end_p);
    task_texts_free(&texts);
    return status;
}
