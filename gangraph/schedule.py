"""Routing -> Schedule: what each evaluation computes, in which order, and what it keeps.

An evaluation is a run of a phase, or of a group. Its values come in the order of their declaration, then its losses
in the order in which the objective names them. What no owned parameter feeds is computed without a gradient; what is
made once is held; the `x` of a `grad(y, x)` that nothing owned feeds becomes a leaf.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import field

from gangraph.frozen import frozen
from gangraph.graph import Graph, Phase, Step
from gangraph.ir import Node, leaves, visit, walk
from gangraph.routing import Reach, Route, Routing, by


@frozen
class Evaluation:
    """One run of a phase or group: its nodes in order, and what is known of each."""

    name: str
    phases: tuple[Phase, ...]
    nodes: tuple[Node, ...]  # in the order of evaluation; held values stand for all that they are made of
    held: frozenset[int]  # ids of nodes that are made once an iteration
    tracked: frozenset[int]  # ids of nodes that carry a gradient, or lie on the way of an inner derivative
    leaves: frozenset[int]  # ids of the x of inner derivatives that nothing owned feeds
    retain: bool  # whether a later phase differentiates through the same held graph
    losses: tuple[Node, ...]
    parts: tuple[Node, ...] = ()  # summands of the objective that share no graph; none where it is one piece
    states: tuple[tuple[str, Node], ...] = ()  # states that become something after this evaluation

    @property
    def inputs(self) -> list[Node]:
        return [n for n in self.nodes if n.op == "input" and n.name]

    @property
    def draws(self) -> list[Node]:
        return [n for n in self.nodes if n.op == "draw"]


def summands(node: Node) -> list[Node]:
    """The terms of an objective, each with its factors; losses are not taken apart."""
    if node.op in ("add", "sub"):
        left, right = node.args
        second = summands(right)
        if node.op == "sub":
            second = [Node("neg", (n,), n.type, n.at) for n in second]
        return summands(left) + second
    if node.op == "neg":
        return [Node("neg", (n,), n.type, n.at) for n in summands(node.args[0])]
    if node.op in ("mul", "div"):
        left, right = node.args
        if right.type.host:
            return [Node(node.op, (n, right), n.type, node.at) for n in summands(left)]
        if left.type.host and node.op == "mul":
            return [Node("mul", (left, n), n.type, node.at) for n in summands(right)]
    return [node]


def _freed_in_time(groups: list[list[Node]], nodes: list[Node], tracked: frozenset[int]) -> list[list[Node]]:
    """Groups of terms, those joined between whose ends no network is called: freeing the first would save nothing."""
    places = {id(n): i for i, n in enumerate(nodes)}
    calls = [i for i, n in enumerate(nodes) if n.op in ("call", "apply", "grad") and id(n) in tracked]
    ends = [max(places[id(n)] for n in walk(terms) if id(n) in places) for terms in groups]
    found: list[tuple[int, list[Node]]] = []
    for end, terms in sorted(zip(ends, groups, strict=True), key=lambda pair: pair[0]):
        if found and not any(found[-1][0] < i <= end for i in calls):
            found[-1] = (end, found[-1][1] + terms)
        else:
            found.append((end, terms))
    return [terms for _, terms in found] if len(found) > 1 else []


def _sum(terms: list[Node]) -> Node:
    return functools.reduce(lambda a, b: Node("add", (a, b), a.type, a.at), terms)


@frozen
class Held:
    """A draw or value that is made one time an iteration."""

    node: Node
    nodes: tuple[Node, ...]
    tracked: frozenset[int]

    @property
    def graded(self) -> bool:
        return id(self.node) in self.tracked


@frozen
class Schedule:
    """A stage's plan: evaluations by name, what is held, and the steps in order."""

    graph: Graph
    routing: Routing
    evaluations: dict[str, Evaluation]
    held: dict[str, Held]
    steps: tuple[Step, ...] = field(default=())

    def parts(self, name: str) -> dict[str, list[str]]:
        """What an evaluation reads, holds and computes, by name. What is held is made there, or was made before."""
        evaluation = self.evaluations[name]

        def held(node: Node) -> bool:
            return id(node) in evaluation.held or (node.op == "output" and id(node.args[0]) in evaluation.held)

        named = [n for n in evaluation.nodes if n.name and id(n) in self.graph.order and not held(n)]
        values = [n for n in named if n.op not in ("input", "draw")]
        found: dict[str, list[str | None]] = {
            "batch": [n.name for n in evaluation.inputs if n.name in self.graph.inputs],
            "draws": [n.name for n in evaluation.draws if not held(n)],
            "once": [held_name(n) for n in evaluation.nodes if id(n) in evaluation.held],
            "without gradient": [n.name for n in values if id(n) not in evaluation.tracked],
            "computed": [n.name for n in values if id(n) in evaluation.tracked],
            "losses": [n.name for n in evaluation.losses],
        }
        return {part: list(dict.fromkeys(n or "" for n in names)) for part, names in found.items()}

    def reads(self, name: str, held: bool = True) -> bool:
        """Whether an evaluation reads the batch, by itself or, with `held`, where it makes a held value."""
        made = {id(h.node): h.nodes for h in self.held.values()} if held else {}
        read = visit(self.evaluations[name].nodes, lambda node: made.get(id(node), ()))
        return any(node.op == "input" and node.name in self.graph.inputs for node in read)

    def __str__(self) -> str:
        lines = [f"stage {self.graph.resolved.stage}"] if self.graph.resolved.stage else []
        for name, evaluation in self.evaluations.items():
            phases = ", ".join(f"{p.player} steps {', '.join(p.networks)}" for p in evaluation.phases)
            lines.append(f"{name}: {phases}")
            for node in evaluation.nodes:
                if node.name is None or node.op in ("input", "draw", "constant", "clock"):
                    continue
                how = (
                    "held"
                    if id(node) in evaluation.held
                    else "gradient"
                    if id(node) in evaluation.tracked
                    else "no gradient"
                )
                lines.append(f"  {node.name}: {how}")
        return "\n".join(lines)


