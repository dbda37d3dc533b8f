#!/usr/bin/env bash
# The command line: help, exit codes, tables, a round trip of make, info, dump, run and bench, and bad input.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/cli_fixture.sh"

expect 0 "sinter 0." --version
expect 0 "usage: sinter VERB" -h
expect 2 "a verb is missing"
expect 2 "unknown verb 'fry'" fry
for verb in bench cache compile doctor dump info make run train tune; do
    expect 0 "usage: sinter $verb" "$verb" -h
    silent err "help"
    expect 2 "unknown option '--fry'" "$verb" --fry
    silent out "a usage error"
done
expect 2 "MODEL is missing" info
expect 2 "one argument too many" info a b

sizes=(--layers 2 --d-model 32 --heads 2 --d-ff 64 --vocab 50 --context 16)
for kind in gpt2 llama bert attention; do
    model=$folder/$kind.onnx
    expect 0 "" make "$kind" "${sizes[@]}" -o "$model"
    silent err "make"
    expect 0 "ai.onnx 17" info "$model"
    expect 0 "FLOPs of a run" info "$model"
    expect 0 '"operators"' info "$model" -o json
    expect 0 "graph " dump "$model" --stage import
    expect 0 "sizes taken" run "$model" --mode eager
done

llama=$folder/llama.onnx
expect 0 "heads" make -h
expect 0 "" make llama "${sizes[@]}" --kv-heads 1 --opset 18 --stored -o "$folder/stored.onnx"
expect 0 "ai.onnx 18" info "$folder/stored.onnx"
[[ -s $folder/stored.onnx.data ]] || { echo "FAILED: no stored weights"; failures=$((failures + 1)); }

# Weights by name, from a file that another program wrote; all that is missing or misshapen is listed.
python3 - "$folder" <<'END'
import json, struct, sys
shapes = {"wte.weight": [5, 4], "wpe": [3, 4], "wte": [5, 4], "ln_f/weight": [4], "ln_f/bias": [4], "lm_head.weight": [4, 5]}
for name in ("attn/qkv", "attn/proj", "mlp/fc", "mlp/proj"):
    wide = {"attn/qkv": (4, 12), "attn/proj": (4, 4), "mlp/fc": (4, 8), "mlp/proj": (8, 4)}[name]
    shapes |= {f"h.0/{name}.weight": list(wide), f"h.0/{name}.bias": [wide[1]]}
for name in ("ln_1", "ln_2"):
    shapes |= {f"h.0/{name}/weight": [4], f"h.0/{name}/bias": [4]}
def write(path, shapes):
    header, data = {}, b""
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        # The logits are the sum of the last gains and biases: 4·(1·0 + 0.25) = 1.
        value = 0.25 if name == "ln_f/bias" else 1.0 if name == "lm_head.weight" else 0.0
        piece = struct.pack(f"<{count}e", *[value] * count)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    text = json.dumps(header).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)
write(sys.argv[1] + "/given.safetensors", shapes)
del shapes["wpe"], shapes["ln_f/bias"]
write(sys.argv[1] + "/lacking.safetensors", shapes | {"lm_head.weight": [5, 4]})
END
tiny=(--layers 1 --d-model 4 --heads 1 --d-ff 8 --vocab 5 --context 3)
expect 0 "" make gpt2 "${tiny[@]}" --weights "$folder/given.safetensors" -o "$folder/given.onnx"
expect 0 "| logits | f32   | 1x3x5 |   1 |   1 |    1 |" run "$folder/given.onnx" --shape input_ids=1x3
for part in "wpe [3, 4] is missing" "ln_f/bias [4] is missing" "lm_head.weight [4, 5]: the file has [5, 4]"; do
    expect 1 "$part" make gpt2 "${tiny[@]}" --weights "$folder/lacking.safetensors" -o "$folder/lacking.onnx"
