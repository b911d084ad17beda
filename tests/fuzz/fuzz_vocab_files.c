/* SPDX-License-Identifier: MIT
 *
 * Any bytes as vocab.txt, as tiktoken ranks, and as GPT-2's pair of files: the first byte tells
 * which, and a NUL stands between the two files of a pair. What loads also encodes and decodes.
 */
#include "fuzz.h"

#include <llm.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static llm_context *context;
static char folder[64];

static void remove_folder(void)
{
    (void)rmdir(folder);
}

static void start(void)
{
    llm_context_options options;

    if (llm_context_options_init(&options, sizeof options))
        abort();
    options.memory_limit = (uint64_t)256 << 20;
    options.threads = 1;
    (void)snprintf(folder, sizeof folder, "/tmp/fuzz_vocab_files_XXXXXX");
    if (llm_context_new(&context, &options) || !mkdtemp(folder) || atexit(remove_folder))
        abort();
}

static void write_file(const char *name, const uint8_t *data, size_t size)
{
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file))
        abort();
}

static void remove_file(const char *name)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    (void)unlink(path);
}

static void use(const char *name)
{
    static const char sample[] = "a b  c\nab \xC3\xA9\xFF 123 don't";
    llm_tokenizer_load_options options;
    llm_tokenizer *tokenizer;
    int32_t ids[256];
    char path[128];
    char text[65536];
    size_t count;
    size_t size;

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    if (llm_tokenizer_load_options_init(&options, sizeof options))
        abort();
    options.split = LLM_SPLIT_GPT2;
    if (llm_tokenizer_load_with(&tokenizer, context, path, &options))
        return;
    if (llm_tokenizer_encode(ids, 256, &count, tokenizer, sample, sizeof sample - 1, NULL) ==
        LLM_OK)
        (void)llm_tokenizer_decode(text, sizeof text, &size, tokenizer, ids, count, NULL);
    llm_tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *split;

    if (size == 0)
        return 0;
    if (!context)
        start();
    if (data[0] % 3 == 0) {
        write_file("vocab.txt", data + 1, size - 1);
        use("vocab.txt");
        remove_file("vocab.txt");
    } else if (data[0] % 3 == 1) {
        write_file("ranks.tiktoken", data + 1, size - 1);
        use("ranks.tiktoken");
        remove_file("ranks.tiktoken");
    } else {
        split = memchr(data + 1, 0, size - 1);
        if (!split)
            return 0;
        write_file("vocab.json", data + 1, (size_t)(split - data) - 1);
        write_file("merges.txt", split + 1, (size_t)(data + size - split) - 1);
        use("vocab.json");
        remove_file("vocab.json");
        remove_file("merges.txt");
    }
    return 0;
}
