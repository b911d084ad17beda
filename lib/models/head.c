/* SPDX-License-Identifier: MIT */
#include "models/head.h"

#include "graph/op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- which head --------------------------------------------------------------------------------
 */

/* How class names end. The longest that fits counts, so the order matters only for equal ones. */
static const struct {
    const char *end;
    int32_t kind;
} kinds[] = {
    {"ForConditionalGeneration", LLM_HEAD_SEQ2SEQ},
    {"ForSequenceClassification", LLM_HEAD_SEQUENCE},
    {"ForTokenClassification", LLM_HEAD_TOKENS},
    {"ForQuestionAnswering", LLM_HEAD_SPANS},
    {"ForMaskedLM", LLM_HEAD_MASKED_LM},
    {"ForCausalLM", LLM_HEAD_CAUSAL_LM},
    {"LMHeadModel", LLM_HEAD_CAUSAL_LM},
    {"WithLMHeadModel", LLM_HEAD_SEQ2SEQ}, /* old name in T5 files */
    {"EncoderModel", LLM_HEAD_NONE},
    {"Model", LLM_HEAD_NONE},
};

/* The kind of head and how many characters of the name come before its end; -1: unknown. */
static int32_t kind_of(const char *class_name, size_t *stem)
{
    size_t length = strlen(class_name);
    size_t longest = 0;
    int32_t kind = -1;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t end = strlen(kinds[i].end);

        if (end > longest && end < length && strcmp(class_name + length - end, kinds[i].end) == 0) {
            longest = end;
            kind = kinds[i].kind;
        }
    }
    *stem = length - longest;
    return kind;
}

/* The first name in "architectures", or the architecture's own. */
static const char *class_of(const llm_model *model)
{
    const json_t *list = json_object_get(model->config, "architectures");
    const char *name = json_is_array(list) ? json_string_value(json_array_get(list, 0)) : NULL;

    return name ? name : model->arch->class_name;
}

static uint32_t supported(const struct arch *arch)
{
    uint32_t decoder = 1u << LLM_HEAD_NONE | 1u << LLM_HEAD_CAUSAL_LM | 1u << LLM_HEAD_SEQUENCE;

    return arch->heads ? arch->heads : decoder;
}

/* Saved under the architecture's own name and the head's: files made before a class was renamed
 * ("LLaMAForCausalLM") still load, and the text part of a model for images and text is a decoder.
 */
static llm_status read_kind(llm_model *model)
{
    const char *own = model->arch->class_name;
    const char *name = class_of(model);
    size_t own_stem, stem;
    int32_t kind = kind_of(name, &stem);

    (void)kind_of(own, &own_stem);
    if (!model->arch->heads && kind == LLM_HEAD_SEQ2SEQ) {
        kind = LLM_HEAD_CAUSAL_LM;
        name = own;
        stem = own_stem;
    }
    if (kind < 0 || !(supported(model->arch) & 1u << kind) ||
        own_stem + strlen(name + stem) >= sizeof model->head.class_name)
        return status_set(LLM_E_UNSUPPORTED,
                          "field \"architectures\": \"%.100s\" is not supported for \"%s\"", name,
                          model->arch->name);
    model->head.kind = kind;
    (void)snprintf(model->head.class_name, sizeof model->head.class_name, "%.*s%s", (int)own_stem,
                   own, name + stem);
    return LLM_OK;
}

bool model_has_lm_head(const llm_model *model)
{
    return model->head.kind == LLM_HEAD_CAUSAL_LM || model->head.kind == LLM_HEAD_SEQ2SEQ ||
           model->head.kind == LLM_HEAD_MASKED_LM;
}

/* ---- labels ------------------------------------------------------------------------------------
 */

enum { MOST_LABELS = 1 << 20 };

