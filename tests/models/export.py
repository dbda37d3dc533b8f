#!/usr/bin/env python3
"""Exports the models of zoo.py through PyTorch's TorchScript exporter, with references computed in float64.

Needs PyTorch 1.13 (python3-torch of Debian 12) and the packages of requirements.txt.
    export.py [--into FOLDER] [--only TEXT]       the committed subset, beside this file
    export.py --all --into FOLDER                 every family at every opset, fixed and dynamic, folded or not
"""

import argparse
import io
import os
import shutil
import warnings
from dataclasses import dataclass

import numpy as np
import onnx
import torch

import vectors
import zoo

VOCAB, MAX_BYTES, TOLERANCE = 67, 150_000, 2e-5


@dataclass(frozen=True)
class Recipe:
    name: str
    family: str
    opset: int
    dynamic: bool
    options: tuple = ()
    fold: bool = True
    sizes: tuple = ((2, 7), (1, 12))  # (batch, length) of each case; a fixed model takes the first only


FAMILIES = {"gpt2": zoo.Gpt2, "bert": zoo.Bert, "llama": zoo.Llama}

COMMITTED = [
    Recipe("gpt2_op9_fixed", "gpt2", 9, False, (("mask_form", "multiply"), ("tied", False))),
    Recipe("gpt2_op11_dynamic", "gpt2", 11, True, (("mask_form", "where_1e4"),)),
    Recipe("gpt2_op13_dynamic_unfolded", "gpt2", 13, True, (), False),
    Recipe("gpt2_op14_padding", "gpt2", 14, True, (("padding", True),)),
    Recipe("gpt2_op16_cache", "gpt2", 16, True, (("padding", True), ("cache", True)), True, ((2, 3), (1, 1))),
    Recipe("gpt2_op17_fixed", "gpt2", 17, False),
    Recipe("bert_op9_fixed", "bert", 9, False, (("lowest", "10000"),)),
    Recipe("bert_op11_dynamic", "bert", 11, True),
    Recipe("bert_op13_untyped", "bert", 13, True, (("types", False),)),
    Recipe("bert_op17_dynamic_unfolded", "bert", 17, True, (), False),
    Recipe("llama_op11_table", "llama", 11, True, (("computed", False),)),
    Recipe("llama_op13_fixed", "llama", 13, False),
    Recipe("llama_op14_triu", "llama", 14, True, (("mask_form", "triu"), ("positions", False))),
    Recipe("llama_op16_cache", "llama", 16, True, (("cache", True),), True, ((2, 3), (1, 1))),
    Recipe("llama_op17_dynamic", "llama", 17, True, (("positions", False),)),
    Recipe("llama_op17_triu_unfolded", "llama", 17, True, (("mask_form", "triu"),), False),
]

WIDE_OPTIONS = {
    "gpt2": [(("mask_form", form), ("padding", padding), ("cache", cache))
             for form in ("where", "where_1e4", "multiply") for padding in (False, True) for cache in (False, True)],
    "bert": [(("lowest", low), ("types", types)) for low in ("finfo", "10000") for types in (False, True)],
    "llama": [(("mask_form", form), ("computed", computed), ("positions", positions), ("cache", cache))
              for form in ("compare", "triu") for computed in (False, True)
              for positions in (False, True) for cache in (False, True)],
}


def whole_grid():
    for family, variants in WIDE_OPTIONS.items():
        for opset in (9, 11, 13, 14, 16, 17):
            for number, options in enumerate(variants):
                if ("mask_form", "triu") in options and opset < 14:
                    continue  # the exporter has no triu before Trilu
                for dynamic in (False, True):
                    for fold in (False, True):
                        name = f"{family}_op{opset}_v{number}_{'dynamic' if dynamic else 'fixed'}"
                        name += "" if fold else "_unfolded"
                        sizes = ((2, 3), (1, 1)) if ("cache", True) in options else ((2, 7), (1, 12))
                        yield Recipe(name, family, opset, dynamic, options, fold, sizes)


