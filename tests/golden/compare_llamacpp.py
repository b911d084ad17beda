#!/usr/bin/env python3
"""GGUF files that libllm writes, read by llama.cpp, run by hand: logits and perplexity of the same
ids here and there, and the tensors after a conversion back.

Usage: LIBLLM=build/lib/libllm.so compare_llamacpp.py [--type f32] [--text FILE]
           [--quantize 15,...] [VARIANT... | FILE.gguf... | DIRECTORY...]
With --text, models with a tokenizer are converted with it; the ids of the file's lines must be the same
there, and the perplexity is that of the text. With --quantize, llama.cpp quantizes the file written here
to these types (numbers of llama_ftype), and the result is read by both.
Needs torch, transformers, llama-cpp-python, numpy, safetensors. Exits with 1 when a perplexity
differs by more than 0.1 % (block types: llama.cpp rounds activations to 8 bits too, 2 %).
"""
import argparse
import ctypes
import pathlib
import sys
import tempfile

import llama_cpp
import numpy as np
import torch
from safetensors.numpy import load_file

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here.parents[1] / "examples" / "python")]
import libllm  # noqa: E402
from decoder_variants import VARIANTS, make_model  # noqa: E402

# What a GGUF file can say, and llama.cpp computes: whole windows, published scales and patterns.
ROPE = dict(full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1000000.0),
            sliding_attention=dict(rope_type="default", rope_theta=10000.0))
CHANGES = {
    "llama-bias": dict(hidden_act="silu"),
    "llama-llama3": dict(rope_parameters=dict(
        rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=8192)),
    "mistral": dict(sliding_window=256), "qwen2": dict(use_sliding_window=False),
    "gemma2": dict(query_pre_attn_scalar=8, sliding_window=64),
    "gemma3": dict(query_pre_attn_scalar=8, sliding_window=64, num_hidden_layers=6, layer_types=None,
                   rope_parameters=ROPE),
    "phi3": dict(sliding_window=256),
    "phi3-long": dict(sliding_window=512, max_position_embeddings=512,
                      original_max_position_embeddings=256, rope_parameters=dict(
        rope_type="longrope", rope_theta=10000.0, original_max_position_embeddings=256,
        short_factor=[1 + i / 32 for i in range(32)], long_factor=[2 + i / 8 for i in range(32)])),
    "gpt-neox-serial": dict(attention_bias=True, tie_word_embeddings=False),
    "falcon-40b": dict(bias=False), "falcon-rw": dict(num_attention_heads=8),
    "mixtral": dict(intermediate_size=512),
}

REFUSED = {"llama-dynamic": "rope_type", "falcon-rw": "alibi"}  # the message names the field

TOKENS, VOCABULARY = 96, 512
SIZES = dict(vocab_size=VOCABULARY, hidden_size=256, intermediate_size=512, num_hidden_layers=4,
             max_position_embeddings=256)


def perplexity(logits, ids):
    rows = logits[:-1].astype(np.float64)
    peak = rows.max(axis=1)
    total = np.log(np.exp(rows - peak[:, None]).sum(axis=1)) + peak
    return float(np.exp(np.mean(total - rows[np.arange(len(ids) - 1), ids[1:]])))


def compare_text(path, label, text, tolerance):
    """Ids line by line; then the perplexity of as many ids as fit."""
    tokenizer = libllm.Tokenizer.load(path)
    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    ids, different = [], 0
    for line in text.splitlines():
        mine = tokenizer.encode(line)
        other = model.tokenize(line.encode(), add_bos=True, special=False)
        different += mine != other
        ids += mine
    model.close()
    print(f"{label:16} {different} of {len(text.splitlines())} lines have other ids there")
    return compare_ids(path, label, ids[:TOKENS], tolerance) and not different


def theirs(path, ids):
    model = llama_cpp.Llama(str(path), n_ctx=128, n_batch=128, n_ubatch=128, n_threads=1, logits_all=True,
                            verbose=False)
    model.eval(ids)
    logits = np.array(model.scores[: len(ids)])
    model.close()
    return logits