done
expect 1 "not a safetensors file" make gpt2 --weights "$folder/given.onnx" -o "$folder/lacking.onnx"
[[ ! -e $folder/lacking.onnx ]] || { echo "FAILED: a model without its weights"; failures=$((failures + 1)); }
expect 2 "there is no kind 'gpt7'" make gpt7 -o "$folder/x.onnx"
expect 2 "-o FILE is missing" make llama
expect 2 "--size: 'XXL'" make llama --size XXL -o "$folder/x.onnx"
expect 2 "--layers: '0'" make llama --layers 0 -o "$folder/x.onnx"
expect 2 "--layers: '2x'" make llama --layers=2x -o "$folder/x.onnx"
expect 2 "--layers needs a value" make llama --layers
expect 2 "--stored takes no value" make llama --stored=yes
expect 1 "sinter: " make llama "${sizes[@]}" -o "$folder/absent/x.onnx"
mkfifo "$folder/pipe"
expect 1 "not a regular file" make llama "${sizes[@]}" -o "$folder/pipe"
[[ -p $folder/pipe ]] || { echo "FAILED: make replaced a pipe"; failures=$((failures + 1)); }
expect 1 "sinter: " make llama --d-model 33 --heads 2 -o "$folder/x.onnx"

for stage in import recognised autocast expanded fused plan loops kernels; do expect 0 "" dump "$llama" --stage "$stage"; done
expect 0 "// after fuse" dump "$llama" --print-after-all
expect 0 "// before expand" dump "$llama" --before expand
expect 0 "digraph" dump "$llama" --format dot
expect 0 "// merge:" dump "$llama" --remarks
expect 0 "" dump "$llama" -o "$folder/graph.txt"
grep -q "stage fused" "$folder/graph.txt" || { echo "FAILED: dump -o"; failures=$((failures + 1)); }
expect 2 "there is no pass 'fry'" dump "$llama" --after fry
expect 2 "--target: 'tpu'" dump "$llama" --target tpu
expect 2 "from cuda:sm_80 on" dump "$llama" --target cuda:sm_75
expect 2 "--stage: 'fry'" dump "$llama" --stage fry
expect 1 "cannot be written" dump "$llama" -o "$folder/absent/graph.txt"

# Both modes agree, and a comparison can fail.
run=(run "$llama" --shape input_ids=2x9 --threads 1)
expect 0 "2x9x50" "${run[@]}" --mode eager --output "logits=@$folder/eager.npy"
expect 0 "1 output as expected" "${run[@]}" --expect "logits=@$folder/eager.npy"
expect 0 "1 output as expected" "${run[@]}" --input input_ids=random --expect "logits=@$folder/eager.npy"
expect 1 "differs" "${run[@]}" --input input_ids=random:1 --expect "logits=@$folder/eager.npy"
expect 1 "instead of" run "$llama" --shape input_ids=2x8 --expect "logits=@$folder/eager.npy"
expect 0 '"shape": "2x9x50"' "${run[@]}" -o json
expect 0 "logits,f32,2x9x50," "${run[@]}" -o csv
mkdir "$folder/data"
expect 0 "" "${run[@]}" --output "logits=@$folder/data/output_0.pb"
expect 0 "as expected" "${run[@]}" --data "$folder/data"
expect 1 "differs" "${run[@]}" --data "$folder/data" --input input_ids=random:2
expect 1 "is not a folder" "${run[@]}" --data "$folder/absent"
expect 1 "no output 'nobody'" "${run[@]}" --output "nobody=@$folder/x.npy"
expect 1 "no input 'nobody'" run "$llama" --shape nobody=2
expect 1 "rank" run "$llama" --shape input_ids=2
expect 1 "absent.npy" "${run[@]}" --input "input_ids=@$folder/absent.npy"
# Inputs that decide sizes are constants.
slice=tests/models/ops/Slice_10_run_time
constants=(--constant "b=@$slice/input_1.pb" --constant "c=@$slice/input_2.pb" --constant "d=@$slice/input_3.pb")
expect 1 'inputs that decide it: "b"' run $slice/model.onnx
expect 0 "1 output as expected" run $slice/model.onnx "${constants[@]}" --input "a=@$slice/input_0.pb" \
    --expect "y0=@$slice/output_0.pb"
