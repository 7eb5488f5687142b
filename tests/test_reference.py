"""The reference against calculus, torch and the papers; the compiled program against the reference."""

from __future__ import annotations

import ast
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from support import SYSTEMS, written
from torch import nn

import gangraph.reference
from gangraph.compiler import load
from gangraph.reference import Reference, operators, primitives
from gangraph.reference.convolution import correlate, kernel_of, spread
from gangraph.reference.layers import LAYERS
from gangraph.reference.optimizers import OPTIMIZERS
from gangraph.reference.tape import Tape, constant
from gangraph.reference.values import Value
from gangraph.resolve import resolve
from gangraph.spec import read_spec
from gangraph.verify import verify
from gangraph.verify.bench import Bench
from gangraph.verify.cases import Case

RANDOM = np.random.default_rng(0)


def reference(folder: Path, text: str) -> Reference:
    """A spec that nobody checks: resolved, and evaluated by the reference alone."""
    return Reference(resolve(read_spec(written(folder, text))))


# --- independence -----------------------------------------------------------------------------------------------------

SHARED = {
    "gangraph.expressions",
    "gangraph.families",
    "gangraph.frozen",
    "gangraph.resolve",
    "gangraph.spec",
    "gangraph.reference",
}


def test_reference_imports_only_reading_and_resolving() -> None:
    folder = Path(gangraph.reference.__file__).parent
    files = sorted(folder.glob("*.py"))
    assert len(files) > 10
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                first = name.split(".")[0]
                known = ("gangraph", "numpy", "autograd", *(["torch"] if file.name == "declared.py" else []))
                assert first in known or first in sys.stdlib_module_names, f"{file}: {name}"
                own = ".".join(name.split(".")[:2])
                assert first != "gangraph" or own in SHARED, f"{file} imports {name}"


# --- derivatives against central differences --------------------------------------------------------------------------


def derivative(f: Any, x: Any) -> Any:
    """The gradient of the sum of f(x), by the tape."""
    with Tape.recording(0) as tape:
        box = tape.parameter(x)
        (found,) = tape.gradient(f(box), [box], None)
    return np.zeros(x.shape) if found is None else found


def differences(f: Any, x: Any, h: float = 1e-5) -> Any:
    found = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[i] = h
        found[i] = (np.sum(f(x + step)) - np.sum(f(x - step))) / (2 * h)
    return found


def close_to_differences(f: Any, x: Any) -> None:
    np.testing.assert_allclose(derivative(f, x), differences(f, x), rtol=2e-6, atol=2e-8)


def data(v: Any) -> Any:
    return v.data if isinstance(v, Value) else v


Y = Value(RANDOM.standard_normal((3, 4)))
IMAGE = Value(RANDOM.standard_normal((2, 3, 4, 5)))
KERNEL = RANDOM.standard_normal((2, 3, 2, 2))
LABEL = Value(np.array([0, 2, 1]))
UNARY = {
    **{name: operators.unary(name) for name in operators.ENTRYWISE},
    **{f"{name}(dim=1)": lambda v, n=name: operators.reduce(n, v, 1) for name in operators.REDUCTIONS},
    "leaky_relu": lambda v: operators.leaky_relu(v, 0.3),
    "clamp": lambda v: operators.clamp(v, -0.4, 0.6),
    "softmax": lambda v: operators.softmax(v, 1),
    "log_softmax": lambda v: operators.log_softmax(v, 1),
    "cross_entropy": lambda v: operators.cross_entropy(v, LABEL),
    "select": lambda v: operators.select(v, LABEL),
    "x + y": lambda v: operators.OPERATORS["+"](v, Y),
    "x * y": lambda v: operators.OPERATORS["*"](v, Y),
    "y / x": lambda v: operators.OPERATORS["/"](Y, v),
    "x ** 3": lambda v: operators.OPERATORS["**"](v, 3),
    "x ** y": lambda v: operators.OPERATORS["**"](operators.OPERATORS["square"](v), Value(1 + 0.3 * abs(Y.data))),
    "max": lambda v: operators.extreme("max", v, Y),
    "min": lambda v: operators.extreme("min", v, Y),
    "lerp": lambda v: operators.OPERATORS["lerp"](v, Y, v),
    "where": lambda v: operators.OPERATORS["where"](Value((Y.data > 0) * 1.0), v, Y),
    "matmul": lambda v: operators.matmul(v, Value(RANDOM.standard_normal((1, 4, 4)) * 0 + np.eye(4) + 0.5, True)),
    "concat": lambda v: operators.concat(v, Y, v),
    "stack": lambda v: operators.stack(v, Y, dim=2),
    "take": lambda v: operators.take(v, LABEL),
    "expect": operators.expect,
    "total": operators.total,
    "batch_repeat": lambda v: operators.batch_repeat(v, 2),
}


@pytest.mark.parametrize("name", UNARY)
def test_derivative_of_an_operator_is_its_difference_quotient(name: str) -> None:
    x = 0.1 + 0.8 * np.random.default_rng(1).uniform(
        size=(3, 4)
    )  # inside the domain of log, sqrt, acos; away from kinks
    x = x if name in ("log", "sqrt", "acos", "y / x") else x * np.where(np.arange(4) % 2, 1, -1)

    def f(a: Any) -> Any:
        return data(UNARY[name](Value(a)))

    close_to_differences(lambda a: f(a) * f(a), x)  # the sum itself may be constant, as that of softmax


@pytest.mark.parametrize(
    "name", ["exp", "tanh", "sigmoid", "softplus", "norm(dim=1)", "logsumexp(dim=1)", "std(dim=1)", "elu", "gelu"]
)
def test_second_derivative_is_the_difference_quotient_of_the_first(name: str) -> None:
    x = 0.5 * np.random.default_rng(2).standard_normal((3, 4))

    def penalty(a: Any) -> Any:
        """The squared norm of the gradient of sum f(x)**2."""
        with Tape.recording(1) as tape:
            v = tape.mark(tape.parameter(a) if isinstance(a, np.ndarray) else a)
            y = data(UNARY[name](Value(v)))
            (g,) = tape.gradient(y * y, [v], 0)
            return constant(g * g)

    with Tape.recording(1) as tape:
        box = tape.parameter(x)
        v = tape.mark(box)
        y = data(UNARY[name](Value(v)))
        (g,) = tape.gradient(y * y, [v], 0)
        (second,) = tape.gradient(g * g, [box], None)
    np.testing.assert_allclose(second, differences(penalty, x), rtol=1e-5, atol=1e-7)


def test_convolution_and_its_adjoints_are_each_others_derivatives() -> None:
    x, w = RANDOM.standard_normal((2, 3, 5, 6)), RANDOM.standard_normal((4, 3, 2, 3))
    s, d = (2, 1), (1, 2)
    y = RANDOM.standard_normal(correlate(x, w, s, d).shape)
    close_to_differences(lambda a: correlate(a, w, s, d) ** 2, x)
    close_to_differences(lambda a: correlate(x, a, s, d) ** 2, w)
    close_to_differences(lambda a: spread(a, w, (5, 6), s, d) ** 2, y)
    close_to_differences(lambda a: spread(y, a, (5, 6), s, d) ** 2, w)
    close_to_differences(lambda a: kernel_of(a, y, (2, 3), s, d) ** 2, x)
    close_to_differences(lambda a: kernel_of(x, a, (2, 3), s, d) ** 2, y)
    assert np.sum(correlate(x, w, s, d) * y) == pytest.approx(np.sum(x * spread(y, w, (5, 6), s, d)), rel=1e-12)


KINKS = {
    "relu": (lambda x: primitives.relu(x), [0.0], [0.0]),
    "leaky_relu": (lambda x: primitives.leaky_relu(x, 0.2), [0.0], [0.2]),
    "abs": (lambda x: primitives.absolute(x), [0.0], [0.0]),
    "clamp": (lambda x: primitives.within(x, -1.0, 1.0), [-1.0, 1.0, 2.0], [1.0, 1.0, 0.0]),
    "Hardtanh": (lambda x: primitives.hardtanh(x, -1.0, 1.0), [-1.0, 0.5, 1.0], [0.0, 1.0, 0.0]),
    "max of equals": (lambda x: operators.maximum(x, np.array([0.3])), [0.3], [0.5]),
    "norm at 0": (lambda x: operators.norm(x, (0,)), [0.0, 0.0], [0.0, 0.0]),
    "std of equals": (lambda x: operators.std(x, (0,)), [0.7, 0.7], [0.0, 0.0]),
    "largest of equals": (lambda x: operators.largest(x, (0,)), [1.0, 1.0, 0.0], [0.5, 0.5, 0.0]),
    "elu": (lambda x: operators.elu(x, 0.5), [0.0], [0.5]),
}


@pytest.mark.parametrize("name", KINKS)
def test_derivative_at_a_kink_is_pytorchs(name: str) -> None:
    f, at, expected = KINKS[name]
    np.testing.assert_array_equal(derivative(f, np.array(at)), expected)


# --- layers against torch ---------------------------------------------------------------------------------------------

