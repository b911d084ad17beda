/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a tokenizer.json: what loads also encodes, decodes, and comes back from its own
 * text.
 */
#include "fuzz.h"

#include <llm.h>

#include <stdlib.h>
#include <string.h>

static const char sample[] = "a b  c\n<s>ab \xC3\xA9\xFF 123 don't";

/* A pair in pieces: all values are there, and offsets lie in the texts. */
static void use_encoding(const llm_tokenizer *tokenizer)
{
    static const char pair[] = "d \xCC\x81 e";
    llm_encoding_options options;
    llm_encoding *encoding;

    if (llm_encoding_options_init(&options, sizeof options))
        abort();
    options.max_tokens = 9;
    options.stride = 1;
    options.parse_special = 1;
    if (llm_encoding_new(&encoding, tokenizer, sample, sizeof sample - 1, pair, sizeof pair - 1,
                         &options))
        return;
    for (size_t piece = 0; piece < llm_encoding_pieces(encoding); piece++) {
        size_t count;
        const int32_t *ids = llm_encoding_values(encoding, piece, LLM_ENCODING_IDS, &count);
        const int32_t *of = llm_encoding_values(encoding, piece, LLM_ENCODING_SEQUENCES, NULL);
        const size_t *begins = llm_encoding_offsets(encoding, piece, LLM_OFFSETS_BYTE_BEGIN, NULL);
        const size_t *ends = llm_encoding_offsets(encoding, piece, LLM_OFFSETS_BYTE_END, NULL);

        for (size_t i = 0; i < count; i++) {
            if (ids[i] < 0 || ids[i] >= llm_tokenizer_vocab_size(tokenizer) ||
                ends[i] > (of[i] == 1 ? sizeof pair : sizeof sample) || begins[i] > ends[i] + 64)
                abort();
        }
    }
    llm_encoding_free(encoding);
}

static void use(const llm_tokenizer *tokenizer)
{
    size_t most = llm_tokenizer_max_tokens(tokenizer, sizeof sample - 1);
    size_t capacity = most < 65536 ? most : 65536; /* stages may make text grow without end */
    int32_t *ids = malloc((capacity + 1) * sizeof *ids);
    char text[4096];
    size_t count;
    size_t size;

    if (!ids)
        abort();
    if (llm_tokenizer_encode(ids, capacity, &count, tokenizer, sample, sizeof sample - 1, NULL) ==
        LLM_OK) {
        if (count > capacity)
            abort();
        (void)llm_tokenizer_decode(text, sizeof text, &size, tokenizer, ids, count, NULL);
    }
    free(ids);
    use_encoding(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static llm_context *context;
    llm_context_options options;
    llm_tokenizer *tokenizer;
    llm_tokenizer *again;
    char *json;
    size_t length;

    if (!context) {
        if (llm_context_options_init(&options, sizeof options))
            abort();
        options.memory_limit = (uint64_t)256 << 20;
        options.threads = 1;
        if (llm_context_new(&context, &options))
            abort();
    }
    if (llm_tokenizer_load_memory(&tokenizer, context, (const char *)data, size))
        return 0;
    use(tokenizer);
    if (llm_tokenizer_save_memory(NULL, 0, &length, tokenizer) == LLM_E_BUFFER) {
        json = malloc(length);
        if (!json || llm_tokenizer_save_memory(json, length, &length, tokenizer))
            abort();
        if (llm_tokenizer_load_memory(&again, context, json, length))
            abort();
        llm_tokenizer_free(again);
        free(json);
    }
    llm_tokenizer_free(tokenizer);
    return 0;
}
