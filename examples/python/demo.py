#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train a small GPT on a text and let it write: the whole way in one page of Python.

    python3 examples/python/demo.py BOOK.txt [--steps N] [--out DIR]
"""
import argparse
import math
import sys

import libllm


def main():
    parser = argparse.ArgumentParser(description="Train a small GPT on a text and let it write.")
    parser.add_argument("file", help="UTF-8 text of some hundred kilobytes")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--vocab-size", type=int, default=1024)
    parser.add_argument("--out", help="save the model here")
    arguments = parser.parse_args()

    print(f"libllm {libllm.version()}, {libllm.Context.default().description}")
    tokenizer = libllm.Tokenizer.train([arguments.file], vocab_size=arguments.vocab_size)
    dataset = libllm.Dataset.from_files(tokenizer, [arguments.file])
    model = libllm.Model.new(vocab_size=tokenizer.vocab_size, n_positions=128, n_embd=128, n_layer=4,
                             n_head=4, bos_token_id=None, eos_token_id=None)
    print(f"{model.parameters:,} parameters, {dataset.tokens():,} tokens to learn from")

    def show(progress):
        if progress.step % 50 == 0 or progress.step == progress.steps:
            print(f"step {progress.step}  loss {progress.loss:.3f}  "
                  f"{progress.tokens_per_second:.0f} tokens/s", flush=True)

    best = libllm.train(model, dataset, on_step=show, steps=arguments.steps, learning_rate=2e-3,
                        warmup_steps=arguments.steps // 20, eval_interval=arguments.steps // 2)
    print(f"validation loss {best:.3f}, perplexity {math.exp(best):.1f}\n")

    def stream(text, _id, _logprob):
        sys.stdout.write(text)
        sys.stdout.flush()

    libllm.generate(model, tokenizer, "The ", on_token=stream, temperature=0.8, max_tokens=100)
    print()
    if arguments.out:
        model.save(arguments.out)
        tokenizer.save(f"{arguments.out}/tokenizer.json")


if __name__ == "__main__":
    try:
        main()
    except libllm.Error as error:
        sys.exit(f"demo.py: {error}")
