#!/usr/bin/env python3
"""A file in lib/ may include its own folder and folders on lower layers, nothing else.

The table is the one in lib/README.md. Public headers ("llm/...") may be included anywhere.
Usage: layers.py ROOT
"""
import pathlib
import re
import sys

LAYERS = [
    ("base",),
    ("kernels",),
    ("tensor",),
    ("graph", "formats", "tokenizer", "chat"),
    ("nn",),
    ("models",),
    ("train", "generate"),
    ("task",),
    ("api",),
]
# Folders that a layer may not see although it lies above: nn holds no file formats.
HIDDEN = {"nn": {"formats", "tokenizer", "chat"}, "formats": {"kernels"}, "tokenizer": {"tensor", "kernels"},
          "chat": {"tensor", "kernels"}}

LEVEL = {folder: level for level, folders in enumerate(LAYERS) for folder in folders}


def main(root):
    lib = pathlib.Path(root) / "lib"
    problems = []
    checked = 0
    for path in sorted(lib.rglob("*.[ch]")):
        folder = path.relative_to(lib).parts[0]
        checked += 1
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match or match.group(1).startswith("llm/") or match.group(1) == "llm.h":
                continue
            target = match.group(1).split("/")[0]
            if target not in LEVEL:
                problems.append(f"{path}:{number}: unknown folder in {match.group(1)}")
            elif target == folder:
                continue
            elif LEVEL[target] >= LEVEL[folder] or target in HIDDEN.get(folder, ()):
                problems.append(f"{path}:{number}: {folder} may not include {target}")
    if checked < 20:
        problems.append(f"only {checked} files found under {lib}")
    print("\n".join(problems) or f"{checked} files follow the layers")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
