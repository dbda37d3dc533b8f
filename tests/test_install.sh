#!/usr/bin/env bash
# What is installed suffices to use the library: the program of docs/library.md, compiled by what pkg-config says, and run.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/cli_fixture.sh"

cmake --install "$SINTER_BUILD" --prefix "$folder/prefix" >"$folder/out" 2>&1 || { cat "$folder/out"; exit 1; }
pc=$(find "$folder/prefix" -name sinter.pc)
libraries=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH=$libraries/pkgconfig
sed -n '/^```c$/,/^```$/p' docs/library.md | grep -v '^```' >"$folder/run.c"
sanitize=$(sed -n 's/^SINTER_SANITIZE:STRING=//p' "$SINTER_BUILD/CMakeCache.txt")
read -ra flags <<<"$(pkg-config --cflags --libs sinter) ${sanitize:+-fsanitize=$sanitize}"
cc -std=c11 -Wall -Wextra -Werror "$folder/run.c" -o "$folder/run" "${flags[@]}"

"$folder/prefix/bin/sinter" make gpt2 --layers 1 --d-model 32 --heads 2 --d-ff 64 --vocab 50 --context 16 -o "$folder/model.onnx"
LD_LIBRARY_PATH=$libraries "$folder/run" "$folder/model.onnx" >"$folder/out"
expected='^logits 1 8 50: (-?[0-9.e-]+) \.\.\.
logits 2 8 50: (-?[0-9.e-]+) \.\.\.$'
[[ $(<"$folder/out") =~ $expected && ${BASH_REMATCH[1]} == "${BASH_REMATCH[2]}" ]] ||
    { echo "FAILED: the program printed"; cat "$folder/out"; exit 1; }

# A failure is a message, and the process goes on to its end.
status=0
LD_LIBRARY_PATH=$libraries "$folder/run" "$folder/absent.onnx" >"$folder/out" 2>"$folder/err" || status=$?
[[ $status -eq 1 ]] && grep -q "absent.onnx" "$folder/err" || { echo "FAILED: a model that is not there"; exit 1; }
echo "the library is found and used"