expect 0 'input "c" decides sizes' run $slice/model.onnx --input "a=@$slice/input_0.pb" --input "b=@$slice/input_1.pb" \
    --input "c=@$slice/input_2.pb" --input "d=@$slice/input_3.pb"
expect 0 "Slice" info $slice/model.onnx "${constants[@]}"
expect 0 "eager" bench $slice/model.onnx "${constants[@]}" --iters 1
expect 2 "as an input and as a constant" run $slice/model.onnx "${constants[@]}" --input b=random
expect 2 "NAME=@FILE" run $slice/model.onnx --constant b=random
expect 1 'input "b" has two constants' run $slice/model.onnx "${constants[@]}" --constant "b=@$slice/input_1.pb"
expect 1 "absent.npy" run $slice/model.onnx --input "b=@$folder/absent.npy"
expect 1 'input "d": f32' run $slice/model.onnx --input "b=@$slice/input_1.pb" --input "c=@$slice/input_2.pb" \
    --input "d=@$slice/input_0.pb"
expect 1 'no input is called "nobody"' run $slice/model.onnx --constant "nobody=@$slice/input_1.pb"
expect 1 "sinter: " "${run[@]}" --output "logits=@$folder/absent/x.npy"
expect 1 "unsupported" "${run[@]}" --device abacus
expect 1 "limit" "${run[@]}" --memory-limit 1K
expect 2 "NAME=4x256" run "$llama" --shape input_ids
expect 2 "NAME=@FILE" run "$llama" --output logits
expect 2 "neither in .npy nor in .pb" "${run[@]}" --output "logits=@$folder/eager.txt"
expect 2 "--memory-limit: '1T'" run "$llama" --memory-limit 1T
expect 2 "--rtol: '-1'" run "$llama" --rtol -1

# States: two runs that follow one another are as two whose caches go through files.
kv=$folder/kv.onnx
expect 0 "" make gpt2 "${sizes[@]}" --kv-cache -o "$kv"
saved=() given=()
for name in 0.key 0.value 1.key 1.value; do
    saved+=(--output "present.$name=@$folder/$name.npy")
    given+=(--input "past.$name=@$folder/$name.npy")
done
step=(run "$kv" --shape input_ids=1x3 --threads 1)
expect 0 "past = 0" "${step[@]}" --state 'past.*=present.*' --steps 2 --output "logits=@$folder/second.npy"
grep -q "1x2x6x16" "$folder/out" || { echo "FAILED: a state that grows"; failures=$((failures + 1)); }
expect 0 "" "${step[@]}" --shape past=0 "${saved[@]}"
expect 0 "as expected" "${step[@]}" --mode eager "${given[@]}" --expect "logits=@$folder/second.npy"
expect 0 "as expected" "${step[@]}" --mode eager --state past.0.key=present.0.key,past.0.value=present.0.value \
    --state 'past.1.*=present.1.*' --steps 2 --expect "logits=@$folder/second.npy"
expect 0 "" compile "$kv" --threads 1 --state 'past.*=present.*' -o "$folder/kv.sinter"
expect 0 "as expected" run "$folder/kv.sinter" --shape input_ids=1x3 --threads 1 --state 'past.*=present.*' --steps 2 \
    --expect "logits=@$folder/second.npy"
