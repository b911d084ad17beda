/* SPDX-License-Identifier: MIT
 *
 * The field "pre_tokenizer" of tokenizer.json: stages that cut text into words, which tokens do not
 * cross. A stage = one function and one line in the table of words.c. Byte-level BPE whose rule has
 * its own scanner does not come here (pre_tokenizer.c), unless somebody asks for more than ids.
 */
#ifndef TOKENIZER_WORDS_H
#define TOKENIZER_WORDS_H

#include "base/json.h"
#include "tokenizer/mapped_text.h"
#include "tokenizer/pattern.h"

/* Bytes [begin, end) of the text. */
struct word_span {
    size_t begin;
    size_t end;
};

struct word_list {
    struct word_span *list;
    size_t count;
    size_t capacity;
};

/* A text and its words, which do not overlap and stand in order; what is between them is gone.
 * Stages read from here and write to the spare, then the two change places. */
struct words {
    struct memory *memory;
    struct mapped_text text;
    struct mapped_text spare;
    struct word_list words;
    struct word_list spare_words;
    bool failed; /* out of memory */
};

void words_init(struct words *words, struct memory *memory);
void words_free(struct words *words);

/* Append a word to the spare list, unless it is empty. */
void words_add(struct words *words, size_t begin, size_t end);
/* The spare list (and, if asked, the spare text) takes the place of the other. */
void words_swap(struct words *words, bool text_too);

struct pre_tokenizer_type {
    const char *type; /* as in the file */
    /* Fill *data (may stay NULL) from the stage's object. */
    llm_status (*read)(void **data, struct memory *memory, const json_t *stage);
    llm_status (*apply)(const void *data, struct words *words);
    void (*free)(void *data, struct memory *memory); /* NULL: memory_release(data) */
    size_t growth; /* no byte becomes more bytes than this; 0: than one */
    bool local; /* text cut in front of a space behind a letter gives the same words in its parts */
    bool cuts_spaces; /* no word has a space in it */
};

struct pre_tokenizer_stage {
    const struct pre_tokenizer_type *type;
    void *data;
};

/* All stages in a row, sequences laid flat. */
struct pre_tokenizer {
    struct memory *memory;
    struct pre_tokenizer_stage *stages;
    size_t count;
    size_t capacity;
};

/* `json` NULL or null: no stages. */
llm_status pre_tokenizer_read_stages(struct pre_tokenizer *out, struct memory *memory,
                                     const json_t *json);
void pre_tokenizer_free(struct pre_tokenizer *pre_tokenizer);
/* No byte of text becomes more bytes than this. */
size_t pre_tokenizer_growth(const struct pre_tokenizer *pre_tokenizer);
llm_status pre_tokenizer_run(const struct pre_tokenizer *pre_tokenizer, struct words *words);

/* Is the last stage ByteLevel? If so, with `keep`, it leaves bytes as they are from now on, instead
 * of spelling them in the byte alphabet. */
bool pre_tokenizer_ends_in_bytes(struct pre_tokenizer *pre_tokenizer, bool keep);
/* Bytes in the place of their spelling in the byte alphabet; other characters stay. */
llm_status words_unspell(struct words *words);

/* What becomes of what a pattern matches. */
enum split_behavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_WITH_PREVIOUS,
    SPLIT_WITH_NEXT,
    SPLIT_CONTIGUOUS
};

llm_status split_behavior_read(enum split_behavior *out, const json_t *stage);

/* Cuts a word: give it the matches and what is between them, in order. */
struct word_cutter {
    struct words *words;
    enum split_behavior behavior;
    size_t begin; /* what waits: a word that may still grow */
    size_t end;
    bool waiting;
    bool match; /* was the last segment one? */
};

void word_cutter_segment(struct word_cutter *cutter, size_t begin, size_t end, bool match);
void word_cutter_finish(struct word_cutter *cutter);

/* The stages. */
extern const struct pre_tokenizer_type pre_tokenizer_bert;
extern const struct pre_tokenizer_type pre_tokenizer_byte_level;
extern const struct pre_tokenizer_type pre_tokenizer_char_delimiter;
extern const struct pre_tokenizer_type pre_tokenizer_metaspace;
extern const struct pre_tokenizer_type pre_tokenizer_whitespace;
extern const struct pre_tokenizer_type pre_tokenizer_whitespace_split;
extern const struct pre_tokenizer_type pre_tokenizer_split;
extern const struct pre_tokenizer_type pre_tokenizer_punctuation;
extern const struct pre_tokenizer_type pre_tokenizer_digits;
extern const struct pre_tokenizer_type pre_tokenizer_scripts;
extern const struct pre_tokenizer_type pre_tokenizer_fixed_length;

#endif
