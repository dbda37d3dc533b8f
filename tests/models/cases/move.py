"""Cases of operators that move elements, or make them of shapes and numbers."""

import numpy as np
from onnx import numpy_helper

from one_node import BOOL, F16, F32, I32, I64, LARGEST, Case, Constant, ints, numbers, scalar

from . import operator


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
        yield Case("run_time_to_front", [numbers("x", (6, 2)), np.array([-2], I64), np.array([-LARGEST - 1], I64), ints(0), ints(-1)])


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
    yield Case("run_time_once", [np.array(v, I64) for v in (0, 3, LARGEST)])
    yield Case("run_time_exact", [np.array(v, I64) for v in (0, 8, 2)])
    yield Case("run_time_down", [np.array(v, I64) for v in (5, -4, -3)])
    yield Case("run_time_none", [np.array(v, I64) for v in (3, 3, 2)])
    yield Case("run_time_against", [np.array(v, I64) for v in (3, 2, 3)])


@operator("EyeLike")
def eye_like(name, version):
    yield Case("wide", [numbers("x", (3, 5))])
    yield Case("above", [numbers("x", (4, 3))], {"k": 1})
    yield Case("below", [numbers("x", (3, 4), I64)], {"k": -1, "dtype": 1})


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


@operator("NonZero")
def nonzero(name, version):
    for label, shape, dtype in [("f32", (5, 7), F32), ("bool", (2, 3, 4), BOOL), ("i64", (40,), I64)]:
        yield Case(label, [numbers("x", shape, dtype, 0, 1) if dtype is not F32 else numbers("x", shape).round()])
    yield Case("none", [np.zeros((3, 4), F32)])
    yield Case("all", [np.ones((2, 2, 2, 2), BOOL)])
    yield Case("empty", [np.zeros((0, 3), F32)])


@operator("Compress")
def compress(name, version):
    x = numbers("x", (3, 4, 2))
    yield Case("rows", [x, np.array([False, True, True])], {"axis": 0})
    yield Case("inner", [x, np.array([True, False, False, True])], {"axis": -2})
    yield Case("short", [x, np.array([False, True])], {"axis": 1})
    yield Case("flat", [x, numbers("c", (24,), BOOL)])
    yield Case("none", [x, np.zeros((3,), BOOL)], {"axis": 0})


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
    yield Case("run_time", [numbers("x", (4, 5)), np.array([-1, 1, 0, -2], I64)], fixed=True)


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


@operator("DepthToSpace", "SpaceToDepth")
def blocks(name, version):
    x = numbers("x", (2, 8, 2, 3) if name == "DepthToSpace" else (2, 3, 4, 6))
    yield Case("plain", [x], {"blocksize": 2})
    if name == "DepthToSpace" and version >= 11:
        yield Case("crd", [Constant(x)], {"blocksize": 2, "mode": "CRD"})
    yield Case("run_time", [x], {"blocksize": 2})


@operator("CenterCropPad")
def center_crop_pad(name, version):
    yield Case("both", [numbers("x", (5, 4, 7)), ints(2, 7, 7)])
    yield Case("axes", [numbers("x", (5, 4, 7)), ints(8, 4)], {"axes": [0, -1]})


@operator("ReverseSequence")
def reverse_sequence(name, version):
    x = numbers("x", (4, 3, 2))
    yield Case("time_first", [x, np.array([4, 1, 2], I64)])
    yield Case("batch_first", [x, np.array([3, 1, 2, 2], I64)], {"batch_axis": 0, "time_axis": 1})


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
