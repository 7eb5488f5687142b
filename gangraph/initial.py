"""`init` -> rules: which layers' weights and biases begin how, from the general pattern to the special one.

A beginning is an initializer, or, for one layer, a value made of means of the data (`data_mean`).
"""

from __future__ import annotations

from gangraph.code import literal
from gangraph.errors import Fact, nearest
from gangraph.expressions import Expr
from gangraph.graph import Graph
from gangraph.ir import Node, walk
from gangraph.layers import LAYERS
from gangraph.templates import Init
from gangraph.values import known

EVERY, KIND, NETWORK, LAYERS_BELOW, LAYER = range(5)  # how special a pattern is, and among equals how far inside
Rank = tuple[int, int]
WEIGHTED = tuple(name for name, layer in LAYERS.items() if layer.weighted)


def initializers(graph: Graph) -> list[tuple[str, str, Init]]:
    """(modules, parameter, initializer) in the order in which they apply; the text of the modules reads `networks`."""
    return [(target, parameter, init) for target, parameter, init in _rules(graph) if isinstance(init, Init)]


def from_data(graph: Graph) -> list[tuple[str, str, Node]]:
    """The same of what begins at a value made of means of the data."""
    return [(target, parameter, value) for target, parameter, value in _rules(graph) if isinstance(value, Node)]


def _rules(graph: Graph) -> list[tuple[str, str, Init | Node]]:
    found = []
    for key, expr in graph.resolved.spec.file.init.items():
        found += [
            (rank, target, parameter, evaluated(graph, expr)) for rank, target, parameter in _targets(graph, str(key))
        ]
    found.sort(key=lambda item: item[0])
    return [(target, parameter, init) for _, target, parameter, init in found]


def check_init(graph: Graph) -> list[tuple[str, Fact]]:
    """Patterns of `init` that mean nothing, with what is wrong."""
    wrong = []
    for key, expr in graph.resolved.spec.file.init.items():
        try:
            targets = _targets(graph, str(key))
            value = evaluated(graph, expr)
            if not targets:
                raise Fact(f"no layer of the networks is meant by '{key}'")
            if isinstance(value, Node):
                _fits(graph, str(key), targets[0][0], value)
            else:
                value.check(_dimensions(graph, str(key), targets[0][0]))
        except Fact as fact:
            wrong.append((str(key), fact.at(getattr(key, "place", expr.at))))
    return wrong


def evaluated(graph: Graph, expr: Expr) -> Init | Node:
    value = known(graph.resolved, expr, beginning=True)
    of_data = isinstance(value, Node) and any(n.op == "data_mean" for n in walk([value]))
    if not isinstance(value, Init) and not of_data:
        help = "as in normal(0, 0.02), zeros(), xavier_normal(gain=0.02)"
        raise Fact(f"{expr} is not an initializer", help).at(expr.at)
    return value  # type: ignore[no-any-return]


def _fits(graph: Graph, key: str, rank: Rank, value: Node) -> None:
    """A value of the data begins one parameter, whose shape it has."""
    head, _, parameter = key.rpartition(".")
    if rank[0] != LAYER:
        raise Fact(f"a value made of the data begins one layer, and '{key}' means more", "name it: NETWORK.LAYER.bias")
    name = next(n for n in graph.networks if head.startswith(f"{n}."))
    layer = next(m for path, m in graph.networks[name].module.layers() if _within(path, head[len(name) + 1 :]))
    shape = layer.parameters().get(parameter)
    if shape is None:
        raise Fact(f"{head} has no {parameter}", nearest(parameter, layer.parameters()))
    if value.type.samples is not None or value.type.shape != shape:
        raise Fact(f"{key} is {list(shape)}, and the value that it would begin with is {list(value.type.shape)}")


def _dimensions(graph: Graph, key: str, rank: Rank) -> int:
    """The least number of axes that a parameter has which a pattern means."""
    head, _, parameter = key.rpartition(".")
    if parameter == "bias":
        return 1
    if rank[0] in (EVERY, NETWORK):
        return 2
    shapes = [
        layer.parameters().get(parameter, ())
        for name, network in graph.networks.items()
        for module in network.variants.values()
        for path, layer in module.layers()
        if (layer.title == head if rank[0] == KIND else _within(f"{name}.{path}", head))
    ]
    return min((len(shape) for shape in shapes if shape), default=2)


def _targets(graph: Graph, key: str) -> list[tuple[Rank, str, str]]:
    """What a pattern means: its rank, the modules as text, and the parameter."""
    head, _, parameter = key.rpartition(".")
    if parameter not in ("weight", "bias"):
        help = "a pattern ends in weight or bias: weight, Conv2d.weight, D.bias, D.LAYER.weight"
        raise Fact(f"'{key}' means no parameter", help)
    kinds = _kinds(graph, list(graph.networks))
    weighted = [k for k in WEIGHTED if k in kinds]
    if not head:
        return [((EVERY, 0), f"layers_of(networks, {_classes(weighted)})", parameter)] if weighted else []
    if head in LAYERS:
        return [((KIND, 0), f"layers_of(networks, {_classes([head])})", parameter)] if head in kinds else []
    family = graph.resolved.families.get(head)
    names = list(family.values()) if family else [head]
    if all(n in graph.networks for n in names):
        found = []
        for name in names:
            contained = graph.contained(name)
            own = [k for k in WEIGHTED if k in _kinds(graph, contained)]
            if own:  # who holds another contains more
                found.append(
                    ((NETWORK, -len(contained)), f"layers_of(networks[{literal(name)}], {_classes(own)})", parameter)
                )
        return found
    for name, network in graph.networks.items():
        if head.startswith(f"{name}."):
            inner = head[len(name) + 1 :]
            if network.module and any(_within(path, inner) for path, _ in network.module.layers()):
                return _layer_targets(graph, name, inner, parameter)
    known = [*graph.networks, *graph.resolved.families, *LAYERS]
    raise Fact(f"'{head}' is neither a network, nor one of its layers, nor a type of layers", nearest(head, known))


def _layer_targets(graph: Graph, name: str, inner: str, parameter: str) -> list[tuple[Rank, str, str]]:
    """Layers of a network at a path, counted among those of the same kinds; a `Parameter` only where it is alone."""
    layers = list(graph.networks[name].module.layers())
    below = [m for path, m in layers if _within(path, inner)]
    kinds = [k for k in WEIGHTED if k in _kinds(graph, [name])]
    if len(below) == 1 and below[0].title == "Parameter":
        own = getattr(below[0].layer, "init", None)
        if own is not None:
            raise Fact(f"{name}.{inner} begins at {own}, as its block says, and no pattern changes that")
        kinds = ["Parameter"]
    numbers = [i for i, path in enumerate(path for path, m in layers if m.title in kinds) if _within(path, inner)]
    found = f"list(layers_of(networks[{literal(name)}], {_classes(kinds)}))"
    rank = (LAYER if len(below) == 1 else LAYERS_BELOW, inner.count("."))
    return [(rank, f"{found}[{i}:{i + 1}]", parameter) for i in numbers]


def _within(path: str, inner: str) -> bool:
    return path == inner or path.startswith(f"{inner}.")


def _kinds(graph: Graph, networks: list[str]) -> set[str]:
    found = set()
    for name in networks:
        for module in graph.networks[name].variants.values():
            found |= {m.title for _, m in module.layers()}
    return found


def _classes(names: list[str]) -> str:
    return ", ".join(n if n == "Parameter" else f"nn.{n}" for n in names)
