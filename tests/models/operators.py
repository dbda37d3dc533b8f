#!/usr/bin/env python3
"""Writes ops/OPERATOR_VERSION_CASE: one-operator models for each since_version of the operators that Transformer
exports contain, with vectors by onnxruntime, or by ONNX's reference evaluator where onnxruntime has no kernel.

A model's opset is the operator's since_version, or 9 where that is older. Every second case declares its input
dims as symbols of their own, so that nothing about broadcasting is known before the run.
    operators.py [--into FOLDER] [--only TEXT]
"""

import argparse
import os
import shutil
import zlib
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper

import vectors

OLDEST, NEWEST, SEED = 9, 24, 23
F16, F32, F64 = np.float16, np.float32, np.float64
I8, I32, I64, U8, BOOL = np.int8, np.int32, np.int64, np.uint8, np.bool_
LARGEST = np.iinfo(np.int64).max


@dataclass
class Constant:
    """An input that is an initializer of the model."""

    array: np.ndarray


@dataclass
class Case:
    name: str
    inputs: list  # np.ndarray: graph input; Constant: initializer; None: left out
    attributes: dict = field(default_factory=dict)
    outputs: int = 1


# Whose later versions only allow more element types: these have no case that an earlier version has.
UNCHANGED = {"Tan", "Sinh", "Cosh", "Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh", "ConvTranspose", "DepthToSpace",
             "SpaceToDepth", "GridSample", "GRU", "LRN", "Loop", "LpNormalization", "LSTM",
             "MeanVarianceNormalization", "RNN", "Scan", "ScatterElements", "ScatterND"}
OPERATORS = {}  # operator -> function of its since_version that yields cases


def operator(*names):
    def register(function):
        for name in names:
            OPERATORS[name] = (lambda version, name=name: function(name, version))
        return function

    return register


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


# ---- elementwise ---------------------------------------------------------------------------------------------


@operator("Add", "Sub", "Mul")
def arithmetic(name, version):
    for case, shape_a, shape_b, dtype in [
        ("same", (2, 3), (2, 3), F32), ("row", (2, 3, 4), (4,), F32), ("both", (3, 1, 5), (1, 2, 1), F32),
        ("scalar", (), (), F32), ("scalar_left", (), (2, 3), F32), ("empty", (0, 3), (1, 3), F32),
        ("i64", (4,), (3, 1), I64), ("i32", (2, 2), (2, 2), I32), ("f16", (2, 5), (5,), F16),
        ("f64", (3,), (2, 3), F64), ("odd", (7, 33), (7, 33), F32),
    ]:
        yield Case(case, [numbers(name + "a", shape_a, dtype), numbers(name + "b", shape_b, dtype)])
    if version >= 14:
        yield Case("u8_wraps", [numbers("a", (6,), U8, 0, 255), numbers("b", (6,), U8, 0, 255)])


@operator("Div")
def division(name, version):
    yield Case("row", [numbers("a", (2, 3)), numbers("b", (3,), low=0.5)])
    yield Case("zero", [np.array([1, -1, 0, 2], F32), np.array([0, 0, 0, -4], F32)])
    yield Case("f16", [numbers("a", (3, 2), F16), numbers("b", (1, 2), F16, 0.5)])
    for dtype, label in ((I64, "i64"), (I32, "i32")):
        yield Case(f"{label}_truncates", [np.array([7, -7, 7, -7, 0], dtype), np.array([2, 2, -2, -2, 5], dtype)])
    yield Case("f64", [numbers("a", (4,), F64), numbers("b", (), F64, 0.5)])


@operator("Pow")
def power(name, version):
    yield Case("square", [numbers("a", (2, 3)), Constant(np.array(2.0, F32))])
    yield Case("cube", [numbers("a", (2, 3)), Constant(np.array(3.0, F32))])
    yield Case("half", [numbers("a", (5,), low=0.0), Constant(np.array([0.5], F32))])
    yield Case("broadcast", [numbers("a", (2, 1), low=0.1), numbers("b", (1, 4))])
    yield Case("edges", [np.array([0, 0, 1, -2, np.inf, 2], F32), np.array([0, 2, np.inf, 3, -1, np.inf], F32)])
    if version >= 12:
        yield Case("mixed", [numbers("a", (2, 3)), np.array([2, 1, 3], I64)])
        yield Case("i64", [numbers("a", (4,), I64), np.array([3, 2, 1, 0], I64)])


@operator("Mod")
def modulo(name, version):
    a, b = np.array([7, -7, 7, -7, 4, 0]), np.array([3, 3, -3, -3, 2, 5])
    yield Case("i64", [a.astype(I64), b.astype(I64)])
    yield Case("i32_fmod", [a.astype(I32), b.astype(I32)], {"fmod": 1})
    yield Case("f32_fmod", [numbers("a", (2, 3)), numbers("b", (3,), low=0.3)], {"fmod": 1})
    yield Case("broadcast", [numbers("a", (2, 3), I64, -9, 9), np.array(4, I64)])


UNARY = {
    "Sqrt": (0.0, 4.0), "Erf": (-3, 3), "Tanh": (-4, 4), "Sigmoid": (-8, 8), "Exp": (-5, 5), "Log": (0.1, 5),
    "Neg": (-3, 3),
    "Abs": (-3, 3), "Reciprocal": (0.3, 3), "Floor": (-3, 3), "Ceil": (-3, 3), "Relu": (-3, 3), "Sin": (-9, 9),
    "Cos": (-9, 9), "Softplus": (-20, 20), "Sign": (-2, 2), "Swish": (-6, 6), "Gelu": (-4, 4),
}
SPECIAL = {  # values where a polynomial or a clamp would be caught
    "Sqrt": [0.0, -0.0, 1e-38, np.inf, np.nan], "Erf": [-np.inf, -6, -1e-5, 0, 1e-30, 6, np.inf, np.nan],
    "Tanh": [-np.inf, -20, -1e-5, 0, 1e-30, 20, np.inf, np.nan], "Sigmoid": [-np.inf, -100, 0, 100, np.inf, np.nan],
    "Exp": [-np.inf, -104, -88, 0, 88, 89, np.inf, np.nan], "Log": [0.0, 1e-38, 1, np.inf, np.nan, -1],
    "Neg": [0.0, -np.inf], "Abs": [-0.0, -np.inf], "Reciprocal": [0.0, -0.0, np.inf, -1e-38],
    "Floor": [-0.5, 0.5, 1e9, -np.inf], "Ceil": [-0.5, 0.5, 1e9, np.inf], "Relu": [-0.0, np.inf, -np.inf],
    "Sin": [0, 1e3, -1e4], "Cos": [0, 1e3, -1e4], "Softplus": [-200, 200, 0, np.inf], "Sign": [0, -np.inf, np.inf],
    "Swish": [-100, 0, 100], "Gelu": [-30, -8, 0, 8, 30],
}


@operator(*UNARY)
def unary(name, version):
    low, high = UNARY[name]
    yield Case("f32", [numbers(name, (3, 17), F32, low, high)])
    yield Case("special", [np.array(SPECIAL[name], F32)])
    yield Case("f16", [numbers(name, (9,), F16, low, high)])
    yield Case("f64", [numbers(name, (2, 3), F64, low, high)])
    yield Case("scalar", [numbers(name, (), F32, low, high)])
    yield Case("empty", [numbers(name, (2, 0, 3), F32, low, high)])
    if name in ("Neg", "Abs", "Sign", "Relu"):
        yield Case("i64", [np.array([-5, 0, 7], I64)])
        yield Case("i32", [np.array([-5, 0, 7], I32)])
    if name == "Gelu":
        yield Case("tanh", [numbers(name, (3, 17))], {"approximate": "tanh"})
    if name == "Swish":
        yield Case("alpha", [numbers(name, (3, 5))], {"alpha": 1.702})


