/* SPDX-License-Identifier: MIT
 *
 * Byte-pair encoding, of bytes or of characters. Inside, a token is a *symbol*: first the alphabet
 * (the 256 bytes, or the characters of the vocabulary), then one symbol for each merge that can
 * ever fire, in the order of the merges. A symbol's number is thus the rank of its merge, and "the
 * lowest rank first" is "the lowest symbol first".
 *
 * Two ways to encode a word, with the same result: merging pairs, lowest rank first, for short
 * words; and for long ones, in linear time, the longest token that may follow the last one, with
 * backtracking (the observation of Hendrik van Antwerpen's "bpe" crate: a token sequence is the
 * encoding of its text exactly when every adjacent pair is the encoding of its own).
 *
 * The second way needs merges in an order that training produces: no merge before the merges that
 * make its halves. Files that break this (`proper` false) are encoded by merging alone.
 */
#ifndef TOKENIZER_BPE_H
#define TOKENIZER_BPE_H

#include "tokenizer/double_array.h"
#include "tokenizer/piece_sink.h"
#include "tokenizer/pipeline.h"
#include "tokenizer/word_key.h"

enum {
    BPE_MAX_SYMBOLS = (1 << 21) - 1, /* three of them fit a 64-bit slot */
    BPE_SHORT_WORD = 32              /* up to this many bytes words are merged in place */
};

static const uint32_t bpe_none = UINT32_MAX;

/* A merge as files have it, in ids. */
struct bpe_rule {
    int32_t left;
    int32_t right;
    int32_t result;
};

struct bpe_symbol {
    uint32_t left; /* the alphabet: themselves */
    uint32_t right;
    uint32_t size;    /* bytes */
    uint32_t shorter; /* the longest symbol that is a proper prefix; bpe_none: none */
    int32_t id;       /* -1: a byte that no token stands for */
};

struct bpe {
    struct memory *memory;
    struct bpe_symbol *symbols;
    uint32_t alphabet; /* symbols below it are the alphabet */
    uint32_t symbol_count;
    size_t symbols_capacity;
    uint64_t *pairs; /* left 21 bits, right 21 bits, rank 21 bits; 0: free */
    size_t pair_slots;
    size_t pair_count;
    uint32_t *byte_pairs;    /* [256 * 256]: rank of two symbols below 256, or bpe_none */
    uint32_t *made;          /* not proper: rank to symbol; else NULL (rank = symbol) */
    struct trie trie;        /* proper: bytes to symbol */
    struct word_index whole; /* short words that are one token */
    struct bpe_rule *rules;  /* all merges, for writing */
    size_t rule_count;
    int32_t unknown; /* id for bytes that no token stands for; -1: they are an error */
    bool fuse_unknown;
    bool ignore_merges; /* a word that is a token is that token, whatever the merges say */
    bool proper;
    struct bpe_characters *characters; /* NULL: the alphabet is the bytes */
};

/* What an alphabet of characters needs besides. */
struct bpe_characters {
    struct double_array index; /* UTF-8 to symbol */
    char *prefix;              /* spelled in front of a character that does not begin its word */
    size_t prefix_size;
    char *suffix; /* spelled behind the last character of a word */
    size_t suffix_size;
    bool byte_fallback;
    int32_t bytes[256];        /* ids of <0x00> ..; -1: none */
    bool joined_to_space[256]; /* does some token have this byte right before U+2581? */
    bool cut_at_spaces;        /* false: U+2581 has no symbol, or words must stay whole */
};

/* Take `rules` (memory_alloc'd, owned from here even on failure) and make the symbols. The
 * vocabulary is complete but for added tokens. */
llm_status bpe_build(struct bpe **out, llm_tokenizer *tokenizer, struct bpe_rule *rules,
                     size_t rule_count);
/* The same with the characters among the vocabulary as alphabet, spelled with `prefix` and `suffix`
 * (NULL: none). The caller sets ->bytes and ->byte_fallback. */
