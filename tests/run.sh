#!/bin/sh
# Builds libllm and runs every test; installs through apt what is missing.
#   tests/run.sh                the whole suite
#   tests/run.sh --suite api    arguments go to `meson test`
# LLM_BUILD_DIR: build folder (build-tests). LLM_TEST_DATA: real texts, vocabularies and models for
# tests that want them (default: shared/data beside the checkout, if there is one).
set -eu
cd "$(dirname "$0")/.."

sh examples/dependencies.sh gcc g++ libc6-dev meson ninja-build pkg-config python3 libjansson-dev \
    libutf8proc-dev libopenblas-dev libcmocka-dev python3-cffi

build=${LLM_BUILD_DIR:-build-tests}
if [ -z "${LLM_TEST_DATA:-}" ] && [ -d ../shared/data ]; then
    LLM_TEST_DATA=$(cd ../shared/data && pwd)
fi
export LLM_TEST_DATA="${LLM_TEST_DATA:-}"
[ -n "$LLM_TEST_DATA" ] || echo "LLM_TEST_DATA is not set: tests on real data will be skipped"

[ -f "$build/build.ninja" ] || meson setup "$build" --buildtype=debugoptimized -Dbench=true \
    ${LLM_MESON_OPTIONS:-}
ninja -C "$build"
log=$(mktemp)
status=0
meson test -C "$build" --print-errorlogs "$@" >"$log" 2>&1 || status=$?
cat "$log"
# One closing line: what passed, failed and was skipped.
awk '/^Ok:/ {p += $2} /^Expected Fail:/ {p += $3} /^Fail:/ {f += $2} /^Unexpected Pass:/ {f += $3}
     /^Timeout:/ {f += $2} /^Skipped:/ {s += $2}
     END {printf "\n%d passed, %d failed, %d skipped\n", p, f, s}' "$log"
rm -f "$log"
exit "$status"
