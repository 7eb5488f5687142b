"""The layer table agrees with torch: shapes, parameters, state, refusals, and what each block computes."""

import importlib.util
import itertools
import math
import os
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gangraph import layers
from gangraph.entries import Construct, Entry
from gangraph.errors import Fact
from gangraph.layers import LAYERS, WRAPPERS, Shape
from gangraph.networks import argument_codes

BLOCKS = Path(__file__).parent.parent / "codegen" / "blocks"
ROUNDS = int(os.environ.get("GANGRAPH_LAYER_EXAMPLES", "40"))


def block(stem: str) -> dict[str, object]:
    """The names that one file of codegen/blocks defines."""
    spec = importlib.util.spec_from_file_location(f"block_{stem}", BLOCKS / f"{stem}.py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(BLOCKS))  # for what one file takes from another
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return vars(module)


SCOPE = {"nn": nn} | {n: v for f in sorted(BLOCKS.glob("*.py")) for n, v in block(f.stem).items() if n[0] != "_"}


class Draws:
    """Draws of its own seed: two calls in the same order draw the same."""

    def __init__(self, seed: int = 0):
        self.generator = torch.Generator().manual_seed(seed)

    def mask(self, p, x):
        return (torch.rand(x.shape, generator=self.generator) >= p).to(x)

    def normal_like(self, x):
        return torch.randn(x.shape, generator=self.generator).to(x)


def build(construct: Construct) -> nn.Module:
    """The module that the text makes: float64, in training mode, weights from a fixed seed."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return eval(str(construct), dict(SCOPE)).double()


def call(layer: layers.Layer, module: nn.Module, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    if layer.inputs == 0:
        return module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return module(x, Draws(seed)) if layer.random else module(x)


# Arguments over their whole range, a little beyond it, and the same module written by hand


def few(low: int, high: int) -> st.SearchStrategy[int]:
    """Mostly what fits, sometimes what does not."""
    return st.one_of(st.integers(low, high), st.integers(low, high), st.integers(low - 2, high + 2))


def per_axis(low: int, high: int, axes: int) -> st.SearchStrategy:
    return st.one_of(few(low, high), st.lists(few(low, high), min_size=axes, max_size=axes))


def shapes(axes: int, most: int = 6) -> st.SearchStrategy[Shape]:
    sizes = st.lists(st.integers(1, most), min_size=axes, max_size=axes)
    return st.tuples(st.sampled_from([1, 2, 3, 4, 6]), sizes).map(lambda drawn: (drawn[0], *drawn[1]))


ANY_SHAPE = st.lists(st.integers(1, 4), max_size=3).map(tuple)
CHANNELS = st.one_of(shapes(0), shapes(1), shapes(2), shapes(3, 3))
EPS = st.sampled_from([1e-5, 1e-3, 0.1])


def some(required: dict, optional: dict) -> st.SearchStrategy[dict]:
    return st.fixed_dictionaries(required, optional=optional)


def convolution(axes: int) -> st.SearchStrategy[dict]:
    most = {1: 5, 2: 4, 3: 3}[axes]
    number = st.one_of(per_axis(0, 3, axes), st.sampled_from(["same", "valid"]))
    optional = {
        "stride": per_axis(1, 3, axes),
        "padding": number,
        "dilation": per_axis(1, 2, axes),
        "groups": st.sampled_from([1, 2, 3, 4]),
        "bias": st.booleans(),
        "padding_mode": st.sampled_from([*layers.PADDING_MODES, "zero"]),
    }
    return some({"width": st.sampled_from([1, 2, 3, 4, 6]), "kernel": per_axis(1, most, axes)}, optional)


def transposed(axes: int) -> st.SearchStrategy[dict]:
    optional = {
        "stride": per_axis(1, 3, axes),
        "padding": per_axis(0, 3, axes),
        "output_padding": per_axis(0, 2, axes),
        "dilation": per_axis(1, 2, axes),
        "groups": st.sampled_from([1, 2, 3, 4]),
        "bias": st.booleans(),
    }
    return some({"width": st.sampled_from([1, 2, 3, 4, 6]), "kernel": per_axis(1, 3, axes)}, optional)


def pool(axes: int, **more: st.SearchStrategy) -> st.SearchStrategy[dict]:
    optional = {"stride": st.one_of(st.none(), per_axis(1, 3, axes)), "padding": per_axis(0, 2, axes), **more}
    return some({"kernel": per_axis(1, 4, axes)}, optional)


RUNNING = {
    "eps": EPS,
    "momentum": st.sampled_from([0.1, 0.5]),
    "affine": st.booleans(),
    "track_running_stats": st.booleans(),
}
NUMBER = st.sampled_from([-0.5, 0, 0.2, 1, 2.5])
PROBABILITY = st.sampled_from([-0.1, 0, 0.3, 0.5, 1, 1.2])
SIDES = st.one_of(st.integers(-4, 3), st.lists(st.integers(-4, 4), min_size=4, max_size=4))
RECURRENT = some({"hidden": few(1, 3)}, {"layers": few(1, 2), "bidirectional": st.booleans()})
NONE = st.just({})


def torch_conv(cls):
    def make(shape, width, kernel, weight=None, **rest):
        return cls(shape[0], width, kernel, **rest)

    return make


def torch_norm(cls):
    return lambda shape, **rest: cls(shape[0], **rest)


def torch_pool(cls):
    return lambda shape, kernel, **rest: cls(kernel, **rest)


def torch_dropout(shape, p=0.5):
    """torch's own draws differ from ours; with the same mask it is a product."""
    nn.Dropout(p)
    return nn.Identity() if p == 0 else SCOPE["Dropout"](p)


# name: (shapes of the input, arguments, the module by hand)
CASES = {
    **{f"Conv{n}d": (shapes(n), convolution(n), torch_conv(getattr(nn, f"Conv{n}d"))) for n in (1, 2, 3)},
    **{
        f"ConvTranspose{n}d": (shapes(n, 4), transposed(n), torch_conv(getattr(nn, f"ConvTranspose{n}d")))
        for n in (1, 2, 3)
    },
    "Linear": (
        ANY_SHAPE,
        some({"width": st.integers(1, 4)}, {"bias": st.booleans()}),
        lambda shape, width, bias=True: nn.Linear(shape[-1], width, bias),
    ),
    "Embedding": (
        ANY_SHAPE,
        some({"count": few(5, 6), "width": st.integers(1, 3)}, {}),
        lambda shape, **a: nn.Embedding(a["count"], a["width"]),
    ),
    **{f"BatchNorm{n}d": (shapes(n), some({}, RUNNING), torch_norm(getattr(nn, f"BatchNorm{n}d"))) for n in (2, 3)},
    "BatchNorm1d": (st.one_of(shapes(0), shapes(1)), some({}, RUNNING), torch_norm(nn.BatchNorm1d)),
    **{
        f"InstanceNorm{n}d": (shapes(n, 3), some({}, RUNNING), torch_norm(getattr(nn, f"InstanceNorm{n}d")))
        for n in (1, 2, 3)
    },
    "GroupNorm": (
        st.one_of(CHANNELS, st.just(())),
        some({"groups": st.integers(1, 4)}, {"eps": EPS, "affine": st.booleans()}),
        lambda shape, groups, **rest: nn.GroupNorm(groups, shape[0], **rest),
    ),
    "LayerNorm": (
        ANY_SHAPE,
        some({}, {"eps": EPS, "affine": st.booleans()}),
        lambda shape, eps=1e-5, affine=True: nn.LayerNorm(shape, eps, affine),
    ),
    **{
        name: (ANY_SHAPE, NONE, lambda shape, name=name: getattr(nn, name)())
        for name in ["ReLU", "SELU", "GELU", "SiLU", "Mish", "Softplus", "Tanh", "Sigmoid", "Identity"]
    },
    "LeakyReLU": (ANY_SHAPE, some({}, {"slope": NUMBER}), lambda shape, slope=0.01: nn.LeakyReLU(slope)),
    "PReLU": (
        st.one_of(CHANNELS, st.just(())),
        some({}, {"count": st.integers(1, 4), "init": NUMBER}),
        lambda shape, count=1, init=0.25: nn.PReLU(count, init),
    ),
    "ELU": (ANY_SHAPE, some({}, {"alpha": NUMBER}), lambda shape, alpha=1.0: nn.ELU(alpha)),
    "Hardtanh": (
        ANY_SHAPE,
        some({}, {"low": NUMBER, "high": NUMBER}),
        lambda shape, low=-1.0, high=1.0: nn.Hardtanh(low, high),
    ),
    "Softmax": (ANY_SHAPE, some({"dim": st.integers(-4, 4)}, {}), lambda shape, dim: nn.Softmax(dim)),
    "LogSoftmax": (ANY_SHAPE, some({"dim": st.integers(-4, 4)}, {}), lambda shape, dim: nn.LogSoftmax(dim)),
    "Dropout": (ANY_SHAPE, some({}, {"p": PROBABILITY}), torch_dropout),
    **{
        f"AvgPool{n}d": (shapes(n), pool(n, count_include_pad=st.booleans()), torch_pool(getattr(nn, f"AvgPool{n}d")))
        for n in (1, 2, 3)
    },
    **{f"MaxPool{n}d": (shapes(n), pool(n), torch_pool(getattr(nn, f"MaxPool{n}d"))) for n in (1, 2, 3)},
    **{
        f"AdaptiveAvgPool{n}d": (
            shapes(n),
            some({"size": per_axis(1, 4, n)}, {}),
            lambda shape, size, n=n: getattr(nn, f"AdaptiveAvgPool{n}d")(size),
        )
        for n in (1, 2)
    },
    "Upsample": (
        st.one_of(shapes(1, 3), shapes(2, 3), shapes(3, 3), shapes(0)),
        some(
            {"scale": st.one_of(few(1, 3), st.lists(st.integers(1, 3), min_size=1, max_size=3))},
            {"mode": st.sampled_from(["nearest", "bilinear", "nearset"])},
        ),
        lambda shape, scale, mode="nearest": nn.Upsample(
            scale_factor=tuple(scale) if isinstance(scale, list) else scale, mode=mode
        ),
    ),
    "Flatten": (ANY_SHAPE, NONE, lambda shape: nn.Flatten()),
    "PixelShuffle": (
        st.tuples(st.sampled_from([1, 3, 4, 8, 9]), st.integers(1, 3), st.integers(1, 3)),
        some({"factor": few(1, 3)}, {}),
        lambda shape, factor: nn.PixelShuffle(factor),
    ),
    "ZeroPad2d": (shapes(2), some({"pad": SIDES}, {}), lambda shape, pad: nn.ZeroPad2d(pad)),
    "GRU": (st.tuples(st.integers(1, 3), st.integers(1, 3)), RECURRENT, lambda shape, **a: SCOPE["GRU"](shape[1], **a)),
    "LSTM": (
        st.tuples(st.integers(1, 3), st.integers(1, 3)),
        RECURRENT,
        lambda shape, **a: SCOPE["LSTM"](shape[1], **a),
    ),
}
OWN = {"Parameter", "Noise", "Filter2d", "MinibatchStd"}  # no module of torch's: tested below, each against a formula


def test_every_layer_is_compared_with_torch_or_a_formula():
    assert set(CASES) | OWN == set(LAYERS)


def sample(layer_name: str, shape: Shape, samples: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if LAYERS[layer_name].integers:
        return torch.randint(0, 3, (samples, *shape), generator=generator)
    return torch.randn(samples, *shape, generator=generator, dtype=torch.float64)


def torch_says(name: str, arguments: dict, shape: Shape, samples: int) -> tuple[nn.Module, Shape] | None:
    """The module by hand and the own shape that comes out; None where torch refuses or nothing comes out."""
    frozen = {k: tuple(v) if isinstance(v, list) and name != "ZeroPad2d" else v for k, v in arguments.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = CASES[name][2](shape, **frozen).double()
            x = sample(name, shape, samples).requires_grad_(not LAYERS[name].integers)
            y = module(x, Draws()) if isinstance(module, SCOPE["Dropout"]) else module(x)
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError):
        return None
    return (module, tuple(y.shape[1:])) if y.numel() and y.shape[:1] == (samples,) else None


def gangraph_says(name: str, arguments: dict, shape: Shape) -> tuple[layers.Layer, Shape] | None:
    try:
        layer = LAYERS[name].from_call([], arguments)
        out = layer.output(shape)
    except Fact as fact:
        assert str(fact).startswith(name), fact
        return None
    return layer, out


@pytest.mark.parametrize("name", CASES)
def test_shapes_and_refusals_are_those_of_torch(name):
    shapes_of_input, arguments_of_layer, _ = CASES[name]
    accepted = 0

    @settings(
        max_examples=ROUNDS * (3 if "Conv" in name or "Pool" in name else 1),
        deadline=None,
        database=None,
        derandomize=True,
    )
    @given(shapes_of_input, arguments_of_layer)
    def agree(shape, arguments):
        nonlocal accepted
        ours, theirs = gangraph_says(name, arguments, shape), torch_says(name, arguments, shape, 2)
        if name in ("GroupNorm",) and theirs:  # refused by torch for one sample only: we refuse whatever the batch
            theirs = torch_says(name, arguments, shape, 1)
        if name == "Softmax" or name == "LogSoftmax":  # torch would also go along the sample axis
            theirs = theirs if arguments["dim"] % (len(shape) + 1) else None
        assert (ours and ours[1]) == (theirs and theirs[1])
        if ours and theirs:
            accepted += 1
            same_module(ours[0], theirs[0], shape)

    def same_module(layer, theirs, shape):
        module = build(layer.construct(shape))
        assert {n: tuple(p.shape) for n, p in module.named_parameters()} == layer.parameters(shape)
        assert [n for n, _ in module.named_parameters()] == list(layer.parameters(shape))
        theirs.load_state_dict(module.state_dict())
        x = sample(name, shape, 3, seed=1)
        before = {n: b.clone() for n, b in module.named_buffers()}
        torch.testing.assert_close(call(layer, module, x), call(layer, theirs, x), rtol=0, atol=0)
        if layer.function:
            written = ", ".join(["x", *(code.plain() for code in argument_codes(layer.construct(shape)))])
            y = eval(f"F.{layer.function}({written})", {"F": F, "x": x})
            torch.testing.assert_close(y, module(x), rtol=0, atol=0)
        moved = any(not torch.equal(b, before[n]) for n, b in module.named_buffers())
        assert moved == layer.stateful
        module.eval(), theirs.eval()
        torch.testing.assert_close(call(layer, module, x), call(layer, theirs, x), rtol=0, atol=0)

    agree()
    assert accepted > 5, "the strategy draws next to nothing that fits"


@pytest.mark.parametrize("name", CASES)
def test_what_the_table_says_of_a_layer_is_so(name):
    """Coupling of samples, ranges, second derivatives, and whether the derivative reads the input."""
    shapes_of_input, arguments_of_layer, _ = CASES[name]

    @settings(max_examples=ROUNDS // 2, deadline=None, database=None, derandomize=True)
    @given(shapes_of_input, arguments_of_layer)
    def holds(shape, arguments):
        said = gangraph_says(name, arguments, shape)
        if not said:
            return
        layer, _ = said
        module = build(layer.construct(shape))
        x = sample(name, shape, 3, seed=2)

        if not layer.batch_coupled:
            other = torch.cat([x[:1], sample(name, shape, 2, seed=3)])
            torch.testing.assert_close(call(layer, module, x)[0], call(layer, module, other)[0])
            if not layer.needs_samples:  # a value that all samples share has no axis of theirs
                shared = call(layer, build(layer.construct(shape)), x[0])
                torch.testing.assert_close(shared, call(layer, build(layer.construct(shape)), x[:1])[0])
        if layer.integers:
            return

        for low, high in [(-1.0, 1.0), (0.0, 1.0), (-3.0, -2.0)]:
            inside = low + (high - low) * torch.rand(x.shape, dtype=x.dtype)
            for mode, known in itertools.product([True, False], [(low, high), None]):
                bounds = layer.range(known)
                y = call(layer, module.train(mode), inside)
                assert bounds is None or (bounds[0] - 1e-9 <= y.min() and y.max() <= bounds[1] + 1e-9)

        module.train()
        source = torch.ones((), dtype=x.dtype, requires_grad=True)
        inner = x * source  # whatever feeds the layer
        y = call(layer, module, inner)
        (g,) = torch.autograd.grad(y, inner, torch.randn_like(y), create_graph=True, allow_unused=True)
        through = torch.autograd.grad(g.sum(), source, allow_unused=True) if g.requires_grad else [None]
        assert (through[0] is None) == layer.linear

    holds()


def test_torch_refuses_no_rank_that_the_table_takes():
    """Torch would read a map without sample axis as a batch of one: every rank but the right one is refused."""
    for name in [n for n in LAYERS if n[-2:] in ("1d", "2d", "3d")] + ["PixelShuffle", "MinibatchStd", "GRU", "LSTM"]:
        arguments = {
            "Conv": {"width": 1, "kernel": 1},
            "AvgP": {"kernel": 1},
            "MaxP": {"kernel": 1},
            "Adap": {"size": 1},
            "Zero": {"pad": 0},
            "Filt": {"kernel": [[1]]},
            "Pixe": {"factor": 1},
            "Mini": {"group": 1},
        }.get(name[:4], {"hidden": 1} if name in ("GRU", "LSTM") else {})
        layer = LAYERS[name].from_call([], arguments)
        right = {"BatchNorm1d": [1, 2], "GRU": [2], "LSTM": [2], "PixelShuffle": [3], "MinibatchStd": [3]}
        right = right.get(name) or [int(name[-2]) + 1]
        for rank in range(6):
            if rank not in right:
                with pytest.raises(Fact, match=r"needs .*, got"):
                    layer.output((2,) * rank)
            else:
                layer.output((2,) * rank)


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "shape", "message"),
    [
        ("Conv2d", [64, 4], {"stride": 2}, (100,), "Conv2d(64, 4, stride=2) needs C x H x W, got 100"),
        ("Conv2d", [64, 4], {"strid": 2}, (3, 8, 8), "Conv2d has no argument 'strid'"),
        ("Conv2d", [64], {}, (3, 8, 8), "Conv2d needs its argument 'kernel'"),
        ("Conv2d", [64, 3], {"kernel": 3}, (3, 8, 8), "Conv2d got its argument 'kernel' twice"),
        ("Conv2d", ["64", 3], {}, (3, 8, 8), "Conv2d: width is a whole number, got '64'"),
        ("Conv2d", [8 / 2, 3], {}, (3, 8, 8), "Conv2d: width is a whole number, got 4.0"),
        ("Conv2d", [True, 3], {}, (3, 8, 8), "Conv2d: width is a whole number, got True"),
        ("Conv2d", [8, [3, 3, 3]], {}, (3, 8, 8), "Conv2d: kernel is a whole number or a list of 2, got [3, 3, 3]"),
        (
            "Conv2d",
            [8, 3],
            {"bias": None},
            (3, 8, 8),
            "Conv2d: bias is True, False or an initializer such as zeros(), got None",
        ),
        ("Conv2d", [8, 3], {"weight": 0}, (3, 8, 8), "Conv2d: weight is an initializer such as normal(0, 0.02), got 0"),
        ("Conv2d", [8, 7], {}, (3, 5, 9), "Conv2d(8, 7) covers 7 of a padded height of only 5"),
        (
            "Conv2d",
            [8, 3],
            {"padding_mode": "reflekt"},
            (3, 5, 9),
            "Conv2d: padding_mode is one of 'zeros', 'reflect', 'replicate', 'circular', got 'reflekt'",
        ),
        (
            "Conv2d",
            [8, 3],
            {"groups": 4},
            (6, 5, 9),
            "Conv2d(8, 3, groups=4) cannot split the channels of 6 x 5 x 9 into 4 groups",
        ),
        (
            "ConvTranspose2d",
            [8, 1],
            {"padding": 2},
            (6, 5, 3),
            "ConvTranspose2d(8, 1, padding=2) makes 3 of a width of 3 and cuts 2 from both ends",
        ),
        ("Dropout", [1.5], {}, (3,), "Dropout: p is a number from 0 to 1, got 1.5"),
        ("InstanceNorm2d", [], {}, (3, 1, 1), "InstanceNorm2d() needs more than one value a channel, got 3 x 1 x 1"),
        ("Upsample", [0], {}, (3, 4), "Upsample: scale is a whole number or a list of them, at least 1, got 0"),
        ("Upsample", [[]], {}, (3, 4), "Upsample: scale is a whole number or a list of them, got []"),
        ("Conv1d", [8, [1, 2]], {}, (3, 4), "Conv1d: kernel is a whole number, got [1, 2]"),
        ("Flatten", [], {}, (), "Flatten() needs at least one axis, got a single number"),
        ("ReLU", [1], {}, (3,), "ReLU takes 0 arguments at most, got 1"),
        ("Parameter", [3, -1], {}, (), "Parameter: shape is made of whole numbers, at least 1, got [3, -1]"),
        ("Parameter", [3], {"shape": 4}, (), "Parameter takes its sizes one by one"),
        ("Upsample", [[2, 2]], {}, (3, 4), "Upsample([2, 2]) needs C x H x W, got 3 x 4"),
        ("Filter2d", [[[1, 1]]], {}, (3, 4, 4), "Filter2d([[1, 1]]) makes 3 of a width of 4, not 4 * 1 / 1"),
        (
            "Filter2d",
            [[[1], [1, 2]]],
            {},
            (3, 4, 4),
            "Filter2d: kernel is a list of rows of equal length, got [[1], [1, 2]]",
        ),
        ("ZeroPad2d", [-2], {}, (3, 4, 4), "ZeroPad2d(-2) leaves nothing of a height of 4"),
        ("SpectralNorm", [], {"eps": -1}, (), "SpectralNorm: eps is a number, at least 0, got -1"),
        ("Equalized", [], {"lr_mul": 0}, (), "Equalized: lr_mul is above 0, got 0"),
    ],
)
def test_a_misuse_is_one_sentence(name, args, kwargs, shape, message):
    with pytest.raises(Fact) as caught:
        (LAYERS | WRAPPERS)[name].from_call(args, kwargs).output(shape)
    assert str(caught.value) == message


def test_help_is_the_smallest_change_that_fits():
    def help(name, args, kwargs, shape):
        with pytest.raises(Fact) as caught:
            LAYERS[name].from_call(args, kwargs).output(shape)
        return caught.value.help

    assert help("Conv2d", [8, 3], {"groups": 4}, (6, 5, 9)) == "groups=2 would fit"
    assert help("Conv2d", [8, 7], {}, (3, 5, 9)) == "padding=1, or a height of 7, would fit"
    assert help("Conv2d", [8, 7], {"padding": 3, "padding_mode": "reflect"}, (3, 3, 3)) == "at most 2 would fit"
    assert help("Conv2d", [8 / 2, 7], {}, (3, 5, 9)) == "divide with // to stay exact"
    assert help("Conv1d", [8, 7], {"strid": 2}, (3, 5)).startswith(
        "did you mean 'stride'? it is Conv1d(width, kernel, s"
    )


class Initializer:
    """Opaque to the table, as the compiler's are."""

    def __str__(self):
        return "normal(0, 0.02)"


def test_an_initializer_is_kept_and_not_printed():
    layer = LAYERS["Conv2d"].from_call([4, 3], {"weight": Initializer(), "bias": Initializer()})
    assert str(layer) == "Conv2d(4, 3, bias=normal(0, 0.02), weight=normal(0, 0.02))"
    assert str(layer.construct((3, 8, 8))) == "nn.Conv2d(3, 4, 3)"
    assert layer.parameters((3, 8, 8)) == {"weight": (4, 3, 3, 3), "bias": (4,)}


# Blocks, each against a formula that is slow and obvious


def test_parameter_is_its_weight():
    layer = LAYERS["Parameter"].from_call([2, 3], {})
    module = build(layer.construct())
    assert layer.output(()) == (2, 3) == tuple(module().shape)
    assert {n: tuple(p.shape) for n, p in module.named_parameters()} == layer.parameters(()) == {"weight": (2, 3)}
    assert module() is module.weight
    assert build(LAYERS["Parameter"].from_call([], {}).construct())().shape == ()


def test_noise_and_dropout_are_their_draws_and_nothing_in_evaluation_mode():
    x = torch.randn(3, 4, dtype=torch.float64)
    noise, dropout = (build(LAYERS[n].from_call([0.25], {}).construct((4,))) for n in ("Noise", "Dropout"))
    assert torch.equal(noise(x, Draws(5)), x + 0.25 * Draws(5).normal_like(x))
    torch.testing.assert_close(dropout(x, Draws(5)), torch.where(Draws(5).mask(0.25, x) == 1, x / 0.75, 0))
    assert noise.eval()(x, None) is x and dropout.eval()(x, None) is x
    assert not LAYERS["Noise"].from_call([0], {}).random
    assert str(LAYERS["Noise"].from_call([0], {}).construct((4,))) == "nn.Identity()"


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(
    st.tuples(st.just(2), st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 3),
    st.integers(1, 3),
    st.one_of(st.none(), SIDES),
)
def test_filter2d_is_zeros_padding_correlation_and_choice(shape, sizes, up, down, pad):
    kernel = [[1.0 + 2 * i - 0.3 * j * j for j in range(sizes[1])] for i in range(sizes[0])]
    layer = LAYERS["Filter2d"].from_call([kernel], {"up": up, "down": down, "pad": pad, "scale": 1 / 3})
    c, h, w = shape
    own = [(n - 1) // 2 for n in sizes[::-1] for _ in "ab"]
    left, right, top, bottom = own if pad is None else pad if isinstance(pad, list) else [pad] * 4
    try:
        out = layer.output(shape)
    except Fact:
        x = torch.ones(1, c, h * up, w * up)
        try:
            y = F.conv2d(F.pad(x, (left, right, top, bottom)), torch.ones(c, 1, *sizes), stride=down, groups=c)
        except RuntimeError:
            return
        assert not y.numel() or (pad is None and (y.shape[2] * down, y.shape[3] * down) != (h * up, w * up))
        return
    x = torch.randn(2, c, h, w, dtype=torch.float64)
    y = build(layer.construct(shape))(x)
    assert tuple(y.shape) == (2, *out)
    assert pad is not None or out[1:] == (h * up // down, w * up // down)
    x, y = x.tolist(), y.tolist()
    for n, k, i, j in itertools.product(range(2), range(c), range(out[1]), range(out[2])):
        total = 0.0
        for a, b in itertools.product(range(sizes[0]), range(sizes[1])):
            row, column = divmod(i * down + a - top, up), divmod(j * down + b - left, up)
            if row[1] == column[1] == 0 and 0 <= row[0] < h and 0 <= column[0] < w:
                inside = i * down + a < h * up + top + bottom and j * down + b < w * up + left + right
                assert inside
                total += kernel[a][b] / 3 * x[n][k][row[0]][column[0]]
        assert y[n][k][i][j] == pytest.approx(total, abs=1e-12)


def test_filter2d_is_exact_in_the_precision_of_its_input():
    module = SCOPE["Filter2d"]([[1]], scale=1 / 3)
    assert module(torch.ones(1, 1, 1, 1, dtype=torch.float64)).item() == 1 / 3
    assert not list(module.parameters()) and not list(module.buffers())


@pytest.mark.parametrize(("group", "samples"), [(4, 8), (4, 4), (4, 2), (2, 6), (3, 6), (1, 3), (4, 1)])
def test_minibatch_std_is_the_mean_deviation_of_every_mth_sample(group, samples):
    layer = LAYERS["MinibatchStd"].from_call([group], {})
    x = torch.randn(samples, 3, 2, 4, dtype=torch.float64)
    y = build(layer.construct((3, 2, 4)))(x)
    layer.check_samples(samples, (3, 2, 4))
    assert tuple(y.shape[1:]) == layer.output((3, 2, 4)) and torch.equal(y[:, :3], x)
    size = min(group, samples)
    apart = samples // size
    for n in range(samples):
        together = [x[(n % apart) + g * apart] for g in range(size)]
        mean = sum(together) / size
        variance = sum((one - mean) ** 2 for one in together) / size
        deviation = sum(math.sqrt(v + 1e-8) for v in variance.flatten().tolist()) / variance.numel()
        torch.testing.assert_close(y[n, 3], torch.full((2, 4), deviation, dtype=torch.float64))


def test_batches_that_cannot_be_are_refused():
    with pytest.raises(Fact, match="cannot split 6 samples into groups of 4"):
        LAYERS["MinibatchStd"].from_call([4], {}).check_samples(6, (3, 4, 4))
    with pytest.raises(Fact, match="one value a channel"):
        LAYERS["BatchNorm2d"].from_call([], {}).check_samples(1, (3, 1, 1))
    LAYERS["BatchNorm2d"].from_call([], {}).check_samples(1, (3, 2, 1))


# Wrappers

WEIGHTED = {
    "Linear(3, bias=True)": ("Linear", {"width": 3}, (5,)),
    "Linear without bias": ("Linear", {"width": 3, "bias": False}, (5,)),
    "Conv2d": ("Conv2d", {"width": 4, "kernel": [3, 2], "groups": 2}, (2, 4, 5)),
    "Conv2d reflected": ("Conv2d", {"width": 4, "kernel": 3, "padding": 1, "padding_mode": "reflect"}, (2, 4, 5)),
    "ConvTranspose2d": ("ConvTranspose2d", {"width": 4, "kernel": 3, "stride": 2, "output_padding": 1}, (2, 4, 5)),
    "ConvTranspose2d in groups": ("ConvTranspose2d", {"width": 6, "kernel": 3, "groups": 2}, (4, 2, 2)),
    "ConvTranspose1d": ("ConvTranspose1d", {"width": 2, "kernel": 3}, (3, 2)),
    "Embedding": ("Embedding", {"count": 4, "width": 3}, ()),
}
weighted = pytest.mark.parametrize("case", WEIGHTED)


def wrapped(case: str, *wrappers: Entry) -> tuple[layers.Layer, Shape, nn.Module, nn.Module]:
    """The layer, its shape, and its module inside the wrappers and, with the same weights, alone."""
    name, arguments, shape = WEIGHTED[case]
    layer = LAYERS[name].from_call([], arguments)
    module, plain = build(layers.wrap(layer, wrappers, shape)), build(layer.construct(shape))
    own = {n: p for n, p in module.state_dict().items() if n in plain.state_dict()}
    plain.load_state_dict(own)
    return layer, shape, module, plain


def apart(case: str, plain: nn.Module, x: torch.Tensor, weight, bias=None) -> torch.Tensor:
    with torch.no_grad():
        plain.weight.copy_(weight)
        if bias is not None:
            plain.bias.copy_(bias)
    return plain(x)


@weighted
@pytest.mark.parametrize(
    "kinds", [["SpectralNorm"], ["Equalized"], ["WeightNorm"], ["WeightNorm", "SpectralNorm", "Equalized"]]
)
def test_a_wrapped_layer_keeps_the_names_and_order_of_its_parameters(case, kinds):
    wrappers = [WRAPPERS[kind].from_call([], {}) for kind in kinds]
    layer, shape, module, _ = wrapped(case, *wrappers)
    parameters = layers.wrapped_parameters(layer, wrappers, shape)
    assert {n: tuple(p.shape) for n, p in module.named_parameters()} == parameters
    assert [n for n, _ in module.named_parameters()] == list(parameters)
    assert list(parameters)[: len(layer.parameters(shape))] == list(layer.parameters(shape))
    twin = build(layers.wrap(layer, wrappers, shape))
    twin.load_state_dict(module.state_dict())
    x = sample(WEIGHTED[case][0], shape, 2)
    torch.testing.assert_close(module(x), twin(x))
    assert layers.wrap(layer, wrappers, shape).blocks().__next__() == wrappers[-1].block


def matrix(case: str, weight: torch.Tensor) -> torch.Tensor:
    return (weight.transpose(0, 1) if "Transpose" in case else weight).flatten(1)


def spectral(case: str, eps: float = 1e-12):
    return wrapped(case, WRAPPERS["SpectralNorm"].from_call([], {"eps": eps}))


@weighted
def test_spectral_norm_is_the_recipe(case):
    """sn-gan, section 6: one iteration from u, in both modes; only a training call keeps it."""
    _, shape, module, plain = spectral(case, eps=1e-3)
    module.u.fill_(1.0)
    w, x, u = matrix(case, module.weight.detach()), sample(WEIGHTED[case][0], shape, 2), module.u.clone()
    for training in (False, False, True, True, False):
        v = w.T @ u / ((w.T @ u).norm() + 1e-3)
        after = w @ v / ((w @ v).norm() + 1e-3)
        weight = module.weight.detach() / (after @ w @ v)
        expected = apart(case, plain, x, weight)
        torch.testing.assert_close(module.train(training)(x), expected)
        u = after if training else u
        torch.testing.assert_close(module.u, u)


@weighted
def test_spectral_norm_finds_the_largest_singular_value_from_below(case):
    """sn-gan, section 10: 1, 4 and 6."""
    _, shape, module, _ = spectral(case)
    x, largest = sample(WEIGHTED[case][0], shape, 2), torch.linalg.matrix_norm(matrix(case, module.weight.detach()), 2)
    for _ in range(300):
        module(x)
        weight, _ = module.eval().use(module.weight, None)
        sigma = (module.weight / weight).flatten()[0]
        assert sigma <= largest * (1 + 1e-12) and module.u.norm().item() == pytest.approx(1)
        module.train()
    torch.testing.assert_close(sigma, largest, rtol=1e-6, atol=0)


@weighted
def test_the_gradient_through_spectral_norm_is_the_closed_form(case):
    """sn-gan, section 6 and 10: 2 and 3: (g - <g, W'> u v^T) / sigma, orthogonal to W."""
    _, shape, module, plain = spectral(case)
    x, w = sample(WEIGHTED[case][0], shape, 3), matrix(case, module.weight.detach())
    v = w.T @ module.u / (w.T @ module.u).norm()
    u = w @ v / (w @ v).norm()
    sigma = u @ w @ v
    apart(case, plain, x, module.weight.detach() / sigma)
    direct = matrix(case, torch.autograd.grad(plain(x).pow(3).sum(), plain.weight)[0])
    through = matrix(case, torch.autograd.grad(module(x).pow(3).sum(), module.weight)[0])
    torch.testing.assert_close(through, (direct - (direct * w / sigma).sum() * torch.outer(u, v)) / sigma)
    assert (through * w).sum().abs() < 1e-10 * through.norm() * w.norm()


def test_an_earlier_call_stays_differentiable_after_later_ones():
    _, _, module, _ = spectral("Linear(3, bias=True)")
    first = module(torch.ones(1, 5, dtype=torch.float64)).sum()
    (alone,) = torch.autograd.grad(first, module.weight, retain_graph=True)
    second = module(torch.ones(1, 5, dtype=torch.float64)).sum()
    (later,) = torch.autograd.grad(first, module.weight)
    torch.autograd.grad(second, module.weight)
    assert torch.equal(alone, later)


@weighted
def test_equalized_scales_by_the_fan_in(case):
    _, shape, module, plain = wrapped(case, WRAPPERS["Equalized"].from_call([], {"gain": 3.0, "lr_mul": 0.5}))
    fan_in = {"Li": 5, "Em": 1}.get(case[:2]) or math.prod(WEIGHTED[case][2][:1]) // WEIGHTED[case][1].get(
        "groups", 1
    ) * (math.prod(k) if isinstance(k := WEIGHTED[case][1]["kernel"], list) else k ** (len(shape) - 1))
    x, bias = sample(WEIGHTED[case][0], shape, 2), module.bias
    if bias is not None:
        assert not bias.any()
        bias = torch.nn.init.normal_(bias.detach()) / 2
    expected = apart(case, plain, x, module.weight.detach() * 3 / math.sqrt(fan_in) / 2, bias)
    torch.testing.assert_close(module(x), expected)


def test_equalized_weights_begin_with_the_standard_deviation_of_their_rate():
    module = build(
        layers.wrap(
            LAYERS["Linear"].from_call([200], {}), [WRAPPERS["Equalized"].from_call([], {"lr_mul": 0.01})], (50,)
        )
    )
    assert module.weight.std().item() == pytest.approx(100, rel=0.05)


@weighted
def test_weight_norm_gives_each_row_its_length(case):
    _, shape, module, plain = wrapped(case, WRAPPERS["WeightNorm"].from_call([], {}))
    x = sample(WEIGHTED[case][0], shape, 2)
    torch.testing.assert_close(module(x), plain(x))  # it begins as the layer
    torch.nn.init.normal_(module.weight_g)
    rows = [g * row / row.norm() for g, row in zip(module.weight_g, module.weight, strict=True)]
    torch.testing.assert_close(module(x), apart(case, plain, x, torch.stack(rows)))
    module.match(module.weight)
    torch.testing.assert_close(module.weight_g, torch.stack([row.norm() for row in module.weight]))


def test_of_two_kinds_of_wrappers_the_inner_acts_first():
    """Spectral norm outside equalized weights leaves a map of norm 1, not one of norm gain / sqrt(fan_in)."""
    inner, outer = WRAPPERS["Equalized"].from_call([], {}), WRAPPERS["SpectralNorm"].from_call([], {})
    layer = LAYERS["Linear"].from_call([4], {})
    module = build(layers.wrap(layer, [inner, outer], (6,)))
    assert str(layers.wrap(layer, [inner, outer], (6,))) == "SpectralNorm(Equalized(nn.Linear(6, 4)))"
    for _ in range(300):
        weight, _ = module.use(module.weight, module.bias)
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=1e-6)
    module = build(layers.wrap(layer, [outer, inner], (6,)))
    for _ in range(300):
        weight, _ = module.use(module.weight, module.bias)
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(math.sqrt(2 / 6), abs=1e-6)


# Fingerprints that the blocks alone decide


def hashed(count: int, offset: int) -> torch.Tensor:
    """h of examples/README.md for the numbers from offset on, as 2 h - 1."""
    x = torch.arange(offset, offset + count, dtype=torch.int64) % 2**32
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) % 2**32
    return (x ^ (x >> 16)).double() / 2**32 * 2 - 1


