#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compare tokenizers with the reference on mixed text: SentencePiece .model files with the Python
package sentencepiece, tokenizer.json files with tokenizers; ids, places of tokens, decoded text.
What libllm saves of a .model is loaded with tokenizers and must give the same ids again.

  LIBLLM=build/lib/libllm.so compare_sentencepiece.py [--megabytes N] [--seed N] [--texts DIR] FILE...

The text is that of DIR (files of any kind, UTF-8), cut into lines and pieces, and random text of many
scripts, of all code points, of bytes. Figures on one line per file; exit status 1 on a difference.
"""
import argparse
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tokenizer_ctypes  # noqa: E402

POOLS = ["abcdefghij  ", "éàüßñ ÀÉ", "你好世界中文 ", "مرحبا بالعالم ", "नमस्ते दुनिया ", "😀👩\u200d👧🇩🇪 ",
         "\t\n\r  \u2581", "ﬁ①Ⅻ㌔ｱﾊﾟ　 ", "\u0301\u0300\u200d\ufe0f\u00ad\u200b", "0123456789.,-",
         "def f(x):\n    return x\n", " ", "   a", "<s></s><unk><0x0A>", "가각힣각",
         "ﷺ\u00a0\u2028\x00\x01\x1f\x7f", "¿Qué tal? mañana ", "'\"!?;:()[]{}"]
RANGES = [(1, 0x7F), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF)]
SHOWN = 3


def random_text(rng):
    kind = rng.random()
    if kind < 0.7:
        return "".join("".join(rng.choice(pool) for _ in range(rng.randint(0, 12)))
                       for pool in rng.choices(POOLS, k=rng.randint(1, 6))).encode()
    if kind < 0.9:
        return "".join(chr(rng.randint(*rng.choice(RANGES)))
                       for _ in range(rng.randint(1, 20))).encode()
    return bytes(rng.randrange(256) for _ in range(rng.randint(1, 20)))


def texts(folder, size, seed):
    """`size` bytes, half from files, half random."""
    rng = random.Random(seed)
    left = size // 2
    files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix in
                   (".txt", ".raw", ".json", ".inp", ".tsv", ".csv", ".jsonl")) if folder else []
    for path in files:
        share = max(20000, left // max(1, len(files) // 2))
        with open(path, encoding="utf8", errors="replace") as stream:
            for line in stream:
                line = line[:4000].rstrip("\n").encode()
                share -= len(line) + 1
                if share < 0 or left < 0:
                    break
                left -= len(line) + 1
                if line:
                    yield line
    left = size // 2 + max(0, left)
    while left > 0:
        text = random_text(rng)
        left -= len(text) + 1
        if text:
            yield text


class Model:
    """sentencepiece's view."""

    def __init__(self, path):
        import sentencepiece
        self.model = sentencepiece.SentencePieceProcessor(model_file=path)

    def encode(self, text):
        return self.model.encode(text), None

    def places(self, text):
        proto = self.model.encode(text, return_type="proto")
        return [(p.begin, p.end) for p in proto.pieces]

    def decode(self, ids):
        return None


class Json:
    """Hugging Face tokenizers' view."""

    def __init__(self, path=None, text=None):
        import tokenizers
        self.tokenizer = (tokenizers.Tokenizer.from_file(path) if path
                          else tokenizers.Tokenizer.from_str(text))
        self.special = {i for i, t in self.tokenizer.get_added_tokens_decoder().items() if t.special}

    def encode(self, text):
        encoding = self.tokenizer.encode(text)
        return encoding.ids, encoding.offsets

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=False)


class Count:
    def __init__(self, name):
        self.name = name
        self.bad = 0

    def check(self, text, expected, got):
        if expected == got:
            return
        self.bad += 1
        if self.bad <= SHOWN:
            print(f"  {self.name} of {text[:120]!r}\n    expected {expected[:24]}\n    got      {got[:24]}")


def byte_places(text, offsets):
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [(at[b], at[e]) for b, e in offsets]


def compare_model(path, source):
    reference, ours = Model(path), tokenizer_ctypes.Tokenizer(path)
    saved = Json(text=ours.to_json().decode())
    ids, places, again = Count("ids"), Count("places"), Count("ids of the saved file")
    seconds = [0.0, 0.0]
    size = 0
    for text in source:
        size += len(text)
        start = time.perf_counter()
        expected, _ = reference.encode(text)
        middle = time.perf_counter()
        got = ours.encode(text, add_special=False)
        seconds[0] += middle - start
        seconds[1] += time.perf_counter() - middle
        ids.check(text, expected, got)
        try:
            plain = text.decode()
        except UnicodeDecodeError:
            continue
        _, begins, ends = ours.encode_offsets(text, add_special=False)
        places.check(text, reference.places(text), list(zip(begins, ends)))
        again.check(text, ours.encode(text, parse_special=True, add_special=False),
                    saved.tokenizer.encode(plain, add_special_tokens=False).ids)
    return size, seconds, [ids, places, again]


def compare_json(path, source):
    reference, ours = Json(path), tokenizer_ctypes.Tokenizer(path)
    ids, places, decoded = Count("ids"), Count("places"), Count("decoded text")
    seconds = [0.0, 0.0]
    size = 0
    for text in source:
        try:
            plain = text.decode()
        except UnicodeDecodeError:
            ours.encode(text)
            continue
        size += len(text)
        start = time.perf_counter()
        expected, offsets = reference.encode(plain)
        middle = time.perf_counter()
        got = ours.encode(text, parse_special=True)
        seconds[0] += middle - start
        seconds[1] += time.perf_counter() - middle
        ids.check(text, expected, got)
        _, begins, ends = ours.encode_offsets(text, parse_special=True)
        kept = [i for i, token in enumerate(expected) if token not in reference.special]
        mine = [i for i, token in enumerate(got) if token not in reference.special]
        byte = byte_places(plain, offsets)
        places.check(text, [byte[i] for i in kept], [(begins[i], ends[i]) for i in mine])
        decoded.check(text, reference.decode(expected), ours.decode(expected, replace=True).decode())
    return size, seconds, [ids, places, decoded]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+")
    parser.add_argument("--megabytes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--texts")
    options = parser.parse_args()
    bad = 0
    for path in options.files:
        source = texts(options.texts, int(options.megabytes * 1e6), options.seed)
        compare = compare_json if path.endswith(".json") else compare_model
        size, seconds, counts = compare(path, source)
        bad += sum(count.bad for count in counts[:2])
        print(f"{path}: {size / 1e6:.2f} MB, differences: "
              + ", ".join(f"{c.name} {c.bad}" for c in counts)
              + f"; seconds: reference {seconds[0]:.2f}, libllm {seconds[1]:.2f}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
