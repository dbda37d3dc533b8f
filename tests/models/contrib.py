#!/usr/bin/env python3
"""Writes ops/OPERATOR_1_CASE for the operators that onnxruntime's optimizers put in the place of ONNX's, com.microsoft's
and those without a domain, by onnxruntime. Half of the cases declare their input dims as symbols. An environment as
operators.py has it.
    contrib.py [--into FOLDER] [--only TEXT]
"""

import argparse
import math
import os

import numpy as np
from onnx import TensorProto

from one_node import (F32, I8, I32, I64, U8, Case, Constant, build_model, fed_inputs, numbers, reference_results,
                      scalar, symbolic_by_name, write_model)

B, S, P, D, HEADS = 2, 5, 3, 12, 2
WIDTH = HEADS * D // 2  # 12: two heads of 6


def ints(*values):
    return np.array(values, I32)


def product_cases():
    a, b = numbers("a", (3, 7, 5)), numbers("b", (3, 4, 5))
    yield "FusedMatMul", Case("turned", [a, b], {"transB": 1, "alpha": 0.25})
    yield "FusedMatMul", Case("both", [numbers("a", (5, 7)), Constant(numbers("b", (3, 5)))], {"transA": 1, "transB": 1})
    yield "FusedMatMul", Case("batches", [numbers("a", (5, 2, 3, 4)), numbers("b", (4, 2, 3, 6))],
                              {"transBatchA": 1, "transBatchB": 1})
    yield "FusedMatMul", Case("batches_turned", [numbers("a", (4, 3, 5)), numbers("b", (6, 3, 4))],
                              {"transBatchA": 1, "transA": 1, "transBatchB": 1, "transB": 1})
    gemm = [numbers("a", (4, 6)), Constant(numbers("b", (3, 6))), Constant(numbers("c", (3,)))]
    yield "FusedGemm", Case("leaky", gemm, {"transB": 1, "activation": "LeakyRelu", "activation_alpha": 0.3})
    conv = [numbers("x", (2, 3, 6, 5)), Constant(numbers("w", (4, 3, 3, 3))), Constant(numbers("b", (4,)))]
    yield "FusedConv", Case("relu", conv, {"activation": "Relu", "pads": [1, 1, 1, 1]})
    yield "FusedConv", Case("sum_clip", [*conv, numbers("z", (2, 4, 6, 5))],
                            {"activation": "Clip", "activation_params": [-0.5, 1.0], "pads": [1, 1, 1, 1]})
    yield "LayerNormalization", Case("early", [numbers("x", (2, 3, 8)), Constant(numbers("g", (8,))), Constant(numbers("h", (8,)))],
                                     {"axis": -1, "epsilon": 1e-3})
    yield "SimplifiedLayerNormalization", Case("last", [numbers("x", (2, 3, 8)), Constant(numbers("g", (8,)))],
                                               {"axis": -1, "epsilon": 1e-3, "stash_type": 1})


def embedding_cases():
    ids, segments = numbers("i", (2, 4), I32, 0, 8), numbers("s", (2, 4), I32, 0, 1)
    words, places, kinds = (Constant(numbers(name, (rows, 6))) for name, rows in (("w", 9), ("p", 5), ("k", 2)))
    gamma, beta = Constant(numbers("g", (6,))), Constant(numbers("h", (6,)))
    mask = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], I32)
    yield "EmbedLayerNormalization", Case("all", [ids, segments, words, places, kinds, gamma, beta, mask],
                                          {"epsilon": 1e-5}, outputs=3)
    yield "EmbedLayerNormalization", Case("positions", [ids, None, words, places, None, gamma, beta, None,
                                                        np.array([[0, 1, 2, 3], [3, 2, 4, 4]], I32)], outputs=2)


