#!/usr/bin/env python3
"""Exports small models of the transformers library, one an architecture, with random weights and a padded batch, by
torch.export (newNN), by it with fixed shapes (fixNN) or by TorchScript (tsNN), NN being the opset. Not committed: a
wide check by hand, with the packages of requirements-library.txt:

    export_library.py --into build/library [--only bert,llama] [--ways new18,ts17] [--half]
    build/tests/test_models build/library
"""

import argparse
import logging
import os
import shutil
import warnings

import numpy as np
import onnx
import torch
import transformers

import vectors

VOCABULARY, LENGTH, SEED = 200, 12, 1
TEXT = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, vocab_size=VOCABULARY,
            max_position_embeddings=64)
IMAGE = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=32,
             patch_size=8)
GROUPED = dict(num_key_value_heads=2)
WIDE = dict(num_key_value_heads=2, head_dim=16)
WINDOW = dict(sliding_window=8)
T5 = dict(d_model=64, d_kv=16, d_ff=96, num_layers=2, num_heads=4, vocab_size=VOCABULARY)
PAIR = dict(d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
            encoder_ffn_dim=96, decoder_ffn_dim=96, vocab_size=VOCABULARY)
NO_PADDING = dict(pad_token_id=0)


def text(*names, **more):
    return (*names, {**TEXT, **more}, "text")


def decoder(name, **more):
    return (f"{name}Config", f"{name}ForCausalLM", {**TEXT, **more}, "text")


def image(*names):
    return (*names, IMAGE, "image")


