#!/bin/sh
# The programs for tasks and their commands of the tool, on the small models of tests/golden/tasks.
# Usage: test_task_examples.sh ROOT BUILD_EXAMPLES_DIR
set -eu
models=$1/tests/golden/tasks
bin=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
llm=$bin/llm

fail() { echo "FAIL: $*" >&2; exit 1; }
# refuses EXPECTED_TEXT COMMAND...: must fail, with the text on stderr
refuses() {
    expected=$1
    shift
    if "$@" >out.txt 2>err.txt; then fail "accepted: $*"; fi
    grep -q -- "$expected" err.txt || { cat err.txt; fail "no \"$expected\" from: $*"; }
}
cat_eats="A man is eating food."
question="Where does Anna live?"

"$bin"/embed_similarity "$models"/embed -o map.svg "$cat_eats" "The <cat> sits." "$cat_eats" > map.txt
[ "$(wc -l < map.txt)" -eq 3 ] || fail "embed_similarity printed no table"
grep -q ' 1.00 ' map.txt || fail "a text is not like itself"
grep -q '&#60;cat&#62;' map.svg || fail "heat map"
printf 'one\ntwo\n' | "$bin"/embed_similarity "$models"/embed | grep -q two || fail "lines"
refuses "no-such-model" "$bin"/embed_similarity no-such-model a
"$bin"/classify "$models"/classify "$cat_eats" | grep -q odd || fail "classify"
"$bin"/classify "$models"/classify "$cat_eats" "$question" | grep -q good || fail "classify a pair"
"$bin"/classify "$models"/tag "Anna lives in New York" | grep -q PER || fail "classify entities"
"$bin"/translate "$models"/translate "$cat_eats" 3 | grep -q . || fail "translate"
refuses "ForConditionalGeneration" "$bin"/translate "$models"/mask "$cat_eats"
"$bin"/fill_mask "$models"/mask "A [MASK] eats." > fills.txt
[ "$(wc -l < fills.txt)" -eq 5 ] || fail "fill_mask"
refuses "no mask" "$bin"/fill_mask "$models"/mask "A man eats."
echo "$cat_eats Anna lives in New York." > context.txt
"$bin"/question_answering "$models"/answer "$question" context.txt | grep -q . || fail "answers"

for command in embed classify; do
    "$llm" $command --help | grep -q -- "--model" || fail "$command --help"
    refuses "model is missing" "$llm" $command x
done
"$llm" embed --model "$models"/embed "a" 'b "c"' > lines.txt
python3 -c 'import json, sys
rows = [json.loads(line) for line in sys.stdin]
assert [row["text"] for row in rows] == ["a", "b \"c\""] and len(rows[0]["embedding"]) == 12
assert abs(sum(x * x for x in rows[0]["embedding"]) - 1) < 1e-5' < lines.txt || fail "JSON lines"
"$llm" embed --model "$models"/embed --out v.npy a b c
[ "$(wc -c < v.npy)" -eq $((128 + 3 * 12 * 4)) ] || fail "NumPy file"
printf 'a\nb\n' | "$llm" embed --model "$models"/embed --lines - --similarity > pairs.txt
[ "$(wc -l < pairs.txt)" -eq 1 ] || fail "similarity"
"$llm" embed --model "$models"/rerank --rerank "$question" "Anna lives here" "x" > ranks.txt
[ "$(wc -l < ranks.txt)" -eq 2 ] || fail "rerank"
refuses "pooling" "$llm" embed --model "$models"/embed --pooling none a
"$llm" classify --model "$models"/classify --json "$cat_eats" | grep -q '"labels": {"bad": 0\.' ||
    fail "classify --json"
"$llm" classify --model "$models"/tag --aggregation none "Anna lives" | grep -q . || fail "tags"
refuses "ForSequenceClassification" "$llm" classify --model "$models"/mask "$cat_eats"
echo ok
