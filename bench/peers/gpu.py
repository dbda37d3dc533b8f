#!/usr/bin/env python3
"""Sinter beside PyTorch on one NVIDIA GPU, in one run: language models forward, decoding and training, and the time of
each kernel. Every case is one JSON file with its environment; a case whose file is there is not run again, so that the
whole can be done in pieces.

    gpu.py --sinter build/sinter --torch python3 --out FOLDER --cases forward-S,forward-2p7 [--limit SECONDS]
    gpu.py --out FOLDER --cases none              only the tables of what is there

With --pack FILE all of FOLDER is put into one archive after every case. --small is a rehearsal without a GPU: tiny models,
PyTorch on the processor, sinter on whatever libraries it finds.

Cases are named GROUP-SIZE-PRECISION or shorter: `forward-S` is all precisions of it, `train` all sizes. They are run in
the order that they are named in. A ratio is PyTorch's time by sinter's, the median over rounds: above 1 sinter is faster.
The participants of a case run one after the other, so that each has the memory of the GPU for itself.
"""

import argparse
import csv
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))

SIZES = {"S": (768, 3072, 12, 12), "M": (1024, 4096, 24, 16), "L": (1280, 5120, 36, 20), "XL": (1600, 6400, 48, 25),
         "2p7": (2560, 10240, 32, 32)}
ORDER = ("S", "2p7", "M", "L", "XL")
VOCAB, BATCH, CONTEXT = 10000, 4, 256
CONTEXTS = (128, 512, 1024)
# precision -> dtype of the weights, matmul precision
PRECISIONS = {"bf16": ("bf16", "highest"), "f32": ("f32", "highest"), "tf32": ("f32", "high")}
PHASES = ("forward", "backward", "forward+backward", "step")
WARMUPS = (0, 1, 5)
GPT2 = {"layers": 12, "d-model": 768, "heads": 12, "d-ff": 3072, "vocab": 50257, "context": 1024}
PAST = 512
PEAK_ELEMENTS, PEAK_SIZE = 1 << 30, 8192
LEAST_SECONDS = 45  # with less time left no case is begun


def all_cases():
    names = ["peaks"]
    names += [f"forward-{size}-{precision}" for size in ORDER for precision in PRECISIONS]
    names += [f"decode-gpt2-{precision}" for precision in ("f32", "bf16")]
    names += [f"kernels-{size}-{precision}{turns}" for size in ("S", "2p7") for precision in PRECISIONS for turns in ("", "-once")]
    names += [f"train-{size}-{precision}-{phase}" for size in ORDER for precision in PRECISIONS for phase in PHASES]
    names += ["warmup-S-f32"] + [f"autotune-S-{precision}" for precision in PRECISIONS]
    names += [f"contexts-{size}-{precision}-{phase}-{context}" for context in CONTEXTS for size in ORDER
              for precision in ("f32", "bf16") for phase in ("forward", "step")]
    return names


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sinter", metavar="PATH", help="the sinter program")
    parser.add_argument("--torch", metavar="PYTHON", default=sys.executable)
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the results go")
    parser.add_argument("--models", default="build/gpu-models", help="where the models are written (%(default)s)")
    parser.add_argument("--cases", default=",".join(all_cases()), help="names, or beginnings of names")
    parser.add_argument("--limit", type=float, default=500, help="seconds; a case that is at work then is given up (%(default)s)")
    parser.add_argument("--pack", metavar="FILE", help="an archive (.tar.gz) of the results, made anew after each case")
    parser.add_argument("--small", action="store_true", help="a rehearsal without a GPU")
    arguments = parser.parse_args()
    wanted = [] if arguments.cases == "none" else arguments.cases.split(",")
    found = (name for part in wanted for name in all_cases() if name == part or name.startswith(part + "-"))
    arguments.cases = list(dict.fromkeys(found))
    if len(wanted) and not arguments.cases:
        parser.error("no such case")
    if arguments.cases and not arguments.sinter:
        parser.error("--sinter is needed to measure")
    if arguments.small:
        be_small()
    return arguments


def be_small():
    """Sizes with which an emulated GPU takes seconds."""
    global BATCH, CONTEXT, VOCAB, PAST, PEAK_ELEMENTS, PEAK_SIZE, WARMUPS, LEAST_SECONDS
    BATCH, CONTEXT, VOCAB, PAST, PEAK_ELEMENTS, PEAK_SIZE, WARMUPS, LEAST_SECONDS = 1, 16, 64, 8, 1 << 16, 64, (0, 1), 1
    SIZES.update((name, (32, 48, 1, 2)) for name in SIZES)
    GPT2.update({"layers": 1, "d-model": 32, "heads": 2, "d-ff": 48, "vocab": 64, "context": 32})


