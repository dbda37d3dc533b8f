#!/usr/bin/env python3
"""Models of the transformers library with random weights: exported by torch.export, or run by PyTorch as a peer (protocol.py).

    library_models.py resnet-50 --export FILE.onnx
    library_models.py resnet-50 --threads 2
"""

import argparse
import os
import sys
import warnings

import torch
import transformers

import protocol
from library import CASES


def whisper_encoder():
    from transformers.models.whisper.modeling_whisper import WhisperEncoder
    return WhisperEncoder(transformers.WhisperConfig(d_model=384, encoder_layers=4, encoder_attention_heads=6,
                                                     encoder_ffn_dim=1536))


# The library's defaults are the sizes that the names say.
MODELS = {
    "resnet-50": lambda: transformers.ResNetModel(transformers.ResNetConfig()),
    "convnext-tiny": lambda: transformers.ConvNextModel(transformers.ConvNextConfig()),
    "vit-base": lambda: transformers.ViTModel(transformers.ViTConfig()),
    "segformer-b0": lambda: transformers.SegformerForSemanticSegmentation(transformers.SegformerConfig()),
    "wav2vec2-base": lambda: transformers.Wav2Vec2Model(transformers.Wav2Vec2Config()),
    "whisper-tiny-encoder": whisper_encoder,
}


class FirstOutput(torch.nn.Module):
    """The model as a function of one tensor: its logits, or the first of its outputs."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        outputs = self.model(x)
        return outputs.logits if hasattr(outputs, "logits") else outputs[0]


def make(name):
    torch.manual_seed(0)
    shape = protocol.parse_shape(f"x={CASES[name].shape}")[1]
    return FirstOutput(MODELS[name]()).eval(), torch.randn(shape)


def export(name, path):
    model, x = make(name)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    torch.onnx.export(model, (x,), path, dynamo=True, input_names=["x"], output_names=["y"])


def prepare(name, threads):
    torch.set_num_threads(threads)
    model, x = make(name)
    held = [None]  # as with a caller that reads it

    def run():
        with torch.inference_mode():
            held[0] = model(x)

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="version",
                        version=f"torch {torch.__version__}, transformers {transformers.__version__}")
    parser.add_argument("name", choices=sorted(CASES))
    parser.add_argument("--export", metavar="FILE")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    if not arguments.export:
        return protocol.serve(lambda: prepare(arguments.name, arguments.threads))
    export(arguments.name, arguments.export)
    return 0


if __name__ == "__main__":
    sys.exit(main())