# ruff: noqa: E501 - rows of tables, and specs
LAYER_CASES: list[tuple[str, Any, tuple[int, ...]]] = [
    ("Conv1d(4, 3, stride=2, padding=1)", lambda: nn.Conv1d(2, 4, 3, stride=2, padding=1), (2, 7)),
    ("Conv2d(4, 3, padding=2, dilation=2, groups=2)", lambda: nn.Conv2d(2, 4, 3, padding=2, dilation=2, groups=2), (2, 6, 5)),
    ('Conv2d(4, [3, 2], padding="same", padding_mode="reflect", bias=False)', lambda: nn.Conv2d(2, 4, (3, 2), padding="same", padding_mode="reflect", bias=False), (2, 5, 6)),
    ('Conv2d(3, 3, padding=[1, 2], padding_mode="replicate")', lambda: nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode="replicate"), (2, 5, 6)),
    ('Conv2d(3, 3, padding=1, padding_mode="circular")', lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 5, 6)),
    ("Conv3d(3, 2, stride=2)", lambda: nn.Conv3d(2, 3, 2, stride=2), (2, 4, 4, 3)),
    ("ConvTranspose1d(3, 3, stride=2)", lambda: nn.ConvTranspose1d(2, 3, 3, stride=2), (2, 5)),
    ("ConvTranspose2d(4, 3, stride=2, padding=1, output_padding=1, groups=2)", lambda: nn.ConvTranspose2d(2, 4, 3, 2, 1, 1, groups=2), (2, 3, 4)),
    ("ConvTranspose2d(3, [2, 3], dilation=2)", lambda: nn.ConvTranspose2d(2, 3, (2, 3), dilation=2), (2, 3, 4)),
    ("ConvTranspose3d(3, 2)", lambda: nn.ConvTranspose3d(2, 3, 2), (2, 2, 3, 2)),
    ("Linear(4)", lambda: nn.Linear(3, 4), (3,)),
    ("Linear(4, bias=False)", lambda: nn.Linear(3, 4, bias=False), (5, 3)),
    ("BatchNorm1d()", lambda: nn.BatchNorm1d(3), (3,)),
    ("BatchNorm2d(momentum=0.3, affine=False)", lambda: nn.BatchNorm2d(2, momentum=0.3, affine=False), (2, 3, 4)),
    ("BatchNorm2d(track_running_stats=False)", lambda: nn.BatchNorm2d(2, track_running_stats=False), (2, 3, 4)),
    ("BatchNorm3d(eps=1e-3)", lambda: nn.BatchNorm3d(2, eps=1e-3), (2, 2, 3, 2)),
    ("InstanceNorm1d()", lambda: nn.InstanceNorm1d(2), (2, 5)),
    ("InstanceNorm2d(affine=True, track_running_stats=True)", lambda: nn.InstanceNorm2d(2, affine=True, track_running_stats=True), (2, 3, 4)),
    ("InstanceNorm3d()", lambda: nn.InstanceNorm3d(2), (2, 2, 3, 2)),
    ("GroupNorm(2)", lambda: nn.GroupNorm(2, 4), (4, 3, 3)),
    ("LayerNorm()", lambda: nn.LayerNorm((2, 3)), (2, 3)),
    ("ReLU()", nn.ReLU, (3,)),
    ("LeakyReLU(0.2)", lambda: nn.LeakyReLU(0.2), (3,)),
    ("PReLU()", nn.PReLU, (3,)),
    ("PReLU(2)", lambda: nn.PReLU(2), (2, 3, 3)),
    ("ELU(0.7)", lambda: nn.ELU(0.7), (3,)),
    ("SELU()", nn.SELU, (3,)),
    ("GELU()", nn.GELU, (3,)),
    ("SiLU()", nn.SiLU, (3,)),
    ("Mish()", nn.Mish, (3,)),
    ("Softplus()", nn.Softplus, (3,)),
    ("Tanh()", nn.Tanh, (3,)),
    ("Sigmoid()", nn.Sigmoid, (3,)),
    ("Hardtanh(-0.5, 0.7)", lambda: nn.Hardtanh(-0.5, 0.7), (3,)),
    ("Softmax(2)", lambda: nn.Softmax(2), (3, 4)),
    ("LogSoftmax(1)", lambda: nn.LogSoftmax(1), (3, 4)),
    ("AvgPool1d(2)", lambda: nn.AvgPool1d(2), (2, 6)),
    ("AvgPool2d(3, stride=2, padding=1)", lambda: nn.AvgPool2d(3, 2, 1), (2, 5, 6)),
    ("AvgPool2d(3, stride=2, padding=1, count_include_pad=False)", lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), (2, 5, 6)),
    ("AvgPool3d(2)", lambda: nn.AvgPool3d(2), (2, 4, 4, 4)),
    ("MaxPool1d(2)", lambda: nn.MaxPool1d(2), (2, 6)),
    ("MaxPool2d(3, stride=2, padding=1)", lambda: nn.MaxPool2d(3, 2, 1), (2, 5, 6)),
    ("MaxPool3d(2)", lambda: nn.MaxPool3d(2), (2, 4, 4, 4)),
    ("AdaptiveAvgPool1d(3)", lambda: nn.AdaptiveAvgPool1d(3), (2, 7)),
    ("AdaptiveAvgPool2d([2, 3])", lambda: nn.AdaptiveAvgPool2d((2, 3)), (2, 5, 7)),
    ("Upsample(2)", lambda: nn.Upsample(scale_factor=2), (2, 3, 4)),
    ('Upsample([2, 3], mode="bilinear")', lambda: nn.Upsample(scale_factor=(2, 3), mode="bilinear"), (2, 3, 4)),
    ("Flatten()", nn.Flatten, (2, 3)),
    ("PixelShuffle(2)", lambda: nn.PixelShuffle(2), (8, 3, 2)),
    ("ZeroPad2d([1, 0, -1, 2])", lambda: nn.ZeroPad2d((1, 0, -1, 2)), (2, 4, 3)),
    ("Identity()", nn.Identity, (3,)),
    ("GRU(3, layers=2, bidirectional=True)", lambda: First(nn.GRU(2, 3, 2, batch_first=True, bidirectional=True)), (4, 2)),
    ("LSTM(3)", lambda: First(nn.LSTM(2, 3, batch_first=True)), (4, 2)),
    ("SpectralNorm(Linear(4))", lambda: nn.Linear(3, 4), (3,)),
]  # fmt: skip
UNTRIED = {"Embedding", "Parameter", "Dropout", "Noise", "Filter2d", "MinibatchStd"}  # each has a test of its own below


class First(nn.Module):
    """The outputs of a recurrent layer, without its state."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return self.layer(x)[0]


def layer_spec(layer: str, shape: tuple[int, ...], kind: str = "tensor") -> str:
    """A network of one layer; losses of its output, and of the gradient by its input."""
    return f"""
gangraph: 1
name: layer
inputs: {{x: "{kind}({", ".join(map(str, shape))})"}}
networks:
  L:
  - {layer}
graph: {{y: L(x)}}
losses:
  value: expect(sum(y * y * y))
  slope: expect(sum(grad(sum(y * y), x)**2))
players: {{P: {{networks: [L], optimizer: SGD(lr=0.1)}}}}
schedule:
  first: {{player: P, minimize: value}}
  second: {{player: P, minimize: slope}}
train: {{batch: 3}}
"""


def test_every_layer_has_a_case() -> None:
    tried = {text.split("(")[0] for text, _, _ in LAYER_CASES}
    assert tried - {"SpectralNorm"} == set(LAYERS) - UNTRIED


@pytest.mark.parametrize(("text", "make", "shape"), [case for case in LAYER_CASES if "SpectralNorm" not in case[0]])
def test_layer_is_torchs(text: str, make: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    """Output, gradients by parameters, gradients of a penalty and what they reach, running statistics, evaluation."""
    torch.manual_seed(0)
    module = make().double()
    game = reference(tmp_path, layer_spec(text, shape))
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * torch.randn_like(p))
    game.parameters = {n: p.detach().numpy().copy() for n, p in zip(game.parameters, module.parameters(), strict=True)}
    x = torch.randn(3, *shape, dtype=torch.float64, requires_grad=True)
    batch = {"x": x.detach().numpy()}

    y = module(x)
    value = (y**3).flatten(1).sum(1).mean()
    losses = game.losses(batch)
    assert losses["value"] == pytest.approx(float(value.detach()), rel=1e-12)
    (g,) = torch.autograd.grad((y * y).sum(), x, create_graph=True)
    slope = (g * g).flatten(1).sum(1).mean()
    assert losses["slope"] == pytest.approx(float(slope.detach()), rel=1e-11)
    for phase, objective in (("first", value), ("second", slope)):
        names, parameters = list(game.parameters), list(module.parameters())
        theirs = torch.autograd.grad(objective, parameters, allow_unused=True, retain_graph=True) if parameters else ()
        ours = game.gradients(phase, batch)
        assert list(ours) == [n for n, t in zip(names, theirs, strict=True) if t is not None]
        for name, t in zip(names, theirs, strict=True):
            if t is not None:
                np.testing.assert_allclose(ours[name], t.numpy(), rtol=1e-9, atol=1e-11)

    buffers = {n: b for n, b in module.named_buffers() if b is not None}
    if buffers:
        module = make().double()
        module(x)
        module(x)
        game.step(batch)  # of two phases, each with a call
        for name, b in module.named_buffers():
            np.testing.assert_allclose(game.buffers[f"L.0.{name}"], b.numpy(), rtol=1e-12)


def test_second_derivative_reaches_what_torch_reaches(tmp_path: Path) -> None:
    """A penalty alone: the derivative of a layer does not read its bias, that of an activation reads its input."""
    cases = {
        "ReLU()": nn.ReLU(), "LeakyReLU(0.2)": nn.LeakyReLU(0.2), "Tanh()": nn.Tanh(), "ELU()": nn.ELU(),
        "Softplus()": nn.Softplus(), "SiLU()": nn.SiLU(), "GELU()": nn.GELU(), "Hardtanh()": nn.Hardtanh(),
        "Identity()": nn.Identity(), "Sigmoid()": nn.Sigmoid(), "SELU()": nn.SELU(), "Mish()": nn.Mish(),
        "LayerNorm()": nn.LayerNorm(4), "Softmax(1)": nn.Softmax(1), "PReLU()": nn.PReLU(),
    }  # fmt: skip
    for text, layer in cases.items():
        spec = layer_spec(f"Linear(4), {text}, Linear(1)", (3,)).replace("sum(y * y)", "sum(y)")
        game = reference(tmp_path, spec)
        module = nn.Sequential(nn.Linear(3, 4), layer, nn.Linear(4, 1)).double()
        x = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
        (g,) = torch.autograd.grad(module(x).sum(), x, create_graph=True)
        theirs = torch.autograd.grad((g * g).sum() + 0 * g.sum(), list(module.parameters()), allow_unused=True)
        for name, p in zip(game.parameters, module.parameters(), strict=True):
            game.parameters[name] = p.detach().numpy().copy()
        reached = [n for n, t in zip(game.parameters, theirs, strict=True) if t is not None]
        assert list(game.gradients("second", {"x": x.detach().numpy()})) == reached, text


def test_embedding_parameter_dropout_and_noise(tmp_path: Path) -> None:
    text = """
gangraph: 1
name: rest
inputs: {y: label(3), x: vector(2)}
networks:
  E: Embedding(3, 2)
  P: Parameter(2)
  D: [Dropout(0.25), Noise(0.5)]
losses:
  l: expect(sum(E(y) * P() + D(x)))
