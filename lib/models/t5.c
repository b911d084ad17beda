/* SPDX-License-Identifier: MIT
 *
 * T5: Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text
 * transformer" (2019), v1.0 and v1.1 (Flan-T5), with the configuration and the parameter names of
 * Hugging Face transformers. Encoder and decoder; RMS norm before each part of a block; no biases;
 * scores are not divided by sqrt(d); positions enter as a bias by relative distance, in buckets,
 * one table per stack. `block`, `hidden` and `decode` are the whole model.
 */
#include "graph/op.h"
#include "models/arch.h"
#include "models/config.h"
#include "models/head.h"
#include "models/t5_buckets.h"
#include "nn/activation.h"
#include "nn/attention_layer.h"
#include "nn/rms_norm.h"
#include "nn/stack.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct t5_projections {
    struct linear query, key, value; /* [H * d, D] */
    struct linear output;            /* [D, H * d] */
};

struct t5_block {
    struct rms_norm attention_norm, cross_norm, mlp_norm;
    struct t5_projections attention, cross; /* cross: of the decoder */
    struct linear gate;                     /* [F, D]; weight NULL: none */
    struct linear up;                       /* [F, D] */
    struct linear down;                     /* [D, F] */
};

struct t5_stack {
    struct t5_block *blocks; /* [layers]; NULL: there is no such stack */
    struct rms_norm final_norm;
    llm_tensor *distances; /* [buckets, H] */
    int32_t layers;
    bool is_decoder;
};

struct t5 {
    llm_tensor *tokens; /* [V, D] */
    struct t5_stack encoder, decoder;
    int32_t heads, head_dim, buckets, reach;
    activation_fn activation;
    float output_scale, dropout;
};

/* ---- forward -----------------------------------------------------------------------------------
 */

/* What the blocks of a stack are called with. */
struct t5_call {
    const struct t5 *t5;
    const struct t5_stack *stack;
    const struct batch *batch;
    const struct cross_memory *memory; /* of the decoder */
    llm_tensor *bias;                  /* [H, span] */
    int32_t layer;
};

/* The table of a stack by distance: [H, span], for `relative_bias` of attention. */
static llm_tensor *bias_by_distance(struct cx *cx, const struct t5 *t5,
                                    const struct t5_stack *stack)
{
    int32_t span = stack->is_decoder ? t5->reach + 1 : 2 * t5->reach + 1;
    int32_t *buckets = arena_alloc(&cx->arena, sizeof *buckets * (size_t)span);
    llm_tensor *rows; /* [span, H] */

    if (!buckets)
        return cx_adopt(cx, LLM_E_NOMEM);
    for (int32_t i = 0; i < span; i++)
        buckets[i] = t5_bucket(i - t5->reach, !stack->is_decoder, t5->buckets, t5->reach);
    rows = op_embedding(cx, stack->distances, buckets, span);
    return cx_contiguous(cx, op_transpose(cx, rows, 0, 1));
}

static llm_tensor *attend(struct cx *cx, const struct t5_call *call, const struct t5_block *block,
                          llm_tensor *x /* [N, D], normalized */)
{
    const struct t5_projections *projections = &block->attention;
    struct attention attention = {.heads = call->t5->heads,
                                  .kv_heads = call->t5->heads,
                                  .head_dim = call->t5->head_dim,
                                  .bidirectional = !call->stack->is_decoder,
                                  .scale = 1.0f,
                                  .dropout = call->t5->dropout,
                                  .relative_bias = call->bias,
                                  .relative_zero = call->t5->reach};
    llm_tensor *query = linear_forward(cx, &projections->query, x);
    llm_tensor *key = linear_forward(cx, &projections->key, x);
    llm_tensor *value = linear_forward(cx, &projections->value, x);

    return linear_forward(
        cx, &projections->output,
        attention_forward(cx, &attention, call->batch, call->layer, query, key, value));
}

static llm_tensor *attend_source(struct cx *cx, const struct t5_call *call,
                                 const struct t5_block *block, llm_tensor *x)
{
    const struct t5_projections *projections = &block->cross;
    const struct cross_memory *memory = call->memory;
    struct cross_attention attention = {call->t5->heads, call->t5->head_dim, 1.0f,
                                        call->t5->dropout};
    llm_tensor *query = linear_forward(cx, &projections->query, x);
    llm_tensor *key = memory->keys ? memory->keys[call->layer]
                                   : linear_forward(cx, &projections->key, memory->hidden);
    llm_tensor *value = memory->values ? memory->values[call->layer]
                                       : linear_forward(cx, &projections->value, memory->hidden);

    return linear_forward(cx, &projections->output,
                          cross_attention_forward(cx, &attention, memory, query, key, value));
}

