/* SPDX-License-Identifier: MIT
 *
 * The inside of llm_dataset. dataset_build.c turns documents into tokens, dataset_source.c finds
 * the documents, dataset.c splits and reads.
 */
#ifndef TRAIN_DATASET_H
#define TRAIN_DATASET_H

#include "base/arena.h"
#include "base/context.h"
#include "llm/dataset.h"
#include "tokenizer/tokenizer.h"
#include "train/tokens.h"

enum { DATASET_PARTS = 3 };

struct llm_dataset {
    _Atomic int references;
    llm_context *context;
    llm_tokenizer *tokenizer; /* NULL: made from ids */
    struct tokens tokens;
    int32_t vocab_size;
    int32_t end_id; /* ends a document; -1: none */
    bool is_from_cache;
    int64_t begin[DATASET_PARTS], end[DATASET_PARTS]; /* tokens of LLM_PART_* */
    /* Made of examples, which are trained on whole: document i of the tokens is one. */
    bool is_examples;
    int64_t first_example[DATASET_PARTS], examples[DATASET_PARTS];
};

/* Consecutive tokens of a part; one more follows, the last target. */
struct window {
    int64_t first;
    int64_t length;
};

llm_dataset *dataset_retain(llm_dataset *dataset);
void dataset_release(llm_dataset *dataset); /* NULL allowed */

llm_status dataset_check_options(const llm_dataset_options *options);
llm_status dataset_from_files(llm_dataset **out, llm_context *context, llm_tokenizer *tokenizer,
                              const char *const *paths, size_t count,
                              const llm_dataset_options *options);
llm_status dataset_from_texts(llm_dataset **out, llm_context *context, llm_tokenizer *tokenizer,
                              const char *const *texts, const size_t *sizes, size_t count,
                              const llm_dataset_options *options);
llm_status dataset_from_stream(llm_dataset **out, llm_context *context, llm_tokenizer *tokenizer,
                               llm_dataset_text_fn next, void *user,
                               const llm_dataset_options *options);
llm_status dataset_from_ids(llm_dataset **out, llm_context *context, const int32_t *ids,
                            size_t count, int32_t vocab_size, int32_t end_id,
                            const llm_dataset_options *options);

/* Tokens, and which of them are to be learned (NULL: all). No ids: there are no more examples. */
struct example {
    const int32_t *ids;
    const uint8_t *learn;
    size_t count;
};

typedef llm_status (*example_source)(void *user, struct example *example);

llm_status dataset_from_examples(llm_dataset **out, llm_context *context, llm_tokenizer *tokenizer,
                                 int32_t vocab_size, example_source next, void *user,
                                 const llm_dataset_options *options);

int64_t dataset_count(const llm_dataset *dataset, int32_t part); /* tokens */

/* The window of an example of a part: its first `block` targets. */
struct window dataset_example(const llm_dataset *dataset, int32_t part, int64_t index,
                              int64_t block);
/* Targets that are to be learned in a window. */
int64_t dataset_learned(const llm_dataset *dataset, int32_t part, struct window window);
void dataset_read(const llm_dataset *dataset, int32_t part, int64_t first, int64_t count,
                  int32_t *ids);

/* ---- building ----------------------------------------------------------------------------------
 */

/* Collects text, cuts it where the tokenizer would cut anyway, and encodes batches of pieces on all
 * threads. */
struct builder;

llm_status builder_new(struct builder **out, llm_context *context, const llm_tokenizer *tokenizer,
                       struct token_sink *sink, const llm_dataset_options *options);
void builder_free(struct builder *builder); /* NULL allowed */
/* A document: begin, any number of feeds, end. `name` (or, if NULL, the number) is for messages and
 * must stay valid until builder_flush(). */
void builder_begin(struct builder *builder, const char *name, int64_t number);
llm_status builder_feed(struct builder *builder, const char *text, size_t size);
llm_status builder_end(struct builder *builder);
/* Everything that was fed is in the sink afterwards. */
llm_status builder_flush(struct builder *builder);

#endif
