"""Graph -> Facts: the names of one stage, and what is known about an expression before the run."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Any

from gangraph import ops
from gangraph.equations.symbols import spelled, symbol, weight
from gangraph.equations.trees import bindings, called, given, head
from gangraph.expressions import (
    Attribute,
    Binary,
    Call,
    Compare,
    Expr,
    Index,
    List,
    Logic,
    Name,
    Negative,
    Not,
    Number,
    Slice,
    String,
    Truth,
    within,
)
from gangraph.families import Member, Pattern, family_of, member_name
from gangraph.frozen import frozen
from gangraph.graph import Graph
from gangraph.ir import Network, Node
from gangraph.library import Definition
from gangraph.resolve import moves_in
from gangraph.spec import expressions

SIDES = {"discriminator": "dis", "generator": "gen"}


def _compared(sign: str, left: Any, right: Any) -> bool:
    """Two numbers, or two words; a word and a number are not equal, and have no order."""
    compare = ops.OPERATORS[ops.BINARY[sign]].host
    assert compare is not None
    return bool(compare(left, right)) if isinstance(left, str) == isinstance(right, str) else sign == "!="


class NotGeneric(Exception):
    """Members of a family differ by more than their index."""


@frozen
class Rule:
    """A key of the graph or of the losses: the members that it declares."""

    members: tuple[Member, ...]

    @property
    def first(self) -> Member:
        return self.members[0]

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """The names as written."""
        return self.first.patterns

    @property
    def variables(self) -> list[str]:
        return list(self.first.bound)

    def bindings(self, member: Member) -> dict[str, Expr]:
        return bindings(member.bound, member.place)

    def matched(self, family: str, items: tuple[Expr, ...]) -> dict[str, Expr]:
        """Index variables for a member that is asked for by expressions."""
        pattern = next(p for p in self.patterns if p.family == family)
        found = {}
        for wanted, item in zip(pattern.items, items, strict=True):
            if not isinstance(wanted, Name):
                raise NotGeneric
            found[wanted.id] = item
        return found


def _rules(members: tuple[Member, ...]) -> tuple[Rule, ...]:
    groups: dict[int, list[Member]] = {}
    for member in members:
        groups.setdefault(id(member.body), []).append(member)
    return tuple(Rule(tuple(group)) for group in groups.values())


class Facts:
    """Names of one stage, and what they stand for."""

    def __init__(self, graph: Graph):
        self.graph, self.resolved = graph, graph.resolved
        self.families, self.sizes = self.resolved.families, self.resolved.sizes
        self.losses, self.values = _rules(self.resolved.losses), _rules(self.resolved.values)
        self.rules: dict[str, list[Rule]] = {}
        for rule in (*self.values, *self.losses):
            for family in dict.fromkeys(p.family for p in rule.patterns):
                self.rules.setdefault(family, []).append(rule)
        self.loss_names = {p.family for rule in self.losses for p in rule.patterns}
        self.sided = {family_of(name) for name in graph.sided}
        self.inputs = {p.family for m in self.resolved.inputs for p in m.patterns}
        self.draws = {p.family for m in self.resolved.draws for p in m.patterns}
        self.declared = {name: i for i, name in enumerate(dict.fromkeys(map(family_of, graph.inputs)))}  # their order
        self.networks = {family_of(name) for name in (*graph.networks, *graph.averages)}
        self.parameters = set(graph.parameters(list(graph.networks)))
        self.variables = set(self.resolved.index)
        named = (self.rules, self.inputs, self.draws, self.networks, self.variables, graph.constants, self.sizes)
        self.taken = {name for names in named for name in names}
        self.letters = [letter for letter in "klmij" if letter not in self.variables]  # free ones, to count with

    @cached_property
    def weights(self) -> set[str]:
        """Constants that multiply something: how much it counts."""
        written = [member.body for rule in (*self.values, *self.losses) for member in rule.members]
        read = [e for body in written for e in expressions(body)]
        read += [move.minimize for move in moves_in(self.resolved.schedule) if move.minimize is not None]
        products = (e for expr in read for e in within(expr) if isinstance(e, Binary) and e.operator == "*")
        factors = (side.left if isinstance(side, Binary) else side for e in products for side in (e.left, e.right))
        return {factor.id for factor in factors if isinstance(factor, Name)}

    @cached_property
    def plain(self) -> set[str]:
        """Names that stay as they are written: another one has their letter."""
        taken: dict[str, str] = {}
        found: set[str] = set()
        values = [name for name in self.rules if name not in self.loss_names]
        words = dict.fromkeys([*self.networks, *self.inputs, *self.draws, *values, *self.graph.state])
        for name in [*words, *self.graph.constants, *self.sizes]:
            keys = self.families.get(name, {(): name})
            letters = [symbol(name, [spelled(str(k)) for k in key], self.families) for key in keys]
            if name in self.weights and name in self.graph.constants:
                letters = [weight(name)]
            forms = {form for letter in letters for form in (letter.latex, letter.text)}
            if any(taken.get(form, name) != name for form in forms):
                found.add(name)
            else:
                taken |= dict.fromkeys(forms, name)
        return found

    def definition(self, name: str) -> Definition | None:
        """A function, family or block that a name in front of brackets means."""
        hidden = name in self.networks or name in self.rules or name in ops.OPERATORS
        return None if hidden else self.resolved.library.find(name, standard_only=False)

    def is_network(self, function: Expr) -> bool:
        """Whether a call of this runs a network, itself or through its views."""
        if isinstance(function, Call):
            return called(function, *ops.VIEWS) and bool(function.arguments) and self.is_network(function.arguments[0])
        return head(function) in self.networks

    def network(self, function: Expr) -> Network | None:
        """The network that a call means, through its views."""
        while isinstance(function, Call) and function.arguments:
            function = function.arguments[0]
        name = self.named(function) or next(iter(self.families.get(head(function) or "", {}).values()), "")
        name = self.graph.averages[name].source if name in self.graph.averages else name
        return self.graph.networks.get(name)

    # --- members

    def named(self, expr: Expr) -> str | None:
        """What a name, or a family's name with known indices, stands for."""
        match expr:
            case Name(id=name):
                return name
            case Index(value=Name(id=name)) if name in self.families:
                return self.member(name, expr.items)
        return None

    def member(self, family: str, items: tuple[Expr, ...]) -> str | None:
        """The name of a member whose indices are known."""
        values = tuple(map(self._index, items))
        return None if None in values else member_name(family, values)

    def _index(self, item: Expr) -> Any:
        if isinstance(item, Name) and item.id not in self.sizes:
            return None if item.id in self.variables else item.id
        if isinstance(item, String):
            return item.value
        value = self.number(item)
        return int(value) if value is not None and float(value).is_integer() else None

    # --- values

    def number(self, expr: Expr, bound: dict[str, float] | None = None) -> float | None:
        """A number that is known before the run."""
        try:
            return self._number(expr, bound or {})
        except (TypeError, ValueError, ArithmeticError):
            return None

    def _number(self, expr: Expr, bound: dict[str, float]) -> float:
        match expr:
            case Number(value=value):
                return value
            case Name(id=name) if name in bound:
                return bound[name]
            case Name(id=name) if name in self.graph.constants:
                return float(self.graph.constants[name].value)  # of None it is a TypeError
            case Name(id=name) if name in self.sizes:
                return float(self.sizes[name])
            case Negative(operand=operand):
                return -self._number(operand, bound)
            case Binary(operator=sign, left=left, right=right):
                return self._applied(ops.BINARY[sign], [left, right], bound)
            case Call(function=Name(id="expect" | "mean" | "total" | "sum"), arguments=(inner,), keywords=()) if bound:
                return self._number(inner, bound)  # of scores that are numbers
            case Call(function=Name(id=word), arguments=arguments, keywords=()):
                return self._applied(word, list(arguments), bound)
        raise ValueError

    def _applied(self, word: str, arguments: list[Expr], bound: dict[str, float]) -> float:
        function = ops.OPERATORS[word].host if word in ops.OPERATORS else ops.SCALAR_FUNCTIONS.get(word)
        if function is None:
            raise ValueError
        return function(*(self._number(a, bound) for a in arguments))

    def truth(self, expr: Expr) -> bool | None:
        """A condition that is known before the run: of words and numbers, and of what joins such conditions."""
        match expr:
            case Truth(value=value):
                return value
            case Not(operand=operand):
                known = self.truth(operand)
                return None if known is None else not known
            case Logic(operator=word, operands=operands):
                found, decisive = [self.truth(operand) for operand in operands], word == "or"
                return decisive if decisive in found else None if None in found else not decisive
            case Compare(operators=signs, operands=operands):
                sides = [o.value if isinstance(o, String) else self.number(o) for o in operands]
                if None in sides:
                    return None
                pairs = zip(signs, itertools.pairwise(sides), strict=True)
                return all(_compared(sign, left, right) for sign, (left, right) in pairs)
        number = self.number(expr)
        return None if number is None else bool(number)

    def several(self, expr: Expr) -> bool:
        """Whether an expression is a list, so that what is done to it is done to each entry."""
        match expr:
            case List():
                return True
            case Name(id=name) if name in self.families:
                return True
            case Name() | Index():
                return isinstance(self.graph.values.get(self.named(expr) or ""), tuple)
            case Call(function=Name(id=word)) if word not in self.networks:
                if word in ("weights", "split", "batch_split", "copies"):
                    return True
                if word in ("add", "average", "concat", "stack", "batch_concat", "max", "min", "len"):
                    return False
                return any(map(self.several, given(expr)))
            case Call():
                network = self.network(expr.function)
                return network is not None and network.module.several and not network.module.output_names
            case Binary(left=left, right=right):
                return self.several(left) or self.several(right)
            case Negative(operand=value) | Attribute(value=value):
                return self.several(value)
        return False

    def length(self, expr: Expr) -> str | None:
        """The number of samples of the first named value in an expression."""
        known = {**self.graph.inputs, **self.graph.draws, **self.graph.values}
        for e in within(expr):
            node = known.get(self.named(e) or "")
            if isinstance(node, Node) and node.type.samples is not None:
                return node.type.samples.text
        return None

    def family(self, expr: Expr) -> str | None:
        """A family of values or losses that an expression names as a whole."""
        picked = {id(e.value) for e in within(expr) if isinstance(e, Index)}
        return next(
            (
                e.id
                for e in within(expr)
                if isinstance(e, Name) and e.id in self.families and e.id not in self.networks and id(e) not in picked
            ),
            None,
        )

    def cut(self, expr: Expr) -> range | None:
        """The entries of a list, or members of a family, that a slice takes."""
        if not (isinstance(expr, Index) and len(expr.items) == 1 and isinstance(item := expr.items[0], Slice)):
            return None
        if not self.several(expr.value):
            return None
        sides = [self.number(side) if side is not None else None for side in (item.low, item.high)]
        low, high = (int(side) if side is not None else None for side in sides)
        return range(self.count(expr.value))[low:high]

    def entries(self, expr: Expr) -> range:
        """The numbers of the entries over which a sum runs, in the first list that it has a slice of."""
        cuts = (taken for e in within(expr) if (taken := self.cut(e)) is not None)
        return next(cuts, range(self.count(expr)))

    def count(self, expr: Expr) -> int:
        """How many entries a list has, or members a family."""
        family = self.family(expr)
        if family is not None:
            return len(self.families[family])
        for e in within(expr):
            if isinstance(e, Call) and self.several(e) and (network := self.network(e.function)) is not None:
                return len(network.module.outputs)
            if isinstance(e, Name) and isinstance(self.graph.values.get(e.id), tuple):
                return len(self.graph.values[e.id])
        return 1
