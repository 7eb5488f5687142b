"""Functions whose derivative PyTorch has decided where there is none (design, semantics 12), as autograd primitives.

A derivative that reads its input is written so that autograd sees it read, also where a further derivative is zero
everywhere: that decides which parameters a penalty reaches, as `torch.autograd.grad(..., allow_unused=True)` does.
"""

from __future__ import annotations

from typing import Any

import autograd.numpy as np
import numpy
from autograd.extend import defvjp, primitive


@primitive  # type: ignore[untyped-decorator]
def step(x: Any, at_zero: float = 0.0, below: float = 0.0) -> Any:
    """1 above 0, `below` under it; its own derivative is 0 and is read."""
    return numpy.where(x > 0, 1.0, numpy.where(x < 0, below, at_zero))


@primitive  # type: ignore[untyped-decorator]
def sign(x: Any) -> Any:
    return numpy.sign(x)


def _flat(ans: Any, x: Any, *rest: Any) -> Any:
    return lambda g: 0.0 * g


defvjp(step, _flat, argnums=(0,))
defvjp(sign, _flat, argnums=(0,))


@primitive  # type: ignore[untyped-decorator]
def relu(x: Any) -> Any:
    """max(x, 0); relu'(0) = 0."""
    return numpy.maximum(x, 0.0)


@primitive  # type: ignore[untyped-decorator]
def gate(g: Any, x: Any) -> Any:
    """g where x is above 0, and 0 elsewhere, also where g is not a number."""
    return numpy.where(x > 0, g, 0.0)


defvjp(relu, lambda ans, x: lambda g: gate(g, x))
defvjp(gate, lambda ans, g, x: lambda h: gate(h, x), lambda ans, g, x: lambda h: 0.0 * h)


@primitive  # type: ignore[untyped-decorator]
def leaky_relu(x: Any, slope: float) -> Any:
    """x above 0, slope x below; the derivative at 0 is the slope."""
    return numpy.where(x > 0, x, slope * x)


defvjp(leaky_relu, lambda ans, x, slope: lambda g: g * step(x, slope, slope), argnums=(0,))


@primitive  # type: ignore[untyped-decorator]
def absolute(x: Any) -> Any:
    """|x|; abs'(0) = 0."""
    return numpy.abs(x)


defvjp(absolute, lambda ans, x: lambda g: g * sign(x))


@primitive  # type: ignore[untyped-decorator]
def within(x: Any, low: float, high: float) -> Any:
    """x between its bounds (clamp); the derivative at a bound is 1."""
    return numpy.clip(x, low, high)


defvjp(within, lambda ans, x, low, high: lambda g: g * _inside(x, low, high), argnums=(0,))


def _inside(x: Any, low: float, high: float) -> Any:
    from gangraph.reference.tape import constant

    x = constant(x)
    return ((x >= low) & (x <= high)).astype(float)


@primitive  # type: ignore[untyped-decorator]
def hardtanh(x: Any, low: float, high: float) -> Any:
    """x between its bounds; the derivative at a bound is 0, unlike that of clamp."""
    return numpy.clip(x, low, high)


@primitive  # type: ignore[untyped-decorator]
def strictly_inside(x: Any, low: float, high: float) -> Any:
    return ((x > low) & (x < high)).astype(float)


defvjp(strictly_inside, lambda ans, x, low, high: lambda g: 0.0 * g, argnums=(0,))
defvjp(hardtanh, lambda ans, x, low, high: lambda g: g * strictly_inside(x, low, high), argnums=(0,))


@primitive  # type: ignore[untyped-decorator]
def root(s: Any) -> Any:
    """sqrt(s) of a sum of squares; the derivative at 0 is 0, which is that of `norm` and `std` there."""
    return numpy.sqrt(s)


def _half_over_root(s: Any) -> Any:
    zero = s == 0
    return np.where(zero, 0.0, 0.5 * np.where(zero, 1.0, s) ** -0.5)


defvjp(root, lambda ans, s: lambda g: g * _half_over_root(s))


@primitive  # type: ignore[untyped-decorator]
def reversal(x: Any, s: float) -> Any:
    """x itself, its derivative -s (Ganin et al. 2016)."""
    return x


defvjp(reversal, lambda ans, x, s: lambda g: -s * g, argnums=(0,))


@primitive  # type: ignore[untyped-decorator]
def erf(x: Any) -> Any:
    import math

    return numpy.vectorize(math.erf, otypes=[float])(x)


defvjp(erf, lambda ans, x: lambda g: g * 2 / np.pi**0.5 * np.exp(-x * x))


@primitive  # type: ignore[untyped-decorator]
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow."""
    e = numpy.exp(-numpy.abs(x))
    return numpy.where(x >= 0, 1 / (1 + e), e / (1 + e))


defvjp(sigmoid, lambda ans, x: lambda g: g * ans_times_rest(x))


def ans_times_rest(x: Any) -> Any:
    return sigmoid(x) * sigmoid(-x)


@primitive  # type: ignore[untyped-decorator]
def softplus(x: Any) -> Any:
    """log(1 + exp(x)), without overflow (loss-families, section 6); its derivative is the sigmoid."""
    return numpy.maximum(x, 0) + numpy.log1p(numpy.exp(-numpy.abs(x)))


defvjp(softplus, lambda ans, x: lambda g: g * sigmoid(x))


@primitive  # type: ignore[untyped-decorator]
def exp_minus_one(x: Any) -> Any:
    return numpy.expm1(x)


defvjp(exp_minus_one, lambda ans, x: lambda g: g * np.exp(x))


@primitive  # type: ignore[untyped-decorator]
def bordered(x: Any, borders: Any) -> Any:
    """Zeros in front of and behind the entries of each axis behind the channels; negative numbers cut."""
    cut = [slice(max(-a, 0), x.shape[i + 2] - max(-b, 0)) for i, (a, b) in enumerate(borders)]
    around = [(max(a, 0), max(b, 0)) for a, b in borders]
    return numpy.pad(x[(slice(None), slice(None), *cut)], [(0, 0), (0, 0), *around])


defvjp(bordered, lambda ans, x, borders: lambda g: bordered(g, [(-a, -b) for a, b in borders]), argnums=(0,))


@primitive  # type: ignore[untyped-decorator]
def along(x: Any, matrix: Any, axis: int) -> Any:
    """A linear map of one axis: entry o of what comes out is the sum over i of matrix[o, i] times entry i."""
    return numpy.moveaxis(numpy.moveaxis(x, axis, -1) @ matrix.T, -1, axis)


defvjp(along, lambda ans, x, matrix, axis: lambda g: along(g, matrix.T, axis), argnums=(0,))
