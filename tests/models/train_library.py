#!/usr/bin/env python3
"""Trains what export_library.py exports: ten steps of AdamW on one batch by build/tests/gradients/training_steps, and in
PyTorch, and compares the losses to 1e-4. Models whose results are scores of classes only. A wide check by hand:

    train_library.py [--only bert,llama] [--ways new18,ts17] [--steps build/tests/gradients/training_steps]

What is known to differ: files that hold a weight twice (albert, new18: each layer that shares it gets a copy), tables that
PyTorch keeps as buffers and a file as weights (bart's final_logits_bias), and products of weights that an exporter
computes (deberta, new18)."""

import argparse
import logging
import os
import subprocess
import tempfile
import warnings

import numpy as np
import torch

import export_library as library

TOLERANCE = 1e-4


def build(name):
    """The model with all weights different: exporters merge equal ones, which a training then keeps equal."""
    model = library.build(name)
    generator = torch.Generator().manual_seed(library.SEED)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    return model


def losses_of_pytorch(name, inputs, labels):
    model = build(name)
    groups = [{"params": [p for p in model.parameters() if (p.dim() >= 2) == matrix], "weight_decay": 0.1 * matrix}
              for matrix in (True, False)]
    optimizer, losses = torch.optim.AdamW(groups, lr=1e-3), []
    for _ in range(10):
        optimizer.zero_grad()
        y = model(*inputs.values())
        loss = torch.nn.functional.cross_entropy(y.reshape(-1, y.shape[-1]), labels.reshape(-1))
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses


def losses_of_sinter(steps, path, tensors, folder):
    files = []
    for name, tensor in tensors.items():
        file = os.path.join(folder, name + ".npy")
        np.save(file, tensor.numpy())
        files.append(f"{name}={file}")
    done = subprocess.run([steps, path, "compiled", "1", *files], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"status {done.returncode}")
    return [float(loss) for loss in done.stdout.split()]


def check(name, way, steps):
    """What there is to say, or None for a model that has no classes."""
    model = build(name)
    inputs = library.make_inputs(model.kind, False)
    with torch.no_grad():
        y = model(*inputs.values())
    if model.kind not in ("text", "pair") or not any(head in library.MODELS[name][1] for head in ("For", "LMHead")):
        return None
    labels = torch.randint(y.shape[-1], y.shape[:-1], generator=torch.Generator().manual_seed(library.SEED))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        library.export(model, inputs, way, path)
        ours = losses_of_sinter(steps, path, {**inputs, "labels": labels}, folder)
    theirs = losses_of_pytorch(name, inputs, labels)
    off = max(abs(a - b) / (1 + abs(b)) for a, b in zip(ours, theirs))
    return f"{'ok' if off <= TOLERANCE else 'DIFFERS'}: {theirs[0]:.4f} to {theirs[-1]:.4f}, {off:.1e} off"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(library.MODELS), help="names, joined by commas")
    parser.add_argument("--ways", default="new18,ts17", help="exporter and opset, joined by commas")
    parser.add_argument("--steps", default="build/tests/gradients/training_steps")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    for name in arguments.only.split(","):
        for way in arguments.ways.split(","):
            try:
                said = check(name, way, arguments.steps)
            except Exception as problem:  # exporters fail in every way there is
                said = f"{type(problem).__name__}: {str(problem).splitlines()[0][:160]}"
            if said:
                print(f"{name}_{way}: {said}", flush=True)


if __name__ == "__main__":
    main()
