#!/usr/bin/env python3
"""Makes decoders/*/: small random decoder models with what PyTorch and transformers compute from them.

Each folder holds config.json and model.safetensors (weights rounded to bf16 and stored so), and
golden.safetensors: ids, targets and offsets of five packed sequences, their logits, the mean loss,
and of the gradient of every parameter, in the order of "grad_names" (text, a line each), its size
(root of the mean square) and SAMPLES evenly spaced values. Where cached keys keep the angles they
were turned by (dynamic scaling, LongRoPE), "stepped" holds the logits of the first sequence token by
token. The configurations of some folders are rewritten as transformers 4 had them.

Run with torch, transformers and safetensors installed: make_decoders.py [OUTPUT-FOLDER [VARIANT...]]
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file

from decoder_variants import LENGTHS, VARIANTS, make_model, packed, packed_logits

SAMPLES = 12


def sample(gradient):
    flat = gradient.flatten()
    places = [i * (flat.numel() - 1) // (SAMPLES - 1) for i in range(SAMPLES)]
    return flat[places]


def stepped(model, ids):
    cache, rows = None, []
    for token in ids:
        out = model(token[None, None], past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        rows.append(out.logits[0, -1])
    return torch.stack(rows)


def old_rope(text, name):
    """rope_theta and rope_scaling in place of rope_parameters."""
    rope = text.pop("rope_parameters")
    if name == "gemma3":
        text["rope_theta"] = rope["full_attention"].pop("rope_theta")
        text["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        text["rope_scaling"] = rope["full_attention"]
        return
    theta, part = rope.pop("rope_theta"), rope.pop("partial_rotary_factor", None)
    text["rotary_emb_base" if name.startswith("gpt-neox") else "rope_theta"] = theta
    if part is not None:
        text["rotary_pct" if name.startswith("gpt-neox") else "partial_rotary_factor"] = part
    if rope["rope_type"] == "default":
        text["rope_scaling"] = None
    else:
        rope["type"] = rope.pop("rope_type")
        text["rope_scaling"] = rope


def finish_files(folder, name):
    text = json.loads((folder / "config.json").read_text())
    for key in ("transformers_version", "dtype"):
        text.pop(key, None)
    if name in ("llama-linear", "llama-yarn", "gemma3", "gpt-neox", "phi3-long", "phi"):
        old_rope(text, name)
    tensors = load_file(folder / "model.safetensors")
    if name == "gemma3":  # as in files of the model for text and images
        text.pop("architectures")
        text = {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"],
                "eos_token_id": [2, 5], "text_config": text, "vision_config": {"hidden_size": 8}}
        tensors = {"language_model." + k: v for k, v in tensors.items()}
        tensors["vision_tower.position.weight"] = torch.zeros(2)
    save_file({k: v.bfloat16() for k, v in tensors.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(text, indent=2) + "\n")
    (folder / "generation_config.json").unlink(missing_ok=True)


def make(folder, name):
    model = make_model(name)
    model.save_pretrained(folder)
    finish_files(folder, name)
    ids, targets, offsets = packed(model.config.vocab_size, LENGTHS)
    logits = packed_logits(model, ids, offsets)
    loss = torch.nn.functional.cross_entropy(logits, targets)
    loss.backward()
    golden = {"ids": ids.int(), "targets": targets.int(), "offsets": offsets.int(),
              "logits": logits.detach(), "loss": loss.detach()}
    stored = {}
    for key, parameter in model.named_parameters():
        for part, gradient in file_parts(name, key, parameter.grad):
            stored[part] = gradient
    golden["grad_size"] = torch.stack([g.square().mean().sqrt() for g in stored.values()])
    golden["grad_samples"] = torch.stack([sample(g) for g in stored.values()])
    golden["grad_names"] = torch.tensor(list("\n".join(stored).encode()), dtype=torch.uint8)
    if name in ("llama-dynamic", "phi3-long"):
        with torch.no_grad():
            golden["stepped"] = stepped(make_model(name), ids[:LENGTHS[0]])
    save_file({k: v.contiguous() for k, v in golden.items()}, folder / "golden.safetensors")


def file_parts(name, key, gradient):
    """The gradient as the tensors of files, which transformers 5 renames and fuses when it loads."""
    if name.startswith("gpt-neox") and key == "lm_head.weight":
        return [("embed_out.weight", gradient)]
    if name != "mixtral" or ".mlp." not in key:
        return [(key, gradient)]
    stem = key[:key.index("mlp.")] + "block_sparse_moe."
    if key.endswith("gate.weight"):
        return [(stem + "gate.weight", gradient)]
    parts = []
    for expert, part in enumerate(gradient):
        place = f"{stem}experts.{expert}."
        if key.endswith("gate_up_proj"):
            parts += zip((place + "w1.weight", place + "w3.weight"), part.chunk(2))
        else:
            parts.append((place + "w2.weight", part))
    return parts


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "decoders")
    for variant in sys.argv[2:] or VARIANTS:
        (root / variant).mkdir(parents=True, exist_ok=True)
        make(root / variant, variant)