static llm_status name_labels(llm_model *model, const json_t *names)
{
    size_t count = (size_t)model->head.labels;
    const char **list = arena_alloc(&model->arena, count * sizeof *list);

    if (!list)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < count; i++) {
        char key[24], plain[32];
        const json_t *value;

        (void)snprintf(key, sizeof key, "%zu", i);
        (void)snprintf(plain, sizeof plain, "LABEL_%zu", i);
        value = json_object_get(names, key);
        if (names && !json_is_string(value))
            return status_set(LLM_E_FORMAT, "field \"id2label\": label %zu is missing or no text",
                              i);
        list[i] = names ? arena_copy_text(&model->arena, json_string_value(value),
                                          json_string_length(value))
                        : arena_copy_text(&model->arena, plain, strlen(plain));
        if (!list[i])
            return LLM_E_NOMEM;
    }
    model->head.names = list;
    return LLM_OK;
}

static llm_status read_labels(llm_model *model)
{
    const json_t *names = json_object_get(model->config, "id2label");
    llm_status status;

    if (json_is_null(names))
        names = NULL;
    if (names && (!json_is_object(names) || json_object_size(names) < 1))
        return status_set(LLM_E_FORMAT, "field \"id2label\": not an object with labels");
    model->head.labels = 2;
    status = json_read_i64(model->config, "num_labels", 1, MOST_LABELS, &model->head.labels);
    if (status)
        return status;
    if (names && json_object_size(names) > MOST_LABELS)
        return status_set(LLM_E_RANGE, "field \"id2label\": more than %d labels", MOST_LABELS);
    if (names)
        model->head.labels = (int64_t)json_object_size(names);
    if (model->head.kind == LLM_HEAD_SPANS && model->head.labels != 2)
        return status_set(LLM_E_UNSUPPORTED,
                          "field \"id2label\": %lld labels, question answering has 2",
                          (long long)model->head.labels);
    return name_labels(model, names);
}

static llm_status read_problem(llm_model *model)
{
    const char *text = NULL;
    llm_status status = json_read_text(model->config, "problem_type", &text);

    model->head.problem = model->head.kind == LLM_HEAD_SEQUENCE && model->head.labels == 1
                              ? LLM_PROBLEM_REGRESSION
                              : LLM_PROBLEM_SINGLE_LABEL;
    if (status || !text)
        return status;
    if (strcmp(text, "regression") == 0)
        model->head.problem = LLM_PROBLEM_REGRESSION;
    else if (strcmp(text, "single_label_classification") == 0)
        model->head.problem = LLM_PROBLEM_SINGLE_LABEL;
    else if (strcmp(text, "multi_label_classification") == 0)
        model->head.problem = LLM_PROBLEM_MULTI_LABEL;
    else
        return status_set(LLM_E_UNSUPPORTED, "field \"problem_type\": \"%.100s\" is unknown", text);
    return LLM_OK;
}

llm_status head_read(llm_model *model)
{
    llm_status status = read_kind(model);
    bool labelled = model->head.kind == LLM_HEAD_SEQUENCE || model->head.kind == LLM_HEAD_TOKENS ||
                    model->head.kind == LLM_HEAD_SPANS;

    model->decoder_start = model->end_token = model->pad_token = -1;
    if (!status && labelled)
        status = read_labels(model);
    if (!status && labelled)
        status = read_problem(model);
    return status;
}

/* transformers' Generic...ForSequenceClassification and GPT2ForSequenceClassification. */
llm_status head_declare(llm_model *model)
{
    struct linear_spec score = {.in = model->dim, .out = model->head.labels, .deviation = 0.02f};

    if (!model->arch->heads && model->head.kind == LLM_HEAD_SEQUENCE)
        linear_declare(&model->head.score, &model->params, &score, "score", "cls.output");
    return model->params.status;
}

/* ---- forward -----------------------------------------------------------------------------------
 */

/* Row offsets[s + end] - end of each sequence. */
static llm_tensor *edge_rows(struct cx *cx, const struct batch *batch, llm_tensor *hidden, int end)
{
    int32_t *rows = arena_alloc(&cx->arena, sizeof *rows * (size_t)batch->segments);

    if (!rows)
        return cx_adopt(cx, LLM_E_NOMEM);
    for (int32_t s = 0; s < batch->segments; s++)
        rows[s] = batch->offsets[s + end] - end;
    return op_select_rows(cx, hidden, rows, batch->segments);
}

llm_tensor *head_first_rows(struct cx *cx, const struct batch *batch, llm_tensor *hidden)
{
    return edge_rows(cx, batch, hidden, 0);
}