def options_text(sizes):
    return " ".join(f"--{name} {value}" for name, value in sizes.items())


def llama_options(size):
    width, inner, layers, heads = SIZES[size]
    return f"--layers {layers} --d-model {width} --heads {heads} --d-ff {inner} --vocab {VOCAB} --context 1024"


def make_model(arguments, kind, options, dtype, more=()):
    words = [kind, *options.split(), *(["--dtype", dtype] if dtype != "f32" else []), *more]
    path = os.path.join(arguments.models, "".join(word.strip("-") + "-" for word in words).rstrip("-") + ".onnx")
    if not os.path.exists(path):
        os.makedirs(arguments.models, exist_ok=True)
        subprocess.run([arguments.sinter, "make", *words, "-o", path], check=True)
    return path


def limited(arguments, command, **more):
    """What it says on STDOUT, if that is a pipe. With the time that is left it ends, and all that it has started."""
    process = subprocess.Popen(command, start_new_session=True, **more)
    try:
        said, _ = process.communicate(timeout=max(arguments.end - time.monotonic(), 1))
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return said


def compare(arguments, model, shapes, torch_model, result, *, sinter="", modes="eager,default", rounds=5, runs=10):
    if arguments.small:
        rounds, runs, modes = 2, 1, modes if "forward-S-f32" in result else "eager"
    command = [sys.executable, os.path.join(HERE, "compare.py"), model, "--device", "cuda", "--sinter", arguments.sinter,
               "--mode", "compiled,eager", "--torch", arguments.torch, "--torch-model", torch_model, "--torch-modes", modes,
               "--warmup", "1" if arguments.small else "5", "--rounds", str(rounds), "--runs", str(runs), "--json", result + ".part",
               "--one-by-one", "--keep-going", *(["--torch-device", "cpu"] if arguments.small else [])]
    for shape in shapes:
        command += ["--shape", shape]
    if sinter:
        command.append(f"--sinter-options={sinter}")
    limited(arguments, command)
    os.replace(result + ".part", result)


def forward(arguments, size, precision, result, modes="eager,default"):
    dtype, matmul = PRECISIONS[precision]
    options = llama_options(size)
    compare(arguments, make_model(arguments, "llama", options, dtype), [f"input_ids={BATCH}x{CONTEXT}"],
            f"--kind llama {options} --dtype {dtype} --matmul-precision {matmul}", result,
            sinter=f"--matmul-precision {matmul}", modes=modes)


def train(arguments, size, precision, phase, result, context=CONTEXT):
    dtype, matmul = PRECISIONS[precision]
    options = llama_options(size)
    compare(arguments, make_model(arguments, "llama", options, dtype), [f"input_ids={BATCH}x{context}"],
            f"--kind llama {options} --dtype {dtype} --matmul-precision {matmul} --phase {phase}", result,
            sinter=f"--matmul-precision {matmul} --loss cross_entropy --phases {phase}")


def warmup(arguments, size, precision, result):
    """Ten steps behind none, one and five that are not timed: what the first ones cost."""
    dtype, matmul = PRECISIONS[precision]
    model = make_model(arguments, "llama", llama_options(size), dtype)
    found = {}
    for count in WARMUPS:
        command = [arguments.sinter, "bench", model, "--device", "cuda", "--matmul-precision", matmul, "--modes",
                   "compiled,eager", "--phases", ",".join(PHASES), "--shape", f"input_ids={BATCH}x{CONTEXT}", "--warmup",
                   str(count), "--iters", "2" if arguments.small else "10", "-o", "json"]
        answer = limited(arguments, command, stdout=subprocess.PIPE, text=True)
        found[str(count)] = json.loads(answer)["rows"]
    with open(result + ".part", "w", encoding="utf-8") as file:
        json.dump({"warmup": found}, file, indent=1)
    os.replace(result + ".part", result)


def decode(arguments, precision, result):
    dtype, matmul = PRECISIONS[precision]
    model = make_model(arguments, "gpt2", options_text(GPT2), dtype, ["--kv-cache"])
    cache = f"1x{GPT2['heads']}x{PAST}x{GPT2['d-model'] // GPT2['heads']}"
    shapes = ["input_ids=1x1"] + [f"past.{layer}.{what}={cache}" for layer in range(GPT2["layers"]) for what in ("key", "value")]
    compare(arguments, model, shapes, f"--kind gpt2 {options_text(GPT2)} --past {PAST} --dtype {dtype} --matmul-precision {matmul}", result,
            sinter=f"--matmul-precision {matmul} --state past.*=present.*", runs=30)


