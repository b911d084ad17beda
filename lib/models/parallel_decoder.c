/* SPDX-License-Identifier: MIT
 *
 * Wang and Komatsuzaki's parallel block, "GPT-J" (2021), as GPT-NeoX, Phi-2 and Falcon have it.
 * `block` is the mathematics.
 */
#include "models/parallel_decoder.h"

#include "graph/op.h"
#include "models/head.h"
#include "nn/gated_mlp.h"
#include "nn/layer_norm.h"
#include "nn/stack.h"

#include <math.h>
#include <string.h>

struct parallel_block {
    struct layer_norm attention_norm;
    struct layer_norm mlp_norm; /* weight NULL: attention_norm is both */
    struct self_attention attention;
    struct mlp mlp;
};

struct parallel {
    llm_tensor *tokens; /* [V, D] */
    struct layer_norm final_norm;
    struct parallel_block *blocks; /* [layers] */
    struct rotary rotary;
    bool serial;
    float residual_dropout, embedding_dropout;
};

/* ---- forward -----------------------------------------------------------------------------------
 */

static llm_tensor *block(struct cx *cx, void *arg, llm_tensor *x /* [N, D] */)
{
    const struct block_call *call = arg;
    const struct parallel *parallel = call->layout;
    const struct parallel_block *layer = &parallel->blocks[call->layer];
    float dropout = parallel->residual_dropout;
    llm_tensor *normed = layer_norm_forward(cx, &layer->attention_norm, x);
    llm_tensor *attended =
        self_attention_forward(cx, &layer->attention, call->batch, call->layer, normed);
    llm_tensor *sum = residual_add(cx, x, attended, dropout);

    if (layer->mlp_norm.weight) {
        cx_release(cx, normed);
        normed = layer_norm_forward(cx, &layer->mlp_norm, parallel->serial ? sum : x);
    }
    sum = residual_add(cx, sum, mlp_forward(cx, &layer->mlp, normed), dropout);
    cx_release(cx, normed);
    return sum;
}

llm_tensor *parallel_hidden(struct cx *cx, const llm_model *model, const struct batch *batch)
{
    const struct parallel *parallel = model->layout;
    llm_tensor *x = op_embedding(cx, parallel->tokens, batch->ids, batch->tokens); /* [N, D] */

    x = op_dropout(cx, x, parallel->embedding_dropout);
    x = stack_forward(cx, block, parallel, model->layers, batch, x);
    return layer_norm_forward(cx, &parallel->final_norm, x);
}

/* ---- configuration -----------------------------------------------------------------------------
 */

#define FIELD(member) offsetof(struct parallel_config, member)

static const struct config_field fields[] = {
    {"vocab_size", CONFIG_I64, FIELD(vocabulary), 1, 1 << 24},
    {"max_position_embeddings", CONFIG_I64, FIELD(context), 1, 1 << 24},
    {"hidden_size", CONFIG_I64, FIELD(dim), 1, 1 << 20},
    {"intermediate_size", CONFIG_I64, FIELD(inner), 1, 1 << 22},
    {"num_hidden_layers", CONFIG_I32, FIELD(layers), 1, 1 << 14},
    {"num_attention_heads", CONFIG_I32, FIELD(heads), 1, 1 << 20},
    {"layer_norm_eps", CONFIG_DOUBLE, FIELD(epsilon), 0.0, 1.0},
    {"initializer_range", CONFIG_DOUBLE, FIELD(deviation), 0.0, 1e3},
    {"attention_dropout", CONFIG_DOUBLE, FIELD(attention_dropout), 0.0, 0.999},
    {"tie_word_embeddings", CONFIG_BOOL, FIELD(tied), 0, 0},
    {"hidden_act", CONFIG_TEXT, FIELD(activation), 0, 0},
};

llm_status parallel_read(struct parallel_config *config, const json_t *json)
{
    return config_read(config, json, fields, sizeof fields / sizeof fields[0]);
}