players: {A: {networks: [E, P], optimizer: SGD(lr=1)}}
schedule: {A: l}
train: {batch: 2}
""".replace("Embedding(3, 2)", '"Embedding(3, 2)"')
    game = reference(tmp_path, text)
    game.parameters = {"E.weight": np.arange(6.0).reshape(3, 2), "P.weight": np.array([2.0, -1.0])}
    batch = {"y": np.array([2, 0]), "x": np.array([[1.0, 2.0], [3.0, 4.0]])}
    draws = {"l/D.0": np.array([[1.0, 0.0], [1.0, 1.0]]), "l/D.1": np.array([[1.0, 1.0], [0.0, 2.0]])}
    rows = [4 * 2 - 5 + (1 / 0.75 + 0.5 + 0.5), 0 * 2 - 1 + (3 / 0.75 + 4 / 0.75 + 1.0)]
    assert game.losses(batch, draws)["l"] == pytest.approx(np.mean(rows))
    gradients = game.gradients("A", batch, draws)
    np.testing.assert_allclose(gradients["E.weight"], np.array([[2, -1], [0, 0], [2, -1]]) / 2)
    np.testing.assert_allclose(gradients["P.weight"], [(4 + 0) / 2, (5 + 1) / 2])


def test_filter2d_is_a_depthwise_convolution(tmp_path: Path) -> None:
    game = reference(
        tmp_path,
        layer_spec("Filter2d([[1, 2], [3, 4]], up=2, down=1, pad=[1, 0, 0, 1], scale=0.5)", (2, 3, 3), "image"),
    )
    x = RANDOM.standard_normal((3, 2, 3, 3))
    wide = torch.zeros(3, 2, 6, 6, dtype=torch.float64)
    wide[:, :, ::2, ::2] = torch.from_numpy(x)
    kernel = torch.tensor([[0.5, 1.0], [1.5, 2.0]], dtype=torch.float64).expand(2, 1, 2, 2)
    y = nn.functional.conv2d(nn.functional.pad(wide, (1, 0, 0, 1)), kernel, groups=2)
    assert game.losses({"x": x})["value"] == pytest.approx(float((y**3).flatten(1).sum(1).mean()), rel=1e-12)


def test_minibatch_std_of_equal_samples_is_the_root_of_its_epsilon(tmp_path: Path) -> None:
    game = reference(tmp_path, layer_spec("MinibatchStd(3)", (2, 2, 2), "image"))
    x = np.repeat(RANDOM.standard_normal((1, 2, 2, 2)), 3, axis=0)
    assert game.losses({"x": x})["value"] == pytest.approx(np.sum(x[0] ** 3) + 4 * 1e-12, rel=1e-12)
    x = np.array([0.0, 1.0, 5.0]).reshape(3, 1, 1, 1) * np.ones((1, 2, 2, 2))
    deviation = math.sqrt(np.var([0.0, 1.0, 5.0]) + 1e-8)
    assert game.losses({"x": x})["value"] == pytest.approx(np.mean([8 * v**3 + 4 * deviation**3 for v in (0, 1, 5)]))


def test_spectral_norm_settles_at_the_largest_singular_value(tmp_path: Path) -> None:
    game = reference(tmp_path, layer_spec("SpectralNorm(Linear(4, bias=False))", (3,)).replace("lr=0.1", "lr=0"))
    w = RANDOM.standard_normal((4, 3))
    game.parameters = {"L.0.weight": w}
    x = RANDOM.standard_normal((3, 3))
    for _ in range(200):  # a rate of 0: only u moves
        game.step({"x": x})
    sigma = np.linalg.svd(w, compute_uv=False)[0]
    y = x @ w.T / sigma
    assert game.losses({"x": x})["value"] == pytest.approx(np.mean(np.sum(y**3, axis=1)), rel=1e-9)
    np.testing.assert_allclose(abs(game.buffers["L.0.u"] @ np.linalg.svd(w)[0][:, 0]), 1, rtol=1e-9)


# --- optimizers against torch -----------------------------------------------------------------------------------------

STEPS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.99), "weight_decay": 0.01}),
    ("Adam", {"lr": 0.1, "betas": (0.0, 0.9), "amsgrad": True}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
    ("RMSprop", {"lr": 0.1}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.9, "momentum": 0.5, "centered": True, "weight_decay": 0.01}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.2}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.01}),
    ("Adamax", {"lr": 0.1, "weight_decay": 0.01}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.01, "momentum_decay": 0.01}),
    ("RAdam", {"lr": 0.1, "betas": (0.9, 0.9), "weight_decay": 0.01}),
]


@pytest.mark.parametrize(("name", "arguments"), STEPS)
def test_optimizer_is_torchs(name: str, arguments: dict[str, Any]) -> None:
    generator = np.random.default_rng(3)
    ours, kept = generator.standard_normal((4, 3)), {}
    theirs = nn.Parameter(torch.from_numpy(ours.copy()))
    optimizer = getattr(torch.optim, name)([theirs], **arguments)
    for _ in range(12):
        g = generator.standard_normal((4, 3)) * generator.uniform(0, 2)
        theirs.grad = torch.from_numpy(g.copy())
        optimizer.step()
        ours = OPTIMIZERS[name](kept, ours, g, **arguments)
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-11, atol=1e-13)


# --- closed forms (shared/systems/loss-families.md) -------------------------------------------------------------------

R, F = np.array([2.0, -1.0, 0.5]), np.array([-0.5, 1.0, 3.0])
VECTOR = {  # section 5: L_D, L_G
    "minimax(real=r, fake=f)": (2.250064, -1.611975),
    "non_saturating(real=r, fake=f)": (2.250064, 0.445309),
    "wasserstein(real=r, fake=f)": (0.666667, -1.166667),
    "hinge(real=r, fake=f)": (3.000000, -1.166667),
    "least_squares(real=r, fake=f, a=-1, b=1, c=0)": (4.250000, 1.708333),
    "least_squares(real=r, fake=f, a=0, b=1, c=1)": (2.583333, 1.041667),
    "fgan_kl(real=r, fake=f)": (2.370729, -2.870729),
    "fgan_reverse_kl(real=r, fake=f)": (1.320049, -0.166667),
    "fgan_pearson(real=r, fake=f)": (1.520833, -2.020833),
    "fgan_neyman(real=r, fake=f)": (0.744258, -0.590876),
    "fgan_hellinger(real=r, fake=f)": (6.956832, -6.803450),
    "fgan_jensen_shannon(real=r, fake=f)": (0.863770, -0.918828),
    "fgan_gan(real=r, fake=f)": (2.250064, -1.611975),
    "fgan_total_variation(real=r, fake=f)": (0.104997, -0.215755),
}  # fmt: skip
FAMILIES = {text.split("(")[0] + ("" if "a=0" not in text else "_01"): text for text in VECTOR}
SCORES = (
    """
gangraph: 1
name: scores
inputs: {A: {r: "tensor()"}, B: {f: "tensor()"}}
networks: {shift: Parameter()}
losses:
"""
    + "".join(f"  its_{name}: {text}\n" for name, text in FAMILIES.items())
    + """\
  joint: joint_non_saturating(real=r, fake=f)
  moved: hinge(real=r + shift(), fake=f + shift())
  moved_w: wasserstein(real=r + shift(), fake=f + shift())
  slope_r: expect(sum(grad(moved.discriminator, r)))
players: {P: {networks: [shift], optimizer: SGD(lr=1)}}
schedule:
  D: {player: P, minimize: moved.discriminator}
  W: {player: P, minimize: moved_w.discriminator}
  G: {player: P, minimize: moved.generator}
