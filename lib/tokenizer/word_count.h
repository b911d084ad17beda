/* SPDX-License-Identifier: MIT
 *
 * Counting the words of many documents on several threads: each thread has its own table, and they
 * are added up at the end. The order of words in the result depends on the threads, the counts do
 * not.
 */
#ifndef TOKENIZER_WORD_COUNT_H
#define TOKENIZER_WORD_COUNT_H

#include "base/arena.h"
#include "base/text.h"
#include "tokenizer/split.h"

struct word {
    const char *text;
    uint32_t size;
    uint32_t hash;
    uint64_t count;
};

struct word_table {
    struct memory *memory;
    struct arena arena;
    struct word *words;
    size_t count;
    size_t capacity;
    uint32_t *slots; /* index + 1; 0: free */
    size_t slot_count;
};

struct word_part {
    size_t begin;
    size_t size;
};

struct word_counter {
    struct memory *memory;
    const struct split_rule *rule;
    int threads;
    struct word_table *tables; /* [threads] */
    struct text buffer;        /* small documents that wait to be counted */
    struct word_part *parts;   /* of the buffer, or of the large document being counted */
    size_t part_count;
    size_t part_capacity;
};

llm_status word_counter_init(struct word_counter *counter, struct memory *memory,
                             const struct split_rule *rule, int threads);
void word_counter_free(struct word_counter *counter);
/* Count a word that was cut by other means. */
llm_status word_counter_put(struct word_counter *counter, const char *word, size_t size);
llm_status word_counter_add(struct word_counter *counter, const char *text, size_t size);
/* Count what waits; then all words are in tables[0]. */
llm_status word_counter_finish(struct word_counter *counter);

#endif
