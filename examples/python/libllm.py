# SPDX-License-Identifier: MIT
"""libllm for Python: ctypes on the shared library, nothing compiled.

    import libllm
    tokenizer = libllm.Tokenizer.train(["book.txt"], vocab_size=2048)
    model = libllm.Model.new(vocab_size=tokenizer.vocab_size, n_layer=4, n_embd=128, n_head=4)
    libllm.train(model, libllm.Dataset.from_files(tokenizer, ["book.txt"]), steps=500)
    print(libllm.generate(model, tokenizer, "In the beginning", temperature=0.8))

The library is found through LIBLLM (a path), the folder of this file, the build folder of a checkout,
or the system's search path. Structs mirror the public header; tests compare them with it.
"""
import ctypes as c
import ctypes.util
import json
import os
import pathlib

__all__ = ["Batch", "ChatTemplate", "Context", "Dataset", "Error", "Grammar", "Model", "Session",
           "Task", "Tensor", "Tokenizer", "Trainer", "chat", "convert", "generate", "parse_answer",
           "train", "version"]


def _find():
    here = pathlib.Path(__file__).resolve().parent
    names = [os.environ.get("LIBLLM"), here / "libllm.so"]
    names += [here.parents[1] / build / "lib" / "libllm.so" for build in ("build", "build-tests")]
    for name in names:
        if name and pathlib.Path(name).exists():
            return str(name)
    return ctypes.util.find_library("llm") or "libllm.so"


_lib = c.CDLL(_find())
_p, _pp, _size, _i32, _i64, _u64, _f64 = (c.c_void_p, c.POINTER(c.c_void_p), c.c_size_t, c.c_int32,
                                          c.c_int64, c.c_uint64, c.c_double)
PROGRESS = c.CFUNCTYPE(_i32, _p, _f64)
TOKEN = c.CFUNCTYPE(_i32, _p, _p)
STAGE = c.CFUNCTYPE(_i32, _p, c.c_char_p, _u64, _u64)


class Error(Exception):
    """A call failed; str() is the library's message, .name its status, for example LLM_E_IO."""

    def __init__(self, status):
        super().__init__(_lib.llm_last_error().decode("utf-8", "replace"))
        self.status = status
        self.name = _lib.llm_status_name(status).decode()


def _check(status):
    if status != 0:
        raise Error(status)


def _declare(name, result, *arguments):
    function = getattr(_lib, name)
    function.restype, function.argtypes = result, arguments


_declare("llm_last_error", c.c_char_p)
_declare("llm_status_name", c.c_char_p, _i32)
_declare("llm_version_string", c.c_char_p)


def version():
    return _lib.llm_version_string().decode()


class ContextOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("alloc", _p), ("release", _p), ("alloc_user", _p),
                ("log", _p), ("log_user", _p), ("memory_limit", _u64), ("seed", _u64),
                ("log_level", _i32), ("threads", _i32), ("isa", _i32), ("reserved", _i32)]


class TrainTokenizerOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("special_tokens", c.POINTER(c.c_char_p)),
                ("special_count", _size), ("unknown_token", c.c_char_p), ("progress", STAGE),
                ("progress_user", _p), ("min_frequency", _i64), ("kind", _i32),
                ("vocab_size", _i32), ("split", _i32), ("keep_case", _i32)]


class EncodeOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("parse_special", _i32), ("add_special", _i32)]


class DecodeOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("skip_special", _i32), ("replace_invalid", _i32)]


class TokenChoice(c.Structure):
    _fields_ = [("id", _i32), ("logprob", c.c_float)]


class Token(c.Structure):
    _fields_ = [("text", _p), ("text_size", _size), ("top", c.POINTER(TokenChoice)),
                ("top_count", _size), ("index", _i64), ("id", _i32), ("logprob", c.c_float)]


class GenerateOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("max_tokens", _i64), ("seed", _u64), ("temperature", _f64),
                ("top_p", _f64), ("min_p", _f64), ("typical_p", _f64), ("repetition_penalty", _f64),
                ("frequency_penalty", _f64), ("presence_penalty", _f64), ("repetition_window", _i64),
                ("bias_ids", c.POINTER(_i32)), ("bias_values", c.POINTER(c.c_float)),
                ("bias_count", _size), ("stop_ids", c.POINTER(_i32)), ("stop_id_count", _size),
                ("stop_strings", c.POINTER(c.c_char_p)), ("stop_string_count", _size),
                ("on_token", TOKEN), ("on_token_user", _p), ("top_k", _i32), ("top_logprobs", _i32),
                ("ignore_eos", _i32), ("keep_special", _i32), ("top_n_sigma", _f64),
                ("xtc_probability", _f64), ("xtc_threshold", _f64), ("dry_multiplier", _f64),
                ("dry_base", _f64), ("dynamic_temperature", _f64), ("dynamic_exponent", _f64),
                ("mirostat_tau", _f64), ("mirostat_eta", _f64), ("dry_allowed_length", _i64),
                ("dry_window", _i64), ("dry_breakers", c.POINTER(c.c_char_p)),
                ("dry_breaker_count", _size), ("stages", c.POINTER(_i32)), ("stage_count", _size),
                ("on_candidates", _p), ("on_candidates_user", _p), ("grammar", _p), ("draft", _p),
                ("draft_tokens", _i32), ("lookup_tokens", _i32), ("mirostat", _i32),
                ("reserved", _i32)]


def _options(struct, init, **values):
    """An options struct with the library's defaults and the given fields set."""
    options = struct()
    _declare(init, _i32, c.POINTER(struct), _size)
    _check(getattr(_lib, init)(c.byref(options), c.sizeof(options)))
    for name, value in values.items():
        if name not in dict(struct._fields_):
            raise TypeError(f"unknown option {name!r}")
        setattr(options, name, value)
    return options


def _texts(values):
    """A C array of strings, and what keeps it alive."""
    raw = [os.fsencode(v) if isinstance(v, os.PathLike) else str(v).encode() for v in values]
    return (c.c_char_p * max(len(raw), 1))(*raw)


class _Handle:
    """Owns one handle; _free names the function that gives it back."""
    _free = ""

    def __init__(self, pointer):
        self._as_parameter_ = pointer

    def close(self):
        """Give the handle back now, instead of when Python forgets the object."""
        pointer = getattr(self, "_as_parameter_", None)
        if pointer and pointer.value:
            getattr(_lib, self._free)(pointer)
            self._as_parameter_ = None

    def __del__(self):
        self.close()


