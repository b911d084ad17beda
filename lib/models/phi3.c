/* SPDX-License-Identifier: MIT
 *
 * Phi-3, Phi-3.5 and Phi-4: Abdin et al., "Phi-3 technical report" (2024). LLaMA's block
 * (decoder.c) with one projection for queries, keys and values and one for gate and up, LongRoPE,
 * optionally a sliding window and heads that turn in part.
 */
#include "models/arch.h"
#include "models/decoder.h"

#include <string.h>

static const struct config_field fields[] = {
    {"resid_pdrop", CONFIG_DOUBLE, offsetof(struct decoder_config, residual_dropout), 0.0, 0.999},
};

/* transformers reads "yarn" as LongRoPE here; no published file has it. */
static llm_status check_rope(const json_t *json)
{
    const json_t *group = json_object_get(json, "rope_scaling");
    const char *type = json_string_value(json_object_get(group, "type"));

    if (type && strcmp(type, "yarn") == 0)
        return status_set(LLM_E_UNSUPPORTED, "field \"rope_scaling\": \"yarn\" in a Phi-3 model");
    return LLM_OK;
}

static llm_status create(llm_model *model)
{
    struct decoder_config config = decoder_defaults();
    llm_status status;

    config.vocabulary = 32064;
    config.dim = 3072;
    config.inner = 8192;
    config.context = 4096;
    config.epsilon = 1e-5;
    config.fused = true;
    config.rope.original_positions = 4096;
    status = decoder_read(&config, model->config);
    if (!status)
        status = decoder_read_window(&config, model->config);
    if (!status)
        status = config_read(&config, model->config, fields, sizeof fields / sizeof fields[0]);
    if (!status)
        status = check_rope(model->config);
    return status ? status : decoder_create(model, &config);
}

const struct arch arch_phi3 = {.name = "phi3",
                               .class_name = "Phi3ForCausalLM",
                               .prefix = "model.",
                               .create = create,
                               .hidden = decoder_hidden,
                               .ignores = decoder_ignores};
