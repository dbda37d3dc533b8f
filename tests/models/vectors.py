"""Test vectors in the layout of ONNX's own test sets: FOLDER/model.onnx and, per case, input_N.pb, output_N.pb."""

import os

import numpy as np
import onnx
from onnx import numpy_helper


def write_tensors(folder, prefix, named):
    """Writes one TensorProto per entry of NAMED (name -> array), numbered in order."""
    os.makedirs(folder, exist_ok=True)
    for number, (name, array) in enumerate(named.items()):
        tensor = numpy_helper.from_array(np.ascontiguousarray(array).reshape(np.shape(array)), name)
        with open(os.path.join(folder, f"{prefix}_{number}.pb"), "wb") as file:
            file.write(tensor.SerializeToString())


def write_case(folder, inputs, outputs):
    write_tensors(folder, "input", inputs)
    write_tensors(folder, "output", outputs)


def graph_inputs(model):
    """The names a caller must feed: graph inputs that no initializer defaults."""
    initialised = {tensor.name for tensor in model.graph.initializer}
    return [value.name for value in model.graph.input if value.name not in initialised]


def run_onnxruntime(model, inputs):
    """Runs MODEL (ModelProto) without graph optimisations; returns name -> array."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in model.graph.output]
    return dict(zip(names, session.run(names, inputs)))


def run_reference(model, inputs):
    """Runs MODEL with ONNX's reference evaluator, for operators that onnxruntime lacks."""
    from onnx.reference import ReferenceEvaluator

    names = [value.name for value in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(model).run(names, inputs)))


def assert_close(name, got, want, tolerance):
    """|got - want| <= tolerance * (1 + |want|), NaN and infinity in the same places."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{name}: shape {got.shape} is not {want.shape}"
    assert got.dtype == want.dtype, f"{name}: dtype {got.dtype} is not {want.dtype}"
    if got.dtype.kind in "biu":
        assert np.array_equal(got, want), f"{name}: integers differ"
        return
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, equal_nan=True, err_msg=name)


def operator_histogram(graph):
    """Operator -> count, bodies of If, Loop and Scan included."""
    counts = {}
    for node in graph.node:
        key = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        counts[key] = counts.get(key, 0) + 1
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                for inner, count in operator_histogram(attribute.g).items():
                    counts[inner] = counts.get(inner, 0) + count
    return counts


def describe_histogram(graph):
    counts = operator_histogram(graph)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return " ".join(f"{name} {count}" for name, count in ordered)
