/* SPDX-License-Identifier: MIT
 *
 * BERT: Devlin et al., "BERT: Pre-training of deep bidirectional transformers for language
 * understanding" (2018), with the configuration and the parameter names of Hugging Face
 * transformers. The encoder itself is models/encoder.c.
 */
#include "models/arch.h"
#include "models/encoder.h"

#include <string.h>

static const struct encoder_names names = {.words = "embeddings.word_embeddings",
                                           .positions = "embeddings.position_embeddings",
                                           .types = "embeddings.token_type_embeddings",
                                           .norm = "embeddings.LayerNorm",
                                           .query = "encoder.layer.%d.attention.self.query",
                                           .key = "encoder.layer.%d.attention.self.key",
                                           .value = "encoder.layer.%d.attention.self.value",
                                           .output = "encoder.layer.%d.attention.output.dense",
                                           .output_norm =
                                               "encoder.layer.%d.attention.output.LayerNorm",
                                           .up = "encoder.layer.%d.intermediate.dense",
                                           .down = "encoder.layer.%d.output.dense",
                                           .down_norm = "encoder.layer.%d.output.LayerNorm",
                                           .pooler = "pooler.dense",
                                           .sequence_dense = "bert.pooler.dense",
                                           .sequence_scores = "classifier",
                                           .token_scores = "classifier",
                                           .span_scores = "qa_outputs",
                                           .lm_dense = "cls.predictions.transform.dense",
                                           .lm_norm = "cls.predictions.transform.LayerNorm",
                                           .lm_matrix = "cls.predictions.decoder",
                                           .lm_bias = "cls.predictions.bias"};

static llm_status create(llm_model *model)
{
    struct encoder_config config = {.vocabulary = 30522,
                                    .positions = 512,
                                    .types = 2,
                                    .dim = 768,
                                    .inner = 3072,
                                    .layers = 12,
                                    .heads = 12,
                                    .epsilon = 1e-12,
                                    .deviation = 0.02,
                                    .dropout = 0.1,
                                    .attention_dropout = 0.1,
                                    .tied = true,
                                    .activation = "gelu",
                                    .sequence_activation = "tanh",
                                    .names = &names};
    llm_status status = encoder_read_config(&config, model->config);

    config.lm_activation = config.activation;
    return status ? status : encoder_create(model, &config);
}

/* Position numbers that old files carry, copies of tied weights, the pooler where it is not used,
 * and the head for pairs of sentences of the original training. */
static bool ignores(const char *tensor)
{
    return strstr(tensor, "embeddings.position_ids") || strstr(tensor, "pooler.dense.") ||
           strncmp(tensor, "cls.", 4) == 0;
}

const struct arch arch_bert = {.name = "bert",
                               .class_name = "BertModel",
                               .prefix = "bert.",
                               .create = create,
                               .hidden = encoder_hidden,
                               .ignores = ignores,
                               .heads = ENCODER_HEADS,
                               .bidirectional = true,
                               .logits = encoder_logits,
                               .head = encoder_head,
                               .pool = encoder_pool,
                               .alias = encoder_alias};
