/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a token cache, with the checksums made right, as a forger would: what opens holds
 * ids of the vocabulary and documents that lie in it.
 */
#include "fuzz.h"

#include "base/context.h"
#include "base/crc32c.h"
#include "train/tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VOCABULARY = 300, TRAILER = 64, CRC_AT = 48, FINGERPRINT_AT = 32 };

/* The file's checksums, of everything before the trailer and of the trailer itself. */
static void sign(uint8_t *data, size_t size)
{
    uint8_t *trailer = data + size - TRAILER;
    uint32_t crc = crc32c(0, data, size - TRAILER);

    memcpy(trailer + CRC_AT, &crc, sizeof crc);
    crc = crc32c(0, trailer, CRC_AT + 4);
    memcpy(trailer + CRC_AT + 4, &crc, sizeof crc);
}

static void walk(const struct tokens *tokens)
{
    int64_t end = 0;
    int32_t id;

    for (int64_t i = 0; i < tokens->count; i++) {
        tokens_read(tokens, i, 1, &id);
        if (id < 0 || id >= VOCABULARY)
            abort();
    }
    for (int64_t i = 0; i < tokens->documents; i++) {
        if (tokens->ends[i] < end || tokens->ends[i] > tokens->count)
            abort();
        end = tokens->ends[i];
    }
}

static llm_status no_source(void *arg, size_t index, uint32_t *crc_out)
{
    (void)arg;
    (void)index;
    *crc_out = 0;
    return LLM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static llm_context *context;
    static FILE *file;
    struct tokens tokens;
    char reason[128];
    char path[32];
    uint64_t fingerprint = 0;
    uint8_t *copy = malloc(size + 1);

    if (!copy)
        return 0;
    if (!context) {
        file = tmpfile();
        if (!file || llm_context_new(&context, NULL))
            abort();
    }
    memcpy(copy, data, size);
    if (size >= TRAILER) {
        sign(copy, size);
        memcpy(&fingerprint, copy + size - TRAILER + FINGERPRINT_AT, sizeof fingerprint);
    }
    rewind(file);
    if (fwrite(copy, 1, size, file) != size || fflush(file) != 0 ||
        ftruncate(fileno(file), (off_t)size) != 0)
        abort();
    (void)snprintf(path, sizeof path, "/dev/fd/%d", fileno(file));
    if (token_cache_open(&tokens, &context->memory, path, NULL, 0, fingerprint, VOCABULARY,
                         no_source, NULL, reason) == LLM_OK &&
        tokens.ids) {
        walk(&tokens);
        tokens_free(&tokens);
    }
    free(copy);
    return 0;
}
