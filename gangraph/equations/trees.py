"""Expr -> Expr: rewriting that needs to know no spec. Every tree that comes out is new; places stay."""

from __future__ import annotations

import functools
from typing import Any, TypeGuard

from gangraph.expressions import Binary, Call, Expr, Index, List, Name, Negative, Number, mapped, names

JOINING = ("add", "average", "concat", "stack", "batch_concat", "select", "max", "min")  # one value of a list


def called(expr: Expr, *words: str) -> TypeGuard[Call]:
    """Whether the expression is a call of one of these words."""
    return isinstance(expr, Call) and isinstance(expr.function, Name) and expr.function.id in words


def has_word(expr: Expr, *words: str) -> bool:
    return any(name.id in words for name in names(expr))


def head(expr: Expr) -> str | None:
    """The name that stands alone or in front of an index."""
    name = expr.value if isinstance(expr, Index) else expr
    return name.id if isinstance(name, Name) else None


def given(call: Call) -> list[Expr]:
    """All arguments of a call, by position and by name."""
    return [*call.arguments, *(value for _, value in call.keywords)]


def entries(expr: Expr) -> list[Expr]:
    """What stands in lists of one length, entry by entry: of `l1([a, b], c)` that is `l1(a, c)` and `l1(b, c)`."""
    lengths: set[int] = set()

    def picked(e: Expr, place: int) -> Expr:
        if isinstance(e, List):
            lengths.add(len(e.items))
            return e.items[min(place, len(e.items) - 1)]
        return e if called(e, *JOINING) else mapped(e, lambda inner: picked(inner, place))

    first = picked(expr, 0)
    return [first, *(picked(expr, i) for i in range(1, lengths.pop()))] if len(lengths) == 1 else []


def split(expr: Expr, sign: str = "+") -> list[tuple[str, Expr]]:
    """The terms of a sum, with their signs."""
    flipped = {"+": "-", "-": "+"}[sign]
    match expr:
        case Binary(operator="+" | "-", left=left, right=right):
            return split(left, sign) + split(right, sign if expr.operator == "+" else flipped)
        case Negative(operand=operand):
            return split(operand, flipped)
    return [(sign, expr)]


def signed(expr: Expr) -> Expr:
    """A sum of nothing but negative terms, with its sign in front."""
    terms = split(expr)
    if isinstance(expr, Negative) or len(terms) == 1 or any(sign == "+" for sign, _ in terms):
        return expr
    return Negative(expr.at, summed([term for _, term in terms]))


def summed(terms: list[Expr]) -> Expr:
    return functools.reduce(lambda total, term: Binary(total.at, "+", total, term), terms)


def bindings(bound: dict[str, Any], at: Any) -> dict[str, Expr]:
    """Index variables and their values, as expressions."""
    return {k: Number(at, v) if isinstance(v, int) else Name(at, v) for k, v in bound.items()}
