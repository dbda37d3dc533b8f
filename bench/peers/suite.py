#!/usr/bin/env python3
"""All comparisons with the peers: writes the models (once), runs compare.py for each on 1 and 2 threads and startup.py on
the largest, writes every result as JSON with its environment, and prints one table of them all.

    suite.py --sinter build/sinter --onnxruntime PYTHON --torch PYTHON --out bench/results
    suite.py ... --cases bert-1x128,gpt2-decode-512 --threads 2      only these; the table has all that --out holds
    suite.py --out bench/results --cases none                        only the table

A ratio is the peer's time by sinter's, the median over interleaved rounds: above 1 sinter is faster.
"""

import argparse
import json
import os
import subprocess
import sys

from compare import ROOFLINE

HERE = os.path.dirname(os.path.abspath(__file__))

GPT2 = "--layers 12 --d-model 768 --heads 12 --d-ff 3072 --vocab 50257"
BERT = "--layers 12 --d-model 768 --heads 12 --d-ff 3072 --vocab 30522 --context 512"
MINILM = "--layers 6 --d-model 384 --heads 12 --d-ff 1536 --vocab 30522 --context 512"
LLAMA = "--layers 12 --d-model 768 --heads 12 --d-ff 3072 --vocab 10000 --context 1024"
MASKS = ["attention_mask", "token_type_ids"]


class Case:
    """One model with one shape. KIND and SIZES are what `sinter make` and torch_peer.py take; QUANTISE what quantise.py does to
    it, and then PyTorch takes no part. OPTIONS are sinter's own, TORCH what PyTorch's side has besides.
    Under autocast onnxruntime, which has none, computes in f32."""

    def __init__(self, kind, sizes, shape, high, turns, make="", past=0, torch="", options="", quantise=""):
        self.options, self.quantise = options, quantise
        self.kind, self.sizes, self.high, self.make, self.torch = kind, sizes, high, make, torch
        self.rounds, self.runs = turns
        self.shapes = [f"input_ids={shape}"]
        self.ones = []
        if kind == "bert":
            self.shapes += [f"{name}={shape}" for name in MASKS]
            self.ones = MASKS[:1]
        if past:
            words = sizes.split()
            layers, heads, d_model = (int(words[words.index(f"--{name}") + 1]) for name in ("layers", "heads", "d-model"))
            cache = f"1x{heads}x{past}x{d_model // heads}"
            self.shapes += [f"past.{layer}.{what}={cache}" for layer in range(layers) for what in ("key", "value")]


CASES = {
    "gpt2-1x256": Case("gpt2", f"{GPT2} --context 256", "1x256", 50257, (7, 3)),
    "gpt2-4x256": Case("gpt2", f"{GPT2} --context 256", "4x256", 50257, (5, 1)),
    "bert-1x128": Case("bert", BERT, "1x128", 2, (7, 5)),
    "minilm-1x128": Case("bert", MINILM, "1x128", 2, (7, 10)),
    "llama-4x256": Case("llama", LLAMA, "4x256", 10000, (5, 1)),
    "gpt2-decode-512": Case("gpt2", f"{GPT2} --context 1024", "1x1", 50257, (7, 5), make="--kv-cache", past=512,
                            torch="--past 512", options="--state past.*=present.*"),
    "gpt2-bf16-1x256": Case("gpt2", f"{GPT2} --context 256", "1x256", 50257, (7, 3), torch="--autocast bf16",
                            options="--autocast bf16"),
    "gpt2-bf16-4x256": Case("gpt2", f"{GPT2} --context 256", "4x256", 50257, (5, 1), torch="--autocast bf16",
                            options="--autocast bf16"),
    "bert-bf16-1x128": Case("bert", BERT, "1x128", 2, (7, 5), torch="--autocast bf16", options="--autocast bf16"),
    "gpt2-int8-1x256": Case("gpt2", f"{GPT2} --context 256", "1x256", 50257, (5, 3), quantise="int8"),
    "gpt2-int8-1x1": Case("gpt2", f"{GPT2} --context 256", "1x1", 50257, (7, 10), quantise="int8"),
    "bert-int8-1x128": Case("bert", BERT, "1x128", 2, (5, 5), quantise="int8"),
    "gpt2-4bit-1x256": Case("gpt2", f"{GPT2} --context 256", "1x256", 50257, (5, 3), quantise="4bit"),
    "gpt2-4bit-1x1": Case("gpt2", f"{GPT2} --context 256", "1x1", 50257, (7, 10), quantise="4bit"),
}
STARTUP = "gpt2-1x256"  # the case of startup.py


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sinter", metavar="PATH", help="the sinter program")
    parser.add_argument("--onnxruntime", metavar="PYTHON")
    parser.add_argument("--torch", metavar="PYTHON")
    parser.add_argument("--models", default="build/bench-models", help="where the models are written (%(default)s; 4 GB)")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the results go")
    parser.add_argument("--cases", default=",".join([*CASES, "startup"]), help="of %(default)s")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--wrap", default="", metavar="COMMAND", help="put before every measurement")
    arguments = parser.parse_args()
    arguments.cases = [] if arguments.cases == "none" else arguments.cases.split(",")
    for name in arguments.cases:
        if name not in CASES and name != "startup":
            parser.error(f"no case {name}")
    if arguments.cases and not arguments.sinter:
        parser.error("--sinter is needed to measure")
    if any(CASES[name].quantise for name in arguments.cases if name in CASES) and not arguments.onnxruntime:
        parser.error("--onnxruntime is needed to quantise")
    return arguments