expect 0 "past.1.value" info "$folder/kv.sinter"
expect 1 "no input 'pest.*'" "${step[@]}" --state 'pest.*=present.*'
expect 1 "no output 'gift.0.key'" "${step[@]}" --state 'past.*=gift.*'
expect 1 "rank" "${step[@]}" --state past.0.key=logits
expect 2 "INPUT=OUTPUT" "${step[@]}" --state past
expect 0 "tokens_s" bench --no-peaks "$kv" --shape input_ids=1x1 --shape past=4,5 --state 'past.*=present.*' --steps 3 --warmup 1 --iters 2 -o csv
grep -q ",input_ids=1x1 past.0.key...past.1.value=1x2x4x16," "$folder/out" || { echo "FAILED: neighbours of one shape"; failures=$((failures + 1)); }
[[ $(grep -c "past.1.value=1x2x5x16.*ok" "$folder/out") -eq 2 ]] || { echo "FAILED: bench of states"; failures=$((failures + 1)); }
answer=$(printf 'run 2\nquit\n' | "$SINTER" bench "$kv" --peer --shape input_ids=1x1 --state 'past.*=present.*' 2>/dev/null)
[[ $(tail -n 1 <<<"$answer") == ok ]] || { echo "FAILED: a peer with states"; failures=$((failures + 1)); }

# A text and its next tokens, each folder a run behind the one before, whose lengths come as sizes of a mask, or as data. A size
# that the model holds against another one is that; a mask goes on with the cache that it is over.
caches=(--state 'past_key_values.*=present.*')
for decoder in decoder_mask decoder_lengths; do
    at=tests/models/$decoder
    steps=(--data $at/step_0 --data $at/step_1 --data $at/step_2)
    expect 0 "15 outputs as expected" run $at/model.onnx "${caches[@]}" "${steps[@]}"
    expect 0 "15 outputs as expected" run $at/model.onnx "${caches[@]}" "${steps[@]}" --mode eager
    expect 1 "is greater than" run $at/model.onnx "${caches[@]}" --data $at/step_0 --data $at/step_2
done
decoder=(tests/models/decoder_mask/model.onnx --shape input_ids=1x3 "${caches[@]}" --steps 3)
expect 0 "taken: past_sequence_length = 0 (" run "${decoder[@]}"
grep -q "1x1x9x16" "$folder/out" || { echo "FAILED: a mask that goes on with the cache"; failures=$((failures + 1)); }
expect 0 "1x1x13x16" run "${decoder[@]}" --shape past_sequence_length=4
expect 0 "1x1x16x16" run "${decoder[@]}" --shape past_sequence_length=16 --shape attention_mask=1x3
expect 1 "is greater than" run "${decoder[@]}" --shape attention_mask=1x4
expect 0 "tokens_s" bench --no-peaks "${decoder[@]}" --warmup 1 --iters 2 -o csv
[[ $(grep -c "attention_mask=1x3 .*ok" "$folder/out") -eq 2 ]] || { echo "FAILED: bench of a mask"; failures=$((failures + 1)); }

