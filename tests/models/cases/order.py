"""Cases of operators that put elements in order and keep some: their number depends on data."""

import numpy as np

from one_node import BOOL, F32, I32, I64, Case, Constant, numbers

from . import operator


@operator("Unique")
def unique(name, version):
    x = numbers("x", (4, 9)).round()
    rows = numbers("x", (40, 3), I64, 0, 2)
    yield Case("flat", [x], {}, 4)
    yield Case("unsorted", [x], {"sorted": 0}, 4)
    yield Case("i64", [numbers("x", (300,), I64, -60, 60)], {}, 4)
    yield Case("rows", [rows], {"axis": 0}, 4, fixed=True)
    yield Case("rows_unsorted", [rows], {"axis": 0, "sorted": 0}, 4, fixed=True)
    yield Case("columns", [numbers("x", (2, 7, 2), I32, 0, 1)], {"axis": -2}, 4, fixed=True)
    yield Case("values", [numbers("x", (65,), I64, 0, 3)])
    yield Case("equal", [np.full((5,), 2.5, F32)], {}, 4)
    yield Case("last_axis", [numbers("x", (2, 3, 12), I64, 0, 1)], {"axis": 2}, 4, fixed=True)
    yield Case("nothing", [np.zeros((0,), F32)], {}, 4)
    yield Case("bool", [numbers("x", (3, 5), BOOL)], {}, 4)


def boxes(batches, count):
    corner = numbers("corner", (batches, count, 2), F32, 0, 10)
    return np.concatenate([corner, corner + numbers("size", (batches, count, 2), F32, 1, 5)], axis=2)


@operator("NonMaxSuppression")
def non_max_suppression(name, version):
    box, score = boxes(2, 60), numbers("score", (2, 3, 60), F32, 0, 1)
    limits = [Constant(np.array([value], kind)) for value, kind in [(5, I64), (0.4, F32), (0.3, F32)]]
    yield Case("limit", [box, score, *limits])
    yield Case("all", [box, score, Constant(np.array([60], I64)), *limits[1:]])
    yield Case("center", [numbers("b", (1, 60, 4), F32, 1, 6), score[:1, :1], *limits], {"center_point_box": 1})
    yield Case("flipped", [box[..., [2, 1, 0, 3]], score, *limits])
    yield Case("ties", [box, score.round(1), *limits])
    yield Case("any_score", [box, score, *limits[:2]])
    yield Case("any_overlap", [box, score, limits[0]])
    yield Case("none", [box, score])
    yield Case("low", [box, score - 1, *limits])
    given = [np.array([3], I64), np.array([0.2], F32), np.array([0.5], F32)]
    yield Case("given", [box, score, *given])
    # scores and overlaps that are just what is asked for, and a box without an area
    box = np.array([[[0, 0, 1, 2], [0, 0, 1, 1], [5, 5, 5, 9], [5, 5, 6, 9], [5, 5, 6, 6.5]]], F32)
    score = np.array([[[0.9, 0.8, 0.7, 0.5, 0.75]]], F32)
    half = Constant(np.array([0.5], F32))
    yield Case("edges", [box, score, limits[0], half, half])
    yield Case("given_more_than_i32", [box, score, np.array([1 << 40], I64), half])
