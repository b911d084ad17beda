/* SPDX-License-Identifier: MIT
 *
 * The inside of llm_task, and what the tasks share: running packed texts in portions, and turning
 * texts into token ids with special tokens around them. Each task is a file of its own.
 */
#ifndef TASK_TASK_H
#define TASK_TASK_H

#include "models/head.h"
#include "tokenizer/tokenizer.h"

struct llm_task {
    llm_context *context;
    llm_model *model;
    llm_tokenizer *tokenizer; /* NULL: token ids only */
    bool marks_words;         /* tokens that continue a word begin with "##" */
    int32_t pooling;
    bool normalize, windows;
    int64_t max_tokens, overlap;
    char *prompt; /* put in front of every text to embed; or NULL */
    struct task_work *work;
};

/* Memory for one call at a time, kept from call to call; other calls make their own. */
struct task_work {
    struct cx cx;
    _Atomic int is_busy;
};

/* What a directory says about embeddings (sentence_transformers.c). */
struct task_modules {
    int32_t pooling; /* LLM_POOL_DEFAULT: nothing */
    bool normalize;
    int64_t max_tokens; /* 0: nothing */
    char *model_path;   /* of the model, in `memory` */
    char *prompt;       /* or NULL; in `memory` */
};

llm_status task_read_modules(struct task_modules *modules, struct memory *memory,
                             const char *directory);

llm_status task_new(llm_task **out, llm_model *model, llm_tokenizer *tokenizer,
                    const llm_task_options *options);
llm_status task_load(llm_task **out, llm_context *context, const char *directory,
                     const llm_task_options *options);
void task_free(llm_task *task);

/* ---- running (run.c) ---- */

/* Token ids of texts, end to end. */
struct task_ids {
    const int32_t *ids;
    const int32_t *types; /* NULL: all 0 */
    const size_t *lengths;
    size_t count;
};

/* Called for each portion: `hidden` [N, D] of the texts from `first` on, which stand in `batch`;
 * `row` is the number of tokens before them. */
typedef llm_status (*task_visit)(void *arg, struct cx *cx, const struct batch *batch,
                                 llm_tensor *hidden, size_t first, size_t row);

llm_status task_run(const llm_task *task, const struct task_ids *texts, task_visit visit,
                    void *arg);

/* LLM_E_UNSUPPORTED unless the model has this head. */
llm_status task_check_head(const llm_task *task, int32_t head);

/* What the head says about all texts, softmax or sigmoid applied if `probabilities`, into `values`:
 * rows of `labels` per text (LLM_HEAD_SEQUENCE) or per token. */
llm_status task_scores(float *values, const llm_task *task, const struct task_ids *texts,
                       bool probabilities);

/* A context for work: the task's own, or `spare` if that is in use. Give it back. */
llm_status task_borrow_cx(struct cx **out, const llm_task *task, struct cx *spare);
void task_return_cx(const llm_task *task, struct cx *cx);

/* ---- texts (texts.c) ---- */

enum { TASK_TEXTS_ARRAYS = 8 };

/* Texts as token ids with special tokens. Arrays are by token unless noted. */
struct task_texts {
    struct memory *memory;
    int32_t *ids, *types;
    size_t *begins, *ends; /* bytes of the text of the token; equal for special tokens */
    int8_t *parts;         /* 0: special, 1: of the first text, 2: of the second one */
    size_t tokens;
    size_t *lengths;  /* [count] */
    size_t *owners;   /* [count]: index of the text that a window belongs to */
    size_t *contents; /* [count]: tokens that are not special */
    size_t count;
    size_t capacity[TASK_TEXTS_ARRAYS];
};

void task_texts_init(struct task_texts *texts, struct memory *memory);
void task_texts_free(struct task_texts *texts);
struct task_ids task_texts_ids(const struct task_texts *texts);

/* How a text that is too long is fitted. */
enum task_fit {
    TASK_CUT,    /* tokens are left out at the end, of the longer text of a pair first */
    TASK_WINDOWS /* several windows over the text, of a pair over the second one */
};

/* Adds a text, or a pair if `pair` is not NULL, owned by `owner`. With `special`, special tokens
 * within the text are found. */
struct task_text {
    const char *text, *pair;
    size_t size, pair_size;
    size_t owner;
    bool special;
};
llm_status task_texts_add(struct task_texts *texts, const llm_task *task,
                          const struct task_text *text, enum task_fit fit, int64_t overlap);

/* ---- the tasks ---- */

llm_status task_embed_ids(float *vectors, const llm_task *task, const struct task_ids *texts);
llm_status task_embed(float *vectors, const llm_task *task, const char *const *texts,
                      const size_t *sizes, size_t count);
llm_status task_classify(float *values, const llm_task *task, const char *const *texts,
                         const size_t *sizes, const char *const *pairs, const size_t *pair_sizes,
                         size_t count, bool probabilities);
llm_status task_rerank(float *scores, const llm_task *task, const char *query, size_t query_size,
                       const char *const *documents, const size_t *sizes, size_t count);
llm_status task_tag(llm_entity *entities, size_t capacity, size_t *count, const llm_task *task,
                    const char *text, size_t size, int32_t aggregation);
llm_status task_answer(llm_answer *answers, size_t capacity, size_t *count, const llm_task *task,
                       const char *question, size_t question_size, const char *context,
                       size_t context_size, const llm_answer_options *options);
llm_status task_answer_ids(llm_answer *answers, size_t capacity, size_t *count,
                           const llm_task *task, const struct task_ids *text, size_t first,
                           size_t end, const llm_answer_options *options);
/* With `fills` NULL only `*masks` is set. */
llm_status task_fill_mask_ids(llm_fill *fills, size_t capacity, size_t *masks, const llm_task *task,
                              const struct task_ids *text, int32_t mask_id, size_t top);
llm_status task_fill_mask(llm_fill *fills, size_t capacity, size_t *masks, const llm_task *task,
                          const char *text, size_t size, const char *mask, size_t top);

#endif
