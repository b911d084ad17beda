/* SPDX-License-Identifier: MIT
 *
 * The table of architectures in GGUF files, after llama.cpp's llama-arch.cpp and its converter.
 */
#include "models/gguf_family.h"

#include <stdio.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* ---- fields ------------------------------------------------------------------------------------
 */

static const struct gguf_field gpt2_fields[] = {
    {"context_length", "n_positions", GGUF_COUNT, GGUF_CONTEXT, 1, 0},
    {"embedding_length", "n_embd", GGUF_COUNT, GGUF_WIDTH, 1, 0},
    {"block_count", "n_layer", GGUF_COUNT, GGUF_LAYERS, 1, 0},
    {"feed_forward_length", "n_inner", GGUF_COUNT, GGUF_FEED_FORWARD, 1, 0},
    {"attention.head_count", "n_head", GGUF_COUNT, GGUF_HEADS, 1, 0},
    {"attention.layer_norm_epsilon", "layer_norm_epsilon", GGUF_REAL, GGUF_NUMBER, 1, 1e-5},
};

#define DECODER_FIELDS                                                                             \
    {"context_length", "max_position_embeddings", GGUF_COUNT, GGUF_CONTEXT, 1, 0},                 \
        {"embedding_length", "hidden_size", GGUF_COUNT, GGUF_WIDTH, 1, 0},                         \
        {"block_count", "num_hidden_layers", GGUF_COUNT, GGUF_LAYERS, 1, 0},                       \
        {"feed_forward_length", "intermediate_size", GGUF_COUNT, GGUF_FEED_FORWARD, 1, 0},         \
    {                                                                                              \
        "attention.head_count", "num_attention_heads", GGUF_COUNT, GGUF_HEADS, 1, 0                \
    }

#define GROUPED_FIELDS                                                                             \
    DECODER_FIELDS,                                                                                \
        {"attention.head_count_kv", "num_key_value_heads", GGUF_COUNT, GGUF_KV_HEADS, 0, 0},       \
        {"attention.key_length", "head_dim", GGUF_COUNT, GGUF_HEAD_DIM, 0, 0},                     \
    {                                                                                              \
        "attention.layer_norm_rms_epsilon", "rms_norm_eps", GGUF_REAL, GGUF_NUMBER, 1, 1e-6        \
    }

static const struct gguf_field llama_fields[] = {GROUPED_FIELDS};

static const struct gguf_field mistral_fields[] = {
    GROUPED_FIELDS,
    {"attention.sliding_window", "sliding_window", GGUF_COUNT, GGUF_NO_DEFAULT, 0, 0},
};

static const struct gguf_field mixtral_fields[] = {
    GROUPED_FIELDS,
    {"attention.sliding_window", "sliding_window", GGUF_COUNT, GGUF_NO_DEFAULT, 0, 0},
    {"expert_count", "num_local_experts", GGUF_COUNT, GGUF_NUMBER, 1, 8},
    {"expert_used_count", "num_experts_per_tok", GGUF_COUNT, GGUF_NUMBER, 1, 2},
};

static const struct gguf_field gemma2_fields[] = {
    GROUPED_FIELDS,
    {"attention.sliding_window", "sliding_window", GGUF_COUNT, GGUF_NUMBER, 0, 4096},
    {"attn_logit_softcapping", "attn_logit_softcapping", GGUF_REAL, GGUF_NUMBER, 0, 50},
    {"final_logit_softcapping", "final_logit_softcapping", GGUF_REAL, GGUF_NUMBER, 0, 30},
};

static const struct gguf_field gemma3_fields[] = {
    GROUPED_FIELDS,
    {"attention.sliding_window", "sliding_window", GGUF_COUNT, GGUF_NUMBER, 0, 4096},
    {"rope.freq_base_swa", "rope_local_base_freq", GGUF_REAL, GGUF_NUMBER, 0, 10000},
};

static const struct gguf_field phi_fields[] = {
    DECODER_FIELDS,
    {"attention.head_count_kv", "num_key_value_heads", GGUF_COUNT, GGUF_KV_HEADS, 0, 0},
    {"attention.layer_norm_epsilon", "layer_norm_eps", GGUF_REAL, GGUF_NUMBER, 1, 1e-5},
};