def make_inputs(recipe, model, batch, length, case):
    """Name -> tensor in the order of the model's arguments. Padding is on the right, and never a whole row."""
    generator = np.random.default_rng([case, batch, length])
    cache = getattr(model, "cache", False)
    past = 4 + case if cache else 0
    total = past + length
    inputs = {"input_ids": generator.integers(1, VOCAB, (batch, length))}
    if recipe.family != "gpt2" or model.padding:
        mask = np.ones((batch, total), dtype=np.int64)
        if not cache:
            mask[-1, total - 2 :] = 0
        else:
            mask[-1, :1] = 0
        inputs["attention_mask"] = mask
    if recipe.family == "bert" and model.types:
        inputs["token_type_ids"] = (np.arange(length) >= length // 2).astype(np.int64)[None].repeat(batch, 0)
    if recipe.family == "llama" and model.positions:
        inputs["position_ids"] = np.arange(past, total)[None].repeat(batch, 0)
    if cache:
        layers = len(model.h) if recipe.family == "gpt2" else len(model.layers)
        heads, head_dim = (3, 8) if recipe.family == "gpt2" else (2, 6)
        for layer in range(layers):
            for part in ("key", "value"):
                shape = (batch, heads, past, head_dim)
                inputs[f"past.{layer}.{part}"] = generator.standard_normal(shape).astype(np.float32)
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in inputs.items()}


def output_names(recipe, model):
    if recipe.family == "bert":
        return ["last_hidden_state", "pooler_output"]
    names = ["logits"]
    if model.cache:
        layers = len(model.h) if recipe.family == "gpt2" else len(model.layers)
        names += [f"present.{layer}.{part}" for layer in range(layers) for part in ("key", "value")]
    return names


def dynamic_axes(names):
    """input_ids: (batch, sequence); attention_mask spans the past too; caches grow along axis 2."""
    axes = {}
    cached = any(name.startswith("past.") for name in names)
    for name in names:
        if name.startswith(("past.", "present.")):
            axes[name] = {0: "batch", 2: "past_sequence" if name.startswith("past.") else "total_sequence"}
        elif name == "pooler_output":
            axes[name] = {0: "batch"}
        elif name == "attention_mask" and cached:
            axes[name] = {0: "batch", 1: "total_sequence"}
        else:
            axes[name] = {0: "batch", 1: "sequence"}
    return axes


def export_model(recipe, model, inputs):
    names = list(inputs) + output_names(recipe, model)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, tuple(inputs.values()), file, opset_version=recipe.opset, input_names=list(inputs),
            output_names=output_names(recipe, model), do_constant_folding=recipe.fold,
            dynamic_axes=dynamic_axes(names) if recipe.dynamic else None)
    return onnx.load_from_string(file.getvalue())


def run_torch(model, inputs, dtype):
    zoo.set_precision(model, dtype)
    cast = [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in inputs.values()]
    with torch.no_grad():
        result = model(*cast)
    zoo.set_precision(model, torch.float32)
    return result if isinstance(result, tuple) else (result,)


def build(recipe, into):
    """Writes into/NAME; the float64 reference must agree with PyTorch in float32 and with onnxruntime."""
    # The weights go to float64 and back without loss, so one model serves both precisions.
    model = zoo.randomise(FAMILIES[recipe.family](**dict(recipe.options)), seed=17)
    zoo.set_precision(model, torch.float32)
    folder = os.path.join(into, recipe.name)
    shutil.rmtree(folder, ignore_errors=True)
    exported = None
    for case, (batch, length) in enumerate(recipe.sizes if recipe.dynamic else recipe.sizes[:1]):
        inputs = make_inputs(recipe, model, batch, length, case)
        if exported is None:
            exported = export_model(recipe, model, inputs)
        outputs = dict(zip(output_names(recipe, model), run_torch(model, inputs, torch.float64)))
        outputs = {name: tensor.float().numpy() for name, tensor in outputs.items()}
        single = run_torch(model, inputs, torch.float32)
        # The exporter drops inputs that the graph does not read.
        fed = {name: inputs[name].numpy() for name in vectors.graph_inputs(exported)}
        peer = vectors.run_onnxruntime(exported, fed)
        for (name, want), torch_single in zip(outputs.items(), single):
            vectors.assert_close(f"{recipe.name} {name} torch", torch_single.numpy(), want, TOLERANCE)
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
    parser.add_argument("--all", action="store_true", help="the whole grid; needs --into")
    parser.add_argument("--into", default=None, help="folder for the models; default: beside this script")
    parser.add_argument("--only", default="", help="only models whose name contains this text")
    arguments = parser.parse_args()
    if arguments.all and not arguments.into:
        parser.error("--all needs --into")
    recipes = list(whole_grid()) if arguments.all else COMMITTED
    for recipe in recipes:
        if arguments.only in recipe.name:
            try:
                exported = build(recipe, arguments.into or here)
            except torch.onnx.errors.OnnxExporterError as problem:
                if not arguments.all:
                    raise
                print(f"{recipe.name}: not exportable: {str(problem).split('  [')[0]}")
                continue
            print(f"{recipe.name} ({exported.ByteSize()} bytes): {vectors.describe_histogram(exported.graph)}")


if __name__ == "__main__":
    main()
