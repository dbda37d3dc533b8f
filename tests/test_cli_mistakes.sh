#!/usr/bin/env bash
# Mistakes of somebody new: misspelt words, files in places that cannot be written, disks that are full.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/cli_fixture.sh"

# Words that are nearly right.
expect 2 "unknown verb 'rnu'; did you mean run?" rnu
expect 2 "unknown verb 'comp'; did you mean compile?" comp
expect 2 "unknown option '--itres'; did you mean --iters?" bench x.onnx --itres 3
expect 2 "unknown option '--thread=2'; did you mean --threads?" run x.onnx --thread=2
expect 2 "unknown option '--fry'" run --fry
! grep -q "did you mean" "$folder/err" || { echo "FAILED: a guess without a reason"; failures=$((failures + 1)); }
expect 0 "usage: sinter VERB" help
expect 0 "usage: sinter bench" help bench
expect 2 "unknown verb 'fry'" help fry
expect 2 "there are gpt2, llama, bert, attention" make gpt3 -o "$folder/x.onnx"

# Help fits a terminal, and says what the columns of bench are.
for verb in info run bench compile dump train tune make cache doctor; do
    expect 0 "usage: sinter $verb" "$verb" -h
    long=$(awk 'length > 108' "$folder/out")
    [[ -z $long ]] || { echo "FAILED: $verb -h is wide: $long"; failures=$((failures + 1)); }
done
for word in SINTER_CACHE SINTER_CC SINTER_MATRIX SINTER_LIBCUDA; do expect 0 "$word" -h; done
for word in "p90, p99" "speed-up" "of peak" "peak memory" "compile  "; do expect 0 "$word" bench -h; done

model=$folder/model.onnx
expect 0 "" make gpt2 --layers 1 --d-model 32 --heads 2 --d-ff 64 --vocab 50 --context 16 -o "$model"

# Files that are no models say what they are; what a model lacks is told with the model's name.
is() {
    printf "$1" >"$folder/other.onnx"
    expect 1 "other.onnx\": not a valid ONNX file: $2" info "$folder/other.onnx"
}
is 'version https://git-lfs.github.com/spec/v1\n' 'a field of an unknown kind at offset 1; it is a pointer of Git LFS'
is '<!DOCTYPE html>\n' 'a field of the wrong kind at offset 1; it is a text'
is 'PK\x03\x04' 'a field without a number at offset 2; it is a zip archive'
is '\x40\0\0\0\0\0\0\0{"a":{}}' 'a field of the wrong kind at offset 1; it is weights in the safetensors format'
is '' 'there is no graph in it; it is empty'
expect 0 "" make gpt2 --stored --layers 1 --d-model 32 --heads 2 --d-ff 64 --vocab 50 --context 16 -o "$folder/apart.onnx"
rm "$folder"/apart.onnx?*
expect 1 'apart.onnx": node' info "$folder/apart.onnx"
expect 1 "below the model's folder: No such file" info "$folder/apart.onnx"
printf 'version https://git-lfs.github.com/spec/v1\n' >"$folder/apart.onnx.data"
expect 1 'beyond the end of "apart.onnx.data" (offset 0' info "$folder/apart.onnx"
expect 1 'of 43); it is a pointer of Git LFS' info "$folder/apart.onnx"
cp "$folder/apart.onnx.data" "$folder/lfs.pb"
expect 1 'lfs.pb": not a valid ONNX file: a field of the wrong kind at offset 1; it is a pointer' \
    run "$model" --input "input_ids=@$folder/lfs.pb"

# A place that cannot be written is found before the work: nothing has been compiled, measured or printed then.
for words in "run $model --output logits=@$folder/absent/x.npy" "compile $model -o $folder/absent/x.sinter" \
    "tune $model -o $folder/absent/x.txt"; do
    read -ra words <<<"$words"
    SINTER_CC=$(type -P false) SINTER_CACHE=$folder/empty expect 1 "/absent/x" "${words[@]}"
    silent out "${words[0]} before it failed"
done

# Where a file cannot be completed, what had its name before stays. The compiler is asked before its own files have no room.
expect 0 "stage fused" dump "$model"
echo "what was there" >"$folder/kept.txt"
full=0
(trap "" XFSZ; ulimit -f 1; "$SINTER" dump "$model" -o "$folder/kept.txt" 2>"$folder/err") || full=$?
[[ $full -eq 1 ]] && grep -q "kept.txt cannot be written" "$folder/err" ||
    { echo "FAILED: dump on a full disk"; failures=$((failures + 1)); }
[[ $(<"$folder/kept.txt") == "what was there" ]] || { echo "FAILED: dump lost a file"; failures=$((failures + 1)); }
[[ -z $(find "$folder" -name '*.sinter-new.*') ]] || { echo "FAILED: dump left something"; failures=$((failures + 1)); }
expect 0 "" dump "$model" -o "$folder/kept.txt"
grep -q "stage fused" "$folder/kept.txt" || { echo "FAILED: dump over a file"; failures=$((failures + 1)); }
expect 0 "stage fused" dump "$model" -o /dev/stdout

# What all rows of a table have alike is said above it; percentiles need enough runs.
expect 0 "model: model.onnx, phase: forward" bench --no-peaks "$model" --shape input_ids=1x4 --threads 1 --warmup 1 --iters 10
grep -q "^| mode  .* p90, ms |" "$folder/out" || { echo "FAILED: bench lacks p90"; failures=$((failures + 1)); }
! grep -q p99 "$folder/out" || { echo "FAILED: p99 of ten runs"; failures=$((failures + 1)); }
expect 0 '"p99_s"' bench --no-peaks "$model" --shape input_ids=1x4 --threads 1 --warmup 1 --iters 100 --modes compiled -o json
grep -q '"max_s"' "$folder/out" || { echo "FAILED: bench lacks max_s"; failures=$((failures + 1)); }

# A compiler that fails without a word, as one does that has no space for it.
SINTER_CACHE=$folder/silent expect 0 "" run "$model"
rm -f "$folder"/silent/kernels/[0-9a-f]*
printf '#!/bin/sh\nexit 1\n' >"$folder/cc"
chmod +x "$folder/cc"
SINTER_CC=$folder/cc SINTER_CACHE=$folder/silent expect 1 "MiB of space left" run "$model"

[[ $failures -eq 0 ]] || { echo "$failures failures"; exit 1; }
echo "mistakes are told"
