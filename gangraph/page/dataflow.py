"""Spec, Picture -> Dataflow: which thing a node is, and what is made of what.

A thing is known by its key: an input, draw, value, loss or side by its name, a call in place by that of its box.
"""

from __future__ import annotations

from gangraph.compiler import Spec
from gangraph.draw.picture import Picture
from gangraph.frozen import frozen
from gangraph.ir import Node, leaves, visit, walk
from gangraph.page.names import Keys, call_key


@frozen
class Dataflow:
    """One stage: `reads` and `readers` by key; `calls` are all calls of networks, each with the thing it is part of."""

    keys: dict[int, str]  # by the id of a node
    reads: dict[str, Keys]
    readers: dict[str, Keys]
    calls: tuple[tuple[Node, str], ...]


def find_dataflow(spec: Spec, picture: Picture) -> Dataflow:
    graph = spec.graph
    named = [(name, node) for found in (graph.inputs, graph.draws, graph.losses) for name, node in found.items()]
    named += [(name, node) for name, value in graph.values.items() for node in leaves(value)]
    nodes = walk([*(node for _, node in named), *(p.objective for p in graph.phases())])
    boxes = {(box.place, network): call_key(box) for box in picture.boxes if box.place for network in box.networks}
    keys = {id(node): name for name, node in named}
    for node in nodes:
        if node.op == "call" and (node.at, node.fields["source"]) in boxes:
            keys.setdefault(id(node), boxes[node.at, node.fields["source"]])
    reads: dict[str, dict[str, None]] = {}
    readers: dict[str, dict[str, None]] = {}
    calls: list[tuple[Node, str]] = []
    for node in nodes:
        key = keys.get(id(node))
        if key is None:
            continue
        if node.op == "call":
            calls.append((node, key))
        for inner in visit(node.args[::-1], lambda n: () if id(n) in keys else n.args[::-1]):
            source = keys.get(id(inner))
            if source is not None and source != key:
                reads.setdefault(key, {})[source] = None
                readers.setdefault(source, {})[key] = None
            elif source is None and inner.op == "call":
                calls.append((inner, key))
    return Dataflow(
        keys,
        {key: tuple(found) for key, found in reads.items()},
        {key: tuple(found) for key, found in readers.items()},
        tuple(calls),
    )