# A text is continued: the same with the whole window in each run and with caches, while there is room for it; past the
# context the window slides. Equal seeds give equal texts.
bytes=(--layers 1 --d-model 16 --heads 2 --d-ff 32 --vocab 256 --context 24)
expect 0 "" make gpt2 "${bytes[@]}" -o "$folder/bytes.onnx"
expect 0 "" make gpt2 "${bytes[@]}" --kv-cache -o "$folder/bytes-kv.onnx"
expect 0 "" compile "$folder/bytes-kv.onnx" --state 'past.*=present.*' -o "$folder/bytes.sinter"
continued() { expect 0 "Sing" "$@"; cmp -s "$folder/out" "$folder/text" || { echo "FAILED: another text: $*"; failures=$((failures + 1)); }; }
expect 0 "Sing" run "$folder/bytes.onnx" --prompt Sing --tokens 20 --seed 7
mv "$folder/out" "$folder/text"
[[ $(wc -c <"$folder/text") -eq 25 ]] || { echo "FAILED: the length of a text"; failures=$((failures + 1)); }
continued run "$folder/bytes.onnx" --prompt Sing --tokens 20 --seed 7 --mode eager --threads 1
continued run "$folder/bytes-kv.onnx" --prompt Sing --tokens 20 --seed 7 --state 'past.*=present.*'
continued run "$folder/bytes.sinter" --prompt Sing --tokens 20 --seed 7
expect 0 "Sing" run "$folder/bytes.onnx" --prompt Sing --tokens 20 --seed 8
! cmp -s "$folder/out" "$folder/text" || { echo "FAILED: the seed does not matter"; failures=$((failures + 1)); }
expect 0 "Sing" run "$folder/bytes.onnx" --prompt Sing --tokens 40 --temperature 0
mv "$folder/out" "$folder/text"
continued run "$folder/bytes.onnx" --prompt Sing --tokens 40 --top-k 1 --seed 3
expect 0 "Sing" run "$folder/bytes-kv.onnx" --prompt Sing --tokens 40 --state 'past.*=present.*'
[[ $(wc -c <"$folder/out") -eq 45 ]] || { echo "FAILED: beyond the caches"; failures=$((failures + 1)); }
expect 2 "does not go with --prompt" run "$folder/bytes.onnx" --prompt Sing --steps 2
expect 2 "goes with --prompt only" run "$folder/bytes.onnx" --top-k 3
expect 2 "comes from --prompt" run "$folder/bytes.onnx" --prompt Sing --input input_ids=random
expect 1 "out of the model's vocabulary" run "$folder/gpt2.onnx" --prompt Sing
expect 1 "past.0.key" run "$folder/bytes-kv.onnx" --prompt Sing
expect 1 "no output 'fish'" run "$folder/bytes.onnx" --prompt Sing --logits fish
expect 1 "no integer input" run "$folder/attention.onnx" --prompt Sing

