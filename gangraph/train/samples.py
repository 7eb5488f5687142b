"""A compiled spec, a view and data -> samples of the view, and what stands beside them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gangraph.errors import RunError
from gangraph.train.data import Data

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CHUNK = 250  # samples made at once


def samples(
    gan: Any, view: str, n: int, data: Data | None, seed: int, fabric: Fabric | None = None
) -> tuple[Tensor, Tensor | None]:
    """n samples of a view, on the CPU, and what stands beside them: the images they were made from, or real points.

    The images are brought into the range of the view.
    """
    inputs = list(gan.view_inputs(view))
    held = {name for stream in data.streams for name in stream.members} if data else set()
    missing = [name for name in inputs if name not in held]
    if missing:
        raise RunError(f"the view {view} is made from {', '.join(missing)}: data are needed")
    for rows in (n, 2 * n, 4 * n, 8 * n):  # a view may have fewer samples than the batch: those of one of its parts
        batch = data.first(rows) if data else {}
        made = made_from(gan, view, {name: batch[name] for name in inputs}, rows, seed, fabric)
        if len(made) >= n:
            break
    made = made[:n]
    if not len(made):
        raise RunError(f"the view {view} has no sample for a batch of {rows}")
    image = next((name for name in inputs if batch[name].ndim == 4), None)
    image = image if gan.view_row(view) == 1 else None  # a row says itself what stands beside what
    beside = None
    if image is not None:
        (low, high), (a, b) = gan.inputs[image].range or (-1.0, 1.0), gan.view_range(view)
        beside = a + (batch[image] - low) * ((b - a) / (high - low))
    if made.ndim == 2 and made.shape[1] == 2:
        beside = next((v for v in batch.values() if v.shape[1:] == (2,)), None)
    return made, beside


def made_from(gan: Any, view: str, batch: dict[str, Tensor], n: int, seed: int, fabric: Fabric | None = None) -> Tensor:
    """n samples of a view from these inputs, on the CPU, no more than `CHUNK` at once."""
    parts = []
    for i, rows in enumerate(torch.arange(n).chunk(math.ceil(n / CHUNK))):
        given: dict[str, Tensor] | None = {name: value[rows] for name, value in batch.items()} or None
        if given and fabric:
            given = fabric.to_device(given)
        parts.append(gan.sample(view, len(rows), batch=given, seed=seed + i))
        if not parts[-1].ndim:
            raise RunError(f"the view {view} is a number, and a view shows samples: it is a metric")
    return torch.cat(parts)
