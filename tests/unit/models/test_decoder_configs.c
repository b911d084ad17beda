/* SPDX-License-Identifier: MIT
 *
 * Configurations of decoders: the sizes of published models (tests/golden/published_configs.json,
 * whose numbers of parameters transformers counted), what is refused and with which words, and the
 * text part of a model for text and images.
 */
#include "fixture.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

/* ---- published models --------------------------------------------------------------------------
 */

static void published_models_have_their_sizes(void **state)
{
    json_t *rows = json_load_file(golden_path("published_configs.json"), 0, NULL);
    llm_context *context = make_context(1);

    (void)state;
    assert_true(json_array_size(rows) > 15);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *name = json_string_value(json_object_get(row, "name"));
        char *config = json_dumps(json_object_get(row, "config"), 0);
        llm_model *model;

        assert_non_null(config);
        if (model_new(&model, context, config, strlen(config), name, true))
            fail_msg("%s", llm_last_error());
        if (model->params.elements != json_integer_value(json_object_get(row, "parameters")))
            fail_msg("%s: %lld parameters", name, (long long)model->params.elements);
        if (model->context_length != json_integer_value(json_object_get(row, "context")))
            fail_msg("%s: context of %lld", name, (long long)model->context_length);
        model_release(model);
        free(config);
    }
    json_decref(rows);
    llm_context_free(context);
}

/* ---- refused -----------------------------------------------------------------------------------
 */

#define SMALL                                                                                      \
    "\"vocab_size\":8,\"hidden_size\":8,\"intermediate_size\":8,\"num_hidden_layers\":2,"          \
    "\"num_attention_heads\":2,\"max_position_embeddings\":16"
#define MODEL(type) "{\"model_type\":\"" type "\"," SMALL ","

struct row {
    const char *config;
    llm_status status;
    const char *message;
};

