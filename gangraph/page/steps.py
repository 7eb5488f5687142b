"""Spec, Picture -> steps: one iteration as a reader walks through it, each evaluation in three moments.

A moment says what happens, and lights what it happens to: forward what is computed, gradient what the gradient passes,
update what is stepped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gangraph.compiler import Spec
from gangraph.draw.dot import COLOURS
from gangraph.draw.picture import Box, Loss, Picture, Player, Role
from gangraph.draw.words import occasion, steps_above
from gangraph.families import side_of
from gangraph.frozen import frozen
from gangraph.graph import Phase, Step
from gangraph.page.names import Keys, Names, Part, call_key, phase_key, player_key
from gangraph.page.programtext import ProgramText
from gangraph.page.things import Row, links
from gangraph.resolve import moves_in
from gangraph.schedule import Evaluation

Lights = dict[str, str]  # the id of a group in the SVG -> the classes by which it is lit


@frozen
class Moment:
    """Forward, gradient or update of an evaluation; or the one moment of a step that has no evaluation."""

    name: str
    rows: tuple[Row, ...]
    lights: Lights
    keys: Keys  # what is lit in the spec
    lines: tuple[int, ...] = ()  # what is lit in the program


@frozen
class Stop:
    """One entry of the schedule."""

    name: str
    note: str  # when it runs, how often, on which batch
    moments: tuple[Moment, ...]


def find_steps(spec: Spec, picture: Picture, names: Names, program: ProgramText) -> tuple[Stop, ...]:
    """The iteration of one stage."""
    return tuple(_Walk(spec, picture, names, program).stops())


def player_lights(player: Player, picture: Picture) -> Lights:
    """What the gradient of a player's phases passes; networks of others on the way are frozen there."""
    path = f"path {colour([player])}"
    boxes = [b for b in picture.boxes if player.name in b.paths]
    frozen = {b.id for b in boxes if b.kind == "call" and player.name not in b.players}
    lights = {b.id: f"{path} frozen" if b.id in frozen else path for b in boxes}
    for loss in [x for x in picture.losses if player.name in x.paths]:
        lights[loss.id] = path
        lights |= _off(loss, [side.name for side in loss.sides if player.name in side.players])
    lights |= {f"e{i}": path for i, e in enumerate(picture.edges) if player.name in e.paths}
    return lights | {player.id: path}


def _off(loss: Loss, sides: Iterable[str]) -> Lights:
    """The rows of a loss for its other sides."""
    return {f"{loss.id}-s_{side.name}": "off" for side in loss.sides if side.name not in sides}


def colour(players: Iterable[Player]) -> str:
    """The class of the colour of one player, or of several together."""
    numbers = {player.colour for player in players}
    return f"c{numbers.pop() % len(COLOURS)}" if len(numbers) == 1 else "several"


def _key(drawn: Box | Loss, role: Role) -> str:
    """The key of what has a role: its name, or that of a call in place."""
    return role.member or (call_key(drawn) if isinstance(drawn, Box) else "")


