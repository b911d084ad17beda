/* SPDX-License-Identifier: MIT
 *
 * Phi-1, Phi-1.5 and Phi-2: Li et al., "Textbooks are all you need II" (2023). Attention and
 * feed-forward side by side behind one layer norm (parallel_decoder.c), rotary positions on part of
 * each head, biases everywhere, logits too.
 */
#include "models/arch.h"
#include "models/parallel_decoder.h"

static const struct parallel_names names = {
    .tokens = {"model.embed_tokens.weight", "token_embd.weight"},
    .attention_norm = {"model.layers.%d.input_layernorm", "blk.%d.attn_norm"},
    .q = {"model.layers.%d.self_attn.q_proj", "blk.%d.attn_q"},
    .k = {"model.layers.%d.self_attn.k_proj", "blk.%d.attn_k"},
    .v = {"model.layers.%d.self_attn.v_proj", "blk.%d.attn_v"},
    .attention_output = {"model.layers.%d.self_attn.dense", "blk.%d.attn_output"},
    .up = {"model.layers.%d.mlp.fc1", "blk.%d.ffn_up"},
    .down = {"model.layers.%d.mlp.fc2", "blk.%d.ffn_down"},
    .final_norm = {"model.final_layernorm", "output_norm"},
    .output = {"lm_head", "output"},
};

#define FIELD(member) offsetof(struct parallel_config, member)

static const struct config_field fields[] = {
    {"num_key_value_heads", CONFIG_OR_NULL, FIELD(kv_heads), 1, 1 << 20},
    {"resid_pdrop", CONFIG_DOUBLE, FIELD(residual_dropout), 0.0, 0.999},
    {"embd_pdrop", CONFIG_DOUBLE, FIELD(embedding_dropout), 0.0, 0.999},
};

static llm_status create(llm_model *model)
{
    struct parallel_config config = {.vocabulary = 51200,
                                     .context = 2048,
                                     .dim = 2048,
                                     .inner = 8192,
                                     .layers = 24,
                                     .heads = 32,
                                     .epsilon = 1e-5,
                                     .deviation = 0.02,
                                     .activation = "gelu_new",
                                     .one_norm = true,
                                     .attention_bias = true,
                                     .mlp_bias = true,
                                     .output_bias = true,
                                     .layout = QKV_SEPARATE,
                                     .rope = {.theta = 10000.0, .part = 0.5},
                                     .names = &names};
    llm_status status = parallel_read(&config, model->config);

    if (!status)
        status = config_read(&config, model->config, fields, sizeof fields / sizeof fields[0]);
    if (!status)
        status = config_refuse(model->config, "qk_layernorm");
    if (!status && config.tied) /* the bias of logits would have no weight beside it */
        status = config_refuse(model->config, "tie_word_embeddings");
    return status ? status : parallel_create(model, &config);
}

const struct arch arch_phi = {.name = "phi",
                              .class_name = "PhiForCausalLM",
                              .prefix = "model.",
                              .create = create,
                              .hidden = parallel_hidden,
                              .ignores = parallel_ignores};
