#!/usr/bin/env python3
"""Times Sinter beside its peers in one run: the processes are started, warmed, and then take turns, so that a slow
minute of the machine falls on all of them. Prints a table in Markdown; --json also writes every single time.

    compare.py MODEL --shape input_ids=1x256 --threads 2 --high 50257 --sinter build/sinter \\
        --onnxruntime PYTHON --torch PYTHON --torch-model "--kind gpt2 --layers 12 ..." --json out.json
    compare.py --peer "a=COMMAND" --peer "b=COMMAND"      any commands that speak the protocol (protocol.py)

The first participant is the one that the others are compared with. A ratio is the median, over the rounds, of
(the peer's median of the round) / (the first's): above 1 the first is faster. With --roofline a further participant is
what the model's multiply-adds alone take this processor at its rate of that moment: that ratio says how near the first is to it.
PYTHON is an interpreter that has the packages of requirements-onnxruntime.txt or requirements-torch.txt.
"""

import argparse
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOFLINE = "multiply-adds alone"
# Large results otherwise return to the system after each run and are faulted in again in the next.
MALLOC = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736:glibc.malloc.top_pad=67108864"


class PeerError(Exception):
    pass


class Peer:
    """One participant: a process and the times it reported, a list per round."""

    def __init__(self, name, command, environment):
        self.name, self.command, self.rounds = name, command, []
        self.began = time.perf_counter()
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                            env=environment)
        except OSError as problem:
            raise PeerError(f"{name}: cannot start {command[0]}: {problem.strerror}") from problem

    def run(self, count):
        """COUNT runs; their times in seconds."""
        try:
            self.process.stdin.write(f"run {count}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # what it said last explains it
        times = []
        for line in self.process.stdout:
            line = line.strip()
            if line == "ok":
                if len(times) != count:
                    raise PeerError(f"{self.name}: {len(times)} times for {count} runs")
                return times
            try:
                times.append(float(line))
            except ValueError:
                raise PeerError(f"{self.name}: {line}") from None
        raise PeerError(f"{self.name}: ended with status {self.process.wait()}")

    def start(self, warmup):
        """Loads the model and warms it; the seconds from the start of the process to its first result."""
        self.run(1)
        self.first_result = time.perf_counter() - self.began
        if warmup > 1:
            self.run(warmup - 1)

    def peak_bytes(self):
        """The largest resident size so far, mapped files included; None where the system does not say."""
        try:
            with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
                for line in file:
                    if line.startswith("VmHWM:"):
                        return int(line.split()[1]) * 1024
        except OSError:
            pass
        return None

    def finish(self):
        """Ends the process; what is known of its memory is kept."""
        self.peak = self.peak_bytes()
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            try:
                self.process.communicate("quit\n", timeout=10)
            except (subprocess.TimeoutExpired, BrokenPipeError):
                self.process.kill()
        self.process.wait()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--sinter", metavar="PATH", help="the sinter program")
    parser.add_argument("--mode", default="compiled", help="of sinter: comma-separated eager, compiled")
    parser.add_argument("--sinter-options", default="", metavar="OPTIONS", help="more options for it, in one argument")
    parser.add_argument("--roofline", action="store_true", help="also the time of the model's multiply-adds alone (CPU)")
    parser.add_argument("--onnxruntime", metavar="PYTHON")
    parser.add_argument("--torch", metavar="PYTHON", help="PyTorch, eager and compiled; needs --torch-model")
    parser.add_argument("--torch-model", default=None, metavar="OPTIONS", help="torch_peer.py's, in one argument")
    parser.add_argument("--torch-modes", default="eager,default", metavar="MODES",
                        help="of PyTorch: eager, and modes of torch.compile (%(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of sinter and PyTorch")
    parser.add_argument("--torch-device", choices=("cpu", "cuda"), help="of PyTorch, where it is another one")
    parser.add_argument("--one-by-one", action="store_true",
                        help="each ends before the next one starts: where they do not fit into memory together")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help="another participant")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=1x256")
    parser.add_argument("--ones", action="append", default=[], metavar="NAME")
    parser.add_argument("--high", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=3, help="timed runs of a participant in a round")
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between turns, for spinning threads to rest")
    parser.add_argument("--check", action="store_true", help="sinter's outputs against onnxruntime's, to 1e-4, first")
    parser.add_argument("--keep-going", action="store_true", help="a participant that cannot start is a row that says so")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    if (arguments.sinter or arguments.onnxruntime) and not arguments.model:
        parser.error("a MODEL is needed")
    if arguments.torch and arguments.torch_model is None:
        parser.error("--torch needs --torch-model")
    if arguments.check and not (arguments.sinter and arguments.onnxruntime):
        parser.error("--check compares sinter with onnxruntime")
    if min(arguments.warmup, arguments.rounds, arguments.runs, arguments.threads) < 1:
        parser.error("--warmup, --rounds, --runs and --threads must be at least 1")
    return parser, arguments


