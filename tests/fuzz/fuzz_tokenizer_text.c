/* SPDX-License-Identifier: MIT
 *
 * Any bytes as text: trained on (the first byte picks the split rule), encoded, and decoded to the
 * same bytes, whole and as a stream.
 */
#include "fuzz.h"

#include <llm.h>

#include <stdlib.h>
#include <string.h>

static llm_context *context;

static void make_context(void)
{
    llm_context_options options;

    if (llm_context_options_init(&options, sizeof options))
        abort();
    options.threads = 1;
    if (llm_context_new(&context, &options))
        abort();
}

static void check_stream(llm_tokenizer *tokenizer, const int32_t *ids, size_t count)
{
    llm_decoder *decoder;
    const char *text;
    size_t size;

    if (llm_decoder_new(&decoder, tokenizer, NULL))
        abort();
    for (size_t i = 0; i < count; i++) {
        if (llm_decoder_push(decoder, ids[i], &text, &size) || strlen(text) > size)
            abort();
    }
    if (llm_decoder_finish(decoder, &text, &size) || size > 3)
        abort();
    llm_decoder_free(decoder);
}

static void check_text(llm_tokenizer *tokenizer, const char *text, size_t size)
{
    size_t capacity = llm_tokenizer_max_tokens(tokenizer, size);
    int32_t *ids = malloc((capacity + 1) * sizeof *ids);
    char *back = malloc(size + 1);
    size_t count;
    size_t length;

    if (!ids || !back || llm_tokenizer_encode(ids, capacity, &count, tokenizer, text, size, NULL) ||
        llm_tokenizer_decode(back, size, &length, tokenizer, ids, count, NULL) || length != size ||
        memcmp(back, text, size) != 0)
        abort();
    check_stream(tokenizer, ids, count);
    free(ids);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    llm_tokenizer_train_options options;
    llm_tokenizer *tokenizer;
    const char *text = (const char *)data + 1;
    size_t length = size - 1;

    if (!context)
        make_context();
    if (size == 0 || size > 1 << 16 || llm_tokenizer_train_options_init(&options, sizeof options))
        return 0;
    options.split = data[0] % 5;
    options.vocab_size = 256 + data[0];
    options.min_frequency = data[0] % 3;
    if (llm_tokenizer_train(&tokenizer, context, &text, &length, 1, &options))
        abort();
    check_text(tokenizer, text, length);
    llm_tokenizer_free(tokenizer);
    return 0;
}
