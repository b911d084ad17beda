#!/usr/bin/env python3
"""Every public function gets NULL for every pointer and zero for every number.

No call may crash; a function that returns a status must refuse (unless it is listed as accepting it)
and say why. The declarations come from the header itself, through cffi, so a new function is swept
without being listed here.

Usage: null_sweep.py ROOT LIBRARY CC
"""
import pathlib
import re
import subprocess
import sys

# All-NULL, all-zero calls that have a meaning.
ACCEPTS_NULL = set()


def declarations(root, compiler):
    run = subprocess.run([compiler, "-E", "-P", "-DLLM_API=", f"-I{root / 'include'}",
                          str(root / "include" / "llm.h")], capture_output=True, text=True, check=True)
    return run.stdout[run.stdout.index("typedef int32_t llm_status;"):]


def zeros(ffi, types):
    return [ffi.NULL if kind.kind in ("pointer", "function") else 0 for kind in types]


def main(root, library, compiler):
    try:
        import cffi
    except ImportError:
        print("SKIPPED: cffi is not installed")
        return 77
    ffi = cffi.FFI()
    text = declarations(pathlib.Path(root), compiler)
    ffi.cdef(text)
    lib = ffi.dlopen(library)
    problems = []
    swept = 0
    for name in re.findall(r"\b(llm_\w+)\s*\([^;{}]*\)\s*;", text):
        function = getattr(lib, name, None)
        if function is None or ffi.typeof(function).kind != "function":
            continue
        kind = ffi.typeof(function)
        swept += 1
        print(name, flush=True)
        result = function(*zeros(ffi, kind.args))
        returns_status = re.search(rf"\bllm_status\s+{name}\s*\(", text)
        if returns_status and name not in ACCEPTS_NULL:
            if result >= 0:
                problems.append(f"{name}: accepted NULL, returned {result}")
            elif not ffi.string(lib.llm_last_error()):
                problems.append(f"{name}: failed without a message")
    if swept < 50:
        problems.append(f"only {swept} functions found")
    print("\n".join(problems) or f"{swept} functions survived")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