static llm_tensor *feed_forward(struct cx *cx, const struct t5 *t5, const struct t5_block *block,
                                llm_tensor *x)
{
    llm_tensor *inner; /* [N, F] */

    if (block->gate.weight)
        inner = op_mul(cx, t5->activation(cx, linear_forward(cx, &block->gate, x)),
                       linear_forward(cx, &block->up, x));
    else
        inner = t5->activation(cx, linear_forward(cx, &block->up, x));
    return linear_forward(cx, &block->down, op_dropout(cx, inner, t5->dropout));
}

static llm_tensor *block(struct cx *cx, void *arg, llm_tensor *x /* [N, D] */)
{
    const struct t5_call *call = arg;
    const struct t5_block *block = &call->stack->blocks[call->layer];
    float dropout = call->t5->dropout;
    llm_tensor *normed = rms_norm_forward(cx, &block->attention_norm, x);

    x = residual_add(cx, x, attend(cx, call, block, normed), dropout);
    cx_release(cx, normed);
    if (call->stack->is_decoder) {
        normed = rms_norm_forward(cx, &block->cross_norm, x);
        x = residual_add(cx, x, attend_source(cx, call, block, normed), dropout);
        cx_release(cx, normed);
    }
    normed = rms_norm_forward(cx, &block->mlp_norm, x);
    x = residual_add(cx, x, feed_forward(cx, call->t5, block, normed), dropout);
    cx_release(cx, normed);
    return x;
}

static llm_tensor *run_stack(struct cx *cx, const struct t5 *t5, const struct t5_stack *stack,
                             const struct batch *batch, const struct cross_memory *memory)
{
    /* Checkpointed blocks run again in the backward pass: what they are given lives as long as cx.
     */
    struct t5_call *calls = arena_alloc(&cx->arena, sizeof *calls * (size_t)stack->layers);
    struct batch *kept = arena_alloc(&cx->arena, sizeof *kept);
    struct cross_memory *seen = arena_alloc(&cx->arena, sizeof *seen);
    llm_tensor *bias = bias_by_distance(cx, t5, stack);
    llm_tensor *x;

    if (!calls || !kept || !seen)
        return cx_adopt(cx, LLM_E_NOMEM);
    *kept = *batch;
    if (memory)
        *seen = *memory;
    x = op_dropout(cx, op_embedding(cx, t5->tokens, batch->ids, batch->tokens), t5->dropout);
    for (int32_t i = 0; i < stack->layers; i++) {
        calls[i] = (struct t5_call){t5, stack, kept, seen, bias, i};
        x = cx_segment(cx, block, &calls[i], x);
    }
    return op_dropout(cx, rms_norm_forward(cx, &stack->final_norm, x), t5->dropout);
}

static llm_tensor *hidden(struct cx *cx, const llm_model *model, const struct batch *batch)
{
    const struct t5 *t5 = model->layout;

    if (batch->cache)
        return cx_fail(cx, LLM_E_UNSUPPORTED, "an encoder keeps no cache");
    return run_stack(cx, t5, &t5->encoder, batch, NULL);
}

static llm_tensor *decode(struct cx *cx, const llm_model *model, const struct batch *batch,
                          const struct cross_memory *memory)
{
    const struct t5 *t5 = model->layout;

    return run_stack(cx, t5, &t5->decoder, batch, memory);
}

static bool remember(struct cx *cx, const llm_model *model, struct cross_memory *memory)
{
    const struct t5 *t5 = model->layout;

    for (int32_t i = 0; i < t5->decoder.layers; i++) {
        const struct t5_projections *cross = &t5->decoder.blocks[i].cross;

        memory->keys[i] = linear_forward(cx, &cross->key, memory->hidden);
        memory->values[i] = linear_forward(cx, &cross->value, memory->hidden);
    }
    return !cx->status;
}

static llm_tensor *logits(struct cx *cx, const llm_model *model, llm_tensor *hidden)
{
    const struct t5 *t5 = model->layout;

    if (t5->output_scale != 1.0f)
        hidden = op_affine(cx, hidden, t5->output_scale, 0.0f);
    return op_linear(cx, hidden, model->output, NULL);
}

/* ---- configuration -----------------------------------------------------------------------------
 */

