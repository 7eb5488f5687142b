"""The semantics of the language against PyTorch by hand: operators, phases, groups, states, views, whole systems."""

from __future__ import annotations

import copy
import importlib
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
from support import batch, batches, buffers, build, moved, no_gradients, snapshot, watched, written
from torch import Tensor

import gangraph
from gangraph._paths import specs
from gangraph.errors import SpecError
from gangraph.library import Library
from gangraph.ops import OPERATORS
from gangraph.spec import Sources, read_library
from gangraph.testing import assert_matches_reference
from gangraph.verify import verify

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


def unary(
    call: str, f: Callable[[Tensor], Tensor], positive: bool = False, inside: bool = False
) -> list[tuple[str, Formula]]:
    wrap = "square({}) + 0.5" if positive else "0.9 * sin({})" if inside else "{}"
    before = (lambda x: x.square() + 0.5) if positive else (lambda x: 0.9 * x.sin()) if inside else (lambda x: x)
    return [
        (call.format(wrap.format(name)), lambda t, name=name: f(before(getattr(t, name))))
        for name in ("r", "v", "i", "V", "I")
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
    "floordiv": binary(
        "//",
        lambda a, b: torch.floor(a / b) if isinstance(a, Tensor) or isinstance(b, Tensor) else a // b,
        positive=True,
    ),
    "mod": binary(
        "%", lambda a, b: torch.remainder(a if isinstance(a, Tensor) else torch.tensor(a).double(), b), positive=True
    ),
    "pow": [
        *binary("**", lambda a, b: a**b, positive=True),
        ("v**2", lambda t: t.v * t.v),
        ("v**3", lambda t: t.v * t.v * t.v),
        ("(-v)**2", lambda t: t.v * t.v),
        ("2**v", lambda t: 2**t.v),
    ],
    "neg": unary("-{}", lambda x: 0 - x),
    "where": [
        ("where(v > w, v, w)", lambda t: torch.where(t.v > t.w, t.v, t.w)),
        ("where(i > 0, v, k)", lambda t: torch.where(t.i > 0, up(t.v, 2), t.k)),
        ("where(r > 0, i, 0)", lambda t: torch.where(up(t.r, 3) > 0, t.i, torch.zeros(()))),
        ("where(c, i, 2 * j)", lambda t: torch.where(up(t.c, 2) != 0, t.i, 2 * t.j)),
        ("where(y == 1, v, 0 * w)", lambda t: torch.where(up(t.y == 1, 1), t.v, 0 * t.w)),
        ("where(pi > 3, v, w)", lambda t: t.v),
        ("where(step < 1, v * 2, w)", lambda t: 2 * t.v),
        ("v if step > 0 else w * w", lambda t: t.w * t.w),
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
    "mean": [
        *reduced("mean", lambda x, d: x.sum(dim=d) / math.prod(x.shape[a] for a in d)),
        ("mean(r)", lambda t: t.r),
    ],
    "sum": [*reduced("sum", lambda x, d: x.sum(dim=d)), ("sum(r)", lambda t: t.r)],
    "norm": reduced("norm", lambda x, d: x.square().sum(dim=d).sqrt()),
    "logsumexp": reduced("logsumexp", lambda x, d: x.exp().sum(dim=d).log()),
    "std": reduced(
        "std",
        lambda x, d: (
            (x - x.mean(dim=d, keepdim=True)).square().sum(dim=d) / (math.prod(x.shape[a] for a in d) - 1)
        ).sqrt(),
    ),
    "max": [
        *reduced("max", lambda x, d: x.amax(dim=d)),
        ("max(v, w)", lambda t: torch.maximum(t.v, t.w)),
        ("max(i, v)", lambda t: torch.maximum(t.i, up(t.v, 2))),
        ("max(v, 0.2)", lambda t: t.v.clamp(min=0.2)),
        ("max(0.2, V)", lambda t: t.V.clamp(min=0.2)),
        ("max([v, w])", lambda t: torch.maximum(t.v, t.w)),
    ],
    "min": [
        *reduced("min", lambda x, d: x.amin(dim=d)),
        ("min(v, w)", lambda t: torch.minimum(t.v, t.w)),
        ("min(r, i)", lambda t: torch.minimum(up(t.r, 3), t.i)),
        ("min(v, 0.2)", lambda t: t.v.clamp(max=0.2)),
    ],
    "expect": [(f"expect({x})", lambda t, x=x: getattr(t, x).sum(dim=0) / len(getattr(t, x))) for x in "rvi"]
    + [
        ("v - expect(v)", lambda t: t.v - t.v.mean(dim=0)),
        ("expect(mean(i))", lambda t: t.i.mean()),
        ("expect(mean(i, dim=[2, 3]))", lambda t: t.i.mean(dim=(0, 2, 3))),
    ],
    "total": [(f"total({x})", lambda t, x=x: getattr(t, x).sum(dim=0)) for x in "rvi"]
    + [("total(sum(m))", lambda t: t.m.sum())],
    "samples_of": [
        ("mean(samples_of(v), dim=1)", lambda t: t.v.mean(dim=0)),
        ("samples_of(r)", lambda t: t.r),
        ("sum(samples_of(m))", lambda t: t.m.sum()),
    ],
    "add_list": [
        ("add([v, w, V])", lambda t: t.v + t.w + t.V),
        ("add([r])", lambda t: t.r),
        ("add([r, i])", lambda t: up(t.r, 3) + t.i),
    ],
    "average_list": [
        ("average([v, w, V])", lambda t: (t.v + t.w + t.V) / 3),
        ("average([i, v])", lambda t: (t.i + up(t.v, 2)) / 2),
    ],
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
        ("matmul(transpose(i, 2, 3), k)", lambda t: t.i.transpose(2, 3) @ t.k),
        ("matmul(k, transpose(j, 2, 3))", lambda t: t.k @ t.j.transpose(2, 3)),
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
        (
            "one_hot(argmax(m, dim=2), 3) + 0 * m[:, 0, 0]",
            lambda t: F.one_hot(t.m.argmax(2), 3).movedim(-1, 1) + 0 * up(t.m[:, 0, 0], 2),
        ),
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
        ("take(i, [4, 3, 2, 1, 0], dim=3)", lambda t: t.i.flip(3)),
        ("take(v, range(2), dim=1)", lambda t: t.v[:, :2]),
        ("v + sum(take(expect(i), [1, 1, 0], dim=2))", lambda t: t.v + t.i.mean(0)[:, [1, 1, 0]].sum()),
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
        ("convolve(I, q, padding=1)", lambda t: one_each(t.I.expand(len(t.q), *t.i.shape[1:]), t.q, padding=1)),
        ("convolve(i, q, padding=1, stride=2)", lambda t: one_each(t.i, t.q, padding=1, stride=2)),
    ],
}
COMPARED = {
    "lt": ("<", torch.lt),
    "le": ("<=", torch.le),
    "gt": (">", torch.gt),
    "ge": (">=", torch.ge),
    "eq": ("==", torch.eq),
    "ne": ("!=", torch.ne),
}
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
    "copies": [
        ("copies(v, 2)[1]", lambda t: t.v),
        ("add(copies(v, 3))", lambda t: t.v + t.v + t.v),
        ("concat(copies(v, len([1, 2])))", lambda t: torch.cat([t.v, t.v], 1)),
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
EXACT = {
    "stop",
    "add",
    "sub",
    "mul",
    "div",
    "neg",
    "abs",
    "reshape",
    "transpose",
    "slice",
    "split",
    "batch_split",
    "copies",
}
FLAT = {"floordiv"}  # whose derivative is zero, and no tensor


UNGRADED = {"floordiv"}


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
        lines.append(
            f"  l{i}: " + ("sum(square(out{0}))" if shared(operator, text) else "expect(sum(square(out{0})))").format(i)
        )
    every = [f"expect(sum(square({n})))" for n in floats] + [f"sum(square({n}))" for n in shares]
    every += ["0 * expect(mean(x))"] * (not floats and not used & set(LABELS))
    lines += ["  every: " + " + ".join(every)]
    lines += [
        "players:",
        f"  P: {{networks: [{', '.join(f'P{n}' for n in [*floats, *shares])}], optimizer: SGD(lr=0.1)}}",
    ]
    lines += ["schedule:", "  step: {player: P, minimize: every}"]
    if operator in UNGRADED:
        lines += ["  ungraded: {player: P, minimize: every + " + " + ".join(f"l{i}" for i in range(len(cases))) + "}"]
    else:
        lines += [f"  step{i}: {{player: P, minimize: l{i}}}" for i in range(len(cases))]
    lines += ["sample:", *(f"  out{i}: out{i}" for i in range(len(cases))), "train: {batch: 4}"]
    return "\n".join(lines) + "\n"


def values_of(gan: Any, given: dict[str, Tensor]) -> SimpleNamespace:
    """The inputs of the formulas, made from the batch and the parameters of the program."""
    parameters = gan.named_parameters()
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
    check_operator(operator, CASES[operator], tmp_path)


def test_every_operator_of_the_table_has_a_case() -> None:
    assert set(OPERATORS) <= set(CASES)


# --- phases, groups, time: against the loop that a person would write -----------------------------------------------

HEAD = """
gangraph: 1
name: small
sizes: {X: 3, Z: 2}
inputs:
  x: vector(X)
draws:
  z: normal(Z)
networks:
  G:
  - Linear(4), Tanh(), Linear(X)
  D:
  - Linear(4), Tanh(), Linear(1)
graph:
  fake: G(z)
losses:
  d: expect(mean(softplus(-D(x)))) + expect(mean(softplus(D(fake))))
  g: expect(mean(softplus(-D(fake))))
players:
  D: {networks: [D], optimizer: "Adam(lr=0.1, betas=[0.5, 0.9])"}
  G: {networks: [G], optimizer: "Adam(lr=0.1, betas=[0.5, 0.9])"}
train: {batch: 4}
"""
PHASES = "schedule:\n  D: d\n  G: g\n"


def system(folder: Path, tail: str = PHASES, head: str = HEAD, **replaced: str) -> Any:
    """A small spec, with lines exchanged."""
    for old, new in replaced.items():
        assert old in head
        head = head.replace(old, new)
    return build(written(folder, head + tail))


def swapped(head: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in head, old
        head = head.replace(old, new)
    return head


class Twin:
    """Copies of a program's networks with optimizers of torch, stepped as a person would."""

    def __init__(self, gan: Any, lr: float = 0.1):
        self.nets = {name: copy.deepcopy(network) for name, network in gan.networks.items()}
        for name, network in self.nets.items():
            setattr(self, name, network)
        self.lr = lr

    def adam(self, *names: str, lr: float | None = None) -> torch.optim.Adam:
        parameters = [p for name in names for p in self.nets[name].parameters()]
        return torch.optim.Adam(parameters, lr=lr or self.lr, betas=(0.5, 0.9))

    @staticmethod
    def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def same(self, gan: Any, tolerance: float = 1e-12) -> bool:
        for name, network in self.nets.items():
            theirs = gan.networks[name].state_dict()
            for key, value in network.state_dict().items():
                if not torch.allclose(theirs[key].double(), value.double(), rtol=tolerance, atol=tolerance):
                    return False
        return True

    def d(self, x: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-self.D(x)).mean() + F.softplus(self.D(fake)).mean()

    def g(self, fake: Tensor) -> Tensor:
        return F.softplus(-self.D(fake)).mean()


def test_phases_run_in_order_and_each_sees_the_updates_before_it(tmp_path: Path) -> None:
    gan = system(tmp_path)
    twin = Twin(gan)
    opt_d, opt_g = twin.adam("D"), twin.adam("G")
    for seed in range(3):
        given, draws = batch(gan, 4, seed), gan.draw(4, seed)
        log = gan.step(given, draws)
        d = twin.d(given["x"], twin.G(draws["D/z"]).detach())
        twin.step(opt_d, d)
        g = twin.g(twin.G(draws["G/z"]))
        opt_d.zero_grad()
        twin.step(opt_g, g)
        assert torch.allclose(log["D"], d) and torch.allclose(log["G"], g)
        assert list(log) == ["D/d", "D", "G/g", "G"]
    assert twin.same(gan)


def test_the_order_of_the_schedule_is_the_order_of_the_steps(tmp_path: Path) -> None:
    gan = system(tmp_path, "schedule:\n  G: g\n  D: d\n")
    twin = Twin(gan)
    opt_d, opt_g = twin.adam("D"), twin.adam("G")
    given, draws = batch(gan, 4), gan.draw(4, 0)
    assert list(gan.step(given, draws)) == ["G/g", "G", "D/d", "D"]
    twin.step(opt_g, twin.g(twin.G(draws["G/z"])))
    opt_d.zero_grad()
    twin.step(opt_d, twin.d(given["x"], twin.G(draws["D/z"]).detach()))
    assert twin.same(gan)


def test_a_phase_moves_its_own_networks_and_leaves_no_gradient(tmp_path: Path) -> None:
    gan = system(tmp_path)
    with watched(gan) as steps:
        gan.step(batch(gan, 4), gan.draw(4, 0))
    names = set(gan.named_parameters())
    assert steps == [(p, {n for n in names if n.startswith(f"{p}.")}) for p in ("D", "G")]
    assert no_gradients(gan)


REPEATED = "schedule:\n  D: {minimize: d, repeat: 3, batch: fresh}\n  G: g + 0.1 * near\n"
NEAR = ("losses:\n", "losses:\n  near: expect(mean(square(fake - x)))\n")


def test_a_fresh_batch_is_the_present_one_from_then_on(tmp_path: Path) -> None:
    gan = system(tmp_path, REPEATED, swapped(HEAD, NEAR))
    assert gan.fetches() == 3
    twin = Twin(gan)
    opt_d, opt_g = twin.adam("D"), twin.adam("G")
    given, draws = batches(gan, 4), gan.draw(4, 0)
    log = gan.step(given, draws)
    for i, key in enumerate(("D", "D.2", "D.3")):
        twin.step(opt_d, twin.d(given[i]["x"], twin.G(draws[f"{key}/z"]).detach()))
    fake = twin.G(draws["G/z"])
    g = twin.g(fake) + 0.1 * (fake - given[2]["x"]).square().mean()
    twin.step(opt_g, g)
    assert twin.same(gan)
    assert set(log) == {"D/d", "D", "D.2/d", "D.2", "D.3/d", "D.3", "G/g", "G/near", "G"}


def test_one_batch_serves_all_phases_until_one_asks_for_another(tmp_path: Path) -> None:
    gan = system(tmp_path, "schedule:\n  D: d\n  G: {minimize: g + near, batch: fresh}\n", swapped(HEAD, NEAR))
    assert gan.fetches() == 2
    first, second = batch(gan, 4, 1), batch(gan, 4, 2)
    draws = gan.draw(4, 0)
    log = gan.step([first, second], draws)
    fake = Twin(system(tmp_path, PHASES)).G(draws["G/z"])
    assert torch.allclose(log["G/near"], (fake - second["x"]).square().mean())
    with pytest.raises(ValueError, match="2 batches"):
        gan.step([first], draws)


def test_a_batch_may_be_fetched_first_by_a_phase_that_needs_none(tmp_path: Path) -> None:
    """A fresh phase in front of one that reads an input: the fetches are counted as they happen."""
    gan = system(tmp_path, "schedule:\n  G: g\n  D: {minimize: d, batch: fresh}\n")
    assert gan.fetches() == 1
    gan.step([batch(gan, 4)], gan.draw(4, 0))


ALTERNATING = """
schedule:
  D: {minimize: d, when: step % 4 == 0}
  again: {player: D, minimize: d, when: step % 4 < 2}
  G: {minimize: g + near, when: step % 4 == 2}
"""


def test_phases_that_run_in_turn_take_one_batch(tmp_path: Path) -> None:
    gan = system(tmp_path, ALTERNATING, swapped(HEAD, NEAR))
    for i, phases in enumerate((["D", "again"], ["again"], ["G"], [])):
        assert gan.fetches() == bool(phases)
        with watched(gan) as steps:
            gan.step(batches(gan, 4, i), gan.draw(4, i))
        assert [phase for phase, _ in steps] == phases
    body = gan.source.split("def fetches(self):")[1].split("def ")[0]
    assert "return max(" in body and " + " not in body


FOLDED = """
gangraph: 1
name: folded
inputs:
  x: image(2, 4, 4)
networks:
  G:
  - Conv2d(4, 3, padding=1), fold(), Conv2d(8, 3, padding=1), fold()
blocks:
  fold():
    inputs: [x]
    output: x + Conv2d(x.channels, 1)(reshape(reshape(x, x.channels, -1), x.channels, 4, 4))
losses:
  l: expect(mean(G(x)**2))
players:
  G: {networks: [G], optimizer: SGD(lr=0.1)}
schedule: {G: l}
train: {batch: 2}
"""


def test_a_class_keeps_the_parameters_that_its_forward_reads(tmp_path: Path) -> None:
    gan = build(written(tmp_path, FOLDED))
    given, G = batch(gan, 2), gan.networks["G"]
    x = given["x"]
    for name in ("0", "2"):
        x = F.conv2d(x, *(gan.named_parameters()[f"G.{name}.{p}"] for p in ("weight", "bias")), padding=1)
        x = x + F.conv2d(x, *list(G.parameters())[2 + 4 * (name == "2") :][:2])
    assert gan.source.count("class Fold(") == 1 and torch.allclose(gan.losses(given)["l"], x.square().mean())


def test_draws_are_made_anew_in_each_evaluation(tmp_path: Path) -> None:
    gan = system(tmp_path, REPEATED, swapped(HEAD, NEAR))
    draws = gan.draw(4, 0)
    assert set(draws) == {"z", "D/z", "D.2/z", "D.3/z", "G/z"}
    made = [draws[k] for k in ("D/z", "D.2/z", "D.3/z", "G/z")]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(made, 2))


def test_a_draw_is_looked_up_from_the_longest_key_to_the_bare_name(tmp_path: Path) -> None:
    gan = system(tmp_path, REPEATED, swapped(HEAD, NEAR))
    given = batches(gan, 4)
    z = [torch.randn(4, 2, dtype=torch.float64) for _ in range(3)]

    def seen(draws: dict[str, Tensor]) -> list[int]:
        """Which of the three each of the evaluations took."""
        taken = []
        original = gan.game.draws

        def spy(label: str = "") -> Any:
            found = original(label)
            taken.append(next(i for i, v in enumerate(z) if torch.equal(found.normal("z", 4, 2), v)))
            return found

        gan.game.draws = spy
        try:
            gan.step(given, draws)
        finally:
            del gan.game.draws
        return taken

    assert seen({"z": z[0]}) == [0, 0, 0, 0]
    assert seen({"z": z[0], "D/z": z[1]}) == [1, 1, 1, 0]
    assert seen({"z": z[0], "D/z": z[1], "D.2/z": z[2]}) == [1, 2, 1, 0]
    assert seen({"G/z": z[0], "D/z": z[1], "D.3/z": z[2]}) == [1, 1, 2, 0]
    with pytest.raises(KeyError, match="z in G"):
        gan.step(given, {"D/z": z[0]})


# --- once


ONCE = ("graph:\n", "once: [fake]\ngraph:\n")
NORMED = ("  - Linear(4), Tanh(), Linear(X)\n  D:", "  - Linear(4, bias=False), BatchNorm1d(), Tanh(), Linear(X)\n  D:")


def test_a_once_value_is_made_one_time_at_the_weights_of_that_moment(tmp_path: Path) -> None:
    gan = system(tmp_path, "schedule:\n  G: g\n  D: d\n", swapped(HEAD, ONCE, NORMED))
    assert set(gan.draw(4, 0)) == {"z"}
    twin = Twin(gan)
    opt_d, opt_g = twin.adam("D"), twin.adam("G")
    for seed in range(2):
        given, draws = batch(gan, 4, seed), gan.draw(4, seed)
        gan.step(given, draws)
        fake = twin.G(draws["z"])
        twin.step(opt_g, twin.g(fake))
        opt_d.zero_grad()
        twin.step(opt_d, twin.d(given["x"], fake.detach()))  # the fake from before the step of G
    assert twin.same(gan)
    (tracked,) = (b for n, b in gan.networks["G"].named_buffers() if "tracked" in n)
    assert int(tracked) == 2


def test_without_once_a_value_is_made_anew_with_its_layer_state(tmp_path: Path) -> None:
    gan = system(tmp_path, PHASES, swapped(HEAD, NORMED))
    gan.step(batch(gan, 4), gan.draw(4, 0))
    (tracked,) = (b for n, b in gan.networks["G"].named_buffers() if "tracked" in n)
    assert int(tracked) == 2


def test_a_once_draw_is_shared_and_outlives_fresh_batches(tmp_path: Path) -> None:
    gan = system(tmp_path, REPEATED, swapped(HEAD, NEAR, ("graph:\n", "once: [z]\ngraph:\n")))
    draws = gan.draw(4, 0)
    assert set(draws) == {"z"}
    twin = Twin(gan)
    opt_d, opt_g = twin.adam("D"), twin.adam("G")
    given = batches(gan, 4)
    gan.step(given, draws)
    for i in range(3):
        twin.step(opt_d, twin.d(given[i]["x"], twin.G(draws["z"]).detach()))
    fake = twin.G(draws["z"])
    twin.step(opt_g, twin.g(fake) + 0.1 * (fake - given[2]["x"]).square().mean())
    assert twin.same(gan)


def test_what_a_once_value_is_made_of_is_once_too(tmp_path: Path) -> None:
    graph = ("  fake: G(z)\n", "  h: G(z)\n  fake: 2 * h\n")
    gan = system(
        tmp_path, "schedule:\n  G: g\n  D: d + 0 * step * expect(mean(h))\n", swapped(HEAD, ONCE, NORMED, graph)
    )
    gan.step(batch(gan, 4), gan.draw(4, 0))
    (tracked,) = (b for n, b in gan.networks["G"].named_buffers() if "tracked" in n)
    assert int(tracked) == 1


THROUGH = """
gangraph: 1
name: through
inputs:
  x: vector(3)
networks:
  E: Linear(3)
  A: Linear(3)
  B: Linear(3)
graph:
  h: E(x)
  u: A(h)
  v: B(h)
once: [h]
losses:
  la: expect(mean(u**2))
  lb: expect(mean(v**2))
  lh: expect(mean(u * v)) + expect(mean(h**2))
players:
  A: {networks: [A], optimizer: SGD(lr=0.1)}
  B: {networks: [B], optimizer: SGD(lr=0.1)}
  E: {networks: [E], optimizer: SGD(lr=0.1)}
schedule:
  A: la
  E: lh
  B: lb
train: {batch: 4}
"""


def test_a_phase_trains_through_a_once_value_that_others_have_read(tmp_path: Path) -> None:
    gan = build(written(tmp_path, THROUGH))
    twin = Twin(gan)
    steps = {name: torch.optim.SGD(twin.nets[name].parameters(), lr=0.1) for name in "AEB"}
    for seed in range(2):
        given = batch(gan, 4, seed)
        gan.step(given, {})
        h = twin.E(given["x"])
        twin.step(steps["A"], twin.A(h.detach()).square().mean())
        twin.step(steps["E"], (twin.A(h) * twin.B(h)).mean() + h.square().mean())
        steps["A"].zero_grad()
        steps["B"].zero_grad()
        twin.step(steps["B"], twin.B(h.detach()).square().mean())
    assert twin.same(gan)


# --- together


def both(members: str) -> str:
    return f"schedule:\n  both:\n    together:\n{members}"


def test_members_of_a_group_take_their_gradients_at_the_old_weights_of_one_evaluation(tmp_path: Path) -> None:
    results = []
    for members in ("      D: d\n      G: g\n", "      G: g\n      D: d\n"):
        gan = system(tmp_path, both(members), swapped(HEAD, NORMED))
        assert set(gan.draw(4, 0)) == {"z", "both/z"}
        twin = Twin(gan)
        opt_d, opt_g = twin.adam("D"), twin.adam("G")
        for seed in range(3):
            given, draws = batch(gan, 4, seed), gan.draw(4, seed)
            log = gan.step(given, draws)
            fake = twin.G(draws["both/z"])
            d, g = twin.d(given["x"], fake.detach()), twin.g(fake)
            grads_d = torch.autograd.grad(d, list(twin.D.parameters()))
            grads_g = torch.autograd.grad(g, list(twin.G.parameters()))
            for opt, network, grads in ((opt_d, twin.D, grads_d), (opt_g, twin.G, grads_g)):
                for p, grad in zip(network.parameters(), grads, strict=True):
                    p.grad = grad
                opt.step()
            assert torch.allclose(log["both/d"], d) and torch.allclose(log["D"], d) and torch.allclose(log["G"], g)
        assert twin.same(gan)
        results.append(snapshot(gan))
    assert not moved(*results)


def overlapping(head: str = HEAD) -> str:
    player = '  all: {networks: [D, G], optimizer: "Adam(lr=0.1, betas=[0.5, 0.9])"}\n'
    return head.replace("players:\n", f'meant: ["shared(D)", "shared(G)"]\nplayers:\n{player}')


def stepped(optimizer: torch.optim.Optimizer, parameters: list[Tensor], gradients: Any) -> None:
    for p, g in zip(parameters, gradients, strict=True):
        p.grad = g
    optimizer.step()
    for p in parameters:
        p.grad = None


def test_players_that_overlap_have_an_optimizer_state_each(tmp_path: Path) -> None:
    members = "      D: d\n      G: g\n      all: g + 0.3 * d\n"
    gan = system(tmp_path, both(members), overlapping())
    twin = Twin(gan)
    players = {"D": ["D"], "G": ["G"], "all": ["D", "G"]}
    optimizers = {name: twin.adam(*nets) for name, nets in players.items()}
    for seed in range(3):
        given, draws = batch(gan, 4, seed), gan.draw(4, seed)
        gan.step(given, draws)
        fake = twin.G(draws["both/z"])
        d, g = twin.d(given["x"], fake), twin.g(fake)
        objectives = {"D": d, "G": g, "all": g + 0.3 * d}
        owned = {name: [p for n in nets for p in twin.nets[n].parameters()] for name, nets in players.items()}
        gradients = {n: torch.autograd.grad(objectives[n], owned[n], retain_graph=True) for n in players}
        for name in players:
            stepped(optimizers[name], owned[name], gradients[name])
    assert twin.same(gan)


def test_a_player_twice_in_a_group_makes_two_steps_from_gradients_at_the_same_weights(tmp_path: Path) -> None:
    members = "      first: {player: D, minimize: d}\n      second: {player: D, minimize: 0.5 * g}\n      G: g\n"
    gan = system(tmp_path, both(members), HEAD)
    twin = Twin(gan)
    opt_d, opt_g = twin.adam("D"), twin.adam("G")
    for seed in range(2):
        given, draws = batch(gan, 4, seed), gan.draw(4, seed)
        gan.step(given, draws)
        fake = twin.G(draws["both/z"])
        ds, gs = list(twin.D.parameters()), list(twin.G.parameters())
        d, g = twin.d(given["x"], fake.detach()), twin.g(fake)
        first = torch.autograd.grad(d, ds)
        second = torch.autograd.grad(0.5 * g, ds, retain_graph=True)
        third = torch.autograd.grad(g, gs)
        stepped(opt_d, ds, first)
        stepped(opt_d, ds, second)
        stepped(opt_g, gs, third)
    assert twin.same(gan)


def test_adam_of_tensorflow_has_its_epsilon_beside_the_uncorrected_root(tmp_path: Path) -> None:
    """lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps): Kingma and Ba 2015, the last lines of section 2."""
    adam = 'Adam(lr=0.1, betas=[0.5, 0.9], eps=0.3, form="tf")'
    gan = system(tmp_path, head=HEAD.replace('"Adam(lr=0.1, betas=[0.5, 0.9])"', f"'{adam}'"))
    batch = {"x": torch.randn(4, 3, dtype=torch.float64)}
    parameters = dict(gan.networks.named_parameters())
    m, v = ({name: torch.zeros_like(p) for name, p in parameters.items()} for _ in range(2))
    for t in (1, 2, 3):
        expected = {}
        draws = gan.draw(4)
        gradients = gan.gradients("D", batch, draws)  # of the first phase, at the weights as they are
        for name, g in gradients.items():
            m[name] = 0.5 * m[name] + 0.5 * g
            v[name] = 0.9 * v[name] + 0.1 * g * g
            rate = 0.1 * (1 - 0.9**t) ** 0.5 / (1 - 0.5**t)
            expected[name] = parameters[name].detach() - rate * m[name] / (v[name].sqrt() + 0.3)
        gan.step(batch, draws)
        for name, value in expected.items():
            assert torch.allclose(parameters[name], value, rtol=1e-12, atol=1e-15), (t, name)


def test_two_phases_of_one_player_share_its_optimizer(tmp_path: Path) -> None:
    gan = system(
        tmp_path, "schedule:\n  one: {player: D, minimize: d}\n  two: {player: D, minimize: 0.5 * g}\n  G: g\n"
    )
    twin = Twin(gan)
    opt_d, opt_g = twin.adam("D"), twin.adam("G")
    for seed in range(2):
        given, draws = batch(gan, 4, seed), gan.draw(4, seed)
        gan.step(given, draws)
        twin.step(opt_d, twin.d(given["x"], twin.G(draws["one/z"]).detach()))
        twin.step(opt_d, 0.5 * twin.g(twin.G(draws["two/z"]).detach()))
        opt_d.zero_grad()
        twin.step(opt_g, twin.g(twin.G(draws["G/z"])))
        opt_d.zero_grad()
    assert twin.same(gan)


def test_a_phase_may_train_a_part_of_its_player(tmp_path: Path) -> None:
    gan = system(
        tmp_path,
        "schedule:\n  all: {minimize: g, networks: [G]}\n  D: d\n  rest: {player: all, minimize: d}\n  G: g\n",
        overlapping(),
    )
    with watched(gan) as steps:
        gan.step(batch(gan, 4), gan.draw(4, 0))
    assert [(p, {n[0] for n in names}) for p, names in steps] == [
        ("all", {"G"}),
        ("D", {"D"}),
        ("rest", {"D", "G"}),
        ("G", {"G"}),
    ]


def test_and_and_or_give_an_operand_as_in_python(tmp_path: Path) -> None:
    """Known numbers, numbers of the run, and both together; a network counts as true."""
    terms = {
        "0 or 7": lambda s: 7,
        "2 and 3": lambda s: 3,
        "step and 5": lambda s: s and 5,
        "7 or step": lambda s: 7,
        "7 and step and 2": lambda s: s and 2,
        "step > 0 and 4": lambda s: s > 0 and 4,
        "step > 0 or 4": lambda s: s > 0 or 4,
        "step > 0 and True": lambda s: s > 0,
        "step or 0.5 or step": lambda s: s or 0.5,
        "3 < 2 < step": lambda s: False,
    }
    states = "".join(f'  k{i}: {{start: -1, becomes: "0 + ({text})"}}\n' for i, text in enumerate(terms))
    read = " + ".join(f"0 * k{i}" for i in range(len(terms)))
    gan = system(tmp_path, f"schedule:\n  D: d\n  G: g * (1 + {read})\nstate:\n{states}")
    for step in range(3):
        gan.step(batch(gan, 4), gan.draw(4, step))
        assert [float(v) for v in gan.state.values()] == [float(f(step)) for f in terms.values()]
    assert_matches_reference(gan)


# --- when, repeat, accumulate


def ran(gan: Any, iterations: int) -> list[list[str]]:
    """Which phases stepped, iteration by iteration."""
    found = []
    for seed in range(iterations):
        with watched(gan) as steps:
            gan.step(batches(gan, 4, seed), gan.draw(4, seed))
        found.append([name for name, _ in steps])
    return found


def test_when_reads_the_clocks(tmp_path: Path) -> None:
    gan = system(tmp_path, "schedule:\n  D: d\n  G: {minimize: g, when: (step + 1) % 3 == 0}\n")
    assert ran(gan, 6) == [["D"], ["D"], ["D", "G"]] * 2
    assert gan.clocks == {
        "step": 6,
        "epoch": 0,
        "epoch_step": 6,
        "epoch_steps": 1,
        "images": 24,
        "stage": 0,
        "stage_step": 6,
        "stage_images": 24,
    }


def test_repeat_follows_the_clocks(tmp_path: Path) -> None:
    gan = system(
        tmp_path,
        'constants: {k: "3 if step < 2 else 1"}\nschedule:\n  D: {minimize: d, repeat: k, batch: fresh}\n  G: g\n',
    )
    assert [gan.fetches(), *map(len, ran(gan, 2)), gan.fetches()] == [3, 4, 4, 1]
    assert ran(gan, 1) == [["D", "G"]]


def test_when_reads_a_loss_as_it_was_in_the_latest_evaluation(tmp_path: Path) -> None:
    gan = system(tmp_path, "schedule:\n  D: d\n  G: {minimize: g, when: d > 1.3}\n")
    for seed in range(6):
        with watched(gan) as steps:
            log = gan.step(batches(gan, 4, seed), gan.draw(4, seed))
        assert [name for name, _ in steps] == ["D"] + ["G"] * bool(log["D/d"] > 1.3)
        assert ("G" in log) == bool(log["D/d"] > 1.3)


def test_a_member_whose_when_is_false_is_evaluated_and_not_stepped(tmp_path: Path) -> None:
    members = "      D: {minimize: d, when: d > g}\n      G: g\n"
    gan = system(
        tmp_path,
        both(members),
        swapped(
            HEAD, ("  - Linear(4), Tanh(), Linear(1)", "  - Linear(4, bias=False), BatchNorm1d(), Tanh(), Linear(1)")
        ),
    )
    outcomes = set()
    for seed in range(8):
        before = buffers(gan)
        with watched(gan) as steps:
            log = gan.step(batches(gan, 4, seed), gan.draw(4, seed))
        assert [name for name, _ in steps] == ["D"] * bool(log["both/d"] > log["both/g"]) + ["G"]
        assert {"D", "G", "both/d", "both/g"} <= set(log)
        assert any(not torch.equal(b, before[n]) for n, b in gan.networks.named_buffers())
        outcomes.add(len(steps))
    assert outcomes <= {1, 2}


def test_a_whole_sequence_repeats_with_its_moves(tmp_path: Path) -> None:
    moves = "    moves:\n      D: {minimize: d, batch: fresh}\n      G: g\n"
    tail = f"schedule:\n  burst:\n    repeat: 2\n    when: step % 2 == 0\n{moves}"
    gan = system(tmp_path, tail)
    assert ran(gan, 2) == [["D", "G", "D", "G"], []]
    assert {"D.2/z", "G.2/z"} <= set(gan.draw(4, 0))


def test_accumulated_gradients_are_the_mean_with_batches_and_draws_of_their_own(tmp_path: Path) -> None:
    gan = system(tmp_path, "schedule:\n  D: {minimize: d, accumulate: 3}\n  G: {minimize: g, accumulate: 2}\n")
    assert gan.fetches() == 3
    twin = Twin(gan)
    opt_d, opt_g = twin.adam("D"), twin.adam("G")
    given, draws = batches(gan, 4), gan.draw(4, 0)
    log = gan.step(given, draws)
    ds = [twin.d(given[i]["x"], twin.G(draws[f"{k}/z"]).detach()) for i, k in enumerate(("D", "D.2", "D.3"))]
    opt_d.zero_grad()
    (sum(ds) / 3).backward()
    opt_d.step()
    assert all(torch.allclose(log[k], v) for k, v in zip(("D", "D.2", "D.3"), ds, strict=True))
    opt_d.zero_grad()
    twin.step(opt_g, (twin.g(twin.G(draws["G/z"])) + twin.g(twin.G(draws["G.2/z"]))) / 2)
    assert twin.same(gan)


def test_a_held_value_that_is_trained_may_be_accumulated(tmp_path: Path) -> None:
    """Each turn differentiates through the graph that the first one made."""
    gan = system(tmp_path, "once: [fake]\nschedule:\n  G: {minimize: g, accumulate: 2}\n  D: d\n")
    plain = system(tmp_path, "schedule:\n  G: g\n  D: d\n")
    assert gan.fetches() == 1
    given, draws = batch(gan, 4), gan.draw(4, 0)
    for name, g in plain.gradients("G", given, {"z": draws["z"]}).items():
        assert torch.allclose(gan.gradients("G", given, draws)[name], g, rtol=1e-13)
    assert_matches_reference(gan)


def test_gradients_of_an_accumulating_phase_take_a_batch_for_each_turn(tmp_path: Path) -> None:
    gan = system(tmp_path, "schedule:\n  D: {minimize: d, accumulate: 3}\n  G: g\n")
    twin, given, draws = Twin(gan), batches(gan, 4), gan.draw(4, 0)
    found = gan.gradients("D", given, draws)
    ds = [twin.d(given[i]["x"], twin.G(draws[f"{k}/z"]).detach()) for i, k in enumerate(("D", "D.2", "D.3"))]
    expected = torch.autograd.grad(sum(ds) / 3, list(twin.D.parameters()))
    assert all(torch.allclose(a, b, atol=1e-13) for a, b in zip(found.values(), expected, strict=True))


CLIPPED = ("  D: {networks: [D], ", "  D: {networks: [D], gradient: clip_norm(0.05), ")


def clipped(gradients: Any, bound: float = 0.05) -> list[Tensor]:
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    return [g * min(1.0, float(bound / (norm + 1e-6))) for g in gradients]


def test_clip_norm_is_over_all_gradients_of_the_phase_with_torchs_epsilon(tmp_path: Path) -> None:
    gan = system(tmp_path, PHASES, swapped(HEAD, CLIPPED))
    plain = system(tmp_path, PHASES, HEAD)
    given, draws = batch(gan, 4), gan.draw(4, 0)
    expected = clipped(list(plain.gradients("D", given, draws).values()))
    found = gan.gradients("D", given, draws)
    assert all(torch.allclose(a, b, rtol=1e-13) for a, b in zip(found.values(), expected, strict=True))
    total = torch.cat([g.flatten() for g in found.values()]).norm()
    assert torch.allclose(total, torch.tensor(0.05).double(), rtol=1e-4) and total < 0.05
    assert gan.gradients("G", given, draws).keys() == plain.gradients("G", given, draws).keys()


def test_clip_norm_is_of_the_mean_of_accumulated_gradients(tmp_path: Path) -> None:
    tail = "schedule:\n  D: {minimize: d, accumulate: 2}\n  G: g\n"
    gan, plain = (system(tmp_path, tail, h) for h in (swapped(HEAD, CLIPPED), HEAD))
    given, draws = batches(gan, 4), gan.draw(4, 0)
    expected = clipped(list(plain.gradients("D", given, draws).values()))
    found = gan.gradients("D", given, draws)
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(found.values(), expected, strict=True))