class Context(_Handle):
    """Threads, seed, limits. Functions that are given none share one default context."""
    _free = "llm_context_free"
    _default = None

    def __init__(self, **options):
        pointer = _p()
        _check(_lib.llm_context_new(
            c.byref(pointer), c.byref(_options(ContextOptions, "llm_context_options_init", **options))))
        super().__init__(pointer)

    @classmethod
    def default(cls):
        if cls._default is None:
            cls._default = cls()
        return cls._default

    @property
    def description(self):
        return _lib.llm_context_description(self).decode()


_declare("llm_context_new", _i32, _pp, c.POINTER(ContextOptions))
_declare("llm_context_free", None, _p)
_declare("llm_context_description", c.c_char_p, _p)


class Tokenizer(_Handle):
    _free = "llm_tokenizer_free"
    KINDS = {"bpe": 1, "characters": 2, "bytes": 3, "wordpiece": 4}
    SPLITS = {"none": 0, "gpt2": 1, "cl100k": 2, "qwen2": 3, "o200k": 4}

    @classmethod
    def load(cls, path, context=None):
        pointer = _p()
        _check(_lib.llm_tokenizer_load(c.byref(pointer), context or Context.default(),
                                       os.fsencode(path)))
        return cls(pointer)

    @classmethod
    def train(cls, files, kind="bpe", vocab_size=8192, split="cl100k", special=("<|endoftext|>",),
              context=None, **more):
        pointer, paths, specials = _p(), _texts(files), _texts(special)
        options = _options(TrainTokenizerOptions, "llm_tokenizer_train_options_init",
                           kind=cls.KINDS[kind], vocab_size=vocab_size, split=cls.SPLITS[split],
                           special_tokens=specials, special_count=len(special), **more)
        _check(_lib.llm_tokenizer_train_files(c.byref(pointer), context or Context.default(), paths,
                                              len(files), c.byref(options)))
        return cls(pointer)

    def save(self, path):
        _check(_lib.llm_tokenizer_save(self, os.fsencode(path)))

    @property
    def vocab_size(self):
        return _lib.llm_tokenizer_vocab_size(self)

    def encode(self, text, parse_special=False):
        data = text.encode() if isinstance(text, str) else bytes(text)
        count, room = _size(), _lib.llm_tokenizer_max_tokens(self, len(data))
        ids = (_i32 * max(room, 1))()
        options = _options(EncodeOptions, "llm_encode_options_init", parse_special=parse_special)
        _check(_lib.llm_tokenizer_encode(ids, room, c.byref(count), self, data, len(data),
                                         c.byref(options)))
        return ids[:count.value]

    def encoding(self, text, pair=None, **options):
        """All there is to know of a text or a pair, as a list of pieces (EncodingOptions: max_tokens,
        stride, ...); each a dict of lists: ids, types, special, words, sequences, bytes, characters."""
        data = [t.encode() if isinstance(t, str) else t for t in (text, pair)]
        own = _options(EncodingOptions, "llm_encoding_options_init", **options)
        out = _p()
        _check(_lib.llm_encoding_new(c.byref(out), self, data[0], len(data[0]), data[1],
                                     len(data[1] or b""), c.byref(own)))
        try:
            return [_piece(out, i) for i in range(_lib.llm_encoding_pieces(out))]
        finally:
            _lib.llm_encoding_free(out)

    def decode_bytes(self, ids, skip_special=False):
        array, size = (_i32 * max(len(ids), 1))(*ids), _size()
        options = _options(DecodeOptions, "llm_decode_options_init", skip_special=skip_special)
        arguments = (c.byref(size), self, array, len(ids), c.byref(options))
        status = _lib.llm_tokenizer_decode(None, 0, *arguments)
        if status not in (0, -8):  # LLM_E_BUFFER: the size is known now
            raise Error(status)
        text = c.create_string_buffer(size.value + 1)
        _check(_lib.llm_tokenizer_decode(text, size.value + 1, *arguments))
        return text.raw[:size.value]

    def decode(self, ids, skip_special=False):
        return self.decode_bytes(ids, skip_special).decode("utf-8", "replace")


class EncodingOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("max_tokens", c.c_int64), ("stride", c.c_int64),
                ("truncation_side", _i32), ("truncation_strategy", _i32), ("parse_special", _i32),
                ("add_special", _i32)]


def _piece(encoding, index):
    count = _size()
    take = lambda get, what: get(encoding, index, what, c.byref(count))[:count.value]
    piece = {name: take(_lib.llm_encoding_values, i)
             for i, name in enumerate(("ids", "types", "special", "words", "sequences"))}
    begins, ends, first, last = (take(_lib.llm_encoding_offsets, i) for i in range(4))
    return dict(piece, bytes=list(zip(begins, ends)), characters=list(zip(first, last)))


_declare("llm_encoding_new", _i32, _pp, _p, c.c_char_p, _size, c.c_char_p, _size,
         c.POINTER(EncodingOptions))
_declare("llm_encoding_pieces", _size, _p)
_declare("llm_encoding_values", c.POINTER(_i32), _p, _size, _i32, c.POINTER(_size))
_declare("llm_encoding_offsets", c.POINTER(_size), _p, _size, _i32, c.POINTER(_size))
_declare("llm_encoding_free", None, _p)
_declare("llm_tokenizer_load", _i32, _pp, _p, c.c_char_p)
_declare("llm_tokenizer_train_files", _i32, _pp, _p, c.POINTER(c.c_char_p), _size,
         c.POINTER(TrainTokenizerOptions))
_declare("llm_tokenizer_save", _i32, _p, c.c_char_p)
_declare("llm_tokenizer_vocab_size", _i32, _p)
_declare("llm_tokenizer_max_tokens", _size, _p, _size)
_declare("llm_tokenizer_encode", _i32, c.POINTER(_i32), _size, c.POINTER(_size), _p, c.c_char_p,
         _size, c.POINTER(EncodeOptions))
_declare("llm_tokenizer_decode", _i32, c.c_char_p, _size, c.POINTER(_size), _p, c.POINTER(_i32),
         _size, c.POINTER(DecodeOptions))
_declare("llm_tokenizer_free", None, _p)


class ChatOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("tokenizer", _p), ("tools", c.c_char_p),
                ("tools_size", _size), ("documents", c.c_char_p), ("documents_size", _size),
                ("variables", c.c_char_p), ("variables_size", _size), ("now", _i64),
                ("add_generation_prompt", _i32), ("continue_final_message", _i32)]


class ChatTemplate(_Handle):
    """A model's chat template; render() gives the text, encode() the token ids."""
    _free = "llm_chat_template_free"

    def __init__(self, text, context=None):
        pointer, data = _p(), text.encode()
        _check(_lib.llm_chat_template_new(c.byref(pointer), context or Context.default(), data,
                                          len(data)))
        super().__init__(pointer)

    @classmethod
    def load(cls, path, name=None, context=None):
        self, pointer = cls.__new__(cls), _p()
        _check(_lib.llm_chat_template_load(c.byref(pointer), context or Context.default(),
                                           os.fsencode(path), name.encode() if name else None))
        _Handle.__init__(self, pointer)
        return self

    @property
    def text(self):
        return _lib.llm_chat_template_text(self, None).decode()

    def _render(self, messages, tokenizer=None, tools=None, documents=None, now=None,
                add_generation_prompt=True, continue_final_message=False, **variables):
        if continue_final_message:
            add_generation_prompt = False
        options = _options(ChatOptions, "llm_chat_options_init",
                           tokenizer=tokenizer and tokenizer._as_parameter_,
                           add_generation_prompt=add_generation_prompt,
                           continue_final_message=continue_final_message)
        for name, value in (("tools", tools), ("documents", documents), ("variables", variables)):
            if value is not None:
                data = json.dumps(value).encode()
                setattr(options, name, data)
                setattr(options, name + "_size", len(data))
        if now is not None:
            options.now = now
        prompt, data = _p(), json.dumps(messages).encode()
        _check(_lib.llm_chat_render(c.byref(prompt), self, data, len(data), c.byref(options)))
        return prompt

    def render(self, messages, **options):
        """`messages`: a list of {"role": .., "content": ..}. Options: tokenizer, tools, documents,
        now, add_generation_prompt, continue_final_message; all others are the template's own."""
        prompt, size = self._render(messages, **options), _size()
        text = c.string_at(_lib.llm_chat_prompt_text(prompt, c.byref(size)), size.value)
        _lib.llm_chat_prompt_free(prompt)
        return text.decode()

    def encode(self, tokenizer, messages, **options):
        """Token ids. Special tokens come from the template only, never from the messages."""
        prompt, count = self._render(messages, tokenizer=tokenizer, **options), _size()
        try:
            arguments = (c.byref(count), prompt, tokenizer)
            status = _lib.llm_chat_prompt_encode(None, None, 0, *arguments)
            if status not in (0, -8):  # LLM_E_BUFFER: the number is known now
                raise Error(status)
            ids = (_i32 * max(count.value, 1))()
            _check(_lib.llm_chat_prompt_encode(ids, None, count.value, *arguments))
            return ids[:count.value]
        finally:
            _lib.llm_chat_prompt_free(prompt)


class ChatEvent(c.Structure):
    _fields_ = [("text", _p), ("text_size", _size), ("name", c.c_char_p), ("id", c.c_char_p),
                ("kind", _i32), ("index", _i32)]


class ChatCall(c.Structure):
    _fields_ = [("name", c.c_char_p), ("id", c.c_char_p), ("arguments", c.c_char_p)]


def parse_answer(text, template=None, format=0, context=None):
    """A model's answer as a message: content, reasoning_content and tool_calls where there are."""
    parser, data, size, call = _p(), text.encode(), _size(), ChatCall()
    if template is not None:
        format = _lib.llm_chat_template_format(template)
    _check(_lib.llm_chat_parser_new(c.byref(parser), context or Context.default(), format, None))
    try:
        _check(_lib.llm_chat_parser_push(parser, data, len(data), None, None))
        _check(_lib.llm_chat_parser_finish(parser, None, None))
        message, calls = {"role": "assistant"}, []
        for key, get in (("content", _lib.llm_chat_parser_content),
                         ("reasoning_content", _lib.llm_chat_parser_reasoning)):
            value = c.string_at(get(parser, c.byref(size)), size.value).decode("utf-8", "replace")
            if value or key == "content":
                message[key] = value
        for i in range(_lib.llm_chat_parser_call_count(parser)):
            _check(_lib.llm_chat_parser_call(c.byref(call), parser, i))
            calls.append({"id": call.id.decode(), "type": "function", "function": {
                "name": call.name.decode(), "arguments": call.arguments.decode()}})
        return {**message, "tool_calls": calls} if calls else message
    finally:
        _lib.llm_chat_parser_free(parser)


def chat(model, tokenizer, template, messages, on_token=None, tools=None, variables=None,
         **options):
    """The model's next message; append it to `messages` to go on. `options` are generate()'s."""
    prompt = template.render(messages, tokenizer=tokenizer, tools=tools, **(variables or {}))
    session = Session(model, tokenizer)
    session.append(template.encode(tokenizer, messages, tools=tools, **(variables or {})))
    text = session.generate(on_token, keep_special=True, **options)
    end = tokenizer.decode(session.ids[-1:])
    if session.ids and _lib.llm_tokenizer_is_special(tokenizer, session.ids[-1]):
        text = text[:-len(end)] if end and text.endswith(end) else text
    begins = "<think>" if prompt.rstrip().endswith("<think>") else ""
    return parse_answer(begins + text, template)


_declare("llm_tokenizer_is_special", _i32, _p, _i32)
_declare("llm_chat_template_format", _i32, _p)
_declare("llm_chat_parser_new", _i32, _pp, _p, _i32, _p)
_declare("llm_chat_parser_push", _i32, _p, c.c_char_p, _size, _p, _p)
_declare("llm_chat_parser_finish", _i32, _p, _p, _p)
_declare("llm_chat_parser_content", _p, _p, c.POINTER(_size))
_declare("llm_chat_parser_reasoning", _p, _p, c.POINTER(_size))
_declare("llm_chat_parser_call_count", _size, _p)
_declare("llm_chat_parser_call", _i32, c.POINTER(ChatCall), _p, _size)
_declare("llm_chat_parser_free", None, _p)
_declare("llm_chat_template_new", _i32, _pp, _p, c.c_char_p, _size)
_declare("llm_chat_template_load", _i32, _pp, _p, c.c_char_p, c.c_char_p)
_declare("llm_chat_template_text", c.c_char_p, _p, c.POINTER(_size))
_declare("llm_chat_template_free", None, _p)
_declare("llm_chat_render", _i32, _pp, _p, c.c_char_p, _size, c.POINTER(ChatOptions))
_declare("llm_chat_prompt_text", _p, _p, c.POINTER(_size))
_declare("llm_chat_prompt_encode", _i32, c.POINTER(_i32), c.POINTER(c.c_uint8), _size,
         c.POINTER(_size), _p, _p)
