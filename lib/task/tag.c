/* SPDX-License-Identifier: MIT
 *
 * Labels of tokens, and the entities they make up, as the token-classification pipeline of
 * transformers puts them together.
 */
#include "task/task.h"

#include <string.h>

/* A token or a word with its label. */
struct unit {
    size_t begin, end;
    int32_t label;
    float score;
};

static int32_t best(const float *row, size_t labels)
{
    size_t at = 0;

    for (size_t i = 1; i < labels; i++)
        at = row[i] > row[at] ? i : at;
    return (int32_t)at;
}

/* Does token `at` continue the word before it? WordPiece marks such tokens; elsewhere a token goes
 * on where no space is. */
static bool continues_word(const llm_task *task, const struct task_texts *texts, size_t at,
                           const char *text)
{
    size_t begin = texts->begins[at];
    size_t size;
    const char *token = tokenizer_token(task->tokenizer, texts->ids[at], &size);

    if (task->marks_words)
        return size > 2 && memcmp(token, "##", 2) == 0;
    return begin > 0 && text[begin - 1] != ' ' && text[begin] != ' ';
}

/* The label of a word of `count` tokens whose probabilities are `rows`. */
static struct unit label_word(float *rows, size_t count, size_t labels, int32_t aggregation)
{
    struct unit unit = {0};
    size_t surest = 0;

    if (aggregation == LLM_TAGS_AVERAGE) { /* in place of the first token's */
        for (size_t l = 0; l < labels; l++) {
            double sum = 0.0;

            for (size_t i = 0; i < count; i++)
                sum += (double)rows[i * labels + l];
            rows[l] = (float)(sum / (double)count);
        }
    }
    for (size_t i = 1; i < count && aggregation == LLM_TAGS_MAX; i++) {
        const float *row = rows + i * labels;
        const float *top = rows + surest * labels;

        if (row[best(row, labels)] > top[best(top, labels)])
            surest = i;
    }
    unit.label = best(rows + surest * labels, labels);
    unit.score = rows[surest * labels + (size_t)unit.label];
    return unit;
}

/* Tokens of the text (special ones left out), or its words, with labels. */
static size_t collect(struct unit *units, const llm_task *task, const struct task_texts *texts,
                      float *values, const char *text, int32_t aggregation)
{
    size_t labels = (size_t)task->model->head.labels;
    bool by_word = aggregation >= LLM_TAGS_FIRST;
    size_t count = 0;

    for (size_t i = 0; i < texts->tokens;) {
        size_t end = i + 1;

        if (texts->parts[i] == 0) {
            i++;
            continue;
        }
        while (by_word && end < texts->tokens && texts->parts[end] != 0 &&
               continues_word(task, texts, end, text))
            end++;
        units[count] = label_word(values + i * labels, end - i, labels, aggregation);
        units[count].begin = texts->begins[i];
        units[count++].end = texts->ends[end - 1];
        i = end;
    }
    return count;
}

/* "B-PER" -> "PER", *begins true. */
static const char *entity_name(const llm_task *task, int32_t label, bool *begins)
{
    const char *name = task->model->head.names[label];
    bool marked = (name[0] == 'B' || name[0] == 'I') && name[1] == '-';

    *begins = marked && name[0] == 'B';
    return marked ? name + 2 : name;
}

static size_t group(llm_entity *entities, size_t capacity, const llm_task *task,
                    const struct unit *units, size_t count, int32_t aggregation)
{
    size_t made = 0;

    for (size_t i = 0; i < count;) {
        bool begins;
        const char *name = entity_name(task, units[i].label, &begins);
        double sum = (double)units[i].score;
        size_t end = i + 1;

        for (; end < count && aggregation != LLM_TAGS_NONE; end++) {
            const char *next = entity_name(task, units[end].label, &begins);

            if (begins || strcmp(next, name) != 0)
                break;
            sum += (double)units[end].score;
        }
        if (strcmp(name, "O") != 0) {
            if (made < capacity)
                entities[made] = (llm_entity){units[i].begin, units[end - 1].end, name,
                                              units[i].label, (float)(sum / (double)(end - i))};
            made++;
        }
        i = end;
    }
    return made;
}

llm_status task_tag(llm_entity *entities, size_t capacity, size_t *count, const llm_task *task,
                    const char *text, size_t size, int32_t aggregation)
{
    const struct task_text one = {.text = text, .size = size};
    struct memory *memory = &task->context->memory;
    size_t labels = (size_t)task->model->head.labels;
    struct task_texts texts;
    struct task_ids ids;
    struct unit *units = NULL;
    float *values = NULL;
    llm_status status = task_check_head(task, LLM_HEAD_TOKENS);

    *count = 0;
    task_texts_init(&texts, memory);
    if (!status)
        status = task_texts_add(&texts, task, &one, TASK_CUT, 0);
    if (!status) {
        values = memory_alloc_array(memory, texts.tokens * labels, sizeof *values);
        units = memory_alloc_array(memory, texts.tokens, sizeof *units);
        status = values && units ? LLM_OK : LLM_E_NOMEM;
    }
    ids = task_texts_ids(&texts);
    if (!status)
        status = task_scores(values, task, &ids, true);
    if (!status)
        *count = group(entities, capacity, task, units,
                       collect(units, task, &texts, values, text, aggregation), aggregation);
    memory_release(memory, values);
    memory_release(memory, units);
    task_texts_free(&texts);
    return status;
}
