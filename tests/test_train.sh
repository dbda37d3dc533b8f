#!/usr/bin/env bash
# train: a small model learns; the same options give the same bits, on any number of threads, and also when the training
# is killed or interrupted and goes on from its checkpoint; what is written is ONNX that onnxruntime runs to the same
# logits; and mistakes have one line each.
set -euo pipefail
source scripts/lib.sh
python_venv onnxruntime==1.31.1 numpy==2.2.6

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export SINTER_CACHE=${SINTER_CACHE:-$folder/cache}
say() { echo "FAILED: $*"; exit 1; }

# refused STATUS PART WORD...
refused() {
    local status=$1 part=$2 got=0
    shift 2
    "$SINTER" "$@" >out 2>err || got=$?
    [[ $got -eq $status && $(grep -c "^sinter: " err) -eq 1 ]] && grep -qF -- "$part" err || say "$*: status $got, $(cat err)"
}

# Sentences of a few words: something to be learnt in a hundred steps.
python3 - <<'END'
import random, struct
random.seed(1)
words = "the a cat dog sees likes and old young".split()
text = " ".join(random.choice(words) for _ in range(8000)).encode()
open("text.txt", "wb").write(text)
open("ids.bin", "wb").write(struct.pack(f"<{len(text)}H", *text))
open("wrong.bin", "wb").write(struct.pack("<40H", *range(250, 290)))
END

"$SINTER" make gpt2 --layers 1 --d-model 32 --heads 2 --d-ff 64 --vocab 256 --context 16 -o model.onnx
common=(--batch 4 --lr 3e-3 --min-lr 3e-4 --warmup-steps 10 --clip 1)
learn=(train model.onnx --data text.txt "${common[@]}" --steps 100)

# Loss falls, from about log 256; the same bits again, with another number of threads and other kinds of data files.
"$SINTER" "${learn[@]}" --threads 1 --format csv -o first.onnx --checkpoint first.ck >table 2>err || say "$(cat err)"
[[ $(wc -l <table) -eq 11 ]] || say "the table: $(cat table)"
python3 - <<'END' || say "loss does not fall: $(cat table)"
import csv
rows = list(csv.DictReader(open("table")))
held = [float(row["held_out_loss"]) for row in rows]
assert 4 < held[0] < 5.5 and held[-1] < 2.2, held
assert [int(row["step"]) for row in rows] == list(range(10, 101, 10))
END
"$SINTER" "${learn[@]}" --threads 2 -o second.onnx --checkpoint second.ck >lines
[[ $(grep -c "held-out" lines) -eq 10 ]] || say "the lines: $(cat lines)"
cmp first.onnx second.onnx && cmp first.ck second.ck || say "two threads do otherwise than one"
"$SINTER" train model.onnx --data ids.bin "${common[@]}" --steps 100 -o second.onnx >lines
cmp first.onnx second.onnx || say "ids in a file do otherwise than the bytes of a text"
"$SINTER" "${learn[@]}" --seed 1 -o second.onnx >lines
cmp -s first.onnx second.onnx && say "the seed does not matter"
"$SINTER" "${learn[@]}" --mode eager --format csv -o eager.onnx >eager
python3 - <<'END' || say "eager learns otherwise: $(cat eager)"
import csv
losses = [[float(row["held_out_loss"]) for row in csv.DictReader(open(file))] for file in ("table", "eager")]
assert max(abs(a - b) for a, b in zip(*losses)) < 0.01, losses
END
"$SINTER" "${learn[@]}" --autocast bf16 --format csv -o half.onnx >half
python3 - <<'END' || say "in products of bf16 it learns otherwise: $(cat half)"
import csv
losses = [[float(row["held_out_loss"]) for row in csv.DictReader(open(file))] for file in ("table", "half")]
assert 0 < max(abs(a - b) for a, b in zip(*losses)) < 0.05, losses
END
"$SINTER" "${learn[@]}" --autocast f16 --format csv -o half.onnx --checkpoint half.ck >half 2>err || say "f16: $(cat err)"
python3 - <<'END' || say "in products of f16 it learns otherwise: $(cat half)"
import csv, json, struct
rows = list(csv.DictReader(open("half")))
losses = [[float(row["held_out_loss"]) for row in csv.DictReader(open(file))] for file in ("table", "half")]
assert max(abs(a - b) for a, b in zip(*losses)) < 0.05, losses
data = open("half.ck", "rb").read()
size = struct.unpack("<Q", data[:8])[0]
begin, end = json.loads(data[8:8 + size])["optimizer.loss_scale"]["data_offsets"]
(scale,) = struct.unpack("<f", data[8 + size + begin:8 + size + end])
assert scale == 65536 / 2 ** int(rows[-1]["skipped"] or 0), (scale, rows[-1])
END
"$SINTER" "${learn[@]}" --memory-budget 80% --format csv -o less.onnx >less 2>err
grep -q "a step takes .* MiB (states" err || say "a budget says nothing: $(cat err)"
python3 - <<'END' || say "under a budget it learns otherwise: $(cat less)"
import csv
losses = [[float(row["held_out_loss"]) for row in csv.DictReader(open(file))] for file in ("table", "less")]
assert max(abs(a - b) for a, b in zip(*losses)) < 0.01, losses
END
"$SINTER" train model.onnx --data text.txt "${common[@]}" --steps 40 --batch 2 --accumulate 2 --held-out 0 -o two.onnx >lines
grep -q "held-out" lines && say "a held-out loss of nothing"

