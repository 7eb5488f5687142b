"""Numbers that follow the clocks -> findings: what they come to in the first iterations and in the last one.

Rates and decays are formulas of `step`, and what is wrong with one of them shows when the clock gets there: a division
by a clock that begins at 0, a rate that falls below it, a decay above 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from gangraph.check.case import Finding, Stage
from gangraph.expressions import Number
from gangraph.graph import host_value
from gangraph.ir import Node

FIRST = (0, 1, 2)
LIMITS = {"lr": (0.0, math.inf, "it is at least 0"), "decay": (0.0, 1.0, "it is at least 0 and at most 1")}


def numbers(stage: Stage) -> Iterator[Finding]:
    """Constants, rates, decays and what the schedule asks, of the first stage."""
    graph = stage.graph
    if graph.resolved.stage_index:
        return  # begins at a time that the others decide
    last = graph.resolved.spec.file.train.iterations
    times = [*FIRST, *([int(last.value) - 1] if isinstance(last, Number) and last.value > max(FIRST) else [])]
    for path, word, node in _numbers(stage):
        for step in times:
            try:
                value = at(node, step)
            except ZeroDivisionError:
                yield Finding(node.at, path, f"{word} divides by zero in iteration {step}", "clocks begin at 0")
                break
            except (ArithmeticError, ValueError, TypeError):
                yield Finding(node.at, path, f"{word} is no number in iteration {step}")
                break
            if value is None:
                break
            low, high, help = LIMITS.get(word, (-math.inf, math.inf, None))
            if not low <= value <= high or math.isinf(value):
                yield Finding(node.at, path, f"{word} is {value:.6g} in iteration {step}", help)
                break


def _numbers(stage: Stage) -> Iterator[tuple[str, str, Node]]:
    """(path, what it is, number) of all that may follow a clock."""
    graph = stage.graph
    for name, node in graph.constants.items():
        if isinstance(definition := node.fields.get("definition"), Node):
            yield f"constants.{name}", f"the constant {name}", definition
    for name, player in graph.players.items():
        for optimizer in player.optimizers.values():
            for key, value in optimizer.arguments.items():
                if isinstance(value, Node):
                    yield f"players.{name}", key, value
    for name, average in graph.averages.items():
        yield f"averages.{name}", "decay", average.decay
    for step in graph.steps():
        for word, value in (("when", step.when), ("repeat", step.repeat)):
            if isinstance(value, Node):
                yield f"schedule.{step.name}", word, value


def at(node: Node, step: int) -> Any:
    """The number in an iteration of the first epoch; None where it is not of clocks alone."""
    return host_value(node, {"step": step, "epoch_step": step, "stage_step": step, "epoch": 0, "stage": 0})
