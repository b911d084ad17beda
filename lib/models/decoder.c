/* SPDX-License-Identifier: MIT
 *
 * Touvron et al., "LLaMA" (2023), and its descendants. `block` is the mathematics; what follows it
 * reads configurations and names parameters, once for the whole family.
 */
#include "models/decoder.h"

#include "graph/op.h"
#include "models/head.h"
#include "nn/experts.h"
#include "nn/gated_mlp.h"
#include "nn/self_attention.h"
#include "nn/stack.h"

#include <math.h>
#include <string.h>

struct decoder_block {
    struct rms_norm attention_norm, mlp_norm;           /* before each half */
    struct rms_norm attention_post_norm, mlp_post_norm; /* after it; weight NULL: none */
    struct self_attention attention;
    struct gated_mlp mlp;
    struct experts experts; /* count 0: `mlp` instead */
};

struct decoder {
    llm_tensor *tokens; /* [V, D] */
    struct rms_norm final_norm;
    struct decoder_block *blocks; /* [layers] */
    struct rotary rotary;         /* of layers that see everything */
    struct rotary local_rotary;   /* of layers that slide, where it differs */
    float embedding_scale;        /* 1: none */
    float residual_dropout, embedding_dropout;
};

/* ---- forward -----------------------------------------------------------------------------------
 */

static llm_tensor *block(struct cx *cx, void *arg, llm_tensor *x /* [N, D] */)
{
    const struct block_call *call = arg;
    const struct decoder *decoder = call->layout;
    const struct decoder_block *layer = &decoder->blocks[call->layer];
    llm_tensor *normed, *y;

    normed = rms_norm_forward(cx, &layer->attention_norm, x);
    y = self_attention_forward(cx, &layer->attention, call->batch, call->layer, normed);
    cx_release(cx, normed);
    if (layer->attention_post_norm.weight)
        y = rms_norm_forward(cx, &layer->attention_post_norm, y);
    x = residual_add(cx, x, y, decoder->residual_dropout);

    normed = rms_norm_forward(cx, &layer->mlp_norm, x);
    y = layer->experts.count ? experts_forward(cx, &layer->experts, normed)
                             : gated_mlp_forward(cx, &layer->mlp, normed);
    cx_release(cx, normed);
    if (layer->mlp_post_norm.weight)
        y = rms_norm_forward(cx, &layer->mlp_post_norm, y);
    return residual_add(cx, x, y, decoder->residual_dropout);
}

llm_tensor *decoder_hidden(struct cx *cx, const llm_model *model, const struct batch *batch)
{
    const struct decoder *decoder = model->layout;
    llm_tensor *tokens = op_embedding(cx, decoder->tokens, batch->ids, batch->tokens); /* [N, D] */
    llm_tensor *x = tokens;

    if (decoder->embedding_scale != 1.0f) {
        x = op_affine(cx, tokens, decoder->embedding_scale, 0.0f);
        cx_release(cx, tokens);
    }
    x = op_dropout(cx, x, decoder->embedding_dropout);
    x = stack_forward(cx, block, decoder, model->layers, batch, x);
    return rms_norm_forward(cx, &decoder->final_norm, x);
}

/* ---- configuration -----------------------------------------------------------------------------
 */

struct decoder_config decoder_defaults(void)
{
    return (struct decoder_config){.vocabulary = 32000,
                                   .context = 2048,
                                   .dim = 4096,
                                   .inner = 11008,
                                   .layers = 32,
                                   .heads = 32,
                                   .epsilon = 1e-6,
                                   .deviation = 0.02,
                                   .activation = "silu",
                                   .rope = {.theta = 10000.0}};
}

#define FIELD(member) offsetof(struct decoder_config, member)

static const struct config_field fields[] = {
    {"vocab_size", CONFIG_I64, FIELD(vocabulary), 1, 1 << 24},
    {"max_position_embeddings", CONFIG_I64, FIELD(context), 1, 1 << 24},
    {"hidden_size", CONFIG_I64, FIELD(dim), 1, 1 << 20},
    {"intermediate_size", CONFIG_I64, FIELD(inner), 1, 1 << 22},
    {"num_hidden_layers", CONFIG_I32, FIELD(layers), 1, 1 << 14},
    {"num_attention_heads", CONFIG_I32, FIELD(heads), 1, 1 << 20},
    {"num_key_value_heads", CONFIG_OR_NULL, FIELD(kv_heads), 1, 1 << 20},
    {"head_dim", CONFIG_OR_NULL, FIELD(head_dim), 1, 1 << 16},
    {"rms_norm_eps", CONFIG_DOUBLE, FIELD(epsilon), 0.0, 1.0},
    {"initializer_range", CONFIG_DOUBLE, FIELD(deviation), 0.0, 1e3},
    {"attention_dropout", CONFIG_DOUBLE, FIELD(attention_dropout), 0.0, 0.999},
    {"tie_word_embeddings", CONFIG_BOOL, FIELD(tied), 0, 0},
    {"hidden_act", CONFIG_TEXT, FIELD(activation), 0, 0},
};

