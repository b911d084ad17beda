/* SPDX-License-Identifier: MIT
 *
 * AdamW (Loshchilov & Hutter, "Decoupled weight decay regularization", 2019) and SGD with momentum
 * (Sutskever et al., 2013) over any list of tensors. The arithmetic is in kernels/vector_update.h.
 */
#include "train/optimizer.h"

#include "base/parallel.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK_ELEMENTS = 16384 };

static bool outside(double value, double low, double high)
{
    return !(value >= low && value <= high); /* catches NaN */
}

static llm_status check_options(const llm_optimizer_options *o)
{
    if (o->kind != LLM_OPTIMIZER_ADAMW && o->kind != LLM_OPTIMIZER_SGD)
        return status_set(LLM_E_INVALID, "optimizer kind %d is unknown", o->kind);
    if (outside(o->learning_rate, 0.0, 1e6))
        return status_set(LLM_E_RANGE, "learning_rate is %g, outside 0..1e6", o->learning_rate);
    if (outside(o->weight_decay, 0.0, 1e6))
        return status_set(LLM_E_RANGE, "weight_decay is %g, outside 0..1e6", o->weight_decay);
    if (outside(o->beta1, 0.0, 1.0) || o->beta1 >= 1.0)
        return status_set(LLM_E_RANGE, "beta1 is %g, outside [0, 1)", o->beta1);
    if (outside(o->beta2, 0.0, 1.0) || o->beta2 >= 1.0)
        return status_set(LLM_E_RANGE, "beta2 is %g, outside [0, 1)", o->beta2);
    if (outside(o->epsilon, 1e-30, 1.0))
        return status_set(LLM_E_RANGE, "epsilon is %g, outside 1e-30..1", o->epsilon);
    if (outside(o->momentum, 0.0, 1e6))
        return status_set(LLM_E_RANGE, "momentum is %g, outside 0..1e6", o->momentum);
    if (outside(o->dampening, 0.0, 1.0))
        return status_set(LLM_E_RANGE, "dampening is %g, outside 0..1", o->dampening);
    if (outside(o->clip_norm, 0.0, 1e30))
        return status_set(LLM_E_RANGE, "clip_norm is %g, outside 0..1e30", o->clip_norm);
    if (o->nesterov != 0 && o->nesterov != 1)
        return status_set(LLM_E_RANGE, "nesterov is %d, neither 0 nor 1", o->nesterov);
    if (o->nesterov && (o->momentum <= 0.0 || o->dampening != 0.0))
        return status_set(LLM_E_INVALID, "nesterov needs momentum > 0 and dampening 0");
    return LLM_OK;
}

llm_status optimizer_new(llm_optimizer **out, llm_context *context,
                         const llm_optimizer_options *options)
{
    llm_optimizer *optimizer;
    llm_status status = check_options(options);
    int32_t group;

    *out = NULL;
    if (status)
        return status;
    optimizer = memory_alloc_zeroed(&context->memory, 1, sizeof *optimizer);
    if (!optimizer)
        return LLM_E_NOMEM;
    atomic_init(&optimizer->references, 1);
    optimizer->context = context_retain(context);
    optimizer->options = *options;
    status = optimizer_add_group(&group, optimizer, options->weight_decay, 1.0);
    if (status) {
        optimizer_release(optimizer);
        return status;
    }
    *out = optimizer;
    return LLM_OK;
}

llm_optimizer *optimizer_retain(llm_optimizer *optimizer)
{
    atomic_fetch_add(&optimizer->references, 1);
    return optimizer;
}

static void free_param(struct memory *memory, struct optimizer_param *param)
{
    tensor_release(param->tensor);
    memory_release(memory, param->name);
    memory_release(memory, param->first);
    memory_release(memory, param->second);
}

void optimizer_release(llm_optimizer *optimizer)
{
    llm_context *context;
    struct memory *memory;

    if (!optimizer || atomic_fetch_sub(&optimizer->references, 1) != 1)
        return;
    context = optimizer->context;
    memory = &context->memory;
    for (size_t i = 0; i < optimizer->param_count; i++)
        free_param(memory, &optimizer->params[i]);
    memory_release(memory, optimizer->params);
    memory_release(memory, optimizer->groups);
    memory_release(memory, optimizer->chunks);
    memory_release(memory, optimizer->sums);
    memory_release(memory, optimizer);
    context_release(context);
}

