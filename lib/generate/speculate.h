/* SPDX-License-Identifier: MIT
 *
 * Speculation: several next tokens are guessed, by a small model (Leviathan et al., "Fast inference
 * from transformers via speculative decoding", 2023) or by looking up what followed the same words
 * earlier in the text (Saxena, "Prompt lookup decoding", 2023), and one run of the model gives the
 * logits after all of them. Each token is then chosen from its logits as ever; as long as the
 * choice is what was guessed, the next logits are there already. So the result is that of
 * generating without guesses, whatever the sampling. Called by generate.c.
 */
#ifndef GENERATE_SPECULATE_H
#define GENERATE_SPECULATE_H

#include "base/context.h"
#include "llm/session.h"

enum { GUESSES_MOST = 64 };

/* The cache holds the text of `begin` tokens and the guesses; row i of `rows` are the logits after
 * guess i - 1. */
struct ahead {
    float *rows;
    size_t row_capacity;
    int32_t ids[GUESSES_MOST];
    size_t begin;
    size_t count; /* of guesses */
    bool is_set;
};

llm_status speculate_check(const llm_session *session, const llm_generate_options *options);
/* Guesses, and runs the model over the text and them; session->logits are then those after the
 * text. Does nothing when there is nothing to guess. */
llm_status speculate(llm_session *session, const llm_generate_options *options);
/* Logits after the text, if they are there. */
bool speculate_use(llm_session *session);
/* The cache forgets what was guessed wrong or not needed. */
void speculate_end(llm_session *session);

#endif