def test_clip_of_one_network_leaves_the_others(tmp_path: Path) -> None:
    player = '  all: {networks: [D, G], gradient.G: clip_value(0.001), optimizer: "SGD(lr=0.1)"}\n'
    head = HEAD.replace("players:\n", f'meant: ["shared(D)", "shared(G)"]\nplayers:\n{player}')
    gan = system(tmp_path, "schedule:\n  all: g\n  D: d\n  G: g\n", head)
    plain = system(tmp_path, "schedule:\n  all: g\n  D: d\n  G: g\n", overlapping())
    given, draws = batch(gan, 4), gan.draw(4, 0)
    found, free = gan.gradients("all", given, draws), plain.gradients("all", given, draws)
    for name, g in free.items():
        assert torch.equal(found[name], g.clamp(-0.001, 0.001) if name.startswith("G.") else g)


@pytest.mark.parametrize("where", ["before", "after"])
def test_rules_before_and_after_a_step_hold_for_every_parameter_of_the_phase(where: str, tmp_path: Path) -> None:
    unread = ("  - Linear(4), Tanh(), Linear(1)", "  - Linear(4), Tanh(), Linear(1, bias=False)")
    rule = ("  D: {networks: [D], ", f'  D: {{networks: [D], {where}: "clamp(p, -0.05, 0.05)", ')
    gan = system(tmp_path, PHASES, swapped(HEAD, rule, unread))
    plain = system(tmp_path, PHASES, swapped(HEAD, unread))
    given, draws = batch(gan, 4), gan.draw(4, 0)
    if where == "before":
        gradients = gan.gradients("D", given, draws)
    gan.step(given, draws)
    plain.step(given, draws)
    for name, p in gan.named_parameters().items():
        if name.startswith("D."):
            other = plain.named_parameters()[name]
            if where == "after":
                assert torch.equal(p, other.clamp(-0.05, 0.05))
            else:  # the gradient is from before the rule; the step starts from the clamped weights
                start = build(tmp_path / "spec.yaml").named_parameters()[name]
                step = 0.1 * gradients[name] / (gradients[name].abs() + 1e-8)
                assert torch.allclose(p, start.clamp(-0.05, 0.05) - step, atol=1e-9)


