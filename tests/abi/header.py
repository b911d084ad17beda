#!/usr/bin/env python3
"""The public header compiles alone in every C and C++ standard without a warning, has no hidden
padding in its structs, and reduces to text that cffi parses and can call.

Usage: header.py ROOT LIBRARY CC [CXX]
"""
import pathlib
import re
import subprocess
import sys
import tempfile

C = ["c89", "c99", "c11", "c17", "c2x"]
CXX = ["c++98", "c++11", "c++17", "c++20"]
WARNINGS = ["-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-Wundef"]


def compile_header(compiler, standard, root, source, extra):
    command = [compiler, f"-std={standard}", *WARNINGS, *extra, "-fsyntax-only",
               f"-I{root / 'include'}", str(source)]
    run = subprocess.run(command, capture_output=True, text=True)
    return [] if run.returncode == 0 else [f"{compiler} -std={standard}: {run.stderr[:2000]}"]


def reduced(root, compiler):
    """Declarations only, as a binding generator would feed them to cffi."""
    run = subprocess.run([compiler, "-E", "-P", "-DLLM_API=", f"-I{root / 'include'}",
                          str(root / "include" / "llm.h")], capture_output=True, text=True, check=True)
    return run.stdout[run.stdout.index("typedef int32_t llm_status;"):]


def parse_with_cffi(root, library, compiler):
    try:
        import cffi
    except ImportError:
        print("SKIPPED: cffi is not installed, the header was not parsed with it")
        return []
    ffi = cffi.FFI()
    ffi.cdef(reduced(root, compiler))
    lib = ffi.dlopen(library)
    context = ffi.new("llm_context **")
    if lib.llm_context_new(context, ffi.NULL) != 0:
        return ["cffi: llm_context_new failed"]
    version = ffi.string(lib.llm_version_string()).decode()
    lib.llm_context_free(context[0])
    return [] if re.fullmatch(r"\d+\.\d+\.\d+", version) else [f"cffi: version {version!r}"]


def main(root, library, cc, cxx=None):
    root = pathlib.Path(root)
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        for header in ["llm.h"] + ["llm/" + p.name for p in (root / "include/llm").glob("*.h")]:
            for suffix, compiler, standards in ((".c", cc, C), (".cpp", cxx, CXX)):
                source = pathlib.Path(folder) / f"header{suffix}"
                source.write_text(f'#include "{header}"\nextern int unit;\n')
                every = standards if header == "llm.h" else standards[:1]
                for standard in every if compiler else ():
                    extra = ["-Wpadded"] if suffix == ".c" else []
                    problems += compile_header(compiler, standard, root, source, extra)
    problems += parse_with_cffi(root, library, cc)
    print("\n".join(problems) or "the header is clean everywhere")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
