#!/usr/bin/env python3
"""Writes a GPT-2 block, a Llama block, a layer of experts, recurrent networks, a merged decoder and convolutions node by node, at
opset 17 (norms and activations decomposed, or LayerNormalization), 20 (Gelu), 23 (RMSNormalization, RotaryEmbedding, Attention) and
24 (Swish), with symbolic dims.

The forms of one block share weights and inputs, so their outputs must agree with each other; that is checked, and
the reference is onnxruntime's result (ONNX's reference evaluator's where onnxruntime lacks an operator).
    handmade.py [--into FOLDER]
"""

import argparse
import math
import os
import shutil

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import vectors

HEADS, KV_HEADS, HEAD_DIM, D_FF, TOLERANCE = 4, 2, 6, 40, 2e-5
D_MODEL = HEADS * HEAD_DIM
SIZES = ((2, 7), (1, 12))
LARGEST = np.iinfo(np.int64).max


class Builder:
    """Collects nodes, weights and constants; every method returns the name of a value."""

    def __init__(self, opset):
        self.opset, self.nodes, self.weights, self.generator = opset, [], {}, np.random.default_rng(5)

    def op(self, kind, *inputs, outputs=1, **attributes):
        names = [f"{kind.lower()}_{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, f"{kind}_{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def weight(self, name, shape, around=0.0, spread=None):
        spread = 1.2 / math.sqrt(shape[0]) if spread is None else spread
        self.weights[name] = (around + spread * self.generator.standard_normal(shape)).astype(np.float32)
        return name

    def constant(self, value, dtype=np.float32):
        array = np.array(value, dtype)
        name = f"c_{array.dtype}_" + "_".join(str(v) for v in array.reshape(-1)) + f"_{array.ndim}"
        self.weights[name] = array
        return name

    def ints(self, *values):
        return self.constant(values, np.int64)

    def mean(self, x):
        if self.opset >= 18:
            return self.op("ReduceMean", x, self.ints(-1), keepdims=1)
        return self.op("ReduceMean", x, axes=[-1], keepdims=1)

    def heads(self, x, count):
        """(B, T, count * d) -> (B, count, T, d)."""
        return self.op("Transpose", self.op("Reshape", x, self.ints(0, 0, count, HEAD_DIM)), perm=[0, 2, 1, 3])

    def merge(self, x):
        return self.op("Reshape", self.op("Transpose", x, perm=[0, 2, 1, 3]), self.ints(0, 0, -1))

    def finish(self, name, inputs, output):
        self.nodes[-1].output[0] = output
        dims = ["batch", "length", D_MODEL]
        y = helper.make_tensor_value_info(output, TensorProto.FLOAT, dims)
        used = {value for node in self.nodes for value in node.input}
        weights = [numpy_helper.from_array(array, key) for key, array in self.weights.items() if key in used]
        graph = helper.make_graph(self.nodes, name, inputs, [y], weights)
        imports = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=helper.find_min_ir_version_for(imports))
        onnx.checker.check_model(model, full_check=True)
        return model


def float_input(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "length", D_MODEL])


def int_input(name):
    return helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])


def softmax_attention(b, q, kt, v, allowed):
    """Scaled scores, Where by the bool mask ALLOWED (broadcast to B, H, T, T), Softmax, product."""
    scores = b.op("Mul", b.op("MatMul", q, kt), b.constant(1 / math.sqrt(HEAD_DIM)))
    scores = b.op("Where", allowed, scores, b.constant(np.finfo(np.float32).min))
    return b.op("MatMul", b.op("Softmax", scores, axis=-1), v)


def causal_mask(b, x):
    """(T, T) bool: column <= row."""
    length = b.op("Gather", b.op("Shape", x), b.constant(1, np.int64), axis=0)
    index = b.op("Range", b.constant(0, np.int64), length, b.constant(1, np.int64))
    return b.op("LessOrEqual", b.op("Unsqueeze", index, b.ints(0)), b.op("Unsqueeze", index, b.ints(1)))


