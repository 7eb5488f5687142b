"""Spec -> Picture: which boxes the game has, what each says, and where gradients pass.

What comes in is the last stage of a spec with its routing. A named value is a box, a call of a network in place is
one too, and what lies between two boxes is the edge. Members of a family that are made alike are folded into one box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gangraph import ops
from gangraph.compiler import Spec
from gangraph.draw.picture import Box, Edge, Loss, Move, Owned, Picture, Player, Role, Side, Term
from gangraph.draw.words import (
    bound_to,
    changed,
    count_text,
    leaf_words,
    pretty,
    range_text,
    references,
    shape_text,
    short,
    span,
    steps_above,
)
from gangraph.errors import Place
from gangraph.expressions import Attribute, Call, Expr, Index, Name, Number, names, parse, show, within
from gangraph.families import SIDES, Member, Pattern, family_of, indices_of, side_of, whole_loss
from gangraph.graph import Graph, Phase, Step, host_value
from gangraph.ir import Length, Node, Type, leaves, visit, walk
from gangraph.resolve import moves_in
from gangraph.routing import Reach, differentiable, given, passing
from gangraph.rules import player_rules
from gangraph.spec import TwoSides, expressions
from gangraph.templates import TwoSided
from gangraph.writer import host_text

SHORT = 24  # characters of a formula that may stand beside another in one box
HOW = ("gradient", "no gradient", "held")  # of the ways in which an evaluation has something, the first counts
NONE: frozenset[str] = frozenset()


def describe(spec: Spec) -> Picture:
    """The game of the last stage, which is the whole system."""
    return _Describer(spec).picture()


@dataclass(eq=False)
class _Unit:
    """A box or loss in the making: the members that it folds and the nodes that it stands for."""

    kind: str  # input, draw, value, place (a call in place) or loss
    members: list[Member]
    roots: list[Node]
    calls: list[Node] = field(default_factory=list)
    id: str = ""

    @property
    def nodes(self) -> list[Node]:
        return [*self.roots, *self.calls]


@dataclass
class _Read:
    """How a unit is read: the phases whose gradient passes, and whether no `stop` lies between."""

    phases: frozenset[str] = NONE
    open: bool = False


class _Describer:
    def __init__(self, spec: Spec):
        self.spec, self.routing = spec, spec.routings[-1]
        self.graph: Graph = self.routing.graph
        self.resolved = self.graph.resolved
        self.reach = Reach(self.graph)
        self.phases = {p.name: p for p in self.graph.phases()}
        self.written = {m.name: m for m in moves_in(self.resolved.schedule)}
        self.places = self._calls_by_place()
        r = self.resolved
        declared = (*r.inputs, *r.draws, *r.networks, *r.values, *r.losses, *r.players)
        self.rules = Counter(id(m.body) for m in declared)
        self.player_of = self._fold_players()
        self.passed, self.visited = self._gradients()
        self.computed = self._evaluated()
        self.needed = self._needed()
        self.trained = self._trained()
        self.lengths = self._lengths()
        self.unit: dict[int, _Unit] = {}
        self.units: list[_Unit] = []
        self.in_place: dict[Any, _Unit] = {}
        self._declare()
        self.losses = {node.name: unit for unit in self.units if unit.kind == "loss" for node in unit.roots}
        self.loss_names = {whole_loss(name) for name in self.graph.losses}
        self.moves = self._fold_phases()
        self.minimizers = self._minimizers()

    # --- the pieces

    def picture(self) -> Picture:
        edges = [e for unit in self.units if unit.kind != "loss" for e in self._edges_into(unit)]
        losses = []
        for unit in self.units:
            if unit.kind == "loss":
                loss, inward = self._loss(unit)
                losses.append(loss)
                edges += inward
        players, outward = self._players()
        edges = self._spare(edges + outward)
        feeding = {e.tail for e in edges if e.live}
        boxes = [self._box(unit, feeding) for unit in self.units if unit.kind != "loss"]
        read = {e.tail for e in edges} | {e.head for e in edges}
        return Picture(
            self.spec.name,
            self._heading(),
            tuple(b for b in boxes if b.id in read),
            tuple(losses),
            tuple(players),
            tuple(self._settled(edges, boxes, losses)),
        )

    def _heading(self) -> str:
        stage = f"stage {self.resolved.stage}" if self.resolved.stage else ""
        return ", ".join(filter(None, (str(self.spec.parsed.file.paper.title or ""), stage)))

    def _spare(self, edges: list[Edge]) -> list[Edge]:
        """Edges without those from mere data into a loss, whose text names it; but every box keeps one."""
        units = {u.id: u for u in self.units}
        heads = {u.id for u in self.units if u.kind == "loss"}

        def mere(edge: Edge) -> bool:
            tail = units[edge.tail]
            made = tail.calls or any(node.op == "call" for node in tail.nodes)  # by a network, which may be frozen
            return edge.head in heads and tail.kind != "loss" and not made and not self._depends(tail)

        kept = {e.tail for e in edges if not mere(e)}
        return [e for e in edges if not mere(e) or e.tail not in kept]

    def _settled(self, edges: list[Edge], boxes: list[Box], losses: list[Loss]) -> Iterator[Edge]:
        """Edges into what no gradient reaches carry none."""
        live = {b.id: b.live for b in boxes} | {x.id: x.live for x in losses}
        cut = {box.id for box in boxes if box.cut}
        for edge in edges:
            tee = edge.tail in cut or (edge.cut and edge.head not in cut)
            yield replace(edge, live=edge.live and live.get(edge.head, True), cut=tee)

    # --- gradients

    def _gradients(self) -> tuple[dict[tuple[int, int], frozenset[str]], dict[int, frozenset[str]]]:
        """For every step from a node to an argument, and for every node, the phases whose gradient passes."""
        steps: dict[tuple[int, int], set[str]] = {}
        nodes: dict[int, set[str]] = {}
        for phase in self.phases.values():
            live = self.routing.routes[phase.name].live
            stack, seen = [phase.objective], set()
            while stack:
                node = stack.pop()
                if id(node) in seen:
                    continue
                seen.add(id(node))
                nodes.setdefault(id(node), set()).add(phase.name)
                for argument in self._fed(node):
                    if id(argument) in live:
                        steps.setdefault((id(node), id(argument)), set()).add(phase.name)
                        stack.append(argument)
        return {k: frozenset(v) for k, v in steps.items()}, {k: frozenset(v) for k, v in nodes.items()}

    def _fed(self, node: Node) -> Sequence[Node]:
        """The arguments to which a gradient at this node goes on."""
        if node.op == "call":
            outputs = tuple(range(len(node.fields["module"].outputs)))
            found, read = self.reach.body(node, outputs, "")
            return [a for i, a in enumerate(node.args) if i in read and differentiable(a)] + given(node, found)
        if node.op == "grad" or (node.op == "output" and node.args[0].op != "chunk"):
            return list(node.args)
        return passing(node)

    def _evaluated(self) -> dict[int, dict[str, str]]:
        """For every node: the evaluations that compute it, and how; what is made once is held from the second on,
        with all that it is made of."""
        plan = self.spec.schedules[-1]
        once = {id(held.node): held for held in plan.held.values()}
        found: dict[int, dict[str, str]] = {}

        def compute(node: Node, evaluation: str, tracked: frozenset[int], again: bool = False) -> None:
            held, runs = once.get(id(node)), found.setdefault(id(node), {})
            again, tracked = again or (held is not None and bool(runs)), held.tracked if held else tracked
            how = "held" if again else "gradient" if id(node) in tracked else "no gradient"
            runs[evaluation] = min(how, runs.get(evaluation, how), key=HOW.index)
            for inner in held.nodes if held else ():
                if inner is not node:
                    compute(inner, evaluation, tracked, again)

        for evaluation in plan.evaluations.values():
            for node in evaluation.nodes:
                compute(node, evaluation.name, evaluation.tracked)
        return found

    def _roles(self, unit: _Unit) -> tuple[Role, ...]:
        """What each member of a unit does; of a value with several nodes the one with a gradient counts."""
        groups: dict[str, list[Node]] = {"": unit.calls} if unit.kind == "place" else {}
        for member in unit.members if unit.kind == "value" else ():
            groups |= {name: leaves(self.graph.values[name]) for name in member.names}
        for node in unit.roots if unit.kind != "value" else ():
            groups[node.name or ""] = [node]
        roles = []
        for name, nodes in groups.items():
            runs: dict[str, str] = {}
            for node in nodes:
                for evaluation, how in self.computed.get(id(node), {}).items():
                    runs[evaluation] = min(how, runs.get(evaluation, how), key=HOW.index)
            phases = frozenset(p for node in nodes for p in self.visited.get(id(node), NONE))
            roles.append(Role(name, tuple(runs.items()), phases))
        return tuple(roles)

    def _trained(self) -> set[int]:
        """Nodes that are made from something that a player trains, with or without a gradient."""
        found: set[int] = set()
        for node in walk(list(self.needed.values())):
            own = node.op == "parameter" or (node.op == "call" and bool(self._owners(node.fields["source"])))
            if own or any(id(a) in found for a in node.args):
                found.add(id(node))
        return found

    def _depends(self, unit: _Unit) -> bool:
        return any(id(n) in self.trained for n in unit.nodes)

    def _players_of(self, phases: Iterable[str]) -> frozenset[str]:
        return frozenset(self.player_of[self.phases[p].player] for p in phases)

    # --- who owns what

    def _owners(self, network: str) -> tuple[str, ...]:
        """The (folded) players of a network."""
        return tuple(dict.fromkeys(self.player_of[p] for p in self.graph.owners(network)))

    def _fold_players(self) -> dict[str, str]:
        """Every player's name -> that of its table: members of a family share one."""
        found: dict[str, str] = {}
        for group in _by_rule(self.resolved.players):
            found |= dict.fromkeys([m.name for m in group], self._title(group))
        return found

    # --- boxes

    def _needed(self) -> dict[int, Node]:
        """Every node that an objective or a condition reads, by id."""
        roots = [p.objective for p in self.phases.values()] + [loss for loss, _ in self._conditions()]
        return {id(node): node for node in walk(roots)}

    def _conditions(self) -> list[tuple[Node, str]]:
        """The losses that a condition or a number of repeats reads, with the phase that waits for it."""
        found = []
        for phase, above in _phases(self.graph.schedule):
            for value in [phase.when, phase.repeat, *(v for s in above for v in (s.when, s.repeat))]:
                nodes = walk([value]) if isinstance(value, Node) else []
                read = [n for n in nodes if n.op in ("loss", "latest")]
                found += [(self.graph.losses[n.name], phase.name) for n in read if n.name in self.graph.losses]
        return found

    def _calls_by_place(self) -> dict[Place, Call]:
        """Every call that the spec writes; of those that begin at one place the outermost."""
        bodies: list[Any] = [m.body for m in (*self.resolved.values, *self.resolved.losses)]
        bodies += [m.minimize for m in self.written.values()]
        found: dict[Place, Call] = {}
        for body in bodies:
            for expr in expressions(body):
                for inner in within(expr):
                    if isinstance(inner, Call):
                        found.setdefault(inner.at, inner)
        return found

    def _declare(self) -> None:
        """A unit for everything that is needed: declared things first, then calls in place, in the order of reading."""
        self._declare_leaves("input", self.resolved.inputs, self.graph.inputs)
        self._declare_leaves("draw", self.resolved.draws, self.graph.draws)
        for group in _by_rule(self.resolved.values):
            self._declare_values(group)
        for group in _by_rule(self.resolved.losses):
            roots = [self.graph.losses[n] for m in group for n in self._loss_names(m.name)]
            self._add(_Unit("loss", group, roots))
        for node in self.needed.values():
            if node.op == "call" and id(node) not in self.unit:
                self._declare_call(node)
        self.place = {unit: number for number, unit in enumerate(self.units)}
        for unit, number in self.place.items():
            unit.id = f"n{number}"

    def _declare_leaves(self, kind: str, members: Iterable[Member], values: dict[str, Node]) -> None:
        """Inputs or draws; members of a family that are alike in type are one box, also of several keys."""
        groups: dict[Any, list[Member]] = {}
        for group in _by_rule(members):
            same = {self._facts([values[m.name].type]) for m in group}
            alike = len(same) == 1 and _indexed(group[0])
            groups.setdefault((group[0].patterns[0].family, *same) if alike else id(group), []).extend(group)
        for group in groups.values():
            self._add(_Unit(kind, group, [values[m.name] for m in group]))

    def _add(self, unit: _Unit) -> None:
        """Keeps a unit if something reads it."""
        if any(id(n) in self.needed for n in unit.nodes):
            self.units.append(unit)
            self.unit |= {id(n): unit for n in unit.nodes}

    def _declare_values(self, group: list[Member]) -> None:
        """The members of one rule, unfolded where networks of different families make them."""
        split: dict[Any, _Unit] = {}
        for member in group:
            roots = [n for name in member.names for n in leaves(self.graph.values.get(name)) if id(n) not in self.unit]
            if not roots:
                continue
            mains = {id(main): main for main in map(self._main, roots) if main is not None}
            calls = list(mains.values()) if len(mains) == 1 else []
            key = tuple(self._signature(c) for c in calls)
            unit = split.setdefault(key, _Unit("value", [], []))
            unit.members.append(member)
            unit.roots += roots
            unit.calls += [c for c in calls if c not in roots]
        for unit in split.values():
            self._add(self._alike(unit) or unit)

    def _alike(self, unit: _Unit) -> _Unit | None:
        """The box of other members of a family, with these, if both are short and made from data alone."""
        for other in self.units if _indexed(unit.members[0]) else ():
            families = {m.patterns[0].family if m.patterns else "" for m in (*unit.members, *other.members)}
            data = not any(u.kind != "value" or u.calls or self._depends(u) for u in (unit, other))
            alike = data and len(families) == 1 and self._box_facts(unit) == self._box_facts(other)
            if alike and max(len(self._text(u)) for u in (unit, other)) <= SHORT:
                self.units.remove(other)
                return _Unit("value", [*other.members, *unit.members], [*other.roots, *unit.roots])
        return None

    def _main(self, node: Node) -> Node | None:
        """The one call that a value comes from, behind operators that read nothing else."""
        while node.op != "call":
            inner = {id(a): a for a in node.args if not a.type.host and a.op not in ("zeros", "ones", "parameter")}
            if len(inner) != 1:
                return None
            (node,) = inner.values()
            if id(node) in self.graph.order:
                return None
        return node

    def _signature(self, call: Node) -> tuple[Any, ...]:
        return family_of(call.fields["network"]), self._owners(call.fields["source"])

    def _declare_call(self, node: Node) -> None:
        # In a formula that is called several times, calls of one place are told apart by what they are called with.
        given = () if node.at in self.places else tuple(family_of(a.name) if a.name else id(a) for a in node.args)
        key = (node.at, self._signature(node), given)
        known = self.in_place.setdefault(key, _Unit("place", [], []))
        known.calls.append(node)
        self.unit[id(node)] = known
        if len(known.calls) == 1:
            self.units.append(known)

    def _box(self, unit: _Unit, feeding: set[str]) -> Box:
        phases = frozenset(p for n in unit.nodes for p in self.visited.get(id(n), NONE))
        live = bool(phases) if self._depends(unit) else unit.kind in ("input", "draw") or unit.id in feeding
        networks = self._made_by(unit)
        return Box(
            unit.id,
            "call" if networks else unit.kind,
            self._title(unit.members) if unit.members else "",
            self._text(unit),
            self._box_facts(unit),
            tuple(n for m in unit.members for n in m.names),
            tuple(dict.fromkeys(p for n in networks for p in self._owners(n))),
            live,
            any(n.op in ("stop", "replay") for n in self._between(unit)),
            self._players_of(phases),
            self._roles(unit),
            tuple(networks),
            unit.calls[0].at if unit.kind == "place" else None,
        )

    def _made_by(self, unit: _Unit) -> list[str]:
        nodes = [*unit.calls, *(n for n in unit.roots if n.op == "call")]
        return list(dict.fromkeys(n.fields["source"] for n in nodes))

    def _between(self, unit: _Unit) -> list[Node]:
        """The nodes from a unit's values to the call that makes them (or to nothing else)."""
        found = []
        for root in unit.roots:
            node = root
            while id(node) not in {id(c) for c in unit.calls}:
                found.append(node)
                if not node.args or node.op == "call":
                    break
                node = node.args[0]
                if id(node) in self.graph.order:
                    break
        return found

    def _title(self, members: list[Member]) -> str:
        """`fake[d]` for a whole rule, else the names of the members."""
        if len(members) > 1 and len({id(m.body) for m in members}) == 1 and self._whole(members):
            return ", ".join(_pattern_text(p) for p in members[0].patterns)
        found = [n for m in members for n in m.names]
        return ", ".join(found) if len(found) <= 4 else f"{found[0]}, ..., {found[-1]}"

    def _whole(self, members: list[Member]) -> bool:
        return len(members) == self.rules[id(members[0].body)]

    def _text(self, unit: _Unit) -> str:
        if unit.kind in ("input", "draw"):
            return self._leaf_text(unit)
        if unit.kind == "place":
            call, expr = unit.calls[0], self.places.get(unit.calls[0].at)
            return (
                pretty(expr) if expr else f"{call.fields['network']}({', '.join(a.name or '...' for a in call.args)})"
            )
        rules = {id(m.body): [o for o in unit.members if o.body is m.body] for m in unit.members}
        return ", ".join(_rule_text(rule) for rule in rules.values())

    def _leaf_text(self, unit: _Unit) -> str:
        node = unit.roots[0]
        once = ", once" if any(m.name in self.graph.once for m in unit.members) else ""
        shared = "shared " if node.type.samples is None else ""
        shape = span(shape_text(n.type) if n.type.shape else "" for n in unit.roots)
        said = f"{shared}{leaf_words(node)} {shape}".strip().replace("-", "−")
        return said + self._samples(node.type) + once

    def _box_facts(self, unit: _Unit) -> str:
        if unit.kind == "input":
            return range_text(unit.roots[0].type)
        if unit.kind == "draw":
            return ""
        if unit.kind == "place":
            outputs = unit.calls[0].fields["module"].outputs if unit.calls[0].fields.get("several") else [unit.calls[0]]
            return self._facts([n.type for n in outputs])
        types = {n: [leaf.type for leaf in leaves(self.graph.values[n])] for m in unit.members for n in m.names}
        rows = [[self._facts(types[name]) for name in m.names] for m in unit.members]
        columns = [span(column) for column in zip(*rows, strict=True)]
        once = ", once" if any(n in self.graph.once for m in unit.members for n in m.names) else ""
        return (columns[0] if len(set(columns)) == 1 and len(columns) > 1 and not once else ", ".join(columns)) + once

    # --- facts

    def _facts(self, types: list[Type]) -> str:
        """Shapes and ranges of a value, or of the items of a list; a number of samples other than N at the end."""
        found = []
        for type_ in types:
            shared = "shared " if type_.samples is None and not type_.host else ""
            found.append(" ".join(filter(None, (shared + shape_text(type_), range_text(type_)))))
        said = ", ".join(found) if len(found) < 4 else f"{found[0]}, ..., {found[-1]}"
        return said + "".join(dict.fromkeys(map(self._samples, types)))

    def _samples(self, type_: Type) -> str:
        """` of N/2` where a value has another number of samples; of two equal ones the shorter text."""
        if type_.samples is None or type_.samples == self.resolved.batch:
            return ""
        return f" of {self.lengths[type_.samples]}".replace(" // ", "/")

    def _lengths(self) -> dict[Length, str]:
        lengths = [n.type.samples for n in self.needed.values() if n.type.samples is not None]
        return {length: min((o.text for o in lengths if o == length), key=len) for length in set(lengths)}

    # --- edges

    def _sources(self, roots: list[Node], own: _Unit | None = None) -> dict[_Unit, _Read]:
        """The units that some nodes are made of, through whatever has no box of its own."""
        found: dict[_Unit, _Read] = {}
        every = frozenset(self.phases)
        stack = [(node, every, True) for node in reversed(roots)]
        seen: dict[int, tuple[frozenset[str], bool]] = {}
        while stack:
            node, phases, free = stack.pop()
            before = seen.get(id(node))
            if before is not None and phases <= before[0] and free <= before[1]:
                continue
            seen[id(node)] = (phases | before[0], free or before[1]) if before else (phases, free)
            for argument in reversed(node.args):
                step = phases & self.passed.get((id(node), id(argument)), NONE)
                through = free and node.op not in ("stop", "replay")
                unit = self.unit.get(id(argument))
                if unit is not None and (unit is not own or any(argument is r for r in unit.roots)):
                    read = found.setdefault(unit, _Read())
                    read.phases, read.open = read.phases | step, read.open or through
                elif not argument.type.host or argument.args:
                    stack.append((argument, step, through))
        return {unit: read for unit, read in found.items() if unit is not own}

    def _edge(self, tail: _Unit, head: str, read: _Read, players: tuple[str, ...] = (), port: str = "") -> Edge:
        live = bool(read.phases) or (read.open and not self._depends(tail))
        cut = not read.open and self._depends(tail)
        return Edge(tail.id, head, "", port, players, live, cut, self._players_of(read.phases), read.phases)

    def _edges_into(self, unit: _Unit) -> list[Edge]:
        sources = self._sources(unit.nodes, unit)
        return [
            self._edge(tail, unit.id, read) for tail, read in sorted(sources.items(), key=lambda s: self.place[s[0]])
        ]

    # --- losses

    def _loss_names(self, name: str) -> list[str]:
        return [name] if name in self.graph.losses else [f"{name}.{side}" for side in SIDES]

    def _loss(self, unit: _Unit) -> tuple[Loss, list[Edge]]:
        names = tuple(m.name for m in unit.members)
        phases = frozenset(p for n in unit.roots for p in self.visited.get(id(n), NONE))
        depends = self._depends(unit)
        players = tuple(dict.fromkeys(p for n in unit.roots for p in self.minimizers.get(n.name or "", ())))
        live, paths = bool(phases) or not depends, self._players_of(phases)
        players = players or tuple(p for p in self.moves if p in paths)  # of a part of losses, who minimizes those
        title, roles = self._title(unit.members), self._roles(unit)
        loss = Loss(unit.id, title, "", names, players, live, paths, roles=roles)
        if names[0] not in self.graph.sided:
            return replace(loss, text=self._text(unit)), self._edges_into(unit)
        return self._two_sides(unit, loss)

    def _two_sides(self, unit: _Unit, loss: Loss) -> tuple[Loss, list[Edge]]:
        sided: list[TwoSided] = [self.graph.sided[name] for name in loss.members]
        players, roots, read = {}, {}, {}
        kept = [s for s in SIDES if any(id(self.graph.losses[f"{name}.{s}"]) in self.needed for name in loss.members)]
        for side in kept:
            roots[side] = [self.graph.losses[f"{name}.{side}"] for name in loss.members]
            players[side] = tuple(dict.fromkeys(p for n in roots[side] for p in self.minimizers.get(n.name or "", ())))
            read[side] = self._sources(roots[side], unit)
        edges: list[Edge] = []
        rows: list[tuple[str, str]] = []
        covered: set[_Unit] = set()
        for name in sided[0].arguments:
            arguments = [n for s in sided for n in leaves(s.arguments[name])]
            if not any(self._reads(roots[s], arguments) for s in kept):
                continue
            if any(self._same(arguments, [n for s in sided for n in leaves(s.arguments[other])]) for other, _ in rows):
                continue
            direct = {self.unit[id(n)]: None for n in arguments if id(n) in self.unit}
            sources = direct | dict.fromkeys(self._sources([n for n in arguments if id(n) not in self.unit]))
            if not sources:  # a number
                continue
            rows.append((name, ""))
            for tail in sources:
                sides = [s for s in kept if tail in read[s] and self._reads(roots[s], arguments)]
                covered.add(tail)
                passing_ = frozenset(p for s in sides for p in read[s][tail].phases)
                how = _Read(passing_, any(read[s][tail].open for s in sides))
                colours = tuple(dict.fromkeys(p for s in sides for p in players[s]))
                edges.append(self._edge(tail, unit.id, how, colours, name))
        for side in kept:
            for tail, how in read[side].items():
                if tail not in covered:
                    edges.append(self._edge(tail, unit.id, how, players[side], "" if rows else side))
        family, formulas = self._family(unit, sided[0])
        body = unit.members[0].body
        texts = {s: pretty(getattr(body, s)) if isinstance(body, TwoSides) else "" for s in kept}
        sides_ = tuple(Side(s, texts[s], players[s]) for s in kept)
        rows = [(name, formulas.get(name) or self._instead(name, edges)) for name, _ in rows]
        return replace(loss, text=family, arguments=tuple(rows), sides=sides_), edges

    def _family(self, unit: _Unit, sided: TwoSided) -> tuple[str, dict[str, str]]:
        """How the spec composes a loss of families, each with the arguments that are no tensors; and by name the
        formulas of those that are, where they are neither a box nor a part of one.
        """
        formulas: dict[str, dict[str, None]] = {}

        def change(expr: Expr) -> Expr:
            if not isinstance(expr, Call) or not isinstance(expr.function, Name):
                return expr
            word = self.resolved.library.find(expr.function.id, standard_only=False)
            if word is None or word.kind != "families":
                return expr
            numbers = []
            for name, written in word.bind(expr.arguments, dict(expr.keywords)).items():
                nodes = leaves(sided.arguments.get(name))
                formulas.setdefault(name, {})
                if all(leaf.type.host for leaf in nodes):
                    number = host_value(nodes[0], {}) if len(nodes) == 1 else None
                    numbers.append(f"{name}={show(written) if number is None else short(number)}")
                elif not all(map(self._drawn, nodes)):
                    formulas[name][pretty(written)] = None
            return Name(expr.at, word.name + (f"({', '.join(numbers)})" if numbers else ""))

        body = unit.members[0].body
        if not isinstance(body, Expr):
            return "", {}
        text = pretty(changed(bound_to(body, unit.members[0].bound if len(unit.members) == 1 else {}), change))
        said = {name: ", ".join(found) for name, found in formulas.items()}
        return (text if formulas else sided.family or ""), said

    def _drawn(self, node: Node) -> bool:
        """Whether a node is a box, or an output of one."""
        return id(node) in self.unit or (node.op == "output" and id(node.args[0]) in self.unit)

    def _instead(self, argument: str, edges: list[Edge]) -> str:
        """What a row says where nothing that a network made enters it."""
        units = {u.id: u for u in self.units}
        tails = [units[e.tail] for e in edges if e.head_port == argument]
        made = any(t.calls or self._depends(t) for t in tails)
        return "" if made else ", ".join(self._title(t.members) for t in tails)

    @staticmethod
    def _same(one: list[Node], other: list[Node]) -> bool:
        return [id(n) for n in one] == [id(n) for n in other]

    @staticmethod
    def _reads(roots: list[Node], nodes: list[Node]) -> bool:
        below = {id(n) for n in walk(roots)}
        return any(id(n) in below for n in nodes)

    # --- players

    def _terms(self, phase: Phase) -> list[tuple[str, str, list[str]]]:
        """Weight, text and losses of every term."""
        read = {n.name: n for n in _first_losses(phase.objective) if n.name}
        found = []
        for term in phase.terms:
            expr = parse(term.loss)
            meant = bound_to(expr, self.written[phase.name].bound)
            losses = list(dict.fromkeys(n for ref in references(meant) for n in read if self._names(ref, n)))
            one = {self.losses[name] for name in losses}
            text = pretty(expr)
            if len(one) == 1 and isinstance(expr, Name | Index | Attribute):
                (unit,) = one
                text = self._title(unit.members) + next((f".{s}" for s in SIDES if losses[0].endswith(f".{s}")), "")
            found.append((self._weight(term.weight, term.value), text, losses))
        return found

    def _idle(self, phase: Phase) -> tuple[tuple[str, str], ...]:
        """Weight and text of the terms that are not there, for their weight is 0."""
        return tuple((self._weight(t.weight, t.value), pretty(parse(t.loss))) for t in phase.idle)

    def _names(self, reference: tuple[str, str, str], loss: str) -> bool:
        """Whether a reference in an objective means a loss: by its name, or by its family where an index is bound."""
        base, text, side = reference
        whole = whole_loss(loss)
        if side and side != side_of(loss):
            return False
        return whole == text if text in self.loss_names else "[" in whole and family_of(whole) == base

    def _weight(self, weight: str, value: float | None) -> str:
        sign, body = ("−", weight[1:]) if weight.startswith("-") else ("+", weight)
        if value is None:
            clocks = list(dict.fromkeys(self._clocks(parse(body))))
            return (
                f"{sign}{body}({', '.join(clocks)})"
                if clocks and body.isidentifier() and clocks != [body]
                else f"{sign}{body}"
            )
        number = short(-value if sign == "−" else value)
        literal = isinstance(parse(body), Number)
        return f"{sign}{number}" if literal else f"{sign}{body} = {number}"

    def _clocks(self, expr: Expr) -> Iterator[str]:
        for name in names(expr):
            if name.id in self.resolved.constants:
                yield from self._clocks(self.resolved.constants[name.id])
            elif name.id in ops.CLOCKS or name.id in self.graph.state:
                yield name.id

    def _minimizers(self) -> dict[str, tuple[str, ...]]:
        """Every loss that is a term, by name -> the players who minimize it."""
        found: dict[str, list[str]] = {}
        for phase in self.phases.values():
            for _, _, losses in self._terms(phase):
                for name in losses:
                    found.setdefault(name, []).append(self.player_of[phase.player])
        return {name: tuple(dict.fromkeys(players)) for name, players in found.items()}

    def _fold_phases(self) -> dict[str, list[list[str]]]:
        """Every table's name -> its phases, those with the same objective together."""
        found: dict[str, dict[Any, list[str]]] = {}
        for phase, above in _phases(self.graph.schedule):
            terms = tuple((w, t, frozenset(self.losses[n] for n in losses)) for w, t, losses in self._terms(phase))
            key = (terms, self._idle(phase), self._circumstances(phase, above))
            found.setdefault(self.player_of[phase.player], {}).setdefault(key, []).append(phase.name)
        return {player: list(groups.values()) for player, groups in found.items()}

    def _circumstances(self, phase: Phase, above: tuple[Step, ...]) -> tuple[str, ...]:
        """What a phase says of itself beside its objective: how often, when, on which batch."""
        found = []
        steps: list[Any] = [*above, phase]
        for step in steps:
            if step.repeat is not None and step.repeat != 1:
                found.append(f"×{host_text(step.repeat)}")
            if step.fresh:
                found.append("fresh batch")
            if step.when is not None:
                expr = self.written[step.name].when if step.name in self.written else None
                found.append(f"when {show(expr) if expr is not None else host_text(step.when)}")
        if phase.accumulate is not None:
            found.append(f"accumulates {host_text(phase.accumulate)}")
        return tuple(dict.fromkeys(found))

    def _players(self) -> tuple[list[Player], list[Edge]]:
        order = {phase.name: number for number, names in enumerate(self._evaluations(), 1) for phase in names}
        colours = self._colours()
        players: list[Player] = []
        edges: list[Edge] = []
        for number, title in enumerate(dict.fromkeys(self.player_of.values())):
            moves: list[Move] = []
            for group in self.moves.get(title, []):
                terms, inward = self._term_rows(group, f"p{number}", title, sum(len(m.terms) for m in moves))
                port = f"m{len(moves)}"
                edges += [*inward, *self._waiting(group, f"p{number}", port)]
                idle = self._idle(self.phases[group[0]])
                moves.append(Move(self._move_text(group, order), tuple(group), terms, port, idle))
            members = tuple(name for name, table in self.player_of.items() if table == title)
            networks = tuple(self._networks(title))
            rules = tuple(self._rules(title))
            players.append(Player(f"p{number}", title, colours[title], members, networks, tuple(moves), rules))
        rest = tuple(self._networks(""))
        return players + ([Player("rest", "", -1, (), rest, ())] if rest else []), edges

    def _rules(self, player: str) -> Iterator[str]:
        """The rules of a player beside its optimizer, by their keys: `gradient: clip_norm(5)`."""
        group = next(g for g in _by_rule(self.resolved.players) if self._title(g) == player)
        for key, expr in player_rules(group[0].body):
            yield f"{key}: {pretty(bound_to(expr, group[0].bound if len(group) == 1 else {}))}"

    def _term_rows(self, group: list[str], head: str, player: str, above: int) -> tuple[tuple[Term, ...], list[Edge]]:
        """The rows of phases with one objective, and what enters them."""
        every = [self._terms(self.phases[name]) for name in group]
        terms, edges = [], []
        for number, (weight, text, losses) in enumerate(every[0]):
            port = f"t{above + number}"
            read = list(dict.fromkeys(name for same in every for name in same[number][2]))
            terms.append(Term(weight, self._read_title(text, read), port))
            ends = dict.fromkeys((self.losses[name], side_of(name)) for name in read)
            own, phases = frozenset([player]), frozenset(group)
            edges += [Edge(u.id, head, side, port, (player,), paths=own, phases=phases) for u, side in ends]
            if not losses:  # a formula in the objective itself
                sources = self._sources([self.phases[group[0]].objective])
                edges += [self._edge(u, head, r, (player,), port) for u, r in sources.items() if u.kind != "loss"]
        return tuple(terms), edges

    def _read_title(self, text: str, losses: list[str]) -> str:
        """The text of a term; where it is the title of a family, of which only some members are read, these."""
        units = {self.losses[name] for name in losses}
        side = f".{side_of(losses[0])}" if losses and side_of(losses[0]) else ""
        for unit in units if len(units) == 1 else ():
            if text == self._title(unit.members) + side:
                whole = {whole_loss(name) for name in losses}
                title = _fixed(self._title(unit.members), whole, [m.name for m in unit.members])
                return (title or self._title([m for m in unit.members if m.name in whole])) + side
        return text

    def _waiting(self, group: list[str], head: str, port: str) -> list[Edge]:
        """From the losses that a condition reads; no gradient goes that way."""
        read = dict.fromkeys(
            (self.losses[n.name or ""], side_of(n.name or "")) for n, p in self._conditions() if p in group
        )
        return [Edge(unit.id, head, side, port, live=False) for unit, side in read]

    def _evaluations(self) -> list[tuple[Phase, ...]]:
        return [step.phases for step in self.graph.steps() if step.phases]

    def _move_text(self, group: list[str], order: dict[str, int]) -> str:
        """`1. D_latent  2. D_reference`, and what else is to say of these phases."""
        said: list[str] = []
        for name, before in zip(group, ["", *group], strict=False):
            phase = self.phases[name]
            part = set(phase.networks) != set(self.graph.players[phase.player].networks)
            number = f"{order[name]}. " if order[name] != order.get(before) else ""
            said.append(number + name + (f" (steps {', '.join(phase.networks)})" if part else ""))
        above = {phase.name: steps for phase, steps in _phases(self.graph.schedule)}
        together = [s.name for s in above[group[0]] if s.kind == "group"]
        extra = [f"in group {name}" for name in together]
        extra += self._circumstances(self.phases[group[0]], above[group[0]])
        return ", ".join([", ".join(said) if len(said) < 5 else f"{said[0]}, ..., {said[-1]}", *extra])

    def _colours(self) -> dict[str, int]:
        """The first who minimizes a discriminator's side is 0, the first of the others with a side 1; then in order."""
        titles = list(dict.fromkeys(self.player_of.values()))
        sides = {t: {side_of(n) for n, players in self.minimizers.items() if t in players} for t in titles}
        critic = next((t for t in titles if "discriminator" in sides[t]), None)
        maker = next((t for t in titles if t != critic and "generator" in sides[t]), None)
        found = {t: number for number, t in enumerate((critic, maker)) if t is not None}
        free = (n for n in range(len(titles) + 2) if n not in found.values())
        return found | {t: next(free) for t in titles if t not in found}

    def _networks(self, player: str) -> Iterator[Owned]:
        """The rows of a table: what the game calls, then what is inside of that."""
        rows = []
        for group in _by_rule(self.resolved.networks):
            names = [m.name for m in group if self._table(m.name) == player and self.graph.networks[m.name].variants]
            if names:
                calls = sum(1 for u in self.units if any(n in names for n in self._made_by(u)))
                title = self._owned_title(player, [m for m in group if m.name in names])
                rows.append(Owned(title, tuple(names), self._network_text(names, calls), calls))
        yield from sorted(rows, key=lambda row: not row.calls)

    def _owned_title(self, player: str, networks: list[Member]) -> str:
        """A family of networks as its players' key says it: the player `gen[d]` may own `Enc[1 - d]`."""
        owners = next((g for g in _by_rule(self.resolved.players) if self._title(g) == player), [])
        if len(networks) > 1 and len(owners) > 1:
            family = networks[0].patterns[0].family
            for expr in owners[0].body.networks:
                if isinstance(expr, Index) and isinstance(expr.value, Name) and expr.value.id == family:
                    return show(expr)
        return self._title(networks)

    def _table(self, network: str) -> str:
        """The table that a network stands in: its first owner's."""
        owners = self._owners(network)
        return owners[0] if owners else ""

    def _network_text(self, names: list[str], calls: int) -> str:
        said = [count_text(self.graph, names)]
        holders = [n for n, network in self.graph.networks.items() if set(names) & set(network.called)]
        if holders:
            inside = self._group_title(holders)
            said.append(f"shared by {inside}" if len(holders) > 1 and len(names) == 1 else f"in {inside}")
        if calls:
            said.append(f"called ×{calls}")
        owners = self._owners(names[0])
        if len(owners) > 1:
            said.append(f"shared with {', '.join(owners[1:])}")
        if not owners or self.graph.networks[names[0]].frozen:
            said.append("frozen")
        return ", ".join(said)

    def _group_title(self, names: list[str]) -> str:
        groups = [[m for m in group if m.name in names] for group in _by_rule(self.resolved.networks)]
        return ", ".join(self._title(g) for g in groups if g)


