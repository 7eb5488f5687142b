"""The primitive layers by their definitions: fields, parameters, running state, and what comes out.

A layer is called with a `Site`: what gives it its parameters and buffers by name, the mode, and its draw.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import autograd.numpy as np

from gangraph.reference import operators as o
from gangraph.reference import primitives as p
from gangraph.reference.convolution import correlate, places_of, positions, spread
from gangraph.reference.resampling import area, bilinear, nearest, on_maps, padded, windows, zeros_between
from gangraph.reference.tape import constant
from gangraph.reference.values import Value, number

Shape = tuple[int, ...]


class Site(Protocol):
    """Where a layer stands."""

    @property
    def training(self) -> bool: ...
    def parameter(self, name: str, shape: Shape) -> Any: ...
    def weight(self, layer: Layer, shape: Shape, bias: bool) -> tuple[Any, Any]: ...
    def buffer(self, name: str, shape: Shape, start: float) -> Any: ...
    def keep(self, name: str, array: Any) -> None: ...
    def draw(self, shape: Shape) -> Any: ...
    def rounded(self, total: Any) -> Any: ...


def each(value: Any, count: int) -> tuple[int, ...]:
    """A field that is one number for all axes, or one for each."""
    found = value if isinstance(value, tuple) else (value,) * count
    assert len(found) == count, f"{value} for {count} axes"
    return tuple(int(number(n)) for n in found)


@dataclass
class Layer:
    axes: ClassVar[int] = 0  # behind the channels
    inputs: ClassVar[int] = 1
    weighted: ClassVar[bool] = False  # wrappers change how its weight is used

    def __call__(self, x: Value, site: Site) -> Value:
        raise NotImplementedError

    def matrix(self, w: Any) -> Any:
        """The weight as a matrix (out, rest)."""
        return np.reshape(w, (w.shape[0], -1))

    def fan_in(self, w: Any) -> int:
        """How many entries of the input each entry of the output sums."""
        return math.prod(w.shape[1:])


def grouped(function: Callable[[Any, Any], Any], x: Any, w: Any, groups: int) -> Any:
    """Channels in groups that do not mix: each part of x with its part of the kernels."""
    if groups == 1:
        return function(x, w)
    c, o = x.shape[1] // groups, w.shape[0] // groups
    parts = [function(x[:, g * c : (g + 1) * c], w[g * o : (g + 1) * o]) for g in range(groups)]
    return np.concatenate(parts, axis=1)


# --- maps with weights --------------------------------------------------------------------------------------------


@dataclass
class Conv(Layer):
    """y[o] = b[o] + sum over c of w[o, c] * x[c], the kernels not turned; channels in `groups` that do not mix."""

    width: int
    kernel: Any
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    bias: Any = True
    padding_mode: str = "zeros"
    weight: Any = None
    weighted: ClassVar[bool] = True

    def __call__(self, x: Value, site: Site) -> Value:
        kernel, stride, dilation = (each(f, self.axes) for f in (self.kernel, self.stride, self.dilation))
        borders = self._borders(kernel, dilation)
        channels = x.shape[0] // self.groups
        w, b = site.weight(self, (self.width, channels, *kernel), bool(self.bias))
        around = padded(x.data, borders, self.padding_mode)
        y = grouped(lambda part, kernels: correlate(part, kernels, stride, dilation), around, w, self.groups)
        return x.but(y if b is None else y + np.reshape(b, (1, -1, *(1,) * self.axes)))

    def _borders(self, kernel: Shape, dilation: Shape) -> list[tuple[int, int]]:
        if self.padding == "same":
            spans = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
            return [(span // 2, span - span // 2) for span in spans]
        return [(n, n) for n in each(0 if self.padding == "valid" else self.padding, self.axes)]


@dataclass
class ConvTranspose(Layer):
    """The adjoint of a convolution: x[c] times w[c, o] is added at every place that a convolution would have read."""

    width: int
    kernel: Any
    stride: Any = 1
    padding: Any = 0
    output_padding: Any = 0
    groups: int = 1
    bias: Any = True
    dilation: Any = 1
    weight: Any = None
    weighted: ClassVar[bool] = True

    def __call__(self, x: Value, site: Site) -> Value:
        fields = (self.kernel, self.stride, self.padding, self.output_padding, self.dilation)
        kernel, stride, border, extra, dilation = (each(f, self.axes) for f in fields)
        w, b = site.weight(self, (x.shape[0], self.width // self.groups, *kernel), bool(self.bias))
        sizes = zip(x.shape[1:], stride, dilation, kernel, strict=True)
        reached = tuple((n - 1) * s + d * (k - 1) + 1 for n, s, d, k in sizes)
        y = grouped(lambda part, kernels: spread(part, kernels, reached, stride, dilation), x.data, w, self.groups)
        y = padded(y, [(-n, e - n) for n, e in zip(border, extra, strict=True)])
        return x.but(y if b is None else y + np.reshape(b, (1, -1, *(1,) * self.axes)))

    def matrix(self, w: Any) -> Any:
        turned = np.swapaxes(w, 0, 1)
        return np.reshape(turned, (turned.shape[0], -1))

    def fan_in(self, w: Any) -> int:
        return int(w.shape[0] // self.groups * math.prod(w.shape[2:]))


@dataclass
class Linear(Layer):
    """W x + b."""

    width: int
    bias: Any = True
    weight: Any = None
    weighted: ClassVar[bool] = True

    def __call__(self, x: Value, site: Site) -> Value:
        w, b = site.weight(self, (self.width, x.shape[-1]), bool(self.bias))
        y = np.dot(x.data, w.T) if len(x.shape) == 1 else np.matmul(x.data, np.swapaxes(w, 0, 1))
        return x.but(y if b is None else y + b)


@dataclass
class Embedding(Layer):
    """Row x of a table."""

    count: int
    width: int
    weight: Any = None
    weighted: ClassVar[bool] = True

    def __call__(self, x: Value, site: Site) -> Value:
        table, _ = site.weight(self, (self.count, self.width), False)
        return x.but(table[constant(x.data).astype(int)])

    def fan_in(self, w: Any) -> int:
        return 1


@dataclass
class Parameter(Layer):
    """A learned value, the same for all samples."""

    shape: Shape = ()
    init: Any = None
    inputs: ClassVar[int] = 0

    def __call__(self, x: Any, site: Site) -> Value:
        w = site.parameter("weight", self.shape)
        return Value(np.reshape(w, (1, *self.shape)), True)


# --- normalization ------------------------------------------------------------------------------------------------


def standardized(x: Any, axes: Shape, eps: float, site: Site) -> Any:
    """(x - mean) / sqrt(variance + eps), the variance divided by the number of entries."""
    count = math.prod(x.shape[a] for a in axes)
    centred = x - site.rounded(np.sum(x, axis=axes, keepdims=True) / count)
    variance = np.sum(centred * centred, axis=axes, keepdims=True) / count
    return centred / np.sqrt(variance + eps)


def scaled(y: Any, site: Site, shape: Shape, affine: bool) -> Any:
    """times weight plus bias, by default one of each for a channel."""
    if not affine:
        return y
    spread_ = (1, *shape, *(1,) * (y.ndim - 1 - len(shape)))
    weight, bias = site.parameter("weight", shape), site.parameter("bias", shape)
    return y * np.reshape(weight, spread_) + np.reshape(bias, spread_)


@dataclass
class RunningNorm(Layer):
    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True
    track_running_stats: bool = True
    by_sample: ClassVar[bool] = False

    def __call__(self, x: Value, site: Site) -> Value:
        channels, data = x.shape[0], x.data
        axes = tuple(range(2, data.ndim)) if self.by_sample else (0, *range(2, data.ndim))
        spread_ = (1, channels, *(1,) * (data.ndim - 2))
        running = None
        if self.track_running_stats:
            starts = {"running_mean": 0.0, "running_var": 1.0}
            running = {name: site.buffer(name, (channels,), start) for name, start in starts.items()}
            running["num_batches_tracked"] = site.buffer("num_batches_tracked", (), 0)
        if running is None or site.training:
            y = standardized(data, axes, self.eps, site)
        else:
            mean, variance = (np.reshape(running[k], spread_) for k in ("running_mean", "running_var"))
            y = (data - mean) / np.sqrt(variance + self.eps)
        if running is not None and site.training:
            self._move(running, constant(data), axes, site)
        return x.but(scaled(y, site, (channels,), self.affine))

    def _move(self, running: dict[str, Any], data: Any, axes: Shape, site: Site) -> None:
        """running <- (1 - momentum) running + momentum new; the new variance is the unbiased one."""
        count = math.prod(data.shape[a] for a in axes)
        unbiased = data.var(axis=axes) * (count / max(count - 1, 1))
        new = {"running_mean": data.mean(axis=axes), "running_var": unbiased}
        for name, value in new.items():
            value = value.mean(axis=0) if self.by_sample else value
            site.keep(name, (1 - self.momentum) * running[name] + self.momentum * value)
        if not self.by_sample:  # PyTorch's instance norm has this counter and does not move it
            site.keep("num_batches_tracked", running["num_batches_tracked"] + 1)


@dataclass
class BatchNorm(RunningNorm):
    """Ioffe and Szegedy 2015, algorithm 1: over samples and map."""


@dataclass
class InstanceNorm(RunningNorm):
    """Ulyanov et al. 2016: over the map of each sample and channel."""

    affine: bool = False
    track_running_stats: bool = False
    by_sample: ClassVar[bool] = True


@dataclass
class GroupNorm(Layer):
    """Wu and He 2018: over the map and the channels of one group of one sample."""

    groups: int
    eps: float = 1e-5
    affine: bool = True

    def __call__(self, x: Value, site: Site) -> Value:
        grouped = np.reshape(x.data, (x.samples, self.groups, -1))
        y = np.reshape(standardized(grouped, (2,), self.eps, site), x.data.shape)
        return x.but(scaled(y, site, x.shape[:1], self.affine))


@dataclass
class LayerNorm(Layer):
    """Ba et al. 2016: over all axes of a sample, a weight and a bias for each entry."""

    eps: float = 1e-5
    affine: bool = True

    def __call__(self, x: Value, site: Site) -> Value:
        y = standardized(x.data, tuple(range(1, x.data.ndim)), self.eps, site)
        return x.but(scaled(y, site, x.shape, self.affine))


# --- activations --------------------------------------------------------------------------------------------------


@dataclass
class Activation(Layer):
    operator: ClassVar[str]

    def __call__(self, x: Value, site: Site) -> Value:
        return o.OPERATORS[self.operator](x)  # type: ignore[no-any-return]


def activation(name: str, operator: str) -> type[Layer]:
    return type(name, (Activation,), {"operator": operator})


@dataclass
class LeakyReLU(Layer):
    slope: float = 0.01

    def __call__(self, x: Value, site: Site) -> Value:
        return o.leaky_relu(x, self.slope)


@dataclass
class PReLU(Layer):
    """x where positive, else weight x (He et al. 2015); one weight for all, or one for each channel."""

    count: int = 1
    init: Any = 0.25

    def __call__(self, x: Value, site: Site) -> Value:
        w = np.reshape(site.parameter("weight", (self.count,)), (1, -1, *(1,) * (x.data.ndim - 2)))
        w = np.reshape(w, (1,) * x.data.ndim) if self.count == 1 else w
        positive = p.step(x.data)
        return x.but(x.data * positive + w * (x.data * (1 - positive)))


@dataclass
class ELU(Layer):
    alpha: float = 1.0

    def __call__(self, x: Value, site: Site) -> Value:
        return x.but(o.elu(x.data, self.alpha))


@dataclass
class Softplus(Layer):
    """log(1 + exp(x)), and x itself above 20, as PyTorch has it."""

    def __call__(self, x: Value, site: Site) -> Value:
        large = constant(x.data) > 20
        return x.but(np.where(large, x.data, p.softplus(np.where(large, 0.0, x.data))))


@dataclass
class Hardtanh(Layer):
    low: float = -1.0
    high: float = 1.0

    def __call__(self, x: Value, site: Site) -> Value:
        return x.but(p.hardtanh(x.data, self.low, self.high))


@dataclass
class Softmax(Layer):
    dim: int

    def __call__(self, x: Value, site: Site) -> Value:
        return o.softmax(x, self.dim % x.data.ndim)


@dataclass
class LogSoftmax(Layer):
    dim: int

    def __call__(self, x: Value, site: Site) -> Value:
        return o.log_softmax(x, self.dim % x.data.ndim)


@dataclass
class Identity(Layer):
    def __call__(self, x: Value, site: Site) -> Value:
        return x


# --- randomness ---------------------------------------------------------------------------------------------------


@dataclass
class Dropout(Layer):
    """In training mode x mask / (1 - p); the draw is the mask (Srivastava et al. 2014)."""

    p: float = 0.5

    def __call__(self, x: Value, site: Site) -> Value:
        if self.p == 0 or not site.training:
            return x
        scale = 1 / (1 - self.p) if self.p < 1 else 0.0
        return x.but(x.data * site.draw(x.data.shape) * scale)


@dataclass
class Noise(Layer):
    """In training mode x + std n, n standard normal."""

    std: float = 1.0

    def __call__(self, x: Value, site: Site) -> Value:
        if self.std == 0 or not site.training:
            return x
        return x.but(x.data + self.std * site.draw(x.data.shape))


# --- maps without weights -----------------------------------------------------------------------------------------


@dataclass
class AvgPool(Layer):
    kernel: Any
    stride: Any = None
    padding: Any = 0
    count_include_pad: bool = True

    def __call__(self, x: Value, site: Site) -> Value:
        kernel, border = each(self.kernel, self.axes), each(self.padding, self.axes)
        stride = kernel if self.stride is None else each(self.stride, self.axes)
        fields = zip(x.shape[1:], kernel, stride, border, strict=True)
        return x.but(on_maps(x.data, [windows(n, k, s, b, self.count_include_pad) for n, k, s, b in fields]))


@dataclass
class MaxPool(Layer):
    """The largest entry of each window; the gradient goes to the first of equal ones."""

    kernel: Any
    stride: Any = None
    padding: Any = 0

    def __call__(self, x: Value, site: Site) -> Value:
        kernel, border = each(self.kernel, self.axes), each(self.padding, self.axes)
        stride = kernel if self.stride is None else each(self.stride, self.axes)
        around = [(b, b) for b in border]
        whole, outside = padded(x.data, around), padded(np.ones(x.data.shape), around) == 0
        places = places_of(tuple(whole.shape[2:]), kernel, stride, (1,) * self.axes)
        seen = [entries for _, entries in positions(kernel, places, stride, (1,) * self.axes)]
        values = np.where(outside, -np.inf, constant(whole))
        first = np.argmax(np.stack([values[entries] for entries in seen]), axis=0)
        return x.but(sum(whole[entries] * (first == i) for i, entries in enumerate(seen)))


@dataclass
class AdaptiveAvgPool(Layer):
    size: Any

    def __call__(self, x: Value, site: Site) -> Value:
        sizes = zip(x.shape[1:], each(self.size, self.axes), strict=True)
        return x.but(on_maps(x.data, [area(n, out) for n, out in sizes]))


@dataclass
class Upsample(Layer):
    scale: Any
    mode: str = "nearest"

    def __call__(self, x: Value, site: Site) -> Value:
        kind = {"nearest": nearest, "bilinear": bilinear}[self.mode]
        scales = zip(x.shape[1:], each(self.scale, len(x.shape) - 1), strict=True)
        return x.but(on_maps(x.data, [kind(n, n * s) for n, s in scales]))


@dataclass
class Flatten(Layer):
    def __call__(self, x: Value, site: Site) -> Value:
        return o.reshape(x, -1)


@dataclass
class PixelShuffle(Layer):
    """Shi et al. 2016: channel c f f + i f + j becomes the entries (i, j) of squares of f x f."""

    factor: int

    def __call__(self, x: Value, site: Site) -> Value:
        f, (channels, height, width) = self.factor, x.shape
        parted = np.reshape(x.data, (x.samples, channels // f**2, f, f, height, width))
        turned = np.transpose(parted, (0, 1, 4, 2, 5, 3))
        return x.but(np.reshape(turned, (x.samples, channels // f**2, height * f, width * f)))


@dataclass
class ZeroPad2d(Layer):
    pad: Any

    def __call__(self, x: Value, site: Site) -> Value:
        return o.pad(x, each(self.pad, 4))


@dataclass
class Filter2d(Layer):
    """Zeros between, pad, correlate each channel with scale * kernel, keep every down-th (Karras et al. 2020)."""

    kernel: Any
    up: int = 1
    down: int = 1
    pad: Any = None
    scale: float = 1.0

    def __call__(self, x: Value, site: Site) -> Value:
        kernel = np.array([[float(number(n)) for n in row] for row in self.kernel]) * float(self.scale)
        (tall, wide), (channels, height, width) = kernel.shape, x.shape
        own = ((wide - 1) // 2,) * 2 + ((tall - 1) // 2,) * 2
        left, right, top, bottom = own if self.pad is None else each(self.pad, 4)
        y = on_maps(x.data, [zeros_between(height, self.up), zeros_between(width, self.up)])
        y = padded(y, [(top, bottom), (left, right)])
        alone = np.reshape(y, (x.samples * channels, 1, *y.shape[2:]))
        y = correlate(alone, kernel[None, None], (self.down, self.down), (1, 1))
        return x.but(np.reshape(y, (x.samples, channels, *y.shape[2:])))


@dataclass
class MinibatchStd(Layer):
    """Karras et al. 2018, section 3: the mean over a sample's entries of their deviation in a group, as a channel.

    Samples m, m + M, m + 2 M, ... are group m of M = N / group groups.
    """

    group: int

    def __call__(self, x: Value, site: Site) -> Value:
        n, (channels, height, width) = x.samples, x.shape
        size = min(self.group, n)
        y = np.reshape(x.data, (size, n // size, channels, height, width))
        y = y - np.sum(y, axis=0, keepdims=True) / size
        deviation = np.sqrt(np.sum(y * y, axis=0) / size + 1e-8)
        each_ = np.sum(deviation, axis=(1, 2, 3)) / (channels * height * width)
        column = np.reshape(np.concatenate([each_] * size), (n, 1, 1, 1)) * np.ones((1, 1, height, width))
        return x.but(np.concatenate([x.data, column], axis=1))


# --- sequences ----------------------------------------------------------------------------------------------------


@dataclass
class Recurrent(Layer):
    """L x C -> L x hidden, the outputs at all places; with `bidirectional` a second run from the end beside it."""

    hidden: int
    layers: int = 1
    bidirectional: bool = False
    gates: ClassVar[int]

    def __call__(self, x: Value, site: Site) -> Value:
        h = x.data
        for layer in range(self.layers):
            runs = []
            for suffix in (f"l{layer}", f"l{layer}_reverse")[: 1 + self.bidirectional]:
                rows = self.gates * self.hidden
                w = site.parameter(f"weight_ih_{suffix}", (rows, h.shape[2]))
                u = site.parameter(f"weight_hh_{suffix}", (rows, self.hidden))
                b = site.parameter(f"bias_ih_{suffix}", (rows,))
                c = site.parameter(f"bias_hh_{suffix}", (rows,))
                backwards = suffix.endswith("reverse")
                places = range(h.shape[1])
                outputs = self.run([h[:, t] for t in (reversed(places) if backwards else places)], w, u, b, c)
                runs.append(np.stack(outputs[::-1] if backwards else outputs, axis=1))
            h = np.concatenate(runs, axis=2)
        return x.but(h)

    def run(self, xs: list[Any], w: Any, u: Any, b: Any, c: Any) -> list[Any]:
        raise NotImplementedError

    def parts(self, y: Any) -> list[Any]:
        return [y[:, i * self.hidden : (i + 1) * self.hidden] for i in range(self.gates)]


@dataclass
class GRU(Recurrent):
    """Cho et al. 2014, with PyTorch's second bias inside the reset."""

    gates: ClassVar[int] = 3

    def run(self, xs: list[Any], w: Any, u: Any, b: Any, c: Any) -> list[Any]:
        h, found = np.zeros((xs[0].shape[0], self.hidden)), []
        for x in xs:
            xr, xz, xn = self.parts(np.dot(x, w.T) + b)
            hr, hz, hn = self.parts(np.dot(h, u.T) + c)
            r, z = p.sigmoid(xr + hr), p.sigmoid(xz + hz)
            h = (1 - z) * np.tanh(xn + r * hn) + z * h
            found.append(h)
        return found


