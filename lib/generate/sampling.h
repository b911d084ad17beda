/* SPDX-License-Identifier: MIT
 *
 * From a row of logits to a token: the stages of filters.h in the order that llm/session.h
 * promises. Called by generate.c for each token.
 */
#ifndef GENERATE_SAMPLER_H
#define GENERATE_SAMPLER_H

#include "base/context.h"
#include "generate/filters.h"
#include "llm/session.h"

struct sampler {
    llm_context *context;
    int64_t vocabulary;
    float *logits;  /* the caller's, changed */
    int32_t *marks; /* zeros */
    struct candidates candidates;
};

llm_status sampler_init(struct sampler *sampler, llm_context *context, int64_t vocabulary);
void sampler_free(struct sampler *sampler); /* zeroed sampler allowed */

/* Checks numbers and ids; session.h says what is allowed. */
llm_status sampler_check(const llm_generate_options *options, int64_t vocabulary);

/* What penalties and the draw look at. */
struct sampler_text {
    const int32_t *ids;
    size_t length;   /* of the text so far: the position of the token to be drawn */
    size_t appended; /* ids from here on were generated */
};

/* `options` was checked. LLM_E_NUMERIC when NaN or +inf turns up or every token is at -inf. */
llm_status sampler_pick(int32_t *id_out, struct sampler *sampler, const float *logits,
                        const struct sampler_text *text, const llm_generate_options *options);

/* Its two halves: checked and penalized logits in sampler->logits; then the candidates to draw
 * from. */
llm_status sampler_penalize(struct sampler *sampler, const float *logits,
                            const struct sampler_text *text, const llm_generate_options *options);
void sampler_narrow(struct sampler *sampler, const llm_generate_options *options);

/* The `count` largest logits as log-probabilities, best first; among equals the lowest id. */
void sampler_top(llm_token_choice *top, size_t count, const float *logits, int64_t vocabulary,
                 float log_sum_exp);

#endif
