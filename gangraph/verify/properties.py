"""The properties, each a comparison of a program with what must be so, at one beginning."""

from __future__ import annotations

import ast
import sys
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gangraph.reference
from gangraph.errors import Place
from gangraph.families import family_of
from gangraph.ir import walk
from gangraph.loader import Compiled
from gangraph.verify import cases
from gangraph.verify.bench import (
    DIVERGED,
    TWINS,
    After,
    Answers,
    Beginning,
    Bench,
    Subject,
    array,
    buffers,
    everything,
    tensors,
)
from gangraph.verify.cases import Arrays, Case
from gangraph.verify.report import Difference
from gangraph.verify.rounding import SIZE, Noisy

REFERENCE = str(Path(gangraph.reference.__file__).parent)
TOLERANCE = 1e-9
ROUNDING = 1000  # how many times what rounding alone does: torch may round worse than the reference
SMALL = 1e-3  # below it a loss, or what a step leaves, is compared absolutely
FLAT = 1e-5  # below it a phase's gradient is
REASSOCIATED = 1e-12  # a plan may add in another order
LOST = 0.01  # where rounding moves a number by more than this part of it, nothing is left to compare
SHAKES = 32  # noisy runs before a difference is one, for a kink may be missed by a few


class Comparison:
    """One property at one beginning: what differs, and the largest deviation that is none."""

    def __init__(self, number: int, subject: Subject, beginning: Beginning):
        self.number, self.subject, self.beginning = number, subject, beginning
        self.case, self.bench = beginning.case, beginning.bench
        self.differences: list[Difference] = []
        self.deviation = 0.0
        self.seen: dict[tuple[str, str], Any] = beginning.seen.setdefault(subject.source, {})  # see `_answers`

    def run(self) -> Comparison:
        try:
            PROPERTIES[self.number](self)
        except Exception as error:  # whatever an edited program may do, and a compiled one should not
            places = (frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__))
            program, reference = f"{type(error).__name__}: {error}", "runs"
            if any(place.startswith(REFERENCE) for place in places):
                program, reference = reference, program
            self.differences.append(Difference(self.number, self.beginning.said, "it does not run", program, reference))
        return self

    # --- 1

    def losses(self) -> None:
        if self.subject.edited:  # the losses of an edited program are those that its phases see
            self._seen()
            return
        gan = self.subject.start(self.beginning)
        theirs = _numbers(gan.losses(tensors(self.beginning.batch), tensors(self.beginning.noise)))
        self.seen |= {("", name): np.asarray(value) for name, value in theirs.items()}
        ours = self.beginning.exact.losses
        self.same_names("losses", theirs, ours)
        if self.beginning.diverged:
            return

        def compare(twins: list[Answers]) -> None:
            for name in [n for n in ours if n in theirs]:
                spread = max((abs(twin.losses[name] - ours[name]) for twin in twins), default=0.0)
                self.scalar(f"loss {name}", theirs[name], ours[name], spread, name)

        self.with_twins(compare)

    def _seen(self) -> None:
        gan, after = self.subject.start(self.beginning), self.beginning.exact.iterations[0]
        theirs = _numbers(gan.step(*map(tensors, self.beginning.turns[0])))
        self.same_names("losses that the phases saw", theirs, after.log)
        first = next(iter(gan.phases), None)
        for key, value in after.log.items():
            if key in theirs and key.split("/")[0] == first:  # later phases see steps, which property 3 compares
                self.scalar(f"loss {key}", theirs[key], value, 0.0, key.split("/")[-1])

    # --- 2

    def gradients(self) -> None:
        gan = self.subject.start(self.beginning)
        before = _kept(self.bench, gan)
        batch, noise = tensors(self.beginning.batch), tensors(self.beginning.noise)
        for phase, found in _gradients(gan, batch, noise, gan.phases):
            theirs = {k: array(g) for k, g in found.items()}
            self.seen |= {(phase, name): g.astype(float) for name, g in theirs.items()}
            ours = self.beginning.exact.gradients(phase)
            self.same_names(f"parameters that {phase} reaches", theirs, ours, phase)
            if self.beginning.diverged:
                continue
            if list(theirs) != list(ours) and set(theirs) == set(ours):
                self.add(f"parameters that {phase} reaches, in order", list(theirs)[:6], list(ours)[:6], phase)
            self._gradients(phase, theirs, ours)
        for name, value in _kept(self.bench, gan).items():
            if not np.array_equal(value, before[name], equal_nan=True):
                self.add(f"{name}, which looking at gradients changed", "changed", "unchanged")
        if any(p.grad is not None for p in gan.named_parameters().values()):
            self.add("a parameter's .grad after looking at gradients", "a tensor", "None")

    def _gradients(self, phase: str, theirs: Arrays, ours: Arrays) -> None:
        largest = max([FLAT, *map(_largest, ours.values())])

        def compare(twins: list[Answers]) -> None:
            for name in [n for n in ours if n in theirs]:
                exact = ours[name]
                spread = max((_distance(twin.gradients(phase)[name], exact) for twin in twins), default=0.0)
                if exact.shape == theirs[name].shape:  # 0 times infinity, where torch has no path at all
                    exact = np.where(np.isnan(exact) & (theirs[name] == 0), 0.0, exact)
                self.tensor(f"gradient of {phase} by {name}", theirs[name], exact, largest, spread, phase)

        self.with_twins(compare)

    # --- 3

    def iterations(self) -> None:
        """The first from the beginning; each later one going on, and going on from what a snapshot keeps."""
        gans = {"": self.subject.start(self.beginning)}
        for turn, after in enumerate(self.beginning.exact.iterations):
            for way, gan in gans.items():
                self._iteration(gan, turn, after, f"iteration {turn + 1}{way}, ")
                if self.differences or not _finite(after):
                    return
            gans = {"": gans[""], " after a snapshot": self.subject.resumed(gans[""])}

    def _iteration(self, gan: Compiled, turn: int, after: After, place: str) -> None:
        theirs = _numbers(gan.step(*map(tensors, self.beginning.turns[turn])))
        if self.beginning.stepped is None and not self.subject.edited:
            self.beginning.stepped = theirs, _flat(gan.game.state_dict())
        self.same_names(f"{place}what was evaluated", theirs, after.log)
        if not _finite(after):
            return
        state = everything(self.bench, gan)
        self.same_names(f"{place}what is kept", state, after.state)

        def compare(twins: list[Answers]) -> None:
            afters = [twin.iterations[turn] for twin in twins]
            moved = {k: [abs(a.log[k] - v) for a in afters if k in a.log] for k, v in after.log.items()}
            if any(by > LOST * max(abs(after.log[k]), SMALL) for k, found in moved.items() for by in found):
                return  # rounding alone makes other games of it
            if any(_turned(after.pulled, a.pulled) for a in afters):
                return  # a slope at a kink: Adam makes full steps of a gradient whose sign rounding decides
            spread = max((by for found in moved.values() for by in found), default=0.0)
            for key in [k for k in after.log if k in theirs]:
                self.scalar(f"{place}{key}", theirs[key], after.log[key], spread, key.split("/")[-1])
            for name in [n for n in after.state if n in state]:
                value = after.state[name]
                rounding = max((_distance(value, a.state[name]) for a in afters), default=0.0)
                scale = max(_largest(value), SMALL)
                self.tensor(f"{place}{name}", state[name], value, scale, rounding, name.split(".")[0])

        self.with_twins(compare)
        if any(p.grad is not None for p in gan.named_parameters().values()):
            self.add(f"{place}a parameter's .grad afterwards", "a tensor", "None")
        if len(gan.game.coming) != after.left:
            self.add(f"{place}batches left over", len(gan.game.coming), after.left)
        clocks = {k: v for k, v in gan.clocks.items() if v != after.clocks[k]}
        if clocks:
            self.add(f"{place}clocks", clocks, {k: after.clocks[k] for k in clocks})

    # --- 4 and 5: the same state, another text of the program

    def unplanned(self) -> None:
        self._beside(self.bench.unplanned, REASSOCIATED)

    def alone(self) -> None:
        for name in _imports(self.subject.source):
            if name not in ("torch", "__future__") and name not in sys.stdlib_module_names:
                self.add("a module that the program imports", name, "torch alone")
        self._beside(self.subject.source, 0.0)

    def _beside(self, source: str, tolerance: float) -> None:
        def stepped(game: Any) -> tuple[dict[str, float], Arrays]:
            return _numbers(game.step(*map(tensors, self.beginning.turns[0]))), _flat(game.state_dict())

        if self.beginning.stepped is None:
            self.beginning.stepped = stepped(self.subject.start(self.beginning))
        ours, mine = self.beginning.stepped
        theirs, others = stepped(self.subject.other(source, self.beginning))
        self.same_names("what was evaluated", theirs, ours)
        for key in ours.keys() & theirs.keys():
            self.close(key, theirs[key], ours[key], tolerance * max(abs(ours[key]), SMALL))
        self.same_names("what is kept", others, mine)

        def compare(twins: list[Answers]) -> None:
            rounding = self._rounding(twins)
            for name in mine.keys() & others.keys():
                self.close(name, others[name], mine[name], tolerance * max(_largest(mine[name]), 1.0) + rounding)

        if tolerance:
            self.with_twins(compare)
        else:
            compare([])

    def _rounding(self, twins: list[Answers]) -> float:
        """How far rounding alone carries anything in an iteration."""
        exact = self.beginning.exact.iterations[0].state if twins else {}
        spread = [_distance(v, twin.iterations[0].state[n]) for twin in twins for n, v in exact.items()]
        return ROUNDING * max((s for s in spread if np.isfinite(s)), default=0.0)

    def close(self, what: str, theirs: Any, ours: Any, allowed: float) -> None:
        off = _distance(np.asarray(theirs, float), np.asarray(ours, float))
        if off > allowed:
            at = np.asarray(ours, float).flat[0]
            self.add(what, float(at + off), float(at), what.split("/")[-1])

    # --- 6

    def single(self) -> None:
        batch, noise = tensors(self.beginning.batch), tensors(self.beginning.noise)
        exact = dict(self.seen)
        if missing := {"", *self.bench.own.phases} - {phase for phase, _ in exact}:
            exact |= _answers(self.subject.start(self.beginning), batch, noise, missing)
        if not all(np.isfinite(value).all() and _largest(value) < 1e30 for value in exact.values()):
            return
        phases = {phase for phase, _ in exact}
        theirs = dict(_answers(self.subject.start(self.beginning, torch.float32), batch, noise, phases))
        off = {name: _distance(theirs[name], value) for name, value in exact.items()}
        largest = {p: max(FLAT, *(_largest(v) for n, v in exact.items() if n[0] == p)) for p in phases}
        size = {n: largest[n[0]] if n[0] else max(_largest(v), SMALL) for n, v in exact.items()}
        spread = {n: SIZE * size[n] for n in exact}

        def compared() -> list[tuple[str, str]]:
            """All but what has lost its digits: a loss, or all gradients of a phase."""
            lost = {n if not n[0] else n[0] for n in exact if spread[n] > LOST * size[n]}
            return [n for n in exact if n not in lost and n[0] not in lost]

        for seed in range(SHAKES):
            missed = {n[0] for n in compared() if off[n] > 2 * spread[n]}
            if not missed:
                break
            gan = self.subject.start(self.beginning)
            with Noisy(seed):
                for name, value in _answers(gan, batch, noise, missed):
                    spread[name] = max(spread[name], _distance(value, exact[name]))
        for name in compared():
            if off[name] > 2 * spread[name]:
                what = f"gradient of {name[0]} by {name[1]}" if name[0] else f"loss {name[1]}"
                said = f"off by {off[name]:.3g}", f"off by at most {2 * spread[name]:.3g} in float32"
                self.add(what, *said, name[0] or name[1])
            else:
                self.deviation = max(self.deviation, (off[name] - spread[name]) / size[name])

    # --- 7

    def shown(self) -> None:
        gan = self.subject.start(self.beginning)
        for p in gan.averages.parameters():  # so that an average is not its network
            p.data.mul_(0.5)
        theirs: Arrays = {}
        draws: Arrays = {}
        before, batch = gan._keep(), tensors(self.beginning.batch)
        modes = [module.training for module in gan.networks.modules()]
        for name in (*gan.views, *gan.metrics):
            reads = any(node.op == "input" for node in walk([gan.graph.shown[name]]))
            with _noted(gan) as drawn:
                seen = batch if reads else None
                theirs[name] = array(gan.sample(name, self.case.batch_size, seen, self.case.seed))
            gan._restore(before)
            draws |= drawn
        if modes != [module.training for module in gan.networks.modules()]:
            self.add("the mode of a layer, which looking changed", "changed", "unchanged")
        ours = _shown(self.beginning.exact, draws)
        self.same_names("views and metrics", theirs, ours)

        def compare(twins: list[Answers]) -> None:
            others = [_shown(twin, draws) for twin in twins]
            for name in ours.keys() & theirs.keys():
                spread = max((_distance(other[name], ours[name]) for other in others), default=0.0)
                value = ours[name].reshape(theirs[name].shape)
                self.tensor(name, theirs[name], value, max(_largest(value), SMALL), spread, name)

        self.with_twins(compare)

    # --- 8

    def beside_own(self) -> None:
        """First weights and noise have no reference: an edited program is compared with the spec's own."""
        first = []
        for subject in (self.subject, Subject(self.bench)):
            torch.manual_seed(self.case.seed)
            made = subject.made()
            averages = {f"{a}: {n}": p for a, m in made.averages.items() for n, p in m.named_parameters()}
            first.append({n: array(p) for n, p in [*made.named_parameters().items(), *averages.items()]})
        for name, ours in first[1].items():
            theirs = first[0][name]
            if np.array_equal(theirs, ours) or ours.size < 2:
                continue
            spread = max(float(ours.std()), 1e-12)
            error = 6 * spread / np.sqrt(ours.size)  # six standard errors; the deviation's is smaller
            if abs(theirs.std() - ours.std()) > error or abs(theirs.mean() - ours.mean()) > np.sqrt(2) * error:
                a, b = (f"mean {v.mean():.3g}, deviation {v.std():.3g}" for v in (theirs, ours))
                self.add(f"first weights {name}", a, b, name)
        theirs, ours = (self._begun(subject) for subject in (self.subject, Subject(self.bench)))
        self.same_names("what begins from data", theirs, ours)
        for name in theirs.keys() & ours.keys():
            self.tensor(f"what begins from data, {name}", theirs[name], ours[name], 1.0, 0.0, name)
        theirs, ours = (self._drawn(subject) for subject in (self.subject, Subject(self.bench)))
        self.same_names("noise", theirs, ours)
        for name in theirs.keys() & ours.keys():
            self.tensor(f"noise {name}", theirs[name], ours[name], 1.0, 0.0, name.rpartition("/")[2])

    def _begun(self, subject: Subject) -> dict[str, Any]:
        """The batch size of a program, and its parameters when it has begun from data."""
        gan = subject.start(self.beginning)
        inputs = gan.inputs

        def items(name: str, n: int) -> torch.Tensor:
            case = Case(n, seed=self.case.seed)
            return torch.from_numpy(np.array(cases.batch({name: inputs[name]}, case, 0)[name][:n]))

        gan.begin_from(items)
        found = {"batch_size": np.asarray(float(gan.game.batch_size))}
        return found | {name: array(p) for name, p in gan.named_parameters().items()}

    def _drawn(self, subject: Subject) -> dict[str, Any]:
        """What a program makes of a seed in an iteration, and of torch's own seed in the next one, by name."""
        found: dict[str, Any] = {}
        gan = subject.start(self.beginning)
        torch.manual_seed(self.case.seed + 1)
        for number, (batches, _) in enumerate(self.beginning.turns[:2], 1):
            with _noted(gan) as drawn:
                gan.game.step(tensors(batches), seed=self.case.seed if number == 1 else None)
            found |= {f"iteration {number}, {name}": value for name, value in drawn.items()}
        return found

    # --- comparing

    def with_twins(self, compare: Callable[[list[Answers]], None]) -> None:
        """Compares; where something differs again, with one twin more each time, to see what rounding does."""
        before = len(self.differences)
        for count in range(TWINS + 1):
            del self.differences[before:]
            compare(self.beginning.twins[:count])
            if len(self.differences) == before:
                break

    def add(self, what: str, theirs: Any, ours: Any, name: str = "") -> None:
        lines = Lines(self.bench, self.subject.source)
        case = self.beginning.said
        self.differences.append(
            Difference(self.number, case, what, theirs, ours, lines.of_spec(name), lines.of_program(name))
        )

    def same_names(self, what: str, theirs: Any, ours: Any, name: str = "") -> None:
        if set(theirs) != set(ours):
            extra, missing = sorted(set(theirs) - set(ours))[:6], sorted(set(ours) - set(theirs))[:6]
            said = [f"also {', '.join(names)}" if names else "fewer" for names in (extra, missing)]
            self.add(what, said[0], said[1], name)

    def scalar(self, what: str, a: float, b: float, twin: float, name: str) -> None:
        self.tensor(what, np.asarray(a), np.asarray(b), max(abs(b), SMALL), abs(twin), name)

    def tensor(self, what: str, a: Any, b: Any, scale: float, twin: float, name: str) -> None:
        """a (the program's) against b (the reference's): off by at most 1e-9 of the scale and multiples of the twin."""
        if a.shape != b.shape:
            self.add(f"{what}, its shape", list(a.shape), list(b.shape), name)
            return
        off = _apart(a, b)
        worst = float(np.max(off, initial=0.0))
        allowed = TOLERANCE * max(scale, 1e-12) + ROUNDING * (twin if np.isfinite(twin) else 0.0)
        if worst > allowed:
            at = np.unravel_index(int(np.argmax(off)), off.shape)
            place = f"[{', '.join(map(str, at))}]" if at else ""
            self.add(f"{what}{place}", float(a[at]), float(b[at]), name)
        elif worst:
            self.deviation = max(self.deviation, max(0.0, worst - ROUNDING * twin) / max(scale, 1e-12))


