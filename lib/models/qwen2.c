/* SPDX-License-Identifier: MIT
 *
 * Qwen 2 and 2.5: Yang et al., "Qwen2 technical report" (2024). LLaMA's block (decoder.c) with
 * biases on queries, keys and values. If sliding windows are switched on, the layers from
 * "max_window_layers" on have them.
 */
#include "models/arch.h"
#include "models/qwen.h"

static llm_status create(llm_model *model)
{
    struct decoder_config config = qwen_defaults();
    llm_status status;

    config.kv_heads = 32;
    config.qkv_bias = true;
    status = decoder_read(&config, model->config);
    if (!status)
        status = qwen_read_windows(&config, model);
    return status ? status : decoder_create(model, &config);
}

const struct arch arch_qwen2 = {.name = "qwen2",
                                .class_name = "Qwen2ForCausalLM",
                                .prefix = "model.",
                                .create = create,
                                .hidden = decoder_hidden,
                                .ignores = decoder_ignores};
