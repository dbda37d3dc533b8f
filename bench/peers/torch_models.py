"""Transformers as one would write them in PyTorch for speed: fused norms and activations, one product for query, key
and value, scaled_dot_product_attention. Sizes and weight layouts are those of `sinter make` for the same kind."""

import torch
from torch import nn
from torch.nn import functional


def split_heads(x, heads):
    """(B, T, H * d) -> (B, H, T, d)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x):
    return x.transpose(1, 2).flatten(2)


def append(cache, key, value):
    """Writes the keys and values of new places behind those in CACHE (keys, values, places in it); all of them."""
    keys, values, past = cache
    last = past + key.shape[2]
    keys[:, :, past:last] = key
    values[:, :, past:last] = value
    return keys[:, :, :last], values[:, :, :last]


class Gpt2Block(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        d_model, self.heads = sizes.d_model, sizes.heads
        self.norm_1 = nn.LayerNorm(d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.proj = nn.Linear(d_model, d_model)
        self.norm_2 = nn.LayerNorm(d_model)
        self.up = nn.Linear(d_model, sizes.d_ff)
        self.down = nn.Linear(sizes.d_ff, d_model)

    def forward(self, x, cache=None):
        query, key, value = (split_heads(part, self.heads) for part in self.qkv(self.norm_1(x)).chunk(3, dim=-1))
        if cache is not None:
            key, value = append(cache, key, value)
        y = functional.scaled_dot_product_attention(query, key, value, is_causal=cache is None)
        x = x + self.proj(merge_heads(y))
        return x + self.down(functional.gelu(self.up(self.norm_2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    """input_ids (B, T) -> logits (B, T, vocab); the head is not tied to the embedding. With PAST places in caches that
    were allocated beforehand, T is 1 and each run writes its place into them."""

    def __init__(self, sizes):
        super().__init__()
        self.past = sizes.past
        if self.past:
            shape = (sizes.layers, 2, 1, sizes.heads, self.past + 1, sizes.d_model // sizes.heads)
            self.register_buffer("cache", torch.randn(shape))
        self.tokens = nn.Embedding(sizes.vocab, sizes.d_model)
        self.places = nn.Embedding(sizes.context, sizes.d_model)
        self.blocks = nn.ModuleList([Gpt2Block(sizes) for _ in range(sizes.layers)])
        self.norm = nn.LayerNorm(sizes.d_model)
        self.head = nn.Linear(sizes.d_model, sizes.vocab, bias=False)

    def forward(self, input_ids):
        x = self.tokens(input_ids) + self.places.weight[self.past : self.past + input_ids.shape[1]]
        for i, block in enumerate(self.blocks):
            x = block(x, (*self.cache[i], self.past) if self.past else None)
        return self.head(self.norm(x))


class BertLayer(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        d_model, self.heads = sizes.d_model, sizes.heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.proj = nn.Linear(d_model, d_model)
        self.norm_1 = nn.LayerNorm(d_model, eps=1e-12)
        self.up = nn.Linear(d_model, sizes.d_ff)
        self.down = nn.Linear(sizes.d_ff, d_model)
        self.norm_2 = nn.LayerNorm(d_model, eps=1e-12)

    def forward(self, x, mask):
        query, key, value = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, dim=-1))
        y = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = self.norm_1(x + self.proj(merge_heads(y)))
        return self.norm_2(x + self.down(functional.gelu(self.up(x))))


class Bert(nn.Module):
    """input_ids (B, T) -> last hidden state (B, T, d_model); every token is there, so the padding mask is of ones."""

    def __init__(self, sizes):
        super().__init__()
        self.tokens = nn.Embedding(sizes.vocab, sizes.d_model)
        self.places = nn.Embedding(sizes.context, sizes.d_model)
        self.types = nn.Embedding(2, sizes.d_model)
        self.norm = nn.LayerNorm(sizes.d_model, eps=1e-12)
        self.layers = nn.ModuleList([BertLayer(sizes) for _ in range(sizes.layers)])

    def forward(self, input_ids):
        batch, length = input_ids.shape
        mask = torch.ones(batch, 1, 1, length, dtype=torch.bool, device=input_ids.device)
        x = self.tokens(input_ids) + self.types(torch.zeros_like(input_ids)) + self.places.weight[:length]
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x, mask)
        return x


class LlamaLayer(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        d_model, self.heads, self.kv_heads = sizes.d_model, sizes.heads, sizes.kv_heads or sizes.heads
        depth = d_model // self.heads
        self.widths = (d_model, self.kv_heads * depth, self.kv_heads * depth)
        self.norm_1 = nn.RMSNorm(d_model, eps=1e-6)
        self.qkv = nn.Linear(d_model, sum(self.widths), bias=False)
        self.proj = nn.Linear(d_model, d_model, bias=False)
        self.norm_2 = nn.RMSNorm(d_model, eps=1e-6)
        self.gate_up = nn.Linear(d_model, 2 * sizes.d_ff, bias=False)
        self.down = nn.Linear(sizes.d_ff, d_model, bias=False)

    def forward(self, x, cos, sin):
        query, key, value = self.qkv(self.norm_1(x)).split(self.widths, dim=-1)
        query = rotate(split_heads(query, self.heads), cos, sin)
        key = rotate(split_heads(key, self.kv_heads), cos, sin)
        value = split_heads(value, self.kv_heads)
        grouped = self.heads != self.kv_heads
        y = functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=grouped)
        x = x + self.proj(merge_heads(y))
        gate, up = self.gate_up(self.norm_2(x)).chunk(2, dim=-1)
        return x + self.down(functional.silu(gate) * up)


def rotate(x, cos, sin):
    """x (B, H, T, d), cos and sin (T, d): the first half of d is paired with the second."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Llama(nn.Module):
    """input_ids (B, T) -> logits (B, T, vocab); the head is not tied to the embedding."""

    def __init__(self, sizes):
        super().__init__()
        depth = sizes.d_model // sizes.heads
        frequencies = 1.0 / 10000.0 ** (torch.arange(0, depth, 2) / depth)
        angle = torch.outer(torch.arange(sizes.context), frequencies).repeat(1, 2)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        self.tokens = nn.Embedding(sizes.vocab, sizes.d_model)
        self.layers = nn.ModuleList([LlamaLayer(sizes) for _ in range(sizes.layers)])
        self.norm = nn.RMSNorm(sizes.d_model, eps=1e-6)
        self.head = nn.Linear(sizes.d_model, sizes.vocab, bias=False)

    def forward(self, input_ids):
        length = input_ids.shape[1]
        x = self.tokens(input_ids)
        for layer in self.layers:
            x = layer(x, self.cos[:length], self.sin[:length])
        return self.head(self.norm(x))


KINDS = {"gpt2": Gpt2, "bert": Bert, "llama": Llama}
