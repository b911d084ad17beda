#!/bin/sh
# llm chat as a user runs it: questions through a pipe, commands, Ctrl-C in an answer and at the
# prompt, models with and without a template. The model is a few steps old and talks nonsense.
# Usage: test_chat_tool.sh ROOT BUILD_EXAMPLES_DIR
set -eu
root=$1
bin=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
llm=$bin/llm

fail() { echo "FAIL: $*" >&2; exit 1; }

cat "$root"/README.md "$root"/doc/*.md > text.txt
"$llm" train-tokenizer text.txt --vocab-size 400 --special '<unused>' --out tokenizer >/dev/null 2>&1
"$llm" train text.txt --tokenizer tokenizer --layers 2 --heads 2 --width 64 --context 4096 --batch 1 \
    --steps 2 --eval-interval 0 --out model >log.txt 2>&1 || { cat log.txt; fail "train"; }

# Without a template: a warning, and plain roles.
printf 'Hello\n' | "$llm" chat -m model --max-tokens 5 --temperature 0 >out.txt 2>err.txt ||
    { cat err.txt; fail "chat without a template"; }
grep -q 'no chat template' err.txt || fail "no warning about the missing template"
[ -s out.txt ] || fail "no answer"

# With one: the conversation goes on, commands work, files come back.
cat > model/chat_template.jinja <<'END'
{% for m in messages %}<{{ m.role }}>{{ m.content }}
{% endfor %}{{ '<assistant>' if add_generation_prompt }}
END
printf 'One "quoted" \\ question\nTwo\n/save saved.json\n/system Be brief.\n/save system.json\n/reset\n/save reset.json\n/load saved.json\n/save again.json\n/nonsense\n/load nowhere.json\n/exit\nnever\n' |
    "$llm" chat --model model --max-tokens 5 --temperature 0 --system Hm >out.txt 2>err.txt ||
    { cat err.txt; fail "chat"; }
! grep -q 'no chat template' err.txt || fail "a warning though there is a template"
grep -q '"role": "system", "content": "Hm"' saved.json || fail "no system prompt"
grep -q '"content": "One \\"quoted\\" \\\\ question"' saved.json || fail "the question was changed"
[ "$(grep -o '"role": "assistant"' saved.json | wc -l)" -eq 2 ] || fail "answers are missing"
grep -q '"content": "Be brief."' system.json || fail "/system"
! grep -q '"content": "Hm"' system.json || fail "two system prompts"
[ "$(cat reset.json)" = '[{"role": "system", "content": "Hm"}]' ] || fail "/reset"
cmp saved.json again.json || fail "/load after /save differs"
grep -q '/system TEXT' err.txt || fail "no help for an unknown command"
grep -q 'nowhere.json' err.txt || fail "no message for a missing file"
! grep -q never saved.json || fail "/exit does not leave"

# The same conversation gives the same answers, asked at once or continued from a file.
printf '/load saved.json\nThree\n/save a.json\n' |
    "$llm" chat --model model --max-tokens 5 --temperature 0 >/dev/null 2>&1
printf 'One "quoted" \\ question\nTwo\nThree\n/save b.json\n' |
    "$llm" chat --model model --max-tokens 5 --temperature 0 --system Hm >/dev/null 2>&1
cmp a.json b.json || fail "a conversation from a file is answered differently"

# A GGUF file carries the template with it.
"$llm" convert model model.gguf >/dev/null 2>&1 || fail "convert"
printf 'One "quoted" \\ question\nTwo\nThree\n/save c.json\n' |
    "$llm" chat --model model.gguf --max-tokens 5 --temperature 0 --system Hm >/dev/null 2>err.txt ||
    { cat err.txt; fail "chat with a GGUF file"; }
! grep -q 'no chat template' err.txt || fail "the GGUF file lost its template"
cmp b.json c.json || fail "a GGUF file answers differently"

# Ctrl-C ends the answer, not the program; at the prompt the second one leaves.
mkfifo questions answers
"$llm" chat --model model --max-tokens 0 --temperature 0 <questions >answers 2>err.txt &
pid=$!
exec 3>questions 4<answers
echo "Talk until you are stopped" >&3
dd bs=1 count=1 <&4 >first.txt 2>/dev/null # waits for the answer to begin
kill -INT $pid
cat <&4 >out.txt &
n=0
while ! grep -q 'stopped' out.txt && [ $n -lt 200 ]; do sleep 0.05; n=$((n + 1)); done
grep -q '(stopped)' out.txt || { cat err.txt; head -c 600 out.txt; fail "Ctrl-C does not stop the answer"; }
echo "/save stopped.json" >&3
n=0
while [ ! -s stopped.json ] && [ $n -lt 200 ]; do sleep 0.05; n=$((n + 1)); done
grep -q '"role": "assistant"' stopped.json || fail "Ctrl-C ended the program"
sleep 0.2
kill -INT $pid
n=0
while ! grep -q 'leaves' err.txt && [ $n -lt 200 ]; do sleep 0.05; n=$((n + 1)); done
grep -q 'leaves' err.txt || fail "Ctrl-C at the prompt says nothing"
kill -0 $pid 2>/dev/null || fail "one Ctrl-C at the prompt ended the program"
kill -INT $pid
wait $pid || fail "leaving is a failure"
exec 3>&- 4<&-

! "$llm" chat >out.txt 2>err.txt || fail "chat without a model"
grep -q 'model is missing' err.txt || fail "no message without a model"
echo '{% if %}' > model/chat_template.jinja
! "$llm" chat -m model </dev/null >out.txt 2>err.txt || fail "a broken template was accepted"
grep -q 'line 1' err.txt || { cat err.txt; fail "no line for a broken template"; }
echo "llm chat works"