# Ahead of time: a file that runs where there is neither a compiler nor a cache.
bare() {
    local part=$1 before=$SINTER_CACHE
    shift
    export SINTER_CC=$folder/recorder SINTER_CACHE=$folder/model.onnx/none
    "$SINTER" "$@" >"$folder/out" 2>"$folder/err" </dev/null || echo "FAILED: without a compiler: sinter $*"
    unset SINTER_CC
    export SINTER_CACHE=$before
    grep -qF -- "$part" "$folder/out" "$folder/err" && return
    echo "FAILED: without a compiler: no '$part' from sinter $*:"
    head -n 12 "$folder/out" "$folder/err"
    failures=$((failures + 1))
}
program=$folder/llama.sinter
printf '#!/bin/sh\necho called >>"%s"\nexit 1\n' "$folder/called" >"$folder/recorder"
chmod +x "$folder/recorder"
touch "$folder/model.onnx"
expect 0 "contains code" compile "$llama" -o "$program"
silent out "compile without --ledger"
bare "1 output as expected" run "$program" --shape input_ids=2x9 --threads 1 --expect "logits=@$folder/eager.npy"
bare "requires" info "$program"
bare "stage fused" dump "$program"
[[ ! -e $folder/called ]] || { echo "FAILED: the compiler was called"; failures=$((failures + 1)); }
expect 0 "contains code" compile "$llama" --phases step --optimizer sgd -o "$program"
bare '"phase": "backward"' bench --no-peaks "$program" --phases backward,step --threads 1 --warmup 0 --iters 1 -o json
bare "states of a training step" info "$program"
expect 2 "--optimizer is decided when" bench "$program" --phases step --optimizer adamw
expect 0 "contains code" compile "$llama" --phases step --memory-budget 80% --shape input_ids=4x32 -o "$program"
expect 0 "" compile "$llama" -o "$program"
expect 1 'no phase "step"' bench --no-peaks "$program" --phases step --threads 1 --iters 1
expect 2 "--phases step" compile "$llama" --clip 1
expect 2 "what --memory-budget is for" compile "$llama" --phases step --shape input_ids=4x32
expect 2 "of a training step" compile "$llama" --memory-budget 80%
[[ ! -e $folder/called ]] || { echo "FAILED: the compiler was called for a step"; failures=$((failures + 1)); }
expect 0 "pass fuse" compile "$llama" --ledger -o "$program"
expect 0 '"from_cache"' compile "$llama" --format json
expect 0 "digraph" dump "$program" --format dot
for stage in plan loops kernels; do expect 0 "" dump "$program" --stage "$stage"; done
expect 2 "no more" dump "$program" --stage import
expect 2 "compiled as compiled" run "$program" --mode eager
expect 2 "--no-dropout is decided when" run "$program" --no-dropout
expect 2 "--matmul-precision is decided when" bench "$program" --matmul-precision high
expect 2 "--constant is decided when" run "$program" --constant "input_ids=@$slice/input_1.pb"
expect 2 "--constant is decided when" bench "$program" --constant "input_ids=@$slice/input_1.pb"
expect 2 "--constant is decided when" info "$program" --constant "input_ids=@$slice/input_1.pb"
expect 2 "no more" dump "$program" --constant "input_ids=@$slice/input_1.pb"
expect 2 "a compiled program already" compile "$program"
expect 1 "cannot be written" compile "$llama" -o "$folder/absent/x.sinter"
expect 1 "not a regular file" compile "$llama" -o "$folder/pipe"
expect 0 '"mode": "compiled"' bench --no-peaks "$program" --threads 1 --warmup 0 --iters 1 -o json
expect 0 "" compile "$llama" --autocast bf16 -o "$program"
expect 0 "1 output as expected" run "$program" --shape input_ids=2x9 --threads 1 --rtol 0.02 --atol 0.02 --expect "logits=@$folder/eager.npy"
expect 1 " differs from " run "$program" --shape input_ids=2x9 --threads 1 --rtol 0 --atol 1e-6 --expect "logits=@$folder/eager.npy"
expect 0 '"autocast": "bf16"' info "$program" -o json
expect 0 '"autocast": "bf16"' bench --no-peaks "$program" --threads 1 --warmup 0 --iters 1 -o json
expect 2 "compiled with bf16" run "$program" --autocast f16
expect 2 "--autocast is decided when" bench "$program" --autocast none
expect 0 "" compile "$llama" --mode eager -o "$program"
expect 0 "1 output as expected" run "$program" --shape input_ids=2x9 --threads 1 --expect "logits=@$folder/eager.npy"
expect 0 "" compile "$kv" --state 'past.*=present.*' -o "$program"
expect 0 "as expected" run "$program" --shape input_ids=1x3 --threads 1 --steps 2 --expect "logits=@$folder/second.npy"
answer=$(printf 'run 2\nquit\n' | "$SINTER" bench "$program" --peer --shape input_ids=1x1 2>/dev/null)
[[ $(tail -n 1 <<<"$answer") == ok ]] || { echo "FAILED: a peer of a saved program"; failures=$((failures + 1)); }
truncate -s -1 "$program"
expect 1 "of which" run "$program"

# The cache: what is in it, and what clears it.
shared=$SINTER_CACHE
export SINTER_CACHE=$folder/cache
expect 0 "" compile "$llama"
expect 0 "| programs |" cache
expect 0 "files removed" cache --limit 1K
expect 2 "exclude each other" cache --limit 1K --clear
expect 0 '"files": 0' cache --clear -o json
expect 0 "the cache was empty" compile "$llama" --ledger
expect 0 "from cache" compile "$llama"
SINTER_CACHE=$shared

expect 0 '"status": "ok"' bench "$llama" --shape input_ids=1x4,2x8 --threads 1 --warmup 1 --iters 2 --kernels -o json
[[ $(grep -c '"status": "ok"' "$folder/out") -eq 4 ]] || { echo "FAILED: bench rows"; failures=$((failures + 1)); }
for key in environment processor rows mode phase autocast device threads batch context mean_s std_s median_s min_s \
    peak_bytes speedup kernels share; do
    grep -q "\"$key\":" "$folder/out" || { echo "FAILED: bench lacks $key"; failures=$((failures + 1)); }
