"""Which losses are zero-sum games, so that one value says both sides."""

from __future__ import annotations

import itertools
import math

from gangraph.equations.facts import Facts
from gangraph.equations.settle import unfolded
from gangraph.expressions import Binary, Call, Expr, List, Name, substitute
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
    fixed: dict[str, Expr] = {}
    for name, default in definition.parameters:
        value = given.get(name, default)
        if name not in ("real", "fake", "shown") and value is not None:
            fixed[name] = substitute(value, fixed)
    fixed["shown"] = Name(call.at, "fake")
    body = definition.read()
    sides = [unfolded(substitute(side, fixed), facts) for side in (body.discriminator, body.generator)]

    def both(real: float, fake: float) -> float:
        values = [facts.number(side, {"real": real, "fake": fake}) for side in sides]
        return math.nan if None in values else sum(v for v in values if v is not None)

    return all(abs(both(r, f) - both(r, SCORES[0])) < 1e-9 for r, f in itertools.product(SCORES, SCORES))
