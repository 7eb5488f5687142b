"""Layers that a spec declares: do torch's own have the shapes that the spec says? Asked on the meta device.

`check` believes a declaration, so that it needs no torch; `compile` and all behind it ask here.
"""

from __future__ import annotations

from collections.abc import Iterator

from gangraph.errors import Fact, Problem
from gangraph.graph import Graph
from gangraph.layers import Declared, Shape


def refuted(graphs: tuple[Graph, ...]) -> list[Problem]:
    """A problem for each declaration that does not hold where it is used; its place is the declaration's."""
    found: dict[str, Problem] = {}
    for graph in graphs:
        sources, places = graph.resolved.spec.sources, graph.resolved.library.own
        for layer, shape in _uses(graph):
            fact = _refuted(layer, shape)
            if fact is not None and layer.title not in found:
                found[layer.title] = sources.problem(places[layer.title].at, f"layers.{layer.title}", fact)
    return list(found.values())


def declared(graphs: tuple[Graph, ...]) -> dict[str, str]:
    """The declared layers that networks use, and the torch layers that they stand for."""
    return {layer.title: layer.torch for graph in graphs for layer, _ in _uses(graph)}


def _uses(graph: Graph) -> Iterator[tuple[Declared, Shape]]:
    for network in graph.networks.values():
        for variant in network.variants.values():
            yield from ((m.layer, m.shape) for _, m in variant.layers() if isinstance(m.layer, Declared))


def _refuted(layer: Declared, shape: Shape) -> Fact | None:
    import torch

    kind = getattr(torch.nn, layer.torch.rpartition(".")[2], None)
    if not isinstance(kind, type) or not issubclass(kind, torch.nn.Module):
        return Fact(f"torch has no layer {layer.torch}")
    try:
        with torch.device("meta"):
            module = kind(**dict(layer.arguments)).train()
            made = module(torch.empty(2, *shape))
    except Exception as error:  # whatever torch says to arguments that a stranger wrote
        return Fact(f"{layer.construct(shape)} on {list(shape)} fails: {' '.join(str(error).split())[:200]}")
    if not isinstance(made, torch.Tensor):
        return Fact(f"{layer.torch} gives a {type(made).__name__}, and a layer gives one value")
    if tuple(made.shape) != (2, *layer.output(shape)):
        said = f"{list(made.shape[1:])}, and the spec says {list(layer.output(shape))}"
        return Fact(f"{layer.construct(shape)} makes {list(shape)} to {said}")
    held = {name: tuple(p.shape) for name, p in module.named_parameters()}
    if list(held.items()) != list(layer.parameters(shape).items()):
        return Fact(
            f"{layer.construct(shape)} holds {_listed(held)}, and the spec says {_listed(layer.parameters(shape))}"
        )
    buffers = [name for name, _ in module.named_buffers()]
    if buffers:
        return Fact(f"{layer.torch} holds the state {', '.join(buffers)}", "a declared layer has parameters alone")
    return None


def _listed(shapes: dict[str, Shape]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items()) or "no parameters"