def quantised_cases():
    def pair(scale, zero, dtype=U8):
        return Constant(np.array(scale, F32)), Constant(np.array(zero, dtype))

    x, w = numbers("x", (B, S, 8), U8, 0, 255), Constant(numbers("w", (8, 3 * WIDTH), I8, -128, 127))
    (scale, zero), (step, middle) = pair(0.01, 120), pair(0.02, 3, I8)
    yield "QAttention", Case("mask", [x, w, Constant(numbers("b", (3 * WIDTH,))), scale, step, ints(3, 5), zero, middle],
                             {"num_heads": HEADS})
    tables = [Constant(numbers(name, shape, U8, 0, 255)) for name, shape in
              (("w", (9, 6)), ("p", (5, 6)), ("k", (2, 6)), ("g", (6,)), ("h", (6,)))]
    scales, zeros = zip(*(pair(0.01 * k, 100 + 5 * k) for k in range(1, 6)))
    mask = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], I32)
    yield "QEmbedLayerNormalization", Case("all", [numbers("i", (2, 4), I32, 0, 8), numbers("s", (2, 4), I32, 0, 1), *tables,
                                                   mask, *scales, *zeros], outputs=2)
    yield "QLinearGlobalAveragePool", Case("planes", [numbers("x", (2, 3, 5, 4), U8, 0, 255), *pair(0.02, 120), *pair(0.01, 99)],
                                           {"channels_last": 0})
    yield "QLinearGlobalAveragePool", Case("channels_last", [numbers("x", (2, 5, 4, 3), U8, 0, 255), *pair(0.02, 120),
                                                             *pair(0.01, 99)], {"channels_last": 1})


