/* SPDX-License-Identifier: MIT
 *
 * The loop around the steps: evaluation, progress, metrics, checkpoints, early stopping.
 */
#include "train/trainer.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>

/* ---- evaluation ---- */

struct evaluation {
    int32_t part;
    int64_t tokens; /* of the part */
    int64_t block;
    int64_t whole; /* windows of full length in the part */
    int64_t count; /* windows that are evaluated */
    const llm_dataset *dataset;
};

static struct evaluation plan(const llm_trainer *trainer, int32_t part, int64_t batches)
{
    struct evaluation e = {
        part, dataset_count(trainer->dataset, part), trainer->options.block, 0, 0, NULL};
    int64_t batch = trainer->options.batch;

    e.dataset = trainer->dataset;
    e.whole = e.dataset->is_examples ? e.dataset->examples[part] : (e.tokens - 1) / e.block;
    e.count = e.whole;
    if (batches && batches < (e.whole + batch - 1) / batch)
        e.count = batches * batch;
    else if (!e.dataset->is_examples && (e.tokens - 1) % e.block)
        e.count++; /* everything: the rest as well */
    return e;
}

/* Window i: spread evenly over the part. */
static struct window window_at(const struct evaluation *e, int64_t i)
{
    int64_t position =
        e->count < e->whole ? (int64_t)((double)i * (double)e->whole / (double)e->count) : i;
    struct window window = {position * e->block, e->block};

    if (e->dataset->is_examples)
        return dataset_example(e->dataset, e->part, position, e->block);
    if (window.first + window.length > e->tokens - 1)
        window.length = e->tokens - 1 - window.first;
    return window;
}

static llm_status evaluate_batch(llm_trainer *trainer, const struct evaluation *e, int64_t first,
                                 double *sum, int64_t *tokens)
{
    struct cx *cx = &trainer->cx;
    int64_t count =
        e->count - first < trainer->options.batch ? e->count - first : trainer->options.batch;
    int64_t learned = 0;
    llm_tensor *loss;
    llm_status status;

    for (int64_t i = 0; i < count; i++) {
        trainer->windows[i] = window_at(e, first + i);
        learned += dataset_learned(e->dataset, e->part, trainer->windows[i]);
    }
    if (learned == 0)
        return LLM_OK;
    train_batch_fill(&trainer->batch, trainer->dataset, e->part, trainer->windows, count,
                     trainer->options.separate_documents);
    cx_reset(cx);
    cx->recording = false;
    cx->training = false;
    loss = model_loss(cx, trainer->model, &trainer->batch.batch, trainer->batch.targets, 0.0f);
    status = cx_status(cx);
    if (status)
        return status;
    *sum += (double)*tensor_f32(loss) * (double)learned;
    *tokens += learned;
    return LLM_OK;
}

llm_status trainer_evaluate(double *loss_out, llm_trainer *trainer, int32_t part, int64_t batches)
{
    struct evaluation e = plan(trainer, part, batches);
    int64_t tokens = 0;
    double sum = 0.0;
    llm_status status = LLM_OK;

    *loss_out = (double)NAN;
    if (e.tokens < 2)
        return status_set(LLM_E_INVALID, "the part has %lld tokens: nothing to evaluate",
                          (long long)e.tokens);
    for (int64_t i = 0; i < e.count && !status; i += trainer->options.batch) {
        if (atomic_load(&trainer->cancel))
            status = status_set(LLM_E_CANCELLED, "cancelled");
        else
            status = evaluate_batch(trainer, &e, i, &sum, &tokens);
    }
    cx_reset(&trainer->cx);
    if (status == LLM_E_CANCELLED)
        atomic_store(&trainer->cancel, 0);
    if (!status && tokens == 0)
        status = status_set(LLM_E_INVALID, "nothing in the part is to be learned");
    if (!status)
        *loss_out = sum / (double)tokens;
    return status;
}

/* ---- the loop ---- */

static bool is_due(int64_t step, int64_t interval)
{
    return interval > 0 && step % interval == 0;
}

static bool is_finished(const llm_trainer *trainer)
{
    const llm_trainer_options *o = &trainer->options;

    return trainer->step >= o->steps || (o->patience && trainer->bad_evaluations >= o->patience);
}

