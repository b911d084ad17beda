# SPDX-License-Identifier: MIT
"""Tokenizers made of every component of tokenizer.json and of combinations, and texts for them."""
import random

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors)

LETTERS = ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,!?'\"-_/()[]<>|#@$%&*"
           "+=^~`{}\\:;éèüñçßøåœÉÜÑàâêîôûäëïöÿſıİΣσςαβγабвгдейёاأمحبدपायहिन्दीক의한글汉字漢字かなカナ"
           "ー々▁Ġ²½٣①…—“”’€👍🏽👩‍🦰🇪🇸\u0301\u0300\u0327\u0323\u00a0\u2003\u200b\u0085\u180e\u3000"
           "\ufeff\u200d\n\t\r\ufdfa\u1e9b\u212b\u0344\u1100\u1161\u11a8ﬀ")
PIECES = ["the", "ing", "un", "able", "word", "hello", "world", "qu", "ick", "er", "ed", "day", "中文"]

REAL_PATTERNS = {
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+"
              r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "tekken": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
              r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?"
              r"[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "deepseek3": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]"
                 r"+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "deepseek words": r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫ]+",
    "deepseek marks": r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    "deepseek end": r"\s+$",
    "cjk": "[一-龥ࠀ-一가-퟿]+",
    "digits": r"[0-9][0-9][0-9]",
    "digits {3}": r"\p{N}{1,3}",
    "spaces": r"\s+",
    "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "starcoder": r"\p{N}",
    "gpt-4o": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re"
              r"|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}"
              r"\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+"
              r"|\s+(?!\S)|\s+",
    "possessive": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++"
                  r"[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "han": r"\p{Han}+|[\p{L}&&[^\p{Han}]]+|\p{^L}",
    "lazy": r"a+?b|[^ab]{2,3}|\w*?\d",
}


def vocabulary():
    tokens = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    for piece in list(dict.fromkeys(LETTERS.replace(" ", "") + " ")) + PIECES:
        tokens += [piece, "##" + piece]
    return {t: i for i, t in enumerate(dict.fromkeys(tokens))}


def word_piece():
    return models.WordPiece(vocabulary(), unk_token="[UNK]", max_input_chars_per_word=40)


def byte_level_bpe():
    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"), ("in", "g"), ("Ġ", "w"), ("o", "r"),
              ("Ã", "©"), ("ä", "¸"), ("ä¸", "Ń"), ("Ġ", "Ġ"), ("1", "2"), ("12", "3"), ("ðŁ", "ĳ")]
    merges = [m for m in merges if all(x in vocab or len(x) > 1 for x in m)]
    for a, b in list(merges):
        if a in vocab and b in vocab:
            vocab.setdefault(a + b, len(vocab))
        else:
            merges.remove((a, b))
    return models.BPE(vocab, merges)


def make(model=None, normalizer=None, pre=None, decoder=None, post=None, added=()):
    tokenizer = Tokenizer(model or word_piece())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    if decoder is not None:
        tokenizer.decoder = decoder
    if post is not None:
        tokenizer.post_processor = post
    for token in added:
        if token.special:
            tokenizer.add_special_tokens([token])
        else:
            tokenizer.add_tokens([token])
    return tokenizer