def participants(arguments):
    """Name -> command, in the order of the table; and name -> command that prints a version."""
    shapes = [word for text in arguments.shape for word in ("--shape", text)]
    common = ["--threads", str(arguments.threads)]
    device = ["--device", arguments.device] if arguments.device != "cpu" else []
    commands, versions = {}, {}
    if arguments.sinter:
        for mode in arguments.mode.split(","):
            name = f"sinter {mode}"
            command = [arguments.sinter, "bench", arguments.model, "--peer", "--mode", mode, *device, *common, *shapes]
            commands[name] = [*command, *shlex.split(arguments.sinter_options)]
            versions[name] = [arguments.sinter, "--version"]
        if arguments.roofline:
            commands[ROOFLINE] = [arguments.sinter, "bench", arguments.model, "--peer", "--roofline", *common, *shapes]
    if arguments.onnxruntime:
        script = [arguments.onnxruntime, os.path.join(HERE, "onnxruntime_peer.py")]
        ones = [word for text in arguments.ones for word in ("--ones", text)]
        rest = ["--high", str(arguments.high), "--seed", str(arguments.seed), *ones]
        commands["onnxruntime"] = [*script, arguments.model, *common, *shapes, *rest]
        versions["onnxruntime"] = [*script, "--version"]
    if arguments.torch:
        script = [arguments.torch, os.path.join(HERE, "torch_peer.py")]
        model = shlex.split(arguments.torch_model)
        for mode in arguments.torch_modes.split(","):
            name = {"eager": "torch eager", "default": "torch.compile"}.get(mode, f"torch.compile {mode}")
            extra = [] if mode == "eager" else ["--compile", mode]
            # Its one input is the model's first.
            there = ["--device", arguments.torch_device] if arguments.torch_device else device
            commands[name] = [*script, *model, *there, *common, *shapes[:2], *extra]
            versions[name] = [*script, "--version"]
    for text in arguments.peer:
        name, _, command = text.partition("=")
        commands[name] = shlex.split(command)
    return commands, versions


def processor_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def gpu_name():
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def describe_environment(arguments, versions):
    found = {}
    for name, command in versions.items():
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip():
            found[name] = answer.stdout.strip().splitlines()[0]
    return {
        **({"gpu": gpu_name()} if arguments.device == "cuda" else {}), "processor": processor_name(), "logical_processors": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}", "threads": arguments.threads,
        "malloc": MALLOC, "load_before": os.getloadavg()[0], "versions": found,
        "warmup": arguments.warmup, "rounds": arguments.rounds, "runs_per_round": arguments.runs,
        "one_by_one": arguments.one_by_one,
        "model": os.path.basename(arguments.model) if arguments.model else None, "shapes": arguments.shape,
    }


def check_outputs(arguments, commands):
    """Every mode of sinter computes what onnxruntime computes from the same random inputs."""
    with tempfile.TemporaryDirectory() as folder:
        reference = subprocess.run([*commands["onnxruntime"], "--save", folder], capture_output=True, text=True, check=False)
        if reference.returncode != 0:
            raise PeerError(f"onnxruntime: {(reference.stderr.strip().splitlines() or ['failed'])[-1]}")
        files = []
        for line in reference.stdout.splitlines():
            kind, rest = line.split(" ", 1)
            name, path = rest.rsplit(" ", 1)
            files += ["--input" if kind == "input" else "--expect", f"{name}=@{path}"]
        for mode in arguments.mode.split(","):
            command = [arguments.sinter, "run", arguments.model, "--mode", mode, "--threads", str(arguments.threads)]
            answer = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
            if answer.returncode != 0:
                raise PeerError(f"sinter {mode} differs from onnxruntime: {answer.stderr.strip()}")
            print(f"sinter {mode}: outputs as onnxruntime's", file=sys.stderr)


