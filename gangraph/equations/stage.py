"""One stage of a spec -> its sections: objectives, losses, and then whatever these turned out to read."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from gangraph.check.case import minimized
from gangraph.equations.facts import SIDES, Facts, NotGeneric, Rule
from gangraph.equations.games import is_game
from gangraph.equations.pieces import (
    DOTS,
    EQUAL,
    Equation,
    Note,
    Piece,
    Section,
    below,
    form,
    fraction,
    listed,
    note,
    plain,
    product,
    together,
)
from gangraph.equations.settle import settled, unfolded
from gangraph.equations.symbols import (
    index_set,
    lettered,
    member_of,
    number,
    operator,
    spelled,
    symbol,
    upright,
    words,
)
from gangraph.equations.trees import bindings, called, has_word, split
from gangraph.equations.write import NOTES, Writer
from gangraph.expressions import (
    Binary,
    Call,
    Expr,
    IfElse,
    Index,
    Logic,
    Name,
    Negative,
    Number,
    names,
    parse,
    simple,
    substitute,
    within,
)
from gangraph.families import Member, family_of, indices_of
from gangraph.graph import Graph, Phase
from gangraph.ir import Node, leaves, walk
from gangraph.resolve import Move
from gangraph.routing import Reach
from gangraph.rules import player_rules
from gangraph.spec import Chain, Line, TwoSides

Terms = tuple[tuple[str, Piece], ...]
BEGINNING = Piece(r"\text{the start}", "the start")
END = Piece(r"\text{the end of an iteration}", "the end of an iteration")
BECOMES, EACH = Piece(r"\gets", "←"), Piece(r"\text{each step}", "each step")
PLAYERS = (("generator", r"\min"), ("discriminator", r"\max"))  # of a game's value


class Stage:
    """The sections of one stage."""

    def __init__(self, graph: Graph):
        self.graph, self.facts = graph, Facts(graph)
        self.writer = Writer(self.facts)
        self.reach, self.straight = Reach(graph), Reach(graph, stops=frozenset({"reverse"}))
        self.moves = {move.name: move for move in _moves(self.facts.resolved.schedule)}
        self.maps: dict[str, None] = {}  # shapes of scores

    def sections(self) -> tuple[Section, ...]:
        found = self._sections()
        known = {**self.writer.symbols, **{n: self.writer.symbol(n) for n in self.writer.values}}
        taken = {name for name, piece in known.items() if piece.text == "σ"}
        if not taken or "sigma" not in self.writer.notes:
            return found
        again = Stage(self.graph)  # the sigmoid is what no name may look like beside it
        again.facts.plain |= taken
        return again._sections()

    def _sections(self) -> tuple[Section, ...]:
        found = [self._objective(phase) for phase in self.graph.phases()]
        found += [self._loss(rule) for rule in self.facts.losses if self._read(rule)]
        found.append(Section("state", (*self._states(), *self._averages()), kind="state"))
        found.append(Section("where", self._values(), kind="where"))
        found.append(Section("functions", self._functions(), kind="functions"))
        found.append(Section("with", self._table(), kind="with"))
        found.append(Section("notes", (), tuple(self._notes()), kind="notes"))
        return tuple(section for section in found if section.equations or section.notes)

    @cached_property
    def _names_read(self) -> set[str]:
        """The losses and sides that objectives, conditions and states read: not those of weight 0."""
        roots: list[Any] = [
            value for phase in self.graph.phases() for value in (phase.objective, phase.when, phase.repeat)
        ]
        roots += [value for step in self.graph.steps() for value in (step.when, step.repeat)]
        roots += [value for state in self.graph.state.values() for value in (state.becomes, *state.within.values())]
        nodes = walk([root for root in roots if isinstance(root, Node)])
        return {node.name or "" for node in nodes if node.op in ("loss", "latest")}

    def _read(self, rule: Rule) -> bool:
        """Whether something reads a member of a rule, or one of its sides."""
        names = [name for member in rule.members for name in (member.name, *(f"{member.name}.{s}" for s in SIDES))]
        return not self._names_read.isdisjoint(names)

    def _terms(self, expr: Expr, dropping: bool = True) -> Terms:
        return self.writer.terms(settled(expr, self.facts.number, dropping))

    # --- objectives

    def _objective(self, phase: Phase) -> Section:
        move, at = self.moves[phase.name], phase.place
        bound = bindings(move.bound, at)
        terms = []
        for term in phase.terms:
            weight = substitute(parse(term.weight.removeprefix("-"), at), bound)
            piece = self.writer.piece(unfolded(substitute(parse(term.loss, at), bound), self.facts))
            if weight != Number(at, 1):
                piece = product(self.writer.piece(weight), piece)
            terms.append(("-" if term.weight.startswith("-") else "+", piece))
        player = self.writer.symbol(family_of(phase.name), map(spelled, indices_of(phase.name)))
        value = form(r"\mathcal{J}_{%s}", "J_%s", player)
        left = form("%s %s", "%s %s", _over(r"\min", self.letters(phase.networks)), value)
        when = self.writer.piece(move.when) if move.when is not None else None
        formula = Equation(left, tuple(terms), condition=when, word="when")
        times, counted = self._times(move)
        title = phase.name if phase.player == phase.name else f"{phase.name} (a move of {phase.player})"
        if phase.accumulate not in (None, 1) and move.accumulate is not None:
            times += f", the mean gradient of {plain(self.writer.piece(move.accumulate).text)} evaluations"
        return Section(title + times, (formula, *counted, *self._rules(phase, value)), kind="objective")

    def _times(self, move: Move) -> tuple[str, tuple[Equation, ...]]:
        """How often a phase steps, for its title; a choice between numbers has a letter there, and an equation."""
        if move.repeat is None:
            return "", ()
        count = self.writer.piece(move.repeat)
        if not any(isinstance(e, IfElse) for e in within(move.repeat)):
            return f", {plain(count.text)} times an iteration", ()
        letter = self.writer.symbol(next(c for c in "TKMR_" if c not in self.facts.taken))
        return f", {letter.text} times an iteration", (Equation(letter, (("+", count),)),)

    def _rules(self, phase: Phase, value: Piece) -> Iterator[Equation]:
        """What is done to gradients and parameters at a step of a phase; of optimizers those of a part."""
        member = next(m for m in self.facts.resolved.players if m.name == phase.player)
        bound = bindings(member.bound, member.place)
        for key, written in player_rules(member.body):
            kind, _, part = key.partition(".")
            expr, whose = substitute(written, bound), self._stepped(phase, part)
            if not whose:
                continue
            theta = Piece(r"\theta", "θ") + below(self.letters(whose))
            if kind == "optimizer":
                yield Equation(theta, (("+", self.writer.piece(expr)),), BECOMES, EACH, "at")
            elif kind == "gradient" and isinstance(expr, Call):
                yield self._clipped(expr, form("%s %s", "%s %s", Piece(r"\nabla", "∇") + below(theta), value))
            else:
                yield Equation(theta, (("+", self.writer.with_("p", theta).piece(expr)),), BECOMES, EACH, kind)

    def _stepped(self, phase: Phase, part: str) -> list[str]:
        """The networks that a rule for a part means, of those that a phase steps; for no part, all."""
        if not part:
            return list(phase.networks)
        members = list(self.facts.families.get(part, {}).values()) or [part.partition(".")[0]]
        inside = {name for network in phase.networks for name in self.graph.contained(network)}
        return [name for name in members if name in inside]

    def _clipped(self, rule: Call, gradient: Piece) -> Equation:
        """`clip_norm(b)` or `clip_value(b)` of a gradient."""
        bound = self.writer.piece(rule.arguments[0])
        if called(rule, "clip_norm"):
            norm = form(r"\lVert %s \rVert_{2}", "‖%s‖₂", gradient)
            least = form(r"\min\left(1,\ %s\right)", "min(1, %s)", fraction(bound, norm))
            right = form(r"%s\,%s", "%s %s", least, gradient)
        else:
            right = operator("clip", gradient, form("-%s", "−%s", bound), bound)
        return Equation(gradient, (("+", right),), BECOMES, EACH, "before")

    def _states(self) -> Iterator[Equation]:
        """Where each state starts, and what it becomes: at the end of an iteration, or after steps of some phases."""
        for name, state in self.facts.resolved.spec.file.state.items():
            left = self.writer.piece(Name(state.start.at, str(name)))
            yield Equation(left, self._terms(state.start, dropping=False), condition=BEGINNING, word="at")
            phases: dict[Terms, list[str]] = {}
            for phase, expr in state.rules.items():
                phases.setdefault(self._terms(unfolded(expr, self.facts)), []).append(phase)
            for terms, named in phases.items():
                after = upright(" and ".join(named)) if any(named) else END
                yield Equation(left, terms, BECOMES, after, "after" if any(named) else "at")

    def _averages(self) -> Iterator[Equation]:
        """How averages follow their networks, of those that objectives call."""
        called = {n.fields["network"] for n in walk([p.objective for p in self.graph.phases()]) if n.op == "call"}
        at_end = self.graph.at_end()[1]
        for member in self.facts.resolved.averages:
            if member.name not in called or not isinstance(member.body, Call):
                continue
            decay = substitute(dict(member.body.keywords)["decay"], bindings(member.bound, member.place))
            one = Number(decay.at, 1)
            rest = (
                Number(one.at, round(1 - decay.value, 12))
                if isinstance(decay, Number)
                else Binary(one.at, "-", one, decay)
            )
            names = member.name, self.graph.averages[member.name].source
            theta, source = (Piece(r"\theta", "θ") + below(self.letters([name])) for name in names)
            terms = (("+", product(self.writer.piece(decay), theta)), ("+", product(self.writer.piece(rest), source)))
            moves = [s.name for s in self.graph.steps() if s.kind == "update" and member.name in s.names]
            when = (END, "at") if member.name in at_end else (upright(" and ".join(moves)), "in")
            yield Equation(theta, terms, BECOMES, *when)

    def letters(self, networks: Iterable[str]) -> Piece:
        """Networks as letters; of a long family the first and the last."""
        families: dict[str, list[Piece]] = {}
        for name in networks:
            family = family_of(name)
            families.setdefault(family, []).append(self.writer.symbol(family, map(spelled, indices_of(name))))
        shown = [s if len(s) < 4 else [s[0], DOTS, s[-1]] for s in families.values()]
        return listed([piece for pieces in shown for piece in pieces], r",\,")

    # --- losses

    def _loss(self, rule: Rule) -> Section:
        """A loss's definition: once for a whole rule where its members differ by their index only."""
        title = rule.patterns[0].family if rule.variables else rule.first.name
        if rule.variables and len(rule.members) > 1:
            before, self.writer = self.writer, self.writer.copy()
            try:
                return Section(title, tuple(self._define(rule, rule.first, {}, self._condition(rule))))
            except NotGeneric:
                self.writer = before  # what the try read is forgotten
        made = [equation for m in rule.members for equation in self._define(rule, m, rule.bindings(m), None)]
        return Section(title, tuple(made))

    def _define(self, rule: Rule, member: Member, bound: dict[str, Expr], condition: Piece | None) -> list[Equation]:
        pattern, body = member.patterns[0], member.body
        name: Expr = Name(member.place, pattern.family)
        if pattern.items:
            name = substitute(Index(member.place, name, pattern.items), bound)
        if member.name not in self.graph.sided:
            whole = unfolded(substitute(body, bound), self.facts)
            return [Equation(self.writer.loss(name), self._terms(whole), condition=condition)]
        for each in rule.members:
            self._note_maps(each)
        sides = {}
        for side in SIDES:
            whole = getattr(body, side) if isinstance(body, TwoSides) else body
            sides[side] = unfolded(substitute(whole, bound), self.facts, side)
        lefts = {side: self.writer.loss(name, side) for side in SIDES}
        if isinstance(body, TwoSides) or not is_game(self.facts, body):
            return [Equation(lefts[side], self._terms(sides[side]), condition=condition) for side in SIDES]
        if condition is not None:
            raise NotGeneric
        # one value, which one player lowers and the other raises
        indices = map(self.writer.index, name.items) if isinstance(name, Index) else ()
        value = lettered(Piece("V", "V"), words(pattern.family), indices)
        players = self._players(member.name)
        least, most = (_over(sign, players[side]) for side, sign in PLAYERS)
        return [
            Equation(
                form("%s %s %s", "%s %s %s", least, most, value),
                self._terms(Negative(member.place, sides["discriminator"])),
            ),
            Equation(lefts["discriminator"], (("-", value),)),
            Equation(lefts["generator"], self._terms(sides["generator"])),
        ]

    @cached_property
    def signs(self) -> dict[str, dict[Node, int]]:
        """Phase -> the losses and sides that it minimizes, with the sign in front of each."""
        return {phase.name: dict(minimized(phase.objective)) for phase in self.graph.phases()}

    def _players(self, loss: str) -> dict[str, Piece]:
        """Networks that some phase trains by a side of a loss, and that its gradient reaches: by the side that they are
        on. Who minimizes a side's negative, or is reached through a `reverse`, is on the other.
        """
        found: dict[str, dict[str, None]] = {side: {} for side in SIDES}
        for side, other in (SIDES, tuple(SIDES)[::-1]):
            root = self.graph.losses[f"{loss}.{side}"]
            straight, turned = self._reached(root)
            for phase in self.graph.phases():
                signs = self.signs[phase.name]
                own, opposite = (side, other) if signs.get(root, 1) > 0 else (other, side)
                for network in phase.networks if root in signs else ():
                    parameters = self.graph.parameters([network])
                    if not straight.isdisjoint(parameters):
                        found[own][network] = None
                    elif not turned.isdisjoint(parameters):
                        found[opposite][network] = None
        return {side: self.letters(names) if names else Piece(r"\theta", "θ") for side, names in found.items()}

    def _reached(self, root: Node) -> tuple[frozenset[str], frozenset[str]]:
        """The parameters that a gradient reaches: as it is, and turned round, which a `reverse` in the graph does."""
        found: dict[int, frozenset[str]] = {1: frozenset(), -1: frozenset()}
        reversals = {id(node): node for node in walk([root]) if node.op == "reverse"}
        stack, seen = [(root, 1)], set()
        while stack:
            node, sign = stack.pop()
            parameters, leaves = self.straight.walk([node], "")
            found[sign] |= parameters
            for value, strength in (reversals[key].args for key in leaves & reversals.keys()):
                turned = sign if isinstance(strength.value, int | float) and strength.value < 0 else -sign
                if (id(value), turned) not in seen:
                    seen.add((id(value), turned))
                    stack.append((value, turned))
        every = self.reach.parameters([root])
        return found[1] | (every - found[-1]), found[-1]

    def _note_maps(self, member: Member) -> None:
        """Discriminators whose score is a map of patches."""
        for score in self.graph.sided[member.name].arguments.values():
            for node in leaves(score):
                if node.type.size > 1:
                    self.maps[" × ".join(map(str, node.type.shape))] = None

    def _condition(self, rule: Rule) -> Piece:
        """`d ∈ {0, 1}` for every index of a rule; a range that is written with sizes stays so."""
        made = []
        for variable in rule.variables:
            values = list(dict.fromkeys(member.bound[variable] for member in rule.members))
            written = self.facts.resolved.spec.file.index.get(variable)
            whole = tuple(values) == self.facts.resolved.index.get(variable)
            if whole and isinstance(written, Expr) and called(written, "range") and len(list(names(written))) > 1:
                made.append(self._range(variable, written))
            else:
                made.append(index_set(variable, values))
        return listed(made, r",\ ")

    def _range(self, variable: str, written: Call) -> Piece:
        *low, high = written.arguments
        last = simple(Binary(written.at, "-", high, Number(written.at, 1)))
        return member_of(variable, [self.writer.piece(low[0]) if low else number(0), DOTS, self.writer.piece(last)])

    # --- what they are made of: each may read more of its kind, so each list is written until nothing is missing

    def _values(self) -> tuple[Equation, ...]:
        """Definitions of the values that stand in formulas, and of those that these read, as declared."""
        made: dict[int, list[Equation]] = {}
        while missing := [i for i, rule in enumerate(self.facts.values) if i not in made and self._used(rule)]:
            for i in missing:
                made[i] = self._value(self.facts.values[i])
        return tuple(equation for i in sorted(made) for equation in made[i])

    def _used(self, rule: Rule) -> bool:
        return any(p.family in self.writer.values for p in rule.patterns)

    def _value(self, rule: Rule) -> list[Equation]:
        """A value's definition: once for a whole rule, unless its members are averages over other things."""
        if len(rule.members) > 1:
            before, self.writer = self.writer, self.writer.copy()
            try:
                return [self._defined(rule, rule.first, {}, self._condition(rule))]
            except NotGeneric:
                self.writer = before  # what the try read is forgotten
        return [self._defined(rule, member, rule.bindings(member), None) for member in rule.members]

    def _defined(self, rule: Rule, member: Member, bound: dict[str, Expr], condition: Piece | None) -> Equation:
        left = []
        for pattern in rule.patterns:
            items = [self.writer.index(substitute(i, bound)) for i in pattern.items]
            left.append(self.writer.symbol(pattern.family, items))
        body = member.body
        if isinstance(body, Chain):
            return Equation(together(left), (("+", self._chain(body, bound)),), condition=condition)
        relation = Piece(r"\sim", "∼") if called(body, "replay") else EQUAL
        return Equation(together(left), self._terms(substitute(body, bound), dropping=False), relation, condition)

    def _chain(self, chain: Chain, bound: dict[str, Expr]) -> Piece:
        """A value that runs through layers, as calls inside one another; a loop is left to dots."""
        value = Piece(r"\cdot", "·")
        for i, line in enumerate(_flat(chain.lines)):
            if line is None:
                value = form(r"\cdots(%s)", "…(%s)", value)
                continue
            expr = substitute(line, bound)
            made = self.writer.with_("_", value).piece(expr)
            value = made if i == 0 or has_word(expr, "_") else form("%s(%s)", "%s(%s)", made, value)
        return value

    def _functions(self) -> tuple[Equation, ...]:
        """Functions that have no notation of their own."""
        made: dict[str, Equation] = {}
        while missing := [d for name, d in self.writer.functions.items() if name not in made]:
            for definition in missing:
                parameters = [name for name, _ in definition.parameters]
                inner = dataclasses.replace(self.writer, parameters=frozenset(parameters))
                body = inner.terms(settled(definition.read(), self.facts.number, dropping=False))
                made[definition.name] = Equation(operator(definition.name, *map(symbol, parameters)), body)
        return tuple(made.values())

    def _table(self) -> tuple[Equation, ...]:
        """Symbols of constants and sizes, with their values."""
        made: dict[str, Equation] = {}
        while missing := [name for name in self.writer.symbols if name not in made]:
            for name in missing:
                made[name] = Equation(self.writer.symbols[name], self._valued(name))
        order = [*self.graph.constants, *self.facts.sizes]
        return tuple(made[name] for name in sorted(made, key=order.index))

    def _valued(self, name: str) -> Terms:
        node = self.graph.constants.get(name)
        value = node.value if node is not None else self.facts.sizes[name]
        if value is None:
            return self._terms(self.facts.resolved.constants[name], dropping=False)
        return (("+", number(value) if isinstance(value, int | float) else upright(str(value))),)

    # --- notes

    def _notes(self) -> Iterator[Note]:
        networks = self.graph.networks
        yield from (self.writer.notes[key] for key in NOTES if key in self.writer.notes)
        yield from self._unread()
        if self.maps:
            shapes = _enumerated([Piece(shape.replace("×", r"\times"), shape) for shape in self.maps], "or")
            yield (*note("Where a score has several entries ("), *shapes, "), a loss is the mean over them.")
        derived = [n for n in walk([phase.objective for phase in self.graph.phases()]) if n.op == "grad"]
        if any(node.args[0].type.size > 1 for node in derived):
            yield note("The gradient of a value with several entries is that of their sum.")
        random = [name for name, network in networks.items() if any(m.random for m in network.variants.values())]
        if random:
            yield ("Expectations also run over the noise inside ", *self._enumerated(random), ".")
        yield from self._composed()
        fixed = [name for name, network in networks.items() if network.frozen]
        if fixed:
            yield ("Nobody trains ", *self._enumerated(fixed), ".")

    def _unread(self) -> Iterator[Note]:
        """Losses that no objective reads, and the weights of 0 that leave them out."""
        families = [rule.patterns[0].family for rule in self.facts.losses if not self._read(rule)]
        terms = [term for move in self.moves.values() if move.minimize is not None for _, term in split(move.minimize)]
        for family in families:
            zeros = {n.id: None for t in terms if has_word(t, family) for n in names(t) if self._zero(n.id)}
            loss = self.writer.loss(Name(self.facts.resolved.spec.place, family))
            if zeros:
                left = _enumerated([form("%s = 0", "%s = 0", self.writer.constant(name)) for name in zeros])
                yield (*left, " leaves out " if len(zeros) == 1 else " leave out ", loss, ".")
            else:
                yield ("No objective reads ", loss, ".")

    def _zero(self, name: str) -> bool:
        return name in self.graph.constants and self.graph.constants[name].value == 0

    def _enumerated(self, networks: list[str]) -> Note:
        return _enumerated([self.letters([name]) for name in networks])

    def _composed(self) -> Iterator[Note]:
        """Networks that are trained through others that they are parts of, or that are made of."""
        trained = {name for phase in self.graph.phases() for name in phase.networks}
        contained = {name: self.graph.contained(name) for name in self.graph.networks}
        for name in [n for n in contained if n not in trained]:
            inside = [n for n in contained[name] if n in trained]
            holders = [n for n in contained if n in trained and name in contained[n]]
            if inside or holders:
                what = "a part of" if holders else "composed of"
                yield (self.letters([name]), f" is {what} ", *self._enumerated(holders or inside), ".")


