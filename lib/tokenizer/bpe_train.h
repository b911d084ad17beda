/* SPDX-License-Identifier: MIT
 *
 * Learning merges (Sennrich et al. 2016, on bytes, or on
 * characters for WordPiece): again and again the most frequent pair of
 * neighbours becomes a token. Among equals the pair with the smaller ids wins, as in Hugging Face
 * tokenizers.
 */
#ifndef TOKENIZER_BPE_TRAIN_H
#define TOKENIZER_BPE_TRAIN_H

#include "tokenizer/bpe.h"
#include "tokenizer/word_count.h"

struct bpe_training {
    int64_t min_frequency;
    size_t vocab_size;
    /* NULL: words are bytes. Else they are characters, and tokens that do not start a word have
     * this in front; all single characters are in the vocabulary, with and without it. */
    const char *prefix;
    llm_tokenizer_progress_fn progress; /* may be NULL */
    void *progress_user;
};

/* `vocab` holds the special tokens and the 256 bytes or the characters; learned tokens are put
 * behind them, and the merges into *rules (memory_release it). */
llm_status bpe_train(struct bpe_rule **rules, size_t *rule_count, struct vocab *vocab,
                     const struct word_table *words, const struct bpe_training *training);

#endif