@dataclass
class LSTM(Recurrent):
    """Hochreiter and Schmidhuber 1997, with a forget gate; gates in the order input, forget, cell, output."""

    gates: ClassVar[int] = 4

    def run(self, xs: list[Any], w: Any, u: Any, b: Any, c: Any) -> list[Any]:
        h, cell, found = np.zeros((xs[0].shape[0], self.hidden)), np.zeros((xs[0].shape[0], self.hidden)), []
        for x in xs:
            i, f, g, out = self.parts(np.dot(x, w.T) + b + np.dot(h, u.T) + c)
            cell = p.sigmoid(f) * cell + p.sigmoid(i) * np.tanh(g)
            h = p.sigmoid(out) * np.tanh(cell)
            found.append(h)
        return found


# --- wrappers -----------------------------------------------------------------------------------------------------


@dataclass
class SpectralNorm:
    """W / sigma, sigma = u' W v after one power iteration, u and v constants (Miyato et al. 2018, algorithm 1)."""

    eps: float = 1e-12

    def use(self, w: Any, b: Any, layer: Layer, site: Site, prefix: str) -> tuple[Any, Any]:
        matrix = layer.matrix(w)
        plain = constant(matrix)
        u = site.buffer(f"{prefix}u", (plain.shape[0],), 1.0)
        v = plain.T @ u
        v = v / (np.sqrt(np.sum(v * v)) + self.eps)
        u = plain @ v
        u = u / (np.sqrt(np.sum(u * u)) + self.eps)
        if site.training:
            site.keep(f"{prefix}u", u)
        return w / np.dot(u, np.dot(matrix, v)), b


