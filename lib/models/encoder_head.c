/* SPDX-License-Identifier: MIT
 *
 * The heads of encoders (models/encoder.h): pooler, masked language model, classification of texts
 * and of tokens, spans.
 */
#include "graph/op.h"
#include "models/encoder.h"

#include <stdio.h>
#include <string.h>

/* ---- parameters --------------------------------------------------------------------------------
 */

static void declare_scores(llm_model *model, struct encoder *encoder,
                           const struct encoder_config *config, const char *name)
{
    struct linear_spec scores = {config->dim, model->head.labels, true, 0,
                                 (float)config->deviation};

    linear_declare(&encoder->scores, &model->params, &scores, name, "cls.output");
}

static void declare_dense(llm_model *model, struct encoder *encoder,
                          const struct encoder_config *config, const char *name, uint32_t flags)
{
    struct linear_spec dense = {config->dim, config->dim, true, flags, (float)config->deviation};

    linear_declare(&encoder->dense, &model->params, &dense, name, "cls");
}

static void declare_lm(llm_model *model, struct encoder *encoder,
                       const struct encoder_config *config)
{
    const struct encoder_names *names = config->names;
    struct param_spec matrix = {.dimensions = 2,
                                .shape = {config->vocabulary, config->dim},
                                .flags = PARAM_DECAY,
                                .init = PARAM_INIT_NORMAL,
                                .deviation = (float)config->deviation};
    struct param_spec bias = {
        .dimensions = 1, .shape = {config->vocabulary}, .init = PARAM_INIT_ZERO};

    declare_dense(model, encoder, config, names->lm_dense, 0);
    layer_norm_declare(&encoder->lm_norm, &model->params, config->dim, true, (float)config->epsilon,
                       names->lm_norm, "cls_norm");
    model->output = encoder->words;
    if (!config->tied)
        model->output =
            params_declare(&model->params, &matrix, "output.weight", "%s.weight", names->lm_matrix);
    /* Untied, transformers adds the matrix's own bias and leaves the other one unused. */
    encoder->lm_bias =
        config->tied
            ? params_declare(&model->params, &bias, "output.bias", "%s", names->lm_bias)
            : params_declare(&model->params, &bias, "output.bias", "%s.bias", names->lm_matrix);
}

void encoder_declare_head(llm_model *model, struct encoder *encoder,
                          const struct encoder_config *config)
{
    const struct encoder_names *names = config->names;

    switch (model->head.kind) {
    case LLM_HEAD_NONE: /* files of models for embeddings often lack the pooler */
        if (names->pooler)
            declare_dense(model, encoder, config, names->pooler, PARAM_OPTIONAL);
        break;
    case LLM_HEAD_MASKED_LM:
        declare_lm(model, encoder, config);
        break;
    case LLM_HEAD_SEQUENCE:
        declare_dense(model, encoder, config, names->sequence_dense, 0);
        declare_scores(model, encoder, config, names->sequence_scores);
        break;
    case LLM_HEAD_TOKENS:
        declare_scores(model, encoder, config, names->token_scores);
        break;
    default:
        declare_scores(model, encoder, config, names->span_scores);
        break;
    }
}

/* ---- forward -----------------------------------------------------------------------------------
 */

llm_tensor *encoder_logits(struct cx *cx, const llm_model *model, llm_tensor *hidden /* [n, D] */)
{
    const struct encoder *encoder = model->layout;
    llm_tensor *x = encoder->lm_activation(cx, linear_forward(cx, &encoder->dense, hidden));

    x = layer_norm_forward(cx, &encoder->lm_norm, x);
    return op_linear(cx, x, model->output, encoder->lm_bias); /* [n, V] */
}

/* [S, D] from the first token of each sequence. */
static llm_tensor *first_token(struct cx *cx, const struct encoder *encoder,
                               const struct batch *batch, llm_tensor *hidden)
{
    llm_tensor *x = head_first_rows(cx, batch, hidden);

    if (encoder->drops_before_dense)
        x = op_dropout(cx, x, encoder->head_dropout);
    return encoder->sequence_activation(cx, linear_forward(cx, &encoder->dense, x));
}

llm_tensor *encoder_pool(struct cx *cx, const llm_model *model, const struct batch *batch,
                         llm_tensor *hidden)
{
    const struct encoder *encoder = model->layout;

    if (!encoder->dense.weight || model->head.kind != LLM_HEAD_NONE)
        return cx_fail(cx, LLM_E_UNSUPPORTED, "%s has no pooler", model->head.class_name);
    return op_tanh(cx, linear_forward(cx, &encoder->dense, head_first_rows(cx, batch, hidden)));
}

llm_tensor *encoder_head(struct cx *cx, const llm_model *model, const struct batch *batch,
                         llm_tensor *hidden)
{
    const struct encoder *encoder = model->layout;
    float dropout =
        model->head.kind == LLM_HEAD_SPANS ? encoder->span_dropout : encoder->head_dropout;
    llm_tensor *x =
        model->head.kind == LLM_HEAD_SEQUENCE ? first_token(cx, encoder, batch, hidden) : hidden;

    return linear_forward(cx, &encoder->scores, op_dropout(cx, x, dropout));
}
