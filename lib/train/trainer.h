/* SPDX-License-Identifier: MIT
 *
 * The inside of llm_trainer. trainer.c makes one and does a step, trainer_run.c is the loop around
 * it (evaluation, metrics, checkpoints, early stopping), trainer_batch.c packs windows of the
 * dataset, checkpoint.c saves and restores. Whatever decides the numbers is a pure function of the
 * options and of (model, optimizer, step), which is what a checkpoint holds: so a resumed run ends
 * with the same bits as one that was never interrupted.
 */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include "graph/cx.h"
#include "llm/trainer.h"
#include "models/model.h"
#include "train/dataset.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/sampler.h"
#include "train/schedule.h"

/* A packed batch and its targets, reused from pass to pass. */
struct train_batch {
    struct batch batch;
    int32_t *ids; /* also the storage that batch points to */
    int32_t *positions;
    int32_t *targets;
    int32_t *offsets;
};

struct llm_trainer {
    llm_context *context;
    llm_model *model;
    llm_dataset *dataset;
    llm_trainer_options options; /* steps, block and decay_steps resolved */
    char *output;                /* options.output, ours; NULL: none */
    llm_adapter *adapter;        /* trained instead of the model; or NULL */
    unsigned char *unfrozen;     /* [model's params]: wanted gradients before; NULL: all stay */
    llm_optimizer *optimizer;
    struct schedule schedule;
    struct sampler sampler;
    struct cx cx;
    _Atomic int32_t cancel;
    struct window *windows; /* [batch] */
    struct train_batch batch;
    struct metrics metrics;

    int64_t step; /* done */
    int64_t tokens;
    double best_loss;        /* NaN: no evaluation yet */
    int32_t bad_evaluations; /* since the best one */
    int64_t evaluated_step;  /* last one whose evaluation was not cancelled; -1: none */
    int64_t saved_step;      /* of the newest checkpoint; -1: none */

    double loss, gradient_norm, rate; /* of the last step */
    double started;                   /* clock at the beginning of this run */
    int64_t started_step;
    double recent_seconds; /* moving mean of a step; 0: none yet */
};

llm_status trainer_new(llm_trainer **out, llm_model *model, llm_dataset *dataset,
                       const llm_trainer_options *options);
void trainer_free(llm_trainer *trainer); /* NULL allowed */
llm_status trainer_step(llm_trainer *trainer);
llm_status trainer_run(llm_trainer *trainer);
llm_status trainer_evaluate(double *loss_out, llm_trainer *trainer, int32_t part, int64_t batches);
void trainer_progress(const llm_trainer *trainer, llm_train_progress *progress);
double trainer_clock(void); /* seconds, monotonic */

/* For trainer_step() and the range test: gradients and loss of a step, nothing updated. */
llm_status trainer_gradients(llm_trainer *trainer, int64_t step);

/* trainer_batch.c */
llm_status train_batch_new(struct train_batch *batch, struct memory *memory, int64_t tokens);
void train_batch_free(struct train_batch *batch, struct memory *memory);
void train_batch_fill(struct train_batch *batch, const llm_dataset *dataset, int32_t part,
                      const struct window *windows, int64_t count, bool separate_documents);

/* trainable.c: the model or the adapter, whichever is trained */
llm_status trainable_begin(llm_trainer *trainer); /* freezes the model under an adapter */
void trainable_end(llm_trainer *trainer);         /* idempotent */
const struct params *trainable_params(const llm_trainer *trainer);
llm_status trainable_save(const llm_trainer *trainer, const char *directory);
/* LLM_E_INVALID unless `directory` holds the same model or adapter, by names and shapes. */
llm_status trainable_check(const llm_trainer *trainer, const char *directory);
llm_status trainable_load(llm_trainer *trainer, const char *directory);

/* checkpoint.c */
llm_status checkpoint_save(llm_trainer *trainer, const char *directory);
llm_status checkpoint_resume(llm_trainer *trainer, const char *directory);
/* The model and its tokenizer, as users load them. */
llm_status checkpoint_export(const llm_trainer *trainer, const char *directory);

/* rate_test.c */
llm_status trainer_find_rate(double *rates, double *losses, int64_t *count_out,
                             double *suggestion_out, llm_trainer *trainer, double low, double high,
                             int64_t steps);

/* A step that also measures; the JSON members go to `out`. */
llm_status trainer_step_measured(llm_trainer *trainer, struct text *out);
/* statistics.c: gradients and update of such a step. */
llm_status statistics_step(llm_trainer *trainer, struct text *out);

#endif