struct t5_config {
    int64_t vocabulary, dim, inner;
    int32_t heads, head_dim, layers, decoder_layers, buckets, reach;
    int32_t start, end, padding;
    double epsilon, dropout, factor;
    const char *feed_forward;
    const char *activation;
    bool gated, scaled; /* scaled: the output matrix is the embedding, and its input is scaled */
};

#define FIELD(name, kind, member, min, max)                                                        \
    {                                                                                              \
        name, CONFIG_##kind, offsetof(struct t5_config, member), min, max                          \
    }

static const struct config_field fields[] = {
    FIELD("vocab_size", I64, vocabulary, 1, 1 << 24),
    FIELD("d_model", I64, dim, 1, 1 << 20),
    FIELD("d_kv", I32, head_dim, 1, 1 << 16),
    FIELD("d_ff", I64, inner, 1, 1 << 22),
    FIELD("num_layers", I32, layers, 1, 1 << 14),
    FIELD("num_heads", I32, heads, 1, 1 << 16),
    FIELD("relative_attention_num_buckets", I32, buckets, 4, 1 << 16),
    FIELD("relative_attention_max_distance", I32, reach, 2, 1 << 20),
    FIELD("layer_norm_epsilon", DOUBLE, epsilon, 0, 1),
    FIELD("dropout_rate", DOUBLE, dropout, 0, 0.999),
    FIELD("initializer_factor", DOUBLE, factor, 0, 1e3),
    FIELD("feed_forward_proj", TEXT, feed_forward, 0, 0),
    FIELD("pad_token_id", I32, padding, 0, 1 << 24),
};

/* "relu", "gated-gelu" (which means GPT-2's form of it), "gated-silu", ... */
static llm_status read_feed_forward(struct t5_config *config)
{
    const char *name = config->feed_forward;

    config->gated = strncmp(name, "gated-", 6) == 0;
    config->activation = config->gated ? name + 6 : name;
    if (strcmp(name, "gated-gelu") == 0)
        config->activation = "gelu_new";
    return activation_find(config->activation)
               ? LLM_OK
               : status_set(LLM_E_UNSUPPORTED, "field \"feed_forward_proj\": \"%.100s\" is unknown",
                            name);
}

/* transformers from 5.17 on says "scale_decoder_outputs"; before, "tie_word_embeddings" meant it.
 */
static llm_status read_config(struct t5_config *config, const json_t *json)
{
    llm_status status = config_read(config, json, fields, sizeof fields / sizeof fields[0]);

    config->decoder_layers = config->layers;
    if (!status)
        status = json_read_i32(json, "num_decoder_layers", 1, 1 << 14, &config->decoder_layers);
    config->start = config->padding;
    if (!status)
        status = json_read_i32(json, "decoder_start_token_id", 0, 1 << 24, &config->start);
    if (!status && !json_is_array(json_object_get(json, "eos_token_id")))
        status = json_read_i32(json, "eos_token_id", 0, 1 << 24, &config->end);
    if (!status)
        status = json_read_bool(json, "tie_word_embeddings", &config->scaled);
    if (!status)
        status = json_read_bool(json, "scale_decoder_outputs", &config->scaled);
    if (!status)
        status = read_feed_forward(config);
    if (status)
        return status;
    if (config->start >= config->vocabulary || config->padding >= config->vocabulary)
        return status_set(LLM_E_RANGE, "field \"decoder_start_token_id\": %d is not a token",
                          config->start >= config->vocabulary ? config->start : config->padding);
    if (config->buckets % 4 != 0 || config->reach <= config->buckets / 2)
        return status_set(LLM_E_UNSUPPORTED,
                          "field \"relative_attention_num_buckets\": %d does not fit a distance "
                          "of %d",
                          config->buckets, config->reach);
    if ((int64_t)config->heads * config->head_dim > 1 << 22)
        return status_set(LLM_E_RANGE, "field \"d_kv\": %d heads of %d are too wide", config->heads,
                          config->head_dim);
    return LLM_OK;
}

/* ---- parameters --------------------------------------------------------------------------------
 */

struct name {
    char text[128];
};

static struct name name(const char *format, int32_t layer, int32_t part)
{
    struct name name;

    (void)snprintf(name.text, sizeof name.text, format, layer, part);
    return name;
}

/* Where the declarations of a block go: "encoder.block.3.layer." and "enc.blk.3." */
struct place {
    struct params *params;
    const struct t5_config *config;
    struct name prefix, gguf;
};