llm_tensor *head_last_rows(struct cx *cx, const struct batch *batch, llm_tensor *hidden)
{
    return edge_rows(cx, batch, hidden, 1);
}

llm_tensor *model_head(struct cx *cx, const llm_model *model, const struct batch *batch,
                       llm_tensor *hidden)
{
    switch (model->head.kind) {
    case LLM_HEAD_NONE:
        return hidden;
    case LLM_HEAD_CAUSAL_LM:
    case LLM_HEAD_MASKED_LM:
        return model_logits(cx, model, hidden);
    case LLM_HEAD_SEQ2SEQ:
        return cx_fail(cx, LLM_E_UNSUPPORTED, "%s: needs a target text as well",
                       model->head.class_name);
    default:
        break;
    }
    if (model->arch->head)
        return model->arch->head(cx, model, batch, hidden);
    return linear_forward(cx, &model->head.score, head_last_rows(cx, batch, hidden));
}

/* ---- losses ------------------------------------------------------------------------------------
 */

/* Only the rows that count go through the output matrix: in masked training few of them do. */
static llm_tensor *masked_loss(struct cx *cx, const llm_model *model, const struct batch *batch,
                               llm_tensor *hidden, const int32_t *targets)
{
    int32_t *rows = arena_alloc(&cx->arena, sizeof *rows * (size_t)batch->tokens);
    int32_t *kept = arena_alloc(&cx->arena, sizeof *kept * (size_t)batch->tokens);
    int64_t count = 0;

    if (!rows || !kept)
        return cx_adopt(cx, LLM_E_NOMEM);
    for (int64_t i = 0; i < batch->tokens; i++) {
        if (targets[i] == -100)
            continue;
        rows[count] = (int32_t)i;
        kept[count++] = targets[i];
    }
    if (!count)
        return cx_fail(cx, LLM_E_NUMERIC, "every target is -100: there is no loss");
    return op_cross_entropy(cx, model_logits(cx, model, op_select_rows(cx, hidden, rows, count)),
                            kept, NULL);
}

/* Each sequence chooses one of its own tokens as beginning and one as end: [T, 2] -> 2 classes. */
static llm_tensor *span_loss(struct cx *cx, const struct batch *batch, llm_tensor *scores,
                             const int32_t *targets)
{
    struct cross_entropy_options sum = {.ignore_index = -100, .reduction = REDUCE_SUM};
    llm_tensor *total = NULL;
    int64_t counted = 0;

    for (int32_t s = 0; s < batch->segments; s++) {
        const int32_t *pair = targets + 2 * (size_t)s;
        llm_tensor *rows = op_slice(cx, scores, 0, batch->offsets[s], batch->offsets[s + 1], 1);
        llm_tensor *loss;

        counted += (pair[0] != -100) + (pair[1] != -100);
        loss = op_cross_entropy(cx, op_transpose(cx, rows, 0, 1), pair, &sum);
        total = total ? op_add(cx, total, loss) : loss;
    }
    if (!counted)
        return cx_fail(cx, LLM_E_NUMERIC, "every target is -100: there is no loss");
    return op_affine(cx, total, 1.0f / (float)counted, 0.0f);
}

static llm_tensor *sequence_loss(struct cx *cx, const llm_model *model, llm_tensor *scores,
                                 const struct head_targets *targets)
{
    bool by_class = model->head.problem == LLM_PROBLEM_SINGLE_LABEL;
    llm_tensor *values;

    if (by_class && targets->classes)
        return op_cross_entropy(cx, scores, targets->classes, NULL);
    if (by_class || !targets->values)
        return cx_fail(cx, LLM_E_INVALID, "%s: the loss needs %s", model->head.class_name,
                       by_class ? "classes" : "values");
    values = scores ? cx_output_like(cx, scores) : NULL;
    if (!values)
        return NULL;
    memcpy(values->data, targets->values, (size_t)tensor_count(values) * sizeof(float));
    if (model->head.problem == LLM_PROBLEM_REGRESSION)
        return op_mse(cx, scores, values, REDUCE_MEAN);
    return op_bce_with_logits(cx, scores, values, REDUCE_MEAN);
}

