#!/usr/bin/env python3
"""Comparisons on models of the transformers library for images and sound, with random weights: exports each (once), runs
compare.py for it on 1 and 2 threads beside onnxruntime and PyTorch eager, writes every result as JSON with its environment,
and prints one table of them all.

    library.py --sinter build/sinter --onnxruntime PYTHON --torch PYTHON --out bench/results/library
    library.py ... --cases resnet-50,vit-base --threads 2       only these; the table has all that --out holds
    library.py --out bench/results/library --cases none         only the table

--torch is an interpreter that has the packages of requirements-library.txt; it exports the models, too.
"""

import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


class Case:
    """The shape of a model's one input, and rounds and runs of each turn."""

    def __init__(self, shape, turns):
        self.shape, (self.rounds, self.runs) = shape, turns


CASES = {
    "resnet-50": Case("1x3x224x224", (5, 4)),
    "convnext-tiny": Case("1x3x224x224", (5, 4)),
    "vit-base": Case("1x3x224x224", (5, 2)),
    "segformer-b0": Case("1x3x256x256", (5, 4)),
    "wav2vec2-base": Case("1x16000", (5, 3)),
    "whisper-tiny-encoder": Case("1x80x3000", (5, 2)),
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sinter", metavar="PATH", help="the sinter program")
    parser.add_argument("--onnxruntime", metavar="PYTHON")
    parser.add_argument("--torch", metavar="PYTHON", help="with torch and transformers")
    parser.add_argument("--models", default="build/bench-models", help="where the models are written (%(default)s; 1 GB)")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where the results go")
    parser.add_argument("--cases", default=",".join(CASES), help="of %(default)s")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--wrap", default="", metavar="COMMAND", help="put before every measurement")
    arguments = parser.parse_args()
    arguments.cases = [] if arguments.cases == "none" else arguments.cases.split(",")
    for name in arguments.cases:
        if name not in CASES:
            parser.error(f"no case {name}")
    if arguments.cases and not (arguments.sinter and arguments.torch):
        parser.error("--sinter and --torch are needed to measure")
    return arguments


def model_path(name, arguments):
    """The case's model; exported when it is not there. A folder of its own holds its weights, too."""
    path = os.path.join(arguments.models, f"library-{name}", "model.onnx")
    if not os.path.exists(path):
        script = os.path.join(HERE, "library_models.py")
        subprocess.run([arguments.torch, script, name, "--export", path], check=True)
    return path


def measure(name, threads, arguments):
    case = CASES[name]
    script = os.path.join(HERE, "library_models.py")
    version = subprocess.run([arguments.torch, script, "--version"], capture_output=True, text=True, check=True)
    command = [*arguments.wrap.split(), sys.executable, os.path.join(HERE, "compare.py"), model_path(name, arguments)]
    command += ["--threads", threads, "--shape", f"x={case.shape}", "--sinter", arguments.sinter, "--warmup", "2"]
    command += ["--rounds", str(case.rounds), "--runs", str(case.runs)]
    command += ["--onnxruntime", arguments.onnxruntime] if arguments.onnxruntime else []
    command += ["--peer", f"eager, {version.stdout.strip()}={arguments.torch} {script} {name} --threads {threads}"]
    subprocess.run([*command, "--json", os.path.join(arguments.out, f"{name}-t{threads}.json")], check=True)


def measure_all(arguments):
    """Names of what failed."""
    failed = []
    for name in arguments.cases:
        for threads in arguments.threads.split(","):
            print(f"== {name}, {threads} threads", file=sys.stderr)
            try:
                measure(name, threads, arguments)
            except (subprocess.CalledProcessError, OSError) as problem:
                print(f"library: {name}: {problem}", file=sys.stderr)
                failed.append(name)
    return failed


def print_times(folder):
    print("| model and shape | threads | sinter, ms | onnxruntime | torch eager | to onnxruntime | to torch eager | processor |\n"
          "|---|---|---|---|---|---|---|---|")
    for name, case in CASES.items():
        for entry in sorted(os.listdir(folder)):
            if not (entry.startswith(f"{name}-t") and entry[len(name) + 2:-5].isdecimal()):
                continue
            with open(os.path.join(folder, entry), encoding="utf-8") as file:
                report = json.load(file)
            rows = {row["name"].partition(",")[0]: row for row in report["rows"]}
            who = ("sinter compiled", "onnxruntime", "eager")
            cells = [f"{1e3 * rows[key]['median_s']:.2f}" if key in rows else "" for key in who]
            cells += [f"{rows[key]['ratio']:.2f}" if key in rows else "" for key in who[1:]]
            print(f"| {name}, {case.shape} | {report['environment']['threads']} | {' | '.join(cells)} "
                  f"| {report['environment']['processor']} |")


def main():
    arguments = parse_arguments()
    os.makedirs(arguments.out, exist_ok=True)
    failed = measure_all(arguments)
    print_times(arguments.out)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