def one_turn_each(arguments):
    """A tuning file that gives each block one turn, however many there are."""
    said = limited(arguments, [arguments.sinter, "doctor"], stdout=subprocess.PIPE, text=True)
    capability, processors = re.search(r"sm_(\d+)a?, (\d+) processors", said).groups()
    path = os.path.join(arguments.out, "once.txt")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"cuda/{capability}/{processors} facts walk_waves=0\n")
    return path


def kernels(arguments, size, precision, result, once):
    """The time of each kernel of the compiled and the eager program; `once`: with blocks that have one turn each."""
    dtype, matmul = PRECISIONS[precision]
    model = make_model(arguments, "llama", llama_options(size), dtype)
    command = [arguments.sinter, "bench", model, "--device", "cuda", "--matmul-precision", matmul, "--modes", "compiled,eager",
               "--shape", f"input_ids={BATCH}x{CONTEXT}", "--warmup", "1" if arguments.small else "5", "--iters",
               "2" if arguments.small else "20", "--kernels", "-o", "json"]
    if once:
        command += ["--tuning", one_turn_each(arguments)]
    with open(result + ".part", "w", encoding="utf-8") as file:
        limited(arguments, command, stdout=file)
    os.replace(result + ".part", result)


PEAKS = r"""
import json, sys, time, torch
device, elements, size = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
def timed(run, count=20):
    for _ in range(3): run()
    times = []
    for _ in range(count):
        if device == "cpu":
            begin = time.perf_counter(); run(); times.append(time.perf_counter() - begin)
            continue
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record(); run(); end.record(); end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return sorted(times)[count // 2]
found = {"gpu": torch.cuda.get_device_name() if device == "cuda" else device, "torch": torch.__version__, "cuda": torch.version.cuda}
a = torch.randn(elements, device=device); b = torch.empty_like(a)
found["copy_bytes_s"] = 2 * a.numel() * 4 / timed(lambda: b.copy_(a))
del a, b
for name, dtype, precision in (("f32", torch.float32, "highest"), ("tf32", torch.float32, "high"), ("bf16", torch.bfloat16, "highest")):
    torch.set_float32_matmul_precision(precision)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    found[name + "_flop_s"] = 2 * size**3 / timed(lambda: a @ b, 10)
with open(sys.argv[1], "w", encoding="utf-8") as file: json.dump(found, file, indent=1)
"""


def run_case(arguments, name, result):
    group, *rest = name.split("-")
    if group == "peaks":
        device = "cpu" if arguments.small else "cuda"
        limited(arguments, [arguments.torch, "-c", PEAKS, result, device, str(PEAK_ELEMENTS), str(PEAK_SIZE)])
    else:
        {"forward": forward, "decode": lambda a, _, p, r: decode(a, p, r), "kernels": lambda a, s, p, *rest: kernels(a, s, p, rest[-1], "once" in rest), "train": train,
         "warmup": warmup, "autotune": lambda a, s, p, r: forward(a, s, p, r, "max-autotune"), "contexts": lambda a, s, p, phase, context, r: train(a, s, p, phase, r, int(context))}[group](
            arguments, *rest, result)


def measure_all(arguments):
    """Names of what failed or was not begun."""
    missing = []
    arguments.end = time.monotonic() + arguments.limit
    for name in arguments.cases:
        result = os.path.join(arguments.out, name + ".json")
        if os.path.exists(result):
            continue
        if arguments.end - time.monotonic() < LEAST_SECONDS:
            missing.append(f"{name} (no time left)")
            continue
        print(f"== {name}", file=sys.stderr)
        try:
            run_case(arguments, name, result)
        except subprocess.TimeoutExpired:
            missing.append(f"{name} (no time left)")
        except (subprocess.CalledProcessError, OSError) as problem:
            missing.append(f"{name} ({str(problem)[-200:]})")
        pack(arguments)
    return missing


def pack(arguments):
    """In one move, so that an archive that is there is whole."""
    if not arguments.pack:
        return
    part = arguments.pack + ".part"
    with tarfile.open(part, "w:gz") as archive:
        for name in sorted(os.listdir(arguments.out)):
            if name.endswith((".json", ".log", ".csv", ".txt", ".md")):
                archive.add(os.path.join(arguments.out, name), arcname=name)
    os.replace(part, arguments.pack)


# ---- tables ----


