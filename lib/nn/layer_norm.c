/* SPDX-License-Identifier: MIT */
#include "nn/layer_norm.h"

#include "graph/op.h"

#include <stdio.h>

void layer_norm_declare(struct layer_norm *norm, struct params *params, int64_t width, bool bias,
                        float epsilon, const char *name, const char *gguf)
{
    struct param_spec spec = {.dimensions = 1, .shape = {width}, .init = PARAM_INIT_ONE};
    char gguf_name[128];

    norm->epsilon = epsilon;
    (void)snprintf(gguf_name, sizeof gguf_name, "%s.weight", gguf);
    norm->weight = params_declare(params, &spec, gguf_name, "%s.weight", name);
    norm->bias = NULL;
    if (!bias)
        return;
    spec.init = PARAM_INIT_ZERO;
    (void)snprintf(gguf_name, sizeof gguf_name, "%s.bias", gguf);
    norm->bias = params_declare(params, &spec, gguf_name, "%s.bias", name);
}

llm_tensor *layer_norm_forward(struct cx *cx, const struct layer_norm *norm, llm_tensor *x)
{
    return op_layer_norm(cx, x, norm->weight, norm->bias, norm->epsilon);
}
