#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the fixtures in tests/golden/tokenizers with Hugging Face tokenizers (0.23).

For each NAME: NAME.json, a small trained tokenizer, and NAME.cases, lines of "hex of the text, then
ids" as that library encodes them. Usage: python3 make_tokenizers.py
"""
import os
import random

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors, trainers

from compare_tokenizers import SPLIT_REGEX, random_texts

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizers")
WORDS = ("It was the best of times, it was the worst of times; we're all going 1234 miles direct to "
         "Heaven.\n\nÉrase una vez en España: ¿qué tal? 中文字符 and naïve café 50%.\n").split(" ")


def train(hf, vocab_size, special):
    rng = random.Random(1)
    text = " ".join(rng.choice(WORDS) for _ in range(4000))
    hf.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special, show_progress=False, min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))


def byte_level(split, **options):
    hf = tokenizers.Tokenizer(models.BPE(**options))
    regex = SPLIT_REGEX[split]
    if regex is None:
        hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        hf.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(regex), "isolated"),
             pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    hf.decoder = decoders.ByteLevel()
    return hf


def make():
    for split in SPLIT_REGEX:
        hf = byte_level(split)
        train(hf, 400, ["<|endoftext|>"])
        yield "bpe_" + split, hf
    hf = byte_level("gpt2")
    hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    train(hf, 350, ["<s>", "</s>"])
    hf.add_tokens([AddedToken("best of", normalized=True), AddedToken("times", single_word=True),
                   AddedToken("<x>", lstrip=True), AddedToken("<y>", rstrip=True, normalized=False)])
    hf.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    yield "bpe_added", hf
    hf = tokenizers.Tokenizer(models.WordLevel(
        {c: i for i, c in enumerate(["<unk>"] + sorted(set(" ".join(WORDS))))}, unk_token="<unk>"))
    hf.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    hf.decoder = decoders.Fuse()
    hf.add_special_tokens(["<unk>"])
    yield "characters", hf


def main():
    os.makedirs(FOLDER, exist_ok=True)
    texts = random_texts(2, 250)
    rng = random.Random(3)
    texts += [" ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 30))) for _ in range(50)]
    texts += ["the times, best of<x> and  <x>y<y>  z sometimes times"]
    for name, hf in make():
        hf.save(os.path.join(FOLDER, name + ".json"), pretty=False)
        with open(os.path.join(FOLDER, name + ".cases"), "w") as f:
            for text in texts:
                ids = hf.encode(text).ids
                f.write(" ".join([text.encode().hex() or "-"] + [str(i) for i in ids]) + "\n")


if __name__ == "__main__":
    main()
