/* SPDX-License-Identifier: MIT
 *
 * Models: created from a config.json, loaded from and saved to Hugging Face directories.
 */
#ifndef LLM_MODEL_H
#define LLM_MODEL_H

#include "tape.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A model: configuration and parameters. Reference-counted; immutable while sessions use it, so
 * any number of threads may share it; a trainer needs it alone (else LLM_E_BUSY). */
typedef struct llm_model llm_model;

/** Called now and then during long work; `fraction` runs from 0 to 1. Return 0 to go on, anything
 *  else to stop: the call then returns LLM_E_CANCELLED. */
typedef int32_t (*llm_progress_fn)(void *user, double fraction);

/* ---- making, loading, saving ---- */

/** Options of llm_model_new(). Fill with llm_model_new_options_init(), then assign. */
typedef struct llm_model_new_options {
    size_t struct_size;
    uint64_t seed;         /**< of the initial values; 0 (default): the context's seed */
    int32_t uninitialized; /**< 1: leave the values unspecified, to be written; default 0 */
    int32_t reserved;      /**< 0 */
} llm_model_new_options;

/** Fill `options` with the defaults. @param struct_size sizeof(*options). */
LLM_API llm_status llm_model_new_options_init(llm_model_new_options *options, size_t struct_size);

/** Create a model with fresh parameters.
 *  @param out receives the model, NULL on failure; free with llm_model_free().
 *  @param config JSON text in the vocabulary of Hugging Face's config.json, which must name a
 *  known "model_type" ("gpt2"); absent fields have the defaults of that architecture, for example
 *  {"model_type":"gpt2","n_layer":4,"n_head":4,"n_embd":128,"n_positions":64,"vocab_size":512}.
 *  @param config_size bytes of `config`. @param options NULL for defaults.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_FORMAT (not JSON, wrong type), LLM_E_RANGE,
 *  LLM_E_UNSUPPORTED (the message names the field), LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_model_new(llm_model **out, llm_context *context, const char *config,
                                 size_t config_size, const llm_model_new_options *options);

/** What block types of GGUF files become in memory. */
enum {
    LLM_WEIGHTS_FLOAT = 0, /**< f32, exactly the values of the file */
    /** The matrices of linear layers, the embedding and the output stay in their type (Q4_0 to
     *  MXFP4): a fraction of the memory. Products with them round the activations to 8 bits. Such a
     *  model generates, evaluates and trains adapters; it can neither be trained as a whole nor
     *  saved, and those of its tensors have no values to read: LLM_E_UNSUPPORTED. */
    LLM_WEIGHTS_KEEP = 1
};

/** Options of llm_model_load() and its relatives. Fill with llm_model_load_options_init(), then
 *  assign. */
typedef struct llm_model_load_options {
    size_t struct_size;
    llm_progress_fn progress; /**< NULL: none */
    void *progress_user;
    /** 1: f32 weights that lie in the file as they are wanted are mapped, not read: they cost no
     *  memory of the context, and the first use of a page reads it. The file must not be made
     *  shorter while the model lives. Default 0. */
    int32_t map;
    int32_t weights; /**< LLM_WEIGHTS_*; default LLM_WEIGHTS_FLOAT */
} llm_model_load_options;

/** Fill `options` with the defaults. @param struct_size sizeof(*options). */
LLM_API llm_status llm_model_load_options_init(llm_model_load_options *options, size_t struct_size);

/** Load a model: a directory with config.json and model.safetensors (or a sharded set with
 *  model.safetensors.index.json), as transformers writes it; a GGUF file, version 2 or 3, or the
 *  first of a split set; a directory with one of these; or a checkpoint of llama2.c. All weights
 *  become f32, also quantized ones, unless options->weights says otherwise; what that takes is
 *  compared with the context's memory limit before anything is read. Python pickles are never read.
 *  @param out receives the model, NULL on failure; free with llm_model_free().
 *  @param path NUL-terminated. @param options NULL for defaults.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_IO, LLM_E_FORMAT, LLM_E_SHAPE, LLM_E_RANGE,
 *  LLM_E_UNSUPPORTED, LLM_E_NOMEM, LLM_E_CANCELLED. @threads any. */
LLM_API llm_status llm_model_load(llm_model **out, llm_context *context, const char *path,
                                  const llm_model_load_options *options);

/** The same of a GGUF file in memory, which is only read during the call.
 *  @param data the file. @param size its bytes. @return as llm_model_load(). @threads any. */
LLM_API llm_status llm_model_load_memory(llm_model **out, llm_context *context, const void *data,
                                         size_t size, const llm_model_load_options *options);

/** Fill `buffer` with bytes offset .. offset + size - 1 of a file; 0 for success, anything else is
 *  an error, which ends the loading with LLM_E_IO. */
