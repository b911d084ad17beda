/* SPDX-License-Identifier: MIT
 *
 * The unigram language model (Kudo 2018): of all ways to cut a text into pieces the one with the
 * highest sum of scores, found by Viterbi's algorithm over a trie of the pieces. A character that
 * no piece of one character covers is unknown and costs 10 more than the worst piece.
 *
 * The two implementations in use differ where sums tie or nearly tie. Hugging Face tokenizers adds
 * in double precision, one pre-token at a time; SentencePiece rounds every sum to float and goes on
 * adding from the start of the text. `single` chooses the second; both keep the first best.
 */
#ifndef TOKENIZER_UNIGRAM_H
#define TOKENIZER_UNIGRAM_H

#include "tokenizer/double_array.h"
#include "tokenizer/piece_sink.h"
#include "tokenizer/pipeline.h"

struct unigram {
    struct memory *memory;
    struct double_array trie; /* piece to id */
    double *scores;           /* by id, what a piece adds to a path */
    double *written;          /* the same as a tokenizer.json has them; NULL: it was not one */
    double unknown_score;
    size_t longest;  /* bytes of the longest piece, at least those of a character */
    int32_t unknown; /* id; -1: none, and an unknown character is an error */
    bool single;     /* sums as SentencePiece makes them */
    bool fuse;       /* neighbouring unknown characters are one token */
    bool byte_fallback;
    int32_t bytes[256]; /* byte fallback: the ids of <0x00> ..; -1: none */
};

struct unigram_piece {
    const char *bytes;
    size_t size;
    double score;
    int32_t id;
};

/* `pieces` are those that can be found in text; of equal ones the highest id counts. The caller
 * sets the other fields. */
llm_status unigram_build(struct unigram **out, struct memory *memory,
                         const struct unigram_piece *pieces, size_t count, size_t vocab_size);
void unigram_free(struct unigram *unigram);

/* Put the ids of one pre-token, or of a whole text (`single`). */
llm_status unigram_encode(const struct unigram *unigram, struct scratch *scratch,
                          const unsigned char *text, size_t size, struct piece_sink *sink);
/* The same for a pre-token, through a cache of short ones (not `single`, whose sums go on). */
llm_status unigram_encode_cached(const struct unigram *unigram, struct scratch *scratch,
                                 const unsigned char *word, size_t size, struct piece_sink *sink);

/* The object "model" of a tokenizer.json; scores from `scores` unless NULL. */
void unigram_write(const struct unigram *unigram, const struct vocab *vocab, const float *scores,
                   struct text *out);

#endif
