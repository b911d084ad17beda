/* SPDX-License-Identifier: MIT */
#include "session_models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static llm_status fill(llm_model *model, uint64_t seed, double deviation)
{
    llm_status status = LLM_OK;

    for (size_t i = 0; i < llm_model_tensor_count(model) && !status; i++) {
        const char *name = llm_model_tensor_name(model, i);
        llm_tensor *tensor = llm_model_tensor(model, i);

        if (llm_tensor_dimensions(tensor) == 2)
            status = llm_tensor_fill_normal(tensor, 0.0, deviation, seed + i);
        else if (strstr(name, "ln_") && strstr(name, "weight"))
            status = llm_tensor_fill_normal(tensor, 1.0, 0.2, seed + i);
        else
            status = llm_tensor_fill_normal(tensor, 0.0, 0.1, seed + i);
    }
    return status;
}

llm_status random_model(llm_model **out, llm_context *context, uint64_t seed)
{
    char config[256];
    int size = snprintf(config, sizeof config,
                        "{\"model_type\":\"gpt2\",\"n_layer\":3,\"n_head\":4,\"n_embd\":64,"
                        "\"n_positions\":%d,\"vocab_size\":%d,\"eos_token_id\":null}",
                        RANDOM_CONTEXT, RANDOM_VOCABULARY);
    llm_status status = llm_model_new(out, context, config, (size_t)size, NULL);

    if (!status)
        status = fill(*out, seed, 0.25);
    if (status) {
        llm_model_free(*out);
        *out = NULL;
    }
    return status;
}

llm_status narrow_model(llm_model **out, llm_context *context)
{
    char config[256];
    int size = snprintf(config, sizeof config,
                        "{\"model_type\":\"gpt2\",\"n_layer\":1,\"n_head\":2,\"n_embd\":16,"
                        "\"n_positions\":%d,\"vocab_size\":%d,\"eos_token_id\":null}",
                        RANDOM_CONTEXT, RANDOM_VOCABULARY);

    return llm_model_new(out, context, config, (size_t)size, NULL);
}

static void set_rows(llm_model *model, const int32_t *script, size_t count)
{
    llm_tensor *tokens = llm_model_find_tensor(model, "transformer.wte.weight");
    llm_tensor *positions = llm_model_find_tensor(model, "transformer.wpe.weight");
    int64_t width = llm_model_dim(model);
    const float *from;
    float *to;

    assert_non_null(tokens);
    assert_non_null(positions);
    assert_int_equal(llm_tensor_fill_normal(tokens, 0.0, 1.0, 77), LLM_OK);
    from = llm_tensor_data(tokens);
    to = llm_tensor_data(positions);
    for (int64_t p = 0; p < SCRIPT_CONTEXT; p++) {
        const float *row = from + (p < (int64_t)count ? script[p] : 0) * width;

        for (int64_t i = 0; i < width; i++)
            to[p * width + i] = 100.0f * row[i];
    }
}

llm_model *script_model(llm_context *context, const int32_t *script, size_t count, int32_t eos)
{
    llm_model *model = NULL;
    char config[256];
    int size;

    size = snprintf(config, sizeof config,
                    "{\"model_type\":\"gpt2\",\"n_layer\":1,\"n_head\":2,\"n_embd\":64,"
                    "\"n_positions\":%d,\"vocab_size\":%d,\"eos_token_id\":[%d]}",
                    SCRIPT_CONTEXT, SCRIPT_VOCABULARY, eos);
    assert_int_equal(llm_model_new(&model, context, config, (size_t)size, NULL), LLM_OK);
    for (size_t i = 0; i < llm_model_tensor_count(model); i++) {
        if (strstr(llm_model_tensor_name(model, i), "c_proj"))
            assert_int_equal(llm_tensor_fill(llm_model_tensor(model, i), 0.0), LLM_OK);
    }
    set_rows(model, script, count);
    return model;
}

llm_tokenizer *byte_tokenizer(llm_context *context)
{
    const char *special = "<end>";
    llm_tokenizer_train_options options;
    llm_tokenizer *tokenizer = NULL;

    assert_int_equal(llm_tokenizer_train_options_init(&options, sizeof options), LLM_OK);
    options.kind = LLM_TOKENIZER_BYTES;
    options.special_tokens = &special;
    options.special_count = 1;
    assert_int_equal(llm_tokenizer_train(&tokenizer, context, NULL, NULL, 0, &options), LLM_OK);
    return tokenizer;
}
