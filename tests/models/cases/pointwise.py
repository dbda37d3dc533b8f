"""Cases of operators that work element by element."""

import numpy as np
from onnx import TensorProto

from one_node import BOOL, F16, F32, F64, I32, I64, U8, U16, Case, Constant, numbers, scalar

from . import operator


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


@operator("BitShift")
def bit_shift(name, version):
    x, by = np.array([1, 200, 255, 16], U8), np.array([7, 1, 0, 4], U8)
    yield Case("left", [x, by], {"direction": "LEFT"})
    yield Case("right", [x, by], {"direction": "RIGHT"})


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


@operator("Shrink")
def shrink(name, version):
    yield Case("soft", [numbers("x", (3, 5))], {"lambd": 1.5, "bias": 1.5})


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


@operator("BitCast")
def bit_cast(name, version):
    kind = TensorProto
    pattern = np.array([0, 1, 0x3C00, 0x3FC0, 0x7BFF, 0x8000, 0xC580], U16)  # no NaNs: of 16 bits only that it is one is kept
    yield Case("f32_i32", [np.array([1, -2, 0.1, -0.0, 1e-42, np.inf, np.nan], F32)], {"to": kind.INT32})
    yield Case("u32_f32", [np.array([[0x3F800000, 0xC0000000, 1], [0, 0x7F800000, 0x42C80000]], np.uint32)], {"to": kind.FLOAT})
    yield Case("f64_u64", [numbers("x", (5,), F64)], {"to": kind.UINT64})
    yield Case("i64_f64", [np.array([0x3FF0000000000000, -1 << 62, 0], I64)], {"to": kind.DOUBLE})
    yield Case("f16_u16", [numbers("x", (3, 19), F16)], {"to": kind.UINT16})
    yield Case("i16_f16", [pattern.astype(np.int16)], {"to": kind.FLOAT16})
    yield Case("bool_u8", [numbers("x", (2, 9), BOOL)], {"to": kind.UINT8})
    yield Case("u8_i8", [numbers("x", (7,), U8, 0, 255)], {"to": kind.INT8})
    yield Case("scalar", [np.array(-1.5, F32)], {"to": kind.UINT32})
