"""Compiled program and reference on the same weights, batches and draws: does what trains mean the spec?

`verify(spec)` compares the program with `gangraph.reference`, which shares no code with it:

1. every loss, as if it alone were evaluated, and as the phases see it;
2. every phase's gradient, and exactly which parameters it reaches; looking changes nothing;
3. whole iterations: parameters, layer state, averages, pools, state, clocks, how many batches were taken;
5. the emitted file, run by itself, gives the same numbers bit for bit (4 compares plans, and has no flag yet).

Everything in float64. Losses and gradients agree to 1e-9. After a step a tensor may also be off by a multiple of what
rounding alone does to it, measured with a twin of the reference whose parameters and gradients carry noise of 1e-16:
where a gradient is zero in exact arithmetic, Adam makes full steps of rounding noise.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import math
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gangraph.compiler import Spec, load
from gangraph.errors import Place, RunError, SpecError
from gangraph.reference import Reference

if TYPE_CHECKING:
    from gangraph.loader import Compiled

TOLERANCE = 1e-9
TWINS = 1000  # how many times what rounding alone does: torch may round worse than the reference
SMALL = 1e-3  # below it a loss is compared absolutely
DIVERGED = 1e30
FLAT = 1e-5  # below it a phase's gradient is
PROPERTIES = {
    1: "losses",
    2: "gradients, and which parameters they reach",
    3: "whole iterations",
    5: "the emitted file by itself",
}
WEIGHTS = ("usual", "large", "sparse")
CLOCKS = (  # where an iteration begins: in the usual first ones, and where conditions and decays turn
    {"step": 0, "epoch": 0, "epoch_step": 0},
    {"step": 3, "epoch": 1, "epoch_step": 1},
    {"step": 8, "epoch": 120, "epoch_step": 4},
)
Arrays = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """One number that the program and the reference do not agree on."""

    number: int  # of the property
    case: str
    what: str
    program: Any
    reference: Any
    spec_line: Place | None = None
    program_line: int | None = None

    def __str__(self) -> str:
        lines = [f"{self.what}", f"  program    {_said(self.program)}", f"  reference  {_said(self.reference)}"]
        lines.append(f"  case       {self.case}")
        if self.spec_line:
            lines.append(f"  spec       {self.spec_line}")
        if self.program_line:
            lines.append(f"  program    line {self.program_line}")
        return "\n".join(lines)


@dataclass
class Row:
    """What was found of one property."""

    number: int  # of the property
    cases: int = 0
    deviation: float = 0.0  # the largest, as a fraction of what is compared, beyond what rounding explains
    differences: list[Difference] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return "differs" if self.differences else "agrees" if self.cases else "not tried"


@dataclass
class Report:
    """A table of properties, and below it the smallest case of each difference."""

    name: str
    rows: dict[int, Row]

    @property
    def good(self) -> bool:
        return not any(row.differences for row in self.rows.values())

    @property
    def differences(self) -> list[Difference]:
        return [d for row in self.rows.values() for d in row.differences]

    def __str__(self) -> str:
        width = max(map(len, PROPERTIES.values()))
        lines = [f"{self.name}: {'property':<{width}}  cases  largest deviation  verdict"]
        indent = " " * (len(self.name) + 2)
        for row in self.rows.values():
            lines.append(
                f"{indent}{PROPERTIES[row.number]:<{width}}  {row.cases:>5}  {row.deviation:>17.1e}  {row.verdict}"
            )
        return "\n".join([*lines, *(f"\n{d}" for row in self.rows.values() for d in row.differences[:1])])


def _said(value: Any) -> str:
    return f"{value:.17g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Case:
    """What a comparison starts from; everything else follows from the seed."""

    seed: int
    batch_size: int
    weights: str
    stage: int

    @property
    def clocks(self) -> dict[str, int]:
        return CLOCKS[self.seed % len(CLOCKS)]

    def __str__(self) -> str:
        stage = f", stage {self.stage}" if self.stage else ""
        step = f", step {self.clocks['step']}" if self.clocks["step"] else ""
        return f"seed {self.seed}, batch of {self.batch_size}, {self.weights} weights{stage}{step}"


def verify(
    spec: Any, cases: int = 3, seed: int = 0, program: str | Path | None = None, progress: Any = None, **options: Any
) -> Report:
    """Compares a spec's program with the reference; `program` is the file of an edited one, which is then run."""
    import torch

    loaded = load(spec, **options)
    source = Path(program).read_text() if program is not None else None
    rows = {n: Row(n) for n in PROPERTIES if not (n == 5 and program is not None)}
    with torch.random.fork_rng():
        bench = _Bench(loaded, source, rows)
        for case in bench.cases(cases, seed):
            for number, row in rows.items():
                if not row.differences:
                    bench.run(number, case)
            if progress is not None:
                progress(case)
    return Report(loaded.name, rows)


