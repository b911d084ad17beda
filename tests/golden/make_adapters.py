#!/usr/bin/env python3
"""Makes adapters/*/: PEFT adapters of the small random models beside this script, and what PEFT
computes with them.

Each folder holds adapter_config.json, adapter_model.safetensors (random values), base.txt (the
model's folder) and golden.safetensors: ids, targets, the logits, the losses of STEPS steps of AdamW
on that one text, and the adapter's tensors after them.

Run with torch, transformers, peft and safetensors installed: make_adapters.py [OUTPUT-FOLDER]
"""
import json
import pathlib
import sys

import torch
from peft import IA3Config, LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
STEPS, TOKENS = 20, 24
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES = {
    "lora": ("decoders/llama", LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"],
                                          task_type="CAUSAL_LM")),
    "lora-patterns": ("decoders/qwen2", LoraConfig(
        r=2, lora_alpha=6, target_modules=ALL, use_rslora=True, rank_pattern={"down_proj": 3},
        alpha_pattern={"layers.1.self_attn.q_proj": 5}, task_type="CAUSAL_LM")),
    "dora": ("decoders/llama-bias", LoraConfig(r=3, lora_alpha=6, target_modules=["q_proj", "up_proj"],
                                               use_dora=True, task_type="CAUSAL_LM")),
    "ia3": ("decoders/llama", IA3Config(target_modules=["k_proj", "v_proj", "down_proj"],
                                        feedforward_modules=["down_proj"], task_type="CAUSAL_LM")),
    "gpt2": ("gpt2-plain", LoraConfig(r=4, lora_alpha=4, target_modules=["c_attn", "mlp.c_proj"],
                                      fan_in_fan_out=True, task_type="CAUSAL_LM")),
}


def randomize(model):
    torch.manual_seed(7)
    for name, value in model.named_parameters():
        if value.requires_grad:
            spread = torch.randn_like(value)
            with torch.no_grad():
                if "ia3" in name:
                    value.copy_(1 + 0.3 * spread)
                elif "magnitude" in name:
                    value.mul_(1 + 0.1 * spread)
                else:
                    value.copy_(0.2 * spread)


def train(model, ids, targets):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3,
                                  weight_decay=0.01)
    losses = []
    for _ in range(STEPS):
        loss = torch.nn.functional.cross_entropy(model(ids[None]).logits[0], targets)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


def make(folder, base, config):
    model = AutoModelForCausalLM.from_pretrained(HERE / base, dtype=torch.float32)
    vocabulary = model.config.vocab_size
    model = get_peft_model(model, config)
    randomize(model)
    model.eval()
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "base.txt").write_text(base + "\n")
    text = json.loads((folder / "adapter_config.json").read_text())
    text["base_model_name_or_path"] = base
    (folder / "adapter_config.json").write_text(json.dumps(text, indent=1) + "\n")
    torch.manual_seed(1)
    ids = torch.randint(0, vocabulary, (TOKENS + 1,))
    ids, targets = ids[:-1], ids[1:]
    golden = {"ids": ids.int(), "targets": targets.int()}
    with torch.no_grad():
        golden["logits"] = model(ids[None]).logits[0].contiguous()
    golden["losses"] = torch.tensor(train(model, ids, targets))
    for name, value in get_peft_model_state_dict(model).items():
        golden["after." + name] = value.detach().contiguous()
    save_file(golden, folder / "golden.safetensors")


def main(output):
    torch.set_num_threads(1)
    for name, (base, config) in CASES.items():
        make(output / name, base, config)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "adapters")
