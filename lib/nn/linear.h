/* SPDX-License-Identifier: MIT
 *
 * y = W x + b: the one place where a model's weight meets an activation, whatever the weight's
 * dtype. Models declare and call it; nothing else multiplies by weights.
 */
#ifndef NN_LINEAR_H
#define NN_LINEAR_H

#include "graph/cx.h"
#include "nn/params.h"

struct linear {
    llm_tensor *weight; /* [out, in] */
    llm_tensor *bias;   /* [out] or NULL */
    int32_t index;      /* of the weight in the model's params: what adapters know it by */
};

struct linear_spec {
    int64_t in, out;
    bool bias;
    uint32_t flags;  /* PARAM_* beside PARAM_DECAY, for the weight */
    float deviation; /* of the weight's normal initialization; biases start at zero */
};

/* Declares "<name>.weight" and "<name>.bias", in GGUF "<gguf>.weight" and "<gguf>.bias". */
void linear_declare(struct linear *linear, struct params *params, const struct linear_spec *spec,
                    const char *name, const char *gguf);

llm_tensor *linear_forward(struct cx *cx, const struct linear *linear, llm_tensor *x); /* [N, in] */

#endif