def verify_with_bar(spec: Spec, cases: int, seed: int, program: Path | None) -> Report:
    """`verify` with a progress bar on stderr, where somebody is looking."""
    from rich.console import Console
    from rich.progress import Progress

    total = max(cases, len(spec.resolved))
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"verifying {spec.name}", total=total)
        return verify(spec, cases, seed, program, progress=lambda case: bar.advance(task))


class _Bench:
    """The two sides of the comparison."""

    def __init__(self, spec: Spec, source: str | None, rows: dict[int, Row]):
        self.spec, self.rows = spec, rows
        self.edited = source is not None
        self.source = source if source is not None else spec.program.source
        self.reference = Reference(spec)
        self.module: Any = _executed(self.source, f"gangraph_verified_{id(self)}") if self.edited else None

    def cases(self, count: int, seed: int) -> Iterator[Case]:
        """The smallest batches first, every stage, every kind of weights in turn."""
        sizes = self.sizes()
        stages = range(len(self.spec.resolved))
        total = max(count, len(stages))
        made = [Case(seed + i, sizes[i % len(sizes)], WEIGHTS[i % 3], i % len(stages)) for i in range(total)]
        yield from sorted(made, key=lambda c: (c.batch_size, c.seed))

    def sizes(self) -> list[int]:
        """The batch of `train`, the smallest that the spec allows, and twice the first."""
        usual = self.spec.resolved[0].batch.now
        for n in range(1, usual):
            try:
                self._try(n)
            except (SpecError, ValueError, RuntimeError):  # the check's reason, or torch's
                continue
            return [usual, n, 2 * usual]
        return [usual, 2 * usual]

    def _try(self, n: int) -> None:
        """Whether the check and torch let a batch of n through."""
        Spec(self.spec.parsed, {**self.spec.overrides, "batch_size": n})
        from gangraph.loader import load_program

        gan, case = load_program(self.spec), Case(0, n, "usual", 0)
        batches, draws = self.iteration(gan, case, 0)
        with contextlib.suppress(KeyError):  # a draw that is missing is a difference, not a batch that is too small
            gan.step(batches, draws)

    # --- the beginning

    def program(self) -> Compiled:
        import torch

        from gangraph.loader import Compiled, load_program

        gan = Compiled(self.spec, self.module) if self.edited else load_program(self.spec)
        return gan.to(torch.float64)

    def start(self, case: Case) -> tuple[Compiled, Reference]:
        """A program and a reference with the same weights, layer state, averages, stage."""
        import torch

        generator = np.random.default_rng(case.seed)
        gan = self.program()
        shapes = {n: tuple(p.shape) for n, p in gan.named_parameters().items()}
        parameters = {n: _weights(n, shape, case.weights, generator) for n, shape in shapes.items()}
        buffers: Arrays = {}
        with torch.no_grad():
            for name, p in gan.named_parameters().items():
                p.copy_(torch.from_numpy(parameters[name]))
            for name, b in self.buffers(gan):
                if b.is_floating_point():
                    b.copy_(torch.from_numpy(np.asarray(_buffer(name, tuple(b.shape), generator))))
                buffers[name] = _array(b)
            for name, average in gan.averages.items():
                source = gan.networks[gan.graph.averages[name].source] if name in gan.graph.averages else None
                if source is not None and not gan.graph.averages[name].zeros:
                    average.load_state_dict(source.state_dict())
        reference = self.reference.start(parameters, buffers)
        if case.stage:
            gan.clocks["stage"] = case.stage
            reference.turn(case.stage)
        for clock, value in case.clocks.items():
            gan.clocks[clock] = value
        reference.clocks |= case.clocks
        return gan, reference

    def buffers(self, gan: Compiled) -> list[tuple[str, Any]]:
        """Layer state by its name in the reference."""
        found: dict[str, Any] = {}
        for network, module in gan.networks.items():
            names = self.reference.expansion.buffers(network)
            found |= dict(_paired(names, module.named_buffers(), network))
        return list(found.items())

    def given(self, gan: Compiled, case: Case, turn: int = 0) -> tuple[Any, Any]:
        """A batch for one evaluation, and draws for an iteration."""
        batches, draws = self.iteration(gan, case, turn)
        return batches[0] if batches else self.batch(gan, case, turn), draws

    def iteration(self, gan: Compiled, case: Case, turn: int) -> tuple[list[Any], Any]:
        batches = [self.batch(gan, case, 100 * turn + i) for i in range(gan.fetches())]
        draws = gan.draw(case.batch_size, 1000 * case.seed + turn)
        if case.weights == "sparse":  # noise of nothing, coins that all fall one way
            draws = {k: v * 0 if v.is_floating_point() and k[-1:] in "z2" else v for k, v in draws.items()}
        return batches, draws

    def batch(self, gan: Compiled, case: Case, turn: int) -> Any:
        import torch

        generator = np.random.default_rng((case.seed, turn))
        made = {}
        for name, t in gan.inputs.items():
            shape = (t.samples(case.batch_size), *t.shape)
            if t.classes:
                made[name] = torch.from_numpy(generator.integers(t.classes, size=shape))
                continue
            low, high = t.range or (-1.0, 1.0)
            values = generator.uniform(low, high, shape)
            if t.kind == "mask":
                values = (values > 0.5).astype(float)
            elif case.weights == "sparse" and shape[0] > 1:  # two equal samples, and the ends of the range
                values[1] = values[0]
                values = np.where(values > (low + high) / 2 + 0.3 * (high - low), high, values)
            made[name] = torch.from_numpy(values)
        return made

    # --- the properties

    def run(self, number: int, case: Case) -> None:
        row = self.rows[number]
        before = len(row.differences)
        try:
            {1: self.losses, 2: self.gradients, 3: self.iterations, 5: self.alone}[number](case)
        except Exception as error:  # whatever an edited program may do, and a compiled one should not
            text = f"{type(error).__name__}: {error}"
            row.differences.append(Difference(number, str(case), "it does not run", text, "runs"))
        row.cases += 1
        assert before <= len(row.differences)

    def losses(self, case: Case) -> None:
        if self.edited:  # the losses of an edited program are those that its phases see
            self._logs(case)
            return
        gan, reference = self.start(case)
        batch, draws = self.given(gan, case)
        theirs = {k: float(v) for k, v in gan.losses(batch, draws).items()}
        ours = reference.losses(_arrays(batch), _arrays(draws))
        self.same_names(1, case, "losses", theirs, ours)
        off = [n for n in ours if n in theirs and abs(theirs[n] - ours[n]) > TOLERANCE * max(abs(ours[n]), SMALL)]
        rounded = reference.twin(case.seed).losses(_arrays(batch), _arrays(draws)) if off else ours
        for name in ours:
            if name in theirs:
                self.number(1, case, f"loss {name}", theirs[name], ours[name], rounded[name] - ours[name], name)

    def _logs(self, case: Case) -> None:
        gan, reference = self.start(case)
        batches, draws = self.iteration(gan, case, 0)
        theirs = {k: float(v) for k, v in gan.step(batches, draws).items()}
        ours = reference.step(list(map(_arrays, batches)), _arrays(draws))
        first = set(reference.phases[:1])
        self.same_names(1, case, "losses that the phases saw", theirs, ours)
        for key, value in ours.items():
            if key in theirs and key.split("/")[0] in first:  # later phases see steps, which property 3 compares
                self.number(1, case, f"loss {key}", theirs[key], value, 0.0, key.split("/")[-1])

    def gradients(self, case: Case) -> None:
        gan, reference = self.start(case)
        batch, draws = self.given(gan, case)
        plain, noise = _arrays(batch), _arrays(draws)
        before = self._kept(gan)
        for phase in gan.phases:
            theirs = {k: _array(g) for k, g in gan.gradients(phase, batch, draws).items()}
            ours = reference.gradients(phase, plain, noise)
            self.same_names(2, case, f"parameters that {phase} reaches", theirs, ours, phase)
            largest = max([FLAT, *map(_largest, ours.values())])
            off = any(n in theirs and _largest(theirs[n] - g) > TOLERANCE * largest for n, g in ours.items())
            rounded = reference.twin(case.seed).gradients(phase, plain, noise) if off else ours
            for name, g in ours.items():
                if name in theirs:
                    twin = _largest(rounded[name] - g)
                    self.tensor(2, case, f"gradient of {phase} by {name}", theirs[name], g, largest, twin, phase)
        after = self._kept(gan)
        for name, value in before.items():
            if not np.array_equal(value, after[name], equal_nan=True):
                self.add(2, case, f"{name}, which looking at gradients changed", "changed", "unchanged")
        if any(p.grad is not None for p in gan.named_parameters().values()):
            self.add(2, case, "a parameter's .grad after looking at gradients", "a tensor", "None")

    def _kept(self, gan: Compiled) -> Arrays:
        """Parameters and layer state."""
        return {n: _array(p) for n, p in [*gan.named_parameters().items(), *self.buffers(gan)]}

    def iterations(self, case: Case) -> None:
        gan, reference = self.start(case)
        twin = reference.twin((case.seed, 7))
        for turn in range(2):
            batches, draws = self.iteration(gan, case, turn)
            plain, noise = list(map(_arrays, batches)), _arrays(draws)
            theirs = {k: float(v) for k, v in gan.step(batches, draws).items()}
            ours = reference.step(list(plain), noise)
            rounded = twin.step(list(plain), noise)
            place = f"iteration {turn + 1}, "
            self.same_names(3, case, f"{place}what was evaluated", theirs, ours)
            if not all(abs(value) < DIVERGED for value in ours.values()):
                return  # a game that runs away compares nothing but noise
            rounding = max((abs(rounded[key] - value) for key, value in ours.items() if key in rounded), default=0.0)
            for key, value in ours.items():
                if key in theirs:
                    self.number(3, case, f"{place}{key}", theirs[key], value, rounding, key.split("/")[-1])
            if len(gan.game.coming) != len(reference.coming):
                self.add(3, case, f"{place}batches left over", len(gan.game.coming), len(reference.coming))
            sides = (self.everything(*side) for side in ((gan, None), (None, reference), (None, twin)))
            pairs = zip(*sides, strict=True)
            for (name, a), (_, b), (_, c) in pairs:
                self.tensor(3, case, f"{place}{name}", a, b, _largest(b), _largest(b - c), name.split(".")[0])
            for game in (reference, twin):  # the data's clocks are moved by whoever has the data
                game.clocks["epoch_step"] += 1
            gan.clocks["epoch_step"] += 1
            clocks = {k: v for k, v in gan.clocks.items() if v != reference.clocks[k]}
            if clocks:
                self.add(3, case, f"{place}clocks", clocks, {k: reference.clocks[k] for k in clocks})
            if self.rows[3].differences:
                return

    def everything(self, gan: Compiled | None, reference: Reference | None) -> list[tuple[str, Any]]:
        """All that an iteration moves, by name, in one order for both sides."""
        found: list[tuple[str, Any]] = []
        game, base = reference, self.reference
        if gan is not None:
            found += [(n, _array(p)) for n, p in gan.named_parameters().items()]
            buffers = dict(self.buffers(gan))
            found += [(n, _array(buffers[n])) for n in base.buffers if n in buffers]
        else:
            assert game is not None
            found += [(n, game.parameters[n]) for n in self._order()]
            found += [(n, np.asarray(game.buffers[n], float)) for n in base.buffers if n in self._buffer_names()]
        averages = sorted(gan.averages if gan is not None else game.averages)  # type: ignore[union-attr]
        for name in averages:
            found += self._average(name, gan, game)
        for name in sorted(gan.state if gan is not None else game.state):  # type: ignore[union-attr]
            value = gan.state[name] if gan is not None else game.state[name]  # type: ignore[union-attr]
            found.append((f"state {name}", np.asarray(_array(value) if hasattr(value, "detach") else value, float)))
        for name in sorted(gan.game.pools if gan is not None else game.pools):  # type: ignore[union-attr]
            samples = gan.game.pools[name].samples if gan is not None else game.pools[name]  # type: ignore[union-attr]
            if samples:
                found.append((f"pool {name}", np.stack([_array(s) for s in samples])))
        return found

    def _average(self, name: str, gan: Compiled | None, game: Reference | None) -> list[tuple[str, Any]]:
        source = next(g.averages[name].source for g in self.spec.graphs if name in g.averages)
        names = list(self.reference.expansion.parameters(source))
        kept = self.reference.expansion.buffers(source)
        if gan is not None:
            module = gan.averages[name]
            parameters = dict(zip(names, module.parameters(), strict=True))
            buffers = dict(_paired(kept, module.named_buffers(), name))
        else:
            assert game is not None
            parameters, buffers = game.averages[name], game.average_buffers[name]
        found = {n: parameters[n] for n in names} | {n: buffers[n] for n in kept}
        return [(f"{name}: {n}", _array(value)) for n, value in found.items()]

    def _order(self) -> list[str]:
        if not hasattr(self, "_names"):
            gan = self.program()
            self._names = list(gan.named_parameters())
            self._buffers = {n for n, _ in self.buffers(gan)}
        return self._names

    def _buffer_names(self) -> set[str]:
        self._order()
        return self._buffers

    def alone(self, case: Case) -> None:
        """The emitted text imports torch and Python's own modules, and run by itself does the same."""
        gan, _ = self.start(case)
        for name in _imports(self.source):
            if name not in ("torch", "__future__") and name not in sys.stdlib_module_names:
                self.add(5, case, "a module that the program imports", name, "torch alone")
        import torch

        module = _executed(self.source, f"gangraph_alone_{id(self)}")
        game = getattr(module, self.spec.program.title)().to(torch.float64)
        game.load_state_dict(copy.deepcopy(gan.state_dict()))
        batches, draws = self.iteration(gan, case, 0)
        theirs, ours = game.step(batches, draws), gan.step(batches, draws)
        self.same_names(5, case, "what was evaluated", theirs, ours)
        for key in ours:
            if key in theirs and not torch.equal(torch.as_tensor(theirs[key]), torch.as_tensor(ours[key])):
                self.add(5, case, key, float(theirs[key]), float(ours[key]), key.split("/")[-1])
        kept = gan.game.networks.state_dict(), game.networks.state_dict()
        for (name, a), b in zip(kept[0].items(), kept[1].values(), strict=True):
            if not torch.equal(a, b) and not (a.isnan() & b.isnan()).any():
                self.add(5, case, name, _array(b).flat[0], _array(a).flat[0])

    # --- comparing

    def add(self, number: int, case: Case, what: str, theirs: Any, ours: Any, name: str = "") -> None:
        found = Difference(number, str(case), what, theirs, ours, self.spec_line(name), self.program_line(name))
        self.rows[number].differences.append(found)

    def same_names(self, number: int, case: Case, what: str, theirs: Any, ours: Any, name: str = "") -> None:
        if set(theirs) != set(ours):
            extra, missing = sorted(set(theirs) - set(ours))[:6], sorted(set(ours) - set(theirs))[:6]
            said = [f"also {', '.join(names)}" if names else "fewer" for names in (extra, missing)]
            self.add(number, case, what, said[0], said[1], name)
        elif number == 2 and list(theirs) != list(ours):
            self.add(number, case, f"{what}, in order", list(theirs)[:6], list(ours)[:6], name)

    def number(self, number: int, case: Case, what: str, a: float, b: float, twin: float, name: str) -> None:
        self.tensor(number, case, what, np.asarray(a), np.asarray(b), max(abs(b), SMALL), abs(twin), name)

    def tensor(self, number: int, case: Case, what: str, a: Any, b: Any, scale: float, twin: float, name: str) -> None:
        """a (the program's) against b (the reference's): off by at most 1e-9 of the scale and multiples of the twin."""
        if a.shape != b.shape:
            self.add(number, case, f"{what}, its shape", list(a.shape), list(b.shape), name)
            return
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        if np.all(same):
            return
        off = np.where(same, 0.0, np.abs(a - b))
        off = np.where(np.isnan(off), np.inf, off)
        worst = float(np.max(off))
        allowed = TOLERANCE * max(scale, 1e-12) + TWINS * (twin if np.isfinite(twin) else 0.0)
        row = self.rows[number]
        if worst > allowed:
            at = np.unravel_index(int(np.argmax(off)), off.shape)
            place = f"[{', '.join(map(str, at))}]" if at else ""
            self.add(number, case, f"{what}{place}", float(a[at]), float(b[at]), name)
        else:
            row.deviation = max(row.deviation, (max(0.0, worst - TWINS * twin)) / max(scale, 1e-12))

    # --- lines

    def spec_line(self, name: str) -> Place | None:
        resolved = self.spec.resolved[-1]
        base = name.split(".")[0]
        for key in (name, base, base.split("[")[0]):
            if key in resolved.places:
                return resolved.places[key]
        for stage in self.reference.stages:
            for move, group in stage.phases():
                if name in (move.name, group.name if group else None):
                    return move.place
        return None

    def program_line(self, name: str) -> int | None:
        """Where the program computes a loss, or evaluates a phase."""
        if not name:
            return None
        lines = self.source.splitlines()
        word = "".join(c if c.isalnum() else "_" for c in name.replace("]", ""))
        loss = [f"        {word} = ", f"        # {name.split('.')[0]}: "]
        wanted = [*loss, f"def evaluate_{word}(", f'"{name}": (', f"self.{word} = "]
        for text in wanted:
            for number, line in enumerate(lines, 1):
                if text in line:
                    return number
        return None


