/* SPDX-License-Identifier: MIT
 *
 * Tokenizers, one JSON line per measurement, MB/s of text by the processor time of one thread (best
 * of the repetitions; training by the wall clock):
 *
 *     bench_tokenizer encode TOKENIZER FILE...     cut into words, encode, decode
 *     bench_tokenizer worst TOKENIZER MEGABYTES    encode inputs that are hard for byte-pair
 * encoders bench_tokenizer train VOCABULARY THREADS FILE...
 *
 * bench/peers/tokenizers.py compares with other libraries.
 */
#include "base/file.h"
#include "llm.h"
#include "tokenizer/pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPETITIONS = 7 };

static double now(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(llm_status status)
{
    if (status) {
        (void)fprintf(stderr, "bench_tokenizer: %s\n", llm_last_error());
        exit(1);
    }
}

static size_t scan_all(const llm_tokenizer *tokenizer, const char *text, size_t size)
{
    const unsigned char *ends[SCRATCH_ENDS];
    const unsigned char *cursor = (const unsigned char *)text;
    const unsigned char *end = cursor + size;
    size_t words = 0;

    while (cursor < end)
        words += tokenizer->split->scan(&cursor, end, ends, SCRATCH_ENDS);
    return words;
}

static void report(const char *what, const char *name, size_t bytes, size_t units, double seconds)
{
    (void)printf("{\"bench\": \"tokenizer\", \"what\": \"%s\", \"input\": \"%s\", \"bytes\": %zu, "
                 "\"units\": %zu, \"seconds\": %.6f, \"MB/s\": %.2f}\n",
                 what, name, bytes, units, seconds, (double)bytes / seconds * 1e-6);
    (void)fflush(stdout);
}

static double faster(double a, double b)
{
    return a < b ? a : b;
}

static void measure(llm_tokenizer *tokenizer, const char *name, const char *text, size_t size,
                    int repetitions)
{
    size_t capacity = llm_tokenizer_max_tokens(tokenizer, size);
    int32_t *ids = malloc((capacity + 1) * sizeof *ids);
    size_t room = 4 * size + 64; /* a decoder may put in spaces */
    char *back = malloc(room);
    double seconds[3] = {1e9, 1e9, 1e9};
    size_t count = 0;
    size_t words = 0;
    size_t length;

    if (!ids || !back)
        exit(1);
    for (int i = 0; i < repetitions; i++) {
        double start = now(CLOCK_THREAD_CPUTIME_ID);
        double mid;
        double last;

        words = tokenizer->direct ? scan_all(tokenizer, text, size) : 0;
        mid = now(CLOCK_THREAD_CPUTIME_ID);
        seconds[0] = faster(seconds[0], mid - start);
        check(llm_tokenizer_encode(ids, capacity, &count, tokenizer, text, size, NULL));
        last = now(CLOCK_THREAD_CPUTIME_ID);
        seconds[1] = faster(seconds[1], last - mid);
        check(llm_tokenizer_decode(back, room, &length, tokenizer, ids, count, NULL));
        seconds[2] = faster(seconds[2], now(CLOCK_THREAD_CPUTIME_ID) - last);
        if (tokenizer->plain_decoding && (length != size || memcmp(back, text, size) != 0)) {
            (void)fprintf(stderr, "bench_tokenizer: %s does not come back\n", name);
            exit(1);
        }
    }
    if (tokenizer->direct)
        report("words", name, size, words, seconds[0]);
    report("encode", name, size, count, seconds[1]);
    report("decode", name, size, count, seconds[2]);
    free(ids);
    free(back);
}

static void bench_files(llm_context *context, llm_tokenizer *tokenizer, char **paths, int count)
{
    (void)context;
    for (int i = 0; i < count; i++) {
        struct file_map map;

        check(file_map_open(&map, paths[i]));
        measure(tokenizer, paths[i], map.data, map.size, REPETITIONS);
        file_map_close(&map);
    }
}

static void bench_worst(llm_tokenizer *tokenizer, size_t size)
{
    static const char *const patterns[] = {
        "a", " ", "\n", "ab", "aab", "=", "0", "\xC3\xA9", "\xE4\xB8\xAD\xE6\x96\x87", "\xFF"};
    char *text = malloc(size);

    if (!text)
        exit(1);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        size_t length = strlen(patterns[i]);
        char name[32] = "";

        for (size_t j = 0; j < size; j++)
            text[j] = patterns[i][j % length];
        for (size_t j = 0; j < length; j++)
            (void)snprintf(name + 2 * j, sizeof name - 2 * j, "%02x",
                           (unsigned char)patterns[i][j]);
        measure(tokenizer, name, text, size, 1);
    }
    free(text);
}

static void bench_train(llm_context *context, int32_t vocab_size, char **paths, int count)
{
    llm_tokenizer_train_options options;
    uint64_t bytes = 0;

    check(llm_tokenizer_train_options_init(&options, sizeof options));
    options.vocab_size = vocab_size;
    for (int i = 0; i < count; i++) {
        struct file_map map;

        check(file_map_open(&map, paths[i]));
        bytes += map.size;
        file_map_close(&map);
    }
    for (int i = 0; i < 3; i++) {
        llm_tokenizer *tokenizer = NULL;
        double start = now(CLOCK_MONOTONIC);

        check(llm_tokenizer_train_files(&tokenizer, context, (const char *const *)paths,
                                        (size_t)count, &options));
        report("train", paths[0], (size_t)bytes, (size_t)llm_tokenizer_vocab_size(tokenizer),
               now(CLOCK_MONOTONIC) - start);
        llm_tokenizer_free(tokenizer);
    }
}

int main(int argc, char **argv)
{
    llm_context_options options;
    llm_context *context = NULL;
    llm_tokenizer *tokenizer = NULL;

    if (argc < 4) {
        (void)fprintf(stderr, "usage: see the head of the source\n");
        return 2;
    }
    check(llm_context_options_init(&options, sizeof options));
    options.threads = strcmp(argv[1], "train") == 0 ? atoi(argv[3]) : 1;
    check(llm_context_new(&context, &options));
    if (strcmp(argv[1], "train") == 0) {
        bench_train(context, atoi(argv[2]), argv + 4, argc - 4);
    } else {
        double start = now(CLOCK_MONOTONIC);

        check(llm_tokenizer_load(&tokenizer, context, argv[2]));
        report("load", argv[2], 0, (size_t)llm_tokenizer_vocab_size(tokenizer),
               now(CLOCK_MONOTONIC) - start);
        if (strcmp(argv[1], "worst") == 0)
            bench_worst(tokenizer, (size_t)atoi(argv[3]) * 1000000);
        else
            bench_files(context, tokenizer, argv + 3, argc - 3);
    }
    llm_tokenizer_free(tokenizer);
    llm_context_free(context);
    return 0;
}
