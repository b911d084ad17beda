/* SPDX-License-Identifier: MIT
 *
 * GPT-2: Radford et al., "Language models are unsupervised multitask learners" (2019), with the
 * configuration and the parameter names of Hugging Face transformers. Learned positions, layer norm
 * before each half of a block, a fused query/key/value projection, output tied to the embedding.
 * `block` and `hidden` are the whole model; the rest reads config.json and names parameters.
 */
#include "models/arch.h"

#include "graph/op.h"
#include "models/head.h"
#include "nn/activation.h"
#include "nn/attention_layer.h"
#include "nn/layer_norm.h"
#include "nn/linear.h"
#include "nn/stack.h"

#include <math.h>
#include <string.h>

struct gpt2_block {
    struct layer_norm norm_1, norm_2;
    struct linear qkv;    /* [3D, D] */
    struct linear output; /* [D, D] */
    struct linear up;     /* [F, D] */
    struct linear down;   /* [D, F] */
    struct attention attention;
};

struct gpt2 {
    llm_tensor *tokens;    /* [V, D] */
    llm_tensor *positions; /* [context, D] */
    struct layer_norm final_norm;
    struct gpt2_block *blocks; /* [layers] */
    activation_fn activation;
    float embedding_dropout, residual_dropout;
};

/* ---- forward -----------------------------------------------------------------------------------
 */

static llm_tensor *block(struct cx *cx, void *arg, llm_tensor *x /* [N, D] */)
{
    const struct block_call *call = arg;
    const struct gpt2 *gpt2 = call->layout;
    const struct gpt2_block *layer = &gpt2->blocks[call->layer];
    int64_t width = x ? tensor_last(x) : 0;
    llm_tensor *normed, *qkv, *attended, *up, *active;

    normed = layer_norm_forward(cx, &layer->norm_1, x);
    qkv = linear_forward(cx, &layer->qkv, normed); /* [N, 3D] */
    cx_release(cx, normed);
    attended = attention_forward(
        cx, &layer->attention, call->batch, call->layer, op_slice(cx, qkv, 1, 0, width, 1),
        op_slice(cx, qkv, 1, width, 2 * width, 1), op_slice(cx, qkv, 1, 2 * width, 3 * width, 1));
    x = residual_add(cx, x, linear_forward(cx, &layer->output, attended), gpt2->residual_dropout);

    normed = layer_norm_forward(cx, &layer->norm_2, x);
    up = linear_forward(cx, &layer->up, normed); /* [N, F] */
    cx_release(cx, normed);
    active = gpt2->activation(cx, up);
    x = residual_add(cx, x, linear_forward(cx, &layer->down, active), gpt2->residual_dropout);
    cx_release(cx, active);
    return x;
}

static llm_tensor *hidden(struct cx *cx, const llm_model *model, const struct batch *batch)
{
    const struct gpt2 *gpt2 = model->layout;
    llm_tensor *tokens = op_embedding(cx, gpt2->tokens, batch->ids, batch->tokens);
    llm_tensor *positions = op_embedding(cx, gpt2->positions, batch->positions, batch->tokens);
    llm_tensor *x = op_add(cx, tokens, positions); /* [N, D] */

    cx_release(cx, tokens);
    cx_release(cx, positions);
    x = op_dropout(cx, x, gpt2->embedding_dropout);
    x = stack_forward(cx, block, gpt2, model->layers, batch, x);
    return layer_norm_forward(cx, &gpt2->final_norm, x);
}

/* ---- configuration -----------------------------------------------------------------------------
 */

struct config {
    int64_t vocabulary, context, dim, inner;
    int32_t layers, heads;
    double epsilon, deviation, embedding_dropout, residual_dropout, attention_dropout;
    bool scale, scale_by_layer, tied, bias;
    const char *activation;
};

