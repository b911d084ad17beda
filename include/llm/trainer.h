/* SPDX-License-Identifier: MIT
 *
 * Training: a model, a dataset, options; one call trains, evaluates, logs, saves checkpoints and
 * can be interrupted and resumed with the same result, bit for bit.
 */
#ifndef LLM_TRAINER_H
#define LLM_TRAINER_H

#include "adapter.h"
#include "dataset.h"
#include "model.h"
#include "optimizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A training run: model, data, optimizer state and position. It has the model to itself until it
 * is freed. @threads one at a time, except llm_trainer_cancel(). */
typedef struct llm_trainer llm_trainer;

/** Order of the training data. Each is a pure function of seed and step. Values are pinned. */
enum {
    LLM_ORDER_RANDOM = 0,    /**< windows at random places, with replacement */
    LLM_ORDER_SHUFFLED = 1,  /**< every epoch all non-overlapping windows once, shuffled anew */
    LLM_ORDER_SEQUENTIAL = 2 /**< the same windows front to back, again and again */
};

/** What a progress callback and llm_trainer_step() report. */
typedef struct llm_train_progress {
    size_t struct_size;       /**< of the library; fields are only ever added at the end */
    int64_t step;             /**< steps done */
    int64_t steps;            /**< of the whole run */
    int64_t tokens;           /**< tokens trained on so far, over all steps */
    double loss;              /**< mean over the tokens of this step, nats per token */
    double validation_loss;   /**< of the evaluation after this step; NaN when there was none */
    double learning_rate;     /**< of this step */
    double gradient_norm;     /**< before clipping */
    double tokens_per_second; /**< of the last steps */
    double seconds;           /**< since this run (or its resumption) began */
    double seconds_left;      /**< estimated; NaN at first */
} llm_train_progress;

/** Called after every step. Return 0 to go on, anything else to stop after this step: the run
 * returns LLM_E_CANCELLED and can be continued or resumed. */
typedef int32_t (*llm_train_progress_fn)(void *user, const llm_train_progress *progress);

/** Options of llm_trainer_new(). Fill with llm_trainer_options_init(), then assign. */
typedef struct llm_trainer_options {
    size_t struct_size; /**< set by llm_trainer_options_init() */
    /** Directory (created) for the trained model, checkpoints, metrics.jsonl and TensorBoard
     * events. NULL (default): nothing is written. */
    const char *output;
    llm_train_progress_fn progress; /**< NULL: none */
    void *progress_user;
    uint64_t seed;               /**< of data order and dropout; default 42 */
    int64_t steps;               /**< optimizer steps; 0: from `epochs`; default 1000 */
    int64_t warmup_steps;        /**< the learning rate rises over these; default 0 */
    int64_t decay_steps;         /**< LLM_SCHEDULE_WSD: length of the fall; 0 (default): a fifth */
    int64_t eval_interval;       /**< evaluate every so many steps and at the end; 0: never; default
                                      250; needs a validation part */
    int64_t eval_batches;        /**< batches per evaluation, spread evenly; 0: all; default 20 */
    int64_t log_interval;        /**< steps between lines of metrics; default 10 */
    int64_t checkpoint_interval; /**< steps between checkpoints; 0 (default): none */
    int64_t statistics_interval; /**< > 0: norms of every parameter, its gradient and its update,
                                    and mean and deviation of every block's output, into the metrics
                                      every so many steps; default 0 */
    double epochs;               /**< with steps 0: passes over the training part, > 0; default 1 */
    double learning_rate;        /**< highest; default 1e-3 */
    double min_learning_rate;    /**< at the end of the schedule; default 1e-4 */
    double weight_decay;         /**< on matrices, not on biases and norms; default 0.1 */
    double beta1, beta2;         /**< AdamW; defaults 0.9, 0.99 */
    double epsilon;              /**< AdamW; default 1e-8 */
    double momentum;             /**< SGD; default 0.9 */
    double clip_norm;            /**< of all gradients together; 0: don't; default 1 */
    double dropout;              /**< in [0, 1); negative (default): what the model's config says */
    double label_smoothing;      /**< in [0, 1); default 0 */
    int32_t batch;               /**< sequences per forward pass; default 12 */
    int32_t block;              /**< tokens per sequence; 0 (default): the model's context length */
    int32_t accumulation;       /**< forward passes per step; equal in mathematics to one pass with
                                     as many times the batch; default 1 */
    int32_t optimizer;          /**< LLM_OPTIMIZER_*; default LLM_OPTIMIZER_ADAMW */
    int32_t nesterov;           /**< SGD; default 0 */
    int32_t schedule;           /**< LLM_SCHEDULE_*; default LLM_SCHEDULE_COSINE */
    int32_t order;              /**< LLM_ORDER_*; default LLM_ORDER_RANDOM */
    int32_t separate_documents; /**< 1: tokens do not attend across the end of a document, positions
                                    start anew there; default 0 */
    int32_t gradient_checkpointing; /**< 1: keep block inputs only and compute blocks again in the
                                    backward pass: less memory, more time, same result; default 0 */
    int32_t keep_checkpoints;       /**< newest ones that are kept; default 2 */
    int32_t patience;    /**< > 0: stop after so many evaluations without a better validation
                              loss; default 0 */
    int32_t keep_best;   /**< 1: the model in `output` is the one with the best validation loss
                              instead of the last; default 0 */
    int32_t tensorboard; /**< 1 (default): write TensorBoard events when there is an output */
    int32_t reserved;    /**< 0 */
    /** Not NULL: this adapter of the model is trained, the model stays as it is; output and
     *  checkpoints hold PEFT's files. Default NULL. */
    llm_adapter *adapter;
} llm_trainer_options;