static llm_status check(struct parallel_config *config)
{
    if (config->kv_heads == 0)
        config->kv_heads = config->heads;
    if (config->dim % config->heads != 0)
        return status_set(LLM_E_RANGE,
                          "field \"hidden_size\" (%lld) is not a multiple of "
                          "\"num_attention_heads\" (%d)",
                          (long long)config->dim, config->heads);
    if (config->heads % config->kv_heads != 0)
        return status_set(LLM_E_RANGE, "%d query heads cannot share %d key heads evenly",
                          config->heads, config->kv_heads);
    if (!activation_find(config->activation))
        return status_set(LLM_E_UNSUPPORTED, "field \"hidden_act\": \"%.100s\" is unknown",
                          config->activation);
    return LLM_OK;
}

/* ---- parameters --------------------------------------------------------------------------------
 */

static void declare_linear(struct linear *linear, struct params *params,
                           const struct linear_spec *spec, const struct parallel_name *name,
                           int32_t layer)
{
    linear_declare(linear, params, spec, layer_name(name->file, layer).text,
                   layer_name(name->gguf, layer).text);
}

static void declare_norm(struct layer_norm *norm, struct params *params,
                         const struct parallel_config *config, const struct parallel_name *name,
                         int32_t layer)
{
    layer_norm_declare(norm, params, config->dim, true, (float)config->epsilon,
                       layer_name(name->file, layer).text, layer_name(name->gguf, layer).text);
}

static void declare_attention(struct self_attention *self, struct params *params,
                              const struct parallel_config *config, int32_t i)
{
    const struct parallel_names *names = config->names;
    int64_t narrow = config->dim / config->heads * config->kv_heads;
    float deviation = (float)config->deviation;
    struct linear_spec q = {config->dim, config->dim, config->attention_bias, 0, deviation};
    struct linear_spec kv = {config->dim, narrow, config->attention_bias, 0, deviation};

    self->layout = config->layout;
    if (config->layout != QKV_SEPARATE)
        q.out += 2 * narrow;
    declare_linear(&self->q, params, &q, &names->q, i);
    if (config->layout == QKV_SEPARATE) {
        declare_linear(&self->k, params, &kv, &names->k, i);
        declare_linear(&self->v, params, &kv, &names->v, i);
    }
    q.out = config->dim;
    q.deviation = (float)(config->deviation / sqrt(2.0 * config->layers));
    declare_linear(&self->output, params, &q, &names->attention_output, i);
}

static void declare_block(struct parallel_block *block, struct params *params,
                          const struct parallel_config *config, int32_t i)
{
    const struct parallel_names *names = config->names;
    struct linear_spec up = {config->dim, config->inner, config->mlp_bias, 0,
                             (float)config->deviation};
    struct linear_spec down = {config->inner, config->dim, config->mlp_bias, 0,
                               (float)(config->deviation / sqrt(2.0 * config->layers))};

    declare_norm(&block->attention_norm, params, config, &names->attention_norm, i);
    if (!config->one_norm)
        declare_norm(&block->mlp_norm, params, config, &names->mlp_norm, i);
    declare_attention(&block->attention, params, config, i);
    declare_linear(&block->mlp.up, params, &up, &names->up, i);
    declare_linear(&block->mlp.down, params, &down, &names->down, i);
    block->mlp.activation = activation_find(config->activation);
}

static void declare(llm_model *model, struct parallel *parallel,
                    const struct parallel_config *config)
{
    const struct parallel_names *names = config->names;
    struct params *params = &model->params;
    struct linear_spec spec = {config->dim, config->vocabulary, config->output_bias, 0,
                               (float)config->deviation};
    struct param_spec table = {.dimensions = 2,
                               .shape = {config->vocabulary, config->dim},
                               .flags = PARAM_DECAY,
                               .init = PARAM_INIT_NORMAL,
                               .deviation = (float)config->deviation};
    struct linear output;

    parallel->tokens = params_declare(params, &table, names->tokens.gguf, "%s", names->tokens.file);
    for (int32_t i = 0; i < config->layers && !params->status; i++)
        declare_block(&parallel->blocks[i], params, config, i);
    declare_norm(&parallel->final_norm, params, config, &names->final_norm, 0);
    model->output = parallel->tokens;
    if (config->tied || !model_has_lm_head(model))
        return;
    declare_linear(&output, params, &spec, &names->output, 0);
    model->output = output.weight;
    model->output_bias = output.bias;
}

