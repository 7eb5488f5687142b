"""A data set and a spec's streams -> Data: batch number i, as a dict of tensors by input name.

`fit` matches the two, or raises one `RunError` that says what does not fit. After that nothing is random but by number:
a batch is a function of (seed, rank, number), so a resumed run needs one integer to go on exactly, and any thread may
make the next batch. Each stream runs through its own items in its own order, a new one at every pass; short batches
are dropped. Members of a stream are drawn together.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gangraph.errors import RunError
from gangraph.train.drawn import embedding
from gangraph.train.prepare import Size, Step, entry_size, is_random, prepare
from gangraph.train.sets import Dataset, Pictures, Want, counted, open_set
from gangraph.train.table import LABEL

Numbers = NDArray[np.int64]
HELD = 256 * 2**20  # bytes of prepared pictures that a stream keeps in memory


class Source(Enum):
    """What of an item fills an input."""

    PICTURE = "a picture, perhaps as a vector"
    POINT = "a point"
    CLASS = "the class"
    ATTRIBUTE = "one attribute, as a label of its name"
    ATTRIBUTES = "the first attributes"
    SENTENCE = "the embedding of a caption"


class InputType(Protocol):
    """What a spec says of an input: `kind` is image, vector, tensor, label, labels or mask."""

    @property
    def kind(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def classes(self) -> int | None: ...
    @property
    def range(self) -> tuple[float, float] | None: ...
    def samples(self, n: int) -> int: ...


Streams = Mapping[str, Mapping[str, InputType]]


def stream_rng(seed: int, *names: str | int) -> np.random.Generator:
    """A random stream with a name: the same names give the same numbers, whatever else is drawn.

    >>> int(stream_rng(0, "X", "order").integers(100)) == int(stream_rng(0, "X", "order").integers(100))
    True
    """
    return np.random.default_rng([seed, *(zlib.crc32(n.encode()) if isinstance(n, str) else n for n in names)])


def spread(items: Numbers, count: int) -> Numbers:
    """So many of these items, far apart: a set may be sorted."""
    return items[np.linspace(0, len(items), count, endpoint=False).astype(np.int64)]


@dataclass
class Stream:
    """The members of one stream and the items they are drawn from."""

    name: str
    members: Mapping[str, InputType]
    sources: Mapping[str, Source]
    data: Dataset
    items: Numbers  # numbers of items of `data`
    steps: Sequence[Step]
    batch: int
    seed: int
    rank: int = 0
    ranks: int = 1
    _order: tuple[int, Numbers] = (-1, np.zeros(0, np.int64))
    _held: dict[int, Pictures] | None = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.need = max((t.samples(self.batch) for t in self.members.values()), default=0)
        self.pictures = [(name, t) for name, t in self.members.items() if self.sources[name] == Source.PICTURE]
        self.batches = len(self.items) // max(1, self.need * self.ranks)
        size = sum(int(np.prod(t.shape)) for _, t in self.pictures) * len(self.items)
        partners = len(self.pictures) > 1 and len(self.data.channels) == 1
        if self.data.lazy or is_random(self.steps) or partners or size > HELD:
            self._held = None

    def at(self, number: int) -> dict[str, Tensor]:
        """Batch `number`, counted over all passes."""
        return self._make(self.numbers(number), stream_rng(self.seed, self.name, "augment", number, self.rank))

    def numbers(self, number: int) -> Numbers:
        """The numbers of the items in batch `number`."""
        turn, place = divmod(number, self.batches)
        if self._order[0] != turn:
            self._order = (turn, stream_rng(self.seed, self.name, "order", turn).permutation(self.items))
        start = (place * self.ranks + self.rank) * self.need
        return self._order[1][start : start + self.need]

    def first(self, count: int) -> dict[str, Tensor]:
        """The first items of the stream, not mirrored: what sample pictures are made from. Repeats when short."""
        return self.still(spread(self.items, count))

    def still(self, items: Numbers) -> dict[str, Tensor]:
        """These items, not mirrored and cut in the middle."""
        steps = [step for step in self.steps if step[0] != "flip"]
        steps = [
            ("crop", args, kwargs) if name == "random_crop" else (name, args, kwargs) for name, args, kwargs in steps
        ]
        still = replace(self, steps=steps, batch=len(items), rank=0, ranks=1)
        still._held = None
        return still._make(np.resize(items, still.need), stream_rng(self.seed, self.name, "first"))

    def _make(self, chosen: Numbers, rng: np.random.Generator) -> dict[str, Tensor]:
        made: dict[str, Tensor] = {}
        if self.pictures:
            rows = [self._item(int(i), rng) for i in chosen]
            for place, (name, t) in enumerate(self.pictures):
                stack = torch.from_numpy(np.stack([row[place] for row in rows]))  # [n, H, W, C]
                low, high = t.range or (-1.0, 1.0)
                values = stack.permute(0, 3, 1, 2).float().mul_((high - low) / 255).add_(low)
                made[name] = values.reshape(len(rows), *t.shape).contiguous()
        made |= {name: torch.from_numpy(values) for name, values in self._beside(chosen, rng).items()}
        return {name: made[name][: t.samples(self.batch)] for name, t in self.members.items()}

    def _beside(self, chosen: Numbers, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """What the members that are no pictures hold of these items."""
        data, spoken = self.data, list[str]()
        made: dict[str, NDArray[Any]] = {}
        if Source.SENTENCE in self.sources.values() and data.captions:
            spoken = [str(rng.choice(data.captions(int(i)))) for i in chosen]
        for name, t in self.members.items():
            source = self.sources[name]
            if source == Source.CLASS and data.labels is not None:
                made[name] = data.labels[chosen]
            elif source == Source.POINT and data.points is not None:
                made[name] = data.points[chosen]
            elif source == Source.ATTRIBUTES and data.attributes is not None:
                low, high = t.range or (0, 1)
                bits = data.attributes[chosen, : t.shape[0]].astype(np.int64)
                made[name] = bits if t.classes else (low + (high - low) * bits).astype(np.float32)
            elif source == Source.ATTRIBUTE and data.attributes is not None:
                made[name] = data.attributes[chosen, data.names.index(name)].astype(np.int64)
            elif source == Source.SENTENCE:
                made[name] = np.stack([embedding(sentence, t.shape[0]) for sentence in spoken])
        return made

    def _item(self, i: int, rng: np.random.Generator) -> Pictures:
        """The prepared pictures of item i, each H x W x C."""
        if self._held is not None and i in self._held:
            return self._held[i]
        found = self._raw(i, rng)
        if all(t.kind == "image" for _, t in self.pictures):
            finals = [(t.shape[1], t.shape[2]) for _, t in self.pictures]
            try:
                found = prepare(found, self.steps, finals, rng)
            except RunError as error:
                raise RunError(f"{self.data}, stream {self.name}: {error}") from None
        pictures = tuple(_in_channels(p, _channels(t, p)) for p, (_, t) in zip(found, self.pictures, strict=True))
        for picture, (name, t) in zip(pictures, self.pictures, strict=True):
            if picture.size != np.prod(t.shape):
                raise RunError(f"item {i} of {self.data} has {picture.size} numbers, and {name} wants {t.shape[0]}")
        if self._held is not None:
            self._held[i] = pictures
        return pictures

    def _raw(self, i: int, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
        """A picture for each member: the members of a pair, or others of the same class."""
        assert self.data.pictures is not None
        own = self.data.pictures(i)
        if len(own) == len(self.pictures):
            return list(own)
        assert self.data.labels is not None
        alike = self.items[self.data.labels[self.items] == self.data.labels[i]]
        others = rng.choice(alike, len(self.pictures) - 1)
        return [own[0], *(self.data.pictures(int(k))[0] for k in others)]


@dataclass
class Data:
    """All streams of a spec over one data set. `batches` is the length of an epoch: of the longest stream."""

    set: Dataset
    streams: tuple[Stream, ...]
    _pool: ThreadPoolExecutor | None = None
    _ahead: dict[int, Future[dict[str, Tensor]]] = field(default_factory=dict)

    @property
    def batches(self) -> int:
        return max((s.batches for s in self.streams), default=1)

    @property
    def rows(self) -> int:
        """Items of a batch; 0 of no stream."""
        return max((s.batch for s in self.streams), default=0)

    def batch(self, number: int) -> dict[str, Tensor]:
        """One item of every stream: input name -> tensor, sample axis first."""
        return {name: value for stream in self.streams for name, value in stream.at(number).items()}

    def take(self, number: int, count: int) -> list[dict[str, Tensor]]:
        """`count` batches from `number` on; where items are files, the next ones are begun in the background."""
        if not self.set.lazy:
            return [self.batch(i) for i in range(number, number + count)]
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="gangraph-data")
        for i in range(number, number + 2 * count):
            if i not in self._ahead:
                self._ahead[i] = self._pool.submit(self.batch, i)
        return [self._ahead.pop(i).result() for i in range(number, number + count)]

    def first(self, count: int) -> dict[str, Tensor]:
        return {name: value for stream in self.streams for name, value in stream.first(count).items()}

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool, self._ahead = None, {}


def fit(
    source: str,
    streams: Streams,
    steps: Mapping[str, Sequence[Step]],
    batch: int,
    seed: int = 0,
    rank: int = 0,
    ranks: int = 1,
    fewer: bool = False,
) -> Data:
    """The data set `source` as the spec's streams want it; with `fewer`, in smaller batches where items are too few.

    Raises `RunError` with the first thing that does not fit.
    """
    streams = {name: members for name, members in streams.items() if members}
    kinds = [t.kind for members in streams.values() for t in members.values()]
    labelled = "label" in kinds
    images = [(s, name, t) for s, members in streams.items() for name, t in members.items() if t.kind == "image"]
    sizes = [entry_size(steps.get(s, ()), _size(t)) for s, _, t in images]
    want = Want(
        size=max(sizes, default=None),
        pictures=max((sum(t.kind == "image" for t in m.values()) for m in streams.values()), default=0),
        domains=1 if labelled else len(streams),
        labels=labelled,
    )
    data = open_set(source, want)
    if data.pictures is None and images:
        raise RunError(f"{data} holds points, and {images[0][1]} is an image")
    domains = _domains(data, streams, labelled)
    sources = {}
    for name, members in streams.items():
        sources[name] = {member: _source(data, members, member) for member in members}
        _check_pictures(data, members)
    if fewer:
        need = {name: max(t.samples(1) for t in members.values()) for name, members in streams.items()}
        batch = max(1, min([batch, *(len(domains[name]) // need[name] for name in streams)]))
    made = [
        Stream(name, members, sources[name], data, domains[name], steps.get(name, ()), batch, seed, rank, ranks)
        for name, members in streams.items()
    ]
    for stream in made:
        if not stream.batches:
            where = f"stream {stream.name} of {data}" if len(made) > 1 else str(data)
            count, total = len(stream.items), stream.need * ranks
            has = counted(count, "item") + data.told
            raise RunError(f"{where} has {has}, and a batch takes {total}: a smaller --batch-size fits")
    return Data(data, tuple(made))


def _domains(data: Dataset, streams: Streams, labelled: bool) -> dict[str, Numbers]:
    """Which items each stream draws: all of them, or, of several streams without labels, a domain each."""
    everything = np.arange(data.count)
    if len(streams) < 2 or labelled:
        return dict.fromkeys(streams, everything)
    names = ", ".join(streams)
    if len(data.classes) < len(streams):
        has = f"only {len(data.classes)} domains" if len(data.classes) > 1 else "no second domain"
        help = "a folder with trainA/ and trainB/ has two; so have textures and photos"
        raise RunError(f"{data} has {has}, and the streams {names} want one each ({help})")
    if data.folder and len(data.classes) > len(streams) and not set(streams) <= set(data.classes):
        has = f"{len(data.classes)} domains, none of them called like a stream"
        raise RunError(f"{data} has {has}, and the streams {names} want {len(streams)}: name its folders so")
    order = list(streams) if set(streams) <= set(data.classes) else list(data.classes)
    assert data.labels is not None
    return {s: everything[data.labels == data.classes.index(order[i])] for i, s in enumerate(streams)}


def _source(data: Dataset, members: Mapping[str, InputType], name: str) -> Source:
    """What of `data` fills an input of a stream: by its kind, then by its shape and range."""
    t = members[name]
    if t.kind == "image":
        return Source.PICTURE
    if t.kind == "label":
        if name in data.names and (t.classes or 0) >= 2:
            return Source.ATTRIBUTE
        if data.labels is None:
            raise RunError(f"{data} has no labels, and {name} is a label: class folders have them, or a column {LABEL}")
        if len(data.classes) > (t.classes or 0):
            raise RunError(f"{data} has {len(data.classes)} classes, and {name} is a label of {t.classes}")
        return Source.CLASS
    shown = any(other.kind == "image" for other in members.values())
    shape = _example(data, 0).shape if data.points is None else data.points.shape[1:]
    if t.kind == "vector" and data.points is not None and t.shape == shape:
        return Source.POINT
    if not shown and _is_flat(data, t):
        return Source.PICTURE
    beside = shown or any(_is_flat(data, other) for other in members.values())
    if t.kind == "vector" and not beside and t.shape[0] > len(data.names):
        item = f"{np.prod(shape)} numbers ({' x '.join(map(str, shape))})"
        raise RunError(f"an item of {data} has {item}, and {name} is a vector of {t.shape[0]}")
    if t.kind == "vector" and beside and data.captions and t.range is None:
        return Source.SENTENCE
    if data.names and _is_row(t):
        if t.shape[0] > len(data.names):
            listed = ", ".join(data.names)
            raise RunError(
                f"{data} has {len(data.names)} attributes ({listed}), and {name} is a {t.kind} of {t.shape[0]}"
            )
        return Source.ATTRIBUTES
    have = "digits:attributes has attributes, digits:captions also sentences, and so may a table in a folder"
    help = f": {have}" if _is_row(t) else ""
    if t.kind == "vector":
        raise RunError(f"{data} holds pictures alone, and {name} is a vector beside one{help}")
    raise RunError(
        f"{name} is a {t.kind}, which {data} does not hold{help or ': step on batches of your own, from Python'}"
    )


def _is_flat(data: Dataset, t: InputType) -> bool:
    """Whether it is a picture as a vector."""
    return t.kind == "vector" and data.points is None and _channels(t, _example(data, 0)) in data.channels[0]


def _is_row(t: InputType) -> bool:
    """Whether it can hold attributes: a row of numbers, of zeros and ones, or of integers below 2 or more."""
    return t.kind in ("vector", "mask", "labels") and len(t.shape) == 1 and (t.classes or 2) >= 2


def _check_pictures(data: Dataset, members: Mapping[str, InputType]) -> None:
    """The pictures of a stream together: how many, in which channels, of which size."""
    images = {name: t for name, t in members.items() if t.kind == "image"}
    if not images:
        return
    alike = any(t.kind == "label" for t in members.values()) and data.labels is not None and len(data.channels) == 1
    if len(images) != len(data.channels) and not (alike and len(images) > 1):
        listed = " and ".join(images)
        if len(images) == 1:
            raise RunError(f"{data} holds pairs, and {listed} is a single image")
        raise RunError(
            f"{listed} are drawn together, and {data} holds single images: "
            "photos has pairs; so has a folder of images that stand side by side"
        )
    channels = [*data.channels, *data.channels[-1:] * (len(images) - len(data.channels))]
    for (name, t), may in zip(images.items(), channels, strict=True):
        if t.shape[0] not in may:
            has = " or ".join(map(str, sorted(may)))
            help = f": save its pictures grey, or make {name} an image of 3" if data.folder else ""
            raise RunError(
                f"{data} has {has} channel{'s' * (may != {1})}, and {name} is an image of {t.shape[0]}{help}"
            )


def _example(data: Dataset, i: int) -> NDArray[np.uint8]:
    assert data.pictures is not None
    return data.pictures(i)[0]


def _size(t: InputType) -> Size:
    return t.shape[1], t.shape[2]


def _channels(t: InputType, picture: NDArray[np.uint8]) -> int:
    """In how many channels an input takes a picture; of a vector, in how many its numbers come out, or 0."""
    if t.kind == "image":
        return t.shape[0]
    pixels = picture.shape[0] * picture.shape[1]
    return t.shape[0] // pixels if t.shape[0] % pixels == 0 else 0


def _in_channels(picture: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """H x W x C with as many channels as wanted: grey is repeated, colour becomes its luminance."""
    if picture.ndim == 2:
        return np.repeat(picture[:, :, None], channels or 1, axis=2)
    if channels != 1:
        return picture
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).convert("L"))[:, :, None]