INVERSE = {"Asin": (-0.9, 0.9), "Acos": (-0.9, 0.9), "Acosh": (1.0, 5.0), "Atanh": (-0.9, 0.9)}


@operator("Tan", "Sinh", "Cosh", "Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh")
def trigonometry(name, version):
    low, high = INVERSE.get(name, (-1.4, 1.4))
    yield Case("f32", [numbers(name, (3, 7), F32, low, high)])
    special = {"Acosh": [1, 1e9, 0, np.nan]}.get(name, [0, -1, 1, 1e-6, np.nan])
    yield Case("special", [np.array(special, F32)])


@operator("BitwiseAnd", "BitwiseOr", "BitwiseXor")
def bits(name, version):
    yield Case("i32", [numbers("a", (2, 3), I32, -99, 99), numbers("b", (3,), I32, -99, 99)])
    yield Case("u8", [numbers("a", (5,), U8, 0, 255), numbers("b", (5,), U8, 0, 255)])


@operator("BitwiseNot")
def bits_inverted(name, version):
    yield Case("i64", [numbers("a", (2, 3), I64, -99, 99)])
    yield Case("u8", [numbers("a", (5,), U8, 0, 255)])


@operator("Min", "Max")
def extremes(name, version):
    yield Case("two", [numbers("a", (2, 3)), numbers("b", (3,))])
    yield Case("three", [numbers("a", (2, 1)), numbers("b", (3,)), numbers("c", (1, 1, 3))])
    yield Case("one", [numbers("a", (4,))])
    yield Case("nan", [np.array([1, np.nan, 3], F32), np.array([2, 2, np.nan], F32)])
    yield Case("f64", [numbers("a", (2,), F64), numbers("b", (), F64)])
    for dtype, label in ((I64, "i64"), (I32, "i32"), (F16, "f16")):
        yield Case(label, [numbers("a", (5,), dtype), numbers("b", (5,), dtype)])


@operator("Clip")
def clip(name, version):
    x = numbers("x", (3, 5))
    if version < 11:
        yield Case("both", [x], {"min": -1.0, "max": 1.5})
        yield Case("none", [x])
        return
    yield Case("both", [x, scalar(-1.0, F32), scalar(1.5, F32)])
    yield Case("low", [x, scalar(-1.0, F32)])
    yield Case("high", [x, None, scalar(0.5, F32)])
    yield Case("none", [x])
    yield Case("run_time", [x, np.array(-0.5, F32), np.array(0.5, F32)])
    yield Case("f64", [numbers("x", (4,), F64), scalar(-1.0, F64), scalar(1.0, F64)])
    yield Case("i64", [np.array([-9, 0, 9], I64), scalar(-2), scalar(3)])


@operator("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual")
def comparison(name, version):
    for dtype, label in ((F32, "f32"), (I64, "i64"), (I32, "i32"), (F16, "f16"), (F64, "f64")):
        a, b = numbers("a", (3, 4), dtype), numbers("b", (4,), dtype)
        if dtype is not I64 and dtype is not I32:
            b[1] = a[1, 1]
        yield Case(label, [a, b])
    yield Case("scalar", [np.array(2, I64), np.array([1, 2, 3], I64)])
    yield Case("nan", [np.array([np.nan, 1, np.inf], F32), np.array([np.nan, 1, np.inf], F32)])
    if name == "Equal":
        yield Case("bool", [numbers("a", (5,), BOOL), numbers("b", (5,), BOOL)])


@operator("And", "Or")
def logic(name, version):
    yield Case("row", [numbers("a", (3, 4), BOOL), numbers("b", (4,), BOOL)])
    yield Case("grid", [numbers("a", (2, 1, 5, 1), BOOL), numbers("b", (1, 1, 1, 5), BOOL)])


@operator("Not")
def negation(name, version):
    yield Case("matrix", [numbers("a", (3, 4), BOOL)])
    yield Case("scalar", [np.array(True)])


@operator("IsNaN")
def is_nan(name, version):
    yield Case("f32", [np.array([[np.nan, 1, np.inf], [0, -np.inf, -np.nan]], F32)])
    yield Case("f16", [np.array([np.nan, 1], F16)])


@operator("Where")
def where(name, version):
    for dtype, label in ((F32, "f32"), (I64, "i64"), (BOOL, "bool"), (F16, "f16"), (I32, "i32")):
        yield Case(label, [numbers("c", (2, 3), BOOL), numbers("a", (2, 3), dtype), numbers("b", (3,), dtype)])
    yield Case("all_broadcast", [numbers("c", (3, 1), BOOL), numbers("a", (1, 4)), numbers("b", (2, 1, 1))])
    yield Case("scalar", [numbers("c", (1, 1, 5, 5), BOOL), numbers("a", (2, 3, 5, 5)), scalar(np.finfo(F32).min, F32)])
    yield Case("nan_not_taken", [np.array([True, False]), np.array([1, np.nan], F32), np.array([np.inf, 2], F32)])


@operator("Cast")
def cast(name, version):
    reals = np.array([-2.7, -0.5, 0.0, 0.4, 1.5, 99.9], F32)
    to = {"f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16, "f64": TensorProto.DOUBLE, "i64": TensorProto.INT64,
          "i32": TensorProto.INT32, "bool": TensorProto.BOOL, "u8": TensorProto.UINT8, "i8": TensorProto.INT8}
    for label in ("i64", "i32", "f16", "f64", "bool", "f32"):
        yield Case(f"f32_{label}", [reals], {"to": to[label]})
    for label in ("f32", "i32", "bool", "f16", "u8"):
        yield Case(f"i64_{label}", [np.array([0, 1, 2, 77, 200], I64)], {"to": to[label]})
    for label in ("f32", "i64", "i32"):
        yield Case(f"bool_{label}", [numbers("x", (2, 3), BOOL)], {"to": to[label]})
    yield Case("f16_f32", [np.array([1.5, -0.1, 65504, np.inf, 6e-8], F16)], {"to": to["f32"]})
    halves = np.array([1 + 2**-11, 1 + 3 * 2**-11, 65519, 65520, 1e-8, 6e-5], F32)
    yield Case("f32_f16_rounds", [halves], {"to": to["f16"]})
    yield Case("f64_f32", [np.array([0.1, 1e300, -1e-60, np.nan], F64)], {"to": to["f32"]})
    yield Case("u8_bool", [np.array([0, 1, 255], U8)], {"to": to["bool"]})
    if version >= 13:
        yield Case("f32_bf16_f32", [np.array([1 + 2**-8, 1 + 3 * 2**-8, 3e38], F32)], {"to": to["f32"]})


@operator("Identity")
def identity(name, version):
    yield Case("f32", [numbers("x", (2, 3))])
    yield Case("i64", [np.array(5, I64)])


@operator("Dropout")
def dropout(name, version):
    yield Case("plain", [numbers("x", (2, 3))])
    if version < 12:
        yield Case("ratio", [numbers("x", (2, 3))], {"ratio": 0.3})
    else:
        yield Case("ratio", [numbers("x", (2, 3)), scalar(0.3, F32)])
        yield Case("mode_off", [numbers("x", (2, 3)), scalar(0.3, F32), scalar(False, BOOL)])
        yield Case("mask", [numbers("x", (4,))], {}, 2)


# ---- movement ------------------------------------------------------------------------------------------------


@operator("Gather")
def gather(name, version):
    table = numbers("x", (7, 4))
    yield Case("rows", [table, np.array([[0, 6, 3], [2, 2, 5]], I64)])
    yield Case("axis1_i32", [numbers("x", (2, 5, 3)), np.array([4, 0], I32)], {"axis": 1})
    yield Case("axis_negative", [numbers("x", (2, 5, 3)), np.array([[1], [2]], I64)], {"axis": -1})
    yield Case("scalar_index", [np.array([4, 5, 6], I64), scalar(1)])
    yield Case("empty", [table, np.zeros((0,), I64)])
    yield Case("bool", [numbers("x", (4, 3), BOOL), np.array([3, 1], I64)])
    if version >= 11:
        yield Case("negative_index", [table, np.array([-1, -7, 0], I64)])