_declare("llm_chat_prompt_free", None, _p)


class Tensor:
    """A borrowed tensor of a model; numpy(copy=False) shares its memory."""
    TYPES = {0: ("<f4", 4), 1: ("<f2", 2), 3: ("<f8", 8), 4: ("i1", 1), 5: ("u1", 1), 6: ("<i2", 2),
             7: ("<i4", 4), 8: ("<i8", 8), 9: ("?", 1)}

    def __init__(self, pointer, owner):
        self._as_parameter_, self._owner = _p(pointer), owner

    @property
    def shape(self):
        return tuple(_lib.llm_tensor_size(self, i)
                     for i in range(_lib.llm_tensor_dimensions(self)))

    def numpy(self):
        import numpy
        kind, size = self.TYPES[_lib.llm_tensor_dtype(self)]
        count = _lib.llm_tensor_count(self)
        memory = (c.c_char * (count * size)).from_address(_lib.llm_tensor_data(self))
        memory.owner = self._owner
        return numpy.frombuffer(memory, kind).reshape(self.shape)


_declare("llm_tensor_size", _i64, _p, _i32)
_declare("llm_tensor_dimensions", _i32, _p)
_declare("llm_tensor_dtype", _i32, _p)
_declare("llm_tensor_count", _i64, _p)
_declare("llm_tensor_data", _p, _p)


class LoadOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("progress", PROGRESS), ("progress_user", _p), ("map", _i32),
                ("weights", _i32)]


class ConvertOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("progress", PROGRESS), ("progress_user", _p),
                ("dtype", _i32), ("skip_tokenizer", _i32), ("split_bytes", _u64)]


def convert(source, target, dtype=None, context=None, **options):
    """A model from a directory, GGUF file or llama2.c checkpoint to "NAME.gguf" or a directory.
    dtype: "f32", "f16", "bf16", "q8_0", "q4_k" ...; options: skip_tokenizer, split_bytes."""
    if dtype is not None:
        options["dtype"] = _lib.llm_dtype_find(dtype.encode())
        if options["dtype"] < 0:
            raise ValueError(f"unknown type {dtype!r}")
    filled = _options(ConvertOptions, "llm_model_convert_options_init", **options)
    _check(_lib.llm_model_convert(context or Context.default(), os.fsencode(source),
                                  os.fsencode(target), c.byref(filled)))


_declare("llm_dtype_find", _i32, c.c_char_p)
_declare("llm_model_convert", _i32, _p, c.c_char_p, c.c_char_p, c.POINTER(ConvertOptions))


class Model(_Handle):
    _free = "llm_model_free"

    @classmethod
    def new(cls, config=None, context=None, **fields):
        """A fresh model from config.json text or a dict, or from fields of GPT-2's configuration."""
        if not isinstance(config, str):
            config = json.dumps({"model_type": "gpt2", **(config or {}), **fields})
        pointer, text = _p(), config.encode()
        _check(_lib.llm_model_new(c.byref(pointer), context or Context.default(), text, len(text),
                                  None))
        return cls(pointer)

    @classmethod
    def load(cls, path, context=None, **options):
        """A directory, a GGUF file or a llama2.c checkpoint; map=1 maps f32 weights."""
        pointer = _p()
        filled = _options(LoadOptions, "llm_model_load_options_init", **options)
        _check(_lib.llm_model_load(c.byref(pointer), context or Context.default(),
                                   os.fsencode(path), c.byref(filled)))
        return cls(pointer)

    def save(self, directory):
        _check(_lib.llm_model_save(self, os.fsencode(directory), None))

    @property
    def config(self):
        return json.loads(_lib.llm_model_config(self).decode())

    @property
    def parameters(self):
        return _lib.llm_model_parameters(self)

    def tensors(self):
        """{name: Tensor} of all parameters."""
        return {_lib.llm_model_tensor_name(self, i).decode():
                Tensor(_lib.llm_model_tensor(self, i), self)
                for i in range(_lib.llm_model_tensor_count(self))}

    def logits(self, ids):
        """[len(ids)][vocabulary] scores, as a numpy array if numpy is there, else lists."""
        array, needed = (_i32 * max(len(ids), 1))(*ids), _size()
        room = len(ids) * _lib.llm_model_vocabulary(self)
        out = (c.c_float * max(room, 1))()
        _check(_lib.llm_model_logits(out, room, c.byref(needed), self, array, len(ids)))
        width = room // max(len(ids), 1)
        try:
            import numpy
            return numpy.frombuffer(out, "<f4")[:room].reshape(len(ids), width)
        except ImportError:
            return [out[i * width:(i + 1) * width] for i in range(len(ids))]


_declare("llm_model_new", _i32, _pp, _p, c.c_char_p, _size, _p)
_declare("llm_model_load", _i32, _pp, _p, c.c_char_p, _p)
_declare("llm_model_save", _i32, _p, c.c_char_p, _p)
_declare("llm_model_config", c.c_char_p, _p)
_declare("llm_model_parameters", _i64, _p)
_declare("llm_model_vocabulary", _i64, _p)
_declare("llm_model_tensor_count", _size, _p)
_declare("llm_model_tensor_name", c.c_char_p, _p, _size)
_declare("llm_model_tensor", _p, _p, _size)
_declare("llm_model_logits", _i32, c.POINTER(c.c_float), _size, c.POINTER(_size), _p,
         c.POINTER(_i32), _size)
_declare("llm_model_free", None, _p)


