/* SPDX-License-Identifier: MIT
 *
 * Statistics on request: of every block's output its mean and deviation, of every parameter the
 * norms of its values, of its gradient and of its update. Parameters are updated one at a time
 * here, so that only the largest has to be copied; the result is the same as of any other step.
 */
#include "train/trainer.h"

#include <math.h>
#include <string.h>

struct watched {
    double mean, deviation;
};

struct watch {
    const struct vector_kernels *kernels;
    struct watched *blocks;
    size_t count, capacity;
};

static void watch_block(void *arg, const llm_tensor *y)
{
    struct watch *watch = arg;
    double variance;
    struct watched *block;

    if (watch->count == watch->capacity || !y->data || !tensor_is_contiguous(y))
        return; /* passes after the first of an accumulated step */
    block = &watch->blocks[watch->count++];
    watch->kernels->mean_variance(&block->mean, &variance, tensor_f32(y), tensor_count(y));
    block->deviation = sqrt(variance);
}

static void put_blocks(struct text *out, const struct watch *watch)
{
    text_append_z(out, ",\"blocks\":[");
    for (size_t i = 0; i < watch->count; i++) {
        text_append_z(out, i ? ",{\"mean\":" : "{\"mean\":");
        text_append_double(out, watch->blocks[i].mean);
        text_append_z(out, ",\"deviation\":");
        text_append_double(out, watch->blocks[i].deviation);
        text_append_z(out, "}");
    }
    text_append_z(out, "]");
}

static void put_param(struct text *out, const llm_trainer *trainer, size_t index, double scale,
                      float *before)
{
    llm_optimizer *optimizer = trainer->optimizer;
    const struct optimizer_param *param = &optimizer->params[index];
    const struct vector_kernels *kernels = &trainer->context->kernels->vector;
    const float *values = tensor_f32(param->tensor);
    const llm_tensor *grad = param->tensor->grad;
    int64_t count = param->elements;
    bool has_grad = grad && !param->tensor->grad_is_fresh;
    double weight = sqrt(kernels->sum_squares(values, count));
    double gradient = has_grad ? sqrt(kernels->sum_squares(tensor_f32(grad), count)) : 0.0;

    memcpy(before, values, (size_t)count * sizeof *before);
    optimizer_apply(optimizer, scale, index, index + 1);
    text_append_z(out, index ? "," : "");
    text_append_json(out, param->name, strlen(param->name));
    text_append_z(out, ":{\"weight\":");
    text_append_double(out, weight);
    text_append_z(out, ",\"gradient\":");
    text_append_double(out, gradient);
    text_append_z(out, ",\"update\":");
    text_append_double(out, sqrt(kernels->sum_squared_difference(values, before, count)));
    text_append_z(out, "}");
}

llm_status statistics_step(llm_trainer *trainer, struct text *out)
{
    struct memory *memory = &trainer->context->memory;
    llm_optimizer *optimizer = trainer->optimizer;
    struct watch watch = {.kernels = &trainer->context->kernels->vector,
                          .capacity = (size_t)trainer->model->layers};
    int64_t largest = 1;
    float *before = NULL;
    double scale;
    llm_status status = LLM_E_NOMEM;

    for (size_t i = 0; i < optimizer->param_count; i++) {
        if (optimizer->params[i].elements > largest)
            largest = optimizer->params[i].elements;
    }
    watch.blocks = memory_alloc_array(memory, watch.capacity, sizeof *watch.blocks);
    before = memory_alloc_array(memory, (size_t)largest, sizeof *before);
    if (!watch.blocks || !before)
        goto done;
    trainer->cx.watch = watch_block;
    trainer->cx.watch_arg = &watch;
    status = trainer_gradients(trainer, trainer->step);
    trainer->cx.watch = NULL;
    trainer->cx.watch_arg = NULL;
    if (status)
        goto done;
    put_blocks(out, &watch);
    text_append_z(out, ",\"parameters\":{");
    scale = optimizer_clip_scale(optimizer);
    for (size_t i = 0; i < optimizer->param_count; i++)
        put_param(out, trainer, i, scale, before);
    text_append_z(out, "}");
done:
    memory_release(memory, watch.blocks);
    memory_release(memory, before);
    return status;
}