def take_turns(peers, arguments):
    """Every round each peer has a turn: one run that is thrown away, then the timed ones. The order alternates."""
    for turn in range(arguments.rounds):
        for peer in peers if turn % 2 == 0 else reversed(peers):
            time.sleep(arguments.pause)
            peer.rounds.append(peer.run(arguments.runs + 1)[1:])
        print(f"round {turn + 1} of {arguments.rounds}", file=sys.stderr)


def start_peer(name, command, arguments):
    # OMP_NUM_THREADS holds for the peers that read it; the others take --threads.
    settings = {**os.environ, "GLIBC_TUNABLES": MALLOC, "OMP_NUM_THREADS": str(arguments.threads)}
    peer = Peer(name, command, settings)
    try:
        peer.start(arguments.warmup)
    except PeerError:
        peer.stop()
        raise
    print(f"{name}: first result after {peer.first_result:.2f} s", file=sys.stderr)
    return peer


def run_peers(commands, arguments, peers, missing):
    """Appends who took part to PEERS, and rows for those who could not to MISSING."""
    for name, command in commands.items():
        try:
            peer = start_peer(name, command, arguments)
            peers.append(peer)
            if arguments.one_by_one:
                take_turns([peer], arguments)
                peer.finish()
        except PeerError as problem:
            if not arguments.keep_going:
                raise
            missing.append({"name": name, "status": status_of(str(problem)), "message": str(problem)})
            if peers and peers[-1].name == name:
                peers.pop().stop()
    if not peers:
        raise PeerError("; ".join(row["message"] for row in missing))
    if not arguments.one_by_one:
        take_turns(peers, arguments)
        for peer in peers:
            peer.finish()


def summarise(peer, first):
    times = [seconds for turn in peer.rounds for seconds in turn]
    ratios = [statistics.median(a) / statistics.median(b) for a, b in zip(peer.rounds, first.rounds)]
    return {
        "name": peer.name, "median_s": statistics.median(times), "mean_s": statistics.fmean(times),
        "std_s": statistics.stdev(times) if len(times) > 1 else 0.0, "min_s": min(times),
        "ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios),
        "first_result_s": peer.first_result, "peak_bytes": peer.peak,
        "times_s": peer.rounds,
    }


def status_of(message):
    return "OOM" if "out of memory" in message.lower() or "refuses" in message else "failed"


def print_table(environment, rows):
    print(f"{environment['processor']}, {environment['logical_processors']} logical processors, "
          f"{environment['threads']} threads, {environment['system']}")
    print(f"versions: {', '.join(sorted(set(environment['versions'].values()))) or 'unknown'}; "
          f"allocator: {environment['malloc']}")
    shapes = environment["shapes"][:3] + (["..."] if len(environment["shapes"]) > 3 else [])
    print(f"model: {environment['model']}, {' '.join(shapes)}; {environment['rounds']} rounds of "
          f"{environment['runs_per_round']} runs; load {environment['load_before']:.1f} before, "
          f"{environment['load_after']:.1f} after\n")
    print(f"| | median, ms | std | min | ratio to {rows[0]['name']} (least to most) | first result, s | peak, MB |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        ratio = f"{row['ratio']:.3f} ({row['ratio_min']:.3f} to {row['ratio_max']:.3f})"
        peak = f"{row['peak_bytes'] / 1e6:.0f}" if row["peak_bytes"] else ""
        print(f"| {row['name']} | {1e3 * row['median_s']:.3f} | {1e3 * row['std_s']:.3f} | {1e3 * row['min_s']:.3f} "
              f"| {ratio} | {row['first_result_s']:.2f} | {peak} |")


def main():
    parser, arguments = parse_arguments()
    commands, versions = participants(arguments)
    if not commands:
        parser.error("nobody takes part: give --sinter, --onnxruntime, --torch or --peer")
    # A peer that dumps core would be a large file beside the results.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    environment = describe_environment(arguments, versions)
    peers, missing = [], []
    try:
        if arguments.check:
            check_outputs(arguments, commands)
            environment["outputs_compared"] = True
        run_peers(commands, arguments, peers, missing)
        rows = [summarise(peer, peers[0]) for peer in peers]
    except PeerError as problem:
        print(f"compare: {problem}", file=sys.stderr)
        return 1
    finally:
        for peer in peers:
            peer.stop()
    environment["load_after"] = os.getloadavg()[0]
    print_table(environment, rows)
    for row in missing:
        print(f"| {row['name']} | {row['status']}: {row['message'][:200]} |")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"environment": environment, "rows": rows + missing}, file, indent=1)
            file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
