/* SPDX-License-Identifier: MIT
 *
 * llm/trainer.h: argument checks in front of train/trainer.c.
 */
#include "api/check.h"
#include "train/plot.h"
#include "train/trainer.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

static const llm_trainer_options default_options = {
    .struct_size = sizeof default_options,
    .seed = 42,
    .steps = 1000,
    .eval_interval = 250,
    .eval_batches = 20,
    .log_interval = 10,
    .epochs = 1.0,
    .learning_rate = 1e-3,
    .min_learning_rate = 1e-4,
    .weight_decay = 0.1,
    .beta1 = 0.9,
    .beta2 = 0.99,
    .epsilon = 1e-8,
    .momentum = 0.9,
    .clip_norm = 1.0,
    .dropout = -1.0,
    .batch = 12,
    .accumulation = 1,
    .optimizer = LLM_OPTIMIZER_ADAMW,
    .schedule = LLM_SCHEDULE_COSINE,
    .order = LLM_ORDER_RANDOM,
    .keep_checkpoints = 2,
    .tensorboard = 1,
};

llm_status llm_trainer_options_init(llm_trainer_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_options, sizeof default_options,
                        "llm_trainer_options");
}

llm_status llm_trainer_new(llm_trainer **out, llm_model *model, llm_dataset *dataset,
                           const llm_trainer_options *given)
{
    llm_trainer_options options = default_options;
    llm_status status;

    if (!out)
        return null_argument("llm_trainer_new", "out");
    *out = NULL;
    if (!model)
        return null_argument("llm_trainer_new", "model");
    if (!dataset)
        return null_argument("llm_trainer_new", "dataset");
    status = options_read(&options, sizeof options, given, "llm_trainer_options");
    return status ? status : trainer_new(out, model, dataset, &options);
}

static const char *output_of(const llm_trainer *trainer, const char *directory)
{
    return directory ? directory : trainer->output;
}

llm_status llm_trainer_resume(llm_trainer *trainer, const char *directory)
{
    if (!trainer)
        return null_argument("llm_trainer_resume", "trainer");
    directory = output_of(trainer, directory);
    if (!directory)
        return status_set(LLM_E_INVALID,
                          "llm_trainer_resume: directory is NULL, and the trainer has no output");
    return checkpoint_resume(trainer, directory);
}

llm_status llm_trainer_run(llm_trainer *trainer)
{
    if (!trainer)
        return null_argument("llm_trainer_run", "trainer");
    return trainer_run(trainer);
}

llm_status llm_trainer_step(llm_trainer *trainer, llm_train_progress *progress, size_t struct_size)
{
    llm_train_progress now;
    llm_status status;

    if (!trainer)
        return null_argument("llm_trainer_step", "trainer");
    if (progress && (struct_size < sizeof(size_t) || struct_size > 4096))
        return status_set(LLM_E_INVALID, "llm_trainer_step: struct_size is %zu", struct_size);
    status = trainer_step(trainer);
    if (status || !progress)
        return status;
    trainer_progress(trainer, &now);
    return options_fill(progress, struct_size, &now, sizeof now, "llm_train_progress");
}

llm_status llm_trainer_evaluate(double *loss_out, llm_trainer *trainer, int32_t part,
                                int64_t batches)
{
    if (!loss_out)
        return null_argument("llm_trainer_evaluate", "loss_out");
    *loss_out = (double)NAN;
    if (!trainer)
        return null_argument("llm_trainer_evaluate", "trainer");
    if (part < 0 || part >= DATASET_PARTS)
        return status_set(LLM_E_RANGE, "part is %d, outside 0..%d", part, DATASET_PARTS - 1);
    if (batches < 0)
        return status_set(LLM_E_RANGE, "batches is %lld, negative", (long long)batches);
    return trainer_evaluate(loss_out, trainer, part, batches);
}

void llm_trainer_cancel(llm_trainer *trainer)
{
    if (trainer)
        atomic_store(&trainer->cancel, 1);
}

llm_status llm_trainer_save(llm_trainer *trainer, const char *directory)
{
    if (!trainer)
        return null_argument("llm_trainer_save", "trainer");
    directory = output_of(trainer, directory);
    if (!directory)
        return status_set(LLM_E_INVALID,
                          "llm_trainer_save: directory is NULL, and the trainer has no output");
    return checkpoint_save(trainer, directory);
}

int64_t llm_trainer_steps_done(const llm_trainer *trainer)
{
    return trainer ? trainer->step : 0;
}

int64_t llm_trainer_steps(const llm_trainer *trainer)
{
    return trainer ? trainer->options.steps : 0;
}

double llm_trainer_best_loss(const llm_trainer *trainer)
{
    return trainer ? trainer->best_loss : (double)NAN;
}

llm_status llm_trainer_order(int64_t *starts, size_t capacity, const llm_trainer *trainer,
                             int64_t step)
{
    if (!starts)
        return null_argument("llm_trainer_order", "starts");
    if (!trainer)
        return null_argument("llm_trainer_order", "trainer");
    if (step < 0 || step > INT64_C(1) << 40)
        return status_set(LLM_E_RANGE, "step is %lld, outside 0..2^40", (long long)step);
    if (capacity < (size_t)trainer->sampler.batch)
        return status_set(LLM_E_BUFFER, "a step has %lld sequences, there is room for %zu",
                          (long long)trainer->sampler.batch, capacity);
    for (int64_t i = 0; i < trainer->sampler.batch; i++)
        starts[i] = sampler_start(&trainer->sampler, step, i);
    return LLM_OK;
}

llm_status llm_trainer_find_rate(double *rates, double *losses, int64_t *count_out,
                                 double *suggestion_out, llm_trainer *trainer, double low,
                                 double high, int64_t steps)
{
    if (!rates)
        return null_argument("llm_trainer_find_rate", "rates");
    if (!losses)
        return null_argument("llm_trainer_find_rate", "losses");
    if (!count_out)
        return null_argument("llm_trainer_find_rate", "count_out");
    *count_out = 0;
    if (!trainer)
        return null_argument("llm_trainer_find_rate", "trainer");
    if (!(low > 0.0 && low < high && high <= 1e6))
        return status_set(LLM_E_RANGE, "low and high are %g and %g, not 0 < low < high <= 1e6", low,
                          high);
    if (steps < 2 || steps > 1000000)
        return status_set(LLM_E_RANGE, "steps is %lld, outside 2..1000000", (long long)steps);
    return trainer_find_rate(rates, losses, count_out, suggestion_out, trainer, low, high, steps);
}

llm_status llm_plot_losses(llm_context *context, const char *svg_path, const char *metrics_path,
                           const char *title)
{
    if (!context)
        return null_argument("llm_plot_losses", "context");
    if (!svg_path)
        return null_argument("llm_plot_losses", "svg_path");
    if (!metrics_path)
        return null_argument("llm_plot_losses", "metrics_path");
    if (title && !text_is_utf8(title, strlen(title)))
        return status_set(LLM_E_INVALID, "llm_plot_losses: title is not UTF-8");
    return plot_losses(context, svg_path, metrics_path, title);
}

void llm_trainer_free(llm_trainer *trainer)
{
    trainer_free(trainer);
}
