/* SPDX-License-Identifier: MIT
 *
 * A model: configuration, parameters and the architecture that gives them meaning. The forward pass
 * of an architecture is written once (models/<name>.c) and serves training, evaluation, prefill and
 * decoding: what differs is the batch (nn/batch.h) and the cx. Immutable while shared; a trainer
 * needs the model to itself (model_lock).
 */
#ifndef MODELS_MODEL_H
#define MODELS_MODEL_H

#include "base/file.h"
#include "base/json.h"
#include "graph/cx.h"
#include "llm/task.h"
#include "nn/batch.h"
#include "nn/cross_attention.h"
#include "nn/linear.h"
#include "nn/params.h"

enum { MODEL_CONFIG_LIMIT = 16 << 20 }; /* bytes of a config.json */

/* One architecture: a row of the table in arch.c. A decoder needs the first part only. */
struct arch {
    const char *name;       /* "model_type" in config.json, for example "gpt2" */
    const char *class_name; /* of "architectures" in config.json when it has none; head.c */
    const char *prefix;     /* of parameter names, which a file may leave out; or NULL */
    const char *wrapper;    /* "model_type" of files whose "text_config" this one is; or NULL */
    /* Reads model->config, fills the sizes below, allocates model->layout (in model->arena) and
     * declares every parameter. */
    llm_status (*create)(llm_model *model);
    /* Final normalized hidden states [N, D]. */
    llm_tensor *(*hidden)(struct cx *cx, const llm_model *model, const struct batch *batch);
    /* True for tensors of a file that carry no weights (masks, tables). NULL: none. */
    bool (*ignores)(const char *name);

    /* Heads that create() declares and the hooks below run: bits 1 << LLM_HEAD_*. 0: a decoder,
     * which declares the output matrix if model_has_lm_head(); head.c adds classification. */
    uint32_t heads;
    bool bidirectional; /* tokens see later ones: no sessions, no generating token by token */
    /* Hidden rows [n, D] -> logits [n, V], when they are more than a product with model->output. */
    llm_tensor *(*logits)(struct cx *cx, const llm_model *model, llm_tensor *hidden);
    /* What the head says from all hidden states [N, D]; see model_head(). NULL: head.c does it. */
    llm_tensor *(*head)(struct cx *cx, const llm_model *model, const struct batch *batch,
                        llm_tensor *hidden);
    /* [S, D] of the model's own pooler, for example BERT's; NULL: it has none. */
    llm_tensor *(*pool)(struct cx *cx, const llm_model *model, const struct batch *batch,
                        llm_tensor *hidden);
    /* Encoder-decoders: final normalized states of the decoder for `batch`, which looks at what the
     * encoder made (hidden() is the encoder); and the keys and values of it, once per source. */
    llm_tensor *(*decode)(struct cx *cx, const llm_model *model, const struct batch *batch,
                          const struct cross_memory *memory);
    bool (*remember)(struct cx *cx, const llm_model *model, struct cross_memory *memory);
    /* Another name under which files may hold a parameter: the `attempt`-th (from 0) is written to
     * `other`; false: no more. */
    bool (*alias)(char *other, size_t size, const char *name, int attempt);
};

/* What stands on top of the hidden states: the class in "architectures" (head.c). */
struct head {
    int32_t kind;             /* LLM_HEAD_* */
    int32_t problem;          /* LLM_PROBLEM_* */
    int64_t labels;           /* of the classes; 0: the head has none */
    const char *const *names; /* [labels] */
    char class_name[96];      /* as saved in "architectures" */
    struct linear score;      /* [labels, D] of decoders */
};

struct llm_model {
    _Atomic int references;
    _Atomic int users; /* sessions > 0; -1: a trainer owns it */
    llm_context *context;
    const struct arch *arch;
    json_t *config;         /* as given, kept for saving */
    struct text text;       /* the same with what saving adds */
    struct text generation; /* generation_config.json, or empty; kept for saving */
    struct arena arena;
    struct params params;
    void *layout; /* the architecture's own struct of tensors and sizes */

