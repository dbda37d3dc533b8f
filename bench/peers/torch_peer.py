#!/usr/bin/env python3
"""PyTorch as a peer (see protocol.py): the same model as `sinter make KIND` of equal options, written with PyTorch's
best operators (torch_models.py), eager or compiled, on a processor or a GPU.

    torch_peer.py --kind gpt2 --layers 12 --d-model 768 --heads 12 --d-ff 3072 --vocab 50257 --context 256 \\
                  --shape input_ids=1x256 --threads 2 [--compile [MODE]] [--device cuda] [--dtype bf16]

--phase says what a run is: `inference`; or, of training with cross-entropy and fused AdamW, `forward`, `backward` (an
untimed forward before it), `forward+backward` or `step` (forward, backward and update).
"""

import argparse
import sys
import time

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
    parser.add_argument("--compile", nargs="?", const="default", metavar="MODE", help="torch.compile instead of eager")
    parser.add_argument("--autocast", choices=("none", "bf16"), default="none")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("f32", "f16", "bf16"), default="f32", help="of the weights")
    parser.add_argument("--matmul-precision", choices=("highest", "high", "medium"), default="highest")
    parser.add_argument("--phase", choices=("inference", "forward", "backward", "forward+backward", "step"), default="inference")
    return parser.parse_args()


def prepare(arguments):
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    name, shape = protocol.parse_shape(arguments.shape or f"input_ids=1x{arguments.context}")
    if name != "input_ids" or len(shape) != 2 or shape[1] + arguments.past > arguments.context:
        raise ValueError(f"--shape must be input_ids=BATCHxLENGTH, length at most {arguments.context - arguments.past}")
    if arguments.past and (arguments.kind != "gpt2" or shape != (1, 1)):
        raise ValueError("--past is for gpt2 and input_ids=1x1")
    torch.set_float32_matmul_precision(arguments.matmul_precision)
    dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[arguments.dtype]
    with torch.device(arguments.device):
        model = torch_models.KINDS[arguments.kind](arguments).to(dtype)
        input_ids = torch.randint(0, arguments.vocab, shape)
    return inference(arguments, model.eval(), input_ids) if arguments.phase == "inference" else training(
        arguments, model.train(), input_ids)


def finish(arguments):
    if arguments.device == "cuda":
        torch.cuda.synchronize()


def compiled(arguments, function):
    return torch.compile(function, mode=arguments.compile) if arguments.compile else function


def autocast(arguments):
    return torch.autocast(arguments.device, torch.bfloat16, enabled=arguments.autocast == "bf16")


def inference(arguments, model, input_ids):
    forward = compiled(arguments, model)
    held = [None]  # the last result, freed when the next one is there: as with a caller that reads it

    def run():
        with torch.inference_mode(), autocast(arguments):
            held[0] = forward(input_ids)
        finish(arguments)

    return run


def training(arguments, model, input_ids):
    labels = torch.randint_like(input_ids, arguments.vocab)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    forward = compiled(arguments, lambda: torch.nn.functional.cross_entropy(
        model(input_ids).flatten(0, 1).float(), labels.flatten()))

    def run():
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with autocast(arguments):
            loss = forward()
        if arguments.phase == "forward":
            finish(arguments)
            return time.perf_counter() - begin
        if arguments.phase == "backward":
            finish(arguments)
            begin = time.perf_counter()
        loss.backward()
        if arguments.phase == "step":
            optimizer.step()
        finish(arguments)
        return time.perf_counter() - begin

    return run


if __name__ == "__main__":
    chosen = parse_arguments()
    sys.exit(protocol.serve(lambda: prepare(chosen)))
