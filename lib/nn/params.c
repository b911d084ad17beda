/* SPDX-License-Identifier: MIT */
#include "nn/params.h"

#include "base/checked.h"
#include "base/parallel.h"
#include "base/rng.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void params_init(struct params *params, llm_context *context, enum params_mode mode)
{
    memset(params, 0, sizeof *params);
    params->context = context;
    params->mode = (int32_t)mode;
    arena_init(&params->arena, &context->memory);
    map_init(&params->names, &context->memory);
}

void params_free(struct params *params)
{
    if (!params->context)
        return;
    for (size_t i = 0; i < params->count && params->mode != PARAMS_SHAPES_ONLY; i++)
        tensor_release(params->list[i].tensor);
    memory_release(&params->context->memory, params->list);
    map_free(&params->names);
    arena_free(&params->arena);
    memset(params, 0, sizeof *params);
}

static llm_tensor *fail(struct params *params, llm_status status)
{
    params->status = status;
    return NULL;
}

/* The sum over all parameters must be a size, and one that this machine can hold. */
static llm_status check_total(struct params *params, const struct param_spec *spec)
{
    uint64_t machine = memory_physical();
    int64_t count = 1;
    int64_t bytes;

    for (int32_t i = 0; i < spec->dimensions; i++) {
        if (!checked_mul_i64(count, spec->shape[i], &count))
            return status_set(LLM_E_RANGE, "the model has too many parameters");
    }
    if (!checked_add_i64(params->elements, count, &params->elements) ||
        !checked_mul_i64(params->elements, (int64_t)sizeof(float), &bytes))
        return status_set(LLM_E_RANGE, "the model has too many parameters");
    if (params->mode == PARAMS_NOW && machine && (uint64_t)bytes > machine)
        return status_set(LLM_E_NOMEM, "the model needs more memory than the machine's %llu bytes",
                          (unsigned long long)machine);
    return LLM_OK;
}

static llm_status make_tensor(llm_tensor **out, struct params *params,
                              const struct param_spec *spec)
{
    if (params->mode == PARAMS_LATER)
        return tensor_new_empty(out, params->context, LLM_F32, spec->dimensions, spec->shape);
    if (params->mode == PARAMS_NOW)
        return tensor_new(out, params->context, LLM_F32, spec->dimensions, spec->shape);
    *out = arena_alloc(&params->arena, sizeof **out);
    if (!*out)
        return LLM_E_NOMEM;
    (*out)->context = params->context;
    return tensor_set_shape(*out, LLM_F32, spec->dimensions, spec->shape, NULL);
}

static llm_status append(struct params *params, const struct param *param)
{
    llm_status status;
    bool inserted;

    status = memory_grow(&params->context->memory, (void **)&params->list, &params->capacity,
                         params->count + 1, sizeof *params->list);
    if (!status)
        status = map_put(&params->names, param->name, strlen(param->name), (int64_t)params->count,
                         &inserted);
    if (!status && !inserted)
        status = status_set(LLM_E_INTERNAL, "parameter \"%s\" is declared twice", param->name);
    if (!status)
        params->list[params->count++] = *param;
    return status;
}

llm_tensor *params_declare(struct params *params, const struct param_spec *spec, const char *gguf,
                           const char *name_format, ...)
{
    struct param param;
    char name[256];
    llm_status status;
    va_list args;
    int length;

    if (params->status)
        return NULL;
    va_start(args, name_format);
    length = vsnprintf(name, sizeof name, name_format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof name)
        return fail(params, status_set(LLM_E_INTERNAL, "a parameter's name is too long"));
    status = check_total(params, spec);
    if (status)
        return fail(params, status);
    memset(&param, 0, sizeof param);
    param.flags = spec->flags;
    param.init = spec->init;
    param.deviation = spec->deviation;
    param.name = arena_copy_text(&params->arena, name, (size_t)length);
    param.gguf_name = gguf ? arena_copy_text(&params->arena, gguf, strlen(gguf)) : NULL;
    if (!param.name || (gguf && !param.gguf_name))
        return fail(params, LLM_E_NOMEM);
    status = make_tensor(&param.tensor, params, spec);
    if (!status) {
        param.tensor->requires_grad = true;
        status = append(params, &param);
        if (status && params->mode != PARAMS_SHAPES_ONLY)
            tensor_release(param.tensor);
    }
    return status ? fail(params, status_prefix(status, "%s", name)) : param.tensor;
}