def _over(sign: str, networks: Piece) -> Piece:
    """`min_{G, F}`."""
    return Piece(sign, sign[1:]) + below(networks)


def _enumerated(pieces: list[Piece], last: str = "and") -> Note:
    more = (f"{len(pieces) - 5} more",) if len(pieces) > 6 else ()
    parts: list[str | Piece] = [*(pieces[:5] if more else pieces), *more]
    signs = [", "] * (len(parts) - 2) + [f" {last} "] * (len(parts) > 1)
    return (*itertools.chain(*zip(parts, signs, strict=False)), parts[-1])


def _moves(moves: tuple[Move, ...], when: Expr | None = None, repeat: Expr | None = None) -> Iterator[Move]:
    """The moves of a schedule, each under all conditions, and as many times, as what it stands in tells."""
    for move in moves:
        bound = bindings(move.bound, move.place)
        own = [substitute(e, bound) if e is not None else None for e in (move.when, move.repeat)]
        whens, repeats = ([e for e in pair if e is not None] for pair in zip((when, repeat), own, strict=True))
        made = dataclasses.replace(
            move,
            when=Logic(move.place, "and", tuple(whens)) if len(whens) > 1 else next(iter(whens), None),
            repeat=Binary(move.place, "*", *repeats) if len(repeats) > 1 else next(iter(repeats), None),
        )
        yield made
        yield from _moves(move.moves, made.when, made.repeat)


def _flat(lines: tuple[Line, ...]) -> Iterator[Expr | None]:
    """Items of a chain in order; None stands for a loop."""
    for line in lines:
        if line.loop is not None:
            yield None
        elif line.label is not None:
            yield from _flat(line.body)
        else:
            yield from line.items