# What is written is the model with other weights, and runs elsewhere to the same logits.
"$SINTER" info first.onnx >/dev/null
"$python" - <<'END' || say "no ids"
import numpy
numpy.save("ids.npy", numpy.random.default_rng(5).integers(0, 256, (2, 16)))
END
"$SINTER" run first.onnx --input input_ids=@ids.npy --output logits=@logits.npy >/dev/null
"$SINTER" run model.onnx --input input_ids=@ids.npy --output logits=@before.npy >/dev/null
"$python" - <<'END' || say "onnxruntime has other logits"
import numpy, onnxruntime
session = onnxruntime.InferenceSession("first.onnx", providers=["CPUExecutionProvider"])
theirs = session.run(None, {"input_ids": numpy.load("ids.npy")})[0]
ours = numpy.load("logits.npy")
assert (abs(ours - theirs) <= 1e-4 * (1 + abs(theirs))).all(), abs(ours - theirs).max()
assert abs(ours - numpy.load("before.npy")).max() > 1
END

# Killed at any moment, and going on from the checkpoint: the same bits.
long=(train model.onnx --data text.txt "${common[@]}" --steps 600 --eval-every 600 --threads 1)
"$SINTER" "${long[@]}" -o straight.onnx --checkpoint straight.ck >/dev/null
for signal in KILL INT; do
    rm -f broken.ck
    "$SINTER" "${long[@]}" -o broken.onnx --checkpoint broken.ck --checkpoint-every 7 >/dev/null 2>err &
    for ((i = 0; i < 6000; i++)); do [[ -e broken.ck ]] && break; sleep 0.005; done
    kill -$signal $! || say "the training had ended before it could be killed"
    status=0
    wait $! || status=$?
    [[ $signal == KILL || $status -eq 1 ]] || say "status $status of an interrupted training"
    [[ $signal == KILL ]] || grep -q "interrupted behind step .*--resume broken.ck" err || say "interrupted: $(cat err)"
    touch broken.ck.sinter-new.99999-0 broken.ck.2024-11
    "$SINTER" "${long[@]}" -o broken.onnx --checkpoint broken.ck --resume broken.ck >/dev/null 2>err
    compgen -G 'broken.ck.sinter-new.*' && say "what the killed one left is still there"
    [[ -e broken.ck.2024-11 ]] || say "another file is gone"
    [[ ! -s err ]] || say "resumed: $(cat err)"
    cmp straight.onnx broken.onnx && cmp straight.ck broken.ck || say "killed by $signal and resumed: other bits"
