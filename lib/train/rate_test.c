/* SPDX-License-Identifier: MIT
 *
 * The learning-rate range test: Smith, "Cyclical learning rates for training neural networks"
 * (2017). Trains a few steps with a rate that grows by equal factors and looks at the loss; then
 * the model and the optimizer are put back as they were.
 */
#include "train/trainer.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* Copies of everything a step changes, one block of memory per parameter. */
struct backup {
    struct memory *memory;
    float **blocks; /* [params]: values, first, second */
    int64_t *steps;
    size_t count;
};

static size_t parts(const struct optimizer_param *param)
{
    return (size_t)1 + (param->first ? 1 : 0) + (param->second ? 1 : 0);
}

/* Between the optimizer's arrays and a block, one way or the other. */
static void move(float *block, const struct optimizer_param *param, bool save)
{
    float *arrays[3] = {tensor_f32(param->tensor), param->first, param->second};
    size_t bytes = (size_t)param->elements * sizeof(float);

    for (int i = 0; i < 3; i++) {
        if (!arrays[i])
            continue;
        if (save)
            memcpy(block, arrays[i], bytes);
        else
            memcpy(arrays[i], block, bytes);
        block += param->elements;
    }
}

static void backup_free(struct backup *backup)
{
    for (size_t i = 0; backup->blocks && i < backup->count; i++)
        memory_release(backup->memory, backup->blocks[i]);
    memory_release(backup->memory, backup->blocks);
    memory_release(backup->memory, backup->steps);
}

static llm_status backup_make(struct backup *backup, const llm_optimizer *optimizer)
{
    backup->memory = &optimizer->context->memory;
    backup->count = optimizer->param_count;
    backup->blocks = memory_alloc_zeroed(backup->memory, backup->count, sizeof *backup->blocks);
    backup->steps = memory_alloc_array(backup->memory, backup->count, sizeof *backup->steps);
    if (!backup->blocks || !backup->steps)
        return LLM_E_NOMEM;
    for (size_t i = 0; i < backup->count; i++) {
        const struct optimizer_param *param = &optimizer->params[i];

        backup->blocks[i] = memory_alloc_array(backup->memory, (size_t)param->elements,
                                               parts(param) * sizeof(float));
        if (!backup->blocks[i])
            return LLM_E_NOMEM;
        move(backup->blocks[i], param, true);
        backup->steps[i] = param->steps;
    }
    return LLM_OK;
}

static void backup_restore(const struct backup *backup, llm_optimizer *optimizer)
{
    for (size_t i = 0; i < backup->count; i++) {
        move(backup->blocks[i], &optimizer->params[i], false);
        optimizer->params[i].steps = backup->steps[i];
    }
}

/* Where the smoothed loss falls fastest per factor of the rate, and a third below it. */
static double suggest(const double *rates, const double *losses, int64_t count)
{
    int64_t best = 0;
    double steepest = 0.0;

    for (int64_t i = 1; i + 1 < count; i++) {
        double slope = (losses[i + 1] - losses[i - 1]) / (log(rates[i + 1]) - log(rates[i - 1]));

        if (slope < steepest) {
            steepest = slope;
            best = i;
        }
    }
    return count ? rates[best] * (best ? 0.7 : 1.0) : (double)NAN;
}

static llm_status sweep(double *rates, double *losses, int64_t *count_out, llm_trainer *trainer,
                        double low, double high, int64_t steps)
{
    llm_optimizer *optimizer = trainer->optimizer;
    double smooth = 0.0;
    double lowest = (double)INFINITY;

    for (int64_t i = 0; i < steps; i++) {
        double share = steps > 1 ? (double)i / (double)(steps - 1) : 0.0;
        llm_status status = trainer_gradients(trainer, trainer->step + i);

        if (status == LLM_E_NUMERIC && i > 0)
            return LLM_OK; /* the end of the curve */
        if (status)
            return status;
        rates[i] = low * pow(high / low, share);
        optimizer->options.learning_rate = rates[i];
        smooth = 0.9 * smooth + 0.1 * trainer->loss;
        losses[i] = smooth / (1.0 - pow(0.9, (double)(i + 1)));
        *count_out = i + 1;
        lowest = losses[i] < lowest ? losses[i] : lowest;
        if (i > 5 && losses[i] > 4.0 * lowest)
            return LLM_OK;
        optimizer_apply(optimizer, optimizer_clip_scale(optimizer), 0, optimizer->param_count);
    }
    return LLM_OK;
}

llm_status trainer_find_rate(double *rates, double *losses, int64_t *count_out,
                             double *suggestion_out, llm_trainer *trainer, double low, double high,
                             int64_t steps)
{
    struct backup backup = {0};
    double rate = trainer->optimizer->options.learning_rate;
    double loss = trainer->loss;
    double norm = trainer->gradient_norm;
    llm_status status = backup_make(&backup, trainer->optimizer);

    *count_out = 0;
    if (!status) {
        status = sweep(rates, losses, count_out, trainer, low, high, steps);
        backup_restore(&backup, trainer->optimizer);
    }
    optimizer_zero_grad(trainer->optimizer);
    if (status == LLM_E_CANCELLED)
        atomic_store(&trainer->cancel, 0);
    trainer->optimizer->options.learning_rate = rate;
    trainer->loss = loss;
    trainer->gradient_norm = norm;
    if (suggestion_out)
        *suggestion_out = status ? (double)NAN : suggest(rates, losses, *count_out);
    backup_free(&backup);
    return status;
}
