/* SPDX-License-Identifier: MIT
 *
 * From a file to the first logits: a GGUF model mapped and read, with the pages of the file in
 * memory, against reading its bytes alone.
 *
 * Usage: bench_load MODEL.gguf     or: bench_load --make PATH [megabytes]
 * The second form writes a LLaMA of about that size (1000) with random f32 weights.
 */
#define _POSIX_C_SOURCE 200809L
#include <llm.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void check(llm_status status)
{
    if (status) {
        fprintf(stderr, "%s\n", llm_last_error());
        exit(1);
    }
}

static int make(llm_context *context, const char *path, double megabytes)
{
    /* 12.6 million weights a layer of width 1024, with 16 million for the vocabulary */
    int layers = (int)((megabytes * 1e6 / 4 - 16.4e6) / 12.6e6);
    char config[512], directory[1024];
    llm_model *model;

    snprintf(config, sizeof config,
             "{\"model_type\":\"llama\",\"hidden_size\":1024,\"intermediate_size\":2816,"
             "\"num_attention_heads\":16,\"num_hidden_layers\":%d,\"vocab_size\":16000,"
             "\"max_position_embeddings\":2048,\"tie_word_embeddings\":true}",
             layers > 1 ? layers : 1);
    snprintf(directory, sizeof directory, "%s.directory", path);
    check(llm_model_new(&model, context, config, strlen(config), NULL));
    check(llm_model_save(model, directory, NULL));
    llm_model_free(model);
    check(llm_model_convert(context, directory, path, NULL));
    return 0;
}

/* Seconds to read the whole file into one buffer, again and again. */
static double read_once(const char *path)
{
    static char buffer[1 << 20];
    double start = now();
    FILE *file = fopen(path, "rb");

    while (file && fread(buffer, 1, sizeof buffer, file) == sizeof buffer) {
    }
    if (file)
        fclose(file);
    return now() - start;
}

static double first_logits(llm_context *context, const char *path, int map, double *loaded)
{
    static const int32_t id = 1;
    llm_model_load_options options;
    double start = now();
    llm_model *model;
    float *logits;
    size_t needed;

    check(llm_model_load_options_init(&options, sizeof options));
    options.map = map;
    check(llm_model_load(&model, context, path, &options));
    *loaded = now() - start;
    check(llm_model_logits(NULL, 0, &needed, model, &id, 1));
    logits = malloc(needed * sizeof *logits);
    check(llm_model_logits(logits, needed, NULL, model, &id, 1));
    start = now() - start;
    free(logits);
    llm_model_free(model);
    return start;
}

static void print(const char *how, double loaded, double logits)
{
    printf("{\"bench\":\"load\",\"how\":\"%s\",\"loaded\":%.3f,\"first_logits\":%.3f}\n", how,
           loaded, logits);
}

int main(int argc, char **argv)
{
    llm_context *context;

    if (argc < 2) {
        fprintf(stderr, "usage: bench_load MODEL.gguf | --make PATH [megabytes]\n");
        return 2;
    }
    check(llm_context_new(&context, NULL));
    if (strcmp(argv[1], "--make") == 0 && argc > 2)
        return make(context, argv[2], argc > 3 ? atof(argv[3]) : 1000.0);
    for (int i = 0; i < 5; i++) {
        double loaded, logits;

        printf("{\"bench\":\"load\",\"how\":\"read\",\"seconds\":%.3f}\n", read_once(argv[1]));
        logits = first_logits(context, argv[1], 1, &loaded);
        print("mapped", loaded, logits);
        logits = first_logits(context, argv[1], 0, &loaded);
        print("copied", loaded, logits);
    }
    llm_context_free(context);
    return 0;
}