def compare_file(path, label, tolerance):
    mine = libllm.Model.load(str(path))
    vocabulary = libllm._lib.llm_model_vocabulary
    vocabulary.restype = ctypes.c_int64
    ids = np.random.default_rng(5).integers(3, int(vocabulary(mine)), TOKENS).tolist()
    return compare_ids(path, label, ids, tolerance)


def compare_ids(path, label, ids, tolerance):
    mine = libllm.Model.load(str(path))
    a = np.array(mine.logits(ids)).reshape(len(ids), -1)
    b = theirs(path, ids)
    mine_perplexity, their_perplexity = perplexity(a, ids), perplexity(b, ids)
    relative = abs(mine_perplexity / their_perplexity - 1)
    worst = np.abs(a - b).max() / np.abs(b).max()
    print(f"{label:16} perplexity {mine_perplexity:10.3f} here, {their_perplexity:10.3f} there "
          f"({100 * relative:.4f} %), logits differ by {worst:.2e} of the largest")
    return relative <= tolerance


def same_tensors(first, second):
    a, b = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    prefix = "transformer."
    worst = 0.0
    for name, values in a.items():
        other = b.get(name, b.get(prefix + name))
        if other is None and name == "lm_head.weight":
            continue
        if other is None or other.shape != values.shape:
            print("   ", name, "is missing" if other is None else "has another shape")
            return False
        worst = max(worst, float(np.abs(values - other).max()))
    if worst:
        print(f"    tensors come back {worst:.1e} off")
    return worst < 1e-6  # norms of Gemma, stored plus one


def compare_quantized(path, label, types):
    good = True
    for number in types:
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype, parameters.nthread = number, 1
        target = path.parent / f"q{number}.gguf"
        if llama_cpp.llama_model_quantize(str(path).encode(), str(target).encode(),
                                          ctypes.byref(parameters)):
            print(f"{label:16} type {number}: llama.cpp cannot quantize the file")
            return False
        good = compare_file(target, f"{label} type {number}", 2e-2) and good
    return good


def compare_variant(name, kind, tolerance, types):
    if name == "gpt2":
        from transformers import GPT2Config, GPT2LMHeadModel
        torch.manual_seed(1)
        model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=256, n_layer=4, n_head=4,
                                           n_positions=256, initializer_range=0.05)).eval()
    else:
        model = make_model(name, deviation=0.05, **{**SIZES, **CHANGES.get(name, {})})
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model.float().save_pretrained(folder / "a")
        try:
            libllm.convert(folder / "a", folder / "b.gguf", kind, skip_tokenizer=1)
            libllm.convert(folder / "b.gguf", folder / "c", "f32", skip_tokenizer=1)
        except libllm.Error as error:
            print(f"{name:16} {error}")
            return name in REFUSED and REFUSED[name] in str(error)
        fits = compare_file(folder / "b.gguf", name, tolerance)
        fits = compare_quantized(folder / "b.gguf", name, types) and fits
        return fits and (kind not in (None, "f32") or same_tensors(folder / "a", folder / "c"))


def compare_directory(directory, kind, text, tolerance):
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "model.gguf"
        libllm.convert(directory, target, kind)
        return compare_text(target, directory.name, text, tolerance)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--text")
    parser.add_argument("--type", default=None)
    parser.add_argument("--quantize", default="")
    parser.add_argument("models", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    plain = arguments.type in (None, "f32", "f16", "bf16")
    tolerance = 1e-3 if plain else 2e-2
    types = [int(number) for number in arguments.quantize.split(",") if number]
    good = True
    for name in arguments.models or ["gpt2", *VARIANTS]:
        text = pathlib.Path(arguments.text).read_text() if arguments.text else None
        if pathlib.Path(name).is_dir():
            good = compare_directory(pathlib.Path(name), arguments.type, text, tolerance) and good
        elif name.endswith(".gguf") and text:
            good = compare_text(name, pathlib.Path(name).name, text, tolerance) and good
        elif name.endswith(".gguf"):
            good = compare_file(pathlib.Path(name), pathlib.Path(name).name, tolerance) and good
        else:
            good = compare_variant(name, arguments.type, tolerance, types) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
