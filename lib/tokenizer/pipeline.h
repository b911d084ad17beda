/* SPDX-License-Identifier: MIT
 *
 * The inside of llm_tokenizer: its stages and the table of algorithms. Only files of this folder
 * include it.
 */
#ifndef TOKENIZER_PIPELINE_H
#define TOKENIZER_PIPELINE_H

#include "base/json.h"
#include "tokenizer/added.h"
#include "tokenizer/token_decoder.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/split.h"
#include "tokenizer/stage_list.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab.h"
#include "tokenizer/words.h"

/* Where the tokens of a word end, in bytes of the word; they begin where the one before ends. */
struct end_list {
    struct memory *memory;
    size_t *list;
    size_t count;
    size_t capacity;
};

llm_status end_list_add(struct end_list *ends, size_t end);

/* Memory that one running encode call needs; kept by the tokenizer and handed from call to call. */
struct scratch {
    struct memory *memory;
    void *cache; /* the algorithm's; freed with memory_release */
    unsigned cache_bits;
    size_t cache_misses;
    uint64_t *memo;                  /* the algorithm's; freed with memory_release */
    const unsigned char **word_ends; /* [SCRATCH_ENDS] */
    void *work[4];                   /* the algorithm's, grown with memory_grow */
    size_t work_capacity[4];
    struct normalizer_work normalizing;
    struct mapped_text section; /* normalized text between added tokens of the raw text */
    struct words words;
    struct end_list ends;
};

enum { SCRATCH_SLOTS = 64, SCRATCH_ENDS = 256 };

/* A way to turn words into ids. A new one is one file and one line in algorithms.c. */
struct tokenizer_algorithm {
    const char *type; /* model.type in tokenizer.json */
    /* Does the row read this file? NULL: every file of its type. The first row that does is taken.
     */
    bool (*takes)(const json_t *root);
    /* Fill tokenizer->vocab, ->model, ->kind (and ->split, ->direct) from the root of the file; the
     * normalizer, pre-tokenizer and decoder are there already. What the algorithm cannot do exactly
     * is LLM_E_UNSUPPORTED, with the name of the field. */
    llm_status (*read)(llm_tokenizer *tokenizer, const json_t *root);
    /* LLM_E_UNSUPPORTED when a tokenizer.json cannot say what this one does; NULL: it can. */
    llm_status (*check_write)(const llm_tokenizer *tokenizer);
    /* Append the object "model" of a tokenizer.json. */
    void (*write_model)(const llm_tokenizer *tokenizer, struct text *out);
    /* Append the ids of one word (size > 0) and, unless `ends` is NULL, as many ends. */
    llm_status (*encode_word)(const llm_tokenizer *tokenizer, struct scratch *scratch,
                              const char *word, size_t size, struct token_list *out,
                              struct end_list *ends);
    /* For tokenizers that are ->direct: the ids of normalized text that holds no added token, cut
     * into words by the algorithm itself. */
    llm_status (*encode)(const llm_tokenizer *tokenizer, struct scratch *scratch, const char *text,
                         size_t size, struct token_list *out);
    /* Bytes of `text` that the token `id` covers there; NULL: the token's own size. */
    size_t (*covers)(const llm_tokenizer *tokenizer, int32_t id, const char *text, size_t size);
    void (*free)(llm_tokenizer *tokenizer);
};

/* The algorithm for a tokenizer.json; NULL: none for its "model". */
const struct tokenizer_algorithm *algorithm_find(const json_t *root);
/* model.type, or what old files that lack it must mean; NULL: no telling. */
const char *algorithm_type(const json_t *model);

extern const struct tokenizer_algorithm algorithm_bpe;
extern const struct tokenizer_algorithm algorithm_bpe_characters;
extern const struct tokenizer_algorithm algorithm_unigram;
extern const struct tokenizer_algorithm algorithm_sentencepiece;
extern const struct tokenizer_algorithm algorithm_characters;
extern const struct tokenizer_algorithm algorithm_word_level;
extern const struct tokenizer_algorithm algorithm_word_piece;

/* A token put around texts, or one of the texts. */
struct post_item {
    int32_t sequence; /* 0 or 1: a text; -1: a token */
    int32_t id;       /* of the token */
    int32_t type;
};

enum { POST_SEQUENCES = 4 };

struct post_template {
    struct post_item *items;
    size_t count;
    size_t capacity;
    size_t sequences; /* how many items are texts */
};

