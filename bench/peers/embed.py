#!/usr/bin/env python3
"""Encoders against transformers on PyTorch, in turns with bench_embed; one JSON line per case.

    embed.py path/to/bench_embed minilm MODEL_DIRECTORY TEXTS [repetitions]
    embed.py path/to/bench_embed bert-base|t5-small [repetitions]

minilm: a vector for each line of TEXTS. The peer does what sentence-transformers' encode() does: texts
sorted by length, batches of 32, padding, mean, normalization; its tokenizer is the fast one. The two
results are compared. bert-base, t5-small: random weights, batch 8, 128 tokens (and as many targets).
"""
import json
import subprocess
import sys
import tempfile
import time

sys.path.pop(0)  # tokenizers.py beside this file is not the package
import torch  # noqa: E402
import transformers  # noqa: E402


class Ours:
    def __init__(self, program, directory):
        self.run = subprocess.Popen([program, directory], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)

    def __call__(self, case):
        self.run.stdin.write(case + "\n")
        self.run.stdin.flush()
        return json.loads(self.run.stdout.readline())["seconds"]


def encode(tokenizer, model, texts):
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    vectors = [None] * len(texts)
    with torch.inference_mode():
        for begin in range(0, len(order), 32):
            chosen = order[begin:begin + 32]
            batch = tokenizer([texts[i] for i in chosen], padding=True, truncation=True,
                              max_length=256, return_tensors="pt")
            mask = batch["attention_mask"][:, :, None].float()
            mean = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
            for i, vector in zip(chosen, torch.nn.functional.normalize(mean, dim=1)):
                vectors[i] = vector
    return torch.stack(vectors)


def measure(ours, case, theirs, repetitions):
    rows = []
    for _ in range(repetitions + 1):
        mine = ours(case)
        start = time.perf_counter()
        theirs()
        rows.append((mine, time.perf_counter() - start))
    mine, peer = (sorted(column)[len(column) // 2] for column in zip(*rows[1:]))
    return {"ms": round(1e3 * mine, 2), "torch_ms": round(1e3 * peer, 2),
            "speedup": round(peer / mine, 2)}


def minilm(program, directory, path, repetitions):
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModel.from_pretrained(directory).eval()
    with open(path, encoding="utf-8") as file:
        texts = [line for line in file.read().split("\n") if line]
    ours = Ours(program, directory)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        row = measure(ours, f"texts {threads} {path}", lambda: encode(tokenizer, model, texts),
                      repetitions)
        print(json.dumps({"bench": "embed_vs_torch", "model": "minilm", "threads": threads,
                          "texts": len(texts), **row}), flush=True)


def forward(program, name, repetitions, batch=8, length=128):
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([program, "save", directory, name], check=True)
        kind = transformers.T5ForConditionalGeneration if name == "t5-small" else transformers.BertModel
        model = kind.from_pretrained(directory).eval()
        ours = Ours(program, directory)
        ids = torch.tensor([(i * 7919 + 13) % 30000 for i in range(batch * length)])
        ids = ids.reshape(batch, length)
        more = {"labels": ids} if name == "t5-small" else {}
        mask = torch.ones_like(ids)

        def theirs():
            with torch.inference_mode():
                model(input_ids=ids, attention_mask=mask, **more)

        for threads in (1, 2):
            torch.set_num_threads(threads)
            row = measure(ours, f"ids {threads} {batch} {length}", theirs, repetitions)
            print(json.dumps({"bench": "forward_vs_torch", "model": name, "threads": threads,
                              "batch": batch, "length": length, **row}), flush=True)
        ours.run.stdin.close()
        ours.run.wait()


if __name__ == "__main__":
    transformers.logging.disable_progress_bar()
    if sys.argv[2] == "minilm":
        minilm(sys.argv[1], sys.argv[3], sys.argv[4], int(sys.argv[5]) if len(sys.argv) > 5 else 5)
    else:
        forward(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 5)
