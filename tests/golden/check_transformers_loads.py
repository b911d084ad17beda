#!/usr/bin/env python3
"""Models cross the border both ways: what libllm saves, transformers loads and agrees with; what
transformers saves (f32, f16, bf16, in shards), libllm loads and agrees with.

Usage: check_transformers_loads.py LIBRARY. Needs torch and transformers; LLM_TEST_PYTHON may name an
interpreter that has them. Without them the check is skipped (exit status 77).
"""
import ctypes
import json
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel
except ImportError:
    other = os.environ.get("LLM_TEST_PYTHON")
    if other and os.path.realpath(other) != os.path.realpath(sys.executable):
        sys.exit(subprocess.run([other, *sys.argv]).returncode)
    print("SKIPPED: torch and transformers are not installed (LLM_TEST_PYTHON names no other Python)")
    sys.exit(77)

VOCABULARY = 61
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 53, 58, 60, 0]
CONFIGS = [
    {"n_layer": 2, "n_head": 3, "n_embd": 18},
    {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_inner": 20, "activation_function": "gelu",
     "tie_word_embeddings": False, "scale_attn_by_inverse_layer_idx": True},
]
COMMON = {"model_type": "gpt2", "vocab_size": VOCABULARY, "n_positions": 24, "bos_token_id": 0,
          "eos_token_id": 0, "initializer_range": 0.2}


class SaveOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("progress", ctypes.c_void_p),
                ("user", ctypes.c_void_p), ("dtype", ctypes.c_int32), ("reserved", ctypes.c_int32)]


class Library:
    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        self.lib.llm_last_error.restype = ctypes.c_char_p
        self.context = ctypes.c_void_p()
        self.call("llm_context_new", ctypes.byref(self.context), None)

    def call(self, name, *args):
        if getattr(self.lib, name)(*args) != 0:
            raise RuntimeError(f"{name}: {self.lib.llm_last_error().decode()}")

    def new(self, config):
        model = ctypes.c_void_p()
        text = json.dumps(config).encode()
        self.call("llm_model_new", ctypes.byref(model), self.context, text,
                  ctypes.c_size_t(len(text)), None)
        return model

    def load(self, folder):
        model = ctypes.c_void_p()
        self.call("llm_model_load", ctypes.byref(model), self.context, str(folder).encode(), None)
        return model

    def save(self, model, folder, dtype):
        options = SaveOptions()
        self.call("llm_model_save_options_init", ctypes.byref(options),
                  ctypes.c_size_t(ctypes.sizeof(options)))
        options.dtype = dtype
        self.call("llm_model_save", model, str(folder).encode(), ctypes.byref(options))

    def logits(self, model):
        ids = (ctypes.c_int32 * len(IDS))(*IDS)
        out = (ctypes.c_float * (len(IDS) * VOCABULARY))()
        self.call("llm_model_logits", out, ctypes.c_size_t(len(out)), None, model, ids,
                  ctypes.c_size_t(len(IDS)))
        return torch.tensor(list(out)).reshape(len(IDS), VOCABULARY)

    def free(self, model):
        self.lib.llm_model_free(model)


def reference_logits(model):
    with torch.no_grad():
        return model.float().eval()(torch.tensor([IDS])).logits[0]


def compare(what, ours, theirs, tolerance):
    error = (ours - theirs).abs().max().item()
    print(f"{what}: largest difference {error:.2g}")
    if not error < tolerance:
        sys.exit(f"{what}: logits differ by {error}, more than {tolerance}")


def main(path):
    library = Library(path)
    with tempfile.TemporaryDirectory() as root:
        for i, options in enumerate(CONFIGS):
            for dtype, name in [(0, "f32"), (1, "f16"), (2, "bf16")]:
                folder = pathlib.Path(root) / f"ours-{i}-{name}"
                model = library.new({**COMMON, **options})
                library.save(model, folder, dtype)
                again = library.load(folder)
                theirs, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
                unexpected = {k: v for k, v in info.items() if v}
                if unexpected:
                    sys.exit(f"transformers is not content: {unexpected}")
                compare(f"saved by libllm, {i}, {name}", library.logits(again),
                        reference_logits(theirs), 1e-4)
                library.free(model)
                library.free(again)
            for dtype in [torch.float32, torch.float16, torch.bfloat16]:
                folder = pathlib.Path(root) / f"theirs-{i}-{dtype}"
                theirs = GPT2LMHeadModel(GPT2Config(**{**COMMON, **options})).to(dtype)
                theirs.save_pretrained(folder, max_shard_size="8KB")
                if not (folder / "model.safetensors.index.json").exists():
                    sys.exit("the model was to be saved in shards")
                model = library.load(folder)
                compare(f"saved by transformers, {i}, {dtype}", library.logits(model),
                        reference_logits(theirs), 1e-4)
                library.free(model)


if __name__ == "__main__":
    main(sys.argv[1])
