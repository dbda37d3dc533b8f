"""Small whole models against PyTorch: ten losses of training to 1e-4, and gradients through kernels, where no entry of the
difference to PyTorch's doubles may exceed 1e-5 of the root mean square of its tensor. Beside it stands what PyTorch's own
floats are off by. (A bias of keys has a gradient of zero, of which even doubles leave only rounding. Such a tensor is known by
its size, and its entries are compared with a hundredth of the largest tensor's.)"""
import math
import os
import subprocess
import sys
import tempfile

import numpy
import torch
from torch import nn
from torch.nn import functional as F


def heads(x, count):
    return x.view(x.shape[0], x.shape[1], count, -1).transpose(1, 2)


def attend(q, k, v, mask):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores + mask
    return F.softmax(scores, -1) @ v


def joined(x):
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)


class GptBlock(nn.Module):
    def __init__(self, width, count):
        super().__init__()
        self.count = count
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, mask):
        q, k, v = self.qkv(self.norm1(x)).chunk(3, -1)
        x = x + self.out(joined(attend(*(heads(y, self.count) for y in (q, k, v)), mask)))
        u = self.up(self.norm2(x))
        u = 0.5 * u * (1 + torch.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u * u * u)))
        return x + self.down(u)


class Gpt(nn.Module):
    """Token and position tables, decoder blocks, and the token table again as the head."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(101, 48), nn.Embedding(40, 48)
        self.blocks = nn.ModuleList(GptBlock(48, 4) for _ in range(2))
        self.norm = nn.LayerNorm(48)

    def forward(self, ids):
        length = ids.shape[1]
        x = self.tokens(ids) + self.positions(torch.arange(length))
        mask = torch.full((length, length), -math.inf, dtype=x.dtype).triu(1)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x) @ self.tokens.weight.t()


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))


class LlamaBlock(nn.Module):
    def __init__(self, width, count, groups):
        super().__init__()
        self.count, self.groups, size = count, groups, width // count
        self.norm1, self.norm2 = RmsNorm(width), RmsNorm(width)
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, groups * size, bias=False)
        self.v = nn.Linear(width, groups * size, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, 2 * width, bias=False)
        self.up = nn.Linear(width, 2 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def turned(self, x, cosine, sine):
        half = x.shape[-1] // 2
        return x * cosine + torch.cat((-x[..., half:], x[..., :half]), -1) * sine

    def forward(self, x, mask, cosine, sine):
        y = self.norm1(x)
        q = self.turned(heads(self.q(y), self.count), cosine, sine)
        k = self.turned(heads(self.k(y), self.groups), cosine, sine)
        v = heads(self.v(y), self.groups)
        more = self.count // self.groups
        k, v = (t[:, :, None].expand(-1, -1, more, -1, -1).reshape(t.shape[0], self.count, -1, t.shape[-1])
                for t in (k, v))
        x = x + self.out(joined(attend(q, k, v, mask)))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(90, 48)
        self.blocks = nn.ModuleList(LlamaBlock(48, 4, 2) for _ in range(2))
        self.norm, self.head = RmsNorm(48), nn.Linear(48, 90, bias=False)
        angle = torch.outer(torch.arange(40.0), 10000 ** (-torch.arange(0, 12, 2) / 12))
        self.register_buffer("angle", torch.cat((angle, angle), -1))

    def forward(self, ids):
        length = ids.shape[1]
        x, angle = self.tokens(ids), self.angle[:length]
        mask = torch.full((length, length), -math.inf, dtype=x.dtype).triu(1)
        for block in self.blocks:
            x = block(x, mask, angle.cos(), angle.sin())
        return self.head(self.norm(x))


class BertBlock(nn.Module):
    def __init__(self, width, count):
        super().__init__()
        self.count = count
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out, self.norm1 = nn.Linear(width, width), nn.LayerNorm(width)
        self.up, self.down, self.norm2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width), nn.LayerNorm(width)

    def forward(self, x, mask):
        y = attend(*(heads(f(x), self.count) for f in (self.q, self.k, self.v)), mask)
        x = self.norm1(x + self.out(joined(y)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    """Post-norm blocks over padded rows, a pooled first token and two classes."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(70, 32), nn.Embedding(40, 32)
        self.norm = nn.LayerNorm(32)
        self.blocks = nn.ModuleList(BertBlock(32, 2) for _ in range(2))
        self.pool, self.classes = nn.Linear(32, 32), nn.Linear(32, 3)

    def forward(self, ids, keep):
        x = self.norm(self.tokens(ids) + self.positions(torch.arange(ids.shape[1])))
        mask = (1 - keep[:, None, None, :].to(x.dtype)) * -10000.0
        for block in self.blocks:
            x = block(x, mask)
        return self.classes(torch.tanh(self.pool(x[:, 0])))


