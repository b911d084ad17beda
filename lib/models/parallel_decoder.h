/* SPDX-License-Identifier: MIT
 *
 * The decoder with layer norms and a plain feed-forward whose two halves may stand side by side:
 * GPT-NeoX, Phi-2, Falcon. An architecture's own file reads its configuration, sets the switches
 * below and names its parameters; the block itself is in parallel_decoder.c.
 */
#ifndef MODELS_PARALLEL_DECODER_H
#define MODELS_PARALLEL_DECODER_H

#include "models/config.h"
#include "models/model.h"
#include "nn/rotary.h"
#include "nn/self_attention.h"

/* Under what names a parameter stands in Hugging Face's files and in GGUF; %d is the layer. */
struct parallel_name {
    const char *file, *gguf;
};

struct parallel_names {
    struct parallel_name tokens, attention_norm, mlp_norm, q, k, v, attention_output, up, down,
        final_norm, output;
};

/* Fill the defaults of the architecture's own configuration class, then parallel_read(). */
struct parallel_config {
    int64_t vocabulary, context, dim, inner;
    int32_t layers, heads;
    int32_t kv_heads; /* 0: as heads */
    double epsilon, deviation;
    double attention_dropout, residual_dropout, embedding_dropout;
    const char *activation;
    bool tied;

    /* not read by parallel_read() */
    bool serial;   /* the feed-forward half sees what attention added */
    bool one_norm; /* both halves see the same norm */
    bool attention_bias, mlp_bias, output_bias; /* the last: of logits */
    bool alibi;                                 /* slopes in place of rotary positions */
    enum qkv_layout layout;
    struct rotary_spec rope; /* head_dim and max_positions are filled in */
    const struct parallel_names *names;
};

/* The fields that these architectures share, with the checks between them. */
llm_status parallel_read(struct parallel_config *config, const json_t *json);

/* Sizes, layout and parameters of the model. */
llm_status parallel_create(llm_model *model, const struct parallel_config *config);

/* For the row of the table. */
llm_tensor *parallel_hidden(struct cx *cx, const llm_model *model, const struct batch *batch);
bool parallel_ignores(const char *name);

#endif