static const struct gguf_field gpt_neox_fields[] = {
    DECODER_FIELDS,
    {"attention.layer_norm_epsilon", "layer_norm_eps", GGUF_REAL, GGUF_NUMBER, 1, 1e-5},
    {"use_parallel_residual", "use_parallel_residual", GGUF_FLAG, GGUF_NUMBER, 1, 1},
};

static const struct gguf_field falcon_fields[] = {
    {"context_length", "max_position_embeddings", GGUF_COUNT, GGUF_CONTEXT, 1, 0},
    {"embedding_length", "hidden_size", GGUF_COUNT, GGUF_WIDTH, 1, 0},
    {"block_count", "num_hidden_layers", GGUF_COUNT, GGUF_LAYERS, 1, 0},
    {"feed_forward_length", "ffn_hidden_size", GGUF_COUNT, GGUF_FEED_FORWARD, 1, 0},
    {"attention.head_count", "num_attention_heads", GGUF_COUNT, GGUF_HEADS, 1, 0},
    {"attention.head_count_kv", "num_kv_heads", GGUF_COUNT, GGUF_SIZE_KV_HEADS, 0, 0},
    {"attention.layer_norm_epsilon", "layer_norm_epsilon", GGUF_REAL, GGUF_NUMBER, 1, 1e-5},
};

static const struct gguf_field bert_fields[] = {
    DECODER_FIELDS,
    {"attention.layer_norm_epsilon", "layer_norm_eps", GGUF_REAL, GGUF_NUMBER, 1, 1e-12},
};

/* llama.cpp asks for the epsilon under both names. */
static const struct gguf_field t5_fields[] = {
    {"context_length", "n_positions", GGUF_COUNT, GGUF_CONTEXT, 0, 0},
    {"embedding_length", "d_model", GGUF_COUNT, GGUF_WIDTH, 1, 0},
    {"block_count", "num_layers", GGUF_COUNT, GGUF_LAYERS, 1, 0},
    {"decoder_block_count", "num_decoder_layers", GGUF_COUNT, GGUF_LAYERS, 0, 0},
    {"feed_forward_length", "d_ff", GGUF_COUNT, GGUF_FEED_FORWARD, 1, 0},
    {"attention.head_count", "num_heads", GGUF_COUNT, GGUF_HEADS, 1, 0},
    {"attention.key_length", "d_kv", GGUF_COUNT, GGUF_HEAD_DIM, 1, 0},
    {"attention.layer_norm_epsilon", "layer_norm_epsilon", GGUF_REAL, GGUF_NUMBER, 0, 1e-6},
    {"attention.layer_norm_rms_epsilon", "layer_norm_epsilon", GGUF_REAL, GGUF_NUMBER, 1, 1e-6},
    {"attention.relative_buckets_count", "relative_attention_num_buckets", GGUF_COUNT, GGUF_NUMBER,
     1, 32},
    {"decoder_start_token_id", "decoder_start_token_id", GGUF_COUNT, GGUF_NUMBER, 0, 0},
};

/* ---- what files cannot say ---------------------------------------------------------------------
 */

static const struct gguf_fixed gpt2_fixed[] = {
    {"activation_function", "\"gelu_new\"", "\"gelu_pytorch_tanh\""},
    {"scale_attn_weights", "true", NULL},
    {"scale_attn_by_inverse_layer_idx", "false", NULL},
    {NULL, NULL, NULL},
};

static const struct gguf_fixed silu_fixed[] = {
    {"hidden_act", "\"silu\"", "\"swish\""},
    {NULL, NULL, NULL},
};

static const struct gguf_fixed qwen2_fixed[] = {
    {"hidden_act", "\"silu\"", "\"swish\""},
    {"use_sliding_window", "false", NULL},
    {NULL, NULL, NULL},
};

static const struct gguf_fixed gemma_fixed[] = {
    {"hidden_activation", "\"gelu_pytorch_tanh\"", "null"},
    {"attention_bias", "false", NULL},
    {NULL, NULL, NULL},
};

static const struct gguf_fixed phi_fixed[] = {
    {"hidden_act", "\"gelu_new\"", "\"gelu_pytorch_tanh\""},
    {"qk_layernorm", "false", NULL},
    {NULL, NULL, NULL},
};

static const struct gguf_fixed gpt_neox_fixed[] = {
    {"hidden_act", "\"gelu\"", NULL},
    {"attention_bias", "true", NULL},
    {NULL, NULL, NULL},
};