# ---- GPT-2 block: y = h + mlp(norm(h)), h = x + attention(norm(x)) -----------------------------------------------


def layer_norm(b, x, name, form):
    gain, bias = b.weight(name + ".gain", (D_MODEL,), 1, 0.1), b.weight(name + ".bias", (D_MODEL,), 0, 0.1)
    if form == "operator":
        return b.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=1e-5)
    centred = b.op("Sub", x, b.mean(x))
    square = b.op("Mul", centred, centred)
    deviation = b.op("Sqrt", b.op("Add", b.mean(square), b.constant(1e-5)))
    return b.op("Add", b.op("Mul", b.op("Div", centred, deviation), gain), bias)


def gelu(b, x, form):
    if form == "operator":
        return b.op("Gelu", x, approximate="tanh")
    cube = b.op("Mul", b.op("Mul", x, x), x)
    inner = b.op("Add", x, b.op("Mul", b.constant(0.044715), cube))
    inner = b.op("Mul", b.constant(math.sqrt(2 / math.pi)), inner)
    gate = b.op("Mul", b.constant(0.5), b.op("Add", b.constant(1.0), b.op("Tanh", inner)))
    return b.op("Mul", x, gate)


def linear(b, x, name, d_in, d_out):
    product = b.op("MatMul", x, b.weight(name + ".weight", (d_in, d_out)))
    return b.op("Add", product, b.weight(name + ".bias", (d_out,), 0, 0.1))


def gpt2_block(opset, norm, activation, attention):
    b = Builder(opset)
    qkv = linear(b, layer_norm(b, "x", "ln_1", norm), "attn", D_MODEL, 3 * D_MODEL)
    split = {"num_outputs": 3} if opset >= 18 else {}
    q, k, v = b.op("Split", qkv, outputs=3, axis=-1, **split)
    if attention == "operator":
        joined = b.op("Attention", q, k, v, is_causal=1, q_num_heads=HEADS, kv_num_heads=HEADS)
    else:
        kt = b.op("Transpose", b.op("Reshape", k, b.ints(0, 0, HEADS, HEAD_DIM)), perm=[0, 2, 3, 1])
        joined = b.merge(softmax_attention(b, b.heads(q, HEADS), kt, b.heads(v, HEADS), causal_mask(b, "x")))
    h = b.op("Add", "x", linear(b, joined, "proj", D_MODEL, D_MODEL))
    inner = gelu(b, linear(b, layer_norm(b, h, "ln_2", norm), "fc", D_MODEL, 4 * D_MODEL), activation)
    b.op("Add", h, linear(b, inner, "out", 4 * D_MODEL, D_MODEL))
    return b.finish(f"gpt2_block_{opset}", [float_input("x")], "y")


# ---- Llama block: grouped queries, rotary positions, padding mask --------------------------------------------------


def rms_norm(b, x, name, form):
    gain = b.weight(name + ".gain", (D_MODEL,), 1, 0.1)
    if form == "operator":
        return b.op("RMSNormalization", x, gain, axis=-1, epsilon=1e-6)
    mean = b.mean(b.op("Pow", x, b.constant(2.0)))
    scale = b.op("Reciprocal", b.op("Sqrt", b.op("Add", mean, b.constant(1e-6))))
    return b.op("Mul", b.op("Mul", x, scale), gain)


def swish(b, x, form):
    return b.op("Swish", x) if form == "operator" else b.op("Mul", x, b.op("Sigmoid", x))