def plan_schedule(routing: Routing, planned: bool = True) -> Schedule:
    """The plan of one stage. Not `planned`, it saves nothing: every value carries a gradient, every graph stays."""
    planner = _Planner(routing, planned)
    return Schedule(routing.graph, routing, planner.evaluations(), planner.held(), routing.graph.schedule)


class _Planner:
    def __init__(self, routing: Routing, planned: bool):
        self.routing, self.graph, self.planned = routing, routing.graph, planned
        self.reach = Reach(self.graph)
        self.once = once_nodes(self.graph)
        self.groups = [(step.name, step.phases) for step in self.graph.steps() if step.kind in ("phase", "group")]
        self._needless()

    def evaluations(self) -> dict[str, Evaluation]:
        return {name: self._evaluation(name, phases) for name, phases in self.groups}

    def roots(self, name: str, phases: tuple[Phase, ...]) -> tuple[list[Node], tuple[tuple[str, Node], ...]]:
        """Objectives of the members, then their conditions, then what states read."""
        names = {name, *(p.name for p in phases)}
        states = tuple(
            (s.name, node) for s in self.graph.state.values() for phase, node in s.within.items() if phase in names
        )
        conditions = [p.when for p in phases if isinstance(p.when, Node)]
        return [*(p.objective for p in phases), *conditions, *(node for _, node in states)], states

    def _evaluation(self, name: str, phases: tuple[Phase, ...]) -> Evaluation:
        roots, states = self.roots(name, phases)
        nodes = ordered(roots, self.graph.order, self.once)
        tracked = self._tracked(nodes, [self.routing.routes[p.name] for p in phases])
        leaves = inner_leaves(nodes, self.reach) - {key for p in phases for key in self.routing.routes[p.name].live}
        held = frozenset(id(n) for n in nodes if id(n) in self.once)
        losses = tuple(n for n in nodes if n.op == "loss")
        parts, retain = self._parts(phases, nodes, tracked), self._retain(name, phases)
        return Evaluation(
            name, phases, tuple(nodes), held, tracked, frozenset(leaves), retain, losses, parts, states
        )  # fmt: skip

    def _parts(self, phases: tuple[Phase, ...], nodes: list[Node], tracked: frozenset[int]) -> tuple[Node, ...]:
        """Sums of terms that share no value with a gradient: each can be differentiated, and its graph freed, alone."""
        summed = summands(phases[0].objective) if len(phases) == 1 and self.planned else []
        if len(summed) < 2:
            return ()
        groups: list[tuple[set[int], list[Node]]] = []
        live = self.routing.routes[phases[0].name].live
        for term in summed:
            graph = {id(n) for n in walk([term]) if id(n) in tracked and n.op != "parameter"}
            if graph.isdisjoint(live):
                continue  # an inner derivative may be tracked, and the phase has nothing of it
            met = [group for group in groups if not group[0].isdisjoint(graph)]
            joined = (graph.union(*(g[0] for g in met)), [t for g in met for t in g[1]] + [term])
            groups = [group for group in groups if group not in met] + [joined]
        if len(groups) < 2:
            return ()
        return tuple(_sum(terms) for terms in _freed_in_time([terms for _, terms in groups], nodes, tracked))

    def _tracked(self, nodes: list[Node], routes: Iterable[Route]) -> frozenset[int]:
        if not self.planned:
            return frozenset(map(id, nodes))
        found = {key for route in routes for key in route.live}
        for node in nodes:
            if node.op == "grad":
                y, x = node.args
                found |= set(self.reach.depending([y], frozenset({id(x)}), by(x))) - {id(x)}
        return frozenset(found)

    def _through(self, phases: tuple[Phase, ...]) -> set[int]:
        """Held values that some member trains through."""
        live = {key for p in phases for key in self.routing.routes[p.name].live}
        return live & set(self.once)

    def _retain(self, name: str, phases: tuple[Phase, ...]) -> bool:
        mine = self._through(phases)
        others = [self._through(phases) for other, phases in self.groups if other != name]
        several = any(phase.accumulate not in (None, 1) for phase in phases)
        return not self.planned or bool(several and mine) or any(mine & other for other in others)

    def _needless(self) -> None:
        """What only one held value reads is made with it, and needs no place of its own."""
        while self.once:
            readers: dict[int, int] = {}
            named = set()
            for name, phases in self.groups:
                for node in ordered(self.roots(name, phases)[0], self.graph.order, self.once):
                    named.add(id(node))
            for node in self.once.values():
                others = {key: n for key, n in self.once.items() if n is not node}
                for inner in ordered([node], self.graph.order, others):
                    if inner is not node and id(inner) in self.once:
                        readers[id(inner)] = readers.get(id(inner), 0) + 1
            needless = [key for key in self.once if key not in named and readers.get(key, 0) == 1]
            if not needless:
                return
            for key in needless:
                del self.once[key]

    def held(self) -> dict[str, Held]:
        """Every value that is made once, with what it is made of; it carries a gradient if some phase needs it."""
        live = {key for _, phases in self.groups for p in phases for key in self.routing.routes[p.name].live}
        made = {}
        for node in self.once.values():
            others = {key: n for key, n in self.once.items() if n is not node}
            nodes = ordered([node], self.graph.order, others)
            tracked = frozenset(live if self.planned else map(id, nodes))
            made[held_name(node)] = Held(node, tuple(nodes), tracked)
        return made