static const struct gguf_fixed falcon_fixed[] = {
    {"activation", "\"gelu\"", NULL}, {"alibi", "false", NULL}, {"bias", "false", NULL},
    {"parallel_attn", "true", NULL},  {NULL, NULL, NULL},
};

static const struct gguf_fixed bert_fixed[] = {
    {"hidden_act", "\"gelu\"", NULL},
    {NULL, NULL, NULL},
};

static const struct gguf_fixed t5_fixed[] = {
    {"relative_attention_max_distance", "128", NULL},
    {NULL, NULL, NULL},
};

/* ---- rows --------------------------------------------------------------------------------------
 */

static const struct gguf_rule llama_rules[] = {
    {".attn_q.weight", GGUF_ROPE_QUERY},
    {".attn_q.bias", GGUF_ROPE_QUERY},
    {".attn_k.weight", GGUF_ROPE_KEY},
    {".attn_k.bias", GGUF_ROPE_KEY},
    {NULL, GGUF_SAME},
};

static const struct gguf_rule gemma_rules[] = {
    {"norm.weight", GGUF_PLUS_ONE},
    {NULL, GGUF_SAME},
};

static const struct gguf_rule group_rules[] = {
    {".attn_qkv.weight", GGUF_GROUPS},
    {".attn_qkv.bias", GGUF_GROUPS},
    {NULL, GGUF_SAME},
};

static const struct gguf_rule no_rules[] = {{NULL, GGUF_SAME}};

/* ---- what tables cannot say --------------------------------------------------------------------
 */

static llm_status set(json_t *config, const char *field, json_t *value)
{
    return json_object_set_new(config, field, value) == 0
               ? LLM_OK
               : status_set(LLM_E_NOMEM, "out of memory");
}

/* Biases are there or not; the file does not say it otherwise. */
static llm_status read_biases(json_t *config, const struct tensor_source *source)
{
    llm_status status = LLM_OK;

    if (tensor_source_find(source, "blk.0.attn_q.bias"))
        status = set(config, "attention_bias", json_true());
    if (!status && tensor_source_find(source, "blk.0.ffn_gate.bias"))
        status = set(config, "mlp_bias", json_true());
    return status;
}

/* llama.cpp scales queries by the width of a head, but for the one size where that is wrong. */
static double gemma2_scalar(int64_t dim, int64_t heads, int64_t head_dim, int64_t layers)
{
    return layers == 46 ? (double)dim / (double)heads : (double)head_dim;
}

static int64_t field_count(const json_t *config, const char *field)
{
    return (int64_t)json_integer_value(json_object_get(config, field));
}

static llm_status read_gemma2(json_t *config, const struct tensor_source *source)
{
    (void)source;
    return set(config, "query_pre_attn_scalar",
               json_real(gemma2_scalar(
                   field_count(config, "hidden_size"), field_count(config, "num_attention_heads"),
                   field_count(config, "head_dim"), field_count(config, "num_hidden_layers"))));
}

/* Which layers slide follows from their number: all but every `period`-th. */
static llm_status check_layer_types(const json_t *config, int32_t layers, int32_t period)
{
    const json_t *types = json_object_get(config, "layer_types");

    for (int32_t i = 0; json_is_array(types) && i < layers; i++) {
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        const char *expected = (i + 1) % period ? "sliding_attention" : "full_attention";

        if (!type || strcmp(type, expected) != 0)
            return status_set(LLM_E_UNSUPPORTED,
                              "field \"layer_types\": a GGUF file cannot say that layer %d is %s",
                              i, type ? type : "?");
    }
    return LLM_OK;
}

static llm_status check_scalar(const llm_model *model, double expected)
{
    double scalar = 256.0;
    llm_status status =
        json_read_double(model->config, "query_pre_attn_scalar", 1e-6, 1e6, &scalar);

    if (!status && scalar != expected)
        status = status_set(LLM_E_UNSUPPORTED,
                            "field \"query_pre_attn_scalar\": a GGUF file cannot say %g", scalar);
    return status;
}

static llm_status write_gemma2(struct gguf *gguf, const llm_model *model)
{
    llm_status status = check_layer_types(model->config, model->layers, 2);

    (void)gguf;
    return status ? status
                  : check_scalar(model, gemma2_scalar(model->dim, model->heads, model->head_dim,
                                                      model->layers));
}

