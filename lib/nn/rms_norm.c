/* SPDX-License-Identifier: MIT */
#include "nn/rms_norm.h"

#include "graph/op.h"

#include <stdio.h>

void rms_norm_declare(struct rms_norm *norm, struct params *params,
                      const struct rms_norm_spec *spec, const char *name, const char *gguf)
{
    struct param_spec weight = {.dimensions = 1,
                                .shape = {spec->width},
                                .init = spec->offset != 0.0f ? PARAM_INIT_ZERO : PARAM_INIT_ONE};
    char gguf_name[128];

    (void)snprintf(gguf_name, sizeof gguf_name, "%s.weight", gguf);
    norm->weight = params_declare(params, &weight, gguf_name, "%s.weight", name);
    norm->epsilon = (float)spec->epsilon;
    norm->offset = spec->offset;
}

llm_tensor *rms_norm_forward(struct cx *cx, const struct rms_norm *norm, llm_tensor *x)
{
    return op_rms_norm(cx, x, norm->weight, norm->epsilon, norm->offset);
}