static const struct row refused[] = {
    {"{\"model_type\":\"llama\",\"hidden_size\":10,\"num_attention_heads\":4}", LLM_E_RANGE,
     "\"hidden_size\" (10)"},
    {"{\"model_type\":\"llama\",\"num_key_value_heads\":5}", LLM_E_RANGE, "num_key_value_heads"},
    {"{\"model_type\":\"llama\",\"num_key_value_heads\":0}", LLM_E_RANGE, "num_key_value_heads"},
    {"{\"model_type\":\"llama\",\"head_dim\":-1}", LLM_E_RANGE, "head_dim"},
    {"{\"model_type\":\"llama\",\"head_dim\":65536,\"num_attention_heads\":1024}", LLM_E_RANGE,
     "head_dim"},
    {"{\"model_type\":\"llama\",\"hidden_act\":\"mish\"}", LLM_E_UNSUPPORTED, "hidden_act"},
    {"{\"model_type\":\"llama\",\"rms_norm_eps\":-1}", LLM_E_RANGE, "rms_norm_eps"},
    {"{\"model_type\":\"llama\",\"attention_bias\":1}", LLM_E_FORMAT, "attention_bias"},
    {"{\"model_type\":\"llama\",\"quantization_config\":{}}", LLM_E_UNSUPPORTED,
     "quantization_config"},
    {MODEL("llama") "\"rope_theta\":0.5}", LLM_E_RANGE, "rope_theta"},
    {MODEL("llama") "\"rope_theta\":\"a\"}", LLM_E_FORMAT, "rope_theta"},
    {MODEL("llama") "\"rope_scaling\":7}", LLM_E_FORMAT, "rope_scaling"},
    {MODEL("llama") "\"rope_parameters\":[]}", LLM_E_FORMAT, "rope_parameters"},
    {MODEL("llama") "\"rope_parameters\":{\"full_attention\":{\"rope_theta\":5}}}",
     LLM_E_UNSUPPORTED, "rope_parameters"},
    {MODEL("gemma3_text") "\"num_key_value_heads\":2,\"rope_parameters\":{\"full_attention\":7}}",
     LLM_E_FORMAT, "rope_parameters"},
    {MODEL("llama") "\"rope_scaling\":{\"type\":\"ntk\"}}", LLM_E_UNSUPPORTED, "\"ntk\""},
    {MODEL("llama") "\"rope_scaling\":{\"type\":7}}", LLM_E_FORMAT, "\"type\""},
    {MODEL("llama") "\"rope_scaling\":{\"type\":\"linear\"}}", LLM_E_FORMAT, "\"factor\""},
    {MODEL("llama") "\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":0}}", LLM_E_RANGE,
     "\"factor\""},
    {MODEL("llama") "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,"
                    "\"low_freq_factor\":4,\"high_freq_factor\":4}}",
     LLM_E_RANGE, "high_freq_factor"},
    {MODEL("llama") "\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1],"
                    "\"long_factor\":[1,1]}}",
     LLM_E_FORMAT, "short_factor"},
    {MODEL("llama") "\"rope_scaling\":{\"rope_type\":\"longrope\",\"short_factor\":[1,1],"
                    "\"long_factor\":[1,0]}}",
     LLM_E_RANGE, "long_factor"},
    {MODEL("llama") "\"partial_rotary_factor\":0.3}", LLM_E_UNSUPPORTED, "partial_rotary_factor"},
    {MODEL("llama") "\"partial_rotary_factor\":1.5}", LLM_E_RANGE, "partial_rotary_factor"},
    {MODEL("mistral") "\"num_key_value_heads\":2,\"sliding_window\":0}", LLM_E_RANGE,
     "sliding_window"},
    {MODEL("mistral") "\"num_key_value_heads\":2,\"layer_types\":[\"full_attention\"]}",
     LLM_E_UNSUPPORTED, "layer_types"},
    {MODEL("mixtral") "\"num_key_value_heads\":2,\"num_experts_per_tok\":9}", LLM_E_RANGE,
     "num_experts_per_tok"},
    {MODEL("mixtral") "\"num_key_value_heads\":2,\"num_local_experts\":0}", LLM_E_RANGE,
     "num_local_experts"},
    {"{\"model_type\":\"mixtral\",\"num_hidden_layers\":16384,\"num_local_experts\":4096}",
     LLM_E_RANGE, "num_local_experts"},
    {MODEL("mixtral") "\"num_key_value_heads\":2,\"router_jitter_noise\":0.1}", LLM_E_UNSUPPORTED,
     "router_jitter_noise"},
    {MODEL("qwen2") "\"num_key_value_heads\":2,\"max_window_layers\":-1}", LLM_E_RANGE,
     "max_window_layers"},
    {MODEL("qwen2") "\"num_key_value_heads\":2,\"layer_types\":[\"full_attention\"]}", LLM_E_FORMAT,
     "layer_types"},
    {MODEL("qwen3") "\"num_key_value_heads\":2,\"layer_types\":[\"full_attention\",\"chunked\"]}",
     LLM_E_UNSUPPORTED, "chunked"},
    {MODEL("qwen3") "\"num_key_value_heads\":2,\"layer_types\":[\"full_attention\",7]}",
     LLM_E_UNSUPPORTED, "layer_types"},
    {MODEL("gemma") "\"num_key_value_heads\":2,\"use_bidirectional_attention\":true}",
     LLM_E_UNSUPPORTED, "use_bidirectional_attention"},
    {MODEL("gemma2") "\"num_key_value_heads\":2,\"query_pre_attn_scalar\":0}", LLM_E_RANGE,
     "query_pre_attn_scalar"},
    {MODEL("gemma2") "\"num_key_value_heads\":2,\"attn_logit_softcapping\":-1}", LLM_E_RANGE,
     "attn_logit_softcapping"},
    {MODEL("gemma2") "\"num_key_value_heads\":2,\"hidden_activation\":\"mish\"}", LLM_E_UNSUPPORTED,
     "mish"},
    {MODEL("gemma3_text") "\"num_key_value_heads\":2,\"sliding_window_pattern\":0}", LLM_E_RANGE,
     "sliding_window_pattern"},
    {MODEL("gemma3_text") "\"num_key_value_heads\":2,\"rope_local_base_freq\":-1}", LLM_E_RANGE,
     "rope_local_base_freq"},
    {"{\"model_type\":\"gemma3\"}", LLM_E_UNSUPPORTED, "gemma3"},
    {"{\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":\"llama\"}}", LLM_E_UNSUPPORTED,
     "gemma3"},
    {"{\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":\"gemma3_text\","
     "\"hidden_size\":0}}",
     LLM_E_RANGE, "hidden_size"},
    {MODEL("phi") "\"qk_layernorm\":true}", LLM_E_UNSUPPORTED, "qk_layernorm"},
    {MODEL("phi") "\"tie_word_embeddings\":true}", LLM_E_UNSUPPORTED, "tie_word_embeddings"},
    {MODEL("phi") "\"num_key_value_heads\":3}", LLM_E_RANGE, "2 query heads"},
    {MODEL("phi3") "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4}}", LLM_E_UNSUPPORTED, "yarn"},
    {MODEL("phi3") "\"resid_pdrop\":1}", LLM_E_RANGE, "resid_pdrop"},
    {MODEL("gpt_neox") "\"rotary_pct\":2}", LLM_E_RANGE, "rotary_pct"},
    {MODEL("gpt_neox") "\"layer_norm_eps\":2}", LLM_E_RANGE, "layer_norm_eps"},
    {MODEL("gpt_neox") "\"hidden_act\":\"mish\"}", LLM_E_UNSUPPORTED, "hidden_act"},
    {"{\"model_type\":\"gpt_neox\",\"hidden_size\":10,\"num_attention_heads\":4}", LLM_E_RANGE,
     "hidden_size"},
    {MODEL("falcon") "\"new_decoder_architecture\":true,\"parallel_attn\":false}",
     LLM_E_UNSUPPORTED, "parallel_attn"},
    {MODEL("falcon") "\"new_decoder_architecture\":true,\"num_kv_heads\":3}", LLM_E_RANGE,
     "2 query heads"},
    {MODEL("falcon") "\"num_ln_in_parallel_attn\":3}", LLM_E_RANGE, "num_ln_in_parallel_attn"},
    {MODEL("falcon") "\"activation\":\"mish\"}", LLM_E_UNSUPPORTED, "mish"},
};