# --- what is reached


def test_a_parameter_that_no_path_reaches_is_not_stepped_and_has_no_state(tmp_path: Path) -> None:
    """Weight decay and moments would move it."""
    head = swapped(
        HEAD,
        (
            '  G: {networks: [G], optimizer: "Adam(lr=0.1, betas=[0.5, 0.9])"}',
            '  G: {networks: [G, H], optimizer: "Adam(lr=0.1, weight_decay=0.1)"}',
        ),
        ("  D:\n", "  H:\n  - Linear(X)\n  D:\n"),
        ("losses:\n", "losses:\n  h: expect(mean(square(H(x))))\n"),
    )
    gan = system(
        tmp_path, "schedule:\n  D: d\n  G: g\n  more: {player: G, minimize: g + h, when: step % 2 == 1}\n", head
    )
    given, draws = batch(gan, 4), gan.draw(4, 0)
    assert {n[0] for n in gan.gradients("G", given, draws)} == {"G"}
    assert {n[0] for n in gan.gradients("more", given, draws)} == {"G", "H"}
    before = snapshot(gan)
    gan.step(given, draws)
    assert {n[0] for n in moved(before, snapshot(gan))} == {"D", "G"}
    optimizer = gan.game.players["G"][0]
    assert len(optimizer.state) == 4
    before = snapshot(gan)
    gan.step(given, draws)
    assert {n[0] for n in moved(before, snapshot(gan))} == {"D", "G", "H"}
    assert len(optimizer.state) == 6


