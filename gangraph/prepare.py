"""`prepare` -> steps: what happens to the members of a stream before they are a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gangraph.errors import Fact, nearest
from gangraph.expressions import Call, Expr, Name, show
from gangraph.graph import Graph
from gangraph.values import known

STEPS = {"resize": "h, w", "crop": "h, w", "random_crop": "h, w", "flip": "p=0.5"}
Step = tuple[str, tuple[Any, ...], dict[str, Any]]


def steps(graph: Graph) -> dict[str, list[Step]]:
    """Steps by stream. Raises `Fact` with its place."""
    found = {}
    for stream, exprs in graph.resolved.spec.file.prepare.items():
        if stream not in graph.resolved.streams:
            known = list(graph.resolved.streams)
            raise Fact(
                f"no stream is called '{stream}'",
                nearest(str(stream), known) or f"the streams are {', '.join(known)}",
            ).at(stream.place)
        found[str(stream)] = [_step(graph, expr) for expr in exprs]
        _ends(graph, str(stream), exprs, found[str(stream)])
    return found


def _ends(graph: Graph, stream: str, exprs: Sequence[Expr], made: list[Step]) -> None:
    """Raises `Fact` where the last step that sets a size sets another one than an input of the stream has."""
    sizing = [
        (e, (*args, *(keywords[axis] for axis in ("h", "w") if axis in keywords)))
        for e, (name, args, keywords) in zip(exprs, made, strict=True)
        if name != "flip"
    ]
    for name in graph.resolved.streams[stream] if sizing else ():
        expr, size = sizing[-1]
        shape = graph.inputs[name].type.shape
        if graph.inputs[name].fields["kind"] == "image" and shape[1:] != size:
            ends, wanted = (" x ".join(map(str, sizes)) for sizes in (size, shape[1:]))
            raise Fact(f"{stream} ends at {ends}, and {name} is {wanted}", "the last size is that of the input").at(
                expr.at
            )


def _step(graph: Graph, expr: Expr) -> Step:
    if not isinstance(expr, Call) or not isinstance(expr.function, Name) or expr.function.id not in STEPS:
        hint = nearest(expr.function.id, STEPS) if isinstance(expr, Call) and isinstance(expr.function, Name) else None
        raise Fact(
            f"{show(expr)} is not a step of preparation", hint or ", ".join(f"{k}({v})" for k, v in STEPS.items())
        ).at(expr.at)
    name = expr.function.id
    arguments, keywords = known(graph.resolved, expr, arguments=True)
    sizes = [*arguments, *keywords.values()]
    if name == "flip":
        good = (
            len(sizes) <= 1
            and all(isinstance(v, int | float) and 0 <= v <= 1 for v in sizes)
            and set(keywords) <= {"p"}
        )
    else:
        good = len(sizes) == 2 and all(isinstance(v, int) and v > 0 for v in sizes) and set(keywords) <= {"h", "w"}
    if not good:
        raise Fact(f"{show(expr)} does not fit {name}({STEPS[name]})").at(expr.at)
    return name, arguments, keywords
