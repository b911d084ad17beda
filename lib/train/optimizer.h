/* SPDX-License-Identifier: MIT
 *
 * The inside of llm_optimizer. A step walks fixed chunks of all parameters: one pass that sums the
 * squares of the gradients (chunk sums added in order, so that the norm has the same bits for any
 * number of threads), one that updates.
 */
#ifndef TRAIN_OPTIMIZER_H
#define TRAIN_OPTIMIZER_H

#include "llm/optimizer.h"
#include "tensor/tensor.h"

struct optimizer_group {
    double weight_decay;
    double rate_factor;
};

struct optimizer_param {
    llm_tensor *tensor;
    char *name;
    int32_t group;
    int64_t elements;
    int64_t steps; /* updates so far */
    float *first;  /* AdamW: mean of gradients; SGD with momentum: its buffer; else NULL */
    float *second; /* AdamW: mean of squared gradients; else NULL */
};

struct optimizer_chunk {
    size_t param;
    int64_t begin, end; /* elements */
};

struct llm_optimizer {
    _Atomic int references;
    llm_context *context;
    llm_optimizer_options options;
    struct optimizer_group *groups;
    size_t group_count, group_capacity;
    struct optimizer_param *params;
    size_t param_count, param_capacity;
    struct optimizer_chunk *chunks;
    size_t chunk_count, chunk_capacity;
    double *sums; /* one per chunk, over finished parameters in order */
    size_t sum_capacity;
    double norm; /* of the last step, before clipping */
};

llm_status optimizer_new(llm_optimizer **out, llm_context *context,
                         const llm_optimizer_options *options);
llm_optimizer *optimizer_retain(llm_optimizer *optimizer);
void optimizer_release(llm_optimizer *optimizer); /* NULL allowed */
llm_status optimizer_add_group(int32_t *group_out, llm_optimizer *optimizer, double weight_decay,
                               double rate_factor);
llm_status optimizer_add(llm_optimizer *optimizer, llm_tensor *parameter, const char *name,
                         int32_t group);

void optimizer_zero_grad(llm_optimizer *optimizer);
void optimizer_drop_grad(llm_optimizer *optimizer); /* their memory, too */

/* The three parts of a step, for the trainer, which reports between them. */
double optimizer_measure(llm_optimizer *optimizer);          /* sets and returns ->norm */
double optimizer_clip_scale(const llm_optimizer *optimizer); /* from ->norm */
void optimizer_apply(llm_optimizer *optimizer, double gradient_scale, size_t first_param,
                     size_t end_param);
/* All of them; LLM_E_NUMERIC before anything changed. */
llm_status optimizer_step(llm_optimizer *optimizer);

/* optimizer_state.c */
llm_status optimizer_save(const llm_optimizer *optimizer, const char *path);
llm_status optimizer_load(llm_optimizer *optimizer, const char *path);

#endif