struct post_processor {
    struct post_template single;
    struct post_template pair;
    bool trim;        /* white space at the ends of byte-level tokens is not in their offsets */
    bool trim_prefix; /* except for a space that add_prefix_space may have put there */
    char *json;       /* the field as the file had it, to write it again; NULL: null */
};

/* Fields of tokenizer.json that are kept as they are, to be written again. */
enum { STAGE_NORMALIZER, STAGE_PRE_TOKENIZER, STAGE_DECODER, STAGE_COUNT };

struct llm_tokenizer {
    _Atomic int references;
    llm_context *context;
    int32_t kind;
    struct vocab vocab;
    struct added_tokens added;
    struct normalizer normalizer;
    struct pre_tokenizer pre_tokenizer;
    struct token_decoder decoder;
    /* The algorithm takes text as it is and cuts it itself, by ->split (NULL: in its own way),
     * after a space in front if ->add_prefix_space: the fast path, when nobody asks for more than
     * ids. */
    bool direct;
    const struct split_rule *split;
    bool add_prefix_space;
    bool spelled;        /* the vocabulary is spelled in the byte alphabet, and held as bytes */
    bool unspell;        /* words are still spelled when the pre-tokenizer is done */
    bool plain_decoding; /* a token decodes to its own bytes: the decoder has nothing to do */
    bool cuts_at_space;  /* a text may be cut in front of a space behind a letter */
    size_t growth;       /* most bytes that a byte of text can become; 0: one */
    char *stage_json[STAGE_COUNT]; /* the fields as the file had them; NULL: null */
    const struct tokenizer_algorithm *algorithm;
    void *model;
    struct post_processor post;
    int32_t special[5]; /* by LLM_TOKEN_*; -1: none */
    char *config;       /* tokenizer_config.json as it was read; NULL: none */
    struct scratch *_Atomic scratches[SCRATCH_SLOTS];
    struct byte_trie *_Atomic byte_trie; /* made when a grammar first asks (byte_trie.h) */
};

/* An empty tokenizer with one reference. */
llm_status tokenizer_new(llm_tokenizer **out, llm_context *context);
/* The last step of every way to make one: model, added tokens and what is read of the rest are
 * there.
 */
llm_status tokenizer_finish(llm_tokenizer *tokenizer);
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

/* Whether a byte-level "pre_tokenizer" is one that ->split and ->add_prefix_space can stand for:
 * then they are set, and true is returned. */
bool pre_tokenizer_is_rule(llm_tokenizer *tokenizer, const json_t *pre_tokenizer);
/* The stages for ->split and ->add_prefix_space, for tokenizers that were not read from JSON. */
llm_status pre_tokenizer_make(llm_tokenizer *tokenizer);
/* Is it the Split that makes every character a word? */
bool pre_tokenizer_is_characters(const json_t *pre_tokenizer);

/* Roles that have no id yet and the token of that name. */
void tokenizer_name_special(llm_tokenizer *tokenizer, int32_t role, const char *text, size_t size);

llm_status post_read(llm_tokenizer *tokenizer, const json_t *post_processor);
/* Fill what was not said. */
llm_status post_finish(llm_tokenizer *tokenizer);
void post_free(llm_tokenizer *tokenizer);

/* Fields of a stage as the file had them. */
llm_status tokenizer_keep_json(llm_tokenizer *tokenizer, char **out, const json_t *value);

/* Readers of other files: tiktoken ranks, GPT-2's pair of files. */
/* `split` LLM_SPLIT_*: cut by this rule; -1: by the one that the number of ranks tells. */
llm_status tiktoken_read(llm_tokenizer *tokenizer, const char *path, int32_t split);
/* BERT's vocab.txt; the file `config_path` need not exist. */
llm_status vocab_text_read(llm_tokenizer *tokenizer, const char *path, const char *config_path);
llm_status gpt2_files_read(llm_tokenizer *tokenizer, const char *vocab_path,
                           const char *merges_path);
llm_status huggingface_read(llm_tokenizer *tokenizer, const char *json, size_t size);
/* Its parts, for readers that have the model from elsewhere: normalizer, pre-tokenizer and decoder;
 * then, the model being there, added tokens and post-processor. */
llm_status huggingface_read_stages(llm_tokenizer *tokenizer, const json_t *root);
llm_status huggingface_read_rest(llm_tokenizer *tokenizer, const json_t *root);
/* Roles from tokenizer_config.json; a missing file is fine. */
llm_status huggingface_read_config(llm_tokenizer *tokenizer, const char *path);
void huggingface_write_config(const llm_tokenizer *tokenizer, struct text *out);

#endif
