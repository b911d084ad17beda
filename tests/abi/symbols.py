#!/usr/bin/env python3
"""The exported functions are those of the public headers and of the symbol map, no more, no less;
nothing that could end or upset the host process is imported.

Usage: symbols.py ROOT LIBRARY
"""
import pathlib
import re
import subprocess
import sys

BANNED_IMPORTS = {
    "abort", "exit", "_exit", "quick_exit", "printf", "puts", "putchar", "perror", "strcpy", "strcat",
    "sprintf", "strtok", "atoi", "rand", "srand", "setlocale", "signal", "sigaction", "system",
    "longjmp", "_longjmp", "__longjmp_chk", "umask", "__printf_chk",
}


def declared(root):
    text = ""
    for header in sorted((root / "include").rglob("*.h")):
        text += re.sub(r"/\*.*?\*/", "", header.read_text(encoding="utf-8"), flags=re.S)
    return set(re.findall(r"LLM_API[^;{]*?\b(llm_\w+)\s*\(", text))


def mapped(root):
    text = (root / "lib" / "libllm.map").read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return set(re.findall(r"^\s*(llm_\w+);", text, flags=re.M))


def nm(library, *flags):
    out = subprocess.run(["nm", "-D", *flags, library], check=True, capture_output=True, text=True)
    return [line.split() for line in out.stdout.splitlines()]


def difference(left, left_name, right, right_name):
    return [f"{name}: in {left_name}, not in {right_name}" for name in sorted(left - right)]


def main(root, library):
    root = pathlib.Path(root)
    header, in_map = declared(root), mapped(root)
    problems = []
    exported = set()
    for fields in nm(library, "--defined-only"):
        kind, name = fields[-2], fields[-1].split("@")[0]
        if kind == "A":
            continue
        exported.add(name)
        if kind != "T":
            problems.append(f"{name}: exported as {kind}, only functions are")
    problems += difference(header, "the headers", exported, "the library")
    problems += difference(exported, "the library", header, "the headers")
    problems += difference(header, "the headers", in_map, "libllm.map")
    problems += difference(in_map, "libllm.map", header, "the headers")
    imports = {fields[-1].split("@")[0] for fields in nm(library, "--undefined-only")}
    problems += [f"{name}: imported" for name in sorted(imports & BANNED_IMPORTS)]
    if len(exported) < 10:
        problems.append(f"only {len(exported)} functions exported")
    print("\n".join(problems) or f"{len(exported)} functions: headers, map and library agree")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
