/* SPDX-License-Identifier: MIT
 *
 * llm embed: vectors of texts as JSON lines or as a NumPy file, similarities, reranking.
 */
#include "texts.h"
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct embed {
    const char *model, *lines, *out, *pooling, *rerank;
    int64_t threads, max_tokens, overlap;
    int32_t similarity, windows, raw;
};

/* ---- output ---- */

/* NumPy's format, version 1.0: a header padded to 64 bytes, then the rows. */
static int write_npy(const char *path, const float *vectors, size_t count, size_t dim)
{
    char header[128] = {0};
    unsigned char prefix[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 118, 0};
    FILE *file = fopen(path, "wb");
    size_t values = count * dim;
    int failed;

    if (!file) {
        fprintf(stderr, "llm embed: cannot write %s\n", path);
        return 1;
    }
    memset(header, ' ', 118);
    (void)snprintf(header, sizeof header,
                   "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", count, dim);
    header[strlen(header)] = ' ';
    header[117] = '\n';
    failed = fwrite(prefix, 1, sizeof prefix, file) != sizeof prefix ||
             fwrite(header, 1, 118, file) != 118 ||
             fwrite(vectors, sizeof *vectors, values, file) != values;
    failed = fclose(file) != 0 || failed;
    if (failed)
        fprintf(stderr, "llm embed: cannot write %s\n", path);
    return failed;
}

static void print_lines(const struct texts *texts, const float *vectors, size_t dim)
{
    for (size_t i = 0; i < texts->count; i++) {
        printf("{\"text\": ");
        texts_print_json(texts->items[i], texts->sizes[i]);
        printf(", \"embedding\": [");
        for (size_t d = 0; d < dim; d++)
            printf(d ? ", %.9g" : "%.9g", (double)vectors[i * dim + d]);
        printf("]}\n");
    }
}

static int print_similarities(const struct texts *texts, const float *vectors, size_t dim)
{
    size_t count = texts->count;
    float *matrix = malloc((count * count + 1) * sizeof *matrix);

    if (!matrix || llm_similarity(matrix, vectors, count, vectors, count, dim)) {
        free(matrix);
        return tool_fail("embed");
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count; j++)
            printf("%.6f\t%.*s\t%.*s\n", (double)matrix[i * count + j], (int)texts->sizes[i],
                   texts->items[i], (int)texts->sizes[j], texts->items[j]);
    }
    free(matrix);
    return 0;
}

/* ---- work ---- */

static int embed(const struct embed *e, const llm_task *task, const struct texts *texts)
{
    size_t dim = (size_t)llm_model_dim(llm_task_model(task));
    size_t room = texts->count * dim;
    float *vectors = malloc((room + 1) * sizeof *vectors);
    int result = 0;

    if (!vectors ||
        llm_task_embed(vectors, room, NULL, task, texts->items, texts->sizes, texts->count))
        result = tool_fail("embed");
    else if (e->similarity)
        result = print_similarities(texts, vectors, dim);
    else if (e->out)
        result = write_npy(e->out, vectors, texts->count, dim);
    else
        print_lines(texts, vectors, dim);
    free(vectors);
    return result;
}

struct ranked {
    float score;
    size_t index;
};

static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

static int rerank(const struct embed *e, const llm_task *task, const struct texts *texts)
{
    float *scores = malloc((texts->count + 1) * sizeof *scores);
    struct ranked *ranked = malloc((texts->count + 1) * sizeof *ranked);
    int result = 0;

    if (!scores || !ranked ||
        llm_task_rerank(scores, task, e->rerank, strlen(e->rerank), texts->items, texts->sizes,
                        texts->count)) {
        result = tool_fail("embed");
    } else {
        for (size_t i = 0; i < texts->count; i++)
            ranked[i] = (struct ranked){scores[i], i};
        qsort(ranked, texts->count, sizeof *ranked, by_score);
        for (size_t i = 0; i < texts->count; i++)
            printf("%.6f\t%.*s\n", (double)ranked[i].score, (int)texts->sizes[ranked[i].index],
                   texts->items[ranked[i].index]);
    }
    free(ranked);
    free(scores);
    return result;
}

