"""The closed table of layers: fields, shape rule, parameters, state, and the text of the constructor, one class each.

A layer is a frozen value; it holds no tensor and knows no torch. The shapes here are own axes only: `(3, 64, 64)` is
an image, the sample axis is never written. What a layer computes stands elsewhere, once in `torch.nn` or
`codegen/blocks/` and once in the reference.

>>> layer = LAYERS["Conv2d"].from_call([64, 4], {"stride": 2, "padding": 1})
>>> print(layer, layer.output((3, 32, 32)), layer.construct((3, 32, 32)), sep=" | ")
Conv2d(64, 4, stride=2, padding=1) | (64, 16, 16) | nn.Conv2d(3, 64, 4, stride=2, padding=1)

A misuse raises `Fact`, one sentence that names the layer, what it got and what would fit.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Self

from gangraph.entries import (
    ANY,
    INFINITY,
    Bias,
    Construct,
    Entry,
    Initializer,
    Sides,
    Sizes,
    each,
    is_int,
    is_number,
    thawed,
)
from gangraph.errors import Fact
from gangraph.frozen import frozen

Shape = tuple[int, ...]  # own axes, without the sample axis
Range = tuple[float, float] | None  # of every entry of a value, where it is known

MAPS = {ANY: "at least one axis", 1: "C x L", 2: "C x H x W", 3: "C x D x H x W"}
AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def spell(shape: Sequence[int]) -> str:
    """A shape as a person writes it: `3 x 64 x 64`."""
    return " x ".join(map(str, shape)) or "a single number"


class Layer(Entry):
    """One primitive layer. `shape` is always the shape of its input; where that does not fit, Fact is raised."""

    inputs: ClassVar[int] = 1  # how many values it is applied to
    integers: ClassVar[bool] = False  # its input holds integers
    weighted: ClassVar[bool] = False  # has a `weight` that patterns of `init` mean and wrappers act on
    differentiable_twice: ClassVar[bool] = True
    bounds: ClassVar[Range] = None  # of what comes out, whatever goes in
    keeps_range: ClassVar[bool] = False  # what comes out lies between what goes in
    probability: ClassVar[bool] = False  # what comes out is one
    reads_input: ClassVar[bool] = True  # the derivative by the input does
    needs_samples: ClassVar[bool] = False  # torch takes the first axis of a value that all samples share for theirs
    function: ClassVar[str | None] = None  # of torch.nn.functional, if one takes the same arguments after the input

    @property
    def title(self) -> str:
        """What a spec calls it."""
        return type(self).__name__

    @property
    def classes(self) -> int | None:
        """How many different integers it takes."""
        return None

    @property
    def random(self) -> bool:
        """Takes draws in training mode."""
        return False

    @property
    def stateful(self) -> bool:
        """Moves buffers in training mode."""
        return False

    @property
    def batch_coupled(self) -> bool:
        """The samples of a batch see each other in training mode."""
        return False

    @property
    def linear(self) -> bool:
        """The derivative by the input does not read the input, in the sense of `autograd.grad(allow_unused=True)`."""
        return not self.reads_input

    def output(self, shape: Shape) -> Shape:
        """The shape of what comes out; Fact where the input does not fit."""
        if self.axes != ANY and len(shape) != self.axes + 1:
            raise self._needs(MAPS[self.axes], shape)
        return shape

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        """Names and shapes, in the order in which torch registers them."""
        return {}

    def construct(self, shape: Shape) -> Construct:
        """The constructor of the module that computes it."""
        name = type(self).__name__
        return self._construct(name if self.block else f"nn.{name}", self._leading(shape))

    def range(self, range: Range) -> Range:
        """What is known of the entries that come out, given what is known of those that go in."""
        return range if self.keeps_range else self.bounds

    def check_samples(self, samples: int, shape: Shape) -> None:
        """Raises Fact where a training batch of so many samples cannot be."""

    def _leading(self, shape: Shape) -> list[tuple[str, object]]:
        """The constructor's arguments in front of the fields."""
        return []

    def _needs(self, wanted: str, shape: Shape, help: str | None = None) -> Fact:
        return Fact(f"{self} needs {wanted}, got {spell(shape)}", help)

    def _along(self, field: str) -> list[int]:
        """A field of one number for all axes, or one each, as one each."""
        return each(getattr(self, field), self.axes)


def _hull(range: Range, value: float) -> Range:
    return range and (min(range[0], value), max(range[1], value))


