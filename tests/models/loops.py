#!/usr/bin/env python3
"""Writes loop_*: loops whose turns only a run counts, written node by node, with several cases each by onnxruntime.

    loops.py [--into FOLDER]
"""

import argparse
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import vectors

F, I, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
OPSET = 13
WORDS, WIDTH, END = 11, 6, 3


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split() if inputs else [], outputs.split(), **attributes)


def infos(values):
    return [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in values]


def graph(nodes, inputs, outputs, **constants):
    made = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    return helper.make_graph(nodes, "graph", infos(inputs), infos(outputs), made)


def turn(nodes, carried, outputs, depth="", **constants):
    """A loop's body: `again` of its nodes, or what it was given, is whether another turn follows. No name is one of a body
    around it: DEPTH is behind those that all bodies have."""
    makes = any("again" in item.output for item in nodes)
    nodes = nodes if makes else [*nodes, node("Identity", f"go{depth}", f"again{depth}")]
    return graph(nodes, [(f"i{depth}", I, []), (f"go{depth}", B, []), *carried], [(f"again{depth}", B, []), *outputs],
                 **constants)


def loop(inputs, outputs, body):
    return helper.make_node("Loop", inputs, outputs.split(), body=body)


def counted():
    """for i in range(n): x = 2 x + w, whose sums are kept; what follows reads both."""
    body = turn([node("Add", "x x", "twice"), node("Add", "twice w", "y"),
                 node("ReduceSum", "y first", "kept", keepdims=0)],
                [("x", F, ["b", 3])], [("y", F, ["b", 3]), ("kept", F, [3])], first=np.array([0]))
    nodes = [loop(["n", "", "x0"], "last all", body), node("ReduceSum", "all", "sum", keepdims=0),
             node("Exp", "sum", "exp"), node("Neg", "last", "neg")]
    inputs = [("n", I, []), ("x0", F, ["b", 3]), ("w", F, [3])]
    outputs = [("last", F, ["b", 3]), ("all", F, ["turns", 3]), ("exp", F, []), ("neg", F, ["b", 3])]
    sizes = [(3, 2), (0, 4), (7, 1), (3, 5)]
    return graph(nodes, inputs, outputs), [
        {"n": np.array(n), "x0": -draw("x", b, 3) - 0.1, "w": -draw("w", 3)} for n, b in sizes]


def unbounded():
    """while sum(x) < limit: x = 1.5 x"""
    body = turn([node("Mul", "x more", "y"), node("ReduceSum", "y", "sum", keepdims=0), node("Less", "sum limit", "again")],
                [("x", F, ["b", 3])], [("y", F, ["b", 3])], more=np.float32(1.5))
    nodes = [node("ReduceSum", "x0", "sum0", keepdims=0), node("Less", "sum0 limit", "go0"),
             loop(["", "go0", "x0"], "last", body), node("Neg", "last", "out")]
    return graph(nodes, [("x0", F, ["b", 3]), ("limit", F, [])], [("out", F, ["b", 3])]), [
        {"x0": draw("x", 2, 3) + 0.1, "limit": np.array(limit, np.float32)} for limit in (5, 1000, 0, 1e9)]


def greedy():
    """Words are added until all sequences have ended, at most n; every turn's scores are kept."""
    body = turn([node("Gather", "table words", "rows"), node("ReduceSum", "rows one", "sum", keepdims=0),
                 node("Tanh", "sum", "hidden"), node("MatMul", "hidden head", "score"),
                 node("ArgMax", "score", "next", axis=1, keepdims=1), node("Concat", "words next", "longer", axis=1),
                 node("Equal", "next end", "ended"), node("Not", "ended", "open"), node("Cast", "open", "number", to=I),
                 node("ReduceMax", "number", "any", keepdims=0), node("Cast", "any", "again", to=B)],
                [("words", I, ["b", "t"])], [("longer", I, ["b", "t1"]), ("score", F, ["b", WORDS])],
                one=np.array([1]), end=np.array([[END]]))
    nodes = [loop(["n", "true", "words0"], "text scores", body)]
    inputs, outputs = [("n", I, []), ("words0", I, ["b", "t"])], [("text", I, ["b", "all"]), ("scores", F, ["n", "b", WORDS])]
    generator = np.random.default_rng(5)
    return graph(nodes, inputs, outputs, table=draw("table", WORDS, WIDTH) - 0.5, head=draw("head", WIDTH, WORDS) - 0.5,
                 true=np.array(True)), [
        {"n": np.array(n), "words0": generator.integers(0, WORDS, (b, t))} for n, b, t in ((40, 2, 3), (5, 1, 1), (2, 3, 4))]