train: {batch: 3}
"""
)


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Any:
    game = reference(tmp_path_factory.mktemp("scores"), SCORES)

    def evaluate(r: Any, f: Any, shift: float = 0.0) -> dict[str, float]:
        game.parameters["shift.weight"] = np.array(shift)
        return game.losses({"r": np.asarray(r, float), "f": np.asarray(f, float)})

    evaluate.game = game  # type: ignore[attr-defined]
    return evaluate


def sides(found: dict[str, float], name: str) -> tuple[float, float]:
    return found[f"its_{name}.discriminator"], found[f"its_{name}.generator"]


@pytest.mark.parametrize("name", FAMILIES)
def test_family_gives_the_test_vector_of_the_sheet(name: str, scores: Any) -> None:
    assert sides(scores(R, F), name) == pytest.approx(VECTOR[FAMILIES[name]], abs=5e-7)


def test_scores_of_zero_give_the_scalar_facts(scores: Any) -> None:
    found = scores(np.zeros(3), np.zeros(3))
    two = 2 * math.log(2)
    expected = {
        "minimax": (two, -math.log(2)), "non_saturating": (two, math.log(2)), "wasserstein": (0, 0), "hinge": (2, 0),
        "least_squares": (1, 0), "least_squares_01": (0.5, 0.5),
    }  # fmt: skip
    for name, values in expected.items():
        assert sides(found, name) == pytest.approx(values, abs=1e-12)
    assert found["joint.discriminator"] == pytest.approx(two)


def test_identities_of_the_families(scores: Any) -> None:
    """Section 9: zero sum, swap symmetry, shift, softplus, and the cross identities of section 5."""
    generator, moved = np.random.default_rng(4), []
    for _ in range(5):
        r, f = 2 * generator.standard_normal(4), 2 * generator.standard_normal(4)
        found, swapped = scores(r, f), scores(-f, -r)
        fake_half = found["its_minimax.discriminator"] - float(np.mean(np.logaddexp(0, -r)))
        assert found["its_minimax.generator"] == pytest.approx(-fake_half)
        assert found["its_wasserstein.generator"] == pytest.approx(
            -(found["its_wasserstein.discriminator"] + float(np.mean(r)))
        )
        for name in ("minimax", "hinge", "wasserstein", "least_squares"):
            assert found[f"its_{name}.discriminator"] == pytest.approx(swapped[f"its_{name}.discriminator"], abs=1e-12)
        assert found["its_non_saturating.generator"] - found["its_minimax.generator"] >= 2 * math.log(2) - 1e-12
        assert sides(found, "fgan_gan") == pytest.approx(sides(found, "minimax"), rel=1e-14)
        js = sides(found, "fgan_jensen_shannon")
        assert js[0] == pytest.approx(found["its_minimax.discriminator"] - math.log(4))
        assert js[1] == pytest.approx(found["its_minimax.generator"] + math.log(2))
        shifted = scores(r, f, 0.7)
        assert shifted["moved_w.discriminator"] == pytest.approx(found["moved_w.discriminator"])
        moved.append(abs(shifted["moved.discriminator"] - found["moved.discriminator"]))
    assert max(moved) > 1e-3


def test_hinge_beyond_its_margins_is_zero_with_zero_gradient(scores: Any) -> None:
    game, batch = scores.game, {"r": np.array([1.0, 2.5, 1.0]), "f": np.array([-1.0, -3.0, -1.0])}
    game.parameters["shift.weight"] = np.array(0.0)
    assert game.losses(batch)["moved.discriminator"] == 0
    assert game.gradients("D", batch)["shift.weight"] == 0
    assert game.gradients("G", batch)["shift.weight"] == -1
    assert game.gradients("W", batch)["shift.weight"] == 0


def test_optimal_discriminators_reach_their_divergences(scores: Any) -> None:
    """Section 9.7, p and q as ten samples each; section 2 for the values at the optimum."""
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
    at = [np.repeat(np.arange(3), np.round(10 * w).astype(int)) for w in (p, q)]

    def best(score: Any) -> dict[str, float]:
        return scores(score[at[0]], score[at[1]])  # type: ignore[no-any-return]

    found = best(np.log(p / q))
    assert found["its_minimax.discriminator"] == pytest.approx(1.2051627, abs=1e-7)
    assert found["its_minimax.discriminator"] == pytest.approx(math.log(4) - 2 * 0.0905658, abs=1e-6)
    assert best(np.sign(p - q))["its_hinge.discriminator"] == pytest.approx(1.2)
    assert best((p - q) / (p + q))["its_least_squares.discriminator"] == pytest.approx(0.8257143, abs=1e-7)
    assert best(p / (p + q))["its_least_squares_01.discriminator"] == pytest.approx(0.2064286, abs=1e-7)
    kl = float(np.sum(p * np.log(p / q)))
    assert best(1 + np.log(p / q))["its_fgan_kl.discriminator"] == pytest.approx(-kl)
    assert best(2 * (p / q - 1))["its_fgan_pearson.discriminator"] == pytest.approx(-float(np.sum((p - q) ** 2 / q)))


def test_wasserstein_critic_in_one_dimension_reaches_the_distance(scores: Any) -> None:
    generator = np.random.default_rng(5)
    x, y = generator.standard_normal(30), 0.5 * generator.standard_normal(30) + 1
    points = np.sort(np.concatenate([x, y]))
    below = np.array([np.mean(y <= t) - np.mean(x <= t) for t in points[:-1]])  # the optimal slope is its sign
    potential = np.concatenate([[0.0], np.cumsum(np.sign(below) * np.diff(points))])
    found = scores(potential[np.searchsorted(points, x)], potential[np.searchsorted(points, y)])
    assert abs(found["its_wasserstein.discriminator"]) == pytest.approx(wasserstein_distance(x, y))


def test_penalties_of_a_linear_critic_are_those_of_its_norm(tmp_path: Path) -> None:
    text = """
gangraph: 1
name: linear
inputs: {x: vector(3), fake: vector(3)}
draws: {eps: uniform()}
networks: {D: Linear(1)}
graph: {between: "lerp(fake, x, eps)", d: D(x)}
losses:
  gp: expect((norm(grad(D(between), between)) - 1)**2)
  one: expect(max(0, norm(grad(D(between), between)) - 1)**2)
  r1: 0.5 * expect(sum(grad(d, x)**2))
  kl: expect(kl_normal(x, fake))
players: {P: {networks: [D], optimizer: SGD(lr=1)}}
schedule: {P: gp}
train: {batch: 4}
"""
    game = reference(tmp_path, text)
    game.parameters = {"D.weight": np.array([[2.0, -1.0, 2.0]]), "D.bias": np.array([5.0])}
    batch = {"x": RANDOM.standard_normal((4, 3)), "fake": RANDOM.standard_normal((4, 3))}
    draws = {"eps": RANDOM.uniform(size=4)}
    found = game.losses(batch, draws)
    assert (found["gp"], found["one"], found["r1"]) == pytest.approx((4.0, 4.0, 4.5))
    mu, lv = batch["x"], batch["fake"]
    assert found["kl"] == pytest.approx(np.mean(np.sum(0.5 * (mu**2 + np.exp(lv) - 1 - lv), axis=1)))
    gradient = game.gradients("P", batch, draws)  # 2 (|w| - 1) w / |w|; the bias is not reached
    assert list(gradient) == ["D.weight"]
    np.testing.assert_allclose(gradient["D.weight"], 4 / 3 * np.array([[2.0, -1.0, 2.0]]))
    with_zero = game.parameters | {"D.weight": np.zeros((1, 3))}
    game.parameters = with_zero
    np.testing.assert_array_equal(game.gradients("P", batch, draws)["D.weight"], np.zeros((1, 3)))


# --- the compiled program against the reference -----------------------------------------------------------------------

LESS = {  # of the systems that take long, with all of their structure
    "wgan-gp": {"sizes": {"width": 1, "Z": 4}, "constants": {"n_critic": 2}},
    "vae-gan": {"sizes": {"width": 2, "Z": 4}},
    "dcgan": {"sizes": {"width": 2}},
    "cyclegan": {"sizes": {"width": 4, "blocks": 1}},
    "bicyclegan": {"sizes": {"width": 2}},
    "unit": {"sizes": {"width": 2}},
    "stargan-v2": {"sizes": {"width": 4, "most": 8}},
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_program_of_the_gallery_agrees(name: str) -> None:
    """Losses, gradients, two iterations and the emitted file; stylegan in every stage."""
    report = verify(name, cases=1, tiny=True, batch_size=2 if name != "bicyclegan" else 4, **LESS.get(name, {}))
    assert report.good, str(report)
    assert all(row.cases for row in report.rows.values())


@pytest.mark.parametrize("name", SYSTEMS)
def test_names_and_order_of_parameters_are_the_compilers(name: str) -> None:
    spec = load(name, tiny=True)
    expansion = Reference(spec).expansion
    for graph in spec.graphs:
        for network, found in graph.networks.items():
            ours = expansion.networks[network].parameters
            assert [(n, shape) for n, (shape, _) in ours.items()] == list(found.parameters()), network


# --- semantics: small specs of one idea each --------------------------------------------------------------------------

IDEAS: dict[str, str] = {}
# groups, conditions, repeats, accumulation, rules, states, an average
IDEAS["groups"] = """
gangraph: 1
name: groups
sizes: {X: 3, Z: 2}
constants: {c: 0.3, w: "max(0, 1 - step / 4)"}
inputs: {x: vector(X)}
draws:
  z: normal(Z)
networks:
  G: mlp([4, X])
  D:
  - Dropout(0.3), Linear(5), LeakyReLU(0.2), BatchNorm1d(), Dropout(0.5), Linear(1)
  C: mlp([4, 1], act=Tanh())
graph:
  fake: G(z)
losses:
  adv: hinge(real=D(x), fake=D(fake))
  con: wasserstein(real=C(x), fake=C(fake))
  gap: abs(adv.discriminator - 1)
  gapg: abs(adv.generator - 1)
  rec: expect(l2(fake, x))
players:
  D: {networks: [D], optimizer: "RMSprop(lr=1e-2, momentum=0.9, centered=True)", gradient: clip_norm(0.05)}
  C:
    networks: [C]
    optimizer: SGD(lr=0.1, momentum=0.9, nesterov=True)
    after: clamp(p, -c, c)
    gradient: clip_value(0.02)
  G: {networks: [G], optimizer: "NAdam(lr=1e-2 * w)"}
schedule:
  burst:
    repeat: 3 if step < 1 else 2
    moves:
      both:
        batch: fresh
        together:
          D: adv.discriminator
          C: {minimize: con.discriminator, when: "adv.discriminator > 1"}
          again: {player: D, minimize: adv.discriminator + rec}
  G:
    minimize: adv.generator + w * con.generator + 0 * rec + k * gapg + n * 0.01 * sum(m * m) * gapg
    when: adv.discriminator < 100
  more: {player: G, minimize: rec, accumulate: 3}
state:
  k: {start: 0.5, becomes: "clamp(k + 0.1 * (gap - rec), 0, 1)", in: [G]}
  n: {start: 0, becomes: n + 1}
  m: {start: "zeros(X)", becomes: "lerp(m, expect(fake), 0.1)", in: [D, more]}
averages:
  G_ema: average(G, decay=0.9)
train: {batch: 4}
"""
# optimizers and rules of parts of networks: of two forms, the one that is meant for fewer parameters
IDEAS["parts"] = """
gangraph: 1
name: parts
inputs: {x: vector(6)}
draws: {z: normal(4)}
networks:
  parts: Linear(3)
  G: [Linear(5), Tanh(), {out: Linear(6)}]
  D:
  - Linear(7), LeakyReLU(0.2)
  - body: [Linear(5), Tanh(), Linear(5)]
  - head: Linear(1)
graph: {fake: G(z)}
losses:
  adv: hinge(real=D(x), fake=D(fake))
players:
  D:
    networks: [D, parts]
    optimizer: Adam(lr=1e-2)
    optimizer.D.head: SGD(lr=0.1)
    gradient: clip_norm(0.2)
    gradient.D.body: clip_value(0.01)
    after: p * 0.99
    after.D.body.0: clamp(p, -0.1, 0.1)
    before.D.head.bias: p + 1
    after.D.body: 0.9 * p
  G: {networks: [G], optimizer: Adam(lr=1e-2), optimizer.G.out: "RMSprop(lr=1e-3)"}
schedule:
  D: adv.discriminator + expect(mean(parts(x)**2))
  G: adv.generator
train: {batch: 4}
"""
# every kind of draw, layers' draws in values, losses and objectives, a once value
IDEAS["draws"] = """
gangraph: 1
name: draws
sizes: {X: 3, Z: 2}
inputs: {x: vector(X)}
draws:
  z: normal(Z)
  b: bernoulli(0.5, X)
  s: uniform(shared=True)
  p: permutation()
  q: permutation(3)
  i: integer(0, 3)
  z2: normal(Z, samples=2 * N)