def test_a_parameter_that_is_reached_with_zero_gradient_is_stepped(tmp_path: Path) -> None:
    head = swapped(
        HEAD,
        ('optimizer: "Adam(lr=0.1, betas=[0.5, 0.9])"}\ntrain', 'optimizer: "Adam(lr=0.1, weight_decay=0.1)"}\ntrain'),
    )
    gan = system(tmp_path, "schedule:\n  D: d\n  G: step * g\n", head)
    gradients = gan.gradients("G", batch(gan, 4), gan.draw(4, 0))
    assert len(gradients) == 4 and all(not g.any() for g in gradients.values())
    before = snapshot(gan)
    gan.step(batch(gan, 4), gan.draw(4, 0))
    assert {n[0] for n in moved(before, snapshot(gan))} == {"D", "G"}


def test_the_derivative_of_a_linear_layer_does_not_read_its_bias(tmp_path: Path) -> None:
    head = swapped(HEAD, ("losses:\n", "losses:\n  p: expect(square(norm(grad(D(x), x))))\n"))
    gan = system(tmp_path, "schedule:\n  D: d\n  only: {player: D, minimize: p}\n  G: g\n", head)
    found = gan.gradients("only", batch(gan, 4), gan.draw(4, 0))
    assert list(found) == [n for n in gan.named_parameters() if n.startswith("D.")][:3]  # not the last bias


def test_gradients_have_the_names_of_the_spec_in_the_order_of_the_layers(tmp_path: Path) -> None:
    gan = system(tmp_path)
    assert list(gan.gradients("D", batch(gan, 4), gan.draw(4, 0))) == [
        "D.0.weight",
        "D.0.bias",
        "D.2.weight",
        "D.2.bias",
    ]


# --- dropped terms


def calls(gan: Any, name: str, act: Callable[[], Any]) -> int:
    """How often a network is called."""
    counted = [0]

    def count(*_: Any) -> None:
        counted[0] += 1

    handle = gan.networks[name].register_forward_hook(count)
    try:
        act()
    finally:
        handle.remove()
    return counted[0]


@pytest.mark.parametrize("text", ["off * d + g + 0 * d", "g + (off * d)**2 - abs(off * d)"])
def test_a_term_with_a_constant_factor_0_is_not_evaluated(text: str, tmp_path: Path) -> None:
    head = swapped(HEAD, ("sizes:", "constants: {off: 0}\nsizes:"))
    gan = system(tmp_path, "schedule:\n  D: d\n  G: off * d + g + 0 * d\n", head)
    given, draws = batch(gan, 4), gan.draw(4, 0)
    log = gan.step(given, draws)
    assert set(log) == {"D/d", "D", "G/g", "G"} and torch.equal(log["G"], log["G/g"])
    assert calls(gan, "D", lambda: gan.game.evaluate_G(gan.game.draws("G"))) == 1


@pytest.mark.parametrize("text", ["exp(off * d) * g", "max(off * d, g)", "g + sqrt(off * d)"])
def test_a_dropped_term_inside_another_operator_is_0(text: str, tmp_path: Path) -> None:
    head = swapped(HEAD, ("sizes:", "constants: {off: 0}\nsizes:"), ("losses:\n", f"losses:\n  f: {text}\n"))
    gan = system(tmp_path, "schedule:\n  D: d\n  G: f\n", head)
    found = gan.losses(batch(gan, 4), gan.draw(4, 0))
    assert torch.allclose(found["f"], found["g"])


@pytest.mark.parametrize(
    ("loss", "objective", "logged"),
    [
        ("off * expect(sum(abs(fake - x)))", "g + 2 * w - w", False),
        ("expect(off * sum(abs(fake - x)))", "g + w", False),
        ("total(off * sum(D(fake)))", "w + g", False),
        ("expect(sum((off * D(fake))**2))", "g + w", False),
        ("off * hinge(real=D(x), fake=D(fake))", "g + w.generator", False),
        ("expect(sum(D(off * fake)))", "g + w", True),
        ("expect(sum(exp(off * D(fake))))", "g + w", True),
        ("expect(sum((off * D(fake) + 1) * D(fake)))", "g + w", True),
        ("expect(sum(grad(off * D(fake), fake)**2))", "g + w", True),
    ],
)
def test_what_is_dropped_is_a_summand_and_what_is_left_runs(
    loss: str, objective: str, logged: bool, tmp_path: Path
) -> None:
    """A loss whose every term is dropped is not there; inside of what is not 0 at 0 nothing is dropped."""
    head = swapped(HEAD, ("sizes:", "constants: {off: 0}\nsizes:"), ("losses:\n", f"losses:\n  w: {loss}\n"))
    gan = system(tmp_path, f"schedule:\n  D: d\n  G: {objective}\n", head)
    log = gan.step(batch(gan, 4), gan.draw(4, 0))
    assert any(name.startswith("G/w") for name in log) == logged
    assert_matches_reference(gan)


def test_a_factor_that_reads_a_clock_is_never_dropped(tmp_path: Path) -> None:
    head = swapped(HEAD, ("sizes:", 'constants: {off: "0 * step"}\nsizes:'))
    gan = system(tmp_path, "schedule:\n  D: d\n  G: off * d + g\n", head)
    log = gan.step(batch(gan, 4), gan.draw(4, 0))
    assert set(log) == {"D/d", "D", "G/d", "G/g", "G"}


def test_a_dropped_term_inside_a_function_is_dropped_too(tmp_path: Path) -> None:
    functions = "functions:\n  both(a, b, s): s * a + b\n"
    head = swapped(
        HEAD,
        ("sizes:", f"{functions}sizes:"),
        ("losses:\n", "losses:\n  f: both(expect(mean(D(x))), expect(mean(D(fake))), 0)\n"),
    )
    gan = system(tmp_path, "schedule:\n  D: d + f\n  G: g\n", head)
    given, draws = batch(gan, 4), gan.draw(4, 0)
    fake = Twin(gan).G(draws["z"])
    assert torch.allclose(gan.losses(given, draws)["f"], gan.networks["D"](fake).mean())


@pytest.mark.parametrize("t, side", [("0", "x"), ("1", "fake")])
def test_the_unread_side_of_a_lerp_is_not_evaluated(t: str, side: str, tmp_path: Path) -> None:
    head = swapped(
        HEAD,
        ("sizes:", f"constants: {{t: {t}}}\nsizes:"),
        ("  fake: G(z)\n", "  fake: G(z)\n  mix: lerp(x, fake, t)\n"),
        NORMED,
    )
    head = swapped(head, ("D(x)", "D(mix)"), ("softplus(D(fake))", "softplus(D(2 * mix))"))
    gan = system(tmp_path, PHASES, head)
    draws = gan.draw(4, 0)
    assert calls(gan, "G", lambda: gan.gradients("D", batch(gan, 4), draws)) == (side == "fake")


def test_a_lerp_at_0_has_the_samples_and_axes_of_both_sides(tmp_path: Path) -> None:
    head = swapped(HEAD, ("  fake: G(z)\n", "  fake: G(z)\n  mix: lerp(zeros(3), fake, 0)\n"), ("D(x)", "D(x + mix)"))
    gan = system(tmp_path, PHASES + "sample: {mix: mix}\n", head)
    assert gan.sample("mix", 5).shape == (5, 3)


def test_lerp_at_a_clock_is_between_its_sides(tmp_path: Path) -> None:
    head = swapped(
        HEAD,
        ("sizes:", 'constants: {t: "min(1, step / 4)"}\nsizes:'),
        ("  fake: G(z)\n", "  fake: G(z)\n  mix: lerp(x, fake, t)\n"),
    )
    gan = system(tmp_path, PHASES + "sample: {mix: mix, fake: fake}\n", head)
    given = batch(gan, 4)
    for step in (0, 1, 3, 4, 9):
        gan.clocks["step"] = step
        t = min(1, step / 4)
        expected = given["x"] + t * (gan.sample("fake", 4, given) - given["x"])
        assert torch.allclose(gan.sample("mix", 4, given), expected, atol=1e-12)


# --- layer state and the order of calls

COUNTED = """
gangraph: 1
name: counted
inputs:
  x: vector(3)
  y: vector(3)
networks:
  B:
  - BatchNorm1d(), Linear(1)
graph:
  both: x + y
GRAPH
losses:
  quiet: 0 * step * expect(mean(both))
LOSSES
players:
  B: {networks: [B], optimizer: SGD(lr=0.1)}
schedule:
  B: OBJECTIVE + quiet
train: {batch: 4}
"""


def counted(folder: Path, graph: str, losses: str, objective: str, families: str = "") -> Any:
    text = COUNTED.replace("GRAPH\n", graph and graph + "\n").replace("LOSSES", losses).replace("OBJECTIVE", objective)
    return build(written(folder, families + text))


def running(gan: Any, inputs: list[Tensor]) -> bool:
    """Whether the running mean is that of these inputs in this order."""
    mean = torch.zeros(3, dtype=torch.float64)
    for x in inputs:
        mean = 0.9 * mean + 0.1 * x.mean(0)
    (found,) = (b for n, b in gan.networks["B"].named_buffers() if n.endswith("running_mean"))
    (tracked,) = (b for n, b in gan.networks["B"].named_buffers() if n.endswith("tracked"))
    return int(tracked) == len(inputs) and torch.allclose(found, mean, atol=1e-14)


def test_named_values_are_evaluated_in_the_order_of_their_declaration(tmp_path: Path) -> None:
    gan = counted(tmp_path, "  b: B(y)\n  a: B(x)", "  l: expect(mean(a))\n  k: expect(mean(b**2))", "l + k")
    given = batch(gan, 4)
    gan.step(given, {})
    assert running(gan, [given["y"], given["x"]])


def test_calls_in_place_run_in_the_order_in_which_the_objective_names_their_losses(tmp_path: Path) -> None:
    gan = counted(tmp_path, "", "  l: expect(mean(B(x)))\n  k: expect(mean(B(y)**2))", "k + l")
    given = batch(gan, 4)
    gan.step(given, {})
    assert running(gan, [given["y"], given["x"]])


def test_a_call_in_place_is_a_call_of_its_own_at_each_occurrence(tmp_path: Path) -> None:
    gan = counted(tmp_path, "", "  l: expect(mean(B(x))) + expect(mean(B(x)**2))\n  k: expect(mean(B(x)))", "l + k")
    given = batch(gan, 4)
    gan.step(given, {})
    assert running(gan, [given["x"]] * 3)


def test_a_call_in_a_named_value_is_one_call_however_many_losses_read_it(tmp_path: Path) -> None:
    gan = counted(tmp_path, "  a: B(x)", "  l: expect(mean(a)) + expect(mean(a**2))\n  k: expect(mean(a))", "l + k")
    given = batch(gan, 4)
    gan.step(given, {})
    assert running(gan, [given["x"]])


