#!/usr/bin/env python3
"""Writes ops/OPERATOR_VERSION_CASE of quantised tensors, by onnxruntime, or by ONNX's reference evaluator where it has no
kernel or the types are of 4 bits. Half of the cases declare their input dims as symbols. And two of the models here as onnxruntime's own tools quantise them, with its results for the inputs that are there.
    quantized.py [--into FOLDER] [--only TEXT]
"""

import argparse
import os
import shutil

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import vectors
from one_node import (BOOL, F16, F32, I8, I16, I32, I64, U8, U16, Case, Constant, build_model, fed_inputs, numbers, reference_results,
                      symbolic_by_name, write_model)

MICROSOFT = "com.microsoft"


def scale(*values, dtype=F32):
    return Constant(np.array(values if len(values) != 1 else values[0], dtype))


def zero(*values, dtype=U8):
    return Constant(np.array(values if len(values) != 1 else values[0], dtype))


def four_bits(array, signed):
    """A tensor of INT4 or UINT4 from integers."""
    kind = TensorProto.INT4 if signed else TensorProto.UINT4
    return helper.make_tensor("", kind, array.shape, array.flatten().tolist())


# Halves of a step, both ends of the range, and what lies beyond.
STEPS = np.array([[-0.25, 0.25, 0.75, 1.25, -0.75, 3], [60, -70, 63.5, -64, 1e9, -1e9]], F32)


def linear_cases():
    for version in (10, 13, 19, 21, 23):
        yield "QuantizeLinear", version, Case("tensor", [STEPS, scale(0.5), zero(3)])
        yield "QuantizeLinear", version, Case("signed", [STEPS, scale(0.5), zero(-1, dtype=I8)])
        yield "DequantizeLinear", version, Case("tensor", [numbers("q", (3, 5), U8, 0, 255), scale(0.3), zero(120)])
        yield "DequantizeLinear", version, Case("i32", [numbers("q", (7,), I32, -1e9, 1e9), scale(1e-4)])
        if version >= 13:
            yield "QuantizeLinear", version, Case(
                "axis", [numbers("x", (2, 3, 5)), scale(0.1, 0.02, 0.5), zero(3, 128, 0)], {"axis": 1})
            yield "QuantizeLinear", version, Case(
                "run_time", [numbers("x", (4, 3)), np.array([0.1, 0.02, 0.5], F32), np.array([3, -8, 0], I8)], {"axis": -1})
            yield "DequantizeLinear", version, Case(
                "axis", [numbers("q", (2, 3, 4), I8, -128, 127), scale(0.1, 2, 0.5), zero(-3, 7, 0, dtype=I8)])
        if version >= 19:
            yield "DequantizeLinear", version, Case("f16", [numbers("q", (9,), I8, -128, 127), scale(0.3, dtype=F16)])
        if version >= 21:
            yield "QuantizeLinear", version, Case("i16", [numbers("x", (40,), F32, -9, 9), scale(2e-4), zero(9, dtype=I16)])
            yield "QuantizeLinear", version, Case(
                "blocks", [numbers("x", (3, 7)), Constant(numbers("s", (3, 3), F32, 0.1, 1))], {"axis": 1, "block_size": 3})
            yield "QuantizeLinear", version, Case("type", [numbers("x", (8,)), scale(0.01)], {"output_dtype": TensorProto.INT8})
            yield "DequantizeLinear", version, Case(
                "blocks", [Constant(numbers("q", (5, 3), U8, 0, 255)), Constant(numbers("s", (3, 3), F32, 0.1, 1)),
                           Constant(numbers("z", (3, 3), U8, 0, 255))], {"axis": 0, "block_size": 2})
            for signed in (False, True):
                q = numbers("q", (3, 5), I32, -8 if signed else 0, 7 if signed else 15)
                yield "DequantizeLinear", version, Case(
                    "i4" if signed else "u4", [four_bits(q, signed), scale(0.3), four_bits(q[0, :1].reshape(()), signed)])
                yield "QuantizeLinear", version, Case(
                    "to_i4" if signed else "to_u4", [STEPS, scale(0.5), four_bits(np.array(2), signed)])
    for label, x in (("both", numbers("x", (3, 9))), ("above", numbers("x", (2, 5), F32, 1, 3)),
                     ("below", numbers("x", (8,), F32, -5, -1)), ("nothing", np.zeros((3,), F32))):
        yield "DynamicQuantizeLinear", 11, Case(label, [x], outputs=3)