def inner_leaves(nodes: Iterable[Node], reach: Reach) -> set[int]:
    """Ids of the x of inner derivatives; one that lies on the way from another x to its y is cut nowhere."""
    pairs = [n.args for n in nodes if n.op == "grad" and n.args[1].op != "parameter"]
    xs = frozenset(id(x) for _, x in pairs)
    between: set[int] = set()
    for y in {id(y): y for y, _ in pairs}.values():
        for x in xs:
            between |= reach.depending([y], frozenset({x})).keys() - {x}
    return set(xs) - between


def once_nodes(graph: Graph) -> dict[int, Node]:
    """What `once` names and what that is made of: named draws and values, by id."""
    found: dict[int, Node] = {}
    for name in graph.once:
        for root in leaves(graph.draws.get(name) or graph.values.get(name)):
            for node in ordered([root], graph.order, {}):
                if node.name is not None and id(node) in graph.order and node.op != "input":
                    whole = node
                    if node.op == "output":  # the parts of one call are made together, and bear their names together
                        whole = node.args[0]
                        names = whole.fields.setdefault("parts", [])
                        names += [node.name] if node.name not in names else []
                    found[id(whole)] = whole
    return found


def held_name(node: Node) -> str:
    """The name under which a value is held; the parts of one call have one name."""
    return node.name or ", ".join(node.fields["parts"])


def ordered(roots: list[Node], order: dict[int, int], stop: dict[int, Node]) -> list[Node]:
    """Nodes in the order of evaluation: named values as declared, depth first, then the roots left to right.

    What is below a node of `stop` is left out; that node itself is not.
    """
    named = [n for n in walk(roots, stop) if id(n) in order and n.op not in ("input", "draw")]
    return walk([*sorted(named, key=lambda n: order[id(n)]), *roots], stop)
