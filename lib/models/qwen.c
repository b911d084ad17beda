/* SPDX-License-Identifier: MIT */
#include "models/qwen.h"

struct decoder_config qwen_defaults(void)
{
    struct decoder_config config = decoder_defaults();

    config.vocabulary = 151936;
    config.inner = 22016;
    config.context = 32768;
    config.window = 4096;
    return config;
}

llm_status qwen_read_windows(struct decoder_config *config, llm_model *model)
{
    bool *local = decoder_local_layers(model, config);
    bool used = false;
    int32_t first = 28;
    llm_status status = json_read_bool(model->config, "use_sliding_window", &used);

    if (!local)
        return LLM_E_NOMEM;
    if (!status)
        status = decoder_read_window(config, model->config);
    if (!status)
        status = json_read_i32(model->config, "max_window_layers", 0, INT32_MAX, &first);
    for (int32_t i = first; i < config->layers; i++)
        local[i] = true;
    if (!status)
        status = decoder_read_layer_types(local, config->layers, model->config);
    if (!used)
        config->window = 0;
    config->local = local;
    return status;
}
