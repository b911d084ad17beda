#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Fixtures for every component of tokenizer.json, from Hugging Face tokenizers; and the same live.

Usage: python3 make_pipeline.py              writes tokenizers/pipeline.txt (packages: tokenizers)
       python3 make_pipeline.py corpus       writes seeds of the fuzz target, tests/fuzz/corpus
       LIBLLM=path/libllm.so python3 make_pipeline.py COUNT [NAME]
                                             compares on COUNT texts per tokenizer whose name has NAME

The fixture is a text file. Lines: "M json" a model; "T number json" a tokenizer without its model,
which is that of the number; "C text [pair]" texts in hex ("-" empty) with options as "key=value";
then for each piece "I ids", "Y types" (of the first piece alone: theirs gives the others wrong ones),
"W words", "O" begins and ends in characters; "D text" what the ids of the first piece decode to.
"""
import json
import os
import sys

from tokenizers import Tokenizer, processors

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pipeline_cases as cases  # noqa: E402

STRATEGIES = ["longest_first", "only_first", "only_second"]


def pieces(encoding):
    return [encoding] + list(encoding.overflowing)


def theirs(tokenizer, text, pair, options):
    """Pieces of theirs, or None where it gives up."""
    tokenizer.no_truncation()
    if options.get("max_tokens"):
        tokenizer.enable_truncation(
            options["max_tokens"], stride=options.get("stride", 0),
            strategy=STRATEGIES[options.get("truncation_strategy", 0)],
            direction="left" if options.get("truncation_side") else "right")
    try:
        return pieces(tokenizer.encode(text, pair,
                                       add_special_tokens=bool(options.get("add_special", 1))))
    except BaseException as error:  # panics too
        if type(error) is KeyboardInterrupt:
            raise
        return None


def option_sets(i):
    """Options for the i-th text."""
    sets = [{}, {"add_special": 0}, {"max_tokens": 5 + i % 7, "stride": i % 3},
            {"max_tokens": 6 + i % 5, "truncation_side": 1, "stride": i % 2},
            {"max_tokens": 7 + i % 9, "truncation_strategy": 1},
            {"max_tokens": 7 + i % 9, "truncation_strategy": 2, "stride": i % 2}]
    return sets[i % len(sets)]


def inputs(name, count):
    """Texts, every third with a pair, and options."""
    seed = sum(map(ord, name))
    texts = cases.texts(seed, count)
    for i, text in enumerate(texts):
        pair = texts[(i * 7 + 3) % len(texts)] if i % 3 == 2 else None
        yield text, pair, (option_sets(i // 2) if i % 2 else {})


def post_processors():
    """Byte-level and BERT tokenizers with every post-processor."""
    p = processors
    template = p.TemplateProcessing(single="[CLS]:7 $A:3 [SEP]", pair="$B:2 [SEP] [CLS] $A:1 [SEP]:9",
                                    special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    twice = p.TemplateProcessing(single="$A [SEP] $A:1", pair="$A [SEP] $B:1 $A:2",
                                 special_tokens=[("[SEP]", 2)])
    posts = {"bert": p.BertProcessing(("[SEP]", 2), ("[CLS]", 1)), "template": template,
             "twice": twice, "byte level": p.ByteLevel(), "byte level no trim": p.ByteLevel(False),
             "roberta": p.RobertaProcessing(("[SEP]", 2), ("[CLS]", 1)),
             "roberta no prefix": p.RobertaProcessing(("[SEP]", 2), ("[CLS]", 1), True, False),
             "roberta no trim": p.RobertaProcessing(("[SEP]", 2), ("[CLS]", 1), False),
             "llama3": p.Sequence([p.ByteLevel(True), template])}
    for name, post in posts.items():
        yield "post " + name, cases.make(pre=cases.pre_tokenizers.Whitespace(), post=post)
        yield "post spaces " + name, cases.make(
            pre=cases.pre_tokenizers.Split(cases.Regex(r"\s*\w+"), "isolated"), post=post)
        yield "post bytes " + name, cases.make(cases.byte_level_bpe(), None,
                                               cases.pre_tokenizers.ByteLevel(), None, post)


def all_tokenizers():
    yield from cases.tokenizers().items()
    yield from post_processors()


def hexed(text):
    return text.encode().hex() or "-"


def write(path):
    models = []
    with open(path, "w") as out:
        print("# made by make_pipeline.py", file=out)
        for name, tokenizer in all_tokenizers():
            tokenizer.no_truncation()
            rest = json.loads(tokenizer.to_str())
            model = json.dumps(rest.pop("model"), separators=(",", ":"))
            if model not in models:
                models.append(model)
                print("M", model, file=out)
            print("T", models.index(model), json.dumps(rest, separators=(",", ":")), file=out)
            for i, (text, pair, options) in enumerate(inputs(name, 45)):
                if i % 15 != sum(map(ord, name)) % 15 or len(text) + len(pair or "") > 36:
                    continue
                got = theirs(tokenizer, text, pair, options)
                if got is None or len(got) > 12:
                    continue
                words = [hexed(text)] + ([hexed(pair)] if pair is not None else [])
                words += ["%s=%d" % item for item in options.items()]
                print("C", *words, file=out)
                for e in got:
                    print("I", *e.ids, file=out)
                    if e is got[0]:
                        print("Y", *e.type_ids, file=out)
                    print("W", *[-1 if w is None else w for w in e.word_ids], file=out)
                    print("O", *[x for o in e.offsets for x in o], file=out)
                if got[0].ids:
                    print("D", hexed(tokenizer.decode(got[0].ids, skip_special_tokens=False)),
                          file=out)


def compare(count, only):
    import tokenizer_ctypes as ours
    total = 0
    bad = {}
    for name, tokenizer in all_tokenizers():
        if only not in name:
            continue
        tokenizer.no_truncation()
        mine = ours.Tokenizer(json=tokenizer.to_str().encode())
        again = ours.Tokenizer(json=mine.to_json())
        Tokenizer.from_str(mine.to_json().decode())
        for text, pair, options in inputs(name, count):
            expected = theirs(tokenizer, text, pair, options)
            if expected is None:
                continue
            total += 1
            case = (text, pair, options)
            try:
                got = ours.encode_whole(mine, text, pair, parse_special=1, **options)
            except ours.Failure as failure:
                bad.setdefault(name, []).append((case, str(failure)))
                continue
            # Pieces after the first have types that are not the template's in theirs.
            left = [(p.ids, p.types if i == 0 else 0, p.special, p.words, p.characters)
                    for i, p in enumerate(got)]
            right = [(e.ids, e.type_ids if e is expected[0] else 0, e.special_tokens_mask,
                      [-1 if w is None else w for w in e.word_ids], e.offsets) for e in expected]
            for what, a, b in ((w, x, y) for p, q in zip(left, right)
                               for w, x, y in zip(("ids", "types", "special", "words", "offsets"),
                                                  p, q)):
                if a != b:
                    bad.setdefault(name, []).append((case, what, a, b))
                    break
            else:
                if len(left) != len(right):
                    bad.setdefault(name, []).append((case, "pieces", len(left), len(right)))
            if pair is None and not options:
                ids = mine.encode(text, parse_special=True)
                if ids != expected[0].ids or again.encode(text, parse_special=True) != ids:
                    bad.setdefault(name, []).append((case, "plain ids", ids, expected[0].ids))
                if not ids:
                    continue
                back = mine.decode(ids, replace=True).decode()
                if back != tokenizer.decode(ids, skip_special_tokens=False):
                    bad.setdefault(name, []).append(
                        (case, "text", back, tokenizer.decode(ids, skip_special_tokens=False)))
    for name, list_of in bad.items():
        print("DIFFERENT %s: %d" % (name, len(list_of)), *map(repr, list_of[:2]), sep="\n    ")
    print("%d comparisons, %d differences" % (total, sum(map(len, bad.values()))))
    return 1 if bad else 0


def write_corpus(folder):
    """A seed for each stage, with a small model."""
    seen = set()
    for name, tokenizer in all_tokenizers():
        whole = json.loads(tokenizer.to_str())
        for field in ("normalizer", "pre_tokenizer", "decoder", "post_processor"):
            stage = json.dumps(whole[field], ensure_ascii=False, separators=(",", ":"))
            kind = (whole[field] or {}).get("type")
            if not kind or len(stage) > 420 or sum(k == (field, kind) for k, _ in seen) > 2 or \
               ((field, kind), stage) in seen:
                continue
            number = sum(k == (field, kind) for k, _ in seen)
            seen.add(((field, kind), stage))
            model = {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {
                t: i for i, t in enumerate(["[UNK]", "[CLS]", "[SEP]", "a", "b", "##a", "##b", "ab"])}}
            seed = {field: whole[field], "model": model,
                    "added_tokens": [{"id": 7, "content": "ab", "normalized": True, "lstrip": True}]}
            with open(os.path.join(folder, "%s_%s_%d" % (field, kind.lower(), number)), "w") as out:
                json.dump(seed, out, ensure_ascii=False, separators=(",", ":"))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    if sys.argv[1:] == ["corpus"]:
        write_corpus(os.path.join(here, "..", "fuzz", "corpus", "tokenizer_json"))
        return 0
    if len(sys.argv) > 1:
        return compare(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
    write(os.path.join(here, "tokenizers", "pipeline.txt"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