def test_the_fingerprint_of_the_spectral_critic():
    """sngan_discriminator(16) on 32 x 32, u all ones: its recorded numbers, the same in both modes."""
    wrapper, made = WRAPPERS["SpectralNorm"].from_call([], {}), []

    def layer(name, shape, *args, **kwargs):
        made.append(build(layers.wrap(LAYERS[name].from_call(args, kwargs), [wrapper], shape)))
        return made[-1]

    def conv(channels, width, kernel):
        return layer("Conv2d", (channels, 32, 32), width, kernel, padding=kernel // 2)

    main = [(conv(3, 16, 3), conv(16, 16, 3))]
    short = [conv(3, 16, 1)]
    main.append((conv(16, 16, 3), conv(16, 16, 3)))
    short.append(conv(16, 16, 1))
    main += [(conv(16, 16, 3), conv(16, 16, 3)) for _ in range(2)]
    last = layer("Linear", (16,), 1, bias=False)
    assert sum(p.numel() for m in made for p in m.parameters()) == 17040
    for k, p in enumerate(p for m in made for p in m.parameters()):
        scale = math.sqrt(3 * p.shape[0] / p.numel()) if p.dim() > 1 else 0.1
        p.data = scale * hashed(p.numel(), 1000003 * k).reshape(p.shape)

    x = hashed(2 * 3 * 32 * 32, 7919).reshape(2, 3, 32, 32)
    for training in (False, True):
        for m in made:
            m.u.fill_(1.0)
            m.train(training)
        h = F.avg_pool2d(main[0][1](main[0][0](x).relu()), 2) + short[0](F.avg_pool2d(x, 2))
        h = F.avg_pool2d(main[1][1](main[1][0](h.relu()).relu()), 2) + F.avg_pool2d(short[1](h), 2)
        for first, second in main[2:]:
            h = h + second(first(h.relu()).relu())
        y = last(h.relu().sum(dim=(2, 3))).flatten()
        found = [y[0], y[0], y[1], y[1], y.mean(), y.abs().mean()]
        torch.testing.assert_close(
            torch.stack(found),
            torch.tensor([-20.4103, -20.4103, -20.237, -20.237, -20.3236, 20.3236]).double(),
            rtol=2e-3,
            atol=2e-4,
        )
