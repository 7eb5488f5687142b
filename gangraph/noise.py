"""Plan -> the draws that an iteration makes: by name, and how each is made.

A program draws as it runs; here the same names are found without running it, so that every draw can be given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gangraph.graph import Graph, Step
from gangraph.ir import Module, Node, walk
from gangraph.layers import Dropout, Noise
from gangraph.routing import labelled
from gangraph.statements import PhaseWriter, call_places


def evaluate_length(text: str, n: int) -> int:
    """A number of samples, for a batch of n: `N // 2`."""
    # The text is made by gangraph: N, integers, + - * // % and min.
    return int(eval(text, {"__builtins__": {}}, {"N": n, "min": min}))


def runs(steps: tuple[Step, ...], game: Any) -> Iterator[tuple[Step, int]]:
    """Phases and groups in order, with how often each is evaluated; conditions are taken as met."""
    for step in steps:
        if step.when is False:
            continue
        times = count_at(step.repeat, game)
        if step.kind in ("phase", "group"):
            accumulate = count_at(step.phases[0].accumulate, game) if step.kind == "phase" else 1
            yield step, times * accumulate
        else:
            for _ in range(times if step.kind == "sequence" else 0):
                yield from runs(step.steps, game)


def count_at(value: Any, game: Any) -> int:
    """A count of the schedule at the present clocks."""
    if value is None or isinstance(value, int):
        return 1 if value is None else value
    return int(number_at(value, game))


def number_at(node: Node, game: Any) -> Any:
    """A number of clocks, constants and losses, as they are at a game's present clocks, in its latest evaluations."""
    writer = PhaseWriter.__new__(PhaseWriter)
    losses = [part for part in walk([node]) if part.op == "loss" and not part.type.host]
    writer.names = {id(part): f"self.last({part.name!r})" for part in losses}
    return eval(writer.code(node).plain(), game.fetches.__func__.__globals__, {"self": game})  # text that gangraph made


class Drawn:
    """The draws of one evaluation, in order: (key, how to make it)."""

    def __init__(self, graph: Graph, prefix: str, n: int, place: str):
        self.graph, self.prefix, self.n, self.place = graph, prefix, n, place
        self.places = call_places(graph)
        self.calls: dict[tuple[str, str], int] = {}

    def nodes(self, nodes: list[Node]) -> Iterator[tuple[str, Any]]:
        for node in nodes:
            if node.op == "draw":
                yield f"{self.prefix}{node.name}", _maker(node, self.n)
            elif node.op == "replay":
                pool, size, swap, samples = *(node.fields[k] for k in ("pool", "size", "swap")), self.samples(node)
                yield f"{self.prefix}{pool}/swap", lambda d, k, p=swap, s=samples: d.bernoulli(k, p, s)
                yield f"{self.prefix}{pool}/slot", lambda d, k, m=size or 1, s=samples: d.integer(k, 0, m, s)
            elif node.op == "call":
                yield from self.call(node, self.places.get(id(node), self.place), self.samples(node), True)

    def samples(self, node: Node) -> int:
        return evaluate_length(node.type.samples.text, self.n) if node.type.samples else 1

    def call(self, node: Node, place: str, samples: int, training: bool) -> Iterator[tuple[str, Any]]:
        """Draws of the random layers of one call; in evaluation mode there are none, but the call counts."""
        source, network = node.fields["source"], node.fields["network"]
        inside = [m for inner in self.graph.contained(source) for m in self.graph.networks[inner].variants.values()]
        if not any(m.random for m in inside):
            return
        count = self.calls[place, network] = self.calls.get((place, network), 0) + 1
        head = f"{place}/{network}" if count == 1 else f"{place}/{network}.{count}"
        known = self.graph.networks[source]
        training = node.fields["view"].get("training", training and (not known.frozen or known.mode == "train"))
        module, entry = node.fields["module"], node.fields["view"].get("entry")
        yield from self.body([labelled(module, entry)] if entry else module.outputs, head, place, samples, training)

    def body(self, roots: list[Node], head: str, place: str, samples: int, training: bool) -> Iterator[tuple[str, Any]]:
        for node in walk(roots):
            if node.op == "call":
                yield from self.call(node, place, samples, training)
            elif node.op == "apply":
                child: Module = node.fields["module"]
                path = f"{head}.{child.path}" if child.path else head
                if child.layer is None:
                    yield from self.body(child.outputs, path, place, samples, training)
                elif child.layer.random and training:
                    yield f"{self.prefix}{path}", _layer_maker(child, (samples, *child.shape))


def _layer_maker(child: Module, shape: tuple[int, ...]) -> Any:
    if isinstance(child.layer, Noise):
        return lambda d, k: d.normal(k, *shape)
    assert isinstance(child.layer, Dropout), child.layer
    keep = 1 - child.layer.p
    return lambda d, k: d.bernoulli(k, keep, *shape)


def _maker(node: Node, n: int) -> Any:
    f = node.fields
    sizes = [evaluate_length(node.type.samples.text, n)] if node.type.samples else []
    shape = (*sizes, *node.type.shape)
    kind = f["kind"]
    if kind == "normal":
        return lambda d, k: d.normal(k, *shape, mean=f["mean"], std=f["std"])
    if kind == "uniform":
        return lambda d, k: d.uniform(k, *shape, low=f["low"], high=f["high"])
    if kind == "bernoulli":
        return lambda d, k: d.bernoulli(k, f["p"], *shape)
    if kind == "integer":
        return lambda d, k: d.integer(k, f["low"], f["high"], *shape)
    return lambda d, k: d.permutation(k, f.get("n") or shape[0])
