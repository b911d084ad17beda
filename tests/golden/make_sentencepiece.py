#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the fixtures in tests/golden/sentencepiece: small models trained with sentencepiece (0.2) and
Hugging Face tokenizers (0.23), and what these give on crafted and random texts.

For each model NAME.model or NAME.json there is NAME.cases with lines of
  hex of the text ("-": empty) | ids | begin:end of each token in bytes | hex of the decoded text
The decoded text is of .json files only. Usage: make_sentencepiece.py
"""
import io
import json
import pathlib
import random
import sys

import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import os  # noqa: E402

os.environ.setdefault("LIBLLM", "libc.so.6")  # the comparison's texts alone are wanted
FOLDER = pathlib.Path(__file__).parent / "sentencepiece"
WORDS = ("It was the best of times, it was the worst of times; we're all going 1234 miles direct to "
         "Heaven. Érase una vez en España: ¿qué tal? 你好 世界 中文字符 and naïve café 50%. "
         "привет мир नमस्ते दुनिया").split(" ")
RULES = "0041\t0061\n0042\t0062\nFB01\t0066 0069\n2460\t0031\n0009\t0020\n000A\t0020\n0065 0301\tE9\n200B\t\n"


def corpus():
    rng = random.Random(1)
    return [" ".join(rng.choice(WORDS) for _ in range(12)) for _ in range(400)]


def sample_texts():
    from compare_sentencepiece import random_text
    rng = random.Random(5)
    texts = [b"", b" ", b"  ", b"a", b" a", b"a ", b"  the  best  ", b"\n", b"x\ty\n", b"AB ABBA",
             "ﬁ e\u0301 \u200b① é".encode(), b"\xff\xfe\x80", b"<s>the</s><unk>", b"tok1tok12 tok1",
             "▁▁the▁best".encode(), b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
             b"the\x00best", "你好世界".encode(), "🦙🦙".encode(), b"1234567890" * 4]
    texts += [" ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 12))).encode()
              for _ in range(16)]
    return texts + [random_text(rng)[:120] for _ in range(28)]


def train_model(name, **options):
    rules = FOLDER / "rules.tsv"
    rules.write_text(RULES)
    out = io.BytesIO()
    if options.pop("rules", False):
        options["normalization_rule_tsv"] = os.path.relpath(rules)
    else:
        options["normalization_rule_name"] = "identity"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=out, minloglevel=2, num_threads=1,
        hard_vocab_limit=False, self_test_sample_size=0, **options)
    rules.unlink()
    (FOLDER / (name + ".model")).write_bytes(out.getvalue())


def make_models():
    train_model("unigram", model_type="unigram", vocab_size=200, rules=True,
                user_defined_symbols=["tok1", "tok12"])
    train_model("unigram_bytes", model_type="unigram", vocab_size=420, byte_fallback=True,
                remove_extra_whitespaces=False)
    train_model("bpe_bytes", model_type="bpe", vocab_size=450, byte_fallback=True,
                remove_extra_whitespaces=False, user_defined_symbols=["tok1", "tok12", "  "])
    train_model("bpe_rules", model_type="bpe", vocab_size=220, rules=True)
    train_model("suffix", model_type="bpe", vocab_size=220, treat_whitespace_as_suffix=True)
    train_model("char", model_type="char", vocab_size=100)


def bpe(**options):
    prefix = options.get("continuing_subword_prefix", "")
    suffix = options.get("end_of_word_suffix", "")
    hf = tokenizers.Tokenizer(models.BPE(**options))
    hf.pre_tokenizer = pre_tokenizers.Metaspace() if not (prefix or suffix) else \
        pre_tokenizers.WhitespaceSplit()
    hf.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<unk>"], show_progress=False, limit_alphabet=60,
        **{k: v for k, v in (("continuing_subword_prefix", prefix), ("end_of_word_suffix", suffix))
           if v}))
    return hf


def with_bytes(hf, one_word):
    """The same with tokens for all bytes, and no pre-tokenizer if it is to be one word."""
    data = json.loads(hf.to_str())
    vocab = data["model"]["vocab"]
    for i in range(256):
        vocab.setdefault(f"<0x{i:02X}>", len(vocab))
    data["model"]["byte_fallback"] = True
    hf = tokenizers.Tokenizer.from_str(json.dumps(data))
    if one_word:
        hf.pre_tokenizer = None
        hf.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    hf.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                    decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return hf


def make_jsons():
    yield "hf_bytes", with_bytes(bpe(unk_token="<unk>", fuse_unk=True), True)
    yield "hf_words", with_bytes(bpe(unk_token="<unk>", fuse_unk=True), False)
    yield "hf_unknown", bpe(unk_token="<unk>", fuse_unk=False)
    yield "hf_fused", bpe(unk_token="<unk>", fuse_unk=True)
    yield "hf_suffix", bpe(unk_token="<unk>", end_of_word_suffix="</w>")
    yield "hf_prefix", bpe(unk_token="<unk>", continuing_subword_prefix="##")
    data = json.loads(bpe(unk_token="<unk>", fuse_unk=True).to_str())
    data["model"]["ignore_merges"] = True
    data["model"]["vocab"]["▁timesandbest"] = len(data["model"]["vocab"])
    yield "hf_ignore", tokenizers.Tokenizer.from_str(json.dumps(data))
    hf = tokenizers.Tokenizer(models.Unigram())
    hf.pre_tokenizer = pre_tokenizers.Metaspace()
    hf.decoder = decoders.Metaspace()
    hf.train_from_iterator(corpus(), trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False))
    yield "hf_unigram", hf


def places(text, offsets):
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [(at[b], at[e]) for b, e in offsets]


def line(text, ids, spans, decoded):
    return " | ".join([text.hex() or "-", " ".join(map(str, ids)),
                       " ".join(f"{b}:{e}" for b, e in spans), decoded]) + "\n"


def main():
    FOLDER.mkdir(exist_ok=True)
    texts = sample_texts()
    make_models()
    for path in sorted(FOLDER.glob("*.model")):
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        with open(path.with_suffix(".cases"), "w") as out:
            for text in texts:
                proto = model.encode(text, return_type="proto")
                out.write(line(text, model.encode(text), [(p.begin, p.end) for p in proto.pieces], "-"))
    for name, hf in make_jsons():
        hf.save(str(FOLDER / (name + ".json")), pretty=False)
        with open(FOLDER / (name + ".cases"), "w") as out:
            for text in texts:
                try:
                    plain = text.decode()
                except UnicodeDecodeError:
                    continue
                encoding = hf.encode(plain)
                out.write(line(text, encoding.ids, places(plain, encoding.offsets),
                               hf.decode(encoding.ids, skip_special_tokens=False).encode().hex()
                               or "-"))


if __name__ == "__main__":
    main()
