#!/usr/bin/env python3
"""Training step of an LSTM or GRU character model against PyTorch, in turns.

    recurrent.py path/to/bench_recurrent [repetitions]

Embedding, one recurrent layer, output projection, cross-entropy, backward, AdamW. Prints one JSON
line per case and thread count: best times of both, whole step and recurrent layer alone, by the
wall clock and as processor time (which is fair on a busy machine, for one thread).
"""
import json
import subprocess
import sys
import time

import torch

CASES = [  # cell, vocabulary, width, steps, batch
    ("lstm", 65, 256, 64, 32), ("gru", 65, 256, 64, 32),
    ("lstm", 10000, 256, 64, 32), ("gru", 10000, 256, 64, 32),
    ("lstm", 65, 128, 64, 12), ("lstm", 65, 512, 128, 64),
]


def now():
    return 1e3 * time.perf_counter(), 1e3 * time.process_time()


def since(start):
    return tuple(e - s for e, s in zip(now(), start))


class Peer:
    def __init__(self, cell, vocabulary, width, steps, batch):
        self.embedding = torch.nn.Embedding(vocabulary, width)
        self.layer = (torch.nn.LSTM if cell == "lstm" else torch.nn.GRU)(width, width)
        self.output = torch.nn.Linear(width, vocabulary, bias=False)
        parameters = [p for m in (self.embedding, self.layer, self.output) for p in m.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-3)
        self.ids = torch.randint(vocabulary, (steps, batch))
        self.targets = torch.randint(vocabulary, (steps * batch,))

    def step(self):
        start = now()
        y, _ = self.layer(self.embedding(self.ids))
        loss = torch.nn.functional.cross_entropy(self.output(y).flatten(0, 1), self.targets)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return since(start)

    def layer_step(self):
        x = self.embedding(self.ids).detach().requires_grad_()
        start = now()
        y, _ = self.layer(x)
        y.backward(y.detach())
        taken = since(start)
        self.optimizer.zero_grad()
        return taken


def main():
    ours = subprocess.Popen([sys.argv[1], "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    repetitions = int(sys.argv[2]) if len(sys.argv) > 2 else 15
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for case in CASES:
            peer = Peer(*case)
            rows = []
            for _ in range(repetitions):
                ours.stdin.write(" ".join(map(str, case)) + f" {threads}\n")
                ours.stdin.flush()
                mine = json.loads(ours.stdout.readline())
                time.sleep(0.002)
                layer = peer.layer_step()
                rows.append((mine["step_ms"], mine["step_cpu_ms"], mine["layer_ms"],
                             mine["layer_cpu_ms"], *peer.step(), *layer))
                time.sleep(0.002)
            best = [min(c) for c in zip(*rows)]
            names = ("step_ms", "step_cpu_ms", "layer_ms", "layer_cpu_ms", "torch_step_ms",
                     "torch_step_cpu_ms", "torch_layer_ms", "torch_layer_cpu_ms")
            print(json.dumps({
                "bench": "recurrent_vs_torch", **dict(zip(
                    ("cell", "vocabulary", "width", "steps", "batch"), case)), "threads": threads,
                **{n: round(t, 2) for n, t in zip(names, best)},
                "speedup": round(best[4] / best[0], 2),
                "cpu_speedup": round(best[5] / best[1], 2),
                "layer_cpu_speedup": round(best[7] / best[3], 2)}), flush=True)


main()
