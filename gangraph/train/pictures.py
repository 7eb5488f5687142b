"""Samples and losses -> pictures: grids, scatter plots, curves."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

SCALED_TO = 512  # small grids are enlarged to about this many pixels, each pixel a whole square
WIDTH = 1.5  # of a smoothed curve, in points; the raw values stand behind it, thin and pale


def png(
    values: Tensor, real: Tensor | None = None, range: tuple[float, float] = (-1.0, 1.0), row: int = 1
) -> bytes | None:
    """A picture of samples [n, C, H, W] or [n, d] as PNG: a grid, or points in the plane; None if it cannot be seen.

    With `row`, values [n, row, ...] are a row of so many pictures for each sample. `real` are data to stand beside
    them: the inputs of a translation (alternating with the samples), or real points.
    """
    if values.ndim == 2 and values.shape[1] == 2:
        return scatter(values, real)
    if row > 1:
        pictures = as_images(values.flatten(0, 1))
        columns = row * max(1, round(math.sqrt(len(values) / row)))
        return None if pictures is None else _bytes(grid(pictures, range, columns))
    found = as_images(values)
    if found is None:
        return None
    beside = as_images(real) if real is not None else None
    columns = 0
    if beside is not None and beside.shape[0] == found.shape[0]:
        found, columns = alternating(beside, found)
    return _bytes(grid(found, range, columns))


def as_images(values: Tensor) -> Tensor | None:
    """[n, C, H, W] with one or three channels, the first of more; a vector of square length becomes a grey image."""
    if values.ndim == 2:
        side = math.isqrt(values.shape[1])
        if side * side != values.shape[1] or side < 4:
            return None
        values = values.reshape(-1, 1, side, side)
    if values.ndim != 4:
        return None
    return values[:, :3] if values.shape[1] >= 3 else values[:, :1]


def alternating(inputs: Tensor, outputs: Tensor) -> tuple[Tensor, int]:
    """Pairs side by side: input, output, input, output; and an even number of columns."""
    from torch.nn.functional import interpolate

    channels, size = max(inputs.shape[1], outputs.shape[1]), outputs.shape[2:]
    inputs = inputs if inputs.shape[2:] == size else interpolate(inputs, size=size)
    pairs = [v.expand(-1, channels, -1, -1) for v in (inputs, outputs)]
    columns = 2 * max(1, round(math.sqrt(len(outputs) / 2)))
    return _interleaved(*pairs), columns


def _interleaved(a: Tensor, b: Tensor) -> Tensor:
    import torch

    return torch.stack([a, b], 1).flatten(0, 1)


def grid(values: Tensor, range: tuple[float, float] = (-1.0, 1.0), columns: int = 0) -> Image:
    """Images [n, C, H, W] in a grid as square as may be, two dark pixels apart; not finite shows black."""
    from PIL import Image

    low, high = range
    scaled = ((values.detach().float().cpu() - low) / (high - low)).nan_to_num(0, 0, 0).clamp(0, 1)
    pixels = (scaled * 255).round().byte().permute(0, 2, 3, 1).numpy()  # [n, H, W, C]
    n, h, w, c = pixels.shape
    columns = columns or max(1, math.ceil(math.sqrt(n)))
    rows, gap = math.ceil(n / columns), 2 if n > 1 else 0
    sheet = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, c), 24, np.uint8)
    for i, picture in enumerate(pixels):
        top, left = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
        sheet[top : top + h, left : left + w] = picture
    zoom = max(1, SCALED_TO // max(sheet.shape[:2]))
    sheet = sheet.repeat(zoom, 0).repeat(zoom, 1)
    return Image.fromarray(sheet[:, :, 0] if c == 1 else sheet)


def scatter(values: Tensor, real: Tensor | None = None) -> bytes:
    """Points in the plane: real ones grey, samples in colour. The frame is that of the real ones."""
    figure, axes = _figure(5, 5)
    if real is not None:
        axes.scatter(*real.numpy().T, s=6, color="0.7", label="real")
        reach = 1.4 * float(real.abs().max())
        axes.set_xlim(-reach, reach)
        axes.set_ylim(-reach, reach)
    axes.scatter(*values.numpy().T, s=6, alpha=0.6, label="samples")
    axes.set_aspect("equal")
    axes.legend(loc="upper right", frameon=False)
    return _rendered(figure)


def losses(rows: Sequence[Mapping[str, Any]], title: str = "") -> bytes:
    """Curves of the objectives (keys without a slash; all keys when there are none) over the steps of metrics.jsonl."""
    names = list(dict.fromkeys(k for row in rows for k in row if k not in NOT_LOSSES))
    names = [n for n in names if "/" not in n] or names
    figure, axes = _figure(8, 4.5)
    for color, name in zip(_colors(len(names)), names, strict=True):
        points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        steps, values = (np.array(axis, float) for axis in zip(*points, strict=True))
        axes.plot(steps, values, color=color, alpha=0.2, linewidth=0.6)
        axes.plot(steps, smooth(values), color=color, linewidth=WIDTH, label=name)
    axes.set_xlabel("iteration")
    axes.set_ylabel("objective")
    axes.set_title(title)
    if names:
        axes.legend(frameon=False)
    return _rendered(figure)


NOT_LOSSES = ("step", "epoch", "images", "seconds", "alarms")


def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A running mean over about a thirtieth of the values, shorter at the ends."""
    half = len(values) // 60
    total = np.concatenate([[0], np.cumsum(values)])
    i = np.arange(len(values))
    low, high = np.maximum(i - half, 0), np.minimum(i + half + 1, len(values))
    means: NDArray[np.float64] = (total[high] - total[low]) / (high - low)
    return means


def _colors(n: int) -> list[str]:
    return [f"C{i % 10}" for i in range(n)]


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _rendered(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def _bytes(image: Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
