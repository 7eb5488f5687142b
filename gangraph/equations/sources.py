"""Expression -> Sources: what an expectation over it runs over, found by following names to inputs and draws."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from gangraph.equations.facts import Facts, NotGeneric
from gangraph.equations.trees import bindings, called, given
from gangraph.expressions import Call, Expr, Index, List, Name, Slice, mapped, parts, show, substitute, within
from gangraph.frozen import frozen
from gangraph.spec import expressions


@frozen
class Source:
    """An input, a draw or a pool."""

    name: str
    items: tuple[Expr, ...]
    streams: tuple[str, ...] = ()  # of an input: one, or those of all values of its indices
    law: Call | None = None  # of a draw, or of a pool

    @property
    def key(self) -> str:
        """What is drawn together has one key: members of a stream, the entries of one name."""
        return f"streams {self.streams}" if self.streams else f"{self.name} {list(map(show, self.items))}"


def sources(facts: Facts, expr: Expr) -> list[Source]:
    """Every input, draw and pool that an expression is made of, in the order in which it is met."""
    walk = _Walk(facts)
    walk.visit(expr)
    return list(walk.found.values())


class _Walk:
    def __init__(self, facts: Facts):
        self.facts = facts
        self.found: dict[str, Source] = {}
        self.seen: set[str] = set()
        self.steps: Counter[str] = Counter()  # how often a name was followed

    def visit(self, expr: Expr) -> None:
        """Depth first, with a stack of our own: a chain of values may be longer than Python's."""
        stack = [expr]
        while stack:
            stack += reversed(self._behind(stack.pop()))

    def _behind(self, expr: Expr) -> list[Expr]:
        """What an expression is made of; behind a name, what the name stands for."""
        match expr:
            case Name(id=name):
                return self._reach(name, ())
            case Index(value=Name(id=name)) if name in self.facts.families:
                return self._reach(name, expr.items)
            case Call(function=Name(id="expect" | "total")):
                return []  # an expectation inside runs over its own
            case Call(function=Name() | Index() | Call()):
                return list(given(expr))
            case _:
                return list(parts(expr))

    def _reach(self, name: str, items: tuple[Expr, ...]) -> list[Expr]:
        if any(isinstance(item, Slice) for item in items):
            items = ()  # a slice is of the list of members
        key = f"{name}[{', '.join(map(show, items))}]"
        if key in self.seen:
            return []
        self.seen.add(key)
        self.steps[name] += 1
        if self.steps[name] > 2 * len(self.facts.families.get(name, (name,))) + 2:
            return []  # x[k] made of x[k + 1] has been followed past its end
        behind: list[Expr] = []
        if name in self.facts.inputs or name in self.facts.draws:
            self.found[key] = self._source(name, items)
        elif name in self.facts.rules:
            for body, bound in self._declared(name, items):
                if called(body, "replay"):
                    pool = substitute(body, bound)
                    assert isinstance(pool, Call)
                    self.found[key] = Source(name, items, law=pool)
                else:
                    behind += [substitute(expr, bound) for expr in expressions(body)]
        return behind

    def _declared(self, name: str, items: tuple[Expr, ...]) -> list[tuple[Any, dict[str, Expr]]]:
        """Bodies of a value: of all members where no indices are given, else of the member or of its rule."""
        rules = self.facts.rules[name]
        every = [(member, rule.bindings(member)) for rule in rules for member in rule.members]
        if name in self.facts.families and not items:
            return [(member.body, bound) for member, bound in every]
        known = self.facts.member(name, items)
        for member, bound in every:
            if known in member.names:
                return [(_part(member.body, member.names.index(known), len(member.names)), bound)]
        if len(rules) != 1:
            raise NotGeneric
        return [(rules[0].first.body, rules[0].matched(name, items))]

    def _source(self, name: str, items: tuple[Expr, ...]) -> Source:
        if name in self.facts.draws:
            known = self.facts.member(name, items) if items else None
            example = known or next(iter(self.facts.families.get(name, {None: name}).values()))
            drawn = next(m for m in self.facts.resolved.draws if example in m.names)
            assert isinstance(drawn.body, Call)
            law = substitute(drawn.body, bindings(drawn.bound, drawn.place)) if known else drawn.body
            assert isinstance(law, Call)
            return Source(name, items, law=law)
        found = self._streams(name, items)
        alike = set(found.values())
        return Source(name, items, tuple(alike if len(alike) == 1 else (f"{k}: {v}" for k, v in found.items())))

    def _streams(self, name: str, items: tuple[Expr, ...]) -> dict[str, str]:
        """The stream of an input, for all values of the variables in its indices; of a whole family those of all."""
        inputs, index = self.facts.graph.inputs, self.facts.resolved.index
        if not items:
            members = self.facts.families.get(name, {None: name}).values()
            return {m: str(inputs[m].fields["stream"]) for m in members}
        free = sorted({e.id for item in items for e in within(item) if isinstance(e, Name) and e.id in index})
        found = {}
        for values in itertools.product(*(index[variable] for variable in free)):
            bound = bindings(dict(zip(free, values, strict=True)), items[0].at)
            member = self.facts.member(name, tuple(substitute(item, bound) for item in items))
            if member in inputs:
                found[f"{free} {values}"] = str(inputs[member].fields["stream"])
        return found


def _part(body: Any, place: int, count: int) -> Any:
    """A batch that is split into as many parts as were joined for it: each part is made of its own entries."""

    def change(expr: Expr) -> Expr:
        if (
            called(expr, "batch_concat")
            and isinstance(joined := expr.arguments[0], List)
            and len(joined.items) == count
        ):
            return change(joined.items[place])
        return mapped(expr, change)

    return change(body) if count > 1 and called(body, "batch_split") else body