struct param *params_find(const struct params *params, const char *name)
{
    const struct map_entry *entry = map_find(&params->names, name, strlen(name));

    return entry ? &params->list[entry->value] : NULL;
}

llm_status params_allocate(struct params *params, size_t index)
{
    llm_tensor *tensor = params->list[index].tensor;
    llm_status status;

    if (tensor->storage)
        return LLM_OK;
    status = storage_new(&tensor->storage, params->context,
                         (size_t)tensor_count(tensor) * sizeof(float));
    if (!status)
        tensor->data = tensor->storage->data;
    return status;
}

void params_adopt(struct params *params, size_t index, struct storage *storage, void *data)
{
    llm_tensor *tensor = params->list[index].tensor;

    storage_release(tensor->storage);
    tensor->storage = storage_retain(storage);
    tensor->data = data;
}

llm_status params_check_plain(const struct params *params, const char *what)
{
    for (size_t i = 0; i < params->count; i++) {
        const struct param *param = &params->list[i];

        if (param->tensor->packed)
            return status_set(LLM_E_UNSUPPORTED,
                              "%s: %s is kept as %s; load the model with LLM_WEIGHTS_FLOAT", what,
                              param->name, dtype_get(param->tensor->dtype)->name);
    }
    return LLM_OK;
}

void params_file_view(llm_tensor *view, const struct param *param)
{
    *view = *param->tensor;
    if (param->flags & PARAM_TRANSPOSED) {
        view->shape[0] = param->tensor->shape[1];
        view->shape[1] = param->tensor->shape[0];
        view->stride[0] = param->tensor->stride[1];
        view->stride[1] = param->tensor->stride[0];
    }
}

/* ---- initial values ----------------------------------------------------------------------------
 */

enum { BLOCK = 4096 }; /* values drawn by one task: any number of threads gives the same */

struct fill_job {
    const struct param *param;
    float *values;
    int64_t count;
    uint64_t seed, stream;
};

static void fill_block(void *arg, int64_t block)
{
    const struct fill_job *job = arg;
    int64_t begin = block * BLOCK;
    int64_t end = job->count - begin < BLOCK ? job->count : begin + BLOCK;
    struct rng rng = rng_make(job->seed, job->stream);

    rng.position = (uint64_t)begin * 4; /* at most four words per value */
    for (int64_t i = begin; i < end; i++) {
        if (job->param->init == PARAM_INIT_NORMAL)
            job->values[i] = (float)(rng_normal(&rng) * (double)job->param->deviation);
        else if (job->param->init == PARAM_INIT_UNIFORM)
            job->values[i] =
                (float)((2.0 * rng_uniform(&rng) - 1.0) * (double)job->param->deviation);
        else
            job->values[i] = job->param->init == PARAM_INIT_ONE ? 1.0f : 0.0f;
    }
}

void params_initialize_one(const struct params *params, size_t index, uint64_t seed)
{
    struct fill_job job = {.param = &params->list[index], .seed = seed, .stream = index};

    if (params->mode == PARAMS_SHAPES_ONLY)
        return;
    job.values = tensor_f32(job.param->tensor);
    job.count = tensor_count(job.param->tensor);
    parallel_each(params->context->threads, (job.count + BLOCK - 1) / BLOCK, fill_block, &job);
}

void params_initialize(struct params *params, uint64_t seed)
{
    for (size_t i = 0; i < params->count; i++)
        params_initialize_one(params, i, seed);
}