/* The largest Gemma 3 has 62 layers and scales by the width over the heads. */
static double gemma3_scalar(int64_t dim, int64_t heads, int64_t head_dim, int64_t layers)
{
    return layers == 62 ? (double)dim / (double)heads : (double)head_dim;
}

static llm_status read_gemma3(json_t *config, const struct tensor_source *source)
{
    int64_t layers = field_count(config, "num_hidden_layers");
    json_t *types = json_array();
    llm_status status;

    (void)source;
    for (int64_t i = 0; i < layers; i++) {
        if (json_array_append_new(
                types, json_string((i + 1) % 6 ? "sliding_attention" : "full_attention"))) {
            json_decref(types);
            return status_set(LLM_E_NOMEM, "out of memory");
        }
    }
    status = set(config, "layer_types", types);
    if (!status)
        status = set(config, "query_pre_attn_scalar",
                     json_real(gemma3_scalar(field_count(config, "hidden_size"),
                                             field_count(config, "num_attention_heads"),
                                             field_count(config, "head_dim"), layers)));
    return status;
}

static llm_status write_gemma3(struct gguf *gguf, const llm_model *model)
{
    llm_status status = check_layer_types(model->config, model->layers, 6);

    (void)gguf;
    return status ? status
                  : check_scalar(model, gemma3_scalar(model->dim, model->heads, model->head_dim,
                                                      model->layers));
}

/* Two norms per layer: the new architecture of the 40B; else groups tell it from the 7B. */
static llm_status read_falcon(json_t *config, const struct tensor_source *source)
{
    bool two_norms = tensor_source_find(source, "blk.0.attn_norm_2.weight") != NULL;
    bool grouped = two_norms || field_count(config, "num_kv_heads") > 1;
    llm_status status = set(config, "new_decoder_architecture", json_boolean(grouped));

    if (!status)
        status = set(config, "multi_query", json_boolean(!grouped));
    if (!status && grouped)
        status = set(config, "num_ln_in_parallel_attn", json_integer(two_norms ? 2 : 1));
    return status;
}

static llm_status set_class(json_t *config, const char *class_name)
{
    json_t *names = json_array();

    if (!names || json_array_append_new(names, json_string(class_name))) {
        json_decref(names);
        return status_set(LLM_E_NOMEM, "out of memory");
    }
    return set(config, "architectures", names);
}

static llm_status read_bert(json_t *config, const struct tensor_source *source)
{
    const struct tensor_entry *types = tensor_source_find(source, "token_types.weight");
    const struct tensor_entry *scores = tensor_source_find(source, "cls.output.weight");
    llm_status status = set(config, "type_vocab_size",
                            json_integer(types && types->dimensions == 2 ? types->shape[0] : 0));

    if (!status)
        status = set_class(config, scores ? "BertForSequenceClassification" : "BertModel");
    if (!status && scores)
        status = set(config, "num_labels", json_integer(scores->shape[0]));
    return status;
}

static llm_status write_bert(struct gguf *gguf, const llm_model *model)
{
    int64_t types = 2;
    llm_status status = json_read_i64(model->config, "type_vocab_size", 0, 1 << 16, &types);

    if (!status && model->head.kind != LLM_HEAD_NONE && model->head.kind != LLM_HEAD_SEQUENCE)
        status = status_set(LLM_E_UNSUPPORTED, "GGUF files have no place for the head of a %s",
                            model->head.class_name);
    gguf_put_bool(gguf, "bert.attention.causal", false);
    gguf_put_u32(gguf, "tokenizer.ggml.token_type_count", (uint32_t)types);
    return status;
}

static llm_status read_t5(json_t *config, const struct tensor_source *source)
{
    bool gated = tensor_source_find(source, "enc.blk.0.ffn_gate.weight") != NULL;
    bool whole = tensor_source_find(source, "dec.blk.0.attn_q.weight") != NULL;
    llm_status status =
        set(config, "feed_forward_proj", json_string(gated ? "gated-gelu" : "relu"));

    return status ? status
                  : set_class(config, whole ? "T5ForConditionalGeneration" : "T5EncoderModel");
}