networks:
  shared:
  - Linear(4), Noise(0.3), Dropout(0.2)
  sq:
  - Linear(4), Noise(0.3), Dropout(0.2)
  G: [shared, ReLU(), Dropout(0.5), "Linear(X)"]
  H: [shared, sq, sq, "Linear(X)"]
  D: [Dropout(0.4), "Linear(4)", Noise(0.1), "Linear(1)"]
graph:
  fake: G(z)
  twice: G(z) + G(z)
  big: G(z2)
  ev: G(z) + evaluation(G)(z)
  hh: H(z) + H(z)
  mix: take(x, p) * b + take(fake, q, dim=1) * s
  picked: select([fake, twice, x], i)
once: [twice]
losses:
  adv: non_saturating(real=D(x), fake=D(fake), shown=D(big))
  two:
    discriminator: expect(mean(softplus(D(fake)))) + expect(mean(softplus(-D(x))))
    generator: expect(mean(softplus(-D(fake)))) + expect(l1(G(z), G(z)))
  rest: expect(mean(mix * mix)) + expect(mean(picked**2)) + expect(l2(ev, hh)) + expect(l1(twice, x))
players:
  D: {networks: [D], optimizer: "Adam(lr=1e-2)"}
  G: {networks: [G, H], optimizer: "Adam(lr=1e-2)"}
schedule:
  D: {minimize: adv.discriminator + two.discriminator, repeat: 2, batch: fresh}
  first: {player: G, minimize: adv.generator + two.generator + expect(mean(D(fake)))}
  second: {player: G, networks: [H], minimize: "expect(l2(ev, hh)) + expect(mean(H(z)**2))"}
  third: {player: G, minimize: rest}
train: {batch: 4}
"""
# views, labels, frozen parts, modes, statistics of their own
IDEAS["views"] = """
gangraph: 1
name: views
sizes: {X: 3, Z: 2}
inputs: {x: vector(X)}
draws: {z: normal(Z)}
networks:
  B: [Linear(4), BatchNorm1d()]
  G: [B, ReLU(), "Linear(X)", BatchNorm1d()]
  D:
  - first: Linear(5)
  - BatchNorm1d(), LeakyReLU(0.2)
  - tail:
    - Linear(4), BatchNorm1d(), ReLU()
    - Linear(1)
  T: {is: [Linear(4), BatchNorm1d(), Tanh()], frozen: true}
  U: {is: [Linear(4), BatchNorm1d(), Tanh()], frozen: true, mode: train}
graph:
  fake: G(z)
  other: statistics(G, "other")(z)
  quiet: still(G)(z)
  cold: evaluation(G)(z)
  f: upto(D, "first")(fake)
  t: upto(D, "tail")(fake)
  fr: frozen(D)(fake)
  both: still(frozen(D))(x)
  same: statistics(evaluation(G), "other")(z)
  p: T(fake) + U(x)
losses:
  a: expect(mean(f**2)) + expect(mean(t)) + expect(mean(fr**2))
  b: expect(l2(other, quiet)) + expect(l2(cold, same)) + expect(mean(both)) + expect(mean(p**2))
  c: expect(mean(softplus(D(x)))) + expect(mean(softplus(-D(fake))))
players:
  D: {networks: [D], optimizer: "AdamW(lr=1e-2, amsgrad=True)"}
  G: {networks: [G], optimizer: "RAdam(lr=1e-2)"}
schedule:
  D: c + a
  G: a + b
  only: {player: D, minimize: expect(mean(fr**2)) + 0.1 * c}
averages:
  G_ema: average(G, decay=0.5)
sample: {images: "G_ema(z)"}
train: {batch: 4}
"""
# derivatives inside derivatives, by values, draws and parameters; wrappers
IDEAS["second"] = """
gangraph: 1
name: second
sizes: {X: 3, Z: 2}
inputs: {x: vector(X)}
draws: {z: normal(Z), e: uniform()}
networks:
  G: mlp([4, X])
  D: [Linear(6), LeakyReLU(0.2), "Linear(6)", Tanh(), "Linear(1)"]
  S: [SpectralNorm(Linear(4)), ReLU(), "SpectralNorm(Linear(1))"]
  W: ["WeightNorm(Linear(5))", ELU(), LayerNorm(), "Equalized(Linear(1), lr_mul=0.5)"]
graph:
  fake: G(z)
  mid: lerp(x, fake, e)
  d: D(mid)
  g: grad(d, mid)
  alias: mid
  h: D(alias)
  gg: grad(sum(g**2), mid)
  gz: grad(fake, z)
losses:
  adv: wasserstein(real=D(x), fake=D(fake))
  gp: expect((norm(g) - 1)**2)
  third: expect(sum(gg**2))
  ali: expect(sum(grad(h, alias)**2))
  jac: expect(sum(gz**2))
  sn: expect(mean(S(x)**2)) + expect(sum(grad(S(mid), mid)**2))
  wn: expect(mean(W(x)**2)) + expect(sum(grad(W(mid), mid)**2))
  par: sum(grad(adv.discriminator, parameter("D.2.weight"))**2)
  pen: expect(sum(grad(D(mid), mid)**2))
players:
  D: {networks: [D, S, W], optimizer: "Adam(lr=1e-3)"}
  G: {networks: [G], optimizer: "Adamax(lr=1e-3)"}
schedule:
  D: adv.discriminator + gp + third + ali + sn + wn + par
  pure: {player: D, minimize: pen}
  G: adv.generator + 0.1 * jac + gp
train: {batch: 4}
"""
# a once value that three phases train through or read, a pool
IDEAS["once"] = """
gangraph: 1
name: once
sizes: {C: 1, H: 8, W: 8}
inputs: {x: "image(C, H, W)"}
networks:
  E: ["Conv2d(4, 3, stride=2, padding=1)", BatchNorm2d(), ReLU()]
  G: ["ConvTranspose2d(C, 4, stride=2, padding=1)", Tanh()]
  D: ["Conv2d(4, 4, stride=2, padding=1)", LeakyReLU(0.2), Flatten(), "Linear(1)"]
graph:
  h: E(x)
  rec: G(h)
  old: replay(rec, 6, swap=0.5)
  d: D(rec)
once: [rec]
losses:
  adv: lsgan(real=D(x), fake=d, shown=D(old))
  l: expect(l1(rec, x))
  q: expect(mean(h**2))
players:
  D: {networks: [D], optimizer: "SGD(lr=0.1)"}
  G: {networks: [G], optimizer: "Adagrad(lr=0.1, lr_decay=0.1)"}
  E: {networks: [E], optimizer: "Adadelta(lr=0.5)"}
schedule:
  G: adv.generator + l
  E: q
  D: adv.discriminator
train: {batch: 4}
"""
# most layers, in one spec
IDEAS["layers"] = """
gangraph: 1
name: layers
inputs: {x: "image(4, 8, 8)", s: "tensor(5, 3)", y: label(3), c: "tensor(4, 9)"}
networks:
  A:
  - Conv2d(6, 3, padding="same", groups=2, padding_mode="circular"), InstanceNorm2d(affine=True, track_running_stats=True), PReLU(6)
  - Conv2d(8, 3, stride=2, dilation=2, padding=3, padding_mode="replicate"), GroupNorm(2), SiLU(), MaxPool2d(3, stride=1, padding=1)
  - PixelShuffle(2), ConvTranspose2d(4, 3, stride=2, padding=1, output_padding=1, groups=2, dilation=1), Mish()
  - Filter2d([[1, 2, 1], [2, 4, 2], [1, 2, 1]], scale=1 / 16), AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
  - Upsample(2, mode="bilinear"), SELU(), AdaptiveAvgPool2d(3), MinibatchStd(2), ZeroPad2d([1, 0, -1, 1]), Hardtanh(-0.5, 0.7)
  - Flatten(), LayerNorm(), GELU(), Linear(3), LogSoftmax(1)
  R: ["GRU(3, layers=2, bidirectional=True)", "LSTM(2)", Flatten(), "Linear(2)"]
  M: ["Embedding(3, 4)", "Linear(3)", Softplus()]
  V: ["Conv1d(5, 3, stride=2, padding=1)", BatchNorm1d(), Sigmoid(), MaxPool1d(2), "ConvTranspose1d(3, 2)", AvgPool1d(2), Flatten(), Softmax(1)]
  K: ["WeightNorm(SpectralNorm(Conv2d(3, 3, padding=1)))", "SpectralNorm(Equalized(ConvTranspose2d(2, 3, stride=2)))", Identity(), ELU(0.7)]
graph:
  a: A(x)
  k: K(x)
losses:
  l: expect(cross_entropy(a, y)) + expect(mean(R(s)**2)) + expect(mean(M(y))) + expect(sum(V(c)**2)) + expect(mean(k**2))
  pen: expect(sum(grad(sum(k), x)**2))
players:
  P: {networks: [A, R, M, V, K], optimizer: "Adam(lr=1e-3)"}
schedule:
  P: l
  Q: {player: P, networks: [K], minimize: pen}
train: {batch: 4}
"""
# terms that are not there, sides of lerp, constants that clocks read
IDEAS["drop"] = """
gangraph: 1
name: drop
sizes: {X: 3}
constants: {off: 0, on: 1, half: "0.5 * off", ramp: "0 * step"}
inputs: {x: vector(X)}
draws: {z: normal(2)}
networks:
  G: mlp([4, X])
  D: [Linear(4), BatchNorm1d(), ReLU(), "Linear(1)"]
  E: [Linear(4), BatchNorm1d(), "Linear(1)"]
graph:
  fake: G(z)
  v: lerp(E(x), D(x), on)
  w: lerp(E(fake), D(fake), off)
  u: 0 * E(x) + D(x)
functions:
  f(a, b, t=0): expect(mean(a**2)) + t * expect(mean(b))
losses:
  l: f(D(x), E(x)) + off * expect(mean(E(x))) + half * f(E(x), E(x))
  m: f(v, w, t=1) + expect(off * mean(E(x)) + mean(D(x)))
  r: expect(mean(u**2)) + ramp * expect(mean(E(x)))
players:
  D: {networks: [D], optimizer: "Adam(lr=1e-2, weight_decay=0.1)"}
  E: {networks: [E], optimizer: "Adam(lr=1e-2, weight_decay=0.1)"}
  G: {networks: [G], optimizer: "Adam(lr=1e-2, weight_decay=0.1)"}
