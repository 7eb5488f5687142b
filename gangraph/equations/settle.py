"""Expr -> Expr: a formula of the spec in the form that papers print.

>>> from gangraph.expressions import parse
>>> print(settled(parse("expect(-relu(x)) + softplus(-y) * 1"), lambda expr: None))
-expect(relu(x)) - log(sigmoid(y))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from gangraph.equations.facts import SIDES, Facts
from gangraph.equations.trees import has_word, head, signed, summed
from gangraph.expressions import Attribute, Binary, Call, Expr, IfElse, List, Name, Negative, Number, mapped, substitute
from gangraph.library import Definition


def unfolded(expr: Expr, facts: Facts, side: str | None = None) -> Expr:
    """Loss families, and functions with expectations of their own, replaced by their bodies; of a choice that is
    known before the run the branch that is taken, also of one inside a function that a word decides.
    """
    if isinstance(expr, IfElse) and (known := facts.truth(expr.test)) is not None:
        return unfolded(expr.then if known else expr.otherwise, facts, side)
    if isinstance(expr, Attribute) and expr.name in SIDES:
        return expr if head(expr.value) in facts.loss_names else unfolded(expr.value, facts, expr.name)
    if side and head(expr) in facts.sided:
        return Attribute(expr.at, expr, side)
    if isinstance(expr, Call) and isinstance(expr.function, Name):
        definition = facts.definition(expr.function.id)
        kind = definition.kind if definition is not None else None
        if definition is not None and kind == "families":
            whole = getattr(definition.read(), side or "discriminator")
            return unfolded(_without_score_means(substitute(whole, _bound(definition, expr))), facts)
        if definition is not None and kind == "functions":
            whole = substitute(definition.read(), _bound(definition, expr))
            decided = isinstance(whole, IfElse) and facts.truth(whole.test) is not None
            if decided or has_word(definition.read(), "expect", "total"):
                return unfolded(whole, facts, side)
    return mapped(expr, lambda e: unfolded(e, facts, side))


def _bound(definition: Definition, call: Call) -> dict[str, Expr]:
    bound = definition.bind(call.arguments, dict(call.keywords))
    for name, default in definition.parameters:
        if name not in bound and default is not None:
            bound[name] = substitute(default, bound)
    return bound


def _without_score_means(expr: Expr) -> Expr:
    """`expect(mean(v))` of a family's score is printed as the mean over both."""
    made = mapped(expr, _without_score_means)
    match made:
        case Call(function=Name(id="expect"), arguments=(Call(function=Name(id="mean"), keywords=()) as mean, *_)):
            return dataclasses.replace(made, arguments=mean.arguments)
    return made


def settled(expr: Expr, number: Callable[[Expr], float | None], dropping: bool = True) -> Expr:
    """Signs outside, and what a known zero multiplies gone; `number` says what is known."""
    e = mapped(expr, lambda inner: settled(inner, number, dropping))
    at = e.at

    def negative(inner: Expr) -> Expr:
        return settled(Negative(at, inner), number, dropping)

    match e:
        case Number(value=value) if value < 0:
            return Negative(at, Number(at, -value))
        case Negative(operand=Negative(operand=inner)):
            return inner
        case Call(function=Name(id="softplus"), arguments=(Negative(operand=v),), keywords=()):
            return Negative(at, _log(_sigmoid(v)))
        case Call(function=Name(id="softplus"), arguments=(v,), keywords=()):
            return Negative(at, _log(Binary(at, "-", Number(at, 1), _sigmoid(v))))
        case Call(function=Name(id="lerp"), arguments=(a, b, t), keywords=()):
            if number(t) in (0, 1):
                return b if number(t) else a
            rest = Binary(at, "-", Number(at, 1), t)
            return Binary(at, "+", Binary(at, "*", rest, a), Binary(at, "*", t, b))
        case Call(function=Name(id="add"), arguments=(List(items=(_, *_) as items), *_), keywords=()):
            return summed(list(items))
        case Call(function=Name(id=word), arguments=(v,), keywords=()) if word in LINEAR:
            inner = signed(v)
            return (
                Negative(at, dataclasses.replace(e, arguments=(inner.operand,))) if isinstance(inner, Negative) else e
            )
        case Binary(operator="+" | "-" as sign, left=left, right=right):
            match left, right:
                case _, Number(value=0):
                    return left
                case Number(value=0), _:
                    return right if sign == "+" else negative(right)
                case _, Negative(operand=inner):
                    return Binary(at, "-" if sign == "+" else "+", left, inner)
        case Binary(operator="*" | "/" as sign):
            match signed(e.left), signed(e.right):
                case left, right if dropping and sign == "*" and (number(left) == 0 or number(right) == 0):
                    return Number(at, 0)
                case Negative(operand=left), right:
                    return negative(Binary(at, sign, left, right))
                case left, Negative(operand=right):
                    return negative(Binary(at, sign, left, right))
                case left, Number(value=1):
                    return left
                case Number(value=1), right if sign == "*":
                    return right
    return e


LINEAR = ("expect", "total", "mean", "sum", "add", "average")  # of a negative, these are the negative


def _log(expr: Expr) -> Expr:
    return Call(expr.at, Name(expr.at, "log"), (expr,))


def _sigmoid(expr: Expr) -> Expr:
    return Call(expr.at, Name(expr.at, "sigmoid"), (expr,))
