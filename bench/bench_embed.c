/* SPDX-License-Identifier: MIT
 *
 * Encoders: texts to vectors, and forward passes of random models; driven by bench/peers/embed.py.
 *
 *     bench_embed save DIRECTORY MODEL     bert-base or t5-small with random weights
 *     bench_embed DIRECTORY                cases from standard input, one run and one JSON line
 * each: texts THREADS FILE               a vector for each line of FILE ids THREADS BATCH LENGTH
 * the model's head over BATCH texts of LENGTH token ids (for encoder-decoders as many target tokens
 * besides)
 */
#include "llm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_TEXTS = 65536 };

static const struct {
    const char *name, *config;
} models[] = {
    {"bert-base", "{\"model_type\":\"bert\",\"architectures\":[\"BertModel\"]}"},
    {"t5-small", "{\"model_type\":\"t5\",\"architectures\":[\"T5ForConditionalGeneration\"],"
                 "\"decoder_start_token_id\":0}"},
};

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(int failed, const char *what)
{
    if (!failed)
        return;
    (void)fprintf(stderr, "bench_embed: %s: %s\n", what, llm_last_error());
    exit(1);
}

static llm_context *new_context(int threads)
{
    llm_context_options options;
    llm_context *context = NULL;

    check(llm_context_options_init(&options, sizeof options), "options");
    options.threads = threads;
    check(llm_context_new(&context, &options), "context");
    return context;
}

static void save(const char *directory, const char *name)
{
    llm_context *context = new_context(0);
    llm_model *model = NULL;

    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (strcmp(models[i].name, name) == 0)
            check(llm_model_new(&model, context, models[i].config, strlen(models[i].config), NULL),
                  name);
    }
    check(!model, "no such model");
    check(llm_model_save(model, directory, NULL), directory);
    llm_model_free(model);
    llm_context_free(context);
}

/* ---- texts ---- */

static char *lines;
static const char *texts[MOST_TEXTS];
static size_t sizes[MOST_TEXTS];

static size_t read_texts(const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t count = 0, size;

    check(!file, path);
    free(lines);
    lines = malloc(64 << 20);
    check(!lines, "memory");
    size = fread(lines, 1, (64 << 20) - 1, file);
    lines[size] = '\0';
    (void)fclose(file);
    for (char *line = strtok(lines, "\n"); line && count < MOST_TEXTS; line = strtok(NULL, "\n")) {
        texts[count] = line;
        sizes[count++] = strlen(line);
    }
    return count;
}

static void run_texts(const llm_task *task, int threads, const char *path)
{
    size_t count = read_texts(path);
    size_t dim = (size_t)llm_model_dim(llm_task_model(task));
    float *vectors = malloc(count * dim * sizeof *vectors);
    double start, seconds;

    check(!vectors, "memory");
    start = now();
    check(llm_task_embed(vectors, count * dim, NULL, task, texts, sizes, count), "embed");
    seconds = now() - start;
    (void)printf("{\"threads\": %d, \"texts\": %zu, \"seconds\": %.6f}\n", threads, count, seconds);
    free(vectors);
}

/* ---- ids ---- */

static void run_ids(llm_model *model, llm_context *context, int threads, size_t batch_size,
                    size_t length)
{
    size_t count = batch_size * length;
    int32_t *ids = malloc(count * sizeof *ids);
    size_t *lengths = malloc(batch_size * sizeof *lengths);
    llm_task_batch batch;
    llm_tensor *scores;
    llm_tape *tape;
    double start, seconds;

    check(!ids || !lengths || llm_task_batch_init(&batch, sizeof batch), "batch");
    for (size_t i = 0; i < count; i++)
        ids[i] = (int32_t)((i * 7919 + 13) % 30000);
    for (size_t i = 0; i < batch_size; i++)
        lengths[i] = length;
    batch.ids = ids;
    batch.lengths = lengths;
    batch.count = batch_size;
    batch.targets = ids;
    batch.target_lengths = lengths;
    check(llm_tape_new(&tape, context, NULL) || llm_tape_set_recording(tape, 0), "tape");
    check(llm_op_task_scores(&scores, tape, model, &batch), "warm up");
    check(llm_tape_reset(tape), "reset");
    start = now();
    check(llm_op_task_scores(&scores, tape, model, &batch), "forward");
    seconds = now() - start;
    (void)printf("{\"threads\": %d, \"batch\": %zu, \"length\": %zu, \"seconds\": %.6f}\n", threads,
                 batch_size, length, seconds);
    llm_tape_free(tape);
    free(ids);
    free(lengths);
}

int main(int argc, char **argv)
{
    llm_context *contexts[65] = {NULL};
    llm_task *tasks[65] = {NULL};
    char line[4096], path[4096];
    int threads;
    size_t batch, length;

    if (argc == 4 && strcmp(argv[1], "save") == 0) {
        save(argv[2], argv[3]);
        return 0;
    }
    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench_embed save DIRECTORY MODEL | bench_embed DIRECTORY\n");
        return 2;
    }
    while (fgets(line, sizeof line, stdin)) {
        int is_texts = sscanf(line, "texts %d %4000s", &threads, path) == 2;

        if (!is_texts && sscanf(line, "ids %d %zu %zu", &threads, &batch, &length) != 3)
            continue;
        if (threads < 1 || threads > 64)
            continue;
        if (!tasks[threads]) {
            contexts[threads] = new_context(threads);
            check(llm_task_load(&tasks[threads], contexts[threads], argv[1], NULL), argv[1]);
        }
        if (is_texts)
            run_texts(tasks[threads], threads, path);
        else
            run_ids(llm_task_model(tasks[threads]), contexts[threads], threads, batch, length);
        (void)fflush(stdout);
    }
    for (int i = 0; i < 65; i++) {
        llm_task_free(tasks[i]);
        llm_context_free(contexts[i]);
    }
    free(lines);
    return 0;
}
