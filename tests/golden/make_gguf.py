#!/usr/bin/env python3
"""Fixtures for the block types of GGUF files, computed by the reference package.

Usage: make_gguf.py [DIRECTORY]      needs gguf, numpy, safetensors

blocks.safetensors: for every type "<type>.bytes", random blocks, and "<type>.values", what
gguf.quants makes of them; "input" and, for the types whose quantizer the package has,
"<type>.quantized".

Also the seeds of the fuzz target, ../fuzz/corpus/gguf: files that the package's writer makes.
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


def seed(folder, name, fill, architecture="llama"):
    writer = gguf.GGUFWriter(folder / name, architecture)
    fill(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def every_type(writer):
    for name, value in {"u8": 1, "i8": -1, "u16": 2, "i16": -2, "u32": 3, "i32": -3, "u64": 4,
                        "i64": -4}.items():
        getattr(writer, "add_" + {"u": "uint", "i": "int"}[name[0]] + name[1:])("test." + name, value)
    writer.add_float32("test.f32", 1.5)
    writer.add_float64("test.f64", -2.5)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "text")
    writer.add_array("test.numbers", [1, 2, 3])
    writer.add_array("test.reals", [0.5, 1.5])
    writer.add_array("test.strings", ["a", "", "b"])


def small_llama(writer, kind=None):
    writer.add_context_length(16)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    shapes = {"token_embd": (8, 32), "output_norm": (32,), "blk.0.attn_norm": (32,),
              "blk.0.attn_q": (32, 32), "blk.0.attn_k": (16, 32), "blk.0.attn_v": (16, 32),
              "blk.0.attn_output": (32, 32), "blk.0.ffn_norm": (32,), "blk.0.ffn_gate": (32, 32),
              "blk.0.ffn_up": (32, 32), "blk.0.ffn_down": (32, 32)}
    for name, shape in shapes.items():
        values = np.full(shape, 0.01, np.float32)
        if kind and len(shape) > 1:
            writer.add_tensor(name + ".weight", gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name + ".weight", values)


def one_tensor(writer):
    writer.add_custom_alignment(64)
    writer.add_tensor("t", np.arange(6, dtype=np.float32).reshape(2, 3))


def make_seeds(folder):
    folder.mkdir(parents=True, exist_ok=True)
    seed(folder, "types", every_type)
    seed(folder, "aligned", one_tensor)
    seed(folder, "llama_q4_0", lambda writer: small_llama(writer, Type.Q4_0))
    seed(folder, "split", lambda writer: (writer.add_uint16("split.no", 0),
                                          writer.add_uint16("split.count", 2),
                                          writer.add_int32("split.tensors.count", 1),
                                          one_tensor(writer)))
    (folder / "empty").write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(16))
    (folder / "version_2").write_bytes(b"GGUF" + (2).to_bytes(4, "little") + bytes(16))
    (folder / "huge_counts").write_bytes(b"GGUF" + (3).to_bytes(4, "little") + b"\xff" * 16)


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
    make_seeds(pathlib.Path(__file__).resolve().parents[1] / "fuzz" / "corpus" / "gguf")


if __name__ == "__main__":
    main()
