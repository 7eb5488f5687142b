"""Convolution by loops over the positions of the kernel, and its two adjoints: each is the derivative of the others.

x is [N, C, sizes], a kernel [O, C, kernel], what comes out [N, O, places]. Place p of the output reads entry
p * stride + k * dilation of x at position k of the kernel.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy
from autograd.extend import defvjp, primitive

Sizes = tuple[int, ...]


def positions(kernel: Sizes, places: Sizes, stride: Sizes, dilation: Sizes) -> Iterator[tuple[Any, Any]]:
    """Each position of the kernel, with the entries of x that all places read there."""
    for position in itertools.product(*map(range, kernel)):
        entries = tuple(
            slice(k * d, k * d + s * (p - 1) + 1, s)
            for k, d, s, p in zip(position, dilation, stride, places, strict=True)
        )
        yield (slice(None), slice(None), *position), (slice(None), slice(None), *entries)


def places_of(sizes: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Sizes:
    return tuple((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(sizes, kernel, stride, dilation, strict=True))


def flat(x: Any) -> Any:
    """[N, C, sizes] -> [N, C, places]."""
    return x.reshape(*x.shape[:2], -1)


def read(x: Any, kernel: Sizes, places: Sizes, stride: Sizes, dilation: Sizes) -> Any:
    """[N, C, sizes] -> [N, C * kernel, places]: what each place reads, in the order of the kernel's entries."""
    found = numpy.empty((*x.shape[:2], *kernel, *places))
    for at, entries in positions(kernel, places, stride, dilation):
        found[at] = x[entries]
    return found.reshape(x.shape[0], x.shape[1] * math.prod(kernel), -1)


@primitive  # type: ignore[untyped-decorator]
def correlate(x: Any, w: Any, stride: Sizes, dilation: Sizes) -> Any:
    """y[n, o, p] = sum over c, k of w[o, c, k] x[n, c, p * stride + k * dilation]."""
    places = places_of(x.shape[2:], w.shape[2:], stride, dilation)
    y = w.reshape(len(w), -1) @ read(x, w.shape[2:], places, stride, dilation)
    return y.reshape(*y.shape[:2], *places)


@primitive  # type: ignore[untyped-decorator]
def spread(y: Any, w: Any, sizes: Sizes, stride: Sizes, dilation: Sizes) -> Any:
    """x[n, c, p * stride + k * dilation] is the sum over o, p, k of w[o, c, k] y[n, o, p]: the adjoint by x."""
    x = numpy.zeros((y.shape[0], w.shape[1], *sizes))
    for at, entries in positions(w.shape[2:], y.shape[2:], stride, dilation):
        x[entries] += (w[at].T @ flat(y)).reshape(x[entries].shape)
    return x


@primitive  # type: ignore[untyped-decorator]
def kernel_of(x: Any, y: Any, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Any:
    """w[o, c, k] = sum over n, p of y[n, o, p] x[n, c, p * stride + k * dilation]: the adjoint by w."""
    found = read(x, kernel, y.shape[2:], stride, dilation)
    return (flat(y) @ found.transpose(0, 2, 1)).sum(axis=0).reshape(y.shape[1], x.shape[1], *kernel)


defvjp(
    correlate,
    lambda ans, x, w, s, d: lambda g: spread(g, w, x.shape[2:], s, d),
    lambda ans, x, w, s, d: lambda g: kernel_of(x, g, w.shape[2:], s, d),
)
defvjp(
    spread,
    lambda ans, y, w, n, s, d: lambda g: correlate(g, w, s, d),
    lambda ans, y, w, n, s, d: lambda g: kernel_of(g, y, w.shape[2:], s, d),
)
defvjp(
    kernel_of,
    lambda ans, x, y, k, s, d: lambda g: spread(y, g, x.shape[2:], s, d),
    lambda ans, x, y, k, s, d: lambda g: correlate(x, g, s, d),
)
