"""Schedules -> Case: a spec as the checks look at it: who owns what, what each value is made of, where gradients go.

Sets of networks are the bits of one integer, so that every question about a graph is answered by one walk over it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from functools import cached_property
from typing import Any

from gangraph import ops
from gangraph.check.read import Read
from gangraph.errors import Place
from gangraph.families import SIDES, family_of, whole_loss
from gangraph.frozen import frozen
from gangraph.graph import Graph, Phase
from gangraph.ir import Module, Node, visit, walk
from gangraph.routing import passing
from gangraph.schedule import Schedule
from gangraph.templates import TwoSided

SAME = frozenset(
    {"loss", "alias", "stop", "mean", "sum", "logsumexp", "reshape", "samples_of"}
)  # of one number a sample
ARITHMETIC = SAME | ops.HOSTS | {"expect", "total", "norm", "where", "leaky_relu", "ifelse", "and", "or", "not"}


@frozen
class Finding:
    """What a check found. `name` declares it under `meant`; a `warning` stops nobody."""

    place: Place
    path: str
    fact: str
    help: str | None = None
    name: str | None = None
    warning: bool = False


@frozen(eq=False)
class Formula:
    """What a loss is, or an objective, from whose place it is told and under which name it may be meant."""

    path: str
    name: str
    at: Place
    root: Node


@frozen(eq=False)
class Sided:
    """A two-sided loss: its scores, who judges them, and the phases that minimize each side."""

    name: str
    loss: TwoSided
    real: tuple[Node, ...]
    fake: tuple[Node, ...]
    shown: tuple[Node, ...]  # the fakes that the discriminator sees
    judges: int
    phases: dict[str, list[Phase]]  # by side: those that minimize it
    maximized: dict[str, list[Phase]]  # by side: those that subtract it, as in a zero-sum game

    @property
    def path(self) -> str:
        return f"losses.{self.name}"


class Stage:
    """One stage, with what the checks ask of it; each answer is worked out once."""

    def __init__(self, schedule: Schedule, contained: dict[str, tuple[str, ...]] | None = None):
        self.schedule = schedule
        self.graph: Graph = schedule.graph
        self.bits = {name: 1 << i for i, name in enumerate(self.graph.networks)}
        self._contained = {} if contained is None else contained

    # --- networks

    def contained(self, name: str) -> tuple[str, ...]:
        if name not in self._contained:
            self._contained[name] = tuple(self.graph.contained(name))
        return self._contained[name]

    def mask(self, names: Iterable[str]) -> int:
        """A set of networks, with all that they contain."""
        found = 0
        for name in names:
            for inner in self.contained(name):
                found |= self.bits[inner]
        return found

    def names(self, mask: int) -> list[str]:
        return [name for name, bit in self.bits.items() if bit & mask]

    @cached_property
    def phases(self) -> list[Phase]:
        return self.graph.phases()

    @cached_property
    def owned(self) -> dict[str, int]:
        """What each phase trains."""
        return {phase.name: self.mask(phase.networks) for phase in self.phases}

    # --- values

    @cached_property
    def nodes(self) -> list[Node]:
        """Every node of the stage, arguments first."""
        roots = [
            *self.graph.inputs.values(),
            *self.graph.draws.values(),
            *self.graph.named().values(),
            *self.graph.shown.values(),
        ]
        return walk([*roots, *(phase.objective for phase in self.phases)])

    @cached_property
    def formulas(self) -> list[Formula]:
        """The losses, then what objectives say beside them."""
        losses = [(f"losses.{whole_loss(name)}", whole_loss(name), node) for name, node in self.graph.losses.items()]
        phases = [(f"schedule.{phase.name}", phase.name, phase.objective) for phase in self.phases]
        return [
            *(Formula(path, name, node.at, node.args[0]) for path, name, node in losses),
            *(Formula(path, name, node.at, node) for path, name, node in phases),
        ]

    @cached_property
    def made_of(self) -> dict[int, int]:
        """Node -> the networks that its numbers come from."""
        found: dict[int, int] = {}
        for node in self.nodes:
            found[id(node)] = self._own(node)
            for argument in node.args:
                found[id(node)] |= found[id(argument)]
        return found

    @cached_property
    def feeds(self) -> dict[int, int]:
        """Node -> the networks to whose parameters a gradient at the node passes."""
        found: dict[int, int] = {}
        for node in self.nodes:
            live = node.op != "call" or not (node.fields["view"].get("frozen") or averaged(node))
            found[id(node)] = self._own(node) if live else 0
            for argument in passing(node):
                found[id(node)] |= found[id(argument)]
        return found

    def _own(self, node: Node) -> int:
        if node.op == "call":
            return self.mask([node.fields["source"]])
        return self.bits.get((node.name or "").split(".")[0], 0) if node.op == "parameter" else 0

    # --- losses

    @cached_property
    def above_losses(self) -> set[int]:
        """Losses, their sides, and what is made of them."""
        found: set[int] = set()
        for node in self.nodes:
            if node.op == "loss" or not found.isdisjoint(map(id, node.args)):
                found.add(id(node))
        return found

    def made_of_losses(self, roots: Iterable[Node]) -> Iterator[Node]:
        """The losses that the roots read, and what lies between."""
        return visit(
            (r for r in roots if id(r) in self.above_losses),
            lambda node: [a for a in node.args if id(a) in self.above_losses],
        )

    @cached_property
    def minimized(self) -> dict[str, list[tuple[Node, int]]]:
        """Phase -> the losses (and sides) that its gradient comes through, each with the sign in front of it."""
        return {phase.name: minimized(phase.objective, self.above_losses) for phase in self.phases}

    @cached_property
    def sided(self) -> list[Sided]:
        by_loss: dict[tuple[int, int], list[Phase]] = {}
        for phase in self.phases:
            for node, sign in self.minimized[phase.name]:
                by_loss.setdefault((id(node), sign), []).append(phase)
        return [self._sided(name, loss, by_loss) for name, loss in self.graph.sided.items()]

    def _sided(self, name: str, loss: TwoSided, by_loss: dict[tuple[int, int], list[Phase]]) -> Sided:
        phases, maximized = ({side: by_loss.get((id(loss.side(side)), sign), []) for side in SIDES} for sign in (1, -1))
        real, fake = (flat(loss.arguments.get(key)) for key in ("real", "fake"))
        if real and fake:
            shown = flat(loss.arguments.get("shown")) or fake
            judges = self.called(real) & (self.called(fake) | self.called(shown))
            return Sided(name, loss, real, fake, shown, judges, phases, maximized)
        # Written by hand: the fake scores are those that are made of what the generator's phases train.
        judges = self.called([loss.discriminator]) & self.called([loss.generator])
        for phase in phases["discriminator"]:  # energies compare a fake with itself, so its maker is called there too
            judges = judges & self.owned[phase.name] or judges
        makers = 0
        for phase in phases["generator"]:
            makers |= self.owned[phase.name]
        scores = {side: frontier(loss.side(side)) for side in phases}
        fakes = {
            side: tuple(n for n in found if self.part_made_of(n) & makers & ~judges) for side, found in scores.items()
        }
        real = tuple(
            n for n in scores["discriminator"] if n not in fakes["discriminator"] and self.made_of[id(n)] & judges
        )
        return Sided(name, loss, real, fakes["generator"], fakes["discriminator"], judges, phases, maximized)

    def part_made_of(self, node: Node) -> int:
        """The networks that a value is made of; of a part of a batch, those of the part that was joined there."""
        if node.op != "output" or node.args[0].op != "chunk" or node.args[0].fields["axis"]:
            return self.made_of[id(node)]
        parts, index, found = node.args[0].fields["n"], node.fields["index"], 0

        def joined(inner: Node) -> bool:
            return inner.op == "batch_concat" and len(inner.args) == parts

        for inner in visit(node.args, lambda n: () if joined(n) else n.args):
            if joined(inner):
                found |= self.made_of[id(inner.args[index])]
            elif inner.op == "call":
                found |= self.mask([inner.fields["source"]])
        return found

    def called(self, roots: Iterable[Node]) -> int:
        found = 0
        for call in nearest_calls(roots):
            found |= self.mask([call.fields["source"]])
        return found


class Case:
    """All stages of a spec. Names mean the same in each of them."""

    def __init__(self, schedules: tuple[Schedule, ...]):
        contained: dict[str, tuple[str, ...]] = {}  # stages share their networks
        self.stages = [Stage(schedule, contained) for schedule in schedules]
        self.spec = self.stages[0].graph.resolved.spec
        self.sources = self.spec.sources
        self.file = next(
            iter(self.sources.files), self.spec.place.file
        )  # the spec's own; parents and library come later

    @cached_property
    def read(self) -> Read:
        return Read(stage.graph.resolved for stage in self.stages)

    @cached_property
    def inner_values(self) -> dict[tuple[Place, str], bool]:
        """Place and name of every value inside the spec's own networks, and whether some use reads it."""
        found: dict[tuple[Place, str], bool] = {}
        for name, network in self.stages[-1].graph.networks.items():
            for top in network.variants.values():
                for module in modules(top):
                    if not module.values or not any(self.own(v.at) for v in module.values):
                        continue
                    reached = {id(n) for n in walk([*module.outputs, *module.labels.values()])}
                    wholes = {id(n.args[0]) for n in module.values if n.op == "output" and id(n) in reached}
                    for value in module.values:
                        if self.own(value.at):
                            key = (value.at, f"{name}.{family_of(value.name or '')}")
                            hit = id(value) in reached or (value.op == "output" and id(value.args[0]) in wholes)
                            found[key] = found.get(key, False) or hit
        return found

    @cached_property
    def ignored_inputs(self) -> dict[str, list[str]]:
        """The inputs of the spec's own networks of which nothing in them is made."""
        found: dict[str, list[str]] = {}
        for name, network in self.stages[-1].graph.networks.items():
            read = [{id(n) for n in walk([*m.outputs, *m.labels.values()])} for m in network.variants.values()]
            tops = list(zip(network.variants.values(), read, strict=True))
            inputs = dict.fromkeys(node.name or "" for module, _ in tops for node in module.inputs)
            ignored = [x for x in inputs if not any(n.name == x and id(n) in r for m, r in tops for n in m.inputs)]
            if ignored and self.own(network.at):
                found[name] = ignored
        return found

    def own(self, thing: Any) -> bool:
        """Whether the spec's own file says it, and no parent or library."""
        place = thing if isinstance(thing, Place) else getattr(thing, "place", None) or getattr(thing, "at", None)
        return place is None or (place.file == self.file and not self.sources.settled)


