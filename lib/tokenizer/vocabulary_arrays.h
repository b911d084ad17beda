/* SPDX-License-Identifier: MIT
 *
 * A vocabulary as flat arrays, the form that GGUF metadata, SentencePiece .model files and
 * llama2.c's tokenizer.bin have in common, and the tokenizer made from it. Readers of those files
 * fill the struct; tokenizer_to_arrays() fills it for writers.
 *
 * Token texts are as the files spell them: pieces with U+2581 for spaces and "<0x0A>" for bytes
 * (llama, t5), the byte alphabet (gpt2), U+2581 in front of what starts a word (bert).
 */
#ifndef TOKENIZER_VOCABULARY_ARRAYS_H
#define TOKENIZER_VOCABULARY_ARRAYS_H

#include "base/arena.h"
#include "tokenizer/tokenizer.h"

/* tokenizer.ggml.token_type, and the same numbers in SentencePiece. */
enum {
    PIECE_NORMAL = 1,
    PIECE_UNKNOWN = 2,
    PIECE_CONTROL = 3,
    PIECE_USER_DEFINED = 4,
    PIECE_UNUSED = 5,
    PIECE_BYTE = 6
};

struct vocabulary_text {
    const char *data; /* UTF-8, no NUL needed */
    size_t size;
};

/* Switches: -1 takes the default of the model. */
struct vocabulary_arrays {
    const char *model; /* "llama" (pieces merged by score), "t5" (unigram), "gpt2", "bert" */
    const char *pre;   /* gpt2: tokenizer.ggml.pre; NULL: none, which is an error */
    const struct vocabulary_text *tokens;
    const float *scores;  /* [count]; NULL: none (gpt2, bert) */
    const int32_t *types; /* [count] PIECE_*; NULL: all normal */
    size_t count;
    const struct vocabulary_text *merges; /* gpt2: "left right" */
    size_t merge_count;
    const char *charsmap; /* precompiled_charsmap; NULL: none */
    size_t charsmap_size;
    int32_t bos, eos, unk, sep, pad, cls, mask; /* ids; -1: none */
    int8_t add_bos, add_eos, add_sep;
    int8_t add_space_prefix;
    int8_t remove_extra_whitespaces;
    int8_t escape_whitespaces;         /* default 1 */
    int8_t treat_whitespace_as_suffix; /* default 0 */
    /* 1: a user-defined piece is matched inside the normalized text, and bytes that are not UTF-8
     * become U+FFFD (SentencePiece); 0, default: it is cut out of the text before, and such bytes
     * become byte pieces (GGUF). */
    int8_t user_defined_inside;
    int8_t prefix_first_only;        /* 1: no space prefix behind a special token; default 0 */
    int8_t lowercase, strip_accents; /* bert */
};

/* All switches -1, all ids -1, the rest zero. */
void vocabulary_arrays_init(struct vocabulary_arrays *arrays);

/* The tokenizer of the arrays, which are copied. LLM_E_FORMAT or LLM_E_RANGE names the entry that
 * is wrong, LLM_E_UNSUPPORTED the model or the pre name that is not known. */
llm_status tokenizer_from_arrays(llm_tokenizer **out, llm_context *context,
                                 const struct vocabulary_arrays *arrays);

/* The arrays of a tokenizer; they live in `arena`, or in the tokenizer. LLM_E_UNSUPPORTED names
 * what the arrays cannot say. */
llm_status tokenizer_to_arrays(struct vocabulary_arrays *out, struct arena *arena,
                               const llm_tokenizer *tokenizer);

#endif
