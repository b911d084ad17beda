/* SPDX-License-Identifier: MIT
 *
 * Tasks: what a model does besides continuing texts. Its head and labels; training with any head.
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

#ifdef __cplusplus
}
#endif

#endif