llm_tensor *model_head_loss(struct cx *cx, const llm_model *model, const struct batch *batch,
                            const struct head_targets *targets)
{
    llm_tensor *hidden;

    if (model->head.kind == LLM_HEAD_NONE || model->head.kind == LLM_HEAD_SEQ2SEQ)
        return cx_fail(cx, LLM_E_UNSUPPORTED, "%s: has no loss of this kind",
                       model->head.class_name);
    if (model->head.kind != LLM_HEAD_SEQUENCE && !targets->classes)
        return cx_fail(cx, LLM_E_INVALID, "%s: the loss needs classes", model->head.class_name);
    if (model->head.kind == LLM_HEAD_CAUSAL_LM)
        return model_loss(cx, model, batch, targets->classes, 0.0f);
    hidden = model_hidden(cx, model, batch);
    if (model->head.kind == LLM_HEAD_MASKED_LM)
        return masked_loss(cx, model, batch, hidden, targets->classes);
    hidden = model_head(cx, model, batch, hidden);
    if (model->head.kind == LLM_HEAD_SEQUENCE)
        return sequence_loss(cx, model, hidden, targets);
    if (model->head.kind == LLM_HEAD_SPANS)
        return span_loss(cx, batch, hidden, targets->classes);
    return op_cross_entropy(cx, hidden, targets->classes, NULL);
}

/* ---- encoder-decoders --------------------------------------------------------------------------
 */

llm_tensor *model_decode(struct cx *cx, const llm_model *model, const struct batch *batch,
                         const struct cross_memory *memory)
{
    if (model->head.kind != LLM_HEAD_SEQ2SEQ || !model->arch->decode)
        return cx_fail(cx, LLM_E_UNSUPPORTED, "%s: has no decoder", model->head.class_name);
    return model_logits(cx, model, model->arch->decode(cx, model, batch, memory));
}

/* What the decoder reads to say `targets`: the start token, then all but the last of each text. */
static bool shift_right(struct cx *cx, const llm_model *model, struct batch *shifted,
                        const struct batch *target, const int32_t *targets)
{
    int32_t *ids = arena_alloc(&cx->arena, sizeof *ids * (size_t)target->tokens);

    if (!ids || model->decoder_start < 0)
        return ids ? cx_fail(cx, LLM_E_UNSUPPORTED, "field \"decoder_start_token_id\" is missing")
                   : cx_adopt(cx, LLM_E_NOMEM);
    for (int32_t s = 0; s < target->segments; s++) {
        for (int32_t i = target->offsets[s]; i < target->offsets[s + 1]; i++) {
            ids[i] = i == target->offsets[s] ? model->decoder_start : targets[i - 1];
            if (ids[i] == -100)
                ids[i] = model->pad_token < 0 ? 0 : model->pad_token;
        }
    }
    *shifted = *target;
    shifted->ids = ids;
    return true;
}

llm_tensor *model_seq2seq_logits(struct cx *cx, const llm_model *model, const struct batch *source,
                                 const struct batch *target, const int32_t *targets)
{
    struct cross_memory memory = {
        .sources = source->segments, .offsets = source->offsets, .q_offsets = target->offsets};
    struct batch shifted;

    if (source->segments != target->segments)
        return cx_fail(cx, LLM_E_INVALID, "%d source texts but %d target texts", source->segments,
                       target->segments);
    if (!shift_right(cx, model, &shifted, target, targets))
        return NULL;
    memory.hidden = model_hidden(cx, model, source);
    return model_decode(cx, model, &shifted, &memory);
}

llm_tensor *model_seq2seq_loss(struct cx *cx, const llm_model *model, const struct batch *source,
                               const struct batch *target, const int32_t *targets)
{
    bool any = false;

    for (int64_t i = 0; i < target->tokens; i++)
        any = any || targets[i] != -100;
    if (!any)
        return cx_fail(cx, LLM_E_NUMERIC, "every target is -100: there is no loss");
    return op_cross_entropy(cx, model_seq2seq_logits(cx, model, source, target, targets), targets,
                            NULL);
}
