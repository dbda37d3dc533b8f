#!/usr/bin/env python3
"""From the start of a process to its first result, and the most memory that it took: every participant is a fresh process
each time, which loads the model, runs once and ends, in turns. The model's file is in the page cache and Sinter's
kernels are in its cache (a first round, not counted, sees to that). What an interpreter and its imports alone take is
measured too and stands beside, since a program that links the library would not pay it.

    startup.py MODEL --shape input_ids=1x256 --threads 2 --sinter build/sinter --onnxruntime PYTHON --json out.json

The options are those of compare.py; --rounds is how often each starts.
"""

import json
import os
import statistics
import subprocess
import sys
import time

import compare

IMPORTS = {"onnxruntime": "import numpy, onnxruntime", "torch eager": "import torch", "torch.compile": "import torch"}


def first_result(name, command, environment):
    """(seconds from the start to the first result, peak resident bytes, mapped files included)."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    process.stdin.write("run 1\n")
    process.stdin.flush()
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if lines[-1] == "ok" or lines[-1].startswith("error"):
            break
    seconds = time.perf_counter() - began
    process.stdin.close()
    process.stdout.close()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    if not lines or lines[-1] != "ok":
        raise compare.PeerError(f"{name}: {lines[-1] if lines else 'ended without a word'}")
    return seconds, usage.ru_maxrss * 1024


def import_seconds(command, imports, environment):
    """The start of the interpreter of COMMAND with its imports, and its end; median of 3."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([command[0], "-c", imports], env=environment, check=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure(commands, arguments):
    """Name -> [(seconds, bytes)], and name -> seconds of importing."""
    environment = {**os.environ, "GLIBC_TUNABLES": compare.MALLOC, "OMP_NUM_THREADS": str(arguments.threads)}
    found = {name: [] for name in commands}
    for turn in range(-1, arguments.rounds):
        for name, command in commands.items():
            result = first_result(name, command, environment)
            if turn >= 0:
                found[name].append(result)
        print(f"round {turn + 1} of {arguments.rounds}", file=sys.stderr)
    imports = {name: import_seconds(commands[name], text, environment) for name, text in IMPORTS.items()
               if name in commands}
    return found, imports


def summarise(name, results, imports):
    seconds = [result[0] for result in results]
    row = {"name": name, "first_result_s": statistics.median(seconds), "first_result_min_s": min(seconds),
           "peak_bytes": max(result[1] for result in results), "times_s": seconds}
    if name in imports:
        row["import_s"] = imports[name]
        row["without_import_s"] = row["first_result_s"] - imports[name]
    return row


def main():
    parser, arguments = compare.parse_arguments()
    commands, versions = compare.participants(arguments)
    if not commands:
        parser.error("nobody takes part: give --sinter, --onnxruntime, --torch or --peer")
    environment = compare.describe_environment(arguments, versions)
    try:
        found, imports = measure(commands, arguments)
    except (compare.PeerError, OSError, subprocess.CalledProcessError) as problem:
        print(f"startup: {problem}", file=sys.stderr)
        return 1
    rows = [summarise(name, results, imports) for name, results in found.items()]
    print("| | first result, s | importing alone, s | without importing, s | peak, MB |\n|---|---|---|---|---|")
    for row in rows:
        alone = f"{row['import_s']:.3f}" if "import_s" in row else ""
        without = f"{row['without_import_s']:.3f}" if "import_s" in row else f"{row['first_result_s']:.3f}"
        print(f"| {row['name']} | {row['first_result_s']:.3f} | {alone} | {without} | {row['peak_bytes'] / 1e6:.0f} |")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"environment": environment, "rows": rows}, file, indent=1)
            file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
