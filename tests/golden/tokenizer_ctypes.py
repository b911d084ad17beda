# SPDX-License-Identifier: MIT
"""libllm's tokenizer through ctypes, for comparing with other tokenizers. LIBLLM names the library."""
import ctypes as c
import os


class TrainOptions(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("special_tokens", c.POINTER(c.c_char_p)),
                ("special_count", c.c_size_t), ("unknown_token", c.c_char_p),
                ("progress", c.c_void_p), ("progress_user", c.c_void_p),
                ("min_frequency", c.c_int64), ("kind", c.c_int32), ("vocab_size", c.c_int32),
                ("split", c.c_int32), ("keep_case", c.c_int32)]


class EncodeOptions(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("parse_special", c.c_int32),
                ("add_special", c.c_int32)]


class DecodeOptions(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("skip_special", c.c_int32),
                ("replace_invalid", c.c_int32)]


class ContextOptions(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("alloc", c.c_void_p), ("release", c.c_void_p),
                ("alloc_user", c.c_void_p), ("log", c.c_void_p), ("log_user", c.c_void_p),
                ("memory_limit", c.c_uint64), ("seed", c.c_uint64), ("log_level", c.c_int32),
                ("threads", c.c_int32), ("isa", c.c_int32), ("reserved", c.c_int32)]


lib = c.CDLL(os.environ.get("LIBLLM", "libllm.so"))
lib.llm_last_error.restype = c.c_char_p
lib.llm_tokenizer_max_tokens.restype = c.c_size_t
lib.llm_tokenizer_max_tokens.argtypes = [c.c_void_p, c.c_size_t]


class Failure(Exception):
    def __init__(self, status):
        super().__init__("%d %s" % (status, lib.llm_last_error().decode(errors="replace")))
        self.status = status


def check(status):
    if status:
        raise Failure(status)


def context(threads=1):
    options = ContextOptions()
    check(lib.llm_context_options_init(c.byref(options), c.c_size_t(c.sizeof(options))))
    options.threads = threads
    out = c.c_void_p()
    check(lib.llm_context_new(c.byref(out), c.byref(options)))
    return out


KINDS = {"bpe": 1, "characters": 2, "bytes": 3, "wordpiece": 4, "unigram": 6}
SPLITS = {"none": 0, "gpt2": 1, "cl100k": 2, "qwen2": 3, "o200k": 4}


