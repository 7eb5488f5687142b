"""GraphSpec -> Resolved: sizes are integers, families have members, names are declared once.

What is still an expression here is what needs values: networks, the graph, losses, objectives. A spec with stages is
resolved once for each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from keyword import iskeyword
from pathlib import Path
from typing import Any

from gangraph import ops
from gangraph.code import MODULE
from gangraph.errors import Fact, Place, Problem, SpecError, nearest
from gangraph.evaluate import Evaluator
from gangraph.expressions import Expr, Index, List, Name, Number, parse, show, substitute
from gangraph.families import Families, Member, Rule, expand_keys, family_of, free_indices, member_name
from gangraph.frozen import frozen
from gangraph.ir import Length, batch
from gangraph.layers import LAYERS, WRAPPERS
from gangraph.library import KINDS, Library
from gangraph.spec import GraphSpec, Key, MoveSpec, StageKeys, stage_spec
from gangraph.templates import MISSING, Scope, Thunk

MODULE_DICT = MODULE | {"clear", "items", "keys", "pop", "update", "values"}  # no network in one can be called so
TOP = 1_000_000_000  # the largest size that a spec may name
CALL = Place("load")  # where a size or a constant is set from Python


@frozen
class Move:
    """One entry of the schedule with its indices bound. `kind`: phase, group, sequence, update or reset."""

    kind: str
    name: str
    place: Place
    bound: dict[str, Any] = field(default_factory=dict)
    player: Expr | None = None
    minimize: Expr | None = None
    networks: tuple[Expr, ...] | None = None
    when: Expr | None = None
    repeat: Expr | None = None
    fresh: bool = False
    accumulate: Expr | None = None
    moves: tuple[Move, ...] = ()
    names: tuple[Expr, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines(0))

    def said(self, expr: Expr) -> str:
        """An expression of the move, its indices in place."""
        numbers = {k: v for k, v in self.bound.items() if isinstance(v, int)}
        return show(substitute(expr, {k: Number(expr.at, v) for k, v in numbers.items()}))

    def _lines(self, depth: int) -> Iterator[str]:
        what = self.kind
        if self.minimize is not None:
            what = f"minimize {self.said(self.minimize)}"
        elif self.kind == "update":
            what = f"update {', '.join(map(self.said, self.names))}"
        extra = [
            f"{k} {self.said(v)}"
            for k, v in (("when", self.when), ("repeat", self.repeat), ("accumulate", self.accumulate))
            if v is not None
        ]
        yield (
            "  " * depth + f"{self.name}: {what}" + "".join(f", {e}" for e in [*extra, *["fresh batch"] * self.fresh])
        )
        for move in self.moves:
            yield from move._lines(depth + 1)


@frozen
class Resolved:
    """One stage of a spec with everything bound that is known without values."""

    spec: GraphSpec
    stage: str
    stage_index: int
    keys: StageKeys
    bound: dict[str, Any]  # index variables that the stage's own key binds
    library: Library
    sizes: dict[str, Any]
    constants: dict[str, Expr]
    index: dict[str, tuple[Any, ...]]
    streams: dict[str, tuple[str, ...]]
    inputs: tuple[Member, ...]
    draws: tuple[Member, ...]
    networks: tuple[Member, ...]
    values: tuple[Member, ...]
    losses: tuple[Member, ...]
    averages: tuple[Member, ...]
    players: tuple[Member, ...]
    schedule: tuple[Move, ...]
    families: Families
    player_families: Families
    batch: Length
    places: dict[str, Place]

    def __str__(self) -> str:
        lines = [f"{self.spec.name}" + (f", stage {self.stage}" if self.stage else "")]
        lines.append("sizes: " + ", ".join(f"{k}={v}" for k, v in self.sizes.items()))
        lines.append("constants: " + ", ".join(f"{k}={v}" for k, v in self.constants.items()))
        for title in ("inputs", "draws", "networks", "values", "losses", "averages", "players"):
            members: tuple[Member, ...] = getattr(self, title)
            lines.append(f"{title}: " + ", ".join(name for m in members for name in m.names))
        lines += ["schedule:", *(f"  {line}" for move in self.schedule for line in str(move).split("\n"))]
        return "\n".join(lines)


def resolve(
    spec: GraphSpec,
    sizes: dict[str, Any] | None = None,
    constants: dict[str, Any] | None = None,
    tiny: bool = False,
    library: Path | None = None,
    batch_size: int | None = None,
    set_at: Place = CALL,
) -> tuple[Resolved, ...]:
    """A spec -> its stages (one without a name where it has none), with sizes and constants overridden.

    `set_at` is the place of what is wrong with an override.
    """
    over = _overrides(spec, {"sizes": sizes or {}, "constants": constants or {}}, tiny, set_at)
    problems: list[Problem] = []
    if library is not None and not library.is_dir():
        raise SpecError([Problem(Place(str(library)), "library", "no such folder")])
    try:
        words = _words(spec, library)
        stages = list(_stages(spec, over))
    except Fact as fact:
        path = fact.path or "stages"
        raise SpecError([spec.sources.problem(fact.place or spec.place, path, fact)]) from None
    found = []
    for number, (name, keys, staged, bound, kept) in enumerate(stages):
        try:
            same = all(getattr(staged.file, kind) is getattr(spec.file, kind) for kind in KINDS)
            own = words if same else _words(staged, library)
            found.append(_Resolver(staged, name, number, keys, bound, own, kept, batch_size).resolve())
        except SpecError as error:
            problems += error.problems
        except Fact as fact:
            problems.append(staged.sources.problem(fact.place or staged.place, f"stages.{name}", fact))
    if problems:
        raise SpecError(problems)
    return tuple(found)


def _words(spec: GraphSpec, folder: Path | None) -> Library:
    """The library, and what a spec or a stage of it defines. Raises `Fact` with its place."""
    found = Library(spec.sources, folder)
    found.add(spec.file)
    return found


@frozen
class _Over:
    sizes: dict[str, Expr]
    constants: dict[str, Expr]
    tiny: bool


def _overrides(spec: GraphSpec, given: dict[str, dict[str, Any]], tiny: bool, set_at: Place) -> _Over:
    """`tiny`, then what the caller sets; an unknown name is a problem."""
    made: dict[str, dict[str, Expr]] = {"sizes": {}, "constants": {}}
    if tiny:
        made["sizes"] |= spec.file.tiny.sizes
        made["constants"] |= spec.file.tiny.constants
    problems = []
    known = {"sizes": dict(spec.file.sizes), "constants": dict(spec.file.constants)}
    for _, tree in spec.stage_trees:
        for section in ("sizes", "constants"):
            entry = tree.get(section)
            known[section] |= dict.fromkeys(getattr(entry, "entries", {}))
    for section, values in given.items():
        for name, value in values.items():
            try:
                if name not in known[section]:
                    raise Fact(f"'{name}' is not one of the {section}", nearest(name, known[section]))
                made[section][name] = parse(str(value), set_at)
            except Fact as fact:
                problems.append(Problem(set_at, f"{section}.{name}", fact.message, fact.help))
    for section, names in known.items():
        for name in getattr(spec.file.tiny, section):
            if name not in names:
                wrong = Fact(f"'{name}' is not one of the {section}", nearest(name, names))
                problems.append(spec.sources.problem(getattr(name, "place", spec.place), f"tiny.{section}", wrong))
    if problems:
        raise SpecError(problems)
    return _Over(made["sizes"], made["constants"], tiny)


def _stages(spec: GraphSpec, over: _Over) -> Iterator[tuple[str, StageKeys, GraphSpec, dict[str, Any], _Over]]:
    """Every stage: the merged spec, its bound indices, and the overrides that the stage does not set itself."""
    if not spec.stage_trees:
        yield "", StageKeys(), spec, {}, over
        return
    outer = _Resolver(spec, "", 0, StageKeys(), {}, Library(spec.sources), over, None)
    index = outer.indices()
    rules = [Rule.of(key, tree, key.place) for key, tree in spec.stage_trees]
    groups: list[list[Member]] = []
    for number, rule in enumerate(rules):
        free = free_indices(rule, index)
        members, _ = expand_keys([rule], index, lambda expr, bound: outer.index_value(expr, Scope({}, index=bound)))
        previous = free_indices(rules[number - 1], index) if number else []
        if free and free == previous and groups:
            groups.append(members)
            groups[-2:] = [_interleaved(groups[-2], groups[-1])]
        else:
            groups.append(members)
    problems: list[Problem] = []
    for member in (m for group in groups for m in group):
        key = Key(member.name, member.place)
        try:
            keys, staged = stage_spec(spec, key, member.body)
        except RecursionError:
            raise SpecError([spec.sources.problem(member.place, "stages", "nested too deep")]) from None
        except SpecError as error:
            problems += error.problems
            continue
        own = {section: getattr(member.body.get(section), "entries", {}) for section in ("sizes", "constants")}
        kept = _Over(
            {k: v for k, v in over.sizes.items() if k not in own["sizes"]},
            {k: v for k, v in over.constants.items() if k not in own["constants"]},
            over.tiny,
        )
        yield member.name, keys, staged, member.bound, kept
    if problems:
        raise SpecError(problems)


def _interleaved(first: list[Member], second: list[Member]) -> list[Member]:
    """Stage families that follow one another with the same index take turns."""
    width = len(first) // len(second) if second else 1
    return [m for i, late in enumerate(second) for m in (*first[i * width : (i + 1) * width], late)]


class _Resolver(Evaluator):
    """Evaluates what is known without values: sizes, indices, keys."""

    def __init__(
        self,
        spec: GraphSpec,
        stage: str,
        number: int,
        keys: StageKeys,
        bound: dict[str, Any],
        library: Library,
        over: _Over,
        batch_size: int | None,
    ):
        self.spec, self.file, self.stage, self.number, self.keys, self.bound = (
            spec,
            spec.file,
            stage,
            number,
            keys,
            bound,
        )
        self.library, self.over, self.batch_size = library, over, batch_size
        self.problems: list[Problem] = []
        self.places: dict[str, Place] = {}
        self.symbols: set[str] = set()
        merged = {**self.file.sizes, **{k: v for k, v in over.sizes.items() if k in self.file.sizes}}
        self.sizes = {name: Thunk(lambda e=expr, n=name: self._size(n, e)) for name, expr in merged.items()}

    # --- the evaluator's hooks

    def spec_name(self, name: str, scope: Scope, at: Place) -> Any:
        if name in self.sizes:
            return self.force(self.sizes[name], name)
        return MISSING

    def callable_word(self, name: str, scope: Scope) -> Any:
        return MISSING

    def known_names(self, scope: Scope) -> list[str]:
        return [*self.sizes, *ops.SCALAR_FUNCTIONS]

    def index_symbols(self) -> set[str]:
        return self.symbols

    # --- parts

    def _size(self, name: str, expr: Expr) -> Any:
        value = self.value(expr, Scope({}, index=self.bound))
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, str | bool) or value is None:
            return value
        if not isinstance(value, int) or not -TOP < value < TOP:
            if isinstance(value, int):
                raise Fact(f"the size {name} is {value}, and {TOP:,} is too large for one").at(expr.at)
            help = "a number with a fraction is a constant"
            raise Fact(f"the size {name} is {value}, not an integer", help).at(expr.at)
        return value

    def problem(self, fact: Fact, path: str, place: Place | None = None) -> None:
        place = fact.place or place or self.spec.place
        self.problems.append(self.spec.sources.problem(place, path, fact, fact.trail))

    def indices(self) -> dict[str, tuple[Any, ...]]:
        found: dict[str, tuple[Any, ...]] = {}
        for name, expr in self.file.index.items():
            try:
                found[name] = self._members(name, expr) if name not in self.bound else (self.bound[name],)
            except Fact as fact:
                self.problem(fact, f"index.{name}", getattr(name, "place", None))
                found[name] = ()
            self.symbols |= {v for v in found[name] if isinstance(v, str)}
        return found

    def _members(self, name: str, expr: Expr) -> tuple[Any, ...]:
        if isinstance(expr, List) and all(isinstance(i, Name | Number) for i in expr.items):
            values: Any = tuple(
                i.id if isinstance(i, Name) and i.id not in self.sizes else self.value(i, Scope({}, index=self.bound))
                for i in expr.items
            )
        else:
            values = self.value(expr, Scope({}, index=self.bound))
        if not isinstance(values, tuple) or not all(
            isinstance(v, int | str) and not isinstance(v, bool) for v in values
        ):
            raise Fact(f"the index {name} must be a list of numbers or names, or a range").at(expr.at)
        if len(set(values)) != len(values):
            raise Fact(f"the index {name} names a member twice").at(expr.at)
        if len(values) > 100_000:
            raise Fact(f"the index {name} has {len(values)} members, and 100000 are the most").at(expr.at)
        return values

    def resolve(self) -> Resolved:
        sizes: dict[str, Any] = {}
        for name in self.sizes:
            try:
                sizes[name] = self.force(self.sizes[name], name)
            except Fact as fact:
                self.problem(fact, f"sizes.{name}", getattr(name, "place", None))
                self.sizes[name].value = sizes[name] = 1
        index = self.indices()
        self.index = index
        families: Families = {}
        sections: dict[str, tuple[Member, ...]] = {}
        streams: dict[str, tuple[str, ...]] = {}
        input_rules: list[tuple[str, Rule]] = []
        for key, entry in self.file.inputs.items():
            if isinstance(entry, dict):
                input_rules += [(str(key), rule) for rule in self._rules(entry, "inputs")]
            else:
                input_rules += [("data", rule) for rule in self._rules({key: entry}, "inputs")]
        members, found = self._expand("inputs", [rule for _, rule in input_rules])
        of = {id(rule.body): stream for stream, rule in input_rules}
        for member in members:
            stream = of[id(member.body)]
            streams[stream] = (*streams.get(stream, ()), *member.names)
        sections["inputs"] = members
        families |= found
        for section in ("draws", "networks", "graph", "losses", "averages"):
            members, found = self._expand(section, self._rules(getattr(self.file, section), section))
            sections[section] = members
            for family in found:
                if family in families:
                    self._twice(family, next(iter(found[family].values())), members)
            families |= found
        self._declare(sections)
        players, player_families = self._expand("players", self._rules(self.file.players, "players"))
        schedule = self._schedule(self.file.schedule, {}, "schedule")
        self._phases_once(schedule)
        if not schedule and self.file.players:
            idle = Fact("the schedule has no phases: nothing is trained", "PLAYER: what it minimizes")
            self.problem(idle.at(self.spec.tree.key_place("schedule")), "schedule")
        train = (self.over.tiny and self.spec.file.tiny.train.batch) or None
        expr = train or self.file.train.batch
        size = self.batch_size
        if size is not None and not (isinstance(size, int) and size >= 1):
            self.problem(Fact(f"the batch is a whole number of at least 1, not {size}"), "train.batch")
            size = 1
        if size is None:
            try:
                size = (
                    ops.integer(self.value(expr, Scope({}, index=self.bound)), "the batch", 1)
                    if expr is not None
                    else 16
                )
            except Fact as fact:
                self.problem(fact, "train.batch", expr.at if expr else None)
                size = 16
        if self.problems:
            raise SpecError(self.problems)
        return Resolved(
            self.spec, self.stage, self.number, self.keys, self.bound, self.library, sizes,
            {**self.file.constants, **{k: v for k, v in self.over.constants.items() if k in self.file.constants}},
            index, streams, sections["inputs"], sections["draws"], sections["networks"], sections["graph"],
            sections["losses"],
            sections["averages"], players, schedule, families, player_families, batch(size), self.places,
        )  # fmt: skip

    def _rules(self, entries: dict[str, Any], section: str) -> list[Rule]:
        made = []
        for key, body in entries.items():
            try:
                made.append(Rule.of(key, body))
            except Fact as fact:
                self.problem(fact, section)
        return made

    def _expand(
        self,
        section: str,
        rules: list[Rule],
        index: dict[str, tuple[Any, ...]] | None = None,
        outer: dict[str, Any] | None = None,
    ) -> tuple[tuple[Member, ...], Families]:
        """Members of a section's keys; of moves with the indices that are free there, and those bound further out."""

        def at(expr: Expr, bound: dict[str, Any]) -> Any:
            return self.index_value(expr, Scope({}, index=self.bound | (outer or {}) | bound))

        try:
            members, families = expand_keys(rules, self.index if index is None else index, at)
            return tuple(members), families
        except Fact as fact:
            self.problem(fact, section)
            return (), {}

    def _declare(self, sections: dict[str, tuple[Member, ...]]) -> None:
        """One namespace: a name that is declared twice, or that is a word of the core, is an error."""
        core = {
            *(ops.OPERATORS.keys() - ops.SIGNS.keys()),
            *ops.SPECIAL,
            *ops.SCALAR_FUNCTIONS,
            *ops.VIEWS,
            *LAYERS,
            *WRAPPERS,
            *ops.INPUT_TYPES,
            *ops.DRAW_TYPES,
        }
        core |= {*ops.CLOCKS, "N", "pi"}
        seen: dict[str, tuple[str, Place]] = {}
        own = {"sizes": self.file.sizes, "constants": self.file.constants, "state": self.file.state}
        entries = [
            (section, str(name), getattr(name, "place", self.spec.place))
            for section, group in own.items()
            for name in group
        ]
        for section, members in sections.items():
            entries += [(section, name, m.place) for m in members for name in m.names]
        heads: dict[str, str] = {}
        for section, name, place in entries:
            self.places[name] = place
            head = family_of(name)
            if name in seen and name != "_":
                first, line = seen[name]
                help = f"it is one of the {first} too, in {line.seen_from(place)}"
                self.problem(Fact(f"{name} is declared twice", help).at(place), section)
                continue
            seen[name] = (section, place)
            if head in core and head not in heads:
                self.problem(
                    Fact(f"{head} is a word of the core and cannot be declared", "choose another name").at(place),
                    section,
                )
            if section in ("networks", "averages") and head in MODULE_DICT:
                fact = Fact(f"a network cannot be called {head}, a word of torch.nn.ModuleDict", "choose another name")
                self.problem(fact.at(place), section)
            if section == "state" and "[" in name:
                self.problem(Fact("state has no families", "give each number or tensor its name").at(place), section)
            if iskeyword(head):
                help = f"call it {head}_"
                self.problem(Fact(f"{head} is a Python keyword and cannot be a name", help).at(place), section)
            elif not head.isidentifier():
                self.problem(Fact(f"{head} is not a name", "a name has letters, digits and _").at(place), section)
            heads[head] = section
        for section, group in {"sample": self.file.sample, "metrics": self.file.metrics}.items():
            for name in group:
                if not name.isidentifier():
                    fact = Fact(f"{name} is not a name", "a name has letters, digits and _")
                    self.problem(fact.at(name.place), section)
        for name in self.index:
            if name in heads:
                place = getattr(name, "place", self.spec.place)
                self.problem(Fact(f"the index {name} is called like one of the {heads[name]}").at(place), "index")

    def _twice(self, family: str, text: str, members: tuple[Member, ...]) -> None:
        place = next((m.place for m in members if text in m.names), self.spec.place)
        self.problem(Fact(f"the family {family} is declared in two sections").at(place), "")

    # --- the schedule

    def _schedule(self, entries: dict[str, Any], bound: dict[str, Any], path: str) -> tuple[Move, ...]:
        moves: list[Move] = []
        index = {k: v for k, v in self.index.items() if k not in bound}
        for rule in self._rules(entries, path):
            if len(rule.patterns) != 1:
                self.problem(Fact(f"{rule.key} names several phases").at(rule.place), path)
                continue
            members, _ = self._expand(path, [rule], index, bound)
            for member in members:
                moves += self._move(member.name, rule, bound | member.bound, path)
        return tuple(moves)

    def _move(self, name: str, rule: Rule, bound: dict[str, Any], path: str) -> list[Move]:
        body, place = rule.body, rule.place
        path = f"{path}.{name}"
        if isinstance(body, Expr):
            return [Move("phase", name, place, bound, minimize=body)]
        assert isinstance(body, MoveSpec)
        kinds = [k for k in ("minimize", "moves", "together", "update", "reset") if getattr(body, k) is not None]
        if len(kinds) != 1:
            fact = Fact(
                "a move is one of minimize, moves, together, update, reset"
                + (f", not {' and '.join(kinds)}" if kinds else "")
            )
            self.problem(fact.at(place), path)
            return []
        (kind,) = kinds
        for key in ("player", "networks", "accumulate"):
            said = getattr(body, key)
            if kind != "minimize" and said is not None:
                at = said[0].at if key == "networks" else said.at
                self.problem(Fact(f"'{key}' belongs to a phase, which has 'minimize'").at(at), path)
        common: dict[str, Any] = {"when": body.when, "repeat": body.repeat, "fresh": body.batch == "fresh"}
        if kind == "minimize":
            networks = tuple(body.networks) if body.networks is not None else None
            common["accumulate"] = body.accumulate
            return [Move("phase", name, place, bound, body.player, body.minimize, networks, **common)]
        if kind in ("moves", "together") and not getattr(body, kind):
            self.problem(Fact(f"{kind} has nothing in it", "leave the move out").at(place), path)
        if kind == "moves":
            return [Move("sequence", name, place, bound, moves=self._schedule(body.moves or {}, bound, path), **common)]
        if kind == "together":
            moves = self._schedule(body.together or {}, bound, path)
            for move in moves:
                if move.kind != "phase":
                    self.problem(Fact("a group has phases, and nothing else").at(move.place), path)
                if move.fresh or move.repeat is not None or move.accumulate is not None:
                    fact = Fact("repeat, batch and accumulate belong to the group, not to a member")
                    self.problem(fact.at(move.place), path)
            return [Move("group", name, place, bound, moves=moves, **common)]
        names = tuple((body.update if kind == "update" else body.reset) or ())
        if not names:
            self.problem(Fact(f"{kind} names nothing", "leave the move out").at(place), path)
        return [Move(kind, name, place, bound, names=names, **common)]

    def _phases_once(self, moves: tuple[Move, ...]) -> None:
        seen: dict[str, Place] = {}
        stack = list(moves)
        while stack:
            move = stack.pop(0)
            if move.name in seen:
                there = seen[move.name].seen_from(move.place)
                fact = Fact(f"two moves are called {move.name}", f"the other is in {there}")
                self.problem(fact.at(move.place), "schedule")
            seen[move.name] = move.place
            stack = [*move.moves, *stack]


def moves_in(moves: Iterable[Move]) -> Iterator[Move]:
    """The moves of a schedule, each before those inside it."""
    for move in moves:
        yield move
        yield from moves_in(move.moves)


def member_of(expr: Expr, bound: dict[str, Any], evaluator: Evaluator) -> str:
    """The text of a name or of a family's member: `D[d]` -> `D[0]`."""
    if isinstance(expr, Name):
        return expr.id
    if isinstance(expr, Index) and isinstance(expr.value, Name):
        return member_name(expr.value.id, tuple(evaluator.index_value(i, Scope({}, index=bound)) for i in expr.items))
    raise Fact(f"{expr} is not a name").at(expr.at)