llm_status optimizer_add_group(int32_t *group_out, llm_optimizer *optimizer, double weight_decay,
                               double rate_factor)
{
    llm_status status;

    if (outside(weight_decay, 0.0, 1e6))
        return status_set(LLM_E_RANGE, "weight_decay is %g, outside 0..1e6", weight_decay);
    if (outside(rate_factor, 0.0, 1e6))
        return status_set(LLM_E_RANGE, "learning_rate_factor is %g, outside 0..1e6", rate_factor);
    if (optimizer->group_count >= INT32_MAX)
        return status_set(LLM_E_RANGE, "too many parameter groups");
    status = memory_grow(&optimizer->context->memory, (void **)&optimizer->groups,
                         &optimizer->group_capacity, optimizer->group_count + 1,
                         sizeof *optimizer->groups);
    if (status)
        return status;
    *group_out = (int32_t)optimizer->group_count;
    optimizer->groups[optimizer->group_count++] =
        (struct optimizer_group){weight_decay, rate_factor};
    return LLM_OK;
}

static llm_status check_parameter(const llm_optimizer *optimizer, const llm_tensor *parameter,
                                  const char *name, int32_t group)
{
    if (group < 0 || (size_t)group >= optimizer->group_count)
        return status_set(LLM_E_RANGE, "%s: group is %d, outside 0..%zu", name, group,
                          optimizer->group_count - 1);
    if (parameter->is_on_tape || parameter->base)
        return status_set(LLM_E_INVALID, "%s: a view or a result of an operation is no parameter",
                          name);
    if (parameter->dtype != LLM_F32 || !tensor_is_contiguous(parameter))
        return status_set(LLM_E_SHAPE, "%s: a parameter must be contiguous float32", name);
    if (!parameter->requires_grad)
        return status_set(LLM_E_INVALID, "%s: the tensor does not require gradients", name);
    for (size_t i = 0; i < optimizer->param_count; i++) {
        if (optimizer->params[i].tensor == parameter)
            return status_set(LLM_E_INVALID, "%s: this tensor was added before, as %s", name,
                              optimizer->params[i].name);
        if (strcmp(optimizer->params[i].name, name) == 0)
            return status_set(LLM_E_INVALID, "%s: there is a parameter of that name", name);
    }
    return LLM_OK;
}

static llm_status allocate_state(const llm_optimizer *optimizer, struct optimizer_param *param)
{
    struct memory *memory = &optimizer->context->memory;
    size_t count = (size_t)param->elements;
    bool is_adamw = optimizer->options.kind == LLM_OPTIMIZER_ADAMW;

    if (is_adamw || optimizer->options.momentum > 0.0) {
        param->first = memory_alloc_zeroed(memory, count, sizeof(float));
        if (!param->first)
            return LLM_E_NOMEM;
    }
    if (is_adamw) {
        param->second = memory_alloc_zeroed(memory, count, sizeof(float));
        if (!param->second)
            return LLM_E_NOMEM;
    }
    return LLM_OK;
}

/* Room for everything is made first, so that a failure leaves the optimizer as it was. */
llm_status optimizer_add(llm_optimizer *optimizer, llm_tensor *parameter, const char *given,
                         int32_t group)
{
    struct memory *memory = &optimizer->context->memory;
    struct optimizer_param param = {0};
    size_t chunks;
    char number[32];
    const char *name = given;
    llm_status status;

    (void)snprintf(number, sizeof number, "%zu", optimizer->param_count);
    if (!name)
        name = number;
    status = check_parameter(optimizer, parameter, name, group);
    if (status)
        return status;
    param.elements = tensor_count(parameter);
    param.group = group;
    chunks = ((size_t)param.elements + CHUNK_ELEMENTS - 1) / CHUNK_ELEMENTS;
    status = memory_grow(memory, (void **)&optimizer->params, &optimizer->param_capacity,
                         optimizer->param_count + 1, sizeof *optimizer->params);
    if (!status)
        status = memory_grow(memory, (void **)&optimizer->chunks, &optimizer->chunk_capacity,
                             optimizer->chunk_count + chunks, sizeof *optimizer->chunks);
    if (!status)
        status = memory_grow(memory, (void **)&optimizer->sums, &optimizer->sum_capacity,
                             optimizer->chunk_count + chunks, sizeof *optimizer->sums);
    if (!status) {
        param.name = memory_copy_text(memory, name, strlen(name));
        status = param.name ? allocate_state(optimizer, &param) : LLM_E_NOMEM;
    }
    if (status) {
        free_param(memory, &param);
        return status;
    }
    for (int64_t begin = 0; begin < param.elements; begin += CHUNK_ELEMENTS) {
        int64_t end = begin + CHUNK_ELEMENTS;

        optimizer->chunks[optimizer->chunk_count++] = (struct optimizer_chunk){
            optimizer->param_count, begin, end < param.elements ? end : param.elements};
    }
    param.tensor = tensor_retain(parameter);
    optimizer->params[optimizer->param_count++] = param;
    return LLM_OK;
}

void optimizer_zero_grad(llm_optimizer *optimizer)
{
    for (size_t i = 0; i < optimizer->param_count; i++) {
        llm_tensor *tensor = optimizer->params[i].tensor;

        if (tensor->grad)
            tensor->grad_is_fresh = true;
    }
}

