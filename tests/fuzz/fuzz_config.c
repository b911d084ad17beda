/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a config.json: the model is made within a memory limit and, if it is small, run.
 */
#include "fuzz.h"

#include <llm.h>

#include <stdlib.h>

enum { TOKENS = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int32_t ids[TOKENS] = {0, 0, 0};
    static llm_context *context;
    llm_context_options options;
    llm_model *model;
    double loss;

    if (!context) {
        if (llm_context_options_init(&options, sizeof options))
            abort();
        options.memory_limit = (uint64_t)16 << 20;
        options.threads = 1;
        if (llm_context_new(&context, &options))
            abort();
    }
    if (llm_model_new(&model, context, (const char *)data, size, NULL))
        return 0;
    if (llm_model_parameters(model) < 100000 && llm_model_layers(model) < 16)
        (void)llm_model_loss(&loss, model, ids, ids, TOKENS);
    llm_model_free(model);
    return 0;
}
