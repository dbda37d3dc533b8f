#!/usr/bin/env python3
"""Writes ops/OPERATOR_VERSION_CASE: one-operator models for each since_version of the operators that Transformer
exports contain (cases/), with vectors by onnxruntime, or by ONNX's reference evaluator where onnxruntime has no kernel.

A model's opset is the operator's since_version, or 9 where that is older. Every second case declares its input
dims as symbols of their own, so that nothing about broadcasting is known before the run.
    operators.py [--into FOLDER] [--only OPERATOR]
"""

import argparse
import os

import numpy as np
import onnx
from onnx import TensorProto, defs, helper

import vectors
from cases import OPERATORS
from one_node import Constant, build_model, fed_inputs, reference_results, write_model

OLDEST, NEWEST = 9, 24

# Whose later versions only allow more element types: these have no case that an earlier version has.
UNCHANGED = {"Tan", "Sinh", "Cosh", "Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh", "ConvTranspose", "DepthToSpace",
             "SpaceToDepth", "GridSample", "GRU", "LRN", "Loop", "LpNormalization", "LSTM",
             "MaxUnpool", "DeformConv", "MeanVarianceNormalization", "RNN", "Scan", "ScatterElements", "ScatterND"}


def versions_of(name):
    """The since_versions that opsets OLDEST to NEWEST resolve to; of an operator that came later its own."""
    found = {defs.get_schema(name, opset).since_version for opset in range(OLDEST, NEWEST + 1) if has(name, opset)}
    return sorted(found) or [defs.get_schema(name).since_version]


def has(name, opset):
    try:
        defs.get_schema(name, opset)
        return True
    except defs.SchemaError:
        return False


def allowed(schema, case):
    """Whether every input's dtype is in the schema's list."""
    constraints = {item.type_param_str: set(item.allowed_type_strs) for item in schema.type_constraints}
    for position, value in enumerate(case.inputs):
        if value is None:
            continue
        array = value.array if isinstance(value, Constant) else value
        formal = schema.inputs[min(position, len(schema.inputs) - 1)]
        dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
        spelled = f"tensor({TensorProto.DataType.Name(dtype).lower()})"
        if spelled not in constraints.get(formal.type_str, {formal.type_str}):
            return False
    return True


def ir_version(opset):
    return helper.find_min_ir_version_for([helper.make_opsetid("", opset)])


def cross_check(label, model, case, results):
    """A note where ONNX's own evaluator disagrees with onnxruntime; empty where it agrees or cannot run."""
    try:
        with np.errstate(all="ignore"):
            second = vectors.run_reference(model, fed_inputs(case))
    except Exception as problem:
        return f"{label}: no second opinion ({type(problem).__name__})"
    try:
        for name, array in results.items():
            half = array.dtype == np.float16
            vectors.assert_close(name, np.asarray(second[name]), array, 4e-3 if half else 2e-5)
    except AssertionError as difference:
        return f"{label}: evaluators differ: {str(difference).strip().splitlines()[0]}"
    return ""


def write_operator(name, into, notes):
    """Writes each version's first case (but for UNCHANGED), and every case whose node, constants or results no earlier version had;
    returns the number of cases written."""
    written, seen = 0, set()
    for version in versions_of(name):
        schema = defs.get_schema(name, max(version, OLDEST))
        cases = [case for case in OPERATORS[name](version) if allowed(schema, case)]
        for index, case in enumerate(cases):
            symbolic = index % 2 == 1 and not case.fixed
            label = f"{name}_{version}_{case.name}"
            opset = max(version, OLDEST)
            model = build_model(name, case, symbolic, [("", opset)], ir_version(opset))
            results, source = reference_results(model, fed_inputs(case))
            content = (case.name, model.graph.SerializeToString(), *(array.tobytes() for array in results.values()))
            if (index > 0 or name in UNCHANGED) and content in seen:
                continue
            seen.add(content)
            note = cross_check(label, model, case, results) if source == "onnxruntime" else f"{label}: reference only"
            if note:
                notes.append(note)
            write_model(os.path.join(into, label), model, case, results, symbolic)
            onnx.checker.check_model(model)
            written += 1
    return written


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", default=os.path.join(here, "ops"))
    parser.add_argument("--only", default="", help="only this operator")
    arguments = parser.parse_args()
    notes, total = [], 0
    for name in sorted(OPERATORS):
        if arguments.only in ("", name):
            total += write_operator(name, arguments.into, notes)
    print("\n".join(notes))
    print(f"{total} cases")


if __name__ == "__main__":
    main()
