/* SPDX-License-Identifier: MIT
 *
 * From a row of logits to a token: the stages of filters.h in the order that llm/session.h
 * promises. Called by generate.c for each token.
 */
#ifndef GENERATE_SAMPLER_H
#define GENERATE_SAMPLER_H

#include "base/context.h"
#include "generate/filters.h"
#include "generate/mirostat.h"
#include "llm/session.h"
#include "tokenizer/tokenizer.h"

struct sampler {
    llm_context *context;
    int64_t vocabulary;
    float *logits;  /* the caller's, changed */
    int32_t *marks; /* zeros */
    struct candidates candidates;
    llm_candidate *shown; /* [V] to the caller's stage; made when there is one */
    int32_t *repeats;     /* scratch of DRY */
    size_t repeat_capacity;
    struct mirostat mirostat;
};

llm_status sampler_init(struct sampler *sampler, llm_context *context, int64_t vocabulary);
void sampler_free(struct sampler *sampler); /* zeroed sampler allowed */

/* Checks numbers, ids and stages; session.h says what is allowed (sampling_check.c). */
llm_status sampler_check(const llm_generate_options *options, int64_t vocabulary);
const int32_t *sampler_order(int32_t order, size_t *count_out); /* NULL: there is none */

/* What penalties and the draw look at. */
struct sampler_text {
    const int32_t *ids;
    size_t length;                  /* of the text so far: the position of the token to be drawn */
    size_t appended;                /* ids from here on were generated */
    const llm_tokenizer *tokenizer; /* NULL: no DRY breakers */
    const uint32_t *allowed;        /* a bit for each id that a grammar allows; NULL: all */
};

/* `options` was checked. LLM_E_NUMERIC when NaN or +inf turns up or every token is at -inf,
 * LLM_E_CANCELLED by the caller's stage. */
llm_status sampler_pick(int32_t *id_out, struct sampler *sampler, const float *logits,
                        const struct sampler_text *text, const llm_generate_options *options);

/* Its two halves: checked and penalized logits in sampler->logits; then the candidates to draw
 * from. `chance` in [0, 1) decides whether XTC acts. */
llm_status sampler_penalize(struct sampler *sampler, const float *logits,
                            const struct sampler_text *text, const llm_generate_options *options);
llm_status sampler_narrow(struct sampler *sampler, const struct sampler_text *text,
                          const llm_generate_options *options, double chance);

/* The `count` largest logits as log-probabilities, best first; among equals the lowest id. */
void sampler_top(llm_token_choice *top, size_t count, const float *logits, int64_t vocabulary,
                 float log_sum_exp);

#endif