def rotary_tables(b):
    """cos and sin of (B, T, d / 2) from position_ids."""
    frequencies = 1.0 / 10000.0 ** (np.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    positions = b.op("Cast", b.op("Unsqueeze", "position_ids", b.ints(2)), to=TensorProto.FLOAT)
    angle = b.op("Mul", positions, b.constant(frequencies))
    return b.op("Cos", angle), b.op("Sin", angle)


def rotate(b, x, cos, sin, form):
    """x (B, H, T, d); the first half of d is paired with the second."""
    if form == "operator":
        return b.op("RotaryEmbedding", x, cos, sin)
    first = b.op("Slice", x, b.ints(0), b.ints(HEAD_DIM // 2), b.ints(-1))
    second = b.op("Slice", x, b.ints(HEAD_DIM // 2), b.ints(LARGEST), b.ints(-1))
    turned = b.op("Concat", b.op("Neg", second), first, axis=-1)
    wide = [b.op("Unsqueeze", b.op("Concat", t, t, axis=-1), b.ints(1)) for t in (cos, sin)]
    return b.op("Add", b.op("Mul", x, wide[0]), b.op("Mul", turned, wide[1]))


def repeat_heads(b, x):
    """(B, Hkv, T, d) -> (B, H, T, d), each head HEADS / KV_HEADS times in a row."""
    times = HEADS // KV_HEADS
    wide = b.op("Expand", b.op("Unsqueeze", x, b.ints(2)), b.ints(1, 1, times, 1, 1))
    length = b.op("Shape", x, start=2, end=3)
    shape = b.op("Concat", b.ints(-1, HEADS), length, b.ints(HEAD_DIM), axis=0)
    return b.op("Reshape", wide, shape)


def llama_block(opset, norm, rotary, activation, attention):
    b = Builder(opset)
    cos, sin = rotary_tables(b)
    n = rms_norm(b, "x", "norm_1", norm)
    q = b.heads(b.op("MatMul", n, b.weight("q", (D_MODEL, D_MODEL))), HEADS)
    k = b.heads(b.op("MatMul", n, b.weight("k", (D_MODEL, KV_HEADS * HEAD_DIM))), KV_HEADS)
    v = b.heads(b.op("MatMul", n, b.weight("v", (D_MODEL, KV_HEADS * HEAD_DIM))), KV_HEADS)
    q, k = rotate(b, q, cos, sin, rotary), rotate(b, k, cos, sin, rotary)
    padding = b.op("Unsqueeze", b.op("Cast", "attention_mask", to=TensorProto.BOOL), b.ints(1, 2))
    allowed = b.op("And", causal_mask(b, "x"), padding)
    if attention == "operator":
        joined = b.op("Attention", q, k, v, allowed, scale=1 / math.sqrt(HEAD_DIM))
    else:
        k, v = repeat_heads(b, k), repeat_heads(b, v)
        joined = softmax_attention(b, q, b.op("Transpose", k, perm=[0, 1, 3, 2]), v, allowed)
    h = b.op("Add", "x", b.op("MatMul", b.merge(joined), b.weight("o", (D_MODEL, D_MODEL))))
    n = rms_norm(b, h, "norm_2", norm)
    gate = swish(b, b.op("MatMul", n, b.weight("gate", (D_MODEL, D_FF))), activation)
    up = b.op("MatMul", n, b.weight("up", (D_MODEL, D_FF)))
    b.op("Add", h, b.op("MatMul", b.op("Mul", gate, up), b.weight("down", (D_FF, D_MODEL))))
    inputs = [float_input("x"), int_input("attention_mask"), int_input("position_ids")]
    return b.finish(f"llama_block_{opset}", inputs, "y")


# ---- experts: each token goes to the two of four that its router likes best ------------------------------------------

EXPERTS, CHOSEN = 4, 2


def moe_block(opset):
    """As torch writes it: an expert's tokens are those of a mask, found by NonZero. Nobody is sent to the last expert."""
    b = Builder(opset)
    tokens = b.op("Reshape", "x", b.ints(-1, D_MODEL))
    router = b.op("MatMul", tokens, b.weight("router", (D_MODEL, EXPERTS)))
    router = b.op("Add", router, b.constant([0.0] * (EXPERTS - 1) + [-1e9]))
    weights, chosen = b.op("TopK", b.op("Softmax", router, axis=-1), b.ints(CHOSEN), outputs=2, axis=-1)
    result = b.op("Mul", tokens, b.constant(0.0))
    for expert in range(EXPERTS):
        mask = b.op("Equal", chosen, b.constant(expert, np.int64))
        found = b.op("NonZero", b.op("Transpose", mask, perm=[1, 0]))
        which, token = b.op("Split", found, outputs=2, axis=0)
        token = b.op("Squeeze", token, b.ints(0))
        pair = b.op("Concat", b.op("Unsqueeze", token, b.ints(1)), b.op("Transpose", which, perm=[1, 0]), axis=1)
        h = b.op("MatMul", b.op("Gather", tokens, token, axis=0), b.weight(f"up_{expert}", (D_MODEL, D_FF)))
        y = b.op("MatMul", b.op("Mul", h, b.op("Sigmoid", h)), b.weight(f"down_{expert}", (D_FF, D_MODEL)))
        y = b.op("Mul", y, b.op("Unsqueeze", b.op("GatherND", weights, pair), b.ints(1)))
        result = b.op("ScatterND", result, b.op("Unsqueeze", token, b.ints(1)), y, reduction="add")
    b.op("Reshape", result, b.op("Shape", "x"))
    return b.finish(f"moe_block_{opset}", [float_input("x")], "y")


# ---- recurrent networks, whose number of steps no dim tells ----------------------------------------------------------

HIDDEN = D_MODEL


def recurrent(opset):
    """An LSTM of two directions with lengths and peepholes, GRUs of both kinds and an RNN, one on the other."""
    b = Builder(opset)

    def network(kind, gates, directions, x, width, lengths="", *more, **attributes):
        weights = [b.weight(f"{kind}_w_{len(b.nodes)}", (directions, gates * HIDDEN, width), spread=0.3),
                   b.weight(f"{kind}_r_{len(b.nodes)}", (directions, gates * HIDDEN, HIDDEN), spread=0.3),
                   b.weight(f"{kind}_b_{len(b.nodes)}", (directions, 2 * gates * HIDDEN), spread=0.3)]
        states = b.op(kind, x, *weights, lengths, *more, outputs=3 if kind == "LSTM" else 2, hidden_size=HIDDEN,
                      **attributes)
        flat = b.op("Transpose", states[0], perm=[0, 2, 1, 3])
        return b.op("Reshape", flat, b.ints(0, 0, directions * HIDDEN)), states[-1]

    x = b.op("Transpose", "x", perm=[1, 0, 2])
    lengths = b.op("Cast", b.op("ReduceSum", "attention_mask", b.ints(1), keepdims=0), to=TensorProto.INT32)
    peep = b.weight("peep", (2, 3 * HIDDEN), spread=0.3)
    x, cell = network("LSTM", 4, 2, x, D_MODEL, lengths, "", "", peep, direction="bidirectional")
    first = b.op("Slice", cell, b.ints(0), b.ints(1), b.ints(0))
    x, last = network("GRU", 3, 1, x, 2 * HIDDEN, "", first, linear_before_reset=1)
    x, _ = network("GRU", 3, 1, x, HIDDEN, lengths, last, direction="reverse")
    x, last = network("RNN", 1, 1, b.op("Add", x, last), HIDDEN, "", activations=["Relu"])
    b.op("Transpose", b.op("Add", x, last), perm=[1, 0, 2])
    return b.finish(f"recurrent_{opset}", [float_input("x"), int_input("attention_mask")], "y")


# ---- a decoder that is two in one ------------------------------------------------------------------------------------


def attention_branch(opset, weights, cached):
    """Attention over what the cache holds and x, or over x alone; the new cache comes out."""
    b = Builder(opset)
    b.weights = weights
    q, k, v = (b.heads(b.op("MatMul", "x", name), HEADS) for name in ("wq", "wk", "wv"))
    if cached:
        k, v = b.op("Concat", "past_key", k, axis=2), b.op("Concat", "past_value", v, axis=2)
    total, length = (b.op("Gather", b.op("Shape", value), b.ints(1)) for value in ("total_mask", "x"))
    index = b.op("Range", b.constant(0, np.int64), b.op("Squeeze", total), b.constant(1, np.int64))
    row = b.op("Slice", index, b.op("Sub", total, length), total)
    allowed = b.op("LessOrEqual", b.op("Unsqueeze", index, b.ints(0)), b.op("Unsqueeze", row, b.ints(1)))
    padding = b.op("Cast", b.op("Unsqueeze", "total_mask", b.ints(1, 2)), to=TensorProto.BOOL)
    allowed = b.op("And", allowed, padding)
    y = softmax_attention(b, q, b.op("Transpose", k, perm=[0, 1, 3, 2]), v, allowed)
    y = b.op("Add", "x", b.op("MatMul", b.merge(y), "wo"))
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (y, k, v)]
    return helper.make_graph(b.nodes, "cached" if cached else "first", [], results)


def merged_block(opset):
    """As optimum joins a decoder that goes on from a cache with one that has none: sizes of the branch that a run does not
    take do not fit one another."""
    b = Builder(opset)
    for name in ("wq", "wk", "wv", "wo"):
        b.weight(name, (D_MODEL, D_MODEL))
    then, other = (attention_branch(opset, b.weights, cached) for cached in (True, False))
    outputs = ["y", "present_key", "present_value"]
    node = helper.make_node("If", ["use_cache"], outputs, then_branch=then, else_branch=other)
    cache = lambda name, size: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", HEADS, size, HEAD_DIM])
    inputs = [float_input("x"), helper.make_tensor_value_info("total_mask", TensorProto.INT64, ["batch", "total"]),
              cache("past_key", "past"), cache("past_value", "past"),
              helper.make_tensor_value_info("use_cache", TensorProto.BOOL, [1])]
    results = [float_input("y"), cache("present_key", "total"), cache("present_value", "total")]
    weights = [numpy_helper.from_array(array, key) for key, array in b.weights.items()]
    graph = helper.make_graph([node], f"merged_block_{opset}", inputs, results, weights)
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=helper.find_min_ir_version_for(imports))
    onnx.checker.check_model(model, full_check=True)
    return model


# ---- convolutions, one on the other, of an image and along the tokens ------------------------------------------------

CHANNELS = 20  # no whole number of vectors


def convolve(b, x, channels, filters, kernel, group=1, **attributes):
    at = len(b.nodes)
    elements = (channels // group, *kernel)
    weight = b.weight(f"filter_{at}", (filters, *elements), spread=math.prod(elements) ** -0.5)
    pads = [k // 2 for k in kernel] * 2
    return b.op("Conv", x, weight, b.weight(f"bias_{at}", (filters,)), group=group, pads=pads, **attributes)


def convolutional(opset):
    """Residual, strided, grouped and depthwise convolutions, pools, a norm and a gate; then tokens look at places."""
    b = Builder(opset)
    h = b.op("Relu", convolve(b, b.op("Unsqueeze", "x", b.ints(1)), 1, CHANNELS, (3, 3), strides=[2, 2]))
    h = b.op("Add", h, b.op("Relu", convolve(b, h, CHANNELS, CHANNELS, (3, 3))))
    h = b.op("MaxPool", h, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    wide = convolve(b, h, CHANNELS, CHANNELS, (5, 5), CHANNELS)
    h = b.op("Mul", wide, b.op("Sigmoid", b.op("AveragePool", h, kernel_shape=[3, 3], pads=[1, 1, 1, 1])))
    gate = b.op("Sigmoid", convolve(b, b.op("GlobalAveragePool", h), CHANNELS, CHANNELS, (1, 1)))
    h = convolve(b, b.op("Mul", h, gate), CHANNELS, D_MODEL, (3, 3), 4)
    ones = [b.weight(name, (D_MODEL,), around, 0.2) for name, around in (("norm_scale", 1.0), ("norm_shift", 0.0))]
    h = convolve(b, b.op("InstanceNormalization", h, *ones), D_MODEL, D_MODEL, (1, 1), strides=[2, 2])
    places = b.op("Reshape", h, b.ints(0, D_MODEL, -1))
    tokens = b.op("Transpose", "x", perm=[0, 2, 1])
    tokens = b.op("Tanh", convolve(b, tokens, D_MODEL, D_MODEL, (3,)))
    tokens = b.op("Add", tokens, convolve(b, tokens, D_MODEL, D_MODEL, (5,), 3))
    tokens = b.op("Transpose", tokens, perm=[0, 2, 1])
    scores = b.op("Softmax", b.op("MatMul", tokens, places), axis=-1)
    b.op("Add", tokens, b.op("MatMul", scores, b.op("Transpose", places, perm=[0, 2, 1])))
    return b.finish(f"convolutional_{opset}", [float_input("x")], "y")


OPERATOR, DECOMPOSED = "operator", "decomposed"
MODELS = {
    "gpt2_block_op17_decomposed": lambda: gpt2_block(17, DECOMPOSED, DECOMPOSED, DECOMPOSED),
    "gpt2_block_op17": lambda: gpt2_block(17, OPERATOR, DECOMPOSED, DECOMPOSED),
    "gpt2_block_op20": lambda: gpt2_block(20, OPERATOR, OPERATOR, DECOMPOSED),
    "gpt2_block_op23": lambda: gpt2_block(23, OPERATOR, OPERATOR, OPERATOR),
    "llama_block_op17": lambda: llama_block(17, DECOMPOSED, DECOMPOSED, DECOMPOSED, DECOMPOSED),
    "llama_block_op20": lambda: llama_block(20, DECOMPOSED, DECOMPOSED, DECOMPOSED, DECOMPOSED),
    "llama_block_op23": lambda: llama_block(23, OPERATOR, OPERATOR, DECOMPOSED, OPERATOR),
    "llama_block_op24": lambda: llama_block(24, OPERATOR, OPERATOR, OPERATOR, OPERATOR),
    "moe_block_op17": lambda: moe_block(17),
    "recurrent_op17": lambda: recurrent(17),
    "merged_block_op17": lambda: merged_block(17),
    "convolutional_op17": lambda: convolutional(17),
}


def make_inputs(model, batch, length):
    generator = np.random.default_rng([9, batch, length])
    mask = np.ones((batch, length), np.int64)
    mask[-1, length - 2 :] = 0
    everything = {
        "x": generator.standard_normal((batch, length, D_MODEL)).astype(np.float32),
        "attention_mask": mask,
        "position_ids": np.arange(length, dtype=np.int64)[None].repeat(batch, 0),
    }
    past = 4 if batch == 1 else 0
    for name in ("past_key", "past_value"):
        everything[name] = generator.standard_normal((batch, HEADS, past, HEAD_DIM)).astype(np.float32)
    everything["total_mask"] = np.concatenate([np.ones((batch, past), np.int64), mask], axis=1)
    everything["use_cache"] = np.array([past > 0])
    return {name: everything[name] for name in vectors.graph_inputs(model)}


def run(model, inputs):
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    try:
        return vectors.run_onnxruntime(model, inputs)
    except (state.NotImplemented, state.Fail, state.InvalidGraph) as problem:
        print(f"{model.graph.name}: reference evaluator ({type(problem).__name__})")
        return vectors.run_reference(model, inputs)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", default=here)
    into = parser.parse_args().into
    first = {}  # family and size -> the first form's output, which the later forms must equal
    for name, make in MODELS.items():
        model, folder = make(), os.path.join(into, name)
        shutil.rmtree(folder, ignore_errors=True)
        for batch, length in SIZES:
            inputs = make_inputs(model, batch, length)
            outputs = run(model, inputs)
            key = (name.split("_")[0], batch, length)
            vectors.assert_close(name, outputs["y"], first.setdefault(key, outputs["y"]), TOLERANCE)
            vectors.write_case(os.path.join(folder, f"b{batch}_t{length}"), inputs, outputs)
        with open(os.path.join(folder, "model.onnx"), "wb") as file:
            file.write(model.SerializeToString())
        print(f"{name} ({model.ByteSize()} bytes): {vectors.describe_histogram(model.graph)}")


if __name__ == "__main__":
    main()
