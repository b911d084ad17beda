/* SPDX-License-Identifier: MIT
 *
 * Added tokens: texts that become a token before any other stage sees them, such as
 * "<|endoftext|>". Matching is leftmost-longest over all of them at once, as Hugging Face
 * tokenizers does it: first the tokens that look at raw text, then, in what is left, those that
 * look at normalized text.
 */
#ifndef TOKENIZER_ADDED_H
#define TOKENIZER_ADDED_H

#include "tokenizer/trie.h"

enum {
    ADDED_SPECIAL = 1,
    ADDED_SINGLE_WORD = 2, /* only between characters that are not of words */
    ADDED_LSTRIP = 4,      /* takes the white space before it */
    ADDED_RSTRIP = 8,      /* takes the white space behind it */
    ADDED_NORMALIZED = 16  /* is looked for in normalized text */
};

struct added_token {
    int32_t id;
    unsigned flags;
    char *text;
    size_t size;
    char *normal; /* what a normalizer makes of it, if that is another text; else NULL */
};

struct added_tokens {
    struct memory *memory;
    struct added_token *tokens; /* in the order of the file */
    size_t count;
    size_t capacity;
    struct trie tries[2];        /* raw, normalized; values are indices into tokens */
    struct trie names;           /* all of them by their own text */
    unsigned char first[2][256]; /* can a token start with this byte? */
};

/* A piece of text: a token, or text between tokens (token NULL). */
struct added_piece {
    const struct added_token *token;
    size_t begin;
    size_t end;
};

/* A walk over the pieces of a text. */
struct added_walk {
    const struct added_tokens *added;
    const unsigned char *text;
    size_t size;
    int stage; /* 0: raw, 1: normalized */
    bool parse_special;
    size_t position;            /* where matching goes on */
    size_t done;                /* everything before was given out */
    struct added_piece waiting; /* a token found behind the text just given out */
};

void added_init(struct added_tokens *added, struct memory *memory);
void added_free(struct added_tokens *added);
llm_status added_put(struct added_tokens *added, int32_t id, const char *text, size_t size,
                     unsigned flags);
/* Forget what tokens that look at normalized text look like there, and say it anew, one by one. */
void added_forget_normalized(struct added_tokens *added);
llm_status added_put_normalized(struct added_tokens *added, size_t index, const char *text,
                                size_t size);
/* The token with this text, or NULL. */
const struct added_token *added_find(const struct added_tokens *added, const char *text,
                                     size_t size);

struct added_walk added_walk(const struct added_tokens *added, int stage, const char *text,
                             size_t size, bool parse_special);
/* False at the end. */
bool added_next(struct added_walk *walk, struct added_piece *piece);

#endif
