/* SPDX-License-Identifier: MIT
 *
 * GPT-NeoX and Pythia: Black et al., "GPT-NeoX-20B" (2022). Attention and feed-forward side by
 * side, each behind its own layer norm (parallel_decoder.c), or one after the other; queries, keys
 * and values fused head by head, rotary positions on part of each head.
 */
#include "models/arch.h"
#include "models/parallel_decoder.h"

#include <stdio.h>
#include <string.h>

static const struct parallel_names names = {
    .tokens = {"gpt_neox.embed_in.weight", "token_embd.weight"},
    .attention_norm = {"gpt_neox.layers.%d.input_layernorm", "blk.%d.attn_norm"},
    .mlp_norm = {"gpt_neox.layers.%d.post_attention_layernorm", "blk.%d.ffn_norm"},
    .q = {"gpt_neox.layers.%d.attention.query_key_value", "blk.%d.attn_qkv"},
    .attention_output = {"gpt_neox.layers.%d.attention.dense", "blk.%d.attn_output"},
    .up = {"gpt_neox.layers.%d.mlp.dense_h_to_4h", "blk.%d.ffn_up"},
    .down = {"gpt_neox.layers.%d.mlp.dense_4h_to_h", "blk.%d.ffn_down"},
    .final_norm = {"gpt_neox.final_layer_norm", "output_norm"},
    .output = {"embed_out", "output"},
};

static llm_status create(llm_model *model)
{
    struct parallel_config config = {.vocabulary = 50432,
                                     .context = 2048,
                                     .dim = 6144,
                                     .inner = 24576,
                                     .layers = 44,
                                     .heads = 64,
                                     .epsilon = 1e-5,
                                     .deviation = 0.02,
                                     .activation = "gelu",
                                     .attention_bias = true,
                                     .mlp_bias = true,
                                     .layout = QKV_GROUPED,
                                     .rope = {.theta = 10000.0,
                                              .theta_field = "rotary_emb_base",
                                              .part = 0.25,
                                              .part_field = "rotary_pct"},
                                     .names = &names};
    bool parallel = true;
    llm_status status = parallel_read(&config, model->config);

    if (!status)
        status =
            json_read_double(model->config, "hidden_dropout", 0.0, 0.999, &config.residual_dropout);
    if (!status)
        status = json_read_bool(model->config, "attention_bias", &config.attention_bias);
    if (!status)
        status = json_read_bool(model->config, "use_parallel_residual", &parallel);
    config.embedding_dropout = config.residual_dropout;
    config.serial = !parallel;
    return status ? status : parallel_create(model, &config);
}

/* transformers 5 has another name for it in memory. */
static bool alias(char *other, size_t size, const char *name, int attempt)
{
    if (attempt > 0 || strcmp(name, "embed_out.weight") != 0)
        return false;
    (void)snprintf(other, size, "lm_head.weight");
    return true;
}

const struct arch arch_gpt_neox = {.name = "gpt_neox",
                                   .class_name = "GPTNeoXForCausalLM",
                                   .prefix = "gpt_neox.",
                                   .create = create,
                                   .hidden = parallel_hidden,
                                   .ignores = parallel_ignores,
                                   .alias = alias};
