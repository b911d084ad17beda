/* SPDX-License-Identifier: MIT
 *
 * Gemma 3, the text part: "Gemma 3 technical report" (2025). Gemma 2 with norms of each query and
 * key head in place of the caps, five sliding layers to one that sees everything, and rotary
 * positions of their own for the two kinds. Files of models for text and images hold it among other
 * tensors.
 */
#include "models/arch.h"
#include "models/gemma.h"

#include <stdio.h>
#include <string.h>

static llm_status create(llm_model *model)
{
    struct decoder_config config = gemma_defaults();
    int32_t period = 6;
    llm_status status;

    config.vocabulary = 262208;
    config.context = 131072;
    config.dim = 2304;
    config.inner = 9216;
    config.layers = 26;
    config.heads = 8;
    config.kv_heads = 4;
    config.post_norms = true;
    config.head_norms = true;
    config.query_scalar = 256.0;
    config.window = 4096;
    config.rope =
        (struct rotary_spec){.theta = 1e6, .layer_type = "full_attention", .extended = true};
    config.local_rope = (struct rotary_spec){.theta = 1e4,
                                             .theta_field = "rope_local_base_freq",
                                             .layer_type = "sliding_attention",
                                             .unscaled = true};
    status = decoder_read(&config, model->config);
    config.activation = "gelu_pytorch_tanh";
    if (!status)
        status = json_read_i32(model->config, "sliding_window_pattern", 1, 1 << 14, &period);
    if (!status)
        status = gemma_read(&config, model, period);
    return status ? status : decoder_create(model, &config);
}

/* "model.norm" may be "language_model.model.norm" or, since transformers 4.52,
 * "model.language_model.norm". */
static bool alias(char *other, size_t size, const char *name, int attempt)
{
    static const char prefix[] = "model.";
    size_t skipped = strncmp(name, prefix, sizeof prefix - 1) == 0 ? sizeof prefix - 1 : 0;

    if (attempt == 0)
        return snprintf(other, size, "language_model.%s", name) < (int)size;
    if (attempt == 1)
        return snprintf(other, size, "model.language_model.%s", name + skipped) < (int)size;
    return false;
}

static bool ignores(const char *name)
{
    return strstr(name, "vision_tower.") || strstr(name, "multi_modal_projector.") ||
           strcmp(name, "language_model.lm_head.weight") == 0 || decoder_ignores(name);
}

const struct arch arch_gemma3 = {.name = "gemma3_text",
                                 .class_name = "Gemma3ForCausalLM",
                                 .prefix = "model.",
                                 .wrapper = "gemma3",
                                 .create = create,
                                 .hidden = decoder_hidden,
                                 .ignores = ignores,
                                 .alias = alias};
