/* SPDX-License-Identifier: MIT
 *
 * llm classify: labels of texts, or entities in them, whichever the model was trained for.
 */
#include "texts.h"
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct classify {
    const char *model, *lines, *pair, *aggregation;
    int64_t threads;
    int32_t json;
};

static const char *const aggregations[] = {"none", "simple", "first", "average", "max"};

static int32_t find_aggregation(const char *name)
{
    for (int32_t i = 0; i < 5; i++) {
        if (strcmp(name, aggregations[i]) == 0)
            return i;
    }
    return -1;
}

/* ---- labels of texts ---- */

static void print_labels(const struct classify *c, const llm_model *model, const char *text,
                         size_t size, const float *values)
{
    size_t labels = llm_model_label_count(model);
    size_t best = 0;

    if (c->json) {
        printf("{\"text\": ");
        texts_print_json(text, size);
        printf(", \"labels\": {");
        for (size_t i = 0; i < labels; i++) {
            const char *name = llm_model_label(model, i);

            printf(i ? ", " : "");
            texts_print_json(name, strlen(name));
            printf(": %.9g", (double)values[i]);
        }
        printf("}}\n");
        return;
    }
    for (size_t i = 1; i < labels; i++)
        best = values[i] > values[best] ? i : best;
    printf("%s\t%.6f\t%.*s\n", llm_model_label(model, best), (double)values[best], (int)size, text);
}

static int label_texts(const struct classify *c, const llm_task *task, const struct texts *texts)
{
    const llm_model *model = llm_task_model(task);
    size_t labels = llm_model_label_count(model);
    float *values = malloc((texts->count * labels + 1) * sizeof *values);
    const char **pairs = malloc((texts->count + 1) * sizeof *pairs);
    size_t *sizes = malloc((texts->count + 1) * sizeof *sizes);
    int result = 0;

    for (size_t i = 0; i < texts->count && pairs && sizes && c->pair; i++) {
        pairs[i] = c->pair;
        sizes[i] = strlen(c->pair);
    }
    if (!values || !pairs || !sizes ||
        llm_task_classify(values, texts->count * labels, NULL, task, texts->items, texts->sizes,
                          c->pair ? pairs : NULL, c->pair ? sizes : NULL, texts->count))
        result = tool_fail("classify");
    for (size_t i = 0; i < texts->count && !result; i++)
        print_labels(c, model, texts->items[i], texts->sizes[i], values + i * labels);
    free(values);
    free((void *)pairs);
    free(sizes);
    return result;
}

/* ---- entities ---- */

static int tag_text(const struct classify *c, const llm_task *task, const char *text, size_t size)
{
    size_t room = size + 1, count;
    llm_entity *entities = malloc(room * sizeof *entities);

    if (!entities ||
        llm_task_tag(entities, room, &count, task, text, size, find_aggregation(c->aggregation))) {
        free(entities);
        return tool_fail("classify");
    }
    for (size_t i = 0; i < count; i++) {
        const llm_entity *entity = &entities[i];
        size_t length = entity->end - entity->begin;

        if (c->json) {
            printf("{\"entity\": ");
            texts_print_json(entity->name, strlen(entity->name));
            printf(", \"text\": ");
            texts_print_json(text + entity->begin, length);
            printf(", \"begin\": %zu, \"end\": %zu, \"score\": %.9g}\n", entity->begin, entity->end,
                   (double)entity->score);
        } else {
            printf("%s\t%.6f\t%.*s\n", entity->name, (double)entity->score, (int)length,
                   text + entity->begin);
        }
    }
    free(entities);
    return 0;
}

static int run(const struct classify *c, const struct texts *texts)
{
    llm_context *context = NULL;
    llm_task *task = NULL;
    int result = 0;

    if (tool_context(&context, c->threads, 0) || llm_task_load(&task, context, c->model, NULL))
        result = tool_fail("classify");
    else if (llm_model_head(llm_task_model(task)) != LLM_HEAD_TOKENS)
        result = label_texts(c, task, texts);
    else
        for (size_t i = 0; i < texts->count && !result; i++)
            result = tag_text(c, task, texts->items[i], texts->sizes[i]);
    llm_task_free(task);
    llm_context_free(context);
    return result;
}

int command_classify(int argc, char **argv)
{
    struct classify c = {.aggregation = "simple"};
    static const struct arg_usage usage = {
        "classify", "[TEXT...]",
        "Labels texts with a model for sequence classification: the best label, its probability, "
        "the\n"
        "text. With a model for token classification: the entities in the texts.",
        0, 1 << 20};
    const struct arg table[] = {
        {"--model", ARG_TEXT, &c.model, "DIR", "the model", 0, 0},
        {"--lines", ARG_TEXT, &c.lines, "FILE", "a text on each line (-: standard input)", 0, 0},
        {"--pair", ARG_TEXT, &c.pair, "TEXT", "the second text of every pair", 0, 0},
        {"--aggregation", ARG_TEXT, &c.aggregation, "HOW",
         "tokens to entities: none, simple, first, average, max", 0, 0},
        {"--json", ARG_FLAG, &c.json, NULL, "JSON lines with all labels", 0, 0},
        {"--threads", ARG_INT, &c.threads, "N", "0: all cores", 0, 1024},
        {NULL, ARG_FLAG, NULL, NULL, NULL, 0, 0}};
    const char **positional = malloc(((size_t)argc + 1) * sizeof *positional);
    struct texts texts = {0};
    size_t count = 0;
    int result;

    if (!positional)
        return 1;
    result = args_parse(&usage, table, argc, argv, positional, &count);
    if (!result && (!c.model || (!c.lines && count == 0))) {
        fprintf(stderr, "llm classify: %s missing\n", c.model ? "texts are" : "--model is");
        result = -1;
    }
    if (!result && find_aggregation(c.aggregation) < 0) {
        fprintf(stderr, "llm classify: unknown aggregation %s\n", c.aggregation);
        result = -1;
    }
    if (result) {
        free(positional);
        return result > 0 ? 0 : 2;
    }
    result = texts_read(&texts, c.lines, positional, count) ? 1 : run(&c, &texts);
    texts_free(&texts);
    free(positional);
    return result;
}
