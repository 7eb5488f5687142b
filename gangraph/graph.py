"""What inference hands on: one stage's dataflow, losses, players and schedule, typed and expanded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from gangraph.errors import Place
from gangraph.frozen import frozen
from gangraph.ir import Module, Network, Node, Shape, leaves, visit, walk
from gangraph.ops import CONDITIONS, OPERATORS
from gangraph.resolve import Resolved
from gangraph.writer import host_text

if TYPE_CHECKING:
    import networkx


@frozen
class Player:
    """Who owns what: `networks` by name, and how their parameters are stepped."""

    name: str
    networks: tuple[str, ...]
    optimizers: dict[str, Optimizer]  # by what they are for: "" for all, a network, or a part of one (`D.mix`)
    gradient: dict[str, tuple[str, Node]]  # likewise: clip_norm or clip_value, with its bound
    before: dict[str, Node]  # expressions of `p`
    after: dict[str, Node]
    place: Place


@frozen
class Optimizer:
    name: str
    arguments: dict[str, Any]  # numbers, host nodes, tuples of these

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={host_text(v)}' for k, v in self.arguments.items())})"


@frozen(eq=False)
class Phase:
    """One evaluation and one step; a member of a group is evaluated in its group's evaluation."""

    name: str
    player: str
    networks: tuple[str, ...]  # that this phase trains
    objective: Node
    terms: tuple[Term, ...]
    text: str
    when: Node | bool | None
    place: Place
    repeat: Node | int | None = None
    fresh: bool = False
    accumulate: Node | int | None = None
    idle: tuple[Term, ...] = ()  # of weight 0: not a part of the objective


@frozen(eq=False)
class Term:
    """One summand of an objective: a loss and its weight."""

    loss: str
    weight: str
    value: float | None  # the weight where it is known


@frozen(eq=False)
class Step:
    """An entry of the schedule. `kind`: phase, group, sequence, update or reset."""

    kind: str
    name: str
    place: Place
    phases: tuple[Phase, ...] = ()  # of a phase, one; of a group, its members
    steps: tuple[Step, ...] = ()  # of a sequence
    when: Node | bool | None = None
    repeat: Node | int | None = None
    fresh: bool = False
    names: tuple[str, ...] = ()  # of an update or reset


def network_of(path: str) -> str:
    """The network that a path (`D[0].mix.weight`) begins with."""
    return path.split(".")[0]


def parameters_below(network: Network, path: str) -> list[str]:
    """A network's own parameters at a path or behind it."""
    return [name for name, _ in network.parameters() if name == path or name.startswith(f"{path}.")]


def steps_in(schedule: Iterable[Step]) -> Iterator[Step]:
    """The steps of a schedule, each before those inside it."""
    for step in schedule:
        yield step
        yield from steps_in(step.steps)


def host_value(value: Any, clocks: Mapping[str, float]) -> float | bool | None:
    """A number of the program at some clocks; none where it hangs on a state, a loss, or a clock that is not there.

    Raises `ArithmeticError` or `ValueError` where it has no value, as `1 / step` has none at 0.

    >>> from gangraph.compiler import load
    >>> step = load("wgan").graph.schedule[0]
    >>> [host_value(step.repeat, {"step": n}) for n in (24, 25, 500)]
    [100.0, 5.0, 100.0]
    """
    if not isinstance(value, Node):
        return None if value is None else value if isinstance(value, bool) else float(value)
    if value.value is not None:
        return float(value.value)
    if value.op == "clock":
        return clocks.get(value.name or "")
    if value.op == "constant":
        return host_value(value.fields["definition"], clocks)
    if value.op == "ifelse":
        test = host_value(value.args[0], clocks)
        return None if test is None else host_value(value.args[1 if test else 2], clocks)
    found = [host_value(argument, clocks) for argument in value.args]
    if value.op in ("and", "or"):
        for node, operand in zip(value.args, found, strict=True):
            if operand is None and node.op not in CONDITIONS:
                return None
            if operand is not None and bool(operand) == (value.op == "or"):
                return operand  # conditions before it are 1 or 0 and decide the same
        return None if None in found else found[-1]
    known = [v for v in found if v is not None]
    if not found or len(known) < len(found):
        return None
    if value.op == "not":
        return not known[0]
    host = OPERATORS[value.op].host if value.op in OPERATORS else None
    return host(*known) if host else None