typedef int32_t (*llm_read_fn)(void *user, uint64_t offset, void *buffer, size_t size);

/** The same of a GGUF file behind a function: an archive, a network, an encrypted store.
 *  @param read called on the calling thread, with ranges inside the file.
 *  @param size bytes of the file. @return as llm_model_load(). @threads any. */
LLM_API llm_status llm_model_load_callback(llm_model **out, llm_context *context, llm_read_fn read,
                                           void *user, uint64_t size,
                                           const llm_model_load_options *options);

/** Options of llm_model_save(). Fill with llm_model_save_options_init(), then assign. */
typedef struct llm_model_save_options {
    size_t struct_size;
    llm_progress_fn progress; /**< NULL: none */
    void *progress_user;
    int32_t dtype;    /**< of the weights in the file: LLM_F32 (default), LLM_F16, LLM_BF16 */
    int32_t reserved; /**< 0 */
    /** most bytes of weights in one file; more are written as a sharded set. 0 (default): one
     *  file */
    uint64_t shard_bytes;
} llm_model_save_options;

/** Fill `options` with the defaults. @param struct_size sizeof(*options). */
LLM_API llm_status llm_model_save_options_init(llm_model_save_options *options, size_t struct_size);

/** Write config.json and model.safetensors into a directory, which is created if missing;
 *  transformers.AutoModelForCausalLM.from_pretrained() reads it. Each file is replaced in one
 *  step: a reader, or a crash, finds the old file or the new one.
 *  @param model at rest: no trainer may be stepping it. @param options NULL for defaults.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_IO (disk full, no permission), LLM_E_NOMEM,
 *  LLM_E_CANCELLED. */
LLM_API llm_status llm_model_save(const llm_model *model, const char *directory,
                                  const llm_model_save_options *options);

/** Options of llm_model_convert(). Fill with llm_model_convert_options_init(), then assign. */
typedef struct llm_model_convert_options {
    size_t struct_size;
    llm_progress_fn progress; /**< NULL: none */
    void *progress_user;
    /** of the weights: LLM_F32, LLM_F16, LLM_BF16, and in GGUF files the block types LLM_Q4_0 ...
     *  LLM_TQ2_0, where rows that do not fill blocks get the nearest type that they fill; vectors,
     *  norms and tables of positions stay f32. -1 (default): the types they have; blocks become
     *  f32 in a directory. */
    int32_t dtype;
    int32_t skip_tokenizer; /**< 1: leave the tokenizer out; default 0 */
    uint64_t split_bytes;   /**< most bytes of weights in one file; 0 (default): one file */
} llm_model_convert_options;

/** Fill `options` with the defaults. @param struct_size sizeof(*options). */
LLM_API llm_status llm_model_convert_options_init(llm_model_convert_options *options,
                                                  size_t struct_size);

/** Convert a model between files, tensor by tensor: the memory needed is that of the largest.
 *  @param from what llm_model_load() reads.
 *  @param to a name that ends in ".gguf", or a directory, created if missing, for config.json,
 *  model.safetensors, generation_config.json and the tokenizer's files.
 *  @param options NULL for defaults.
 *  @return LLM_OK, what llm_model_load() returns, or LLM_E_UNSUPPORTED naming the field or
 *  parameter that the other format cannot express. @threads any. */
LLM_API llm_status llm_model_convert(llm_context *context, const char *from, const char *to,
                                     const llm_model_convert_options *options);

/** Give up the caller's reference. NULL is allowed. Sessions and trainers made from the model keep
 *  what they need. */
LLM_API void llm_model_free(llm_model *model);

/* ---- facts ---- */

/** What is known about a model without looking at its weights. */
typedef struct llm_model_info {
    size_t struct_size;
    char architecture[32];  /**< "gpt2" */
    char weight_types[64];  /**< "f32", or of a directory for example "bf16, f32" */
    int64_t parameters;     /**< trained numbers; tied weights count once */
    int64_t vocabulary;     /**< token ids are 0 .. vocabulary - 1 */
    int64_t context_length; /**< most tokens of one sequence */
    int64_t dim;            /**< width of the hidden states */
    int32_t layers, heads, kv_heads, head_dim;
    uint64_t file_bytes;   /**< of the weights on disk; 0 for a model in memory */
    uint64_t weight_bytes; /**< of the weights in memory */
    uint64_t cache_bytes;  /**< of the key/value cache per 1000 tokens */
    uint64_t kept_bytes;   /**< as weight_bytes, when loaded with LLM_WEIGHTS_KEEP */
} llm_model_info;

/** Facts about a model in memory.
 *  @param info receives them. @param struct_size sizeof(llm_model_info) as the caller was
 *  compiled.
 *  @return LLM_OK, LLM_E_INVALID. @threads any. */
LLM_API llm_status llm_model_get_info(llm_model_info *info, size_t struct_size,
                                      const llm_model *model);