@operator("GatherND")
def gather_nd(name, version):
    yield Case("elements", [numbers("x", (3, 4)), np.array([[0, 1], [2, 3], [1, 0]], I64)])
    yield Case("rows", [numbers("x", (3, 4)), np.array([[2], [0]], I64)])
    yield Case("negative", [numbers("x", (3, 4)), np.array([[-1, -4]], I64)])
    grid = np.stack(np.broadcast_arrays(np.arange(2)[:, None, None, None], np.arange(5)[None, None, None]), -1)
    yield Case("mask_grid", [numbers("x", (2, 5), BOOL), np.broadcast_to(grid, (2, 1, 5, 5, 2)).astype(I64)])
    yield Case("i64", [numbers("x", (2, 2, 2), I64), np.array([[[0, 1]], [[1, 0]]], I64)])


@operator("Slice")
def slicing(name, version):
    x = numbers("x", (5, 6, 7))
    forms = [
        ("plain", [1], [4], [0], None), ("axes", [0, 2], [3, 5], [2, 0], None), ("to_end", [2], [LARGEST], [1], None),
        ("negative", [-3], [-1], [2], None), ("beyond", [1], [1000], [0], None), ("nothing", [3], [2], [1], None),
        ("default_axes", [0, 1, 2], [2, 3, 4], None, None), ("far_negative", [-1000], [2], [0], None),
    ]
    if version >= 10:
        forms += [("step", [0], [6], [1], [2]), ("backwards", [-1], [-1000], [1], [-1]),
                  ("backwards_step", [5], [0], [1], [-2]), ("negative_axis", [1], [3], [-1], [1])]
    for label, starts, ends, axes, steps in forms:
        if version < 10:
            attributes = {"starts": starts, "ends": ends, **({"axes": axes} if axes else {})}
            yield Case(label, [x], attributes)
            continue
        inputs = [x, ints(*starts), ints(*ends)]
        if axes is not None or steps is not None:
            inputs.append(ints(*axes) if axes is not None else None)
        if steps is not None:
            inputs.append(ints(*steps))
        yield Case(label, inputs)
    if version >= 10:
        yield Case("i32_bounds", [numbers("x", (6,), I64)] + [Constant(np.array([v], I32)) for v in (1, 5, 0, 2)])
        yield Case("run_time", [numbers("x", (6, 2)), np.array([1], I64), np.array([4], I64), np.array([0], I64)])


@operator("Split")
def split(name, version):
    x = numbers("x", (2, 7, 6))
    if version < 13:
        yield Case("sizes", [x], {"axis": 1, "split": [2, 4, 1]}, 3)
        yield Case("last", [x], {"axis": -1 if version >= 11 else 2, "split": [3, 3]}, 2)
        yield Case("equal", [x], {"axis": 2}, 3)
        return
    equal = {"num_outputs": 3} if version >= 18 else {}
    yield Case("sizes", [x, ints(2, 4, 1)], {"axis": 1}, 3)
    yield Case("last", [x, ints(3, 3)], {"axis": -1}, 2)
    yield Case("zero", [x, ints(0, 7)], {"axis": 1}, 2)
    yield Case("equal", [x], {"axis": 2, **equal}, 3)
    if version >= 18:
        yield Case("uneven", [x], {"axis": 1, "num_outputs": 3}, 3)


@operator("Concat")
def concat(name, version):
    yield Case("last", [numbers("a", (2, 3)), numbers("b", (2, 1))], {"axis": 1})
    yield Case("first", [numbers("a", (1, 3)), numbers("b", (4, 3)), numbers("c", (2, 3))], {"axis": 0})
    yield Case("one", [numbers("a", (2, 3))], {"axis": 0})
    yield Case("empty", [numbers("a", (2, 0, 3)), numbers("b", (2, 2, 3))], {"axis": 1})
    yield Case("i64", [np.array([-1], I64), ints(7), np.array([3, 4], I64)], {"axis": 0})
    if version >= 11:
        yield Case("negative", [numbers("a", (2, 3)), numbers("b", (2, 3))], {"axis": -1})


@operator("Transpose")
def transpose(name, version):
    yield Case("heads", [numbers("x", (2, 5, 3, 4))], {"perm": [0, 2, 1, 3]})
    yield Case("reverse", [numbers("x", (2, 3, 4))])
    yield Case("key", [numbers("x", (2, 5, 3, 4), F16)], {"perm": [0, 2, 3, 1]})
    yield Case("i64", [numbers("x", (3, 5), I64)], {"perm": [1, 0]})
    yield Case("odd", [numbers("x", (33, 17))], {"perm": [1, 0]})


@operator("Reshape")
def reshape(name, version):
    x = numbers("x", (2, 3, 4))
    yield Case("infer", [x, ints(2, -1)])
    yield Case("copy", [x, ints(0, 0, 2, 2)])
    yield Case("copy_infer", [x, ints(0, -1)])
    yield Case("scalar", [numbers("x", (1, 1)), Constant(np.zeros((0,), I64))])
    yield Case("run_time", [x, np.array([4, 6], I64)])
    if version >= 14:
        yield Case("allowzero", [numbers("x", (0, 3)), ints(3, 0)], {"allowzero": 1})


@operator("Flatten")
def flatten(name, version):
    for axis in (0, 1, 2, 3) + ((-1, -2) if version >= 11 else ()):
        yield Case(f"axis{axis}".replace("-", "_minus"), [numbers("x", (2, 3, 4))], {"axis": axis})


@operator("Expand")
def expand(name, version):
    yield Case("rows", [numbers("x", (3, 1)), ints(3, 4)])
    yield Case("rank", [numbers("x", (3,)), ints(2, 1, 3)])
    yield Case("smaller_target", [numbers("x", (2, 3)), ints(1, 1)])
    yield Case("both", [numbers("x", (2, 1, 3)), ints(4, 1)])
    yield Case("bool", [numbers("x", (1, 1, 3), BOOL), ints(2, 2, 3)])
    yield Case("run_time", [numbers("x", (1, 3), I64), np.array([2, 3], I64)])
    yield Case("empty", [numbers("x", (1, 3)), ints(0, 3)])


@operator("Squeeze", "Unsqueeze")
def squeeze(name, version):
    forms = [("front", [0]), ("two", [0, 2])] + ([("negative", [-1])] if version >= 11 else [])
    for label, axes in forms:
        rank = 4 if name == "Squeeze" else 3 + len(axes)
        shape = [2, 3, 4, 5][:rank]
        for axis in axes:
            shape[axis] = 1
        if name == "Unsqueeze":
            positions = {axis % rank for axis in axes}
            shape = [size for position, size in enumerate(shape) if position not in positions]
        x = numbers("x", shape)
        yield Case(label, [x, ints(*axes)] if version >= 13 else [x], {} if version >= 13 else {"axes": axes})
    if name == "Squeeze":
        yield Case("all", [numbers("x", (1, 3, 1))])
    else:
        value = np.array(7, I64)
        yield Case("scalar", [value, ints(0)] if version >= 13 else [value], {} if version >= 13 else {"axes": [0]})


@operator("Shape")
def shape_of(name, version):
    yield Case("three", [numbers("x", (2, 3, 4))])
    yield Case("scalar", [numbers("x", ())])
    yield Case("zero", [numbers("x", (0, 3))])
    if version >= 15:
        yield Case("start", [numbers("x", (2, 3, 4))], {"start": 1})
        yield Case("range", [numbers("x", (2, 3, 4))], {"start": -2, "end": -1})
        yield Case("beyond", [numbers("x", (2, 3, 4))], {"start": -9, "end": 9})


@operator("Size")
def size_of(name, version):
    yield Case("three", [numbers("x", (2, 3, 4))])
    yield Case("zero", [numbers("x", (0, 3))])