schedule:
  D: l
  E: m + expect(mean(E(x)))
  both: {player: D, networks: [D], minimize: off * l + r}
  third: {player: E, minimize: r}
  G: off * l + m
train: {batch: 4}
"""
# values that all samples share where each mostly has its own; joined numbers of two kinds; one wrapper in another
IDEAS["shared"] = """
gangraph: 1
name: shared
inputs: {x: vector(4), m: "image(3, 4, 5)", y: label(4)}
draws: {k: "integer(0, 2, shared=True)", l: "integer(0, 4, 5, shared=True)"}
networks:
  D: "SpectralNorm(SpectralNorm(Linear(4)), eps=0.1)"
  E: {inputs: [x], graph: {named_modules: "WeightNorm(WeightNorm(Linear(4)))(x)"}, output: named_modules}
  C: "Conv2d(4, 1)"
graph:
  d: D(x)
  usual: expect(d)
  flat: reshape(expect(C(m)), 4, 20)[:, :, 0:5]
  both: stack([y, d[:, 0]])
  joined: batch_concat([argmax(d), y])
losses:
  a: cross_entropy(usual, 1) + expect(cross_entropy(usual, y)) + mean(cross_entropy(flat, 2) + cross_entropy(flat, l))
  b: mean(flat * one_hot(l, 4)) + expect(mean(select([d, E(x)], k))) + mean(select([usual, 2 * usual], k))
  f: expect(mean(select(reshape(E(x), 2, 2), k)**2))
  c: expect(mean(both)) + expect(sum(one_hot(joined, 4) * batch_concat([d, 2 * d])))
  e: expect(mean(batch_concat([y, d[:, 1]])))
players:
  P: {networks: [D, E, C], optimizer: "SGD(lr=0.1)"}
schedule:
  P: a + b + c + e + f
train: {batch: 4}
"""
# slices of samples that begin or end behind, or beyond, the batch
IDEAS["slices"] = """
gangraph: 1
name: slices
inputs: {x: vector(4)}
networks:
  D: [Linear(4), Dropout(0.5)]
graph:
  many: "x[0:9]"
  some: "x[0:-1]"
  last: "x[-2:]"
  inner: "batch_concat([x, x])[-5:-1]"
losses:
  a: expect(mean(reshape(D(many), 2, 2))) * many.shape[0] + expect(mean(reshape(D(some), 2, 2))) * some.shape[0]
  b: expect(mean(reshape(D(last), 2, 2))) * last.shape[0] + expect(mean(reshape(D(inner), 2, 2))) * inner.shape[0]
players:
  P: {networks: [D], optimizer: "SGD(lr=0.1)"}
schedule:
  P: a + b
train: {batch: 4}
"""
# blocks outside of networks, which are one class with other numbers
IDEAS["in place"] = """
gangraph: 1
name: places
inputs: {m: "image(3, 8, 8)"}
blocks:
  down(k): {inputs: [v, w], graph: {a: AvgPool2d(k)(v)}, output: a * 2 + w}
networks:
  C: "Conv2d(3, 1)"
graph:
  c: C(m)
  a: down(2)(c, 1)
  b: down(4)(c, 1)
losses:
  l: expect(mean(a)) + expect(mean(b**2))
players:
  P: {networks: [C], optimizer: "SGD(lr=0.1)"}
schedule:
  P: l
train: {batch: 4}
"""
# comparisons and labels where operators want real numbers
IDEAS["counted"] = """
gangraph: 1
name: counted
constants: {µ: 0.5}
inputs: {x: vector(4), m: "image(3, 4, 4)", y: label(4)}
networks:
  D: "Linear(4)"
  C: "Conv2d(3, 1)"
graph:
  d: D(x)
  c: C(m)
  up: d > x
  high: c > m
  w: add([relu(up), abs(up), exp(-up), leaky_relu(up), softmax(up, 1), log_softmax(up, 1), lerp(d, x, up)])
  maps: resize(high, 5, 5)[:, :, 0:4, 0:4] + pad(high, [1, 1, 1, 1], mode="reflect")[:, :, 1:5, 1:5] + tile(up[:, 0:3], m)
losses:
  a: µ * expect(mean(w * d)) + expect(mean(matmul(up, ones(4, 2)))) * expect(mean(d)) + expect(argmax(up) * mean(d))
  b: expect(mean(maps * c)) + expect(mean(convolve(high, ones(2, 3, 3, 3)))) * expect(mean(c))
  e: expect(sigmoid(y) * mean(d)) + expect(select([y, argmax(d)], argmax(d[:, 0:2])) * mean(d))
players:
  P: {networks: [D, C], optimizer: "SGD(lr=0.1)"}
schedule:
  P: a + b + e
train: {batch: 4}
"""
# stages with formulas, values, draws and views of their own, and one that shows and measures more
IDEAS["own words"] = """
gangraph: 1
name: words
sizes: {X: 3}
inputs: {x: vector(X)}
draws: {z: normal(2)}
functions: {"far(a)": a**2}
networks:
  several:
    inputs: [w]
    output: concat(w[0], w[1] * w[2])
  G: mlp([4, X])
  D: mlp([4, 1])
graph: {fake: G(z)}
losses:
  adv: wasserstein(real=D(x), fake=D(fake))
  near: expect(sum(far(fake - x)))
players:
  D: {networks: [D], optimizer: "SGD(lr=0.1)"}
  G: {networks: [G, several], optimizer: "SGD(lr=0.1)"}
schedule:
  D: adv.discriminator
  G: adv.generator + near + expect(mean(several(copies(fake, 3))))
sample: {points: fake}
stages:
  one: {iterations: 2}
  two:
    iterations: 2
    functions: {"far(a)": abs(a)}
    families: {"wasserstein(real, fake)": {discriminator: expect(mean(fake**2 - real)), generator: -expect(mean(fake))}}
    draws: {z2: normal(2)}
    graph: {"other[i]": "fake if i == 0 else G(z2)"}
    index: {i: [0, 1]}
    sample: {pair: other}
    metrics: {apart: "norm(other[0] - other[1])"}
  three: {}
train: {batch: 4}
"""
# stages with indices, a network that grows, reset optimizers
IDEAS["stages"] = """
gangraph: 1
name: stages
sizes: {X: 3, r: 1}
constants: {lr: "1e-2 / (1 + stage_step)"}
index: {l: [0, 1, 2], k: "range(1, r)", s: [2, 3]}
inputs: {x: vector(X)}
draws: {z: normal(X)}
networks:
  block[l]: [Linear(X), BatchNorm1d(), ReLU()]
  head: Linear(X)
  g:
    inputs: [z]
    graph:
      h[0]: block[0](z)
      h[k]: "block[k](h[k - 1])"
    output: head(h[r - 1])
  D: mlp([4, 1])
graph: {fake: g(z)}
losses:
  adv: hinge(real=D(x), fake=D(fake))
state: {n: {start: 0, becomes: n + stage_step}}
players:
  G: {networks: [block, head], optimizer: "Adam(lr=lr + 0.001 * n)"}
  D: {networks: [D], optimizer: "SGD(lr=lr, momentum=0.9)"}
averages: {g_ema: "average(g, decay=0.9)"}
schedule:
  D: {minimize: adv.discriminator, batch: fresh, repeat: r}
  G: adv.generator
stages:
  one: {iterations: 2}
  size[s]: {images: 8, sizes: {r: s}, reset: [G]}
train: {batch: 4}
"""
# families, lists of scores, several outputs, masks, two streams
IDEAS["lists"] = """
gangraph: 1
name: lists
index: {d: [0, 1], via: [a, b]}
inputs:
  A: {"x[0]": "image(1, 32, 32)"}
  B: {"x[1]": "image(1, 32, 32)", w: "mask(32, 32)"}
draws: {"z[via]": normal(2)}
networks:
  G[d]:
    inputs: [x, z]
    output:
    - concat(x, tile(z, x))
    - Conv2d(1, 3, padding=1), Tanh()
  E:
    inputs: [x]
    graph:
      h: [x, Flatten(), "Linear(3)", ReLU()]
      mu, lv: gaussian_head(2)(h)
    outputs: [mu, lv]
  D[d]: multiscale_patch(2, "zeros", width=2)
graph:
  fake[d]: G[d](x[1 - d], z[a])
  other[d]: G[d](x[1 - d], z=z[b])
  mu[d], lv[d]: E(x[d])
  best: E(fake[0]).mu
  parts: batch_split(batch_concat([x[0], x[1]]), 2)
losses:
  adv[d]: add(lsgan(real=D[d](x[d]), fake=D[d](fake[d])))
  all: add(adv.generator)
  kl[d]: total(kl_normal(mu[d], lv[d]))
  rec: expect(l1(fake[0] * w, x[0]))
players:
  D[d]: {networks: ["D[d]"], optimizer: "Adam(lr=1e-3)"}
  G: {networks: [G, E], optimizer: "Adam(lr=1e-3)"}
schedule:
  D[d]: adv[d].discriminator
  G: all + average(kl) + expect(mean(best)) + expect(l2(other[0], other[1])) + expect(mean(parts[1])) + rec
train: {batch: 4}
meant: ["domains(rec)", "domains(G)"]
"""

# players with optimizers and rules of their own for a network, one network of two players, resets
IDEAS["rules"] = r"""
gangraph: 1
name: rules
sizes: {X: 3}
constants: {lr: 1e-2 if step < 4 else 2e-2}
inputs: {x: vector(X)}
draws: {z: normal(2)}
networks:
  G: mlp([4, X])
  D:
  - mix: Linear(5)
  - BatchNorm1d(), LeakyReLU(0.2)
  - head: Linear(1)
  E: [Linear(4), Tanh(), "Linear(2)"]
  unused_bias: Parameter(X)
graph:
  fake: G(z) + 0 * unused_bias()
  code: E(fake)
losses:
  adv: 0.5 * lsgan(real=D(x), fake=D(fake)) + hinge(real=D(x), fake=D(fake))
  rec: expect(l2(code, z))
  soft: logsumexp(concat(reshape(rec, 1), reshape(adv.generator, 1)))
players:
  D:
    networks: [D]
    optimizer: Adam(lr=lr, weight_decay=0.1)
    gradient: clip_norm(0.1)
    before: clamp(p, -1, 1)
  G:
    networks: [G, E, unused_bias]
    optimizer: Adam(lr=lr)
    optimizer.E: RMSprop(lr=lr)
    gradient.E: clip_norm(0.01)
    after: p * 0.99
  both: {networks: [D, G], optimizer: "Adam(lr=1e-3, betas=[0.5, 0.9])"}
