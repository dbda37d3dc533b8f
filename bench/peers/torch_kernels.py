#!/usr/bin/env python3
"""Single operators in PyTorch, as a peer of the programs in bench/kernels (see protocol.py for `run`). Before `run`, one
line chooses what is run, and is answered by `ok`:

    gemm M N K threads T copies C        x (M, K) times C weights (K, N) in turn, as functional.linear has them
    attention B H SQ SK D causal|full threads T copies C
                                         scaled_dot_product_attention of q (B, H, SQ, D) and C pairs of k and v
    times are those of all copies together
"""

import sys
import time

import torch
from torch.nn import functional

import protocol


def gemm(words):
    rows, columns, depth = (int(word) for word in words[:3])
    settings = read_settings(words[3:])
    x = torch.randn(rows, depth)
    weights = [torch.randn(columns, depth) for _ in range(settings["copies"])]

    def run():
        return [functional.linear(x, weight) for weight in weights]

    return run


def attention(words):
    batch, heads, queries, keys, depth = (int(word) for word in words[:5])
    settings = read_settings(words[6:])
    query = torch.randn(batch, heads, queries, depth)
    shape = (batch, heads, keys, depth)
    pairs = [(torch.randn(shape), torch.randn(shape)) for _ in range(settings["copies"])]
    causal = words[5] == "causal"

    def run():
        return [functional.scaled_dot_product_attention(query, key, value, is_causal=causal) for key, value in pairs]

    return run


def read_settings(words):
    settings = dict(zip(words[::2], (int(word) for word in words[1::2])))
    torch.set_num_threads(settings["threads"])
    return settings


CASES = {"gemm": gemm, "attention": attention}


def main():
    run = None
    held = None  # the last results, freed when the next are there
    try:
        for line in sys.stdin:
            words = line.split()
            if words[0] in CASES:
                run = held = None
                run = CASES[words[0]](words[1:])
            else:
                with torch.inference_mode():
                    for _ in range(int(words[1])):
                        begin = time.perf_counter()
                        held = run()
                        protocol.say(f"{time.perf_counter() - begin:.9f}")
            protocol.say("ok")
    except Exception as problem:  # the parent shows it; a traceback would be lost between two processes
        protocol.say(f"error {type(problem).__name__}: {' '.join(str(problem).split())}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