class Tokenizer:
    def __init__(self, path=None, json=None, threads=1):
        self.handle = c.c_void_p()
        self.context = context(threads)
        if path is not None:
            check(lib.llm_tokenizer_load(c.byref(self.handle), self.context, path.encode()))
        elif json is not None:
            check(lib.llm_tokenizer_load_memory(c.byref(self.handle), self.context, json,
                                                c.c_size_t(len(json))))

    @classmethod
    def train(cls, texts, kind="bpe", vocab_size=32768, min_frequency=2, split="cl100k",
              special=(), unknown=None, threads=1, files=None, keep_case=0):
        self = cls(threads=threads)
        options = TrainOptions()
        check(lib.llm_tokenizer_train_options_init(c.byref(options),
                                                   c.c_size_t(c.sizeof(options))))
        options.kind = KINDS[kind]
        options.keep_case = keep_case
        options.split = SPLITS[split]
        options.vocab_size = vocab_size
        options.min_frequency = min_frequency
        names = (c.c_char_p * max(1, len(special)))(*[s.encode() for s in special])
        options.special_tokens = names
        options.special_count = len(special)
        options.unknown_token = unknown.encode() if unknown else None
        if files:
            paths = (c.c_char_p * len(files))(*[f.encode() for f in files])
            check(lib.llm_tokenizer_train_files(c.byref(self.handle), self.context, paths,
                                                c.c_size_t(len(files)), c.byref(options)))
            return self
        texts = [t.encode() if isinstance(t, str) else t for t in texts]
        pointers = (c.c_char_p * max(1, len(texts)))(*texts)
        sizes = (c.c_size_t * max(1, len(texts)))(*map(len, texts))
        check(lib.llm_tokenizer_train(c.byref(self.handle), self.context, pointers, sizes,
                                      c.c_size_t(len(texts)), c.byref(options)))
        return self

    def __del__(self):
        lib.llm_tokenizer_free(self.handle)
        lib.llm_context_free(self.context)

    def save(self, path):
        check(lib.llm_tokenizer_save(self.handle, path.encode()))

    def to_json(self):
        size = c.c_size_t()
        lib.llm_tokenizer_save_memory(None, c.c_size_t(0), c.byref(size), self.handle)
        buffer = c.create_string_buffer(size.value)
        check(lib.llm_tokenizer_save_memory(buffer, size, c.byref(size), self.handle))
        return buffer.raw

    def encode_raw(self, text, parse_special=False, add_special=True):
        """A ctypes array and the number of ids in it: no conversion, for timing."""
        options = EncodeOptions(c.sizeof(EncodeOptions), int(parse_special), int(add_special))
        capacity = lib.llm_tokenizer_max_tokens(self.handle, len(text))
        ids = (c.c_int32 * capacity)()
        count = c.c_size_t()
        check(lib.llm_tokenizer_encode(ids, c.c_size_t(capacity), c.byref(count), self.handle,
                                       text, c.c_size_t(len(text)), c.byref(options)))
        return ids, count.value

    def encode(self, text, parse_special=False, add_special=True):
        text = text.encode() if isinstance(text, str) else text
        ids, count = self.encode_raw(text, parse_special, add_special)
        return ids[:count]

    def encode_offsets(self, text, parse_special=False, add_special=True):
        options = EncodeOptions(c.sizeof(EncodeOptions), int(parse_special), int(add_special))
        capacity = lib.llm_tokenizer_max_tokens(self.handle, len(text))
        ids = (c.c_int32 * capacity)()
        begins = (c.c_size_t * capacity)()
        ends = (c.c_size_t * capacity)()
        count = c.c_size_t()
        check(lib.llm_tokenizer_encode_offsets(ids, begins, ends, c.c_size_t(capacity),
                                               c.byref(count), self.handle, text,
                                               c.c_size_t(len(text)), c.byref(options)))
        n = count.value
        return ids[:n], begins[:n], ends[:n]

    def decode(self, ids, skip_special=False, replace=False):
        options = DecodeOptions(c.sizeof(DecodeOptions), int(skip_special), int(replace))
        array = (c.c_int32 * max(1, len(ids)))(*ids)
        size = c.c_size_t()
        lib.llm_tokenizer_decode(None, c.c_size_t(0), c.byref(size), self.handle, array,
                                 c.c_size_t(len(ids)), c.byref(options))
        buffer = c.create_string_buffer(max(1, size.value))
        check(lib.llm_tokenizer_decode(buffer, size, c.byref(size), self.handle, array,
                                       c.c_size_t(len(ids)), c.byref(options)))
        return buffer.raw[:size.value]

    @property
    def vocab_size(self):
        return lib.llm_tokenizer_vocab_size(self.handle)


class EncodingOptions(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("max_tokens", c.c_int64), ("stride", c.c_int64),
                ("truncation_side", c.c_int32), ("truncation_strategy", c.c_int32),
                ("parse_special", c.c_int32), ("add_special", c.c_int32)]


lib.llm_encoding_pieces.restype = c.c_size_t
lib.llm_encoding_pieces.argtypes = [c.c_void_p]
lib.llm_encoding_values.restype = c.POINTER(c.c_int32)
lib.llm_encoding_values.argtypes = [c.c_void_p, c.c_size_t, c.c_int32, c.POINTER(c.c_size_t)]
lib.llm_encoding_offsets.restype = c.POINTER(c.c_size_t)
lib.llm_encoding_offsets.argtypes = [c.c_void_p, c.c_size_t, c.c_int32, c.POINTER(c.c_size_t)]


class Piece:
    """One piece of an encoding, as lists."""

    def __init__(self, handle, index):
        count = c.c_size_t()
        values = lambda get, what: get(handle, index, what, c.byref(count))[:count.value]
        self.ids, self.types, self.special, self.words, self.sequences = (
            values(lib.llm_encoding_values, i) for i in range(5))
        offsets = [values(lib.llm_encoding_offsets, i) for i in range(4)]
        self.bytes = list(zip(offsets[0], offsets[1]))
        self.characters = list(zip(offsets[2], offsets[3]))


def encode_whole(tokenizer, text, pair=None, **options):
    """All pieces of an encoded text or pair (str or bytes)."""
    own = EncodingOptions()
    check(lib.llm_encoding_options_init(c.byref(own), c.c_size_t(c.sizeof(own))))
    for key, value in options.items():
        setattr(own, key, value)
    data = [t.encode() if isinstance(t, str) else t for t in (text, pair)]
    out = c.c_void_p()
    check(lib.llm_encoding_new(c.byref(out), tokenizer.handle, data[0], c.c_size_t(len(data[0])),
                               data[1], c.c_size_t(len(data[1] or b"")), c.byref(own)))
    try:
        return [Piece(out, i) for i in range(lib.llm_encoding_pieces(out))]
    finally:
        lib.llm_encoding_free(out)