done

# Dropout: other bits than without, the same on any number of threads, and when it goes on; held-out losses drop nothing.
"$SINTER" make gpt2 --layers 1 --d-model 32 --heads 2 --d-ff 64 --vocab 256 --context 16 --dropout 0.2 -o dropping.onnx
drop=(train dropping.onnx --data text.txt "${common[@]}" --steps 40 --eval-every 20)
"$SINTER" "${drop[@]}" --threads 1 -o drop1.onnx --checkpoint drop1.ck >/dev/null
"$SINTER" "${drop[@]}" --threads 2 -o drop2.onnx --checkpoint half.ck --checkpoint-every 20 >/dev/null
cmp drop1.onnx drop2.onnx && cmp drop1.ck half.ck || say "two threads drop otherwise than one"
"$SINTER" "${drop[@]}" --steps 20 --min-lr 3e-3 --lr 3e-3 --checkpoint half.ck >/dev/null
"$SINTER" "${drop[@]}" --min-lr 3e-3 --lr 3e-3 --resume half.ck -o drop3.onnx >/dev/null
"$SINTER" "${drop[@]}" --min-lr 3e-3 --lr 3e-3 -o drop4.onnx >/dev/null
cmp drop3.onnx drop4.onnx || say "what goes on drops otherwise"
"$SINTER" "${drop[@]}" --dropout 0 -o none.onnx >/dev/null
"$SINTER" "${drop[@]}" --dropout 0.2 -o rate.onnx >/dev/null
"$SINTER" info drop1.onnx >/dev/null || say "info of a model that drops"
cmp drop1.onnx rate.onnx || say "a rate that is the model's does otherwise"
cmp -s drop1.onnx none.onnx && say "nothing is dropped"
"$SINTER" "${drop[@]}" --lr 1e-30 --min-lr 0 --dropout 0.9 --steps 1 --eval-every 1 --format csv -o frozen.onnx >with
"$SINTER" "${drop[@]}" --lr 1e-30 --min-lr 0 --dropout 0 --steps 1 --eval-every 1 --format csv -o frozen.onnx >without
[[ $(tail -1 with | cut -d, -f3) == $(tail -1 without | cut -d, -f3) ]] || say "a held-out loss drops: $(cat with without)"

# Examples instead of windows: a loss of classes, of squares, and one that the file has.
"$python" - <<'END' || say "no examples"
import numpy, struct
def number(n): return (bytes([n & 127 | 128]) + number(n >> 7)) if n > 127 else bytes([n])
def field(at, value):
    if isinstance(value, int): return number(at << 3) + number(value)
    value = value.encode() if isinstance(value, str) else value
    return number(at << 3 | 2) + number(len(value)) + value
def node(op, inputs, output, attribute=b""):
    return field(1, b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, op) + attribute)
def port(at, name, *extents):
    shape = b"".join(field(1, field(2, e) if isinstance(e, str) else field(1, e)) for e in extents)
    return field(at, field(1, name) + field(2, field(1, field(1, 1) + field(2, shape))))
random = numpy.random.default_rng(5)
x, w = random.standard_normal((300, 6)).astype("f4"), random.standard_normal((6, 3)).astype("f4")
initializer = field(5, field(1, 6) + field(1, 3) + field(2, 1) + field(8, "w") + field(9, w.tobytes()))
product = node("MatMul", ["x", "w"], "y") + initializer + port(11, "x", "batch", 6) + port(12, "y", "batch", 3)
keeps = field(5, field(1, "keepdims") + field(3, 0) + field(20, 2))
loss = (node("Sub", ["y", "t"], "d") + node("Mul", ["d", "d"], "s") + node("ReduceMean", ["s"], "total", keeps) +
        port(11, "t", "batch", 3) + port(12, "total"))
def weight(name, value):
    return field(5, b"".join(field(1, n) for n in value.shape) + field(2, 1) + field(8, name) + field(9, value.tobytes()))