def attention_cases():
    x, w = numbers("x", (B, S, 8)), Constant(numbers("w", (8, 3 * WIDTH)))
    bias = Constant(numbers("b", (3 * WIDTH,)))
    raw = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], I32)
    past, heads = numbers("p", (2, B, HEADS, P, WIDTH // HEADS)), {"num_heads": HEADS}
    yield "Attention", Case("plain", [x, w, bias], heads)
    yield "Attention", Case("mask", [x, w, bias, raw], heads)
    yield "Attention", Case("both_ends", [x, w, bias, ints(5, 4, 2, 0)], heads, fixed=True)
    yield "Attention", Case("ends", [x, w, bias, ints(3, 5)], heads)
    yield "Attention", Case("causal_past", [x, w, bias, np.array([[0] + [1] * 7, [1] * 8], I32), past],
                            {**heads, "unidirectional": 1}, outputs=2)
    yield "Attention", Case("widths_bias", [x, Constant(numbers("v", (8, 2 * WIDTH + 8))), Constant(numbers("c", (2 * WIDTH + 8,))),
                                            None, None, numbers("e", (1, HEADS, S, S))],
                            {**heads, "qkv_hidden_sizes": [WIDTH, WIDTH, 8], "scale": 0.3})
    q, k, v = (numbers(name, (B, length, WIDTH)) for name, length in (("q", S), ("k", S), ("v", S)))
    rows = numbers("k", (B, HEADS, P, 6)), numbers("v", (B, HEADS, P, 6))
    yield "MultiHeadAttention", Case("bias", [q, k, v, bias], heads)
    yield "MultiHeadAttention", Case("mask", [q, k, v, None, raw, numbers("e", (B, 1, S, S))],
                                     {**heads, "mask_filter_value": -30.0})
    yield "MultiHeadAttention", Case("past", [q, k, v, bias, None, None, *rows], {**heads, "unidirectional": 1}, outputs=3)
    yield "MultiHeadAttention", Case("cross", [q, *rows], heads)


def rotary_tables(width, count=16):
    angles = np.arange(count)[:, None] * 0.1 ** np.linspace(0, 1, width // 2)[None]
    return Constant(np.cos(angles).astype(F32)), Constant(np.sin(angles).astype(F32))


def rotary_cases():
    tables = rotary_tables(6)
    places = np.array([[0, 1, 2, 3, 4], [7, 8, 9, 3, 1]], I64)
    yield "RotaryEmbedding", Case("rows", [numbers("x", (B, S, WIDTH)), places, *tables], fixed=True)
    yield "RotaryEmbedding", Case("offset", [numbers("x", (B, HEADS, S, 6)), np.array([4], I64), *tables],
                                  {"interleaved": 1})
    yield "RotaryEmbedding", Case("part", [numbers("x", (B, S, WIDTH)), places, *rotary_tables(4)],
                                  {"num_heads": HEADS, "rotary_embedding_dim": 4})


def group_cases():
    heads = {"num_heads": 4, "kv_num_heads": 2}

    def operands(batch, rows, past=0, size=16):
        made = [numbers("q", (batch, rows, 4 * size)), numbers("k", (batch, rows, 2 * size)), numbers("v", (batch, rows, 2 * size))]
        cache = [numbers(name, (batch, 2, past, size)) for name in "lw"]
        return made + (cache if past else [None, None])

    def total(count):
        return Constant(np.array(count, I32))

    name, turned = "GroupQueryAttention", {**heads, "do_rotary": 1}
    yield name, Case("prompt", [*operands(2, 5), ints(4, 4), total(5), *rotary_tables(16)], turned, outputs=3)
    yield name, Case("next", [*operands(2, 1, 6), ints(6, 6), total(7), *rotary_tables(16)],
                     {**turned, "rotary_interleaved": 1}, outputs=3)
    used = np.arange(9)[None, None, :, None] < 4
    # onnxruntime clears what is not used of a cache; here it stays.
    buffer, lengths = operands(1, 1, 9), operands(2, 1, 6)
    buffer[3:] = [np.where(used, cache, 0).astype(F32) for cache in buffer[3:]]
    for cache in lengths[3:]:
        cache[1, :, 3:] = 0
    yield name, Case("lengths", [*lengths, ints(6, 3), total(7)], heads, outputs=3)
    yield name, Case("buffer", [*buffer, ints(4), total(5)], {**heads, "softcap": 3.0}, outputs=3)
    yield name, Case("window", [*operands(1, 7), ints(6), total(7)], {**heads, "local_window_size": 3, "scale": 0.2},
                     outputs=3)
    yield name, Case("chunk", [*operands(1, 3, 4), ints(6), total(7)], heads, outputs=3)
    sinks = Constant(numbers("sink", (4,)))
    yield name, Case("sinks", [*operands(2, 5), ints(4, 4), total(5), None, None, None, None, sinks],
                     {**heads, "smooth_softmax": 1}, outputs=3)
    yield name, Case("smooth", [*operands(2, 1, 6), ints(6, 6), total(7)], {**heads, "smooth_softmax": 1}, outputs=3)
    yield name, Case("both_ways", [*operands(2, 5), ints(4, 4), total(5)], {**heads, "causal": 0}, outputs=3)
    # A cache of six rows of which a query sees four: after eight positions it has the last five, after nine or twelve six.
    # What it has behind these onnxruntime does not say.
    near = {**heads, "local_window_size": 4, "sliding_window_cache": 1}

    def shared(batch, rows, whole):
        made = operands(batch, rows, 6)
        for cache in made[3:]:
            cache[:, :, whole:] = 0
        return made

    yield name, Case("near_prompt", [*shared(2, 9, 0), ints(8, 8), total(9)], near, outputs=3)
    yield name, Case("near_full", [*shared(2, 1, 5), ints(8, 8), total(9)], near, outputs=3)
    yield name, Case("near_steps", [*shared(1, 3, 6), ints(11), total(12), *rotary_tables(16)], turned | near, outputs=3)
    packed = [numbers("q", (2, 4, 8 * 16)), None, None, None, None, ints(3, 3), total(4), *rotary_tables(16)]
    yield name, Case("packed", packed, turned, outputs=3)


def state_cases():
    size, heads = 4, {"q_num_heads": 4, "kv_num_heads": 2}
    q, (k, v) = numbers("q", (B, S, 4 * size)), (numbers(name, (B, S, 2 * size), low=-1, high=1) for name in "kv")
    decay, beta = numbers("d", (B, S, 2), low=-1, high=0), numbers("b", (B, S, 2), low=0, high=1)
    state = numbers("s", (B, 2, size, size))
    yield "LinearAttention", Case("delta", [q, k, v, state, decay, beta], heads, outputs=2, fixed=True)
    yield "LinearAttention", Case("linear", [q, k, v], {**heads, "update_rule": "linear", "scale": 0.3}, outputs=2, fixed=True)
    x, w, bias = numbers("x", (B, 6, S)), Constant(numbers("w", (6, 1, 3))), Constant(numbers("b", (6,)))
    yield "CausalConvWithState", Case("state", [x, w, bias, numbers("p", (B, 6, 2))], {"activation": "silu"}, outputs=2)
    yield "CausalConvWithState", Case("apart", [x, w, None, numbers("p", (B, 6, 4))], {"dilation": 2}, outputs=2)


def expert_cases():
    """Five experts of which each token takes two."""
    experts, width, inner = 5, 8, 6
    x, scores = numbers("x", (7, width)), numbers("s", (7, experts))

    def layer(label, out, size):
        return [Constant(numbers(label, (experts, out, size), low=-1, high=1)), Constant(numbers("b" + label, (experts, out)))]

    up, gate, down = layer("u", inner, width), layer("g", 2 * inner, width), layer("d", width, inner)
    yield "MoE", Case("relu", [x, scores, *up, *down], {"k": 2})
    yield "MoE", Case("gelu", [x, scores, *up, *down], {"k": 2, "activation_type": "gelu", "normalize_routing_weights": 1})
    yield "MoE", Case("silu", [numbers("x", (1, width)), numbers("s", (1, experts)), up[0], None, down[0]],
                      {"k": 1, "activation_type": "silu"})
    yield "MoE", Case("gated", [x.reshape(1, 7, width), scores, *gate, *down],
                      {"k": 2, "activation_type": "swiglu", "swiglu_fusion": 1, "activation_alpha": 1.7, "activation_beta": 1.0,
                       "swiglu_limit": 2.0, "normalize_routing_weights": 1}, fixed=True)


def gate_cases():
    x, gate, scale = numbers("x", (B, S, 12)), numbers("g", (B, S, 12)), Constant(numbers("s", (4,)))
    yield "ScaledSiLU", Case("alpha", [x], {"alpha": 1.7})
    yield "ScaledSiLU", Case("scale", [x, Constant(np.array(0.3, F32))], {"alpha": 1.7})
    yield "GatedAdd", Case("rows", [x, numbers("y", (B, S, 12)), numbers("g", (B, S, 1))], fixed=True)
    heads = numbers("a", (B, S, 3)), Constant(numbers("d", (3,))), Constant(numbers("e", (3,), low=-2, high=0))
    yield "LinearAttentionGate", Case("both", [*heads, numbers("b", (B, S, 3))], outputs=2)
    yield "LinearAttentionGate", Case("decay", list(heads))
    yield "GatedRMSNorm", Case("heads", [x, scale, gate], {"epsilon": 1e-3}, fixed=True)
    yield "GatedRMSNorm", Case("sigmoid", [numbers("x", (B, 4)), scale, numbers("g", (B, 4))], {"activation": "sigmoid"})
    yield "BranchwiseRMSNorm", Case("flat", [x, Constant(numbers("s", (12,)))], {"num_branches": 3})
    yield "BranchwiseRMSNorm", Case("grouped", [x.reshape(B, S, 3, 4), scale], {"epsilon": 1e-3}, fixed=True)
    yield "BranchwiseRMSNorm", Case("plain", [x.reshape(B, S, 3, 4)], fixed=True)
    streams, matrix = x.reshape(B, S, 3, 4), numbers("m", (B, S, 3, 3))
    yield "HyperConnectionPreMix", Case("grouped", [streams, numbers("w", (B, S, 3))], {"reduction_scale": 0.5}, fixed=True)
    yield "HyperConnectionPreMix", Case("flat", [x, numbers("w", (B, S, 12))], {"num_branches": 3}, fixed=True)
    block, post = numbers("b", (B, S, 4)), numbers("p", (B, S, 3))
    yield "HyperConnectionPostMix", Case("mixed", [streams, block, post, matrix], fixed=True)
    yield "HyperConnectionPostMix", Case("flat", [x, block, post], {"num_branches": 3}, fixed=True)


def normal_cases():
    """Weights of 4 bits that are quantiles, or floats."""
    for kind, label in enumerate(("floats", "quantiles")):
        weights, sizes = Constant(numbers(label, (5 * 24 // 2,), U8, 0, 255)), Constant(numbers("s", (8,), low=0.1, high=1))
        yield "MatMulBnb4", Case(label, [numbers("x", (3, 24)), weights, sizes],
                                 {"K": 24, "N": 5, "block_size": 16, "quant_type": kind}, fixed=True)


def streams_cases():
    """Rows of three positions each."""
    places = numbers("places", (3, B, S), I64, 0, 15)
    yield "MRotaryEmbedding", Case("sections", [numbers("x", (B, S, 2 * 12)), places, *rotary_tables(12)],
                                   {"mrope_section": [3, 2, 1], "num_heads": HEADS}, fixed=True)
    yield "MRotaryEmbedding", Case("turns", [numbers("x", (B, HEADS, S, 12)), places, *rotary_tables(12)],
                                   {"mrope_section": [3, 2, 1], "mrope_layout": 1, "interleaved": 1}, fixed=True)


def early_cases():
    """What became operators of ONNX, too."""
    yield "Trilu", Case("upper", [numbers("x", (2, 4, 5)), Constant(np.array(1, I64))])
    yield "Pad", Case("value", [numbers("x", (2, 3)), Constant(np.array([1, 0, 0, 2], I64)), Constant(np.array([0.5], F32))])
    yield "GatherND", Case("rows", [numbers("x", (3, 4)), np.array([[0, 1], [2, 3]], I64)], fixed=True)
    yield "GridSample", Case("border", [numbers("x", (1, 2, 4, 5)), numbers("g", (1, 3, 3, 2), low=-1.2, high=1.2)],
                             {"mode": "bilinear", "padding_mode": "border", "align_corners": 1}, fixed=True)
    yield "ExpandDims", Case("last", [numbers("x", (2, 3)), Constant(np.array(-1, I32))])


# Of what onnxruntime has for GPUs alone: the same in NumPy, in double precision.

def erf(x):
    return np.vectorize(math.erf)(x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bias_add(x, bias, skip):
    return [x + bias + skip]


def bias_split_gelu(x, bias):
    left, right = np.split(x + bias, 2, axis=-1)
    return [left * right * 0.5 * (1 + erf(right / np.sqrt(2)))]


def bias_softmax(x, bias, **_):
    power = np.exp(x + bias)
    return [power / power.sum(-1, keepdims=True)]


def relative_position_bias(table, queries, keys, max_distance, is_bidirectional=0):
    """After the T5 of the transformers library; the table lies by heads."""
    count, heads = table.shape
    place = np.arange(keys)[None, :] - np.arange(queries)[:, None]
    base = 0
    if is_bidirectional:
        count //= 2
        base, place = (place > 0) * count, np.abs(place)
    else:
        place = -np.minimum(place, 0)
    exact = count // 2
    far = exact + (np.log(np.maximum(place, 1) / exact) / np.log(max_distance / exact) * (count - exact)).astype(int)
    bucket = base + np.where(place < exact, place, np.minimum(far, count - 1))
    return [table.reshape(heads, -1)[:, bucket][None]]


def gated_relative_position_bias(query, query_bias, bias, weight, weight_bias, eco, num_heads):
    batch, rows, _ = query.shape
    heads = (query + query_bias).reshape(batch, rows, num_heads, -1).transpose(0, 2, 1, 3)
    gates = sigmoid((heads @ weight + weight_bias).reshape(batch, num_heads, rows, 2, -1).sum(-1))
    return [(gates[..., :1] * (gates[..., 1:] * eco - 1) + 2) * bias]


def group_norm(x, gamma, beta, groups, epsilon, activation, channels_last=1):
    rows = np.moveaxis(x, -1, 1) if channels_last else x
    parts = rows.reshape(len(x), groups, -1)
    parts = (parts - parts.mean(-1, keepdims=True)) / np.sqrt(parts.var(-1, keepdims=True) + epsilon)
    y = parts.reshape(rows.shape)
    y = np.moveaxis(y, 1, -1) * gamma + beta
    y = y if channels_last else np.moveaxis(y, -1, 1)
    return [y * sigmoid(y) if activation else y]


def skip_group_norm(x, gamma, beta, skip, bias=0, **attributes):
    total = x + (skip[:, None, None] if skip.ndim == 2 else skip) + bias
    return [*group_norm(total, gamma, beta, **attributes), total]


IN_NUMPY = {"BiasAdd": bias_add, "BiasSplitGelu": bias_split_gelu, "BiasSoftmax": bias_softmax,
            "RelativePositionBias": relative_position_bias, "GatedRelativePositionBias": gated_relative_position_bias,
            "GroupNorm": group_norm, "SkipGroupNorm": skip_group_norm}


def gpu_cases():
    x, bias = numbers("x", (B, S, 12)), Constant(numbers("b", (12,)))
    yield "BiasAdd", Case("plain", [x, bias, numbers("s", (B, S, 12))])
    yield "BiasSplitGelu", Case("plain", [x, bias], fixed=True)
    yield "BiasSoftmax", Case("mask", [numbers("x", (B, HEADS, S, S)), numbers("m", (B, 1, 1, S))],
                              {"axis": 3, "is_inner_broadcast": 1})
    table = numbers("t", (16, HEADS))
    yield "RelativePositionBias", Case("both_ways", [table, scalar(40), scalar(40)], {"max_distance": 20, "is_bidirectional": 1},
                                       fixed=True)
    yield "RelativePositionBias", Case("back", [table, scalar(30), scalar(33)], {"max_distance": 25}, fixed=True)
    yield "GatedRelativePositionBias", Case("plain", [x, bias, numbers("r", (1, HEADS, S, S)), Constant(numbers("w", (6, 8))),
                                                      Constant(numbers("v", (8,))), Constant(numbers("e", (1, HEADS, 1, 1)))],
                                            {"num_heads": HEADS}, fixed=True)
    image, gamma, beta = numbers("x", (B, 3, 4, 8)), Constant(numbers("g", (8,))), Constant(numbers("h", (8,)))
    norm = {"groups": 2, "epsilon": 1e-3, "activation": 1}
    yield "GroupNorm", Case("last", [image, gamma, beta], norm, fixed=True)
    yield "GroupNorm", Case("first", [np.moveaxis(image, -1, 1), gamma, beta], {**norm, "activation": 0, "channels_last": 0},
                            fixed=True)
    yield "SkipGroupNorm", Case("whole", [image, gamma, beta, numbers("s", image.shape), Constant(numbers("b", (8,)))], norm,
                                outputs=2, fixed=True)
    yield "SkipGroupNorm", Case("pixels", [image, gamma, beta, numbers("s", (B, 8))], norm, outputs=2, fixed=True)


def numpy_results(name, model, case):
    """Those of IN_NUMPY as reference_results has them, of all inputs, the constants included."""
    given = [value.array if isinstance(value, Constant) else value for value in case.inputs]
    wide = [array.astype(np.float64) if array.dtype == F32 else array for array in given]
    results = IN_NUMPY[name](*wide, **case.attributes)
    return {output.name: array.astype(F32) for output, array in zip(model.graph.output, results)}


def write(into, name, case):
    """Writes one case; onnxruntime wants the types of outputs said that ONNX's inference does not know."""
    label = f"{name}_1_{case.name}"
    symbolic = symbolic_by_name(label, case)
    domain = "" if name.endswith("LayerNormalization") and "Embed" not in name else "com.microsoft"
    model = build_model(name, case, symbolic, [("", 16), ("com.microsoft", 1)], 8, domain)
    for k, value in enumerate(model.graph.output):
        counts = name.endswith("EmbedLayerNormalization") and k == 1
        kind = TensorProto.INT32 if counts else TensorProto.UINT8 if name.startswith("QLinear") else TensorProto.FLOAT
        value.type.tensor_type.elem_type = kind
    results = numpy_results(name, model, case) if name in IN_NUMPY else reference_results(model, fed_inputs(case))[0]
    write_model(os.path.join(into, label), model, case, results, symbolic)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", default=here)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    total = 0
    for cases in (product_cases, embedding_cases, quantised_cases, attention_cases, rotary_cases, group_cases,
                  state_cases, expert_cases, gate_cases, normal_cases, streams_cases, early_cases, gpu_cases):
        for name, case in cases():
            if arguments.only in f"{name}_{case.name}":
                write(os.path.join(arguments.into, "ops"), name, case)
                total += 1
    print(f"{total} cases")


if __name__ == "__main__":
    main()