/* ---- the model ---------------------------------------------------------------------------------
 */

/* Press, Smith and Lewis, "Train short, test long" (2021): a geometric series of slopes; heads
 * beyond a power of two take every other slope of the next one's series. Falcon scales them as it
 * scales scores. */
static float *make_slopes(struct arena *arena, int32_t heads, float scale)
{
    float *slopes = arena_alloc(arena, sizeof *slopes * (size_t)heads);
    int32_t power = 1;

    while (2 * power <= heads)
        power *= 2;
    for (int32_t h = 0; slopes && h < heads; h++) {
        double exponent = h < power ? 8.0 / power * (h + 1) : 4.0 / power * (2 * (h - power) + 1);

        slopes[h] = (float)pow(2.0, -exponent) * scale;
    }
    return slopes;
}

static llm_status set_attention(struct parallel *parallel, llm_model *model,
                                const struct parallel_config *config)
{
    int32_t head_dim = (int32_t)(config->dim / config->heads);
    struct rotary_spec rope = config->rope;
    struct attention attention = {.heads = config->heads,
                                  .kv_heads = config->kv_heads,
                                  .head_dim = head_dim,
                                  .scale = 1.0f / sqrtf((float)head_dim),
                                  .dropout = (float)config->attention_dropout};
    llm_status status = LLM_OK;

    rope.head_dim = head_dim;
    rope.max_positions = config->context;
    model->context_length = config->context;
    if (config->alibi) {
        attention.alibi_slopes = make_slopes(&model->arena, config->heads, attention.scale);
        status = attention.alibi_slopes ? LLM_OK : LLM_E_NOMEM;
    } else {
        status = rotary_read(&parallel->rotary, &model->arena, model->config, &rope);
        if (!status)
            model->context_length = rotary_context(&parallel->rotary);
    }
    for (int32_t i = 0; i < config->layers && !status; i++) {
        parallel->blocks[i].attention.attention = attention;
        parallel->blocks[i].attention.rotary = config->alibi ? NULL : &parallel->rotary;
    }
    return status;
}

llm_status parallel_create(llm_model *model, const struct parallel_config *given)
{
    struct parallel *parallel = arena_alloc(&model->arena, sizeof *parallel);
    struct parallel_config config = *given;
    llm_status status = check(&config);

    if (status)
        return status;
    if (!parallel)
        return LLM_E_NOMEM;
    memset(parallel, 0, sizeof *parallel);
    parallel->blocks = arena_alloc(&model->arena, sizeof *parallel->blocks * (size_t)config.layers);
    if (!parallel->blocks)
        return LLM_E_NOMEM;
    memset(parallel->blocks, 0, sizeof *parallel->blocks * (size_t)config.layers);
    status = set_attention(parallel, model, &config);
    if (status)
        return status;
    parallel->serial = config.serial;
    parallel->residual_dropout = (float)config.residual_dropout;
    parallel->embedding_dropout = (float)config.embedding_dropout;
    model->layout = parallel;
    model->vocabulary = config.vocabulary;
    model->dim = config.dim;
    model->layers = config.layers;
    model->heads = config.heads;
    model->kv_heads = config.kv_heads;
    model->head_dim = (int32_t)(config.dim / config.heads);
    model->dropout = parallel->residual_dropout;
    declare(model, parallel, &config);
    return model->params.status;
}

/* Masks and tables that old files carry, and a second copy of tied weights. */
bool parallel_ignores(const char *name)
{
    return text_ends_with(name, ".attention.bias") ||
           text_ends_with(name, ".attention.masked_bias") ||
           text_ends_with(name, ".rotary_emb.inv_freq") || strcmp(name, "lm_head.weight") == 0 ||
           strcmp(name, "embed_out.weight") == 0;
}
