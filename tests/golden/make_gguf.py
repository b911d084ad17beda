#!/usr/bin/env python3
"""Fixtures for the block types of GGUF files, computed by the reference package.

Usage: make_gguf.py [DIRECTORY]      needs gguf, numpy, safetensors

blocks.safetensors: for every type "<type>.bytes", random blocks, and "<type>.values", what
gguf.quants makes of them; "input" and, for the types whose quantizer the package has,
"<type>.quantized".
"""
import pathlib
import sys

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES
from gguf.constants import GGMLQuantizationType as Type
from safetensors.numpy import save_file

# Where the half-precision scales of a block lie: random bytes there would be NaN or enormous.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0], "MXFP4": [],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_XS": [0],
    "TQ1_0": [52], "TQ2_0": [64],
}
QUANTIZERS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4", "TQ1_0", "TQ2_0"]


def inputs(rng):
    """Rows of 256: normal, tiny, large, constant, zero, one outlier, half-way points."""
    rows = [
        rng.normal(size=256), rng.normal(size=256) * 1e-4, rng.normal(size=256) * 300,
        np.full(256, 0.37), np.zeros(256), np.where(np.arange(256) % 97 == 5, -9.0, 0.01),
        np.arange(256) % 16 - 7.5, np.abs(rng.normal(size=256)) + 2,
    ]
    return np.stack(rows).astype(np.float32)


def main():
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent) / "gguf"
    target.mkdir(exist_ok=True)
    rng = np.random.default_rng(7)
    values = inputs(rng)
    tensors = {"input": values}
    for name, halves in HALVES.items():
        kind = Type[name]
        elements, size = GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, size=(256 // elements * 2, size), dtype=np.uint8)
        for at in halves:
            scales = rng.normal(size=len(blocks)).astype(np.float16)
            blocks[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)
        if name == "MXFP4":
            blocks[:, 0] = np.linspace(0, 254, len(blocks)).astype(np.uint8)
        tensors[name.lower() + ".bytes"] = blocks
        tensors[name.lower() + ".values"] = gguf.quants.dequantize(blocks, kind).astype(np.float32)
        if name in QUANTIZERS:
            tensors[name.lower() + ".quantized"] = gguf.quants.quantize(values, kind)
    save_file(tensors, target / "blocks.safetensors")


if __name__ == "__main__":
    main()
