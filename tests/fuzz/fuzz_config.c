/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a config.json: the model is made within a memory limit and, if it is small, run: as
 * a language model, and with its head.
 */
#include "fuzz.h"

#include <llm.h>

#include <stdlib.h>

enum { TOKENS = 3 };

static void run_head(llm_context *context, llm_model *model, const int32_t *ids)
{
    static const size_t lengths[1] = {TOKENS};
    llm_task_batch batch;
    llm_tensor *scores;
    llm_tape *tape;

    if (llm_task_batch_init(&batch, sizeof batch) || llm_tape_new(&tape, context, NULL))
        return;
    batch.ids = batch.targets = ids;
    batch.lengths = batch.target_lengths = lengths;
    batch.count = 1;
    (void)llm_op_task_scores(&scores, tape, model, &batch);
    llm_tape_free(tape);
}

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
    if (llm_model_parameters(model) < 100000 && llm_model_layers(model) < 16)
        run_head(context, model, ids);
    llm_model_free(model);
    return 0;
}
