#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reading a prompt and writing after it with `llm bench` and with llama.cpp, in turns, on the same GGUF files.

    llamacpp.py path/to/llm MODEL.gguf... [--threads 1,2] [--prompt 512] [--write 32] [--repeat 2]

Needs llama-cpp-python. Prints one JSON line per file and thread count: the best rates of both, tokens per
second, and the ratios. Random token ids; one sequence.
"""
import argparse
import json
import re
import subprocess
import time

import llama_cpp


def ours(tool, path, threads, args):
    text = subprocess.run([tool, "bench", path, "--prompt", str(args.prompt), "--write", str(args.write),
                           "--threads", str(threads)], check=True, capture_output=True, text=True).stdout
    return [float(re.search(rf"{word}\s+([\d.]+) tokens/s", text).group(1)) for word in ("reading", "writing")]


def theirs(model, args):
    model.reset()
    begin = time.perf_counter()
    model.eval([5 + i * 7919 % 15000 for i in range(args.prompt)])
    middle = time.perf_counter()
    for i in range(args.write):
        model.eval([100 + i])
    return [args.prompt / (middle - begin), args.write / (time.perf_counter() - middle)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", default="1,2")
    for name, value in (("--prompt", 512), ("--write", 32), ("--repeat", 2)):
        parser.add_argument(name, type=int, default=value)
    args = parser.parse_args()
    for path in args.models:
        for threads in map(int, args.threads.split(",")):
            model = llama_cpp.Llama(path, n_ctx=args.prompt + args.write, n_threads=threads, n_batch=args.prompt,
                                    n_threads_batch=threads, verbose=False)
            best = [[0.0, 0.0], [0.0, 0.0]]
            for _ in range(args.repeat):
                for side, rates in enumerate((ours(args.tool, path, threads, args), theirs(model, args))):
                    best[side] = [max(pair) for pair in zip(best[side], rates)]
            (reading, writing), (reading_peer, writing_peer) = best
            print(json.dumps({"bench": "llamacpp", "file": path.rsplit("/", 1)[-1], "threads": threads,
                              "reading": reading, "llama_cpp_reading": round(reading_peer, 1),
                              "reading_ratio": round(reading / reading_peer, 2), "writing": writing,
                              "llama_cpp_writing": round(writing_peer, 1),
                              "writing_ratio": round(writing / writing_peer, 2)}), flush=True)


if __name__ == "__main__":
    main()