    int64_t vocabulary;     /* V */
    int64_t context_length; /* most positions */
    int64_t long_from;      /* texts of more tokens are read anew, by other angles; 0: never */
    int64_t dim;            /* D */
    int32_t layers, heads, kv_heads, head_dim;
    llm_tensor *output;      /* [V, D], the embedding if tied */
    llm_tensor *output_bias; /* [V] or NULL */
    float logit_cap;         /* logits become cap * tanh(logits / cap); 0: they stay */
    float dropout;           /* training only, from the config */
    struct head head;
    int32_t decoder_layers;                      /* encoder-decoders; 0: no decoder */
    int32_t decoder_start, end_token, pad_token; /* the same; -1: none */
};

/* From config.json text: parameters declared, not initialized. `what` names the text in messages.
 * `mode` says what memory the parameters have; true means shapes alone. */
llm_status model_new(llm_model **out, llm_context *context, const char *config, size_t size,
                     const char *what, enum params_mode mode);
llm_model *model_retain(llm_model *model);
void model_release(llm_model *model);

/* Readers (sessions) and the one writer (trainer) exclude each other: LLM_E_BUSY. */
llm_status model_lock_shared(llm_model *model);
void model_unlock_shared(llm_model *model);
llm_status model_lock_exclusive(llm_model *model);
void model_unlock_exclusive(llm_model *model);

/* LLM_OK when the batch fits the model. */
llm_status model_check(const llm_model *model, const struct batch *batch);
/* LLM_OK for models that continue texts token by token: what sessions need. */
llm_status model_check_causal(const llm_model *model);

/* Forward passes on a checked batch, whose arrays stay valid until cx is reset. */
llm_tensor *model_hidden(struct cx *cx, const llm_model *model, const struct batch *batch);
/* hidden rows [n, D] -> logits [n, V], of models with a language-model head */
llm_tensor *model_logits(struct cx *cx, const llm_model *model, llm_tensor *hidden);
/* Mean cross-entropy (nats) of targets [N], -100 ignored: of tokens or, with a head for token
 * classification, of labels. */
llm_tensor *model_loss(struct cx *cx, const llm_model *model, const struct batch *batch,
                       const int32_t *targets, float label_smoothing);

/* A directory as transformers writes it, a GGUF file or a llama2.c checkpoint. */
llm_status model_load(llm_model **out, llm_context *context, const char *path,
                      const llm_model_load_options *options);
/* The same of a GGUF file that is no file; the reader is closed. */
llm_status model_load_reader(llm_model **out, llm_context *context,
                             const struct file_reader *reader,
                             const llm_model_load_options *options);
/* The values of all parameters; after a failure some are old and some new. */
llm_status model_load_weights(llm_model *model, const char *path,
                              const llm_model_load_options *options);
/* model_save.c */
llm_status model_save(const llm_model *model, const char *directory,
                      const llm_model_save_options *options);
/* model_convert.c */
llm_status model_convert(llm_context *context, const char *from, const char *to,
                         const llm_model_convert_options *options);

/* What can be said without weights (model_info.c). */
void model_describe(llm_model_info *info, const llm_model *model);
/* The same of a path, from the configuration and the headers of the weight files. */
llm_status model_describe_path(llm_model_info *info, llm_context *context, const char *path);
/* The keys of a file with metadata, in its order. */
llm_status model_list_metadata(llm_context *context, const char *path, llm_metadata_fn fn,
                               void *user);
/* The model of a path, without weights. */
llm_status model_from_path(llm_model **out, llm_context *context, const char *path,
                           enum params_mode mode);

/* table of architectures (arch.c) */
const struct arch *arch_find(const char *model_type); /* NULL: unknown */
void arch_names(char *text, size_t capacity);         /* "gpt2, ..." for messages */

#endif
