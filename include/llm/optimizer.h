/* SPDX-License-Identifier: MIT
 *
 * Optimizers: AdamW and SGD over any tensors that ask for gradients, in one pass over memory.
 */
#ifndef LLM_OPTIMIZER_H
#define LLM_OPTIMIZER_H

#include "tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Optimizers. Values are pinned. */
enum {
    LLM_OPTIMIZER_ADAMW = 0, /**< Adam with decoupled weight decay, as torch.optim.AdamW */
    LLM_OPTIMIZER_SGD = 1    /**< with momentum and Nesterov's form, as torch.optim.SGD */
};

/** Shapes of the learning rate over a run, after the warm-up. Values are pinned. */
enum {
    LLM_SCHEDULE_CONSTANT = 0,
    LLM_SCHEDULE_LINEAR = 1, /**< straight to the minimum */
    LLM_SCHEDULE_COSINE = 2, /**< half a cosine to the minimum */
    LLM_SCHEDULE_WSD = 3     /**< warm-up, stable, then a fall (1 - sqrt) over the last steps */
};

/** An optimizer: its parameters, their state and hyper-parameters. It keeps the parameters alive.
 *  @threads one at a time. The result does not depend on the number of kernel threads. */
typedef struct llm_optimizer llm_optimizer;

/** Options of llm_optimizer_new(). Fill with llm_optimizer_options_init(), then assign. */
typedef struct llm_optimizer_options {
    size_t struct_size;   /**< set by llm_optimizer_options_init() */
    double learning_rate; /**< >= 0; default 1e-3 */
    double weight_decay; /**< >= 0, of group 0; default 0.01 (AdamW); SGD adds it to the gradient */
    double beta1;        /**< AdamW, in [0, 1); default 0.9 */
    double beta2;        /**< AdamW, in [0, 1); default 0.999 */
    double epsilon;      /**< AdamW, > 0; default 1e-8 */
    double momentum;     /**< SGD, >= 0; default 0 */
    double dampening;    /**< SGD, in [0, 1]; default 0 */
    double clip_norm; /**< > 0: scale all gradients down to this global 2-norm; default 0: don't */
    int32_t kind;     /**< LLM_OPTIMIZER_*; default LLM_OPTIMIZER_ADAMW */
    int32_t nesterov; /**< SGD, with momentum and no dampening: 1 for Nesterov's form; default 0 */
} llm_optimizer_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_optimizer_options). */
LLM_API llm_status llm_optimizer_options_init(llm_optimizer_options *options, size_t struct_size);

/** @param out receives the optimizer, NULL on failure; free with llm_optimizer_free().
 *  @param options NULL for defaults. @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE, LLM_E_NOMEM. */
LLM_API llm_status llm_optimizer_new(llm_optimizer **out, llm_context *context,
                                     const llm_optimizer_options *options);

/** Give up the caller's reference. NULL is allowed. */
LLM_API void llm_optimizer_free(llm_optimizer *optimizer);

/** Add a group of parameters with its own weight decay and a factor on the learning rate. Group 0
 *  exists from the start, with the options' weight decay and factor 1.
 *  @param group_out receives the group's number. */
LLM_API llm_status llm_optimizer_add_group(int32_t *group_out, llm_optimizer *optimizer,
                                           double weight_decay, double learning_rate_factor);

/** Add a parameter: a contiguous float32 tensor that requires gradients and is not on a tape.
 *  @param name names it in saved state and in messages; NULL: its number. Unique.
 *  @param group 0 or a number from llm_optimizer_add_group(). */
LLM_API llm_status llm_optimizer_add(llm_optimizer *optimizer, llm_tensor *parameter,
                                     const char *name, int32_t group);

/** Update every parameter that has a gradient, after clipping. Gradients stay as they are.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_NUMERIC (the gradient norm is not finite: nothing changed),
 *  LLM_E_NOMEM. */
LLM_API llm_status llm_optimizer_step(llm_optimizer *optimizer);

/** Forget all gradients, as llm_tensor_zero_grad() on each parameter. NULL is ignored. */
LLM_API void llm_optimizer_zero_grad(llm_optimizer *optimizer);

/** Change the learning rate of the steps to come; LLM_E_RANGE unless finite and >= 0. */
LLM_API llm_status llm_optimizer_set_learning_rate(llm_optimizer *optimizer, double learning_rate);
LLM_API double llm_optimizer_learning_rate(const llm_optimizer *optimizer);

/** Global 2-norm of the gradients of the last step, before clipping; 0 before the first. */
LLM_API double llm_optimizer_gradient_norm(const llm_optimizer *optimizer);

/** Save the state (moments, step counts) as a safetensors file, whole or not at all; load it into
 * an optimizer of the same kind with the same parameters. A file that does not fit changes nothing.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_IO, LLM_E_FORMAT, LLM_E_SHAPE, LLM_E_NOMEM. */
LLM_API llm_status llm_optimizer_save(const llm_optimizer *optimizer, const char *path);
LLM_API llm_status llm_optimizer_load(llm_optimizer *optimizer, const char *path);

/** The learning rate of a step under a schedule, for loops of your own.
 *  @param schedule LLM_SCHEDULE_*. @param step from 0. @param steps of the whole run, > 0.
 *  @param warmup_steps first steps, over which the rate rises in a line from near 0 to `rate`.
 *  @param decay_steps LLM_SCHEDULE_WSD: steps at the end over which it falls; else ignored.
 *  @return the rate; NaN when an argument is out of range. @threads any. */
LLM_API double llm_schedule_rate(int32_t schedule, int64_t step, int64_t steps,
                                 int64_t warmup_steps, int64_t decay_steps, double rate,
                                 double min_rate);

#ifdef __cplusplus
}
#endif

#endif
