#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains the same GPT with libllm and with PyTorch: same initial weights, same data order.

Prints the losses of the first steps side by side and fails when two differ by more than 1e-3.
Usage: train_curve.py ROOT LIBRARY [STEPS] [accumulation]. Needs torch and cffi.
"""
import math
import pathlib
import subprocess
import sys

try:
    import cffi
    import numpy
    import torch
    from torch.nn import functional as F
except ImportError as missing:
    print("SKIPPED:", missing)
    sys.exit(77)

LAYERS, HEADS, DIM, BLOCK, BATCH, VOCAB = 4, 4, 128, 64, 12, 65


def load(root, library):
    text = subprocess.run(["cc", "-E", "-P", "-DLLM_API=", f"-I{root}/include",
                           f"{root}/include/llm.h"], capture_output=True, text=True,
                          check=True).stdout
    ffi = cffi.FFI()
    ffi.cdef(text[text.index("typedef int32_t llm_status;"):])
    return ffi, ffi.dlopen(library)


class Ours:
    def __init__(self, root, library, ids, steps, accumulation):
        self.ffi, self.lib = load(root, library)
        ffi, lib = self.ffi, self.lib
        self.context = self.out("llm_context **", lib.llm_context_new, ffi.NULL)
        config = (f'{{"model_type":"gpt2","n_layer":{LAYERS},"n_head":{HEADS},"n_embd":{DIM},'
                  f'"n_positions":{BLOCK},"vocab_size":{VOCAB},"resid_pdrop":0,"embd_pdrop":0,'
                  f'"attn_pdrop":0}}').encode()
        self.model = self.out("llm_model **", lib.llm_model_new, self.context, config, len(config),
                              ffi.NULL)
        self.dataset = self.out("llm_dataset **", lib.llm_dataset_from_ids, self.context,
                                ffi.cast("int32_t *", ids.ctypes.data), len(ids), VOCAB, -1,
                                ffi.NULL)
        options = ffi.new("llm_trainer_options *")
        self.check(lib.llm_trainer_options_init(options, ffi.sizeof("llm_trainer_options")))
        options.steps, options.batch, options.accumulation = steps, BATCH, accumulation
        options.warmup_steps, options.seed = 10, 7
        self.options = options
        self.trainer = self.out("llm_trainer **", lib.llm_trainer_new, self.model, self.dataset,
                                options)

    def check(self, status):
        if status:
            raise SystemExit(self.ffi.string(self.lib.llm_last_error()).decode())

    def out(self, kind, function, *arguments):
        pointer = self.ffi.new(kind)
        self.check(function(pointer, *arguments))
        return pointer[0]

    def weights(self):
        lib, found = self.lib, {}
        for i in range(lib.llm_model_tensor_count(self.model)):
            tensor = lib.llm_model_tensor(self.model, i)
            shape = [lib.llm_tensor_size(tensor, a) for a in range(lib.llm_tensor_dimensions(tensor))]
            values = numpy.frombuffer(self.ffi.buffer(lib.llm_tensor_data(tensor),
                                                      4 * math.prod(shape)), numpy.float32)
            name = self.ffi.string(lib.llm_model_tensor_name(self.model, i)).decode()
            found[name] = torch.tensor(values.reshape(shape).copy(), requires_grad=True)
        return found

    def order(self, step):
        count = BATCH * self.options.accumulation
        starts = self.ffi.new("int64_t[]", count)
        self.check(self.lib.llm_trainer_order(starts, count, self.trainer, step))
        return list(starts)

    def step(self):
        progress = self.ffi.new("llm_train_progress *")
        self.check(self.lib.llm_trainer_step(self.trainer, progress,
                                             self.ffi.sizeof("llm_train_progress")))
        return progress.loss, progress.gradient_norm, progress.learning_rate


def forward(w, ids, targets):
    x = w["transformer.wte.weight"][ids] + w["transformer.wpe.weight"][:ids.shape[1]]
    for layer in range(LAYERS):
        p = f"transformer.h.{layer}."

        def norm(name, y):
            return F.layer_norm(y, (DIM,), w[p + name + ".weight"], w[p + name + ".bias"], 1e-5)

        def linear(name, y):
            return F.linear(y, w[p + name + ".weight"], w[p + name + ".bias"])

        parts = linear("attn.c_attn", norm("ln_1", x)).split(DIM, dim=-1)
        q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in parts)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + linear("attn.c_proj", y.transpose(1, 2).flatten(2))
        y = F.gelu(linear("mlp.c_fc", norm("ln_2", x)), approximate="tanh")
        x = x + linear("mlp.c_proj", y)
    x = F.layer_norm(x, (DIM,), w["transformer.ln_f.weight"], w["transformer.ln_f.bias"], 1e-5)
    logits = F.linear(x, w["transformer.wte.weight"])
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def main(root, library, steps=100, accumulation=1):
    generator = numpy.random.default_rng(1)
    chain = generator.integers(0, VOCAB, (VOCAB, 4))  # text with something to learn
    ids = numpy.zeros(50000, numpy.int32)
    for i in range(1, len(ids)):
        ids[i] = chain[ids[i - 1], generator.integers(0, 4)]
    ours = Ours(root, library, ids, steps, accumulation)
    weights = ours.weights()
    matrices = [t for t in weights.values() if t.dim() >= 2]
    vectors = [t for t in weights.values() if t.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1},
                                   {"params": vectors, "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.99), eps=1e-8)
    data = torch.tensor(ids.astype(numpy.int64))
    worst = worst_norm = 0.0
    for step in range(steps):
        starts = ours.order(step)
        loss, norm, rate = ours.step()
        x = torch.stack([data[s:s + BLOCK] for s in starts])
        y = torch.stack([data[s + 1:s + BLOCK + 1] for s in starts])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        expected = forward(weights, x, y)
        expected.backward()
        expected_norm = torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0).item()
        optimizer.step()
        worst = max(worst, abs(loss - expected.item()))
        worst_norm = max(worst_norm, abs(norm - expected_norm) / expected_norm)
        if step % 10 == 0 or step + 1 == steps:
            print(f"step {step + 1:4d}  loss {loss:.6f}  torch {expected.item():.6f}  "
                  f"norm {norm:.5f}  torch {expected_norm:.5f}")
    print(f"largest difference in {steps} steps: loss {worst:.2e}, gradient norm {worst_norm:.2e} "
          "(relative)")
    return worst > 1e-3


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])))
