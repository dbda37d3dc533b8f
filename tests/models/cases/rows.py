"""Cases of operators along an axis: reductions, softmax, running sums, order and norms."""

import numpy as np

from one_node import F16, F32, F64, I32, I64, Case, Constant, ints, numbers, scalar

from . import operator


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


@operator("Hardmax")
def hardmax(name, version):
    x = np.array([[1, 3, 3], [2, -1, 2]], F32)
    yield Case("ties", [x])
    yield Case("axis", [numbers("x", (2, 3, 4))], {"axis": 1})


@operator("CumSum")
def cumsum(name, version):
    x = numbers("x", (3, 4))
    for exclusive in (0, 1):
        for reverse in (0, 1):
            yield Case(f"e{exclusive}r{reverse}", [x, scalar(1)], {"exclusive": exclusive, "reverse": reverse})
    yield Case("mask", [np.array([[1, 1, 1, 0], [0, 1, 1, 1]], I64), scalar(-1, I32)])
    yield Case("axis0", [numbers("x", (3, 2, 2), F64), scalar(0)])


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
        yield case("many", numbers("x", (3, 500)).round(1), 70)
        yield case("many_columns", numbers("x", (300, 2), I64, -500, 500), 300, axis=0, largest=0)


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


@operator("BatchNormalization")
def batch_norm(name, version):
    def case(label, shape, dtype=F32, **attributes):
        vector = [numbers(part, (shape[1],), dtype) for part in ("scale", "bias", "mean")]
        spread = numbers("variance", (shape[1],), dtype, 0.2, 2)
        return Case(label, [numbers("x", shape, dtype), *map(Constant, [*vector, spread])], attributes)

    yield case("image", (2, 3, 4, 5))
    yield case("matrix", (4, 3), epsilon=0.01)
    yield case("line", (2, 5, 7), F64)
    if version >= 14:
        yield Case("training", [*case("", (3, 4, 5)).inputs], {"training_mode": 1, "momentum": 0.75}, 3)


@operator("InstanceNormalization")
def instance_norm(name, version):
    yield Case("image", [numbers("x", (2, 3, 4, 5)), numbers("scale", (3,)), numbers("bias", (3,))])
    yield Case("line", [numbers("x", (2, 3, 9)), numbers("scale", (3,)), numbers("bias", (3,))], {"epsilon": 0.01})


@operator("LpNormalization")
def lp_normalization(name, version):
    yield Case("two", [numbers("x", (3, 4))], {"axis": 1})
    yield Case("one", [numbers("x", (3, 4, 2))], {"axis": 1, "p": 1})


@operator("MeanVarianceNormalization")
def mean_variance(name, version):
    yield Case("usual", [numbers("x", (2, 3, 4, 5))])
    yield Case("axes", [numbers("x", (2, 3, 4))], {"axes": [0, 2]})
