/* SPDX-License-Identifier: MIT
 *
 * Falcon: Almazrouei et al., "The Falcon series of open language models" (2023). Three shapes of
 * one block (parallel_decoder.c): the 7B model has one layer norm and a single key head; the "new
 * decoder" of 40B and 180B has groups of query heads and a norm for each half, its 11B sibling one
 * norm; the RW models put the halves one after the other and use ALiBi slopes.
 */
#include "models/arch.h"
#include "models/parallel_decoder.h"

#include <string.h>

/* GGUF calls the norm that the feed-forward reads attn_norm, and attention's own attn_norm_2. */
#define NAMES(attention_norm_file, attention_norm_gguf, mlp_norm_file, mlp_norm_gguf)              \
    {                                                                                              \
        .tokens = {"transformer.word_embeddings.weight", "token_embd.weight"},                     \
        .attention_norm = {"transformer.h.%d." attention_norm_file,                                \
                           "blk.%d." attention_norm_gguf},                                         \
        .mlp_norm = {"transformer.h.%d." mlp_norm_file, "blk.%d." mlp_norm_gguf},                  \
        .q = {"transformer.h.%d.self_attention.query_key_value", "blk.%d.attn_qkv"},               \
        .attention_output = {"transformer.h.%d.self_attention.dense", "blk.%d.attn_output"},       \
        .up = {"transformer.h.%d.mlp.dense_h_to_4h", "blk.%d.ffn_up"},                             \
        .down = {"transformer.h.%d.mlp.dense_4h_to_h", "blk.%d.ffn_down"},                         \
        .final_norm = {"transformer.ln_f", "output_norm"}, .output = {"lm_head", "output"},        \
    }

static const struct parallel_names old_names =
    NAMES("input_layernorm", "attn_norm", "post_attention_layernorm", "ffn_norm");
static const struct parallel_names new_names =
    NAMES("ln_attn", "attn_norm_2", "ln_mlp", "attn_norm");

struct falcon {
    struct parallel_config config;
    int32_t kv_heads, norms;
    bool multi_query, new_decoder, parallel_attention, bias;
};

#define FIELD(member) offsetof(struct falcon, member)

/* Twice the same member: the first name is an old one. */
static const struct config_field fields[] = {
    {"n_layer", CONFIG_I32, FIELD(config.layers), 1, 1 << 14},
    {"num_hidden_layers", CONFIG_I32, FIELD(config.layers), 1, 1 << 14},
    {"n_head", CONFIG_I32, FIELD(config.heads), 1, 1 << 20},
    {"num_attention_heads", CONFIG_I32, FIELD(config.heads), 1, 1 << 20},
    {"n_head_kv", CONFIG_OR_NULL, FIELD(kv_heads), 1, 1 << 20},
    {"num_kv_heads", CONFIG_OR_NULL, FIELD(kv_heads), 1, 1 << 20},
    {"num_ln_in_parallel_attn", CONFIG_OR_NULL, FIELD(norms), 1, 2},
    {"layer_norm_epsilon", CONFIG_DOUBLE, FIELD(config.epsilon), 0.0, 1.0},
    {"hidden_dropout", CONFIG_DOUBLE, FIELD(config.residual_dropout), 0.0, 0.999},
    {"activation", CONFIG_TEXT, FIELD(config.activation), 0, 0},
    {"multi_query", CONFIG_BOOL, FIELD(multi_query), 0, 0},
    {"new_decoder_architecture", CONFIG_BOOL, FIELD(new_decoder), 0, 0},
    {"parallel_attn", CONFIG_BOOL, FIELD(parallel_attention), 0, 0},
    {"alibi", CONFIG_BOOL, FIELD(config.alibi), 0, 0},
    {"bias", CONFIG_BOOL, FIELD(bias), 0, 0},
};

/* Which of the shapes it is. */
static llm_status settle(struct falcon *falcon)
{
    struct parallel_config *config = &falcon->config;
    bool two_norms = falcon->new_decoder && falcon->norms != 1;

    if (falcon->new_decoder && !falcon->parallel_attention)
        return status_set(LLM_E_UNSUPPORTED, "field \"parallel_attn\": false in a new decoder");
    if (falcon->new_decoder)
        config->kv_heads = falcon->kv_heads;
    else
        config->kv_heads = falcon->multi_query ? 1 : config->heads;
    config->serial = !falcon->parallel_attention;
    config->one_norm = falcon->parallel_attention && !two_norms;
    config->names = two_norms ? &new_names : &old_names;
    config->attention_bias = config->mlp_bias = falcon->bias;
    return LLM_OK;
}

static llm_status create(llm_model *model)
{
    struct falcon falcon = {.config = {.vocabulary = 65024,
                                       .context = 2048,
                                       .dim = 4544,
                                       .layers = 32,
                                       .heads = 71,
                                       .epsilon = 1e-5,
                                       .deviation = 0.02,
                                       .activation = "gelu",
                                       .tied = true,
                                       .layout = QKV_GROUPED,
                                       .rope = {.theta = 10000.0}},
                            .multi_query = true,
                            .parallel_attention = true};
    struct parallel_config *config = &falcon.config;
    llm_status status = parallel_read(config, model->config);

    config->inner = 4 * config->dim;
    if (!status)
        status = json_read_i64(model->config, "ffn_hidden_size", 1, 1 << 22, &config->inner);
    if (!status)
        status = config_read(&falcon, model->config, fields, sizeof fields / sizeof fields[0]);
    if (!status)
        status = settle(&falcon);
    return status ? status : parallel_create(model, config);
}

const struct arch arch_falcon = {.name = "falcon",
                                 .class_name = "FalconForCausalLM",
                                 .prefix = "transformer.",
                                 .create = create,
                                 .hidden = parallel_hidden,
                                 .ignores = parallel_ignores};