static llm_status evaluate_if_due(llm_trainer *trainer, double *loss)
{
    const llm_trainer_options *o = &trainer->options;
    llm_status status;

    *loss = (double)NAN;
    if (!o->eval_interval || trainer->evaluated_step == trainer->step || trainer->step == 0 ||
        !(is_due(trainer->step, o->eval_interval) || trainer->step == o->steps))
        return LLM_OK;
    status = trainer_evaluate(loss, trainer, LLM_PART_VALIDATION, o->eval_batches);
    if (status)
        return status;
    trainer->evaluated_step = trainer->step;
    if (isnan(trainer->best_loss) || *loss < trainer->best_loss) {
        trainer->best_loss = *loss;
        trainer->bad_evaluations = 0;
        if (o->keep_best && trainer->output)
            status = checkpoint_export(trainer, trainer->output);
    } else {
        trainer->bad_evaluations++;
    }
    return status;
}

static llm_status write_metrics(llm_trainer *trainer, const llm_train_progress *progress,
                                const struct text *statistics)
{
    struct metrics_record record = {
        .step = progress->step,
        .tokens = progress->tokens,
        .loss = progress->loss,
        .validation_loss = progress->validation_loss,
        .learning_rate = progress->learning_rate,
        .gradient_norm = progress->gradient_norm,
        .tokens_per_second = progress->tokens_per_second,
        .seconds = progress->seconds,
    };

    if (!trainer->output || !(is_due(progress->step, trainer->options.log_interval) ||
                              statistics->size || !isnan(progress->validation_loss) ||
                              progress->step == 1 || progress->step == progress->steps))
        return LLM_OK;
    return metrics_write(&trainer->metrics, &record, statistics);
}

/* What hangs on a step that was done. */
static llm_status after_step(llm_trainer *trainer, const struct text *statistics)
{
    const llm_trainer_options *o = &trainer->options;
    llm_train_progress progress;
    double validation_loss;
    llm_status status = evaluate_if_due(trainer, &validation_loss);

    if (status)
        return status;
    trainer_progress(trainer, &progress);
    progress.validation_loss = validation_loss;
    status = write_metrics(trainer, &progress, statistics);
    if (!status && trainer->output && is_due(trainer->step, o->checkpoint_interval))
        status = checkpoint_save(trainer, trainer->output);
    if (!status && o->progress && o->progress(o->progress_user, &progress) != 0)
        status = status_set(LLM_E_CANCELLED, "cancelled by the progress callback after step %lld",
                            (long long)trainer->step);
    return status;
}

static llm_status advance(llm_trainer *trainer, struct text *statistics)
{
    llm_status status;

    statistics->size = 0;
    status = is_due(trainer->step + 1, trainer->options.statistics_interval)
                 ? trainer_step_measured(trainer, statistics)
                 : trainer_step(trainer);
    return status ? status : after_step(trainer, statistics);
}

/* An evaluation that was cancelled is caught up with before the next step. */
static llm_status catch_up(llm_trainer *trainer, struct text *statistics)
{
    const llm_trainer_options *o = &trainer->options;

    if (!o->eval_interval || trainer->step == 0 || trainer->evaluated_step == trainer->step ||
        !is_due(trainer->step, o->eval_interval))
        return LLM_OK;
    return after_step(trainer, statistics);
}

static llm_status finish(llm_trainer *trainer)
{
    const llm_trainer_options *o = &trainer->options;
    llm_status status = LLM_OK;

    if (!trainer->output)
        return LLM_OK;
    if (!o->keep_best)
        status = checkpoint_export(trainer, trainer->output);
    if (!status && o->checkpoint_interval && trainer->saved_step != trainer->step)
        status = checkpoint_save(trainer, trainer->output);
    return status;
}

/* The cause is what the caller should hear about, whatever saving says. */
static void save_cancelled(llm_trainer *trainer)
{
    char message[256];

    if (!trainer->output || trainer->saved_step == trainer->step)
        return;
    (void)snprintf(message, sizeof message, "%s", status_message());
    if (checkpoint_save(trainer, trainer->output))
        log_message(trainer->context, LLM_LOG_WARNING, "no checkpoint of the cancelled run: %s",
                    status_message());
    status_restore(message);
}

llm_status trainer_run(llm_trainer *trainer)
{
    struct text statistics;
    llm_status status = LLM_OK;

    text_init(&statistics, &trainer->context->memory);
    trainer->started = trainer_clock();
    trainer->started_step = trainer->step;
    if (trainer->output && !metrics_is_open(&trainer->metrics))
        status = metrics_open(&trainer->metrics, trainer->output, trainer->step,
                              trainer->options.tensorboard);
    if (!status)
        status = catch_up(trainer, &statistics);
    while (!status && !is_finished(trainer))
        status = advance(trainer, &statistics);
    if (!status)
        status = finish(trainer);
    if (status == LLM_E_CANCELLED)
        save_cancelled(trainer);
    text_free(&statistics);
    return status;
}
