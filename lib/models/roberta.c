/* SPDX-License-Identifier: MIT
 *
 * RoBERTa: Liu et al., "RoBERTa: A robustly optimized BERT pretraining approach" (2019), and XLM-R
 * (Conneau et al. 2019), with the configuration and the parameter names of Hugging Face
 * transformers. BERT with other heads; positions count from pad_token_id + 1, because fairseq gives
 * the position pad_token_id to padding. The encoder itself is models/encoder.c.
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
                                           .sequence_dense = "classifier.dense",
                                           .sequence_scores = "classifier.out_proj",
                                           .token_scores = "classifier",
                                           .span_scores = "qa_outputs",
                                           .lm_dense = "lm_head.dense",
                                           .lm_norm = "lm_head.layer_norm",
                                           .lm_matrix = "lm_head.decoder",
                                           .lm_bias = "lm_head.bias"};

static llm_status create(llm_model *model)
{
    struct encoder_config config = {.vocabulary = 50265,
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
                                    .drops_before_dense = true,
                                    .activation = "gelu",
                                    .lm_activation = "gelu",
                                    .sequence_activation = "tanh",
                                    .names = &names};
    int32_t padding = 1;
    llm_status status = encoder_read_config(&config, model->config);

    if (!status)
        status = json_read_i32(model->config, "pad_token_id", 0, 1 << 24, &padding);
    config.first_position = padding + 1;
    return status ? status : encoder_create(model, &config);
}

/* Position numbers that old files carry, the pooler where it is not used, copies of tied weights
 * and, of files for a plain model, the head. */
static bool ignores(const char *tensor)
{
    return strstr(tensor, "embeddings.position_ids") || strstr(tensor, "pooler.dense.") ||
           strncmp(tensor, "lm_head.", 8) == 0;
}

const struct arch arch_roberta = {.name = "roberta",
                                  .class_name = "RobertaModel",
                                  .prefix = "roberta.",
                                  .create = create,
                                  .hidden = encoder_hidden,
                                  .ignores = ignores,
                                  .heads = ENCODER_HEADS,
                                  .bidirectional = true,
                                  .logits = encoder_logits,
                                  .head = encoder_head,
                                  .pool = encoder_pool,
                                  .alias = encoder_alias};

const struct arch arch_xlm_roberta = {.name = "xlm-roberta",
                                      .class_name = "XLMRobertaModel",
                                      .prefix = "roberta.",
                                      .create = create,
                                      .hidden = encoder_hidden,
                                      .ignores = ignores,
                                      .heads = ENCODER_HEADS,
                                      .bidirectional = true,
                                      .logits = encoder_logits,
                                      .head = encoder_head,
                                      .pool = encoder_pool,
                                      .alias = encoder_alias};