static void declare_linear(struct linear *linear, const struct place *place, int64_t in,
                           int64_t out, double deviation, const char *end, const char *gguf_end)
{
    struct linear_spec spec = {in, out, false, 0, (float)(place->config->factor * deviation)};
    char full[192], gguf[192];

    (void)snprintf(full, sizeof full, "%s%s", place->prefix.text, end);
    (void)snprintf(gguf, sizeof gguf, "%s%s", place->gguf.text, gguf_end);
    linear_declare(linear, place->params, &spec, full, gguf);
}

static void declare_norm(struct rms_norm *norm, const struct place *place, const char *end,
                         const char *gguf_end)
{
    struct rms_norm_spec spec = {.width = place->config->dim, .epsilon = place->config->epsilon};
    char full[192], gguf[192];

    (void)snprintf(full, sizeof full, "%s%s", place->prefix.text, end);
    (void)snprintf(gguf, sizeof gguf, "%s%s", place->gguf.text, gguf_end);
    rms_norm_declare(norm, place->params, &spec, full, gguf);
}

static void declare_projections(struct t5_projections *projections, const struct place *place,
                                bool cross)
{
    const struct t5_config *config = place->config;
    const char *layer = cross ? "1.EncDecAttention" : "0.SelfAttention";
    const char *gguf = cross ? "cross_attn" : "attn";
    int64_t wide = (int64_t)config->heads * config->head_dim;
    double by_dim = 1.0 / sqrt((double)config->dim);
    static const char ends[4] = {'q', 'k', 'v', 'o'};
    struct linear *parts[4] = {&projections->query, &projections->key, &projections->value,
                               &projections->output};

    for (int i = 0; i < 4; i++) {
        bool back = i == 3;
        double deviation = back     ? 1.0 / sqrt((double)wide)
                           : i == 0 ? by_dim / sqrt((double)config->head_dim)
                                    : by_dim;
        char end[64], gguf_end[64];

        (void)snprintf(end, sizeof end, "%s.%c", layer, ends[i]);
        (void)snprintf(gguf_end, sizeof gguf_end, "%s_%c", gguf, ends[i]);
        declare_linear(parts[i], place, back ? wide : config->dim, back ? config->dim : wide,
                       deviation, end, gguf_end);
    }
}

static void declare_feed_forward(struct t5_block *block, const struct place *place, int32_t layer)
{
    const struct t5_config *config = place->config;
    double by_dim = 1.0 / sqrt((double)config->dim);
    struct name up =
        name(config->gated ? "%d.DenseReluDense.wi_1" : "%d.DenseReluDense.wi", layer, 0);

    if (config->gated)
        declare_linear(&block->gate, place, config->dim, config->inner, by_dim,
                       name("%d.DenseReluDense.wi_0", layer, 0).text, "ffn_gate");
    declare_linear(&block->up, place, config->dim, config->inner, by_dim, up.text, "ffn_up");
    declare_linear(&block->down, place, config->inner, config->dim,
                   1.0 / sqrt((double)config->inner), name("%d.DenseReluDense.wo", layer, 0).text,
                   "ffn_down");
    declare_norm(&block->mlp_norm, place, name("%d.layer_norm", layer, 0).text, "ffn_norm");
}

static void declare_stack(struct t5_stack *stack, struct params *params,
                          const struct t5_config *config)
{
    bool decoder = stack->is_decoder;
    struct param_spec distances = {.dimensions = 2,
                                   .shape = {config->buckets, config->heads},
                                   .init = PARAM_INIT_NORMAL,
                                   .deviation =
                                       (float)(config->factor / sqrt((double)config->dim))};
    struct place place = {.params = params, .config = config};

    for (int32_t i = 0; i < stack->layers && !params->status; i++) {
        struct t5_block *block = &stack->blocks[i];

        place.prefix = name(decoder ? "decoder.block.%d.layer." : "encoder.block.%d.layer.", i, 0);
        place.gguf = name(decoder ? "dec.blk.%d." : "enc.blk.%d.", i, 0);
        declare_projections(&block->attention, &place, false);
        if (i == 0)
            stack->distances = params_declare(
                params, &distances,
                decoder ? "dec.blk.0.attn_rel_b.weight" : "enc.blk.0.attn_rel_b.weight",
                "%s0.SelfAttention.relative_attention_bias.weight", place.prefix.text);
        declare_norm(&block->attention_norm, &place, "0.layer_norm", "attn_norm");
        if (decoder) {
            declare_projections(&block->cross, &place, true);
            declare_norm(&block->cross_norm, &place, "1.layer_norm", "cross_attn_norm");
        }
        declare_feed_forward(block, &place, decoder ? 2 : 1);
    }
    place.prefix = name(decoder ? "decoder." : "encoder.", 0, 0);
    place.gguf = name(decoder ? "dec." : "enc.", 0, 0);
    declare_norm(&stack->final_norm, &place, "final_layer_norm", "output_norm");
}

