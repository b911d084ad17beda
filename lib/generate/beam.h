/* SPDX-License-Identifier: MIT
 *
 * Beam search without a model: given the log-probabilities of the next token after each beam, which
 * texts go on and which are finished. Scores, length penalty and the rules for stopping are those
 * of transformers' generate(num_beams=...), so that equal log-probabilities give equal ids. The
 * caller runs the model and moves its caches as `parents` says. Used by generate/beam_session.c for
 * decoders and by sequence-to-sequence generation.
 *
 *     beam_open(&beam, memory, &options);
 *     do {
 *         rows of logits after each of beam.beams texts (the first time all rows may be the same)
 *         beam_step(&beam, logits);
 *         cache of beam b = cache of beam beam.parents[b]; its next token is beam.ids[b]
 *     } while (!beam.is_done);
 *     beam_result(&beam, 0, ids, &count, &score);
 *     beam_close(&beam);
 */
#ifndef GENERATE_BEAM_H
#define GENERATE_BEAM_H

#include "base/memory.h"
#include "kernels/kernels.h"

#include <stdbool.h>

enum { BEAM_MOST = 256, BEAM_END_IDS = 16 };

/* When to stop before the longest text is reached. */
enum beam_stopping {
    BEAM_STOP_HEURISTIC, /* early_stopping=False: no running text is likely to beat the finished */
    BEAM_STOP_EARLY,     /* True: as many texts as beams are finished */
    BEAM_STOP_NEVER      /* "never": no running text can beat the finished ones */
};

struct beam_options {
    int32_t beams;          /* 1 .. BEAM_MOST */
    int32_t stopping;       /* enum beam_stopping */
    int64_t vocabulary;     /* > 0 */
    int64_t max_tokens;     /* of a text, the end token included; > 0 */
    double length_penalty;  /* a text's score is the sum of its log-probabilities / length ^ this */
    const int32_t *end_ids; /* tokens that end a text */
    size_t end_count;       /* at most BEAM_END_IDS */
    const struct kernels *kernels;
};

struct beam_text {
    float score;
    int32_t node; /* last token; -1: none */
    bool is_finished;
};

struct beam_candidate {
    float score;
    int32_t beam, id;
};

struct beam_node {
    int32_t parent; /* -1: the text begins here */
    int32_t id;
};

struct beam_search {
    struct memory *memory;
    struct beam_options options;
    int32_t end_ids[BEAM_END_IDS];
    int32_t beams;
    int64_t length; /* tokens of each running text */
    bool is_done;
    bool can_improve;

    float *scores;    /* [beams] of the running texts */
    int32_t *ids;     /* [beams] their last tokens */
    int32_t *parents; /* [beams] which text of the step before each goes on from */
    int32_t *nodes;   /* [beams] */
    struct beam_text *finished, *merged; /* [beams], [beams + kept]; best first */
    struct beam_candidate *best;         /* [kept]: the continuations looked at */
    size_t kept;
    struct beam_node *tree; /* all texts, by their last tokens */
    size_t tree_count, tree_capacity;
};

/* Checks the options. After a failure nothing is open. */
llm_status beam_open(struct beam_search *beam, struct memory *memory,
                     const struct beam_options *options);
void beam_close(struct beam_search *beam); /* zeroed beam allowed */

/* One token for every running text. `logits` [beams, V]: before the first step the texts are equal
 * and row 0 alone counts. LLM_E_NUMERIC: no finite number among them; nothing changed. */
llm_status beam_step(struct beam_search *beam, const float *logits);

/* Finished text `index`, best first: its tokens, the end token included, and its score. `ids` has
 * room for max_tokens, or is NULL. False: there is no such text. */
bool beam_result(const struct beam_search *beam, int32_t index, int32_t *ids, int64_t *count_out,
                 float *score_out);

#endif
