#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Training GPTs of the same shape with libllm and with PyTorch, in turns.

    train_gpt.py path/to/bench_train [--threads 1,2] [--repeat 3] [--configs cpu,char12,...]

PyTorch runs a model in the style of nanoGPT in f32: F.scaled_dot_product_attention, fused GELU,
fused AdamW where it has one, clipping at 1. Each run is a process of its own, so that peak memory is
its own. Prints one JSON line per case and a table: medians of tokens per second by the wall clock,
processor time per step (fair on a busy machine, for one thread), peak memory.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

# name: (bench_train's config, layers, heads, width, block, batch, vocabulary, steps)
CASES = {
    "cpu": ("cpu", 4, 4, 128, 64, 12, 65, 60),
    "char12": ("char", 6, 6, 384, 256, 12, 65, 4),
    "char64": ("char", 6, 6, 384, 256, 64, 65, 2),
    "gpt2-124m": ("gpt2-124m", 12, 12, 768, 256, 4, 50257, 2),
}


def run_torch(name, threads):
    import torch
    from torch import nn
    from torch.nn import functional as F

    _, layers, heads, width, block, batch, vocabulary, steps = CASES[name]
    torch.set_num_threads(threads)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.c_fc, self.c_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2)
                       for t in self.c_attn(self.ln_1(x)).split(width, dim=-1))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.c_proj(y.transpose(1, 2).flatten(2))
            return x + self.c_out(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(block, width)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.ln_f = nn.LayerNorm(width)

        def forward(self, ids, targets):
            x = self.wte(ids) + self.wpe.weight[:ids.shape[1]]
            for layer in self.blocks:
                x = layer(x)
            logits = F.linear(self.ln_f(x), self.wte.weight)
            return F.cross_entropy(logits.view(-1, vocabulary), targets.view(-1))

    torch.manual_seed(1)
    model = GPT()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.02)
    try:
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
    except (RuntimeError, TypeError):
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    data = torch.randint(vocabulary, (1 << 20,))
    for step in range(steps + 1):
        if step == 1:
            wall, busy = time.perf_counter(), time.process_time()
        starts = torch.randint(len(data) - block, (batch,))
        ids = torch.stack([data[s:s + block] for s in starts])
        targets = torch.stack([data[s + 1:s + block + 1] for s in starts])
        loss = model(ids, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    print(json.dumps({"tokens_per_second": steps * batch * block / wall,
                      "cpu_ms_per_step": 1e3 * busy / steps,
                      "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def run_case(bench, name, threads, repeat):
    config, _, _, _, _, batch, _, steps = CASES[name]
    commands = {
        "libllm": [bench, config, "--threads", str(threads), "--steps", str(steps), "--warmup", "1",
                   "--batch", str(batch)],
        "torch": [sys.executable, __file__, "--torch", name, "--threads", str(threads)],
    }
    found = {who: [] for who in commands}
    for _ in range(repeat):
        for who, command in commands.items():
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            found[who].append(json.loads(run.stdout))
    row = {"case": name, "threads": threads, "repeat": repeat}
    for who, runs in found.items():
        for key in ("tokens_per_second", "cpu_ms_per_step", "peak_rss_mib"):
            row[f"{who}_{key}"] = round(statistics.median(run[key] for run in runs), 2)
    row["speed_ratio"] = round(row["libllm_tokens_per_second"] / row["torch_tokens_per_second"], 3)
    row["cpu_ratio"] = round(row["torch_cpu_ms_per_step"] / row["libllm_cpu_ms_per_step"], 3)
    row["memory_ratio"] = round(row["libllm_peak_rss_mib"] / row["torch_peak_rss_mib"], 3)
    return row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench", nargs="?")
    parser.add_argument("--torch")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--configs", default=",".join(CASES))
    arguments = parser.parse_args()
    if arguments.torch:
        run_torch(arguments.torch, int(arguments.threads))
        return
    rows = []
    for name in arguments.configs.split(","):
        for threads in map(int, arguments.threads.split(",")):
            rows.append(run_case(arguments.bench, name, threads, arguments.repeat))
            print(json.dumps(rows[-1]), flush=True)
    print("\n| case | threads | libllm tok/s | torch tok/s | ratio | CPU ratio | libllm MiB | "
          "torch MiB | ratio |\n|---|---|---|---|---|---|---|---|---|")
    for r in rows:
        print(f"| {r['case']} | {r['threads']} | {r['libllm_tokens_per_second']:.0f} | "
              f"{r['torch_tokens_per_second']:.0f} | {r['speed_ratio']:.2f} | {r['cpu_ratio']:.2f} | "
              f"{r['libllm_peak_rss_mib']:.0f} | {r['torch_peak_rss_mib']:.0f} | "
              f"{r['memory_ratio']:.2f} |")


if __name__ == "__main__":
    main()
