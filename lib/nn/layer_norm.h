/* SPDX-License-Identifier: MIT
 *
 * Layer normalization (Ba, Kiros, Hinton 2016) as a layer with parameters.
 */
#ifndef NN_LAYER_NORM_H
#define NN_LAYER_NORM_H

#include "graph/cx.h"
#include "nn/params.h"

struct layer_norm {
    llm_tensor *weight; /* [D] */
    llm_tensor *bias;   /* [D] or NULL */
    float epsilon;
};

void layer_norm_declare(struct layer_norm *norm, struct params *params, int64_t width, bool bias,
                        float epsilon, const char *name, const char *gguf);

llm_tensor *layer_norm_forward(struct cx *cx, const struct layer_norm *norm, llm_tensor *x);

#endif
