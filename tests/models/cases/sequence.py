"""Cases of loops, recurrent cells and signals."""

import numpy as np
from onnx import TensorProto, helper

from one_node import BOOL, F32, I32, I64, Case, Constant, numbers, scalar

from . import operator


def body(nodes, inputs, outputs, initializers=()):
    def named(names):
        return [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in names]

    return helper.make_graph(nodes, "body", named(inputs), named(outputs), list(initializers))


@operator("Loop")
def loop(name, version):
    f, b, i = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
    grows = body([helper.make_node("Cast", ["i"], ["k"], to=f), helper.make_node("Mul", ["x", "k"], ["y"]),
                  helper.make_node("Add", ["y", "x"], ["x_out"]), helper.make_node("Identity", ["go"], ["go_out"])],
                 [("i", i, []), ("go", b, []), ("x", f, [2, 3])],
                 [("go_out", b, []), ("x_out", f, [2, 3]), ("y", f, [2, 3])])
    # x grows by a half while all of it is below 5; row 3 - i of a table of three is read in each turn, which some have not
    ends = body([helper.make_node("Mul", ["x", "half"], ["y"]), helper.make_node("Add", ["y", "x"], ["z"]),
                 helper.make_node("Sub", ["last", "i"], ["row"]), helper.make_node("Gather", ["table", "row"], ["part"]),
                 helper.make_node("Add", ["z", "part"], ["x_out"]),
                 helper.make_node("ReduceMax", ["x_out"], ["most"], keepdims=0),
                 helper.make_node("Less", ["most", "five"], ["go_out"])],
                [("i", i, []), ("go", b, []), ("x", f, [2, 3])],
                [("go_out", b, []), ("x_out", f, [2, 3]), ("y", f, [2, 3])],
                [helper.make_tensor("half", f, [], [0.5]), helper.make_tensor("five", f, [], [5.0]),
                 helper.make_tensor("last", i, [], [2]), helper.make_tensor("table", f, [3], [0.5, 0.25, 0.125])])
    yield Case("turns", [scalar(4), scalar(True, BOOL), numbers("x", (2, 3))], {"body": grows}, 2)
    if version >= 11:
        x = numbers("x", (2, 3), low=1, high=2)
        yield Case("ends", [scalar(9), scalar(True, BOOL), x], {"body": ends}, 2, fixed=True)
        yield Case("ends_given", [scalar(9), np.array(True), 0.3 * x], {"body": ends}, 2, fixed=True)
        yield Case("never", [scalar(3), np.array(False), x], {"body": ends}, 2, fixed=True)


@operator("Scan")
def scan(name, version):
    f = TensorProto.FLOAT
    sums = body([helper.make_node("Add", ["s", "x"], ["s_out"]), helper.make_node("Mul", ["s_out", "x"], ["y"])],
                [("s", f, [3]), ("x", f, [3])], [("s_out", f, [3]), ("y", f, [3])])
    yield Case("sums", [numbers("s", (3,)), numbers("x", (4, 3))], {"body": sums, "num_scan_inputs": 1}, 2)
    if version >= 9:
        turned = {"body": sums, "num_scan_inputs": 1, "scan_input_axes": [1], "scan_input_directions": [1],
                  "scan_output_axes": [1]}
        yield Case("backwards", [numbers("s", (3,)), Constant(numbers("x", (3, 4)))], turned, 2)


@operator("RNN", "GRU", "LSTM")
def recurrent(name, version):
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[name]
    steps, batch, width, hidden = 3, 2, 4, 5
    x = numbers("x", (steps, batch, width))

    def weights(directions):
        return [Constant(numbers("w", (directions, gates * hidden, width), low=-1, high=1)),
                Constant(numbers("r", (directions, gates * hidden, hidden), low=-1, high=1)),
                Constant(numbers("b", (directions, 2 * gates * hidden), low=-1, high=1))]

    outputs = 3 if name == "LSTM" else 2
    attributes = {"hidden_size": hidden}
    yield Case("plain", [x, *weights(1)], attributes, outputs)
    both = [Constant(x), *weights(2), Constant(np.array([3, 1], I32)), numbers("h", (2, batch, hidden))]
    yield Case("both_lengths", both, {**attributes, "direction": "bidirectional"}, outputs)
    if name == "GRU":
        yield Case("late_reset", [x, *weights(1)], {**attributes, "linear_before_reset": 1, "direction": "reverse"}, 2)
    if name == "LSTM":
        state = [Constant(numbers("h", (1, batch, hidden))), Constant(numbers("c", (1, batch, hidden)))]
        peep = Constant(numbers("p", (1, 3 * hidden)))
        yield Case("peepholes", [x, *weights(1), None, *state, peep], attributes, 3)


@operator("HannWindow", "HammingWindow", "BlackmanWindow")
def window(name, version):
    yield Case("periodic", [scalar(9)])
    yield Case("symmetric", [scalar(8)], {"periodic": 0})


@operator("MelWeightMatrix")
def mel_weights(name, version):
    yield Case("constants", [scalar(8), scalar(64), scalar(16000), scalar(0.0, F32), scalar(8000.0, F32)])
    low, high = np.array(90.0, F32), np.array(3700.0, F32)
    yield Case("frequencies", [scalar(10), scalar(31), np.array(8000, I64), low, high], {"output_datatype": TensorProto.DOUBLE})


@operator("STFT")
def short_transforms(name, version):
    x, step = numbers("x", (2, 24, 1)), scalar(5)
    window = Constant(numbers("w", (8,)))
    yield Case("window", [x, step, window])
    yield Case("length", [Constant(numbers("x", (1, 19, 1))), scalar(3), None, scalar(7)], {"onesided": 0})


@operator("DFT")
def fourier(name, version):
    axis = {"axis": 1} if version < 20 else {}
    last = [None, scalar(1)] if version >= 20 else []
    yield Case("complex", [numbers("x", (2, 5, 3, 2)), *last], axis)
    yield Case("inverse", [Constant(numbers("x", (1, 8, 2))), *last], {**axis, "inverse": 1})
    yield Case("real", [numbers("x", (2, 6, 1)), *last], {**axis, "onesided": 1})
    if version >= 20:
        half = np.fft.rfft(numbers("x", (2, 6)))  # of other lengths onnxruntime gives something else than numpy and the evaluator
        yield Case("half", [Constant(np.stack([half.real, half.imag], -1).astype(F32)), *last], {"onesided": 1, "inverse": 1})
    axis_last = [scalar(1)] if version >= 20 else []
    yield Case("shorter", [numbers("x", (2, 7, 2)), scalar(4), *axis_last], axis, fixed=True)
    yield Case("longer", [numbers("x", (2, 5, 1)), scalar(8), *axis_last], {**axis, "onesided": 1}, fixed=True)
