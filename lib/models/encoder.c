/* SPDX-License-Identifier: MIT */
#include "models/encoder.h"

#include "graph/op.h"
#include "models/config.h"
#include "nn/stack.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- forward -----------------------------------------------------------------------------------
 */

/* norm(x + dropout(y)); y's values are of no use afterwards. */
static llm_tensor *add_and_norm(struct cx *cx, const struct layer_norm *norm, llm_tensor *x,
                                llm_tensor *y, float dropout)
{
    return layer_norm_forward(cx, norm, residual_add(cx, x, y, dropout));
}

static llm_tensor *block(struct cx *cx, void *arg, llm_tensor *x /* [N, D] */)
{
    const struct block_call *call = arg;
    const struct encoder *encoder = call->layout;
    const struct encoder_layer *layer = &encoder->layers[call->layer];
    llm_tensor *query = linear_forward(cx, &layer->query, x);
    llm_tensor *key = linear_forward(cx, &layer->key, x);
    llm_tensor *value = linear_forward(cx, &layer->value, x);
    llm_tensor *attended, *up, *active;

    attended =
        attention_forward(cx, &encoder->attention, call->batch, call->layer, query, key, value);
    x = add_and_norm(cx, &layer->output_norm, x, linear_forward(cx, &layer->output, attended),
                     encoder->dropout);
    up = linear_forward(cx, &layer->up, x); /* [N, F] */
    active = encoder->activation(cx, up);
    x = add_and_norm(cx, &layer->down_norm, x, linear_forward(cx, &layer->down, active),
                     encoder->dropout);
    cx_release(cx, active);
    return x;
}

/* Words + positions + types, normalized. */
static llm_tensor *embed(struct cx *cx, const struct encoder *encoder, const struct batch *batch)
{
    size_t count = (size_t)batch->tokens;
    int32_t *positions = arena_alloc(&cx->arena, count * sizeof *positions);
    const int32_t *types = batch->types;
    llm_tensor *x;

    if (encoder->types && (!types || encoder->types->shape[0] == 1)) /* RoBERTa knows one type */
        types = arena_alloc(&cx->arena, count * sizeof *types);      /* zeros */
    if (!positions || (encoder->types && !types))
        return cx_adopt(cx, LLM_E_NOMEM);
    for (size_t i = 0; i < count; i++)
        positions[i] = batch->positions[i] + encoder->first_position;
    x = op_add(cx, op_embedding(cx, encoder->words, batch->ids, batch->tokens),
               op_embedding(cx, encoder->positions, positions, batch->tokens));
    if (encoder->types)
        x = op_add(cx, x, op_embedding(cx, encoder->types, types, batch->tokens));
    return op_dropout(cx, layer_norm_forward(cx, &encoder->norm, x), encoder->dropout);
}

llm_tensor *encoder_hidden(struct cx *cx, const llm_model *model, const struct batch *batch)
{
    const struct encoder *encoder = model->layout;

    if (batch->cache)
        return cx_fail(cx, LLM_E_UNSUPPORTED, "an encoder keeps no cache");
    return stack_forward(cx, block, encoder, model->layers, batch, embed(cx, encoder, batch));
}

/* ---- configuration -----------------------------------------------------------------------------
 */

#define FIELD(name, kind, member, min, max)                                                        \
    {                                                                                              \
        name, CONFIG_##kind, offsetof(struct encoder_config, member), min, max                     \
    }

static const struct config_field fields[] = {
    FIELD("vocab_size", I64, vocabulary, 1, 1 << 24),
    FIELD("max_position_embeddings", I64, positions, 1, 1 << 24),
    FIELD("type_vocab_size", I64, types, 0, 1 << 16),
    FIELD("hidden_size", I64, dim, 1, 1 << 20),
    FIELD("intermediate_size", I64, inner, 1, 1 << 22),
    FIELD("num_hidden_layers", I32, layers, 1, 1 << 14),
    FIELD("num_attention_heads", I32, heads, 1, 1 << 20),
    FIELD("layer_norm_eps", DOUBLE, epsilon, 0, 1),
    FIELD("initializer_range", DOUBLE, deviation, 0, 1e3),
    FIELD("hidden_dropout_prob", DOUBLE, dropout, 0, 0.999),
    FIELD("attention_probs_dropout_prob", DOUBLE, attention_dropout, 0, 0.999),
    FIELD("tie_word_embeddings", BOOL, tied, 0, 0),
    FIELD("hidden_act", TEXT, activation, 0, 0),
};

