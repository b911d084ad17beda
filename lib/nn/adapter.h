/* SPDX-License-Identifier: MIT
 *
 * Adapters: small trained changes of a model's linear layers, while the model stays as it is.
 * LoRA: Hu et al., "LoRA: low-rank adaptation of large language models" (2021); rank-stabilized
 * scaling: Kalajdzievski (2023); DoRA: Liu et al., "Weight-decomposed low-rank adaptation" (2024);
 * IA3: Liu et al., "Few-shot parameter-efficient fine-tuning is better and cheaper than in-context
 * learning" (2022). The mathematics is here; adapter_new.c makes them, models/peft.c reads and
 * writes them. A cx carries those in use, linear layers ask adapter_linear().
 */
#ifndef NN_ADAPTER_H
#define NN_ADAPTER_H

#include "llm/adapter.h"
#include "nn/linear.h"

/* What changes one linear layer. */
struct adapter_part {
    llm_tensor *a;         /* [r, in] */
    llm_tensor *b;         /* [out, r] */
    llm_tensor *magnitude; /* [out]: DoRA; or NULL */
    llm_tensor *gain;      /* IA3: [out, 1], or [1, in] if gain_on_input; a and b are NULL then */
    float scale;           /* of B A */
    bool gain_on_input;
};

struct llm_adapter {
    _Atomic int references;
    llm_context *context;
    struct arena arena;
    struct params params;       /* under PEFT's names */
    struct adapter_part *parts; /* [model_params]: of the weight with that index; all NULL: none */
    size_t model_params;
    size_t part_count;
    int32_t kind; /* LLM_ADAPTER_* */
    float dropout;
    char *config; /* adapter_config.json, as saved; in the arena */
};

/* One adapter at work, and how strongly. */
struct adapter_use {
    const llm_adapter *adapter;
    float weight;
};

llm_adapter *adapter_retain(llm_adapter *adapter);
void adapter_release(llm_adapter *adapter); /* NULL and half-built ones allowed */

/* An adapter without parts for a model with these parameters. */
llm_status adapter_open(llm_adapter **out, llm_context *context, const struct params *model);

/* Declare the parts of model parameter `index`; values unspecified. `path` is the name of its
 * layer, "transformer.h.0.attn.c_attn". */
llm_status adapter_add_lora(llm_adapter *adapter, const struct params *model, size_t index,
                            int64_t rank, float scale, bool dora);
llm_status adapter_add_ia3(llm_adapter *adapter, const struct params *model, size_t index,
                           bool on_input);

/* Starting values: A uniform as PEFT has it, B zero, magnitudes those of the rows: the model is as
 * without the adapter. */
llm_status adapter_initialize(llm_adapter *adapter, const struct params *model, uint64_t seed);

/* The adapters of a cx: what it held before is given up. Also before cx_free(), with count 0. */
llm_status adapter_uses_set(struct cx *cx, llm_adapter *const *adapters, const double *weights,
                            size_t count);

/* W x + b with what cx->adapters add; x [N, in]. */
llm_tensor *adapter_linear(struct cx *cx, const struct linear *linear, llm_tensor *x);

/* Change the weight (and bias, which may be NULL) of a parameter as the part would. */
llm_status adapter_fold(const struct adapter_part *part, float weight, llm_context *context,
                        llm_tensor *matrix, llm_tensor *bias);

#endif
