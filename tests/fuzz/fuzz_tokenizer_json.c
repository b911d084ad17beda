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

static void use(const llm_tokenizer *tokenizer)
{
    size_t capacity = llm_tokenizer_max_tokens(tokenizer, sizeof sample - 1);
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