twice = (node("MatMul", ["x", "w"], "y") + node("MatMul", ["y", "turned"], "z") + weight("w", w) +
         weight("turned", w.T.copy()) + port(11, "x", "batch", 6) + port(12, "z", "batch", 6))
for name, graph in ("product", product), ("loss", product + loss), ("twice", twice):
    open(name + ".onnx", "wb").write(field(1, 8) + field(7, field(2, name) + graph) + field(8, field(2, 13)))
target = x @ random.standard_normal((6, 3)).astype("f4")
numpy.save("x.npy", x), numpy.save("t.npy", target), numpy.save("classes.npy", target.argmax(1))
numpy.save("short.npy", target[:7])
numpy.save("masked.npy", numpy.where(numpy.arange(300) % 3 == 0, -100, target.argmax(1)))
END
of_x=(--examples x=@x.npy --batch 16 --steps 300 --lr 3e-2 --eval-every 100 --format csv)
"$SINTER" train product.onnx --loss mse --examples targets=@t.npy "${of_x[@]}" -o mse.onnx --checkpoint mse.ck >mse
"$SINTER" train loss.onnx --loss output --examples t=@t.npy "${of_x[@]}" -o output.onnx >output
"$SINTER" train product.onnx --examples labels=@classes.npy "${of_x[@]}" -o classes.onnx >classes
python3 - <<'END' || say "examples: $(cat mse output classes)"
import csv
held = {file: [float(row["held_out_loss"]) for row in csv.DictReader(open(file))] for file in ("mse", "output", "classes")}
assert held["mse"][-1] < 1e-3 and held["classes"][-1] < 0.3 < held["classes"][0] + 0.2, held
assert all(abs(a - b) < 1e-4 * (1 + a) for a, b in zip(held["mse"], held["output"])), held
END
# Labels that do not count: the held-out loss is that of the others.
"$SINTER" train product.onnx --examples labels=@masked.npy --ignore-index -100 "${of_x[@]}" --steps 300 -o masked.onnx >masked
refused 1 "(--ignore-index leaves a label out)" train product.onnx --examples labels=@masked.npy "${of_x[@]}" -o masked.onnx
python3 - <<'END' || say "labels that do not count: $(cat masked)"
import csv
held = [float(row["held_out_loss"]) for row in csv.DictReader(open("masked"))]
assert 0 < held[-1] < 0.35 < held[0] + 0.2, held
END
"$SINTER" train twice.onnx --loss mse --examples targets=@x.npy "${of_x[@]}" --steps 20 -o both.onnx >/dev/null
"$python" - <<'END' || say "a matrix and its transpose are no longer that"
import numpy
def weights(file):
    data = open(file, "rb").read()
    first = data.index(b"\x4a\x48", data.index(b"w\x4a\x48")) + 2
    second = data.index(b"turned\x4a\x48") + 8
    return (numpy.frombuffer(data[at:at + 72], "f4") for at in (first, second))
