/* SPDX-License-Identifier: MIT */
#include "nn/linear.h"

#include "graph/op.h"
#include "nn/adapter.h"

#include <stdio.h>

void linear_declare(struct linear *linear, struct params *params, const struct linear_spec *spec,
                    const char *name, const char *gguf)
{
    struct param_spec weight = {.dimensions = 2,
                                .shape = {spec->out, spec->in},
                                .flags = spec->flags | PARAM_DECAY | PARAM_LINEAR,
                                .init = PARAM_INIT_NORMAL,
                                .deviation = spec->deviation};
    struct param_spec bias = {.dimensions = 1,
                              .shape = {spec->out},
                              .flags = spec->flags & PARAM_OPTIONAL,
                              .init = PARAM_INIT_ZERO};
    char gguf_name[128];

    (void)snprintf(gguf_name, sizeof gguf_name, "%s.weight", gguf);
    linear->weight = params_declare(params, &weight, gguf_name, "%s.weight", name);
    linear->index = (int32_t)params->count - 1;
    linear->bias = NULL;
    if (!spec->bias)
        return;
    (void)snprintf(gguf_name, sizeof gguf_name, "%s.bias", gguf);
    linear->bias = params_declare(params, &bias, gguf_name, "%s.bias", name);
}

llm_tensor *linear_forward(struct cx *cx, const struct linear *linear, llm_tensor *x)
{
    if (cx->adapter_count)
        return adapter_linear(cx, linear, x);
    return op_linear(cx, x, linear->weight, linear->bias);
}