def test_a_named_value_comes_before_calls_in_place(tmp_path: Path) -> None:
    gan = counted(tmp_path, "  a: B(x)", "  l: expect(mean(B(y))) + expect(mean(a))", "l")
    given = batch(gan, 4)
    gan.step(given, {})
    assert running(gan, [given["x"], given["y"]])


def test_an_argument_of_a_family_is_one_call_for_both_sides(tmp_path: Path) -> None:
    """The generator's side reads `fake`; then the discriminator's reads `real` and `shown`."""
    losses = "  adv: least_squares(real=B(x), fake=B(u), shown=B(2 * u))"
    text = COUNTED.replace("GRAPH\n", "  u: C(y)\n").replace("LOSSES", losses)
    text = text.replace("networks:\n", "networks:\n  C: Linear(3)\n", 1)
    text = text.replace("players:\n", "players:\n  C: {networks: [C], optimizer: SGD(lr=0.1)}\n")
    members = "  both:\n    together:\n      C: adv.generator + quiet\n      B: adv.discriminator\n"
    gan = build(written(tmp_path, text.replace("  B: OBJECTIVE + quiet\n", members)))
    given = batch(gan, 4)
    u = gan.networks["C"](given["y"]).detach()
    gan.step(given, {})
    assert running(gan, [u, given["x"], 2 * u])


def test_an_argument_of_a_function_is_one_call_evaluated_where_it_is_first_read(tmp_path: Path) -> None:
    functions = "functions:\n  later(a, b): expect(mean(b)) + expect(mean(a)) + expect(mean(a**2))\n"
    gan = counted(tmp_path, "", "  l: later(B(x), B(y))", "l", functions)
    given = batch(gan, 4)
    gan.step(given, {})
    assert running(gan, [given["y"], given["x"]])


def test_a_loss_that_two_read_is_evaluated_once(tmp_path: Path) -> None:
    gan = counted(tmp_path, "", "  l: expect(mean(B(x)))\n  k: l**2 + l", "l + k")
    given = batch(gan, 4)
    log = gan.step(given, {})
    assert running(gan, [given["x"]])
    assert torch.allclose(log["B"], 2 * log["B/l"] + log["B/l"] ** 2) and log["B/quiet"] == 0


def test_looking_changes_nothing(tmp_path: Path) -> None:
    gan = counted(tmp_path, "  a: B(x)", "  l: expect(mean(a)) + expect(mean(B(y)))", "l")
    before, given = buffers(gan), batch(gan, 4)
    for _ in range(2):
        gan.losses(given, {})
        gan.gradients("B", given, {})
    assert not moved(before, buffers(gan)) and gan.clocks["step"] == 0


# --- views

VIEWED = """
gangraph: 1
name: viewed
inputs:
  x: vector(3)
networks:
  B:
  - Linear(3)
  - inner: BatchNorm1d()
  - Dropout(0.5), Linear(2)
  C:
  - Linear(3)
graph:
  h: C(x)
  a: VIEW
losses:
  l: expect(sum(square(a)))
  plain: expect(sum(square(B(h))))
players:
  B: {networks: [B], optimizer: SGD(lr=0.1)}
  C: {networks: [C], optimizer: SGD(lr=0.1)}
schedule:
  B: plain
  C: l
train: {batch: 4}
"""


def viewed(folder: Path, view: str, more: str = "") -> Any:
    return build(written(folder, VIEWED.replace("VIEW", view) + more))


def normed(gan: Any, h: Tensor, mask: Tensor | None) -> Tensor:
    """B by hand: of the batch's statistics with a mask, else of the running ones."""
    p = {n.removeprefix("B."): v for n, v in gan.named_parameters().items() if n.startswith("B.")}
    h = h @ p["0.weight"].T + p["0.bias"]
    (mean,) = (b for n, b in gan.networks["B"].named_buffers() if n.endswith("running_mean"))
    (var,) = (b for n, b in gan.networks["B"].named_buffers() if n.endswith("running_var"))
    m, v = (h.mean(0), h.var(0, unbiased=False)) if mask is not None else (mean.clone(), var.clone())
    h = (h - m) / (v + 1e-5).sqrt() * p["inner.weight"] + p["inner.bias"]
    h = h * mask * 2 if mask is not None else h
    return h @ p["2.weight"].T + p["2.bias"]


def pieces(gan: Any) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    given = batch(gan, 4)
    draws = gan.draw(4, 0)
    return given, draws, gan.networks["C"](given["x"])


def test_a_dropout_draws_a_mask_by_the_name_of_its_call(tmp_path: Path) -> None:
    gan = viewed(tmp_path, "B(h)")
    given, draws, h = pieces(gan)
    assert set(draws) == {"C/a/B.1", "a/B.1", "B/plain/B.1", "plain/B.1"}
    mask = draws["a/B.1"]
    assert set(mask.unique().tolist()) <= {0.0, 1.0} and mask.shape == (4, 3)
    assert torch.allclose(gan.losses(given, draws)["l"], normed(gan, h, mask).square().sum(1).mean())
    gan.game.begin(given, draws, None)
    found = gan.game.evaluate_C(gan.game.draws("C")).objectives["C"]
    assert torch.allclose(found, normed(gan, h, draws["C/a/B.1"]).square().sum(1).mean())


def test_evaluation_uses_running_statistics_and_moves_none(tmp_path: Path) -> None:
    gan = viewed(tmp_path, "evaluation(B)(h)")
    given, draws, h = pieces(gan)
    assert not any(k.startswith("C/a") for k in draws)
    expected = normed(gan, h, None).square().sum(1).mean()
    before = buffers(gan)
    gan.game.begin(given, draws, None)
    gan.game.evaluate_C(gan.game.draws("C"))
    assert not moved(before, buffers(gan))
    assert torch.allclose(gan.losses(given, draws)["l"], expected)
    assert gan.networks["B"].training


def test_frozen_passes_the_gradient_and_moves_layer_state(tmp_path: Path) -> None:
    gan = viewed(tmp_path, "frozen(B)(h)")
    plain = viewed(tmp_path, "B(h)")
    given, draws, _ = pieces(gan)
    found, other = gan.gradients("C", given, draws), plain.gradients("C", given, draws)
    assert list(found) == list(other) and all(torch.allclose(found[k], other[k]) for k in found)
    before = buffers(gan)
    gan.game.begin(given, draws, None)
    result = gan.game.evaluate_C(gan.game.draws("C"))
    assert moved(before, buffers(gan))
    reached = torch.autograd.grad(result.objectives["C"], list(gan.networks["B"].parameters()), allow_unused=True)
    assert all(g is None for g in reached)


def test_still_reads_layer_state_and_does_not_move_it(tmp_path: Path) -> None:
    gan = viewed(tmp_path, "still(B)(h)")
    given, draws, h = pieces(gan)
    before = buffers(gan)
    gan.game.begin(given, draws, None)
    result = gan.game.evaluate_C(gan.game.draws("C"))
    assert not moved(before, buffers(gan))
    key = next(k for k in draws if k.startswith("C/a/B"))
    assert torch.allclose(result.objectives["C"], normed(gan, h, draws[key]).square().sum(1).mean())


def test_statistics_of_a_view_are_its_own_and_belong_to_the_network(tmp_path: Path) -> None:
    gan = viewed(tmp_path, 'statistics(B, "other")(h)')
    names = set(buffers(gan))
    own = {n for n in names if "running_mean" in n}
    assert len(own) == 2
    given, draws, _ = pieces(gan)
    before = buffers(gan)
    gan.game.begin(given, draws, None)
    gan.game.evaluate_C(gan.game.draws("C"))
    hit = moved(before, buffers(gan))
    assert hit and all("other" in n for n in hit)
    before = buffers(gan)
    gan.game.begin(given, draws, None)
    gan.game.evaluate_B(gan.game.draws("B"))
    hit = moved(before, buffers(gan))
    assert hit and not any("other" in n for n in hit)


def test_upto_is_the_value_after_a_label(tmp_path: Path) -> None:
    gan = viewed(tmp_path, 'upto(B, "inner")(h)')
    given, draws, h = pieces(gan)
    p = gan.named_parameters()
    h = h @ p["B.0.weight"].T + p["B.0.bias"]
    expected = (h - h.mean(0)) / (h.var(0, unbiased=False) + 1e-5).sqrt() * p["B.inner.weight"] + p["B.inner.bias"]
    assert torch.allclose(gan.losses(given, draws)["l"], expected.square().sum(1).mean())


def test_upto_needs_no_draws_of_the_layers_behind_its_label(tmp_path: Path) -> None:
    assert set(viewed(tmp_path, 'upto(B, "inner")(h)').draw(4, 0)) == {"B/plain/B.1", "plain/B.1"}


UNROLLED = """
gangraph: 1
name: unrolled
inputs: {x: vector(2)}
draws: {z: normal(4)}
networks:
  G: [Linear(6), Tanh(), Linear(2)]
  D: [Linear(5), Tanh(), Linear(1)]
graph:
  fake: G(z)
  judged: expect(softplus(-D(x))) + expect(softplus(D(fake)))
  ahead: weights(D) - 0.3 * grad(judged, weights(D))
losses:
  adv: non_saturating(real=D(x), fake=D(fake))
  unrolled: expect(softplus(-given(D, ahead)(fake)))
meant: [one_sided(adv)]
players:
  D: {networks: [D], optimizer: SGD(lr=0.1)}
  G: {networks: [G], optimizer: SGD(lr=0.1)}
schedule: {D: adv.discriminator, G: unrolled}
"""


def test_given_values_stand_in_place_of_parameters_as_in_an_unrolled_gan(tmp_path: Path) -> None:
    """Metz et al. 2017, equation 10, with one step of D: G's gradient goes through that step."""
    path = written(tmp_path, UNROLLED)
    gan = build(path)
    given, draws = batch(gan, 5), gan.draw(5, 0)
    p = gan.named_parameters()
    G = [p[f"G.{n}"] for n in ("0.weight", "0.bias", "2.weight", "2.bias")]
    D = [p[f"D.{n}"] for n in ("0.weight", "0.bias", "2.weight", "2.bias")]
    layers = lambda w, v: torch.tanh(v @ w[0].T + w[1]) @ w[2].T + w[3]  # noqa: E731
    draws["z"] = draws["G/z"]  # where losses alone are evaluated
    fake = layers(G, draws["G/z"])
    judged = F.softplus(-layers(D, given["x"])).mean() + F.softplus(layers(D, fake)).mean()
    ahead = [w - 0.3 * g for w, g in zip(D, torch.autograd.grad(judged, D, create_graph=True), strict=True)]
    loss = F.softplus(-layers(ahead, fake)).mean()
    expected = torch.autograd.grad(loss, G)
    assert torch.allclose(gan.losses(given, draws)["unrolled"], loss, rtol=1e-12)
    found = gan.gradients("G", given, draws)
    assert list(found) == [f"G.{n}" for n in ("0.weight", "0.bias", "2.weight", "2.bias")]
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-14) for a, b in zip(found.values(), expected, strict=True))
    assert_matches_reference(path, cases=2)


def test_views_nest(tmp_path: Path) -> None:
    gan = viewed(tmp_path, 'frozen(evaluation(upto(B, "inner")))(h)')
    given, draws, h = pieces(gan)
    before = buffers(gan)
    gan.game.begin(given, draws, None)
    result = gan.game.evaluate_C(gan.game.draws("C"))
    assert not moved(before, buffers(gan))
    p = gan.named_parameters()
    h = h @ p["B.0.weight"].T + p["B.0.bias"]
    assert torch.allclose(
        result.objectives["C"],
        (h / math.sqrt(1 + 1e-5) * p["B.inner.weight"] + p["B.inner.bias"]).square().sum(1).mean(),
    )


def test_a_part_declared_frozen_is_called_in_evaluation_mode_unless_it_says_otherwise(tmp_path: Path) -> None:
    text = VIEWED.replace("VIEW", "B(h)")
    start, end = text.index("  B:\n"), text.index("  C:\n")
    for mode, moves in (("", False), (", mode: train", True)):
        frozen = text[:start] + f"  B: {{is: frozen_part(){mode}, frozen: true}}\n" + text[end:]
        frozen = (
            frozen.replace("  plain: expect(sum(square(B(h))))\n", "")
            .replace("  B: {networks: [B], optimizer: SGD(lr=0.1)}\n", "")
            .replace("  B: plain\n", "")
        )
        frozen = "blocks:\n  frozen_part():\n  - Linear(3), BatchNorm1d(), Linear(2)\n" + frozen
        gan = build(written(tmp_path, frozen))
        before, weights = buffers(gan), snapshot(gan)
        gan.step(batch(gan, 4), gan.draw(4, 0))
        assert bool(moved(before, buffers(gan))) == moves
        assert {n[0] for n in moved(weights, snapshot(gan))} == {"C"}


# --- the pool


class Pool:
    """Shrivastava et al. 2017, section 2.3, by hand."""

    def __init__(self, size: int):
        self.size, self.kept = size, []

    def __call__(self, given: Tensor, swaps: Tensor, slots: Tensor) -> Tensor:
        shown = []
        for x, swap, slot in zip(given.detach(), swaps.tolist(), slots.tolist(), strict=True):
            if len(self.kept) < self.size:
                self.kept.append(x.clone())
                shown.append(x.clone())
            elif swap:
                shown.append(self.kept[slot].clone())
                self.kept[slot] = x.clone()
            else:
                shown.append(x.clone())
        return torch.stack(shown)