(w, turned), (before, _) = weights("both.onnx"), weights("twice.onnx")
assert (w.reshape(6, 3) == turned.reshape(3, 6).T).all() and abs(w - before).max() > 0.1
END
"$SINTER" train product.onnx --loss mse --examples targets=@t.npy "${of_x[@]}" --steps 300 --resume mse.ck -o again.onnx >/dev/null
cmp mse.onnx again.onnx || say "a training of examples that goes on changes bits"
# The same on a GPU, here on emulated libraries: the processor's losses, and its own bits when it goes on from a checkpoint.
emulated=$SINTER_BUILD/tests/emulator
gpu() {
    SINTER_LIBCUDA=$emulated/libemulated_cuda.so SINTER_LIBNVRTC=$emulated/libemulated_nvrtc.so \
        SINTER_LIBCUBLASLT=$emulated/libemulated_cublaslt.so "$SINTER" "${short_run[@]}" --device cuda "$@"
}
short_run=(train model.onnx --data text.txt "${common[@]}" --eval-every 2 --format csv)
"$SINTER" "${short_run[@]}" --steps 4 -o cpu.onnx >cpu
gpu --steps 4 -o gpu.onnx --checkpoint gpu.ck >gpu 2>err || say "on a GPU: $(cat err)"
python3 - <<'END' || say "a GPU learns otherwise: $(cat cpu gpu)"
import csv
losses = [[float(row["held_out_loss"]) for row in csv.DictReader(open(file))] for file in ("cpu", "gpu")]
assert len(losses[0]) == 2 and max(abs(a - b) for a, b in zip(*losses)) < 1e-4, losses
END
gpu --steps 2 -o half.onnx --checkpoint half.ck >/dev/null
gpu --steps 4 -o resumed.onnx --checkpoint resumed.ck --resume half.ck >/dev/null 2>err
cmp gpu.onnx resumed.onnx && cmp <(tail -c 4096 gpu.ck) <(tail -c 4096 resumed.ck) || say "resumed on a GPU: other bits"

short=(train model.onnx --steps 3 --batch 2 -o out.onnx)
"$SINTER" compile model.onnx -o first.sinter 2>err
"$python" - <<'END' || say "no odd ids"
import numpy
ids = numpy.zeros((40, 16), "int64")
numpy.save("labels.npy", ids)
ids[17, 3] = 999
numpy.save("odd.npy", ids)
END
refused 2 "--data FILE is missing" "${short[@]}"
refused 2 "-o FILE is missing" train model.onnx --data text.txt
refused 2 "-o and --checkpoint are one file" "${short[@]}" --data text.txt --checkpoint out.onnx
refused 1 "id 256, at position 6, is out of the vocabulary of 256" "${short[@]}" --data wrong.bin
head -c 7 text.txt >odd.bin
refused 1 "no number of ids of 2 bytes" "${short[@]}" --data odd.bin
refused 1 "tokens are read from .bin, .npy and .txt files" "${short[@]}" --data model.onnx
head -c 100 text.txt >short.txt
refused 1 "the part that is held out has 10 ids" "${short[@]}" --data short.txt
refused 1 "a window of 17 tokens, and the model has positions for 16" "${short[@]}" --data text.txt --context 17
refused 1 "no Dropout node" "${short[@]}" --data text.txt --dropout 0.1
refused 2 "neither 'model' nor a number" "${short[@]}" --data text.txt --dropout 1
refused 2 "two kinds of data" "${short[@]}" --data text.txt --examples labels=@x.npy
refused 2 "--loss cross_entropy; other" "${short[@]}" --data text.txt --loss mse
refused 1 "input 'targets' is not given by --input or --examples" train product.onnx --loss mse --examples x=@x.npy -o out.onnx
refused 1 "short.npy has 7 examples, and x.npy has 300" train product.onnx --loss mse --examples x=@x.npy --examples targets=@short.npy -o out.onnx
refused 1 "no input 'z'" train product.onnx --loss mse --examples z=@x.npy -o out.onnx
refused 1 "elements are f32, and input 'labels' is i64" train product.onnx --examples x=@x.npy --examples labels=@t.npy -o out.onnx
refused 1 "no output of one float" train product.onnx --loss output --examples x=@x.npy -o out.onnx
refused 1 "no output 'none'" "${short[@]}" --data text.txt --logits none
refused 1 "'input_ids' is what the data is for" "${short[@]}" --data text.txt --input input_ids=random
refused 1 "to be frozen" "${short[@]}" --data text.txt --frozen "*nothing*"
refused 1 "none of the names that are to be trained" "${short[@]}" --data text.txt --trained "nothing"
refused 1 "not finite" "${short[@]}" --data text.txt --lr 1e30
refused 1 "is not a regular file" "${short[@]}" --data text.txt --checkpoint /dev/full
refused 1 "MiB at the least that was found" "${short[@]}" --data text.txt --memory-budget 0.5KiB
refused 2 "--memory-budget: '101%'" "${short[@]}" --data text.txt --memory-budget 101%
refused 2 "--memory-budget: '2X'" "${short[@]}" --data text.txt --memory-budget 2X
refused 1 "none/out.ck cannot be written" "${short[@]}" --data text.txt --checkpoint none/out.ck
"$SINTER" make attention --d-model 8 --heads 1 -o attention.onnx
refused 1 "no integer input" train attention.onnx --data text.txt -o out.onnx
"$SINTER" make gpt2 --layers 1 --d-model 8 --heads 1 --d-ff 8 --vocab 256 --context 16 --kv-cache -o cached.onnx
refused 1 "'past.0.key' is not given" train cached.onnx --data text.txt -o out.onnx
refused 1 "not a safetensors file" "${short[@]}" --data text.txt --resume model.onnx
"$SINTER" make gpt2 --layers 1 --d-model 16 --heads 2 --d-ff 64 --vocab 256 --context 16 -o other.onnx
refused 1 "another type or shape" train other.onnx --data text.txt --steps 3 -o out.onnx --resume first.ck
grep -q "more of" err || say "all that is wrong with a checkpoint is listed: $(cat err)"
refused 2 "what is trained is a model" train first.sinter --data text.txt -o out.onnx
refused 2 "is not a number from 0 on" "${short[@]}" --data text.txt --lr fast
# A step that fails on its data: what was before it is kept.
refused 1 "an index is out of range; fault.ck has the steps before" train model.onnx --examples input_ids=@odd.npy \
    --examples labels=@labels.npy --steps 50 --held-out 0 -o out.onnx --checkpoint fault.ck
