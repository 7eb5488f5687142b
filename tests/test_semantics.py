"""The semantics of the language against PyTorch written by hand: operators, phases, groups, states, views, whole systems."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support import batch, batches, build, buffers, moved, no_gradients, snapshot, watched, written
from torch import Tensor, nn

from gangraph.ops import OPERATORS

# --- operators: every one against its formula in torch, values, shapes and gradients --------------------------------

# Inputs by type; each is x0 + P(), so that gradients can be asked for. Names of one letter, capitals are shared values.
INPUTS = {
    "r": "tensor()",
    "v": "tensor(3)",
    "w": "tensor(3)",
    "m": "tensor(2, 3)",
    "n": "tensor(3, 4)",
    "i": "image(3, 4, 5)",
    "j": "image(3, 4, 5)",
    "k": "image(1, 4, 5)",
    "q": "tensor(4, 3, 2, 2)",
}
LABELS = {"y": "label(3)", "l": "labels(3, 4, 5)", "b": "mask(4, 5)", "c": "mask(1)"}
SHARED = {"V": (3,), "M": (3, 4), "I": (3, 4, 5), "K": (4, 3, 2, 2)}

Formula = Callable[[Any], Tensor]
up = lambda x, k: x[(..., *[None] * k)]  # noqa: E731 - missing axes on the right
pairs = lambda f: [  # noqa: E731 - how operands meet
    (f.format("v", "w"), lambda t: (t.v, t.w)),
    (f.format("r", "i"), lambda t: (up(t.r, 3), t.i)),
    (f.format("i", "v"), lambda t: (t.i, up(t.v, 2))),
    (f.format("i", "k"), lambda t: (t.i, t.k)),
    (f.format("V", "i"), lambda t: (up(t.V, 2), t.i)),
    (f.format("i", "I"), lambda t: (t.i, t.I)),
    (f.format("M", "V"), lambda t: (t.M, up(t.V, 1))),
    (f.format("r", "r"), lambda t: (t.r, t.r)),
    (f.format("m", "0.7"), lambda t: (t.m, 0.7)),
    (f.format("1.5", "v"), lambda t: (1.5, t.v)),
]


def unary(call: str, f: Callable[[Tensor], Tensor], positive: bool = False, inside: bool = False) -> list[tuple[str, Formula]]:
    wrap = "square({}) + 0.5" if positive else "0.9 * sin({})" if inside else "{}"
    before = (lambda x: x.square() + 0.5) if positive else (lambda x: 0.9 * x.sin()) if inside else (lambda x: x)
    return [
        (call.format(wrap.format(name)), lambda t, name=name: f(before(getattr(t, name)))) for name in ("r", "v", "i", "V", "I")
    ]


def binary(sign: str, f: Callable[[Any, Any], Any], positive: bool = False) -> list[tuple[str, Formula]]:
    made = []
    for text, operands in pairs("{} " + sign + " {}"):
        left, right = text.split(f" {sign} ")
        if positive:
            left, right = (e if e[0].isdigit() else f"(square({e}) + 0.5)" for e in (left, right))
        safe = (lambda x: x.square() + 0.5 if isinstance(x, Tensor) else x) if positive else (lambda x: x)
        made.append((f"{left} {sign} {right}", lambda t, o=operands, s=safe: f(*(s(x) for x in o(t)))))
    return made


def reduced(name: str, f: Callable[..., Tensor]) -> list[tuple[str, Formula]]:
    """A reduction over all own axes, over one, over two; of samples and of shared values."""
    cases: list[tuple[str, Formula]] = [
        (f"{name}(v)", lambda t: f(t.v, (1,))),
        (f"{name}(i)", lambda t: f(t.i, (1, 2, 3))),
        (f"{name}(V)", lambda t: f(t.V, (0,))),
        (f"{name}(I)", lambda t: f(t.I, (0, 1, 2))),
        (f"{name}(i, dim=1)", lambda t: f(t.i, (1,))),
        (f"{name}(i, dim=3)", lambda t: f(t.i, (3,))),
        (f"{name}(i, dim=[2, 3])", lambda t: f(t.i, (2, 3))),
        (f"{name}(I, dim=1)", lambda t: f(t.I, (0,))),
        (f"{name}(I, dim=[1, 3])", lambda t: f(t.I, (0, 2))),
        (f"{name}(m, dim=2)", lambda t: f(t.m, (2,))),
    ]
    return cases


def masked(condition: Tensor) -> Tensor:
    return condition.to(torch.float64)


def select_rows(values: Tensor, y: Tensor) -> Tensor:
    return torch.stack([values[k, y[k]] for k in range(len(y))])


def one_each(x: Tensor, kernels: Tensor, **options: Any) -> Tensor:
    return torch.stack([F.conv2d(a[None], w, **options)[0] for a, w in zip(x, kernels, strict=True)])


SOFTPLUS = lambda x: torch.logaddexp(x, torch.zeros_like(x))  # noqa: E731
SIGMOID = lambda x: 1 / (1 + (-x).exp())  # noqa: E731
CASES: dict[str, list[tuple[str, Formula]]] = {
    "exp": unary("exp({})", torch.exp),
    "log": unary("log({})", torch.log, positive=True),
    "sqrt": unary("sqrt({})", torch.sqrt, positive=True),
    "abs": unary("abs({})", torch.abs),
    "square": unary("square({})", lambda x: x * x),
    "sin": unary("sin({})", torch.sin),
    "cos": unary("cos({})", torch.cos),
    "acos": unary("acos({})", torch.acos, inside=True),
    "sigmoid": unary("sigmoid({})", SIGMOID),
    "tanh": unary("tanh({})", torch.tanh),
    "relu": unary("relu({})", lambda x: x.clamp(min=0)),
    "softplus": unary("softplus({})", SOFTPLUS) + unary("softplus(-{})", lambda x: SOFTPLUS(-x)),
    "silu": unary("silu({})", lambda x: x * SIGMOID(x)),
    "gelu": unary("gelu({})", lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))),
    "elu": unary("elu({})", lambda x: torch.where(x > 0, x, x.exp() - 1)),
    "selu": unary("selu({})", torch.selu),
    "mish": unary("mish({})", lambda x: x * SOFTPLUS(x).tanh()),
    "leaky_relu": unary("leaky_relu({})", lambda x: torch.where(x > 0, x, 0.01 * x))
    + unary("leaky_relu({}, slope=0.3)", lambda x: torch.where(x > 0, x, 0.3 * x)),
    "stop": unary("stop({0}) * {0}", lambda x: x.detach() * x),
    "reverse": [
        ("reverse(v)", lambda t: 2 * t.v.detach() - t.v),
        ("reverse(i, 0.3)", lambda t: 1.3 * t.i.detach() - 0.3 * t.i),
        ("reverse(V, s=2)", lambda t: 3 * t.V.detach() - 2 * t.V),
    ],
    "clamp": unary("clamp({}, -0.3, 0.5)", lambda x: x.clamp(-0.3, 0.5)),
    "add": binary("+", lambda a, b: a + b),
    "sub": binary("-", lambda a, b: a - b),
    "mul": binary("*", lambda a, b: a * b),
    "div": binary("/", lambda a, b: a / b, positive=True),
    "floordiv": binary("//", lambda a, b: torch.floor(a / b) if isinstance(a, Tensor) or isinstance(b, Tensor) else a // b, positive=True),
    "mod": binary("%", lambda a, b: torch.remainder(a if isinstance(a, Tensor) else torch.tensor(a).double(), b), positive=True),
    "pow": binary("**", lambda a, b: a**b, positive=True)
    + [("v**2", lambda t: t.v * t.v), ("v**3", lambda t: t.v * t.v * t.v), ("(-v)**2", lambda t: t.v * t.v), ("2**v", lambda t: 2**t.v)],
    "neg": unary("-{}", lambda x: 0 - x),
    "where": [
        ("where(v > w, v, w)", lambda t: torch.where(t.v > t.w, t.v, t.w)),
        ("where(i > 0, v, k)", lambda t: torch.where(t.i > 0, up(t.v, 2), t.k)),
        ("where(r > 0, i, 0)", lambda t: torch.where(up(t.r, 3) > 0, t.i, torch.zeros(()))),
        ("where(c, i, 2 * j)", lambda t: torch.where(up(t.c, 2) != 0, t.i, 2 * t.j)),
        ("where(y == 1, v, 0 * w)", lambda t: torch.where(up(t.y == 1, 1), t.v, 0 * t.w)),
        ("where(V > 0, V, 1)", lambda t: torch.where(t.V > 0, t.V, torch.ones(()))),
    ],
    "lerp": [
        ("lerp(v, w, 0.3)", lambda t: t.v + 0.3 * (t.w - t.v)),
        ("lerp(i, j, r)", lambda t: t.i + up(t.r, 3) * (t.j - t.i)),
        ("lerp(i, k, v)", lambda t: t.i + up(t.v, 2) * (t.k - t.i)),
        ("lerp(V, v, 0.5)", lambda t: t.V + 0.5 * (t.v - t.V)),
        ("lerp(0, v, 0.25)", lambda t: 0.25 * t.v),
        ("lerp(v, 1, w)", lambda t: t.v + t.w * (1 - t.v)),
    ],
    "mean": reduced("mean", lambda x, d: x.sum(dim=d) / math.prod(x.shape[a] for a in d)) + [("mean(r)", lambda t: t.r)],
    "sum": reduced("sum", lambda x, d: x.sum(dim=d)) + [("sum(r)", lambda t: t.r)],
    "norm": reduced("norm", lambda x, d: x.square().sum(dim=d).sqrt()),
    "logsumexp": reduced("logsumexp", lambda x, d: x.exp().sum(dim=d).log()),
    "std": reduced("std", lambda x, d: ((x - x.mean(dim=d, keepdim=True)).square().sum(dim=d) / (math.prod(x.shape[a] for a in d) - 1)).sqrt()),
    "max": reduced("max", lambda x, d: x.amax(dim=d))
    + [("max(v, w)", lambda t: torch.maximum(t.v, t.w)), ("max(i, v)", lambda t: torch.maximum(t.i, up(t.v, 2))), ("max(v, 0.2)", lambda t: t.v.clamp(min=0.2)), ("max(0.2, V)", lambda t: t.V.clamp(min=0.2)), ("max([v, w])", lambda t: torch.maximum(t.v, t.w))],
    "min": reduced("min", lambda x, d: x.amin(dim=d))
    + [("min(v, w)", lambda t: torch.minimum(t.v, t.w)), ("min(r, i)", lambda t: torch.minimum(up(t.r, 3), t.i)), ("min(v, 0.2)", lambda t: t.v.clamp(max=0.2))],
    "expect": [(f"expect({x})", lambda t, x=x: getattr(t, x).sum(dim=0) / len(getattr(t, x))) for x in "rvi"]
    + [("v - expect(v)", lambda t: t.v - t.v.mean(dim=0)), ("expect(mean(i))", lambda t: t.i.mean()), ("expect(mean(i, dim=[2, 3]))", lambda t: t.i.mean(dim=(0, 2, 3)))],
    "total": [(f"total({x})", lambda t, x=x: getattr(t, x).sum(dim=0)) for x in "rvi"] + [("total(sum(m))", lambda t: t.m.sum())],
    "samples_of": [
        ("mean(samples_of(v), dim=1)", lambda t: t.v.mean(dim=0)),
        ("samples_of(r)", lambda t: t.r),
        ("sum(samples_of(m))", lambda t: t.m.sum()),
    ],
    "add_all": [("add([v, w, V])", lambda t: t.v + t.w + t.V), ("add([r])", lambda t: t.r), ("add([r, i])", lambda t: up(t.r, 3) + t.i)],
    "average_all": [("average([v, w, V])", lambda t: (t.v + t.w + t.V) / 3), ("average([i, v])", lambda t: (t.i + up(t.v, 2)) / 2)],
    "cross_entropy": [
        ("cross_entropy(v, y)", lambda t: -torch.log_softmax(t.v, 1)[range(len(t.y)), t.y]),
        ("cross_entropy(i, l)", lambda t: -torch.log_softmax(t.i, 1).gather(1, t.l[:, None])[:, 0]),
        ("cross_entropy(v, 2)", lambda t: -torch.log_softmax(t.v, 1)[:, 2]),
        ("cross_entropy(i, 1)", lambda t: -torch.log_softmax(t.i, 1)[:, 1]),
    ],
    "concat": [
        ("concat(i, k)", lambda t: torch.cat([t.i, t.k], 1)),
        ("concat(v, [1, 0])", lambda t: torch.cat([t.v, torch.tensor([1.0, 0.0]).expand(len(t.v), 2)], 1)),
        ("concat(i, j, dim=3)", lambda t: torch.cat([t.i, t.j], 3)),
        ("concat(v, V)", lambda t: torch.cat([t.v, t.V.expand_as(t.v)], 1)),
        ("concat(I, i)", lambda t: torch.cat([t.I.expand_as(t.i), t.i], 1)),
        ("concat(V, 2 * V)", lambda t: torch.cat([t.V, 2 * t.V])),
        ("concat([v, w])", lambda t: torch.cat([t.v, t.w], 1)),
        ("concat(m, m, dim=2)", lambda t: torch.cat([t.m, t.m], 2)),
    ],
    "stack": [
        ("stack(v, w)", lambda t: torch.stack([t.v, t.w], 1)),
        ("stack(v, w, dim=2)", lambda t: torch.stack([t.v, t.w], 2)),
        ("stack(V, 2 * V)", lambda t: torch.stack([t.V, 2 * t.V])),
        ("stack(r, r)", lambda t: torch.stack([t.r, t.r], 1)),
        ("stack(V, v)", lambda t: torch.stack([t.V.expand_as(t.v), t.v], 1)),
    ],
    "tile": [
        ("tile(v, i)", lambda t: up(t.v, 2).expand(-1, -1, 4, 5)),
        ("tile(V, i) + i", lambda t: up(t.V, 2) + t.i),
        ("tile(V, I)", lambda t: up(t.V, 2).expand(-1, 4, 5)),
        ("tile(v, 2 * k)", lambda t: up(t.v, 2).expand(-1, -1, 4, 5)),
        ("tile(v, I)", lambda t: up(t.v, 2).expand(-1, -1, 4, 5)),
    ],
    "reshape": [
        ("reshape(i, 12, 5)", lambda t: t.i.reshape(-1, 12, 5)),
        ("reshape(i, -1)", lambda t: t.i.flatten(1)),
        ("reshape(I, 4, -1)", lambda t: t.I.reshape(4, 15)),
        ("reshape(r, 1)", lambda t: t.r[:, None]),
        ("reshape(r, 1, 1, 1) * i", lambda t: up(t.r, 3) * t.i),
    ],
    "transpose": [
        ("transpose(m, 1, 2)", lambda t: t.m.transpose(1, 2)),
        ("transpose(i, 1, 3)", lambda t: t.i.transpose(1, 3)),
        ("transpose(M, 1, 2)", lambda t: t.M.T),
    ],
    "matmul": [
        ("matmul(m, n)", lambda t: t.m @ t.n),
        ("matmul(v, M)", lambda t: t.v @ t.M),
        ("matmul(m, M)", lambda t: t.m @ t.M),
        ("matmul(transpose(M, 1, 2), M)", lambda t: t.M.T @ t.M),
        ("matmul(V, M)", lambda t: t.V @ t.M),
        ("2 * matmul(m, n) + 1", lambda t: 2 * (t.m @ t.n) + 1),
        ("matmul(m, n + n)", lambda t: t.m @ (t.n + t.n)),
    ],
    "softmax": [
        ("softmax(v, 1)", lambda t: torch.softmax(t.v, 1)),
        ("softmax(m, dim=2)", lambda t: torch.softmax(t.m, 2)),
        ("softmax(M, dim=1)", lambda t: torch.softmax(t.M, 0)),
    ],
    "log_softmax": [
        ("log_softmax(v, 1)", lambda t: torch.log_softmax(t.v, 1)),
        ("log_softmax(M, dim=2)", lambda t: torch.log_softmax(t.M, 1)),
    ],
    "argmax": [
        ("one_hot(argmax(v), 3) * v", lambda t: F.one_hot(t.v.argmax(1), 3) * t.v),
        ("one_hot(argmax(m, dim=2), 3) + 0 * m[:, 0, 0]", lambda t: F.one_hot(t.m.argmax(2), 3).movedim(-1, 1) + 0 * up(t.m[:, 0, 0], 2)),
    ],
    "argmin": [("one_hot(argmin(v), 3) * v", lambda t: F.one_hot(t.v.argmin(1), 3) * t.v)],
    "one_hot": [
        ("one_hot(y, 3) * v", lambda t: F.one_hot(t.y, 3) * t.v),
        ("one_hot(y, 5) * r", lambda t: F.one_hot(t.y, 5) * up(t.r, 1)),
        ("one_hot(l, 3) * i", lambda t: F.one_hot(t.l, 3).movedim(-1, 1) * t.i),
    ],
    "select": [
        ("select(v, y)", lambda t: select_rows(t.v, t.y)),
        ("select(n, y)", lambda t: select_rows(t.n, t.y)),
        ("select([v, w, v * w], y)", lambda t: select_rows(torch.stack([t.v, t.w, t.v * t.w], 1), t.y)),
        ("select([r, 2 * r, 3 * r], y)", lambda t: t.r * (1 + t.y)),
        ("select(V, y)", lambda t: t.V[t.y]),
        ("select(M, y)", lambda t: t.M[t.y]),
    ],
    "resize": [
        ("resize(i, 8, 3)", lambda t: F.interpolate(t.i, (8, 3), mode="bilinear", align_corners=False)),
        ("resize(i, 8, 10, mode='nearest')", lambda t: F.interpolate(t.i, (8, 10), mode="nearest")),
        ("resize(i, 2, 5, mode='area')", lambda t: F.interpolate(t.i, (2, 5), mode="area")),
        ("resize(I, 8, 3)", lambda t: F.interpolate(t.I[None], (8, 3), mode="bilinear", align_corners=False)[0]),
    ],
    "pad": [
        ("pad(i, [1, 2, 0, 1])", lambda t: F.pad(t.i, (1, 2, 0, 1))),
        ("pad(i, [1, 2, 0, 1], mode='reflect')", lambda t: F.pad(t.i, (1, 2, 0, 1), mode="reflect")),
        ("pad(i, [1, 2, 0, 1], mode='replicate')", lambda t: F.pad(t.i, (1, 2, 0, 1), mode="replicate")),
        ("pad(i, [1, 2, 0, 1], mode='circular')", lambda t: F.pad(t.i, (1, 2, 0, 1), mode="circular")),
        ("pad(i, [-1, 0, 0, -1])", lambda t: t.i[:, :, :-1, 1:]),
        ("pad(I, [1, 1, 1, 1], mode='reflect')", lambda t: F.pad(t.I[None], (1, 1, 1, 1), mode="reflect")[0]),
    ],
    "take": [
        ("take(v, y)", lambda t: t.v[t.y]),
        ("take(i, y)", lambda t: t.i[t.y]),
    ],
    "zeros": [("v + zeros(3)", lambda t: t.v + 0), ("v * zeros(3) + 2", lambda t: t.v * 0 + 2)],
    "ones": [("i * ones(3, 4, 5)", lambda t: t.i), ("v + ones(3)", lambda t: t.v + 1)],
    "batch_concat": [
        ("batch_concat([v, w])", lambda t: torch.cat([t.v, t.w])),
        ("batch_concat([v, batch_repeat(w, 2)])", lambda t: torch.cat([t.v, t.w, t.w])),
        ("batch_concat([i[0:N // 2], j])", lambda t: torch.cat([t.i[: len(t.i) // 2], t.j])),
    ],
    "batch_repeat": [
        ("batch_repeat(v, 3)", lambda t: t.v.repeat(3, 1)),
        ("batch_repeat(r, 2)", lambda t: t.r.repeat(2)),
        ("batch_repeat(i, 2)", lambda t: torch.cat([t.i, t.i])),
    ],
    "convolve": [
        ("convolve(i, K)", lambda t: F.conv2d(t.i, t.K)),
        ("convolve(i, K, stride=2, padding=1)", lambda t: F.conv2d(t.i, t.K, stride=2, padding=1)),
        ("convolve(i, q)", lambda t: one_each(t.i, t.q)),
        ("convolve(i, q, padding=1, stride=2)", lambda t: one_each(t.i, t.q, padding=1, stride=2)),
    ],
}  # fmt: skip
COMPARED = {"lt": ("<", torch.lt), "le": ("<=", torch.le), "gt": (">", torch.gt), "ge": (">=", torch.ge), "eq": ("==", torch.eq), "ne": ("!=", torch.ne)}
for _name, (_sign, _f) in COMPARED.items():
    CASES[_name] = [
        (f"(v {_sign} w) * v + w", lambda t, f=_f: masked(f(t.v, t.w)) * t.v + t.w),
        (f"i + (i {_sign} v)", lambda t, f=_f: t.i + masked(f(t.i, up(t.v, 2)))),
        (f"mean(i {_sign} 0) + r", lambda t, f=_f: masked(f(t.i, torch.zeros(()))).mean(dim=(1, 2, 3)) + t.r),
        (f"(y {_sign} 1) * r", lambda t, f=_f: masked(f(t.y, torch.ones((), dtype=torch.int64))) * t.r),
    ]
# What is no operator of the table, and a value all the same.
CASES |= {
    "slice": [
        ("v[0:N // 2]", lambda t: t.v[: len(t.v) // 2]),
        ("v[N // 2:N]", lambda t: t.v[len(t.v) // 2 :]),
        ("i[:, 1]", lambda t: t.i[:, 1]),
        ("i[:, 0:2, :, 1]", lambda t: t.i[:, 0:2, :, 1]),
        ("i[:, :, 1:-1]", lambda t: t.i[:, :, 1:-1]),
        ("v[:, -1]", lambda t: t.v[:, -1]),
        ("I[:, 1]", lambda t: t.I[1]),
        ("I[:, :, 0:2]", lambda t: t.I[:, 0:2]),
        ("v[1:N]", lambda t: t.v[1:]),
        ("v[0:1]", lambda t: t.v[0:1]),
    ],
    "split": [
        ("split(i, 2, dim=2)[1]", lambda t: t.i.chunk(2, 2)[1]),
        ("split(v, 3)[2]", lambda t: t.v[:, 2:]),
        ("split(M, 2, dim=2)[0]", lambda t: t.M[:, :2]),
    ],
    "batch_split": [
        ("batch_split(v, 2)[1]", lambda t: t.v[len(t.v) // 2 :]),
        ("batch_split(batch_concat([v, w]), 2)[1]", lambda t: torch.cat([t.v, t.w]).chunk(2)[1]),
    ],
    "alignment": [
        ("r * i + v", lambda t: up(t.r, 3) * t.i + up(t.v, 2)),
        ("v * i + k", lambda t: up(t.v, 2) * t.i + t.k),
        ("V * i", lambda t: up(t.V, 2) * t.i),
        ("(i - expect(i)) / (expect(v) * expect(v) + 1)", lambda t: (t.i - t.i.mean(0)) / up(t.v.mean(0) ** 2 + 1, 2)),
        ("mean(i, dim=[2, 3]) * i", lambda t: up(t.i.mean((2, 3)), 2) * t.i),
        ("mean(v) * v * 1", lambda t: up(t.v.mean(1), 1) * t.v),
    ],
    "precedence": [
        ("-v**2", lambda t: -(t.v * t.v)),
        ("2 - (v - w)", lambda t: 2 - (t.v - t.w)),
        ("v / (w * w + 1) / 2", lambda t: t.v / (t.w * t.w + 1) / 2),
        ("v - w - 1", lambda t: t.v - t.w - 1),
        ("(v + w) * (v - w)", lambda t: (t.v + t.w) * (t.v - t.w)),
        ("2**-1 * v", lambda t: 0.5 * t.v),
        ("-(v + w)", lambda t: -(t.v + t.w)),
        ("exp(-(v - w)**2)", lambda t: (-((t.v - t.w) ** 2)).exp()),
        ("(v > 0) * (w > 0) * v", lambda t: masked(t.v > 0) * masked(t.w > 0) * t.v),
        ("v if 2 > 1 else w", lambda t: t.v),
        ("v * (3 // 2) + 7 % 4", lambda t: t.v + 3),
        ("v * (N - 1)", lambda t: t.v * (len(t.v) - 1)),
        ("v / N", lambda t: t.v / len(t.v)),
        ("v * pi * len([1, 2])", lambda t: t.v * math.pi * 2),
        ("-(-v)", lambda t: t.v),
        ("1 - 2 * -v", lambda t: 1 + 2 * t.v),
    ],
}
EXACT = {"stop", "add", "sub", "mul", "div", "neg", "abs", "reshape", "transpose", "slice", "split", "batch_split"}
FLAT = {"floordiv"}  # whose derivative is zero, and no tensor


UNGRADED = {"floordiv"}
BROKEN = {
    "1.5 % (square(v) + 0.5)": "torch has no derivative of a number % a tensor",
    "lerp(0, v, 0.25)": "torch.lerp takes no number in the first place",
    "lerp(v, 1, w)": "torch.lerp takes no number in the second place",
    "cross_entropy(v, 2)": "a number as the target is refused",
    "cross_entropy(i, 1)": "a number as the target is refused",
    "stack(V, v)": "a shared value is not spread over the samples",
    "matmul(v, M)": "operands of matmul are aligned like those of +",
    "matmul(V, M)": "operands of matmul are aligned like those of +",
    "tile(V, i) + i": "a shared value is not spread over the samples",
    "tile(v, I)": "a shared value is not spread over the samples",
    "select(V, y)": "a shared value is not spread over the samples",
    "select(M, y)": "a shared value is not spread over the samples",
    "resize(I, 8, 3)": "a shared value has no sample axis to torch",
    "I[:, 1]": "a shared value cannot be sliced",
    "I[:, :, 0:2]": "a shared value cannot be sliced",
    **{f"mean(i {sign} 0) + r": "1 and 0 of a comparison are float32" for sign in ("<", "<=", ">", ">=")},
}


def shared(operator: str, text: str) -> bool:
    """Whether a case has no sample axis."""
    letters = set(re.findall(r"\b[A-Za-z]\b(?!=)", text))
    return operator == "samples_of" or re.match(r"(expect|total)\(", text) is not None or letters <= set(SHARED)


def operator_spec(operator: str, cases: list[tuple[str, Formula]]) -> str:
    """A spec in which every case is a value, a view, and the objective of a phase (the sum of its squares)."""
    used = {w for text, _ in cases for w in re.findall(r"\b[A-Za-z]\b", text)}
    floats = [n for n in INPUTS if n in used]
    shares = [n for n in SHARED if n in used]
    lines = ["gangraph: 1", f"name: operator-{operator.replace('_', '-')}", "inputs:"]
    lines += [f"  {n}0: {INPUTS[n]}" for n in floats] + [f"  {n}: {t}" for n, t in LABELS.items() if n in used]
    lines += ["  x: vector(1)"] * (not floats and not used & set(LABELS))
    lines += ["networks:", *(f"  P{n}: {re.sub('tensor|image', 'Parameter', INPUTS[n])}" for n in floats)]
    lines += [f"  P{n}: Parameter({', '.join(map(str, SHARED[n]))})" for n in shares]
    lines += ["graph:", *(f"  {n}: {n}0 + P{n}()" for n in floats), *(f"  {n}: P{n}()" for n in shares)]
    lines += [f"  out{i}: {text}" for i, (text, _) in enumerate(cases)]
    lines += ["losses:"]
    for i, (text, _) in enumerate(cases):
        lines.append(f"  l{i}: " + ("sum(square(out{0}))" if shared(operator, text) else "expect(sum(square(out{0})))").format(i))
    every = [f"expect(sum(square({n})))" for n in floats] + [f"sum(square({n}))" for n in shares]
    every += ["0 * expect(mean(x))"] * (not floats and not used & set(LABELS))
    lines += ["  every: " + " + ".join(every)]
    lines += ["players:", f"  P: {{networks: [{', '.join(f'P{n}' for n in [*floats, *shares])}], optimizer: SGD(lr=0.1)}}"]
    lines += ["schedule:", "  step: {player: P, minimize: every}"]
    if operator in UNGRADED:
        lines += ["  ungraded: {player: P, minimize: every + " + " + ".join(f"l{i}" for i in range(len(cases))) + "}"]
    else:
        lines += [f"  step{i}: {{player: P, minimize: l{i}}}" for i in range(len(cases))]
    lines += ["sample:", *(f"  out{i}: out{i}" for i in range(len(cases))), "train: {batch: 4}"]
    return "\n".join(lines) + "\n"


def values_of(gan: Any, given: dict[str, Tensor]) -> SimpleNamespace:
    """The inputs of the formulas, made from the batch and the parameters of the program."""
    parameters = {name: p for name, p in gan.named_parameters().items()}
    found = {n: given[n] for n in LABELS if n in given}
    found |= {n: given[f"{n}0"] + parameters[f"P{n}.weight"] for n in INPUTS if f"{n}0" in given}
    found |= {n: parameters[f"P{n}.weight"] * 1 for n in SHARED if f"P{n}.weight" in parameters}
    return SimpleNamespace(**found)


def check_operator(operator: str, cases: list[tuple[str, Formula]], folder: Path) -> None:
    gan = build(written(folder, operator_spec(operator, cases)))
    for seed, n in ((0, 4), (1, 4 if operator == "samples_of" else 2)):
        given = batch(gan, n, seed)
        t = values_of(gan, given)
        for i, (text, formula) in enumerate(cases):
            expected = formula(t)
            found = gan.sample(f"out{i}", n, given)
            type_ = gan.graph.values[f"out{i}"].type
            samples = [] if type_.samples is None else [eval(type_.samples.text, {"N": n})]
            assert list(found.shape) == [*samples, *type_.shape] == list(expected.shape), text
            assert found.dtype == torch.float64, text
            assert torch.allclose(found, expected, rtol=1e-12, atol=1e-13), text
            if type_.range and type_.range != (-1, 1):
                assert found.min() >= type_.range[0] and found.max() <= type_.range[1], text
            if operator in UNGRADED:
                continue
            squares = expected.square().sum() / (len(expected) if samples else 1)
            parameters = gan.named_parameters()
            wanted = torch.autograd.grad(squares, list(parameters.values()), allow_unused=True, retain_graph=True)
            gradients = gan.gradients(f"step{i}", given)
            assert list(gradients) == [n for n, g in zip(parameters, wanted, strict=True) if g is not None], text
            for name, g in zip(parameters, wanted, strict=True):
                assert g is None or torch.allclose(gradients[name], g, rtol=1e-11, atol=1e-12), (text, name)


@pytest.mark.parametrize("operator", CASES)
def test_an_operator_is_its_formula_with_its_shape_and_its_gradient(operator: str, tmp_path: Path) -> None:
    check_operator(operator, [case for case in CASES[operator] if case[0] not in BROKEN], tmp_path)


@pytest.mark.parametrize(
    "operator, case",
    [
        pytest.param(o, case, id=case[0], marks=pytest.mark.xfail(strict=True, reason=BROKEN[case[0]]))
        for o, cases in CASES.items()
        for case in cases
        if case[0] in BROKEN
    ],
)
def test_an_operator_that_is_broken(operator: str, case: tuple[str, Formula], tmp_path: Path) -> None:
    check_operator(operator, [case], tmp_path)


def test_every_operator_of_the_table_has_a_case() -> None:
    assert set(OPERATORS) <= set(CASES)
