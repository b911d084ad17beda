/* SPDX-License-Identifier: MIT
 *
 * The tokenizer as the rest of the library uses it. The stages of encoding, each in its own file:
 * added tokens are cut out of the text (added.c), what stands between them is cut into words
 * (split*.c), words become ids (the algorithm: bpe*.c, characters.c), and tokens are put around the
 * whole (post.c). Decoding is a walk over vocab.c.
 *
 * A tokenizer is immutable after it was made; functions that take it const are thread-safe.
 */
#ifndef TOKENIZER_TOKENIZER_H
#define TOKENIZER_TOKENIZER_H

#include "base/context.h"
#include "base/text.h"
#include "llm/tokenizer.h"

/* Flags of encoding. */
enum {
    TOKENIZER_PARSE_SPECIAL = 1, /* special tokens in the text are found */
    TOKENIZER_ADD_SPECIAL = 2    /* begin and end tokens are put around the text */
};

/* Flags of decoding. */
enum {
    TOKENIZER_SKIP_SPECIAL = 1,
    TOKENIZER_REPLACE_INVALID = 2 /* invalid UTF-8 becomes U+FFFD */
};

/* A growing list of ids. Zero it, set `memory`, and free it with token_list_free(). */
struct token_list {
    struct memory *memory;
    int32_t *ids;
    size_t count;
    size_t capacity;
    bool fixed; /* `ids` belongs to somebody else: it moves into own memory when it is too small */
};

void token_list_init(struct token_list *list, struct memory *memory);
/* Start in the caller's array. */
void token_list_borrow(struct token_list *list, struct memory *memory, int32_t *ids,
                       size_t capacity);
llm_status token_list_reserve(struct token_list *list, size_t more);
void token_list_free(struct token_list *list);

llm_tokenizer *tokenizer_retain(const llm_tokenizer *tokenizer);
void tokenizer_release(llm_tokenizer *tokenizer); /* NULL allowed */

/* `path` as for llm_tokenizer_load(). */
llm_status tokenizer_load(llm_tokenizer **out, llm_context *context, const char *path);
/* The same; `split` -1 or the rule (LLM_SPLIT_*) of a tiktoken file. */
llm_status tokenizer_load_split(llm_tokenizer **out, llm_context *context, const char *path,
                                int32_t split);
llm_status tokenizer_load_memory(llm_tokenizer **out, llm_context *context, const char *json,
                                 size_t size);
/* `path` a file, or an existing directory that gets tokenizer.json and tokenizer_config.json. */
llm_status tokenizer_save(const llm_tokenizer *tokenizer, const char *path);
/* LLM_E_UNSUPPORTED when no tokenizer.json gives the same ids. */
llm_status tokenizer_check_write(const llm_tokenizer *tokenizer);
/* Append the text of tokenizer.json; check out->failed. */
void tokenizer_write_json(const llm_tokenizer *tokenizer, struct text *out);

/* Append the ids of `text` to `out`. */
llm_status tokenizer_encode(const llm_tokenizer *tokenizer, const char *text, size_t size,
                            unsigned flags, struct token_list *out);

/* The same on up to `threads` threads, for long text; the same ids. */
llm_status tokenizer_encode_parallel(const llm_tokenizer *tokenizer, const char *text, size_t size,
                                     unsigned flags, int threads, struct token_list *out);

/* Most tokens that `size` bytes can give; SIZE_MAX on overflow. */
size_t tokenizer_max_tokens(const llm_tokenizer *tokenizer, size_t size);

/* As tokenizer_encode(), and where the tokens stand: begins[i], ends[i] for the i-th id appended,
 * as far as `capacity` goes. */
llm_status tokenizer_encode_offsets(const llm_tokenizer *tokenizer, const char *text, size_t size,
                                    unsigned flags, struct token_list *out, size_t *begins,
                                    size_t *ends, size_t capacity);

/* Where a token stands in the text, as Hugging Face tokenizers says it: whole characters. */
struct token_detail {
    size_t begin;
    size_t end;
    int32_t word; /* number of the word, added tokens counted; -1: none */
};

struct token_details {
    struct memory *memory;
    struct token_detail *list;
    size_t count;
    size_t capacity;
};

llm_status token_details_add(struct token_details *details, struct token_detail detail);

/* Append the ids of `text`, without what is put around it, and as many details. */
llm_status tokenizer_encode_details(const llm_tokenizer *tokenizer, const char *text, size_t size,
                                    bool parse_special, struct token_list *out,
                                    struct token_details *details);

/* Append the ids of `count` texts, one text after the other, on up to `threads` threads; counts[i]
 * receives how many ids text i has. */
llm_status tokenizer_encode_batch(const llm_tokenizer *tokenizer, const char *const *texts,
                                  const size_t *sizes, size_t count, unsigned flags, int threads,
                                  struct token_list *out, size_t *counts);

/* Append the text of the ids. LLM_E_RANGE names an id that does not exist. */
llm_status tokenizer_decode(const llm_tokenizer *tokenizer, const int32_t *ids, size_t count,
                            unsigned flags, struct text *out);

/* Is the text of a token that of its own bytes? */
bool tokenizer_decodes_plainly(const llm_tokenizer *tokenizer);
/* The two halves of plain decoding without U+FFFD: the size, where ids are checked, and the copy,
 * into exactly `room` = that many bytes. */
llm_status tokenizer_decoded_size(const llm_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                  unsigned flags, size_t *size_out);
void tokenizer_copy_decoded(const llm_tokenizer *tokenizer, const int32_t *ids, size_t count,
                            unsigned flags, char *out, size_t room);

/* Decoding token by token: `out` only ever receives whole, valid characters. Plain data; zero it.
 */
enum { DECODE_STREAM_IDS = 64 };

struct decode_stream {
    char tail[4]; /* an unfinished character */
    size_t tail_size;
    /* Tokenizers whose decoder looks at more than a token: the last ids, of which the text of the
     * first `given` was given out. */
    int32_t ids[DECODE_STREAM_IDS];
    size_t count;
    size_t given;
    const llm_tokenizer *tokenizer;
};
llm_status decode_stream_push(struct decode_stream *stream, const llm_tokenizer *tokenizer,
                              int32_t id, unsigned flags, struct text *out);
/* U+FFFD for an unfinished character. */
void decode_stream_finish(struct decode_stream *stream, struct text *out);

/* The context, its allocator and number of threads. */
llm_context *tokenizer_context(const llm_tokenizer *tokenizer);
struct memory *tokenizer_memory(const llm_tokenizer *tokenizer);
int tokenizer_threads(const llm_tokenizer *tokenizer);

int32_t tokenizer_kind(const llm_tokenizer *tokenizer);
int32_t tokenizer_vocab_size(const llm_tokenizer *tokenizer);            /* highest id + 1 */
int32_t tokenizer_special(const llm_tokenizer *tokenizer, int32_t role); /* LLM_TOKEN_*; or -1 */
bool tokenizer_has(const llm_tokenizer *tokenizer, int32_t id);
bool tokenizer_is_special(const llm_tokenizer *tokenizer, int32_t id);
/* Bytes of a token (id must exist); NUL-terminated, valid as long as the tokenizer. */
const char *tokenizer_token(const llm_tokenizer *tokenizer, int32_t id, size_t *size_out);
int32_t tokenizer_find(const llm_tokenizer *tokenizer, const char *text, size_t size); /* or -1 */

/* Training: train.h. */

#endif
