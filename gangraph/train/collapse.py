"""Samples beside real items -> figures of how varied they are, and alarms by name where that is lost.

    modes       known modes that samples lie near, of `modes_known`; `near`, the share     data with known modes
                of samples that lie near any
    spread      mean distance of two samples : of two real items                           all
    classes     effective number of classes of the samples, beside that of real items,     data with labels
                `classes_real`: the exponential of the entropy of what a classifier says
    within/K    mean distance of two samples of class K : of two real items of that class  both of these
    per_input   mean distance of two samples from one input : from two inputs              views of inputs and noise

`modes` and `classes` tell a collapse between classes, `within` one inside a class that hides from both, `spread` and
`per_input` that of everything. A view that is made from pictures has `per_input` only, and that where noise enters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gangraph.frozen import frozen
from gangraph.train.data import Data, Source, Stream
from gangraph.train.samples import made_from

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Rows = NDArray[np.float64]  # [n, d]
Labels = NDArray[np.int64]  # [n]
Limits = tuple[float, float]
Figures = dict[str, float]

REAL, MADE, LEAST = 1000, 400, 64  # real items and samples to compare; of large pictures fewer samples, and at least
VALUES = 2**20  # of all samples together, about
PIXELS = 32  # a picture's longer side in distances, at most
NEIGHBOURS = 5  # that vote on the class of a picture
RIGHT = 0.6  # of the real items: a classifier that tells fewer is not asked
REACH = 0.25  # of the distance between two modes: what is nearer to one lies near it
FEW = 10  # samples or items of a class that are too few to compare
INPUTS, EACH = 4, 16  # inputs, and samples from each
LASTING = 3  # reports in a row

# An alarm rings below these.
SPREAD, WITHIN, PER_INPUT = 0.5, 0.5, 0.02
MODES, NEAR = 0.75, 0.5  # of the known ones, where this share of the samples is near any
CLASSES = 0.5  # of the real items' effective ones beyond the first


@frozen
class Alarm:
    """What rings: its name, the figure, less being worse, and the fact in a sentence."""

    name: str
    level: float
    text: str

    def __str__(self) -> str:
        return f"alarm collapse/{self.name}: {self.text}"


@frozen
class Report:
    """Figures by name."""

    figures: Figures

    @property
    def alarms(self) -> dict[str, Alarm]:
        return alarms(self.figures)

    def __str__(self) -> str:
        lines = [f"{name:14} {value:.3g}" for name, value in self.figures.items()]
        return "\n".join([*lines, *map(str, self.alarms.values())])


def alarms(figures: Mapping[str, float]) -> dict[str, Alarm]:
    """Which alarms these figures ring, by name.

    >>> alarms({"spread": 0.9, "modes": 2, "modes_known": 8, "near": 0.7})["modes"].text
    'samples lie near 2 of 8 modes'
    """
    found: dict[str, Alarm] = {}

    def ring(name: str, key: str, text: str) -> None:
        found[name] = Alarm(name, figures[key], text)

    known, near = figures.get("modes_known", 0), figures.get("near", 0)
    if near >= NEAR and figures["modes"] < MODES * known:
        ring("modes", "modes", f"samples lie near {figures['modes']:.0f} of {known:.0f} modes")
    if figures.get("spread", 1) < SPREAD:
        ring("spread", "spread", f"two samples are {figures['spread']:.2f} times as far apart as two real items")
    if (real := figures.get("classes_real", 0)) and figures["classes"] - 1 < CLASSES * (real - 1):
        ring("classes", "classes", f"samples are of {figures['classes']:.1f} classes, real items of {real:.1f}")
    least = min((k for k in figures if k.startswith("within/")), key=figures.__getitem__, default="")
    if least and figures[least] < WITHIN:
        of = f"two samples of class {least.removeprefix('within/')}"
        ring("within", least, f"{of} are {figures[least]:.2f} times as far apart as two real ones")
    if figures.get("per_input", 1) < PER_INPUT:
        moves = f"noise moves a sample {figures['per_input']:.3f} times as far as another input does"
        ring("per_input", "per_input", moves)
    return found


class Watch:
    """Hears one report after another, and tells which alarms begin.

    One begins when it has rung `LASTING` times in a row and its figure is no better than the first time: what an
    untrained network makes is not varied either, and gets better. It lasts until it no longer rings.
    """

    def __init__(self) -> None:
        self.recent: deque[dict[str, Alarm]] = deque(maxlen=LASTING)
        self.ringing: set[str] = set()

    def hear(self, figures: Mapping[str, float]) -> dict[str, Alarm]:
        """The alarms that begin with these figures."""
        now = alarms(figures)
        self.recent.append(now)
        lasting = [name for name in now if len(self.recent) == LASTING and all(name in r for r in self.recent)]
        begun = [name for name in lasting if now[name].level <= self.recent[0][name].level]
        new = {name: now[name] for name in begun if name not in self.ringing}
        self.ringing = (self.ringing & set(now)) | set(new)
        return new


def collapse(gan: Any, data: Data, seed: int = 0, fabric: Fabric | None = None, judge: Judge | None = None) -> Report:
    """The report on the first view of a compiled spec; without figures where there is nothing to compare.

    Always from the same noise and the same real items: equal weights have equal figures. `judge` is what `judge_of` has
    made for this view, where several reports share it.
    """
    view = next(iter(gan.views), None)
    if view is None:
        return Report({})
    inputs = gan.view_inputs(view)
    figures = _per_input(gan, view, data, seed, fabric) if inputs and gan.view_noise(view) else {}
    judge = judge or judge_of(gan, data)
    if judge is None:
        return Report(figures)
    first = data.first(judge.count) if inputs else {}
    made = made_from(gan, view, {name: first[name] for name in inputs}, judge.count, seed, fabric)
    return Report(judge.figures(made) | figures)


def _per_input(gan: Any, view: str, data: Data, seed: int, fabric: Fabric | None) -> Figures:
    """Each batch is one input many times over: whichever rows a view takes of it, its noise alone makes the samples."""
    first = data.first(INPUTS)
    groups = []
    for i in range(INPUTS):
        inputs = {name: first[name][[i] * gan.inputs[name].samples(EACH)] for name in gan.view_inputs(view)}
        groups.append(_rows(made_from(gan, view, inputs, EACH, seed + i, fabric)))
    one = np.mean([_mean(_distances(group)) for group in groups])
    other = np.mean([_distances(a, b).mean() for a, b in combinations(groups, 2)])
    return {"per_input": _ratio(float(one), float(other))}


# --- judging ------------------------------------------------------------------------------------------------------


@frozen
class Judge:
    """Real items, and what tells their classes and those of samples.

    `tell` gives each row the number of its class or mode, -1 where it lies near none; None where nothing can tell.
    """

    rows: Rows
    tell: Callable[[Rows], Labels] | None
    classes: tuple[str, ...]
    modes: bool  # these classes are known modes
    limits: Limits | None  # of the samples; None where numbers stay as they are
    count: int  # how many samples to look at

    def figures(self, samples: Tensor) -> Figures:
        """Of samples [n, ...] in the range of their view."""
        made = _rows(samples, self.limits)
        distances, real = _distances(made), _distances(self.rows)
        figures = {"spread": _ratio(_mean(distances), _mean(real))}
        if self.tell is None:
            return figures
        told, real_told = self.tell(made), self.tell(self.rows)
        counts, real_counts = (np.bincount(t[t >= 0], minlength=len(self.classes)) for t in (told, real_told))
        if self.modes:
            near = counts >= max(1, len(made) / (10 * len(self.classes)))
            figures |= {"modes": float(near.sum()), "modes_known": float(len(self.classes))}
            figures |= {"near": float((told >= 0).mean())}
        else:
            figures |= {"classes": _effective(counts), "classes_real": _effective(real_counts)}
        for k, name in enumerate(self.classes):
            if min(counts[k], real_counts[k]) >= FEW:
                one, other = distances[np.ix_(told == k, told == k)], real[np.ix_(real_told == k, real_told == k)]
                figures[f"within/{name}"] = _ratio(_mean(one), _mean(other))
        return figures


def judge_of(gan: Any, data: Data) -> Judge | None:
    """From the first batches of an input that has as many numbers as a sample of the first view.

    None where there is no such input or no view, and where the view is made from pictures or points.

    A classifier learns one half of the real items; the other half is what samples are compared with.
    """
    from sklearn.neighbors import KNeighborsClassifier

    view = next(iter(gan.views), None)
    given = gan.view_inputs(view) if view is not None else ()
    if view is None or any(
        s.sources.get(name) in (Source.PICTURE, Source.POINT) for s in data.streams for name in given
    ):
        return None
    shape = gan.view_shape(view)
    size = int(np.prod(shape))
    same = [(s, name) for s in data.streams for name, t in s.members.items() if int(np.prod(t.shape)) == size]
    inputs = [(s, name) for s, name in same if s.sources[name] in (Source.PICTURE, Source.POINT)]
    if not inputs:
        return None
    rows, items = _real(*inputs[0], shape)
    known, count = data.set, min(MADE, max(LEAST, VALUES // size))
    limits = None if known.pictures is None else gan.view_range(view)
    if known.modes is not None:
        return Judge(rows, partial(_nearest_mode, known.modes.astype(float)), known.classes, True, limits, count)
    half = len(rows) // 2
    if known.labels is not None and len(known.classes) > 1 and half >= FEW * len(known.classes):
        labels = known.labels[items]
        classifier = KNeighborsClassifier(NEIGHBOURS).fit(rows[:half], labels[:half])
        if classifier.score(rows[half:], labels[half:]) >= RIGHT:
            return Judge(rows[half:], classifier.predict, known.classes, False, limits, count)
    return Judge(rows[half:], None, (), False, limits, count)


def _real(stream: Stream, name: str, shape: tuple[int, ...]) -> tuple[Rows, Labels]:
    """Up to `REAL` items in the shape of a sample, as rows, and their numbers in the set."""
    values, items = real_items(stream, name, shape, REAL, torch.float64)
    rows: Rows = values.flatten(1).numpy()
    return rows, items


def real_items(
    stream: Stream, name: str, shape: tuple[int, ...], most: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Labels]:
    """Up to so many items in the shape of a sample, reduced, and their numbers in the set."""
    stream = replace(stream)  # its place is its own: batches are also made in the background
    t = stream.members[name]
    limits = (t.range or (-1.0, 1.0)) if stream.sources[name] == Source.PICTURE else None
    values: list[Tensor] = []
    items: list[Labels] = []
    for number in range(stream.batches):
        values.append(reduced(stream.at(number)[name].reshape(-1, *shape).to(dtype), limits))
        items.append(stream.numbers(number)[: len(values[-1])])
        if sum(map(len, values)) >= most:
            break
    return torch.cat(values)[:most], np.concatenate(items)[:most]


def _rows(values: Tensor, limits: Limits | None = None) -> Rows:
    """[n, ...] -> [n, d], reduced."""
    rows: Rows = reduced(values.double(), limits).flatten(1).numpy()
    return rows


def reduced(values: Tensor, limits: Limits | None = None) -> Tensor:
    """What lies between the limits in 0 ... 1, and large pictures smaller."""
    if limits is not None:
        values = (values - limits[0]) / (limits[1] - limits[0])
    if values.ndim == 4 and max(values.shape[2:]) > PIXELS:
        scale = max(values.shape[2:]) / PIXELS
        height, width = (max(1, round(n / scale)) for n in values.shape[2:])
        values = torch.nn.functional.adaptive_avg_pool2d(values, (height, width))
    return values


def _nearest_mode(modes: Rows, rows: Rows) -> Labels:
    between = _distances(modes)
    reach = REACH * between[between > 0].min()
    distances = _distances(rows, modes)
    found: Labels = np.where(distances.min(1) <= reach, distances.argmin(1), -1)
    return found


def _distances(a: Rows, b: Rows | None = None) -> Rows:
    """Between all rows of a and all of b, or of a: [n, m]."""
    found: Rows = torch.cdist(torch.from_numpy(a), torch.from_numpy(a if b is None else b)).numpy()
    return found


def _mean(distances: Rows) -> float:
    """Of a square table of distances, without those of a row to itself."""
    n = len(distances)
    return float(distances.sum() / max(1, n * (n - 1)))


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else 0.0


def _effective(counts: Labels) -> float:
    """The exponential of the entropy of these counts; 0 of none.

    >>> _effective(np.array([5, 5, 0])), _effective(np.array([5, 0, 0]))
    (2.0, 1.0)
    """
    shares = counts[counts > 0] / max(1, counts.sum())
    return round(float(np.exp(-(shares * np.log(shares)).sum())), 12) if len(shares) else 0.0