class _Walk:
    def __init__(self, spec: Spec, picture: Picture, names: Names, program: ProgramText):
        self.graph, self.plan = spec.graph, spec.schedules[-1]
        self.picture, self.names, self.program = picture, names, program
        self.moves = {m.name: m for m in moves_in(self.graph.resolved.schedule)}
        self.tables = {name: p for p in picture.players for name in p.members}
        self.drawn: tuple[Box | Loss, ...] = (*picture.boxes, *picture.losses)
        self.texts = {call_key(b): b.text for b in picture.boxes if b.place is not None}

    def stops(self) -> Iterator[Stop]:
        for path in steps_above(self.graph.schedule):
            step, note = path[-1], occasion(path, self.moves)
            if step.phases:
                yield Stop(step.name, note, tuple(self._moments(step)))
            elif step.kind in ("update", "reset"):
                yield Stop(step.name, note, (self._plain(step),))
        end = self._end()
        if end:
            yield Stop("end", "", end)

    def _plain(self, step: Step) -> Moment:
        keys = tuple(map(player_key, step.names)) if step.kind == "reset" else step.names
        row: Row = (f"{step.kind}s", links(keys, self.texts))
        return Moment(step.kind, (row,), {}, keys)

    def _end(self) -> tuple[Moment, ...]:
        """Averages and states that move when all phases have run."""
        states, averages = self.graph.at_end()
        rows: list[Row] = [("states", links(states, {}))] * bool(states)
        rows += [("averages follow", links(averages, {}))] * bool(averages)
        return (Moment("update", tuple(rows), {}, (*states, *averages)),) if rows else ()

    # --- an evaluation

    def _moments(self, step: Step) -> Iterator[Moment]:
        evaluation = self.plan.evaluations[step.name]
        first, last = self.program.functions[step.name]
        keys = tuple(phase_key(p.name) for p in step.phases)
        yield Moment(
            "forward", self._forward(evaluation), self._computed(step.name), keys, tuple(range(first, last + 1))
        )
        objective = self.program.objectives.get(step.name) or (first,)
        yield Moment("gradient", self._gradient(step.phases), self._passed(step.phases), keys, objective)
        players = tuple(dict.fromkeys(player_key(p.player) for p in step.phases))
        yield Moment(
            "update",
            self._update(step.phases),
            self._stepped(step.phases),
            players,
            self.program.plays.get(step.name, ()),
        )

    def _forward(self, evaluation: Evaluation) -> tuple[Row, ...]:
        """What is read, drawn, held and computed, with and without a gradient."""
        found: dict[str, list[str]] = {}
        for drawn in self.drawn:
            for role in drawn.roles:
                key = _key(drawn, role)
                how = dict(role.runs).get(evaluation.name)
                kind = "batch" if key in self.graph.inputs else "draws" if key in self.graph.draws else how
                kind = "losses" if key in self.graph.losses else kind
                if how:
                    found.setdefault("held" if how == "held" else str(kind), []).append(key)
        kinds = {
            "batch": "batch",
            "draws": "draws",
            "held from before": "held",
            "without a gradient": "no gradient",
            "with a gradient": "gradient",
            "losses": "losses",
        }
        return tuple((label, links(found[kind], self.texts)) for label, kind in kinds.items() if kind in found)

    def _computed(self, evaluation: str) -> Lights:
        lights: Lights = {}
        for drawn in self.drawn:
            ways = [how for role in drawn.roles for name, how in role.runs if name == evaluation]
            best = next((how for how in ("gradient", "no gradient", "held") if how in ways), "")
            if best:
                lights[drawn.id] = {"gradient": "graded", "no gradient": "plain", "held": "held"}[best]
            if best and isinstance(drawn, Loss):
                lights |= _off(drawn, [side_of(r.member) for r in drawn.roles if evaluation in dict(r.runs)])
        for number, edge in enumerate(self.picture.edges):
            if edge.tail in lights and lights.get(edge.head) in ("graded", "plain"):
                lights[f"e{number}"] = "plain"
        return lights

    def _gradient(self, phases: Sequence[Phase]) -> tuple[Row, ...]:
        rows: list[Row] = []
        for phase in phases:
            rows.append((f"{phase.name}: of", self.names.linked(phase.text)))
            rows.append(("with respect to", links(phase.networks, {})))
            passed = [_key(d, role) for d in self.drawn for role in d.roles if phase.name in role.phases]
            rows.append(("passes", links(passed, self.texts)))
        return tuple(rows)

    def _passed(self, phases: Sequence[Phase]) -> Lights:
        """What the gradients of some phases pass, in the colours of those that pass."""
        tables = {p.name: self.tables[p.player] for p in phases}
        lights: Lights = {}
        for drawn in self.drawn:
            passing = [tables[p.name] for p in phases if any(p.name in role.phases for role in drawn.roles)]
            if passing:
                players = {p.name for p in passing}
                others = isinstance(drawn, Box) and drawn.kind == "call" and not players & set(drawn.players)
                lights[drawn.id] = f"path {colour(passing)}" + " frozen" * others
            if passing and isinstance(drawn, Loss):
                lights |= _off(drawn, [side_of(r.member) for r in drawn.roles if r.phases & set(tables)])
        for number, edge in enumerate(self.picture.edges):
            passing = [tables[name] for name in edge.phases if name in tables]
            if passing:
                lights[f"e{number}"] = f"path {colour(passing)}"
        for table in tables.values():
            lights[table.id] = f"path {colour([table])}"
            lights |= dict.fromkeys(self._cells(table), "off")
        for phase in phases:
            lights |= dict.fromkeys(self._rows(phase), f"path {colour([tables[phase.name]])}")
        return lights

    @staticmethod
    def _cells(table: Player) -> Iterator[str]:
        """All rows of a table."""
        yield from (f"{table.id}-n{number}" for number in range(len(table.networks)))
        for move in table.moves:
            yield f"{table.id}-{move.port}"
            yield from (f"{table.id}-{term.port}{end}" for term in move.terms for end in ("", "_"))

    def _rows(self, phase: Phase) -> Iterator[str]:
        """The rows of a phase in its player's table: the phase, its terms, and the networks that it trains."""
        table = self.tables[phase.player]
        for move in table.moves:
            if phase.name in move.phases:
                yield f"{table.id}-{move.port}"
                for term in move.terms:
                    yield from (f"{table.id}-{term.port}", f"{table.id}-{term.port}_")
        yield from self._networks(phase)

    def _networks(self, phase: Phase) -> Iterator[str]:
        trained = {inner for name in phase.networks for inner in self.graph.contained(name)}
        for player in self.picture.players:
            for number, owned in enumerate(player.networks):
                if trained & set(owned.members):
                    yield f"{player.id}-n{number}"

    def _update(self, phases: Sequence[Phase]) -> tuple[Row, ...]:
        rows: list[Row] = []
        for phase in phases:
            player = self.graph.players[phase.player]
            optimizers = ", ".join(dict.fromkeys(o.name for o in player.optimizers.values()))
            step: tuple[Part, ...] = (*links([player_key(player.name)], {}), " steps ", *links(phase.networks, {}))
            rows.append((phase.name, (*step, f" with {optimizers}")))
            extra = [f"{kind} first" for kind, _ in player.gradient.values()]
            extra += ["a rule changes its parameters afterwards"] * bool(player.after)
            rows += [("", (", ".join(extra),))] * bool(extra)
        within = [s.name for s in self.graph.state.values() if set(s.within) & {p.name for p in phases}]
        rows += [("then", (*links(within, {}), " becomes something new"))] * bool(within)
        return tuple(rows)

    def _stepped(self, phases: Sequence[Phase]) -> Lights:
        """The rows of the networks that are stepped, and what they compute."""
        tables = [self.tables[p.player] for p in phases]
        lights: Lights = {table.id: colour([table]) for table in tables}
        lights |= {cell: "off" for table in tables for cell in self._cells(table)}
        for phase in phases:
            trained = {inner for name in phase.networks for inner in self.graph.contained(name)}
            marks = [*self._networks(phase), *(b.id for b in self.picture.boxes if trained & set(b.networks))]
            lights |= dict.fromkeys(marks, f"stepped {colour([self.tables[phase.player]])}")
        return lights
