"""Derivatives, by autograd's own tables of derivatives, between any two places of one evaluation.

autograd differentiates functions. A spec names two values of one evaluation instead, `grad(y, x)`, and a phase asks
for the parameters that were read on the way. So the evaluation is recorded in several traces at once, one inside the
other: the outermost for the phase's own gradient, an inner one for each `grad` that stands inside another. What an
inner trace gives back are values of the outer ones, so they can be differentiated again. A walk over the record is the
same as autograd's `backward_pass`, but that it goes only where it is asked to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import autograd.numpy as np
from autograd.core import VJPNode, add_outgrads, primitive_vjps
from autograd.tracer import Node, getval, isbox, new_box, notrace_primitives, primitive, trace_stack
from autograd.util import toposort


class Record(Node):  # type: ignore[misc]
    """One call of a primitive, with what its derivative needs."""

    __slots__ = ("ans", "argnums", "args", "function", "kwargs", "parents")

    def __init__(self, value: Any, fun: Any, args: Any, kwargs: Any, parent_argnums: Any, parents: Any):
        if fun not in primitive_vjps:
            raise NotImplementedError(f"no derivative of {getattr(fun, '__name__', fun)}")
        self.ans, self.function, self.args, self.kwargs = value, fun, args, kwargs
        self.argnums, self.parents = parent_argnums, parents

    def initialize_root(self) -> None:
        self.parents, self.function = (), None

    def pull(self, g: Any, position: int) -> Any:
        """The derivative by one of the parents, times g."""
        made = primitive_vjps[self.function]((self.argnums[position],), self.ans, self.args, self.kwargs)(g)
        return next(iter(made))


notrace_primitives[Record] = notrace_primitives[VJPNode]


@primitive  # type: ignore[untyped-decorator]
def same(x: Any) -> Any:
    """x itself, as a place of its own in the record: what has a name can be differentiated by this name."""
    return x


primitive_vjps[same] = lambda argnums, ans, args, kwargs: lambda g: (g,)


class Tape:
    """The traces of one iteration. Trace 1 is the phase's own; `grad` uses the others, the innermost first."""

    def __init__(self, traces: Sequence[int]):
        self.traces = list(traces)

    @staticmethod
    @contextmanager
    def recording(depth: int) -> Iterator[Tape]:
        """A tape for `depth` derivatives inside each other, besides the phase's."""
        with ExitStack() as stack:
            yield Tape([stack.enter_context(trace_stack.new_trace()) for _ in range(depth + 1)])

    def parameter(self, array: Any) -> Any:
        """A parameter, which a phase may want the gradient of."""
        return new_box(array, self.traces[0], Record.new_root())

    def mark(self, array: Any) -> Any:
        """A value that some `grad` differentiates by."""
        array = same(array)
        for trace in self.traces[1:]:
            if node_at(array, trace) is None:
                array = _inserted(array, trace)
        return array

    def gradient(self, y: Any, xs: Sequence[Any], order: int | None) -> list[Any]:
        """dy/dx (the sum of y's entries) for each x; None where no path leads to it. `order`: see `Value`."""
        trace = self.traces[0] if order is None else self.traces[len(self.traces) - 1 - order]
        if order is not None and len(self.traces) - 1 - order < 1:
            raise OverflowError("more derivatives inside each other than this tape has traces")
        return gradient(y, xs, trace)


def _inserted(array: Any, trace: int) -> Any:
    """A new root in one trace, below the boxes of inner traces."""
    if isbox(array) and array._trace > trace:
        return new_box(_inserted(array._value, trace), array._trace, array._node)
    return new_box(array, trace, Record.new_root())


def lowered(array: Any, trace: int) -> Any:
    """An array as a trace and those around it see it."""
    while isbox(array) and array._trace > trace:
        array = array._value
    return array


def node_at(array: Any, trace: int) -> Record | None:
    array = lowered(array, trace)
    return array._node if isbox(array) and array._trace == trace else None


def constant(array: Any) -> Any:
    """The numbers alone."""
    return getval(array)


def gradient(y: Any, xs: Sequence[Any], trace: int) -> list[Any]:
    """The sum of y's entries by each x: backwards through the record, as far as the xs are reached."""
    end = node_at(y, trace)
    targets = [node_at(x, trace) for x in xs]
    if end is None:
        return [None] * len(xs)
    order = list(toposort(end))
    wanted = {id(t) for t in targets if t is not None}
    reaching: set[int] = set()
    for node in reversed(order):
        if id(node) in wanted or any(id(p) in reaching for p in node.parents):
            reaching.add(id(node))
    if id(end) not in reaching:
        return [None] * len(xs)
    found: dict[int, Any] = {id(end): (np.ones(np.shape(getval(y))), False)}  # whether the sum is ours to change
    for node in order:
        if id(node) not in reaching:
            continue
        g = found[id(node)] if id(node) in wanted else found.pop(id(node))
        for position, parent in enumerate(node.parents):
            if id(parent) in reaching:
                found[id(parent)] = add_outgrads(found.get(id(parent)), node.pull(g[0], position))
    return [found[id(t)][0] if t is not None and id(t) in reaching else None for t in targets]
