/* SPDX-License-Identifier: MIT
 *
 * What the targets for grammars share: the grammar is compiled within a memory limit; if it is
 * taken, it judges its own source and generates a few tokens by its masks. Every token that a mask
 * allows must be one that the grammar follows.
 */
#ifndef TESTS_FUZZ_GRAMMAR_H
#define TESTS_FUZZ_GRAMMAR_H

#include "fuzz.h"

#include <llm.h>

#include <stdlib.h>

enum { FUZZ_TOKENS = 12, FUZZ_WORDS = 8 };

static llm_tokenizer *fuzz_tokenizer(void)
{
    static llm_context *context;
    static llm_tokenizer *tokenizer;
    llm_context_options options;
    llm_tokenizer_train_options train;

    if (tokenizer)
        return tokenizer;
    if (llm_context_options_init(&options, sizeof options))
        abort();
    options.memory_limit = (uint64_t)128 << 20;
    options.threads = 1;
    if (llm_context_new(&context, &options) ||
        llm_tokenizer_train_options_init(&train, sizeof train))
        abort();
    train.kind = LLM_TOKENIZER_BYTES;
    if (llm_tokenizer_train(&tokenizer, context, NULL, NULL, 0, &train))
        abort();
    return tokenizer;
}

static void fuzz_walk(llm_grammar *grammar)
{
    int32_t ids[FUZZ_TOKENS];
    char text[FUZZ_TOKENS];
    uint32_t mask[FUZZ_WORDS];
    int32_t match;

    for (size_t n = 0; n < FUZZ_TOKENS; n++) {
        unsigned start = (unsigned)n * 37 % 256;
        int found = -1;

        if (llm_grammar_mask(mask, FUZZ_WORDS, NULL, grammar, ids, n))
            return;
        for (unsigned i = 0; i < 256 && found < 0; i++) {
            unsigned id = (start + i) % 256;

            if (mask[id / 32] >> id % 32 & 1)
                found = (int)id;
        }
        if (llm_grammar_match(&match, grammar, text, n))
            return;
        if (match == LLM_MATCH_NONE || (found < 0 && match != LLM_MATCH_COMPLETE))
            abort(); /* bytes can always go on: nothing that was allowed leads nowhere */
        if (found < 0)
            return;
        ids[n] = found;
        text[n] = (char)found;
    }
}

static void fuzz_grammar(llm_status (*make)(llm_grammar **, llm_tokenizer *, const char *, size_t),
                         const uint8_t *data, size_t size)
{
    llm_grammar *grammar = NULL;
    int32_t match;

    if (size > 4096 || make(&grammar, fuzz_tokenizer(), (const char *)data, size))
        return;
    (void)llm_grammar_match(&match, grammar, (const char *)data, size);
    fuzz_walk(grammar);
    llm_grammar_free(grammar);
}

#endif