@dataclass
class Equalized:
    """W lr_mul gain / sqrt(fan_in), b lr_mul (Karras et al. 2018, section 4.1)."""

    gain: float = math.sqrt(2)
    lr_mul: float = 1.0

    def use(self, w: Any, b: Any, layer: Layer, site: Site, prefix: str) -> tuple[Any, Any]:
        scale = self.lr_mul * self.gain / math.sqrt(layer.fan_in(w))
        return w * scale, b if b is None else b * self.lr_mul


@dataclass
class WeightNorm:
    """g W / |W|, one norm for each entry of the first axis (Salimans and Kingma 2016, equation 2)."""

    def use(self, w: Any, b: Any, layer: Layer, site: Site, prefix: str) -> tuple[Any, Any]:
        g = site.parameter(f"{prefix}weight_g", (w.shape[0],))
        rows = np.reshape(w, (w.shape[0], -1))
        scale = g / np.sqrt(np.sum(rows * rows, axis=1))
        return w * np.reshape(scale, (-1, *(1,) * (w.ndim - 1))), b


WRAPPERS: dict[str, type[Any]] = {"SpectralNorm": SpectralNorm, "Equalized": Equalized, "WeightNorm": WeightNorm}


def _by_axes(kind: type[Layer], counts: tuple[int, ...]) -> dict[str, type[Layer]]:
    """One class for each number of axes behind the channels."""
    return {f"{kind.__name__}{n}d": type(f"{kind.__name__}{n}d", (kind,), {"axes": n}) for n in counts}