def nested():
    """Turn i of the outer loop makes i + 1 turns of the inner one, which reads what is outside of both."""
    inner = turn([node("Add", "y w", "more"), node("Mul", "more weight", "y1"), node("Identity", "y1", "kept")],
                 [("y", F, ["b", 3])], [("y1", F, ["b", 3]), ("kept", F, ["b", 3])], depth="1")
    body = turn([node("Add", "i one", "turns"), node("Sigmoid", "x", "weight"),
                 loop(["turns", "", "x"], "x1 each", inner), node("ReduceSum", "each first", "sum", keepdims=0)],
                [("x", F, ["b", 3])], [("x1", F, ["b", 3]), ("sum", F, ["b", 3])], one=np.array(1), first=np.array([0]))
    nodes = [loop(["n", "", "x0"], "last all", body)]
    inputs = [("n", I, []), ("x0", F, ["b", 3]), ("w", F, [3])]
    return graph(nodes, inputs, [("last", F, ["b", 3]), ("all", F, ["n", "b", 3])]), [
        {"n": np.array(n), "x0": draw("x", b, 3), "w": draw("w", 3)} for n, b in ((1, 2), (4, 2), (6, 3))]


def branch():
    """A loop that adds rows in one branch of an If, beside a branch that has none."""
    body = turn([node("Concat", "x row", "y", axis=0)], [("x", F, ["b", 3])], [("y", F, ["b1", 3])])
    grows = graph([loop(["n", "", "x0"], "grown", body)], [], [("grown", F, ["b1", 3])])
    plain = graph([node("Neg", "x0", "neg")], [], [("neg", F, ["b", 3])])
    nodes = [helper.make_node("If", ["take"], ["r"], then_branch=grows, else_branch=plain), node("Exp", "r", "out")]
    inputs = [("take", B, []), ("n", I, []), ("x0", F, ["b", 3]), ("row", F, [1, 3])]
    return graph(nodes, inputs, [("out", F, ["c", 3])]), [
        {"take": np.array(take), "n": np.array(n), "x0": draw("x", 2, 3), "row": draw("row", 1, 3)}
        for take, n in ((True, 3), (False, 3), (True, 0), (False, 0))]


def rows():
    """for row in x: an If per row, whose results are joined and kept."""
    yes = graph([node("Neg", "row", "yes")], [], [("yes", F, [1, 3])])
    no = graph([node("Exp", "row", "no")], [], [("no", F, [1, 3])])
    body = turn([node("Unsqueeze", "i zero", "at"), node("Gather", "x at", "row", axis=0),
                 node("ReduceSum", "row", "sum", keepdims=0), node("Greater", "sum least", "large"),
                 helper.make_node("If", ["large"], ["one"], then_branch=yes, else_branch=no),
                 node("Concat", "rows one", "more", axis=0), node("Squeeze", "one zero", "kept")],
                [("rows", F, ["a", 3])], [("more", F, ["a1", 3]), ("kept", F, [3])],
                zero=np.array([0]), least=np.float32(1.5))
    nodes = [node("Shape", "x", "shape"), node("Gather", "shape first", "n"), loop(["n", "", "none"], "joined all", body)]
    return graph(nodes, [("x", F, ["b", 3])], [("joined", F, ["b", 3]), ("all", F, ["b", 3])], first=np.array(0),
                 none=np.zeros((0, 3), np.float32)), [{"x": draw("x", b, 3)} for b in (1, 5, 40, 0)]


def shrinking():
    """while anything is left: x = x[x > 0] - 1, how much is left being kept."""
    body = turn([node("Greater", "x zero", "positive"), node("NonZero", "positive", "places"),
                 node("Squeeze", "places first", "at"), node("Gather", "x at", "left", axis=0), node("Sub", "left one", "y"),
                 node("Shape", "y", "shape"), node("Squeeze", "shape first", "count"), node("Greater", "count none", "again")],
                [("x", F, ["a"])], [("y", F, ["a1"]), ("count", I, [])],
                zero=np.float32(0), one=np.float32(1), first=np.array([0]), none=np.array(0))
    nodes = [loop(["", "true", "x0"], "last counts", body)]
    return graph(nodes, [("x0", F, ["b"])], [("last", F, ["c"]), ("counts", I, ["turns"])], true=np.array(True)), [
        {"x0": 4 * draw("x", b)} for b in (1, 5, 40)]


