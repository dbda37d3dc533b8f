"""What every peer speaks, so that compare.py can interleave them: on standard input a line `run N` is answered by N
lines, each the seconds of one run, then `ok`; `quit` or the end of input ends the process. Anything that goes wrong is
answered by one line `error MESSAGE`, and the process ends with status 1."""

import sys
import time


def parse_shape(text):
    """NAME=2x128 -> (NAME, (2, 128)); NAME= alone is a scalar."""
    name, _, sizes = text.partition("=")
    return name, tuple(int(size) for size in sizes.split("x")) if sizes else ()


def say(line):
    print(line, flush=True)


def serve(prepare):
    """PREPARE() loads the model and returns a function that runs it once and waits for the result; it may return the
    seconds of the part that counts."""
    try:
        run = prepare()
        for line in sys.stdin:
            words = line.split()
            if words == ["quit"]:
                return 0
            if len(words) != 2 or words[0] != "run" or not words[1].isdecimal():
                raise ValueError(f"expected `run N` or `quit`, not {line.strip()!r}")
            for _ in range(int(words[1])):
                begin = time.perf_counter()
                part = run()
                say(f"{time.perf_counter() - begin if part is None else part:.9f}")
            say("ok")
    except Exception as problem:  # the parent shows it; a traceback would be lost between two processes
        say(f"error {type(problem).__name__}: {' '.join(str(problem).split())}")
        return 1
    return 0
