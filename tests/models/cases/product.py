"""Cases of products and of what attention is made of."""

import numpy as np

from one_node import BOOL, F16, F32, F64, I32, I64, Case, numbers, scalar

from . import operator


@operator("Einsum")
def einsum(name, version):
    if version < 12:
        return
    for label, equation, *shapes in [
        ("heads", "...qhd,...khd->...hqk", (2, 3, 4, 2, 5), (2, 3, 6, 2, 5)),
        ("front", "...ij,...jk", (2, 3, 4), (2, 4, 5)), ("spread", "i...,...i->...", (3, 1, 4), (2, 4, 3)),
        ("swap", "...ij->...ji", (2, 3, 4)), ("diagonal", "bii,...i->b...i", (2, 3, 3), (4, 3)), ("traces", "bii", (2, 3, 3)),
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


@operator("Det")
def determinant(name, version):
    rows = np.array([[[0, 2, 1], [3, 0, 0], [6, 1, 5]], [[0, 1, 2], [0, 3, 4], [0, 5, 6]], [[1, 2, 3], [np.nan, 1, 2], [4, 5, 7]]])
    yield Case("two", [numbers("x", (2, 2))])
    yield Case("turned", [rows.astype(F32)], fixed=True)  # pivots of 0, columns of zeros, what is no number
    yield Case("batches", [numbers("x", (2, 3, 5, 5))])
    yield Case("one", [numbers("x", (4, 1, 1))], fixed=True)
    yield Case("f64", [numbers("x", (6, 6), F64)])


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
    seen = np.array([[True, False, True, True, False, True], [False] * 6, [True] * 6])
    yield Case("row_of_nothing", [q, k, v, seen])
    past = [past_k[:, :2], past_v[:, :2]]
    yield Case("shown_capped", [q, kg, vg, None, *past], {"qk_matmul_output_mode": 1, "softcap": 1.5}, 4)
    yield Case("shown_softmax", [q, kg, vg, np.repeat(seen, 2, 1)[:, 1:], *past], {"qk_matmul_output_mode": 3, "is_causal": 1}, 4)
    if version >= 24:
        lengths = np.array([4, 6])
        yield Case("lengths", [q, k, v, None, None, None, lengths])
        yield Case("lengths_causal", [q, k, v, None, None, None, lengths], {"is_causal": 1})
        yield Case("lengths_causal_mask", [q, k, v, numbers("m", (2, 1, 3, 6)), None, None, lengths], {"is_causal": 1})
        seen = np.array([[True, False, True, True, False, True], [True, True, False, True, True, False], [True] * 6])
        yield Case("lengths_bool_mask", [q, k, v, seen, None, None, lengths])
    masked = {"qk_matmul_output_mode": 2, "softcap": 1.5}
    yield Case("shown_masked", [q, kg, vg, numbers("m", (2, 1, 3, 11)), *past], masked, 4)
