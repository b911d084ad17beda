#!/usr/bin/env python3
"""Attention, forward + backward, against PyTorch's scaled_dot_product_attention, in turns.

    attention.py path/to/bench_attention [repetitions]

Prints one JSON line per case and thread count: best times of both and the ratio.
"""
import json
import subprocess
import sys
import time

import torch

CASES = [  # segments, tokens, heads, head_dim
    (12, 64, 4, 32), (64, 256, 6, 64), (4, 256, 12, 64),
    (1, 1024, 12, 64), (1, 4096, 12, 64), (1, 8192, 12, 64),
]


def torch_run(q, k, v, g, clock):
    start = clock()
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    middle = clock()
    out.backward(g)
    end = clock()
    q.grad = k.grad = v.grad = None
    return middle - start, end - middle


def main():
    ours = subprocess.Popen([sys.argv[1], "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    repetitions = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    for threads in (1, 2):
        torch.set_num_threads(threads)
        # One thread: by the processor time it took, which others on the machine disturb less.
        clock = time.process_time if threads == 1 else time.perf_counter
        for segments, tokens, heads, dim in CASES:
            shape = (segments, heads, tokens, dim)
            q, k, v = (torch.randn(shape, requires_grad=True) for _ in range(3))
            g = torch.randn(shape)
            rows = []
            for _ in range(repetitions * (10 if segments * tokens < 2000 else 1)):
                ours.stdin.write(f"{segments} {tokens} {heads} {heads} {dim} 1 {threads}\n")
                ours.stdin.flush()
                mine = json.loads(ours.stdout.readline())
                time.sleep(0.002)
                rows.append((mine["forward_ms"], mine["backward_ms"],
                             *(1e3 * t for t in torch_run(q, k, v, g, clock))))
                time.sleep(0.002)
            forward, backward, torch_forward, torch_backward = (min(c) for c in zip(*rows))
            print(json.dumps({
                "bench": "attention_vs_torch", "segments": segments, "tokens": tokens,
                "heads": heads, "head_dim": dim, "threads": threads,
                "forward_ms": round(forward, 3), "backward_ms": round(backward, 3),
                "torch_forward_ms": round(torch_forward, 3),
                "torch_backward_ms": round(torch_backward, 3),
                "speedup": round((torch_forward + torch_backward) / (forward + backward), 2)}),
                flush=True)


main()