class Session(_Handle):
    """One text in progress: append, generate, rewind, fork."""
    _free = "llm_session_free"

    def __init__(self, model, tokenizer=None):
        pointer = _p()
        _check(_lib.llm_session_new(c.byref(pointer), model, tokenizer, None))
        super().__init__(pointer)

    def append(self, text_or_ids):
        if isinstance(text_or_ids, str):
            data = text_or_ids.encode()
            _check(_lib.llm_session_append_text(self, data, len(data), None))
        else:
            ids = (_i32 * max(len(text_or_ids), 1))(*text_or_ids)
            _check(_lib.llm_session_append(self, ids, len(text_or_ids)))

    def generate(self, on_token=None, stop=(), **options):
        """The new text. on_token(text, id, logprob) sees it come and returns True to stop."""
        raised = []

        def call(_user, pointer):
            try:
                token = c.cast(pointer, c.POINTER(Token)).contents
                text = c.string_at(token.text, token.text_size).decode()
                return 1 if on_token(text, token.id, token.logprob) else 0
            except BaseException as error:  # an exception must not cross C frames
                raised.append(error)
                return 1

        strings = _texts(stop)
        struct = _options(GenerateOptions, "llm_generate_options_init", stop_strings=strings,
                          stop_string_count=len(stop), **options)
        if on_token:
            struct.on_token = TOKEN(call)
        status = _lib.llm_session_generate(self, c.byref(struct))
        if raised:
            raise raised[0]
        if status != -10 or not on_token:  # LLM_E_CANCELLED: on_token asked for it
            _check(status)
        size = _size()
        return c.string_at(_lib.llm_session_text(self, c.byref(size)), size.value).decode()

    @property
    def ids(self):
        count = _size()
        array = _lib.llm_session_ids(self, c.byref(count))
        return array[:count.value] if count.value else []

    @property
    def generated(self):
        """Ids of the last generation."""
        count = _size()
        array = _lib.llm_session_generated(self, c.byref(count))
        return array[:count.value] if count.value else []

    def beam_search(self, **options):
        """All texts as (ids, score), best first; the best one is appended."""
        struct = _options(BeamOptions, "llm_beam_options_init", **options)
        _check(_lib.llm_session_beam_search(self, c.byref(struct)))
        found, count, score = [], _size(), _f64()
        while True:
            ids = _lib.llm_session_beam(self, len(found), c.byref(count), c.byref(score))
            if not count.value:
                return found
            found.append((ids[:count.value], score.value))

    def save(self, path):
        _check(_lib.llm_session_save(self, os.fsencode(path)))

    def restore(self, path):
        _check(_lib.llm_session_restore(self, os.fsencode(path)))

    def erase(self, begin, count):
        _check(_lib.llm_session_erase(self, begin, count))

    def rewind(self, length):
        _check(_lib.llm_session_rewind(self, length))

    def fork(self):
        pointer, other = _p(), Session.__new__(Session)
        _check(_lib.llm_session_fork(c.byref(pointer), self))
        _Handle.__init__(other, pointer)
        return other


class BeamOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("max_tokens", _i64), ("length_penalty", _f64),
                ("stop_ids", c.POINTER(_i32)), ("stop_id_count", _size), ("beams", _i32),
                ("stopping", _i32), ("ignore_eos", _i32), ("reserved", _i32)]


class BatchOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("max_tokens", _i64), ("session_tokens", _i64),
                ("step_tokens", _i64), ("share_prefixes", _i32), ("reserved", _i32)]


class Grammar(_Handle):
    """What generated text has to follow: Session.generate(grammar=...)."""
    _free = "llm_grammar_free"

    def __init__(self, tokenizer, gbnf=None, regex=None, schema=None):
        """One of: a grammar in GBNF, a regular expression, a JSON schema (text or Python value)."""
        kinds = {"gbnf": gbnf, "regex": regex, "json_schema": schema}
        kind, text = next((k, v) for k, v in kinds.items() if v is not None)
        data = (text if isinstance(text, str) else json.dumps(text)).encode()
        pointer = _p()
        _check(getattr(_lib, "llm_grammar_from_" + kind)(c.byref(pointer), tokenizer, data, len(data)))
        super().__init__(pointer)

    def match(self, text):
        """0: no such text follows it, 1: the beginning of one that does, 2: it does."""
        data, result = text if isinstance(text, bytes) else text.encode(), _i32()
        _check(_lib.llm_grammar_match(c.byref(result), self, data, len(data)))
        return result.value

    def allowed(self, ids=()):
        """The set of ids that may follow these."""
        count, given = _size(), (_i32 * max(len(ids), 1))(*ids)
        _lib.llm_grammar_mask(None, 0, c.byref(count), self, given, len(ids))
        mask = (c.c_uint32 * count.value)()
        _check(_lib.llm_grammar_mask(mask, count, None, self, given, len(ids)))
        return {32 * i + bit for i, word in enumerate(mask) for bit in range(32) if word >> bit & 1}


for _kind in ("gbnf", "regex", "json_schema"):
    _declare("llm_grammar_from_" + _kind, _i32, _pp, _p, c.c_char_p, _size)
_declare("llm_grammar_match", _i32, c.POINTER(_i32), _p, c.c_char_p, _size)
_declare("llm_grammar_mask", _i32, c.POINTER(c.c_uint32), _size, c.POINTER(_size), _p,
         c.POINTER(_i32), _size)
_declare("llm_grammar_free", None, _p)


class Batch(_Handle):
    """Many sessions that generate together: start() them, then run() or step()."""
    _free = "llm_batch_free"

    def __init__(self, model, tokenizer=None, **options):
        pointer = _p()
        struct = _options(BatchOptions, "llm_batch_options_init", **options)
        _check(_lib.llm_batch_new(c.byref(pointer), model, tokenizer, c.byref(struct)))
        super().__init__(pointer)
        self._kept = []

    def start(self, ids, **options):
        """A new session that goes on from these ids."""
        pointer, session = _p(), Session.__new__(Session)
        struct = _options(GenerateOptions, "llm_generate_options_init", **options)
        _check(_lib.llm_batch_session(c.byref(pointer), self))
        _Handle.__init__(session, pointer)
        self._kept.append((struct, options))  # what options point to stays until the batch is done
        _check(_lib.llm_batch_start(self, session, (_i32 * max(len(ids), 1))(*ids), len(ids),
                                    c.byref(struct)))
        return session

    def step(self):
        """The number of sessions that are not done."""
        running = _size()
        _check(_lib.llm_batch_step(self, c.byref(running)))
        return running.value

    def run(self):
        _check(_lib.llm_batch_run(self))


