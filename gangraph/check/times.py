"""Numbers that follow the clocks -> findings: what they come to in the first iterations and in the last one.

Rates and decays are formulas of `step`, and what is wrong with one of them shows when the clock gets there: a division
by a clock that begins at 0, a rate that falls below it, a decay above 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from gangraph.check.case import Finding, Stage
from gangraph.expressions import Number
from gangraph.graph import Step, host_value
from gangraph.ir import Node, visit

FIRST = (0, 1, 2)
LIMITS = {
    "lr": (0.0, math.inf, "it is at least 0"),
    "decay": (0.0, 1.0, "it is at least 0 and at most 1"),
    "the bound": (math.ulp(0.0), math.inf, "it is above 0"),
    "accumulate": (1.0, math.inf, "it is at least 1"),
}
DIVISIONS = ("div", "floordiv", "mod")

Clocks = dict[str, float]


class _Timed(NamedTuple):
    """Something that may follow a clock, and the conditions under which it is asked for."""

    path: str
    word: str
    node: Node
    whens: tuple[Any, ...] = ()
    divides: bool = False


def numbers(stage: Stage) -> Iterator[Finding]:
    """What may follow a clock, of the first stage: numbers by themselves, and those inside of tensors."""
    if stage.graph.resolved.stage_index:
        return  # begins at a time that the others decide
    times, said = list(_times(stage)), set[int]()  # definitions of constants that are wrong already
    for timed in _numbers(stage):
        if any(id(n.fields.get("definition")) in said for n in visit([timed.node], _defined)):
            continue
        for when, clocks in times:
            if any(_left_out(w, clocks) for w in timed.whens if isinstance(w, Node)):
                continue
            wrong = _wrong(timed, when, clocks)
            if wrong is not None:
                said.add(id(timed.node))
                yield wrong
                break


def _left_out(when: Node, clocks: Clocks) -> bool:
    """Whether a condition does not hold; one that has no value is told by itself."""
    try:
        return host_value(when, clocks) is False
    except (ArithmeticError, ValueError):
        return True


def _defined(node: Node) -> Iterable[Node]:
    """What a number is made of, constants unfolded."""
    return (a for a in (*node.args, node.fields.get("definition")) if isinstance(a, Node) and a.type.host)


def _times(stage: Stage) -> Iterator[tuple[str, Clocks]]:
    """The first iterations, the last one, and the last epoch where a training says how many there are."""
    resolved = stage.graph.resolved
    train, batch = resolved.spec.file.train, resolved.batch.now
    steps = list(FIRST)
    if isinstance(train.iterations, Number) and train.iterations.value > max(FIRST):
        steps.append(int(train.iterations.value) - 1)
    elif isinstance(train.images, Number) and train.images.value > batch * (max(FIRST) + 1):
        steps.append(math.ceil(train.images.value / batch) - 1)
    for step in steps:
        clocks = {"step": step, "epoch_step": step, "stage_step": step, "epoch": 0, "stage": 0}
        yield f"iteration {step}", {**clocks, "images": step * batch, "stage_images": step * batch}
    if isinstance(train.epochs, Number) and train.epochs.value > 1:
        yield f"epoch {train.epochs.value - 1:g}", {"epoch": train.epochs.value - 1, "stage": 0}


def _wrong(timed: _Timed, when: str, clocks: Clocks) -> Finding | None:
    path, word, node = timed.path, timed.word, timed.node
    by_zero = Finding(node.at, path, f"{word} divides by zero in {when}", "clocks begin at 0")
    try:
        value: Any = host_value(node, clocks)
        if _by_zero(node, clocks) or (timed.divides and value == 0):
            return by_zero
    except ZeroDivisionError:
        return by_zero
    except (ArithmeticError, ValueError, TypeError):
        return Finding(node.at, path, f"{word} is no number in {when}")
    if value is None:
        return None
    if isinstance(value, complex):
        return Finding(node.at, path, f"{word} is no real number in {when}", "it is the root of a number below 0")
    low, high, help = LIMITS.get(word, (-math.inf, math.inf, None))
    if not low <= value <= high or math.isinf(value):
        return Finding(node.at, path, f"{word} is {value:.6g} in {when}", help)
    return None


def _by_zero(node: Node, clocks: Clocks) -> bool:
    """Whether something inside of a number divides by zero, whatever states are; of a choice, what is taken."""
    if node.op in ("ifelse", "and", "or"):
        test = host_value(node.args[0], clocks) if node.op == "ifelse" else None
        return test is not None and _by_zero(node.args[1 if test else 2], clocks)
    if node.op in DIVISIONS and host_value(node.args[1], clocks) == 0:
        return True
    return any(_by_zero(argument, clocks) for argument in node.args if argument.type.host)


def _numbers(stage: Stage) -> Iterator[_Timed]:
    graph = stage.graph
    for name, node in graph.constants.items():
        if isinstance(definition := node.fields.get("definition"), Node):
            yield _Timed(f"constants.{name}", f"the constant {name}", definition)
    for name, player in graph.players.items():
        for optimizer in player.optimizers.values():
            for key, value in optimizer.arguments.items():
                if isinstance(value, Node):
                    yield _Timed(f"players.{name}", key, value)
        for _, bound in player.gradient.values():
            yield _Timed(f"players.{name}", "the bound", bound)
        for rule in (*player.before.values(), *player.after.values()):
            yield from _inside(f"players.{name}", "a rule", rule, ())
    for name, average in graph.averages.items():
        yield _Timed(f"averages.{name}", "decay", average.decay)
    for step, whens in _steps(graph.schedule, ()):
        for word, count in (("when", step.when), ("repeat", step.repeat)):
            if isinstance(count, Node):
                yield _Timed(f"schedule.{step.name}", word, count)
        for phase in step.phases:
            asked = (*whens, phase.when)
            if isinstance(phase.accumulate, Node):
                yield _Timed(f"schedule.{phase.name}", "accumulate", phase.accumulate, asked)
            yield from _inside(f"schedule.{phase.name}", "the objective", phase.objective, asked)
    for name, state in graph.state.items():
        if state.becomes is not None:
            yield from _inside(f"state.{name}", name, state.becomes, ())


def _steps(steps: Iterable[Step], whens: tuple[Any, ...]) -> Iterator[tuple[Step, tuple[Any, ...]]]:
    """Steps with all conditions around them."""
    for step in steps:
        own = (*whens, step.when)
        yield step, own
        yield from _steps(step.steps, own)


def _inside(path: str, word: str, root: Node, whens: tuple[Any, ...]) -> Iterator[_Timed]:
    """The numbers that a tensor is made of; of a choice by a clock, none."""
    if root.type.host:
        yield _Timed(path, word, root, whens)
        return
    for node in visit([root], lambda n: () if n.op == "ifelse" else (a for a in n.args if not a.type.host)):
        for i, argument in enumerate(node.args if node.op != "ifelse" else ()):
            if argument.type.host and argument.value is None:
                yield _Timed(path, word, argument, whens, node.op in DIVISIONS and i == 1)