def scanned():
    """A scan of as many rows as a run has, and of columns backwards; results turned around and along the last axis."""
    body = graph([node("Add", "s x", "s1"), node("Mul", "s1 w", "weighted"), node("Sub", "weighted z", "y"),
                  node("Identity", "y", "y1")],
                 [("s", F, [3]), ("x", F, [3]), ("z", F, [3])], [("s1", F, [3]), ("y", F, [3]), ("y1", F, [3])])
    nodes = [helper.make_node("Scan", ["s0", "x0", "z0"], ["last", "back", "along"], body=body, num_scan_inputs=2,
                              scan_input_axes=[0, 1], scan_input_directions=[0, 1], scan_output_axes=[0, 1],
                              scan_output_directions=[1, 0]), node("ReduceSum", "along", "sum", keepdims=0)]
    inputs = [("s0", F, [3]), ("x0", F, ["t", 3]), ("z0", F, [3, "t"]), ("w", F, [3])]
    outputs = [("last", F, [3]), ("back", F, ["t", 3]), ("along", F, [3, "t"]), ("sum", F, [])]
    return graph(nodes, inputs, outputs), [
        {"s0": draw("s", 3), "x0": draw("x", t, 3), "z0": draw("z", 3, t), "w": draw("w", 3)} for t in (4, 1, 37)]


def listed():
    """for row in x: h = tanh(h + row), appended to a list beside one that begins with h0; stacked, joined and looked at."""
    body = turn([node("Gather", "x i", "row", axis=0), node("Add", "h row", "sum"), node("Tanh", "sum", "h1"),
                 node("SequenceInsert", "states h1", "more"), node("SequenceInsert", "begun row", "longer")],
                [("h", F, [3])], [("h1", F, [3])])
    for name, to in (("states", body.input), ("begun", body.input), ("more", body.output), ("longer", body.output)):
        to.append(helper.make_tensor_sequence_value_info(name, F, None))
    nodes = [node("Shape", "x", "shape"), node("Gather", "shape first", "n"), node("SequenceEmpty", "", "none"),
             node("SequenceConstruct", "h0", "one"), loop(["n", "", "h0", "none", "one"], "last list begun1", body),
             node("ConcatFromSequence", "list", "stacked", axis=1, new_axis=1),
             node("ConcatFromSequence", "begun1", "joined", axis=0), node("SequenceLength", "begun1", "count"),
             node("SequenceAt", "list end", "final")]
    outputs = [("last", F, [3]), ("stacked", F, [3, "t"]), ("joined", F, ["m"]), ("count", I, []), ("final", F, [3])]
    return graph(nodes, [("x", F, ["t", 3]), ("h0", F, [3])], outputs, first=np.array(0), end=np.array(-1)), [
        {"x": draw("x", t, 3), "h0": draw("h", 3)} for t in (4, 1, 33)]


def bounded():
    """At most five turns, which no graph can hold side by side: each makes as many turns as x has rows, and leaves one row."""
    inner = turn([node("Add", "s w", "more"), node("Tanh", "more", "s1")], [("s", F, [3])], [("s1", F, [3])], depth="1")
    body = turn([node("Shape", "x", "shape"), node("Gather", "shape none", "rows"), loop(["rows", "", "w"], "s2", inner),
                 node("Add", "x s2", "sum"), node("ReduceSum", "sum first", "y", keepdims=1)],
                [("x", F, ["a", 3])], [("y", F, ["a1", 3])], none=np.array(0), first=np.array([0]))
    nodes = [node("Min", "n five", "limit"), loop(["limit", "", "x0"], "last", body)]
    return graph(nodes, [("n", I, []), ("x0", F, ["b", 3]), ("w", F, [3])], [("last", F, ["c", 3])], five=np.array(5)), [
        {"n": np.array(n), "x0": draw("x", b, 3), "w": draw("w", 3)} for n, b in ((0, 4), (3, 4), (9, 2))]


def draw(label, *shape):
    generator = np.random.default_rng([7, *label.encode(), *shape])
    return generator.random(shape, dtype=np.float32)


MODELS = (counted, unbounded, greedy, nested, branch, rows, shrinking, scanned, listed, bounded)


def write(into, make):
    made, cases = make()
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    folder = os.path.join(into, f"loop_{make.__name__}")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "model.onnx"), "wb") as file:
        file.write(model.SerializeToString())
    for index, inputs in enumerate(cases):
        results = vectors.run_onnxruntime(model, inputs)
        vectors.write_case(os.path.join(folder, f"case_{index}"), inputs, results)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", default=here)
    arguments = parser.parse_args()
    for make in MODELS:
        write(arguments.into, make)


if __name__ == "__main__":
    main()
