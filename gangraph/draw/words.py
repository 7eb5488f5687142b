"""Expressions, types and counts as the few words of a picture."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from gangraph.expressions import STRENGTH, Attribute, Binary, Call, Expr, Index, Name, Number, mapped, parts, show
from gangraph.families import SIDES
from gangraph.graph import Graph, Phase, Step
from gangraph.ir import Node, Type
from gangraph.resolve import Move
from gangraph.writer import host_text

# --- expressions


def pretty(expr: Expr) -> str:
    """An expression as its author wrote it, with a blackboard E for `expect` and a small 2 for a square."""

    def change(e: Expr) -> Expr:
        if isinstance(e, Call) and isinstance(e.function, Name) and e.function.id == "expect" and len(e.arguments) == 1:
            inner = e.arguments[0]
            bare = isinstance(inner, Call | Name | Index)
            return Name(e.at, f"𝔼\u00a0{show(inner)}" if bare else f"𝔼({show(inner)})")
        if isinstance(e, Number) and isinstance(e.value, float):
            return Name(e.at, short(e.value))
        if isinstance(e, Binary) and e.operator == "**" and isinstance(e.left, Name) and e.left.id.startswith("𝔼"):
            e = dataclasses.replace(e, left=Name(e.left.at, f"({e.left.id})"))
        if isinstance(e, Binary) and e.operator == "**" and isinstance(e.right, Number) and e.right.value == 2:
            return Name(e.at, f"{show(e.left, STRENGTH['**'] + 1)}²")
        return e

    return show(changed(expr, change))


def short(number: float) -> str:
    """1e-6, not 1e-06, with a true minus in front."""
    return re.sub(r"e([+-])0*", lambda m: "e" + m[1].strip("+"), f"{number:g}").replace("-", "−")


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters where spaces allow it: as few as can be, broken outside of brackets, then
    after commas, then even. A line that ends in the text ends here too.

    >>> wrap("reshape(patch - mean(patch), H * W)", 34)
    ['reshape(patch - mean(patch),', 'H * W)']
    """
    return [line for part in text.strip().splitlines() or [""] for line in _wrapped(part, width)]


def _wrapped(text: str, width: int) -> list[str]:
    words = re.split(r"[ \t]+", text.strip())
    depths = list(itertools.accumulate(sum(map(word.count, "([{")) - sum(map(word.count, ")]}")) for word in words))
    best: list[tuple[tuple[int, int, int], list[str]]] = [((0, 0, 0), [])]  # of the words from the last to the first
    for start in reversed(range(len(words))):
        choices = []
        for end in range(start + 1, len(words) + 1):
            line = " ".join(words[start:end])
            if len(line) > width and end > start + 1:
                break
            (lines, depth, squares), rest = best[len(words) - end]
            inner = 2 * depths[end - 1] + (not line.endswith(",")) if rest else 0
            choices.append(((lines + 1, depth + inner, squares + len(line) ** 2), [line, *rest]))
        best.append(min(choices, key=lambda choice: choice[0]))
    return best[-1][1]


def changed(expr: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The expression with `change` applied to everything inside, innermost first."""
    return change(mapped(expr, lambda inner: changed(inner, change)))


def bound_to(expr: Expr, bound: dict[str, Any]) -> Expr:
    """The expression of one member: index variables are their values."""

    def change(e: Expr) -> Expr:
        return Name(e.at, str(bound[e.id])) if isinstance(e, Name) and e.id in bound else e

    return changed(expr, change) if bound else expr


def references(expr: Expr) -> Iterator[tuple[str, str, str]]:
    """What may name a loss: its name, the name with its indices, and the side."""
    if isinstance(expr, Attribute) and expr.name in SIDES:
        yield from ((base, text, expr.name) for base, text, _ in references(expr.value))
    elif isinstance(expr, Index) and isinstance(expr.value, Name):
        yield expr.value.id, f"{expr.value.id}[{', '.join(map(show, expr.items))}]", ""
    elif isinstance(expr, Name):
        yield expr.id, expr.id, ""
    else:
        yield from (found for inner in parts(expr) for found in references(inner))


# --- the schedule


def steps_above(steps: Iterable[Step], above: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    """Every step of a schedule behind the steps that it stands in."""
    for step in steps:
        yield (*above, step)
        yield from steps_above(step.steps, (*above, step))


def occasion(path: Sequence[Step], moves: dict[str, Move]) -> str:
    """When the last step of a path runs, how often, and on which batch; the members of a group may say more."""
    alone = path[-1].phases if path[-1].kind == "phase" else ()
    return circumstances((*path, *alone), moves)


def circumstances(steps: Iterable[Step | Phase], moves: dict[str, Move]) -> str:
    """When steps inside one another run, how often, on which batch: `when step % 5 == 0, 2 times, on a fresh batch`."""
    found = []
    for step in steps:
        if step.when is not None:
            written = moves[step.name].when if step.name in moves else None
            found.append(f"when {show(written) if written is not None else host_text(step.when)}")
        if step.repeat is not None:
            found.append(f"{host_text(step.repeat)} times")
        if step.fresh:
            found.append("each on a fresh batch" if step.repeat is not None else "on a fresh batch")
        if isinstance(step, Phase) and step.accumulate is not None:
            found.append(f"the mean gradient of {host_text(step.accumulate)} evaluations")
    return ", ".join(dict.fromkeys(found))


# --- facts


def leaf_words(node: Node) -> str:
    """The kind of an input, with its classes; the distribution of a draw."""
    kind, known = str(node.fields["kind"]), node.fields
    if kind == "normal":
        return f"N({known['mean']:g}, {known['std'] ** 2:g})"
    if kind == "uniform":
        return f"U({known['low']:g}, {known['high']:g})"
    if kind == "bernoulli":
        return f"bernoulli {known['p']:g}"
    if kind == "integer":
        return f"integer {known['low']} to {known['high'] - 1}"
    return f"{kind} {node.type.classes}" if node.op == "input" and node.type.classes else kind


def shape_text(type_: Type) -> str:
    return "×".join(map(str, type_.shape)) or "1"


def range_text(type_: Type) -> str:
    if type_.range is None:
        return ""
    low, high = type_.range
    ends = ("(−∞" if low == -math.inf else f"[{low:g}", "∞)" if high == math.inf else f"{high:g}]")
    return ", ".join(ends).replace("-", "−")


def span(texts: Iterable[str]) -> str:
    """One text where all members have it, else the first and the last."""
    found = list(dict.fromkeys(texts))
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def count_text(graph: Graph, networks: list[str]) -> str:
    """Parameters in a short form: 33.9 M."""
    total = graph.count(networks)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if total >= limit:
            return f"{total / limit:.1f} {unit}"
    return str(total)