LAYERS: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (
        Linear, Embedding, Parameter, GroupNorm, LayerNorm, LeakyReLU, PReLU, ELU, Softplus, Hardtanh, Softmax,
        LogSoftmax, Identity, Dropout, Noise, Upsample, Flatten, PixelShuffle, ZeroPad2d, Filter2d, MinibatchStd, GRU,
        LSTM,
    )
}  # fmt: skip
for _kind, _counts in (
    (Conv, (1, 2, 3)), (ConvTranspose, (1, 2, 3)), (BatchNorm, (1, 2, 3)), (InstanceNorm, (1, 2, 3)),
    (AvgPool, (1, 2, 3)), (MaxPool, (1, 2, 3)), (AdaptiveAvgPool, (1, 2)),
):  # fmt: skip
    LAYERS |= _by_axes(_kind, _counts)
LAYERS |= {name: activation(name, name.lower()) for name in ("ReLU", "SELU", "GELU", "SiLU", "Mish", "Tanh", "Sigmoid")}


def make(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """A layer or wrapper from its call; a number that was computed is one all the same."""
    if name == "Parameter":
        return Parameter(tuple(int(number(n)) for n in arguments), **keywords)
    kind = WRAPPERS[name] if name in WRAPPERS else LAYERS[name]
    plain = [number(a) for a in arguments]
    made = kind(*plain, **{k: number(v) for k, v in keywords.items()})
    for entry in dataclasses.fields(made):
        value = getattr(made, entry.name)
        if entry.type == "int" and isinstance(value, float):
            setattr(made, entry.name, int(value))
    return made
