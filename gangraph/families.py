"""Keys with indices -> members: `h[k]: block[k](h[k - 1])` declares one value for each k.

A member that is written out wins over a rule, and of two rules the one with fewer free indices; equal is an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import field
from keyword import iskeyword
from typing import Any

from gangraph.errors import Fact, Place
from gangraph.expressions import Expr, Index, Name, names, parse_line
from gangraph.frozen import frozen

MOST = 100_000

SIDES = ("discriminator", "generator")


def side_of(name: str) -> str:
    return next((s for s in SIDES if name.endswith(f".{s}")), "")


def family_of(name: str) -> str:
    return name.partition("[")[0]


def indices_of(name: str) -> list[str]:
    """`D[0, fine]` -> ["0", "fine"]."""
    _, _, inner = name.partition("[")
    return [part.strip() for part in inner.rstrip("]").split(",")] if inner else []


def whole_loss(name: str) -> str:
    """The name of a loss without its side."""
    return name.removesuffix(f".{side_of(name)}") if side_of(name) else name


@frozen
class Pattern:
    """One name of a key: `fake`, or a family with the expressions of its indices."""

    family: str
    items: tuple[Expr, ...] = ()


@frozen
class Rule:
    """A key, read: its names and what stands behind it."""

    patterns: tuple[Pattern, ...]
    body: Any
    place: Place
    key: str

    @staticmethod
    def of(key: str, body: Any, place: Place | None = None) -> Rule:
        place = place or getattr(key, "place", None) or Place()
        try:
            found = tuple(_pattern(item) for item in parse_line(str(key), place))
        except Fact as fact:
            raise fact.at(place) from None
        return Rule(found, body, place, str(key))


def _pattern(expr: Expr) -> Pattern:
    if isinstance(expr, Name):
        return Pattern(_name(expr))
    if isinstance(expr, Index) and isinstance(expr.value, Name):
        return Pattern(_name(expr.value), expr.items)
    raise Fact(f"{expr} is not a name", "a key is NAME, NAME[index] or several of these, with commas").at(expr.at)


def _name(expr: Name) -> str:
    if iskeyword(expr.id):
        raise Fact(f"{expr.id} is a Python keyword and cannot be a name", f"call it {expr.id}_").at(expr.at)
    return expr.id


@frozen
class Member:
    """A declared thing with its indices bound: `names` has the text of each, like `mu[0]`."""

    names: tuple[str, ...]
    body: Any
    bound: dict[str, Any] = field(default_factory=dict)
    place: Place = field(default_factory=Place)
    patterns: tuple[Pattern, ...] = ()

    @property
    def name(self) -> str:
        return self.names[0]


Families = dict[str, dict[tuple[Any, ...], str]]


def expand_keys(
    rules: Iterable[Rule], index: dict[str, tuple[Any, ...]], evaluate: Callable[[Expr, dict[str, Any]], Any]
) -> tuple[list[Member], Families]:
    """Every member in the order of the keys, then of the indices; and the families by name."""
    taken: dict[str, tuple[int, int, Place]] = {}
    made: list[tuple[int, Member]] = []
    families: Families = {}
    for rule in rules:
        free = free_indices(rule, index) if any(p.items for p in rule.patterns) else []
        count = 1
        for name in free:
            count *= len(index[name])
        if count + len(made) > MOST:
            raise Fact(f"{rule.key} makes {count} members, and {MOST} are the most").at(rule.place)
        for values in itertools.product(*(index[name] for name in free)):
            bound = dict(zip(free, values, strict=True))
            keys = [(p.family, tuple(evaluate(i, bound) for i in p.items)) for p in rule.patterns]
            texts = tuple(member_name(family, indices) for family, indices in keys)
            if len(set(texts)) != len(texts):
                raise Fact(f"{rule.key} declares {texts[0]} twice").at(rule.place)
            if taken.keys().isdisjoint(texts) or _contest(texts, len(free), taken, rule):
                for family, indices in keys:
                    if indices:
                        families.setdefault(family, {})[indices] = member_name(family, indices)
                made.append((len(free), Member(texts, rule.body, bound, rule.place, rule.patterns)))
                for text in texts:
                    taken[text] = (len(free), len(made) - 1, rule.place)
    members = [m for i, (_, m) in enumerate(made) if any(taken[text][1] == i for text in m.names)]
    plain = {m.name for m in members if not m.patterns or not m.patterns[0].items}
    for family in families:
        if family in plain:
            place = next(m.place for m in members if m.name == family)
            raise Fact(f"{family} is declared with indices and without").at(place)
    return members, families


def _contest(texts: tuple[str, ...], free: int, taken: dict[str, tuple[int, int, Place]], rule: Rule) -> bool:
    """Whether a new member stands: it wins over a rule with more free indices and yields to one with fewer."""
    rivals = {taken[text][:2] for text in texts if text in taken}
    (strength, _), *others = rivals
    if others or strength == free:
        earlier = next(taken[text][2] for text in texts if text in taken)
        text = next(text for text in texts if text in taken)
        raise Fact(f"{text} is declared twice", f"the first is in line {earlier.line}").at(rule.place)
    return strength > free


def free_indices(rule: Rule, index: dict[str, tuple[Any, ...]]) -> list[str]:
    """The index variables that a key reads, in the order in which they stand."""
    found = [n.id for p in rule.patterns for item in p.items for n in names(item) if n.id in index]
    return list(dict.fromkeys(found))


def member_name(family: str, indices: tuple[Any, ...]) -> str:
    return f"{family}[{', '.join(map(str, indices))}]" if indices else family
