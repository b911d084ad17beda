#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""libllm's tokenizer against Hugging Face tokenizers and tiktoken, in turns, on one thread.

    LIBLLM=path/libllm.so tokenizers.py encode GPT2_FOLDER CL100K.tiktoken FILE...
    LIBLLM=path/libllm.so tokenizers.py file TOKENIZER FILE...     any tokenizer.json, or a vocab.txt
    LIBLLM=path/libllm.so tokenizers.py model TOKENIZER.model FILE...    against sentencepiece
    LIBLLM=path/libllm.so tokenizers.py train VOCAB_SIZE THREADS FILE...

Prints JSON lines. Encoding: each file is cut into documents of about 8 KiB; MB/s by the processor time
of the calling thread, median of 5 turns; all ids are compared. Of the peers the quickest call is
timed (encode_batch_fast, encode_to_numpy). Training: seconds by the wall clock, GPT-2's split, median of 3;
the merges are compared.
"""
import ctypes
import json
import os
import pathlib
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != HERE]  # our own name is in the way
sys.path.append(str(HERE.parent.parent / "tests" / "golden"))
MODE = sys.argv[1]
os.environ["TOKENIZERS_PARALLELISM"] = "true" if MODE == "train" else "false"
if MODE == "train":
    os.environ["RAYON_NUM_THREADS"] = sys.argv[3]

import tiktoken  # noqa: E402
import tokenizers  # noqa: E402
from tokenizers import decoders, models, pre_tokenizers, trainers  # noqa: E402

import tokenizer_ctypes as ours  # noqa: E402
from compare_tokenizers import TIKTOKEN_PATTERNS, load_ranks  # noqa: E402


def documents(path, size=8192, most=10_000_000):
    text = pathlib.Path(path).read_bytes()[:most].decode("utf-8", "ignore")
    return [text[i:i + size] for i in range(0, len(text), size)]


class Mine:
    """encode() without conversions: the ids stay in a buffer."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.capacity = 1 << 17
        self.ids = (ctypes.c_int32 * self.capacity)()
        self.count = ctypes.c_size_t()

    def encode(self, data):
        ours.check(ours.lib.llm_tokenizer_encode(
            self.ids, ctypes.c_size_t(self.capacity), ctypes.byref(self.count),
            self.tokenizer.handle, data, ctypes.c_size_t(len(data)), None))


def turn(encode, inputs):
    start = time.thread_time()
    for text in inputs:
        encode(text)
    return time.thread_time() - start


def gpt2_rivals(folder):
    hf = tokenizers.Tokenizer(models.BPE.from_file(folder + "/vocab.json", folder + "/vocab.bpe"))
    hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    mine = ours.Tokenizer(folder)
    vocab = json.load(open(folder + "/vocab.json", encoding="utf-8"))
    back = {chr(c): b for b, c in zip(
        list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256)),
        list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256)))}
    rest = [b for b in range(256) if b not in back.values()]
    back.update({chr(256 + i): b for i, b in enumerate(rest)})
    ranks = {bytes(back[c] for c in t): i for t, i in vocab.items() if t != "<|endoftext|>"}
    return mine, hf, tiktoken.Encoding("gpt2", pat_str=TIKTOKEN_PATTERNS["gpt2"],
                                       mergeable_ranks=ranks, special_tokens={})


def cl100k_rivals(path):
    mine = ours.Tokenizer(path)
    hf = tokenizers.Tokenizer.from_str(mine.to_json().decode())
    return mine, hf, tiktoken.Encoding("cl100k", pat_str=TIKTOKEN_PATTERNS["cl100k"],
                                       mergeable_ranks=load_ranks(path), special_tokens={})


def bench_encode(gpt2_folder, cl100k_path, files):
    for name, (mine, hf, tik) in (("gpt2", gpt2_rivals(gpt2_folder)),
                                  ("cl100k", cl100k_rivals(cl100k_path))):
        hf.encode_special_tokens = True
        fast = Mine(mine)
        for path in files:
            texts = documents(path)
            data = [t.encode() for t in texts]
            size = sum(map(len, data))
            same = all(mine.encode(d) == tik.encode_ordinary(t) == hf.encode_batch_fast([t])[0].ids
                       for t, d in zip(texts, data))
            times = {"libllm": [], "tokenizers": [], "tiktoken": []}
            for _ in range(5):
                times["libllm"].append(turn(fast.encode, data))
                times["tokenizers"].append(turn(lambda t: hf.encode_batch_fast([t]), texts))
                times["tiktoken"].append(turn(tik.encode_to_numpy, texts))
            speed = {k: size / statistics.median(v) * 1e-6 for k, v in times.items()}
            print(json.dumps({"bench": "tokenizer_encode", "vocabulary": name,
                              "input": os.path.basename(path), "bytes": size, "same_ids": same,
                              **{k + "_MB/s": round(v, 2) for k, v in speed.items()},
                              "x_tokenizers": round(speed["libllm"] / speed["tokenizers"], 2),
                              "x_tiktoken": round(speed["libllm"] / speed["tiktoken"], 2)}),
                  flush=True)


