"""Spec -> Table: the layers of one network, the timeline of an iteration, the weight of every term."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from gangraph.compiler import Spec
from gangraph.draw.describe import describe
from gangraph.draw.words import circumstances, occasion, shape_text, steps_above
from gangraph.errors import RunError
from gangraph.frozen import frozen
from gangraph.graph import Phase, Step, host_value
from gangraph.ir import Module, Type, walk
from gangraph.resolve import Move, moves_in
from gangraph.schedule import Schedule


@frozen
class Table:
    """Rows of text under a header; columns of numbers stand to the right."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()
    colours: tuple[int, ...] = ()  # of a column: the number of its player's colour, -1 for none


# --- one network


def network(spec: Spec, name: str, module: Module | None = None) -> Table:
    """The layers of a network with shapes and parameters; blocks that repeat are one row with their number.

    `module` is its structure for the inputs of one call; without it, for those of the first.
    """
    total = spec.graph.count([name])
    module = module or spec.graph.structure(name) or spec.graph.networks[name].module
    types = dict(_types(module))
    rows = list(_fold(_layers(module, types, "")))
    inputs = ", ".join(shape_text(n.type) for n in module.inputs)
    outputs = ", ".join(shape_text(n.type) for n in module.outputs)
    title = f"{name}: {inputs} → {outputs}, {total:,} parameters"
    return Table(title, ("layer", "", "from", "to", "parameters"), tuple(rows), frozenset([4]))


@frozen
class _Layer:
    """A layer, or a call of a named network, on the way to a row."""

    path: str
    said: tuple[str, str, str, str]  # what it is, from, to, parameters


def _types(module: Module) -> Iterator[tuple[int, Type]]:
    """What every module below gives, by id."""
    for node in walk([*module.outputs, *module.values]):
        if node.op == "apply":
            yield id(node.fields["module"]), node.type
    for child in module.children:
        yield from _types(child)


def _layers(module: Module, types: dict[int, Type], prefix: str) -> list[list[_Layer]]:
    """The layers of a module, those of one part together."""
    if module.layer is not None:
        return [[_layer(module, types, prefix)]]
    found = []
    for part in module.parts:
        if isinstance(part, str):
            found.append([_Layer("", (f"{part} (a network of its own)", "", "", ""))])
        else:
            path = ".".join(filter(None, (prefix, part.path)))
            inner = [[_layer(part, types, path)]] if part.layer is not None else _layers(part, types, path)
            found.append([layer for group in inner for layer in group])
    return found


def _layer(module: Module, types: dict[int, Type], path: str) -> _Layer:
    wrapped = "".join(f"{type(w).__name__} of " for w in module.wrappers)
    count = sum(math.prod(shape) for shape in module.parameters().values())
    out = shape_text(types[id(module)]) if id(module) in types else ""
    into = "×".join(map(str, module.shape))
    return _Layer(path, (f"{wrapped}{module.layer}", into, out, f"{count:,}" if count else ""))


def _fold(parts: list[list[_Layer]]) -> Iterator[tuple[str, ...]]:
    """Rows, where neighbours that are alike stand once, with how many there are."""
    at = 0
    while at < len(parts):
        alike = at + 1
        while alike < len(parts) and [x.said for x in parts[alike]] == [x.said for x in parts[at]]:
            alike += 1
        times = alike - at
        for i, layer in enumerate(parts[at]):
            last = f" to {parts[alike - 1][i].path}" if times > 1 else ""
            what, from_, to, count = layer.said
            yield f"{layer.path}{last}", what, from_, to, f"{times} × {count}" if times > 1 and count else count
        at = alike


# --- the schedule

EVALUATION = ("", "evaluation", "batch", "draws", "held, made once", "no gradient", "gradient", "losses", "then")


def schedule(spec: Spec) -> Table:
    """One iteration, evaluation by evaluation: what is read, held, computed with and without a gradient, stepped."""
    plan = spec.schedules[-1]
    return Table(f"{spec.name}: one iteration", EVALUATION, tuple(_evaluations(plan.steps, plan)))


def _evaluations(steps: Iterable[Step], plan: Schedule) -> Iterator[tuple[str, ...]]:
    number, moves = 0, {m.name: m for m in moves_in(plan.graph.resolved.schedule)}
    for path in steps_above(steps):
        step, when = path[-1], occasion(path, moves)
        name = "\n".join(filter(None, (step.name, when)))
        if step.kind in ("update", "reset"):
            yield ("", name, "", "", "", "", "", "", f"{step.kind}s {', '.join(step.names)}")
        elif step.phases:
            number += 1
            yield (str(number), name, *map(", ".join, plan.parts(step.name).values()), _steps(step, moves))


def _steps(step: Step, moves: dict[str, Move]) -> str:
    """A line for every phase, in a group with its own condition."""
    lines = []
    for phase in step.phases:
        own = circumstances([phase], moves) if step.kind == "group" else ""
        lines.append(", ".join([f"{phase.player} steps {', '.join(phase.networks)}", *filter(None, [own])]))
    return "\n".join(lines)


def timeline(spec: Spec, count: int) -> Table:
    """How often each phase runs in the first iterations, of the last stage where there are several: nothing where it
    does not, `?` where that hangs on what is only known then.
    """
    resolved = spec.graph.resolved
    found: list[tuple[str, tuple[Step | Phase, ...]]] = []
    for path in steps_above(spec.graph.schedule):
        if path[-1].kind == "group":
            found += [(phase.name, (*path, phase)) for phase in path[-1].phases]
        elif path[-1].kind != "sequence":
            found.append((path[-1].name, path))
    clocks = [_clocks(number, resolved.stage_index) for number in range(count)]
    rows = [(name, *(_times(steps, now) for now in clocks)) for name, steps in found]
    title = f"{spec.name}: how often each phase runs in the first {count} iterations"
    return Table(title, ("", *map(str, range(count))), tuple(rows), frozenset(range(1, count + 1)))


def _clocks(number: int, stage: int) -> dict[str, float]:
    """What is known of the clocks in an iteration of a stage, in the first epoch."""
    clocks: dict[str, float] = {"stage": stage, "stage_step": number}
    return clocks if stage else {**clocks, "step": number, "epoch": 0, "epoch_step": number}


def _times(steps: Iterable[Step | Phase], clocks: dict[str, float]) -> str:
    times: float | None = 1
    for step in steps:
        try:
            runs = host_value(step.when, clocks) if step.when is not None else True
            often = host_value(step.repeat, clocks) if step.repeat is not None and runs else 1
        except (ArithmeticError, ValueError) as error:
            at = f"in iteration {clocks['stage_step']:g}"
            raise RunError(f"how often {step.name} runs is no number {at}: {error}") from None
        if runs is not None and not runs:
            return ""
        times = None if runs is None or often is None or times is None else times * often
    return "?" if times is None else f"{times:g}" if times else ""


# --- the weights


def weights(spec: Spec) -> Table:
    """The weight of every term, a column for each group of phases with the same objective."""
    picture = describe(spec)
    columns = [(player, move) for player in picture.players for move in player.moves]
    terms = list(dict.fromkeys(term.text for _, move in columns for term in move.terms))
    rows = []
    for text in terms:
        cells = [", ".join(t.weight for t in move.terms if t.text == text) for _, move in columns]
        rows.append((text, *cells))
    header = ("", *(f"{player.name}: {', '.join(move.phases)}" for player, move in columns))
    colours = (-1, *(player.colour for player, _ in columns))
    numbers = frozenset(range(1, len(header)))
    return Table(f"{spec.name}: the weight of every term", header, tuple(rows), numbers, colours)
