/* SPDX-License-Identifier: MIT
 *
 * A long row of token ids with the ends of its documents, in memory or in a mapped cache file, at
 * two bytes an id where the vocabulary allows. A token_sink builds one: in memory, or streaming
 * into the cache file, so that a corpus may be larger than memory.
 */
#ifndef TRAIN_TOKENS_H
#define TRAIN_TOKENS_H

#include "base/file.h"
#include "base/memory.h"

struct tokens {
    struct memory *memory;
    struct file_map map; /* of the cache; else the arrays below are ours */
    void *owned_ids;
    int64_t *owned_ends;
    const void *ids; /* uint16_t or int32_t */
    int width;       /* 2 or 4 bytes */
    int64_t count;
    const int64_t *ends; /* [documents]: one past each document's last token, rising */
    int64_t documents;
    int64_t validation_start; /* first token of the validation files; -1: none */
    uint8_t *learned;         /* [count] of examples: 1 where a token is a target; NULL: all are */
};

void tokens_free(struct tokens *tokens);
void tokens_read(const struct tokens *tokens, int64_t first, int64_t count, int32_t *out);

/* What a cache was made from. */
struct token_source {
    uint64_t size;
    int64_t modified;
    uint64_t name; /* hash of the path */
    uint32_t crc;  /* of the content */
    uint32_t is_validation;
};

struct token_sink {
    struct memory *memory;
    int width;
    int32_t end_id; /* ends a document wherever it appears; -1: none */
    int64_t count;
    int64_t validation_start;
    unsigned char *ids; /* without a cache: all of them; with: a buffer */
    size_t bytes, capacity;
    int64_t *ends;
    size_t documents, end_capacity;
    bool to_file;
    struct file_writer writer;
    uint32_t crc; /* of what was written */
};

/* `cache` NULL: in memory. */
llm_status token_sink_open(struct token_sink *sink, struct memory *memory, const char *cache,
                           int32_t vocab_size, int32_t end_id);
llm_status token_sink_append(struct token_sink *sink, const int32_t *ids, size_t count);
llm_status token_sink_end_document(struct token_sink *sink);
void token_sink_begin_validation(struct token_sink *sink);
/* Into memory, moved to `tokens`; for a sink without cache. */
void token_sink_finish(struct token_sink *sink, struct tokens *tokens);
void token_sink_free(struct token_sink *sink); /* idempotent; removes an unfinished file */

/* ---- the cache file (token_cache.c) -----------------------------------------------------------
 */

/* Completes and publishes the file of a sink. */
llm_status token_cache_commit(struct token_sink *sink, const struct token_source *sources,
                              size_t source_count, uint64_t fingerprint);

/* How the content of a source that was touched since can be known: its checksum now. */
typedef llm_status (*token_source_crc)(void *arg, size_t index, uint32_t *crc_out);

/* LLM_OK with tokens->ids NULL and `reason` filled in when the file does not exist, is damaged, was
 * made from something else, or holds ids outside of 0 .. vocab_size - 1. */
llm_status token_cache_open(struct tokens *tokens, struct memory *memory, const char *path,
                            const struct token_source *sources, size_t source_count,
                            uint64_t fingerprint, int32_t vocab_size, token_source_crc crc,
                            void *arg, char reason[128]);

#endif