def bert(lowercase=True, strip_accents=None):
    return make(normalizer=normalizers.BertNormalizer(lowercase=lowercase,
                                                      strip_accents=strip_accents),
                pre=pre_tokenizers.BertPreTokenizer(), decoder=decoders.WordPiece(),
                post=processors.TemplateProcessing(
                    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                    special_tokens=[("[CLS]", 1), ("[SEP]", 2)]),
                added=[AddedToken(t, special=True, normalized=False)
                       for t in ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")])


def tokenizers():
    """Name to tokenizer, all of them."""
    n, p, d = normalizers, pre_tokenizers, decoders
    all_of = {"bert": bert(), "bert cased": bert(False), "bert accents": bert(True, False)}
    split = p.WhitespaceSplit()
    norms = {"strip": n.Strip(), "lstrip": n.Strip(right=False), "rstrip": n.Strip(left=False),
             "accents": n.StripAccents(), "nfc": n.NFC(), "nfd": n.NFD(), "nfkc": n.NFKC(),
             "nfkd": n.NFKD(), "lower": n.Lowercase(), "nmt": n.Nmt(), "prepend": n.Prepend("▁"),
             "replace": n.Replace(" ", "▁"), "replace re": n.Replace(Regex(r"\s+"), " "),
             "replace long": n.Replace("the", ""), "bytes": n.ByteLevel(),
             "no clean": n.BertNormalizer(clean_text=False),
             "no chinese": n.BertNormalizer(handle_chinese_chars=False),
             "nfd strip": n.Sequence([n.NFD(), n.StripAccents(), n.Lowercase()]),
             "llama": n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")]),
             "xlnet": n.Sequence([n.Replace("``", '"'), n.Replace("''", '"'), n.NFKD(),
                                  n.StripAccents(), n.Lowercase(), n.Replace(Regex(" {2,}"), " ")]),
             "nested": n.Sequence([n.Sequence([n.NFKC(), n.Strip()]), n.Sequence([n.Lowercase()])])}
    for name, norm in norms.items():
        all_of["normalizer " + name] = make(normalizer=norm, pre=split)
        all_of["normalizer only " + name] = make(normalizer=norm)
    pres = {"none": None, "bert": p.BertPreTokenizer(), "byte level": p.ByteLevel(),
            "byte level plain": p.ByteLevel(add_prefix_space=False),
            "byte level whole": p.ByteLevel(use_regex=False), "delimiter": p.CharDelimiterSplit("-"),
            "metaspace": p.Metaspace(), "metaspace first": p.Metaspace(prepend_scheme="first"),
            "metaspace never": p.Metaspace(prepend_scheme="never"),
            "metaspace whole": p.Metaspace(split=False), "metaspace _": p.Metaspace("_"),
            "whitespace": p.Whitespace(), "digits": p.Digits(), "digits alone": p.Digits(True),
            "scripts": p.UnicodeScripts(), "fixed": p.FixedLength(3), "split space": p.WhitespaceSplit()}
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        pres["punctuation " + behavior] = p.Punctuation(behavior)
        for invert in (False, True):
            pres["split %s %d" % (behavior, invert)] = p.Split("a", behavior, invert)
            pres["split re %s %d" % (behavior, invert)] = p.Split(Regex(r"[aeiou]+|\s"), behavior,
                                                                  invert)
    for name, pattern in REAL_PATTERNS.items():
        pres["pattern " + name] = p.Split(Regex(pattern), "isolated")
        pres["pattern inverted " + name] = p.Split(Regex(pattern), "removed", True)
    pres["falcon"] = p.Sequence([p.Punctuation("contiguous"), p.ByteLevel(add_prefix_space=False),
                                 p.Digits(), p.Split(Regex("[0-9][0-9][0-9]"), "isolated")])
    pres["deepseek"] = p.Sequence([p.Split(Regex("[\r\n]"), "isolated"),
                                   p.Split(Regex(REAL_PATTERNS["deepseek words"]), "isolated"),
                                   p.Split(Regex(REAL_PATTERNS["deepseek marks"]), "isolated"),
                                   p.Split(Regex(r"\s+$"), "isolated"),
                                   p.Split(Regex(REAL_PATTERNS["cjk"]), "isolated"), p.Digits(True),
                                   p.ByteLevel(add_prefix_space=False, use_regex=False)])
    pres["scripts metaspace"] = p.Sequence([p.WhitespaceSplit(), p.UnicodeScripts(), p.Metaspace()])
    for name, pre in pres.items():
        all_of["pre " + name] = make(pre=pre)
        if name in ("metaspace first", "metaspace", "scripts", "bert", "byte level"):
            all_of["strip, pre " + name] = make(normalizer=n.Strip(), pre=pre)
            all_of["prepend, pre " + name] = make(normalizer=n.Prepend("x "), pre=pre)
    for name, pre in (("byte level", p.ByteLevel()), ("falcon", pres["falcon"]),
                      ("deepseek", pres["deepseek"]), ("gpt-2", p.ByteLevel(add_prefix_space=False)),
                      ("tekken", p.Sequence([p.Split(Regex(REAL_PATTERNS["tekken"]), "isolated"),
                                             p.ByteLevel(add_prefix_space=False, use_regex=False)]))):
        for norm_name, norm in (("", None), ("nfc ", n.NFC()), ("lower ", n.Lowercase())):
            all_of["bpe " + norm_name + name] = make(byte_level_bpe(), norm, pre, d.ByteLevel())
    all_of["bpe byte normalizer"] = make(byte_level_bpe(), n.ByteLevel(),
                                         p.Split(Regex(r"Ġ?\w+|[^\w]"), "isolated"), d.ByteLevel())
    all_of["bpe roberta"] = make(byte_level_bpe(), None, p.ByteLevel(), d.ByteLevel(),
                                 processors.RobertaProcessing(("b", 65), ("a", 64)))
    flags = [dict(zip(("single_word", "lstrip", "rstrip"), map(bool, f)))
             for f in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1))]
    for i, f in enumerate(flags):
        for normalized in (False, True):
            added = [AddedToken("Hello", normalized=normalized, **f),
                     AddedToken("É", normalized=normalized, special=True, **f),
                     AddedToken("<x y>", normalized=normalized, **f)]
            all_of["added %d %d" % (i, normalized)] = make(
                normalizer=n.BertNormalizer(), pre=p.BertPreTokenizer(), added=added,
                decoder=d.WordPiece())
            all_of["added metaspace %d %d" % (i, normalized)] = make(
                normalizer=n.NFKC(), pre=p.Metaspace(prepend_scheme="first"), added=added,
                decoder=d.Metaspace())
    decs = {"none": None, "bpe": d.BPEDecoder("e"), "byte level": d.ByteLevel(),
            "word piece": d.WordPiece(), "word piece raw": d.WordPiece(cleanup=False),
            "metaspace": d.Metaspace(), "metaspace never": d.Metaspace(prepend_scheme="never"),
            "ctc": d.CTC("a", "b"), "ctc raw": d.CTC("a", "b", False), "fuse": d.Fuse(),
            "replace": d.Replace("a", "[]"), "replace re": d.Replace(Regex("[aeiou]+"), "*"),
            "strip": d.Sequence([d.Fuse(), d.Strip("#", 1, 0)]), "byte fallback": d.ByteFallback(),
            "llama": d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)])}
    for name, decoder in decs.items():
        all_of["decoder " + name] = make(pre=split, decoder=decoder)
    words = {w: i for i, w in enumerate(["<unk>", "the", "a", "hello", ".", "été"])}
    all_of["word level"] = make(models.WordLevel(words, unk_token="<unk>"), None, p.Whitespace())
    return all_of


