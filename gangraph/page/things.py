"""Spec, Picture -> things: everything that a reader may ask about, with what the compiler knows of it.

A thing is an input, a draw, a value, a call in place, a network, an average, a loss or a side of one, a player, a
phase, a size, a constant or a state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from gangraph.compiler import Spec
from gangraph.draw import tables
from gangraph.draw.picture import Box, Loss, Picture
from gangraph.draw.words import (
    circumstances,
    leaf_words,
    pretty,
    range_text,
    steps_above,
)
from gangraph.equations.pieces import Section
from gangraph.expressions import show
from gangraph.families import SIDES, Member, family_of
from gangraph.frozen import frozen
from gangraph.graph import Phase
from gangraph.ir import Node, Type, leaves, visit
from gangraph.page.dataflow import Dataflow
from gangraph.page.names import Link, Names, Part, call_key, phase_key, player_key, sides_of
from gangraph.resolve import Resolved, moves_in
from gangraph.spec import expressions
from gangraph.values import known
from gangraph.writer import host_text

DTYPES = {"float": "real numbers", "int": "integers", "bool": "truth values"}


Row = tuple[str, tuple[Part, ...]]


@frozen
class Thing:
    """What a page says of one thing. `marks` are the ids of its groups in the SVG."""

    key: str
    kind: str
    name: str
    rows: tuple[Row, ...] = ()
    marks: tuple[str, ...] = ()
    player: str = ""  # whose colour it has
    equations: tuple[int, ...] = ()  # numbers of sections
    layers: tuple[tuple[str, ...], ...] = ()  # the header, then a row for each layer


def links(keys: Iterable[str], texts: Mapping[str, str]) -> tuple[Part, ...]:
    """Links with commas between; `texts` has those of things that are not called as their key is."""
    parts: list[Part] = []
    for key in dict.fromkeys(keys):
        parts += [", "] * bool(parts)
        parts.append(Link(texts.get(key) or re.sub(r"^(phase|player) ", "", key), (key,)))
    return tuple(parts)


def stage_rows(resolved: Resolved, count: int) -> tuple[Row, ...]:
    """Which of how many stages this is, how long it runs, on how many samples at a time, and who starts anew."""
    if count == 1:
        return ()
    keys = resolved.keys
    lasts = [
        f"{int(known(resolved, expr)):,} {word}"
        for word, expr in (("iterations", keys.iterations), ("images", keys.images))
        if expr is not None
    ]
    rows: list[Row] = [("stage", (f"{resolved.stage}, {resolved.stage_index + 1} of {count}",))]
    rows += [("runs for", (", ".join(lasts),))] * bool(lasts)
    rows.append(("batch", (str(resolved.batch.now),)))
    return (*rows, *[("resets", links(map(player_key, map(show, keys.reset)), {}))] * bool(keys.reset))


def find_things(
    spec: Spec, picture: Picture, flow: Dataflow, names: Names, sections: tuple[Section, ...]
) -> dict[str, Thing]:
    """Every thing of one stage by its key, in the order of the file."""
    return _Finder(spec, picture, flow, names, sections).things()


class _Finder:
    def __init__(self, spec: Spec, picture: Picture, flow: Dataflow, names: Names, sections: tuple[Section, ...]):
        self.spec, self.picture, self.flow, self.names, self.sections = spec, picture, flow, names, sections
        self.graph, self.resolved = spec.graph, spec.graph.resolved
        self.moves = {m.name: m for m in moves_in(self.resolved.schedule)}
        self.tables = {name: p for p in picture.players for name in p.members}
        self.boxes = {name: box for box in picture.boxes for name in box.members}
        drawn: tuple[Box | Loss, ...] = (*picture.boxes, *picture.losses)
        self.roles = {role.member: role for d in drawn for role in d.roles if role.member}
        self.roles |= {call_key(box): box.roles[0] for box in picture.boxes if box.place is not None}
        self.calls = {call_key(box): box for box in picture.boxes if box.place is not None}
        self.texts = {key: box.text for key, box in self.calls.items()}
        self.minimizers = self._minimizers()

    def things(self) -> dict[str, Thing]:
        graph, resolved = self.graph, self.resolved
        found = [
            *(Thing(n, "size", n, (("is", (str(value),)),)) for n, value in resolved.sizes.items()),
            *(Thing(n, "constant", n, (("is", self.names.linked(show(e))),)) for n, e in resolved.constants.items()),
            *(self._leaf("input", member, graph.inputs[member.name]) for member in resolved.inputs),
            *(self._leaf("draw", member, graph.draws[member.name]) for member in resolved.draws),
            *map(self._network, graph.networks),
            *(self._value(m, name) for m in resolved.values for name in m.names if name in graph.values),
            *(self._call(key, box) for key, box in self.calls.items()),
            *(thing for member in resolved.losses for thing in self._loss(member)),
            *map(self._state, graph.state),
            *map(self._average, graph.averages),
            *map(self._player, graph.players),
            *map(self._phase, graph.phases()),
        ]
        return {thing.key: thing for thing in found}

    # --- texts with links

    def _links(self, keys: Iterable[str]) -> tuple[Part, ...]:
        return links(keys, self.texts)

    def _equations(self, kind: str, *names: str) -> tuple[int, ...]:
        """The sections of a kind that are about a name, in this stage."""
        return tuple(
            number
            for number, section in enumerate(self.sections)
            if section.kind == kind
            and re.split(r" \(a move of |, in |, [^,]+ times an iteration", section.title)[0] in names
            and self.resolved.stage in (section.stages or (self.resolved.stage,))
        )

    # --- facts

    def _trained(self, network: str) -> tuple[Row, ...]:
        trainers = self.graph.owners(network)
        if not trainers:
            return (("trained by", ("nobody",)),)
        return (("trained by", self._links(map(player_key, trainers))),)

    def _colour(self, players: Iterable[str]) -> str:
        """The table of the one player; none where there are several."""
        found = {self.tables[p].name for p in players if p in self.tables}
        return found.pop() if len(found) == 1 else ""

    def _count(self, networks: Iterable[str]) -> str:
        return f"{self.graph.count(networks):,}"

    @staticmethod
    def _shape(type_: Type) -> str:
        axes = [*([type_.samples.text] if type_.samples else []), *map(str, type_.shape)]
        return " × ".join(axes) or "one number"

    def _type(self, types: list[Type]) -> tuple[Row, ...]:
        """Shape and type, of a value or of each item of a list."""
        shapes = "; ".join(dict.fromkeys(map(self._shape, types)))
        words = []
        for type_ in types:
            said = DTYPES[type_.dtype] + (f" below {type_.classes}" if type_.classes else "")
            said += f" in {range_text(type_)}" if range_text(type_) and not type_.classes else ""
            said += ", a probability" if type_.kind == "probability" else ""
            words.append(said + (", the same for all samples" if type_.samples is None and type_.shape else ""))
        rows: list[Row] = [("shape", (shapes,)), ("type", ("; ".join(dict.fromkeys(words)),))]
        domains = dict.fromkeys(t.domain for t in types if t.domain)
        return (*rows, ("domain", (", ".join(map(str, domains)),))) if domains else tuple(rows)

    def _flow(self, key: str) -> tuple[Row, ...]:
        rows = [("made of", self.flow.reads.get(key, ())), ("read by", self.flow.readers.get(key, ()))]
        return tuple((label, self._links(keys)) for label, keys in rows if keys)

    def _computed(self, key: str) -> tuple[Row, ...]:
        """Where a value or loss is computed, and whose gradient passes."""
        role = self.roles.get(key)
        if role is None:
            return ()
        runs, parts = dict(role.runs), list[Part]()
        for step in self.graph.steps():
            if step.name in runs and step.phases:
                parts += [", "] * bool(parts)
                parts += [Link(step.name, tuple(phase_key(p.name) for p in step.phases)), f" ({runs[step.name]})"]
        order = [phase_key(p.name) for p in self.graph.phases() if p.name in role.phases]
        computed: list[Row] = [("computed in", tuple(parts))] if parts else []
        return (*computed, ("gradient of", self._links(order) or ("no phase",)))

    def _made_by(self, networks: Iterable[str]) -> tuple[Row, ...]:
        names = list(dict.fromkeys(networks))
        if not names:
            return (("computed by", ("a formula, without a network",)),)
        trainers = dict.fromkeys(t for n in names for t in self.graph.owners(n))
        parts = (*self._links(names), *((" of ", *self._links(map(player_key, trainers))) if trainers else ()))
        return (("computed by", parts),)

    # --- one kind each

    def _leaf(self, kind: str, member: Member, node: Node) -> Thing:
        box = self.boxes.get(member.name)
        rows: list[Row] = [("is", self.names.linked(", ".join(map(pretty, expressions(member.body)))))]
        if kind == "input":
            stream = node.fields.get("stream")
            with_ = [n for n in self.resolved.streams.get(stream or "", ()) if n != member.name]
            rows += [("drawn with", self._links(with_))] if with_ else []
        else:
            once = ", one time an iteration" if member.name in self.graph.once else ""
            rows.append(("distribution", (leaf_words(node).replace("-", "−") + once,)))
        rows += [*self._type([node.type]), *self._flow(member.name)]
        return Thing(member.name, kind, member.name, tuple(rows), (box.id,) if box else ())

    def _network(self, name: str) -> Thing:
        network = self.graph.networks[name]
        body = next(m.body for m in self.resolved.networks if m.name == name)
        written = ", ".join(pretty(e) for e in expressions(body))
        rows: list[Row] = [("is", self.names.linked(written))] if 0 < len(written) <= 200 else []
        table: tuple[tuple[str, ...], ...] = ()
        if network.variants:
            called = (node.fields["module"] for node, _ in self.flow.calls if node.fields["source"] == name)
            module = next(called, network.module)  # of this stage
            shapes = [", ".join(self._shape(n.type) for n in nodes) for nodes in (module.inputs, module.outputs)]
            rows.append(("maps", (f"{shapes[0] or 'nothing'} → {shapes[1]}",)))
            made = tables.network(self.spec, name, module)
            table = (made.header, *made.rows)
        rows.append(("parameters", (self._count([name]),)))
        rows += self._trained(name)
        rows += [("frozen", ("yes: no phase trains it" + (", its weights come from a file" * network.external),))] * (
            network.frozen
        )
        holders = [n for n, other in self.graph.networks.items() if name in other.called]
        follow = [a.name for a in self.graph.averages.values() if a.source == name]
        calls = [box for box in self.picture.boxes if name in box.networks]
        made_ = [*(n for box in calls for n in box.members), *(call_key(box) for box in calls if box.place)]
        lists = (("contains", network.called), ("part of", holders), ("averaged by", follow), ("computes", made_))
        rows += [(label, self._links(keys)) for label, keys in lists if keys]
        marks = [f"{p.id}-n{i}" for p in self.picture.players for i, o in enumerate(p.networks) if name in o.members]
        marks += [box.id for box in calls]
        return Thing(
            name, "network", name, tuple(rows), tuple(marks), self._colour(self.graph.owners(name)), layers=table
        )

    def _value(self, member: Member, name: str) -> Thing:
        box, value = self.boxes.get(name), self.graph.values[name]
        rows: list[Row] = [("is", self.names.linked(", ".join(map(pretty, expressions(member.body)))))]
        rows += [("for", (", ".join(f"{k} = {v}" for k, v in member.bound.items()),))] * bool(member.bound)
        rows += self._type([n.type for n in leaves(value)])
        rows += [("once", ("made one time an iteration",))] * (name in self.graph.once)
        networks = tuple(n for n in box.networks if self._calls(n, member.names)) if box else ()
        rows += self._made_by(networks or (box.networks if box else ()))
        rows += self._flow(name)
        rows += self._computed(name)
        if not box:
            rows.append(("drawn", ("no: no objective and no condition reads it",)))
        colour = self._colour(p for n in (box.networks if box else ()) for p in self.graph.owners(n))
        return Thing(name, "value", name, tuple(rows), (box.id,) if box else (), colour)

    def _calls(self, network: str, names: Iterable[str]) -> bool:
        """Whether a call of a network is a part of one of some values."""
        return any(node.fields["source"] == network and key in names for node, key in self.flow.calls)

    def _call(self, key: str, box: Box) -> Thing:
        nodes = [node for node, owner in self.flow.calls if owner == key]
        rows: list[Row] = [("is", self.names.linked(box.text))]
        rows += self._type([t for node in nodes for t in _types(node)])
        rows += [*self._made_by(box.networks), *self._flow(key), *self._computed(key)]
        colour = self._colour(p for n in box.networks for p in self.graph.owners(n))
        return Thing(key, "call", box.text, tuple(rows), (box.id,), colour)

    def _minimizers(self) -> dict[str, list[tuple[str, str]]]:
        """For every loss or side: the phases with it as a term, and its weight there."""
        found: dict[str, list[tuple[str, str]]] = {}
        for phase in self.graph.phases():
            for name in _losses(phase):
                weight = next((t.weight for t in phase.terms if self.names.about(t.loss, name)), "")
                found.setdefault(name, []).append((phase.name, weight))
        return found

    def _minimized(self, name: str) -> tuple[Row, ...]:
        parts: list[Part] = []
        players = {p.name: p.player for p in self.graph.phases()}
        for phase, weight in self.minimizers.get(name, ()):
            factor = f", times {weight}" if weight not in ("", "1") else ""
            parts += ["; "] * bool(parts)
            parts += [*self._links([player_key(players[phase])]), " in ", *self._links([phase_key(phase)]), factor]
        return (("minimized by", tuple(p for p in parts if p)),) if parts else (("minimized by", ("nobody",)),)

    def _loss(self, member: Member) -> Iterator[Thing]:
        name = member.name
        drawn = next((x for x in self.picture.losses if name in x.members), None)
        equations = self._equations("loss", name, family_of(name))
        rows: list[Row] = [("is", self.names.linked(", ".join(map(pretty, expressions(member.body)))))]
        rows += [("for", (", ".join(f"{k} = {v}" for k, v in member.bound.items()),))] * bool(member.bound)
        mark = (drawn.id,) if drawn else ()
        if name in self.graph.losses:
            rows += [*self._minimized(name), *self._flow(name), *self._computed(name)]
            yield Thing(name, "loss", name, tuple(rows), mark, self._colour(self._who(name)), equations)
            return
        sides = sides_of(name)
        whole: list[Row] = [(side, self._minimized(key)[0][1]) for side, key in zip(SIDES, sides, strict=True)]
        made = dict.fromkeys(k for key in sides for k in self.flow.reads.get(key, ()))
        yield Thing(name, "loss", name, (*rows, *whole, ("made of", self._links(made))), mark, "", equations)
        for side, key in zip(SIDES, sides, strict=True):
            own = [
                *rows,
                *self._minimized(key),
                ("side of", self._links([name])),
                *self._flow(key),
                *self._computed(key),
            ]
            marks = (f"{drawn.id}-s_{side}",) if drawn and side in {s.name for s in drawn.sides} else ()
            yield Thing(key, "side", key, tuple(own), marks, self._colour(self._who(key)), equations)

    def _who(self, loss: str) -> list[str]:
        players = {p.name: p.player for p in self.graph.phases()}
        return [players[phase] for phase, _ in self.minimizers.get(loss, ())]

    def _state(self, name: str) -> Thing:
        state = self.graph.state[name]
        written = self.resolved.spec.file.state[name]
        rows: list[Row] = [("starts as", self.names.linked(show(written.start)))]
        if written.becomes is not None:
            rows.append(("becomes", self.names.linked(show(written.becomes))))
        when = self._links(map(phase_key, state.within)) if state.within else ("the end of the iteration",)
        return Thing(name, "state", name, (*rows, ("after", when)))

    def _average(self, name: str) -> Thing:
        average = self.graph.averages[name]
        rows: list[Row] = [("follows", self._links([average.source])), ("decay", (host_text(average.decay),))]
        return Thing(name, "average", name, (*rows, ("parameters", (self._count([average.source]),))))

    def _player(self, name: str) -> Thing:
        player, table = self.graph.players[name], self.tables.get(name)
        rows: list[Row] = [("trains", self._links(player.networks)), ("parameters", (self._count(player.networks),))]
        for part, optimizer in player.optimizers.items():
            rows.append((f"optimizer{' of ' * bool(part)}{part}", (str(optimizer),)))
        for part, (kind, bound) in player.gradient.items():
            rows.append((f"gradient{' of ' * bool(part)}{part}", (f"{kind}({host_text(bound)})",)))
        phases = [p for p in self.graph.phases() if p.player == name]
        rows.append(("phases", self._links(phase_key(p.name) for p in phases)))
        numbers = tuple(i for p in phases for i in self._equations("objective", p.name))
        marks = (table.id,) if table else ()
        return Thing(player_key(name), "player", name, tuple(rows), marks, table.name if table else "", numbers)

    def _phase(self, phase: Phase) -> Thing:
        rows: list[Row] = [("player", self._links([player_key(phase.player)]))]
        rows.append(("minimizes", self.names.linked(phase.text)))
        path = next(p for p in steps_above(self.graph.schedule) if phase in p[-1].phases)
        above = circumstances((*path, phase), self.moves)
        rows += [("runs", (above,))] * bool(above)
        rows += [("in group", (path[-1].name,))] * (path[-1].kind == "group")
        rows.append(("steps", self._links(phase.networks)))
        table = self.tables.get(phase.player)
        moves = [m for m in table.moves if phase.name in m.phases] if table else []
        marks = tuple(f"{table.id}-{m.port}" for m in moves) if table else ()
        equations = self._equations("objective", phase.name)
        return Thing(
            phase_key(phase.name), "phase", phase.name, tuple(rows), marks, table.name if table else "", equations
        )


def _types(call: Node) -> list[Type]:
    outputs: list[Node] = call.fields["module"].outputs if call.fields.get("several") else [call]
    return [node.type for node in outputs]


def _losses(phase: Phase) -> list[str]:
    """The losses that an objective names."""
    found = visit([phase.objective], lambda n: () if n.op == "loss" else n.args[::-1])
    return list(dict.fromkeys(n.name for n in found if n.op == "loss" and n.name))[::-1]
