"""The spec's own expression trees, evaluated on arrays: names looked up, operators applied, definitions unfolded.

Arguments are evaluated left to right and before the call; an argument of a function or family where the formula first
reads it, and once (semantics 1). A term whose factor is a constant 0 is not evaluated (semantics 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from gangraph.expressions import (
    Attribute,
    Binary,
    Call,
    Compare,
    Expr,
    IfElse,
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
    names,
)
from gangraph.reference import operators as o
from gangraph.reference.layers import LAYERS, WRAPPERS, make
from gangraph.reference.scopes import MISSING, Scope
from gangraph.reference.tape import constant
from gangraph.reference.values import (
    Dropped,
    Live,
    Outputs,
    Thunk,
    TwoSided,
    Value,
    integer,
    is_number,
    number,
    present,
)

CLOCKS = ("step", "epoch", "epoch_step", "epoch_steps", "images", "stage", "stage_step", "stage_images")
VIEWS = ("frozen", "evaluation", "training", "statistics", "still", "upto", "given")
INITIALIZERS = (
    "normal", "uniform", "zeros", "ones", "constant", "xavier_normal", "xavier_uniform", "kaiming_normal",
    "kaiming_uniform", "orthogonal", "fan_uniform", "data_mean",
)  # fmt: skip


class Init:
    """How something begins: the reference is given what it became."""


class Network:
    """Base of whatever brackets apply to values: templates, networks with a name, views."""


class Interpreter:
    """Evaluates expressions. `spec_name`, `spec_family`, `symbols` are the spec's; `apply`, `view` the blocks'."""

    symbols: frozenset[Any] = frozenset()
    trial = False  # expanding everything, dropped terms and unread sides too

    # --- to be given

    def spec_name(self, name: str, scope: Scope) -> Any:
        return MISSING

    def spec_family(self, name: str) -> dict[tuple[Any, ...], str] | None:
        return None

    def fixed_name(self, name: str) -> Any:
        """A size or constant whose value never changes, else None."""
        return None

    def definition(self, name: str, standard: bool) -> Any:
        raise NotImplementedError

    def apply(
        self, network: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], call: Expr, scope: Scope
    ) -> Any:
        raise NotImplementedError

    def block(self, definition: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        raise NotImplementedError

    def taken_from_torch(self, definition: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        raise NotImplementedError

    def view(self, kind: str, arguments: tuple[Any, ...]) -> Any:
        raise NotImplementedError

    def wrapped(self, wrapper: Any, inner: Any) -> Any:
        raise NotImplementedError

    def template(self, layer: Any) -> Any:
        raise NotImplementedError

    def gradient(self, y: Value, x: Value) -> Value:
        raise NotImplementedError

    def parameter_value(self, name: str) -> Any:
        return MISSING

    # --- expressions

    def value(self, expr: Expr, scope: Scope) -> Any:
        match expr:
            case Number() | String() | Truth():
                return expr.value
            case List():
                return tuple(self.value(item, scope) for item in expr.items)
            case Name():
                return self.name(expr.id, scope)
            case Call():
                return self.call(expr, scope)
            case Binary():
                return self.binary(expr, scope)
            case Negative():
                return self.operate("neg", (self.value(expr.operand, scope),), {})
            case Compare():
                return self.compare(expr, scope)
            case Logic():
                return self.logic(expr, scope)
            case Not():
                value = self.value(expr.operand, scope)
                return Live(not number(value)) if isinstance(value, Live) else not truth(value)
            case IfElse():
                return self.value(expr.then if truth(self.value(expr.test, scope)) else expr.otherwise, scope)
            case Attribute():
                return self.attribute(expr, scope)
            case Index():
                return self.index(expr, scope)
        raise AssertionError(expr)

    def name(self, name: str, scope: Scope) -> Any:
        if name in scope.index:
            return scope.index[name]
        found = scope.find(name)
        if found is MISSING and not scope.inside:
            found = self.spec_name(name, scope)
        if found is MISSING and name == "pi":
            return math.pi
        if found is MISSING:
            raise NameError(f"nothing is called {name} here")
        return found

    def binary(self, expr: Binary, scope: Scope) -> Any:
        if expr.operator == "*" and scope.dropping and not self.trial:
            factors = [self.fixed(side, scope) for side in (expr.left, expr.right)]
            if None in factors and any(f is not None and f == 0 for f in factors):
                return Dropped(
                    lambda: self.operate("*", (self.value(expr.left, scope), self.value(expr.right, scope)), {})
                )
        left = self.value(expr.left, scope)
        return self.operate(expr.operator, (left, self.value(expr.right, scope)), {})

    def fixed(self, expr: Expr, scope: Scope) -> Any:
        """A number that nothing can change, without evaluating anything else; None where there is none."""
        for name in names(expr):
            if not self._is_fixed(name.id, scope):
                return None
        value = self.value(expr, scope)
        return value if isinstance(value, int | float) else None

    def _is_fixed(self, name: str, scope: Scope) -> bool:
        if name in scope.index:
            return True
        found = scope.unforced(name)
        if isinstance(found, Thunk):
            if found.made:
                return isinstance(found.value, int | float)
            return isinstance(found.expr, Expr) and self.fixed(found.expr, found.scope) is not None
        if found is not MISSING:
            return isinstance(found, int | float)
        if not scope.inside and self.fixed_name(name) is not None:
            return True
        return name == "pi" or name in o.HOST or name in ("log2", "len", "range")

    def compare(self, expr: Compare, scope: Scope) -> Any:
        operands = [self.value(operand, scope) for operand in expr.operands]
        results: list[Any] = []
        for sign, left, right in zip(expr.operators, operands, operands[1:], strict=False):
            if any(isinstance(side, str) or side is None for side in (left, right)):
                results.append((left == right) == (sign == "=="))
            else:
                results.append(self.operate(sign, (left, right), {}))
        if len(results) == 1:
            return results[0]
        together = all(number(r) for r in results)
        return Live(together) if any(isinstance(r, Live) for r in results) else together

    def logic(self, expr: Logic, scope: Scope) -> Any:
        """The operand that decides; what is known now ends the reading, numbers of the run do not."""
        wanted = expr.operator == "or"
        found: list[Any] = []
        for operand in expr.operands:
            found.append(self.value(operand, scope))
            if not isinstance(found[-1], Live) and truth(found[-1]) == wanted:
                break
        decided = next((v for v in found if truth(v) == wanted), found[-1])
        return Live(number(decided)) if any(isinstance(v, Live) for v in found) else decided

    def attribute(self, expr: Attribute, scope: Scope) -> Any:
        parameter = self._parameter(expr, scope)
        if parameter is not MISSING:
            return parameter
        return self._part(self.value(expr.value, scope), expr.name, scope)

    def _part(self, value: Any, name: str, scope: Scope) -> Any:
        if isinstance(value, Outputs) and name in value.names:
            return value[value.names.index(name)]
        if isinstance(value, Dropped):
            return Dropped(lambda: self._part(value.whole(), name, scope))
        if isinstance(value, TwoSided):
            side = value.side(name)
            return Live(float(constant(side.data).reshape(()))) if scope.knowing and isinstance(side, Value) else side
        if isinstance(value, tuple):
            return tuple(self._part(v, name, scope) for v in value)
        if isinstance(value, Value):
            if name == "shape":
                return (Live(value.samples), *value.shape)
            axes = ("channels", "length") if len(value.shape) < 3 else ("channels", "height", "width")
            return value.shape[axes.index(name)]
        raise AttributeError(f".{name} of {value!r}")

    def _parameter(self, expr: Attribute, scope: Scope) -> Any:
        """`NETWORK.LAYER.weight`."""
        if scope.inside:
            return MISSING
        base: Expr = expr
        while isinstance(base, Attribute | Index):
            base = base.value
        if not isinstance(base, Name) or scope.unforced(base.id) is not MISSING:
            return MISSING
        return self.parameter_value(str(expr))

    def index(self, expr: Index, scope: Scope) -> Any:
        if isinstance(expr.value, Name) and not any(isinstance(item, Slice) for item in expr.items):
            family = expr.value.id
            holder = scope.holder(family)
            hidden = scope.unforced(family) is not MISSING
            members = holder.families[family] if holder else None
            if members is None and not hidden and not scope.inside:
                members = self.spec_family(family)
            if members is not None:
                key = tuple(self.index_value(item, scope) for item in expr.items)
                if key not in members:
                    raise KeyError(f"{family} has no member {key}")
                return holder.member(family, key) if holder else self.spec_name(members[key], scope)
        value = self.value(expr.value, scope)
        if isinstance(value, tuple):
            (item,) = expr.items
            if isinstance(item, Slice):
                return tuple(value)[self._slice(item, scope)]
            return value[integer(self.value(item, scope))]
        return self._cut(value, expr, scope)

    def index_value(self, item: Expr, scope: Scope) -> Any:
        """In the brackets behind a family's name index variables and members of an index come first."""
        if isinstance(item, Name):
            if item.id in scope.index:
                return scope.index[item.id]
            if item.id in self.symbols:
                return item.id
        value = self.value(item, scope)
        return value if isinstance(value, str) else integer(value)

    def _slice(self, item: Slice, scope: Scope) -> slice:
        low, high = (None if side is None else integer(self.value(side, scope)) for side in (item.low, item.high))
        return slice(low, high)

    def _cut(self, value: Value, expr: Index, scope: Scope) -> Value:
        items: list[Any] = []
        for axis, item in enumerate(expr.items):
            if isinstance(item, Slice):
                items.append(self._slice(item, scope))
            else:
                assert axis, "one sample cannot be picked by number"
                items.append(integer(self.value(item, scope)))
        return value.but(value.data[tuple(items)])

    # --- calls

    def call(self, expr: Call, scope: Scope) -> Any:
        function = expr.function
        if isinstance(function, Name):
            found = scope.find(function.id)
            if found is MISSING and not scope.inside:
                found = self.spec_name(function.id, scope)
            if found is MISSING:
                return self.core(function.id, expr, scope)
        else:
            found = self.value(function, scope)
        if not isinstance(found, Network):
            raise TypeError(f"{function} cannot be called")
        arguments, keywords = self.arguments(expr, scope)
        return self.apply(found, present(arguments), {k: present(v) for k, v in keywords.items()}, expr, scope)

    def arguments(self, expr: Call, scope: Scope) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return tuple(self.value(a, scope) for a in expr.arguments), {k: self.value(v, scope) for k, v in expr.keywords}

    def core(self, name: str, expr: Call, scope: Scope) -> Any:
        special = getattr(self, f"do_{name}", None)
        if special is not None:
            return special(expr, scope)
        if name in VIEWS:
            arguments, keywords = self.arguments(expr, scope)
            return self.view(name, (*arguments, *keywords.values()))
        known = name in o.OPERATORS or name in ("log2", "range", "len")
        if name in INITIALIZERS and (not known or not (expr.arguments or expr.keywords)):
            return Init()
        if known:
            arguments, keywords = self.arguments(expr, scope)
            return self.operate(name, arguments, keywords)
        definition = self.definition(name, scope.standard)
        if definition is not None and (not definition.standard or (name not in LAYERS and name not in WRAPPERS)):
            return self.unfold(definition, expr, scope)
        arguments, keywords = self.arguments(expr, scope)
        if name in WRAPPERS:
            return self.wrapped(make(name, arguments[1:], keywords), arguments[0])
        if name in LAYERS:
            return self.template(make(name, arguments, keywords))
        raise NameError(f"nothing is called {name} here")

    def unfold(self, definition: Any, expr: Call, scope: Scope) -> Any:
        if definition.kind == "blocks":
            return self.block(definition, *self.arguments(expr, scope))
        if definition.kind == "layers":
            return self.taken_from_torch(definition, *self.arguments(expr, scope))
        later = [self.later(e, scope) for e in expr.arguments]
        named = {k: self.later(e, scope) for k, e in expr.keywords}
        inner = Scope(
            inside=True, standard=definition.standard, home=scope.home, dropping=scope.dropping, place=scope.place,
            wrappers=scope.wrappers,
        )  # fmt: skip
        bound = definition.bind(tuple(later), named)
        for name, default in definition.parameters:
            given = bound.get(name)
            inner.frame[name] = given if given is not None else self.later(default, inner)
        body = definition.read()
        if isinstance(body, Expr):
            return self.value(body, inner)
        return TwoSided(self.later(body.discriminator, inner), self.later(body.generator, inner))

    def later(self, expr: Expr, scope: Scope) -> Thunk:
        """An expression that is evaluated where it is first read."""
        return Thunk(partial(self.value, expr, scope), expr, scope)

    def operate(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """An operator: on each side of a loss, on each entry of a list, on numbers, on arrays."""
        if any(isinstance(a, TwoSided) for a in arguments):

            def on_side(side: str) -> Any:
                return self.operate(name, tuple(_side(a, side) for a in arguments), keywords)

            return each_side(on_side)
        if any(isinstance(a, Init) for a in arguments):
            return Init()
        if any(isinstance(a, Dropped) for a in arguments):
            kept = self._without(name, arguments, keywords)
            if kept is not MISSING:
                return kept
        arguments, keywords = present(arguments), {k: present(v) for k, v in keywords.items()}
        if name in ("log2", "range", "len"):
            return _count(name, arguments)
        if name not in o.WHOLE_LISTS:
            lists = [a for a in arguments if _is_list(a)]
            if lists:
                rows = [tuple(a[i] if _is_list(a) else a for a in arguments) for i in range(len(lists[0]))]
                assert len({len(a) for a in lists}) == 1, f"{name} meets lists of different lengths"
                return tuple(self.operate(name, row, dict(keywords)) for row in rows)
        if name in ("max", "min") and len(arguments) == 1 and isinstance(arguments[0], tuple):
            arguments = arguments[0]
        arguments = o.positional(name, arguments, dict(keywords)) if keywords and name in o.PARAMETERS else arguments
        keywords = {} if name in o.PARAMETERS else keywords
        if arguments and all(is_number(a) for a in arguments) and name in o.HOST and not keywords:
            return o.on_numbers(name, *arguments)
        return o.OPERATORS[name](*arguments, **keywords)

    def _without(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """A sum without the terms that are not there, and nothing where nothing comes of them."""
        gone = [isinstance(a, Dropped) for a in arguments]
        if name in ("+", "-") and not all(gone):
            kept = arguments[0] if gone[1] else arguments[1]
            if not isinstance(kept, Value):
                return MISSING  # a number would be without the axes of the other
            return self.operate("neg", (kept,), {}) if name == "-" and gone[0] else kept
        if name not in ("+", "-", "*", "neg", "expect", "total", "mean", "sum") and not (name == "/" and gone[0]):
            known = [0.0 if g else a for a, g in zip(arguments, gone, strict=True)]
            if not gone[0] or name not in o.HOST or keywords or not all(isinstance(a, int | float) for a in known):
                return MISSING
            if o.on_numbers(name, *known) != 0:
                return MISSING
        return Dropped(lambda: self.operate(name, present(arguments), keywords))

    # --- special forms

    def do_lerp(self, expr: Call, scope: Scope) -> Any:
        """a + t (b - a); of the sides of a constant 0 or 1 the other one is not evaluated."""
        given = {**dict(zip(("a", "b", "t"), expr.arguments, strict=False)), **dict(expr.keywords)}
        t = self.fixed(given["t"], scope)
        kept = self.value(given["b" if t == 1 else "a"], scope) if t in (0, 1) and not self.trial else None
        if isinstance(kept, Value):
            return kept
        arguments, keywords = self.arguments(expr, scope)
        return self.operate("lerp", arguments, keywords)

    def do_add(self, expr: Call, scope: Scope) -> Any:
        (values,), _ = self.arguments(expr, scope)
        return self.added(values)

    def do_average(self, expr: Call, scope: Scope) -> Any:
        (values,), _ = self.arguments(expr, scope)
        if isinstance(values, TwoSided):
            return each_side(lambda side: self.averaged(values.side(side)))
        return self.averaged(values)

    def averaged(self, values: Any) -> Any:
        return self.operate("/", (self.added(values), len(flat(values))), {})

    def added(self, values: Any) -> Any:
        if isinstance(values, TwoSided):
            return each_side(lambda side: self.added(values.side(side)))
        first, *rest = flat(values)
        for value in rest:
            first = self.operate("+", (first, value), {})
        return first

    def do_grad(self, expr: Call, scope: Scope) -> Any:
        arguments, keywords = self.arguments(expr, scope)
        y, x = present((*arguments, *(keywords[k] for k in ("y", "x") if k in keywords)))
        if isinstance(x, tuple):
            return tuple(self.gradient(y, each) for each in x)
        return self.gradient(y, x)


def _is_list(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(v, Value | tuple | TwoSided) for v in value)


def each_side(function: Callable[[str], Any]) -> TwoSided:
    """A loss whose sides come from a function of the side's name."""
    return TwoSided(Thunk(partial(function, "discriminator")), Thunk(partial(function, "generator")))


def _side(value: Any, side: str) -> Any:
    if isinstance(value, Dropped):
        return Dropped(lambda: _side(value.whole(), side))
    return value.side(side) if isinstance(value, TwoSided) else value


def flat(values: Any) -> list[Any]:
    if not isinstance(values, tuple):
        return [values]
    return [v for value in values for v in flat(value)]


def truth(value: Any) -> bool:
    """Networks count as true."""
    if isinstance(value, Network):
        return True
    assert not isinstance(value, Value), "`if` on a value"
    return bool(number(value))


def _count(name: str, arguments: tuple[Any, ...]) -> Any:
    if name == "len":
        return len(arguments[0])
    if name == "range":
        return tuple(range(*map(integer, arguments)))
    exact = math.log2(number(arguments[0]))
    return int(exact) if exact.is_integer() else exact