def _clip(range: Range, low: float, high: float) -> Range:
    return (min(max(range[0], low), high), min(max(range[1], low), high)) if range else (low, high)


def _divisor(below: int, *numbers: int) -> int:
    """The largest number below that divides all."""
    return max(n for n in range(1, below) if not any(number % n for number in numbers))


# Layers with a weight


class _Weighted(Layer):
    """Conv, ConvTranspose, Linear, Embedding."""

    weighted = True
    reads_input = False
    width: int
    bias: Bias = False

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        self.output(shape)
        bias = {"bias": (self.width,)} if self.bias is not False else {}
        return {"weight": self.weight_shape(shape), **bias}

    def weight_shape(self, shape: Shape) -> Shape:
        raise NotImplementedError


class _Convolution(_Weighted):
    """What the six convolutions share; the two directions order their fields differently, as torch does."""

    names: ClassVar = {"width": "out_channels", "kernel": "kernel_size", "weight": ""}
    kernel: Sizes
    groups: int

    def validate(self) -> None:
        super().validate()
        if self.width % self.groups:
            help = f"groups={_divisor(self.groups, self.width)} would fit"
            raise Fact(f"{self} cannot split its width of {self.width} into {self.groups} groups", help)

    def output(self, shape: Shape) -> Shape:
        channels, *sizes = super().output(shape)
        if channels % self.groups:
            help = f"groups={_divisor(self.groups, channels, self.width)} would fit"
            raise Fact(f"{self} cannot split the channels of {spell(shape)} into {self.groups} groups", help)
        return (self.width, *(self._size(axis, size) for axis, size in enumerate(sizes)))

    def _size(self, axis: int, size: int) -> int:
        """What comes out along one axis."""
        raise NotImplementedError

    def _spans(self) -> list[int]:
        """What the kernel covers along each axis."""
        return [d * (k - 1) + 1 for k, d in zip(self._along("kernel"), self._along("dilation"), strict=True)]

    def _leading(self, shape: Shape) -> list[tuple[str, object]]:
        return [("in_channels", shape[0])]