def test_a_pool_keeps_and_returns_samples_in_order_as_its_draws_say(tmp_path: Path) -> None:
    head = swapped(
        HEAD, ("  fake: G(z)\n", "  fake: G(z)\n  old: replay(fake, 6)\n"), ("softplus(D(fake))", "softplus(D(old))")
    )
    gan = system(tmp_path, PHASES, head)
    twin, pool = Twin(gan), Pool(6)
    opt_d, opt_g = twin.adam("D"), twin.adam("G")
    for seed in range(6):
        given, draws = batch(gan, 4, seed), gan.draw(4, seed)
        assert draws["D/old/swap"].dtype == torch.float64 and draws["D/old/slot"].dtype == torch.int64
        held = [s.clone() for s in gan.game.pools["old"].samples]
        gan.losses(given, draws)
        gan.gradients("D", given, draws)
        assert all(torch.equal(a, b) for a, b in zip(held, gan.game.pools["old"].samples, strict=True))
        log = gan.step(given, draws)
        old = pool(twin.G(draws["D/z"]), draws["D/old/swap"], draws["D/old/slot"])
        d = twin.d(given["x"], old)
        assert torch.allclose(log["D"], d)
        twin.step(opt_d, d)
        twin.step(opt_g, twin.g(twin.G(draws["G/z"])))
        opt_d.zero_grad()
        assert len(gan.game.pools["old"].samples) == min(6, 4 * (seed + 1))
        assert all(torch.allclose(a, b) for a, b in zip(gan.game.pools["old"].samples, pool.kept, strict=True))
        assert not any(s.requires_grad for s in gan.game.pools["old"].samples)
    assert twin.same(gan)


# --- grad


GRADED = """
gangraph: 1
name: graded
inputs:
  x: vector(3)
networks:
  P: Parameter(3)
graph:
  u: x + P()
  w: u
  y: square(u) + 3 * w * u
losses:
  by_u: expect(sum(square(grad(y, u))))
  by_w: expect(sum(square(grad(y, w))))
  by_x: expect(sum(square(grad(y, x))))
  by_p: sum(square(grad(expect(sum(y)), parameter("P.weight"))))
  twice: expect(sum(square(grad(sum(square(grad(y, w))), u))))
  cut: expect(sum(square(grad(square(u) * stop(u), u))))
players:
  P: {networks: [P], optimizer: SGD(lr=0.1)}
schedule:
  P: by_u + by_w + by_x + by_p + twice + cut
train: {batch: 4}
"""


def test_grad_by_an_alias_counts_only_the_paths_that_read_it_by_this_name(tmp_path: Path) -> None:
    gan = build(written(tmp_path, GRADED))
    given = batch(gan, 4)
    u = given["x"] + gan.networks["P"].weight
    found = gan.losses(given, {})
    square = lambda v: v.square().sum(1).mean()  # noqa: E731
    assert torch.allclose(found["by_u"], square(2 * u + 6 * u))
    assert torch.allclose(found["by_w"], square(3 * u))
    assert torch.allclose(found["by_x"], square(8 * u))
    assert torch.allclose(found["by_p"], (8 * u).mean(0).square().sum())
    assert torch.allclose(found["twice"], square(18 * u))
    assert torch.allclose(found["cut"], square(2 * u * u))


def test_the_parameter_of_a_network_of_one_layer_is_its_weight(tmp_path: Path) -> None:
    gan = build(written(tmp_path, GRADED.replace('parameter("P.weight")', "P.weight")))
    assert gan.losses(batch(gan, 4), {})["by_p"] > 0


def test_a_vector_of_all_samples_is_spread_over_the_map_of_each(tmp_path: Path) -> None:
    check_operator("tile", [("tile(V, i) + i", lambda t: up(t.V, 2) + t.i)], tmp_path)


def test_an_objective_differentiates_a_derivative_again(tmp_path: Path) -> None:
    gan = build(written(tmp_path, GRADED))
    given = batch(gan, 4)
    p = gan.networks["P"].weight
    u = given["x"] + p
    square = lambda v: v.square().sum(1).mean()  # noqa: E731
    objective = square(8 * u) + square(3 * u) + square(8 * u) + (8 * u).mean(0).square().sum() + square(18 * u)
    objective = objective + square(2 * u * u.detach())  # the derivative of u^2 stop(u) reads u once
    (expected,) = torch.autograd.grad(objective, p)
    (found,) = gan.gradients("P", given, {}).values()
    assert torch.allclose(found, expected)


# --- time: state, averages, optimizers, stages


def test_a_state_without_phases_is_updated_at_the_end_of_an_iteration(tmp_path: Path) -> None:
    tail = "state:\n  k: {start: 1, becomes: 0.5 * k + d}\n  n: {start: 0, becomes: n + k}\n"
    tail += "schedule:\n  D: d\n  G: k * g + 0 * n * d\n"
    gan = system(tmp_path, tail)
    k, n = 1.0, 0.0
    for seed in range(3):
        log = gan.step(batch(gan, 4, seed), gan.draw(4, seed))
        assert torch.allclose(log["G"], k * log["G/g"])
        k, n = 0.5 * k + float(log["G/d"]), n + k  # the latest d; both read what was before
        assert float(gan.state["k"]) == pytest.approx(k, rel=1e-12) and float(gan.state["n"]) == pytest.approx(
            n, rel=1e-12
        )


def test_a_state_with_phases_is_updated_after_each_of_their_steps(tmp_path: Path) -> None:
    tail = "state:\n  m: {start: zeros(X), becomes: 0.9 * m + expect(fake), in: [D, G]}\n"
    tail += "schedule:\n  D: {minimize: d, repeat: 2}\n  G: g + 0.1 * sum(m)\n"
    gan = system(tmp_path, tail)
    twin = Twin(gan)
    draws = gan.draw(4, 0)
    gan.step(batch(gan, 4), draws)
    expected = torch.zeros(3, dtype=torch.float64)
    for key in ("D/z", "D.2/z", "G/z"):  # G's step comes after its evaluation
        expected = 0.9 * expected + twin.G(draws[key]).mean(0)
    assert torch.allclose(gan.state["m"], expected) and not gan.state["m"].requires_grad


def test_a_state_that_phases_feed_differently(tmp_path: Path) -> None:
    tail = "state:\n  k:\n    start: 0\n    in: {D: k + d, G: 2 * k}\n"
    tail += "schedule:\n  D: d\n  G: g\n  again: {player: D, minimize: d * k}\n"
    gan = system(tmp_path, tail)
    log = gan.step(batch(gan, 4), gan.draw(4, 0))
    assert float(gan.state["k"]) == pytest.approx(2 * float(log["D/d"]), rel=1e-12)
    assert torch.allclose(log["again"], log["again/d"] * 2 * log["D/d"])


def test_a_move_updates_a_state_at_its_place(tmp_path: Path) -> None:
    tail = "state:\n  k: {start: 1, becomes: 3 * k}\nschedule:\n  D: k * d\n  now: {update: [k]}\n  G: k * g\n"
    gan = system(tmp_path, tail)
    log = gan.step(batch(gan, 4), gan.draw(4, 0))
    assert torch.allclose(log["D"], log["D/d"]) and torch.allclose(log["G"], 3 * log["G/g"])
    assert gan.state["k"] == 3


AVERAGED = 'averages:\n  slow: average(G, decay=0.9)\n  zero: average(G, decay=0.5, start="zeros")\n'


def test_an_average_starts_as_a_copy_or_at_zero_and_copies_buffers(tmp_path: Path) -> None:
    gan = system(tmp_path, AVERAGED + PHASES, swapped(HEAD, NORMED))
    G = gan.networks["G"]
    slow = [p.detach().clone() for p in G.parameters()]
    zero = [torch.zeros_like(p) for p in G.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(gan.averages["slow"].parameters(), slow, strict=True))
    assert not any(p.any() for p in gan.averages["zero"].parameters())
    for seed in range(3):
        gan.step(batch(gan, 4, seed), gan.draw(4, seed))
        slow = [0.9 * a + 0.1 * p.detach() for a, p in zip(slow, G.parameters(), strict=True)]
        zero = [0.5 * a + 0.5 * p.detach() for a, p in zip(zero, G.parameters(), strict=True)]
    for name, expected in (("slow", slow), ("zero", zero)):
        average = gan.averages[name]
        assert all(torch.allclose(a, b, atol=1e-14) for a, b in zip(average.parameters(), expected, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(average.buffers(), G.buffers(), strict=True))
        assert not average.training and not any(p.requires_grad for p in average.parameters())


def test_an_average_moves_where_a_move_says_so(tmp_path: Path) -> None:
    gan = system(tmp_path, AVERAGED + "schedule:\n  D: d\n  ema: {update: [slow, zero]}\n  G: g\n")
    before = [p.detach().clone() for p in gan.networks["G"].parameters()]
    gan.step(batch(gan, 4), gan.draw(4, 0))
    assert all(torch.equal(a, b) for a, b in zip(gan.averages["slow"].parameters(), before, strict=True))
    assert all(torch.allclose(a, 0.5 * b) for a, b in zip(gan.averages["zero"].parameters(), before, strict=True))


def test_an_average_may_be_called_in_a_loss_and_is_a_constant(tmp_path: Path) -> None:
    head = swapped(HEAD, ("losses:\n", "losses:\n  near: expect(mean(square(fake - slow(z))))\n"))
    gan = system(tmp_path, "averages:\n  slow: average(G, decay=0.9)\nschedule:\n  D: d\n  G: g + near\n", head)
    draws = gan.draw(4, 0)
    gan.step(batch(gan, 4), draws)
    found = gan.losses(batch(gan, 4), draws)["near"]
    G, slow = gan.networks["G"], gan.averages["slow"]
    assert torch.allclose(found, (G(draws["z"]) - slow(draws["z"])).square().mean()) and found > 0


def test_a_sample_is_made_in_evaluation_mode_by_the_average(tmp_path: Path) -> None:
    tail = (
        AVERAGED.replace('  zero: average(G, decay=0.5, start="zeros")\n', "")
        + PHASES
        + "sample: {images: fake, own: training(G)(z)}\n"
    )
    gan = system(tmp_path, tail, swapped(HEAD, NORMED))
    for seed in range(3):
        gan.step(batch(gan, 4, seed), gan.draw(4, seed))
    before = buffers(gan)
    images, own = gan.sample("images", 5, seed=3), gan.sample("own", 5, seed=3)
    z = gan.module.Draws(gan.game.like, 3).normal("z", 5, 2)
    assert torch.allclose(images, gan.averages["slow"](z))
    assert images.shape == own.shape == (5, 3) and not torch.allclose(images, own)
    assert moved(before, buffers(gan)) == set()
    assert all(m.training for m in gan.networks.modules())


def test_the_arguments_of_an_optimizer_follow_the_clocks(tmp_path: Path) -> None:
    head = swapped(
        HEAD,
        (
            '  G: {networks: [G], optimizer: "Adam(lr=0.1, betas=[0.5, 0.9])"}',
            '  G: {networks: [G], optimizer: "SGD(lr=0.1 * (1 - epoch / 4))"}',
        ),
    )
    gan = system(tmp_path, PHASES, head)
    for epoch in (0, 1, 3):
        gan.clocks["epoch"] = epoch
        given, draws = batch(gan, 4, epoch), gan.draw(4, epoch)
        start = snapshot(gan)
        original = gan.game.move
        seen: dict[str, Any] = {}
        gan.game.move = lambda phase, g, o=original, s=seen: (s.update({phase: [x.clone() for x in g]}), o(phase, g))
        gan.step(given, draws)
        del gan.game.move
        for (name, p), g in zip(
            [(n, p) for n, p in gan.named_parameters().items() if n[0] == "G"], seen["G"], strict=True
        ):
            assert torch.allclose(p, start[name] - 0.1 * (1 - epoch / 4) * g, atol=1e-15)


def test_an_optimizer_of_its_own_for_one_network(tmp_path: Path) -> None:
    player = "  all: {networks: [D, G], optimizer: SGD(lr=0.1), optimizer.G: SGD(lr=0.001)}\n"
    start, end = HEAD.index("players:\n"), HEAD.index("train:")
    head = HEAD[:start] + "players:\n" + player + HEAD[end:]
    gan = system(tmp_path, "schedule:\n  all: g + d\n", head)
    given, draws = batch(gan, 4), gan.draw(4, 0)
    before, gradients = snapshot(gan), gan.gradients("all", given, draws)
    gan.step(given, draws)
    for name, p in gan.named_parameters().items():
        assert torch.allclose(p, before[name] - (0.1 if name[0] == "D" else 0.001) * gradients[name], atol=1e-15)


def test_an_optimizer_of_its_own_for_all_that_a_player_has(tmp_path: Path) -> None:
    players = "  D: {networks: [D], optimizer: SGD(lr=0.1)}\n"
    players += "  G: {networks: [G], optimizer: SGD(lr=0.1), optimizer.G: SGD(lr=0.001)}\n"
    start, end = HEAD.index("players:\n"), HEAD.index("train:")
    gan = system(tmp_path, "schedule:\n  D: d\n  G: g\n", HEAD[:start] + "players:\n" + players + HEAD[end:])
    assert [o.param_groups[0]["lr"] for o in gan.game.players["G"]] == [0.001]


def test_a_reset_empties_the_state_of_an_optimizer(tmp_path: Path) -> None:
    gan = system(tmp_path, "schedule:\n  D: d\n  G: g\n  forget: {reset: [G], when: step == 1}\n")
    counts = []
    for seed in range(3):
        gan.step(batch(gan, 4, seed), gan.draw(4, seed))
        counts.append({name: len(o[0].state) for name, o in gan.game.players.items()})
    assert counts == [{"D": 4, "G": 4}, {"D": 4, "G": 0}, {"D": 4, "G": 4}]


def test_a_call_in_training_mode_does_not_move_what_a_gradient_in_evaluation_mode_reads(tmp_path: Path) -> None:
    """torch's derivative of batch norm in evaluation mode reads the running statistics as they are in the end."""
    text = """
gangraph: 1
name: modes
inputs: {x: vector(3)}
networks: {E: [Linear(2), BatchNorm1d()]}
losses:
  fixed: expect(mean(evaluation(E)(x)**3))
  moving: expect(mean(E(2 * x)**3))
  whole: expect(mean(evaluation(E)(x)**3)) + expect(mean(E(2 * x)**3))
players: {E: {networks: [E], optimizer: SGD(lr=0.1)}}
schedule:
  both: {player: E, minimize: whole}
  first: {player: E, minimize: fixed}
  second: {player: E, minimize: moving}
"""
    gan = build(written(tmp_path, text))
    both, first, second = (gan.gradients(phase, batch(gan, 4)) for phase in ("both", "first", "second"))
    for name, g in both.items():
        assert torch.allclose(g, first[name] + second[name], rtol=1e-12), name


def test_a_stage_resets_a_family_of_players(tmp_path: Path) -> None:
    text = """
gangraph: 1
name: two
sizes: {n: 2}
index: {d: [0, 1]}
inputs: {x: vector(n)}
networks: {"D[d]": Linear(1)}
losses: {"near[d]": "expect(D[d](x)**2)"}
players: {"D[d]": {networks: ["D[d]"], optimizer: Adam(lr=1e-3)}}
schedule: {"D[d]": "near[d]"}
stages: {one: {iterations: 1}, two: {reset: [D]}}
"""
    gan = build(written(tmp_path, text))
    gan.step(batch(gan, 4), seed=0)
    assert gan.clocks["stage"] == 1
    assert [len(o[0].state) for o in gan.game.players.values()] == [0, 0]


STAGES = """
stages:
  one:
    iterations: 2
    schedule: {D: d, G: g}
  two:
    images: 8
    reset: [G]
    constants: {c: 2}
    schedule: {D: c * d, G: g, D_again: {player: D, minimize: d}}
  three:
    schedule: {G: g * (1 + stage), slow: {player: D, minimize: d, when: stage_step % 2 == 1}}
"""


def test_stages_follow_one_another_by_iterations_and_by_images(tmp_path: Path) -> None:
    gan = system(tmp_path, "constants: {c: 1}\n" + STAGES)
    seen = []
    for seed in range(7):
        stage, stage_step = gan.clocks["stage"], gan.clocks["stage_step"]
        with watched(gan) as steps:
            log = gan.step(batches(gan, 4, seed), gan.draw(4, seed))
        seen.append((stage, stage_step, [n for n, _ in steps]))
        if stage == 1:
            assert torch.allclose(log["D"], 2 * log["D/d"])
        if stage == 2:
            assert torch.allclose(log["G"], 3 * log["G/g"])
    first, second = (0, ["D", "G"]), (1, ["D", "G", "D_again"])
    assert [(s, p) for s, _, p in seen[:4]] == [first, first, second, second]
    assert seen[4:] == [(2, 0, ["G"]), (2, 1, ["G", "slow"]), (2, 2, ["G"])]
    assert gan.clocks["step"] == 7 and gan.clocks["images"] == 28 and gan.clocks["stage_images"] == 12


def test_a_stage_resets_the_optimizers_that_it_names_and_no_other(tmp_path: Path) -> None:
    gan = system(tmp_path, "constants: {c: 1}\n" + STAGES)
    for seed in range(2):
        gan.step(batches(gan, 4, seed), gan.draw(4, seed))
    assert gan.clocks["stage"] == 1
    assert {n: len(o[0].state) for n, o in gan.game.players.items()} == {"D": 4, "G": 0}


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("Adam(lr=0.1)", "SGD(lr=0.1)", False),
        ("SGD(lr=0.1, weight_decay=0.5)", "SGD(lr=0.1)", False),
        ("SGD(lr=0.1, momentum=0.5)", "SGD(lr=0.1, momentum=0.5, nesterov=True)", True),
    ],
)
def test_a_stage_may_bring_another_optimizer(first: str, second: str, kept: bool, tmp_path: Path) -> None:
    """One of another kind begins anew; one of the same kind goes on, with the arguments of the new stage only."""
    one, two = (f'players: {{G: {{optimizer: "{o}"}}}}' for o in (first, second))
    stages = f"stages:\n  one: {{iterations: 1, {one}}}\n  two: {{{two}}}\n"
    gan = system(tmp_path, f"schedule:\n  G: g\n  D: d\n{stages}")
    taken: list[Any] = []
    for seed in range(2):
        given, draws, before = batch(gan, 4, seed), gan.draw(4, seed), snapshot(gan)
        taken.append(gan.gradients("G", given, draws))
        gan.step(given, draws)
    for name, g in taken[1].items():
        velocity = 0.5 * taken[0][name] + g
        change = g + 0.5 * velocity if kept else g
        assert torch.allclose(gan.named_parameters()[name], before[name] - 0.1 * change, atol=1e-15)


