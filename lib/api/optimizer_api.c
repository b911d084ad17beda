/* SPDX-License-Identifier: MIT
 *
 * llm/optimizer.h: argument checks in front of train/optimizer.c and train/schedule.c.
 */
#include "api/check.h"
#include "train/optimizer.h"
#include "train/schedule.h"

#include <math.h>

static const llm_optimizer_options default_options = {.struct_size = sizeof default_options,
                                                      .learning_rate = 1e-3,
                                                      .weight_decay = 0.01,
                                                      .beta1 = 0.9,
                                                      .beta2 = 0.999,
                                                      .epsilon = 1e-8,
                                                      .kind = LLM_OPTIMIZER_ADAMW};

llm_status llm_optimizer_options_init(llm_optimizer_options *options, size_t struct_size)
{
    return options_fill(options, struct_size, &default_options, sizeof default_options,
                        "llm_optimizer_options");
}

llm_status llm_optimizer_new(llm_optimizer **out, llm_context *context,
                             const llm_optimizer_options *given)
{
    llm_optimizer_options options = default_options;
    llm_status status;

    if (!out)
        return null_argument("llm_optimizer_new", "out");
    *out = NULL;
    if (!context)
        return null_argument("llm_optimizer_new", "context");
    status = options_read(&options, sizeof options, given, "llm_optimizer_options");
    return status ? status : optimizer_new(out, context, &options);
}

void llm_optimizer_free(llm_optimizer *optimizer)
{
    optimizer_release(optimizer);
}

llm_status llm_optimizer_add_group(int32_t *group_out, llm_optimizer *optimizer,
                                   double weight_decay, double learning_rate_factor)
{
    if (!group_out)
        return null_argument("llm_optimizer_add_group", "group_out");
    *group_out = -1;
    if (!optimizer)
        return null_argument("llm_optimizer_add_group", "optimizer");
    return optimizer_add_group(group_out, optimizer, weight_decay, learning_rate_factor);
}

llm_status llm_optimizer_add(llm_optimizer *optimizer, llm_tensor *parameter, const char *name,
                             int32_t group)
{
    if (!optimizer)
        return null_argument("llm_optimizer_add", "optimizer");
    if (!parameter)
        return null_argument("llm_optimizer_add", "parameter");
    return optimizer_add(optimizer, parameter, name, group);
}

llm_status llm_optimizer_step(llm_optimizer *optimizer)
{
    if (!optimizer)
        return null_argument("llm_optimizer_step", "optimizer");
    return optimizer_step(optimizer);
}

void llm_optimizer_zero_grad(llm_optimizer *optimizer)
{
    if (optimizer)
        optimizer_zero_grad(optimizer);
}

llm_status llm_optimizer_set_learning_rate(llm_optimizer *optimizer, double learning_rate)
{
    if (!optimizer)
        return null_argument("llm_optimizer_set_learning_rate", "optimizer");
    if (!(learning_rate >= 0.0 && learning_rate <= 1e6))
        return status_set(LLM_E_RANGE, "learning_rate is %g, outside 0..1e6", learning_rate);
    optimizer->options.learning_rate = learning_rate;
    return LLM_OK;
}

double llm_optimizer_learning_rate(const llm_optimizer *optimizer)
{
    return optimizer ? optimizer->options.learning_rate : 0.0;
}

double llm_optimizer_gradient_norm(const llm_optimizer *optimizer)
{
    return optimizer ? optimizer->norm : 0.0;
}

llm_status llm_optimizer_save(const llm_optimizer *optimizer, const char *path)
{
    if (!optimizer)
        return null_argument("llm_optimizer_save", "optimizer");
    if (!path)
        return null_argument("llm_optimizer_save", "path");
    return optimizer_save(optimizer, path);
}

llm_status llm_optimizer_load(llm_optimizer *optimizer, const char *path)
{
    if (!optimizer)
        return null_argument("llm_optimizer_load", "optimizer");
    if (!path)
        return null_argument("llm_optimizer_load", "path");
    return optimizer_load(optimizer, path);
}

double llm_schedule_rate(int32_t schedule, int64_t step, int64_t steps, int64_t warmup_steps,
                         int64_t decay_steps, double rate, double min_rate)
{
    struct schedule made = {schedule, warmup_steps, steps, decay_steps, rate, min_rate};

    if (schedule < LLM_SCHEDULE_CONSTANT || schedule > LLM_SCHEDULE_WSD || step < 0 || steps <= 0 ||
        warmup_steps < 0 || decay_steps < 0 || !isfinite(rate) || !isfinite(min_rate))
        return (double)NAN;
    return schedule_rate(&made, step);
}
