/* SPDX-License-Identifier: MIT
 *
 * Small models for the session tests: one with random weights, and one that recites a script.
 */
#ifndef TESTS_SESSION_MODELS_H
#define TESTS_SESSION_MODELS_H

#include <llm.h>

enum {
    RANDOM_VOCABULARY = 300,
    RANDOM_CONTEXT = 160,
    SCRIPT_VOCABULARY = 300,
    SCRIPT_CONTEXT = 96
};

/* 3 layers, 4 heads, weights large enough that logits differ by several units. */
llm_status random_model(llm_model **out, llm_context *context, uint64_t seed);

/* The same vocabulary and context, one narrow layer: for scenarios that run hundreds of times. */
llm_status narrow_model(llm_model **out, llm_context *context);

/* A model whose most probable token after position p is script[p] (0 beyond `count`), whatever the
 * tokens are: its blocks add nothing, and the position embedding of p is the embedding of
 * script[p], enlarged. Asserts with cmocka. End token: `eos`, or none if negative. */
llm_model *script_model(llm_context *context, const int32_t *script, size_t count, int32_t eos);

/* Bytes 0 .. 255 and the special token "<end>", 256. */
llm_tokenizer *byte_tokenizer(llm_context *context);

#endif
