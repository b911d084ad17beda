/* SPDX-License-Identifier: MIT
 *
 * The decoder that LLaMA began and most models since vary: RMS norms, rotary positions, gated
 * feed-forward. An architecture's own file reads its configuration, sets the switches below and
 * names what is different; the block itself is in decoder.c.
 */
#ifndef MODELS_DECODER_H
#define MODELS_DECODER_H

#include "models/config.h"
#include "models/model.h"
#include "nn/rotary.h"

/* Fill the defaults of the architecture's own configuration class, then decoder_read(). */
struct decoder_config {
    int64_t vocabulary, context, dim, inner;
    int32_t layers, heads;
    int32_t kv_heads; /* 0: as heads */
    int32_t head_dim; /* 0: dim / heads */
    double epsilon, deviation;
    double attention_dropout, residual_dropout, embedding_dropout;
    const char *activation;
    bool tied;

    /* not read by decoder_read() */
    bool qkv_bias, output_bias, mlp_bias;
    bool fused;            /* one projection for q, k, v and one for gate and up (Phi-3) */
    bool head_norms;       /* of queries and keys (Qwen 3, Gemma 3) */
    bool post_norms;       /* after each half as well (Gemma 2, 3) */
    float norm_offset;     /* 1: Gemma */
    bool scaled_embedding; /* by sqrt(dim): Gemma */
    double query_scalar;   /* scores are scaled by its inverse root; 0: head_dim */
    double attention_cap;  /* soft caps of scores and logits; 0: none */
    double logit_cap;
    int32_t experts;               /* per layer; 0: one plain feed-forward */
    int32_t experts_used;          /* per token */
    int32_t window;                /* of sliding layers; 0: none slides */
    const bool *local;             /* [layers]: which slide; NULL: all, if there is a window */
    struct rotary_spec rope;       /* head_dim and max_positions are filled in */
    struct rotary_spec local_rope; /* of the layers that slide, if it has a theta */
};

/* LLaMA's own defaults. */
struct decoder_config decoder_defaults(void);

/* The fields that all these architectures share, with the checks between them. */
llm_status decoder_read(struct decoder_config *config, const json_t *json);

/* "sliding_window", where null stands for none. */
llm_status decoder_read_window(struct decoder_config *config, const json_t *json);

/* Memory for `local` in the model's arena; NULL when there is none. */
bool *decoder_local_layers(llm_model *model, const struct decoder_config *config);

/* "layer_types" of the configuration, if it is there, into local[layers]. */
llm_status decoder_read_layer_types(bool *local, int32_t layers, const json_t *json);

/* Sizes, layout and parameters of the model. */
llm_status decoder_create(llm_model *model, const struct decoder_config *config);

/* For the row of the table. */
llm_tensor *decoder_hidden(struct cx *cx, const llm_model *model, const struct batch *batch);
bool decoder_ignores(const char *name);

#endif