static llm_status check_heads(struct decoder_config *config)
{
    if (config->kv_heads == 0)
        config->kv_heads = config->heads;
    if (config->heads % config->kv_heads != 0)
        return status_set(LLM_E_RANGE,
                          "field \"num_attention_heads\" (%d) is not a multiple of "
                          "\"num_key_value_heads\" (%d)",
                          config->heads, config->kv_heads);
    if (config->head_dim == 0 && config->dim % config->heads != 0)
        return status_set(LLM_E_RANGE,
                          "field \"hidden_size\" (%lld) is not a multiple of "
                          "\"num_attention_heads\" (%d)",
                          (long long)config->dim, config->heads);
    if (config->head_dim == 0)
        config->head_dim = (int32_t)(config->dim / config->heads);
    if ((int64_t)config->heads * config->head_dim > 1 << 22)
        return status_set(LLM_E_RANGE, "field \"head_dim\": %d heads of %d are too wide",
                          config->heads, config->head_dim);
    return LLM_OK;
}

llm_status decoder_read(struct decoder_config *config, const json_t *json)
{
    llm_status status = config_read(config, json, fields, sizeof fields / sizeof fields[0]);

    return status ? status : check_heads(config);
}

llm_status decoder_read_window(struct decoder_config *config, const json_t *json)
{
    static const struct config_field window = {"sliding_window", CONFIG_OR_NULL, FIELD(window), 1,
                                               INT32_MAX};

    return config_read(config, json, &window, 1);
}

bool *decoder_local_layers(llm_model *model, const struct decoder_config *config)
{
    bool *local = arena_alloc(&model->arena, sizeof *local * (size_t)config->layers);

    if (local)
        memset(local, 0, sizeof *local * (size_t)config->layers);
    return local;
}

llm_status decoder_read_layer_types(bool *local, int32_t layers, const json_t *json)
{
    const json_t *types = json_object_get(json, "layer_types");

    if (!types || json_is_null(types))
        return LLM_OK;
    if (!json_is_array(types) || json_array_size(types) != (size_t)layers)
        return status_set(LLM_E_FORMAT, "field \"layer_types\" is not a list of %d names", layers);
    for (int32_t i = 0; i < layers; i++) {
        const char *type = json_string_value(json_array_get(types, (size_t)i));

        local[i] = type && strcmp(type, "sliding_attention") == 0;
        if (!local[i] && (!type || strcmp(type, "full_attention") != 0))
            return status_set(LLM_E_UNSUPPORTED, "field \"layer_types\": \"%.100s\" is unknown",
                              type ? type : "");
    }
    return LLM_OK;
}

/* ---- parameters --------------------------------------------------------------------------------
 */

static void declare_linear(struct linear *linear, struct params *params,
                           const struct linear_spec *spec, const char *format,
                           const char *gguf_format, int32_t layer)
{
    linear_declare(linear, params, spec, layer_name(format, layer).text,
                   layer_name(gguf_format, layer).text);
}

static void declare_norm(struct rms_norm *norm, struct params *params,
                         const struct decoder_config *config, int64_t width, const char *format,
                         const char *gguf_format, int32_t layer)
{
    struct rms_norm_spec spec = {width, config->epsilon, config->norm_offset};

    rms_norm_declare(norm, params, &spec, layer_name(format, layer).text,
                     layer_name(gguf_format, layer).text);
}

/* What is added to the residual stream starts smaller, by the number of such additions. */
static float residual_deviation(const struct decoder_config *config)
{
    return (float)(config->deviation / sqrt(2.0 * config->layers));
}