"$SINTER" train model.onnx --data text.txt --resume fault.ck --steps 1 -o fault.onnx >out 2>err || say "behind a fault: $(cat err)"
[[ ! -e out.onnx ]] || say "a failed training wrote a model"
"$SINTER" "${short[@]}" --data text.txt --lr 1e30 --on-nan skip >out 2>err || say "skip: $(cat err)"
grep -q "steps were skipped" err || say "skipped steps are not counted: $(cat err)"

refused 1 "--resume bad.ck goes on behind it" "${short[@]}" --data text.txt --lr 1e30 --checkpoint bad.ck
"$SINTER" "${short[@]}" --data text.txt --lr 1e30 --on-nan skip --checkpoint skipped.ck >out 2>err
"$SINTER" "${short[@]}" --data text.txt --lr 1e30 --on-nan skip --checkpoint bad.ck --resume bad.ck >out 2>err
cmp skipped.ck bad.ck || say "what a step that is not finite leaves is not what was before it"

# Updates that do not wait for all gradients: the same bits; when something is not finite, no file is made of what is left.
refused 1 "the weights are lost" "${short[@]}" --data text.txt --lr 1e30 --on-nan late --checkpoint lost.ck
refused 1 "is not finite any more and is not saved" "${short[@]}" --data text.txt --lr 1e39 --on-nan late \
    --checkpoint lost.ck --checkpoint-every 1 --held-out 0
[[ ! -e lost.ck ]] || say "lost weights were written"
for when in stop late; do
    "$SINTER" "${short[@]}" --data text.txt --on-nan $when -o $when.onnx --checkpoint $when.ck >out 2>err || say "$(cat err)"
done
cmp stop.onnx late.onnx && cmp stop.ck late.ck || say "updates that do not wait come to other bits"

# A disk that is full: the old checkpoint stays whole.
cp first.ck kept.ck
(trap "" XFSZ; ulimit -f 100; "$SINTER" "${learn[@]}" --checkpoint kept.ck >out 2>err) && say "a full disk is no error"
grep -q "kept.ck cannot be written" err || say "a full disk: $(cat err)"
cmp first.ck kept.ck || say "a full disk spoilt the old checkpoint"
[[ -z $(ls kept.ck.* 2>/dev/null) ]] || say "a full disk leaves files behind"
echo "trainings do as they say"
