#!/usr/bin/env python3
"""Greedy generation against transformers' generate() on the same random weights, in turns.

    generate.py path/to/bench_generate [repetitions] [model ...]

Prints one JSON line per model and thread count: best times of both and the ratio. Needs torch and transformers.
"""
import json
import subprocess
import sys
import tempfile
import time

import torch
import transformers

CASES = {"124m": (512, 32, 50257), "nano": (128, 64, 65), "char": (32, 16, 65), "tiny": (32, 16, 65),
         "llama": (512, 32, 49152), "mixtral": (512, 32, 32000)}


def peer(model, ids, tokens):
    """Seconds of the prompt alone and of each further token, as generate() spends them."""
    options = dict(do_sample=False, pad_token_id=0, eos_token_id=None, use_cache=True)
    with torch.inference_mode():
        start = time.perf_counter()
        model.generate(ids, max_new_tokens=1, **options)
        middle = time.perf_counter()
        model.generate(ids, max_new_tokens=1 + tokens, **options)
        end = time.perf_counter()
    return middle - start, (end - middle - (middle - start)) / tokens


def main():
    program = sys.argv[1]
    repetitions = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    for name in sys.argv[3:] or CASES:
        prompt, tokens, vocabulary = CASES[name]
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run([program, "save", directory, name], check=True)
            model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
        ids = torch.tensor([[(i * 7919 + 13) % vocabulary for i in range(prompt)]])
        ours = subprocess.Popen([program, "-", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            rows = []
            for _ in range(repetitions):
                ours.stdin.write(f"{threads} {prompt} {tokens}\n")
                ours.stdin.flush()
                mine = json.loads(ours.stdout.readline())
                first, each = peer(model, ids, tokens)
                rows.append((mine["prefill_ms"], mine["decode_ms"], 1e3 * first, 1e3 * each))
            prefill, decode, peer_prefill, peer_decode = (min(column) for column in zip(*rows))
            print(json.dumps({
                "bench": "generate_vs_transformers", "model": name, "threads": threads,
                "prompt": prompt, "tokens": tokens, "prefill_ms": round(prefill, 3),
                "decode_ms": round(decode, 4), "torch_prefill_ms": round(peer_prefill, 3),
                "torch_decode_ms": round(peer_decode, 4),
                "prefill_speedup": round(peer_prefill / prefill, 2),
                "decode_speedup": round(peer_decode / decode, 2)}), flush=True)
        ours.stdin.close()
        ours.wait()


main()