_declare("llm_batch_new", _i32, _pp, _p, _p, c.POINTER(BatchOptions))
_declare("llm_batch_session", _i32, _pp, _p)
_declare("llm_batch_start", _i32, _p, _p, c.POINTER(_i32), _size, c.POINTER(GenerateOptions))
_declare("llm_batch_step", _i32, _p, c.POINTER(_size))
_declare("llm_batch_run", _i32, _p)
_declare("llm_batch_free", None, _p)

_declare("llm_session_new", _i32, _pp, _p, _p, _p)
_declare("llm_session_append_text", _i32, _p, c.c_char_p, _size, _p)
_declare("llm_session_append", _i32, _p, c.POINTER(_i32), _size)
_declare("llm_session_generate", _i32, _p, c.POINTER(GenerateOptions))
_declare("llm_session_text", _p, _p, c.POINTER(_size))
_declare("llm_session_ids", c.POINTER(_i32), _p, c.POINTER(_size))
_declare("llm_session_generated", c.POINTER(_i32), _p, c.POINTER(_size))
_declare("llm_session_beam_search", _i32, _p, c.POINTER(BeamOptions))
_declare("llm_session_beam", c.POINTER(_i32), _p, _size, c.POINTER(_size), c.POINTER(_f64))
_declare("llm_session_save", _i32, _p, c.c_char_p)
_declare("llm_session_restore", _i32, _p, c.c_char_p)
_declare("llm_session_erase", _i32, _p, _i64, _i64)
_declare("llm_session_rewind", _i32, _p, _i64)
_declare("llm_session_fork", _i32, _pp, _p)
_declare("llm_session_free", None, _p)


class DatasetOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("validation_fraction", _f64), ("test_fraction", _f64),
                ("validation_files", c.POINTER(c.c_char_p)), ("validation_count", _size),
                ("cache", c.c_char_p), ("cache_key", c.c_char_p), ("progress", PROGRESS),
                ("progress_user", _p), ("append_eos", _i32), ("parse_special", _i32),
                ("invalid_text", _i32), ("split_by_document", _i32)]


class TrainProgress(c.Structure):
    """step, loss, validation_loss (NaN: none), tokens_per_second, seconds_left, ..."""
    _fields_ = [("struct_size", _size), ("step", _i64), ("steps", _i64), ("tokens", _i64),
                ("loss", _f64), ("validation_loss", _f64), ("learning_rate", _f64),
                ("gradient_norm", _f64), ("tokens_per_second", _f64), ("seconds", _f64),
                ("seconds_left", _f64)]


TRAIN_PROGRESS = c.CFUNCTYPE(_i32, _p, c.POINTER(TrainProgress))


class TrainerOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("output", c.c_char_p), ("progress", TRAIN_PROGRESS),
                ("progress_user", _p), ("seed", _u64)] + \
        [(name, _i64) for name in ("steps", "warmup_steps", "decay_steps", "eval_interval",
                                   "eval_batches", "log_interval", "checkpoint_interval",
                                   "statistics_interval")] + \
        [(name, _f64) for name in ("epochs", "learning_rate", "min_learning_rate", "weight_decay",
                                   "beta1", "beta2", "epsilon", "momentum", "clip_norm", "dropout",
                                   "label_smoothing")] + \
        [(name, _i32) for name in ("batch", "block", "accumulation", "optimizer", "nesterov",
                                   "schedule", "order", "separate_documents",
                                   "gradient_checkpointing", "keep_checkpoints", "patience",
                                   "keep_best", "tensorboard", "reserved")] + \
        [("adapter", _p)]


class AdapterOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("targets", c.POINTER(c.c_char_p)), ("target_count", _size),
                ("input_targets", c.POINTER(c.c_char_p)), ("input_target_count", _size),
                ("alpha", _f64), ("dropout", _f64), ("seed", _u64)] + \
        [(name, _i32) for name in ("kind", "rank", "rank_stabilized", "dora")]


class Adapter(_Handle):
    """LoRA, DoRA or IA3 for a model: trained with Trainer(..., adapter=...), kept as PEFT has it."""
    _free = "llm_adapter_free"

    @classmethod
    def new(cls, model, targets=(), ia3=False, **options):
        pointer, names = _p(), _texts(targets)
        struct = _options(AdapterOptions, "llm_adapter_options_init", targets=names,
                          target_count=len(targets), kind=2 if ia3 else 1, **options)
        _check(_lib.llm_adapter_new(c.byref(pointer), model, c.byref(struct)))
        return cls(pointer)

    @classmethod
    def load(cls, model, directory):
        pointer = _p()
        _check(_lib.llm_adapter_load(c.byref(pointer), model, os.fsencode(directory)))
        return cls(pointer)

    def save(self, directory):
        _check(_lib.llm_adapter_save(self, os.fsencode(directory)))

    def merge(self, model, weight=1.0):
        """A new model with the adapter folded in."""
        pointer = _p()
        _check(_lib.llm_adapter_merge(c.byref(pointer), model, self, weight))
        return Model(pointer)

    @property
    def config(self):
        return json.loads(_lib.llm_adapter_config(self).decode())

    @property
    def parameters(self):
        return _lib.llm_adapter_parameters(self)


_declare("llm_adapter_new", _i32, _pp, _p, c.POINTER(AdapterOptions))
_declare("llm_adapter_load", _i32, _pp, _p, c.c_char_p)
_declare("llm_adapter_save", _i32, _p, c.c_char_p)
_declare("llm_adapter_merge", _i32, _pp, _p, _p, _f64)
_declare("llm_adapter_config", c.c_char_p, _p)
_declare("llm_adapter_parameters", _i64, _p)
_declare("llm_adapter_free", None, _p)


class Dataset(_Handle):
    """Token ids with a training, a validation and a test part (0, 1, 2)."""
    _free = "llm_dataset_free"

    @classmethod
    def from_files(cls, tokenizer, files, context=None, **options):
        pointer, paths = _p(), _texts(files)
        struct = _options(DatasetOptions, "llm_dataset_options_init", **options)
        _check(_lib.llm_dataset_from_files(c.byref(pointer), context or Context.default(), tokenizer,
                                           paths, len(files), c.byref(struct)))
        return cls(pointer)

    def tokens(self, part=0):
        return _lib.llm_dataset_tokens(self, part)


_declare("llm_dataset_from_files", _i32, _pp, _p, _p, c.POINTER(c.c_char_p), _size,
         c.POINTER(DatasetOptions))
