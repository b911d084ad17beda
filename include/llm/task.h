/* SPDX-License-Identifier: MIT
 *
 * Tasks: what a model does besides continuing texts. Heads and labels, training with any head;
 * embeddings, classification, entities, answers, masks, translation.
 */
#ifndef LLM_TASK_H
#define LLM_TASK_H

#include "model.h"
#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- heads ---- */

/** What stands on top of a model's hidden states. The class that "architectures" in config.json
 *  names decides. */
enum {
    LLM_HEAD_NONE = 0,      /**< ...Model: hidden states, for embeddings */
    LLM_HEAD_CAUSAL_LM = 1, /**< ...ForCausalLM, ...LMHeadModel: the next token */
    LLM_HEAD_MASKED_LM = 2, /**< ...ForMaskedLM: the token behind a mask */
    LLM_HEAD_SEQUENCE = 3,  /**< ...ForSequenceClassification: labels of a text or of a pair */
    LLM_HEAD_TOKENS = 4,    /**< ...ForTokenClassification: labels of every token */
    LLM_HEAD_SPANS = 5,     /**< ...ForQuestionAnswering: where an answer begins and ends */
    LLM_HEAD_SEQ2SEQ = 6    /**< ...ForConditionalGeneration: a text from a text (T5) */
};

/** What the labels of LLM_HEAD_SEQUENCE mean: "problem_type" in config.json. */
enum {
    LLM_PROBLEM_SINGLE_LABEL = 1, /**< exactly one holds: softmax */
    LLM_PROBLEM_MULTI_LABEL = 2,  /**< each holds or not: sigmoid */
    LLM_PROBLEM_REGRESSION = 3    /**< numbers: the scores as they are */
};

/** LLM_HEAD_*; LLM_HEAD_NONE for NULL. @threads any. */
LLM_API int32_t llm_model_head(const llm_model *model);

/** LLM_PROBLEM_*; 0 for NULL and for heads without labels. @threads any. */
LLM_API int32_t llm_model_problem(const llm_model *model);

/** Labels of the head (2 for LLM_HEAD_SPANS: beginning and end); 0 without labels and for NULL.
 *  @threads any. */
LLM_API size_t llm_model_label_count(const llm_model *model);

/** The name of a label: "id2label" in config.json, else "LABEL_0", "LABEL_1", ...
 *  @return owned by the model; NULL when there is no such label. @threads any. */
LLM_API const char *llm_model_label(const llm_model *model, size_t index);

/* ---- heads on a tape ---- */

/** Texts for a head, as token ids laid end to end, without padding. Fill with
 *  llm_task_batch_init(), then assign; nothing is kept after a call. */
typedef struct llm_task_batch {
    size_t struct_size; /**< set by llm_task_batch_init() */
    const int32_t *ids; /**< token ids of all texts */
    /** One per id: 0, or 1 for the second text of a pair. NULL (default): all 0. */
    const int32_t *type_ids;
    const size_t *lengths; /**< [count] tokens of each text */
    size_t count;          /**< texts */
    /** For losses: LLM_HEAD_SEQUENCE with a single label: [count] labels. LLM_HEAD_SPANS:
     *  [2 * count], index of the first and of the last token of the answer within its text.
     *  LLM_HEAD_TOKENS, _MASKED_LM, _CAUSAL_LM: one label or token per id. LLM_HEAD_SEQ2SEQ: the
     *  tokens of the target texts, end to end. -100 leaves one out. */
    const int32_t *targets;
    const float *values; /**< losses of multi-label and regression heads: [count, labels] */
    const size_t *target_lengths; /**< LLM_HEAD_SEQ2SEQ: [count] tokens of each target text */
} llm_task_batch;

/** Fill `batch` with zeros. @param struct_size sizeof(*batch). */
LLM_API llm_status llm_task_batch_init(llm_task_batch *batch, size_t struct_size);

/** What the model's head says, as an operation on a tape:
 *  LLM_HEAD_NONE: hidden states [tokens, dim]; LLM_HEAD_CAUSAL_LM, _MASKED_LM: logits
 *  [tokens, vocabulary]; LLM_HEAD_SEQUENCE: scores [count, labels]; LLM_HEAD_TOKENS: scores
 *  [tokens, labels]; LLM_HEAD_SPANS: scores of beginning and end [tokens, 2]; LLM_HEAD_SEQ2SEQ:
 *  logits [target tokens, vocabulary] of each target token given those before it.
 *  @param out owned by the tape. @param batch `values` is not read.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE, LLM_E_BUSY, LLM_E_UNSUPPORTED, LLM_E_NOMEM, or the
 *  tape's first failure. */
LLM_API llm_status llm_op_task_scores(llm_tensor **out, llm_tape *tape, llm_model *model,
                                      const llm_task_batch *batch);