@operator("ConstantOfShape")
def constant_of_shape(name, version):
    def value(number, dtype):
        return {"value": numpy_helper.from_array(np.array([number], dtype))}

    yield Case("default", [ints(2, 3)])
    yield Case("i64", [ints(4)], value(-1, I64))
    yield Case("bool", [ints(2, 2)], value(True, BOOL))
    yield Case("scalar", [Constant(np.zeros((0,), I64))], value(2.5, F32))
    yield Case("run_time", [np.array([3, 2], I64)], value(np.finfo(F32).min, F32))
    yield Case("empty", [ints(0, 3)])


@operator("Constant")
def constant(name, version):
    yield Case("tensor", [], {"value": numpy_helper.from_array(numbers("x", (2, 3)))})
    yield Case("scalar", [], {"value": numpy_helper.from_array(np.array(-7, I64))})
    if version >= 12:
        yield Case("value_int", [], {"value_int": 42})
        yield Case("value_ints", [], {"value_ints": [1, -1]})
        yield Case("value_float", [], {"value_float": 0.25})
        yield Case("value_floats", [], {"value_floats": [0.5, 1.5]})


@operator("Range")
def arange(name, version):
    for label, start, limit, step, dtype in [
        ("plain", 0, 6, 1, I64), ("step", 1, 10, 3, I64), ("down", 5, -2, -2, I64), ("nothing", 4, 2, 1, I64),
        ("f32", 0.5, 3.0, 0.6, F32), ("i32", 0, 5, 2, I32),
    ]:
        yield Case(label, [scalar(v, dtype) for v in (start, limit, step)])
    yield Case("run_time", [np.array(v, I64) for v in (2, 9, 2)])


@operator("Tile")
def tile(name, version):
    yield Case("two", [numbers("x", (2, 3)), ints(2, 3)])
    yield Case("one", [numbers("x", (2, 3)), ints(1, 1)])
    yield Case("none", [numbers("x", (2, 3)), ints(0, 2)])
    yield Case("i64", [numbers("x", (1, 2), I64), ints(3, 1)])


@operator("Pad")
def pad(name, version):
    x = numbers("x", (2, 3))
    if version < 11:
        yield Case("default", [x], {"pads": [0, 1, 2, 0]})
        yield Case("value", [x], {"pads": [1, 1, 1, 1], "value": -1.5})
        return
    yield Case("default", [x, ints(0, 1, 2, 0)])
    yield Case("value", [x, ints(1, 1, 1, 1), scalar(-1.5, F32)])
    yield Case("negative", [numbers("x", (4, 5)), ints(-1, 1, 0, -2)])
    yield Case("i64", [numbers("x", (2, 2), I64), ints(1, 0, 0, 1), scalar(9)])
    if version >= 18:
        yield Case("axes", [x, ints(1, 2), None, ints(-1)])


@operator("Trilu")
def trilu(name, version):
    x = numbers("x", (2, 4, 5))
    for label, k, upper in [
        ("upper", None, 1), ("lower", None, 0), ("upper1", 1, 1), ("lower_down", -1, 0), ("beyond", 9, 1),
        ("lower_up", 2, 0), ("upper_down", -2, 1),
    ]:
        yield Case(label, [x] + ([] if k is None else [scalar(k)]), {"upper": upper})
    yield Case("i64", [numbers("x", (3, 3), I64)], {"upper": 0})
    yield Case("run_time", [x, np.array(1, I64)], {"upper": 1})
    yield Case("infinity", [np.full((3, 3), -np.inf, F32), scalar(1)], {"upper": 1})


@operator("ScatterND")
def scatter_nd(name, version):
    x = numbers("x", (4, 3))
    yield Case("elements", [x, np.array([[0, 1], [-1, 2]], I64), numbers("u", (2,))])
    yield Case("rows", [x, Constant(np.array([[2], [0]], I64)), numbers("u", (2, 3))])
    box = np.stack(np.meshgrid([1, 2], [0, 1, 2, 3, 4], [0, 1, 2], indexing="ij"), -1).astype(I64)
    yield Case("box", [numbers("x", (4, 5, 6)), Constant(box), numbers("u", (2, 5, 3))])
    turned = np.moveaxis(box, 0, 1)
    yield Case("box_turned", [numbers("x", (4, 5, 6)), Constant(turned), numbers("u", (5, 2, 3))])
    yield Case("last_of_equal", [numbers("x", (4,), I64), np.array([[1], [3], [1], [-3]], I64), numbers("u", (4,), I64)])
    if version >= 16:
        for how in ("add", "mul") + (("min", "max") if version >= 18 else ()):
            yield Case(how, [x, Constant(np.array([[1], [3], [1]], I64)), numbers("u", (3, 3))], {"reduction": how})


@operator("ScatterElements", "Scatter")
def scatter_elements(name, version):
    if name == "Scatter" and version >= 11:
        return  # it has another name since then
    x, at = numbers("x", (3, 4)), np.array([[1, 0, 2], [0, 2, 1]], I64)
    yield Case("axis0", [x, at, numbers("u", (2, 3))])
    yield Case("axis1", [x, np.array([[1, 3], [0, 2], [2, 0]], I32), numbers("u", (3, 2))], {"axis": 1})
    if version >= 16:
        same = np.array([[1, -3, 1], [0, 0, 0], [3, 2, 3]], I64)
        for how in ("add", "mul") + (("min", "max") if version >= 18 else ()):
            yield Case(how, [x, same, numbers("u", (3, 3))], {"reduction": how, "axis": 1})


@operator("TensorScatter")
def tensor_scatter(name, version):
    cache, update = numbers("x", (2, 3, 5, 2)), numbers("u", (2, 3, 2, 2))
    yield Case("linear", [cache, update, np.array([0, 3], I64)])
    yield Case("circular", [cache, update, np.array([4, 1], I64)], {"mode": "circular"})
    yield Case("start", [cache[0], update[0]], {"axis": 1})


@operator("DepthToSpace", "SpaceToDepth")
def blocks(name, version):
    x = numbers("x", (2, 8, 2, 3) if name == "DepthToSpace" else (2, 3, 4, 6))
    yield Case("plain", [x], {"blocksize": 2})
    if name == "DepthToSpace" and version >= 11:
        yield Case("crd", [Constant(x)], {"blocksize": 2, "mode": "CRD"})


@operator("CenterCropPad")
def center_crop_pad(name, version):
    yield Case("both", [numbers("x", (5, 4, 7)), ints(2, 7, 7)])
    yield Case("axes", [numbers("x", (5, 4, 7)), ints(8, 4)], {"axes": [0, -1]})


@operator("ReverseSequence")
def reverse_sequence(name, version):
    x = numbers("x", (4, 3, 2))
    yield Case("time_first", [x, np.array([4, 1, 2], I64)])
    yield Case("batch_first", [x, np.array([3, 1, 2, 2], I64)], {"batch_axis": 0, "time_axis": 1})


@operator("Resize")
def resize(name, version):
    x = numbers("x", (1, 2, 4, 5))
    scales = Constant(np.array([1, 1, 2, 0.6], F32))
    if version < 11:
        yield Case("nearest", [x, Constant(np.array([1, 1, 3, 2], F32))], {"mode": "nearest"})
        yield Case("linear", [x, Constant(np.array([1, 1, 2, 0.5], F32))], {"mode": "linear"})
        return
    roi = Constant(np.zeros((0,), F32))
    for mode in ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"):
        yield Case(f"nearest_{mode}", [x, roi, scales], {"coordinate_transformation_mode": mode})
        yield Case(f"linear_{mode}", [x, roi, Constant(np.array([1, 1, 0.5, 3], F32))],
                   {"coordinate_transformation_mode": mode, "mode": "linear"})
    yield Case("cubic", [x, roi, Constant(np.zeros((0,), F32)), ints(1, 2, 7, 3)], {"mode": "cubic"})
    crop = Constant(np.array([0, 0, 0.2, 0.4, 1, 1, 0.9, 1.5], F32))
    attributes = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    yield Case("crop", [x, crop, Constant(np.zeros((0,), F32)), ints(1, 2, 3, 6)], attributes)
    if version >= 18:
        yield Case("antialias", [x, None, Constant(np.array([0.5, 0.6], F32))],
                   {"mode": "linear", "antialias": 1, "axes": [2, 3]})