def least(count: Node | int | None) -> float:
    """How often a step is repeated at least, as far as it can be told."""
    if isinstance(count, Node) and count.op == "ifelse":
        return min(map(least, count.args[1:]))
    if isinstance(count, Node) and count.op == "max":
        return max(map(least, count.args))
    known = host_value(count, {})
    return 1 if count is None else 0 if known is None else known


@frozen
class State:
    """A number or tensor that is kept: its start, and what it becomes (after which phases, or at the end)."""

    name: str
    node: Node
    start: Any
    becomes: Node | None
    within: dict[str, Node]  # phase -> what it becomes after that phase


@frozen
class Average:
    name: str
    source: str
    decay: Node
    zeros: bool = False


@frozen(eq=False)
class Graph:
    """One stage, inferred. `losses` has every loss and every side by name (`adv.generator`)."""

    resolved: Resolved
    inputs: dict[str, Node]
    draws: dict[str, Node]
    networks: dict[str, Network]
    values: dict[str, Any]  # nodes, or lists of nodes where a value is a list
    losses: dict[str, Node]
    sided: dict[str, Any]  # two-sided losses: their arguments and family
    constants: dict[str, Node]
    state: dict[str, State]
    averages: dict[str, Average]
    players: dict[str, Player]
    schedule: tuple[Step, ...]
    views: dict[str, Node]  # what `sample` draws
    metrics: dict[str, Node]  # what `evaluate` measures: a number, or one for each sample
    once: tuple[str, ...]  # as written, members expanded
    order: dict[int, int] = field(default_factory=dict)  # id of a named node -> its place among the declarations

    @property
    def name(self) -> str:
        return self.resolved.spec.name

    @property
    def shown(self) -> dict[str, Node]:
        """What is looked at after training, in evaluation mode and from the averages."""
        return self.views | self.metrics

    def phases(self) -> list[Phase]:
        return [phase for step in self.steps() for phase in step.phases]

    def steps(self) -> Iterator[Step]:
        return steps_in(self.schedule)

    def at_end(self) -> tuple[list[str], list[str]]:
        """States and averages that move when all phases have run: no phase and no update does it before."""
        moved = {name for step in self.steps() if step.kind == "update" for name in step.names}
        states = [name for name, state in self.state.items() if state.becomes is not None and name not in moved]
        return states, [name for name in self.averages if name not in moved]

    def contained(self, name: str) -> list[str]:
        """A network and every network that it calls, each once."""
        found: list[str] = []
        stack = [name]
        while stack:
            top = stack.pop(0)
            if top in found or top not in self.networks:
                continue
            found.append(top)
            stack += self.networks[top].called
        return found

    def owners(self, network: str) -> list[str]:
        """The players who own a network; of one composed of owned ones, theirs."""
        owned = {p.name: {n for name in p.networks for n in self.contained(name)} for p in self.players.values()}
        inside = set(self.contained(network))
        found = [player for player, networks in owned.items() if network in networks]
        return found or [player for player, networks in owned.items() if inside & networks]

    def parameters(self, networks: Iterable[str]) -> dict[str, Shape]:
        """Every parameter of networks and of what they contain, by name, each once."""
        found: dict[str, Shape] = {}
        for name in networks:
            for inner in self.contained(name):
                found.update(self.networks[inner].parameters())
        return found

    def count(self, networks: Iterable[str]) -> int:
        """How many numbers the parameters of networks and of what they contain are, each tensor once."""
        return sum(map(math.prod, self.parameters(networks).values()))

    def governed(self, player: Player, keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The parameters that each form of a player's rule is for: the one meant for the fewest has them.

        One that names a part goes before the player's own, also where the part is all that the player has.
        """
        meant = {key: tuple(self.part(key) if key else self.parameters(player.networks)) for key in keys}
        found: dict[str, tuple[str, ...]] = {}
        taken: set[str] = set()
        for key in sorted(meant, key=lambda key: (len(meant[key]), key == "")):
            found[key] = tuple(p for p in meant[key] if p not in taken)
            taken.update(meant[key])
        return {key: found[key] for key in meant}

    def part(self, path: str) -> list[str]:
        """The parameters of a network, or of a part of one by its path (`D.mix`)."""
        if path in self.networks:
            return list(self.parameters([path]))
        return parameters_below(self.networks[network_of(path)], path)

    def named(self) -> dict[str, Node]:
        """Every named node: inputs, draws, values and losses."""
        found = dict(self.inputs) | dict(self.draws)
        for name, value in self.values.items():
            single = isinstance(value, Node)
            found |= {name if single else f"{name}[{i}]": node for i, node in enumerate(leaves(value))}
        return found | self.losses

    def calls(self) -> list[Node]:
        """Every call of a network that the program may make, those inside of networks last."""
        roots = self._roots()
        modules = [m for network in self.networks.values() for m in network.variants.values()]
        for module in modules:  # which grows
            roots += [*module.outputs, *module.values]
            modules += module.children
        return [node for node in walk(roots) if node.op == "call"]

    def _roots(self) -> list[Node]:
        states = (n for s in self.state.values() for n in (s.becomes, *s.within.values()) if n is not None)
        whens = (p.when for p in self.phases() if isinstance(p.when, Node))
        return [*self.named().values(), *(p.objective for p in self.phases()), *self.shown.values(), *states, *whens]

    def in_place(self) -> Iterator[Module]:
        """The blocks that stand in formulas, outside of every network."""
        return (m for n in walk(self._roots()) if n.op == "apply" and (m := n.fields["module"]).layer is None)

    def structure(self, name: str) -> Module | None:
        """What a network is in this stage, for the first of its calls; none if it is not called.

        >>> from gangraph.compiler import load
        >>> [g.structure("D").inputs[0].type.shape for g in load("stylegan", tiny=True).graphs]
        [(3, 8, 8), (3, 16, 16), (3, 32, 32)]
        """
        calls = [node for node in walk(self._roots()) if node.op == "call"]
        seen: set[int] = set()
        for call in calls:  # which grows: calls inside of what is called
            if call.fields["source"] == name:
                return call.fields["module"]  # type: ignore[no-any-return]
            bodies = [call.fields["module"]]
            for body in bodies:
                if id(body) not in seen:
                    seen.add(id(body))
                    bodies += body.children
                    calls += [node for node in walk([*body.outputs, *body.values]) if node.op == "call"]
        return None

    def nx(self) -> networkx.DiGraph:
        """The dataflow as a directed graph of names; edges run from what is read to what reads it."""
        import networkx

        graph = networkx.DiGraph(name=self.name)
        named = self.named()
        by_id = {id(node): name for name, node in named.items()}
        for name, node in named.items():
            graph.add_node(name, kind=node.op, type=str(node.type), network=node.fields.get("network"))
            for source in _sources(node, by_id):
                graph.add_edge(source, name)
        return graph

    def __str__(self) -> str:
        lines = [self.name + (f", stage {self.resolved.stage}" if self.resolved.stage else "")]
        for title, nodes in (("inputs", self.inputs), ("draws", self.draws)):
            lines += [f"{title}:", *(f"  {name}: {node.type}" for name, node in nodes.items())]
        lines.append("networks:")
        for name in self.networks:
            lines.append(f"  {name}: {self.count([name]):,} parameters")
        lines.append("values:")
        for name, value in self.values.items():
            lines.append(f"  {name}: {', '.join(str(node.type) for node in leaves(value))}")
        lines += ["losses:", *(f"  {name}: {node.type}" for name, node in self.losses.items())]
        return "\n".join(lines)


def _sources(node: Node, by_id: dict[int, str]) -> list[str]:
    """The nearest named nodes that a node reads."""
    read = visit(node.args[::-1], lambda n: () if id(n) in by_id else n.args[::-1])
    return list(dict.fromkeys(by_id[id(n)] for n in read if id(n) in by_id))