static int32_t find_pooling(const char *name)
{
    static const char *const names[] = {"default", "mean",      "cls",  "last",
                                        "max",     "mean-sqrt", "model"};

    for (int32_t i = 0; i < (int32_t)(sizeof names / sizeof names[0]); i++) {
        if (strcmp(name, names[i]) == 0)
            return i;
    }
    return -1;
}

static int run(const struct embed *e, const struct texts *texts)
{
    llm_task_options options;
    llm_context *context = NULL;
    llm_task *task = NULL;
    int result;

    if (llm_task_options_init(&options, sizeof options))
        return tool_fail("embed");
    options.pooling = find_pooling(e->pooling);
    options.max_tokens = e->max_tokens;
    options.overlap = e->overlap;
    options.windows = e->windows;
    options.normalize = e->raw ? 0 : -1;
    if (tool_context(&context, e->threads, 0) || llm_task_load(&task, context, e->model, &options))
        result = tool_fail("embed");
    else
        result = e->rerank ? rerank(e, task, texts) : embed(e, task, texts);
    llm_task_free(task);
    llm_context_free(context);
    return result;
}

int command_embed(int argc, char **argv)
{
    struct embed e = {.pooling = "default"};
    static const struct arg_usage usage = {
        "embed", "[TEXT...]",
        "Turns texts into vectors: one JSON line for each, or a NumPy file. A "
        "sentence-transformers\n"
        "directory says by itself how; other models take the mean of their last states.",
        0, 1 << 20};
    const struct arg table[] = {
        {"--model", ARG_TEXT, &e.model, "DIR", "the model", 0, 0},
        {"--lines", ARG_TEXT, &e.lines, "FILE", "a text on each line (-: standard input)", 0, 0},
        {"--out", ARG_TEXT, &e.out, "FILE.npy", "write the vectors as a NumPy array", 0, 0},
        {"--similarity", ARG_FLAG, &e.similarity, NULL, "print the cosines of all pairs of texts",
         0, 0},
        {"--rerank", ARG_TEXT, &e.rerank, "QUERY",
         "sort the texts by a cross-encoder's score for QUERY", 0, 0},
        {"--pooling", ARG_TEXT, &e.pooling, "HOW", "mean, cls, last, max, mean-sqrt or model", 0,
         0},
        {"--raw", ARG_FLAG, &e.raw, NULL, "leave the vectors' lengths as they are", 0, 0},
        {"--max-tokens", ARG_INT, &e.max_tokens, "N", "most tokens of a text (0: the model's)", 0,
         1e9},
        {"--windows", ARG_FLAG, &e.windows, NULL,
         "read longer texts in windows, do not cut them off", 0, 0},
        {"--overlap", ARG_INT, &e.overlap, "N", "tokens that two windows share", 0, 1e9},
        {"--threads", ARG_INT, &e.threads, "N", "0: all cores", 0, 1024},
        {NULL, ARG_FLAG, NULL, NULL, NULL, 0, 0}};
    const char **positional = malloc(((size_t)argc + 1) * sizeof *positional);
    struct texts texts = {0};
    size_t count = 0;
    int result;

    if (!positional)
        return 1;
    result = args_parse(&usage, table, argc, argv, positional, &count);
    if (!result && (!e.model || (!e.lines && count == 0))) {
        fprintf(stderr, "llm embed: %s missing\n", e.model ? "texts are" : "--model is");
        result = -1;
    }
    if (!result && find_pooling(e.pooling) < 0) {
        fprintf(stderr, "llm embed: unknown pooling %s\n", e.pooling);
        result = -1;
    }
    if (result) {
        free(positional);
        return result > 0 ? 0 : 2;
    }
    result = texts_read(&texts, e.lines, positional, count) ? 1 : run(&e, &texts);
    texts_free(&texts);
    free(positional);
    return result;
}