@operator("Upsample")
def upsample(name, version):
    x = numbers("x", (1, 2, 3, 2))
    if version < 10:
        yield Case("nearest", [x, Constant(np.array([1, 1, 2, 3], F32))])
        yield Case("linear", [x, Constant(np.array([1, 1, 2, 2], F32))], {"mode": "linear"})


@operator("ConvTranspose")
def conv_transpose(name, version):
    x, w = numbers("x", (2, 4, 5, 3)), numbers("w", (4, 3, 3, 2))
    yield Case("plain", [x, w, numbers("b", (3,))])
    yield Case("strides", [x, Constant(w)], {"strides": [2, 3], "pads": [1, 0, 2, 1], "output_padding": [1, 0]})
    yield Case("groups", [x, w], {"group": 2, "dilations": [2, 1], "strides": [2, 1]})
    if version < 22:  # which onnxruntime has no kernel of, and the evaluator refuses
        yield Case("shape", [x, Constant(w)], {"output_shape": [10, 5], "strides": [2, 2]})
        yield Case("same", [x, w], {"auto_pad": "SAME_UPPER", "strides": [2, 2]})
    yield Case("one_axis", [numbers("x", (1, 2, 4)), Constant(numbers("w", (2, 2, 3)))], {"strides": [4]})


@operator("Col2Im")
def col2im(name, version):
    yield Case("overlap", [numbers("x", (2, 12, 6)), ints(4, 5), ints(2, 3)], {"pads": [0, 0, 0, 0], "strides": [2, 1]})
    yield Case("pads", [Constant(numbers("x", (1, 8, 9))), ints(4, 4), ints(2, 2)],
               {"pads": [1, 0, 1, 0], "strides": [2, 1], "dilations": [1, 1]})


@operator("LpPool")
def lp_pool(name, version):
    yield Case("two", [numbers("x", (1, 2, 5, 6))], {"kernel_shape": [2, 3], "strides": [2, 1]})
    yield Case("three", [numbers("x", (1, 2, 7))], {"kernel_shape": [3], "p": 3, "pads": [1, 1]})


@operator("GlobalLpPool")
def global_lp_pool(name, version):
    if version < 22:  # neither onnxruntime nor the evaluator has it
        yield Case("one", [numbers("x", (2, 3, 4, 5))], {"p": 1})


@operator("LRN")
def local_response(name, version):
    yield Case("odd", [numbers("x", (2, 5, 3, 2))], {"size": 3, "alpha": 0.5})
    yield Case("all", [numbers("x", (1, 4, 2, 2))], {"size": 7, "beta": 0.5, "bias": 2.0})


@operator("LpNormalization")
def lp_normalization(name, version):
    yield Case("two", [numbers("x", (3, 4))], {"axis": 1})
    yield Case("one", [numbers("x", (3, 4, 2))], {"axis": 1, "p": 1})


@operator("MeanVarianceNormalization")
def mean_variance(name, version):
    yield Case("usual", [numbers("x", (2, 3, 4, 5))])
    yield Case("axes", [numbers("x", (2, 3, 4))], {"axes": [0, 2]})


@operator("Hardmax")
def hardmax(name, version):
    x = np.array([[1, 3, 3], [2, -1, 2]], F32)
    yield Case("ties", [x])
    yield Case("axis", [numbers("x", (2, 3, 4))], {"axis": 1})


@operator("Shrink")
def shrink(name, version):
    yield Case("soft", [numbers("x", (3, 5))], {"lambd": 1.5, "bias": 1.5})


@operator("BitShift")
def bit_shift(name, version):
    x, by = np.array([1, 200, 255, 16], U8), np.array([7, 1, 0, 4], U8)
    yield Case("left", [x, by], {"direction": "LEFT"})
    yield Case("right", [x, by], {"direction": "RIGHT"})


@operator("HannWindow", "HammingWindow", "BlackmanWindow")
def window(name, version):
    yield Case("periodic", [scalar(9)])
    yield Case("symmetric", [scalar(8)], {"periodic": 0})


@operator("DFT")
def fourier(name, version):
    axis = {"axis": 1} if version < 20 else {}
    last = [None, scalar(1)] if version >= 20 else []
    yield Case("complex", [numbers("x", (2, 5, 3, 2)), *last], axis)
    yield Case("inverse", [Constant(numbers("x", (1, 8, 2))), *last], {**axis, "inverse": 1})
    yield Case("real", [numbers("x", (2, 6, 1)), *last], {**axis, "onesided": 1})


def body(nodes, inputs, outputs, initializers=()):
    def named(names):
        return [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in names]

    return helper.make_graph(nodes, "body", named(inputs), named(outputs), list(initializers))


@operator("Loop")
def loop(name, version):
    f, b, i = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
    grows = body([helper.make_node("Cast", ["i"], ["k"], to=f), helper.make_node("Mul", ["x", "k"], ["y"]),
                  helper.make_node("Add", ["y", "x"], ["x_out"]), helper.make_node("Identity", ["go"], ["go_out"])],
                 [("i", i, []), ("go", b, []), ("x", f, [2, 3])],
                 [("go_out", b, []), ("x_out", f, [2, 3]), ("y", f, [2, 3])])
    if version >= 11:
        yield Case("turns", [scalar(4), scalar(True, BOOL), numbers("x", (2, 3))], {"body": grows}, 2)


@operator("Scan")
def scan(name, version):
    f = TensorProto.FLOAT
    sums = body([helper.make_node("Add", ["s", "x"], ["s_out"]), helper.make_node("Mul", ["s_out", "x"], ["y"])],
                [("s", f, [3]), ("x", f, [3])], [("s_out", f, [3]), ("y", f, [3])])
    yield Case("sums", [numbers("s", (3,)), numbers("x", (4, 3))], {"body": sums, "num_scan_inputs": 1}, 2)
    if version >= 9:
        turned = {"body": sums, "num_scan_inputs": 1, "scan_input_axes": [1], "scan_input_directions": [1],
                  "scan_output_axes": [1]}
        yield Case("backwards", [numbers("s", (3,)), Constant(numbers("x", (3, 4)))], turned, 2)


@operator("RNN", "GRU", "LSTM")
def recurrent(name, version):
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[name]
    steps, batch, width, hidden = 3, 2, 4, 5
    x = numbers("x", (steps, batch, width))

    def weights(directions):
        return [Constant(numbers("w", (directions, gates * hidden, width), low=-1, high=1)),
                Constant(numbers("r", (directions, gates * hidden, hidden), low=-1, high=1)),
                Constant(numbers("b", (directions, 2 * gates * hidden), low=-1, high=1))]

    outputs = 3 if name == "LSTM" else 2
    attributes = {"hidden_size": hidden}
    yield Case("plain", [x, *weights(1)], attributes, outputs)
    both = [Constant(x), *weights(2), Constant(np.array([3, 1], I32)), numbers("h", (2, batch, hidden))]
    yield Case("both_lengths", both, {**attributes, "direction": "bidirectional"}, outputs)
    if name == "GRU":
        yield Case("late_reset", [x, *weights(1)], {**attributes, "linear_before_reset": 1, "direction": "reverse"}, 2)
    if name == "LSTM":
        state = [Constant(numbers("h", (1, batch, hidden))), Constant(numbers("c", (1, batch, hidden)))]
        peep = Constant(numbers("p", (1, 3 * hidden)))
        yield Case("peepholes", [x, *weights(1), None, *state, peep], attributes, 3)


