#!/usr/bin/env python3
"""Writes decoders of two layers as onnxruntime's model builder has them: GroupQueryAttention over caches, with what was read so far
told by a mask (decoder_mask: how much each sequence has by its sum, how much the longest by its shape) or by inputs of their own
(decoder_lengths). Their cases step_0, step_1 ... are a text and two more tokens of it, each with the caches that the one before
left; the reference is onnxruntime.
    decoders.py [--into FOLDER]
"""

import argparse
import os
import shutil

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import vectors

VOCABULARY, WIDTH, HEADS, GROUPS, HEAD, HIDDEN, LAYERS, LONGEST = 24, 16, 2, 1, 16, 24, 2, 16
BATCH, LENGTH = 2, 5  # of the text


class Decoder:
    def __init__(self):
        self.nodes, self.weights, self.generator = [], {}, np.random.default_rng(7)

    def op(self, kind, *inputs, outputs=1, domain="", **attributes):
        names = [f"{kind.lower()}_{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, f"{kind}_{len(self.nodes)}", domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def weight(self, name, *shape, around=0.0):
        values = self.generator.standard_normal(shape) * 1.2 / np.sqrt(shape[0]) + around
        self.weights[name] = values.astype(np.float32)
        return name

    def constant(self, name, value):
        self.weights[name] = value
        return name

    def product(self, x, name, rows, columns):
        return self.op("MatMul", x, self.weight(name, rows, columns))

    def lengths(self):
        """The mask's sum less one, for each sequence, and its second extent."""
        one = self.constant("one", np.array([1], np.int64))
        counts = self.op("Sub", self.op("ReduceSum", "attention_mask", one, keepdims=0), one)
        whole = self.op("Gather", self.op("Shape", "attention_mask"), self.constant("one_axis", np.array(1, np.int64)))
        return self.op("Cast", counts, to=TensorProto.INT32), self.op("Cast", whole, to=TensorProto.INT32)

    def layer(self, i, x, skip, lengths):
        """What the layer adds, and the sum that it was added to."""
        def norm(name, x, skip):
            gain = self.weight(f"{name}.{i}", WIDTH, around=1.0)
            if skip is None:
                return self.op("SimplifiedLayerNormalization", x, gain, axis=-1, epsilon=1e-5, stash_type=1), x
            names = self.op("SkipSimplifiedLayerNormalization", skip, x, gain, outputs=4, domain="com.microsoft", epsilon=1e-5)
            self.nodes[-1].output[1] = self.nodes[-1].output[2] = ""
            return names[0], names[3]

        y, x = norm("before_attention", x, skip)
        q, k, v = (self.product(y, f"{name}.{i}", WIDTH, count * HEAD)
                   for name, count in (("q", HEADS), ("k", GROUPS), ("v", GROUPS)))
        y, _, _ = self.op("GroupQueryAttention", q, k, v, f"past_key_values.{i}.key", f"past_key_values.{i}.value", *lengths,
                                "cos_cache", "sin_cache", outputs=3, domain="com.microsoft", num_heads=HEADS, kv_num_heads=GROUPS,
                                do_rotary=1, rotary_interleaved=0, scale=HEAD ** -0.5)
        self.nodes[-1].output[1], self.nodes[-1].output[2] = f"present.{i}.key", f"present.{i}.value"
        y, x = norm("before_mlp", x, self.product(y, f"o.{i}", HEADS * HEAD, WIDTH))
        gate, up = self.product(y, f"gate.{i}", WIDTH, HIDDEN), self.product(y, f"up.{i}", WIDTH, HIDDEN)
        return self.product(self.op("Mul", self.op("Mul", gate, self.op("Sigmoid", gate)), up), f"down.{i}", HIDDEN, WIDTH), x

    def model(self, by_mask):
        angles = np.outer(np.arange(LONGEST), 100.0 ** -(np.arange(HEAD // 2) / (HEAD // 2)))
        self.constant("cos_cache", np.cos(angles).astype(np.float32))
        self.constant("sin_cache", np.sin(angles).astype(np.float32))
        lengths = self.lengths() if by_mask else ("seqlens_k", "total_sequence_length")
        x, skip = self.op("Gather", self.weight("embedding", VOCABULARY, WIDTH), "input_ids"), None
        for i in range(LAYERS):
            skip, x = self.layer(i, x, skip, lengths)
        gain = self.weight("last", WIDTH, around=1.0)
        y = self.op("SkipSimplifiedLayerNormalization", x, skip, gain, domain="com.microsoft", epsilon=1e-5)
        self.nodes.append(helper.make_node("MatMul", [y, self.weight("head", WIDTH, VOCABULARY)], ["logits"], "head"))
        return self.finish(by_mask)

    def finish(self, by_mask):
        def value(name, dtype, *shape):
            return helper.make_tensor_value_info(name, dtype, shape)

        inputs = [value("input_ids", TensorProto.INT64, "batch_size", "sequence_length")]
        if by_mask:
            inputs.append(value("attention_mask", TensorProto.INT64, "batch_size", "total_sequence_length"))
        else:
            inputs += [value("seqlens_k", TensorProto.INT32, "batch_size"), value("total_sequence_length", TensorProto.INT32)]
        caches = [f"{i}.{name}" for i in range(LAYERS) for name in ("key", "value")]
        extents = ("past_sequence_length", "total_sequence_length")
        past, present = ([value(f"{stem}.{name}", TensorProto.FLOAT, "batch_size", GROUPS, extent, "head_size") for name in caches]
                         for stem, extent in zip(("past_key_values", "present"), extents))
        outputs = [value("logits", TensorProto.FLOAT, "batch_size", "sequence_length", VOCABULARY), *present]
        weights = [numpy_helper.from_array(array, name) for name, array in self.weights.items()]
        graph = helper.make_graph(self.nodes, "decoder", inputs + past, outputs, weights)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def step_inputs(step, by_mask):
    """Tokens of the step, and the lengths with them."""
    ids = np.random.default_rng(step).integers(0, VOCABULARY, (BATCH, 1 if step else LENGTH))
    total = LENGTH + step
    fed = {"input_ids": ids.astype(np.int64)}
    if by_mask:
        fed["attention_mask"] = np.ones((BATCH, total), np.int64)
    else:
        fed |= {"seqlens_k": np.full(BATCH, total - 1, np.int32), "total_sequence_length": np.array(total, np.int32)}
    return fed


def write(folder, model, by_mask):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    onnx.save(model, os.path.join(folder, "model.onnx"))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    caches = {x.name: np.zeros((BATCH, GROUPS, 0, HEAD), np.float32) for x in session.get_inputs() if x.name.startswith("past")}
    for step in range(3):
        fed = step_inputs(step, by_mask) | caches
        names = [x.name for x in session.get_outputs()]
        results = dict(zip(names, session.run(names, fed)))
        vectors.write_case(os.path.join(folder, f"step_{step}"), fed, results)
        caches = {name: results[name.replace("past_key_values", "present")] for name in caches}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", default=os.path.dirname(os.path.abspath(__file__)))
    into = parser.parse_args().into
    for name, by_mask in (("decoder_mask", True), ("decoder_lengths", False)):
        write(os.path.join(into, name), Decoder().model(by_mask), by_mask)


if __name__ == "__main__":
    main()