done
grep -q '"fma_flops":' "$folder/out" || { echo "FAILED: bench measures no peaks"; failures=$((failures + 1)); }
expect 0 "speed-up" bench --no-peaks "$llama" "$folder/gpt2.onnx" --threads 1 --warmup 0 --iters 1
expect 0 '"autocast": "bf16"' bench --no-peaks "$llama" --autocast none,bf16 --threads 1 --warmup 0 --iters 1 -o json
[[ $(grep -c '"status": "ok"' "$folder/out") -eq 4 ]] || { echo "FAILED: rows of autocast"; failures=$((failures + 1)); }
expect 0 'elidable = true' dump "$llama" --stage autocast --autocast bf16
expect 0 ' bf16' dump "$llama" --stage plan --autocast bf16 --mode eager
expect 0 'optimizer.loss_scale' dump "$llama" --loss cross_entropy --autocast f16
expect 0 '"phase": "forward+backward"' bench --no-peaks "$llama" --phases backward,forward+backward,step --threads 1 --warmup 1 --iters 2 -o json
expect 0 '"planned_bytes"' bench --no-peaks "$llama" --phases step --modes compiled --threads 1 --iters 1 --memory-budget 1.5GiB -o json
expect 2 'compiled' bench "$llama" --phases step --modes eager --memory-budget 1K
expect 0 '"kept_bytes"' bench --no-peaks "$folder/attention.onnx" --phases backward,step --loss mse --gradients q,k,v --threads 1 --iters 1 --memory -o json
expect 1 "no parameters to train" bench --no-peaks "$folder/attention.onnx" --phases step --loss mse --threads 1 --iters 1
expect 2 "--phases step" bench "$folder/attention.onnx" --gradients q
expect 0 '"status": "OOM"' bench --no-peaks "$llama" --phases step --modes compiled --threads 1 --iters 1 --memory-budget 1K -o json
expect 0 '"first_launch"' bench --no-peaks "$llama" --memory --threads 1 --iters 1 -o json
expect 2 "steps of training" bench "$llama" --memory-budget 1G
expect 0 'labels=1x16' bench --no-peaks "$llama" --phases step --optimizer sgd --clip 1 --logits logits --modes compiled --threads 1 --iters 1
expect 1 'no output "none"' bench --no-peaks "$llama" --phases step --logits none --modes compiled --threads 1 --iters 1
expect 0 ' update k_' dump "$llama" --loss cross_entropy --stage plan
expect 1 '"status": "OOM"' bench --no-peaks "$llama" --memory-limit 1K --threads 1 --warmup 0 --iters 1 -o json
expect 0 '"flop_share"' bench "$llama" --shape input_ids=1x4 --threads 1 --warmup 1 --iters 2 --modes compiled --range '*attn*' -o json
grep -q "kernels' time" "$folder/err" || { echo "FAILED: bench --range says no share"; failures=$((failures + 1)); }
expect 1 '"status": "failed"' bench --no-peaks "$folder/absent.onnx" "$llama" --threads 1 --warmup 0 --iters 1 -o json
grep -q '"status": "ok"' "$folder/out" || { echo "FAILED: the sweep stopped"; failures=$((failures + 1)); }
expect 2 "do not go together" bench "$llama" --shape input_ids=1x4,2x8 --shape batch=1,2,3
expect 2 "--modes: 'fast'" bench "$llama" --modes eager,fast
answer=$(printf 'run 2\nrun 0\nquit\n' | "$SINTER" bench "$llama" --peer --mode eager --threads 1 --shape input_ids=1x4)
[[ $(wc -l <<<"$answer") -eq 4 && $(tail -n 1 <<<"$answer") == ok ]] || { echo "FAILED: peer"; failures=$((failures + 1)); }
answer=$(printf 'run 2\nquit\n' | "$SINTER" bench "$llama" --peer --loss cross_entropy --phases backward --threads 1 --shape input_ids=1x4)
[[ $(wc -l <<<"$answer") -eq 3 && $answer == *ok ]] || { echo "FAILED: bench --peer of a phase: $answer"; failures=$((failures + 1)); }
answer=$(printf 'run 2\nquit\n' | "$SINTER" bench "$llama" --peer --roofline --threads 1 --shape input_ids=1x4)
[[ $answer =~ ^0\.[0-9]+$'\n'0\.[0-9]+$'\n'ok$ && ! $answer =~ 0\.000000000 ]] || { echo "FAILED: bench --peer --roofline: $answer"; failures=$((failures + 1)); }
answer=$(printf 'fry\n' | "$SINTER" bench "$llama" --peer --threads 1 2>/dev/null) && failures=$((failures + 1))
[[ $answer == error\ * ]] || { echo "FAILED: peer's error"; failures=$((failures + 1)); }

