"""A compiled step beside the same step written by hand: equal numbers first, then time and memory as ratios.

Time: ours, the one by hand and a second instance of the one by hand run in one process, in turn, the order changing
from round to round, so that whatever else the machine does meets all three. A round gives two ratios, ours over by hand
and by hand over itself; the second says how much of the first is noise. Reported are the median and the range.

Memory: torch's own record of what its allocator hands out and takes back, from before the networks are built to the end
of a third step. It is exact and the same in every run, which the size of a process is not. Reported is the highest
point within the third step, less the weights, the buffers and the optimizers' moments, which both have alike. What the
convolution kernels take for themselves does not pass through that allocator and is not counted.
"""

import importlib
import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A system at sizes that two cores can step in about a second."""

    name: str
    module: str
    sizes: dict[str, int]
    batch: int
    images: tuple[str, ...]
    labels: tuple[str, ...] = field(default=())


CASES = (
    Case("dcgan", "dcgan", {"C": 3, "H": 64, "W": 64, "Z": 100, "width": 64}, 16, ("x",)),
    Case("wgan-gp", "wgan_gp", {"C": 3, "H": 64, "W": 64, "Z": 128, "width": 16}, 4, ("x",)),
    Case("cyclegan", "cyclegan", {"C": 3, "H": 64, "W": 64, "width": 64, "blocks": 9}, 1, ("x", "y")),
    Case(
        "stargan-v2",
        "stargan_v2",
        {"H": 64, "W": 64, "K": 3, "S": 64, "Z": 16, "width": 32, "most": 128},
        2,
        ("x", "x_ref", "x_ref2"),
        ("y", "y_trg"),
    ),
)
TOLERANCE = 1e-8
ROUNDS = 9


@dataclass(frozen=True)
class Ratio:
    """One program's seconds over another's: the median of the rounds, the least and the greatest."""

    middle: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.least:.2f} to {self.most:.2f})"


@dataclass(frozen=True)
class Times:
    ours: float
    hand: float
    ratio: Ratio  # ours over by hand
    control: Ratio  # by hand over itself


@dataclass(frozen=True)
class Result:
    case: Case
    difference: float  # the greatest, of losses, parameters and buffers, after two steps in float64
    times: Times
    bytes_ours: int
    bytes_hand: int


def measure(case: Case, rounds: int = ROUNDS) -> Result:
    """Check that both programs are the same, then time them and measure their memory."""
    difference = compare(case)
    times = race(case, rounds)
    return Result(case, difference, times, peak(case, "ours"), peak(case, "hand"))


# Equal numbers


def compare(case: Case, steps: int = 2) -> float:
    """The greatest difference of any loss, parameter or buffer after a few steps in float64; too great is an error."""
    with default_dtype(torch.float64):
        gan, hand = build_both(case)
        data = Data(case, gan)
        worst = 0.0
        for i in range(steps):
            batch, draws = data.next()
            found, expected = gan.step(batch, draws), hand.step(batch, draws)
            for key, value in expected.items():
                worst = max(worst, _agree(f"{case.name}, step {i + 1}, {key}", float(found[key]), value))
        for name, mine, theirs in _pairs(gan, hand):
            worst = max(worst, _agree(f"{case.name}, {name}", mine, theirs))
    return worst


def _pairs(gan: Any, hand: Any) -> Iterator[tuple[str, Tensor, Tensor]]:
    for mine, theirs in ((gan.networks, hand.networks), (gan.averages, hand.averages)):
        if set(mine.keys()) != set(theirs):
            raise SystemExit(f"the spec has {sorted(mine.keys())}, the program by hand {sorted(theirs)}")
        for name in theirs:
            for kind in ("parameters", "buffers"):
                tensors = zip(getattr(mine[name], kind)(), getattr(theirs[name], kind)(), strict=True)
                for i, (a, b) in enumerate(tensors):
                    yield f"{name}, {kind}[{i}]", a, b


def _agree(what: str, found: float | Tensor, expected: float | Tensor) -> float:
    found, expected = torch.as_tensor(found).detach(), torch.as_tensor(expected).detach()
    difference = float(((found - expected).abs() / expected.abs().clamp(min=1)).max())
    if not difference <= TOLERANCE:  # a NaN is not in agreement either
        raise SystemExit(f"{what}: ours and by hand differ by {difference:.1e}, more than {TOLERANCE:.0e}")
    return difference


# Time


def race(case: Case, rounds: int) -> Times:
    """Seconds of a step of three programs in every round."""
    gan, hand = build_both(case)
    programs = (gan, hand, build_hand(case))
    data = Data(case, gan)
    for _ in range(2):  # the first step makes the moments, and the kernels choose their ways
        batch, draws = data.next()
        for program in programs:
            program.step(batch, draws)
    seconds: list[list[float]] = [[], [], []]
    for i in range(rounds):
        batch, draws = data.next()
        for j in range(3):
            which = (i + j) % 3
            start = time.perf_counter()
            programs[which].step(batch, draws)
            seconds[which].append(time.perf_counter() - start)
    ours, hand_seconds, again = seconds
    return Times(
        statistics.median(ours),
        statistics.median(hand_seconds),
        _ratio(ours, hand_seconds),
        _ratio(again, hand_seconds),
    )


def _ratio(above: list[float], below: list[float]) -> Ratio:
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


# Memory


def peak(case: Case, who: str) -> int:
    """The most bytes that a step has at one time, beyond weights, buffers and moments."""
    gan = build_ours(case)
    data = Data(case, gan)
    inputs = [data.next() for _ in range(3)]
    standing = _standing(case, gan)
    del gan
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        program = build_ours(case) if who == "ours" else build_hand(case)
        for batch, draws in inputs[:2]:
            program.step(batch, draws)
        with record_function("measured"):
            program.step(*inputs[2])
    return _highest(profiler) - standing


def _standing(case: Case, gan: Any) -> int:
    """Bytes of what lives through all steps: weights with two moments each, averages, buffers."""
    networks = {name: (_bytes(net.parameters()), _bytes(net.buffers())) for name, net in gan.networks.items()}
    averages = sum(_bytes(net.parameters()) + _bytes(net.buffers()) for net in gan.averages.values())
    return sum(3 * parameters + buffers for parameters, buffers in networks.values()) + averages


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _highest(profiler: profile) -> int:
    """The highest point of the running sum of allocations between beginning and end of the event `measured`."""
    changes: list[tuple[int, int]] = []
    start = end = 0
    events = list(profiler.profiler.kineto_results.experimental_event_tree())
    while events:
        event = events.pop()
        events.extend(event.children)
        if event.name == "measured":
            start, end = event.start_time_ns, event.end_time_ns
        elif event.name == "[memory]":
            changes.append((event.start_time_ns, event.extra_fields.alloc_size))
    total = highest = 0
    for when, size in sorted(changes):
        total += size
        if start <= when <= end:
            highest = max(highest, total)
    return highest


# Both programs, and what they are fed


def build_ours(case: Case) -> Any:
    import gangraph

    return gangraph.compile(gangraph.load(case.name, sizes=case.sizes))


def build_hand(case: Case) -> Any:
    return importlib.import_module(f"benchmarks.handwritten.{case.module}").Handwritten(case.sizes)


def build_both(case: Case) -> tuple[Any, Any]:
    """Both programs, with the same weights."""
    gan, hand = build_ours(case), build_hand(case)
    for name, network in hand.networks.items():
        copy_weights(name, gan.networks[name], network)
    return gan, hand


@torch.no_grad()
def copy_weights(name: str, source: nn.Module, target: nn.Module) -> None:
    """Weights in their order; buffers begin alike by themselves."""
    mine, theirs = list(source.parameters()), list(target.parameters())
    shapes = [tuple(p.shape) for p in mine], [tuple(p.shape) for p in theirs]
    if shapes[0] != shapes[1]:
        first = next((i for i, (a, b) in enumerate(zip(*shapes, strict=False)) if a != b), min(map(len, shapes)))
        raise SystemExit(
            f"{name}: from parameter {first} on, the spec has {shapes[0][first:][:3]}, "
            f"the program by hand {shapes[1][first:][:3]}"
        )
    for a, b in zip(mine, theirs, strict=True):
        b.copy_(a)


class Data:
    """Batches and draws for both, the same in every run."""

    def __init__(self, case: Case, gan: Any) -> None:
        self.case, self.gan = case, gan
        self.generator = torch.Generator().manual_seed(0)

    def next(self) -> tuple[Batch | list[Batch], dict[str, Tensor]]:
        batches = [self._batch() for _ in range(self.gan.fetches())]
        return batches if len(batches) > 1 else batches[0], self.gan.draw(self.case.batch, self.generator)

    def _batch(self) -> Batch:
        case, sizes = self.case, self.case.sizes
        shape = (case.batch, sizes.get("C", 3), sizes["H"], sizes["W"])
        images = {name: torch.rand(shape, generator=self.generator) * 2 - 1 for name in case.images}
        labels = {name: torch.randint(sizes["K"], (case.batch,), generator=self.generator) for name in case.labels}
        return images | labels


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def table(results: list[Result]) -> list[str]:
    """The rows of a Markdown table."""
    rows = [
        "| system | sizes | batch | step, ours | by hand | ours / by hand | by hand / itself "
        "| memory, ours | by hand | ours / by hand | difference |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        sizes = " ".join(f"{name}={value}" for name, value in r.case.sizes.items())
        rows.append(
            f"| {r.case.name} | {sizes} | {r.case.batch} "
            f"| {r.times.ours:.2f} s | {r.times.hand:.2f} s | {r.times.ratio} | {r.times.control} "
            f"| {r.bytes_ours / 2**20:.0f} MiB | {r.bytes_hand / 2**20:.0f} MiB "
            f"| {r.bytes_ours / r.bytes_hand:.2f} | {r.difference:.0e} |"
        )
    return rows


if __name__ == "__main__":
    print("\n".join(table([measure(case) for case in CASES])))
