/* SPDX-License-Identifier: MIT
 *
 * The encoder that BERT, RoBERTa and DistilBERT share: learned positions, attention in both
 * directions, layer norm behind each half of a block (post-norm), and its heads. After Devlin et
 * al., "BERT: Pre-training of deep bidirectional transformers" (2018). An architecture fills
 * struct encoder_config and names the parameters; everything else is in encoder.c and
 * encoder_head.c.
 */
#ifndef MODELS_ENCODER_H
#define MODELS_ENCODER_H

#include "models/head.h"
#include "nn/activation.h"
#include "nn/attention_layer.h"
#include "nn/layer_norm.h"

/* Parameter names without ".weight" and ".bias"; "%d" is the layer. The first group follows the
 * prefix (struct arch), which a model without a head leaves out. */
struct encoder_names {
    const char *words, *positions, *types, *norm;
    const char *query, *key, *value, *output, *output_norm;
    const char *up, *down, *down_norm;
    const char *pooler; /* of LLM_HEAD_NONE; NULL: none */

    const char *sequence_dense, *sequence_scores; /* LLM_HEAD_SEQUENCE */
    const char *token_scores, *span_scores;
    const char *lm_dense, *lm_norm; /* LLM_HEAD_MASKED_LM */
    const char *lm_matrix;          /* tied to the words, or a parameter */
    const char *lm_bias;            /* the whole name */
};

struct encoder_config {
    int64_t vocabulary, positions, types, dim, inner;
    int32_t layers, heads;
    int32_t first_position; /* row of the position table for the first token */
    double epsilon, deviation;
    double dropout, attention_dropout, head_dropout, span_dropout;
    bool tied;
    bool drops_before_dense; /* LLM_HEAD_SEQUENCE */
    const char *activation;  /* of the blocks */
    const char *lm_activation, *sequence_activation;
    const struct encoder_names *names;
};

struct encoder_layer {
    struct linear query, key, value, output; /* [D, D] */
    struct linear up;                        /* [F, D] */
    struct linear down;                      /* [D, F] */
    struct layer_norm output_norm, down_norm;
};

/* The layout of these models (llm_model.layout). */
struct encoder {
    llm_tensor *words;     /* [V, D] */
    llm_tensor *positions; /* [first_position + context, D] */
    llm_tensor *types;     /* [types, D] or NULL */
    struct layer_norm norm;
    struct encoder_layer *layers;
    struct attention attention;
    activation_fn activation, lm_activation, sequence_activation;
    int32_t first_position;
    float dropout, head_dropout, span_dropout;
    bool drops_before_dense;

    struct linear dense; /* [D, D]: before the scores, or BERT's pooler */
    struct layer_norm lm_norm;
    llm_tensor *lm_bias;  /* [V] */
    struct linear scores; /* [labels, D] */
};

/* Heads that encoder_create() can declare; struct arch.heads. */
enum {
    ENCODER_HEADS = 1 << LLM_HEAD_NONE | 1 << LLM_HEAD_MASKED_LM | 1 << LLM_HEAD_SEQUENCE |
                    1 << LLM_HEAD_TOKENS | 1 << LLM_HEAD_SPANS
};

/* The fields that BERT and its children spell alike, defaults as they stand in `config`. */
llm_status encoder_read_config(struct encoder_config *config, const json_t *json);

/* Checks the configuration, fills the model's sizes, declares all parameters. */
llm_status encoder_create(llm_model *model, const struct encoder_config *config);
void encoder_declare_head(llm_model *model, struct encoder *encoder,
                          const struct encoder_config *config); /* encoder_head.c */

/* Hooks of struct arch. */
llm_tensor *encoder_hidden(struct cx *cx, const llm_model *model, const struct batch *batch);
llm_tensor *encoder_logits(struct cx *cx, const llm_model *model, llm_tensor *hidden);
llm_tensor *encoder_head(struct cx *cx, const llm_model *model, const struct batch *batch,
                         llm_tensor *hidden);
llm_tensor *encoder_pool(struct cx *cx, const llm_model *model, const struct batch *batch,
                         llm_tensor *hidden);
/* Layer norms of files made before PyTorch: "gamma" and "beta". */
bool encoder_alias(char *other, size_t size, const char *name, int attempt);

#endif