/** The mean loss as transformers computes it: cross-entropy, binary cross-entropy (multi-label) or
 *  squared error (regression). llm_backward() from it adds gradients to the model's tensors.
 *  @param out a scalar, owned by the tape. @return as llm_op_task_scores(); LLM_E_NUMERIC when
 *  every target is -100. */
LLM_API llm_status llm_op_task_loss(llm_tensor **out, llm_tape *tape, llm_model *model,
                                    const llm_task_batch *batch);

/* ---- tasks ---- */

/** A model with its tokenizer and what is needed to embed, classify, tag, answer, fill masks and
 *  translate with it. Immutable; keeps its own references to model and tokenizer.
 *  @threads any number may use one task; each call has its own memory. */
typedef struct llm_task llm_task;

/** How the hidden states of a text become one vector. */
enum {
    LLM_POOL_DEFAULT = 0,   /**< what the model's directory says, else LLM_POOL_MEAN */
    LLM_POOL_MEAN = 1,      /**< mean over the tokens */
    LLM_POOL_CLS = 2,       /**< the first token */
    LLM_POOL_LAST = 3,      /**< the last token */
    LLM_POOL_MAX = 4,       /**< the largest value of each component */
    LLM_POOL_MEAN_SQRT = 5, /**< sum over the tokens / sqrt(number of tokens) */
    LLM_POOL_MODEL = 6      /**< the model's own pooler (BERT's: a layer on the first token) */
};

/** Options of llm_task_load() and llm_task_new(). Fill with llm_task_options_init(), then assign.
 */
typedef struct llm_task_options {
    size_t struct_size; /**< set by llm_task_options_init() */
    /** Most tokens of a text, special tokens included; 0 (default): what the directory says
     *  ("max_seq_length"), else the model's context length. */
    int64_t max_tokens;
    int64_t overlap;   /**< tokens that two windows of a long text share; default 0 */
    int32_t pooling;   /**< LLM_POOL_* */
    int32_t normalize; /**< 1: vectors get length 1, 0: not, -1 (default): as the directory says */
    /** Embeddings of texts longer than max_tokens. 1: the text is cut into windows, whose vectors
     *  are averaged by their number of tokens; 0 (default): the text is cut off. */
    int32_t windows;
    int32_t reserved; /**< 0 */
} llm_task_options;

/** Fill `options` with the defaults. @param struct_size sizeof(*options). */
LLM_API llm_status llm_task_options_init(llm_task_options *options, size_t struct_size);

/** Load a model, its tokenizer and, of sentence-transformers directories, modules.json,
 *  1_Pooling/config.json, 2_Normalize and sentence_bert_config.json.
 *  @param out receives the task, NULL on failure; free with llm_task_free().
 *  @param directory path, NUL-terminated. A directory without tokenizer gives a task that takes
 *  token ids only. @param options NULL for defaults.
 *  @return as llm_model_load(); LLM_E_UNSUPPORTED names a module that libllm does not do.
 *  @threads any. */
LLM_API llm_status llm_task_load(llm_task **out, llm_context *context, const char *directory,
                                 const llm_task_options *options);

/** A task of a model and a tokenizer that exist already.
 *  @param tokenizer NULL: the task takes token ids only. @param options NULL for defaults.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE, LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_task_new(llm_task **out, llm_model *model, llm_tokenizer *tokenizer,
                                const llm_task_options *options);

/** NULL is allowed. */
LLM_API void llm_task_free(llm_task *task);

/** The task's model and tokenizer, owned by the task; NULL for NULL and when there is none. */
LLM_API llm_model *llm_task_model(const llm_task *task);
LLM_API llm_tokenizer *llm_task_tokenizer(const llm_task *task);

/** Most tokens of a text, special tokens included; 0 for NULL. */
LLM_API int64_t llm_task_max_tokens(const llm_task *task);

/* ---- embeddings ---- */

/** One vector for each text. Texts run packed, without padding: a vector depends on its text
 *  alone, to the last bit.
 *  @param vectors [count, llm_model_dim()] floats, row-major; NULL to ask for the size.
 *  @param capacity floats that fit. @param needed receives the number of floats; may be NULL.
 *  @param texts,sizes `count` texts in UTF-8 and their sizes in bytes.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE, LLM_E_BUFFER, LLM_E_BUSY, LLM_E_UNSUPPORTED (no
 *  tokenizer, no such pooling), LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_task_embed(float *vectors, size_t capacity, size_t *needed,
                                  const llm_task *task, const char *const *texts,
                                  const size_t *sizes, size_t count);

/** The same of token ids. Texts of more than max_tokens are cut as the options say.
 *  @param batch ids, type_ids, lengths, count. */
