/* SPDX-License-Identifier: MIT
 *
 * Training speed and memory of whole models, on the public interface alone. One JSON line.
 *
 *   bench_train CONFIG [--threads N] [--steps N] [--batch N] [--warmup N] [--seed N] [--rate X]
 * [--text FILE]
 *               [--quality]
 *
 * CONFIG: cpu (nanoGPT's CPU example), char (its character model), gpt2-124m. Without --text the
 * tokens are random. --warmup steps are not timed. --quality trains cpu for 2,000 steps on the
 * characters of FILE and reports the loss on its last tenth.
 */
#include "llm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct config {
    const char *name;
    int layers, heads, dim, block, batch, vocab;
};

static const struct config configs[] = {
    {"cpu", 4, 4, 128, 64, 12, 65},
    {"char", 6, 6, 384, 256, 64, 65},
    {"gpt2-124m", 12, 12, 768, 256, 4, 50257},
};

struct arguments {
    const struct config *config;
    int threads, batch, quality;
    long steps, warmup, seed;
    double rate;
    const char *text;
};

static void check(llm_status status)
{
    if (status == LLM_OK)
        return;
    fprintf(stderr, "bench_train: %s: %s\n", llm_status_name(status), llm_last_error());
    exit(1);
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Processor time of all threads: fair on a busy machine, for one thread. */
static double processor(void)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int read_arguments(struct arguments *a, int argc, char **argv)
{
    *a = (struct arguments){.threads = 1, .steps = 20, .warmup = 2, .seed = 1337, .rate = 1e-3};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";

        if (strcmp(argv[i], "--quality") == 0) {
            a->quality = 1;
        } else if (strcmp(argv[i], "--threads") == 0) {
            a->threads = (int)strtol(value, NULL, 10), i++;
        } else if (strcmp(argv[i], "--steps") == 0) {
            a->steps = strtol(value, NULL, 10), i++;
        } else if (strcmp(argv[i], "--warmup") == 0) {
            a->warmup = strtol(value, NULL, 10), i++;
        } else if (strcmp(argv[i], "--seed") == 0) {
            a->seed = strtol(value, NULL, 10), i++;
        } else if (strcmp(argv[i], "--rate") == 0) {
            a->rate = strtod(value, NULL), i++;
        } else if (strcmp(argv[i], "--batch") == 0) {
            a->batch = (int)strtol(value, NULL, 10), i++;
        } else if (strcmp(argv[i], "--text") == 0) {
            a->text = value, i++;
        } else {
            for (size_t c = 0; c < sizeof configs / sizeof *configs; c++) {
                if (strcmp(argv[i], configs[c].name) == 0)
                    a->config = &configs[c];
            }
        }
    }
    return a->config && a->steps > 0 && (!a->quality || a->text);
}

static llm_model *make_model(llm_context *context, const struct config *c)
{
    char text[512];
    llm_model *model;

    snprintf(text, sizeof text,
             "{\"model_type\":\"gpt2\",\"n_layer\":%d,\"n_head\":%d,\"n_embd\":%d,"
             "\"n_positions\":%d,\"vocab_size\":%d,\"resid_pdrop\":0,\"embd_pdrop\":0,"
             "\"attn_pdrop\":0}",
             c->layers, c->heads, c->dim, c->block, c->vocab);
    check(llm_model_new(&model, context, text, strlen(text), NULL));
    return model;
}

static llm_dataset *random_dataset(llm_context *context, const struct config *c)
{
    enum { COUNT = 1 << 20 };
    int32_t *ids = malloc(COUNT * sizeof *ids);
    uint64_t state = 1;
    llm_dataset *dataset;

    if (!ids)
        exit(1);
    for (int i = 0; i < COUNT; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (int32_t)((state >> 33) % (uint64_t)c->vocab);
    }
    check(llm_dataset_from_ids(&dataset, context, ids, COUNT, c->vocab, -1, NULL));
    free(ids);
    return dataset;
}

static llm_dataset *character_dataset(llm_context *context, const char *path)
{
    llm_tokenizer_train_options options;
    llm_tokenizer *tokenizer;
    llm_dataset *dataset;

    check(llm_tokenizer_train_options_init(&options, sizeof options));
    options.kind = LLM_TOKENIZER_CHARACTERS;
    check(llm_tokenizer_train_files(&tokenizer, context, &path, 1, &options));
    check(llm_dataset_from_files(&dataset, context, tokenizer, &path, 1, NULL));
    llm_tokenizer_free(tokenizer);
    return dataset;
}

static llm_trainer_options make_options(const struct arguments *a)
{
    llm_trainer_options options;

    check(llm_trainer_options_init(&options, sizeof options));
    options.steps = a->quality ? 2000 : a->steps + a->warmup;
    options.batch = a->batch ? a->batch : a->config->batch;
    options.learning_rate = a->rate;
    options.min_learning_rate = 1e-4;
    options.warmup_steps = a->quality ? 100 : 0;
    options.seed = (uint64_t)a->seed;
    return options;
}

int main(int argc, char **argv)
{
    struct arguments a;
    llm_context_options context_options;
    llm_trainer_options options;
    llm_train_progress progress;
    llm_context *context;
    llm_dataset *dataset;
    llm_trainer *trainer;
    llm_model *model;
    struct rusage usage;
    double begin = 0.0, busy = 0.0, seconds, validation = 0.0;

    if (!read_arguments(&a, argc, argv)) {
        fprintf(stderr, "usage: bench_train cpu|char|gpt2-124m [--threads N] [--steps N] "
                        "[--batch N] [--warmup N] [--seed N] [--rate X] [--text FILE] "
                        "[--quality]\n");
        return 2;
    }
    check(llm_context_options_init(&context_options, sizeof context_options));
    context_options.threads = a.threads;
    context_options.seed = (uint64_t)a.seed;
    check(llm_context_new(&context, &context_options));
    dataset = a.text ? character_dataset(context, a.text) : random_dataset(context, a.config);
    model = make_model(context, a.config);
    options = make_options(&a);
    check(llm_trainer_new(&trainer, model, dataset, &options));
    for (int64_t step = 0; step < options.steps; step++) {
        if (step == (a.quality ? 0 : a.warmup))
            begin = now(), busy = processor();
        check(llm_trainer_step(trainer, &progress, sizeof progress));
    }
    seconds = now() - begin;
    busy = processor() - busy;
    if (a.quality)
        check(llm_trainer_evaluate(&validation, trainer, LLM_PART_VALIDATION, 0));
    else
        options.steps -= a.warmup;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"bench\":\"train\",\"config\":\"%s\",\"machine\":\"%s\",\"threads\":%d,"
           "\"batch\":%d,\"block\":%d,\"steps\":%lld,\"tokens_per_second\":%.1f,"
           "\"ms_per_step\":%.2f,\"cpu_ms_per_step\":%.2f,\"peak_rss_mib\":%.1f,\"loss\":%.5f",
           a.config->name, llm_context_description(context), a.threads, options.batch,
           a.config->block, (long long)options.steps,
           (double)options.steps * options.batch * a.config->block / seconds,
           seconds * 1e3 / (double)options.steps, busy * 1e3 / (double)options.steps,
           (double)usage.ru_maxrss / 1024.0, progress.loss);
    if (a.quality)
        printf(",\"validation_loss\":%.5f", validation);
    printf("}\n");
    llm_trainer_free(trainer);
    llm_model_free(model);
    llm_dataset_free(dataset);
    llm_context_free(context);
    return 0;
}
