"""Small Transformers in PyTorch, spelled as the files found in the field are: the same views, permutes, casts,
mask buffers and scales, because the exporter turns each spelling into its own chain of nodes.

Every module has an attribute `work`, the dtype that the original code computes norms, tables and softmax in
(float32 there); set_precision() changes it, so that the very same code gives a float64 reference.
"""

import math

import torch
from torch import nn
from torch.nn import functional


class Piece(nn.Module):
    work = torch.float32


def set_precision(model, dtype):
    model.to(dtype)
    for module in model.modules():
        if isinstance(module, Piece):
            module.work = dtype
    return model


def randomise(model, seed):
    """Weights large enough that every layer matters in the output; norm gains around one."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1 and ("norm" in name or "ln_" in name) and name.endswith("weight"):
            parameter.data = 1 + 0.1 * noise
        elif parameter.dim() == 1:
            parameter.data = 0.1 * noise
        elif "emb" in name or "wte" in name or "wpe" in name:
            parameter.data = 0.5 * noise
        else:
            parameter.data = noise * 1.2 / math.sqrt(24)
    return model.eval()


# ---- GPT-2 ---------------------------------------------------------------------------------------------------


class Conv1D(Piece):
    """A linear layer whose weight is stored input by output, computed by addmm on flattened rows."""

    def __init__(self, features_out, features_in):
        super().__init__()
        self.features_out = features_out
        self.weight = nn.Parameter(torch.empty(features_in, features_out))
        self.bias = nn.Parameter(torch.empty(features_out))

    def forward(self, x):
        size_out = x.size()[:-1] + (self.features_out,)
        x = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return x.view(size_out)


def gelu_tanh(x):
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


class Gpt2Attention(Piece):
    """mask_form: "where" (bool buffer, lowest float as a 0-d tensor), "where_1e4" (uint8 buffer, -10000),
    "multiply" (w * b - 10000 * (1 - b), the oldest), or "sdpa" (scaled_dot_product_attention, causal)."""

    def __init__(self, d_model, heads, context, mask_form):
        super().__init__()
        self.split_size, self.heads, self.head_dim = d_model, heads, d_model // heads
        self.mask_form = mask_form
        self.c_attn = Conv1D(3 * d_model, d_model)
        self.c_proj = Conv1D(d_model, d_model)
        bias = torch.tril(torch.ones(context, context)).view(1, 1, context, context)
        kind = {"where_1e4": torch.uint8, "multiply": torch.float32}.get(mask_form, torch.bool)
        self.register_buffer("bias", bias.to(kind), persistent=False)

    def split_heads(self, x):
        return x.view(x.size()[:-1] + (self.heads, self.head_dim)).permute(0, 2, 1, 3)

    def merge_heads(self, x):
        x = x.permute(0, 2, 1, 3).contiguous()
        return x.view(x.size()[:-2] + (self.heads * self.head_dim,))

    def mask_scores(self, scores, nd, ns):
        if self.mask_form == "multiply":
            b = self.bias[:, :, ns - nd : ns, :ns]
            return scores * b - 1e4 * (1 - b)
        causal = self.bias[:, :, ns - nd : ns, :ns].to(torch.bool)
        if self.mask_form == "where_1e4":
            return torch.where(causal, scores, torch.tensor(-1e4, dtype=scores.dtype))
        lowest = torch.full([], torch.finfo(scores.dtype).min, dtype=scores.dtype)
        return torch.where(causal, scores, lowest)

    def forward(self, x, mask, past):
        query, key, value = self.c_attn(x).split(self.split_size, dim=2)
        query, key, value = self.split_heads(query), self.split_heads(key), self.split_heads(value)
        if past is not None:
            key = torch.cat((past[0], key), dim=-2)
            value = torch.cat((past[1], value), dim=-2)
        if self.mask_form == "sdpa":
            joined = functional.scaled_dot_product_attention(query, key, value, dropout_p=0.0, is_causal=True)
            return self.c_proj(self.merge_heads(joined)), (key, value)
        scores = torch.matmul(query, key.transpose(-1, -2))
        if self.mask_form == "where":
            scores = scores / torch.full([], value.size(-1) ** 0.5, dtype=scores.dtype)
        else:
            scores = scores / (float(self.head_dim) ** 0.5)
        scores = self.mask_scores(scores, query.size(-2), key.size(-2))
        if mask is not None:
            scores = scores + mask
        weights = functional.softmax(scores, dim=-1).type(value.dtype)
        return self.c_proj(self.merge_heads(torch.matmul(weights, value))), (key, value)


class Gpt2Block(Piece):
    def __init__(self, d_model, heads, context, mask_form):
        super().__init__()
        self.ln_1 = nn.LayerNorm(d_model, eps=1e-5)
        self.attn = Gpt2Attention(d_model, heads, context, mask_form)
        self.ln_2 = nn.LayerNorm(d_model, eps=1e-5)
        self.c_fc = Conv1D(4 * d_model, d_model)
        self.c_proj = Conv1D(d_model, 4 * d_model)

    def forward(self, x, mask, past):
        attended, present = self.attn(self.ln_1(x), mask, past)
        x = attended + x
        return x + self.c_proj(gelu_tanh(self.c_fc(self.ln_2(x)))), present


class Gpt2(Piece):
    """Inputs: input_ids (B, T), then attention_mask (B, P + T) if padding, then key and value per layer
    (B, H, P, head_dim) if cache. Outputs: logits (B, T, V), then key and value per layer if cache."""

    def __init__(self, mask_form="where", padding=False, cache=False, tied=True, d_model=24, heads=3, layers=2,
                 vocab=67, context=32):
        super().__init__()
        self.padding, self.cache = padding, cache
        self.wte = nn.Embedding(vocab, d_model)
        self.wpe = nn.Embedding(context, d_model)
        self.h = nn.ModuleList([Gpt2Block(d_model, heads, context, mask_form) for _ in range(layers)])
        self.ln_f = nn.LayerNorm(d_model, eps=1e-5)
        self.lm_head = nn.Linear(d_model, vocab, bias=False)
        if tied:
            self.lm_head.weight = self.wte.weight

    def forward(self, input_ids, *rest):
        rest = list(rest)
        input_shape = input_ids.size()
        input_ids = input_ids.view(-1, input_shape[-1])
        mask = None
        if self.padding:
            mask = rest.pop(0).view(input_ids.shape[0], -1)[:, None, None, :].to(dtype=self.work)
            mask = (1.0 - mask) * torch.finfo(self.work).min
        past_length = rest[0].size(-2) if self.cache else 0
        position_ids = torch.arange(past_length, input_shape[-1] + past_length, dtype=torch.long)
        position_ids = position_ids.unsqueeze(0).view(-1, input_shape[-1])
        x = self.wte(input_ids) + self.wpe(position_ids)
        output_shape = input_shape + (x.size(-1),)
        presents = []
        for block in self.h:
            past = (rest.pop(0), rest.pop(0)) if self.cache else None
            x, present = block(x, mask, past)
            presents.extend(present)
        logits = self.lm_head(self.ln_f(x).view(output_shape))
        return (logits, *presents) if self.cache else logits


# ---- BERT ----------------------------------------------------------------------------------------------------


class BertAttention(Piece):
    def __init__(self, d_model, heads, sdpa):
        super().__init__()
        self.sdpa = sdpa
        self.heads, self.head_dim = heads, d_model // heads
        self.query = nn.Linear(d_model, d_model)
        self.key = nn.Linear(d_model, d_model)
        self.value = nn.Linear(d_model, d_model)
        self.dense = nn.Linear(d_model, d_model)
        self.norm = nn.LayerNorm(d_model, eps=1e-12)
        self.dropout = nn.Dropout(0.1)

    def transpose_for_scores(self, x):
        return x.view(x.size()[:-1] + (self.heads, self.head_dim)).permute(0, 2, 1, 3)

    def forward(self, x, mask):
        mixed_query = self.query(x)
        key = self.transpose_for_scores(self.key(x))
        value = self.transpose_for_scores(self.value(x))
        query = self.transpose_for_scores(mixed_query)
        if self.sdpa:
            context = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=0.0)
        else:
            scores = torch.matmul(query, key.transpose(-1, -2))
            scores = scores / math.sqrt(self.head_dim)
            scores = scores + mask
            weights = self.dropout(functional.softmax(scores, dim=-1))
            context = torch.matmul(weights, value)
        context = context.permute(0, 2, 1, 3).contiguous()
        context = context.view(context.size()[:-2] + (self.heads * self.head_dim,))
        return self.norm(self.dropout(self.dense(context)) + x)


class BertLayer(Piece):
    def __init__(self, d_model, heads, d_ff, sdpa):
        super().__init__()
        self.attention = BertAttention(d_model, heads, sdpa)
        self.intermediate = nn.Linear(d_model, d_ff)
        self.output = nn.Linear(d_ff, d_model)
        self.norm = nn.LayerNorm(d_model, eps=1e-12)

    def forward(self, x, mask):
        x = self.attention(x, mask)
        return self.norm(self.output(functional.gelu(self.intermediate(x))) + x)


class Bert(Piece):
    """Inputs: input_ids, attention_mask, then token_type_ids if types, all (B, T). Outputs: last_hidden_state
    (B, T, D) and pooler_output (B, D)."""

    def __init__(self, lowest="finfo", types=True, sdpa=False, d_model=24, heads=4, layers=2, d_ff=64, vocab=67,
                 context=32):
        super().__init__()
        self.lowest, self.types, self.sdpa = lowest, types, sdpa
        self.word_embeddings = nn.Embedding(vocab, d_model, padding_idx=0)
        self.position_embeddings = nn.Embedding(context, d_model)
        self.token_type_embeddings = nn.Embedding(2, d_model)
        self.norm = nn.LayerNorm(d_model, eps=1e-12)
        self.layers = nn.ModuleList([BertLayer(d_model, heads, d_ff, sdpa) for _ in range(layers)])
        self.pooler = nn.Linear(d_model, d_model)
        self.register_buffer("position_ids", torch.arange(context).expand((1, -1)), persistent=False)
        self.register_buffer("token_types", torch.zeros(1, context, dtype=torch.long), persistent=False)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        batch, length = input_ids.size()
        position_ids = self.position_ids[:, 0 : length + 0]
        if token_type_ids is None:
            token_type_ids = self.token_types[:, :length].expand(batch, length)
        mask = attention_mask[:, None, None, :]
        if self.sdpa:
            mask = mask.expand(batch, 1, length, length)
        mask = mask.to(dtype=self.work)
        low = -10000.0 if self.lowest == "10000" else torch.finfo(self.work).min
        mask = (1.0 - mask) * low
        x = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        x += self.position_embeddings(position_ids)
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x, mask)
        return x, torch.tanh(self.pooler(x[:, 0]))


# ---- Llama ---------------------------------------------------------------------------------------------------


class RmsNorm(Piece):
    def __init__(self, d_model, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x):
        input_dtype = x.dtype
        x = x.to(self.work)
        variance = x.pow(2).mean(-1, keepdim=True)
        x = x * torch.rsqrt(variance + self.eps)
        return self.weight * x.to(input_dtype)


def rotate_half(x):
    x1 = x[..., : x.shape[-1] // 2]
    x2 = x[..., x.shape[-1] // 2 :]
    return torch.cat((-x2, x1), dim=-1)


def repeat_kv(x, times):
    batch, kv_heads, length, head_dim = x.shape
    if times == 1:
        return x
    x = x[:, :, None, :, :].expand(batch, kv_heads, times, length, head_dim)
    return x.reshape(batch, kv_heads * times, length, head_dim)


class Rotary(Piece):
    """computed: cos and sin from position_ids by a matrix product, (B, T, head_dim), as written since 2023.
    Otherwise: a cached table (1, 1, context, head_dim), sliced to the length, then gathered by position."""

    def __init__(self, head_dim, context, computed):
        super().__init__()
        self.computed = computed
        inv_freq = 1.0 / (10000.0 ** (torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim))
        self.register_buffer("inv_freq", inv_freq.float().double(), persistent=False)
        angles = torch.einsum("i,j->ij", torch.arange(context, dtype=torch.float64), inv_freq)
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos_cached", angles.cos()[None, None, :, :].float().double(), persistent=False)
        self.register_buffer("sin_cached", angles.sin()[None, None, :, :].float().double(), persistent=False)

    def forward(self, x, position_ids, length):
        if not self.computed:
            cos = self.cos_cached[:, :, :length, ...].to(dtype=x.dtype).squeeze(1).squeeze(0)
            sin = self.sin_cached[:, :, :length, ...].to(dtype=x.dtype).squeeze(1).squeeze(0)
            return cos[position_ids].unsqueeze(1), sin[position_ids].unsqueeze(1)
        inv_freq = self.inv_freq[None, :, None].to(self.work).expand(position_ids.shape[0], -1, 1)
        positions = position_ids[:, None, :].to(self.work)
        angles = (inv_freq.to(self.work) @ positions.to(self.work)).transpose(1, 2)
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos() * 1.0, angles.sin() * 1.0
        return cos.to(dtype=x.dtype).unsqueeze(1), sin.to(dtype=x.dtype).unsqueeze(1)


class LlamaAttention(Piece):
    def __init__(self, d_model, heads, kv_heads, sdpa):
        super().__init__()
        self.sdpa = sdpa
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, d_model // heads
        self.q_proj = nn.Linear(d_model, heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(d_model, kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(d_model, kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(heads * self.head_dim, d_model, bias=False)

    def forward(self, x, cos, sin, mask, past):
        batch, length, _ = x.size()
        query = self.q_proj(x).view(batch, length, self.heads, self.head_dim).transpose(1, 2)
        key = self.k_proj(x).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        value = self.v_proj(x).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        query = (query * cos) + (rotate_half(query) * sin)
        key = (key * cos) + (rotate_half(key) * sin)
        if past is not None:
            key = torch.cat([past[0], key], dim=2)
            value = torch.cat([past[1], value], dim=2)
        present = (key, value)
        key = repeat_kv(key, self.heads // self.kv_heads)
        value = repeat_kv(value, self.heads // self.kv_heads)
        if self.sdpa:
            scale = self.head_dim**-0.5
            out = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=0.0, scale=scale)
        else:
            scores = torch.matmul(query, key.transpose(2, 3)) / math.sqrt(self.head_dim)
            scores = scores + mask
            weights = functional.softmax(scores, dim=-1, dtype=self.work).to(query.dtype)
            out = torch.matmul(weights, value)
        out = out.transpose(1, 2).contiguous()
        return self.o_proj(out.reshape(batch, length, self.heads * self.head_dim)), present


class LlamaLayer(Piece):
    def __init__(self, d_model, heads, kv_heads, d_ff, sdpa):
        super().__init__()
        self.input_norm = RmsNorm(d_model)
        self.attention = LlamaAttention(d_model, heads, kv_heads, sdpa)
        self.post_norm = RmsNorm(d_model)
        self.gate_proj = nn.Linear(d_model, d_ff, bias=False)
        self.up_proj = nn.Linear(d_model, d_ff, bias=False)
        self.down_proj = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x, cos, sin, mask, past):
        attended, present = self.attention(self.input_norm(x), cos, sin, mask, past)
        x = x + attended
        y = self.post_norm(x)
        return x + self.down_proj(functional.silu(self.gate_proj(y)) * self.up_proj(y)), present


def causal_mask_compare(length, past_length, dtype):
    """The 2022-2023 spelling: a full matrix of the lowest value, zeroed where the column is not after the row."""
    mask = torch.full((length, length), torch.finfo(dtype).min, dtype=dtype)
    columns = torch.arange(mask.size(-1))
    mask = mask.masked_fill(columns < (columns + 1).view(mask.size(-1), 1), 0)
    if past_length is not None:
        mask = torch.cat([torch.zeros(length, past_length, dtype=dtype), mask], dim=-1)
    return mask[None, None, :, :]


def causal_mask_triu(length, total, cache_position, dtype):
    """The 2024 spelling: triu, then times (column > position of the row)."""
    mask = torch.full((length, total), torch.finfo(dtype).min, dtype=dtype)
    mask = torch.triu(mask, diagonal=1)
    mask = mask * (torch.arange(total) > cache_position.reshape(-1, 1))
    return mask[None, None, :, :]


def causal_mask_index(attention_mask, length):
    """The 2025 spelling: a bool mask as a function of broadcast index grids; True where attention is allowed."""
    batch, total = attention_mask.shape
    kept = attention_mask.to(dtype=torch.bool)
    batch_index = torch.arange(batch)[:, None, None, None]
    row = (torch.arange(length) + (total - length))[None, None, :, None]
    column = torch.arange(total)[None, None, None, :]
    allowed = (column <= row) & kept[batch_index, column]
    return allowed.expand(batch, -1, length, total)


class Llama(Piece):
    """Inputs: input_ids (B, T), attention_mask (B, P + T), position_ids (B, T) if positions, then key and value per
    layer (B, kv_heads, P, head_dim) if cache. Outputs: logits (B, T, V), then key and value per layer if cache."""

    def __init__(self, mask_form="compare", computed=True, positions=True, cache=False, sdpa=False, d_model=24,
                 heads=4, kv_heads=2, layers=2, d_ff=40, vocab=67, context=32):
        super().__init__()
        self.mask_form, self.positions, self.cache = mask_form, positions, cache
        self.embed_tokens = nn.Embedding(vocab, d_model)
        self.rotary = Rotary(d_model // heads, context, computed)
        self.layers = nn.ModuleList([LlamaLayer(d_model, heads, kv_heads, d_ff, sdpa) for _ in range(layers)])
        self.norm = RmsNorm(d_model)
        self.lm_head = nn.Linear(d_model, vocab, bias=False)

    def build_mask(self, attention_mask, batch, length, past_length):
        lowest = torch.finfo(self.work).min
        if self.mask_form == "index":
            allowed = causal_mask_index(attention_mask, length)
            if self.layers[0].attention.sdpa:
                return allowed
            return torch.where(allowed, torch.tensor(0.0, dtype=self.work), lowest)
        if self.mask_form == "triu":
            total = attention_mask.shape[-1]
            cache_position = torch.arange(total - length, total)
            mask = causal_mask_triu(length, total, cache_position, self.work).expand(batch, 1, -1, -1)
            padding = (mask + attention_mask[:, None, None, :]) == 0
            return mask.masked_fill(padding, lowest)
        causal = causal_mask_compare(length, past_length if self.cache else None, self.work)
        total = attention_mask.shape[-1]
        causal = causal.expand(batch, 1, length, total)
        expanded = attention_mask[:, None, None, :].expand(batch, 1, length, total).to(self.work)
        inverted = 1.0 - expanded
        inverted = inverted.masked_fill(inverted.to(torch.bool), lowest)
        return torch.clamp(inverted + causal, min=lowest)

    def forward(self, input_ids, attention_mask, *rest):
        rest = list(rest)
        batch, length = input_ids.shape
        if self.positions:
            position_ids = rest.pop(0)
        else:
            position_ids = attention_mask.long().cumsum(-1) - 1
            position_ids = position_ids.masked_fill(attention_mask == 0, 1)[:, -length:]
        past_length = rest[0].shape[2] if self.cache else 0
        x = self.embed_tokens(input_ids)
        mask = self.build_mask(attention_mask, batch, length, past_length)
        cos, sin = self.rotary(x, position_ids, length + past_length)
        presents = []
        for layer in self.layers:
            past = (rest.pop(0), rest.pop(0)) if self.cache else None
            x, present = layer(x, cos, sin, mask, past)
            presents.extend(present)
        logits = self.lm_head(self.norm(x)).to(self.work)
        return (logits, *presents) if self.cache else logits
