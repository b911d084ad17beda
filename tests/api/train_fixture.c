/* SPDX-License-Identifier: MIT */
#include "train_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fixture_check(llm_status status, const char *what)
{
    if (status == LLM_OK)
        return;
    fprintf(stderr, "%s: %s: %s\n", what, llm_status_name(status), llm_last_error());
    abort();
}

llm_context *fixture_context(int threads, llm_log_fn log, void *user)
{
    llm_context_options options;
    llm_context *context;

    fixture_check(llm_context_options_init(&options, sizeof options), "options");
    options.threads = threads;
    options.log = log;
    options.log_user = user;
    fixture_check(llm_context_new(&context, &options), "context");
    return context;
}

llm_model *fixture_model(llm_context *context)
{
    static const char config[] =
        "{\"model_type\":\"gpt2\",\"n_layer\":2,\"n_head\":2,\"n_embd\":16,\"n_positions\":16,"
        "\"vocab_size\":32,\"resid_pdrop\":0.0,\"embd_pdrop\":0.0,\"attn_pdrop\":0.0}";
    llm_model *model;

    fixture_check(llm_model_new(&model, context, config, strlen(config), NULL), "model");
    return model;
}

llm_dataset *fixture_dataset(llm_context *context)
{
    int32_t ids[3000];
    uint32_t random = 7;
    llm_dataset *dataset;

    for (int i = 0; i < 3000; i++) {
        random = random * 1664525u + 1013904223u;
        ids[i] = i % 5 == 0 ? (int32_t)(random >> 27) : (ids[i - 1] * 7 + 3) % FIXTURE_VOCAB;
    }
    fixture_check(llm_dataset_from_ids(&dataset, context, ids, 3000, FIXTURE_VOCAB, 9, NULL),
                  "dataset");
    return dataset;
}

llm_trainer_options fixture_options(const char *output)
{
    llm_trainer_options options;

    fixture_check(llm_trainer_options_init(&options, sizeof options), "options");
    options.output = output;
    options.steps = 40;
    options.batch = 4;
    options.learning_rate = 1e-2;
    options.dropout = 0.1;
    options.warmup_steps = 5;
    options.eval_interval = 10;
    options.eval_batches = 2;
    options.log_interval = 1;
    options.checkpoint_interval = 5;
    return options;
}
