"""Models of one node and their vectors: what operators.py, contrib.py and quantized.py share."""

import os
import shutil
import string
import zlib
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import vectors

SEED = 23
F16, F32, F64 = np.float16, np.float32, np.float64
I8, I16, I32, I64, U8, U16, BOOL = np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.bool_
LARGEST = np.iinfo(np.int64).max


@dataclass
class Constant:
    """An input that is an initializer of the model."""

    array: np.ndarray


@dataclass
class Case:
    name: str
    inputs: list  # np.ndarray: graph input; Constant, or TensorProto of 4-bit elements: initializer; None: left out
    attributes: dict = field(default_factory=dict)
    outputs: int = 1
    fixed: bool = False  # what the node means hangs on its dims: they are no symbols


def numbers(label, shape, dtype=F32, low=-3.0, high=3.0):
    """Values drawn from LABEL alone; integers span [low, high] too."""
    generator = np.random.default_rng([SEED, zlib.crc32(label.encode())])
    if dtype is BOOL:
        return np.asarray(generator.random(shape) < 0.5)
    if np.issubdtype(dtype, np.integer):
        return np.asarray(generator.integers(int(low), int(high), shape, endpoint=True)).astype(dtype)
    return np.asarray(generator.uniform(low, high, shape)).astype(dtype)


def ints(*values):
    return Constant(np.array(values, dtype=np.int64))


def scalar(value, dtype=I64):
    return Constant(np.array(value, dtype=dtype))


def symbolic_by_name(label, case):
    """Whether the case of this label declares its dims as symbols: every second one or so, whatever other cases there are."""
    return not case.fixed and zlib.crc32(label.encode()) % 2 == 1


def build_model(name, case, symbolic, opsets, ir_version, domain=""):
    """A model of one node NAME of DOMAIN; OPSETS: (domain, version) pairs. Inputs are a, b, c ..., outputs y0, y1 ... without a
    type. With SYMBOLIC every dim of an input is a symbol of its own."""
    inputs, constants, names = [], [], []
    for label, value in zip(string.ascii_lowercase, case.inputs):
        names.append("" if value is None else label)
        if isinstance(value, Constant):
            constants.append(numpy_helper.from_array(value.array, label))
        elif isinstance(value, TensorProto):
            value.name = label
            constants.append(value)
        elif value is not None:
            dims = [f"{label}{axis}" if symbolic else size for axis, size in enumerate(value.shape)]
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            inputs.append(helper.make_tensor_value_info(label, kind, dims))
    outputs = [f"y{index}" for index in range(case.outputs)]
    node = helper.make_node(name, names, outputs, name, domain=domain or None, **case.attributes)
    graph = helper.make_graph([node], name, inputs, [onnx.ValueInfoProto(name=y) for y in outputs], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(*opset) for opset in opsets], ir_version=ir_version)


def fed_inputs(case):
    """The case's graph inputs by name."""
    return {label: value for label, value in zip(string.ascii_lowercase, case.inputs) if isinstance(value, np.ndarray)}


def reference_results(model, fed):
    """onnxruntime's results, name -> array, and its name; the reference evaluator's where it has no kernel for the model."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    typed = onnx.shape_inference.infer_shapes(model)
    for value in typed.graph.output:  # a rank that inference cannot tell stays open
        if not value.type.HasField("tensor_type") and model.graph.name == "Compress":  # inference tells nothing of it
            value.type.tensor_type.elem_type = typed.graph.input[0].type.tensor_type.elem_type
        if not value.type.HasField("tensor_type"):
            raise ValueError(f"{model.graph.name}: output type unknown")
        value.type.tensor_type.ClearField("shape")
    try:
        results, source = vectors.run_onnxruntime(typed, fed), "onnxruntime"
    except (state.NotImplemented, state.Fail, state.InvalidGraph, state.InvalidArgument, state.RuntimeException):
        with np.errstate(all="ignore"):
            results, source = vectors.run_reference(model, fed), "reference"
    return {name: np.asarray(array) for name, array in results.items()}, source


def write_model(folder, model, case, results, symbolic, kind=None):
    """Writes FOLDER anew: the model, its outputs declared as the results are (or of element type KIND), and the one case."""
    for value in model.graph.output:
        array = results[value.name]
        shape = [f"{value.name}_{axis}" for axis in range(array.ndim)] if symbolic else array.shape
        element = kind or helper.np_dtype_to_tensor_dtype(array.dtype)
        value.CopyFrom(helper.make_tensor_value_info(value.name, element, shape))
    shutil.rmtree(folder, ignore_errors=True)
    vectors.write_case(folder, fed_inputs(case), results)
    with open(os.path.join(folder, "model.onnx"), "wb") as file:
        file.write(model.SerializeToString())