static llm_status write_t5(struct gguf *gguf, const llm_model *model)
{
    const char *activation = "relu";
    llm_status status = json_read_text(model->config, "feed_forward_proj", &activation);

    (void)gguf;
    if (!status && strcmp(activation, "relu") != 0 && strcmp(activation, "gated-gelu") != 0)
        status = status_set(LLM_E_UNSUPPORTED,
                            "field \"feed_forward_proj\": a GGUF file cannot say \"%.100s\"",
                            activation);
    return status;
}

/* ---- the table ---------------------------------------------------------------------------------
 */

#define FIELDS(table) .fields = table, .field_count = COUNT(table)

/* Of several for one GGUF architecture the first is what a file is taken for. */
static const struct gguf_family families[] = {
    {"gpt2", "gpt2", FIELDS(gpt2_fields), .fixed = gpt2_fixed, .rules = no_rules},
    {"llama", "llama", FIELDS(llama_fields), .fixed = silu_fixed, .rules = llama_rules,
     .theta = 10000, .read = read_biases},
    {"llama", "mistral", FIELDS(mistral_fields), .fixed = silu_fixed, .rules = llama_rules,
     .theta = 10000},
    {"llama", "mixtral", FIELDS(mixtral_fields), .fixed = silu_fixed, .rules = llama_rules,
     .theta = 1000000},
    {"qwen2", "qwen2", FIELDS(llama_fields), .fixed = qwen2_fixed, .rules = no_rules,
     .theta = 10000},
    {"qwen3", "qwen3", FIELDS(llama_fields), .fixed = qwen2_fixed, .rules = no_rules,
     .theta = 10000, .read = read_biases},
    {"gemma", "gemma", FIELDS(llama_fields), .fixed = gemma_fixed, .rules = gemma_rules,
     .theta = 10000},
    {"gemma2", "gemma2", FIELDS(gemma2_fields), .fixed = gemma_fixed, .rules = gemma_rules,
     .theta = 10000, .read = read_gemma2, .write = write_gemma2},
    {"gemma3", "gemma3_text", FIELDS(gemma3_fields), .fixed = gemma_fixed, .rules = gemma_rules,
     .theta = 1000000, .read = read_gemma3, .write = write_gemma3},
    {"phi2", "phi", FIELDS(phi_fields), .fixed = phi_fixed, .rules = no_rules, .theta = 10000,
     .part = 0.5},
    {"phi3", "phi3", FIELDS(mistral_fields), .fixed = silu_fixed, .rules = no_rules,
     .theta = 10000},
    {"gptneox", "gpt_neox", FIELDS(gpt_neox_fields), .fixed = gpt_neox_fixed, .rules = group_rules,
     .theta = 10000, .part = 0.25, .theta_field = "rotary_emb_base", .part_field = "rotary_pct"},
    {"falcon", "falcon", FIELDS(falcon_fields), .fixed = falcon_fixed, .rules = group_rules,
     .theta = 10000, .read = read_falcon},
    {"bert", "bert", FIELDS(bert_fields), .fixed = bert_fixed, .rules = no_rules, .read = read_bert,
     .write = write_bert},
    {"t5", "t5", FIELDS(t5_fields), .fixed = t5_fixed, .rules = no_rules, .read = read_t5,
     .write = write_t5},
    {"t5encoder", "t5", FIELDS(t5_fields), .fixed = t5_fixed, .rules = no_rules, .read = read_t5,
     .write = write_t5},
};

const struct gguf_family *gguf_family_of_type(const char *model_type)
{
    for (size_t i = 0; i < COUNT(families); i++) {
        if (strcmp(families[i].model_type, model_type) == 0)
            return &families[i];
    }
    return NULL;
}

const struct gguf_family *gguf_family_of_model(const llm_model *model)
{
    if (strcmp(model->head.class_name, "T5EncoderModel") == 0)
        return gguf_family_of_file("t5encoder");
    return gguf_family_of_type(model->arch->name);
}

const struct gguf_family *gguf_family_of_file(const char *architecture)
{
    for (size_t i = 0; i < COUNT(families); i++) {
        if (strcmp(families[i].architecture, architecture) == 0)
            return &families[i];
    }
    return NULL;
}

const char *gguf_key(char buffer[GGUF_KEY], const char *architecture, const char *key)
{
    (void)snprintf(buffer, GGUF_KEY, "%.40s.%s", architecture, key);
    return buffer;
}