_declare("llm_dataset_tokens", _i64, _p, _i32)
_declare("llm_dataset_free", None, _p)


class Trainer(_Handle):
    """A training run; it has the model to itself until it is deleted."""
    _free = "llm_trainer_free"
    SCHEDULES = {"constant": 0, "linear": 1, "cosine": 2, "wsd": 3}

    def __init__(self, model, dataset, on_step=None, output=None, schedule="cosine", adapter=None,
                 **options):
        pointer, raised = _p(), []

        def call(_user, progress):
            try:
                return 1 if on_step(progress.contents) else 0
            except BaseException as error:  # an exception must not cross C frames
                raised.append(error)
                return 1

        self._raised = raised
        self._call = TRAIN_PROGRESS(call) if on_step else TRAIN_PROGRESS()
        struct = _options(TrainerOptions, "llm_trainer_options_init", progress=self._call,
                          schedule=self.SCHEDULES[schedule], **options)
        if adapter is not None:
            struct.adapter = adapter._as_parameter_
        if output is not None:
            struct.output = os.fsencode(output)
        _check(_lib.llm_trainer_new(c.byref(pointer), model, dataset, c.byref(struct)))
        super().__init__(pointer)

    def resume(self, directory=None):
        _check(_lib.llm_trainer_resume(self, os.fsencode(directory) if directory else None))

    def run(self):
        """True when the run is complete, False when on_step stopped it."""
        status = _lib.llm_trainer_run(self)
        if self._raised:
            raise self._raised.pop()
        if status == -10:  # LLM_E_CANCELLED
            return False
        _check(status)
        return True

    def step(self):
        progress = TrainProgress()
        _check(_lib.llm_trainer_step(self, c.byref(progress), c.sizeof(progress)))
        return progress

    @property
    def best_loss(self):
        return _lib.llm_trainer_best_loss(self)


_declare("llm_trainer_new", _i32, _pp, _p, _p, c.POINTER(TrainerOptions))
_declare("llm_trainer_resume", _i32, _p, c.c_char_p)
_declare("llm_trainer_run", _i32, _p)
_declare("llm_trainer_step", _i32, _p, c.POINTER(TrainProgress), _size)
_declare("llm_trainer_best_loss", _f64, _p)
_declare("llm_trainer_free", None, _p)


class TaskOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("max_tokens", _i64), ("overlap", _i64), ("pooling", _i32),
                ("normalize", _i32), ("windows", _i32), ("reserved", _i32)]


class TaskBatch(c.Structure):
    _fields_ = [("struct_size", _size), ("ids", c.POINTER(_i32)), ("type_ids", c.POINTER(_i32)),
                ("lengths", c.POINTER(_size)), ("count", _size), ("targets", c.POINTER(_i32)),
                ("values", c.POINTER(c.c_float)), ("target_lengths", c.POINTER(_size))]


class AnswerOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("max_answer", _i64), ("overlap", _i64),
                ("no_answer", _i32), ("reserved", _i32)]


class Seq2SeqOptions(c.Structure):
    _fields_ = [("struct_size", _size), ("max_tokens", _i64), ("length_penalty", _f64),
                ("temperature", _f64), ("top_p", _f64), ("seed", _u64), ("num_beams", _i32),
                ("early_stopping", _i32), ("top_k", _i32), ("reserved", _i32)]


class Entity(c.Structure):
    _fields_ = [("begin", _size), ("end", _size), ("name", c.c_char_p), ("label", _i32),
                ("score", c.c_float)]


class Answer(c.Structure):
    _fields_ = [("begin", _size), ("end", _size), ("score", c.c_float), ("reserved", _i32)]


class Fill(c.Structure):
    _fields_ = [("id", _i32), ("probability", c.c_float)]


def _pack(texts, types=None):
    """Lists of token ids as a TaskBatch."""
    flat = [i for text in texts for i in text]
    batch = _options(TaskBatch, "llm_task_batch_init", count=len(texts))
    batch.ids = (_i32 * max(len(flat), 1))(*flat)
    batch.lengths = (_size * max(len(texts), 1))(*map(len, texts))
    if types is not None:
        batch.type_ids = (_i32 * max(len(flat), 1))(*[i for text in types for i in text])
    return batch


def _strings(texts):
    """C arrays of UTF-8 texts and of their sizes."""
    raw = [text.encode() for text in texts]
    return ((c.c_char_p * max(len(raw), 1))(*raw), (_size * max(len(raw), 1))(*map(len, raw)))


