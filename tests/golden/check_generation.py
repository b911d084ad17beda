#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Grammars against Python: regular expressions against `re`, JSON schemas against `jsonschema` on values
that are generated under them, token by token, by random choices among what the masks allow. With
LLM_TEST_DATA also beam search against the published ids for tiny-random-gpt2.

Usage: check_generation.py LIBRARY
"""
import json
import os
import pathlib
import random
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

EXPRESSIONS = [r"a(b|c)*d", r"[a-c]{2,4}x?", r"(?:ab|cd)+", r"\d+\.\d{2}", r"[^a]b*", r"a|b|", r"(a?b?){3}",
               r"a{0}", r"x*?y+?", r"é[à-ü]+", r".\w\W\s?\S", r"[\d.x-]{1,3}", r"(a|ab)(c|bcd)", r"\x41\u00e9?"]

SCHEMAS = [
    {},
    {"type": "object"},
    {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0},
                                      "more": {"type": "number"}}, "required": ["age"]},
    {"properties": {"a": {"type": "null"}, "ab": {"const": [1, {"x": "\u00e9"}]}, "\"": {"type": "boolean"}},
     "additionalProperties": {"type": "string", "maxLength": 3}},
    {"type": "array", "items": {"type": "integer", "minimum": -120, "exclusiveMaximum": 1050}, "minItems": 1,
     "maxItems": 4},
    {"type": "array", "prefixItems": [{"type": "boolean"}, {"enum": ["a", "ab", 1, None]}], "items": False},
    {"type": "string", "pattern": "^[a-f]{1,3}\"?$|^\\d{2}"},
    {"type": "string", "minLength": 2, "maxLength": 5},
    {"type": ["string", "integer", "null"]},
    {"anyOf": [{"type": "integer", "maximum": -7}, {"type": "array", "maxItems": 2}]},
    {"oneOf": [{"type": "string", "maxLength": 2}, {"enum": [1, 2, 3]}]},
    {"$ref": "#/$defs/tree", "$defs": {"tree": {
        "type": "object", "properties": {"v": {"type": "integer"}, "c": {
            "type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}}, "required": ["v"],
        "additionalProperties": False}}},
    {"type": "string", "format": "date"}, {"type": "string", "format": "date-time"},
    {"type": "string", "format": "uuid"}, {"type": "string", "format": "ipv4"},
    {"type": "string", "format": "email"}, {"type": "string", "format": "time"},
]


def check_expressions(libllm, tokenizer, rng):
    alphabet = "aabbccdxy1.é\nàA "
    compared = 0
    for text in EXPRESSIONS:
        grammar = libllm.Grammar(tokenizer, regex=text)
        pattern = re.compile(text, re.ASCII)
        for _ in range(400):
            sample = "".join(rng.choice(alphabet) for _ in range(rng.randrange(7)))
            if (grammar.match(sample) == 2) != bool(pattern.fullmatch(sample)):
                return f"{text!r} and {sample!r}: {grammar.match(sample)}"
            compared += 1
    print(f"{compared} texts judged as by re")
    return None


def generate(grammar, rng, most=600):
    """A random text; near the end what closes is preferred. None: not complete within `most` bytes."""
    text = b""
    while len(text) < most:
        if grammar.match(text) == 2 and rng.random() < 0.3:
            return text
        allowed = sorted(grammar.allowed(list(text)))
        if not allowed:
            return text
        closing = [i for i in allowed if chr(i) in '"]}']
        text += bytes([rng.choice(closing if closing and rng.random() < 0.4 else allowed)])
    return None


def check_schemas(libllm, tokenizer, rng):
    try:
        import jsonschema
    except ImportError:
        print("SKIPPED: jsonschema is not installed")
        return None
    made = 0
    for schema in SCHEMAS:
        grammar = libllm.Grammar(tokenizer, schema=schema)
        validator = jsonschema.Draft202012Validator(
            schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
        complete = 0
        for _ in range(120):
            text = generate(grammar, rng)
            if text is None:
                continue
            complete += 1
            errors = list(validator.iter_errors(json.loads(text)))
            if errors:
                return f"{schema}: {text!r}: {errors[0].message}"
        if complete < 10:
            return f"{schema}: only {complete} complete texts"
        made += complete
    print(f"{made} values valid under {len(SCHEMAS)} schemas")
    return None


def check_vocabularies(libllm, rng):
    """Tokens that are spelled in another way than they read: what masks allow still follows the grammar."""
    data = os.environ.get("LLM_TEST_DATA")
    if not data:
        print("SKIPPED: LLM_TEST_DATA is not set")
        return None
    schema = {"type": "object", "properties": {"na me": {"type": "string"}, "n": {"type": "integer"}},
              "required": ["na me", "n"]}
    texts = 0
    for name in ("tinyllamas-260k/stories260K.gguf", "vocab-gpt2", "vocab-llama2/tokenizer.model", "vocab-t5"):
        tokenizer = libllm.Tokenizer.load(pathlib.Path(data) / name)
        grammar = libllm.Grammar(tokenizer, schema=schema)
        first = tokenizer.encode("a")
        before = tokenizer.decode(first)
        for _ in range(10):
            ids = []
            for _ in range(60):
                allowed = sorted(grammar.allowed(ids))
                if not allowed:
                    break
                ids.append(rng.choice(allowed))
                text = tokenizer.decode(first + ids)[len(before):]
                if "\ufffd" not in text and grammar.match(text) == 0:
                    return f"{name}: {ids} is {text!r}"
                texts += 1
    print(f"{texts} texts of other vocabularies follow the grammar")
    return None


def check_beams(libllm):
    data = os.environ.get("LLM_TEST_DATA")
    if not data:
        print("SKIPPED: LLM_TEST_DATA is not set")
        return None
    folder = pathlib.Path(data) / "tiny-random-gpt2"
    expected = json.loads((folder / "reference.json").read_text())["beam"]
    model = libllm.Model.load(folder)
    for ids, want in zip(expected["input_ids"], expected["expected"]):
        session = libllm.Session(model)
        session.append(ids)
        session.beam_search(beams=expected["num_beams"], length_penalty=expected["length_penalty"],
                            max_tokens=expected["max_length"] - len(ids))
        got = session.ids
        if got != want[:len(got)] or any(i != expected["eos"] for i in want[len(got):]):
            return f"beams after {ids}: {got}, expected {want}"
    print(f"{len(expected['expected'])} beam searches as published")
    return None


def main(library):
    os.environ["LIBLLM"] = library
    sys.path.insert(0, str(ROOT / "examples" / "python"))
    sys.dont_write_bytecode = True
    import libllm
    rng = random.Random(5)
    context = libllm.Context.default()
    pointer = libllm._p()
    options = libllm._options(libllm.TrainTokenizerOptions, "llm_tokenizer_train_options_init", kind=3)
    libllm._check(libllm._lib.llm_tokenizer_train(libllm.c.byref(pointer), context, None, None, libllm._size(0),
                                                  libllm.c.byref(options)))
    tokenizer = libllm.Tokenizer(pointer)
    problem = (check_expressions(libllm, tokenizer, rng) or check_schemas(libllm, tokenizer, rng)
               or check_vocabularies(libllm, rng) or check_beams(libllm))
    print(problem or "all as expected")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
