/* SPDX-License-Identifier: MIT
 *
 * A model: configuration, parameters and the architecture that gives them meaning. The forward pass
 * of an architecture is written once (models/<name>.c) and serves training, evaluation, prefill and
 * decoding: what differs is the batch (nn/batch.h) and the cx. Immutable while shared; a trainer
 * needs the model to itself (model_lock).
 */
#ifndef MODELS_MODEL_H
#define MODELS_MODEL_H

#include "base/json.h"
#include "graph/cx.h"
#include "llm/model.h"
#include "nn/batch.h"
#include "nn/params.h"

enum { MODEL_CONFIG_LIMIT = 16 << 20 }; /* bytes of a config.json */

/* One architecture: a row of the table in arch.c. */
struct arch {
    const char *name;       /* "model_type" in config.json, for example "gpt2" */
    const char *class_name; /* of "architectures" in a config.json that is saved */
    const char *prefix;     /* of parameter names, which a file may leave out; or NULL */
    /* Reads model->config, fills the sizes below, allocates model->layout (in model->arena) and
     * declares every parameter. */
    llm_status (*create)(llm_model *model);
    /* Final normalized hidden states [N, D]. */
    llm_tensor *(*hidden)(struct cx *cx, const llm_model *model, const struct batch *batch);
    /* True for tensors of a file that carry no weights (masks, tables). NULL: none. */
    bool (*ignores)(const char *name);
};

struct llm_model {
    _Atomic int references;
    _Atomic int users; /* sessions > 0; -1: a trainer owns it */
    llm_context *context;
    const struct arch *arch;
    json_t *config;   /* as given, kept for saving */
    struct text text; /* the same with what saving adds */
    struct arena arena;
    struct params params;
    void *layout; /* the architecture's own struct of tensors and sizes */

    int64_t vocabulary;     /* V */
    int64_t context_length; /* most positions */
    int64_t dim;            /* D */
    int32_t layers, heads, kv_heads, head_dim;
    llm_tensor *output; /* [V, D], the embedding if tied */
    float dropout;      /* training only, from the config */
};

/* From config.json text: parameters declared, not initialized. `what` names the text in messages.
 * With `shapes_only` the parameters have no memory: for questions about sizes. */
llm_status model_new(llm_model **out, llm_context *context, const char *config, size_t size,
                     const char *what, bool shapes_only);
llm_model *model_retain(llm_model *model);
void model_release(llm_model *model);

/* Readers (sessions) and the one writer (trainer) exclude each other: LLM_E_BUSY. */
llm_status model_lock_shared(llm_model *model);
void model_unlock_shared(llm_model *model);
llm_status model_lock_exclusive(llm_model *model);
void model_unlock_exclusive(llm_model *model);

/* LLM_OK when the batch fits the model. */
llm_status model_check(const llm_model *model, const struct batch *batch);

/* Forward passes on a checked batch, whose arrays stay valid until cx is reset. */
llm_tensor *model_hidden(struct cx *cx, const llm_model *model, const struct batch *batch);
/* hidden rows [n, D] -> logits [n, V] */
llm_tensor *model_logits(struct cx *cx, const llm_model *model, llm_tensor *hidden);
/* Mean cross-entropy (nats) of targets [N], -100 ignored. */
llm_tensor *model_loss(struct cx *cx, const llm_model *model, const struct batch *batch,
                       const int32_t *targets, float label_smoothing);

/* Directory with config.json and model.safetensors, as transformers writes and reads it. */
llm_status model_load(llm_model **out, llm_context *context, const char *directory,
                      const llm_model_load_options *options);
/* The values of all parameters; after a failure some are old and some new. */
llm_status model_load_weights(llm_model *model, const char *directory,
                              const llm_model_load_options *options);
llm_status model_save(const llm_model *model, const char *directory,
                      const llm_model_save_options *options);

/* What can be said without weights (model_info.c). */
void model_describe(llm_model_info *info, const llm_model *model);
/* The same of a directory, from config.json and the headers of the weight files. */
llm_status model_describe_directory(llm_model_info *info, llm_context *context,
                                    const char *directory);
/* The model of directory/config.json. */
llm_status model_from_directory(llm_model **out, llm_context *context, const char *directory,
                                bool shapes_only);

/* table of architectures (arch.c) */
const struct arch *arch_find(const char *model_type); /* NULL: unknown */
const char *arch_names(void);                         /* "gpt2, ..." for messages */

#endif
