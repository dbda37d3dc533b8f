#!/bin/sh
# Runs every model of this folder (or of FOLDER) on its vectors, in both modes, and counts what passed, what was refused
# as unsupported, and what failed; the last two are listed. Exits 1 if anything failed, with --strict also if refused.
#   check.sh [--strict] [SINTER [FOLDER]]       default: build/sinter, tests/models
set -u
cd "$(dirname "$0")/../.." || exit 2
strict=0
if [ "${1:-}" = --strict ]; then
    strict=1
    shift
fi
sinter=${1:-build/sinter}
folder=${2:-tests/models}
passed=0 refused=0 failed=0
output=$(mktemp) || exit 2
trap 'rm -f "$output"' EXIT

check_case() { # MODEL CASE-FOLDER
    tolerance=1e-4
    case $2 in
    */Cast_*) tolerance=1e-7 ;; # its rounding is what is tested
    *f16*) tolerance=4e-3 ;;
    esac
    for mode in eager compiled; do
        if "$sinter" run "$1" --data "$2" --mode $mode --rtol $tolerance --atol $tolerance >"$output" 2>&1; then
            passed=$((passed + 1))
        elif grep -q unsupported "$output"; then
            refused=$((refused + 1))
            echo "refused  $2 $mode: $(grep -m 1 unsupported "$output")"
        else
            failed=$((failed + 1))
            echo "FAILED   $2 $mode: $(tail -n 1 "$output")"
        fi
    done
}

for model in "$folder"/*/model.onnx "$folder"/ops/*/model.onnx; do
    [ -e "$model" ] || continue
    here=${model%/model.onnx}
    if [ -e "$here/output_0.pb" ]; then
        check_case "$model" "$here"
    else
        for case in "$here"/*/; do
            check_case "$model" "${case%/}"
        done
    fi
done
echo "$passed passed, $refused refused, $failed failed"
[ $failed -eq 0 ] && { [ $strict -eq 0 ] || [ $refused -eq 0 ]; }