@operator("GridSample")
def grid_sample(name, version):
    x, grid = numbers("x", (2, 3, 4, 5)), numbers("g", (2, 3, 2, 2), low=-1.3, high=1.3)
    for mode in ("nearest", "bilinear", "bicubic") if version < 20 else ("nearest", "linear", "cubic"):
        for k, beyond in enumerate(("zeros", "border", "reflection")):
            if mode == "nearest" or version < 20:
                yield Case(f"{mode}_{beyond}", [x, grid],
                           {"mode": mode, "padding_mode": beyond, "align_corners": (k + len(mode)) % 2})


@operator("AffineGrid")
def affine_grid(name, version):
    yield Case("two", [numbers("t", (2, 2, 3)), ints(2, 3, 4, 5)])
    yield Case("corners", [numbers("t", (1, 2, 3)), ints(1, 1, 2, 3)], {"align_corners": 1})


# ---- reductions ----------------------------------------------------------------------------------------------


@operator("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd")
def reduction(name, version):
    as_input = version >= (13 if name == "ReduceSum" else 18)
    forms = [("last", (3, 5), [-1] if version >= 11 else [1], 1, F32), ("middle", (2, 3, 4), [1], 0, F32),
             ("two", (2, 3, 4), [0, 2], 1, F32), ("all", (2, 3), None, 1, F32), ("all_flat", (2, 3), None, 0, F32),
             ("long", (2, 1000), [1], 1, F32), ("i64", (3, 4), [0], 0, I64), ("f64", (3, 4), [1], 0, F64),
             ("i32", (2, 3), [1], 1, I32), ("f16", (2, 9), [1], 1, F16)]
    if name in ("ReduceSum", "ReduceProd"):
        forms.append(("empty", (2, 0, 3), [1], 0, F32))
    for label, shape, axes, keep, dtype in forms:
        # A product of a thousand factors stays in range only near one.
        low, high = (0.9, 1.1) if label == "long" and name == "ReduceProd" else (-3.0, 3.0)
        x = numbers(name, shape, dtype, low, high)
        inputs, attributes = [x], {"keepdims": keep}
        if axes is not None and as_input:
            inputs.append(ints(*axes))
        elif axes is not None:
            attributes["axes"] = axes
        yield Case(label, inputs, attributes)
    if as_input:
        yield Case("noop", [numbers("x", (2, 3))], {"noop_with_empty_axes": 1})


@operator("ArgMax", "ArgMin")
def arg(name, version):
    ties = np.array([[1, 3, 3, 0], [2, -1, -1, 2], [5, 5, 5, 5]], F32)
    yield Case("default", [ties])
    yield Case("last_axis", [ties], {"axis": 1, "keepdims": 0})
    yield Case("middle", [numbers(name, (2, 5, 3))], {"axis": 1})
    yield Case("long", [numbers(name, (3, 1000))], {"axis": 1, "keepdims": 0})
    yield Case("i32", [numbers(name, (3, 7), I32)], {"axis": 1})
    yield Case("infinite", [np.array([[-np.inf, -np.inf], [np.inf, 1], [np.inf, np.inf]], F32)], {"axis": 1})
    if version >= 11:
        yield Case("negative", [numbers(name, (2, 3, 4))], {"axis": -2, "keepdims": 0})
    if version >= 12:
        yield Case("last_index", [ties], {"axis": 1, "select_last_index": 1})
        yield Case("last_index_rows", [ties], {"axis": 0, "select_last_index": 1, "keepdims": 0})


@operator("Softmax", "LogSoftmax")
def softmax(name, version):
    yield Case("default", [numbers("x", (3, 7))])
    yield Case("axis1_of_3", [numbers("x", (2, 3, 4))], {"axis": 1})
    yield Case("attention", [numbers("x", (2, 2, 3, 33), low=-9, high=9)], {"axis": 3})
    yield Case("large", [np.array([[1e4, 1e4 - 1, -1e4], [3e38, -3e38, 0]], F32)], {"axis": 1})
    yield Case("masked", [np.array([[1, -np.inf, 2], [np.finfo(F32).min] * 3], F32)], {"axis": 1})
    yield Case("f64", [numbers("x", (2, 3), F64)], {"axis": 1})
    if version >= 11:
        yield Case("negative", [numbers("x", (2, 3, 4))], {"axis": -2})
        yield Case("f16", [numbers("x", (2, 9), F16)], {"axis": -1})


@operator("CumSum")
def cumsum(name, version):
    x = numbers("x", (3, 4))
    for exclusive in (0, 1):
        for reverse in (0, 1):
            yield Case(f"e{exclusive}r{reverse}", [x, scalar(1)], {"exclusive": exclusive, "reverse": reverse})
    yield Case("mask", [np.array([[1, 1, 1, 0], [0, 1, 1, 1]], I64), scalar(-1, I32)])
    yield Case("axis0", [numbers("x", (3, 2, 2), F64), scalar(0)])


# ---- products and composites ---------------------------------------------------------------------------------


@operator("Einsum")
def einsum(name, version):
    if version < 12:
        return
    for label, equation, *shapes in [
        ("heads", "...qhd,...khd->...hqk", (2, 3, 4, 2, 5), (2, 3, 6, 2, 5)),
        ("front", "...ij,...jk", (2, 3, 4), (2, 4, 5)), ("spread", "i...,...i->...", (3, 1, 4), (2, 4, 3)),
        ("swap", "...ij->...ji", (2, 3, 4)),
    ]:
        yield Case(label, [numbers(label + str(k), shape) for k, shape in enumerate(shapes)], {"equation": equation})


@operator("MatMul")
def matmul(name, version):
    for label, a, b in [
        ("two", (3, 5), (5, 4)), ("batch", (2, 3, 4, 5), (2, 3, 5, 6)), ("weights", (2, 7, 8), (8, 9)),
        ("broadcast", (2, 1, 3, 4), (3, 4, 2)), ("vector_left", (5,), (5, 3)), ("vector_right", (2, 3, 5), (5,)),
        ("dot", (6,), (6,)), ("row", (1, 64), (64, 33)), ("odd", (17, 65), (65, 19)),
        ("empty_k", (2, 0), (0, 3)), ("vector_batch", (4,), (2, 4, 3)),
    ]:
        yield Case(label, [numbers(name + "a", a), numbers(name + "b", b)])
    for dtype, label in ((F64, "f64"), (F16, "f16"), (I64, "i64"), (I32, "i32")):
        yield Case(label, [numbers("a", (2, 3), dtype), numbers("b", (3, 4), dtype)])


@operator("Gemm")
def gemm(name, version):
    for label, trans_a, trans_b, alpha, beta, c in [
        ("plain", 0, 0, 1.0, 1.0, (4,)), ("ta", 1, 0, 1.0, 1.0, (3, 4)), ("tb", 0, 1, 1.0, 1.0, (1, 4)),
        ("both", 1, 1, 0.5, 2.0, (3, 1)), ("scalar", 0, 1, 1.0, -1.0, ()), ("no_beta", 0, 0, 2.0, 0.0, (4,)),
    ]:
        a = numbers("a", (5, 3) if trans_a else (3, 5))
        b = numbers("b", (4, 5) if trans_b else (5, 4))
        attributes = {"transA": trans_a, "transB": trans_b, "alpha": alpha, "beta": beta}
        yield Case(label, [a, b, numbers("c", c)], attributes)
    if version >= 11:
        yield Case("no_c", [numbers("a", (3, 5)), numbers("b", (5, 4))])
    yield Case("f64", [numbers("a", (3, 5), F64), numbers("b", (5, 4), F64), numbers("c", (4,), F64)])


