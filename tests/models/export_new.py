#!/usr/bin/env python3
"""Exports models of zoo.py by a current PyTorch: through torch.export (the default exporter there) and through the
TorchScript exporter, mostly with scaled_dot_product_attention, which every exporter and opset spells differently.
Needs the packages of requirements-new.txt.
    export_new.py [--into FOLDER] [--only TEXT]
"""

import argparse
import os
import shutil
import tempfile
import warnings

import onnx
import torch

import vectors
import zoo
from export import FAMILIES, MAX_BYTES, TOLERANCE, Recipe, dynamic_axes, make_inputs, output_names, run_torch

TORCHSCRIPT = [
    Recipe("gpt2_ts17_sdpa", "gpt2", 17, True, (("mask_form", "sdpa"),)),
    Recipe("bert_ts14_sdpa", "bert", 14, True, (("sdpa", True),)),
    Recipe("llama_ts17_sdpa", "llama", 17, True, (("mask_form", "index"), ("sdpa", True))),
]
NEW = [
    Recipe("gpt2_new18_sdpa", "gpt2", 18, True, (("mask_form", "sdpa"),)),
    Recipe("gpt2_new20_where", "gpt2", 20, True, (("padding", True),)),
    Recipe("gpt2_new23_sdpa", "gpt2", 23, True, (("mask_form", "sdpa"),)),
    Recipe("bert_new18_sdpa", "bert", 18, True, (("sdpa", True),)),
    Recipe("bert_new20_fixed", "bert", 20, False, (("types", False),)),
    Recipe("llama_new18_sdpa", "llama", 18, True, (("mask_form", "index"), ("sdpa", True))),
    Recipe("llama_new20_cache", "llama", 20, True, (("mask_form", "index"), ("cache", True)), True, ((2, 3), (3, 2))),
    Recipe("llama_new23_sdpa", "llama", 23, True, (("mask_form", "index"), ("sdpa", True))),
]


def tidy_metadata(model):
    """Keeps of the metadata what a reader may meet, without the exporting machine's paths: each node's last frame."""
    del model.graph.metadata_props[:]
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        del value.metadata_props[:]
    for node in model.graph.node:
        frames = [entry.value for entry in node.metadata_props if entry.key == "pkg.torch.onnx.stack_trace"]
        del node.metadata_props[:]
        for frame in frames:
            path, _, rest = frame.rsplit('File "', 1)[-1].partition('"')
            last = f'File "{os.path.basename(path)}"{rest}'
            node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=last)
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]


def dynamic_shapes(recipe, inputs):
    """dynamic_axes in torch.export's form: one entry an argument, the variadic ones in a tuple."""
    axes = dynamic_axes(list(inputs))
    entries = [{axis: torch.export.Dim.DYNAMIC for axis in axes[name]} for name in inputs]
    named = {"gpt2": 1, "bert": 3, "llama": 2}[recipe.family]
    return (*entries[:named], tuple(entries[named:])) if len(entries) > named else tuple(entries)


def export_model(recipe, model, inputs, modern):
    names = dict(input_names=list(inputs), output_names=output_names(recipe, model))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = os.path.join(folder, "model.onnx")
        arguments = tuple(inputs.values())
        if modern:
            shapes = dynamic_shapes(recipe, inputs) if recipe.dynamic else None
            torch.onnx.export(model, arguments, path, opset_version=recipe.opset, dynamo=True, external_data=False,
                              dynamic_shapes=shapes, verbose=False, **names)
        else:
            axes = dynamic_axes(names["input_names"] + names["output_names"]) if recipe.dynamic else None
            torch.onnx.export(model, arguments, path, opset_version=recipe.opset, dynamo=False, dynamic_axes=axes,
                              **names)
        exported = onnx.load(path)
    tidy_metadata(exported)
    return exported


def build(recipe, modern, into):
    """As in export.py: the float64 reference must agree with onnxruntime."""
    model = zoo.randomise(FAMILIES[recipe.family](**dict(recipe.options)), seed=17)
    zoo.set_precision(model, torch.float32)
    folder = os.path.join(into, recipe.name)
    shutil.rmtree(folder, ignore_errors=True)
    exported = None
    for case, (batch, length) in enumerate(recipe.sizes if recipe.dynamic else recipe.sizes[:1]):
        inputs = make_inputs(recipe, model, batch, length, case)
        if exported is None:
            exported = export_model(recipe, model, inputs, modern)
        outputs = dict(zip(output_names(recipe, model), run_torch(model, inputs, torch.float64)))
        outputs = {name: tensor.float().numpy() for name, tensor in outputs.items()}
        fed = {name: inputs[name].numpy() for name in vectors.graph_inputs(exported)}
        peer = vectors.run_onnxruntime(exported, fed)
        for name, want in outputs.items():
            vectors.assert_close(f"{recipe.name} {name} onnxruntime", peer[name], want, TOLERANCE)
        vectors.write_case(os.path.join(folder, f"b{batch}_t{length}"), fed, outputs)
    data = exported.SerializeToString()
    assert len(data) <= MAX_BYTES, f"{recipe.name}: {len(data)} bytes"
    with open(os.path.join(folder, "model.onnx"), "wb") as file:
        file.write(data)
    return exported


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", default=here)
    parser.add_argument("--only", default="", help="only models whose name contains this text")
    arguments = parser.parse_args()
    for modern, recipes in ((False, TORCHSCRIPT), (True, NEW)):
        for recipe in recipes:
            if arguments.only in recipe.name:
                exported = build(recipe, modern, arguments.into)
                print(f"{recipe.name} ({exported.ByteSize()} bytes): {vectors.describe_histogram(exported.graph)}")


if __name__ == "__main__":
    main()