def bench_file(path, files):
    """WordPiece, Unigram, ...: ours against theirs reading what we read."""
    mine = ours.Tokenizer(path)
    hf = tokenizers.Tokenizer.from_str(mine.to_json().decode())
    fast = Mine(mine)
    for file in files:
        texts = documents(file)
        data = [t.encode() for t in texts]
        size = sum(map(len, data))
        same = all(mine.encode(d, parse_special=True) == hf.encode_batch_fast([t])[0].ids
                   for t, d in zip(texts, data))
        times = {"libllm": [], "tokenizers": []}
        for _ in range(5):
            times["libllm"].append(turn(fast.encode, data))
            times["tokenizers"].append(turn(lambda t: hf.encode_batch_fast([t]), texts))
        speed = {k: size / statistics.median(v) * 1e-6 for k, v in times.items()}
        print(json.dumps({"bench": "tokenizer_encode", "vocabulary": os.path.basename(path),
                          "model": json.loads(hf.to_str())["model"]["type"],
                          "input": os.path.basename(file), "bytes": size, "same_ids": same,
                          **{k + "_MB/s": round(v, 2) for k, v in speed.items()},
                          "x_tokenizers": round(speed["libllm"] / speed["tokenizers"], 2)}),
              flush=True)


def bench_model(path, files):
    """A SentencePiece model: ours against sentencepiece, both given bytes."""
    import sentencepiece
    peer = sentencepiece.SentencePieceProcessor(model_file=path)
    mine = ours.Tokenizer(path)
    fast = Mine(mine)
    for file in files:
        data = [t.encode() for t in documents(file)]
        size = sum(map(len, data))
        same = all(mine.encode(d, add_special=False) == peer.encode(d) for d in data)
        times = {"libllm": [], "sentencepiece": []}
        for _ in range(5):
            times["libllm"].append(turn(fast.encode, data))
            times["sentencepiece"].append(turn(peer.encode, data))
        speed = {k: size / statistics.median(v) * 1e-6 for k, v in times.items()}
        print(json.dumps({"bench": "tokenizer_encode", "vocabulary": os.path.basename(path),
                          "input": os.path.basename(file), "bytes": size, "same_ids": same,
                          **{k + "_MB/s": round(v, 2) for k, v in speed.items()},
                          "x_sentencepiece": round(speed["libllm"] / speed["sentencepiece"], 2)}),
              flush=True)


def bench_train(vocab_size, threads, files):
    texts = [pathlib.Path(f).read_text(encoding="utf-8", errors="ignore") for f in files]
    size = sum(len(t.encode()) for t in texts)
    times = {"libllm": [], "tokenizers": []}
    same = True
    for _ in range(3):
        data = [t.encode() for t in texts]
        start = time.perf_counter()
        mine = ours.Tokenizer.train(data, split="gpt2", vocab_size=vocab_size, min_frequency=2,
                                    threads=threads)
        times["libllm"].append(time.perf_counter() - start)
        hf = tokenizers.Tokenizer(models.BPE())
        hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        hf.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=vocab_size, min_frequency=2, show_progress=False,
                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
        # Theirs runs in parallel over documents: give it many.
        many = [t[i:i + 100000] for t in texts for i in range(0, len(t), 100000)]
        start = time.perf_counter()
        hf.train_from_iterator(many, trainer)
        times["tokenizers"].append(time.perf_counter() - start)
    whole = tokenizers.Tokenizer(models.BPE())
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole.train_from_iterator(many, trainer)
    mine = ours.Tokenizer.train(many, split="gpt2", vocab_size=vocab_size, min_frequency=2,
                                threads=threads)
    same = (json.loads(mine.to_json())["model"]["merges"] ==
            json.loads(whole.to_str())["model"]["merges"])
    medians = {k: statistics.median(v) for k, v in times.items()}
    print(json.dumps({"bench": "tokenizer_train", "bytes": size, "vocab_size": vocab_size,
                      "threads": threads, "same_merges": same,
                      **{k + "_s": round(v, 3) for k, v in medians.items()},
                      "x_tokenizers": round(medians["tokenizers"] / medians["libllm"], 2)}))


if MODE == "encode":
    bench_encode(sys.argv[2], sys.argv[3], sys.argv[4:])
elif MODE == "model":
    bench_model(sys.argv[2], sys.argv[3:])
elif MODE == "file":
    bench_file(sys.argv[2], sys.argv[3:])
else:
    bench_train(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