LLM_API llm_status llm_task_embed_ids(float *vectors, size_t capacity, size_t *needed,
                                      const llm_task *task, const llm_task_batch *batch);

/** Cosine similarities of all pairs: matrix[i * b_count + j] of a[i] and b[j], in -1 .. 1; 0 with a
 *  vector of zeros.
 *  @param matrix [a_count, b_count]. @param a,b [count, dim] floats, row-major.
 *  @return LLM_OK, LLM_E_INVALID. @threads any. */
LLM_API llm_status llm_similarity(float *matrix, const float *a, size_t a_count, const float *b,
                                  size_t b_count, size_t dim);

/* ---- classification and reranking ---- */

/** Labels of texts, or of pairs of texts (LLM_HEAD_SEQUENCE).
 *  @param values [count, labels]: probabilities that sum to 1 (single label), probabilities of each
 *  label (multi-label), or the numbers themselves (regression); NULL to ask for the size.
 *  @param texts,sizes `count` texts. @param pairs,pair_sizes the second text of each; NULL: none.
 *  @return as llm_task_embed(); LLM_E_UNSUPPORTED for other heads. @threads any. */
LLM_API llm_status llm_task_classify(float *values, size_t capacity, size_t *needed,
                                     const llm_task *task, const char *const *texts,
                                     const size_t *sizes, const char *const *pairs,
                                     const size_t *pair_sizes, size_t count);

/** The same of token ids, special tokens included. */
LLM_API llm_status llm_task_classify_ids(float *values, size_t capacity, size_t *needed,
                                         const llm_task *task, const llm_task_batch *batch);

/** How well documents answer a query, by a cross-encoder: an LLM_HEAD_SEQUENCE model with one label
 *  (the score is what the head says) or two (the second label's score less the first's). Sort by
 *  descending score.
 *  @param scores [count]. @return as llm_task_classify(). @threads any. */
LLM_API llm_status llm_task_rerank(float *scores, const llm_task *task, const char *query,
                                   size_t query_size, const char *const *documents,
                                   const size_t *sizes, size_t count);

/* ---- labels of tokens ---- */

/** Probabilities of each label for each token (LLM_HEAD_TOKENS).
 *  @param values [tokens, labels]; NULL to ask for the size. @return as llm_task_classify(). */
LLM_API llm_status llm_task_tag_ids(float *values, size_t capacity, size_t *needed,
                                    const llm_task *task, const llm_task_batch *batch);

/** How labels of tokens become entities. Labels "B-X" begin an entity X, "I-X" continue it. */
enum {
    LLM_TAGS_NONE = 0,    /**< one entity per token, label "O" left out */
    LLM_TAGS_SIMPLE = 1,  /**< neighbours with the same entity belong together */
    LLM_TAGS_FIRST = 2,   /**< a word has the label of its first token; then as SIMPLE */
    LLM_TAGS_AVERAGE = 3, /**< a word has the label that is best on average over its tokens */
    LLM_TAGS_MAX = 4      /**< a word has the label of its surest token */
};

/** An entity in a text. */
typedef struct llm_entity {
    size_t begin, end; /**< bytes of the text */
    const char *name;  /**< of the label, without "B-" or "I-"; owned by the model */
    int32_t label;     /**< of its first token */
    float score;       /**< mean probability of its tokens or words */
} llm_entity;

/** Entities of a text, in order (LLM_HEAD_TOKENS). Tokens beyond max_tokens are left out.
 *  @param entities receives at most `capacity`; may be NULL when capacity is 0.
 *  @param count receives how many there are, also with LLM_E_BUFFER.
 *  @param aggregation LLM_TAGS_*. @return as llm_task_classify(). @threads any. */
LLM_API llm_status llm_task_tag(llm_entity *entities, size_t capacity, size_t *count,
                                const llm_task *task, const char *text, size_t size,
                                int32_t aggregation);

/* ---- answers ---- */

/** Where an answer stands. */
typedef struct llm_answer {
    size_t begin, end; /**< bytes of the context; ids: tokens. begin == end: there is no answer */
    float score;       /**< probability of beginning times probability of end */
    int32_t reserved;
} llm_answer;

/** Options of llm_task_answer(). Fill with llm_answer_options_init(), then assign. */
typedef struct llm_answer_options {
    size_t struct_size; /**< set by llm_answer_options_init() */
    int64_t max_answer; /**< most tokens of an answer; default 15 */
    int64_t overlap;    /**< tokens that two windows of a long context share; default 128 */
    int32_t no_answer;  /**< 1: "no answer" is a candidate, as in SQuAD 2; default 0 */
    int32_t reserved;   /**< 0 */
} llm_answer_options;

