/* SPDX-License-Identifier: MIT
 *
 * What the tokenizer tests share: a context and the folder of fixtures.
 */
#ifndef TESTS_TOKENIZER_FIXTURES_H
#define TESTS_TOKENIZER_FIXTURES_H

#include "llm.h"
#include "tokenizer/pipeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* FIXTURES is set by the build to tests/golden/tokenizers. */

static inline llm_context *make_context(int32_t threads)
{
    llm_context_options options;
    llm_context *context = NULL;

    assert_int_equal(llm_context_options_init(&options, sizeof options), LLM_OK);
    options.threads = threads;
    assert_int_equal(llm_context_new(&context, &options), LLM_OK);
    return context;
}

static inline llm_tokenizer *load_fixture(llm_context *context, const char *name)
{
    llm_tokenizer *tokenizer = NULL;
    char path[1024];

    (void)snprintf(path, sizeof path, "%s/%s.json", FIXTURES, name);
    if (llm_tokenizer_load(&tokenizer, context, path))
        fail_msg("%s", llm_last_error());
    return tokenizer;
}

/* A small generator, so that failures repeat. */
static inline uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

#endif