/** Facts about what llm_model_load() reads, from the configuration and the headers of the weight
 *  files only.
 *  @return as llm_model_load(). @threads any. */
LLM_API llm_status llm_model_info_of(llm_model_info *info, size_t struct_size, llm_context *context,
                                     const char *path);

/** Called for each key of a file's metadata, in their order.
 *  @param type "u32", "string", "array" ... @param value the value as JSON; of long arrays the
 *  first entries. @return 0 to go on, anything else to stop. */
typedef int32_t (*llm_metadata_fn)(void *user, const char *key, const char *type,
                                   const char *value);

/** The metadata of a GGUF file; of a directory that has none, nothing.
 *  @return LLM_OK, LLM_E_CANCELLED (`fn` stopped it), or as llm_model_load(). @threads any. */
LLM_API llm_status llm_model_metadata(llm_context *context, const char *path, llm_metadata_fn fn,
                                      void *user);

/** The configuration as config.json text, as llm_model_save() writes it, less the type of the
 *  weights.
 *  @return owned by the model, valid as long as it is; "" for NULL. */
LLM_API const char *llm_model_config(const llm_model *model);

/** generation_config.json of the model, which llm_model_save() writes again: the tokens that end a
 *  text, settings for sampling. Of a GGUF file the ids that its tokenizer names.
 *  @return JSON text, owned by the model; "" when there is none, and for NULL. */
LLM_API const char *llm_model_generation_config(const llm_model *model);

/** Single facts, as in llm_model_info; 0 or "" for NULL. */
LLM_API const char *llm_model_architecture(const llm_model *model);
LLM_API int64_t llm_model_parameters(const llm_model *model);
LLM_API int64_t llm_model_vocabulary(const llm_model *model);
LLM_API int64_t llm_model_context_length(const llm_model *model);
LLM_API int64_t llm_model_dim(const llm_model *model);
LLM_API int32_t llm_model_layers(const llm_model *model);

/** The parameters as tensors, f32 (or of a block type, without values: LLM_WEIGHTS_KEEP), in the
 * model's own orientation: weights of linear layers are [out, in]. Count, then name and tensor by
 * index, or tensor by name ("transformer.wte.weight").
 *  @return owned by the model, valid as long as it is (a reference is not needed); NULL when
 *  there is none. Writing values needs the model to be at rest. */
LLM_API size_t llm_model_tensor_count(const llm_model *model);
LLM_API const char *llm_model_tensor_name(const llm_model *model, size_t index);
LLM_API llm_tensor *llm_model_tensor(const llm_model *model, size_t index);
LLM_API llm_tensor *llm_model_find_tensor(const llm_model *model, const char *name);

/* ---- running ---- */

/** Logits of every position of one sequence: row i holds the scores of the token after ids[0..i].
 *  @param logits [count, vocabulary] floats, row-major; may be NULL to ask for the size.
 *  @param capacity floats that fit. @param needed receives the number of floats; may be NULL.
 *  @param ids tokens, 1 .. context_length of them. @param count number of ids.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE (an id, too many tokens), LLM_E_BUFFER, LLM_E_BUSY,
 *  LLM_E_NOMEM. @threads any number may share the model. */
LLM_API llm_status llm_model_logits(float *logits, size_t capacity, size_t *needed,
                                    llm_model *model, const int32_t *ids, size_t count);

/** Mean cross-entropy, in nats per token, of predicting targets[i] after ids[0..i].
 *  @param loss receives it. @param targets one class per id; -100 leaves a position out.
 *  @return as llm_model_logits(); LLM_E_NUMERIC when every target is -100. */
LLM_API llm_status llm_model_loss(double *loss, llm_model *model, const int32_t *ids,
                                  const int32_t *targets, size_t count);

/** The same on a tape, for training loops of one's own: sequences are packed end to end, without
 *  padding; llm_backward() adds gradients to the model's tensors (llm_model_tensor()). The model
 * must stay until the tape is reset.
 *  @param out logits [tokens, vocabulary], or the mean loss over all targets that are not -100 (a
 *  scalar, NaN when there are none; all logits are never held at once).
 *  @param ids,targets `sequences` runs of tokens, lengths[i] of them each.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE, LLM_E_BUSY, LLM_E_NOMEM, or the tape's first
 * failure. */
LLM_API llm_status llm_op_model_logits(llm_tensor **out, llm_tape *tape, llm_model *model,
                                       const int32_t *ids, const size_t *lengths, size_t sequences);
LLM_API llm_status llm_op_model_loss(llm_tensor **out, llm_tape *tape, llm_model *model,
                                     const int32_t *ids, const int32_t *targets,
                                     const size_t *lengths, size_t sequences);

#ifdef __cplusplus
}
#endif

#endif
