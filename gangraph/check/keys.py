"""Sections that are neither graph nor game: the ends of stages, `init`, `prepare`, `train`, options of optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gangraph.check.case import Case, Finding, Stage
from gangraph.errors import Fact, nearest
from gangraph.expressions import Expr, show
from gangraph.initial import check_init
from gangraph.ir import Node
from gangraph.prepare import steps
from gangraph.values import known


def stage_keys(case: Case) -> Iterator[Finding]:
    """How long each stage is, and whose optimizers begin anew."""
    for number, stage in enumerate(case.stages):
        resolved = stage.graph.resolved
        if not resolved.stage:
            continue
        path, keys = f"stages.{resolved.stage}", resolved.keys
        place = resolved.spec.place
        ends = [k for k in ("iterations", "images") if getattr(keys, k) is not None]
        if len(ends) == 2:
            yield Finding(place, path, "a stage ends after `iterations` or after `images`, not both")
        if not ends and number < len(case.stages) - 1:
            yield Finding(
                place, path, "this stage never ends, and another comes after it", "say `iterations:` or `images:`"
            )
        for key in ends:
            yield from _length(stage, path, key, getattr(keys, key))
        for expr in keys.reset:
            text = show(expr)
            players = [*(member.name for member in resolved.players), *resolved.player_families]
            if text not in players:
                yield Finding(expr.at, f"{path}.reset", f"no player is called '{text}'", nearest(text, players))


def _length(stage: Stage, path: str, key: str, expr: Expr) -> Iterator[Finding]:
    try:
        value = known(stage.graph.resolved, expr)
    except Fact as fact:
        yield Finding(fact.place or expr.at, f"{path}.{key}", fact.message, fact.help)
        return
    value = value.value if isinstance(value, Node) else value
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 1:
        yield Finding(
            expr.at, f"{path}.{key}", f"{key} is a number of at least 1, known before the run, not {show(expr)}"
        )


def recipes(case: Case) -> Iterator[Finding]:
    """`init`, `prepare` and `train` mean something."""
    done: list[tuple[Any, Any]] = []
    for stage in reversed(case.stages):  # in the last one all networks are known
        file = stage.graph.resolved.spec.file
        if (file.init, file.prepare) in done:
            continue
        done.append((file.init, file.prepare))
        for key, fact in check_init(stage.graph):
            place = fact.place or stage.graph.resolved.spec.place
            if case.own(place):
                yield Finding(place, f"init.{key}", fact.message, fact.help)
        try:
            steps(stage.graph)
        except Fact as fact:
            yield Finding(fact.place or stage.graph.resolved.spec.place, "prepare", fact.message, fact.help)
    stage = case.stages[0]
    train = stage.graph.resolved.spec.file.train
    for key in ("iterations", "epochs", "images"):
        expr = getattr(train, key)
        if expr is not None:
            yield from _length(stage, "train", key, expr)


def ignored_options(case: Case) -> Iterator[Finding]:
    """Options of an optimizer that it does not read."""
    for stage in case.stages:
        for member in stage.graph.resolved.players:
            player = stage.graph.players.get(member.name)
            if player is None:  # it is a problem itself
                continue
            exprs = [
                ("optimizer", member.body.optimizer),
                *((k, e) for k, e in member.body.parts.items() if k.startswith("optimizer.")),
            ]
            for (key, expr), optimizer in zip(exprs, player.optimizers.values(), strict=False):
                arguments = optimizer.arguments
                if optimizer.name == "SGD" and not arguments.get("momentum"):
                    for option, value in expr.keywords:
                        if option in ("nesterov", "dampening"):
                            yield Finding(
                                value.at,
                                f"players.{player.name}.{key}",
                                f"SGD ignores {option} without momentum",
                                "give momentum=..., or remove it",
                            )
