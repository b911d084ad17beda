#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train unigram models with libllm, Hugging Face tokenizers and sentencepiece on the same text and
compare them on other text: bits per character (over all ways to cut, and of the best one), tokens,
seconds.

  LIBLLM=build/lib/libllm.so compare_unigram.py TRAIN.txt TEST.txt [VOCAB_SIZE]
"""
import collections
import io
import json
import math
import pathlib
import sys
import time

import sentencepiece
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tokenizer_ctypes  # noqa: E402


def lines_of(path):
    with open(path, encoding="utf8") as stream:
        return [" ".join(line.split()) for line in stream if line.strip()]


def train_libllm(lines, size):
    one = tokenizer_ctypes.Tokenizer.train(lines, "unigram", size, unknown="<unk>")
    two = tokenizer_ctypes.Tokenizer.train(lines, "unigram", size, unknown="<unk>", threads=2)
    assert one.to_json() == two.to_json(), "the result depends on the threads"
    return json.loads(one.to_json())["model"]["vocab"]


def train_tokenizers(lines, size):
    hf = tokenizers.Tokenizer(models.Unigram())
    hf.pre_tokenizer = pre_tokenizers.Metaspace()
    hf.train_from_iterator(lines, trainers.UnigramTrainer(
        vocab_size=size, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False))
    return json.loads(hf.to_str())["model"]["vocab"]


def train_sentencepiece(lines, size):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, vocab_size=size + 2, model_type="unigram",
        normalization_rule_name="identity", character_coverage=1.0, minloglevel=2, num_threads=1)
    model = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    return [["<unk>", 0]] + [[model.id_to_piece(i), model.get_score(i)]
                             for i in range(3, model.vocab_size())]


def measure(vocab, words):
    """Bits per character over all ways, of the best way, and its tokens."""
    scores = dict((piece, score) for piece, score in vocab[1:])
    unknown = min(scores.values()) - 10
    longest = max(map(len, scores))
    total = [0.0, 0.0, 0, 0]
    for word, count in words.items():
        ways = [0.0] + [-math.inf] * len(word)
        best = [(0.0, 0)] + [(-math.inf, 0)] * len(word)
        for i in range(len(word)):
            for j in range(i + 1, min(len(word), i + longest) + 1):
                score = scores.get(word[i:j], unknown if j == i + 1 else None)
                if score is None:
                    continue
                way = ways[i] + score
                high = max(way, ways[j])
                ways[j] = high + math.log(math.exp(way - high) + math.exp(ways[j] - high))
                best[j] = max(best[j], (best[i][0] + score, best[i][1] + 1))
        total = [total[0] + count * ways[-1], total[1] + count * best[-1][0],
                 total[2] + count * best[-1][1], total[3] + count * len(word)]
    bits = -1 / math.log(2) / total[3]
    return total[0] * bits, total[1] * bits, total[2]


def main(train, test, size="8000"):
    lines = lines_of(train)
    words = collections.Counter("\u2581" + word for line in lines_of(test) for word in line.split())
    for name, learn in (("libllm", train_libllm), ("tokenizers", train_tokenizers),
                        ("sentencepiece", train_sentencepiece)):
        start = time.perf_counter()
        vocab = learn(lines, int(size))
        seconds = time.perf_counter() - start
        ways, best, tokens = measure(vocab, words)
        print(f"{name}: {len(vocab)} pieces, bits per character {ways:.4f} (best way {best:.4f}), "
              f"{tokens} tokens, {seconds:.2f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
