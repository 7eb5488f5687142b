"""Samples that were asked for something -> the share that a classifier, taught on real items, takes for it.

    a view that is made from                               is asked for
    a class, attributes                                    those of a real item
    a sentence                                             class and attributes of the item that it is about
    integers that are drawn below a label's classes        the class of a real item
    none of these, by a network that is judged beside      that domain
    the reals of one of several domains

To ask for what an item is, all rows of a batch get its condition: then it does not matter which of them a view takes,
or in which order. The pictures that a view translates stay other ones. A picture beside the condition, as a reference
is, comes along where those that are translated have a stream of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gangraph.check.case import Stage
from gangraph.check.kinds import domains_of
from gangraph.frozen import frozen
from gangraph.train.collapse import real_items, reduced
from gangraph.train.data import Data, Source, Stream, fit, spread
from gangraph.train.sets import Dataset

Table = NDArray[np.int64]  # [items, questions]
Batch = dict[str, Tensor]

ROWS = 16  # of a batch, of so many items
REAL = 4000  # real items of a stream; every fourth is not taught, but asked, to tell how good the teaching is
PASSES, AT_ONCE, RATE = 8, 64, 2e-3  # of the teaching
CONDITIONS = frozenset({Source.CLASS, Source.ATTRIBUTE, Source.ATTRIBUTES, Source.SENTENCE})
SHOWN = frozenset({Source.PICTURE, Source.POINT})


@frozen(eq=False)
class Request:
    """What a view is asked for: batch i, the draws that come with it, and the answers that are wanted of its samples.

    `table` has the answers of real items, by number, and `options` how many each of them may be.
    """

    reals: tuple[tuple[Stream, str], ...]  # streams, and their member that looks like a sample
    table: Table
    options: tuple[int, ...]
    batch: Callable[[int], tuple[Batch, Batch, Table]]


def told(gan: Any, source: str, n: int, seed: int = 0) -> Iterator[tuple[str, Tensor, float]]:
    """Of each view that is asked for something: its name, of `n` samples the shares of their answers that are as asked,
    and that share of real items.
    """
    if not gan.streams:
        return
    data = fit(source, gan.streams, gan.prepare, ROWS, seed + 1, fewer=True)
    rows = data.rows or ROWS
    pupils: dict[Any, Pupil] = {}
    for view in gan.views:
        request = _request(gan, view, data, math.ceil(n / rows))
        if request is None:
            continue
        key = tuple(name for _, name in request.reals), request.table.tobytes()
        if key not in pupils:
            pupils[key] = Pupil(request.reals, request.table, request.options, gan.view_shape(view), seed)
        found, i = torch.zeros(0), 0
        while len(found) < n:
            batch, draws, wanted = request.batch(i)
            made = gan.sample(view, rows, batch or None, seed + i, draws)
            shown = reduced(made, None if data.set.pictures is None else gan.view_range(view))
            found, i = torch.cat([found, pupils[key].right(shown, wanted)]), i + 1
        yield view, found[:n], pupils[key].score


def _request(gan: Any, view: str, data: Data, count: int) -> Request | None:
    """None of a view that is asked for nothing, or whose samples look like no real item."""
    if gan.view_row(view) > 1:
        return None
    size = int(np.prod(gan.view_shape(view)))
    reals: dict[str, tuple[Stream, str]] = {}
    for s in data.streams:
        alike = [m for m, t in s.members.items() if s.sources[m] in SHOWN and int(np.prod(t.shape)) == size]
        reals |= {s.name: (s, alike[0])} if alike else {}
    for stream, shown in reals.values():
        if found := _conditioned(gan, view, data, stream, shown, count):
            return found
    apart = {name: real for name, real in reals.items() if len(real[0].items) < data.set.count}
    domain = domains_of(Stage(gan.schedule)).get(id(gan.graph.views[view]))
    if len(apart) < 2 or domain not in apart:
        return None
    table = np.full((data.set.count, 1), -1)
    for k, (stream, _) in enumerate(apart.values()):
        table[stream.items] = k
    wanted = np.array([[list(apart).index(domain)]])
    return Request(tuple(apart.values()), table, (len(apart),), lambda i: (data.batch(i), {}, wanted))


def _conditioned(gan: Any, view: str, data: Data, stream: Stream, shown: str, count: int) -> Request | None:
    """A view that is made from the conditions of a stream, or from draws in the place of its class."""
    read, known = gan.view_inputs(view), data.set
    conditions = [m for m in stream.members if m in read and stream.sources[m] in CONDITIONS]
    classes = {t.classes for m, t in stream.members.items() if stream.sources[m] == Source.CLASS}
    drawn = {name: t for name, t in gan.view_labels(view).items() if t.classes in classes}
    columns = [column for m in [*conditions, *drawn] for column in _asked(known, stream, m)]
    if not columns:
        return None
    table = np.stack([column for column, _ in columns], 1)
    items = spread(stream.items[np.lexsort(table[stream.items].T)], count)  # of all answers alike
    first = stream.still(items)
    others = [m for s in data.streams for m in s.members if s is not stream and s.sources[m] == Source.PICTURE]
    given = list(stream.members) if set(others) & set(read) else conditions

    def batch(i: int) -> tuple[Batch, Batch, Table]:
        same = {m: first[m][[i % count] * stream.members[m].samples(data.rows)] for m in given}
        wanted = table[items[i % count]][None]
        draws = {m: torch.full((t.samples(data.rows), *t.shape), int(wanted[0, -1])) for m, t in drawn.items()}
        return data.batch(i) | same, draws, wanted

    return Request(((stream, shown),), table, tuple(options for _, options in columns), batch)


def _asked(known: Dataset, stream: Stream, name: str) -> Iterator[tuple[Table, int]]:
    """What a condition asks: the answers of all items, and how many each may be."""
    source = stream.sources.get(name, Source.CLASS)  # or what is drawn in its place
    if known.attributes is not None and source != Source.CLASS:
        names = known.names
        if source == Source.ATTRIBUTE:
            names = (name,)
        elif source == Source.ATTRIBUTES:
            names = names[: stream.members[name].shape[0]]
        for attribute in names:
            yield known.attributes[:, known.names.index(attribute)].astype(np.int64), 2
    if known.labels is not None and source in (Source.CLASS, Source.SENTENCE):
        yield known.labels, len(known.classes)


class Pupil:
    """A small classifier of real items: of each its answers to questions with so many options.

    `table` has the answers of all items. `score` is the share of right answers about those that it was not taught.
    """

    def __init__(
        self,
        reals: Sequence[tuple[Stream, str]],
        table: Table,
        options: tuple[int, ...],
        shape: tuple[int, ...],
        seed: int,
    ):
        self.options = options
        found = [real_items(stream, name, shape, REAL) for stream, name in reals]
        pictures = torch.cat([values for values, _ in found])
        answers = torch.from_numpy(table[np.concatenate([items for _, items in found])])
        asked = torch.arange(len(pictures)) % 4 == 3
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(seed)
            self.net = _net(pictures.shape[1:], sum(self.options))
            self.teach(pictures[~asked], answers[~asked])
        self.score = float(self.right(pictures[asked], answers[asked]).mean())

    def teach(self, pictures: Tensor, answers: Tensor) -> None:
        optimizer = torch.optim.Adam(self.net.parameters(), lr=RATE)
        for _ in range(PASSES):
            for rows in torch.randperm(len(pictures)).chunk(math.ceil(len(pictures) / AT_ONCE)):
                logits = self.logits(pictures[rows])
                loss = torch.stack([cross_entropy(one, answers[rows, k]) for k, one in enumerate(logits)]).sum()
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        self.net.eval()

    def logits(self, pictures: Tensor) -> list[Tensor]:
        """Of each question those of its answers."""
        return list(self.net(pictures).split(self.options, 1))

    @torch.no_grad()
    def right(self, pictures: Tensor, answers: Tensor | Table) -> Tensor:
        """Of each picture the share of its answers that are these."""
        told = torch.stack([one.argmax(1) for one in self.logits(pictures)], 1)
        return (told == torch.as_tensor(answers)).float().mean(1)


def _net(shape: torch.Size, out: int) -> nn.Module:
    if len(shape) < 3:
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(128), nn.ReLU(), nn.Linear(128, out))
    layers: list[nn.Module] = []
    for width in (16, 32, 64):
        layers += [nn.LazyConv2d(width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(out))
