/* SPDX-License-Identifier: MIT
 *
 * Generation with random weights; one JSON line per case:
 *
 *     bench_generate [threads] [model ...]        models: 124m, nano, char, tiny,
 *                                                 llama, mixtral; default all
 *     bench_generate save DIRECTORY MODEL         the model as a directory that transformers reads
 *     bench_generate - MODEL                      cases from standard input, one run each (see
 *                                                 bench/peers/generate.py): threads prompt tokens
 *
 * A decoded token must read every weight once, less the position and token embeddings it looks up
 * (a tied output matrix is read whole), and its keys and values. `of_bandwidth` is the time this
 * takes at the bandwidth measured by summing a large array on as many threads, over the time taken.
 */
#include "base/context.h"
#include "base/parallel.h"
#include "kernels/kernels.h"
#include "llm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct shape {
    const char *name;
    int layers, heads, dim, context, vocabulary;
    int kv_dim;         /* 0: dim */
    double unread;      /* of the parameters, what a token leaves out beside the position table */
    const char *config; /* NULL: GPT-2 of these sizes */
};

#define LLAMA                                                                                      \
    "{\"model_type\":\"llama\",\"num_hidden_layers\":30,\"num_attention_heads\":9,"                \
    "\"num_key_value_heads\":3,\"hidden_size\":576,\"intermediate_size\":1536,"                    \
    "\"max_position_embeddings\":1024,\"vocab_size\":49152,\"tie_word_embeddings\":true}"
#define MIXTRAL                                                                                    \
    "{\"model_type\":\"mixtral\",\"num_hidden_layers\":8,\"num_attention_heads\":8,"               \
    "\"num_key_value_heads\":2,\"hidden_size\":512,\"intermediate_size\":1408,"                    \
    "\"num_local_experts\":8,\"num_experts_per_tok\":2,\"max_position_embeddings\":1024,"          \
    "\"vocab_size\":32000,\"tie_word_embeddings\":true}"

static const struct shape shapes[] = {
    {"124m", 12, 12, 768, 1024, 50257, 0, 0, NULL},
    {"nano", 6, 6, 384, 256, 65, 0, 0, NULL},
    {"char", 4, 4, 128, 64, 65, 0, 0, NULL},
    {"tiny", 2, 2, 32, 64, 65, 0, 0, NULL},
    {"llama", 30, 9, 576, 1024, 49152, 192, 0, LLAMA}, /* SmolLM-135M's sizes */
    {"mixtral", 8, 8, 512, 1024, 32000, 128, 8.0 * 6 * 3 * 512 * 1408,
     MIXTRAL}, /* 6 of 8 experts */
};

