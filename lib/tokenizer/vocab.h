/* SPDX-License-Identifier: MIT
 *
 * The table of tokens: id to bytes and bytes to id. Ids may have holes. Bytes are what the token
 * decodes to, not the spelling in a file.
 */
#ifndef TOKENIZER_VOCAB_H
#define TOKENIZER_VOCAB_H

#include "base/memory.h"

#include <stdbool.h>

enum {
    VOCAB_MODEL = 1,   /* belongs to the model's vocabulary */
    VOCAB_LITERAL = 2, /* a file spells it as it is, not through the byte alphabet */
    VOCAB_ADDED = 4,   /* found in text before the model runs */
    VOCAB_SPECIAL = 8, /* can be skipped when decoding, is parsed only when asked */
    VOCAB_WHOLE = 16   /* a word of exactly these bytes is this token */
};

enum {
    VOCAB_MAX_ID = (1 << 24) - 1,
    VOCAB_MAX_TOKEN = 1 << 16, /* bytes */
    VOCAB_COPY_SLACK = 32      /* bytes readable behind every token */
};

struct vocab_entry {
    uint32_t offset; /* in blob */
    uint32_t size;
};

struct vocab {
    struct memory *memory;
    char *blob; /* tokens, each followed by NUL */
    size_t blob_size;
    size_t blob_capacity;
    struct vocab_entry *entries;
    uint8_t *flags; /* 0: no such id */
    size_t size;    /* one more than the highest id */
    size_t capacity;
    size_t flags_capacity;
    uint32_t *slots; /* id + 1; 0: free */
    size_t slot_count;
    size_t used_slots;
    uint32_t longest; /* bytes of the longest token */
};

void vocab_init(struct vocab *vocab, struct memory *memory);
void vocab_free(struct vocab *vocab);

/* Put a token in place. LLM_E_RANGE for an id beyond VOCAB_MAX_ID or a token too long, LLM_E_FORMAT
 * if the id is taken. Bytes that another id has already keep leading to that id, unless that one is
 * a literal and this one is not. */
llm_status vocab_put(struct vocab *vocab, int64_t id, const char *bytes, size_t size,
                     unsigned flags);

/* The id with exactly these bytes, or -1. */
int32_t vocab_find(const struct vocab *vocab, const char *bytes, size_t size);

static inline const char *vocab_bytes(const struct vocab *vocab, int32_t id)
{
    return vocab->blob + vocab->entries[id].offset;
}

static inline bool vocab_has(const struct vocab *vocab, int64_t id)
{
    return id >= 0 && (uint64_t)id < vocab->size && vocab->flags[id] != 0;
}

#endif
