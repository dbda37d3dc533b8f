#!/usr/bin/env python3
"""Writes a model of floats with weights of fewer bits, by onnxruntime's own tools (packages onnxruntime and onnx).

    quantise.py MODEL OUT int8     products of bytes; activations are quantised in each run
    quantise.py MODEL OUT 4bit     weights of four bits with a scale for each 32 of them; activations stay floats
"""

import argparse

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("kind", choices=("int8", "4bit"))
    arguments = parser.parse_args()
    if arguments.kind == "int8":
        quantize_dynamic(arguments.model, arguments.out, weight_type=QuantType.QInt8,
                         use_external_data_format=True)
        return
    quantizer = MatMulNBitsQuantizer(onnx.load(arguments.model), block_size=32, is_symmetric=True)
    quantizer.process()
    quantizer.model.save_model_to_file(arguments.out, True)


if __name__ == "__main__":
    main()