expect 0 "measured, 1 thread" doctor
expect 0 "kernel cache" doctor --no-peaks
! grep -qF "measured, 1 thread" "$folder/out" || { echo "FAILED: doctor measures all the same"; failures=$((failures + 1)); }

# Files that are no models.
sed 's/Sigmoid/Sigmoix/g' "$llama" >"$folder/unknown.onnx"
expect 1 "Sigmoix" info "$folder/unknown.onnx"
grep -q "operators\|MatMul" "$folder/out" || { echo "FAILED: info of the unsupported"; failures=$((failures + 1)); }
grep -q "unsupported" "$folder/err" || { echo "FAILED: the word unsupported"; failures=$((failures + 1)); }
head -c 1000 "$llama" >"$folder/truncated.onnx"
: >"$folder/empty.onnx"
tail -c +100 "$llama" >"$folder/noise.onnx"
for file in absent.onnx truncated.onnx empty.onnx noise.onnx data; do
    for verb in info dump run; do expect 1 "sinter: " "$verb" "$folder/$file"; done
done
if [[ -e /dev/full ]]; then
    "$SINTER" info "$llama" >/dev/full 2>"$folder/err" && { echo "FAILED: a full disk"; failures=$((failures + 1)); }
    for word in -h --version; do
        "$SINTER" $word >/dev/full 2>"$folder/err" && { echo "FAILED: $word on a full disk"; failures=$((failures + 1)); }
        grep -q "cannot be written" "$folder/err" || { echo "FAILED: $word is silent"; failures=$((failures + 1)); }
    done
    expect 1 "cannot be written" dump "$llama" -o /dev/full
fi
# Where the standard files are closed, nothing that is opened takes their place.
"${SINTER}" dump "$llama" -o "$folder/closed.txt" <&- >&- 2>&- || { echo "FAILED: closed files"; failures=$((failures + 1)); }
grep -q "stage fused" "$folder/closed.txt" || { echo "FAILED: dump -o with closed files"; failures=$((failures + 1)); }
"${SINTER}" info "$llama" >&- 2>"$folder/err" && { echo "FAILED: a closed output"; failures=$((failures + 1)); }
grep -q "cannot be written" "$folder/err" || { echo "FAILED: a closed output is silent"; failures=$((failures + 1)); }
(trap "" PIPE; sleep 1; "$SINTER" info "$llama" 2>"$folder/err" && echo good >"$folder/good"; exit 0) | true
[[ ! -e $folder/good ]] || { echo "FAILED: a closed pipe"; failures=$((failures + 1)); }

# The cache: none to be found, not private, not writable; and no compiler for what it lacks.
(unset SINTER_CACHE XDG_CACHE_HOME HOME; failures=0; expect 1 "set SINTER_CACHE" run "$llama"; exit $failures) ||
    failures=$((failures + 1))
SINTER_CACHE=$folder/cache
chmod 755 "$SINTER_CACHE/kernels"
expect 1 "not private" run "$llama"
chmod 700 "$SINTER_CACHE/kernels"
expect 0 "output" run "$llama"
SINTER_CC=$(type -P false) expect 1 "false" run "$llama"

[[ $failures -eq 0 ]] || { echo "$failures failures"; exit 1; }
echo "the command line does as it says"