static llm_status read_sizes(struct config *config, const json_t *json)
{
    llm_status status = json_read_i64(json, "vocab_size", 1, 1 << 24, &config->vocabulary);

    if (!status)
        status = json_read_i64(json, "n_positions", 1, 1 << 24, &config->context);
    if (!status)
        status = json_read_i64(json, "n_embd", 1, 1 << 20, &config->dim);
    if (!status)
        status = json_read_i32(json, "n_layer", 1, 1 << 14, &config->layers);
    if (!status)
        status = json_read_i32(json, "n_head", 1, 1 << 20, &config->heads);
    config->inner = 4 * config->dim;
    if (!status)
        status = json_read_i64(json, "n_inner", 1, 1 << 22, &config->inner);
    if (!status && config->dim % config->heads != 0)
        status =
            status_set(LLM_E_RANGE, "field \"n_embd\" (%lld) is not a multiple of \"n_head\" (%d)",
                       (long long)config->dim, config->heads);
    return status;
}

static llm_status read_numbers(struct config *config, const json_t *json)
{
    llm_status status = json_read_double(json, "layer_norm_epsilon", 0.0, 1.0, &config->epsilon);

    if (!status)
        status = json_read_double(json, "initializer_range", 0.0, 1e3, &config->deviation);
    if (!status)
        status = json_read_double(json, "embd_pdrop", 0.0, 0.999, &config->embedding_dropout);
    if (!status)
        status = json_read_double(json, "resid_pdrop", 0.0, 0.999, &config->residual_dropout);
    if (!status)
        status = json_read_double(json, "attn_pdrop", 0.0, 0.999, &config->attention_dropout);
    return status;
}

static llm_status read_switches(struct config *config, const json_t *json)
{
    const json_t *pruned = json_object_get(json, "pruned_heads");
    bool cross_attention = false;
    llm_status status = json_read_bool(json, "scale_attn_weights", &config->scale);

    if (!status)
        status = json_read_bool(json, "scale_attn_by_inverse_layer_idx", &config->scale_by_layer);
    if (!status)
        status = json_read_bool(json, "tie_word_embeddings", &config->tied);
    if (!status)
        status = json_read_bool(json, "bias", &config->bias);
    if (!status)
        status = json_read_bool(json, "add_cross_attention", &cross_attention);
    if (!status)
        status = json_read_text(json, "activation_function", &config->activation);
    if (status)
        return status;
    if (cross_attention)
        return status_set(LLM_E_UNSUPPORTED, "field \"add_cross_attention\": not supported");
    if (json_object_size(pruned) > 0)
        return status_set(LLM_E_UNSUPPORTED, "field \"pruned_heads\": not supported");
    if (!activation_find(config->activation))
        return status_set(LLM_E_UNSUPPORTED, "field \"activation_function\": \"%.100s\" is unknown",
                          config->activation);
    return LLM_OK;
}