PROPERTIES: dict[int, Callable[[Comparison], None]] = {
    1: Comparison.losses,
    2: Comparison.gradients,
    3: Comparison.iterations,
    4: Comparison.unplanned,
    5: Comparison.alone,
    6: Comparison.single,
    7: Comparison.shown,
    8: Comparison.beside_own,
}


def compare(number: int, subject: Subject, case: Case) -> Comparison:
    """A property in a case."""
    bench = subject.bench.of(case)
    return Comparison(number, subject.of(bench), bench.at(case)).run()


def _answers(gan: Compiled, batch: Any, noise: Any, asked: Collection[str]) -> Iterator[tuple[tuple[str, str], Any]]:
    """Every loss, as ("", name), and every gradient, as (phase, parameter); of the phases asked for."""
    for name, value in gan.losses(batch, noise).items() if "" in asked else ():
        yield ("", name), np.asarray(float(value))
    for phase, found in _gradients(gan, batch, noise, asked):
        for name, g in found.items():
            yield (phase, name), array(g).astype(float)


def _gradients(gan: Compiled, batch: Any, noise: Any, asked: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The gradients of the phases asked for; members of a group are evaluated once."""
    found: dict[str, dict[str, Any]] = {}
    for phase in [p for p in gan.phases if p in asked]:
        if phase not in found:
            found |= gan.gradients_together(phase, batch, noise)
        yield phase, found.pop(phase)


def _shown(side: Answers, draws: Arrays) -> Arrays:
    """What a side says to every view and metric."""
    game = side.game.copy()
    game.averages = {a: {n: 0.5 * p for n, p in kept.items()} for a, kept in game.averages.items()}
    return game.shown(side.shaken(side.beginning.batch), side.shaken(draws))


@contextmanager
def _noted(gan: Compiled) -> Iterator[dict[str, Any]]:
    """What a program draws meanwhile, by name."""
    found: dict[str, Any] = {}
    draws, find = gan.module.Draws, gan.module.Draws.find

    def noted(self: Any, name: str, make: Any) -> Any:
        value = find(self, name, make)
        found["/".join(filter(None, (self.evaluation, name)))] = array(value)
        return value

    draws.find = noted
    try:
        yield found
    finally:
        draws.find = find


def _numbers(log: Any) -> dict[str, float]:
    return {name: float(value) for name, value in log.items()}


def _kept(bench: Bench, gan: Compiled) -> Arrays:
    """Parameters and layer state."""
    return {n: array(p) for n, p in [*gan.named_parameters().items(), *buffers(bench, gan)]}


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Every tensor and number of a nested state, by its path."""
    if isinstance(value, dict):
        parts = [(str(k), v) for k, v in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(str(i), v) for i, v in enumerate(value)]
    elif isinstance(value, torch.Tensor):
        return {path: array(value).astype(float)}
    else:
        return {path: np.asarray(float(value))} if isinstance(value, int | float) else {}
    return {name: v for key, inner in parts for name, v in _flat(inner, f"{path}.{key}".lstrip(".")).items()}


def _finite(after: After) -> bool:
    return all(abs(value) < DIVERGED for value in after.log.values())


def _turned(ours: dict[str, Arrays], theirs: dict[str, Arrays]) -> bool:
    """Whether gradients of a phase are apart by more than a part of its largest entry."""
    pairs = [(found, theirs[phase]) for phase, found in ours.items() if phase in theirs]
    return any(
        _distance(g, others[name]) > LOST * max([FLAT, *map(_largest, found.values())])
        for found, others in pairs
        for name, g in found.items()
        if name in others
    )


def _largest(values: Any) -> float:
    return float(np.max(np.abs(values))) if np.size(values) else 0.0


def _apart(a: Any, b: Any) -> Any:
    """How far entries are apart; two that are no numbers are equal, one alone is infinitely far."""
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        off = np.where(same, 0.0, np.abs(a - b))
    return np.where(np.isnan(off), np.inf, off)


def _distance(a: Any, b: Any) -> float:
    return float(np.max(_apart(a, b), initial=0.0)) if a.shape == b.shape else np.inf


@lru_cache(maxsize=8)
def _imports(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


class Lines:
    """Where a loss, phase or network stands in the spec and in the program."""

    def __init__(self, bench: Bench, source: str):
        self.bench, self.source = bench, source

    def of_spec(self, name: str) -> Place | None:
        places = self.bench.spec.resolved[-1].places
        base = name.split(".")[0]
        for key in (name, base, family_of(base)):
            if key in places:
                return places[key]
        for stage in self.bench.reference.stages:
            for move, group in stage.phases():
                if name in (move.name, group.name if group else None):
                    return move.place
        return None

    def of_program(self, name: str) -> int | None:
        """Where the program computes a loss, or evaluates a phase."""
        if not name:
            return None
        word = "".join(c if c.isalnum() else "_" for c in name.replace("]", ""))
        loss = [f"        {word} = ", f"        # {name.split('.')[0]}: "]
        for text in [*loss, f"def evaluate_{word}(", f'"{name}": (', f"self.{word} = "]:
            for number, line in enumerate(self.source.splitlines(), 1):
                if text in line:
                    return number
        return None