static void bad_configs_are_refused(void **state)
{
    llm_context *context = make_context(1);

    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const struct row *row = &refused[i];
        llm_model *model;
        llm_status status = llm_model_new(&model, context, row->config, strlen(row->config), NULL);

        if (status != row->status || !strstr(llm_last_error(), row->message))
            fail_msg("%s: status %d, \"%s\"", row->config, status, llm_last_error());
        assert_null(model);
    }
    llm_context_free(context);
}

/* ---- what two generations of files say the same way
 * ----------------------------------------------
 */

static float *logits_of(llm_context *context, const char *config)
{
    static const int32_t ids[] = {1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4};
    enum { COUNT = sizeof ids / sizeof ids[0] };
    float *logits = calloc((size_t)COUNT * 8, sizeof *logits);
    llm_model_new_options options;
    llm_model *model;

    assert_non_null(logits);
    assert_int_equal(LLM_OK, llm_model_new_options_init(&options, sizeof options));
    options.seed = 3;
    if (llm_model_new(&model, context, config, strlen(config), &options) ||
        llm_model_logits(logits, (size_t)COUNT * 8, NULL, model, ids, COUNT))
        fail_msg("%s: %s", config, llm_last_error());
    llm_model_free(model);
    return logits;
}

#define LOUD "\"initializer_range\":0.5,"
#define GEMMA MODEL("gemma3_text") LOUD "\"num_key_value_heads\":2,\"head_dim\":4,"

