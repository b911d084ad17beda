/* SPDX-License-Identifier: MIT
 *
 * The inside of llm_tokenizer: its stages and the table of algorithms. Only files of this folder
 * include it.
 */
#ifndef TOKENIZER_PIPELINE_H
#define TOKENIZER_PIPELINE_H

#include "base/json.h"
#include "tokenizer/added.h"
#include "tokenizer/split.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab.h"

/* Memory that one running encode call needs; kept by the tokenizer and handed from call to call. */
struct scratch {
    struct memory *memory;
    void *cache; /* the algorithm's; freed with memory_release */
    unsigned cache_bits;
    size_t cache_misses;
    uint64_t *memo; /* the algorithm's; freed with memory_release */
    const unsigned char **ends;
    void *work[4]; /* the algorithm's, grown with memory_grow */
    size_t work_capacity[4];
};

enum { SCRATCH_SLOTS = 64, SCRATCH_ENDS = 256 };

/* A way to turn words into ids. A new one is one file and one line in algorithms.c. */
struct tokenizer_algorithm {
    const char *type; /* model.type in tokenizer.json */
    /* Fill tokenizer->vocab, ->split, ->model, ->kind from the root of the file. What the algorithm
     * cannot do exactly is LLM_E_UNSUPPORTED, with the name of the field. */
    llm_status (*read)(llm_tokenizer *tokenizer, const json_t *root);
    /* Append the values of "pre_tokenizer", "decoder" and "model" to a tokenizer.json. */
    void (*write)(const llm_tokenizer *tokenizer, struct text *out);
    /* Append the ids of text that holds no added token. */
    llm_status (*encode)(const llm_tokenizer *tokenizer, struct scratch *scratch, const char *text,
                         size_t size, struct token_list *out);
    /* Bytes of `text` that the token `id` covers there; NULL: the token's own size. */
    size_t (*covers)(const llm_tokenizer *tokenizer, int32_t id, const char *text, size_t size);
    void (*free)(llm_tokenizer *tokenizer);
};

/* The algorithm for a tokenizer.json's "model"; NULL: none of that type. */
const struct tokenizer_algorithm *algorithm_find(const json_t *model);
/* model.type, or what old files that lack it must mean; NULL: no telling. */
const char *algorithm_type(const json_t *model);

extern const struct tokenizer_algorithm algorithm_bpe;
extern const struct tokenizer_algorithm algorithm_characters;

/* Tokens put around a text. */
struct post_processor {
    int32_t *before;
    size_t before_count;
    int32_t *after;
    size_t after_count;
    char *json; /* the field as the file had it, to write it again; NULL: null */
};

struct llm_tokenizer {
    _Atomic int references;
    llm_context *context;
    int32_t kind;
    struct vocab vocab;
    struct added_tokens added;
    const struct split_rule *split;
    bool add_prefix_space;
    const struct tokenizer_algorithm *algorithm;
    void *model;
    struct post_processor post;
    int32_t special[5]; /* by LLM_TOKEN_*; -1: none */
    struct scratch *_Atomic scratches[SCRATCH_SLOTS];
    struct byte_trie *_Atomic byte_trie; /* made when a grammar first asks (byte_trie.h) */
};

/* An empty tokenizer with one reference. */
llm_status tokenizer_new(llm_tokenizer **out, llm_context *context);
/* Ids of well-known names ("<|endoftext|>", "<s>", "<unk>", ...) for roles that have none yet. */
void tokenizer_guess_special(llm_tokenizer *tokenizer);

struct scratch *scratch_take(const llm_tokenizer *tokenizer); /* NULL: out of memory */
void scratch_give(const llm_tokenizer *tokenizer, struct scratch *scratch);

/* Put a token that a file spells in the byte alphabet, or literally. */
llm_status vocab_put_spelled(struct vocab *vocab, int64_t id, const char *spelling, size_t size,
                             unsigned flags);
/* The id of a token by its spelling in a byte-level file, or -1. */
int32_t vocab_find_spelled(const struct vocab *vocab, const char *spelling, size_t size);
/* All of a "vocab" object. `spelled`: keys are in the byte alphabet. */
llm_status vocab_read(struct vocab *vocab, const json_t *object, bool spelled);
/* The same, written in the order of ids; VOCAB_MODEL tokens, or all of them. */
void vocab_write(const struct vocab *vocab, bool spelled, bool all, struct text *out);

/* "pre_tokenizer" of a byte-level file into ->split and ->add_prefix_space, and back. */
llm_status pre_tokenizer_read(llm_tokenizer *tokenizer, const json_t *pre_tokenizer);
void pre_tokenizer_write(const llm_tokenizer *tokenizer, struct text *out);
/* Is it the Split that makes every character a word? */
bool pre_tokenizer_is_characters(const json_t *pre_tokenizer);
/* The "type" of a stage of the file; "null" when there is none. */
const char *stage_type(const json_t *stage);

/* Roles that have no id yet and the token of that name. */
void tokenizer_name_special(llm_tokenizer *tokenizer, int32_t role, const char *text, size_t size);

llm_status post_read(llm_tokenizer *tokenizer, const json_t *post_processor);
void post_free(llm_tokenizer *tokenizer);

/* Readers of other files: tiktoken ranks, GPT-2's pair of files. */
llm_status tiktoken_read(llm_tokenizer *tokenizer, const char *path);
llm_status gpt2_files_read(llm_tokenizer *tokenizer, const char *vocab_path,
                           const char *merges_path);
llm_status huggingface_read(llm_tokenizer *tokenizer, const char *json, size_t size);
/* Roles from tokenizer_config.json; a missing file is fine. */
llm_status huggingface_read_config(llm_tokenizer *tokenizer, const char *path);
void huggingface_write_config(const llm_tokenizer *tokenizer, struct text *out);

#endif
