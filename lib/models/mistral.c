/* SPDX-License-Identifier: MIT
 *
 * Mistral: Jiang et al., "Mistral 7B" (2023). LLaMA's block (decoder.c) with few key heads, where
 * every layer sees a sliding window of the last tokens, or all of them if the window is null.
 */
#include "models/arch.h"
#include "models/decoder.h"

static llm_status create(llm_model *model)
{
    struct decoder_config config = decoder_defaults();
    llm_status status;

    config.inner = 14336;
    config.kv_heads = 8;
    config.context = 4096 * 32;
    config.window = 4096;
    status = decoder_read(&config, model->config);
    if (!status)
        status = decoder_read_window(&config, model->config);
    if (!status)
        status = config_refuse(model->config, "layer_types");
    return status ? status : decoder_create(model, &config);
}

const struct arch arch_mistral = {.name = "mistral",
                                  .class_name = "MistralForCausalLM",
                                  .prefix = "model.",
                                  .create = create,
                                  .hidden = decoder_hidden,
                                  .ignores = decoder_ignores};
