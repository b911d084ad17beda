/* SPDX-License-Identifier: MIT
 *
 * Gemma: "Gemma: open models based on Gemini research and technology" (2024). LLaMA's block
 * (decoder.c) with embeddings scaled by sqrt(D), norms whose weights count from one, wide heads and
 * GELU in the feed-forward half.
 */
#include "models/gemma.h"
#include "models/arch.h"

#include <string.h>

struct decoder_config gemma_defaults(void)
{
    struct decoder_config config = decoder_defaults();

    config.vocabulary = 256000;
    config.head_dim = 256;
    config.context = 8192;
    config.activation = "gelu_pytorch_tanh";
    config.tied = true;
    config.norm_offset = 1.0f;
    config.scaled_embedding = true;
    return config;
}

#define FIELD(member) offsetof(struct decoder_config, member)

/* Caps of null or 0 are none. */
static llm_status read_cap(double *cap, const json_t *json, const char *field)
{
    if (json_is_null(json_object_get(json, field)))
        *cap = 0.0;
    return json_read_double(json, field, 0.0, 1e6, cap);
}

llm_status gemma_read(struct decoder_config *config, llm_model *model, int32_t period)
{
    static const struct config_field fields[] = {
        {"hidden_activation", CONFIG_TEXT, FIELD(activation), 0, 0},
        {"attention_bias", CONFIG_BOOL, FIELD(qkv_bias), 0, 0},
        {"query_pre_attn_scalar", CONFIG_DOUBLE, FIELD(query_scalar), 1e-6, 1e9},
    };
    bool *local = decoder_local_layers(model, config);
    llm_status status =
        config_read(config, model->config, fields, sizeof fields / sizeof fields[0]);

    if (!local)
        return LLM_E_NOMEM;
    for (int32_t i = 0; i < config->layers; i++)
        local[i] = (i + 1) % period != 0;
    config->local = local;
    config->output_bias = config->qkv_bias;
    if (!status)
        status = read_cap(&config->attention_cap, model->config, "attn_logit_softcapping");
    if (!status)
        status = read_cap(&config->logit_cap, model->config, "final_logit_softcapping");
    if (!status)
        status = decoder_read_window(config, model->config);
    if (!status)
        status = decoder_read_layer_types(local, config->layers, model->config);
    return status ? status : config_refuse(model->config, "use_bidirectional_attention");
}

static llm_status create(llm_model *model)
{
    struct decoder_config config = gemma_defaults();
    llm_status status;

    config.dim = 3072;
    config.inner = 24576;
    config.layers = 28;
    config.heads = config.kv_heads = 16;
    status = decoder_read(&config, model->config);
    if (strcmp(config.activation, "gelu") == 0)
        config.activation = "gelu_pytorch_tanh"; /* the first files say so and mean this */
    if (!status)
        status = json_read_text(model->config, "hidden_activation", &config.activation);
    if (!status)
        status = json_read_bool(model->config, "attention_bias", &config.qkv_bias);
    config.output_bias = config.qkv_bias;
    if (!status)
        status = config_refuse(model->config, "use_bidirectional_attention");
    return status ? status : decoder_create(model, &config);
}

const struct arch arch_gemma = {.name = "gemma",
                                .class_name = "GemmaForCausalLM",
                                .prefix = "model.",
                                .create = create,
                                .hidden = decoder_hidden,
                                .ignores = decoder_ignores};
