/* SPDX-License-Identifier: MIT
 *
 * Files of a model, opened but not read: configuration and tensors, from any format. Used by
 * loading, describing and converting.
 */
#ifndef MODELS_MODEL_WEIGHTS_H
#define MODELS_MODEL_WEIGHTS_H

#include "models/gguf_family.h"

struct model_input {
    llm_context *context;
    struct tensor_source *source; /* NULL: not opened yet, see model_input_source() */
    char *path;
    struct text config;     /* of config.json, found or made from metadata */
    struct text generation; /* of generation_config.json, likewise; or empty */
    struct text what;       /* names the configuration in messages */
};

/* `path`: a directory or a file. Of a directory with a configuration no weights are needed. */
llm_status model_input_open(struct model_input *input, llm_context *context, const char *path);
/* The reader is closed, also when this fails. */
llm_status model_input_over(struct model_input *input, llm_context *context,
                            const struct file_reader *reader);
llm_status model_input_source(struct model_input *input);
void model_input_close(struct model_input *input); /* zeroed or closed allowed */

/* The model of the input, without weights. */
llm_status model_input_model(llm_model **out, const struct model_input *input,
                             enum params_mode mode);

/* Progress over a number of bytes, for tensor_tick. */
struct model_progress {
    llm_progress_fn fn;
    void *user;
    uint64_t done, total;
};
llm_status model_progress_tick(void *progress, uint64_t bytes);

/* Which tensors of a source make which parameters. */
struct weights {
    const llm_model *model;
    const struct tensor_source *source;
    struct arena arena;
    struct gguf_layout layout;          /* of sources with metadata */
    const struct gguf_tensor **tensors; /* [params] of the layout, or NULL: none */
    bool *used;                         /* [source->count] */
};

llm_status weights_open(struct weights *weights, const llm_model *model,
                        const struct tensor_source *source);
void weights_close(struct weights *weights);

/* The (first) tensor of the file that parameter `index` comes from, or NULL. */
const struct tensor_entry *weights_entry(const struct weights *weights, size_t index);

/* Can the bytes of the file be the parameter, as they are? */
bool weights_are_plain(const struct weights *weights, size_t index);

/* Can the parameter stay in the block type that the file has it in, and how many bytes is that? */
bool weights_keep(const struct weights *weights, size_t index, size_t *bytes);
/* Reads such a parameter, which has no values yet, into panels (model_keep.c). */
llm_status weights_load_kept(struct weights *weights, size_t index,
                             struct model_progress *progress);
/* Of sources with metadata: is the tensor as large as the parameter asks? */
llm_status weights_check_shape(const struct weights *weights, size_t index);

/* Fills `tensor`, which has the parameter's shape: contiguous f32. */
llm_status weights_load(struct weights *weights, size_t index, llm_tensor *tensor,
                        struct model_progress *progress);

/* Logs tensors that nobody asked for. */
void weights_report_unused(const struct weights *weights);

#endif