def model_path(case, arguments):
    """The case's model; written when it is not there. Its name says what it is made of."""
    words = [case.kind, *case.sizes.split(), *case.make.split()]
    path = os.path.join(arguments.models, "".join(word.strip("-") + "-" for word in words).rstrip("-") + ".onnx")
    if not os.path.exists(path):
        os.makedirs(arguments.models, exist_ok=True)
        subprocess.run([arguments.sinter, "make", *words, "--stored", "-o", path], check=True)
    if not case.quantise:
        return path
    narrow = f"{path[:-len('.onnx')]}-{case.quantise}.onnx"
    if not os.path.exists(narrow):
        script = os.path.join(HERE, "quantise.py")
        subprocess.run([arguments.onnxruntime, script, path, narrow, case.quantise], check=True)
    return narrow


def measure(program, case, threads, arguments, rounds, result, more):
    command = [*arguments.wrap.split(), sys.executable, os.path.join(HERE, program), model_path(case, arguments)]
    command += ["--threads", str(threads), "--high", str(case.high), "--rounds", str(rounds), "--sinter", arguments.sinter]
    for shape in case.shapes:
        command += ["--shape", shape]
    for name in case.ones:
        command += ["--ones", name]
    if arguments.onnxruntime:
        command += ["--onnxruntime", arguments.onnxruntime]
    if arguments.torch and not case.quantise:
        command += ["--torch", arguments.torch, "--torch-model", f"--kind {case.kind} {case.sizes} {case.torch}"]
    subprocess.run([*command, *more, "--json", os.path.join(arguments.out, result)], check=True)


def measure_all(arguments):
    """Names of what failed."""
    failed = []
    for name in arguments.cases:
        case = CASES[STARTUP if name == "startup" else name]
        for threads in arguments.threads.split(","):
            result = f"{name}-t{threads}.json"
            print(f"== {result}", file=sys.stderr)
            try:
                if name == "startup":
                    measure("startup.py", case, threads, arguments, 5, result, [])
                else:
                    more = ["--runs", str(case.runs), "--warmup", "2"]
                    more += ["--mode", "compiled" if case.quantise else "compiled,eager"]
                    # Numbers that are rounded to few bits in each run fall to either side: these are compared by tests.
                    rounds = case.quantise == "int8" or "--autocast" in case.options
                    more += ["--check"] if arguments.onnxruntime and not rounds else []
                    more += [f"--sinter-options={case.options}"] if case.options else [] if case.quantise else ["--roofline"]
                    measure("compare.py", case, threads, arguments, case.rounds, result, more)
            except (subprocess.CalledProcessError, OSError) as problem:
                print(f"suite: {result}: {problem}", file=sys.stderr)
                failed.append(result)
    return failed


def read_results(folder):
    """(case, threads) -> report, for the results of this suite in FOLDER."""
    found = {}
    for name in [*CASES, "startup"]:
        for entry in sorted(os.listdir(folder)):
            if entry.startswith(f"{name}-t") and entry.endswith(".json") and entry[len(name) + 2:-5].isdecimal():
                with open(os.path.join(folder, entry), encoding="utf-8") as file:
                    found[name, int(entry[len(name) + 2:-5])] = json.load(file)
    return found


def print_times(results):
    print("| model and shape | threads | sinter, ms | eager | onnxruntime | torch eager | torch.compile "
          "| to onnxruntime | to the fastest peer | of the multiply-adds, % | processor |\n"
          "|---|---|---|---|---|---|---|---|---|---|---|")
    for (name, threads), report in results.items():
        rows = {row["name"]: row for row in report["rows"]}
        peers = [row for row in report["rows"] if not row["name"].startswith("sinter") and row["name"] != ROOFLINE]
        if name == "startup" or "sinter compiled" not in rows:
            continue
        cells = [f"{1e3 * rows[who]['median_s']:.2f}" if who in rows else "" for who in
                 ("sinter compiled", "sinter eager", "onnxruntime", "torch eager", "torch.compile")]
        ort = f"{rows['onnxruntime']['ratio']:.2f}" if "onnxruntime" in rows else ""
        share = f"{100 * rows[ROOFLINE]['ratio']:.1f}" if ROOFLINE in rows else ""
        fastest = min(peers, key=lambda row: row["ratio"], default=None)
        best = f"{fastest['ratio']:.2f} ({fastest['name']})" if fastest else ""
        print(f"| {name} | {threads} | {' | '.join(cells)} | {ort} | {best} | {share} | {report['environment']['processor']} |")


def print_startup(results):
    print("\n| start to the first result | threads | s | importing alone, s | without importing, s | peak, MB |"
          "\n|---|---|---|---|---|---|")
    for (name, threads), report in results.items():
        for row in report["rows"] if name == "startup" else []:
            alone = f"{row['import_s']:.2f}" if "import_s" in row else ""
            without = row.get("without_import_s", row["first_result_s"])
            print(f"| {row['name']} | {threads} | {row['first_result_s']:.2f} | {alone} | {without:.2f} "
                  f"| {row['peak_bytes'] / 1e6:.0f} |")


def main():
    arguments = parse_arguments()
    os.makedirs(arguments.out, exist_ok=True)
    failed = measure_all(arguments)
    results = read_results(arguments.out)
    print_times(results)
    print_startup(results)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
