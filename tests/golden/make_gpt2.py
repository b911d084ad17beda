#!/usr/bin/env python3
"""Makes gpt2-*/: small random GPT-2 models with what PyTorch and transformers compute from them.

Each folder holds config.json and model.safetensors as transformers saves them, and golden.safetensors:
ids, targets, offsets of five packed sequences, their logits, the mean loss over all targets, the
gradient of every parameter (in the file's orientation) and the losses of 20 AdamW steps.

Run with torch, transformers and safetensors installed: make_gpt2.py [OUTPUT-FOLDER]
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

LENGTHS = [7, 1, 12, 5, 3]
COMMON = dict(vocab_size=61, n_positions=24, n_layer=2, n_head=3, n_embd=18, embd_pdrop=0.0,
              resid_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0, use_cache=False)
VARIANTS = {
    "gpt2-plain": {},
    "gpt2-options": dict(n_embd=12, n_inner=20, activation_function="gelu", tie_word_embeddings=False,
                         scale_attn_by_inverse_layer_idx=True, layer_norm_epsilon=1e-3),
    "gpt2-unscaled": dict(n_embd=12, activation_function="relu", scale_attn_weights=False, n_layer=1),
}


def randomize(model):
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = ".ln_" in name and name.endswith("weight")
            parameter.copy_(1 + 0.1 * noise if is_norm else 0.2 * noise)


def batch(vocabulary):
    generator = torch.Generator().manual_seed(11)
    ids = torch.randint(0, vocabulary, (sum(LENGTHS),), generator=generator)
    targets = torch.randint(0, vocabulary, (sum(LENGTHS),), generator=generator)
    targets[::6] = -100
    offsets = torch.tensor([0] + LENGTHS).cumsum(0)
    return ids, targets, offsets


def packed_logits(model, ids, offsets):
    rows = [model(ids[a:b][None]).logits[0] for a, b in zip(offsets[:-1], offsets[1:])]
    return torch.cat(rows)


def train(model, ids, targets, offsets):
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    losses = []
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(packed_logits(model, ids, offsets), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses)


def make(folder, options):
    config = GPT2Config(**{**COMMON, **options})
    model = GPT2LMHeadModel(config).eval()
    randomize(model)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids, targets, offsets = batch(config.vocab_size)
    logits = packed_logits(model, ids, offsets)
    loss = torch.nn.functional.cross_entropy(logits, targets)
    loss.backward()
    golden = {"ids": ids.int(), "targets": targets.int(), "offsets": offsets.int(),
              "logits": logits.detach(), "loss": loss.detach()}
    for name, parameter in model.named_parameters():
        golden["grad." + name] = parameter.grad.clone()
    golden["adamw_losses"] = train(model, ids, targets, offsets)
    save_file({k: v.contiguous() for k, v in golden.items()}, folder / "golden.safetensors")
    text = json.loads((folder / "config.json").read_text())
    text.pop("transformers_version", None)
    (folder / "config.json").write_text(json.dumps(text, indent=2) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    for name, options in VARIANTS.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        make(root / name, options)