def read_all(folder):
    found = {}
    for name in all_cases():
        path = os.path.join(folder, name + ".json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                found[name] = json.load(file)
    return found


def forward_flops(size):
    """Of a forward pass, unmasked work only: products with weights, and causal attention at half."""
    width, inner, layers, _ = SIZES[size]
    tokens = BATCH * CONTEXT
    return tokens * (2 * (layers * (4 * width * width + 3 * width * inner) + VOCAB * width) + 2 * CONTEXT * width * layers)


def floor_share(name, seconds, peaks):
    group, size, precision, *_ = name.split("-")
    rate = (peaks or {}).get(f"{precision}_flop_s")
    return f"{100 * forward_flops(size) / rate / seconds:.0f} %" if group in ("forward", "autotune") and rate else ""


def print_times(results):
    peaks = results.get("peaks")
    if peaks:
        print(f"{peaks['gpu']}, PyTorch {peaks['torch']}: copy {peaks['copy_bytes_s'] / 1e12:.2f} TB/s, products of 8192: "
              + ", ".join(f"{name} {peaks[name + '_flop_s'] / 1e12:.0f} TFLOP/s" for name in PRECISIONS) + "\n")
    names = ("sinter compiled", "sinter eager", "torch eager", "torch.compile", "torch.compile max-autotune")
    print(f"| case | {' | '.join(f'{name}, ms' for name in names)} | torch.compile / compiled | eager / eager "
          "| of the FLOP floor |\n|" + "---|" * (len(names) + 4))
    for name, report in results.items():
        if name.split("-")[0] in ("peaks", "kernels", "warmup"):
            continue
        rows = {row["name"]: row for row in report["rows"] if "median_s" in row}
        cells = [f"{1e3 * rows[who]['median_s']:.3f}" if who in rows else "" for who in names]
        compiled = next((rows[who] for who in names[3:] if who in rows), None)
        ratio = f"{compiled['ratio']:.2f}" if compiled and "sinter compiled" in rows else ""
        both = "sinter eager" in rows and "torch eager" in rows
        eager = f"{rows['torch eager']['median_s'] / rows['sinter eager']['median_s']:.2f}" if both else ""
        share = floor_share(name, rows["sinter compiled"]["median_s"], peaks) if "sinter compiled" in rows else ""
        print(f"| {name} | {' | '.join(cells)} | {ratio} | {eager} | {share} |")


R1_COLUMNS = ("d_model", "d_ff", "num_layers", "num_heads", "batch", "context", "device", "dtype", "program", "compile",
              "phase", "warmup_steps", "benchmark_steps", "mean_s", "std_s", "status")


def r1_rows(results):
    """A row for every time of a phase, in the columns that such reports have."""
    for name, report in results.items():
        group, size, precision, *rest = (*name.split("-"), "", "")[:6]
        if group in ("train", "contexts"):
            environment = report["environment"]
            steps = environment["rounds"] * environment["runs_per_round"]
            for row in report["rows"]:
                program, _, mode = row["name"].replace("torch.compile", "torch compiled").partition(" ")
                yield (*SIZES[size], BATCH, rest[1] or CONTEXT, "cuda", precision, program, mode != "eager",
                       rest[0], environment["warmup"], steps, row.get("mean_s", ""), row.get("std_s", ""),
                       row.get("status", "ok"))
        elif group == "warmup":
            for count, rows in report["warmup"].items():
                for row in rows:
                    yield (*SIZES[size], BATCH, CONTEXT, "cuda", precision, "sinter",
                           row["mode"] == "compiled", row["phase"], count, 10, row.get("mean_s", ""), row.get("std_s", ""),
                           row["status"])


def write_r1(results, path):
    rows = list(r1_rows(results))
    if not rows:
        return
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(R1_COLUMNS)
        writer.writerows(rows)
    print(f"\n{len(rows)} rows of phases of training steps: {path}")


def print_kernels(results):
    copy = results.get("peaks", {}).get("copy_bytes_s")
    for name, report in results.items():
        if not name.startswith("kernels-"):
            continue
        whole = {row["mode"]: row["median_s"] for row in report["rows"] if row["status"] == "ok"}
        for mode, seconds in whole.items():
            rows = [row for row in report["kernels"] if row["mode"] == mode]
            busy = sum(row["mean_s"] * row["launches"] for row in rows)
            print(f"\n{name}, {mode}: {1e3 * seconds:.3f} ms a run, kernels {1e3 * busy:.3f} ms ({100 * busy / seconds:.0f} %)")
            for row in rows[:8]:
                rate = row.get("bytes_rate")
                share = f"{100 * rate / copy:3.0f} % of copy" if rate and copy else ""
                print(f"  {100 * row['share']:5.1f} %  {row['launches']:4d} x {1e6 * row['mean_s']:9.1f} us  {share}  {row['summary'][:60]}")


def main():
    arguments = parse_arguments()
    os.makedirs(arguments.out, exist_ok=True)
    missing = measure_all(arguments)
    results = read_all(arguments.out)
    print_times(results)
    print_kernels(results)
    write_r1(results, os.path.join(arguments.out, "r1.csv"))
    pack(arguments)
    for name in missing:
        print(f"missing: {name}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