@frozen
class _Conv(_Convolution):
    """`padding` may also be "same" (the size is kept, stride 1) or "valid" (none)."""

    width: int
    kernel: Sizes
    stride: Sizes = 1
    padding: Sizes | str = 0
    dilation: Sizes = 1
    groups: int = 1
    bias: Bias = True
    padding_mode: str = "zeros"
    weight: Initializer = None

    def validate(self) -> None:
        super().validate()
        self._choice("padding_mode", PADDING_MODES)
        if self.padding == "same" and set(self._along("stride")) != {1}:
            raise Fact(f"{self}: padding 'same' goes with stride 1 only", "write the padding as a number")
        if self.padding not in ("same", "valid") and not all(is_int(p) and p >= 0 for p in self._along("padding")):
            raise self._wrong("padding", f"a whole number, at least 0, a list of {self.axes}, 'same' or 'valid'")

    @property
    def linear(self) -> bool:
        # of these borders torch's second derivative hands back a tensor of zeros, not None
        return self.padding_mode not in ("reflect", "replicate")

    def _pads(self) -> list[tuple[int, int]]:
        """What is added before and behind, along each axis; of an odd "same", more behind."""
        if self.padding == "same":
            return [((span - 1) // 2, span // 2) for span in self._spans()]
        return [(p, p) for p in (self._along("padding") if self.padding != "valid" else [0] * self.axes)]

    def _size(self, axis: int, size: int) -> int:
        name, (before, behind), span = AXES[self.axes][axis], self._pads()[axis], self._spans()[axis]
        limit = {"reflect": size - 1, "circular": size}.get(self.padding_mode, INFINITY)
        if max(before, behind) > limit:
            fact = f"{self} cannot pad a {name} of {size} by {max(before, behind)} of its own entries"
            raise Fact(fact, f"at most {limit} would fit")
        padded = size + before + behind
        if padded < span:
            help = f"padding={(span - size + 1) // 2}, or a {name} of {span - before - behind}, would fit"
            if self._along("kernel")[axis] > 16:
                help = f"the channels of the input are inferred, never written; {help}"
            raise Fact(f"{self} covers {span} of a padded {name} of only {padded}", help)
        return (padded - span) // self._along("stride")[axis] + 1

    def weight_shape(self, shape: Shape) -> Shape:
        return (self.width, shape[0] // self.groups, *self._along("kernel"))


class Conv1d(_Conv):
    """C x L -> width x L', L' = floor((L + 2 padding - dilation (kernel - 1) - 1) / stride) + 1."""

    axes = 1


class Conv2d(_Conv):
    """C x H x W -> width x H' x W'."""

    axes = 2


class Conv3d(_Conv):
    """C x D x H x W -> width x D' x H' x W'."""

    axes = 3


@frozen
class _ConvTranspose(_Convolution):
    width: int
    kernel: Sizes
    stride: Sizes = 1
    padding: Sizes = 0
    output_padding: Sizes = 0
    groups: int = 1
    bias: Bias = True
    dilation: Sizes = 1
    weight: Initializer = None

    def validate(self) -> None:
        super().validate()
        limits = map(max, self._along("stride"), self._along("dilation"))
        if any(extra >= limit for extra, limit in zip(self._along("output_padding"), limits, strict=True)):
            raise Fact(f"{self}: output_padding is smaller than stride or dilation")

    def _size(self, axis: int, size: int) -> int:
        stride, padding, extra = (self._along(field)[axis] for field in ("stride", "padding", "output_padding"))
        full = (size - 1) * stride + self._spans()[axis] + extra
        if full <= 2 * padding:
            fact = f"{self} makes {full} of a {AXES[self.axes][axis]} of {size} and cuts {padding} from both ends"
            raise Fact(fact, f"padding={(full - 1) // 2} would fit")
        return full - 2 * padding

    def weight_shape(self, shape: Shape) -> Shape:
        return (shape[0], self.width // self.groups, *self._along("kernel"))


class ConvTranspose1d(_ConvTranspose):
    """C x L -> width x L', L' = (L - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1."""

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """C x H x W -> width x H' x W'."""

    axes = 2


class ConvTranspose3d(_ConvTranspose):
    """C x D x H x W -> width x D' x H' x W'."""

    axes = 3


@frozen
class Linear(_Weighted):
    """... x n -> ... x width: acts on the last axis."""

    names: ClassVar = {"width": "out_features", "weight": ""}
    width: int
    bias: Bias = True
    weight: Initializer = None

    def output(self, shape: Shape) -> Shape:
        if not shape:
            raise self._needs("an axis to act on", shape, "reshape(_, 1) makes one")
        return (*shape[:-1], self.width)

    def weight_shape(self, shape: Shape) -> Shape:
        return (self.width, shape[-1])

    def _leading(self, shape: Shape) -> list[tuple[str, object]]:
        return [("in_features", shape[-1])]


@frozen
class Embedding(_Weighted):
    """Integers of any shape -> shape x width: for the integer k, row k of the weight."""

    integers = True
    names: ClassVar = {"count": "num_embeddings", "width": "embedding_dim", "weight": ""}
    count: int
    width: int
    weight: Initializer = None

    @property
    def classes(self) -> int:
        return self.count

    def output(self, shape: Shape) -> Shape:
        return (*shape, self.width)

    def weight_shape(self, shape: Shape) -> Shape:
        return (self.count, self.width)


@frozen
class Parameter(Layer):
    """Nothing -> shape: a learned value, the same for all samples. `Parameter(3, 4)`; `Parameter()` is one number."""

    inputs = 0
    reads_input = False
    block = "parameter"
    shape: Shape = ()
    init: Initializer = None

    @classmethod
    def from_call(cls, args: Sequence[object], kwargs: Mapping[str, object]) -> Self:
        if "shape" in kwargs:
            raise Fact("Parameter takes its sizes one by one", f"it is {cls.signature()}")
        return super().from_call([], {"shape": tuple(args), **kwargs})

    @classmethod
    def signature(cls) -> str:
        return "Parameter(*sizes, init=None)"

    def __str__(self) -> str:
        init = () if self.init is None else (f"init={self.init}",)
        return f"Parameter({', '.join((*map(str, self.shape), *init))})"

    def validate(self) -> None:
        super().validate()
        if not isinstance(self.shape, tuple) or not all(is_int(size) and size > 0 for size in self.shape):
            raise self._wrong("shape", "made of whole numbers, at least 1")

    def output(self, shape: Shape = ()) -> Shape:
        return self.shape

    def parameters(self, shape: Shape = ()) -> dict[str, Shape]:
        return {"weight": self.shape}

    def construct(self, shape: Shape = ()) -> Construct:
        return Construct("Parameter", tuple(("shape", size, True) for size in self.shape), self.block)


# Normalizations


class _Norm(Layer):
    """What they share: a weight and a bias at the end, one for each channel."""

    affine: bool

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        size = self._affine_shape(self.output(shape))
        return {"weight": size, "bias": size} if self.affine else {}

    def _affine_shape(self, shape: Shape) -> Shape:
        return shape[:1]


class _RunningNorm(_Norm):
    """Batch and instance norm, which may keep running statistics."""

    eps: float
    track_running_stats: bool

    def validate(self) -> None:
        super().validate()
        if self.eps == 0:
            raise self._wrong("eps", "above 0")

    @property
    def stateful(self) -> bool:
        return self.track_running_stats

    def _leading(self, shape: Shape) -> list[tuple[str, object]]:
        return [("num_features", shape[0])]


@frozen
class _BatchNorm(_RunningNorm):
    """In training mode over samples and map, in evaluation mode by running statistics if there are any."""

    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True
    track_running_stats: bool = True

    @property
    def batch_coupled(self) -> bool:
        return True

    def check_samples(self, samples: int, shape: Shape) -> None:
        if samples * math.prod(shape[1:]) == 1:
            raise Fact(f"{self} has one value a channel in a batch of 1", "use a larger batch")


class BatchNorm1d(_BatchNorm):
    """C or C x L."""

    def output(self, shape: Shape) -> Shape:
        if len(shape) not in (1, 2):
            raise self._needs("C or C x L", shape)
        return shape


class BatchNorm2d(_BatchNorm):
    """C x H x W."""

    axes = 2


class BatchNorm3d(_BatchNorm):
    """C x D x H x W."""

    axes = 3


@frozen
class _InstanceNorm(_RunningNorm):
    """Over the map of one sample and channel."""

    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = False
    track_running_stats: bool = False

    def output(self, shape: Shape) -> Shape:
        if math.prod(super().output(shape)[1:]) == 1:
            raise self._needs("more than one value a channel", shape, "leave the norm out on a map of one entry")
        return shape


class InstanceNorm1d(_InstanceNorm):
    """C x L."""

    axes = 1


class InstanceNorm2d(_InstanceNorm):
    """C x H x W."""

    axes = 2


class InstanceNorm3d(_InstanceNorm):
    """C x D x H x W."""

    axes = 3


@frozen
class GroupNorm(_Norm):
    """C x ...: over the map and the channels of one group of one sample; GroupNorm(1) over all of a sample."""

    needs_samples = True
    names: ClassVar = {"groups": ""}
    groups: int
    eps: float = 1e-5
    affine: bool = True

    def output(self, shape: Shape) -> Shape:
        if not shape:
            raise self._needs("channels", shape)
        if shape[0] % self.groups:
            help = f"groups={_divisor(self.groups, shape[0])} would fit"
            raise Fact(f"{self} cannot split the channels of {spell(shape)} into {self.groups} groups", help)
        if math.prod(shape) == self.groups:
            raise self._needs("more than one value a group", shape, "fewer groups, or a larger map")
        return shape

    def _leading(self, shape: Shape) -> list[tuple[str, object]]:
        return [("num_groups", self.groups), ("num_channels", shape[0])]


@frozen
class LayerNorm(_Norm):
    """Over all axes of a sample, with a weight and a bias for each entry."""

    names: ClassVar = {"affine": "elementwise_affine"}
    eps: float = 1e-5
    affine: bool = True

    def output(self, shape: Shape) -> Shape:
        if not shape:
            raise self._needs("at least one axis", shape)
        return shape

    def _affine_shape(self, shape: Shape) -> Shape:
        return shape

    def _leading(self, shape: Shape) -> list[tuple[str, object]]:
        return [("normalized_shape", shape)]


# Activations: any shape, entry by entry but for Softmax


class ReLU(Layer):
    """max(x, 0)."""

    def range(self, range: Range) -> Range:
        return _clip(range, 0.0, INFINITY)


@frozen
class LeakyReLU(Layer):
    """x where positive, else slope x."""

    names: ClassVar = {"slope": "negative_slope"}
    slope: float = 0.01


@frozen
class PReLU(Layer):
    """x where positive, else weight x; one weight for all, or one for each channel."""

    needs_samples = True
    names: ClassVar = {"count": "num_parameters"}
    count: int = 1
    init: float = 0.25

    def output(self, shape: Shape) -> Shape:
        if self.count != 1 and shape[:1] != (self.count,):
            raise self._needs(f"{self.count} channels", shape, "count is 1 or the number of channels")
        return shape

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        self.output(shape)
        return {"weight": (self.count,)}


@frozen
class ELU(Layer):
    """x where positive, else alpha (exp(x) - 1)."""

    alpha: float = 1.0


class SELU(Layer):
    """ELU scaled so that mean 0 and variance 1 are a fixed point (Klambauer et al. 2017)."""


class GELU(Layer):
    """x times the standard normal distribution function of x."""


class SiLU(Layer):
    """x sigmoid(x)."""


class Mish(Layer):
    """x tanh(softplus(x))."""


class Softplus(Layer):
    """log(1 + exp(x)); x itself above 20, as torch has it."""

    bounds = (0.0, INFINITY)


class Tanh(Layer):
    """Into [-1, 1]."""

    bounds = (-1.0, 1.0)


class Sigmoid(Layer):
    """Into [0, 1]."""

    bounds = (0.0, 1.0)
    probability = True


@frozen
class Hardtanh(Layer):
    """x cut to [low, high]."""

    names: ClassVar = {"low": "min_val", "high": "max_val"}
    low: float = -1.0
    high: float = 1.0

    def validate(self) -> None:
        super().validate()
        if self.low >= self.high:
            raise Fact(f"{self}: low is not below high")

    def range(self, range: Range) -> Range:
        return _clip(range, self.low, self.high)


@frozen
class Softmax(Layer):
    """Along one axis, which counts the sample axis as 0, as everywhere."""

    needs_samples = True
    names: ClassVar = {"dim": "dim="}
    bounds = (0.0, 1.0)
    probability = True
    dim: int

    def output(self, shape: Shape) -> Shape:
        if not (1 <= self.dim <= len(shape) or -len(shape) <= self.dim <= -1):
            raise self._needs("an axis of that number", shape, "axis 0 is that of the samples, own axes begin at 1")
        return shape


class LogSoftmax(Softmax):
    """The logarithm of Softmax."""

    bounds = (-INFINITY, 0.0)
    probability = False


class Identity(Layer):
    """x."""

    reads_input = False
    keeps_range = True


# Random layers


class _Random(Layer):
    """What its one number makes nothing of is the identity, without draws."""

    reads_input = False

    def construct(self, shape: Shape) -> Construct:
        return super().construct(shape) if self.random else Construct("nn.Identity")


@frozen
class Dropout(_Random):
    """In training mode x mask / (1 - p), with mask 0 with probability p; its draw is the mask."""

    block = "dropout"
    p: float = 0.5

    @property
    def random(self) -> bool:
        return self.p > 0

    def range(self, range: Range) -> Range:
        scale = 1 / (1 - self.p) if self.p < 1 else 1.0
        return _hull((range[0] * scale, range[1] * scale), 0.0) if range and self.random else range


@frozen
class Noise(_Random):
    """In training mode x + std n; its draw is the standard normal n of the shape of x."""

    block = "noise"
    std: float = 1.0

    @property
    def random(self) -> bool:
        return self.std > 0

    def range(self, range: Range) -> Range:
        return None if self.random else range


# Pooling and resampling


class _Pool(Layer):
    """What average and maximum share: L' = floor((L + 2 padding - kernel) / stride) + 1."""

    keeps_range = True
    names: ClassVar = {"kernel": "kernel_size"}
    stride: Sizes | None

    def validate(self) -> None:
        super().validate()
        if any(
            padding > kernel // 2 for padding, kernel in zip(self._along("padding"), self._along("kernel"), strict=True)
        ):
            raise Fact(f"{self}: padding is more than half of the kernel")

    def output(self, shape: Shape) -> Shape:
        channels, *sizes = super().output(shape)
        strides = self._along("kernel" if self.stride is None else "stride")
        out = [channels]
        for name, *numbers in zip(
            AXES[self.axes], sizes, self._along("kernel"), strides, self._along("padding"), strict=True
        ):
            size, span, stride, padding = numbers
            if size + 2 * padding < span:
                help = f"a {name} of {span - 2 * padding} would fit"
                raise Fact(f"{self} covers {span} of a padded {name} of only {size + 2 * padding}", help)
            out.append((size + 2 * padding - span) // stride + 1)
        return tuple(out)


@frozen
class _AvgPool(_Pool):
    """The mean of what the kernel covers; stride is the kernel where it is left out.

    Not `linear`: torch's second derivative hands the input a tensor of zeros, not None.
    """

    kernel: Sizes
    stride: Sizes | None = None
    padding: Sizes = 0
    count_include_pad: bool = True

    def range(self, range: Range) -> Range:
        return _hull(range, 0.0) if self.count_include_pad and any(self._along("padding")) else range


class AvgPool1d(_AvgPool):
    """C x L."""

    axes = 1
    function = "avg_pool1d"


class AvgPool2d(_AvgPool):
    """C x H x W."""

    axes = 2
    function = "avg_pool2d"


class AvgPool3d(_AvgPool):
    """C x D x H x W; torch's needs a map of the kernel's size also where it is padded."""

    axes = 3
    function = "avg_pool3d"

    def output(self, shape: Shape) -> Shape:
        out = super().output(shape)
        if any(map(operator.lt, shape[1:], self._along("kernel"))):
            raise self._needs("a map no smaller than its kernel", shape)
        return out


@frozen
class _MaxPool(_Pool):
    """The largest of what the kernel covers; stride is the kernel where it is left out."""

    kernel: Sizes
    stride: Sizes | None = None
    padding: Sizes = 0


class MaxPool1d(_MaxPool):
    """C x L."""

    axes = 1
    function = "max_pool1d"


class MaxPool2d(_MaxPool):
    """C x H x W."""

    axes = 2
    function = "max_pool2d"


class MaxPool3d(_MaxPool):
    """C x D x H x W."""

    axes = 3
    function = "max_pool3d"


@frozen
class _AdaptiveAvgPool(Layer):
    """Entry i of n is the mean of the entries from floor(i L / n) to below ceil((i + 1) L / n)."""

    keeps_range = True
    names: ClassVar = {"size": "output_size"}
    size: Sizes

    @property
    def linear(self) -> bool:
        return set(self._along("size")) == {1}  # torch takes a plain mean there

    def output(self, shape: Shape) -> Shape:
        return (super().output(shape)[0], *self._along("size"))


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """C x L -> C x size."""

    axes = 1
    function = "adaptive_avg_pool1d"


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """C x H x W -> C x size."""

    axes = 2
    function = "adaptive_avg_pool2d"


@frozen
class Upsample(Layer):
    """C x L, C x H x W or C x D x H x W, each size times scale; "bilinear" (C x H x W) as without aligned corners."""

    needs_samples = True
    reads_input = False
    keeps_range = True
    function = "interpolate"
    names: ClassVar = {"scale": "scale_factor="}
    scale: Sizes
    mode: str = "nearest"

    def validate(self) -> None:
        super().validate()
        self._choice("mode", ("nearest", "bilinear"))

    def output(self, shape: Shape) -> Shape:
        channels, *sizes = shape or (0,)
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,) * len(sizes)
        if len(sizes) not in ((1, 2, 3) if self.mode == "nearest" else (2,)) or len(scales) != len(sizes):
            maps = MAPS[2] if self.mode == "bilinear" else MAPS.get(len(scales), "C x L, C x H x W or C x D x H x W")
            raise self._needs(maps, shape)
        return (channels, *(size * scale for size, scale in zip(sizes, scales, strict=True)))


class Flatten(Layer):
    """All axes become one, row-major."""

    needs_samples = True
    reads_input = False
    keeps_range = True

    def output(self, shape: Shape) -> Shape:
        if not shape:
            raise self._needs("at least one axis", shape)
        return (math.prod(shape),)


@frozen
class PixelShuffle(Layer):
    """(C factor**2) x H x W -> C x (H factor) x (W factor) (Shi et al. 2016)."""

    axes = 2
    reads_input = False
    keeps_range = True
    names: ClassVar = {"factor": "upscale_factor"}
    factor: int

    def output(self, shape: Shape) -> Shape:
        channels, height, width = super().output(shape)
        if channels % self.factor**2:
            raise self._needs(f"a multiple of {self.factor**2} channels", shape)
        return (channels // self.factor**2, height * self.factor, width * self.factor)


@frozen
class ZeroPad2d(Layer):
    """C x H x W -> C x (H + top + bottom) x (W + left + right); negative numbers cut."""

    axes = 2
    reads_input = False
    names: ClassVar = {"pad": "padding"}
    pad: Sides

    def output(self, shape: Shape) -> Shape:
        channels, height, width = super().output(shape)
        left, right, top, bottom = each(self.pad, 4)
        return (channels, self._padded("height", height, top, bottom), self._padded("width", width, left, right))

    def _padded(self, name: str, size: int, before: int, behind: int) -> int:
        if size + min(before, 0) + min(behind, 0) < 0 or size + before + behind < 1:
            raise Fact(f"{self} leaves nothing of a {name} of {size}")
        return size + before + behind

    def range(self, range: Range) -> Range:
        return _hull(range, 0.0) if max(each(self.pad, 4)) > 0 else range


@frozen
class Filter2d(Layer):
    """A fixed kernel on each channel: `up - 1` zeros behind each entry, pad, correlate, keep every `down`-th.

    Karras et al. 2020, upfirdn2d. Without `pad` the size becomes exactly H up / down, with (k - 1) // 2 entries on
    both sides; Fact where that does not come out.
    """

    needs_samples = True
    axes = 2
    reads_input = False
    block = "filter2d"
    kernel: tuple[tuple[float, ...], ...]
    up: int = 1
    down: int = 1
    pad: Sides | None = None
    scale: float = 1.0

    def validate(self) -> None:
        super().validate()
        rows = self.kernel if isinstance(self.kernel, tuple) else ()
        if not rows or not all(isinstance(row, tuple) and row and all(map(is_number, row)) for row in rows):
            raise self._wrong("kernel", "a list of rows of numbers")
        if len(set(map(len, rows))) > 1:
            raise self._wrong("kernel", "a list of rows of equal length")

    def output(self, shape: Shape) -> Shape:
        channels, height, width = super().output(shape)
        tall, wide = len(self.kernel), len(self.kernel[0])
        own = ((wide - 1) // 2, (wide - 1) // 2, (tall - 1) // 2, (tall - 1) // 2)
        left, right, top, bottom = own if self.pad is None else each(self.pad, 4)
        return (
            channels,
            self._size("height", height, top, bottom, tall),
            self._size("width", width, left, right, wide),
        )

    def _size(self, name: str, size: int, before: int, behind: int, kernel: int) -> int:
        padded = size * self.up + before + behind
        if size * self.up + min(before, 0) + min(behind, 0) < 0 or padded < kernel:
            raise Fact(f"{self} covers {kernel} of a padded {name} of only {max(padded, 0)}")
        out = (padded - kernel) // self.down + 1
        if self.pad is None and out * self.down != size * self.up:
            raise Fact(
                f"{self} makes {out} of a {name} of {size}, not {size} * {self.up} / {self.down}", "write its pad"
            )
        return out


@frozen
class MinibatchStd(Layer):
    """C x H x W -> (C + 1) x H x W: how much the samples of a group differ (Karras et al. 2018, section 3)."""

    axes = 2
    block = "minibatch_std"
    group: int

    @property
    def batch_coupled(self) -> bool:
        return True

    def output(self, shape: Shape) -> Shape:
        channels, height, width = super().output(shape)
        return (channels + 1, height, width)

    def check_samples(self, samples: int, shape: Shape) -> None:
        if samples % min(self.group, samples):
            raise Fact(f"{self} cannot split {samples} samples into groups of {self.group}")


# Sequences


@frozen
class _Recurrent(Layer):
    """L x C -> L x hidden (twice that if bidirectional): the outputs at all places."""

    differentiable_twice = False  # cuDNN has no second derivative of a recurrence
    gates: ClassVar[int]
    hidden: int
    layers: int = 1
    bidirectional: bool = False

    def output(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            raise self._needs("L x C", shape)
        return (shape[0], self.hidden * (1 + self.bidirectional))

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        _, width = self.output(shape)
        rows = self.gates * self.hidden
        parameters: dict[str, Shape] = {}
        for layer in range(self.layers):
            for suffix in (f"l{layer}", f"l{layer}_reverse")[: 1 + self.bidirectional]:
                parameters[f"weight_ih_{suffix}"] = (rows, width if layer else shape[1])
                parameters[f"weight_hh_{suffix}"] = (rows, self.hidden)
                parameters[f"bias_ih_{suffix}"] = parameters[f"bias_hh_{suffix}"] = (rows,)
        return parameters

    def _leading(self, shape: Shape) -> list[tuple[str, object]]:
        return [("features", shape[1])]


class GRU(_Recurrent):
    """Cho et al. 2014."""

    block = "gru"
    gates = 3
    bounds = (-1.0, 1.0)  # a mean of tanh and of what came before


class LSTM(_Recurrent):
    """Hochreiter and Schmidhuber 1997."""

    block = "lstm"
    gates = 4
    bounds = (-1.0, 1.0)  # sigmoid times tanh


# Wrappers: how every weight inside is used


class Wrapper(Entry):
    """Changes how the weight (and bias) of a weighted layer is used; of different kinds, the inner acts first.

    The wrapped module has the parameters of the layer under their own names, then the wrapper's own.
    """

    stateful: ClassVar[bool] = False

    def parameters(self, layer: _Weighted, shape: Shape) -> dict[str, Shape]:
        """The wrapper's own, behind those of the layer."""
        return {}

    def construct(self, inner: Construct) -> Construct:
        """The text of the wrapped layer: `SpectralNorm(nn.Linear(3, 4))`."""
        return self._construct(type(self).__name__, [("layer", inner)])


@frozen
class SpectralNorm(Wrapper):
    """weight / sigma, its largest singular value by one power iteration a call (Miyato et al. 2018).

    `u` has an entry for each row of the weight as a matrix (out, rest); a training call moves it.
    """

    stateful = True
    block = "spectral_norm"
    eps: float = 1e-12


@frozen
class Equalized(Wrapper):
    """weight lr_mul gain / sqrt(fan_in), bias lr_mul; stored as N(0, 1 / lr_mul**2) and 0 (Karras et al. 2018)."""

    block = "equalized"
    gain: float = math.sqrt(2)
    lr_mul: float = 1.0

    def validate(self) -> None:
        super().validate()
        if self.lr_mul <= 0:
            raise self._wrong("lr_mul", "above 0")


@frozen
class WeightNorm(Wrapper):
    """weight_g weight / norm(weight), one norm an entry of the first axis (Salimans and Kingma 2016)."""

    block = "weight_norm"

    def parameters(self, layer: _Weighted, shape: Shape) -> dict[str, Shape]:
        return {"weight_g": layer.weight_shape(shape)[:1]}


def wrap(layer: Layer, wrappers: Sequence[Wrapper], shape: Shape) -> Construct:
    """The text of a layer inside wrappers, the innermost of them first."""
    construct = layer.construct(shape)
    for wrapper in wrappers:
        construct = wrapper.construct(construct)
    return construct


def wrapped_parameters(layer: Layer, wrappers: Sequence[Wrapper], shape: Shape) -> dict[str, Shape]:
    """The parameters of a layer inside wrappers: its own, then theirs, the outermost first.

    An inner wrapper stands in the outer one's module as `first`.
    """
    found = dict(layer.parameters(shape))
    for depth, wrapper in enumerate(reversed(wrappers)):
        assert isinstance(layer, _Weighted), f"{layer} has no weight to wrap"
        found |= {"first." * depth + name: size for name, size in wrapper.parameters(layer, shape).items()}
    return found


@frozen(eq=False)
class Declared(Layer):
    """A layer that a spec declares: torch's own, and what the spec says of its shapes (see `gangraph.declared`)."""

    needs_samples = True
    name: str
    torch: str  # nn.NAME
    arguments: tuple[tuple[str, object], ...]
    rule: Callable[[Shape], tuple[Shape, dict[str, Shape]]]  # shape -> shape, and those of the parameters

    @property
    def title(self) -> str:
        return self.name

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={thawed(v)!r}' for k, v in self.arguments)})"

    def output(self, shape: Shape) -> Shape:
        return self.rule(shape)[0]

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return self.rule(shape)[1]

    def construct(self, shape: Shape) -> Construct:
        return Construct(self.torch, tuple((name, value, False) for name, value in self.arguments))


# fmt: off
LAYERS: dict[str, type[Layer]] = {layer.__name__: layer for layer in (
    Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, Linear, Embedding, Parameter,
    BatchNorm1d, BatchNorm2d, BatchNorm3d, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, GroupNorm, LayerNorm,
    ReLU, LeakyReLU, PReLU, ELU, SELU, GELU, SiLU, Mish, Softplus, Tanh, Sigmoid, Hardtanh, Softmax, LogSoftmax,
    Identity, Dropout, Noise,
    AvgPool1d, AvgPool2d, AvgPool3d, MaxPool1d, MaxPool2d, MaxPool3d, AdaptiveAvgPool1d, AdaptiveAvgPool2d,
    Upsample, Flatten, PixelShuffle, ZeroPad2d, Filter2d, MinibatchStd, GRU, LSTM,
)}
# fmt: on

WRAPPERS: dict[str, type[Wrapper]] = {"SpectralNorm": SpectralNorm, "Equalized": Equalized, "WeightNorm": WeightNorm}
