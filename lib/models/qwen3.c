/* SPDX-License-Identifier: MIT
 *
 * Qwen 3: Yang et al., "Qwen3 technical report" (2025). As Qwen 2, with norms of each query and key
 * head in place of the biases.
 */
#include "models/arch.h"
#include "models/qwen.h"

static llm_status create(llm_model *model)
{
    struct decoder_config config = qwen_defaults();
    llm_status status;

    config.kv_heads = 32;
    config.head_dim = 128;
    config.head_norms = true;
    status = decoder_read(&config, model->config);
    if (!status)
        status = json_read_bool(model->config, "attention_bias", &config.qkv_bias);
    config.output_bias = config.qkv_bias;
    if (!status)
        status = qwen_read_windows(&config, model);
    return status ? status : decoder_create(model, &config);
}

const struct arch arch_qwen3 = {.name = "qwen3",
                                .class_name = "Qwen3ForCausalLM",
                                .prefix = "model.",
                                .create = create,
                                .hidden = decoder_hidden,
                                .ignores = decoder_ignores};
