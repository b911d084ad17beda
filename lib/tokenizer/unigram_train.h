/* SPDX-License-Identifier: MIT
 *
 * Learning the pieces of a unigram model (Kudo 2018). Substrings that repeat are the first pieces;
 * then, again and again, expectation maximization gives them probabilities and those whose loss
 * hurts least are taken out, until the vocabulary is small enough. The parameters and the order
 * of steps are those of SentencePiece. The result does not depend on the number of threads.
 *
 *   unigram_seed.c   the first pieces, from sorted suffixes
 *   unigram_train.c  expectation maximization, pruning
 */
#ifndef TOKENIZER_UNIGRAM_TRAIN_H
#define TOKENIZER_UNIGRAM_TRAIN_H

#include "base/arena.h"
#include "tokenizer/tokenizer.h"

struct training_word {
    const unsigned char *text;
    uint32_t size;
    uint64_t count;
};

struct training_piece {
    const unsigned char *text; /* in a word */
    uint32_t size;
    uint32_t characters;
    double score; /* log of the probability */
};

struct piece_array {
    struct training_piece *list;
    size_t count;
    size_t capacity;
};

struct unigram_training {
    struct memory *memory;
    int threads;
    size_t vocab_size;                  /* pieces wanted; all characters are kept in any case */
    size_t seed_size;                   /* at most so many first pieces besides the characters */
    size_t longest_piece;               /* characters */
    double shrink;                      /* of the pieces stay each time */
    int sub_iterations;                 /* of expectation maximization between two cuts */
    llm_tokenizer_progress_fn progress; /* may be NULL */
    void *progress_user;
};

/* Pieces of `words`, which are valid UTF-8, differ and stand in a fixed order: all characters, then
 * repeated substrings, with probabilities by frequency times length. */
llm_status unigram_seed(struct piece_array *out, const struct unigram_training *training,
                        const struct training_word *words, size_t count);

/* The learned pieces, the most probable first; memory_release(out->list). */
llm_status unigram_train(struct piece_array *out, const struct unigram_training *training,
                         const struct training_word *words, size_t count);

#endif
