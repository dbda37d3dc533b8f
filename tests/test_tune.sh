#!/usr/bin/env bash
# tune, and --tuning of the other verbs: what is written is read, kernels show it, results stay, mistakes have a line.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export SINTER_CACHE=${SINTER_CACHE:-$folder/cache}
say() { echo "FAILED: $*"; exit 1; }

model=$folder/model.onnx
"$SINTER" make bert --layers 1 --d-model 64 --heads 2 --d-ff 128 --vocab 50 --context 16 -o "$model"
kind=$("$SINTER" doctor --no-peaks -o json | python3 -c 'import json, sys
print(*[row["found"] for row in json.load(sys.stdin)["findings"] if row["what"] == "kind of machine"])')
[[ $kind == cpu/*/*/* ]] || say "doctor says '$kind'"

# What tune writes keeps what is not its own, and is read again.
echo "cpu/16/16/77 gemm f32 n=200 k=96 tile=4x2 heights=2 piece=64 # elsewhere" >"$folder/tuned"
"$SINTER" tune "$model" --shape input_ids=1x16 --threads 1 --iters 2 -o "$folder/tuned" >"$folder/table" 2>"$folder/err" ||
    say "tune: $(cat "$folder/err")"
grep -qF "cpu/16/16/77 gemm f32 n=200 k=96" "$folder/tuned" || say "tune drops a line of another kind of machine"
grep -qE "f32 +\| +64 +\| +128" "$folder/table" || say "no row of the table for a product: $(cat "$folder/table")"
"$SINTER" run "$model" --tuning "$folder/tuned" >"$folder/out" || say "run with what tune wrote"
"$SINTER" tune "$model" --iters 1 --threads 1 >"$folder/out" 2>"$folder/err" || say "tune without -o"
grep -qvE "^cpu/" "$folder/out" && say "lines on stdout that are not of a tuning file"

# A line of our own is followed, and the results are the same.
echo "$kind gemm f32 n=128 k=64 tile=4x2 heights=3 piece=32" >"$folder/own"
for shape in 1x16 2x7; do
    "$SINTER" run "$model" --shape input_ids=$shape --output last_hidden_state=@"$folder/want.npy" >/dev/null
    for mode in compiled eager; do
        "$SINTER" run "$model" --shape input_ids=$shape --tuning "$folder/own" --mode $mode \
            --expect last_hidden_state=@"$folder/want.npy" >/dev/null || say "$mode differs with a tuning file"
    done
done
"$SINTER" dump "$model" --stage kernels >"$folder/usual"
"$SINTER" dump "$model" --stage kernels --tuning "$folder/own" >"$folder/followed"
grep -qF "#define SN_GEMM_KC 32" "$folder/usual" && say "a piece of 32 is the usual one: the check is void"
grep -qF "#define SN_GEMM_KC 32" "$folder/followed" || say "the kernels do not follow the file"
# Products of bf16 by dot products, or widened, whichever the fact says; both are as near. Matrix tiles would take words anyway.
export SINTER_MATRIX=0
"$SINTER" make bert --dtype bf16 --layers 1 --d-model 64 --heads 2 --d-ff 128 --vocab 50 --context 16 -o "$folder/narrow.onnx"
for percent in 50 200; do
    echo "$kind facts dot_percent=$percent stream_bytes=0" >"$folder/facts$percent"
    "$SINTER" dump "$folder/narrow.onnx" --stage kernels --tuning "$folder/facts$percent" >"$folder/kernels$percent"
    for mode in compiled eager; do
        "$SINTER" run "$folder/narrow.onnx" --shape input_ids=2x7 --tuning "$folder/facts$percent" --mode $mode \
            --output last_hidden_state=@"$folder/$mode$percent.npy" >/dev/null || say "$mode at $percent %"
        "$SINTER" run "$folder/narrow.onnx" --shape input_ids=2x7 --tuning "$folder/facts50" --rtol 0.03 --atol 0.03 \
            --expect last_hidden_state=@"$folder/$mode$percent.npy" >/dev/null || say "$mode at $percent % differs"
    done
done
grep -qF "#define SN_TILE_B 6" "$folder/kernels50" && say "dot products where they are slow"
grep -qF "#define SN_TILE_B 6" "$folder/kernels200" || say "no dot products where they are quick"
unset SINTER_MATRIX
"$SINTER" bench --no-peaks "$model" --tuning "$folder/own" --modes compiled --threads 1 --warmup 1 --iters 1 >/dev/null || say "bench"
"$SINTER" compile "$model" --tuning "$folder/own" -o "$folder/saved" 2>/dev/null || say "compile"
"$SINTER" run "$folder/saved" --shape input_ids=2x7 --expect last_hidden_state=@"$folder/want.npy" >/dev/null || say "saved"

# refused STATUS PART WORD...
refused() {
    local status=$1 part=$2 got=0
    shift 2
    "$SINTER" "$@" >"$folder/out" 2>"$folder/err" || got=$?
    [[ $got -eq $status ]] && grep -qF -- "$part" "$folder/err" || say "$*: status $got, $(cat "$folder/err")"
}
printf '# a comment\n%s gemm f32 n=128\n' "$kind" >"$folder/broken"
refused 1 "$folder/broken:2: " run "$model" --tuning "$folder/broken"
refused 1 "$folder/broken:2: " dump "$model" --tuning "$folder/broken"
refused 1 "$folder/broken:2: " tune "$model" -o "$folder/broken"
refused 1 "cannot be read" run "$model" --tuning "$folder/absent"
refused 1 "is no tuning file" run "$model" --tuning "$SINTER"
refused 1 "keeps the choices" run "$folder/saved" --tuning "$folder/own"
refused 2 "--tuning goes with --target cpu" dump "$model" --tuning "$folder/own" --target cuda:sm_90
echo "tuning files do as they say"