static llm_status read_config(struct config *config, const json_t *json)
{
    llm_status status;

    *config = (struct config){.vocabulary = 50257,
                              .context = 1024,
                              .dim = 768,
                              .layers = 12,
                              .heads = 12,
                              .epsilon = 1e-5,
                              .deviation = 0.02,
                              .embedding_dropout = 0.1,
                              .residual_dropout = 0.1,
                              .attention_dropout = 0.1,
                              .scale = true,
                              .tied = true,
                              .bias = true,
                              .activation = "gelu_new"};
    status = read_sizes(config, json);
    if (!status)
        status = read_numbers(config, json);
    if (!status)
        status = read_switches(config, json);
    return status;
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

/* Conv1D weights lie transposed in files. What is added to the residual stream starts smaller, by
 * the number of such additions. */
static void declare_block(struct gpt2_block *block, struct params *params,
                          const struct config *config, int32_t i)
{
    float deviation = (float)config->deviation;
    float residual_deviation = (float)(config->deviation / sqrt(2.0 * config->layers));
    struct linear_spec qkv = {config->dim, 3 * config->dim, config->bias, PARAM_TRANSPOSED,
                              deviation};
    struct linear_spec output = {config->dim, config->dim, config->bias, PARAM_TRANSPOSED,
                                 residual_deviation};
    struct linear_spec up = {config->dim, config->inner, config->bias, PARAM_TRANSPOSED, deviation};
    struct linear_spec down = {config->inner, config->dim, config->bias, PARAM_TRANSPOSED,
                               residual_deviation};
    float epsilon = (float)config->epsilon;
    struct attention *attention = &block->attention;

    layer_norm_declare(&block->norm_1, params, config->dim, config->bias, epsilon,
                       layer_name("transformer.h.%d.ln_1", i).text,
                       layer_name("blk.%d.attn_norm", i).text);
    declare_linear(&block->qkv, params, &qkv, "transformer.h.%d.attn.c_attn", "blk.%d.attn_qkv", i);
    declare_linear(&block->output, params, &output, "transformer.h.%d.attn.c_proj",
                   "blk.%d.attn_output", i);
    layer_norm_declare(&block->norm_2, params, config->dim, config->bias, epsilon,
                       layer_name("transformer.h.%d.ln_2", i).text,
                       layer_name("blk.%d.ffn_norm", i).text);
    declare_linear(&block->up, params, &up, "transformer.h.%d.mlp.c_fc", "blk.%d.ffn_up", i);
    declare_linear(&block->down, params, &down, "transformer.h.%d.mlp.c_proj", "blk.%d.ffn_down",
                   i);
    attention->heads = config->heads;
    attention->kv_heads = config->heads;
    attention->head_dim = (int32_t)(config->dim / config->heads);
    attention->scale = config->scale ? 1.0f / sqrtf((float)attention->head_dim) : 1.0f;
    if (config->scale_by_layer)
        attention->scale /= (float)(i + 1);
    attention->dropout = (float)config->attention_dropout;
}

static void declare(llm_model *model, struct gpt2 *gpt2, const struct config *config)
{
    struct params *params = &model->params;
    struct param_spec table = {.dimensions = 2,
                               .shape = {config->vocabulary, config->dim},
                               .flags = PARAM_DECAY,
                               .init = PARAM_INIT_NORMAL,
                               .deviation = (float)config->deviation};

    gpt2->tokens = params_declare(params, &table, "token_embd.weight", "transformer.wte.weight");
    table.shape[0] = config->context;
    gpt2->positions =
        params_declare(params, &table, "position_embd.weight", "transformer.wpe.weight");
    for (int32_t i = 0; i < config->layers && !params->status; i++)
        declare_block(&gpt2->blocks[i], params, config, i);
    layer_norm_declare(&gpt2->final_norm, params, config->dim, config->bias, (float)config->epsilon,
                       "transformer.ln_f", "output_norm");
    table.shape[0] = config->vocabulary;
    model->output = config->tied || !model_has_lm_head(model)
                        ? gpt2->tokens
                        : params_declare(params, &table, "output.weight", "lm_head.weight");
}

static llm_status create(llm_model *model)
{
    struct config config;
    struct gpt2 *gpt2;
    llm_status status = read_config(&config, model->config);

    if (status)
        return status;
    gpt2 = arena_alloc(&model->arena, sizeof *gpt2);
    if (!gpt2)
        return LLM_E_NOMEM;
    gpt2->blocks = arena_alloc(&model->arena, sizeof *gpt2->blocks * (size_t)config.layers);
    if (!gpt2->blocks)
        return LLM_E_NOMEM;
    gpt2->activation = activation_find(config.activation);
    gpt2->embedding_dropout = (float)config.embedding_dropout;
    gpt2->residual_dropout = (float)config.residual_dropout;
    model->layout = gpt2;
    model->vocabulary = config.vocabulary;
    model->context_length = config.context;
    model->dim = config.dim;
    model->layers = config.layers;
    model->heads = config.heads;
    model->kv_heads = config.heads;
    model->head_dim = (int32_t)(config.dim / config.heads);
    model->dropout = gpt2->residual_dropout;
    declare(model, gpt2, &config);
    return model->params.status;
}

/* Causal masks that old files carry, and a second copy of tied weights. */
static bool ignores(const char *tensor)
{
    return text_ends_with(tensor, ".attn.bias") || text_ends_with(tensor, ".attn.masked_bias") ||
           strcmp(tensor, "lm_head.weight") == 0;
}

const struct arch arch_gpt2 = {.name = "gpt2",
                               .class_name = "GPT2LMHeadModel",
                               .prefix = "transformer.",
                               .create = create,
                               .hidden = hidden,
                               .ignores = ignores};