/** Fill `options` with defaults; `struct_size` is sizeof(llm_trainer_options). */
LLM_API llm_status llm_trainer_options_init(llm_trainer_options *options, size_t struct_size);

/** Prepare a run. Nothing is written yet.
 *  @param out receives the trainer, NULL on failure; free with llm_trainer_free().
 *  @param model is trained in place; LLM_E_BUSY while sessions or another trainer use it.
 *  @param dataset its training part must hold more than `block` tokens, its ids must be in the
 *  model's vocabulary. @param options NULL for defaults.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE, LLM_E_BUSY, LLM_E_NOMEM. */
LLM_API llm_status llm_trainer_new(llm_trainer **out, llm_model *model, llm_dataset *dataset,
                                   const llm_trainer_options *options);

/** Continue from the newest sound checkpoint in `directory`. Others that are newer but damaged are
 *  skipped and named to the log. Metrics of later steps are taken back.
 *  @param directory the output of the earlier run, or one checkpoint; NULL: the options' output.
 *  @return LLM_OK, LLM_E_IO (there is no checkpoint), LLM_E_FORMAT (none is sound; says why),
 *  LLM_E_INVALID (of another model or optimizer; nothing changed), LLM_E_NOMEM. */
LLM_API llm_status llm_trainer_resume(llm_trainer *trainer, const char *directory);

/** Train until the last step, early stopping, cancellation or an error. Model, metrics, and, if
 *  cancelled, a checkpoint are written to the output.
 *  @return LLM_OK, LLM_E_CANCELLED, LLM_E_NUMERIC (loss or gradient is not finite; the message has
 *  the step; the model is as after the step before), LLM_E_IO, LLM_E_NOMEM. */
LLM_API llm_status llm_trainer_run(llm_trainer *trainer);

/** One step, for loops of your own: no evaluation, no files, no callback.
 *  @param progress receives what happened; NULL: not wanted. @return as llm_trainer_run(); after
 * the last step the learning rate stays at its end. */
LLM_API llm_status llm_trainer_step(llm_trainer *trainer, llm_train_progress *progress,
                                    size_t struct_size);

/** Mean loss over a part, in nats per token, without changing anything.
 *  @param part LLM_PART_*. @param batches evenly spread; 0: the whole part. */
LLM_API llm_status llm_trainer_evaluate(double *loss_out, llm_trainer *trainer, int32_t part,
                                        int64_t batches);

/** Ask a run, step or evaluation to stop soon; the call returns LLM_E_CANCELLED, the trainer stays
 * as after its last whole step. Asked while none runs, it stops the next. @threads any, and signal
 *  handlers. NULL is allowed. */
LLM_API void llm_trainer_cancel(llm_trainer *trainer);

/** Write a checkpoint now: directory/checkpoint-<step>, complete or not at all.
 *  @param directory NULL: the options' output. */
LLM_API llm_status llm_trainer_save(llm_trainer *trainer, const char *directory);

/** Steps done so far, resumed ones included; 0 for NULL. */
LLM_API int64_t llm_trainer_steps_done(const llm_trainer *trainer);

/** Steps of the whole run; 0 for NULL. */
LLM_API int64_t llm_trainer_steps(const llm_trainer *trainer);

/** The best validation loss so far; NaN when there was no evaluation. */
LLM_API double llm_trainer_best_loss(const llm_trainer *trainer);

/** Where the sequences of a step begin in the training part, to audit or repeat a run elsewhere.
 *  @param starts room for batch * accumulation elements, checked against `capacity`. */
LLM_API llm_status llm_trainer_order(int64_t *starts, size_t capacity, const llm_trainer *trainer,
                                     int64_t step);

/** Learning-rate range test (Smith 2017): train with a rate that grows from `low` to `high` by
 * equal factors, then put everything back as it was. Stops early when the loss explodes.
 *  @param rates,losses `steps` elements each, the curve; the losses are smoothed.
 *  @param count_out receives how many were filled in.
 *  @param suggestion_out receives a rate a bit below the steepest fall. May be NULL.
 *  @return LLM_OK, LLM_E_INVALID, LLM_E_RANGE, LLM_E_CANCELLED, LLM_E_NOMEM. */
LLM_API llm_status llm_trainer_find_rate(double *rates, double *losses, int64_t *count_out,
                                         double *suggestion_out, llm_trainer *trainer, double low,
                                         double high, int64_t steps);

/** Draw the losses (and the learning rate) in a metrics.jsonl as an SVG picture.
 *  @param svg_path is written whole or not at all. @param metrics_path a file the trainer wrote.
 *  @param title NULL: none. UTF-8. @return LLM_OK, LLM_E_INVALID, LLM_E_IO, LLM_E_FORMAT,
 *  LLM_E_NOMEM. @threads any. */
LLM_API llm_status llm_plot_losses(llm_context *context, const char *svg_path,
                                   const char *metrics_path, const char *title);

/** Give up the trainer; the model is free again. NULL is allowed. */
LLM_API void llm_trainer_free(llm_trainer *trainer);

#ifdef __cplusplus
}
#endif

#endif
