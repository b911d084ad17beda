/* SPDX-License-Identifier: MIT
 *
 * A random model, a tokenizer of bytes and a prompt for the tests of generation, with the calls
 * they all make. Everything asserts with cmocka.
 */
#ifndef TESTS_GENERATION_FIXTURE_H
#define TESTS_GENERATION_FIXTURE_H

#include "session_models.h"

enum { V = RANDOM_VOCABULARY };

extern llm_context *context;
extern llm_model *model;
extern llm_tokenizer *tokenizer;
extern int32_t text[RANDOM_CONTEXT];

int fixture_setup(void **state);
int fixture_teardown(void **state);

llm_session *open_session(llm_model *of, llm_tokenizer *with);
llm_generate_options options_of(int64_t tokens);
/* The ids that a session of its own generates. */
void alone(int32_t *ids, const int32_t *prompt, size_t count, const llm_generate_options *options);
void assert_generated(llm_session *session, const int32_t *ids, size_t count);

#endif
