/* SPDX-License-Identifier: MIT */
#include "generation_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

llm_context *context;
llm_model *model;
llm_tokenizer *tokenizer;
int32_t text[RANDOM_CONTEXT];

int fixture_setup(void **state)
{
    (void)state;
    for (int i = 0; i < RANDOM_CONTEXT; i++)
        text[i] = (i * i * 7 + 3 * i + 11) % V;
    if (llm_context_new(&context, NULL) || random_model(&model, context, 1))
        return 1;
    tokenizer = byte_tokenizer(context);
    return 0;
}

int fixture_teardown(void **state)
{
    (void)state;
    llm_tokenizer_free(tokenizer);
    llm_model_free(model);
    llm_context_free(context);
    return 0;
}

llm_session *open_session(llm_model *of, llm_tokenizer *with)
{
    llm_session *session = NULL;

    assert_int_equal(llm_session_new(&session, of, with, NULL), LLM_OK);
    return session;
}

llm_generate_options options_of(int64_t tokens)
{
    llm_generate_options options;

    assert_int_equal(llm_generate_options_init(&options, sizeof options), LLM_OK);
    options.max_tokens = tokens;
    return options;
}

void alone(int32_t *ids, const int32_t *prompt, size_t count, const llm_generate_options *options)
{
    llm_session *session = open_session(model, NULL);
    size_t made;

    assert_int_equal(llm_session_append(session, prompt, count), LLM_OK);
    assert_int_equal(llm_session_generate(session, options), LLM_OK);
    memcpy(ids, llm_session_generated(session, &made), (size_t)options->max_tokens * sizeof *ids);
    assert_int_equal(made, options->max_tokens);
    llm_session_free(session);
}

void assert_generated(llm_session *session, const int32_t *ids, size_t count)
{
    size_t made = 0;
    const int32_t *generated = llm_session_generated(session, &made);

    assert_int_equal(made, count);
    assert_memory_equal(generated, ids, count * sizeof *ids);
}
