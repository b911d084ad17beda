#!/usr/bin/env python3
"""Writes ops.safetensors: inputs, results and gradients of recurrent layers, convolutions, pooling,
batch norm and reductions as PyTorch computes them. test_ops.c repeats the computations.

    make_ops.py ops.safetensors          (made with PyTorch 2.13)

Names: CASE.NAME for an input, CASE.y for the result, CASE.dy for the gradient that arrives at it,
CASE.d_NAME for the gradient of an input, other results by their own name.
"""
import sys

import torch
from safetensors.torch import save_file

torch.manual_seed(7)
out = {}


def case(name, inputs, compute, constants=()):
    leaves = {k: v.detach().clone().requires_grad_(k not in constants) for k, v in inputs.items()}
    y, others = compute(leaves)
    dy = torch.randn_like(y)
    y.backward(dy)
    out.update({f"{name}.{k}": v.detach() for k, v in leaves.items()})
    out.update({f"{name}.{k}": v.detach() for k, v in others.items()})
    out.update({f"{name}.y": y.detach(), f"{name}.dy": dy})
    out.update({f"{name}.d_{k}": v.grad for k, v in leaves.items() if v.grad is not None})


def recurrent(kind, steps, rows, width, hidden):
    module = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](width, hidden)
    inputs = {"x": torch.randn(steps, rows, width), "w_input": module.weight_ih_l0,
              "w_hidden": module.weight_hh_l0, "b_input": module.bias_ih_l0,
              "b_hidden": module.bias_hh_l0, "h0": torch.randn(rows, hidden)}
    if kind == "lstm":
        inputs["c0"] = torch.randn(rows, hidden)

    def compute(leaves):
        names = {"weight_ih_l0": leaves["w_input"], "weight_hh_l0": leaves["w_hidden"],
                 "bias_ih_l0": leaves["b_input"], "bias_hh_l0": leaves["b_hidden"]}
        state = leaves["h0"][None]
        if kind == "lstm":
            state = (state, leaves["c0"][None])
        y, last = torch.func.functional_call(module, names, (leaves["x"], state))
        if kind == "lstm":
            return y, {"h": last[0][0], "c": last[1][0]}
        return y, {"h": last[0]}

    case(kind, inputs, compute)


def convolution(name, rows, channels, length, filters, width, causal, **options):
    groups = options.get("groups", 1)

    def compute(leaves):
        x = leaves["x"]
        if causal:
            x = torch.nn.functional.pad(x, (options["dilation"] * (width - 1), 0))
        return torch.nn.functional.conv1d(x, leaves["weight"], leaves["bias"], **options), {}

    case(name, {"x": torch.randn(rows, channels, length),
                "weight": torch.randn(filters, channels // groups, width),
                "bias": torch.randn(filters)}, compute)


def batch_norm(name, shape, training):
    inputs = {"x": torch.randn(shape) * 2 + 1, "weight": torch.rand(shape[1]) + 0.5,
              "bias": torch.randn(shape[1])}
    mean, variance = torch.randn(shape[1]), torch.rand(shape[1]) + 0.5
    out[f"{name}.mean_before"], out[f"{name}.var_before"] = mean.clone(), variance.clone()

    def compute(leaves):
        y = torch.nn.functional.batch_norm(leaves["x"], mean, variance, leaves["weight"],
                                           leaves["bias"], training, 0.1, 1e-5)
        return y, {"mean_after": mean.clone(), "var_after": variance.clone()}

    case(name, inputs, compute)


recurrent("rnn", 5, 3, 6, 20)
recurrent("lstm", 5, 3, 6, 20)
recurrent("gru", 5, 3, 6, 20)
convolution("conv_causal", 2, 4, 12, 6, 2, True, dilation=4)
convolution("conv_grouped", 2, 4, 11, 6, 3, False, stride=2, padding=2, dilation=2, groups=2)
convolution("conv_one", 2, 4, 7, 5, 1, False)
F = torch.nn.functional
tied = torch.randint(0, 4, (2, 3, 9)).float()
case("max_pool1d", {"x": tied}, lambda l: (F.max_pool1d(l["x"], 3, 2), {}))
case("avg_pool1d", {"x": torch.randn(2, 3, 9)}, lambda l: (F.avg_pool1d(l["x"], 4, 3), {}))
case("max_pool2d", {"x": torch.randint(0, 5, (2, 2, 7, 8)).float()},
     lambda l: (F.max_pool2d(l["x"], (2, 3), (2, 1)), {}))
case("avg_pool2d", {"x": torch.randn(2, 2, 7, 8)},
     lambda l: (F.avg_pool2d(l["x"], (3, 2), (2, 2)), {}))
batch_norm("batch_norm_train", (4, 3, 5), True)
batch_norm("batch_norm_eval", (4, 3, 5), False)
case("max", {"x": tied}, lambda l: (l["x"].amax((0, 2)), {}))
case("variance", {"x": torch.randn(3, 4, 5)}, lambda l: (l["x"].var((0, 2), correction=1), {}))
index = torch.randint(0, 4, (2, 6, 5))
out["gather.index"] = index.to(torch.int32)
out["scatter_add.index"] = index
case("gather", {"x": torch.randn(3, 4, 5)}, lambda l: (l["x"].gather(1, index), {}))
case("scatter_add", {"x": torch.randn(3, 4, 5), "source": torch.randn(2, 6, 5)},
     lambda l: (l["x"].scatter_add(1, index, l["source"]), {}))
save_file({k: v.contiguous() for k, v in out.items()}, sys.argv[1])