def product_cases():
    a, b = numbers("a", (5, 37), U8, 0, 255), numbers("b", (37, 19), I8, -128, 127)
    yield "MatMulInteger", 10, Case("plain", [a, Constant(b)])
    yield "MatMulInteger", 10, Case("zeros", [a, Constant(b), np.array(120, U8), zero(-7, dtype=I8)])
    yield "MatMulInteger", 10, Case("columns", [a, Constant(b), np.array([9], U8), Constant(numbers("z", (19,), I8, -9, 9))])
    yield "MatMulInteger", 10, Case("largest", [np.full((2, 515), 255, U8), Constant(np.full((515, 3), -128, I8)),
                                                np.array(0, U8), zero(127, dtype=I8)])
    yield "MatMulInteger", 10, Case("batch", [numbers("a", (2, 3, 4, 8), U8, 0, 255), numbers("b", (3, 8, 5), U8, 0, 255),
                                              np.array(3, U8), np.array(130, U8)])
    for version in (10, 21):
        yield "QLinearMatMul", version, Case("tensor", [a, scale(0.02), zero(120), Constant(b), scale(0.01), zero(3, dtype=I8),
                                                        scale(0.3), zero(100)])
        yield "QLinearMatMul", version, Case(
            "columns", [a, scale(0.02), zero(120), Constant(b), Constant(numbers("s", (19,), F32, 0.001, 0.02)),
                        Constant(numbers("z", (19,), I8, -5, 5)), scale(0.3), zero(100)])
    x, w = numbers("x", (2, 4, 6, 7), U8, 0, 255), numbers("w", (6, 2, 3, 2), I8, -128, 127)
    place = {"group": 2, "pads": [1, 0, 2, 1], "strides": [2, 1]}
    yield "ConvInteger", 10, Case("groups", [x, Constant(w.astype(U8)), zero(99), zero(128)], place)
    yield "ConvInteger", 10, Case("depthwise", [x, Constant(numbers("w", (4, 1, 3, 3), U8, 0, 255)), zero(3)], {"group": 4})
    yield "QLinearConv", 10, Case("tensor", [x, scale(0.02), zero(120), Constant(w), scale(0.01), zero(3, dtype=I8),
                                             scale(0.5), zero(100)], place)
    yield "QLinearConv", 10, Case(
        "filters", [x, scale(0.02), zero(120), Constant(w), Constant(numbers("s", (6,), F32, 0.001, 0.02)),
                    Constant(np.zeros(6, I8)), scale(0.3), zero(100), Constant(numbers("b", (6,), I32, -5000, 5000))], place)