static void declare(llm_model *model, struct t5 *t5, const struct t5_config *config)
{
    struct params *params = &model->params;
    struct param_spec table = {.dimensions = 2,
                               .shape = {config->vocabulary, config->dim},
                               .flags = PARAM_DECAY,
                               .init = PARAM_INIT_NORMAL,
                               .deviation = (float)config->factor};

    t5->tokens = params_declare(params, &table, "token_embd.weight", "shared.weight");
    declare_stack(&t5->encoder, params, config);
    if (t5->decoder.blocks)
        declare_stack(&t5->decoder, params, config);
    model->output = t5->tokens;
    if (!config->scaled && model_has_lm_head(model))
        model->output = params_declare(params, &table, "output.weight", "lm_head.weight");
}

static bool make_stack(struct t5_stack *stack, llm_model *model, int32_t layers, bool decoder)
{
    stack->layers = layers;
    stack->is_decoder = decoder;
    stack->blocks = arena_alloc(&model->arena, sizeof *stack->blocks * (size_t)layers);
    return stack->blocks != NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t tail = strlen(end);

    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static llm_status create(llm_model *model)
{
    struct t5_config config = {.vocabulary = 32128,
                               .dim = 512,
                               .inner = 2048,
                               .heads = 8,
                               .head_dim = 64,
                               .layers = 6,
                               .buckets = 32,
                               .reach = 128,
                               .end = 1,
                               .epsilon = 1e-6,
                               .dropout = 0.1,
                               .factor = 1.0,
                               .feed_forward = "relu",
                               .scaled = true};
    struct t5 *t5 = arena_alloc(&model->arena, sizeof *t5);
    llm_status status = t5 ? read_config(&config, model->config) : LLM_E_NOMEM;

    if (status)
        return status;
    if (!make_stack(&t5->encoder, model, config.layers, false))
        return LLM_E_NOMEM;
    if (!ends_with(model->head.class_name, "EncoderModel") &&
        !make_stack(&t5->decoder, model, config.decoder_layers, true))
        return LLM_E_NOMEM;
    t5->heads = config.heads;
    t5->head_dim = config.head_dim;
    t5->buckets = config.buckets;
    t5->reach = config.reach;
    t5->activation = activation_find(config.activation);
    t5->dropout = (float)config.dropout;
    t5->output_scale = config.scaled ? 1.0f / sqrtf((float)config.dim) : 1.0f;
    model->layout = t5;
    model->vocabulary = config.vocabulary;
    model->context_length = 1 << 20; /* distances have no limit */
    model->dim = config.dim;
    model->layers = config.layers;
    model->decoder_layers = t5->decoder.layers;
    model->heads = config.heads;
    model->kv_heads = config.heads;
    model->head_dim = config.head_dim;
    model->dropout = t5->dropout;
    model->decoder_start = config.start;
    model->end_token = config.end;
    model->pad_token = config.padding;
    declare(model, t5, &config);
    return model->params.status;
}

/* The embedding under the names of its users; an output matrix that is not there is tied. */
static bool alias(char *other, size_t size, const char *name, int attempt)
{
    static const char *const shared[] = {"encoder.embed_tokens.weight",
                                         "decoder.embed_tokens.weight"};

    if (strcmp(name, "shared.weight") == 0 && attempt < 2) {
        (void)snprintf(other, size, "%s", shared[attempt]);
        return true;
    }
    if (strcmp(name, "lm_head.weight") == 0 && attempt == 0) {
        (void)snprintf(other, size, "shared.weight");
        return true;
    }
    return false;
}

/* Copies of the embedding, and a table that only the first block uses. */
static bool ignores(const char *tensor)
{
    return ends_with(tensor, "embed_tokens.weight") || strcmp(tensor, "lm_head.weight") == 0 ||
           strcmp(tensor,
                  "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight") == 0;
}

const struct arch arch_t5 = {.name = "t5",
                             .class_name = "T5ForConditionalGeneration",
                             .create = create,
                             .hidden = hidden,
                             .ignores = ignores,
                             .heads = 1 << LLM_HEAD_NONE | 1 << LLM_HEAD_SEQ2SEQ,
                             .bidirectional = true,
                             .logits = logits,
                             .decode = decode,
                             .remember = remember,
                             .alias = alias};