llm_status encoder_read_config(struct encoder_config *config, const json_t *json)
{
    const char *positions = "absolute";
    llm_status status = config_read(config, json, fields, sizeof fields / sizeof fields[0]);

    config->head_dropout = config->dropout;
    if (!status)
        status = json_read_double(json, "classifier_dropout", 0.0, 0.999, &config->head_dropout);
    if (!status)
        status = json_read_text(json, "position_embedding_type", &positions);
    if (!status && strcmp(positions, "absolute") != 0)
        status =
            status_set(LLM_E_UNSUPPORTED,
                       "field \"position_embedding_type\": \"%.100s\" is not supported", positions);
    return status;
}

static llm_status check_config(const struct encoder_config *config, const json_t *json)
{
    static const char *const refused[] = {"is_decoder", "add_cross_attention"};
    llm_status status = LLM_OK;

    for (size_t i = 0; i < sizeof refused / sizeof refused[0] && !status; i++)
        status = config_refuse(json, refused[i]);
    if (status)
        return status;
    if (json_object_size(json_object_get(json, "pruned_heads")) > 0)
        return status_set(LLM_E_UNSUPPORTED, "field \"pruned_heads\": not supported");
    if (config->dim % config->heads != 0)
        return status_set(LLM_E_RANGE, "the width %lld is not a multiple of the number of heads %d",
                          (long long)config->dim, config->heads);
    if (config->positions <= config->first_position)
        return status_set(LLM_E_RANGE,
                          "field \"max_position_embeddings\": %lld leaves no room for a token",
                          (long long)config->positions);
    if (!activation_find(config->activation))
        return status_set(LLM_E_UNSUPPORTED, "the activation \"%.100s\" is unknown",
                          config->activation);
    return LLM_OK;
}

/* ---- parameters --------------------------------------------------------------------------------
 */

struct name {
    char text[160];
};

/* Prefix and name; the prefix is left out without a head. */
static struct name name(const llm_model *model, const char *format, int32_t layer)
{
    const char *prefix = model->head.kind == LLM_HEAD_NONE ? "" : model->arch->prefix;
    size_t length = strlen(prefix);
    struct name name;

    memcpy(name.text, prefix, length);
    (void)snprintf(name.text + length, sizeof name.text - length, format, layer);
    return name;
}

static struct name gguf_name(const char *format, int32_t layer)
{
    struct name name;

    (void)snprintf(name.text, sizeof name.text, format, layer);
    return name;
}

static void declare_block(llm_model *model, struct encoder_layer *layer,
                          const struct encoder_config *config, int32_t i)
{
    const struct encoder_names *names = config->names;
    struct params *params = &model->params;
    struct linear_spec square = {config->dim, config->dim, true, 0, (float)config->deviation};
    struct linear_spec up = {config->dim, config->inner, true, 0, (float)config->deviation};
    struct linear_spec down = {config->inner, config->dim, true, 0, (float)config->deviation};
    float epsilon = (float)config->epsilon;

    linear_declare(&layer->query, params, &square, name(model, names->query, i).text,
                   gguf_name("blk.%d.attn_q", i).text);
    linear_declare(&layer->key, params, &square, name(model, names->key, i).text,
                   gguf_name("blk.%d.attn_k", i).text);
    linear_declare(&layer->value, params, &square, name(model, names->value, i).text,
                   gguf_name("blk.%d.attn_v", i).text);
    linear_declare(&layer->output, params, &square, name(model, names->output, i).text,
                   gguf_name("blk.%d.attn_output", i).text);
    layer_norm_declare(&layer->output_norm, params, config->dim, true, epsilon,
                       name(model, names->output_norm, i).text,
                       gguf_name("blk.%d.attn_output_norm", i).text);
    linear_declare(&layer->up, params, &up, name(model, names->up, i).text,
                   gguf_name("blk.%d.ffn_up", i).text);
    linear_declare(&layer->down, params, &down, name(model, names->down, i).text,
                   gguf_name("blk.%d.ffn_down", i).text);
    layer_norm_declare(&layer->down_norm, params, config->dim, true, epsilon,
                       name(model, names->down_norm, i).text,
                       gguf_name("blk.%d.layer_output_norm", i).text);
}

