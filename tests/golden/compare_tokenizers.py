#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compare libllm's tokenizers with Hugging Face tokenizers and tiktoken, id by id.

Usage: LIBLLM=path/libllm.so python3 compare_tokenizers.py [DATA]

DATA is a folder with vocab-gpt2/{vocab.json,vocab.bpe}, vocab-roberta/tokenizer.json,
vocab-tiktoken/cl100k_base.tiktoken (and o200k_base.tiktoken.gz) and text files; without it only what
needs no real vocabulary is compared. Needs the packages tokenizers and tiktoken. Exit status 1: a
difference was found.
"""
import gzip
import json
import os
import pathlib
import random
import sys
import tempfile

import tiktoken
import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tokenizer_ctypes as ours  # noqa: E402

problems = 0
checks = 0
TIKTOKEN_PATTERNS = {
    "gpt2": r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""",
    "cl100k": r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++"""
              r"""[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s""",
    "o200k": "|".join([
        r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"""
        r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
        r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"""
        r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
        r"""\p{N}{1,3}""", r""" ?[^\s\p{L}\p{N}]+[\r\n/]*""", r"""\s*[\r\n]+""", r"""\s+(?!\S)""",
        r"""\s+"""])}


def expect(name, left, right, text=None):
    global problems, checks
    checks += 1
    if left != right:
        problems += 1
        if problems < 40:
            i = next((i for i, (a, b) in enumerate(zip(left, right)) if a != b),
                     min(len(left), len(right)))
            print("DIFFERENT %s at %d: ours %r theirs %r%s" %
                  (name, i, left[i - 1:i + 4] if i else left[:4],
                   right[i - 1:i + 4] if i else right[:4],
                   "" if text is None else " text %r" % text[:200]))


# ---- texts ----

SPECIAL = ["'s", "'S", "'ll", "'LL", "'\u017f", "'re", "'Ve", "'", "''", " '", "’s", " ", "  ", "   ",
           "\n", "\r\n", "\n\n", "\t", " \n", "\n ", "\u00a0", "\u2003", "\u3000", "\u0085", "\u2028",
           "\u1680", "\u180e", "\u200b", "\u001c", "a", "Ab", "ABC", "aB", "é", "É", "ß", "ſ", "Ǆ",
           "ǅ", "ʰ", "あ", "中", "한", "א", "ا", "ि", "\u0301", "\u0300\u0301", "1", "12", "123",
           "1234", "١٢", "½", "Ⅷ", "²", "!", "!!", "?!.", "/", "//", "\\", "_", "__x", "-", "$", "€",
           "👍", "👩‍👩‍👧", "🇪🇸", "\ufffd", "\U00010d4a", "\U00010d40", "\U000e0100", "don't", "I'M", "it'S",
           " word", " WORD", " wOrd", "camelCase", "HTTPServer", "x²", "<|endoftext|>", "\x00", "\x7f"]


def random_texts(seed, count):
    rng = random.Random(seed)
    texts = ["", " ", "\n", "a"]
    for _ in range(count):
        kind = rng.randrange(4)
        if kind == 0:
            texts.append("".join(rng.choice(SPECIAL) for _ in range(rng.randrange(1, 12))))
        elif kind == 1:
            texts.append("".join(chr(rng.randrange(0, 0x300)) for _ in range(rng.randrange(1, 30))))
        elif kind == 2:
            points = [rng.randrange(0x110000) for _ in range(rng.randrange(1, 20))]
            texts.append("".join(chr(p) for p in points if not 0xD800 <= p < 0xE000))
        else:
            texts.append(rng.choice("abc =\n-é1") * rng.randrange(1, 80) +
                         rng.choice(SPECIAL) * rng.randrange(1, 5))
    return texts


def every_character():
    """Every code point between letters, digits, spaces and marks."""
    texts = []
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    for i in range(0, len(points), 2048):
        part = points[i:i + 2048]
        texts.append("".join("a%s%s 1%s '%s\n%s " % ((chr(c),) * 5) for c in part))
    return texts


def data_texts(data):
    for path in sorted(pathlib.Path(data).rglob("*")):
        if path.suffix in (".txt", ".raw", ".json", ".jsonl", ".csv", ".tsv", ".inp") and \
           path.stat().st_size < 4000000:
            text = path.read_bytes().decode("utf-8", "ignore")
            for i in range(0, min(len(text), 1500000), 100000):
                yield path.name, text[i:i + 100000]


# ---- comparisons ----

def byte_level(model, split=None):
    hf = tokenizers.Tokenizer(model)
    if split is None:
        hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        hf.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(split), "isolated"),
             pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    hf.decoder = decoders.ByteLevel()
    return hf


SPLIT_REGEX = {
    "gpt2": None,
    "cl100k": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
              r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
             r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "o200k": TIKTOKEN_PATTERNS["o200k"]}


def compare_text(name, mine, hf, texts):
    for text in texts:
        ids = mine.encode(text, parse_special=True)
        expect(name, ids, hf.encode(text).ids, text)
        expect(name + " back", mine.decode(ids), text.encode())


def compare_training(texts):
    """Train on the same texts; the same vocabulary, merges and ids."""
    for split, regex in SPLIT_REGEX.items():
        for vocab_size, min_frequency, special in ((600, 2, []), (2000, 0, ["<|endoftext|>", "<s>"]),
                                                   (5000, 3, ["<pad>"])):
            mine = ours.Tokenizer.train(texts, split=split, vocab_size=vocab_size,
                                        min_frequency=min_frequency, special=special, threads=2)
            hf = byte_level(models.BPE(), regex)
            hf.train_from_iterator(texts, trainers.BpeTrainer(
                vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=special,
                initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
            name = "train %s %d" % (split, vocab_size)
            a, b = json.loads(mine.to_json()), json.loads(hf.to_str())
            expect(name + " vocab", sorted(a["model"]["vocab"].items()),
                   sorted(b["model"]["vocab"].items()))
            expect(name + " merges", a["model"]["merges"], b["model"]["merges"])
            one = ours.Tokenizer.train(texts, split=split, vocab_size=vocab_size,
                                       min_frequency=min_frequency, special=special, threads=1)
            expect(name + " threads", one.to_json(), mine.to_json())
            loaded = tokenizers.Tokenizer.from_str(mine.to_json().decode())
            sample = random_texts(vocab_size, 300) + every_character()[:3]
            compare_text(name + " ids", mine, loaded, sample)
            compare_text(name + " theirs", ours.Tokenizer(json=hf.to_str().encode()), hf, sample)
    print("training: %d checks so far" % checks)


def reference_word_piece(words, special, vocab_size, min_frequency):
    """Theirs, plainly written, with the characters that go on numbered by code point."""
    vocab = list(special)
    characters = sorted({c for w in words for c in w})
    vocab += [c for c in characters if c not in vocab]
    vocab += ["##" + c for c in sorted({c for w in words for c in w[1:]})]
    number = {t: i for i, t in enumerate(vocab)}
    split = {w: [number[c if i == 0 else "##" + c] for i, c in enumerate(w)] for w in words}
    while len(vocab) < vocab_size:
        pairs = {}
        for w, n in words.items():
            for pair in zip(split[w], split[w][1:]):
                pairs[pair] = pairs.get(pair, 0) + n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        if pairs[best] < max(1, min_frequency):
            break
        token = vocab[best[0]] + vocab[best[1]][2:]
        if token not in number:
            number[token] = len(vocab)
            vocab.append(token)
        for w, ids in split.items():
            i = 0
            while i + 1 < len(ids):
                if (ids[i], ids[i + 1]) == best:
                    ids[i:i + 2] = [number[token]]
                i += 1
    return vocab


def compare_word_piece(texts):
    """WordPiece training. Theirs numbers the characters that go on ("##a") in an order that differs
    from run to run, and ties go to smaller numbers; so the same vocabulary is asked of a plain
    reference, and nearly the same of theirs."""
    normalizer = normalizers.BertNormalizer()
    cut = pre_tokenizers.BertPreTokenizer()
    for text, vocab_size, min_frequency in ((texts[0][:20000], 300, 2), (texts[-1][:30000], 900, 3),
                                            (texts[-1][:30000], 5000, 8)):
        special = ["[UNK]", "[CLS]"]
        mine = ours.Tokenizer.train([text], kind="wordpiece", vocab_size=vocab_size,
                                    min_frequency=min_frequency, special=special)
        words = {}
        for w, _ in cut.pre_tokenize_str(normalizer.normalize_str(text)):
            words[w] = words.get(w, 0) + 1
        vocab = json.loads(mine.to_json())["model"]["vocab"]
        expect("word pieces", sorted(vocab, key=vocab.get),
               reference_word_piece(words, special, vocab_size, min_frequency))
        hf = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        hf.normalizer, hf.pre_tokenizer = normalizer, cut
        hf.train_from_iterator([text], trainers.WordPieceTrainer(
            vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=special,
            show_progress=False))
        common = len(set(vocab) & set(hf.get_vocab()))
        expect("word pieces, theirs", [common > 0.97 * len(vocab), len(vocab)],
               [True, len(hf.get_vocab())])
        loaded = tokenizers.Tokenizer.from_str(mine.to_json().decode())
        for sample in random_texts(vocab_size, 300):
            expect("word pieces, encoded", mine.encode(sample, parse_special=True),
                   loaded.encode(sample).ids, sample)


def compare_characters(text):
    text = text.replace("\0", "")
    mine = ours.Tokenizer.train([text], kind="characters", unknown="<unk>", special=["<s>"])
    hf = tokenizers.Tokenizer.from_str(mine.to_json().decode())
    for sample in [text[:5000], "q\u4e2dz\n\n  <s>x", ""] + random_texts(3, 200):
        ids = mine.encode(sample, parse_special=True)
        expect("characters", ids, hf.encode(sample).ids, sample)
        known = [i for i in ids if i > 1]
        expect("characters back", mine.decode(known).decode(),
               hf.decode(known, skip_special_tokens=False))
    again = ours.Tokenizer(json=hf.to_str().encode())
    expect("characters again", again.to_json(), mine.to_json())


def compare_bytes():
    mine = ours.Tokenizer.train([], kind="bytes", special=["<|endoftext|>"])
    hf = tokenizers.Tokenizer.from_str(mine.to_json().decode())
    compare_text("bytes", mine, hf, random_texts(4, 300))


def compare_added():
    """Added tokens with every combination of flags."""
    rng = random.Random(5)
    # No white space alone: behind a token with rstrip theirs matches it twice, or panics.
    texts = ["<a>", "<ab>", "<b c>", "word", "é", "<a", "b>x", "<|é|>"]
    for seed in range(60):
        base = byte_level(models.BPE(), None)
        base.train_from_iterator(["some words and more words <a>"], trainers.BpeTrainer(
            vocab_size=280, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False))
        for content in rng.sample(texts, rng.randrange(1, 6)):
            token = tokenizers.AddedToken(
                content, single_word=rng.random() < .3, lstrip=rng.random() < .3,
                rstrip=rng.random() < .3, normalized=rng.random() < .5)
            if content in base.get_vocab():
                continue
            (base.add_special_tokens if rng.random() < .5 else base.add_tokens)([token])
        mine = ours.Tokenizer(json=base.to_str().encode())
        for _ in range(60):
            text = "".join(rng.choice(texts + [" ", "x", "_", "\n", "\u3000", "1"])
                           for _ in range(rng.randrange(1, 10)))
            expect("added %d" % seed, mine.encode(text, parse_special=True), base.encode(text).ids,
                   text)
            base.encode_special_tokens = True
            expect("added, special as text %d" % seed, mine.encode(text), base.encode(text).ids, text)
            base.encode_special_tokens = False
        again = ours.Tokenizer(json=mine.to_json())
        expect("added again", again.to_json(), mine.to_json())
        back = tokenizers.Tokenizer.from_str(mine.to_json().decode())
        expect("added back", back.encode("<a>  <ab> word<b c>").ids,
               base.encode("<a>  <ab> word<b c>").ids)


def random_merges(rng, count):
    """A vocabulary whose merges come in an order no training makes."""
    alphabet = [chr(c) for c in sorted(map(ord, pre_tokenizers.ByteLevel.alphabet()))]
    vocab = {c: i for i, c in enumerate(alphabet)}
    pieces = list("abc")
    merges = []
    for _ in range(count):
        left, right = rng.choice(pieces), rng.choice(pieces)
        if len(left + right) < 12 and (left, right) not in merges:
            merges.append((left, right))
            vocab.setdefault(left + right, len(vocab))
            if left + right not in pieces:
                pieces.append(left + right)
    rng.shuffle(merges)
    return vocab, merges


def compare_strange_merges():
    rng = random.Random(6)
    for seed in range(150):
        vocab, merges = random_merges(rng, rng.randrange(1, 40))
        if seed % 3 == 0:
            merges.sort(key=lambda m: vocab[m[0] + m[1]])
        hf = byte_level(models.BPE(vocab, merges, ignore_merges=seed % 5 == 0))
        mine = ours.Tokenizer(json=hf.to_str().encode())
        for _ in range(60):
            text = "".join(rng.choice("abc") for _ in range(rng.randrange(1, 90)))
            expect("merges %d" % seed, mine.encode(text), hf.encode(text).ids, text)


def compare_invalid(mine):
    rng = random.Random(7)
    for _ in range(3000):
        data = bytes(rng.choice((rng.randrange(256), 0xE2, 0x80, 0xF0, 0x20, 0x61))
                     for _ in range(rng.randrange(0, 60)))
        ids = mine.encode(data)
        expect("bytes back", mine.decode(ids), data)
        expect("replaced", mine.decode(ids, replace=True).decode(), data.decode("utf-8", "replace"))
        same, begins, ends = mine.encode_offsets(data)
        expect("offsets ids", same, ids)
        expect("offsets", b"".join(data[b:e] for b, e in zip(begins, ends)), data)


def load_ranks(path):
    import base64
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rb") as f:
        return {base64.b64decode(line.split()[0]): int(line.split()[1]) for line in f if line.strip()}


def compare_real(data):
    gpt2 = ours.Tokenizer(data + "/vocab-gpt2")
    hf = byte_level(models.BPE.from_file(data + "/vocab-gpt2/vocab.json",
                                         data + "/vocab-gpt2/vocab.bpe"))
    hf.add_special_tokens(["<|endoftext|>"])
    ranks = load_ranks(data + "/vocab-tiktoken/cl100k_base.tiktoken")
    rivals = {"cl100k": (ours.Tokenizer(data + "/vocab-tiktoken/cl100k_base.tiktoken"),
                         tiktoken.Encoding("cl100k", pat_str=TIKTOKEN_PATTERNS["cl100k"],
                                           mergeable_ranks=ranks, special_tokens={}))}
    packed = data + "/vocab-tiktoken/o200k_base.tiktoken.gz"
    if os.path.exists(packed):
        with tempfile.TemporaryDirectory() as folder:
            path = folder + "/o200k_base.tiktoken"
            with open(path, "wb") as f:
                f.write(gzip.open(packed).read())
            rivals["o200k"] = (ours.Tokenizer(path),
                               tiktoken.Encoding("o200k", pat_str=TIKTOKEN_PATTERNS["o200k"],
                                                 mergeable_ranks=load_ranks(packed),
                                                 special_tokens={}))
    roberta = data + "/vocab-roberta/tokenizer.json"
    texts = [("random", t) for t in random_texts(1, 3000)]
    texts += [("every", t) for t in every_character()] + list(data_texts(data))
    theirs = tokenizers.Tokenizer.from_file(roberta)
    theirs.no_padding()
    theirs.no_truncation()
    mine = ours.Tokenizer(roberta)
    for name, text in texts:
        expect("gpt2 " + name, gpt2.encode(text, parse_special=True), hf.encode(text).ids, text)
        expect("roberta " + name, mine.encode(text, parse_special=True), theirs.encode(text).ids,
               text)
        for rival, (own, other) in rivals.items():
            ids = own.encode(text)
            expect(rival + " " + name, ids, other.encode_ordinary(text), text)
            expect(rival + " back " + name, own.decode(ids), text.encode())
    compare_invalid(gpt2)
    compare_invalid(rivals["cl100k"][0])
    # What we write for ranks, as they read it.
    small = tokenizers.Tokenizer.from_str(rivals["cl100k"][0].to_json().decode())
    for name, text in texts[:3000]:
        expect("cl100k as tokenizer.json " + name,
               rivals["cl100k"][0].encode(text, parse_special=True), small.encode(text).ids, text)


def main():
    compare_bytes()
    compare_added()
    compare_strange_merges()
    words = " ".join("the quick brown fox's jump'd over 12345 lazy DOGS étés naïve 中文字 %d" % (i % 97)
                     for i in range(3000))
    samples = [words, "aaaa aaaaaaa aaa  \n\n  bbb\n", "".join(every_character()[:2])]
    data = sys.argv[1] if len(sys.argv) > 1 else None
    if data:
        samples.append(open(data + "/tinyshakespeare/input.txt").read()[:400000])
        samples.append(open(data + "/en-es/spa.txt").read()[:400000])
    compare_characters(samples[-1])
    compare_training(samples)
    compare_word_piece(samples)
    if data:
        compare_real(data)
    print("%d checks, %d differences" % (checks, problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
