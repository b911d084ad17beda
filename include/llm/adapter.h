/* SPDX-License-Identifier: MIT
 *
 * Adapters: LoRA, DoRA and IA3. Trained instead of the model, kept in PEFT directories, used in
 * sessions and on tapes, folded into new models.
 */
#ifndef LLM_ADAPTER_H
#define LLM_ADAPTER_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Small changes to the linear layers of one model, which stays as it is. Reference-counted.
 *  @threads any number may use one; training one needs it alone. */
typedef struct llm_adapter llm_adapter;

/** Kinds of adapter. Values are pinned. */
enum {
    LLM_ADAPTER_LORA = 1, /**< W x + (alpha / rank) B A x: Hu et al. (2021) */
    LLM_ADAPTER_IA3 = 2   /**< learned factors on keys, values and inner activations: Liu (2022) */
};

/** Options of llm_adapter_new(). Fill with llm_adapter_options_init(), then assign. */
typedef struct llm_adapter_options {
    size_t struct_size; /**< set by llm_adapter_options_init() */
    /** Names of the layers to change, each a whole name ("model.layers.0.self_attn.q_proj") or its
     *  end behind a dot ("q_proj"). NULL with target_count 0 (default): every linear layer of the
     *  model's blocks; for IA3, those that PEFT takes for the architecture. */
    const char *const *targets;
    size_t target_count;
    /** IA3: which of the targets have their input changed instead of their output; as targets.
     *  NULL with 0 (default): with default targets those of the feed-forward, else none. */
    const char *const *input_targets;
    size_t input_target_count;
    double alpha;            /**< LoRA: the change is scaled by alpha / rank; default 16 */
    double dropout;          /**< LoRA: of the layer's input, in training; in [0, 1); default 0 */
    uint64_t seed;           /**< of the first values; 0 (default): the context's seed */
    int32_t kind;            /**< LLM_ADAPTER_*; default LLM_ADAPTER_LORA */
    int32_t rank;            /**< LoRA: of the change; default 8 */
    int32_t rank_stabilized; /**< LoRA: 1: scale by alpha / sqrt(rank); default 0 */
    int32_t dora;            /**< LoRA: 1: norms of the rows are learned apart (DoRA); default 0 */
} llm_adapter_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_adapter_options). */
LLM_API llm_status llm_adapter_options_init(llm_adapter_options *options, size_t struct_size);

/** Make an adapter that changes nothing yet.
 *  @param out receives the adapter, NULL on failure; free with llm_adapter_free().
 *  @param options NULL for defaults.
 *  @return LLM_OK, LLM_E_INVALID (a target that the model does not have), LLM_E_RANGE (the rank is
 *  0 or larger than a matrix), LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_adapter_new(llm_adapter **out, llm_model *model,
                                   const llm_adapter_options *options);

/** Load a PEFT directory: adapter_config.json and adapter_model.safetensors.
 *  @param model the base that it was trained on; names and shapes must fit.
 *  @return LLM_OK, LLM_E_INVALID (another base), LLM_E_SHAPE, LLM_E_IO, LLM_E_FORMAT, LLM_E_RANGE,
 *  LLM_E_UNSUPPORTED (the message names the field), LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_adapter_load(llm_adapter **out, llm_model *model, const char *directory);

/** Write a PEFT directory, created if missing, that peft.PeftModel.from_pretrained() reads. Each
 *  file is replaced in one step.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_IO, LLM_E_NOMEM. */
LLM_API llm_status llm_adapter_save(const llm_adapter *adapter, const char *directory);

/** Give up the caller's reference. NULL is allowed. Users of the adapter keep what they need. */
LLM_API void llm_adapter_free(llm_adapter *adapter);

/** Trained numbers; 0 for NULL. @threads any. */
LLM_API int64_t llm_adapter_parameters(const llm_adapter *adapter);

/** adapter_config.json, as llm_adapter_save() writes it; "" for NULL. Valid as long as the
 *  adapter. @threads any. */
LLM_API const char *llm_adapter_config(const llm_adapter *adapter);

/** The trained tensors, f32: count, then name and tensor by index. Owned by the adapter, valid as
 *  long as it is; NULL when there is none. */
LLM_API size_t llm_adapter_tensor_count(const llm_adapter *adapter);
LLM_API const char *llm_adapter_tensor_name(const llm_adapter *adapter, size_t index);
LLM_API llm_tensor *llm_adapter_tensor(const llm_adapter *adapter, size_t index);

/** A new model with the adapter folded into its weights.
 *  @param out receives the model, NULL on failure; free with llm_model_free(). The given one stays
 *  as it is.
 *  @param weight strength of the change; 1 for all of it.
 *  @return LLM_OK, LLM_E_INVALID (an adapter of another model), LLM_E_BUSY, LLM_E_NOMEM. */
LLM_API llm_status llm_adapter_merge(llm_model **out, llm_model *model, const llm_adapter *adapter,
                                     double weight);

/** Use adapters in the models that run on a tape from now on, until the next call.
 *  @param adapters `count` of them, all for the model that runs; the tape keeps references.
 *  NULL with 0: none. @param weights strength of each; NULL: 1.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE (a weight is not finite), LLM_E_NOMEM. */
LLM_API llm_status llm_tape_set_adapters(llm_tape *tape, llm_adapter *const *adapters,
                                         const double *weights, size_t count);

#ifdef __cplusplus
}
#endif

#endif