SCHEDULES = {
    "alternating": "  D: d\n  G: g\n",
    "fresh twice": "  D: {minimize: d, repeat: 2, batch: fresh}\n  G: {minimize: g, batch: fresh}\n",
    "accumulated": "  G: {minimize: g, accumulate: 2}\n  D: {minimize: d, accumulate: 3, batch: fresh, repeat: 2}\n",
    "accumulated by a clock": "  D: {minimize: d, accumulate: 1 + step, when: step != 2}\n  G: g\n",
    "fresh sequence": "  G: g\n  s: {batch: fresh, repeat: 2, moves: {D: d, D2: {player: D, minimize: 2 * d}}}\n",
    "nested": "  D: d\n  s: {repeat: 2, when: step > 0, moves: {D2: INNER, G: g}}\n".replace(
        "INNER", "{player: D, minimize: d, batch: fresh, repeat: 2}"
    ),
    "fresh group": "  s: {repeat: 2, batch: fresh, together: {D: d, G: g}}\n  D2: {player: D, minimize: d}\n",
    "repeated moves": "  s: {repeat: 2, moves: {D: d, G: g}}\n",
    "accumulated in moves": "  s: {repeat: 3, moves: {D: {minimize: d, accumulate: 2, when: step % 2 == 1}, G: g}}\n",
    "repeated by a clock": "  D: {minimize: d, repeat: step // 2, batch: fresh}\n"
    "  D2: {player: D, minimize: d}\n  G: g\n",
    "accumulated of a held value": "  G: {minimize: g + near, accumulate: 3}\n  D: d\n",
    "conditional last": "  D: d\n  D2: {player: D, minimize: d, batch: fresh, when: step % 2 == 1}\n  G: g\n",
    "conditional first": "  D: {minimize: d, batch: fresh, when: step % 2 == 1}\n  G: g\n"
    "  D2: {player: D, minimize: d}\n",
}


HELD = swapped(
    HEAD,
    ("  fake: G(z)\n", "  fake: G(z)\n  mixed: fake + x\nonce: [mixed]\n"),
    ("losses:\n", "losses:\n  near: expect(mean(D(mixed)))\n"),
)


@pytest.mark.parametrize("name", SCHEDULES)
def test_an_iteration_takes_as_many_batches_as_it_says(name: str, tmp_path: Path) -> None:
    gan = system(tmp_path, "schedule:\n" + SCHEDULES[name], HELD if "near" in SCHEDULES[name] else HEAD)
    for seed in range(3):
        gan.game.constants()
        wanted, given = gan.fetches(), [batch(gan, 4, i) for i in range(9)]
        taken = [0]
        original = gan.game.fetch

        def fetch(count: list[int] = taken, original: Any = original) -> None:
            count[0] += 1
            original()

        gan.game.fetch = fetch
        gan.step(given, gan.draw(4, seed))
        del gan.game.fetch
        assert taken[0] == wanted, seed


# --- names


@pytest.mark.parametrize(
    "name", ["torch", "nn", "F", "self", "draws", "list", "dict", "Draws", "Pool", "Game", "View", "Evaluation"]
)
def test_a_name_of_the_spec_does_not_hide_one_of_the_program(name: str, tmp_path: Path) -> None:
    graph = f"  fake: G(z)\n  {name}: 1 * fake\n  old: replay({name}, 4)\n  seen: frozen(G)(z) + 0 * {name}\n"
    losses = f"losses:\n  near: expect(mean(square({name} - x))) + expect(mean(square(seen - max(old, x))))\n"
    head = swapped(HEAD, ("  fake: G(z)\n", graph), ("losses:\n", losses))
    gan = system(tmp_path, f"schedule:\n  D: d\n  G: g + near\nsample: {{v: {name}}}\n", head)
    gan.step(batch(gan, 4), gan.draw(4, 0))
    assert gan.sample("v", 3).shape == (3, 3)


@pytest.mark.parametrize("name", ["to", "keys", "train", "forward"])
def test_a_network_called_like_a_word_of_torchs_module_dict_is_refused(name: str, tmp_path: Path) -> None:
    head = swapped(HEAD, ("  G:\n", f"  {name}:\n"), ("G(z)", f"{name}(z)"), ("[G]", f"[{name}]"))
    with pytest.raises(SpecError, match=f"cannot be called {name}"):
        system(tmp_path, PHASES, head)


def test_the_functions_of_the_package_stay_functions(tmp_path: Path) -> None:
    """A module of the same name must not take their place once it has been imported."""
    path = written(tmp_path, HEAD + PHASES)
    gangraph.compile(gangraph.load(path))
    assert gangraph.load(path).name == gangraph.load("gan", tiny=True).name.replace("gan", "small")
    assert (
        callable(gangraph.load) and callable(gangraph.compile) and callable(gangraph.draw) and callable(gangraph.train)
    )


INTEGERS = [
    "max(y, 2)", "min(y, y)", "where(y > 2, y, 1)", "clamp(y, 1, 3)", "sum(y)", "softplus(y)", "softplus(-y)",
    "sum(y > 2)", "norm(stack(y, y))", "max(stack(y, y))", "sum(where(y > 2, x, y))", "abs(y - 2)", "y // 2 + y % 2",
    "mean(y > 2)",
]  # fmt: skip


def test_integers_and_truths_are_numbers_to_every_operator(tmp_path: Path) -> None:
    head = swapped(HEAD, ("  x: vector(X)\n", "  x: vector(X)\n  y: label(5)\n"))
    losses = "".join(f"  l{i}: expect({text}) * d\n" for i, text in enumerate(INTEGERS))
    objective = " + ".join(f"l{i}" for i in range(len(INTEGERS)))
    gan = system(tmp_path, f"schedule:\n  D: {objective}\n  G: g\n", swapped(head, ("losses:\n", f"losses:\n{losses}")))
    assert_matches_reference(gan)


# --- derivatives where nothing is trained


def test_a_view_and_a_metric_may_read_a_derivative(tmp_path: Path) -> None:
    """As in latent optimization, which samples with a step along a gradient."""
    graph = "  fake: G(z)\n  better: z + 0.5 * grad(D(G(z)), z)\n"
    tail = f"{PHASES}sample: {{v: G(better)}}\nmetrics: {{slope: 'norm(grad(D(x), x))'}}\n"
    gan = system(tmp_path, tail, swapped(HEAD, ("  fake: G(z)\n", graph)))
    twin, given, draws = Twin(gan), batch(gan, 4), gan.draw(4, 0)
    z, x = draws["z"].clone().requires_grad_(), given["x"].clone().requires_grad_()
    (g,) = torch.autograd.grad(twin.D(twin.G(z)).sum(), z)
    shown = gan.sample("v", 4, given, draws=draws)
    assert torch.allclose(shown, twin.G(z + 0.5 * g), rtol=1e-12) and not shown.requires_grad
    (slope,) = torch.autograd.grad(twin.D(x).sum(), x)
    assert torch.allclose(gan.sample("slope", 4, given, draws=draws), slope.norm(dim=1), rtol=1e-12)
    assert_matches_reference(gan)


# --- how weights begin


def test_the_scale_of_a_weight_norm_begins_at_that_of_its_weight(tmp_path: Path) -> None:
    """By a pattern, by an initializer of its own, and inside of another wrapper."""
    own, inside = "WeightNorm(Linear(4, weight=constant(2)))", "SpectralNorm(WeightNorm(Linear(1)))"
    layers = f"  - WeightNorm(Linear(4)), Tanh(), {own}, {inside}"
    head = swapped(HEAD, ("  - Linear(4), Tanh(), Linear(1)", layers))
    gan = system(tmp_path, f"{PHASES}init:\n  weight: normal(0, 0.02)\n", head)
    found = gan.named_parameters()
    pairs = [(found[k.removesuffix("_g").replace(".first", "")], g) for k, g in found.items() if k.endswith("weight_g")]
    assert len(pairs) == 3 and all(torch.allclose(w.norm(dim=1), g, rtol=1e-13) for w, g in pairs)
    assert [bool(w.abs().max() < 0.2) for w, _ in pairs] == [True, False, True]


