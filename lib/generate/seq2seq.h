/* SPDX-License-Identifier: MIT
 *
 * Texts from texts with an encoder-decoder: the source is read once, then the target is written
 * token by token, by the sampler or by beam search (beam.h).
 */
#ifndef GENERATE_SEQ2SEQ_H
#define GENERATE_SEQ2SEQ_H

#include "llm/session.h"
#include "models/head.h"

struct seq2seq_options {
    int64_t max_tokens;                   /* of the target, the end token included */
    int32_t beams;                        /* 1: the sampler */
    int32_t stopping;                     /* enum beam_stopping */
    double length_penalty;                /* of beams */
    const llm_generate_options *sampling; /* of the sampler */
};

/* `ids` receives the new tokens, at most `capacity`; *count says how many there are. */
llm_status seq2seq_generate(int32_t *ids, size_t capacity, size_t *count, llm_model *model,
                            const int32_t *source, size_t source_count,
                            const struct seq2seq_options *options);

#endif