/* One thread is timed by the processor time it took, so that other programs disturb less. */
static double now(int threads)
{
    struct timespec t;

    (void)clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(llm_status status, const char *what)
{
    if (status == LLM_OK)
        return;
    (void)fprintf(stderr, "bench_generate: %s: %s\n", what, llm_last_error());
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

static const struct shape *find_shape(const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    }
    (void)fprintf(stderr, "bench_generate: no model %s\n", name);
    exit(2);
}

static llm_model *new_model(llm_context *context, const struct shape *shape)
{
    llm_model *model = NULL;
    char config[512];
    int size = snprintf(config, sizeof config, "%s", shape->config ? shape->config : "");

    if (!shape->config)
        size =
            snprintf(config, sizeof config,
                     "{\"model_type\":\"gpt2\",\"n_layer\":%d,\"n_head\":%d,\"n_embd\":%d,"
                     "\"n_positions\":%d,\"vocab_size\":%d,\"bos_token_id\":0,\"eos_token_id\":0}",
                     shape->layers, shape->heads, shape->dim, shape->context, shape->vocabulary);
    check(llm_model_new(&model, context, config, (size_t)size, NULL), "model");
    return model;
}

/* ---- bandwidth --------------------------------------------------------------------------------
 */

enum { READ_BLOCKS = 512 }; /* of 1 MB */

struct reading {
    const llm_context *context;
    const float *data;
    double sums[READ_BLOCKS];
};

static void read_range(void *arg, int64_t begin, int64_t end)
{
    struct reading *reading = arg;
    const int64_t block = (int64_t)1 << 18;

    for (int64_t i = begin; i < end; i++)
        reading->sums[i] = reading->context->kernels->vector.sum(reading->data + i * block, block);
}

/* Bytes per second of one pass over 512 MB. */
static double read_bandwidth(llm_context *context, const void *data)
{
    static struct reading reading;
    double start;

    reading.context = context;
    reading.data = data;
    start = now(context->threads);
    parallel_for(context->threads, READ_BLOCKS, 1, read_range, &reading);
    return (double)READ_BLOCKS * (1 << 20) / (now(context->threads) - start);
}

/* ---- cases ------------------------------------------------------------------------------------
 */

struct result {
    double prefill_seconds;
    double seconds_per_token; /* the mean over one text */
};

static struct result run(llm_session *session, const struct shape *shape, int prompt, int tokens,
                         int threads)
{
    llm_generate_options options;
    struct result result;
    int32_t ids[1024];
    double start;

    for (int i = 0; i < prompt; i++)
        ids[i] = (i * 7919 + 13) % shape->vocabulary;
    check(llm_generate_options_init(&options, sizeof options), "options");
    options.max_tokens = tokens;
    options.ignore_eos = 1;
    check(llm_session_reset(session), "reset");
    start = now(threads);
    check(llm_session_append(session, ids, (size_t)prompt), "append");
    result.prefill_seconds = now(threads) - start;
    start = now(threads);
    check(llm_session_generate(session, &options), "generate");
    result.seconds_per_token = (now(threads) - start) / tokens;
    return result;
}

/* Bytes a token must read: all weights but both embedding tables, the output matrix, the cache. */
static double bytes_per_token(const llm_model *model, const struct shape *shape, int tokens)
{
    double positions = shape->config ? 0.0 : (double)shape->context * shape->dim;
    double read = (double)llm_model_parameters(model) - positions - shape->unread;
    int kv_dim = shape->kv_dim ? shape->kv_dim : shape->dim;

    return 4.0 * (read + 2.0 * shape->layers * kv_dim * tokens);
}

static void bench(const struct shape *shape, int threads)
{
    llm_context *context = new_context(threads);
    llm_model *model = new_model(context, shape);
    llm_session *session = NULL;
    int prompt = shape->context / 2;
    int tokens = shape->context / 4 < 32 ? shape->context / 4 : 32;
    struct result best = {1e9, 1e9};
    double bandwidth = 0.0;
    void *data = memory_alloc(&context->memory, (size_t)READ_BLOCKS << 20);
    double bytes = bytes_per_token(model, shape, prompt + tokens / 2);

    if (!data)
        exit(1);
    memset(data, 0, (size_t)READ_BLOCKS << 20);
    check(llm_session_new(&session, model, NULL, NULL), "session");
    for (int i = 0; i < (shape->layers > 8 ? 6 : 40); i++) {
        double reached = read_bandwidth(context, data);
        struct result result = run(session, shape, prompt, tokens, threads);

        if (reached > bandwidth)
            bandwidth = reached;
        if (result.prefill_seconds < best.prefill_seconds)
            best.prefill_seconds = result.prefill_seconds;
        if (result.seconds_per_token < best.seconds_per_token)
            best.seconds_per_token = result.seconds_per_token;
    }
    printf("{\"bench\":\"generate\",\"model\":\"%s\",\"threads\":%d,\"prompt\":%d,"
           "\"prefill_tokens_per_s\":%.0f,\"decode_ms\":%.4f,\"decode_tokens_per_s\":%.1f,"
           "\"bytes_per_token\":%.0f,\"bandwidth_gb_per_s\":%.2f,\"of_bandwidth\":%.3f}\n",
           shape->name, threads, prompt, prompt / best.prefill_seconds,
           1e3 * best.seconds_per_token, 1.0 / best.seconds_per_token, bytes, bandwidth / 1e9,
           bytes / bandwidth / best.seconds_per_token);
    (void)fflush(stdout);
    memory_release(&context->memory, data);
    llm_session_free(session);
    llm_model_free(model);
    llm_context_free(context);
}

/* One session per thread count, so that runs can alternate with a peer's. */
static void serve(const struct shape *shape)
{
    llm_context *contexts[9] = {NULL};
    llm_session *sessions[9] = {NULL};
    int threads;
    int prompt;
    int tokens;

    while (scanf("%d %d %d", &threads, &prompt, &tokens) == 3) {
        struct result result;

        if (threads < 1 || threads > 8 || prompt < 1 || prompt + tokens > shape->context)
            exit(2);
        if (!sessions[threads]) {
            llm_model *model;

            contexts[threads] = new_context(threads);
            model = new_model(contexts[threads], shape);
            check(llm_session_new(&sessions[threads], model, NULL, NULL), "session");
            llm_model_free(model);
        }
        result = run(sessions[threads], shape, prompt, tokens, threads);
        printf("{\"prefill_ms\":%.4f,\"decode_ms\":%.5f}\n", 1e3 * result.prefill_seconds,
               1e3 * result.seconds_per_token);
        (void)fflush(stdout);
    }
    for (int i = 0; i < 9; i++) {
        llm_session_free(sessions[i]);
        llm_context_free(contexts[i]);
    }
}

static void save(const char *directory, const struct shape *shape)
{
    llm_context *context = new_context(0);
    llm_model *model = new_model(context, shape);

    check(llm_model_save(model, directory, NULL), directory);
    llm_model_free(model);
    llm_context_free(context);
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 0;

    if (argc > 3 && strcmp(argv[1], "save") == 0) {
        save(argv[2], find_shape(argv[3]));
    } else if (argc > 2 && strcmp(argv[1], "-") == 0) {
        serve(find_shape(argv[2]));
    } else if (argc > 2) {
        for (int i = 2; i < argc; i++)
            bench(find_shape(argv[i]), threads > 0 ? threads : 1);
    } else {
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
            bench(&shapes[i], threads > 0 ? threads : 1);
    }
    return 0;
}