@operator("LayerNormalization")
def layer_normalization(name, version):
    gain, bias = numbers("g", (8,), low=0.5, high=1.5), numbers("b", (8,))
    x = numbers("x", (2, 3, 8))
    yield Case("last", [x, gain, bias])
    yield Case("no_bias", [x, gain], {"epsilon": 1e-12})
    yield Case("statistics", [x, gain, bias], {"axis": -1}, 3)
    yield Case("axis1", [x, numbers("g", (3, 8)), numbers("b", (3, 8))], {"axis": 1})
    yield Case("offset", [1000 + numbers("x", (2, 64)), numbers("g", (64,)), numbers("b", (64,))], {"axis": -1})
    yield Case("f64", [numbers("x", (2, 8), F64), gain.astype(F64), bias.astype(F64)])
    yield Case("f16", [numbers("x", (2, 8), F16), gain.astype(F16), bias.astype(F16)])


@operator("RMSNormalization")
def rms_normalization(name, version):
    x, gain = numbers("x", (2, 3, 8)), numbers("g", (8,), low=0.5, high=1.5)
    yield Case("last", [x, gain])
    yield Case("epsilon", [1e-3 * x, gain], {"epsilon": 1e-3, "axis": -1})
    yield Case("axis1", [x, numbers("g", (3, 8))], {"axis": 1})
    yield Case("f16", [x.astype(F16), gain.astype(F16)])


def angles(label, shape):
    theta = numbers(label, shape, F64, 0, 6)
    return np.cos(theta).astype(F32), np.sin(theta).astype(F32)


@operator("RotaryEmbedding")
def rotary_embedding(name, version):
    x, x3 = numbers("x", (2, 3, 4, 8)), numbers("x", (2, 4, 24))
    cos, sin = angles("t", (2, 4, 4))
    table_cos, table_sin = angles("t", (10, 4))
    positions = np.array([[0, 1, 2, 3], [5, 6, 7, 9]], I64)
    yield Case("cached", [x, cos, sin])
    yield Case("interleaved", [x, cos, sin], {"interleaved": 1})
    yield Case("positions", [x, table_cos, table_sin, positions])
    yield Case("three_dims", [x3, cos, sin], {"num_heads": 3})
    cos2, sin2 = angles("t", (2, 4, 2))
    yield Case("partial", [x, cos2, sin2], {"rotary_embedding_dim": 4})
    table_cos, table_sin = angles("t", (10, 2))
    yield Case("partial_positions", [x, table_cos, table_sin, positions], {"rotary_embedding_dim": 4, "interleaved": 1})


@operator("Attention")
def attention(name, version):
    q, k, v = numbers("q", (2, 4, 3, 8)), numbers("k", (2, 4, 6, 8)), numbers("v", (2, 4, 6, 8))
    kg, vg = k[:, :2], v[:, :2]
    q3, k3, v3 = (np.moveaxis(t, 1, 2).reshape(2, t.shape[2], -1) for t in (q, k, v))
    heads = {"q_num_heads": 4, "kv_num_heads": 4}
    yield Case("plain", [q, k, v])
    yield Case("scale", [q, k, v], {"scale": 0.25})
    yield Case("causal", [k, k, v], {"is_causal": 1})
    yield Case("grouped", [q, kg, vg])
    yield Case("three_dims", [q3, k3, v3], heads)
    yield Case("bool_mask", [q, k, v, np.tril(np.ones((3, 6), bool), 3)])
    yield Case("float_mask", [q, k, v, numbers("m", (2, 1, 3, 6))])
    yield Case("softcap", [q, k, v], {"softcap": 2.0})
    past_k, past_v = numbers("pk", (2, 4, 5, 8)), numbers("pv", (2, 4, 5, 8))
    yield Case("past", [q, k, v, None, past_k, past_v], {}, 3)
    yield Case("value_width", [q, k, numbers("v", (2, 4, 6, 5))])
    yield Case("grouped_causal_mask", [k, kg, vg, numbers("m", (6, 6), BOOL) | np.eye(6, dtype=bool)], {"is_causal": 1})


# ---- writing -------------------------------------------------------------------------------------------------


def versions_of(name):
    """The since_versions that opsets OLDEST to NEWEST resolve to."""
    found = {defs.get_schema(name, opset).since_version for opset in range(OLDEST, NEWEST + 1) if has(name, opset)}
    return sorted(found)


def has(name, opset):
    try:
        defs.get_schema(name, opset)
        return True
    except defs.SchemaError:
        return False


def allowed(schema, case):
    """Whether every input's dtype is in the schema's list."""
    constraints = {item.type_param_str: set(item.allowed_type_strs) for item in schema.type_constraints}
    for position, value in enumerate(case.inputs):
        if value is None:
            continue
        array = value.array if isinstance(value, Constant) else value
        formal = schema.inputs[min(position, len(schema.inputs) - 1)]
        dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
        spelled = f"tensor({TensorProto.DataType.Name(dtype).lower()})"
        if spelled not in constraints.get(formal.type_str, {formal.type_str}):
            return False
    return True


def build_model(name, version, case, symbolic):
    inputs, constants, names = [], [], []
    for position, value in enumerate(case.inputs):
        label = "abcdefgh"[position]
        names.append("" if value is None else label)
        if isinstance(value, Constant):
            constants.append(numpy_helper.from_array(value.array, label))
        elif value is not None:
            dims = [f"{label}{axis}" if symbolic else size for axis, size in enumerate(value.shape)]
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            inputs.append(helper.make_tensor_value_info(label, kind, dims))
    outputs = [f"y{index}" for index in range(case.outputs)]
    node = helper.make_node(name, names, outputs, name, **case.attributes)
    graph = helper.make_graph([node], name, inputs, [onnx.ValueInfoProto(name=y) for y in outputs], constants)
    opset = max(version, OLDEST)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version(opset))


def ir_version(opset):
    return helper.find_min_ir_version_for([helper.make_opsetid("", opset)])


def declare_outputs(model, results, symbolic):
    for value in model.graph.output:
        array = results[value.name]
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        shape = [f"{value.name}_{axis}" for axis in range(array.ndim)] if symbolic else array.shape
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, shape))


def fed_inputs(case):
    return {"abcdefgh"[position]: value for position, value in enumerate(case.inputs)
            if value is not None and not isinstance(value, Constant)}


@operator("Conv")
def convolution(name, version):
    image, line = numbers("x", (2, 4, 7, 9)), numbers("x", (2, 4, 13))
    filters, groups = Constant(numbers("w", (5, 4, 3, 2))), Constant(numbers("w", (6, 2, 3, 3)))
    yield Case("plain", [image, filters])
    yield Case("bias", [image, filters, Constant(numbers("b", (5,)))])
    yield Case("padded", [image, filters], {"pads": [1, 0, 2, 1], "strides": [2, 3], "dilations": [2, 1]})
    yield Case("groups", [image, groups], {"group": 2, "pads": [1, 1, 1, 1]})
    yield Case("depthwise", [image, Constant(numbers("w", (4, 1, 3, 3)))], {"group": 4, "strides": [2, 2]})
    yield Case("multiplier", [image, Constant(numbers("w", (8, 1, 2, 2)))], {"group": 4})
    yield Case("patches", [image, Constant(numbers("w", (5, 4, 3, 3))), Constant(numbers("b", (5,)))],
               {"strides": [3, 3]})
    yield Case("line", [line, Constant(numbers("w", (3, 4, 3)))], {"pads": [1, 1], "strides": [2]})
    yield Case("line_run_time_weights", [line, numbers("w", (3, 4, 1)), numbers("b", (3,))])
    yield Case("volume", [numbers("x", (1, 2, 4, 5, 3)), Constant(numbers("w", (2, 2, 2, 2, 2)))])
    yield Case("same_upper", [image, filters], {"auto_pad": "SAME_UPPER", "strides": [2, 2]})
    yield Case("same_lower", [image, filters], {"auto_pad": "SAME_LOWER", "strides": [2, 2]})
    yield Case("f64", [numbers("x", (1, 2, 5), F64), Constant(numbers("w", (2, 2, 3), F64))])