# name: class of the configuration, class of the model, settings, kind of the inputs
MODELS = {
    "albert": text("AlbertConfig", "AlbertForMaskedLM", embedding_size=32),
    "bert": text("BertConfig", "BertForMaskedLM"),
    "bert_classes": text("BertConfig", "BertForSequenceClassification"),
    "bloom": decoder("Bloom", n_layer=2, n_head=4),
    "clip_text": text("CLIPTextConfig", "CLIPTextModel", eos_token_id=2),
    "cohere": decoder("Cohere", **GROUPED),
    "deberta": text("DebertaV2Config", "DebertaV2ForSequenceClassification", relative_attention=True,
                    pos_att_type=["p2c", "c2p"], position_buckets=8),
    "distilbert": text("DistilBertConfig", "DistilBertForQuestionAnswering", dim=64, n_layers=2, n_heads=4,
                       hidden_dim=96),
    "electra": text("ElectraConfig", "ElectraForPreTraining", embedding_size=32),
    "esm": text("EsmConfig", "EsmForMaskedLM", pad_token_id=1, mask_token_id=2, position_embedding_type="rotary"),
    "falcon": decoder("Falcon", alibi=False),
    "gemma": decoder("Gemma", **WIDE),
    "gemma2": decoder("Gemma2", **WIDE, **WINDOW),
    "gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM", {**TEXT, **WIDE, **WINDOW}, "text"),
    "glm": decoder("Glm", **WIDE, **NO_PADDING),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", dict(n_embd=64, n_layer=2, n_head=4, n_positions=64,
                                                   vocab_size=VOCABULARY), "text"),
    "gpt_neo": decoder("GPTNeo", num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]],
                       window_size=8),
    "gpt_neox": decoder("GPTNeoX"),
    "gptj": decoder("GPTJ", n_embd=64, n_layer=2, n_head=4, n_positions=64, rotary_dim=8),
    "granite": decoder("Granite", **GROUPED),
    "llama": decoder("Llama", **WIDE),
    "mistral": decoder("Mistral", **WIDE, **WINDOW),
    "modernbert": text("ModernBertConfig", "ModernBertForMaskedLM", pad_token_id=0, local_attention=8),
    "mpnet": text("MPNetConfig", "MPNetModel"),
    "mpt": decoder("Mpt", d_model=64, n_layers=2, n_heads=4, max_seq_len=64),
    "olmo2": decoder("Olmo2", **GROUPED),
    "opt": decoder("OPT", ffn_dim=96, word_embed_proj_dim=64),
    "phi": decoder("Phi"),
    "phi3": decoder("Phi3", **GROUPED, **NO_PADDING),
    "qwen2": decoder("Qwen2", **GROUPED),
    "qwen3": decoder("Qwen3", **WIDE),
    "roberta": text("RobertaConfig", "RobertaForMaskedLM", pad_token_id=1, max_position_embeddings=70),
    "smollm3": decoder("SmolLM3", **GROUPED, **NO_PADDING),
    "stablelm": decoder("StableLm", **GROUPED),
    "starcoder2": decoder("Starcoder2", **GROUPED),
    "t5_encoder": ("T5Config", "T5EncoderModel", T5, "text"),
    "bart": ("BartConfig", "BartForConditionalGeneration", {**PAIR, "max_position_embeddings": 64}, "pair"),
    "t5": ("T5Config", "T5ForConditionalGeneration", T5, "pair"),
    "deit": image("DeiTConfig", "DeiTForImageClassification"),
    "dinov2": image("Dinov2Config", "Dinov2Model"),
    "siglip": image("SiglipVisionConfig", "SiglipVisionModel"),
    "vit": image("ViTConfig", "ViTForImageClassification"),
    "whisper": ("WhisperConfig", "WhisperModel",
                {**PAIR, "max_source_positions": 32, "max_target_positions": 32, "num_mel_bins": 16, "pad_token_id": 0,
                 "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}, "speech"),
}
TOKENS, BATCH = {0: "batch", 1: "length"}, {0: "batch"}
# kind: for each argument its name in the file, the model's parameter and its axes of varying length
ARGUMENTS = {
    "text": [("input_ids", TOKENS), ("attention_mask", TOKENS)],
    "pair": [("input_ids", TOKENS), ("attention_mask", TOKENS), ("decoder_input_ids", {0: "batch", 1: "target"})],
    "image": [("pixel_values", BATCH)],
    "speech": [("input_features", BATCH), ("decoder_input_ids", {0: "batch", 1: "target"})],
}


class Positional(torch.nn.Module):
    """The model with its arguments by position, without a cache, and its first result alone."""

    def __init__(self, model, kind):
        super().__init__()
        self.model, self.kind = model, kind

    def forward(self, *inputs):
        named = {name: value for (name, _), value in zip(ARGUMENTS[self.kind], inputs)}
        if self.kind != "image" and hasattr(self.model.config, "use_cache"):
            named["use_cache"] = False
        return self.model(**named, return_dict=False)[0]


def build(name):
    configuration, model, settings, kind = MODELS[name]
    torch.manual_seed(SEED)
    configuration = getattr(transformers, configuration)(**settings)
    for attention in ("sdpa", "eager"):
        try:
            configuration._attn_implementation = attention
            return Positional(getattr(transformers, model)(configuration).eval(), kind).eval()
        except (ValueError, ImportError):
            if attention == "eager":
                raise


def make_inputs(kind, half):
    generator = np.random.default_rng(SEED)
    mask = torch.ones(2, LENGTH, dtype=torch.int64)
    mask[1, 8:] = 0
    floats = torch.float16 if half else torch.float32
    made = {
        "input_ids": torch.tensor(generator.integers(3, VOCABULARY, (2, LENGTH))),
        "attention_mask": mask,
        "decoder_input_ids": torch.tensor(generator.integers(3, VOCABULARY, (2, 7))),
        "pixel_values": torch.tensor(generator.normal(size=(2, 3, 32, 32))).to(floats),
        "input_features": torch.tensor(generator.normal(size=(2, 16, 64))).to(floats),
    }
    return {name: made[name] for name, _ in ARGUMENTS[kind]}


def export(model, inputs, way, path):
    opset, kind = int(way[-2:]), way[:-2]
    arguments, axes = tuple(inputs.values()), dict(ARGUMENTS[model.kind])
    names = dict(input_names=list(inputs), output_names=["y"], opset_version=opset)
    if kind == "ts":
        torch.onnx.export(model, arguments, path, dynamo=False, dynamic_axes=axes, **names)
        return
    varying = [{axis: torch.export.Dim.DYNAMIC for axis in axes[name]} for name in inputs]
    shapes = None if kind == "fix" else (tuple(varying),)
    torch.onnx.export(model, arguments, path, dynamo=True, dynamic_shapes=shapes, verbose=False, external_data=False,
                      **names)


def write(name, way, into, half):
    folder = os.path.join(into, f"{name}_{way}" + "_f16" * half)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    model = build(name)
    inputs = make_inputs(model.kind, half)
    if half:
        model = model.half()
    with torch.no_grad():
        result = model(*inputs.values())
    path = os.path.join(folder, "model.onnx")
    export(model, inputs, way, path)
    kept = [value.name for value in onnx.load(path, load_external_data=False).graph.input]
    fed = {key: value.numpy() for key, value in inputs.items() if key in kept}
    vectors.write_case(os.path.join(folder, "case"), fed, {"y": result.numpy()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", required=True)
    parser.add_argument("--only", default=",".join(MODELS), help="names, joined by commas")
    parser.add_argument("--ways", default="new18,ts17", help="exporter and opset, joined by commas")
    parser.add_argument("--half", action="store_true", help="weights in float16")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    for name in arguments.only.split(","):
        for way in arguments.ways.split(","):
            try:
                write(name, way, arguments.into, arguments.half)
                print(f"{name}_{way}", flush=True)
            except Exception as problem:  # exporters fail in every way there is
                shutil.rmtree(os.path.join(arguments.into, f"{name}_{way}" + "_f16" * arguments.half))
                print(f"{name}_{way}: not exportable: {type(problem).__name__}: {str(problem).splitlines()[0][:120]}",
                      flush=True)


if __name__ == "__main__":
    main()
