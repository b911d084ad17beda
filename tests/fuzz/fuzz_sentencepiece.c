/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a SentencePiece model and as llama2.c's tokenizer.bin: what loads also encodes,
 * decodes, and is saved as a tokenizer.json.
 */
#include "fuzz.h"

#include "tokenizer/sentencepiece.h"

#include <llm.h>

#include <stdlib.h>

static const char sample[] = " a b  c\n<s>ab \xC3\xA9\xFF 123 don't \xEF\xAC\x81 \xE2\x96\x81the";

static void use(llm_context *context, const struct vocabulary_arrays *arrays)
{
    llm_tokenizer *tokenizer = NULL;
    size_t capacity;
    int32_t *ids;
    size_t *places;
    char text[4096];
    size_t count;
    size_t size;

    if (tokenizer_from_arrays(&tokenizer, context, arrays))
        return;
    capacity = llm_tokenizer_max_tokens(tokenizer, sizeof sample - 1);
    if (capacity > 1 << 20)
        abort();
    ids = malloc((capacity + 1) * sizeof *ids);
    places = malloc(2 * (capacity + 1) * sizeof *places);
    if (!ids || !places)
        abort();
    if (llm_tokenizer_encode(ids, capacity, &count, tokenizer, sample, sizeof sample - 1, NULL) ==
        LLM_OK) {
        if (count > capacity)
            abort();
        (void)llm_tokenizer_decode(text, sizeof text, &size, tokenizer, ids, count, NULL);
        (void)llm_tokenizer_encode_offsets(ids, places, places + capacity, capacity, &count,
                                           tokenizer, sample, sizeof sample - 1, NULL);
        for (size_t i = 0; i < count && i < capacity; i++) {
            if (places[i] > places[capacity + i] || places[capacity + i] > sizeof sample - 1)
                abort();
        }
    }
    (void)llm_tokenizer_save_memory(NULL, 0, &size, tokenizer);
    free(ids);
    free(places);
    llm_tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static llm_context *context;
    struct vocabulary_arrays arrays;
    llm_context_options options;
    struct arena arena;

    if (!context) {
        if (llm_context_options_init(&options, sizeof options))
            abort();
        options.memory_limit = (uint64_t)256 << 20;
        options.threads = 1;
        if (llm_context_new(&context, &options))
            abort();
    }
    arena_init(&arena, &context->memory);
    if (sentencepiece_read(&arrays, &arena, (const char *)data, size) == LLM_OK)
        use(context, &arrays);
    if (tokenizer_bin_read(&arrays, &arena, (const char *)data, size) == LLM_OK)
        use(context, &arrays);
    arena_free(&arena);
    return 0;
}