@pytest.mark.parametrize("outer_first", [True, False])
def test_the_pattern_of_a_network_is_more_special_than_that_of_one_that_holds_it(
    tmp_path: Path, outer_first: bool
) -> None:
    lines = ["  D.weight: constant(1)\n", "  E.weight: constant(2)\n"]
    head = swapped(
        HEAD, ("  - Linear(4), Tanh(), Linear(1)", "  - E, Linear(1)"), ("networks:\n", "networks:\n  E: [Linear(4)]\n")
    )
    gan = system(tmp_path, f"{PHASES}init:\n{''.join(lines if outer_first else lines[::-1])}", head)
    found = {k: v.unique().tolist() for k, v in gan.named_parameters().items() if k.endswith("weight")}
    assert [found[k] for k in found if k[0] in "DE"] == [[2.0], [1.0]]


# --- layers' draws


def test_layers_of_several_calls_have_draws_by_number(tmp_path: Path) -> None:
    head = swapped(HEAD, ("  - Linear(4), Tanh(), Linear(1)", "  - Dropout(0.5), Linear(1), Noise(0.1)"))
    gan = system(tmp_path, PHASES, head)
    draws = gan.draw(4, 0)
    keys = {k for k in draws if k.startswith(("D/", "G/"))}
    assert keys == {"D/z", "G/z", "D/d/D.0", "D/d/D.2.0", "D/d/D.2", "D/d/D.2.2", "G/g/D.0", "G/g/D.2"}
    given = batch(gan, 4)
    log = gan.step(given, draws)
    fresh = system(tmp_path, PHASES, head)
    p, twin = fresh.named_parameters(), Twin(fresh)

    def D(x: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
        return (2 * x * mask) @ p["D.1.weight"].T + p["D.1.bias"] + 0.1 * noise

    fake = twin.G(draws["D/z"])
    expected = F.softplus(-D(given["x"], draws["D/d/D.0"], draws["D/d/D.2"])).mean()
    expected = expected + F.softplus(D(fake, draws["D/d/D.2.0"], draws["D/d/D.2.2"])).mean()
    assert torch.allclose(log["D"], expected)


def test_a_program_draws_the_same_when_another_network_is_added(tmp_path: Path) -> None:
    gan = system(tmp_path)
    more = swapped(
        HEAD,
        ("  D:\n", "  H:\n  - Dropout(0.5), Linear(X)\n  D:\n"),
        ("losses:\n", "losses:\n  h: expect(mean(square(H(z2))))\n"),
    )
    more = swapped(
        more, ("  z: normal(Z)\n", "  z2: normal(Z)\n  z: normal(Z)\n"), ("{networks: [G]", "{networks: [G, H]")
    )
    other = system(tmp_path, "schedule:\n  D: d\n  G: g + h\n", more)
    a, b = gan.draw(4, 5), other.draw(4, 5)
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("samples, times, more", [("2 * N", 2, 0), ("3 * N + 1", 3, 1)])
def test_the_batch_size_is_told_from_inputs_of_several_samples(
    samples: str, times: int, more: int, tmp_path: Path
) -> None:
    text = UNROLLED.replace("x: vector(2)", f'x: "vector(2, samples={samples})"')
    path = written(tmp_path, text)
    gan = build(path)
    gan.step(batch(gan, 5), seed=0)
    assert gan.game.N == 5 and gan.game.batch_size == 16 and len(batch(gan, 5)["x"]) == 5 * times + more
    assert_matches_reference(path, cases=1)


# --- layers that a spec declares

DECLARED = """
gangraph: 1
name: declared
sizes: {C: 2, H: 6, W: 6}
inputs: {x: "image(C, H, W)"}
draws: {z: normal(4)}
layers:
  Unfold(kernel_size, stride=1):
    torch: nn.Unfold
    shape: "[_.channels * kernel_size**2, (_.height // stride) * (_.width // stride)]"
  Squash(): {torch: nn.Softsign, shape: _}
  Slopes(num_parameters):
    torch: nn.PReLU
    shape: _
    parameters: {weight: "[num_parameters]"}
networks:
  G: [Linear(8), Squash(), Linear(C * H * W), Slopes(1), "reshape(_, C, H, W)"]
  D: ["Unfold(3, stride=3)", Flatten(), Linear(1)]
graph: {fake: G(z)}
losses:
  adv: non_saturating(real=D(x), fake=D(fake))
  gp: expect((norm(grad(D(fake), fake)) - 1)**2)
  bent: expect(norm(grad(mean(G(z)**2), z))**2)
players:
  D: {networks: [D], optimizer: Adam(lr=1e-3)}
  G: {networks: [G], optimizer: Adam(lr=1e-3)}
schedule: {D: adv.discriminator + gp, G: adv.generator + bent}
"""


def test_a_declared_layer_is_torchs_and_verify_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, DECLARED)
    gan = build(path)
    x, p = batch(gan, 3)["x"], gan.named_parameters()
    expected = F.unfold(x, 3, stride=3).flatten(1) @ p["D.2.weight"].T + p["D.2.bias"]
    assert torch.equal(gan.networks["D"](x), expected)
    assert p["G.3.weight"].shape == (1,) and "nn.PReLU(num_parameters=1)" in gan.source
    report = verify(path, cases=2)
    assert report.good, report
    assert "not proven: Slopes, which the reference takes from torch (nn.PReLU) as the program does" in str(report)


FLOORED = """
gangraph: 1
name: floored
inputs: {x: vector(2)}
draws: {z: normal(3)}
networks: {G: "mlp([8, 2])", D: "mlp([8, 1])"}
graph: {fake: G(z)}
losses:
  adv: wasserstein(real=D(x), fake=D(fake))
  steps: expect(sum(fake * (fake // 0.25)))
players:
  D: {networks: [D], optimizer: SGD(lr=0.1)}
  G: {networks: [G], optimizer: SGD(lr=0.1)}
schedule: {D: adv.discriminator, G: adv.generator + steps}
"""


def test_no_gradient_passes_a_floor(tmp_path: Path) -> None:
    """Its derivative is 0 wherever it has one; torch has none."""
    path = written(tmp_path, FLOORED)
    gan = build(path)
    given, draws, G = batch(gan, 4), gan.draw(4, 0), gan.networks["G"]
    fake = G(draws["G/z"])
    expected = torch.autograd.grad((fake * torch.floor(fake.detach() / 0.25)).sum(1).mean(), list(G.parameters()))
    adversarial = torch.autograd.grad(-gan.networks["D"](G(draws["G/z"])).mean(), list(G.parameters()))
    found = gan.gradients("G", given, draws).values()
    assert all(torch.allclose(a, b + c) for a, b, c in zip(found, expected, adversarial, strict=True))
    assert_matches_reference(path, cases=2)


COMPARED = """
gangraph: 1
name: compared
inputs: {x: vector(3)}
draws: {z: normal(3)}
networks:
  G: mlp([8, 3])
  D:
  - concat(_, where(_ > 0.5, 0.1, 0.3), reshape(where(argmax(_) == 1, 1, 0), 1))
  - Linear(1)
  E: Linear(1)
graph: {fake: G(z)}
losses:
  adv: hinge(D(x), D(fake))
  above: expect(E(x > 0))
players:
  D: {networks: [D, E], optimizer: SGD(lr=0.1)}
  G: {networks: [G], optimizer: SGD(lr=0.1)}
schedule: {D: adv.discriminator + above, G: adv.generator}
metrics: {first: "expect(where(argmax(fake) == 0, 1, 0))"}
train: {batch: 4}
"""


def test_a_state_may_follow_a_derivative_that_no_loss_has(tmp_path: Path) -> None:
    text = FLOORED.replace("steps: expect(sum(fake * (fake // 0.25)))", "size: expect(mean(fake**2))")
    text = text.replace("adv.generator + steps", "adv.generator + k * size")
    text += 'state: {k: {start: 1, becomes: "norm(expect(grad(D(x), x)))", in: [D]}}\n'
    assert_matches_reference(written(tmp_path, text), cases=2)


def test_what_follows_a_comparison_is_a_real_number(tmp_path: Path) -> None:
    path = written(tmp_path, COMPARED)
    gan = build(path)
    x, p = batch(gan, 4)["x"], gan.named_parameters()
    chosen = torch.where(x > 0.5, torch.tensor(0.1, dtype=x.dtype), torch.tensor(0.3, dtype=x.dtype))
    first = (x.argmax(1) == 1).to(x.dtype)[:, None]
    expected = torch.cat([x, chosen, first], 1) @ p["D.1.weight"].T + p["D.1.bias"]
    assert torch.allclose(gan.networks["D"](x), expected, rtol=1e-12)
    assert_matches_reference(path, cases=2)


def test_a_default_of_a_declared_layer_may_read_the_argument_in_front_of_it(tmp_path: Path) -> None:
    text = DECLARED.replace("Unfold(kernel_size, stride=1)", "Unfold(kernel_size, stride=kernel_size)")
    path = written(tmp_path, text.replace("Unfold(3, stride=3)", "Unfold(3)"))
    assert "nn.Unfold(kernel_size=3, stride=3)" in build(path).source
    assert_matches_reference(path, cases=1)


@pytest.mark.parametrize(
    "before, after, message",
    [
        (
            "_.channels * kernel_size**2",
            "kernel_size**2",
            r"makes \[2, 6, 6\] to \[18, 4\], and the spec says \[9, 4\]",
        ),
        ('{weight: "[num_parameters]"}', "{slope: [1]}", r"holds weight \[1\], and the spec says slope \[1\]"),
        ('    parameters: {weight: "[num_parameters]"}\n', "", r"holds weight \[1\], and the spec says no parameters"),
        ("Slopes(num_parameters)", "Slopes(number)", "unexpected keyword argument 'number'|is missing"),
        ("nn.Softsign", "nn.Softsine", "torch has no layer nn.Softsine"),
        ("nn.Softsign", "nn.Identity", None),
        ("Squash(): {torch: nn.Softsign", "Squash(n=8): {torch: nn.LazyBatchNorm1d", "fails"),
        ("Squash(): {torch: nn.Softsign", "Squash(num_features=8): {torch: nn.BatchNorm1d", "holds"),
        (
            "Squash(): {torch: nn.Softsign",
            "Squash(num_features=8, affine=False): {torch: nn.BatchNorm1d",
            "holds the state",
        ),
    ],
)
def test_compile_tests_what_check_believes(before: str, after: str, message: str | None, tmp_path: Path) -> None:
    assert before in DECLARED
    text = DECLARED.replace(before, after).replace(
        "[num_parameters]", "[1]" if "number)" in after else "[num_parameters]"
    )
    spec = gangraph.load(written(tmp_path, text))
    if message is None:
        assert spec.program
        return
    with pytest.raises(SpecError, match=message) as found:
        spec.program  # noqa: B018
    assert found.value.problems[0].path.startswith("layers.")


# --- the library


def test_a_name_of_the_library_leads_to_its_file_and_to_no_other() -> None:
    library, defined = Library(Sources()), []
    for path in sorted((specs() / "library").glob("*.yaml")):
        part = read_library(path, Sources())
        signatures = [str(key) for kind in ("functions", "families", "blocks") for key in getattr(part, kind, {})]
        defined += [signature.partition("(")[0] for signature in signatures]
    assert len(defined) > 50 and sorted(defined) == sorted(Library(Sources()).names())
    for name in defined:
        found = library.find(name, standard_only=True)
        assert found is not None and found.name == name


# --- two whole systems as people write them


def run_beside(system_name: str, sizes: dict[str, int], module: str, iterations: int, n: int) -> None:
    handwritten = importlib.import_module(f"benchmarks.handwritten.{module}").Handwritten(sizes)
    gan = build(system_name, tiny=True, sizes=sizes)
    for name, network in handwritten.networks.items():
        network.double()
        ours = list(gan.networks[name].parameters())
        with torch.no_grad():
            for p, q in zip(network.parameters(), ours, strict=True):
                p.copy_(q)
    for seed in range(iterations):
        given, draws = batches(gan, n, seed), gan.draw(n, seed)
        log = gan.step(given, draws)
        expected = handwritten.step(given if gan.fetches() > 1 else given[0], draws)
        for name, value in expected.items():
            assert float(log[name]) == pytest.approx(value, rel=1e-9, abs=1e-9), (seed, name)
    for name, network in handwritten.networks.items():
        for p, q in zip(network.parameters(), gan.networks[name].parameters(), strict=True):
            assert torch.allclose(p, q, rtol=1e-9, atol=1e-9), name


@pytest.mark.parametrize(
    "name, module, n",
    [("cyclegan", "cyclegan", 1), ("wgan-gp", "wgan_gp", 3), ("dcgan", "dcgan", 4), ("stargan-v2", "stargan_v2", 2)],
)
def test_a_system_steps_as_its_handwritten_iteration(name: str, module: str, n: int) -> None:
    sizes = {key: int(value) for key, value in build(name, tiny=True).graph.resolved.sizes.items()}
    run_beside(name, sizes, module, 3, n)
