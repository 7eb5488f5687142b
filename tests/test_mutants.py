"""Who verifies the verifier: every fault that a rule puts into a program of the gallery is found, or changes nothing.

`python tests/test_mutants.py [PART [SYSTEM...]]` prints a table of docs/verification.md, for the part `game`, `shown`
(views and metrics) or `runtime` of programs.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from equivalent import Flow, reason
from mutants import RUNTIME, SHOWN, Mutant, Program, mutants_of

from gangraph.compiler import load
from gangraph.errors import RunError
from gangraph.verify.bench import Bench, Subject
from gangraph.verify.cases import Case
from gangraph.verify.properties import compare

GALLERY = sorted(path.stem for path in (Path(__file__).parent.parent / "specs").glob("*.yaml"))
EVERYTHING = Path(__file__).parent / "data" / "everything.yaml"  # a game with every part of the runtime
# No comparison moves a program to another precision after optimizers have gathered something.
MISSED = "Game.to: left out: optimizer.load_state_dict(optimizer.state_dict()) -> pass"
FEW = 3  # in how many cases a mutant is tried of which a rule says that it changes nothing
MOMENTS = 16  # of how many beginnings in time a mutant is tried, at most


def cases(bench: Bench) -> Iterator[Case]:
    """What a mutant is tried in: every stage, large weights, ends of a pool, both sides of what turns, in time too."""
    usual, larger, most = bench.batch_sizes[-2], bench.batch_sizes[-1], bench.turns[-1]
    stages, pools = range(len(bench.spec.resolved)), bool(bench.own.game.pools)
    yield from (Case(usual, stage) for stage in stages)
    yield Case(larger)
    yield Case(larger, weights="large", seed=1, pools="full" if pools else "empty")
    yield Case(usual, weights="small", seed=2, pools="nearly full" if pools else "empty")
    yield from bench.edges
    moments = min(len(bench.moments), MOMENTS)
    yield from (Case(usual, stage, moment=m, turns=most, seed=2 + m) for m in range(1, moments) for stage in stages)


def caught(bench: Bench, mutant: Mutant, few: bool) -> bool:
    """Whether a property differs in one of the cases; a program that does not load or run is caught."""
    try:
        subject = Subject(bench, mutant.source)
    except RunError:
        return True
    return any(compare(n, subject, case).differences for n, case in trials(bench, mutant, few))


def trials(bench: Bench, mutant: Mutant, few: bool) -> Iterator[tuple[int, Case]]:
    """Properties and cases in which a mutant may show, those of the stage first that its method is for."""
    stages = [f"_{stage.stage}" for stage in bench.spec.resolved]
    own = next((i for i, suffix in enumerate(stages) if mutant.method.endswith(suffix)), None)
    first = next(case for case in cases(bench) if case.stage == (own or 0))
    turns = (True, False) if own is not None else (None,)
    tried = (case for mine in turns for case in cases(bench) if mine is None or (case.stage == own) is mine)
    tried = itertools.islice(tried, FEW if few else None)
    if mutant.method.startswith(SHOWN):
        yield from ((7, case) for case in tried)
        return
    yield from ((n, case) for case in tried for n in (3, 2))
    yield from ((7, first), (8, first))
    if mutant.method.split(".")[0] in RUNTIME:  # which may lose what it moves to another precision
        yield from ((6, case) for case in cases(bench) if case.pools == "full")


@dataclass
class Row:
    """A system's mutants: how many there are and were tried, and those that no case has caught, with the reasons."""

    system: str
    count: int
    tried: Counter[str] = field(default_factory=Counter)
    alive: dict[Mutant, str | None] = field(default_factory=dict)
    unreasonable: list[Mutant] = field(default_factory=list)  # caught, though a rule says that they change nothing

    @property
    def missed(self) -> list[str]:
        return [f"line {m.line}: {m.key}" for m, why in self.alive.items() if why is None]


def measured(system: str, every: int = 1, seconds: float = float("inf"), part: str = "game") -> Row:
    """The mutants of a system in its tiny sizes: one of `every` few, spread over the program, as far as time allows."""
    torch.set_num_threads(1)
    ends = time.monotonic() + seconds
    spec = load(EVERYTHING if system == EVERYTHING.stem else system, tiny=system != EVERYTHING.stem)
    program, bench = Program(spec.program.source, spec.program.title), Bench(spec)
    flow, found = Flow(program, spec), list(mutants_of(program, part))
    row = Row(system, len(found))
    for mutant in sorted(found[::every], key=lambda m: found.index(m) * 0.6180339887 % 1):
        if time.monotonic() > ends:
            break
        row.tried[mutant.rule] += 1
        why = reason(flow, mutant)
        if not caught(bench, mutant, few=why is not None):
            row.alive[mutant] = why
        elif why is not None:
            row.unreasonable.append(mutant)
    return row


# Of how many mutants `make test` tries one.
QUICK = {
    "gan": 1,
    "f-gan": 1,
    "sparse-ae": 2,
    "cgan": 2,
    "digits8": 4,
    "stackgan-digits": 6,
    "cogan": 6,
    "cyclegan": 16,
}


def sound(row: Row) -> None:
    assert row.tried
    missed = [text for text in row.missed if MISSED not in text]
    assert not missed, "\n".join(missed)
    assert not row.unreasonable, "\n".join(m.key for m in row.unreasonable)


@pytest.mark.parametrize("system", QUICK)
def test_a_mutant_is_found(system: str) -> None:
    sound(measured(system, QUICK[system]))


@pytest.mark.parametrize("system", ["autoencoder", "cogan", "vae"])
def test_a_mutant_of_a_view_or_metric_is_found(system: str) -> None:
    sound(measured(system, part="shown"))


@pytest.mark.deep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("system", GALLERY)
def test_every_mutant_is_found(system: str) -> None:
    sound(measured(system, seconds=900))


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_every_mutant_of_the_runtime_is_found() -> None:
    sound(measured(EVERYTHING.stem, part="runtime", seconds=3000))


def main(part: str = "game", *systems: str, seconds: float = 900) -> None:
    for system in systems or ([EVERYTHING.stem] if part == "runtime" else GALLERY):
        row = measured(system, seconds=seconds, part=part)
        same, missed = len(row.alive) - len(row.missed), len(row.missed)
        caught = row.tried.total() - len(row.alive)
        print(f"| {system} | {row.count} | {row.tried.total()} | {caught} | {same} | {missed} |", flush=True)
        for mutant, why in row.alive.items():
            print(f"    line {mutant.line}: {mutant.key}: {why or 'MISSED'}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
