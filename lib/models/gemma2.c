/* SPDX-License-Identifier: MIT
 *
 * Gemma 2: "Gemma 2: improving open language models at a practical size" (2024). Gemma with norms
 * after each half of a block as well, soft caps of scores and logits, and sliding windows in every
 * other layer.
 */
#include "models/arch.h"
#include "models/gemma.h"

static llm_status create(llm_model *model)
{
    struct decoder_config config = gemma_defaults();
    llm_status status;

    config.dim = 2304;
    config.inner = 9216;
    config.layers = 26;
    config.heads = 8;
    config.kv_heads = 4;
    config.post_norms = true;
    config.query_scalar = 256.0;
    config.attention_cap = 50.0;
    config.logit_cap = 30.0;
    config.window = 4096;
    status = decoder_read(&config, model->config);
    config.activation = "gelu_pytorch_tanh"; /* "hidden_act" of old files is wrong */
    if (!status)
        status = gemma_read(&config, model, 2);
    return status ? status : decoder_create(model, &config);
}

const struct arch arch_gemma2 = {.name = "gemma2",
                                 .class_name = "Gemma2ForCausalLM",
                                 .prefix = "model.",
                                 .create = create,
                                 .hidden = decoder_hidden,
                                 .ignores = decoder_ignores};