static void both_generations_agree(void **state)
{
    static const struct {
        const char *old, *new;
        bool same;
    } pairs[] = {
        {MODEL("llama") LOUD "\"rope_theta\":100.0,\"rope_scaling\":{\"type\":\"linear\","
                             "\"factor\":4}}",
         MODEL("llama") LOUD "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":4,"
                             "\"rope_theta\":100.0}}",
         true},
        {MODEL("llama") LOUD "\"rope_theta\":100.0}", MODEL("llama") LOUD "\"rope_theta\":90.0}",
         false},
        {MODEL("llama") LOUD "\"rope_theta\":9.0,\"rope_scaling\":{\"factor\":4,\"type\":\"yarn\","
                             "\"original_max_position_embeddings\":4}}",
         MODEL("llama") LOUD "\"original_max_position_embeddings\":4,\"rope_parameters\":{"
                             "\"rope_type\":\"yarn\",\"factor\":4,\"rope_theta\":9.0}}",
         true},
        {GEMMA "\"rope_theta\":50.0,\"rope_local_base_freq\":20.0,\"sliding_window\":3,"
               "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8},"
               "\"sliding_window_pattern\":2}",
         GEMMA "\"sliding_window\":3,\"layer_types\":[\"sliding_attention\",\"full_attention\"],"
               "\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":8,"
               "\"rope_theta\":50.0},\"sliding_attention\":{\"rope_type\":\"default\","
               "\"rope_theta\":20.0}}}",
         true},
        {GEMMA "\"sliding_window_pattern\":2,\"rope_theta\":2.0,\"rope_local_base_freq\":9.0}",
         GEMMA "\"sliding_window_pattern\":2,\"rope_theta\":9.0,\"rope_local_base_freq\":2.0}",
         false},
        {MODEL("gpt_neox") LOUD "\"rotary_pct\":1.0,\"rotary_emb_base\":50}",
         MODEL("gpt_neox") LOUD "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":50,"
                                "\"partial_rotary_factor\":1.0}}",
         true},
        {MODEL("gpt_neox") LOUD "\"rotary_pct\":1.0}", MODEL("gpt_neox") LOUD "\"rotary_pct\":0.5}",
         false},
        {MODEL("falcon") LOUD "\"n_layer\":2,\"n_head\":2}", MODEL("falcon") LOUD "\"bias\":false}",
         true},
    };
    llm_context *context = make_context(1);

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        float *old = logits_of(context, pairs[i].old);
        float *new = logits_of(context, pairs[i].new);

        if ((memcmp(old, new, 12 * 8 * sizeof *old) == 0) != pairs[i].same)
            fail_msg("pair %zu: %s", i, pairs[i].same ? "differs" : "makes no difference");
        free(old);
        free(new);
    }
    llm_context_free(context);
}

/* ---- windows -----------------------------------------------------------------------------------
 */

/* A window of n tokens and two layers: logits change with the token 2 (n - 1) before, not with the
 * one before that. */
static void windows_end_where_they_should(void **state)
{
    static const char config[] = MODEL("mistral") LOUD "\"num_key_value_heads\":2,"
                                                       "\"sliding_window\":3}";
    static const char null_window[] = MODEL("mistral") LOUD "\"num_key_value_heads\":2,"
                                                            "\"sliding_window\":null}";
    llm_context *context = make_context(1);

    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        const char *text = whole ? null_window : config;
        llm_model *model;
        float base[8 * 8], changed[8 * 8];
        int32_t ids[8] = {1, 2, 3, 4, 5, 6, 7, 0};

        assert_int_equal(LLM_OK, llm_model_new(&model, context, text, strlen(text), NULL));
        assert_int_equal(LLM_OK, llm_model_logits(base, 64, NULL, model, ids, 8));
        ids[2] = 0;
        assert_int_equal(LLM_OK, llm_model_logits(changed, 64, NULL, model, ids, 8));
        assert_memory_equal(base, changed, 2 * 8 * sizeof *base);
        assert_memory_not_equal(base + 6 * 8, changed + 6 * 8, 8 * sizeof *base);
        if (whole)
            assert_memory_not_equal(base + 7 * 8, changed + 7 * 8, 8 * sizeof *base);
        else
            assert_memory_equal(base + 7 * 8, changed + 7 * 8, 8 * sizeof *base);
        llm_model_free(model);
    }
    llm_context_free(context);
}

/* ---- the text part -----------------------------------------------------------------------------
 */

static void text_part_is_the_model(void **state)
{
    static const char config[] =
        "{\"model_type\":\"gemma3\",\"architectures\":[\"Gemma3ForConditionalGeneration\"],"
        "\"eos_token_id\":[1,6],\"vision_config\":{},\"text_config\":{"
        "\"model_type\":\"gemma3_text\",\"num_key_value_heads\":2,\"eos_token_id\":1," SMALL "}}";
    llm_context *context = make_context(1);
    llm_model *model;

    (void)state;
    if (llm_model_new(&model, context, config, strlen(config), NULL))
        fail_msg("%s", llm_last_error());
    assert_string_equal("gemma3_text", llm_model_architecture(model));
    assert_non_null(strstr(llm_model_config(model), "\"Gemma3ForCausalLM\""));
    assert_int_equal(2, json_array_size(json_object_get(model->config, "eos_token_id")));
    assert_null(strstr(llm_model_config(model), "vision_config"));
    llm_model_free(model);
    llm_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_models_have_their_sizes),
        cmocka_unit_test(bad_configs_are_refused),
        cmocka_unit_test(both_generations_agree),
        cmocka_unit_test(windows_end_where_they_should),
        cmocka_unit_test(text_part_is_the_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