# --- families and schedule


def _by_rule(members: Iterable[Member]) -> list[list[Member]]:
    """Members that one key declares, together."""
    groups: dict[int, list[Member]] = {}
    for member in members:
        groups.setdefault(id(member.body) if _indexed(member) else id(member), []).append(member)
    return list(groups.values())


def _pattern_text(pattern: Pattern) -> str:
    return pattern.family + (f"[{', '.join(map(show, pattern.items))}]" if pattern.items else "")


def _rule_text(members: list[Member]) -> str:
    """What one key says; of a single member with its indices in place."""
    bound = members[0].bound if len(members) == 1 else {}
    return ", ".join(pretty(bound_to(e, bound)) for e in expressions(members[0].body))


def _indexed(member: Member) -> bool:
    return bool(member.patterns and member.patterns[0].items)


def _phases(steps: Iterable[Step]) -> Iterator[tuple[Phase, tuple[Step, ...]]]:
    """Every phase with the steps that it stands in."""
    return ((phase, path) for path in steps_above(steps) for phase in path[-1].phases)


def _fixed(title: str, chosen: set[str], family: list[str]) -> str | None:
    """The title of a family, `adv[a, b]`, for those members that have an index in common: `adv[0, b]`."""
    letters, rows = indices_of(title), {name: indices_of(name) for name in family}
    wanted = [set(column) for column in zip(*(rows[name] for name in chosen), strict=True)]
    if len(letters) != len(wanted) or all(len(found) > 1 for found in wanted):
        return None
    if chosen != {n for n in family if all(len(w) > 1 or r in w for w, r in zip(wanted, rows[n], strict=True))}:
        return None
    indices = (letter if len(found) > 1 else next(iter(found)) for letter, found in zip(letters, wanted, strict=True))
    return f"{family_of(title)}[{', '.join(indices)}]"


def _first_losses(root: Node) -> list[Node]:
    """The losses that an objective names, not those that these read."""
    return [n for n in visit([root], lambda n: () if n.op == "loss" else n.args[::-1]) if n.op == "loss"]
