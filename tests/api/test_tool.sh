#!/bin/sh
# The tool and the examples as a user runs them, on the project's own documentation as text.
# Usage: test_tool.sh ROOT BUILD_EXAMPLES_DIR
set -eu
root=$1
bin=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat "$root"/README.md "$root"/doc/*.md > text.txt
llm=$bin/llm

fail() { echo "FAIL: $*" >&2; exit 1; }
# refuses EXPECTED_TEXT COMMAND...: must fail, with the text on stderr
refuses() {
    expected=$1
    shift
    if "$@" >out.txt 2>err.txt; then fail "accepted: $*"; fi
    grep -q -- "$expected" err.txt || { cat err.txt; fail "no \"$expected\" from: $*"; }
}

"$llm" --help | grep -q train-tokenizer || fail "--help"
for command in train finetune merge generate tokenize train-tokenizer info convert; do
    "$llm" $command --help | grep -q -- "--help" || fail "$command --help"
done
"$llm" --version | grep -q '^libllm [0-9]' || fail "--version"

"$llm" train-tokenizer text.txt --vocab-size 512 --out tokenizer
"$llm" train-tokenizer text.txt --vocab-size 300 --out new/folders/tokenizer >/dev/null 2>&1
[ -s new/folders/tokenizer/tokenizer.json ] || fail "missing folders are not made"
"$llm" tokenize --tokenizer tokenizer --text 'a "quoted" line' | grep -q '"a"' || fail "tokenize"
ids=$("$llm" tokenize --tokenizer tokenizer --ids text.txt)
echo "$ids" | "$llm" tokenize --tokenizer tokenizer --decode > back.txt
cmp text.txt back.txt || fail "ids do not decode to the text"

train="$llm train text.txt --tokenizer tokenizer --layers 2 --heads 2 --width 32 --context 32
    --batch 4 --steps 30 --eval-interval 10 --checkpoint-interval 10 --seed 7"
$train --out model >log.txt 2>progress.txt
grep -q 'best validation loss' log.txt || fail "train reports no validation loss"
grep -q 'tokens/s' progress.txt || fail "train shows no progress"
for file in config.json model.safetensors tokenizer.json metrics.jsonl loss.svg; do
    [ -s model/$file ] || fail "model/$file is missing"
done
ls model/events.out.tfevents.* >/dev/null || fail "no TensorBoard events"
[ "$(wc -l < model/metrics.jsonl)" -ge 3 ] || fail "too few metrics"

# Stopped by a signal and resumed, the run ends with the same bytes.
$train --out again >/dev/null 2>&1 &
pid=$!
sleep 0.3
kill -INT $pid 2>/dev/null || true
wait $pid || true
$train --out again --resume >/dev/null 2>&1 || $train --out again >/dev/null 2>&1
cmp model/model.safetensors again/model.safetensors || fail "the resumed run differs"

# The model learns to answer; an adapter and the model it is merged into write the same.
for n in 1 2 3 4 5 6 7 8; do echo '{"prompt": "what?", "completion": "that is it"}'; done > rows.jsonl
answer() {
    "$llm" generate --prompt 'what?
' --max-tokens 4 --temperature 0 --quiet "$@"
}
"$llm" finetune --model model --out full --full rows.jsonl --steps 60 --learning-rate 0.01 --quiet
answer --model full | grep -q 'that is it' || fail "fine-tuning taught nothing"
"$llm" finetune --model model --out adapter rows.jsonl --steps 60 --learning-rate 0.01 --quiet
[ -s adapter/adapter_model.safetensors ] || fail "no adapter"
answer --model model > zero.txt
answer --model model --adapter adapter > one.txt
"$llm" merge --model model --adapter adapter --out merged
answer --model merged > two.txt
cmp one.txt two.txt || fail "the merged model writes something else"
cmp -s zero.txt one.txt && fail "the adapter changes nothing"
refuses "nowhere" "$llm" finetune --model model --out x rows.jsonl --target nowhere
echo '{"a": 1}' > rows.jsonl
refuses "rows.jsonl: row 1" "$llm" finetune --model model --out x rows.jsonl

"$llm" info model | grep -q gpt2 || fail "info"
"$llm" info | grep -q libllm || fail "info without arguments"
"$llm" convert model model.gguf --type f32 --no-tokenizer 2>convert.txt
grep -q '100 %' convert.txt || fail "convert shows no progress"
"$llm" info model.gguf | grep -q gpt2 || fail "info of a GGUF file"
"$llm" info --metadata model.gguf | grep -q 'gpt2.block_count (u32) = 2' || fail "info --metadata"
"$llm" convert model.gguf returned --no-tokenizer 2>/dev/null
cmp model/model.safetensors returned/model.safetensors || fail "weights changed on the way"
"$llm" convert model whole.gguf 2>/dev/null
"$llm" tokenize --tokenizer whole.gguf --ids text.txt > ids.txt
[ "$ids" = "$(cat ids.txt)" ] || fail "the tokenizer in a GGUF file gives other ids"
"$llm" convert model split.gguf --split-size 40K --no-tokenizer 2>/dev/null
[ -s split-00001-of-00002.gguf ] || ls split-*.gguf | grep -q -- '-00001-of-' || fail "no split files"
refuses "type q9" "$llm" convert model x.gguf --type q9
refuses "split-size" "$llm" convert model x.gguf --split-size lots
refuses "no-such-model" "$llm" convert no-such-model x.gguf
"$llm" generate --model model --prompt "The " --max-tokens 20 --seed 1 --quiet > one.txt
"$llm" generate --model model --prompt "The " --max-tokens 20 --seed 1 --quiet > two.txt
cmp one.txt two.txt || fail "the same seed wrote different text"
[ -s one.txt ] || fail "nothing was generated"

refuses "no-such-file" "$llm" train no-such-file --out x
refuses "unknown option" "$llm" train text.txt --no-such-option
refuses "outside" "$llm" generate --model model --temperature -1
refuses "out is missing" "$llm" train text.txt
# under a grammar, with guesses, by beams, in two halves
"$llm" generate --model model --prompt "x" --quiet --regex "[ab]{3}-[0-9]{2}" --lookup 4 > four.txt 2>&1
grep -Eqx '[ab]{3}-[0-9]{2}' four.txt || fail "the text does not match: $(cat four.txt)"
echo '{"type":"array","items":{"enum":[1,22]},"minItems":2,"maxItems":3}' > schema.json
"$llm" generate --model model --prompt "x" --quiet --json-schema schema.json > five.txt
grep -Eq '^\[' five.txt || fail "no array: $(cat five.txt)"
"$llm" generate --model model --prompt "The " --temperature 0 --max-tokens 24 --quiet > plain.txt
"$llm" generate --model model --prompt "The " --temperature 0 --max-tokens 24 --quiet --draft model \
    > drafted.txt
cmp plain.txt drafted.txt || fail "a draft changed the text"
"$llm" generate --model model --prompt "The " --beams 3 --max-tokens 5 --quiet \
    --save-session saved > six.txt
[ -s six.txt ] && [ -s saved ] || fail "beams"
"$llm" generate --model model --prompt " and" --load-session saved --max-tokens 5 --quiet > seven.txt
[ -s seven.txt ] || fail "a saved session does not go on"
"$bin/generate" model "The" > eight.txt || fail "examples/generate"
grep -q '"title"' eight.txt || fail "examples/generate: no answer in JSON"
refuses "only one of" "$llm" generate --model model --regex a --grammar b
refuses "not supported" "$llm" generate --model model --regex '(?=a)'
head -c 200 text.txt > no-session
refuses "does not begin as one" "$llm" generate --model model --load-session no-session
refuses "no-such-model" "$llm" generate --model no-such-model
refuses "unknown command" "$llm" no-such-command
refuses "n_head" "$llm" train text.txt --heads 3 --width 32 --out x
head -c 1000 /dev/urandom > noise.bin
refuses "noise.bin: .*UTF-8" "$llm" train noise.bin --out x
: > empty.txt
refuses "" "$llm" train empty.txt --out x

"$bin"/embed model "The " | grep -q '^The ' || fail "embed"
refuses "embed:" "$bin"/embed no-such-model
[ ! -x "$bin"/embed_cpp ] || "$bin"/embed_cpp model "The " | grep -q '^The ' || fail "embed.cpp"
"$bin"/micrograd graph.dot | grep -q 'do/dw1 = 1.000000' || fail "micrograd"
grep -q digraph graph.dot || fail "micrograd's graph"
cat "$root"/lib/graph/*.c > code.txt
"$bin"/mlp text.txt code.txt > mlp.txt || fail "mlp"
awk '/test accuracy/ {exit !($3 > 90)}' mlp.txt || { cat mlp.txt; fail "mlp learned too little"; }
echo "the tool and the examples work"
