"""Where what a loss or a state decides turns: cases just before and just after it.

Conditions of the schedule are watched at many weights. Between two of them that a condition tells apart, halving finds
where it turns, and which of its comparisons turned there: the one it hangs on. So each comparison, beside all others
in its condition, is seen on both sides of its threshold. Of a condition inside the iteration the turn is where it would
be if no phase before it had stepped.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from gangraph.ir import Node
from gangraph.noise import number_at
from gangraph.ops import COMPARISONS

if TYPE_CHECKING:
    from gangraph.verify.bench import Bench
    from gangraph.verify.cases import Case

DECIDING = ("loss", "latest", "state")
KINDS, SEEDS = ("usual", "large"), (8, 24)  # the weights at which conditions are watched; more of them, if need be
STOPS, HALVINGS = 8, 6
LOOKS = 8  # for each case that is wanted
WAYS = 6  # how many pairs of weights are tried for one comparison
Seen = tuple[Any, ...]  # what a condition is, then each of its comparisons


class Enough(Exception):
    """As many cases have been looked at as were allowed."""


def edges(bench: Bench, stage: int, most: int | None = None) -> list[Case]:
    """For each comparison that a condition hangs on somewhere: the case before its turn, and the one behind it.

    At most `most` cases, and those that are found by looking at `LOOKS` times as many.
    """
    from gangraph.verify.cases import Case

    graph = bench.spec.graphs[stage]
    numbers = [n for s in graph.steps() for n in (s.when, s.repeat, *(p.when for p in s.phases))]
    watched = [n for n in numbers if isinstance(n, Node) and _decided(n)]
    if not watched:
        return []
    turns = 2 if any(part.op == "state" for n in watched for part in _parts(n)) else 1  # a state shows one later
    case = Case(bench.batch_sizes[-2], stage, turns=turns)
    watch = Watch(bench, watched, LOOKS * most if most is not None else None)
    found: list[dict[int, tuple[Case, Case]]] = [{} for _ in watched]
    for seeds in SEEDS:
        points = [replace(case, weights=kind, seed=seed) for seed in range(seeds) for kind in KINDS]
        try:
            for number, pairs in enumerate(found):
                watch.edges(number, points, pairs)
        except Enough:
            break
        if all(len(pairs) == len(numbers) - 1 for pairs, numbers in zip(found, watch.numbers, strict=True)):
            break
    return [edge for pairs in found for pair in pairs.values() for edge in pair][:most]


def _parts(node: Node) -> Iterator[Node]:
    """A number of the schedule and all that it is computed from; a loss is one number."""
    yield node
    for inner in node.args if node.op != "loss" else ():
        yield from _parts(inner)


def _decided(node: Node) -> bool:
    return any(part.op in DECIDING for part in _parts(node))


class Watch:
    """What conditions are after an iteration from a case in which nobody moves, by the spec's own program."""

    def __init__(self, bench: Bench, conditions: list[Node], most: int | None = None):
        from gangraph.verify.bench import Subject

        self.most = most
        self.bench, self.gan = bench, Subject(bench).made()
        self.first = copy.deepcopy(self.gan.state_dict())
        game = self.gan.game
        game.gradient, game.move = lambda phase, *_: [None] * len(game.trained(phase)), lambda *_: None
        self.numbers = [
            [c, *(part for part in _parts(c) if part.op in COMPARISONS and _decided(part))] for c in conditions
        ]
        self._seen: dict[Case, list[Seen]] = {}

    def at(self, case: Case) -> list[Seen]:
        if case not in self._seen:
            if self.most is not None and len(self._seen) >= self.most:
                raise Enough
            self._seen[case] = self._look(case)
        return self._seen[case]

    def _look(self, case: Case) -> list[Seen]:
        from gangraph.verify.bench import Beginning, tensors

        self.gan.load_state_dict(self.first)
        beginning, game = Beginning(self.bench, replace(case, turns=1), self.gan), self.gan.game
        clocks = dict(game.clocks)
        with torch.set_grad_enabled(self.bench.reference.stages[case.stage].depth > 0):
            game.step(*map(tensors, beginning.turns[0]))
        game.clocks = clocks

        def number(node: Node) -> Any:
            try:
                return float(number_at(node, game))
            except (ArithmeticError, RuntimeError):  # RuntimeError: of a loss that no phase has evaluated
                return None

        return [tuple(map(number, numbers)) for numbers in self.numbers]

    def edges(self, number: int, points: list[Case], found: dict[int, tuple[Case, Case]]) -> None:
        """Both sides of a turn of a condition, by the one comparison that turns there; adds to what is found."""
        if len(found) == len(self.numbers[number]) - 1:
            return
        pairs = [(a, b) for a, b in itertools.combinations(points, 2) if a.weights == b.weights]
        pairs = [(a, b) for a, b in pairs if 0 in self.apart(number, a, b)]
        pairs.sort(key=lambda pair: len(self.apart(number, *pair)))
        for comparison in range(1, len(self.numbers[number])):
            ways = [pair for pair in pairs if comparison in self.apart(number, *pair)][:WAYS]
            for a, b in ways if comparison not in found else ():
                for before, behind in self.turns(number, a, b) if comparison not in found else ():
                    first, *others = self.apart(number, before, behind)[1:] or [0]
                    if first and not others:
                        found.setdefault(first, (before, behind))

    def apart(self, number: int, a: Case, b: Case) -> list[int]:
        """What two cases do not agree on: 0 is the condition, then come its comparisons."""
        seen = zip(self.at(a)[number], self.at(b)[number], strict=True)
        return [i for i, (x, y) in enumerate(seen) if x != y]

    def turns(self, number: int, a: Case, b: Case) -> Iterator[tuple[Case, Case]]:
        """Each turn of a condition that is seen on the way between the weights of two cases."""
        stops = [replace(a, way=i / STOPS, other=b.seed) for i in range(STOPS + 1)]
        for before, behind in itertools.pairwise(stops):
            if 0 in self.apart(number, before, behind):
                for _ in range(HALVINGS):
                    between = replace(behind, way=(before.way + behind.way) / 2)
                    here = 0 in self.apart(number, before, between)
                    before, behind = (before, between) if here else (between, behind)
                yield before, behind
