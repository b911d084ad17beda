#!/usr/bin/env python3
"""The ctypes structs of examples/python/libllm.py have the layout of the header's structs.

Usage: python_structs.py ROOT LIBRARY CC
"""
import ctypes
import os
import pathlib
import subprocess
import sys


def main(root, library, compiler):
    try:
        import cffi
    except ImportError:
        print("SKIPPED: cffi is not installed")
        return 77
    os.environ["LIBLLM"] = library
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(pathlib.Path(root) / "examples" / "python"))
    import libllm

    run = subprocess.run([compiler, "-E", "-P", "-DLLM_API=", f"-I{root}/include",
                          f"{root}/include/llm.h"], capture_output=True, text=True, check=True)
    ffi = cffi.FFI()
    ffi.cdef(run.stdout[run.stdout.index("typedef int32_t llm_status;"):])
    names = {"BatchOptions": "llm_batch_options", "BeamOptions": "llm_beam_options",
             "ChatOptions": "llm_chat_options", "ChatEvent": "llm_chat_event",
             "ChatCall": "llm_chat_call", "ContextOptions": "llm_context_options",
             "EncodeOptions": "llm_encode_options",
             "TrainTokenizerOptions": "llm_tokenizer_train_options",
             "DecodeOptions": "llm_decode_options", "TokenChoice": "llm_token_choice",
             "Token": "llm_token", "GenerateOptions": "llm_generate_options",
             "DatasetOptions": "llm_dataset_options", "TrainProgress": "llm_train_progress",
             "TrainerOptions": "llm_trainer_options", "TaskOptions": "llm_task_options",
             "TaskBatch": "llm_task_batch", "AnswerOptions": "llm_answer_options",
             "Seq2SeqOptions": "llm_seq2seq_options", "Entity": "llm_entity",
             "Answer": "llm_answer", "Fill": "llm_fill",
             "AdapterOptions": "llm_adapter_options", "LoadOptions": "llm_model_load_options",
             "ConvertOptions": "llm_model_convert_options",
             "EncodingOptions": "llm_encoding_options"}
    problems = []
    for name in dir(libllm):
        kind = getattr(libllm, name)
        if isinstance(kind, type) and issubclass(kind, ctypes.Structure):
            if name not in names:
                problems.append(f"{name}: not compared with the header")
    for name, other in names.items():
        kind, expected = getattr(libllm, name), ffi.typeof(other)
        if ctypes.sizeof(kind) != ffi.sizeof(other):
            problems.append(f"{name}: {ctypes.sizeof(kind)} bytes, {other}: {ffi.sizeof(other)}")
        ours = [(field, getattr(kind, field).offset) for field, _ in kind._fields_]
        theirs = [(field, ffi.offsetof(other, field)) for field, _ in expected.fields]
        problems += [f"{name}: {a} is not {b}" for a, b in zip(ours, theirs) if a != b]
    print("\n".join(problems) or f"{len(names)} structs agree with the header")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