def few_bits(label, K, N, bits, block, zeros, **more):
    blocks, bytes_ = -(-K // block), block * bits // 8
    inputs = [numbers("x" + label, (3, K)), Constant(numbers("q" + label, (N, blocks, bytes_), U8, 0, 255)),
              Constant(numbers("s" + label, (N * blocks,), F32, 0.01, 0.1))]
    if zeros == "packed":
        inputs.append(Constant(numbers("z" + label, (N * -(-blocks * bits // 8),), U8, 0, 255)))
    if zeros == "floats":
        inputs.append(Constant(numbers("z" + label, (N, blocks), F32, 0, 15)))
    return "MatMulNBits", 1, Case(label, inputs, {"K": K, "N": N, "bits": bits, "block_size": block, **more})


def table_cases():
    """Rows of 48 elements in blocks of 16, several elements in a byte or one."""
    rows, name = np.array([[6, 0, 3], [3, -1, 2]], I64), "GatherBlockQuantized"
    scales, blocks = Constant(numbers("s", (7, 3), F32, 0.01, 0.1)), {"block_size": 16}

    def packed(label, *shape):
        return Constant(numbers(label, shape, U8, 0, 255))

    yield name, 1, Case("b4", [packed("d", 7, 24), rows, scales], blocks)
    yield name, 1, Case("b4_zeros", [packed("d", 7, 24), rows, scales, packed("z", 7, 2)], {**blocks, "bits": 4})
    yield name, 1, Case("b2_zeros", [packed("d", 7, 12), rows, scales, packed("z", 7, 1)], {**blocks, "bits": 2})
    yield name, 1, Case("b8", [packed("d", 7, 48), rows, scales], {**blocks, "bits": 8})

def expert_cases():
    """Four experts of which each token takes two, their weights of few bits."""
    experts, width, inner = 4, 32, 32
    x, scores = numbers("x", (6, width)), numbers("s", (6, experts))

    def layer(label, out, size, bits, block, zeros):
        shape = (experts, out, size // block) if block else (experts, out)
        points = (*shape[:-1], -(-shape[-1] * bits // 8))
        return (Constant(numbers("w" + label, (experts, out, size * bits // 8), U8, 0, 255)),
                Constant(numbers("s" + label, shape, F32, 0.002, 0.01)), Constant(numbers("b" + label, (experts, out))),
                Constant(numbers("z" + label, points, U8, 0, 255)) if zeros else None)

    def case(label, bits, block, zeros, gated):
        up, down = (layer(label + "u", inner * (1 + gated), width, bits, block, zeros), layer(label + "d", width, inner, bits, block, zeros))
        inputs = [x, scores, *up[:3], *down[:3]] + ([None, None, None, up[3], down[3]] if zeros else [])
        more = {"activation_type": "swiglu", "swiglu_fusion": 1} if gated else {"activation_type": "silu"}
        return "QMoE", 1, Case(label, inputs, {"k": 2, "expert_weight_bits": bits, "normalize_routing_weights": 1,
                                               **({"block_size": block} if block else {}), **more})

    yield case("b4", 4, 0, False, True)
    yield case("b4_blocks", 4, 16, False, True)
    yield case("b4_zeros", 4, 16, True, False)
    yield case("b8", 8, 0, False, False)


def recurrent_cases():
    """What onnxruntime quantises in a run, the inputs and the state, are steps of its own scale, so that nothing is rounded;
    where there are several turns nothing comes of the state. It takes equal zero points alone."""
    width, hidden, name = 6, 4, "DynamicQuantizeLSTM"

    def steps(label, shape):
        q = numbers(label, shape, I32, -100, 155)
        q.flat[0], q.flat[-1] = -100, 155
        return (q * 0.01).astype(F32)

    def weights(label, rows, directions, kind):
        low, high = (0, 255) if kind is U8 else (-128, 127)
        return Constant(numbers(label, (directions, rows, 4 * hidden), kind, low, high))

    bias = Constant(numbers("b", (1, 8 * hidden), low=-1, high=1))
    once = [steps("x", (1, 1, width)), weights("w", width, 1, U8), weights("r", hidden, 1, U8), bias, None,
            steps("h", (1, 1, hidden)), numbers("c", (1, 1, hidden)), Constant(numbers("p", (1, 3 * hidden)))]
    columns = [Constant(numbers("s", (1, 4 * hidden), F32, 0.002, 0.01)), Constant(np.full((1, 4 * hidden), 130, U8))]
    yield name, 1, Case("columns", [*once, *columns, *columns], {"hidden_size": hidden}, 3)
    still = Constant(np.full((2, hidden, 4 * hidden), 3, I8))
    both = [steps("x", (5, 2, width)), weights("v", width, 2, I8), still, None, np.array([5, 3], I32), None, None, None,
            scale(0.005, 0.01), zero(-3, -3, dtype=I8), scale(0.01, 0.02), zero(3, 3, dtype=I8)]
    yield name, 1, Case("both", both, {"hidden_size": hidden, "direction": "bidirectional"}, 3)


def microsoft_cases():
    yield few_bits("b4", 64, 24, 4, 32, None)
    yield few_bits("b4_zeros", 96, 33, 4, 32, "packed")
    yield few_bits("b4_partial", 83, 16, 4, 16, "packed")
    yield few_bits("b4_floats", 64, 8, 4, 16, "floats")
    yield few_bits("b8", 64, 24, 8, 32, "packed")
    a, b = numbers("a", (5, 36), U8, 0, 255), Constant(numbers("b", (36, 16), I8, -128, 127))
    bias, scales = Constant(numbers("bias", (16,))), Constant(numbers("s", (16,), F32, 0.001, 0.02))
    yield "MatMulIntegerToFloat", 1, Case("columns", [a, b, np.array(0.02, F32), scales, np.array(120, U8),
                                                      Constant(numbers("z", (16,), I8, -5, 5)), bias])
    yield "MatMulIntegerToFloat", 1, Case("plain", [a, b, np.array(0.02, F32), scale(0.01)])
    yield "DynamicQuantizeMatMul", 1, Case("columns", [numbers("x", (4, 36)), b, scales, None, bias])
    yield "DynamicQuantizeMatMul", 1, Case("zero", [numbers("x", (2, 3, 36)), b, scale(0.01), zero(4, dtype=I8)])
    gemm = [a, scale(0.02), zero(120), Constant(np.ascontiguousarray(b.array.T)), scale(0.01), zero(3, dtype=I8),
            Constant(numbers("c", (16,), I32, -3000, 3000))]
    yield "QGemm", 1, Case("number", gemm, {"transB": 1})
    yield "QGemm", 1, Case("quantised", [*gemm, scale(0.3), zero(100)], {"transB": 1, "alpha": 0.5})
    x, y = numbers("x", (3, 4), U8, 0, 255), numbers("y", (4,), U8, 0, 255)
    for name in ("QLinearAdd", "QLinearMul"):
        yield name, 1, Case("row", [x, scale(0.02), zero(120), y, scale(0.03), zero(90), scale(0.05), zero(128)])
    yield "QLinearSigmoid", 1, Case("u8", [x, scale(0.03), zero(120), scale(1 / 256), zero(0)])
    yield "QLinearSoftmax", 1, Case("u8", [x, scale(0.03), zero(120), scale(1 / 256), zero(0)], {"axis": -1, "opset": 13})
    ranges = [scale(0.03), zero(120), scale(0.047), zero(100)]
    yield "QLinearLeakyRelu", 1, Case("u8", [x, *ranges], {"alpha": 0.2})
    yield "QLinearAveragePool", 1, Case("planes", [numbers("x", (1, 2, 5, 4), U8, 0, 255), *ranges],
                                        {"kernel_shape": [3, 2], "pads": [1, 0, 0, 1]})
    yield "QLinearAveragePool", 1, Case("halves", [numbers("x", (2, 3, 6, 6), U8, 0, 255), scale(0.05), zero(100), scale(0.1),
                                                   zero(128)], {"kernel_shape": [2, 2], "strides": [1, 2], "pads": [1, 0, 0, 1]})
    yield "QLinearAveragePool", 1, Case("channels_last", [numbers("x", (1, 5, 4, 2), U8, 0, 255), *ranges],
                                        {"kernel_shape": [3, 2], "channels_last": 1})
    yield "QLinearConcat", 1, Case("two", [scale(0.04), zero(110), x, scale(0.03), zero(120), numbers("y", (3, 2), U8, 0, 255),
                                           scale(0.06), zero(90)], {"axis": 1})
    chosen = numbers("c", (3, 1), BOOL)
    yield "QLinearWhere", 1, Case("row", [chosen, x, scale(0.03), zero(120), y, scale(0.06), zero(90), scale(0.05), zero(99)])
    yield "QuantizeLinear", 1, Case("u16", [numbers("x", (9,)), scale(1e-4), zero(30000, dtype=U16)])


# Element types of com.microsoft's results, which ONNX's inference does not know: bytes, but for these.
RESULTS = {"MatMulNBits": F32, "GatherBlockQuantized": F32, "QMoE": F32, "DynamicQuantizeLSTM": F32, "MatMulIntegerToFloat": F32,
           "DynamicQuantizeMatMul": F32, "QuantizeLinear": U16}


def four_bit_result(name, case):
    """The element type of QuantizeLinear's results by a zero point of 4 bits; 0 for all others."""
    kinds = [value.data_type for value in case.inputs if isinstance(value, TensorProto)]
    return kinds[0] if kinds and name == "QuantizeLinear" else 0


def write_operator(into, name, version, case):
    label = f"{name}_{version}_{case.name}"
    symbolic, domain = symbolic_by_name(label, case), MICROSOFT if version == 1 else ""
    opsets = [("", version if version > 1 else 17)] + ([(MICROSOFT, 1)] if domain else [])
    model = build_model(name, case, symbolic, opsets, 10 if version >= 21 else 8, domain)
    result, four = model.graph.output[0].type.tensor_type, four_bit_result(name, case)
    if four:
        result.elem_type = four
        results = vectors.run_reference(model, fed_inputs(case))
    else:
        if domain:
            floats = name == "QGemm" and len(case.inputs) == 7
            for value in model.graph.output:
                kind = np.dtype(F32 if floats else RESULTS.get(name, U8))
                value.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(kind)
        results, source = reference_results(model, fed_inputs(case))
        if source == "reference":
            print(label, "by the reference evaluator")
    write_model(os.path.join(into, label), model, case, results, symbolic, kind=four)


def dynamic(source, target):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(source, target, weight_type=QuantType.QInt8, per_channel=True)


def four_bit_blocks(source, target):
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(onnx.load(source), block_size=16, is_symmetric=False)
    quantizer.process()
    quantizer.model.save_model_to_file(target)


def write_quantised(here, into, source, label, quantise):
    folder = os.path.join(into, f"{source}_{label}")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    quantise(os.path.join(here, source, "model.onnx"), os.path.join(folder, "model.onnx"))
    model = onnx.load(os.path.join(folder, "model.onnx"))
    for case in sorted(os.listdir(os.path.join(here, source))):
        if case == "model.onnx":
            continue
        fed = {}
        for number, name in enumerate(vectors.graph_inputs(model)):
            tensor = onnx.load_tensor(os.path.join(here, source, case, f"input_{number}.pb"))
            fed[name] = numpy_helper.to_array(tensor)
        vectors.write_case(os.path.join(folder, case), fed, vectors.run_onnxruntime(model, fed))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", default=here)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    total, seen = 0, set()
    for cases in (linear_cases, product_cases, table_cases, expert_cases, recurrent_cases, microsoft_cases):
        for name, version, case in cases():
            if arguments.only not in f"{name}_{case.name}":
                continue
            if (name, case.name) in seen:  # an older version says the same
                continue
            seen.add((name, case.name))
            write_operator(os.path.join(arguments.into, "ops"), name, version, case)
            total += 1
    for source, label, quantise in (("bert_op17_dynamic_unfolded", "int8", dynamic),
                                    ("gpt2_ts17_sdpa", "nbits", four_bit_blocks)):
        if arguments.only in f"{source}_{label}":
            write_quantised(here, arguments.into, source, label, quantise)
    print(f"{total} cases")


if __name__ == "__main__":
    main()
