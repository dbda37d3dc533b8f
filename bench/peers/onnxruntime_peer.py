#!/usr/bin/env python3
"""onnxruntime as a peer (see protocol.py): all graph optimisations, inputs and outputs bound beforehand.

    onnxruntime_peer.py MODEL --threads 2 --shape input_ids=1x256 --high 50257
"""

import argparse
import os
import sys

import numpy as np
import onnxruntime

import protocol

DTYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_,
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"onnxruntime {onnxruntime.__version__}")
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=1x256")
    parser.add_argument("--ones", action="append", default=[], metavar="NAME", help="an input of ones, as masks are")
    parser.add_argument("--high", type=int, default=2, help="integer inputs are drawn from 0 up to, not including, this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", metavar="FOLDER", help="run once, write inputs and outputs as .npy files, list them, end")
    return parser.parse_args()


def make_session(arguments):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = arguments.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    return onnxruntime.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])


def make_input(value, shapes, arguments, generator):
    """A random array for the graph input VALUE; every size must be known from the model or from --shape."""
    shape = shapes.get(value.name, value.shape)
    if not all(isinstance(size, int) for size in shape):
        raise ValueError(f"input {value.name} has shape {value.shape}: give --shape {value.name}=...")
    if value.type not in DTYPES:
        raise ValueError(f"input {value.name} has type {value.type}")
    dtype = DTYPES[value.type]
    if value.name in arguments.ones:
        return np.ones(shape, dtype)
    if np.issubdtype(dtype, np.floating):
        return np.asarray(generator.standard_normal(shape)).astype(dtype)
    high = 2 if dtype is np.bool_ else arguments.high
    return np.asarray(generator.integers(0, high, shape)).astype(dtype)


def make_inputs(session, arguments):
    """Name -> array, for every input of the model."""
    shapes = dict(protocol.parse_shape(text) for text in arguments.shape)
    known = {value.name for value in session.get_inputs()}
    for name in [*shapes, *arguments.ones]:
        if name not in known:
            raise ValueError(f"the model has no input {name}; it has {', '.join(sorted(known))}")
    generator = np.random.default_rng(arguments.seed)
    return {value.name: make_input(value, shapes, arguments, generator) for value in session.get_inputs()}


def save(arguments):
    """Lines `input NAME FILE` and `output NAME FILE`, of one run."""
    session = make_session(arguments)
    inputs = make_inputs(session, arguments)
    names = [value.name for value in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, inputs)))
    for kind, arrays in (("input", inputs), ("output", outputs)):
        for i, (name, array) in enumerate(arrays.items()):
            path = os.path.join(arguments.save, f"{kind}_{i}.npy")
            np.save(path, array)
            print(kind, name, path)


def prepare(arguments):
    """Every input and output lies in memory that is bound once: a run copies nothing that the model does not."""
    session = make_session(arguments)
    inputs = make_inputs(session, arguments)
    binding = session.io_binding()
    held = []  # a binding does not own what is bound; run() keeps it alive
    for name, array in inputs.items():
        held.append(onnxruntime.OrtValue.ortvalue_from_numpy(array))
        binding.bind_ortvalue_input(name, held[-1])
    names = [value.name for value in session.get_outputs()]
    for name, array in zip(names, session.run(names, inputs)):
        held.append(onnxruntime.OrtValue.ortvalue_from_numpy(array))
        binding.bind_ortvalue_output(name, held[-1])

    def run(_alive=held):
        session.run_with_iobinding(binding)

    return run


if __name__ == "__main__":
    chosen = parse_arguments()
    if chosen.save:
        sys.exit(save(chosen))
    sys.exit(protocol.serve(lambda: prepare(chosen)))
