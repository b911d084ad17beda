#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compare real vocabularies with Hugging Face tokenizers on mixed text: ids, offsets, words, text.

Usage: LIBLLM=path/libllm.so python3 compare_vocabularies.py DATA [MEGABYTES [NAME]]

DATA holds vocab-bert, vocab-gpt2, any folder with a tokenizer.json, and text: English, Spanish, and,
where xquad has them, Chinese, Arabic and Hindi; words of all languages come from the vocabulary of
multilingual BERT, code from this repository; emoji, random characters and random bytes (U+FFFD each
for theirs) are made. MEGABYTES per vocabulary, default 5; NAME: only
vocabularies with this in their names. Needs the package tokenizers. Exit status 1: a difference.
"""
import codecs
import csv
import json
import os
import pathlib
import random
import sys
import tempfile
import time
import zipfile

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tokenizer_ctypes as ours  # noqa: E402

CHUNK = 4000
EMOJI = "👍🏽👩‍👩‍👧‍👦🇪🇸🏴󠁧󠁢󠁳󠁣󠁴󠁿❤️😀🤷🏿‍♂️①½²™©\u200d\u200b\u0301\u0327\u0300\ufeff\u0085\u180e\u3000"

# Each byte that is not UTF-8 is a character of its own to us.
codecs.register_error("each", lambda e: ("\ufffd" * (e.end - e.start), e.end))


def sources(data):
    """Name to text."""
    root = pathlib.Path(__file__).resolve().parents[2]
    read = lambda *names: "".join(open(os.path.join(data, n), encoding="utf-8").read() for n in names
                                  if os.path.exists(os.path.join(data, n)))
    texts = {"english": read("corpora/war-and-peace.txt", "wikitext-2/wiki.test.raw"),
             "spanish": read("stsb/stsb-es-train.csv", "en-es/spa.txt")}
    for name in ("zh", "ar", "hi"):
        path = os.path.join(data, "xquad", "xquad.%s.json" % name)
        if os.path.exists(path):
            articles = json.load(open(path, encoding="utf-8"))["data"]
            texts[name] = "\n".join(p["context"] + "\n" + "\n".join(q["question"] for q in p["qas"])
                                    for a in articles for p in a["paragraphs"])
    path = data + "/vocab-bert/mbert-uncased.zip"
    if os.path.exists(path):  # words of a hundred languages
        vocab = json.loads(zipfile.ZipFile(path).read("tokenizer.json"))["model"]["vocab"]
        rng = random.Random(1)
        words = [w for w in vocab if not w.startswith("##")]
        texts["words"] = " ".join(rng.choice(words) for _ in range(300000))
        letters = sorted({c for w in words for c in w if ord(c) > 0x250})
        texts["letters"] = "".join(rng.choice(letters) for _ in range(300000))
    texts["code"] = "".join(p.read_text() for p in sorted(root.glob("lib/*/*.[ch]"))
                            if p.stat().st_size < 60000)
    return {k: v for k, v in texts.items() if v}


def chunks(texts, size, seed):
    """Mixed chunks of text, `size` bytes in all."""
    rng = random.Random(seed)
    names = sorted(texts)
    while size > 0:
        kind = rng.randrange(len(names) + 3)
        if kind < len(names):
            text = texts[names[kind]]
            start = rng.randrange(max(1, len(text) - CHUNK))
            data = text[start:start + CHUNK].encode()
        elif kind == len(names):
            data = "".join(rng.choice(EMOJI) + rng.choice(["", " ", "a", "中"])
                           for _ in range(CHUNK // 4)).encode()
        elif kind == len(names) + 1:
            points = (rng.choice((rng.randrange(0x300), rng.randrange(0x3000), rng.randrange(0x110000)))
                      for _ in range(CHUNK // 3))
            data = "".join(chr(c) for c in points if not 0xD800 <= c < 0xE000).encode()
        else:
            data = bytes(rng.choice((rng.randrange(256), rng.randrange(32, 127), 0xE4, 0xB8, 0xF0))
                         for _ in range(CHUNK // 2))
        size -= len(data)
        yield data


def bert(path, lowercase):
    """As transformers makes it from a vocab.txt."""
    vocab = {line.rstrip("\n"): i for i, line in enumerate(open(path, encoding="utf-8", newline="\n"))}
    hf = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    hf.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    hf.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    hf.decoder = decoders.WordPiece()
    hf.add_special_tokens([AddedToken(t, special=True, normalized=False)
                           for t in ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")])
    hf.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])])
    return hf


def gpt2(data):
    hf = Tokenizer(models.BPE.from_file(data + "/vocab-gpt2/vocab.json", data + "/vocab-gpt2/vocab.bpe"))
    hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    hf.decoder = decoders.ByteLevel()
    hf.add_special_tokens(["<|endoftext|>"])
    return hf


def vocabularies(data, folder):
    """Name, ours, theirs."""
    for name, lowercase in (("cased", False), ("uncased", True)):
        path = "%s/vocab-bert/bert-base-%s-vocab.txt" % (data, name)
        if os.path.exists(path):
            place = os.path.join(folder, name)
            os.mkdir(place)
            with open(os.path.join(place, "vocab.txt"), "w", encoding="utf-8", newline="\n") as out:
                out.write(open(path, encoding="utf-8", newline="\n").read())
            with open(os.path.join(place, "tokenizer_config.json"), "w") as out:
                json.dump({"do_lower_case": lowercase}, out)
            yield "bert-" + name, ours.Tokenizer(place), bert(path, lowercase)
    for name in ("bert-uncased-tokenizer", "mbert-uncased"):
        path = "%s/vocab-bert/%s.zip" % (data, name)
        if os.path.exists(path):
            archive = zipfile.ZipFile(path)
            text = archive.read([n for n in archive.namelist() if n.endswith("tokenizer.json")][0])
            yield name, ours.Tokenizer(json=text), Tokenizer.from_str(text.decode())
    if os.path.exists(data + "/vocab-gpt2"):
        yield "gpt2", ours.Tokenizer(data + "/vocab-gpt2"), gpt2(data)
    for path in sorted(pathlib.Path(data).glob("*/**/tokenizer.json")):
        name = str(path.parent.relative_to(data))
        try:
            yield name, ours.Tokenizer(str(path)), Tokenizer.from_file(str(path))
        except ours.Failure as failure:
            print("%-28s not loaded: %s" % (name, failure))


def compare(name, mine, hf, texts, size):
    bad = []
    done = refused = 0
    start = time.time()
    byte_level = '"ByteLevel"' in hf.to_str()
    hf.no_truncation()
    hf.no_padding()
    special = mine.encode("", parse_special=True) == hf.encode("").ids
    if not special:
        bad.append(("", "empty text"))
    for number, data in enumerate(chunks(texts, size, name)):
        text = data.decode("utf-8", "each")
        exact = "\ufffd" not in text
        done += len(data)
        theirs = hf.encode(text)
        try:
            if exact or not byte_level:
                [piece] = ours.encode_whole(mine, data, parse_special=1)
                pairs = [("ids", piece.ids, theirs.ids),
                         ("offsets", piece.characters, theirs.offsets),
                         ("words", [None if w < 0 else w for w in piece.words], theirs.word_ids),
                         ("plain ids", mine.encode(data, parse_special=True), theirs.ids),
                         ("text", mine.decode(theirs.ids, replace=True).decode(),
                          hf.decode(theirs.ids, skip_special_tokens=False))]
            else:
                pairs = [("bytes back", data in mine.decode(mine.encode(data, parse_special=True)),
                          True)]
        except ours.Failure as failure:  # a vocabulary without all bytes: theirs drops them
            if "no token stands for the byte" not in str(failure):
                raise
            refused += 1
            continue
        bad += [(text, what, a, b) for what, a, b in pairs if a != b]
    print("%-44s %8.1f MB %6.0f s  %d differences%s" %
          (name, done / 1e6, time.time() - start, len(bad),
           ", %d texts with bytes that no token has" % refused if refused else ""), flush=True)
    for text, what, *values in bad[:3]:
        at = next((i for i, (a, b) in enumerate(zip(*values)) if a != b), 0) if len(values) == 2 and \
            hasattr(values[0], "__len__") else 0
        print("   ", what, "at", at, *(repr(v[max(0, at - 3):at + 5]) if hasattr(v, "__len__") else v
                                       for v in values), repr(text[:80]))
    return len(bad)


def main():
    data = sys.argv[1]
    size = int(float(sys.argv[2]) * 1e6) if len(sys.argv) > 2 else 5000000
    only = sys.argv[3] if len(sys.argv) > 3 else ""
    texts = sources(data)
    print("text:", ", ".join("%s %.1f MB" % (k, len(v.encode()) / 1e6) for k, v in texts.items()))
    with tempfile.TemporaryDirectory() as folder:
        differences = sum(compare(name, mine, hf, texts, size)
                          for name, mine, hf in vocabularies(data, folder) if only in name)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