def minimized(objective: Node, within: Container[int] | None = None) -> list[tuple[Node, int]]:
    """The losses (and sides) that an objective's gradient comes through, each with the sign in front of it.

    With `within`, only what has its id there is looked at.
    """
    seen = {id(objective)}
    stack, losses = [(objective, 1)], []
    while stack:
        node, sign = stack.pop()
        if node.op == "loss":
            losses.append((node, sign))
        for argument in passing(node):
            if id(argument) not in seen and (within is None or id(argument) in within):
                seen.add(id(argument))
                stack.append((argument, sign * _sign(node, argument)))
    return losses


def _sign(node: Node, argument: Node) -> int:
    """The sign that an operator puts in front of an argument; an unknown factor counts as positive."""
    if node.op == "neg" or (node.op == "sub" and argument is node.args[1]):
        return -1
    if node.op in ("mul", "div"):
        factors = [a.value for a in node.args if a is not argument and a.type.host]
        return -1 if any(isinstance(f, int | float) and f < 0 for f in factors) else 1
    return 1


# --- walks ----------------------------------------------------------------------------------------------------------


def flat(value: Any) -> tuple[Node, ...]:
    """The nodes of an argument that may be a list."""
    if isinstance(value, tuple):
        return tuple(node for item in value for node in flat(item))
    return (value,) if isinstance(value, Node) and not value.type.host else ()


def averaged(call: Node) -> bool:
    return bool(call.fields["source"] != call.fields["network"])


def below(roots: Iterable[Node], stop: frozenset[str] = frozenset(), done: set[int] | None = None) -> Iterator[Node]:
    """The nodes that the roots are made of, no further than those whose `op` stops the walk, which come too.

    With `done`, nodes that an earlier walk came to are left out.
    """
    return visit(roots, lambda node: () if node.op in stop else node.args, done)


def nearest_calls(roots: Iterable[Node]) -> list[Node]:
    """The calls of networks that stand nearest to the roots."""
    return [node for node in below(roots, frozenset({"call"})) if node.op == "call"]


def frontier(root: Node) -> list[Node]:
    """The values where a formula's arithmetic ends: scores, inputs, pictures."""
    roots = [root] if not root.type.host else []
    arithmetic = visit(roots, lambda n: [a for a in n.args if not a.type.host] if n.op in ARITHMETIC else ())
    return [node for node in arithmetic if node.op not in ARITHMETIC]


def modules(top: Module) -> Iterator[Module]:
    """A module and all that are below it."""
    stack = [top]
    while stack:
        module = stack.pop()
        yield module
        stack += module.children