def _grid(values, rows):
    """rows x ... floats as a numpy array, or as lists without numpy."""
    try:
        import numpy
        return numpy.frombuffer(values, "<f4").reshape(rows, len(values) // max(rows, 1))
    except ImportError:
        width = len(values) // max(rows, 1)
        return [values[i * width:(i + 1) * width] for i in range(rows)]


class Task(_Handle):
    """Embeddings, classification, entities, answers, masks and translation with one model.
    Texts are str; where a list of token ids is given instead, special tokens must be in it."""
    _free = "llm_task_free"
    POOLINGS = {None: 0, "mean": 1, "cls": 2, "last": 3, "max": 4, "mean_sqrt": 5, "model": 6}
    TAGS = {"none": 0, "simple": 1, "first": 2, "average": 3, "max": 4}

    def __init__(self, model, tokenizer=None, pooling=None, **options):
        pointer = _p()
        struct = _options(TaskOptions, "llm_task_options_init", pooling=self.POOLINGS[pooling],
                          **options)
        _check(_lib.llm_task_new(c.byref(pointer), model, tokenizer, c.byref(struct)))
        super().__init__(pointer)

    @classmethod
    def load(cls, directory, context=None, pooling=None, **options):
        pointer, task = _p(), cls.__new__(cls)
        struct = _options(TaskOptions, "llm_task_options_init", pooling=cls.POOLINGS[pooling],
                          **options)
        _check(_lib.llm_task_load(c.byref(pointer), context or Context.default(),
                                  os.fsencode(directory), c.byref(struct)))
        _Handle.__init__(task, pointer)
        return task

    @property
    def labels(self):
        model = _p(_lib.llm_task_model(self))
        return [_lib.llm_model_label(model, i).decode()
                for i in range(_lib.llm_model_label_count(model))]

    def _floats(self, call, rows, *arguments):
        needed = _size()
        _check(call(None, 0, c.byref(needed), self, *arguments))
        values = (c.c_float * needed.value)()
        _check(call(values, needed.value, c.byref(needed), self, *arguments))
        return _grid(values, rows)

    def embed(self, texts):
        """[len(texts)][dim]: one vector for each text or list of ids."""
        if texts and not isinstance(texts[0], str):
            return self._floats(_lib.llm_task_embed_ids, len(texts), c.byref(_pack(texts)))
        return self._floats(_lib.llm_task_embed, len(texts), *_strings(texts), _size(len(texts)))

    def classify(self, texts, pairs=None):
        """[len(texts)][labels] probabilities; `pairs` are second texts."""
        count = _size(len(texts))
        second = _strings(pairs) if pairs is not None else (None, None)
        if texts and not isinstance(texts[0], str):
            return self._floats(_lib.llm_task_classify_ids, len(texts),
                                c.byref(_pack(texts, pairs)))
        return self._floats(_lib.llm_task_classify, len(texts), *_strings(texts), *second, count)

    def rerank(self, query, documents):
        """A score for each document, the higher the better."""
        scores, raw = (c.c_float * max(len(documents), 1))(), query.encode()
        _check(_lib.llm_task_rerank(scores, self, raw, len(raw), *_strings(documents),
                                    len(documents)))
        return scores[:len(documents)]

    def tag(self, text, aggregation="simple"):
        """[(text of the entity, name, score)]."""
        raw = text.encode()
        count, room = _size(), len(raw) + 1
        out = (Entity * room)()
        _check(_lib.llm_task_tag(out, room, c.byref(count), self, raw, len(raw),
                                 self.TAGS[aggregation]))
        return [(raw[e.begin:e.end].decode("utf-8", "replace"), e.name.decode(), e.score)
                for e in out[:count.value]]

    def answer(self, question, context, best=1, **options):
        """[(answer, score)], best first; "" when there is none."""
        raw, other, count = context.encode(), question.encode(), _size()
        out = (Answer * best)()
        struct = _options(AnswerOptions, "llm_answer_options_init", **options)
        _check(_lib.llm_task_answer(out, best, c.byref(count), self, other, len(other), raw,
                                    len(raw), c.byref(struct)))
        return [(raw[a.begin:a.end].decode("utf-8", "replace"), a.score) for a in out[:count.value]]

    def fill_mask(self, text, mask="[MASK]", top=5):
        """For each mask of the text [(id, probability)], best first."""
        raw, masks = text.encode(), _size()
        arguments = (c.byref(masks), self, raw, len(raw), mask.encode(), top)
        _check(_lib.llm_task_fill_mask(None, 0, *arguments))
        out = (Fill * (masks.value * top))()
        _check(_lib.llm_task_fill_mask(out, len(out), *arguments))
        return [[(f.id, f.probability) for f in out[i * top:(i + 1) * top]]
                for i in range(masks.value)]

    def generate(self, source, **options):
        """A text for a text, or ids for ids: translation, summary, ..."""
        struct, count = _options(Seq2SeqOptions, "llm_seq2seq_options_init", **options), _size()
        if not isinstance(source, str):
            ids, out = (_i32 * max(len(source), 1))(*source), (_i32 * struct.max_tokens)()
            _check(_lib.llm_task_generate_ids(out, struct.max_tokens, c.byref(count), self, ids,
                                              len(source), c.byref(struct)))
            return out[:count.value]
        raw = source.encode()
        room = 1 << 16
        out = c.create_string_buffer(room)
        _check(_lib.llm_task_generate(out, room, c.byref(count), self, raw, len(raw),
                                      c.byref(struct)))
        return out.raw[:count.value].decode("utf-8", "replace")


_floats = c.POINTER(c.c_float)
_declare("llm_task_new", _i32, _pp, _p, _p, c.POINTER(TaskOptions))
_declare("llm_task_load", _i32, _pp, _p, c.c_char_p, c.POINTER(TaskOptions))
_declare("llm_task_free", None, _p)
_declare("llm_task_model", _p, _p)
_declare("llm_model_label_count", _size, _p)
_declare("llm_model_label", c.c_char_p, _p, _size)
_declare("llm_task_embed_ids", _i32, _floats, _size, c.POINTER(_size), _p, c.POINTER(TaskBatch))
_declare("llm_task_classify_ids", _i32, _floats, _size, c.POINTER(_size), _p, c.POINTER(TaskBatch))
_declare("llm_task_embed", _i32, _floats, _size, c.POINTER(_size), _p, c.POINTER(c.c_char_p),
         c.POINTER(_size), _size)
_declare("llm_task_classify", _i32, _floats, _size, c.POINTER(_size), _p, c.POINTER(c.c_char_p),
         c.POINTER(_size), c.POINTER(c.c_char_p), c.POINTER(_size), _size)
_declare("llm_task_rerank", _i32, _floats, _p, c.c_char_p, _size, c.POINTER(c.c_char_p),
         c.POINTER(_size), _size)
_declare("llm_task_tag", _i32, c.POINTER(Entity), _size, c.POINTER(_size), _p, c.c_char_p, _size,
         _i32)
_declare("llm_task_answer", _i32, c.POINTER(Answer), _size, c.POINTER(_size), _p, c.c_char_p, _size,
         c.c_char_p, _size, c.POINTER(AnswerOptions))
_declare("llm_task_fill_mask", _i32, c.POINTER(Fill), _size, c.POINTER(_size), _p, c.c_char_p,
         _size, c.c_char_p, _size)
_declare("llm_task_generate", _i32, c.c_char_p, _size, c.POINTER(_size), _p, c.c_char_p, _size,
         c.POINTER(Seq2SeqOptions))
_declare("llm_task_generate_ids", _i32, c.POINTER(_i32), _size, c.POINTER(_size), _p,
         c.POINTER(_i32), _size, c.POINTER(Seq2SeqOptions))


def train(model, dataset, on_step=None, **options):
    """Train in place. on_step(progress) sees every step and returns True to stop.
    Returns the best validation loss (NaN if there was no evaluation)."""
    trainer = Trainer(model, dataset, on_step, **options)
    try:
        trainer.run()
        return trainer.best_loss
    finally:
        trainer.close()


def generate(model, tokenizer, prompt, **options):
    """Prompt in, continuation out."""
    session = Session(model, tokenizer)
    session.append(prompt)
    return session.generate(**options)
