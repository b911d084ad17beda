#!/usr/bin/env python3
"""libllm.Task of the Python module, on the small models of tests/golden/tasks.

Usage: python_tasks.py ROOT
"""
import json
import pathlib
import sys

ROOT = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(ROOT / "examples" / "python"))
import libllm  # noqa: E402


def load(name):
    folder = ROOT / "tests" / "golden" / "tasks" / name
    return libllm.Task.load(folder), json.loads((folder / "expected.json").read_text())


def near(a, b):
    assert len(a) == len(b) and all(abs(x - y) < 1e-5 for x, y in zip(a, b)), (a, b)


task, expected = load("embed")
for got, row in zip(task.embed(expected["texts"]), expected["vectors"]):
    near(list(got), row)
assert len(task.embed([[2, 9, 3], [2, 3]])) == 2

# A text longer than sixteen tokens in windows that share three: averaged by their own tokens.
folder = ROOT / "tests" / "golden" / "tasks" / "embed"
inner = libllm.Tokenizer.load(folder).encode("the cat " * 30)[1:-1]
windows = [inner[i:i + 14] for i in range(0, len(inner) - 3, 11)]
parts = libllm.Task.load(folder, normalize=0).embed([[2, *window, 3] for window in windows])
long = libllm.Task.load(folder, normalize=0, windows=1, overlap=3).embed(["the cat " * 30])
near(list(long[0]), [sum(len(w) * v[d] for w, v in zip(windows, parts)) / sum(map(len, windows))
                     for d in range(12)])

task, expected = load("classify")
assert task.labels == ["bad", "good", "odd"]
for got, row in zip(task.classify(expected["texts"], expected["pairs"]), expected["pair"]):
    near(list(got), row)

task, expected = load("rerank")
near(task.rerank(expected["query"], expected["texts"]), expected["scores"])

task, expected = load("tag")
found = task.tag(expected["text"], "first")
near([score for _, _, score in found], [row[3] for row in expected["first"]])

task, expected = load("answer")
found = task.answer(expected["question"], expected["context"], best=5, max_answer=6, overlap=8)
near([score for _, score in found], [row[2] for row in expected["answers"]])
assert found[0][0] == expected["context"][slice(*expected["answers"][0][:2])]

task, expected = load("mask")
rows = task.fill_mask(expected["text"], top=4)
assert [[i for i, _ in row] for row in rows] == [[i for i, _ in row] for row in expected["top"]]

task, expected = load("translate")
for text, greedy, beams in zip(expected["texts"], expected["greedy"], expected["beams"]):
    assert task.generate(text, max_tokens=12) == greedy
    assert task.generate(text, max_tokens=12, num_beams=3) == beams
try:
    task.embed(["x"])
    raise SystemExit("an encoder-decoder embedded a text")
except libllm.Error as error:
    assert error.name == "LLM_E_UNSUPPORTED", error.name
print("ok")