PHRASES = ["Hello world!", "hello   É <x y> Hello  ", "Hellos", " Hello", "été ETÉ naïve", "中文字 mixed",
           "don't I'LL we've", "1234567 12.5", "हिन्दी पाठ", "مرحبا بالعالم", "the unable worlding",
           "a\u0301\u0327b\u0327\u0301", "\u1100\u1161\u11a8", "ﬀ ﷺ Å ẛ̣", "👩‍👩‍👧 👍🏽", "x\u0085y\u180ez\u200bw",
           "a-b--c- -", "▁▁a ▁b", "``q''  s", "İıſK", "", " ", "\n\n  \n", "#a##b", "aab  bba", "a" * 50,
           "do not . ? ! , ' n't 'm 's 've 're", "...!!! --", "[CLS] a [SEP] [MASK]", "\x00\x01\x7f\ufffd"]


def texts(seed, count):
    rng = random.Random(seed)
    out = list(PHRASES)
    while len(out) < count:
        kind = rng.randrange(3)
        if kind == 0:
            out.append("".join(rng.choice(LETTERS) for _ in range(rng.randrange(1, 25))))
        elif kind == 1:
            out.append(rng.choice([" ", "", "\n"]).join(rng.choice(PHRASES)
                                                        for _ in range(rng.randrange(1, 4))))
        else:
            points = [rng.choice((rng.randrange(0x250), rng.randrange(0x3000), rng.randrange(0x20000)))
                      for _ in range(rng.randrange(1, 12))]
            out.append("".join(chr(c) for c in points if not 0xD800 <= c < 0xE000))
    return out