/** Fill `options` with the defaults. @param struct_size sizeof(*options). */
LLM_API llm_status llm_answer_options_init(llm_answer_options *options, size_t struct_size);

/** The best answers to a question that stand in a context (LLM_HEAD_SPANS). A context longer than
 *  the model takes is read in windows. Each place is listed once.
 *  @param answers receives at most `capacity` > 0, best first. @param count receives how many.
 *  @param options NULL for defaults. @return as llm_task_classify(). @threads any. */
LLM_API llm_status llm_task_answer(llm_answer *answers, size_t capacity, size_t *count,
                                   const llm_task *task, const char *question, size_t question_size,
                                   const char *context, size_t context_size,
                                   const llm_answer_options *options);

/** The same of one text of token ids, special tokens included, in which the context is tokens
 *  first .. end - 1; begin and end of the answers count tokens of the whole text. */
LLM_API llm_status llm_task_answer_ids(llm_answer *answers, size_t capacity, size_t *count,
                                       const llm_task *task, const llm_task_batch *batch,
                                       size_t first, size_t end, const llm_answer_options *options);

/* ---- masks ---- */

/** A token for a mask, and its probability. */
typedef struct llm_fill {
    int32_t id;
    float probability;
} llm_fill;

/** The most probable tokens for each mask of a text (LLM_HEAD_MASKED_LM).
 *  @param fills [masks, top]: `top` tokens per mask, best first. NULL to ask for the size.
 *  @param capacity of `fills`. @param masks receives the number of masks in the text.
 *  @param mask text of the mask token, as it stands in `text`, for example "[MASK]" or "<mask>".
 *  @param top 1 .. vocabulary. @return as llm_task_classify(); LLM_E_RANGE when the text has no
 *  mask within max_tokens. @threads any. */
LLM_API llm_status llm_task_fill_mask(llm_fill *fills, size_t capacity, size_t *masks,
                                      const llm_task *task, const char *text, size_t size,
                                      const char *mask, size_t top);

/** The same of one text of token ids, special tokens included.
 *  @param mask_id id of the mask token. */
LLM_API llm_status llm_task_fill_mask_ids(llm_fill *fills, size_t capacity, size_t *masks,
                                          const llm_task *task, const llm_task_batch *batch,
                                          int32_t mask_id, size_t top);

/* ---- a text from a text ---- */

/** Options of llm_task_generate(). Fill with llm_seq2seq_options_init(), then assign. */
typedef struct llm_seq2seq_options {
    size_t struct_size;    /**< set by llm_seq2seq_options_init() */
    int64_t max_tokens;    /**< most new tokens; default 256 */
    double length_penalty; /**< beams: scores are divided by length ^ this; default 1 */
    double temperature;    /**< one beam: 0 (default): always the most probable token */
    double top_p;          /**< with temperature: the smallest set of this much probability; 1 */
    uint64_t seed;         /**< of sampling; 0 (default): the context's seed */
    int32_t num_beams;     /**< default 1; at most 256 */
    /** Beams. 0 (default): stop when no running text is likely to beat the finished ones; 1: stop
     *  when as many texts as beams are finished; 2: stop when none can beat them. These are
     *  transformers' False, True and "never". */
    int32_t early_stopping;
    int32_t top_k;    /**< with temperature: the most probable so many tokens; 0 (default): all */
    int32_t reserved; /**< 0 */
} llm_seq2seq_options;

/** Fill `options` with the defaults. @param struct_size sizeof(*options). */
LLM_API llm_status llm_seq2seq_options_init(llm_seq2seq_options *options, size_t struct_size);

/** Write a text for a text: a translation, a summary, ... (LLM_HEAD_SEQ2SEQ). With equal options
 *  and num_beams, the tokens are those of transformers' generate().
 *  @param text receives at most `capacity` bytes, no NUL added; may be NULL when capacity is 0.
 *  @param size receives the size of the whole text, also with LLM_E_BUFFER.
 *  @param source UTF-8, with the prefix that the model was trained for, for example
 *  "translate English to German: ". @param options NULL for defaults.
 *  @return as llm_task_classify(); LLM_E_NUMERIC when the logits are not finite. @threads any. */
LLM_API llm_status llm_task_generate(char *text, size_t capacity, size_t *size,
                                     const llm_task *task, const char *source, size_t source_size,
                                     const llm_seq2seq_options *options);

/** The same of token ids: `ids` receives the new tokens, the end token included when the text
 *  ended with it. @param source_ids special tokens included. */
LLM_API llm_status llm_task_generate_ids(int32_t *ids, size_t capacity, size_t *count,
                                         const llm_task *task, const int32_t *source_ids,
                                         size_t source_count, const llm_seq2seq_options *options);

#ifdef __cplusplus
}
#endif

#endif