void optimizer_drop_grad(llm_optimizer *optimizer)
{
    for (size_t i = 0; i < optimizer->param_count; i++)
        tensor_drop_grad(optimizer->params[i].tensor);
}

/* NULL: no gradient arrived, the parameter stays as it is. */
static const float *gradient_of(const struct optimizer_param *param)
{
    const llm_tensor *grad = param->tensor->grad;

    return grad && !param->tensor->grad_is_fresh ? grad->data : NULL;
}

static void measure_chunks(void *arg, int64_t begin, int64_t end)
{
    llm_optimizer *optimizer = arg;
    const struct vector_kernels *kernels = &optimizer->context->kernels->vector;

    for (int64_t i = begin; i < end; i++) {
        const struct optimizer_chunk *chunk = &optimizer->chunks[i];
        const float *gradient = gradient_of(&optimizer->params[chunk->param]);

        optimizer->sums[i] =
            gradient ? kernels->sum_squares(gradient + chunk->begin, chunk->end - chunk->begin)
                     : 0.0;
    }
}

double optimizer_measure(llm_optimizer *optimizer)
{
    double sum = 0.0;

    parallel_for(optimizer->context->threads, (int64_t)optimizer->chunk_count, 2, measure_chunks,
                 optimizer);
    for (size_t i = 0; i < optimizer->chunk_count; i++)
        sum += optimizer->sums[i];
    optimizer->norm = sqrt(sum);
    return optimizer->norm;
}

double optimizer_clip_scale(const llm_optimizer *optimizer)
{
    double scale;

    if (optimizer->options.clip_norm <= 0.0)
        return 1.0;
    scale =
        optimizer->options.clip_norm / (optimizer->norm + 1e-6); /* as torch's clip_grad_norm_ */
    return scale < 1.0 ? scale : 1.0;
}

struct apply_job {
    llm_optimizer *optimizer;
    double gradient_scale;
    size_t first_chunk;
};

static void apply_chunk(const struct apply_job *job, const struct optimizer_chunk *chunk)
{
    const llm_optimizer *optimizer = job->optimizer;
    const llm_optimizer_options *o = &optimizer->options;
    const struct vector_kernels *kernels = &optimizer->context->kernels->vector;
    const struct optimizer_param *param = &optimizer->params[chunk->param];
    const struct optimizer_group *group = &optimizer->groups[param->group];
    const float *gradient = gradient_of(param);
    float *weight = tensor_f32(param->tensor);
    double rate = o->learning_rate * group->rate_factor;
    int64_t begin = chunk->begin;
    int64_t count = chunk->end - chunk->begin;

    if (!gradient)
        return;
    if (o->kind == LLM_OPTIMIZER_ADAMW) {
        struct vector_adamw step =
            vector_adamw_make(rate, o->beta1, o->beta2, o->epsilon, group->weight_decay,
                              param->steps + 1, job->gradient_scale);

        kernels->adamw(weight + begin, param->first + begin, param->second + begin,
                       gradient + begin, count, &step);
    } else {
        struct vector_sgd step = {.gradient_scale = (float)job->gradient_scale,
                                  .learning_rate = (float)rate,
                                  .weight_decay = (float)group->weight_decay,
                                  .momentum = (float)o->momentum,
                                  .dampening = (float)o->dampening,
                                  .nesterov = o->nesterov,
                                  .first = param->steps == 0};

        kernels->sgd(weight + begin, param->first ? param->first + begin : NULL, gradient + begin,
                     count, &step);
    }
}

static void apply_chunks(void *arg, int64_t begin, int64_t end)
{
    const struct apply_job *job = arg;

    for (int64_t i = begin; i < end; i++)
        apply_chunk(job, &job->optimizer->chunks[job->first_chunk + (size_t)i]);
}

void optimizer_apply(llm_optimizer *optimizer, double gradient_scale, size_t first_param,
                     size_t end_param)
{
    struct apply_job job = {optimizer, gradient_scale, 0};
    size_t end;

    while (job.first_chunk < optimizer->chunk_count &&
           optimizer->chunks[job.first_chunk].param < first_param)
        job.first_chunk++;
    end = job.first_chunk;
    while (end < optimizer->chunk_count && optimizer->chunks[end].param < end_param)
        end++;
    parallel_for(optimizer->context->threads, (int64_t)(end - job.first_chunk), 2, apply_chunks,
                 &job);
    for (size_t i = first_param; i < end_param; i++) {
        if (gradient_of(&optimizer->params[i]))
            optimizer->params[i].steps++;
    }
}

llm_status optimizer_step(llm_optimizer *optimizer)
{
    if (!isfinite(optimizer_measure(optimizer)))
        return status_set(LLM_E_NUMERIC, "the norm of the gradients is not finite");
    optimizer_apply(optimizer, optimizer_clip_scale(optimizer), 0, optimizer->param_count);
    return LLM_OK;
}
