/* SPDX-License-Identifier: MIT
 *
 * DistilBERT: Sanh et al., "DistilBERT, a distilled version of BERT" (2019), with the configuration
 * and the parameter names of Hugging Face transformers. BERT without token types and pooler. The
 * encoder itself is models/encoder.c.
 */
#include "models/arch.h"
#include "models/config.h"
#include "models/encoder.h"

#include <string.h>

static const struct encoder_names names = {.words = "embeddings.word_embeddings",
                                           .positions = "embeddings.position_embeddings",
                                           .norm = "embeddings.LayerNorm",
                                           .query = "transformer.layer.%d.attention.q_lin",
                                           .key = "transformer.layer.%d.attention.k_lin",
                                           .value = "transformer.layer.%d.attention.v_lin",
                                           .output = "transformer.layer.%d.attention.out_lin",
                                           .output_norm = "transformer.layer.%d.sa_layer_norm",
                                           .up = "transformer.layer.%d.ffn.lin1",
                                           .down = "transformer.layer.%d.ffn.lin2",
                                           .down_norm = "transformer.layer.%d.output_layer_norm",
                                           .sequence_dense = "pre_classifier",
                                           .sequence_scores = "classifier",
                                           .token_scores = "classifier",
                                           .span_scores = "qa_outputs",
                                           .lm_dense = "vocab_transform",
                                           .lm_norm = "vocab_layer_norm",
                                           .lm_matrix = "vocab_projector",
                                           .lm_bias = "vocab_projector.bias"};

#define FIELD(name, kind, member, min, max)                                                        \
    {                                                                                              \
        name, CONFIG_##kind, offsetof(struct encoder_config, member), min, max                     \
    }

static const struct config_field fields[] = {
    FIELD("vocab_size", I64, vocabulary, 1, 1 << 24),
    FIELD("max_position_embeddings", I64, positions, 1, 1 << 24),
    FIELD("dim", I64, dim, 1, 1 << 20),
    FIELD("hidden_dim", I64, inner, 1, 1 << 22),
    FIELD("n_layers", I32, layers, 1, 1 << 14),
    FIELD("n_heads", I32, heads, 1, 1 << 20),
    FIELD("initializer_range", DOUBLE, deviation, 0, 1e3),
    FIELD("dropout", DOUBLE, dropout, 0, 0.999),
    FIELD("attention_dropout", DOUBLE, attention_dropout, 0, 0.999),
    FIELD("qa_dropout", DOUBLE, span_dropout, 0, 0.999),
    FIELD("tie_word_embeddings", BOOL, tied, 0, 0),
    FIELD("activation", TEXT, activation, 0, 0),
};

static llm_status create(llm_model *model)
{
    struct encoder_config config = {.vocabulary = 30522,
                                    .positions = 512,
                                    .dim = 768,
                                    .inner = 3072,
                                    .layers = 6,
                                    .heads = 12,
                                    .epsilon = 1e-12,
                                    .deviation = 0.02,
                                    .dropout = 0.1,
                                    .attention_dropout = 0.1,
                                    .span_dropout = 0.1,
                                    .tied = true,
                                    .activation = "gelu",
                                    .sequence_activation = "relu",
                                    .names = &names};
    llm_status status =
        config_read(&config, model->config, fields, sizeof fields / sizeof fields[0]);

    config.lm_activation = config.activation;
    config.head_dropout = config.dropout; /* of tokens; the dropout of texts has its own field */
    if (!status && model->head.kind == LLM_HEAD_SEQUENCE) {
        config.head_dropout = 0.2;
        status = json_read_double(model->config, "seq_classif_dropout", 0.0, 0.999,
                                  &config.head_dropout);
    }
    return status ? status : encoder_create(model, &config);
}

/* Copies of tied weights and, of files for a plain model, the head. */
static bool ignores(const char *tensor)
{
    return strncmp(tensor, "vocab_", 6) == 0;
}

const struct arch arch_distilbert = {.name = "distilbert",
                                     .class_name = "DistilBertModel",
                                     .prefix = "distilbert.",
                                     .create = create,
                                     .hidden = encoder_hidden,
                                     .ignores = ignores,
                                     .heads = ENCODER_HEADS,
                                     .bidirectional = true,
                                     .logits = encoder_logits,
                                     .head = encoder_head,
                                     .alias = encoder_alias};