def _largest(array: Any) -> float:
    return float(np.max(np.abs(array))) if np.size(array) else 0.0


def _array(tensor: Any) -> Any:
    return tensor.detach().cpu().numpy().copy() if hasattr(tensor, "detach") else np.asarray(tensor)


def _arrays(tensors: Any) -> Arrays:
    return {name: _array(t) for name, t in (tensors or {}).items()}


def _paired(names: list[str], buffers: Any, network: str) -> Iterator[tuple[str, Any]]:
    """The buffers of a module by their names in the reference: of each kind, in the order of the layers."""
    kinds: dict[str, list[Any]] = {}
    for name, buffer in buffers:
        kinds.setdefault(name.rsplit(".", 1)[-1], []).append(buffer)
    ours: dict[str, list[str]] = {}
    for name in names:
        ours.setdefault(name.rsplit(".", 1)[-1], []).append(name)
    counts = {k: len(v) for k, v in kinds.items()}, {k: len(v) for k, v in ours.items()}
    if counts[0] != counts[1]:
        raise RunError(f"{network} keeps {counts[0]} in the program and {counts[1]} in the reference")
    for kind, mine in ours.items():
        yield from zip(mine, kinds[kind], strict=True)


def _weights(name: str, shape: tuple[int, ...], kind: str, generator: np.random.Generator) -> Any:
    """Weights that let numbers of size 1 through; large ones; many zeros and equal entries."""
    if len(shape) < 2:
        values = 0.3 * generator.standard_normal(shape)
        values = values + 1.0 if name.endswith("weight") else values
    else:
        values = generator.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
    if kind == "large":
        values = 3 * values
    if kind == "sparse":
        values = np.where(generator.uniform(size=shape) < 0.3, 0.0, np.round(8 * values) / 8)
    return np.asarray(values, dtype=float)


def _buffer(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> Any:
    if "running_var" in name:
        return generator.uniform(0.5, 2.0, shape)
    return generator.standard_normal(shape)


def _imports(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def _executed(source: str, name: str) -> types.ModuleType:
    """A program as a module of its own."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)
    return module