schedule:
  D: adv.discriminator
  G: adv.generator + 0.1 * soft
  both: expect(mean(D(fake)**2)) + 0.3 * rec
  half: {player: G, networks: [E], minimize: rec, when: step % 2 == 0, repeat: step % 3}
  back: {reset: [D], when: step % 2 == 1}
meant: ["shared(D)", "shared(G)"]
train: {batch: 4}
"""
# averages in losses and in training mode, states of several kinds, updates in the schedule
IDEAS["averages"] = r"""
gangraph: 1
name: averages
sizes: {X: 3}
inputs: {x: vector(X)}
draws: {z: normal(2)}
networks:
  B: [Linear(4), BatchNorm1d(), ReLU()]
  G: [B, "Linear(X)", BatchNorm1d()]
  D: [Linear(4), LeakyReLU(0.2), "Linear(1)"]
graph:
  fake: G(z)
  target: G_ema(z)
  shown: training(G_ema)(z)
losses:
  adv: wasserstein(real=D(x), fake=D(fake))
  near: expect(l2(fake, target)) + expect(l2(D_ema(fake), D(target))) + expect(mean(shown * fake))
players:
  D: {networks: [D], optimizer: "SGD(lr=0.05)"}
  G: {networks: [G], optimizer: "SGD(lr=0.05)"}
averages:
  G_ema: average(G, decay=1 - 1 / (step + 2))
  D_ema: "average(D, decay=0.9, start='zeros')"
state:
  a: {start: 1, becomes: "a * 0.5 + b"}
  b: {start: 0, becomes: "b + adv.generator"}
  v: {start: "ones(X)", in: {D: "v + expect(fake)", G: "2 * v"}}
schedule:
  D: adv.discriminator + a * near
  ema: {update: [D_ema, a]}
  G: {minimize: adv.generator + b * near + sum(v * expect(fake)), batch: fresh}
  more: {moves: {inner: {player: G, minimize: near}, up: {update: [b]}}, repeat: 2, batch: fresh}
train: {batch: 4}
"""
# once draws and values, pools of samples and of labels, accumulation, two streams
IDEAS["onces"] = r"""
gangraph: 1
name: once2
sizes: {X: 3}
inputs: {A: {x: vector(X), y: label(3)}, B: {w: vector(X)}}
draws: {z: normal(2), e: uniform()}
networks:
  G: [Linear(4), BatchNorm1d(), Dropout(0.3), "Linear(X)"]
  D: [Linear(4), LeakyReLU(0.2), "Linear(1)"]
  E: mlp([4, 2])
graph:
  fake: G(z)
  old: replay(fake, 5)
  old_y: replay(y, 3, swap=0.7)
  code: E(fake)
  code2: E(old)
  mid: lerp(w, fake, e)
once: [z, code, e]
losses:
  adv: hinge(real=D(x), fake=D(fake), shown=D(old))
  rec: expect(l2(code, z))
  q: expect(cross_entropy(concat(code2, code2[:, 0:1]), old_y))
  gp: expect((norm(grad(D(mid), mid)) - 1)**2)
players:
  D: {networks: [D], optimizer: "SGD(lr=0.1)"}
  G: {networks: [G], optimizer: "SGD(lr=0.1)"}
  E: {networks: [E], optimizer: "SGD(lr=0.1)"}
schedule:
  E: rec
  D: {minimize: adv.discriminator + gp, repeat: 2}
  G: adv.generator
  Q: {player: E, minimize: q, accumulate: 2}
train: {batch: 4}
"""
# one network at two sizes, views inside a network and of a network inside
IDEAS["shapes"] = r"""
gangraph: 1
name: shapes
inputs: {x: "image(2, 8, 8)", s: "image(2, 4, 4)"}
networks:
  core: ["SpectralNorm(residual())", "InstanceNorm2d(affine=True, track_running_stats=True)"]
  G:
    inputs: [x]
    graph:
      h:
      - x
      - core
      - norms: BatchNorm2d(), LeakyReLU(0.1)
      t: frozen(core)(h)
      u: evaluation(core)(h)
    output: h + 0.1 * t * u
graph:
  a: G(x)
  b: G(s)
  c: G(x)
  d: still(core)(x)
  f: frozen(G)(s)
  g: statistics(G, "s")(s)
losses:
  l: expect(mean(a**2)) + expect(mean(b * f)) + expect(l2(c, d)) + expect(mean(g**2))
players:
  P: {networks: [G], optimizer: "Adam(lr=1e-2)"}
schedule: {P: l}
train: {batch: 4}
"""
# functions and families on lists of scores
IDEAS["functions"] = r"""
gangraph: 1
name: functions
inputs: {x: "image(1, 32, 32)"}
draws: {z: normal(2)}
networks:
  D: multiscale_patch(2, "zeros", width=2)
  G: ["Linear(1024)", "reshape(_, 1, 32, 32)"]
  E: [Flatten(), BatchNorm1d(), "Linear(2)"]
functions:
  taps(a, b): l1(a, b)
  plus(a, b, t=0): a + t * b
families:
  both(real, fake):
    discriminator: expect(mean(real)) - expect(mean(fake))
    generator: expect(mean(fake))
graph:
  fake: G(z)
  r: D(x)
  f: D(fake)
  v: plus(E(fake), E(x), t=0.5)
losses:
  adv: add(both(real=r, fake=f))
  tap: average(expect(taps(r, f)))
  v2: expect(mean(v**2))
players:
  D: {networks: [D], optimizer: "SGD(lr=0.1)"}
  G: {networks: [G, E], optimizer: "SGD(lr=0.1)"}
schedule:
  D: adv.discriminator - 0.1 * tap
  G: adv.generator + tap + v2
train: {batch: 4}
"""
# constants, conditions and repeats that follow clocks, lengths of the sample axis, draws with arguments
IDEAS["clocks"] = r"""
gangraph: 1
name: clock
sizes: {X: 3}
constants: {w: "0.5 if step % 2 == 0 else 1.5", d: "max(0, 1 - epoch / 10)", n: "2 if step >= 3 else 1", hot: "1 - 0.5 * n / 2"}
inputs: {x: vector(X), big: "vector(X, samples=2 * N)"}
draws: {z: "normal(2, samples=N // 2 + 1)", u: "uniform(2, low=-1, high=2, shared=True)", g: "normal(X, mean=1, std=0.5)"}
networks:
  G: mlp([4, X])
  D: [Linear(4), LeakyReLU(0.2), "Linear(1)"]
graph:
  fake: G(z)
  two: batch_concat([x, fake])
  wide: batch_repeat(x, 2)
  m: expect(x)
  s: samples_of(x)
  pairs: norm(x - m)
  cut: big[N:2 * N]
  a, b: batch_split(wide, 2)
losses:
  adv: hinge(real=D(x), fake=D(fake))
  l: d * expect(mean((wide - big)**2 * D(wide))) + w * total(mean(D(cut) * pairs)) / N
  k: expect(l1(a, b + u[:, 0:1])) * expect(mean(D(x + g))) + mean(s) * hot * expect(mean(D(two)))
  soft: max(adv.discriminator, l) + min(k, 3)
players:
  D: {networks: [D], optimizer: "Adam(lr=1e-3 * d)"}
  G: {networks: [G], optimizer: "Adam(lr=1e-3)"}
schedule:
  D: {minimize: soft + l, repeat: n, batch: fresh}
  G: {minimize: adv.generator + k, when: "(step + 1) % 2 == 0 or d < 0.5"}
train: {batch: 4}
"""
# networks in networks, families and labels in them, wrappers around wrappers, weights in losses
IDEAS["nested"] = r"""
gangraph: 1
name: nest
sizes: {X: 2}
index: {d: [0, 1]}
inputs: {x: vector(X)}
draws: {z: normal(2)}
networks:
  core: ["SpectralNorm(Linear(4), eps=1e-4)", BatchNorm1d(), Dropout(0.2)]
  part[d]: [core, ReLU(), "Linear(X)"]
  G:
    inputs: [z]
    index: {i: "range(1, 3)"}
    graph:
      h[0]: part[0](z)
      h[i]:
      - h[i - 1]
      - lin: Linear(2)
      - _ * 0.5 + part[1](_)
      - deep:
        - Linear(3), Tanh()
        - for k in range(2):
          - Linear(2 + k)
          - LeakyReLU(0.3), Linear(2)
      pair:
      - h[2]
      - Linear(4)
      p, q: split(pair, 2)
      best: max(p, q)
    output: best
  D: ["Equalized(mlp([4, 1]))", "SpectralNorm(Equalized(mlp([4, 2])), eps=0.1)", "WeightNorm(mlp([3, 1]))"]
graph:
  fake: G(z)
  tap: upto(G, "h[1].deep")(z)
  fro: frozen(part[0])(x)
  ev: evaluation(G)(x)
losses:
  adv: minimax(real=D(x), fake=D(fake))
  l: expect(mean(tap**2)) + expect(l2(fro, x)) + expect(mean(ev**2))
  ortho: sum(square(matmul(transpose(parameter("D.0.0.weight"), 1, 2), parameter("D.0.0.weight"))))
players:
  P: {networks: [G], optimizer: "Adam(lr=1e-2)"}
  D: {networks: [D], optimizer: "Adam(lr=1e-2)"}
schedule:
  D: adv.discriminator + 0.01 * ortho
  P: l + adv.generator
train: {batch: 4}
"""
# sequences of families of phases, fresh batches, overlapping players in a group
IDEAS["sequences"] = r"""
gangraph: 1
name: freshseq
index: {d: [0, 1]}
inputs: {A: {"x[0]": vector(2)}, B: {"x[1]": vector(2)}}
draws: {"z[d]": normal(2), t: normal(2)}
networks:
  "G[d]": mlp([3, 2])
  "D[d]": mlp([3, 1])
  T: mlp([3, 2])
graph:
  "fake[d]": G[d](z[d])
  "cyc[d]": G[1 - d](fake[d])
once: ["z[0]"]
losses:
  "adv[d]": non_saturating(real=D[d](x[d]), fake=D[d](fake[d]))
  "c[d]": expect(l1(cyc[d], x[1 - d]))
  near: expect(l2(T(t), x[0]))
