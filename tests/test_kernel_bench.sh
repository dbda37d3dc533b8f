#!/usr/bin/env bash
# The benchmarks of single kernels: their short form runs, its results are right (they check them), and its JSON has the
# rows; a mistaken shape is refused. How fast anything is, is not tested.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export SINTER_CACHE=${SINTER_CACHE:-$folder/cache}

# rows PROGRAM COUNT: the JSON of `PROGRAM --quick` has COUNT rows of sinter's, each with a positive rate and peak.
rows() {
    "$SINTER_BUILD/bench/kernels/$1" --quick --no-peers --threads 1,2 --json >"$folder/$1.json" 2>"$folder/err" ||
        { cat "$folder/err"; exit 1; }
    python3 - "$folder/$1.json" "$2" <<'END'
import json, sys
report = json.load(open(sys.argv[1], encoding="utf-8"))
assert {peak["threads"] for peak in report["peaks"]} == {1, 2}, report["peaks"]
assert all(peak["fma_flops"] > 0 for peak in report["peaks"]), report["peaks"]
rows = [row for row in report["rows"] if row["who"] == "sinter"]
assert len(rows) == int(sys.argv[2]), len(rows)
assert all(row["flop_rate"] > 0 and row["median_s"] >= row["min_s"] > 0 for row in rows), rows
assert {row["threads"] for row in rows} == {1, 2}, rows
assert all(row["peak_share"] > 0 and 0 <= row["discarded"] <= 1 for row in rows), rows
END
}
rows gemm_bench 4
rows attention_bench 4

# Operands of bf16, where the processor has dot products of them.
"$SINTER_BUILD/bench/kernels/gemm_bench" --quick --no-peers --bf16 >"$folder/out" 2>"$folder/err" ||
    grep -qF unsupported "$folder/err" || { cat "$folder/err"; exit 1; }

for words in "gemm_bench 3x4" "gemm_bench 3x4x5y" "attention_bench 1x2x3x4x5:causal" "attention_bench 1x2x0x4x5"; do
    read -r program shape <<<"$words"
    if "$SINTER_BUILD/bench/kernels/$program" --shape "$shape" >/dev/null 2>"$folder/err"; then
        echo "$program takes the shape $shape"; exit 1
    fi
    grep -qF "shape '$shape'" "$folder/err" || { cat "$folder/err"; exit 1; }
done