static llm_tensor *declare_table(llm_model *model, const struct encoder_config *config,
                                 int64_t rows, const char *format, const char *gguf)
{
    struct param_spec table = {.dimensions = 2,
                               .shape = {rows, config->dim},
                               .flags = PARAM_DECAY,
                               .init = PARAM_INIT_NORMAL,
                               .deviation = (float)config->deviation};

    return params_declare(&model->params, &table, gguf, "%s.weight", name(model, format, 0).text);
}

static void declare(llm_model *model, struct encoder *encoder, const struct encoder_config *config)
{
    const struct encoder_names *names = config->names;

    encoder->words =
        declare_table(model, config, config->vocabulary, names->words, "token_embd.weight");
    encoder->positions =
        declare_table(model, config, config->positions, names->positions, "position_embd.weight");
    encoder->types = NULL;
    if (names->types && config->types > 0)
        encoder->types =
            declare_table(model, config, config->types, names->types, "token_types.weight");
    layer_norm_declare(&encoder->norm, &model->params, config->dim, true, (float)config->epsilon,
                       name(model, names->norm, 0).text, "token_embd_norm");
    for (int32_t i = 0; i < config->layers && !model->params.status; i++)
        declare_block(model, &encoder->layers[i], config, i);
    encoder_declare_head(model, encoder, config);
}

static void fill_layout(struct encoder *encoder, const struct encoder_config *config)
{
    int32_t width = (int32_t)(config->dim / config->heads);

    encoder->attention = (struct attention){.heads = config->heads,
                                            .kv_heads = config->heads,
                                            .head_dim = width,
                                            .bidirectional = true,
                                            .scale = 1.0f / sqrtf((float)width),
                                            .dropout = (float)config->attention_dropout};
    encoder->activation = activation_find(config->activation);
    encoder->lm_activation = activation_find(config->lm_activation);
    encoder->sequence_activation = activation_find(config->sequence_activation);
    encoder->first_position = config->first_position;
    encoder->dropout = (float)config->dropout;
    encoder->head_dropout = (float)config->head_dropout;
    encoder->span_dropout = (float)config->span_dropout;
    encoder->drops_before_dense = config->drops_before_dense;
}

llm_status encoder_create(llm_model *model, const struct encoder_config *config)
{
    struct encoder *encoder;
    llm_status status = check_config(config, model->config);

    if (status)
        return status;
    encoder = arena_alloc(&model->arena, sizeof *encoder);
    if (!encoder)
        return LLM_E_NOMEM;
    encoder->layers = arena_alloc(&model->arena, sizeof *encoder->layers * (size_t)config->layers);
    if (!encoder->layers)
        return LLM_E_NOMEM;
    fill_layout(encoder, config);
    model->layout = encoder;
    model->vocabulary = config->vocabulary;
    model->context_length = config->positions - config->first_position;
    model->dim = config->dim;
    model->layers = config->layers;
    model->heads = config->heads;
    model->kv_heads = config->heads;
    model->head_dim = encoder->attention.head_dim;
    model->dropout = encoder->dropout;
    declare(model, encoder, config);
    return model->params.status;
}

bool encoder_alias(char *other, size_t size, const char *name, int attempt)
{
    static const char *const ends[2][2] = {{"LayerNorm.weight", "LayerNorm.gamma"},
                                           {"LayerNorm.bias", "LayerNorm.beta"}};
    size_t length = strlen(name);

    for (int i = 0; i < 2 && attempt == 0; i++) {
        size_t end = strlen(ends[i][0]);

        if (length < end || strcmp(name + length - end, ends[i][0]) != 0)
            continue;
        (void)snprintf(other, size, "%.*s%s", (int)(length - end), name, ends[i][1]);
        return true;
    }
    return false;
}