players:
  "D[d]": {networks: ["D[d]"], optimizer: "Adam(lr=1e-3)"}
  gen: {networks: [G], optimizer: "Adam(lr=1e-3)"}
  "one[d]": {networks: ["G[d]"], optimizer: "SGD(lr=1e-2)"}
  T: {networks: [T], optimizer: "SGD(lr=0.1)"}
state:
  n: {start: 0, in: {"D[0]": "n + adv[0].discriminator", gen: "0.5 * n"}}
schedule:
  T: {minimize: near + 0.01 * n * near, repeat: 2}
  turns[d]:
    batch: fresh
    moves:
      D[d]: adv[d].discriminator
      pair[d]:
        repeat: 2
        moves:
          gen[d]: {player: gen, minimize: "adv[d].generator + c[d]"}
          solo[d]: {player: "one[d]", minimize: "c[1 - d]", when: "step % 2 == 0"}
  both:
    batch: fresh
    together:
      gen: add(adv.generator)
      again: {player: "one[1]", minimize: "c[0]"}
meant: ["shared(G[0])", "shared(G[1])"]
train: {batch: 4}
"""
# labels and masks, operators on maps, losses by gradient norms
IDEAS["mixed"] = r"""
gangraph: 1
name: misc
index: {d: [0, 1]}
constants: {beta: 0.5}
inputs: {x: "image(2, 6, 6)", y: "labels(3, 6, 6)", m: "mask(1, 6, 6)", t: label(2)}
draws: {z: "normal(4)"}
networks:
  G: ["Linear(72)", "reshape(_, 2, 6, 6)", "InstanceNorm2d(affine=True)", Tanh()]
  S: ["Conv2d(3, 3, padding=1)"]
  D: ["Conv2d(4, 3, stride=2, padding=1)", "LeakyReLU(0.2)", Flatten(), "Linear(2)"]
graph:
  fake: G(z)
  seg: S(fake)
  lab: argmax(stop(seg))
  onehot: one_hot(y, 3)
  mixed: where(m, x, fake)
  r: D(x)
  f: D(fake)
  kern: reshape(z[:, 0:2], 2, 1, 1, 1) * ones(2, 1, 3, 3)
  conv: convolve(fake, kern, padding=1, groups=2)
  rs: resize(fake, 4, 9, mode="area")
  pd: pad(fake, [1, 1, 0, -1], mode="reflect")
  st: std(fake, dim=[2, 3])
  lse: logsumexp(seg, dim=1)
  sm: softmax(reshape(seg, 3, -1), dim=2)
losses:
  adv[d]: hinge(real=r[:, d], fake=f[:, d])
  gan: beta * add(adv) + least_squares(real=select(r, t), fake=select(f, t))
  sg: expect(mean(cross_entropy(seg, y))) + expect(mean(cross_entropy(seg, 1))) + expect(l1(onehot, seg)) + expect(mean(lse))
  ot: expect(mean(mixed**2)) + expect(mean(conv**2)) + expect(mean(rs * rs)) + expect(mean(pd**3)) + expect(sum(st))
  w: norm(grad(sg, parameter("S.0.weight"))) / (norm(grad(gan.generator, parameter("G.2.weight"))) + 1e-4)
  en: expect(sum(max(sm, dim=2))) + 0.1 * expect(mean(where(lab == y, seg[:, 1], 0)))
  top: max(sg, ot) + min(gan.generator, 3)
players:
  D: {networks: [D], optimizer: "Adam(lr=1e-3)"}
  G: {networks: [G, S], optimizer: "Adam(lr=1e-3)"}
schedule:
  D: gan.discriminator
  G: gan.generator + stop(w) * sg + ot + en
  second: {player: G, minimize: 0.1 * top + w}
train: {batch: 4}
"""
# a group whose member is never stepped, and a state that its phase feeds
IDEAS["gated"] = r"""
gangraph: 1
name: gated
inputs: {x: vector(3)}
draws: {z: normal(2)}
networks:
  G: mlp([4, 3])
  D: mlp([4, 1])
graph: {fake: G(z)}
losses:
  adv: lsgan(real=D(x), fake=D(fake))
players:
  D: {networks: [D], optimizer: "SGD(lr=0.1)"}
  G: {networks: [G], optimizer: "SGD(lr=0.1)"}
state:
  k: {start: 0, becomes: "k + adv.generator", in: [G]}
schedule:
  all:
    together:
      D: {minimize: adv.discriminator + k * adv.discriminator, when: k < 0.5}
      G: {minimize: adv.generator, when: adv.discriminator < 0}
train: {batch: 4}
"""


IDEAS["penalty that the phase has nothing of"] = """
gangraph: 1
name: penalty
inputs: {x: vector(2)}
draws: {z: normal(2)}
networks: {G: "Linear(2)", D: "mlp([4, 1])"}
graph: {fake: G(z)}
losses:
  adv: wasserstein(real=D(x), fake=D(fake))
  R1: expect(sum(grad(D(x), x)**2))
players:
  D: {networks: [D], optimizer: SGD(lr=0.1)}
  G: {networks: [G], optimizer: SGD(lr=0.1)}
schedule:
  D: adv.discriminator + R1
  G: adv.generator + R1
meant: ["constant(R1)"]
train: {batch: 4}
"""
IDEAS["one part"] = """
gangraph: 1
name: part
sizes: {n: 1}
inputs: {x: vector(4)}
networks: {G: "Linear(4)"}
graph: {part: "split(G(x), n)[0]", whole: "batch_split(G(x), n)[0]"}
losses: {l: "expect(mean(part**2)) + expect(mean(whole**2)) + expect(mean(split(x, 1)[0] * part))"}
players: {P: {networks: [G], optimizer: SGD(lr=0.1)}}
schedule: {P: l}
train: {batch: 4}
"""


@pytest.mark.parametrize("idea", IDEAS)
def test_program_of_a_small_spec_agrees(idea: str, tmp_path: Path) -> None:
    report = verify(written(tmp_path, IDEAS[idea]), cases=3)
    assert report.good, str(report)


UNDEFINED = """
gangraph: 1
name: undefined
inputs: {x: vector(4)}
draws:
  z2: normal(4)
networks:
  G: [Linear(4), ReLU(), Linear(4)]
losses:
  seek: 1 / (expect(l1(G(x + z2), G(x))) / expect(l1(z2, 0 * x)))
players:
  P: {networks: [G], optimizer: Adam(lr=1e-3)}
schedule:
  P: seek
train: {batch: 2}
"""


def test_what_is_undefined_for_noise_of_nothing_is_so_on_both_sides(tmp_path: Path) -> None:
    """0 / 0, in the sparse case: behind a unit that is off, the gradient is 0 and not 0 times it."""
    report = verify(written(tmp_path, UNDEFINED), cases=3)
    assert report.good and report.rows[2].cases == 3, str(report)


def test_nothing_is_compared_where_a_loss_leaves_the_numbers(tmp_path: Path) -> None:
    text = UNDEFINED.replace("  seek: 1", "  far: expect(sum(exp(1000 * G(x)**2)))\n  seek: far + 1")
    for source, diverged in ((UNDEFINED, False), (text, True)):
        bench = Bench(load(written(tmp_path, source)))
        assert bench.at(Case(4, weights="large")).diverged is diverged


# --- who verifies the verifier ----------------------------------------------------------------------------------------

FAULTS = {
    "gan": [
        ("(-F.logsigmoid(adv_real)).mean() + ", "(-F.logsigmoid(adv_real)).mean() - "),
        ("(-F.logsigmoid(adv_real)).mean() + ", ""),
        ("adv_real = self.D(x)", "adv_real = self.D(x + 1)"),
        ("adv_real = self.D(x)", "adv_real = self.D(fake)"),
        ('"lr": 0.001', '"lr": 0.0011'),
        ('"betas": (0.5, 0.999)', '"betas": (0.9, 0.999)'),
        ('"G": ("G", ("G",)', '"G": ("G", ("D",)'),
        ("LeakyReLU(0.2)", "LeakyReLU(0.1)"),
        ("for _ in range(2)", "for _ in range(3)"),
        ("    batch_size = 4", "    batch_size = 5"),
        ('self.play("G"', 'self.clocks["step"] < 5000 and self.play("G"'),
        (".mean() + ", ".sum() + "),
    ],
}


@pytest.mark.parametrize(("old", "new"), FAULTS["gan"])
def test_fault_in_an_edited_program_is_found(old: str, new: str, tmp_path: Path) -> None:
    spec = load("gan", tiny=True, constants={"k": 2})
    source = spec.program.source
    assert old in source, f"the program has no {old!r}"
    edited = written(tmp_path, source.replace(old, new, 1), "edited.py")
    report = verify(spec, cases=3, program=edited)
    assert not report.good
    first = report.differences[0]
    assert first.case and str(first) in str(report)


def test_program_as_it_was_is_no_difference(tmp_path: Path) -> None:
    spec = load("gan", tiny=True)
    assert verify(spec, cases=2, program=written(tmp_path, spec.program.source, "same.py")).good


def test_difference_names_both_values_and_both_lines(tmp_path: Path) -> None:
    spec = load("gan", tiny=True)
    source = spec.program.source.replace("(-F.logsigmoid(adv_real)).mean() + ", "(-F.logsigmoid(adv_real)).mean() - ")
    report = verify(spec, cases=1, program=written(tmp_path, source, "edited.py"))
    loss = next(d for d in report.differences if d.number == 1)
    assert "adv.discriminator" in loss.what and loss.program != loss.reference
    assert (
        loss.spec_line is not None
        and "adv:" in Path(loss.spec_line.file).read_text().splitlines()[loss.spec_line.line - 1]
    )
    assert loss.program_line is not None and "adv_discriminator" in source.splitlines()[loss.program_line - 1]


def test_command_exits_with_1_on_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gangraph.__main__ import main

    edited = written(tmp_path, load("gan", tiny=True).program.source.replace('"lr": 0.001', '"lr": 0.002'), "edited.py")
    for extra, code in (([], 0), (["--program", str(edited)], 1)):
        with pytest.raises(SystemExit) as ended:
            main(["verify", "gan", "--tiny", "--cases", "1", *extra])
        assert ended.value.code == code
        assert ("differs" in capsys.readouterr().out) == bool(code)