static void declare_attention(struct self_attention *self, struct params *params,
                              const struct decoder_config *config, int32_t i)
{
    int64_t wide = (int64_t)config->heads * config->head_dim;
    int64_t narrow = (int64_t)config->kv_heads * config->head_dim;
    float deviation = (float)config->deviation;
    struct linear_spec q = {config->dim, wide, config->qkv_bias, 0, deviation};
    struct linear_spec kv = {config->dim, narrow, config->qkv_bias, 0, deviation};
    struct linear_spec qkv = {config->dim, wide + 2 * narrow, config->qkv_bias, 0, deviation};
    struct linear_spec output = {wide, config->dim, config->output_bias, 0,
                                 residual_deviation(config)};

    self->layout = config->fused ? QKV_ROWS : QKV_SEPARATE;
    if (config->fused) {
        declare_linear(&self->q, params, &qkv, "model.layers.%d.self_attn.qkv_proj",
                       "blk.%d.attn_qkv", i);
    } else {
        declare_linear(&self->q, params, &q, "model.layers.%d.self_attn.q_proj", "blk.%d.attn_q",
                       i);
        declare_linear(&self->k, params, &kv, "model.layers.%d.self_attn.k_proj", "blk.%d.attn_k",
                       i);
        declare_linear(&self->v, params, &kv, "model.layers.%d.self_attn.v_proj", "blk.%d.attn_v",
                       i);
    }
    declare_linear(&self->output, params, &output, "model.layers.%d.self_attn.o_proj",
                   "blk.%d.attn_output", i);
    if (config->head_norms) {
        declare_norm(&self->q_norm, params, config, config->head_dim,
                     "model.layers.%d.self_attn.q_norm", "blk.%d.attn_q_norm", i);
        declare_norm(&self->k_norm, params, config, config->head_dim,
                     "model.layers.%d.self_attn.k_norm", "blk.%d.attn_k_norm", i);
    }
}

static void set_attention(struct self_attention *self, const struct decoder *decoder,
                          const struct decoder_config *config, int32_t i)
{
    bool slides = config->window > 0 && (!config->local || config->local[i]);
    double scalar = config->query_scalar > 0.0 ? config->query_scalar : config->head_dim;

    self->rotary =
        slides && config->local_rope.theta > 0.0 ? &decoder->local_rotary : &decoder->rotary;
    self->attention = (struct attention){.heads = config->heads,
                                         .kv_heads = config->kv_heads,
                                         .head_dim = config->head_dim,
                                         .window = slides ? config->window : 0,
                                         .scale = (float)(1.0 / sqrt(scalar)),
                                         .soft_cap = (float)config->attention_cap,
                                         .dropout = (float)config->attention_dropout};
}

static void declare_mlp(struct gated_mlp *mlp, struct params *params,
                        const struct decoder_config *config, int32_t i)
{
    float deviation = (float)config->deviation;
    struct linear_spec up = {config->dim, config->inner, config->mlp_bias, 0, deviation};
    struct linear_spec both = {config->dim, 2 * config->inner, config->mlp_bias, 0, deviation};
    struct linear_spec down = {config->inner, config->dim, config->mlp_bias, 0,
                               residual_deviation(config)};

    mlp->activation = activation_find(config->activation);
    mlp->fused = config->fused;
    if (config->fused) {
        declare_linear(&mlp->gate, params, &both, "model.layers.%d.mlp.gate_up_proj",
                       "blk.%d.ffn_up", i);
    } else {
        declare_linear(&mlp->gate, params, &up, "model.layers.%d.mlp.gate_proj", "blk.%d.ffn_gate",
                       i);
        declare_linear(&mlp->up, params, &up, "model.layers.%d.mlp.up_proj", "blk.%d.ffn_up", i);
    }
    declare_linear(&mlp->down, params, &down, "model.layers.%d.mlp.down_proj", "blk.%d.ffn_down",
                   i);
}

/* Hugging Face's "post_attention_layernorm" is the norm before the feed-forward half, unless there
 * are norms after each half as well. */