llm_status bpe_build_characters(struct bpe **out, llm_tokenizer *tokenizer, struct bpe_rule *rules,
                                size_t rule_count, const char *prefix, const char *suffix);
void bpe_free(struct bpe *bpe);

/* Mark the tokens that a word of the same bytes becomes at once (VOCAB_WHOLE) and index the short
 * ones. After bpe_build, once ->unknown and ->ignore_merges are set. */
llm_status bpe_mark_whole(struct bpe *bpe, struct vocab *vocab);

static inline size_t bpe_pair_slot(uint64_t key, size_t mask)
{
    key *= UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(key >> 32 ^ key >> 44) & mask;
}

/* Rank of the merge of two symbols, or bpe_none. */
static inline uint32_t bpe_pair(const struct bpe *bpe, uint32_t left, uint32_t right)
{
    uint64_t key = (uint64_t)left << 21 | right;
    size_t mask = bpe->pair_slots - 1;
    size_t slot;

    if ((left | right) < 256)
        return bpe->byte_pairs[left << 8 | right];
    slot = bpe_pair_slot(key, mask);
    while (bpe->pairs[slot]) {
        if (bpe->pairs[slot] >> 21 == key)
            return (uint32_t)bpe->pairs[slot] & BPE_MAX_SYMBOLS;
        slot = (slot + 1) & mask;
    }
    return bpe_none;
}

/* Is [left, right] the encoding of its own text? For proper merges. */
bool bpe_may_follow(const struct bpe *bpe, uint32_t left, uint32_t right);

/* Append the ids of one word, without cache. */
llm_status bpe_encode_word(const struct bpe *bpe, struct scratch *scratch,
                           const unsigned char *word, size_t size, struct token_list *out);
/* The ways behind it, for tests: by merging with a heap, and by backtracking (proper only). */
llm_status bpe_encode_heap(const struct bpe *bpe, struct scratch *scratch,
                           const unsigned char *word, size_t size, struct token_list *out);
llm_status bpe_encode_backtrack(const struct bpe *bpe, struct scratch *scratch,
                                const unsigned char *word, size_t size, struct token_list *out);

/* Characters: a word of any length, with the place of each token. `vocab` may be NULL when nobody
 * asks for places. */
llm_status bpe_encode_characters(const struct bpe *bpe, const struct vocab *vocab,
                                 struct scratch *scratch, const unsigned char *word, size_t size,
                                 struct piece_sink *sink);
/* The same through the cache, the word cut where no token reaches across; without places. */
llm_status bpe_encode_text(const struct bpe *bpe, const struct vocab *vocab,
                           struct scratch *scratch, const unsigned char *text, size_t size,
                           struct token_list *out);

/* Characters: can no token reach across the place `at` of the text? */
static inline bool bpe_is_cut(const struct bpe *bpe, const unsigned char *text, size_t size,
                              size_t at)
{
    return bpe->characters->cut_at_spaces && size - at >= 3 && text[at] == 0xE2 &&
           text[at + 1] == 0x96 && text[at + 2] == 0x81 &&
           !bpe->characters->joined_to_space[text[at - 1]];
}

/* The halves of a merge of tokenizer.json: "left right" or ["left", "right"]. */
bool bpe_merge_halves(const json_t *merge, const char *halves[2], size_t sizes[2]);
/* The object "model" of a tokenizer.json for an alphabet of characters. */
void bpe_write_characters(const struct bpe *bpe, const struct vocab *vocab,
                          const struct bpe_rule *rules, size_t rule_count, struct text *out);

/* The rows of algorithm_bpe. */
llm_status bpe_read(llm_tokenizer *tokenizer, const json_t *root);
void bpe_write(const llm_tokenizer *tokenizer, struct text *out);
/* One word, through the cache. */
llm_status bpe_encode_cached(const llm_tokenizer *tokenizer, struct scratch *scratch,
                             const char *word, size_t size, struct token_list *out,
                             struct end_list *ends);
llm_status bpe_encode(const llm_tokenizer *tokenizer, struct scratch *scratch, const char *text,
                      size_t size, struct token_list *out);

#endif
