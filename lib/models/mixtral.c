/* SPDX-License-Identifier: MIT
 *
 * Mixtral: Jiang et al., "Mixtral of experts" (2024). Mistral's block (decoder.c) with a mixture of
 * experts as its feed-forward half (nn/experts.h). The loss is the plain one: the auxiliary loss
 * that balances experts belongs to training from scratch.
 */
#include "models/arch.h"
#include "models/decoder.h"
#include "nn/experts.h"

static const struct config_field fields[] = {
    {"num_local_experts", CONFIG_I32, offsetof(struct decoder_config, experts), 1, 4096},
    {"num_experts_per_tok", CONFIG_I32, offsetof(struct decoder_config, experts_used), 1,
     EXPERTS_MOST_USED},
};

enum { MOST_EXPERTS = 1 << 17 }; /* of all layers together */

static llm_status check_experts(const struct decoder_config *config)
{
    if (config->experts_used > config->experts)
        return status_set(LLM_E_RANGE,
                          "field \"num_experts_per_tok\" (%d) is above \"num_local_experts\" (%d)",
                          config->experts_used, config->experts);
    if ((int64_t)config->experts * config->layers > MOST_EXPERTS)
        return status_set(LLM_E_RANGE,
                          "field \"num_local_experts\": %d in each of %d layers are more than %d",
                          config->experts, config->layers, MOST_EXPERTS);
    return LLM_OK;
}

static llm_status create(llm_model *model)
{
    struct decoder_config config = decoder_defaults();
    llm_status status;

    config.inner = 14336;
    config.kv_heads = 8;
    config.context = 4096 * 32;
    config.epsilon = 1e-5;
    config.rope.theta = 1e6;
    config.experts = 8;
    config.experts_used = 2;
    status = decoder_read(&config, model->config);
    if (!status)
        status = decoder_read_window(&config, model->config);
    if (!status)
        status = config_read(&config, model->config, fields, sizeof fields / sizeof fields[0]);
    if (!status)
        status = config_refuse(model->config, "router_jitter_noise");
    if (!status)
        status = check_experts(&config);
    return status ? status : decoder_create(model, &config);
}

const struct arch arch_mixtral = {.name = "mixtral",
                                  .class_name = "MixtralForCausalLM",
                                  .prefix = "model.",
                                  .create = create,
                                  .hidden = decoder_hidden,
                                  .ignores = decoder_ignores};