static llm_status declare_block(struct decoder_block *block, llm_model *model,
                                const struct decoder_config *config, int32_t i)
{
    struct params *params = &model->params;
    struct experts_spec experts = {.dim = config->dim,
                                   .inner = config->inner,
                                   .count = config->experts,
                                   .used = config->experts_used,
                                   .activation = activation_find(config->activation),
                                   .deviation = (float)config->deviation,
                                   .down_deviation = residual_deviation(config)};

    declare_norm(&block->attention_norm, params, config, config->dim,
                 "model.layers.%d.input_layernorm", "blk.%d.attn_norm", i);
    declare_attention(&block->attention, params, config, i);
    if (config->post_norms)
        declare_norm(&block->attention_post_norm, params, config, config->dim,
                     "model.layers.%d.post_attention_layernorm", "blk.%d.post_attention_norm", i);
    declare_norm(&block->mlp_norm, params, config, config->dim,
                 config->post_norms ? "model.layers.%d.pre_feedforward_layernorm"
                                    : "model.layers.%d.post_attention_layernorm",
                 "blk.%d.ffn_norm", i);
    if (config->post_norms)
        declare_norm(&block->mlp_post_norm, params, config, config->dim,
                     "model.layers.%d.post_feedforward_layernorm", "blk.%d.post_ffw_norm", i);
    if (config->experts)
        return experts_declare(&block->experts, params, &model->arena, &experts, i);
    declare_mlp(&block->mlp, params, config, i);
    return params->status;
}

static llm_status declare(llm_model *model, struct decoder *decoder,
                          const struct decoder_config *config)
{
    struct params *params = &model->params;
    struct rms_norm_spec final_norm = {config->dim, config->epsilon, config->norm_offset};
    struct param_spec table = {.dimensions = 2,
                               .shape = {config->vocabulary, config->dim},
                               .flags = PARAM_DECAY,
                               .init = PARAM_INIT_NORMAL,
                               .deviation = (float)config->deviation};
    llm_status status = LLM_OK;

    decoder->tokens =
        params_declare(params, &table, "token_embd.weight", "model.embed_tokens.weight");
    for (int32_t i = 0; i < config->layers && !status; i++) {
        status = declare_block(&decoder->blocks[i], model, config, i);
        set_attention(&decoder->blocks[i].attention, decoder, config, i);
    }
    rms_norm_declare(&decoder->final_norm, params, &final_norm, "model.norm", "output_norm");
    model->output = config->tied || !model_has_lm_head(model)
                        ? decoder->tokens
                        : params_declare(params, &table, "output.weight", "lm_head.weight");
    return status ? status : params->status;
}

/* ---- the model ---------------------------------------------------------------------------------
 */

static llm_status read_rotary(struct decoder *decoder, llm_model *model,
                              const struct decoder_config *config)
{
    struct rotary_spec rope = config->rope;
    struct rotary_spec local = config->local_rope;
    llm_status status;

    rope.head_dim = local.head_dim = config->head_dim;
    rope.max_positions = local.max_positions = config->context;
    status = rotary_read(&decoder->rotary, &model->arena, model->config, &rope);
    if (!status && local.theta > 0.0)
        status = rotary_read(&decoder->local_rotary, &model->arena, model->config, &local);
    return status;
}

llm_status decoder_create(llm_model *model, const struct decoder_config *config)
{
    struct decoder *decoder = arena_alloc(&model->arena, sizeof *decoder);
    llm_status status;

    if (!activation_find(config->activation))
        return status_set(LLM_E_UNSUPPORTED, "field \"hidden_act\": \"%.100s\" is unknown",
                          config->activation);
    if (!decoder)
        return LLM_E_NOMEM;
    decoder->blocks = arena_alloc(&model->arena, sizeof *decoder->blocks * (size_t)config->layers);
    if (!decoder->blocks)
        return LLM_E_NOMEM;
    memset(decoder->blocks, 0, sizeof *decoder->blocks * (size_t)config->layers);
    status = read_rotary(decoder, model, config);
    if (status)
        return status;
    decoder->embedding_scale = config->scaled_embedding ? sqrtf((float)config->dim) : 1.0f;
    decoder->residual_dropout = (float)config->residual_dropout;
    decoder->embedding_dropout = (float)config->embedding_dropout;
    model->layout = decoder;
    model->vocabulary = config->vocabulary;
    model->context_length = rotary_context(&decoder->rotary);
    if (decoder->rotary.rope.kind == ROPE_LONG)
        model->long_from = decoder->rotary.rope.original_positions;
    model->dim = config->dim;
    model->layers = config->layers;
    model->heads = config->heads;
    model->kv_heads = config->kv_heads;
    model->head_dim = config->head_dim;
    model->dropout = decoder->residual_dropout;
    model->logit_cap = (float)config->logit_cap;
    return declare(model, decoder, config);
}

/* Tables that old files carry, and a second copy of tied weights. */
bool decoder_ignores(const char *name)
{
    return text_ends_with(name, ".rotary_emb.inv_freq") || strcmp(name, "lm_head.weight") == 0;
}
