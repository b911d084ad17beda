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
    from transformers import AutoConfig, AutoModelForCausalLM
except ImportError:
    other = os.environ.get("LLM_TEST_PYTHON")
    if other and os.path.realpath(other) != os.path.realpath(sys.executable):
        sys.exit(subprocess.run([other, *sys.argv]).returncode)
    print("SKIPPED: torch and transformers are not installed (LLM_TEST_PYTHON names no other Python)")
    sys.exit(77)

VOCABULARY = 61
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 53, 58, 60, 0]
GPT2 = {"model_type": "gpt2", "n_positions": 24}
DECODER = {"hidden_size": 24, "intermediate_size": 36, "num_hidden_layers": 2,
           "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 24}
SMALL_HEADS = {**DECODER, "head_dim": 8}
PLAIN = {key: value for key, value in DECODER.items() if key != "num_key_value_heads"}
CONFIGS = [
    {**GPT2, "n_layer": 2, "n_head": 3, "n_embd": 18},
    {**GPT2, "n_layer": 1, "n_head": 2, "n_embd": 16, "n_inner": 20, "activation_function": "gelu",
     "tie_word_embeddings": False, "scale_attn_by_inverse_layer_idx": True},
    {**DECODER, "model_type": "llama", "rope_theta": 500.0, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 6}},
    {**DECODER, "model_type": "mistral", "sliding_window": 5},
    {**DECODER, "model_type": "mixtral", "num_local_experts": 4},
    {**DECODER, "model_type": "qwen2", "use_sliding_window": True, "sliding_window": 4,
     "max_window_layers": 1},
    {**SMALL_HEADS, "model_type": "qwen3", "tie_word_embeddings": True},
    {**SMALL_HEADS, "model_type": "gemma"},
    {**SMALL_HEADS, "model_type": "gemma2", "query_pre_attn_scalar": 12, "sliding_window": 5},
    {**SMALL_HEADS, "model_type": "gemma3_text", "query_pre_attn_scalar": 12, "sliding_window": 5,
     "rope_theta": 1000.0, "rope_local_base_freq": 100.0, "sliding_window_pattern": 2},
    {**DECODER, "model_type": "phi3", "sliding_window": 7},
    {**PLAIN, "model_type": "phi", "hidden_size": 32, "partial_rotary_factor": 0.5},
    {**PLAIN, "model_type": "gpt_neox", "hidden_size": 32, "rotary_pct": 0.5},
    {**PLAIN, "model_type": "falcon"},
    {**PLAIN, "model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": 2},
]
COMMON = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None,
          "initializer_range": 0.2}


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
                theirs, info = AutoModelForCausalLM.from_pretrained(
                    folder, output_loading_info=True, dtype=torch.float32,
                    attn_implementation="eager")
                unexpected = {k: v for k, v in info.items() if v}
                if unexpected:
                    sys.exit(f"transformers is not content: {unexpected}")
                compare(f"{options['model_type']} saved by libllm, {name}", library.logits(again),
                        reference_logits(theirs), 1e-4)
                library.free(model)
                library.free(again)
            for dtype in [torch.float32, torch.float16, torch.bfloat16]:
                folder = pathlib.Path(root) / f"theirs-{i}-{dtype}"
                config = AutoConfig.for_model(**{**COMMON, **options})
                theirs = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
                theirs.to(dtype).save_pretrained(folder, max_shard_size="8KB")
                theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                              attn_implementation="eager")
                if not (folder / "model.safetensors.index.json").exists():
                    sys.exit("the model was to be saved in shards")
                model = library.load(folder)
                compare(f"{options['model_type']} saved by transformers, {dtype}", library.logits(model),
                        reference_logits(theirs), 1e-4)
                library.free(model)


if __name__ == "__main__":
    main(sys.argv[1])
