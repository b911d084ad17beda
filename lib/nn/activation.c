/* SPDX-License-Identifier: MIT */
#include "nn/activation.h"

#include "graph/op.h"

#include <string.h>

static const struct {
    const char *name;
    activation_fn fn;
} activations[] = {
    {"gelu_new", op_gelu_tanh},  {"gelu_pytorch_tanh", op_gelu_tanh},
    {"gelu_fast", op_gelu_tanh}, {"gelu", op_gelu},
    {"relu", op_relu},           {"silu", op_silu},
    {"swish", op_silu},          {"tanh", op_tanh},
};

activation_fn activation_find(const char *name)
{
    for (size_t i = 0; i < sizeof activations / sizeof activations[0]; i++) {
        if (strcmp(activations[i].name, name) == 0)
            return activations[i].fn;
    }
    return NULL;
}
