"""Which losses are zero-sum games, so that one value says both sides."""

from __future__ import annotations

import itertools
import math

from gangraph.equations.facts import Facts
from gangraph.expressions import Binary, Call, Expr, List, Name
from gangraph.library import Definition

SCORES = (-1.7, -0.3, 0.4, 1.9)


def is_game(facts: Facts, body: Expr) -> bool:
    """Whether the generator's side is the other's turned round, as far as the fake's score goes."""
    match body:
        case Call(function=Name(id=word)) if (definition := facts.definition(word)) is not None:
            return definition.kind == "families" and zero_sum(facts, body, definition)
        case Call(function=Name(id="add" | "average"), arguments=(inner,)):
            return all(is_game(facts, item) for item in (inner.items if isinstance(inner, List) else (inner,)))
        case Binary(operator="+" | "-", left=left, right=right):
            return is_game(facts, left) and is_game(facts, right)
        case Binary(operator="*" | "/", left=left, right=right):
            return any(is_game(facts, a) and facts.number(b) is not None for a, b in ((left, right), (right, left)))
    return False


def zero_sum(facts: Facts, call: Call, definition: Definition) -> bool:
    """A family whose two sides add up to what no fake moves, tried on scores; `shown` must be the fake itself."""
    given = definition.bind(call.arguments, dict(call.keywords))
    if given.get("shown") not in (None, given.get("fake")) or not {"real", "fake"} <= set(given):
        return False
    body = definition.read()

    def both(real: float, fake: float) -> float:
        bound = {"real": real, "fake": fake}
        for name, default in definition.parameters:
            if name not in bound:
                expr = given.get(name, default)
                value = facts.number(expr, bound) if expr is not None else None
                bound[name] = math.nan if value is None else value
        values = [facts.number(side, bound) for side in (body.discriminator, body.generator)]
        return math.nan if None in values else sum(v for v in values if v is not None)

    return all(abs(both(r, f) - both(r, SCORES[0])) < 1e-9 for r, f in itertools.product(SCORES, SCORES))
