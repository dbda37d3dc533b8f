#!/usr/bin/env python3
"""PyTorch as a peer (see protocol.py): the same model as `sinter make KIND` of equal options, written with PyTorch's
best operators (torch_models.py), eager or compiled.

    torch_peer.py --kind gpt2 --layers 12 --d-model 768 --heads 12 --d-ff 3072 --vocab 50257 --context 256 \\
                  --shape input_ids=1x256 --threads 2 [--compile] [--autocast bf16]
"""

import argparse
import sys

import torch

import protocol
import torch_models


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"torch {torch.__version__}")
    parser.add_argument("--kind", choices=sorted(torch_models.KINDS), default="gpt2")
    sizes = {"layers": 12, "d-model": 768, "heads": 12, "d-ff": 3072, "vocab": 50257, "context": 256}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--kv-heads", type=int, default=None, help="of llama; default: as many as heads")
    parser.add_argument("--past", type=int, default=0, help="of gpt2: places in the caches of keys and values; batch 1")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shape", default=None, metavar="input_ids=1x256", help="default: 1 x context")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compile", action="store_true", help="torch.compile instead of eager")
    parser.add_argument("--autocast", choices=("none", "bf16"), default="none")
    return parser.parse_args()


def prepare(arguments):
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    name, shape = protocol.parse_shape(arguments.shape or f"input_ids=1x{arguments.context}")
    if name != "input_ids" or len(shape) != 2 or shape[1] + arguments.past > arguments.context:
        raise ValueError(f"--shape must be input_ids=BATCHxLENGTH, length at most {arguments.context - arguments.past}")
    if arguments.past and (arguments.kind != "gpt2" or shape != (1, 1)):
        raise ValueError("--past is for gpt2 and input_ids=1x1")
    model = torch_models.KINDS[arguments.kind](arguments).eval()
    input_ids = torch.randint(0, arguments.vocab, shape)
    forward = torch.compile(model) if arguments.compile else model
    held = [None]  # the last result, freed when the next one is there: as with a caller that reads it

    def run():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=arguments.autocast == "bf16"):
            held[0] = forward(input_ids)

    return run


if __name__ == "__main__":
    chosen = parse_arguments()
    sys.exit(protocol.serve(lambda: prepare(chosen)))
