/* SPDX-License-Identifier: MIT
 *
 * LLaMA 1, 2, 3: Touvron et al., "LLaMA: open and efficient foundation language models" (2023) and
 * the reports after it. The family's plain form (decoder.c): x + attention(norm(x)), then
 * x + mlp(norm(x)); biases are optional.
 */
#include "models/arch.h"
#include "models/decoder.h"

static llm_status create(llm_model *model)
{
    struct decoder_config config = decoder_defaults();
    llm_status status = decoder_read(&config, model->config);

    if (!status)
        status = json_read_bool(model->config, "attention_bias", &config.qkv_bias);
    if (!status)
        status = json_read_bool(model->config, "mlp_bias", &config.mlp_bias);
    config.output_bias = config.qkv_bias;
    return status ? status : decoder_create(model, &config);
}

const struct arch arch_llama = {.name = "llama",
                                .class_name = "LlamaForCausalLM",
                                .prefix = "model.",
                                .create = create,
                                .hidden = decoder_hidden,
                                .ignores = decoder_ignores};
