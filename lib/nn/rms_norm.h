/* SPDX-License-Identifier: MIT
 *
 * Root mean square normalization (Zhang and Sennrich, 2019) as a layer with a weight.
 */
#ifndef NN_RMS_NORM_H
#define NN_RMS_NORM_H

#include "graph/cx.h"
#include "nn/params.h"

struct rms_norm {
    llm_tensor *weight; /* [D] */
    float epsilon;
    float offset; /* added to the weight: 1 in Gemma, whose weights start at zero */
};

struct rms_norm_spec {
    int64_t width;
    double epsilon;
    float offset;
};

/* Declares "<name>.weight", in GGUF "<gguf>.weight". */
void rms_norm_declare(struct rms_norm *norm, struct params *params,
                      const struct rms_norm_spec *spec, const char *name, const char *gguf);

llm_tensor *rms_norm_forward(struct cx *cx, const struct rms_norm *norm, llm_tensor *x);

#endif
