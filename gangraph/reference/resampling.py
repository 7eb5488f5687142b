"""Padding, upsampling, resizing and average pooling as matrices: row o says what entry o of an axis is made of."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from gangraph.reference.primitives import along, bordered


def padded(x: Any, borders: Any, mode: str = "zeros") -> Any:
    """Each axis behind the channels with entries before and behind; negative numbers cut."""
    if mode == "zeros":
        return bordered(x, list(borders))
    return on_maps(x, [padding(n, a, b, mode) for n, (a, b) in zip(x.shape[2:], borders, strict=True)])


@lru_cache(maxsize=256)
def padding(size: int, before: int, behind: int, mode: str) -> Any:
    """`before` entries in front and `behind` entries after; negative numbers cut."""
    matrix = np.zeros((size + before + behind, size))
    for row in range(len(matrix)):
        i = row - before
        if mode == "reflect" and size > 1:  # the border itself is not repeated
            i = (i % (2 * size - 2)) if i >= 0 else (-i % (2 * size - 2))
            i = i if i < size else 2 * size - 2 - i
        elif mode == "replicate":
            i = min(max(i, 0), size - 1)
        elif mode == "circular":
            i %= size
        if 0 <= i < size:
            matrix[row, i] = 1
    return matrix


def zeros_between(size: int, up: int) -> Any:
    """`up - 1` zeros behind each entry."""
    matrix = np.zeros((size * up, size))
    matrix[np.arange(size) * up, np.arange(size)] = 1
    return matrix


def nearest(size: int, out: int) -> Any:
    """Entry floor(o size / out)."""
    matrix = np.zeros((out, size))
    matrix[np.arange(out), np.arange(out) * size // out] = 1
    return matrix


def bilinear(size: int, out: int) -> Any:
    """Centres of pixels on centres of pixels (no aligned corners), held at the border."""
    matrix = np.zeros((out, size))
    for o in range(out):
        place = max((o + 0.5) * size / out - 0.5, 0.0)
        low = min(int(place), size - 1)
        high = min(low + 1, size - 1)
        matrix[o, low] += 1 - (place - low)
        matrix[o, high] += place - low
    return matrix


def area(size: int, out: int) -> Any:
    """The mean from floor(o size / out) up to ceil((o + 1) size / out)."""
    matrix = np.zeros((out, size))
    for o in range(out):
        low, high = o * size // out, -(-(o + 1) * size // out)
        matrix[o, low:high] = 1 / (high - low)
    return matrix


def windows(size: int, kernel: int, stride: int, pad: int, count_pad: bool) -> Any:
    """Means over windows. Padding adds zeros; they are counted, or the mean is over what is there."""
    out = (size + 2 * pad - kernel) // stride + 1
    matrix = np.zeros((out, size))
    for o in range(out):
        low = o * stride - pad
        inside = [i for i in range(low, low + kernel) if 0 <= i < size]
        for i in inside:
            matrix[o, i] = 1 / (kernel if count_pad else len(inside))
    return matrix


MODES = {"nearest": nearest, "bilinear": bilinear, "area": area}


def on_maps(x: Any, matrices: list[Any]) -> Any:
    """One matrix for each axis behind the channels."""
    for axis, matrix in enumerate(matrices):
        x = along(x, matrix, axis + 2)
    return x
