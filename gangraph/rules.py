"""PlayerSpec -> what a player says of its steps beside its optimizer, by the keys of the file."""

from __future__ import annotations

from collections.abc import Iterator

from gangraph.expressions import Expr
from gangraph.spec import PlayerSpec


def player_rules(body: PlayerSpec) -> Iterator[tuple[str, Expr]]:
    """`gradient`, `before` and `after` of the player, then `optimizer.E`, `after.D.mix` and the like of a part."""
    rules = {"gradient": body.gradient, "before": body.before, "after": body.after, **body.parts}
    yield from ((key, expr) for key, expr in rules.items() if expr is not None)
