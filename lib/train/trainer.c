/* SPDX-License-Identifier: MIT
 *
 * Making a trainer, and one training step.
 */
#include "train/trainer.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

double trainer_clock(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- options ---- */

static llm_status check_int(const char *name, int64_t value, int64_t low, int64_t high)
{
    if (value >= low && value <= high)
        return LLM_OK;
    return status_set(LLM_E_RANGE, "%s is %lld, outside %lld..%lld", name, (long long)value,
                      (long long)low, (long long)high);
}

static llm_status check_real(const char *name, double value, double low, double high)
{
    if (value >= low && value <= high)
        return LLM_OK;
    return status_set(LLM_E_RANGE, "%s is %g, outside %g..%g", name, value, low, high);
}

struct int_rule {
    const char *name;
    int64_t value, low, high;
};

struct real_rule {
    const char *name;
    double value, low, high;
};

static llm_status check_options(const llm_trainer_options *o)
{
    const int64_t most = INT64_C(1) << 40;
    const struct int_rule ints[] = {
        {"steps", o->steps, 0, most},
        {"warmup_steps", o->warmup_steps, 0, most},
        {"decay_steps", o->decay_steps, 0, most},
        {"eval_interval", o->eval_interval, 0, most},
        {"eval_batches", o->eval_batches, 0, most},
        {"log_interval", o->log_interval, 1, most},
        {"checkpoint_interval", o->checkpoint_interval, 0, most},
        {"statistics_interval", o->statistics_interval, 0, most},
        {"batch", o->batch, 1, 1 << 20},
        {"block", o->block, 0, 1 << 24},
        {"accumulation", o->accumulation, 1, 1 << 20},
        {"schedule", o->schedule, LLM_SCHEDULE_CONSTANT, LLM_SCHEDULE_WSD},
        {"order", o->order, LLM_ORDER_RANDOM, LLM_ORDER_SEQUENTIAL},
        {"separate_documents", o->separate_documents, 0, 1},
        {"gradient_checkpointing", o->gradient_checkpointing, 0, 1},
        {"keep_checkpoints", o->keep_checkpoints, 1, 1 << 20},
        {"patience", o->patience, 0, 1 << 20},
        {"keep_best", o->keep_best, 0, 1},
        {"tensorboard", o->tensorboard, 0, 1},
        {"reserved", o->reserved, 0, 0},
    };
    const struct real_rule reals[] = {
        {"epochs", o->epochs, o->steps ? 0.0 : 1e-9, 1e9},
        {"learning_rate", o->learning_rate, 0.0, 1e6},
        {"min_learning_rate", o->min_learning_rate, 0.0, o->learning_rate},
        {"dropout", o->dropout, -1e300, 0.999},
        {"label_smoothing", o->label_smoothing, 0.0, 0.999},
    };
    llm_status status = LLM_OK;

    for (size_t i = 0; i < sizeof ints / sizeof *ints && !status; i++)
        status = check_int(ints[i].name, ints[i].value, ints[i].low, ints[i].high);
    for (size_t i = 0; i < sizeof reals / sizeof *reals && !status; i++)
        status = check_real(reals[i].name, reals[i].value, reals[i].low, reals[i].high);
    return status;
}

/* Fills in what was left to us, and checks what depends on model and data. */
static llm_status resolve(llm_trainer *trainer)
{
    llm_trainer_options *o = &trainer->options;
    const llm_dataset *dataset = trainer->dataset;
    int64_t context_length = trainer->model->context_length;
    int64_t tokens = dataset_count(dataset, LLM_PART_TRAIN);
    int64_t per_step = (int64_t)o->batch * o->accumulation;
    llm_status status;

    if (o->block == 0)
        o->block = (int32_t)context_length;
    status = check_int("block", o->block, 1, context_length);
    if (!status)
        status = check_int("batch * block", (int64_t)o->batch * o->block, 1, INT32_MAX / 2);
    if (status)
        return status;
    if (dataset->vocab_size > trainer->model->vocabulary)
        return status_set(LLM_E_INVALID,
                          "the dataset has token ids up to %d, the model's vocabulary is %lld",
                          dataset->vocab_size - 1, (long long)trainer->model->vocabulary);
    if (!dataset->is_examples && tokens <= o->block)
        return status_set(LLM_E_INVALID,
                          "the training part has %lld tokens, a block of %d needs at least %d",
                          (long long)tokens, o->block, o->block + 1);
    trainer->sampler = (struct sampler){tokens,  o->block, per_step,
                                        o->seed, o->order, dataset->examples[LLM_PART_TRAIN]};
    if (o->steps == 0) {
        double steps =
            ceil(o->epochs * (double)sampler_windows(&trainer->sampler) / (double)per_step);

        status = check_real("steps from epochs", steps, 1.0, 1e12);
        o->steps = status ? 1 : (int64_t)steps;
    }
    if (o->decay_steps == 0)
        o->decay_steps = o->steps / 5;
    if (o->eval_interval && dataset_count(dataset, LLM_PART_VALIDATION) < 2) {
        if (o->patience || o->keep_best)
            return status_set(LLM_E_INVALID, "%s needs a validation part, and there is none",
                              o->patience ? "patience" : "keep_best");
        o->eval_interval = 0;
    }
    if (!o->eval_interval && (o->patience || o->keep_best))
        return status_set(LLM_E_INVALID, "%s needs eval_interval > 0",
                          o->patience ? "patience" : "keep_best");
    trainer->schedule = (struct schedule){o->schedule,    o->warmup_steps,  o->steps,
                                          o->decay_steps, o->learning_rate, o->min_learning_rate};
    return status;
}

/* ---- making ---- */

static llm_status make_optimizer(llm_trainer *trainer)
{
    const llm_trainer_options *o = &trainer->options;
    const struct params *params = trainable_params(trainer);
    llm_optimizer_options made = {.struct_size = sizeof made,
                                  .learning_rate = o->learning_rate,
                                  .weight_decay = o->weight_decay,
                                  .beta1 = o->beta1,
                                  .beta2 = o->beta2,
                                  .epsilon = o->epsilon,
                                  .momentum = o->momentum,
                                  .clip_norm = o->clip_norm,
                                  .kind = o->optimizer,
                                  .nesterov = o->nesterov};
    int32_t plain = 0;
    llm_status status = optimizer_new(&trainer->optimizer, trainer->context, &made);

    if (!status)
        status = optimizer_add_group(&plain, trainer->optimizer, 0.0, 1.0);
    for (size_t i = 0; i < params->count && !status; i++) {
        const struct param *param = &params->list[i];

        status = optimizer_add(trainer->optimizer, param->tensor, param->name,
                               param->flags & PARAM_DECAY ? 0 : plain);
    }
    return status;
}

static llm_status make_parts(llm_trainer *trainer)
{
    const llm_trainer_options *o = &trainer->options;
    struct memory *memory = &trainer->context->memory;
    llm_status status = cx_init(&trainer->cx, trainer->context);

    if (!status)
        status = trainable_begin(trainer);
    if (!status)
        status = make_optimizer(trainer);
    if (!status)
        status = train_batch_new(&trainer->batch, memory, (int64_t)o->batch * o->block);
    if (status)
        return status;
    trainer->cx.cancel = &trainer->cancel;
    trainer->cx.dropout = (float)o->dropout;
    trainer->cx.checkpointing = o->gradient_checkpointing;
    trainer->cx.release_in_backward = true;
    trainer->cx.pools_gradients = true;
    trainer->windows = memory_alloc_array(memory, (size_t)o->batch, sizeof *trainer->windows);
    if (!trainer->windows)
        return LLM_E_NOMEM;
    if (o->output) {
        trainer->output = memory_copy_text(memory, o->output, strlen(o->output));
        if (!trainer->output)
            return LLM_E_NOMEM;
    }
    trainer->options.output = trainer->output;
    return LLM_OK;
}

llm_status trainer_new(llm_trainer **out, llm_model *model, llm_dataset *dataset,
                       const llm_trainer_options *options)
{
    llm_context *context = model->context;
    llm_trainer *trainer;
    llm_status status = check_options(options);

    *out = NULL;
    if (!status)
        status = model_lock_exclusive(model);
    if (status)
        return status;
    trainer = memory_alloc_zeroed(&context->memory, 1, sizeof *trainer);
    if (!trainer) {
        model_unlock_exclusive(model);
        return LLM_E_NOMEM;
    }
    trainer->context = context_retain(context);
    trainer->model = model_retain(model);
    trainer->dataset = dataset_retain(dataset);
    trainer->options = *options;
    trainer->best_loss = (double)NAN;
    trainer->saved_step = -1;
    trainer->evaluated_step = -1;
    trainer->loss = (double)NAN;
    trainer->gradient_norm = (double)NAN;
    atomic_init(&trainer->cancel, 0);
    metrics_init(&trainer->metrics, &context->memory);
    status = resolve(trainer);
    if (!status)
        status = make_parts(trainer);
    if (status) {
        trainer_free(trainer);
        return status;
    }
    trainer->started = trainer_clock();
    *out = trainer;
    return LLM_OK;
}

void trainer_free(llm_trainer *trainer)
{
    llm_context *context;
    struct memory *memory;

    if (!trainer)
        return;
    context = trainer->context;
    memory = &context->memory;
    metrics_close(&trainer->metrics);
    if (trainer->optimizer)
        optimizer_drop_grad(trainer->optimizer); /* as large as the model itself */
    trainable_end(trainer);
    cx_free(&trainer->cx);
    optimizer_release(trainer->optimizer);
    train_batch_free(&trainer->batch, memory);
    memory_release(memory, trainer->windows);
    memory_release(memory, trainer->output);
    model_unlock_exclusive(trainer->model);
    model_release(trainer->model);
    dataset_release(trainer->dataset);
    memory_release(memory, trainer);
    context_release(context);
}

/* ---- a step ---- */

/* Dropout in pass `pass` of `step` draws from a seed of its own. */
static uint64_t pass_seed(const llm_trainer *trainer, int64_t step, int64_t pass)
{
    uint32_t words[4];

    philox(trainer->options.seed ^ 0x64726F706F757421u, (uint64_t)step, (uint64_t)pass, words);
    return (uint64_t)words[0] << 32 | words[1];
}

/* The windows of a pass; returns how many targets in them are to be learned. */
static int64_t choose_windows(llm_trainer *trainer, int64_t step, int64_t pass)
{
    const llm_trainer_options *o = &trainer->options;
    const llm_dataset *dataset = trainer->dataset;
    int64_t learned = 0;

    for (int64_t i = 0; i < o->batch; i++) {
        int64_t start = sampler_start(&trainer->sampler, step, pass * o->batch + i);

        trainer->windows[i] = dataset->is_examples
                                  ? dataset_example(dataset, LLM_PART_TRAIN, start, o->block)
                                  : (struct window){start, o->block};
        learned += dataset_learned(dataset, LLM_PART_TRAIN, trainer->windows[i]);
    }
    return learned;
}

/* One forward and backward pass over the chosen windows; gradients are added to, with weight
 * `share`. */
static llm_status run_pass(llm_trainer *trainer, int64_t step, int64_t pass, double share,
                           double *loss_out)
{
    const llm_trainer_options *o = &trainer->options;
    struct cx *cx = &trainer->cx;
    llm_tensor *loss;
    llm_status status;

    train_batch_fill(&trainer->batch, trainer->dataset, LLM_PART_TRAIN, trainer->windows, o->batch,
                     o->separate_documents);
    cx_reset(cx);
    cx->recording = true;
    cx->training = true;
    cx->seed = pass_seed(trainer, step, pass);
    cx->stream = 0;
    loss = model_loss(cx, trainer->model, &trainer->batch.batch, trainer->batch.targets,
                      (float)o->label_smoothing);
    status = cx_status(cx);
    if (!status) {
        *loss_out = (double)*tensor_f32(loss);
        if (!isfinite(*loss_out))
            status = status_set(LLM_E_NUMERIC,
                                "step %lld: the loss is not finite; a lower "
                                "learning rate or more warm-up may help",
                                (long long)step + 1);
    }
    if (!status)
        status = cx_backward(cx, loss, (float)share);
    return status;
}

llm_status trainer_gradients(llm_trainer *trainer, int64_t step)
{
    int64_t passes = trainer->options.accumulation;
    int64_t learned = 0;
    double sum = 0.0;
    llm_status status = LLM_OK;

    optimizer_drop_grad(trainer->optimizer);
    for (int64_t pass = 0; pass < passes; pass++)
        learned += choose_windows(trainer, step, pass);
    if (learned == 0)
        return status_set(LLM_E_NUMERIC,
                          "step %lld: nothing in its %lld examples is to be learned; are they cut "
                          "off by block %d?",
                          (long long)step + 1, (long long)(passes * trainer->options.batch),
                          trainer->options.block);
    for (int64_t pass = 0; pass < passes && !status; pass++) {
        /* Every token of a step counts the same, whichever pass it is in. */
        double share = (double)choose_windows(trainer, step, pass) / (double)learned;
        double loss = 0.0;

        if (atomic_load(&trainer->cancel))
            status = status_set(LLM_E_CANCELLED, "cancelled");
        else if (share > 0.0)
            status = run_pass(trainer, step, pass, share, &loss);
        sum += loss * share;
    }
    cx_reset(&trainer->cx);
    if (!status && !isfinite(optimizer_measure(trainer->optimizer)))
        status = status_set(LLM_E_NUMERIC,
                            "step %lld: the norm of the gradients is not finite; a "
                            "lower learning rate or more warm-up may help",
                            (long long)step + 1);
    if (status) {
        optimizer_drop_grad(trainer->optimizer);
        return status;
    }
    trainer->loss = sum;
    trainer->gradient_norm = trainer->optimizer->norm;
    return LLM_OK;
}

static llm_status step_plain(llm_trainer *trainer)
{
    llm_status status = trainer_gradients(trainer, trainer->step);

    if (!status)
        optimizer_apply(trainer->optimizer, optimizer_clip_scale(trainer->optimizer), 0,
                        trainer->optimizer->param_count);
    return status;
}

static llm_status step_with(llm_trainer *trainer, struct text *statistics)
{
    double begin = trainer_clock();
    double seconds;
    llm_status status;

    trainer->rate = schedule_rate(&trainer->schedule, trainer->step);
    trainer->optimizer->options.learning_rate = trainer->rate;
    status = statistics ? statistics_step(trainer, statistics) : step_plain(trainer);
    if (status == LLM_E_CANCELLED)
        atomic_store(&trainer->cancel, 0);
    if (status)
        return status;
    trainer->step++;
    trainer->tokens += trainer->sampler.batch * trainer->sampler.block;
    seconds = trainer_clock() - begin;
    trainer->recent_seconds =
        trainer->recent_seconds > 0.0 ? 0.8 * trainer->recent_seconds + 0.2 * seconds : seconds;
    return LLM_OK;
}

llm_status trainer_step(llm_trainer *trainer)
{
    return step_with(trainer, NULL);
}

llm_status trainer_step_measured(llm_trainer *trainer, struct text *statistics)
{
    return step_with(trainer, statistics);
}

void trainer_progress(const llm_trainer *trainer, llm_train_progress *progress)
{
    int64_t done = trainer->step - trainer->started_step;
    double seconds = trainer_clock() - trainer->started;
    int64_t left = trainer->options.steps - trainer->step;

    *progress = (llm_train_progress){
        .struct_size = sizeof *progress,
        .step = trainer->step,
        .steps = trainer->options.steps,
        .tokens = trainer->tokens,
        .loss = trainer->loss,
        .validation_loss = (double)NAN,
        .learning_rate = trainer->rate,
        .gradient_norm = trainer->gradient_norm,
        .tokens_per_second = trainer->recent_seconds > 0.0
                                 ? (double)(trainer->sampler.batch * trainer->sampler.block) /
                                       trainer->recent_seconds
                                 : 0.0,
        .seconds = seconds,
        .seconds_left = done > 0 && left >= 0 ? seconds / (double)done * (double)left : (double)NAN,
    };
}
