#!/usr/bin/env python3
"""Every folder of encoders/ through the library and back into transformers.

libllm loads the folder and saves it; transformers loads what was saved with the class that the saved
config.json names, without missing or unexpected weights, and must compute the golden scores.

Run by hand: LIBLLM=build/lib/libllm.so check_heads_load.py
"""
import json
import pathlib
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "examples" / "python"))
sys.path.insert(0, str(HERE))
import libllm  # noqa: E402
import make_encoders  # noqa: E402


def scores(model, golden):
    ids, offsets = golden["ids"].long(), golden["offsets"].long()
    if "target_ids" in golden:
        texts = make_encoders.split(ids, offsets)
        targets = make_encoders.split(golden["target_ids"].long(), golden["target_offsets"].long())
        return torch.cat([model(a[None], labels=b[None]).logits[0] for a, b in zip(texts, targets)])
    typed = getattr(model.config, "type_vocab_size", 0) > 1
    return make_encoders.run(model, ids, golden["types"].long(), offsets, typed)


def check(folder):
    golden = load_file(folder / "golden.safetensors")
    with tempfile.TemporaryDirectory() as saved:
        libllm.Model.load(str(folder)).save(saved)
        name = json.loads(pathlib.Path(saved, "config.json").read_text())["architectures"][0]
        model, info = getattr(transformers, name).from_pretrained(saved, output_loading_info=True)
    # With untied weights transformers declares a second output bias that it never uses.
    left = {key: sorted(set(value) - {"cls.predictions.bias"}) for key, value in info.items()}
    left = {key: value for key, value in left.items() if value}
    with torch.no_grad():
        error = (scores(model.eval(), golden) - golden["scores"]).abs().max().item()
    print(f"{folder.name:20} {name:36} {error:.1e} {left or ''}")
    return error < 1e-4 and not left


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    results = [check(folder) for folder in sorted((HERE / "encoders").iterdir())]
    sys.exit(0 if all(results) else 1)
