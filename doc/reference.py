#!/usr/bin/env python3
"""API reference from the public headers, as one HTML page.

A /** comment documents the declarations that follow it up to a blank line.
Usage: reference.py ROOT OUT.html     write the page
       reference.py ROOT --check      only check that every function and type is documented
"""
import html
import pathlib
import re
import sys

ORDER = ["status", "context", "tensor", "tape", "optimizer", "tokenizer", "chat", "model", "session",
         "dataset", "trainer"]
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
pre{background:#8881;padding:.6rem;overflow-x:auto;border-radius:.3rem}nav{columns:3;font-size:.85rem}
code{font-size:.9em}h2{border-top:1px solid #8888;padding-top:1rem}.p{margin:.2rem 0 .2rem 1rem}"""


def comment_text(raw):
    """The words of a comment, without its stars."""
    lines = [re.sub(r"^\s*\*? ?", "", line) for line in raw.strip().splitlines()]
    return "\n".join(lines).strip()


def blocks(text):
    """(comment, declarations) pairs of one header."""
    body = text[text.index('extern "C" {'):] if 'extern "C" {' in text else text
    body = body[body.index("#endif") + 6:]
    for match in re.finditer(r"/\*\*(?!<)(.*?)\*/\s*\n(.*?)(?=\n\s*\n|\Z)", body, re.S):
        yield comment_text(match.group(1)), match.group(2).rstrip()


def names(code):
    found = re.findall(r"\b(llm_\w+)\s*\(", re.sub(r"\(\*\w+\)", "", code))
    found += re.findall(r"typedef struct \w+ (llm_\w+);", code)
    found += re.findall(r"^} (llm_\w+);", code, re.M)
    found += re.findall(r"typedef [\w ]+ \**\(\*(llm_\w+)\)", code)
    found += re.findall(r"#define (LLM_\w+)", code)
    found += re.findall(r"^\s*(LLM_\w+) =", code, re.M)[:1]
    found += re.findall(r"typedef \w+ (llm_\w+);", code)
    return list(dict.fromkeys(found))


def paragraphs(text):
    out = []
    for part in re.split(r"(?=@\w+)|\n\n", text):
        part = " ".join(part.split())
        if not part:
            continue
        part = html.escape(part)
        part = re.sub(r"^@param (\w+)", r"<b>\1</b>", part)
        part = re.sub(r"^@(\w+)", lambda m: f"<b>{m.group(1).capitalize()}:</b>", part)
        part = re.sub(r"\b(llm_\w+)\(\)", r'<a href="#\1"><code>\1()</code></a>', part)
        part = re.sub(r"`([^`]+)`", r"<code>\1</code>", part)
        out.append(f'<p class="p">{part}</p>' if part.startswith("<b>") else f"<p>{part}</p>")
    return "\n".join(out)


def page(root):
    headers = {path.stem: path.read_text(encoding="utf-8")
               for path in (root / "include" / "llm").glob("*.h")}
    order = [n for n in ORDER if n in headers] + sorted(set(headers) - set(ORDER))
    index, body = [], []
    for noun in order:
        text = headers[noun]
        head = comment_text(re.match(r"/\*(.*?)\*/", text, re.S).group(1))
        head = re.sub(r"SPDX-License-Identifier: \S+\s*", "", head)
        body.append(f'<h2 id="{noun}">&lt;llm/{noun}.h&gt;</h2>{paragraphs(head)}')
        index.append(f'<a href="#{noun}"><b>{noun}</b></a><br>')
        for comment, code in blocks(text):
            labels = names(code)
            for label in labels:
                body.append(f'<a id="{label}"></a>')
                if label.startswith("llm_"):
                    index.append(f'<a href="#{label}">{label}</a><br>')
            shown = re.sub(r"\bLLM_API ", "", code)
            body.append(f"{paragraphs(comment)}<pre>{html.escape(shown)}</pre>")
    return (f"<!doctype html><meta charset=utf-8><title>libllm reference</title>"
            f"<style>{STYLE}</style><h1>libllm reference</h1><nav>{''.join(index)}</nav>"
            f"{''.join(body)}\n")


def check(root):
    problems = []
    total = 0
    for path in sorted((root / "include" / "llm").glob("*.h")):
        text = path.read_text(encoding="utf-8")
        documented = {name for _, code in blocks(text) for name in names(code)}
        bare = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        for name in re.findall(r"LLM_API[^;{]*?\b(llm_\w+)\s*\(", bare):
            total += 1
            if name not in documented:
                problems.append(f"{path}: {name} has no documentation")
    print("\n".join(problems) or f"{total} functions, all documented")
    return 1 if problems or total < 10 else 0


if __name__ == "__main__":
    top = pathlib.Path(sys.argv[1])
    if sys.argv[2] == "--check":
        sys.exit(check(top))
    pathlib.Path(sys.argv[2]).write_text(page(top), encoding="utf-8")
