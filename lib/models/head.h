/* SPDX-License-Identifier: MIT
 *
 * Heads: which one a model has, chosen by the class that "architectures" in config.json names
 * ("BertForTokenClassification"), its labels, what it says and its losses, as transformers does
 * them. Architectures with heads of their own (encoders) declare and run them; the classification
 * head of decoders, which reads the last token, is here.
 */
#ifndef MODELS_HEAD_H
#define MODELS_HEAD_H

#include "models/model.h"

/* Fills model->head from model->config, before the architecture's create(). */
llm_status head_read(llm_model *model);
/* Declares what create() left to us. */
llm_status head_declare(llm_model *model);

/* Does create() declare an output matrix of its own (if it is not tied)? */
bool model_has_lm_head(const llm_model *model);

/* Rows of the first or the last token of each sequence: hidden [N, D] -> [S, D]. */
llm_tensor *head_first_rows(struct cx *cx, const struct batch *batch, llm_tensor *hidden);
llm_tensor *head_last_rows(struct cx *cx, const struct batch *batch, llm_tensor *hidden);

/* What the head says about hidden states [N, D]:
 *   LLM_HEAD_NONE                     the hidden states [N, D]
 *   LLM_HEAD_CAUSAL_LM, _MASKED_LM    logits [N, V]
 *   LLM_HEAD_SEQUENCE                 scores [S, labels]
 *   LLM_HEAD_TOKENS                   scores [N, labels]
 *   LLM_HEAD_SPANS                    scores of beginning and end [N, 2]
 * Encoder-decoders: see model_decode(). */
llm_tensor *model_head(struct cx *cx, const llm_model *model, const struct batch *batch,
                       llm_tensor *hidden);

/* What a loss compares with; which fields count depends on the head. */
struct head_targets {
    const int32_t *classes; /* SEQUENCE [S], TOKENS and *_LM [N], SPANS [S, 2]; -100 is left out */
    const float *values;    /* SEQUENCE: regression and multi-label, [S, labels] */
};

/* The mean loss as a scalar. */
llm_tensor *model_head_loss(struct cx *cx, const llm_model *model, const struct batch *batch,
                            const struct head_targets *targets);

/* Encoder-decoders: logits [N, V] after the target tokens of `batch`, given the source. */
llm_tensor *model_decode(struct cx *cx, const llm_model *model, const struct batch *batch,
                         const struct cross_memory *memory);
/* Whole target texts: shifted right behind the start token they are the decoder's input, so row i
 * of the logits is about target i. */
llm_tensor *model_seq2seq_logits(struct cx *cx, const llm_model *model, const struct batch *source,
                                 const struct batch *target, const int32_t *targets);
llm_tensor *model_seq2seq_loss(struct cx *cx, const llm_model *model, const struct batch *source,
                               const struct batch *target, const int32_t *targets);

#endif