def gradients(model, inputs, labels, dtype):
    model = model.to(dtype)
    model.zero_grad()
    logits = model(*inputs)
    loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))
    loss.backward()
    return float(loss), {name: p.grad.double().numpy().copy() for name, p in model.named_parameters()}


def sizes(gradients):
    """Root mean squares of tensors, with a stand-in for those that are zero but for the rounding of doubles."""
    size = {key: math.sqrt((gradient ** 2).mean()) for key, gradient in gradients.items()}
    largest = max(size.values())
    return {key: s if s > 1e-12 * largest else 1e-2 * largest for key, s in size.items()}


def compare(name, model, inputs, folder, modes):
    torch.manual_seed(1)
    for parameter in model.parameters():
        with torch.no_grad():
            parameter += 0.05 * torch.randn_like(parameter)
    names = ["ids", "keep"][: len(inputs)]
    path = os.path.join(folder, name + ".onnx")
    torch.onnx.export(model, inputs, path, input_names=names, output_names=["logits"], opset_version=14,
                      do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
                      dynamic_axes={n: {0: "B", 1: "T"} for n in names})
    logits = model(*inputs)
    labels = torch.randint(logits.shape[-1], logits.shape[:-1])
    numpy.save(os.path.join(folder, "labels.npy"), labels.numpy())
    for n, x in zip(names, inputs):
        numpy.save(os.path.join(folder, n + ".npy"), x.numpy())
    single = gradients(model, inputs, labels, torch.float32)
    double = gradients(model, inputs, labels, torch.float64)
    for mode in modes:
        out = os.path.join(folder, name + "-" + mode)
        os.mkdir(out)
        files = [n + "=" + os.path.join(folder, n + ".npy") for n in names + ["labels"]]
        subprocess.run([sys.argv[1], path, mode, "cross_entropy", out] + files, check=True)
        loss = float(numpy.load(os.path.join(out, "loss.npy")))
        assert abs(loss - double[0]) <= 1e-5 * abs(double[0]), (name, mode, loss, double[0])
        worst = 0
        for key, size in sizes(double[1]).items():
            found = os.path.join(out, key + ".npy")
            assert os.path.exists(found), name + ": no gradient of " + key
            off = numpy.abs(numpy.load(found) - double[1][key]).max() / size
            theirs = numpy.abs(single[1][key] - double[1][key]).max() / size
            print(f"{name:6}{mode:10}{key:26}{size:9.1e}{off:9.1e}{theirs:9.1e}")
            worst = max(worst, off)
        assert worst <= 1e-5, (name, mode, worst)
        print(f"{name}, {mode}: {len(double[1])} gradients, at most {worst:.1e} of their size off")


def train(name, model, inputs, folder, forms):
    """Ten steps of AdamW: losses as PyTorch's, and the same bits however many threads there are."""
    path = os.path.join(folder, name + ".onnx")
    labels = torch.from_numpy(numpy.load(os.path.join(folder, "labels.npy")))
    model = model.float()
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    step = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0}], lr=1e-3)
    want = []
    for _ in range(10):
        step.zero_grad()
        logits = model(*inputs)
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))
        loss.backward()
        step.step()
        want.append(float(loss))
    files = [n + "=" + os.path.join(folder, n + ".npy") for n in ["ids", "keep"][: len(inputs)] + ["labels"]]
    first = None
    for form in forms:
        out = subprocess.run([sys.argv[2], path, *form, *files], check=True, stdout=subprocess.PIPE, text=True).stdout
        off = max(abs(float(a) - b) / (1 + abs(b)) for a, b in zip(out.split(), want))
        assert len(out.split()) == 10 and off <= 1e-4, (name, form, off, out.split(), want)
        if form[0] == "compiled":
            first = first or out
            assert out == first, (name, form)
        print(f"{name}, {form[0]}, threads {form[1]}: ten losses, {want[0]:.4f} to {want[-1]:.4f}, at most {off:.1e} off")


def main():
    print(f"{'model':6}{'mode':10}{'gradient by':26}{'size':>9}{'off':>9}{'PyTorch':>9}")
    torch.manual_seed(0)
    ids = torch.randint(70, (3, 17))
    keep = (torch.arange(17) < torch.tensor([[17], [9], [13]])).long()
    with tempfile.TemporaryDirectory() as folder:
        gpt, llama = Gpt(), Llama()
        compare("gpt", gpt, (ids,), folder, ["compiled", "eager"])
        train("gpt", gpt, (ids,), folder, [("compiled", "1"), ("compiled", "2"), ("compiled", "2"), ("eager", "2")])
        compare("llama", llama, (ids,), folder, ["compiled"])
        train("llama", llama, (ids,), folder, [("compiled", "2")])
        compare("bert", Bert(), (ids, keep), folder, ["compiled"])


sys.exit(main())