@operator("MaxPool", "AveragePool")
def pools(name, version):
    image = numbers("x", (2, 3, 7, 9))
    yield Case("plain", [image], {"kernel_shape": [3, 2]})
    yield Case("strided", [image], {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1]})
    yield Case("line", [numbers("x", (2, 3, 10))], {"kernel_shape": [4], "strides": [2]})
    yield Case("same", [image], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"})
    if version >= 10:
        yield Case("ceil", [image], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1})
        yield Case("ceil_padded", [image], {"kernel_shape": [3, 4], "strides": [3, 3], "pads": [1, 1, 1, 1],
                                            "ceil_mode": 1})
    if name == "AveragePool":
        yield Case("padding_counts", [image], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1})
    if name == "MaxPool" and version >= 10:
        yield Case("dilated", [image], {"kernel_shape": [2, 3], "dilations": [2, 2]})
    if name == "MaxPool" and version >= 12:
        yield Case("i8", [numbers("x", (1, 2, 5), I8, -9, -1)], {"kernel_shape": [3], "pads": [1, 1]})


@operator("GlobalMaxPool", "GlobalAveragePool")
def global_pools(name, version):
    yield Case("image", [numbers("x", (2, 3, 4, 5))])
    yield Case("line", [numbers("x", (2, 3, 7))])


@operator("BatchNormalization")
def batch_norm(name, version):
    def case(label, shape, dtype=F32, **attributes):
        vector = [numbers(part, (shape[1],), dtype) for part in ("scale", "bias", "mean")]
        spread = numbers("variance", (shape[1],), dtype, 0.2, 2)
        return Case(label, [numbers("x", shape, dtype), *map(Constant, [*vector, spread])], attributes)

    yield case("image", (2, 3, 4, 5))
    yield case("matrix", (4, 3), epsilon=0.01)
    yield case("line", (2, 5, 7), F64)


@operator("InstanceNormalization")
def instance_norm(name, version):
    yield Case("image", [numbers("x", (2, 3, 4, 5)), numbers("scale", (3,)), numbers("bias", (3,))])
    yield Case("line", [numbers("x", (2, 3, 9)), numbers("scale", (3,)), numbers("bias", (3,))], {"epsilon": 0.01})


@operator("TopK")
def top_k(name, version):
    rows, ties = numbers("x", (3, 11)), np.array([[2, 1, 2, 0, 2, 1]], F32)

    def case(label, x, count, **attributes):
        if version < 10:
            return Case(label, [x], {"k": count, **attributes}, outputs=2)
        return Case(label, [x, Constant(np.array([count], I64))], attributes, outputs=2)

    yield case("rows", rows, 4)
    yield case("columns", rows, 2, axis=0)
    yield case("ties", ties, 5)
    yield case("all", numbers("x", (2, 3, 5)), 3, axis=1)
    yield case("infinite", np.array([np.inf, -np.inf, 0, -np.inf, np.inf], F32), 4)
    if version >= 11:
        yield case("smallest", rows, 4, largest=0)
        yield case("i64", numbers("x", (2, 9), I64, -50, 50), 3)


@operator("OneHot")
def one_hot(name, version):
    depth = Constant(np.array(5, I64))
    indices = np.array([[0, 4, 2], [3, 1, 1]], I64)
    yield Case("last", [indices, depth, np.array([0.5, 2], F32)])
    yield Case("first", [indices, Constant(np.array([5], I64)), np.array([0, 1], F32)], {"axis": 0})
    yield Case("floats", [indices.astype(F32), Constant(np.array(5, F32)), np.array([0, 1], F32)])
    if version >= 11:
        yield Case("negative", [indices - 5, depth, np.array([0, 1], I64)], {"axis": 1})
        yield Case("outside", [np.array([-6, 5, 9, -5], I64), depth, np.array([-1, 1], F32)])


@operator("EyeLike")
def eye_like(name, version):
    yield Case("wide", [numbers("x", (3, 5))])
    yield Case("above", [numbers("x", (4, 3))], {"k": 1})
    yield Case("below", [numbers("x", (3, 4), I64)], {"k": -1, "dtype": 1})


@operator("HardSigmoid", "HardSwish", "Selu", "Celu", "Mish", "Softsign", "ThresholdedRelu")
def more_activations(name, version):
    yield Case("f32", [numbers(name, (3, 17), F32, -6, 6)])
    yield Case("edges", [np.array([-np.inf, -3, -0.0, 0, 1, 3, 100, np.inf], F32)])
    if name in ("HardSigmoid", "Selu", "Celu", "ThresholdedRelu"):
        yield Case("alpha", [numbers(name, (9,))], {"alpha": 0.7})


@operator("PRelu")
def prelu(name, version):
    yield Case("channels", [numbers("x", (2, 3, 4)), Constant(numbers("slope", (3, 1)))])
    yield Case("scalar", [numbers("x", (5,)), Constant(numbers("slope", (1,)))])


def reference_results(model, case):
    """onnxruntime's results and its name; the reference evaluator's where it has no kernel for the model."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    typed = onnx.shape_inference.infer_shapes(model)
    for value in typed.graph.output:  # a rank that inference cannot tell stays open
        if not value.type.HasField("tensor_type"):
            raise ValueError(f"{model.graph.name}: output type unknown")
        value.type.tensor_type.ClearField("shape")
    try:
        return vectors.run_onnxruntime(typed, fed_inputs(case)), "onnxruntime"
    except (state.NotImplemented, state.Fail, state.InvalidGraph, state.InvalidArgument, state.RuntimeException):
        with np.errstate(all="ignore"):
            return vectors.run_reference(model, fed_inputs(case)), "reference"


def cross_check(label, model, case, results):
    """A note where ONNX's own evaluator disagrees with onnxruntime; empty where it agrees or cannot run."""
    try:
        with np.errstate(all="ignore"):
            second = vectors.run_reference(model, fed_inputs(case))
    except Exception as problem:
        return f"{label}: no second opinion ({type(problem).__name__})"
    try:
        for name, array in results.items():
            half = array.dtype == np.float16
            vectors.assert_close(name, np.asarray(second[name]), array, 4e-3 if half else 2e-5)
    except AssertionError as difference:
        return f"{label}: evaluators differ: {str(difference).strip().splitlines()[0]}"
    return ""


def write_operator(name, into, notes):
    """Writes each version's first case (but for UNCHANGED), and every case whose node, constants or results no earlier version had;
    returns the number of cases written."""
    written, seen = 0, set()
    for version in versions_of(name):
        schema = defs.get_schema(name, max(version, OLDEST))
        cases = [case for case in OPERATORS[name](version) if allowed(schema, case)]
        for index, case in enumerate(cases):
            symbolic = index % 2 == 1
            label = f"{name}_{version}_{case.name}"
            model = build_model(name, version, case, symbolic)
            results, source = reference_results(model, case)
            results = {key: np.asarray(array) for key, array in results.items()}
            content = (case.name, model.graph.SerializeToString(), *(array.tobytes() for array in results.values()))
            if (index > 0 or name in UNCHANGED) and content in seen:
                continue
            seen.add(content)
            note = cross_check(label, model, case, results) if source == "onnxruntime" else f"{label}: reference only"
            if note:
                notes.append(note)
            declare_outputs(model, results, symbolic)
            onnx.checker.check_model(model)
            folder = os.path.join(into, label)
            shutil.rmtree(folder, ignore_errors=True)
            vectors.write_case(folder, fed_inputs(case), results)
            with open(os.path.join(folder, "model.onnx"), "wb") as file:
                file.write(model.SerializeToString())
            written += 1
    return written


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", default=os.path.join(here, "ops"))
    parser.add_argument("--only", default="", help="only this operator")
    arguments = parser.parse_args()
    notes, total = [], 0
    for name in sorted(OPERATORS):
        if arguments.only in ("", name):
            total += write_operator(name, arguments.into, notes)
    print("\n".join(notes))
    print(f"{total} cases")


if __name__ == "__main__":
    main()
