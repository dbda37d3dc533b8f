#!/usr/bin/env bash
# What the documents name is there: files that they link to or spell, and the orders of the passes.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/cli_fixture.sh"
shopt -s nullglob
documents=(README.md docs/*.md bench/*/README.md tests/*/README.md)

absent() {
    echo "FAILED: $1 names $2, which is not there"
    failures=$((failures + 1))
}

is_there() {
    local path
    for path in $1 */$1 */*/$1; do [[ ! -e $path ]] || return 0; done
    return 1
}

# Links are relative to the document.
for document in "${documents[@]}"; do
    while read -r target; do
        [[ $target == *://* || -e $(dirname "$document")/${target%%#*} ]] || absent "$document" "$target"
    done < <(grep -oE '\]\([^)#]+' "$document" | cut -c3-)
done

# Sources are spelled from the root, or from a folder that the text is about; a star stands for anything, NAME for what the reader
# writes.
for document in "${documents[@]}"; do
    while read -r target; do
        is_there "$target" || absent "$document" "$target"
    done < <(grep -oE '`[a-zA-Z0-9_*/.-]+\.(c|h|cuh|def|proto|py|sh)`' "$document" | tr -d '`' | grep -v NAME | sort -u)
done

# The orders of the passes, as a compilation tells them.
expect 0 "" make gpt2 --layers 1 --d-model 32 --heads 2 --d-ff 64 --vocab 50 --context 16 -o "$folder/model.onnx"
order() {
    local name=$1 passes
    shift
    expect 0 "pass fuse" compile "$folder/model.onnx" --ledger --format csv "$@"
    passes=$(sed -nE 's/^"?pass ([a-z]+).*/\1/p' "$folder/out" | tr '\n' ' ')
    grep -qE "^    $name +${passes% }\$" docs/design.md ||
        { echo "FAILED: docs/design.md lacks the order of $name: $passes"; failures=$((failures + 1)); }
}
order compiled
order eager --mode eager
order "a step" --phases step

[[ $failures -eq 0 ]] || { echo "$failures failures"; exit 1; }
echo "the documents name what is there"
