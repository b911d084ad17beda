#!/usr/bin/env python3
"""Larger random decoder models than the fixtures hold, against transformers, run by hand:
whole prompts, chunks and single tokens through a session's cache, saving, and greedy texts.

Usage: LIBLLM=build/lib/libllm.so compare_transformers.py [VARIANT...]
Needs torch and transformers. Prints the largest differences; exits with 1 above 1e-4 of the largest
logit.
"""
import ctypes
import pathlib
import sys
import tempfile

import torch

here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here), str(here.parents[1] / "examples" / "python")]
import libllm  # noqa: E402
from decoder_variants import VARIANTS, attention_of, make_model  # noqa: E402

TOKENS, VOCABULARY = 150, 499
LARGE = dict(vocab_size=VOCABULARY, hidden_size=192, intermediate_size=304, num_hidden_layers=4)
CHANGES = {
    "gemma3": dict(num_hidden_layers=3), "falcon-rw": dict(num_attention_heads=6),
    "mixtral": dict(intermediate_size=96),
    "phi3-long": dict(hidden_size=24, max_position_embeddings=400),
}


def session_logits(model, ids, chunks):
    session = libllm.Session(model)
    row = (ctypes.c_float * VOCABULARY)()
    rows = []
    for begin, end in zip(chunks[:-1], chunks[1:]):
        session.append(ids[begin:end])
        libllm._check(libllm._lib.llm_session_logits(row, VOCABULARY, None, session))
        rows.append(torch.tensor(list(row)))
    return torch.stack(rows)


def reference_steps(model, ids, chunks):
    cache, rows = None, []
    for begin, end in zip(chunks[:-1], chunks[1:]):
        out = model(torch.tensor([ids[begin:end]]), past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        rows.append(out.logits[0, -1])
    return torch.stack(rows)


def greedy_agrees(model, mine, ids, prompt):
    """The likeliest tokens after a prompt, from a prompt that every scaled context outgrows."""
    count = len(ids) - prompt
    theirs = model.generate(torch.tensor([ids[:prompt]]), max_new_tokens=count, do_sample=False,
                            eos_token_id=None, pad_token_id=0)[0].tolist()
    session = libllm.Session(mine)
    session.append(ids[:prompt])
    session.generate(temperature=0.0, max_tokens=count, ignore_eos=1)
    return session.ids == theirs


def compare(name):
    positions = {} if name == "llama-dynamic" else dict(max_position_embeddings=256)
    if name == "llama-dynamic":
        positions = dict(max_position_embeddings=64)
    model = make_model(name, deviation=0.05, **{**LARGE, **positions, **CHANGES.get(name, {})})
    ids = torch.randint(0, VOCABULARY, (TOKENS,), generator=torch.Generator().manual_seed(3)).tolist()
    steps = [0, 40, 41, 42, 60] + list(range(61, TOKENS + 1))
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        mine = libllm.Model.load(folder)
        whole = model(torch.tensor([ids]), use_cache=False).logits[0]
        scale = whole.abs().max().item()
        error = (torch.tensor(mine.logits(ids)) - whole).abs().max().item()
        expected = reference_steps(model, ids, steps)
        if name == "phi3-long":  # generate() reads the text anew where it outgrows the first context
            expected = whole[[end - 1 for end in steps[1:]]]
        stepped = (session_logits(mine, ids, steps) - expected).abs().max()
        with tempfile.TemporaryDirectory() as other:
            mine.save(other)
            again = torch.tensor(libllm.Model.load(other).logits(ids))
            back = type(model).from_pretrained(other,
                                               attn_implementation=attention_of(name)).eval()
            saved = (back(torch.tensor([ids]), use_cache=False).logits[0] - whole).abs().max().item()
            same = torch.equal(again, torch.tensor(mine.logits(ids)))
        greedy = all(greedy_agrees(model, mine, ids[:60], prompt) for prompt in (10, 40))
    print(f"{name:18} logits up to {scale:7.3f}: whole {error:.1e}, cached {stepped.item():.1e}, "
          f"saved and read by transformers {saved:.1e}, by us {'equal' if same else 'DIFFERS'}; "
          f"greedy text {'equal' if greedy else 'DIFFERS'}", flush=True)
    return max(error, stepped.item(), saved) <= 1e-4 * max(scale, 1.0) and same and greedy


if __name__ == "__main__":
    torch.set_num_threads(1)
    libllm._declare("llm_session_logits", ctypes.c_int32, ctypes.POINTER(ctypes.c_float),
                    ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p)
    names = sys.argv[1:] or list(VARIANTS)
    failed = [name for name in names if not compare(name)]
    sys.exit(f"too different: {', '.join(failed)}" if failed else 0)
