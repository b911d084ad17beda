/* SPDX-License-Identifier: MIT
 *
 * The model of a SentencePiece vocabulary: its text rules and one of two ways to find pieces, the
 * unigram model (unigram.h) or merging by score. Made from flat arrays (vocabulary_arrays.h), hence
 * from .model files, GGUF vocabularies and tokenizer.bin.
 *
 * Merging by score joins the neighbours whose joint piece has the highest score, the leftmost of
 * equals. That is byte-pair encoding with one merge for each piece, and is left to bpe.h, but for
 * odd pieces: unused ones, those whose score others have too (long runs of spaces in Llama's),
 * those that better scores do not lead to. The words around them are merged by score as it stands
 * (scored.c).
 */
#ifndef TOKENIZER_SENTENCEPIECE_H
#define TOKENIZER_SENTENCEPIECE_H

#include "tokenizer/bpe.h"
#include "tokenizer/sentencepiece_normalizer.h"
#include "tokenizer/unigram.h"
#include "tokenizer/vocabulary_arrays.h"

struct sentencepiece {
    struct memory *memory;
    struct sentencepiece_rules rules;
    size_t count;            /* pieces; added tokens may have higher ids */
    float *scores;           /* by id */
    uint8_t *types;          /* by id, PIECE_* */
    struct unigram *unigram; /* NULL: merging by score */
    struct bpe *bpe;         /* NULL: scored.c for everything */
    struct double_array
        odd;             /* pieces that bpe.h does not do; the words around them are for scored.c */
    bool odd_first[256]; /* first bytes of those */
    bool byte_fallback;
    int32_t bytes[256];
    int32_t unknown;
};

/* Fill the vocabulary of `tokenizer` and make the model. arrays->model is "llama" or "t5". */
llm_status sentencepiece_build(struct sentencepiece **out, llm_tokenizer *tokenizer,
                               const struct vocabulary_arrays *arrays);
void sentencepiece_free(struct sentencepiece *model); /* NULL allowed */
/* The same, and everything around it. */
llm_status sentencepiece_make(llm_tokenizer *tokenizer, const struct vocabulary_arrays *arrays);

/* "post_processor" that puts a begin and an end token (-1: none) around each text. */
void template_write(const struct vocab *vocab, int32_t before, int32_t after, struct text *out);

/* Encode text that is normalized already. */
llm_status sentencepiece_encode(const llm_tokenizer *tokenizer, struct scratch *scratch,
                                const char *text, size_t size, struct piece_sink *sink);

/* Merge the characters of text without user-defined pieces by score. */
llm_status scored_encode(const struct sentencepiece *model, const struct vocab *vocab,
                         struct scratch *scratch, const unsigned char *text, size_t size,
                         size_t base, struct piece_sink *sink);

/* What text that no piece covers becomes: bytes, or the unknown token. `behind_unknown`: the last
 * token put was that one already, and stands for this text too. */
llm_status sentencepiece_put_unknown(const struct sentencepiece *model, const unsigned char *text,
                                     size_t begin, size_t end, size_t base, bool *behind_unknown,
                                     struct piece_sink *sink);

/* The readers of files. `arena` holds what the arrays point at besides the bytes of the file. */
llm_status sentencepiece_read(struct vocabulary_arrays *out, struct arena *arena, const char *data,
                              size_t size);
llm_status tokenizer_bin_read(struct vocabulary_arrays *out, struct arena *arena, const char *data,
                              size_t size);

/* What tokenizer_config.json beside a model changes in them: whether begin and end tokens are
 * added, and "legacy". A missing file is fine. */
llm_status sentencepiece_read_config(struct vocabulary_arrays *arrays, struct arena *arena,
                                     const char *path);

#endif
